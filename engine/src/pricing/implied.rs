//! The volatility at which Black-76 gives a price.

use super::black76::{Black76, VOLATILITY_MAX};
use super::float::{abs, ln, sqrt};
use crate::types::OptionKind;

/// Steps of the search. Each at least halves the bracket on every second step, and most end in 6.
const STEPS_MAX: u32 = 100;
/// A step this small beside the volatility ends the search.
const PRECISION: f64 = 1e-14;
/// A miss this small beside forward and strike is rounding, and ends it too.
const VALUE_PRECISION: f64 = 1e-16;
/// An out-of-the-money value under this part of the forward is lost in rounding.
const VALUE_MIN: f64 = 1e-14;

/// The volatility at which an option of `kind` with `input`'s forward, strike, years and discount has
/// the discounted value `price`; `input`'s volatility is ignored.
///
/// `None` when no volatility in 0..=100 gives it: at or under the discounted intrinsic value, at or
/// over the discounted forward (call) or strike (put), or without time or discount.
///
/// Newton's method on the logarithm of the out-of-the-money value, inside a shrinking bracket; the
/// same steps on every machine.
pub fn implied_volatility(kind: OptionKind, price: f64, input: &Black76) -> Option<f64> {
    let input = input.clamped();
    if input.years <= 0.0 || input.discount <= 0.0 || !price.is_finite() {
        return None;
    }
    let (forward, strike) = (input.forward, input.strike);
    let intrinsic = match kind {
        OptionKind::Call if forward > strike => forward - strike,
        OptionKind::Put if strike > forward => strike - forward,
        OptionKind::Call | OptionKind::Put => 0.0,
    };
    // The option out of the money has the same volatility and loses no digits to intrinsic value.
    let target = price / input.discount - intrinsic;
    let (kind, bound) = if strike >= forward {
        (OptionKind::Call, forward)
    } else {
        (OptionKind::Put, strike)
    };
    if !(target > VALUE_MIN * forward && target < bound) {
        return None;
    }
    search(
        kind,
        target,
        Black76 {
            discount: 1.0,
            ..input
        },
    )
}

/// Finds the volatility at which the undiscounted, out-of-the-money `input` is worth `target`.
fn search(kind: OptionKind, target: f64, input: Black76) -> Option<f64> {
    let value = |volatility: f64| {
        Black76 {
            volatility,
            ..input
        }
        .greeks(kind)
    };
    let (mut low, mut high) = (0.0, VOLATILITY_MAX);
    if value(high).price < target {
        return None;
    }
    let log_target = ln(target);
    let rounding = VALUE_PRECISION * (input.forward + input.strike);
    let mut volatility = first_guess(&input);
    for _ in 0..STEPS_MAX {
        let greeks = value(volatility);
        if abs(greeks.price - target) <= rounding {
            return Some(volatility);
        }
        if greeks.price > target {
            high = volatility;
        } else {
            low = volatility;
        }
        // d ln(value)/dσ = vega / value.
        let miss = ln(greeks.price) - log_target;
        let newton = volatility - miss * greeks.price / greeks.vega;
        let next = if newton > low && newton < high {
            newton
        } else {
            0.5 * (low + high)
        };
        if abs(next - volatility) <= PRECISION * volatility {
            return Some(next);
        }
        volatility = next;
    }
    Some(volatility)
}

/// √(2·|ln(F/K)|/T), where vega is largest, but at least 20 %.
fn first_guess(input: &Black76) -> f64 {
    let inflection = sqrt(2.0 * abs(ln(input.forward / input.strike)) / input.years);
    if inflection > 0.2 && inflection < VOLATILITY_MAX {
        inflection
    } else {
        0.2
    }
}

//! Black-76: the value of a European option on a forward, with its greeks.
//!
//! One branch-free kernel serves the scalar call and the vector loops, so all have the same bits.

use super::float::{at_least, clamp, ln, sqrt};
use super::normal::{INV_ROOT_TWO_PI, bell, distance, tail_ratio};
use crate::types::OptionKind;

/// Forwards and strikes are moved into this range (1e-6 is `Price`'s own step).
pub const PRICE_MIN: f64 = 1e-6;
/// Upper bound of forwards and strikes: beyond `Price`'s range.
pub const PRICE_MAX: f64 = 1e13;
/// Years to expiry are moved into 0..=100.
pub const YEARS_MAX: f64 = 100.0;
/// Volatilities are moved into 0..=100 (10 000 % a year).
pub const VOLATILITY_MAX: f64 = 100.0;
/// Discount factors are moved into 0..=100 (over 1 at a negative rate).
pub const DISCOUNT_MAX: f64 = 100.0;
/// Total volatility σ√T at or under this counts as none: values are discounted intrinsic value.
pub const TOTAL_VOLATILITY_MIN: f64 = 1e-14;
/// Total volatility over this counts as this: the option is worth its forward or strike.
const TOTAL_VOLATILITY_MAX: f64 = 64.0;
/// Shorter times than this (3 ms) have no theta.
const THETA_YEARS_MIN: f64 = 1e-10;

/// What a Black-76 value depends on. Amounts are in one currency, times in years, volatility and
/// discount are plain ratios.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Black76 {
    /// Forward price of the underlying at expiry, [`PRICE_MIN`]..=[`PRICE_MAX`].
    pub forward: f64,
    /// Strike, [`PRICE_MIN`]..=[`PRICE_MAX`].
    pub strike: f64,
    /// Years to expiry, 0..=[`YEARS_MAX`].
    pub years: f64,
    /// Annual volatility (0.5 is 50 %), 0..=[`VOLATILITY_MAX`].
    pub volatility: f64,
    /// Discount factor to expiry, 0..=[`DISCOUNT_MAX`].
    pub discount: f64,
}

/// Values and greeks of the call and the put of one strike. Gamma and vega are those of both.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Values {
    /// Value of the call.
    pub call: f64,
    /// Value of the put.
    pub put: f64,
    /// ∂call/∂forward.
    pub call_delta: f64,
    /// ∂put/∂forward.
    pub put_delta: f64,
    /// ∂²value/∂forward². 0 without time or volatility.
    pub gamma: f64,
    /// ∂value/∂volatility, for a change of 1 (100 points).
    pub vega: f64,
    /// ∂call/∂calendar time, a year, the forward held. 0 without time.
    pub call_theta: f64,
    /// ∂put/∂calendar time, a year, the forward held. 0 without time.
    pub put_theta: f64,
}

/// The kernel's inputs: everything that a grid of scenarios shares is worked out beforehand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub forward: f64,
    pub strike: f64,
    /// ln(forward / strike).
    pub log_moneyness: f64,
    /// The discount factor of a call, minus that of a put.
    pub signed_discount: f64,
    /// The discount factor over √(2π).
    pub density_scale: f64,
    pub root_years: f64,
    pub volatility: f64,
}

/// Value and greeks of one option.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Greeks {
    /// Discounted value, never negative.
    pub price: f64,
    /// ∂value/∂forward.
    pub delta: f64,
    /// ∂²value/∂forward². 0 without time or volatility.
    pub gamma: f64,
    /// ∂value/∂volatility, for a change of 1 (100 points).
    pub vega: f64,
}

/// Value and greeks of one option, in the four steps that the batch loops run one after another:
/// d₁ = ln(F/K)/s + s/2 with s = σ√T; value = df·w·(F·N(w·d₁) − K·N(w·d₂)), w = ±1.
///
/// With n the density, K·n(d₂) = F·n(d₁): one exponential gives both tails, and one division both of
/// their rationals. Inputs must lie in the ranges of [`Black76`]; only σ√T is bounded here.
#[inline(always)]
fn kernel<const IS_CALL: bool>(t: &Terms) -> Greeks {
    let moments = Moments::new(t);
    let tails = Tails::new(moments.d1, moments.d2);
    greeks::<IS_CALL>(t, &moments, bell(distance(moments.d1)), &tails)
}

/// First step: where forward and strike lie in the distribution.
#[derive(Clone, Copy)]
pub(super) struct Moments {
    /// σ√T, bounded.
    pub total: f64,
    /// 1 / (forward · σ√T).
    pub inverse: f64,
    pub d1: f64,
    pub d2: f64,
}

impl Moments {
    #[inline(always)]
    pub fn new(t: &Terms) -> Self {
        let total = clamp(
            t.volatility * t.root_years,
            TOTAL_VOLATILITY_MIN,
            TOTAL_VOLATILITY_MAX,
        );
        let inverse = 1.0 / (t.forward * total);
        let d1 = t.log_moneyness * (inverse * t.forward) + 0.5 * total;
        Self {
            total,
            inverse,
            d1,
            d2: d1 - total,
        }
    }
}

/// Third step (the second is the bell of d₁): both tails over the bell, as two numerators over one
/// denominator.
#[derive(Clone, Copy)]
pub(super) struct Tails {
    pub numerator1: f64,
    pub numerator2: f64,
    pub denominator: f64,
}

impl Tails {
    #[inline(always)]
    pub fn new(d1: f64, d2: f64) -> Self {
        let (p1, q1) = tail_ratio(distance(d1));
        let (p2, q2) = tail_ratio(distance(d2));
        Self {
            numerator1: p1 * q2,
            numerator2: p2 * q1,
            denominator: q1 * q2,
        }
    }
}

/// Last step.
#[inline(always)]
pub(super) fn greeks<const IS_CALL: bool>(
    t: &Terms,
    moments: &Moments,
    bell: f64,
    tails: &Tails,
) -> Greeks {
    let scaled = bell / tails.denominator;
    let tail1 = tails.numerator1 * scaled;
    let strike_tail2 = t.forward * (tails.numerator2 * scaled);
    let (in_the_money1, in_the_money2) = if IS_CALL {
        (moments.d1 > 0.0, moments.d2 > 0.0)
    } else {
        (moments.d1 < 0.0, moments.d2 < 0.0)
    };
    let probability1 = if in_the_money1 { 1.0 - tail1 } else { tail1 };
    let strike_part = if in_the_money2 {
        t.strike - strike_tail2
    } else {
        strike_tail2
    };
    let density = t.density_scale * bell;
    let gamma = density * moments.inverse;
    Greeks {
        price: at_least(
            t.signed_discount * (t.forward * probability1 - strike_part),
            0.0,
        ),
        delta: t.signed_discount * probability1,
        gamma: if moments.total > TOTAL_VOLATILITY_MIN {
            gamma
        } else {
            0.0
        },
        vega: density * (t.forward * t.root_years),
    }
}

impl Black76 {
    /// These inputs, each moved into its range (NaN to the lower bound).
    #[inline(always)]
    pub(super) fn clamped(self) -> Self {
        Self {
            forward: clamp(self.forward, PRICE_MIN, PRICE_MAX),
            strike: clamp(self.strike, PRICE_MIN, PRICE_MAX),
            years: clamp(self.years, 0.0, YEARS_MAX),
            volatility: clamp(self.volatility, 0.0, VOLATILITY_MAX),
            discount: clamp(self.discount, 0.0, DISCOUNT_MAX),
        }
    }

    /// The kernel's terms; inputs must be clamped.
    #[inline(always)]
    fn terms<const IS_CALL: bool>(self) -> Terms {
        self.terms_from::<IS_CALL>(ln(self.forward / self.strike), sqrt(self.years))
    }

    /// The kernel's terms; inputs must be clamped, the others are ln(forward/strike) and √years.
    #[inline(always)]
    pub(super) fn terms_from<const IS_CALL: bool>(
        self,
        log_moneyness: f64,
        root_years: f64,
    ) -> Terms {
        Terms {
            forward: self.forward,
            strike: self.strike,
            log_moneyness,
            signed_discount: if IS_CALL {
                self.discount
            } else {
                -self.discount
            },
            density_scale: self.discount * INV_ROOT_TWO_PI,
            root_years,
            volatility: self.volatility,
        }
    }

    /// Value and greeks of one of the two options.
    pub fn greeks(self, kind: OptionKind) -> Greeks {
        let input = self.clamped();
        match kind {
            OptionKind::Call => kernel::<true>(&input.terms::<true>()),
            OptionKind::Put => kernel::<false>(&input.terms::<false>()),
        }
    }
}

/// Values and greeks of the call and the put. Inputs outside their range count as its nearest bound,
/// so that no output is NaN or infinite.
pub fn black76(input: &Black76) -> Values {
    let input = input.clamped();
    let call = kernel::<true>(&input.terms::<true>());
    let put = kernel::<false>(&input.terms::<false>());
    let (call_theta, put_theta) = thetas(&input, call, put);
    Values {
        call: call.price,
        put: put.price,
        call_delta: call.delta,
        put_delta: put.delta,
        gamma: call.gamma,
        vega: call.vega,
        call_theta,
        put_theta,
    }
}

/// θ = −vega·σ/(2T) + r·value with r = −ln(df)/T: calendar time passes and the forward stays.
fn thetas(input: &Black76, call: Greeks, put: Greeks) -> (f64, f64) {
    if input.years < THETA_YEARS_MIN {
        return (0.0, 0.0);
    }
    let decay = -0.5 * call.vega * input.volatility / input.years;
    let rate = -ln(input.discount) / input.years;
    (decay + rate * call.price, decay + rate * put.price)
}

//! Which strikes to list around a forward.

use alloc::vec::Vec;

use super::float::{exp, ln, sqrt};
use crate::params::ListingRules;
use crate::types::Price;

const YEAR_MS: f64 = 365.0 * 86_400_000.0;
/// Steps are this part of one standard deviation, before rounding to a round number.
const STEPS_PER_DEVIATION: f64 = 4.0;

/// Discount factor in 1e-9 over `left_ms` at a yearly rate in 1e-9; rates under 0 count as 0.
pub fn discount_ppb(rate_ppb: i64, left_ms: u64) -> u32 {
    let rate = super::float::clamp(rate_ppb as f64 / 1e9, 0.0, 10.0);
    let discount = exp(-rate * (left_ms as f64 / YEAR_MS));
    super::float::clamp(discount * 1e9 + 0.5, 0.0, 1e9) as u32
}

/// Strikes on a grid of round numbers (1, 2, 2.5 or 5 times a power of ten) about a quarter of a
/// standard deviation apart, while a call's delta lies within the rules' bounds; ascending.
pub fn strikes(
    forward: Price,
    left_ms: u64,
    volatility_ppm: u32,
    rules: &ListingRules,
) -> Vec<Price> {
    let forward = forward.get() as f64 / 1e6;
    let deviation = f64::from(volatility_ppm) / 1e6 * sqrt(left_ms as f64 / YEAR_MS);
    let sane = forward > 0.0 && forward < 1e9 && deviation > 1e-6 && deviation < 10.0;
    if !sane {
        return Vec::new();
    }
    let step = round_step(forward * deviation / STEPS_PER_DEVIATION);
    let centre = nearest(forward / step);
    let bound = quantile(f64::from(rules.delta_min_ppm) / 1e6);
    let per_side = i64::from(rules.strikes_per_side_max);
    let mut all = Vec::new();
    for offset in per_side.saturating_neg()..=per_side {
        let strike = (centre + offset as f64) * step;
        if strike <= 0.0 {
            continue;
        }
        let d1 = ln(forward / strike) / deviation + 0.5 * deviation;
        if d1 >= -bound && d1 <= bound {
            all.push(Price::new((strike * 1e6 + 0.5) as i64));
        }
    }
    all
}

/// The largest of 1, 2, 2.5, 5 times a power of ten that is at most `wanted`, and at least 1e-6.
fn round_step(wanted: f64) -> f64 {
    let mut power = 1e-6;
    while power * 10.0 <= wanted {
        power *= 10.0;
    }
    let fits = [5.0, 2.5, 2.0].into_iter().find(|m| m * power <= wanted);
    power * fits.unwrap_or(1.0)
}

/// The nearest whole number of a positive value below 2⁵².
fn nearest(value: f64) -> f64 {
    ((value + 0.5) as i64) as f64
}

/// The distance in deviations at which a tail of the normal distribution holds `tail`; a few
/// Newton steps on a logarithmic first guess are more than the listing needs.
fn quantile(tail: f64) -> f64 {
    let tail = tail.clamp(1e-6, 0.499);
    let mut low = 0.0;
    let mut high = 6.0;
    for _ in 0..40 {
        let middle = 0.5 * (low + high);
        if upper_tail(middle) > tail {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

/// Mass above `x` ≥ 0 of the normal distribution, to 7.5e-8 (Abramowitz and Stegun 26.2.17).
fn upper_tail(x: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.231_641_9 * x);
    let poly = t
        * (0.319_381_53
            + t * (-0.356_563_782
                + t * (1.781_477_937 + t * (-1.821_255_978 + t * 1.330_274_429))));
    exp(-0.5 * x * x) * 0.398_942_280_401 * poly
}

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn strikes_surround_the_forward_on_round_steps() {
        let rules = ListingRules::default();
        let week = 7 * 86_400_000;
        let all = strikes(Price::new(90_123_000_000), week, 500_000, &rules);
        assert!(all.len() >= 10 && all.len() <= 25, "{}", all.len());
        assert!(all.is_sorted());
        let step = all[1].get() - all[0].get();
        assert!(all.windows(2).all(|w| w[1].get() - w[0].get() == step));
        assert!(all[0].get() < 90_123_000_000 && all[all.len() - 1].get() > 90_123_000_000);
        assert_eq!(step % 500_000_000, 0);
    }

    #[test]
    fn nonsense_lists_nothing() {
        let rules = ListingRules::default();
        assert!(strikes(Price::new(0), 1_000, 500_000, &rules).is_empty());
        assert!(strikes(Price::new(90_000_000_000), 0, 500_000, &rules).is_empty());
        assert!(strikes(Price::new(90_000_000_000), 1_000, 0, &rules).is_empty());
    }

    #[test]
    fn the_quantile_inverts_the_tail() {
        assert!((quantile(0.025) - 1.959_964).abs() < 1e-5);
        assert!((quantile(0.02) - 2.053_749).abs() < 1e-5);
    }
}

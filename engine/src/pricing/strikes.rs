//! Which strikes to list around a forward.

use alloc::vec::Vec;

use super::float::{ln, sqrt};
use super::mark::years_of;
use super::normal::cdf;
use crate::params::ListingRules;
use crate::types::Price;

/// Steps are this part of one standard deviation, before rounding to a round number.
const STEPS_PER_DEVIATION: f64 = 4.0;

/// Strikes on a grid of round numbers (1, 2, 2.5 or 5 times a power of ten) about a quarter of a
/// standard deviation apart, while a call's delta lies within the rules' bounds; ascending.
pub fn strikes(
    forward: Price,
    left_ms: u64,
    volatility_ppm: u32,
    rules: &ListingRules,
) -> Vec<Price> {
    let forward = forward.get() as f64 / 1e6;
    let deviation = f64::from(volatility_ppm) / 1e6 * sqrt(years_of(left_ms));
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

/// The distance in deviations at which a tail of the normal distribution holds `tail`, by halving an
/// interval 40 times.
fn quantile(tail: f64) -> f64 {
    let tail = tail.clamp(1e-6, 0.499);
    let mut low = 0.0;
    let mut high = 6.0;
    for _ in 0..40 {
        let middle = 0.5 * (low + high);
        if cdf(-middle) > tail {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
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

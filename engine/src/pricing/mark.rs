//! An option's mark: value and greeks as integers.

use borsh::{BorshDeserialize, BorshSerialize};

use super::black76::Black76;
use super::float::{clamp, exp};
use crate::command::OptionTerms;
use crate::types::{Cash, Price};

const YEAR_MS: f64 = 365.0 * 86_400_000.0;

/// What an option is marked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Mark {
    /// Value of an option on one coin, in USDC; rounded to nearest.
    pub price: Price,
    /// Forward it was computed from.
    pub forward: Price,
    /// Annual volatility in millionths.
    pub volatility_ppm: u32,
    /// Change of value with the forward, in billionths.
    pub delta_ppb: i64,
    /// Change of delta with the forward, in 1e-12 for one USDC.
    pub gamma_e12: i64,
    /// Change of value with one point (0.01) of volatility.
    pub vega: Cash,
    /// Change of value with one day.
    pub theta: Cash,
}

/// Marks an option `left_ms` before expiry.
pub fn mark(
    forward: Price,
    terms: &OptionTerms,
    left_ms: u64,
    volatility_ppm: u32,
    rate_ppb: i64,
) -> Mark {
    let years = left_ms as f64 / YEAR_MS;
    let rate = clamp(rate_ppb as f64 / 1e9, 0.0, 10.0);
    let input = Black76 {
        forward: forward.get() as f64 / 1e6,
        strike: terms.strike.get() as f64 / 1e6,
        years,
        volatility: f64::from(volatility_ppm) / 1e6,
        discount: exp(-rate * years),
    };
    let greeks = input.greeks(terms.kind);
    let day = 1.0 / 365.0;
    let later = Black76 {
        years: clamp(years - day, 0.0, years),
        ..input
    };
    let theta = later.greeks(terms.kind).price - greeks.price;
    Mark {
        price: Price::new(nearest(greeks.price * 1e6)),
        forward,
        volatility_ppm,
        delta_ppb: nearest(greeks.delta * 1e9),
        gamma_e12: nearest(greeks.gamma * 1e12),
        vega: Cash::new(nearest(greeks.vega * 1e4)),
        theta: Cash::new(nearest(theta * 1e6)),
    }
}

/// To the nearest integer, halves away from zero, within ±2⁶².
fn nearest(value: f64) -> i64 {
    let bounded = clamp(value, -4.6e18, 4.6e18);
    if bounded < 0.0 {
        (bounded - 0.5) as i64
    } else {
        (bounded + 0.5) as i64
    }
}

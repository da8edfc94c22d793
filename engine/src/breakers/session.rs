//! A day of trading: where it began, and how far the price has been from there.

use borsh::{BorshDeserialize, BorshSerialize};

use super::series::Sample;
use crate::pricing::moves::log_change_ppm;
use crate::types::{DAY_MS, Price, TimeMs};

/// The session that goes on. Before the first sample it is empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Session {
    /// Which one, counted in days.
    number: u64,
    /// Its first sample's time.
    first_at: TimeMs,
    /// Volatility index that it began with, in 1e-6.
    volatility_ppm: u32,
    high: Price,
    low: Price,
}

/// The session of a moment. One ends with the moment at which the next begins: its last price is where that
/// one starts from.
const fn number(at: TimeMs, begins_ms: u64) -> u64 {
    let since = (begins_ms % DAY_MS).saturating_add(1);
    at.get().saturating_add(DAY_MS).saturating_sub(since) / DAY_MS
}

impl Session {
    /// Begun with the first sample in it and the one before.
    pub fn begun(first: &Sample, before: &Sample, begins_ms: u64) -> Self {
        Self {
            number: number(first.at, begins_ms),
            first_at: first.at,
            volatility_ppm: before.volatility_ppm,
            high: first.price.max(before.price),
            low: first.price.min(before.price),
        }
    }

    /// Whether a moment lies in it.
    pub fn holds(&self, at: TimeMs, begins_ms: u64) -> bool {
        self.first_at.get() > 0 && self.number == number(at, begins_ms)
    }

    /// With one more sample.
    #[must_use]
    pub fn with(self, sample: &Sample) -> Self {
        Self {
            high: self.high.max(sample.price),
            low: self.low.min(sample.price),
            ..self
        }
    }

    /// For how long it has been going on.
    pub const fn lasted_ms(&self, now: TimeMs) -> u64 {
        now.since(self.first_at)
    }

    /// ln(highest / lowest) in 1e-6.
    pub fn range_ppm(&self) -> i64 {
        log_change_ppm(self.low.get(), self.high.get())
    }

    /// How far the volatility index is over where it began, in 1e-6 of its logarithm.
    pub fn volatility_rise_ppm(&self, now: &Sample) -> i64 {
        log_change_ppm(
            i64::from(self.volatility_ppm),
            i64::from(now.volatility_ppm),
        )
    }
}

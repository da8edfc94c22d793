//! The settlement price: the mean of index samples in the window before expiry.

use borsh::{BorshDeserialize, BorshSerialize};

use crate::params::SettlementParameters;
use crate::risk::{Ratio, Settled};
use crate::types::{Price, TimeMs};

/// Samples of one expiry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Samples {
    sum: i128,
    count: u32,
    last_at: TimeMs,
    deferred: bool,
}

/// What the rules say about an expiry now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// It settles at this price.
    At(Price),
    /// It waits for more samples; true the first time.
    Deferred {
        /// Whether this is the first time it is found to wait.
        first: bool,
    },
}

impl Samples {
    /// Takes a sample if one is due: in the window, or after expiry while settlement is deferred.
    pub fn sample(
        &mut self,
        index: Price,
        expiry: TimeMs,
        now: TimeMs,
        parameters: &SettlementParameters,
    ) {
        let opens = expiry.get().saturating_sub(parameters.window_ms);
        let due = now.since(self.last_at) >= parameters.sample_interval_ms;
        let in_window = now.get() >= opens && (now < expiry || self.deferred);
        if in_window && due && self.count < Self::full(parameters) {
            self.sum = self.sum.saturating_add(i128::from(index.get()));
            self.count = self.count.saturating_add(1);
            self.last_at = now;
        }
    }

    /// Decides an expiry that has been reached.
    pub fn settle(
        &mut self,
        expiry: TimeMs,
        now: TimeMs,
        parameters: &SettlementParameters,
    ) -> Settlement {
        let waited_out = now.since(expiry) >= parameters.deferral_ms_max;
        let enough = self.count >= Self::least(parameters);
        match self.mean() {
            Some(price) if enough || waited_out => Settlement::At(price),
            _ => {
                let first = !self.deferred;
                self.deferred = true;
                Settlement::Deferred { first }
            }
        }
    }

    /// How many samples there are.
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// The known part of the settlement price, as the margin models take it.
    pub fn settled(&self, parameters: &SettlementParameters) -> Option<Settled> {
        let share = i64::from(self.count)
            .saturating_mul(Ratio::ONE.get())
            .checked_div(i64::from(Self::full(parameters)))?;
        Some(Settled {
            mean: self.mean()?,
            share: Ratio::new(share),
        })
    }

    /// The mean so far, rounded down; `None` without samples.
    pub fn mean(&self) -> Option<Price> {
        let mean = self.sum.checked_div(i128::from(self.count))?;
        i64::try_from(mean).ok().map(Price::new)
    }

    /// Fewest samples that settle without waiting.
    pub fn least(parameters: &SettlementParameters) -> u32 {
        let part = u64::from(Self::full(parameters))
            .saturating_mul(u64::from(parameters.samples_min_ppm))
            .div_ceil(1_000_000);
        u32::try_from(part).unwrap_or(u32::MAX)
    }

    /// Samples of a full window.
    fn full(parameters: &SettlementParameters) -> u32 {
        let full = parameters
            .window_ms
            .checked_div(parameters.sample_interval_ms)
            .unwrap_or(1);
        u32::try_from(full.max(1)).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects)]
    use super::*;

    const EXPIRY: u64 = 10_000_000;

    fn run(samples: &mut Samples, from: u64, to: u64) {
        let parameters = SettlementParameters::default();
        for now in (from..to).step_by(1_000) {
            let price = Price::new(i64::try_from(now / 6_000).unwrap_or(0));
            samples.sample(price, TimeMs::new(EXPIRY), TimeMs::new(now), &parameters);
        }
    }

    #[test]
    fn a_full_window_settles_at_its_mean() {
        let parameters = SettlementParameters::default();
        let mut samples = Samples::default();
        run(&mut samples, EXPIRY - 2_000_000, EXPIRY);
        assert_eq!(samples.count(), 300);
        let price = samples.settle(TimeMs::new(EXPIRY), TimeMs::new(EXPIRY), &parameters);
        assert_eq!(price, Settlement::At(samples.mean().unwrap_or_default()));
    }

    #[test]
    fn too_few_samples_defer_and_later_samples_complete_it() {
        let parameters = SettlementParameters::default();
        let mut samples = Samples::default();
        run(&mut samples, EXPIRY - 1_000_000, EXPIRY);
        let expiry = TimeMs::new(EXPIRY);
        assert_eq!(
            samples.settle(expiry, expiry, &parameters),
            Settlement::Deferred { first: true }
        );
        let early = samples.settle(expiry, expiry, &parameters);
        assert_eq!(early, Settlement::Deferred { first: false });
        run(&mut samples, EXPIRY, EXPIRY + 500_000);
        let later = samples.settle(expiry, TimeMs::new(EXPIRY + 500_000), &parameters);
        assert!(matches!(later, Settlement::At(_)));
    }

    #[test]
    fn without_a_single_sample_nothing_is_guessed() {
        let parameters = SettlementParameters::default();
        let mut samples = Samples::default();
        let late = TimeMs::new(EXPIRY + parameters.deferral_ms_max * 2);
        let verdict = samples.settle(TimeMs::new(EXPIRY), late, &parameters);
        assert!(matches!(verdict, Settlement::Deferred { .. }));
    }
}

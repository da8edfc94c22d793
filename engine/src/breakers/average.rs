//! An exponential average of integers over unevenly spaced samples.

use borsh::{BorshDeserialize, BorshSerialize};

/// A running mean whose memory fades: a sample weighs the share of the memory that passed since the
/// last one, and at first no less than a plain mean would give it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Average {
    value: i64,
    samples: u32,
}

impl Average {
    /// Takes a sample that stands for `elapsed_ms`.
    pub fn add(&mut self, sample: i64, elapsed_ms: u64, memory_ms: u64) {
        self.samples = self.samples.saturating_add(1);
        let step = i128::from(sample).saturating_sub(i128::from(self.value));
        let plain = step.checked_div(i128::from(self.samples)).unwrap_or(0);
        let faded = step
            .saturating_mul(i128::from(elapsed_ms.min(memory_ms)))
            .checked_div(i128::from(memory_ms))
            .unwrap_or(plain);
        let step = if plain.abs() > faded.abs() {
            plain
        } else {
            faded
        };
        // The mean lies between values that fit.
        self.value = i64::try_from(i128::from(self.value).saturating_add(step)).unwrap_or(i64::MAX);
    }

    /// The mean; 0 without samples.
    pub const fn value(&self) -> i64 {
        self.value
    }

    /// How many samples there were.
    pub const fn samples(&self) -> u32 {
        self.samples
    }
}

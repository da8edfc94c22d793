//! The recent past of an underlying: evenly spaced samples, the oldest dropped.

use alloc::collections::VecDeque;
use borsh::{BorshDeserialize, BorshSerialize};

use crate::types::{Price, TimeMs};

/// Samples of one series at most, whatever its parameters say.
const SAMPLES_MAX: usize = 1_024;

/// Where an underlying stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Sample {
    /// Block time.
    pub at: TimeMs,
    /// Volatility index in 1e-6; positive.
    pub volatility_ppm: u32,
    /// Index price; positive.
    pub price: Price,
}

/// Samples no closer than a step, for as long as a span.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Series {
    samples: VecDeque<Sample>,
}

impl Series {
    /// Keeps a sample if a step has passed since the last, and returns how long ago that was: 0 for the
    /// first, `None` if it is not due.
    pub fn push(&mut self, sample: Sample, step_ms: u64, span_ms: u64) -> Option<u64> {
        let elapsed = match self.samples.back() {
            Some(last) => {
                let elapsed = sample.at.since(last.at);
                if elapsed < step_ms {
                    return None;
                }
                elapsed
            }
            None => 0,
        };
        self.samples.push_back(sample);
        while let Some(first) = self.samples.front()
            && (sample.at.since(first.at) > span_ms || self.samples.len() > SAMPLES_MAX)
        {
            self.samples.pop_front();
        }
        Some(elapsed)
    }

    /// Samples within the last `window_ms`, oldest first.
    pub fn window(&self, now: TimeMs, window_ms: u64) -> impl Iterator<Item = &Sample> {
        self.samples
            .iter()
            .skip_while(move |sample| now.since(sample.at) > window_ms)
    }

    /// The last sample.
    pub fn last(&self) -> Option<&Sample> {
        self.samples.back()
    }

    /// How many samples there are.
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }
}

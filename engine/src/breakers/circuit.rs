//! What stands between an underlying and continuous trading.

use borsh::{BorshDeserialize, BorshSerialize};

use super::underlying::UnderlyingWatch;
use crate::modes::ModeState;
use crate::types::TimeMs;

/// The circuit of one underlying: its own mode, its bands, its volatility index and its breakers.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Circuit {
    /// Its own place on the ladder. While the venue is open, this decides what may happen.
    pub mode: ModeState,
    /// Until when price bands are tight; 0 for never.
    pub tight_until: TimeMs,
    /// The last volatility index there was, in 1e-6; 0 for none.
    pub volatility_ppm: u32,
    /// When it was made.
    pub volatility_at: TimeMs,
    /// What the breakers remember.
    pub watch: UnderlyingWatch,
}

impl Circuit {
    /// Open, with no history.
    pub fn new(time: TimeMs) -> Self {
        Self {
            mode: ModeState::open(time),
            tight_until: TimeMs::new(0),
            volatility_ppm: 0,
            volatility_at: TimeMs::new(0),
            watch: UnderlyingWatch::default(),
        }
    }

    /// What is left of a band, which is in millionths, when bands may be tight.
    #[inline]
    pub fn band(&self, ppm: u32, now: TimeMs, tight_ppm: u32) -> u32 {
        if now >= self.tight_until {
            return ppm;
        }
        let tight = u64::from(ppm).saturating_mul(u64::from(tight_ppm)) / 1_000_000;
        u32::try_from(tight).unwrap_or(ppm)
    }
}

//! Which breakers there are, and what one says.

use borsh::{BorshDeserialize, BorshSerialize};

/// A breaker. The unit of its figure and bound is named here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = false)]
#[repr(u8)]
pub enum Breaker {
    /// Rise of the volatility index from its lowest over a horizon, in thousandths of that change's own
    /// standard deviation.
    Speed,
    /// Volatility index over its own slow average, in thousandths of that distance's own standard
    /// deviation.
    Level,
    /// Realised move of the index price over a horizon, in thousandths of the standard deviation that
    /// the volatility index implied at its start.
    Jump,
    /// Sources that agree on the index price; trips under its bound.
    Dispersion,
    /// Resting size near the mark, in millionths of its own slow average; trips under its bound.
    Depth,
    /// Cash withdrawn within the window, in millionths of the collateral.
    Outflow,
    /// By how much the venue's books do not add up (I1), in 1e-6 USDC.
    Conservation,
    /// How far apart the session's highest and lowest index prices are, in thousandths of what is usual for this
    /// underlying.
    Range,
}

/// A breaker tripped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Trip {
    /// Which.
    pub breaker: Breaker,
    /// 1 tightens price bands, 2 leads into an auction, 3 halts.
    pub level: u8,
    /// Over what time the figure was taken; 0 where it is of the moment.
    pub horizon_ms: u64,
    /// The figure, in the breaker's unit.
    pub figure: i64,
    /// The bound of that level, in the same unit.
    pub bound: i64,
}

/// What a breaker says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Verdict {
    /// It tripped, or rose to a higher level.
    Tripped(Trip),
    /// Its figure is back; it may trip anew.
    Released {
        /// Which.
        breaker: Breaker,
        /// Of which horizon.
        horizon_ms: u64,
        /// The figure, in the breaker's unit.
        figure: i64,
    },
}

//! Checks of new orders.

use crate::types::{Cash, InstrumentId, Side};

/// An order to be checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderCheck {
    /// Where.
    pub instrument: InstrumentId,
    /// Which side.
    pub side: Side,
    /// How many lots.
    pub lots: u32,
    /// Its price for one lot.
    pub price_per_lot: Cash,
    /// The most that fees can take.
    pub fee_max: Cash,
}

/// Lots that came to or left an account's open orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenChange {
    /// Where.
    pub instrument: InstrumentId,
    /// Which side.
    pub side: Side,
    /// Positive when they came.
    pub lots: i64,
}

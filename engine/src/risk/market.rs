//! What margin is computed from: an underlying's prices at one tick, and an instrument's terms.

use alloc::vec::Vec;

use super::Ratio;
use crate::types::{Cash, InstrumentId, OptionKind, Price, Qty, TimeMs, UnderlyingId};

/// One underlying's prices at one tick.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnderlyingState {
    /// Which underlying.
    pub underlying: UnderlyingId,
    /// Agreed time of the tick.
    pub now: TimeMs,
    /// Index price.
    pub spot: Price,
    /// How far the index is trusted, 0..=1.
    pub spot_confidence: Ratio,
    /// The perpetual's price; zero where there is none.
    pub perp: Price,
    /// How far it is trusted.
    pub perp_confidence: Ratio,
    /// Price of the settlement stablecoin in dollars.
    pub stable: Ratio,
    /// The live expiries.
    pub expiries: Vec<ExpiryState>,
}

/// One expiry's prices at one tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpiryState {
    /// When it settles.
    pub expiry: TimeMs,
    /// Forward price of what is not settled yet.
    pub forward: Price,
    /// What of the settlement price is known in the last 30 min. Where it is absent, time decides how
    /// much is, and the forward stands for it.
    pub settled: Option<Settled>,
    /// Interest rate a year; negative counts as zero.
    pub rate: Ratio,
    /// The lower of the forward's and the rate's confidence.
    pub confidence: Ratio,
}

/// The known part of a settlement price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// Mean of the samples taken.
    pub mean: Price,
    /// Their share of all samples, 0..=1.
    pub share: Ratio,
}

/// One option's marked volatility.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VolMark {
    /// Which instrument.
    pub instrument: InstrumentId,
    /// Annual volatility.
    pub vol: Ratio,
    /// How far it is trusted.
    pub confidence: Ratio,
}

/// What an instrument is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstrumentKind {
    /// A European option.
    Option {
        /// When it settles.
        expiry: TimeMs,
        /// Strike for one coin.
        strike: Price,
        /// Call or put.
        kind: OptionKind,
    },
    /// A perpetual. Its unrealised profit and funding are part of the account's cash.
    Perp,
    /// An asset that counts as collateral; positions are amounts held.
    Collateral(CollateralTerms),
}

/// How an asset counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CollateralTerms {
    /// Its price for one coin.
    pub price: Price,
    /// How far the price is trusted.
    pub confidence: Ratio,
    /// Whether it moves with the underlying and so offsets short risk.
    pub risk_cancelling: bool,
    /// Share of its value on top in initial margin.
    pub im_haircut: Ratio,
    /// Share of its value in both margins.
    pub mm_haircut: Ratio,
}

/// An instrument as the margin models see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InstrumentTerms {
    /// On what.
    pub underlying: UnderlyingId,
    /// One lot.
    pub lot: Qty,
    /// What it is.
    pub kind: InstrumentKind,
}

/// One account's stake in one instrument.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holding {
    /// Where.
    pub instrument: InstrumentId,
    /// Signed position in lots, within `POSITION_LOTS_MAX`.
    pub position: i64,
    /// Open lots on the bid side.
    pub open_buy: u64,
    /// Open lots on the ask side.
    pub open_sell: u64,
    /// What the open orders lose if they fill at their prices rather than at the mark
    /// ([`RiskBook::drag`](super::RiskBook::drag) summed over them); at most zero.
    pub open_drag: Cash,
}

impl Holding {
    /// A position without open orders.
    pub const fn position(instrument: InstrumentId, lots: i64) -> Self {
        Self {
            instrument,
            position: lots,
            open_buy: 0,
            open_sell: 0,
            open_drag: Cash::ZERO,
        }
    }
}

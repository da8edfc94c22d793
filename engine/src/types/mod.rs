//! Identifiers, units and small enumerations. Imports nothing from the rest of the engine.
//!
//! No bare integer crosses a function boundary as money, price, size or time.

mod enums;
mod ids;
mod units;

pub use enums::{
    MarginModel, Mode, OptionKind, PostOnly, RecoveryPolicy, SelfTradePrevention, Side, TimeInForce,
};
pub use ids::{
    AccountId, Address, ChainId, ClientOrderId, Digest, Height, InstrumentId, Nonce, OrderId,
    PublicKey, SettlementChain, TimeMs, UnderlyingId, ValidatorId,
};
pub use units::{Cash, Lots, Price, PriceTicks, Qty, Rounding, UnitError, mul_div};

/// Milliseconds of a day.
pub const DAY_MS: u64 = 86_400_000;
/// When the venue's day begins and options expire, 08:00 UTC: milliseconds into a day of UTC.
pub const VENUE_DAY_BEGINS_MS: u64 = 28_800_000;

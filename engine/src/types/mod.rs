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

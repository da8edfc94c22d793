//! Slow twins: plain models that the venue's fast parts are held to.
//!
//! **Owns** second opinions. They read commands and events and keep their own books in the simplest
//! way there is; they share no logic with the engine, only its vocabulary. **Never** decide
//! anything that the venue acts on.

mod book;
mod ledger;
mod liquidation;
mod margin;

pub use book::SlowBooks;
pub use ledger::{Finding, LedgerAuditor, LedgerState};
pub use liquidation::{LiquidationAuditor, LiquidationRules};
pub use margin::{SlowMargin, SlowResult};

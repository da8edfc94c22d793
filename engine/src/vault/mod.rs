//! What the engine knows of the vaults that hold the venue's collateral.
//!
//! **Owns** how far each vault's events were taken in, the chain of credited deposits, and all
//! withdrawals with the tree over them, in the very bytes that the vault reads (docs/PROTOCOL.md).
//! **Never** moves an account's cash: `apply` does, and keeps both in step, so that what the accounts
//! own and what was withdrawn add up to what was deposited (I1).

mod deposit;
mod state;
mod withdrawal;

pub use deposit::{Deposit, DepositChain};
pub use state::VaultState;
pub use withdrawal::{WITHDRAWAL_BYTES, WITHDRAWAL_KIND, Withdrawal};

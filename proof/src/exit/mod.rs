//! Leaving without anybody's help: the formats that bind the venue to a vault on a settlement chain.
//!
//! **Owns** the bytes of exit leaves, withdrawals, deposits and the exit summary, the valuation of an
//! account by its ladders, the safe range, and the trees over all of it. The contracts in `contracts/`
//! read the same bytes and compute the same integers; `docs/PROTOCOL.md` describes them for any
//! language and `vectors/exit_*.json` hold worked examples. **Never** computes a mark or a position's
//! value: it is given ladders.
//!
//! How the parts hang together:
//!
//! ```text
//! certificate ─▶ header ─▶ exit_root ─▶ summary of one settlement chain ─┬▶ accounts root ─▶ leaf
//!                                                                        └▶ withdrawals root ─▶ leaf
//! ```
//!
//! Invariants I1 (the summary's totals), I6 (what is claimable) and I9 (ladders sum to zero at every
//! level, hence at every price).

mod deposit;
mod ladder;
mod leaf;
mod safe_range;
mod summary;
mod tree;
mod wire;
mod withdrawal;

pub use deposit::{Deposit, DepositChain};
pub use ladder::{
    EXIT_LEVELS, ExitValue, Grid, Ladder, MARK_LEVEL, PricePoint, UnderlyingLadder, WEIGHT_ONE,
};
pub use leaf::{EXIT_LEAF_BYTES_MAX, ExitLeaf, LeafView, UNDERLYINGS_PER_LEAF_MAX};
pub use safe_range::{RADII, SafeBox, SafeRange};
pub use summary::{
    CertifiedUnderlying, EXIT_SUMMARY_BYTES_MAX, ExitSummary, exit_root, verify_summary,
};
pub use tree::{ExitTree, LeafHasher, verify_exit_leaf, verify_withdrawal};
pub use withdrawal::{WITHDRAWAL_BYTES, WithdrawalLeaf};

use core::fmt;

/// A settlement chain by number: the EIP-155 id of an EVM chain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SettlementChain(u64);

impl SettlementChain {
    /// Wraps a chain's number.
    pub const fn new(raw: u64) -> Self {
        Self(raw)
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for SettlementChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

//! Leaving without anybody's help: the formats that bind the venue to a vault on a settlement chain.
//!
//! **Owns** the bytes of exit leaves, withdrawals, deposits and the exit summary, the valuation of an
//! account by its ladders, the safe range, and the trees over all of it. The contracts in `contracts/`
//! read the same bytes and compute the same integers; `docs/PROTOCOL.md` describes them for any
//! language and `vectors/exit_*.json` hold worked examples. What one lot of an option is worth at a price is the engine's
//! to say; everything from there on is here.
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

mod checkpoint;
mod ladder;
mod leaf;
mod safe_range;
mod saved;
mod summary;
mod tree;
mod wire;
mod withdrawal;

pub use checkpoint::{
    ExitBuilder, ExitCheckpoint, ExitPart, LEAVES_PER_CHUNK, leaf_in_chunk, prove_withdrawal,
};
pub use ladder::{
    EXIT_LEVELS, ExitValue, Grid, Ladder, MARK_LEVEL, PricePoint, UnderlyingLadder, WEIGHT_ONE,
};
pub use leaf::{EXIT_LEAF_BYTES_MAX, ExitLeaf, LeafView, UNDERLYINGS_PER_LEAF_MAX};
pub use lifeboat_engine::types::SettlementChain;
pub use lifeboat_engine::vault::{Deposit, DepositChain};
pub use safe_range::{RADII, SafeBox, SafeRange};
pub use saved::{SavedProof, Subject};
pub use summary::{
    CertifiedUnderlying, EXIT_SUMMARY_BYTES_MAX, ExitSummary, commitment, exit_root, verify_summary,
};
pub use tree::{ExitTree, LeafHasher, verify_exit_leaf, verify_withdrawal};
pub use withdrawal::{WITHDRAWAL_BYTES, WithdrawalLeaf};

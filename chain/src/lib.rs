//! The settlement chain: where collateral lies, and what binds the venue to it.
//!
//! **Owns** the port through which everything here sees a chain ([`SettlementPort`]), its two adapters,
//! the typed vault, what is credited of deposits and when, the relayer of checkpoints, the way out of a
//! vault with nobody's help, and the comparison of what is owed with what is there. **Never** decides who
//! owns what: certificates and proofs are bytes here, made by the venue and judged by the contracts.
//! Exercises I1 and I6 from the chain's side.
//!
//! | adapter | feature | what it is |
//! |---|---|---|
//! | [`EmbeddedChain`] | always | an EVM in this process, its own authority, kept in a file; `rpc` serves it to wallets |
//! | `RpcChain` | `rpc` | any EVM chain by URL; what it says of storage is proven against a header |

pub mod anchor;
pub mod attested;
pub mod bindings;
pub mod bls;
pub mod deploy;
pub mod deposits;
#[cfg(feature = "drills")]
pub mod drills;
mod embedded;
pub mod exit;
mod journal;
mod layout;
mod port;
pub mod proof_file;
pub mod relayer;
#[cfg(feature = "rpc")]
mod rpc;
#[cfg(feature = "rpc")]
mod serve;
mod vault;
mod watch;

pub use alloy_primitives::Address;
pub use embedded::{Clock, EmbeddedChain};
pub use port::{
    BlockRef, Call, ChainError, Development, Evidence, LogEntry, LogQuery, Receipt, SettlementPort,
};
#[cfg(feature = "rpc")]
pub use rpc::{ChainKey, Finality, RpcChain, RpcConfig};
#[cfg(feature = "rpc")]
pub use serve::{ServedChain, serve};
pub use vault::{AcceptedCheckpoint, Checkpoint, Stage, Vault, VaultHead};
pub use watch::{Known, VaultWatch};

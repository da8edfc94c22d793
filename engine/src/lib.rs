//! The replicated state machine of a crypto-options venue.
//!
//! **Owns** every rule that decides who owns what: order books, ledger, margin, liquidation,
//! settlement, modes. One call, [`Engine::apply`], takes an ordered [`Block`] with one agreed time
//! and emits [`Event`]s; the same state and the same blocks give the same state root on every
//! machine.
//!
//! **Never** reads a clock, a file, a socket, a random number or a hash map's order. Time, prices,
//! deposits and advisories are commands. No input may cause a panic.
//!
//! Invariants: see `docs/INVARIANTS.md` (I1–I9).
#![cfg_attr(not(test), no_std)]

extern crate alloc;

mod apply;
pub mod auction;
pub mod auth;
pub mod block;
pub mod book;
pub mod breakers;
pub mod command;
pub mod commitment;
pub mod event;
pub mod instrument;
pub mod ledger;
pub mod limits;
pub mod liquidation;
pub mod modes;
pub mod orders;
pub mod outage;
pub mod params;
pub mod pricing;
pub mod reject;
pub mod risk;
pub mod settlement;
pub mod types;
pub mod vault;

pub use apply::{
    ApplyError, BookLevel, Engine, ExitReader, GenesisError, INSURANCE_FUND, MarginSummary,
    OrderView, SNAPSHOT_VERSION, SnapshotError, StatePart, TearUpRank,
};
pub use block::{Advanced, AgreedRoot, Applied, Block, CheckedCommand, Signer};
pub use command::Command;
pub use event::Event;
pub use params::{Genesis, GenesisAccount, Parameters};
pub use reject::Reject;

/// Whether an order labelled `poison` panics this build, for tests of what follows.
pub const POISON: bool = cfg!(feature = "poison");

//! Deribit-shaped JSON-RPC 2.0 over WebSocket and HTTP, so that a client written for Deribit works
//! by changing its URL.
//!
//! **Owns** sessions, API keys, request limits, subscriptions, the shape of every answer, and the
//! trade-only session keys that sign for clients. **Never** decides an outcome: it submits signed
//! commands through [`Venue`] and reports what the blocks say. A fate that is not known is answered
//! as `outcome_unknown`, never as an error that could be taken for "did not happen".
//!
//! Blocks come in through one task ([`Gateway::follow`]), which folds them into a bounded memory
//! and feeds the subscriptions; requests read that memory and the venue's state.
//!
//! When the venue has been through an outage, each account gets a restatement: what became of each
//! of its orders, its fills, money and positions (`statement`).
//!
//! Where it differs from Deribit: a `label` is idempotent (see `methods::trading`); a currency
//! filter takes the coin as well as the settlement currency; notifications carry `params.seq`;
//! amounts are in coin and prices in USDC throughout.

mod auth;
mod book_feed;
mod candles;
mod channel;
mod config;
mod connection;
mod decimal;
mod directory;
mod error;
mod execute;
mod gateway;
mod hub;
pub mod input;
mod keys;
mod limits;
mod memory;
mod methods;
mod metrics;
mod names;
mod orders;
mod outage;
mod outbox;
mod outcome;
mod page;
mod params;
mod patience;
pub mod port;
mod render;
mod rpc;
mod scene;
mod seals;
mod server;
mod signer;
mod snapshot;
mod statement;
mod tape;
mod topic;
pub mod view;
mod watch;
mod ws;

pub use config::Config;
pub use error::{COMMAND_DEAD, OUTCOME_UNKNOWN, RpcError, deribit_code};
pub use gateway::Gateway;
pub use keys::{ApiKey, ApiKeys, KeyError, Scope};
pub use limits::Rate;
pub use names::{index_name, option_name};
pub use port::{
    AppliedBlock, ProofOf, SettlementStatus, SubmitError, ValidatorStatus, Venue, VenueStatus,
};
pub use server::Running;

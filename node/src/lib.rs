//! One validator: consensus wiring, executor, block log, snapshots, mempool, ingress.
//!
//! **Owns** everything that touches the world. The same code runs under the consensus library's
//! deterministic runtime in drills and under tokio in production; the library stays behind this
//! crate. **Never** holds a rule of the venue: the engine does.

pub mod application;
pub mod block;
pub mod catchup;
pub mod config;
pub mod consensus;
pub mod epochs;
pub mod executor;
pub mod exits;
pub mod files;
pub mod finality;
pub mod gossip;
pub mod handle;
pub mod ingress;
pub mod journal;
pub mod keys;
pub mod machine;
pub mod mempool;
pub mod network;
pub mod node;
pub mod opening;
pub mod outcome;
pub mod quarantine;
pub mod recover;
pub mod repair;
pub mod sabotage;
pub mod service;
pub mod shadow;
pub mod shared;
pub mod signal;
pub mod sim;
pub mod snapshot;
pub mod sync;
pub mod venue;
pub mod verify;
pub mod votes;
pub mod window;

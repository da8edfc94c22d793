//! One validator: consensus wiring, executor, block log, snapshots, mempool, ingress.
//!
//! **Owns** everything that touches the world. The same code runs under the consensus library's
//! deterministic runtime in drills and under tokio in production; the library stays behind this
//! crate. **Never** holds a rule of the venue: the engine does.

pub mod application;
pub mod block;
pub mod catchup;
pub mod consensus;
pub mod executor;
pub mod files;
pub mod gossip;
pub mod handle;
pub mod journal;
pub mod machine;
pub mod mempool;
pub mod node;
pub mod outcome;
pub mod quarantine;
pub mod shared;
pub mod sim;
pub mod snapshot;
pub mod venue;

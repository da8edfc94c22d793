//! Fetches the state from peers when their snapshot is nearer than the log.
//!
//! **Owns** the messages, the side that serves and the side that fetches. A manifest counts only with
//! a chain of headers to a certificate of the validators; every chunk is checked against the
//! manifest when it arrives, and the state's root once it is whole. Whoever sent something else is
//! named and asked for nothing more. **Never** touches what the folder holds: the fetched snapshot
//! becomes known in one step, when all of it is durable, and the node starts again from it.

mod download;
mod fetch;
mod server;
mod wire;

pub use fetch::{Fetch, Fetched, fetch, want, wanted};
pub use server::{Heard, serve};
pub use wire::{MESSAGE_BYTES_MAX, Message};

/// When a snapshot is fetched instead of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SyncPolicy {
    /// A node without data fetches a snapshot that is at least so many blocks ahead of it.
    pub nearer_blocks: u64,
    /// A node with data does, once so many blocks behind f + 1 validators.
    pub behind_blocks: u64,
    /// How long peers have to say which snapshots they hold.
    pub ask_ms: u64,
    /// After which a chunk is asked of another peer.
    pub chunk_ms: u64,
}

impl Default for SyncPolicy {
    fn default() -> Self {
        Self {
            nearer_blocks: 5_000,
            behind_blocks: 20_000,
            ask_ms: 1_500,
            chunk_ms: 5_000,
        }
    }
}

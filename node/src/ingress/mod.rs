//! The native protocol for clients on the same machine or network: one TCP connection, frames of
//! `u32` little-endian length and borsh.
//!
//! **Owns** the wire types, the server, and clients for load generators. Connections, frames and
//! unanswered requests are bounded, as are the bytes of all long frames on their way in; a client that
//! does not read its answers is cut off; one that is silent half way through a frame, too. **Never** answers before execution of the finalized block (I3).

mod blocking;
mod client;
mod server;
mod wire;

pub use blocking::BlockingClient;
pub use client::{Client, ClientError};
pub use server::{Limits, serve};
pub use wire::{BlockSummary, FRAME_BYTES_MAX, IN_FLIGHT_MAX, Reply, Request, encode_frame};

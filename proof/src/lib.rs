//! What a distrustful user runs: inclusion, certificates, replay.
//!
//! **Owns** every check that needs nothing but bytes somebody handed over and a root the user
//! believes. **Never** asks a server, and never trusts a length, an index or a depth it was given:
//! any input ends in an answer or a coded [`ProofError`], within a fixed amount of memory.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod error;
pub mod exit;
mod inclusion;

pub use error::ProofError;
pub use inclusion::{STATE_PROOF_BYTES_MAX, StateProof, verify_leaf, verify_vacant};

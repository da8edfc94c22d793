//! What must hold for any bytes that reach a decoder. Each check panics where it does not.
//!
//! The fuzz targets run these checks on bytes that libFuzzer finds; the `decoders` tests of `engine`,
//! `proof`, `node`, `gateway` and `da` run the same files on mutated encodings, with any toolchain.

pub mod authorization;
pub mod batch;
pub mod block;
pub mod books;
pub mod command;
pub mod request;
pub mod rpc;
pub mod snapshot;
pub mod snapshot_message;
pub mod state_proof;

//! What must hold for any bytes that reach a decoder. Each check panics where it does not.
//!
//! The fuzz targets run these checks on bytes that libFuzzer finds; the `decoders` tests of `engine`
//! and `proof` run the same files on mutated encodings, with any toolchain.

pub mod books;
pub mod command;
pub mod state_proof;

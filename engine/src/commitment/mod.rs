//! What the venue commits to: one digest over its whole state, and a short proof for any part of it.
//!
//! **Owns** keccak256 (one message at a time and in vector lanes), the incremental Merkle tree, the
//! composition of the state root and the bytes that are hashed on the way. **Never** knows what a
//! leaf means: accounts, orders and instruments hand in their canonical bytes. Judging a proof is
//! the `proof` crate's work; it hashes by the functions here.
//!
//! Invariant I2: equal state gives an equal root on every machine, whatever its vector units.

mod batches;
mod hashing;
mod keccak;
mod lanes;
mod merkle_proof;
mod merkle_tree;
mod state_root;

pub use batches::Batches;
pub use hashing::{
    ARITY, Group, VACANT, leaf_digest, leaf_digest_with, node_digest, part_digest, tree_root,
};
pub use keccak::keccak256;
pub use lanes::{Kernel, LANES_MAX};
pub use merkle_proof::{DEPTH_MAX, MerkleProof, depth_of};
pub use merkle_tree::MerkleTree;
pub use state_root::{Sections, section_digest, state_root};

#[cfg(test)]
mod tests;

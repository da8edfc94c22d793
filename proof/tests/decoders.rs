//! The decoder of proofs, on proofs that came out wrong.
#![allow(clippy::unwrap_used, clippy::expect_used)]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

#[path = "../../engine/tests/decoders/memory.rs"]
mod memory;
#[path = "../../engine/tests/decoders/mutations.rs"]
mod mutations;
#[path = "../../fuzz/src/state_proof.rs"]
mod state_proof;

use lifeboat_engine::commitment::{MerkleTree, Sections, leaf_digest};
use lifeboat_proof::{STATE_PROOF_BYTES_MAX, StateProof};

#[global_allocator]
static ALLOCATOR: memory::Counting = memory::Counting;

/// Most memory that decoding, encoding and checking one proof may hold.
const MEMORY_MAX: usize = 8 * STATE_PROOF_BYTES_MAX;

#[test]
fn wrong_proofs_get_an_answer() {
    for count in [1, 5, 70] {
        let mut tree = MerkleTree::default();
        (0..count).for_each(|index| tree.set(index, leaf_digest(&index.to_le_bytes())));
        tree.root();
        let sections = Sections {
            meta: leaf_digest(b"meta"),
            ..Sections::default()
        };
        let path = tree.prove(count - 1).unwrap();
        let bytes = borsh::to_vec(&StateProof { sections, path }).unwrap();
        assert!(state_proof::check(&bytes));
        mutations::each(&bytes, |bytes| {
            mutations::bounded(bytes, MEMORY_MAX, state_proof::check);
        });
    }
}

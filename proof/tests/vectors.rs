//! The proofs in `vectors/commitment.json` hold, read as another language would read them.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use lifeboat_engine::commitment::MerkleProof;
use lifeboat_engine::types::Digest;
use lifeboat_proof::{ProofError, verify_leaf};
use serde_json::Value;

fn bytes(hex: &Value) -> Vec<u8> {
    let digits = hex.as_str().unwrap().strip_prefix("0x").unwrap();
    let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    (0..digits.len()).step_by(2).map(byte).collect()
}

fn digest(hex: &Value) -> Digest {
    Digest(bytes(hex).try_into().unwrap())
}

fn proof(count: u64, leaf: &Value) -> MerkleProof {
    let level = |level: &Value| [digest(&level[0]), digest(&level[1]), digest(&level[2])];
    let levels = leaf["siblings"].as_array().unwrap();
    MerkleProof {
        count,
        siblings: levels.iter().map(level).collect(),
    }
}

#[test]
fn stored_proofs_hold() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../vectors/commitment.json");
    let vectors: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let mut checked = 0;
    for tree in vectors["trees"].as_array().unwrap() {
        let (root, count) = (digest(&tree["root"]), tree["count"].as_u64().unwrap());
        for (index, leaf) in (0..).zip(tree["leaves"].as_array().unwrap()) {
            let proof = proof(count, leaf);
            let encoded: MerkleProof = borsh::from_slice(&bytes(&leaf["proof_borsh"])).unwrap();
            assert_eq!(encoded, proof);
            let mut data = bytes(&leaf["bytes"]);
            assert_eq!(verify_leaf(&root, index, &data, &proof), Ok(()));
            data.push(0);
            let refused = verify_leaf(&root, index, &data, &proof);
            assert_eq!(refused, Err(ProofError::NotIncluded));
            checked += 1;
        }
    }
    assert_eq!(checked, 1 + 2 + 4 + 5 + 16 + 17);
}

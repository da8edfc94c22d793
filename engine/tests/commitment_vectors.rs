//! `vectors/commitment.json`: what every language that hashes or checks a commitment must agree on.
#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]

mod vectors {
    use lifeboat_engine::commitment::{
        Group, MerkleTree, Sections, keccak256, leaf_digest, leaf_digest_with, node_digest,
        part_digest, section_digest, state_root, tree_root,
    };
    use lifeboat_engine::types::Digest;
    use serde_json::{Value, json};

    const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../vectors/commitment.json");
    /// Regenerates the file instead of comparing it.
    const WRITE: &str = "LIFEBOAT_WRITE_VECTORS";

    /// Sizes around every edge: empty, one leaf, one group, one more, two levels, three.
    const COUNTS: [u32; 7] = [0, 1, 2, 4, 5, 16, 17];

    fn hex(bytes: &[u8]) -> String {
        let digits = bytes.iter().map(|byte| format!("{byte:02x}"));
        format!("0x{}", digits.collect::<String>())
    }

    fn digest(digest: &Digest) -> String {
        hex(&digest.0)
    }

    /// `length` bytes 0, 1, 2, … 255, 0, …
    fn ramp(length: usize) -> Vec<u8> {
        (0..=u8::MAX).cycle().take(length).collect()
    }

    /// Leaf `index`: its number, little-endian, and ten times as many bytes as the number.
    fn leaf(index: u32) -> Vec<u8> {
        let length = usize::try_from(index).unwrap() * 10;
        [index.to_le_bytes().to_vec(), ramp(length)].concat()
    }

    fn tree_case(count: u32) -> Value {
        let mut tree = MerkleTree::default();
        tree.set_leaves(0..count, |index, out| out.extend_from_slice(&leaf(index)));
        let root = tree.root();
        let leaves = (0..count).map(|index| {
            let proof = tree.prove(index).unwrap();
            let levels = proof.siblings.iter();
            json!({
                "bytes": hex(&leaf(index)),
                "digest": digest(&tree.leaf(index)),
                "siblings": levels.map(|level| level.iter().map(digest).collect::<Vec<_>>())
                    .collect::<Vec<_>>(),
                "proof_borsh": hex(&borsh::to_vec(&proof).unwrap()),
            })
        });
        json!({ "count": count, "root": digest(&root), "leaves": leaves.collect::<Vec<_>>() })
    }

    /// Five leaves of which numbers 1 and 3 are vacant.
    fn vacancies_case() -> Value {
        let mut tree = MerkleTree::default();
        [0, 2, 4]
            .into_iter()
            .for_each(|index| tree.set(index, leaf_digest(&leaf(index))));
        json!({ "count": 5, "vacant": [1, 3], "root": digest(&tree.root()) })
    }

    /// A leaf of a head and two parts, one of one block and one of two.
    fn parts_case() -> Value {
        let parts = [ramp(3), ramp(200)];
        let cases = parts
            .iter()
            .map(|part| json!({ "bytes": hex(part), "digest": digest(&part_digest(part)) }));
        json!({
            "head": hex(b"head"),
            "parts": cases.collect::<Vec<_>>(),
            "leaf": digest(&leaf_digest_with(b"head", &parts)),
        })
    }

    fn sections_case() -> Value {
        let sections = Sections {
            meta: section_digest(b"meta"),
            parameters: section_digest(b"parameters"),
            instruments: tree_root(&leaf_digest(b"instrument"), 1),
            accounts: tree_root(&leaf_digest(b"account"), 1),
            orders: tree_root(&leaf_digest(b"order"), 1),
        };
        json!({
            "meta_bytes": hex(b"meta"),
            "meta": digest(&sections.meta),
            "parameters_bytes": hex(b"parameters"),
            "parameters": digest(&sections.parameters),
            "instruments": digest(&sections.instruments),
            "accounts": digest(&sections.accounts),
            "orders": digest(&sections.orders),
            "state_root": digest(&state_root(&sections)),
        })
    }

    fn generated() -> Value {
        let children = [0, 1, 2, 3].map(|index| leaf_digest(&leaf(index)));
        let lengths = [0, 1, 32, 128, 134, 135, 136, 137, 272, 300];
        let hashes = lengths.map(|length| {
            json!({
                "bytes": hex(&ramp(length)),
                "keccak256": digest(&keccak256(&ramp(length))),
                "leaf": digest(&leaf_digest(&ramp(length))),
            })
        });
        json!({
            "rule": "leaf = keccak256(bytes|00); node = keccak256(4 children|01), a missing child \
                is 32 zero bytes; root = keccak256(top|count as 8 bytes big-endian|02); section = \
                keccak256(bytes|03); state root = keccak256(meta|parameters|instruments|accounts|\
                orders|04); part = keccak256(bytes|05), leaf in parts = leaf of head|digest of \
                each part",
            "hashes": hashes,
            "parts": parts_case(),
            "node": {
                "children": children.iter().map(digest).collect::<Vec<_>>(),
                "digest": digest(&node_digest(&Group(children))),
            },
            "trees": COUNTS.map(tree_case),
            "vacancies": vacancies_case(),
            "state": sections_case(),
        })
    }

    #[test]
    fn are_current() {
        let generated = generated();
        if std::env::var_os(WRITE).is_some() {
            let text = serde_json::to_string_pretty(&generated).unwrap();
            std::fs::write(FILE, text + "\n").unwrap();
        }
        let stored: Value = serde_json::from_str(&std::fs::read_to_string(FILE).unwrap()).unwrap();
        assert!(
            stored == generated,
            "vectors/commitment.json is not what the code gives; if that is meant, run \
             `cargo xtask vectors` and say so in the changelog"
        );
    }
}

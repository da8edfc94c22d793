#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::expect_used
)]

use super::hashing::{LEAF_TAG, finish_message};
use super::keccak::RATE;
use super::*;
use crate::types::Digest;
use proptest::prelude::*;

fn hex(digest: &Digest) -> String {
    digest.0.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Known answers of Ethereum's keccak256: the empty string (the code hash of every account without
/// code), and `abc`.
#[test]
fn keccak_known_answers() {
    let empty = "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470";
    let abc = "4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45";
    assert_eq!(hex(&keccak256(b"")), empty);
    assert_eq!(hex(&keccak256(b"abc")), abc);
}

/// Deterministic bytes that differ by seed.
fn bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(|_| next()).collect()
}

/// Every kernel, every batch size, every length around the block's edges, mixed in one batch.
#[test]
fn lanes_agree_with_scalar() {
    let lengths = [
        0, 1, 31, 133, 134, 135, 136, 137, 269, 270, 271, 272, 273, 300, 1000, 7,
    ];
    for kernel in Kernel::available() {
        for size in 1..=LANES_MAX {
            for offset in 0..lengths.len() {
                let mut buffer = Vec::new();
                let mut ranges = Vec::new();
                let mut expected = Vec::new();
                for lane in 0..size {
                    let length = lengths[(offset + lane * 5) % lengths.len()];
                    let leaf = bytes((offset * 8 + lane) as u64, length);
                    let start = buffer.len();
                    buffer.extend_from_slice(&leaf);
                    finish_message(&mut buffer, start, LEAF_TAG);
                    ranges.push(start / RATE..buffer.len() / RATE);
                    expected.push(leaf_digest(&leaf));
                }
                let blocks = buffer.as_chunks::<RATE>().0;
                let messages: Vec<_> = ranges.into_iter().map(|range| &blocks[range]).collect();
                assert_eq!(kernel.messages(&messages)[..size], expected, "{kernel:?}");
            }
        }
    }
}

#[test]
fn node_lanes_agree_with_scalar_and_with_the_plain_message() {
    let groups: Vec<Group> = (0..LANES_MAX as u64)
        .map(|lane| {
            Group(core::array::from_fn(|i| {
                leaf_digest(&bytes(lane * 4 + i as u64, 9))
            }))
        })
        .collect();
    let plain = |group: &Group| {
        let mut message: Vec<u8> = group.0.iter().flat_map(|child| child.0).collect();
        message.push(1);
        keccak256(&message)
    };
    let expected: Vec<Digest> = groups.iter().map(plain).collect();
    for kernel in Kernel::available() {
        for size in 1..=LANES_MAX {
            let batch: Vec<&Group> = groups[..size].iter().collect();
            assert_eq!(kernel.nodes(&batch)[..size], expected[..size], "{kernel:?}");
        }
    }
}

/// The root from the definition: every level in full, nothing kept.
fn naive_root(leaves: &[Digest]) -> Digest {
    let mut level = leaves.to_vec();
    while level.len() > 1 {
        level = level
            .chunks(ARITY)
            .map(|children| {
                let mut message = Vec::new();
                for place in 0..ARITY {
                    message.extend_from_slice(&children.get(place).copied().unwrap_or(VACANT).0);
                }
                message.push(1);
                keccak256(&message)
            })
            .collect();
    }
    let mut message = level.first().copied().unwrap_or(VACANT).0.to_vec();
    message.extend_from_slice(&(leaves.len() as u64).to_be_bytes());
    message.push(2);
    keccak256(&message)
}

#[derive(Clone, Debug)]
enum Step {
    Set(u32, Vec<u8>),
    Clear(u32),
    Append(Vec<Vec<u8>>),
    Root,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let leaf = || prop::collection::vec(any::<u8>(), 0..300);
    let step = prop_oneof![
        4 => (0_u32..300, leaf()).prop_map(|(index, leaf)| Step::Set(index, leaf)),
        1 => (0_u32..300).prop_map(Step::Clear),
        2 => prop::collection::vec(leaf(), 0..20).prop_map(Step::Append),
        2 => Just(Step::Root),
    ];
    prop::collection::vec(step, 0..40)
}

fn write(leaves: &mut Vec<Digest>, index: usize, digest: Digest) {
    if leaves.len() <= index {
        leaves.resize(index + 1, VACANT);
    }
    leaves[index] = digest;
}

proptest! {
    #[test]
    fn incremental_is_naive(steps in steps()) {
        for kernel in Kernel::available() {
            let mut tree = MerkleTree::new(kernel);
            let mut leaves: Vec<Digest> = Vec::new();
            for step in &steps {
                match step {
                    Step::Set(index, leaf) => {
                        tree.set(*index, leaf_digest(leaf));
                        write(&mut leaves, *index as usize, leaf_digest(leaf));
                    }
                    Step::Clear(index) => {
                        tree.clear(*index);
                        if let Some(slot) = leaves.get_mut(*index as usize) {
                            *slot = VACANT;
                        }
                    }
                    Step::Append(more) => {
                        let first = tree.count() as u32;
                        tree.set_leaves(first..first + more.len() as u32, |index, out| {
                            out.extend_from_slice(&more[(index - first) as usize]);
                        });
                        leaves.extend(more.iter().map(|leaf| leaf_digest(leaf)));
                    }
                    Step::Root => prop_assert_eq!(tree.root(), naive_root(&leaves)),
                }
            }
            let root = tree.root();
            prop_assert_eq!(root, naive_root(&leaves));
            for (index, leaf) in leaves.iter().enumerate() {
                let proof = tree.prove(index as u32).unwrap();
                prop_assert_eq!(proof.root(index as u32, leaf), Some(root));
            }
            prop_assert!(tree.prove(leaves.len() as u32).is_none());
        }
    }
}

#[test]
fn empty_tree_has_a_root_and_no_proofs() {
    let mut tree = MerkleTree::default();
    assert_eq!(tree.root(), naive_root(&[]));
    assert_ne!(tree.root(), naive_root(&[VACANT]));
    assert!(tree.prove(0).is_none());
}

#[test]
fn a_stale_tree_proves_nothing() {
    let mut tree = MerkleTree::default();
    (0..5).for_each(|index| tree.set(index, leaf_digest(&[index as u8])));
    tree.root();
    assert!(tree.prove(4).is_some());
    tree.set(4, leaf_digest(b"new"));
    assert!(tree.prove(4).is_none());
    tree.root();
    assert!(tree.prove(4).is_some());
}

/// An inner node's message, offered as a leaf's bytes, has another tag behind it.
#[test]
fn tags_differ() {
    let children = Group(core::array::from_fn(|i| leaf_digest(&[i as u8])));
    let bytes: Vec<u8> = children.0.iter().flat_map(|child| child.0).collect();
    assert_ne!(leaf_digest(&bytes), node_digest(&children));
    assert_ne!(section_digest(&bytes), leaf_digest(&bytes));
    assert_eq!(LEAF_TAG, 0);
}

#[test]
fn every_section_moves_the_state_root() {
    let digest = |n: u8| leaf_digest(&[n]);
    let sections = Sections {
        meta: digest(0),
        parameters: digest(1),
        instruments: digest(2),
        accounts: digest(3),
        orders: digest(4),
    };
    let root = state_root(&sections);
    let other = digest(9);
    assert_ne!(
        root,
        state_root(&Sections {
            meta: other,
            ..sections
        })
    );
    assert_ne!(
        root,
        state_root(&Sections {
            parameters: other,
            ..sections
        })
    );
    assert_ne!(
        root,
        state_root(&Sections {
            instruments: other,
            ..sections
        })
    );
    assert_ne!(
        root,
        state_root(&Sections {
            accounts: other,
            ..sections
        })
    );
    assert_ne!(
        root,
        state_root(&Sections {
            orders: other,
            ..sections
        })
    );
    let swapped = Sections {
        meta: digest(1),
        parameters: digest(0),
        ..sections
    };
    assert_ne!(root, state_root(&swapped));
}

#[test]
fn depth_of_counts() {
    let cases = [
        (0, 0),
        (1, 0),
        (2, 1),
        (4, 1),
        (5, 2),
        (16, 2),
        (17, 3),
        (1 << 32, 16),
    ];
    for (count, depth) in cases {
        assert_eq!(depth_of(count), Some(depth), "{count}");
    }
    assert_eq!(depth_of((1 << 32) + 1), None);
    assert_eq!(depth_of(u64::MAX), None);
}

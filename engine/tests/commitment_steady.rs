//! A tree that has been running for a while: still the tree that its leaves define, and quiet.
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

#[path = "decoders/memory.rs"]
mod memory;

use lifeboat_engine::commitment::{Kernel, MerkleTree, leaf_digest};

#[global_allocator]
static ALLOCATOR: memory::Counting = memory::Counting;

/// Leaves of the tree: eight levels, the last group of each partly filled.
const LEAVES: u32 = 20_001;
/// Leaves touched between two roots.
const TOUCHED: usize = 300;

/// The `draw`-th number of a fixed sequence.
fn draw(draw: usize) -> u32 {
    let mixed = (draw as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 29))
        .wrapping_mul(0xbf58_476d_1ce4_e5b9)
        .to_be_bytes()[..4]
        .iter()
        .fold(0, |number, byte| number << 8 | u32::from(*byte))
}

/// Leaf `index` in its `version`.
fn leaf(index: u32, version: u8) -> [u8; 200] {
    let mut leaf = [version; 200];
    leaf[..4].copy_from_slice(&index.to_le_bytes());
    leaf
}

/// Touches the leaves of `round` in `tree` and in `versions`.
fn touch(tree: &mut MerkleTree, versions: &mut [u8], round: usize) {
    let touched = (0..TOUCHED).map(|number| draw(round * TOUCHED + number) % LEAVES);
    tree.set_leaves(touched, |index, out| {
        let version = &mut versions[index as usize];
        *version = version.wrapping_add(1);
        out.extend_from_slice(&leaf(index, *version));
    });
}

fn rebuilt(kernel: Kernel, versions: &[u8]) -> MerkleTree {
    let mut tree = MerkleTree::new(kernel);
    for (index, version) in (0..).zip(versions) {
        tree.set(index, leaf_digest(&leaf(index, *version)));
    }
    tree
}

#[test]
fn after_many_rounds_it_is_the_tree_built_anew() {
    for kernel in Kernel::available() {
        let mut versions = vec![0; LEAVES as usize];
        let mut tree = rebuilt(kernel, &versions);
        for round in 0..6 {
            touch(&mut tree, &mut versions, round);
            let root = tree.root();
            assert_eq!(
                root,
                rebuilt(Kernel::SCALAR, &versions).root(),
                "{kernel:?} {round}"
            );
        }
    }
}

/// Once as many leaves were touched before, writing and re-hashing allocate nothing.
#[test]
fn the_steady_path_allocates_nothing() {
    let mut versions = vec![0; LEAVES as usize];
    let mut tree = rebuilt(Kernel::detect(), &versions);
    tree.root();
    for round in 0..50 {
        let peak = memory::peak_of(|| {
            touch(&mut tree, &mut versions, round);
            tree.root()
        });
        assert!(peak == 0 || round == 0, "{peak} bytes in round {round}");
    }
}

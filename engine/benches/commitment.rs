//! What the state root costs: 10 000 random accounts of 1 million touched, their leaves hashed
//! again and the root brought up to date, on one core, by every kernel this machine has.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use lifeboat_engine::commitment::{Kernel, MerkleTree, keccak256};

/// Accounts in the tree.
const ACCOUNTS: u32 = 1_000_000;
/// Accounts touched between two roots.
const TOUCHED: usize = 10_000;
/// Bytes of an account's leaf: identity, cash and ten positions.
const LEAF_BYTES: usize = 300;

fn main() {
    let mut tree = full_tree(Kernel::detect(), &leaves());
    tree.root();
    println!(
        "workload: {ACCOUNTS} accounts of {LEAF_BYTES} bytes, {TOUCHED} random ones touched a root; \
         tree memory {} bytes ({:.1} a leaf)",
        tree.memory_bytes(),
        tree.memory_bytes() as f64 / f64::from(ACCOUNTS)
    );
    drop(tree);
    divan::main();
}

/// A small generator, so that every run touches the same accounts.
struct Draws(u64);

impl Draws {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

fn leaves() -> Vec<[u8; LEAF_BYTES]> {
    let mut draws = Draws(0x1234_5678_9abc_def1);
    let mut leaf = || {
        let mut leaf = [0; LEAF_BYTES];
        leaf.chunks_mut(8).for_each(|chunk| {
            let word = draws.next().to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        });
        leaf
    };
    (0..ACCOUNTS).map(|_| leaf()).collect()
}

fn full_tree(kernel: Kernel, leaves: &[[u8; LEAF_BYTES]]) -> MerkleTree {
    let mut tree = MerkleTree::new(kernel);
    tree.set_leaves(0..ACCOUNTS, |index, out| {
        out.extend_from_slice(&leaves[index as usize])
    });
    tree
}

fn kernels() -> Vec<Kernel> {
    Kernel::available().collect()
}

/// Leaves and root.
#[divan::bench(args = kernels(), sample_count = 30, sample_size = 1)]
fn root_after_10_000_of_1_000_000(bencher: Bencher, kernel: Kernel) {
    let mut leaves = leaves();
    let mut tree = full_tree(kernel, &leaves);
    tree.root();
    let mut draws = Draws(0xfeed_beef_dead_cafe);
    bencher.counter(ItemsCount::new(TOUCHED)).bench_local(|| {
        let touched = (0..TOUCHED).map(|_| (draws.next() % u64::from(ACCOUNTS)) as u32);
        tree.set_leaves(touched, |index, out| {
            let leaf = &mut leaves[index as usize];
            leaf[0] = leaf[0].wrapping_add(1);
            out.extend_from_slice(leaf);
        });
        black_box(tree.root())
    });
}

/// The same without the leaves' own hashing: digests are given.
#[divan::bench(args = kernels(), sample_count = 30, sample_size = 1)]
fn paths_only_after_10_000_of_1_000_000(bencher: Bencher, kernel: Kernel) {
    let mut tree = full_tree(kernel, &leaves());
    tree.root();
    let mut draws = Draws(0xfeed_beef_dead_cafe);
    bencher.counter(ItemsCount::new(TOUCHED)).bench_local(|| {
        for _ in 0..TOUCHED {
            let index = (draws.next() % u64::from(ACCOUNTS)) as u32;
            let digest = tree.leaf(index ^ 1);
            tree.set(index, digest);
        }
        black_box(tree.root())
    });
}

/// Hashing alone: every leaf of a tree that stays in the core's own cache, 10 922 inner nodes.
#[divan::bench(args = kernels(), sample_count = 30, sample_size = 1)]
fn inner_nodes_in_cache(bencher: Bencher, kernel: Kernel) {
    let mut tree = MerkleTree::new(kernel);
    let leaves = 1_u32 << 15;
    let digests: Vec<_> = (0..leaves)
        .map(|index| keccak256(&index.to_le_bytes()))
        .collect();
    bencher
        .counter(ItemsCount::new(10_922_u32))
        .bench_local(|| {
            (0..leaves).for_each(|index| tree.set(index, digests[index as usize]));
            black_box(tree.root())
        });
}

/// A tree built from nothing, as after reading a snapshot.
#[divan::bench(args = kernels(), sample_count = 2, sample_size = 1)]
fn whole_tree_of_1_000_000(bencher: Bencher, kernel: Kernel) {
    let leaves = leaves();
    bencher
        .counter(ItemsCount::new(ACCOUNTS))
        .bench_local(|| black_box(full_tree(kernel, &leaves).root()));
}

/// The yardstick: one message at a time.
#[divan::bench(args = [128, 300])]
fn keccak256_of_one_message(bencher: Bencher, length: usize) {
    let message = vec![7_u8; length];
    bencher.bench_local(|| keccak256(black_box(&message)));
}

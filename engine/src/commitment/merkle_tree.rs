//! A Merkle tree over densely numbered leaves that re-hashes only what was touched.

use alloc::vec::Vec;
use core::mem;

use super::batches::Batches;
use super::hashing::{ARITY, Group, LEAF_TAG, VACANT, parent_of, place_of, tree_root};
use super::lanes::{Kernel, LANES_MAX, prefetch};
use super::merkle_proof::{MerkleProof, depth_of};
use crate::types::Digest;

/// Leaves by index, 0 upwards, with every inner node kept. It grows by being written to; leaves that
/// were never set, or were cleared, are [`VACANT`].
///
/// The root is a function of the count and the leaf digests alone, whatever the order of writes and
/// whatever the kernel. Memory: about 43 bytes a leaf, taken at once up to the highest index, which
/// the caller bounds. Writing and re-hashing leaves that exist allocates nothing once as many were
/// touched between two roots before.
#[derive(Clone, Debug)]
pub struct MerkleTree {
    batches: Batches,
    count: u64,
    /// Leaves first, the top last: level k holds ⌈count ÷ 4ᵏ⌉ digests.
    levels: Vec<Level>,
}

/// One level's digests, in the groups of children that are hashed together.
#[derive(Clone, Debug, Default)]
struct Level {
    groups: Vec<Group>,
    /// One bit a group: it is in `touched`.
    marked: Vec<u64>,
    /// Groups whose parent is out of date. The top's one group stays in: it has no parent yet.
    touched: Vec<u32>,
}

impl Default for MerkleTree {
    fn default() -> Self {
        Self::new(Kernel::detect())
    }
}

impl MerkleTree {
    /// An empty tree that hashes with `kernel`.
    pub fn new(kernel: Kernel) -> Self {
        Self {
            batches: Batches::new(kernel),
            count: 0,
            levels: Vec::from([Level::default()]),
        }
    }

    /// Leaves, vacant ones included: one more than the highest index ever written.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The leaf digest at `index`; [`VACANT`] where nothing was written.
    pub fn leaf(&self, index: u32) -> Digest {
        self.levels
            .first()
            .and_then(|leaves| leaves.get(index))
            .copied()
            .unwrap_or(VACANT)
    }

    /// Bytes of memory held.
    pub fn memory_bytes(&self) -> usize {
        let levels = self.levels.iter().map(Level::memory_bytes);
        levels.fold(self.batches.memory_bytes(), usize::saturating_add)
    }

    /// Writes a leaf's digest. Indices past the count grow the tree.
    pub fn set(&mut self, index: u32, leaf: Digest) {
        self.grow(u64::from(index).saturating_add(1));
        if let Some(leaves) = self.levels.first_mut() {
            leaves.put(index, leaf);
        }
    }

    /// Grows the tree to `count` leaves at once, vacant until they are written.
    pub fn reserve(&mut self, count: u64) {
        self.grow(count.min(1 << u32::BITS));
    }

    /// Makes the leaf at `index` vacant. The count stays.
    pub fn clear(&mut self, index: u32) {
        if u64::from(index) < self.count {
            self.set(index, VACANT);
        }
    }

    /// Hashes and writes leaves in batches: for each index `encode` appends the leaf's bytes to what
    /// it is given.
    pub fn set_leaves(
        &mut self,
        indices: impl IntoIterator<Item = u32>,
        mut encode: impl FnMut(u32, &mut Vec<u8>),
    ) {
        let mut indices = indices.into_iter().fuse();
        loop {
            let batch = self.batches.next(&mut indices, LEAF_TAG, &mut encode);
            if batch.iter().all(Option::is_none) {
                break;
            }
            for (index, digest) in batch.into_iter().flatten() {
                self.set(index, digest);
            }
        }
    }

    /// The root, after re-hashing the paths of every leaf touched since the last call.
    pub fn root(&mut self) -> Digest {
        let kernel = self.batches.kernel;
        for level in 0..self.levels.len() {
            let (lower, upper) = self.levels.split_at_mut(level.saturating_add(1));
            if let (Some(children), Some(parents)) = (lower.last_mut(), upper.first_mut()) {
                children.rehash_into(parents, kernel);
            }
        }
        tree_root(&self.top(), self.count)
    }

    /// The path from the leaf at `index`, vacant or not, to the last root. `None` past the count, or
    /// when leaves were written since [`root`](Self::root).
    pub fn prove(&self, index: u32) -> Option<MerkleProof> {
        let (_, inner) = self.levels.split_last()?;
        let stale = inner.iter().any(|level| !level.touched.is_empty());
        if stale || u64::from(index) >= self.count {
            return None;
        }
        let mut siblings = Vec::with_capacity(inner.len());
        let mut position = index;
        for level in inner {
            let group = level.groups.get(parent_of(position) as usize)?;
            siblings.push(without(group, position));
            position = parent_of(position);
        }
        Some(MerkleProof {
            count: self.count,
            siblings,
        })
    }

    fn top(&self) -> Digest {
        self.levels
            .last()
            .and_then(|level| level.get(0))
            .copied()
            .unwrap_or(VACANT)
    }

    fn grow(&mut self, count: u64) {
        if count <= self.count {
            return;
        }
        self.count = count;
        // A `u32` index is never deeper than `DEPTH_MAX`.
        let levels = depth_of(count).unwrap_or_default().saturating_add(1);
        self.levels
            .resize_with(levels.max(self.levels.len()), Level::default);
        let mut width = count;
        for (depth, level) in self.levels.iter_mut().enumerate() {
            let groups = width.div_ceil(ARITY as u64);
            level.grow(usize::try_from(groups).unwrap_or(usize::MAX), depth == 0);
            width = groups;
        }
    }
}

impl Level {
    fn get(&self, position: u32) -> Option<&Digest> {
        self.groups
            .get(parent_of(position) as usize)?
            .0
            .get(place_of(position))
    }

    fn put(&mut self, position: u32, digest: Digest) {
        let group = self.groups.get_mut(parent_of(position) as usize);
        if let Some(slot) = group.and_then(|group| group.0.get_mut(place_of(position))) {
            *slot = digest;
            self.touch(parent_of(position));
        }
    }

    fn touch(&mut self, group: u32) {
        let Some(word) = self.marked.get_mut(group as usize / 64) else {
            return;
        };
        let bit = 1_u64 << (group % 64);
        if *word & bit == 0 {
            *word |= bit;
            self.touched.push(group);
        }
    }

    /// Makes room; new groups of leaves, vacant as they are, have parents to hash.
    fn grow(&mut self, groups: usize, leaves: bool) {
        let before = self.groups.len();
        if groups <= before {
            return;
        }
        self.groups.resize(groups, Group::VACANT);
        self.marked.resize(groups.div_ceil(64), 0);
        if leaves {
            (before..groups)
                .filter_map(|group| u32::try_from(group).ok())
                .for_each(|group| {
                    self.touch(group);
                });
        }
    }

    fn rehash_into(&mut self, parents: &mut Self, kernel: Kernel) {
        let mut touched = mem::take(&mut self.touched);
        // Groups lie far apart: the next batch comes nearer while this one is hashed.
        let mut ahead = touched.chunks(LANES_MAX).skip(1);
        for batch in touched.chunks(LANES_MAX) {
            for index in ahead.next().unwrap_or_default() {
                self.groups
                    .get(*index as usize)
                    .into_iter()
                    .for_each(prefetch);
            }
            let mut groups = [&Group::VACANT; LANES_MAX];
            for (group, index) in groups.iter_mut().zip(batch) {
                if let Some(found) = self.groups.get(*index as usize) {
                    *group = found;
                }
            }
            let digests = kernel.nodes(groups.get(..batch.len()).unwrap_or_default());
            for (index, digest) in batch.iter().zip(digests) {
                parents.put(*index, digest);
                if let Some(word) = self.marked.get_mut(*index as usize / 64) {
                    *word &= !(1_u64 << (index % 64));
                }
            }
        }
        touched.clear();
        self.touched = touched;
    }

    fn memory_bytes(&self) -> usize {
        mem::size_of::<Group>()
            .saturating_mul(self.groups.capacity())
            .saturating_add(self.marked.capacity().saturating_mul(8))
            .saturating_add(self.touched.capacity().saturating_mul(4))
    }
}

/// The siblings of the digest at `position`, in order.
fn without(group: &Group, position: u32) -> [Digest; ARITY - 1] {
    let [first, second, third, fourth] = group.0;
    match place_of(position) {
        0 => [second, third, fourth],
        1 => [first, third, fourth],
        2 => [first, second, fourth],
        _ => [first, second, third],
    }
}

//! A leaf's path to its tree's root.

use super::hashing::{ARITY, Group, node_digest, parent_of, place_of, tree_root};
use crate::types::Digest;
use alloc::vec::Vec;
use borsh::io::{Error, ErrorKind, Read, Result};
use borsh::{BorshDeserialize, BorshSerialize};

/// Levels above the leaves of the deepest tree: 4¹⁶ leaves, every `u32` index.
pub const DEPTH_MAX: usize = 16;

/// What leads from one leaf to the root of its tree: at most `DEPTH_MAX` levels.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize)]
pub struct MerkleProof {
    /// Leaves of the tree, vacant ones included.
    pub count: u64,
    /// The other three children at each level, in index order, from the leaves up.
    pub siblings: Vec<[Digest; ARITY - 1]>,
}

/// Levels above the leaves of a tree of `count` leaves; `None` over `DEPTH_MAX`.
pub fn depth_of(count: u64) -> Option<usize> {
    (0..=DEPTH_MAX).find(|depth| {
        let bits = u32::try_from(depth.saturating_mul(2)).unwrap_or(u32::MAX);
        1_u64
            .checked_shl(bits)
            .is_some_and(|leaves| count <= leaves)
    })
}

impl MerkleProof {
    /// The root of the tree in which `leaf` is at `index`; `None` if the proof's shape cannot
    /// belong to that index: an index past the count, a path of the wrong length.
    pub fn root(&self, index: u32, leaf: &Digest) -> Option<Digest> {
        if u64::from(index) >= self.count || depth_of(self.count)? != self.siblings.len() {
            return None;
        }
        let mut digest = *leaf;
        let mut position = index;
        for siblings in &self.siblings {
            digest = node_digest(&group_with(siblings, place_of(position), digest));
            position = parent_of(position);
        }
        Some(tree_root(&digest, self.count))
    }
}

/// The group in which `child` stands at `place` among its siblings.
fn group_with(siblings: &[Digest; ARITY - 1], place: usize, child: Digest) -> Group {
    let [first, second, third] = *siblings;
    Group(match place {
        0 => [child, first, second, third],
        1 => [first, child, second, third],
        2 => [first, second, child, third],
        _ => [first, second, third, child],
    })
}

impl BorshDeserialize for MerkleProof {
    /// Refuses more than `DEPTH_MAX` levels before it makes room for any.
    fn deserialize_reader<R: Read>(reader: &mut R) -> Result<Self> {
        let count = u64::deserialize_reader(reader)?;
        let levels = usize::try_from(u32::deserialize_reader(reader)?).unwrap_or(usize::MAX);
        if levels > DEPTH_MAX {
            return Err(Error::new(
                ErrorKind::InvalidData,
                "a Merkle path over its bound",
            ));
        }
        let mut siblings = Vec::with_capacity(levels);
        for _ in 0..levels {
            siblings.push(<[Digest; ARITY - 1]>::deserialize_reader(reader)?);
        }
        Ok(Self { count, siblings })
    }
}

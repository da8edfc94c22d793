//! The bytes that are hashed. Every message ends in a one-byte tag for what it is, so no leaf, inner
//! node, tree root, section or state root is ever the preimage of another.

use super::keccak::{PAD_FIRST, PAD_LAST, RATE, keccak256};
use crate::types::Digest;
use alloc::vec::Vec;

/// Children of an inner node. Four digests and the tag fill exactly one block of the permutation:
/// half the permutations of a binary tree for each touched path.
pub const ARITY: usize = 4;

/// Bits of a position that choose among siblings.
const ARITY_BITS: u32 = ARITY.trailing_zeros();
const _: () = assert!(1 << ARITY_BITS == ARITY);

/// The digest that stands where no leaf is. Nothing hashes to it.
pub const VACANT: Digest = Digest([0; 32]);

pub(super) const LEAF_TAG: u8 = 0;
pub(super) const NODE_TAG: u8 = 1;
pub(super) const TREE_TAG: u8 = 2;
pub(super) const SECTION_TAG: u8 = 3;
pub(super) const STATE_TAG: u8 = 4;
pub(super) const PART_TAG: u8 = 5;

/// The four children of one inner node, where the tree keeps them: two cache lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(128))]
pub struct Group(pub [Digest; ARITY]);

impl Group {
    /// No children.
    pub const VACANT: Self = Self([VACANT; ARITY]);

    /// The padded message of the inner node over these children.
    pub(super) fn block(&self) -> [u8; RATE] {
        let mut block = [0_u8; RATE];
        let (children, tail) = block.as_chunks_mut::<32>();
        for (bytes, child) in children.iter_mut().zip(&self.0) {
            *bytes = child.0;
        }
        for (byte, from) in tail.iter_mut().zip(NODE_TAIL.to_le_bytes()) {
            *byte = from;
        }
        block
    }
}

/// The position, one level up, of the parent of the digest at `position`.
pub(super) const fn parent_of(position: u32) -> u32 {
    position >> ARITY_BITS
}

/// The place of the digest at `position` among its siblings, below `ARITY`.
pub(super) const fn place_of(position: u32) -> usize {
    (position ^ (parent_of(position) << ARITY_BITS)) as usize
}

/// The last word of an inner node's only block: tag, padding's first byte, padding's last byte.
pub(super) const NODE_TAIL: u64 =
    u64::from_le_bytes([NODE_TAG, PAD_FIRST, 0, 0, 0, 0, 0, PAD_LAST]);

/// Digest of a leaf: `keccak256(bytes ‖ 00)`.
pub fn leaf_digest(bytes: &[u8]) -> Digest {
    tagged(bytes, LEAF_TAG)
}

/// Digest of a part of a leaf: `keccak256(bytes ‖ 05)`.
pub fn part_digest(bytes: &[u8]) -> Digest {
    tagged(bytes, PART_TAG)
}

/// Digest of a leaf in parts: `keccak256(head ‖ digest of each part ‖ 00)`. The head says how many
/// parts there are. Without parts it is [`leaf_digest`].
pub fn leaf_digest_with<P: AsRef<[u8]>>(head: &[u8], parts: &[P]) -> Digest {
    let mut message = head.to_vec();
    for part in parts {
        message.extend_from_slice(&part_digest(part.as_ref()).0);
    }
    leaf_digest(&message)
}

/// Digest of an inner node: `keccak256(child₀ ‖ child₁ ‖ child₂ ‖ child₃ ‖ 01)`.
pub fn node_digest(children: &Group) -> Digest {
    let mut sponge = super::keccak::Sponge::new();
    sponge.absorb(&children.block());
    sponge.digest()
}

/// Root of a tree: `keccak256(top ‖ count, 8 bytes big-endian ‖ 02)`. The count fixes the depth and
/// the shape, so a subtree never passes as a tree.
pub fn tree_root(top: &Digest, count: u64) -> Digest {
    let mut message = [0_u8; 41];
    let parts = top
        .0
        .iter()
        .copied()
        .chain(count.to_be_bytes())
        .chain([TREE_TAG]);
    for (byte, from) in message.iter_mut().zip(parts) {
        *byte = from;
    }
    keccak256(&message)
}

/// `keccak256(bytes ‖ tag)`.
pub(super) fn tagged(bytes: &[u8], tag: u8) -> Digest {
    let mut message = Vec::with_capacity(bytes.len().saturating_add(1));
    message.extend_from_slice(bytes);
    message.push(tag);
    keccak256(&message)
}

/// Ends the message that starts at `start` of `buffer` with tag and padding, in place, so that its
/// blocks are absorbed from there.
pub(super) fn finish_message(buffer: &mut Vec<u8>, start: usize, tag: u8) {
    let end = buffer.len();
    let length = end.saturating_sub(start).saturating_add(2);
    let padded = length.next_multiple_of(RATE);
    buffer.resize(start.saturating_add(padded), 0);
    if let Some([first, second]) = buffer
        .get_mut(end..)
        .and_then(|rest| rest.first_chunk_mut())
    {
        (*first, *second) = (tag, PAD_FIRST);
    }
    // If the block was full already, its last byte is the padding's first and becomes 0x81.
    if let Some(byte) = buffer.last_mut() {
        *byte |= PAD_LAST;
    }
}

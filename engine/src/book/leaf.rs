//! The fixed-size images of a slot and of the books' counters: what the state root commits to and
//! what a snapshot holds.

use super::books::Books;
use super::slab::{LEVEL_FREE, LEVEL_RESERVED, LEVEL_RETIRED};

/// Bytes of a slot's leaf.
pub const SLOT_LEAF_BYTES: usize = 32;
/// A slot's leaf. Byte 0 says what follows, integers are little-endian:
/// * 1, a resting order: side, flags, 0, generation u32, owner u32, book u32, price u32, lots u32,
///   priority u64;
/// * 2, an allocated order that does not rest: three zeros, generation u32;
/// * 0, a free slot: three zeros, generation u32, next free slot u32 (`u32::MAX`: none);
/// * 3, a slot without generations left.
///
/// The rest is zero. With [`BooksLeaf`] it commits to every queue's order (priorities ascend) and
/// to the free list.
pub type SlotLeaf = [u8; SLOT_LEAF_BYTES];
/// The counters' leaf: slots u32, free list's top u32, next priority u64, live orders u32, zeros.
pub type BooksLeaf = [u8; SLOT_LEAF_BYTES];

pub(super) const KIND_FREE: u8 = 0;
pub(super) const KIND_RESTING: u8 = 1;
pub(super) const KIND_ALLOCATED: u8 = 2;
pub(super) const KIND_RETIRED: u8 = 3;

/// Joins byte arrays into a leaf, zero-filled. Lengths are constants where it is inlined.
#[inline(always)]
fn join<const N: usize>(parts: [&[u8]; N]) -> [u8; SLOT_LEAF_BYTES] {
    let mut leaf = [0; SLOT_LEAF_BYTES];
    let mut rest = leaf.as_mut_slice();
    for part in parts {
        let Some((place, behind)) = rest.split_at_mut_checked(part.len()) else {
            break;
        };
        place.copy_from_slice(part);
        rest = behind;
    }
    leaf
}

impl Books {
    /// How many slots have a leaf.
    pub fn slots(&self) -> u32 {
        self.slab.all().len() as u32
    }

    /// Whether an order rests in a slot.
    #[inline]
    pub fn rests_in(&self, index: u32) -> bool {
        self.slab.get(index).is_some_and(|slot| slot.rests())
    }

    /// The leaf of a slot below [`Self::slots`].
    pub fn slot_leaf(&self, index: u32) -> Option<SlotLeaf> {
        let slot = self.slab.get(index)?;
        let generation = slot.generation.to_le_bytes();
        Some(match slot.level {
            LEVEL_FREE => join([&[KIND_FREE, 0, 0, 0], &generation, &slot.next.to_le_bytes()]),
            LEVEL_RESERVED => join([&[KIND_ALLOCATED, 0, 0, 0], &generation]),
            LEVEL_RETIRED => join([&[KIND_RETIRED]]),
            level => {
                let place = self.ladders.place(level)?;
                join([
                    &[KIND_RESTING, place.side as u8, slot.flags(), 0],
                    &generation,
                    &slot.owner.to_le_bytes(),
                    &place.book.get().to_le_bytes(),
                    &place.price.get().to_le_bytes(),
                    &slot.lots.to_le_bytes(),
                    &slot.priority().to_le_bytes(),
                ])
            }
        })
    }

    /// The leaf of what is not in any slot.
    pub fn books_leaf(&self) -> BooksLeaf {
        join([
            &self.slots().to_le_bytes(),
            &self.slab.free_head().to_le_bytes(),
            &self.next_priority.to_le_bytes(),
            &self.live().to_le_bytes(),
        ])
    }
}

//! Books to bytes and back, exactly: slots, generations, free list, priorities and queue order.
//!
//! Format: the counters' leaf, the number of open books u32 and their ids ascending u32 each, then
//! each slot's leaf in slot order. There is one encoding of given books. Reading checks all of it:
//! hostile bytes give an error, and memory grows only with bytes that were really read.

use super::books::{Books, NewOrder};
use super::ladder::Level;
use super::leaf::{
    KIND_ALLOCATED, KIND_FREE, KIND_RESTING, KIND_RETIRED, SLOT_LEAF_BYTES, SlotLeaf,
};
use super::slab::{LEVEL_FREE, LEVEL_RESERVED, LEVEL_RETIRED, NONE, PRIORITY_END, Slab, Slot};
use crate::limits::{ACCOUNTS_MAX, INSTRUMENTS_MAX, ORDERS_MAX};
use crate::types::{AccountId, InstrumentId, Lots, PriceTicks, Side};
use alloc::vec::Vec;
use borsh::io::{Error, ErrorKind, Read, Result, Write};

fn bad(what: &'static str) -> Error {
    Error::new(ErrorKind::InvalidData, what)
}

/// Reads little-endian fields off a leaf and, at its end, asks that the rest be zero.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    #[inline(always)]
    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (field, rest) = self
            .0
            .split_first_chunk()
            .ok_or_else(|| bad("leaf too short"))?;
        self.0 = rest;
        Ok(*field)
    }

    #[inline(always)]
    fn u32(&mut self) -> Result<u32> {
        self.take().map(u32::from_le_bytes)
    }

    #[inline(always)]
    fn u64(&mut self) -> Result<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn end(self) -> Result<()> {
        let zero = self.0.iter().all(|byte| *byte == 0);
        zero.then_some(())
            .ok_or_else(|| bad("leaf has bytes after its fields"))
    }
}

/// Leaves that are read together.
const LEAVES_AT_ONCE: usize = 512;
/// How many times the slots that were read there may be room for: growing copies.
const GROWTH: usize = 4;

impl Books {
    /// Writes the books.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write<W: Write>(&self, writer: &mut W) -> Result<()> {
        writer.write_all(&self.books_leaf())?;
        let open = self.open_books().count() as u32;
        writer.write_all(&open.to_le_bytes())?;
        for book in self.open_books() {
            writer.write_all(&book.get().to_le_bytes())?;
        }
        for leaf in (0..self.slots()).filter_map(|index| self.slot_leaf(index)) {
            writer.write_all(&leaf)?;
        }
        Ok(())
    }

    /// Reads what [`Self::write`] wrote. Nothing is touched afterwards.
    ///
    /// # Errors
    /// `InvalidData` when the bytes are not what some books would write, else those of the reader.
    pub fn read<R: Read>(reader: &mut R) -> Result<Self> {
        let mut leaf = [0; SLOT_LEAF_BYTES];
        reader.read_exact(&mut leaf)?;
        let mut counters = Fields(&leaf);
        let (slots, free_head) = (counters.u32()?, counters.u32()?);
        let (next_priority, live) = (counters.u64()?, counters.u32()?);
        counters.end()?;
        if slots > ORDERS_MAX || next_priority == 0 || next_priority > PRIORITY_END {
            return Err(bad("counters out of bounds"));
        }
        let mut books = Self::new();
        books.next_priority = next_priority;
        books.read_open(reader)?;
        let slab = books.read_slots(reader, slots)?;
        check_free_list(&slab, free_head)?;
        if slab.iter().filter(|slot| is_live(slot)).count() != live as usize {
            return Err(bad("wrong number of live orders"));
        }
        books.slab = Slab::restore(slab, free_head, live);
        books.link_all()?;
        Ok(books)
    }

    fn read_open<R: Read>(&mut self, reader: &mut R) -> Result<()> {
        let count = read_u32(reader)?;
        let mut least = 0;
        for _ in 0..count {
            let id = read_u32(reader)?;
            if id < least || id >= INSTRUMENTS_MAX || !self.open(InstrumentId::new(id)) {
                return Err(bad("open books not ascending or out of bounds"));
            }
            least = id.saturating_add(1);
        }
        Ok(())
    }

    /// Reads the slots. Resting ones know their levels and are in no queue yet.
    fn read_slots<R: Read>(&mut self, reader: &mut R, count: u32) -> Result<Vec<Slot>> {
        let mut slots = Vec::new();
        let mut leaves = [[0; SLOT_LEAF_BYTES]; LEAVES_AT_ONCE];
        let mut left = count as usize;
        while left > 0 {
            let some = left.min(LEAVES_AT_ONCE);
            let leaves = leaves.get_mut(..some).unwrap_or_default();
            reader.read_exact(leaves.as_flattened_mut())?;
            // Grown as bytes arrive: a count alone allocates next to nothing.
            if slots.capacity().saturating_sub(slots.len()) < some {
                slots.reserve_exact(left.min(some.max(slots.len().saturating_mul(GROWTH))));
            }
            for leaf in leaves {
                slots.push(self.read_slot(leaf)?);
            }
            left = left.saturating_sub(some);
        }
        Ok(slots)
    }

    #[inline]
    fn read_slot(&mut self, leaf: &SlotLeaf) -> Result<Slot> {
        if leaf.first() == Some(&KIND_RESTING) {
            self.read_resting(leaf)
        } else {
            read_idle(leaf)
        }
    }

    /// The slot of a resting order at its level, which is made if there is none.
    #[inline]
    fn read_resting(&mut self, leaf: &SlotLeaf) -> Result<Slot> {
        let mut fields = Fields(leaf);
        let [_, side, flags, zero] = fields.take()?;
        let (generation, owner) = (fields.u32()?, fields.u32()?);
        let (book, price, lots) = (fields.u32()?, fields.u32()?, fields.u32()?);
        let priority = fields.u64()?;
        let side = Side::ALL.get(side as usize);
        let side = *side.ok_or_else(|| bad("unknown side"))?;
        if zero != 0 || generation == 0 || owner >= ACCOUNTS_MAX {
            return Err(bad("slot out of bounds"));
        }
        if priority == 0 || priority >= self.next_priority {
            return Err(bad("priorities not unique or out of bounds"));
        }
        let order = NewOrder {
            side,
            price: PriceTicks::new(price),
            lots: Lots::new(lots),
            owner: AccountId::new(owner),
            flags,
        };
        let place = self.prepare(InstrumentId::new(book), &order);
        let (_, _, level) = place.ok_or_else(|| bad("resting order out of bounds"))?;
        Ok(Slot {
            stamp: (priority << 8) | u64::from(flags),
            level,
            next: NONE,
            prev: NONE,
            lots,
            owner,
            generation,
        })
    }

    /// Links resting slots in the order of their priorities, which makes the queues what they were.
    fn link_all(&mut self) -> Result<()> {
        let resting = self.slab.all().iter().filter(|slot| slot.rests());
        if resting.is_sorted_by(|a, b| a.priority() < b.priority()) {
            return (0..self.slots()).try_for_each(|index| self.link(index));
        }
        let slots = (0..).zip(self.slab.all());
        let mut order: Vec<(u64, u32)> = slots
            .filter(|(_, slot)| slot.rests())
            .map(|(index, slot)| (slot.priority(), index))
            .collect();
        order.sort_unstable();
        if !order.is_sorted_by(|a, b| a.0 < b.0) {
            return Err(bad("priorities not unique or out of bounds"));
        }
        order
            .into_iter()
            .try_for_each(|(_, index)| self.link(index))
    }

    /// Puts a slot that knows its level, if it rests, at the tail of the queue there.
    #[inline]
    fn link(&mut self, index: u32) -> Result<()> {
        let Some(slot) = self.slab.get(index).filter(|slot| slot.rests()) else {
            return Ok(());
        };
        let (level, lots) = (slot.level, slot.lots);
        if self.ladders.level(level).is_none_or(Level::is_full) {
            return Err(bad("resting order out of bounds"));
        }
        let Some((prev, first)) = self.join_queue(index, level, lots) else {
            return Ok(());
        };
        if first {
            self.ladders.occupied_at(level);
        }
        if let Some(slot) = self.slab.get_mut(index) {
            slot.prev = prev;
        }
        Ok(())
    }
}

fn is_live(slot: &Slot) -> bool {
    slot.level != LEVEL_FREE && slot.level != LEVEL_RETIRED
}

fn read_u32<R: Read>(reader: &mut R) -> Result<u32> {
    let mut bytes = [0; 4];
    reader.read_exact(&mut bytes)?;
    Ok(u32::from_le_bytes(bytes))
}

/// A slot in which no order rests.
fn read_idle(leaf: &SlotLeaf) -> Result<Slot> {
    let mut fields = Fields(leaf);
    let [kind, zeros @ ..]: [u8; 4] = fields.take()?;
    let generation = if kind == KIND_RETIRED {
        u32::MAX
    } else {
        fields.u32()?
    };
    let slot = match kind {
        KIND_FREE if generation < u32::MAX => Slot::blank(LEVEL_FREE, fields.u32()?, generation),
        KIND_ALLOCATED => Slot::blank(LEVEL_RESERVED, NONE, generation),
        KIND_RETIRED => Slot::blank(LEVEL_RETIRED, NONE, generation),
        _ => return Err(bad("unknown kind of slot")),
    };
    if zeros != [0; 3] || generation == 0 {
        return Err(bad("slot out of bounds"));
    }
    fields.end()?;
    Ok(slot)
}

/// The list must visit every free slot once and end.
fn check_free_list(slots: &[Slot], head: u32) -> Result<()> {
    let free = slots.iter().filter(|slot| slot.level == LEVEL_FREE).count();
    let mut next = head;
    for _ in 0..free {
        let slot = slots
            .get(next as usize)
            .filter(|slot| slot.level == LEVEL_FREE);
        next = slot.ok_or_else(|| bad("free list broken"))?.next;
    }
    (next == NONE)
        .then_some(())
        .ok_or_else(|| bad("free list does not end"))
}

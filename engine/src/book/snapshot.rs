//! Books to bytes and back, exactly: slots, generations, free list, priorities and queue order.
//!
//! Format: the counters' leaf, the number of open books u32 and their ids ascending u32 each, then
//! each slot's leaf in slot order. There is one encoding of given books. Reading checks all of it:
//! hostile bytes give an error, and memory grows only with bytes that were really read.

use super::books::{Books, NewOrder};
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
    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (field, rest) = self
            .0
            .split_first_chunk()
            .ok_or_else(|| bad("leaf too short"))?;
        self.0 = rest;
        Ok(*field)
    }

    fn u32(&mut self) -> Result<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn end(self) -> Result<()> {
        let zero = self.0.iter().all(|byte| *byte == 0);
        zero.then_some(())
            .ok_or_else(|| bad("leaf has bytes after its fields"))
    }
}

/// A resting order read from a leaf, before it is entered.
struct Entered {
    priority: u64,
    index: u32,
    book: InstrumentId,
    order: NewOrder,
}

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
        let (slab, entered) = read_slots(reader, slots)?;
        check_free_list(&slab, free_head)?;
        if slab.iter().filter(|slot| is_live(slot)).count() != live as usize {
            return Err(bad("wrong number of live orders"));
        }
        books.slab = Slab::restore(slab, free_head, live);
        books.enter_all(entered)?;
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

    /// Enters orders in the order of their priorities, which makes the queues what they were.
    fn enter_all(&mut self, mut entered: Vec<Entered>) -> Result<()> {
        entered.sort_unstable_by_key(|entry| entry.priority);
        let mut least = 1;
        for entry in entered {
            if entry.priority < least || entry.priority >= self.next_priority {
                return Err(bad("priorities not unique or out of bounds"));
            }
            least = entry.priority.saturating_add(1);
            let place = self.prepare(entry.book, &entry.order);
            let place = place.ok_or_else(|| bad("resting order out of bounds"))?;
            self.enter_as(entry.index, place, &entry.order, entry.priority);
        }
        self.slab.forget_touched();
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

/// Reads the slots. Resting ones stay marked as reserved until they are entered.
fn read_slots<R: Read>(reader: &mut R, count: u32) -> Result<(Vec<Slot>, Vec<Entered>)> {
    let (mut slots, mut entered) = (Vec::new(), Vec::new());
    for index in 0..count {
        let mut leaf = [0; SLOT_LEAF_BYTES];
        reader.read_exact(&mut leaf)?;
        let (slot, resting) = read_slot(&leaf, index)?;
        slots.push(slot);
        entered.extend(resting);
    }
    Ok((slots, entered))
}

fn read_slot(leaf: &SlotLeaf, index: u32) -> Result<(Slot, Option<Entered>)> {
    let mut fields = Fields(leaf);
    let [kind, side, flags, zero] = fields.take()?;
    let plain = side == 0 && flags == 0;
    let generation = if kind == KIND_RETIRED {
        u32::MAX
    } else {
        fields.u32()?
    };
    let mut entered = None;
    let slot = match kind {
        KIND_FREE if plain && generation < u32::MAX => {
            Slot::blank(LEVEL_FREE, fields.u32()?, generation)
        }
        KIND_ALLOCATED if plain => Slot::blank(LEVEL_RESERVED, NONE, generation),
        KIND_RETIRED if plain => Slot::blank(LEVEL_RETIRED, NONE, generation),
        KIND_RESTING => {
            entered = Some(read_resting(&mut fields, index, side, flags)?);
            Slot::blank(LEVEL_RESERVED, NONE, generation)
        }
        _ => return Err(bad("unknown kind of slot")),
    };
    if zero != 0 || generation == 0 {
        return Err(bad("slot out of bounds"));
    }
    fields.end()?;
    Ok((slot, entered))
}

fn read_resting(fields: &mut Fields<'_>, index: u32, side: u8, flags: u8) -> Result<Entered> {
    let owner = fields.u32()?;
    if owner >= ACCOUNTS_MAX {
        return Err(bad("owner out of bounds"));
    }
    let book = InstrumentId::new(fields.u32()?);
    let side = *Side::ALL
        .get(side as usize)
        .ok_or_else(|| bad("unknown side"))?;
    let order = NewOrder {
        side,
        price: PriceTicks::new(fields.u32()?),
        lots: Lots::new(fields.u32()?),
        owner: AccountId::new(owner),
        flags,
    };
    let priority = fields.u64()?;
    Ok(Entered {
        priority,
        index,
        book,
        order,
    })
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

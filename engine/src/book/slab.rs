//! The slab of order slots: dense, generational, with a LIFO free list.

use super::touched::Touched;
use crate::limits::ORDERS_MAX;
use crate::types::OrderId;
use alloc::vec::Vec;

/// No slot, page, node or level.
pub(super) const NONE: u32 = u32::MAX;
/// `Slot::level` of a slot on the free list.
pub(super) const LEVEL_FREE: u32 = u32::MAX;
/// `Slot::level` of a slot that has an id but does not rest.
pub(super) const LEVEL_RESERVED: u32 = u32::MAX - 1;
/// `Slot::level` of a slot whose generations are used up. It is never handed out again.
pub(super) const LEVEL_RETIRED: u32 = u32::MAX - 2;
/// Arrival numbers stay below this, so that a number and the flags share a word.
pub(super) const PRIORITY_END: u64 = 1 << 56;

/// One order, half a cache line. A free slot uses only `level`, `next` and `generation`, a reserved
/// one only `level` and `generation`.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(32))]
pub(super) struct Slot {
    /// `priority << 8 | flags`.
    pub(super) stamp: u64,
    /// The level it rests at, or one of the `LEVEL_` marks.
    pub(super) level: u32,
    /// The next in the queue; the next free slot of a free one.
    pub(super) next: u32,
    /// The one before in the queue.
    pub(super) prev: u32,
    /// What is left, in lots.
    pub(super) lots: u32,
    /// The account.
    pub(super) owner: u32,
    /// How many orders have had this slot, this one included.
    pub(super) generation: u32,
}

const _: () = assert!(size_of::<Slot>() == 32);

impl Slot {
    /// The slot of generation `generation` that does not rest.
    #[inline]
    pub(super) const fn blank(level: u32, next: u32, generation: u32) -> Self {
        Self {
            stamp: 0,
            level,
            next,
            prev: NONE,
            lots: 0,
            owner: 0,
            generation,
        }
    }

    /// Whether it is in a queue.
    #[inline]
    pub(super) const fn rests(&self) -> bool {
        self.level < LEVEL_RETIRED
    }

    /// The arrival number.
    #[inline]
    pub(super) const fn priority(&self) -> u64 {
        self.stamp >> 8
    }

    /// The caller's bits.
    #[inline]
    pub(super) const fn flags(&self) -> u8 {
        self.stamp as u8
    }
}

/// All order slots of the venue.
#[derive(Clone, Debug)]
pub(super) struct Slab {
    slots: Vec<Slot>,
    free_head: u32,
    live: u32,
    touched: Touched,
}

impl Slab {
    /// An empty slab with room for `orders`.
    pub(super) fn with_capacity(orders: usize) -> Self {
        let mut touched = Touched::default();
        touched.cover(orders);
        Self {
            slots: Vec::with_capacity(orders),
            free_head: NONE,
            live: 0,
            touched,
        }
    }

    /// A slab with these slots, of which `live` rest or are reserved. The caller has checked the list.
    pub(super) fn restore(slots: Vec<Slot>, free_head: u32, live: u32) -> Self {
        let mut touched = Touched::default();
        touched.cover(slots.len());
        Self {
            slots,
            free_head,
            live,
            touched,
        }
    }

    #[inline]
    pub(super) fn get(&self, index: u32) -> Option<&Slot> {
        self.slots.get(index as usize)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, index: u32) -> Option<&mut Slot> {
        self.slots.get_mut(index as usize)
    }

    /// The slot of this order if the order still holds it.
    #[inline]
    pub(super) fn holder(&self, order: OrderId) -> Option<&Slot> {
        self.get(order.slot())
            .filter(|slot| slot.generation == order.generation() && slot.level != LEVEL_FREE)
    }

    /// The slot of this order if the order rests.
    #[inline]
    pub(super) fn resting(&self, order: OrderId) -> Option<&Slot> {
        self.get(order.slot())
            .filter(|slot| slot.generation == order.generation() && slot.rests())
    }

    /// Takes the slot freed last, or a new one. `None` when all `ORDERS_MAX` are in use.
    #[inline]
    pub(super) fn allocate(&mut self) -> Option<OrderId> {
        let index = self.free_head;
        let Some(slot) = self.slots.get_mut(index as usize) else {
            return self.grow();
        };
        let generation = slot.generation.checked_add(1)?;
        self.free_head = slot.next;
        // The rest of the slot is as its last order left it, and is not read until it rests.
        slot.level = LEVEL_RESERVED;
        slot.generation = generation;
        self.live = self.live.saturating_add(1);
        self.touched.mark(index);
        Some(OrderId::from_parts(generation, index))
    }

    /// Whether [`Self::allocate`] will succeed.
    #[inline]
    pub(super) fn has_room(&self) -> bool {
        self.free_head != NONE || self.slots.len() < ORDERS_MAX as usize
    }

    #[cold]
    fn grow(&mut self) -> Option<OrderId> {
        let index = u32::try_from(self.slots.len()).ok()?;
        if index >= ORDERS_MAX {
            return None;
        }
        self.slots.push(Slot::blank(LEVEL_RESERVED, NONE, 1));
        self.touched.cover(self.slots.capacity());
        self.live = self.live.saturating_add(1);
        self.touched.mark(index);
        Some(OrderId::from_parts(1, index))
    }

    /// Puts a slot that is in no queue on the free list, or retires it at its last generation.
    #[inline]
    pub(super) fn free(&mut self, index: u32) {
        let Some(slot) = self.slots.get_mut(index as usize) else {
            return;
        };
        if slot.generation == u32::MAX {
            *slot = Slot::blank(LEVEL_RETIRED, NONE, u32::MAX);
        } else {
            slot.level = LEVEL_FREE;
            slot.next = self.free_head;
            self.free_head = index;
        }
        self.live = self.live.saturating_sub(1);
        self.touched.mark(index);
    }

    /// Records that a slot's leaf changed.
    #[inline]
    pub(super) fn mark(&mut self, index: u32) {
        self.touched.mark(index);
    }

    pub(super) fn drain_touched(&mut self, out: &mut Vec<u32>) {
        self.touched.drain(out);
    }

    /// Slots that an order holds.
    pub(super) const fn live(&self) -> u32 {
        self.live
    }

    /// The top of the free list.
    pub(super) const fn free_head(&self) -> u32 {
        self.free_head
    }

    /// Every slot ever used, in slot order.
    pub(super) fn all(&self) -> &[Slot] {
        &self.slots
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        let slots = self.slots.capacity().saturating_mul(size_of::<Slot>());
        slots.saturating_add(self.touched.bytes())
    }

    #[cfg(test)]
    pub(super) fn set_generation(&mut self, index: u32, generation: u32) {
        if let Some(slot) = self.get_mut(index) {
            slot.generation = generation;
        }
    }
}

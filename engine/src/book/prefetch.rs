//! Hints that fetch what a coming command will touch. They change nothing and may do nothing.

use super::books::Books;
use super::ladder::key_of;
use crate::types::{InstrumentId, OrderId, PriceTicks, Side};

/// Asks the processor to fetch the cache line at `place`.
#[inline]
pub(crate) fn fetch<T>(place: Option<&T>) {
    if let Some(place) = place {
        fetch_at(core::ptr::from_ref(place).cast());
    }
}

/// Asks the processor to fetch the cache line at an address, which need not be one of anything.
#[inline]
pub(crate) fn fetch_at(place: *const u8) {
    #[cfg(target_arch = "x86_64")]
    {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch never faults and has no effect that a program can see; SSE is part of
        // every x86-64.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(place.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}

impl Books {
    /// First step, some commands ahead: an order's slot.
    #[inline]
    pub fn prefetch_order(&self, order: OrderId) {
        fetch(self.slab.get(order.slot()));
    }

    /// Second step, when the slot has come: its level and the one before it in the queue.
    #[inline]
    pub fn prefetch_queue(&self, order: OrderId) {
        if let Some(slot) = self.slab.get(order.slot()) {
            self.ladders.prefetch_level(slot.level);
            fetch(self.slab.get(slot.prev));
            fetch(self.slab.get(slot.next));
        }
    }

    /// A level that an order may enter, with the side of its book fetched.
    #[inline]
    pub fn prefetch_level(&self, book: InstrumentId, side: Side, price: PriceTicks) {
        if let Some(entry) = self.entry(book, side)
            && let Some(level) = self.ladders.find(entry, key_of(side, price))
        {
            self.ladders.prefetch_level(level);
        }
    }

    /// First step for a command that enters or takes: the side of the book.
    #[inline]
    pub fn prefetch_side(&self, book: InstrumentId, side: Side) {
        fetch(
            self.entry(book, side)
                .and_then(|entry| self.ladders.side(entry)),
        );
    }
}

//! The books: opening and closing them, entering, changing and removing orders.

use super::ladder::{Ladders, ORDERS_PER_LEVEL_MAX, Place, key_of};
use super::slab::{LEVEL_RESERVED, NONE, PRIORITY_END, Slab, Slot};
use super::view::LevelTotal;
use crate::limits::{INSTRUMENTS_MAX, ORDER_LOTS_MAX, PRICE_TICKS_MAX};
use crate::types::{AccountId, InstrumentId, Lots, OrderId, PriceTicks, Side};
use alloc::vec::Vec;

/// What a resting order is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewOrder {
    /// Bid or ask.
    pub side: Side,
    /// The limit, `1..=PRICE_TICKS_MAX`.
    pub price: PriceTicks,
    /// The size, `1..=ORDER_LOTS_MAX`.
    pub lots: Lots,
    /// The account.
    pub owner: AccountId,
    /// The caller's bits.
    pub flags: u8,
}

/// An order in a book.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resting {
    /// Its permanent id.
    pub order: OrderId,
    /// The account.
    pub owner: AccountId,
    /// The book.
    pub book: InstrumentId,
    /// Bid or ask.
    pub side: Side,
    /// The limit.
    pub price: PriceTicks,
    /// What is left.
    pub lots: Lots,
    /// The caller's bits.
    pub flags: u8,
    /// Its arrival number: the lower, the earlier in its queue. Unique over all books.
    pub priority: u64,
}

/// All order books of the venue.
#[derive(Clone, Debug)]
pub struct Books {
    pub(super) slab: Slab,
    pub(super) ladders: Ladders,
    /// A book's pair of sides by instrument; `NONE` when it is closed.
    pub(super) pairs: Vec<u32>,
    pub(super) next_priority: u64,
}

impl Default for Books {
    fn default() -> Self {
        Self::new()
    }
}

impl Books {
    /// No books.
    pub fn new() -> Self {
        Self::with_capacity(0)
    }

    /// No books, with room for `orders` resting orders before the slab grows.
    pub fn with_capacity(orders: usize) -> Self {
        Self {
            slab: Slab::with_capacity(orders),
            ladders: Ladders::default(),
            pairs: Vec::new(),
            next_priority: 1,
        }
    }

    /// Opens a book. `false` when it is open already or its id is not below `INSTRUMENTS_MAX`.
    pub fn open(&mut self, book: InstrumentId) -> bool {
        let index = book.get() as usize;
        if book.get() >= INSTRUMENTS_MAX || self.is_open(book) {
            return false;
        }
        if index >= self.pairs.len() {
            self.pairs.resize(index.saturating_add(1), NONE);
        }
        match (self.ladders.open(book), self.pairs.get_mut(index)) {
            (Some(pair), Some(place)) => {
                *place = pair;
                true
            }
            _ => false,
        }
    }

    /// Whether a book is open.
    pub fn is_open(&self, book: InstrumentId) -> bool {
        self.pair(book).is_some()
    }

    /// Removes every order of a book, bids before asks, each best first, and closes it. `false`
    /// when it was not open.
    pub fn close(&mut self, book: InstrumentId, out: &mut impl FnMut(Resting)) -> bool {
        let Some(pair) = self.pair(book) else {
            return false;
        };
        for entry in [pair << 1, (pair << 1) | 1] {
            while let Some(order) = self.front(entry).and_then(|order| self.remove(order)) {
                out(order);
            }
        }
        self.ladders.close(pair);
        if let Some(place) = self.pairs.get_mut(book.get() as usize) {
            *place = NONE;
        }
        true
    }

    /// Rests a new order behind all others at its price; it never matches. `None` when the book is
    /// closed, a bound is broken, or the slab or level is full.
    #[inline]
    pub fn insert(&mut self, book: InstrumentId, order: NewOrder) -> Option<OrderId> {
        // Asked first, so that a refused order leaves no page behind.
        self.slab.has_room().then_some(())?;
        let place = self.prepare(book, &order)?;
        let id = self.slab.allocate()?;
        self.enter(id.slot(), place, &order);
        Some(id)
    }

    /// Gives an incoming order its id before it matches. It holds a slot until [`Self::rest`] or
    /// [`Self::release`]. `None` when `ORDERS_MAX` slots are in use.
    #[inline]
    pub fn allocate(&mut self) -> Option<OrderId> {
        self.slab.allocate()
    }

    /// Rests an allocated order behind all others at its price. `false`, with the order still
    /// allocated, where [`Self::insert`] gives `None` or the id is not an allocated one.
    #[inline]
    pub fn rest(&mut self, id: OrderId, book: InstrumentId, order: NewOrder) -> bool {
        if !self.is_allocated(id) {
            return false;
        }
        let Some(place) = self.prepare(book, &order) else {
            return false;
        };
        self.enter(id.slot(), place, &order);
        true
    }

    /// Gives back the slot of an allocated order that will not rest.
    #[inline]
    pub fn release(&mut self, id: OrderId) -> bool {
        let allocated = self.is_allocated(id);
        if allocated {
            self.slab.free(id.slot());
        }
        allocated
    }

    /// The resting order with this id.
    #[inline]
    pub fn get(&self, order: OrderId) -> Option<Resting> {
        let slot = self.slab.resting(order)?;
        Some(resting(order, slot, self.ladders.place(slot.level)?))
    }

    /// Takes a resting order out of its book.
    #[inline]
    pub fn remove(&mut self, order: OrderId) -> Option<Resting> {
        let slot = *self.slab.resting(order)?;
        let place = self.ladders.place(slot.level)?;
        self.unlink(&slot);
        self.slab.free(order.slot());
        Some(resting(order, &slot, place))
    }

    /// Shrinks a resting order to `lots`, keeping its place. `false` when it does not rest or
    /// `lots` is zero or more than it has; equal is allowed and changes nothing.
    #[inline]
    pub fn reduce(&mut self, order: OrderId, lots: Lots) -> bool {
        let Some(slot) = self.slab.resting(order) else {
            return false;
        };
        match slot.lots.checked_sub(lots.get()) {
            Some(by) if !lots.is_zero() => self.shrink_slot(order.slot(), by),
            _ => return false,
        }
        true
    }

    /// Moves a resting order, under the same id, behind all others at another or the same price,
    /// with another size. `false`, with nothing changed, where it does not rest or a bound is broken.
    pub fn requote(&mut self, order: OrderId, price: PriceTicks, lots: Lots) -> bool {
        let (Some(slot), Some(old)) = (self.slab.resting(order).copied(), self.get(order)) else {
            return false;
        };
        let new = NewOrder {
            side: old.side,
            price,
            lots,
            owner: old.owner,
            flags: old.flags,
        };
        let full = |level: Option<LevelTotal>| {
            price != old.price && level.is_some_and(|level| level.orders >= ORDERS_PER_LEVEL_MAX)
        };
        if !self.fits(&new) || full(self.level(old.book, old.side, price)) {
            return false;
        }
        self.unlink(&slot);
        match self.prepare(old.book, &new) {
            Some(place) => self.enter(order.slot(), place, &new),
            // There are as many pages as orders, so the one that left made room.
            None => self.slab.free(order.slot()),
        }
        true
    }

    /// Orders that rest or are allocated.
    pub fn live(&self) -> u32 {
        self.slab.live()
    }

    /// Appends, ascending and once each, the slots whose leaf changed since the last call.
    pub fn drain_touched(&mut self, out: &mut Vec<u32>) {
        self.slab.drain_touched(out);
    }

    /// Bytes held by slots, ladders and tables.
    pub fn bytes(&self) -> usize {
        let pairs = self.pairs.capacity().saturating_mul(size_of::<u32>());
        self.slab
            .bytes()
            .saturating_add(self.ladders.bytes())
            .saturating_add(pairs)
    }

    #[inline]
    pub(super) fn pair(&self, book: InstrumentId) -> Option<u32> {
        let pair = *self.pairs.get(book.get() as usize)?;
        (pair != NONE).then_some(pair)
    }

    /// The entry of one side of a book.
    #[inline]
    pub(super) fn entry(&self, book: InstrumentId, side: Side) -> Option<u32> {
        Some((self.pair(book)? << 1) | side as u32)
    }

    /// The first in the queue at a side's best price.
    fn front(&self, entry: u32) -> Option<OrderId> {
        let best = self.ladders.side(entry)?.best_level;
        let index = self.ladders.level(best)?.head;
        let slot = self.slab.get(index)?;
        Some(OrderId::from_parts(slot.generation, index))
    }

    #[inline]
    fn is_allocated(&self, id: OrderId) -> bool {
        let slot = self.slab.holder(id);
        slot.is_some_and(|slot| slot.level == LEVEL_RESERVED)
    }

    /// Whether price and size are within bounds and arrival numbers are left.
    #[inline]
    fn fits(&self, order: &NewOrder) -> bool {
        let price_fits = order.price.get().wrapping_sub(1) < PRICE_TICKS_MAX;
        let lots_fit = order.lots.get().wrapping_sub(1) < ORDER_LOTS_MAX;
        price_fits && lots_fit && self.next_priority < PRIORITY_END
    }

    /// Checks a new order's bounds and finds its (entry, key, level). The page made for it, if any,
    /// is empty until the caller enters the order.
    #[inline]
    pub(super) fn prepare(
        &mut self,
        book: InstrumentId,
        order: &NewOrder,
    ) -> Option<(u32, u32, u32)> {
        self.fits(order).then_some(())?;
        let entry = self.entry(book, order.side)?;
        let key = key_of(order.side, order.price);
        let level = self.ladders.find_or_make(entry, key)?;
        let full = self.ladders.level(level)?.is_full();
        (!full).then_some((entry, key, level))
    }

    /// Puts a slot at the tail of a level that is not full, with the next arrival number.
    #[inline]
    fn enter(&mut self, index: u32, (entry, key, level): (u32, u32, u32), order: &NewOrder) {
        let priority = self.next_priority;
        self.next_priority = priority.wrapping_add(1);
        let Some((prev, first)) = self.join_queue(index, level, order.lots.get()) else {
            return;
        };
        if first {
            self.ladders.occupied(entry, key, level);
        }
        if let Some(slot) = self.slab.get_mut(index) {
            slot.stamp = (priority << 8) | order.flags as u64;
            slot.level = level;
            slot.next = NONE;
            slot.prev = prev;
            slot.lots = order.lots.get();
            slot.owner = order.owner.get();
        }
        self.slab.mark(index);
    }

    /// Makes a slot the last in a level's queue, as far as level and queue know. Gives the one before
    /// it, and whether the level was empty.
    #[inline]
    pub(super) fn join_queue(&mut self, index: u32, level: u32, lots: u32) -> Option<(u32, bool)> {
        let level = self.ladders.level_mut(level)?;
        let first = level.sum == 0;
        let prev = if first { NONE } else { level.tail };
        level.tail = index;
        if first {
            level.head = index;
        }
        level.count(lots);
        if let Some(before) = self.slab.get_mut(prev) {
            before.next = index;
        }
        Some((prev, first))
    }

    /// Takes a resting slot, given as it is, out of its queue. It keeps its fields until it is
    /// entered or freed.
    #[inline]
    pub(super) fn unlink(&mut self, slot: &Slot) {
        let Slot {
            level: level_index,
            next,
            prev,
            lots,
            ..
        } = *slot;
        let Some(level) = self.ladders.level_mut(level_index) else {
            return;
        };
        level.discount(lots);
        match self.slab.get_mut(prev) {
            Some(before) => before.next = next,
            None => level.head = next,
        }
        match self.slab.get_mut(next) {
            Some(after) => after.prev = prev,
            None => level.tail = prev,
        }
        if level.sum == 0 {
            self.ladders.emptied(level_index);
        }
    }

    /// Takes `by` lots, fewer than it has, off a resting slot.
    #[inline]
    pub(super) fn shrink_slot(&mut self, index: u32, by: u32) {
        let Some(slot) = self.slab.get_mut(index) else {
            return;
        };
        slot.lots = slot.lots.wrapping_sub(by);
        if let Some(level) = self.ladders.level_mut(slot.level) {
            level.shrink(by);
        }
        self.slab.mark(index);
    }
}

/// An order as callers see it.
#[inline]
pub(super) fn resting(order: OrderId, slot: &Slot, place: Place) -> Resting {
    Resting {
        order,
        owner: AccountId::new(slot.owner),
        book: place.book,
        side: place.side,
        price: place.price,
        lots: Lots::new(slot.lots),
        flags: slot.flags(),
        priority: slot.priority(),
    }
}

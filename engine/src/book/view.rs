//! Reading a book: best price, level totals, depth, and the queue order.

use super::books::{Books, Resting, resting};
use super::ladder::{NO_KEY, key_of};
use super::slab::Slot;
use crate::types::{InstrumentId, OrderId, PriceTicks, Side};

/// The sum of the orders at one price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LevelTotal {
    /// The price.
    pub price: PriceTicks,
    /// The lots of all its orders.
    pub lots: u64,
    /// How many orders.
    pub orders: u32,
}

impl Books {
    /// The best price on a side.
    #[inline]
    pub fn best(&self, book: InstrumentId, side: Side) -> Option<PriceTicks> {
        let best = self.ladders.side(self.entry(book, side)?)?;
        (best.best_key != NO_KEY).then_some(())?;
        Some(self.ladders.place(best.best_level)?.price)
    }

    /// The level at a price, if it has orders.
    pub fn level(&self, book: InstrumentId, side: Side, price: PriceTicks) -> Option<LevelTotal> {
        let entry = self.entry(book, side)?;
        let level = self.ladders.find(entry, key_of(side, price))?;
        self.total(level).filter(|total| total.price == price)
    }

    /// The first `levels` levels of a side, best first.
    pub fn depth(
        &self,
        book: InstrumentId,
        side: Side,
        levels: usize,
    ) -> impl Iterator<Item = LevelTotal> + '_ {
        let entry = self.entry(book, side);
        let all = entry
            .into_iter()
            .flat_map(|entry| self.ladders.levels(entry));
        all.take(levels).filter_map(|level| self.total(level))
    }

    /// The orders of a side in price-time priority.
    pub fn orders(&self, book: InstrumentId, side: Side) -> impl Iterator<Item = Resting> + '_ {
        let entry = self.entry(book, side);
        let all = entry
            .into_iter()
            .flat_map(|entry| self.ladders.levels(entry));
        all.flat_map(|level| self.queue(level))
            .filter_map(|(index, slot)| {
                let order = OrderId::from_parts(slot.generation, index);
                Some(resting(order, slot, self.ladders.place(slot.level)?))
            })
    }

    /// The open books, ascending.
    pub fn open_books(&self) -> impl Iterator<Item = InstrumentId> + '_ {
        let ids = (0u32..).map(InstrumentId::new);
        ids.take(self.pairs.len())
            .filter(|book| self.is_open(*book))
    }

    /// The slots at a level, first in the queue first.
    pub(super) fn queue(&self, level: u32) -> impl Iterator<Item = (u32, &Slot)> + '_ {
        let found = self.ladders.level(level).filter(|level| level.sum != 0);
        let read = |index: u32| Some((index, self.slab.get(index)?));
        let head = found.and_then(|level| read(level.head));
        core::iter::successors(head, move |(_, slot)| read(slot.next))
    }

    fn total(&self, level: u32) -> Option<LevelTotal> {
        let found = self.ladders.level(level).filter(|level| level.sum != 0)?;
        Some(LevelTotal {
            price: self.ladders.place(level)?.price,
            lots: found.lots(),
            orders: found.orders(),
        })
    }
}

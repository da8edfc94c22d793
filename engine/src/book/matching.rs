//! Matching: a taker against the other side, best price first, earliest order first.

use super::books::{Books, Resting, resting};
use super::ladder::key_of;
use super::slab::{NONE, Slot};
use crate::types::{AccountId, InstrumentId, Lots, OrderId, PriceTicks, SelfTradePrevention, Side};
use core::ops::ControlFlow;

/// The taking part of an incoming order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taker {
    /// The account.
    pub account: AccountId,
    /// Its own side: a buy takes asks.
    pub side: Side,
    /// The worst price it accepts; `PriceTicks::MAX` (buy) or zero (sell) accept every price.
    pub limit: PriceTicks,
    /// How much it wants.
    pub lots: Lots,
    /// What happens when it meets an order of its own account.
    pub stp: SelfTradePrevention,
}

/// One trade, at the maker's price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fill {
    /// The resting order.
    pub maker: OrderId,
    /// Its account.
    pub maker_owner: AccountId,
    /// The price.
    pub price: PriceTicks,
    /// The size traded.
    pub lots: Lots,
    /// What the maker has left after it; zero frees its slot.
    pub maker_left: Lots,
    /// The maker's bits.
    pub maker_flags: u8,
}

/// What is about to happen to a resting order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It trades.
    Fill(Fill),
    /// It is the taker's own and is cancelled.
    SelfTradeCancelled(Resting),
}

/// Why matching ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MatchStop {
    /// The taker is filled.
    Done,
    /// The other side has no more within the limit, or the book is closed.
    NoMore,
    /// The taker met an order of its own account and is cancelled.
    SelfTrade,
    /// The visitor refused a step.
    Vetoed,
}

impl Books {
    /// Matches a taker. `visit` sees each step just before it is done and may refuse it with
    /// `Break`, which leaves that order as it is and ends matching. Returns what the taker did not
    /// get, and why it ended.
    #[inline]
    pub fn take(
        &mut self,
        book: InstrumentId,
        taker: Taker,
        visit: &mut impl FnMut(Taken) -> ControlFlow<()>,
    ) -> (Lots, MatchStop) {
        let mut left = taker.lots.get();
        // A closed book has no side under `NONE`, so nothing is in front.
        let entry = self.entry(book, taker.side.opposite()).unwrap_or(NONE);
        let limit = key_of(taker.side.opposite(), taker.limit);
        while left > 0 {
            let Some((index, slot)) = self.front_within(entry, limit) else {
                return (Lots::new(left), MatchStop::NoMore);
            };
            let step = if slot.owner == taker.account.get() {
                self.meet_own(index, &slot, taker.stp, visit)
            } else {
                let lots = left.min(slot.lots);
                let step = self.fill(index, &slot, lots, visit);
                left = left.wrapping_sub(if step.is_continue() { lots } else { 0 });
                step
            };
            if let ControlFlow::Break(stop) = step {
                return (Lots::new(left), stop);
            }
        }
        (Lots::ZERO, MatchStop::Done)
    }

    /// How much of `taker.lots` could trade now under the taker's limit and self-trade rule: own
    /// orders are passed over with `CancelMaker` and end the count otherwise.
    pub fn available(&self, book: InstrumentId, taker: Taker) -> Lots {
        let Some(entry) = self.entry(book, taker.side.opposite()) else {
            return Lots::ZERO;
        };
        let limit = key_of(taker.side.opposite(), taker.limit);
        let mut left = taker.lots.get();
        for level in self.ladders.levels(entry) {
            let within = |place: super::ladder::Place| key_of(place.side, place.price) <= limit;
            if left == 0 || !self.ladders.place(level).is_some_and(within) {
                break;
            }
            for (_, slot) in self.queue(level) {
                if slot.owner != taker.account.get() {
                    left = left.saturating_sub(slot.lots);
                } else if taker.stp != SelfTradePrevention::CancelMaker {
                    return Lots::new(taker.lots.get().saturating_sub(left));
                }
                if left == 0 {
                    break;
                }
            }
        }
        Lots::new(taker.lots.get().saturating_sub(left))
    }

    /// The first order on a side if its price is within the limit.
    #[inline]
    fn front_within(&self, entry: u32, limit: u32) -> Option<(u32, Slot)> {
        let side = self.ladders.side(entry)?;
        (side.best_key <= limit).then_some(())?;
        let index = self.ladders.level(side.best_level)?.head;
        Some((index, *self.slab.get(index)?))
    }

    #[inline]
    fn fill(
        &mut self,
        index: u32,
        slot: &Slot,
        lots: u32,
        visit: &mut impl FnMut(Taken) -> ControlFlow<()>,
    ) -> ControlFlow<MatchStop> {
        let Some(place) = self.ladders.place(slot.level) else {
            return ControlFlow::Break(MatchStop::NoMore);
        };
        let left = slot.lots.wrapping_sub(lots);
        let fill = Fill {
            maker: OrderId::from_parts(slot.generation, index),
            maker_owner: AccountId::new(slot.owner),
            price: place.price,
            lots: Lots::new(lots),
            maker_left: Lots::new(left),
            maker_flags: slot.flags(),
        };
        if visit(Taken::Fill(fill)).is_break() {
            return ControlFlow::Break(MatchStop::Vetoed);
        }
        if left == 0 {
            self.unlink(slot);
            self.slab.free(index);
        } else {
            self.shrink_slot(index, lots);
        }
        ControlFlow::Continue(())
    }

    /// The taker met its own order.
    #[cold]
    fn meet_own(
        &mut self,
        index: u32,
        slot: &Slot,
        stp: SelfTradePrevention,
        visit: &mut impl FnMut(Taken) -> ControlFlow<()>,
    ) -> ControlFlow<MatchStop> {
        if stp == SelfTradePrevention::CancelTaker {
            return ControlFlow::Break(MatchStop::SelfTrade);
        }
        let Some(place) = self.ladders.place(slot.level) else {
            return ControlFlow::Break(MatchStop::NoMore);
        };
        let order = OrderId::from_parts(slot.generation, index);
        if visit(Taken::SelfTradeCancelled(resting(order, slot, place))).is_break() {
            return ControlFlow::Break(MatchStop::Vetoed);
        }
        self.unlink(slot);
        self.slab.free(index);
        if stp == SelfTradePrevention::CancelBoth {
            return ControlFlow::Break(MatchStop::SelfTrade);
        }
        ControlFlow::Continue(())
    }
}

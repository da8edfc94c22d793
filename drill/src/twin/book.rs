//! The slow twin of the order books: one list of orders, searched from end to end for everything.
//!
//! It shares the engine's vocabulary ([`NewOrder`], [`Resting`], [`Taker`], [`Taken`]) and none of
//! its structures. Price-time priority is a comparison; nothing is linked, indexed or summed up.

use lifeboat_engine::book::{Fill, LevelTotal, MatchStop, NewOrder, Resting, Taken, Taker};
use lifeboat_engine::limits::{INSTRUMENTS_MAX, ORDER_LOTS_MAX, PRICE_TICKS_MAX};
use lifeboat_engine::types::{InstrumentId, Lots, OrderId, PriceTicks, SelfTradePrevention, Side};
use std::collections::BTreeSet;
use std::ops::ControlFlow;

/// All order books, slowly.
#[derive(Clone, Debug, Default)]
pub struct SlowBooks {
    open: BTreeSet<InstrumentId>,
    orders: Vec<Resting>,
    allocated: Vec<OrderId>,
    /// How many orders have had each slot.
    generations: Vec<u32>,
    /// Free slots; the last is taken next.
    free: Vec<u32>,
    arrivals: u64,
}

impl SlowBooks {
    /// As the engine's.
    pub fn open(&mut self, book: InstrumentId) -> bool {
        book.get() < INSTRUMENTS_MAX && self.open.insert(book)
    }

    /// As the engine's; the removed orders in order.
    pub fn close(&mut self, book: InstrumentId) -> Option<Vec<Resting>> {
        self.open.remove(&book).then_some(())?;
        let sides = [Side::Buy, Side::Sell].map(|side| self.queue(book, side));
        let gone = sides.concat();
        gone.iter().for_each(|order| self.forget(order.order));
        Some(gone)
    }

    /// As the engine's.
    pub fn insert(&mut self, book: InstrumentId, order: NewOrder) -> Option<OrderId> {
        self.accepts(book, &order).then_some(())?;
        let id = self.take_slot();
        self.push(id, book, order);
        Some(id)
    }

    /// As the engine's.
    pub fn allocate(&mut self) -> OrderId {
        let id = self.take_slot();
        self.allocated.push(id);
        id
    }

    /// As the engine's.
    pub fn rest(&mut self, id: OrderId, book: InstrumentId, order: NewOrder) -> bool {
        let rests = self.allocated.contains(&id) && self.accepts(book, &order);
        if rests {
            self.allocated.retain(|other| *other != id);
            self.push(id, book, order);
        }
        rests
    }

    /// As the engine's.
    pub fn release(&mut self, id: OrderId) -> bool {
        let held = self.allocated.contains(&id);
        if held {
            self.allocated.retain(|other| *other != id);
            self.free.push(id.slot());
        }
        held
    }

    /// As the engine's.
    pub fn get(&self, id: OrderId) -> Option<Resting> {
        self.orders.iter().find(|order| order.order == id).copied()
    }

    /// As the engine's.
    pub fn remove(&mut self, id: OrderId) -> Option<Resting> {
        let order = self.get(id)?;
        self.forget(id);
        Some(order)
    }

    /// As the engine's.
    pub fn reduce(&mut self, id: OrderId, lots: Lots) -> bool {
        let order = self.orders.iter_mut().find(|order| order.order == id);
        match order {
            Some(order) if !lots.is_zero() && lots <= order.lots => {
                order.lots = lots;
                true
            }
            _ => false,
        }
    }

    /// As the engine's.
    pub fn requote(&mut self, id: OrderId, price: PriceTicks, lots: Lots) -> bool {
        let Some(old) = self.get(id) else {
            return false;
        };
        let new = NewOrder {
            side: old.side,
            price,
            lots,
            owner: old.owner,
            flags: old.flags,
        };
        let accepted = self.accepts(old.book, &new);
        if accepted {
            self.orders.retain(|order| order.order != id);
            self.push(id, old.book, new);
        }
        accepted
    }

    /// As the engine's.
    pub fn take(
        &mut self,
        book: InstrumentId,
        taker: Taker,
        visit: &mut impl FnMut(Taken) -> ControlFlow<()>,
    ) -> (Lots, MatchStop) {
        let mut left = taker.lots.get();
        while left > 0 {
            let Some(maker) = self.first_for(book, &taker) else {
                return (Lots::new(left), MatchStop::NoMore);
            };
            let own = maker.owner == taker.account;
            if own && taker.stp == SelfTradePrevention::CancelTaker {
                return (Lots::new(left), MatchStop::SelfTrade);
            }
            let traded = left.min(maker.lots.get());
            let step = if own {
                Taken::SelfTradeCancelled(maker)
            } else {
                fill(&maker, traded)
            };
            if visit(step).is_break() {
                return (Lots::new(left), MatchStop::Vetoed);
            }
            if own || traded == maker.lots.get() {
                self.forget(maker.order);
            } else {
                self.reduce(maker.order, Lots::new(maker.lots.get() - traded));
            }
            if own && taker.stp == SelfTradePrevention::CancelBoth {
                return (Lots::new(left), MatchStop::SelfTrade);
            }
            left -= if own { 0 } else { traded };
        }
        (Lots::ZERO, MatchStop::Done)
    }

    /// As the engine's, by trying it on a copy.
    pub fn available(&self, book: InstrumentId, taker: Taker) -> Lots {
        let (left, _) = self
            .clone()
            .take(book, taker, &mut |_| ControlFlow::Continue(()));
        Lots::new(taker.lots.get() - left.get())
    }

    /// The orders of a side in price-time priority.
    pub fn queue(&self, book: InstrumentId, side: Side) -> Vec<Resting> {
        let of_side = self
            .orders
            .iter()
            .filter(|order| (order.book, order.side) == (book, side));
        let mut queue: Vec<Resting> = of_side.copied().collect();
        queue.sort_by_key(|order| (rank(order), order.priority));
        queue
    }

    /// The levels of a side, best first.
    pub fn depth(&self, book: InstrumentId, side: Side) -> Vec<LevelTotal> {
        let queue = self.queue(book, side);
        let levels = queue.chunk_by(|a, b| a.price == b.price);
        let total = |level: &[Resting]| LevelTotal {
            price: level[0].price,
            lots: level.iter().map(|order| u64::from(order.lots.get())).sum(),
            orders: level.len() as u32,
        };
        levels.map(total).collect()
    }

    /// Orders that rest or are allocated.
    pub fn live(&self) -> u32 {
        (self.orders.len() + self.allocated.len()) as u32
    }

    fn accepts(&self, book: InstrumentId, order: &NewOrder) -> bool {
        self.open.contains(&book)
            && (1..=PRICE_TICKS_MAX).contains(&order.price.get())
            && (1..=ORDER_LOTS_MAX).contains(&order.lots.get())
    }

    fn take_slot(&mut self) -> OrderId {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.generations.push(0);
            self.generations.len() as u32 - 1
        });
        self.generations[slot as usize] += 1;
        OrderId::from_parts(self.generations[slot as usize], slot)
    }

    fn push(&mut self, id: OrderId, book: InstrumentId, order: NewOrder) {
        self.arrivals += 1;
        self.orders.push(Resting {
            order: id,
            owner: order.owner,
            book,
            side: order.side,
            price: order.price,
            lots: order.lots,
            flags: order.flags,
            priority: self.arrivals,
        });
    }

    fn forget(&mut self, id: OrderId) {
        self.orders.retain(|order| order.order != id);
        self.free.push(id.slot());
    }

    fn first_for(&self, book: InstrumentId, taker: &Taker) -> Option<Resting> {
        let first = *self.queue(book, taker.side.opposite()).first()?;
        let crosses = match taker.side {
            Side::Buy => first.price <= taker.limit,
            Side::Sell => first.price >= taker.limit,
        };
        crosses.then_some(first)
    }
}

/// Lower is better.
fn rank(order: &Resting) -> i64 {
    -order.side.sign() * i64::from(order.price.get())
}

fn fill(maker: &Resting, traded: u32) -> Taken {
    Taken::Fill(Fill {
        maker: maker.order,
        maker_owner: maker.owner,
        price: maker.price,
        lots: Lots::new(traded),
        maker_left: Lots::new(maker.lots.get() - traded),
        maker_flags: maker.flags,
    })
}

//! One instrument at one price: who may take part, what it is, who trades, what stays.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::super::Engine;
use super::super::margin::OpenLots;
use super::{Collar, coins};
use crate::auction::{Band, Clearing};
use crate::book::{Fill, Resting};
use crate::event::{CancelReason, Cleared, Event, Trade};
use crate::instrument::Instrument;
use crate::orders::flags;
use crate::types::{AccountId, Cash, InstrumentId, Lots, PriceTicks, Side, UnderlyingId};

impl Engine {
    /// Clears an instrument. False when its price left the collar and it may still be waited for.
    pub(super) fn uncross_one(
        &mut self,
        auction: u64,
        id: InstrumentId,
        last: bool,
        events: &mut Vec<Event>,
    ) -> bool {
        let Some(instrument) = self.instruments.get(id).copied() else {
            return true;
        };
        let Some(collar) = self.collar(&instrument) else {
            return true;
        };
        self.leave_out(&instrument, events);
        let Some(free) = self.clearing(id, &collar, Band::ALL) else {
            return true;
        };
        let inside = collar.band.holds(free.price);
        if !inside && !last {
            return false;
        }
        let clearing = if inside {
            free
        } else {
            self.bounded_clearing(id, &collar, &free)
        };
        announce(auction, &instrument, &collar, (&clearing, &free), events);
        self.fill_at(&instrument, &clearing, events);
        self.check_protections(id, events);
        let pushing = if free.price > collar.band.high {
            Side::Buy
        } else {
            Side::Sell
        };
        self.cancel_through(id, pushing, events);
        true
    }

    /// The price within the collar; where nothing trades within it, its end nearest to the free price.
    fn bounded_clearing(&self, id: InstrumentId, collar: &Collar, free: &Clearing) -> Clearing {
        let bounded = self.clearing(id, collar, collar.band);
        bounded.unwrap_or_else(|| Clearing {
            price: free.price.clamp(collar.band.low, collar.band.high),
            lots: 0,
            imbalance: 0,
        })
    }

    /// Takes out what may not trade although it crosses: what could take its account under initial margin,
    /// and what a reduce-only order has no position for.
    fn leave_out(&mut self, instrument: &Instrument, events: &mut Vec<Event>) {
        let crossing = self.crossing(instrument.id);
        let mut short = BTreeSet::new();
        let owners: BTreeSet<AccountId> = crossing.iter().map(|order| order.owner).collect();
        for owner in owners {
            let own = crossing.iter().filter(|order| order.owner == owner);
            let lots = own.map(|order| i64::from(order.lots.get()));
            let per_lot = self.margin.fee_row(instrument.id).maker_per_lot;
            let fees = lots
                .fold(0_i64, i64::saturating_add)
                .saturating_mul(per_lot);
            let free = self.margin_with_orders(owner).map(|(_, free)| free.get());
            if free.is_none_or(|free| free < fees) {
                short.insert(owner);
            }
        }
        for order in crossing.iter().filter(|order| short.contains(&order.owner)) {
            self.cancel_resting(order.order, CancelReason::AuctionMargin, events);
        }
        self.cut_reduce_only(&crossing, events);
    }

    /// Every order that the best of the other side reaches, bids before asks, each by price, then time.
    fn crossing(&self, id: InstrumentId) -> Vec<Resting> {
        let (bid, ask) = (
            self.books.best(id, Side::Buy),
            self.books.best(id, Side::Sell),
        );
        let (Some(bid), Some(ask)) = (bid, ask) else {
            return Vec::new();
        };
        let bids = self.books.orders(id, Side::Buy);
        let asks = self.books.orders(id, Side::Sell);
        bids.take_while(|order| order.price >= ask)
            .chain(asks.take_while(|order| order.price <= bid))
            .collect()
    }

    /// A reduce-only order ranks behind all other orders of its account that could trade on its side: it
    /// is cut to what they would leave of the position, so that however they fill none of them turns it.
    fn cut_reduce_only(&mut self, crossing: &[Resting], events: &mut Vec<Event>) {
        let reduces = |order: &&Resting| order.flags & flags::REDUCE_ONLY != 0;
        let mut taken: BTreeMap<(AccountId, Side), u32> = BTreeMap::new();
        for order in crossing.iter().filter(|order| !reduces(order)) {
            let sum = taken.entry((order.owner, order.side)).or_default();
            *sum = sum.saturating_add(order.lots.get());
        }
        for order in crossing.iter().filter(reduces) {
            let Some(order) = self.books.get(order.order) else {
                continue;
            };
            let before = taken.entry((order.owner, order.side)).or_default();
            let room = self.reducible(&order).saturating_sub(*before);
            let lots = Lots::new(room).min(order.lots);
            *before = before.saturating_add(lots.get());
            if lots.is_zero() {
                self.cancel_resting(order.order, CancelReason::NotReducing, events);
            } else if lots < order.lots {
                self.shrink_resting(&order, lots);
                let filled = self.orders.get(order.order.slot()).map_or(0, |d| d.filled);
                let total = Lots::new(filled.saturating_add(lots.get()));
                self.announce_amend(&order, order.price, total, true, events);
            }
        }
    }

    /// Trades what clears, the best price first and at a price the earliest first on either side.
    fn fill_at(&mut self, instrument: &Instrument, clearing: &Clearing, events: &mut Vec<Event>) {
        let mut left = clearing.lots;
        while left > 0 {
            let buy = self.books.orders(instrument.id, Side::Buy).next();
            let sell = self.books.orders(instrument.id, Side::Sell).next();
            let (Some(buy), Some(sell)) = (buy, sell) else {
                return;
            };
            let lots = buy.lots.min(sell.lots);
            let lots = Lots::new(u32::try_from(left).unwrap_or(u32::MAX)).min(lots);
            if buy.price < clearing.price || sell.price > clearing.price {
                return;
            }
            self.settle_pair(instrument, (&buy, &sell), (clearing.price, lots), events);
            left = left.saturating_sub(u64::from(lots.get()));
        }
    }

    /// One trade of an auction: premium from buyer to seller, a maker's fee from both. The order that
    /// came later stands as the taker.
    fn settle_pair(
        &mut self,
        instrument: &Instrument,
        (buy, sell): (&Resting, &Resting),
        (price, lots): (PriceTicks, Lots),
        events: &mut Vec<Event>,
    ) {
        let premium = instrument.premium(price, lots).unwrap_or(Cash::ZERO);
        let per_lot = self.margin.fee_row(instrument.id).maker_per_lot;
        let fee = self.fee(per_lot, lots, premium);
        for order in [buy, sell] {
            self.move_position(order.owner, instrument, order.side, lots, premium, fee);
        }
        self.collect_fees(fee, fee);
        for order in [buy, sell] {
            self.take_lots(order, (price, lots), instrument);
        }
        let (maker, taker) = if buy.priority < sell.priority {
            (buy, sell)
        } else {
            (sell, buy)
        };
        self.trades = self.trades.saturating_add(1);
        events.push(Event::Traded(Trade {
            trade: self.trades,
            instrument: instrument.id,
            price: price.to_price(instrument.tick).unwrap_or_default(),
            qty: lots.to_qty(instrument.lot).unwrap_or_default(),
            taker_side: taker.side,
            taker: taker.owner,
            taker_order: taker.order,
            taker_fee: fee,
            maker: maker.owner,
            maker_order: maker.order,
            maker_fee: fee,
            maker_filled: maker.lots == lots,
        }));
    }

    /// Takes what an order traded out of its book, its account and its hold on margin.
    fn take_lots(
        &mut self,
        order: &Resting,
        (price, lots): (PriceTicks, Lots),
        instrument: &Instrument,
    ) {
        let left = Lots::new(order.lots.get().saturating_sub(lots.get()));
        if left.is_zero() {
            self.books.remove(order.order);
        } else {
            self.books.reduce(order.order, left);
        }
        let fill = Fill {
            maker: order.order,
            maker_owner: order.owner,
            price,
            lots,
            maker_left: left,
            maker_flags: order.flags,
        };
        self.close_open(&fill, instrument.id, order.side);
        let gone = i64::from(lots.get()).saturating_neg();
        self.margin_open_changed(&OpenLots::of(order), gone);
        if order.flags & flags::PROTECTED != 0 {
            self.count_protected(order.owner, instrument, order.side, lots);
        }
    }

    /// Cancels what a bounded price left through the other side, on the side that pushed it out.
    fn cancel_through(&mut self, id: InstrumentId, side: Side, events: &mut Vec<Event>) {
        while let (Some(bid), Some(ask)) = (
            self.books.best(id, Side::Buy),
            self.books.best(id, Side::Sell),
        ) && bid >= ask
        {
            let Some(order) = self.books.orders(id, side).next() else {
                return;
            };
            self.cancel_resting(order.order, CancelReason::AuctionCollar, events);
        }
    }

    /// Orders out of seals have been through their clearing: those that may not rest end.
    pub(super) fn end_immediate(
        &mut self,
        underlying: UnderlyingId,
        waiting: &BTreeSet<InstrumentId>,
        events: &mut Vec<Event>,
    ) {
        let Some(auction) = self.auctions.get_mut(underlying) else {
            return;
        };
        let opened = core::mem::take(&mut auction.opened);
        let mut later = BTreeMap::new();
        for (id, rests) in opened {
            let Some(order) = self.books.get(id) else {
                continue;
            };
            if waiting.contains(&order.book) {
                later.insert(id, rests);
            } else if !rests {
                self.cancel_resting(id, CancelReason::Immediate, events);
            }
        }
        if let Some(auction) = self.auctions.get_mut(underlying) {
            auction.opened = later;
        }
    }
}

fn announce(
    auction: u64,
    instrument: &Instrument,
    collar: &Collar,
    (clearing, free): (&Clearing, &Clearing),
    events: &mut Vec<Event>,
) {
    let price = |ticks: PriceTicks| ticks.to_price(instrument.tick).unwrap_or_default();
    events.push(Event::AuctionCleared(Cleared {
        auction,
        instrument: instrument.id,
        price: price(clearing.price),
        qty: coins(instrument, i64::try_from(clearing.lots).unwrap_or(i64::MAX)),
        imbalance: coins(instrument, clearing.imbalance),
        free_price: price(free.price),
        mark: collar.reference.mark,
        low: price(collar.band.low),
        high: price(collar.band.high),
    }));
}

//! Placing one order: form, permission, margin, then matching.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::Engine;
use super::margin::OpenLots;
use crate::book::{NewOrder, Taker};
use crate::command::{OrderPrice, PlaceOrder};
use crate::event::{CancelReason, Event, OrderPlaced, emit};
use crate::instrument::Instrument;
use crate::limits::{LABEL_BYTES_MAX, ORDERS_PER_ACCOUNT_MAX, POSITION_LOTS_MAX};
use crate::modes::Activity;
use crate::orders::{OrderDetail, flags};
use crate::reject::Reject;
use crate::types::{
    AccountId, ClientOrderId, InstrumentId, Lots, OrderId, PostOnly, Price, PriceTicks,
    RecoveryPolicy, Rounding, SelfTradePrevention, Side, TimeInForce, TimeMs, mul_div,
};

/// An order that passed every check of form: what matching needs and no more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket {
    pub account: AccountId,
    pub instrument: InstrumentId,
    pub side: Side,
    pub lots: Lots,
    /// Lots filled before, for an amended order that comes back.
    pub filled_before: u32,
    pub limit: PriceTicks,
    pub rests: bool,
    pub self_trade: SelfTradePrevention,
    pub flags: u8,
    pub expires_at: TimeMs,
    pub client_id: ClientOrderId,
}

impl Engine {
    pub(super) fn place_order(
        &mut self,
        account: AccountId,
        order: &PlaceOrder,
        events: &mut Vec<Event>,
    ) -> Result<(), Reject> {
        #[cfg(feature = "poison")]
        assert!(order.label != b"poison", "poisoned order");
        if let Some(first) = self.remembered(account, order.client_id) {
            let client_id = order.client_id;
            events.push(Event::OrderRepeated {
                account,
                client_id,
                order: first,
            });
            return Ok(());
        }
        let ticket = self.ticket(account, order)?;
        self.check_initial_margin(&ticket)?;
        let id = self.books.allocate().ok_or(Reject::VenueFull)?;
        self.announce(id, &ticket, &order.label, events);
        self.execute_ticket(id, &ticket, &order.label, events);
        Ok(())
    }

    fn remembered(&self, account: AccountId, client_id: ClientOrderId) -> Option<OrderId> {
        if client_id.get() == 0 {
            return None;
        }
        self.ledger
            .account(account)?
            .client_ids
            .as_ref()?
            .get(client_id)
    }

    /// Checks form and permission, in the order of the reject numbers' ranges where both apply.
    #[inline(always)]
    fn ticket(&self, account: AccountId, order: &PlaceOrder) -> Result<Ticket, Reject> {
        let rests_only = order.post_only != PostOnly::Off;
        let activity = if rests_only {
            Activity::Rest
        } else {
            Activity::Take
        };
        self.permit(activity)?;
        let instrument = self.tradable(order.instrument)?;
        self.permit_on(instrument.terms.underlying, activity)?;
        check_flags(order, self.time)?;
        let lots = order
            .qty
            .to_lots(instrument.lot)
            .map_err(|_| Reject::OffLot)?;
        if lots.get()
            > self
                .underlying(instrument)
                .ok_or(Reject::NoMark)?
                .order_lots_max
        {
            return Err(Reject::OrderTooLarge);
        }
        let limit = match order.price {
            OrderPrice::Limit(price) => self.limit_ticks(instrument, order.side, price)?,
            OrderPrice::Market => self.market_bound(instrument, order.side)?,
        };
        self.check_room(account, instrument, order.side, lots)?;
        let lots = self.reduced(account, order, lots)?;
        let limit = self.post_only_limit(order, limit)?;
        let expires_at = match order.time_in_force {
            TimeInForce::GoodTilDate(at) => at,
            _ => TimeMs::new(0),
        };
        let ticket = Ticket {
            account,
            instrument: order.instrument,
            side: order.side,
            lots,
            filled_before: 0,
            limit,
            rests: rests(order),
            self_trade: order.self_trade,
            flags: order_flags(order),
            expires_at,
            client_id: order.client_id,
        };
        if order.time_in_force == TimeInForce::FillOrKill {
            // A copy, so that the ticket itself need not lie in memory.
            let asked = ticket;
            self.check_fill_or_kill(&asked)?;
        }
        Ok(ticket)
    }

    /// An instrument that may be traded now.
    pub(super) fn tradable(&self, id: InstrumentId) -> Result<&Instrument, Reject> {
        let instrument = self.instruments.get(id).ok_or(Reject::UnknownInstrument)?;
        if !instrument.is_listed() || instrument.terms.expiry <= self.time {
            return Err(Reject::InstrumentClosed);
        }
        Ok(instrument)
    }

    /// A limit price in ticks, refused when it is so far through the mark that it must be a mistake.
    #[inline]
    pub(super) fn limit_ticks(
        &self,
        instrument: &Instrument,
        side: Side,
        price: Price,
    ) -> Result<PriceTicks, Reject> {
        let ticks = price
            .to_ticks(instrument.tick)
            .map_err(|_| Reject::OffTick)?;
        let band = self.underlying(instrument).map_or(0, |u| u.band_ppm);
        let band = self.band_now(instrument.terms.underlying, band);
        let bound = self.bound_around_mark(instrument, side, band)?;
        let outside = match side {
            Side::Buy => price > bound,
            Side::Sell => price < bound,
        };
        if outside {
            Err(Reject::PriceOutsideBand)
        } else {
            Ok(ticks)
        }
    }

    fn market_bound(&self, instrument: &Instrument, side: Side) -> Result<PriceTicks, Reject> {
        let ppm = self
            .underlying(instrument)
            .map_or(0, |u| u.market_bound_ppm);
        let ppm = self.band_now(instrument.terms.underlying, ppm);
        let bound = self.bound_around_mark(instrument, side, ppm)?;
        let ticks = bound
            .get()
            .checked_div(instrument.tick.get())
            .unwrap_or(0)
            .max(1);
        u32::try_from(ticks)
            .map(PriceTicks::new)
            .map_err(|_| Reject::OffTick)
    }

    fn bound_around_mark(
        &self,
        instrument: &Instrument,
        side: Side,
        ppm: u32,
    ) -> Result<Price, Reject> {
        let mark = instrument.mark.ok_or(Reject::NoMark)?.price.get();
        let index = self
            .index_price(instrument.terms.underlying)
            .ok_or(Reject::NoMark)?
            .get();
        let reach = mul_div(index, i64::from(ppm), 1_000_000, Rounding::Down).unwrap_or(i64::MAX);
        let bound = match side {
            Side::Buy => mark.saturating_add(reach),
            Side::Sell => mark.saturating_sub(reach),
        };
        Ok(Price::new(bound))
    }

    /// Bounds on the account and on the position that the order could lead to.
    pub(super) fn check_room(
        &self,
        account: AccountId,
        instrument: &Instrument,
        side: Side,
        lots: Lots,
    ) -> Result<(), Reject> {
        let entry = self.ledger.account(account).ok_or(Reject::UnknownAccount)?;
        if entry.liquidation.is_some() {
            return Err(Reject::AccountInLiquidation);
        }
        if entry.open_orders >= ORDERS_PER_ACCOUNT_MAX {
            return Err(Reject::TooManyOrders);
        }
        let Some(holding) = entry.holding(instrument.id) else {
            return if entry.can_hold(instrument.id) {
                Ok(())
            } else {
                Err(Reject::TooManyHoldings)
            };
        };
        let open = holding
            .open(side)
            .checked_add(lots.get())
            .ok_or(Reject::PositionTooLarge)?;
        let reach = side
            .sign()
            .saturating_mul(i64::from(open))
            .saturating_add(holding.position);
        if reach.unsigned_abs() > POSITION_LOTS_MAX.unsigned_abs() {
            return Err(Reject::PositionTooLarge);
        }
        Ok(())
    }

    /// The size of a reduce-only order, cut to what it may reduce.
    fn reduced(&self, account: AccountId, order: &PlaceOrder, lots: Lots) -> Result<Lots, Reject> {
        if !order.reduce_only {
            return Ok(lots);
        }
        let entry = self.ledger.account(account).ok_or(Reject::UnknownAccount)?;
        let room = entry
            .holding(order.instrument)
            .map_or(0, |h| h.reducible(order.side));
        if room == 0 {
            Err(Reject::WouldNotReduce)
        } else {
            Ok(lots.min(Lots::new(room)))
        }
    }

    fn post_only_limit(&self, order: &PlaceOrder, limit: PriceTicks) -> Result<PriceTicks, Reject> {
        self.without_taking(order.instrument, order.side, limit, order.post_only)
    }

    /// The price at which a post-only order may rest.
    pub(super) fn without_taking(
        &self,
        book: InstrumentId,
        side: Side,
        limit: PriceTicks,
        post_only: PostOnly,
    ) -> Result<PriceTicks, Reject> {
        if post_only == PostOnly::Off {
            return Ok(limit);
        }
        let Some(opposite) = self.books.best(book, side.opposite()) else {
            return Ok(limit);
        };
        let takes = match side {
            Side::Buy => limit >= opposite,
            Side::Sell => limit <= opposite,
        };
        if !takes {
            return Ok(limit);
        }
        if post_only == PostOnly::Reject {
            return Err(Reject::WouldTake);
        }
        let behind = match side {
            Side::Buy => opposite.get().checked_sub(1).filter(|ticks| *ticks > 0),
            Side::Sell => opposite.get().checked_add(1),
        };
        behind.map(PriceTicks::new).ok_or(Reject::WouldTake)
    }

    #[cold]
    fn check_fill_or_kill(&self, ticket: &Ticket) -> Result<(), Reject> {
        let taker = Taker {
            account: ticket.account,
            side: ticket.side,
            limit: ticket.limit,
            lots: ticket.lots,
            stp: ticket.self_trade,
        };
        let there = self.books.available(ticket.instrument, taker);
        if there < ticket.lots || !self.reduce_only_makers_suffice(ticket) {
            Err(Reject::NotFillable)
        } else {
            Ok(())
        }
    }

    /// Whether the ticket fills although reduce-only makers give no more than they may still reduce.
    fn reduce_only_makers_suffice(&self, ticket: &Ticket) -> bool {
        let makers = || {
            let opposite = self.books.orders(ticket.instrument, ticket.side.opposite());
            opposite.take_while(|maker| match ticket.side {
                Side::Buy => maker.price <= ticket.limit,
                Side::Sell => maker.price >= ticket.limit,
            })
        };
        let mut ahead = ticket.lots.get();
        let reaches_some = makers().any(|maker| {
            let reached = ahead > 0;
            ahead = ahead.saturating_sub(maker.lots.get());
            reached && maker.flags & flags::REDUCE_ONLY != 0
        });
        if !reaches_some {
            return true;
        }
        let mut left = ticket.lots.get();
        let mut given: BTreeMap<AccountId, u32> = BTreeMap::new();
        // Own orders are passed over; where they end the match, `available` has ended there too.
        for maker in makers().filter(|maker| maker.owner != ticket.account) {
            let before = given.entry(maker.owner).or_default();
            let room = match maker.flags & flags::REDUCE_ONLY {
                0 => maker.lots.get(),
                _ => self.reducible(&maker).saturating_sub(*before),
            };
            let lots = left.min(maker.lots.get()).min(room);
            *before = before.saturating_add(lots);
            left = left.saturating_sub(lots);
            if left == 0 {
                return true;
            }
        }
        false
    }

    pub(super) fn announce(
        &self,
        id: OrderId,
        ticket: &Ticket,
        label: &[u8],
        events: &mut Vec<Event>,
    ) {
        let Some(instrument) = self.instruments.get(ticket.instrument) else {
            return;
        };
        let price = ticket.limit.to_price(instrument.tick).unwrap_or_default();
        let qty = ticket.lots.to_qty(instrument.lot).unwrap_or_default();
        let label = label.to_vec();
        emit(events, || {
            Event::OrderPlaced(OrderPlaced {
                account: ticket.account,
                order: id,
                client_id: ticket.client_id,
                instrument: ticket.instrument,
                side: ticket.side,
                price,
                qty,
                label,
            })
        });
    }

    /// Matches a ticket whose margin is held, then rests or cancels what is left.
    pub(super) fn execute_ticket(
        &mut self,
        id: OrderId,
        ticket: &Ticket,
        label: &[u8],
        events: &mut Vec<Event>,
    ) {
        let (left, may_rest) = self.trade(id, ticket, events);
        if ticket.client_id.get() != 0
            && let Some(account) = self.ledger.account_mut(ticket.account)
        {
            account
                .client_ids
                .get_or_insert_default()
                .insert(ticket.client_id, id);
        }
        if left.get() > 0 && may_rest && ticket.rests {
            self.rest(id, ticket, left, label, events);
        } else {
            self.finish_unrested(id, ticket, left, may_rest, events);
        }
    }

    /// Rests what is left; a level that is full sends it back like an immediate order.
    pub(super) fn rest(
        &mut self,
        id: OrderId,
        ticket: &Ticket,
        left: Lots,
        label: &[u8],
        events: &mut Vec<Event>,
    ) {
        let filled = ticket.lots.get().saturating_sub(left.get());
        let detail = OrderDetail {
            client_id: ticket.client_id,
            placed_at: self.time,
            expires_at: ticket.expires_at,
            filled: ticket.filled_before.saturating_add(filled),
            ..OrderDetail::default()
        };
        let order = NewOrder {
            side: ticket.side,
            price: ticket.limit,
            lots: left,
            owner: ticket.account,
            flags: ticket.flags,
        };
        if !self.books.rest(id, ticket.instrument, order) {
            self.finish_unrested(id, ticket, left, true, events);
            return;
        }
        let Some(account) = self.ledger.account_mut(ticket.account) else {
            return;
        };
        self.orders.link(id, detail, label, account);
        if let Ok(holding) = account.holding_or_new(ticket.instrument) {
            let open = holding.open_mut(ticket.side);
            *open = open.saturating_add(left.get());
            if ticket.flags & flags::REDUCE_ONLY != 0 {
                holding.reduce_only = holding.reduce_only.saturating_add(1);
            }
        }
        self.margin_open_changed(&OpenLots::of_ticket(ticket), i64::from(left.get()));
    }

    pub(super) fn finish_unrested(
        &mut self,
        id: OrderId,
        ticket: &Ticket,
        left: Lots,
        may_rest: bool,
        events: &mut Vec<Event>,
    ) {
        self.books.release(id);
        if let Some(account) = self.ledger.account_mut(ticket.account) {
            account.forget_if_empty(ticket.instrument);
            if let (Some(ids), true) = (&mut account.client_ids, ticket.client_id.get() != 0) {
                ids.end(ticket.client_id);
            }
        }
        if left.get() == 0 {
            return;
        }
        let lot = self
            .instruments
            .get(ticket.instrument)
            .map(|i| i.lot)
            .unwrap_or_default();
        let unfilled = left.to_qty(lot).unwrap_or_default();
        let reason = if may_rest {
            CancelReason::Immediate
        } else {
            CancelReason::SelfTrade
        };
        emit(events, || Event::OrderCancelled {
            account: ticket.account,
            order: id,
            instrument: ticket.instrument,
            unfilled,
            reason,
        });
    }
}

fn check_flags(order: &PlaceOrder, now: TimeMs) -> Result<(), Reject> {
    let immediate = matches!(
        order.time_in_force,
        TimeInForce::ImmediateOrCancel | TimeInForce::FillOrKill
    );
    let market = order.price == OrderPrice::Market;
    if order.post_only != PostOnly::Off && (immediate || market) {
        return Err(Reject::ConflictingFlags);
    }
    if let TimeInForce::GoodTilDate(at) = order.time_in_force
        && at <= now
    {
        return Err(Reject::ExpiryInPast);
    }
    if order.label.len() > LABEL_BYTES_MAX {
        return Err(Reject::LabelTooLong);
    }
    Ok(())
}

fn rests(order: &PlaceOrder) -> bool {
    let lasting = matches!(
        order.time_in_force,
        TimeInForce::GoodTilCancelled | TimeInForce::GoodTilDate(_)
    );
    lasting && order.price != OrderPrice::Market
}

fn order_flags(order: &PlaceOrder) -> u8 {
    let bit = |set: bool, flag: u8| if set { flag } else { 0 };
    bit(order.protected, flags::PROTECTED)
        | bit(order.recovery == RecoveryPolicy::Keep, flags::KEEP)
        | bit(order.reduce_only, flags::REDUCE_ONLY)
}

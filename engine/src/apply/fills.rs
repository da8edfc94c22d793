//! Matching a ticket and settling its fills: cash, positions, fees.

use alloc::vec::Vec;
use core::ops::ControlFlow;

use super::margin::OpenLots;
use super::place::Ticket;
use super::{Engine, INSURANCE_FUND};
use crate::book::{Fill, MatchStop, Resting, Taken, Taker};
use crate::event::{CancelReason, Event, Trade, emit};
use crate::instrument::Instrument;
use crate::ledger::NO_SLOT;
use crate::orders::flags;
use crate::types::{
    AccountId, Cash, InstrumentId, Lots, OrderId, PriceTicks, Rounding, SelfTradePrevention, Side,
    mul_div,
};

/// Buffers that live across commands so that matching allocates nothing.
#[derive(Default)]
pub(super) struct Scratch {
    taken: Vec<Taken>,
    /// Makers whose protection has to be looked at when matching is over.
    pub protected: Vec<AccountId>,
    pub accounts: Vec<AccountId>,
    pub orders: Vec<OrderId>,
}

/// Figures of one instrument at the last tick, for one lot.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FeeRow {
    pub taker_per_lot: i64,
    pub maker_per_lot: i64,
    /// Value of one lot at the mark, rounded down.
    pub mark_per_lot: i64,
}

impl Engine {
    /// Matches as far as limit and self-trade rule allow. Returns what is left and whether it may
    /// rest.
    pub(super) fn trade(
        &mut self,
        id: OrderId,
        ticket: &Ticket,
        events: &mut Vec<Event>,
    ) -> (Lots, bool) {
        let mut taken = core::mem::take(&mut self.scratch.taken);
        let mut left = ticket.lots;
        let mut cleared: Option<OrderId> = None;
        let stop = loop {
            taken.clear();
            let taker = Taker {
                account: ticket.account,
                side: ticket.side,
                limit: ticket.limit,
                lots: left,
                stp: ticket.self_trade,
            };
            let (rest, stop) = self.books.take(ticket.instrument, taker, &mut |step| {
                if let Taken::Fill(fill) = step
                    && fill.maker_flags & flags::REDUCE_ONLY != 0
                    && cleared != Some(fill.maker)
                {
                    return ControlFlow::Break(());
                }
                taken.push(step);
                ControlFlow::Continue(())
            });
            left = rest;
            self.settle_taken(id, ticket, &taken, events);
            if stop != MatchStop::Vetoed {
                break stop;
            }
            cleared = self.clear_reduce_only(ticket, events);
        };
        taken.clear();
        self.scratch.taken = taken;
        self.check_protections(ticket.instrument, events);
        let may_rest = !(stop == MatchStop::SelfTrade
            && ticket.self_trade != SelfTradePrevention::CancelMaker);
        (left, may_rest)
    }

    fn settle_taken(
        &mut self,
        id: OrderId,
        ticket: &Ticket,
        taken: &[Taken],
        events: &mut Vec<Event>,
    ) {
        if taken.is_empty() {
            return;
        }
        let Some(instrument) = self.instruments.get(ticket.instrument).copied() else {
            return;
        };
        self.foresee_fills(taken, ticket.instrument);
        for step in taken {
            match step {
                Taken::Fill(fill) => self.settle_fill(id, ticket, &instrument, fill, events),
                Taken::SelfTradeCancelled(order) => {
                    self.forget_resting(order, CancelReason::SelfTrade, events);
                }
            }
        }
    }

    /// One fill: premium from buyer to seller, fees from both, positions on both sides.
    fn settle_fill(
        &mut self,
        id: OrderId,
        ticket: &Ticket,
        instrument: &Instrument,
        fill: &Fill,
        events: &mut Vec<Event>,
    ) {
        let premium = instrument
            .premium(fill.price, fill.lots)
            .unwrap_or(Cash::ZERO);
        let fees = self.margin.fee_row(ticket.instrument);
        let taker_fee = self.fee(fees.taker_per_lot, fill.lots, premium);
        let maker_fee = self.fee(fees.maker_per_lot, fill.lots, premium);
        let maker_side = ticket.side.opposite();
        self.move_position(
            ticket.account,
            instrument,
            ticket.side,
            fill.lots,
            premium,
            taker_fee,
        );
        self.move_position(
            fill.maker_owner,
            instrument,
            maker_side,
            fill.lots,
            premium,
            maker_fee,
        );
        self.collect_fees(taker_fee, maker_fee);
        self.close_open(fill, instrument.id, maker_side);
        let open = OpenLots {
            account: fill.maker_owner,
            instrument: instrument.id,
            side: maker_side,
            price: fill.price,
        };
        self.margin_open_changed(&open, i64::from(fill.lots.get()).saturating_neg());
        if fill.maker_flags & flags::PROTECTED != 0 {
            self.count_protected(fill.maker_owner, instrument, maker_side, fill.lots);
        }
        self.trades = self.trades.saturating_add(1);
        let trade = self.trades;
        let price = fill.price.to_price(instrument.tick).unwrap_or_default();
        let qty = fill.lots.to_qty(instrument.lot).unwrap_or_default();
        emit(events, || {
            Event::Traded(Trade {
                trade,
                instrument: instrument.id,
                price,
                qty,
                taker_side: ticket.side,
                taker: ticket.account,
                taker_order: id,
                taker_fee,
                maker: fill.maker_owner,
                maker_order: fill.maker,
                maker_fee,
                maker_filled: fill.maker_left.get() == 0,
            })
        });
    }

    /// `lots` at the per-lot fee, at most the cap on the premium; rounded up.
    pub(super) fn fee(&self, per_lot: i64, lots: Lots, premium: Cash) -> Cash {
        let fee = per_lot.saturating_mul(i64::from(lots.get()));
        let cap_ppm = i64::from(self.parameters.fees.premium_cap_ppm);
        let cap = mul_div(premium.get(), cap_ppm, 1_000_000, Rounding::Up).unwrap_or(0);
        Cash::new(fee.min(cap))
    }

    pub(super) fn move_position(
        &mut self,
        account: AccountId,
        instrument: &Instrument,
        side: Side,
        lots: Lots,
        premium: Cash,
        fee: Cash,
    ) {
        let signed = side.sign().saturating_mul(i64::from(lots.get()));
        let paid = side.sign().saturating_mul(premium.get());
        let Some(entry) = self.ledger.account_mut(account) else {
            return;
        };
        entry.cash = Cash::new(
            entry
                .cash
                .get()
                .saturating_sub(paid)
                .saturating_sub(fee.get()),
        );
        let Ok(holding) = entry.holding_or_new(instrument.id) else {
            return;
        };
        let before = holding.position;
        holding.trade(signed, Cash::new(paid));
        let after = before.saturating_add(signed);
        self.margin_position_changed(account, instrument.id, before, after);
        self.count_open_interest(instrument.id, before, after);
    }

    /// Open interest counts the long side.
    pub(super) fn count_open_interest(
        &mut self,
        instrument: InstrumentId,
        before: i64,
        after: i64,
    ) {
        let change = after.max(0).saturating_sub(before.max(0));
        if let Some(entry) = self.instruments.get_mut(instrument) {
            entry.open_interest = entry.open_interest.saturating_add_signed(change);
        }
    }

    pub(super) fn collect_fees(&mut self, taker_fee: Cash, maker_fee: Cash) {
        let total = taker_fee.get().saturating_add(maker_fee.get());
        let share = i64::from(self.parameters.fees.insurance_ppm);
        let insured = mul_div(total.max(0), share, 1_000_000, Rounding::Down).unwrap_or(0);
        let venue = total.saturating_sub(insured);
        self.ledger.fees = Cash::new(self.ledger.fees.get().saturating_add(venue));
        if let Some(fund) = self.ledger.account_mut(INSURANCE_FUND) {
            fund.cash = Cash::new(fund.cash.get().saturating_add(insured));
        }
    }

    /// The maker's open lots shrink; an order that is filled leaves its account's list.
    pub(super) fn close_open(&mut self, fill: &Fill, instrument: InstrumentId, side: Side) {
        let filled = fill.maker_left.get() == 0;
        if let Some(detail) = self.orders.get_mut(fill.maker.slot()) {
            detail.filled = detail.filled.saturating_add(fill.lots.get());
        }
        let Some(entry) = self.ledger.account_mut(fill.maker_owner) else {
            return;
        };
        if let Some(holding) = entry.holding_mut(instrument) {
            let open = holding.open_mut(side);
            *open = open.saturating_sub(fill.lots.get());
            if filled {
                if fill.maker_flags & flags::QUOTE != 0 {
                    *holding.quote_mut(side) = NO_SLOT;
                }
                if fill.maker_flags & flags::REDUCE_ONLY != 0 {
                    holding.reduce_only = holding.reduce_only.saturating_sub(1);
                }
            }
        }
        if filled {
            self.orders.unlink(fill.maker, entry);
            entry.forget_if_empty(instrument);
        }
    }

    /// The best order against the ticket is reduce-only. It is cut to what it may still reduce, or
    /// cancelled; returns it when it may now trade.
    fn clear_reduce_only(&mut self, ticket: &Ticket, events: &mut Vec<Event>) -> Option<OrderId> {
        let book = ticket.instrument;
        let maker = self.books.orders(book, ticket.side.opposite()).next()?;
        let room = self.reducible(&maker);
        if room == 0 {
            self.cancel_resting(maker.order, CancelReason::NotReducing, events);
            return None;
        }
        if room < maker.lots.get() {
            self.shrink_resting(&maker, Lots::new(room));
            let filled = self.orders.get(maker.order.slot()).map_or(0, |d| d.filled);
            let total = Lots::new(filled.saturating_add(room));
            self.announce_amend(&maker, maker.price, total, true, events);
        }
        Some(maker.order)
    }

    /// How many lots a resting reduce-only order may still trade: those of the position against it.
    pub(super) fn reducible(&self, maker: &Resting) -> u32 {
        let account = self.ledger.account(maker.owner);
        let holding = account.and_then(|entry| entry.holding(maker.book));
        let position = holding.map_or(0, |holding| holding.position);
        let against = position.saturating_mul(maker.side.sign()) < 0;
        let room = if against { position.unsigned_abs() } else { 0 };
        u32::try_from(room).unwrap_or(u32::MAX)
    }

    /// Cuts a resting order to `lots`, which keeps its place. The caller tells it in an event.
    pub(super) fn shrink_resting(&mut self, order: &Resting, lots: Lots) {
        let cut = order.lots.get().saturating_sub(lots.get());
        if cut == 0 || !self.books.reduce(order.order, lots) {
            return;
        }
        if let Some(holding) = self
            .ledger
            .account_mut(order.owner)
            .and_then(|entry| entry.holding_mut(order.book))
        {
            let open = holding.open_mut(order.side);
            *open = open.saturating_sub(cut);
        }
        self.margin_open_changed(&OpenLots::of(order), i64::from(cut).saturating_neg());
    }

    /// Premium at a price, for margin checks.
    pub(super) fn premium(&self, instrument: InstrumentId, price: PriceTicks, lots: Lots) -> Cash {
        let premium = self
            .instruments
            .get(instrument)
            .and_then(|i| i.premium(price, lots));
        premium.unwrap_or(Cash::MAX)
    }
}

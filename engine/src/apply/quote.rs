//! Mass quotes: two-sided quotes replaced in place.

use alloc::vec::Vec;

use super::Engine;
use super::margin::OpenLots;
use super::place::Ticket;
use crate::book::{NewOrder, Resting};
use crate::command::{MassQuote, QuoteEntry, QuoteSide};
use crate::event::{CancelReason, Event, emit};
use crate::instrument::Instrument;
use crate::ledger::NO_SLOT;
use crate::limits::QUOTES_PER_COMMAND_MAX;
use crate::modes::Activity;
use crate::orders::{OrderDetail, flags};
use crate::reject::Reject;
use crate::types::{
    AccountId, ClientOrderId, Lots, OrderId, PostOnly, PriceTicks, RecoveryPolicy,
    SelfTradePrevention, Side, TimeMs,
};

impl Engine {
    pub(super) fn mass_quote(
        &mut self,
        account: AccountId,
        quotes: &MassQuote,
        events: &mut Vec<Event>,
    ) -> Result<(), Reject> {
        self.permit(Activity::Rest)?;
        let entries = &quotes.entries;
        let ascending = entries.is_sorted_by(|a, b| a.instrument < b.instrument);
        if entries.is_empty() || entries.len() > QUOTES_PER_COMMAND_MAX || !ascending {
            return Err(Reject::BadQuoteSet);
        }
        if self
            .ledger
            .account(account)
            .is_some_and(|a| a.liquidation.is_some())
        {
            return Err(Reject::AccountInLiquidation);
        }
        self.check_protection_open(account, entries)?;
        let keep = if quotes.recovery == RecoveryPolicy::Keep {
            flags::KEEP
        } else {
            0
        };
        for entry in entries {
            self.quote_sides(
                account,
                entry,
                flags::PROTECTED | flags::QUOTE | keep,
                events,
            );
        }
        Ok(())
    }

    fn quote_sides(
        &mut self,
        account: AccountId,
        entry: &QuoteEntry,
        flags: u8,
        events: &mut Vec<Event>,
    ) {
        // The side that moves away goes first, so that a quote which moves through its own old
        // other side does not refuse itself.
        let sides = [(Side::Buy, entry.bid), (Side::Sell, entry.ask)];
        let pulled = sides
            .iter()
            .filter(|(_, quote)| quote.is_some_and(|q| q.qty.is_zero()));
        for (side, _) in pulled {
            self.pull_quote(account, entry, *side, events);
        }
        for (side, quote) in sides {
            let Some(quote) = quote.filter(|q| !q.qty.is_zero()) else {
                continue;
            };
            if let Err(reject) = self.set_quote(account, entry, side, &quote, flags, events) {
                self.pull_quote(account, entry, side, events);
                let instrument = entry.instrument;
                events.push(Event::QuoteRejected {
                    account,
                    instrument,
                    side,
                    reject,
                });
            }
        }
        if let Some(holder) = self.ledger.account_mut(account) {
            holder.forget_if_empty(entry.instrument);
        }
    }

    fn pull_quote(
        &mut self,
        account: AccountId,
        entry: &QuoteEntry,
        side: Side,
        events: &mut Vec<Event>,
    ) {
        if let Some(old) = self.quoted(account, entry, side) {
            self.cancel_resting(old.order, CancelReason::Requoted, events);
        }
    }

    /// The account's live quote of one side.
    fn quoted(&self, account: AccountId, entry: &QuoteEntry, side: Side) -> Option<Resting> {
        let holding = self.ledger.account(account)?.holding(entry.instrument)?;
        let slot = holding.quote(side);
        if slot == NO_SLOT {
            None
        } else {
            self.books.in_slot(slot)
        }
    }

    fn set_quote(
        &mut self,
        account: AccountId,
        entry: &QuoteEntry,
        side: Side,
        quote: &QuoteSide,
        flags: u8,
        events: &mut Vec<Event>,
    ) -> Result<(), Reject> {
        let instrument = *self.tradable(entry.instrument)?;
        self.permit_on(instrument.terms.underlying, Activity::Rest)?;
        let lots = quote
            .qty
            .to_lots(instrument.lot)
            .map_err(|_| Reject::OffLot)?;
        if lots.get() > self.underlying(&instrument).map_or(0, |u| u.order_lots_max) {
            return Err(Reject::OrderTooLarge);
        }
        let limit = self.limit_ticks(&instrument, side, quote.price)?;
        let limit = self.without_taking(instrument.id, side, limit, PostOnly::Reject)?;
        let old = self.quoted(account, entry, side);
        let old_lots = old.map_or(0, |o| o.lots.get());
        let grown = Lots::new(lots.get().saturating_sub(old_lots));
        self.check_room(account, &instrument, side, grown)?;
        let ticket = Ticket {
            account,
            instrument: instrument.id,
            side,
            lots,
            filled_before: 0,
            limit,
            rests: true,
            self_trade: SelfTradePrevention::CancelTaker,
            flags,
            expires_at: TimeMs::new(0),
            client_id: ClientOrderId::new(0),
        };
        let order = self.hold_quote(&ticket, old.as_ref())?;
        self.announce_quote(order, &ticket, &instrument, events);
        Ok(())
    }

    /// Checks the quote's margin with the old quote's released, then moves or inserts it.
    fn hold_quote(&mut self, ticket: &Ticket, old: Option<&Resting>) -> Result<OrderId, Reject> {
        match old {
            Some(old) => {
                let smaller = ticket.limit == old.price && ticket.lots <= old.lots;
                if !smaller {
                    self.check_amended_margin(ticket, old)?;
                }
                self.move_quote(ticket, old)
            }
            None => {
                self.check_initial_margin(ticket)?;
                self.insert_quote(ticket)
            }
        }
    }

    fn move_quote(&mut self, ticket: &Ticket, old: &Resting) -> Result<OrderId, Reject> {
        if ticket.limit == old.price && ticket.lots == old.lots {
            return Ok(old.order);
        }
        if ticket.limit == old.price && ticket.lots < old.lots {
            self.shrink_resting(old, ticket.lots);
        } else {
            if !self.books.requote(old.order, ticket.limit, ticket.lots) {
                return Err(Reject::VenueFull);
            }
            if let Some(holding) = self
                .ledger
                .account_mut(ticket.account)
                .and_then(|entry| entry.holding_mut(ticket.instrument))
            {
                let open = holding.open_mut(ticket.side);
                *open = open
                    .saturating_sub(old.lots.get())
                    .saturating_add(ticket.lots.get());
            }
            self.margin_open_changed(
                &OpenLots::of(old),
                i64::from(old.lots.get()).saturating_neg(),
            );
            self.margin_open_changed(&OpenLots::of_ticket(ticket), i64::from(ticket.lots.get()));
        }
        if let Some(detail) = self.orders.get_mut(old.order.slot()) {
            detail.filled = 0;
            detail.placed_at = self.time;
        }
        Ok(old.order)
    }

    fn insert_quote(&mut self, ticket: &Ticket) -> Result<OrderId, Reject> {
        let order = NewOrder {
            side: ticket.side,
            price: ticket.limit,
            lots: ticket.lots,
            owner: ticket.account,
            flags: ticket.flags,
        };
        let id = self
            .books
            .insert(ticket.instrument, order)
            .ok_or(Reject::VenueFull)?;
        let detail = OrderDetail {
            placed_at: self.time,
            ..OrderDetail::default()
        };
        let entry = self
            .ledger
            .account_mut(ticket.account)
            .ok_or(Reject::UnknownAccount)?;
        self.orders.link(id, detail, &[], entry);
        let holding = entry.holding_or_new(ticket.instrument)?;
        let open = holding.open_mut(ticket.side);
        *open = open.saturating_add(ticket.lots.get());
        *holding.quote_mut(ticket.side) = id.slot();
        let lots = i64::from(ticket.lots.get());
        self.margin_open_changed(&OpenLots::of_ticket(ticket), lots);
        Ok(id)
    }

    fn announce_quote(
        &self,
        order: OrderId,
        ticket: &Ticket,
        instrument: &Instrument,
        events: &mut Vec<Event>,
    ) {
        let limit: PriceTicks = ticket.limit;
        let price = limit.to_price(instrument.tick).unwrap_or_default();
        let qty = ticket.lots.to_qty(instrument.lot).unwrap_or_default();
        emit(events, || Event::QuotePlaced {
            account: ticket.account,
            order,
            instrument: instrument.id,
            side: ticket.side,
            price,
            qty,
        });
    }
}

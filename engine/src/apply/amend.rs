//! Amending a resting order.

use alloc::vec::Vec;

use super::Engine;
use super::margin::OpenLots;
use super::place::Ticket;
use crate::book::Resting;
use crate::command::AmendOrder;
use crate::event::{Event, emit};
use crate::modes::Activity;
use crate::orders::flags;
use crate::reject::Reject;
use crate::types::{AccountId, Lots, OrderId, PostOnly, PriceTicks, SelfTradePrevention};

impl Engine {
    /// A smaller size at the same price keeps the order's place. Anything else takes it out and
    /// puts it back at the tail under the same id rules as a new order: it gets a new id only if
    /// its slot was given away, which cannot happen here, so the id stays.
    pub(super) fn amend_order(
        &mut self,
        account: AccountId,
        amend: &AmendOrder,
        events: &mut Vec<Event>,
    ) -> Result<(), Reject> {
        let resting = self.own_order(account, amend.order)?;
        let instrument = *self.tradable(resting.book)?;
        if self.locked(resting.book) {
            return Err(Reject::AuctionClosed);
        }
        let total = amend
            .qty
            .to_lots(instrument.lot)
            .map_err(|_| Reject::OffLot)?;
        let filled = self
            .orders
            .get(resting.order.slot())
            .map_or(0, |d| d.filled);
        let left = total.get().checked_sub(filled).filter(|left| *left > 0);
        let left = Lots::new(left.ok_or(Reject::AmendBelowFilled)?);
        let price = amend
            .price
            .to_ticks(instrument.tick)
            .map_err(|_| Reject::OffTick)?;
        if price == resting.price && left <= resting.lots {
            self.permit(Activity::Cancel)?;
            self.shrink_resting(&resting, left);
            self.announce_amend(&resting, price, total, true, events);
            return Ok(());
        }
        self.requeue(&resting, amend, left, filled, events)
    }

    fn requeue(
        &mut self,
        resting: &Resting,
        amend: &AmendOrder,
        left: Lots,
        filled: u32,
        events: &mut Vec<Event>,
    ) -> Result<(), Reject> {
        let rests_only = amend.post_only != PostOnly::Off;
        let activity = if rests_only {
            Activity::Rest
        } else {
            Activity::Take
        };
        self.permit(activity)?;
        let instrument = *self.tradable(resting.book)?;
        self.permit_on(instrument.terms.underlying, activity)?;
        let limit = self.limit_ticks(&instrument, resting.side, amend.price)?;
        let maximum = self.underlying(&instrument).map_or(0, |u| u.order_lots_max);
        if left.get() > maximum {
            return Err(Reject::OrderTooLarge);
        }
        let limit = self.without_taking(resting.book, resting.side, limit, amend.post_only)?;
        let reduce_only = resting.flags & flags::REDUCE_ONLY != 0;
        if reduce_only && left > resting.lots {
            return Err(Reject::WouldNotReduce);
        }
        let grown = Lots::new(left.get().saturating_sub(resting.lots.get()));
        self.check_room(resting.owner, &instrument, resting.side, grown)?;
        let ticket = self.amended_ticket(resting, limit, left, filled)?;
        self.check_amended_margin(&ticket, resting)?;
        self.replace(resting, &ticket, events);
        Ok(())
    }

    fn amended_ticket(
        &self,
        resting: &Resting,
        limit: PriceTicks,
        left: Lots,
        filled: u32,
    ) -> Result<Ticket, Reject> {
        let detail = self
            .orders
            .get(resting.order.slot())
            .ok_or(Reject::UnknownOrder)?;
        Ok(Ticket {
            account: resting.owner,
            instrument: resting.book,
            side: resting.side,
            lots: left,
            filled_before: filled,
            limit,
            rests: true,
            self_trade: SelfTradePrevention::CancelTaker,
            flags: resting.flags,
            expires_at: detail.expires_at,
            client_id: detail.client_id,
        })
    }

    /// Takes the order out, keeps its slot and so its id, and executes it again.
    fn replace(&mut self, resting: &Resting, ticket: &Ticket, events: &mut Vec<Event>) {
        let label = self.orders.label(resting.order.slot()).to_vec();
        if !self.books.withdraw(resting.order) {
            return;
        }
        let id = resting.order;
        self.detach(resting, id);
        self.announce_amend(
            resting,
            ticket.limit,
            Lots::new(ticket.lots.get().saturating_add(ticket.filled_before)),
            false,
            events,
        );
        self.execute_ticket(id, ticket, &label, events);
    }

    /// The account side of taking an order out without ending it.
    fn detach(&mut self, resting: &Resting, id: OrderId) {
        let Some(entry) = self.ledger.account_mut(resting.owner) else {
            return;
        };
        if let Some(holding) = entry.holding_mut(resting.book) {
            let open = holding.open_mut(resting.side);
            *open = open.saturating_sub(resting.lots.get());
            if resting.flags & flags::REDUCE_ONLY != 0 {
                holding.reduce_only = holding.reduce_only.saturating_sub(1);
            }
        }
        self.orders.detach(id, entry);
        let lots = i64::from(resting.lots.get());
        self.margin_open_changed(&OpenLots::of(resting), lots.saturating_neg());
    }

    pub(super) fn announce_amend(
        &self,
        resting: &Resting,
        price: PriceTicks,
        total: Lots,
        kept_priority: bool,
        events: &mut Vec<Event>,
    ) {
        let Some(instrument) = self.instruments.get(resting.book) else {
            return;
        };
        let price = price.to_price(instrument.tick).unwrap_or_default();
        let qty = total.to_qty(instrument.lot).unwrap_or_default();
        emit(events, || Event::OrderAmended {
            account: resting.owner,
            order: resting.order,
            instrument: resting.book,
            price,
            qty,
            kept_priority,
        });
    }
}

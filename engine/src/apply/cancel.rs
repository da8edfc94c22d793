//! Cancelling: one order, many, expired ones. Every way an unfilled order ends goes through
//! [`Engine::cancel_resting`].

use alloc::vec::Vec;

use super::Engine;
use super::margin::OpenLots;
use crate::book::Resting;
use crate::command::{CancelScope, OrderRef};
use crate::event::{CancelReason, Event, emit};
use crate::ledger::NO_SLOT;
use crate::modes::Activity;
use crate::orders::flags;
use crate::reject::Reject;
use crate::types::{AccountId, OrderId};

impl Engine {
    pub(super) fn cancel_order(
        &mut self,
        account: AccountId,
        order: OrderRef,
        events: &mut Vec<Event>,
    ) -> Result<(), Reject> {
        self.permit(Activity::Cancel)?;
        let resting = self.own_order(account, order)?;
        if self.locked(resting.book) {
            return Err(Reject::AuctionClosed);
        }
        self.cancel_resting(resting.order, CancelReason::User, events);
        Ok(())
    }

    /// The account's live order by either id.
    pub(super) fn own_order(&self, account: AccountId, order: OrderRef) -> Result<Resting, Reject> {
        let id = match order {
            OrderRef::Id(id) => Some(id),
            OrderRef::ClientId(client) => {
                let entry = self.ledger.account(account).ok_or(Reject::UnknownAccount)?;
                entry.client_ids.as_ref().and_then(|ids| ids.get(client))
            }
        };
        let resting = id.and_then(|id| self.books.get(id));
        resting
            .filter(|r| r.owner == account)
            .ok_or(Reject::UnknownOrder)
    }

    pub(super) fn cancel_all(
        &mut self,
        account: AccountId,
        scope: CancelScope,
        events: &mut Vec<Event>,
    ) -> Result<(), Reject> {
        self.permit(Activity::Cancel)?;
        self.cancel_where(
            account,
            CancelReason::User,
            events,
            |engine, order| match scope {
                _ if engine.locked(order.book) => false,
                CancelScope::Account => true,
                CancelScope::Underlying(underlying) => engine
                    .instruments
                    .get(order.book)
                    .is_some_and(|i| i.terms.underlying == underlying),
                CancelScope::Instrument(instrument) => order.book == instrument,
                CancelScope::Quotes => order.flags & flags::QUOTE != 0,
            },
        );
        Ok(())
    }

    /// Cancels the account's orders for which `wanted` holds, by ascending slot.
    pub(super) fn cancel_where(
        &mut self,
        account: AccountId,
        reason: CancelReason,
        events: &mut Vec<Event>,
        wanted: impl Fn(&Self, &Resting) -> bool,
    ) {
        let mut found = core::mem::take(&mut self.scratch.orders);
        found.clear();
        if let Some(entry) = self.ledger.account(account) {
            for slot in self.orders.of_account(entry) {
                if let Some(order) = self.books.in_slot(slot)
                    && wanted(self, &order)
                {
                    found.push(order.order);
                }
            }
        }
        found.sort_unstable_by_key(|order| order.slot());
        for order in &found {
            self.cancel_resting(*order, reason, events);
        }
        self.scratch.orders = found;
    }

    /// Takes a resting order out of the book and out of its account. False if it was not live.
    pub(super) fn cancel_resting(
        &mut self,
        order: OrderId,
        reason: CancelReason,
        events: &mut Vec<Event>,
    ) -> bool {
        let removed = self.books.remove(order);
        // Not taken out of the option, which would copy it.
        let Some(resting) = &removed else {
            return false;
        };
        self.forget_resting(resting, reason, events);
        true
    }

    /// Accounts for an order that the book no longer has.
    pub(super) fn forget_resting(
        &mut self,
        order: &Resting,
        reason: CancelReason,
        events: &mut Vec<Event>,
    ) {
        let Some(entry) = self.ledger.account_mut(order.owner) else {
            return;
        };
        if let Some(holding) = entry.holding_mut(order.book) {
            let open = holding.open_mut(order.side);
            *open = open.saturating_sub(order.lots.get());
            if order.flags & flags::QUOTE != 0 {
                *holding.quote_mut(order.side) = NO_SLOT;
            }
            if order.flags & flags::REDUCE_ONLY != 0 {
                holding.reduce_only = holding.reduce_only.saturating_sub(1);
            }
        }
        self.orders.unlink(order.order, entry);
        if reason != CancelReason::Requoted {
            entry.forget_if_empty(order.book);
        }
        self.margin_open_changed(
            &OpenLots::of(order),
            i64::from(order.lots.get()).saturating_neg(),
        );
        let lot = self
            .instruments
            .get(order.book)
            .map(|i| i.lot)
            .unwrap_or_default();
        let unfilled = order.lots.to_qty(lot).unwrap_or_default();
        emit(events, || Event::OrderCancelled {
            account: order.owner,
            order: order.order,
            instrument: order.book,
            unfilled,
            reason,
        });
    }

    /// Ends good-til-date orders whose time has come.
    pub(super) fn expire_orders(&mut self, events: &mut Vec<Event>) {
        while let Some(order) = self.orders.pop_expired(self.time) {
            self.cancel_resting(order, CancelReason::Expired, events);
        }
    }
}

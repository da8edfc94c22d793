//! Hints ahead of time: while a command runs, what the next ones will touch is being fetched.
//!
//! A venue's state is far larger than any cache, and a block says beforehand which accounts and
//! orders it will touch. **Never** changes anything: without this module only time differs.

use super::Engine;
use crate::block::CheckedCommand;
use crate::command::{Action, Command, OrderRef, UserPayload};
use crate::types::OrderId;

/// How many commands ahead accounts and orders are fetched.
const FAR: usize = 10;
/// How many commands ahead that to which they lead is fetched.
const NEAR: usize = 5;

impl Engine {
    /// Fetches ahead for the commands after the one at `index`.
    #[inline]
    pub(super) fn foresee(&self, commands: &[CheckedCommand], index: u32) {
        let at = usize::try_from(index).unwrap_or(usize::MAX);
        if let Some(payload) = payload(commands, at.saturating_add(FAR)) {
            self.foresee_far(payload);
        }
        if let Some(payload) = payload(commands, at.saturating_add(NEAR)) {
            self.foresee_near(payload);
        }
    }

    #[inline]
    fn foresee_far(&self, payload: &UserPayload) {
        self.ledger.prefetch(payload.account);
        self.margin_prefetch(payload.account);
        if let Some(order) = named_order(payload) {
            self.books.prefetch_order(order);
            self.orders.prefetch(order.slot());
        } else if let Action::PlaceOrder(order) = &payload.action {
            self.books.prefetch_side(order.instrument, order.side);
            self.instruments.prefetch(order.instrument);
        }
    }

    #[inline]
    fn foresee_near(&self, payload: &UserPayload) {
        if let Some(account) = self.ledger.account(payload.account) {
            account.prefetch_within();
            self.orders.prefetch(account.first_order);
        }
        self.margin_prefetch_sums(payload.account);
        if let Some(order) = named_order(payload) {
            self.books.prefetch_queue(order);
            self.orders.prefetch_neighbours(order.slot());
        }
    }
}

#[inline]
fn payload(commands: &[CheckedCommand], at: usize) -> Option<&UserPayload> {
    match commands.get(at)?.command() {
        Command::User(user) => Some(&user.payload),
        Command::Validator(_) => None,
    }
}

#[inline]
const fn named_order(payload: &UserPayload) -> Option<OrderId> {
    match &payload.action {
        Action::CancelOrder(OrderRef::Id(order)) => Some(*order),
        Action::AmendOrder(amend) => match amend.order {
            OrderRef::Id(order) => Some(order),
            OrderRef::ClientId(_) => None,
        },
        _ => None,
    }
}

//! Hints ahead of time: while a command runs, what the next ones will touch is being fetched.
//!
//! A venue's state is far larger than any cache, and a block says beforehand which accounts and
//! orders it will touch. What they lead to (the order to its level, the level to its book, the
//! account and the book to a stake) is fetched step by step, each step some commands nearer, when
//! the one before has arrived. **Never** changes anything: without this module only time differs.

use super::Engine;
use crate::block::CheckedCommand;
use crate::book::Taken;
use crate::book::prefetch::fetch_at;
use crate::command::{Action, Command, OrderPrice, OrderRef, PlaceOrder, UserPayload};
use crate::types::{AccountId, InstrumentId, OrderId, Price, Side};

/// Commands that are looked at together: what leads to tables is read once for all of them.
const BATCH: usize = 4;
/// How many commands ahead each step looks: accounts, orders and books; then what they name; then
/// stakes and rows of margin; then the stakes of orders, one link further away. Commands themselves
/// come before all of that.
const AHEAD: [usize; 4] = [16, 12, 8, 4];
const COMMANDS_AHEAD: usize = 20;
/// Fills of one order that are looked at together; more would push each other out.
const FILLS_AHEAD: usize = 8;
/// Bytes of a cache line.
const LINE: usize = 64;

impl Engine {
    /// Fetches ahead for the commands after the one at `index`.
    #[inline]
    pub(super) fn foresee(&self, commands: &[CheckedCommand], index: u32) {
        let at = usize::try_from(index).unwrap_or(usize::MAX);
        if at.is_multiple_of(BATCH) {
            self.foresee_batch(commands, at);
        }
    }

    #[inline(never)]
    fn foresee_batch(&self, commands: &[CheckedCommand], at: usize) {
        let [first, second, third, last] = AHEAD.map(|ahead| at.saturating_add(ahead));
        batch(commands, at.saturating_add(COMMANDS_AHEAD)).for_each(fetch_whole);
        self.foresee_step(commands, first, 0);
        self.foresee_step(commands, second, 1);
        self.foresee_step(commands, third, 2);
        self.foresee_step(commands, last, 3);
    }

    /// One step for a batch of commands. The step is a constant where this is inlined.
    #[inline(always)]
    fn foresee_step(&self, commands: &[CheckedCommand], from: usize, step: u32) {
        for payload in batch(commands, from).filter_map(payload) {
            self.foresee_account(payload.account, step);
            if let Some(order) = named_order(payload) {
                self.foresee_order(payload, order, step);
            } else if let Action::PlaceOrder(order) = &payload.action {
                self.foresee_placing(payload.account, order, step);
            }
        }
    }

    #[inline(always)]
    fn foresee_account(&self, id: AccountId, step: u32) {
        match step {
            0 => {
                self.ledger.prefetch(id);
                self.margin.prefetch(id);
            }
            1 => {
                if let Some(account) = self.ledger.account(id) {
                    account.prefetch_session();
                    self.orders.prefetch(account.first_order);
                }
                self.margin.prefetch_sums(id);
            }
            _ => {}
        }
    }

    #[inline(always)]
    fn foresee_order(&self, payload: &UserPayload, order: OrderId, step: u32) {
        let id = payload.account;
        match step {
            0 => {
                self.books.prefetch_order(order);
                self.orders.prefetch(order.slot());
            }
            1 => {
                self.books.prefetch_queue(order);
                self.orders.prefetch_neighbours(order.slot());
            }
            2 => {
                if let (Some(order), Some(account)) =
                    (self.books.get(order), self.ledger.account(id))
                {
                    account.holdings.prefetch_search(order.book);
                    self.margin.prefetch_row(order.book, order.side);
                }
            }
            _ => {
                if let Some(order) = self.books.get(order) {
                    self.foresee_stake(id, order.book);
                    if let Action::AmendOrder(amend) = &payload.action {
                        self.foresee_level(order.book, order.side, amend.price);
                    }
                }
            }
        }
    }

    #[inline(always)]
    fn foresee_placing(&self, id: AccountId, order: &PlaceOrder, step: u32) {
        match step {
            0 => {
                self.books.prefetch_side(order.instrument, order.side);
                self.instruments.prefetch(order.instrument);
            }
            1 => {
                if let Some(account) = self.ledger.account(id) {
                    account.holdings.prefetch_search(order.instrument);
                }
                self.margin.prefetch_row(order.instrument, order.side);
            }
            2 => {
                self.foresee_stake(id, order.instrument);
                if let OrderPrice::Limit(price) = order.price {
                    self.foresee_level(order.instrument, order.side, price);
                }
            }
            _ => {}
        }
    }

    /// Fetches ahead for fills that are about to be settled: their makers were known to nobody.
    #[inline]
    pub(super) fn foresee_fills(&self, taken: &[Taken], instrument: InstrumentId) {
        let fills = || {
            let fills = taken.iter().filter_map(|step| match step {
                Taken::Fill(fill) => Some(fill),
                Taken::SelfTradeCancelled(_) => None,
            });
            fills.take(FILLS_AHEAD)
        };
        for fill in fills() {
            self.ledger.prefetch(fill.maker_owner);
            self.margin.prefetch(fill.maker_owner);
            self.orders.prefetch(fill.maker.slot());
        }
        for fill in fills() {
            if let Some(account) = self.ledger.account(fill.maker_owner) {
                account.holdings.prefetch_search(instrument);
            }
            self.margin.prefetch_sums(fill.maker_owner);
            self.orders.prefetch_neighbours(fill.maker.slot());
        }
        for fill in fills() {
            self.foresee_stake(fill.maker_owner, instrument);
            self.margin.prefetch_trade(fill.maker_owner, instrument);
        }
    }

    #[inline(always)]
    fn foresee_level(&self, book: InstrumentId, side: Side, price: Price) {
        if let Some(instrument) = self.instruments.get(book)
            && let Ok(ticks) = price.to_ticks(instrument.tick)
        {
            self.books.prefetch_level(book, side, ticks);
        }
    }

    #[inline(always)]
    fn foresee_stake(&self, id: AccountId, instrument: InstrumentId) {
        if let Some(account) = self.ledger.account(id) {
            account.holdings.prefetch(instrument);
        }
    }
}

/// The commands of the batch that begins at `from`, as far as there are any.
#[inline(always)]
fn batch(commands: &[CheckedCommand], from: usize) -> impl Iterator<Item = &CheckedCommand> {
    commands.get(from..).unwrap_or_default().iter().take(BATCH)
}

#[inline(always)]
fn fetch_whole(command: &CheckedCommand) {
    let line = |at: usize| core::ptr::from_ref(command).cast::<u8>().wrapping_add(at);
    (0..size_of::<CheckedCommand>())
        .step_by(LINE)
        .for_each(|at| fetch_at(line(at)));
}

#[inline]
const fn payload(command: &CheckedCommand) -> Option<&UserPayload> {
    match command.command() {
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

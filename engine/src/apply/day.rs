//! The day's gains: what each account was worth at 08:00 UTC.
//!
//! No sweep asks: an account's worth at the day's beginning is worked out when it first changes in the
//! day, from what it held until then, and until that it follows from what it holds now. What that takes,
//! the value of one lot when the day began, is kept by instrument.

use alloc::vec::Vec;

use super::Engine;
use crate::event::Event;
use crate::ledger::DayBase;
use crate::types::{
    AccountId, Cash, DAY_MS, InstrumentId, TimeMs, UnderlyingId, VENUE_DAY_BEGINS_MS,
};

/// The number of the day that a time is in.
pub(super) fn day_of(time: TimeMs) -> u32 {
    let since = time.get().saturating_sub(VENUE_DAY_BEGINS_MS);
    u32::try_from(since.checked_div(DAY_MS).unwrap_or(0)).unwrap_or(u32::MAX)
}

impl Engine {
    /// At the first block of a day: notes what one lot of everything is worth.
    pub(super) fn turn_day(&mut self, events: &mut Vec<Event>) {
        let day = day_of(self.time);
        if day == self.ledger.day() {
            return;
        }
        for id in self.unsettled() {
            let value = self.mark_of_lot(id);
            if let Some(instrument) = self.instruments.get_mut(id) {
                instrument.day_value = Cash::new(value);
            }
        }
        self.ledger.begin_day(day);
        events.push(Event::DayBegan { day });
    }

    fn unsettled(&self) -> Vec<InstrumentId> {
        let underlyings = 0..self.parameters.underlyings.len();
        let ids = underlyings.flat_map(|at| {
            let underlying = UnderlyingId::new(u8::try_from(at).unwrap_or(u8::MAX));
            let expiries = self.instruments.expiries(underlying);
            expiries.flat_map(|(_, ids)| ids).copied()
        });
        ids.collect()
    }

    /// Works out what accounts that changed for the first time in the day were worth at its beginning.
    pub(super) fn open_accounts_of_day(&mut self) {
        for base in self.ledger.take_day_bases() {
            let worth = self.worth_at_open(&base);
            if let Some(account) = self.ledger.account_mut(base.account) {
                let flows = account.day_open.get();
                account.day_open = Cash::new(flows.saturating_add(worth));
            }
        }
    }

    fn worth_at_open(&self, base: &DayBase) -> i64 {
        let held = base.positions.iter().map(|(id, lots)| {
            let value = self.instruments.get(*id).map_or(0, |i| i.day_value.get());
            i128::from(*lots).saturating_mul(i128::from(value))
        });
        let worth = held.fold(i128::from(base.cash.get()), i128::saturating_add);
        i64::try_from(worth).unwrap_or(0)
    }

    /// Whether an account can have gained at all: it holds something, or changed in the day.
    pub(super) fn may_have_gained(&self, account: AccountId) -> bool {
        let entry = self.ledger.account(account);
        entry.is_some_and(|a| !a.holdings.is_empty() || a.day == self.ledger.day())
    }

    /// What an account with this equity gained since the day began, deposits and withdrawals left out.
    pub fn gain_of_day(&self, account: AccountId, equity: Cash) -> i64 {
        let entry = self.ledger.account(account);
        let known = entry.filter(|a| a.day == self.ledger.day());
        let known = known.map_or(0, |a| a.day_open.get());
        let base = self.ledger.day_base(account);
        let worth = base.map_or(0, |base| self.worth_at_open(&base));
        equity.get().saturating_sub(known.saturating_add(worth))
    }
}

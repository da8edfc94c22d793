//! One consistent reading of the venue for a set of needs, so that the engine's state is held only
//! while plain data is copied.

use std::collections::{BTreeMap, BTreeSet};

use lifeboat_engine::types::{AccountId, InstrumentId, Price, Qty, TimeMs, UnderlyingId};

use crate::port::Venue;
use crate::view::{Account, Depth, Mark, View};

/// Levels read for a whole book.
pub const WHOLE_BOOK: usize = 10_000;

/// What is to be read.
#[derive(Clone, Debug, Default)]
pub struct Needs {
    /// Instruments with the most levels that are needed of each.
    pub instruments: BTreeMap<InstrumentId, usize>,
    /// Accounts, with the marks of their positions.
    pub accounts: BTreeSet<AccountId>,
    /// Underlyings whose index is needed.
    pub underlyings: BTreeSet<UnderlyingId>,
}

impl Needs {
    /// Whether nothing is.
    pub fn is_empty(&self) -> bool {
        self.instruments.is_empty() && self.accounts.is_empty() && self.underlyings.is_empty()
    }

    /// Asks for an instrument with so many levels.
    pub fn instrument(&mut self, id: InstrumentId, levels: usize) {
        let asked = self.instruments.entry(id).or_default();
        *asked = levels.max(*asked);
    }
}

/// What was read of one instrument.
#[derive(Clone, Debug, Default)]
pub struct InstrumentReading {
    /// Its book.
    pub depth: Depth,
    /// Its mark.
    pub mark: Option<Mark>,
    /// Sum of long positions.
    pub open_interest: Qty,
}

/// What was read.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The block time it holds for.
    pub time: TimeMs,
    /// Instruments.
    pub instruments: BTreeMap<InstrumentId, InstrumentReading>,
    /// Marks of the accounts' positions.
    pub marks: BTreeMap<InstrumentId, Mark>,
    /// Indices.
    pub indices: BTreeMap<UnderlyingId, Price>,
    /// Accounts.
    pub accounts: BTreeMap<AccountId, Account>,
}

impl Snapshot {
    /// Reads what is needed.
    pub fn take(venue: &dyn Venue, needs: &Needs) -> Self {
        let mut snapshot = Self::default();
        venue.read(&mut |engine| snapshot = Self::of(&View(engine), needs));
        snapshot
    }

    fn of(view: &View<'_>, needs: &Needs) -> Self {
        let mut snapshot = Self {
            time: view.time(),
            ..Self::default()
        };
        for (&id, &levels) in &needs.instruments {
            let reading = InstrumentReading {
                depth: view.depth(id, levels),
                mark: view.mark(id),
                open_interest: view.open_interest(id),
            };
            snapshot.instruments.insert(id, reading);
        }
        for &id in &needs.underlyings {
            if let Some(price) = view.index(id) {
                snapshot.indices.insert(id, price);
            }
        }
        for &id in &needs.accounts {
            if let Some(account) = view.account(id) {
                snapshot.add_account(view, id, account);
            }
        }
        snapshot
    }

    fn add_account(&mut self, view: &View<'_>, id: AccountId, account: Account) {
        for position in &account.positions {
            if let Some(mark) = view.mark(position.instrument) {
                self.marks.insert(position.instrument, mark);
            }
        }
        self.accounts.insert(id, account);
    }

    /// An instrument's mark.
    pub fn mark(&self, id: InstrumentId) -> Option<Mark> {
        let read = self.instruments.get(&id).and_then(|reading| reading.mark);
        read.or_else(|| self.marks.get(&id).copied())
    }
}

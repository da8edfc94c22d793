//! One consistent reading of the venue for a set of needs, so that the engine's state is held only
//! while plain data is copied.

use std::collections::{BTreeMap, BTreeSet};

use lifeboat_engine::types::{AccountId, InstrumentId, Price, Qty, TimeMs, UnderlyingId};

use crate::outage::Moment;
use crate::port::Venue;
use crate::view::{Account, Depth, Mark, View};

/// Levels read for a whole book.
pub const WHOLE_BOOK: usize = 10_000;
/// Accounts read at once, while the state stands still.
const ACCOUNTS_PER_READ: usize = 128;

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
    /// The state that each account was read from.
    pub standings: BTreeMap<AccountId, Moment>,
}

impl Snapshot {
    /// Reads what is needed. Of many accounts some may be read from a later block than others, so
    /// that no block waits for all of them.
    pub fn take(venue: &dyn Venue, needs: &Needs) -> Self {
        Self::take_with(venue, needs, |_| {})
    }

    /// Reads what is needed, and something else from the state that the first accounts are read from.
    pub fn take_with(venue: &dyn Venue, needs: &Needs, mut also: impl FnMut(&View<'_>)) -> Self {
        let mut snapshot = Self::default();
        let accounts: Vec<AccountId> = needs.accounts.iter().copied().collect();
        let mut batches = accounts.chunks(ACCOUNTS_PER_READ);
        let first = batches.next().unwrap_or_default();
        venue.read(&mut |engine| {
            let view = View(engine);
            snapshot = Self::of(&view, needs);
            snapshot.add_accounts(&view, first);
            also(&view);
        });
        for batch in batches {
            venue.read(&mut |engine| snapshot.add_accounts(&View(engine), batch));
        }
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
        snapshot
    }

    fn add_accounts(&mut self, view: &View<'_>, ids: &[AccountId]) {
        if ids.is_empty() {
            return;
        }
        let standing = view.clock().moment();
        for &id in ids {
            if let Some(account) = view.account(id) {
                self.standings.insert(id, standing);
                self.add_account(view, id, account);
            }
        }
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

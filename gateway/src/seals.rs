//! What became of sealed orders, as far as the gateway saw it: the last of each account that it serves.

use std::collections::{BTreeMap, VecDeque};

use lifeboat_engine::types::{AccountId, Cash, OrderId, UnderlyingId};
use lifeboat_engine::{Event, Reject};
use serde_json::{Value, json};

use crate::decimal;

/// Sealed orders remembered of an account.
const REMEMBERED: usize = 128;

/// Where a sealed order stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealState {
    /// In an auction that has not opened it.
    Sealed,
    /// Taken back.
    Withdrawn,
    /// Opened; this is the order.
    Opened(OrderId),
    /// Out by rule, and what it forfeited.
    Out(Reject, Cash),
}

/// A sealed order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealRecord {
    /// Of what.
    pub underlying: UnderlyingId,
    /// In which auction.
    pub auction: u64,
    /// Its number there.
    pub seal: u32,
    /// What is or was held for it; `None` when the gateway did not see it come.
    pub bond: Option<Cash>,
    /// Where it stands.
    pub state: SealState,
}

impl SealRecord {
    /// As a method answers it.
    pub fn json(&self, coin: &str) -> Value {
        let (state, order, reject) = match self.state {
            SealState::Sealed => ("sealed", None, None),
            SealState::Withdrawn => ("withdrawn", None, None),
            SealState::Opened(order) => ("opened", Some(order.to_string()), None),
            SealState::Out(reject, forfeited) => ("out", None, Some((reject, forfeited))),
        };
        json!({
            "currency": coin,
            "auction": self.auction,
            "seal": self.seal,
            "bond": self.bond.map(decimal::cash),
            "state": state,
            "order_id": order,
            "reject": reject.map(|(reject, _)| reject.code()),
            "reason": reject.map(|(reject, _)| reject.name()),
            "forfeited": reject.map(|(_, forfeited)| decimal::cash(forfeited)),
        })
    }
}

/// The last sealed orders of each account.
#[derive(Debug, Default)]
pub struct SealBook(BTreeMap<AccountId, VecDeque<SealRecord>>);

impl SealBook {
    /// An account's, oldest first.
    pub fn of(&self, account: AccountId) -> impl Iterator<Item = &SealRecord> {
        self.0.get(&account).into_iter().flatten()
    }

    /// Learns from an event about an account that is served. Returns what the event is about.
    pub fn learn(&mut self, event: &Event) -> Option<(AccountId, SealRecord)> {
        let (account, record) = record(event)?;
        let known = self.0.entry(account).or_default();
        let place = known
            .iter()
            .position(|old| (old.auction, old.seal) == (record.auction, record.seal));
        match place.and_then(|place| known.get_mut(place)) {
            Some(old) => old.state = record.state,
            None => known.push_back(record),
        }
        if known.len() > REMEMBERED {
            known.pop_front();
        }
        Some((account, record))
    }
}

/// What an event says of a sealed order.
fn record(event: &Event) -> Option<(AccountId, SealRecord)> {
    let (account, underlying, auction, seal, bond, state) = match event {
        Event::OrderSealed {
            account,
            underlying,
            auction,
            seal,
            bond,
        } => (
            account,
            underlying,
            auction,
            seal,
            Some(*bond),
            SealState::Sealed,
        ),
        Event::SealWithdrawn {
            account,
            underlying,
            auction,
            seal,
            bond,
        } => (
            account,
            underlying,
            auction,
            seal,
            Some(*bond),
            SealState::Withdrawn,
        ),
        Event::SealOpened {
            account,
            underlying,
            auction,
            seal,
            order,
        } => (
            account,
            underlying,
            auction,
            seal,
            None,
            SealState::Opened(*order),
        ),
        Event::SealDropped {
            account,
            underlying,
            auction,
            seal,
            reason,
            forfeited,
        } => {
            let state = SealState::Out(*reason, *forfeited);
            (account, underlying, auction, seal, None, state)
        }
        _ => return None,
    };
    let record = SealRecord {
        underlying: *underlying,
        auction: *auction,
        seal: *seal,
        bond,
        state,
    };
    Some((*account, record))
}

//! What becomes of an account's open orders in an outage.
//!
//! **Owns** the orders that were open when the venue stopped, each as it stood then and as it ended,
//! and the outcome of the last few outages.

use std::collections::{BTreeMap, VecDeque};

use lifeboat_engine::types::{OrderId, Qty};

use crate::orders::OrderRecord;
use crate::outage::OUTAGES_MAX;

/// An order that was open when the venue stopped.
#[derive(Clone, Debug, PartialEq)]
pub struct Watched {
    /// What was left of it then.
    pub remaining_before: Qty,
    /// The order as the outage left it; open is kept.
    pub order: OrderRecord,
}

#[derive(Clone, Debug)]
struct Entry {
    remaining_before: Qty,
    /// As it ended; `None` while it rests.
    ended: Option<OrderRecord>,
}

/// The watched orders of one account.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    orders: BTreeMap<OrderId, Entry>,
    settled: VecDeque<(u64, Vec<Watched>)>,
}

impl Watch {
    /// Watches these, besides those watched already.
    pub fn add<'a>(&mut self, open: impl Iterator<Item = &'a OrderRecord>) {
        for record in open {
            self.orders.entry(record.order).or_insert_with(|| Entry {
                remaining_before: record.remaining(),
                ended: None,
            });
        }
    }

    /// An order ended.
    pub fn ended(&mut self, record: &OrderRecord) {
        if let Some(entry) = self.orders.get_mut(&record.order) {
            entry.ended = Some(record.clone());
        }
    }

    /// The outage is over: an order that did not end is as it stands in `open`.
    pub fn settle(&mut self, outage: u64, open: &BTreeMap<OrderId, OrderRecord>) {
        let watched = std::mem::take(&mut self.orders).into_iter();
        let orders: Vec<Watched> = watched
            .filter_map(|(id, entry)| {
                Some(Watched {
                    remaining_before: entry.remaining_before,
                    order: entry.ended.or_else(|| open.get(&id).cloned())?,
                })
            })
            .collect();
        self.settled.push_back((outage, orders));
        if self.settled.len() > OUTAGES_MAX {
            self.settled.pop_front();
        }
    }

    /// What became of them in the outage with this id.
    pub fn of(&self, outage: u64) -> &[Watched] {
        let found = self.settled.iter().rev().find(|(id, _)| *id == outage);
        found.map_or(&[], |(_, orders)| orders)
    }
}

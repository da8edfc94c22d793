//! A book channel's content: a snapshot first, then changes that each name the one before.

use std::collections::BTreeMap;

use lifeboat_engine::types::{InstrumentId, Price, Qty};
use serde_json::{Value, json};

use crate::decimal::{price, qty};
use crate::scene::Scene;
use crate::view::{Depth, Level};

/// A book as its listeners have it.
#[derive(Clone, Debug, Default)]
pub struct Book {
    bids: BTreeMap<Price, Qty>,
    asks: BTreeMap<Price, Qty>,
    change_id: u64,
}

impl Book {
    /// The book as it was read.
    pub fn read(scene: &Scene<'_>, id: InstrumentId) -> Self {
        let empty = Depth::default();
        let reading = scene.snapshot.instruments.get(&id);
        let depth = reading.map_or(&empty, |reading| &reading.depth);
        let side = |levels: &[Level]| levels.iter().map(|l| (l.price, l.qty)).collect();
        Self {
            bids: side(&depth.bids),
            asks: side(&depth.asks),
            change_id: scene.memory.clock.event,
        }
    }

    /// The whole book.
    pub fn snapshot(&self, instrument: &str, time: u64) -> Value {
        let new = |(at, size): (&Price, &Qty)| json!(["new", price(*at), qty(*size)]);
        json!({
            "type": "snapshot",
            "timestamp": time,
            "instrument_name": instrument,
            "change_id": self.change_id,
            "bids": self.bids.iter().rev().map(new).collect::<Vec<_>>(),
            "asks": self.asks.iter().map(new).collect::<Vec<_>>(),
        })
    }

    /// Becomes `fresh`; says how it differs, or nothing when it does not.
    pub fn change(&mut self, fresh: Self, instrument: &str, time: u64) -> Option<Value> {
        let bids = differences(&self.bids, &fresh.bids);
        let asks = differences(&self.asks, &fresh.asks);
        if bids.is_empty() && asks.is_empty() {
            return None;
        }
        let change_id = fresh.change_id.max(self.change_id + 1);
        let change = json!({
            "type": "change",
            "timestamp": time,
            "instrument_name": instrument,
            "prev_change_id": self.change_id,
            "change_id": change_id,
            "bids": bids,
            "asks": asks,
        });
        *self = Self { change_id, ..fresh };
        Some(change)
    }
}

fn differences(old: &BTreeMap<Price, Qty>, new: &BTreeMap<Price, Qty>) -> Vec<Value> {
    let gone = old.keys().filter(|at| !new.contains_key(at));
    let mut out: Vec<Value> = gone.map(|at| json!(["delete", price(*at), 0.0])).collect();
    for (at, size) in new {
        let word = match old.get(at) {
            None => "new",
            Some(before) if before != size => "change",
            Some(_) => continue,
        };
        out.push(json!([word, price(*at), qty(*size)]));
    }
    out
}

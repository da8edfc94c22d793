//! What channels and answers are rendered from: the gateway's memory and one reading of the venue.

use lifeboat_engine::types::{AccountId, InstrumentId, Price, UnderlyingId};
use serde_json::{Value, json};

use crate::decimal::{price, rounded};
use crate::memory::Memory;
use crate::render::{self, PositionParts, Quote};
use crate::snapshot::Snapshot;
use crate::tape::Tape;
use crate::view::Position;

/// What channels are rendered from.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// The gateway's memory.
    pub memory: &'a Memory,
    /// What was read for it.
    pub snapshot: &'a Snapshot,
}

impl<'a> Scene<'a> {
    /// What is known of an instrument, when it was read.
    pub fn quote(&self, id: InstrumentId) -> Option<Quote<'a>> {
        let listed = self.memory.directory.get(id)?;
        let reading = self.snapshot.instruments.get(&id)?;
        let tape = self.memory.tapes.get(&id);
        let time = self.snapshot.time;
        Some(Quote {
            listed,
            coin: self.memory.directory.coin(id),
            depth: &reading.depth,
            mark: reading.mark,
            index: self.index(id),
            open_interest: reading.open_interest,
            last: tape.and_then(Tape::last_price),
            stats: tape.map(|tape| tape.stats(time)).unwrap_or_default(),
            time,
        })
    }

    /// The index of an instrument's underlying.
    pub fn index(&self, id: InstrumentId) -> Option<Price> {
        let underlying = self.memory.directory.get(id)?.instrument.terms.underlying;
        let read = self.snapshot.indices.get(&underlying).copied();
        read.or_else(|| self.memory.indices.get(&underlying)?.last())
    }

    /// Marks of an underlying's options that were read.
    pub fn marks(&self, underlying: UnderlyingId) -> Value {
        let directory = &self.memory.directory;
        self.snapshot
            .instruments
            .iter()
            .filter_map(|(id, reading)| {
                let listed = directory.get(*id)?;
                let mark = reading.mark?;
                (listed.instrument.terms.underlying == underlying).then(|| {
                    json!({
                        "instrument_name": listed.name,
                        "mark_price": price(mark.price),
                        "iv": rounded(mark.iv, 6),
                        "timestamp": self.snapshot.time.get(),
                    })
                })
            })
            .collect()
    }

    /// An account's summary in a currency.
    pub fn portfolio(&self, id: AccountId, currency: &str) -> Option<Value> {
        let account = self.snapshot.accounts.get(&id)?;
        let mark_of = |position: Position| self.snapshot.mark(position.instrument);
        let (total, unrealised) = render::portfolio(account, mark_of);
        Some(render::account_summary(
            account, id, currency, total, unrealised,
        ))
    }

    /// An account's positions that a test holds for.
    pub fn positions(&self, id: AccountId, test: impl Fn(InstrumentId) -> bool) -> Vec<Value> {
        let Some(account) = self.snapshot.accounts.get(&id) else {
            return Vec::new();
        };
        let held = account.positions.iter().filter(|p| test(p.instrument));
        held.map(|position| {
            render::position(&PositionParts {
                position: *position,
                mark: self.snapshot.mark(position.instrument),
                index: self.index(position.instrument),
                directory: &self.memory.directory,
            })
        })
        .collect()
    }

    /// An account's position in an instrument.
    pub fn position(&self, account: AccountId, name: &str) -> Option<Value> {
        let id = self.memory.directory.find(name)?.instrument.id;
        self.positions(account, |held| held == id).pop()
    }
}

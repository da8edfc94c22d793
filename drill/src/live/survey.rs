//! What a running venue lists, read from a validator's block log.

use std::sync::Arc;

use lifeboat_engine::auth::check_batch;
use lifeboat_engine::command::OptionTerms;
use lifeboat_engine::types::Height;
use lifeboat_engine::{Engine, Genesis};
use lifeboat_node::files::Files;
use lifeboat_node::journal::Reader;

use crate::market::Listed;

/// The state after the last whole block of a log; `None` if the log cannot be followed from genesis.
/// The last record of a log that is being written may be torn: what precedes it counts.
pub fn replay(files: Arc<dyn Files>, genesis: &Genesis) -> Option<Engine> {
    let mut engine = Engine::genesis(genesis).ok()?;
    let mut events = Vec::new();
    for record in Reader::open(files, Height::new(0)).ok()? {
        let Ok(record) = record else { break };
        let header = record.block.header();
        let commands = record.block.body().commands().to_vec();
        let block = record
            .block
            .for_engine(check_batch(&header.chain, commands));
        events.clear();
        engine.apply(&block, &mut events).ok()?;
    }
    Some(engine)
}

/// Marks under so many ticks leave no room between a bid and an ask.
const MARK_TICKS_MIN: i64 = 50;

/// Every instrument that can be quoted, with its mark in USDC.
pub fn targets(engine: &Engine) -> Vec<(Listed, f64)> {
    let listed = engine.instruments().iter().filter(|one| one.is_listed());
    let target = |one: &lifeboat_engine::instrument::Instrument| {
        let mark = one.mark?.price;
        if mark.get() < MARK_TICKS_MIN * one.tick.get() {
            return None;
        }
        let listed = Listed {
            id: one.id,
            terms: one.terms,
            tick: one.tick,
            lot: one.lot,
        };
        Some((listed, mark.get() as f64 / 1e6))
    };
    listed.filter_map(target).collect()
}

/// Those that a load trades: of one underlying if it is to be, and there as long as it goes on. All if
/// that would leave none.
pub fn lasting(
    all: Vec<(Listed, f64)>,
    underlying: Option<u8>,
    lasts: impl Fn(&OptionTerms) -> bool,
) -> Vec<(Listed, f64)> {
    let fits = |(one, _): &&(Listed, f64)| {
        underlying.is_none_or(|of| one.terms.underlying.get() == of) && lasts(&one.terms)
    };
    let found: Vec<_> = all.iter().filter(fits).copied().collect();
    if found.is_empty() { all } else { found }
}

//! Drills of the market itself.

use lifeboat_engine::{Event, Parameters};

use super::cases::{MINUTE, price};
use super::stage::{BTC, Stage};
use super::{Day, Played};
use crate::market::{Move, Moved, Stress};
use crate::twin::Finding;

/// Breakers have seen enough by then.
const TROUBLE: u64 = 25 * MINUTE;
/// The drills.
pub const DRILLS: &[Day] = &[Day {
    name: "13",
    title: "one strike's volatility times three",
    about: "Makers bid and ask three times the volatility for one strike of every expiry. The volatility index \
                must not follow, and nothing may halt.",
    rule: None,
    most: 1.0,
    unit: "index_moved_points",
    play: one_strike,
}];

fn moved(at_ms: u64, over_ms: u64, what: Moved, to_ppm: u64) -> Move {
    Move {
        over_ms,
        what,
        ..price(at_ms, to_ppm)
    }
}

/// The least and the most of BTC's volatility index, in points, from an event on.
fn index_range(stage: &Stage, from: usize) -> (f64, f64) {
    let points = stage.counts.events[from..]
        .iter()
        .filter_map(|event| match event {
            Event::VolatilityIndexUpdated {
                underlying, ppm, ..
            } if *underlying == BTC => Some(f64::from(*ppm) / 1e4),
            _ => None,
        });
    points.fold((f64::MAX, 0.0), |(low, high), one| {
        (one.min(low), one.max(high))
    })
}

fn one_strike(_ruled: bool) -> Result<Played, Finding> {
    let strike = Moved::Strike { near_ppm: 950_000 };
    let stress = Stress {
        moves: vec![moved(TROUBLE, 0, strike, 3_000_000)],
        ..Stress::default()
    };
    let mut stage = Stage::new(Parameters::default(), &stress);
    stage.until(TROUBLE - MINUTE)?;
    let from = stage.counts.events.len();
    stage.until(TROUBLE)?;
    let (low, high) = index_range(&stage, from);
    stage.until(TROUBLE + 10 * MINUTE)?;
    let (lowest, highest) = index_range(&stage, from);
    let moved = (highest - high).max(low - lowest).max(0.0);
    let underlying = |event: &&Event| matches!(event, Event::UnderlyingModeChanged { .. });
    let halts = stage.counts.events.iter().filter(underlying).count() + stage.counts.modes.len();
    let mut played = Played {
        lost: moved,
        modes: stage.counts.modes.clone(),
        ..Played::default()
    };
    played.figures.insert("halts", halts as f64);
    played.figures.insert("volatility_index_before", high);
    Ok(played)
}

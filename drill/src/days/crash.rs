//! A crash with and without breakers: what drill 12 runs on validators, for what the breakers save.

use lifeboat_engine::breakers::Rule;
use lifeboat_engine::types::OptionKind;
use lifeboat_engine::{Event, Parameters};

use super::cases::{LOST, MINUTE, need, played, price};
use super::stage::{Actor, BTC, Stage};
use super::{Day, Played};
use crate::market::{Move, Moved, Stress};
use crate::twin::Finding;

/// Breakers have seen enough by then.
const TROUBLE: u64 = 25 * MINUTE;
/// Lots by which a position grows until there is no margin for more.
const STEP: i64 = 250;

/// What the account of the crash keeps of the largest position that its margin allows, in percent. One that
/// keeps all of it is auctioned in grace too, being under half of its maintenance, and pays more for the wait.
const SHARE: i64 = 60;

/// The crash.
pub const CRASH: Day = Day {
    name: "crash",
    title: "drill 12 again: what the breakers are worth",
    about: "The price falls by 18 % within ten minutes, options double in volatility, and an hour later most \
            of it is made up for. An account is short puts for a part of what its margin allows.",
    rule: Some("the breakers on the volatility index stop trading, and liquidation waits with it"),
    most: 0.0,
    unit: LOST,
    play: crash,
};

/// A venue without breakers on volatility.
fn unbroken(parameters: &mut Parameters) {
    let never = Rule {
        bounds: [i64::MAX; 3],
        alone_max: 0,
    };
    let breakers = &mut parameters.breakers;
    (breakers.speed, breakers.level) = ([never; 3], never);
    (breakers.jump, breakers.range) = ([never; 3], never);
}

fn moved(at_ms: u64, over_ms: u64, what: Moved, to_ppm: u64) -> Move {
    Move {
        over_ms,
        what,
        ..price(at_ms, to_ppm)
    }
}

fn crash(ruled: bool) -> Result<Played, Finding> {
    let mut parameters = Parameters::default();
    if !ruled {
        unbroken(&mut parameters);
    }
    let stress = Stress {
        moves: vec![
            moved(TROUBLE, 10 * MINUTE, Moved::Price, 820_000),
            moved(TROUBLE, 10 * MINUTE, Moved::Volatility, 2_000_000),
            moved(TROUBLE + 40 * MINUTE, 20 * MINUTE, Moved::Price, 1_170_000),
            moved(
                TROUBLE + 40 * MINUTE,
                20 * MINUTE,
                Moved::Volatility,
                600_000,
            ),
        ],
        ..Stress::default()
    };
    let mut stage = Stage::new(parameters, &stress);
    stage.until(MINUTE)?;
    let put = need(stage.option(OptionKind::Put, 0.9, 20))?;
    stage.sell_most(Actor::Victim, &[put], STEP)?;
    let most = stage.position(Actor::Victim, put.id);
    stage.hold_again(Actor::Victim, &put, most * SHARE / 100)?;
    stage.until(TROUBLE)?;
    stage.remember();
    stage.until(TROUBLE + 70 * MINUTE)?;
    let mut played = played(&mut stage, Actor::Victim);
    let trips = |event: &&Event| matches!(event, Event::BreakerTripped { .. });
    let trips = stage.counts.events.iter().filter(trips).count();
    played.figures.insert("breakers_tripped", trips as f64);
    let (low, high) = index_range(&stage);
    played.figures.insert("volatility_index_low", low);
    played.figures.insert("volatility_index_high", high);
    Ok(played)
}

/// The least and the most of BTC's volatility index, in points.
fn index_range(stage: &Stage) -> (f64, f64) {
    let points = stage.counts.events.iter().filter_map(|event| match event {
        Event::VolatilityIndexUpdated {
            underlying, ppm, ..
        } if *underlying == BTC => Some(f64::from(*ppm) / 1e4),
        _ => None,
    });
    points.fold((f64::MAX, 0.0), |(low, high), one| {
        (one.min(low), one.max(high))
    })
}

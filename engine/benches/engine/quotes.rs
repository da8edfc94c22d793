//! Mass quotes: ten makers move 100 levels a command over 200 options.

use crate::clock::{allocations, median_and_best, timed};
use crate::venue::{LOT, TICK, Venue};
use lifeboat_engine::CheckedCommand;
use lifeboat_engine::command::{Action, MassQuote, QuoteEntry, QuoteSide};
use lifeboat_engine::types::{InstrumentId, Price, Qty, RecoveryPolicy};

const OPTIONS: u32 = 200;
const MAKERS: u32 = 10;
const ENTRIES: u32 = 50;
const LEVELS: usize = 2 * ENTRIES as usize;
const COMMANDS_PER_BLOCK: usize = 100;
const BLOCKS: usize = 100;
const RUNS: usize = 7;

/// The `round`-th quotes of a maker over a quarter of the options; every price differs from the
/// quote's last one.
fn mass_quote(venue: &mut Venue, maker: u32, round: u32) -> CheckedCommand {
    let quarter = round % (OPTIONS / ENTRIES);
    let shift = i64::from(round / (OPTIONS / ENTRIES) % 5);
    let side = |ticks: i64| {
        Some(QuoteSide {
            price: Price::new(ticks * TICK),
            qty: Qty::new(10 * LOT),
        })
    };
    let entry = |at: u32| QuoteEntry {
        instrument: InstrumentId::new(quarter * ENTRIES + at),
        bid: side(7_900 - i64::from(maker) * 3 + shift),
        ask: side(8_100 + i64::from(maker) * 3 + shift),
    };
    let quote = MassQuote {
        entries: (0..ENTRIES).map(entry).collect(),
        recovery: RecoveryPolicy::Cancel,
    };
    venue.command(maker, Action::MassQuote(quote))
}

fn block(venue: &mut Venue, number: usize) -> Vec<CheckedCommand> {
    let from = number * COMMANDS_PER_BLOCK;
    let commands = from as u32..(from + COMMANDS_PER_BLOCK) as u32;
    commands
        .map(|at| mass_quote(venue, 1 + at % MAKERS, at / MAKERS))
        .collect()
}

/// CPU ns a level for commands and roots, and allocations a million levels.
fn run() -> (f64, f64, f64) {
    let mut venue = Venue::open(MAKERS, 1_000_000_000, OPTIONS, 1);
    let (mut spent, mut root, mut allocated) = (0, 0, 0);
    for number in 0..2 * BLOCKS {
        let commands = block(&mut venue, number);
        venue.begin(50);
        let Venue { engine, events, .. } = &mut venue;
        let before = allocations();
        let ((), ns) = timed(|| engine.commands_stage(&commands, events));
        let after = allocations();
        let root_ns = timed(|| engine.root_stage()).1;
        // The first half fills books and buffers.
        if number >= BLOCKS {
            spent += ns;
            root += root_ns;
            allocated += after - before;
        }
    }
    let resting = venue.engine.live_orders();
    assert_eq!(resting, 2 * MAKERS * OPTIONS, "every level stands");
    let levels = (BLOCKS * COMMANDS_PER_BLOCK * LEVELS) as f64;
    (
        spent as f64 / levels,
        root as f64 / levels,
        allocated as f64 * 1e6 / levels,
    )
}

/// Measures mass quotes.
pub fn report() {
    println!(
        "quotes: {MAKERS} makers, {OPTIONS} options, {LEVELS} levels a command, all moved, portfolio margin on every level, blocks of {COMMANDS_PER_BLOCK} commands"
    );
    let runs: Vec<(f64, f64, f64)> = (0..RUNS).map(|_| run()).collect();
    let (median, best) = median_and_best(runs.iter().map(|run| run.0).collect());
    let (root, root_best) = median_and_best(runs.iter().map(|run| run.1).collect());
    println!(
        "  median [best] of {RUNS}: {median:.0} [{best:.0}] CPU ns a level, {:.2} [{:.2}] M levels/s; state roots {root:.0} [{root_best:.0}] ns a level; allocations a million levels: {:.0}",
        1e3 / median,
        1e3 / best,
        runs[0].2
    );
}

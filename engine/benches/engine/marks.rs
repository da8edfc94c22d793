//! A mark tick: 1 000 options, 100 000 accounts with ten positions each.

use crate::clock::{median_and_best, timed};
use crate::venue::{INDEX, UNDERLYING, Venue, limit};
use lifeboat_engine::command::Action;
use lifeboat_engine::types::{Side, TimeInForce};

const OPTIONS: u32 = 1_000;
const ACCOUNTS: u32 = 100_000;
/// Trades of each account as maker, and as taker.
const TRADES: u32 = 5;
const RUNS: usize = 9;

/// A venue whose accounts hold ten positions each, by trades between neighbours.
pub fn with_positions(accounts: u32) -> Venue {
    let mut venue = Venue::open(accounts, 1_000_000, OPTIONS, 100);
    for trade in 0..TRADES {
        for maker in 1..=accounts {
            if maker % 1_000 == 1 {
                venue.begin(1);
            }
            let taker = maker % accounts + 1;
            // Neighbours' books lie apart, so that each account gets ten of them.
            let book = (maker * 7 + trade * 101) % OPTIONS;
            let ask = limit(book, Side::Sell, 1, 6_000, TimeInForce::GoodTilCancelled);
            let bid = limit(book, Side::Buy, 1, 6_000, TimeInForce::ImmediateOrCancel);
            for (account, order) in [(maker, ask), (taker, bid)] {
                let command = venue.command(account, Action::PlaceOrder(order));
                venue.run(&command);
            }
        }
    }
    assert_eq!(venue.engine.trades(), u64::from(accounts * TRADES));
    venue.engine.root_stage();
    venue
}

/// Milliseconds of CPU, median and best.
fn figure(mut work: impl FnMut()) -> (f64, f64) {
    median_and_best((0..RUNS).map(|_| timed(&mut work).1 as f64 / 1e6).collect())
}

/// Measures a mark tick and its parts.
pub fn report() {
    let mut venue = with_positions(ACCOUNTS);
    println!(
        "marks: {OPTIONS} options of ten expiries, {ACCOUNTS} accounts with {} positions each, portfolio margin; median [best] of {RUNS} in CPU ms",
        2 * TRADES
    );
    let mut below = Vec::new();
    let sweep = figure(|| venue.engine.maintenance_stage(&mut below));
    assert!(below.is_empty(), "nobody is under maintenance margin");
    let rows = figure(|| venue.engine.margin_rows_stage(UNDERLYING));
    let surfaces = figure(|| {
        venue.engine.marks_stage(UNDERLYING);
    });
    let quiet = figure(|| venue.begin(1_000));
    let moved = |venue: &mut Venue, ppm: i64| {
        let times = (0..RUNS as i64).map(|run| {
            venue.observe_at(INDEX + INDEX / 1_000_000 * ppm * (run % 2));
            timed(|| venue.begin(1_000)).1 as f64 / 1e6
        });
        median_and_best(times.collect())
    };
    let (small, large) = (moved(&mut venue, 500), moved(&mut venue, 10_000));
    for (name, (median, best)) in [
        ("surfaces and marks", surfaces),
        ("values in every scenario", rows),
        ("maintenance margin of every account", sweep),
        (
            "the whole beginning of a block with a tick, index unmoved",
            quiet,
        ),
        ("index moved by 0.05 %", small),
        ("index moved by 1 %", large),
    ] {
        println!("  {name}: {median:.2} [{best:.2}]");
    }
}

//! Memory: 1 million accounts with ten positions each and 1 million resting orders; snapshots and
//! roots at that size.

use crate::clock::{resident_mib, timed};
use crate::marks::with_positions;
use crate::venue::limit;
use lifeboat_engine::Engine;
use lifeboat_engine::command::Action;
use lifeboat_engine::types::{Side, TimeInForce};

const ACCOUNTS: u32 = 1_000_000;
const TOUCHED: u32 = 10_000;

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

/// Measures memory, snapshots and the root.
pub fn report() {
    let empty = resident_mib();
    let mut venue = with_positions(ACCOUNTS);
    let with_accounts = resident_mib();
    for account in 1..=ACCOUNTS {
        let ticks = 3_000 + account % 1_000;
        let book = account * 7 % 1_000;
        let order = limit(book, Side::Buy, 1, ticks, TimeInForce::GoodTilCancelled);
        let command = venue.command(account, Action::PlaceOrder(order));
        venue.run(&command);
        venue.events.clear();
    }
    venue.engine.root_stage();
    let whole = resident_mib();
    println!(
        "memory: {ACCOUNTS} accounts with 10 positions each: {} MiB; {} resting orders more: {} MiB; resident in all {whole} MiB (of which {empty} before)",
        with_accounts - empty,
        venue.engine.live_orders(),
        whole - with_accounts
    );
    roots(&mut venue);
    let mut image = Vec::new();
    let (written, write_ns) = timed(|| venue.engine.write_snapshot(&mut image).is_ok());
    assert!(written, "a snapshot of the whole state");
    let root = venue.engine.state_root();
    drop(venue);
    let (restored, read_ns) = timed(|| Engine::read_snapshot(&mut image.as_slice()));
    assert_eq!(restored.ok().map(|engine| engine.state_root()), Some(root));
    println!(
        "  snapshot: {} MiB, written in {:.2} s, read in {:.2} s (CPU, into and from memory)",
        image.len() >> 20,
        seconds(write_ns),
        seconds(read_ns)
    );
}

/// The root after 10 000 accounts changed, far apart.
fn roots(venue: &mut crate::venue::Venue) {
    let mut best = f64::MAX;
    for round in 0..5 {
        for at in 0..TOUCHED {
            let account = 1 + at * (ACCOUNTS / TOUCHED) + round;
            let order = limit(
                at % 1_000,
                Side::Buy,
                1,
                2_000,
                TimeInForce::ImmediateOrCancel,
            );
            let command = venue.command(account, Action::PlaceOrder(order));
            venue.run(&command);
            venue.events.clear();
        }
        let (_, ns) = timed(|| venue.engine.root_stage());
        best = best.min(ns as f64 / 1e6);
    }
    println!(
        "  root after {TOUCHED} touched accounts (and as many order slots): best {best:.1} CPU ms"
    );
}

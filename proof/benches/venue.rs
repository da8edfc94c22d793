//! Exits of a venue's own state: 1 000 options, ten positions an account; wall-clock milliseconds, best of
//! several, on two threads.
//!
//! `cargo bench -p lifeboat-proof --features unchecked --bench venue -- ACCOUNTS`
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc
)]

#[path = "../../engine/benches/engine/clock.rs"]
mod clock;
#[path = "../../engine/benches/engine/marks.rs"]
mod marks;
#[path = "../../engine/benches/engine/venue.rs"]
mod venue;

use std::thread;
use std::time::{Duration, Instant};

use lifeboat_proof::exit::{ExitBuilder, ExitCheckpoint, ExitPart};

const RUNS: usize = 5;
const THREADS: u32 = 2;

/// The exits, and how long each part took: values of a lot, leaves, the tree with the summary.
fn work_out(engine: &lifeboat_engine::Engine) -> (ExitCheckpoint, [Duration; 3]) {
    let start = Instant::now();
    let builder = &ExitBuilder::new(engine).expect("a vault");
    let valued = start.elapsed();
    let parts: Vec<ExitPart> = thread::scope(|scope| {
        let each = |ids| scope.spawn(move || builder.part(ids));
        let threads: Vec<_> = builder.ranges(THREADS).into_iter().map(each).collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    let leaves = start.elapsed();
    let done = builder.finish(parts);
    (done, [valued, leaves - valued, start.elapsed() - leaves])
}

fn main() {
    let accounts = std::env::args().skip(1).find_map(|a| a.parse().ok());
    let accounts = accounts.unwrap_or(100_000);
    let venue = marks::with_positions(accounts);
    let runs = (0..RUNS).map(|_| work_out(&venue.engine).1);
    let best = runs.min_by_key(|parts| parts.iter().sum::<Duration>());
    let best = best.expect("there are runs");
    let [values, leaves, tree] = best.map(|part| part.as_secs_f64() * 1e3);
    println!(
        "exits of {accounts} accounts: {:.1} ms (a lot's values {values:.1}, leaves {leaves:.1}, tree and summary {tree:.1})",
        values + leaves + tree
    );
}

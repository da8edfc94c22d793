//! Builds with a mistake in them: the simulator must catch each. Only with the feature `sabotage`.

use lifeboat_drill::plan::random;
use lifeboat_drill::sim::simulate;
use lifeboat_node::sabotage::{Mutant, SABOTAGE, select};

/// Seeds that a mutant may survive before it counts as missed.
const SEEDS: u64 = 60;

/// The seed that catches the mutant of the moment, and what it says.
fn caught() -> Option<(u64, Vec<String>)> {
    (0..SEEDS).find_map(|seed| {
        let report = simulate(&random(seed)).report;
        (!report.passed).then_some((seed, report.findings))
    })
}

#[test]
fn every_mutant_is_caught() {
    if !SABOTAGE {
        select(Some(Mutant::UnorderedMap));
        let report = simulate(&random(0)).report;
        assert!(
            report.passed,
            "without the feature no mutant can be chosen: {:?}",
            report.findings
        );
        return;
    }
    for mutant in Mutant::ALL {
        select(Some(mutant));
        let caught = caught();
        select(None);
        let (seed, findings) =
            caught.unwrap_or_else(|| panic!("{mutant:?} survived {SEEDS} seeds"));
        println!("{mutant:?}: seed {seed}: {}", findings[0]);
        assert!(
            simulate(&random(seed)).report.passed,
            "seed {seed} fails without the mutant too"
        );
    }
}

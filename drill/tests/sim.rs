//! Seeds of faults. `LIFEBOAT_SIM_SEEDS=200` runs as many, from `LIFEBOAT_SIM_FIRST`;
//! `lifeboat drill --simulated --random --seed n` runs one alone.

use lifeboat_drill::plan::{Fault, Plan, Planned, Who, calm, find, random};
use lifeboat_drill::sim::{Simulated, simulate, sweep};

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn seeds() {
    let first = number("LIFEBOAT_SIM_FIRST").unwrap_or(0);
    let seeds = number("LIFEBOAT_SIM_SEEDS").unwrap_or(5);
    let found = sweep(first, seeds, random, |seed, run| {
        let report = &run.report;
        let plan = random(seed).to_toml();
        assert!(
            report.passed,
            "seed {seed} broke: {:#?}\n{plan}",
            report.findings
        );
        let acknowledged = report.figures["commands_acknowledged"];
        assert!(
            report.invariants["I2"] > 0 && acknowledged > 0.0,
            "{report:?}"
        );
    });
    assert_eq!(found.seeds, seeds);
}

#[test]
fn a_seed_is_its_run() {
    let seen = |run: Simulated| (run.audit, run.report.invariants, run.report.roots);
    assert_eq!(seen(simulate(&random(3))), seen(simulate(&random(3))));
}

#[test]
fn a_run_that_cannot_settle_is_found() {
    let mut plan = calm();
    plan.exit.ready_ms = 3_000;
    // Two lost disks of four: the rest must not go on alone, and the check must say that it does not.
    let pair = || Who::Nodes(vec![0, 1]);
    plan.faults.push(Planned::at(500, Fault::Wipe(pair())));
    plan.faults.push(Planned::at(500, Fault::Start(pair())));
    let report = simulate(&plan).report;
    assert!(!report.passed);
    let findings = &report.findings;
    assert!(
        findings.iter().all(|one| one.starts_with("liveness")),
        "{findings:?}"
    );
}

/// A drill of the library, simulated with the real engine.
#[track_caller]
fn drill(name: &str) -> Simulated {
    let plan: Plan = find(name).expect("a plan").expect("it is in the library");
    let simulated = simulate(&plan);
    println!("{}", simulated.report);
    assert!(simulated.report.passed, "{:?}", simulated.report.findings);
    assert_eq!(simulated.report.rpo_commands, 0);
    simulated
}

#[test]
fn drill_03_simulated() {
    let report = drill("03").report;
    assert_eq!(report.rto_ms.runs.len(), 3);
}

#[test]
fn drill_25_simulated_twice_is_the_same() {
    assert_eq!(drill("25").audit, drill("25").audit);
}

/// A drill of the library whose market runs as fast as one can, on one validator: what it says of money is
/// the same, and it takes seconds.
#[track_caller]
fn hurried(name: &str) -> Simulated {
    const SPEED: u64 = 120;
    let mut plan: Plan = find(name).expect("a plan").expect("it is in the library");
    let clock = plan.topology.clock.as_mut().expect("it has a clock");
    let times = SPEED / u64::from(clock.speed);
    clock.speed = SPEED as u32;
    clock.lead_ms = 8_000;
    plan.topology.validators = 1;
    for planned in &mut plan.faults {
        planned.at_ms /= times;
    }
    let simulated = simulate(&plan);
    println!("{}", simulated.report);
    assert!(simulated.report.passed, "{:?}", simulated.report.findings);
    simulated
}

#[test]
fn drill_14_simulated_asks_for_more_margin_off_the_peg() {
    let report = hurried("14").report;
    assert!(report.figures["initial_margin_most_ppm"] > 1.2e6);
}

#[test]
fn drill_18_simulated_goes_down_the_waterfall() {
    let report = hurried("18").report;
    assert!(report.invariants["I5"] > 0 && report.figures["gains_taken_usdc"] > 0.0);
}

//! Seeds of faults. `LIFEBOAT_SIM_SEEDS=200` runs as many, from `LIFEBOAT_SIM_FIRST`;
//! `LIFEBOAT_SIM_SEED=n` runs one alone.

use lifeboat_drill::sim::{Fault, Plan, PlannedFault, Report, reproduce_command, simulate};

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn assert_passed(report: &Report, plan: &Plan) {
    assert!(
        report.passed,
        "seed {} broke: {:#?}\nplan: {plan:#?}\nreproduce: {}",
        report.seed,
        report.violations,
        reproduce_command(report.seed)
    );
}

#[test]
fn seeds() {
    let first = number("LIFEBOAT_SIM_FIRST").unwrap_or(0);
    for seed in first..first + number("LIFEBOAT_SIM_SEEDS").unwrap_or(5) {
        let plan = Plan::random(seed);
        let report = simulate(seed, &plan);
        assert_passed(&report, &plan);
        assert!(
            report.checks["I2"] > 0 && report.acknowledged > 0,
            "{report:?}"
        );
    }
}

#[test]
fn one_seed() {
    let seed = number("LIFEBOAT_SIM_SEED").unwrap_or(5);
    let plan = Plan::random(seed);
    let report = simulate(seed, &plan);
    println!("{plan:#?}\n{report:#?}");
    assert_passed(&report, &plan);
}

#[test]
fn a_seed_is_its_run() {
    let plan = Plan::random(3);
    assert_eq!(simulate(3, &plan), simulate(3, &plan));
}

#[test]
fn a_run_that_cannot_settle_is_found() {
    let mut plan = Plan::calm();
    plan.settle_ms_max = 3_000;
    // Two lost disks of four: the rest must not go on alone, and the check must say that it does not.
    for node in [0, 1] {
        let faults = [
            Fault::Crash { node, kept_ppm: 0 },
            Fault::Wipe { node },
            Fault::Start { node },
        ];
        let planned = faults.map(|fault| PlannedFault { at_ms: 500, fault });
        plan.faults.extend(planned);
    }
    let report = simulate(1, &plan);
    assert!(!report.passed);
    assert!(
        report.violations.iter().all(|v| v.starts_with("liveness")),
        "{:?}",
        report.violations
    );
}

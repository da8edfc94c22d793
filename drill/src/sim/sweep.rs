//! Many seeds, and for each that fails the smallest plan that still does.

use serde::Serialize;

use super::simulate::{Simulated, simulate};
use crate::plan::{Plan, shrink};

/// Runs that are spent on making one failing plan smaller.
const SHRINK_ATTEMPTS: u32 = 60;

/// A seed that broke something.
#[derive(Clone, Debug, Serialize)]
pub struct Broken {
    /// The seed.
    pub seed: u64,
    /// What broke.
    pub findings: Vec<String>,
    /// The smallest plan found that still fails.
    #[serde(skip)]
    pub smallest: Plan,
}

/// What a sweep found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Sweep {
    /// Seeds that ran.
    pub seeds: u64,
    /// How often something was checked, over all seeds.
    pub checks: u64,
    /// Commands acknowledged, over all seeds.
    pub acknowledged: u64,
    /// The longest simulated time from the last fault until all was settled, in milliseconds.
    pub settled_ms_worst: f64,
    /// Seeds that broke something.
    pub broken: Vec<Broken>,
}

/// Simulates a plan for each seed from `first` on; `each` hears of every run. A plan that fails is made
/// smaller.
pub fn sweep(
    first: u64,
    seeds: u64,
    plan: impl Fn(u64) -> Plan,
    mut each: impl FnMut(u64, &Simulated),
) -> Sweep {
    let mut found = Sweep::default();
    for seed in first..first.saturating_add(seeds) {
        let plan = plan(seed);
        let simulated = simulate(&plan);
        let report = &simulated.report;
        found.seeds += 1;
        found.checks += report.invariants.values().sum::<u64>();
        let figure = |name: &str| report.figures.get(name).copied().unwrap_or_default();
        found.acknowledged += figure("commands_acknowledged") as u64;
        found.settled_ms_worst = found.settled_ms_worst.max(figure("ready_after_ms"));
        each(seed, &simulated);
        if !report.passed {
            let fails = |candidate: &Plan| !simulate(candidate).report.passed;
            let mut smallest = shrink(&plan, SHRINK_ATTEMPTS, fails);
            smallest.name = format!("{}-small", plan.name);
            found.broken.push(Broken {
                seed,
                findings: report.findings.clone(),
                smallest,
            });
        }
    }
    found
}

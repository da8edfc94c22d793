//! What a drill reports: the same for a person and, as one JSON object, for a program.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use lifeboat_node::block::ENGINE_VERSION;
use serde::Serialize;

use super::timeline::Timeline;
use crate::plan::{Bounds, Executor, Plan};

/// What was drilled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Versions {
    /// Of Lifeboat.
    pub lifeboat: &'static str,
    /// Of the rules that blocks are executed by.
    pub engine: u32,
    /// keccak256 of the program; empty in a simulation.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub binary: String,
}

impl Default for Versions {
    fn default() -> Self {
        Self {
            lifeboat: env!("CARGO_PKG_VERSION"),
            engine: ENGINE_VERSION,
            binary: String::new(),
        }
    }
}

/// One figure for each run.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Figures {
    /// In the order of the runs.
    pub runs: Vec<f64>,
    /// The middle one; of an even number, the upper of the two. 0 without runs.
    pub median: f64,
    /// The largest. 0 without runs.
    pub worst: f64,
}

/// Milliseconds, as reports give them.
pub fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

impl Figures {
    /// Sums up `runs`.
    pub fn new(runs: Vec<f64>) -> Self {
        let mut sorted = runs.clone();
        sorted.sort_by(f64::total_cmp);
        let at = |place: usize| sorted.get(place).copied().unwrap_or_default();
        Self {
            median: at(sorted.len() / 2),
            worst: at(sorted.len().saturating_sub(1)),
            runs,
        }
    }
}

/// The root that every validator had after one block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RootAt {
    /// The block.
    pub height: u64,
    /// The root, in hexadecimal.
    pub root: String,
    /// How many validators had it.
    pub validators: usize,
}

/// What a drill found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct DrillReport {
    /// The drill's name.
    pub name: String,
    /// What happens in it.
    pub title: String,
    /// Who carried it out.
    pub executor: &'static str,
    /// The seed of the load and of the faults' moments.
    pub seed: u64,
    /// Whether everything held.
    pub passed: bool,
    /// Acknowledged commands that were not exactly once in every validator's log, over all runs.
    pub rpo_commands: u64,
    /// Milliseconds from each measured fault to the next order that was submitted after it and accepted.
    pub rto_ms: Figures,
    /// What both may come to.
    pub bounds: Bounds,
    /// The common root after each run.
    pub roots: Vec<RootAt>,
    /// How often each invariant was checked.
    pub invariants: BTreeMap<String, u64>,
    /// Other figures by name, each with its unit in the name.
    pub figures: BTreeMap<String, f64>,
    /// What did not hold.
    pub findings: Vec<String>,
    /// Logs and data folders of the validators.
    pub evidence: PathBuf,
    /// The command that does it again.
    pub reproduce: String,
    /// What was drilled.
    pub versions: Versions,
    /// What happened by time; a file of its own in the evidence.
    #[serde(skip)]
    pub timeline: Timeline,
}

impl DrillReport {
    /// The report of a plan that is about to be carried out.
    pub fn of(plan: &Plan, executor: Executor, evidence: PathBuf, reproduce: String) -> Self {
        Self {
            name: plan.name.clone(),
            title: plan.title.clone(),
            executor: executor.name(),
            seed: plan.seed,
            bounds: plan.bounds,
            evidence,
            reproduce,
            ..Self::default()
        }
    }

    /// Holds what was measured and checked to what the plan demands, and passes the verdict.
    pub fn conclude(&mut self, plan: &Plan) {
        if self.rpo_commands > plan.bounds.rpo_commands {
            let (lost, most) = (self.rpo_commands, plan.bounds.rpo_commands);
            self.finding(format!(
                "RPO: {lost} acknowledged commands lost, {most} may be"
            ));
        }
        let most = plan.bounds.rto_ms;
        let late = self.rto_ms.runs.iter().filter(|ms| **ms > most as f64);
        let late: Vec<String> = late.map(|ms| format!("{ms:.0}")).collect();
        if !late.is_empty() {
            let late = late.join(", ");
            self.finding(format!(
                "RTO: {late} ms to the next accepted order, {most} ms may pass"
            ));
        }
        for executor in [Executor::Live, Executor::Simulated] {
            if executor.name() == self.executor {
                let demands = plan.at_most.get(&executor);
                self.hold(demands.into_iter().flatten(), "most", |value, bound| {
                    value <= bound
                });
                let demands = plan.at_least.get(&executor);
                self.hold(demands.into_iter().flatten(), "least", |value, bound| {
                    value >= bound
                });
            }
        }
        for id in &plan.invariants {
            if self.invariants.get(id).copied().unwrap_or_default() == 0 {
                self.findings.push(format!("{id} was not checked"));
            }
        }
        self.passed = self.findings.is_empty();
    }

    /// Holds figures to their bounds.
    fn hold<'a>(
        &mut self,
        demands: impl Iterator<Item = (&'a String, &'a f64)>,
        which: &str,
        holds: impl Fn(f64, f64) -> bool,
    ) {
        for (name, bound) in demands {
            match self.figures.get(name) {
                Some(value) if holds(*value, *bound) => {}
                Some(value) => {
                    let what = format!("{name} is {value:.1}, at {which} {bound:.1} may be");
                    self.finding(what);
                }
                None => self.finding(format!("{name} was not measured")),
            }
        }
    }

    /// Counts checks of an invariant.
    pub fn checked(&mut self, invariant: &str, times: u64) {
        *self.invariants.entry(invariant.to_owned()).or_default() += times;
    }

    /// Notes something that does not hold; the drill has then failed.
    pub fn finding(&mut self, what: impl Into<String>) {
        self.findings.push(what.into());
    }
}

impl fmt::Display for DrillReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.passed { "passed" } else { "FAILED" };
        writeln!(
            f,
            "drill {} ({}), {}, seed {}: {verdict}",
            self.name, self.title, self.executor, self.seed
        )?;
        let (lost, bounds) = (self.rpo_commands, self.bounds);
        let may = bounds.rpo_commands;
        writeln!(f, "  acknowledged commands lost: {lost} (at most {may})")?;
        if !self.rto_ms.runs.is_empty() {
            let Figures {
                runs,
                median,
                worst,
            } = &self.rto_ms;
            let count = runs.len();
            writeln!(
                f,
                "  next order accepted after: median {median:.0} ms, worst {worst:.0} ms of {count} (at \
                 most {} ms)",
                bounds.rto_ms
            )?;
        }
        for (name, value) in &self.figures {
            writeln!(f, "  {name}: {value:.1}")?;
        }
        for root in &self.roots {
            let RootAt {
                height,
                root,
                validators,
            } = root;
            writeln!(
                f,
                "  block {height}: root {root} on {validators} validators"
            )?;
        }
        let checks = self.invariants.iter();
        let checks: Vec<String> = checks
            .map(|(id, count)| format!("{id} × {count}"))
            .collect();
        writeln!(f, "  checked: {}", checks.join(", "))?;
        for finding in &self.findings {
            writeln!(f, "  does not hold: {finding}")?;
        }
        writeln!(f, "  evidence: {}", self.evidence.display())?;
        write!(f, "  again: {}", self.reproduce)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_their_median_and_worst() {
        assert_eq!(Figures::new(Vec::new()), Figures::default());
        let figures = Figures::new(vec![3.0, 1.0, 9.0, 4.0]);
        assert_eq!((figures.median, figures.worst), (4.0, 9.0));
        assert_eq!(figures.runs, [3.0, 1.0, 9.0, 4.0]);
    }

    #[test]
    fn what_is_late_lost_or_unchecked_fails() {
        let mut plan = crate::plan::calm();
        plan.bounds.rto_ms = 100;
        let judged = |change: fn(&mut DrillReport)| {
            let mut report = DrillReport {
                rto_ms: Figures::new(vec![99.0]),
                ..DrillReport::default()
            };
            plan.invariants.iter().for_each(|id| report.checked(id, 1));
            change(&mut report);
            report.conclude(&plan);
            report
        };
        assert!(judged(|_| {}).passed);
        assert!(!judged(|report| report.rpo_commands = 1).passed);
        assert!(!judged(|report| report.rto_ms = Figures::new(vec![101.0])).passed);
        assert!(!judged(|report| report.invariants.clear()).passed);
        assert!(!judged(|report| report.finding("something")).passed);
    }

    #[test]
    fn figures_are_held_to_both_bounds_and_must_be_there() {
        let mut plan = crate::plan::calm();
        let bound =
            |value: f64| BTreeMap::from([(Executor::Live, [("x".to_owned(), value)].into())]);
        (plan.at_least, plan.at_most) = (bound(2.0), bound(3.0));
        let passed = |figure: Option<f64>, executor: Executor| {
            let mut report = DrillReport {
                executor: executor.name(),
                ..DrillReport::default()
            };
            plan.invariants.iter().for_each(|id| report.checked(id, 1));
            report
                .figures
                .extend(figure.map(|value| ("x".to_owned(), value)));
            report.conclude(&plan);
            report.passed
        };
        assert!(passed(Some(2.5), Executor::Live));
        for bad in [None, Some(1.9), Some(3.1)] {
            assert!(!passed(bad, Executor::Live), "{bad:?}");
            assert!(passed(bad, Executor::Simulated), "{bad:?}");
        }
    }
}

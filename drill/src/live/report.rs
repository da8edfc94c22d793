//! What a drill reports: the same for a person and, as one JSON object, for a program.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

/// The drills that run on real processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drill {
    /// 01: the leader is killed at full load.
    LeaderKilled,
    /// 04: a leader that was stopped for a while, and one that was killed, come back.
    OldLeaderReturns,
    /// 24: a maker with 400 quotes loses its validator and its connection.
    MakerDrops,
    /// Every validator is killed at once and started again.
    AllFour,
    /// A validator loses its data folder.
    Wiped,
    /// Two of four are stopped: nothing is acknowledged until they are back.
    TwoOfFour,
    /// 05: every validator loses its data folder; the venue is rebuilt from what was published.
    EveryDiskLost,
}

impl Drill {
    /// Every drill.
    pub const ALL: [Self; 7] = [
        Self::LeaderKilled,
        Self::OldLeaderReturns,
        Self::EveryDiskLost,
        Self::MakerDrops,
        Self::AllFour,
        Self::Wiped,
        Self::TwoOfFour,
    ];

    /// The name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::LeaderKilled => "01",
            Self::OldLeaderReturns => "04",
            Self::MakerDrops => "24",
            Self::AllFour => "all-four",
            Self::Wiped => "wiped",
            Self::TwoOfFour => "two-of-four",
            Self::EveryDiskLost => "05",
        }
    }

    /// What happens in it.
    pub const fn title(self) -> &'static str {
        match self {
            Self::LeaderKilled => "leader killed at full load",
            Self::OldLeaderReturns => "old leader returns",
            Self::MakerDrops => "maker with 400 quotes drops mid-failover",
            Self::AllFour => "all validators killed at once and started again",
            Self::Wiped => "a validator loses its data and catches up",
            Self::TwoOfFour => "two of four validators stopped, then back",
            Self::EveryDiskLost => "every disk lost, rebuilt from what was published",
        }
    }

    /// The drill of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|drill| drill.name() == name)
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
    /// The seed of the load and of the faults' moments.
    pub seed: u64,
    /// Whether everything held.
    pub passed: bool,
    /// Acknowledged commands that were not exactly once in every validator's log, over all runs.
    pub rpo_commands: u64,
    /// Milliseconds from the fault to the next order that was submitted after it and accepted.
    pub rto_ms: Figures,
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
}

impl DrillReport {
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
        let title = Drill::named(&self.name).map_or("", Drill::title);
        writeln!(
            f,
            "drill {} ({title}), seed {}: {verdict}",
            self.name, self.seed
        )?;
        writeln!(f, "  acknowledged commands lost: {}", self.rpo_commands)?;
        if !self.rto_ms.runs.is_empty() {
            let Figures {
                runs,
                median,
                worst,
            } = &self.rto_ms;
            let count = runs.len();
            writeln!(
                f,
                "  next order accepted after: median {median:.0} ms, worst {worst:.0} ms of {count}"
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
    fn every_drill_is_found_by_its_name() {
        for drill in Drill::ALL {
            assert_eq!(Drill::named(drill.name()), Some(drill));
        }
        assert_eq!(Drill::named("99"), None);
    }
}

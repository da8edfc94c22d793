//! Days on which venues lost their users' money, played again: once by the rules, once with the one rule
//! switched off that the day is about.
//!
//! **Owns** the days, each a market's script, a few named accounts and what they do, and the comparison.
//! What an account lost is measured against doing nothing: what it had before the trouble at what that is
//! worth after it, less what it has then. **Never** runs consensus: the drills with processes do.

mod cases;
mod stage;

use std::collections::BTreeMap;
use std::path::PathBuf;

use lifeboat_engine::types::Mode;

use crate::evidence::{DrillReport, Moment, mode_name};
use crate::plan::{self, Executor, Plan};
use crate::twin::Finding;

pub use cases::DAYS;

/// A day.
pub struct Day {
    /// Its name on the command line.
    pub name: &'static str,
    /// What happened then, in a few words.
    pub title: &'static str,
    /// What happened then and what is played here.
    pub about: &'static str,
    /// The rule that is switched off the second time.
    pub rule: &'static str,
    /// What may be lost by the rules, in USDC.
    pub most: f64,
    play: fn(ruled: bool) -> Result<Played, Finding>,
}

/// One playing.
#[derive(Clone, Debug, Default)]
pub struct Played {
    /// What those lost who should have lost nothing, in USDC.
    pub lost: f64,
    /// Liquidations that began.
    pub liquidations: u64,
    /// Modes that the venue went into, in order.
    pub modes: Vec<Mode>,
    /// Other figures, each with its unit in its name.
    pub figures: BTreeMap<&'static str, f64>,
}

/// A day played twice.
#[derive(Clone, Debug, Default)]
pub struct Comparison {
    /// By the rules.
    pub ruled: Played,
    /// With the day's rule switched off.
    pub unruled: Played,
}

/// The day of that name.
pub fn find(name: &str) -> Option<&'static Day> {
    DAYS.iter().find(|day| day.name == name)
}

impl Day {
    /// Plays it twice.
    ///
    /// # Errors
    /// What the ledger's auditor found, or that the day did not come about.
    pub fn compare(&self) -> Result<Comparison, Finding> {
        Ok(Comparison {
            ruled: (self.play)(true)?,
            unruled: (self.play)(false)?,
        })
    }

    /// The day as a plan, for its evidence.
    pub fn plan(&self) -> Plan {
        Plan {
            name: self.name.to_owned(),
            title: self.title.to_owned(),
            about: format!("{} The rule: {}.", self.about, self.rule),
            invariants: vec!["I1".to_owned()],
            faults: Vec::new(),
            ..plan::calm()
        }
    }

    /// The day as a drill's report. It passes when the rules lost no more than they may, and less than
    /// without the rule.
    pub fn report(&self, folder: PathBuf) -> DrillReport {
        let plan = self.plan();
        let reproduce = format!("lifeboat drill {}", self.name);
        let mut report = DrillReport::of(&plan, Executor::Simulated, folder, reproduce);
        match self.compare() {
            Ok(both) => self.judge(&mut report, &both),
            Err(finding) => report.finding(finding.to_string()),
        }
        report.conclude(&plan);
        report
    }

    fn judge(&self, report: &mut DrillReport, both: &Comparison) {
        report.checked("I1", 2);
        for (which, played) in [("with_rule", &both.ruled), ("without_rule", &both.unruled)] {
            let mut figure = |name: &str, value: f64| {
                report.figures.insert(format!("{which}_{name}"), value);
            };
            figure("lost_usdc", played.lost.max(0.0));
            figure("liquidations", played.liquidations as f64);
            for (name, value) in &played.figures {
                figure(name, *value);
            }
        }
        let moment = |mode: &Mode| Moment {
            run: 1,
            at_ms: 0.0,
            what: mode_name(*mode).to_owned(),
            who: Vec::new(),
            is_fault: false,
            note: "by the rules".to_owned(),
        };
        report
            .timeline
            .moments
            .extend(both.ruled.modes.iter().map(moment));
        if both.ruled.lost > self.most {
            report.finding(format!(
                "{:.0} USDC were lost by the rules, {:.0} may be",
                both.ruled.lost, self.most
            ));
        }
        if both.unruled.lost <= both.ruled.lost.max(0.0) {
            report.finding("the rule made no difference");
        }
    }
}

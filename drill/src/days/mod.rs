//! Days on which venues lost their users' money, played again: once by the rules, once with the one rule
//! switched off that the day is about.
//!
//! **Owns** the days, each a market's script, a few named accounts and what they do, and the comparison.
//! What an account lost is measured against doing nothing: what it had before the trouble at what that is
//! worth after it, less what it has then. **Never** runs consensus: the drills with processes do.

mod cases;
mod crash;
mod stage;

use std::collections::BTreeMap;
use std::path::PathBuf;

use lifeboat_engine::types::Mode;

use crate::evidence::{DrillReport, Moment, mode_name};
use crate::plan::{self, Executor, Plan};
use crate::twin::Finding;

/// A day.
pub struct Day {
    /// Its name on the command line.
    pub name: &'static str,
    /// What happened then, in a few words.
    pub title: &'static str,
    /// What happened then and what is played here.
    pub about: &'static str,
    /// The rule that is switched off the second time; `None` where it has no switch.
    pub rule: Option<&'static str>,
    /// What may be lost by the rules.
    pub most: f64,
    /// In what losses are counted, as the report's figures are named.
    pub unit: &'static str,
    play: fn(ruled: bool) -> Result<Played, Finding>,
}

/// One playing.
#[derive(Clone, Debug, Default)]
pub struct Played {
    /// What those lost who should have lost nothing, in the day's unit.
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
    pub unruled: Option<Played>,
}

/// Every day: those that happened, and the crash of drill 12.
pub fn all() -> impl Iterator<Item = &'static Day> {
    cases::HISTORICAL.iter().chain([&crash::CRASH])
}

/// The day of that name.
pub fn find(name: &str) -> Option<&'static Day> {
    all().find(|day| day.name == name)
}

impl Day {
    /// Plays it twice.
    ///
    /// # Errors
    /// What the ledger's auditor found, or that the day did not come about.
    pub fn compare(&self) -> Result<Comparison, Finding> {
        Ok(Comparison {
            ruled: (self.play)(true)?,
            unruled: self.rule.map(|_| (self.play)(false)).transpose()?,
        })
    }

    /// What is played, and the rule that it is about.
    pub fn text(&self) -> String {
        let rule = self.rule.map(|rule| format!(" The rule: {rule}."));
        format!("{}{}", self.about, rule.unwrap_or_default())
    }

    /// The day as a plan, for its evidence.
    pub fn plan(&self) -> Plan {
        Plan {
            name: self.name.to_owned(),
            title: self.title.to_owned(),
            about: self.text(),
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
        report.checked("I1", 1 + u64::from(both.unruled.is_some()));
        let playings = [
            ("with_rule", Some(&both.ruled)),
            ("without_rule", both.unruled.as_ref()),
        ];
        for (which, played) in playings {
            let Some(played) = played else { continue };
            let mut figure = |name: &str, value: f64| {
                report.figures.insert(format!("{which}_{name}"), value);
            };
            figure(self.unit, played.lost.max(0.0));
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
        for what in self.findings(both) {
            report.finding(what);
        }
    }

    /// What is wrong with a comparison.
    pub fn findings(&self, both: &Comparison) -> Vec<String> {
        let (lost, most) = (both.ruled.lost, self.most);
        let mut findings = Vec::new();
        if lost > most {
            let unit = self.unit;
            findings.push(format!("{lost:.2} {unit} by the rules, {most:.2} may be"));
        }
        if both
            .unruled
            .as_ref()
            .is_some_and(|without| without.lost <= lost.max(0.0))
        {
            findings.push("the rule made no difference".to_owned());
        }
        findings
    }
}

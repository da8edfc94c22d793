//! A drill as data: what a venue is made of, what goes wrong and when, and what must hold.
//!
//! **Owns** the plan files' format, the plans that the binary carries (`drills/` at the repository's
//! root), random plans by seed, and making a failing plan smaller. Two executors read the same plan:
//! [`crate::live`] with real processes, [`crate::sim`] under a seeded runtime. **Never** carries
//! anything out.

mod clock;
mod fault;
mod library;
mod position;
mod random;
mod shrink;
mod who;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::market::{MAKERS_MAX, Stress};
pub use clock::MarketClock;
pub use fault::{Fault, Harm, Planned, Store};
pub use library::{LIBRARY, find};
pub use position::{Backing, Kind, Position, Way};
pub use random::{calm, random};
pub use shrink::shrink;
pub use who::{Situation, Who};

/// How many validators a plan may have.
const VALIDATORS: RangeInclusive<u16> = 1..=16;
/// The longest run of a plan, in milliseconds.
const LENGTH_MS_MAX: u64 = 30 * 60 * 1_000;
/// Invariants that an executor checks; a plan names those that it must have seen checked.
const CHECKED: [&str; 11] = [
    "I1",
    "I2",
    "I3",
    "I4",
    "I5",
    "I7",
    "I8",
    "quorum",
    "silence",
    "published",
    "found",
];

/// Why a text is no plan.
#[derive(Debug, Error)]
pub enum PlanError {
    /// It does not parse; the message names the line.
    #[error("{name} is no plan: {what}")]
    Parse {
        /// Which file or plan.
        name: String,
        /// What is wrong, with the line.
        what: String,
    },
    /// It parses, and asks for what cannot be.
    #[error("{name} cannot be carried out: {what}")]
    Senseless {
        /// Which file or plan.
        name: String,
        /// What is wrong.
        what: String,
    },
}

/// Who carries a plan out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Executor {
    /// Real processes, real signals, real files.
    Live,
    /// The production node under a seeded runtime.
    Simulated,
}

impl Executor {
    /// As plans write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Simulated => "simulated",
        }
    }
}

/// What the validators execute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Engine {
    /// The venue.
    #[default]
    Venue,
    /// A machine that counts, for thousands of simulated runs. Simulations only.
    Tally,
}

/// What the venue is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Topology {
    /// What the validators execute.
    #[serde(skip_serializing_if = "is_venue")]
    pub engine: Engine,
    /// How many validators.
    pub validators: u16,
    /// The sites in their order (`site a` is the first), each the validators that stand there.
    pub sites: Vec<Vec<usize>>,
    /// Blocks between snapshots; the node's own figure if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot_every: Option<u64>,
    /// In a simulation, where a command costs no time: most commands in a block; the node's own figure
    /// if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub simulated_block: Option<usize>,
    /// Likewise: most orders that wait at a validator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub simulated_orders: Option<usize>,
    /// Block time, if it is not the wall's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock: Option<MarketClock>,
}

const fn is_none(count: &u32) -> bool {
    *count == 0
}

fn is_calm(stress: &Stress) -> bool {
    *stress == Stress::default()
}

fn is_venue(engine: &Engine) -> bool {
    *engine == Engine::Venue
}

impl Default for Topology {
    fn default() -> Self {
        Self {
            engine: Engine::Venue,
            validators: 4,
            sites: Vec::new(),
            snapshot_every: None,
            simulated_block: None,
            simulated_orders: None,
            clock: None,
        }
    }
}

/// What the venue is busy with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Workload {
    /// Single orders a second on real processes.
    pub rate: u32,
    /// Commands a second in a simulation, where each costs a machine that others share.
    pub simulated_rate: u32,
    /// Accounts that send them.
    pub accounts: u32,
    /// The nonce before the first one of every account.
    pub nonce_before: u64,
    /// Levels that one maker quotes from a connection of its own; none if 0.
    pub maker_quotes: usize,
    /// Whether validators publish finalized blocks outside the venue.
    pub publish: bool,
    /// Makers that quote every option around what it is worth by the script.
    #[serde(skip_serializing_if = "is_none")]
    pub makers: u32,
    /// The load trades options of this underlying alone: it does not follow a price that moves far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub underlying: Option<u8>,
    /// What accounts hold when the plan begins.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub positions: Vec<Position>,
}

impl Workload {
    /// Accounts that hold positions.
    pub fn holders(&self) -> u32 {
        let accounts = self.positions.iter().map(|one| one.account + 1);
        accounts.max().unwrap_or(0)
    }
}

impl Default for Workload {
    fn default() -> Self {
        Self {
            rate: 1_000,
            simulated_rate: 12,
            accounts: 200,
            nonce_before: 0,
            maker_quotes: 0,
            publish: false,
            makers: 0,
            underlying: None,
            positions: Vec::new(),
        }
    }
}

/// What the losses may come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bounds {
    /// Acknowledged commands that may be lost.
    #[serde(default)]
    pub rpo_commands: u64,
    /// From a measured fault to the acceptance of the first order sent after it.
    pub rto_ms: u64,
    /// With `recover`: what was acknowledged so long before the loss must be published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unpublished_ms: Option<u64>,
    /// Until a validator that drifts or runs another version no longer votes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found_ms: Option<u64>,
}

/// When a run is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exit {
    /// The load goes on for so long after the last fault.
    #[serde(default = "a_second")]
    pub load_ms: u64,
    /// Within this after the last fault every validator votes at the tip again.
    pub ready_ms: u64,
}

/// A drill.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Its name on the command line.
    pub name: String,
    /// What happens, in a few words.
    pub title: String,
    /// What it shows, and how to read it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub about: String,
    /// Decides the load and the moment of each fault, unless the command line does.
    #[serde(default = "first_seed")]
    pub seed: u64,
    /// Who can carry it out.
    #[serde(default = "both")]
    pub executors: Vec<Executor>,
    /// The modes that the venue passes through, in order. None if it stays open.
    #[serde(default)]
    pub modes: Vec<String>,
    /// What must have been checked, by id.
    pub invariants: Vec<String>,
    /// What the venue is made of.
    #[serde(default)]
    pub topology: Topology,
    /// What it is busy with.
    #[serde(default)]
    pub workload: Workload,
    /// The money behind it.
    #[serde(default, skip_serializing_if = "Backing::is_none")]
    pub venue: Backing,
    /// What losses may come to.
    pub bounds: Bounds,
    /// When a run is over.
    pub exit: Exit,
    /// Figures that the report must have, and what each may be at most, by executor.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub at_most: BTreeMap<Executor, BTreeMap<String, f64>>,
    /// What each must be at least: that something did happen.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub at_least: BTreeMap<Executor, BTreeMap<String, f64>>,
    /// What the market does, and what price sources make of it.
    #[serde(default, skip_serializing_if = "is_calm")]
    pub stress: Stress,
    /// What goes wrong, by time.
    #[serde(default)]
    pub faults: Vec<Planned>,
}

const fn a_second() -> u64 {
    1_000
}

const fn first_seed() -> u64 {
    1
}

fn both() -> Vec<Executor> {
    vec![Executor::Live, Executor::Simulated]
}

impl Plan {
    /// Reads a plan; `name` is for messages.
    ///
    /// # Errors
    /// When it does not parse, with the line, or asks for what cannot be.
    pub fn parse(name: &str, text: &str) -> Result<Self, PlanError> {
        let plan: Self = toml::from_str(text).map_err(|error| PlanError::Parse {
            name: name.to_owned(),
            what: error.to_string(),
        })?;
        match plan.nonsense() {
            None => Ok(plan),
            Some(what) => Err(PlanError::Senseless {
                name: name.to_owned(),
                what,
            }),
        }
    }

    /// The plan as a file.
    pub fn to_toml(&self) -> String {
        // Every part of a plan has a form in TOML.
        toml::to_string(self).unwrap_or_default()
    }

    /// When its last fault happens, at the latest.
    pub fn length_ms(&self) -> u64 {
        let faults = self.faults.iter().map(|one| one.at_ms + one.jitter_ms);
        faults.max().unwrap_or(0)
    }

    /// Whether a fault of this kind is in it.
    pub fn has(&self, test: impl Fn(&Fault) -> bool) -> bool {
        self.faults.iter().any(|planned| test(&planned.what))
    }

    /// Whether a figure is held to a bound.
    pub fn demands(&self, figure: &str) -> bool {
        let bounds = self.at_most.values().chain(self.at_least.values());
        bounds
            .into_iter()
            .any(|figures| figures.contains_key(figure))
    }

    /// Whether `executor` can carry it out.
    pub fn is_for(&self, executor: Executor) -> bool {
        self.executors.contains(&executor)
    }

    fn nonsense(&self) -> Option<String> {
        let validators = self.topology.validators;
        if !VALIDATORS.contains(&validators) {
            let (least, most) = (VALIDATORS.start(), VALIDATORS.end());
            return Some(format!(
                "{validators} validators; {least} to {most} can be had"
            ));
        }
        if self.length_ms() > LENGTH_MS_MAX {
            return Some(format!("it is longer than {LENGTH_MS_MAX} ms"));
        }
        if self.executors.is_empty() {
            return Some("nobody may carry it out: `executors` is empty".to_owned());
        }
        if self.topology.engine == Engine::Tally && self.is_for(Executor::Live) {
            return Some("the engine `tally` runs in simulations only".to_owned());
        }
        if self.workload.accounts == 0 {
            return Some("without accounts nobody sends orders".to_owned());
        }
        let unknown = self
            .invariants
            .iter()
            .find(|id| !CHECKED.contains(&id.as_str()));
        if let Some(id) = unknown {
            return Some(format!(
                "no executor checks `{id}`; known are {}",
                CHECKED.join(", ")
            ));
        }
        if let Some(what) = self.market_nonsense() {
            return Some(what);
        }
        let off = |who: &Who| {
            let places = who.named(&self.topology);
            places.iter().any(|place| *place >= usize::from(validators))
                || who.lacks_site(&self.topology)
        };
        for (number, planned) in self.faults.iter().enumerate() {
            if let Some(who) = planned.what.targets().into_iter().find(|who| off(who)) {
                return Some(format!("fault {}: there is no `{who}`", number + 1));
            }
            let unfit = self
                .executors
                .iter()
                .find(|one| !planned.what.is_for(**one));
            if let Some(executor) = unfit {
                let (name, at) = (planned.what.name(), number + 1);
                return Some(format!(
                    "fault {at}, {name}, has no {} form",
                    executor.name()
                ));
            }
        }
        None
    }

    /// What of clock, makers and money cannot be.
    fn market_nonsense(&self) -> Option<String> {
        let clock = self.topology.clock.as_ref();
        let storms = self.has(|fault| matches!(fault, Fault::Storm { .. }));
        if clock.is_some() && (storms || self.has(|fault| matches!(fault, Fault::Clock { .. }))) {
            return Some("with a `clock` of its own no clock is set and no storm blows".to_owned());
        }
        if self.workload.makers > MAKERS_MAX {
            let makers = self.workload.makers;
            return Some(format!("{makers} makers; {MAKERS_MAX} are the most"));
        }
        if self.workload.makers > 0 && clock.is_none() {
            return Some("makers follow a script: they need a `clock`".to_owned());
        }
        if self.topology.engine == Engine::Tally && self.workload.holders() > 0 {
            return Some("the engine `tally` has no positions".to_owned());
        }
        let mut positions = self.workload.positions.iter();
        clock
            .and_then(MarketClock::nonsense)
            .or_else(|| positions.find_map(Position::nonsense))
            .or_else(|| self.venue.nonsense())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = r#"
name = "x"
title = "a leader is killed"
invariants = ["I2"]

[bounds]
rto_ms = 2000

[exit]
ready_ms = 1000

[[faults]]
at_ms = 10
what = { kill = "leader" }
"#;

    fn refusal(text: &str) -> String {
        Plan::parse("x.toml", text)
            .expect_err("no plan")
            .to_string()
    }

    #[test]
    fn a_plan_survives_being_written_and_read() {
        let plan = Plan::parse("x.toml", SMALL).expect("a plan");
        assert_eq!(plan.faults[0].what, Fault::Kill(Who::Leader));
        assert_eq!(Plan::parse("again", &plan.to_toml()).expect("a plan"), plan);
    }

    #[test]
    fn what_is_unknown_is_refused_with_its_line() {
        let said = refusal(&SMALL.replace("at_ms = 10", "at_ms = 10\nwhen = 3"));
        assert!(
            said.contains("line 14") && said.contains("unknown field `when`"),
            "{said}"
        );
        let said = refusal(&SMALL.replace("{ kill =", "{ maim ="));
        assert!(said.contains("line 14") && said.contains("maim"), "{said}");
        let said = refusal(&SMALL.replace("\"leader\"", "\"the boss\""));
        assert!(
            said.contains("line 14") && said.contains("the boss"),
            "{said}"
        );
        let said = refusal(&SMALL.replace("rto_ms", "rto"));
        assert!(said.contains("line 7"), "{said}");
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let cases = [
            ("\"leader\"", "\"7\"", "there is no `7`"),
            ("\"leader\"", "\"site a\"", "there is no `site a`"),
            ("[\"I2\"]", "[\"I99\"]", "I99"),
            ("at_ms = 10", "at_ms = 99000000", "longer than"),
            (
                "kill = \"leader\"",
                "recover = \"all\"",
                "no simulated form",
            ),
        ];
        for (from, to, expected) in cases {
            let said = refusal(&SMALL.replace(from, to));
            assert!(said.contains(expected), "{said}");
        }
    }

    const MARKET: &str = r#"
[topology.clock]
speed = 30
begins = "2026-01-28T07:30:00Z"

[workload]
makers = 1

[[workload.positions]]
account = 0
way = "short"
underlying = 0
kind = "put"
near_ppm = 900_000
hours = 480
lots = 100

[venue]
fund_usdc = 8_000_000

[at_least.live]
breakers_tripped = 1
"#;

    #[test]
    fn a_plan_of_the_market_survives_being_written_and_read() {
        let plan = Plan::parse("x.toml", &format!("{SMALL}{MARKET}")).expect("a plan");
        assert_eq!(plan.workload.holders(), 1);
        assert!(plan.demands("breakers_tripped") && !plan.demands("trades"));
        assert_eq!(Plan::parse("again", &plan.to_toml()).expect("a plan"), plan);
    }

    #[test]
    fn what_no_market_can_do_is_refused() {
        let kill = "{ kill = \"leader\" }";
        let cases = [
            ("speed = 30", "speed = 0", "1 to 120 times"),
            ("2026-01-28T07:30", "2026-13-28T07:30", "no time such as"),
            ("begins =", "lead_ms = 999_999\nbegins =", "longer than"),
            ("makers = 1", "makers = 9", "3 are the most"),
            ("account = 0", "account = 8", "there are 8"),
            ("lots = 100", "lots = 0", "can be held"),
            ("8_000_000", "8_000_000_000", "are the most"),
            (
                kill,
                "{ clock = { who = \"0\", by_ms = 5 } }",
                "no clock is set",
            ),
        ];
        let market = format!("{SMALL}{MARKET}");
        for (from, to, expected) in cases {
            let said = refusal(&market.replace(from, to));
            assert!(said.contains(expected), "{said}");
        }
        let said = refusal(&format!("{SMALL}[workload]\nmakers = 1\n"));
        assert!(said.contains("they need a `clock`"), "{said}");
    }
}

//! What every drill starts from: a fleet that trades, and signed commands for it.

use std::io;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use lifeboat_engine::types::UnderlyingId;
use lifeboat_node::ingress::{BlockingClient, Reply, Request};
use lifeboat_node::shared::millis as wall;
use thiserror::Error;

use super::fleet::{Fleet, FleetError, FleetSettings};
use super::holders::{Holders, traded};
use super::load::{Fate, Load, LoadDriver, Pace, Ready, Record};
use super::quotes::Quotes;
use super::storm;
use super::survey::{lasting, replay, targets};
use crate::evidence::{DrillReport, Versions};
use crate::market::{
    Dice, Listed, LoadPlan, LoadSettings, Outlook as _, Quoting, SimulatedOutlook, StressFile,
};
use crate::plan::{Executor, Fault, Plan};

/// The first start of everything, on a slow machine.
const START: Duration = Duration::from_secs(120);
/// Until the venue has listed and marked its options.
const LISTING: Duration = Duration::from_secs(60);
/// A validator that answers nothing for so long is given up by a client.
const PATIENCE: Duration = Duration::from_millis(1_500);
/// What was sent is answered within this once faults have ended.
const DRAIN: Duration = Duration::from_secs(30);
/// An order that opens a position is answered within this.
const ANSWER: Duration = Duration::from_secs(30);
/// Accounts that quote; a maker of the drill is the first of them.
const QUOTERS: u32 = 8;

/// Why a drill could not be carried out. What a drill finds is no error: it is in its report.
#[derive(Debug, Error)]
pub enum DrillError {
    /// The validators.
    #[error(transparent)]
    Fleet(#[from] FleetError),
    /// The venue lists too little for this drill.
    #[error("the venue lists only {0} options, too few for the maker's quotes")]
    Listed(usize),
    /// The plan is not for real processes.
    #[error("plan `{0}` is for simulations: run it with --simulated")]
    Simulated(String),
    /// What the plan begins with did not come about.
    #[error("the plan could not begin: {0}")]
    Beginning(String),
    /// This program cannot do what the plan asks.
    #[error(
        "drill {drill} needs a program that was built to be broken, with `--features {feature}` in a \
         development build; this one was not, as no release is. Nothing was started"
    )]
    Feature {
        /// Which plan.
        drill: String,
        /// What is missing.
        feature: &'static str,
    },
}

/// How a drill runs. Seed, rate and all else are the plan's.
#[derive(Clone, Debug)]
pub struct DrillSettings {
    /// The program: `lifeboat`.
    pub binary: PathBuf,
    /// Gets the venue's folders, logs and what the drill found; must not hold a venue.
    pub evidence: PathBuf,
    /// How often the plan's faults happen.
    pub runs: u32,
}

/// A venue under way.
pub struct Scene {
    /// The validators.
    pub fleet: Fleet,
    /// Instruments to trade and their values.
    pub targets: Vec<(Listed, f64)>,
    /// Commands to come.
    pub load: LoadPlan,
    /// Decides moments and victims.
    pub dice: Dice,
    /// The drill.
    pub plan: Plan,
    /// What it runs with.
    pub settings: DrillSettings,
    /// Makers that quote around the script.
    pub quotes: Option<Quotes>,
    /// What came of every command so far.
    pub records: Vec<Record>,
    /// What is found.
    pub report: DrillReport,
}

/// Says what is going on.
pub type Tell<'a> = &'a mut dyn FnMut(&str);

impl Scene {
    /// Makes a plan's venue, starts it and waits until it trades.
    ///
    /// # Errors
    /// When it does not come about.
    pub fn open(
        plan: &Plan,
        settings: &DrillSettings,
        reproduce: String,
        tell: Tell,
    ) -> Result<Self, DrillError> {
        let shape = FleetSettings {
            binary: settings.binary.clone(),
            root: settings.evidence.clone(),
            seed: plan.seed,
            validators: plan.topology.validators,
            traders: plan.workload.accounts,
            quoters: quoters(plan),
            holders: plan.workload.holders(),
            clock: plan.topology.clock.clone(),
            backing: plan.venue,
            publish: plan.workload.publish,
            doors: plan.has(Fault::is_of_links),
            snapshot_every: plan.topology.snapshot_every,
            drifting: drifting(plan),
        };
        let (fleet, targets) = open_venue(shape, tell)?;
        let evidence = settings.evidence.clone();
        let mut report = DrillReport::of(plan, Executor::Live, evidence, reproduce);
        report.versions = Versions {
            binary: fleet.binary_digest()?,
            ..Versions::default()
        };
        let settings_of_load = LoadSettings {
            nonce_before: plan.workload.nonce_before,
            ..load_settings(&fleet)
        };
        let quotes = begin(plan, &fleet, &targets, tell)?;
        let targets = load_targets(plan, &fleet, targets);
        Ok(Self {
            load: LoadPlan::new(settings_of_load, targets.clone()),
            targets,
            quotes,
            fleet,
            dice: Dice::at(plan.seed, &[u64::from_le_bytes(*b"moments\0")]),
            plan: plan.clone(),
            records: Vec::new(),
            report,
            settings: settings.clone(),
        })
    }

    /// Starts the load, with commands for `seconds`, when the plan begins by its clock.
    pub fn start_load(&mut self, seconds: u64) -> Load {
        let rate = u64::from(self.plan.workload.rate.max(1));
        let commands = self.load.singles((rate * seconds) as usize);
        let driver = LoadDriver {
            validators: self.fleet.ingress(),
            clients: 8,
            pace: Pace::Open { rate: rate as f64 },
            patience: PATIENCE,
        };
        let commands = commands.into_iter().map(Ready::new).collect();
        if let Some(clock) = &self.plan.topology.clock {
            let begins = self.fleet.clock().local(clock.begins());
            let left_ms = begins.since(wall(SystemTime::now()));
            if left_ms == 0 {
                let what =
                    "the venue came about later than the plan begins: its `lead_ms` is too short";
                self.report.finding(what);
            }
            std::thread::sleep(Duration::from_millis(left_ms));
        }
        driver.start(commands)
    }

    /// Ends a load. Returns its records.
    pub fn end_load(&self, load: Load) -> Vec<Record> {
        load.finish(DRAIN)
    }

    /// Counts what came of all commands.
    pub fn count_commands(&mut self) {
        let of = |test: fn(&Record) -> bool| self.records.iter().filter(|one| test(one)).count();
        let open = of(|record| record.fate == Fate::Unknown);
        let counts = [
            ("commands_sent", of(|one| one.fate != Fate::Unsent)),
            ("commands_acknowledged", of(Record::acknowledged)),
            ("commands_accepted", of(Record::accepted)),
            ("commands_once_unknown", of(|record| record.unknowns > 0)),
            (
                "commands_refused",
                of(|record| record.fate == Fate::Refused),
            ),
            ("commands_still_unknown", open),
        ];
        let accepted = of(Record::accepted);
        for (name, count) in counts {
            self.report.figures.insert(name.to_owned(), count as f64);
        }
        if open > 0 {
            let what = format!("{open} commands had no answer long after the faults had ended");
            self.report.finding(what);
        }
        if accepted == 0 {
            self.report.finding("no order was accepted at all");
        }
    }
}

/// What a plan begins with: its script, where a clock says when that begins, its positions, its makers.
fn begin(
    plan: &Plan,
    fleet: &Fleet,
    targets: &[(Listed, f64)],
    tell: Tell,
) -> Result<Option<Quotes>, DrillError> {
    let script = StressFile {
        began_ms: plan
            .topology
            .clock
            .as_ref()
            .map_or(0, |one| one.begins().get()),
        stress: plan.stress.clone(),
    };
    let holders = Holders::new(plan, load_settings(fleet));
    if !plan.workload.positions.is_empty() {
        tell("opening positions");
        open_positions(plan, fleet, &holders, targets)?;
    }
    if plan.topology.clock.is_some() {
        fleet.suffer(&script)?;
    }
    if plan.workload.makers == 0 {
        return Ok(None);
    }
    let parameters = &fleet.genesis().parameters;
    let steps = parameters.underlyings.iter().map(|one| (one.tick, one.lot));
    let makers = (0..plan.workload.makers).map(|number| holders.maker(number));
    let path = (plan.seed, fleet.genesis().time);
    let mut quoting = Quoting::new(makers, &script, path, steps.collect());
    let engine = replay(fleet.files(0)?, fleet.genesis());
    for one in engine.iter().flat_map(|engine| engine.instruments().iter()) {
        quoting.know(one.id, one.terms);
    }
    Ok(Some(Quotes::begin(fleet.ingress(), fleet.clock(), quoting)))
}

fn open_positions(
    plan: &Plan,
    fleet: &Fleet,
    holders: &Holders,
    targets: &[(Listed, f64)],
) -> Result<(), DrillError> {
    let now = fleet.clock().venue(wall(SystemTime::now()));
    let mut path = SimulatedOutlook::default_pair(plan.seed, fleet.genesis().time);
    let spot = |of: u8| path.index(UnderlyingId::new(of), now);
    let positions = &plan.workload.positions;
    let openings = holders.open(positions, fleet.genesis(), (targets, now), spot);
    let lost = |error: io::Error| DrillError::Beginning(error.to_string());
    let client = BlockingClient::connect(fleet.ingress()[0], ANSWER);
    let mut client = client.map_err(lost)?;
    for opening in openings.map_err(DrillError::Beginning)? {
        let mut lots = 0;
        for (id, command) in (0..).zip(opening.orders.into_iter().flatten()) {
            client.queue(&Request::Submit { id, command });
            client.flush().map_err(lost)?;
            match client.receive().map_err(lost)? {
                Reply::Outcome { outcome, .. } => lots += traded(&outcome, &opening.listed),
                other => {
                    let what = format!("an order that opens a position: {other:?}");
                    return Err(DrillError::Beginning(what));
                }
            }
        }
        if lots != opening.lots {
            let wanted = opening.lots;
            let what = format!("a position of {lots} lots came about, not of {wanted}");
            return Err(DrillError::Beginning(what));
        }
    }
    Ok(())
}

/// What the load trades.
fn load_targets(plan: &Plan, fleet: &Fleet, all: Vec<(Listed, f64)>) -> Vec<(Listed, f64)> {
    let length_ms = plan.length_ms() + plan.exit.load_ms + plan.exit.ready_ms;
    let passes_ms = length_ms * u64::from(fleet.clock().speed);
    let now = fleet.clock().venue(wall(SystemTime::now()));
    lasting(all, plan.workload.underlying, |terms| {
        terms.expiry > now.plus_ms(passes_ms)
    })
}

/// Accounts that quote, those that only a storm uses among them.
fn quoters(plan: &Plan) -> u32 {
    let storms = plan.has(|fault| matches!(fault, Fault::Storm { .. }));
    QUOTERS + if storms { storm::ACCOUNTS } else { 0 }
}

/// The validators whose engines will drift.
fn drifting(plan: &Plan) -> Vec<usize> {
    let named = plan
        .faults
        .iter()
        .filter_map(|planned| match &planned.what {
            Fault::Drift(who) => Some(who.named(&plan.topology)),
            _ => None,
        });
    named.flatten().collect()
}

/// Starts a venue and waits until it lists options; returns them with their values.
///
/// # Errors
/// When the venue does not come about.
pub fn open_venue(
    shape: FleetSettings,
    tell: Tell,
) -> Result<(Fleet, Vec<(Listed, f64)>), DrillError> {
    tell("making keys and folders for the validators");
    let mut fleet = Fleet::init(shape)?;
    let listed = start_trading(&mut fleet, tell)?;
    Ok((fleet, listed))
}

/// Starts a fleet's validators and waits until they list options; returns these with their values.
///
/// # Errors
/// When the venue does not come about.
pub fn start_trading(fleet: &mut Fleet, tell: Tell) -> Result<Vec<(Listed, f64)>, DrillError> {
    tell("starting the validators");
    fleet.start_all()?;
    let took = fleet.wait_ready(START)?.as_secs_f64();
    tell(&format!(
        "ready after {took:.1} s; waiting for options to be listed"
    ));
    let mut listed = Vec::new();
    fleet.wait_for("options to be listed and marked", LISTING, |fleet| {
        std::thread::sleep(Duration::from_millis(250));
        let engine = replay(fleet.files(0)?, fleet.genesis());
        listed = engine.as_ref().map(targets).unwrap_or_default();
        Ok(!listed.is_empty())
    })?;
    tell(&format!("{} options to trade", listed.len()));
    Ok(listed)
}

/// A load from the fleet's accounts.
pub fn load_settings(fleet: &Fleet) -> LoadSettings {
    LoadSettings {
        seed: fleet.settings().seed,
        chain: fleet.genesis().chain,
        first_account: fleet.first_trader(),
        traders: fleet.settings().traders,
        quoters: fleet.settings().quoters,
        ..LoadSettings::default()
    }
}

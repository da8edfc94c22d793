//! What every drill starts from: a fleet that trades, and signed commands for it.

use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use super::fleet::{Fleet, FleetError, FleetSettings};
use super::judge::judge;
use super::load::{Load, LoadDriver, Pace, Ready, Record};
use super::report::{Drill, DrillReport};
use super::survey::{replay, targets};
use crate::market::{Dice, Listed, LoadPlan, LoadSettings};

/// The first start of everything, on a slow machine.
const START: Duration = Duration::from_secs(120);
/// Until the venue has listed and marked its options.
const LISTING: Duration = Duration::from_secs(60);
/// A validator that answers nothing for so long is given up by a client.
const PATIENCE: Duration = Duration::from_millis(1_500);
/// What was sent is answered within this once faults have ended.
const DRAIN: Duration = Duration::from_secs(30);

/// Why a drill could not be carried out. What a drill finds is no error: it is in its report.
#[derive(Debug, Error)]
pub enum DrillError {
    /// The validators.
    #[error(transparent)]
    Fleet(#[from] FleetError),
    /// The venue lists too little for this drill.
    #[error("the venue lists only {0} options, too few for the maker's quotes")]
    Listed(usize),
}

/// How a drill runs.
#[derive(Clone, Debug)]
pub struct DrillSettings {
    /// The program: `lifeboat`.
    pub binary: PathBuf,
    /// Gets the venue's folders and logs; must not hold a venue.
    pub evidence: PathBuf,
    /// Decides the load and each fault's moment.
    pub seed: u64,
    /// How often the fault happens.
    pub runs: u32,
    /// Single orders a second.
    pub rate: u32,
    /// How long the load runs before each fault.
    pub before: Duration,
}

/// A venue under way.
pub struct Scene {
    /// The validators.
    pub fleet: Fleet,
    /// Instruments to trade and their values.
    pub targets: Vec<(Listed, f64)>,
    /// Commands to come.
    pub plan: LoadPlan,
    /// Decides moments.
    pub dice: Dice,
    /// What it runs with.
    pub settings: DrillSettings,
    /// What came of every command so far.
    pub records: Vec<Record>,
    /// What is found.
    pub report: DrillReport,
}

/// Says what is going on.
pub type Tell<'a> = &'a mut dyn FnMut(&str);

impl Scene {
    /// Makes a venue of four validators, starts it and waits until it trades.
    ///
    /// # Errors
    /// When it does not come about.
    pub fn open(drill: Drill, settings: &DrillSettings, tell: Tell) -> Result<Self, DrillError> {
        let shape = FleetSettings {
            binary: settings.binary.clone(),
            root: settings.evidence.clone(),
            seed: settings.seed,
            validators: 4,
            traders: 200,
            quoters: 8,
            publish: drill == Drill::EveryDiskLost,
        };
        let (fleet, targets) = open_venue(shape, tell)?;
        let DrillSettings {
            seed, runs, rate, ..
        } = settings;
        let name = drill.name();
        Ok(Self {
            plan: LoadPlan::new(load_settings(&fleet), targets.clone()),
            targets,
            fleet,
            dice: Dice::at(settings.seed, &[u64::from_le_bytes(*b"moments\0")]),
            records: Vec::new(),
            report: DrillReport {
                name: name.to_owned(),
                seed: *seed,
                evidence: settings.evidence.clone(),
                reproduce: format!(
                    "lifeboat drill {name} --seed {seed} --runs {runs} --rate {rate}"
                ),
                ..DrillReport::default()
            },
            settings: settings.clone(),
        })
    }

    /// Starts the load, with commands for `seconds`.
    pub fn load(&mut self, seconds: u32) -> Load {
        let rate = self.settings.rate.max(1);
        let commands = self.plan.singles((rate * seconds) as usize);
        let driver = LoadDriver {
            validators: self.fleet.ingress(),
            clients: 8,
            pace: Pace::Open { rate: rate.into() },
            patience: PATIENCE,
        };
        driver.start(commands.into_iter().map(Ready::new).collect())
    }

    /// Lets the load run for a while: the settings' time and up to 300 ms that the seed decides.
    pub fn run_up(&mut self) {
        let extra = self.dice.below(300) as u64;
        std::thread::sleep(self.settings.before + Duration::from_millis(extra));
    }

    /// Ends the load and keeps its records.
    pub fn end(&mut self, load: Load) {
        self.records.extend(load.finish(DRAIN));
    }

    /// Waits for the first order that was sent after the fault to be accepted.
    ///
    /// # Errors
    /// When none is for a minute.
    pub fn recovery(&mut self, load: &Load) -> Result<Duration, DrillError> {
        let mut found = None;
        let what = "an order sent after the fault to be accepted";
        self.fleet.wait_for(what, Duration::from_secs(60), |_| {
            found = load.recovered();
            Ok(found.is_some())
        })?;
        Ok(found.unwrap_or_default())
    }

    /// Judges everything and closes the report.
    ///
    /// # Errors
    /// When validators do not catch up or a log cannot be opened.
    pub fn close(self) -> Result<DrillReport, DrillError> {
        self.close_and(|_, _| Ok(()))
    }

    /// Like [`Scene::close`], with one more check on the logs of the validators, which have stopped
    /// by then.
    ///
    /// # Errors
    /// When validators do not catch up or a log cannot be opened.
    pub fn close_and(
        mut self,
        check: impl FnOnce(&Fleet, &mut DrillReport) -> Result<(), FleetError>,
    ) -> Result<DrillReport, DrillError> {
        let count = |count: usize| count as f64;
        let of = |test: fn(&Record) -> bool| self.records.iter().filter(|one| test(one)).count();
        let (acknowledged, accepted) = (of(Record::acknowledged), of(Record::accepted));
        let sent = of(|record| record.fate != super::load::Fate::Unsent);
        let unknown = of(|record| record.unknowns > 0);
        let open = of(|record| record.fate == super::load::Fate::Unknown);
        let figures = &mut self.report.figures;
        figures.insert("commands_sent".into(), count(sent));
        figures.insert("commands_acknowledged".into(), count(acknowledged));
        figures.insert("commands_accepted".into(), count(accepted));
        figures.insert("commands_once_unknown".into(), count(unknown));
        figures.insert("commands_still_unknown".into(), count(open));
        if open > 0 {
            let what = format!("{open} commands had no answer long after the faults had ended");
            self.report.finding(what);
        }
        if accepted == 0 {
            self.report.finding("no order was accepted at all");
        }
        judge(&mut self.fleet, &self.records, &mut self.report)?;
        check(&self.fleet, &mut self.report)?;
        self.report.passed = self.report.findings.is_empty();
        Ok(self.report)
    }
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
    Ok((fleet, listed))
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

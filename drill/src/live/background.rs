//! What the second machine's work costs whoever trades: order latency of a venue with many accounts
//! and orders while it takes snapshots, while it works out exits, and while it does neither.
//!
//! **Owns** venues that differ in nothing else, one after the other and in turns, so that what else
//! the machine does falls on all of them. Both kinds of work come much more often than they do in a
//! venue, so that the 99th hundredth is about them.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use lifeboat_engine::Genesis;
use lifeboat_engine::params::VaultParameters;
use lifeboat_engine::types::{Address, Cash, SettlementChain};
use serde::Serialize;

use super::bench::Run;
use super::fleet::{Fleet, FleetSettings};
use super::load::{Fate, LoadDriver, Pace, Ready, Record};
use super::scene::{DrillError, Tell, load_settings, start_trading};
use crate::market::{LoadPlan, LoadSettings};
use crate::plan::Backing;

/// Blocks that no run of minutes comes to.
const NEVER: u64 = 100_000;
const TRADERS: u32 = 2_000;
const CLIENTS: usize = 4;
/// Unanswered orders while the books are filled.
const IN_FLIGHT: usize = 4_000;
const PATIENCE: Duration = Duration::from_secs(20);
const DRAIN: Duration = Duration::from_secs(60);
/// After the books are filled, before the clock starts.
const SETTLE: Duration = Duration::from_secs(3);

/// What the second machine does beside following.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// Nothing.
    Nothing,
    /// It takes snapshots.
    Snapshots,
    /// It works out everybody's exits.
    Exits,
}

impl Work {
    /// Each of them.
    pub const ALL: [Self; 3] = [Self::Nothing, Self::Snapshots, Self::Exits];
}

/// What is measured.
#[derive(Clone, Debug)]
pub struct BackgroundSettings {
    /// The program: `lifeboat`.
    pub binary: PathBuf,
    /// Gets the venues' folders and logs; must not hold any.
    pub evidence: PathBuf,
    /// Decides the load.
    pub seed: u64,
    /// Accounts of the venue.
    pub accounts: u32,
    /// Orders that rest before the clock starts.
    pub resting: u32,
    /// Single orders a second.
    pub rate: u32,
    /// How long each measurement runs.
    pub window: Duration,
    /// How often each is made.
    pub rounds: u32,
    /// Blocks between two snapshots, or two workings-out of the exits; a venue's own figure is 500 for both.
    pub every: u64,
}

/// One kind of work's result: medians over the rounds.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Beside {
    /// Milliseconds from due to answer: the middle.
    pub ack_ms_p50: f64,
    /// The 99th hundredth.
    pub ack_ms_p99: f64,
    /// That of each round.
    pub p99_of_rounds: Vec<f64>,
    /// How often a validator did the work while the clock ran, over all rounds.
    pub times: u64,
}

/// What the second machine's work costs.
#[derive(Clone, Debug, Serialize)]
pub struct BackgroundReport {
    /// What was sent.
    pub workload: String,
    /// Bytes of a snapshot.
    pub snapshot_bytes: u64,
    /// By kind of work.
    pub beside: BTreeMap<Work, Beside>,
}

impl BackgroundReport {
    /// How much more the 99th hundredth is than beside nothing.
    pub fn more(&self, work: Work) -> f64 {
        let p99 = |work| {
            let beside = self.beside.get(&work);
            beside.map_or(f64::NAN, |one| one.ack_ms_p99)
        };
        p99(work) / p99(Work::Nothing) - 1.0
    }
}

impl fmt::Display for BackgroundReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.workload)?;
        writeln!(f, "a snapshot is {} MiB", self.snapshot_bytes >> 20)?;
        for (work, beside) in &self.beside {
            let what = match work {
                Work::Nothing => "neither",
                Work::Snapshots => "snapshots",
                Work::Exits => "exits",
            };
            let rounds = beside.p99_of_rounds.iter();
            let rounds: Vec<_> = rounds.map(|p99| format!("{p99:.0}")).collect();
            writeln!(
                f,
                "  {what:9} ×{:3}: median {:.0} ms, p99 {:.0} ms ({:+.0} %; rounds {})",
                beside.times,
                beside.ack_ms_p50,
                beside.ack_ms_p99,
                100.0 * self.more(*work),
                rounds.join(", ")
            )?;
        }
        Ok(())
    }
}

/// One venue's measurement.
struct Measured {
    run: Run,
    times: u64,
    snapshot_bytes: u64,
}

impl BackgroundSettings {
    /// Blocks between two times that this is done.
    const fn every(&self, work: Work) -> u64 {
        match work {
            Work::Nothing => NEVER,
            Work::Snapshots | Work::Exits => self.every,
        }
    }

    fn shape(&self, work: Work, round: u32) -> FleetSettings {
        FleetSettings {
            binary: self.binary.clone(),
            root: self.evidence.join(format!("{work:?}-{round}")),
            seed: self.seed,
            validators: 4,
            traders: TRADERS,
            quoters: 0,
            holders: self.accounts.saturating_sub(TRADERS),
            clock: None,
            backing: Backing::default(),
            publish: false,
            doors: false,
            snapshot_every: Some(match work {
                Work::Snapshots => self.every,
                Work::Nothing | Work::Exits => NEVER,
            }),
            drifting: Vec::new(),
        }
    }

    fn measure(&self, work: Work, round: u32, tell: Tell) -> Result<Measured, DrillError> {
        let mut fleet = Fleet::init(self.shape(work, round))?;
        if work == Work::Exits {
            fleet.amend(|genesis| vault(genesis, self.every))?;
        }
        let targets = start_trading(&mut fleet, tell)?;
        let settings = LoadSettings {
            cancel_share: 0.5,
            taker_share: 0.0,
            ..load_settings(&fleet)
        };
        let mut plan = LoadPlan::new(settings, targets);
        let ready = |commands: Vec<_>| commands.into_iter().map(Ready::new).collect::<Vec<_>>();
        let driver = |pace| LoadDriver {
            validators: fleet.ingress(),
            clients: CLIENTS,
            pace,
            patience: PATIENCE,
        };
        tell("filling the books");
        let filling = driver(Pace::Closed { window: IN_FLIGHT });
        let load = filling.start(ready(plan.resting(self.resting as usize)));
        while load.answered() < u64::from(self.resting) && !load.is_over() {
            std::thread::sleep(Duration::from_millis(100));
        }
        load.finish(DRAIN);
        std::thread::sleep(SETTLE);
        let rate = f64::from(self.rate);
        let commands = plan.singles((rate * self.window.as_secs_f64()) as usize);
        let load = driver(Pace::Open { rate }).start(ready(commands));
        std::thread::sleep(self.window);
        let elapsed = load.now();
        let records = load.finish(DRAIN);
        Ok(Measured {
            times: passed(&records, self.every(work)) * fleet.len() as u64,
            run: Run::new(&records, elapsed, BTreeMap::new()),
            snapshot_bytes: snapshot_bytes(&fleet)?,
        })
    }
}

/// Gives the venue a vault, without which there are no exits.
fn vault(genesis: &mut Genesis, every: u64) {
    genesis.parameters.exits.every = every;
    genesis.parameters.vaults = vec![VaultParameters {
        chain: SettlementChain::new(1),
        vault: Address([3; 20]),
        pool: Address([4; 20]),
        withdrawal_min: Cash::new(1),
    }];
}

/// Multiples of `every` among the blocks that the records are of.
fn passed(records: &[Record], every: u64) -> u64 {
    let heights = records.iter().filter_map(|record| match record.fate {
        Fate::Executed { height, .. } => Some(height.get()),
        _ => None,
    });
    let (first, last) = heights.fold((u64::MAX, 0), |(first, last), height| {
        (first.min(height), last.max(height))
    });
    (last / every).saturating_sub(first.min(last) / every)
}

/// Bytes of a validator's newest snapshot; 0 if it has none.
fn snapshot_bytes(fleet: &Fleet) -> Result<u64, DrillError> {
    let files = fleet.files(0)?;
    let chain = fleet.genesis().chain;
    let newest = lifeboat_node::snapshot::newest_certified(&*files, chain);
    let newest = newest.map_err(|error| fleet.io(0, error))?;
    Ok(newest.map_or(0, |manifest| manifest.state_len))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// Measures venues in turns.
///
/// # Errors
/// When one of them does not come about.
pub fn background(
    settings: &BackgroundSettings,
    tell: Tell,
) -> Result<BackgroundReport, DrillError> {
    let mut runs: BTreeMap<Work, Vec<Measured>> = BTreeMap::new();
    for round in 0..settings.rounds {
        for work in Work::ALL {
            let measured = settings.measure(work, round, tell)?;
            tell(&format!(
                "round {}, {work:?}: {:.0} answered a second, {:.0} % accepted, median {:.0} ms, p99 {:.0} ms",
                round + 1,
                measured.run.answered_per_second,
                100.0 * measured.run.accepted_share,
                measured.run.p50,
                measured.run.p99
            ));
            runs.entry(work).or_default().push(measured);
        }
    }
    let bytes = runs.values().flatten().map(|one| one.snapshot_bytes);
    let beside = |measured: &Vec<Measured>| Beside {
        ack_ms_p50: median(measured.iter().map(|one| one.run.p50).collect()),
        ack_ms_p99: median(measured.iter().map(|one| one.run.p99).collect()),
        p99_of_rounds: measured.iter().map(|one| one.run.p99).collect(),
        times: measured.iter().map(|one| one.times).sum(),
    };
    Ok(BackgroundReport {
        workload: format!(
            "four validators, {} accounts, {} orders at rest; {} single orders a second for {} s, half of them cancels; \
             snapshots, or everybody's exits, every {} blocks",
            settings.accounts,
            settings.resting,
            settings.rate,
            settings.window.as_secs(),
            settings.every
        ),
        snapshot_bytes: bytes.max().unwrap_or_default(),
        beside: runs
            .iter()
            .map(|(work, runs)| (*work, beside(runs)))
            .collect(),
    })
}

//! How much a whole venue takes: four validators as processes on this machine, every command signed
//! and verified by each of them.
//!
//! **Owns** the search for the highest rate that is sustained, the latency at half of it, and where
//! processor time goes. Commands are signed before the clock starts.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use super::cpu;
use super::fleet::{Fleet, FleetSettings};
use super::load::{LoadDriver, Pace, Ready, Record};
use super::scene::{DrillError, Tell, load_settings, open_venue};
use crate::market::{LoadPlan, LoadSettings};
use crate::plan::Backing;

/// Quoted levels of one mass quote.
const LEVELS: usize = 100;
/// Unanswered commands in the first, closed-loop guess.
const SINGLES_IN_FLIGHT: usize = 6_000;
const QUOTES_IN_FLIGHT: usize = 400;
/// A rate is sustained when so much of it is answered within the window.
const SUSTAINED: f64 = 0.97;
/// Each further guess is so much lower.
const STEP_DOWN: f64 = 0.88;
const GUESSES: u32 = 5;
const CLIENTS: usize = 4;
const DRAIN: Duration = Duration::from_secs(30);
const PATIENCE: Duration = Duration::from_secs(20);

/// What a measurement is made with.
#[derive(Clone, Debug)]
pub struct BenchSettings {
    /// The program: `lifeboat`.
    pub binary: PathBuf,
    /// Gets the venue's folders and logs; must not hold a venue.
    pub evidence: PathBuf,
    /// Decides the load.
    pub seed: u64,
    /// How long each measurement runs.
    pub window: Duration,
    /// Single orders a second; searched if absent.
    pub orders: Option<u32>,
    /// Quoted levels a second; searched if absent.
    pub levels: Option<u32>,
}

/// One workload's result.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Throughput {
    /// What was sent.
    pub workload: String,
    /// Commands a second that were answered as fast as they were sent.
    pub commands_per_second: f64,
    /// Orders or levels a second.
    pub units_per_second: f64,
    /// Share of the answered commands that the engine did.
    pub accepted_share: f64,
    /// Milliseconds from due to answer at half that rate: the middle.
    pub ack_ms_p50: f64,
    /// The 99th hundredth.
    pub ack_ms_p99: f64,
    /// Processor seconds a second by thread, over all validators and the load itself.
    pub cpu: BTreeMap<String, f64>,
}

/// What a whole venue takes.
#[derive(Clone, Debug, Default, Serialize)]
pub struct BenchReport {
    /// The load's seed.
    pub seed: u64,
    /// Processors of the machine.
    pub processors: usize,
    /// Places, cancels and marketable orders.
    pub orders: Throughput,
    /// Mass quotes.
    pub levels: Throughput,
}

impl fmt::Display for BenchReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "four validators on {} processors, seed {}",
            self.processors, self.seed
        )?;
        for (unit, result) in [("orders", &self.orders), ("levels", &self.levels)] {
            writeln!(f, "{}", result.workload)?;
            writeln!(
                f,
                "  sustained {:.0} {unit}/s ({:.0} commands/s, {:.0} % accepted)",
                result.units_per_second,
                result.commands_per_second,
                100.0 * result.accepted_share
            )?;
            writeln!(
                f,
                "  acknowledged at half that rate: median {:.0} ms, p99 {:.0} ms",
                result.ack_ms_p50, result.ack_ms_p99
            )?;
            let mut cpu: Vec<_> = result.cpu.iter().collect();
            cpu.sort_by(|a, b| b.1.total_cmp(a.1));
            let cpu = cpu
                .iter()
                .take(8)
                .map(|(name, used)| format!("{name} {used:.2}"));
            writeln!(
                f,
                "  processors used: {}",
                cpu.collect::<Vec<_>>().join(", ")
            )?;
        }
        Ok(())
    }
}

/// One measurement.
pub(super) struct Run {
    pub answered_per_second: f64,
    pub accepted_share: f64,
    pub p50: f64,
    pub p99: f64,
    cpu: BTreeMap<String, f64>,
}

struct Bench {
    fleet: Fleet,
    plan: LoadPlan,
    window: Duration,
}

impl Bench {
    fn commands(&mut self, quotes: bool, count: usize) -> Vec<Ready> {
        let signed = if quotes {
            self.plan.mass_quotes(count)
        } else {
            self.plan.singles(count)
        };
        signed.into_iter().map(Ready::new).collect()
    }

    fn run(&mut self, quotes: bool, pace: Pace, count: usize) -> Run {
        let commands = self.commands(quotes, count);
        let driver = LoadDriver {
            validators: self.fleet.ingress(),
            clients: CLIENTS,
            pace,
            patience: PATIENCE,
        };
        let ids = self.fleet.process_ids();
        let before = cpu::by_thread(&ids);
        let load = driver.start(commands);
        std::thread::sleep(self.window);
        let elapsed = load.now();
        let after = cpu::by_thread(&ids);
        let records = load.finish(DRAIN);
        Run::new(&records, elapsed, cpu::difference(&before, &after, elapsed))
    }

    /// The highest rate that is sustained: a closed loop gives the first guess.
    fn search(&mut self, quotes: bool, given: Option<f64>, tell: Tell) -> (f64, Run) {
        let seconds = self.window.as_secs_f64();
        let in_flight = if quotes {
            QUOTES_IN_FLIGHT
        } else {
            SINGLES_IN_FLIGHT
        };
        let mut rate = given.unwrap_or_else(|| {
            let most = if quotes { 3_000.0 } else { 16_000.0 };
            let pace = Pace::Closed { window: in_flight };
            self.run(quotes, pace, (most * seconds) as usize)
                .answered_per_second
        });
        tell(&format!("closed loop: {rate:.0} commands/s"));
        for _ in 0..GUESSES {
            let count = (rate * seconds) as usize;
            let run = self.run(quotes, Pace::Open { rate }, count);
            tell(&format!(
                "offered {rate:.0}/s, answered {:.0}/s, median {:.0} ms, p99 {:.0} ms",
                run.answered_per_second, run.p50, run.p99
            ));
            if run.answered_per_second >= SUSTAINED * rate || given.is_some() {
                return (rate.min(run.answered_per_second), run);
            }
            rate *= STEP_DOWN;
        }
        let count = (rate * seconds) as usize;
        let run = self.run(quotes, Pace::Open { rate }, count);
        (run.answered_per_second, run)
    }

    fn throughput(
        &mut self,
        quotes: bool,
        given: Option<f64>,
        workload: String,
        tell: Tell,
    ) -> Throughput {
        let (rate, full) = self.search(quotes, given, tell);
        let half = rate / 2.0;
        let count = (half * self.window.as_secs_f64()) as usize;
        let calm = self.run(quotes, Pace::Open { rate: half }, count);
        let units = if quotes { LEVELS as f64 } else { 1.0 };
        Throughput {
            workload,
            commands_per_second: rate,
            units_per_second: rate * units,
            accepted_share: full.accepted_share,
            ack_ms_p50: calm.p50,
            ack_ms_p99: calm.p99,
            cpu: full.cpu,
        }
    }
}

impl Run {
    /// Milliseconds from due to answer, and commands answered within `elapsed`.
    pub fn new(records: &[Record], elapsed: Duration, cpu: BTreeMap<String, f64>) -> Self {
        let answered: Vec<&Record> = records.iter().filter(|one| one.acknowledged()).collect();
        let within = answered
            .iter()
            .filter(|one| one.answered <= elapsed)
            .count();
        let accepted = answered.iter().filter(|one| one.accepted()).count();
        let wait = |one: &&Record| (one.answered.saturating_sub(one.due)).as_secs_f64() * 1e3;
        let mut waits: Vec<f64> = answered.iter().map(wait).collect();
        waits.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let place = (waits.len() as f64 * share) as usize;
            waits.get(place).copied().unwrap_or_default()
        };
        Self {
            answered_per_second: within as f64 / elapsed.as_secs_f64(),
            accepted_share: accepted as f64 / answered.len().max(1) as f64,
            p50: at(0.5),
            p99: at(0.99),
            cpu,
        }
    }
}

/// Measures a venue. The searches take several windows each.
///
/// # Errors
/// When the venue does not come about.
pub fn bench(settings: &BenchSettings, tell: Tell) -> Result<BenchReport, DrillError> {
    let shape = FleetSettings {
        binary: settings.binary.clone(),
        root: settings.evidence.clone(),
        seed: settings.seed,
        validators: 4,
        traders: 400,
        quoters: 16,
        holders: 0,
        clock: None,
        backing: Backing::default(),
        publish: false,
        doors: false,
        snapshot_every: None,
        drifting: Vec::new(),
    };
    let (fleet, targets) = open_venue(shape, tell)?;
    let load = LoadSettings {
        levels_per_quote: LEVELS,
        ..load_settings(&fleet)
    };
    let singles = format!(
        "single orders: {} accounts on {} options, {:.0} % cancels, {:.0} % marketable",
        load.traders,
        targets.len(),
        100.0 * load.cancel_share,
        100.0 * load.taker_share
    );
    let quotes = format!(
        "mass quotes: {} accounts on {} options, {LEVELS} levels a command",
        load.quoters,
        targets.len()
    );
    let mut bench = Bench {
        plan: LoadPlan::new(load, targets),
        fleet,
        window: settings.window,
    };
    let orders = settings.orders.map(f64::from);
    let levels = settings
        .levels
        .map(|levels| f64::from(levels) / LEVELS as f64);
    Ok(BenchReport {
        seed: settings.seed,
        processors: std::thread::available_parallelism().map_or(1, usize::from),
        orders: bench.throughput(false, orders, singles, tell),
        levels: bench.throughput(true, levels, quotes, tell),
    })
}

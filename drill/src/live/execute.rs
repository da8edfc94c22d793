//! Carries a plan out on real processes.
//!
//! **Owns** the order of things in a run: load, faults by time, the watch over validators between
//! them, measurement, the exit condition. What is still broken after the last fault is mended: halted
//! validators go on, links heal, dead validators start.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use lifeboat_engine::types::Height;
use lifeboat_node::handle::Status;

use super::fleet::FleetError;
use super::judge::judge;
use super::load::{Fate, Load, Record};
use super::maker::Maker;
use super::quiet::Quiet;
use super::scene::{DrillError, DrillSettings, Scene, Tell};
use super::storm::{Orders, Prober, Probes, Signals, Storm, p99, percentile, resident_mib};
use super::strike::strike;
use crate::evidence::{self, Cancel, DrillReport, Figures, Moment, Traced, millis, mode_name};
use crate::market::{Stress, StressFile};
use crate::plan::{Executor, Fault, Plan, Planned, Situation};

/// Between two looks at all validators.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// An order that is not accepted for so long after the last fault never will be.
const RECOVERY: Duration = Duration::from_secs(120);
/// Commands are signed for so long past the plan's length.
const SPARE_S: u64 = 30;

/// A storm is at its height from so long after its beginning.
const SETTLING: Duration = Duration::from_secs(1);
/// After a storm, latencies are looked at in stretches of this length.
const WINDOW: Duration = Duration::from_millis(500);

/// What is being found out about a validator that must not vote now.
#[derive(Clone, Copy, Debug)]
pub struct Suspect {
    /// Which one.
    pub who: usize,
    /// Views after this one are not its.
    pub from_view: u64,
    /// Up to this one, the last that was final while it did not vote.
    pub until_view: u64,
    /// Whether it is known to have no vote, rather than expected to lose it.
    pub is_wiped: bool,
    /// When it was found to be unfit; for those that were not wiped.
    pub found: Option<Duration>,
    since: Duration,
    /// Whether it was seen to vote since.
    voted: bool,
    over: bool,
}

/// One run.
pub struct Run<'a, 'b> {
    /// The venue and everything that goes with it.
    pub scene: &'a mut Scene,
    /// The load under way.
    pub load: &'a Load,
    /// The drill's maker, if it has one.
    pub maker: Option<&'a mut Maker>,
    /// When a quorum could be had.
    pub quiet: Quiet,
    /// Who is watched for votes it may not cast.
    pub suspects: Vec<Suspect>,
    /// Orders of a storm to come.
    pub orders: Option<Orders>,
    /// The storm that blows.
    pub storm: Option<Storm>,
    /// What tells the prober that it is over.
    pub signals: Option<Arc<Signals>>,
    /// When it began and when it ended.
    pub stormed: Option<(Duration, Duration)>,
    /// What recoveries came to: the last published height that all were rebuilt to.
    pub rebuilt: Option<Rebuilt>,
    number: u32,
    last: Vec<usize>,
    measuring: bool,
    rto: Vec<f64>,
    seen: Vec<Option<(bool, bool)>>,
    tell: Tell<'b>,
}

/// What a loss of every disk left.
#[derive(Clone, Copy, Debug)]
pub struct Rebuilt {
    /// When the disks were lost.
    pub lost_at: Duration,
    /// What validators had said to be published.
    pub published: Height,
    /// The block that all were rebuilt to.
    pub height: Height,
    /// When they had been.
    pub at: Duration,
}

/// Carries out a plan; `tell` hears what is going on. The evidence is written in any case.
///
/// # Errors
/// When it could not be carried out. What it found is in the report.
pub fn execute(
    plan: &Plan,
    settings: &DrillSettings,
    reproduce: String,
    tell: Tell,
) -> Result<DrillReport, DrillError> {
    refuse_what_cannot_be(plan)?;
    let mut scene = Scene::open(plan, settings, reproduce, &mut *tell)?;
    let mut maker = match plan.workload.maker_quotes {
        0 => None,
        quotes => Some(Maker::new(&scene, quotes)?),
    };
    let mut runs = Vec::new();
    // What a clock's plan begins with is there once.
    let runs_max = match plan.topology.clock {
        Some(_) => 1,
        None => settings.runs.max(1),
    };
    for number in 1..=runs_max {
        match one_run(&mut scene, maker.as_mut(), number, &mut *tell) {
            Ok(run) => runs.push(run),
            Err(error) => {
                scene.report.finding(error.to_string());
                break;
            }
        }
    }
    scene.quotes = None;
    scene.count_commands();
    tell("judging what the validators wrote down");
    if let Err(error) = judge(&mut scene, &runs, maker.as_ref()) {
        scene.report.finding(error.to_string());
    }
    scene.report.conclude(plan);
    let folder = scene.settings.evidence.clone();
    let written = evidence::write(&folder, plan, &scene.report);
    written.map_err(|error| FleetError::Io {
        path: folder,
        error,
    })?;
    Ok(scene.report)
}

fn refuse_what_cannot_be(plan: &Plan) -> Result<(), DrillError> {
    if !plan.is_for(Executor::Live) {
        return Err(DrillError::Simulated(plan.name.clone()));
    }
    let missing = |feature| DrillError::Feature {
        drill: plan.name.clone(),
        feature,
    };
    if plan.has(|fault| matches!(fault, Fault::Poison)) && !lifeboat_engine::POISON {
        return Err(missing("poison"));
    }
    let broken = |fault: &Fault| matches!(fault, Fault::Drift(_) | Fault::Outdate(_));
    if plan.has(broken) && !lifeboat_node::sabotage::SABOTAGE {
        return Err(missing("sabotage"));
    }
    Ok(())
}

/// What the judge needs of a run that is over.
pub struct Past {
    /// The run's number, from 1.
    pub number: u32,
    /// Local time at which its load began, in milliseconds since the epoch.
    pub began_ms: f64,
    /// How long it took.
    pub length: Duration,
    /// Who may have cast no vote when.
    pub suspects: Vec<Suspect>,
}

fn one_run(
    scene: &mut Scene,
    mut maker: Option<&mut Maker>,
    number: u32,
    tell: Tell,
) -> Result<Past, DrillError> {
    if let Some(maker) = &mut maker {
        maker.come(scene)?;
    }
    let plan = scene.plan.clone();
    let storms = plan.has(|fault| matches!(fault, Fault::Storm { .. }));
    if storms {
        tell("signing the storm's orders");
    }
    let orders = storms.then(|| Orders::sign(scene));
    let load = scene.start_load((plan.length_ms() + plan.exit.load_ms) / 1_000 + SPARE_S);
    let prober = storms.then(|| Prober::begin(scene, load.began()));
    let began_ms = since_epoch_ms() - millis(load.now());
    if plan.stress != Stress::default() && plan.topology.clock.is_none() {
        scene.fleet.suffer(&StressFile {
            began_ms: began_ms as u64,
            stress: plan.stress.clone(),
        })?;
    }
    let validators = scene.fleet.len();
    let mut run = Run {
        scene,
        load: &load,
        maker,
        quiet: Quiet::new(validators),
        suspects: Vec::new(),
        orders,
        storm: None,
        signals: prober.as_ref().map(Prober::signals),
        stormed: None,
        rebuilt: None,
        number,
        last: Vec::new(),
        measuring: false,
        rto: Vec::new(),
        seen: vec![Some((true, true)); validators],
        tell,
    };
    let done = run.carry_out(&plan);
    let (length, rto, rebuilt) = (load.now(), run.rto.clone(), run.rebuilt);
    let stormed = run.stormed;
    let (quiet, suspects) = (run.quiet.clone(), run.suspects.clone());
    let probes = prober.map(Prober::end).unwrap_or_default();
    let records = scene.end_load(load);
    if let Some(span) = stormed {
        weigh(&mut scene.report, span, &probes, &records);
    }
    let cancels = probes.cancels.iter().map(|one| Cancel {
        run: number,
        at_ms: millis(one.sent),
        took_ms: millis(one.answered),
        waited_ms: millis(one.waited),
        block: one.block,
    });
    scene.report.timeline.cancels.extend(cancels);
    scene
        .report
        .timeline
        .trace(number, records.iter().map(traced));
    keep_records(scene, records, &quiet, rebuilt, &plan);
    scene.report.rto_ms = Figures::new([scene.report.rto_ms.runs.clone(), rto].concat());
    done.map(|()| Past {
        number,
        began_ms,
        length,
        suspects,
    })
}

/// What a storm did to cancels, and how soon after it orders were answered as before.
fn weigh(
    report: &mut DrillReport,
    (began, ended): (Duration, Duration),
    probes: &Probes,
    records: &[Record],
) {
    let cancels = &probes.cancels;
    let calm = || cancels.iter().filter(move |probe| probe.sent < began);
    let storm = || {
        let within = began + SETTLING..ended;
        cancels
            .iter()
            .filter(move |probe| within.contains(&probe.sent))
    };
    let figures = [
        ("cancels_in_the_storm", storm().count() as f64),
        (
            "cancel_before_ms_median",
            percentile(calm().map(|one| one.answered), 50),
        ),
        (
            "cancel_in_storm_ms_median",
            percentile(storm().map(|one| one.answered), 50),
        ),
        ("cancel_before_ms_p99", p99(calm().map(|one| one.answered))),
        (
            "cancel_in_storm_ms_p99",
            p99(storm().map(|one| one.answered)),
        ),
        (
            "cancel_before_waited_ms_p99",
            p99(calm().map(|one| one.waited)),
        ),
        (
            "cancel_in_storm_waited_ms_p99",
            p99(storm().map(|one| one.waited)),
        ),
    ];
    for (name, value) in figures {
        report.figures.insert(name.to_owned(), value);
    }
    let load: Vec<_> = records
        .iter()
        .filter(|one| one.acknowledged())
        .map(|one| (one.due, one.answered - one.due))
        .collect();
    let Some(before) = median(&load, Duration::ZERO..began) else {
        return report.finding("no order was answered before the storm");
    };
    let as_before = |orders: &[(Duration, Duration)]| {
        (0..60).map(|step| WINDOW * step).find(|after| {
            let from = ended + *after;
            median(orders, from..from + WINDOW).is_some_and(|now| now <= 2.0 * before)
        })
    };
    let figures = &mut report.figures;
    figures.insert("order_before_ms_median".into(), before);
    if let Some(after) = as_before(&load) {
        figures.insert("load_calm_after_ms".into(), millis(after + WINDOW));
    }
    match as_before(&probes.orders) {
        Some(after) => drop(figures.insert("calm_after_ms".into(), millis(after + WINDOW))),
        None => report.finding("orders were never answered as before the storm"),
    }
}

/// The median time, in milliseconds, of those that began then.
fn median(all: &[(Duration, Duration)], when: Range<Duration>) -> Option<f64> {
    let then = all.iter().filter(|(begun, _)| when.contains(begun));
    let mut times: Vec<f64> = then.map(|(_, took)| millis(*took)).collect();
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied()
}

fn since_epoch_ms() -> f64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    millis(now.unwrap_or_default())
}

fn traced(record: &Record) -> Traced {
    let sent = record.fate != Fate::Unsent;
    Traced {
        due_ms: millis(record.due),
        sent_ms: sent.then(|| millis(record.sent)),
        acknowledged_ms: record.acknowledged().then(|| millis(record.answered)),
    }
}

impl Run<'_, '_> {
    fn carry_out(&mut self, plan: &Plan) -> Result<(), DrillError> {
        let mut planned: Vec<(u64, &Planned)> = Vec::new();
        for one in &plan.faults {
            let late = self.scene.dice.below(one.jitter_ms as usize + 1) as u64;
            planned.push((one.at_ms + late, one));
        }
        planned.sort_by_key(|(at_ms, _)| *at_ms);
        for (at_ms, one) in planned {
            self.watch_until(Duration::from_millis(at_ms))?;
            self.commit(one)?;
        }
        self.mend()?;
        let last = self.load.now();
        self.watch_until(last + Duration::from_millis(plan.exit.load_ms))?;
        self.measure(RECOVERY)?;
        let (load, ready) = (self.load, Duration::from_millis(plan.exit.ready_ms));
        while !self.look()? {
            if load.now() > last + ready {
                return Err(self
                    .scene
                    .fleet
                    .late("every validator to be ready", ready)
                    .into());
            }
            std::thread::sleep(LOOK_EVERY);
        }
        let took = load.now().saturating_sub(last);
        self.note("ready", Vec::new(), false, String::new());
        self.worst("ready_after_ms", took);
        (self.tell)(&format!(
            "run {}: all validators ready {:.1} s after the last fault",
            self.number,
            took.as_secs_f64()
        ));
        Ok(())
    }

    /// One fault of the plan.
    fn commit(&mut self, planned: &Planned) -> Result<(), DrillError> {
        let fault = &planned.what;
        let leader = self.scene.fleet.leader();
        let situation = Situation {
            topology: &self.scene.plan.topology,
            leader,
            last: &self.last,
        };
        let who = match (fault, &self.maker) {
            (Fault::MakerDrops, Some(maker)) => vec![maker.home()],
            _ => fault.who().map_or(Vec::new(), |who| {
                who.choose(&situation, &mut self.scene.dice)
            }),
        };
        if planned.measured {
            self.measure(Duration::ZERO)?;
        }
        let at = strike(self, fault, &who, planned.measured)?;
        self.measuring |= planned.measured;
        let note = self.describe(fault);
        self.say(fault, &who, &note);
        self.scene.report.timeline.moments.push(Moment {
            run: self.number,
            at_ms: millis(at),
            what: fault.name().to_owned(),
            who: who.clone(),
            is_fault: true,
            note,
        });
        if !who.is_empty() {
            self.last = who;
        }
        Ok(())
    }

    fn describe(&self, fault: &Fault) -> String {
        match fault {
            Fault::Damage { store, how, .. } => format!("{} of its {}", how.name(), store.name()),
            Fault::Links {
                loss_ppm,
                latency_ms,
            } => format!(
                "{latency_ms} ms, {:.1} % lost",
                f64::from(*loss_ppm) / 10_000.0
            ),
            Fault::Clock { by_ms, .. } => format!("{by_ms} ms"),
            Fault::Cut { to, .. } => format!("not heard by {to}"),
            _ => String::new(),
        }
    }

    fn say(&mut self, fault: &Fault, who: &[usize], note: &str) {
        let who: Vec<String> = who.iter().map(usize::to_string).collect();
        let parts = [fault.name(), &who.join(" "), note];
        let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        let (number, at) = (self.number, self.load.now().as_secs_f64());
        (self.tell)(&format!("run {number}: {at:.1} s: {}", parts.join(", ")));
    }

    /// A storm begins; its orders were signed before.
    pub fn begin_storm(&mut self, rate: u32) {
        let ids = self.scene.fleet.process_ids();
        self.figure("resident_before_mib", resident_mib(&ids));
        if let Some(orders) = self.orders.take() {
            let validators = self.scene.fleet.ingress();
            self.storm = Some(Storm::begin(&validators, orders, rate));
            self.stormed = Some((self.load.now(), self.load.now()));
        }
    }

    /// The storm is over.
    pub fn end_storm(&mut self) {
        let Some(storm) = self.storm.take() else {
            return;
        };
        let ids = self.scene.fleet.process_ids();
        self.figure("resident_after_mib", resident_mib(&ids));
        let tally = storm.end();
        if let Some(signals) = &self.signals {
            signals.calm();
        }
        let now = self.load.now();
        let began = self.stormed.map_or(now, |(began, _)| began);
        self.stormed = Some((began, now));
        let seconds = now.saturating_sub(began).as_secs_f64().max(1e-3);
        self.figure("storm_offered_per_s", tally.offered as f64 / seconds);
        self.figure("storm_shed_per_s", tally.shed as f64 / seconds);
        self.figure("storm_executed_per_s", tally.executed as f64 / seconds);
    }

    fn figure(&mut self, name: &str, value: f64) {
        self.scene.report.figures.insert(name.to_owned(), value);
    }

    /// Undoes what the plan left broken.
    fn mend(&mut self) -> Result<(), DrillError> {
        self.end_storm();
        if let Some(links) = self.scene.fleet.links() {
            links.set_all(|_, _| super::links::Way::default());
        }
        let all: Vec<usize> = (0..self.scene.fleet.len()).collect();
        for index in &all {
            self.scene.fleet.resume(*index)?;
            self.scene.fleet.start(*index)?;
        }
        let now = self.load.now();
        for fault in [
            Fault::Resume(crate::plan::Who::All),
            Fault::Start(crate::plan::Who::All),
            Fault::Heal,
        ] {
            self.quiet.note(&fault, &all, now);
        }
        Ok(())
    }

    /// Ends the measurement under way, if there is one; waits `patience` for it at most.
    fn measure(&mut self, patience: Duration) -> Result<(), DrillError> {
        if !std::mem::take(&mut self.measuring) {
            return Ok(());
        }
        let deadline = self.load.now() + patience;
        while self.load.recovered().is_none() && self.load.now() < deadline {
            self.look()?;
            std::thread::sleep(LOOK_EVERY);
        }
        match self.load.recovered() {
            Some(took) => {
                let (number, took) = (self.number, millis(took));
                (self.tell)(&format!(
                    "run {number}: next order accepted after {took:.0} ms"
                ));
                self.note("accepted", Vec::new(), false, format!("after {took:.0} ms"));
                self.rto.push(took);
            }
            None => {
                let what = "no order that was sent after a measured fault was accepted before the next one";
                self.scene.report.finding(what);
            }
        }
        Ok(())
    }

    fn watch_until(&mut self, at: Duration) -> Result<(), DrillError> {
        while self.load.now() < at {
            self.look()?;
            let left = at.saturating_sub(self.load.now());
            std::thread::sleep(left.min(LOOK_EVERY));
        }
        Ok(())
    }

    /// Looks at every validator. True if all are ready, in the last of the modes that the plan expects.
    fn look(&mut self) -> Result<bool, DrillError> {
        let mut all_ready = true;
        let statuses = self.scene.fleet.statuses();
        let highest = latest_view(&statuses);
        let last = self.scene.plan.modes.last().cloned();
        let arrived = |mode| last.as_ref().is_none_or(|last| mode_name(mode) == last);
        for (index, status) in statuses.iter().enumerate() {
            let there = |status: &Status| status.ready && arrived(status.mode);
            all_ready &= status.as_ref().is_some_and(there);
            self.look_at(index, status.as_ref(), highest);
        }
        Ok(all_ready)
    }

    fn look_at(&mut self, index: usize, status: Option<&Status>, highest: u64) {
        let now = self.load.now();
        let running = self.scene.fleet.is_running(index);
        for suspect in self
            .suspects
            .iter_mut()
            .filter(|one| one.who == index && !one.over)
        {
            let votes = status.is_some_and(|status| status.voting);
            match (suspect.is_wiped, votes) {
                (true, true) => suspect.over = true,
                (true, false) => {
                    let view = status.map_or(0, |status| status.finalized_view);
                    suspect.until_view = suspect.until_view.max(view);
                }
                (false, _) => {
                    suspect.voted |= votes;
                    let silenced = suspect.voted && status.is_some_and(|status| !status.voting);
                    let unfit = !running || silenced;
                    if unfit && suspect.found.is_none() {
                        suspect.found = Some(now.saturating_sub(suspect.since));
                    }
                    if suspect.found.is_some() {
                        suspect.until_view = suspect.until_view.max(highest);
                        suspect.over = votes && running;
                    }
                }
            }
        }
        let state = status.map(|status| (status.voting, status.ready));
        if self.seen[index] != state {
            self.seen[index] = state;
            let what = match state {
                None => "silent",
                Some((_, true)) => "ready",
                Some((true, false)) => "voting",
                Some((false, false)) => "following",
            };
            let mode = status.map_or("", |status| mode_name(status.mode));
            self.note(what, vec![index], false, mode.to_owned());
        }
    }

    /// The highest view that any validator knows to be final.
    pub fn view(&mut self) -> u64 {
        latest_view(&self.scene.fleet.statuses())
    }

    /// From now on `who` is watched for votes it may not cast.
    pub fn suspect(&mut self, who: usize, is_wiped: bool) {
        let from_view = self.view();
        self.suspects.push(Suspect {
            who,
            from_view,
            until_view: from_view,
            is_wiped,
            found: None,
            since: self.load.now(),
            voted: false,
            over: false,
        });
    }

    /// Keeps the largest of a figure over faults and runs.
    pub fn worst(&mut self, name: &str, took: Duration) {
        let figures = &mut self.scene.report.figures;
        let worst = figures.entry(name.to_owned()).or_default();
        *worst = worst.max(millis(took));
    }

    fn note(&mut self, what: &str, who: Vec<usize>, is_fault: bool, note: String) {
        let at_ms = millis(self.load.now());
        self.scene.report.timeline.moments.push(Moment {
            run: self.number,
            at_ms,
            what: what.to_owned(),
            who,
            is_fault,
            note,
        });
    }
}

fn latest_view(statuses: &[Option<Status>]) -> u64 {
    let views = statuses.iter().flatten();
    views.map(|status| status.finalized_view).max().unwrap_or(0)
}

/// Holds a run's records to what the run allowed, and keeps those that the judge is to find in the logs.
fn keep_records(
    scene: &mut Scene,
    mut records: Vec<Record>,
    quiet: &Quiet,
    rebuilt: Option<Rebuilt>,
    plan: &Plan,
) {
    let (stretches, forbidden) = quiet.judge(&records);
    if stretches > 0 {
        scene.report.checked("quorum", stretches);
    }
    if forbidden > 0 {
        let what = format!("{forbidden} commands were acknowledged without a quorum");
        scene.report.finding(what);
    }
    if let Some(rebuilt) = rebuilt {
        set_lost_aside(&mut scene.report, &mut records, rebuilt, plan);
    }
    scene.records.append(&mut records);
}

/// What was acknowledged behind the last published block is lost by rule, and must be young. Nothing
/// else may be lost: the judge holds every other acknowledgement to account.
fn set_lost_aside(
    report: &mut DrillReport,
    records: &mut Vec<Record>,
    rebuilt: Rebuilt,
    plan: &Plan,
) {
    report.checked("published", 1);
    if rebuilt.height < rebuilt.published {
        report.finding(format!(
            "block {} was said to be published, but only {} was recovered",
            rebuilt.published, rebuilt.height
        ));
    }
    let behind = |record: &Record| {
        let beyond =
            matches!(record.fate, Fate::Executed { height, .. } if height > rebuilt.height);
        beyond && record.answered <= rebuilt.at
    };
    let ages = records.iter().filter(|record| behind(record));
    let ages = ages.map(|record| rebuilt.lost_at.saturating_sub(record.answered));
    let (count, oldest) = (ages.clone().count(), ages.max().unwrap_or_default());
    records.retain(|record| !behind(record));
    *report
        .figures
        .entry("acknowledged_but_unpublished".into())
        .or_default() += count as f64;
    let worst = report
        .figures
        .entry("oldest_unpublished_ms".into())
        .or_default();
    *worst = worst.max(millis(oldest));
    let most = plan.bounds.unpublished_ms.unwrap_or_default();
    if millis(oldest) > most as f64 {
        report.finding(format!(
            "a command acknowledged {:.0} ms before the loss was not published; {most} ms may pass",
            millis(oldest)
        ));
    }
}

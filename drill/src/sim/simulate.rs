//! Carries a plan out under the seeded runtime.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lifeboat_engine::Command;
use lifeboat_engine::types::{Digest, OrderId, TimeMs};
use lifeboat_node::block::keccak256;
use lifeboat_node::consensus::Timeouts;
use lifeboat_node::files::Files as _;
use lifeboat_node::node::Tuning;
use lifeboat_node::outcome::{Answer, Outcome};
use lifeboat_node::sabotage::DRIFT_LABEL;
use lifeboat_node::shared::VenueClock;
use lifeboat_node::sim::{Cluster, ClusterConfig, LinkQuality, run};
use tokio::sync::oneshot;

use super::check::{Findings, is_accepted};
use super::links::Links;
use super::stage::Stage;
use crate::evidence::{Band, DrillReport, Figures, MarketFigures, Moment, Traced};
use crate::live::{leader_of, placed};
use crate::market::Dice;
use crate::plan::{Executor, Fault, Harm, Plan, Planned, Situation, Store};

const STEP_MS: u64 = 25;
/// A torn write lacks so many bytes.
const TORN_BYTES: usize = 7;

/// What a simulation showed.
#[derive(Clone, Debug)]
pub struct Simulated {
    /// The report, as a drill on real processes has it.
    pub report: DrillReport,
    /// Digest of everything that happened; equal for equal plans and seeds.
    pub audit: String,
}

/// Why this build cannot simulate a plan; `None` if it can.
pub fn refuses(plan: &Plan) -> Option<String> {
    let name = &plan.name;
    if !plan.is_for(Executor::Simulated) {
        return Some(format!("plan `{name}` runs on real processes only"));
    }
    let missing = |feature: &str| {
        Some(format!(
            "plan `{name}` needs a program that was built to be broken, with `--features {feature}` in a \
             development build; this one was not, as no release is"
        ))
    };
    if plan.has(|fault| matches!(fault, Fault::Poison)) && !lifeboat_engine::POISON {
        return missing("poison");
    }
    if plan.has(|fault| matches!(fault, Fault::Drift(_))) && !lifeboat_node::sabotage::SABOTAGE {
        return missing("sabotage");
    }
    None
}

/// Runs a plan with its seed. The same plan gives the same result. Where to find evidence and how to
/// reproduce it is for the caller to fill in.
pub fn simulate(plan: &Plan) -> Simulated {
    let stage = Stage::of(plan);
    let length = plan.length_ms() + plan.exit.load_ms;
    let clock = plan.topology.clock.as_ref();
    let lead_ms = clock.map_or(0, |clock| clock.lead_ms);
    let config = ClusterConfig {
        blueprint: stage.blueprint(),
        validators: usize::from(plan.topology.validators),
        tuning: tuning(plan, stage.clock()),
        link: LinkQuality::default(),
        timeout: Duration::from_millis(length + lead_ms + 3 * plan.exit.ready_ms + 180_000),
    };
    let plan = plan.clone();
    let seed = plan.seed;
    let (report, audit) = run(seed, config, |cluster| async move {
        let validators = cluster.len();
        let run = Run {
            cluster,
            stage,
            links: Links::new(validators),
            dice: Dice::at(seed, &[2]),
            open: Vec::new(),
            commands: Vec::new(),
            acknowledged: BTreeMap::new(),
            findings: Findings::default(),
            began: TimeMs::new(0),
            fault: None,
            rto: Vec::new(),
            suspects: Vec::new(),
            storm: 0,
            prober: Prober {
                wanted: plan.has(|fault| matches!(fault, Fault::Storm { .. })),
                ..Prober::default()
            },
        };
        run.all(&plan).await
    });
    Simulated { report, audit }
}

/// Slower blocks than production's: a simulated second costs less, and faults meet as many views.
fn tuning(plan: &Plan, clock: VenueClock) -> Tuning {
    let mut tuning = Tuning::default();
    tuning.pacing.clock = clock;
    tuning.pacing.busy_ms = 80;
    tuning.pacing.idle_ms = 150;
    tuning.timeouts = Timeouts {
        leader_ms: 300,
        certification_ms: 450,
        retry_ms: 200,
        skip_ms: 600,
        fetch_ms: 400,
    };
    tuning.snapshots.every = plan.topology.snapshot_every.unwrap_or(20);
    tuning.catchup.views_margin = 8;
    let (orders, block) = (
        plan.topology.simulated_orders,
        plan.topology.simulated_block,
    );
    tuning.mempool.orders_max = orders.unwrap_or(tuning.mempool.orders_max);
    tuning.pacing.commands_max = block.unwrap_or(tuning.pacing.commands_max);
    tuning
}

/// A submitted command whose answer is awaited.
struct Open {
    key: Digest,
    place: usize,
    node: usize,
    is_order: bool,
    answer: oneshot::Receiver<Answer>,
}

/// A measured fault that no order was accepted after yet.
struct Measured {
    at: TimeMs,
    /// Commands from this place on were sent after it.
    from: usize,
}

struct Run {
    cluster: Cluster,
    stage: Stage,
    links: Links,
    dice: Dice,
    open: Vec<Open>,
    commands: Vec<Traced>,
    acknowledged: BTreeMap<Digest, Arc<Outcome>>,
    findings: Findings,
    /// When the plan's clock began.
    began: TimeMs,
    fault: Option<Measured>,
    rto: Vec<f64>,
    /// Who drifts, since when, and whether that was found.
    suspects: Vec<(usize, TimeMs, bool)>,
    /// Orders a second beside the load, while a storm blows.
    storm: u32,
    prober: Prober,
}

/// A patient client that rests orders before a storm, and cancels them by their ids while it blows.
#[derive(Default)]
struct Prober {
    /// Whether a storm is to come.
    wanted: bool,
    /// Its command under way, when it was sent, and whether it is a cancel.
    open: Option<(oneshot::Receiver<Answer>, TimeMs, bool)>,
    resting: Vec<OrderId>,
    /// How long each cancel waited for its block.
    waited: Vec<f64>,
}

impl Run {
    async fn all(mut self, plan: &Plan) -> DrillReport {
        let path = PathBuf::new();
        self.findings.report = DrillReport::of(plan, Executor::Simulated, path, String::new());
        self.prepare(plan).await;
        let ready = self.stage.warm_up(&mut self.cluster).await;
        let missing = ready.err().unwrap_or_default();
        self.findings
            .check("listing", missing.is_empty(), || missing);
        self.began = self.cluster.now();
        self.stage.begin(self.began);
        self.pass(plan).await;
        self.mend().await;
        self.settle(plan).await;
        self.judge(plan);
        let mut report = self.findings.report;
        report.rto_ms = Figures::new(self.rto);
        report.timeline.trace(1, self.commands);
        report.conclude(plan);
        report
    }

    /// Nodes that will drift get engines that can.
    async fn prepare(&mut self, plan: &Plan) {
        for planned in &plan.faults {
            let (Fault::Drift(who), Some(engine)) = (&planned.what, self.stage.drifting()) else {
                continue;
            };
            for index in who.named(&plan.topology) {
                self.cluster.crash(index, 1_000_000).await;
                self.cluster.replace_blueprint(index, engine.clone());
                self.cluster.start(index).await;
            }
        }
    }

    fn now_ms(&self) -> u64 {
        self.cluster.now().since(self.began)
    }

    /// The time of the plan, faults and load.
    async fn pass(&mut self, plan: &Plan) {
        let mut planned: Vec<(u64, &Planned)> = Vec::new();
        for one in &plan.faults {
            planned.push((
                one.at_ms + self.dice.below(one.jitter_ms as usize + 1) as u64,
                one,
            ));
        }
        planned.sort_by_key(|(at_ms, _)| *at_ms);
        let end = planned.last().map_or(0, |(at_ms, _)| *at_ms);
        let measured = planned.iter().any(|(_, one)| one.measured);
        let after = if measured { plan.exit.load_ms } else { 0 };
        let mut faults = planned.into_iter().peekable();
        let mut last = Vec::new();
        let chance = f64::from(plan.workload.simulated_rate) * STEP_MS as f64 / 1e3;
        while self.now_ms() < end + after || faults.peek().is_some() {
            while let Some((_, one)) = faults.next_if(|(at_ms, _)| *at_ms <= self.now_ms()) {
                self.commit(one, plan, &mut last).await;
            }
            if self.dice.chance(chance) {
                self.submit();
            }
            self.blow();
            self.step().await;
        }
    }

    /// A step's share of a storm, and the prober's next move.
    fn blow(&mut self) {
        if self.prober.wanted {
            self.probe();
        }
        if self.storm == 0 {
            return;
        }
        let share = f64::from(self.storm) * STEP_MS as f64 / 1e3;
        for _ in 0..share as u32 {
            self.submit();
        }
        if self.dice.chance(share.fract()) {
            self.submit();
        }
    }

    /// The prober rests orders until a storm comes, and then cancels one after the other.
    fn probe(&mut self) {
        let storms = self.storm > 0;
        if let Some((answer, sent, is_cancel)) = &mut self.prober.open {
            match answer.try_recv() {
                Err(oneshot::error::TryRecvError::Empty) => return,
                Ok(Answer::Outcome(outcome)) if *is_cancel => {
                    self.prober.waited.push(outcome.time.since(*sent) as f64);
                }
                Ok(Answer::Outcome(outcome)) => self.prober.resting.extend(placed(&outcome)),
                Ok(Answer::Busy) if *is_cancel => self.findings.report.finding("a cancel was shed"),
                _ => {}
            }
            self.prober.open = None;
        }
        let resting = match storms {
            true => self.prober.resting.pop(),
            false => None,
        };
        if storms && resting.is_none() {
            return;
        }
        if let Some(command) = self.stage.probe(resting) {
            let sent = self.cluster.now();
            let answer = self.cluster.submit(0, command);
            self.prober.open = Some((answer, sent, resting.is_some()));
        }
    }

    /// What a storm came to.
    fn weather(&mut self) {
        self.storm = 0;
        if !std::mem::take(&mut self.prober.wanted) {
            return;
        }
        let mut waited = std::mem::take(&mut self.prober.waited);
        waited.sort_by(f64::total_cmp);
        let place = (waited.len() * 99).div_ceil(100).saturating_sub(1);
        let nodes = (0..self.cluster.len()).filter_map(|index| self.cluster.node(index));
        let shed: u64 = nodes.map(|node| node.shed()).sum();
        let figures = &mut self.findings.report.figures;
        figures.insert("cancels_in_the_storm".into(), waited.len() as f64);
        figures.insert("orders_shed".into(), shed as f64);
        if let Some(p99) = waited.get(place) {
            figures.insert("cancel_in_storm_waited_ms_p99".into(), *p99);
        }
    }

    async fn commit(&mut self, planned: &Planned, plan: &Plan, last: &mut Vec<usize>) {
        let now = self.cluster.now();
        let views = (0..self.cluster.len()).filter_map(|index| self.cluster.node(index));
        let view = views
            .map(|node| node.status(now).finalized_view)
            .max()
            .unwrap_or(0);
        let situation = Situation {
            topology: &plan.topology,
            leader: leader_of(view + 1, self.cluster.len()),
            last,
        };
        let who = planned
            .what
            .who()
            .map_or(Vec::new(), |who| who.choose(&situation, &mut self.dice));
        if planned.measured {
            self.end_measurement();
            self.fault = Some(Measured {
                at: now,
                from: self.commands.len(),
            });
        }
        self.strike(&planned.what, &who, plan).await;
        self.findings.report.timeline.moments.push(Moment {
            run: 1,
            at_ms: self.now_ms() as f64,
            what: planned.what.name().to_owned(),
            who: who.clone(),
            is_fault: true,
            note: String::new(),
        });
        if !who.is_empty() {
            *last = who;
        }
    }

    async fn strike(&mut self, fault: &Fault, who: &[usize], plan: &Plan) {
        match fault {
            Fault::Partition(_) => self.links.part(who),
            Fault::Cut { to, .. } => {
                let deaf = to.named(&plan.topology);
                self.links
                    .cut(who, |place| deaf.is_empty() || deaf.contains(&place));
            }
            Fault::Links {
                loss_ppm,
                latency_ms,
            } => self.links.worsen(*loss_ppm, *latency_ms),
            Fault::Heal => self.links.heal(),
            Fault::Stop(_) => self.links.halt(who, true),
            Fault::Resume(_) => self.links.halt(who, false),
            Fault::Storm { simulated_rate, .. } => self.storm = *simulated_rate,
            Fault::Calm => self.weather(),
            Fault::Poison => self.mark(b"poison"),
            Fault::Drift(_) => {
                let now = self.cluster.now();
                self.suspects
                    .extend(who.iter().map(|index| (*index, now, false)));
                self.findings.drifted.extend(who);
                self.mark(DRIFT_LABEL);
            }
            _ => {
                for index in who {
                    self.strike_one(fault, *index).await;
                }
            }
        }
        if fault.is_of_links() || matches!(fault, Fault::Stop(_) | Fault::Resume(_)) {
            self.links.set(&self.cluster).await;
        }
    }

    async fn strike_one(&mut self, fault: &Fault, index: usize) {
        match fault {
            Fault::Kill(_) => self.crash(index, 1_000_000).await,
            Fault::PowerCut { kept_ppm, .. } => self.crash(index, *kept_ppm).await,
            Fault::Wipe(_) => {
                self.crash(index, 0).await;
                self.cluster.wipe(index);
            }
            Fault::Start(_) => self.start(index).await,
            Fault::Damage { store, how, .. } => {
                self.crash(index, 1_000_000).await;
                self.damage(index, *store, *how).await;
            }
            Fault::Clock { by_ms, .. } => {
                self.crash(index, 1_000_000).await;
                let clock = VenueClock {
                    local_start_ms: by_ms.min(&0).unsigned_abs(),
                    venue_start_ms: by_ms.max(&0).unsigned_abs(),
                    ..VenueClock::default()
                };
                self.cluster.set_clock(index, clock);
                self.start(index).await;
            }
            _ => {}
        }
    }

    async fn crash(&mut self, index: usize, kept_ppm: u32) {
        self.cluster.crash(index, kept_ppm).await;
        self.open.retain(|waiting| waiting.node != index);
    }

    /// Starts a node that does not run, or that stopped by itself.
    async fn start(&mut self, index: usize) {
        if self.cluster.stopped(index).is_some() {
            self.crash(index, 1_000_000).await;
        }
        self.cluster.start(index).await;
        self.findings.drifted.retain(|one| *one != index);
    }

    async fn damage(&mut self, index: usize, store: Store, how: Harm) {
        let harm = move |bytes: &mut Vec<u8>| match how {
            Harm::TornTail => bytes.truncate(bytes.len().saturating_sub(TORN_BYTES)),
            Harm::FlippedBit => {
                let middle = bytes.len() / 2;
                if let Some(byte) = bytes.get_mut(middle) {
                    *byte ^= 1;
                }
            }
        };
        let partition = match store {
            Store::Votes => "votes",
            Store::Blocks => "blocks-value",
            Store::Certificates => "finalizations-value",
            Store::Log | Store::Snapshot => {
                let ends = if store == Store::Log {
                    ".log"
                } else {
                    ".state"
                };
                let files = self.cluster.files(index);
                let names = files.list().unwrap_or_default();
                if let Some(name) = names.iter().rfind(|name| name.ends_with(ends)) {
                    files.damage(name, harm);
                }
                return;
            }
        };
        // A node that never stored anything has nothing to damage.
        let _ = self.cluster.damage(index, partition, harm).await;
    }

    fn mark(&mut self, label: &[u8]) {
        let up = (0..self.cluster.len()).find(|index| {
            self.cluster.node(*index).is_some() && !self.findings.drifted.contains(index)
        });
        if let (Some(index), Some(command)) = (up, self.stage.marked(label)) {
            drop(self.cluster.submit(index, command));
        }
    }

    async fn step(&mut self) {
        self.cluster.sleep(STEP_MS).await;
        self.cluster.rejoin().await;
        self.stage.tick(&self.cluster);
        self.findings.compare_roots(&self.cluster);
        self.collect();
        let now = self.cluster.now();
        for (index, since, found) in &mut self.suspects {
            let votes = self
                .cluster
                .node(*index)
                .is_some_and(|node| node.status(now).voting);
            let stopped = self.cluster.stopped(*index).is_some();
            if !*found && (stopped || !votes) {
                *found = true;
                let took = now.since(*since) as f64;
                self.findings
                    .report
                    .figures
                    .insert("found_ms_worst".into(), took);
            }
        }
    }

    fn submit(&mut self) {
        let node = self.dice.below(self.cluster.len());
        if self.cluster.node(node).is_none() || self.cluster.stopped(node).is_some() {
            return;
        }
        if let Some((command, is_order)) = self.stage.command(&mut self.dice) {
            self.send(node, command, is_order);
        }
    }

    fn send(&mut self, node: usize, command: Command, is_order: bool) {
        let key = keccak256(&[&borsh::to_vec(&command).expect("memory does not fail")]);
        let answer = self.cluster.submit(node, command);
        let now = self.now_ms() as f64;
        self.open.push(Open {
            key,
            place: self.commands.len(),
            node,
            is_order,
            answer,
        });
        self.commands.push(Traced {
            due_ms: now,
            sent_ms: Some(now),
            acknowledged_ms: None,
        });
    }

    /// Takes in answers. An answer that says the fate is open ends the wait without a claim.
    fn collect(&mut self) {
        let mut open = Vec::new();
        for mut waiting in std::mem::take(&mut self.open) {
            match waiting.answer.try_recv() {
                Ok(Answer::Outcome(outcome)) => self.acknowledge(&waiting, outcome),
                Ok(Answer::Unknown | Answer::Busy) | Err(oneshot::error::TryRecvError::Closed) => {}
                Ok(other) => self
                    .findings
                    .check("answer", false, || format!("unexpected {other:?}")),
                Err(oneshot::error::TryRecvError::Empty) => open.push(waiting),
            }
        }
        self.open = open;
    }

    fn acknowledge(&mut self, waiting: &Open, outcome: Arc<Outcome>) {
        self.commands[waiting.place].acknowledged_ms = Some(self.now_ms() as f64);
        let after = self
            .fault
            .as_ref()
            .filter(|fault| waiting.place >= fault.from);
        if let Some(fault) = after
            && waiting.is_order
            && is_accepted(&outcome)
        {
            self.rto.push(self.cluster.now().since(fault.at) as f64);
            self.fault = None;
        }
        self.acknowledged.insert(waiting.key, outcome);
    }

    fn end_measurement(&mut self) {
        if self.fault.take().is_some() {
            let what =
                "no order that was sent after a measured fault was accepted before the next one";
            self.findings.report.finding(what);
        }
    }

    /// Undoes what the plan left broken.
    async fn mend(&mut self) {
        self.links.heal();
        let all: Vec<usize> = (0..self.cluster.len()).collect();
        self.links.halt(&all, false);
        self.links.set(&self.cluster).await;
        for index in all {
            self.start(index).await;
        }
    }

    /// After the faults every open command is answered, new ones are, every validator votes again
    /// and reaches the same height.
    async fn settle(&mut self, plan: &Plan) {
        let started = self.cluster.now();
        let mut fresh = false;
        loop {
            self.step().await;
            if self.fault.is_some() {
                self.submit();
            }
            let spent = self.cluster.now().since(started);
            if !fresh && self.open.is_empty() && self.fault.is_none() {
                fresh = true;
                for node in 0..self.cluster.len() {
                    if let Some((command, is_order)) = self.stage.command(&mut self.dice) {
                        self.send(node, command, is_order);
                    }
                }
            }
            let settled = fresh && self.open.is_empty() && self.all_vote_at_one_height();
            if settled || spent > plan.exit.ready_ms {
                self.end_measurement();
                let open = self.open.len();
                let all = 0..self.cluster.len();
                let heights: Vec<u64> = all.clone().map(|n| self.cluster.height(n)).collect();
                let stops: Vec<_> = all.map(|n| self.cluster.stopped(n)).collect();
                self.findings.check("liveness", settled, || {
                    format!("{spent} ms after the faults {open} commands are unanswered, heights {heights:?}, stops {stops:?}")
                });
                self.findings
                    .report
                    .figures
                    .insert("ready_after_ms".into(), spent as f64);
                return;
            }
        }
    }

    fn all_vote_at_one_height(&self) -> bool {
        let now = self.cluster.now();
        let nodes = (0..self.cluster.len()).map(|node| self.cluster.node(node));
        let all_vote = nodes
            .flatten()
            .filter(|node| node.status(now).voting)
            .count();
        let heights = (0..self.cluster.len()).map(|node| self.cluster.height(node));
        let (lowest, highest) = (heights.clone().min(), heights.max());
        let near = highest.unwrap_or(0) - lowest.unwrap_or(0) <= 1;
        // What was acknowledged must be everywhere before the logs are looked at.
        let acknowledged = self
            .acknowledged
            .values()
            .map(|outcome| outcome.height.get());
        all_vote == self.cluster.len() && near && lowest >= acknowledged.max()
    }

    fn judge(&mut self, plan: &Plan) {
        for (index, _, found) in std::mem::take(&mut self.suspects) {
            let bound = plan.bounds.found_ms.unwrap_or_default() as f64;
            let took = self.findings.report.figures.get("found_ms_worst").copied();
            let holds = found && took.is_some_and(|took| took <= bound);
            self.findings.check("found", holds, || {
                format!("node {index} drifted, which was noticed after {took:?} ms of {bound}")
            });
        }
        let blueprint = self.stage.blueprint();
        self.findings
            .check_logs(&self.cluster, &*blueprint, &self.acknowledged);
        self.findings.common_root(&self.cluster);
        let modes = match self.stage.genesis() {
            Some(genesis) => {
                let clock = self.stage.clock();
                let began = clock.venue(self.began);
                let market = MarketFigures::new(plan, began, self.stage.holders());
                let modes =
                    self.findings
                        .audit(&self.cluster, (genesis, plan), market, (began, clock));
                let local = |(at, mode)| (clock.local(at).get() as f64, mode);
                modes.into_iter().map(local).collect()
            }
            None => Vec::new(),
        };
        self.judge_modes(&modes, plan);
        let figures = &mut self.findings.report.figures;
        figures.insert("commands_sent".into(), self.commands.len() as f64);
        figures.insert(
            "commands_acknowledged".into(),
            self.acknowledged.len() as f64,
        );
        let accepted = self
            .acknowledged
            .values()
            .filter(|one| is_accepted(one))
            .count();
        figures.insert("commands_accepted".into(), accepted as f64);
    }

    fn judge_modes(&mut self, modes: &[(f64, &'static str)], plan: &Plan) {
        let began = self.began.get() as f64;
        let end = self.now_ms() as f64;
        let mut bands = Vec::new();
        let (mut from, mut now) = (0.0, "OPEN");
        let mut passed = Vec::new();
        for (at, mode) in modes {
            let at = (at - began).max(0.0);
            if at > 0.0 {
                bands.push((from, at, now));
                passed.push((*mode).to_owned());
                from = at;
            }
            now = *mode;
        }
        bands.push((from, end, now));
        let band = |(from_ms, to_ms, mode): (f64, f64, &str)| Band {
            run: 1,
            from_ms,
            to_ms,
            mode: mode.to_owned(),
        };
        self.findings.report.timeline.bands = bands.into_iter().map(band).collect();
        let expected = &plan.modes;
        self.findings.check("modes", passed == *expected, || {
            format!("the venue went through {passed:?}, not {expected:?}")
        });
    }
}

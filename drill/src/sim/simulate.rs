//! Runs a plan.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lifeboat_engine::types::{AccountId, ChainId, Digest};
use lifeboat_node::block::keccak256;
use lifeboat_node::consensus::Timeouts;
use lifeboat_node::node::Tuning;
use lifeboat_node::outcome::{Answer, Outcome};
use lifeboat_node::sim::{Cluster, ClusterConfig, LinkQuality, TallyBlueprint, run, user_command};
use tokio::sync::oneshot;

use super::check::Findings;
use super::plan::{Fault, Plan};
use crate::market::Dice;

const CHAIN: ChainId = ChainId([0x5E; 32]);
const STEP_MS: u64 = 25;

/// What a run showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// Whether everything held.
    pub passed: bool,
    /// What broke.
    pub violations: Vec<String>,
    /// How often each rule was checked.
    pub checks: BTreeMap<&'static str, u64>,
    /// Commands submitted.
    pub submitted: u64,
    /// Commands acknowledged.
    pub acknowledged: u64,
    /// The height that all validators reached.
    pub height: u64,
    /// Simulated time from the end of the faults until all was settled.
    pub settled_ms: u64,
    /// Digest of everything that happened; equal for equal seeds.
    pub audit: String,
}

/// The command that runs a seed again.
pub fn reproduce_command(seed: u64) -> String {
    format!(
        "LIFEBOAT_SIM_SEED={seed} cargo test --release -p lifeboat-drill --test sim one_seed -- --nocapture"
    )
}

/// Runs a plan with a seed. The same plan and seed give the same report.
pub fn simulate(seed: u64, plan: &Plan) -> Report {
    let blueprint = TallyBlueprint {
        chain: CHAIN,
        poison: None,
        skew_at: None,
    };
    let config = ClusterConfig {
        blueprint: Arc::new(blueprint.clone()),
        validators: plan.validators,
        tuning: tuning(plan),
        link: LinkQuality::default(),
        timeout: Duration::from_millis(plan.faults_end_ms + 3 * plan.settle_ms_max + 60_000),
    };
    let plan = plan.clone();
    let (mut report, audit) = run(seed, config, |cluster| async move {
        let run = Run {
            cluster,
            blueprint,
            dice: Dice::at(seed, &[2]),
            nonce: 0,
            open: Vec::new(),
            acknowledged: BTreeMap::new(),
            findings: Findings::default(),
        };
        run.all(seed, &plan).await
    });
    report.audit = audit;
    report
}

/// Slower blocks than production's: a simulated second costs less, and faults meet as many views.
fn tuning(plan: &Plan) -> Tuning {
    let mut tuning = Tuning::default();
    tuning.pacing.busy_ms = 80;
    tuning.pacing.idle_ms = 150;
    tuning.timeouts = Timeouts {
        leader_ms: 300,
        certification_ms: 450,
        retry_ms: 200,
        skip_ms: 600,
        fetch_ms: 400,
    };
    tuning.snapshots.every = plan.snapshot_every;
    tuning.catchup.views_margin = 8;
    tuning
}

/// A submitted command whose answer is awaited.
struct Open {
    key: Digest,
    node: usize,
    answer: oneshot::Receiver<Answer>,
}

struct Run {
    cluster: Cluster,
    blueprint: TallyBlueprint,
    dice: Dice,
    nonce: u64,
    open: Vec<Open>,
    acknowledged: BTreeMap<Digest, Arc<Outcome>>,
    findings: Findings,
}

impl Run {
    async fn all(mut self, seed: u64, plan: &Plan) -> Report {
        let mut faults = plan.faults.iter().peekable();
        let mut now = 0;
        while now < plan.faults_end_ms {
            while let Some(planned) = faults.next_if(|planned| planned.at_ms <= now) {
                self.apply(planned.fault).await;
            }
            if self
                .dice
                .chance(STEP_MS as f64 / plan.submit_every_ms as f64)
            {
                self.submit();
            }
            self.step().await;
            now += STEP_MS;
        }
        self.apply(Fault::Heal).await;
        for node in 0..self.cluster.len() {
            self.cluster.start(node).await;
        }
        let settled_ms = self.settle(plan.settle_ms_max).await;
        self.findings
            .check_logs(&self.cluster, &self.blueprint, &self.acknowledged);
        Report {
            seed,
            passed: self.findings.violations.is_empty(),
            violations: self.findings.violations,
            checks: self.findings.checks,
            submitted: self.nonce,
            acknowledged: self.acknowledged.len() as u64,
            height: (0..plan.validators)
                .map(|node| self.cluster.height(node))
                .min()
                .unwrap_or(0),
            settled_ms,
            audit: String::new(),
        }
    }

    async fn step(&mut self) {
        self.cluster.sleep(STEP_MS).await;
        self.cluster.rejoin().await;
        self.findings.compare_roots(&self.cluster);
        self.collect();
    }

    fn submit(&mut self) {
        let node = self.dice.below(self.cluster.len());
        if self.cluster.node(node).is_none() {
            return;
        }
        let account = AccountId::new(1 + self.dice.below(5) as u32);
        let command = user_command(&CHAIN, account, self.nonce);
        self.nonce += 1;
        let key = keccak256(&[&borsh::to_vec(&command).expect("memory does not fail")]);
        let answer = self.cluster.submit(node, command);
        self.open.push(Open { key, node, answer });
    }

    /// Takes in answers. An answer that says the fate is open ends the wait without a claim.
    fn collect(&mut self) {
        let mut open = Vec::new();
        for mut waiting in std::mem::take(&mut self.open) {
            match waiting.answer.try_recv() {
                Ok(Answer::Outcome(outcome)) => {
                    self.acknowledged.insert(waiting.key, outcome);
                }
                Ok(Answer::Unknown | Answer::Busy) | Err(oneshot::error::TryRecvError::Closed) => {}
                Ok(other) => self
                    .findings
                    .check("answer", false, || format!("unexpected {other:?}")),
                Err(oneshot::error::TryRecvError::Empty) => open.push(waiting),
            }
        }
        self.open = open;
    }

    async fn apply(&mut self, fault: Fault) {
        let cluster = &mut self.cluster;
        match fault {
            Fault::Crash { node, kept_ppm } => {
                cluster.crash(node, kept_ppm).await;
                self.open.retain(|waiting| waiting.node != node);
            }
            Fault::Wipe { node } => {
                if cluster.node(node).is_none() {
                    cluster.wipe(node);
                }
            }
            Fault::Start { node } => cluster.start(node).await,
            Fault::Partition { left } => cluster.partition(|node| left >> node & 1 == 1).await,
            Fault::CutOneWay { from, to } => cluster.link(from, to, None).await,
            Fault::Loss { ppm, latency_ms } => {
                let quality = LinkQuality {
                    latency_ms,
                    jitter_ms: latency_ms / 3,
                    loss_ppm: ppm,
                };
                cluster.link_all(quality).await;
            }
            Fault::Heal => cluster.link_all(LinkQuality::default()).await,
        }
    }

    /// After the faults every open command is answered, new ones are, every validator votes again
    /// and reaches the same height.
    async fn settle(&mut self, ms_max: u64) -> u64 {
        let started = self.cluster.now();
        let mut fresh = false;
        loop {
            self.step().await;
            let spent = self.cluster.now().since(started);
            if !fresh && self.open.is_empty() {
                fresh = true;
                (0..self.cluster.len()).for_each(|_| self.submit());
            }
            let settled = fresh && self.open.is_empty() && self.all_vote_at_one_height();
            if settled || spent > ms_max {
                let open = self.open.len();
                let heights: Vec<u64> = (0..self.cluster.len())
                    .map(|n| self.cluster.height(n))
                    .collect();
                let stops: Vec<_> = (0..self.cluster.len())
                    .map(|n| self.cluster.stopped(n))
                    .collect();
                self.findings.check("liveness", settled, || {
                    format!("{spent} ms after the faults {open} commands are unanswered, heights {heights:?}, stops {stops:?}")
                });
                return spent;
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
}

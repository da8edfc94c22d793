//! Validators on a simulated network.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use commonware_cryptography::Signer as _;
use commonware_cryptography::bls12381::dkg::feldman_desmedt::{Output, deal};
use commonware_cryptography::bls12381::primitives::group::Share;
use commonware_cryptography::bls12381::primitives::sharing::Mode;
use commonware_cryptography::bls12381::primitives::variant::MinSig;
use commonware_cryptography::ed25519::{PrivateKey, PublicKey as PeerKey};
use commonware_p2p::simulated::{Config, Link, Network, Oracle};
use commonware_runtime::{
    Blob as _, Clock as _, Handle, ReadOptions, Runner as _, Storage as _, Supervisor as _,
    WriteOptions, deterministic,
};
use commonware_utils::ordered::{Map, Set};
use commonware_utils::{N3f1, NZUsize, Probability};
use lifeboat_engine::Command;
use lifeboat_engine::auction::SealKey;
use lifeboat_engine::types::{ChainId, Digest, Height, TimeMs};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::sync::oneshot;

use crate::catchup::mark_fresh;
use crate::consensus::{
    CHANNEL_QUOTA, CHANNELS, Identity, Scheme, Suspects, Transport, message_bytes_max,
};
use crate::epochs::Epochs;
use crate::files::Memory;
use crate::handle::NodeHandle;
use crate::machine::Blueprint;
use crate::node::{NodeSetup, Tuning, Yielding, start};
use crate::opening::{Opener, seal_key};
use crate::outcome::{Answer, Waiter};
use crate::shared::{Stop, VenueClock, millis};

/// Decides the committee's keys.
const COMMITTEE_SEED: u64 = 0x5EA1;

/// How messages travel between two nodes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LinkQuality {
    /// Mean delay.
    pub latency_ms: u64,
    /// Standard deviation of the delay.
    pub jitter_ms: u64,
    /// Part of the messages that is lost, in millionths.
    pub loss_ppm: u32,
}

impl Default for LinkQuality {
    fn default() -> Self {
        Self {
            latency_ms: 5,
            jitter_ms: 2,
            loss_ppm: 0,
        }
    }
}

/// What a simulated venue is made of.
#[derive(Clone)]
pub struct ClusterConfig {
    /// Makes the state machine, the same for every node unless replaced.
    pub blueprint: Arc<dyn Blueprint>,
    /// How many validators.
    pub validators: usize,
    /// Every node's figures.
    pub tuning: Tuning,
    /// All links at the start.
    pub link: LinkQuality,
    /// Simulated time after which the run is given up with a panic.
    pub timeout: Duration,
}

struct Member {
    blueprint: Arc<dyn Blueprint>,
    identity: Identity,
    files: Memory,
    incarnation: u64,
    storage: u64,
    tuning: Tuning,
    running: Option<(NodeHandle, Handle<Stop>)>,
    last: Option<NodeHandle>,
}

/// Validators on a simulated network.
pub struct Cluster {
    context: deterministic::Context,
    oracle: Oracle<PeerKey, deterministic::Context>,
    members: Vec<Member>,
}

/// Runs `scenario` on a fresh cluster whose nodes are all started. Returns its result and the
/// runtime's digest of everything that happened, equal for equal seeds.
pub fn run<F, Fut, T>(seed: u64, config: ClusterConfig, scenario: F) -> (T, String)
where
    F: FnOnce(Cluster) -> Fut,
    Fut: Future<Output = T>,
{
    let runtime = deterministic::Config::default()
        .with_seed(seed)
        .with_timeout(Some(config.timeout));
    let runner = deterministic::Runner::new(runtime);
    runner.start(|context| async move {
        let auditor = context.auditor();
        let cluster = Cluster::new(context, config).await;
        let result = scenario(cluster).await;
        (result, auditor.state())
    })
}

/// The validators' keys: those of every run, so that a genesis can name them before there is a cluster.
fn committee(validators: usize) -> (Set<PeerKey>, Output<MinSig, PeerKey>, Map<PeerKey, Share>) {
    let keys = (0..validators as u64).map(PrivateKey::from_seed);
    let committee = Set::from_iter_dedup(keys.map(|key| key.public_key()));
    let mut rng = StdRng::seed_from_u64(COMMITTEE_SEED);
    let (output, shares) =
        deal::<MinSig, _, N3f1>(&mut rng, Mode::NonZeroCounter, committee.clone())
            .expect("the committee is not empty");
    (committee, output, shares)
}

/// What orders on a cluster of so many validators are sealed to.
pub fn cluster_seal_key(validators: usize) -> Option<SealKey> {
    seal_key(committee(validators).1.public())
}

impl Cluster {
    async fn new(context: deterministic::Context, config: ClusterConfig) -> Self {
        let (committee, output, shares) = committee(config.validators);
        let network = Config {
            max_size: message_bytes_max(config.validators as u32),
            max_peers_per_set: NZUsize!(64),
            disconnect_on_block: true,
            tracked_peer_sets: NZUsize!(1),
        };
        let peers: Vec<PeerKey> = committee.iter().cloned().collect();
        let (network, oracle) =
            Network::new_with_peers(context.child("network"), network, peers.clone()).await;
        network.start();
        let secret = |peer: &PeerKey| {
            let mut keys = (0..config.validators as u64).map(PrivateKey::from_seed);
            keys.find(|key| key.public_key() == *peer)
        };
        let members = peers.iter().map(|peer| Member {
            blueprint: config.blueprint.clone(),
            identity: Identity {
                peer: peer.clone(),
                key: secret(peer).expect("every peer has a key"),
                committee: committee.clone(),
                polynomial: output.public().clone(),
                share: shares
                    .get_value(peer)
                    .expect("every peer has a share")
                    .clone(),
                suspects: Suspects::default(),
            },
            files: Memory::default(),
            incarnation: 0,
            storage: 0,
            tuning: config.tuning,
            running: None,
            last: None,
        });
        let mut cluster = Self {
            members: members.collect(),
            context,
            oracle,
        };
        cluster.link_all(config.link).await;
        for index in 0..cluster.len() {
            mark_fresh(&cluster.members[index].files).expect("memory does not fail");
            cluster.start(index).await;
        }
        cluster
    }

    /// What a validator opens auctions with.
    pub fn opener(&self, index: usize, chain: ChainId) -> Opener {
        Opener::new(chain, &self.members[index].identity)
    }

    /// How many validators there are.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Starts a node that is not running.
    pub async fn start(&mut self, index: usize) {
        let member = &mut self.members[index];
        if member.running.is_some() {
            return;
        }
        let control = self.oracle.control(member.identity.peer.clone());
        let mut channels = Vec::with_capacity(CHANNELS.len());
        for channel in CHANNELS {
            let ends = control.register(channel, CHANNEL_QUOTA).await;
            channels.push(ends.expect("the network runs"));
        }
        let mut channels = channels.into_iter();
        let mut next = || channels.next().expect("one for each channel");
        let transport = Transport {
            votes: next(),
            certificates: next(),
            requests: next(),
            backfill: next(),
            blocks: next(),
            gossip: next(),
            snapshots: next(),
            blocker: control,
            peers: self.oracle.manager(),
        };
        let context = self.context.child("node").with_attribute("index", index);
        let context = context.with_attribute("incarnation", member.incarnation);
        member.incarnation += 1;
        let setup = NodeSetup {
            blueprint: member.blueprint.clone(),
            identity: member.identity.clone(),
            files: Arc::new(member.files.clone()),
            tuning: member.tuning,
            epochs: Epochs::default(),
            background: Yielding::Never,
            prefix: format!("n{index}s{}-", member.storage),
        };
        let (handle, task) = start(context, setup, transport).expect("memory does not fail");
        member.last = Some(handle.clone());
        member.running = Some((handle, task));
    }

    /// Kills a node; of what it had not synced, `kept_ppm` millionths of each file survive.
    pub async fn crash(&mut self, index: usize, kept_ppm: u32) {
        if let Some((_, task)) = self.members[index].running.take() {
            task.abort();
            let _ = task.await;
            self.members[index].files.crash(kept_ppm);
        }
    }

    /// Takes away everything a stopped node had stored.
    pub fn wipe(&mut self, index: usize) {
        let member = &mut self.members[index];
        member.files.wipe();
        member.storage += 1;
    }

    /// From its next start on, a node makes its state machine by another blueprint.
    pub fn replace_blueprint(&mut self, index: usize, blueprint: Arc<dyn Blueprint>) {
        self.members[index].blueprint = blueprint;
    }

    /// What checks the committee's certificates.
    pub fn verifier(&self, chain: &ChainId) -> Scheme {
        self.members[0].identity.verifier(chain)
    }

    /// A node's network key.
    pub fn peer(&self, index: usize) -> &PeerKey {
        &self.members[index].identity.peer
    }

    /// From its next start on, a node's block time follows another clock.
    pub fn set_clock(&mut self, index: usize, clock: VenueClock) {
        self.members[index].tuning.pacing.clock = clock;
    }

    /// Damages the last blob of a stopped node's partition: `change` gets its bytes.
    ///
    /// # Errors
    /// When there is nothing to damage.
    pub async fn damage(
        &mut self,
        index: usize,
        partition: &str,
        change: impl FnOnce(&mut Vec<u8>),
    ) -> io::Result<()> {
        let partition = format!("n{index}s{}-{partition}", self.members[index].storage);
        let failed = |error: commonware_runtime::Error| io::Error::other(error.to_string());
        let mut names = self.context.scan(&partition).await.map_err(failed)?;
        names.sort();
        let name = names.pop().ok_or(io::ErrorKind::NotFound)?;
        let (blob, len) = self.context.open(&partition, &name).await.map_err(failed)?;
        let bytes = blob
            .read_at(0, len as usize, ReadOptions::default())
            .await
            .map_err(failed)?;
        let mut bytes = bytes.coalesce().as_ref().to_vec();
        change(&mut bytes);
        blob.resize(bytes.len() as u64).await.map_err(failed)?;
        blob.write_at(0, bytes, WriteOptions::default())
            .await
            .map_err(failed)?;
        blob.sync().await.map_err(failed)
    }

    /// A node's files.
    pub fn files(&self, index: usize) -> &Memory {
        &self.members[index].files
    }

    /// A running node.
    pub fn node(&self, index: usize) -> Option<&NodeHandle> {
        self.members[index]
            .running
            .as_ref()
            .map(|(handle, _)| handle)
    }

    /// A node's last handle, running or not: what it had executed stays readable.
    pub fn last(&self, index: usize) -> Option<&NodeHandle> {
        self.members[index].last.as_ref()
    }

    /// Why a node stopped by itself; `None` while it runs or after a crash.
    pub fn stopped(&self, index: usize) -> Option<Stop> {
        self.node(index)?.shared.stopping()
    }

    /// Starts again every node that stopped for that.
    pub async fn rejoin(&mut self) {
        for index in 0..self.len() {
            if self.stopped(index).is_some_and(|stop| stop.starts_again()) {
                if let Some((_, task)) = self.members[index].running.take() {
                    let _ = task.await;
                }
                self.start(index).await;
            }
        }
    }

    /// Submits a command to a node; the answer comes later, or never if the node crashes.
    pub fn submit(&self, index: usize, command: Command) -> oneshot::Receiver<Answer> {
        let (sender, receiver) = oneshot::channel();
        match self.node(index) {
            Some(node) => drop(node.submit_with(command, Waiter::Once(sender))),
            None => drop(sender.send(Answer::Unknown)),
        }
        receiver
    }

    /// Lets simulated time pass.
    pub async fn sleep(&self, ms: u64) {
        self.context.sleep(Duration::from_millis(ms)).await;
    }

    /// Simulated time.
    pub fn now(&self) -> TimeMs {
        millis(self.context.current())
    }

    /// Waits until every running node has executed `height`; false when `ms` pass first.
    pub async fn reached(&self, height: u64, ms: u64) -> bool {
        let deadline = self.now().plus_ms(ms);
        loop {
            let running = self
                .members
                .iter()
                .filter_map(|member| member.running.as_ref());
            let mut heights = running.map(|(node, _)| node.shared.frontier().height.get());
            if heights.all(|at| at >= height) {
                return true;
            }
            if self.now() >= deadline {
                return false;
            }
            self.sleep(20).await;
        }
    }

    /// A node's executed height.
    pub fn height(&self, index: usize) -> u64 {
        self.last(index)
            .map_or(0, |node| node.shared.frontier().height.get())
    }

    /// A node's root after `height`, if it is recent.
    pub fn root_at(&self, index: usize, height: Height) -> Option<Digest> {
        self.last(index)?.shared.root_at(height)
    }

    /// Sets the quality of the link from one node to another; `None` cuts it.
    pub async fn link(&self, from: usize, to: usize, quality: Option<LinkQuality>) {
        let (from, to) = (
            self.members[from].identity.peer.clone(),
            self.members[to].identity.peer.clone(),
        );
        let _ = self.oracle.remove_link(from.clone(), to.clone()).await;
        if let Some(quality) = quality {
            let delivered = u64::from(1_000_000 - quality.loss_ppm.min(1_000_000));
            let link = Link {
                latency: Duration::from_millis(quality.latency_ms),
                jitter: Duration::from_millis(quality.jitter_ms),
                success_rate: Probability::new(delivered, 1_000_000).expect("at most one"),
            };
            let added = self.oracle.add_link(from, to, link).await;
            added.expect("the network runs");
        }
    }

    /// Sets all links.
    pub async fn link_all(&self, quality: LinkQuality) {
        for from in 0..self.len() {
            for to in 0..self.len() {
                if from != to {
                    self.link(from, to, Some(quality)).await;
                }
            }
        }
    }

    /// Cuts every link between nodes of different groups, both ways.
    pub async fn partition(&self, is_left: impl Fn(usize) -> bool) {
        for from in 0..self.len() {
            for to in 0..self.len() {
                if from != to && is_left(from) != is_left(to) {
                    self.link(from, to, None).await;
                }
            }
        }
    }
}

//! One validator from start to stop.
//!
//! **Owns** the order in which the parts start: data folder, block store, replay of what was final
//! but not executed, and only then votes. The same code runs in production and in simulations.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use commonware_actor::Feedback;
use commonware_codec::{DecodeExt as _, Encode as _};
use commonware_consensus::marshal::Update;
use commonware_consensus::types::Height as BlockHeight;
use commonware_consensus::{Heightable as _, Reporter};
use commonware_cryptography::Digestible as _;
use commonware_cryptography::ed25519::PublicKey as PeerKey;
use commonware_p2p::{Blocker, Provider, Receiver, Sender};
use commonware_runtime::{Clock, Handle};
use commonware_utils::vec::NonEmptyVec;
use lifeboat_engine::types::Height;
use tokio::sync::{mpsc, oneshot, watch};

use crate::block::Block;
use crate::catchup;
use crate::consensus::{
    Certificate, Environment, Identity, Marshal, MarshalSetup, Role, SimplexSetup, Timeouts,
    Transport, start_marshal, start_simplex,
};
use crate::epochs::Epochs;
use crate::executor::{Executor, SnapshotPolicy};
use crate::exits::ExitArchive;
use crate::files::Files;
use crate::gossip::{self, GossipPolicy};
use crate::handle::NodeHandle;
use crate::machine::Blueprint;
use crate::mempool::MempoolLimits;
use crate::shadow::{Feed, Shadow, Turn};
use crate::shared::{Pacing, Shared, Stop, millis};
use crate::snapshot;
use crate::sync::{self, SyncPolicy};
use crate::window::Executed;

/// A node's figures. Every one has a default.
#[derive(Clone, Copy, Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tuning {
    /// Consensus timeouts.
    pub timeouts: Timeouts,
    /// The pace of blocks.
    pub pacing: Pacing,
    /// Bounds of the mempool.
    pub mempool: MempoolLimits,
    /// How commands are spread.
    pub gossip: GossipPolicy,
    /// When snapshots are taken.
    pub snapshots: SnapshotPolicy,
    /// How voting resumes after data loss.
    pub catchup: CatchupPolicy,
    /// When a snapshot is fetched instead of the log.
    pub sync: SyncPolicy,
}

/// How voting resumes after data loss.
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CatchupPolicy {
    /// Views that must become final after those seen at first.
    pub views_margin: u64,
}

impl Default for CatchupPolicy {
    fn default() -> Self {
        Self { views_margin: 64 }
    }
}

/// What a node is started with.
pub struct NodeSetup {
    /// Makes the state machine.
    pub blueprint: Arc<dyn Blueprint>,
    /// Who this validator is.
    pub identity: Identity,
    /// Its data folder.
    pub files: Arc<dyn Files>,
    /// Its figures.
    pub tuning: Tuning,
    /// The runs of consensus.
    pub epochs: Epochs,
    /// What the threads do that check orders and keep the second machine.
    pub background: Yielding,
    /// Precedes the names of what consensus stores; empty unless several nodes share a storage.
    pub prefix: String,
}

/// Whether a thread leaves the cores to others that are ready to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Yielding {
    /// It is like any other. A simulation has one thread for everything.
    Never,
    /// Its niceness is raised, for good: consensus and execution run before it.
    Always,
}

/// By how much, of 19: a yielding thread still gets about a quarter of a core that is contended.
const NICENESS: i32 = 5;

impl Yielding {
    /// Applies to the thread that calls, until it ends.
    fn now(self) {
        if self == Self::Always
            && let Err(error) = rustix::process::nice(NICENESS)
        {
            tracing::debug!(%error, "a background thread keeps its priority");
        }
    }
}

/// Answers of peers about snapshots that may wait.
const HEARD_MAX: usize = 64;

/// The block at height 0 of a venue.
pub fn genesis_block(blueprint: &dyn Blueprint) -> Block {
    let root = blueprint.genesis().state_root();
    Block::genesis(blueprint.chain(), blueprint.genesis_time(), root)
}

/// Starts a node. The second value resolves with the reason when it stops; dropping the handle's
/// task aborts it as a crash would.
///
/// # Errors
/// When the data folder cannot be opened.
pub fn start<E, S, R, K, P>(
    context: E,
    setup: NodeSetup,
    transport: Transport<S, R, K, P>,
) -> Result<(NodeHandle, Handle<Stop>), Stop>
where
    E: Environment,
    S: Sender<PublicKey = PeerKey>,
    R: Receiver<PublicKey = PeerKey>,
    K: Blocker<PublicKey = PeerKey>,
    P: Provider<PublicKey = PeerKey>,
{
    let genesis = genesis_block(&*setup.blueprint);
    let tuning = setup.tuning;
    let shared = Arc::new(Shared::new(&genesis, tuning.pacing, tuning.mempool));
    let feed = (tuning.snapshots.every > 0).then(Arc::<Feed>::default);
    let executor = Executor::open(
        setup.blueprint.clone(),
        shared.clone(),
        setup.files.clone(),
        setup.identity.verifier(&shared.chain),
        feed.clone(),
    )?;
    shared
        .epoch
        .store(setup.epochs.current(), Ordering::Relaxed);
    let shadow = feed.map(|feed| {
        let (blueprint, files) = (setup.blueprint.clone(), setup.files.clone());
        let turn = Turn {
            index: usize::from(setup.identity.share.index),
            of: setup.identity.committee.len(),
        };
        Shadow::new(
            blueprint,
            shared.clone(),
            files,
            feed,
            tuning.snapshots,
            turn,
        )
    });
    let (intake, arrivals) = gossip::intake();
    let handle = NodeHandle {
        shared: shared.clone(),
        intake: intake.clone(),
        machine: executor.machine(),
        files: setup.files.clone(),
        exits: Arc::new(ExitArchive::new(setup.files.clone())),
    };
    let task = context.spawn(move |context| async move {
        start_gossip(
            &context,
            &setup,
            &shared,
            (intake, arrivals),
            transport.gossip,
        );
        let synced = sync_first(&context, &setup, &shared, transport.snapshots).await;
        let Beginning { floor, looked } = match synced {
            Ok(beginning) => beginning,
            Err(stop) => {
                shared.stop(stop.clone());
                shared.mempool().abandon();
                return stop;
            }
        };
        let (inbox, updates) = mpsc::unbounded_channel();
        let marshal = start_marshal(
            &context,
            shared.chain,
            MarshalSetup {
                identity: setup.identity.clone(),
                genesis: genesis.clone(),
                floor,
                backfill: transport.backfill,
                blocks: transport.blocks,
                blocker: transport.blocker.clone(),
                peers: transport.peers,
                fetch: Duration::from_millis(tuning.timeouts.fetch_ms),
                epochs: setup.epochs.clone(),
                prefix: setup.prefix.clone(),
            },
            Inbox { sender: inbox },
        )
        .await;
        let (replayed, ready) = oneshot::channel();
        context.child("pursuer").spawn({
            let (marshal, shared) = (marshal.clone(), shared.clone());
            let files = setup.files.clone();
            let stops = !looked;
            move |clock| pursue(clock, marshal, shared, stops.then_some(files), tuning)
        });
        if let Some(shadow) = shadow {
            let (context, yields) = (context.child("shadow").dedicated(), setup.background);
            context.spawn(move |_| async move {
                yields.now();
                shadow.run().await;
            });
        }
        let worker = context.child("executor").dedicated().spawn({
            let (marshal, shared) = (marshal.clone(), shared.clone());
            move |clock| run_executor(executor, marshal, (shared, clock), updates, replayed)
        });
        if ready.await.is_ok() {
            let simplex = SimplexParts {
                votes: transport.votes,
                certificates: transport.certificates,
                requests: transport.requests,
                blocker: transport.blocker,
            };
            let joined =
                join_consensus(&context, &setup, &shared, &genesis, simplex, marshal).await;
            if let Err(stop) = joined {
                shared.stop(stop);
            }
        }
        let stop = shared.stopped().await;
        let _ = worker.await; // It syncs its log before it ends.
        shared.mempool().abandon();
        stop
    });
    Ok((handle, task))
}

/// How a node begins.
struct Beginning {
    /// Where to start to fetch blocks, if that is not at genesis.
    floor: Option<Certificate>,
    /// Whether peers were asked for a snapshot, and had none that is nearer than the log.
    looked: bool,
}

/// Serves snapshots from now on, and fetches one if this node needs it.
async fn sync_first<E, S, R>(
    context: &E,
    setup: &NodeSetup,
    shared: &Arc<Shared>,
    (mut sender, receiver): (S, R),
) -> Result<Beginning, Stop>
where
    E: Environment,
    S: Sender<PublicKey = PeerKey>,
    R: Receiver<PublicKey = PeerKey>,
{
    let storage = |error: io::Error| Stop::Storage {
        context: "fetching a snapshot".to_owned(),
        error: error.to_string(),
    };
    let files = setup.files.clone();
    let (answers, mut heard) = mpsc::channel(HEARD_MAX);
    context.child("snapshots").dedicated().spawn({
        let (chain, files, sender) = (shared.chain, files.clone(), sender.clone());
        move |_| sync::serve(chain, files, sender, receiver, answers)
    });
    let height = shared.frontier().height;
    let is_new = catchup::is_fresh(&*files).map_err(storage)?;
    let looked = sync::wanted(&*files, height, is_new).map_err(storage)?;
    if looked {
        let task = sync::Fetch {
            blueprint: setup.blueprint.clone(),
            files: files.clone(),
            scheme: setup.identity.verifier(&shared.chain),
            peers: setup.identity.committee.len().saturating_sub(1),
            height,
            policy: setup.tuning.sync,
        };
        let fetched = tokio::select! {
            biased;
            stop = shared.stopped() => return Err(stop),
            fetched = sync::fetch(context, &task, &mut sender, &mut heard) => fetched,
        };
        if let Some(fetched) = fetched.map_err(storage)? {
            return Err(Stop::Synced {
                height: fetched.height,
                served_by: fetched
                    .served
                    .values()
                    .filter(|chunks| **chunks > 0)
                    .count(),
                liars: fetched.liars.iter().map(ToString::to_string).collect(),
            });
        }
    }
    let Some(base) = snapshot::base(&*files).map_err(storage)? else {
        return Ok(Beginning {
            floor: None,
            looked,
        });
    };
    let manifest = snapshot::manifest_at(&*files, shared.chain, base).map_err(storage)?;
    let scheme = setup.identity.verifier(&shared.chain);
    Ok(Beginning {
        floor: manifest.and_then(|manifest| manifest.floor(&scheme)),
        looked,
    })
}

fn start_gossip<E, S, R>(
    context: &E,
    setup: &NodeSetup,
    shared: &Arc<Shared>,
    (intake, lanes): (gossip::Intake, gossip::Lanes),
    (output, input): (S, R),
) where
    E: Environment,
    S: Sender<PublicKey = PeerKey>,
    R: Receiver<PublicKey = PeerKey>,
{
    let policy = setup.tuning.gossip;
    let lane = |name, lane, quiet_ms, yields: Yielding| {
        let (blueprint, shared, output) = (setup.blueprint.clone(), shared.clone(), output.clone());
        context
            .child(name)
            .dedicated()
            .spawn(move |clock| async move {
                yields.now();
                gossip::run_lane(clock, blueprint, shared, (policy, quiet_ms), lane, output).await;
            });
    };
    lane("ahead", lanes.ahead, policy.ahead_batch_ms, Yielding::Never);
    lane("orders", lanes.orders, policy.batch_ms, setup.background);
    context.child("listener").spawn({
        let shared = shared.clone();
        move |clock| gossip::run_listener(clock, shared, intake, input)
    });
    context.child("ticker").spawn({
        let shared = shared.clone();
        move |clock| gossip::run_ticker(clock, shared, policy, output)
    });
}

struct SimplexParts<S, R, K> {
    votes: (S, R),
    certificates: (S, R),
    requests: (S, R),
    blocker: K,
}

/// Starts voting if that is safe, else follows until it is. Returns when the node stops.
async fn join_consensus<E, S, R, K>(
    context: &E,
    setup: &NodeSetup,
    shared: &Arc<Shared>,
    genesis: &Block,
    parts: SimplexParts<S, R, K>,
    marshal: Marshal,
) -> Result<(), Stop>
where
    E: Environment,
    S: Sender<PublicKey = PeerKey>,
    R: Receiver<PublicKey = PeerKey>,
    K: Blocker<PublicKey = PeerKey>,
{
    let files = &*setup.files;
    let role = catchup::role(context, &setup.prefix, files).await?;
    let votes = matches!(role, Role::Vote(_));
    shared.voting.store(votes, Ordering::Relaxed);
    let (finalized, seen) = watch::channel(None);
    let simplex = start_simplex(
        context,
        shared.clone(),
        SimplexSetup {
            identity: setup.identity.clone(),
            role,
            genesis: genesis.digest(),
            votes: parts.votes,
            certificates: parts.certificates,
            requests: parts.requests,
            blocker: parts.blocker,
            timeouts: setup.tuning.timeouts,
            epochs: setup.epochs.clone(),
            prefix: setup.prefix.clone(),
        },
        marshal,
        finalized,
    );
    let margin = setup.tuning.catchup.views_margin;
    let follow = async {
        if !votes {
            catchup::wait_to_vote(context, &setup.prefix, shared, files, margin, seen).await?;
        }
        io::Result::Ok(())
    };
    let ended = async {
        let stop = shared.stopped();
        tokio::select! { biased; _ = stop => {}, _ = simplex => {} }
    };
    let ((), followed) = futures::join!(ended, async {
        tokio::select! { biased; result = follow => result, _ = shared.stopped() => Ok(()) }
    });
    followed.map_err(catchup::marker_error)
}

/// Receives finalized blocks from the library.
#[derive(Clone)]
struct Inbox {
    sender: mpsc::UnboundedSender<Update<Block>>,
}

impl Reporter for Inbox {
    type Activity = Update<Block>;

    fn report(&mut self, activity: Update<Block>) -> Feedback {
        match self.sender.send(activity) {
            Ok(()) => Feedback::Ok,
            Err(_) => Feedback::Closed,
        }
    }
}

/// Asks peers that are further for the certificate of their last block, while this node stands still.
///
/// A certificate that a crash or a partition swallowed comes with the next block's. When this node's
/// vote is needed for a next block, and that block's header speaks of a height that this node has not
/// executed, none comes: this node waits for the certificate, the others for its vote.
///
/// A node that f + 1 peers say is very far behind stops to fetch a snapshot, given its folder.
async fn pursue(
    clock: impl Clock,
    marshal: Marshal,
    shared: Arc<Shared>,
    folder: Option<Arc<dyn Files>>,
    tuning: Tuning,
) {
    let mut before = shared.frontier().height;
    loop {
        clock
            .sleep(Duration::from_millis(tuning.gossip.tip_ms))
            .await;
        let now = shared.frontier().height;
        let blocks = shared.blocks_behind(now);
        if blocks >= tuning.sync.behind_blocks
            && let Some(files) = &folder
        {
            let stop = match sync::want(&**files) {
                Ok(()) => Stop::Behind { blocks },
                Err(error) => Stop::Storage {
                    context: "writing the marker for a snapshot".to_owned(),
                    error: error.to_string(),
                },
            };
            return shared.stop(stop);
        }
        if now == before {
            for (peer, tip) in shared.peers_past(now) {
                if let Ok(peer) = PeerKey::decode(Bytes::copy_from_slice(&peer)) {
                    marshal.hint_finalized(BlockHeight::new(tip.get()), NonEmptyVec::new(peer));
                }
            }
        }
        before = now;
    }
}

async fn run_executor(
    mut executor: Executor,
    marshal: Marshal,
    (shared, clock): (Arc<Shared>, impl Clock),
    updates: mpsc::UnboundedReceiver<Update<Block>>,
    replayed: oneshot::Sender<()>,
) {
    let worked = async {
        replay(&mut executor, &marshal, &shared).await?;
        let _ = replayed.send(());
        follow(&mut executor, &marshal, (&shared, &clock), updates).await
    };
    let result = worked.await.and_then(|()| executor.sync());
    if let Err(stop) = result {
        tracing::error!(%stop, "stopping");
        shared.stop(stop);
    }
}

fn missing(height: u64) -> Stop {
    Stop::Missing {
        height: Height::new(height),
    }
}

/// Executes what was executed before the last stop but is not in the snapshot.
async fn replay(executor: &mut Executor, marshal: &Marshal, shared: &Shared) -> Result<(), Stop> {
    let processed = marshal
        .get_processed()
        .await
        .map_or(0, |at| at.height().get());
    let start = shared.frontier().height.get();
    let logged = executor.logged().map_or(0, |height| height.get());
    // A log shorter than the snapshot lost its tail in a crash: fill it up first.
    for height in logged + 1..=start {
        let Some(block) = marshal.get_block(BlockHeight::new(height)).await else {
            break;
        };
        let certificate = certificate(marshal, height).await;
        executor.log(block.inner(), &certificate)?;
    }
    executor.bridge()?;
    for height in start + 1..=processed {
        let block = marshal.get_block(BlockHeight::new(height)).await;
        let block = block.ok_or_else(|| missing(height))?;
        let certificate = certificate(marshal, height).await;
        executor.execute(block.inner(), &certificate)?;
    }
    executor.resume()?;
    let end = shared.frontier().height.get();
    if end > start {
        tracing::info!(from = start, to = end, "replayed finalized blocks");
    }
    Ok(())
}

async fn certificate(marshal: &Marshal, height: u64) -> Vec<u8> {
    let found = marshal.get_finalization(BlockHeight::new(height)).await;
    found
        .map(|certificate| certificate.encode().to_vec())
        .unwrap_or_default()
}

/// Executes a final block and follows how long that took since the block's own time.
fn perform(
    executor: &mut Executor,
    (shared, clock): (&Shared, &impl Clock),
    block: &Block,
    certificate: &[u8],
) -> Result<(), Stop> {
    executor.execute(block, certificate)?;
    let (venue, now) = (shared.pacing.clock, millis(clock.current()));
    let age = venue.venue(now).since(shared.frontier().time);
    let executed = Executed {
        commands: block.body().keys().len(),
        at: now,
        after_ms: venue.local_ms(age),
        storm: shared.storm.blows(now),
    };
    shared.window.executed(executed);
    let flow = shared.window.flow();
    shared.mempool().set_flow(flow);
    tracing::debug!(height = %block.header().height, ?executed, ?flow, "executed");
    Ok(())
}

/// Executes what is final: a block in vote here as soon as its certificate is seen, the rest when
/// consensus's store delivers it.
async fn follow(
    executor: &mut Executor,
    marshal: &Marshal,
    (shared, clock): (&Shared, &impl Clock),
    mut updates: mpsc::UnboundedReceiver<Update<Block>>,
) -> Result<(), Stop> {
    loop {
        let update = tokio::select! {
            biased;
            _ = shared.stopped() => return Ok(()),
            (block, certificate) = shared.finality.next(shared.frontier().digest) => {
                perform(executor, (shared, clock), &block, &certificate)?;
                continue;
            }
            update = updates.recv() => update,
        };
        match update {
            None => return Ok(()),
            Some(Update::Tip(_, height, _)) => {
                shared
                    .finalized_height
                    .fetch_max(height.get(), Ordering::Relaxed);
            }
            Some(Update::Block(block, ack)) => {
                // After a recovery the library hands over everything once more.
                if block.height().get() > shared.frontier().height.get() {
                    let certificate = certificate(marshal, block.height().get()).await;
                    perform(executor, (shared, clock), block.inner(), &certificate)?;
                }
                commonware_utils::Acknowledgement::acknowledge(ack);
            }
        }
    }
}

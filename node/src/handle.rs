//! What the rest of the process holds of a running node.
//!
//! **Owns** submission, the stream of applied blocks, read access to state, and status.

use std::any::Any;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLock};

use borsh::{BorshDeserialize, BorshSerialize};
use lifeboat_engine::types::{Digest, Height, Mode, TimeMs};
use lifeboat_engine::{Command, Engine};
use lifeboat_proof::exit::SavedProof;
use tokio::sync::{broadcast, oneshot, watch};

use crate::exits::ExitArchive;
use crate::files::Files;
use crate::gossip::{self, Intake};
use crate::journal::{Reader, Record};
use crate::machine::Machine;
use crate::outcome::{Answer, Outcome, Waiter};
use crate::shared::{AppliedBlock, Shared, Stop};

/// How a node is doing.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Status {
    /// The last executed height.
    pub height: Height,
    /// Its agreed time.
    pub time: TimeMs,
    /// The state root after it.
    pub root: Digest,
    /// The venue's mode.
    pub mode: Mode,
    /// It votes, is at the tip, and blocks come.
    pub ready: bool,
    /// It votes.
    pub voting: bool,
    /// The highest height known to be final.
    pub finalized_height: Height,
    /// The highest view known to be final.
    pub finalized_view: u64,
    /// The highest height known to be published outside the venue; 0 if blocks are not published.
    pub published: Height,
    /// Peers heard lately.
    pub peers: u32,
    /// Commands that wait.
    pub pending: u32,
    /// Consensus epoch.
    pub epoch: u64,
    /// The rules' version.
    pub engine_version: u32,
}

/// A peer counts as heard for this long.
const HEARD_MS: u64 = 2_000;
/// Blocks are said to come when the last one is at most this old.
const ALIVE_MS: u64 = 3_000;
/// At the tip means at most this far from it.
const TIP_LAG_MAX: u64 = 8;

/// A running node.
#[derive(Clone)]
pub struct NodeHandle {
    pub(crate) shared: Arc<Shared>,
    pub(crate) intake: Intake,
    pub(crate) machine: Arc<RwLock<Box<dyn Machine>>>,
    pub(crate) files: Arc<dyn Files>,
    pub(crate) exits: Arc<ExitArchive>,
}

impl std::fmt::Debug for NodeHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let frontier = self.shared.frontier();
        f.debug_struct("NodeHandle")
            .field("height", &frontier.height)
            .finish_non_exhaustive()
    }
}

impl NodeHandle {
    /// Submits a command and waits for its answer.
    pub async fn submit(&self, command: Command) -> Answer {
        let (sender, receiver) = oneshot::channel();
        self.submit_with(command, Waiter::Once(sender));
        receiver.await.unwrap_or(Answer::Unknown)
    }

    /// Submits a command; the answer goes to `waiter`, exactly once. False if it was shed: whoever sends
    /// so much should be read more slowly.
    pub fn submit_with(&self, command: Command, waiter: Waiter) -> bool {
        gossip::submit(&self.shared, &self.intake, command, waiter)
    }

    /// How full this node is of waiting orders: at 1 new ones are refused. Whoever serves market data
    /// sheds that first.
    pub fn pressure(&self) -> f64 {
        self.shared.mempool().pressure()
    }

    /// Commands refused for want of room since the node started.
    pub fn shed(&self) -> u64 {
        self.shared.shed.load(Ordering::Relaxed)
    }

    /// The outcome of a command executed lately, by the keccak256 of its encoding.
    pub fn outcome(&self, key: &Digest) -> Option<Arc<Outcome>> {
        self.shared.mempool().outcome(key)
    }

    /// Every block from now on, as it is applied. A receiver that falls 1 024 blocks behind misses
    /// some and is told so.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<AppliedBlock>> {
        self.shared.subscribe()
    }

    /// Reads the state between blocks; `None` if the machine is not an `M`. Keep it short: the next
    /// block waits.
    pub fn with_machine<M: Machine, R>(&self, read: impl FnOnce(&M) -> R) -> Option<R> {
        let machine = self.machine.read().unwrap_or_else(PoisonError::into_inner);
        let machine: &dyn Any = &**machine;
        machine.downcast_ref().map(read)
    }

    /// Reads the engine's state between blocks; `None` if this node runs another state machine.
    /// Keep it short: the next block waits.
    pub fn with_engine<R>(&self, read: impl FnOnce(&Engine) -> R) -> Option<R> {
        let machine = self.machine.read().unwrap_or_else(PoisonError::into_inner);
        machine.engine().map(read)
    }

    /// The checkpoints that this node keeps, and accounts' proofs under the newest.
    pub fn exits(&self) -> &ExitArchive {
        &self.exits
    }

    /// A withdrawal's saved proof; `None` when no checkpoint covers it yet, or there is none.
    ///
    /// # Errors
    /// When the disk fails or a file is damaged.
    pub fn withdrawal_proof(&self, number: u32) -> io::Result<Option<SavedProof>> {
        let withdrawals = self.with_engine(|engine| {
            let vault = engine.vaults().first();
            vault.map_or_else(Vec::new, |vault| vault.withdrawals().to_vec())
        });
        self.exits
            .withdrawal(&withdrawals.unwrap_or_default(), number)
    }

    /// How the node is doing at local time `now`.
    pub fn status(&self, now: TimeMs) -> Status {
        let shared = &self.shared;
        let frontier = shared.frontier();
        let finalized = shared.finalized_height.load(Ordering::Relaxed);
        let voting = shared.voting.load(Ordering::Relaxed);
        let at_tip = frontier.height.get() + TIP_LAG_MAX >= finalized;
        let clock = shared.pacing.clock;
        let alive = clock.local_ms(clock.venue(now).since(frontier.time)) <= ALIVE_MS;
        Status {
            height: frontier.height,
            time: frontier.time,
            root: frontier.root,
            mode: frontier.mode,
            ready: voting && at_tip && alive && shared.stopping().is_none(),
            voting,
            finalized_height: Height::new(finalized),
            finalized_view: shared.finalized_view.load(Ordering::Relaxed),
            published: *shared.published.borrow(),
            peers: shared.peers_since(TimeMs::new(now.get().saturating_sub(HEARD_MS))) as u32,
            pending: shared.mempool().len() as u32,
            epoch: shared.epoch.load(Ordering::Relaxed),
            engine_version: crate::sabotage::engine_version(),
        }
    }

    /// The last executed height.
    pub fn frontier_height(&self) -> Height {
        self.shared.frontier().height
    }

    /// A block executed lately, with its certificate; older ones are in the log.
    pub fn recent(&self, height: Height) -> Option<Record> {
        self.shared.recent(height)
    }

    /// Reads the log from the segment that holds `height` on, as far as it is written now.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn log_from(&self, height: Height) -> io::Result<Reader> {
        Reader::open(self.files.clone(), height)
    }

    /// The height up to which blocks are published outside the venue.
    pub fn published(&self) -> watch::Receiver<Height> {
        self.shared.published.subscribe()
    }

    /// Notes that everything up to `height` is published outside the venue.
    pub fn note_published(&self, height: Height) {
        self.shared.published.send_if_modified(|published| {
            let further = height > *published;
            *published = height.max(*published);
            further
        });
    }

    /// Asks the node to stop. Whoever still waits is told that the fate of the command is open.
    pub fn shutdown(&self) {
        self.shared.stop(Stop::Requested);
    }

    /// Resolves with the reason once the node stops.
    pub async fn stopped(&self) -> Stop {
        self.shared.stopped().await
    }
}

//! What a node's parts share.
//!
//! **Owns** the mempool, the frontier of executed blocks, recent roots, the stream of applied blocks
//! and the reason to stop. **Never** holds the state machine: only the executor writes that.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lifeboat_engine::types::{ChainId, Digest, Height, Mode, TimeMs};
use lifeboat_engine::{Applied, Event};
use tokio::sync::{Notify, broadcast, watch};

use crate::block::{Block, Body, Header};
use crate::exits::ExitBoard;
use crate::finality::Finality;
use crate::journal::Record;
use crate::mempool::{Mempool, MempoolLimits, Waiting};
use crate::signal::Signal;
use crate::window::{Storm, Window, WindowPolicy};

/// How far behind a block's height its header's executed height may be.
pub const ROOT_LAG_MAX: u64 = 1_024;
/// Roots of recent heights that are kept for comparison.
const ROOTS_KEPT: usize = 4_096;
/// Bytes of the newest logged blocks that are kept in memory for readers of the log.
const RECENT_BYTES_MAX: usize = 16 << 20;
/// Applied blocks that a slow subscriber may fall behind before it misses some.
const SUBSCRIBER_LAG_MAX: usize = 1_024;

/// The pace of blocks and the clock's tolerance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pacing {
    /// Least time between blocks while something waits that ranks ahead of orders.
    pub ahead_ms: u64,
    /// The same while more than `crowd` commands wait, unless they are a storm: then blocks are small.
    pub ahead_crowded_ms: u64,
    /// Least time between blocks while commands wait.
    pub busy_ms: u64,
    /// Least time between blocks while more than `crowd` commands wait: votes and certificates cost
    /// the same for a large block, so fewer of them leave room for orders. Under the leader timeout.
    pub crowded_ms: u64,
    /// Waiting commands from which on blocks are `crowded_ms` apart.
    pub crowd: usize,
    /// Time between blocks while none wait. Must be under the leader timeout.
    pub idle_ms: u64,
    /// How far a block's time may be ahead of the local clock.
    pub ahead_ms_max: u64,
    /// How block time follows the local clock.
    pub clock: VenueClock,
    /// How many orders a proposal carries when the venue is short of time.
    pub window: WindowPolicy,
    /// Most commands in a proposal; the engine's bound holds anyway.
    pub commands_max: usize,
    /// Most bytes of commands in a proposal; the engine's bound holds anyway.
    pub bytes_max: usize,
}

/// How block time follows the local clock. A venue that trades runs at the local clock's own time; a
/// replay of recorded markets runs at recorded time, faster than life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VenueClock {
    /// Local time, in ms since the epoch, at which block time is `venue_start_ms`.
    pub local_start_ms: u64,
    /// Block time at `local_start_ms`.
    pub venue_start_ms: u64,
    /// Milliseconds of block time that pass in one of local time; at least 1.
    pub speed: u32,
}

impl Default for VenueClock {
    fn default() -> Self {
        Self {
            local_start_ms: 0,
            venue_start_ms: 0,
            speed: 1,
        }
    }
}

impl VenueClock {
    /// Block time at a local time.
    pub fn venue(&self, local: TimeMs) -> TimeMs {
        let passed = local.get().saturating_sub(self.local_start_ms);
        let passed = passed.saturating_mul(u64::from(self.speed.max(1)));
        TimeMs::new(self.venue_start_ms.saturating_add(passed))
    }

    /// Local time at a block time; the start for those before it.
    pub fn local(&self, venue: TimeMs) -> TimeMs {
        let passed = venue.get().saturating_sub(self.venue_start_ms);
        TimeMs::new(self.local_start_ms.saturating_add(self.local_ms(passed)))
    }

    /// Local milliseconds in which so much block time passes.
    pub fn local_ms(&self, venue_ms: u64) -> u64 {
        venue_ms / u64::from(self.speed.max(1))
    }
}

impl Pacing {
    /// Milliseconds from the parent to the next block while this waits, in a storm or not.
    pub fn wait_ms(&self, waiting: Waiting, storm: bool) -> u64 {
        let crowded = waiting.commands > self.crowd;
        match (waiting.ahead, crowded) {
            _ if waiting.commands == 0 => self.idle_ms,
            (true, true) if !storm => self.ahead_crowded_ms.min(self.crowded_ms),
            (true, _) => self.ahead_ms.min(self.busy_ms),
            (false, true) => self.crowded_ms.max(self.busy_ms),
            (false, false) => self.busy_ms,
        }
    }
}

impl Default for Pacing {
    fn default() -> Self {
        Self {
            ahead_ms: 10,
            ahead_crowded_ms: 40,
            busy_ms: 50,
            crowded_ms: 100,
            crowd: 480,
            idle_ms: 100,
            ahead_ms_max: 500,
            clock: VenueClock::default(),
            window: WindowPolicy::default(),
            commands_max: 8_192,
            bytes_max: 2 << 20,
        }
    }
}

/// The last executed block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frontier {
    /// Its height.
    pub height: Height,
    /// Its agreed time.
    pub time: TimeMs,
    /// Its digest.
    pub digest: Digest,
    /// The state root after it.
    pub root: Digest,
    /// The venue's mode after it.
    pub mode: Mode,
}

/// An executed block with everything it caused.
#[derive(Debug)]
pub struct AppliedBlock {
    /// The header.
    pub header: Header,
    /// The commands.
    pub body: Arc<Body>,
    /// Every event, in order.
    pub events: Vec<Event>,
    /// What the engine reports.
    pub applied: Applied,
}

/// Why a node stops by itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stop {
    /// Somebody asked.
    #[error("the node was asked to stop; everything finalized is on disk")]
    Requested,
    /// A finalized block carries another root than this node computed.
    #[error(
        "this node's state differs from what the validators agreed on: after block {height} they have \
         root {agreed}, this node has {own}. It stopped so that it serves nothing wrong. Kept: all \
         finalized blocks, and snapshots up to block {kept}; later snapshots were set aside as \
         *.diverged. It is rebuilt from the kept snapshot once by itself; if it stops again at the same \
         height, do: compare binaries (`lifeboat verify`) or wipe the data folder to sync from peers"
    )]
    Diverged {
        /// After which block.
        height: Height,
        /// The agreed root.
        agreed: Digest,
        /// This node's root.
        own: Digest,
        /// Height of the newest snapshot that is still trusted.
        kept: Height,
    },
    /// A file could not be read or written.
    #[error(
        "{context}: {error}. Kept: everything finalized before it. Do: free or repair the disk and start again"
    )]
    Storage {
        /// What was being done.
        context: String,
        /// What the system said.
        error: String,
    },
    /// A finalized block is of rules that this program does not have.
    #[error(
        "block {height} is executed by engine version {needed}, and this program is of version {own}. It \
         stopped so that it executes nothing it does not understand. Kept: everything before that block. \
         Do: start the program of version {needed}"
    )]
    Version {
        /// The block.
        height: Height,
        /// The version it was agreed on with.
        needed: u32,
        /// This program's.
        own: u32,
    },
    /// The engine panics even without the commands of a block.
    #[error(
        "the engine cannot get past block {height} even with every command that breaks it skipped: \
         {cause}. Kept: the blocks and the last snapshot. Do: upgrade the binary and start again"
    )]
    Broken {
        /// The block.
        height: Height,
        /// The panic's message.
        cause: String,
    },
    /// The node followed long enough; it starts again and votes.
    #[error("caught up past every view this validator may have voted in; restarting to vote")]
    MayVote,
    /// A snapshot was fetched; the node starts again from it.
    #[error(
        "fetched the state after block {height} from {served_by} peers; restarting from it. Peers that \
         sent something else, and are asked for nothing more: {liars:?}"
    )]
    Synced {
        /// After which block.
        height: Height,
        /// How many peers served a part of it.
        served_by: usize,
        /// Network keys of peers whose snapshot did not verify.
        liars: Vec<String>,
    },
    /// A final block cannot be read from consensus's store.
    #[error("final block {height} cannot be read from consensus's store of blocks")]
    Missing {
        /// Which.
        height: Height,
    },
    /// Consensus's store of final blocks was damaged; it was set aside.
    #[error(
        "{cause}. The store of final blocks is damaged: it was set aside as {aside}; restarting to fetch \
         the blocks from peers. Kept: the block log, the snapshots and the votes. Do: check the disk"
    )]
    Repaired {
        /// What went wrong.
        cause: String,
        /// Where the damaged store is.
        aside: String,
    },
    /// The votes in the data folder are of an earlier build.
    #[error(
        "the votes in this data folder are in the format of an earlier build, and a validator that cannot read \
         its votes might vote twice. Kept: everything. Do: stop all validators, then rebuild each from the \
         blocks: `lifeboat recover --new-epoch`"
    )]
    OldVotes,
    /// Peers are so far ahead that their snapshot is nearer than the log.
    #[error("{blocks} blocks behind the other validators; restarting to fetch a snapshot")]
    Behind {
        /// How many.
        blocks: u64,
    },
    /// A finalized block does not extend the last one: storage or code is broken.
    #[error(
        "block {height} does not extend the block before it. Kept: everything. Do: run `lifeboat verify` on the data folder"
    )]
    Unchained {
        /// The block.
        height: Height,
    },
}

impl Stop {
    /// Whether the node is only to be started again.
    pub fn starts_again(&self) -> bool {
        matches!(
            self,
            Self::MayVote | Self::Synced { .. } | Self::Behind { .. } | Self::Repaired { .. }
        )
    }
}

/// What was last heard of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerTip {
    /// Its executed height.
    pub height: Height,
    /// When it was heard, by the local clock.
    pub heard: TimeMs,
}

/// The newest logged blocks, bounded by their bytes.
#[derive(Debug, Default)]
struct Recent {
    records: VecDeque<Record>,
    bytes: usize,
}

impl Recent {
    fn push(&mut self, record: Record) {
        self.bytes += record.size();
        self.records.push_back(record);
        while self.bytes > RECENT_BYTES_MAX
            && let Some(old) = self.records.pop_front()
        {
            self.bytes -= old.size();
        }
    }

    fn get(&self, height: Height) -> Option<&Record> {
        let first = self.records.front()?.block.header().height.get();
        let place = height.get().checked_sub(first)?;
        self.records.get(usize::try_from(place).ok()?)
    }
}

/// State shared by a node's tasks.
#[derive(Debug)]
pub struct Shared {
    /// Which venue.
    pub chain: ChainId,
    /// The pace of blocks.
    pub pacing: Pacing,
    /// How many orders this node's next proposal may carry.
    pub window: Window,
    /// Whether more is offered here than can even be refused.
    pub storm: Storm,
    /// Blocks in vote, and what makes them final.
    pub finality: Finality,
    /// The run of consensus this node takes part in.
    pub epoch: AtomicU64,
    /// Whether this node votes.
    pub voting: AtomicBool,
    /// The highest view seen finalized.
    pub finalized_view: AtomicU64,
    /// The highest height seen finalized, executed here or not.
    pub finalized_height: AtomicU64,
    /// The highest height known to be published outside the venue.
    pub published: watch::Sender<Height>,
    /// Commands refused for want of room since the node started.
    pub shed: AtomicU64,
    /// When exits are due, and their roots.
    pub exits: ExitBoard,
    /// Wakes a proposer when commands arrive.
    pub arrived: Notify,
    mempool: Mutex<Mempool>,
    frontier: Signal<Frontier>,
    roots: Mutex<VecDeque<(Height, Digest)>>,
    recent: Mutex<Recent>,
    blocks: broadcast::Sender<Arc<AppliedBlock>>,
    peers: Mutex<BTreeMap<[u8; 32], PeerTip>>,
    stop: Signal<Option<Stop>>,
}

/// Locks whatever a panicking thread may have left: every critical section here leaves its data
/// whole, so the poison mark carries no news.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The local clock in milliseconds.
pub fn millis(now: SystemTime) -> TimeMs {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    TimeMs::new(since.as_millis() as u64)
}

impl Shared {
    /// A node at `genesis` with nothing executed.
    pub fn new(genesis: &Block, pacing: Pacing, limits: MempoolLimits) -> Self {
        let header = genesis.header();
        let frontier = Frontier {
            height: header.height,
            time: header.time,
            digest: header.digest(),
            root: header.state_root,
            mode: Mode::Open,
        };
        Self {
            chain: header.chain,
            pacing,
            window: Window::new(pacing.window, pacing.commands_max),
            storm: Storm::default(),
            finality: Finality::default(),
            epoch: AtomicU64::new(0),
            voting: AtomicBool::new(false),
            finalized_view: AtomicU64::new(0),
            finalized_height: AtomicU64::new(0),
            published: watch::Sender::new(Height::new(0)),
            shed: AtomicU64::new(0),
            exits: ExitBoard::default(),
            arrived: Notify::new(),
            mempool: Mutex::new(Mempool::new(limits)),
            roots: Mutex::new(VecDeque::from([(frontier.height, frontier.root)])),
            frontier: Signal::new(frontier),
            recent: Mutex::default(),
            blocks: broadcast::Sender::new(SUBSCRIBER_LAG_MAX),
            peers: Mutex::new(BTreeMap::new()),
            stop: Signal::new(None),
        }
    }

    /// The mempool.
    pub fn mempool(&self) -> MutexGuard<'_, Mempool> {
        lock(&self.mempool)
    }

    /// The last executed block.
    pub fn frontier(&self) -> Frontier {
        self.frontier.get()
    }

    /// Resolves once `height` is executed.
    pub async fn executed(&self, height: Height) {
        self.frontier.wait_for(|at| at.height >= height).await;
    }

    /// Replaces the frontier and the recent roots: a snapshot was loaded.
    pub fn restart_at(
        &self,
        frontier: Frontier,
        roots: impl IntoIterator<Item = (Height, Digest)>,
    ) {
        *lock(&self.roots) = roots.into_iter().collect();
        self.frontier.update(|at| *at = frontier);
    }

    /// Moves the frontier to the next executed block.
    pub fn advance(&self, frontier: Frontier) {
        {
            let mut roots = lock(&self.roots);
            roots.push_back((frontier.height, frontier.root));
            if roots.len() > ROOTS_KEPT {
                roots.pop_front();
            }
        }
        self.finalized_height
            .fetch_max(frontier.height.get(), Ordering::Relaxed);
        self.frontier.update(|at| *at = frontier);
    }

    /// This node's root after `height`, if it is recent.
    pub fn root_at(&self, height: Height) -> Option<Digest> {
        let roots = lock(&self.roots);
        let first = roots.front()?.0.get();
        let position = height.get().checked_sub(first)?;
        roots.get(position as usize).map(|(_, root)| *root)
    }

    /// The roots of the last `ROOT_LAG_MAX` executed heights, ascending.
    pub fn recent_roots(&self) -> Vec<(Height, Digest)> {
        let roots = lock(&self.roots);
        let skip = roots.len().saturating_sub(ROOT_LAG_MAX as usize + 1);
        roots.iter().skip(skip).copied().collect()
    }

    /// Keeps a logged block for those who read the log as it grows.
    pub fn logged(&self, record: Record) {
        lock(&self.recent).push(record);
    }

    /// A block logged lately.
    pub fn recent(&self, height: Height) -> Option<Record> {
        lock(&self.recent).get(height).cloned()
    }

    /// Every block from now on, as it is applied.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<AppliedBlock>> {
        self.blocks.subscribe()
    }

    /// Tells subscribers of an applied block.
    pub fn publish(&self, block: Arc<AppliedBlock>) {
        let _ = self.blocks.send(block); // Nobody listening is no error.
    }

    /// Notes what a peer said about itself.
    pub fn heard(&self, peer: [u8; 32], tip: PeerTip) {
        self.finalized_height
            .fetch_max(tip.height.get(), Ordering::Relaxed);
        lock(&self.peers).insert(peer, tip);
    }

    /// Peers that said they are past `height`, and how far they are.
    pub fn peers_past(&self, height: Height) -> Vec<([u8; 32], Height)> {
        let peers = lock(&self.peers);
        let past = peers.iter().filter(|(_, tip)| tip.height > height);
        past.map(|(peer, tip)| (*peer, tip.height)).collect()
    }

    /// How far f + 1 peers say that they are past `height`.
    pub fn blocks_behind(&self, height: Height) -> u64 {
        let peers = lock(&self.peers);
        let mut tips: Vec<u64> = peers.values().map(|tip| tip.height.get()).collect();
        tips.sort_unstable_by(|left, right| right.cmp(left));
        // n - 1 peers of n = 3f + 1 validators: f of them may say anything.
        let honest = tips.get(tips.len() / 3).copied().unwrap_or(0);
        honest.saturating_sub(height.get())
    }

    /// Peers heard since `since`.
    pub fn peers_since(&self, since: TimeMs) -> usize {
        let peers = lock(&self.peers);
        peers.values().filter(|tip| tip.heard >= since).count()
    }

    /// Asks the node to stop; the first reason stays.
    pub fn stop(&self, reason: Stop) {
        self.stop.update(|held| {
            held.get_or_insert(reason);
        });
    }

    /// The reason to stop, if there is one.
    pub fn stopping(&self) -> Option<Stop> {
        self.stop.get()
    }

    /// Resolves with the reason to stop.
    pub async fn stopped(&self) -> Stop {
        let reason = self.stop.wait_for(Option::is_some).await;
        reason.unwrap_or(Stop::Requested)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replay_clock_runs_faster_from_its_start() {
        let clock = VenueClock {
            local_start_ms: 1_000,
            venue_start_ms: 50_000,
            speed: 60,
        };
        assert_eq!(clock.venue(TimeMs::new(1_000)), TimeMs::new(50_000));
        assert_eq!(clock.venue(TimeMs::new(2_000)), TimeMs::new(110_000));
        assert_eq!(clock.local_ms(60_000), 1_000);
        assert_eq!(clock.local(TimeMs::new(110_000)), TimeMs::new(2_000));
        assert_eq!(clock.local(TimeMs::new(10_000)), TimeMs::new(1_000));
        assert_eq!(VenueClock::default().venue(TimeMs::new(7)), TimeMs::new(7));
    }
}

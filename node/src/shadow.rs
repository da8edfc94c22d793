//! A second state machine that takes the snapshots and works out the exits, so that trading never
//! waits for either.
//!
//! **Owns** a machine of its own, a little behind the executor's: it applies a block once a finalized
//! header has stated the root after it, so every state it ever holds is one that the validators
//! certified, and a snapshot carries that proof. While it writes, blocks queue up; what the queue
//! cannot hold is read back from the block log. **Never** answers anybody and never votes. It costs a
//! second copy of the state in memory and the engine's own time once more; in return the pause is
//! none, and every block is replayed once more on every validator, all the time.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use lifeboat_engine::Block as EngineBlock;
use lifeboat_engine::types::{Digest, Height};
use tokio::sync::Notify;

use crate::block::Header;
use crate::executor::SnapshotPolicy;
use crate::exits;
use crate::files::Files;
use crate::journal;
use crate::machine::{Blueprint, Machine};
use crate::quarantine::Quarantine;
use crate::shared::{Frontier, ROOT_LAG_MAX, Shared, lock};
use crate::snapshot::{self, Certified, HEADERS_MAX, Manifest};

/// Blocks that wait for the shadow at most; those before are read from the log when it comes to them.
const QUEUE_MAX: usize = 512;

/// Blocks over which validators take turns, at most twice: fewer than the queue holds.
const TURN_SPAN_MAX: u64 = QUEUE_MAX as u64;

/// Blocks between two comparisons of the state roots. The root is over the whole state, so a
/// comparison answers for all blocks since the last.
const COMPARE_EVERY: u64 = 16;

/// When a validator does what is heavy: one after the other, so that most of them are never at it.
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    /// Its place among them.
    pub index: usize,
    /// How many there are.
    pub of: usize,
}

impl Turn {
    /// How much later than the first this one begins, the last of them within half of `span` blocks.
    fn after(self, span: u64) -> u64 {
        let all = span.min(TURN_SPAN_MAX) as usize / 2 * self.index;
        all.checked_div(self.of).unwrap_or(0) as u64
    }
}

/// A block that the executor has applied.
#[derive(Debug)]
pub struct Fed {
    /// Its header.
    pub header: Header,
    /// Its certificate, encoded; empty if it is final through a descendant.
    pub certificate: Bytes,
    /// As the engine took it; signatures are checked.
    pub block: EngineBlock,
    /// Its places that are quarantined.
    pub quarantined: Vec<u32>,
    /// What it came to.
    pub after: Frontier,
}

/// Where the executor leaves blocks for the shadow.
#[derive(Debug, Default)]
pub struct Feed {
    queue: Mutex<VecDeque<Fed>>,
    arrived: Notify,
}

impl Feed {
    /// Leaves a block; never waits.
    pub fn push(&self, fed: Fed) {
        {
            let mut queue = lock(&self.queue);
            if queue.len() >= QUEUE_MAX {
                queue.pop_front();
            }
            queue.push_back(fed);
        }
        self.arrived.notify_one();
    }

    async fn pop(&self) -> Fed {
        loop {
            let arrived = self.arrived.notified();
            if let Some(fed) = lock(&self.queue).pop_front() {
                return fed;
            }
            arrived.await;
        }
    }
}

/// Why the shadow cannot go on. The node does, without snapshots, and says so.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("the disk failed: {0}")]
    Io(#[from] io::Error),
    #[error("the block log cannot be read back: {0}")]
    Log(#[from] journal::JournalError),
    #[error("the block log lacks block {0}")]
    Missing(Height),
    #[error("after block {height} the second machine has root {found}, the first had {expected}")]
    Differs {
        height: Height,
        expected: Digest,
        found: Digest,
    },
    #[error("the second machine panicked on block {0}")]
    Panicked(Height),
}

/// The second machine.
pub struct Shadow {
    blueprint: Arc<dyn Blueprint>,
    shared: Arc<Shared>,
    files: Arc<dyn Files>,
    feed: Arc<Feed>,
    policy: SnapshotPolicy,
    turn: Turn,
    frontier: Frontier,
    roots: VecDeque<(Height, Digest)>,
    /// Applied by the executor, not yet certified.
    ahead: VecDeque<Fed>,
    /// Height of the last snapshot.
    taken: Height,
    /// The newest certificate at or below the frontier.
    floor: Bytes,
    /// The state is held here until a certificate covers the header that states its root.
    holding: bool,
    /// That certificate and the headers that it covers, kept until it is this validator's turn.
    proof: Option<Certified>,
    /// The exits of the state are due, and worked out when it is this validator's turn.
    exits_due: bool,
}

impl Shadow {
    /// A second machine that will start where the executor's does now.
    pub fn new(
        blueprint: Arc<dyn Blueprint>,
        shared: Arc<Shared>,
        files: Arc<dyn Files>,
        feed: Arc<Feed>,
        policy: SnapshotPolicy,
        turn: Turn,
    ) -> Self {
        let frontier = shared.frontier();
        Self {
            roots: shared.recent_roots().into(),
            blueprint,
            shared,
            files,
            feed,
            policy,
            turn,
            frontier,
            ahead: VecDeque::new(),
            taken: frontier.height,
            floor: Bytes::new(),
            holding: false,
            proof: None,
            exits_due: false,
        }
    }

    /// Follows the executor until the node stops.
    pub async fn run(mut self) {
        let (shared, feed) = (self.shared.clone(), self.feed.clone());
        let mut machine = match self.start() {
            Ok(machine) => machine,
            Err(fault) => return self.give_up(&fault),
        };
        let at = self.frontier.height;
        if self.shared.exits.is_due(at)
            && self.shared.exits.root_at(at).is_none()
            && let Err(fault) = self.work_out_exits(&mut *machine)
        {
            return self.give_up(&fault);
        }
        loop {
            let fed = tokio::select! {
                biased;
                _ = shared.stopped() => return,
                fed = feed.pop() => fed,
            };
            if let Err(fault) = self.follow(&mut *machine, fed) {
                return self.give_up(&fault);
            }
        }
    }

    fn give_up(&self, fault: &Fault) {
        tracing::error!(%fault, height = %self.frontier.height,
            "no more snapshots are taken and no exits worked out until this node is started again");
    }

    /// The state that the executor started from.
    fn start(&mut self) -> Result<Box<dyn Machine>, Fault> {
        let height = self.frontier.height;
        if height.get() == 0 {
            return Ok(self.blueprint.genesis());
        }
        let restore = |manifest: &Manifest, state: &mut dyn Read| {
            let restored = self.blueprint.restore(state);
            let machine = restored.map_err(|error| error.to_string())?;
            let whole = manifest.frontier().height == height;
            whole
                .then_some(machine)
                .ok_or_else(|| "it is of another height".to_owned())
        };
        let found = snapshot::load(&*self.files, self.shared.chain, height.get(), restore)?;
        let (manifest, machine) = found.ok_or(Fault::Missing(height))?;
        if let Some(certified) = manifest.certified {
            self.floor = certified.floor.into();
        }
        Ok(machine)
    }

    /// Takes a block in, applies what its header certifies, works out exits and takes a snapshot if
    /// they are due and it is this validator's turn.
    fn follow(&mut self, machine: &mut dyn Machine, fed: Fed) -> Result<(), Fault> {
        if fed.after.height <= self.frontier.height {
            return Ok(());
        }
        let (certified, certificate) = (fed.header.executed, fed.certificate.clone());
        let newest = fed.after.height.get();
        self.ahead.push_back(fed);
        if self.exits_due && !self.is_turn(newest, self.shared.exits.lag()) {
            return Ok(());
        }
        if std::mem::take(&mut self.exits_due) {
            self.work_out_exits(machine)?;
        }
        if !self.holding {
            while self.frontier.height < certified && !self.exits_due {
                self.step(machine, certified)?;
            }
            let stated = self.frontier.height == certified && !self.exits_due;
            self.holding = stated && self.is_due() && self.next_is_queued();
        }
        if self.holding && self.proof.is_none() {
            if certificate.is_empty() {
                self.holding &= self.ahead.len() < HEADERS_MAX;
                return Ok(());
            }
            self.compare(machine)?;
            let headers = self.ahead.iter().map(|fed| fed.header.encode().to_vec());
            self.proof = Some(Certified {
                headers: headers.collect(),
                certificate: certificate.to_vec(),
                floor: self.floor.to_vec(),
            });
        }
        if self.is_turn(newest, self.policy.every)
            && let Some(proof) = self.proof.take()
        {
            self.snapshot(machine, proof)?;
            self.holding = false;
        }
        Ok(())
    }

    /// Whether it is this validator's turn at what is due in the state, of which the others take
    /// theirs within half of `span` blocks.
    fn is_turn(&self, newest: u64, span: u64) -> bool {
        newest >= self.frontier.height.get() + self.turn.after(span)
    }

    /// Whether the headers that follow the state are at hand.
    fn next_is_queued(&self) -> bool {
        let next = self.ahead.front().map(|fed| fed.after.height);
        next == Some(self.frontier.height.next()) && self.ahead.len() <= HEADERS_MAX
    }

    fn is_due(&self) -> bool {
        let every = self.policy.every;
        let round = |height: Height| height.get().checked_div(every);
        round(self.frontier.height) > round(self.taken)
    }

    fn step(&mut self, machine: &mut dyn Machine, certified: Height) -> Result<(), Fault> {
        let next = self.frontier.height.next();
        match self.ahead.front() {
            Some(fed) if fed.after.height == next => {
                if let Some(fed) = self.ahead.pop_front() {
                    let (digest, root) = (fed.after.digest, Some(fed.after.root));
                    self.apply(machine, &fed.block, digest, &fed.quarantined, root)?;
                    self.pass(fed.certificate);
                }
                Ok(())
            }
            _ => self.read_back(machine, certified),
        }
    }

    /// Applies the blocks that the queue could not hold, from the log, up to `certified` at most.
    fn read_back(&mut self, machine: &mut dyn Machine, certified: Height) -> Result<(), Fault> {
        let queued = self.ahead.front().map(|fed| fed.after.height);
        let until = certified
            .next()
            .min(queued.unwrap_or(Height::new(u64::MAX)));
        let quarantine = Quarantine::load(&*self.files)?;
        let reader = journal::Reader::open(self.files.clone(), self.frontier.height.next())?;
        for record in reader {
            let record = record?;
            let header = record.block.header();
            if header.height <= self.frontier.height {
                continue;
            }
            if header.height >= until {
                break;
            }
            let commands = record.block.body().commands().to_vec();
            let block = record.block.for_engine(self.blueprint.check(commands));
            let quarantined: Vec<u32> = quarantine.of(header.height).collect();
            let root = self.shared.root_at(header.height);
            self.apply(machine, &block, header.digest(), &quarantined, root)?;
            self.pass(record.certificate.clone());
            if std::mem::take(&mut self.exits_due) {
                self.work_out_exits(machine)?;
            }
        }
        let next = self.frontier.height.next();
        if next < until {
            return Err(Fault::Missing(next));
        }
        Ok(())
    }

    fn apply(
        &mut self,
        machine: &mut dyn Machine,
        block: &EngineBlock,
        digest: Digest,
        quarantined: &[u32],
        expected: Option<Digest>,
    ) -> Result<(), Fault> {
        let height = block.height;
        for index in quarantined {
            machine.quarantine(height, *index);
        }
        let run = AssertUnwindSafe(|| machine.advance(block, &mut Vec::new()));
        let advanced = catch_unwind(run).map_err(|_| Fault::Panicked(height))?;
        let root = expected.unwrap_or_else(|| machine.commit());
        self.frontier = Frontier {
            height,
            time: advanced.time,
            digest,
            root,
            mode: advanced.mode,
        };
        self.roots.push_back((height, root));
        if self.roots.len() > ROOT_LAG_MAX as usize + 1 {
            self.roots.pop_front();
        }
        if self.shared.exits.is_due(height) {
            self.exits_due = true;
        } else if height.get().is_multiple_of(COMPARE_EVERY) {
            self.compare(machine)?;
        }
        Ok(())
    }

    /// Works out the exits of the state as it is, once it is known to be the executor's.
    fn work_out_exits(&self, machine: &mut dyn Machine) -> Result<(), Fault> {
        self.compare(machine)?;
        if let Some(checkpoint) = machine.exits() {
            self.shared.exits.note(checkpoint.height, checkpoint.root());
            exits::save(&*self.files, &checkpoint)?;
        }
        Ok(())
    }

    /// Notes the certificate of the block that was applied last.
    fn pass(&mut self, certificate: Bytes) {
        if !certificate.is_empty() {
            self.floor = certificate;
        }
    }

    /// Compares this machine's root with the executor's.
    fn compare(&self, machine: &mut dyn Machine) -> Result<(), Fault> {
        let (height, expected) = (self.frontier.height, self.frontier.root);
        let found = machine.commit();
        if found != expected {
            return Err(Fault::Differs {
                height,
                expected,
                found,
            });
        }
        Ok(())
    }

    fn snapshot(&mut self, machine: &dyn Machine, certified: Certified) -> Result<(), Fault> {
        let height = self.frontier.height;
        let mut writer = snapshot::Writer::begin(&*self.files, height)?;
        machine.write_snapshot(&mut writer)?;
        let roots = self.roots.iter().copied().collect();
        writer.finish(self.shared.chain, self.frontier, roots, Some(certified))?;
        self.taken = height;
        Ok(())
    }
}

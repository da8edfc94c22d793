//! Executes finalized blocks, each exactly once and in height order (I3), and keeps what a restart
//! needs.
//!
//! **Owns** the state machine, the block log and the quarantine. Order of work for a block: compare
//! the root its header carries with this node's own (I2), apply, log, answer, pass it to the shadow
//! that takes snapshots, acknowledge. **Never** answers anybody before the block is final and applied.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use lifeboat_engine::types::{Digest, Height};
use lifeboat_engine::{Applied, Block as EngineBlock, CheckedCommand, Event};

use crate::block::{Block, Header};
use crate::consensus::{Scheme, outward};
use crate::exits;
use crate::files::Files;
use crate::journal::{Reader, Record, Writer};
use crate::machine::{Blueprint, Machine};
use crate::outcome::{OUTCOME_EVENTS_MAX, Outcome, Span, Verdict, spans};
use crate::quarantine::{Quarantine, find_guilty, panic_message};
use crate::sabotage::{self, Mutant};
use crate::shadow::{Fed, Feed};
use crate::shared::{AppliedBlock, Frontier, Shared, Stop};
use crate::snapshot::{self, Manifest};

/// When snapshots are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SnapshotPolicy {
    /// Blocks between snapshots; 0 takes none, and keeps no second machine.
    pub every: u64,
}

impl Default for SnapshotPolicy {
    fn default() -> Self {
        Self { every: 500 }
    }
}

/// Applies blocks to the state machine.
pub struct Executor {
    blueprint: Arc<dyn Blueprint>,
    machine: Arc<RwLock<Box<dyn Machine>>>,
    shared: Arc<Shared>,
    files: Arc<dyn Files>,
    scheme: Scheme,
    journal: Writer,
    quarantine: Quarantine,
    feed: Option<Arc<Feed>>,
    /// The last checkpoint whose certified header was kept.
    certified_exits: Height,
}

fn storage(context: &str) -> impl FnOnce(io::Error) -> Stop + '_ {
    move |error| Stop::Storage {
        context: context.to_owned(),
        error: error.to_string(),
    }
}

impl Executor {
    /// Opens the data folder: the newest snapshot that verifies, or genesis.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn open(
        blueprint: Arc<dyn Blueprint>,
        shared: Arc<Shared>,
        files: Arc<dyn Files>,
        scheme: Scheme,
        feed: Option<Arc<Feed>>,
    ) -> Result<Self, Stop> {
        let quarantine =
            Quarantine::load(&*files).map_err(storage("reading the quarantine list"))?;
        let journal = Writer::open(files.clone()).map_err(storage("opening the block log"))?;
        let found = load_snapshot(&*blueprint, &*files, u64::MAX)?;
        let machine = match found {
            Some((snapshot, machine)) => {
                shared.restart_at(snapshot.frontier(), snapshot.roots);
                machine
            }
            None => blueprint.genesis(),
        };
        shared.exits.set_rule(blueprint.exits());
        let exits = exits::kept(&*files, shared.frontier().height);
        for (height, root) in exits.map_err(storage("reading the last exits"))? {
            shared.exits.note(height, root);
        }
        Ok(Self {
            machine: Arc::new(RwLock::new(machine)),
            blueprint,
            shared,
            files,
            scheme,
            journal,
            quarantine,
            feed,
            certified_exits: Height::new(0),
        })
    }

    /// The state machine, for readers.
    pub fn machine(&self) -> Arc<RwLock<Box<dyn Machine>>> {
        self.machine.clone()
    }

    /// The last block in the log.
    pub fn logged(&self) -> Option<Height> {
        self.journal.last()
    }

    /// Logs a block that a snapshot already covers.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn log(&mut self, block: &Block, certificate: &[u8]) -> Result<(), Stop> {
        let appended = self.journal.append(block, certificate);
        appended.map_err(storage("writing the block log"))
    }

    /// Begins the log anew behind the state if it ends before it: a snapshot was fetched from peers
    /// and nobody here has the blocks between.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn bridge(&mut self) -> Result<(), Stop> {
        let state = self.shared.frontier().height;
        match self.journal.last() {
            Some(last) if last < state => {
                tracing::warn!(%last, %state, "set aside a block log that ends before the state");
                let aside = self.journal.set_aside();
                aside.map_err(storage("setting the block log aside"))
            }
            _ => Ok(()),
        }
    }

    /// Executes what the log holds beyond the state: blocks that were executed at their certificate, before
    /// consensus had stored them. What the log cannot give is left to consensus's store.
    ///
    /// # Errors
    /// The reason to stop the node.
    pub fn resume(&mut self) -> Result<(), Stop> {
        let from = self.shared.frontier().height.next();
        if self.journal.last() < Some(from) {
            return Ok(());
        }
        let reader = Reader::open(self.files.clone(), from);
        for record in reader.map_err(storage("reading the block log"))?.flatten() {
            let (header, at) = (record.block.header(), self.shared.frontier());
            if header.height == at.height.next() && header.parent == at.digest {
                self.execute(&record.block, &record.certificate)?;
            }
        }
        Ok(())
    }

    /// Executes the next block. One already executed is left alone.
    ///
    /// # Errors
    /// The reason to stop the node.
    pub fn execute(&mut self, block: &Block, certificate: &[u8]) -> Result<(), Stop> {
        let header = block.header();
        let before = self.shared.frontier();
        if header.height <= before.height {
            return Ok(());
        }
        if header.height != before.height.next() || header.parent != before.digest {
            return Err(Stop::Unchained {
                height: header.height,
            });
        }
        let own = sabotage::engine_version();
        if header.engine_version != own {
            return Err(Stop::Version {
                height: header.height,
                needed: header.engine_version,
                own,
            });
        }
        self.compare_root(header.executed, header.state_root)?;
        self.compare_exits(header)?;
        let engine_block = self.engine_block(block);
        let mut events = Vec::with_capacity(engine_block.commands.len() * 2);
        let applied = self.apply(&engine_block, &mut events)?;
        self.log(block, certificate)?;
        let certificate = Bytes::copy_from_slice(certificate);
        self.keep_certified(header, &certificate)?;
        self.shared.logged(Record {
            block: block.clone(),
            certificate: certificate.clone(),
        });
        let after = Frontier {
            height: header.height,
            time: applied.time,
            digest: header.digest(),
            root: applied.state_root,
            mode: applied.mode,
        };
        self.shared.advance(after);
        if self.feed.is_none() && self.shared.exits.is_due(after.height) {
            self.work_out_exits()?;
        }
        self.settle(block, &events, &applied);
        self.shared.publish(Arc::new(AppliedBlock {
            header: header.clone(),
            body: block.body().clone(),
            events,
            applied,
        }));
        if let Some(feed) = &self.feed {
            feed.push(Fed {
                header: header.clone(),
                certificate,
                quarantined: self.quarantine.of(header.height).collect(),
                block: engine_block,
                after,
            });
        }
        Ok(())
    }

    /// Makes the log durable; call before stopping.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn sync(&self) -> Result<(), Stop> {
        self.journal
            .sync()
            .map_err(storage("syncing the block log"))
    }

    /// Works the exits out in line, where there is no second machine to do it.
    fn work_out_exits(&self) -> Result<(), Stop> {
        let machine = self.machine.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(checkpoint) = machine.exits() {
            self.shared.exits.note(checkpoint.height, checkpoint.root());
            let saved = exits::save(&*self.files, &checkpoint);
            saved.map_err(storage("keeping the exits"))?;
        }
        Ok(())
    }

    /// The exits that a final header carries are this node's own, as far as it has worked them out.
    fn compare_exits(&self, header: &Header) -> Result<(), Stop> {
        let height = self.shared.exits.height_for(header.executed);
        match self.shared.exits.root_at(height) {
            Some(own) if own != header.exit_root => {
                let kept = snapshot::distrust(&*self.files, height)
                    .map_err(storage("setting snapshots aside"))?;
                Err(Stop::Diverged {
                    height,
                    agreed: header.exit_root,
                    own,
                    kept,
                })
            }
            _ => Ok(()),
        }
    }

    /// Keeps the first header that carries a checkpoint that this node has, and that everybody outside can be
    /// shown a certificate of.
    fn keep_certified(&mut self, header: &Header, certificate: &Bytes) -> Result<(), Stop> {
        let height = self.shared.exits.height_for(header.executed);
        let new = height > self.certified_exits && !certificate.is_empty();
        if new
            && self.shared.exits.root_at(height) == Some(header.exit_root)
            && let Some(outward) = outward(header, certificate.clone(), &self.scheme)
        {
            let kept = exits::note_certified(&*self.files, height, &header.encode(), &outward);
            kept.map_err(storage("keeping a certified header"))?;
            self.certified_exits = height;
        }
        Ok(())
    }

    fn compare_root(&self, height: Height, agreed: Digest) -> Result<(), Stop> {
        match self.shared.root_at(height) {
            Some(own) if own != agreed => {
                let kept = snapshot::distrust(&*self.files, height)
                    .map_err(storage("setting snapshots aside"))?;
                Err(Stop::Diverged {
                    height,
                    agreed,
                    own,
                    kept,
                })
            }
            _ => Ok(()),
        }
    }

    /// The block as the engine takes it; only signatures not seen before are verified.
    fn engine_block(&self, block: &Block) -> EngineBlock {
        let body = block.body();
        let known: Vec<Option<Arc<CheckedCommand>>> = {
            let mempool = self.shared.mempool();
            body.keys().iter().map(|key| mempool.get(key)).collect()
        };
        let unseen = body.commands().iter().zip(&known);
        let unseen = unseen.filter(|(_, known)| known.is_none());
        let unseen: Vec<_> = unseen.map(|(command, _)| command.clone()).collect();
        let mut checked = self.blueprint.check(unseen).into_iter();
        let commands = known.into_iter().filter_map(|known| match known {
            Some(known) => Some(Arc::unwrap_or_clone(known)),
            None => checked.next(),
        });
        block.for_engine(commands.collect())
    }

    fn apply(&mut self, block: &EngineBlock, events: &mut Vec<Event>) -> Result<Applied, Stop> {
        loop {
            let attempt = {
                let mut machine = self.machine.write().unwrap_or_else(PoisonError::into_inner);
                for index in self.quarantine.of(block.height) {
                    machine.quarantine(block.height, index);
                }
                let drift = self.blueprint.drift();
                if let Some(index) = drift.and_then(|drift| drift.strikes(block)) {
                    machine.quarantine(block.height, index);
                }
                catch_unwind(AssertUnwindSafe(|| machine.apply(block, events)))
            };
            match attempt {
                Ok(applied) => return Ok(applied),
                Err(panic) => {
                    events.clear();
                    self.recover(block, &panic_message(&*panic))?;
                }
            }
        }
    }

    /// Throws the torn state away, rebuilds the one before `block`, and quarantines the command that
    /// broke it.
    fn recover(&mut self, block: &EngineBlock, cause: &str) -> Result<(), Stop> {
        let height = block.height;
        tracing::error!(%height, cause, "the engine panicked; rebuilding the state before the block");
        let broken = || Stop::Broken {
            height,
            cause: cause.to_owned(),
        };
        let machine = self.rebuild()?;
        let mut state = Vec::new();
        machine
            .write_snapshot(&mut state)
            .map_err(storage("copying the state"))?;
        let skipped: Vec<u32> = self.quarantine.of(height).collect();
        let guilty = find_guilty(&*self.blueprint, &state, &skipped, block)
            .map_err(storage("searching for the command that broke the engine"))?;
        let index = guilty.ok_or_else(broken)?;
        tracing::error!(%height, index, "quarantined the command");
        self.quarantine
            .add(&*self.files, height, index)
            .map_err(storage("writing the quarantine list"))?;
        *self.machine.write().unwrap_or_else(PoisonError::into_inner) = machine;
        Ok(())
    }

    /// The state at the frontier, from the newest snapshot and the block log.
    fn rebuild(&self) -> Result<Box<dyn Machine>, Stop> {
        let target = self.shared.frontier();
        let found = load_snapshot(&*self.blueprint, &*self.files, target.height.get())?;
        let (mut at, mut machine) = match found {
            Some((snapshot, machine)) => (snapshot.frontier().height, machine),
            None => (Height::new(0), self.blueprint.genesis()),
        };
        let reader = Reader::open(self.files.clone(), at.next())
            .map_err(storage("reading the block log"))?;
        for record in reader {
            let record = record
                .map_err(|error| storage("reading the block log")(io::Error::other(error)))?;
            let height = record.block.header().height;
            if height <= at {
                continue;
            }
            if at >= target.height {
                break;
            }
            for index in self.quarantine.of(height) {
                machine.quarantine(height, index);
            }
            machine.advance(&self.engine_block(&record.block), &mut Vec::new());
            at = height;
        }
        if at != target.height || machine.commit() != target.root {
            return Err(Stop::Broken {
                height: target.height,
                cause: "the state could not be rebuilt from the block log".to_owned(),
            });
        }
        Ok(machine)
    }

    /// Takes a snapshot here and now, so that the next start replays nothing. Only for a node that
    /// does not trade: the state is locked meanwhile.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn snapshot_now(&self) -> Result<(), Stop> {
        self.sync()?;
        let frontier = self.shared.frontier();
        let machine = self.machine.read().unwrap_or_else(PoisonError::into_inner);
        let written =
            snapshot::Writer::begin(&*self.files, frontier.height).and_then(|mut writer| {
                machine.write_snapshot(&mut writer)?;
                let roots = self.shared.recent_roots();
                writer.finish(self.shared.chain, frontier, roots, None)
            });
        written.map(drop).map_err(storage("writing a snapshot"))
    }

    /// Tells the mempool, and through it everybody who waits.
    fn settle(&self, block: &Block, events: &[Event], applied: &Applied) {
        let keys = block.body().keys();
        let spans = spans(events, keys.len());
        let mut mempool = self.shared.mempool();
        for (index, (key, span)) in keys.iter().zip(spans).enumerate() {
            let Some(span) = span else { continue };
            let kept = if mempool.is_awaited(key) {
                OUTCOME_EVENTS_MAX
            } else {
                0
            };
            if sabotage::is(Mutant::LostAcknowledgement) && index + 1 == keys.len() {
                continue;
            }
            let outcome = outcome(index as u32, span, kept, events, applied);
            mempool.executed(*key, Arc::new(outcome));
        }
        mempool.expire(applied.height, applied.time);
    }
}

fn outcome(index: u32, span: Span, kept: usize, events: &[Event], applied: &Applied) -> Outcome {
    let own = &events[span.start..span.end];
    let verdict: Verdict = span.verdict;
    Outcome {
        height: applied.height,
        time: applied.time,
        index,
        verdict,
        first_event: applied.first_event + span.start as u64,
        events_total: own.len() as u32,
        events: own.iter().take(kept).cloned().collect(),
    }
}

/// A snapshot and the state it holds.
type Loaded = (Manifest, Box<dyn Machine>);

fn load_snapshot(
    blueprint: &dyn Blueprint,
    files: &dyn Files,
    height_max: u64,
) -> Result<Option<Loaded>, Stop> {
    let accept = |manifest: &Manifest, state: &mut dyn io::Read| {
        snapshot::accept(blueprint, manifest, state)
    };
    snapshot::load(files, blueprint.chain(), height_max, accept)
        .map_err(storage("reading snapshots"))
}

//! Reads a node's block log from genesis on and believes none of it.
//!
//! **Owns** the replay that an outsider does: each block extends the last, each root that a header
//! carries is the one this replay computes (I2), the books balance after every block (I1, I8), and
//! nothing traded when it must not (I7). **Never** uses a snapshot: those are what it would catch.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use lifeboat_engine::auth::check_batch;
use lifeboat_engine::types::{Digest, Height};
use lifeboat_engine::{Block, Engine, Event, Genesis, GenesisError};
use lifeboat_node::files::Files;
use lifeboat_node::journal::{JournalError, Reader, Record};
use lifeboat_node::quarantine::Quarantine;
use thiserror::Error;

use crate::rehearsal::ledger_state;
use crate::twin::{Finding, LedgerAuditor};

/// How often the engine's own books are compared with the auditor's.
const COMPARE_EVERY: u64 = 500;
/// Roots that are kept for headers to come.
const ROOTS_KEPT: usize = 4_096;

/// The first thing in a log that does not hold.
#[derive(Debug, Error)]
pub enum LogFinding {
    /// The folder cannot be read.
    #[error("the folder cannot be read: {0}")]
    Io(#[from] io::Error),
    /// The log itself is damaged.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The genesis does not make a venue.
    #[error("the genesis is not valid: {0}")]
    Genesis(GenesisError),
    /// A block does not follow the one before it.
    #[error("block {0} does not follow the block before it")]
    Unchained(Height),
    /// A header carries a root that the replay does not reach.
    #[error(
        "I2 broken at block {at}: it says that the root after block {height} is {agreed}; replay gives {own:?}"
    )]
    Root {
        /// The block whose header says so.
        at: Height,
        /// After which block.
        height: Height,
        /// What the header says.
        agreed: Digest,
        /// What the replay has; `None` for a height too far back.
        own: Option<Digest>,
    },
    /// The books do not balance.
    #[error("block {at}: {finding}")]
    Books {
        /// Which block.
        at: Height,
        /// What does not add up.
        finding: Finding,
    },
}

/// What a log holds, all of it checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogReport {
    /// The last block.
    pub height: Height,
    /// The root after it, as replayed.
    pub root: Digest,
    /// Commands in all.
    pub commands: u64,
    /// Commands that were refused, by reason.
    pub rejected: BTreeMap<&'static str, u64>,
    /// Commands that were quarantined.
    pub quarantined: u64,
    /// Trades.
    pub trades: u64,
    /// How often each invariant was checked.
    pub checks: BTreeMap<&'static str, u64>,
}

/// Where the audit stands.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Bytes of the log that were read.
    pub bytes: u64,
    /// Bytes of the log.
    pub bytes_total: u64,
    /// The last block replayed.
    pub height: Height,
}

struct Replay {
    engine: Engine,
    auditor: LedgerAuditor,
    quarantine: Quarantine,
    roots: BTreeMap<Height, Digest>,
    last: Option<Digest>,
    report: LogReport,
}

/// Replays a log up to its last whole record. `each` sees every record after it was checked, with
/// its events and the state after it.
///
/// # Errors
/// The first [`LogFinding`].
pub fn audit_log(
    files: Arc<dyn Files>,
    genesis: &Genesis,
    mut each: impl FnMut(&Record, &[Event], &Engine, Progress),
) -> Result<LogReport, LogFinding> {
    let mut replay = Replay::new(&*files, genesis)?;
    let mut reader = Reader::open(files, Height::new(0))?;
    while let Some(record) = reader.next() {
        let record = match record {
            Ok(record) => record,
            // A crash in the middle of a write: consensus's own store has that block.
            Err(JournalError::Torn { .. }) => break,
            Err(error) => return Err(error.into()),
        };
        let events = replay.block(&record)?;
        let (bytes, bytes_total) = reader.progress();
        let height = record.block.header().height;
        each(
            &record,
            &events,
            &replay.engine,
            Progress {
                bytes,
                bytes_total,
                height,
            },
        );
    }
    replay.finish()
}

impl Replay {
    fn new(files: &dyn Files, genesis: &Genesis) -> Result<Self, LogFinding> {
        let engine = Engine::genesis(genesis).map_err(LogFinding::Genesis)?;
        Ok(Self {
            auditor: LedgerAuditor::of(genesis),
            quarantine: Quarantine::load(files)?,
            roots: BTreeMap::from([(Height::new(0), engine.state_root())]),
            last: None,
            report: LogReport {
                root: engine.state_root(),
                ..LogReport::default()
            },
            engine,
        })
    }

    fn block(&mut self, record: &Record) -> Result<Vec<Event>, LogFinding> {
        let header = record.block.header();
        let height = header.height;
        let follows = height == self.engine.height().next()
            && self.last.is_none_or(|digest| digest == header.parent);
        if !follows {
            return Err(LogFinding::Unchained(height));
        }
        self.last = Some(header.digest());
        self.compare_root(height, header.executed, header.state_root)?;
        for index in self.quarantine.of(height) {
            self.engine.quarantine(height, index);
        }
        let commands = record.block.body().commands().to_vec();
        self.report.commands += commands.len() as u64;
        let block = record
            .block
            .for_engine(check_batch(&header.chain, commands));
        self.apply(&block)
    }

    fn compare_root(
        &mut self,
        at: Height,
        height: Height,
        agreed: Digest,
    ) -> Result<(), LogFinding> {
        let own = self.roots.get(&height).copied();
        if own != Some(agreed) {
            return Err(LogFinding::Root {
                at,
                height,
                agreed,
                own,
            });
        }
        *self.report.checks.entry("I2").or_default() += 1;
        Ok(())
    }

    fn apply(&mut self, block: &Block) -> Result<Vec<Event>, LogFinding> {
        let at = block.height;
        let mut events = Vec::new();
        let applied = self
            .engine
            .apply(block, &mut events)
            .map_err(|_| LogFinding::Unchained(at))?;
        self.roots.insert(at, applied.state_root);
        if self.roots.len() > ROOTS_KEPT {
            self.roots.pop_first();
        }
        let books = |finding| LogFinding::Books { at, finding };
        self.auditor
            .observe_at(block.time, applied.first_event, &events)
            .map_err(books)?;
        if at.get().is_multiple_of(COMPARE_EVERY) {
            self.auditor
                .compare(&ledger_state(&self.engine))
                .map_err(books)?;
        }
        for event in &events {
            match event {
                Event::CommandRejected { reject, .. } => {
                    *self.report.rejected.entry(reject.name()).or_default() += 1;
                }
                Event::CommandQuarantined { .. } => self.report.quarantined += 1,
                Event::Traded(_) => self.report.trades += 1,
                _ => {}
            }
        }
        (self.report.height, self.report.root) = (at, applied.state_root);
        Ok(events)
    }

    fn finish(mut self) -> Result<LogReport, LogFinding> {
        let compared = self.auditor.compare(&ledger_state(&self.engine));
        compared.map_err(|finding| LogFinding::Books {
            at: self.report.height,
            finding,
        })?;
        for (invariant, count) in self.auditor.checks() {
            *self.report.checks.entry(invariant).or_default() += count;
        }
        Ok(self.report)
    }
}

/// The digest of every block in a log, by height: two logs agree where their digests do.
///
/// # Errors
/// When the log cannot be read.
pub fn digests(files: Arc<dyn Files>) -> Result<BTreeMap<Height, Digest>, LogFinding> {
    let mut digests = BTreeMap::new();
    for record in Reader::open(files, Height::new(0))? {
        let record = record?;
        let header = record.block.header();
        digests.insert(header.height, header.digest());
    }
    Ok(digests)
}

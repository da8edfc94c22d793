//! Replays a stopped node's block log as an independent auditor.
//!
//! **Owns** the checks: the chain of parents, the venue, every agreed root against the replay's own
//! (I2), and the last certificate against the venue's signing key, which covers every block before
//! it. **Never** writes.

use std::collections::BTreeMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use lifeboat_engine::types::{Digest, Height};

use crate::block::{Block, Header};
use crate::config::{ConfigError, NodeFile, read_committee, read_venue};
use crate::consensus::{Scheme, certificate_of};
use crate::files::{Disk, Files};
use crate::journal::{JournalError, Reader};
use crate::keys::KeyError;
use crate::machine::{Blueprint, Machine};
use crate::node::genesis_block;
use crate::quarantine::{Quarantine, panic_message};
use crate::shared::ROOT_LAG_MAX;
use crate::snapshot::{self, Manifest, StateReader};
use crate::venue::Venue;

/// What a replay found to be in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// The last block.
    pub height: Height,
    /// The root after it.
    pub root: Digest,
    /// Commands executed.
    pub commands: u64,
    /// Agreed roots compared.
    pub roots_compared: u64,
    /// The last block whose certificate was checked; it covers all before it.
    pub certified: Option<Height>,
    /// The certified snapshot at which the log begins, if it does not begin at genesis: the node
    /// fetched its state from peers then.
    pub base: Option<Height>,
    /// Where the log ends in the middle of a record, if it does: a crash does that.
    pub torn: Option<String>,
}

/// The first difference.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// A file cannot be read.
    #[error("cannot read the folder: {0}")]
    Io(#[from] io::Error),
    /// The log is damaged.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The folder's configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A key file is wrong.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The log does not begin with block 1.
    #[error(
        "the block log begins with block {0}, and the folder has no snapshot of the block before it that \
         the validators certified"
    )]
    Incomplete(Height),
    /// A block does not extend the one before it, or belongs to another venue.
    #[error("block {0} does not extend the block before it")]
    Unchained(Height),
    /// The agreed root is not what the replay computes.
    #[error("after block {height} the validators agreed on root {agreed}, the replay has {found}")]
    Root {
        /// After which block.
        height: Height,
        /// What they agreed on.
        agreed: Digest,
        /// What the replay has.
        found: Digest,
    },
    /// The agreed exits are not what the replay computes.
    #[error("the validators agreed on exits {agreed} after block {height}, the replay has {found}")]
    Exits {
        /// After which block.
        height: Height,
        /// What they agreed on.
        agreed: Digest,
        /// What the replay has.
        found: Digest,
    },
    /// The snapshot at which the log begins is not what it claims.
    #[error("the snapshot at which the block log begins: {0}")]
    Snapshot(String),
    /// A certificate does not verify.
    #[error("the certificate of block {0} does not verify against the venue's key")]
    Certificate(Height),
    /// The log is too short.
    #[error("the block log ends before block {0}")]
    Ends(Height),
    /// The engine panicked.
    #[error("the engine panicked on block {height}: {cause}")]
    Panicked {
        /// On which block.
        height: Height,
        /// The panic's message.
        cause: String,
    },
}

struct Replay<'a> {
    blueprint: &'a dyn Blueprint,
    machine: Box<dyn Machine>,
    quarantine: Quarantine,
    /// The last block.
    last: (Height, Digest),
    /// The roots from `base` on.
    roots: Vec<Digest>,
    base: Height,
    /// Roots of the exits, by height.
    exits: BTreeMap<Height, Digest>,
    verified: Verified,
}

impl<'a> Replay<'a> {
    fn begin(files: &dyn Files, blueprint: &'a dyn Blueprint) -> Result<Self, VerifyError> {
        let genesis = genesis_block(blueprint);
        let mut replay = Self {
            blueprint,
            machine: blueprint.genesis(),
            quarantine: Quarantine::load(files)?,
            last: (Height::new(0), genesis.header().digest()),
            roots: vec![genesis.header().state_root],
            base: Height::new(0),
            exits: BTreeMap::new(),
            verified: Verified::default(),
        };
        replay.verified.root = genesis.header().state_root;
        Ok(replay)
    }

    fn step(&mut self, block: &Block) -> Result<(), VerifyError> {
        let header = block.header();
        let height = header.height;
        let (before, parent) = self.last;
        let linked = header.parent == parent && header.chain == self.blueprint.chain();
        if !linked || height != before.next() || header.executed >= height {
            return Err(VerifyError::Unchained(height));
        }
        self.compare(header)?;
        for index in self.quarantine.of(height) {
            self.machine.quarantine(height, index);
        }
        let commands = block.body().commands().to_vec();
        let engine_block = block.for_engine(self.blueprint.check(commands));
        let machine = &mut self.machine;
        let run = AssertUnwindSafe(|| machine.apply(&engine_block, &mut Vec::new()));
        let applied = catch_unwind(run).map_err(|panic| VerifyError::Panicked {
            height,
            cause: panic_message(&*panic),
        })?;
        self.roots.push(applied.state_root);
        let due = self
            .blueprint
            .exits()
            .is_some_and(|rule| rule.is_due(height));
        if let Some(exits) = due.then(|| self.machine.exits()).flatten() {
            self.exits.insert(height, exits.root());
        }
        self.verified.height = height;
        self.verified.root = applied.state_root;
        self.verified.commands += block.body().commands().len() as u64;
        self.last = (height, header.digest());
        Ok(())
    }

    /// The exits that a header carries are those of the height that its state root asks for.
    fn compare_exits(&self, header: &Header) -> Result<(), VerifyError> {
        let rule = self.blueprint.exits();
        let height = rule.map_or(Height::new(0), |rule| rule.height_for(header.executed));
        let found = match height.get() {
            0 => Digest::default(),
            _ if height < self.base => return Ok(()), // They are of a height before the log.
            _ => self.exits.get(&height).copied().unwrap_or_default(),
        };
        if found != header.exit_root {
            return Err(VerifyError::Exits {
                height,
                agreed: header.exit_root,
                found,
            });
        }
        Ok(())
    }

    fn compare(&mut self, header: &Header) -> Result<(), VerifyError> {
        self.compare_exits(header)?;
        let lag = header.height.get() - header.executed.get();
        let Some(place) = header.executed.get().checked_sub(self.base.get()) else {
            return Ok(()); // It speaks of a height before the log.
        };
        let found = self.roots.get(place as usize).copied();
        match found {
            Some(found) if found == header.state_root && lag <= ROOT_LAG_MAX => {
                self.verified.roots_compared += 1;
                Ok(())
            }
            found => Err(VerifyError::Root {
                height: header.executed,
                agreed: header.state_root,
                found: found.unwrap_or_default(),
            }),
        }
    }
}

/// Goes on from the certified snapshot whose block is `height`.
fn begin_at(
    replay: &mut Replay<'_>,
    files: &dyn Files,
    scheme: Option<&Scheme>,
    height: Height,
) -> Result<(), VerifyError> {
    let chain = replay.blueprint.chain();
    let manifest = snapshot::manifest_at(files, chain, height.get())?;
    let certified = |manifest: &Manifest| scheme.is_some_and(|key| manifest.is_certified(key));
    let incomplete = || VerifyError::Incomplete(height.next());
    let manifest = manifest.filter(certified).ok_or_else(incomplete)?;
    let mut state = StateReader::new(files, &manifest);
    let machine = snapshot::accept(replay.blueprint, &manifest, &mut state);
    replay.machine = machine.map_err(VerifyError::Snapshot)?;
    let at = manifest.frontier();
    replay.last = (at.height, at.digest);
    replay.base = at.height;
    replay.roots = vec![at.root];
    let due = replay
        .blueprint
        .exits()
        .is_some_and(|rule| rule.is_due(at.height));
    if let Some(exits) = due.then(|| replay.machine.exits()).flatten() {
        replay.exits.insert(at.height, exits.root());
    }
    replay.verified.base = Some(at.height);
    replay.verified.height = at.height;
    replay.verified.root = at.root;
    Ok(())
}

/// Replays a block log from genesis, or from the certified snapshot at which it begins. `progress` gets bytes done and bytes in all.
///
/// # Errors
/// The first difference.
pub fn verify(
    files: Arc<dyn Files>,
    blueprint: &dyn Blueprint,
    scheme: Option<&Scheme>,
    mut progress: impl FnMut(u64, u64),
) -> Result<Verified, VerifyError> {
    let mut replay = Replay::begin(&*files, blueprint)?;
    let mut reader = Reader::open(files.clone(), Height::new(0))?;
    let mut certified = None;
    while let Some(record) = reader.next() {
        let record = match record {
            Ok(record) => record,
            Err(torn @ JournalError::Torn { .. }) => {
                replay.verified.torn = Some(torn.to_string());
                break;
            }
            Err(error) => return Err(error.into()),
        };
        let height = record.block.header().height;
        if replay.verified.height.get() == 0 && height.get() > 1 {
            begin_at(&mut replay, &*files, scheme, Height::new(height.get() - 1))?;
        }
        replay.step(&record.block)?;
        let (done, all) = reader.progress();
        progress(done, all);
        if !record.certificate.is_empty() {
            certified = Some(record);
        }
    }
    if let (Some(scheme), Some(record)) = (scheme, certified) {
        let height = record.block.header().height;
        certificate_of(&record.block, &record.certificate, scheme)
            .ok_or(VerifyError::Certificate(height))?;
        replay.verified.certified = Some(height);
    }
    Ok(replay.verified)
}

/// The state after a block of a log, every agreed root up to it compared on the way.
///
/// # Errors
/// The first difference; [`VerifyError::Ends`] when the log does not reach so far.
pub fn state_after(
    files: Arc<dyn Files>,
    blueprint: &dyn Blueprint,
    scheme: &Scheme,
    height: Height,
    mut progress: impl FnMut(u64, u64),
) -> Result<Box<dyn Machine>, VerifyError> {
    let mut replay = Replay::begin(&*files, blueprint)?;
    let mut reader = Reader::open(files.clone(), Height::new(0))?;
    while replay.verified.height < height {
        let record = reader.next().ok_or(VerifyError::Ends(height))??;
        let first = record.block.header().height.get();
        if replay.verified.height.get() == 0 && first > 1 {
            begin_at(&mut replay, &*files, Some(scheme), Height::new(first - 1))?;
        }
        replay.step(&record.block)?;
        let (done, all) = reader.progress();
        progress(done, all);
    }
    Ok(replay.machine)
}

/// The venue's genesis and what checks the validators' certificates, as they lie in a folder.
///
/// # Errors
/// The file that is missing or wrong.
pub fn public_part(folder: &Path) -> Result<(Venue, Scheme), VerifyError> {
    let venue = read_venue(&folder.join("genesis.bin"))?;
    let committee = read_committee(folder)?;
    let scheme = committee.verifier(&venue.genesis().chain)?;
    Ok((venue, scheme))
}

/// Replays a stopped node's folder as `init` lays it out.
///
/// # Errors
/// The first difference, or the file that is missing.
pub fn verify_folder(
    folder: &Path,
    progress: impl FnMut(u64, u64),
) -> Result<Verified, VerifyError> {
    let node = NodeFile::load(&folder.join("node.toml"))?;
    let disk = Disk::open(folder.join(node.data).join("state"))?;
    verify_log(folder, Arc::new(disk), progress)
}

/// Replays any log of the venue whose genesis and committee lie in `folder`.
///
/// # Errors
/// The first difference, or the file that is missing.
pub fn verify_log(
    folder: &Path,
    log: Arc<dyn Files>,
    progress: impl FnMut(u64, u64),
) -> Result<Verified, VerifyError> {
    let (venue, scheme) = public_part(folder)?;
    verify(log, &venue, Some(&scheme), progress)
}

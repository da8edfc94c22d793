//! Replays a stopped node's block log as an independent auditor.
//!
//! **Owns** the checks: the chain of parents, the venue, every agreed root against the replay's own
//! (I2), and the last certificate against the venue's signing key, which covers every block before
//! it. **Never** writes.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use lifeboat_engine::types::{Digest, Height};

use crate::block::{Block, Header};
use crate::config::{ConfigError, NodeFile, read_committee, read_venue};
use crate::consensus::{Scheme, certificate_of, namespace};
use crate::files::{Disk, Files};
use crate::journal::{JournalError, Reader};
use crate::keys::KeyError;
use crate::machine::{Blueprint, Machine};
use crate::node::genesis_block;
use crate::quarantine::{Quarantine, panic_message};
use crate::shared::ROOT_LAG_MAX;

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
    #[error("the block log begins with block {0}, so it cannot be replayed from genesis")]
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
    /// A certificate does not verify.
    #[error("the certificate of block {0} does not verify against the venue's key")]
    Certificate(Height),
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
    last: Header,
    roots: Vec<Digest>,
    verified: Verified,
}

impl Replay<'_> {
    fn step(&mut self, block: &Block) -> Result<(), VerifyError> {
        let header = block.header();
        let height = header.height;
        let linked = header.parent == self.last.digest() && header.chain == self.last.chain;
        if !linked || height != self.last.height.next() || header.executed >= height {
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
        self.verified.height = height;
        self.verified.root = applied.state_root;
        self.verified.commands += block.body().commands().len() as u64;
        self.last = header.clone();
        Ok(())
    }

    fn compare(&mut self, header: &Header) -> Result<(), VerifyError> {
        let lag = header.height.get() - header.executed.get();
        let found = self.roots.get(header.executed.get() as usize).copied();
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

/// Replays a block log from genesis. `progress` gets bytes done and bytes in all.
///
/// # Errors
/// The first difference.
pub fn verify(
    files: Arc<dyn Files>,
    blueprint: &dyn Blueprint,
    scheme: Option<&Scheme>,
    mut progress: impl FnMut(u64, u64),
) -> Result<Verified, VerifyError> {
    let genesis = genesis_block(blueprint);
    let mut replay = Replay {
        blueprint,
        machine: blueprint.genesis(),
        quarantine: Quarantine::load(&*files)?,
        last: genesis.header().clone(),
        roots: vec![genesis.header().state_root],
        verified: Verified::default(),
    };
    replay.verified.root = genesis.header().state_root;
    let mut reader = Reader::open(files, Height::new(0))?;
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
        if replay.verified.height.get() == 0 && height.get() != 1 {
            return Err(VerifyError::Incomplete(height));
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

/// Replays a stopped node's folder as `init` lays it out.
///
/// # Errors
/// The first difference, or the file that is missing.
pub fn verify_folder(
    folder: &Path,
    progress: impl FnMut(u64, u64),
) -> Result<Verified, VerifyError> {
    let venue = read_venue(&folder.join("genesis.bin"))?;
    let committee = read_committee(folder)?;
    let node = NodeFile::load(&folder.join("node.toml"))?;
    let scheme = Scheme::certificate_verifier(
        &namespace(&venue.genesis().chain),
        *committee.polynomial()?.public(),
    );
    let disk = Disk::open(folder.join(node.data).join("state"))?;
    verify(Arc::new(disk), &venue, Some(&scheme), progress)
}

//! Rebuilds a validator's data folder from blocks that were published outside the venue.
//!
//! **Owns** the rule of what counts: blocks chained by digest from genesis up to the last one that
//! carries a certificate of the validators which verifies. Each is executed, and every root that the
//! validators agreed on is compared on the way (I2); what follows the last certificate is left out.
//! The folder is built in a new place and named `data` only when it is whole. **Never** trusts who
//! served the blocks.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use commonware_codec::DecodeExt as _;
use commonware_consensus::marshal::store::{Blocks as _, Certificates as _};
use commonware_consensus::types::Height as BlockHeight;
use commonware_cryptography::Digestible as _;
use commonware_runtime::{Runner as _, tokio as runtime};
use lifeboat_engine::types::{Digest, Height};
use tokio::sync::mpsc;

use crate::block::Block;
use crate::catchup::mark_fresh;
use crate::config::NodeConfig;
use crate::consensus::{
    BlockArchive, Certificate, CertificateArchive, Environment, Scheme, certificate_of,
    open_archives, page_cache,
};
use crate::epochs::{Anchor, EpochsError};
use crate::executor::Executor;
use crate::files::Disk;
use crate::machine::Blueprint as _;
use crate::node::genesis_block;
use crate::shared::{Frontier, Shared, Stop};
use crate::snapshot;

/// Blocks that wait for a certificate at most. One comes with almost every block; a history without
/// any for so long is not one that validators made.
const UNCERTIFIED_MAX: usize = 4_096;
/// Blocks from one checked certificate to the next: each covers all before it.
const CHECK_EVERY: usize = 64;
/// Executed blocks between two syncs of consensus's stores.
const SYNC_EVERY: u64 = 1_024;

/// A block as it was published.
#[derive(Clone, Debug)]
pub struct Published {
    /// Where it is said to be.
    pub height: Height,
    /// Header and commands.
    pub block: Bytes,
    /// Its own certificate, if it has one.
    pub certificate: Bytes,
}

impl Published {
    /// The block in it; `None` if its bytes are none.
    pub fn decode(&self) -> Option<Block> {
        Block::decode(self.block.clone()).ok()
    }
}

/// How the validator takes part after its recovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejoin {
    /// The venue runs: follow it, and vote once that cannot be a second vote.
    Follow,
    /// More than f validators lost their votes: all of them begin a new consensus epoch behind the
    /// last recovered block.
    NewEpoch,
}

/// What a recovery came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// The last block.
    pub height: Height,
    /// Its digest.
    pub digest: Digest,
    /// The root after it.
    pub root: Digest,
    /// Commands executed.
    pub commands: u64,
    /// Certificates checked.
    pub certificates: u64,
    /// Blocks behind the last certificate, left out.
    pub uncertified: usize,
    /// The consensus epoch that the validator will take part in.
    pub epoch: u64,
}

/// Why a folder cannot be recovered. Nothing was put in its place.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// There is data already.
    #[error("{0} holds data. Nothing was touched: move it away first if it is to be replaced")]
    NotEmpty(PathBuf),
    /// A file.
    #[error("{path}: {error}")]
    Io {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The source failed.
    #[error("the published history ends with an error: {0}")]
    Source(String),
    /// Published bytes are no block.
    #[error("what is published as block {0} is not a block")]
    NotABlock(Height),
    /// A block is not the next one.
    #[error("block {0} does not extend the block before it, or belongs to another venue")]
    Unchained(Height),
    /// A certificate does not verify.
    #[error("the certificate of block {0} does not verify against the venue's key")]
    Certificate(Height),
    /// Too many blocks without a certificate.
    #[error("no certificate covers the {UNCERTIFIED_MAX} blocks up to {0}")]
    Uncertified(Height),
    /// Nothing certified.
    #[error("nothing certified is published: there is nothing to recover")]
    Empty,
    /// Execution disagrees, or a disk failed.
    #[error(transparent)]
    Stop(#[from] Stop),
    /// Consensus's store.
    #[error("consensus's store: {0}")]
    Store(String),
    /// The list of epochs.
    #[error(transparent)]
    Epochs(#[from] EpochsError),
    /// No snapshot can be used.
    #[error("no snapshot can be used: {0}")]
    Snapshot(String),
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> RecoverError {
    let path = path.to_owned();
    move |error| RecoverError::Io { path, error }
}

/// Recovers the data folder of `config` from published blocks, in height order from 1 on.
/// `progress` gets the height reached.
///
/// # Errors
/// What is wrong; the data folder does not exist then.
pub fn recover(
    config: &NodeConfig,
    rejoin: Rejoin,
    until: Option<Height>,
    published: mpsc::Receiver<Result<Published, String>>,
    progress: impl FnMut(Height) + Send + 'static,
) -> Result<Recovered, RecoverError> {
    refuse_data(&config.data)?;
    let building = config.data.with_extension("recovering");
    if building.exists() {
        fs::remove_dir_all(&building).map_err(io_error(&building))?;
    }
    let consensus = runtime::Config::new().with_storage_directory(building.join("consensus"));
    let (owned, folder) = (config.clone(), building.clone());
    let (mut recovered, disk) = runtime::Runner::new(consensus).start(|context| async move {
        let mut recovery = Recovery::open(&context, &owned, &folder).await?;
        recovery.run(published, until, progress).await?;
        recovery.finish().await
    })?;
    if rejoin == Rejoin::NewEpoch {
        let anchor = Anchor {
            height: recovered.height,
            digest: recovered.digest,
        };
        let next = config.epochs.then(anchor);
        let epochs = next.ok_or(RecoverError::Unchained(recovered.height))?;
        mark_fresh(&disk).map_err(io_error(&building))?;
        epochs.save(&config.folder)?;
        recovered.epoch = epochs.current();
    }
    put_in_place(&building, &config.data)?;
    Ok(recovered)
}

/// Fills the data folder of `config` with the newest certified snapshot that lies in `from`, a data
/// folder or a copy of one. The validator follows the venue from there. `progress` gets chunks done
/// and chunks in all.
///
/// # Errors
/// What is wrong; the data folder does not exist then.
pub fn adopt_snapshot(
    config: &NodeConfig,
    from: &Path,
    mut progress: impl FnMut(u64, u64),
) -> Result<Frontier, RecoverError> {
    refuse_data(&config.data)?;
    let wrong = |why: &str| RecoverError::Snapshot(why.to_owned());
    let source = Disk::open(from.join("state")).map_err(io_error(from))?;
    let chain = config.venue.chain();
    let found = snapshot::newest_certified(&source, chain).map_err(io_error(from))?;
    let manifest = found.ok_or_else(|| wrong("there is none that the validators certified"))?;
    let scheme = config.identity.verifier(&chain);
    if !manifest.is_certified(&scheme) || manifest.floor(&scheme).is_none() {
        return Err(wrong(
            "its certificate does not verify against the venue's key",
        ));
    }
    let manifest = manifest.without_claims();
    let building = config.data.with_extension("recovering");
    if building.exists() {
        fs::remove_dir_all(&building).map_err(io_error(&building))?;
    }
    let state = building.join("state");
    let disk = Disk::open(&state).map_err(io_error(&state))?;
    let mut arrival = snapshot::Arrival::resume(&disk, &manifest).map_err(io_error(&state))?;
    let at = manifest.frontier();
    for index in 0..manifest.chunks.len() {
        let chunk = snapshot::chunk(&source, at.height.get(), index as u32);
        let chunk = chunk.map_err(io_error(from))?;
        if !manifest.is_chunk(index, &chunk) {
            return Err(wrong(&format!("chunk {index} of its state is damaged")));
        }
        arrival.append(&chunk).map_err(io_error(&state))?;
        progress(index as u64 + 1, manifest.chunks.len() as u64);
    }
    let accept = |state: &mut dyn io::Read| snapshot::accept(&*config.venue, &manifest, state);
    let accepted = arrival.finish(accept).map_err(io_error(&state))?;
    accepted.map_err(RecoverError::Snapshot)?;
    put_in_place(&building, &config.data)?;
    Ok(at)
}

/// Names what was built.
fn put_in_place(building: &Path, data: &Path) -> Result<(), RecoverError> {
    if data.exists() {
        fs::remove_dir(data).map_err(io_error(data))?;
    }
    fs::rename(building, data).map_err(io_error(building))
}

/// An absent or empty folder may be filled.
fn refuse_data(data: &Path) -> Result<(), RecoverError> {
    match fs::read_dir(data) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(RecoverError::NotEmpty(data.to_owned())),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(io_error(data)(error)),
    }
}

struct Waiting {
    block: Block,
    certificate: Bytes,
}

struct Recovery<E: Environment> {
    config: NodeConfig,
    disk: Disk,
    scheme: Scheme,
    shared: Arc<Shared>,
    executor: Executor,
    stores: Option<(CertificateArchive<E>, BlockArchive<E>)>,
    /// The last block that is chained to genesis, certified or not.
    last: (Height, Digest),
    waiting: VecDeque<Waiting>,
    commands: u64,
    certificates: u64,
    unsynced: u64,
}

impl<E: Environment> Recovery<E> {
    async fn open(context: &E, config: &NodeConfig, folder: &Path) -> Result<Self, RecoverError> {
        let state = folder.join("state");
        let disk = Disk::open(&state).map_err(io_error(&state))?;
        let genesis = genesis_block(&*config.venue);
        let tuning = config.tuning;
        let shared = Arc::new(Shared::new(&genesis, tuning.pacing, tuning.mempool));
        let scheme = config.identity.verifier(&config.venue.chain());
        let executor = Executor::open(
            config.venue.clone(),
            shared.clone(),
            Arc::new(disk.clone()),
            scheme.clone(),
            None,
        )?;
        let stores = open_archives(context, "", page_cache()).await;
        let last = (Height::new(0), genesis.header().digest());
        let mut recovery = Self {
            scheme,
            config: config.clone(),
            disk,
            shared,
            executor,
            stores: Some(stores),
            last,
            waiting: VecDeque::new(),
            commands: 0,
            certificates: 0,
            unsynced: 0,
        };
        recovery.store(&genesis, None).await?;
        Ok(recovery)
    }

    async fn run(
        &mut self,
        mut published: mpsc::Receiver<Result<Published, String>>,
        until: Option<Height>,
        mut progress: impl FnMut(Height),
    ) -> Result<(), RecoverError> {
        while let Some(found) = published.recv().await {
            let found = found.map_err(RecoverError::Source)?;
            if until.is_some_and(|until| found.height > until) {
                break;
            }
            self.add(found)?;
            if self.waiting.len() >= CHECK_EVERY {
                self.settle().await?;
                progress(self.shared.frontier().height);
            }
            if self.waiting.len() >= UNCERTIFIED_MAX {
                return Err(RecoverError::Uncertified(self.last.0));
            }
        }
        self.settle().await?;
        progress(self.shared.frontier().height);
        Ok(())
    }

    fn add(&mut self, found: Published) -> Result<(), RecoverError> {
        let block = found
            .decode()
            .ok_or(RecoverError::NotABlock(found.height))?;
        let header = block.header();
        let (height, parent) = self.last;
        let chained = header.height == height.next()
            && header.parent == parent
            && header.chain == self.shared.chain;
        if !chained {
            return Err(RecoverError::Unchained(found.height));
        }
        self.last = (header.height, header.digest());
        self.commands += block.body().commands().len() as u64;
        self.waiting.push_back(Waiting {
            certificate: found.certificate,
            block,
        });
        Ok(())
    }

    /// Executes and stores everything up to the last certificate at hand, once that one verified.
    async fn settle(&mut self) -> Result<(), RecoverError> {
        let certified = self
            .waiting
            .iter()
            .rposition(|one| !one.certificate.is_empty());
        let Some(certified) = certified else {
            return Ok(());
        };
        let certificate = self.check(certified)?;
        let ready: Vec<Waiting> = self.waiting.drain(..=certified).collect();
        let last = ready.len() - 1;
        for (index, one) in ready.into_iter().enumerate() {
            // Only a certificate that was checked is kept; the others are covered by it.
            let checked = (index == last).then_some(&certificate);
            let bytes = checked.map_or(&[][..], |_| &one.certificate[..]);
            self.executor.execute(&one.block, bytes)?;
            self.store(&one.block, checked).await?;
        }
        Ok(())
    }

    fn check(&mut self, index: usize) -> Result<Certificate, RecoverError> {
        let one = &self.waiting[index];
        let found = certificate_of(&one.block, &one.certificate, &self.scheme);
        let certificate =
            found.ok_or_else(|| RecoverError::Certificate(one.block.header().height))?;
        self.certificates += 1;
        Ok(certificate)
    }

    async fn store(
        &mut self,
        block: &Block,
        certificate: Option<&Certificate>,
    ) -> Result<(), RecoverError> {
        let failed = |error: String| RecoverError::Store(error);
        let gone = || RecoverError::Store("it failed before".to_owned());
        let (mut certificates, mut blocks) = self.stores.take().ok_or_else(gone)?;
        let stored = Arc::new(block.clone());
        let put = blocks.put(block.digest(), &stored).await;
        blocks = put.map_err(|error| failed(error.to_string()))?;
        if let Some(certificate) = certificate {
            let height = BlockHeight::new(block.header().height.get());
            let put = certificates.put(height, block.digest(), certificate).await;
            certificates = put.map_err(|error| failed(error.to_string()))?;
        }
        self.stores = Some((certificates, blocks));
        self.unsynced += 1;
        if self.unsynced >= SYNC_EVERY {
            self.sync().await?;
        }
        Ok(())
    }

    async fn sync(&mut self) -> Result<(), RecoverError> {
        if let Some((certificates, blocks)) = self.stores.take() {
            let certificates =
                commonware_consensus::marshal::store::Certificates::sync(certificates).await;
            let blocks = commonware_consensus::marshal::store::Blocks::sync(blocks).await;
            let failed = |error: String| RecoverError::Store(error);
            self.stores = Some((
                certificates.map_err(|error| failed(error.to_string()))?,
                blocks.map_err(|error| failed(error.to_string()))?,
            ));
        }
        self.unsynced = 0;
        Ok(())
    }

    async fn finish(mut self) -> Result<(Recovered, Disk), RecoverError> {
        let frontier = self.shared.frontier();
        if frontier.height.get() == 0 {
            return Err(RecoverError::Empty);
        }
        self.sync().await?;
        self.executor.snapshot_now()?;
        let left: u64 = self
            .waiting
            .iter()
            .map(|one| one.block.body().commands().len() as u64)
            .sum();
        let recovered = Recovered {
            height: frontier.height,
            digest: frontier.digest,
            root: frontier.root,
            commands: self.commands - left,
            certificates: self.certificates,
            uncertified: self.waiting.len(),
            epoch: self.config.epochs.current(),
        };
        Ok((recovered, self.disk))
    }
}

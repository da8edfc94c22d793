//! Reads a layer from a place to its end, and believes none of it.
//!
//! **Owns** the walk along the chain of batches: the order, the links, what is fetched ahead.
//! **Never** skips a batch, and never hands one out before its bytes, its place and its link hold.
//! The blocks inside are the caller's to judge: their certificates, and what they lead to.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use lifeboat_engine::types::{ChainId, Height};
use tokio::task::JoinHandle;

use crate::batch::{Batch, BatchError};
use crate::layer::{Layer, LayerError};
use crate::tip::{LinkError, Tip};

/// Batches under way at once: bounds memory to this many of the largest, packed and unpacked.
const AHEAD: usize = 8;
/// Entries of one page of the index.
const PAGE: usize = 1024;
/// Tries for a batch of a layer that is away.
const TRIES: u32 = 5;
/// Wait before the second try; doubles.
const RETRY_FIRST: Duration = Duration::from_millis(100);

/// Where a walk begins.
#[derive(Clone, Copy, Debug)]
pub enum Start {
    /// At the first batch.
    Genesis,
    /// Right behind a batch that is known.
    After(Tip),
    /// At the batch that holds a height; what it names as its predecessor is taken on trust.
    Containing(Height),
}

/// Why a walk cannot go on. Each names the batch by the height that it begins, or should begin, at.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The layer itself failed.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// The layer lists a batch that it does not have.
    #[error("the batch at block {0} is listed but gone")]
    Gone(Height),
    /// Its bytes are not a batch.
    #[error("the batch at block {first} is damaged: {error}")]
    Damaged {
        /// Which.
        first: Height,
        /// How.
        error: BatchError,
    },
    /// A whole batch in another's place.
    #[error("where the batch at block {listed} should be is the one at block {found}")]
    Misplaced {
        /// Where it was found.
        listed: Height,
        /// Where it belongs.
        found: Height,
    },
    /// A whole batch that does not continue the chain.
    #[error("the batch at block {first} does not continue the chain: {error}")]
    Link {
        /// Which.
        first: Height,
        /// Why not.
        error: LinkError,
    },
}

/// How far a walk is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadProgress {
    /// Height of the first block, once known.
    pub from: Height,
    /// Height of the last block handed out.
    pub read: Height,
    /// First height of the newest batch when the layer was last asked.
    pub newest: Height,
    /// Batches handed out.
    pub batches: u64,
    /// Their bytes as published.
    pub bytes: u64,
    /// Their bytes unpacked.
    pub plain_bytes: u64,
}

impl ReadProgress {
    /// How much of the way is done, from 0 to 1.
    pub fn fraction(&self) -> f64 {
        let way = self.newest.get().saturating_sub(self.from.get()).max(1);
        let done = self.read.get().saturating_sub(self.from.get());
        (done as f64 / way as f64).min(1.0)
    }
}

/// A walk along a layer's batches.
pub struct Reader {
    layer: Arc<dyn Layer>,
    chain: ChainId,
    /// What the next batch must follow; `None` until a first one was found.
    tip: Option<Tip>,
    /// Blocks below are not asked for.
    wanted: Height,
    listed: VecDeque<Height>,
    /// The last height that was ever listed.
    last_listed: Option<Height>,
    fetching: VecDeque<(Height, Fetching)>,
    progress: ReadProgress,
}

impl Reader {
    /// A walk over the batches of venue `chain`. Nothing is read yet.
    pub fn new(layer: Arc<dyn Layer>, chain: ChainId, start: Start) -> Self {
        let (tip, wanted) = match start {
            Start::Genesis => (Some(Tip::genesis(chain)), Height::new(1)),
            Start::After(tip) => (Some(tip), tip.next),
            Start::Containing(height) => (None, height),
        };
        Self {
            layer,
            chain,
            tip,
            wanted,
            listed: VecDeque::new(),
            last_listed: None,
            fetching: VecDeque::new(),
            progress: ReadProgress::default(),
        }
    }

    /// How far the walk is.
    pub const fn progress(&self) -> &ReadProgress {
        &self.progress
    }

    /// The end of what was handed out, to go on from later. `None` while that is not known, which
    /// only a start in the middle has.
    pub const fn tip(&self) -> Option<Tip> {
        self.tip
    }

    /// The next batch; `None` at the layer's end. Asked again later it sees what was published since.
    ///
    /// # Errors
    /// What is wrong with the next batch. A walk does not go on past it.
    pub async fn next(&mut self) -> Result<Option<Batch>, ReadError> {
        loop {
            self.fetch_ahead().await?;
            let Some((first, fetching)) = self.fetching.pop_front() else {
                return Ok(None);
            };
            let batch = fetching.done(first).await?;
            if let Some(batch) = self.place(first, batch)? {
                return Ok(Some(batch));
            }
        }
    }

    async fn fetch_ahead(&mut self) -> Result<(), ReadError> {
        if self.listed.is_empty() && self.fetching.is_empty() {
            self.list_more().await?;
        }
        while self.fetching.len() < AHEAD {
            let Some(first) = self.listed.pop_front() else {
                break;
            };
            let layer = Arc::clone(&self.layer);
            let task = tokio::spawn(async move { fetch(&*layer, first).await });
            self.fetching.push_back((first, Fetching(task)));
        }
        Ok(())
    }

    async fn list_more(&mut self) -> Result<(), ReadError> {
        let from = match self.last_listed {
            Some(last) => last.next(),
            None => self.wanted,
        };
        let page = self.layer.list(from, PAGE).await?;
        let last = self.last_listed;
        self.listed
            .extend(page.into_iter().filter(|first| Some(*first) > last));
        self.last_listed = self.listed.back().copied().or(last);
        let newest = self.layer.newest().await?;
        self.progress.newest = newest.unwrap_or_default();
        Ok(())
    }

    /// Puts a batch behind the tip; `None` if it lies before what is wanted.
    fn place(&mut self, listed: Height, batch: Batch) -> Result<Option<Batch>, ReadError> {
        let header = *batch.header();
        if header.first != listed {
            let found = header.first;
            return Err(ReadError::Misplaced { listed, found });
        }
        let refused = |error| ReadError::Link {
            first: listed,
            error,
        };
        let before = self.progress.batches == 0 && header.last < self.wanted;
        let tip = match self.tip {
            Some(tip) if before => {
                // The known batch itself, or an older one: it is passed over, unless it is another
                // one in the known batch's place.
                let known = header.last == tip.published() && header.chain == tip.chain;
                if known && batch.digest() != tip.digest {
                    return Err(refused(LinkError::Fork {
                        height: tip.next,
                        expected: tip.digest,
                        found: batch.digest(),
                    }));
                }
                return Ok(None);
            }
            Some(tip) => tip,
            None => Tip {
                chain: self.chain,
                next: header.first,
                digest: header.previous,
            },
        };
        let next = tip.follow(&batch).map_err(refused)?;
        self.tip = Some(next);
        if before {
            return Ok(None);
        }
        self.note(&batch);
        Ok(Some(batch))
    }

    fn note(&mut self, batch: &Batch) {
        let (header, progress) = (batch.header(), &mut self.progress);
        if progress.batches == 0 {
            progress.from = header.first;
        }
        progress.read = header.last;
        progress.batches += 1;
        progress.bytes += batch.encoded().len() as u64;
        progress.plain_bytes += u64::from(header.plain_len);
    }
}

/// A batch on its way; given up when dropped.
struct Fetching(JoinHandle<Result<Batch, ReadError>>);

impl Fetching {
    async fn done(mut self, first: Height) -> Result<Batch, ReadError> {
        let stopped = |error| {
            let what = format!("reading the batch at block {first} was stopped: {error}");
            ReadError::Layer(LayerError::Transient(what))
        };
        (&mut self.0).await.map_err(stopped)?
    }
}

impl Drop for Fetching {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn fetch(layer: &dyn Layer, first: Height) -> Result<Batch, ReadError> {
    let mut wait = RETRY_FIRST;
    let mut tries = 1;
    let bytes = loop {
        match layer.fetch(first).await {
            Err(error) if error.is_transient() && tries < TRIES => {
                tracing::warn!(layer = layer.name(), %first, %error, "reading again");
                tokio::time::sleep(wait).await;
                wait *= 2;
                tries += 1;
            }
            answer => break answer?.ok_or(ReadError::Gone(first))?,
        }
    };
    // Hashing and unpacking megabytes is not for a thread that serves sockets.
    let decode = tokio::task::spawn_blocking(move || Batch::decode(bytes));
    let stopped = |_| LayerError::Transient("the runtime is stopping".into());
    let decoded = decode.await.map_err(stopped)?;
    decoded.map_err(|error| ReadError::Damaged { first, error })
}

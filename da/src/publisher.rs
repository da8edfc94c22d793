//! The task that keeps a layer up to date with what is finalized.
//!
//! **Owns** when a batch is cut, the order of publishing, and patience with a layer that is down.
//! **Never** buffers: a batch is made from blocks read back from the venue's own log, so a layer that
//! is away for a day costs one batch of memory. After a restart, or when somebody else published
//! meanwhile, it goes on from the layer's newest batch, once that batch is found to hold the blocks
//! that were finalized here.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lifeboat_engine::AgreedRoot;
use lifeboat_engine::types::{ChainId, Digest, Height, TimeMs};
use tokio::sync::watch;

use crate::batch::{Batch, Entry, SealError};
use crate::layer::{Layer, LayerError, newest_batch};
use crate::limits::{BATCH_BLOCKS_MAX, BATCH_PLAIN_BYTES_MAX};
use crate::tip::Tip;

/// A finalized block as its source keeps it.
#[derive(Clone, Debug)]
pub struct SourceBlock {
    /// The block and its certificate, encoded.
    pub entry: Entry,
    /// The block's agreed time.
    pub time: TimeMs,
}

/// The source cannot serve a block that it finalized.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the venue's log cannot serve block {height}: {reason}")]
pub struct SourceError {
    /// Which block.
    pub height: Height,
    /// Why not.
    pub reason: String,
}

/// Finalized blocks, read back from the venue's log.
#[async_trait]
pub trait BlockSource: Send + Sync {
    /// Height of the newest finalized block; 0 if there is none.
    async fn finalized(&self) -> Height;

    /// A finalized block; `None` if it is not finalized yet.
    ///
    /// # Errors
    /// When it is finalized but cannot be served: pruned, or damaged.
    async fn block(&self, height: Height) -> Result<Option<SourceBlock>, SourceError>;

    /// The newest state root that a certificate covers, for readers to compare with.
    async fn certified_root(&self) -> Option<AgreedRoot> {
        None
    }
}

/// When a batch is cut, and how patient the publisher is. Every value has a default.
#[derive(Clone, Copy, Debug)]
pub struct PublisherConfig {
    /// Time between two batches, as long as the layer keeps up.
    pub interval: Duration,
    /// Bytes of blocks after which a batch is full; at least one block goes in whatever its size.
    pub batch_plain_bytes: usize,
    /// Wait after the first failure in a row; doubles with each more.
    pub retry_first: Duration,
    /// Longest wait between two tries.
    pub retry_max: Duration,
    /// Batches after which the layer is asked whether it still has them, so that a chain that
    /// dropped one (a reorganisation) is filled again.
    pub audit_every: u64,
}

impl Default for PublisherConfig {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(1),
            batch_plain_bytes: 4 << 20,
            retry_first: Duration::from_millis(100),
            retry_max: Duration::from_secs(10),
            audit_every: 60,
        }
    }
}

/// How far publishing is. All counters run since this publisher started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Height of the last published block; the acknowledgement level `published` means it.
    pub published: Height,
    /// Digest of the batch that holds it.
    pub digest: Digest,
    /// Whether `published` was read from the layer yet.
    pub connected: bool,
    /// Finalized blocks that are not published.
    pub lag_blocks: u64,
    /// Age of the oldest finalized block that is not published, in milliseconds.
    pub lag_ms: u64,
    /// Batches published.
    pub batches: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Failures in a row; 0 when the layer answers.
    pub failures: u32,
    /// What the last failure said, while it lasts.
    pub trouble: Option<String>,
}

/// Why publishing stopped for good.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// A block that should be published next cannot be read.
    #[error("{0}; nothing after it is published until the log is repaired")]
    Source(#[from] SourceError),
    /// Blocks break the format's bounds.
    #[error("blocks from {height} on cannot be made a batch: {error}")]
    Seal {
        /// The first of them.
        height: Height,
        /// Why.
        error: SealError,
    },
    /// The layer holds another history than this venue's.
    #[error(
        "the layer's batch at block {first} holds another block {height} than was finalized here; \
         nothing was overwritten; find out whose batch it is before you publish to another place"
    )]
    OtherHistory {
        /// Where that batch begins.
        first: Height,
        /// The block that differs.
        height: Height,
    },
    /// The layer's newest batch is another venue's.
    #[error("the layer is in use by venue {found}; this venue is {expected}")]
    OtherVenue {
        /// Ours.
        expected: ChainId,
        /// Theirs.
        found: ChainId,
    },
}

/// What one step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing finalized is unpublished.
    Idle,
    /// A batch was published, by us or by somebody else before us; `more` if another may follow
    /// at once.
    Published {
        /// Whether to go on without a pause.
        more: bool,
    },
    /// The layer failed; the same is tried again.
    Failed,
}

/// Publishes finalized blocks in order.
pub struct Publisher {
    layer: Arc<dyn Layer>,
    source: Arc<dyn BlockSource>,
    config: PublisherConfig,
    chain: ChainId,
    tip: Option<Tip>,
    /// Sealed and not known to be published: retried as it is, so that a try that went through
    /// without an answer is not followed by another batch in its place.
    pending: Option<(Batch, bool)>,
    since_audit: u64,
    progress: watch::Sender<Progress>,
}

impl Publisher {
    /// A publisher of a venue's blocks to a layer. Nothing happens until it is driven.
    pub fn new(
        chain: ChainId,
        layer: Arc<dyn Layer>,
        source: Arc<dyn BlockSource>,
        config: PublisherConfig,
    ) -> Self {
        Self {
            layer,
            source,
            config,
            chain,
            tip: None,
            pending: None,
            since_audit: 0,
            progress: watch::Sender::new(Progress::default()),
        }
    }

    /// How far publishing is, now and later.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// Publishes until it is dropped, or cannot go on. `now` is the wall clock that lag is told by.
    ///
    /// # Errors
    /// When going on would publish something wrong; a layer that is away is waited for.
    pub async fn run(mut self, now: impl Fn() -> TimeMs + Send) -> Result<(), PublishError> {
        let mut cuts = tokio::time::interval(self.config.interval);
        cuts.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            match self.step(now()).await? {
                Step::Published { more: true } => {}
                Step::Published { more: false } | Step::Idle => {
                    cuts.tick().await;
                }
                Step::Failed => tokio::time::sleep(self.backoff()).await,
            }
        }
    }

    /// Publishes one batch of what is finalized, if anything is, without waiting for time to pass.
    ///
    /// # Errors
    /// As [`Publisher::run`].
    pub async fn step(&mut self, now: TimeMs) -> Result<Step, PublishError> {
        let step = self.attempt().await;
        self.note_lag(now).await?;
        match step {
            Ok(step) => Ok(step),
            Err(Failure::Fatal(error)) => Err(error),
            Err(Failure::Layer(error)) => {
                self.note_failure(&error);
                Ok(Step::Failed)
            }
        }
    }

    async fn attempt(&mut self) -> Result<Step, Failure> {
        let tip = match self.tip {
            Some(tip) if self.since_audit < self.config.audit_every => tip,
            _ => self.resume().await?,
        };
        if self.pending.is_none() {
            self.pending = self.cut(&tip).await?;
        }
        let Some((batch, more)) = &self.pending else {
            self.note_health();
            return Ok(Step::Idle);
        };
        let more = *more;
        match self.layer.publish(batch).await {
            Ok(_) => {
                self.tip = Some(batch.tip());
                self.note_published(batch);
                self.since_audit += 1;
                self.pending = None;
                Ok(Step::Published { more })
            }
            Err(LayerError::Conflict(first)) => {
                // Somebody else was first: go on behind them, if they did get further.
                if self.resume().await? == tip {
                    return Err(LayerError::Conflict(first).into());
                }
                Ok(Step::Published { more: true })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Reads where the layer is, and makes sure that it holds this venue's history.
    async fn resume(&mut self) -> Result<Tip, Failure> {
        let newest = newest_batch(&*self.layer).await?;
        let tip = match &newest {
            None => Tip::genesis(self.chain),
            Some(batch) => {
                self.compare(batch).await?;
                batch.tip()
            }
        };
        if self.tip != Some(tip) {
            tracing::info!(layer = self.layer.name(), published = %tip.published(), "publishing goes on");
            self.pending = None;
        }
        self.tip = Some(tip);
        self.since_audit = 0;
        self.progress.send_modify(|progress| {
            progress.published = tip.published();
            progress.digest = tip.digest;
            progress.connected = true;
        });
        Ok(tip)
    }

    /// The layer's newest batch against the venue's own log, as far as the log goes.
    async fn compare(&self, batch: &Batch) -> Result<(), PublishError> {
        let found = batch.header().chain;
        if found != self.chain {
            let expected = self.chain;
            return Err(PublishError::OtherVenue { expected, found });
        }
        for (height, entry) in batch.blocks() {
            // A block that is pruned or not here yet cannot be compared; consensus decides on it.
            if let Ok(Some(ours)) = self.source.block(height).await
                && ours.entry.block != entry.block
            {
                let first = batch.header().first;
                return Err(PublishError::OtherHistory { first, height });
            }
        }
        Ok(())
    }

    /// Makes a batch of what is finalized behind `tip`, and says whether it is full.
    async fn cut(&self, tip: &Tip) -> Result<Option<(Batch, bool)>, PublishError> {
        let bytes_max = self.config.batch_plain_bytes.min(BATCH_PLAIN_BYTES_MAX);
        let (mut entries, mut bytes) = (Vec::new(), 0);
        let mut full = false;
        while let Some(found) = self.next_block(tip, entries.len()).await? {
            full = !entries.is_empty() && bytes + found.entry.plain_len() > bytes_max;
            if full {
                break;
            }
            bytes += found.entry.plain_len();
            entries.push(found.entry);
            full = entries.len() == BATCH_BLOCKS_MAX;
            if full {
                break;
            }
        }
        if entries.is_empty() {
            return Ok(None);
        }
        let root = self.source.certified_root().await;
        let height = tip.next;
        let sealed = Batch::seal(tip, root, entries);
        let batch = sealed.map_err(|error| PublishError::Seal { height, error })?;
        Ok(Some((batch, full)))
    }

    async fn next_block(
        &self,
        tip: &Tip,
        offset: usize,
    ) -> Result<Option<SourceBlock>, SourceError> {
        let height = Height::new(tip.next.get() + offset as u64);
        self.source.block(height).await
    }

    fn backoff(&self) -> Duration {
        let failures = self.progress.borrow().failures;
        let doubled = 1_u32 << failures.saturating_sub(1).min(16);
        self.config
            .retry_max
            .min(self.config.retry_first.saturating_mul(doubled))
    }

    async fn note_lag(&self, now: TimeMs) -> Result<(), PublishError> {
        let finalized = self.source.finalized().await.get();
        let published = self.tip.map_or(0, |tip| tip.published().get());
        let blocks = finalized.saturating_sub(published);
        let oldest = match blocks {
            0 => None,
            _ => self.source.block(Height::new(published + 1)).await?,
        };
        self.progress.send_modify(|progress| {
            progress.lag_blocks = blocks;
            progress.lag_ms = oldest.map_or(0, |block| now.since(block.time));
        });
        Ok(())
    }

    fn note_published(&self, batch: &Batch) {
        self.progress.send_modify(|progress| {
            progress.published = batch.header().last;
            progress.digest = batch.digest();
            progress.batches += 1;
            progress.bytes += batch.encoded().len() as u64;
            progress.failures = 0;
            progress.trouble = None;
        });
    }

    fn note_health(&self) {
        self.progress.send_modify(|progress| {
            progress.failures = 0;
            progress.trouble = None;
        });
    }

    fn note_failure(&self, error: &LayerError) {
        let layer = self.layer.name();
        if error.is_transient() {
            tracing::warn!(layer, %error, "publishing waits");
        } else {
            tracing::error!(layer, %error, "publishing is refused");
        }
        self.progress.send_modify(|progress| {
            progress.failures = progress.failures.saturating_add(1);
            progress.trouble = Some(error.to_string());
        });
    }
}

/// What a step can fail on.
enum Failure {
    Layer(LayerError),
    Fatal(PublishError),
}

impl From<LayerError> for Failure {
    fn from(error: LayerError) -> Self {
        Self::Layer(error)
    }
}

impl From<PublishError> for Failure {
    fn from(error: PublishError) -> Self {
        Self::Fatal(error)
    }
}

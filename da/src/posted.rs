//! Batches that are posted to a chain in pieces, and found again without an index of that chain.
//!
//! **Owns** the walk: every piece's label names the block of the piece before, so from the newest
//! one the whole history is found by following the labels back; only the chain's quiet end is read
//! block by block. What was found is remembered. **Never** believes a label further than to look
//! there: batches are verified by whoever reads them.

use std::collections::BTreeMap;
use std::fmt::Debug;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use lifeboat_engine::types::{ChainId, Digest, Height};
use tokio::sync::Mutex;

use crate::batch::Batch;
use crate::label::Label;
use crate::layer::{Layer, LayerError, Receipt};

/// A piece of a batch that is on the chain.
#[derive(Clone, Debug)]
pub(crate) struct Piece<H> {
    pub label: Label,
    /// The chain's block that holds it.
    pub block: u64,
    /// What the chain needs to give its bytes.
    pub handle: H,
}

/// A chain that pieces are posted to.
#[async_trait]
pub(crate) trait PostingChain: Send + Sync + 'static {
    /// What finds a piece's bytes.
    type Handle: Clone + Debug + Send + Sync;

    /// What and where, for a person.
    fn name(&self) -> String;

    /// Bytes that fit one piece.
    fn piece_bytes(&self) -> usize;

    /// The newest block that is taken for settled.
    async fn head(&self) -> Result<u64, LayerError>;

    /// The venue's pieces in a block, in the order in which they were posted.
    async fn pieces(&self, block: u64) -> Result<Vec<Piece<Self::Handle>>, LayerError>;

    /// A piece's bytes.
    async fn bytes(&self, piece: &Piece<Self::Handle>) -> Result<Bytes, LayerError>;

    /// Posts a piece and returns once its block is settled.
    async fn post(&self, label: &Label, bytes: &[u8]) -> Result<u64, LayerError>;
}

/// What is known of the chain.
struct Known<H> {
    /// Blocks up to here were looked at.
    scanned: u64,
    /// The newest block with a piece; 0 if there is none.
    newest: u64,
    /// Whole batches by their first height; the first one that was whole counts.
    whole: BTreeMap<u64, Vec<Piece<H>>>,
    /// Pieces of batches that are not whole.
    partial: BTreeMap<(u64, Digest), Vec<Piece<H>>>,
    /// A walk that was interrupted: found so far, newest first, and where it goes on.
    walk: Option<Walk<H>>,
}

struct Walk<H> {
    head: u64,
    at: u64,
    found: Vec<Piece<H>>,
}

impl<H> Known<H> {
    const fn nothing(start: u64) -> Self {
        Self {
            scanned: start.saturating_sub(1),
            newest: 0,
            whole: BTreeMap::new(),
            partial: BTreeMap::new(),
            walk: None,
        }
    }

    /// The label of a piece that was found in a block.
    fn label_in(&self, block: u64) -> Option<Label> {
        let mut pieces = self.whole.values().chain(self.partial.values()).flatten();
        let found = pieces.find(|piece| piece.block == block);
        found.map(|piece| piece.label)
    }

    fn add(&mut self, piece: Piece<H>) {
        self.newest = self.newest.max(piece.block);
        let label = piece.label;
        let key = (label.first.get(), label.digest);
        let pieces = self.partial.entry(key).or_default();
        let next = pieces.last().map_or(0, |last| last.label.end());
        if label.offset != next || pieces.first().is_some_and(|p| p.label.bytes != label.bytes) {
            return;
        }
        pieces.push(piece);
        if label.end() == label.bytes {
            let pieces = self.partial.remove(&key).unwrap_or_default();
            self.whole.entry(key.0).or_insert(pieces);
        }
    }
}

/// A layer on a posting chain.
pub(crate) struct Posted<C: PostingChain> {
    chain: C,
    venue: ChainId,
    /// Blocks before this one hold nothing of the venue's.
    start: u64,
    known: Mutex<Known<C::Handle>>,
}

impl<C: PostingChain> Posted<C> {
    pub fn new(chain: C, venue: ChainId, start: u64) -> Self {
        Self {
            chain,
            venue,
            start,
            known: Mutex::new(Known::nothing(start)),
        }
    }

    /// Takes in what was posted since the last look.
    async fn look(&self, known: &mut Known<C::Handle>) -> Result<(), LayerError> {
        if known.walk.is_some() {
            self.walk_back(known).await?;
        }
        let head = self.chain.head().await?;
        known.walk = Some(Walk {
            head,
            at: head,
            found: Vec::new(),
        });
        self.walk_back(known).await
    }

    /// Walks from a head back to what is known. A failure leaves the walk where it is.
    async fn walk_back(&self, known: &mut Known<C::Handle>) -> Result<(), LayerError> {
        let Some(walk) = &mut known.walk else {
            return Ok(());
        };
        while walk.at > known.scanned {
            let mut pieces = self.chain.pieces(walk.at).await?;
            pieces.retain(|piece| piece.label.chain == self.venue);
            let before = pieces.first().map(|piece| piece.label.previous);
            walk.found.extend(pieces.into_iter().rev());
            walk.at = match before {
                // A label that points forward is nobody's; it is not followed.
                Some(block) if block < walk.at => block,
                _ => walk.at.saturating_sub(1),
            };
        }
        known.scanned = known.scanned.max(walk.head);
        let found = std::mem::take(&mut walk.found);
        known.walk = None;
        for piece in found.into_iter().rev() {
            known.add(piece);
        }
        Ok(())
    }

    /// Forgets everything if the newest piece is not where it was: the chain was reorganised.
    async fn recheck(&self, known: &mut Known<C::Handle>) -> Result<(), LayerError> {
        if known.newest == 0 {
            return Ok(());
        }
        let newest = known.newest;
        let expected = known.label_in(newest);
        let pieces = self.chain.pieces(newest).await?;
        let found: Vec<Label> = pieces.into_iter().map(|piece| piece.label).collect();
        if !expected.is_none_or(|label| found.contains(&label)) {
            tracing::warn!(
                layer = self.chain.name(),
                block = newest,
                "the chain dropped what it held; reading it anew"
            );
            *known = Known::nothing(self.start);
        }
        Ok(())
    }
}

#[async_trait]
impl<C: PostingChain> Layer for Posted<C> {
    fn name(&self) -> String {
        self.chain.name()
    }

    async fn publish(&self, batch: &Batch) -> Result<Receipt, LayerError> {
        let mut known = self.known.lock().await;
        self.look(&mut known).await?;
        let first = batch.header().first;
        let key = (first.get(), batch.digest());
        let whole = known.whole.get(&first.get());
        let mut block = match whole.and_then(|pieces| pieces.last()) {
            Some(piece) if piece.label.digest != batch.digest() => {
                return Err(LayerError::Conflict(first));
            }
            Some(piece) => piece.block,
            None => {
                // Pieces that an interrupted try left are not posted again.
                let there = known.partial.get(&key).and_then(|pieces| pieces.last());
                let mut offset = there.map_or(0, |piece| piece.label.end());
                let mut block = known.newest;
                while (offset as usize) < batch.encoded().len() {
                    let label = Label::of(batch, offset, self.chain.piece_bytes(), block);
                    let range = offset as usize..label.end() as usize;
                    block = self.chain.post(&label, &batch.encoded()[range]).await?;
                    offset = label.end();
                }
                block
            }
        };
        self.look(&mut known).await?;
        // Whoever was first in the chain's order has the place.
        if let Some(piece) = known.whole.get(&first.get()).and_then(|found| found.last()) {
            if piece.label.digest != batch.digest() {
                return Err(LayerError::Conflict(first));
            }
            block = piece.block;
        }
        Ok(Receipt {
            published: batch.header().last,
            digest: batch.digest(),
            location: format!("{}, up to block {block}", self.chain.name()),
        })
    }

    async fn list(&self, from: Height, limit: usize) -> Result<Vec<Height>, LayerError> {
        let mut known = self.known.lock().await;
        self.look(&mut known).await?;
        let floor = known.whole.range(..=from.get()).next_back();
        let start = floor.map_or(from.get(), |(first, _)| *first);
        let firsts = known.whole.range(start..).map(|(first, _)| *first);
        Ok(firsts.take(limit).map(Height::new).collect())
    }

    async fn fetch(&self, first: Height) -> Result<Option<Bytes>, LayerError> {
        let pieces = {
            let mut known = self.known.lock().await;
            if !known.whole.contains_key(&first.get()) {
                self.look(&mut known).await?;
            }
            known.whole.get(&first.get()).cloned()
        };
        let Some(pieces) = pieces else {
            return Ok(None);
        };
        let mut whole = BytesMut::new();
        for piece in &pieces {
            let bytes = self.chain.bytes(piece).await?;
            if bytes.len() != piece.label.len as usize {
                let (block, found) = (piece.block, bytes.len());
                let what = format!("the piece in block {block} has {found} bytes");
                return Err(LayerError::Corrupt(what));
            }
            whole.extend_from_slice(&bytes);
        }
        Ok(Some(whole.freeze()))
    }

    async fn newest(&self) -> Result<Option<Height>, LayerError> {
        let mut known = self.known.lock().await;
        self.recheck(&mut known).await?;
        self.look(&mut known).await?;
        Ok(known
            .whole
            .keys()
            .next_back()
            .map(|first| Height::new(*first)))
    }
}

#[cfg(test)]
mod tests;

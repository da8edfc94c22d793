use std::sync::Arc;
use std::sync::Mutex as Lock;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use lifeboat_engine::types::{ChainId, Height};

use super::{Piece, Posted, PostingChain};
use crate::batch::{Batch, Entry};
use crate::label::Label;
use crate::layer::{Layer as _, LayerError};
use crate::tip::Tip;

const VENUE: ChainId = ChainId([4; 32]);

/// A chain of blocks in memory; what is posted goes into the next block.
#[derive(Default)]
struct Blocks {
    /// Block 0 is empty.
    held: Lock<Vec<Vec<(Label, Bytes)>>>,
    looks: AtomicU64,
    /// Calls that fail once this many went through.
    fails_after: AtomicU64,
}

impl Blocks {
    fn mine(&self, pieces: Vec<(Label, Bytes)>) -> u64 {
        let mut held = self.held.lock().unwrap();
        held.push(pieces);
        held.len() as u64
    }

    fn count(&self) -> Result<(), LayerError> {
        self.looks.fetch_add(1, Ordering::SeqCst);
        match self.fails_after.load(Ordering::SeqCst) {
            0 => Ok(()),
            1 => Err(LayerError::Transient("away".into())),
            left => {
                self.fails_after.store(left - 1, Ordering::SeqCst);
                Ok(())
            }
        }
    }
}

#[async_trait]
impl PostingChain for Arc<Blocks> {
    type Handle = usize;

    fn name(&self) -> String {
        "blocks".into()
    }

    fn piece_bytes(&self) -> usize {
        100
    }

    async fn head(&self) -> Result<u64, LayerError> {
        Ok(self.held.lock().unwrap().len() as u64)
    }

    async fn pieces(&self, block: u64) -> Result<Vec<Piece<usize>>, LayerError> {
        self.count()?;
        let held = self.held.lock().unwrap();
        let pieces = held.get(block as usize - 1).into_iter().flatten();
        let piece = |(handle, (label, _)): (usize, &(Label, Bytes))| Piece {
            label: *label,
            block,
            handle,
        };
        Ok(pieces.enumerate().map(piece).collect())
    }

    async fn bytes(&self, piece: &Piece<usize>) -> Result<Bytes, LayerError> {
        let held = self.held.lock().unwrap();
        Ok(held[piece.block as usize - 1][piece.handle].1.clone())
    }

    async fn post(&self, label: &Label, bytes: &[u8]) -> Result<u64, LayerError> {
        self.count()?;
        Ok(self.mine(vec![(*label, Bytes::copy_from_slice(bytes))]))
    }
}

fn layer(blocks: &Arc<Blocks>) -> Posted<Arc<Blocks>> {
    Posted::new(Arc::clone(blocks), VENUE, 1)
}

fn batch(tip: &Tip, bytes: usize) -> Batch {
    let noise = (0..bytes as u32).map(|at| (at.wrapping_mul(0x9e37_79b9) >> 24) as u8);
    let entry = Entry {
        block: noise.collect::<Vec<_>>().into(),
        certificate: Bytes::new(),
    };
    Batch::seal(tip, None, vec![entry]).unwrap()
}

fn chain_of(count: usize, bytes: usize) -> Vec<Batch> {
    let mut tip = Tip::genesis(VENUE);
    let made = std::iter::repeat_with(|| {
        let made = batch(&tip, bytes);
        tip = made.tip();
        made
    });
    made.take(count).collect()
}

async fn firsts(layer: &Posted<Arc<Blocks>>) -> Vec<u64> {
    let listed = layer.list(Height::new(0), 1000).await.unwrap();
    listed.iter().map(|first| first.get()).collect()
}

/// A piece of its own making, whoever made it.
fn piece(batch: &Batch, offset: u32, previous: u64) -> (Label, Bytes) {
    let label = Label::of(batch, offset, 100, previous);
    let range = offset as usize..label.end() as usize;
    (label, batch.encoded().slice(range))
}

#[tokio::test]
async fn pieces_are_found_by_their_labels_and_not_block_by_block() {
    let blocks = Arc::new(Blocks::default());
    let writer = layer(&blocks);
    let made = chain_of(4, 300);
    for batch in &made {
        writer.publish(batch).await.unwrap();
        // Others use the chain as well.
        for _ in 0..50 {
            blocks.mine(Vec::new());
        }
    }
    blocks.looks.store(0, Ordering::SeqCst);
    let reader = layer(&blocks);
    assert_eq!(firsts(&reader).await, [1, 2, 3, 4]);
    let pieces = made.iter().map(|batch| batch.encoded().len().div_ceil(100));
    let looks = pieces.sum::<usize>() as u64 + 50;
    assert_eq!(blocks.looks.load(Ordering::SeqCst), looks);
    for batch in &made {
        let fetched = reader.fetch(batch.header().first).await.unwrap();
        assert_eq!(fetched.as_ref(), Some(batch.encoded()));
    }
    assert_eq!(reader.newest().await.unwrap(), Some(Height::new(4)));
    assert_eq!(reader.fetch(Height::new(9)).await.unwrap(), None);
}

/// Whatever the call that fails, the same calls made again find or publish everything once.
#[tokio::test]
async fn an_interruption_anywhere_is_made_good() {
    let made = chain_of(3, 250);
    for fails_after in 2..40 {
        let blocks = Arc::new(Blocks::default());
        blocks.fails_after.store(fails_after, Ordering::SeqCst);
        let writer = layer(&blocks);
        for batch in &made {
            if writer.publish(batch).await.is_err() {
                blocks.fails_after.store(0, Ordering::SeqCst);
                writer.publish(batch).await.unwrap();
            }
        }
        let pieces: usize = blocks.held.lock().unwrap().iter().map(Vec::len).sum();
        let expected = made.iter().map(|batch| batch.encoded().len().div_ceil(100));
        assert_eq!(pieces, expected.sum::<usize>(), "after {fails_after} calls");
        let reader = layer(&blocks);
        blocks.fails_after.store(fails_after, Ordering::SeqCst);
        if reader.list(Height::new(1), 9).await.is_err() {
            blocks.fails_after.store(0, Ordering::SeqCst);
        }
        assert_eq!(
            firsts(&reader).await,
            [1, 2, 3],
            "after {fails_after} calls"
        );
    }
}

#[tokio::test]
async fn a_batch_that_was_never_finished_does_not_count() {
    let blocks = Arc::new(Blocks::default());
    let (tip, started) = (Tip::genesis(VENUE), batch(&Tip::genesis(VENUE), 900));
    blocks.mine(vec![piece(&started, 0, 0)]);
    blocks.mine(vec![piece(&started, 100, 1)]);
    let writer = layer(&blocks);
    assert_eq!(writer.newest().await.unwrap(), None);
    // After a restart the publisher cuts another one in its place.
    let other = batch(&tip, 150);
    writer.publish(&other).await.unwrap();
    assert_eq!(firsts(&layer(&blocks)).await, [1]);
    let fetched = writer.fetch(Height::new(1)).await.unwrap();
    assert_eq!(fetched.as_ref(), Some(other.encoded()));
    // Finished later, the first one has lost its place.
    let conflict = writer.publish(&started).await.unwrap_err();
    assert!(matches!(conflict, LayerError::Conflict(_)), "{conflict}");
}

#[tokio::test]
async fn what_does_not_fit_together_is_left_out() {
    let blocks = Arc::new(Blocks::default());
    let made = chain_of(2, 150);
    let foreign = batch(&Tip::genesis(ChainId([5; 32])), 20);
    // Another venue's, a hole, a repetition, a label that points forward, and one at itself.
    blocks.mine(vec![piece(&foreign, 0, 0)]);
    blocks.mine(vec![piece(&made[0], 100, 99), piece(&made[0], 0, 2)]);
    blocks.mine(vec![piece(&made[0], 0, 2), piece(&made[0], 100, 3)]);
    blocks.mine(vec![piece(&made[0], 200, 3)]);
    blocks.mine(vec![piece(&made[1], 0, 4)]);
    assert_eq!(made[0].encoded().len().div_ceil(100), 4);
    blocks.mine(vec![piece(&made[0], 300, 5)]);
    let reader = layer(&blocks);
    assert_eq!(firsts(&reader).await, [1]);
    let fetched = reader.fetch(Height::new(1)).await.unwrap();
    assert_eq!(fetched.as_ref(), Some(made[0].encoded()));
}

/// The newest blocks are replaced by others; what they held is published anew.
#[tokio::test]
async fn a_reorganisation_is_noticed() {
    let blocks = Arc::new(Blocks::default());
    let writer = layer(&blocks);
    let made = chain_of(3, 20);
    for batch in &made[..2] {
        writer.publish(batch).await.unwrap();
    }
    assert_eq!(writer.newest().await.unwrap(), Some(Height::new(2)));
    let pieces = made[1].encoded().len().div_ceil(100);
    {
        let mut held = blocks.held.lock().unwrap();
        let kept = held.len() - pieces;
        held.truncate(kept);
        held.extend(std::iter::repeat_n(Vec::new(), pieces + 3));
    }
    assert_eq!(writer.newest().await.unwrap(), Some(Height::new(1)));
    for batch in &made[1..] {
        writer.publish(batch).await.unwrap();
    }
    assert_eq!(firsts(&writer).await, [1, 2, 3]);
    assert_eq!(firsts(&layer(&blocks)).await, [1, 2, 3]);
}

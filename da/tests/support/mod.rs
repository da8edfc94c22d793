//! What the tests of every layer share: a venue's log in memory, layers that misbehave, and what
//! every layer must do.
#![allow(dead_code)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use lifeboat_da::{
    Batch, BlockSource, Entry, Layer, LayerError, Reader, SourceBlock, SourceError, Start, Tip,
};
use lifeboat_engine::types::{ChainId, Height, TimeMs};

pub const CHAIN: ChainId = ChainId([5; 32]);
/// The time of block 0; blocks come 100 ms apart.
pub const TIME_0: u64 = 1_700_000_000_000;

/// The block at a height, of about `bytes` bytes that do not compress well.
pub fn block(height: u64, bytes: usize) -> Entry {
    let mut state = height.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut noise = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let body: Vec<u8> = (0..bytes / 8 + 1).flat_map(|_| noise()).collect();
    Entry {
        block: body.into(),
        certificate: format!("certificate of {height}").into_bytes().into(),
    }
}

/// A venue's log, computed instead of stored.
pub struct Log {
    pub finalized: AtomicU64,
    pub block_bytes: usize,
}

impl Log {
    pub fn new(finalized: u64, block_bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            finalized: finalized.into(),
            block_bytes,
        })
    }

    pub fn grow(&self, blocks: u64) {
        self.finalized.fetch_add(blocks, Ordering::SeqCst);
    }
}

#[async_trait]
impl BlockSource for Log {
    async fn finalized(&self) -> Height {
        Height::new(self.finalized.load(Ordering::SeqCst))
    }

    async fn block(&self, height: Height) -> Result<Option<SourceBlock>, SourceError> {
        let there = height <= self.finalized().await;
        Ok(there.then(|| SourceBlock {
            entry: block(height.get(), self.block_bytes),
            time: time_of(height.get()),
        }))
    }
}

pub fn time_of(height: u64) -> TimeMs {
    TimeMs::new(TIME_0 + height * 100)
}

/// `count` batches of `blocks` blocks each, from genesis.
pub fn batches(count: u64, blocks: u64, bytes: usize) -> Vec<Batch> {
    let mut tip = Tip::genesis(CHAIN);
    let mut made = Vec::new();
    for _ in 0..count {
        let first = tip.next.get();
        let entries = (first..first + blocks).map(|height| block(height, bytes));
        let batch = Batch::seal(&tip, None, entries.collect()).unwrap();
        tip = batch.tip();
        made.push(batch);
    }
    made
}

/// Everything a layer holds, verified.
pub async fn read_all(layer: Arc<dyn Layer>) -> Vec<Batch> {
    let mut reader = Reader::new(layer, CHAIN, Start::Genesis);
    let mut read = Vec::new();
    while let Some(batch) = reader.next().await.unwrap() {
        read.push(batch);
    }
    read
}

/// What every layer does. `layer` is empty, and `again` opens the same place anew.
pub async fn conformance(
    layer: Arc<dyn Layer>,
    again: impl Fn() -> Arc<dyn Layer>,
    made: &[Batch],
) {
    assert!(made.len() >= 3, "the suite looks into the middle");
    assert_eq!(layer.newest().await.unwrap(), None);
    assert_eq!(layer.list(Height::new(1), 10).await.unwrap(), []);
    assert_eq!(layer.fetch(Height::new(1)).await.unwrap(), None);
    for batch in made {
        let receipt = layer.publish(batch).await.unwrap();
        assert_eq!(receipt.published, batch.header().last);
        assert_eq!(receipt.digest, batch.digest());
    }
    // The same again changes nothing; another in its place is refused.
    let last = &made[made.len() - 1];
    layer.publish(last).await.unwrap();
    let before = made[made.len() - 2].tip();
    let other = Batch::seal(&before, None, vec![block(0, 10)]).unwrap();
    let refused = layer.publish(&other).await.unwrap_err();
    let first = last.header().first;
    assert!(
        matches!(refused, LayerError::Conflict(at) if at == first),
        "{refused}"
    );
    // Whoever opens the place sees all of it.
    for layer in [layer, again()] {
        let firsts: Vec<_> = made.iter().map(|batch| batch.header().first).collect();
        assert_eq!(layer.newest().await.unwrap(), Some(first));
        assert_eq!(layer.list(Height::new(1), 1000).await.unwrap(), firsts);
        assert_eq!(layer.list(Height::new(0), 2).await.unwrap(), firsts[..2]);
        let middle = made[1].header();
        assert_eq!(layer.list(middle.first, 1).await.unwrap(), [middle.first]);
        assert_eq!(layer.list(middle.last, 2).await.unwrap(), firsts[1..3]);
        let beyond = Height::new(last.header().last.get() + 100);
        assert_eq!(layer.list(beyond, 9).await.unwrap(), [first]);
        assert_eq!(layer.fetch(beyond).await.unwrap(), None);
        let fetched = layer.fetch(middle.first).await.unwrap();
        assert_eq!(fetched.as_ref(), Some(made[1].encoded()));
        assert_eq!(read_all(layer).await, made);
    }
}

/// A layer in memory, with what a test does to it.
#[derive(Default)]
pub struct Memory {
    pub held: std::sync::Mutex<std::collections::BTreeMap<u64, Bytes>>,
    /// Calls that fail before the layer answers again.
    pub outage: AtomicU64,
    /// Publishes that go through, and are answered with an error.
    pub unanswered: AtomicU64,
}

impl Memory {
    pub fn put(&self, first: u64, bytes: Bytes) {
        self.held.lock().unwrap().insert(first, bytes);
    }

    fn up(&self) -> Result<(), LayerError> {
        let take = |left: u64| left.checked_sub(1);
        match self
            .outage
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, take)
        {
            Ok(_) => Err(LayerError::Transient("switched off".into())),
            Err(_) => Ok(()),
        }
    }
}

#[async_trait]
impl Layer for Memory {
    fn name(&self) -> String {
        "memory".into()
    }

    async fn publish(&self, batch: &Batch) -> Result<lifeboat_da::Receipt, LayerError> {
        self.up()?;
        let first = batch.header().first;
        let mut held = self.held.lock().unwrap();
        let there = held.entry(first.get()).or_insert(batch.encoded().clone());
        if there != batch.encoded() {
            return Err(LayerError::Conflict(first));
        }
        drop(held);
        let take = |left: u64| left.checked_sub(1);
        let lost = self
            .unanswered
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, take);
        if lost.is_ok() {
            return Err(LayerError::Transient("no answer".into()));
        }
        Ok(lifeboat_da::Receipt {
            published: batch.header().last,
            digest: batch.digest(),
            location: first.to_string(),
        })
    }

    async fn list(&self, from: Height, limit: usize) -> Result<Vec<Height>, LayerError> {
        self.up()?;
        let held = self.held.lock().unwrap();
        let floor = held.range(..=from.get()).next_back();
        let start = floor.map_or(from.get(), |(first, _)| *first);
        let firsts = held.range(start..).map(|(first, _)| Height::new(*first));
        Ok(firsts.take(limit).collect())
    }

    async fn fetch(&self, first: Height) -> Result<Option<Bytes>, LayerError> {
        self.up()?;
        Ok(self.held.lock().unwrap().get(&first.get()).cloned())
    }

    async fn newest(&self) -> Result<Option<Height>, LayerError> {
        self.up()?;
        let held = self.held.lock().unwrap();
        Ok(held.keys().next_back().map(|first| Height::new(*first)))
    }
}

//! Blocks in vote, and the certificates that make them final.
//!
//! **Owns** the shortest way from a certificate to execution: blocks that this node proposed or judged are
//! kept until their certificate is seen, and are executed then. Consensus's own store delivers every final
//! block too, once it is durable there, and what did not come this way comes that way. **Never** makes a block
//! final: a certificate does, and 2f + 1 validators have the block on disk before they vote for one.

use std::collections::VecDeque;
use std::sync::Mutex;

use bytes::Bytes;
use commonware_cryptography::keccak256::Digest as BlockDigest;
use lifeboat_engine::types::Digest;
use tokio::sync::Notify;

use crate::block::Block;
use crate::shared::lock;

/// Blocks that are kept, and certificates: far more than are in vote at a time.
const KEPT_MAX: usize = 16;

/// A certificate as it is logged, and the digest of its block.
type Sealed = (BlockDigest, Bytes);

#[derive(Debug, Default)]
struct Kept {
    blocks: VecDeque<(BlockDigest, Block)>,
    certificates: VecDeque<Sealed>,
}

/// Where blocks in vote meet their certificates.
#[derive(Debug, Default)]
pub struct Finality {
    kept: Mutex<Kept>,
    sealed: Notify,
}

/// The last so many are kept.
fn keep<T>(queue: &mut VecDeque<T>, item: T) {
    if queue.len() >= KEPT_MAX {
        queue.pop_front();
    }
    queue.push_back(item);
}

impl Finality {
    /// Keeps a block that this node proposed or judges.
    pub fn in_vote(&self, digest: BlockDigest, block: &Block) {
        let mut kept = lock(&self.kept);
        if kept.blocks.iter().all(|(other, _)| *other != digest) {
            keep(&mut kept.blocks, (digest, block.clone()));
        }
    }

    /// Takes in a verified certificate of the block with this digest, encoded.
    pub fn certified(&self, digest: BlockDigest, certificate: Bytes) {
        keep(&mut lock(&self.kept).certificates, (digest, certificate));
        self.sealed.notify_one();
    }

    /// The final block on `parent` and its certificate, if both are here.
    fn child_of(&self, parent: Digest) -> Option<(Block, Bytes)> {
        let kept = lock(&self.kept);
        let mut children = kept
            .blocks
            .iter()
            .filter(|(_, block)| block.header().parent == parent);
        children.find_map(|(digest, block)| {
            let mut certificates = kept.certificates.iter();
            let (_, certificate) = certificates.find(|(sealed, _)| sealed == digest)?;
            Some((block.clone(), certificate.clone()))
        })
    }

    /// Resolves with the final block on `parent` and its certificate, once both are here. One task waits.
    pub async fn next(&self, parent: Digest) -> (Block, Bytes) {
        loop {
            if let Some(found) = self.child_of(parent) {
                return found;
            }
            self.sealed.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use commonware_cryptography::Digestible as _;
    use futures::FutureExt as _;
    use lifeboat_engine::types::{ChainId, TimeMs};

    fn block(time: u64) -> (BlockDigest, Block) {
        let block = Block::genesis(ChainId([7; 32]), TimeMs::new(time), Digest([1; 32]));
        (block.digest(), block)
    }

    #[test]
    fn a_block_is_final_with_its_own_certificate_and_on_its_own_parent() {
        let finality = Finality::default();
        let ((first, one), (second, two)) = (block(1), block(2));
        let parent = one.header().parent;
        assert_eq!(parent, two.header().parent, "they compete");
        finality.in_vote(first, &one);
        finality.in_vote(first, &one);
        finality.in_vote(second, &two);
        assert!(finality.next(parent).now_or_never().is_none());
        finality.certified(BlockDigest([9; 32]), Bytes::from_static(b"other"));
        assert!(finality.next(parent).now_or_never().is_none());
        finality.certified(second, Bytes::from_static(b"two"));
        let (found, certificate) = finality.next(parent).now_or_never().expect("it is final");
        assert_eq!((found, &certificate[..]), (two, &b"two"[..]));
        assert!(finality.next(Digest([3; 32])).now_or_never().is_none());
    }

    #[test]
    fn a_certificate_may_come_first_and_what_is_old_is_forgotten() {
        let finality = Finality::default();
        let (digest, last) = block(0);
        let parent = last.header().parent;
        finality.certified(digest, Bytes::from_static(b"certificate"));
        finality.in_vote(digest, &last);
        assert!(finality.next(parent).now_or_never().is_some());
        for time in 1..=KEPT_MAX as u64 {
            let (digest, block) = block(time);
            finality.in_vote(digest, &block);
        }
        assert!(finality.next(parent).now_or_never().is_none());
        assert_eq!(lock(&finality.kept).blocks.len(), KEPT_MAX);
    }
}

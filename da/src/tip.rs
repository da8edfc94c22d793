//! Where a chain of batches ends, and whether another one belongs there.

use lifeboat_engine::types::{ChainId, Digest, Height};

use crate::batch::Batch;

/// The end of a chain of batches: what the next one must say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tip {
    /// Which venue.
    pub chain: ChainId,
    /// Height of the first block that is not in a batch yet.
    pub next: Height,
    /// Digest of the last batch; zero if there is none.
    pub digest: Digest,
}

/// Why a batch, itself in order, does not belong behind a tip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// Another venue's.
    #[error("it is of venue {found}, not of {expected}")]
    OtherChain {
        /// Ours.
        expected: ChainId,
        /// The batch's.
        found: ChainId,
    },
    /// Blocks between the tip and the batch are missing.
    #[error("blocks {from} to {to} are missing")]
    Gap {
        /// First missing height.
        from: Height,
        /// Last missing height.
        to: Height,
    },
    /// It holds blocks that an earlier batch holds.
    #[error("it repeats blocks {from} to {to}, which earlier batches hold")]
    Replayed {
        /// First repeated height.
        from: Height,
        /// Last repeated height.
        to: Height,
    },
    /// It begins at the right height, behind another history.
    #[error("at block {height} it follows batch {found}, but the chain so far ends in {expected}")]
    Fork {
        /// Where the histories part.
        height: Height,
        /// The digest of the batch we have.
        expected: Digest,
        /// The digest that it names.
        found: Digest,
    },
}

impl Tip {
    /// A venue of which nothing was published.
    pub const fn genesis(chain: ChainId) -> Self {
        Self {
            chain,
            next: Height::new(1),
            digest: Digest([0; 32]),
        }
    }

    /// Height of the last block that is in a batch; 0 if none is.
    pub const fn published(&self) -> Height {
        Height::new(self.next.get().saturating_sub(1))
    }

    /// The tip after `batch`.
    ///
    /// # Errors
    /// When the batch does not belong right here.
    pub fn follow(&self, batch: &Batch) -> Result<Self, LinkError> {
        let header = batch.header();
        if header.chain != self.chain {
            return Err(LinkError::OtherChain {
                expected: self.chain,
                found: header.chain,
            });
        }
        if header.first > self.next {
            return Err(LinkError::Gap {
                from: self.next,
                to: Height::new(header.first.get() - 1),
            });
        }
        if header.first < self.next {
            return Err(LinkError::Replayed {
                from: header.first,
                to: header.last.min(self.published()),
            });
        }
        if header.previous != self.digest {
            return Err(LinkError::Fork {
                height: header.first,
                expected: self.digest,
                found: header.previous,
            });
        }
        Ok(batch.tip())
    }
}

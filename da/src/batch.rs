//! One batch: consecutive finalized blocks, compressed, and the link to the batch before.
//!
//! **Owns** the format: its layout, its bounds and its digest. **Never** looks inside a block or a
//! certificate; whether they are true is for whoever replays them.
//!
//! ```text
//! magic      4   "LBDA"
//! version    2   1
//! chain     32   which venue
//! first      8   height of the first block
//! last       8   height of the last block; blocks have no gaps, so this is their count as well
//! previous  32   digest of the batch that ends at first − 1; zero if first is 1
//! root at    8   a height whose certified state root follows; 0 if none
//! root      32   that root; zero if none
//! plain      4   bytes of the body before compression
//! packed     4   bytes of the body as it follows
//! body           one zstd frame of: (block length 4, certificate length 4, block, certificate) …
//! digest    32   keccak256 of everything before it
//! ```
//! Integers are big-endian. The digest covers the bytes as published, so nothing is decompressed
//! before it is known to be what was written. Two compressions of the same blocks are two batches;
//! the successor's link says which one is meant.

use bytes::{BufMut, Bytes, BytesMut};
use lifeboat_engine::AgreedRoot;
use lifeboat_engine::commitment::keccak256;
use lifeboat_engine::types::{ChainId, Digest, Height};

use crate::limits::{
    BATCH_BLOCKS_MAX, BATCH_BYTES_MAX, BATCH_PLAIN_BYTES_MAX, CERTIFICATE_BYTES_MAX,
    ENTRY_BLOCK_BYTES_MAX,
};
use crate::tip::Tip;

mod decode;

pub use decode::BatchError;

/// The first bytes of every batch.
pub const MAGIC: [u8; 4] = *b"LBDA";
/// The layout above.
pub const VERSION: u16 = 1;
/// Bytes before the body.
pub const HEADER_BYTES: usize = 4 + 2 + 32 + 8 + 8 + 32 + 8 + 32 + 4 + 4;
/// Bytes of the digest at the end.
pub const DIGEST_BYTES: usize = 32;
/// Two lengths in front of every entry.
const ENTRY_OVERHEAD: usize = 4 + 4;
/// zstd's level: one core compresses about as fast as it hashes. See `benches/batch.rs`.
const LEVEL: i32 = 1;

/// One finalized block as consensus encodes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// The block.
    pub block: Bytes,
    /// Its finalization certificate. May be empty: the certificate of a later block covers it.
    pub certificate: Bytes,
}

impl Entry {
    /// Bytes that this entry takes in a body before compression.
    pub const fn plain_len(&self) -> usize {
        ENTRY_OVERHEAD + self.block.len() + self.certificate.len()
    }
}

/// What stands before a batch's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Which venue.
    pub chain: ChainId,
    /// Height of the first block; never 0, for genesis is not a block.
    pub first: Height,
    /// Height of the last block.
    pub last: Height,
    /// Digest of the batch that ends right before `first`.
    pub previous: Digest,
    /// A certified state root that the publisher knew, for a reader to compare with.
    pub root: Option<AgreedRoot>,
    /// Bytes of the body before compression.
    pub plain_len: u32,
    /// Bytes of the body as published.
    pub packed_len: u32,
}

impl Header {
    /// How many blocks the batch holds.
    pub const fn blocks(&self) -> u64 {
        // A header with `last` before `first` is never made: see `check` in `decode`.
        self.last.get() - self.first.get() + 1
    }

    fn encode(&self, out: &mut BytesMut) {
        let (root_height, root) = match self.root {
            Some(root) => (root.height.get(), root.root),
            None => (0, Digest::default()),
        };
        out.put_slice(&MAGIC);
        out.put_u16(VERSION);
        out.put_slice(&self.chain.0);
        out.put_u64(self.first.get());
        out.put_u64(self.last.get());
        out.put_slice(&self.previous.0);
        out.put_u64(root_height);
        out.put_slice(&root.0);
        out.put_u32(self.plain_len);
        out.put_u32(self.packed_len);
    }
}

/// Why blocks cannot become a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// There is nothing to publish.
    #[error("a batch holds at least one block")]
    Empty,
    /// More than [`BATCH_BLOCKS_MAX`].
    #[error("{0} blocks are more than the {BATCH_BLOCKS_MAX} that fit one batch")]
    TooManyBlocks(usize),
    /// More than [`ENTRY_BLOCK_BYTES_MAX`].
    #[error("block {height} has {bytes} bytes, more than {ENTRY_BLOCK_BYTES_MAX}")]
    BlockTooLarge {
        /// Whose.
        height: Height,
        /// How many.
        bytes: usize,
    },
    /// More than [`CERTIFICATE_BYTES_MAX`].
    #[error(
        "the certificate of block {height} has {bytes} bytes, more than {CERTIFICATE_BYTES_MAX}"
    )]
    CertificateTooLarge {
        /// Whose.
        height: Height,
        /// How many.
        bytes: usize,
    },
    /// More than [`BATCH_PLAIN_BYTES_MAX`].
    #[error("{0} bytes of blocks are more than the {BATCH_PLAIN_BYTES_MAX} that fit one batch")]
    TooLarge(usize),
    /// A root at height 0 would read as no root.
    #[error("genesis has no certified root")]
    RootOfGenesis,
    /// The compressor refused; it never does for bytes in memory.
    #[error("the blocks could not be compressed")]
    Compression,
}

/// Consecutive finalized blocks with the link to the batch before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    header: Header,
    digest: Digest,
    encoded: Bytes,
    entries: Vec<Entry>,
}

impl Batch {
    /// Makes the batch that follows `tip` from the blocks right behind it.
    ///
    /// # Errors
    /// When the blocks are none, too many or too large.
    pub fn seal(
        tip: &Tip,
        root: Option<AgreedRoot>,
        entries: Vec<Entry>,
    ) -> Result<Self, SealError> {
        if root.is_some_and(|root| root.height.get() == 0) {
            return Err(SealError::RootOfGenesis);
        }
        let plain = plain_body(tip.next, &entries)?;
        let packed = zstd::bulk::compress(&plain, LEVEL).map_err(|_| SealError::Compression)?;
        let count = entries.len() as u64;
        let header = Header {
            chain: tip.chain,
            first: tip.next,
            last: Height::new(tip.next.get() + (count - 1)),
            previous: tip.digest,
            root,
            plain_len: plain.len() as u32,
            packed_len: packed.len() as u32,
        };
        let mut encoded = BytesMut::with_capacity(HEADER_BYTES + packed.len() + DIGEST_BYTES);
        header.encode(&mut encoded);
        encoded.put_slice(&packed);
        let digest = keccak256(&encoded);
        encoded.put_slice(&digest.0);
        debug_assert!(encoded.len() <= BATCH_BYTES_MAX);
        Ok(Self {
            header,
            digest,
            encoded: encoded.freeze(),
            entries,
        })
    }

    /// What stands before the body.
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// What the next batch names as its predecessor.
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// The bytes to publish.
    pub const fn encoded(&self) -> &Bytes {
        &self.encoded
    }

    /// The blocks, in height order, with their heights.
    pub fn blocks(&self) -> impl ExactSizeIterator<Item = (Height, &Entry)> {
        let first = self.header.first.get();
        let numbered = self.entries.iter().enumerate();
        numbered.map(move |(index, entry)| (Height::new(first + index as u64), entry))
    }

    /// The blocks without a copy.
    pub fn into_entries(self) -> Vec<Entry> {
        self.entries
    }

    /// The chain of batches after this one.
    pub const fn tip(&self) -> Tip {
        Tip {
            chain: self.header.chain,
            next: self.header.last.next(),
            digest: self.digest,
        }
    }
}

fn plain_body(first: Height, entries: &[Entry]) -> Result<Vec<u8>, SealError> {
    if entries.is_empty() {
        return Err(SealError::Empty);
    }
    if entries.len() > BATCH_BLOCKS_MAX {
        return Err(SealError::TooManyBlocks(entries.len()));
    }
    let bytes = entries.iter().map(Entry::plain_len).sum();
    if bytes > BATCH_PLAIN_BYTES_MAX {
        return Err(SealError::TooLarge(bytes));
    }
    let mut plain = Vec::with_capacity(bytes);
    for (index, entry) in entries.iter().enumerate() {
        let height = Height::new(first.get() + index as u64);
        let (block, certificate) = (entry.block.len(), entry.certificate.len());
        if block > ENTRY_BLOCK_BYTES_MAX {
            let bytes = block;
            return Err(SealError::BlockTooLarge { height, bytes });
        }
        if certificate > CERTIFICATE_BYTES_MAX {
            let bytes = certificate;
            return Err(SealError::CertificateTooLarge { height, bytes });
        }
        plain.put_u32(block as u32);
        plain.put_u32(certificate as u32);
        plain.put_slice(&entry.block);
        plain.put_slice(&entry.certificate);
    }
    Ok(plain)
}

#[cfg(test)]
mod tests;

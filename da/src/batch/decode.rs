//! Reading a batch that anybody may have written.

use bytes::{Buf, Bytes};
use lifeboat_engine::AgreedRoot;
use lifeboat_engine::commitment::keccak256;
use lifeboat_engine::types::{ChainId, Digest, Height};

use super::{Batch, DIGEST_BYTES, ENTRY_OVERHEAD, Entry, HEADER_BYTES, Header, MAGIC, VERSION};
use crate::limits::{
    BATCH_BLOCKS_MAX, BATCH_BYTES_MAX, BATCH_PLAIN_BYTES_MAX, CERTIFICATE_BYTES_MAX,
    ENTRY_BLOCK_BYTES_MAX,
};

/// Why bytes are not a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// Longer than any batch is.
    #[error("{0} bytes are more than the {BATCH_BYTES_MAX} of the largest batch")]
    Oversized(usize),
    /// It ends before it is whole.
    #[error("it ends after {have} of {need} bytes")]
    Truncated {
        /// Bytes that its lengths call for.
        need: usize,
        /// Bytes that are there.
        have: usize,
    },
    /// Bytes behind its end.
    #[error("{0} bytes follow its end")]
    Trailing(usize),
    /// It does not begin as a batch does.
    #[error("it does not begin like a batch")]
    NotABatch,
    /// A layout that this code does not read.
    #[error("its format is version {0}; this reader knows version {VERSION}")]
    Version(u16),
    /// Something changed since it was written.
    #[error("its bytes hash to {found}, but it was written as {written}")]
    Altered {
        /// The digest at its end.
        written: Digest,
        /// The digest of what is there.
        found: Digest,
    },
    /// Heights that run backwards, start at genesis, or are more than a batch holds.
    #[error("it claims blocks {first} to {last}")]
    Heights {
        /// Claimed first height.
        first: Height,
        /// Claimed last height.
        last: Height,
    },
    /// Only the batch at height 1 has no predecessor, and it has none.
    #[error("it begins at block {0} and its predecessor does not fit that")]
    Predecessor(Height),
    /// A root without a height, or a height without one.
    #[error("its root is not of a height")]
    Root,
    /// It would unpack to more than a batch may hold: a decompression bomb.
    #[error("it would unpack to {0} bytes; no batch has more than {BATCH_PLAIN_BYTES_MAX}")]
    Bomb(u64),
    /// What unpacks is not as long as it says.
    #[error("its body does not unpack to the {0} bytes that it names")]
    Body(u32),
    /// A block or certificate is longer than any may be, or than the body is.
    #[error("the entry of block {0} is malformed")]
    Entry(Height),
}

impl Batch {
    /// Reads one whole batch; blocks share the unpacked body's memory.
    ///
    /// Memory is bounded by [`BATCH_PLAIN_BYTES_MAX`], whatever the bytes say. Whether the batch
    /// belongs where it was found is for [`crate::Tip::follow`] to say.
    ///
    /// # Errors
    /// When the bytes are not one whole batch, and why.
    pub fn decode(encoded: impl Into<Bytes>) -> Result<Self, BatchError> {
        let encoded = encoded.into();
        let header = Header::decode(&encoded)?;
        let signed_len = HEADER_BYTES + header.packed_len as usize;
        exactly(encoded.len(), signed_len + DIGEST_BYTES)?;
        let (signed, seal) = encoded.split_at(signed_len);
        let digest = keccak256(signed);
        if digest.0 != seal {
            let mut written = Digest::default();
            written.0.copy_from_slice(seal);
            let found = digest;
            return Err(BatchError::Altered { written, found });
        }
        header.check()?;
        let plain = unpack(&header, &signed[HEADER_BYTES..])?;
        let entries = entries(&header, plain)?;
        Ok(Self {
            header,
            digest,
            encoded,
            entries,
        })
    }
}

impl Header {
    /// Reads what stands before the body, without a look at the body or the digest: enough to know
    /// what a batch claims to be, not that it is.
    ///
    /// # Errors
    /// When bytes are missing, too many, or of something else.
    pub fn decode(encoded: &[u8]) -> Result<Self, BatchError> {
        if encoded.len() > BATCH_BYTES_MAX {
            return Err(BatchError::Oversized(encoded.len()));
        }
        let known = encoded.len().min(MAGIC.len());
        if encoded[..known] != MAGIC[..known] {
            return Err(BatchError::NotABatch);
        }
        if encoded.len() < HEADER_BYTES {
            let (need, have) = (HEADER_BYTES, encoded.len());
            return Err(BatchError::Truncated { need, have });
        }
        let mut rest = &encoded[MAGIC.len()..];
        let version = rest.get_u16();
        if version != VERSION {
            return Err(BatchError::Version(version));
        }
        let chain = ChainId(bytes32(&mut rest));
        let (first, last) = (Height::new(rest.get_u64()), Height::new(rest.get_u64()));
        let previous = Digest(bytes32(&mut rest));
        let (root_height, root) = (Height::new(rest.get_u64()), Digest(bytes32(&mut rest)));
        if root_height.get() == 0 && root != Digest::default() {
            return Err(BatchError::Root);
        }
        let root = AgreedRoot {
            height: root_height,
            root,
        };
        Ok(Self {
            chain,
            first,
            last,
            previous,
            root: (root_height.get() != 0).then_some(root),
            plain_len: rest.get_u32(),
            packed_len: rest.get_u32(),
        })
    }

    fn check(&self) -> Result<(), BatchError> {
        let (first, last) = (self.first, self.last);
        let span = last.get().checked_sub(first.get());
        let fits = span.is_some_and(|span| span < BATCH_BLOCKS_MAX as u64);
        if first.get() == 0 || !fits {
            return Err(BatchError::Heights { first, last });
        }
        if (first.get() == 1) != (self.previous == Digest::default()) {
            return Err(BatchError::Predecessor(first));
        }
        if self.plain_len as usize > BATCH_PLAIN_BYTES_MAX {
            return Err(BatchError::Bomb(self.plain_len.into()));
        }
        Ok(())
    }
}

fn exactly(have: usize, need: usize) -> Result<(), BatchError> {
    match have.checked_sub(need) {
        None => Err(BatchError::Truncated { need, have }),
        Some(0) => Ok(()),
        Some(more) => Err(BatchError::Trailing(more)),
    }
}

fn bytes32(from: &mut &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    from.copy_to_slice(&mut out);
    out
}

/// The body's plain bytes: one frame, as long as the header says. Room is made for that and no more.
fn unpack(header: &Header, packed: &[u8]) -> Result<Bytes, BatchError> {
    let wrong = BatchError::Body(header.plain_len);
    let frame = zstd::zstd_safe::find_frame_compressed_size(packed).map_err(|_| wrong)?;
    let claimed = zstd::zstd_safe::get_frame_content_size(packed).map_err(|_| wrong)?;
    match claimed {
        Some(claimed) if claimed > BATCH_PLAIN_BYTES_MAX as u64 => {
            return Err(BatchError::Bomb(claimed));
        }
        Some(claimed) if claimed == u64::from(header.plain_len) && frame == packed.len() => {}
        _ => return Err(wrong),
    }
    let plain = zstd::bulk::decompress(packed, header.plain_len as usize).map_err(|_| wrong)?;
    if plain.len() != header.plain_len as usize {
        return Err(wrong);
    }
    Ok(plain.into())
}

fn entries(header: &Header, mut plain: Bytes) -> Result<Vec<Entry>, BatchError> {
    let mut entries = Vec::with_capacity(header.blocks() as usize);
    for height in header.first.get()..=header.last.get() {
        let malformed = BatchError::Entry(Height::new(height));
        if plain.len() < ENTRY_OVERHEAD {
            return Err(malformed);
        }
        let (block, certificate) = (plain.get_u32() as usize, plain.get_u32() as usize);
        let bounded = block <= ENTRY_BLOCK_BYTES_MAX && certificate <= CERTIFICATE_BYTES_MAX;
        if !bounded || plain.len() < block + certificate {
            return Err(malformed);
        }
        entries.push(Entry {
            block: plain.split_to(block),
            certificate: plain.split_to(certificate),
        });
    }
    if !plain.is_empty() {
        return Err(BatchError::Entry(header.last));
    }
    Ok(entries)
}

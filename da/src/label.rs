//! What stands on every piece of a batch that is posted to a chain.

use bytes::{Buf as _, BufMut as _};
use lifeboat_engine::types::{ChainId, Digest, Height};

use crate::batch::{Batch, HEADER_BYTES};
use crate::limits::{BATCH_BLOCKS_MAX, BATCH_BYTES_MAX};

/// The first bytes of every label.
const MAGIC: [u8; 4] = *b"LBDP";
/// Bytes of a label.
pub(crate) const LABEL_BYTES: usize = 4 + 32 + 8 + 8 + 32 + 4 + 4 + 4 + 8;

/// Which piece of which batch, and where the piece posted before it is. Integers are big-endian, in
/// this order, behind the magic `LBDP`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Label {
    /// Which venue.
    pub chain: ChainId,
    /// First block of the batch.
    pub first: Height,
    /// Last block of the batch.
    pub last: Height,
    /// The batch's digest.
    pub digest: Digest,
    /// Bytes of the whole batch.
    pub bytes: u32,
    /// Where in the batch this piece begins.
    pub offset: u32,
    /// Bytes of this piece.
    pub len: u32,
    /// The posting chain's block that holds the piece posted before this one; 0 for the first.
    pub previous: u64,
}

impl Label {
    /// The label of the piece of `batch` from `offset` on, of at most `piece` bytes.
    pub fn of(batch: &Batch, offset: u32, piece: usize, previous: u64) -> Self {
        let header = batch.header();
        let bytes = batch.encoded().len() as u32;
        Self {
            chain: header.chain,
            first: header.first,
            last: header.last,
            digest: batch.digest(),
            bytes,
            offset,
            len: (bytes - offset).min(piece as u32),
            previous,
        }
    }

    /// Where the piece ends.
    pub const fn end(&self) -> u32 {
        self.offset + self.len
    }

    pub fn encode(&self) -> [u8; LABEL_BYTES] {
        let mut out = [0; LABEL_BYTES];
        let mut rest = &mut out[..];
        rest.put_slice(&MAGIC);
        rest.put_slice(&self.chain.0);
        rest.put_u64(self.first.get());
        rest.put_u64(self.last.get());
        rest.put_slice(&self.digest.0);
        rest.put_u32(self.bytes);
        rest.put_u32(self.offset);
        rest.put_u32(self.len);
        rest.put_u64(self.previous);
        out
    }

    /// Reads a label at the start of `from` and gives what follows it; `None` if there is none, or
    /// one that no piece of a batch has.
    pub fn decode(mut from: &[u8]) -> Option<(Self, &[u8])> {
        if from.len() < LABEL_BYTES || from[..MAGIC.len()] != MAGIC {
            return None;
        }
        from.advance(MAGIC.len());
        let mut chain = ChainId::default();
        from.copy_to_slice(&mut chain.0);
        let (first, last) = (Height::new(from.get_u64()), Height::new(from.get_u64()));
        let mut digest = Digest::default();
        from.copy_to_slice(&mut digest.0);
        let label = Self {
            chain,
            first,
            last,
            digest,
            bytes: from.get_u32(),
            offset: from.get_u32(),
            len: from.get_u32(),
            previous: from.get_u64(),
        };
        label.is_possible().then_some((label, from))
    }

    fn is_possible(&self) -> bool {
        let span = self.last.get().checked_sub(self.first.get());
        let end = self.offset.checked_add(self.len);
        self.first.get() > 0
            && span.is_some_and(|span| span < BATCH_BLOCKS_MAX as u64)
            && (HEADER_BYTES..=BATCH_BYTES_MAX).contains(&(self.bytes as usize))
            && self.len > 0
            && end.is_some_and(|end| end <= self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::{LABEL_BYTES, Label};
    use crate::batch::{Batch, Entry};
    use crate::tip::Tip;
    use lifeboat_engine::types::{ChainId, Height};

    #[test]
    fn labels_come_back_and_impossible_ones_do_not() {
        let tip = Tip::genesis(ChainId([3; 32]));
        let batch = Batch::seal(&tip, None, vec![Entry::default()]).unwrap();
        let label = Label::of(&batch, 100, 40, 77);
        assert_eq!((label.len, label.end()), (40, 140));
        let mut bytes = label.encode().to_vec();
        bytes.extend_from_slice(b"rest");
        assert_eq!(Label::decode(&bytes), Some((label, &b"rest"[..])));
        assert_eq!(Label::decode(&bytes[..LABEL_BYTES - 1]), None);
        bytes[0] ^= 1;
        assert_eq!(Label::decode(&bytes), None);
        let refused = |change: fn(&mut Label)| {
            let mut other = label;
            change(&mut other);
            assert_eq!(Label::decode(&other.encode()), None, "{other:?}");
        };
        refused(|label| label.first = Height::new(0));
        refused(|label| label.last = Height::new(label.first.get() + 1024));
        refused(|label| label.last = Height::new(0));
        refused(|label| label.len = 0);
        refused(|label| label.len = label.bytes);
        refused(|label| label.offset = u32::MAX);
        refused(|label| label.bytes = u32::MAX);
        refused(|label| label.bytes = 20);
    }
}

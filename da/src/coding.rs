//! A batch in shares, so that a few of many holders give it back.
//!
//! **Owns** how a batch is cut into `total` shares of which any `needed` rebuild it (Reed–Solomon), and
//! the proof that a share is one of them. **Never** moves a share anywhere. With n = 3f + 1 validators
//! and `needed` = f + 1, a batch survives the loss of any 2f of them at three times its size.
//!
//! A share's leaf is bound to the batch's digest and to how it was cut, so the root names one batch in
//! one cutting; who has the root, from anyone it trusts, can tell a false share from a true one.

use bytes::Bytes;
use lifeboat_engine::commitment::keccak256;
use lifeboat_engine::types::Digest;

use crate::batch::{Batch, BatchError};
use crate::limits::BATCH_BYTES_MAX;

/// Shares of one batch at most: far more than a venue has validators.
pub const SHARES_MAX: usize = 256;

/// How a batch is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cutting {
    needed: u16,
    total: u16,
}

/// Why shares are not made, or do not give a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodingError {
    /// Not 1 ≤ needed < total ≤ [`SHARES_MAX`].
    #[error("{needed} of {total} shares is not a way to cut a batch")]
    Cutting {
        /// Shares that should suffice.
        needed: usize,
        /// Shares in all.
        total: usize,
    },
    /// A share that the root does not hold.
    #[error("share {0} is not under the root")]
    Proof(u16),
    /// Too few different shares.
    #[error("{have} of {needed} shares")]
    TooFew {
        /// Different shares at hand.
        have: usize,
        /// Shares that suffice.
        needed: usize,
    },
    /// The shares belong together and yet are of no batch: whoever cut them cheated.
    #[error("what the shares give is not a batch: {0}")]
    NotABatch(BatchError),
    /// The shares give a batch other than they name.
    #[error("the shares give batch {found}, but name {named}")]
    OtherBatch {
        /// In the shares.
        named: Digest,
        /// What came out.
        found: Digest,
    },
}

impl Cutting {
    /// `total` shares of which any `needed` suffice.
    ///
    /// # Errors
    /// When that is not possible, or without use.
    pub fn new(needed: usize, total: usize) -> Result<Self, CodingError> {
        if needed == 0 || needed >= total || total > SHARES_MAX {
            return Err(CodingError::Cutting { needed, total });
        }
        Ok(Self {
            needed: needed as u16,
            total: total as u16,
        })
    }

    /// For n = 3f + 1 (or up to two more) validators of whom f may lie and f more may be away.
    ///
    /// # Errors
    /// With fewer than four validators nothing may fail, and there is nothing to spread.
    pub fn of_validators(validators: usize) -> Result<Self, CodingError> {
        Self::new(validators.saturating_sub(1) / 3 + 1, validators)
    }

    /// Shares that suffice.
    pub const fn needed(&self) -> usize {
        self.needed as usize
    }

    /// Shares in all.
    pub const fn total(&self) -> usize {
        self.total as usize
    }

    /// Bytes of each share of a batch: an even number, as the code asks.
    const fn share_bytes(&self, batch_bytes: usize) -> usize {
        let bytes = batch_bytes.div_ceil(self.needed as usize);
        bytes + bytes % 2
    }
}

/// One share of a batch, with the proof that it is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// The batch.
    pub batch: Digest,
    /// The batch's bytes as published.
    pub batch_bytes: u32,
    /// How it was cut.
    pub cutting: Cutting,
    /// Which share, from 0.
    pub index: u16,
    /// Its bytes.
    pub bytes: Bytes,
    /// Siblings on the way from this share's leaf to the root.
    pub proof: Vec<Digest>,
}

impl Share {
    /// Whether this is share `index` of the batch that `root` stands for.
    ///
    /// # Errors
    /// When it is not.
    pub fn verify(&self, root: &Digest) -> Result<(), CodingError> {
        let wrong = CodingError::Proof(self.index);
        let bytes = self.batch_bytes as usize;
        let fits = usize::from(self.index) < self.cutting.total()
            && bytes <= BATCH_BYTES_MAX
            && self.bytes.len() == self.cutting.share_bytes(bytes);
        if !fits {
            return Err(wrong);
        }
        let mut node = self.leaf();
        let (mut at, mut width) = (usize::from(self.index), self.cutting.total());
        let mut siblings = self.proof.iter();
        while width > 1 {
            // The last node of an odd row goes up as it is.
            if at ^ 1 < width {
                let sibling = *siblings.next().ok_or(wrong)?;
                node = match at % 2 {
                    0 => inner(node, sibling),
                    _ => inner(sibling, node),
                };
            }
            (at, width) = (at / 2, width.div_ceil(2));
        }
        if siblings.next().is_some() || node != *root {
            return Err(wrong);
        }
        Ok(())
    }

    fn leaf(&self) -> Digest {
        let mut leaf = Vec::with_capacity(64 + self.bytes.len());
        leaf.push(0);
        leaf.extend_from_slice(&self.batch.0);
        leaf.extend_from_slice(&self.batch_bytes.to_be_bytes());
        leaf.extend_from_slice(&self.cutting.needed.to_be_bytes());
        leaf.extend_from_slice(&self.cutting.total.to_be_bytes());
        leaf.extend_from_slice(&self.index.to_be_bytes());
        leaf.extend_from_slice(&self.bytes);
        keccak256(&leaf)
    }
}

fn inner(left: Digest, right: Digest) -> Digest {
    keccak256(&[&[1], &left.0[..], &right.0[..]].concat())
}

/// Cuts a batch into shares and gives the root that proves them.
///
/// # Panics
/// Never: a batch's bytes and a cutting are bounded well inside what the code takes.
pub fn cut(batch: &Batch, cutting: Cutting) -> (Digest, Vec<Share>) {
    let encoded = batch.encoded();
    let share_bytes = cutting.share_bytes(encoded.len());
    let mut whole = encoded.to_vec();
    whole.resize(share_bytes * cutting.needed(), 0);
    let originals: Vec<&[u8]> = whole.chunks(share_bytes).collect();
    let spare = cutting.total() - cutting.needed();
    let recovery = reed_solomon_simd::encode(cutting.needed(), spare, &originals)
        .expect("1 ≤ needed < total ≤ 256 and even lengths are within the code's bounds");
    let all = originals.into_iter().map(Bytes::copy_from_slice);
    let all = all.chain(recovery.into_iter().map(Bytes::from));
    let mut shares: Vec<Share> = all
        .zip(0_u16..)
        .map(|(bytes, index)| Share {
            batch: batch.digest(),
            batch_bytes: encoded.len() as u32,
            cutting,
            index,
            bytes,
            proof: Vec::new(),
        })
        .collect();
    let root = prove(&mut shares);
    (root, shares)
}

/// Fills in the shares' proofs and gives their root.
fn prove(shares: &mut [Share]) -> Digest {
    let mut row: Vec<Digest> = shares.iter().map(Share::leaf).collect();
    let mut level = 0;
    while row.len() > 1 {
        for share in shares.iter_mut() {
            let sibling = (usize::from(share.index) >> level) ^ 1;
            share.proof.extend(row.get(sibling));
        }
        let up = |pair: &[Digest]| match pair {
            [left, right] => inner(*left, *right),
            // Chunks of two hold one or two.
            _ => pair[0],
        };
        row = row.chunks(2).map(up).collect();
        level += 1;
    }
    row[0]
}

/// Rebuilds a batch from shares, in any order and of which some may be repeated or false.
///
/// # Errors
/// When too few true shares are there, or whoever cut them cheated: then no other shares under this
/// root give a batch either.
pub fn rebuild(root: &Digest, shares: &[Share]) -> Result<Batch, CodingError> {
    let mut held: Vec<Option<&Share>> = vec![None; SHARES_MAX];
    for share in shares.iter().filter(|share| share.verify(root).is_ok()) {
        held[usize::from(share.index)] = Some(share);
    }
    let held: Vec<&Share> = held.into_iter().flatten().collect();
    let Some(any) = held.first() else {
        let named = shares.first().map_or(1, |share| share.cutting.needed());
        return Err(CodingError::TooFew {
            have: 0,
            needed: named,
        });
    };
    let cutting = any.cutting;
    let needed = cutting.needed();
    if held.len() < needed {
        let have = held.len();
        return Err(CodingError::TooFew { have, needed });
    }
    let (originals, spares): (Vec<&Share>, Vec<&Share>) = held
        .iter()
        .partition(|share| usize::from(share.index) < needed);
    let at = |share: &&Share| (usize::from(share.index), share.bytes.clone());
    let mut pieces: Vec<Option<Bytes>> = vec![None; needed];
    for (index, bytes) in originals.iter().map(at) {
        pieces[index] = Some(bytes);
    }
    if originals.len() < needed {
        let spares = spares.iter().map(at);
        let spares = spares.map(|(index, bytes)| (index - needed, bytes));
        let spare = cutting.total() - needed;
        let originals = originals.iter().map(at);
        let restored = reed_solomon_simd::decode(needed, spare, originals, spares);
        let restored = restored.map_err(|_| CodingError::TooFew {
            have: held.len(),
            needed,
        })?;
        for (index, bytes) in restored {
            pieces[index] = Some(bytes.into());
        }
    }
    let mut encoded: Vec<u8> = pieces.into_iter().flatten().flatten().collect();
    encoded.truncate(any.batch_bytes as usize);
    let batch = Batch::decode(encoded).map_err(CodingError::NotABatch)?;
    let (named, found) = (any.batch, batch.digest());
    if named != found {
        return Err(CodingError::OtherBatch { named, found });
    }
    Ok(batch)
}

#[cfg(test)]
mod tests;

//! Whether an account, an order or an instrument is part of a state root.

use borsh::{BorshDeserialize, BorshSerialize};
use lifeboat_engine::commitment::{
    DEPTH_MAX, MerkleProof, Sections, VACANT, depth_of, leaf_digest, leaf_digest_with, state_root,
};
use lifeboat_engine::types::{AccountId, Digest, InstrumentId, OrderId};

use crate::ProofError;

/// Bytes of the longest encoded [`StateProof`]: five sections, count, length, sixteen levels of
/// three digests.
pub const STATE_PROOF_BYTES_MAX: usize = 5 * 32 + 8 + 4 + DEPTH_MAX * 3 * 32;

/// Everything between a state root and one leaf of one of its trees.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct StateProof {
    /// The digests under the state root.
    pub sections: Sections,
    /// From the leaf to its section's tree root.
    pub path: MerkleProof,
}

impl StateProof {
    /// Reads an encoded proof; nothing may follow it.
    ///
    /// # Errors
    /// [`ProofError::Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, ProofError> {
        if bytes.len() > STATE_PROOF_BYTES_MAX {
            return Err(ProofError::Malformed);
        }
        borsh::from_slice(bytes).map_err(|_| ProofError::Malformed)
    }

    /// That `head` and `parts` are the account `id` in the state with this root. The parts are its
    /// stakes in chunks of eight, then its ended client order ids in chunks of sixteen; the head
    /// ends in how many there are of each.
    ///
    /// # Errors
    /// Any [`ProofError`] but `Malformed`.
    pub fn verify_account<P: AsRef<[u8]>>(
        &self,
        root: &Digest,
        id: AccountId,
        head: &[u8],
        parts: &[P],
    ) -> Result<(), ProofError> {
        self.verify_sections(root)?;
        let leaf = leaf_digest_with(head, parts);
        verify_digest(&self.sections.accounts, id.get(), &leaf, &self.path)
    }

    /// That `bytes` is the leaf of the slot of order `id` in the state with this root. The leaf
    /// says whether the slot is free or whose it is, and its generation: the order is live exactly
    /// if the leaf is one of a resting order with the id's own generation.
    ///
    /// # Errors
    /// Any [`ProofError`] but `Malformed`.
    pub fn verify_order(&self, root: &Digest, id: OrderId, bytes: &[u8]) -> Result<(), ProofError> {
        self.verify_sections(root)?;
        verify_leaf(&self.sections.orders, id.slot(), bytes, &self.path)
    }

    /// That `bytes` is the instrument `id` in the state with this root.
    ///
    /// # Errors
    /// Any [`ProofError`] but `Malformed`.
    pub fn verify_instrument(
        &self,
        root: &Digest,
        id: InstrumentId,
        bytes: &[u8],
    ) -> Result<(), ProofError> {
        self.verify_sections(root)?;
        verify_leaf(&self.sections.instruments, id.get(), bytes, &self.path)
    }

    fn verify_sections(&self, root: &Digest) -> Result<(), ProofError> {
        if state_root(&self.sections) == *root {
            Ok(())
        } else {
            Err(ProofError::OtherState)
        }
    }
}

/// That the leaf at `index` of the tree with this root has exactly these bytes.
///
/// # Errors
/// [`ProofError::TooDeep`], `IndexPastEnd`, `WrongDepth` or `NotIncluded`.
pub fn verify_leaf(
    root: &Digest,
    index: u32,
    bytes: &[u8],
    proof: &MerkleProof,
) -> Result<(), ProofError> {
    verify_digest(root, index, &leaf_digest(bytes), proof)
}

/// That no leaf is at `index` of the tree with this root, although the tree goes past it.
///
/// # Errors
/// [`ProofError::TooDeep`], `IndexPastEnd`, `WrongDepth` or `NotIncluded`.
pub fn verify_vacant(root: &Digest, index: u32, proof: &MerkleProof) -> Result<(), ProofError> {
    verify_digest(root, index, &VACANT, proof)
}

fn verify_digest(
    root: &Digest,
    index: u32,
    digest: &Digest,
    proof: &MerkleProof,
) -> Result<(), ProofError> {
    if proof.siblings.len() > DEPTH_MAX {
        return Err(ProofError::TooDeep);
    }
    if u64::from(index) >= proof.count {
        return Err(ProofError::IndexPastEnd);
    }
    if depth_of(proof.count) != Some(proof.siblings.len()) {
        return Err(ProofError::WrongDepth);
    }
    if proof.root(index, digest).as_ref() == Some(root) {
        Ok(())
    } else {
        Err(ProofError::NotIncluded)
    }
}

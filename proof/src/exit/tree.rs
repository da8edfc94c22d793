//! The trees over exit leaves and withdrawals, and what a claimant shows of them.
//!
//! They are the engine's four-ary keccak trees: a leaf ends in another byte than an inner node or a
//! root, so none passes as another, and a root binds its count of leaves.

use alloc::vec::Vec;
use lifeboat_engine::commitment::{MerkleProof, MerkleTree};
use lifeboat_engine::types::Digest;

use super::leaf::{ExitLeaf, LeafView};
use super::withdrawal::WithdrawalLeaf;
use crate::{ProofError, verify_leaf};

/// Leaves that are hashed at once: their digests stay in the first cache.
const CHUNK: u32 = 1_024;

/// Exit leaves by account id, or withdrawals by number, with every inner node kept.
///
/// A change of one leaf costs a path. To recompute all of them on several cores, give each core a
/// [`LeafHasher`] and a part of the accounts, and set the digests here.
#[derive(Clone, Debug, Default)]
pub struct ExitTree {
    tree: MerkleTree,
}

impl ExitTree {
    /// Writes accounts' leaves, each at its account's index.
    pub fn set_accounts(&mut self, leaves: &[LeafView<'_>]) {
        // The tree asks for the bytes in the order of the indices it was given.
        let mut order = leaves.iter();
        let indices = leaves.iter().map(|leaf| leaf.account.get());
        self.tree.set_leaves(indices, |_, out| {
            if let Some(leaf) = order.next() {
                leaf.encode_into(out);
            }
        });
    }

    /// Writes a withdrawal at its number.
    pub fn set_withdrawal(&mut self, leaf: &WithdrawalLeaf) {
        self.tree.set_leaves([leaf.number], |_, out| {
            out.extend_from_slice(&leaf.encode());
        });
    }

    /// Writes digests from [`LeafHasher::hash`], the first at index `first`.
    pub fn set_digests(&mut self, first: u32, digests: &[Digest]) {
        for (index, digest) in (first..).zip(digests) {
            self.tree.set(index, *digest);
        }
    }

    /// Leaves, vacant ones included.
    pub const fn count(&self) -> u64 {
        self.tree.count()
    }

    /// The root, after re-hashing what changed since the last call.
    pub fn root(&mut self) -> Digest {
        self.tree.root()
    }

    /// The path of a leaf to the last root; `None` past the end or when leaves changed since.
    pub fn prove(&self, index: u32) -> Option<MerkleProof> {
        self.tree.prove(index)
    }
}

/// Hashes leaves in vector lanes, apart from the tree: one on each core.
#[derive(Clone, Debug, Default)]
pub struct LeafHasher {
    scratch: MerkleTree,
}

impl LeafHasher {
    /// Appends the digests of the leaves `0..count`, in order; `encode` appends a leaf's bytes to what
    /// it is given.
    pub fn hash(
        &mut self,
        count: u32,
        mut encode: impl FnMut(u32, &mut Vec<u8>),
        out: &mut Vec<Digest>,
    ) {
        let mut start = 0_u32;
        while start < count {
            let length = count.saturating_sub(start).min(CHUNK);
            self.scratch.set_leaves(0..length, |slot, bytes| {
                encode(start.saturating_add(slot), bytes);
            });
            out.extend((0..length).map(|slot| self.scratch.leaf(slot)));
            start = start.saturating_add(length);
        }
    }
}

/// That these bytes are an account's leaf under an accounts root; gives the leaf.
///
/// # Errors
/// [`ProofError::Malformed`] and those of [`verify_leaf`].
pub fn verify_exit_leaf(
    root: &Digest,
    bytes: &[u8],
    proof: &MerkleProof,
) -> Result<ExitLeaf, ProofError> {
    let leaf = ExitLeaf::decode(bytes)?;
    verify_leaf(root, leaf.account.get(), bytes, proof)?;
    Ok(leaf)
}

/// That these bytes are a withdrawal under a withdrawals root; gives the withdrawal.
///
/// # Errors
/// [`ProofError::Malformed`] and those of [`verify_leaf`].
pub fn verify_withdrawal(
    root: &Digest,
    bytes: &[u8],
    proof: &MerkleProof,
) -> Result<WithdrawalLeaf, ProofError> {
    let leaf = WithdrawalLeaf::decode(bytes)?;
    verify_leaf(root, leaf.number, bytes, proof)?;
    Ok(leaf)
}

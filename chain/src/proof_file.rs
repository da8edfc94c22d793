//! The files that a user keeps to leave with: JSON, bytes as hexadecimal strings.

use alloy_primitives::{Address, B256, Bytes};
use lifeboat_engine::commitment::MerkleProof;
use lifeboat_engine::types::Digest;
use lifeboat_proof::exit::{
    ExitLeaf, ExitSummary, WithdrawalLeaf, exit_root, verify_exit_leaf, verify_withdrawal,
};
use serde::{Deserialize, Serialize};

use crate::vault::Checkpoint;

/// Where a header carries its exit root.
const EXIT_ROOT: std::ops::Range<usize> = 176..208;

/// What a saved proof is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Subject {
    /// An account's exit leaf.
    Account,
    /// A certified withdrawal.
    Withdrawal,
}

/// What somebody keeps to leave with, or to claim a withdrawal with; `docs/PROTOCOL.md`, "Saved proofs".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedProof {
    /// Of what.
    pub kind: Subject,
    /// The height that the summary is of.
    pub height: u64,
    /// A certified header that carries the summary's exit root.
    pub header: Bytes,
    /// Its certificate; the signature is its end.
    pub certificate: Bytes,
    /// Digests of the summaries of chains before this one.
    pub before: Vec<B256>,
    /// The vault's exit summary.
    pub summary: Bytes,
    /// Digests of those after it.
    pub after: Vec<B256>,
    /// The leaf.
    pub leaf: Bytes,
    /// Leaves of its tree.
    pub count: u64,
    /// Its path: three digests for each level, from the leaf up.
    pub siblings: Vec<B256>,
}

/// Why a proof file proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofFileError {
    /// A part is not in its format.
    #[error("the proof is malformed: {0}")]
    Malformed(&'static str),
    /// A part does not lead to the next.
    #[error("the proof does not hold: {0}")]
    Broken(&'static str),
    /// It is of another chain or vault.
    #[error("the proof is for another chain or vault than the one that was named")]
    OtherVault,
}

/// A proof of an account that was checked, taken apart.
#[derive(Clone, Debug)]
pub struct CheckedProof {
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// Its summary.
    pub summary: ExitSummary,
    /// The account's leaf.
    pub leaf: ExitLeaf,
    /// The leaf's bytes.
    pub leaf_bytes: Vec<u8>,
    /// Its path.
    pub path: MerkleProof,
}

/// A proof of a withdrawal that was checked, taken apart.
#[derive(Clone, Debug)]
pub struct CheckedWithdrawal {
    /// The root that the path leads to.
    pub root: Digest,
    /// The withdrawal.
    pub leaf: WithdrawalLeaf,
    /// Its path.
    pub path: MerkleProof,
}

impl SavedProof {
    /// Puts a proof together.
    pub fn new(
        kind: Subject,
        checkpoint: &Checkpoint,
        height: u64,
        leaf: &[u8],
        path: &MerkleProof,
    ) -> Self {
        let words = |digests: &[Digest]| digests.iter().map(|digest| digest.0.into()).collect();
        let siblings = path.siblings.iter().flatten();
        Self {
            kind,
            height,
            header: checkpoint.header.clone().into(),
            certificate: checkpoint.certificate.clone().into(),
            before: words(&checkpoint.before),
            summary: checkpoint.summary.clone().into(),
            after: words(&checkpoint.after),
            leaf: leaf.to_vec().into(),
            count: path.count,
            siblings: siblings.map(|digest| digest.0.into()).collect(),
        }
    }

    /// The chain and vault that it is for.
    ///
    /// # Errors
    /// [`ProofFileError::Malformed`].
    pub fn vault(&self) -> Result<(u64, Address), ProofFileError> {
        let summary = self.decoded_summary()?;
        Ok((summary.settlement.get(), summary.vault.0.into()))
    }

    /// The checkpoint alone.
    pub fn checkpoint(&self) -> Checkpoint {
        let digests = |words: &[B256]| words.iter().map(|word| Digest(word.0)).collect();
        Checkpoint {
            header: self.header.to_vec(),
            certificate: self.certificate.to_vec(),
            summary: self.summary.to_vec(),
            before: digests(&self.before),
            after: digests(&self.after),
        }
    }

    /// Checks that an account's leaf is under the summary and the summary under the header, for this
    /// vault. The certificate is checked by the vault, which knows the validators' key.
    ///
    /// # Errors
    /// See [`ProofFileError`].
    pub fn account(&self, chain: u64, vault: Address) -> Result<CheckedProof, ProofFileError> {
        self.expect(Subject::Account)?;
        let summary = self.bound_summary(chain, vault)?;
        let path = self.path()?;
        let leaf = verify_exit_leaf(&summary.accounts_root, &self.leaf, &path)
            .map_err(|_| ProofFileError::Broken("the leaf is not under the summary"))?;
        Ok(CheckedProof {
            checkpoint: self.checkpoint(),
            summary,
            leaf,
            leaf_bytes: self.leaf.to_vec(),
            path,
        })
    }

    /// The same for a withdrawal.
    ///
    /// # Errors
    /// See [`ProofFileError`].
    pub fn withdrawal(
        &self,
        chain: u64,
        vault: Address,
    ) -> Result<CheckedWithdrawal, ProofFileError> {
        self.expect(Subject::Withdrawal)?;
        let root = self.bound_summary(chain, vault)?.withdrawals_root;
        let path = self.path()?;
        let leaf = verify_withdrawal(&root, &self.leaf, &path)
            .map_err(|_| ProofFileError::Broken("the withdrawal is not under the summary"))?;
        Ok(CheckedWithdrawal { root, leaf, path })
    }

    fn expect(&self, kind: Subject) -> Result<(), ProofFileError> {
        match self.kind == kind {
            true => Ok(()),
            false => Err(ProofFileError::Malformed("it is of another kind")),
        }
    }

    fn decoded_summary(&self) -> Result<ExitSummary, ProofFileError> {
        ExitSummary::decode(&self.summary).map_err(|_| ProofFileError::Malformed("summary"))
    }

    /// The summary, for this vault and under the header.
    fn bound_summary(&self, chain: u64, vault: Address) -> Result<ExitSummary, ProofFileError> {
        let summary = self.decoded_summary()?;
        if self.vault()? != (chain, vault) {
            return Err(ProofFileError::OtherVault);
        }
        let digests =
            |words: &[B256]| -> Vec<Digest> { words.iter().map(|word| Digest(word.0)).collect() };
        let own = vec![summary.digest()];
        let all = [digests(&self.before), own, digests(&self.after)].concat();
        let carried = self.header.get(EXIT_ROOT);
        let carried = carried.ok_or(ProofFileError::Malformed("header"))?;
        match exit_root(&all).0 == *carried {
            true => Ok(summary),
            false => Err(ProofFileError::Broken(
                "the summary is not under the header",
            )),
        }
    }

    fn path(&self) -> Result<MerkleProof, ProofFileError> {
        let (levels, rest) = self.siblings.as_chunks::<3>();
        let level = |level: &[B256; 3]| level.map(|sibling| Digest(sibling.0));
        match rest.is_empty() {
            true => Ok(MerkleProof {
                count: self.count,
                siblings: levels.iter().map(level).collect(),
            }),
            false => Err(ProofFileError::Malformed("path")),
        }
    }
}

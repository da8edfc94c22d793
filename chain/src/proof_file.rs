//! The files that a user keeps to leave with, held to a vault.

use alloy_primitives::Address;
use lifeboat_engine::commitment::MerkleProof;
use lifeboat_engine::types::Digest;
use lifeboat_proof::exit::{
    ExitLeaf, ExitSummary, SavedProof, Subject, WithdrawalLeaf, verify_exit_leaf, verify_withdrawal,
};

use crate::vault::Checkpoint;

/// Where a header carries its exit root.
const EXIT_ROOT: std::ops::Range<usize> = 176..208;

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

/// Puts a proof together.
pub fn saved(
    kind: Subject,
    checkpoint: &Checkpoint,
    height: u64,
    leaf: &[u8],
    path: &MerkleProof,
) -> SavedProof {
    let Checkpoint {
        header,
        certificate,
        summary,
        before,
        after,
    } = checkpoint.clone();
    SavedProof {
        kind,
        height,
        header,
        certificate,
        before,
        summary,
        after,
        leaf: leaf.to_vec(),
        count: path.count,
        siblings: SavedProof::siblings_of(path),
    }
}

/// The chain and vault that a proof is for.
///
/// # Errors
/// [`ProofFileError::Malformed`].
pub fn vault(file: &SavedProof) -> Result<(u64, Address), ProofFileError> {
    Ok(named(&decoded_summary(file)?))
}

impl CheckedProof {
    /// Checks that an account's leaf is under the summary and the summary under the header, for this
    /// vault. The certificate is checked by the vault, which knows the validators' key.
    ///
    /// # Errors
    /// See [`ProofFileError`].
    pub fn of(file: &SavedProof, chain: u64, vault: Address) -> Result<Self, ProofFileError> {
        expect(file, Subject::Account)?;
        let summary = bound_summary(file, (chain, vault))?;
        let path = path(file)?;
        let leaf = verify_exit_leaf(&summary.accounts_root, &file.leaf, &path)
            .map_err(|_| ProofFileError::Broken("the leaf is not under the summary"))?;
        Ok(Self {
            checkpoint: Checkpoint {
                header: file.header.clone(),
                certificate: file.certificate.clone(),
                summary: file.summary.clone(),
                before: file.before.clone(),
                after: file.after.clone(),
            },
            summary,
            leaf,
            leaf_bytes: file.leaf.clone(),
            path,
        })
    }
}

impl CheckedWithdrawal {
    /// The same for a withdrawal.
    ///
    /// # Errors
    /// See [`ProofFileError`].
    pub fn of(file: &SavedProof, chain: u64, vault: Address) -> Result<Self, ProofFileError> {
        expect(file, Subject::Withdrawal)?;
        let root = bound_summary(file, (chain, vault))?.withdrawals_root;
        let path = path(file)?;
        let leaf = verify_withdrawal(&root, &file.leaf, &path)
            .map_err(|_| ProofFileError::Broken("the withdrawal is not under the summary"))?;
        Ok(Self { root, leaf, path })
    }
}

fn expect(file: &SavedProof, kind: Subject) -> Result<(), ProofFileError> {
    match file.kind == kind {
        true => Ok(()),
        false => Err(ProofFileError::Malformed("it is of another kind")),
    }
}

fn decoded_summary(file: &SavedProof) -> Result<ExitSummary, ProofFileError> {
    let summary = file.summary();
    summary.map_err(|_| ProofFileError::Malformed("summary"))
}

/// The chain and vault that a summary is of.
fn named(summary: &ExitSummary) -> (u64, Address) {
    (summary.settlement.get(), summary.vault.0.into())
}

/// The summary, for this vault and under the header.
fn bound_summary(file: &SavedProof, of: (u64, Address)) -> Result<ExitSummary, ProofFileError> {
    let summary = decoded_summary(file)?;
    if named(&summary) != of {
        return Err(ProofFileError::OtherVault);
    }
    let carried = file.header.get(EXIT_ROOT);
    let carried = carried.and_then(|bytes| bytes.try_into().ok());
    let carried = Digest(carried.ok_or(ProofFileError::Malformed("header"))?);
    let under = file.verify_summary(&carried, &summary);
    under.map_err(|_| ProofFileError::Broken("the summary is not under the header"))?;
    Ok(summary)
}

fn path(file: &SavedProof) -> Result<MerkleProof, ProofFileError> {
    file.path().ok_or(ProofFileError::Malformed("path"))
}

//! A saved proof, held to the validators' key.

use lifeboat_proof::ProofError;
use lifeboat_proof::exit::{SavedProof, Subject, verify_exit_leaf, verify_withdrawal};

use crate::block::Header;
use crate::consensus::{Scheme, header_certificate};

/// Why a saved proof does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BrokenProof {
    /// A field is not what it should be.
    #[error("the file is damaged; fetch the proof again, or make it from the published blocks")]
    Malformed,
    /// The certificate is not the validators' over this header.
    #[error("the certificate does not verify against the venue's key")]
    Certificate,
    /// A link below the header.
    #[error(transparent)]
    Proof(#[from] ProofError),
}

/// Checks everything from the leaf up to the certificate, against the validators' key.
///
/// # Errors
/// The first link that does not hold.
pub fn check(saved: &SavedProof, scheme: &Scheme) -> Result<(), BrokenProof> {
    let header = Header::decode_all(&saved.header).ok_or(BrokenProof::Malformed)?;
    let certificate = saved.certificate.clone().into();
    header_certificate(&header, certificate, scheme).ok_or(BrokenProof::Certificate)?;
    let summary = saved.summary()?;
    saved.verify_summary(&header.exit_root, &summary)?;
    let path = saved.path().ok_or(BrokenProof::Malformed)?;
    match saved.kind {
        Subject::Account => verify_exit_leaf(&summary.accounts_root, &saved.leaf, &path).map(drop),
        Subject::Withdrawal => {
            verify_withdrawal(&summary.withdrawals_root, &saved.leaf, &path).map(drop)
        }
    }?;
    Ok(())
}

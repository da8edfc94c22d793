//! A saved proof: everything one needs to leave or to be paid, in one JSON file (docs/PROTOCOL.md,
//! "Saved proofs").

use lifeboat_engine::commitment::MerkleProof;
use lifeboat_engine::types::Digest;
use lifeboat_proof::ProofError;
use lifeboat_proof::exit::{ExitSummary, verify_exit_leaf, verify_summary, verify_withdrawal};
use serde::{Deserialize, Serialize};

use crate::block::Header;
use crate::consensus::{Scheme, header_certificate};
use crate::keys::{from_hex, to_hex};

/// What a proof is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Subject {
    /// An account's exit leaf.
    Account,
    /// A withdrawal.
    Withdrawal,
}

/// A leaf, its way to a summary, and the certified header that carries the summary. Bytes are
/// hexadecimal, with `0x`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedProof {
    /// What it is of.
    pub kind: Subject,
    /// The height of the state that the summary is of.
    pub height: u64,
    /// The block header.
    pub header: String,
    /// Its finalization certificate, as the validators keep it.
    pub certificate: String,
    /// Digests of other chains' summaries under the exit root, before this one's.
    pub before: Vec<String>,
    /// The vault's summary.
    pub summary: String,
    /// Digests after it.
    pub after: Vec<String>,
    /// The leaf.
    pub leaf: String,
    /// Leaves of its tree.
    pub count: u64,
    /// The other three children of each level, from the leaf up.
    pub siblings: Vec<String>,
}

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

/// `0x` and two digits a byte.
pub(super) fn hex(bytes: &[u8]) -> String {
    format!("0x{}", to_hex(bytes))
}

impl SavedProof {
    /// The path within its tree; `None` when the file was changed by hand into something else.
    pub fn path(&self) -> Option<MerkleProof> {
        let digest = |text: &String| -> Option<Digest> {
            let bytes = from_hex(text.strip_prefix("0x")?)?;
            bytes.try_into().ok().map(Digest)
        };
        let digests: Vec<Digest> = self.siblings.iter().map(digest).collect::<Option<_>>()?;
        let (levels, rest) = digests.as_chunks::<3>();
        rest.is_empty().then(|| MerkleProof {
            count: self.count,
            siblings: levels.to_vec(),
        })
    }

    /// Checks everything from the leaf up to the certificate, against the validators' key.
    ///
    /// # Errors
    /// The first link that does not hold.
    pub fn check(&self, scheme: &Scheme) -> Result<(), BrokenProof> {
        let bytes = |text: &String| from_hex(text.strip_prefix("0x")?);
        let malformed = || BrokenProof::Malformed;
        let header = bytes(&self.header).ok_or_else(malformed)?;
        let header = Header::decode_all(&header).ok_or_else(malformed)?;
        let certificate = bytes(&self.certificate).ok_or_else(malformed)?;
        header_certificate(&header, certificate.into(), scheme).ok_or(BrokenProof::Certificate)?;
        let summary = bytes(&self.summary).ok_or_else(malformed)?;
        let summary = ExitSummary::decode(&summary)?;
        let digest = |text: &String| bytes(text)?.try_into().ok().map(Digest);
        let others = |texts: &[String]| texts.iter().map(digest).collect::<Option<Vec<_>>>();
        let mut digests = others(&self.before).ok_or_else(malformed)?;
        let place = digests.len();
        digests.push(summary.digest());
        digests.extend(others(&self.after).ok_or_else(malformed)?);
        verify_summary(&header.exit_root, &digests, place, &summary)?;
        let leaf = bytes(&self.leaf).ok_or_else(malformed)?;
        let path = self.path().ok_or_else(malformed)?;
        match self.kind {
            Subject::Account => verify_exit_leaf(&summary.accounts_root, &leaf, &path).map(drop),
            Subject::Withdrawal => {
                verify_withdrawal(&summary.withdrawals_root, &leaf, &path).map(drop)
            }
        }?;
        Ok(())
    }

    pub(super) fn siblings_of(path: &MerkleProof) -> Vec<String> {
        let digests = path.siblings.iter().flatten();
        digests.map(|digest| hex(&digest.0)).collect()
    }
}

//! A saved proof: everything one needs to leave or to be paid, in one JSON file (docs/PROTOCOL.md,
//! "Saved proofs"). Who holds the validators' key checks the certificate over the header; a vault does.

use alloc::vec::Vec;

use lifeboat_engine::commitment::MerkleProof;
use lifeboat_engine::types::Digest;
use serde::{Deserialize, Serialize};

use super::{ExitSummary, verify_summary};
use crate::ProofError;

/// What a proof is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Subject {
    /// An account's exit leaf.
    Account,
    /// A certified withdrawal.
    Withdrawal,
}

/// A leaf, its way to a summary, and the certified header that carries the summary. In JSON, bytes are
/// hexadecimal, with `0x`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedProof {
    /// What it is of.
    pub kind: Subject,
    /// The height of the state that the summary is of.
    pub height: u64,
    /// A block header that carries the summary's exit root.
    #[serde(with = "const_hex")]
    pub header: Vec<u8>,
    /// Its finalization certificate, as the validators keep it; the signature is its end.
    #[serde(with = "const_hex")]
    pub certificate: Vec<u8>,
    /// Digests of other chains' summaries under the exit root, before this one's.
    #[serde(with = "digests")]
    pub before: Vec<Digest>,
    /// The vault's summary.
    #[serde(with = "const_hex")]
    pub summary: Vec<u8>,
    /// Digests after it.
    #[serde(with = "digests")]
    pub after: Vec<Digest>,
    /// The leaf.
    #[serde(with = "const_hex")]
    pub leaf: Vec<u8>,
    /// Leaves of its tree.
    pub count: u64,
    /// The other three children of each level, from the leaf up.
    #[serde(with = "digests")]
    pub siblings: Vec<Digest>,
}

impl SavedProof {
    /// A path as the file has it.
    pub fn siblings_of(path: &MerkleProof) -> Vec<Digest> {
        path.siblings.iter().flatten().copied().collect()
    }

    /// The path within its tree; `None` when it has no whole number of levels.
    pub fn path(&self) -> Option<MerkleProof> {
        let (levels, rest) = self.siblings.as_chunks::<3>();
        rest.is_empty().then(|| MerkleProof {
            count: self.count,
            siblings: levels.to_vec(),
        })
    }

    /// The summary.
    ///
    /// # Errors
    /// [`ProofError::Malformed`] when it is none.
    pub fn summary(&self) -> Result<ExitSummary, ProofError> {
        ExitSummary::decode(&self.summary)
    }

    /// Checks that a summary is in its place under an exit root.
    ///
    /// # Errors
    /// [`ProofError::OtherSummary`].
    pub fn verify_summary(&self, root: &Digest, summary: &ExitSummary) -> Result<(), ProofError> {
        let own = [summary.digest()];
        let all = [self.before.as_slice(), &own, &self.after].concat();
        verify_summary(root, &all, self.before.len(), summary)
    }
}

/// Digests as strings.
mod digests {
    use alloc::string::String;
    use alloc::vec::Vec;

    use lifeboat_engine::types::Digest;
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(digests: &[Digest], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(
            digests
                .iter()
                .map(|digest| const_hex::encode_prefixed(digest.0)),
        )
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Digest>, D::Error> {
        let texts = Vec::<String>::deserialize(from)?;
        let digest = |text: String| const_hex::decode_to_array(text).map(Digest);
        let read: Result<_, _> = texts.into_iter().map(digest).collect();
        read.map_err(D::Error::custom)
    }
}

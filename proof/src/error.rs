//! Why a proof was refused. Numbers are permanent: other languages' verifiers share them.

use thiserror::Error;

/// A coded refusal of a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Error)]
#[repr(u16)]
pub enum ProofError {
    /// The bytes are not the encoding of a proof.
    #[error("the proof's bytes are cut short, too long or not an encoding; ask for it again")]
    Malformed = 1,
    /// More levels than any tree has.
    #[error("the proof has more levels than any tree of the venue; it is forged or damaged")]
    TooDeep = 2,
    /// The index is not below the tree's count of leaves.
    #[error("the proof is for a tree that ends before this index")]
    IndexPastEnd = 3,
    /// The number of levels is not the one that the count of leaves gives.
    #[error("the proof's length does not fit the tree's size; it is forged or damaged")]
    WrongDepth = 4,
    /// The path leads to another tree root.
    #[error("the data is not at this place in the tree; data, index or proof was changed")]
    NotIncluded = 5,
    /// The sections do not hash to the state root.
    #[error("the proof belongs to another state root; check the height it was made at")]
    OtherState = 6,
    /// A ladder is for an underlying that the summary has not.
    #[error("the leaf values an underlying that the checkpoint does not know")]
    UnknownUnderlying = 7,
    /// The exit summary is not under the exit root.
    #[error("the exit summary belongs to another checkpoint; check the height it was made at")]
    OtherSummary = 8,
}

impl ProofError {
    /// The permanent number.
    pub const fn code(self) -> u16 {
        self as u16
    }
}

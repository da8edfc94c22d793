//! How the state root is put together from the venue's sections.

use super::hashing::{SECTION_TAG, STATE_TAG, tagged};
use super::keccak::keccak256;
use crate::types::Digest;
use borsh::{BorshDeserialize, BorshSerialize};

/// The digests under the state root, in the order in which they are hashed. The list is fixed; a
/// new section is a new version of the commitment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Sections {
    /// [`section_digest`] of height, time, mode, counters, funds and everything else that is
    /// neither below nor derived from what is below.
    pub meta: Digest,
    /// [`section_digest`] of the venue's parameters.
    pub parameters: Digest,
    /// Root of the tree of instruments, by instrument id.
    pub instruments: Digest,
    /// Root of the tree of accounts, by account id.
    pub accounts: Digest,
    /// Root of the tree of resting orders, by order slot.
    pub orders: Digest,
}

/// Sections under the state root.
const SECTIONS: usize = 5;

impl Sections {
    const fn in_order(&self) -> [&Digest; SECTIONS] {
        [
            &self.meta,
            &self.parameters,
            &self.instruments,
            &self.accounts,
            &self.orders,
        ]
    }
}

/// Digest of a section that is no tree: `keccak256(bytes ‖ 03)`.
pub fn section_digest(bytes: &[u8]) -> Digest {
    tagged(bytes, SECTION_TAG)
}

/// The state root: `keccak256(meta ‖ parameters ‖ instruments ‖ accounts ‖ orders ‖ 04)`.
pub fn state_root(sections: &Sections) -> Digest {
    let mut message = [STATE_TAG; SECTIONS * 32 + 1];
    for (bytes, digest) in message
        .as_chunks_mut::<32>()
        .0
        .iter_mut()
        .zip(sections.in_order())
    {
        *bytes = digest.0;
    }
    keccak256(&message)
}

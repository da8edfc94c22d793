//! What nodes say to each other about snapshots.

use borsh::{BorshDeserialize, BorshSerialize};
use bytes::Bytes;

use crate::snapshot::{CHUNK_BYTES, MANIFEST_BYTES_MAX};

/// The largest message about snapshots.
pub const MESSAGE_BYTES_MAX: usize = 64 + max(CHUNK_BYTES, MANIFEST_BYTES_MAX);

const fn max(left: usize, right: usize) -> usize {
    if left > right { left } else { right }
}

/// A question or an answer.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Message {
    /// Which snapshot do you hold?
    WantManifest,
    /// The newest certified one's manifest; empty if there is none.
    Manifest(Vec<u8>),
    /// A chunk of the state.
    WantChunk {
        /// Height of the snapshot.
        height: u64,
        /// Which chunk.
        index: u32,
    },
    /// The chunk; empty if it is not held any more.
    Chunk {
        /// Height of the snapshot.
        height: u64,
        /// Which chunk.
        index: u32,
        /// Its bytes.
        bytes: Vec<u8>,
    },
}

impl Message {
    /// Its encoding.
    pub fn encode(&self) -> Bytes {
        // Writing into a Vec cannot fail; an impossible error would leave a message nobody decodes.
        Bytes::from(borsh::to_vec(self).unwrap_or_default())
    }

    /// Reads a message; `None` for anything else.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        borsh::from_slice(bytes).ok()
    }
}

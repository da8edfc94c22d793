//! Keccak256 as Ethereum uses it: rate 136 bytes, padding `01 … 80`, one message at a time.

use crate::types::Digest;

/// Bytes that one permutation absorbs.
pub(super) const RATE: usize = 136;
/// 64-bit words that one permutation absorbs.
#[cfg(target_arch = "x86_64")]
pub(super) const RATE_WORDS: usize = RATE / 8;
/// Words of the permutation's state.
pub(super) const STATE_WORDS: usize = 25;
/// First byte of the padding, right behind the message.
pub(super) const PAD_FIRST: u8 = 0x01;
/// Last byte of the padding, at the end of the last block; the same byte as the first if only one
/// is free.
pub(super) const PAD_LAST: u8 = 0x80;

/// Keccak256 of `message` (the original padding, as in Ethereum; not NIST's SHA3-256).
pub fn keccak256(message: &[u8]) -> Digest {
    let mut sponge = Sponge::new();
    let (blocks, rest) = message.as_chunks::<RATE>();
    for block in blocks {
        sponge.absorb(block);
    }
    let mut last = [0_u8; RATE];
    for (byte, from) in last.iter_mut().zip(rest) {
        *byte = *from;
    }
    // `rest` is shorter than a block, so both padding bytes exist.
    if let Some(byte) = last.get_mut(rest.len()) {
        *byte ^= PAD_FIRST;
    }
    if let Some(byte) = last.last_mut() {
        *byte ^= PAD_LAST;
    }
    sponge.absorb(&last);
    sponge.digest()
}

/// The permutation's state while whole, padded blocks go in.
pub(super) struct Sponge {
    keccak: keccak::Keccak,
    state: [u64; STATE_WORDS],
}

impl Sponge {
    pub(super) fn new() -> Self {
        Self {
            keccak: keccak::Keccak::new(),
            state: [0; STATE_WORDS],
        }
    }

    pub(super) fn absorb(&mut self, block: &[u8; RATE]) {
        for (word, bytes) in self.state.iter_mut().zip(block.as_chunks::<8>().0) {
            *word ^= u64::from_le_bytes(*bytes);
        }
        self.keccak.with_f1600(|permute| permute(&mut self.state));
    }

    pub(super) fn digest(&self) -> Digest {
        digest_of_words(&self.state)
    }
}

/// The first four words of a squeezed state as a digest.
pub(super) fn digest_of_words(words: &[u64]) -> Digest {
    let mut digest = Digest::default();
    for (bytes, word) in digest.0.as_chunks_mut::<8>().0.iter_mut().zip(words) {
        *bytes = word.to_le_bytes();
    }
    digest
}

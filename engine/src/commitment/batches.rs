//! Messages of one kind, hashed as many at a time as the vector unit has lanes.

use alloc::vec::Vec;

use super::hashing::{PART_TAG, finish_message};
use super::keccak::RATE;
use super::lanes::{Kernel, LANES_MAX};
use crate::types::Digest;

/// A kernel and the padded messages of one batch. Once as much was hashed before, it allocates
/// nothing.
#[derive(Clone, Debug)]
pub struct Batches {
    pub(super) kernel: Kernel,
    messages: Vec<u8>,
}

impl Default for Batches {
    fn default() -> Self {
        Self::new(Kernel::detect())
    }
}

impl Batches {
    /// Batches that are hashed with `kernel`.
    pub const fn new(kernel: Kernel) -> Self {
        Self {
            kernel,
            messages: Vec::new(),
        }
    }

    /// Bytes of memory held.
    pub const fn memory_bytes(&self) -> usize {
        self.messages.capacity()
    }

    /// [`part_digest`](super::part_digest) of each item: `encode` appends its bytes to what it is
    /// given, `store` takes the digest.
    pub fn hash_parts<C, T: Copy>(
        &mut self,
        context: &mut C,
        items: &[T],
        encode: impl Fn(&C, T, &mut Vec<u8>),
        store: impl Fn(&mut C, T, Digest),
    ) {
        let mut items = items.iter().copied();
        loop {
            let batch = self.next(&mut items, PART_TAG, |item, out| encode(context, item, out));
            if batch.iter().all(Option::is_none) {
                break;
            }
            for (item, digest) in batch.into_iter().flatten() {
                store(context, item, digest);
            }
        }
    }

    /// Digests of the next items, as many as fit in a batch; none when there are no more.
    pub(super) fn next<T: Copy>(
        &mut self,
        items: &mut impl Iterator<Item = T>,
        tag: u8,
        mut encode: impl FnMut(T, &mut Vec<u8>),
    ) -> [Option<(T, Digest)>; LANES_MAX] {
        self.messages.clear();
        let (mut batch, mut places) = ([None; LANES_MAX], [(0, 0); LANES_MAX]);
        let mut used = 0_usize;
        for ((slot, place), item) in batch.iter_mut().zip(&mut places).zip(items) {
            let start = self.messages.len();
            encode(item, &mut self.messages);
            finish_message(&mut self.messages, start, tag);
            (*slot, *place) = (Some(item), (start / RATE, self.messages.len() / RATE));
            used = used.wrapping_add(1);
        }
        let blocks = self.messages.as_chunks::<RATE>().0;
        let messages = places.map(|(start, end)| blocks.get(start..end).unwrap_or_default());
        let digests = self
            .kernel
            .messages(messages.get(..used).unwrap_or_default());
        let mut hashed = [None; LANES_MAX];
        for (hashed, (item, digest)) in hashed.iter_mut().zip(batch.into_iter().zip(digests)) {
            *hashed = item.map(|item| (item, digest));
        }
        hashed
    }
}

//! Which slots changed since they were last drained: a bitmap with one summary level.

use alloc::vec::Vec;

/// A set of slot numbers with constant-time marking and ascending, duplicate-free draining.
#[derive(Clone, Debug, Default)]
pub(super) struct Touched {
    words: Vec<u64>,
    /// Bit `i` says that word `i` is not zero.
    summary: Vec<u64>,
}

#[inline]
const fn bit(index: u32) -> u64 {
    1u64.wrapping_shl(index)
}

impl Touched {
    /// Makes room for marks below `slots`.
    pub(super) fn cover(&mut self, slots: usize) {
        let words = slots.div_ceil(64);
        if words > self.words.len() {
            self.words.resize(words, 0);
            self.summary.resize(words.div_ceil(64), 0);
        }
    }

    /// Marks a slot. Two stores without a branch, because a touched slot is often touched again.
    #[inline]
    pub(super) fn mark(&mut self, slot: u32) {
        if let Some(word) = self.words.get_mut((slot >> 6) as usize) {
            *word |= bit(slot);
        }
        if let Some(word) = self.summary.get_mut((slot >> 12) as usize) {
            *word |= bit(slot >> 6);
        }
    }

    /// Appends every marked slot in ascending order and unmarks it.
    pub(super) fn drain(&mut self, out: &mut Vec<u32>) {
        for (group, summary) in (0u32..).zip(self.summary.iter_mut()) {
            for index in bits(core::mem::take(summary)) {
                let word_index = (group << 6) | index;
                let Some(word) = self.words.get_mut(word_index as usize) else {
                    continue;
                };
                out.extend(bits(core::mem::take(word)).map(|offset| (word_index << 6) | offset));
            }
        }
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        let words = self
            .words
            .capacity()
            .saturating_add(self.summary.capacity());
        words.saturating_mul(size_of::<u64>())
    }
}

/// The set bits of a word, ascending.
fn bits(mut word: u64) -> impl Iterator<Item = u32> {
    core::iter::from_fn(move || {
        let index = word.trailing_zeros();
        word &= word.wrapping_sub(1);
        (index < 64).then_some(index)
    })
}

//! The nonce window: every number once, reordering on the way tolerated.

use borsh::{BorshDeserialize, BorshSerialize};

use crate::limits::NONCE_WINDOW;
use crate::types::Nonce;

/// The highest nonce used so far and which of the `NONCE_WINDOW` below it were used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct NonceWindow {
    highest: u64,
    /// Bit `i` says that `highest - i` was used; the low half first. Halves, so that a session fits
    /// a cache line.
    used: [u64; 2],
}

const _: () = assert!(NONCE_WINDOW == 128, "the window is the width of `used`");

impl NonceWindow {
    /// Nothing used.
    pub const fn new() -> Self {
        Self {
            highest: 0,
            used: [0; 2],
        }
    }

    /// Whether `nonce` may still be used. 0 never may.
    pub fn is_fresh(&self, nonce: Nonce) -> bool {
        let nonce = nonce.get();
        match self.highest.checked_sub(nonce) {
            None => true,
            Some(_) if nonce == 0 => false,
            Some(age) if age < NONCE_WINDOW => !self.bit(age),
            Some(_) => false,
        }
    }

    /// Marks `nonce` as used; false if it was not fresh, and then nothing changed.
    pub fn consume(&mut self, nonce: Nonce) -> bool {
        if !self.is_fresh(nonce) {
            return false;
        }
        let nonce = nonce.get();
        match nonce.checked_sub(self.highest) {
            Some(advance) if advance > 0 => {
                let shift = u32::try_from(advance).unwrap_or(u32::MAX);
                self.set_used(self.used().checked_shl(shift).unwrap_or(0) | 1);
                self.highest = nonce;
            }
            _ => {
                let age = self.highest.saturating_sub(nonce);
                let shift = u32::try_from(age).unwrap_or(u32::MAX);
                self.set_used(self.used() | 1u128.checked_shl(shift).unwrap_or(0));
            }
        }
        true
    }

    /// Marks everything below `nonce` as used: what its key signed earlier and comes later is stale.
    pub fn fence(&mut self, nonce: Nonce) {
        let age = self.highest.saturating_sub(nonce.get());
        let shift = u32::try_from(age).unwrap_or(u32::MAX);
        let below = u128::MAX.checked_shl(shift).unwrap_or(0);
        self.set_used(self.used() | below);
    }

    fn bit(&self, age: u64) -> bool {
        let shift = u32::try_from(age).unwrap_or(u32::MAX);
        self.used().checked_shr(shift).unwrap_or(0) & 1 == 1
    }

    const fn used(&self) -> u128 {
        let [low, high] = self.used;
        (high as u128) << 64 | low as u128
    }

    const fn set_used(&mut self, used: u128) {
        self.used = [used as u64, (used >> 64) as u64];
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects)]
    use super::*;
    use alloc::collections::BTreeSet;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn each_nonce_is_used_once_and_only_within_the_window(
            nonces in proptest::collection::vec(0u64..400, 1..300)
        ) {
            let mut window = NonceWindow::default();
            let mut used = BTreeSet::new();
            for nonce in nonces {
                let highest = used.last().copied().unwrap_or(0);
                let expected = nonce != 0
                    && !used.contains(&nonce)
                    && (nonce > highest || highest - nonce < NONCE_WINDOW);
                prop_assert_eq!(window.consume(Nonce::new(nonce)), expected);
                if expected {
                    used.insert(nonce);
                }
            }
        }
    }

    #[test]
    fn a_fence_makes_everything_below_it_stale_and_nothing_above() {
        for at in [1, 5, 100, 127, 128, 300] {
            let mut window = NonceWindow::default();
            assert!(window.consume(Nonce::new(300)));
            window.fence(Nonce::new(at));
            for nonce in 1..300 {
                let fresh = nonce > at && 300 - nonce < NONCE_WINDOW;
                assert_eq!(
                    window.is_fresh(Nonce::new(nonce)),
                    fresh,
                    "{nonce} under {at}"
                );
            }
            assert!(window.is_fresh(Nonce::new(301)));
        }
    }

    #[test]
    fn a_far_jump_forgets_the_window() {
        let mut window = NonceWindow::default();
        assert!(window.consume(Nonce::new(1)));
        assert!(window.consume(Nonce::new(u64::MAX)));
        assert!(!window.consume(Nonce::new(1)));
        assert!(!window.consume(Nonce::new(u64::MAX)));
        assert!(window.consume(Nonce::new(u64::MAX - 127)));
        assert!(!window.consume(Nonce::new(u64::MAX - 128)));
    }
}

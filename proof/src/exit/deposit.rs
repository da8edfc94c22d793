//! Deposits in the order in which a vault took them, as a chain of hashes.
//!
//! The vault keeps the same chain. A checkpoint names how many deposits the venue has credited and the
//! hash up to there, so a checkpoint that credits what the chain has since forgotten is refused.

use alloc::vec::Vec;
use lifeboat_engine::types::{Address, Cash, Digest};

use super::wire::{DEPOSIT_TAG, tagged};

/// One deposit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deposit {
    /// Whose account it is for.
    pub owner: Address,
    /// How much; positive.
    pub amount: Cash,
}

/// How many deposits there were and the hash over them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DepositChain {
    /// Deposits so far: the number of the next one.
    pub cursor: u64,
    /// Zero before the first.
    pub hash: Digest,
    /// Sum of their amounts, in units of [`Cash`].
    pub total: u64,
}

impl DepositChain {
    /// The chain with one more deposit:
    /// `hash = keccak256(hash ‖ number 8 ‖ owner 20 ‖ amount 8 ‖ 25)`. `None` when the amount is not
    /// positive or the total leaves its range.
    pub fn push(&self, deposit: &Deposit) -> Option<Self> {
        let amount = u64::try_from(deposit.amount.get())
            .ok()
            .filter(|amount| *amount > 0)?;
        let mut bytes = Vec::with_capacity(32 + 8 + 20 + 8 + 1);
        bytes.extend_from_slice(&self.hash.0);
        bytes.extend_from_slice(&self.cursor.to_be_bytes());
        bytes.extend_from_slice(&deposit.owner.0);
        bytes.extend_from_slice(&amount.to_be_bytes());
        Some(Self {
            cursor: self.cursor.checked_add(1)?,
            hash: tagged(bytes, DEPOSIT_TAG),
            total: self
                .total
                .checked_add(amount)
                .filter(|total| i64::try_from(*total).is_ok())?,
        })
    }
}

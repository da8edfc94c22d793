//! Deposits in the order in which a vault took them, as a chain of hashes.
//!
//! The vault keeps the same chain. A checkpoint names how many deposits the venue has credited and the
//! hash up to there, so a checkpoint that credits what the chain has since forgotten is refused.

use alloc::vec::Vec;
use borsh::{BorshDeserialize, BorshSerialize};

use crate::commitment::keccak256;
use crate::types::{Address, Cash, Digest};

/// Last byte of what is hashed for one more deposit.
const DEPOSIT_TAG: u8 = 0x25;

/// One deposit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Deposit {
    /// Whose account it is for.
    pub owner: Address,
    /// How much; positive.
    pub amount: Cash,
}

/// How many deposits there were and the hash over them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
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
        bytes.push(DEPOSIT_TAG);
        Some(Self {
            cursor: self.cursor.checked_add(1)?,
            hash: keccak256(&bytes),
            total: self
                .total
                .checked_add(amount)
                .filter(|total| i64::try_from(*total).is_ok())?,
        })
    }

    /// The chain with these deposits after it; `None` as for [`push`](Self::push).
    pub fn extended(&self, deposits: &[Deposit]) -> Option<Self> {
        deposits
            .iter()
            .try_fold(*self, |chain, deposit| chain.push(deposit))
    }

    /// The chain without its last deposits: `deposits` from number `first` on, with `previous` the hash
    /// before them. `None` unless they are exactly what leads from there to here.
    pub fn without(&self, first: u64, previous: Digest, deposits: &[Deposit]) -> Option<Self> {
        let taken = deposits.iter().try_fold(0_u64, |sum, deposit| {
            sum.checked_add(u64::try_from(deposit.amount.get()).ok()?)
        })?;
        let before = Self {
            cursor: first,
            hash: previous,
            total: self.total.checked_sub(taken)?,
        };
        (before.extended(deposits)? == *self).then_some(before)
    }
}

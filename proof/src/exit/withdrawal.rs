//! A withdrawal that was taken off an account and may be claimed from a vault.

use alloc::vec::Vec;
use lifeboat_engine::types::{Address, Cash};
use lifeboat_engine::vault::{WITHDRAWAL_KIND, Withdrawal};

use super::SettlementChain;
use super::wire::Fields;
use crate::ProofError;

pub use lifeboat_engine::vault::WITHDRAWAL_BYTES;

/// One leaf of a settlement chain's withdrawal tree, which only grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WithdrawalLeaf {
    /// The chain whose vault pays it.
    pub settlement: SettlementChain,
    /// Its number on that chain, from 0 without a gap, and its index in the tree.
    pub number: u32,
    /// Whose account it left.
    pub owner: Address,
    /// Who is paid.
    pub recipient: Address,
    /// How much; positive.
    pub amount: Cash,
}

impl WithdrawalLeaf {
    /// The canonical bytes: `22 ‖ chain 8 ‖ number 4 ‖ owner 20 ‖ recipient 20 ‖ amount 8`, big-endian.
    pub fn encode(&self) -> Vec<u8> {
        let withdrawal = Withdrawal {
            owner: self.owner,
            recipient: self.recipient,
            amount: self.amount,
        };
        withdrawal.leaf(self.settlement, self.number).to_vec()
    }

    /// Reads a withdrawal; nothing may follow it and its amount is positive.
    ///
    /// # Errors
    /// [`ProofError::Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, ProofError> {
        let mut fields = Fields::new(bytes);
        fields.expect(WITHDRAWAL_KIND)?;
        let leaf = Self {
            settlement: SettlementChain::new(fields.u64()?),
            number: fields.u32()?,
            owner: fields.address()?,
            recipient: fields.address()?,
            amount: Cash::new(fields.i64()?),
        };
        fields.end()?;
        if leaf.amount <= Cash::ZERO {
            return Err(ProofError::Malformed);
        }
        Ok(leaf)
    }
}

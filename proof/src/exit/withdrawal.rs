//! A withdrawal that was taken off an account and may be claimed from a vault.

use alloc::vec::Vec;
use lifeboat_engine::types::{Address, Cash};

use super::SettlementChain;
use super::wire::{Fields, WITHDRAWAL_KIND};
use crate::ProofError;

/// Bytes of a withdrawal leaf.
pub const WITHDRAWAL_BYTES: usize = 1 + 8 + 4 + 20 + 20 + 8;

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
        let mut out = Vec::with_capacity(WITHDRAWAL_BYTES);
        out.push(WITHDRAWAL_KIND);
        out.extend_from_slice(&self.settlement.get().to_be_bytes());
        out.extend_from_slice(&self.number.to_be_bytes());
        out.extend_from_slice(&self.owner.0);
        out.extend_from_slice(&self.recipient.0);
        out.extend_from_slice(&self.amount.get().to_be_bytes());
        out
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

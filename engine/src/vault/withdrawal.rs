//! A withdrawal that was taken off an account and may be claimed from a vault.

use borsh::{BorshDeserialize, BorshSerialize};

use crate::types::{Address, Cash, SettlementChain};

/// First byte of a withdrawal's leaf.
pub const WITHDRAWAL_KIND: u8 = 0x22;
/// Bytes of a withdrawal's leaf.
pub const WITHDRAWAL_BYTES: usize = 1 + 8 + 4 + 20 + 20 + 8;

/// One withdrawal; its number is its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Withdrawal {
    /// Whose account it left.
    pub owner: Address,
    /// Who is paid.
    pub recipient: Address,
    /// How much; positive.
    pub amount: Cash,
}

impl Withdrawal {
    /// The leaf of the `number`-th withdrawal from the vault on `chain`:
    /// `22 ‖ chain 8 ‖ number 4 ‖ owner 20 ‖ recipient 20 ‖ amount 8`, big-endian.
    pub fn leaf(&self, chain: SettlementChain, number: u32) -> [u8; WITHDRAWAL_BYTES] {
        let mut leaf = [0; WITHDRAWAL_BYTES];
        let fields: [&[u8]; 6] = [
            &[WITHDRAWAL_KIND],
            &chain.get().to_be_bytes(),
            &number.to_be_bytes(),
            &self.owner.0,
            &self.recipient.0,
            &self.amount.get().to_be_bytes(),
        ];
        let bytes = fields.into_iter().flatten();
        for (to, byte) in leaf.iter_mut().zip(bytes) {
            *to = *byte;
        }
        leaf
    }
}

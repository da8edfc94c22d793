//! Where the vault keeps what is read with a proof. Tests hold it to the contracts' own getters.

use alloy_primitives::{Address, B256, U256, keccak256};

/// `Head`: the last checkpoint.
pub const HEAD: u64 = 4;
/// `Flow`: what came in and went out.
pub const FLOW: u64 = 5;
/// The hash over the deposits up to and with a number.
pub const DEPOSIT_HASHES: u64 = 6;
/// Requests for forced withdrawal.
pub const REQUESTS: u64 = 7;
/// How many there are.
pub const REQUEST_COUNT: u64 = 8;
/// What the pool bought under a checkpoint, by account.
pub const CRYSTAL_OF: u64 = 10;
/// `Crystals`: how many, and what is held for them.
pub const CRYSTALS: u64 = 9;

/// What is kept of the last checkpoints, a word each.
const COMMITMENTS: u64 = 29;
/// Of how many.
pub const ROOTS_KEPT: u32 = 1_024;

/// The slot of what is kept of a checkpoint, by its number.
pub fn commitment(number: u32) -> B256 {
    slot(COMMITMENTS + u64::from(number % ROOTS_KEPT))
}

/// The number of the last checkpoint in the word of `Head`.
pub fn checkpoint(head: U256) -> u32 {
    u32::try_from(field(head, 224) & 0xff_ffff).unwrap_or(0)
}

/// A variable's slot.
pub fn slot(number: u64) -> B256 {
    U256::from(number).into()
}

/// The slot of an entry of a mapping from numbers.
pub fn entry(mapping: u64, key: u64) -> B256 {
    entry_of_word(mapping, slot(key))
}

/// The slot of an entry of a mapping from addresses.
pub fn entry_of(mapping: u64, key: Address) -> B256 {
    entry_of_word(mapping, key.into_word())
}

fn entry_of_word(mapping: u64, key: B256) -> B256 {
    keccak256([key.0, slot(mapping).0].concat())
}

/// How many deposits `Flow` counts; whether the vault is past its life stands in the same 64 bits.
pub fn deposits(flow: U256) -> u64 {
    field(flow, 192) & ((1 << 56) - 1)
}

/// The 64-bit field at a bit of a word.
pub fn field(word: U256, bit: usize) -> u64 {
    (word >> bit).as_limbs()[0]
}

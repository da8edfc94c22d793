//! The key of an account on the chain.

use std::fmt;

use alloy_primitives::{Address, B256, Signature};
use alloy_signer::SignerSync as _;
use alloy_signer_local::PrivateKeySigner;

use crate::port::ChainError;

/// A key; never shown.
#[derive(Clone)]
pub struct ChainKey(PrivateKeySigner);

impl ChainKey {
    /// From 64 hexadecimal digits, with or without `0x`.
    ///
    /// # Errors
    /// When they are no key. The digits are not repeated.
    pub fn parse(text: &str) -> Result<Self, ChainError> {
        let parsed: Result<B256, _> = text.trim().parse();
        let signer = parsed
            .ok()
            .and_then(|key| PrivateKeySigner::from_bytes(&key).ok());
        let wrong = "a key is 64 hexadecimal digits, and not zero".to_owned();
        signer.map(Self).ok_or(ChainError::Refused(wrong))
    }

    /// The account's address.
    pub const fn address(&self) -> Address {
        self.0.address()
    }

    /// Signs a hash: of a transaction, or of what EIP-712 makes of a command.
    ///
    /// # Errors
    /// Never with a sound key.
    pub fn sign(&self, hash: &B256) -> Result<Signature, ChainError> {
        let signed = self.0.sign_hash_sync(hash);
        signed.map_err(|error| ChainError::Refused(error.to_string()))
    }
}

impl fmt::Debug for ChainKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChainKey({})", self.address())
    }
}

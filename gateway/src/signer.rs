//! Signs users' commands with their session keys, and numbers them.
//!
//! Nonces are dense, so that commands reordered on the way stay within the engine's nonce window. A
//! sequence starts from the wall clock in 1/1024 ms, which is above anything an earlier run of this
//! gateway can have used.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use ed25519_zebra::SigningKey;
use lifeboat_engine::Command;
use lifeboat_engine::command::{Action, UserCommand, UserPayload, UserSignature};
use lifeboat_engine::types::{AccountId, ChainId, Nonce, PublicKey, TimeMs};

use crate::keys::{ApiKey, ApiKeys};
use crate::outcome::Ticket;

struct Signer {
    account: AccountId,
    key: SigningKey,
    public: PublicKey,
    nonce: Mutex<u64>,
}

/// The session keys of all API keys.
pub struct Signers {
    chain: ChainId,
    gateway: u16,
    by_client: RwLock<BTreeMap<String, Arc<Signer>>>,
}

impl Signers {
    /// One signer for each key, its nonces above what the clock allows to have been used.
    pub fn new(keys: &ApiKeys, gateway: u16, chain: ChainId, now_ms: u64) -> Self {
        let signers = Self {
            chain,
            gateway,
            by_client: RwLock::default(),
        };
        signers.adopt(keys, now_ms);
        signers
    }

    /// Signers for keys that had none.
    pub fn adopt(&self, keys: &ApiKeys, now_ms: u64) {
        let mut by_client = self
            .by_client
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        for key in keys.iter() {
            by_client.entry(key.client_id.clone()).or_insert_with(|| {
                Arc::new(Signer {
                    account: key.account(),
                    key: key.signing_key(self.gateway),
                    public: key.session_key(self.gateway),
                    nonce: Mutex::new(now_ms << 10),
                })
            });
        }
    }

    fn of(&self, key: &ApiKey) -> Option<Arc<Signer>> {
        let by_client = self
            .by_client
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        by_client.get(&key.client_id).cloned()
    }

    /// The session public key that signs for an API key.
    pub fn public(&self, key: &ApiKey) -> Option<PublicKey> {
        self.of(key).map(|signer| signer.public)
    }

    /// The next nonce for an API key. `None` when the key has no signer here.
    pub fn next_nonce(&self, key: &ApiKey) -> Option<Nonce> {
        let signer = self.of(key)?;
        let mut last = signer.nonce.lock().unwrap_or_else(PoisonError::into_inner);
        *last += 1;
        Some(Nonce::new(*last))
    }

    /// Numbers and signs a command for an API key. `None` when the key has no signer here.
    pub fn sign(
        &self,
        key: &ApiKey,
        action: Action,
        valid_until: TimeMs,
    ) -> Option<(Ticket, Command)> {
        self.sign_as(key, self.next_nonce(key)?, action, valid_until)
    }

    /// Signs a command under a nonce of [`Signers::next_nonce`].
    pub fn sign_as(
        &self,
        key: &ApiKey,
        nonce: Nonce,
        action: Action,
        valid_until: TimeMs,
    ) -> Option<(Ticket, Command)> {
        let signer = self.of(key)?;
        let payload = UserPayload {
            account: signer.account,
            nonce,
            valid_until,
            action,
        };
        let signature = signer.key.sign(&payload.session_message(&self.chain));
        let ticket = Ticket {
            key: signer.public,
            nonce,
        };
        let signature = UserSignature::Session {
            key: signer.public,
            signature: signature.into(),
        };
        Some((ticket, Command::User(UserCommand { payload, signature })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Scope;
    use ed25519_zebra::{Signature, VerificationKey};
    use lifeboat_engine::command::CancelScope;

    #[test]
    fn commands_are_numbered_densely_and_verify() {
        let mut keys = ApiKeys::default();
        let key = keys.create_from_seed(AccountId::new(3), Scope::Trade, b"x");
        let chain = ChainId([9; 32]);
        let signers = Signers::new(&keys, 2, chain, 1_000);
        let mut nonces = Vec::new();
        for _ in 0..3 {
            let action = Action::CancelAll(CancelScope::Account);
            let (ticket, command) = signers
                .sign(&key, action, TimeMs::new(5))
                .expect("a signer");
            assert_eq!(ticket.key, key.session_key(2));
            let Command::User(user) = command else {
                panic!("a user's command")
            };
            let UserSignature::Session { key, signature } = user.signature else {
                panic!("a session signature")
            };
            let verifier = VerificationKey::try_from(key.0).expect("a key");
            let message = user.payload.session_message(&chain);
            assert!(
                verifier
                    .verify(&Signature::from(signature), &message)
                    .is_ok()
            );
            nonces.push(user.payload.nonce.get());
        }
        assert_eq!(nonces, [1_024_001, 1_024_002, 1_024_003]);
    }
}

//! Who acts: an account, its session key and its nonces.

use ed25519_zebra::{SigningKey, VerificationKeyBytes};
use lifeboat_engine::Command;
use lifeboat_engine::command::{Action, UserCommand, UserPayload, UserSignature};
use lifeboat_engine::types::{AccountId, ChainId, Nonce, PublicKey, TimeMs};

use super::dice::Dice;

/// An account that signs with a session key of its own.
#[derive(Clone)]
pub struct Participant {
    account: AccountId,
    key: SigningKey,
    chain: ChainId,
    last_nonce: u64,
}

impl Participant {
    /// An account with the session key of `secret`.
    pub fn new(account: AccountId, secret: [u8; 32], chain: ChainId) -> Self {
        Self {
            account,
            key: SigningKey::from(secret),
            chain,
            last_nonce: 0,
        }
    }

    /// The account's development key, derived from a seed that everybody may know.
    pub fn development(seed: u64, account: AccountId, chain: ChainId) -> Self {
        let mut dice = Dice::at(
            seed,
            &[u64::from_le_bytes(*b"session\0"), account.get().into()],
        );
        Self::new(account, dice.key(), chain)
    }

    /// The same participant with its next nonce behind this one.
    #[must_use]
    pub const fn after(mut self, nonce: u64) -> Self {
        self.last_nonce = nonce;
        self
    }

    /// Moves the nonces past everything an earlier process can have used: it starts at block time
    /// in microseconds, and no process signs a million commands a second.
    pub fn resume(&mut self, now: TimeMs) {
        self.last_nonce = self.last_nonce.max(now.get().saturating_mul(1_000));
    }

    /// Whose commands these are.
    pub const fn account(&self) -> AccountId {
        self.account
    }

    /// The key to register as a session.
    pub fn public(&self) -> PublicKey {
        PublicKey(VerificationKeyBytes::from(&self.key).into())
    }

    /// A signed command that stays valid until it executes.
    pub fn sign(&mut self, action: Action) -> Command {
        self.sign_until(action, TimeMs::new(0))
    }

    /// A signed command that is refused from `valid_until` on; 0 means never.
    pub fn sign_until(&mut self, action: Action, valid_until: TimeMs) -> Command {
        self.last_nonce += 1;
        let nonce = Nonce::new(self.last_nonce);
        let payload = UserPayload {
            account: self.account,
            nonce,
            valid_until,
            action,
        };
        let signature = self
            .key
            .sign(&payload.session_message(&self.chain))
            .to_bytes();
        let signature = UserSignature::Session {
            key: self.public(),
            signature,
        };
        Command::User(UserCommand { payload, signature })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_zebra::{Signature, VerificationKey};
    use lifeboat_engine::command::CancelScope;

    #[test]
    fn what_is_signed_verifies_and_nonces_rise() -> Result<(), ed25519_zebra::Error> {
        let chain = ChainId([7; 32]);
        let mut participant = Participant::development(1, AccountId::new(3), chain);
        let mut last = 0;
        for _ in 0..3 {
            let command = participant.sign(Action::CancelAll(CancelScope::Account));
            let Command::User(UserCommand { payload, signature }) = command else {
                continue;
            };
            let UserSignature::Session { key, signature } = signature else {
                continue;
            };
            assert_eq!(key, participant.public());
            let message = payload.session_message(&chain);
            VerificationKey::try_from(key.0)?.verify(&Signature::from(signature), &message)?;
            assert!(payload.nonce.get() > last);
            last = payload.nonce.get();
        }
        assert_eq!(last, 3);
        participant.resume(TimeMs::new(1_700_000_000_000));
        participant.resume(TimeMs::new(1));
        assert!(participant.last_nonce == 1_700_000_000_000_000);
        Ok(())
    }
}

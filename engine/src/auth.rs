//! Signatures and nonces.
//!
//! **Owns** the stateless half of authentication, [`check`] and [`check_batch`] (does the signature
//! verify, and by which key), and the [`NonceWindow`]. Whether that key may act for the account is
//! the ledger's to say. **Never** accepts in a batch what it would refuse alone: both follow
//! ZIP-215.

mod batch;
mod eip712;
mod nonce;

use ed25519_zebra::{Signature, VerificationKey};
use k256::ecdsa::{RecoveryId, Signature as OwnerSignature, VerifyingKey};

pub use batch::check_batch;
pub use nonce::NonceWindow;

use crate::block::{CheckedCommand, Signer};
use crate::command::{Command, UserPayload, UserSignature};
use crate::commitment::keccak256;
use crate::types::{Address, ChainId, Digest, PublicKey};

impl UserPayload {
    /// The EIP-712 digest an owner key signs for this payload on `chain`.
    pub fn owner_digest(&self, chain: &ChainId) -> Digest {
        eip712::digest(self, chain)
    }
}

/// Verifies one command's signature.
pub fn check(chain: &ChainId, command: Command) -> CheckedCommand {
    let signer = match &command {
        Command::User(user) => match &user.signature {
            UserSignature::Session { key, signature } => {
                verify_ed25519(key, signature, &user.payload.session_message(chain))
                    .then_some(Signer::Session(*key))
            }
            UserSignature::Owner { signature } => {
                recover_owner(&user.payload.owner_digest(chain), signature).map(Signer::Owner)
            }
        },
        Command::Validator(validator) => {
            let message = validator.payload.message(chain);
            verify_ed25519(&validator.key, &validator.signature, &message)
                .then_some(Signer::Validator(validator.key))
        }
    };
    CheckedCommand::new(command, signer)
}

fn verify_ed25519(key: &PublicKey, signature: &[u8; 64], message: &[u8]) -> bool {
    VerificationKey::try_from(key.0)
        .and_then(|key| key.verify(&Signature::from_bytes(signature), message))
        .is_ok()
}

/// The address whose key made a 65-byte signature (r, s, v with v 27 or 28) over `digest`. High-s
/// signatures are refused, so that a signature has one form only.
fn recover_owner(digest: &Digest, signature: &[u8; 65]) -> Option<Address> {
    let (rs, v) = signature.split_at_checked(64)?;
    let recovery = RecoveryId::from_byte(v.first()?.checked_sub(27)?)?;
    let signature = OwnerSignature::from_slice(rs).ok()?;
    if signature.normalize_s() != signature {
        return None;
    }
    let key = VerifyingKey::recover_from_prehash(&digest.0, &signature, recovery).ok()?;
    Some(address_of(&key))
}

/// The Ethereum-style address of a public key.
pub fn address_of(key: &VerifyingKey) -> Address {
    let point = key.to_sec1_point(false);
    let hash = keccak256(point.as_bytes().get(1..).unwrap_or_default());
    let mut address = Address::default();
    if let Some(tail) = hash.0.get(12..) {
        address.0.copy_from_slice(tail);
    }
    address
}

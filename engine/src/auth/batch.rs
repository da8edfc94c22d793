//! Batch verification of ed25519 signatures.
//!
//! The batch equation wants coefficients that a signer cannot foresee. They are drawn from a hash
//! of every message, key and signature in the batch, so the engine needs no randomness and a signer
//! who changes anything changes them all.

use alloc::vec::Vec;
use core::convert::Infallible;

use ed25519_zebra::{Signature, VerificationKeyBytes, batch::Item, batch::Verifier};
use rand_core::{TryCryptoRng, TryRng};
use sha2::{Digest as _, Sha512};

use super::check;
use crate::block::{CheckedCommand, Signer};
use crate::command::{Command, UserSignature};
use crate::types::{ChainId, PublicKey};

/// Verifies many commands' signatures at once. A batch that fails is split until the bad ones are
/// found, so one forged signature costs its sender's batch a logarithm more, not a linear scan.
pub fn check_batch(chain: &ChainId, commands: Vec<Command>) -> Vec<CheckedCommand> {
    let mut signers: Vec<Option<Signer>> = Vec::with_capacity(commands.len());
    let mut pending: Vec<(usize, Item)> = Vec::with_capacity(commands.len());
    let mut transcript = Sha512::new();
    for (index, command) in commands.iter().enumerate() {
        match ed25519_parts(chain, command) {
            Some((signer, key, signature, message)) => {
                transcript.update(key.0);
                transcript.update(signature);
                transcript.update(&message);
                let parsed = Signature::from_bytes(&signature);
                let bytes = VerificationKeyBytes::from(key.0);
                pending.push((index, Item::from((bytes, parsed, message.as_slice()))));
                signers.push(Some(signer));
            }
            None => signers.push(check(chain, command.clone()).signer()),
        }
    }
    let seed: [u8; 64] = transcript.finalize().into();
    for index in invalid(&pending, &seed) {
        if let Some(signer) = signers.get_mut(index) {
            *signer = None;
        }
    }
    commands
        .into_iter()
        .zip(signers)
        .map(|(c, s)| CheckedCommand::new(c, s))
        .collect()
}

type Parts = (Signer, PublicKey, [u8; 64], Vec<u8>);

fn ed25519_parts(chain: &ChainId, command: &Command) -> Option<Parts> {
    match command {
        Command::User(user) => match &user.signature {
            UserSignature::Session { key, signature } => Some((
                Signer::Session(*key),
                *key,
                *signature,
                user.payload.session_message(chain),
            )),
            UserSignature::Owner { .. } => None,
        },
        Command::Validator(v) => Some((
            Signer::Validator(v.key),
            v.key,
            v.signature,
            v.payload.message(chain),
        )),
    }
}

/// Indices of the items whose signature does not verify, by bisection.
fn invalid(items: &[(usize, Item)], seed: &[u8; 64]) -> Vec<usize> {
    let mut bad = Vec::new();
    let mut open: Vec<&[(usize, Item)]> = Vec::from([items]);
    while let Some(part) = open.pop() {
        match part {
            [] => {}
            [(index, item)] => {
                if item.clone().verify_single().is_err() {
                    bad.push(*index);
                }
            }
            _ if verifies(part, seed) => {}
            _ => {
                let (left, right) = part.split_at(part.len() >> 1);
                open.push(left);
                open.push(right);
            }
        }
    }
    bad
}

fn verifies(items: &[(usize, Item)], seed: &[u8; 64]) -> bool {
    let mut verifier = Verifier::new();
    for (_, item) in items {
        verifier.queue(item.clone());
    }
    verifier.verify(Coefficients::new(seed)).is_ok()
}

/// SHA-512 in counter mode over the batch's transcript.
struct Coefficients {
    seed: [u8; 64],
    counter: u64,
}

impl Coefficients {
    const fn new(seed: &[u8; 64]) -> Self {
        Self {
            seed: *seed,
            counter: 0,
        }
    }

    fn block(&mut self) -> [u8; 64] {
        let hash = Sha512::new()
            .chain_update(self.seed)
            .chain_update(self.counter.to_le_bytes());
        self.counter = self.counter.wrapping_add(1);
        hash.finalize().into()
    }
}

impl TryRng for Coefficients {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Infallible> {
        for chunk in dst.chunks_mut(64) {
            for (to, from) in chunk.iter_mut().zip(self.block()) {
                *to = from;
            }
        }
        Ok(())
    }
}

impl TryCryptoRng for Coefficients {}

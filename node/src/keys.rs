//! A validator's keys and the committee's public part, as files.
//!
//! **Owns** dealing by a trusted dealer: whoever runs it sees every share, so it is for development
//! and for one machine. A venue of several operators generates its key jointly instead.

use std::num::NonZeroU32;

use commonware_codec::{DecodeExt as _, Encode as _, Read as _};
use commonware_cryptography::Signer as _;
use commonware_cryptography::bls12381::dkg::feldman_desmedt::deal;
use commonware_cryptography::bls12381::primitives::group::Share;
use commonware_cryptography::bls12381::primitives::sharing::{Mode, ModeVersion, Sharing};
use commonware_cryptography::bls12381::primitives::variant::MinSig;
use commonware_cryptography::ed25519::{PrivateKey, PublicKey as PeerKey};
use commonware_utils::ordered::Set;
use commonware_utils::{Faults as _, N3f1};
use ed25519_zebra::{SigningKey, VerificationKeyBytes};
use lifeboat_engine::limits::VALIDATORS_MAX;
use lifeboat_engine::types::{ChainId, PublicKey};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde::{Deserialize, Serialize};

use crate::consensus::{Identity, Scheme, Suspects, namespace};

/// What is wrong with a key file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not the hexadecimal form of what it should be.
    #[error("{0} is not valid: the file is damaged or not from `lifeboat init`")]
    Malformed(&'static str),
    /// The share, the key and the committee do not belong together.
    #[error(
        "the keys do not belong to this committee: use the files that `lifeboat init` wrote together"
    )]
    Mismatch,
    /// The system gave no random bytes.
    #[error("the system has no entropy: {0}")]
    Entropy(String),
    /// Not a number of validators that can agree.
    #[error("a venue has 1 to {VALIDATORS_MAX} validators, not {0}")]
    Size(usize),
}

/// Writes bytes as lower-case hexadecimal.
pub fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads hexadecimal.
pub fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    let pairs = digits.chunks_exact(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    pairs.map(byte).collect()
}

/// One validator's secrets.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretKeys {
    /// Seed of its network key.
    pub network_seed: String,
    /// Its share of the venue's signing key.
    pub share: String,
    /// Seed of the key that signs its observations and attestations.
    pub command_seed: String,
}

impl std::fmt::Debug for SecretKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretKeys(not shown)")
    }
}

/// One validator as the others know it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemberKeys {
    /// Its network key.
    pub network_key: String,
    /// Where it listens.
    pub address: std::net::SocketAddr,
}

/// The committee's public part; the same file for everybody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Committee {
    /// The public polynomial of the signing key.
    pub polynomial: String,
    /// The validators, in the order of their ids.
    pub members: Vec<MemberKeys>,
}

fn seed32(text: &str, what: &'static str) -> Result<[u8; 32], KeyError> {
    let bytes = from_hex(text).ok_or(KeyError::Malformed(what))?;
    bytes.try_into().map_err(|_| KeyError::Malformed(what))
}

impl SecretKeys {
    /// The network key.
    ///
    /// # Errors
    /// When it is malformed.
    pub fn network(&self) -> Result<PrivateKey, KeyError> {
        let seed = seed32(&self.network_seed, "network_seed")?.to_vec();
        PrivateKey::decode(seed).map_err(|_| KeyError::Malformed("network_seed"))
    }

    /// The key that signs observations and attestations.
    ///
    /// # Errors
    /// When it is malformed.
    pub fn command(&self) -> Result<SigningKey, KeyError> {
        seed32(&self.command_seed, "command_seed").map(SigningKey::from)
    }

    fn share(&self) -> Result<Share, KeyError> {
        let bytes = from_hex(&self.share).ok_or(KeyError::Malformed("share"))?;
        Share::decode(bytes).map_err(|_| KeyError::Malformed("share"))
    }
}

impl Committee {
    /// The network keys, in the order of validator ids.
    ///
    /// # Errors
    /// When one is malformed.
    pub fn network_keys(&self) -> Result<Vec<PeerKey>, KeyError> {
        let decode = |member: &MemberKeys| {
            let bytes = from_hex(&member.network_key).ok_or(KeyError::Malformed("network_key"))?;
            PeerKey::decode(bytes).map_err(|_| KeyError::Malformed("network_key"))
        };
        self.members.iter().map(decode).collect()
    }

    /// The public polynomial.
    ///
    /// # Errors
    /// When it is malformed.
    pub fn polynomial(&self) -> Result<Sharing<MinSig>, KeyError> {
        let malformed = KeyError::Malformed("polynomial");
        let bytes = from_hex(&self.polynomial).ok_or(malformed.clone())?;
        let participants = NonZeroU32::new(self.members.len() as u32).ok_or(malformed.clone())?;
        let mut bytes = bytes::Bytes::from(bytes);
        Sharing::read_cfg(&mut bytes, &(participants, ModeVersion::v0())).map_err(|_| malformed)
    }

    /// What checks votes and certificates.
    ///
    /// # Errors
    /// When the keys are malformed.
    pub fn verifier(&self, chain: &ChainId) -> Result<Scheme, KeyError> {
        let (committee, polynomial) = self.fitting(&self.network_keys()?)?;
        Ok(Scheme::verifier(
            &namespace(chain),
            committee,
            polynomial,
            Suspects::default(),
        ))
    }

    /// Its network keys as a set, and a polynomial that is of so many validators: the library takes no other.
    fn fitting(&self, keys: &[PeerKey]) -> Result<(Set<PeerKey>, Sharing<MinSig>), KeyError> {
        let polynomial = self.polynomial()?;
        let members = keys.len();
        let committee = Set::try_from(keys).map_err(|_| KeyError::Mismatch)?;
        let is_theirs = polynomial.total().get() as usize == members
            && polynomial.required() == N3f1::quorum(members);
        match is_theirs {
            true => Ok((committee, polynomial)),
            false => Err(KeyError::Malformed("polynomial")),
        }
    }

    /// The venue's signing key, compressed: what a light client or a contract checks against.
    ///
    /// # Errors
    /// When the polynomial is malformed.
    pub fn group_key(&self) -> Result<Vec<u8>, KeyError> {
        Ok(self.polynomial()?.public().encode().to_vec())
    }

    /// Puts a validator's identity together and checks that its parts fit.
    ///
    /// # Errors
    /// When something is malformed or does not belong together.
    pub fn identity(&self, secrets: &SecretKeys, chain: &ChainId) -> Result<Identity, KeyError> {
        let keys = self.network_keys()?;
        let (committee, polynomial) = self.fitting(&keys)?;
        let key = secrets.network()?;
        let identity = Identity {
            peer: key.public_key(),
            key,
            committee,
            polynomial,
            share: secrets.share()?,
            suspects: Suspects::default(),
        };
        let ordered = identity.committee.iter().eq(keys.iter());
        let place = keys.iter().position(|key| *key == identity.peer);
        let fits = place.is_some_and(|place| place == usize::from(identity.share.index));
        if !ordered || !fits || identity.signer(chain).is_none() {
            return Err(KeyError::Mismatch);
        }
        Ok(identity)
    }
}

/// One validator's dealt keys.
#[derive(Clone, Debug)]
pub struct Dealt {
    /// Its secrets.
    pub secrets: SecretKeys,
    /// Its network key.
    pub network_key: String,
    /// Its command key, for the genesis.
    pub command_key: PublicKey,
}

/// 32 bytes from the system.
///
/// # Errors
/// When the system has none.
pub fn entropy() -> Result<[u8; 32], KeyError> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| KeyError::Entropy(error.to_string()))?;
    Ok(seed)
}

/// Deals keys to `validators`, drawn from `seed`: the public polynomial, and each validator's keys in
/// the order of their ids.
///
/// # Errors
/// When there are no or too many validators.
pub fn deal_keys(validators: usize, seed: [u8; 32]) -> Result<(String, Vec<Dealt>), KeyError> {
    if validators == 0 || validators > VALIDATORS_MAX {
        return Err(KeyError::Size(validators));
    }
    let mut rng = StdRng::from_seed(seed);
    let mut draw = || {
        let mut seed = [0; 32];
        rand::Rng::fill_bytes(&mut rng, &mut seed);
        seed
    };
    let mut seeds: Vec<([u8; 32], [u8; 32])> = (0..validators).map(|_| (draw(), draw())).collect();
    let network = |seed: &[u8; 32]| {
        PrivateKey::decode(seed.to_vec()).map_err(|_| KeyError::Malformed("network_seed"))
    };
    let keys: Result<Vec<PeerKey>, _> = seeds
        .iter()
        .map(|(seed, _)| network(seed).map(|key| key.public_key()))
        .collect();
    let mut keyed: Vec<_> = keys?.into_iter().zip(seeds.drain(..)).collect();
    keyed.sort_by(|left, right| left.0.cmp(&right.0));
    let committee = Set::from_iter_dedup(keyed.iter().map(|(key, _)| key.clone()));
    let (output, shares) = deal::<MinSig, _, N3f1>(&mut rng, Mode::NonZeroCounter, committee)
        .map_err(|_| KeyError::Size(validators))?;
    let dealt = keyed
        .into_iter()
        .map(|(key, (network_seed, command_seed))| {
            let share = shares.get_value(&key).ok_or(KeyError::Mismatch)?;
            let command = SigningKey::from(command_seed);
            Ok(Dealt {
                secrets: SecretKeys {
                    network_seed: to_hex(&network_seed),
                    share: to_hex(&share.encode()),
                    command_seed: to_hex(&command_seed),
                },
                network_key: to_hex(&key.encode()),
                command_key: PublicKey(VerificationKeyBytes::from(&command).into()),
            })
        });
    let dealt: Result<Vec<Dealt>, KeyError> = dealt.collect();
    Ok((to_hex(&output.public().encode()), dealt?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHAIN: ChainId = ChainId([7; 32]);

    fn dealt(validators: usize) -> (Committee, SecretKeys) {
        let (polynomial, dealt) = deal_keys(validators, [1; 32]).expect("a committee");
        let members = dealt.iter().map(|one| MemberKeys {
            network_key: one.network_key.clone(),
            address: ([127, 0, 0, 1], 1).into(),
        });
        let members = members.collect();
        let secrets = dealt[0].secrets.clone();
        let committee = Committee {
            polynomial,
            members,
        };
        (committee, secrets)
    }

    #[test]
    fn a_committee_whose_parts_do_not_fit_is_refused() {
        let (good, secrets) = dealt(7);
        let refused = |committee: &Committee, why: &KeyError| {
            assert_eq!(committee.verifier(&CHAIN).err().as_ref(), Some(why));
            assert_eq!(
                committee.identity(&secrets, &CHAIN).err().as_ref(),
                Some(why)
            );
        };
        assert!(good.verifier(&CHAIN).is_ok());
        assert!(good.identity(&secrets, &CHAIN).is_ok());
        let mut twice = good.clone();
        twice.members[1] = twice.members[0].clone();
        refused(&twice, &KeyError::Mismatch);
        for others in [4, 6] {
            let mut mixed = good.clone();
            mixed.polynomial = dealt(others).0.polynomial;
            refused(&mixed, &KeyError::Malformed("polynomial"));
        }
    }
}

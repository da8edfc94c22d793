//! How validators sign their votes.
//!
//! **Owns** the choice of a signature for each kind of vote. A vote to finalize is a share of the committee's
//! BLS12-381 signature: the certificate made of them leaves the venue, and is one short signature that a contract
//! checks. Votes to notarize and to nullify only move the validators themselves from view to view; nobody else
//! reads their certificates. They are ed25519 signatures by the network keys, which cost a thirtieth to
//! check, and everybody waits for them twice a block less. **Never** takes a certificate of one kind for the
//! other: which one a subject needs is decided by the subject.

use std::collections::BTreeSet;

use bytes::BufMut;
use commonware_codec::types::lazy::Lazy;
use commonware_codec::{Buf, EncodeSize, Error, FixedSize, Read, ReadExt as _, Write};
use commonware_consensus::simplex::scheme::bls12381_threshold::standard as threshold;
use commonware_consensus::simplex::scheme::ed25519 as individual;
use commonware_consensus::simplex::types::Subject;
use commonware_cryptography::bls12381::certificate::threshold::Certificate as Recovered;
use commonware_cryptography::bls12381::primitives::group::Share;
use commonware_cryptography::bls12381::primitives::sharing::Sharing;
use commonware_cryptography::bls12381::primitives::variant::{MinSig, Variant};
use commonware_cryptography::certificate::{
    self, AssemblyError, Attestation, Membership, Verification, Verifier,
};
use commonware_cryptography::ed25519::certificate::Certificate as Collected;
use commonware_cryptography::ed25519::{PrivateKey, PublicKey, Signature as IndividualSignature};
use commonware_cryptography::{Digest, Signer as _};
use commonware_parallel::Strategy;
use commonware_utils::iter::NonEmpty;
use commonware_utils::ordered::Set;
use commonware_utils::{N3f1, Participant};
use lifeboat_engine::limits::VALIDATORS_MAX;
use rand_core::CryptoRng;

type Threshold = threshold::Scheme<PublicKey, MinSig>;
type ShareSignature = <MinSig as Variant>::Signature;

/// The signature of one vote.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Signature {
    /// By the validator's network key, of a vote to notarize or to nullify.
    Individual(IndividualSignature),
    /// With the validator's share, of a vote to finalize.
    Share(ShareSignature),
}

const INDIVIDUAL: u8 = 0;
const SHARE: u8 = 1;
/// A share's signature is shorter than an individual one.
const PADDING: usize = IndividualSignature::SIZE - ShareSignature::SIZE;

impl FixedSize for Signature {
    const SIZE: usize = 1 + IndividualSignature::SIZE;
}

impl Write for Signature {
    fn write(&self, out: &mut impl BufMut) {
        match self {
            Self::Individual(signature) => {
                out.put_u8(INDIVIDUAL);
                signature.write(out);
            }
            Self::Share(signature) => {
                out.put_u8(SHARE);
                signature.write(out);
                out.put_bytes(0, PADDING);
            }
        }
    }
}

impl Read for Signature {
    type Cfg = ();

    fn read_cfg(bytes: &mut impl Buf, (): &()) -> Result<Self, Error> {
        match u8::read(bytes)? {
            INDIVIDUAL => Ok(Self::Individual(IndividualSignature::read(bytes)?)),
            SHARE => {
                let signature = ShareSignature::read(bytes)?;
                let padding = <[u8; PADDING]>::read(bytes)?;
                match padding == [0; PADDING] {
                    true => Ok(Self::Share(signature)),
                    false => Err(Error::Invalid("votes::Signature", "padding is not zero")),
                }
            }
            other => Err(Error::InvalidEnum(other)),
        }
    }
}

/// A quorum's word on a vote.
///
/// Encoded without a tag, so that a certificate of finality is what it always was: the first bit of a compressed
/// point is set, that of a count of signers is not.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Certificate {
    /// The signatures of its members, of a notarization or a nullification.
    Collected(Collected),
    /// The committee's signature, of a finalization.
    Recovered(Recovered<MinSig>),
}

const POINT: u8 = 0x80;

impl Write for Certificate {
    fn write(&self, out: &mut impl BufMut) {
        match self {
            Self::Collected(certificate) => certificate.write(out),
            Self::Recovered(certificate) => certificate.write(out),
        }
    }
}

impl EncodeSize for Certificate {
    fn encode_size(&self) -> usize {
        match self {
            Self::Collected(certificate) => certificate.encode_size(),
            Self::Recovered(certificate) => certificate.encode_size(),
        }
    }
}

impl Read for Certificate {
    type Cfg = ();

    fn read_cfg(bytes: &mut impl Buf, (): &()) -> Result<Self, Error> {
        let first = bytes.chunk().first().copied().ok_or(Error::EndOfBuffer)?;
        Ok(match first & POINT {
            0 => Self::Collected(Collected::read_cfg(bytes, &VALIDATORS_MAX)?),
            _ => Self::Recovered(Recovered::read(bytes)?),
        })
    }
}

fn is_final<D: Digest>(subject: &Subject<'_, D>) -> bool {
    matches!(subject, Subject::Finalize { .. })
}

/// Signs and checks votes and certificates, or certificates of finality alone.
#[derive(Clone, Debug)]
pub struct Scheme {
    threshold: Threshold,
    /// None for who checks finality only and need not know the committee.
    individual: Option<individual::Scheme>,
}

impl Scheme {
    /// A validator's; `None` if its key or its share is not this committee's.
    pub fn signer(
        namespace: &[u8],
        committee: Set<PublicKey>,
        polynomial: Sharing<MinSig>,
        (key, share): (PrivateKey, Share),
    ) -> Option<Self> {
        let place = committee.position(&key.public_key())?;
        if place != usize::from(share.index) {
            return None;
        }
        let individual = individual::Scheme::signer(namespace, committee.clone(), key)?;
        let threshold = Threshold::signer(namespace, committee, polynomial, share)?;
        Some(Self {
            threshold,
            individual: Some(individual),
        })
    }

    /// Checks every vote and certificate, and signs nothing.
    pub fn verifier(
        namespace: &[u8],
        committee: Set<PublicKey>,
        polynomial: Sharing<MinSig>,
    ) -> Self {
        let individual = individual::Scheme::verifier(namespace, committee.clone());
        Self {
            threshold: Threshold::verifier(namespace, committee, polynomial),
            individual: Some(individual),
        }
    }

    /// Checks certificates of finality, by the committee's key alone.
    pub fn certificate_verifier(namespace: &[u8], key: <MinSig as Variant>::Public) -> Self {
        Self {
            threshold: Threshold::certificate_verifier(namespace, key),
            individual: None,
        }
    }
}

fn to_individual(vote: &Attestation<Scheme>) -> Option<Attestation<individual::Scheme>> {
    match vote.signature.get()? {
        Signature::Individual(signature) => Some(Attestation {
            signer: vote.signer,
            signature: Lazy::from(signature.clone()),
        }),
        Signature::Share(_) => None,
    }
}

fn to_share(vote: &Attestation<Scheme>) -> Option<Attestation<Threshold>> {
    match vote.signature.get()? {
        Signature::Share(signature) => Some(Attestation {
            signer: vote.signer,
            signature: Lazy::from(*signature),
        }),
        Signature::Individual(_) => None,
    }
}

/// Those of `votes` that are of the right kind, and who sent another.
fn sort<S: certificate::Scheme>(
    votes: impl IntoIterator<Item = Attestation<Scheme>>,
    kind: impl Fn(&Attestation<Scheme>) -> Option<Attestation<S>>,
) -> (Vec<Attestation<S>>, BTreeSet<Participant>) {
    let mut wrong = BTreeSet::new();
    let right = votes.into_iter().filter_map(|vote| {
        let converted = kind(&vote);
        if converted.is_none() {
            wrong.insert(vote.signer);
        }
        converted
    });
    (right.collect(), wrong)
}

/// What was found about votes of one kind, with those of another kind as invalid.
fn found<S: certificate::Scheme>(
    found: Verification<S>,
    mut wrong: BTreeSet<Participant>,
    wrap: impl Fn(&S::Signature) -> Signature,
) -> Verification<Scheme> {
    wrong.extend(found.invalid);
    let valid = found.verified.iter().filter_map(|vote| {
        Some(Attestation {
            signer: vote.signer,
            signature: Lazy::from(wrap(vote.signature.get()?)),
        })
    });
    Verification::new(valid.collect(), wrong.into_iter().collect())
}

fn wrap_individual(signature: &IndividualSignature) -> Signature {
    Signature::Individual(signature.clone())
}

fn wrap_share(signature: &ShareSignature) -> Signature {
    Signature::Share(*signature)
}

impl Verifier for Scheme {
    type Subject<'a, D: Digest> = Subject<'a, D>;
    type Faults = N3f1;
    type PublicKey = PublicKey;
    type Certificate = Certificate;

    fn verify_certificate<R: CryptoRng, D: Digest>(
        &self,
        rng: &mut R,
        subject: Subject<'_, D>,
        certificate: &Certificate,
        strategy: &impl Strategy,
    ) -> bool {
        match (is_final(&subject), certificate, &self.individual) {
            (true, Certificate::Recovered(certificate), _) => {
                let threshold = &self.threshold;
                threshold.verify_certificate(rng, subject, certificate, strategy)
            }
            (false, Certificate::Collected(certificate), Some(individual)) => {
                individual.verify_certificate(rng, subject, certificate, strategy)
            }
            _ => false,
        }
    }

    fn is_batchable() -> bool {
        true
    }

    fn max_certificate_size(participants: u32) -> usize {
        let collected = individual::Scheme::max_certificate_size(participants);
        collected.max(Threshold::max_certificate_size(participants))
    }

    fn certificate_codec_config(&self) {}

    fn certificate_codec_config_unbounded() {}
}

impl certificate::Scheme for Scheme {
    type Signature = Signature;

    fn me(&self) -> Option<Membership> {
        self.threshold.me()
    }

    fn participants(&self) -> &Set<PublicKey> {
        self.threshold.participants()
    }

    fn sign<D: Digest>(&self, subject: Subject<'_, D>) -> Option<Attestation<Self>> {
        let (signer, signature) = if is_final(&subject) {
            let vote = self.threshold.sign(subject)?;
            (vote.signer, wrap_share(vote.signature.get()?))
        } else {
            let vote = self.individual.as_ref()?.sign(subject)?;
            (vote.signer, wrap_individual(vote.signature.get()?))
        };
        Some(Attestation {
            signer,
            signature: Lazy::from(signature),
        })
    }

    fn verify_attestation<R: CryptoRng, D: Digest>(
        &self,
        rng: &mut R,
        subject: Subject<'_, D>,
        vote: &Attestation<Self>,
        strategy: &impl Strategy,
    ) -> bool {
        if is_final(&subject) {
            let share = to_share(vote);
            return share.is_some_and(|share| {
                let threshold = &self.threshold;
                threshold.verify_attestation(rng, subject, &share, strategy)
            });
        }
        let (Some(individual), Some(vote)) = (&self.individual, to_individual(vote)) else {
            return false;
        };
        individual.verify_attestation(rng, subject, &vote, strategy)
    }

    fn verify_attestations<R, D, I>(
        &self,
        rng: &mut R,
        subject: Subject<'_, D>,
        votes: I,
        strategy: &impl Strategy,
    ) -> Verification<Self>
    where
        R: CryptoRng,
        D: Digest,
        I: IntoIterator<Item = Attestation<Self>>,
        I::IntoIter: Send,
    {
        if is_final(&subject) {
            let (votes, wrong) = sort(votes, to_share);
            let threshold = &self.threshold;
            let checked = threshold.verify_attestations(rng, subject, votes, strategy);
            return found(checked, wrong, wrap_share);
        }
        let (votes, wrong) = sort(votes, to_individual);
        match &self.individual {
            Some(individual) => {
                let checked = individual.verify_attestations(rng, subject, votes, strategy);
                found(checked, wrong, wrap_individual)
            }
            None => Verification::new(Vec::new(), wrong.into_iter().collect()),
        }
    }

    fn optimistic_assemble<'a, R, D, I, J>(
        &self,
        rng: &mut R,
        subject: Subject<'_, D>,
        pending: I,
        verified: J,
        strategy: &impl Strategy,
    ) -> Result<Certificate, Verification<Self>>
    where
        R: CryptoRng,
        D: Digest,
        I: IntoIterator<Item = Attestation<Self>>,
        I::IntoIter: ExactSizeIterator + Send,
        J: IntoIterator<Item = &'a Attestation<Self>>,
        J::IntoIter: Send,
    {
        if is_final(&subject) {
            return certificate::optimistic_assemble::<Self, _, D, _, _>(
                self, rng, subject, pending, verified, strategy,
            );
        }
        certificate::verify_then_assemble::<Self, _, D, _, _>(
            self, rng, subject, pending, verified, strategy,
        )
    }

    fn assemble<I>(
        &self,
        votes: NonEmpty<I>,
        strategy: &impl Strategy,
    ) -> Result<Certificate, AssemblyError>
    where
        I: Iterator<Item = Attestation<Self>> + Send,
    {
        let votes: Vec<_> = votes.into_iter().collect();
        let first = votes.first().and_then(|vote| vote.signature.get());
        if matches!(first, Some(Signature::Share(_))) {
            let (shares, wrong) = sort(votes, to_share);
            let shares = of_one_kind(shares, wrong)?;
            let recovered = self.threshold.assemble(shares, strategy)?;
            return Ok(Certificate::Recovered(recovered));
        }
        let (votes, wrong) = sort(votes, to_individual);
        let votes = of_one_kind(votes, wrong)?;
        let individual = self.individual.as_ref();
        let individual = individual.ok_or(AssemblyError::RecoveryFailed)?;
        let collected = individual.assemble(votes, strategy)?;
        Ok(Certificate::Collected(collected))
    }

    fn is_attributable() -> bool {
        false
    }
}

/// Votes that are all of one kind.
fn of_one_kind<T>(
    votes: Vec<T>,
    wrong: BTreeSet<Participant>,
) -> Result<NonEmpty<std::vec::IntoIter<T>>, AssemblyError> {
    if let Some(signer) = wrong.first() {
        return Err(AssemblyError::MalformedSignature(*signer));
    }
    NonEmpty::try_new(votes.into_iter()).ok_or(AssemblyError::RecoveryFailed)
}

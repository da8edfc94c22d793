//! How validators sign their votes.
//!
//! **Owns** what a vote carries. Every vote is signed with the validator's ed25519 network key, and validators believe
//! that signature: it costs a thirtieth of a BLS12-381 signature to check, and everybody waits for votes three times a
//! block. A vote to finalize carries the validator's share of the committee's BLS12-381 signature too, under the
//! same signature, unlooked at. Whoever needs a certificate that leaves the venue, one short signature that a contract
//! checks, puts the shares together and checks the sum then ([`Scheme::recover`]). **Never** takes votes of one
//! kind for those of another, nor a share for good because its sender signed it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use bytes::{BufMut, Bytes};
use commonware_codec::types::lazy::Lazy;
use commonware_codec::{Buf, EncodeSize, Error, FixedSize};
use commonware_codec::{Read, ReadExt as _, Write};
use commonware_consensus::simplex::scheme::bls12381_threshold::standard as threshold;
use commonware_consensus::simplex::scheme::{Namespace, ed25519 as individual};
use commonware_consensus::simplex::types::Subject;
use commonware_cryptography::bls12381::certificate::threshold::Certificate as Recovered;
use commonware_cryptography::bls12381::primitives::group::Share;
use commonware_cryptography::bls12381::primitives::sharing::Sharing;
use commonware_cryptography::bls12381::primitives::variant::{MinSig, Variant};
use commonware_cryptography::certificate::{
    self, AssemblyError, Attestation, Membership, Scheme as _, Subject as _, Verification, Verifier,
};
use commonware_cryptography::ed25519::certificate::Certificate as Collected;
use commonware_cryptography::ed25519::{PrivateKey, PublicKey, Signature as IndividualSignature};
use commonware_cryptography::{BatchEntry, BatchVerifier as _, Digest, Signer as _, Verifier as _};
use commonware_parallel::{Sequential, Strategy};
use commonware_utils::iter::NonEmpty;
use commonware_utils::ordered::{Quorum as _, Set};
use commonware_utils::{N3f1, Participant};
use lifeboat_engine::limits::VALIDATORS_MAX;
use rand_core::CryptoRng;

use crate::shared::lock;

type Threshold = threshold::Scheme<PublicKey, MinSig>;
type ShareSignature = <MinSig as Variant>::Signature;

/// Bytes of a share's signature.
pub const SHARE_BYTES: usize = ShareSignature::SIZE;
/// A share's signature, which nobody has looked at: a compressed point of G1, or anything.
pub type UncheckedShare = [u8; SHARE_BYTES];

/// The signature of one vote, by the validator's network key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Signature {
    /// Of a vote to notarize or to nullify.
    Moving(IndividualSignature),
    /// Of a vote to finalize, and of the share that goes with it.
    Final(IndividualSignature, UncheckedShare),
}

const MOVING: u8 = 0;
const FINAL: u8 = 1;

impl FixedSize for Signature {
    const SIZE: usize = 1 + IndividualSignature::SIZE + SHARE_BYTES;
}

impl Write for Signature {
    fn write(&self, out: &mut impl BufMut) {
        let (kind, signature, share) = match self {
            Self::Moving(signature) => (MOVING, signature, &[0; SHARE_BYTES]),
            Self::Final(signature, share) => (FINAL, signature, share),
        };
        out.put_u8(kind);
        signature.write(out);
        share.write(out);
    }
}

impl Read for Signature {
    type Cfg = ();

    fn read_cfg(bytes: &mut impl Buf, (): &()) -> Result<Self, Error> {
        let kind = u8::read(bytes)?;
        let signature = IndividualSignature::read(bytes)?;
        let share = UncheckedShare::read(bytes)?;
        match kind {
            MOVING if share == [0; SHARE_BYTES] => Ok(Self::Moving(signature)),
            MOVING => Err(Error::Invalid("votes::Signature", "padding is not zero")),
            FINAL => Ok(Self::Final(signature, share)),
            other => Err(Error::InvalidEnum(other)),
        }
    }
}

/// A quorum's signatures of votes to finalize, each with a share that nobody has looked at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FinalVotes {
    signatures: Collected,
    shares: Vec<UncheckedShare>,
}

/// A quorum's word on a vote. Encoded, the first byte tells which: the first bit of a compressed point is set, a
/// count of signers begins with a zero.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Certificate {
    /// Of a notarization or a nullification.
    Collected(Collected),
    /// Of a finalization, among validators.
    Final(FinalVotes),
    /// Of a finalization, for everybody else: the committee's own signature.
    Recovered(Recovered<MinSig>),
}

const POINT: u8 = 0x80;
const VOTES: u8 = 0x40;

impl Write for Certificate {
    fn write(&self, out: &mut impl BufMut) {
        match self {
            Self::Collected(certificate) => certificate.write(out),
            Self::Final(certificate) => {
                out.put_u8(VOTES);
                certificate.signatures.write(out);
                for share in &certificate.shares {
                    share.write(out);
                }
            }
            Self::Recovered(certificate) => certificate.write(out),
        }
    }
}

impl EncodeSize for Certificate {
    fn encode_size(&self) -> usize {
        match self {
            Self::Collected(certificate) => certificate.encode_size(),
            Self::Final(FinalVotes { signatures, shares }) => {
                1 + signatures.encode_size() + shares.len() * SHARE_BYTES
            }
            Self::Recovered(certificate) => certificate.encode_size(),
        }
    }
}

impl Read for Certificate {
    type Cfg = ();

    fn read_cfg(bytes: &mut impl Buf, (): &()) -> Result<Self, Error> {
        let first = bytes.chunk().first().copied().ok_or(Error::EndOfBuffer)?;
        if first & POINT != 0 {
            return Ok(Self::Recovered(Recovered::read(bytes)?));
        }
        if first != VOTES {
            return Ok(Self::Collected(Collected::read_cfg(
                bytes,
                &VALIDATORS_MAX,
            )?));
        }
        bytes.advance(1);
        let signatures = Collected::read_cfg(bytes, &VALIDATORS_MAX)?;
        let shares = signatures
            .signers
            .iter()
            .map(|_| UncheckedShare::read(bytes));
        let shares = shares.collect::<Result<_, _>>()?;
        Ok(Self::Final(FinalVotes { signatures, shares }))
    }
}

/// Validators whose shares were found to be bad since the process began: theirs are looked at before their votes
/// count. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Suspects(Arc<Mutex<BTreeSet<Participant>>>);

impl Suspects {
    fn add(&self, found: impl IntoIterator<Item = Participant>) {
        lock(&self.0).extend(found);
    }

    /// Whether one validator is.
    pub fn contains(&self, validator: Participant) -> bool {
        lock(&self.0).contains(&validator)
    }
}

/// Signs and checks votes and certificates.
#[derive(Clone, Debug)]
pub struct Scheme {
    individual: individual::Scheme,
    threshold: Threshold,
    namespace: Namespace,
    key: Option<PrivateKey>,
    suspects: Suspects,
}

fn is_final<D: Digest>(subject: &Subject<'_, D>) -> bool {
    matches!(subject, Subject::Finalize { .. })
}

/// What a validator signs who votes to finalize with this share.
fn with_share<D: Digest>(subject: &Subject<'_, D>, share: &UncheckedShare) -> Vec<u8> {
    [&subject.message()[..], share].concat()
}

/// A vote to finalize as its signature is checked.
struct FinalVote<'a> {
    signer: Participant,
    key: &'a PublicKey,
    message: Vec<u8>,
    signature: &'a IndividualSignature,
    share: UncheckedShare,
}

impl Scheme {
    /// A validator's; `None` if its key or its share is not this committee's.
    pub fn signer(
        namespace: &[u8],
        committee: Set<PublicKey>,
        polynomial: Sharing<MinSig>,
        (key, share): (PrivateKey, Share),
        suspects: Suspects,
    ) -> Option<Self> {
        let place = committee.position(&key.public_key())?;
        if place != usize::from(share.index) {
            return None;
        }
        Some(Self {
            individual: individual::Scheme::signer(namespace, committee.clone(), key.clone())?,
            threshold: Threshold::signer(namespace, committee, polynomial, share)?,
            namespace: Namespace::new(namespace),
            key: Some(key),
            suspects,
        })
    }

    /// Checks every vote and certificate, and signs nothing.
    pub fn verifier(
        namespace: &[u8],
        committee: Set<PublicKey>,
        polynomial: Sharing<MinSig>,
        suspects: Suspects,
    ) -> Self {
        Self {
            individual: individual::Scheme::verifier(namespace, committee.clone()),
            threshold: Threshold::verifier(namespace, committee, polynomial),
            namespace: Namespace::new(namespace),
            key: None,
            suspects,
        }
    }

    /// The committee's own signature of what a certificate makes final, for those who know nothing but its key.
    /// `None` when one of the shares is bad: who sent it is a suspect then, and the certificate of a later
    /// block will do. The certificate must have been verified, or anybody could make a suspect of anybody.
    pub fn recover<D: Digest>(
        &self,
        rng: &mut impl CryptoRng,
        subject: Subject<'_, D>,
        certificate: &Certificate,
    ) -> Option<Recovered<MinSig>> {
        let (threshold, strategy) = (&self.threshold, &Sequential);
        let holds = |rng: &mut _, recovered: &Recovered<MinSig>| {
            is_final(&subject) && threshold.verify_certificate(rng, subject, recovered, strategy)
        };
        let FinalVotes { signatures, shares } = match certificate {
            Certificate::Recovered(recovered) => {
                return holds(rng, recovered).then(|| recovered.clone());
            }
            Certificate::Final(votes) => votes,
            Certificate::Collected(_) => return None,
        };
        let shares = signatures.signers.iter().zip(shares);
        let shares = shares.map(|(signer, share)| to_share(signer, share));
        let shares: Vec<_> = shares.collect();
        let votes = NonEmpty::try_new(shares.iter().cloned())?;
        let recovered = threshold.assemble(votes, strategy).ok();
        if let Some(recovered) = recovered.filter(|recovered| holds(rng, recovered)) {
            return Some(recovered);
        }
        let found = threshold.verify_attestations(rng, subject, shares, strategy);
        tracing::warn!(validators = ?found.invalid, "sent bad shares of the committee's signature");
        self.suspects.add(found.invalid);
        None
    }

    /// A vote to finalize, if its sender is one of the committee.
    fn final_vote<'a, D: Digest>(
        &'a self,
        subject: &Subject<'_, D>,
        signer: Participant,
        (signature, share): (&'a IndividualSignature, &UncheckedShare),
    ) -> Option<FinalVote<'a>> {
        Some(FinalVote {
            signer,
            key: self.participants().key(signer)?,
            message: with_share(subject, share),
            signature,
            share: *share,
        })
    }

    fn are_signed<R: CryptoRng>(
        &self,
        rng: &mut R,
        votes: &[FinalVote<'_>],
        strategy: &impl Strategy,
    ) -> bool {
        let namespace = &self.namespace.finalize;
        PublicKey::verify_batch(
            rng,
            votes,
            |_, vote| BatchEntry {
                namespace,
                message: &vote.message,
                public_key: vote.key,
                signature: vote.signature,
            },
            strategy,
        )
    }

    /// Whether a vote's share is good, if its sender is a suspect.
    fn share_holds<R: CryptoRng, D: Digest>(
        &self,
        rng: &mut R,
        subject: Subject<'_, D>,
        vote: &FinalVote<'_>,
        strategy: &impl Strategy,
    ) -> bool {
        let suspect = self.suspects.contains(vote.signer);
        !suspect || {
            let (threshold, share) = (&self.threshold, to_share(vote.signer, &vote.share));
            threshold.verify_attestation(rng, subject, &share, strategy)
        }
    }

    /// Which of these validators' votes to finalize do not hold.
    fn broken<R: CryptoRng, D: Digest>(
        &self,
        rng: &mut R,
        subject: Subject<'_, D>,
        votes: &[Attestation<Self>],
        strategy: &impl Strategy,
    ) -> BTreeSet<Participant> {
        let mut broken = BTreeSet::new();
        let right = votes.iter().filter_map(|vote| {
            let parts = match vote.signature.get() {
                Some(Signature::Final(signature, share)) => Some((signature, share)),
                _ => None,
            };
            let found = parts.and_then(|parts| self.final_vote(&subject, vote.signer, parts));
            if found.is_none() {
                broken.insert(vote.signer);
            }
            found
        });
        let right: Vec<_> = right.collect();
        if !right.is_empty() && !self.are_signed(rng, &right, strategy) {
            let namespace = &self.namespace.finalize;
            let signed =
                |vote: &&FinalVote<'_>| vote.key.verify(namespace, &vote.message, vote.signature);
            let unsigned = right.iter().filter(|vote| !signed(vote));
            broken.extend(unsigned.map(|vote| vote.signer));
        }
        let mut lies = |vote: &&FinalVote<'_>| !self.share_holds(rng, subject, vote, strategy);
        broken.extend(right.iter().filter(&mut lies).map(|vote| vote.signer));
        broken
    }

    fn are_a_quorum<R: CryptoRng, D: Digest>(
        &self,
        rng: &mut R,
        subject: Subject<'_, D>,
        FinalVotes { signatures, shares }: &FinalVotes,
        strategy: &impl Strategy,
    ) -> bool {
        let count = signatures.signatures.len();
        let quorum = self.participants().quorum::<N3f1>() as usize;
        if signatures.signers.len() != self.participants().len()
            || signatures.signers.count() != count
            || shares.len() != count
            || count < quorum
        {
            return false;
        }
        let signed = signatures.signers.iter().zip(&signatures.signatures);
        let votes = signed.zip(shares).map(|((signer, signature), share)| {
            self.final_vote(&subject, signer, (signature.get()?, share))
        });
        let votes: Option<Vec<_>> = votes.collect();
        votes.is_some_and(|votes| self.are_signed(rng, &votes, strategy))
    }
}

fn to_share(signer: Participant, share: &UncheckedShare) -> Attestation<Threshold> {
    Attestation {
        signer,
        signature: Lazy::deferred(&mut Bytes::copy_from_slice(share), ()),
    }
}

/// The plain signature of a vote to notarize or to nullify.
fn to_individual(vote: &Attestation<Scheme>) -> Option<Attestation<individual::Scheme>> {
    match vote.signature.get()? {
        Signature::Moving(signature) => Some(Attestation {
            signer: vote.signer,
            signature: Lazy::from(signature.clone()),
        }),
        Signature::Final(..) => None,
    }
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
        match (is_final(&subject), certificate) {
            (true, Certificate::Final(votes)) => self.are_a_quorum(rng, subject, votes, strategy),
            (true, Certificate::Recovered(recovered)) => {
                let threshold = &self.threshold;
                threshold.verify_certificate(rng, subject, recovered, strategy)
            }
            (false, Certificate::Collected(collected)) => {
                let individual = &self.individual;
                individual.verify_certificate(rng, subject, collected, strategy)
            }
            _ => false,
        }
    }

    fn is_batchable() -> bool {
        true
    }

    fn max_certificate_size(participants: u32) -> usize {
        let signatures = individual::Scheme::max_certificate_size(participants);
        let votes = 1 + signatures + participants as usize * SHARE_BYTES;
        votes.max(Threshold::max_certificate_size(participants))
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
            let mut share = [0; SHARE_BYTES];
            vote.signature.get()?.write(&mut &mut share[..]);
            let message = with_share(&subject, &share);
            let signature = self.key.as_ref()?.sign(&self.namespace.finalize, &message);
            (vote.signer, Signature::Final(signature, share))
        } else {
            let vote = self.individual.sign(subject)?;
            (
                vote.signer,
                Signature::Moving(vote.signature.get()?.clone()),
            )
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
            let votes = std::slice::from_ref(vote);
            return self.broken(rng, subject, votes, strategy).is_empty();
        }
        to_individual(vote).is_some_and(|vote| {
            let individual = &self.individual;
            individual.verify_attestation(rng, subject, &vote, strategy)
        })
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
        let votes: Vec<_> = votes.into_iter().collect();
        let invalid: BTreeSet<_> = if is_final(&subject) {
            self.broken(rng, subject, &votes, strategy)
        } else {
            let mut wrong = BTreeSet::new();
            let plain = votes.iter().filter_map(|vote| {
                let plain = to_individual(vote);
                if plain.is_none() {
                    wrong.insert(vote.signer);
                }
                plain
            });
            let plain: Vec<_> = plain.collect();
            let individual = &self.individual;
            let found = individual.verify_attestations(rng, subject, plain, strategy);
            wrong.extend(found.invalid);
            wrong
        };
        let valid = votes
            .into_iter()
            .filter(|vote| !invalid.contains(&vote.signer));
        Verification::new(valid.collect(), invalid.into_iter().collect())
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
        let mut votes: Vec<_> = votes.into_iter().collect();
        votes.sort_by_key(|vote| vote.signer);
        let mut shares = Vec::new();
        let mut signatures = Vec::with_capacity(votes.len());
        for vote in &votes {
            let malformed = AssemblyError::MalformedSignature(vote.signer);
            let signature = match vote.signature.get().ok_or(malformed)? {
                Signature::Moving(signature) => signature,
                Signature::Final(signature, share) => {
                    shares.push(*share);
                    signature
                }
            };
            signatures.push(Attestation {
                signer: vote.signer,
                signature: Lazy::from(signature.clone()),
            });
        }
        if !shares.is_empty() && shares.len() != votes.len() {
            return Err(AssemblyError::RecoveryFailed);
        }
        let signatures = NonEmpty::try_new(signatures.into_iter());
        let signatures = signatures.ok_or(AssemblyError::RecoveryFailed)?;
        let signatures = self.individual.assemble(signatures, strategy)?;
        Ok(match shares.is_empty() {
            true => Certificate::Collected(signatures),
            false => Certificate::Final(FinalVotes { signatures, shares }),
        })
    }

    fn is_attributable() -> bool {
        false
    }
}

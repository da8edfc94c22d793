//! How validators sign: which kind of signature a vote needs, and what passes for none.

use bytes::Bytes;
use commonware_codec::types::lazy::Lazy;
use commonware_codec::{DecodeExt as _, Encode as _};
use commonware_consensus::simplex::scheme::Namespace;
use commonware_consensus::simplex::scheme::bls12381_threshold::standard as threshold;
use commonware_consensus::simplex::types::{
    Finalization, Finalize, Notarization, Notarize, Nullification, Nullify, Proposal, Subject,
};
use commonware_consensus::types::{Epoch, Round, View};
use commonware_cryptography::Signer as _;
use commonware_cryptography::bls12381::dkg::feldman_desmedt::deal;
use commonware_cryptography::bls12381::primitives::sharing::Mode;
use commonware_cryptography::bls12381::primitives::variant::MinSig;
use commonware_cryptography::certificate::{Attestation, Scheme as _, Verifier as _};
use commonware_cryptography::ed25519::{PrivateKey, PublicKey};
use commonware_cryptography::keccak256::Digest as BlockDigest;
use commonware_parallel::Sequential;
use commonware_utils::ordered::Set;
use commonware_utils::{N3f1, Participant, non_empty};
use lifeboat_node::consensus::{GOSSIP_BYTES_MAX, message_bytes_max};
use lifeboat_node::votes::{Certificate, Scheme, Signature, Suspects, UncheckedShare};
use rand::SeedableRng as _;
use rand::rngs::StdRng;

const NAMESPACE: &[u8] = b"votes";

type Outside = threshold::Scheme<PublicKey, MinSig>;

/// Four validators, in the order of their places.
struct Venue {
    keys: Vec<PrivateKey>,
    signers: Vec<Scheme>,
    suspects: Vec<Suspects>,
    /// What a contract knows.
    outside: Outside,
}

fn venue() -> Venue {
    let keys: Vec<PrivateKey> = (0..4).map(PrivateKey::from_seed).collect();
    let committee = Set::from_iter_dedup(keys.iter().map(|key| key.public_key()));
    let mut rng = StdRng::from_seed([3; 32]);
    let dealt = deal::<MinSig, _, N3f1>(&mut rng, Mode::NonZeroCounter, committee.clone());
    let (output, shares) = dealt.expect("four can agree");
    let key_of = |peer: &PublicKey| keys.iter().find(|key| key.public_key() == *peer);
    let ordered = committee
        .iter()
        .map(|peer| key_of(peer).expect("one of them").clone());
    let ordered: Vec<_> = ordered.collect();
    let signer = |key: &PrivateKey, of: &PrivateKey, suspects: &Suspects| {
        let share = shares
            .get_value(&of.public_key())
            .expect("it was dealt one");
        let secrets = (key.clone(), share.clone());
        let polynomial = output.public().clone();
        Scheme::signer(
            NAMESPACE,
            committee.clone(),
            polynomial,
            secrets,
            suspects.clone(),
        )
    };
    let suspects: Vec<_> = ordered.iter().map(|_| Suspects::default()).collect();
    let own = |(key, suspects)| signer(key, key, suspects).expect("its own share");
    let signers = ordered.iter().zip(&suspects).map(own).collect();
    let mixed = signer(&ordered[0], &ordered[1], &suspects[0]);
    assert!(mixed.is_none(), "another's share");
    Venue {
        signers,
        keys: ordered,
        suspects,
        outside: Outside::certificate_verifier(NAMESPACE, *output.public().public()),
    }
}

fn proposal(payload: u8) -> Proposal<BlockDigest> {
    let round = Round::new(Epoch::new(1), View::new(9));
    Proposal::new(round, View::new(8), BlockDigest([payload; 32]))
}

fn rng() -> StdRng {
    StdRng::from_seed([5; 32])
}

#[test]
fn finality_is_a_signature_each_and_one_for_everybody_outside() {
    let Venue {
        signers, outside, ..
    } = venue();
    let (mut rng, proposal) = (rng(), proposal(1));
    let votes = |scheme: &Scheme| Finalize::sign(scheme, proposal.clone()).expect("a signer");
    let votes: Vec<_> = signers.iter().take(3).map(votes).collect();
    let mut final_ =
        Finalization::from_finalizes(&signers[3], non_empty![@votes.iter()], &Sequential)
            .expect("a quorum");
    assert!(final_.verify(&mut rng, &signers[0], &Sequential));
    let decoded = Finalization::<Scheme, BlockDigest>::decode;
    assert_eq!(decoded(final_.encode()).expect("its own bytes"), final_);
    let most = Scheme::max_certificate_size(4);
    assert!(final_.certificate.encode().len() <= most);

    let subject = Subject::Finalize {
        proposal: &proposal,
    };
    let recovered = signers[0].recover(&mut rng, subject, &final_.certificate);
    let recovered = recovered.expect("good shares");
    assert!(outside.verify_certificate(&mut rng, subject, &recovered, &Sequential));
    final_.certificate = Certificate::Recovered(recovered);
    let encoded = final_.certificate.encode();
    assert_eq!(encoded.len(), 48, "as the contract takes it");
    assert!(final_.verify(&mut rng, &signers[0], &Sequential));
    assert_eq!(decoded(final_.encode()).expect("its own bytes"), final_);
    let again = signers[1].recover(&mut rng, subject, &final_.certificate);
    assert_eq!(again.map(Certificate::Recovered), Some(final_.certificate));

    let votes = |scheme: &Scheme| Notarize::sign(scheme, proposal.clone()).expect("a signer");
    let votes: Vec<_> = signers.iter().take(3).map(votes).collect();
    let notarized =
        Notarization::from_notarizes(&signers[3], non_empty![@votes.iter()], &Sequential)
            .expect("a quorum");
    assert!(notarized.verify(&mut rng, &signers[0], &Sequential));
    let nothing = signers[0].recover(&mut rng, subject, &notarized.certificate);
    assert!(nothing.is_none(), "it is no certificate of finality");
    let again = Notarization::<Scheme, BlockDigest>::decode(notarized.encode());
    assert_eq!(again.expect("its own bytes"), notarized);

    let votes = |scheme: &Scheme| Nullify::sign::<BlockDigest>(scheme, proposal.round);
    let votes: Vec<_> = signers.iter().skip(1).filter_map(votes).collect();
    let nullified =
        Nullification::from_nullifies(&signers[0], non_empty![@votes.iter()], &Sequential)
            .expect("a quorum");
    assert!(nullified.verify::<_, BlockDigest>(&mut rng, &signers[0], &Sequential));
    assert!(message_bytes_max(4) as usize >= GOSSIP_BYTES_MAX + 64);
}

#[test]
fn one_kind_never_passes_for_the_other() {
    let Venue { signers, .. } = venue();
    let (mut rng, proposal) = (rng(), proposal(1));
    let scheme = &signers[0];
    let notarize = || Subject::Notarize {
        proposal: &proposal,
    };
    let finalize = || Subject::Finalize {
        proposal: &proposal,
    };
    let of = |subject: Subject<'_, BlockDigest>| -> Vec<Attestation<Scheme>> {
        let votes = signers.iter().take(3).map(|scheme| scheme.sign(subject));
        votes.map(|vote| vote.expect("a signer")).collect()
    };
    let (moving, finals) = (of(notarize()), of(finalize()));
    for (subject, wrong, right) in [
        (notarize(), &finals, &moving),
        (finalize(), &moving, &finals),
    ] {
        let checked =
            scheme.verify_attestations(&mut rng, subject, wrong.iter().cloned(), &Sequential);
        assert_eq!((checked.verified.len(), checked.invalid.len()), (0, 3));
        assert!(!scheme.verify_attestation(&mut rng, subject, &wrong[0], &Sequential));
        assert!(scheme.verify_attestation(&mut rng, subject, &right[0], &Sequential));
        let none = std::iter::empty::<&Attestation<Scheme>>();
        let assembled =
            scheme.optimistic_assemble(&mut rng, subject, wrong.clone(), none, &Sequential);
        assert!(assembled.is_err());
        let certificate = scheme
            .assemble(non_empty![@wrong.iter().cloned()], &Sequential)
            .expect("a quorum of the other kind");
        assert!(!scheme.verify_certificate(&mut rng, subject, &certificate, &Sequential));
    }
    let mixed = [moving[0].clone(), finals[1].clone(), finals[2].clone()];
    assert!(
        scheme
            .assemble(non_empty![@mixed.into_iter()], &Sequential)
            .is_err()
    );
}

#[test]
fn a_bad_vote_is_found_among_good_ones() {
    let Venue { signers, .. } = venue();
    let (mut rng, proposal, other) = (rng(), proposal(1), proposal(2));
    for (subject, lie) in [
        (
            Subject::Notarize {
                proposal: &proposal,
            },
            Subject::Notarize { proposal: &other },
        ),
        (
            Subject::Finalize {
                proposal: &proposal,
            },
            Subject::Finalize { proposal: &other },
        ),
    ] {
        let sign =
            |scheme: &Scheme, subject| scheme.sign::<BlockDigest>(subject).expect("a signer");
        let votes = [
            sign(&signers[0], subject),
            sign(&signers[1], lie),
            sign(&signers[2], subject),
        ];
        let none = std::iter::empty::<&Attestation<Scheme>>();
        let found = signers[3]
            .optimistic_assemble(&mut rng, subject, votes.clone(), none, &Sequential)
            .expect_err("one of them voted for something else");
        assert_eq!(found.invalid, vec![votes[1].signer]);
        assert_eq!(found.verified.len(), 2);
        let fourth = [sign(&signers[3], subject)];
        let certificate = signers[3]
            .optimistic_assemble(
                &mut rng,
                subject,
                fourth,
                found.verified.iter(),
                &Sequential,
            )
            .ok()
            .expect("a quorum without it");
        assert!(signers[0].verify_certificate(&mut rng, subject, &certificate, &Sequential));
        assert!(!signers[0].verify_certificate(&mut rng, lie, &certificate, &Sequential));
    }
}

/// A vote to finalize that its sender signed with a share of his own making.
fn with_share(
    venue: &Venue,
    place: usize,
    proposal: &Proposal<BlockDigest>,
    share: UncheckedShare,
) -> Attestation<Scheme> {
    let key = &venue.keys[place];
    let message = [&proposal.encode()[..], &share].concat();
    let signature = key.sign(&Namespace::new(NAMESPACE).finalize, &message);
    Attestation {
        signer: Participant::new(place as u32),
        signature: Lazy::from(Signature::Final(signature, share)),
    }
}

fn share_in(vote: &Attestation<Scheme>) -> UncheckedShare {
    match vote.signature.get() {
        Some(Signature::Final(_, share)) => *share,
        _ => panic!("a vote to finalize has a share"),
    }
}

#[test]
fn who_sends_bad_shares_is_a_suspect_and_holds_nobody_up() {
    let venue = venue();
    let signers = &venue.signers;
    let (mut rng, proposal, other) = (rng(), proposal(1), proposal(2));
    let subject = Subject::Finalize {
        proposal: &proposal,
    };
    let sign = |place: usize| signers[place].sign::<BlockDigest>(subject);
    let good: Vec<_> = (0..4).filter_map(sign).collect();
    let other = signers[1].sign(Subject::Finalize { proposal: &other });
    let others = share_in(&other.expect("a signer"));
    for bad in [others, share_in(&good[0]), [0xff; 48], [0; 48]] {
        let judge = &signers[3];
        let bad = with_share(&venue, 1, &proposal, bad);
        let votes = [good[0].clone(), bad.clone(), good[2].clone()];
        let none = std::iter::empty::<&Attestation<Scheme>>();
        let suspected = venue.suspects[3].contains(bad.signer);
        let found = judge.optimistic_assemble(&mut rng, subject, votes, none, &Sequential);
        if suspected {
            let found = found.expect_err("a suspect's share is looked at");
            assert_eq!(found.invalid, vec![bad.signer]);
        } else {
            let certificate = found.ok().expect("all of them signed");
            assert!(signers[0].verify_certificate(&mut rng, subject, &certificate, &Sequential));
            assert!(judge.recover(&mut rng, subject, &certificate).is_none());
        }
        assert!(venue.suspects[3].contains(bad.signer));
        assert!(!judge.verify_attestation(&mut rng, subject, &bad, &Sequential));
        assert!(
            !venue.suspects[0].contains(bad.signer),
            "each finds out by himself"
        );
        assert!(signers[0].verify_attestation(&mut rng, subject, &bad, &Sequential));
    }
    let judge = &signers[3];
    let votes = [1, 2, 3].map(|place| good[place].clone());
    let none = std::iter::empty::<&Attestation<Scheme>>();
    let certificate = judge.optimistic_assemble(&mut rng, subject, votes, none, &Sequential);
    let certificate = certificate.ok().expect("a suspect's good share counts");
    assert!(judge.recover(&mut rng, subject, &certificate).is_some());
}

#[test]
fn a_certificate_that_somebody_changed_on_its_way_does_not_hold() {
    let Venue { signers, .. } = venue();
    let (mut rng, proposal) = (rng(), proposal(1));
    let votes = |scheme: &Scheme| Finalize::sign(scheme, proposal.clone()).expect("a signer");
    let votes: Vec<_> = signers.iter().take(3).map(votes).collect();
    let final_ = Finalization::from_finalizes(&signers[3], non_empty![@votes.iter()], &Sequential)
        .expect("a quorum");
    let encoded = final_.encode().to_vec();
    for place in 0..encoded.len() {
        let mut changed = encoded.clone();
        changed[place] ^= 1;
        let changed = Finalization::<Scheme, BlockDigest>::decode(Bytes::from(changed));
        let holds = |changed: Finalization<Scheme, BlockDigest>| {
            changed.verify(&mut rng, &signers[0], &Sequential)
        };
        assert!(!changed.is_ok_and(holds), "byte {place}");
    }
}

#[test]
fn what_is_decoded_is_what_was_encoded() {
    let Venue { signers, .. } = venue();
    let proposal = proposal(1);
    for subject in [
        Subject::Notarize {
            proposal: &proposal,
        },
        Subject::Nullify {
            round: proposal.round,
        },
        Subject::Finalize {
            proposal: &proposal,
        },
    ] {
        let vote = signers[0].sign::<BlockDigest>(subject).expect("a signer");
        let signature = vote.signature.get().expect("it was made here");
        let encoded = signature.encode();
        assert_eq!(encoded.len(), 113);
        assert_eq!(
            Signature::decode(encoded.clone()).as_ref().ok(),
            Some(signature)
        );
        let mut padded = encoded.to_vec();
        padded[112] ^= 1;
        let is_moving = matches!(signature, Signature::Moving(_));
        assert_eq!(
            Signature::decode(Bytes::from(padded)).is_err(),
            is_moving,
            "one encoding each"
        );
        assert!(Signature::decode(encoded.slice(..112)).is_err());
    }
    for bytes in [vec![], vec![0x40; 113], vec![0x7f; 48], vec![0; 48]] {
        assert!(Certificate::decode(Bytes::from(bytes)).is_err());
    }
}

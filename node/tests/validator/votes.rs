//! How validators sign: which kind of signature a vote needs, and what passes for none.

use bytes::Bytes;
use commonware_codec::{DecodeExt as _, Encode as _};
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
use commonware_utils::{N3f1, non_empty};
use lifeboat_node::consensus::{GOSSIP_BYTES_MAX, message_bytes_max};
use lifeboat_node::votes::{Certificate, Scheme, Signature};
use rand::SeedableRng as _;
use rand::rngs::StdRng;

const NAMESPACE: &[u8] = b"votes";

/// Four validators' schemes, and the verifier of finality alone.
fn committee() -> (Vec<Scheme>, Scheme) {
    let keys: Vec<PrivateKey> = (0..4).map(PrivateKey::from_seed).collect();
    let committee = Set::from_iter_dedup(keys.iter().map(|key| key.public_key()));
    let mut rng = StdRng::from_seed([3; 32]);
    let dealt = deal::<MinSig, _, N3f1>(&mut rng, Mode::NonZeroCounter, committee.clone());
    let (output, shares) = dealt.expect("four can agree");
    let key_of = |peer: &PublicKey| keys.iter().find(|key| key.public_key() == *peer);
    let signer = |peer: &PublicKey| {
        let key = key_of(peer).expect("one of them").clone();
        let share = shares.get_value(peer).expect("it was dealt one").clone();
        let polynomial = output.public().clone();
        Scheme::signer(NAMESPACE, committee.clone(), polynomial, (key, share))
    };
    let signers = committee.iter().map(|peer| signer(peer).expect("its own"));
    let signers = signers.collect();
    let other = (
        PrivateKey::from_seed(0),
        shares.get_value(&keys[1].public_key()),
    );
    let other = (other.0, other.1.expect("it was dealt one").clone());
    let mixed = Scheme::signer(NAMESPACE, committee, output.public().clone(), other);
    assert!(mixed.is_none(), "another's share");
    let verifier = Scheme::certificate_verifier(NAMESPACE, *output.public().public());
    (signers, verifier)
}

fn proposal(payload: u8) -> Proposal<BlockDigest> {
    let round = Round::new(Epoch::new(1), View::new(9));
    Proposal::new(round, View::new(8), BlockDigest([payload; 32]))
}

fn rng() -> StdRng {
    StdRng::from_seed([5; 32])
}

#[test]
fn finality_is_one_signature_and_the_rest_is_a_signature_each() {
    let (signers, finality) = committee();
    let (mut rng, proposal) = (rng(), proposal(1));
    let votes = |scheme: &Scheme| Finalize::sign(scheme, proposal.clone()).expect("a signer");
    let votes: Vec<_> = signers.iter().take(3).map(votes).collect();
    let final_ = Finalization::from_finalizes(&signers[3], non_empty![@votes.iter()], &Sequential)
        .expect("a quorum");
    assert_eq!(
        final_.certificate.encode().len(),
        48,
        "as the contract takes it"
    );
    assert!(final_.verify(&mut rng, &signers[0], &Sequential));
    assert!(final_.verify(&mut rng, &finality, &Sequential));
    let again =
        Finalization::<Scheme, BlockDigest>::decode(final_.encode()).expect("its own bytes");
    assert_eq!(again, final_);

    let votes = |scheme: &Scheme| Notarize::sign(scheme, proposal.clone()).expect("a signer");
    let votes: Vec<_> = signers.iter().take(3).map(votes).collect();
    let notarized =
        Notarization::from_notarizes(&signers[3], non_empty![@votes.iter()], &Sequential)
            .expect("a quorum");
    assert!(notarized.verify(&mut rng, &signers[0], &Sequential));
    assert!(
        !notarized.verify(&mut rng, &finality, &Sequential),
        "it knows no committee"
    );
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
    let (signers, _) = committee();
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
    let (collected, recovered) = (of(notarize()), of(finalize()));
    for (subject, wrong, right) in [
        (notarize(), &recovered, &collected),
        (finalize(), &collected, &recovered),
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
    let mixed = [
        collected[0].clone(),
        recovered[1].clone(),
        recovered[2].clone(),
    ];
    assert!(
        scheme
            .assemble(non_empty![@mixed.into_iter()], &Sequential)
            .is_err()
    );
}

#[test]
fn a_bad_vote_is_found_among_good_ones() {
    let (signers, _) = committee();
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

#[test]
fn what_is_decoded_is_what_was_encoded() {
    let (signers, _) = committee();
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
        assert_eq!(encoded.len(), 65);
        assert_eq!(
            Signature::decode(encoded.clone()).as_ref().ok(),
            Some(signature)
        );
        let mut padded = encoded.to_vec();
        padded[64] ^= 1;
        let is_share = matches!(signature, Signature::Share(_));
        assert_eq!(
            Signature::decode(Bytes::from(padded)).is_err(),
            is_share,
            "one encoding each"
        );
        assert!(Signature::decode(encoded.slice(..64)).is_err());
    }
    for bytes in [vec![], vec![2; 65], vec![0x7f; 48], vec![0; 48]] {
        assert!(Certificate::decode(Bytes::from(bytes)).is_err());
    }
}

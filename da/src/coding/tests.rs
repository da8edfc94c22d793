use bytes::Bytes;
use lifeboat_engine::types::{ChainId, Digest};
use proptest::prelude::*;

use super::{CodingError, Cutting, SHARES_MAX, Share, cut, prove, rebuild};
use crate::batch::{Batch, BatchError, Entry};
use crate::tip::Tip;

fn batch(bytes: usize) -> Batch {
    let block = (0..bytes as u32).map(|at| (at.wrapping_mul(0x9e37_79b9) >> 24) as u8);
    let entry = Entry {
        block: block.collect::<Vec<_>>().into(),
        certificate: Bytes::new(),
    };
    Batch::seal(&Tip::genesis(ChainId([1; 32])), None, vec![entry]).unwrap()
}

#[test]
fn cuttings_are_bounded() {
    for (needed, total) in [(0, 4), (4, 4), (5, 4), (1, SHARES_MAX + 1)] {
        let refused = CodingError::Cutting { needed, total };
        assert_eq!(Cutting::new(needed, total), Err(refused));
    }
    for (validators, needed) in [(4, 2), (5, 2), (6, 2), (7, 3), (100, 34)] {
        let cutting = Cutting::of_validators(validators).unwrap();
        assert_eq!((cutting.needed(), cutting.total()), (needed, validators));
    }
    assert!(Cutting::of_validators(1).is_err());
}

/// Every pair of four validators' shares rebuilds the batch; one alone does not.
#[test]
fn any_f_plus_1_of_four_suffice() {
    let batch = batch(1000);
    let (root, shares) = cut(&batch, Cutting::of_validators(4).unwrap());
    for (at, share) in shares.iter().enumerate() {
        assert_eq!(share.verify(&root), Ok(()));
        assert!(share.bytes.len() <= batch.encoded().len() / 2 + 2);
        let (have, needed) = (1, 2);
        let alone = rebuild(&root, &[share.clone(), share.clone()]);
        assert_eq!(alone, Err(CodingError::TooFew { have, needed }));
        for other in &shares[..at] {
            let two = [share.clone(), other.clone()];
            assert_eq!(rebuild(&root, &two).as_ref(), Ok(&batch));
        }
    }
}

#[test]
fn false_shares_are_found_and_passed_over() {
    let batch = batch(500);
    let (root, shares) = cut(&batch, Cutting::new(2, 5).unwrap());
    let changed = |change: fn(&mut Share)| {
        let mut share = shares[1].clone();
        change(&mut share);
        share
    };
    let false_ones = [
        changed(|share| share.bytes = share.bytes.iter().map(|byte| byte ^ 1).collect()),
        changed(|share| share.bytes = share.bytes.slice(2..)),
        changed(|share| share.index = 2),
        changed(|share| share.index = 5),
        changed(|share| share.batch = Digest([1; 32])),
        changed(|share| share.batch_bytes -= 1),
        changed(|share| share.batch_bytes = u32::MAX),
        changed(|share| share.cutting = Cutting::new(3, 5).unwrap()),
        changed(|share| share.cutting = Cutting::new(2, 6).unwrap()),
        changed(|share| {
            share.proof.pop();
        }),
        changed(|share| share.proof.push(Digest::default())),
        changed(|share| share.proof.swap(0, 1)),
    ];
    for share in &false_ones {
        let refused = Err(CodingError::Proof(share.index));
        assert_eq!(share.verify(&root), refused, "{share:?}");
    }
    assert_eq!(
        shares[1].verify(&Digest([2; 32])),
        Err(CodingError::Proof(1))
    );
    let mut mixed = false_ones.to_vec();
    let none = rebuild(&root, &mixed).unwrap_err();
    assert_eq!(none, CodingError::TooFew { have: 0, needed: 2 });
    mixed.extend([shares[4].clone(), shares[3].clone()]);
    assert_eq!(rebuild(&root, &mixed), Ok(batch));
}

/// Shares that prove each other but are not of one code word, or not of the batch they name.
#[test]
fn a_cheating_cutter_is_found_by_whoever_rebuilds() {
    let honest = batch(500);
    let cutting = Cutting::new(2, 4).unwrap();
    let (_, mut shares) = cut(&honest, cutting);
    for share in &mut shares {
        share.proof.clear();
        share.bytes = vec![share.index as u8; share.bytes.len()].into();
    }
    let root = prove(&mut shares);
    let found = rebuild(&root, &shares[2..]).unwrap_err();
    assert!(
        matches!(found, CodingError::NotABatch(BatchError::NotABatch)),
        "{found}"
    );

    let (_, mut shares) = cut(&honest, cutting);
    for share in &mut shares {
        share.proof.clear();
        share.batch = Digest([9; 32]);
    }
    let root = prove(&mut shares);
    let (named, found) = (Digest([9; 32]), honest.digest());
    let other = CodingError::OtherBatch { named, found };
    assert_eq!(rebuild(&root, &shares), Err(other));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_choice_of_enough_shares_rebuilds(
        bytes in 0_usize..5000, needed in 1_usize..9, spare in 1_usize..12, seed in any::<u64>(),
    ) {
        let batch = batch(bytes);
        let (root, mut shares) = cut(&batch, Cutting::new(needed, needed + spare).unwrap());
        for share in &shares {
            prop_assert_eq!(share.verify(&root), Ok(()));
        }
        // A choice by the seed.
        shares.sort_by_key(|share| seed.rotate_left(u32::from(share.index)).wrapping_mul(0x9e37_79b9));
        prop_assert_eq!(rebuild(&root, &shares[..needed]), Ok(batch));
        let few = rebuild(&root, &shares[..needed - 1]);
        let too_few = matches!(few, Err(CodingError::TooFew { .. }));
        prop_assert!(too_few);
    }
}

//! Proofs hold for what is there and for nothing else, whatever is changed.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use lifeboat_engine::commitment::{
    MerkleProof, MerkleTree, Sections, leaf_digest, leaf_digest_with, section_digest, state_root,
};
use lifeboat_engine::types::{AccountId, Digest, InstrumentId, OrderId};
use lifeboat_proof::{ProofError, STATE_PROOF_BYTES_MAX, StateProof, verify_leaf, verify_vacant};
use proptest::prelude::*;

/// A leaf that no other index has.
fn leaf(index: u32) -> Vec<u8> {
    let mut bytes = index.to_le_bytes().to_vec();
    bytes.extend_from_slice(&[0xa5; 40]);
    bytes
}

/// A leaf that is hashed in one piece.
const NO_PARTS: &[&[u8]] = &[];

fn tree(count: u32) -> (MerkleTree, Digest) {
    let mut tree = MerkleTree::default();
    tree.set_leaves(0..count, |index, out| out.extend_from_slice(&leaf(index)));
    let root = tree.root();
    (tree, root)
}

/// A state of `count` accounts, one order in slot 2 of four, and one instrument.
struct State {
    accounts: MerkleTree,
    orders: MerkleTree,
    instruments: MerkleTree,
    sections: Sections,
    root: Digest,
}

fn state(count: u32) -> State {
    let (accounts, accounts_root) = tree(count);
    let (mut orders, _) = tree(4);
    [0, 1, 3].into_iter().for_each(|slot| orders.clear(slot));
    let (instruments, instruments_root) = tree(1);
    let sections = Sections {
        meta: section_digest(b"height 7"),
        parameters: section_digest(b"tick 1"),
        instruments: instruments_root,
        accounts: accounts_root,
        orders: orders.root(),
    };
    State {
        accounts,
        orders,
        instruments,
        root: state_root(&sections),
        sections,
    }
}

impl State {
    fn prove(&self, tree: &MerkleTree, index: u32) -> StateProof {
        StateProof {
            sections: self.sections,
            path: tree.prove(index).unwrap(),
        }
    }
}

#[test]
fn accounts_orders_and_instruments_are_proved() {
    let state = state(9);
    for account in 0..9 {
        let proof = state.prove(&state.accounts, account);
        let id = AccountId::new(account);
        assert_eq!(
            proof.verify_account(&state.root, id, &leaf(account), NO_PARTS),
            Ok(())
        );
        let other = leaf(account + 1);
        let refused = proof.verify_account(&state.root, id, &other, NO_PARTS);
        assert_eq!(refused, Err(ProofError::NotIncluded));
    }
    let order = OrderId::from_parts(5, 2);
    let proof = state.prove(&state.orders, 2);
    assert_eq!(proof.verify_order(&state.root, order, &leaf(2)), Ok(()));
    let vacant = state.orders.prove(3).unwrap();
    assert_eq!(verify_vacant(&state.sections.orders, 3, &vacant), Ok(()));
    let proof = state.prove(&state.instruments, 0);
    assert_eq!(
        proof.verify_instrument(&state.root, InstrumentId::new(0), &leaf(0)),
        Ok(())
    );
}

/// A leaf in parts is proved by its head and all its parts, in order, and by nothing else.
#[test]
fn an_account_in_parts_is_proved_whole() {
    let (head, parts) = (b"two parts".as_slice(), [b"first".as_slice(), b"second"]);
    let mut state = state(9);
    state.accounts.set(4, leaf_digest_with(head, &parts));
    state.sections.accounts = state.accounts.root();
    state.root = state_root(&state.sections);
    let proof = state.prove(&state.accounts, 4);
    let verify = |head: &[u8], parts: &[&[u8]]| {
        proof.verify_account(&state.root, AccountId::new(4), head, parts)
    };
    assert_eq!(verify(head, &parts), Ok(()));
    let refused = Err(ProofError::NotIncluded);
    assert_eq!(verify(head, &[parts[1], parts[0]]), refused);
    assert_eq!(verify(head, &parts[..1]), refused);
    assert_eq!(verify(head, &[b"firstsecond"]), refused);
    assert_eq!(verify(b"two part", &parts), refused);
    // The digest of a part is not that of a leaf with the same bytes.
    let as_leaves = [head, &leaf_digest(parts[0]).0, &leaf_digest(parts[1]).0].concat();
    assert_eq!(verify(&as_leaves, &[]), refused);
}

/// A leaf of one section is none of another, and a root of one state none of another.
#[test]
fn sections_and_states_are_kept_apart() {
    let state = state(4);
    let proof = state.prove(&state.accounts, 2);
    let as_order = proof.verify_order(&state.root, OrderId::new(0), &leaf(0));
    assert_eq!(as_order, Err(ProofError::NotIncluded));
    let elsewhere = proof.verify_account(&Digest([1; 32]), AccountId::new(2), &leaf(2), NO_PARTS);
    assert_eq!(elsewhere, Err(ProofError::OtherState));
}

#[test]
fn shapes_are_refused_by_code() {
    let (tree, root) = tree(20);
    let proof = tree.prove(3).unwrap();
    let with = |count: u64, levels: usize| MerkleProof {
        count,
        siblings: vec![[Digest::default(); 3]; levels],
    };
    let refused = |index: u32, proof: &MerkleProof| verify_leaf(&root, index, &leaf(3), proof);
    assert_eq!(refused(20, &proof), Err(ProofError::IndexPastEnd));
    assert_eq!(refused(0, &with(0, 0)), Err(ProofError::IndexPastEnd));
    assert_eq!(refused(3, &with(20, 17)), Err(ProofError::TooDeep));
    assert_eq!(refused(3, &with(20, 2)), Err(ProofError::WrongDepth));
    assert_eq!(refused(3, &with(20, 4)), Err(ProofError::WrongDepth));
    assert_eq!(refused(3, &with(u64::MAX, 16)), Err(ProofError::WrongDepth));
    assert_eq!(refused(3, &with(20, 3)), Err(ProofError::NotIncluded));
    assert_eq!(
        verify_vacant(&root, 3, &proof),
        Err(ProofError::NotIncluded)
    );
    assert_eq!(ProofError::OtherState.code(), 6);
}

/// Neither the four digests under an inner node, as bytes, nor the node's digest one level up can
/// be sold as a leaf; nor a subtree's count as the tree's.
#[test]
fn an_inner_node_is_no_leaf() {
    let (tree, root) = tree(16);
    let proof = tree.prove(0).unwrap();
    let children: Vec<u8> = (0..4)
        .flat_map(|index| leaf_digest(&leaf(index)).0)
        .collect();
    let shorter = MerkleProof {
        count: 4,
        siblings: proof.siblings[1..].to_vec(),
    };
    assert_eq!(
        verify_leaf(&root, 0, &children, &shorter),
        Err(ProofError::NotIncluded)
    );
    assert_eq!(
        verify_leaf(
            &root,
            0,
            &leaf(0),
            &MerkleProof {
                count: 4,
                siblings: proof.siblings[..1].into()
            }
        ),
        Err(ProofError::NotIncluded)
    );
    let claimed = MerkleProof {
        count: 16,
        siblings: proof.siblings[1..].to_vec(),
    };
    assert_eq!(
        verify_leaf(&root, 0, &children, &claimed),
        Err(ProofError::WrongDepth)
    );
}

proptest! {
    #[test]
    fn every_leaf_is_provable_and_only_where_it_is(
        count in 1_u32..200, pick in any::<u32>(), other in any::<u32>(), at in any::<usize>(),
    ) {
        let (tree, root) = tree(count);
        let index = pick % count;
        let proof = tree.prove(index).unwrap();
        prop_assert_eq!(verify_leaf(&root, index, &leaf(index), &proof), Ok(()));
        if other != index {
            prop_assert!(verify_leaf(&root, other, &leaf(index), &proof).is_err());
        }
        let mut changed = leaf(index);
        let at = at % changed.len();
        changed[at] ^= 1;
        prop_assert!(verify_leaf(&root, index, &changed, &proof).is_err());
        let mut recounted = proof;
        recounted.count += 1;
        prop_assert!(verify_leaf(&root, index, &leaf(index), &recounted).is_err());
    }

    /// Any one bit of an encoded proof carries weight.
    #[test]
    fn a_flipped_bit_is_seen(count in 1_u32..70, pick in any::<u32>(), bit in any::<usize>()) {
        let state = state(count);
        let index = pick % count;
        let mut bytes = borsh::to_vec(&state.prove(&state.accounts, index)).unwrap();
        let bit = bit % (bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        let verdict = StateProof::decode(&bytes).and_then(|proof| {
            proof.verify_account(&state.root, AccountId::new(index), &leaf(index), NO_PARTS)
        });
        prop_assert!(verdict.is_err(), "bit {bit}");
    }

    #[test]
    fn any_bytes_get_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
        if let Ok(proof) = StateProof::decode(&bytes) {
            prop_assert_eq!(borsh::to_vec(&proof).unwrap(), bytes);
            let verdict = proof.verify_account(&Digest([1; 32]), AccountId::new(0), b"", NO_PARTS);
            prop_assert!(verdict.is_err());
        }
    }
}

/// Every way of cutting an encoding short or going on after it is refused, as is a length that
/// promises more than any tree has.
#[test]
fn truncated_and_overlong_encodings_are_malformed() {
    let state = state(70);
    let bytes = borsh::to_vec(&state.prove(&state.accounts, 69)).unwrap();
    for length in 0..bytes.len() {
        assert_eq!(
            StateProof::decode(&bytes[..length]),
            Err(ProofError::Malformed),
            "{length}"
        );
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert_eq!(StateProof::decode(&longer), Err(ProofError::Malformed));
    let mut bomb = bytes;
    bomb[168..172].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(StateProof::decode(&bomb), Err(ProofError::Malformed));
    assert_eq!(
        StateProof::decode(&vec![0; STATE_PROOF_BYTES_MAX + 1]),
        Err(ProofError::Malformed)
    );
}

#[test]
fn the_longest_proof_is_as_long_as_it_says() {
    let proof = StateProof {
        sections: Sections::default(),
        path: MerkleProof {
            count: 1 << 32,
            siblings: vec![[Digest::default(); 3]; 16],
        },
    };
    let bytes = borsh::to_vec(&proof).unwrap();
    assert_eq!(bytes.len(), STATE_PROOF_BYTES_MAX);
    assert_eq!(StateProof::decode(&bytes), Ok(proof));
}

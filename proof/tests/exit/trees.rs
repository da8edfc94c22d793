//! Leaves, withdrawals and summaries: round trips, refusals, and trees built in parts.

use lifeboat_engine::commitment::leaf_digest;
use lifeboat_engine::types::{AccountId, Address, Cash, Digest, UnderlyingId};
use lifeboat_proof::ProofError;
use lifeboat_proof::exit::*;

pub fn leaf(index: u32, underlyings: u8) -> ExitLeaf {
    let seed = i64::from(index);
    let ladders = (0..underlyings).map(|id| UnderlyingLadder {
        underlying: UnderlyingId::new(id),
        ladder: Ladder(core::array::from_fn(|level| {
            (seed - 3) * (level as i64 - 8) * 1_000_000 * (1 + i64::from(id))
        })),
    });
    ExitLeaf {
        settlement: SettlementChain::new(31_337),
        account: AccountId::new(index),
        owner: Address([index as u8 | 1; 20]),
        cash: Cash::new(1_000_000_000 * (seed + 1)),
        critical: Cash::new(100_000_000),
        ladders: ladders.collect(),
    }
}

pub fn withdrawal(number: u32) -> WithdrawalLeaf {
    WithdrawalLeaf {
        settlement: SettlementChain::new(31_337),
        number,
        owner: Address([number as u8 + 1; 20]),
        recipient: Address([number as u8 + 2; 20]),
        amount: Cash::new(5_000_000 + i64::from(number)),
    }
}

#[test]
fn leaves_read_back_and_nothing_else_does() {
    for underlyings in [0, 1, 2, 16] {
        let leaf = leaf(9, underlyings);
        let bytes = leaf.view().encode();
        assert_eq!(ExitLeaf::decode(&bytes), Ok(leaf));
        for length in 0..bytes.len() {
            assert_eq!(
                ExitLeaf::decode(&bytes[..length]),
                Err(ProofError::Malformed)
            );
        }
        let longer = [bytes.as_slice(), &[0]].concat();
        assert_eq!(ExitLeaf::decode(&longer), Err(ProofError::Malformed));
    }
    assert_eq!(leaf(0, 16).view().encode().len(), EXIT_LEAF_BYTES_MAX);
}

#[test]
fn ladders_must_ascend() {
    let mut twice = leaf(9, 2);
    twice.ladders[1].underlying = UnderlyingId::new(0);
    assert_eq!(
        ExitLeaf::decode(&twice.view().encode()),
        Err(ProofError::Malformed)
    );
    let mut bytes = leaf(9, 0).view().encode();
    *bytes.last_mut().unwrap() = 17;
    assert_eq!(ExitLeaf::decode(&bytes), Err(ProofError::Malformed));
}

#[test]
fn an_exit_leaf_is_no_withdrawal() {
    let bytes = withdrawal(1).encode();
    assert_eq!(bytes.len(), WITHDRAWAL_BYTES);
    assert_eq!(WithdrawalLeaf::decode(&bytes), Ok(withdrawal(1)));
    assert_eq!(ExitLeaf::decode(&bytes), Err(ProofError::Malformed));
    let exit = leaf(1, 0).view().encode();
    assert_eq!(WithdrawalLeaf::decode(&exit), Err(ProofError::Malformed));
    for amount in [0, -1] {
        let refused = WithdrawalLeaf {
            amount: Cash::new(amount),
            ..withdrawal(1)
        };
        assert_eq!(
            WithdrawalLeaf::decode(&refused.encode()),
            Err(ProofError::Malformed)
        );
    }
}

#[test]
fn a_tree_built_in_parts_is_the_tree() {
    let leaves: Vec<ExitLeaf> = (0..2_500)
        .map(|index| leaf(index, (index % 3) as u8))
        .collect();
    let views: Vec<_> = leaves.iter().map(ExitLeaf::view).collect();
    let mut whole = ExitTree::default();
    whole.set_accounts(&views);
    let mut parts = ExitTree::default();
    let mut first = 0;
    for part in views.chunks(1_100) {
        let mut digests = Vec::new();
        let encode = |slot: u32, out: &mut Vec<u8>| part[slot as usize].encode_into(out);
        LeafHasher::default().hash(part.len() as u32, encode, &mut digests);
        assert_eq!(digests[0], leaf_digest(&part[0].encode()));
        parts.set_digests(first, &digests);
        first += part.len() as u32;
    }
    assert_eq!(whole.root(), parts.root());

    // One account changes: only its path is hashed, and the root is that of the new leaves.
    let mut changed = leaves.clone();
    changed[1_234].cash = Cash::ZERO;
    parts.set_accounts(&[changed[1_234].view()]);
    let mut fresh = ExitTree::default();
    fresh.set_accounts(&changed.iter().map(ExitLeaf::view).collect::<Vec<_>>());
    assert_eq!(parts.root(), fresh.root());

    let root = parts.root();
    let proof = parts.prove(1_234).unwrap();
    let bytes = changed[1_234].view().encode();
    assert_eq!(
        verify_exit_leaf(&root, &bytes, &proof).as_ref(),
        Ok(&changed[1_234])
    );
    let old = leaves[1_234].view().encode();
    assert_eq!(
        verify_exit_leaf(&root, &old, &proof),
        Err(ProofError::NotIncluded)
    );
}

#[test]
fn withdrawals_are_proved_by_number() {
    let mut tree = ExitTree::default();
    (0..9).for_each(|number| tree.set_withdrawal(&withdrawal(number)));
    let root = tree.root();
    let proof = tree.prove(5).unwrap();
    let bytes = withdrawal(5).encode();
    assert_eq!(verify_withdrawal(&root, &bytes, &proof), Ok(withdrawal(5)));
    let other = withdrawal(6).encode();
    assert_eq!(
        verify_withdrawal(&root, &other, &proof),
        Err(ProofError::NotIncluded)
    );
}

pub fn summary() -> ExitSummary {
    let underlying = |step, low, high| CertifiedUnderlying {
        grid: Grid::from_step(step).unwrap(),
        safe_low: lifeboat_engine::types::Price::new(low),
        safe_high: lifeboat_engine::types::Price::new(high),
    };
    ExitSummary {
        settlement: SettlementChain::new(31_337),
        vault: Address([0xaa; 20]),
        accounts_root: Digest([1; 32]),
        accounts_cash: Cash::new(900),
        withdrawals_root: Digest([2; 32]),
        withdrawals_count: 3,
        withdrawals_total: Cash::new(100),
        deposit_cursor: 4,
        deposits_hash: Digest([3; 32]),
        deposits_total: Cash::new(1_000),
        forced_cursor: 5,
        crystallised_cursor: 6,
        fund_reserve: Cash::new(7),
        da_commitment: Digest([4; 32]),
        underlyings: vec![
            underlying(12_500_000_000, 80_000_000_000, 120_000_000_000),
            underlying(375_000_000, 2_400_000_000, 3_600_000_000),
        ],
    }
}

#[test]
fn summaries_read_back_and_hang_under_the_exit_root() {
    let summary = summary();
    assert!(summary.balances());
    let bytes = summary.encode();
    assert_eq!(ExitSummary::decode(&bytes).as_ref(), Ok(&summary));
    for length in 0..bytes.len() {
        assert_eq!(
            ExitSummary::decode(&bytes[..length]),
            Err(ProofError::Malformed)
        );
    }
    let digests = [Digest([9; 32]), summary.digest()];
    let root = exit_root(&digests);
    assert_eq!(verify_summary(&root, &digests, 1, &summary), Ok(()));
    assert_eq!(
        verify_summary(&root, &digests, 0, &summary),
        Err(ProofError::OtherSummary)
    );
    assert_eq!(
        verify_summary(&root, &digests[1..], 0, &summary),
        Err(ProofError::OtherSummary)
    );
}

#[test]
fn a_price_is_safe_with_both_ends_and_all_underlyings() {
    let summary = summary();
    let safe = |btc, eth| summary.is_safe(&[btc, eth].map(lifeboat_engine::types::Price::new));
    assert!(safe(80_000_000_000, 3_600_000_000));
    assert!(!safe(79_999_999_999, 3_600_000_000));
    assert!(!safe(80_000_000_000, 3_600_000_001));
    assert!(!summary.is_safe(&[]));
    assert_eq!(summary.points(&[]), Err(ProofError::UnknownUnderlying));
}

#[test]
fn deposits_are_bound_in_their_order() {
    let deposit = |seed: u8, amount| Deposit {
        owner: Address([seed; 20]),
        amount: Cash::new(amount),
    };
    let start = DepositChain::default();
    let first = start
        .push(&deposit(1, 10))
        .and_then(|chain| chain.push(&deposit(2, 20)))
        .unwrap();
    let swapped = start
        .push(&deposit(2, 20))
        .and_then(|chain| chain.push(&deposit(1, 10)))
        .unwrap();
    assert_eq!((first.cursor, first.total), (2, 30));
    assert_ne!(first.hash, swapped.hash);
    for refused in [0, -1] {
        assert_eq!(start.push(&deposit(1, refused)), None);
    }
    let full = start.push(&deposit(1, i64::MAX)).unwrap();
    assert_eq!(full.push(&deposit(1, 1)), None);
}

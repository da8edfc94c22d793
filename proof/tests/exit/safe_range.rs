//! The safe range against a slow search over prices.

use lifeboat_engine::types::{AccountId, Address, Cash, Price, UnderlyingId};
use lifeboat_proof::exit::{
    Grid, Ladder, LeafView, SafeBox, SafeRange, SettlementChain, UnderlyingLadder,
};
use proptest::prelude::*;

fn view(cash: i64, ladders: &[UnderlyingLadder]) -> LeafView<'_> {
    LeafView {
        settlement: SettlementChain::new(1),
        account: AccountId::new(1),
        owner: Address::default(),
        cash: Cash::new(cash),
        critical: Cash::ZERO,
        ladders,
    }
}

fn entry(underlying: u8, levels: [i64; 17]) -> UnderlyingLadder {
    UnderlyingLadder {
        underlying: UnderlyingId::new(underlying),
        ladder: Ladder(levels),
    }
}

/// A short call struck at the mark: minus a hundred a level above it.
fn short_call() -> [i64; 17] {
    core::array::from_fn(|level| -100 * (level as i64 - 8).max(0))
}

#[test]
fn nobody_under_zero_is_the_whole_ladder() {
    let range = SafeRange::default();
    let found = range.largest(&view(0, &[]));
    assert_eq!(found.radius, Some(32));
    assert_eq!(
        found.range(Grid::from_step(1_000).unwrap()),
        (Price::ZERO, Price::new(16_000))
    );
}

#[test]
fn one_short_call_bounds_it() {
    let ladders = [entry(0, short_call())];
    let mut range = SafeRange::default();
    range.add(&view(150, &ladders));
    // Worth 150 at the mark and nothing one level and a half above.
    let found = range.largest(&view(0, &[]));
    assert_eq!((found.radius, found.fund_reserve), (Some(6), Cash::ZERO));
    assert_eq!(
        found.range(Grid::from_step(1_001).unwrap()),
        (Price::new(6_507), Price::new(9_509))
    );
    // A fund of 100 reaches one level further, and keeps it all.
    let found = range.largest(&view(100, &[]));
    assert_eq!(
        (found.radius, found.fund_reserve),
        (Some(10), Cash::new(100))
    );
}

#[test]
fn an_account_under_zero_at_the_mark_closes_it_unless_the_fund_pays() {
    let mut range = SafeRange::default();
    range.add(&view(-1, &[]));
    let none = range.largest(&view(0, &[]));
    assert_eq!(
        none,
        SafeBox {
            radius: None,
            fund_reserve: Cash::ZERO
        }
    );
    let (low, high) = none.range(Grid::from_step(1_000).unwrap());
    assert!(low > high);
    let covered = range.largest(&view(1, &[]));
    assert_eq!(
        (covered.radius, covered.fund_reserve),
        (Some(32), Cash::new(1))
    );
}

prop_compose! {
    fn account()(cash in 0_i64..3_000, btc in prop::array::uniform17(-1_000_i64..1_000), eth in prop::array::uniform17(-1_000_i64..1_000))
        -> (i64, Vec<UnderlyingLadder>)
    {
        (cash, vec![entry(0, btc), entry(1, eth)])
    }
}

proptest! {
    /// At any price in the box everybody is paid in full, and it comes out of the vault.
    #[test]
    fn inside_it_everybody_is_paid(
        accounts in prop::collection::vec(account(), 1..8),
        fund in 0_i64..5_000,
        at in prop::array::uniform2(0.0_f64..1.0),
    ) {
        let grids = [Grid::from_step(1_003).unwrap(), Grid::from_step(77).unwrap()];
        // The fund is everybody's counterparty.
        let mut opposite = [[0_i64; 17]; 2];
        for (_, ladders) in &accounts {
            for (sum, entry) in opposite.iter_mut().zip(ladders) {
                sum.iter_mut().zip(entry.ladder.0).for_each(|(sum, value)| *sum -= value);
            }
        }
        let fund_ladders = [entry(0, opposite[0]), entry(1, opposite[1])];
        let fund_leaf = view(fund, &fund_ladders);
        let mut range = SafeRange::default();
        accounts.iter().for_each(|(cash, ladders)| range.add(&view(*cash, ladders)));
        let found = range.largest(&fund_leaf);
        prop_assume!(found.radius.is_some());
        let points: Vec<_> = grids.iter().zip(at).map(|(grid, at)| {
            let (low, high) = found.range(*grid);
            let price = low.get() + ((high.get() - low.get()) as f64 * at) as i64;
            grid.point(Price::new(price))
        }).collect();
        let vault = accounts.iter().map(|(cash, _)| i128::from(*cash)).sum::<i128>() + i128::from(fund);
        let claims: u128 = accounts.iter().map(|(cash, ladders)| view(*cash, ladders).value(&points).unwrap().claim()).sum();
        let fund_value = fund_leaf.value(&points).unwrap().get() - i128::from(found.fund_reserve.get());
        prop_assert!(fund_value >= 0);
        prop_assert!(claims as i128 + fund_value <= vault);
    }

    /// Parts that are merged say the same as the whole.
    #[test]
    fn parts_merge(accounts in prop::collection::vec(account(), 2..8)) {
        let mut whole = SafeRange::default();
        let parts = accounts.iter().map(|(cash, ladders)| {
            let mut part = SafeRange::default();
            part.add(&view(*cash, ladders));
            whole.add(&view(*cash, ladders));
            part
        });
        prop_assert_eq!(parts.collect::<SafeRange>(), whole);
    }
}

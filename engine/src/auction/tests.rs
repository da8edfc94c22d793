#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]
//! The price against a twin that tries every tick, and the seal's bytes.

use proptest::prelude::*;

use super::seal::{PLAINTEXT_BYTES, SealedTerms};
use super::{Band, Clearing, Level, Reference, clear};
use crate::types::*;

fn ladder(mut orders: Vec<(u32, u64)>, side: Side) -> Vec<Level> {
    orders.sort_by_key(|(price, _)| i64::from(*price) * -side.sign());
    let mut levels: Vec<Level> = Vec::new();
    for (price, lots) in orders {
        match levels.last_mut().filter(|l| l.price.get() == price) {
            Some(level) => level.lots += lots,
            None => levels.push(Level {
                price: PriceTicks::new(price),
                lots,
            }),
        }
    }
    levels
}

fn reference(mark: i64) -> Reference {
    Reference {
        mark: Price::new(mark),
        tick: Price::new(10),
    }
}

/// Every price of the band, one by one, judged by the rule's words.
fn slow(
    bids: &[(u32, u64)],
    asks: &[(u32, u64)],
    mark: i64,
    (low, high): (u32, u32),
) -> Option<(u32, u64, i64)> {
    let mut best: Option<(u32, u64, i64)> = None;
    for price in low..=high {
        let demand: u64 = bids
            .iter()
            .filter(|(p, _)| *p >= price)
            .map(|(_, l)| l)
            .sum();
        let supply: u64 = asks
            .iter()
            .filter(|(p, _)| *p <= price)
            .map(|(_, l)| l)
            .sum();
        let lots = demand.min(supply);
        if lots == 0 {
            continue;
        }
        let imbalance = demand as i64 - supply as i64;
        let away = |p: u32| (i64::from(p) * 10 - mark).abs();
        let better = best.is_none_or(|(p, l, i)| {
            if lots != l {
                return lots > l;
            }
            if imbalance.abs() != i.abs() {
                return imbalance.abs() < i.abs();
            }
            if away(price) != away(p) {
                return away(price) < away(p);
            }
            price < p
        });
        if better {
            best = Some((price, lots, imbalance));
        }
    }
    best
}

fn cleared(
    bids: &[(u32, u64)],
    asks: &[(u32, u64)],
    mark: i64,
    (low, high): (u32, u32),
) -> Option<(u32, u64, i64)> {
    let band = Band {
        low: PriceTicks::new(low),
        high: PriceTicks::new(high),
    };
    let (bids, asks) = (
        ladder(bids.to_vec(), Side::Buy),
        ladder(asks.to_vec(), Side::Sell),
    );
    let found = clear(&bids, &asks, &reference(mark), band);
    found.map(|c: Clearing| (c.price.get(), c.lots, c.imbalance))
}

#[test]
fn volume_comes_first_then_imbalance_then_the_mark_then_the_lower_price() {
    let all = (1, 100);
    // More trades at 12 than anywhere else, far from the mark as it is.
    let bids = [(12, 10), (10, 1)];
    let asks = [(10, 2), (12, 8)];
    assert_eq!(cleared(&bids, &asks, 100, all), Some((12, 10, 0)));
    // 5 trade from 10 to 14; least is left over from 13 on.
    let bids = [(14, 5), (12, 3)];
    let asks = [(10, 5)];
    assert_eq!(cleared(&bids, &asks, 0, all), Some((13, 5, 0)));
    // Nothing but the mark decides between 10 and 20.
    let (bids, asks) = ([(20, 5)], [(10, 5)]);
    assert_eq!(cleared(&bids, &asks, 163, all), Some((16, 5, 0)));
    assert_eq!(cleared(&bids, &asks, 0, all), Some((10, 5, 0)));
    assert_eq!(cleared(&bids, &asks, 999, all), Some((20, 5, 0)));
    // Halfway between two ticks: the lower.
    assert_eq!(cleared(&bids, &asks, 155, all), Some((15, 5, 0)));
    // Left over on either side alike, and as far from the mark: the lower.
    let bids = [(20, 5), (10, 3)];
    let asks = [(10, 5), (20, 3)];
    let (price, lots, imbalance) = cleared(&bids, &asks, 150, all).unwrap();
    assert_eq!((price, lots, imbalance), (15, 5, 0));
    let bids = [(12, 5), (10, 5)];
    let asks = [(10, 5), (12, 5)];
    assert_eq!(cleared(&bids, &asks, 110, all), Some((11, 5, 0)));
    let bids = [(11, 4), (10, 4)];
    let asks = [(10, 4), (11, 4)];
    assert_eq!(cleared(&bids, &asks, 105, all), Some((10, 4, 4)));
}

#[test]
fn a_band_keeps_the_price_inside() {
    let (bids, asks) = ([(30, 5)], [(10, 2), (25, 9)]);
    assert_eq!(cleared(&bids, &asks, 200, (1, 100)), Some((25, 5, -6)));
    assert_eq!(cleared(&bids, &asks, 200, (1, 22)), Some((20, 2, 3)));
    assert_eq!(cleared(&bids, &asks, 200, (31, 40)), None);
    assert_eq!(cleared(&[(9, 5)], &asks, 200, (1, 100)), None);
    assert_eq!(cleared(&[], &asks, 200, (1, 100)), None);
}

fn orders() -> impl Strategy<Value = Vec<(u32, u64)>> {
    proptest::collection::vec((1_u32..40, 1_u64..20), 0..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn the_price_is_the_slow_twins(
        bids in orders(),
        asks in orders(),
        mark in 0_i64..420,
        low in 1_u32..30,
        width in 0_u32..40,
    ) {
        let band = (low, low + width);
        let fast = cleared(&bids, &asks, mark, band);
        // Where nothing trades the twin has no price; the fast one names none either.
        let fast = fast.filter(|(_, lots, _)| *lots > 0);
        prop_assert_eq!(fast, slow(&bids, &asks, mark, band));
    }

    #[test]
    fn sealed_bytes_are_one_order_or_none(bytes in proptest::array::uniform32(any::<u8>()), flags in 0_u8..64) {
        let mut bytes = bytes;
        (bytes[0], bytes[1]) = (1, flags);
        bytes[26..].fill(0);
        match SealedTerms::decode(&bytes) {
            Ok(terms) => prop_assert_eq!(terms.encode(), bytes),
            Err(_) => prop_assert_eq!(flags >> 4, 3),
        }
        bytes[PLAINTEXT_BYTES - 1] = 1;
        prop_assert!(SealedTerms::decode(&bytes).is_err());
    }
}

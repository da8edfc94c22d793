#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use super::*;
use crate::types::{AccountId, InstrumentId, Lots, OrderId, PriceTicks, SelfTradePrevention, Side};

const BOOK: InstrumentId = InstrumentId::new(3);

fn order(side: Side, price: u32, lots: u32, owner: u32) -> NewOrder {
    NewOrder {
        side,
        price: PriceTicks::new(price),
        lots: Lots::new(lots),
        owner: AccountId::new(owner),
        flags: 0,
    }
}

fn open() -> Books {
    let mut books = Books::new();
    assert!(books.open(BOOK));
    books
}

/// A slot at its last generation is retired, not handed out under an id that was used before.
#[test]
fn the_last_generation_retires_its_slot() {
    let mut books = open();
    let id = books.insert(BOOK, order(Side::Buy, 5, 1, 1)).unwrap();
    books.slab.set_generation(id.slot(), u32::MAX);
    let last = OrderId::from_parts(u32::MAX, id.slot());
    assert!(books.remove(last).is_some());
    assert!(books.get(last).is_none());
    let next = books.insert(BOOK, order(Side::Buy, 5, 1, 1)).unwrap();
    assert_ne!(next.slot(), last.slot());

    let mut bytes = Vec::new();
    books.write(&mut bytes).unwrap();
    let mut again = Books::read(&mut bytes.as_slice()).unwrap();
    let other = again.insert(BOOK, order(Side::Buy, 5, 1, 1)).unwrap();
    assert_ne!(other.slot(), last.slot());
}

/// A full level refuses, and the refused order leaves no trace.
#[test]
fn a_full_level_refuses_without_a_trace() {
    let mut books = open();
    let fill = books.insert(BOOK, order(Side::Buy, 5, 1, 1)).unwrap();
    let level = books.slab.get(fill.slot()).unwrap().level;
    let kept = books.ladders.level(level).unwrap().sum;
    books.ladders.level_mut(level).unwrap().sum = u64::from(ORDERS_PER_LEVEL_MAX) << 45 | 7;
    let (before, live) = (books.books_leaf(), books.live());
    assert!(books.insert(BOOK, order(Side::Buy, 5, 1, 1)).is_none());
    let id = books.insert(BOOK, order(Side::Buy, 6, 1, 1)).unwrap();
    assert!(!books.requote(id, PriceTicks::new(5), Lots::new(1)));
    assert!(books.remove(id).is_some());
    books.ladders.level_mut(level).unwrap().sum = kept;
    assert_eq!(books.live(), live);
    assert_eq!(before[4..8], [0xff; 4], "the free list was empty");
}

/// The taker's visitor may refuse a step; the maker then stays as it was.
#[test]
fn a_veto_leaves_the_maker_alone() {
    let mut books = open();
    let first = books.insert(BOOK, order(Side::Sell, 10, 4, 1)).unwrap();
    let second = books.insert(BOOK, order(Side::Sell, 11, 4, 2)).unwrap();
    let taker = Taker {
        account: AccountId::new(9),
        side: Side::Buy,
        limit: PriceTicks::MAX,
        lots: Lots::new(10),
        stp: SelfTradePrevention::CancelTaker,
    };
    let result = books.take(BOOK, taker, &mut |step| match step {
        Taken::Fill(fill) if fill.maker == second => core::ops::ControlFlow::Break(()),
        _ => core::ops::ControlFlow::Continue(()),
    });
    assert_eq!(result, (Lots::new(6), MatchStop::Vetoed));
    assert!(books.get(first).is_none());
    assert_eq!(books.get(second).unwrap().lots, Lots::new(4));
}

/// Prices at the ends of the range and far apart give back every page and node.
#[test]
fn far_prices_come_and_go() {
    let mut books = open();
    let prices = [1, 1 << 30, 64, 4096, 1 << 18, (1 << 30) - 1, 1 << 24, 63];
    let mut bytes = Vec::new();
    for round in 0..4 {
        let ids: Vec<_> = prices
            .iter()
            .flat_map(|price| [Side::Buy, Side::Sell].map(|side| order(side, *price, 1, 1)))
            .map(|order| books.insert(BOOK, order).unwrap())
            .collect();
        let mut sorted = prices;
        sorted.sort_unstable();
        let asks: Vec<_> = books
            .depth(BOOK, Side::Sell, 99)
            .map(|l| l.price.get())
            .collect();
        assert_eq!(asks, sorted);
        let bids: Vec<_> = books
            .depth(BOOK, Side::Buy, 99)
            .map(|l| l.price.get())
            .collect();
        assert!(bids.iter().eq(sorted.iter().rev()));
        for id in ids.iter().rev().skip(round % 2) {
            assert!(books.remove(*id).is_some());
        }
        assert!(books.close(BOOK, &mut |_| ()));
        assert!(books.open(BOOK));
        assert_eq!(books.best(BOOK, Side::Buy), None);
        assert_eq!(books.live(), 0);
        bytes.push(books.bytes());
    }
    assert_eq!(bytes[0], bytes[3], "pages and nodes are used again");
}

/// Bounds of price, size and book are refused.
#[test]
fn out_of_bounds_is_refused() {
    use crate::limits::{INSTRUMENTS_MAX, ORDER_LOTS_MAX, PRICE_TICKS_MAX};
    let mut books = open();
    for (price, lots) in [
        (0, 1),
        (PRICE_TICKS_MAX + 1, 1),
        (1, 0),
        (1, ORDER_LOTS_MAX + 1),
    ] {
        assert!(
            books
                .insert(BOOK, order(Side::Sell, price, lots, 1))
                .is_none()
        );
    }
    assert!(
        books
            .insert(InstrumentId::new(0), order(Side::Sell, 1, 1, 1))
            .is_none()
    );
    assert!(!books.open(InstrumentId::new(INSTRUMENTS_MAX)));
    assert!(!books.open(BOOK), "open already");
    assert_eq!(books.slots(), 0, "a refusal takes no slot");
    assert!(
        books
            .insert(BOOK, order(Side::Sell, PRICE_TICKS_MAX, ORDER_LOTS_MAX, 1))
            .is_some()
    );
}

/// Slots that were used again hold later orders than slots behind them; queues come back all the same.
#[test]
fn queues_come_back_whatever_the_order_of_their_slots() {
    let mut books = open();
    let ids: Vec<OrderId> = (1..=6)
        .map(|owner| books.insert(BOOK, order(Side::Buy, 5, 1, owner)).unwrap())
        .collect();
    books.remove(ids[1]).unwrap();
    books.remove(ids[4]).unwrap();
    for owner in 7..=8 {
        books.insert(BOOK, order(Side::Buy, 5, 1, owner)).unwrap();
    }
    let queue = |books: &Books| {
        let orders = books.orders(BOOK, Side::Buy);
        orders.map(|order| order.owner.get()).collect::<Vec<_>>()
    };
    let mut bytes = Vec::new();
    books.write(&mut bytes).unwrap();
    let again = Books::read(&mut bytes.as_slice()).unwrap();
    assert_eq!(queue(&books), [1, 3, 4, 6, 7, 8]);
    assert_eq!(queue(&again), queue(&books));
    assert_eq!(again.best(BOOK, Side::Buy), Some(PriceTicks::new(5)));

    // The last eight bytes of a leaf are the priority: one that comes twice is refused.
    let leaves = bytes.len() - 6 * 32;
    let first: Vec<u8> = bytes[leaves + 24..leaves + 32].to_vec();
    bytes[leaves + 2 * 32 + 24..leaves + 3 * 32].copy_from_slice(&first);
    assert!(Books::read(&mut bytes.as_slice()).is_err());
}

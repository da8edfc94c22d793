//! Warm books allocate nothing, whatever prices come and go.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc
)]

use lifeboat_engine::book::{Books, NewOrder, Taker};
use lifeboat_engine::types::{
    AccountId, InstrumentId, Lots, OrderId, PriceTicks, SelfTradePrevention, Side,
};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ops::ControlFlow;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call goes to the system's allocator unchanged; the count is kept beside it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const BOOKS: u64 = 8;
const LIVE: usize = 2_000;

/// A small seeded generator, so that a run repeats exactly.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % end
    }

    fn order(&mut self) -> NewOrder {
        let price = match self.below(50) {
            0 => 1 + self.below(1 << 20),
            _ => 9_000 + self.below(200),
        };
        NewOrder {
            side: Side::ALL[self.below(2) as usize],
            price: PriceTicks::new(price as u32),
            lots: Lots::new(1 + self.below(50) as u32),
            owner: AccountId::new(self.below(5) as u32),
            flags: 0,
        }
    }

    fn book(&mut self) -> InstrumentId {
        InstrumentId::new(self.below(BOOKS) as u32)
    }
}

struct Churn {
    books: Books,
    dice: Dice,
    ids: Vec<OrderId>,
    touched: Vec<u32>,
    fills: u64,
}

impl Churn {
    fn step(&mut self) {
        let (book, order) = (self.dice.book(), self.dice.order());
        let place = self.dice.below(LIVE as u64) as usize;
        match self.dice.below(10) {
            0 => self.take(book, order),
            1 => {
                self.books.requote(self.ids[place], order.price, order.lots);
            }
            2 => {
                self.books.reduce(self.ids[place], order.lots);
            }
            _ => {
                self.books.remove(self.ids[place]);
                self.ids[place] = self.books.insert(book, order).unwrap();
            }
        }
        self.touched.clear();
        self.books.drain_touched(&mut self.touched);
    }

    fn take(&mut self, book: InstrumentId, order: NewOrder) {
        let taker = Taker {
            account: order.owner,
            side: order.side,
            limit: order.price,
            lots: order.lots,
            stp: SelfTradePrevention::CancelMaker,
        };
        self.books.available(book, taker);
        self.books.take(book, taker, &mut |_| {
            self.fills += 1;
            ControlFlow::Continue(())
        });
    }
}

#[test]
fn warm_books_allocate_nothing() {
    let mut churn = Churn {
        books: Books::with_capacity(2 * LIVE),
        dice: Dice(0x9e37_79b9_7f4a_7c15),
        ids: vec![OrderId::default(); LIVE],
        touched: Vec::with_capacity(1_024),
        fills: 0,
    };
    (0..BOOKS as u32).for_each(|book| assert!(churn.books.open(InstrumentId::new(book))));
    (0..60_000).for_each(|_| churn.step());
    let (before, bytes, fills) = (ALLOCATIONS.get(), churn.books.bytes(), churn.fills);
    (0..60_000).for_each(|_| churn.step());
    assert_eq!(
        ALLOCATIONS.get() - before,
        0,
        "allocations in 60 000 warm commands"
    );
    assert_eq!(churn.books.bytes(), bytes);
    assert!(churn.fills > fills + 1_000, "the commands trade");
}

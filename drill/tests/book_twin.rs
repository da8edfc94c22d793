//! The engine's books against their slow twin, over random sequences of everything they can do.

use lifeboat_drill::twin::SlowBooks;
use lifeboat_engine::book::{Books, NewOrder, Resting, SlotLeaf, Taken, Taker};
use lifeboat_engine::types::{
    AccountId, InstrumentId, Lots, OrderId, PriceTicks, SelfTradePrevention, Side,
};
use proptest::collection::vec;
use proptest::prelude::*;
use std::ops::ControlFlow;

const BOOKS: u32 = 4;

/// One step. An order is named by its place among all ids ever given.
#[derive(Clone, Debug)]
enum Step {
    Open(u32),
    Close(u32),
    Insert(u32, NewOrder),
    /// Take with an id of its own, then rest what is left or release it, as an order does.
    Place {
        book: u32,
        order: NewOrder,
        stp: SelfTradePrevention,
        rest: bool,
        veto_at: usize,
    },
    Remove(usize),
    Reduce(usize, u32),
    Requote(usize, u32, u32),
    /// Leaves an allocated order behind.
    Allocate,
    Rest(usize, u32, NewOrder),
    Release(usize),
    Snapshot,
}

fn price() -> impl Strategy<Value = u32> {
    prop_oneof![
        12 => 95u32..106,
        3 => 1u32..400,
        1 => 1u32..20_000,
        1 => prop::sample::select(vec![
            0, 1, 63, 64, 1 << 12, 1 << 18, 1 << 24, (1 << 30) - 1, 1 << 30, (1 << 30) + 1, u32::MAX,
        ]),
    ]
}

fn order() -> impl Strategy<Value = NewOrder> {
    let side = prop::sample::select(Side::ALL);
    let lots = prop_oneof![20 => 1u32..30, 1 => Just(0), 1 => Just(1 << 26), 1 => Just(u32::MAX)];
    (side, price(), lots, 0u32..4, any::<u8>()).prop_map(|(side, price, lots, owner, flags)| {
        NewOrder {
            side,
            price: PriceTicks::new(price),
            lots: Lots::new(lots),
            owner: AccountId::new(owner),
            flags,
        }
    })
}

fn step() -> impl Strategy<Value = Step> {
    let book = || 0u32..BOOKS;
    let stp = || prop::sample::select(SelfTradePrevention::ALL);
    let which = || any::<usize>();
    prop_oneof![
        1 => book().prop_map(Step::Open),
        1 => book().prop_map(Step::Close),
        30 => (book(), order()).prop_map(|(book, order)| Step::Insert(book, order)),
        20 => (book(), order(), stp(), any::<bool>(), 0usize..40).prop_map(
            |(book, order, stp, rest, veto_at)| Step::Place { book, order, stp, rest, veto_at }
        ),
        20 => which().prop_map(Step::Remove),
        8 => (which(), 0u32..30).prop_map(|(which, lots)| Step::Reduce(which, lots)),
        8 => (which(), price(), 0u32..30).prop_map(|(which, price, lots)| Step::Requote(which, price, lots)),
        1 => Just(Step::Allocate),
        2 => (which(), book(), order()).prop_map(|(which, book, order)| Step::Rest(which, book, order)),
        2 => which().prop_map(Step::Release),
        2 => Just(Step::Snapshot),
    ]
}

fn bytes(books: &Books) -> Vec<u8> {
    let mut bytes = Vec::new();
    books.write(&mut bytes).expect("a vector takes every byte");
    bytes
}

/// Both books side by side, every id they gave, and the leaves after the last drain.
struct Pair {
    fast: Books,
    slow: SlowBooks,
    ids: Vec<OrderId>,
    leaves: Vec<Option<SlotLeaf>>,
}

impl Pair {
    fn new() -> Self {
        let mut pair = Self {
            fast: Books::new(),
            slow: SlowBooks::default(),
            ids: vec![OrderId::from_parts(7, 7), OrderId::from_parts(0, u32::MAX)],
            leaves: Vec::new(),
        };
        (0..BOOKS - 1).for_each(|book| pair.step(&Step::Open(book)));
        pair
    }

    fn id(&self, which: usize) -> OrderId {
        // Later ids are likelier to be alive.
        self.ids[self.ids.len() - 1 - which % self.ids.len().min(64)]
    }

    fn step(&mut self, step: &Step) {
        let id = InstrumentId::new;
        match *step {
            Step::Open(book) => assert_eq!(self.fast.open(id(book)), self.slow.open(id(book))),
            Step::Close(book) => self.close(id(book)),
            Step::Insert(book, order) => {
                let given = self.fast.insert(id(book), order);
                assert_eq!(given, self.slow.insert(id(book), order));
                self.ids.extend(given);
            }
            Step::Place {
                book,
                order,
                stp,
                rest,
                veto_at,
            } => {
                self.place(id(book), order, stp, rest, veto_at);
            }
            Step::Remove(which) => {
                let order = self.id(which);
                assert_eq!(self.fast.get(order), self.slow.get(order));
                assert_eq!(self.fast.remove(order), self.slow.remove(order));
            }
            Step::Reduce(which, lots) => {
                let (order, lots) = (self.id(which), Lots::new(lots));
                assert_eq!(self.fast.reduce(order, lots), self.slow.reduce(order, lots));
            }
            Step::Requote(which, price, lots) => {
                let (order, price, lots) =
                    (self.id(which), PriceTicks::new(price), Lots::new(lots));
                let moved = self.fast.requote(order, price, lots);
                assert_eq!(moved, self.slow.requote(order, price, lots));
            }
            Step::Allocate => {
                let order = self.slow.allocate();
                assert_eq!(self.fast.allocate(), Some(order));
                self.ids.push(order);
            }
            Step::Rest(which, book, order) => {
                let taken = self.id(which);
                let rests = self.fast.rest(taken, id(book), order);
                assert_eq!(rests, self.slow.rest(taken, id(book), order));
            }
            Step::Release(which) => {
                let order = self.id(which);
                assert_eq!(self.fast.release(order), self.slow.release(order));
            }
            Step::Snapshot => {
                self.check_touched();
                let before = bytes(&self.fast);
                self.fast = Books::read(&mut before.as_slice()).expect("its own bytes");
                assert_eq!(bytes(&self.fast), before);
                let mut touched = Vec::new();
                self.fast.drain_touched(&mut touched);
                assert!(touched.is_empty(), "reading touches nothing");
            }
        }
        assert_eq!(self.fast.live(), self.slow.live());
    }

    fn close(&mut self, book: InstrumentId) {
        let mut gone: Vec<Resting> = Vec::new();
        let closed = self.fast.close(book, &mut |order| gone.push(order));
        assert_eq!(closed.then_some(gone), self.slow.close(book));
    }

    fn place(
        &mut self,
        book: InstrumentId,
        order: NewOrder,
        stp: SelfTradePrevention,
        rest: bool,
        veto_at: usize,
    ) {
        let own = self.slow.allocate();
        assert_eq!(self.fast.allocate(), Some(own));
        self.ids.push(own);
        let taker = Taker {
            account: order.owner,
            side: order.side,
            limit: order.price,
            lots: order.lots,
            stp,
        };
        assert_eq!(
            self.fast.available(book, taker),
            self.slow.available(book, taker)
        );
        let (mut fast, mut slow): (Vec<Taken>, Vec<Taken>) = (Vec::new(), Vec::new());
        let visit = |seen: &mut Vec<Taken>, step| {
            seen.push(step);
            if seen.len() > veto_at {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        let stop = self
            .fast
            .take(book, taker, &mut |step| visit(&mut fast, step));
        assert_eq!(
            stop,
            self.slow
                .take(book, taker, &mut |step| visit(&mut slow, step))
        );
        assert_eq!(fast, slow);
        let remaining = NewOrder {
            lots: stop.0,
            ..order
        };
        let rests = rest && self.fast.rest(own, book, remaining);
        assert_eq!(rests, rest && self.slow.rest(own, book, remaining));
        if !rests {
            assert!(self.fast.release(own) && self.slow.release(own));
        }
    }

    /// Everything a reader can see is the same.
    fn compare(&self) {
        for book in (0..BOOKS).map(InstrumentId::new) {
            for side in [Side::Buy, Side::Sell] {
                let depth = self.slow.depth(book, side);
                assert_eq!(
                    self.fast.depth(book, side, usize::MAX).collect::<Vec<_>>(),
                    depth
                );
                assert_eq!(self.fast.depth(book, side, 2).count(), depth.len().min(2));
                assert_eq!(
                    self.fast.best(book, side),
                    depth.first().map(|level| level.price)
                );
                for level in &depth {
                    assert_eq!(self.fast.level(book, side, level.price), Some(*level));
                }
                let queue: Vec<Resting> = self.fast.orders(book, side).collect();
                assert_eq!(queue, self.slow.queue(book, side));
                for order in queue {
                    assert_eq!(self.fast.get(order.order), Some(order));
                }
            }
        }
        for order in &self.ids {
            assert_eq!(self.fast.get(*order), self.slow.get(*order));
        }
    }

    /// Drained slots ascend, and every leaf that changed is among them.
    fn check_touched(&mut self) {
        let mut touched = Vec::new();
        self.fast.drain_touched(&mut touched);
        assert!(touched.is_sorted_by(|a, b| a < b));
        let now: Vec<_> = (0..self.fast.slots())
            .map(|slot| self.fast.slot_leaf(slot))
            .collect();
        self.leaves.resize(now.len(), None);
        for (slot, (before, after)) in (0u32..).zip(self.leaves.iter().zip(&now)) {
            assert!(after.is_some());
            assert!(
                before == after || touched.contains(&slot),
                "slot {slot} changed in silence"
            );
        }
        self.leaves = now;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// The fast books and the slow ones cannot be told apart.
    #[test]
    fn the_twins_agree(steps in vec(step(), 1..400)) {
        let mut pair = Pair::new();
        for (number, step) in steps.iter().enumerate() {
            pair.step(step);
            if number % 16 == 0 {
                pair.compare();
                pair.check_touched();
            }
        }
        pair.compare();
        pair.check_touched();
    }

    /// Damaged bytes are refused or are other books' own bytes; they never panic.
    #[test]
    fn damaged_snapshots_are_refused_or_canonical(
        steps in vec(step(), 1..120),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut pair = Pair::new();
        steps.iter().for_each(|step| pair.step(step));
        let mut damaged = bytes(&pair.fast);
        for (place, value) in &damage {
            let place = place.index(damaged.len());
            damaged[place] = *value;
        }
        let shorter = cut.map_or(damaged.len(), |cut| cut.index(damaged.len()));
        let mut rest = &damaged[..shorter];
        if let Ok(books) = Books::read(&mut rest) {
            prop_assert_eq!(bytes(&books), &damaged[..shorter - rest.len()]);
        }
    }

    /// Bytes that never were a snapshot do not panic either.
    #[test]
    fn noise_is_no_snapshot(noise in vec(any::<u8>(), 0..600)) {
        let mut rest = noise.as_slice();
        if let Ok(books) = Books::read(&mut rest) {
            prop_assert_eq!(bytes(&books), &noise[..noise.len() - rest.len()]);
        }
    }
}

/// Each single flipped bit in a small snapshot is either refused or read as what it says.
#[test]
fn every_flipped_bit_is_accounted_for() {
    let mut pair = Pair::new();
    for number in 0..12u32 {
        let order = NewOrder {
            side: Side::ALL[number as usize % 2],
            price: PriceTicks::new(100 + number % 3),
            lots: Lots::new(5 + number),
            owner: AccountId::new(number),
            flags: 1,
        };
        pair.step(&Step::Insert(number % 2, order));
    }
    pair.step(&Step::Remove(3));
    pair.step(&Step::Remove(5));
    let whole = bytes(&pair.fast);
    let mut refused = 0;
    for bit in 0..whole.len() * 8 {
        let mut damaged = whole.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let mut rest = damaged.as_slice();
        match Books::read(&mut rest) {
            Ok(books) => assert_eq!(bytes(&books), damaged[..damaged.len() - rest.len()]),
            Err(_) => refused += 1,
        }
    }
    assert!(
        refused > whole.len(),
        "only {refused} of {} bits noticed",
        whole.len() * 8
    );
}

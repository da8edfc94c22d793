//! What guards prices: sources that fail, disagree or stand still, and the stablecoin's peg.

use super::*;
use crate::settlement::{IndexFault, STABLE, SourceDoubt};

const BTC: UnderlyingId = UnderlyingId::new(0);

impl Venue {
    /// Every validator sees these prices of BTC's sources, in dollars; 0 for none.
    pub(super) fn observe_sources(&mut self, prices: [i64; 5]) {
        let seen = prices.map(|price| (price != 0).then(|| usd(price)));
        (0..4).for_each(|v| self.see(v, BTC, seen));
    }

    /// Every validator sees the stablecoin at so many hundredths of a dollar.
    pub(super) fn observe_stable(&mut self, cents: i64) {
        let price = Some(Price::new(cents * 10_000));
        (0..4).for_each(|v| self.see(v, STABLE, [price; 5]));
    }

    fn see(&mut self, v: u16, underlying: UnderlyingId, prices: [Option<Price>; 5]) {
        let at = TimeMs::new(self.time);
        let source = |price| SourcePrice {
            price,
            updated_at: at,
        };
        let observation = Observation {
            underlying,
            observed_at: at,
            sources: prices.map(|price| price.map(source)).into(),
            forwards: Vec::new(),
        };
        self.report(v, Report::Observe(observation));
    }

    fn initial(&self, account: u32) -> i64 {
        let summary = self.engine.margin_summary(AccountId::new(account));
        summary.unwrap().initial.get()
    }
}

fn lost(events: &[Event]) -> Option<&Event> {
    let mut events = events.iter();
    events.find(|e| matches!(e, Event::IndexLost { .. }))
}

/// Account 1 is short ten calls of account 2's.
fn venue_with_short() -> (Venue, InstrumentId) {
    let mut venue = Venue::new(&[6_000, 1_000_000]);
    let call = venue.call();
    venue.trade(1, 2, call, 10, 2_500);
    (venue, call)
}

#[test]
fn sources_at_zero_or_apart_make_no_index_and_move_no_mark() {
    let (mut venue, call) = venue_with_short();
    for (prices, fault) in [
        ([0, 0, 0, 99_000, 99_000], IndexFault::TooFew),
        (
            [80_000, 85_000, 90_000, 95_000, 99_000],
            IndexFault::Dispersed,
        ),
    ] {
        venue.observe_sources(prices);
        venue.block();
        let mark = venue.engine.instruments().get(call).unwrap().mark;
        let events = venue.block();
        let Some(Event::IndexLost {
            underlying,
            fault: why,
            dispersion_ppm,
            ..
        }) = lost(&events)
        else {
            panic!("{events:?}");
        };
        assert_eq!((*underlying, *why), (BTC, fault));
        assert_eq!(
            dispersion_ppm.is_some_and(|ppm| ppm > 50_000),
            fault == IndexFault::Dispersed
        );
        assert_eq!(venue.engine.instruments().get(call).unwrap().mark, mark);
        assert_eq!(venue.engine.index_price(BTC), Some(usd(90_000)));
        venue.observe(90_000);
        venue.block();
        let events = venue.block();
        let back = |e: &Event| matches!(e, Event::IndexRestored { lost_ms, .. } if *lost_ms > 0);
        assert!(events.iter().any(back), "{events:?}");
    }
}

#[test]
fn without_an_index_a_quarter_more_is_asked_for_orders_and_withdrawals_alike() {
    let (mut venue, call) = venue_with_short();
    venue.observe(90_000);
    venue.block();
    venue.block();
    let fits = |venue: &mut Venue, lots| {
        let verdict = venue.run(1, place(limit(call, Side::Sell, lots, 2_500)));
        if verdict.is_ok() {
            venue
                .run(1, Action::CancelAll(CancelScope::Account))
                .unwrap();
        }
        verdict.is_ok()
    };
    // The most lots that fit with an index do not without one, and do again with it.
    let mut most = 10;
    while fits(&mut venue, most + 5) {
        most += 5;
        venue.observe(90_000);
        venue.block();
    }
    assert!(most > 10 && most < 200, "{most}");
    venue.observe_sources([0, 0, 0, 90_000, 90_000]);
    venue.block();
    let initial = venue.initial(1);
    let free = venue.engine.free_cash(AccountId::new(1)).unwrap().get();
    venue.block();
    let more = venue.initial(1) - initial;
    assert!(
        (more - initial / 4).abs() <= 2,
        "{more} on top of {initial}"
    );
    let left = venue.engine.free_cash(AccountId::new(1)).unwrap().get();
    assert_eq!(free - left, more);
    assert!(!fits(&mut venue, most));
    assert!(fits(&mut venue, most / 2));
    venue.observe(90_000);
    venue.block();
    venue.block();
    assert!((venue.initial(1) - initial).abs() < 20_000);
    assert!(fits(&mut venue, most));
}

#[test]
fn a_frozen_source_and_a_lying_one_are_named() {
    let mut venue = Venue::new(&[1_000]);
    let mut said = Vec::new();
    for minute in 0..4 {
        let price = 90_000 + 1_000 * minute;
        venue.observe_sources([90_000, price + 9_000 + minute, price, price, price]);
        said.extend(venue.block_after(30_000));
    }
    let named = |kind: SourceDoubt, at: u8| {
        let doubts = said.iter().filter(|e| {
            matches!(e, Event::SourceDoubted { doubt, source, .. } if (*doubt, *source) == (kind, at))
        });
        doubts.count()
    };
    assert_eq!(named(SourceDoubt::Frozen, 0), 4, "once by each validator");
    assert_eq!(named(SourceDoubt::Apart, 1), 4);
    assert_eq!(venue.engine.feed(BTC).unwrap().frozen_sources(), [0]);
    assert_eq!(venue.engine.feed(BTC).unwrap().last.unwrap().sources, 4);
}

#[test]
fn a_stablecoin_off_its_peg_raises_initial_margin_by_the_formula_and_liquidates_nobody() {
    let (mut venue, _) = venue_with_short();
    let margin = |venue: &Venue| {
        let margin = venue.engine.margin_with_orders(AccountId::new(1)).unwrap();
        (margin.1.get(), margin.0.mm.get(), margin.0.worst.get())
    };
    let step = |venue: &mut Venue, cents| {
        venue.observe(90_000);
        venue.observe_stable(cents);
        venue.block();
        venue.observe(90_000);
        venue.block()
    };
    step(&mut venue, 100);
    let (im, mm, worst) = margin(&venue);
    let events = step(&mut venue, 90);
    let price = Price::new(900_000);
    assert!(events.contains(&Event::StableUpdated { price, sources: 5 }));
    let (off_im, off_mm, _) = margin(&venue);
    // (0.99 − 0.90) · 4 more of the worst loss.
    let expected = worst * 36 / 100;
    // Two seconds went by, which are worth less than 0.02.
    let near = |a: i64, b: i64| (a - b).abs() < 20_000;
    assert!(near(off_im - im, expected), "{im} {off_im} {worst}");
    assert!(near(off_mm, mm), "maintenance does not depend on the peg");
    for _ in 0..40 {
        venue.observe(90_000);
        venue.observe_stable(90);
        venue.block_after(59_000);
    }
    let started = |e: &Event| matches!(e, Event::LiquidationStarted { .. });
    assert!(!venue.events.iter().any(started));
    step(&mut venue, 100);
    let (back, ..) = margin(&venue);
    // Time went by: the margin of an option is a little lower, and far from what it was off the peg.
    assert!(back - im >= 0 && back - off_im > expected.abs() * 9 / 10);
}

#[test]
fn guards_survive_a_snapshot() {
    let (mut venue, _) = venue_with_short();
    venue.observe_stable(95);
    venue.observe_sources([0, 0, 0, 90_000, 90_000]);
    venue.block();
    venue.block();
    let mut image = Vec::new();
    venue.engine.write_snapshot(&mut image).unwrap();
    let restored = Engine::read_snapshot(&mut image.as_slice()).unwrap();
    let account = AccountId::new(1);
    assert_eq!(
        restored.margin_with_orders(account),
        venue.engine.margin_with_orders(account)
    );
    assert_eq!(restored.state_root(), venue.engine.state_root());
}

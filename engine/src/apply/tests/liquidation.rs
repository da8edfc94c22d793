//! Liquidation: start, auction, the fund, and what must not start one.

use super::*;
use crate::event::ModeReason;
use crate::modes::Trigger;
use crate::params::LiquidationParameters;

/// An index at which account 1 is worth more than nothing, and less than half of what it is asked for.
const DEEP: i64 = 112_000;

/// Account 1 is short calls it can just afford; account 3 stands by as backstop.
fn venue_with_short() -> (Venue, InstrumentId) {
    let mut parameters = Parameters::default();
    (
        parameters.modes.cancel_only_ms,
        parameters.modes.post_only_ms,
    ) = (5_000, 5_000);
    parameters.waterfall.fund = Cash::new(1_000_000_000_000);
    let mut venue = Venue::with(&[20_000, 10_000_000, 10_000_000], parameters);
    let call = venue.call();
    let mark = venue
        .engine
        .instruments()
        .get(call)
        .unwrap()
        .mark
        .unwrap()
        .price
        .get()
        / 1_000_000;
    venue.trade(1, 2, call, 80, mark);
    (venue, call)
}

fn started(events: &[Event]) -> bool {
    events
        .iter()
        .any(|e| matches!(e, Event::LiquidationStarted { .. }))
}

#[test]
fn an_account_under_maintenance_is_auctioned_and_ends_above_it() {
    let (mut venue, call) = venue_with_short();
    venue.run(1, place(limit(call, Side::Buy, 1, 10))).unwrap();
    assert!(venue.observe_until(106_000, 5, started));
    let target = AccountId::new(1);
    assert!(venue.engine.open_orders(target).is_empty());
    let refused = venue.run(1, place(limit(call, Side::Buy, 1, 10)));
    assert_eq!(refused, Err(Reject::AccountInLiquidation));
    let bid = |part_ppm, price_max| Action::BidLiquidation {
        account: target,
        part_ppm,
        price_max: Cash::new(price_max),
    };
    assert_eq!(venue.run(3, bid(1_000_000, i64::MAX)), Err(Reject::BadPart));
    assert_eq!(venue.run(3, bid(10_000, 1)), Err(Reject::BidBelowAuction));
    let mut part = 50_000;
    while part > 0 {
        match venue.run(3, bid(part, i64::MAX)) {
            Ok(_) => {}
            Err(Reject::BadPart) => part /= 2,
            Err(reject) => {
                assert_eq!(reject, Reject::NotInLiquidation);
                break;
            }
        }
    }
    assert!(
        venue
            .events
            .iter()
            .any(|e| matches!(e, Event::LiquidationSold { .. }))
    );
    assert!(
        venue
            .events
            .iter()
            .any(|e| matches!(e, Event::LiquidationEnded { .. }))
    );
    assert!(
        venue.position(1, call) < 0,
        "no more is closed than restores the buffer"
    );
    assert!(venue.position(3, call) < 0);
    let sum: i64 = (0..4).map(|a| venue.position(a, call)).sum();
    assert_eq!(sum, 0, "I8");
}

#[test]
fn a_small_part_cannot_take_cash_and_leave_the_risk() {
    let (mut venue, call) = venue_with_short();
    assert!(venue.observe_until(106_000, 5, started));
    let bid = Action::BidLiquidation {
        account: AccountId::new(1),
        part_ppm: 1,
        price_max: Cash::new(i64::MAX),
    };
    venue.run(3, bid).unwrap();
    assert_eq!(
        venue.position(3, call),
        -1,
        "the smallest part takes a whole lot of what is owed"
    );
}

#[test]
fn an_insolvent_account_ends_in_the_fund() {
    let (mut venue, call) = venue_with_short();
    assert!(venue.observe_until(200_000, 5, started));
    for _ in 0..70 {
        venue.time += 59_000;
        venue.observe(200_000);
        venue.block();
    }
    assert!(
        venue
            .events
            .iter()
            .any(|e| matches!(e, Event::LiquidationToFund { .. }))
    );
    assert_eq!((venue.position(1, call), venue.cash(1)), (0, 0));
    assert_eq!(venue.position(0, call), -80);
}

#[test]
fn a_lost_or_lying_index_liquidates_nobody() {
    let (mut venue, _) = venue_with_short();
    for _ in 0..20 {
        for v in 0..4 {
            let source = SourcePrice {
                price: usd(500_000),
                updated_at: TimeMs::new(START),
            };
            let observation = Observation {
                underlying: UnderlyingId::new(0),
                observed_at: TimeMs::new(venue.time),
                sources: vec![Some(source), None, None, None, None],
                forwards: Vec::new(),
            };
            venue.report(v, Report::Observe(observation));
        }
        venue.block_after(20_000);
    }
    assert!(!started(&venue.events));
}

fn mode_is(mode: Mode) -> impl Fn(&[Event]) -> bool {
    move |events| {
        events
            .iter()
            .any(|e| matches!(e, Event::ModeChanged { to, .. } if *to == mode))
    }
}

impl Venue {
    /// From an outage of `gap_ms` back to OPEN, at this index.
    fn through_an_outage(&mut self, gap_ms: u64, index: i64) {
        assert!(mode_is(Mode::Halted)(&self.block_after(gap_ms)));
        assert!(self.observe_until(index, 600, mode_is(Mode::Open)));
    }

    /// Blocks a minute apart, less a second, for so long.
    fn pass(&mut self, ms: u64, index: i64) {
        let end = self.time + ms;
        while self.time < end {
            self.time += 57_000;
            self.observe(index);
            self.block();
            self.observe(index);
            self.block();
        }
    }
}

fn grace_of(events: &[Event]) -> Vec<Option<TimeMs>> {
    let until = |e: &Event| match e {
        Event::GraceGiven { until, .. } => Some(*until),
        _ => None,
    };
    events.iter().filter_map(until).collect()
}

#[test]
fn after_an_outage_an_account_has_an_hour_and_is_liquidated_then() {
    let (mut venue, call) = venue_with_short();
    venue.run(1, place(limit(call, Side::Buy, 1, 10))).unwrap();
    venue.through_an_outage(61_000, 106_000);
    let opened = venue.time;
    assert!(!started(&venue.events));
    // It was told in the outage, once, and its order is gone.
    assert_eq!(grace_of(&venue.events), [None]);
    assert!(venue.engine.open_orders(AccountId::new(1)).is_empty());
    let grace_ms = LiquidationParameters::default().grace_ms;
    venue.pass(grace_ms - 120_000, 106_000);
    assert!(!started(&venue.events));
    assert_eq!(grace_of(&venue.events), [None]);
    assert!(venue.observe_until(106_000, 300, started));
    assert!(venue.time >= opened + grace_ms, "not before grace is over");
    let Some(Event::LiquidationStarted { basis, .. }) = venue
        .events
        .iter()
        .find(|e| matches!(e, Event::LiquidationStarted { .. }))
    else {
        panic!("not started");
    };
    assert_eq!((basis.sources, basis.grace_until), (5, TimeMs::new(0)));
    assert!(basis.age_ms <= 2_000);
}

#[test]
fn collateral_added_in_grace_saves_the_account() {
    let (mut venue, _) = venue_with_short();
    venue.through_an_outage(61_000, 106_000);
    venue
        .engine
        .ledger
        .deposit(AccountId::new(1), Cash::new(100_000_000_000))
        .unwrap();
    venue.pass(4_000_000, 106_000);
    assert!(!started(&venue.events));
}

#[test]
fn an_account_far_under_maintenance_is_auctioned_in_grace_and_never_goes_to_the_fund_in_it() {
    let (mut venue, call) = venue_with_short();
    venue.through_an_outage(61_000, 120_000);
    let start = venue.events.iter().find_map(|e| match e {
        Event::LiquidationStarted {
            maintenance,
            mark_to_market,
            basis,
            ..
        } => Some((maintenance.get(), mark_to_market.get(), *basis)),
        _ => None,
    });
    let (mm, equity, basis) = start.expect("at once, though in grace");
    assert!(2 * equity < equity - mm && basis.grace_until > TimeMs::new(venue.time));
    let bid = Action::BidLiquidation {
        account: AccountId::new(1),
        part_ppm: 1_000,
        price_max: Cash::new(i64::MAX),
    };
    venue.run(3, bid).unwrap();
    assert!(venue.position(3, call) < 0);
    let to_fund = |venue: &Venue| {
        let mut events = venue.events.iter();
        events.any(|e| matches!(e, Event::LiquidationToFund { .. }))
    };
    let grace_ms = LiquidationParameters::default().grace_ms;
    venue.pass(grace_ms - 120_000, 120_000);
    assert!(!to_fund(&venue));
    venue.pass(240_000, 120_000);
    assert!(to_fund(&venue));
}

#[test]
fn an_auction_that_an_outage_interrupts_waits_and_begins_anew() {
    let (mut venue, _) = venue_with_short();
    assert!(venue.observe_until(106_000, 5, started));
    venue.through_an_outage(61_000, 106_000);
    let bid = Action::BidLiquidation {
        account: AccountId::new(1),
        part_ppm: 1_000,
        price_max: Cash::new(i64::MAX),
    };
    assert_eq!(venue.run(3, bid.clone()), Err(Reject::InGrace));
    venue.pass(3_700_000, 106_000);
    let state = venue.engine.account(AccountId::new(1)).unwrap();
    let began = state.liquidation.as_deref().unwrap().started_at;
    assert!(venue.time - began.get() < 200_000, "its time did not run");
    venue.run(3, bid).unwrap();
}

fn bid_for(account: u32) -> Action {
    Action::BidLiquidation {
        account: AccountId::new(account),
        part_ppm: 1_000,
        price_max: Cash::new(i64::MAX),
    }
}

/// What was paid for the last part sold, in millionths of what the part was worth.
fn paid_ppm(events: &[Event]) -> i64 {
    let sold = events.iter().rev().find_map(|e| match e {
        Event::LiquidationSold {
            part_ppm,
            price,
            mark_to_market,
            ..
        } => Some((i64::from(*part_ppm), price.get(), mark_to_market.get())),
        _ => None,
    });
    let (part, price, worth) = sold.unwrap();
    assert!(worth > 0, "solvent");
    price * 1_000_000 / (worth * part / 1_000_000)
}

#[test]
fn an_outage_makes_nobody_a_bargain_of_an_auction() {
    let p = LiquidationParameters::default();
    for gap_ms in [61_000, p.fast_ms + p.slow_ms] {
        let (mut venue, _) = venue_with_short();
        assert!(venue.observe_until(DEEP, 5, started));
        for _ in 0..p.fast_ms / 2_000 {
            venue.observe(DEEP);
            venue.block();
        }
        let before = venue.run(3, bid_for(1)).unwrap();
        assert!(paid_ppm(&before) < 900_000, "its price falls with time");
        assert!(mode_is(Mode::Halted)(&venue.block_after(gap_ms)));
        assert_eq!(venue.run(3, bid_for(1)), Err(Reject::ModeForbids));
        assert!(venue.observe_until(DEEP, 600, mode_is(Mode::CancelOnly)));
        let first = venue.run(3, bid_for(1)).unwrap();
        let paid = paid_ppm(&first);
        assert!(
            (945_000..=952_000).contains(&paid),
            "after {gap_ms}: {paid}"
        );
        // From here it runs again, though grace holds: the account is too deep for it.
        for _ in 0..p.fast_ms / 2_000 {
            venue.observe(DEEP);
            venue.block();
        }
        assert!(paid_ppm(&venue.run(3, bid_for(1)).unwrap()) < 900_000);
    }
}

#[test]
fn a_halt_of_one_underlying_alone_stops_its_liquidations_too() {
    let (mut venue, _) = venue_with_short();
    assert!(venue.observe_until(DEEP, 5, started));
    let halt = |venue: &mut Venue| {
        let (of, reason) = (UnderlyingId::new(0), ModeReason::TimeElapsed);
        let mut events = Vec::new();
        venue
            .engine
            .shift_underlying(of, Trigger::Halt, reason, &mut events);
        assert!(!events.is_empty());
    };
    halt(&mut venue);
    assert_eq!(venue.run(3, bid_for(1)), Err(Reject::ModeForbids));
    let own = |events: &[Event], mode| {
        events
            .iter()
            .any(|e| matches!(e, Event::UnderlyingModeChanged { to, .. } if *to == mode))
    };
    let own_mode = |venue: &Venue| venue.engine.mode_of(UnderlyingId::new(0));
    venue.observe_until(DEEP, 2, |_| false);
    assert_eq!((venue.mode(), own_mode(&venue)), (Mode::Open, Mode::Verify));
    assert_eq!(venue.run(3, bid_for(1)), Err(Reject::ModeForbids));
    assert!(venue.observe_until(DEEP, 600, |e| own(e, Mode::CancelOnly)));
    let paid = paid_ppm(&venue.run(3, bid_for(1)).unwrap());
    assert!((945_000..=952_000).contains(&paid), "{paid}");

    let (mut venue, _) = venue_with_short();
    halt(&mut venue);
    assert!(venue.observe_until(DEEP, 600, |e| own(e, Mode::CancelOnly)));
    let at = |is: fn(&Event) -> bool| venue.events.iter().position(is).unwrap();
    let opened = at(|e| {
        let to = Mode::CancelOnly;
        matches!(e, Event::UnderlyingModeChanged { to: mode, .. } if *mode == to)
    });
    venue.observe_until(DEEP, 5, started);
    let start = venue
        .events
        .iter()
        .position(|e| started(core::slice::from_ref(e)));
    assert!(start.unwrap() > opened);
}

#[test]
fn prices_of_the_gap_are_never_triggers() {
    let (mut venue, _) = venue_with_short();
    // Seen in the gap, arriving with the block that ends it and after.
    venue.time += 60_000;
    venue.observe(150_000);
    let late = venue.queue.clone();
    venue.block_after(30_000);
    assert_eq!(venue.mode(), Mode::Halted);
    let refused = |e: &&Event| {
        matches!(
            e,
            Event::CommandRejected {
                reject: Reject::BadObservation,
                ..
            }
        )
    };
    assert_eq!(venue.events.iter().filter(refused).count(), late.len());
    venue.observe_until(90_000, 600, mode_is(Mode::Open));
    assert_eq!(venue.mode(), Mode::Open);
    let seen = |e: &&Event| matches!(e, Event::IndexUpdated { price, .. } if *price > usd(95_000));
    assert_eq!(venue.events.iter().filter(seen).count(), 0);
    assert!(!started(&venue.events) && grace_of(&venue.events).is_empty());
}

#[test]
fn a_lost_index_liquidates_only_once_its_sources_agree_again() {
    let (mut venue, _) = venue_with_short();
    venue.observe_sources([0, 0, 0, 90_000, 90_000]);
    venue.block();
    venue.block();
    let agreed = |e: &[Event]| e.iter().any(|e| matches!(e, Event::SourcesAgreed { .. }));
    let since = venue.time;
    assert!(venue.observe_until(106_000, 60, agreed));
    assert!(venue.time - since >= 30_000);
    let at = venue
        .events
        .iter()
        .position(|e| matches!(e, Event::SourcesAgreed { .. }));
    let first = venue
        .events
        .iter()
        .position(|e| matches!(e, Event::LiquidationStarted { .. }));
    assert!(at < first && first.is_some());
}

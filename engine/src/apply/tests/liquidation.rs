//! Liquidation: start, auction, the fund, and what must not start one.

use super::*;

/// Account 1 is short calls it can just afford; account 3 stands by as backstop.
fn venue_with_short() -> (Venue, InstrumentId) {
    let mut venue = Venue::new(&[20_000, 10_000_000, 10_000_000]);
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

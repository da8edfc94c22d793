//! Expiry: samples, settlement, deferral.

use super::*;

/// Parameters whose settlement window fits into a few blocks.
fn quick() -> Parameters {
    let mut parameters = Parameters::default();
    parameters.settlement.window_ms = 60_000;
    parameters.settlement.sample_interval_ms = 1_000;
    parameters.settlement.deferral_ms_max = 120_000;
    parameters.modes.block_gap_ms_max = u64::MAX;
    for underlying in &mut parameters.underlyings {
        underlying.listing = None;
    }
    parameters
}

/// A venue with one call of strike 90 000 that expires two minutes in, and a position in it.
fn venue_with_position() -> (Venue, InstrumentId, TimeMs) {
    let mut venue = Venue::with(&[1_000_000, 1_000_000], quick());
    let expiry = TimeMs::new(venue.time + 120_000);
    let terms = OptionTerms {
        underlying: UnderlyingId::new(0),
        expiry,
        strike: usd(90_000),
        kind: OptionKind::Call,
    };
    for v in 0..3 {
        venue.report(v, Report::Attest(Proposal::ListOption(terms)));
    }
    venue.observe(90_000);
    venue.block();
    venue.observe(90_000);
    venue.block();
    let call = venue.call();
    venue.trade(1, 2, call, 10, 100);
    (venue, call, expiry)
}

#[test]
fn positions_settle_at_the_mean_of_the_window() {
    let (mut venue, call, expiry) = venue_with_position();
    venue
        .run(1, place(limit(call, Side::Sell, 1, 500)))
        .unwrap();
    let before = (venue.cash(1), venue.cash(2));
    let mut index = 90_000;
    while venue.time < expiry.get() + 2_000 {
        venue.observe(index);
        venue.block();
        index += 10;
    }
    let settled = venue.events.iter().find_map(|e| match e {
        Event::InstrumentSettled {
            instrument,
            settlement,
            payoff,
        } => Some((*instrument, *settlement, *payoff)),
        _ => None,
    });
    let (instrument, settlement, payoff) = settled.expect("settled");
    assert_eq!(instrument, call);
    assert!(settlement > usd(90_000) && settlement < usd(index));
    assert_eq!(payoff.get(), settlement.get() - usd(90_000).get());
    let paid = payoff.get() / 100 * 10;
    assert_eq!(venue.cash(2) - before.1, paid);
    assert_eq!(venue.cash(1) - before.0, -paid);
    assert_eq!((venue.position(1, call), venue.position(2, call)), (0, 0));
    assert_eq!(venue.engine.live_orders(), 0);
    let again = venue.run(1, place(limit(call, Side::Sell, 1, 500)));
    assert_eq!(again, Err(Reject::InstrumentClosed));
}

#[test]
fn an_outage_over_the_window_defers_settlement_and_guesses_nothing() {
    let (mut venue, call, expiry) = venue_with_position();
    let silent = expiry.get() + 1_000 - venue.time;
    venue.block_after(silent);
    venue.block();
    let deferred = |e: &Event| matches!(e, Event::SettlementDeferred { samples: 0, .. });
    assert_eq!(venue.events.iter().filter(|e| deferred(e)).count(), 1);
    assert_eq!(venue.position(2, call), 10);
    let settled = |e: &[Event]| {
        e.iter()
            .any(|e| matches!(e, Event::InstrumentSettled { .. }))
    };
    assert!(venue.observe_until(91_000, 100, settled));
    assert_eq!(venue.position(2, call), 0);
}

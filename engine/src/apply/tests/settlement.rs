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
    venue_with_position_by(quick())
}

fn venue_with_position_by(parameters: Parameters) -> (Venue, InstrumentId, TimeMs) {
    let mut venue = Venue::with(&[1_000_000, 1_000_000], parameters);
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

/// The same venue with its gaps noticed, a ladder of seconds, and what an outage over the expiry does.
fn venue_over_expiry(samples_before: u64) -> (Venue, InstrumentId, TimeMs) {
    let mut parameters = quick();
    parameters.modes.block_gap_ms_max = 60_000;
    let modes = &mut parameters.modes;
    (modes.agreement_ms, modes.cancel_only_ms, modes.post_only_ms) = (5_000, 5_000, 5_000);
    let (mut venue, call, expiry) = venue_with_position_by(parameters);
    venue
        .run(1, place(limit(call, Side::Sell, 1, 500)))
        .unwrap();
    while venue.time < expiry.get() - 60_000 + samples_before * 1_000 {
        venue.observe(90_100);
        venue.block();
    }
    // Seen in the gap by validators whose blocks did not come: no sample.
    let silent = (expiry.get() + 1_000 - venue.time).max(61_000);
    venue.time += silent / 2;
    venue.observe(99_000);
    venue.block_after(silent - silent / 2);
    assert_eq!(venue.mode(), Mode::Halted);
    let ended = |e: &Event| {
        matches!(
            e,
            Event::OrderCancelled {
                reason: CancelReason::Settlement,
                ..
            }
        )
    };
    assert_eq!(venue.events.iter().filter(|e| ended(e)).count(), 1);
    assert_eq!(venue.engine.live_orders(), 0);
    (venue, call, expiry)
}

fn settled(events: &[Event]) -> Option<(Price, u32, bool)> {
    events.iter().find_map(|e| match e {
        Event::ExpirySettled {
            price,
            samples,
            waited_out,
            ..
        } => Some((*price, *samples, *waited_out)),
        _ => None,
    })
}

#[test]
fn enough_samples_before_an_outage_settle_at_once_after_it() {
    let (venue, call, _) = venue_over_expiry(50);
    let (price, samples, waited_out) = settled(&venue.events).expect("with the first block");
    assert_eq!((price, waited_out), (usd(90_100), false));
    assert!((48..=51).contains(&samples), "{samples}");
    assert_eq!(venue.position(2, call), 0);
}

#[test]
fn too_few_wait_for_more_and_none_is_of_the_gap() {
    let (mut venue, call, expiry) = venue_over_expiry(20);
    assert_eq!(settled(&venue.events), None);
    assert_eq!(venue.position(2, call), 10);
    assert!(venue.observe_until(90_300, 100, |e| settled(e).is_some()));
    let (price, samples, waited_out) = settled(&venue.events).unwrap();
    assert_eq!((samples, waited_out), (48, false), "four fifths of 60");
    // 20 or so at 90 100 and the rest at 90 300: a mean that the gap's 99 000 has no part in.
    assert!(price > usd(90_150) && price < usd(90_250), "{price}");
    assert!(venue.time - expiry.get() < 60_000);
}

#[test]
fn a_deferral_that_runs_out_settles_by_what_there_is() {
    let (mut venue, call, expiry) = venue_over_expiry(20);
    while settled(&venue.events).is_none() {
        venue.block_after(10_000);
    }
    let (price, samples, waited_out) = settled(&venue.events).unwrap();
    assert_eq!((price, waited_out), (usd(90_100), true));
    assert!(samples < 25);
    let waited = venue.time - expiry.get();
    assert!((120_000..140_000).contains(&waited), "{waited}");
    assert_eq!(venue.position(2, call), 0);
}

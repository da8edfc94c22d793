//! Gaps, halts, faults and the way back to trading.

use super::*;
use crate::event::ModeReason;

fn modes_reached(events: &[Event]) -> Vec<Mode> {
    let to = |event: &Event| match event {
        Event::ModeChanged { to, .. } => Some(*to),
        _ => None,
    };
    events.iter().filter_map(to).collect()
}

#[test]
fn a_long_gap_halts_and_the_ladder_leads_back() {
    let mut venue = Venue::new(&[1_000_000, 1_000_000]);
    let call = venue.call();
    let keep = limit(call, Side::Buy, 1, 1_000);
    let cancel = PlaceOrder {
        recovery: RecoveryPolicy::Cancel,
        ..limit(call, Side::Buy, 1, 1_001)
    };
    venue.run(1, place(keep)).unwrap();
    venue.run(1, place(cancel)).unwrap();
    assert_eq!(modes_reached(&venue.block_after(61_000)), [Mode::Halted]);
    // The next header carries a root at or past the halt.
    assert_eq!(modes_reached(&venue.block()), [Mode::Verify]);
    assert_eq!(
        venue.run(2, place(limit(call, Side::Sell, 1, 1_000))),
        Err(Reject::ModeForbids)
    );
    let start = venue.time;
    assert!(venue.observe_until(90_000, 60, |e| modes_reached(e) == [Mode::CancelOnly]));
    assert!(venue.time - start >= 30_000, "sources must agree for 30 s");
    let cancelled = venue.events.iter().filter(|e| {
        matches!(
            e,
            Event::OrderCancelled {
                reason: CancelReason::Recovery,
                ..
            }
        )
    });
    assert_eq!(cancelled.count(), 1);
    assert_eq!(venue.engine.live_orders(), 1);
    let since = venue.time;
    assert!(venue.observe_until(90_000, 400, |e| modes_reached(e) == [Mode::Auction]));
    assert!(venue.time - since >= 300_000);
    assert!(venue.observe_until(90_000, 200, |e| modes_reached(e) == [Mode::PostOnly]));
    assert!(venue.time - since >= 420_000);
    let taking = place(limit(call, Side::Sell, 1, 1_000));
    assert_eq!(venue.run(2, taking), Err(Reject::ModeForbids));
    let resting = PlaceOrder {
        post_only: PostOnly::Reject,
        ..limit(call, Side::Sell, 1, 9_000)
    };
    venue.run(2, place(resting)).unwrap();
    assert!(venue.observe_until(90_000, 100, |e| modes_reached(e) == [Mode::Open]));
    venue
        .run(2, place(limit(call, Side::Sell, 1, 1_000)))
        .unwrap();
}

#[test]
fn a_short_gap_just_goes_on() {
    let mut venue = Venue::new(&[1_000_000]);
    venue.block_after(60_000);
    assert_eq!(venue.mode(), Mode::Open);
}

#[test]
fn verify_waits_while_sources_disagree() {
    let mut venue = Venue::new(&[1_000_000]);
    venue.block_after(61_000);
    venue.block();
    assert_eq!(venue.mode(), Mode::Verify);
    for _ in 0..120 {
        for v in 0..4 {
            let at = TimeMs::new(venue.time);
            let source = |i: i64| {
                let price = if i < 2 { 91_000 } else { 90_000 };
                Some(SourcePrice {
                    price: usd(price),
                    updated_at: at,
                })
            };
            for underlying in [0, 1] {
                venue.report(
                    v,
                    Report::Observe(Observation {
                        underlying: UnderlyingId::new(underlying),
                        observed_at: at,
                        sources: (0..5).map(source).collect(),
                        forwards: Vec::new(),
                    }),
                );
            }
        }
        venue.block();
    }
    assert_eq!(venue.mode(), Mode::Verify);
}

#[test]
fn an_attested_halt_needs_a_quorum_and_lasts_until_it_is_taken_back() {
    let mut venue = Venue::new(&[1_000_000]);
    let halt = |halted, n| {
        Report::Attest(Proposal::SetHalt {
            halted,
            reference: Digest([n; 32]),
        })
    };
    for v in 0..2 {
        venue.report(v, halt(true, 1));
    }
    venue.block();
    assert_eq!(venue.mode(), Mode::Open);
    venue.report(1, halt(true, 1));
    let events = venue.block();
    assert!(events.contains(&Event::CommandRejected {
        index: 0,
        reject: Reject::AlreadyAttested
    }));
    venue.report(2, halt(true, 1));
    venue.block();
    assert_eq!(venue.mode(), Mode::Halted);
    for _ in 0..10 {
        venue.block();
    }
    assert_eq!(venue.mode(), Mode::Halted);
    for v in 0..3 {
        venue.report(v, halt(false, 2));
    }
    venue.block();
    venue.block();
    assert_eq!(venue.mode(), Mode::Verify);
}

#[test]
fn a_quarantined_command_is_skipped_and_trading_stops() {
    let mut venue = Venue::new(&[1_000_000, 1_000_000]);
    let call = venue.call();
    let next = venue.engine.height().next();
    venue.engine.quarantine(next, 0);
    venue.send(1, place(limit(call, Side::Buy, 1, 1_000)));
    venue.send(2, place(limit(call, Side::Buy, 1, 1_000)));
    let events = venue.block();
    assert!(events.contains(&Event::CommandQuarantined { index: 0 }));
    let refused = Event::CommandRejected {
        index: 1,
        reject: Reject::ModeForbids,
    };
    assert!(events.contains(&refused));
    assert!(events.iter().any(|e| matches!(
        e,
        Event::ModeChanged {
            to: Mode::ClearingOnly,
            reason: ModeReason::Quarantine { index: 0, .. },
            ..
        }
    )));
    assert_eq!(venue.engine.live_orders(), 0);
    // The next block's header carries the root of the faulty one, so the ladder begins.
    assert_eq!(modes_reached(&venue.block()), [Mode::Verify]);
}

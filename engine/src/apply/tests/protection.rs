//! Market-maker protection and self-trade prevention.

use super::*;

fn quote(call: InstrumentId, bid: i64, ask: i64) -> Action {
    let side = |price| {
        Some(QuoteSide {
            price: usd(price),
            qty: qty(10),
        })
    };
    let entries = vec![QuoteEntry {
        instrument: call,
        bid: side(bid),
        ask: side(ask),
    }];
    Action::MassQuote(MassQuote {
        entries,
        recovery: RecoveryPolicy::Cancel,
    })
}

/// Account 1 quotes a call under a limit of 0.08 coin an interval.
fn protected_maker(interval_ms: u32) -> (Venue, InstrumentId) {
    let mut venue = Venue::new(&[10_000_000, 10_000_000]);
    let call = venue.call();
    let limits = MarketMakerProtection {
        underlying: UnderlyingId::new(0),
        interval_ms,
        frozen_ms: 10_000,
        qty_max: qty(8),
        ..MarketMakerProtection::default()
    };
    venue
        .run(1, Action::SetMarketMakerProtection(limits))
        .unwrap();
    venue.run(1, quote(call, 1_000, 3_000)).unwrap();
    (venue, call)
}

#[test]
fn passing_a_limit_pulls_the_quotes_and_freezes() {
    let (mut venue, call) = protected_maker(5_000);
    venue
        .run(2, place(limit(call, Side::Buy, 4, 3_000)))
        .unwrap();
    assert_eq!(venue.engine.open_orders(AccountId::new(1)).len(), 2);
    let events = venue
        .run(2, place(limit(call, Side::Buy, 4, 3_000)))
        .unwrap();
    assert!(
        events
            .iter()
            .any(|e| matches!(e, Event::ProtectionTripped { .. }))
    );
    assert!(venue.engine.open_orders(AccountId::new(1)).is_empty());
    assert_eq!(
        venue.run(1, quote(call, 1_000, 3_000)),
        Err(Reject::ProtectionFrozen)
    );
    venue.block_after(10_000);
    venue.run(1, quote(call, 1_000, 3_000)).unwrap();
}

#[test]
fn the_interval_forgets() {
    let (mut venue, call) = protected_maker(2_000);
    venue
        .run(2, place(limit(call, Side::Buy, 5, 3_000)))
        .unwrap();
    venue.block_after(5_000);
    venue
        .run(2, place(limit(call, Side::Buy, 5, 3_000)))
        .unwrap();
    assert!(
        !venue
            .events
            .iter()
            .any(|e| matches!(e, Event::ProtectionTripped { .. }))
    );
}

#[test]
fn self_trades_end_by_the_takers_rule() {
    for (rule, resting_left, taker_rests) in [
        (SelfTradePrevention::CancelTaker, 1, false),
        (SelfTradePrevention::CancelMaker, 1, true),
        (SelfTradePrevention::CancelBoth, 0, false),
    ] {
        let mut venue = Venue::new(&[1_000_000]);
        let call = venue.call();
        venue
            .run(1, place(limit(call, Side::Sell, 5, 2_000)))
            .unwrap();
        let order = PlaceOrder {
            self_trade: rule,
            ..limit(call, Side::Buy, 5, 2_000)
        };
        venue.run(1, place(order)).unwrap();
        let orders = venue.engine.open_orders(AccountId::new(1));
        assert_eq!(orders.len(), resting_left, "{rule:?}");
        assert_eq!(
            orders.iter().any(|o| o.side == Side::Buy),
            taker_rests,
            "{rule:?}"
        );
        assert_eq!(venue.engine.trades(), 0);
    }
}

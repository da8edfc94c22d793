//! Orders, quotes and what refuses them.

use super::*;

#[test]
fn a_trade_moves_premium_fees_and_positions() {
    let mut venue = Venue::new(&[1_000_000, 1_000_000]);
    let call = venue.call();
    let mark = venue.engine.instruments().get(call).unwrap().mark.unwrap();
    let price = mark.price.get() / 1_000_000;
    venue
        .run(1, place(limit(call, Side::Sell, 10, price)))
        .unwrap();
    let events = venue
        .run(2, place(limit(call, Side::Buy, 4, price)))
        .unwrap();
    let trade = events.iter().find_map(|e| match e {
        Event::Traded(trade) => Some(*trade),
        _ => None,
    });
    let trade = trade.expect("a trade");
    assert_eq!(
        (trade.qty, trade.price, trade.maker_filled),
        (qty(4), usd(price), false)
    );
    let premium = price * 1_000_000 * 4 / 100;
    let cash = |venue: &Venue, id| venue.engine.account(AccountId::new(id)).unwrap().cash.get();
    assert_eq!(
        cash(&venue, 1),
        1_000_000_000_000 + premium - trade.maker_fee.get()
    );
    assert_eq!(
        cash(&venue, 2),
        1_000_000_000_000 - premium - trade.taker_fee.get()
    );
    let position = |id| {
        venue
            .engine
            .account(AccountId::new(id))
            .unwrap()
            .holding(call)
            .unwrap()
            .position
    };
    assert_eq!((position(1), position(2)), (-4, 4));
    assert_eq!(
        venue.engine.instruments().get(call).unwrap().open_interest,
        4
    );
}

#[test]
fn a_refused_command_leaves_only_its_reject() {
    let mut venue = Venue::new(&[1_000, 1_000_000]);
    let call = venue.call();
    let refused = venue.run(1, place(limit(call, Side::Sell, 1_000, 2_000)));
    assert_eq!(refused, Err(Reject::MarginBelowInitial));
    let mut off_tick = limit(call, Side::Buy, 1, 1_000);
    off_tick.price = OrderPrice::Limit(Price::new(1_000_500_000));
    assert_eq!(venue.run(2, place(off_tick)), Err(Reject::OffTick));
    let unknown = limit(InstrumentId::new(99_999), Side::Buy, 1, 1_000);
    assert_eq!(venue.run(2, place(unknown)), Err(Reject::UnknownInstrument));
    assert_eq!(venue.engine.live_orders(), 0);
}

#[test]
fn a_replayed_command_is_stale() {
    let mut venue = Venue::new(&[1_000_000]);
    let call = venue.call();
    let command = venue.user(1, place(limit(call, Side::Buy, 1, 1_000)));
    venue.queue.push(Command::User(command.clone()));
    venue.block();
    venue.queue.push(Command::User(command));
    let events = venue.block();
    assert!(events.contains(&Event::CommandRejected {
        index: 0,
        reject: Reject::StaleNonce
    }));
    assert_eq!(venue.engine.live_orders(), 1);
}

#[test]
fn a_repeated_client_id_is_answered_with_the_first_order() {
    let mut venue = Venue::new(&[1_000_000]);
    let call = venue.call();
    let order = PlaceOrder {
        client_id: ClientOrderId::new(5),
        ..limit(call, Side::Buy, 1, 1_000)
    };
    let first = venue.run(1, place(order.clone())).unwrap();
    let Event::OrderPlaced(placed) = &first[0] else {
        panic!("{first:?}")
    };
    let again = venue.run(1, place(order)).unwrap();
    assert!(matches!(&again[0], Event::OrderRepeated { order, .. } if *order == placed.order));
    assert_eq!(venue.engine.live_orders(), 1);
}

#[test]
fn quotes_are_replaced_in_place_and_pulled() {
    let mut venue = Venue::new(&[10_000_000]);
    let call = venue.call();
    let side = |price, hundredths| {
        Some(QuoteSide {
            price: usd(price),
            qty: qty(hundredths),
        })
    };
    let quote = |bid, ask| {
        let entries = vec![QuoteEntry {
            instrument: call,
            bid,
            ask,
        }];
        Action::MassQuote(MassQuote {
            entries,
            recovery: RecoveryPolicy::Cancel,
        })
    };
    venue
        .run(1, quote(side(1_000, 10), side(5_000, 10)))
        .unwrap();
    assert_eq!(venue.engine.live_orders(), 2);
    venue.run(1, quote(side(1_100, 20), None)).unwrap();
    assert_eq!(venue.engine.live_orders(), 2);
    assert_eq!(venue.engine.best(call, Side::Buy), Some(usd(1_100)));
    venue.run(1, quote(side(0, 0), side(0, 0))).unwrap();
    assert_eq!(venue.engine.live_orders(), 0);
    assert!(
        venue
            .engine
            .account(AccountId::new(1))
            .unwrap()
            .holdings
            .is_empty()
    );
}

#[test]
fn an_amend_keeps_priority_only_when_it_shrinks() {
    let mut venue = Venue::new(&[1_000_000, 1_000_000]);
    let call = venue.call();
    let placed = venue
        .run(1, place(limit(call, Side::Buy, 10, 1_000)))
        .unwrap();
    let Event::OrderPlaced(first) = placed[0].clone() else {
        panic!()
    };
    venue
        .run(2, place(limit(call, Side::Buy, 10, 1_000)))
        .unwrap();
    let amend = |hundredths| {
        Action::AmendOrder(AmendOrder {
            order: OrderRef::Id(first.order),
            qty: qty(hundredths),
            price: usd(1_000),
            post_only: PostOnly::Off,
        })
    };
    let front = |venue: &Venue| {
        venue
            .engine
            .queue(call, Side::Buy)
            .next()
            .unwrap()
            .owner
            .get()
    };
    venue.run(1, amend(5)).unwrap();
    assert_eq!(front(&venue), 1);
    venue.run(1, amend(6)).unwrap();
    assert_eq!(front(&venue), 2);
    assert_eq!(venue.engine.order(first.order).unwrap().remaining, qty(6));
}

#[test]
fn reduce_only_orders_never_turn_a_position() {
    let mut venue = Venue::new(&[1_000_000, 1_000_000]);
    let call = venue.call();
    venue
        .run(1, place(limit(call, Side::Sell, 10, 2_000)))
        .unwrap();
    venue
        .run(2, place(limit(call, Side::Buy, 10, 2_000)))
        .unwrap();
    let reduce = |hundredths| {
        place(PlaceOrder {
            reduce_only: true,
            ..limit(call, Side::Sell, hundredths, 3_000)
        })
    };
    assert_eq!(venue.run(1, reduce(1)), Err(Reject::WouldNotReduce));
    venue.run(2, reduce(50)).unwrap();
    let resting = venue.engine.open_orders(AccountId::new(2));
    assert_eq!(resting[0].remaining, qty(10));
    // The position shrinks by another way; the rest of the reduce-only order may not turn it.
    venue
        .run(1, place(limit(call, Side::Buy, 8, 1_500)))
        .unwrap();
    venue
        .run(2, place(limit(call, Side::Sell, 8, 1_500)))
        .unwrap();
    let events = venue
        .run(1, place(limit(call, Side::Buy, 10, 3_000)))
        .unwrap();
    let holding = venue
        .engine
        .account(AccountId::new(2))
        .unwrap()
        .holding(call)
        .copied();
    assert_eq!(holding.map_or(0, |h| h.position), 0);
    // The cut is told before the trade that it makes possible, so that the sizes add up.
    let order = resting[0].order;
    let told: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::OrderAmended {
                order,
                qty,
                kept_priority,
                ..
            } => Some((*order, *qty, *kept_priority)),
            Event::Traded(trade) => Some((trade.maker_order, trade.qty, trade.maker_filled)),
            _ => None,
        })
        .collect();
    assert_eq!(told, [(order, qty(2), true), (order, qty(2), true)]);
}

/// Account 2 is long 10 and offers 6 of them, reduce-only; 2 are filled, so it has 8 and an order of
/// 4. Then it sells `otherwise` elsewhere, and account 1 sends a buy of 5 that meets the order.
fn met_after_closing(otherwise: i64) -> (OrderId, Vec<Event>) {
    let mut venue = Venue::new(&[1_000_000, 1_000_000]);
    let call = venue.call();
    venue.trade(1, 2, call, 10, 2_000);
    let reduce = PlaceOrder {
        reduce_only: true,
        ..limit(call, Side::Sell, 6, 3_000)
    };
    venue.run(2, place(reduce)).unwrap();
    let order = venue.engine.open_orders(AccountId::new(2))[0].order;
    venue
        .run(1, place(limit(call, Side::Buy, 2, 3_000)))
        .unwrap();
    venue
        .run(1, place(limit(call, Side::Buy, otherwise, 1_500)))
        .unwrap();
    venue
        .run(2, place(limit(call, Side::Sell, otherwise, 1_500)))
        .unwrap();
    let events = venue
        .run(1, place(limit(call, Side::Buy, 5, 3_000)))
        .unwrap();
    (order, events)
}

#[test]
fn what_a_reduce_only_order_loses_is_told() {
    let ours = |order: OrderId, events: &[Event]| -> Vec<String> {
        let told = events.iter().filter_map(|event| match event {
            Event::OrderAmended { order: id, qty, .. } if *id == order => {
                Some(format!("cut to {}", qty.get() / 1_000_000))
            }
            Event::OrderCancelled {
                order: id,
                unfilled,
                reason: CancelReason::NotReducing,
                ..
            } if *id == order => Some(format!("ended with {}", unfilled.get() / 1_000_000)),
            Event::Traded(t) if t.maker_order == order => {
                let filled = if t.maker_filled { ", filled" } else { "" };
                Some(format!("traded {}{filled}", t.qty.get() / 1_000_000))
            }
            _ => None,
        });
        told.collect()
    };
    for (otherwise, expected) in [
        (4, &["traded 4, filled"][..]),
        (7, &["cut to 3", "traded 1, filled"]),
        (8, &["ended with 4"]),
    ] {
        let (order, events) = met_after_closing(otherwise);
        assert_eq!(
            ours(order, &events),
            expected,
            "{otherwise} closed elsewhere"
        );
    }
}

/// Account 2 offers 6 reduce-only and has only 3 left to reduce: that is what a fill-or-kill may count on.
#[test]
fn fill_or_kill_counts_on_no_more_than_reduce_only_makers_may_give() {
    for (wanted, filled) in [(3, true), (4, false)] {
        let mut venue = Venue::new(&[1_000_000, 1_000_000]);
        let call = venue.call();
        venue.trade(1, 2, call, 6, 2_000);
        let reduce = PlaceOrder {
            reduce_only: true,
            ..limit(call, Side::Sell, 6, 3_000)
        };
        venue.run(2, place(reduce)).unwrap();
        venue
            .run(1, place(limit(call, Side::Buy, 3, 1_500)))
            .unwrap();
        venue
            .run(2, place(limit(call, Side::Sell, 3, 1_500)))
            .unwrap();
        let whole = PlaceOrder {
            time_in_force: TimeInForce::FillOrKill,
            ..limit(call, Side::Buy, wanted, 3_000)
        };
        let outcome = venue.run(1, place(whole)).map(drop);
        let expected = if filled {
            Ok(())
        } else {
            Err(Reject::NotFillable)
        };
        assert_eq!(outcome, expected, "{wanted} wanted");
        assert_eq!(venue.position(2, call), if filled { 0 } else { 3 });
    }
}

#[test]
fn good_til_date_orders_end_with_their_time() {
    let mut venue = Venue::new(&[1_000_000]);
    let call = venue.call();
    let until = TimeMs::new(venue.time + 2_500);
    let order = PlaceOrder {
        time_in_force: TimeInForce::GoodTilDate(until),
        ..limit(call, Side::Buy, 1, 1_000)
    };
    venue.run(1, place(order)).unwrap();
    assert_eq!(venue.engine.live_orders(), 1);
    venue.block();
    let events = venue.block();
    assert!(events.iter().any(|e| matches!(
        e,
        Event::OrderCancelled {
            reason: CancelReason::Expired,
            ..
        }
    )));
    assert_eq!(venue.engine.live_orders(), 0);
}

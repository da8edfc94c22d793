use super::*;
use lifeboat_engine::event::{CancelReason, ModeReason, OrderPlaced};
use lifeboat_engine::types::ClientOrderId;
use proptest::prelude::*;

const COIN: i64 = 100_000_000;

fn placed(account: u32, order: u64, side: Side, price: i64, qty: i64) -> Event {
    Event::OrderPlaced(OrderPlaced {
        account: AccountId::new(account),
        order: OrderId::new(order),
        client_id: ClientOrderId::new(0),
        instrument: InstrumentId::new(0),
        side,
        price: Price::new(price),
        qty: Qty::new(qty),
        label: Vec::new(),
    })
}

/// Account 1's order 2 buys from account 0's order 1.
fn traded(number: u64, price: i64, qty: i64, maker_filled: bool) -> Trade {
    Trade {
        trade: number,
        instrument: InstrumentId::new(0),
        price: Price::new(price),
        qty: Qty::new(qty),
        taker_side: Side::Buy,
        taker: AccountId::new(1),
        taker_order: OrderId::new(2),
        taker_fee: Cash::new(5),
        maker: AccountId::new(0),
        maker_order: OrderId::new(1),
        maker_fee: Cash::new(-2),
        maker_filled,
    }
}

fn auditor() -> LedgerAuditor {
    LedgerAuditor::new(&[0, 1].map(|account| (AccountId::new(account), Cash::new(1_000))))
}

fn settled(account: u32, position: i64, cash: i64) -> Event {
    Event::PositionSettled {
        account: AccountId::new(account),
        instrument: InstrumentId::new(0),
        position: Qty::new(position),
        cash: Cash::new(cash),
    }
}

fn story() -> Vec<Event> {
    vec![
        placed(0, 1, Side::Sell, 100, 3 * COIN),
        placed(1, 2, Side::Buy, 110, 2 * COIN),
        Event::Traded(traded(1, 100, 2 * COIN, false)),
    ]
}

#[track_caller]
fn check(events: &[Event], invariant: Option<&str>) {
    let result = auditor().observe(1, events);
    assert_eq!(
        result.as_ref().err().map(|finding| finding.invariant),
        invariant,
        "{result:?}"
    );
}

#[test]
fn an_honest_stream_passes_and_an_engine_that_agrees_too() -> Result<(), Finding> {
    let mut auditor = auditor();
    auditor.observe(1, &story())?;
    let account = AccountId::new;
    let place = |n| (InstrumentId::new(0), account(n));
    let engine = LedgerState {
        cash: [(account(0), Cash::new(1_202)), (account(1), Cash::new(795))].into(),
        positions: [
            (place(0), Qty::new(-2 * COIN)),
            (place(1), Qty::new(2 * COIN)),
        ]
        .into(),
        open_orders: [(account(0), 1)].into(),
        fees: Cash::new(2),
        fund: Cash::new(1),
    };
    auditor.compare(&engine)?;
    type Damage = fn(&mut LedgerState);
    let breaks: [(&str, Damage); 5] = [
        ("I1", |engine| engine.fund = Cash::ZERO),
        ("cash", |engine| {
            engine.cash.insert(AccountId::new(0), Cash::new(1_201));
            engine.fund = Cash::new(2);
        }),
        ("I8", |engine| {
            engine.positions.pop_last();
        }),
        ("positions", |engine| engine.positions.clear()),
        ("orders", |engine| engine.open_orders.clear()),
    ];
    for (invariant, damage) in breaks {
        let mut damaged = engine.clone();
        damage(&mut damaged);
        let found = auditor
            .clone()
            .compare(&damaged)
            .map_err(|finding| finding.invariant);
        assert!(
            matches!(found, Err("I8")) || found == Err(invariant),
            "{found:?}"
        );
    }
    auditor.observe(4, &[settled(0, -2 * COIN, -60), settled(1, 2 * COIN, 60)])
}

#[test]
fn each_lie_is_found() {
    check(&story(), None);
    let with = |change: fn(&mut Trade)| {
        let mut events = story();
        if let Some(Event::Traded(trade)) = events.last_mut() {
            change(trade);
        }
        events
    };
    check(&with(|trade| trade.trade = 2), Some("I3"));
    check(&with(|trade| trade.price = Price::new(101)), Some("I4"));
    check(&with(|trade| trade.qty = Qty::new(4 * COIN)), Some("I4"));
    check(
        &with(|trade| trade.qty = Qty::new(COIN / 1_000)),
        Some("I1"),
    );
    check(&with(|trade| trade.maker_filled = true), Some("I4"));
    check(&with(|trade| trade.maker = AccountId::new(1)), Some("I4"));
    let halted = Event::ModeChanged {
        from: Mode::Open,
        to: Mode::Halted,
        reason: ModeReason::Attested,
    };
    check(&[&[halted], story().as_slice()].concat(), Some("I7"));
    let half = [story(), vec![settled(1, 2 * COIN, 60)]].concat();
    check(&half, Some("I1"));
    let wrong = [story(), vec![settled(1, COIN, 0), settled(0, -COIN, 0)]].concat();
    check(&wrong, Some("positions"));
    let again = [story(), vec![placed(0, 1, Side::Sell, 100, COIN)]].concat();
    check(&again, Some("I4"));
    let cancelled = Event::OrderCancelled {
        account: AccountId::new(0),
        order: OrderId::new(1),
        instrument: InstrumentId::new(0),
        unfilled: Qty::new(3 * COIN),
        reason: CancelReason::User,
    };
    check(&[story(), vec![cancelled]].concat(), Some("I4"));
    assert_eq!(
        auditor().observe(2, &[]).map_err(|f| f.invariant),
        Err("I3")
    );
}

proptest! {
    /// Any run of trades between two orders conserves money and positions, fee by fee.
    #[test]
    fn trades_conserve(fills in proptest::collection::vec((1i64..50, -3i64..9, -3i64..9), 1..40)) {
        let total: i64 = fills.iter().map(|(lots, ..)| lots * COIN).sum();
        let mut events = vec![
            placed(0, 1, Side::Sell, 100, total + COIN),
            placed(1, 2, Side::Buy, 100, total + COIN),
        ];
        for (number, (lots, taker_fee, maker_fee)) in (1..).zip(&fills) {
            events.push(Event::Traded(Trade {
                taker_fee: Cash::new(*taker_fee),
                maker_fee: Cash::new(*maker_fee),
                ..traded(number, 100, lots * COIN, false)
            }));
        }
        let mut auditor = auditor();
        prop_assert_eq!(auditor.observe(1, &events), Ok(()));
        prop_assert_eq!(auditor.checks()["I7"], fills.len() as u64);
        let held = auditor.position(InstrumentId::new(0), AccountId::new(1));
        prop_assert_eq!(held, i128::from(total));
    }
}

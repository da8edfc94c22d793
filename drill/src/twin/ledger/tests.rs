use super::*;
use lifeboat_engine::event::{CancelReason, LiquidationBasis, ModeReason, OrderPlaced};
use lifeboat_engine::types::{Address, ClientOrderId, SettlementChain};
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

/// Account 2's order 2 buys from account 1's order 1.
fn traded(number: u64, price: i64, qty: i64, maker_filled: bool) -> Trade {
    Trade {
        trade: number,
        instrument: InstrumentId::new(0),
        price: Price::new(price),
        qty: Qty::new(qty),
        taker_side: Side::Buy,
        taker: AccountId::new(2),
        taker_order: OrderId::new(2),
        taker_fee: Cash::new(5),
        maker: AccountId::new(1),
        maker_order: OrderId::new(1),
        maker_fee: Cash::new(-2),
        maker_filled,
    }
}

fn auditor() -> LedgerAuditor {
    let genesis = [1, 2].map(|account| (AccountId::new(account), Cash::new(1_000)));
    LedgerAuditor::new(&genesis, vec![Qty::new(COIN)])
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
        placed(1, 1, Side::Sell, 100, 3 * COIN),
        placed(2, 2, Side::Buy, 110, 2 * COIN),
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
    let fund_and_accounts = [(0, 1), (1, 1_202), (2, 795)];
    let engine = LedgerState {
        cash: fund_and_accounts
            .map(|(n, cash)| (account(n), Cash::new(cash)))
            .into(),
        positions: [
            (place(1), Qty::new(-2 * COIN)),
            (place(2), Qty::new(2 * COIN)),
        ]
        .into(),
        open_orders: [(account(1), 1)].into(),
        fees: Cash::new(2),
    };
    auditor.compare(&engine)?;
    type Damage = fn(&mut LedgerState);
    let breaks: [(&str, Damage); 5] = [
        ("I1", |engine| engine.fees = Cash::ZERO),
        ("cash", |engine| {
            engine.cash.insert(AccountId::new(1), Cash::new(1_201));
            engine.fees = Cash::new(3);
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
        let found = auditor.clone().compare(&damaged);
        assert_eq!(found.map_err(|finding| finding.invariant), Err(invariant));
    }
    auditor.observe(4, &[settled(1, -2 * COIN, -60), settled(2, 2 * COIN, 60)])
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
    check(&with(|trade| trade.maker = AccountId::new(2)), Some("I4"));
    let halted = Event::ModeChanged {
        from: Mode::Open,
        to: Mode::Halted,
        reason: ModeReason::Attested,
    };
    check(&[&[halted], story().as_slice()].concat(), Some("I7"));
    let half = [story(), vec![settled(2, 2 * COIN, 60)]].concat();
    check(&half, Some("I1"));
    let wrong = [story(), vec![settled(2, COIN, 0), settled(1, -COIN, 0)]].concat();
    check(&wrong, Some("positions"));
    let again = [story(), vec![placed(1, 1, Side::Sell, 100, COIN)]].concat();
    check(&again, Some("I4"));
    let cancelled = Event::OrderCancelled {
        account: AccountId::new(1),
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

#[test]
fn liquidations_move_parts_and_the_fund_pays_below_zero() -> Result<(), Finding> {
    let mut auditor = auditor();
    auditor.observe(1, &story())?;
    let (account, buyer) = (AccountId::new(1), AccountId::new(2));
    let sold = |price: i64| {
        let (part_ppm, price) = (500_000, Cash::new(price));
        Event::LiquidationSold {
            account,
            buyer,
            part_ppm,
            price,
            maintenance: Cash::ZERO,
            mark_to_market: Cash::ZERO,
            basis: LiquidationBasis::default(),
        }
    };
    auditor.observe(4, &[sold(40)])?;
    let held = |auditor: &LedgerAuditor, n: u32| {
        auditor.position(InstrumentId::new(0), AccountId::new(n)) / i128::from(COIN)
    };
    assert_eq!((held(&auditor, 1), held(&auditor, 2)), (-1, 1));
    assert_eq!(
        auditor.cash,
        [(account, 601 + 40), (buyer, 795 + 601 - 40)].into()
    );
    auditor.observe(5, &[sold(-7)])?;
    assert_eq!(auditor.cash[&account], 321, "half of 641 stays, rounded up");
    assert_eq!(auditor.venue, 3 - 7);
    let paid_by_fund = Cash::new(5);
    auditor.observe(
        6,
        &[Event::LiquidationToFund {
            account,
            paid_by_fund,
            basis: LiquidationBasis::default(),
        }],
    )?;
    assert_eq!((auditor.cash[&account], auditor.venue), (0, 3 - 7 + 321));
    assert_eq!(held(&auditor, 1), 0);
    Ok(())
}

proptest! {
    /// Any run of trades between two orders conserves money and positions, fee by fee.
    #[test]
    fn trades_conserve(fills in proptest::collection::vec((1i64..50, -3i64..9, -3i64..9), 1..40)) {
        let total: i64 = fills.iter().map(|(lots, ..)| lots * COIN).sum();
        let mut events = vec![
            placed(1, 1, Side::Sell, 100, total + COIN),
            placed(2, 2, Side::Buy, 100, total + COIN),
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
        let held = auditor.position(InstrumentId::new(0), AccountId::new(2));
        prop_assert_eq!(held, i128::from(total));
    }
}

fn withdrawn(account: u32, amount: i64) -> Event {
    Event::Withdrawn {
        account: Some(AccountId::new(account)),
        chain: SettlementChain::new(1),
        number: 0,
        owner: Address::default(),
        recipient: Address::default(),
        amount: Cash::new(amount),
    }
}

#[test]
fn nobody_takes_out_more_than_their_cash() {
    check(&[withdrawn(1, 1_000), withdrawn(2, 1)], None);
    check(&[withdrawn(1, 1_001)], Some("I6"));
    check(&[withdrawn(1, 600), withdrawn(1, 401)], Some("I6"));
    check(&[withdrawn(1, 0)], Some("I6"));
}

#[test]
fn an_account_that_was_bought_leaves_its_cash_to_the_fund() -> Result<(), Finding> {
    let mut auditor = auditor();
    let bought = Event::AccountCrystallised {
        account: AccountId::new(1),
        chain: SettlementChain::new(1),
        number: 0,
        cash: Cash::new(1_000),
        paid: Cash::new(30),
    };
    auditor.observe(1, &[bought, withdrawn(1, 30)])?;
    assert!(auditor.observe(3, &[withdrawn(1, 1)]).is_err());
    Ok(())
}

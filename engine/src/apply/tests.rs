#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]
//! The engine from outside: blocks in, events and roots out.

use alloc::vec::Vec;

use ed25519_zebra::SigningKey;

use super::Engine;
use crate::auth::check_batch;
use crate::block::Block;
use crate::command::*;
use crate::event::{CancelReason, Event};
use crate::params::{Genesis, GenesisAccount, Parameters};
use crate::reject::Reject;
use crate::types::*;

const START: u64 = 1_795_348_800_000;

/// A venue of one process: four validators, traders with session keys, a running clock.
struct Venue {
    engine: Engine,
    time: u64,
    nonce: u64,
    events: Vec<Event>,
    queue: Vec<Command>,
}

fn session(account: u32) -> SigningKey {
    SigningKey::from([account as u8 + 10; 32])
}

fn validator(index: u16) -> SigningKey {
    SigningKey::from([index as u8 + 100; 32])
}

fn public(key: &SigningKey) -> PublicKey {
    PublicKey(<[u8; 32]>::from(ed25519_zebra::VerificationKeyBytes::from(
        key,
    )))
}

fn usd(whole: i64) -> Price {
    Price::new(whole * 1_000_000)
}

/// Hundredths of a coin.
fn qty(hundredths: i64) -> Qty {
    Qty::new(hundredths * 1_000_000)
}

impl Venue {
    fn new(cash: &[i64]) -> Self {
        let account = |i: usize, usd: i64| GenesisAccount {
            owner: Address([i as u8 + 1; 20]),
            cash: Cash::new(usd * 1_000_000),
            model: MarginModel::Portfolio,
            sessions: vec![(public(&session(i as u32 + 1)), TimeMs::new(u64::MAX))],
        };
        let genesis = Genesis {
            chain: ChainId([7; 32]),
            time: TimeMs::new(START),
            validators: (0..4).map(|i| public(&validator(i))).collect(),
            parameters: Parameters::default(),
            accounts: cash
                .iter()
                .enumerate()
                .map(|(i, c)| account(i, *c))
                .collect(),
        };
        let engine = Engine::genesis(&genesis).unwrap();
        let mut venue = Self {
            engine,
            time: START,
            nonce: 0,
            events: Vec::new(),
            queue: Vec::new(),
        };
        venue.observe(90_000);
        venue.block();
        venue.observe(90_000);
        venue.block();
        venue
    }

    fn nonce(&mut self) -> Nonce {
        self.nonce += 1;
        Nonce::new(self.nonce)
    }

    fn user(&mut self, account: u32, action: Action) -> UserCommand {
        let payload = UserPayload {
            account: AccountId::new(account),
            nonce: self.nonce(),
            valid_until: TimeMs::new(0),
            action,
        };
        let key = session(account);
        let signature = key.sign(&payload.session_message(&ChainId([7; 32]))).into();
        let signature = UserSignature::Session {
            key: public(&key),
            signature,
        };
        UserCommand { payload, signature }
    }

    fn send(&mut self, account: u32, action: Action) {
        let command = self.user(account, action);
        self.queue.push(Command::User(command));
    }

    fn report(&mut self, index: u16, report: Report) {
        let key = validator(index);
        let payload = ValidatorPayload {
            validator: ValidatorId::new(index),
            nonce: self.nonce(),
            report,
        };
        let signature = key.sign(&payload.message(&ChainId([7; 32]))).into();
        let command = ValidatorCommand {
            payload,
            key: public(&key),
            signature,
        };
        self.queue.push(Command::Validator(command));
    }

    fn observe(&mut self, index: i64) {
        for v in 0..4 {
            for (underlying, price) in [(0, index), (1, index / 30)] {
                let at = TimeMs::new(self.time);
                let source = SourcePrice {
                    price: usd(price),
                    updated_at: at,
                };
                self.report(
                    v,
                    Report::Observe(Observation {
                        underlying: UnderlyingId::new(underlying),
                        observed_at: at,
                        sources: vec![Some(source); 5],
                        forwards: Vec::new(),
                    }),
                );
            }
        }
    }

    /// Orders what is queued 1 s after the last block, and returns that block's events.
    fn block(&mut self) -> Vec<Event> {
        self.time += 1_000;
        let commands = check_batch(&ChainId([7; 32]), core::mem::take(&mut self.queue));
        let block = Block {
            height: self.engine.height().next(),
            time: TimeMs::new(self.time),
            agreed: None,
            commands,
        };
        let mut events = Vec::new();
        self.engine.apply(&block, &mut events).unwrap();
        assert_eq!(self.engine.ledger().audit(), 0, "I1");
        self.events.extend(events.iter().cloned());
        events
    }

    /// One command in a block of its own: its events, or its reject.
    fn run(&mut self, account: u32, action: Action) -> Result<Vec<Event>, Reject> {
        self.send(account, action);
        let events = self.block();
        let at = events
            .iter()
            .position(|e| matches!(e, Event::CommandApplied { .. }));
        match at {
            Some(at) => Ok(events[at + 1..].to_vec()),
            None => Err(events
                .iter()
                .find_map(|e| match e {
                    Event::CommandRejected { reject, .. } => Some(*reject),
                    _ => None,
                })
                .unwrap()),
        }
    }

    /// A call near the money on BTC.
    fn call(&self) -> InstrumentId {
        let mut all = self.engine.instruments().iter();
        all.find(|i| i.terms.strike == usd(90_000) && i.terms.kind == OptionKind::Call)
            .map(|i| i.id)
            .unwrap()
    }
}

fn limit(instrument: InstrumentId, side: Side, hundredths: i64, price: i64) -> PlaceOrder {
    PlaceOrder {
        instrument,
        side,
        qty: qty(hundredths),
        price: OrderPrice::Limit(usd(price)),
        time_in_force: TimeInForce::GoodTilCancelled,
        post_only: PostOnly::Off,
        reduce_only: false,
        self_trade: SelfTradePrevention::CancelTaker,
        recovery: RecoveryPolicy::Keep,
        protected: false,
        client_id: ClientOrderId::new(0),
        label: Vec::new(),
    }
}

fn place(order: PlaceOrder) -> Action {
    Action::PlaceOrder(order)
}

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
    venue
        .run(1, place(limit(call, Side::Buy, 10, 3_000)))
        .unwrap();
    let holding = venue
        .engine
        .account(AccountId::new(2))
        .unwrap()
        .holding(call)
        .copied();
    assert_eq!(holding.map_or(0, |h| h.position), 0);
}

#[test]
fn a_snapshot_restores_the_same_future() {
    let mut venue = Venue::new(&[1_000_000, 1_000_000]);
    let call = venue.call();
    venue
        .run(1, place(limit(call, Side::Sell, 10, 2_000)))
        .unwrap();
    venue
        .run(2, place(limit(call, Side::Buy, 4, 2_000)))
        .unwrap();
    let mut bytes = Vec::new();
    venue.engine.write_snapshot(&mut bytes).unwrap();
    let restored = Engine::read_snapshot(&mut bytes.as_slice()).unwrap();
    assert_eq!(restored.state_root(), venue.engine.state_root());
    let mut again = Vec::new();
    restored.write_snapshot(&mut again).unwrap();
    assert_eq!(bytes, again);
    let mut twin = Venue {
        engine: restored,
        events: Vec::new(),
        queue: Vec::new(),
        ..venue
    };
    let mut venue = venue_like(&twin, &bytes);
    for v in [&mut venue, &mut twin] {
        v.observe(91_000);
        v.send(1, place(limit(call, Side::Buy, 3, 2_500)));
        v.send(2, Action::CancelAll(CancelScope::Account));
    }
    assert_eq!(venue.block(), twin.block());
    assert_eq!(venue.engine.state_root(), twin.engine.state_root());
}

fn venue_like(other: &Venue, bytes: &[u8]) -> Venue {
    Venue {
        engine: Engine::read_snapshot(&mut &bytes[..]).unwrap(),
        time: other.time,
        nonce: other.nonce,
        events: Vec::new(),
        queue: Vec::new(),
    }
}

#[test]
fn a_corrupted_snapshot_is_refused() {
    let venue = Venue::new(&[1_000_000]);
    let mut bytes = Vec::new();
    venue.engine.write_snapshot(&mut bytes).unwrap();
    for at in (0..bytes.len()).step_by(97) {
        let mut bad = bytes.clone();
        bad[at] ^= 1;
        assert!(
            Engine::read_snapshot(&mut bad.as_slice()).is_err(),
            "byte {at}"
        );
        assert!(Engine::read_snapshot(&mut &bytes[..at]).is_err());
    }
}

#[test]
fn accounts_and_orders_are_provable() {
    let mut venue = Venue::new(&[1_000_000]);
    let call = venue.call();
    let placed = venue
        .run(1, place(limit(call, Side::Buy, 10, 1_000)))
        .unwrap();
    let Event::OrderPlaced(order) = &placed[0] else {
        panic!()
    };
    assert!(venue.engine.prove_account(AccountId::new(1)).is_some());
    assert!(venue.engine.prove_order(order.order).is_some());
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

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]
//! The engine from outside: blocks in, events and roots out.

mod auction;
mod auction_properties;
mod breakers;
mod guards;
mod liquidation;
mod orders;
mod protection;
mod recovery;
mod settlement;
mod snapshots;
mod vaults;
mod waterfall;

use alloc::vec::Vec;

use ed25519_zebra::SigningKey;

use super::Engine;
use crate::auth::check_batch;
use crate::block::{AgreedRoot, Block};
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
    agreed: Option<AgreedRoot>,
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
        Self::with(cash, Parameters::default())
    }

    fn with(cash: &[i64], parameters: Parameters) -> Self {
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
            parameters,
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
            agreed: None,
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
        self.block_after(1_000)
    }

    fn block_after(&mut self, ms: u64) -> Vec<Event> {
        self.time += ms;
        let commands = check_batch(&ChainId([7; 32]), core::mem::take(&mut self.queue));
        let block = Block {
            height: self.engine.height().next(),
            time: TimeMs::new(self.time),
            agreed: self.agreed,
            commands,
        };
        let mut events = Vec::new();
        let applied = self.engine.apply(&block, &mut events).unwrap();
        self.agreed = Some(AgreedRoot {
            height: applied.height,
            root: applied.state_root,
        });
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

    /// Blocks 1 s apart with observations of an index, until `done` or for so many.
    fn observe_until(&mut self, index: i64, blocks: u64, done: impl Fn(&[Event]) -> bool) -> bool {
        (0..blocks).any(|_| {
            self.observe(index);
            let events = self.block();
            done(&events)
        })
    }

    fn mode(&self) -> Mode {
        self.engine.mode().mode
    }

    fn cash(&self, account: u32) -> i64 {
        self.engine
            .account(AccountId::new(account))
            .unwrap()
            .cash
            .get()
    }

    fn position(&self, account: u32, instrument: InstrumentId) -> i64 {
        let account = self.engine.account(AccountId::new(account)).unwrap();
        account.holding(instrument).map_or(0, |h| h.position)
    }

    /// Opens a position: `buyer` takes what `seller` offers.
    fn trade(&mut self, seller: u32, buyer: u32, instrument: InstrumentId, lots: i64, price: i64) {
        self.run(seller, place(limit(instrument, Side::Sell, lots, price)))
            .unwrap();
        self.run(buyer, place(limit(instrument, Side::Buy, lots, price)))
            .unwrap();
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

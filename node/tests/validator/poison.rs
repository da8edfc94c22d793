//! An order that panics the real engine while it matches, on four validators under the seeded
//! runtime. The feature `poison` makes an order labelled `poison` do so.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ed25519_zebra::{SigningKey, VerificationKeyBytes};
use lifeboat_engine::command::{
    Action, CancelScope, Observation, OrderPrice, PlaceOrder, Report, SourcePrice, UserCommand,
    UserPayload, UserSignature, ValidatorCommand, ValidatorPayload,
};
use lifeboat_engine::params::{Genesis, GenesisAccount, Parameters};
use lifeboat_engine::types::{
    AccountId, Address, Cash, ChainId, ClientOrderId, Height, InstrumentId, MarginModel, Mode,
    Nonce, OptionKind, PostOnly, Price, PublicKey, Qty, RecoveryPolicy, SelfTradePrevention, Side,
    TimeInForce, TimeMs, UnderlyingId, ValidatorId,
};
use lifeboat_engine::{Command, Event, Reject};
use lifeboat_node::node::Tuning;
use lifeboat_node::outcome::{Answer, Outcome, Verdict};
use lifeboat_node::sim::{Cluster, ClusterConfig, LinkQuality, run};
use lifeboat_node::venue::Venue;

const CHAIN: ChainId = ChainId([9; 32]);
const INDEX: i64 = 90_000;
/// Time between two rounds of observations.
const ROUND_MS: u64 = 100;
const ROUNDS_MAX: usize = 600;

fn trader(account: u32) -> SigningKey {
    SigningKey::from([account as u8 + 10; 32])
}

fn validator(index: u16) -> SigningKey {
    SigningKey::from([index as u8 + 100; 32])
}

fn public(key: &SigningKey) -> PublicKey {
    PublicKey(VerificationKeyBytes::from(key).into())
}

/// A venue whose ladder back to trading takes seconds.
fn genesis() -> Genesis {
    let mut parameters = Parameters::default();
    parameters.modes.agreement_ms = 1_000;
    parameters.modes.cancel_only_ms = 1_000;
    parameters.modes.post_only_ms = 1_000;
    parameters.auction.length_ms = 1_000;
    let account = |number: u32| GenesisAccount {
        owner: Address([number as u8; 20]),
        cash: Cash::new(1_000_000_000_000),
        model: MarginModel::Portfolio,
        sessions: vec![(public(&trader(number)), TimeMs::new(u64::MAX))],
    };
    Genesis {
        chain: CHAIN,
        time: TimeMs::new(0),
        validators: (0..4).map(|index| public(&validator(index))).collect(),
        parameters,
        accounts: vec![account(1), account(2)],
    }
}

fn config() -> ClusterConfig {
    let mut tuning = Tuning::default();
    tuning.snapshots.every = 20;
    ClusterConfig {
        blueprint: Arc::new(Venue::new(genesis()).expect("a sound genesis")),
        validators: 4,
        tuning,
        link: LinkQuality::default(),
        timeout: Duration::from_secs(300),
    }
}

/// What the test sends, and what it learns.
struct Stage {
    cluster: Cluster,
    nonce: u64,
}

impl Stage {
    fn nonce(&mut self) -> Nonce {
        self.nonce += 1;
        Nonce::new(self.nonce)
    }

    fn user(&mut self, account: u32, action: Action) -> Command {
        let payload = UserPayload {
            account: AccountId::new(account),
            nonce: self.nonce(),
            valid_until: TimeMs::new(0),
            action,
        };
        let key = trader(account);
        let signature = UserSignature::Session {
            key: public(&key),
            signature: key.sign(&payload.session_message(&CHAIN)).into(),
        };
        Command::User(UserCommand { payload, signature })
    }

    /// Sends a command to a validator and waits for what became of it.
    async fn send(&mut self, node: usize, account: u32, action: Action) -> Arc<Outcome> {
        let command = self.user(account, action);
        match self.cluster.submit(node, command).await {
            Ok(Answer::Outcome(outcome)) => outcome,
            other => panic!("no outcome: {other:?}"),
        }
    }

    /// Every validator observes both indices.
    fn observe(&mut self) {
        let now = self.cluster.now();
        for index in 0..4u16 {
            for (underlying, price) in [(0, INDEX), (1, INDEX / 30)] {
                let source = SourcePrice {
                    price: Price::new(price * 1_000_000),
                    updated_at: now,
                };
                let report = Report::Observe(Observation {
                    underlying: UnderlyingId::new(underlying),
                    observed_at: now,
                    sources: vec![Some(source); 5],
                    forwards: Vec::new(),
                });
                let payload = ValidatorPayload {
                    validator: ValidatorId::new(index),
                    nonce: self.nonce(),
                    report,
                };
                let key = validator(index);
                let signature = key.sign(&payload.message(&CHAIN)).into();
                drop(self.cluster.submit(
                    usize::from(index),
                    Command::Validator(ValidatorCommand {
                        payload,
                        key: public(&key),
                        signature,
                    }),
                ));
            }
        }
    }

    /// Observes until every running validator's status shows `mode`.
    async fn until_mode(&mut self, mode: Mode) {
        for _ in 0..ROUNDS_MAX {
            let modes = self.modes();
            if !modes.is_empty() && modes.iter().all(|at| *at == mode) {
                return;
            }
            self.observe();
            self.cluster.sleep(ROUND_MS).await;
        }
        panic!("not {mode:?}: {:?}", self.modes());
    }

    /// Waits, without a new observation, until the status of so many validators says that matching
    /// has stopped.
    async fn until_clearing(&mut self, validators: usize) {
        let said = [Mode::ClearingOnly, Mode::Verify];
        for _ in 0..ROUNDS_MAX {
            let modes = self.modes();
            assert_eq!(modes.len(), validators);
            if modes.iter().all(|mode| said.contains(mode)) {
                return;
            }
            self.cluster.sleep(10).await;
        }
        panic!("matching goes on: {:?}", self.modes());
    }

    fn modes(&self) -> Vec<Mode> {
        let nodes = (0..self.cluster.len()).filter_map(|index| self.cluster.node(index));
        let now = self.cluster.now();
        nodes.map(|node| node.status(now).mode).collect()
    }

    /// The call on BTC at the money, once it has a mark.
    async fn call(&mut self) -> InstrumentId {
        for _ in 0..ROUNDS_MAX {
            let node = self.cluster.node(0).expect("it runs");
            let found = node.with_engine(|engine| {
                let mut marked = engine.instruments().iter().filter(|i| i.mark.is_some());
                let near = marked.find(|i| {
                    i.terms.strike == Price::new(INDEX * 1_000_000)
                        && i.terms.kind == OptionKind::Call
                });
                near.map(|i| i.id)
            });
            if let Some(Some(call)) = found {
                return call;
            }
            self.observe();
            self.cluster.sleep(ROUND_MS).await;
        }
        panic!("no option was listed and marked");
    }

    /// Every running validator has one root at one height, and each ran on past it.
    async fn agree(&mut self) {
        let tip = self.cluster.height(0);
        assert!(self.cluster.reached(tip + 2, 10_000).await, "no progress");
        let running: Vec<usize> = (0..4)
            .filter(|index| self.cluster.node(*index).is_some())
            .collect();
        let roots: BTreeMap<usize, _> = running
            .iter()
            .map(|index| (*index, self.cluster.root_at(*index, Height::new(tip))))
            .collect();
        assert!(roots[&running[0]].is_some(), "no root at {tip}");
        let first = roots[&running[0]];
        assert!(roots.values().all(|root| *root == first), "I2: {roots:?}");
        for index in running {
            assert_eq!(self.cluster.stopped(index), None, "validator {index}");
        }
    }
}

fn order(instrument: InstrumentId, side: Side, label: &[u8]) -> Action {
    Action::PlaceOrder(PlaceOrder {
        instrument,
        side,
        qty: Qty::new(10_000_000),
        price: OrderPrice::Limit(Price::new(2_000_000_000)),
        time_in_force: TimeInForce::GoodTilCancelled,
        post_only: PostOnly::Off,
        reduce_only: false,
        self_trade: SelfTradePrevention::CancelTaker,
        recovery: RecoveryPolicy::Keep,
        protected: false,
        client_id: ClientOrderId::new(0),
        label: label.to_vec(),
    })
}

fn traded(outcome: &Arc<Outcome>) -> bool {
    let mut events = outcome.events.iter();
    events.any(|event| matches!(event, Event::Traded(_)))
}

/// The places that a validator's engine holds as quarantined, by the answers: height and index.
fn place(outcome: &Outcome) -> (Height, u32) {
    (outcome.height, outcome.index)
}

#[test]
fn a_poisoned_order_is_set_aside_by_its_number_and_the_venue_comes_back() {
    let ((), _) = run(21, config(), |cluster| async move {
        let mut stage = Stage { cluster, nonce: 0 };
        let call = stage.call().await;
        stage.send(0, 1, order(call, Side::Sell, b"")).await;
        assert!(traded(&stage.send(1, 2, order(call, Side::Buy, b"")).await));
        // One validator is away when it happens, and meets the order in its replay.
        stage.cluster.crash(3, 0).await;

        let poisoned = stage.send(1, 2, order(call, Side::Buy, b"poison")).await;
        assert_eq!(poisoned.verdict, Verdict::Quarantined);
        stage.until_clearing(3).await;
        // Nothing matches, and what is no trade goes on.
        let refused = stage.send(0, 1, order(call, Side::Sell, b"")).await;
        assert_eq!(refused.verdict, Verdict::Rejected(Reject::ModeForbids));
        let cancel = Action::CancelAll(CancelScope::Quotes);
        assert_eq!(stage.send(2, 1, cancel).await.verdict, Verdict::Applied);
        stage.cluster.start(3).await;
        stage.agree().await;

        // The ladder leads back by time and agreement alone, and the venue trades again.
        for mode in [Mode::CancelOnly, Mode::Auction, Mode::PostOnly, Mode::Open] {
            stage.until_mode(mode).await;
        }
        stage.send(3, 1, order(call, Side::Sell, b"")).await;
        assert!(traded(&stage.send(2, 2, order(call, Side::Buy, b"")).await));

        // A second one, on validators that have restarted from disk, is another number.
        for index in 0..4 {
            stage.cluster.crash(index, 0).await;
        }
        for index in 0..4 {
            stage.cluster.start(index).await;
        }
        let again = stage.send(0, 1, order(call, Side::Sell, b"poison")).await;
        assert_eq!(again.verdict, Verdict::Quarantined);
        assert!(place(&again) > place(&poisoned));
        stage.agree().await;
    });
}

//! Sealed orders through four validators under the seeded runtime: the closing block becomes final, the
//! validators' shares open the seals, and a share that is none changes nothing.

use std::sync::Arc;
use std::time::Duration;

use ed25519_zebra::{SigningKey, VerificationKeyBytes};
use lifeboat_engine::auction::{Phase, SealSignature, SealedTerms, seal, seal_target};
use lifeboat_engine::command::{
    Action, Observation, Proposal, Report, SealOrder, SourcePrice, UserCommand, UserPayload,
    UserSignature, ValidatorCommand, ValidatorPayload,
};
use lifeboat_engine::params::{Genesis, GenesisAccount, Parameters};
use lifeboat_engine::types::{
    AccountId, Address, Cash, ChainId, Digest, InstrumentId, Lots, MarginModel, Mode, Nonce,
    OptionKind, Price, PriceTicks, PublicKey, RecoveryPolicy, SelfTradePrevention, Side, TimeMs,
    UnderlyingId, ValidatorId,
};
use lifeboat_engine::{Command, Engine};
use lifeboat_node::node::Tuning;
use lifeboat_node::opening::Opener;
use lifeboat_node::outcome::{Answer, Outcome, Verdict};
use lifeboat_node::sim::{Cluster, ClusterConfig, LinkQuality, cluster_seal_key, run};
use lifeboat_node::venue::Venue;
use rand::SeedableRng as _;
use rand::rngs::StdRng;

const CHAIN: ChainId = ChainId([9; 32]);
const BTC: UnderlyingId = UnderlyingId::new(0);
const INDEX: i64 = 90_000;
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

fn config() -> ClusterConfig {
    let mut parameters = Parameters::default();
    parameters.modes.agreement_ms = 1_000;
    parameters.modes.cancel_only_ms = 1_000;
    parameters.modes.post_only_ms = 1_000;
    parameters.auction.length_ms = 4_000;
    parameters.auction.key = cluster_seal_key(4);
    let account = |number: u32| GenesisAccount {
        owner: Address([number as u8; 20]),
        cash: Cash::new(1_000_000_000_000),
        model: MarginModel::Portfolio,
        sessions: vec![(public(&trader(number)), TimeMs::new(u64::MAX))],
    };
    let genesis = Genesis {
        chain: CHAIN,
        time: TimeMs::new(0),
        validators: (0..4).map(|index| public(&validator(index))).collect(),
        parameters,
        accounts: vec![account(1), account(2)],
    };
    ClusterConfig {
        blueprint: Arc::new(Venue::new(genesis).expect("a sound genesis")),
        validators: 4,
        tuning: Tuning::default(),
        link: LinkQuality::default(),
        timeout: Duration::from_secs(300),
    }
}

struct Stage {
    cluster: Cluster,
    openers: Vec<Opener>,
    nonce: u64,
}

impl Stage {
    fn nonce(&mut self) -> Nonce {
        self.nonce += 1;
        Nonce::new(self.nonce)
    }

    fn read<R>(&self, index: usize, read: impl FnOnce(&Engine) -> R) -> R {
        let node = self.cluster.node(index).expect("it runs");
        node.with_engine(read).expect("a venue")
    }

    async fn send(&mut self, account: u32, action: Action) -> Arc<Outcome> {
        let nonce = self.nonce();
        self.send_with(account, nonce, action).await
    }

    async fn send_with(&mut self, account: u32, nonce: Nonce, action: Action) -> Arc<Outcome> {
        let payload = UserPayload {
            account: AccountId::new(account),
            nonce,
            valid_until: TimeMs::new(0),
            action,
        };
        let key = trader(account);
        let signature = UserSignature::Session {
            key: public(&key),
            signature: key.sign(&payload.session_message(&CHAIN)).into(),
        };
        let command = Command::User(UserCommand { payload, signature });
        match self.cluster.submit(0, command).await {
            Ok(Answer::Outcome(outcome)) => outcome,
            other => panic!("no outcome: {other:?}"),
        }
    }

    fn report(&mut self, index: u16, report: Report) {
        let payload = ValidatorPayload {
            validator: ValidatorId::new(index),
            nonce: self.nonce(),
            report,
        };
        let key = validator(index);
        let signature = key.sign(&payload.message(&CHAIN)).into();
        let command = Command::Validator(ValidatorCommand {
            payload,
            key: public(&key),
            signature,
        });
        drop(self.cluster.submit(usize::from(index), command));
    }

    fn observe(&mut self) {
        let now = self.cluster.now();
        for index in 0..4 {
            for (underlying, price) in [(0, INDEX), (1, INDEX / 30)] {
                let source = SourcePrice {
                    price: Price::new(price * 1_000_000),
                    updated_at: now,
                };
                let observation = Observation {
                    underlying: UnderlyingId::new(underlying),
                    observed_at: now,
                    sources: vec![Some(source); 5],
                    forwards: Vec::new(),
                };
                self.report(index, Report::Observe(observation));
            }
        }
    }

    /// What every validator's opener says by itself.
    fn open(&mut self, who: impl Iterator<Item = usize>) {
        for index in who {
            let me = ValidatorId::new(index as u16);
            let node = self.cluster.node(index).expect("it runs");
            let opener = &mut self.openers[index];
            let said = node.with_engine(|engine| opener.reports(engine, me));
            for report in said.expect("a venue") {
                self.report(index as u16, report);
            }
        }
    }

    /// Observes and opens until `done` holds of the first validator's engine.
    async fn until(&mut self, what: &str, done: impl Fn(&Engine) -> bool) {
        for _ in 0..ROUNDS_MAX {
            if self.read(0, &done) {
                return;
            }
            self.observe();
            self.open(0..3);
            self.cluster.sleep(ROUND_MS).await;
        }
        panic!("{what} never came");
    }

    async fn reach_auction(&mut self) {
        for (halted, mode, reference) in [(true, Mode::Halted, 1), (false, Mode::Auction, 2)] {
            for index in 0..3 {
                let reference = Digest([reference; 32]);
                let proposal = Proposal::SetHalt { halted, reference };
                self.report(index, Report::Attest(proposal));
            }
            self.until("the mode", |engine| engine.mode().mode == mode)
                .await;
        }
    }

    async fn seal(&mut self, account: u32, side: Side, call: (InstrumentId, u32)) {
        let (number, began) = self.read(0, |engine| {
            let auction = engine.auctions().get(BTC).expect("it runs");
            (auction.number, auction.began_at)
        });
        let nonce = self.nonce();
        let terms = SealedTerms {
            account: AccountId::new(account),
            nonce,
            instrument: call.0,
            side,
            price: PriceTicks::new(call.1),
            lots: Lots::new(3),
            rests: true,
            reduce_only: false,
            recovery: RecoveryPolicy::Keep,
            self_trade: SelfTradePrevention::CancelTaker,
        };
        let mut rng = StdRng::seed_from_u64(nonce.get());
        let key = cluster_seal_key(4).expect("a key");
        let target = seal_target(&CHAIN, number, began);
        let ciphertext = seal(&mut rng, &key, &target, &terms).expect("a key");
        let order = SealOrder {
            underlying: BTC,
            auction: number,
            ciphertext,
            bond: Cash::new(50_000_000_000),
        };
        let action = Action::SealOrder(Box::new(order));
        let outcome = self.send_with(account, nonce, action).await;
        assert_eq!(outcome.verdict, Verdict::Applied);
    }

    fn position(&self, index: usize, account: u32, call: InstrumentId) -> i64 {
        self.read(index, |engine| {
            let account = engine
                .account(AccountId::new(account))
                .expect("it is there");
            account.holding(call).map_or(0, |holding| holding.position)
        })
    }
}

fn call(engine: &Engine) -> Option<(InstrumentId, u32)> {
    let mut marked = engine.instruments().iter().filter(|i| i.mark.is_some());
    let near = marked.find(|i| {
        i.terms.strike == Price::new(INDEX * 1_000_000) && i.terms.kind == OptionKind::Call
    });
    near.map(|i| {
        let mark = i.mark.expect("it is marked").price.get();
        (i.id, u32::try_from(mark / i.tick.get()).expect("a price"))
    })
}

#[test]
fn the_validators_open_what_was_sealed_once_its_closing_block_is_final() {
    let ((), _) = run(22, config(), |cluster| async move {
        let openers = (0..4).map(|index| cluster.opener(index, CHAIN)).collect();
        let mut stage = Stage {
            cluster,
            openers,
            nonce: 0,
        };
        stage.until("a mark", |engine| call(engine).is_some()).await;
        let near = stage.read(0, call).expect("it is marked");
        stage.reach_auction().await;
        stage.seal(1, Side::Sell, near).await;
        stage.seal(2, Side::Buy, near).await;
        let number = stage.read(0, |engine| engine.auctions().get(BTC).unwrap().number);

        // While it collects no validator says a word of it.
        for index in 0..4 {
            let me = ValidatorId::new(index as u16);
            let node = stage.cluster.node(index).unwrap();
            let opener = &mut stage.openers[index];
            let said = node.with_engine(|engine| opener.reports(engine, me));
            assert_eq!(said, Some(Vec::new()));
        }
        // One validator sends something else than its share, before the others' arrive.
        for _ in 0..ROUNDS_MAX {
            let closed = |engine: &Engine| {
                let auction = engine.auctions().get(BTC);
                auction.is_some_and(|auction| matches!(auction.phase, Phase::Closed { .. }))
            };
            if stage.read(0, closed) {
                break;
            }
            stage.observe();
            stage.cluster.sleep(ROUND_MS).await;
        }
        stage.report(
            3,
            Report::ShareOpening {
                auction: number,
                participant: 0,
                share: SealSignature([7; 48]),
            },
        );
        stage
            .until("the opening", |engine| engine.auctions().is_empty())
            .await;
        stage
            .until("the mode", |engine| engine.mode().mode == Mode::Open)
            .await;
        let height = stage.cluster.height(0);
        assert!(stage.cluster.reached(height + 2, 10_000).await);
        for index in 0..4 {
            assert_eq!(stage.position(index, 1, near.0), -3);
            assert_eq!(stage.position(index, 2, near.0), 3);
        }
        // Ordinary trading goes on.
        let cancel = Action::CancelAll(lifeboat_engine::command::CancelScope::Account);
        assert_eq!(stage.send(1, cancel).await.verdict, Verdict::Applied);
    });
}

//! Random accounts, prices and outages through one engine: money is conserved and positions add up down
//! every waterfall (I1, I8), and nobody is liquidated by what does not count (I5), as an auditor finds
//! from the events alone.

use std::collections::BTreeMap;

use ed25519_zebra::{SigningKey, VerificationKeyBytes};
use lifeboat_drill::market::{Feed, FeedSettings};
use lifeboat_drill::rehearsal::ledger_state;
use lifeboat_drill::twin::LedgerAuditor;
use lifeboat_engine::auth::check_batch;
use lifeboat_engine::command::{
    Action, Observation, OrderPrice, PlaceOrder, Proposal, Report, SourcePrice, UserCommand,
    UserPayload, UserSignature,
};
use lifeboat_engine::params::OperatorStake;
use lifeboat_engine::types::{
    AccountId, Address, Cash, ChainId, ClientOrderId, Digest, InstrumentId, MarginModel, Nonce,
    OptionKind, PostOnly, Price, PublicKey, Qty, RecoveryPolicy, SelfTradePrevention, Side,
    TimeInForce, TimeMs, UnderlyingId, ValidatorId,
};
use lifeboat_engine::{
    AgreedRoot, Block, Command, Engine, Event, Genesis, GenesisAccount, Parameters,
};
use proptest::prelude::*;

const CHAIN: ChainId = ChainId([5; 32]);
const START: u64 = 1_795_348_800_000;
const ACCOUNTS: u32 = 6;
const BTC: UnderlyingId = UnderlyingId::new(0);

/// What happens before the next block.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// The price moves by so many thousandths.
    Move(i64),
    /// Sources fail: so many say nothing, one says half.
    Fail(usize),
    /// They are all back.
    Heal,
    /// One sells calls (or, with `true`, puts) to another.
    Trade(u32, u32, i64, bool),
    /// Somebody bids for a part of an account.
    Bid(u32, u32, u32),
    /// Nobody makes a block for so long; what was seen meanwhile comes late.
    Silence(u64),
    /// A quorum halts the venue, or takes it back.
    Halt(bool),
    /// Just time.
    Pass,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (-60_i64..60).prop_map(Step::Move),
        2 => prop_oneof![Just(-350_i64), Just(600)].prop_map(Step::Move),
        1 => (1_usize..4).prop_map(Step::Fail),
        2 => Just(Step::Heal),
        6 => (1..=ACCOUNTS, 1..=ACCOUNTS, 1_i64..3_000, any::<bool>())
            .prop_map(|(a, b, lots, put)| Step::Trade(a, b, lots, put)),
        3 => (1..=ACCOUNTS, 1..=ACCOUNTS, 1_u32..400_000).prop_map(|(a, b, p)| Step::Bid(a, b, p)),
        1 => (61_000_u64..400_000).prop_map(Step::Silence),
        1 => any::<bool>().prop_map(Step::Halt),
        6 => Just(Step::Pass),
    ]
}

/// Rules whose times fit into some hundred blocks.
fn parameters(fund: i64, stake: i64) -> Parameters {
    let mut parameters = Parameters::default();
    let liquidation = &mut parameters.liquidation;
    (liquidation.fast_ms, liquidation.slow_ms) = (10_000, 20_000);
    (liquidation.insolvent_ms, liquidation.grace_ms) = (5_000, 30_000);
    let modes = &mut parameters.modes;
    (modes.agreement_ms, modes.cancel_only_ms) = (3_000, 2_000);
    modes.post_only_ms = 2_000;
    let auction = &mut parameters.auction;
    (auction.length_ms, auction.last_phase_ms) = (3_000, 1_000);
    parameters.underlyings.truncate(1);
    parameters.waterfall.fund = Cash::new(fund);
    parameters.waterfall.stake = Some(OperatorStake {
        owner: Address([0xee; 20]),
        cash: Cash::new(stake),
    });
    parameters
}

struct Venue {
    engine: Engine,
    auditor: LedgerAuditor,
    feeds: Vec<Feed>,
    time: u64,
    price: i64,
    failed: usize,
    nonce: u64,
    queue: Vec<Command>,
    agreed: Option<AgreedRoot>,
    seen: BTreeMap<&'static str, u64>,
}

fn session(account: u32) -> SigningKey {
    SigningKey::from([account as u8; 32])
}

fn public(key: &SigningKey) -> PublicKey {
    PublicKey(VerificationKeyBytes::from(key).into())
}

impl Venue {
    fn new(fund: i64, stake: i64, cash: &[i64]) -> Self {
        let feed = |validator: u16| {
            let settings = FeedSettings {
                seed: 1,
                validator: ValidatorId::new(validator),
                sources: 5,
                noise: 0.0,
            };
            Feed::new(settings, [100 + validator as u8; 32], CHAIN)
        };
        let feeds: Vec<Feed> = (0..4).map(feed).collect();
        let account = |(at, usd): (u32, &i64)| GenesisAccount {
            owner: Address([at as u8; 20]),
            cash: Cash::new(usd * 1_000_000),
            model: match at {
                1 => MarginModel::Standard,
                _ => MarginModel::Portfolio,
            },
            sessions: vec![(public(&session(at)), TimeMs::new(u64::MAX))],
        };
        let genesis = Genesis {
            chain: CHAIN,
            time: TimeMs::new(START),
            validators: feeds.iter().map(Feed::public).collect(),
            parameters: parameters(fund, stake),
            accounts: (1..).zip(cash).map(account).collect(),
        };
        Self {
            engine: Engine::genesis(&genesis).expect("a genesis"),
            auditor: LedgerAuditor::of(&genesis),
            feeds,
            time: START,
            price: 90_000,
            failed: 0,
            nonce: 0,
            queue: Vec::new(),
            agreed: None,
            seen: BTreeMap::new(),
        }
    }

    fn observe(&mut self) {
        let at = TimeMs::new(self.time);
        let source = |place: usize| {
            let whole = match (place, self.failed) {
                (4, 1..) => self.price / 2,
                _ => self.price,
            };
            (place >= self.failed).then_some(SourcePrice {
                price: Price::new(whole * 1_000_000),
                updated_at: at,
            })
        };
        let observation = Observation {
            underlying: BTC,
            observed_at: at,
            sources: (0..5).map(source).collect(),
            forwards: Vec::new(),
        };
        for feed in &mut self.feeds {
            self.queue
                .push(feed.sign(Report::Observe(observation.clone())));
        }
    }

    fn send(&mut self, account: u32, action: Action) {
        self.nonce += 1;
        let payload = UserPayload {
            account: AccountId::new(account),
            nonce: Nonce::new(self.nonce),
            valid_until: TimeMs::new(0),
            action,
        };
        let key = session(account);
        let signature = key.sign(&payload.session_message(&CHAIN)).into();
        let signature = UserSignature::Session {
            key: public(&key),
            signature,
        };
        self.queue
            .push(Command::User(UserCommand { payload, signature }));
    }

    fn option(&self, put: bool) -> Option<(InstrumentId, Price)> {
        let kind = if put {
            OptionKind::Put
        } else {
            OptionKind::Call
        };
        let mut listed = self.engine.instruments().iter().filter(|i| i.is_listed());
        let found = listed.find(|i| i.terms.kind == kind && i.terms.strike.get() == 90_000_000_000);
        found.and_then(|i| Some((i.id, i.mark?.price)))
    }

    fn trade(&mut self, seller: u32, buyer: u32, lots: i64, put: bool) {
        let Some((instrument, mark)) = self.option(put).filter(|_| seller != buyer) else {
            return;
        };
        let price = (mark.get() / 1_000_000).max(1) * 1_000_000;
        for (account, side) in [(seller, Side::Sell), (buyer, Side::Buy)] {
            let order = PlaceOrder {
                instrument,
                side,
                qty: Qty::new(lots * 1_000_000),
                price: OrderPrice::Limit(Price::new(price)),
                time_in_force: TimeInForce::GoodTilCancelled,
                post_only: PostOnly::Off,
                reduce_only: false,
                self_trade: SelfTradePrevention::CancelMaker,
                recovery: RecoveryPolicy::Keep,
                protected: false,
                client_id: ClientOrderId::new(0),
                label: Vec::new(),
            };
            self.send(account, Action::PlaceOrder(order));
        }
    }

    fn act(&mut self, step: Step) {
        match step {
            Step::Move(thousandths) => {
                let moved = self.price + self.price * thousandths / 1_000;
                self.price = moved.clamp(20_000, 400_000);
            }
            Step::Fail(sources) => self.failed = sources,
            Step::Heal => self.failed = 0,
            Step::Trade(seller, buyer, lots, put) => self.trade(seller, buyer, lots, put),
            Step::Bid(bidder, account, part_ppm) => self.send(
                bidder,
                Action::BidLiquidation {
                    account: AccountId::new(account),
                    part_ppm,
                    price_max: Cash::new(i64::MAX),
                },
            ),
            Step::Silence(ms) => {
                self.time += ms / 2;
                self.observe();
                self.time += ms / 2;
            }
            Step::Halt(halted) => {
                self.nonce += 1;
                let mut reference = [0; 32];
                reference[..8].copy_from_slice(&self.nonce.to_le_bytes());
                let reference = Digest(reference);
                for feed in self.feeds.iter_mut().take(3) {
                    let halt = Proposal::SetHalt { halted, reference };
                    self.queue.push(feed.sign(Report::Attest(halt)));
                }
            }
            Step::Pass => {}
        }
    }

    fn block(&mut self) {
        self.time += 1_000;
        let commands = check_batch(&CHAIN, std::mem::take(&mut self.queue));
        let block = Block {
            height: self.engine.height().next(),
            time: TimeMs::new(self.time),
            agreed: self.agreed,
            commands,
        };
        let mut events = Vec::new();
        let applied = self
            .engine
            .apply(&block, &mut events)
            .expect("the next block");
        self.agreed = Some(AgreedRoot {
            height: applied.height,
            root: applied.state_root,
        });
        assert_eq!(self.engine.ledger().audit(), 0, "I1");
        self.auditor
            .observe_at(block.time, applied.first_event, &events)
            .expect("the auditor finds nothing");
        for event in &events {
            let name = match event {
                Event::LiquidationStarted { .. } => "started",
                Event::LiquidationSold { .. } => "sold",
                Event::LiquidationToFund { .. } => "to fund",
                Event::ClosedOut { .. } => "closed out",
                Event::PositionTornUp { .. } => "torn up",
                Event::GainHaircut { .. } => "haircut",
                Event::GraceGiven { .. } => "grace",
                Event::IndexLost { .. } => "index lost",
                Event::ModeChanged { .. } => "mode",
                _ => continue,
            };
            *self.seen.entry(name).or_default() += 1;
        }
    }

    fn run(&mut self, steps: &[Step]) {
        for step in steps {
            self.act(*step);
            self.observe();
            self.block();
        }
        // Quiet at the end, long enough for what began to end.
        self.failed = 0;
        self.act(Step::Halt(false));
        for _ in 0..80 {
            self.observe();
            self.block();
        }
        let found = self.auditor.compare(&ledger_state(&self.engine));
        found.expect("the engine's books are the auditor's");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn no_liquidation_breaks_the_books_or_a_rule(
        fund in 0_i64..3_000_000_000_000,
        stake in 0_i64..1_000_000_000_000,
        cash in prop::collection::vec(30_000_i64..3_000_000, ACCOUNTS as usize),
        steps in prop::collection::vec(step(), 60..160),
    ) {
        let mut venue = Venue::new(fund, stake, &cash);
        venue.run(&steps);
    }
}

/// The steps above do reach every stage; else the property would say little.
#[test]
fn one_long_run_reaches_every_stage() {
    let mut venue = Venue::new(
        100_000_000_000,
        50_000_000_000,
        &[300_000; ACCOUNTS as usize],
    );
    let mut steps = vec![Step::Pass, Step::Pass];
    for buyer in 2..=5 {
        steps.push(Step::Trade(6, buyer, 450, false));
        steps.push(Step::Trade(1, buyer, 250, true));
    }
    steps.extend([
        Step::Fail(3),
        Step::Pass,
        Step::Heal,
        Step::Move(160),
        Step::Silence(90_000),
    ]);
    steps.extend([Step::Pass; 20]);
    steps.extend([
        Step::Move(150),
        Step::Pass,
        Step::Bid(2, 6, 10_000),
        Step::Move(500),
    ]);
    steps.extend([Step::Bid(3, 6, 20_000); 30]);
    venue.run(&steps);
    for name in [
        "started",
        "sold",
        "closed out",
        "torn up",
        "haircut",
        "index lost",
        "mode",
    ] {
        let times = venue.seen.get(name).copied().unwrap_or(0);
        assert!(times > 0, "{name} never happened: {:?}", venue.seen);
    }
    assert!(
        venue
            .auditor
            .checks()
            .get("I5")
            .is_some_and(|checks| *checks > 2)
    );
}

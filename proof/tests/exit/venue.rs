//! I9 over an engine's own states: whatever was traded, at any price, the exit values of all accounts sum
//! to what the vault holds for them, less a rounding of under a unit an account.

use ed25519_zebra::SigningKey;
use lifeboat_engine::auth::check_batch;
use lifeboat_engine::command::*;
use lifeboat_engine::params::VaultParameters;
use lifeboat_engine::types::*;
use lifeboat_engine::vault::Deposit;
use lifeboat_engine::{Block, Command, Engine, Genesis, GenesisAccount, Parameters};
use lifeboat_proof::exit::{
    EXIT_LEVELS, ExitCheckpoint, ExitLeaf, prove_withdrawal, verify_exit_leaf, verify_withdrawal,
};
use proptest::prelude::*;

const VENUE: ChainId = ChainId([7; 32]);
const CHAIN: SettlementChain = SettlementChain::new(31_337);
const START: u64 = 1_795_348_800_000;
const TRADERS: u32 = 5;

fn key(seed: u8) -> SigningKey {
    SigningKey::from([seed; 32])
}

fn public(key: &SigningKey) -> PublicKey {
    PublicKey(<[u8; 32]>::from(ed25519_zebra::VerificationKeyBytes::from(
        key,
    )))
}

fn usd(whole: i64) -> Price {
    Price::new(whole * 1_000_000)
}

struct Venue {
    engine: Engine,
    time: u64,
    nonce: u64,
    queue: Vec<Command>,
}

impl Venue {
    fn new() -> Self {
        let account = |at: u32| GenesisAccount {
            owner: Address([at as u8; 20]),
            cash: Cash::new(400_000_000_000 + i64::from(at)),
            model: MarginModel::Portfolio,
            sessions: vec![(public(&key(at as u8)), TimeMs::new(u64::MAX))],
        };
        let vault = VaultParameters {
            chain: CHAIN,
            vault: Address([0xaa; 20]),
            pool: Address([0xbb; 20]),
            withdrawal_min: Cash::new(1),
        };
        let genesis = Genesis {
            chain: VENUE,
            time: TimeMs::new(START),
            validators: vec![public(&key(100))],
            parameters: Parameters {
                vaults: vec![vault],
                ..Parameters::default()
            },
            accounts: (1..=TRADERS).map(account).collect(),
        };
        let mut venue = Self {
            engine: Engine::genesis(&genesis).unwrap(),
            time: START,
            nonce: 0,
            queue: Vec::new(),
        };
        for _ in 0..2 {
            venue.observe(90_000);
            venue.block();
        }
        venue
    }

    fn block(&mut self) {
        self.time += 1_000;
        let block = Block {
            height: self.engine.height().next(),
            time: TimeMs::new(self.time),
            agreed: None,
            commands: check_batch(&VENUE, core::mem::take(&mut self.queue)),
        };
        self.engine.apply(&block, &mut Vec::new()).unwrap();
    }

    fn nonce(&mut self) -> Nonce {
        self.nonce += 1;
        Nonce::new(self.nonce)
    }

    fn report(&mut self, report: Report) {
        let payload = ValidatorPayload {
            validator: ValidatorId::new(0),
            nonce: self.nonce(),
            report,
        };
        let signature = key(100).sign(&payload.message(&VENUE)).into();
        self.queue.push(Command::Validator(ValidatorCommand {
            payload,
            key: public(&key(100)),
            signature,
        }));
    }

    fn observe(&mut self, index: i64) {
        for (underlying, price) in [(0, index), (1, index / 30)] {
            let at = TimeMs::new(self.time);
            let source = SourcePrice {
                price: usd(price),
                updated_at: at,
            };
            self.report(Report::Observe(Observation {
                underlying: UnderlyingId::new(underlying),
                observed_at: at,
                sources: vec![Some(source); 5],
                forwards: Vec::new(),
            }));
        }
    }

    fn attest(&mut self, event: VaultEvent) {
        self.report(Report::Attest(Proposal::Vault {
            chain: CHAIN,
            event,
        }));
        self.block();
    }

    fn order(
        &mut self,
        account: u32,
        instrument: InstrumentId,
        side: Side,
        lots: i64,
        price: Price,
    ) {
        let lot = self.engine.instruments().get(instrument).unwrap().lot;
        let payload = UserPayload {
            account: AccountId::new(account),
            nonce: self.nonce(),
            valid_until: TimeMs::new(0),
            action: Action::PlaceOrder(PlaceOrder {
                instrument,
                side,
                qty: Qty::new(lots * lot.get()),
                price: OrderPrice::Limit(price),
                time_in_force: TimeInForce::GoodTilCancelled,
                post_only: PostOnly::Off,
                reduce_only: false,
                self_trade: SelfTradePrevention::CancelTaker,
                recovery: RecoveryPolicy::Keep,
                protected: false,
                client_id: ClientOrderId::new(0),
                label: Vec::new(),
            }),
        };
        let key = key(account as u8);
        let signature = UserSignature::Session {
            key: public(&key),
            signature: key.sign(&payload.session_message(&VENUE)).into(),
        };
        self.queue
            .push(Command::User(UserCommand { payload, signature }));
    }

    /// Two accounts trade at the mark, if their margin lets them.
    fn trade(&mut self, seller: u32, buyer: u32, instrument: InstrumentId, lots: i64) {
        let listed = self.engine.instruments().get(instrument).unwrap();
        let ticks = listed.mark.unwrap_or_default().price.get() / listed.tick.get();
        let price = Price::new((ticks + 1) * listed.tick.get());
        self.order(seller, instrument, Side::Sell, lots, price);
        self.order(buyer, instrument, Side::Buy, lots, price);
        self.block();
    }

    fn instrument(&self, pick: usize) -> InstrumentId {
        let listed: Vec<_> = self
            .engine
            .instruments()
            .iter()
            .filter(|i| i.is_listed())
            .collect();
        listed[pick % listed.len()].id
    }
}

fn leaves(checkpoint: &ExitCheckpoint, accounts: u32) -> Vec<ExitLeaf> {
    let root = &checkpoint.summaries[0].accounts_root;
    let leaf = |id| {
        let (bytes, path) = checkpoint.prove_account(AccountId::new(id)).unwrap();
        verify_exit_leaf(root, &bytes, &path).unwrap()
    };
    (0..accounts).map(leaf).collect()
}

/// The law at these prices, and that the summary says what there is.
fn check_law(venue: &Venue, prices: &[Price; 2]) {
    let engine = &venue.engine;
    let checkpoint = ExitCheckpoint::of(engine).unwrap();
    let summary = &checkpoint.summaries[0];
    let leaves = leaves(&checkpoint, engine.ledger().len());
    let vault = engine.vaults()[0].collateral();
    assert!(summary.balances());
    assert_eq!(i128::from(summary.accounts_cash.get()), vault);
    let cash: i128 = leaves.iter().map(|leaf| i128::from(leaf.cash.get())).sum();
    assert_eq!(cash, vault, "I1");
    for underlying in 0..2 {
        for level in 0..EXIT_LEVELS {
            let ladders = leaves.iter().flat_map(|leaf| &leaf.ladders);
            let mine = ladders.filter(|entry| entry.underlying.get() == underlying);
            let sum: i128 = mine.map(|entry| i128::from(entry.ladder.0[level])).sum();
            assert_eq!(sum, 0, "I9 at level {level}");
        }
    }
    let points = summary.points(prices).unwrap();
    let values: Vec<i128> = leaves
        .iter()
        .map(|leaf| leaf.view().value(&points).unwrap().get())
        .collect();
    let sum: i128 = values.iter().sum();
    assert!(sum <= vault && vault - sum < leaves.len() as i128, "I9");
    if summary.is_safe(prices) {
        let owed: i128 = values[1..].iter().map(|value| value.min(&0)).sum();
        assert!(values[0] + owed >= 0, "the fund covers who is under zero");
    }
}

#[derive(Clone, Debug)]
enum Step {
    Trade(u32, u32, usize, i64),
    Index(i64),
    Deposit(u32, i64),
    Force(u32, i64),
}

fn step() -> impl Strategy<Value = Step> {
    let account = || 1..=TRADERS;
    prop_oneof![
        4 => (account(), account(), 0_usize..200, 1_i64..40)
            .prop_map(|(a, b, pick, lots)| Step::Trade(a, b, pick, lots)),
        1 => (70_000_i64..110_000).prop_map(Step::Index),
        1 => (account(), 1_i64..1_000_000_000).prop_map(|(a, units)| Step::Deposit(a, units)),
        1 => (account(), 1_i64..50_000_000_000).prop_map(|(a, units)| Step::Force(a, units)),
    ]
}

fn take(venue: &mut Venue, step: &Step) {
    match *step {
        Step::Trade(seller, buyer, pick, lots) => {
            let instrument = venue.instrument(pick);
            venue.trade(seller, buyer, instrument, lots);
        }
        Step::Index(price) => {
            venue.observe(price);
            venue.block();
        }
        Step::Deposit(account, units) => venue.attest(VaultEvent::Deposits {
            first: venue.engine.vaults()[0].deposits.cursor,
            deposits: vec![Deposit {
                owner: Address([account as u8; 20]),
                amount: Cash::new(units),
            }],
        }),
        Step::Force(account, units) => venue.attest(VaultEvent::ForcedRequests {
            first: venue.engine.vaults()[0].forced,
            requests: vec![ForcedRequest {
                owner: Address([account as u8; 20]),
                amount: Cash::new(units),
                recipient: Address::default(),
            }],
        }),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn exits_of_any_state_sum_to_the_vault(
        steps in prop::collection::vec(step(), 1..40),
        prices in prop::array::uniform2(0_i64..400_000_000_000),
    ) {
        let mut venue = Venue::new();
        for step in &steps {
            take(&mut venue, step);
        }
        check_law(&venue, &prices.map(Price::new));
        let marks = [0, 1].map(|id| venue.engine.index_price(UnderlyingId::new(id)).unwrap());
        check_law(&venue, &marks);
    }
}

#[test]
fn a_traded_venue_has_exits_that_prove_themselves() {
    let mut venue = Venue::new();
    for pick in 0..60 {
        let (seller, buyer) = (pick as u32 % TRADERS + 1, (pick as u32 + 1) % TRADERS + 1);
        let instrument = venue.instrument(pick * 7);
        venue.trade(seller, buyer, instrument, 3);
    }
    assert!(venue.engine.trades() > 20, "{}", venue.engine.trades());
    take(&mut venue, &Step::Force(2, 5_000_000));
    take(&mut venue, &Step::Force(3, 7));
    let checkpoint = ExitCheckpoint::of(&venue.engine).unwrap();
    let summary = &checkpoint.summaries[0];
    let held = leaves(&checkpoint, TRADERS + 1);
    assert!(held.iter().any(|leaf| leaf.ladders.len() == 2));
    let owed = held.iter().filter(|leaf| leaf.critical > Cash::ZERO);
    assert!(owed.count() > 0, "somebody has maintenance margin");
    assert_eq!(held[0].owner, Address([0xbb; 20]));
    let all = venue.engine.vaults()[0].withdrawals();
    assert_eq!((all.len(), summary.withdrawals_count), (2, 2));
    let (bytes, path) = prove_withdrawal(summary, all, 1).unwrap();
    let leaf = verify_withdrawal(&summary.withdrawals_root, &bytes, &path).unwrap();
    assert_eq!((leaf.number, leaf.amount), (1, Cash::new(7)));
    assert!(prove_withdrawal(summary, &all[..1], 0).is_none());
    assert!(prove_withdrawal(summary, all, 2).is_none());
    // What they are worth at the marks is what margin says they are, to a lot's rounding.
    let marks = [0, 1].map(|id| venue.engine.index_price(UnderlyingId::new(id)).unwrap());
    let points = summary.points(&marks).unwrap();
    for leaf in &held[1..] {
        let equity = venue.engine.margin_summary(leaf.account).unwrap().equity;
        let value = leaf.view().value(&points).unwrap().get();
        assert!(
            (value - i128::from(equity.get())).abs() < 1_000,
            "{value} {equity:?}"
        );
    }
    // The same state gives the same exits, whoever works them out.
    let mut bytes = Vec::new();
    venue.engine.write_snapshot(&mut bytes).unwrap();
    let restored = Engine::read_snapshot(&mut bytes.as_slice()).unwrap();
    assert_eq!(
        ExitCheckpoint::of(&restored).unwrap().root(),
        checkpoint.root()
    );
}

#[test]
fn a_venue_without_positions_is_safe_at_any_price() {
    let venue = Venue::new();
    let checkpoint = ExitCheckpoint::of(&venue.engine).unwrap();
    let summary = &checkpoint.summaries[0];
    assert!(summary.is_safe(&[Price::ZERO, Price::MAX]));
    check_law(&venue, &[Price::new(1), Price::MAX]);
}

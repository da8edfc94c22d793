//! A venue to measure: accounts with cash and one session key each, options on one underlying whose
//! index stands at 90 000 USDC, and commands on trust.

use lifeboat_engine::command::{
    Action, Observation, OptionTerms, OrderPrice, PlaceOrder, Proposal, Report, SourcePrice,
    UserCommand, UserPayload, UserSignature, ValidatorCommand, ValidatorPayload,
};
use lifeboat_engine::params::{UnderlyingParameters, VaultParameters};
use lifeboat_engine::types::{
    AccountId, Address, Cash, ChainId, ClientOrderId, InstrumentId, MarginModel, Nonce, OptionKind,
    PostOnly, Price, PublicKey, Qty, RecoveryPolicy, SelfTradePrevention, SettlementChain, Side,
    TimeInForce, TimeMs, UnderlyingId, ValidatorId,
};
use lifeboat_engine::{
    CheckedCommand, Command, Engine, Event, Genesis, GenesisAccount, Parameters, Signer,
};

/// 2026-11-22 12:00 UTC.
const START: u64 = 1_795_348_800_000;
const DAY_MS: u64 = 86_400_000;
/// Where the index stands.
pub const INDEX: i64 = 90_000_000_000;
/// One tick, 1 USDC.
pub const TICK: i64 = 1_000_000;
/// One lot, 0.01 coin.
pub const LOT: i64 = 1_000_000;
/// The only underlying.
pub const UNDERLYING: UnderlyingId = UnderlyingId::new(0);
const EXPIRIES: u32 = 10;

/// An engine and what it takes to feed it.
pub struct Venue {
    pub engine: Engine,
    pub time: u64,
    nonce: u64,
    pub events: Vec<Event>,
}

fn key(account: u32) -> PublicKey {
    let mut key = [1; 32];
    key[..4].copy_from_slice(&account.to_le_bytes());
    PublicKey(key)
}

fn validator_key() -> PublicKey {
    PublicKey([2; 32])
}

fn parameters() -> Parameters {
    let mut parameters = Parameters {
        underlyings: vec![UnderlyingParameters {
            listing: None,
            band_ppm: 2_000_000,
            ..UnderlyingParameters::btc()
        }],
        vaults: vec![VaultParameters {
            chain: SettlementChain::new(1),
            vault: Address([3; 20]),
            pool: Address([4; 20]),
            withdrawal_min: Cash::new(1),
        }],
        ..Parameters::default()
    };
    parameters.index.source_age_ms_max = DAY_MS;
    parameters.liquidation.index_age_ms_max = DAY_MS;
    parameters
}

impl Venue {
    /// A venue with accounts 1 to `accounts`, `cash` USDC each, and `options` options: ten expiries,
    /// strikes `step` USDC apart around the index, calls and puts.
    pub fn open(accounts: u32, cash: i64, options: u32, step: i64) -> Self {
        let account = |id: u32| {
            let mut owner = [0; 20];
            owner[..4].copy_from_slice(&id.to_le_bytes());
            GenesisAccount {
                owner: Address(owner),
                cash: Cash::new(cash * 1_000_000),
                model: MarginModel::Portfolio,
                sessions: vec![(key(id), TimeMs::new(u64::MAX))],
            }
        };
        let genesis = Genesis {
            chain: ChainId([7; 32]),
            time: TimeMs::new(START),
            validators: vec![validator_key()],
            parameters: parameters(),
            accounts: (1..=accounts).map(account).collect(),
        };
        let mut venue = Self {
            engine: Engine::genesis(&genesis).expect("a sound genesis"),
            time: START,
            nonce: 0,
            events: Vec::new(),
        };
        venue.list(options, step);
        venue.observe();
        venue
    }

    fn list(&mut self, options: u32, step: i64) {
        self.begin(1);
        let expiries = EXPIRIES.min(options);
        for at in 0..options {
            let place = i64::from(at / expiries);
            let strike = INDEX + (place / 2 - i64::from(options / expiries / 4)) * step * TICK;
            let terms = OptionTerms {
                underlying: UNDERLYING,
                expiry: TimeMs::new(START + DAY_MS * (30 + 7 * u64::from(at % expiries))),
                strike: Price::new(strike),
                kind: OptionKind::ALL[(place % 2) as usize],
            };
            self.report(Report::Attest(Proposal::ListOption(terms)));
        }
        assert_eq!(self.engine.instruments().len(), options, "options listed");
    }

    /// Observes the index in one block; the next one ticks.
    pub fn observe(&mut self) {
        self.observe_at(INDEX);
        self.begin(1_000);
    }

    /// Observes another index in a block. The next one, a second later, ticks.
    pub fn observe_at(&mut self, index: i64) {
        self.begin(1_000);
        let at = TimeMs::new(self.time);
        let source = SourcePrice {
            price: Price::new(index),
            updated_at: at,
        };
        self.report(Report::Observe(Observation {
            underlying: UNDERLYING,
            observed_at: at,
            sources: vec![Some(source); 5],
            forwards: Vec::new(),
        }));
    }

    /// Begins the next block, `ms` after the last.
    pub fn begin(&mut self, ms: u64) {
        self.time += ms;
        self.events.clear();
        self.engine
            .begin_stage(TimeMs::new(self.time), &mut self.events);
    }

    fn report(&mut self, report: Report) {
        self.nonce += 1;
        let payload = ValidatorPayload {
            validator: ValidatorId::new(0),
            nonce: Nonce::new(self.nonce),
            report,
        };
        let command = Command::Validator(ValidatorCommand {
            payload,
            key: validator_key(),
            signature: [0; 64],
        });
        let signer = Some(Signer::Validator(validator_key()));
        self.run(&CheckedCommand::unchecked(command, signer));
    }

    /// Runs a command, which must not be refused. Its events are the last ones.
    pub fn run(&mut self, command: &CheckedCommand) {
        self.engine.command_stage(0, command, &mut self.events);
        if let Some(Event::CommandRejected { reject, .. }) = self.events.last() {
            panic!("{reject:?} refused {command:?}");
        }
    }

    /// A command of an account by its session key.
    pub fn command(&mut self, account: u32, action: Action) -> CheckedCommand {
        self.nonce += 1;
        let payload = UserPayload {
            account: AccountId::new(account),
            nonce: Nonce::new(self.nonce),
            valid_until: TimeMs::new(0),
            action,
        };
        let signature = UserSignature::Session {
            key: key(account),
            signature: [0; 64],
        };
        let command = Command::User(UserCommand { payload, signature });
        CheckedCommand::unchecked(command, Some(Signer::Session(key(account))))
    }
}

/// A limit order without anything special.
pub fn limit(book: u32, side: Side, lots: u32, ticks: u32, good_for: TimeInForce) -> PlaceOrder {
    PlaceOrder {
        instrument: InstrumentId::new(book),
        side,
        qty: Qty::new(i64::from(lots) * LOT),
        price: OrderPrice::Limit(Price::new(i64::from(ticks) * TICK)),
        time_in_force: good_for,
        post_only: PostOnly::Off,
        reduce_only: false,
        self_trade: SelfTradePrevention::CancelTaker,
        recovery: RecoveryPolicy::Keep,
        protected: false,
        client_id: ClientOrderId::new(0),
        label: Vec::new(),
    }
}

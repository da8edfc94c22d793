//! A venue of one engine in this process: commands go straight into blocks. What the gateway's
//! tests and the example run against.

#![allow(dead_code, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use commonware_codec::Encode as _;
use commonware_cryptography::bls12381::primitives::group::Private;
use commonware_cryptography::bls12381::primitives::{ops, variant::MinSig};
use ed25519_zebra::{SigningKey, VerificationKey};
use lifeboat_engine::auction::{Phase, SEAL_NAMESPACE, SealKey, SealSignature, seal_target};
use lifeboat_engine::auth::check_batch;
use lifeboat_engine::command::*;
use lifeboat_engine::params::ListingRules;
use lifeboat_engine::types::*;
use lifeboat_engine::{
    AgreedRoot, Block, Command, Engine, Event, Genesis, GenesisAccount, Parameters,
};
use lifeboat_gateway::{
    ApiKey, ApiKeys, AppliedBlock, Scope, SubmitError, ValidatorStatus, Venue, VenueStatus,
};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::sync::{Notify, broadcast, watch};

pub const CHAIN: ChainId = ChainId([7; 32]);
/// 2026-11-22 12:00 UTC.
pub const START: u64 = 1_795_348_800_000;
/// The maker's account; the insurance fund is 0.
pub const MAKER: AccountId = AccountId::new(1);
pub const ALICE: AccountId = AccountId::new(2);
pub const BOB: AccountId = AccountId::new(3);
/// An account with an API key that may only read.
pub const READER: AccountId = AccountId::new(4);

/// The validators' group key, and what signs for it.
fn group() -> (Private, SealKey) {
    let (private, public) = ops::keypair::<_, MinSig>(&mut StdRng::seed_from_u64(7));
    (
        private,
        SealKey(public.encode().as_ref().try_into().unwrap()),
    )
}

fn maker_key() -> SigningKey {
    SigningKey::from([10; 32])
}

fn validator_key() -> SigningKey {
    SigningKey::from([100; 32])
}

fn public(key: &SigningKey) -> PublicKey {
    PublicKey(VerificationKey::from(key).into())
}

/// The API keys of a test venue: alice, bob, and a reader.
pub struct Keys {
    pub keys: ApiKeys,
    pub alice: Arc<ApiKey>,
    pub bob: Arc<ApiKey>,
    pub reader: Arc<ApiKey>,
}

impl Keys {
    pub fn new() -> Self {
        let mut keys = ApiKeys::default();
        let alice = keys.create_from_seed(ALICE, Scope::Trade, b"test venue");
        let bob = keys.create_from_seed(BOB, Scope::Trade, b"test venue");
        let reader = keys.create_from_seed(READER, Scope::Read, b"test venue");
        Self {
            keys,
            alice,
            bob,
            reader,
        }
    }
}

/// How the venue is made.
pub struct Plan {
    pub start: u64,
    pub listing: ListingRules,
    pub broadcast: usize,
}

impl Default for Plan {
    fn default() -> Self {
        let listing = ListingRules {
            dailies: 0,
            weeklies: 1,
            monthlies: 1,
            quarterlies: 0,
            delta_min_ppm: 50_000,
            strikes_per_side_max: 3,
        };
        Self {
            start: START,
            listing,
            broadcast: 1_024,
        }
    }
}

pub struct TestVenue {
    engine: Mutex<Engine>,
    queue: Mutex<Vec<Command>>,
    blocks: broadcast::Sender<Arc<AppliedBlock>>,
    wake: Notify,
    /// While set, commands wait and no block is made.
    pub paused: AtomicBool,
    /// While set, commands are refused as over the queue's bound.
    pub busy: AtomicBool,
    /// While set, commands are taken and lost.
    pub lossy: AtomicBool,
    /// The height up to which blocks count as published.
    pub published: watch::Sender<Height>,
    time: AtomicU64,
    nonce: AtomicU64,
}

impl TestVenue {
    pub fn new(keys: &ApiKeys, plan: Plan) -> Arc<Self> {
        let account = |owner: u8, sessions: Vec<PublicKey>| GenesisAccount {
            owner: Address([owner; 20]),
            cash: Cash::new(5_000_000_000_000),
            model: MarginModel::Portfolio,
            sessions: sessions
                .into_iter()
                .map(|key| (key, TimeMs::new(u64::MAX)))
                .collect(),
        };
        let mut sessions: BTreeMap<u32, Vec<PublicKey>> = BTreeMap::new();
        for key in keys.iter() {
            sessions
                .entry(key.account)
                .or_default()
                .push(key.session_key(0));
        }
        let mut of = |id: AccountId| sessions.remove(&id.get()).unwrap_or_default();
        let accounts = vec![
            account(1, vec![public(&maker_key())]),
            account(2, of(ALICE)),
            account(3, of(BOB)),
            account(4, of(READER)),
        ];
        let mut parameters = Parameters::default();
        for underlying in &mut parameters.underlyings {
            underlying.listing = Some(plan.listing);
        }
        parameters.auction.key = Some(group().1);
        let genesis = Genesis {
            chain: CHAIN,
            time: TimeMs::new(plan.start),
            validators: vec![public(&validator_key())],
            parameters,
            accounts,
        };
        let venue = Arc::new(Self {
            engine: Mutex::new(Engine::genesis(&genesis).unwrap()),
            queue: Mutex::default(),
            blocks: broadcast::channel(plan.broadcast).0,
            wake: Notify::new(),
            paused: AtomicBool::new(false),
            busy: AtomicBool::new(false),
            lossy: AtomicBool::new(false),
            published: watch::Sender::new(Height::new(0)),
            time: AtomicU64::new(plan.start),
            nonce: AtomicU64::new(0),
        });
        for _ in 0..2 {
            venue.observe(90_000, 3_000);
            venue.step(1_000);
        }
        venue
    }

    /// Makes a block whenever commands wait, 10 ms of block time after the last.
    pub fn spawn(self: &Arc<Self>) {
        let venue = Arc::clone(self);
        tokio::spawn(async move {
            loop {
                venue.wake.notified().await;
                if !venue.paused.load(Ordering::SeqCst) {
                    venue.step(10);
                }
            }
        });
    }

    /// Lets commands through again.
    pub fn resume(&self) {
        self.paused.store(false, Ordering::SeqCst);
        self.wake.notify_one();
    }

    /// Applies one block with what waits, so long after the last one.
    pub fn step(&self, after_ms: u64) {
        let time = self.time.fetch_add(after_ms, Ordering::SeqCst) + after_ms;
        self.step_at(time);
    }

    pub fn step_at(&self, time: u64) {
        let applied = self.apply(time);
        // Nobody may be listening yet.
        let _ = self.blocks.send(Arc::new(applied));
    }

    /// Observes and makes blocks, five seconds apart, until the venue is in this mode.
    pub fn climb(&self, mode: Mode) {
        for _ in 0..200 {
            if self.with(|engine| engine.mode().mode) == mode {
                return;
            }
            self.observe(90_000, 3_000);
            self.step(5_000);
        }
        panic!("the venue does not reach {mode:?}");
    }

    /// Puts the first command of the next block on the quarantine list.
    pub fn quarantine_next(&self) {
        let mut engine = self.engine.lock().unwrap();
        let next = engine.height().next();
        engine.quarantine(next, 0);
    }

    /// Applies so many blocks before it tells of any.
    pub fn burst(&self, blocks: u64) {
        let time = self.time.load(Ordering::SeqCst);
        let applied: Vec<AppliedBlock> = (1..=blocks).map(|n| self.apply(time + n)).collect();
        for block in applied {
            let _ = self.blocks.send(Arc::new(block));
        }
    }

    fn apply(&self, time: u64) -> AppliedBlock {
        self.time.store(time, Ordering::SeqCst);
        let commands = std::mem::take(&mut *self.queue.lock().unwrap());
        let mut engine = self.engine.lock().unwrap();
        let block = Block {
            height: engine.height().next(),
            time: TimeMs::new(time),
            agreed: Some(AgreedRoot {
                height: engine.height(),
                root: engine.state_root(),
            }),
            commands: check_batch(&CHAIN, commands.clone()),
        };
        let mut events: Vec<Event> = Vec::new();
        let applied = engine.apply(&block, &mut events).unwrap();
        assert_eq!(engine.ledger().audit(), 0, "I1");
        AppliedBlock {
            height: applied.height,
            time: applied.time,
            root: applied.state_root,
            mode: applied.mode,
            first_event: applied.first_event,
            commands,
            events,
        }
    }

    fn nonce(&self) -> Nonce {
        Nonce::new(self.nonce.fetch_add(1, Ordering::SeqCst) + 1)
    }

    /// The validator's observation of both underlyings, queued.
    pub fn observe(&self, btc: i64, eth: i64) {
        for (underlying, price) in [(0, btc), (1, eth)] {
            let at = TimeMs::new(self.time.load(Ordering::SeqCst));
            let source = SourcePrice {
                price: Price::new(price * 1_000_000),
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

    /// What the validators together say once an auction has closed: the signature that opens it, queued.
    pub fn open_auctions(&self) {
        let closed = self.with(|engine| {
            let all = engine.auctions().iter().map(|(_, auction)| auction);
            let closed = all.filter(|auction| matches!(auction.phase, Phase::Closed { .. }));
            let named = closed.map(|auction| (auction.number, auction.began_at));
            named.collect::<Vec<_>>()
        });
        for (auction, began_at) in closed {
            let target = seal_target(&CHAIN, auction, began_at);
            let signed = ops::sign_message::<MinSig>(&group().0, SEAL_NAMESPACE, &target);
            let signature = SealSignature(signed.encode().as_ref().try_into().unwrap());
            self.report(Report::OpenAuction { auction, signature });
        }
    }

    /// A validator's report, queued.
    pub fn report(&self, report: Report) {
        let key = validator_key();
        let payload = ValidatorPayload {
            validator: ValidatorId::new(0),
            nonce: self.nonce(),
            report,
        };
        let signature = key.sign(&payload.message(&CHAIN)).into();
        let key = public(&key);
        self.queue
            .lock()
            .unwrap()
            .push(Command::Validator(ValidatorCommand {
                payload,
                key,
                signature,
            }));
    }

    /// The maker's action, queued.
    pub fn make(&self, action: Action) {
        let key = maker_key();
        let payload = UserPayload {
            account: MAKER,
            nonce: self.nonce(),
            valid_until: TimeMs::new(0),
            action,
        };
        let signature = UserSignature::Session {
            key: public(&key),
            signature: key.sign(&payload.session_message(&CHAIN)).into(),
        };
        let command = Command::User(UserCommand { payload, signature });
        self.queue.lock().unwrap().push(command);
    }

    /// Quotes by the maker on every instrument, so many ticks wide around its mark, queued.
    pub fn make_quotes(&self, half_width_ticks: i64, lots: i64) {
        for chunk in self.quotes(half_width_ticks, lots).chunks(200) {
            self.make(Action::MassQuote(MassQuote {
                entries: chunk.to_vec(),
                recovery: RecoveryPolicy::Cancel,
            }));
        }
    }

    fn quotes(&self, half_width_ticks: i64, lots: i64) -> Vec<QuoteEntry> {
        let engine = self.engine.lock().unwrap();
        let listed = engine.instruments().iter().filter(|i| i.is_listed());
        listed
            .filter_map(|instrument| {
                let (mark, tick) = (instrument.mark?.price.get(), instrument.tick.get());
                let middle = mark / tick;
                let side = |ticks: i64| QuoteSide {
                    price: Price::new(ticks.max(1) * tick),
                    qty: Qty::new(lots * instrument.lot.get()),
                };
                let bid = middle - half_width_ticks;
                Some(QuoteEntry {
                    instrument: instrument.id,
                    bid: (bid > 0).then(|| side(bid)),
                    ask: Some(side(middle + half_width_ticks)),
                })
            })
            .collect()
    }

    /// Reads from the engine.
    pub fn with<T>(&self, read: impl FnOnce(&Engine) -> T) -> T {
        read(&self.engine.lock().unwrap())
    }

    /// The call on BTC nearest the money of the first expiry.
    pub fn call(&self) -> InstrumentId {
        self.with(|engine| {
            let calls = engine.instruments().iter().filter(|i| {
                i.terms.kind == OptionKind::Call && i.terms.underlying == UnderlyingId::new(0)
            });
            let near = calls.min_by_key(|i| {
                let away = (i.terms.strike.get() - 90_000_000_000).abs();
                (i.terms.expiry, away)
            });
            near.unwrap().id
        })
    }
}

impl Venue for TestVenue {
    fn read(&self, f: &mut dyn FnMut(&Engine)) {
        f(&self.engine.lock().unwrap());
    }

    fn submit(&self, command: Command) -> Result<(), SubmitError> {
        if self.busy.load(Ordering::SeqCst) {
            return Err(SubmitError::Busy);
        }
        if !self.lossy.load(Ordering::SeqCst) {
            self.queue.lock().unwrap().push(command);
        }
        self.wake.notify_one();
        Ok(())
    }

    fn subscribe(&self) -> broadcast::Receiver<Arc<AppliedBlock>> {
        self.blocks.subscribe()
    }

    fn status(&self) -> VenueStatus {
        let engine = self.engine.lock().unwrap();
        let root = engine.state_root();
        VenueStatus {
            chain: CHAIN,
            height: engine.height(),
            time: engine.time(),
            root,
            agreed: Some(AgreedRoot {
                height: engine.height(),
                root,
            }),
            published: Some(*self.published.borrow()),
            block_age_ms: 0,
            detail: "a venue of one engine, for tests".into(),
            settlement: None,
            validators: vec![ValidatorStatus {
                name: "test".into(),
                connected: true,
                height: engine.height(),
            }],
        }
    }

    fn published(&self) -> Option<watch::Receiver<Height>> {
        Some(self.published.subscribe())
    }
}

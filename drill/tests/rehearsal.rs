//! Whole markets against one engine, with the ledger auditor listening to every event.

use std::collections::BTreeMap;
use std::path::PathBuf;

use lifeboat_drill::market::{
    Cast, Dice, Feed, FeedSettings, MakerSettings, Outlook, Participant, Recording, ReplayOutlook,
    SimulatedOutlook, Simulation, SimulationSettings, TakerSettings, for_pace,
};
use lifeboat_drill::rehearsal::{Observer, Rehearsal};
use lifeboat_engine::command::{Action, OrderPrice, PlaceOrder};
use lifeboat_engine::event::CancelReason;
use lifeboat_engine::types::{
    AccountId, ChainId, ClientOrderId, Digest, Mode, PostOnly, Price, Qty, RecoveryPolicy,
    SelfTradePrevention, Side, TimeInForce, TimeMs, ValidatorId,
};
use lifeboat_engine::{Event, Genesis, Parameters, Reject};

const VALIDATORS: u16 = 4;
/// Accounts beside the market's own, for commands that a test sends itself.
const CLIENTS: u32 = 3;
/// The first of them: the market's two makers and six takers come before.
const FIRST_CLIENT: u32 = 9;
const CHAIN: ChainId = ChainId([0x4C; 32]);
/// 2026-01-28 12:00 UTC.
const START: TimeMs = TimeMs::new(1_769_601_600_000);

fn rehearsal(
    seed: u64,
    start: TimeMs,
    parameters: Parameters,
    maker: MakerSettings,
    outlook: impl Fn() -> Box<dyn Outlook>,
) -> Rehearsal {
    let (makers, takers) = (2, 6);
    let cast = Cast {
        seed,
        chain: CHAIN,
        makers,
        takers,
        clients: CLIENTS,
        traders: 0,
        quoters: 0,
    };
    let observer = |validator: u16| {
        let sources = 5;
        let validator = ValidatorId::new(validator);
        let settings = FeedSettings {
            seed,
            validator,
            sources,
            noise: 2e-4,
        };
        let feed = Feed::new(settings, [1 + validator.get() as u8; 32], CHAIN);
        Observer {
            feed,
            outlook: outlook(),
        }
    };
    let observers: Vec<Observer> = (0..VALIDATORS).map(observer).collect();
    let steps = parameters
        .underlyings
        .iter()
        .map(|u| (u.tick, u.lot))
        .collect();
    let genesis = Genesis {
        chain: CHAIN,
        time: start,
        validators: observers
            .iter()
            .map(|observer| observer.feed.public())
            .collect(),
        parameters,
        accounts: cast.genesis_accounts(|_| None),
    };
    let first_account = cast.first_maker();
    let taker = TakerSettings::default();
    let settings = SimulationSettings {
        seed,
        chain: CHAIN,
        first_account,
        makers,
        takers,
        maker,
        taker,
        steps,
    };
    let simulation = Simulation::new(&settings, outlook());
    Rehearsal::new(&genesis, observers, simulation).expect("a valid genesis")
}

fn simulated(seed: u64) -> Rehearsal {
    rehearsal(
        seed,
        START,
        Parameters::default(),
        MakerSettings::default(),
        || Box::new(SimulatedOutlook::default_pair(seed, START)),
    )
}

#[derive(Default, Debug)]
struct Seen {
    trades: u64,
    quotes: u64,
    rejected_quotes: BTreeMap<Reject, u64>,
    rejected: BTreeMap<Reject, u64>,
    listed: u64,
    settled: u64,
    liquidations: u64,
}

impl Seen {
    fn count(&mut self, events: &[Event]) {
        for event in events {
            let counter = match event {
                Event::Traded(_) => &mut self.trades,
                Event::QuotePlaced { .. } => &mut self.quotes,
                Event::QuoteRejected { reject, .. } => {
                    self.rejected_quotes.entry(*reject).or_default()
                }
                Event::CommandRejected { reject, .. } => self.rejected.entry(*reject).or_default(),
                Event::InstrumentListed { .. } => &mut self.listed,
                Event::InstrumentSettled { .. } => &mut self.settled,
                Event::LiquidationStarted { .. } => &mut self.liquidations,
                _ => continue,
            };
            *counter += 1;
        }
    }
}

/// Runs blocks and returns what was seen and the last root.
fn run(rehearsal: &mut Rehearsal, blocks: u64, ms: u64) -> (Seen, Digest) {
    let mut seen = Seen::default();
    for block in 0..blocks {
        let (applied, events) = rehearsal
            .step(ms)
            .unwrap_or_else(|finding| panic!("{finding}"));
        assert_eq!(applied.mode, Mode::Open, "block {block}");
        seen.count(&events);
        if block % 200 == 0 {
            rehearsal
                .audit()
                .unwrap_or_else(|finding| panic!("{finding}"));
        }
    }
    rehearsal
        .audit()
        .unwrap_or_else(|finding| panic!("{finding}"));
    (seen, rehearsal.root().1)
}

#[test]
fn a_simulated_market_trades_and_every_book_balances() {
    let mut venue = simulated(7);
    let (seen, _) = run(&mut venue, 2_400, 500);
    println!("{seen:?} {:?}", venue.auditor().checks());
    assert!(seen.listed > 200, "{seen:?}");
    assert!(seen.trades > 200 && seen.quotes > 10_000, "{seen:?}");
    assert!(
        seen.rejected.values().sum::<u64>() * 20 < venue.commands(),
        "{seen:?} of {}",
        venue.commands()
    );
    for invariant in ["I1", "I3", "I4", "I7", "I8"] {
        assert!(
            venue.auditor().checks()[invariant] > 100,
            "{invariant} was hardly checked"
        );
    }
}

#[test]
fn a_seed_means_one_root() {
    let root = |seed| run(&mut simulated(seed), 200, 500).1;
    assert_eq!(root(3), root(3));
    assert_ne!(root(3), root(4));
}

/// A small order within a tick of one mark that may cross, or a reduce-only one that rests with all
/// it may. More often than not it closes what the account has, so that positions stay small.
fn crossing_order(dice: &mut Dice, venue: &Rehearsal, account: AccountId) -> Option<Action> {
    let mut listed = venue.engine().instruments().iter();
    let instrument = listed.find(|instrument| instrument.mark.is_some())?;
    let (tick, lot) = (instrument.tick.get(), instrument.lot.get());
    let ticks = (instrument.mark?.price.get() / tick).max(2) - 1 + dice.below(3) as i64;
    let account = venue.engine().account(account)?;
    let position = account.holding(instrument.id).map_or(0, |h| h.position);
    let side = match position {
        1.. if dice.chance(0.7) => Side::Sell,
        ..=-1 if dice.chance(0.7) => Side::Buy,
        _ => Side::ALL[dice.below(2)],
    };
    let reduce_only = dice.chance(0.4);
    let (lots, post_only) = match reduce_only {
        true => (20, PostOnly::Slide),
        false => (1 + dice.below(4) as i64, PostOnly::Off),
    };
    Some(Action::PlaceOrder(PlaceOrder {
        instrument: instrument.id,
        side,
        qty: Qty::new(lots * lot),
        price: OrderPrice::Limit(Price::new(ticks * tick)),
        time_in_force: TimeInForce::GoodTilCancelled,
        post_only,
        reduce_only,
        self_trade: SelfTradePrevention::CancelMaker,
        recovery: RecoveryPolicy::Keep,
        protected: false,
        client_id: ClientOrderId::new(0),
        label: Vec::new(),
    }))
}

/// What the venue takes off reduce-only orders by itself is in the events: the auditor, who knows
/// nothing else, keeps the engine's open orders, and every trade fits the order that it names.
#[test]
fn reduce_only_orders_are_cut_and_ended_in_the_events() {
    let mut venue = simulated(11);
    run(&mut venue, 3, 500);
    let client = |n| Participant::development(11, AccountId::new(FIRST_CLIENT + n), CHAIN);
    let mut clients: Vec<Participant> = (0..CLIENTS).map(client).collect();
    let mut dice = Dice::at(11, &[u64::from(CLIENTS)]);
    let (mut cut, mut ended) = (0, 0);
    for _ in 0..400 {
        for client in &mut clients {
            if let Some(action) = crossing_order(&mut dice, &venue, client.account()) {
                venue.submit(client.sign(action));
            }
        }
        let (_, events) = venue
            .step(100)
            .unwrap_or_else(|finding| panic!("{finding}"));
        venue.audit().unwrap_or_else(|finding| panic!("{finding}"));
        for event in &events {
            match event {
                Event::OrderAmended { account, .. } if account.get() >= FIRST_CLIENT => cut += 1,
                Event::OrderCancelled {
                    reason: CancelReason::NotReducing,
                    ..
                } => ended += 1,
                _ => {}
            }
        }
    }
    assert!(cut > 0 && ended > 0, "{cut} cut, {ended} ended");
}

/// The recorded fall of four days, two minutes a block: every option listed, quoted, traded and, where
/// its expiry lies inside, settled.
#[test]
fn a_recorded_fall_is_traded_through() {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared");
    let shared = std::env::var("LIFEBOAT_SHARED").unwrap_or_else(|_| beside.to_owned());
    let path = PathBuf::from(shared).join("data/market/deribit_chains_20260128_20260201.csv.gz");
    if !path.exists() {
        println!("skipped: there is no recording at {}", path.display());
        return;
    }
    let recording = Recording::open(&path, &["BTC", "ETH"]).expect("the recording reads");
    let block_ms = 120_000;
    let mut parameters = for_pace(Parameters::default(), block_ms);
    parameters
        .underlyings
        .iter_mut()
        .for_each(|underlying| underlying.listing = None);
    let maker = MakerSettings {
        expiries_per_step: 2,
        ..MakerSettings::default()
    };
    let mut venue = rehearsal(1, recording.start(), parameters, maker, || {
        Box::new(ReplayOutlook::new(&recording))
    });
    let blocks = recording.end().since(recording.start()) / block_ms + 3;
    let (seen, _) = run(&mut venue, blocks, block_ms);
    println!("{seen:?} {:?}", venue.auditor().checks());
    assert_eq!(seen.listed, 2_118);
    assert!(seen.settled > 400 && seen.trades > 5_000, "{seen:?}");
}

//! Whole markets against one engine, with the ledger auditor listening to every event.

use std::collections::BTreeMap;
use std::path::PathBuf;

use lifeboat_drill::market::{
    Cast, Feed, FeedSettings, MakerSettings, Outlook, Recording, ReplayOutlook, SimulatedOutlook,
    Simulation, SimulationSettings, TakerSettings, for_pace,
};
use lifeboat_drill::rehearsal::{Observer, Rehearsal};
use lifeboat_engine::types::{ChainId, Digest, Mode, TimeMs, ValidatorId};
use lifeboat_engine::{Event, Genesis, Parameters, Reject};

const VALIDATORS: u16 = 4;
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
        clients: 0,
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

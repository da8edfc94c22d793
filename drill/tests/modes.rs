//! Every mode that a venue can come into, searched on the engine itself: none is a trap but the last, and
//! none lets anything trade that the table forbids.
//!
//! The search goes over what decides the next mode, not over time: each state is reached by the shortest
//! list of moves that leads there, from genesis, and every move is tried in it. In every block somebody
//! tries to trade, to rest an order and to cancel.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use lifeboat_drill::market::{
    Cast, Feed, FeedSettings, Instruments, Participant, SimulatedOutlook,
};
use lifeboat_engine::auction::Phase;
use lifeboat_engine::auth::check_batch;
use lifeboat_engine::command::{
    Action, CancelScope, OptionTerms, OrderPrice, PlaceOrder, Proposal, Report, VaultEvent,
};
use lifeboat_engine::modes::{Activity, permits};
use lifeboat_engine::params::{UnderlyingParameters, VaultParameters};
use lifeboat_engine::types::{
    Address, Cash, ChainId, ClientOrderId, Digest, InstrumentId, Mode, OptionKind, PostOnly, Price,
    Qty, RecoveryPolicy, SelfTradePrevention, SettlementChain, Side, TimeInForce, TimeMs,
    UnderlyingId, ValidatorId,
};
use lifeboat_engine::{AgreedRoot, Block, Command, Engine, Event, Genesis, Parameters};

const CHAIN: ChainId = ChainId([0x30; 32]);
const VAULT: SettlementChain = SettlementChain::new(1);
const BTC: UnderlyingId = UnderlyingId::new(0);
const START: TimeMs = TimeMs::new(1_769_601_600_000);
const VALIDATORS: u16 = 4;
const QUORUM: usize = 3;
/// Each rung of the ladder is this long here.
const RUNG_MS: u64 = 2_000;
/// A venue that goes well is open after so many blocks.
const PATIENCE: usize = 40;

/// One block's worth of what can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Happens {
    /// All is well, and the next rung's time has passed.
    Well,
    /// All is well, and hardly any time has passed.
    Soon,
    /// No block for over a minute.
    Gap,
    /// A quorum asks for a halt.
    Halt,
    /// A quorum takes it back.
    Unhalt,
    /// A command is quarantined.
    Fault,
    /// No root is agreed.
    Disagreed,
    /// Sources have no price.
    Blind,
    /// Sources disagree.
    Apart,
    /// The vault is frozen.
    Frozen,
}

const ALL: [Happens; 10] = [
    Happens::Well,
    Happens::Soon,
    Happens::Gap,
    Happens::Halt,
    Happens::Unhalt,
    Happens::Fault,
    Happens::Disagreed,
    Happens::Blind,
    Happens::Apart,
    Happens::Frozen,
];

/// What decides the next mode, times left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct State {
    mode: Mode,
    halt_requested: bool,
    /// Sources have begun to agree.
    agrees: bool,
    /// There is an index.
    live: bool,
    /// The underlying's own mode.
    circuit: Mode,
    /// How far its auction is.
    auction: Option<u8>,
}

struct Venue {
    engine: Engine,
    feeds: Vec<Feed>,
    outlook: SimulatedOutlook,
    traders: [Participant; 2],
    option: Option<InstrumentId>,
    references: u8,
    agreed: Option<AgreedRoot>,
}

fn genesis(feeds: &[Feed], cast: &Cast) -> Genesis {
    let mut parameters = Parameters {
        underlyings: vec![UnderlyingParameters {
            listing: None,
            ..UnderlyingParameters::btc()
        }],
        vaults: vec![VaultParameters {
            chain: VAULT,
            vault: Address([7; 20]),
            pool: Address([8; 20]),
            withdrawal_min: Cash::new(1),
        }],
        ..Parameters::default()
    };
    let modes = &mut parameters.modes;
    (modes.agreement_ms, modes.cancel_only_ms, modes.post_only_ms) = (RUNG_MS, RUNG_MS, RUNG_MS);
    parameters.auction.length_ms = RUNG_MS;
    parameters.auction.last_phase_ms = RUNG_MS / 2;
    parameters.auction.extension_ms = RUNG_MS / 2;
    Genesis {
        chain: CHAIN,
        time: START,
        validators: feeds.iter().map(Feed::public).collect(),
        parameters,
        accounts: cast.genesis_accounts(|_| None),
    }
}

impl Venue {
    fn new() -> Self {
        let feed = |number: u16| {
            let settings = FeedSettings {
                seed: 1,
                validator: ValidatorId::new(number),
                sources: 5,
                noise: 1e-4,
            };
            Feed::new(settings, [1 + number as u8; 32], CHAIN)
        };
        let feeds: Vec<Feed> = (0..VALIDATORS).map(feed).collect();
        let cast = Cast {
            seed: 1,
            chain: CHAIN,
            makers: 0,
            takers: 0,
            clients: 2,
            traders: 0,
            quoters: 0,
        };
        let trader = |account| Participant::development(1, account, CHAIN);
        let mut clients = cast.clients().map(trader);
        let traders = [(); 2].map(|()| clients.next().expect("two clients"));
        let mut venue = Self {
            engine: Engine::genesis(&genesis(&feeds, &cast)).expect("a sound genesis"),
            feeds,
            outlook: SimulatedOutlook::default_pair(1, START),
            traders,
            option: None,
            references: 0,
            agreed: None,
        };
        let terms = OptionTerms {
            underlying: BTC,
            expiry: START.plus_ms(30 * 86_400_000),
            strike: Price::new(90_000_000_000),
            kind: OptionKind::Call,
        };
        let listing = venue.attested(&Proposal::ListOption(terms));
        venue.block(1_000, listing, Happens::Well);
        venue.option = Some(InstrumentId::new(0));
        for _ in 0..3 {
            venue.block(1_000, Vec::new(), Happens::Well);
        }
        venue
    }

    fn attested(&mut self, proposal: &Proposal) -> Vec<Command> {
        let sign = |feed: &mut Feed| feed.sign(Report::Attest(proposal.clone()));
        self.feeds.iter_mut().take(QUORUM).map(sign).collect()
    }

    fn observations(&mut self, now: TimeMs, happens: Happens) -> Vec<Command> {
        if happens == Happens::Blind {
            return Vec::new();
        }
        let instruments = Instruments::new(vec![(Price::new(1_000_000), Qty::new(1_000_000))]);
        let mut reports = Vec::new();
        for feed in &mut self.feeds {
            let seen = feed.observe(&mut self.outlook, &instruments, BTC, now);
            let Some(mut seen) = seen else { continue };
            if happens == Happens::Apart {
                for (n, source) in seen.sources.iter_mut().flatten().enumerate() {
                    let price = source.price.get();
                    source.price = Price::new(price + price / 20 * n as i64);
                }
            }
            reports.push(feed.sign(Report::Observe(seen)));
        }
        reports
    }

    fn order(&self, side: Side, time_in_force: TimeInForce, post_only: PostOnly) -> Option<Action> {
        let instrument = self.option?;
        let mark = self.engine.instruments().get(instrument)?.mark?;
        let price = mark.price.get() / 1_000_000 * 1_000_000;
        Some(Action::PlaceOrder(PlaceOrder {
            instrument,
            side,
            qty: Qty::new(1_000_000),
            price: OrderPrice::Limit(Price::new(price)),
            time_in_force,
            post_only,
            reduce_only: false,
            self_trade: SelfTradePrevention::CancelMaker,
            recovery: RecoveryPolicy::Keep,
            protected: false,
            client_id: ClientOrderId::new(0),
            label: Vec::new(),
        }))
    }

    /// Somebody rests an order, somebody takes it, and both cancel all.
    fn temptation(&mut self) -> Vec<Command> {
        let rest = self.order(Side::Sell, TimeInForce::GoodTilCancelled, PostOnly::Reject);
        let take = self.order(Side::Buy, TimeInForce::ImmediateOrCancel, PostOnly::Off);
        let (Some(rest), Some(take)) = (rest, take) else {
            return Vec::new();
        };
        let [seller, buyer] = &mut self.traders;
        let cancel = Action::CancelAll(CancelScope::Account);
        vec![
            seller.sign(rest),
            buyer.sign(take),
            seller.sign(cancel.clone()),
            buyer.sign(cancel),
        ]
    }

    /// One block, and whether it kept to the table.
    fn block(&mut self, after_ms: u64, mut commands: Vec<Command>, happens: Happens) -> Vec<Event> {
        let time = self.engine.time().plus_ms(after_ms);
        commands.extend(self.observations(time, happens));
        commands.extend(self.temptation());
        let height = self.engine.height().next();
        let block = Block {
            height,
            time,
            agreed: self.agreed.filter(|_| happens != Happens::Disagreed),
            commands: check_batch(self.engine.chain(), commands),
        };
        let mut events = Vec::new();
        let applied = self
            .engine
            .apply(&block, &mut events)
            .expect("the next height");
        self.agreed = Some(AgreedRoot {
            height,
            root: applied.state_root,
        });
        events
    }

    fn step(&mut self, happens: Happens) -> Vec<Event> {
        let quiet = (RUNG_MS + 500, Vec::new());
        let (after_ms, commands) = match happens {
            Happens::Soon => (10, Vec::new()),
            Happens::Gap => (61_000, Vec::new()),
            Happens::Halt | Happens::Unhalt => {
                self.references += 1;
                let halt = Proposal::SetHalt {
                    halted: happens == Happens::Halt,
                    reference: Digest([self.references; 32]),
                };
                (10, self.attested(&halt))
            }
            Happens::Fault => {
                self.engine.quarantine(self.engine.height().next(), 0);
                quiet
            }
            Happens::Frozen => {
                let frozen = Proposal::Vault {
                    chain: VAULT,
                    event: VaultEvent::Frozen,
                };
                (10, self.attested(&frozen))
            }
            _ => quiet,
        };
        self.block(after_ms, commands, happens)
    }

    /// What decides what comes next, times left out.
    fn state(&self) -> State {
        let (engine, mode) = (&self.engine, self.engine.mode());
        let auction = engine.auctions().iter().next();
        State {
            mode: mode.mode,
            halt_requested: mode.halt_requested,
            agrees: mode.agreed_since.get() != 0,
            live: engine.feed(BTC).is_some_and(|feed| feed.live),
            circuit: engine
                .circuit(BTC)
                .map_or(Mode::Open, |circuit| circuit.mode.mode),
            auction: auction.map(|(_, auction)| match auction.phase {
                Phase::Collecting => 0,
                Phase::Closed { .. } => 1,
                Phase::Opening { .. } => 2,
            }),
        }
    }
}

fn reach(path: &[Happens]) -> Venue {
    let mut venue = Venue::new();
    for happens in path {
        venue.step(*happens);
    }
    venue
}

/// Nothing traded, rested or was cancelled in a mode that forbids it. The mode of a command is the one of
/// its block so far; one that this block's own commands changed counts from there on.
fn keeps_to_the_table(before: Mode, events: &[Event]) {
    let mut mode = before;
    let mut in_commands = false;
    for event in events {
        match event {
            Event::ModeChanged { to, .. } => mode = *to,
            Event::CommandApplied { .. } | Event::CommandRejected { .. } => in_commands = true,
            // Auctions clear between the commands of two blocks.
            Event::Traded(trade) if in_commands => {
                assert!(permits(mode, Activity::Take), "{trade:?} in {mode:?}");
            }
            Event::OrderPlaced(placed) if in_commands => {
                let rests = permits(mode, Activity::Rest) || permits(mode, Activity::Take);
                assert!(rests, "{placed:?} in {mode:?}");
            }
            _ => {}
        }
    }
}

#[test]
fn no_mode_is_a_trap_but_the_last_and_none_trades_against_the_table() {
    let first = Venue::new().state();
    let mut found = BTreeMap::from([(first, Vec::new())]);
    let mut next = VecDeque::from([first]);
    let mut modes = BTreeSet::new();
    let mut moves = 0;
    while let Some(state) = next.pop_front() {
        let path: Vec<Happens> = found.get(&state).cloned().unwrap_or_default();
        modes.insert(state.mode);
        for happens in ALL {
            let mut venue = reach(&path);
            let before = venue.engine.mode().mode;
            keeps_to_the_table(before, &venue.step(happens));
            moves += 1;
            let reached = venue.state();
            if before == Mode::Exit {
                assert_eq!(reached.mode, Mode::Exit, "the venue is over for good");
            }
            if let std::collections::btree_map::Entry::Vacant(place) = found.entry(reached) {
                place.insert([path.clone(), vec![happens]].concat());
                next.push_back(reached);
            }
        }
        if state.mode != Mode::Exit {
            let mut venue = reach(&path);
            venue.step(Happens::Unhalt);
            let opened = (0..PATIENCE).any(|_| {
                let before = venue.engine.mode().mode;
                keeps_to_the_table(before, &venue.step(Happens::Well));
                venue.engine.mode().mode == Mode::Open
            });
            assert!(opened, "a trap after {path:?}: {:?}", venue.state());
        }
    }
    println!("{} states, {moves} moves", found.len());
    assert_eq!(
        modes.len(),
        Mode::ALL.len(),
        "not every mode was reached: {modes:?}"
    );
}

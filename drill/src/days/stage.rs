//! The venue that a day is played on: one thread, makers around the truth, and named accounts.

use std::collections::BTreeMap;

use lifeboat_engine::command::{Action, OptionTerms, PlaceOrder};
use lifeboat_engine::types::{
    AccountId, Cash, ChainId, InstrumentId, Mode, OptionKind, Side, TimeInForce, TimeMs,
    UnderlyingId, ValidatorId,
};
use lifeboat_engine::{Event, Genesis, Parameters, Reject};

use crate::market::{
    Cast, Feed, FeedSettings, Listed, MakerSettings, Outlook, Participant, SimulatedOutlook,
    SimulatedUnderlying, Simulation, SimulationSettings, SourceFaults, Stress, StressedOutlook,
    TakerSettings,
};
use crate::rehearsal::{Observer, Rehearsal};
use crate::twin::Finding;

const SEED: u64 = 1;
const VALIDATORS: u16 = 4;
const SOURCES: usize = 5;
const MAKERS: u32 = 2;
const CHAIN: ChainId = ChainId([0xDA; 32]);
/// 2026-01-28 12:00 UTC: no expiry for twenty hours.
pub const START: TimeMs = TimeMs::new(1_769_601_600_000);
/// Named accounts.
const ACTORS: u32 = 6;
/// Between two blocks.
const BLOCK_MS: u64 = 1_000;
/// A part of an account in liquidation that the backstop maker bids for, in millionths.
const BACKSTOP_PART_PPM: u32 = 50_000;
/// Attempts to come to a position.
const ATTEMPTS: usize = 40;
/// Bitcoin.
pub const BTC: UnderlyingId = UnderlyingId::new(0);

/// A named account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Actor {
    /// Who may lose what it should not.
    Victim,
    /// Who hopes to gain.
    Vulture,
    /// Buys parts of accounts in liquidation at the auction's price.
    Backstop,
}

/// What an account had at a moment.
#[derive(Clone, Debug, Default)]
struct Held {
    cash: f64,
    positions: BTreeMap<InstrumentId, f64>,
}

/// What happened so far.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Liquidations that began.
    pub liquidations: u64,
    /// Trades.
    pub trades: u64,
    /// Modes that the venue went into, in order.
    pub modes: Vec<Mode>,
    /// Refusals, by reason.
    pub rejects: BTreeMap<Reject, u64>,
    /// All events that days ask about, in order.
    pub events: Vec<Event>,
}

/// The venue of a day.
pub struct Stage {
    rehearsal: Rehearsal,
    actors: Vec<Participant>,
    truth: StressedOutlook,
    held: BTreeMap<AccountId, Held>,
    /// What happened so far.
    pub counts: Counts,
    terms: BTreeMap<InstrumentId, OptionTerms>,
}

/// The underlyings of a day: quiet by themselves, so that what happens is the script's.
fn calm(stress: &Stress) -> StressedOutlook {
    let quiet = |one: SimulatedUnderlying| SimulatedUnderlying {
        jumps_per_year: 0.0,
        ..one
    };
    let both = [
        quiet(SimulatedUnderlying::BTC),
        quiet(SimulatedUnderlying::ETH),
    ];
    let inner = SimulatedOutlook::new(SEED, START, &both);
    StressedOutlook::new(Box::new(inner), stress.clone(), START)
}

impl Stage {
    /// A venue under `stress`, which begins with it.
    pub fn new(parameters: Parameters, stress: &Stress) -> Self {
        let cast = Cast {
            seed: SEED,
            chain: CHAIN,
            makers: MAKERS,
            takers: 0,
            clients: ACTORS,
            traders: 0,
            quoters: 0,
        };
        let observer = |number: u16| {
            let settings = FeedSettings {
                seed: SEED,
                validator: ValidatorId::new(number),
                sources: SOURCES,
                noise: 2e-4,
            };
            let faults = SourceFaults::new(stress.faults.clone(), START);
            let mut feed = Feed::new(settings, [1 + number as u8; 32], CHAIN).without_forwards();
            feed.suffer(faults);
            Observer {
                feed,
                outlook: Box::new(calm(stress)),
            }
        };
        let observers: Vec<Observer> = (0..VALIDATORS).map(observer).collect();
        let steps = parameters.underlyings.iter().map(|u| (u.tick, u.lot));
        let settings = SimulationSettings {
            seed: SEED,
            chain: CHAIN,
            first_account: cast.first_maker(),
            makers: MAKERS,
            takers: 0,
            maker: MakerSettings {
                lots: 500,
                inventory_lots_max: 1_000_000,
                ..MakerSettings::default()
            },
            taker: TakerSettings::default(),
            steps: steps.collect(),
        };
        let genesis = Genesis {
            chain: CHAIN,
            time: START,
            validators: observers.iter().map(|one| one.feed.public()).collect(),
            parameters,
            accounts: cast.genesis_accounts(|_| None),
        };
        let simulation = Simulation::new(&settings, Box::new(calm(stress)));
        let actor = |account| Participant::development(SEED, account, CHAIN);
        Self {
            rehearsal: Rehearsal::new(&genesis, observers, simulation)
                .expect("a day's genesis is sound"),
            actors: cast.clients().map(actor).collect(),
            truth: calm(stress),
            held: BTreeMap::new(),
            counts: Counts::default(),
            terms: BTreeMap::new(),
        }
    }

    /// The account of an actor.
    pub fn account(&self, who: Actor) -> AccountId {
        self.actors[who as usize].account()
    }

    /// The engine, for reading.
    pub const fn engine(&self) -> &lifeboat_engine::Engine {
        self.rehearsal.engine()
    }

    /// Milliseconds since the script began.
    pub fn now_ms(&self) -> u64 {
        self.rehearsal.engine().time().since(START)
    }

    /// Signs a command; it is in the next block.
    pub fn send(&mut self, who: Actor, action: Action) {
        let command = self.actors[who as usize].sign(action);
        self.rehearsal.submit(command);
    }

    /// Blocks every second until so long after the script's beginning.
    ///
    /// # Errors
    /// What the auditor found.
    pub fn until(&mut self, at_ms: u64) -> Result<(), Finding> {
        while self.now_ms() < at_ms {
            self.backstop();
            self.block(BLOCK_MS)?;
        }
        Ok(())
    }

    /// One block, so long after the last. What was sent before it waited for all that time.
    ///
    /// # Errors
    /// What the auditor found.
    pub fn block(&mut self, after_ms: u64) -> Result<Vec<Event>, Finding> {
        let (_, events) = self.rehearsal.step(after_ms)?;
        for event in &events {
            match event {
                Event::LiquidationStarted { .. } => self.counts.liquidations += 1,
                Event::Traded(_) => self.counts.trades += 1,
                Event::ModeChanged { to, .. } => self.counts.modes.push(*to),
                Event::CommandRejected { reject, .. } => {
                    *self.counts.rejects.entry(*reject).or_default() += 1;
                }
                Event::InstrumentListed { instrument, terms } => {
                    self.terms.insert(*instrument, *terms);
                }
                _ => {}
            }
        }
        let kept = |event: &&Event| {
            !matches!(
                event,
                Event::QuotePlaced { .. }
                    | Event::CommandApplied { .. }
                    | Event::OrderCancelled { .. }
            )
        };
        self.counts
            .events
            .extend(events.iter().filter(kept).cloned());
        Ok(events)
    }

    /// The backstop maker bids for every account in liquidation, whatever the price: it is the
    /// auction's.
    fn backstop(&mut self) {
        let ledger = self.engine().ledger();
        let due = ledger.iter().filter(|(_, one)| one.liquidation.is_some());
        let due: Vec<AccountId> = due.map(|(id, _)| id).collect();
        for account in due {
            let bid = Action::BidLiquidation {
                account,
                part_ppm: BACKSTOP_PART_PPM,
                price_max: Cash::new(i64::MAX),
            };
            self.send(Actor::Backstop, bid);
        }
    }

    /// The option of this kind whose strike is nearest `near` times the index, of the first expiry that
    /// is at least so many days away.
    pub fn option(&self, kind: OptionKind, near: f64, days: u64) -> Option<Listed> {
        let engine = self.engine();
        let index = engine.index_price(BTC)?.get() as f64;
        let from = engine.time().plus_ms(days * 86_400_000);
        let fits = engine.instruments().iter().filter(|one| {
            let terms = one.terms;
            one.is_listed() && terms.underlying == BTC && terms.kind == kind && terms.expiry >= from
        });
        let away = |strike: i64| (strike as f64 - near * index).abs() as i64;
        let best = fits.min_by_key(|one| (one.terms.expiry, away(one.terms.strike.get())))?;
        let underlying = engine.underlying(best)?;
        Some(Listed {
            id: best.id,
            terms: best.terms,
            tick: underlying.tick,
            lot: underlying.lot,
        })
    }

    /// What an option is worth, in USDC for a coin.
    pub fn worth(&mut self, listed: &Listed) -> f64 {
        let now = self.rehearsal.engine().time();
        let value = self.truth.value(&listed.terms, now);
        value.map_or(0.0, |value| value.price)
    }

    /// Goes as far as margin allows: sells all of these alike, step by step, until one is refused.
    ///
    /// # Errors
    /// What the auditor found, or that there is no such position.
    pub fn sell_most(&mut self, who: Actor, all: &[Listed], step: i64) -> Result<(), Finding> {
        for lots in (1..).map(|n| -step * n) {
            for listed in all {
                if let Err(finding) = self.hold(who, listed, lots) {
                    let full = self
                        .counts
                        .rejects
                        .contains_key(&Reject::MarginBelowInitial);
                    return if full { Ok(()) } else { Err(finding) };
                }
            }
        }
        Ok(())
    }

    /// Trades with the makers until the actor holds so many lots.
    ///
    /// # Errors
    /// What the auditor found, or that the position did not come about.
    pub fn hold(&mut self, who: Actor, listed: &Listed, lots: i64) -> Result<(), Finding> {
        for _ in 0..ATTEMPTS {
            let held = self.position(who, listed.id);
            if held == lots {
                return Ok(());
            }
            let side = if held < lots { Side::Buy } else { Side::Sell };
            let opposite = if held < lots { Side::Sell } else { Side::Buy };
            if let Some(price) = self.engine().best(listed.id, opposite) {
                let missing = u32::try_from(held.abs_diff(lots)).unwrap_or(u32::MAX);
                let order = PlaceOrder {
                    time_in_force: TimeInForce::ImmediateOrCancel,
                    ..listed.order(side, listed.lots(missing.min(500)), price)
                };
                self.send(who, Action::PlaceOrder(order));
            }
            self.block(BLOCK_MS)?;
            if self
                .counts
                .rejects
                .contains_key(&Reject::MarginBelowInitial)
            {
                break;
            }
        }
        Err(Finding {
            invariant: "day",
            event: 0,
            what: format!(
                "{who:?} could not come to {lots} lots; refused: {:?}",
                self.counts.rejects
            ),
        })
    }

    /// The same after margin had an end: what was refused before counts for nothing.
    ///
    /// # Errors
    /// As of [`Stage::hold`].
    pub fn hold_again(&mut self, who: Actor, listed: &Listed, lots: i64) -> Result<(), Finding> {
        self.counts.rejects.clear();
        self.hold(who, listed, lots)
    }

    /// Lots that an actor holds.
    pub fn position(&self, who: Actor, instrument: InstrumentId) -> i64 {
        let account = self.engine().account(self.account(who));
        let holding = account.and_then(|one| one.holding(instrument));
        holding.map_or(0, |one| one.position)
    }

    fn held(&self, account: AccountId) -> Held {
        let Some(entry) = self.engine().account(account) else {
            return Held::default();
        };
        let coins = |instrument| {
            let lot = self.engine().instruments().get(instrument);
            lot.map_or(0.0, |one| one.lot.get() as f64 / 1e8)
        };
        let positions = entry.holdings.iter().filter(|one| one.position != 0);
        Held {
            cash: entry.cash.get() as f64 / 1e6,
            positions: positions
                .map(|one| (one.instrument, one.position as f64 * coins(one.instrument)))
                .collect(),
        }
    }

    /// Remembers what everybody has now: from here on losses count.
    pub fn remember(&mut self) {
        let accounts: Vec<AccountId> = self.engine().ledger().iter().map(|(id, _)| id).collect();
        self.held = accounts.into_iter().map(|id| (id, self.held(id))).collect();
    }

    fn value(&mut self, held: &Held) -> f64 {
        let now = self.rehearsal.engine().time();
        let worth = |(instrument, coins): (&InstrumentId, &f64)| {
            let terms = self.terms.get(instrument);
            let value = terms.and_then(|terms| self.truth.value(terms, now));
            coins * value.map_or(0.0, |value| value.price)
        };
        held.cash + held.positions.iter().map(worth).sum::<f64>()
    }

    /// What an account lost, in USDC, against doing nothing since [`Stage::remember`]: what it had then at
    /// what that is worth now, less what it has. Negative for a gain.
    pub fn lost(&mut self, account: AccountId) -> f64 {
        let before = self.held.get(&account).cloned().unwrap_or_default();
        let now = self.held(account);
        self.value(&before) - self.value(&now)
    }
}

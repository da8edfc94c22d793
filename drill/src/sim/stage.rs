//! What a simulated venue executes, and what it is busy with.

use std::collections::BTreeSet;
use std::sync::Arc;

use lifeboat_engine::command::{Action, OrderRef, PlaceOrder};
use lifeboat_engine::types::{
    AccountId, ChainId, ClientOrderId, OrderId, Side, TimeMs, ValidatorId,
};
use lifeboat_engine::{Command, Genesis, Parameters};
use lifeboat_node::machine::Blueprint;
use lifeboat_node::opening::Opener;
use lifeboat_node::outcome::Answer;
use lifeboat_node::shared::VenueClock;
use lifeboat_node::sim::{Cluster, TallyBlueprint, cluster_seal_key, user_command};
use lifeboat_node::venue::Venue;

use crate::live::{HOLDER_QUOTERS, Holders, targets, traded};
use crate::market::{
    Cast, Dice, Feed, FeedSettings, Instruments, Listed, LoadPlan, LoadSettings, Outlook as _,
    Participant, Quoting, SimulatedOutlook, StressFile, StressedOutlook, for_pace,
};
use crate::plan::{Engine, MarketClock, Plan, Position};

const CHAIN: ChainId = ChainId([0x5E; 32]);
/// Error of each price source, as a share of the price.
const SOURCE_NOISE: f64 = 2e-4;
/// Block time between two observations.
const OBSERVE_MS: u64 = 1_000;
/// The reopening ladder of a venue that people try takes seconds.
const AGREEMENT_MS: u64 = 3_000;
const REOPENING_MS: u64 = 5_000;
/// Until options are listed and marked.
const LISTING_MS: u64 = 60_000;
/// Books that the load is on: few, so that a dozen orders a second meet each other.
const BOOKS: usize = 2;
/// Between two looks of makers at their quotes, by the plan's time.
const QUOTE_MS: u64 = 100;
/// How far two blocks are apart at most, which block time is paced by.
const BLOCK_MS: u64 = 100;
/// An order that opens a position is answered within this.
const ANSWER_MS: u64 = 10_000;
/// Commands that are signed at a time.
const BATCH: usize = 64;

/// What is executed.
pub enum Stage {
    /// A machine that counts.
    Tally {
        /// Commands so far.
        nonce: u64,
    },
    /// The venue.
    Venue(Box<Market>),
}

/// The venue's validators and its load.
pub struct Market {
    genesis: Genesis,
    feeds: Vec<Feed>,
    /// By validator; made when the cluster is there.
    openers: Vec<Opener>,
    outlook: StressedOutlook,
    script: StressFile,
    /// The plan's clock, if it has one, and how block time follows simulated time.
    market_clock: Option<MarketClock>,
    clock: VenueClock,
    positions: Vec<Position>,
    holders: Holders,
    makers: Option<Quoting>,
    quoted: TimeMs,
    /// The load's options: of this underlying, and there longer than the plan takes.
    underlying: Option<u8>,
    length_ms: u64,
    instruments: Instruments,
    observed: TimeMs,
    settings: LoadSettings,
    load: Option<LoadPlan>,
    target: Option<Listed>,
    commands: Vec<Command>,
    marks: u64,
    probes: u64,
}

impl Stage {
    /// What a plan's venue executes.
    pub fn of(plan: &Plan) -> Self {
        match plan.topology.engine {
            Engine::Tally => Self::Tally {
                nonce: plan.workload.nonce_before,
            },
            Engine::Venue => Self::Venue(Box::new(Market::new(plan))),
        }
    }

    /// Makes the state machines.
    pub fn blueprint(&self) -> Arc<dyn Blueprint> {
        match self {
            Self::Tally { .. } => Arc::new(tally()),
            Self::Venue(market) => Arc::new(market.venue()),
        }
    }

    /// Makes the state machine of a node that does something else than the others, once.
    pub fn drifting(&self) -> Option<Arc<dyn Blueprint>> {
        match self {
            Self::Tally { .. } => None,
            Self::Venue(market) => Some(Arc::new(market.venue().drifting())),
        }
    }

    /// The venue's beginning, if it is one.
    pub fn genesis(&self) -> Option<&Genesis> {
        match self {
            Self::Tally { .. } => None,
            Self::Venue(market) => Some(&market.genesis),
        }
    }

    /// Waits until there is something to trade, opens the plan's positions, and waits for the plan's
    /// beginning; says what there never was.
    pub async fn warm_up(&mut self, cluster: &mut Cluster) -> Result<(), String> {
        let Self::Venue(market) = self else {
            return Ok(());
        };
        let began = cluster.now();
        while cluster.now().since(began) < LISTING_MS {
            market.observe(cluster);
            cluster.sleep(100).await;
            let found = cluster.node(0).and_then(|node| node.with_engine(targets));
            if let Some(found) = found.filter(|found| !found.is_empty()) {
                market.open_positions(cluster, &found).await?;
                market.trade(found);
                return market.wait_for_the_plan(cluster).await;
            }
        }
        Err("nothing came to be traded".to_owned())
    }

    /// The plan's clock begins: what the market does by its script counts from here.
    pub fn begin(&mut self, now: TimeMs) {
        if let Self::Venue(market) = self {
            market.begin(market.clock.venue(now));
        }
    }

    /// How block time follows simulated time.
    pub fn clock(&self) -> VenueClock {
        match self {
            Self::Tally { .. } => VenueClock::default(),
            Self::Venue(market) => market.clock,
        }
    }

    /// The accounts that hold the plan's positions.
    pub fn holders(&self) -> Vec<AccountId> {
        match self {
            Self::Tally { .. } => Vec::new(),
            Self::Venue(market) => market.holders.accounts(),
        }
    }

    /// What goes on by itself: validators observe, makers quote.
    pub fn tick(&mut self, cluster: &Cluster) {
        if let Self::Venue(market) = self {
            market.observe(cluster);
            market.quote(cluster);
        }
    }

    /// The next command of the load, and whether it is an order.
    pub fn command(&mut self, dice: &mut Dice) -> Option<(Command, bool)> {
        match self {
            Self::Tally { nonce } => {
                *nonce += 1;
                let account = AccountId::new(1 + dice.below(5) as u32);
                Some((user_command(&CHAIN, account, *nonce), true))
            }
            Self::Venue(market) => market.next(),
        }
    }

    /// An order with a label, from an account of its own.
    pub fn marked(&mut self, label: &[u8]) -> Option<Command> {
        match self {
            Self::Tally { .. } => None,
            Self::Venue(market) => market.marked(label),
        }
    }

    /// An order that rests, or the cancel of one by its id, from an account of its own.
    pub fn probe(&mut self, resting: Option<OrderId>) -> Option<Command> {
        match self {
            Self::Tally { .. } => None,
            Self::Venue(market) => market.probe(resting),
        }
    }
}

/// The seeded path of a venue of this genesis time, under a script.
fn stressed(seed: u64, genesis: TimeMs, script: &StressFile) -> StressedOutlook {
    script.outlook(Box::new(SimulatedOutlook::default_pair(seed, genesis)))
}

/// What counts.
pub fn tally() -> TallyBlueprint {
    TallyBlueprint {
        chain: CHAIN,
        poison: None,
        skew_at: None,
    }
}

/// The figures of a simulated venue: at life's pace its reopening is short.
fn parameters(plan: &Plan) -> Parameters {
    let mut parameters = Parameters::default();
    match &plan.topology.clock {
        Some(clock) => parameters = for_pace(parameters, BLOCK_MS * u64::from(clock.speed)),
        None => {
            parameters.modes.agreement_ms = AGREEMENT_MS;
            parameters.modes.cancel_only_ms = REOPENING_MS;
            parameters.modes.post_only_ms = REOPENING_MS;
            parameters.auction.length_ms = REOPENING_MS;
            parameters.auction.last_phase_ms = REOPENING_MS / 2;
            parameters.auction.extension_ms = REOPENING_MS;
        }
    }
    parameters.auction.key = cluster_seal_key(plan.topology.validators.into());
    parameters
}

impl Market {
    fn new(plan: &Plan) -> Self {
        let held = plan.workload.holders();
        let cast = Cast {
            seed: plan.seed,
            chain: CHAIN,
            makers: 0,
            takers: 0,
            clients: 0,
            traders: held + plan.workload.accounts,
            quoters: HOLDER_QUOTERS,
        };
        let mut parameters = parameters(plan);
        plan.venue.put(&mut parameters, cast.operator());
        let sources = parameters.underlyings.first();
        let sources = sources.map_or(0, |one| one.source_weights.len());
        let feed = |number: u16| {
            let settings = FeedSettings {
                seed: 0,
                validator: ValidatorId::new(number),
                sources,
                noise: SOURCE_NOISE,
            };
            let secret = Dice::at(plan.seed, &[3, u64::from(number)]).key();
            Feed::new(settings, secret, CHAIN)
        };
        let feeds: Vec<Feed> = (0..plan.topology.validators).map(feed).collect();
        let steps = parameters.underlyings.iter().map(|one| (one.tick, one.lot));
        let market_clock = plan.topology.clock.clone();
        let time = market_clock
            .as_ref()
            .map_or(TimeMs::new(0), MarketClock::genesis);
        let script = StressFile {
            began_ms: market_clock
                .as_ref()
                .map_or(0, |clock| clock.begins().get()),
            stress: plan.stress.clone(),
        };
        let settings = LoadSettings {
            seed: plan.seed,
            chain: CHAIN,
            first_account: AccountId::new(cast.first_trader().get() + held),
            traders: plan.workload.accounts,
            quoters: 0,
            nonce_before: plan.workload.nonce_before,
            ..LoadSettings::default()
        };
        let holders = Holders::new(plan, settings);
        let makers = (0..plan.workload.makers).map(|number| holders.maker(number));
        let makers = Quoting::new(makers, &script, (plan.seed, time), steps.clone().collect());
        Self {
            instruments: Instruments::new(steps.collect()),
            genesis: Genesis {
                chain: CHAIN,
                time,
                validators: feeds.iter().map(Feed::public).collect(),
                parameters,
                accounts: cast.genesis_accounts(|_| None),
            },
            feeds,
            openers: Vec::new(),
            outlook: stressed(plan.seed, time, &StressFile::default()),
            script,
            clock: market_clock
                .as_ref()
                .map_or(VenueClock::default(), |clock| clock.from(TimeMs::new(0))),
            market_clock,
            positions: plan.workload.positions.clone(),
            holders,
            makers: Some(makers).filter(|makers| !makers.is_empty()),
            quoted: TimeMs::new(0),
            underlying: plan.workload.underlying,
            length_ms: plan.length_ms() + plan.exit.load_ms + plan.exit.ready_ms,
            observed: TimeMs::new(0),
            settings,
            load: None,
            target: None,
            commands: Vec::new(),
            marks: 0,
            probes: 0,
        }
    }

    fn begin(&mut self, now: TimeMs) {
        let begins = self.market_clock.as_ref().map(MarketClock::begins);
        self.script.began_ms = begins.unwrap_or(now).get();
        for feed in &mut self.feeds {
            feed.suffer(self.script.faults());
        }
        self.outlook = stressed(self.settings.seed, self.genesis.time, &self.script);
    }

    fn now(&self, cluster: &Cluster) -> TimeMs {
        self.clock.venue(cluster.now())
    }

    /// The load's books.
    fn trade(&mut self, found: Vec<(Listed, f64)>) {
        let passes_ms = self.length_ms * u64::from(self.clock.speed);
        let found = crate::live::lasting(found, self.underlying, |terms| {
            terms.expiry > self.genesis.time.plus_ms(passes_ms)
        });
        self.target = found.first().map(|(listed, _)| *listed);
        let found = found.into_iter().take(BOOKS).collect();
        self.load = Some(LoadPlan::new(self.settings, found));
    }

    async fn open_positions(
        &mut self,
        cluster: &Cluster,
        found: &[(Listed, f64)],
    ) -> Result<(), String> {
        let now = self.now(cluster);
        let outlook = &mut self.outlook;
        let spot = |of: u8| outlook.index(lifeboat_engine::types::UnderlyingId::new(of), now);
        let openings = self
            .holders
            .open(&self.positions, &self.genesis, (found, now), spot)?;
        for opening in openings {
            let mut lots = 0;
            for command in opening.orders.into_iter().flatten() {
                let mut answer = cluster.submit(0, command);
                let began = cluster.now();
                let answer = loop {
                    self.observe(cluster);
                    cluster.sleep(25).await;
                    match answer.try_recv() {
                        Ok(answer) => break Some(answer),
                        Err(_) if cluster.now().since(began) > ANSWER_MS => break None,
                        Err(_) => {}
                    }
                };
                match answer {
                    Some(Answer::Outcome(outcome)) => lots += traded(&outcome, &opening.listed),
                    other => return Err(format!("an order that opens a position: {other:?}")),
                }
            }
            if lots != opening.lots {
                let wanted = opening.lots;
                return Err(format!(
                    "a position of {lots} lots came about, not of {wanted}"
                ));
            }
        }
        Ok(())
    }

    /// Until the plan begins by its clock, makers quote and nobody else trades.
    async fn wait_for_the_plan(&mut self, cluster: &Cluster) -> Result<(), String> {
        let Some(clock) = self.market_clock.clone() else {
            return Ok(());
        };
        if self.now(cluster) > clock.begins() {
            return Err("the venue came about later than the plan begins".to_owned());
        }
        while self.now(cluster) < clock.begins() {
            self.observe(cluster);
            self.quote(cluster);
            cluster.sleep(25).await;
        }
        Ok(())
    }

    /// Makers send what is due, through one validator after the other.
    fn quote(&mut self, cluster: &Cluster) {
        let (now, at) = (self.now(cluster), cluster.now());
        let Some(makers) = &mut self.makers else {
            return;
        };
        if at.since(self.quoted) < QUOTE_MS {
            return;
        }
        self.quoted = at;
        let up: Vec<usize> = (0..cluster.len())
            .filter(|index| cluster.node(*index).is_some())
            .collect();
        let place = (at.get() / QUOTE_MS) as usize;
        let Some(index) = up.get(place % up.len().max(1)) else {
            return;
        };
        for listed in self.instruments.iter() {
            makers.know(listed.id, listed.terms);
        }
        for command in makers.step(now) {
            drop(cluster.submit(*index, command));
        }
    }

    fn venue(&self) -> Venue {
        Venue::new(self.genesis.clone()).expect("the development genesis is sound")
    }

    /// Every validator that runs says what opens an auction that is closed.
    fn open_auctions(&mut self, cluster: &Cluster) {
        if self.openers.is_empty() {
            let all = 0..cluster.len();
            self.openers = all.map(|index| cluster.opener(index, CHAIN)).collect();
        }
        let parts = self.openers.iter_mut().zip(&mut self.feeds).enumerate();
        for (index, (opener, feed)) in parts {
            let me = ValidatorId::new(index as u16);
            let node = cluster.node(index);
            let reports =
                node.and_then(|node| node.with_engine(|engine| opener.reports(engine, me)));
            for report in reports.unwrap_or_default() {
                drop(cluster.submit(index, feed.sign(report)));
            }
        }
    }

    /// Once a second every validator that runs says what its sources say.
    fn observe(&mut self, cluster: &Cluster) {
        self.open_auctions(cluster);
        let now = self.now(cluster);
        if now.since(self.observed) < OBSERVE_MS {
            return;
        }
        self.observed = now;
        let known: BTreeSet<_> = self.instruments.iter().map(|listed| listed.id).collect();
        let read = |engine: &lifeboat_engine::Engine| {
            let listed = engine.instruments().iter().filter(|one| one.is_listed());
            let new = listed.filter(|one| !known.contains(&one.id));
            new.map(|one| (one.id, one.terms)).collect::<Vec<_>>()
        };
        let nodes = (0..cluster.len()).filter_map(|index| cluster.node(index));
        let new = nodes
            .filter_map(|node| node.with_engine(read))
            .max_by_key(Vec::len);
        for (id, terms) in new.unwrap_or_default() {
            self.instruments.list(id, terms);
        }
        for (index, feed) in self.feeds.iter_mut().enumerate() {
            if cluster.node(index).is_some() {
                for command in feed.step(&mut self.outlook, &self.instruments, now) {
                    drop(cluster.submit(index, command));
                }
            }
        }
    }

    fn next(&mut self) -> Option<(Command, bool)> {
        if self.commands.is_empty() {
            self.commands = self.load.as_mut()?.singles(BATCH);
            self.commands.reverse();
        }
        let command = self.commands.pop()?;
        let order = match &command {
            Command::User(user) => matches!(user.payload.action, Action::PlaceOrder(_)),
            Command::Validator(_) => false,
        };
        Some((command, order))
    }

    fn probe(&mut self, resting: Option<OrderId>) -> Option<Command> {
        let listed = self.target?;
        self.probes += 1;
        let all = self.settings;
        let account = AccountId::new(all.first_account.get() + all.traders + 1);
        let mut participant = Participant::development(all.seed, account, CHAIN).after(self.probes);
        Some(participant.sign(match resting {
            Some(order) => Action::CancelOrder(OrderRef::Id(order)),
            None => Action::PlaceOrder(listed.order(Side::Buy, listed.lots(1), listed.tick)),
        }))
    }

    fn marked(&mut self, label: &[u8]) -> Option<Command> {
        let listed = self.target?;
        let (all, nonce) = (self.settings, self.marks + 1);
        let account = AccountId::new(all.first_account.get() + all.traders);
        let mut participant = Participant::development(all.seed, account, CHAIN).after(nonce);
        self.marks = nonce;
        Some(participant.sign(Action::PlaceOrder(PlaceOrder {
            client_id: ClientOrderId::new(nonce),
            label: label.to_vec(),
            ..listed.order(Side::Buy, listed.lots(1), listed.tick)
        })))
    }
}

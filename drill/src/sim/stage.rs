//! What a simulated venue executes, and what it is busy with.

use std::collections::BTreeSet;
use std::sync::Arc;

use lifeboat_engine::command::{Action, OrderPrice, PlaceOrder};
use lifeboat_engine::types::{
    AccountId, ChainId, ClientOrderId, PostOnly, RecoveryPolicy, SelfTradePrevention, Side,
    TimeInForce, TimeMs, ValidatorId,
};
use lifeboat_engine::{Command, Genesis, Parameters};
use lifeboat_node::machine::Blueprint;
use lifeboat_node::opening::Opener;
use lifeboat_node::sim::{Cluster, TallyBlueprint, cluster_seal_key, user_command};
use lifeboat_node::venue::Venue;

use crate::live::targets;
use crate::market::{
    Cast, Dice, Feed, FeedSettings, Instruments, Listed, LoadPlan, LoadSettings, Participant,
    SimulatedOutlook,
};
use crate::plan::{Engine, Plan};

const CHAIN: ChainId = ChainId([0x5E; 32]);
/// Error of each price source, as a share of the price.
const SOURCE_NOISE: f64 = 2e-4;
/// Simulated time between two observations.
const OBSERVE_MS: u64 = 1_000;
/// The reopening ladder of a venue that people try takes seconds.
const AGREEMENT_MS: u64 = 3_000;
const REOPENING_MS: u64 = 5_000;
/// Until options are listed and marked.
const LISTING_MS: u64 = 60_000;
/// Books that the load is on: few, so that a dozen orders a second meet each other.
const BOOKS: usize = 2;
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
    outlook: SimulatedOutlook,
    instruments: Instruments,
    observed: TimeMs,
    settings: LoadSettings,
    load: Option<LoadPlan>,
    target: Option<Listed>,
    commands: Vec<Command>,
    marks: u64,
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

    /// Waits until there is something to trade; false if there never is.
    pub async fn warm_up(&mut self, cluster: &mut Cluster) -> bool {
        let Self::Venue(market) = self else {
            return true;
        };
        let began = cluster.now();
        while cluster.now().since(began) < LISTING_MS {
            market.observe(cluster);
            cluster.sleep(100).await;
            let found = cluster.node(0).and_then(|node| node.with_engine(targets));
            if let Some(found) = found.filter(|found| !found.is_empty()) {
                market.target = found.first().map(|(listed, _)| *listed);
                let found = found.into_iter().take(BOOKS).collect();
                market.load = Some(LoadPlan::new(market.settings, found));
                return true;
            }
        }
        false
    }

    /// What goes on by itself: validators observe.
    pub fn tick(&mut self, cluster: &Cluster) {
        if let Self::Venue(market) = self {
            market.observe(cluster);
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
}

/// What counts.
pub fn tally() -> TallyBlueprint {
    TallyBlueprint {
        chain: CHAIN,
        poison: None,
        skew_at: None,
    }
}

impl Market {
    fn new(plan: &Plan) -> Self {
        let cast = Cast {
            seed: plan.seed,
            chain: CHAIN,
            makers: 0,
            takers: 0,
            clients: 0,
            traders: plan.workload.accounts,
            quoters: 1,
        };
        let mut parameters = Parameters::default();
        parameters.modes.agreement_ms = AGREEMENT_MS;
        parameters.modes.cancel_only_ms = REOPENING_MS;
        parameters.modes.post_only_ms = REOPENING_MS;
        parameters.auction.length_ms = REOPENING_MS;
        parameters.auction.last_phase_ms = REOPENING_MS / 2;
        parameters.auction.extension_ms = REOPENING_MS;
        parameters.auction.key = cluster_seal_key(plan.topology.validators.into());
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
        Self {
            instruments: Instruments::new(steps.collect()),
            genesis: Genesis {
                chain: CHAIN,
                time: TimeMs::new(0),
                validators: feeds.iter().map(Feed::public).collect(),
                parameters,
                accounts: cast.genesis_accounts(|_| None),
            },
            feeds,
            openers: Vec::new(),
            outlook: SimulatedOutlook::default_pair(plan.seed, TimeMs::new(0)),
            observed: TimeMs::new(0),
            settings: LoadSettings {
                seed: plan.seed,
                chain: CHAIN,
                first_account: cast.first_trader(),
                traders: cast.traders,
                quoters: 0,
                nonce_before: plan.workload.nonce_before,
                ..LoadSettings::default()
            },
            load: None,
            target: None,
            commands: Vec::new(),
            marks: 0,
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
        let now = cluster.now();
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

    fn marked(&mut self, label: &[u8]) -> Option<Command> {
        let listed = self.target?;
        let (all, nonce) = (self.settings, self.marks + 1);
        let account = AccountId::new(all.first_account.get() + all.traders);
        let mut participant = Participant::development(all.seed, account, CHAIN).after(nonce);
        self.marks = nonce;
        Some(participant.sign(Action::PlaceOrder(PlaceOrder {
            instrument: listed.id,
            side: Side::Buy,
            qty: listed.lots(1),
            price: OrderPrice::Limit(listed.tick),
            time_in_force: TimeInForce::GoodTilCancelled,
            post_only: PostOnly::Off,
            reduce_only: false,
            self_trade: SelfTradePrevention::CancelMaker,
            recovery: RecoveryPolicy::Keep,
            protected: false,
            client_id: ClientOrderId::new(nonce),
            label: label.to_vec(),
        })))
    }
}

//! The gateway itself: what its parts share, and the task that follows the venue's blocks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lifeboat_engine::types::AccountId;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::time::MissedTickBehavior;

use crate::auth::Auth;
use crate::channel::Moment;
use crate::config::Config;
use crate::error::RpcError;
use crate::hub::Hub;
use crate::keys::ApiKeys;
use crate::limits::TokenBucket;
use crate::memory::{Memory, traded};
use crate::metrics::Metrics;
use crate::orders::Desks;
use crate::port::{AppliedBlock, Venue};
use crate::scene::Scene;
use crate::signer::Signers;
use crate::snapshot::{Needs, Snapshot};
use crate::view::View;

/// What the venue tells of its blocks.
pub type Blocks = broadcast::Receiver<Arc<AppliedBlock>>;
/// How often channels with an interval are looked at between blocks.
const FLUSH_EVERY: Duration = Duration::from_millis(50);
/// The validator's pressure from which on depth is told less often: before any order is refused.
const DEPTH_SHED_AT: f64 = 0.5;

/// Memory and subscriptions, under one lock.
#[derive(Debug, Default)]
pub struct State {
    /// What the gateway knows.
    pub memory: Memory,
    /// Who listens to what.
    pub hub: Hub,
    /// Accounts that are served from the next block on.
    joining: BTreeSet<AccountId>,
}

/// The gateway: shared by its sockets and the task that follows blocks.
pub struct Gateway {
    /// Parameters.
    pub config: Config,
    /// The port to the venue.
    pub venue: Arc<dyn Venue>,
    /// Who may ask.
    pub auth: Auth,
    /// The session keys that sign for clients.
    pub signers: Signers,
    /// Counters.
    pub metrics: Metrics,
    /// When it started.
    pub started: Instant,
    state: Mutex<State>,
    buckets: Mutex<BTreeMap<AccountId, TokenBucket>>,
    next_connection: AtomicU64,
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gateway").finish_non_exhaustive()
    }
}

impl Gateway {
    /// Over a venue and a set of API keys.
    pub fn new(config: Config, venue: Arc<dyn Venue>, keys: ApiKeys) -> Arc<Self> {
        let accounts: Vec<AccountId> = keys.iter().map(|key| key.account()).collect();
        let chain = venue.status().chain;
        let signers = Signers::new(&keys, config.gateway, chain, now_ms());
        let mut state = State::default();
        state.memory.desks = Desks::new(accounts);
        Arc::new(Self {
            config,
            venue,
            auth: Auth::new(keys),
            signers,
            metrics: Metrics::default(),
            started: Instant::now(),
            state: Mutex::new(state),
            buckets: Mutex::default(),
            next_connection: AtomicU64::new(1),
        })
    }

    /// The memory and the subscriptions. Never held across an await, nor while reading the venue's
    /// state from a closure of [`Venue::read`].
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number for a new connection.
    pub fn connection_id(&self) -> u64 {
        self.next_connection.fetch_add(1, Ordering::Relaxed)
    }

    /// Counts a request against its account's rate.
    ///
    /// # Errors
    /// `too_many_requests`.
    pub fn admit(&self, account: AccountId) -> Result<(), RpcError> {
        let now = Instant::now();
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let rate = self.config.account_rate;
        let bucket = buckets
            .entry(account)
            .or_insert_with(|| TokenBucket::new(rate, now));
        if bucket.take(now) {
            return Ok(());
        }
        self.metrics.throttled_total.up();
        Err(RpcError::too_many("the account's request rate is exceeded"))
    }

    /// Reads what is needed.
    pub fn read(&self, needs: &Needs) -> Snapshot {
        Snapshot::take(&*self.venue, needs)
    }

    /// Begins to hear of blocks, then takes over the venue's present state, so that no block falls
    /// between the two.
    pub fn attend(&self) -> Blocks {
        let blocks = self.venue.subscribe();
        self.load(&mut self.state());
        blocks
    }

    /// Follows the venue's blocks until it closes.
    pub async fn follow(self: Arc<Self>, mut blocks: Blocks) {
        let mut flush = tokio::time::interval(FLUSH_EVERY);
        flush.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                block = blocks.recv() => match block {
                    Ok(block) => self.on_block(&block),
                    Err(RecvError::Lagged(missed)) => {
                        self.skip(missed);
                    }
                    Err(RecvError::Closed) => break,
                },
                _ = flush.tick() => self.flush(),
            }
        }
        self.state().hub.interrupt();
    }

    /// Takes over the venue's state as it is now.
    fn load(&self, state: &mut State) {
        self.venue
            .read(&mut |engine| state.memory.load(&View(engine)));
    }

    /// Goes on after blocks that were missed.
    fn skip(&self, missed: u64) {
        tracing::warn!(missed, "blocks were missed; streams are interrupted");
        self.metrics.gaps_total.up();
        let mut state = self.state();
        state.hub.interrupt();
        self.load(&mut state);
    }

    fn on_block(&self, block: &AppliedBlock) {
        self.metrics.blocks_total.up();
        let next = self.state().memory.clock.height.next();
        if block.height > next {
            self.skip(block.height.get() - next.get());
        }
        let mut needs = Needs::default();
        for id in traded(block) {
            needs.instrument(id, 0);
        }
        let marks = match needs.is_empty() {
            true => Snapshot::default(),
            false => self.read(&needs),
        };
        let mut state = self.state();
        if block.height <= state.memory.clock.height {
            state.memory.settle_from(block);
            return;
        }
        let State { memory, hub, .. } = &mut *state;
        let changes = memory.apply(block, &marks);
        hub.absorb(&changes, memory);
        self.join(&mut state);
        self.publish(&mut state);
    }

    /// Takes over API keys that were made while it runs. Commands of a key are refused by the venue until
    /// the account's owner has registered its session key.
    pub fn adopt(&self, keys: &ApiKeys) {
        let mut state = self.state();
        let served: BTreeSet<AccountId> = state.memory.desks.accounts().collect();
        let accounts = keys.iter().map(|key| key.account());
        let new = accounts.filter(|account| !served.contains(account));
        state.joining.extend(new);
        self.join(&mut state);
        drop(state);
        self.signers.adopt(keys, now_ms());
        self.auth.adopt(keys);
    }

    /// Opens the memory of new accounts, if the venue's state is the one that the memory is at.
    fn join(&self, state: &mut State) {
        if state.joining.is_empty() {
            return;
        }
        let State {
            memory, joining, ..
        } = state;
        self.venue.read(&mut |engine| {
            let view = View(engine);
            if view.clock().height == memory.clock.height {
                for account in std::mem::take(joining) {
                    memory
                        .desks
                        .open(account, &view.orders(account), view.time());
                }
            }
        });
    }

    fn flush(&self) {
        let mut state = self.state();
        self.publish(&mut state);
    }

    fn publish(&self, state: &mut State) {
        let now = Moment {
            ms: now_ms(),
            shedding: self.venue.pressure() >= DEPTH_SHED_AT,
        };
        let State { memory, hub, .. } = state;
        let needs = hub.due(now, memory);
        let snapshot = match needs.is_empty() {
            true => Snapshot {
                time: memory.clock.time,
                ..Snapshot::default()
            },
            false => self.read(&needs),
        };
        let scene = Scene {
            memory,
            snapshot: &snapshot,
        };
        hub.publish(now, &scene);
    }
}

/// The wall clock, in milliseconds since the Unix epoch.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |elapsed| elapsed.as_millis() as u64)
}

//! One channel: what it waits to say, what it said last, and to whom.

use std::collections::BTreeMap;

use lifeboat_engine::types::{AccountId, InstrumentId, Mode};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::book_feed::Book;
use crate::decimal::price;
use crate::hub::ConnId;
use crate::memory::{Changes, Memory};
use crate::names;
use crate::outbox::Outbox;
use crate::render;
use crate::scene::Scene;
use crate::snapshot::{Needs, WHOLE_BOOK};
use crate::statement::{Wanted, restatement};
use crate::topic::{Scope, Topic};
use crate::view::Level;

/// Least time between two messages of a book or ticker channel while the venue sheds load.
const SHED_INTERVAL_MS: u64 = 1_000;
/// Items that wait for a slow interval; a longer batch is sent at once.
const BATCH_MAX: usize = 1_000;
/// For so long after an outage a new listener hears its restatement at once, in block time.
const RESTATED_FOR_MS: u64 = 3_600_000;

/// When channels are asked what they have to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The wall clock, in milliseconds.
    pub ms: u64,
    /// The venue is under load: depth is told less often, orders and fills as ever.
    pub shedding: bool,
}

/// A channel with listeners.
#[derive(Debug)]
pub struct Channel {
    /// What it carries.
    pub topic: Topic,
    /// Whose it is, for a private one.
    pub account: Option<AccountId>,
    /// Who listens.
    pub listeners: BTreeMap<ConnId, Outbox>,
    seq: u64,
    sent_ms: u64,
    dirty: bool,
    batch: Vec<Value>,
    book: Option<Book>,
    last: Option<Value>,
}

/// What must be read to render a channel.
pub fn needs_of(topic: &Topic, account: Option<AccountId>, memory: &Memory, needs: &mut Needs) {
    let underlying = |id| {
        let listed = memory.directory.get(id)?;
        Some(listed.instrument.terms.underlying)
    };
    match topic {
        Topic::Book(id, _) => needs.instrument(*id, WHOLE_BOOK),
        Topic::BookDepth(id, depth, _) => needs.instrument(*id, *depth),
        Topic::Ticker(id, _) | Topic::Quote(id) => {
            needs.instrument(*id, 1);
            needs.underlyings.extend(underlying(*id));
        }
        Topic::MarkPrices(id) => {
            for listed in memory.directory.iter() {
                if listed.instrument.open && listed.instrument.terms.underlying == *id {
                    needs.instrument(listed.instrument.id, 0);
                }
            }
        }
        Topic::PriceIndex(id) => drop(needs.underlyings.insert(*id)),
        Topic::UserPortfolio(_) | Topic::UserChanges(..) | Topic::UserRestatement => {
            needs.accounts.extend(account);
        }
        _ => {}
    }
}

impl Channel {
    /// A channel that nobody hears yet.
    pub const fn new(topic: Topic, account: Option<AccountId>) -> Self {
        Self {
            topic,
            account,
            listeners: BTreeMap::new(),
            seq: 0,
            sent_ms: 0,
            dirty: false,
            batch: Vec::new(),
            book: None,
            last: None,
        }
    }

    /// Whether there is something to say at wall-clock `now_ms`. Under load the public market is told of
    /// at most once in [`SHED_INTERVAL_MS`]: each message then says more, and none is left out.
    pub fn is_due(&self, now: Moment) -> bool {
        let interval = self.topic.interval();
        let interval = match now.shedding && self.topic.is_depth() {
            true => interval.max(SHED_INTERVAL_MS),
            false => interval,
        };
        self.dirty && now.ms >= self.sent_ms.saturating_add(interval)
    }

    /// Notes what a block changed.
    pub fn absorb(&mut self, changes: &Changes, memory: &Memory) {
        let directory = &memory.directory;
        let account = self.account;
        let mine = |owner: &AccountId| Some(*owner) == account;
        match &self.topic {
            Topic::Book(id, _) | Topic::BookDepth(id, ..) | Topic::Quote(id) => {
                self.dirty |= changes.books.contains(id);
            }
            Topic::Ticker(id, _) => {
                let underlying = directory
                    .get(*id)
                    .map(|listed| listed.instrument.terms.underlying);
                let moved = underlying
                    .is_some_and(|u| changes.marks.contains(&u) || changes.indices.contains(&u));
                self.dirty |= moved || changes.books.contains(id);
            }
            Topic::Trades(scope, _) => {
                let trades = changes.trades.iter();
                self.batch.extend(
                    trades
                        .filter(|trade| scope.covers(trade.instrument, directory))
                        .map(|trade| render::public_trade(trade, directory)),
                );
            }
            Topic::Chart(id, _) => {
                self.dirty |= changes.trades.iter().any(|trade| trade.instrument == *id);
            }
            Topic::PriceIndex(id) => self.dirty |= changes.indices.contains(id),
            Topic::MarkPrices(id) => self.dirty |= changes.marks.contains(id),
            Topic::PlatformState => self.dirty |= changes.mode_changed,
            Topic::InstrumentState(scope) => {
                let listings = changes.listings.iter();
                self.batch.extend(
                    listings
                        .filter(|(id, _)| scope.covers(*id, directory))
                        .map(|(id, listed)| listing(memory, *id, *listed)),
                );
            }
            Topic::UserOrders(scope, _) => {
                let orders = changes.orders.iter().filter(|(owner, _)| mine(owner));
                self.batch.extend(
                    orders
                        .filter(|(_, order)| scope.covers(order.instrument, directory))
                        .map(|(_, order)| render::order(order, directory)),
                );
            }
            Topic::UserTrades(scope, _) => {
                let fills = changes.fills.iter().filter(|(owner, _)| mine(owner));
                self.batch.extend(
                    fills
                        .filter(|(_, fill)| scope.covers(fill.instrument, directory))
                        .map(|(_, fill)| render::fill(fill, directory)),
                );
            }
            Topic::UserChanges(scope, _) => {
                let batch = user_changes(changes, account, scope, memory);
                self.batch.extend(batch);
            }
            Topic::UserRestatement => self.dirty |= changes.restated,
            Topic::UserPortfolio(_) => {
                let touched = account.is_some_and(|own| changes.accounts.contains(&own));
                self.dirty |= touched || !changes.marks.is_empty();
            }
        }
        self.dirty |= !self.batch.is_empty();
        if self.batch.len() > BATCH_MAX {
            self.sent_ms = 0;
        }
    }

    /// What a new listener hears first.
    pub fn start(&mut self, name: &str, scene: &Scene<'_>) -> Option<Utf8Bytes> {
        let data = match &self.topic {
            Topic::Book(id, _) => {
                let book = self.book.get_or_insert_with(|| Book::read(scene, *id));
                book.snapshot(scene.memory.directory.name(*id), scene.snapshot.time.get())
            }
            Topic::Trades(..)
            | Topic::InstrumentState(_)
            | Topic::UserOrders(..)
            | Topic::UserTrades(..)
            | Topic::UserChanges(..) => return None,
            Topic::UserRestatement if !restated_lately(scene.memory) => return None,
            _ => self.state(scene)?,
        };
        if self.seq == 0 {
            self.seq = 1;
        }
        Some(notification(name, self.seq, &data))
    }

    /// Says what is due.
    pub fn publish(&mut self, name: &str, now: Moment, scene: &Scene<'_>) {
        self.sent_ms = now.ms;
        self.dirty = false;
        let batch = std::mem::take(&mut self.batch);
        match &self.topic {
            Topic::Book(id, _) => {
                let id = *id;
                let fresh = Book::read(scene, id);
                let book = self.book.get_or_insert_with(Book::default);
                let instrument = scene.memory.directory.name(id);
                let time = scene.snapshot.time.get();
                if let Some(change) = book.change(fresh, instrument, time) {
                    self.say(name, &change);
                }
            }
            Topic::UserOrders(_, 0) | Topic::InstrumentState(_) | Topic::UserChanges(..) => {
                for mut item in batch {
                    self.add_positions(&mut item, scene);
                    self.say(name, &item);
                }
            }
            Topic::Trades(..) | Topic::UserTrades(..) | Topic::UserOrders(..) => {
                if !batch.is_empty() {
                    self.say(name, &Value::Array(batch));
                }
            }
            Topic::UserRestatement => {
                if let Some(state) = self.state(scene) {
                    self.say(name, &state);
                }
            }
            _ => {
                let state = self.state(scene);
                if let Some(state) = state.filter(|state| self.last.as_ref() != Some(state)) {
                    self.say(name, &state);
                    self.last = Some(state);
                }
            }
        }
    }

    /// What a channel that repeats its whole state says now.
    fn state(&self, scene: &Scene<'_>) -> Option<Value> {
        let memory = scene.memory;
        match &self.topic {
            Topic::Ticker(id, _) => Some(scene.quote(*id)?.ticker()),
            Topic::Quote(id) => Some(scene.quote(*id)?.quote()),
            Topic::BookDepth(id, depth, _) => {
                let book = &scene.snapshot.instruments.get(id)?.depth;
                let side =
                    |levels: &[Level]| render::levels(levels.get(..*depth).unwrap_or(levels));
                Some(json!({
                    "timestamp": scene.snapshot.time.get(),
                    "instrument_name": memory.directory.name(*id),
                    "change_id": memory.clock.event,
                    "bids": side(&book.bids),
                    "asks": side(&book.asks),
                }))
            }
            Topic::Chart(id, minutes) => {
                let candle = memory.tapes.get(id)?.candles().last(*minutes)?;
                Some(render::candle(&candle))
            }
            Topic::PriceIndex(id) => {
                let underlying = memory.directory.underlying(*id)?;
                Some(json!({
                    "timestamp": scene.snapshot.time.get(),
                    "index_name": names::index_name(&underlying.coin),
                    "price": price(*scene.snapshot.indices.get(id)?),
                }))
            }
            Topic::MarkPrices(underlying) => Some(scene.marks(*underlying)),
            Topic::PlatformState => Some(json!({
                "allow_unauthenticated_public_requests": true,
                "locked": memory.clock.mode != Mode::Open,
                "mode": format!("{:?}", memory.clock.mode),
            })),
            Topic::UserPortfolio(currency) => scene.portfolio(self.account?, currency),
            Topic::UserRestatement => {
                memory.outages.latest()?;
                Some(restatement(scene, self.account?, &Wanted::default()))
            }
            _ => None,
        }
    }

    fn add_positions(&self, item: &mut Value, scene: &Scene<'_>) {
        let (Topic::UserChanges(..), Some(account)) = (&self.topic, self.account) else {
            return;
        };
        let Some(name) = item["instrument_name"].as_str() else {
            return;
        };
        if let Some(position) = scene.position(account, name) {
            item["positions"] = json!([position]);
        }
    }

    /// Sends to every listener under the next number.
    fn say(&mut self, name: &str, data: &Value) {
        self.seq += 1;
        let message = notification(name, self.seq, data);
        for outbox in self.listeners.values() {
            outbox.push(message.clone());
        }
    }
}

/// A subscription message. `seq` is this venue's addition: gap-free for each channel.
fn notification(channel: &str, seq: u64, data: &Value) -> Utf8Bytes {
    json!({
        "jsonrpc": "2.0",
        "method": "subscription",
        "params": { "channel": channel, "seq": seq, "data": data },
    })
    .to_string()
    .into()
}

/// Whether the last outage was over a short while ago.
fn restated_lately(memory: &Memory) -> bool {
    let settled = memory.outages.latest().and_then(|last| last.settled_at);
    settled.is_some_and(|at| memory.clock.time.since(at.time) <= RESTATED_FOR_MS)
}

fn listing(memory: &Memory, id: InstrumentId, listed: bool) -> Value {
    json!({
        "timestamp": memory.clock.time.get(),
        "state": if listed { "started" } else { "settled" },
        "instrument_name": memory.directory.name(id),
    })
}

/// One entry for each instrument that an account's orders or fills touched.
fn user_changes(
    changes: &Changes,
    account: Option<AccountId>,
    scope: &Scope,
    memory: &Memory,
) -> Vec<Value> {
    let directory = &memory.directory;
    let mut entries: BTreeMap<_, (Vec<Value>, Vec<Value>)> = BTreeMap::new();
    let mine = |owner: &AccountId| Some(*owner) == account;
    for (_, order) in changes.orders.iter().filter(|(owner, _)| mine(owner)) {
        let entry = entries.entry(order.instrument).or_default();
        entry.0.push(render::order(order, directory));
    }
    for (_, fill) in changes.fills.iter().filter(|(owner, _)| mine(owner)) {
        let entry = entries.entry(fill.instrument).or_default();
        entry.1.push(render::fill(fill, directory));
    }
    entries
        .into_iter()
        .filter(|(id, _)| scope.covers(*id, directory))
        .map(|(id, (orders, trades))| {
            json!({
                "instrument_name": directory.name(id),
                "orders": orders,
                "trades": trades,
                "positions": [],
            })
        })
        .collect()
}

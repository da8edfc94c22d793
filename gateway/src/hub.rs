//! Subscriptions: which connection hears which channel, and what each channel said last.
//!
//! A channel numbers its notifications without gaps (`params.seq`), whoever listens. A book channel
//! starts with a snapshot and then sends changes, each naming the one before it. A message is
//! rendered once for all its listeners.

use std::collections::{BTreeMap, BTreeSet};

use lifeboat_engine::types::{AccountId, Mode, Price, Qty};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::decimal::{price, qty, rounded};
use crate::memory::{Changes, Memory};
use crate::outbox::{Closing, Outbox};
use crate::render::{self, PositionParts, Quote};
use crate::snapshot::{Needs, Snapshot, WHOLE_BOOK};
use crate::topic::{Scope, Topic};
use crate::view::{Depth, Level, Position};

/// Numbers a connection.
pub type ConnId = u64;
/// Channels of one connection.
pub const CHANNELS_MAX: usize = 500;
/// Items that wait for a slow interval; older ones are sent first regardless.
const BATCH_MAX: usize = 1_000;

/// A channel's name and, for a private one, its account.
pub type ChannelKey = (String, Option<AccountId>);

#[derive(Debug)]
struct Channel {
    topic: Topic,
    account: Option<AccountId>,
    listeners: BTreeMap<ConnId, Outbox>,
    seq: u64,
    sent_ms: u64,
    dirty: bool,
    batch: Vec<Value>,
    book: Option<Book>,
    last: Option<Value>,
}

/// A book as its listeners have it.
#[derive(Clone, Debug, Default)]
struct Book {
    bids: BTreeMap<Price, Qty>,
    asks: BTreeMap<Price, Qty>,
    change_id: u64,
}

/// All subscriptions.
#[derive(Debug, Default)]
pub struct Hub {
    channels: BTreeMap<ChannelKey, Channel>,
    connections: BTreeMap<ConnId, BTreeSet<ChannelKey>>,
}

impl Hub {
    /// Channels with listeners.
    pub fn channels(&self) -> usize {
        self.channels.len()
    }

    /// The channels of a connection.
    pub fn of(&self, connection: ConnId) -> impl Iterator<Item = &ChannelKey> {
        self.connections.get(&connection).into_iter().flatten()
    }

    /// What must be read before [`Hub::subscribe`] of these.
    pub fn needs_of(topics: &[(ChannelKey, Topic)], memory: &Memory) -> Needs {
        let mut needs = Needs::default();
        for ((_, account), topic) in topics {
            needs_of(topic, *account, memory, &mut needs);
        }
        needs
    }

    /// Adds a connection to channels. `accepted` goes out first, then what each channel starts with.
    /// Channels past the connection's limit are left out.
    pub fn subscribe(
        &mut self,
        listener: (ConnId, &Outbox),
        topics: Vec<(ChannelKey, Topic)>,
        accepted: impl FnOnce(&[String]) -> Utf8Bytes,
        scene: &Scene<'_>,
    ) {
        let (connection, outbox) = listener;
        let own = self.connections.entry(connection).or_default();
        let mut names = Vec::new();
        let mut starts = Vec::new();
        for (key, topic) in topics {
            if own.len() >= CHANNELS_MAX && !own.contains(&key) {
                continue;
            }
            names.push(key.0.clone());
            if !own.insert(key.clone()) {
                continue;
            }
            let channel = self
                .channels
                .entry(key.clone())
                .or_insert_with(|| Channel::new(topic, key.1));
            starts.extend(channel.start(&key.0, scene));
            channel.listeners.insert(connection, outbox.clone());
        }
        outbox.push(accepted(&names));
        for start in starts {
            outbox.push(start);
        }
    }

    /// Takes a connection off channels; all of them when no names are given.
    pub fn unsubscribe(&mut self, connection: ConnId, names: Option<&[String]>) -> Vec<String> {
        let Some(own) = self.connections.get_mut(&connection) else {
            return Vec::new();
        };
        let gone: Vec<ChannelKey> = own
            .iter()
            .filter(|key| names.is_none_or(|names| names.contains(&key.0)))
            .cloned()
            .collect();
        for key in &gone {
            own.remove(key);
            if let Some(channel) = self.channels.get_mut(key) {
                channel.listeners.remove(&connection);
                if channel.listeners.is_empty() {
                    self.channels.remove(key);
                }
            }
        }
        gone.into_iter().map(|key| key.0).collect()
    }

    /// A connection is gone.
    pub fn leave(&mut self, connection: ConnId) {
        self.unsubscribe(connection, None);
        self.connections.remove(&connection);
    }

    /// Blocks were missed: every stream would have a gap, so every listener is told to come back.
    pub fn interrupt(&mut self) {
        for channel in self.channels.values() {
            for outbox in channel.listeners.values() {
                outbox.close(Closing::Gap);
            }
        }
        self.channels.clear();
        self.connections.clear();
    }

    /// Notes what a block changed.
    pub fn absorb(&mut self, changes: &Changes, memory: &Memory) {
        for channel in self.channels.values_mut() {
            channel.absorb(changes, memory);
        }
    }

    /// What must be read to send what is due at wall-clock `now_ms`.
    pub fn due(&self, now_ms: u64, memory: &Memory) -> Needs {
        let mut needs = Needs::default();
        for channel in self.channels.values().filter(|c| c.is_due(now_ms)) {
            needs_of(&channel.topic, channel.account, memory, &mut needs);
        }
        needs
    }

    /// Sends what is due.
    pub fn publish(&mut self, now_ms: u64, scene: &Scene<'_>) {
        for ((name, _), channel) in &mut self.channels {
            if channel.is_due(now_ms) {
                channel.sent_ms = now_ms;
                channel.dirty = false;
                channel.send(name, scene);
            }
        }
    }
}

/// What channels are rendered from.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// The gateway's memory.
    pub memory: &'a Memory,
    /// What was read for it.
    pub snapshot: &'a Snapshot,
}

fn needs_of(topic: &Topic, account: Option<AccountId>, memory: &Memory, needs: &mut Needs) {
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
        Topic::UserPortfolio(_) | Topic::UserChanges(..) => needs.accounts.extend(account),
        _ => {}
    }
}

impl Channel {
    const fn new(topic: Topic, account: Option<AccountId>) -> Self {
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

    fn is_due(&self, now_ms: u64) -> bool {
        self.dirty && now_ms >= self.sent_ms.saturating_add(self.topic.interval())
    }

    fn absorb(&mut self, changes: &Changes, memory: &Memory) {
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
    fn start(&mut self, name: &str, scene: &Scene<'_>) -> Option<Utf8Bytes> {
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
            _ => self.state(scene)?,
        };
        if self.seq == 0 {
            self.seq = 1;
        }
        Some(notification(name, self.seq, &data))
    }

    fn send(&mut self, name: &str, scene: &Scene<'_>) {
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
                    "index_name": crate::names::index_name(&underlying.coin),
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

fn listing(memory: &Memory, id: lifeboat_engine::types::InstrumentId, listed: bool) -> Value {
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

impl Book {
    fn read(scene: &Scene<'_>, id: lifeboat_engine::types::InstrumentId) -> Self {
        let empty = Depth::default();
        let reading = scene.snapshot.instruments.get(&id);
        let depth = reading.map_or(&empty, |reading| &reading.depth);
        let side = |levels: &[Level]| levels.iter().map(|l| (l.price, l.qty)).collect();
        Self {
            bids: side(&depth.bids),
            asks: side(&depth.asks),
            change_id: scene.memory.clock.event,
        }
    }

    fn snapshot(&self, instrument: &str, time: u64) -> Value {
        let new = |(at, size): (&Price, &Qty)| json!(["new", price(*at), qty(*size)]);
        json!({
            "type": "snapshot",
            "timestamp": time,
            "instrument_name": instrument,
            "change_id": self.change_id,
            "bids": self.bids.iter().rev().map(new).collect::<Vec<_>>(),
            "asks": self.asks.iter().map(new).collect::<Vec<_>>(),
        })
    }

    /// Becomes `fresh`; says how it differs, or nothing when it does not.
    fn change(&mut self, fresh: Self, instrument: &str, time: u64) -> Option<Value> {
        let bids = differences(&self.bids, &fresh.bids);
        let asks = differences(&self.asks, &fresh.asks);
        if bids.is_empty() && asks.is_empty() {
            return None;
        }
        let change_id = fresh.change_id.max(self.change_id + 1);
        let change = json!({
            "type": "change",
            "timestamp": time,
            "instrument_name": instrument,
            "prev_change_id": self.change_id,
            "change_id": change_id,
            "bids": bids,
            "asks": asks,
        });
        *self = Self { change_id, ..fresh };
        Some(change)
    }
}

fn differences(old: &BTreeMap<Price, Qty>, new: &BTreeMap<Price, Qty>) -> Vec<Value> {
    let gone = old.keys().filter(|at| !new.contains_key(at));
    let mut out: Vec<Value> = gone.map(|at| json!(["delete", price(*at), 0.0])).collect();
    for (at, size) in new {
        let word = match old.get(at) {
            None => "new",
            Some(before) if before != size => "change",
            Some(_) => continue,
        };
        out.push(json!([word, price(*at), qty(*size)]));
    }
    out
}

impl<'a> Scene<'a> {
    /// What is known of an instrument, when it was read.
    pub fn quote(&self, id: lifeboat_engine::types::InstrumentId) -> Option<Quote<'a>> {
        let listed = self.memory.directory.get(id)?;
        let reading = self.snapshot.instruments.get(&id)?;
        let tape = self.memory.tapes.get(&id);
        let time = self.snapshot.time;
        Some(Quote {
            listed,
            coin: self.memory.directory.coin(id),
            depth: &reading.depth,
            mark: reading.mark,
            index: self.index(id),
            open_interest: reading.open_interest,
            last: tape.and_then(crate::tape::Tape::last_price),
            stats: tape.map(|tape| tape.stats(time)).unwrap_or_default(),
            time,
        })
    }

    /// The index of an instrument's underlying.
    pub fn index(&self, id: lifeboat_engine::types::InstrumentId) -> Option<Price> {
        let underlying = self.memory.directory.get(id)?.instrument.terms.underlying;
        let read = self.snapshot.indices.get(&underlying).copied();
        read.or_else(|| self.memory.indices.get(&underlying)?.last())
    }

    fn marks(&self, underlying: lifeboat_engine::types::UnderlyingId) -> Value {
        let directory = &self.memory.directory;
        self.snapshot
            .instruments
            .iter()
            .filter_map(|(id, reading)| {
                let listed = directory.get(*id)?;
                let mark = reading.mark?;
                (listed.instrument.terms.underlying == underlying).then(|| {
                    json!({
                        "instrument_name": listed.name,
                        "mark_price": price(mark.price),
                        "iv": rounded(mark.iv, 6),
                        "timestamp": self.snapshot.time.get(),
                    })
                })
            })
            .collect()
    }

    /// An account's summary in a currency.
    pub fn portfolio(&self, id: AccountId, currency: &str) -> Option<Value> {
        let account = self.snapshot.accounts.get(&id)?;
        let mark_of = |position: Position| self.snapshot.mark(position.instrument);
        let (total, unrealised) = render::portfolio(account, mark_of);
        Some(render::account_summary(
            account, id, currency, total, unrealised,
        ))
    }

    /// An account's positions that a test holds for.
    pub fn positions(
        &self,
        id: AccountId,
        test: impl Fn(lifeboat_engine::types::InstrumentId) -> bool,
    ) -> Vec<Value> {
        let Some(account) = self.snapshot.accounts.get(&id) else {
            return Vec::new();
        };
        let held = account.positions.iter().filter(|p| test(p.instrument));
        held.map(|position| {
            render::position(&PositionParts {
                position: *position,
                mark: self.snapshot.mark(position.instrument),
                index: self.index(position.instrument),
                directory: &self.memory.directory,
            })
        })
        .collect()
    }

    fn position(&self, account: AccountId, name: &str) -> Option<Value> {
        let id = self.memory.directory.find(name)?.instrument.id;
        self.positions(account, |held| held == id).pop()
    }
}

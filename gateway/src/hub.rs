//! Subscriptions: which connection hears which channel, and what each channel said last.
//!
//! A channel numbers its notifications without gaps (`params.seq`), whoever listens. A book channel
//! starts with a snapshot and then sends changes, each naming the one before it. A message is
//! rendered once for all its listeners.

use std::collections::{BTreeMap, BTreeSet};

use lifeboat_engine::types::AccountId;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::channel::{Channel, Moment, needs_of};
use crate::memory::{Changes, Memory};
use crate::outbox::{Closing, Outbox};
use crate::scene::Scene;
use crate::snapshot::Needs;
use crate::topic::Topic;

/// Numbers a connection.
pub type ConnId = u64;
/// Channels of one connection.
pub const CHANNELS_MAX: usize = 500;
/// A channel's name and, for a private one, its account.
pub type ChannelKey = (String, Option<AccountId>);

/// All subscriptions.
#[derive(Debug, Default)]
pub struct Hub {
    channels: BTreeMap<ChannelKey, Channel>,
    connections: BTreeMap<ConnId, BTreeSet<ChannelKey>>,
    /// The restatement that a connection heard last on a channel, by its id.
    restated: BTreeMap<(ConnId, ChannelKey), u64>,
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
            channel.listeners.insert(connection, outbox.clone());
            if let Some(id) = restated(channel, scene)
                && self.restated.insert((connection, key.clone()), id) == Some(id)
            {
                continue;
            }
            starts.extend(channel.start(&key.0, scene));
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
        self.restated
            .retain(|(heard_by, _), _| *heard_by != connection);
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
        self.restated.clear();
    }

    /// Notes what a block changed.
    pub fn absorb(&mut self, changes: &Changes, memory: &Memory) {
        for channel in self.channels.values_mut() {
            channel.absorb(changes, memory);
        }
    }

    /// What must be read to send what is due.
    pub fn due(&self, now: Moment, memory: &Memory) -> Needs {
        let mut needs = Needs::default();
        for channel in self.channels.values().filter(|c| c.is_due(now)) {
            needs_of(&channel.topic, channel.account, memory, &mut needs);
        }
        needs
    }

    /// Sends what is due.
    pub fn publish(&mut self, now: Moment, scene: &Scene<'_>) {
        for (key, channel) in &mut self.channels {
            if !channel.is_due(now) {
                continue;
            }
            channel.publish(&key.0, now, scene);
            if let Some(id) = restated(channel, scene) {
                let heard = channel.listeners.keys();
                self.restated
                    .extend(heard.map(|listener| ((*listener, key.clone()), id)));
            }
        }
    }
}

/// The id of the last restatement, if that is what a channel carries.
fn restated(channel: &Channel, scene: &Scene<'_>) -> Option<u64> {
    let latest = scene.memory.outages.latest()?;
    (channel.topic == Topic::UserRestatement).then_some(latest.id)
}

//! A node's checkpoints on their way to its vault, and the development feeds beside them.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use lifeboat_chain::deploy::set_price;
use lifeboat_chain::relayer::{CheckpointSource, Pace, RelayStatus, Relayer};
use lifeboat_chain::{ChainError, Checkpoint};
use lifeboat_engine::types::{Height, Price, UnderlyingId};
use lifeboat_gateway::SettlementStatus;
use lifeboat_node::handle::NodeHandle;
use tokio::sync::watch;

use crate::market::{CurrentNode, read};
use crate::vault::OpenVault;

/// How often the feeds are compared with the venue's index.
const FEED_EVERY: Duration = Duration::from_secs(60);
/// The same until the venue has had an index for each of them.
const FEED_FIRST: Duration = Duration::from_secs(1);
/// A feed that is right is set again after this: half of what makes it stale.
const FEED_AGAIN: Duration = Duration::from_secs(12 * 3_600);
/// A feed is set when it is off by one part in so many.
const FEED_OFF: i64 = 200;

/// How much longer than the one before it each validator's relayer waits.
const STAND_BY: Duration = Duration::from_secs(20);
/// Publishing that stands still for so long no longer holds checkpoints up: a vault without them freezes
/// after a day.
const PUBLISHING_MAX: Duration = Duration::from_secs(600);

/// The checkpoints of the node of the moment. Those whose blocks are not published yet wait: who leaves
/// with nothing but the published blocks needs the vault's last checkpoint among them.
struct NodeCheckpoints {
    node: CurrentNode,
    /// Whether the node publishes; the height up to which it had, and since when.
    published: Option<Mutex<(Height, Instant)>>,
}

impl NodeCheckpoints {
    fn new(node: CurrentNode, publishes: bool) -> Self {
        let published = publishes.then(|| Mutex::new((Height::new(0), Instant::now())));
        Self { node, published }
    }

    /// The height up to which checkpoints may be posted.
    fn until(&self, node: &NodeHandle) -> Height {
        let any = Height::new(u64::MAX);
        let Some(published) = &self.published else {
            return any;
        };
        let now = *node.published().borrow();
        let mut published = published.lock().unwrap_or_else(PoisonError::into_inner);
        if now > published.0 {
            *published = (now, Instant::now());
        }
        match published.1.elapsed() > PUBLISHING_MAX {
            true => any,
            false => published.0,
        }
    }
}

#[async_trait]
impl CheckpointSource for NodeCheckpoints {
    async fn newest(&self) -> Option<Checkpoint> {
        let node = self.node.borrow().clone()?;
        let newest = match node.exits().newest_until(self.until(&node)) {
            Ok(newest) => newest?,
            Err(error) => {
                tracing::warn!("the node's checkpoints cannot be read: {error}");
                return None;
            }
        };
        let (first, rest) = newest.summaries.split_first()?;
        Some(Checkpoint {
            header: newest.header,
            certificate: newest.certificate,
            summary: first.encode(),
            before: Vec::new(),
            after: rest.iter().map(|summary| summary.digest()).collect(),
        })
    }
}

/// How a vault is, at any time.
#[derive(Clone)]
pub struct Settled {
    chain: u64,
    vault: String,
    status: watch::Receiver<RelayStatus>,
}

impl Settled {
    /// As the gateway shows it.
    pub fn status(&self) -> SettlementStatus {
        let status = self.status.borrow();
        SettlementStatus {
            chain: self.chain,
            vault: self.vault.clone(),
            settled: Height::new(status.settled),
            newest: Height::new(status.newest),
            quiet_ms: u64::try_from(status.quiet.as_millis()).unwrap_or(u64::MAX),
            frozen: status.frozen,
            failure: status.failure.clone(),
        }
    }
}

/// Posts a node's checkpoints from now on. Relayers of several validators, which may pay with one key, leave
/// the chain to those before them: `place` is 0 for the first.
pub fn relay(vault: &OpenVault, node: CurrentNode, publishes: bool, place: usize) -> Settled {
    let place = u32::try_from(place).unwrap_or(u32::MAX);
    let usual = Pace::default();
    let pace = Pace {
        every: usual.every + STAND_BY.saturating_mul(place),
        blocks: usual.blocks.saturating_mul(u64::from(place) + 1),
        look: vault.look,
        prompt: place == 0,
    };
    let source = NodeCheckpoints::new(node, publishes);
    let relayer = Relayer::new(vault.vault.clone(), source, pace);
    let status = relayer.status();
    let wait = vault.look.saturating_mul(place);
    tokio::spawn(async move {
        tokio::time::sleep(wait).await;
        relayer.run().await;
    });
    Settled {
        chain: vault.file.chain,
        vault: vault.file.vault.to_string(),
        status,
    }
}

/// Keeps development feeds at the venue's index.
pub async fn feed(vault: OpenVault, node: CurrentNode) {
    let mut set: Vec<Option<(Price, Instant)>> = vec![None; vault.file.feeds.len()];
    loop {
        for (id, (feed, last)) in (0..).zip(vault.file.feeds.iter().zip(&mut set)) {
            let node = node.borrow().clone();
            let index = |node| read(&node, |engine| engine.index_price(UnderlyingId::new(id)));
            let Some(index) = node.and_then(index).flatten() else {
                continue;
            };
            let right = last.is_some_and(|(price, at)| {
                let off = (price.get() - index.get()).saturating_mul(FEED_OFF);
                off.abs() < index.get() && at.elapsed() < FEED_AGAIN
            });
            if right {
                continue;
            }
            match set_price(vault.vault.port(), *feed, index).await {
                Ok(()) => *last = Some((index, Instant::now())),
                Err(error @ ChainError::Away(_)) => tracing::debug!("a price feed: {error}"),
                Err(error) => tracing::warn!("a price feed cannot be set: {error}"),
            }
        }
        let whole = set.iter().all(Option::is_some);
        tokio::time::sleep(if whole { FEED_EVERY } else { FEED_FIRST }).await;
    }
}

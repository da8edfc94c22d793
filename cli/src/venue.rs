//! A node as the gateway's venue.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lifeboat_engine::types::{ChainId, Height, TimeMs};
use lifeboat_engine::{AgreedRoot, Command, Engine};
use lifeboat_gateway::{AppliedBlock, ProofOf, SubmitError, ValidatorStatus, Venue, VenueStatus};
use lifeboat_node::exits::Newest;
use lifeboat_node::handle::NodeHandle;
use lifeboat_node::keys::to_hex;
use lifeboat_node::outcome::{Answer, Waiter};
use lifeboat_node::shared;
use lifeboat_proof::exit::SavedProof;
use serde_json::{Value, json};
use tokio::sync::{broadcast, oneshot, watch};

use crate::development::wall_ms;
use crate::market::CurrentNode;
use crate::relay::Settled;

/// Blocks that a subscriber of the gateway may fall behind.
const BLOCKS_KEPT: usize = 1_024;

/// The validator beside the gateway.
pub struct NodeVenue {
    chain: ChainId,
    /// Whether the validator publishes its blocks.
    publishes: bool,
    node: CurrentNode,
    validators: Vec<(u16, CurrentNode)>,
    blocks: broadcast::Sender<Arc<AppliedBlock>>,
    /// How the vault is; `None` without one.
    settled: Option<Settled>,
    /// Wall time at which the last block came.
    last_block_ms: AtomicU64,
    /// What the last block's header says, which its certificate covers.
    agreed: Mutex<Option<AgreedRoot>>,
}

impl NodeVenue {
    /// The venue beside `node`, which may publish its blocks; `validators`, with
    /// their indices, are those whose health can be seen from here.
    pub fn new(
        chain: ChainId,
        publishes: bool,
        node: CurrentNode,
        validators: Vec<(u16, CurrentNode)>,
        settled: Option<Settled>,
    ) -> Arc<Self> {
        let blocks = broadcast::Sender::new(BLOCKS_KEPT);
        Arc::new(Self {
            chain,
            publishes,
            node,
            validators,
            settled,
            blocks,
            last_block_ms: AtomicU64::new(wall_ms()),
            agreed: Mutex::new(None),
        })
    }

    fn agreed(&self) -> MutexGuard<'_, Option<AgreedRoot>> {
        self.agreed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn handle(&self) -> Option<NodeHandle> {
        self.node.borrow().clone()
    }

    /// Passes the node's blocks on, as long as it runs.
    pub async fn follow(self: Arc<Self>) {
        let mut current = self.node.clone();
        loop {
            let node = current.borrow_and_update().clone();
            if let Some(node) = node {
                self.follow_node(&node).await;
            }
            if current.changed().await.is_err() {
                return;
            }
        }
    }

    async fn follow_node(&self, node: &NodeHandle) {
        let mut blocks = node.subscribe();
        loop {
            let block = tokio::select! {
                _ = node.stopped() => return,
                block = blocks.recv() => block,
            };
            match block {
                Ok(block) => {
                    *self.agreed() = Some(block.header.agreed());
                    self.last_block_ms.store(wall_ms(), Ordering::Relaxed);
                    // Nobody listening is no error.
                    let _ = self.blocks.send(Arc::new(translate(&block)));
                }
                Err(broadcast::error::RecvError::Lagged(missed)) => {
                    tracing::warn!(missed, "the gateway's feed fell behind the node");
                }
                Err(broadcast::error::RecvError::Closed) => return,
            }
        }
    }
}

fn translate(block: &shared::AppliedBlock) -> AppliedBlock {
    let applied = block.applied;
    AppliedBlock {
        height: applied.height,
        time: applied.time,
        root: applied.state_root,
        mode: applied.mode,
        first_event: applied.first_event,
        commands: block.body.commands().to_vec(),
        events: block.events.clone(),
    }
}

impl Venue for NodeVenue {
    fn read(&self, f: &mut dyn FnMut(&Engine)) {
        if let Some(node) = self.handle() {
            node.with_engine(f);
        }
    }

    fn submit(&self, command: Command) -> Result<(), SubmitError> {
        let node = self.handle().ok_or(SubmitError::Closed)?;
        let (waiter, mut answer) = oneshot::channel();
        node.submit_with(command, Waiter::Once(waiter));
        match answer.try_recv() {
            Ok(Answer::Busy) => Err(SubmitError::Busy),
            Ok(Answer::Unknown) => Err(SubmitError::Closed),
            _ => Ok(()),
        }
    }

    fn subscribe(&self) -> broadcast::Receiver<Arc<AppliedBlock>> {
        self.blocks.subscribe()
    }

    fn pressure(&self) -> f64 {
        self.handle().map_or(0.0, |node| node.pressure())
    }

    fn status(&self) -> VenueStatus {
        let now = wall_ms();
        let Some(node) = self.handle() else {
            return VenueStatus {
                chain: self.chain,
                ..VenueStatus::default()
            };
        };
        let status = node.status(TimeMs::new(now));
        VenueStatus {
            chain: self.chain,
            height: status.height,
            time: status.time,
            root: status.root,
            published: self.publishes.then_some(status.published),
            agreed: *self.agreed(),
            block_age_ms: now.saturating_sub(self.last_block_ms.load(Ordering::Relaxed)),
            detail: format!("{} of the other validators heard lately", status.peers),
            validators: self.validators.iter().map(validator).collect(),
            settlement: self.settled.as_ref().map(Settled::status),
        }
    }

    fn proof(&self, of: ProofOf) -> Result<Option<Value>, String> {
        let Some(node) = self.handle() else {
            return Ok(None);
        };
        let found = match of {
            ProofOf::Checkpoint => node.exits().newest().map(|n| n.as_ref().map(checkpoint)),
            ProofOf::Exit(account) => node.exits().account(account).map(to_json),
            ProofOf::Withdrawal(number) => node.withdrawal_proof(number).map(to_json),
        };
        found.map_err(|error| error.to_string())
    }

    fn published(&self) -> Option<watch::Receiver<Height>> {
        let node = self.handle().filter(|_| self.publishes)?;
        Some(node.published())
    }
}

fn to_json(saved: Option<SavedProof>) -> Option<Value> {
    saved.and_then(|saved| serde_json::to_value(saved).ok())
}

fn checkpoint(newest: &Newest) -> Value {
    let hex = |bytes: &[u8]| format!("0x{}", to_hex(bytes));
    let summaries = newest
        .summaries
        .iter()
        .map(|summary| hex(&summary.encode()));
    json!({
        "height": newest.height.get(),
        "header": hex(&newest.header),
        "certificate": hex(&newest.certificate),
        "summaries": summaries.collect::<Vec<_>>(),
    })
}

fn validator((index, node): &(u16, CurrentNode)) -> ValidatorStatus {
    let status = node
        .borrow()
        .as_ref()
        .map(|node| node.status(TimeMs::new(wall_ms())));
    ValidatorStatus {
        name: format!("validator {index}"),
        connected: status.as_ref().is_some_and(|status| status.voting),
        height: status.map(|status| status.height).unwrap_or_default(),
    }
}

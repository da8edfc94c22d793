//! Proposes blocks and judges proposals.
//!
//! **Owns** pacing, the choice of commands, and the rules a proposal must meet. **Never** executes:
//! a block is executed once, when it is final. A proposal's claim about executed state is compared
//! with this node's own root (I2); while this node has not executed that far the question stays
//! open, which consensus treats as abstaining.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use commonware_consensus::marshal::ancestry::Ancestry;
use commonware_consensus::{Application, Heightable as _};
use commonware_cryptography::{Digested, Digestible as _};
use commonware_runtime::Clock;
use futures::StreamExt as _;
use lifeboat_engine::limits::{BLOCK_BYTES_MAX, COMMANDS_PER_BLOCK_MAX};
use lifeboat_engine::types::{Digest, Height, TimeMs};

use crate::block::{Block, Body, Claim, Header, ProposalContext};
use crate::consensus::Scheme;
use crate::mempool::{Pending, Room};
use crate::outcome::{Outcome, Verdict};
use crate::sabotage::{self, Mutant};
use crate::shared::{ROOT_LAG_MAX, Shared, millis};

/// The application consensus drives.
#[derive(Clone, Debug)]
pub struct Proposer {
    shared: Arc<Shared>,
}

impl Proposer {
    /// A proposer over a node's shared state.
    pub fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Commands already in blocks that are not executed yet, so that none is ordered twice.
    async fn in_flight(&self, mut ancestry: impl Ancestry<Block>) -> BTreeSet<Digest> {
        let mut keys = BTreeSet::new();
        while let Some(block) = ancestry.next().await {
            let executed = self.shared.frontier().height.get();
            let height = block.height().get();
            if height > executed {
                keys.extend(block.inner().body().keys());
            }
            if height <= executed + 1 {
                break;
            }
        }
        keys
    }

    /// Waits for the pace: soon after the parent while commands wait, sooner for what ranks ahead.
    async fn pace(&self, clock: &impl Clock, parent: TimeMs, in_flight: &BTreeSet<Digest>) {
        let pacing = self.shared.pacing;
        loop {
            let arrived = self.shared.arrived.notified();
            let local = millis(clock.current());
            let now = pacing.clock.venue(local);
            // A parent from a clock ahead of this one must not stretch the wait.
            let since = pacing.clock.local_ms(now.since(parent.min(now)));
            let waiting = self.shared.mempool().waiting_beside(in_flight);
            let wait = pacing.wait_ms(waiting, self.shared.storm.blows(local));
            if since >= wait {
                return;
            }
            let sleep = clock.sleep(Duration::from_millis(wait - since));
            if waiting.ahead {
                sleep.await;
            } else {
                tokio::select! { biased; () = arrived => {}, () = sleep => {} }
            }
        }
    }

    fn build(
        &self,
        context: &ProposalContext,
        parent: &Header,
        near: ExecutedClaim,
        (now, in_flight): (TimeMs, &BTreeSet<Digest>),
    ) -> Block {
        let pacing = self.shared.pacing;
        let time = parent.time.max(now);
        let chosen = self.shared.mempool().select(
            in_flight,
            time,
            Room {
                commands: pacing.commands_max.min(COMMANDS_PER_BLOCK_MAX),
                orders: self.shared.window.size(),
                bytes: pacing.bytes_max.min(BLOCK_BYTES_MAX - 4),
            },
        );
        if sabotage::is(Mutant::EarlyAcknowledgement) {
            self.acknowledge_early(&chosen, parent.height.next(), time);
        }
        let parts = chosen
            .into_iter()
            .map(|pending| {
                (
                    pending.key,
                    pending.bytes,
                    pending.checked.command().clone(),
                )
            })
            .collect();
        let ExecutedClaim {
            executed,
            state_root,
            exit_root,
        } = self.executed_claim(parent).unwrap_or(near);
        let claim = Claim {
            chain: self.shared.chain,
            height: parent.height.next(),
            time,
            executed,
            state_root,
            exit_root,
        };
        Block::propose(context, claim, Body::from_encoded(parts))
    }

    /// The last executed height, with its root, whose exits this node knows too. While the newest ones
    /// are still being worked out it is the last height before they are due in a header.
    fn executed_claim(&self, parent: &Header) -> Option<ExecutedClaim> {
        let (shared, exits) = (&self.shared, &self.shared.exits);
        let mut executed = shared.frontier().height;
        loop {
            let known = exits.for_child(parent, executed);
            if let (Some(exit_root), Some(state_root)) = (known, shared.root_at(executed)) {
                return Some(ExecutedClaim {
                    executed,
                    state_root,
                    exit_root,
                });
            }
            if exits.height_for(executed).get() == 0 {
                return None;
            }
            executed = exits.before(executed);
        }
    }

    /// Resolves with a claim that is near enough to the parent's height for a block on it.
    async fn claim_near(&self, parent: &Header) -> ExecutedClaim {
        // A block may not reach back further than this for its root.
        let near = parent.height.get().saturating_sub(ROOT_LAG_MAX / 2);
        let near = Height::new(near);
        self.shared.executed(near).await;
        loop {
            match self.executed_claim(parent) {
                Some(claim) if claim.executed >= near => return claim,
                _ => {
                    let exits = &self.shared.exits;
                    let newest = exits.height_for(self.shared.frontier().height);
                    exits.known(newest).await;
                }
            }
        }
    }

    /// Whether a header's exit root is that of the height it goes with; resolves once this node knows.
    async fn exits_hold(&self, header: &Header, parent: &Header) -> bool {
        let exits = &self.shared.exits;
        let own = match exits.for_child(parent, header.executed) {
            Some(own) => own,
            None => exits.known(exits.height_for(header.executed)).await,
        };
        own == header.exit_root
    }

    /// What a programmer does who takes "proposed" for "final".
    fn acknowledge_early(&self, chosen: &[Pending], height: Height, time: TimeMs) {
        let mut mempool = self.shared.mempool();
        for (index, pending) in (0..).zip(chosen) {
            let outcome = Outcome {
                height,
                time,
                index,
                verdict: Verdict::Applied,
                first_event: 0,
                events_total: 0,
                events: Vec::new(),
            };
            mempool.executed(pending.key, Arc::new(outcome));
        }
    }

    /// Whether a header's claim about executed state is true; resolves once this node knows.
    async fn claim_holds(&self, header: &Header) -> bool {
        self.shared.executed(header.executed).await;
        match self.shared.root_at(header.executed) {
            Some(own) => own == header.state_root,
            // Too old to know: only a block long final could claim it, so there is nothing to vote on.
            None => std::future::pending().await,
        }
    }
}

/// What a proposer says about executed state.
#[derive(Clone, Copy, Debug)]
struct ExecutedClaim {
    executed: Height,
    state_root: Digest,
    exit_root: Digest,
}

/// The rules that need nothing but the block and its parent.
fn is_well_formed(shared: &Shared, header: &Header, parent: &Header) -> bool {
    let lag = header.height.get().saturating_sub(header.executed.get());
    header.chain == shared.chain
        && header.engine_version == sabotage::engine_version()
        && header.height == parent.height.next()
        && header.parent == parent.digest()
        && header.time >= parent.time
        && header.executed < header.height
        && lag <= ROOT_LAG_MAX
}

impl<E: Clock> Application<E> for Proposer {
    type SigningScheme = Scheme;
    type Context = ProposalContext;
    type Block = Block;
    type Input = ();

    async fn propose(
        &mut self,
        (clock, context): (E, ProposalContext),
        ancestry: impl Ancestry<Block>,
        (): (),
    ) -> Option<Digested<Block>> {
        let parent = ancestry.clone().next().await?.inner().header().clone();
        let in_flight = self.in_flight(ancestry).await;
        let near = self.claim_near(&parent).await;
        self.pace(&clock, parent.time, &in_flight).await;
        let now = self.shared.pacing.clock.venue(millis(clock.current()));
        let block = self.build(&context, &parent, near, (now, &in_flight));
        let digest = block.digest();
        self.shared.finality.in_vote(digest, &block);
        Some(Digested::precomputed(block, digest))
    }

    async fn verify(
        &mut self,
        (clock, _): (E, ProposalContext),
        mut ancestry: impl Ancestry<Block>,
    ) -> bool {
        let (Some(block), Some(parent)) = (ancestry.next().await, ancestry.next().await) else {
            // An ancestor is missing for now: that says nothing about the block.
            return std::future::pending().await;
        };
        self.shared.finality.in_vote(block.digest(), block.inner());
        let (header, parent) = (block.inner().header(), parent.inner().header());
        if !is_well_formed(&self.shared, header, parent) {
            tracing::warn!(height = %header.height, view = header.view, "refused a malformed proposal");
            return false;
        }
        let pacing = self.shared.pacing;
        let latest = millis(clock.current()).plus_ms(pacing.ahead_ms_max);
        let latest = pacing.clock.venue(latest);
        if header.time > latest {
            let early_ms = pacing.clock.local_ms(header.time.since(latest));
            clock.sleep(Duration::from_millis(early_ms)).await;
        }
        if !self.claim_holds(header).await {
            tracing::warn!(height = %header.height, executed = %header.executed, claimed = %header.state_root,
                "refused a proposal: its root differs from this node's");
            return false;
        }
        let holds = self.exits_hold(header, parent).await;
        if !holds {
            tracing::warn!(height = %header.height, executed = %header.executed, claimed = %header.exit_root,
                "refused a proposal: its exits differ from this node's");
        }
        holds
    }
}

//! The gateway's only way to the venue: read the state, submit a command, follow applied blocks.
//!
//! **Owns** the narrow port that the composition root implements over a node. **Never** names the
//! node, its consensus or its storage.

use std::sync::Arc;

use lifeboat_engine::types::{AccountId, ChainId, Digest, Height, Mode, TimeMs};
use lifeboat_engine::{AgreedRoot, Command, Engine, Event};
use tokio::sync::{broadcast, watch};

/// What the gateway needs of a venue.
pub trait Venue: Send + Sync + 'static {
    /// Calls `f` once with the state after the latest applied block. Must not block for longer
    /// than one block takes to apply.
    fn read(&self, f: &mut dyn FnMut(&Engine));

    /// Hands a command to the validator beside the gateway. `Ok` says that it was queued, not that
    /// it will be ordered: its fate is known from the block that carries it, or from its
    /// `valid_until` having passed.
    ///
    /// # Errors
    /// [`SubmitError`] when the command was certainly not queued.
    fn submit(&self, command: Command) -> Result<(), SubmitError>;

    /// Every block applied from now on, in order. A receiver that lags past the channel's capacity
    /// is told so by the channel.
    fn subscribe(&self) -> broadcast::Receiver<Arc<AppliedBlock>>;

    /// How full the validator is of waiting orders: at 1 new ones are refused. Market data is shed first.
    fn pressure(&self) -> f64 {
        0.0
    }

    /// How the venue is.
    fn status(&self) -> VenueStatus;

    /// What somebody needs who leaves or is paid by a vault, as JSON; `None` while there is none. May read
    /// files: it takes a moment.
    ///
    /// # Errors
    /// What is wrong with them, for a person.
    fn proof(&self, _of: ProofOf) -> Result<Option<serde_json::Value>, String> {
        Ok(None)
    }

    /// The height up to which blocks are published outside the venue; `None` if they are not.
    fn published(&self) -> Option<watch::Receiver<Height>> {
        None
    }
}

/// What a vault's proof is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProofOf {
    /// The newest checkpoint.
    Checkpoint,
    /// An account's exit.
    Exit(AccountId),
    /// A withdrawal, by its number.
    Withdrawal(u32),
}

/// Why a command was not queued. Nothing of it will ever execute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// The validator's queue is full; try again.
    #[error("the validator's queue is full")]
    Busy,
    /// The validator is stopping or has stopped.
    #[error("the validator has stopped")]
    Closed,
}

/// One block after it was applied, with what it did.
#[derive(Clone, Debug)]
pub struct AppliedBlock {
    /// Its height.
    pub height: Height,
    /// Its time as the engine took it.
    pub time: TimeMs,
    /// The state root after it.
    pub root: Digest,
    /// The mode after it.
    pub mode: Mode,
    /// Sequence number of its first event.
    pub first_event: u64,
    /// Its commands in order; events refer to them by index.
    pub commands: Vec<Command>,
    /// What happened: block-level events first, then each command's.
    pub events: Vec<Event>,
}

/// How the venue is, for readiness and the status page.
#[derive(Clone, Debug, Default)]
pub struct VenueStatus {
    /// The venue that signatures are bound to.
    pub chain: ChainId,
    /// Height of the latest applied block.
    pub height: Height,
    /// Its time.
    pub time: TimeMs,
    /// The root after it.
    pub root: Digest,
    /// The height up to which blocks are published outside the venue; `None` if they are not.
    pub published: Option<Height>,
    /// The latest root that a quorum agreed on.
    pub agreed: Option<AgreedRoot>,
    /// Wall-clock milliseconds since the last block was applied here.
    pub block_age_ms: u64,
    /// One line for a person: why the venue is as it is.
    pub detail: String,
    /// The validators as seen from here.
    pub validators: Vec<ValidatorStatus>,
    /// How the vault is; `None` without one.
    pub settlement: Option<SettlementStatus>,
}

/// How the venue's vault is, as its relayer saw it last.
#[derive(Clone, Debug, Default)]
pub struct SettlementStatus {
    /// The chain's EIP-155 id.
    pub chain: u64,
    /// The vault's address.
    pub vault: String,
    /// The height whose checkpoint the vault accepted last; 0 before the first.
    pub settled: Height,
    /// The height of the newest checkpoint of the venue.
    pub newest: Height,
    /// Milliseconds since the vault's last checkpoint was seen.
    pub quiet_ms: u64,
    /// The vault takes no checkpoints any more: everybody leaves on chain.
    pub frozen: bool,
    /// Why the chain did not take the last one; `None` when it did.
    pub failure: Option<String>,
}

/// One validator as the gateway's own sees it.
#[derive(Clone, Debug, Default)]
pub struct ValidatorStatus {
    /// Its name or index.
    pub name: String,
    /// Whether it is connected (or this one itself).
    pub connected: bool,
    /// Its latest known height.
    pub height: Height,
}

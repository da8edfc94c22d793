//! Posts the venue's checkpoints to its vault.
//!
//! Any node can run one, and more than one are harmless: a checkpoint that came second is refused by the
//! vault and counted. A chain that is congested or halted makes the lag grow and stops nothing: the
//! newest checkpoint is posted when the chain takes it, and those between are not needed.

use std::time::Duration;

use alloy_sol_types::SolInterface as _;
use async_trait::async_trait;
use lifeboat_proof::exit::ExitSummary;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::bindings::vault::LifeboatVault::LifeboatVaultErrors;
use crate::port::ChainError;
use crate::vault::{Checkpoint, Stage, Vault};

/// Where checkpoints come from.
#[async_trait]
pub trait CheckpointSource: Send + Sync {
    /// The newest certified block whose state the vault may know; `None` before the first.
    async fn newest(&self) -> Option<Checkpoint>;
}

/// When a checkpoint is due.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// At the latest after so long.
    pub every: Duration,
    /// Or after so many blocks of the venue.
    pub blocks: u64,
    /// How often chain and venue are looked at.
    pub look: Duration,
    /// At once for a withdrawal that was not certified before.
    pub prompt: bool,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            every: Duration::from_secs(60),
            blocks: 1_000,
            look: Duration::from_secs(5),
            prompt: true,
        }
    }
}

/// How the relayer is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RelayStatus {
    /// The vault's height.
    pub settled: u64,
    /// The venue's height.
    pub newest: u64,
    /// Checkpoints that this relayer posted.
    pub posted: u64,
    /// Gas of all of them.
    pub gas: u64,
    /// Checkpoints that somebody else's took the place of.
    pub overtaken: u64,
    /// Tries in a row that the chain did not take.
    pub failures: u64,
    /// The last try's reason.
    pub failure: Option<String>,
    /// Time since the vault's head moved.
    pub quiet: Duration,
    /// The vault takes no checkpoints any more.
    pub frozen: bool,
}

impl RelayStatus {
    /// Blocks of the venue that the vault does not know of.
    pub const fn lag(&self) -> u64 {
        self.newest.saturating_sub(self.settled)
    }
}

/// What one look did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing is due.
    Idle,
    /// A checkpoint was posted.
    Posted {
        /// Its height.
        height: u64,
        /// What it cost.
        gas: u64,
    },
    /// Somebody else was first.
    Overtaken,
    /// The chain did not take it; the next look tries the newest again.
    Failed,
    /// The vault is frozen.
    Frozen,
}

/// Posts checkpoints from a source to a vault.
pub struct Relayer<S> {
    vault: Vault,
    source: S,
    pace: Pace,
    /// Withdrawals that the last checkpoint seen here certified: one that certifies more is due, since
    /// somebody waits for it.
    withdrawals: u32,
    /// The vault's number of checkpoints, and since when.
    moved: Option<(u32, Instant)>,
    status: watch::Sender<RelayStatus>,
}

impl<S: CheckpointSource> Relayer<S> {
    /// A relayer that has not looked yet.
    pub fn new(vault: Vault, source: S, pace: Pace) -> Self {
        Self {
            vault,
            source,
            pace,
            withdrawals: 0,
            moved: None,
            status: watch::Sender::new(RelayStatus::default()),
        }
    }

    /// How it is doing, at any time.
    pub fn status(&self) -> watch::Receiver<RelayStatus> {
        self.status.subscribe()
    }

    /// Looks and posts until the vault is frozen.
    pub async fn run(mut self) {
        loop {
            let step = self.step().await;
            match step {
                Step::Frozen => {
                    tracing::error!("the vault is frozen: no checkpoint will be accepted any more");
                    return;
                }
                Step::Failed => {
                    let status = self.status.borrow();
                    tracing::warn!(
                        lag = status.lag(),
                        failures = status.failures,
                        "the settlement chain does not take checkpoints: {}",
                        status.failure.as_deref().unwrap_or_default()
                    );
                }
                _ => {}
            }
            tokio::time::sleep(self.pace.look).await;
        }
    }

    /// Looks once and posts what is due.
    pub async fn step(&mut self) -> Step {
        let step = self.try_step().await;
        let quiet = self
            .moved
            .map_or(Duration::ZERO, |(_, since)| since.elapsed());
        self.status.send_modify(|status| {
            status.quiet = quiet;
            match &step {
                Ok(Step::Idle) => {}
                Ok(Step::Posted { height, gas }) => {
                    status.posted += 1;
                    status.gas += gas;
                    status.settled = *height;
                }
                Ok(Step::Overtaken) => status.overtaken += 1,
                Ok(Step::Frozen) => status.frozen = true,
                Ok(Step::Failed) | Err(_) => {}
            }
            match &step {
                Err(error) => {
                    status.failures += 1;
                    status.failure = Some(error.to_string());
                }
                Ok(_) => {
                    status.failures = 0;
                    status.failure = None;
                }
            }
        });
        step.unwrap_or(Step::Failed)
    }

    async fn try_step(&mut self) -> Result<Step, ChainError> {
        let newest = self.source.newest().await;
        let heights = newest.as_ref().and_then(Checkpoint::heights);
        if let Some((height, _)) = heights {
            self.status.send_modify(|status| status.newest = height);
        }
        let head = self.vault.head().await?;
        self.status
            .send_modify(|status| status.settled = head.height);
        if head.stage != Stage::Live {
            return Ok(Step::Frozen);
        }
        let seen_before = self.moved.filter(|(number, _)| *number == head.number);
        let first_look = self.moved.is_none();
        let since = seen_before.map_or_else(Instant::now, |(_, since)| since);
        self.moved = Some((head.number, since));
        let (Some(checkpoint), Some((height, executed))) = (newest, heights) else {
            return Ok(Step::Idle);
        };
        let newer = height > head.height && executed > head.executed;
        let certified = ExitSummary::decode(&checkpoint.summary);
        let certified = certified.map_or(0, |summary| summary.withdrawals_count);
        let due = first_look
            || (self.pace.prompt && certified > self.withdrawals)
            || head.number == 0
            || since.elapsed() >= self.pace.every
            || height - head.height.min(height) >= self.pace.blocks;
        if !newer || !due {
            return Ok(Step::Idle);
        }
        let step = self.post(&checkpoint, height).await?;
        self.withdrawals = certified;
        Ok(step)
    }

    async fn post(&mut self, checkpoint: &Checkpoint, height: u64) -> Result<Step, ChainError> {
        match self.vault.checkpoint(checkpoint).await {
            Ok(receipt) => {
                let number = self.vault.head().await?.number;
                self.moved = Some((number, Instant::now()));
                Ok(Step::Posted {
                    height,
                    gas: receipt.gas,
                })
            }
            Err(ChainError::Reverted(data)) if is_not_newer(&data) => Ok(Step::Overtaken),
            Err(error) => Err(error),
        }
    }
}

fn is_not_newer(data: &[u8]) -> bool {
    matches!(
        LifeboatVaultErrors::abi_decode(data),
        Ok(LifeboatVaultErrors::NotNewer(_))
    )
}

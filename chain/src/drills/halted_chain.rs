//! Drill 20: the settlement chain stands still for five hours, and the venue does not.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use lifeboat_engine::types::Address;
use lifeboat_proof::exit::DepositChain;
use serde::Serialize;
use tokio::sync::Mutex;

use super::{DrillError, World, check};
use crate::deposits::{DepositWatcher, Observed};
use crate::relayer::{CheckpointSource, Pace, Relayer, Step};
use crate::vault::{Checkpoint, Stage};

/// How long it stands still, in seconds.
const HALT: u64 = 5 * 3_600;
/// Looks of the relayer at a chain that does not answer.
const LOOKS: u64 = 3;
const AMOUNT: u64 = 500_000_000;

/// How a chain is halted and let go on.
pub trait Interruption: Send + Sync {
    /// Halts it: calls fail from now on.
    ///
    /// # Errors
    /// When it cannot be halted.
    fn halt(&self) -> std::io::Result<()>;
    /// Lets it go on.
    ///
    /// # Errors
    /// When it does not go on.
    fn resume(&self) -> std::io::Result<()>;
}

impl Interruption for super::Anvil {
    fn halt(&self) -> std::io::Result<()> {
        super::Anvil::halt(self)
    }

    fn resume(&self) -> std::io::Result<()> {
        super::Anvil::resume(self)
    }
}

/// What it did to the venue.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HaltReport {
    /// Seconds that the chain's time jumped.
    pub halted_seconds: u64,
    /// Blocks of the venue that the vault did not know of, at the end of the halt.
    pub lag_blocks: u64,
    /// Tries that the chain did not take, each a line in the log and nothing more.
    pub failures: u64,
    /// Seconds from the chain's return to the vault being level with the venue.
    pub caught_up_seconds: f64,
    /// Checkpoints that it took.
    pub checkpoints_to_catch_up: u64,
    /// A deposit of just before the halt was credited after it, once.
    pub deposit_credited: bool,
    /// The vault stayed live: five hours are less than the day after which it may be frozen.
    pub live: bool,
}

/// The newest checkpoint of a venue that goes on.
#[derive(Clone, Default)]
struct Newest(Arc<Mutex<Option<Checkpoint>>>);

#[async_trait]
impl CheckpointSource for Newest {
    async fn newest(&self) -> Option<Checkpoint> {
        self.0.lock().await.clone()
    }
}

/// Runs it.
///
/// # Errors
/// [`DrillError::Failed`] when the venue did not come level, or the vault froze.
pub async fn halted_chain(
    world: &mut World,
    interruption: &dyn Interruption,
) -> Result<HaltReport, DrillError> {
    let whose = Address([5; 20]);
    let account = world.venue.open(whose);
    world.vault.deposit_minted(whose, AMOUNT).await?;
    world.venue.credit(account, AMOUNT);
    let mut watcher = DepositWatcher::new(world.vault.clone(), DepositChain::default(), 0);
    watcher.poll().await?;
    let source = Newest::default();
    let pace = Pace {
        every: Duration::ZERO,
        ..Pace::default()
    };
    let mut relayer = Relayer::new(world.vault.clone(), source.clone(), pace);
    *source.0.lock().await = Some(world.venue.certify().checkpoint);
    let first = relayer.step().await;
    check(matches!(first, Step::Posted { .. }), || {
        format!("the first checkpoint: {first:?}")
    })?;
    world.vault.deposit_minted(whose, AMOUNT).await?;
    interruption.halt()?;
    let mut failures = 0;
    for _ in 0..LOOKS {
        // A hundred blocks of the venue between two looks.
        for _ in 0..10 {
            *source.0.lock().await = Some(world.venue.certify().checkpoint);
        }
        failures += u64::from(relayer.step().await == Step::Failed);
    }
    let status = relayer.status().borrow().clone();
    let unanswered = watcher.poll().await.is_err();
    interruption.resume()?;
    check(failures == LOOKS && unanswered, || {
        format!("a halted chain answered: {failures} of {LOOKS} tries failed")
    })?;
    world.chain.advance(HALT).await?;
    let began = Instant::now();
    let mut posted = 0;
    for _ in 0..3 {
        posted += u64::from(matches!(relayer.step().await, Step::Posted { .. }));
    }
    let caught_up_seconds = began.elapsed().as_secs_f64();
    let after = relayer.status().borrow().clone();
    let head = world.vault.head().await?;
    check(after.lag() == 0 && after.failures == 0, || {
        format!("the vault is not level with the venue: {after:?}")
    })?;
    let deposit_credited = matches!(
        watcher.poll().await?,
        Some(Observed::Deposits { first: 1, deposits, .. }) if deposits.len() == 1
    );
    check(deposit_credited && head.stage == Stage::Live, || {
        "the deposit before the halt was not credited, or the vault froze".into()
    })?;
    Ok(HaltReport {
        halted_seconds: HALT,
        lag_blocks: status.lag(),
        failures,
        caught_up_seconds,
        checkpoints_to_catch_up: posted,
        deposit_credited,
        live: head.stage == Stage::Live,
    })
}

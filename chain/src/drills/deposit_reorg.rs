//! Drill 15: the block of a deposit is reorganised away.

use lifeboat_engine::types::Address;
use lifeboat_proof::exit::DepositChain;
use serde::Serialize;

use super::{DrillError, World, check};
use crate::bindings::vault::LifeboatVault::LifeboatVaultErrors as Refusal;
use crate::deposits::{DepositWatcher, Observed};
use crate::exit::refusal;

const AMOUNT: u64 = 100_000_000;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReorgReport {
    /// Blocks on top of a final one.
    pub final_after: u64,
    /// Depths that took a deposit away before it was final: none was credited.
    pub harmless_depths: Vec<u64>,
    /// The depth that took a final one away.
    pub unwinding_depth: u64,
    /// Credits that were unwound.
    pub unwound: u64,
    /// Their sum, in units of the token.
    pub unwound_amount: u64,
    /// A checkpoint that credits them was refused by the vault.
    pub checkpoint_refused: bool,
}

/// Deposits, reorganises 3 and `final_after` deep, then deeper than what counts as final.
///
/// # Errors
/// [`DrillError::Failed`] when something not final was credited, or a lost credit was not named.
pub async fn deposit_reorg(world: &mut World, final_after: u64) -> Result<ReorgReport, DrillError> {
    let mut watcher = DepositWatcher::new(world.vault.clone(), DepositChain::default(), 0);
    let settled = deposit_and_bury(world, Address([1; 20]), final_after).await?;
    check(credits(&mut watcher).await? == Some(1), || {
        "a final deposit was not credited".into()
    })?;
    let harmless = [3, final_after];
    for depth in harmless {
        world.vault.deposit_minted(Address([2; 20]), AMOUNT).await?;
        world.chain.mine(depth - 1).await?;
        check(credits(&mut watcher).await?.is_none(), || {
            format!("a deposit with {} blocks on top was credited", depth - 1)
        })?;
        world.chain.reorganise(depth).await?;
        world.chain.mine(2 * final_after).await?;
        check(credits(&mut watcher).await?.is_none(), || {
            format!("a deposit that a reorganisation of {depth} took away was credited")
        })?;
    }
    let lost = deposit_and_bury(world, Address([3; 20]), final_after).await?;
    check(credits(&mut watcher).await? == Some(1), || {
        "a deposit after the reorganisations was not credited".into()
    })?;
    let unwinding_depth = final_after + 2;
    world.chain.reorganise(unwinding_depth).await?;
    let unwound = match watcher.poll().await? {
        Some(Observed::Unwound(unwound)) => unwound,
        other => return Err(DrillError::Failed(format!("no unwinding, but {other:?}"))),
    };
    check(watcher.credited().cursor == settled, || {
        "what stood before was unwound too".into()
    })?;
    let refused = crediting_is_refused(world).await?;
    check(refused && lost == settled + 1, || {
        "the vault took a checkpoint that credits what is gone".into()
    })?;
    let amounts = unwound.lost.iter().map(|deposit| deposit.amount.get());
    Ok(ReorgReport {
        final_after,
        harmless_depths: harmless.to_vec(),
        unwinding_depth,
        unwound: unwound.lost.len() as u64,
        unwound_amount: amounts.sum::<i64>().unsigned_abs(),
        checkpoint_refused: refused,
    })
}

/// A deposit, final; how many there are with it.
async fn deposit_and_bury(
    world: &mut World,
    owner: Address,
    final_after: u64,
) -> Result<u64, DrillError> {
    world.vault.deposit_minted(owner, AMOUNT).await?;
    let account = world.venue.open(owner);
    world.venue.credit(account, AMOUNT);
    world.chain.mine(final_after + 1).await?;
    Ok(u64::from(account))
}

async fn credits(watcher: &mut DepositWatcher) -> Result<Option<usize>, DrillError> {
    match watcher.poll().await? {
        None => Ok(None),
        Some(Observed::Deposits { deposits, .. }) => Ok(Some(deposits.len())),
        Some(Observed::Unwound(unwound)) => Err(DrillError::Failed(format!("{unwound:?}"))),
    }
}

/// The venue has credited a deposit that is gone: the vault does not take its checkpoint.
async fn crediting_is_refused(world: &mut World) -> Result<bool, DrillError> {
    let certified = world.venue.certify();
    match world.vault.checkpoint(&certified.checkpoint).await {
        Ok(_) => Ok(false),
        Err(error) => match refusal(&error) {
            Some(Refusal::DepositsUnknown(_) | Refusal::TotalsDoNotBalance(_)) => Ok(true),
            _ => Err(error.into()),
        },
    }
}

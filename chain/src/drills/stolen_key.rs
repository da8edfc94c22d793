//! Drill 17: somebody has keys and wants 30 % of the vault.
//!
//! The keys are the relayer's, which is also the guardian's here, and those of owners who hold the 30 %.
//! The first are good for nothing but stopping deposits; the others for withdrawals that the venue
//! certifies, because it cannot tell a thief from an owner, and that the limiter slows.

use alloy_sol_types::SolCall as _;
use lifeboat_engine::types::Address;
use serde::Serialize;

use super::{DrillError, World, check, owner};
use crate::bindings::token::Token;
use crate::bindings::vault::LifeboatVault::LifeboatVaultErrors as Refusal;
use crate::exit::refusal;
use crate::port::Call;
use crate::proof_file::CheckedWithdrawal;

/// Units of the token in the vault at the start.
const HELD: u64 = 1_000_000_000_000;
/// Accounts whose keys were stolen, each with 5 %.
const STOLEN: u32 = 6;

/// What the thief got.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StolenKeyReport {
    /// Units of the token that were in the vault.
    pub held: u64,
    /// Units that withdrawals were certified for: 30 %.
    pub certified: u64,
    /// What the relayer's key alone could take.
    pub taken_by_relayer: u64,
    /// Units paid at once.
    pub paid_at_once: u64,
    /// Units paid within the first hour.
    pub paid_in_an_hour: u64,
    /// Seconds from the first claim until the last of it is payable.
    pub last_payable_after: u64,
    /// The venue saw it, stopped posting, and the rest of the accounts left in full after the freeze.
    pub others_whole: bool,
}

/// Runs it.
///
/// # Errors
/// [`DrillError::Failed`] when more left than the limiter lets.
pub async fn stolen_key(world: &mut World) -> Result<StolenKeyReport, DrillError> {
    let thief = Address([0xbb; 20]);
    let accounts: Vec<u32> = (0..20_u8)
        .map(|n| world.venue.open(Address([n + 1; 20])))
        .collect();
    for account in &accounts {
        let share = HELD / accounts.len() as u64;
        let whose = Address([*account as u8; 20]);
        world.vault.deposit_minted(whose, share).await?;
        world.venue.credit(*account, share);
    }
    let certified = world.venue.certify();
    world.vault.checkpoint(&certified.checkpoint).await?;
    let taken_by_relayer = relayer_tries(world, thief).await?;
    for account in &accounts[..STOLEN as usize] {
        let all = world.venue.cash(*account);
        world.venue.withdraw(*account, all, thief);
    }
    let certified = world.venue.certify();
    world.vault.checkpoint(&certified.checkpoint).await?;
    let started = world.chain.newest().await?.time;
    let mut payable = claim_all(world, &certified).await?;
    let paid_at_once = world.vault.balance_of(thief.0.into()).await?;
    world.chain.advance(3_500).await?;
    payable = payable.max(claim_all(world, &certified).await?);
    let paid_in_an_hour = world.vault.balance_of(thief.0.into()).await?;
    check(
        paid_at_once <= HELD / 10 && paid_in_an_hour <= HELD / 5,
        || format!("{paid_at_once} at once and {paid_in_an_hour} in an hour, of {HELD}"),
    )?;
    let others_whole = others_leave(world, &certified, &accounts[STOLEN as usize..]).await?;
    check(others_whole, || "an account that kept its key lost".into())?;
    Ok(StolenKeyReport {
        held: HELD,
        certified: HELD / 20 * u64::from(STOLEN),
        taken_by_relayer,
        paid_at_once,
        paid_in_an_hour,
        last_payable_after: payable.saturating_sub(started),
        others_whole,
    })
}

/// What can be tried with the key that posts checkpoints and stops deposits.
async fn relayer_tries(world: &mut World, thief: Address) -> Result<u64, DrillError> {
    let mut forged = world.venue.certify().checkpoint;
    // The thief's own state under a certificate of another block.
    forged.header[180] ^= 1;
    let refused = world.vault.checkpoint(&forged).await.is_err();
    let take = Token::transferFromCall {
        from: world.vault.address(),
        to: thief.0.into(),
        value: alloy_primitives::U256::from(HELD / 100 * 30),
    };
    let token = world.deployment.token;
    let sent = world.chain.send(Call::to(token, take.abi_encode())).await;
    let taken = world.vault.balance_of(thief.0.into()).await?;
    check(refused && sent.is_err() && taken == 0, || {
        "the relayer's key took something".into()
    })?;
    Ok(taken)
}

/// Claims every withdrawal; the latest time at which one is payable.
async fn claim_all(world: &World, certified: &super::Certified) -> Result<u64, DrillError> {
    let mut latest = 0;
    for withdrawal in 0..STOLEN {
        let proof = certified.withdrawal_proof(withdrawal);
        let proof = proof.ok_or_else(|| DrillError::Failed("no such withdrawal".into()))?;
        let checked = CheckedWithdrawal::of(&proof, world.deployment.chain, world.vault.address())
            .map_err(|error| DrillError::Failed(error.to_string()))?;
        let checkpoint = world.vault.checkpoint_over(checked.root).await?;
        let checkpoint = checkpoint
            .ok_or_else(|| DrillError::Failed("no checkpoint is over the proof".into()))?;
        // The first claim over the limit puts it in the queue; the next says when it is payable.
        for _ in 0..2 {
            match world
                .vault
                .withdraw(&proof.leaf, &checked.path, checkpoint)
                .await
            {
                Ok(_) => {}
                Err(error) => match refusal(&error) {
                    Some(Refusal::TooEarly(early)) => {
                        latest = latest.max(early.from.saturating_to())
                    }
                    Some(Refusal::AlreadyClaimed(_)) => {}
                    _ => return Err(error.into()),
                },
            }
        }
    }
    Ok(latest)
}

/// The venue goes silent; after a day the others freeze the vault and leave.
async fn others_leave(
    world: &World,
    certified: &super::Certified,
    others: &[u32],
) -> Result<bool, DrillError> {
    world.chain.advance(24 * 3_600).await?;
    for (feed, mark) in world.deployment.feeds.iter().zip(super::MARKS) {
        crate::deploy::set_price(&world.port(), *feed, mark).await?;
    }
    world.vault.freeze(&certified.checkpoint.summary).await?;
    world
        .vault
        .fix_prices(&certified.checkpoint.summary)
        .await?;
    let mut whole = true;
    for account in others {
        let (leaf, path) = certified
            .leaf(*account)
            .unwrap_or_else(|| unreachable!("it is one"));
        let whose = Address([*account as u8; 20]).0.into();
        world.vault.exit(leaf, &path, whose).await?;
        let paid = world.vault.balance_of(whose).await?;
        whole = whole && owner(whose) != Address::default() && paid == HELD / 20;
    }
    Ok(whole)
}

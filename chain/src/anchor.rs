//! What a vault owes beside what it holds, both as of one final block.

use alloy_primitives::{Address, B256, U256};
use lifeboat_proof::exit::ExitSummary;
use serde::Serialize;

use crate::layout;
use crate::port::{BlockRef, ChainError, Evidence};
use crate::vault::Vault;

/// A token keeps balances in one of its first variables.
const BALANCE_SLOTS: u64 = 32;

/// The comparison. Amounts in units of the token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Anchor {
    /// The chain's EIP-155 id.
    pub chain: u64,
    /// The vault.
    pub vault: Address,
    /// The final block that all of it is as of.
    pub block: u64,
    /// Its hash.
    pub block_hash: B256,
    /// What it rests on: `merkle proof`, or `own authority` for the embedded chain.
    pub evidence: &'static str,
    /// Checkpoints so far.
    pub checkpoint: u32,
    /// Height of the venue whose state the last one carries.
    pub executed: u64,
    /// Sum of the certified accounts' cash.
    pub accounts: u64,
    /// Certified withdrawals that were not claimed yet.
    pub withdrawals: u64,
    /// Deposits that no checkpoint has credited yet.
    pub uncredited: u64,
    /// What the pool paid for crystallised accounts.
    pub held: u64,
    /// The sum of these.
    pub liabilities: u64,
    /// What the vault holds of the token.
    pub assets: u64,
    /// Whether assets cover liabilities. More than is owed is somebody's gift.
    pub covered: bool,
}

/// Compares, at the newest final block.
///
/// # Errors
/// See [`ChainError`]; [`ChainError::NotProven`] when the token's balance is in no slot that a proof was
/// found for.
pub async fn anchor(vault: &Vault) -> Result<Anchor, ChainError> {
    let port = vault.port();
    let at = port.finalized().await?;
    let missing = || ChainError::Malformed("a word of storage is missing".into());
    let slots = [layout::HEAD, layout::FLOW, layout::CRYSTALS].map(layout::slot);
    let words = port.storage(at, vault.address(), &slots).await?;
    let [head, flow, crystals] = words[..] else {
        return Err(missing());
    };
    let checkpoint = layout::checkpoint(head);
    let slot = layout::commitment(checkpoint);
    let kept = port.storage(at, vault.address(), &[slot]).await?;
    let kept = *kept.first().ok_or_else(missing)?;
    let summary = vault.summary_under(kept.into()).await?;
    let summary = summary.map(|bytes| ExitSummary::decode(&bytes)).transpose();
    let summary = summary.map_err(|error| ChainError::Malformed(error.to_string()))?;
    let owed = |get: fn(&ExitSummary) -> i64| {
        let value = summary.as_ref().map_or(0, get);
        u64::try_from(value).unwrap_or(0)
    };
    let (deposited, withdrawn) = (layout::field(flow, 0), layout::field(flow, 64));
    let accounts = owed(|summary| summary.accounts_cash.get());
    let certified = owed(|summary| summary.withdrawals_total.get());
    let credited = owed(|summary| summary.deposits_total.get());
    let withdrawals = certified.saturating_sub(withdrawn);
    let uncredited = deposited.saturating_sub(credited);
    let held = layout::field(crystals, 64);
    let liabilities = accounts + withdrawals + uncredited + held;
    let assets = balance(vault, at).await?;
    Ok(Anchor {
        chain: port.chain().get(),
        vault: vault.address(),
        block: at.number,
        block_hash: at.hash,
        evidence: match port.evidence() {
            Evidence::MerkleProof => "merkle proof",
            Evidence::OwnAuthority => "own authority",
        },
        checkpoint,
        executed: layout::field(head, 64),
        accounts,
        withdrawals,
        uncredited,
        held,
        liabilities,
        assets,
        covered: assets >= liabilities,
    })
}

/// The vault's balance, proven: the one of the token's mappings whose entry is what the token answers.
///
/// # Errors
/// See [`ChainError`].
pub async fn balance(vault: &Vault, at: BlockRef) -> Result<u64, ChainError> {
    let token = vault.token().await?;
    let answered = vault.balance_of(vault.address()).await?;
    let slots: Vec<B256> = (0..BALANCE_SLOTS)
        .map(|mapping| layout::entry_of(mapping, vault.address()))
        .collect();
    let words = vault.port().storage(at, token, &slots).await?;
    let is_it = |word: &&U256| **word == U256::from(answered);
    match words.iter().find(is_it) {
        Some(_) => Ok(answered),
        // A transfer between the final block and the newest: the one entry that there is.
        None => {
            let mut there = words.iter().filter(|word| !word.is_zero());
            let only = there.next().filter(|_| there.clone().count() == 0);
            let proven = only.and_then(|word| u64::try_from(*word).ok());
            let what = "the token keeps balances where no proof was found".to_owned();
            proven.ok_or(ChainError::NotProven(what))
        }
    }
}

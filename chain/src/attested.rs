//! What happened to a vault, in the words that validators attest.
//!
//! Everything is as of one final block. Counts, deposits, owners of requests, prices of crystallised
//! accounts, the balance and the freeze are proven from storage. A request's amount and recipient, and a
//! crystallised leaf's cash, stand in events and inputs only: a quorum of validators, each with its own
//! nodes, has to say the same.

use alloy_primitives::{Address, B256, U256};
use alloy_sol_types::{SolCall as _, SolEvent};
use lifeboat_engine::command::{Crystallisation, ForcedRequest, VaultEvent};
use lifeboat_engine::limits::VAULT_EVENTS_MAX;
use lifeboat_engine::types::{self, AccountId, Cash, Digest};
use lifeboat_proof::exit::ExitLeaf;

use crate::anchor;
use crate::bindings::vault::LifeboatVault::{Crystallised, WithdrawalForced, crystalliseCall};
use crate::deposits::{Observed, Unwind};
use crate::layout;
use crate::port::{BlockRef, ChainError, LogEntry};
use crate::vault::Vault;

/// A look at the deposits as proposals. Lists are cut at the chain's blocks, so that validators that
/// looked at different times attest the same ones, and at the engine's bound.
pub fn deposit_events(observed: &Observed) -> Vec<VaultEvent> {
    match observed {
        Observed::Unwound(unwind) => unwound(unwind),
        Observed::Deposits {
            first,
            deposits,
            blocks,
            ..
        } => {
            let pairs: Vec<_> = deposits
                .iter()
                .copied()
                .zip(blocks.iter().copied())
                .collect();
            parts(*first, &pairs, |first, deposits| VaultEvent::Deposits {
                first,
                deposits,
            })
        }
    }
}

/// From the last one back.
fn unwound(unwind: &Unwind) -> Vec<VaultEvent> {
    let mut chain = unwind.standing;
    let mut events = Vec::new();
    for part in unwind.lost.chunks(VAULT_EVENTS_MAX) {
        events.push(VaultEvent::DepositsUnwound {
            first: chain.cursor,
            previous: Digest(chain.hash.0),
            deposits: part.to_vec(),
        });
        chain = chain.extended(part).unwrap_or(chain);
    }
    events.reverse();
    events
}

/// Requests for forced withdrawal from number `first` on, up to a final block.
///
/// # Errors
/// See [`ChainError`]; [`ChainError::NotProven`] when events and storage differ.
pub async fn requests(
    vault: &Vault,
    at: BlockRef,
    first: u64,
) -> Result<Vec<VaultEvent>, ChainError> {
    let count = layout::field(
        word(vault, at, layout::slot(layout::REQUEST_COUNT)).await?,
        0,
    );
    let mut requests = Vec::new();
    for (log, event) in
        numbered::<WithdrawalForced>(vault, first, count, |event| event.number).await?
    {
        let kept = word(vault, at, layout::entry(layout::REQUESTS, event.number)).await?;
        if Address::from_word(B256::from(kept << 96_usize >> 96_usize)) != event.owner {
            let what = format!("request {} is another owner's", event.number);
            return Err(ChainError::NotProven(what));
        }
        let request = ForcedRequest {
            owner: types::Address(event.owner.0.0),
            amount: Cash::new(i64::try_from(event.amount).unwrap_or(i64::MAX)),
            recipient: types::Address(event.recipient.0.0),
        };
        requests.push((request, log.block));
    }
    Ok(parts(first, &requests, |first, requests| {
        VaultEvent::ForcedRequests { first, requests }
    }))
}

/// Crystallisations from number `first` on, up to a final block.
///
/// # Errors
/// As for [`requests`].
pub async fn crystallisations(
    vault: &Vault,
    at: BlockRef,
    first: u64,
) -> Result<Vec<VaultEvent>, ChainError> {
    let count = layout::field(word(vault, at, layout::slot(layout::CRYSTALS)).await?, 0);
    let mut accounts = Vec::new();
    for (log, event) in numbered::<Crystallised>(vault, first, count, |event| event.number).await? {
        let slot = layout::entry(layout::CRYSTAL_OF, event.index.into());
        let kept = word(vault, at, slot).await?;
        let same = layout::field(kept, 0) & 0xff_ffff == event.checkpoint.to::<u64>();
        // A later sale of the same account stands in its place.
        if same && layout::field(kept, 24) != event.paid {
            let what = format!("account {} was sold for another price", event.index);
            return Err(ChainError::NotProven(what));
        }
        let input = vault
            .port()
            .input(log.transaction)
            .await?
            .unwrap_or_default();
        let sold = crystalliseCall::abi_decode(&input).ok();
        let leaf = sold.and_then(|call| ExitLeaf::decode(&call.leaf).ok());
        let leaf = leaf.filter(|leaf| leaf.account.get() == event.index);
        let unknown = || ChainError::Malformed(format!("the leaf of account {}", event.index));
        let sale = Crystallisation {
            account: AccountId::new(event.index),
            cash: leaf.ok_or_else(unknown)?.cash,
            paid: Cash::new(i64::try_from(event.paid).unwrap_or(i64::MAX)),
        };
        accounts.push((sale, log.block));
    }
    Ok(parts(first, &accounts, |first, accounts| {
        VaultEvent::Crystallised { first, accounts }
    }))
}

/// What the vault holds, and whether it is frozen, after a final block.
///
/// # Errors
/// See [`ChainError`].
pub async fn holdings(vault: &Vault, at: BlockRef) -> Result<VaultEvent, ChainError> {
    let head = word(vault, at, layout::slot(layout::HEAD)).await?;
    if layout::field(head, 248) != 0 {
        return Ok(VaultEvent::Frozen);
    }
    let flow = word(vault, at, layout::slot(layout::FLOW)).await?;
    let cash = |units: u64| Cash::new(i64::try_from(units).unwrap_or(i64::MAX));
    Ok(VaultEvent::Anchored {
        block: at.number,
        assets: cash(anchor::balance(vault, at).await?),
        paid: cash(layout::field(flow, 64)),
    })
}

async fn word(vault: &Vault, at: BlockRef, slot: B256) -> Result<U256, ChainError> {
    let words = vault.port().storage(at, vault.address(), &[slot]).await?;
    Ok(words.first().copied().unwrap_or_default())
}

/// The events with the numbers `first..count`, each once and in order.
async fn numbered<E: SolEvent>(
    vault: &Vault,
    first: u64,
    count: u64,
    number: fn(&E) -> u64,
) -> Result<Vec<(LogEntry, E)>, ChainError> {
    if first >= count {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    let mut next = first;
    for log in vault.events(E::SIGNATURE_HASH).await? {
        let event = E::decode_raw_log(log.topics.iter().copied(), &log.data);
        let event = event.map_err(|error| ChainError::Malformed(error.to_string()))?;
        if number(&event) == next && next < count {
            next += 1;
            found.push((log, event));
        }
    }
    match next == count {
        true => Ok(found),
        false => Err(ChainError::NotProven(format!(
            "{count} were counted, and event {next} is missing"
        ))),
    }
}

/// Lists cut at the chain's blocks and at the engine's bound.
fn parts<T: Clone>(
    mut first: u64,
    all: &[(T, u64)],
    event: fn(u64, Vec<T>) -> VaultEvent,
) -> Vec<VaultEvent> {
    let mut events = Vec::new();
    for block in all.chunk_by(|one, next| one.1 == next.1) {
        for part in block.chunks(VAULT_EVENTS_MAX) {
            let list = part.iter().map(|(entry, _)| entry.clone()).collect();
            events.push(event(first, list));
            first += part.len() as u64;
        }
    }
    events
}

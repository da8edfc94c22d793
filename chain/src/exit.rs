//! Leaving a vault with a key and a proof, and nobody's server.
//!
//! **Owns** which transaction comes next, by what the vault says of itself. Whether it is time is asked
//! of the vault too: a call that comes too early is refused with the time from which it is not, and
//! costs nothing, because it is tried before it is sent.

use alloy_primitives::{Address, B256};
use alloy_sol_types::{SolEvent as _, SolInterface as _};
use lifeboat_proof::exit::ExitSummary;

use crate::bindings::vault::LifeboatVault::{
    Deposited, LifeboatVaultErrors as Refusal, WithdrawalForced,
};
use crate::port::{ChainError, Receipt};
use crate::proof_file::CheckedProof;
use crate::vault::{Stage, Vault, VaultHead};

/// Seconds for which a frozen vault waits for a feed before the certified mark stands in.
const FEED_GRACE: u64 = 3 * 24 * 3_600;

/// One thing done, or waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// A transaction was sent and is in a block.
    Did {
        /// What it did, for a person.
        what: String,
        /// The transaction.
        transaction: B256,
        /// Gas that it used.
        gas: u64,
    },
    /// Nothing can be done before a time.
    Waiting {
        /// What for.
        what: String,
        /// The chain's time, in seconds, from which it goes on; `None` when it depends on the venue.
        until: Option<u64>,
    },
    /// The account has left; nothing remains to be done.
    Left,
}

/// Why leaving cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ExitError {
    /// The chain.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The proof is older than the vault's last checkpoint.
    #[error(
        "the proof is of block {proven}, and the vault's last checkpoint of block {settled}: nothing \
         was done. Make a proof of that block from the published blocks, or ask anyone who has them"
    )]
    OldProof {
        /// Height whose state the proof is of.
        proven: u64,
        /// Height whose state the vault knows.
        settled: u64,
    },
    /// The proof names no heights.
    #[error("the proof's header is too short")]
    Malformed,
}

/// An account on its way out.
pub struct Leaving {
    vault: Vault,
    proof: CheckedProof,
    recipient: Address,
}

impl Leaving {
    /// An account that leaves to `recipient`, which is the owner's own address unless the vault's port
    /// sends as the owner.
    pub const fn new(vault: Vault, proof: CheckedProof, recipient: Address) -> Self {
        Self {
            vault,
            proof,
            recipient,
        }
    }

    fn owner(&self) -> Address {
        self.proof.leaf.owner.0.into()
    }

    /// Does the next thing that can be done.
    ///
    /// # Errors
    /// See [`ExitError`]. Nothing is lost by calling again.
    pub async fn step(&self) -> Result<Progress, ExitError> {
        let head = self.vault.head().await?;
        if head.stage == Stage::Live {
            return self.before_the_freeze(&head).await;
        }
        if let Some(refunded) = self.refund().await? {
            return Ok(refunded);
        }
        self.know_the_checkpoint(&head).await?;
        match head.stage {
            Stage::Live | Stage::Frozen => self.fix_prices().await,
            Stage::Open => self.leave("paid").await,
            Stage::Claims => self.note().await,
            Stage::Shared => self.collect().await,
        }
    }

    async fn before_the_freeze(&self, head: &VaultHead) -> Result<Progress, ExitError> {
        let heights = self.proof.checkpoint.heights();
        let (height, executed) = heights.ok_or(ExitError::Malformed)?;
        if height > head.height && executed > head.executed {
            let posted = self.vault.checkpoint(&self.proof.checkpoint).await?;
            return Ok(did("posted the proof's checkpoint", &posted));
        }
        self.know_the_checkpoint(head).await?;
        let summary = &self.proof.checkpoint.summary;
        let day = match when(self.vault.freeze(summary).await)? {
            Ok(frozen) => return Ok(did("froze the vault", &frozen)),
            Err(from) => from,
        };
        let Some(number) = self.last_request().await? else {
            let amount = u64::try_from(self.proof.leaf.cash.get())
                .unwrap_or(0)
                .max(1);
            let asked = self.vault.force_withdrawal(amount, self.recipient).await?;
            return Ok(did("asked for the withdrawal on chain", &asked));
        };
        if number < self.proof.summary.forced_cursor {
            let what = "the venue answered the request: claim the withdrawal, or wait for the day \
                        without a checkpoint after which the vault can be frozen";
            return Ok(waiting(what, Some(day)));
        }
        match when(self.vault.freeze_ignored(summary, number).await)? {
            Ok(frozen) => Ok(did("froze the vault: the request was ignored", &frozen)),
            Err(from) => {
                let what = "the venue has until then to answer the request on chain or to be silent \
                            for a day; after it the vault can be frozen";
                Ok(waiting(what, Some(from.min(day))))
            }
        }
    }

    /// That the proof is of the vault's last checkpoint.
    async fn know_the_checkpoint(&self, head: &VaultHead) -> Result<(), ExitError> {
        let settled = self.vault.last_summary().await?;
        if settled.as_ref() == Some(&self.proof.checkpoint.summary) {
            return Ok(());
        }
        let (_, proven) = self.proof.checkpoint.heights().unwrap_or_default();
        Err(ExitError::OldProof {
            proven,
            settled: head.executed,
        })
    }

    async fn last_request(&self) -> Result<Option<u64>, ExitError> {
        let events = self.vault.events(WithdrawalForced::SIGNATURE_HASH).await?;
        let own = events.into_iter().rev().find_map(|log| {
            let event = WithdrawalForced::decode_raw_log(log.topics, &log.data).ok()?;
            (event.owner == self.owner()).then_some(event.number)
        });
        Ok(own)
    }

    /// Takes back one of the owner's deposits that no checkpoint credited.
    async fn refund(&self) -> Result<Option<Progress>, ExitError> {
        let cursor = self.vault.frozen_deposit_cursor().await?;
        let mut previous = B256::ZERO;
        for log in self.vault.events(Deposited::SIGNATURE_HASH).await? {
            let event = Deposited::decode_raw_log(log.topics, &log.data)
                .map_err(|error| ChainError::Malformed(error.to_string()))?;
            let before = std::mem::replace(&mut previous, event.hash);
            if event.number < cursor || event.owner != self.owner() {
                continue;
            }
            let sent = self
                .vault
                .refund(event.number, event.owner, event.amount, before);
            match sent.await {
                Ok(receipt) => {
                    let what = format!("took back deposit {}: {}", event.number, event.amount);
                    return Ok(Some(did(&what, &receipt)));
                }
                Err(error) => match refusal(&error) {
                    // Taken back before.
                    Some(Refusal::NotIncluded(_)) => {}
                    _ => return Err(error.into()),
                },
            }
        }
        Ok(None)
    }

    async fn fix_prices(&self) -> Result<Progress, ExitError> {
        match self.vault.fix_prices(&self.proof.checkpoint.summary).await {
            Ok(receipt) => Ok(did("fixed the prices", &receipt)),
            Err(error) => match refusal(&error) {
                Some(Refusal::NoPrice(feed)) => {
                    let (since, _) = self.vault.frozen_times().await?;
                    let what = format!(
                        "the price feed of underlying {} gives no price that may be used; then the \
                         certified mark stands in",
                        feed.underlying
                    );
                    Ok(waiting(&what, Some(since + FEED_GRACE)))
                }
                _ => Err(error.into()),
            },
        }
    }

    async fn leave(&self, how: &str) -> Result<Progress, ExitError> {
        let (leaf, path) = (&self.proof.leaf_bytes, &self.proof.path);
        let sent = self.vault.exit(leaf, path, self.recipient).await;
        match sent {
            Ok(receipt) => Ok(did(&format!("the account's exit was {how}"), &receipt)),
            Err(error) => match refusal(&error) {
                Some(Refusal::AlreadyClaimed(_) | Refusal::NothingToClaim(_)) => Ok(Progress::Left),
                _ => Err(error.into()),
            },
        }
    }

    async fn note(&self) -> Result<Progress, ExitError> {
        match self.leave("noted").await? {
            Progress::Left => match when(self.vault.close_claims().await)? {
                Ok(receipt) => Ok(did("closed the window of claims", &receipt)),
                Err(from) => {
                    let what = "prices are outside the safe range, or the vault holds less than it owes: \
                                exits are noted until then, and paid after it, in full or by their share";
                    Ok(waiting(what, Some(from)))
                }
            },
            noted => Ok(noted),
        }
    }

    async fn collect(&self) -> Result<Progress, ExitError> {
        let index = self.proof.leaf.account.get();
        if self.vault.claim_of(index).await? > 0 {
            let receipt = self.vault.pay_claim(index).await?;
            return Ok(did("the noted exit was paid", &receipt));
        }
        self.leave("paid from what was left").await
    }
}

/// The last summary that a vault accepted, decoded.
///
/// # Errors
/// See [`ChainError`].
pub async fn settled_summary(vault: &Vault) -> Result<Option<ExitSummary>, ChainError> {
    let bytes = vault.last_summary().await?;
    let decoded = bytes.map(|bytes| ExitSummary::decode(&bytes)).transpose();
    decoded.map_err(|error| ChainError::Malformed(error.to_string()))
}

fn did(what: &str, receipt: &Receipt) -> Progress {
    Progress::Did {
        what: what.to_owned(),
        transaction: receipt.transaction,
        gas: receipt.gas,
    }
}

fn waiting(what: &str, until: Option<u64>) -> Progress {
    Progress::Waiting {
        what: what.to_owned(),
        until,
    }
}

/// Which of the vault's errors a refusal is.
pub fn refusal(error: &ChainError) -> Option<Refusal> {
    match error {
        ChainError::Reverted(data) => Refusal::abi_decode(data).ok(),
        _ => None,
    }
}

/// A receipt, or the time from which there would be one.
fn when(sent: Result<Receipt, ChainError>) -> Result<Result<Receipt, u64>, ChainError> {
    match sent {
        Ok(receipt) => Ok(Ok(receipt)),
        Err(error) => match refusal(&error) {
            Some(Refusal::TooEarly(early)) => Ok(Err(early.from.saturating_to())),
            _ => Err(error),
        },
    }
}

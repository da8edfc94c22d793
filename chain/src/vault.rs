//! The vault's functions, typed.

use std::sync::Arc;

use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_sol_types::{SolCall, SolEvent as _, SolInterface as _};
use lifeboat_engine::commitment::MerkleProof;
use lifeboat_engine::types::{self, Digest};
use lifeboat_proof::exit::{ExitSummary, commitment};

use crate::bindings::key::ValidatorKey::ValidatorKeyErrors;
use crate::bindings::token::Token;
use crate::bindings::vault::LifeboatVault::CheckpointAccepted;
use crate::bindings::vault::{LifeboatVault, QuadTree};
use crate::bls;
use crate::layout::ROOTS_KEPT;
use crate::port::{Call, ChainError, LogEntry, LogQuery, Receipt, SettlementPort};

/// Blocks of one question for events: what public nodes allow.
pub const LOG_BLOCKS: u64 = 10_000;

/// An address as alloy writes it.
pub fn address(owner: types::Address) -> Address {
    Address::from(owner.0)
}

/// What a contract said when it refused.
pub fn reason(data: &Bytes) -> String {
    if let Ok(error) = LifeboatVault::LifeboatVaultErrors::abi_decode(data) {
        return format!("{error:?}");
    }
    if let Ok(error) = ValidatorKeyErrors::abi_decode(data) {
        return format!("{error:?}");
    }
    alloy_sol_types::decode_revert_reason(data).unwrap_or_else(|| format!("{data}"))
}

/// A checkpoint that a vault accepted and whose withdrawals root it keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AcceptedCheckpoint {
    /// Its number.
    pub number: u32,
    /// Its summary's digest.
    pub summary_digest: B256,
}

/// Where a vault is in its life. It only moves forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Checkpoints, deposits, withdrawals.
    Live,
    /// No more checkpoints; prices are not fixed yet.
    Frozen,
    /// Exits are paid in full at once.
    Open,
    /// Exits are noted until the window closes.
    Claims,
    /// Noted exits are paid, in full or by their share.
    Shared,
}

impl Stage {
    /// From the contract's number.
    ///
    /// # Errors
    /// When it is none.
    pub fn from_number(number: u8) -> Result<Self, ChainError> {
        let all = [
            Self::Live,
            Self::Frozen,
            Self::Open,
            Self::Claims,
            Self::Shared,
        ];
        let stage = all.get(usize::from(number)).copied();
        stage.ok_or_else(|| ChainError::Malformed(format!("stage {number}")))
    }
}

/// The last checkpoint that a vault accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VaultHead {
    /// Height of the block that was certified.
    pub height: u64,
    /// Height whose state it carries.
    pub executed: u64,
    /// Consensus epoch.
    pub epoch: u64,
    /// The chain's time when it was accepted, in seconds.
    pub accepted_at: u64,
    /// How many checkpoints there were.
    pub number: u32,
    /// See [`Stage`].
    pub stage: Stage,
}

/// A checkpoint as the venue makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The certified block header.
    pub header: Vec<u8>,
    /// The finalization certificate as the validators encode it; its end is the signature, a compressed
    /// point of G1.
    pub certificate: Vec<u8>,
    /// This vault's exit summary.
    pub summary: Vec<u8>,
    /// Digests of the summaries of chains before this one.
    pub before: Vec<Digest>,
    /// Digests of those after it.
    pub after: Vec<Digest>,
}

impl Checkpoint {
    /// The height of its block and the height that its roots are of; `None` when the header is short.
    pub fn heights(&self) -> Option<(u64, u64)> {
        let field = |at: usize| {
            let bytes = self.header.get(at..)?.first_chunk::<8>()?;
            Some(u64::from_be_bytes(*bytes))
        };
        Some((field(32)?, field(136)?))
    }
}

/// A vault on a chain.
#[derive(Clone)]
pub struct Vault {
    port: Arc<dyn SettlementPort>,
    address: Address,
    since: u64,
}

impl Vault {
    /// The vault at an address.
    pub fn new(port: Arc<dyn SettlementPort>, address: Address) -> Self {
        Self {
            port,
            address,
            since: 0,
        }
    }

    /// The same vault, which is known not to be older than this block: events are searched from there.
    #[must_use]
    pub fn since(self, block: u64) -> Self {
        Self {
            since: block,
            ..self
        }
    }

    /// Its chain.
    pub fn port(&self) -> &Arc<dyn SettlementPort> {
        &self.port
    }

    /// Where it is.
    pub const fn address(&self) -> Address {
        self.address
    }

    /// Asks a contract.
    ///
    /// # Errors
    /// See [`ChainError`], here and below.
    pub async fn ask<C: SolCall>(&self, of: Address, call: C) -> Result<C::Return, ChainError> {
        let answer = self.port.call(of, call.abi_encode().into()).await?;
        C::abi_decode_returns(&answer).map_err(|error| ChainError::Malformed(error.to_string()))
    }

    async fn own<C: SolCall>(&self, call: C) -> Result<C::Return, ChainError> {
        self.ask(self.address, call).await
    }

    async fn do_<C: SolCall>(&self, call: C) -> Result<Receipt, ChainError> {
        self.port.send(self.call(&call)).await
    }

    /// A transaction that calls this vault.
    pub fn call<C: SolCall>(&self, call: &C) -> Call {
        Call::to(self.address, call.abi_encode())
    }

    /// The last checkpoint and the stage.
    pub async fn head(&self) -> Result<VaultHead, ChainError> {
        let head = self.own(LifeboatVault::headCall {}).await?;
        Ok(VaultHead {
            height: head.height,
            executed: head.executed,
            epoch: head.epoch.to(),
            accepted_at: head.acceptedAt.to(),
            number: head.number.to(),
            stage: Stage::from_number(head.stage)?,
        })
    }

    /// The collateral.
    pub async fn token(&self) -> Result<Address, ChainError> {
        self.own(LifeboatVault::TOKENCall {}).await
    }

    /// The insurance pool.
    pub async fn pool(&self) -> Result<Address, ChainError> {
        self.own(LifeboatVault::POOLCall {}).await
    }

    /// The feed of an underlying.
    pub async fn feed(&self, underlying: u8) -> Result<Address, ChainError> {
        let id = U256::from(underlying);
        let feed = self.own(LifeboatVault::feedOfCall { id }).await?;
        Ok(feed.aggregator)
    }

    /// What somebody holds of the collateral.
    pub async fn balance_of(&self, holder: Address) -> Result<u64, ChainError> {
        let token = self.token().await?;
        let held = self.ask(token, Token::balanceOfCall { account: holder });
        Ok(held.await?.saturating_to())
    }

    /// When the vault froze and when its window of claims closes, in seconds; zero if not yet.
    pub async fn frozen_times(&self) -> Result<(u64, u64), ChainError> {
        let frozen = self.own(LifeboatVault::frozenCall {}).await?;
        Ok((frozen.since.into(), frozen.claimsEnd.into()))
    }

    /// The value of a noted exit that is not paid yet.
    pub async fn claim_of(&self, index: u32) -> Result<u128, ChainError> {
        let index = U256::from(index);
        let claim = self.own(LifeboatVault::claimsCall { index }).await?;
        Ok(claim.value.to())
    }

    /// The newest kept checkpoint under whose withdrawals root a path leads.
    pub async fn checkpoint_over(
        &self,
        root: Digest,
    ) -> Result<Option<AcceptedCheckpoint>, ChainError> {
        let oldest = self.head().await?.number.saturating_sub(ROOTS_KEPT - 1);
        let mut end = Some(self.port.newest().await?.number);
        let topic = CheckpointAccepted::SIGNATURE_HASH;
        while let Some(logs) = self.logs_before(topic, &mut end).await? {
            for log in logs.into_iter().rev() {
                let event = CheckpointAccepted::decode_raw_log(log.topics, &log.data);
                let event = event.map_err(|error| ChainError::Malformed(error.to_string()))?;
                let (number, summary_digest) = (event.number.to(), event.summaryDigest);
                if number < oldest {
                    return Ok(None);
                }
                let sought = commitment(&root, &Digest(summary_digest.0));
                if self.commitment(number).await?.0 == sought.0 {
                    return Ok(Some(AcceptedCheckpoint {
                        number,
                        summary_digest,
                    }));
                }
            }
        }
        Ok(None)
    }

    /// How many deposits a frozen vault had seen credited.
    pub async fn frozen_deposit_cursor(&self) -> Result<u64, ChainError> {
        let frozen = self.own(LifeboatVault::frozenCall {}).await?;
        Ok(frozen.depositCursor)
    }

    /// The last accepted summary, from the input of its own transaction; `None` before the first.
    pub async fn last_summary(&self) -> Result<Option<Vec<u8>>, ChainError> {
        let number = self.head().await?.number;
        self.summary_under(self.commitment(number).await?).await
    }

    /// The summary under what the vault keeps of its checkpoint, which the caller got from it; `None` for zero.
    pub async fn summary_under(&self, kept: B256) -> Result<Option<Vec<u8>>, ChainError> {
        if kept.is_zero() {
            return Ok(None);
        }
        let mut end = Some(self.port.newest().await?.number);
        let topic = CheckpointAccepted::SIGNATURE_HASH;
        while let Some(logs) = self.logs_before(topic, &mut end).await? {
            for log in logs.iter().rev() {
                if let Some(summary) = self.summary_in(log.transaction, kept).await? {
                    return Ok(Some(summary));
                }
            }
        }
        let what = "no transaction carries the last checkpoint's summary".to_owned();
        Err(ChainError::Malformed(what))
    }

    /// What the vault keeps of a checkpoint.
    async fn commitment(&self, number: u32) -> Result<B256, ChainError> {
        let place = U256::from(number % ROOTS_KEPT);
        self.own(LifeboatVault::commitmentsCall(place)).await
    }

    /// The events of one kind in the blocks up to `end`, a bounded number of them, and takes `end` before
    /// them; `None` once the vault's first block was read.
    async fn logs_before(
        &self,
        topic: B256,
        end: &mut Option<u64>,
    ) -> Result<Option<Vec<LogEntry>>, ChainError> {
        let Some(to) = *end else {
            return Ok(None);
        };
        let from = to.saturating_sub(LOG_BLOCKS - 1).max(self.since);
        *end = from.checked_sub(1).filter(|before| *before >= self.since);
        self.logs(topic, from, to).await.map(Some)
    }

    /// All events of one kind, oldest first. The chain is asked for a bounded range at a time.
    pub async fn events(&self, topic: B256) -> Result<Vec<LogEntry>, ChainError> {
        let newest = self.port.newest().await?.number;
        let (mut found, mut from) = (Vec::new(), self.since);
        while from <= newest {
            let to = newest.min(from.saturating_add(LOG_BLOCKS - 1));
            found.extend(self.logs(topic, from, to).await?);
            from = to + 1;
        }
        Ok(found)
    }

    async fn logs(&self, topic: B256, from: u64, to: u64) -> Result<Vec<LogEntry>, ChainError> {
        let query = LogQuery {
            address: self.address,
            topic,
            from,
            to,
        };
        self.port.logs(query).await
    }

    async fn summary_in(
        &self,
        transaction: B256,
        kept: B256,
    ) -> Result<Option<Vec<u8>>, ChainError> {
        let Some(input) = self.port.input(transaction).await? else {
            return Ok(None);
        };
        let call = LifeboatVault::checkpointCall::abi_decode(&input);
        // Another contract may have called the vault: its input is something else.
        let Some(summary) = call.ok().map(|call| call.summary_.to_vec()) else {
            return Ok(None);
        };
        let decoded = ExitSummary::decode(&summary).ok();
        Ok(decoded
            .filter(|found| found.commitment().0 == kept.0)
            .map(|_| summary))
    }

    /// Mints development collateral for the sender, lets the vault take it, and deposits it for `owner`.
    /// Only with the development token.
    pub async fn deposit_minted(
        &self,
        owner: types::Address,
        amount: u64,
    ) -> Result<Receipt, ChainError> {
        let token = self.token().await?;
        let mint = Token::mintCall {
            to: self.port.sender().ok_or(ChainError::NoSender)?,
            amount: U256::from(amount),
        };
        self.port.send(Call::to(token, mint.abi_encode())).await?;
        self.deposit_approved(owner, amount).await
    }

    /// Lets the vault take the sender's own collateral and deposits it for `owner`.
    pub async fn deposit_approved(
        &self,
        owner: types::Address,
        amount: u64,
    ) -> Result<Receipt, ChainError> {
        let approve = Token::approveCall {
            spender: self.address,
            value: U256::from(amount),
        };
        let token = self.token().await?;
        self.port
            .send(Call::to(token, approve.abi_encode()))
            .await?;
        self.deposit(owner, amount).await
    }

    /// Sum and count of all deposits.
    pub async fn deposits(&self) -> Result<(u64, u64), ChainError> {
        let flow = self.own(LifeboatVault::flowCall {}).await?;
        Ok((flow.deposited, flow.deposits.to()))
    }

    /// Deposits for `owner` what the sender has approved, in units of the token.
    pub async fn deposit(&self, owner: types::Address, amount: u64) -> Result<Receipt, ChainError> {
        let owner = address(owner);
        self.do_(LifeboatVault::depositCall { owner, amount }).await
    }

    /// Posts a checkpoint.
    pub async fn checkpoint(&self, checkpoint: &Checkpoint) -> Result<Receipt, ChainError> {
        let certificate = &checkpoint.certificate;
        let signature = certificate.last_chunk::<{ bls::SIGNATURE_BYTES }>();
        let signature = bls::signature(signature.map_or(&[][..], |end| &end[..]))
            .map_err(|error| ChainError::Malformed(error.to_string()))?;
        let digests = |digests: &[Digest]| -> Vec<u8> {
            digests.iter().flat_map(|digest| digest.0).collect()
        };
        self.do_(LifeboatVault::checkpointCall {
            header_: checkpoint.header.clone().into(),
            summary_: checkpoint.summary.clone().into(),
            before_: digests(&checkpoint.before).into(),
            after_: digests(&checkpoint.after).into(),
            signature: signature.into(),
        })
        .await
    }

    /// Claims a certified withdrawal under the checkpoint whose root the path leads to.
    pub async fn withdraw(
        &self,
        leaf: &[u8],
        path: &MerkleProof,
        checkpoint: AcceptedCheckpoint,
    ) -> Result<Receipt, ChainError> {
        self.do_(LifeboatVault::withdrawCall {
            leaf: leaf.to_vec().into(),
            path: quad_path(path),
            slot: alloy_primitives::aliases::U24::from(checkpoint.number),
            summaryDigest: checkpoint.summary_digest,
        })
        .await
    }

    /// Asks for a withdrawal on chain.
    pub async fn force_withdrawal(
        &self,
        amount: u64,
        recipient: Address,
    ) -> Result<Receipt, ChainError> {
        self.do_(LifeboatVault::forceWithdrawalCall { amount, recipient })
            .await
    }

    /// Freezes after a day without a checkpoint.
    pub async fn freeze(&self, summary: &[u8]) -> Result<Receipt, ChainError> {
        let summary = summary.to_vec().into();
        self.do_(LifeboatVault::freezeCall { summary }).await
    }

    /// Freezes because a request was ignored for a day.
    pub async fn freeze_ignored(&self, summary: &[u8], number: u64) -> Result<Receipt, ChainError> {
        let summary = summary.to_vec().into();
        self.do_(LifeboatVault::freezeIgnoredCall { summary, number })
            .await
    }

    /// Sends what is left to the pool, once everybody has left.
    pub async fn sweep(&self) -> Result<Receipt, ChainError> {
        self.do_(LifeboatVault::sweepCall {}).await
    }

    /// Fixes the prices of a frozen vault.
    pub async fn fix_prices(&self, summary: &[u8]) -> Result<Receipt, ChainError> {
        let summary = summary.to_vec().into();
        self.do_(LifeboatVault::fixPricesCall { summary }).await
    }

    /// Pays, or notes, an account's exit.
    pub async fn exit(
        &self,
        leaf: &[u8],
        path: &MerkleProof,
        recipient: Address,
    ) -> Result<Receipt, ChainError> {
        self.port.send(self.exit_call(leaf, path, recipient)).await
    }

    /// The transaction of [`Self::exit`].
    pub fn exit_call(&self, leaf: &[u8], path: &MerkleProof, recipient: Address) -> Call {
        self.call(&LifeboatVault::exitCall {
            leaf: leaf.to_vec().into(),
            path: quad_path(path),
            recipient,
            signature: Bytes::new(),
        })
    }

    /// Returns a deposit that was never credited; `previous` is the hash over those before it.
    pub async fn refund(
        &self,
        number: u64,
        owner: Address,
        amount: u64,
        previous: B256,
    ) -> Result<Receipt, ChainError> {
        self.do_(LifeboatVault::refundCall {
            number,
            owner,
            amount,
            previous,
        })
        .await
    }

    /// During an outage: the pool buys an account that is under its critical value.
    pub async fn crystallise(
        &self,
        summary: &[u8],
        leaf: &[u8],
        path: &MerkleProof,
    ) -> Result<Receipt, ChainError> {
        self.do_(LifeboatVault::crystalliseCall {
            summary_: summary.to_vec().into(),
            leaf: leaf.to_vec().into(),
            path: quad_path(path),
        })
        .await
    }

    /// Closes the window of claims.
    pub async fn close_claims(&self) -> Result<Receipt, ChainError> {
        self.do_(LifeboatVault::closeClaimsCall {}).await
    }

    /// Pays a noted exit.
    pub async fn pay_claim(&self, index: u32) -> Result<Receipt, ChainError> {
        self.do_(LifeboatVault::payClaimCall { index }).await
    }
}

/// A path as the contracts take it.
pub fn quad_path(proof: &MerkleProof) -> QuadTree::Path {
    let siblings = proof.siblings.iter().flatten();
    QuadTree::Path {
        count: proof.count,
        siblings: siblings.map(|digest| B256::from(digest.0)).collect(),
    }
}

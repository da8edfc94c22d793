//! What is credited of a vault's deposits, and when.
//!
//! **Owns** the rule: a deposit counts once it is in a final block, and only as part of the chain of
//! hashes whose end was read, with evidence, from the vault's storage after that block. Events are only
//! the preimages of those hashes. What is not final is never credited; when a final block is taken
//! back, which no setting excludes, the credits that went with it are named.

use alloy_primitives::{B256, U256};
use alloy_sol_types::SolEvent as _;
use lifeboat_engine::types::{Address, Cash};
use lifeboat_proof::exit::{Deposit, DepositChain};

use crate::bindings::vault::LifeboatVault::Deposited;
use crate::layout;
use crate::port::{BlockRef, ChainError, LogQuery};
use crate::vault::{LOG_BLOCKS, Vault};

/// What a look at the chain brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observed {
    /// Deposits that became final, in the vault's order.
    Deposits {
        /// The number of the first.
        first: u64,
        /// The deposits.
        deposits: Vec<Deposit>,
        /// The block of each: validators that look at different times cut lists there.
        blocks: Vec<u64>,
        /// The chain with them.
        after: DepositChain,
        /// The final block whose storage says so.
        block: BlockRef,
    },
    /// A final block was taken back, and deposits that were credited with it.
    Unwound(Unwind),
}

/// Credits that a reorganisation deeper than finality took back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unwind {
    /// The block that was final.
    pub was: BlockRef,
    /// The newest final block now.
    pub now: BlockRef,
    /// The chain of deposits that still stand.
    pub standing: DepositChain,
    /// The deposits that do not, the first of them having the number `standing.cursor`.
    pub lost: Vec<Deposit>,
}

/// Watches one vault's deposits.
pub struct DepositWatcher {
    vault: Vault,
    /// The chain at which this watch began.
    start: DepositChain,
    /// Deposits since, each with the chain including it.
    known: Vec<(Deposit, DepositChain)>,
    /// The last final block that was looked at.
    last: Option<BlockRef>,
    /// Events up to here were read.
    read_to: u64,
}

impl DepositWatcher {
    /// Watches from a chain of deposits that is credited already; `from_block` is a block before the
    /// next deposit, such as the vault's own.
    pub const fn new(vault: Vault, start: DepositChain, from_block: u64) -> Self {
        Self {
            vault,
            start,
            known: Vec::new(),
            last: None,
            read_to: from_block,
        }
    }

    /// The chain of all deposits that were seen final.
    pub fn credited(&self) -> DepositChain {
        self.known.last().map_or(self.start, |(_, chain)| *chain)
    }

    /// Whether these deposits, the first with this number, are final and next to each other: what a
    /// validator asks before it votes for a block that credits them. `None` when some were not seen yet.
    pub fn confirms(&self, first: u64, deposits: &[Deposit]) -> Option<bool> {
        let at = usize::try_from(first.checked_sub(self.start.cursor)?).ok()?;
        let seen = self.known.get(at..at.checked_add(deposits.len())?)?;
        Some(seen.iter().map(|(deposit, _)| deposit).eq(deposits))
    }

    /// Looks at the chain once.
    ///
    /// # Errors
    /// [`ChainError::NotProven`] when the events do not lead to the proven hash: the node lies, or lost
    /// events. Others as the chain says. Nothing is credited then, and the next look starts anew.
    pub async fn poll(&mut self) -> Result<Option<Observed>, ChainError> {
        let port = self.vault.port().clone();
        let now = port.finalized().await?;
        if self.last.is_some_and(|last| last == now) {
            return Ok(None);
        }
        if let Some(was) = self.last {
            match port.block(was.number).await? {
                // The node is behind the one that was asked before.
                None => return Ok(None),
                Some(same) if same == was && now.number >= was.number => {}
                Some(same) if same == was => return Ok(None),
                Some(_) => return self.unwind(was, now).await.map(Some),
            }
        }
        let proven = self.proven(now).await?;
        let credited = self.credited();
        if proven == (credited.cursor, B256::from(credited.hash.0)) {
            (self.last, self.read_to) = (Some(now), now.number);
            return Ok(None);
        }
        let found = self.read(now, proven).await?;
        (self.last, self.read_to) = (Some(now), now.number);
        let deposits = found.iter().map(|(deposit, ..)| *deposit).collect();
        let blocks = found.iter().map(|(.., block)| *block).collect();
        let known = found.into_iter();
        self.known
            .extend(known.map(|(deposit, chain, _)| (deposit, chain)));
        Ok(Some(Observed::Deposits {
            first: credited.cursor,
            deposits,
            blocks,
            after: self.credited(),
            block: now,
        }))
    }

    /// Count of deposits and hash over them after a block, with the port's evidence.
    async fn proven(&self, at: BlockRef) -> Result<(u64, B256), ChainError> {
        let (port, address) = (self.vault.port(), self.vault.address());
        let flow = port
            .storage(at, address, &[layout::slot(layout::FLOW)])
            .await?;
        let count = flow.first().map_or(0, |flow| layout::deposits(*flow));
        Ok((count, self.hash_at(at, count).await?))
    }

    /// The hash over the first `count` deposits after a block.
    async fn hash_at(&self, at: BlockRef, count: u64) -> Result<B256, ChainError> {
        let Some(last) = count.checked_sub(1) else {
            return Ok(B256::ZERO);
        };
        let slot = layout::entry(layout::DEPOSIT_HASHES, last);
        let (port, address) = (self.vault.port(), self.vault.address());
        let word = port.storage(at, address, &[slot]).await?;
        Ok(word.first().copied().unwrap_or(U256::ZERO).into())
    }

    /// The deposits behind the credited ones, up to the proven hash.
    async fn read(
        &self,
        now: BlockRef,
        (count, hash): (u64, B256),
    ) -> Result<Vec<(Deposit, DepositChain, u64)>, ChainError> {
        let mut chain = self.credited();
        let mut found = Vec::new();
        let mut from = self.read_to;
        while from <= now.number && chain.cursor < count {
            let query = LogQuery {
                address: self.vault.address(),
                topic: Deposited::SIGNATURE_HASH,
                from,
                to: now.number.min(from.saturating_add(LOG_BLOCKS - 1)),
            };
            from = query.to + 1;
            for log in self.vault.port().logs(query).await? {
                let event = Deposited::decode_raw_log(log.topics, &log.data);
                let event = event.map_err(|error| ChainError::Malformed(error.to_string()))?;
                if event.number != chain.cursor || chain.cursor == count {
                    continue;
                }
                let deposit = Deposit {
                    owner: Address(event.owner.0.0),
                    amount: Cash::new(i64::try_from(event.amount).unwrap_or(0)),
                };
                chain = chain
                    .push(&deposit)
                    .ok_or_else(|| ChainError::Malformed("a deposit of nothing".into()))?;
                found.push((deposit, chain, log.block));
            }
        }
        if (chain.cursor, B256::from(chain.hash.0)) == (count, hash) {
            return Ok(found);
        }
        Err(ChainError::NotProven(format!(
            "the vault has {count} deposits after block {} ({}), and the events up to it give {} \
             that hash to something else",
            now.number, now.hash, chain.cursor
        )))
    }

    /// Keeps what still stands after a final block was taken back.
    async fn unwind(&mut self, was: BlockRef, now: BlockRef) -> Result<Observed, ChainError> {
        let (count, _) = self.proven(now).await?;
        let mut kept = self.known.len();
        while let Some((_, chain)) = kept.checked_sub(1).and_then(|last| self.known.get(last)) {
            let there = chain.cursor <= count
                && self.hash_at(now, chain.cursor).await? == B256::from(chain.hash.0);
            if there {
                break;
            }
            kept -= 1;
        }
        let lost = self.known.split_off(kept);
        self.last = None;
        // Deposits of the new history may lie in any block behind the fork.
        self.read_to = 0;
        Ok(Observed::Unwound(Unwind {
            was,
            now,
            standing: self.credited(),
            lost: lost.into_iter().map(|(deposit, _)| deposit).collect(),
        }))
    }
}

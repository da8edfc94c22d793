//! An embedded chain that can be told not to answer.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use alloy_primitives::{Address, B256, Bytes, U256};
use async_trait::async_trait;
use lifeboat_proof::exit::SettlementChain;

use super::Interruption;
use crate::embedded::EmbeddedChain;
use crate::port::{
    BlockRef, Call, ChainError, Development, Evidence, LogEntry, LogQuery, Receipt, SettlementPort,
};

/// A chain that can be told not to answer.
pub struct Halting {
    inner: EmbeddedChain,
    halted: Switch,
}

/// Halts a [`Halting`] chain and lets it go on.
#[derive(Clone, Debug, Default)]
pub struct Switch(Arc<AtomicBool>);

impl Interruption for Switch {
    fn halt(&self) -> io::Result<()> {
        self.0.store(true, Ordering::SeqCst);
        Ok(())
    }

    fn resume(&self) -> io::Result<()> {
        self.0.store(false, Ordering::SeqCst);
        Ok(())
    }
}

impl Halting {
    /// `chain`, which answers until the switch halts it.
    pub const fn new(chain: EmbeddedChain, halted: Switch) -> Self {
        Self {
            inner: chain,
            halted,
        }
    }

    fn inner(&self) -> Result<&EmbeddedChain, ChainError> {
        match self.halted.0.load(Ordering::SeqCst) {
            true => Err(ChainError::Away("halted".into())),
            false => Ok(&self.inner),
        }
    }
}

#[async_trait]
impl SettlementPort for Halting {
    fn chain(&self) -> SettlementChain {
        self.inner.chain()
    }
    fn sender(&self) -> Option<Address> {
        self.inner.sender()
    }
    fn evidence(&self) -> Evidence {
        self.inner.evidence()
    }
    async fn newest(&self) -> Result<BlockRef, ChainError> {
        self.inner()?.newest().await
    }
    async fn finalized(&self) -> Result<BlockRef, ChainError> {
        self.inner()?.finalized().await
    }
    async fn block(&self, number: u64) -> Result<Option<BlockRef>, ChainError> {
        self.inner()?.block(number).await
    }
    async fn call(&self, to: Address, input: Bytes) -> Result<Bytes, ChainError> {
        self.inner()?.call(to, input).await
    }
    async fn storage(
        &self,
        at: BlockRef,
        address: Address,
        slots: &[B256],
    ) -> Result<Vec<U256>, ChainError> {
        self.inner()?.storage(at, address, slots).await
    }
    async fn logs(&self, query: LogQuery) -> Result<Vec<LogEntry>, ChainError> {
        self.inner()?.logs(query).await
    }
    async fn input(&self, transaction: B256) -> Result<Option<Bytes>, ChainError> {
        self.inner()?.input(transaction).await
    }
    async fn send(&self, call: Call) -> Result<Receipt, ChainError> {
        self.inner()?.send(call).await
    }
}

#[async_trait]
impl Development for Halting {
    async fn advance(&self, seconds: u64) -> Result<(), ChainError> {
        self.inner.advance(seconds).await
    }
    async fn mine(&self, blocks: u64) -> Result<(), ChainError> {
        self.inner.mine(blocks).await
    }
    async fn reorganise(&self, depth: u64) -> Result<(), ChainError> {
        self.inner.reorganise(depth).await
    }
}

//! What a settlement chain is to everything else here.

use alloy_primitives::{Address, B256, Bytes, U256};
use async_trait::async_trait;
use lifeboat_proof::exit::SettlementChain;

/// A block by number and hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockRef {
    /// Its number.
    pub number: u64,
    /// Its hash.
    pub hash: B256,
    /// Its time, in seconds since 1970.
    pub time: u64,
}

/// What a statement about a chain's storage rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// The chain is in this process and its own authority: there is nobody to prove anything to.
    OwnAuthority,
    /// Merkle proofs against the state root of a header whose hash was computed here.
    MerkleProof,
}

/// A transaction to be sent by the port's own account.
#[derive(Clone, Debug)]
pub struct Call {
    /// Whom; `None` makes a contract.
    pub to: Option<Address>,
    /// The input.
    pub input: Bytes,
}

impl Call {
    /// A call of a contract.
    pub fn to(to: Address, input: impl Into<Bytes>) -> Self {
        Self {
            to: Some(to),
            input: input.into(),
        }
    }
}

/// A transaction that is in a block and did not revert.
#[derive(Clone, Debug)]
pub struct Receipt {
    /// The transaction.
    pub transaction: B256,
    /// The block.
    pub block: u64,
    /// Gas that it used.
    pub gas: u64,
    /// The contract that it made.
    pub created: Option<Address>,
}

/// Which events are asked for.
#[derive(Clone, Copy, Debug)]
pub struct LogQuery {
    /// The contract.
    pub address: Address,
    /// The event's signature.
    pub topic: B256,
    /// First block.
    pub from: u64,
    /// Last block.
    pub to: u64,
}

/// An event.
#[derive(Clone, Debug)]
pub struct LogEntry {
    /// Its block.
    pub block: u64,
    /// Its transaction.
    pub transaction: B256,
    /// Signature and indexed fields.
    pub topics: Vec<B256>,
    /// The other fields.
    pub data: Bytes,
}

/// Why a chain did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// It cannot be reached at present, or is behind: worth another try.
    #[error("the chain does not answer: {0}")]
    Away(String),
    /// A contract refused, for the reason that it named.
    #[error("refused by the contract: {}", crate::vault::reason(.0))]
    Reverted(Bytes),
    /// The chain's node refused.
    #[error("refused by the chain: {0}")]
    Refused(String),
    /// What the node says does not hold against the header that it gave.
    #[error("not proven: {0}")]
    NotProven(String),
    /// The port was opened without a key to send with.
    #[error("this needs a key to send transactions with")]
    NoSender,
    /// The embedded chain's file.
    #[error("the chain's file: {0}")]
    File(#[from] std::io::Error),
    /// An answer that is none.
    #[error("the answer is not what it should be: {0}")]
    Malformed(String),
}

impl ChainError {
    /// Whether the same may work later with nothing changed here.
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Away(_))
    }
}

/// A settlement chain, with the account that this port sends from.
#[async_trait]
pub trait SettlementPort: Send + Sync {
    /// The chain's EIP-155 id.
    fn chain(&self) -> SettlementChain;

    /// Whose transactions this port sends.
    fn sender(&self) -> Option<Address>;

    /// What [`Self::storage`] rests on.
    fn evidence(&self) -> Evidence;

    /// The newest block.
    ///
    /// # Errors
    /// See [`ChainError`], here and below.
    async fn newest(&self) -> Result<BlockRef, ChainError>;

    /// The newest block that is final by this port's rule; its header's hash was computed here.
    async fn finalized(&self) -> Result<BlockRef, ChainError>;

    /// The block with this number on the present chain, `None` past its end.
    async fn block(&self, number: u64) -> Result<Option<BlockRef>, ChainError>;

    /// What a contract answers at the newest block. No evidence.
    async fn call(&self, to: Address, input: Bytes) -> Result<Bytes, ChainError>;

    /// Words of a contract's storage after a block, with [`Self::evidence`].
    async fn storage(
        &self,
        at: BlockRef,
        address: Address,
        slots: &[B256],
    ) -> Result<Vec<U256>, ChainError>;

    /// Events, oldest first. No evidence.
    async fn logs(&self, query: LogQuery) -> Result<Vec<LogEntry>, ChainError>;

    /// The input of a transaction that is in a block.
    async fn input(&self, transaction: B256) -> Result<Option<Bytes>, ChainError>;

    /// Sends a transaction and waits until it is in a block.
    async fn send(&self, call: Call) -> Result<Receipt, ChainError>;

    /// Sends many, in their order, and waits for all.
    async fn send_all(&self, calls: Vec<Call>) -> Result<Vec<Receipt>, ChainError> {
        let mut receipts = Vec::with_capacity(calls.len());
        for call in calls {
            receipts.push(self.send(call).await?);
        }
        Ok(receipts)
    }
}

/// A chain for development, whose time and history can be changed.
#[async_trait]
pub trait Development: SettlementPort {
    /// Lets time pass: the next block is that much later.
    async fn advance(&self, seconds: u64) -> Result<(), ChainError>;

    /// Adds empty blocks.
    async fn mine(&self, blocks: u64) -> Result<(), ChainError>;

    /// Takes the last blocks away with all that they did, and puts as many empty ones in their place.
    async fn reorganise(&self, depth: u64) -> Result<(), ChainError>;
}

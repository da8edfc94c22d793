//! Batches as EIP-4844 blobs on Ethereum.
//!
//! **Owns** the transactions: one a piece, from the publisher's account to an inbox that nobody
//! holds, with the piece's label as input and its bytes in blobs, with EIP-7594 cell proofs. A stuck
//! transaction is replaced with doubled fees, up to a cap. **Never** takes a node's word for a blob:
//! each is committed to again with KZG, and the commitment must hash to what the transaction names.
//!
//! Consensus nodes keep blobs for 4096 epochs, about 18 days. Whoever wants to recover from older
//! batches reads from a node that archives blobs, or lays a second layer beside this one.

mod beacon;
mod packing;
mod sending;

use std::sync::Arc;
use std::time::Duration;

use alloy_eips::eip4844::env_settings::EnvKzgSettings;
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use lifeboat_engine::commitment::keccak256;
use lifeboat_engine::types::{Address, ChainId};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Mutex;

use crate::label::Label;
use crate::layer::{Layer, LayerError};
use crate::posted::{Piece, Posted, PostingChain};
use crate::rpc::Rpc;

pub use beacon::BlobIds;
pub use sending::BlobKey;
use sending::Sent;

/// Type of a transaction that carries blobs.
const BLOB_TRANSACTION: &str = "0x3";
/// Blobs in one transaction: the protocol's bound since Osaka (EIP-7594).
const BLOBS_PER_TRANSACTION_MAX: usize = 6;

/// Which chain, whose account, and what publishing may cost.
#[derive(Clone)]
pub struct BlobsConfig {
    /// URL of an execution node's JSON-RPC.
    pub execution: String,
    /// URL of a consensus node's REST API.
    pub beacon: String,
    /// How the consensus node names blocks.
    pub blob_ids: BlobIds,
    /// The publisher's key; `None` to read only.
    pub key: Option<BlobKey>,
    /// The publisher's address: only its transactions count.
    pub publisher: Address,
    /// A block before the first batch; nothing before it is read.
    pub start_block: u64,
    /// Blocks on top of a block before it is taken for settled.
    pub confirmations: u64,
    /// Blobs in one transaction, 1 to 6.
    pub blobs_per_transaction: usize,
    /// Time after which a transaction that is not settled is replaced by one that pays more; a minute
    /// is five slots. It includes the confirmations.
    pub stuck_after: Duration,
    /// Most that a unit of gas, and of blob gas, may cost, in wei.
    pub fee_max: u128,
}

impl BlobsConfig {
    /// The layer of venue `venue`. Nothing is sent yet.
    ///
    /// # Errors
    /// When the configuration is not one.
    pub fn open(self, venue: ChainId) -> Result<Arc<dyn Layer>, LayerError> {
        if !(1..=BLOBS_PER_TRANSACTION_MAX).contains(&self.blobs_per_transaction) {
            let what = format!("a transaction carries 1 to {BLOBS_PER_TRANSACTION_MAX} blobs");
            return Err(LayerError::Permanent(what));
        }
        let wrong_key = |key: &BlobKey| key.address() != self.publisher;
        if self.key.as_ref().is_some_and(wrong_key) {
            let what = "the key is not the publisher's".to_owned();
            return Err(LayerError::Permanent(what));
        }
        let start = self.start_block;
        let chain = Ethereum {
            execution: Rpc::new(&self.execution, None)?,
            beacon: beacon::Beacon::new(&self.beacon, self.blob_ids)?,
            inbox: inbox(venue),
            chain_id: Mutex::new(None),
            sent: Mutex::new(None),
            config: self,
        };
        Ok(Arc::new(Posted::new(chain, venue, start)))
    }
}

/// The address that a venue's blobs are sent to: a hash, so that nobody holds its key.
fn inbox(venue: ChainId) -> Address {
    let digest = keccak256(&[b"lifeboat inbox", &venue.0[..]].concat());
    let mut inbox = Address::default();
    inbox.0.copy_from_slice(&digest.0[12..]);
    inbox
}

/// Ethereum as pieces see it.
struct Ethereum {
    execution: Rpc,
    beacon: beacon::Beacon,
    config: BlobsConfig,
    inbox: Address,
    chain_id: Mutex<Option<u64>>,
    /// The last transaction, while it may still be on its way: a replacement must pay more.
    sent: Mutex<Option<Sent>>,
}

/// What finds a piece's blobs.
#[derive(Clone, Debug)]
struct InBlock {
    /// The block's number.
    number: u64,
    /// Its time, in seconds.
    timestamp: u64,
    /// The blobs' versioned hashes, in order.
    hashes: Vec<[u8; 32]>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Block {
    timestamp: String,
    base_fee_per_gas: Option<String>,
    transactions: Vec<Transaction>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Transaction {
    #[serde(rename = "type", default)]
    kind: String,
    from: String,
    to: Option<String>,
    input: String,
    #[serde(default)]
    blob_versioned_hashes: Vec<String>,
}

impl Ethereum {
    async fn block(&self, number: &str) -> Result<Option<Block>, LayerError> {
        let params = json!([number, true]);
        let call = self.execution.call("eth_getBlockByNumber", params);
        Ok(call.await?)
    }

    async fn quantity<T: TryFrom<u128>>(
        &self,
        method: &str,
        params: serde_json::Value,
    ) -> Result<T, LayerError> {
        let text: String = self.execution.call(method, params).await?;
        quantity(&text)
    }

    /// The piece that a transaction carries, if it is one of the publisher's.
    fn piece(&self, block: u64, timestamp: u64, sent: &Transaction) -> Option<Piece<InBlock>> {
        let to = sent.to.as_deref().and_then(address)?;
        let ours = sent.kind == BLOB_TRANSACTION
            && to == self.inbox
            && address(&sent.from)? == self.config.publisher;
        if !ours {
            return None;
        }
        let input = unhex(&sent.input)?;
        let (label, _) = Label::decode(&input)?;
        let named = sent.blob_versioned_hashes.iter();
        let hashes = named.map(|hash| unhex(hash)?.try_into().ok());
        let hashes: Vec<[u8; 32]> = hashes.collect::<Option<_>>()?;
        let handle = InBlock {
            number: block,
            timestamp,
            hashes,
        };
        Some(Piece {
            label,
            block,
            handle,
        })
    }

    /// Bytes of one piece from its blobs, each checked against its commitment.
    async fn unpack(&self, piece: &Piece<InBlock>) -> Result<Bytes, LayerError> {
        let mut bytes = BytesMut::new();
        for hash in &piece.handle.hashes {
            let (number, time) = (piece.handle.number, piece.handle.timestamp);
            let blob = self.beacon.blob(number, time, hash).await?;
            let hash = *hash;
            // A commitment is tens of milliseconds of work.
            let check = tokio::task::spawn_blocking(move || {
                packing::verify(EnvKzgSettings::Default.get(), &blob, &hash)?;
                packing::unpack(&blob)
            });
            let stopped = |_| LayerError::Transient("the runtime is stopping".into());
            bytes.extend_from_slice(&check.await.map_err(stopped)??);
        }
        let len = piece.label.len as usize;
        if bytes.len() < len {
            let what = format!("the blobs in block {} are too few", piece.block);
            return Err(LayerError::Corrupt(what));
        }
        Ok(bytes.freeze().slice(..len))
    }
}

#[async_trait]
impl PostingChain for Ethereum {
    type Handle = InBlock;

    fn name(&self) -> String {
        let (place, publisher) = (self.execution.place(), self.config.publisher);
        format!("Ethereum blobs of {publisher} by {place}")
    }

    fn piece_bytes(&self) -> usize {
        self.config.blobs_per_transaction * packing::BLOB_PLAIN_BYTES
    }

    async fn head(&self) -> Result<u64, LayerError> {
        let newest: u64 = self.quantity("eth_blockNumber", json!([])).await?;
        Ok(newest.saturating_sub(self.config.confirmations))
    }

    async fn pieces(&self, number: u64) -> Result<Vec<Piece<InBlock>>, LayerError> {
        let Some(block) = self.block(&format!("{number:#x}")).await? else {
            let what = format!("the node has no block {number}");
            return Err(LayerError::Transient(what));
        };
        let timestamp = quantity(&block.timestamp)?;
        let found = block.transactions.iter();
        Ok(found
            .filter_map(|sent| self.piece(number, timestamp, sent))
            .collect())
    }

    async fn bytes(&self, piece: &Piece<InBlock>) -> Result<Bytes, LayerError> {
        self.unpack(piece).await
    }

    async fn post(&self, label: &Label, bytes: &[u8]) -> Result<u64, LayerError> {
        sending::post(self, label, bytes).await
    }
}

/// A number as Ethereum's JSON has it.
fn quantity<T: TryFrom<u128>>(text: &str) -> Result<T, LayerError> {
    let digits = text.strip_prefix("0x");
    let number = digits.and_then(|digits| u128::from_str_radix(digits, 16).ok());
    let fits = number.and_then(|number| T::try_from(number).ok());
    fits.ok_or_else(|| LayerError::Corrupt(format!("{text} is not the number it should be")))
}

fn address(text: &str) -> Option<Address> {
    Some(Address(unhex(text)?.try_into().ok()?))
}

/// Bytes of a text `0x…`.
fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("0x")?.as_bytes();
    let (pairs, rest) = digits.as_chunks::<2>();
    let digit = |byte: u8| (byte as char).to_digit(16);
    let byte = |pair: &[u8; 2]| Some((digit(pair[0])? << 4 | digit(pair[1])?) as u8);
    rest.is_empty().then(|| pairs.iter().map(byte).collect())?
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(2 + bytes.len() * 2);
    text.push_str("0x");
    for byte in bytes {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

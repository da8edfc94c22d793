//! Any EVM chain by the URL of a node.
//!
//! **Owns** what is believed of a node: nothing about storage that is not proven against a header whose
//! hash was computed here, and no header as final that another node, where some are named, does not give
//! as well. Calls and events are taken as they come: whoever uses them holds them against proven hashes.
//! **Never** shows an URL in an error: it may hold a key.

mod key;
mod proving;

use std::time::Duration;

use alloy_consensus::{SignableTransaction as _, TxEip1559, TxEnvelope};
use alloy_network::TransactionBuilder as _;
use alloy_network::eip2718::Encodable2718 as _;
use alloy_primitives::{Address, B256, Bytes, TxKind, U256};
use alloy_provider::transport::{RpcError, TransportErrorKind};
use alloy_provider::{Provider, ProviderBuilder, RootProvider};
use alloy_rpc_types_eth::{BlockNumberOrTag, Filter, Header, TransactionRequest};
use async_trait::async_trait;
use lifeboat_proof::exit::SettlementChain;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::port::{
    BlockRef, Call, ChainError, Development, Evidence, LogEntry, LogQuery, Receipt, SettlementPort,
};

pub use key::ChainKey;

/// Time in which a transaction should be in a block; after it the next try pays twice as much.
const INCLUSION: Duration = Duration::from_secs(120);
/// What a transaction may use beyond its estimate, as a fraction: state may have changed meanwhile.
const GAS_ROOM: (u64, u64) = (5, 4);
/// Transactions of one lot on their way at a time: what a node's pool takes of one account.
const LOT: usize = 64;

/// When a block is final.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finality {
    /// When the node's consensus calls it final: for public chains.
    Tag,
    /// With so many blocks on top: for development chains.
    Depth(u64),
}

/// Which chain, and who sends.
#[derive(Clone, Debug)]
pub struct RpcConfig {
    /// URL of a node's JSON-RPC.
    pub url: String,
    /// Other nodes, each of which must give the same final blocks.
    pub witnesses: Vec<String>,
    /// Who sends; `None` to read only.
    pub key: Option<ChainKey>,
    /// See [`Finality`].
    pub finality: Finality,
    /// How often a transaction on its way is looked at.
    pub poll: Duration,
    /// Time for one answer: a node that hangs is one that is away.
    pub timeout: Duration,
    /// The node is an embedded chain's own process: its storage is taken on its word. Never what a
    /// validator says.
    pub own_authority: bool,
}

/// A chain behind an URL.
pub struct RpcChain {
    provider: RootProvider,
    witnesses: Vec<RootProvider>,
    chain: SettlementChain,
    config: RpcConfig,
    /// The transaction on its way, while it may still be: its nonce and what it pays.
    pending: Mutex<Option<(u64, u128)>>,
}

impl RpcChain {
    /// Connects and asks which chain it is.
    ///
    /// # Errors
    /// When an URL is none, or the node does not answer.
    pub async fn open(config: RpcConfig) -> Result<Self, ChainError> {
        let connect = |url: &String| connect(url, config.timeout);
        let provider = connect(&config.url)?;
        let witnesses = config.witnesses.iter().map(connect);
        let mut chain = Self {
            witnesses: witnesses.collect::<Result<_, _>>()?,
            provider,
            chain: SettlementChain::new(0),
            config,
            pending: Mutex::new(None),
        };
        let id = chain.provider.get_chain_id().await;
        chain.chain = SettlementChain::new(id.map_err(failed)?);
        Ok(chain)
    }

    /// The header of a block, its hash computed here.
    async fn header(
        &self,
        provider: &RootProvider,
        tag: BlockNumberOrTag,
    ) -> Result<Option<Header>, ChainError> {
        let block = provider.get_block_by_number(tag).await.map_err(failed)?;
        block.map(|block| checked(block.header)).transpose()
    }

    async fn final_header(&self) -> Result<Header, ChainError> {
        let tag = match self.config.finality {
            Finality::Tag => BlockNumberOrTag::Finalized,
            Finality::Depth(depth) => {
                let newest = self.provider.get_block_number().await.map_err(failed)?;
                newest.saturating_sub(depth).into()
            }
        };
        let header = self.header(&self.provider, tag).await?;
        header.ok_or_else(|| ChainError::Away("no block is final yet".into()))
    }

    async fn signed(&self, call: &Call, terms: &Terms) -> Result<(Vec<u8>, B256), ChainError> {
        let key = self.config.key.as_ref().ok_or(ChainError::NoSender)?;
        let transaction = TxEip1559 {
            chain_id: self.chain.get(),
            nonce: terms.nonce,
            gas_limit: terms.gas,
            max_fee_per_gas: terms.fee,
            max_priority_fee_per_gas: terms.tip,
            to: call.to.map_or(TxKind::Create, TxKind::Call),
            value: U256::ZERO,
            access_list: alloy_rpc_types_eth::AccessList::default(),
            input: call.input.clone(),
        };
        let signature = key.sign(&transaction.signature_hash())?;
        let signed = TxEnvelope::from(transaction.into_signed(signature));
        Ok((signed.encoded_2718(), *signed.tx_hash()))
    }

    /// Nonce, gas and fees of the next transaction. One that is stuck is replaced.
    async fn terms(&self, call: &Call, stuck: Option<(u64, u128)>) -> Result<Terms, ChainError> {
        let from = self.sender().ok_or(ChainError::NoSender)?;
        let mut request = TransactionRequest::default()
            .with_from(from)
            .with_input(call.input.clone());
        match call.to {
            Some(to) => request.set_to(to),
            None => request.set_kind(TxKind::Create),
        }
        let latest = BlockNumberOrTag::Latest.into();
        let gas = self.provider.estimate_gas(request).block(latest).await;
        let gas = gas.map_err(failed)?;
        let fees = self
            .provider
            .estimate_eip1559_fees()
            .await
            .map_err(failed)?;
        let nonce = self.provider.get_transaction_count(from).await;
        let nonce = nonce.map_err(failed)?;
        let paid = stuck
            .filter(|(at, _)| *at == nonce)
            .map_or(0, |(_, fee)| fee);
        let (fee, tip) = (fees.max_fee_per_gas, fees.max_priority_fee_per_gas);
        Ok(Terms {
            nonce,
            gas: gas.saturating_mul(GAS_ROOM.0) / GAS_ROOM.1,
            fee: fee.max(paid.saturating_mul(2)),
            tip: if paid > 0 { tip.max(paid) } else { tip },
        })
    }

    /// Hands a signed transaction in. The builder that comes back would only wait for it.
    async fn broadcast(&self, raw: &[u8]) -> Result<(), ChainError> {
        let sent = self.provider.send_raw_transaction(raw).await;
        let _ = sent.map_err(failed)?;
        Ok(())
    }

    async fn settled(&self, hash: B256, call: &Call) -> Result<Receipt, ChainError> {
        let deadline = Instant::now() + INCLUSION;
        loop {
            let receipt = self.provider.get_transaction_receipt(hash).await;
            if let Some(receipt) = receipt.map_err(failed)? {
                if !receipt.status() {
                    // Asked again for the reason alone.
                    let to = call.to.unwrap_or_default();
                    self.call(to, call.input.clone()).await?;
                    return Err(ChainError::Refused(format!("transaction {hash} failed")));
                }
                return Ok(Receipt {
                    transaction: hash,
                    block: receipt.block_number.unwrap_or_default(),
                    gas: receipt.gas_used,
                    created: receipt.contract_address,
                });
            }
            if Instant::now() >= deadline {
                let what = format!("transaction {hash} is in no block yet; the next try pays more");
                return Err(ChainError::Away(what));
            }
            tokio::time::sleep(self.config.poll).await;
        }
    }

    /// Words of storage as the node gives them.
    async fn words(
        &self,
        at: BlockRef,
        address: Address,
        slots: &[B256],
    ) -> Result<Vec<U256>, ChainError> {
        let mut words = Vec::with_capacity(slots.len());
        for slot in slots {
            let asked = self.provider.get_storage_at(address, (*slot).into());
            words.push(asked.number(at.number).await.map_err(failed)?);
        }
        Ok(words)
    }

    async fn raw(&self, method: &'static str, params: Value) -> Result<Value, ChainError> {
        let answer = self.provider.raw_request(method.into(), params).await;
        answer.map_err(failed)
    }
}

/// What a transaction is sent with.
struct Terms {
    nonce: u64,
    gas: u64,
    fee: u128,
    tip: u128,
}

fn connect(url: &str, timeout: Duration) -> Result<RootProvider, ChainError> {
    let parsed = url.parse();
    let parsed = parsed.map_err(|_| ChainError::Refused("an URL of a node is none".into()))?;
    let client = reqwest::Client::builder().timeout(timeout).build();
    let client = client.map_err(|_| ChainError::Refused("no HTTP client".into()))?;
    let builder = ProviderBuilder::new().disable_recommended_fillers();
    Ok(builder.connect_reqwest(client, parsed))
}

fn checked(header: Header) -> Result<Header, ChainError> {
    let computed = header.inner.hash_slow();
    if computed == header.hash {
        return Ok(header);
    }
    Err(ChainError::NotProven(format!(
        "the header of block {} hashes to {computed}, and the node says {}",
        header.inner.number, header.hash
    )))
}

fn reference(header: &Header) -> BlockRef {
    BlockRef {
        number: header.inner.number,
        hash: header.hash,
        time: header.inner.timestamp,
    }
}

fn failed(error: RpcError<TransportErrorKind>) -> ChainError {
    match error {
        RpcError::ErrorResp(answer) => match answer.as_revert_data() {
            Some(data) => ChainError::Reverted(data),
            // "Limit exceeded": worth another try.
            None if answer.code == -32005 => ChainError::Away(answer.message.into_owned()),
            None => {
                let (code, message) = (answer.code, answer.message);
                ChainError::Refused(format!("{message} (code {code})"))
            }
        },
        RpcError::Transport(TransportErrorKind::HttpError(error)) => {
            ChainError::Away(format!("the node answered {}", error.status))
        }
        RpcError::Transport(_) => ChainError::Away("the node cannot be reached".into()),
        RpcError::DeserError { err, .. } => ChainError::Malformed(err.to_string()),
        other => ChainError::Malformed(other.to_string()),
    }
}

#[async_trait]
impl SettlementPort for RpcChain {
    fn chain(&self) -> SettlementChain {
        self.chain
    }

    fn sender(&self) -> Option<Address> {
        self.config.key.as_ref().map(ChainKey::address)
    }

    fn evidence(&self) -> Evidence {
        match self.config.own_authority {
            true => Evidence::OwnAuthority,
            false => Evidence::MerkleProof,
        }
    }

    async fn newest(&self) -> Result<BlockRef, ChainError> {
        let header = self
            .header(&self.provider, BlockNumberOrTag::Latest)
            .await?;
        let header = header.ok_or_else(|| ChainError::Away("no block".into()))?;
        Ok(reference(&header))
    }

    async fn finalized(&self) -> Result<BlockRef, ChainError> {
        let block = reference(&self.final_header().await?);
        for (index, witness) in self.witnesses.iter().enumerate() {
            let other = self.header(witness, block.number.into()).await?;
            let number = block.number;
            match other {
                None => {
                    let what = format!("witness {index} does not have block {number} yet");
                    return Err(ChainError::Away(what));
                }
                Some(other) if other.hash != block.hash => {
                    return Err(ChainError::NotProven(format!(
                        "block {number} is {} here and {} at witness {index}",
                        block.hash, other.hash
                    )));
                }
                Some(_) => {}
            }
        }
        Ok(block)
    }

    async fn block(&self, number: u64) -> Result<Option<BlockRef>, ChainError> {
        let header = self.header(&self.provider, number.into()).await?;
        Ok(header.as_ref().map(reference))
    }

    async fn call(&self, to: Address, input: Bytes) -> Result<Bytes, ChainError> {
        let mut request = TransactionRequest::default().with_to(to).with_input(input);
        if let Some(sender) = self.sender() {
            request.set_from(sender);
        }
        let latest = BlockNumberOrTag::Latest.into();
        let answer = self.provider.call(request).block(latest).await;
        answer.map_err(failed)
    }

    async fn storage(
        &self,
        at: BlockRef,
        address: Address,
        slots: &[B256],
    ) -> Result<Vec<U256>, ChainError> {
        if self.config.own_authority {
            return self.words(at, address, slots).await;
        }
        let block = self.provider.get_block_by_hash(at.hash).await;
        let header = block.map_err(failed)?.map(|block| checked(block.header));
        let gone = || ChainError::Away(format!("the node has no block {}", at.hash));
        let header = header.ok_or_else(gone)??;
        if header.hash != at.hash {
            let what = "the node gave another block than was asked for".to_owned();
            return Err(ChainError::NotProven(what));
        }
        let proof = self
            .provider
            .get_proof(address, slots.to_vec())
            .block_id(at.hash.into())
            .await
            .map_err(failed)?;
        proving::words(header.inner.state_root, address, slots, &proof)
            .map_err(ChainError::NotProven)
    }

    async fn logs(&self, query: LogQuery) -> Result<Vec<LogEntry>, ChainError> {
        let filter = Filter::new()
            .address(query.address)
            .event_signature(query.topic)
            .from_block(query.from)
            .to_block(query.to);
        let logs = self.provider.get_logs(&filter).await.map_err(failed)?;
        let entry = |log: alloy_rpc_types_eth::Log| {
            Some(LogEntry {
                block: log.block_number?,
                transaction: log.transaction_hash?,
                topics: log.inner.data.topics().to_vec(),
                data: log.inner.data.data,
            })
        };
        let entries: Option<Vec<LogEntry>> = logs.into_iter().map(entry).collect();
        entries.ok_or_else(|| ChainError::Malformed("an event of no block".into()))
    }

    async fn input(&self, transaction: B256) -> Result<Option<Bytes>, ChainError> {
        let found = self.provider.get_transaction_by_hash(transaction).await;
        let found = found.map_err(failed)?;
        Ok(found.map(|found| {
            use alloy_consensus::Transaction as _;
            found.input().clone()
        }))
    }

    async fn send(&self, call: Call) -> Result<Receipt, ChainError> {
        let mut pending = self.pending.lock().await;
        let terms = self.terms(&call, *pending).await?;
        let (raw, hash) = self.signed(&call, &terms).await?;
        *pending = Some((terms.nonce, terms.fee));
        self.broadcast(&raw).await?;
        let receipt = self.settled(hash, &call).await?;
        *pending = None;
        Ok(receipt)
    }

    async fn send_all(&self, calls: Vec<Call>) -> Result<Vec<Receipt>, ChainError> {
        let _one_at_a_time = self.pending.lock().await;
        let mut receipts = Vec::with_capacity(calls.len());
        for lot in calls.chunks(LOT) {
            let mut terms = match lot.first() {
                Some(first) => self.terms(first, None).await?,
                None => return Ok(receipts),
            };
            // Like calls cost alike; a first write to a slot costs more.
            terms.gas = terms.gas.saturating_mul(2);
            let mut hashes = Vec::with_capacity(lot.len());
            for call in lot {
                let (raw, hash) = self.signed(call, &terms).await?;
                self.broadcast(&raw).await?;
                hashes.push(hash);
                terms.nonce += 1;
            }
            for (hash, call) in hashes.into_iter().zip(lot) {
                receipts.push(self.settled(hash, call).await?);
            }
        }
        Ok(receipts)
    }
}

/// What development nodes (anvil) offer beyond the standard.
#[async_trait]
impl Development for RpcChain {
    async fn advance(&self, seconds: u64) -> Result<(), ChainError> {
        self.raw("evm_increaseTime", json!([seconds])).await?;
        self.mine(1).await
    }

    async fn mine(&self, blocks: u64) -> Result<(), ChainError> {
        self.raw("anvil_mine", json!([blocks])).await.map(drop)
    }

    async fn reorganise(&self, depth: u64) -> Result<(), ChainError> {
        self.raw("anvil_reorg", json!([depth, []])).await.map(drop)
    }
}

//! What an embedded chain answers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use alloy_consensus::transaction::SignerRecoverable as _;
use alloy_consensus::{Transaction as _, TxEnvelope};
use alloy_network::eip2718::Decodable2718 as _;
use alloy_primitives::{Address, B256, Bytes, U64, U256, keccak256};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::embedded::{EmbeddedChain, transaction_id};
use crate::journal::{Event, GAS, Record, Transaction};
use crate::port::{Call, ChainError, Development as _, SettlementPort as _};

/// Hashes of raw transactions that are remembered: a client asks for its receipt at once.
const REMEMBERED: usize = 4_096;

/// Empty blocks that one request adds at most.
const MINED_MAX: u64 = 1_000;

/// An answer that is a refusal.
#[derive(Debug, Serialize)]
pub struct Refusal {
    code: i32,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Bytes>,
}

impl Refusal {
    /// By its code.
    pub fn new(code: i32, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            data: None,
        }
    }
}

impl From<ChainError> for Refusal {
    fn from(error: ChainError) -> Self {
        match error {
            ChainError::Reverted(data) => Self {
                code: 3,
                message: "execution reverted".into(),
                data: Some(data),
            },
            other => Self::new(-32_000, other.to_string()),
        }
    }
}

fn bad(what: &str) -> Refusal {
    Refusal::new(-32_602, format!("not understood: {what}"))
}

/// A chain, and the transactions that came by this door.
#[derive(Clone)]
pub struct Served {
    chain: EmbeddedChain,
    /// By the hash that its sender computed: the transaction on this chain.
    sent: Arc<Mutex<BTreeMap<B256, B256>>>,
}

impl Served {
    /// Serves `chain`.
    pub fn new(chain: EmbeddedChain) -> Self {
        Self {
            chain,
            sent: Arc::default(),
        }
    }

    /// Answers one call. Every method of the chain below returns at once.
    pub fn answer(&self, method: &str, params: &[Value]) -> Result<Value, Refusal> {
        let chain = &self.chain;
        match method {
            "eth_chainId" => Ok(json!(U64::from(chain.chain().get()))),
            "net_version" => Ok(json!(chain.chain().to_string())),
            "web3_clientVersion" => Ok(json!(concat!("lifeboat/", env!("CARGO_PKG_VERSION")))),
            "eth_blockNumber" => Ok(json!(U64::from(self.newest()?))),
            "eth_gasPrice" | "eth_maxPriorityFeePerGas" => Ok(json!(U64::ZERO)),
            "eth_feeHistory" => Ok(json!({
                "oldestBlock": U64::from(self.newest()?),
                "baseFeePerGas": [U64::ZERO, U64::ZERO],
                "gasUsedRatio": [0.0],
                "reward": [[U64::ZERO]],
            })),
            "eth_getBalance" => Ok(json!(U256::ZERO)),
            "eth_getTransactionCount" => {
                let account = chain.sending_as(argument(params, 0)?);
                Ok(json!(U64::from(account.nonce())))
            }
            "eth_getCode" => Ok(json!(chain.code(argument(params, 0)?))),
            "eth_getBlockByNumber" => self.by_number(params),
            "eth_getBlockByHash" => {
                let record = chain.record_of(argument(params, 0)?);
                Ok(record.as_ref().map_or(Value::Null, block))
            }
            "eth_call" => self.call(params),
            "eth_estimateGas" => {
                let (from, call) = self.request(params)?;
                let gas = chain.sending_as(from).gas_of(&call)?;
                // A call within another keeps a 64th of its gas back.
                Ok(json!(U64::from((gas + gas / 16).min(GAS))))
            }
            "eth_getStorageAt" => self.storage(params),
            "eth_getLogs" => self.logs(params),
            "eth_sendRawTransaction" => self.send(params),
            "eth_getTransactionByHash" => self.found(params, transaction),
            "eth_getTransactionReceipt" => self.found(params, receipt),
            "evm_increaseTime" => {
                let seconds = argument::<Value>(params, 0)?;
                let seconds = number(&seconds).ok_or_else(|| bad("seconds"))?;
                wait(chain.advance(seconds))?;
                Ok(json!(U64::from(seconds)))
            }
            "evm_mine" => self.mine(1),
            "anvil_mine" => self.mine(params.first().map_or(Some(1), number).unwrap_or(1)),
            other => Err(Refusal::new(
                -32_601,
                format!("the embedded chain has no {other}"),
            )),
        }
    }

    fn mine(&self, blocks: u64) -> Result<Value, Refusal> {
        wait(self.chain.mine(blocks.min(MINED_MAX)))?;
        Ok(json!(U64::ZERO))
    }

    fn newest(&self) -> Result<u64, Refusal> {
        Ok(wait(self.chain.newest())?.number)
    }

    fn height(&self, tag: &Value) -> Result<u64, Refusal> {
        match tag.as_str() {
            None | Some("latest" | "pending" | "safe" | "finalized") => self.newest(),
            Some("earliest") => Ok(0),
            _ => number(tag).ok_or_else(|| bad("a block's number")),
        }
    }

    fn by_number(&self, params: &[Value]) -> Result<Value, Refusal> {
        let number = self.height(params.first().unwrap_or(&Value::Null))?;
        let record = match number {
            0 => Some(Record::genesis()),
            _ => self.chain.record(number),
        };
        Ok(record.as_ref().map_or(Value::Null, block))
    }

    fn request(&self, params: &[Value]) -> Result<(Address, Call), Refusal> {
        let fields: Value = argument(params, 0)?;
        let field = |name: &str| fields.get(name).filter(|value| !value.is_null());
        let input = field("input").or_else(|| field("data"));
        let call = Call {
            to: field("to").map(read).transpose()?,
            input: input.map(read).transpose()?.unwrap_or_default(),
        };
        let from = field("from").map(read).transpose()?;
        Ok((from.unwrap_or_default(), call))
    }

    fn call(&self, params: &[Value]) -> Result<Value, Refusal> {
        let (from, call) = self.request(params)?;
        let to = call.to.ok_or_else(|| bad("a call of nobody"))?;
        let port = self.chain.sending_as(from);
        Ok(json!(wait(port.call(to, call.input))?))
    }

    fn storage(&self, params: &[Value]) -> Result<Value, Refusal> {
        let (address, slot): (Address, U256) = (argument(params, 0)?, argument(params, 1)?);
        let number = self.height(params.get(2).unwrap_or(&Value::Null))?;
        let at = wait(self.chain.block(number))?.ok_or_else(|| bad("no such block"))?;
        let words = wait(self.chain.storage(at, address, &[slot.into()]))?;
        Ok(json!(B256::from(
            words.first().copied().unwrap_or_default()
        )))
    }

    fn logs(&self, params: &[Value]) -> Result<Value, Refusal> {
        let filter: Value = argument(params, 0)?;
        let wanted = |field: &Value| -> Result<Vec<B256>, Refusal> {
            match field {
                Value::Null => Ok(Vec::new()),
                Value::Array(any) => any.iter().map(read).collect(),
                one => Ok(vec![read(one)?]),
            }
        };
        let addresses: Vec<Address> = match &filter["address"] {
            Value::Null => Vec::new(),
            Value::Array(any) => any.iter().map(read).collect::<Result<_, _>>()?,
            one => vec![read(one)?],
        };
        let topics = filter["topics"].as_array().cloned().unwrap_or_default();
        let topics: Vec<Vec<B256>> = topics.iter().map(wanted).collect::<Result<_, _>>()?;
        let (from, to) = (
            self.height(&filter["fromBlock"])?,
            self.height(&filter["toBlock"])?,
        );
        let fits = |event: &Event| {
            let by_topic = |(at, any): (usize, &Vec<B256>)| {
                any.is_empty()
                    || event
                        .topics
                        .get(at)
                        .is_some_and(|t| any.contains(&t.into()))
            };
            (addresses.is_empty() || addresses.contains(&event.address.into()))
                && topics.iter().enumerate().all(by_topic)
        };
        let mut found = Vec::new();
        for number in from.max(1)..=to.min(self.newest()?) {
            let Some(record) = self.chain.record(number) else {
                break;
            };
            let events = record.transaction.iter().flat_map(|sent| &sent.events);
            let events = events.enumerate().filter(|(_, event)| fits(event));
            found.extend(events.map(|(index, event)| log(&record, index, event)));
        }
        Ok(found.into())
    }

    fn send(&self, params: &[Value]) -> Result<Value, Refusal> {
        let raw: Bytes = argument(params, 0)?;
        let signed = TxEnvelope::decode_2718(&mut raw.as_ref()).map_err(|_| bad("transaction"))?;
        let sender = signed.recover_signer().map_err(|_| bad("signature"))?;
        let port = self.chain.sending_as(sender);
        if signed.chain_id() != Some(self.chain.chain().get()) {
            return Err(Refusal::new(
                -32_000,
                "the transaction is for another chain",
            ));
        }
        if signed.nonce() != port.nonce() {
            let what = format!(
                "the nonce is {}, and {} is next",
                signed.nonce(),
                port.nonce()
            );
            return Err(Refusal::new(-32_000, what));
        }
        let call = Call {
            to: signed.to(),
            input: signed.input().clone(),
        };
        let done = wait(port.send(call))?;
        let hash = keccak256(&raw);
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        sent.insert(hash, done.transaction);
        if sent.len() > REMEMBERED {
            let _ = sent.pop_first();
        }
        Ok(json!(hash))
    }

    fn found(
        &self,
        params: &[Value],
        show: fn(B256, &Record, &Transaction) -> Value,
    ) -> Result<Value, Refusal> {
        let hash: B256 = argument(params, 0)?;
        let sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        let own = sent.get(&hash).copied().unwrap_or(hash);
        drop(sent);
        let record = self.chain.record_with(own);
        let both = record
            .as_ref()
            .and_then(|r| r.transaction.as_ref().map(|sent| (r, sent)));
        Ok(both.map_or(Value::Null, |(record, sent)| show(hash, record, sent)))
    }
}

/// The embedded chain's futures never wait.
fn wait<T>(future: impl Future<Output = Result<T, ChainError>>) -> Result<T, ChainError> {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut context) {
        std::task::Poll::Ready(done) => done,
        std::task::Poll::Pending => Err(ChainError::Away("it waits".into())),
    }
}

fn read<T: DeserializeOwned>(value: &Value) -> Result<T, Refusal> {
    T::deserialize(value).map_err(|error| bad(&error.to_string()))
}

fn argument<T: DeserializeOwned>(params: &[Value], at: usize) -> Result<T, Refusal> {
    read(params.get(at).unwrap_or(&Value::Null))
}

/// A number as wallets write it, or as people do.
fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| {
        let digits = value.as_str()?.strip_prefix("0x")?;
        u64::from_str_radix(digits, 16).ok()
    })
}

fn block(record: &Record) -> Value {
    let header = record.header();
    let hash = header.hash_slow();
    let mut shown = serde_json::to_value(&header).unwrap_or_default();
    let sent = record.transaction.iter().map(|_| transaction_id(record));
    shown["hash"] = json!(hash);
    shown["transactions"] = sent.map(|hash| json!(hash)).collect();
    shown["uncles"] = json!([]);
    shown["size"] = json!(U64::ZERO);
    shown
}

fn log(record: &Record, index: usize, event: &Event) -> Value {
    json!({
        "address": Address::from(event.address),
        "topics": event.topics.iter().map(B256::from).collect::<Vec<_>>(),
        "data": Bytes::from(event.data.clone()),
        "blockNumber": U64::from(record.number),
        "blockHash": B256::from(record.hash()),
        "transactionHash": transaction_id(record),
        "transactionIndex": U64::ZERO,
        "logIndex": U64::from(index),
        "removed": false,
    })
}

fn transaction(hash: B256, record: &Record, sent: &Transaction) -> Value {
    json!({
        "type": "0x2",
        "hash": hash,
        "blockHash": B256::from(record.hash()),
        "blockNumber": U64::from(record.number),
        "transactionIndex": U64::ZERO,
        "from": Address::from(sent.from),
        "to": sent.to.map(Address::from),
        "input": Bytes::from(sent.input.clone()),
        "gas": U64::from(sent.gas),
        "value": U256::ZERO,
        "nonce": U64::ZERO,
        "chainId": U64::ZERO,
        "maxFeePerGas": U64::ZERO,
        "maxPriorityFeePerGas": U64::ZERO,
        "accessList": [],
        // Transactions of this process carry no signature, and the others' is not kept.
        "yParity": "0x0",
        "v": "0x0",
        "r": "0x1",
        "s": "0x1",
    })
}

fn receipt(hash: B256, record: &Record, sent: &Transaction) -> Value {
    let events = sent.events.iter().enumerate();
    let logs: Vec<Value> = events
        .map(|(index, event)| log(record, index, event))
        .collect();
    json!({
        "type": "0x2",
        "status": "0x1",
        "transactionHash": hash,
        "transactionIndex": U64::ZERO,
        "blockHash": B256::from(record.hash()),
        "blockNumber": U64::from(record.number),
        "from": Address::from(sent.from),
        "to": sent.to.map(Address::from),
        "contractAddress": sent.created.map(Address::from),
        "gasUsed": U64::from(sent.gas),
        "cumulativeGasUsed": U64::from(sent.gas),
        "effectiveGasPrice": U64::ZERO,
        "logs": logs,
        "logsBloom": Bytes::from(vec![0_u8; 256]),
    })
}

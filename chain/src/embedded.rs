//! A chain in this process: Ethereum's own rules, one transaction a block, kept in a file.
//!
//! It is what `run` settles on when nobody named a chain. It is its own authority: no signature is
//! asked of who sends in this process, gas costs nothing, and there are no state roots, because whoever
//! reads this chain already runs it, or takes its word (`serve`). The rules are pinned to one fork, so that the same file gives the same state
//! with every later version.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use async_trait::async_trait;
use lifeboat_proof::exit::SettlementChain;
use revm::context::result::{ExecutionResult, Output};
use revm::context::{Context, TxEnv};
use revm::database::{CacheDB, EmptyDB};
use revm::primitives::TxKind;
use revm::primitives::hardfork::SpecId;
use revm::state::{AccountInfo, Bytecode, EvmState};
use revm::{Database as _, DatabaseRef as _, ExecuteEvm as _, MainBuilder as _, MainContext as _};

use crate::journal::{Change, Event, GAS, Journal, Record, Transaction};
use crate::port::{
    BlockRef, Call, ChainError, Development, Evidence, LogEntry, LogQuery, Receipt, SettlementPort,
};

/// The fork whose rules hold.
const FORK: SpecId = SpecId::OSAKA;

/// Where an embedded chain's time comes from.
#[derive(Clone, Copy, Debug)]
pub enum Clock {
    /// The machine's.
    Wall,
    /// From here on by [`Development::advance`] alone, in seconds.
    Manual(u64),
}

/// An embedded chain, seen from one account.
#[derive(Clone)]
pub struct EmbeddedChain {
    inner: Arc<Mutex<Inner>>,
    chain: SettlementChain,
    sender: Address,
    final_after: u64,
}

struct Inner {
    db: CacheDB<EmptyDB>,
    records: Vec<Record>,
    journal: Option<Journal>,
    clock: Clock,
    /// Seconds by which time was advanced.
    advanced: u64,
}

impl EmbeddedChain {
    /// A chain in memory.
    pub fn in_memory(chain: SettlementChain, clock: Clock) -> Self {
        Self::with(chain, clock, None, Vec::new())
    }

    /// The chain in a file, made if there is none.
    ///
    /// # Errors
    /// [`ChainError::File`] when it cannot be read, or is damaged before its end.
    pub fn open(path: &Path, chain: SettlementChain, clock: Clock) -> Result<Self, ChainError> {
        let (journal, records) = Journal::open(path)?;
        Ok(Self::with(chain, clock, Some(journal), records))
    }

    fn with(
        chain: SettlementChain,
        clock: Clock,
        journal: Option<Journal>,
        records: Vec<Record>,
    ) -> Self {
        let mut inner = Inner {
            db: CacheDB::new(EmptyDB::new()),
            records,
            journal,
            clock,
            advanced: 0,
        };
        inner.rebuild();
        Self {
            inner: Arc::new(Mutex::new(inner)),
            chain,
            sender: Address::ZERO,
            final_after: 0,
        }
    }

    /// The same chain, with transactions from another account.
    #[must_use]
    pub fn sending_as(&self, sender: Address) -> Self {
        Self {
            sender,
            ..self.clone()
        }
    }

    /// The same chain, whose blocks are final with so many on top.
    #[must_use]
    pub fn final_after(&self, blocks: u64) -> Self {
        Self {
            final_after: blocks,
            ..self.clone()
        }
    }

    /// The block with this number.
    #[cfg(feature = "rpc")]
    pub(crate) fn record(&self, number: u64) -> Option<Record> {
        self.lock().record(number).cloned()
    }

    /// The block with this hash.
    #[cfg(feature = "rpc")]
    pub(crate) fn record_of(&self, hash: B256) -> Option<Record> {
        let inner = self.lock();
        let mut newest_first = inner.records.iter().rev();
        newest_first.find(|record| record.hash() == hash.0).cloned()
    }

    /// The block of a transaction.
    #[cfg(feature = "rpc")]
    pub(crate) fn record_with(&self, transaction: B256) -> Option<Record> {
        let inner = self.lock();
        let sent = inner
            .records
            .iter()
            .rev()
            .filter(|r| r.transaction.is_some());
        let mut sent = sent.filter(|record| transaction_id(record) == transaction);
        sent.next().cloned()
    }

    /// How many transactions this port's account sent.
    #[cfg(feature = "rpc")]
    pub(crate) fn nonce(&self) -> u64 {
        let account = self.lock().db.basic(self.sender).ok().flatten();
        account.unwrap_or_default().nonce
    }

    /// A contract's code.
    #[cfg(feature = "rpc")]
    pub(crate) fn code(&self, address: Address) -> Bytes {
        let account = self.lock().db.basic(address).ok().flatten();
        let code = account.and_then(|account| account.code);
        code.map_or_else(Bytes::new, |code| code.original_bytes())
    }

    /// Gas that a call would use, which is not made.
    #[cfg(feature = "rpc")]
    pub(crate) fn gas_of(&self, call: &Call) -> Result<u64, ChainError> {
        let mut guard = self.lock();
        let inner = &mut *guard;
        let block = (inner.number() + 1, inner.now());
        let (result, _) = self.execute(&mut inner.db, block, call)?;
        let gas = result.tx_gas_used();
        succeeded(result).map(|_| gas)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic of another thread leaves whole blocks behind.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn execute(
        &self,
        db: &mut CacheDB<EmptyDB>,
        block: (u64, u64),
        call: &Call,
    ) -> Result<(ExecutionResult, EvmState), ChainError> {
        let nonce = db.basic(self.sender).ok().flatten().unwrap_or_default();
        let transaction = TxEnv::builder()
            .caller(self.sender)
            .kind(call.to.map_or(TxKind::Create, TxKind::Call))
            .data(call.input.clone())
            .gas_limit(GAS)
            .gas_price(0)
            .nonce(nonce.nonce)
            .chain_id(Some(self.chain.get()))
            .build()
            .map_err(|error| ChainError::Refused(format!("{error:?}")))?;
        let context = Context::mainnet()
            .with_db(db)
            .modify_cfg_chained(|cfg| {
                cfg.set_spec_and_mainnet_gas_params(FORK);
                cfg.chain_id = self.chain.get();
            })
            .modify_block_chained(|env| {
                (env.number, env.timestamp) = (U256::from(block.0), U256::from(block.1));
                (env.basefee, env.gas_limit) = (0, GAS);
                env.prevrandao = Some(B256::ZERO);
            });
        let done = context
            .build_mainnet()
            .transact(transaction)
            .map_err(|error| ChainError::Refused(error.to_string()))?;
        Ok((done.result, done.state))
    }

    fn seal(&self, call: Call) -> Result<Receipt, ChainError> {
        let mut guard = self.lock();
        let inner = &mut *guard;
        let block = (inner.number() + 1, inner.now());
        let (result, state) = self.execute(&mut inner.db, block, &call)?;
        let gas = result.tx_gas_used();
        let (output, logs) = succeeded(result)?;
        let created = match output {
            Output::Create(_, created) => created,
            Output::Call(_) => None,
        };
        let transaction = Transaction {
            from: self.sender.0.0,
            to: call.to.map(|to| to.0.0),
            input: call.input.to_vec(),
            gas,
            created: created.map(|created| created.0.0),
            events: logs.into_iter().map(event).collect(),
        };
        let record = Record {
            number: block.0,
            time: block.1,
            parent: inner.hash(),
            transaction: Some(transaction),
            changes: changes(state),
        };
        let receipt = Receipt {
            transaction: transaction_id(&record),
            block: record.number,
            gas,
            created,
        };
        inner.append(record)?;
        Ok(receipt)
    }
}

fn succeeded(result: ExecutionResult) -> Result<(Output, Vec<alloy_primitives::Log>), ChainError> {
    match result {
        ExecutionResult::Success { output, logs, .. } => Ok((output, logs)),
        ExecutionResult::Revert { output, .. } => Err(ChainError::Reverted(output)),
        ExecutionResult::Halt { reason, .. } => Err(ChainError::Refused(format!("{reason:?}"))),
    }
}

fn event(log: alloy_primitives::Log) -> Event {
    Event {
        address: log.address.0.0,
        topics: log.data.topics().iter().map(|topic| topic.0).collect(),
        data: log.data.data.to_vec(),
    }
}

/// What a transaction changed, in the order of addresses and slots: a block's hash covers it.
fn changes(state: EvmState) -> Vec<Change> {
    let touched = state
        .into_iter()
        .filter(|(_, account)| account.is_touched());
    let mut changes: Vec<Change> = touched
        .map(|(address, account)| {
            let code = account.info.code.as_ref().filter(|_| account.is_created());
            let written = account.storage.iter().filter(|(_, slot)| slot.is_changed());
            let mut storage: Vec<_> = written
                .map(|(slot, value)| (slot.to_be_bytes(), value.present_value.to_be_bytes()))
                .collect();
            storage.sort_unstable();
            Change {
                address: address.0.0,
                balance: account.info.balance.to_be_bytes(),
                nonce: account.info.nonce,
                code: code.map(|code| code.original_byte_slice().to_vec()),
                storage,
            }
        })
        .collect();
    changes.sort_unstable_by_key(|change| change.address);
    changes
}

pub(crate) fn transaction_id(record: &Record) -> B256 {
    keccak256([&b"transaction"[..], &record.hash()].concat())
}

impl Inner {
    fn number(&self) -> u64 {
        self.records.len() as u64
    }

    fn hash(&self) -> [u8; 32] {
        let last = self.records.last();
        last.map_or_else(|| Record::genesis().hash(), Record::hash)
    }

    #[cfg(feature = "rpc")]
    fn record(&self, number: u64) -> Option<&Record> {
        self.records
            .get(usize::try_from(number.checked_sub(1)?).ok()?)
    }

    /// The time of a block that is made now.
    fn now(&self) -> u64 {
        let clock = match self.clock {
            Clock::Manual(start) => start,
            Clock::Wall => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_secs()),
        };
        let last = self.records.last().map_or(0, |record| record.time);
        clock.saturating_add(self.advanced).max(last)
    }

    fn append(&mut self, record: Record) -> Result<(), ChainError> {
        if let Some(journal) = &mut self.journal {
            journal.append(&record)?;
        }
        apply(&mut self.db, &record);
        self.records.push(record);
        Ok(())
    }

    fn append_empty(&mut self) -> Result<(), ChainError> {
        let record = Record {
            number: self.number() + 1,
            time: self.now(),
            parent: self.hash(),
            transaction: None,
            changes: Vec::new(),
        };
        self.append(record)
    }

    fn rebuild(&mut self) {
        self.db = state_after(&self.records);
    }

    fn block(&self, number: u64) -> Option<BlockRef> {
        let Some(index) = number.checked_sub(1) else {
            return Some(BlockRef {
                number: 0,
                hash: Record::genesis().hash().into(),
                time: 0,
            });
        };
        let record = self.records.get(usize::try_from(index).ok()?)?;
        Some(BlockRef {
            number,
            hash: record.hash().into(),
            time: record.time,
        })
    }
}

fn state_after(records: &[Record]) -> CacheDB<EmptyDB> {
    let mut db = CacheDB::new(EmptyDB::new());
    records.iter().for_each(|record| apply(&mut db, record));
    db
}

/// Writes a block's changes. The database below is empty and cannot fail.
fn apply(db: &mut CacheDB<EmptyDB>, record: &Record) {
    for change in &record.changes {
        let address = Address::from(change.address);
        let before = db.basic(address).ok().flatten().unwrap_or_default();
        let mut info = AccountInfo {
            balance: U256::from_be_bytes(change.balance),
            nonce: change.nonce,
            ..before
        };
        if let Some(code) = &change.code {
            let code = Bytecode::new_raw(code.clone().into());
            (info.code_hash, info.code) = (code.hash_slow(), Some(code));
        }
        db.insert_account_info(address, info);
        for (slot, value) in &change.storage {
            let (slot, value) = (U256::from_be_bytes(*slot), U256::from_be_bytes(*value));
            let _ = db.insert_account_storage(address, slot, value);
        }
    }
}

#[async_trait]
impl SettlementPort for EmbeddedChain {
    fn chain(&self) -> SettlementChain {
        self.chain
    }

    fn sender(&self) -> Option<Address> {
        Some(self.sender)
    }

    fn evidence(&self) -> Evidence {
        Evidence::OwnAuthority
    }

    async fn newest(&self) -> Result<BlockRef, ChainError> {
        let inner = self.lock();
        let newest = inner.block(inner.number());
        newest.ok_or_else(|| ChainError::Malformed("no block".into()))
    }

    async fn finalized(&self) -> Result<BlockRef, ChainError> {
        let inner = self.lock();
        let number = inner.number().saturating_sub(self.final_after);
        let block = inner.block(number);
        block.ok_or_else(|| ChainError::Malformed("no block".into()))
    }

    async fn block(&self, number: u64) -> Result<Option<BlockRef>, ChainError> {
        Ok(self.lock().block(number))
    }

    async fn call(&self, to: Address, input: Bytes) -> Result<Bytes, ChainError> {
        let mut guard = self.lock();
        let inner = &mut *guard;
        let block = (inner.number(), inner.now());
        let (result, _) = self.execute(&mut inner.db, block, &Call::to(to, input))?;
        succeeded(result).map(|(output, _)| output.into_data())
    }

    async fn storage(
        &self,
        at: BlockRef,
        address: Address,
        slots: &[B256],
    ) -> Result<Vec<U256>, ChainError> {
        let inner = self.lock();
        if inner.block(at.number) != Some(at) {
            return Err(ChainError::Refused(format!("no block {} ", at.number)));
        }
        let past;
        let db = if at.number == inner.number() {
            &inner.db
        } else {
            let kept = usize::try_from(at.number).unwrap_or(usize::MAX);
            past = state_after(inner.records.get(..kept).unwrap_or_default());
            &past
        };
        let read = |slot: &B256| db.storage_ref(address, (*slot).into());
        let words: Result<Vec<U256>, _> = slots.iter().map(read).collect();
        words.map_err(|error| ChainError::Malformed(error.to_string()))
    }

    async fn logs(&self, query: LogQuery) -> Result<Vec<LogEntry>, ChainError> {
        let inner = self.lock();
        let first = usize::try_from(query.from.max(1) - 1).unwrap_or(usize::MAX);
        let mut found = Vec::new();
        let until = |record: &&Record| record.number <= query.to;
        for record in inner.records.iter().skip(first).take_while(until) {
            let events = record.transaction.iter().flat_map(|sent| &sent.events);
            let wanted = events.filter(|event| {
                event.address == query.address.0.0 && event.topics.first() == Some(&query.topic.0)
            });
            found.extend(wanted.map(|event| LogEntry {
                block: record.number,
                transaction: transaction_id(record),
                topics: event.topics.iter().map(B256::from).collect(),
                data: event.data.clone().into(),
            }));
        }
        Ok(found)
    }

    async fn input(&self, transaction: B256) -> Result<Option<Bytes>, ChainError> {
        let inner = self.lock();
        let mut newest_first = inner.records.iter().rev();
        let record = newest_first.find(|record| transaction_id(record) == transaction);
        let sent = record.and_then(|record| record.transaction.as_ref());
        Ok(sent.map(|sent| sent.input.clone().into()))
    }

    async fn send(&self, call: Call) -> Result<Receipt, ChainError> {
        self.seal(call)
    }
}

#[async_trait]
impl Development for EmbeddedChain {
    async fn advance(&self, seconds: u64) -> Result<(), ChainError> {
        let mut inner = self.lock();
        inner.advanced = inner.advanced.saturating_add(seconds);
        inner.append_empty()
    }

    async fn mine(&self, blocks: u64) -> Result<(), ChainError> {
        let mut inner = self.lock();
        (0..blocks).try_for_each(|_| inner.append_empty())
    }

    async fn reorganise(&self, depth: u64) -> Result<(), ChainError> {
        let mut inner = self.lock();
        let kept = usize::try_from(inner.number().saturating_sub(depth)).unwrap_or(0);
        inner.records.truncate(kept);
        inner.rebuild();
        let Inner {
            journal, records, ..
        } = &mut *inner;
        if let Some(journal) = journal {
            journal.rewrite(records)?;
        }
        (0..depth).try_for_each(|_| inner.append_empty())
    }
}

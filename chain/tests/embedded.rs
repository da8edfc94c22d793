//! The settlement chain's parts on the embedded EVM: every drill, restarts, and what is refused.
#![cfg(feature = "drills")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use alloy_primitives::{Address, B256, Bytes, U256};
use async_trait::async_trait;
use lifeboat_chain::anchor::anchor;
use lifeboat_chain::attested::{crystallisations, deposit_events, holdings, requests};
use lifeboat_chain::deposits::{DepositWatcher, Observed};
use lifeboat_chain::drills::{
    Interruption, World, deposit_reorg, everybody_leaves, halted_chain, stolen_key,
};
use lifeboat_chain::{
    BlockRef, Call, ChainError, Clock, Development, EmbeddedChain, Evidence, LogEntry, LogQuery,
    Receipt, SettlementPort,
};
use lifeboat_engine::command::{ForcedRequest, VaultEvent};
use lifeboat_engine::types;
use lifeboat_proof::exit::{DepositChain, SettlementChain};

const CHAIN: SettlementChain = SettlementChain::new(31_337);
const START: Clock = Clock::Manual(1_800_000_000);

fn chain() -> EmbeddedChain {
    EmbeddedChain::in_memory(CHAIN, START).sending_as(Address::repeat_byte(0xaa))
}

#[tokio::test]
async fn a_deposit_that_is_reorganised_away() {
    let mut world = World::new(Arc::new(chain().final_after(12))).await.unwrap();
    let report = deposit_reorg(&mut world, 12).await.unwrap();
    assert_eq!((report.unwound, report.unwound_amount), (1, 100_000_000));
    assert!(report.checkpoint_refused);
}

#[tokio::test]
async fn a_stolen_key() {
    let mut world = World::new(Arc::new(chain())).await.unwrap();
    let report = stolen_key(&mut world).await.unwrap();
    assert!(report.others_whole && report.taken_by_relayer == 0);
    println!("{report:?}");
}

/// `LIFEBOAT_ACCOUNTS` says how many; drill 21 has ten thousand.
#[tokio::test]
async fn everybody_leaves_with_open_options() {
    let accounts = std::env::var("LIFEBOAT_ACCOUNTS").map_or(300, |text| text.parse().unwrap());
    let mut world = World::new(Arc::new(chain())).await.unwrap();
    let report = everybody_leaves(&mut world, accounts).await.unwrap();
    assert_eq!(report.with_options, accounts);
    println!("{report:?}");
}

/// A chain that can be told not to answer.
struct Halting {
    inner: EmbeddedChain,
    halted: Arc<AtomicBool>,
}

struct Switch(Arc<AtomicBool>);

impl Interruption for Switch {
    fn halt(&self) -> std::io::Result<()> {
        self.0.store(true, Ordering::SeqCst);
        Ok(())
    }

    fn resume(&self) -> std::io::Result<()> {
        self.0.store(false, Ordering::SeqCst);
        Ok(())
    }
}

impl Halting {
    fn inner(&self) -> Result<&EmbeddedChain, ChainError> {
        match self.halted.load(Ordering::SeqCst) {
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

#[tokio::test]
async fn a_halted_chain_is_a_lag() {
    let halted = Arc::new(AtomicBool::new(false));
    let halting = Halting {
        inner: chain(),
        halted: halted.clone(),
    };
    let mut world = World::new(Arc::new(halting)).await.unwrap();
    let report = halted_chain(&mut world, &Switch(halted)).await.unwrap();
    assert_eq!(report.lag_blocks, 300);
    assert_eq!((report.failures, report.checkpoints_to_catch_up), (3, 1));
}

/// State, blocks and events are the same after the file was read again, and the chain goes on.
#[tokio::test]
async fn the_file_gives_the_same_chain() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chain");
    let me = Address::repeat_byte(0xaa);
    let open = || {
        EmbeddedChain::open(&path, CHAIN, START)
            .unwrap()
            .sending_as(me)
    };
    let whose = types::Address([3; 20]);
    let (vault, newest, before) = {
        let mut world = World::new(Arc::new(open())).await.unwrap();
        world.vault.deposit_minted(whose, 5_000_000).await.unwrap();
        let account = world.venue.open(whose);
        world.venue.credit(account, 5_000_000);
        let certified = world.venue.certify();
        world.vault.checkpoint(&certified.checkpoint).await.unwrap();
        let report = anchor(&world.vault).await.unwrap();
        (
            world.vault.address(),
            world.chain.newest().await.unwrap(),
            report,
        )
    };
    let port: Arc<dyn SettlementPort> = Arc::new(open());
    assert_eq!(port.newest().await.unwrap(), newest);
    let vault = lifeboat_chain::Vault::new(port, vault);
    let after = anchor(&vault).await.unwrap();
    assert_eq!(after, before);
    assert_eq!(
        (after.accounts, after.assets, after.uncredited),
        (5_000_000, 5_000_000, 0)
    );
    assert!(after.covered && after.evidence == "own authority");
    vault.deposit_minted(whose, 7).await.unwrap();
    let later = anchor(&vault).await.unwrap();
    assert_eq!(
        (later.assets, later.uncredited, later.liabilities),
        (5_000_007, 7, 5_000_007)
    );
    let mut watcher = DepositWatcher::new(vault, DepositChain::default(), 0);
    let Some(Observed::Deposits { deposits, .. }) = watcher.poll().await.unwrap() else {
        panic!("two deposits");
    };
    assert_eq!(watcher.confirms(0, &deposits), Some(true));
    assert_eq!(watcher.confirms(1, &deposits[1..]), Some(true));
    assert_eq!(watcher.confirms(0, &deposits[1..]), Some(false));
    assert_eq!(watcher.confirms(1, &deposits), None);
}

/// What the engine is told of a vault: deposits cut at the chain's blocks, requests, holdings.
#[tokio::test]
async fn what_validators_attest() {
    let mut world = World::new(Arc::new(chain())).await.unwrap();
    let whose = types::Address([3; 20]);
    world.vault.deposit_minted(whose, 10).await.unwrap();
    world.vault.deposit(whose, 1).await.unwrap_err();
    world.vault.deposit_minted(whose, 20).await.unwrap();
    world
        .vault
        .force_withdrawal(7, Address::repeat_byte(9))
        .await
        .unwrap();
    let mut watcher = DepositWatcher::new(world.vault.clone(), DepositChain::default(), 0);
    let observed = watcher.poll().await.unwrap().unwrap();
    let events = deposit_events(&observed);
    let numbers: Vec<(u64, usize)> = events
        .iter()
        .map(|event| match event {
            VaultEvent::Deposits { first, deposits } => (*first, deposits.len()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(numbers, [(0, 1), (1, 1)]);
    let at = world.chain.finalized().await.unwrap();
    let asked = requests(&world.vault, at, 0).await.unwrap();
    let request = ForcedRequest {
        owner: types::Address([0xaa; 20]),
        amount: types::Cash::new(7),
        recipient: types::Address([9; 20]),
    };
    assert_eq!(
        asked,
        [VaultEvent::ForcedRequests {
            first: 0,
            requests: vec![request]
        }]
    );
    assert!(requests(&world.vault, at, 1).await.unwrap().is_empty());
    assert!(
        crystallisations(&world.vault, at, 0)
            .await
            .unwrap()
            .is_empty()
    );
    let held = holdings(&world.vault, at).await.unwrap();
    let expected = VaultEvent::Anchored {
        block: at.number,
        assets: types::Cash::new(30),
        paid: types::Cash::ZERO,
    };
    assert_eq!(held, expected);
    let certified = world.venue.certify();
    // Deposits that the venue has not credited do not keep anybody from freezing.
    world.vault.checkpoint(&certified.checkpoint).await.unwrap();
    world.chain.advance(24 * 3_600 + 1).await.unwrap();
    world
        .vault
        .freeze(&certified.checkpoint.summary)
        .await
        .unwrap();
    let at = world.chain.finalized().await.unwrap();
    assert_eq!(
        holdings(&world.vault, at).await.unwrap(),
        VaultEvent::Frozen
    );
}

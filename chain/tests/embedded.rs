//! The settlement chain's parts on the embedded EVM: every drill, restarts, and what is refused.
#![cfg(all(feature = "drills", feature = "rpc"))]

use std::sync::Arc;

use alloy_primitives::{Address, B256};
use lifeboat_chain::anchor::anchor;
use lifeboat_chain::attested::{crystallisations, deposit_events, holdings, requests};
use lifeboat_chain::deposits::{DepositWatcher, Observed};
use lifeboat_chain::drills::{
    Halting, Switch, World, deposit_reorg, everybody_leaves, halted_chain, stolen_key,
};
use lifeboat_chain::exit::{Leaving, Progress};
use lifeboat_chain::proof_file::{self, CheckedProof};
use lifeboat_chain::{
    ChainKey, Clock, EmbeddedChain, Finality, Known, RpcChain, RpcConfig, SettlementPort,
    VaultWatch,
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

#[tokio::test]
async fn a_halted_chain_is_a_lag() {
    let switch = Switch::default();
    let halting = Halting::new(chain(), switch.clone());
    let mut world = World::new(Arc::new(halting)).await.unwrap();
    let report = halted_chain(&mut world, &switch).await.unwrap();
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

/// What an engine knows that has taken in these deposits, and holdings up to a block.
fn known(deposits: DepositChain, anchored: u64) -> Known {
    Known {
        deposits,
        forced: 0,
        crystallised: 0,
        anchored,
        frozen: false,
    }
}

#[tokio::test]
async fn a_watch_says_what_is_next_until_it_is_known() {
    let world = World::new(Arc::new(chain())).await.unwrap();
    let none = DepositChain::default();
    let mut watch = VaultWatch::new(world.vault.clone(), none, 0);
    let first = watch.look(&known(none, 0)).await.unwrap();
    let [VaultEvent::Anchored { block, .. }] = first[..] else {
        panic!("{first:?}");
    };
    assert_eq!(watch.look(&known(none, block)).await.unwrap(), []);
    // Nobody's holdings changed with an empty block.
    world.chain.mine(1).await.unwrap();
    assert_eq!(watch.look(&known(none, block)).await.unwrap(), []);
    let owner = types::Address([5; 20]);
    world.vault.deposit_minted(owner, 7).await.unwrap();
    world.vault.deposit_minted(owner, 8).await.unwrap();
    let second = watch.look(&known(none, block)).await.unwrap();
    let [
        VaultEvent::Deposits { first: 0, deposits },
        VaultEvent::Anchored { .. },
    ] = &second[..]
    else {
        panic!("{second:?}");
    };
    // One block after the other: two lists.
    assert_eq!(deposits.len(), 1);
    // It was lost on the way: the same again.
    assert_eq!(watch.look(&known(none, block)).await.unwrap(), second);
    let one = none.extended(deposits).unwrap();
    let third = watch.look(&known(one, u64::MAX)).await.unwrap();
    let [VaultEvent::Deposits { first: 1, deposits }] = &third[..] else {
        panic!("{third:?}");
    };
    let two = one.extended(deposits).unwrap();
    assert_eq!(watch.look(&known(two, u64::MAX)).await.unwrap(), []);
}

#[tokio::test]
async fn a_watch_takes_back_only_what_was_credited() {
    let world = World::new(Arc::new(chain())).await.unwrap();
    let none = DepositChain::default();
    let owner = types::Address([5; 20]);
    let mut watch = VaultWatch::new(world.vault.clone(), none, 0);
    for amount in [7, 8] {
        world.vault.deposit_minted(owner, amount).await.unwrap();
    }
    let seen = watch.look(&known(none, u64::MAX)).await.unwrap();
    let [VaultEvent::Deposits { deposits, .. }] = &seen[..] else {
        panic!("{seen:?}");
    };
    let one = none.extended(deposits).unwrap();
    // Both blocks are gone; the engine had credited one of the two.
    world.chain.reorganise(6).await.unwrap();
    let back = watch.look(&known(one, u64::MAX)).await.unwrap();
    let taken = VaultEvent::DepositsUnwound {
        first: 0,
        previous: types::Digest::default(),
        deposits: deposits.clone(),
    };
    assert_eq!(back, [taken]);
    assert_eq!(watch.look(&known(none, u64::MAX)).await.unwrap(), []);
    // What comes then has the same number.
    world.vault.deposit_minted(owner, 9).await.unwrap();
    let again = watch.look(&known(none, u64::MAX)).await.unwrap();
    assert!(
        matches!(again[..], [VaultEvent::Deposits { first: 0, .. }]),
        "{again:?}"
    );
}

#[tokio::test]
async fn the_embedded_chain_is_a_chain_by_url() {
    let inner = chain();
    let served = lifeboat_chain::serve(inner.clone(), ([127, 0, 0, 1], 0).into());
    let served = served.await.unwrap();
    let key = "59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d";
    let config = RpcConfig {
        url: served.url(),
        witnesses: Vec::new(),
        key: Some(ChainKey::parse(key).unwrap()),
        finality: Finality::Depth(0),
        poll: std::time::Duration::from_millis(1),
        timeout: std::time::Duration::from_secs(10),
        own_authority: true,
    };
    let by_url = Arc::new(RpcChain::open(config.clone()).await.unwrap());
    let (near, far) = (
        inner.newest().await.unwrap(),
        by_url.newest().await.unwrap(),
    );
    assert_eq!((near, by_url.chain()), (far, CHAIN));
    let mut world = World::new(by_url.clone()).await.unwrap();
    an_owner_leaves(&mut world).await;
    // Proofs of storage are refused, not made up.
    let strict = RpcConfig {
        own_authority: false,
        ..config
    };
    let strict = RpcChain::open(strict).await.unwrap();
    let at = strict.newest().await.unwrap();
    let vault = world.vault.address();
    assert!(strict.storage(at, vault, &[B256::ZERO]).await.is_err());
    assert_eq!(
        by_url
            .storage(at, vault, &[B256::ZERO])
            .await
            .unwrap()
            .len(),
        1
    );
}

/// Deposits, a checkpoint, the anchor, a day, and the way out.
async fn an_owner_leaves(world: &mut World) {
    let owner = world.chain.sender().unwrap();
    let whose = lifeboat_chain::drills::owner(owner);
    let account = world.venue.open(whose);
    world.vault.deposit_minted(whose, 8_000_000).await.unwrap();
    world.venue.credit(account, 8_000_000);
    let certified = world.venue.certify();
    world.vault.checkpoint(&certified.checkpoint).await.unwrap();
    let compared = anchor(&world.vault).await.unwrap();
    assert!(
        compared.covered && compared.evidence == "own authority",
        "{compared:?}"
    );
    let proof = certified.exit_proof(account).unwrap();
    let (chain, vault) = proof_file::vault(&proof).unwrap();
    let proof = CheckedProof::of(&proof, chain, vault).unwrap();
    let leaving = Leaving::new(world.vault.clone(), proof, owner);
    leaving.step().await.unwrap();
    let Progress::Waiting { until, .. } = leaving.step().await.unwrap() else {
        panic!("a day is to be waited for");
    };
    assert!(until.is_some());
    world.chain.advance(86_400).await.unwrap();
    for _ in 0..4 {
        if leaving.step().await.unwrap() == Progress::Left {
            break;
        }
    }
    assert_eq!(world.vault.balance_of(owner).await.unwrap(), 8_000_000);
}

//! The settlement chain by URL, against a real node on loopback.
//!
//! Where the node is not installed a test says so and ends; with `LIFEBOAT_TOOLS=required`, as
//! `cargo xtask test` sets it, that is a failure.
#![cfg(all(feature = "drills", feature = "rpc"))]

use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::{B256, U256};
use lifeboat_chain::anchor::anchor;
use lifeboat_chain::drills::{
    Anvil, FUNDED_KEY, World, deposit_reorg, everybody_leaves, halted_chain, stolen_key,
};
use lifeboat_chain::exit::{Leaving, Progress};
use lifeboat_chain::proof_file::{self, CheckedProof};
use lifeboat_chain::{
    ChainError, ChainKey, Development as _, Evidence, Finality, RpcChain, RpcConfig,
    SettlementPort as _,
};
use lifeboat_engine::types::Address;
use lifeboat_proof::exit::SavedProof;

fn node() -> Option<Anvil> {
    let node = Anvil::start(&[]).unwrap();
    if node.is_none() {
        let message = "anvil is not installed; `cargo xtask setup` installs it";
        assert!(
            std::env::var_os("LIFEBOAT_TOOLS").is_none_or(|how| how != "required"),
            "{message}"
        );
        println!("skipped: {message}");
    }
    node
}

fn config(url: &str, depth: u64) -> RpcConfig {
    RpcConfig {
        url: url.into(),
        witnesses: Vec::new(),
        key: Some(ChainKey::parse(FUNDED_KEY).unwrap()),
        finality: Finality::Depth(depth),
        poll: Duration::from_millis(10),
        timeout: Duration::from_secs(30),
        own_authority: false,
    }
}

async fn chain(url: &str, depth: u64) -> Arc<RpcChain> {
    Arc::new(RpcChain::open(config(url, depth)).await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn deposits_are_proven_and_reorganisations_harmless() {
    let Some(node) = node() else { return };
    let mut world = World::new(chain(&node.url, 12).await).await.unwrap();
    let report = deposit_reorg(&mut world, 12).await.unwrap();
    assert_eq!((report.unwound, report.unwound_amount), (1, 100_000_000));
    assert!(report.checkpoint_refused);
    println!("{report:?}");
}

/// Words of storage are what the contracts' own getters say, absent ones are zero, and a state root
/// that is another block's proves nothing.
#[tokio::test(flavor = "multi_thread")]
async fn storage_is_proven_against_a_header() {
    let Some(node) = node() else { return };
    let port = chain(&node.url, 0).await;
    let mut world = World::new(port.clone()).await.unwrap();
    let whose = Address([1; 20]);
    world.vault.deposit_minted(whose, 9_000_000).await.unwrap();
    let account = world.venue.open(whose);
    world.venue.credit(account, 9_000_000);
    let certified = world.venue.certify();
    world.vault.checkpoint(&certified.checkpoint).await.unwrap();
    assert_eq!(port.evidence(), Evidence::MerkleProof);
    let report = anchor(&world.vault).await.unwrap();
    let head = world.vault.head().await.unwrap();
    assert_eq!(
        (report.checkpoint, report.executed),
        (head.number, head.executed)
    );
    assert_eq!(
        (report.accounts, report.assets, report.liabilities),
        (9_000_000, 9_000_000, 9_000_000)
    );
    assert!(report.covered && report.evidence == "merkle proof");
    let at = port.finalized().await.unwrap();
    let nowhere = [B256::repeat_byte(0x77)];
    let absent = port.storage(at, world.vault.address(), &nowhere);
    assert_eq!(absent.await.unwrap(), [U256::ZERO]);
    let other = lifeboat_chain::BlockRef {
        hash: B256::repeat_byte(1),
        ..at
    };
    let refused = port.storage(other, world.vault.address(), &nowhere);
    assert!(refused.await.is_err());
}

/// Another node that does not have the same final block stops every credit.
#[tokio::test(flavor = "multi_thread")]
async fn a_witness_that_disagrees_is_believed() {
    let (Some(node), Some(other)) = (node(), node()) else {
        return;
    };
    let alone = chain(&other.url, 0).await;
    let watched = RpcConfig {
        witnesses: vec![other.url.clone()],
        ..config(&node.url, 0)
    };
    let watched = RpcChain::open(watched).await.unwrap();
    watched.mine(1).await.unwrap();
    let behind = watched.finalized().await.unwrap_err();
    assert!(behind.is_transient(), "{behind}");
    alone.advance(1_000).await.unwrap();
    let differs = watched.finalized().await.unwrap_err();
    assert!(matches!(differs, ChainError::NotProven(_)), "{differs}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stolen_key() {
    let Some(node) = node() else { return };
    let mut world = World::new(chain(&node.url, 0).await).await.unwrap();
    let report = stolen_key(&mut world).await.unwrap();
    println!("{report:?}");
    assert!(report.others_whole && report.taken_by_relayer == 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_halted_chain_is_a_lag() {
    let Some(node) = node() else { return };
    let impatient = RpcConfig {
        timeout: Duration::from_secs(2),
        own_authority: false,
        ..config(&node.url, 0)
    };
    let port = Arc::new(RpcChain::open(impatient).await.unwrap());
    let mut world = World::new(port).await.unwrap();
    let report = halted_chain(&mut world, &node).await.unwrap();
    println!("{report:?}");
    assert_eq!(report.lag_blocks, 300);
}

/// `LIFEBOAT_ACCOUNTS` says how many; drill 21 has ten thousand.
#[tokio::test(flavor = "multi_thread")]
async fn everybody_leaves_with_open_options() {
    let Some(node) = node() else { return };
    let accounts = std::env::var("LIFEBOAT_ACCOUNTS").map_or(200, |text| text.parse().unwrap());
    let mut world = World::new(chain(&node.url, 0).await).await.unwrap();
    let report = everybody_leaves(&mut world, accounts).await.unwrap();
    println!("{report:?}");
    assert_eq!(report.with_options, accounts);
}

/// A venue that posts on but lets nobody go: ask on chain, wait a day, freeze by that, leave.
#[tokio::test(flavor = "multi_thread")]
async fn an_owner_leaves_a_venue_that_ignores_her() {
    let Some(node) = node() else { return };
    let mut world = World::new(chain(&node.url, 0).await).await.unwrap();
    // Her key is the one that sends.
    let owner = world.chain.sender().unwrap();
    let account = world.venue.open(lifeboat_chain::drills::owner(owner));
    let whose = Address(owner.0.0);
    world.vault.deposit_minted(whose, 3_000_000).await.unwrap();
    world.venue.credit(account, 3_000_000);
    let old = world.venue.certify().exit_proof(account).unwrap();
    world.vault.deposit_minted(whose, 5_000_000).await.unwrap();
    world.venue.credit(account, 5_000_000);
    let first = world.venue.certify();
    let proof = first.exit_proof(account).unwrap();
    // As it is kept in a file.
    let text = serde_json::to_string(&proof).unwrap();
    let proof: SavedProof = serde_json::from_str(&text).unwrap();
    let (id, vault) = proof_file::vault(&proof).unwrap();
    assert!(CheckedProof::of(&proof, id + 1, vault).is_err());
    let leaving = Leaving::new(
        world.vault.clone(),
        CheckedProof::of(&proof, id, vault).unwrap(),
        owner,
    );
    let done = |progress: Progress| match progress {
        Progress::Did { what, .. } => what,
        other => panic!("{other:?}"),
    };
    // Nobody had posted the checkpoint that her proof is of: she does.
    assert!(done(leaving.step().await.unwrap()).contains("posted"));
    let old = CheckedProof::of(&old, id, vault).unwrap();
    let old = Leaving::new(world.vault.clone(), old, owner);
    let old = old.step().await.unwrap_err().to_string();
    assert!(old.contains("older") || old.contains("block"), "{old}");
    assert!(done(leaving.step().await.unwrap()).contains("asked"));
    let Progress::Waiting { until, .. } = leaving.step().await.unwrap() else {
        panic!("the venue has a day");
    };
    assert!(until.is_some());
    // A deposit that the venue never credits comes back by itself.
    world.vault.deposit_minted(whose, 5).await.unwrap();
    world.chain.advance(23 * 3_600).await.unwrap();
    let second = world.venue.certify();
    world.vault.checkpoint(&second.checkpoint).await.unwrap();
    // Nothing of hers changed, so the proof that she has goes on holding.
    let waiting = leaving.step().await.unwrap();
    assert!(matches!(waiting, Progress::Waiting { .. }), "{waiting:?}");
    let proof = second.exit_proof(account).unwrap();
    let proof = CheckedProof::of(&proof, id, vault).unwrap();
    let leaving = Leaving::new(world.vault.clone(), proof, owner);
    world.chain.advance(3_700).await.unwrap();
    let mut steps = Vec::new();
    loop {
        match leaving.step().await.unwrap() {
            Progress::Did { what, .. } => steps.push(what),
            Progress::Left => break,
            Progress::Waiting { what, until } => panic!("{what} {until:?}"),
        }
    }
    assert_eq!(steps.len(), 4, "{steps:?}");
    assert!(
        steps[0].contains("ignored") && steps[1].contains("deposit 2"),
        "{steps:?}"
    );
    let paid = world.vault.balance_of(owner).await.unwrap();
    assert_eq!(paid, 8_000_005);
    let left = world.vault.balance_of(world.vault.address()).await.unwrap();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn a_node_that_is_away_is_worth_another_try() {
    let away = RpcChain::open(config("http://127.0.0.1:9", 0)).await;
    let error = away.err().unwrap();
    assert!(error.is_transient(), "{error}");
    assert!(!error.to_string().contains("127.0.0.1"), "{error}");
    assert!(RpcChain::open(config("nowhere", 0)).await.is_err());
}

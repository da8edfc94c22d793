//! The blob layer against a real Ethereum node on loopback, blobs and cell proofs included.

#[path = "support/http.rs"]
mod http;
mod support;
#[path = "support/tools.rs"]
mod tools;

use std::sync::Arc;
use std::time::Duration;

use lifeboat_da::{Batch, BlobIds, BlobKey, BlobsConfig, Layer, LayerError, Tip};
use lifeboat_engine::types::Height;
use serde_json::{Value, json};
use support::{CHAIN, batches, block, conformance, read_all};

/// The first funded account of a development node.
const SECRET: &str = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";

fn key() -> BlobKey {
    let byte = |at| u8::from_str_radix(&SECRET[at..at + 2], 16).unwrap();
    let secret: Vec<u8> = (0..64).step_by(2).map(byte).collect();
    BlobKey::new(&secret.try_into().unwrap()).unwrap()
}

fn config(url: &str) -> BlobsConfig {
    BlobsConfig {
        execution: url.into(),
        beacon: url.into(),
        blob_ids: BlobIds::Numbers,
        key: Some(key()),
        publisher: key().address(),
        start_block: 0,
        confirmations: 0,
        blobs_per_transaction: 6,
        stuck_after: Duration::from_secs(60),
        fee_max: 1_000_000_000_000,
    }
}

fn open(url: &str) -> Arc<dyn Layer> {
    config(url).open(CHAIN).unwrap()
}

/// One call to the node itself.
async fn call(url: &str, method: &str, params: Value) -> Value {
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    let request = reqwest::Client::new().post(url).body(body.to_string());
    let request = request.header("content-type", "application/json");
    let text = request.send().await.unwrap().text().await.unwrap();
    let answer: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(answer.get("error"), None, "{method}");
    answer["result"].clone()
}

/// Small batches, and one that takes two transactions of up to six blobs each.
fn made() -> Vec<Batch> {
    let mut made = batches(2, 3, 500);
    let tip = made[1].tip();
    let large = Batch::seal(&tip, None, vec![block(7, 880_000)]).unwrap();
    assert_eq!(large.encoded().len().div_ceil(4096 * 31), 7);
    let last = Batch::seal(&large.tip(), None, vec![block(8, 10)]).unwrap();
    made.extend([large, last]);
    made
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_node_keeps_batches() {
    let Some(node) = tools::ethereum_node(&["--hardfork", "osaka"]) else {
        return;
    };
    let url = &node.url;
    let made = made();
    conformance(open(url), || open(url), &made).await;

    // Only the publisher's transactions count, and only with its key is anything sent.
    let stranger = BlobsConfig {
        key: None,
        publisher: lifeboat_engine::types::Address([7; 20]),
        ..config(url)
    };
    let stranger = stranger.open(CHAIN).unwrap();
    assert_eq!(stranger.newest().await.unwrap(), None);
    let refused = stranger.publish(&made[0]).await.unwrap_err();
    assert!(matches!(refused, LayerError::Permanent(_)), "{refused}");

    // A consensus node that gives other blobs, or none, is found out.
    let zeros = format!("0x{}", "00".repeat(4096 * 32));
    let lying = http::serve(move |request| {
        let path = &request.line;
        assert!(path.starts_with("GET /eth/v1/beacon/blobs/"), "{path}");
        (200, json!({"data": [zeros]}).to_string())
    });
    let forgetful = http::serve(|_| (404, "{}".into()));
    let fetched = async |beacon: String| {
        let config = BlobsConfig {
            beacon,
            ..config(url)
        };
        config.open(CHAIN).unwrap().fetch(Height::new(1)).await
    };
    let altered = fetched(lying).await.unwrap_err();
    assert!(matches!(altered, LayerError::Corrupt(_)), "{altered}");
    assert!(
        altered.to_string().contains("its transaction names"),
        "{altered}"
    );
    let gone = fetched(forgetful).await.unwrap_err();
    assert!(gone.to_string().contains("4096 epochs"), "{gone}");
}

/// A batch is published when its block is settled; a block that is dropped takes it back.
#[tokio::test(flavor = "multi_thread")]
async fn blocks_that_are_dropped_are_noticed() {
    let arguments = ["--hardfork", "osaka", "--block-time", "1"];
    let Some(node) = tools::ethereum_node(&arguments) else {
        return;
    };
    let url = &node.url;
    let cautious = BlobsConfig {
        confirmations: 2,
        ..config(url)
    };
    let layer = cautious.open(CHAIN).unwrap();
    let made = batches(2, 3, 100);
    layer.publish(&made[0]).await.unwrap();
    let mined = call(url, "eth_blockNumber", json!([])).await;
    let mined = u64::from_str_radix(&mined.as_str().unwrap()[2..], 16).unwrap();
    assert!(mined >= 3, "two blocks on top of its own: {mined}");
    layer.publish(&made[1]).await.unwrap();
    assert_eq!(layer.newest().await.unwrap(), Some(Height::new(4)));
    // Deeper than the confirmations: what no setting excludes.
    call(url, "anvil_reorg", json!([4, []])).await;
    let newest = layer.newest().await.unwrap();
    assert!(newest < Some(Height::new(4)), "{newest:?}");
    for batch in &made {
        layer.publish(batch).await.unwrap();
    }
    assert_eq!(read_all(open(url)).await, made);
}

/// A transaction that waits too long is replaced by one that pays twice as much, and counts once.
#[tokio::test(flavor = "multi_thread")]
async fn a_stuck_transaction_is_replaced() {
    let Some(node) = tools::ethereum_node(&["--hardfork", "osaka", "--no-mining"]) else {
        return;
    };
    let url = &node.url;
    let impatient = BlobsConfig {
        stuck_after: Duration::from_millis(500),
        ..config(url)
    };
    let layer = impatient.open(CHAIN).unwrap();
    let made = batches(1, 3, 100);
    let mut bids = Vec::new();
    for _ in 0..2 {
        let waits = layer.publish(&made[0]).await.unwrap_err();
        assert!(waits.is_transient(), "{waits}");
        let pool = call(url, "txpool_content", json!([])).await;
        let pending = pool["pending"].as_object().unwrap().values();
        let pending: Vec<&Value> = pending
            .flat_map(|by_nonce| by_nonce.as_object().unwrap().values())
            .collect();
        assert_eq!(pending.len(), 1, "one takes the other's place");
        let fee = |name: &str| {
            let text = pending[0][name].as_str().unwrap();
            u128::from_str_radix(&text[2..], 16).unwrap()
        };
        bids.push(["maxFeePerGas", "maxPriorityFeePerGas", "maxFeePerBlobGas"].map(fee));
    }
    for (before, after) in bids[0].iter().zip(&bids[1]) {
        assert!(*after >= 2 * before, "{bids:?}");
    }
    call(url, "evm_mine", json!([])).await;
    layer.publish(&made[0]).await.unwrap();
    assert_eq!(read_all(open(url)).await, made);
}

/// A node that is away is no reason to give up; a configuration that cannot work is one to say so.
#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_cannot_work_is_refused() {
    let url = "http://127.0.0.1:9";
    let refused = |config: BlobsConfig| {
        let refused = config.open(CHAIN).err().unwrap();
        assert!(matches!(refused, LayerError::Permanent(_)), "{refused}");
    };
    let config = || config(url);
    for blobs_per_transaction in [0, 7] {
        refused(BlobsConfig {
            blobs_per_transaction,
            ..config()
        });
    }
    refused(BlobsConfig {
        publisher: lifeboat_engine::types::Address([1; 20]),
        ..config()
    });
    refused(BlobsConfig {
        blob_ids: BlobIds::Slots(0),
        ..config()
    });
    let away = config().open(CHAIN).unwrap();
    let batch = Batch::seal(&Tip::genesis(CHAIN), None, vec![block(1, 1)]).unwrap();
    assert!(away.publish(&batch).await.unwrap_err().is_transient());
}

//! The Celestia layer against a node that is played on loopback. The exchanges were written after the
//! public documentation of celestia-node's JSON-RPC (`header.LocalHead`, `blob.Submit`, `blob.GetAll`,
//! `blob.Get`), not recorded: no live network was at hand.

#[path = "support/http.rs"]
mod http;
mod support;

use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use lifeboat_da::{CelestiaConfig, Layer, LayerError};
use lifeboat_engine::types::Height;
use serde_json::{Value, json};
use support::{CHAIN, batches, conformance};

const TOKEN: &str = "token-of-the-node";
const SIGNER: [u8; 20] = [0x11; 20];

/// A node with a chain of its own: every submission makes a block, and so does silence.
#[derive(Default)]
struct Node {
    blocks: Vec<Vec<Value>>,
    /// Answers that are errors before it works again.
    trouble: Vec<(u16, Value)>,
}

impl Node {
    fn answer(&mut self, method: &str, params: &Value) -> Result<Value, String> {
        match method {
            "header.LocalHead" => {
                assert_eq!(params, &json!([]));
                Ok(header(self.blocks.len()))
            }
            "blob.Submit" => self.submit(params),
            "blob.GetAll" => {
                let [height, namespaces] = two(params);
                let [namespace] = namespaces.as_array().unwrap().as_slice() else {
                    panic!("{namespaces}");
                };
                let found = self.blobs(height, namespace);
                // Nodes of different age say "nothing" in different ways.
                match (found.is_empty(), height.as_u64().unwrap() % 2) {
                    (true, 0) => Err("blob: not found".into()),
                    (true, _) => Ok(Value::Null),
                    _ => Ok(found.into()),
                }
            }
            "blob.Get" => {
                let [height, namespace, commitment] = params.as_array().unwrap().as_slice() else {
                    panic!("{params}");
                };
                let mut found = self.blobs(height, namespace);
                found.retain(|blob| blob["commitment"] == *commitment);
                found.pop().ok_or_else(|| "blob: not found".into())
            }
            _ => panic!("{method}"),
        }
    }

    fn submit(&mut self, params: &Value) -> Result<Value, String> {
        let [blobs, options] = two(params);
        assert_eq!(options, &json!({}), "fees are the node's to find");
        let mut block = Vec::new();
        for (index, blob) in blobs.as_array().unwrap().iter().enumerate() {
            let namespace = BASE64.decode(blob["namespace"].as_str().unwrap()).unwrap();
            assert_eq!(namespace.len(), 29);
            assert_eq!(
                namespace[..19],
                [0; 19],
                "version 0, and what it asks to be zero"
            );
            assert_eq!(blob["share_version"], 1);
            assert_eq!(blob["signer"], BASE64.encode(SIGNER));
            block.push(self.included(blob, index));
        }
        self.blocks.push(block);
        self.blocks.push(Vec::new());
        Ok(json!(self.blocks.len() - 1))
    }

    /// A blob as it is read back, with a commitment and a place.
    fn included(&self, blob: &Value, index: usize) -> Value {
        let mut blob = blob.clone();
        let place = format!("commitment {} {index}", self.blocks.len());
        blob["commitment"] = BASE64.encode(place).into();
        blob["index"] = index.into();
        blob
    }

    fn blobs(&self, height: &Value, namespace: &Value) -> Vec<Value> {
        let height = height.as_u64().unwrap() as usize;
        let block = self.blocks.get(height - 1).cloned().unwrap_or_default();
        let ours = |blob: &Value| blob["namespace"] == *namespace;
        block.into_iter().filter(ours).collect()
    }
}

/// As much of an extended header as is documented, with its height as a text.
fn header(height: usize) -> Value {
    json!({
        "header": {
            "version": {"block": "11", "app": "6"},
            "chain_id": "private",
            "height": height.to_string(),
            "time": "2026-01-01T00:00:00Z",
        },
        "commit": {"height": height.to_string(), "round": 0},
        "dah": {"row_roots": [], "column_roots": []},
    })
}

fn two(params: &Value) -> [&Value; 2] {
    let params = params.as_array().unwrap();
    assert_eq!(params.len(), 2);
    [&params[0], &params[1]]
}

fn serve(node: &Arc<Mutex<Node>>) -> String {
    let node = Arc::clone(node);
    http::serve(move |request| {
        assert_eq!(request.line, "POST /");
        let expected = format!("Bearer {TOKEN}");
        assert_eq!(request.authorization.as_ref(), Some(&expected));
        let call: Value = serde_json::from_str(&request.body).unwrap();
        assert_eq!(call["jsonrpc"], "2.0");
        let mut node = node.lock().unwrap();
        if let Some((status, body)) = node.trouble.pop() {
            return (status, body.to_string());
        }
        let mut body = json!({"jsonrpc": "2.0", "id": call["id"]});
        match node.answer(call["method"].as_str().unwrap(), &call["params"]) {
            Ok(result) => body["result"] = result,
            Err(message) => body["error"] = json!({"code": 1, "message": message}),
        }
        (200, body.to_string())
    })
}

fn config(url: &str) -> CelestiaConfig {
    CelestiaConfig {
        node: url.into(),
        token: Some(TOKEN.into()),
        signer: Some(SIGNER),
        piece_bytes: 2_000,
        ..CelestiaConfig::default()
    }
}

#[tokio::test]
async fn keeps_batches_in_pieces() {
    let node = Arc::new(Mutex::new(Node::default()));
    let url = serve(&node);
    let open = || config(&url).open(CHAIN).unwrap();
    conformance(open(), open, &batches(4, 3, 2_500)).await;
    let blocks = node.lock().unwrap().blocks.len();
    assert!(blocks > 20, "a batch is several pieces: {blocks} blocks");
}

/// The namespace is everybody's: what strangers put there does not count.
#[tokio::test]
async fn strangers_do_not_count() {
    let node = Arc::new(Mutex::new(Node::default()));
    let url = serve(&node);
    let layer = config(&url).open(CHAIN).unwrap();
    let made = batches(2, 3, 100);
    layer.publish(&made[0]).await.unwrap();
    {
        let mut node = node.lock().unwrap();
        let ours = node.blocks.iter().flatten().next().unwrap().clone();
        let mut forged = ours.clone();
        forged["signer"] = BASE64.encode([0x22; 20]).into();
        let mut bare = ours.clone();
        bare.as_object_mut().unwrap().remove("signer");
        let mut junk = ours;
        junk["data"] = BASE64.encode("hello").into();
        let block = [forged, bare, junk];
        let block = block.iter().enumerate();
        let block = block
            .map(|(index, blob)| node.included(blob, index))
            .collect();
        node.blocks.push(block);
    }
    layer.publish(&made[1]).await.unwrap();
    let fresh: Arc<dyn Layer> = config(&url).open(CHAIN).unwrap();
    assert_eq!(support::read_all(fresh).await, made);
}

#[tokio::test]
async fn failures_are_told_apart() {
    let node = Arc::new(Mutex::new(Node::default()));
    let url = serve(&node);
    let layer = config(&url).open(CHAIN).unwrap();
    let made = batches(1, 3, 100);
    let after = async |status: u16, body: Value| {
        node.lock().unwrap().trouble.push((status, body));
        layer.publish(&made[0]).await.unwrap_err()
    };
    let refusal = |message: &str| json!({"error": {"code": 1, "message": message}});
    let away = after(502, json!("bad gateway")).await;
    assert!(away.is_transient(), "{away}");
    let busy = after(200, refusal("tx not included in time")).await;
    assert!(busy.is_transient(), "{busy}");
    let poor = after(200, refusal("insufficient funds")).await;
    assert!(matches!(poor, LayerError::Permanent(_)), "{poor}");
    let out = after(401, json!("missing permission")).await;
    assert!(matches!(out, LayerError::Permanent(_)), "{out}");
    let odd = after(200, json!({"result": {"header": {}}})).await;
    assert!(matches!(odd, LayerError::Corrupt(_)), "{odd}");
    layer.publish(&made[0]).await.unwrap();
    assert_eq!(layer.newest().await.unwrap(), Some(Height::new(1)));
}

//! What the commands about the settlement chain share: connecting to it, and keys that are never
//! arguments.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use lifeboat_chain::{ChainKey, Finality, RpcChain, RpcConfig};
use serde::de::DeserializeOwned;

use crate::arguments::ChainArguments;

/// Names the variable that a key may be in.
const KEY_VARIABLE: &str = "LIFEBOAT_KEY";
/// How often a transaction on its way is looked at: a block of the fastest chains.
const POLL: Duration = Duration::from_millis(250);
/// Time for one answer.
const ANSWER: Duration = Duration::from_secs(30);

/// A runtime for a command that talks to a chain and nothing else.
pub fn runtime() -> Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    Ok(builder.worker_threads(1).enable_all().build()?)
}

/// Connects to the chain that was named.
pub async fn connect(arguments: &ChainArguments, key: Option<ChainKey>) -> Result<RpcChain> {
    let config = RpcConfig {
        url: arguments.rpc.clone(),
        witnesses: arguments.witness.clone(),
        key,
        finality: arguments.depth.map_or(Finality::Tag, Finality::Depth),
        poll: POLL,
        timeout: ANSWER,
    };
    let connected = RpcChain::open(config).await;
    connected.context("the settlement chain was not reached; nothing was done")
}

/// The key in a file, or in the environment.
pub fn key(file: Option<&Path>) -> Result<ChainKey> {
    let text = match file {
        Some(path) => std::fs::read_to_string(path)
            .with_context(|| format!("reading the key in {}", path.display()))?,
        None => match std::env::var(KEY_VARIABLE) {
            Ok(text) => text,
            Err(_) => bail!("give the key in a file with --key-file, or in {KEY_VARIABLE}"),
        },
    };
    Ok(ChainKey::parse(&text)?)
}

/// Reads a JSON file.
pub fn json_file<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is not in its format", path.display()))
}

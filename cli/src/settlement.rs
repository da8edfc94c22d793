//! What the commands about the settlement chain share: connecting to it, and keys that are never
//! arguments.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use lifeboat_chain::{Address, ChainKey, Finality, RpcChain, RpcConfig, Vault};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::arguments::ChainArguments;
use crate::vault::VaultFile;

/// Names the variable that a key may be in.
const KEY_VARIABLE: &str = "LIFEBOAT_KEY";
/// How often a transaction on its way is looked at: a block of the fastest chains.
pub const POLL: Duration = Duration::from_millis(250);
/// Time for one answer.
pub const ANSWER: Duration = Duration::from_secs(30);

/// A runtime for a command that talks to a chain and nothing else.
pub fn runtime() -> Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    Ok(builder.worker_threads(1).enable_all().build()?)
}

/// A venue's chain as a command reaches it.
pub struct Reached {
    /// The chain, and who sends.
    pub port: Arc<RpcChain>,
    /// The venue's vault, if its folder was what named the chain.
    pub vault: Option<VaultFile>,
    /// The venue beside it, if it runs.
    pub running: Option<RunningFile>,
}

impl Reached {
    /// The vault that was named, or the folder's.
    pub fn vault(&self, named: Option<Address>, since: u64) -> Result<Vault> {
        let known = self.vault.as_ref();
        let address = named.or(known.map(|file| file.vault));
        let address = address.context("name the vault with --vault")?;
        let since = known
            .filter(|file| file.vault == address)
            .map_or(since, |file| file.since);
        Ok(Vault::new(self.port.clone(), address).since(since))
    }
}

/// Where a running venue is, for commands on the same machine: `running.json` in its folder.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunningFile {
    /// The gateway; `None` when the chain is there alone.
    pub gateway: Option<String>,
    /// Its number, from which its session keys follow.
    #[serde(default)]
    pub number: u16,
    /// The embedded chain's JSON-RPC, if the venue settles on it.
    pub chain: Option<String>,
    /// Where native clients connect.
    pub clients: Vec<SocketAddr>,
}

impl RunningFile {
    const NAME: &'static str = "running.json";

    /// Writes it into a venue's folder.
    pub fn save(&self, folder: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        let path = folder.join(Self::NAME);
        std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
    }

    /// Reads that of a folder; `None` where no venue ran.
    pub fn load(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(Self::NAME);
        path.exists().then(|| json_file(&path)).transpose()
    }
}

/// Connects to the chain that was named, or to that of the venue in the folder.
pub async fn reach(arguments: &ChainArguments, key: Option<ChainKey>) -> Result<Reached> {
    let mut config = RpcConfig {
        url: arguments.rpc.clone().unwrap_or_default(),
        witnesses: arguments.witness.clone(),
        key,
        finality: arguments.depth.map_or(Finality::Tag, Finality::Depth),
        poll: POLL,
        timeout: ANSWER,
        own_authority: false,
    };
    let (mut vault, running) = (None, RunningFile::load(&arguments.data)?);
    if arguments.rpc.is_none() {
        let path = arguments.data.join(VaultFile::NAME);
        let file = VaultFile::load(&path)?.with_context(|| {
            format!(
                "there is no {}: name a chain with --rpc, or a venue with --data",
                path.display()
            )
        })?;
        let served = running.as_ref().and_then(|running| running.chain.clone());
        config.own_authority = file.is_embedded();
        config.url = file.url.clone().or(served).unwrap_or_default();
        config.finality = match (config.own_authority, arguments.depth.or(file.depth)) {
            (true, _) => Finality::Depth(0),
            (false, Some(depth)) => Finality::Depth(depth),
            (false, None) => Finality::Tag,
        };
        if config.witnesses.is_empty() {
            config.witnesses.clone_from(&file.witnesses);
        }
        vault = Some(file);
    }
    let own = config.own_authority;
    let connected = RpcChain::open(config).await.with_context(|| match own {
        true => "the chain is in the process of `lifeboat run`, which has to run for this; nothing was done",
        false => "the settlement chain was not reached; nothing was done",
    });
    Ok(Reached {
        port: Arc::new(connected?),
        vault,
        running,
    })
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

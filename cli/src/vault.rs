//! A venue's vault: the file that says where it is, the chain behind it, and how a new one is founded.
//!
//! The file, `settlement.toml`, names a chain's URL; without one the chain is the embedded one, in
//! `settlement.chain` beside it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use lifeboat_chain::deploy::{DeploymentPlan, deploy, endow};
use lifeboat_chain::{
    Address, ChainKey, Clock, EmbeddedChain, Finality, RpcChain, RpcConfig, SettlementPort, Vault,
};
use lifeboat_engine::Genesis;
use lifeboat_engine::params::VaultParameters;
use lifeboat_engine::types::{self, Cash, ChainId, Price, SettlementChain};
use serde::{Deserialize, Serialize};

use crate::arguments::SettlementArguments;
use crate::settlement::{ANSWER, POLL, key};

/// The embedded chain's id: what development chains use.
const EMBEDDED_ID: SettlementChain = SettlementChain::new(31_337);
/// Who deploys, feeds prices and relays on the embedded chain.
const STEWARD: Address = Address::repeat_byte(0x57);
/// What development feeds say until the venue has an index of its own, for BTC and ETH.
const FIRST_PRICES: [Price; 2] = [Price::new(64_000_000_000), Price::new(3_200_000_000)];
/// What may always leave a development vault in an hour: a million USDC.
const OUTFLOW_FLOOR: u64 = 1_000_000_000_000;
/// Least withdrawal of a development venue: one USDC.
const WITHDRAWAL_MIN: Cash = Cash::new(1_000_000);

/// How often the embedded chain is looked at, a development chain by URL, and a public one.
const LOOK_EMBEDDED: Duration = Duration::from_secs(1);
const LOOK_DEVELOPMENT: Duration = Duration::from_secs(2);
const LOOK_PUBLIC: Duration = Duration::from_secs(12);

/// Which chain a new venue settles on.
#[derive(Clone, Debug, Default)]
pub struct SettlementPlan {
    /// URL of a node's JSON-RPC; the embedded chain if absent.
    pub url: Option<String>,
    /// The key that deploys and relays.
    pub key_file: Option<PathBuf>,
    /// Blocks on top of a final one; what consensus calls final if absent.
    pub depth: Option<u64>,
}

/// What the command line says of a chain; `None` when it names none.
pub fn settlement_plan(arguments: &SettlementArguments) -> Option<SettlementPlan> {
    arguments.settlement.as_ref().map(|url| SettlementPlan {
        url: Some(url.clone()),
        key_file: arguments.settlement_key.clone(),
        depth: arguments.settlement_depth,
    })
}

/// Where a venue's vault is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VaultFile {
    /// The chain's EIP-155 id.
    pub chain: u64,
    /// The vault.
    pub vault: Address,
    /// Its insurance pool.
    pub pool: Address,
    /// Development price feeds by underlying id, which `run` keeps up to date.
    #[serde(default)]
    pub feeds: Vec<Address>,
    /// A block before the vault's first.
    #[serde(default)]
    pub since: u64,
    /// URL of a node's JSON-RPC; the embedded chain if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Other nodes, which must give the same final blocks.
    #[serde(default)]
    pub witnesses: Vec<String>,
    /// Blocks on top of a final one; what consensus calls final if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub depth: Option<u64>,
    /// The key that pays for checkpoints; without one none are posted from here. Relative to this file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
}

impl VaultFile {
    /// The file's name in a venue's folder.
    pub const NAME: &'static str = "settlement.toml";

    /// Reads the file; `None` where there is none.
    pub fn load(path: &Path) -> Result<Option<Self>> {
        if !path.exists() {
            return Ok(None);
        }
        let text =
            fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        let file = toml::from_str(&text).with_context(|| format!("{} is damaged", path.display()));
        file.map(Some)
    }

    /// What genesis says of the vault.
    pub const fn parameters(&self) -> VaultParameters {
        VaultParameters {
            chain: SettlementChain::new(self.chain),
            vault: types::Address(self.vault.0.0),
            pool: types::Address(self.pool.0.0),
            withdrawal_min: WITHDRAWAL_MIN,
        }
    }

    /// Whether the chain is the embedded one.
    pub const fn is_embedded(&self) -> bool {
        self.url.is_none()
    }
}

/// A vault whose chain is reached.
#[derive(Clone)]
pub struct OpenVault {
    /// What the file says.
    pub file: VaultFile,
    /// The vault.
    pub vault: Vault,
    /// Its chain, if it is the embedded one.
    pub embedded: Option<EmbeddedChain>,
    /// How often to look at it.
    pub look: Duration,
}

impl OpenVault {
    /// Opens the vault of a settlement file; `None` where there is none.
    pub async fn open(path: &Path) -> Result<Option<Self>> {
        let Some(file) = VaultFile::load(path)? else {
            return Ok(None);
        };
        let beside = path.parent().unwrap_or(Path::new("."));
        let (port, embedded): (Arc<dyn SettlementPort>, _) = match &file.url {
            None => {
                let chain = open_embedded(beside)?;
                (Arc::new(chain.clone()), Some(chain))
            }
            Some(url) => {
                let paid = file.key_file.as_ref().map(|path| beside.join(path));
                let paid = paid.map(|path| key(Some(&path))).transpose()?;
                let chain = open_url(url, &file.witnesses, file.depth, paid).await;
                let chain = chain.context("the settlement chain was not reached")?;
                (Arc::new(chain), None)
            }
        };
        let look = match (&embedded, file.depth) {
            (Some(_), _) => LOOK_EMBEDDED,
            (None, Some(_)) => LOOK_DEVELOPMENT,
            (None, None) => LOOK_PUBLIC,
        };
        Ok(Some(Self {
            vault: Vault::new(port, file.vault).since(file.since),
            file,
            embedded,
            look,
        }))
    }

    /// Whether this vault's port can send transactions.
    pub fn relays(&self) -> bool {
        self.vault.port().sender().is_some()
    }
}

fn embedded_path(folder: &Path) -> PathBuf {
    folder.join("settlement.chain")
}

fn open_embedded(folder: &Path) -> Result<EmbeddedChain> {
    let path = embedded_path(folder);
    let chain = EmbeddedChain::open(&path, EMBEDDED_ID, Clock::Wall);
    let chain = chain.with_context(|| format!("the chain in {}", path.display()))?;
    Ok(chain.sending_as(STEWARD))
}

async fn open_url(
    url: &str,
    witnesses: &[String],
    depth: Option<u64>,
    key: Option<ChainKey>,
) -> Result<RpcChain> {
    let config = RpcConfig {
        url: url.to_owned(),
        witnesses: witnesses.to_vec(),
        key,
        finality: depth.map_or(Finality::Tag, Finality::Depth),
        poll: POLL,
        timeout: ANSWER,
        own_authority: false,
    };
    Ok(RpcChain::open(config).await?)
}

/// Puts a new venue's vault on its chain and into it what fund, accounts and stake begin with, and writes
/// the file.
pub async fn found(
    folder: &Path,
    plan: &SettlementPlan,
    (venue, group_key): (ChainId, &[u8]),
    genesis: &Genesis,
) -> Result<VaultFile> {
    let port: Arc<dyn SettlementPort> = match &plan.url {
        None => {
            // Of a start that was broken off before there was a venue.
            let _ = fs::remove_file(embedded_path(folder));
            Arc::new(open_embedded(folder)?)
        }
        Some(url) => {
            let paid = key(plan.key_file.as_deref())?;
            let chain = open_url(url, &[], plan.depth, Some(paid)).await;
            Arc::new(chain.context("the settlement chain was not reached; nothing was done")?)
        }
    };
    let since = port.newest().await?.number;
    let deployment = DeploymentPlan {
        venue,
        group_key,
        prices: &FIRST_PRICES,
        outflow_floor: OUTFLOW_FLOOR,
    };
    let deployment = deploy(&port, &deployment).await?;
    let waterfall = genesis.parameters.waterfall;
    let pool = types::Address(deployment.pool.0.0);
    let accounts = genesis.accounts.iter().map(|one| (one.owner, one.cash));
    let stake = waterfall.stake.map(|stake| (stake.owner, stake.cash));
    // The order in which genesis counts them.
    let all = [(pool, waterfall.fund)]
        .into_iter()
        .chain(accounts)
        .chain(stake);
    let deposits: Vec<_> = all
        .filter(|(_, cash)| *cash > Cash::ZERO)
        .map(|(owner, cash)| (owner, cash.get().unsigned_abs()))
        .collect();
    endow(&port, &deployment, &deposits).await?;
    let file = VaultFile {
        chain: deployment.chain,
        vault: deployment.vault,
        pool: deployment.pool,
        feeds: deployment.feeds,
        since,
        url: plan.url.clone(),
        witnesses: Vec::new(),
        depth: plan.depth,
        key_file: plan.key_file.as_deref().map(fs::canonicalize).transpose()?,
    };
    let text = toml::to_string(&file).context("writing the vault's file")?;
    fs::write(folder.join(VaultFile::NAME), text).context("writing the vault's file")?;
    Ok(file)
}

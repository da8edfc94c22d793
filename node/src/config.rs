//! A node's configuration: what the file says, and what it comes to once paths are resolved and keys
//! are read.
//!
//! **Owns** the layout of a node's folder: `node.toml`, `keys.toml` (secret), `committee.toml`,
//! `genesis.bin`, and `data/`, which holds everything that changes.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lifeboat_engine::Genesis;
use serde::{Deserialize, Serialize};

use crate::catchup::mark_fresh;
use crate::consensus::Identity;
use crate::epochs::{Epochs, EpochsError};
use crate::files::Disk;
use crate::keys::{Committee, KeyError, MemberKeys, SecretKeys, deal_keys};
use crate::node::Tuning;
use crate::opening::seal_key;
use crate::sabotage::drift_is_asked;
use crate::venue::Venue;

/// Why a configuration cannot be used or written.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read or written.
    #[error("{path}: {error}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A file does not parse.
    #[error("{path}: {error}")]
    Parse {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        error: String,
    },
    /// A key file is wrong.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The list of consensus epochs is wrong.
    #[error(transparent)]
    Epochs(#[from] EpochsError),
    /// The folder has a node already.
    #[error("{0} already holds a node; choose another folder, or remove it if it is not needed")]
    Exists(PathBuf),
}

/// `node.toml` as it is written. Paths are relative to the file's folder.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeFile {
    /// Where what changes is kept.
    #[serde(default = "default_data")]
    pub data: PathBuf,
    /// Where native clients connect; none if absent. Loopback unless a firewall stands in front.
    pub ingress: Option<SocketAddr>,
    /// Threads for asynchronous work.
    #[serde(default = "default_threads")]
    pub threads: usize,
    /// Where finalized blocks are published outside the venue, such as `folder:/mnt/archive`;
    /// nowhere if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publish: Option<String>,
    /// The file that says where the venue's vault is and how its chain is reached: this validator then
    /// attests what happens there. Nothing is attested if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settlement: Option<PathBuf>,
    /// Every other figure.
    #[serde(default)]
    pub tuning: Tuning,
}

impl NodeFile {
    /// Reads `node.toml`.
    ///
    /// # Errors
    /// When it cannot be read or does not parse.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        parse(file)
    }
}

fn default_data() -> PathBuf {
    "data".into()
}

const fn default_threads() -> usize {
    2
}

/// A node's configuration, ready for use.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// The node's folder.
    pub folder: PathBuf,
    /// Where what changes is kept.
    pub data: PathBuf,
    /// Its place among the validators.
    pub index: usize,
    /// Who it is.
    pub identity: Identity,
    /// Its secrets.
    pub secrets: SecretKeys,
    /// The committee.
    pub committee: Committee,
    /// The venue.
    pub venue: Arc<Venue>,
    /// Where native clients connect.
    pub ingress: Option<SocketAddr>,
    /// Threads for asynchronous work.
    pub threads: usize,
    /// The runs of consensus.
    pub epochs: Epochs,
    /// Where finalized blocks are published outside the venue; nowhere if absent.
    pub publish: Option<String>,
    /// The file about the vault; nothing of it is attested if absent.
    pub settlement: Option<PathBuf>,
    /// Every other figure.
    pub tuning: Tuning,
}

fn read(path: &Path) -> Result<Vec<u8>, ConfigError> {
    fs::read(path).map_err(|error| ConfigError::Io {
        path: path.to_owned(),
        error,
    })
}

fn parse<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, ConfigError> {
    let bytes = read(path)?;
    toml::from_slice(&bytes).map_err(|error| ConfigError::Parse {
        path: path.to_owned(),
        error: error.to_string(),
    })
}

/// Reads a genesis file.
///
/// # Errors
/// When it cannot be read, does not decode or is not valid.
pub fn read_venue(path: &Path) -> Result<Venue, ConfigError> {
    let wrong = |error: String| ConfigError::Parse {
        path: path.to_owned(),
        error,
    };
    let genesis: Genesis =
        borsh::from_slice(&read(path)?).map_err(|error| wrong(error.to_string()))?;
    Venue::new(genesis).map_err(|error| wrong(format!("not a valid genesis: {error:?}")))
}

/// Reads the committee file of a node's folder.
///
/// # Errors
/// When it cannot be read or does not parse.
pub fn read_committee(folder: &Path) -> Result<Committee, ConfigError> {
    parse(&folder.join("committee.toml"))
}

impl NodeConfig {
    /// Reads `node.toml` and what lies beside it.
    ///
    /// # Errors
    /// When a file is missing or wrong, naming it.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        let folder = file.parent().unwrap_or(Path::new(".")).to_owned();
        let node: NodeFile = parse(file)?;
        let secrets: SecretKeys = parse(&folder.join("keys.toml"))?;
        let committee = read_committee(&folder)?;
        let venue = read_venue(&folder.join("genesis.bin"))?;
        let epochs = Epochs::load(&folder)?;
        let identity = committee.identity(&secrets, &venue.genesis().chain)?;
        let index = usize::from(identity.share.index);
        Ok(Self {
            data: folder.join(node.data),
            settlement: node.settlement.map(|path| folder.join(path)),
            folder,
            index,
            identity,
            secrets,
            committee,
            venue: Arc::new(if drift_is_asked() {
                venue.drifting()
            } else {
                venue
            }),
            ingress: node.ingress,
            threads: node.threads,
            epochs,
            publish: node.publish,
            tuning: node.tuning,
        })
    }

    /// Where this node listens for its peers.
    pub fn listen(&self) -> SocketAddr {
        self.committee.members[self.index].address
    }
}

/// What `init` makes.
#[derive(Clone, Debug)]
pub struct InitPlan {
    /// How many validators.
    pub validators: usize,
    /// Where all of them listen (development: one machine).
    pub host: IpAddr,
    /// The first validator's port for peers; the others follow. Below 32768, out of the range that
    /// outgoing connections take ports from.
    pub peer_port: u16,
    /// The first validator's port for native clients; the others follow.
    pub ingress_port: u16,
    /// Keys are drawn from this; use [`crate::keys::entropy`].
    pub seed: [u8; 32],
    /// Where every validator publishes finalized blocks; nowhere if absent.
    pub publish: Option<String>,
    /// The file about the vault, from every node's folder.
    pub settlement: Option<PathBuf>,
    /// Every node's figures.
    pub tuning: Tuning,
}

/// Deals keys and writes a folder for each validator under `root`, the venue's genesis in each. The
/// genesis gets the dealt command keys as its validators, and their group key for sealed orders. Returns
/// the folders.
///
/// # Errors
/// When a folder already holds a node or cannot be written.
pub fn init(
    root: &Path,
    plan: &InitPlan,
    mut genesis: Genesis,
) -> Result<Vec<PathBuf>, ConfigError> {
    let (polynomial, dealt) = deal_keys(plan.validators, plan.seed)?;
    genesis.validators = dealt.iter().map(|keys| keys.command_key).collect();
    let address = |index: usize, base: u16| SocketAddr::new(plan.host, base + index as u16);
    let members = dealt.iter().enumerate().map(|(index, keys)| MemberKeys {
        network_key: keys.network_key.clone(),
        address: address(index, plan.peer_port),
    });
    let committee = Committee {
        polynomial,
        members: members.collect(),
    };
    genesis.parameters.auction.key = seal_key(&committee.polynomial()?);
    let mut folders = Vec::new();
    for (index, keys) in dealt.iter().enumerate() {
        let node = NodeFile {
            data: default_data(),
            ingress: Some(address(index, plan.ingress_port)),
            threads: default_threads(),
            publish: plan.publish.clone(),
            settlement: plan.settlement.clone(),
            tuning: plan.tuning,
        };
        let folder = root.join(format!("node-{index}"));
        write_folder(&folder, &node, &keys.secrets, &committee, &genesis)?;
        folders.push(folder);
    }
    Ok(folders)
}

fn write_folder(
    folder: &Path,
    node: &NodeFile,
    secrets: &SecretKeys,
    committee: &Committee,
    genesis: &Genesis,
) -> Result<(), ConfigError> {
    if folder.join("node.toml").exists() {
        return Err(ConfigError::Exists(folder.to_owned()));
    }
    let failed = |error: io::Error| ConfigError::Io {
        path: folder.to_owned(),
        error,
    };
    let disk = Disk::open(folder.join(&node.data).join("state")).map_err(failed)?;
    mark_fresh(&disk).map_err(failed)?;
    let genesis = borsh::to_vec(genesis).map_err(failed)?;
    fs::write(folder.join("genesis.bin"), genesis).map_err(failed)?;
    let text = |value: Result<String, toml::ser::Error>| {
        value.map_err(|error| failed(io::Error::other(error)))
    };
    fs::write(
        folder.join("committee.toml"),
        text(toml::to_string(committee))?,
    )
    .map_err(failed)?;
    write_secret(&folder.join("keys.toml"), &text(toml::to_string(secrets))?).map_err(failed)?;
    fs::write(folder.join("node.toml"), text(toml::to_string(node))?).map_err(failed)
}

fn write_secret(path: &Path, contents: &str) -> io::Result<()> {
    use std::io::Write as _;
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)?.write_all(contents.as_bytes())
}

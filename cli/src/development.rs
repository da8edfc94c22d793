//! A development venue: its genesis and its folder.
//!
//! The folder holds `venue.toml` (what the venue was made with, so that a restart goes on with the
//! same market), `api-keys.json` (in each validator's too), and one folder for each validator.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use lifeboat_drill::market::{Cast, Recording, for_pace};
use lifeboat_drill::plan::Backing;
use lifeboat_engine::params::{ExitParameters, VaultParameters};
use lifeboat_engine::types::{ChainId, PublicKey, TimeMs};
use lifeboat_engine::{Genesis, Parameters};
use lifeboat_gateway::{ApiKeys, Scope};
use lifeboat_node::config::{InitPlan, init};
use lifeboat_node::keys::{Committee, MemberKeys, deal_keys, entropy};
use lifeboat_node::node::Tuning;
use lifeboat_node::shared::VenueClock;
use serde::{Deserialize, Serialize};

use crate::settlement::runtime;
use crate::vault::{SettlementPlan, VaultFile, found};

/// Accounts of a development venue that people can use.
pub const CLIENTS: u32 = 4;
const MAKERS: u32 = 3;
const TAKERS: u32 = 8;
/// How far two blocks are apart at most while nothing happens; what block time is paced by.
const BLOCK_MS: u64 = 100;
/// How long prices must agree before a development venue reopens.
const DEVELOPMENT_AGREEMENT_MS: u64 = 3_000;
/// Length of CANCEL_ONLY, of AUCTION and of POST_ONLY on a development venue.
const DEVELOPMENT_REOPENING_MS: u64 = 5_000;
/// Exits of a development venue come often: who tries a withdrawal waits for them.
const DEVELOPMENT_EXITS: ExitParameters = ExitParameters {
    every: 100,
    lag: 30,
};
/// The symbols of the underlyings, in the order of their ids.
pub const SYMBOLS: [&str; 2] = ["BTC", "ETH"];

/// What a venue was made with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VenueFile {
    /// Decides the market, and every development key.
    pub seed: u64,
    /// How many validators.
    pub validators: u16,
    /// Accounts for load generators: singles, then quoters.
    pub traders: u32,
    /// The last of them only quote.
    pub quoters: u32,
    /// Which venue, in hexadecimal.
    pub chain: String,
    /// Time of height 0, in milliseconds since the epoch.
    pub start_ms: u64,
    /// The recording that is replayed, if it is not a simulated market.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replay: Option<PathBuf>,
    /// How many times faster than life block time runs.
    #[serde(default = "lifes_pace")]
    pub speed: u32,
}

const fn lifes_pace() -> u32 {
    1
}

/// What a new venue is made with.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Decides the market, and every development key.
    pub seed: u64,
    /// How many validators.
    pub validators: u16,
    /// Accounts for load generators that send single orders.
    pub traders: u32,
    /// Accounts for load generators that quote.
    pub quoters: u32,
    /// First port for peers; `None` looks for free ones.
    pub base_port: Option<u16>,
    /// A recording.
    pub replay: Option<PathBuf>,
    /// How many times faster than life block time runs.
    pub speed: u32,
    /// Block time at the beginning, in milliseconds since the epoch, where no recording says it; now if
    /// absent.
    pub start_ms: Option<u64>,
    /// The money behind the venue.
    pub backing: Backing,
    /// Where finalized blocks are published; nowhere if absent.
    pub publish: Option<String>,
    /// Where collateral lies; nowhere if absent, and genesis cash is then on nobody's word.
    pub settlement: Option<SettlementPlan>,
    /// Validators' figures.
    pub tuning: Tuning,
}

impl VenueFile {
    const NAME: &'static str = "venue.toml";

    /// Reads what a folder's venue was made with; `None` where there is none.
    pub fn load(root: &Path) -> Result<Option<Self>> {
        let path = root.join(Self::NAME);
        if !path.exists() {
            return Ok(None);
        }
        let text =
            fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        let file = toml::from_str(&text).with_context(|| {
            format!(
                "{} is damaged: restore it, or start with another --data folder",
                path.display()
            )
        })?;
        Ok(Some(file))
    }

    fn save(&self, root: &Path) -> Result<()> {
        let text = toml::to_string(self).context("writing the venue's description")?;
        fs::write(root.join(Self::NAME), text).context("writing the venue's description")
    }

    /// The venue.
    pub fn chain(&self) -> Result<ChainId> {
        let bytes = lifeboat_node::keys::from_hex(&self.chain);
        let bytes: Option<[u8; 32]> = bytes.and_then(|bytes| bytes.try_into().ok());
        bytes
            .map(ChainId)
            .context("the venue's chain id is damaged")
    }

    /// The accounts.
    pub fn cast(&self) -> Result<Cast> {
        Ok(Cast {
            seed: self.seed,
            chain: self.chain()?,
            makers: MAKERS,
            takers: TAKERS,
            clients: CLIENTS,
            traders: self.traders,
            quoters: self.quoters,
        })
    }

    /// The folder of a validator.
    pub fn node_folder(root: &Path, index: u16) -> PathBuf {
        root.join(format!("node-{index}"))
    }

    /// The recording, read.
    pub fn recording(&self) -> Result<Option<Recording>> {
        self.replay.as_deref().map(open_recording).transpose()
    }
}

fn open_recording(path: &Path) -> Result<Recording> {
    Recording::open(path, &SYMBOLS)
        .with_context(|| format!("{} cannot be replayed; nothing was started", path.display()))
}

/// Gateways that know a new venue's API keys: an account has sixteen session keys at most. A later one
/// serves those that `lifeboat session` makes beside it.
const GATEWAYS_MAX: u16 = 8;

/// Makes a venue's folder: keys, configuration, genesis, API keys.
pub fn create(root: &Path, plan: &Plan) -> Result<VenueFile> {
    let recording = plan
        .replay
        .as_ref()
        .map(|path| open_recording(path))
        .transpose()?;
    fs::create_dir_all(root).with_context(|| format!("making {}", root.display()))?;
    let start_ms = match &recording {
        Some(recording) => recording.start().get(),
        None => plan.start_ms.unwrap_or_else(wall_ms),
    };
    let file = VenueFile {
        seed: plan.seed,
        validators: plan.validators,
        traders: plan.traders,
        quoters: plan.quoters,
        chain: lifeboat_node::keys::to_hex(&entropy()?),
        start_ms,
        replay: plan.replay.as_deref().map(absolute),
        speed: plan.speed,
    };
    let keys = api_keys(root, &file)?;
    let mut genesis = genesis(&file, &keys)?;
    plan.backing
        .put(&mut genesis.parameters, file.cast()?.operator());
    let seed = entropy()?;
    if let Some(settlement) = &plan.settlement {
        genesis.parameters.vaults =
            vec![vault_of(root, settlement, seed, &genesis, plan.validators)?];
        genesis.parameters.exits = DEVELOPMENT_EXITS;
    }
    let peer_port = match plan.base_port {
        Some(port) => port,
        None => free_ports(plan.validators * 2)?,
    };
    // The embedded chain is in the process of `run`, which looks at it for all validators.
    let on_a_chain = plan
        .settlement
        .as_ref()
        .is_some_and(|plan| plan.url.is_some());
    let init_plan = InitPlan {
        validators: usize::from(plan.validators),
        host: IpAddr::V4(Ipv4Addr::LOCALHOST),
        peer_port,
        ingress_port: peer_port + plan.validators,
        seed,
        publish: plan.publish.clone(),
        settlement: on_a_chain.then(|| Path::new("..").join(VaultFile::NAME)),
        tuning: tuning(plan, &file),
    };
    for folder in init(root, &init_plan, genesis)? {
        file.save(&folder)?;
        keys.save(&api_keys_path(&folder))?;
    }
    // Last, so that a folder with this file is whole.
    file.save(root)?;
    Ok(file)
}

/// Puts the vault on its chain, with the key that the validators are dealt from `seed`.
fn vault_of(
    root: &Path,
    plan: &SettlementPlan,
    seed: [u8; 32],
    genesis: &Genesis,
    validators: u16,
) -> Result<VaultParameters> {
    let (polynomial, dealt) = deal_keys(usize::from(validators), seed)?;
    let members = dealt.into_iter().map(|keys| MemberKeys {
        network_key: keys.network_key,
        address: (Ipv4Addr::LOCALHOST, 0).into(),
    });
    let committee = Committee {
        polynomial,
        members: members.collect(),
    };
    let venue = (genesis.chain, &committee.group_key()?[..]);
    let founded = runtime()?.block_on(found(root, plan, venue, genesis));
    Ok(founded?.parameters())
}

/// Block time starts with the recording, or where the plan says, and runs at its speed.
fn tuning(plan: &Plan, file: &VenueFile) -> Tuning {
    let mut tuning = plan.tuning;
    if file.replay.is_some() || plan.start_ms.is_some() || file.speed > 1 {
        tuning.pacing.clock = VenueClock {
            local_start_ms: wall_ms(),
            venue_start_ms: file.start_ms,
            speed: file.speed,
        };
    }
    tuning
}

fn absolute(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// The wall clock in milliseconds since the epoch.
pub fn wall_ms() -> u64 {
    lifeboat_node::shared::millis(std::time::SystemTime::now()).get()
}

/// The API keys' file of a venue's folder.
pub fn api_keys_path(root: &Path) -> PathBuf {
    root.join("api-keys.json")
}

fn api_keys(root: &Path, file: &VenueFile) -> Result<ApiKeys> {
    let mut keys = ApiKeys::default();
    for account in file.cast()?.clients() {
        keys.create(account, Scope::Trade)?;
    }
    keys.save(&api_keys_path(root))?;
    Ok(keys)
}

fn genesis(file: &VenueFile, keys: &ApiKeys) -> Result<Genesis> {
    // A key of its own for each gateway that a validator may have beside it.
    let gateways = file.validators.min(GATEWAYS_MAX);
    let sessions = |account| -> Vec<PublicKey> {
        let key = keys.iter().find(|key| key.account() == account);
        key.map_or_else(Vec::new, |key| {
            (0..gateways)
                .map(|gateway| key.session_key(gateway))
                .collect()
        })
    };
    let mut parameters = for_pace(
        Parameters::default(),
        BLOCK_MS.saturating_mul(file.speed.into()),
    );
    if file.speed == 1 || file.replay.is_some() {
        // Who tries a venue stops and starts it often: its reopening is short.
        parameters.modes.agreement_ms = DEVELOPMENT_AGREEMENT_MS;
        parameters.modes.cancel_only_ms = DEVELOPMENT_REOPENING_MS;
        parameters.modes.post_only_ms = DEVELOPMENT_REOPENING_MS;
        parameters.auction.length_ms = DEVELOPMENT_REOPENING_MS;
        parameters.auction.last_phase_ms = DEVELOPMENT_REOPENING_MS / 2;
        parameters.auction.extension_ms = DEVELOPMENT_REOPENING_MS;
    }
    if file.replay.is_some() {
        // The recording says what is listed.
        parameters
            .underlyings
            .iter_mut()
            .for_each(|underlying| underlying.listing = None);
    }
    Ok(Genesis {
        chain: file.chain()?,
        time: TimeMs::new(file.start_ms),
        validators: Vec::new(),
        parameters,
        accounts: file.cast()?.genesis_accounts(sessions),
    })
}

/// The first of `count` consecutive free ports, below those that outgoing connections take.
fn free_ports(count: u16) -> Result<u16> {
    let offset = (std::process::id() % 500) as u16 * 20;
    for attempt in 0..500u16 {
        let base = 21_000 + (offset + attempt * 20) % 10_000;
        let free = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        if (base..base + count).all(free) {
            return Ok(base);
        }
    }
    bail!("no {count} free ports in a row between 21000 and 31000; nothing was started")
}

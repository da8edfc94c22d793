//! A venue of validators as processes on this machine.
//!
//! **Owns** their folders, made by `lifeboat init`, and their processes. **Never** reads a secret: the
//! validators observe and vote by themselves.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lifeboat_engine::Genesis;
use lifeboat_engine::types::{AccountId, Digest, Height};
use lifeboat_node::block::keccak256;
use lifeboat_node::config::{ConfigError, NodeConfig, NodeFile, read_committee};
use lifeboat_node::files::{Disk, Files};
use lifeboat_node::handle::Status;
use lifeboat_node::ingress::{BlockingClient, Reply, Request};
use lifeboat_node::keys::from_hex;
use lifeboat_node::sabotage::DRIFT_VARIABLE;
use lifeboat_node::shared::VenueClock;
use thiserror::Error;

use super::links::Links;
use super::process::{Process, ProcessError};
use crate::market::StressFile;
use crate::plan::{Backing, MarketClock};

/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// A validator that runs answers a status request within this.
const STATUS_PATIENCE: Duration = Duration::from_millis(500);

/// Why a fleet cannot go on.
#[derive(Debug, Error)]
pub enum FleetError {
    /// A process.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// `lifeboat init` failed.
    #[error("`{program} init` failed: {what}")]
    Init {
        /// Which program.
        program: PathBuf,
        /// What it said.
        what: String,
    },
    /// `lifeboat recover` failed.
    #[error("`{program} recover` failed: {what}")]
    Recover {
        /// Which program.
        program: PathBuf,
        /// What it said.
        what: String,
    },
    /// A file.
    #[error("{path}: {error}")]
    Io {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// What `init` wrote cannot be read.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// There are no free ports.
    #[error("no {0} free ports in a row between 21000 and 31000; nothing was started")]
    Ports(u16),
    /// Something did not come about in time.
    #[error("waited {waited:?} for {what}; {detail}. The validators' logs are in {logs}")]
    Late {
        /// For what.
        what: String,
        /// How long.
        waited: Duration,
        /// How things stand.
        detail: String,
        /// Where the logs are.
        logs: PathBuf,
    },
}

/// What a fleet is made from.
#[derive(Clone, Debug)]
pub struct FleetSettings {
    /// The program.
    pub binary: PathBuf,
    /// Gets a folder for the venue and one for what the validators print. It must not hold a venue.
    pub root: PathBuf,
    /// Seed of the accounts and of the market.
    pub seed: u64,
    /// How many validators.
    pub validators: u16,
    /// Accounts that send single orders.
    pub traders: u32,
    /// Accounts that quote.
    pub quoters: u32,
    /// Accounts before the traders that hold positions.
    pub holders: u32,
    /// Block time, if it is not the wall's.
    pub clock: Option<MarketClock>,
    /// The money behind the venue.
    pub backing: Backing,
    /// Whether validators publish finalized blocks, to a folder beside the venue's.
    pub publish: bool,
    /// Whether links between validators pass through doors that can be shut.
    pub doors: bool,
    /// Blocks between snapshots, if not the node's own figure.
    pub snapshot_every: Option<u64>,
    /// Validators whose engines drift at the first marked command of their first process.
    pub drifting: Vec<usize>,
}

struct Validator {
    config: PathBuf,
    data: PathBuf,
    log: PathBuf,
    ingress: SocketAddr,
    process: Option<Process>,
}

/// The validators. Dropping it kills those that run.
pub struct Fleet {
    settings: FleetSettings,
    genesis: Genesis,
    leaders: Vec<Vec<u8>>,
    clock: VenueClock,
    validators: Vec<Validator>,
    links: Option<Links>,
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> FleetError {
    let path = path.to_owned();
    move |error| FleetError::Io { path, error }
}

impl Fleet {
    /// Makes a venue's folders with `lifeboat init`. Nothing runs yet.
    ///
    /// # Errors
    /// When `init` fails or what it wrote cannot be read.
    pub fn init(settings: FleetSettings) -> Result<Self, FleetError> {
        let logs = settings.root.join("logs");
        fs::create_dir_all(&logs).map_err(io_error(&logs))?;
        let venue = settings.root.join("venue");
        run_init(&settings, &venue)?;
        let (mut genesis, mut peers) = (None, Vec::new());
        let mut clock = VenueClock::default();
        let mut leaders = Vec::new();
        let mut validators = Vec::new();
        for index in 0..settings.validators {
            let config = venue.join(format!("node-{index}")).join("node.toml");
            let loaded = NodeConfig::load(&config)?;
            let ingress = loaded.ingress.ok_or_else(|| FleetError::Init {
                program: settings.binary.clone(),
                what: format!("{} has no ingress", config.display()),
            })?;
            genesis = Some(loaded.venue.genesis().clone());
            clock = loaded.tuning.pacing.clock;
            peers.push(loaded.listen());
            let key = &loaded.committee.members[usize::from(index)].network_key;
            leaders.push(from_hex(key).unwrap_or_default());
            validators.push(Validator {
                config,
                data: loaded.data,
                log: logs.join(format!("node-{index}.log")),
                ingress,
                process: None,
            });
        }
        let genesis = genesis.ok_or(FleetError::Ports(0))?;
        let mut fleet = Self {
            settings,
            genesis,
            leaders,
            clock,
            validators,
            links: None,
        };
        if let Some(every) = fleet.settings.snapshot_every {
            for index in 0..fleet.len() {
                fleet.configure(index, |node| node.tuning.snapshots.every = every)?;
            }
        }
        if fleet.settings.doors {
            fleet.open_doors(&peers)?;
        }
        Ok(fleet)
    }

    /// Lets every validator dial its peers through doors.
    fn open_doors(&mut self, peers: &[SocketAddr]) -> Result<(), FleetError> {
        let root = &self.settings.root;
        let links = Links::open(peers, self.settings.seed).map_err(io_error(root))?;
        for (from, validator) in self.validators.iter().enumerate() {
            let folder = validator.config.parent().unwrap_or(root);
            let mut committee = read_committee(folder)?;
            for (to, member) in committee.members.iter_mut().enumerate() {
                member.address = links.door(from, to).unwrap_or(member.address);
            }
            write_toml(&folder.join("committee.toml"), &committee)?;
        }
        self.links = Some(links);
        Ok(())
    }

    /// The doors between validators, if the fleet has any.
    pub const fn links(&self) -> Option<&Links> {
        self.links.as_ref()
    }

    /// Changes a validator's `node.toml`; it counts from the next start on.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn configure(
        &mut self,
        index: usize,
        change: impl FnOnce(&mut NodeFile),
    ) -> Result<(), FleetError> {
        let path = &self.validators[index].config;
        let mut node = NodeFile::load(path)?;
        change(&mut node);
        write_toml(path, &node)
    }

    /// Changes the venue's genesis, before its first start.
    ///
    /// # Errors
    /// When a folder takes no file.
    pub fn amend(&mut self, change: impl FnOnce(&mut Genesis)) -> Result<(), FleetError> {
        change(&mut self.genesis);
        for validator in &self.validators {
            let folder = validator.config.parent().unwrap_or(&self.settings.root);
            let path = folder.join("genesis.bin");
            let written =
                borsh::to_vec(&self.genesis).and_then(|genesis| fs::write(&path, genesis));
            written.map_err(io_error(&path))?;
        }
        Ok(())
    }

    /// Every validator's market goes by a script from now on.
    ///
    /// # Errors
    /// When a data folder takes no file.
    pub fn suffer(&self, script: &StressFile) -> Result<(), FleetError> {
        for validator in &self.validators {
            let written = script.write(&validator.data);
            written.map_err(io_error(&validator.data))?;
        }
        Ok(())
    }

    /// A validator's data folder.
    pub fn data(&self, index: usize) -> &Path {
        &self.validators[index].data
    }

    /// How many validators there are.
    pub fn len(&self) -> usize {
        self.validators.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.validators.is_empty()
    }

    /// The venue's genesis.
    pub const fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// The validators' network keys, in the order of their ids.
    pub fn leaders(&self) -> &[Vec<u8>] {
        &self.leaders
    }

    /// An error of a validator's folder.
    pub fn io(&self, index: usize, error: io::Error) -> FleetError {
        io_error(&self.validators[index].data)(error)
    }

    /// The first account of the load: traders, then quoters, are the last accounts of genesis.
    pub fn first_trader(&self) -> AccountId {
        let load = self.settings.traders + self.settings.quoters;
        let accounts = self.genesis.accounts.len() as u32;
        AccountId::new((accounts + 1).saturating_sub(load))
    }

    /// How block time follows the wall's.
    pub const fn clock(&self) -> VenueClock {
        self.clock
    }

    /// What it was made from.
    pub const fn settings(&self) -> &FleetSettings {
        &self.settings
    }

    /// Where clients of every validator connect.
    pub fn ingress(&self) -> Vec<SocketAddr> {
        self.validators.iter().map(|one| one.ingress).collect()
    }

    /// The folder of a validator's block log.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn files(&self, index: usize) -> Result<Arc<dyn Files>, FleetError> {
        let folder = self.validators[index].data.join("state");
        let disk = Disk::open(&folder).map_err(io_error(&folder))?;
        Ok(Arc::new(disk))
    }

    /// Process ids of the validators that run.
    pub fn process_ids(&self) -> Vec<u32> {
        let running = self
            .validators
            .iter()
            .filter_map(|one| one.process.as_ref());
        running.map(Process::id).collect()
    }

    /// Starts a validator that does not run.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn start(&mut self, index: usize) -> Result<(), FleetError> {
        self.start_with(index, &[])
    }

    /// Starts a validator that does not run, with more in its environment.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn start_with(
        &mut self,
        index: usize,
        environment: &[(&str, &str)],
    ) -> Result<(), FleetError> {
        if self.is_running(index) {
            return Ok(());
        }
        let binary = &self.settings.binary;
        let one = &mut self.validators[index];
        let process = Process::start(binary, &one.config, &one.log, environment)?;
        one.process = Some(process);
        Ok(())
    }

    /// Starts every validator that does not run.
    ///
    /// # Errors
    /// When a process cannot be started.
    pub fn start_all(&mut self) -> Result<(), FleetError> {
        for index in 0..self.len() {
            // Only the first process drifts: what comes back must come back right.
            let drifts = self.settings.drifting.iter().position(|one| *one == index);
            match drifts.map(|place| self.settings.drifting.swap_remove(place)) {
                Some(_) => self.start_with(index, &[(DRIFT_VARIABLE, "1")])?,
                None => self.start(index)?,
            }
        }
        Ok(())
    }

    /// keccak256 of the program.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn binary_digest(&self) -> Result<String, FleetError> {
        let binary = &self.settings.binary;
        let bytes = fs::read(binary).map_err(io_error(binary))?;
        Ok(keccak256(&[&bytes]).to_string())
    }

    /// Whether a validator's process runs, halted or not.
    pub fn is_running(&mut self, index: usize) -> bool {
        let process = self.validators[index].process.as_mut();
        process.is_some_and(Process::is_running)
    }

    /// Kills a validator with SIGKILL.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn kill(&mut self, index: usize) -> Result<(), FleetError> {
        match self.validators[index].process.take() {
            Some(mut process) => Ok(process.kill()?),
            None => Ok(()),
        }
    }

    /// Halts a validator with SIGSTOP.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn stop(&mut self, index: usize) -> Result<(), FleetError> {
        match &mut self.validators[index].process {
            Some(process) => Ok(process.stop()?),
            None => Ok(()),
        }
    }

    /// Lets a halted validator go on.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn resume(&mut self, index: usize) -> Result<(), FleetError> {
        match &mut self.validators[index].process {
            Some(process) if process.is_stopped() => Ok(process.resume()?),
            _ => Ok(()),
        }
    }

    /// Asks every validator to stop, and waits until they have.
    ///
    /// # Errors
    /// When one does not stop within `patience`.
    pub fn shut_down(&mut self, patience: Duration) -> Result<(), FleetError> {
        for validator in &mut self.validators {
            if let Some(process) = &mut validator.process {
                process.ask_to_end()?;
            }
        }
        self.wait_for("every validator to stop cleanly", patience, |fleet| {
            let mut all = fleet.validators.iter_mut();
            Ok(all.all(|one| one.process.as_mut().is_none_or(|one| !one.is_running())))
        })?;
        self.validators
            .iter_mut()
            .for_each(|one| one.process = None);
        Ok(())
    }

    /// Removes everything that a killed validator kept; its keys and configuration stay.
    ///
    /// # Errors
    /// When the folder cannot be removed.
    pub fn wipe(&mut self, index: usize) -> Result<(), FleetError> {
        self.kill(index)?;
        let data = &self.validators[index].data;
        fs::remove_dir_all(data).map_err(io_error(data))
    }

    /// Rebuilds a killed validator's data with `lifeboat recover`, in a new consensus epoch. Returns
    /// the object it prints.
    ///
    /// # Errors
    /// When it fails, with what it said.
    pub fn recover(&self, index: usize) -> Result<serde_json::Value, FleetError> {
        let program = self.settings.binary.clone();
        let failed = |what: String| FleetError::Recover {
            program: program.clone(),
            what,
        };
        let output = Command::new(&program)
            .args([
                "recover",
                "--json",
                "--from",
                "da",
                "--new-epoch",
                "--config",
            ])
            .arg(&self.validators[index].config)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| failed(error.to_string()))?;
        let said = String::from_utf8_lossy(&output.stdout);
        let object = said
            .lines()
            .last()
            .and_then(|line| serde_json::from_str(line).ok());
        object
            .filter(|_| output.status.success())
            .ok_or_else(|| failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
    }

    /// Whether a validator runs and is not halted.
    pub fn is_up(&mut self, index: usize) -> bool {
        let process = self.validators[index].process.as_mut();
        process.is_some_and(|process| process.is_running() && !process.is_stopped())
    }

    /// Asks a validator how it is doing; `None` if it does not answer.
    pub fn status(&mut self, index: usize) -> Option<Status> {
        if !self.is_up(index) {
            return None;
        }
        let address = self.validators[index].ingress;
        let mut client = BlockingClient::connect(address, STATUS_PATIENCE).ok()?;
        client.queue(&Request::Status);
        client.flush().ok()?;
        match client.receive().ok()? {
            Reply::Status(status) => Some(status),
            _ => None,
        }
    }

    /// Every validator's answer.
    pub fn statuses(&mut self) -> Vec<Option<Status>> {
        (0..self.len()).map(|index| self.status(index)).collect()
    }

    /// Who leads now: leaders take turns, and the view after the last final one is being decided.
    pub fn leader(&mut self) -> usize {
        let statuses = self.statuses();
        let views = statuses.iter().flatten();
        let view = views.map(|status| status.finalized_view).max();
        leader_of(view.unwrap_or(0) + 1, self.len())
    }

    /// Waits for a condition.
    ///
    /// # Errors
    /// When it does not come about within `patience`, or a process fails.
    pub fn wait_for(
        &mut self,
        what: &str,
        patience: Duration,
        mut condition: impl FnMut(&mut Self) -> Result<bool, FleetError>,
    ) -> Result<Duration, FleetError> {
        let started = Instant::now();
        while !condition(self)? {
            if started.elapsed() > patience {
                return Err(self.late(what, started.elapsed()));
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(started.elapsed())
    }

    /// The error of a wait that took too long, with how things stand.
    pub fn late(&mut self, what: &str, waited: Duration) -> FleetError {
        let describe = |(index, status): (usize, Option<Status>)| match status {
            None => format!("validator {index} does not answer"),
            Some(status) => format!(
                "validator {index} is at block {} of {}, ready {}, voting {}, mode {:?}",
                status.height, status.finalized_height, status.ready, status.voting, status.mode
            ),
        };
        let detail = self.statuses().into_iter().enumerate().map(describe);
        FleetError::Late {
            what: what.to_owned(),
            waited,
            detail: detail.collect::<Vec<_>>().join("; "),
            logs: self.settings.root.join("logs"),
        }
    }

    /// Waits until every validator votes, is at the tip, and blocks come.
    ///
    /// # Errors
    /// When that does not come about within `patience`.
    pub fn wait_ready(&mut self, patience: Duration) -> Result<Duration, FleetError> {
        self.wait_for("every validator to be ready", patience, |fleet| {
            let statuses = fleet.statuses();
            let ready = |status: &Option<Status>| status.as_ref().is_some_and(|one| one.ready);
            Ok(statuses.iter().all(ready))
        })
    }

    /// Waits until every validator has applied `height`, and has written it down.
    ///
    /// # Errors
    /// When that does not come about within `patience`.
    pub fn wait_height(&mut self, height: Height, patience: Duration) -> Result<(), FleetError> {
        self.wait_for("every validator to catch up", patience, |fleet| {
            let statuses = fleet.statuses();
            let there = |status: &Option<Status>| {
                status
                    .as_ref()
                    .is_some_and(|status| status.height >= height)
            };
            Ok(statuses.iter().all(there))
        })?;
        Ok(())
    }

    /// Listens to every validator until all have told the root after one same block.
    ///
    /// # Errors
    /// When they do not within `patience`.
    pub fn roots(&mut self, patience: Duration) -> Result<(Height, Vec<Digest>), FleetError> {
        let started = Instant::now();
        let late = |fleet: &mut Self| fleet.late("a block that all apply", started.elapsed());
        let mut seen: Vec<Vec<(Height, Digest)>> = vec![Vec::new(); self.len()];
        let mut clients = Vec::new();
        for address in self.ingress() {
            let opened = BlockingClient::connect(address, patience).and_then(|mut client| {
                client.queue(&Request::Watch);
                client.flush()?;
                Ok(client)
            });
            clients.push(opened.map_err(|_| late(self))?);
        }
        while started.elapsed() < patience {
            for (client, seen) in clients.iter_mut().zip(&mut seen) {
                match client.receive() {
                    Ok(Reply::Block(block)) => seen.push((block.height, block.root)),
                    Ok(_) => {}
                    Err(_) => return Err(late(self)),
                }
            }
            if let Some(common) = common_root(&seen) {
                return Ok(common);
            }
        }
        Err(late(self))
    }
}

/// The newest height that everybody has told a root for, and the roots.
fn common_root(seen: &[Vec<(Height, Digest)>]) -> Option<(Height, Vec<Digest>)> {
    let first = seen.first()?;
    first.iter().rev().find_map(|(height, _)| {
        let of = |blocks: &Vec<(Height, Digest)>| {
            let found = blocks.iter().find(|(at, _)| at == height);
            found.map(|(_, root)| *root)
        };
        let roots: Option<Vec<Digest>> = seen.iter().map(of).collect();
        Some((*height, roots?))
    })
}

/// Who leads a view: validators take turns in the order of their ids.
pub fn leader_of(view: u64, validators: usize) -> usize {
    (view % validators.max(1) as u64) as usize
}

fn write_toml(path: &Path, value: &impl serde::Serialize) -> Result<(), FleetError> {
    let text = toml::to_string(value).map_err(|error| io_error(path)(io::Error::other(error)))?;
    fs::write(path, text).map_err(io_error(path))
}

fn run_init(settings: &FleetSettings, venue: &Path) -> Result<(), FleetError> {
    let failed = |what: String| FleetError::Init {
        program: settings.binary.clone(),
        what,
    };
    let published = format!("folder:{}", settings.root.join("published").display());
    let publish = ["--publish", &published];
    let mut more: Vec<String> = Vec::new();
    let mut option = |name: &str, value: u64| more.extend([name.to_owned(), value.to_string()]);
    if let Some(clock) = &settings.clock {
        option("--speed", clock.speed.into());
        option("--start-ms", clock.genesis().get());
    }
    option("--fund-usdc", settings.backing.fund_usdc);
    option("--stake-usdc", settings.backing.stake_usdc);
    let output = Command::new(&settings.binary)
        .arg("init")
        .args(publish.iter().filter(|_| settings.publish))
        .arg(venue)
        .args(["--validators", &settings.validators.to_string()])
        .args([
            "--traders",
            &(settings.holders + settings.traders).to_string(),
        ])
        .args(["--quoters", &settings.quoters.to_string()])
        .args(["--seed", &settings.seed.to_string()])
        .args(more)
        .args([
            "--base-port",
            &free_ports(settings.validators * 2)?.to_string(),
        ])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(failed(said))
}

/// The first of `count` consecutive free ports, below those that outgoing connections take.
fn free_ports(count: u16) -> Result<u16, FleetError> {
    let offset = (std::process::id() % 500) as u16 * 20;
    for attempt in 0..500u16 {
        let base = 21_000 + (offset + attempt * 20) % 10_000;
        let free = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        if (base..base + count).all(free) {
            return Ok(base);
        }
    }
    Err(FleetError::Ports(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_common_root_needs_everybody() {
        let at = |height: u64, root: u8| (Height::new(height), Digest([root; 32]));
        let mut seen = vec![vec![at(1, 1), at(2, 2)], vec![at(2, 2), at(3, 3)]];
        let found = common_root(&seen).map(|(height, roots)| (height.get(), roots.len()));
        assert_eq!(found, Some((2, 2)));
        seen.push(vec![at(3, 3)]);
        assert_eq!(common_root(&seen), None);
    }

    #[test]
    fn leaders_take_turns() {
        let leaders: Vec<usize> = (4..9).map(|view| leader_of(view, 4)).collect();
        assert_eq!(leaders, [0, 1, 2, 3, 0]);
    }
}

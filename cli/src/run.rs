//! `lifeboat run`: a whole venue in one process, its validators on real loopback sockets.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use lifeboat_chain::{ServedChain, serve as serve_chain};
use lifeboat_drill::plan::Backing;
use lifeboat_engine::Engine;
use lifeboat_engine::types::{Mode, TimeMs};
use lifeboat_gateway::{ApiKeys, Running};
use lifeboat_node::config::NodeConfig;
use lifeboat_node::node::Tuning;
use lifeboat_node::service::Service;
use lifeboat_node::shared::Stop;
use serde_json::json;

use crate::arguments::RunArguments;
use crate::attest::{attest, voice};
use crate::development::{Plan, VenueFile, api_keys_path, create, wall_ms};
use crate::gateway::{can_listen, serve};
use crate::market::{CurrentNode, Scene, observe, trade};
use crate::opening::open_auctions;
use crate::publish::published;
use crate::relay::{feed, relay};
use crate::say::Say;
use crate::settlement::RunningFile;
use crate::signals::asked_to_stop;
use crate::vault::{OpenVault, SettlementPlan, VaultFile, settlement_plan};
use crate::venue::NodeVenue;

const VALIDATORS: u16 = 4;
/// What stands behind a venue that people try: as much as two of its takers have.
const BACKING: Backing = Backing {
    fund_usdc: 100_000_000,
    stake_usdc: 20_000_000,
};
/// Where the validators publish, from each one's folder.
const PUBLISHED: &str = "folder:../published";
/// How often readiness is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// After this long without being ready, it is said once.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// How often a line says how the venue is doing.
const SAY_EVERY: Duration = Duration::from_secs(60);

/// Runs a venue until it is asked to stop.
pub fn run(arguments: &RunArguments) -> Result<()> {
    let say = Say::new(arguments.json);
    // Asked before anything is made or started: the likeliest reason not to start.
    can_listen(arguments.listen)?;
    let file = open_or_create(arguments, say)?;
    let venue = Embedded::start(arguments, file, say)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let served = runtime.block_on(venue.serve(arguments, say));
    let stopped = venue.stop(say);
    // What the market's tasks still hold must not keep the process.
    runtime.shutdown_timeout(Duration::from_secs(1));
    served.and(stopped)
}

fn open_or_create(arguments: &RunArguments, say: Say) -> Result<VenueFile> {
    let root = &arguments.data;
    if let Some(file) = VenueFile::load(root)? {
        if arguments.replay.is_some() {
            bail!(
                "{} already holds a venue, and its market was chosen when it was made. Start \
                 without --replay to continue it, or with another --data folder",
                root.display()
            );
        }
        if arguments.settlement.settlement.is_some() {
            bail!(
                "{} already holds a venue, and its chain was chosen when it was made. Start without \
                 --settlement to continue it, or with another --data folder",
                root.display()
            );
        }
        say.line(format!("Continuing the venue in {}.", root.display()));
        return Ok(file);
    }
    say.line(format!(
        "Making a venue of {VALIDATORS} validators in {}.",
        root.display()
    ));
    say.line("Its keys are for development: all of them lie in that folder.");
    let replay = arguments.replay.clone().map(|path| (path, arguments.speed));
    let plan = Plan {
        seed: arguments.seed,
        validators: VALIDATORS,
        traders: 0,
        quoters: 0,
        base_port: None,
        publish: Some(PUBLISHED.to_owned()),
        settlement: settlement_plan(&arguments.settlement)
            .or_else(|| Some(SettlementPlan::default())),
        speed: replay.as_ref().map_or(1, |(_, speed)| *speed),
        replay: replay.map(|(path, _)| path),
        start_ms: None,
        backing: BACKING,
        tuning: Tuning::default(),
    };
    create(root, &plan)
}

/// Where the vault is, and the URL of the embedded chain.
type Place = Option<(VaultFile, Option<String>)>;

/// The venue's validators and what surrounds them.
struct Embedded {
    file: VenueFile,
    keys: ApiKeys,
    configs: Vec<NodeConfig>,
    services: Vec<Service>,
}

impl Embedded {
    fn start(arguments: &RunArguments, file: VenueFile, say: Say) -> Result<Self> {
        let root = &arguments.data;
        let keys = ApiKeys::load(&api_keys_path(root))?;
        let load = |index| NodeConfig::load(&VenueFile::node_folder(root, index).join("node.toml"));
        let configs = (0..file.validators)
            .map(load)
            .collect::<Result<Vec<_>, _>>()?;
        let mut venue = Self {
            file,
            keys,
            configs,
            services: Vec::new(),
        };
        for config in venue.configs.clone() {
            let index = config.index;
            match Service::spawn(config) {
                Ok(service) => venue.services.push(service),
                Err(stop) => {
                    // Those that did start are stopped as usual.
                    let _ = venue.stop(say);
                    bail!("validator {index} did not start: {stop}");
                }
            }
        }
        Ok(venue)
    }

    fn nodes(&self) -> Vec<CurrentNode> {
        self.services.iter().map(Service::watch).collect()
    }

    async fn serve(&self, arguments: &RunArguments, say: Say) -> Result<()> {
        let vault = OpenVault::open(&arguments.data.join(VaultFile::NAME)).await?;
        let chain = self.serve_chain(arguments, vault.as_ref()).await?;
        let gateway = self.start_tasks(arguments, vault.as_ref()).await?;
        let running = RunningFile {
            gateway: Some(format!("http://{}", gateway.address)),
            number: 0,
            chain: chain.as_ref().map(ServedChain::url),
            clients: self.clients(),
        };
        running.save(&arguments.data)?;
        let vault = vault.map(|vault| (vault.file, running.chain));
        let stop_after = async {
            match arguments.stop_after {
                Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.report(arguments, (&gateway, vault), say) => {}
            () = stop_after => {}
            signal = asked_to_stop() => signal.context("waiting for a signal")?,
        }
        say.line("Stopping; everything finalized is kept.");
        gateway.stop().await;
        Ok(())
    }

    /// Serves the embedded chain, if there is one: beside the gateway's port where that is free.
    async fn serve_chain(
        &self,
        arguments: &RunArguments,
        vault: Option<&OpenVault>,
    ) -> Result<Option<ServedChain>> {
        let Some(chain) = vault.and_then(|vault| vault.embedded.clone()) else {
            return Ok(None);
        };
        let port = arguments.listen.port();
        let beside = if port == 0 { 0 } else { port.wrapping_add(1) };
        let served = match serve_chain(chain.clone(), (Ipv4Addr::LOCALHOST, beside).into()).await {
            Err(_) => serve_chain(chain, (Ipv4Addr::LOCALHOST, 0).into()).await,
            served => served,
        };
        served
            .map(Some)
            .context("the embedded chain cannot be served")
    }

    fn clients(&self) -> Vec<SocketAddr> {
        self.configs
            .iter()
            .filter_map(|config| config.ingress)
            .collect()
    }

    async fn start_tasks(
        &self,
        arguments: &RunArguments,
        vault: Option<&OpenVault>,
    ) -> Result<Running> {
        let scene = Arc::new(Scene::of(&self.file)?);
        for (config, service) in self.configs.iter().zip(&self.services) {
            let voice = voice(config)?;
            if let Some(vault) = vault {
                tokio::spawn(attest(vault.clone(), voice.clone(), service.watch()));
            }
            tokio::spawn(open_auctions(
                config.clone(),
                voice.clone(),
                service.watch(),
            ));
            tokio::spawn(observe(
                config.clone(),
                scene.clone(),
                voice,
                service.watch(),
            ));
            tokio::spawn(published(config.clone(), service.watch()));
        }
        let first = self.configs.first().context("a venue has validators")?;
        let parameters = first.venue.genesis().parameters.clone();
        tokio::spawn(trade(self.file.cast()?, scene, parameters, self.nodes()));
        let nodes = self.nodes();
        let beside = nodes.first().cloned().context("a venue has validators")?;
        let settled = vault.map(|vault| {
            tokio::spawn(feed(vault.clone(), beside.clone()));
            relay(vault, beside.clone(), first.publish.is_some(), 0)
        });
        let publishes = first.publish.is_some();
        let nodes = (0..).zip(nodes).collect();
        let venue = NodeVenue::new(self.file.chain()?, publishes, beside, nodes, settled);
        serve(
            &arguments.data,
            (arguments.listen, 0),
            venue,
            self.keys.clone(),
        )
        .await
    }

    /// Says when the venue is ready and, now and then, how it is; returns when a validator stops.
    async fn report(&self, arguments: &RunArguments, running: (&Running, Place), say: Say) {
        let begun = tokio::time::Instant::now();
        let mut warned = false;
        while !self.is_ready() {
            if self.services.iter().any(Service::is_finished) {
                return;
            }
            if !warned && begun.elapsed() > READY_WITHIN {
                warned = true;
                say.line(
                    "Not ready yet: the validators do not agree on a first market. Still trying.",
                );
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        self.say_ready(arguments, running, say);
        let mut said_at = tokio::time::Instant::now();
        let mut mode = Mode::Open;
        while !self.services.iter().any(Service::is_finished) {
            tokio::time::sleep(LOOK_EVERY).await;
            self.say_mode(&mut mode, say);
            if said_at.elapsed() >= SAY_EVERY {
                said_at = tokio::time::Instant::now();
                self.say_how_it_is(say);
            }
        }
    }

    /// Every validator is ready, and there is something to trade unless the venue is reopening.
    fn is_ready(&self) -> bool {
        let now = TimeMs::new(wall_ms());
        let ready = |service: &Service| service.handle().status(now).ready;
        let quoted = |engine: &Engine| engine.live_orders() > 0 || !is_open(engine);
        let first = self.services.first().map(Service::handle);
        self.services.iter().all(ready)
            && first.and_then(|node| node.with_engine(quoted)) == Some(true)
    }

    fn say_ready(&self, arguments: &RunArguments, (gateway, vault): (&Running, Place), say: Say) {
        let url = format!("http://{}", gateway.address);
        let market = match &self.file.replay {
            Some(path) => format!(
                "replaying {} at {} times life's pace",
                path.display(),
                self.file.speed
            ),
            None => format!("a simulated market from seed {}", self.file.seed),
        };
        say.line(format!(
            "Ready: {} validators, {market}.",
            self.services.len()
        ));
        say.line(format!("  status page   {url}/"));
        say.line(format!(
            "  API           {url}/api/v2  and  ws://{}/ws/api/v2",
            gateway.address
        ));
        let key = self.keys.iter().min_by_key(|key| key.account());
        if let Some(key) = key {
            say.line(format!("  API key       {}", key.client_id));
            say.line(format!("  API secret    {}", key.client_secret));
        }
        if let Some((file, chain)) = &vault {
            let (vault, id) = (file.vault, file.chain);
            let served = chain.as_ref().or(file.url.as_ref());
            let served = served.map(String::as_str).unwrap_or_default();
            say.line(format!("  vault         {vault} on chain {id}, {served}"));
        }
        say.line(format!("  data          {}", arguments.data.display()));
        say.line("Ctrl-C stops it; the next start goes on from there.");
        say.object(&json!({
            "ready": true,
            "url": url,
            "client_id": key.map(|key| key.client_id.clone()),
            "client_secret": key.map(|key| key.client_secret.clone()),
            "clients": self.clients(),
            "vault": vault.as_ref().map(|(file, _)| file.vault),
            "chain": vault.and_then(|(file, chain)| chain.or(file.url)),
            "data": arguments.data,
        }));
    }

    /// Says when the mode has changed, and that it goes on by rule.
    fn say_mode(&self, last: &mut Mode, say: Say) {
        let first = self.services.first().map(Service::handle);
        let Some(mode) = first.and_then(|node| node.with_engine(|engine| engine.mode().mode))
        else {
            return;
        };
        if mode == *last {
            return;
        }
        *last = mode;
        say.line(match mode {
            Mode::Open => "The venue is open.".to_owned(),
            mode => format!("The venue is in {mode:?}: it reopens by rule, step by step."),
        });
    }

    fn say_how_it_is(&self, say: Say) {
        let Some(node) = self.services.first().map(Service::handle) else {
            return;
        };
        let status = node.status(TimeMs::new(wall_ms()));
        let counts = node.with_engine(|engine| (engine.trades(), engine.live_orders()));
        let (trades, orders) = counts.unwrap_or_default();
        say.line(format!(
            "Block {}: {:?}, {trades} trades, {orders} orders and quotes resting.",
            status.height, status.mode
        ));
    }

    /// Stops every validator; an error when one had stopped by itself.
    fn stop(self, say: Say) -> Result<()> {
        self.services.iter().for_each(Service::shutdown);
        let mut result = Ok(());
        for (index, service) in self.services.into_iter().enumerate() {
            match service.join() {
                Stop::Requested => {}
                stop => {
                    say.line(format!("Validator {index} stopped by itself."));
                    result = Err(anyhow::anyhow!("validator {index}: {stop}"));
                }
            }
        }
        result
    }
}

fn is_open(engine: &Engine) -> bool {
    engine.mode().mode == Mode::Open
}

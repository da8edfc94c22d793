//! `lifeboat node`: one validator as a process.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use lifeboat_engine::types::TimeMs;
use lifeboat_gateway::{ApiKeys, Running};
use lifeboat_node::config::NodeConfig;
use lifeboat_node::service::Service;
use lifeboat_node::shared::Stop;
use serde_json::json;

use crate::arguments::NodeArguments;
use crate::attest::{attest, voice};
use crate::development::{VenueFile, api_keys_path, wall_ms};
use crate::gateway::{can_listen, serve};
use crate::market::{Scene, observe};
use crate::opening::open_auctions;
use crate::publish::published;
use crate::relay::{Settled, relay};
use crate::say::Say;
use crate::settlement::RunningFile;
use crate::signals::asked_to_stop;
use crate::vault::OpenVault;
use crate::venue::NodeVenue;

/// How often readiness is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Runs a validator until it is asked to stop.
pub fn node(arguments: &NodeArguments) -> Result<()> {
    let say = Say::new(arguments.json);
    let config = NodeConfig::load(&arguments.config)?;
    let market = VenueFile::load(&config.folder)?;
    if let Some(listen) = arguments.gateway {
        can_listen(listen)?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(if arguments.gateway.is_some() { 2 } else { 1 })
        .enable_all()
        .build()?;
    let service = Service::spawn(config.clone()).map_err(anyhow::Error::new)?;
    say.line(format!(
        "Validator {} of {}: peers at {}, clients at {}.",
        config.index,
        config.committee.members.len(),
        config.listen(),
        config
            .ingress
            .map_or_else(|| "no address".to_owned(), |address| address.to_string()),
    ));
    runtime.block_on(async {
        tokio::spawn(published(config.clone(), service.watch()));
        let voice = voice(&config)?;
        let mut settled = None;
        if let Some(path) = &config.settlement {
            let vault = OpenVault::open(path).await?;
            let vault = vault.with_context(|| format!("there is no {}", path.display()))?;
            say.line(format!(
                "The vault is {} on chain {}.",
                vault.file.vault, vault.file.chain
            ));
            if vault.relays() {
                let publishes = config.publish.is_some();
                settled = Some(relay(&vault, service.watch(), publishes, config.index));
            }
            tokio::spawn(attest(vault, voice.clone(), service.watch()));
        }
        tokio::spawn(open_auctions(
            config.clone(),
            voice.clone(),
            service.watch(),
        ));
        match market {
            Some(file) => {
                let scene = Arc::new(Scene::of(&file)?);
                tokio::spawn(observe(config.clone(), scene, voice, service.watch()));
            }
            None => {
                say.line("No venue.toml beside the configuration: this validator observes nothing.")
            }
        }
        let gateway = match arguments.gateway {
            Some(listen) => Some(serve_beside(&config, listen, &service, settled).await?),
            None => None,
        };
        let url = gateway
            .as_ref()
            .map(|gateway| format!("http://{}", gateway.address));
        tokio::select! {
            () = until_stopped(&service, &config, url, say) => {}
            signal = asked_to_stop() => {
                signal.context("waiting for a signal")?;
                say.line("Stopping; everything finalized is kept.");
                if let Some(gateway) = gateway {
                    gateway.stop().await;
                }
                service.shutdown();
            }
        }
        anyhow::Ok(())
    })?;
    match service.join() {
        Stop::Requested => Ok(()),
        stop => bail!("{stop}"),
    }
}

/// Serves the API beside this validator, and says in its folder where.
async fn serve_beside(
    config: &NodeConfig,
    listen: SocketAddr,
    service: &Service,
    settled: Option<Settled>,
) -> Result<Running> {
    let path = api_keys_path(&config.folder);
    if !path.exists() {
        ApiKeys::default().save(&path)?;
    }
    let keys = ApiKeys::load(&path)?;
    let (beside, number) = (service.watch(), u16::try_from(config.index)?);
    let venue = NodeVenue::new(
        config.venue.genesis().chain,
        config.publish.is_some(),
        beside.clone(),
        vec![(number, beside)],
        settled,
    );
    let gateway = serve(&config.folder, (listen, number), venue, keys).await?;
    let running = RunningFile {
        gateway: Some(format!("http://{}", gateway.address)),
        number,
        chain: None,
        clients: config.ingress.into_iter().collect(),
    };
    running.save(&config.folder)?;
    Ok(gateway)
}

/// Says once that the node is ready, then waits until it stops by itself.
async fn until_stopped(service: &Service, config: &NodeConfig, url: Option<String>, say: Say) {
    let mut said = false;
    while !service.is_finished() {
        let status = service.handle().status(TimeMs::new(wall_ms()));
        if status.ready && status.height.get() > 0 && !said {
            said = true;
            say.line(format!("Ready at block {}.", status.height));
            if let Some(url) = &url {
                say.line(format!("  API and status page   {url}/"));
            }
            say.object(&json!({
                "ready": true,
                "validator": config.index,
                "height": status.height.get(),
                "root": status.root.to_string(),
                "clients": config.ingress,
                "url": url,
            }));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

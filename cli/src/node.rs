//! `lifeboat node`: one validator as a process.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use lifeboat_engine::types::TimeMs;
use lifeboat_node::config::NodeConfig;
use lifeboat_node::service::Service;
use lifeboat_node::shared::Stop;
use serde_json::json;

use crate::arguments::NodeArguments;
use crate::attest::{attest, voice};
use crate::development::{VenueFile, wall_ms};
use crate::market::{Scene, observe};
use crate::opening::open_auctions;
use crate::publish::published;
use crate::relay::relay;
use crate::say::Say;
use crate::signals::asked_to_stop;
use crate::vault::OpenVault;

/// How often readiness is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Runs a validator until it is asked to stop.
pub fn node(arguments: &NodeArguments) -> Result<()> {
    let say = Say::new(arguments.json);
    let config = NodeConfig::load(&arguments.config)?;
    let market = VenueFile::load(&config.folder)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
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
        if let Some(path) = &config.settlement {
            let vault = OpenVault::open(path).await?;
            let vault = vault.with_context(|| format!("there is no {}", path.display()))?;
            say.line(format!(
                "The vault is {} on chain {}.",
                vault.file.vault, vault.file.chain
            ));
            if vault.relays() {
                let publishes = config.publish.is_some();
                let _ = relay(&vault, service.watch(), publishes, config.index);
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
        tokio::select! {
            () = until_stopped(&service, &config, say) => {}
            signal = asked_to_stop() => {
                signal.context("waiting for a signal")?;
                say.line("Stopping; everything finalized is kept.");
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

/// Says once that the node is ready, then waits until it stops by itself.
async fn until_stopped(service: &Service, config: &NodeConfig, say: Say) {
    let mut said = false;
    while !service.is_finished() {
        let status = service.handle().status(TimeMs::new(wall_ms()));
        if status.ready && status.height.get() > 0 && !said {
            said = true;
            say.line(format!("Ready at block {}.", status.height));
            say.object(&json!({
                "ready": true,
                "validator": config.index,
                "height": status.height.get(),
                "root": status.root.to_string(),
                "clients": config.ingress,
            }));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

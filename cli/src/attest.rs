//! What a validator says of the vault, as long as its node runs.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use lifeboat_chain::{Known, VaultWatch};
use lifeboat_drill::market::{Feed, FeedSettings};
use lifeboat_engine::command::{Proposal, Report, VaultEvent};
use lifeboat_engine::types::{Mode, SettlementChain, ValidatorId};
use lifeboat_node::config::NodeConfig;
use lifeboat_node::handle::NodeHandle;

use crate::market::{CurrentNode, SOURCE_NOISE, is_live, read, send};
use crate::vault::OpenVault;

/// What was said and not taken in is said again after this.
const AGAIN: Duration = Duration::from_secs(10);

/// Signs everything that one validator says: nonces of one key are used in one order.
pub type Voice = Arc<Mutex<Feed>>;

/// A validator's voice.
pub fn voice(config: &NodeConfig) -> Result<Voice> {
    let genesis = config.venue.genesis();
    let first = genesis.parameters.underlyings.first();
    let settings = FeedSettings {
        seed: 0,
        validator: ValidatorId::new(u16::try_from(config.index)?),
        sources: first.map_or(0, |underlying| underlying.source_weights.len()),
        noise: SOURCE_NOISE,
    };
    let secret = config.secrets.command()?;
    let feed = Feed::new(settings, secret.into(), genesis.chain);
    Ok(Arc::new(Mutex::new(feed)))
}

/// Attests what happens to a vault as long as the validator runs.
pub async fn attest(vault: OpenVault, voice: Voice, mut current: CurrentNode) {
    loop {
        let node = current.borrow_and_update().clone();
        if let Some(node) = node
            && is_live(&node).await
        {
            attest_beside(&vault, &voice, &node).await;
        }
        if current.changed().await.is_err() {
            return;
        }
    }
}

async fn attest_beside(open: &OpenVault, voice: &Voice, node: &NodeHandle) {
    let Some(known) = known(node) else {
        return;
    };
    if let Some(now) = read(node, |engine| engine.time()) {
        voice
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .resume(now);
    }
    let mut watch = VaultWatch::new(open.vault.clone(), known.deposits, open.file.since);
    let (mut said, mut trouble) = (Vec::new(), None);
    loop {
        tokio::select! {
            _ = node.stopped() => return,
            () = tokio::time::sleep(open.look) => {}
        }
        let Some(known) = self::known(node) else {
            continue;
        };
        let looked = tokio::select! {
            _ = node.stopped() => return,
            looked = watch.look(&known) => looked,
        };
        match looked {
            Ok(events) => {
                trouble = None;
                said = say(open, voice, node, said, events);
            }
            Err(error) => {
                let error = error.to_string();
                if trouble.as_ref() != Some(&error) {
                    tracing::warn!("the vault cannot be watched: {error}");
                    trouble = Some(error);
                }
            }
        }
    }
}

/// What was said last of each kind, and when.
type Said = Vec<(VaultEvent, Instant)>;

/// Says what was not said lately; returns what was.
fn say(
    open: &OpenVault,
    voice: &Voice,
    node: &NodeHandle,
    said: Said,
    events: Vec<VaultEvent>,
) -> Said {
    let chain = SettlementChain::new(open.file.chain);
    let each = events.into_iter().map(|event| {
        let lately = said
            .iter()
            .find(|(before, at)| *before == event && at.elapsed() < AGAIN);
        let at = lately.map(|(_, at)| *at).unwrap_or_else(|| {
            let event = event.clone();
            let report = Report::Attest(Proposal::Vault { chain, event });
            let signed = voice
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .sign(report);
            send(node, vec![signed]);
            Instant::now()
        });
        (event, at)
    });
    each.collect()
}

/// What the engine has taken in; `None` for a venue without a vault.
fn known(node: &NodeHandle) -> Option<Known> {
    let known = read(node, |engine| {
        let over = engine.mode().mode == Mode::Exit;
        engine.vaults().first().map(|vault| Known::of(vault, over))
    });
    known.flatten()
}

//! A validator's part in opening auctions, as long as its node runs: block by block it says what
//! [`Opener`] has to say.

use std::sync::PoisonError;

use lifeboat_engine::types::ValidatorId;
use lifeboat_node::config::NodeConfig;
use lifeboat_node::handle::NodeHandle;
use lifeboat_node::opening::Opener;
use tokio::sync::broadcast::error::RecvError;

use crate::attest::Voice;
use crate::market::{CurrentNode, is_live, read, send};

/// Opens auctions with the other validators as long as the validator runs.
pub async fn open_auctions(config: NodeConfig, voice: Voice, mut current: CurrentNode) {
    let chain = config.venue.genesis().chain;
    let me = ValidatorId::new(u16::try_from(config.index).unwrap_or(u16::MAX));
    loop {
        let node = current.borrow_and_update().clone();
        if let Some(node) = node
            && is_live(&node).await
        {
            let mut opener = Opener::new(chain, &config.identity);
            open_beside(&mut opener, me, &voice, &node).await;
        }
        if current.changed().await.is_err() {
            return;
        }
    }
}

async fn open_beside(opener: &mut Opener, me: ValidatorId, voice: &Voice, node: &NodeHandle) {
    let voice = || voice.lock().unwrap_or_else(PoisonError::into_inner);
    let mut blocks = node.subscribe();
    if let Some(now) = read(node, |engine| engine.time()) {
        voice().resume(now);
    }
    loop {
        let said = read(node, |engine| opener.reports(engine, me)).unwrap_or_default();
        if !said.is_empty() {
            let mut voice = voice();
            let signed = said.into_iter().map(|report| voice.sign(report)).collect();
            drop(voice);
            send(node, signed);
        }
        let next = tokio::select! {
            _ = node.stopped() => return,
            next = blocks.recv() => next,
        };
        // The state says everything: what was missed on the way needs no reading.
        if matches!(next, Err(RecvError::Closed)) {
            return;
        }
    }
}

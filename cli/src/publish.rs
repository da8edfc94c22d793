//! Publishing finalized blocks outside the venue, and finding them there again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use async_trait::async_trait;
use lifeboat_da::{BlockSource, Entry, Publisher, PublisherConfig, SourceBlock, SourceError};
use lifeboat_engine::AgreedRoot;
use lifeboat_engine::types::{Height, TimeMs};
use lifeboat_node::config::NodeConfig;
use lifeboat_node::consensus::{Scheme, outward};
use lifeboat_node::journal::{Reader, Record};

use crate::development::wall_ms;
use crate::layer::open_layer;
use crate::market::CurrentNode;

/// A validator leaves blocks to those before it for so long, so that one publishes and the others
/// stand by.
const STAND_BY: Duration = Duration::from_millis(1_500);

/// Publishes what a validator finalizes, and says so if that cannot go on: the venue does.
pub async fn published(config: NodeConfig, node: CurrentNode) {
    let index = config.index;
    if let Err(error) = publish(config, node).await {
        tracing::error!(validator = index, "{error:#}");
    }
}

async fn publish(config: NodeConfig, mut node: CurrentNode) -> Result<()> {
    let Some(place) = &config.publish else {
        return Ok(());
    };
    let chain = config.venue.genesis().chain;
    let layer = open_layer(place, &config.folder, chain)?;
    let stand_by = STAND_BY * u32::try_from(config.index).unwrap_or(u32::MAX);
    node.wait_for(Option::is_some)
        .await
        .context("the validator stopped before it began")?;
    let source = Arc::new(LoggedBlocks {
        node: node.clone(),
        scheme: config.identity.verifier(&chain),
        stand_by_ms: stand_by.as_millis() as u64,
        reader: Mutex::new(None),
    });
    let publisher = Publisher::new(chain, layer, source, PublisherConfig::default());
    let mut progress = publisher.progress();
    let told = async {
        while progress.changed().await.is_ok() {
            let (published, connected) = {
                let progress = progress.borrow_and_update();
                (progress.published, progress.connected)
            };
            if let Some(node) = node.borrow().as_ref().filter(|_| connected) {
                node.note_published(published);
            }
        }
    };
    let (result, ()) = tokio::join!(publisher.run(|| TimeMs::new(wall_ms())), told);
    result.context("publishing stopped")
}

/// The blocks of a validator's log, newest from memory.
struct LoggedBlocks {
    node: CurrentNode,
    scheme: Scheme,
    stand_by_ms: u64,
    /// A reader of older blocks and the height it reads next.
    reader: Mutex<Option<(Height, Reader)>>,
}

impl LoggedBlocks {
    fn find(&self, height: Height) -> Result<Option<Record>, String> {
        let node = self.node.borrow().clone();
        let Some(node) = node else {
            return Ok(None);
        };
        if height > node.frontier_height() {
            return Ok(None);
        }
        if let Some(record) = node.recent(height) {
            return Ok(Some(record));
        }
        let mut held = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut next, mut reader) = match held.take() {
            Some((next, reader)) if next == height => (next, reader),
            _ => {
                let reader = node.log_from(height).map_err(|error| error.to_string())?;
                (Height::new(0), reader)
            }
        };
        while next <= height {
            let record = match reader.next() {
                Some(record) => record.map_err(|error| error.to_string())?,
                None => return Err("the log ends before it".to_owned()),
            };
            let found = record.block.header().height;
            next = found.next();
            if found == height {
                *held = Some((next, reader));
                return Ok(Some(record));
            }
        }
        Err("the log does not have it".to_owned())
    }

    /// With a certificate that convinces whoever knows the validators' key and nothing else of them; where a bad
    /// share is in it, with the one that the validators themselves go by.
    fn source_block(&self, record: &Record) -> SourceBlock {
        let header = record.block.header();
        let certificate = outward(header, record.certificate.clone(), &self.scheme);
        SourceBlock {
            entry: Entry {
                block: record.block.encoded(),
                certificate: certificate.map_or_else(|| record.certificate.clone(), Into::into),
            },
            time: header.time,
        }
    }
}

#[async_trait]
impl BlockSource for LoggedBlocks {
    async fn finalized(&self) -> Height {
        let node = self.node.borrow();
        node.as_ref()
            .map(|node| node.frontier_height())
            .unwrap_or_default()
    }

    async fn block(&self, height: Height) -> Result<Option<SourceBlock>, SourceError> {
        let found = self.find(height);
        let found = found.map_err(|reason| SourceError { height, reason })?;
        let ripe = |record: &Record| {
            let time = record.block.header().time;
            self.stand_by_ms == 0 || TimeMs::new(wall_ms()).since(time) >= self.stand_by_ms
        };
        let ripe = found.filter(ripe);
        Ok(ripe.as_ref().map(|record| self.source_block(record)))
    }

    async fn certified_root(&self) -> Option<AgreedRoot> {
        let node = self.node.borrow().clone()?;
        let record = node.recent(node.frontier_height())?;
        (!record.certificate.is_empty()).then(|| record.block.header().agreed())
    }
}

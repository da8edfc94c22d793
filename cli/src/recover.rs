//! `lifeboat recover`: a validator's data folder from what was published, on a bare machine.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use anyhow::{Context as _, Result, anyhow};
use lifeboat_da::{Layer, Reader, Start};
use lifeboat_engine::types::{ChainId, Height};
use lifeboat_node::config::NodeConfig;
use lifeboat_node::files::Disk;
use lifeboat_node::journal;
use lifeboat_node::recover::{Published, Rejoin, recover as rebuild};
use serde_json::json;
use tokio::sync::mpsc;

use crate::arguments::{RecoverArguments, RecoverSource};
use crate::layer::open_layer;
use crate::say::Say;

/// Blocks read ahead of their execution.
const AHEAD: usize = 256;

type Blocks = mpsc::Sender<Result<Published, String>>;

/// Rebuilds the data folder of the validator whose configuration is given.
pub fn recover(arguments: &RecoverArguments) -> Result<()> {
    let say = Say::new(arguments.json);
    let config = NodeConfig::load(&arguments.config)?;
    let (sender, published) = mpsc::channel(AHEAD);
    let reading = spawn_reader(&config, arguments, sender)?;
    let bar = say.bar(0, "executing published blocks");
    let rejoin = if arguments.new_epoch {
        Rejoin::NewEpoch
    } else {
        Rejoin::Follow
    };
    let until = arguments.until.map(Height::new);
    let started = std::time::Instant::now();
    let progress = bar.clone();
    let recovered = rebuild(&config, rejoin, until, published, move |height| {
        progress.set_position(height.get());
    });
    bar.finish_and_clear();
    let newest = reading
        .join()
        .map_err(|_| anyhow!("the reader of blocks panicked"))?;
    let recovered = recovered.with_context(|| {
        format!(
            "{} was not recovered; nothing is in its place",
            config.data.display()
        )
    })?;
    let seconds = started.elapsed().as_secs_f64();
    say.line(format!(
        "Recovered {} up to block {} in {seconds:.1} s: {} commands executed, {} certificates checked.",
        config.data.display(),
        recovered.height,
        recovered.commands,
        recovered.certificates
    ));
    say.line(format!("Root after it: {}", recovered.root));
    if recovered.uncertified > 0 {
        say.line(format!(
            "{} published blocks behind it carry no certificate and were left out.",
            recovered.uncertified
        ));
    }
    match rejoin {
        Rejoin::NewEpoch => say.line(format!(
            "Consensus begins epoch {} behind that block. Every validator must be recovered to this \
             same block before the venue runs; commands acknowledged after it are lost.",
            recovered.epoch
        )),
        Rejoin::Follow => say.line("It follows the venue and votes once that is safe."),
    }
    say.object(&json!({
        "recovered": true,
        "height": recovered.height.get(),
        "digest": recovered.digest.to_string(),
        "root": recovered.root.to_string(),
        "commands": recovered.commands,
        "certificates": recovered.certificates,
        "uncertified": recovered.uncertified,
        "epoch": recovered.epoch,
        "published": newest.get(),
        "seconds": seconds,
    }));
    Ok(())
}

/// Reads blocks on a thread of its own; it ends with the last height it saw.
fn spawn_reader(
    config: &NodeConfig,
    arguments: &RecoverArguments,
    blocks: Blocks,
) -> Result<thread::JoinHandle<Height>> {
    let chain = config.venue.genesis().chain;
    match arguments.from {
        RecoverSource::Da => {
            let place = arguments.place.clone().or_else(|| config.publish.clone());
            let place = place.context(
                "no place is known that blocks were published to: give --place, or set `publish` in \
                 node.toml",
            )?;
            let layer = open_layer(&place, &config.folder, chain)?;
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()?;
            Ok(thread::spawn(move || {
                runtime.block_on(read_layer(layer, chain, blocks))
            }))
        }
        RecoverSource::Folder => {
            let folder = arguments.place.clone().map(PathBuf::from);
            let folder =
                folder.context("give the data folder of another validator with --place")?;
            let disk = Disk::open(folder.join("state"))?;
            let reader = journal::Reader::open(Arc::new(disk), Height::new(0))?;
            Ok(thread::spawn(move || read_log(reader, &blocks)))
        }
    }
}

async fn read_layer(layer: Arc<dyn Layer>, chain: ChainId, blocks: Blocks) -> Height {
    let mut last = Height::default();
    let mut reader = Reader::new(layer, chain, Start::Genesis);
    loop {
        let batch = match reader.next().await {
            Ok(Some(batch)) => batch,
            Ok(None) => return last,
            Err(error) => {
                // Nobody listening is no error: the recovery ended before.
                let _ = blocks.send(Err(error.to_string())).await;
                return last;
            }
        };
        for (height, entry) in batch.blocks() {
            let published = Published {
                height,
                block: entry.block.clone(),
                certificate: entry.certificate.clone(),
            };
            if blocks.send(Ok(published)).await.is_err() {
                return last;
            }
            last = height;
        }
    }
}

fn read_log(reader: journal::Reader, blocks: &Blocks) -> Height {
    let mut last = Height::default();
    for record in reader {
        let found = match record {
            Ok(record) => {
                let height = record.block.header().height;
                last = height;
                Ok(Published {
                    height,
                    block: record.block.encoded(),
                    certificate: record.certificate,
                })
            }
            // A crash tears the tail: what is before it counts.
            Err(journal::JournalError::Torn { .. }) => return last,
            Err(error) => Err(error.to_string()),
        };
        if blocks.blocking_send(found).is_err() {
            return last;
        }
    }
    last
}

//! `lifeboat recover`: a validator's data folder from what was published, from another folder or from
//! its peers, on a bare machine.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, anyhow, bail};
use lifeboat_da::{Layer, Reader, Start};
use lifeboat_engine::types::{ChainId, Height};
use lifeboat_node::config::NodeConfig;
use lifeboat_node::files::Disk;
use lifeboat_node::journal;
use lifeboat_node::recover::{Published, RecoverError, Rejoin, adopt_snapshot, recover as rebuild};
use lifeboat_node::service::Service;
use lifeboat_node::shared::{Stop, millis};
use serde_json::json;
use tokio::sync::mpsc;

use crate::arguments::{RecoverArguments, RecoverSource};
use crate::layer::open_layer;
use crate::say::Say;

/// Blocks read ahead of their execution.
pub const AHEAD: usize = 256;
/// How often a follower's progress is looked at.
const PEERS_LOOK: Duration = Duration::from_millis(200);
/// A follower this near to the tip is there.
const PEERS_NEAR: u64 = 16;

/// Where a reader leaves blocks.
pub type Blocks = mpsc::Sender<Result<Published, String>>;

/// Rebuilds the data folder of the validator whose configuration is given.
pub fn recover(arguments: &RecoverArguments) -> Result<()> {
    let say = Say::new(arguments.json);
    let config = NodeConfig::load(&arguments.config)?;
    let by_blocks = matches!(arguments.from, RecoverSource::Da | RecoverSource::Folder);
    if !by_blocks && (arguments.new_epoch || arguments.until.is_some()) {
        bail!("--new-epoch and --until are for recoveries from blocks: --from da or --from folder");
    }
    match arguments.from {
        RecoverSource::Da | RecoverSource::Folder => from_blocks(arguments, &config, say),
        RecoverSource::Peers => from_peers(config, say),
        RecoverSource::Snapshot => from_snapshot(arguments, &config, say),
    }
}

fn from_snapshot(arguments: &RecoverArguments, config: &NodeConfig, say: Say) -> Result<()> {
    let place = arguments.place.as_deref();
    let place = place.context("give the folder that holds the snapshot with --place")?;
    let bar = say.bar(0, "chunks of the state");
    let adopted = adopt_snapshot(config, Path::new(place), |done, all| {
        bar.set_length(all);
        bar.set_position(done);
    });
    bar.finish_and_clear();
    let at = adopted.with_context(|| not_recovered(config))?;
    say.line(format!(
        "{} holds the state after block {}, which the validators certified. Root: {}",
        config.data.display(),
        at.height,
        at.root
    ));
    say.line("Start the node: it follows the venue from there and votes once that is safe.");
    say.object(&json!({
        "recovered": true,
        "height": at.height.get(),
        "digest": at.digest.to_string(),
        "root": at.root.to_string(),
    }));
    Ok(())
}

/// Runs the validator as a follower until it is at the tip.
fn from_peers(config: NodeConfig, say: Say) -> Result<()> {
    let data = config.data.clone();
    let occupied = std::fs::read_dir(&data).is_ok_and(|mut entries| entries.next().is_some());
    if occupied {
        bail!(RecoverError::NotEmpty(data));
    }
    let started = Instant::now();
    let bar = say.bar(0, "following the venue");
    let service = Service::spawn(config)?;
    let status = loop {
        thread::sleep(PEERS_LOOK);
        if service.is_finished() {
            bail!(service.join());
        }
        let status = service.handle().status(millis(SystemTime::now()));
        bar.set_length(status.finalized_height.get());
        bar.set_position(status.height.get());
        let near = status.height.get() + PEERS_NEAR >= status.finalized_height.get();
        if status.peers > 0 && status.height.get() > 0 && near {
            break status;
        }
    };
    bar.finish_and_clear();
    service.shutdown();
    let stop = service.join();
    if stop != Stop::Requested {
        bail!(stop);
    }
    let seconds = started.elapsed().as_secs_f64();
    say.line(format!(
        "{} follows the venue and was at block {} after {seconds:.1} s. Root after it: {}",
        data.display(),
        status.height,
        status.root
    ));
    say.line("Start the node: it votes once that is safe.");
    say.object(&json!({
        "recovered": true,
        "height": status.height.get(),
        "root": status.root.to_string(),
        "seconds": seconds,
    }));
    Ok(())
}

fn not_recovered(config: &NodeConfig) -> String {
    let data = config.data.display();
    format!("{data} was not recovered; nothing is in its place")
}

/// Executes published blocks from the first on.
fn from_blocks(arguments: &RecoverArguments, config: &NodeConfig, say: Say) -> Result<()> {
    let (sender, published) = mpsc::channel(AHEAD);
    let reading = spawn_reader(config, arguments, sender)?;
    let bar = say.bar(0, "executing published blocks");
    let rejoin = if arguments.new_epoch {
        Rejoin::NewEpoch
    } else {
        Rejoin::Follow
    };
    let until = arguments.until.map(Height::new);
    let started = Instant::now();
    let progress = bar.clone();
    let recovered = rebuild(config, rejoin, until, published, move |height| {
        progress.set_position(height.get());
    });
    bar.finish_and_clear();
    let newest = reading
        .join()
        .map_err(|_| anyhow!("the reader of blocks panicked"))?;
    let recovered = recovered.with_context(|| not_recovered(config))?;
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
            read_published(&place, &config.folder, chain, blocks)
        }
        _ => {
            let folder = arguments.place.clone().map(PathBuf::from);
            let folder =
                folder.context("give the data folder of another validator with --place")?;
            let disk = Disk::open(folder.join("state"))?;
            let reader = journal::Reader::open(Arc::new(disk), Height::new(0))?;
            Ok(thread::spawn(move || read_log(reader, &blocks)))
        }
    }
}

/// Reads the blocks that were published at `place`; relative paths are taken from `base`.
pub fn read_published(
    place: &str,
    base: &Path,
    chain: ChainId,
    blocks: Blocks,
) -> Result<thread::JoinHandle<Height>> {
    let layer = open_layer(place, base, chain)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    Ok(thread::spawn(move || {
        runtime.block_on(read_layer(layer, chain, blocks))
    }))
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

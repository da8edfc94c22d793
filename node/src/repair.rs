//! What a node does about damage in consensus's store of final blocks.
//!
//! **Owns** the look at every stored block and certificate, and setting a damaged store aside. The
//! store is a copy: the node's own log and snapshots are elsewhere and stay, its votes too, and peers
//! have the blocks. **Never** deletes anything, and never goes on with what it could not read.

use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use commonware_runtime::{Runner as _, tokio as runtime};
use commonware_storage::archive::{Archive, Identifier};

use crate::config::NodeConfig;
use crate::consensus::{open_archives, page_cache};
use crate::files::Disk;
use crate::machine::Blueprint as _;
use crate::snapshot;

/// What the store of final blocks is made of, by the beginnings of the names of its parts.
const PARTS: [&str; 3] = ["blocks-", "finalizations-", "marshal"];

/// Whether everything in the store of final blocks can be read.
fn is_whole(config: &NodeConfig) -> bool {
    let folder = config.data.join("consensus");
    let runner = runtime::Runner::new(runtime::Config::new().with_storage_directory(folder));
    let reads = AssertUnwindSafe(|| {
        runner.start(|context| async move {
            let (certificates, blocks) = open_archives(&context, "", page_cache()).await;
            reads_through(&certificates).await && reads_through(&blocks).await
        })
    });
    // A store that does not even open panics.
    catch_unwind(reads).unwrap_or(false)
}

async fn reads_through<A: Archive>(archive: &A) -> bool {
    let ranges: Vec<(u64, u64)> = archive.ranges().collect();
    for (first, last) in ranges {
        for index in first..=last {
            if !matches!(archive.get(Identifier::Index(index)).await, Ok(Some(_))) {
                return false;
            }
        }
    }
    true
}

/// What is known of the store of final blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suspicion {
    /// The node broke down for a reason that may lie in it.
    Possible,
    /// It lacks a block that it had: it cuts off what it cannot read when it opens.
    Certain,
}

/// Sets the store of final blocks aside if it is damaged; the node will fetch blocks from its peers
/// anew, from its newest certified snapshot on. Returns where the damaged store went; `None` if it is
/// whole.
///
/// # Errors
/// When the disk fails.
pub fn repair(config: &NodeConfig, suspicion: Suspicion) -> io::Result<Option<PathBuf>> {
    let store = config.data.join("consensus");
    let is_damaged = || suspicion == Suspicion::Certain || !is_whole(config);
    if !store.exists() || !is_damaged() {
        return Ok(None);
    }
    let aside = free_name(&config.data);
    fs::create_dir_all(&aside)?;
    let state = Disk::open(config.data.join("state"))?;
    // First where to go on from: without its store the node would otherwise begin at genesis.
    if let Some(newest) = snapshot::newest_certified(&state, config.venue.chain())? {
        snapshot::begin_at(&state, newest.frontier().height)?;
    }
    for entry in fs::read_dir(&store)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_part = name
            .to_str()
            .is_some_and(|name| PARTS.iter().any(|part| name.starts_with(part)));
        if is_part {
            fs::rename(entry.path(), aside.join(&name))?;
        }
    }
    Ok(Some(aside))
}

fn free_name(data: &Path) -> PathBuf {
    let numbered = (1u32..).map(|number| data.join(format!("consensus-damaged-{number}")));
    let mut free = numbered.filter(|path| !path.exists());
    free.next()
        .unwrap_or_else(|| data.join("consensus-damaged"))
}

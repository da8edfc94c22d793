//! Batches as files in a folder: for one machine, a mounted share, or a disk that leaves the room.
//!
//! **Owns** the folder's layout: `SHARD/FIRST.batch`, both zero-padded decimals, where a shard holds
//! the batches that begin in one run of [`SHARD_BLOCKS`] heights. **Never** lets a reader see half a
//! file: a batch is written aside, synced, and linked into place, which also fails if another batch
//! is there already.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use bytes::Bytes;
use lifeboat_engine::types::Height;

use crate::batch::Batch;
use crate::layer::{Layer, LayerError, Receipt};
use crate::limits::BATCH_BYTES_MAX;

/// Heights in one shard: an hour or two at the usual pace, so that no folder grows past some
/// thousand files.
pub const SHARD_BLOCKS: u64 = 1 << 16;
/// What a batch's file ends in.
const SUFFIX: &str = ".batch";
/// A folder of batches.
#[derive(Clone, Debug)]
pub struct Folder {
    root: PathBuf,
}

impl Folder {
    /// The layer in `root`, which is created when the first batch is published.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    fn shard(&self, shard: u64) -> PathBuf {
        self.root.join(format!("{shard:015}"))
    }

    fn path(&self, first: Height) -> PathBuf {
        let name = format!("{:020}{SUFFIX}", first.get());
        self.shard(first.get() / SHARD_BLOCKS).join(name)
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, LayerError> + Send + 'static,
    ) -> Result<T, LayerError> {
        let folder = self.clone();
        let task = tokio::task::spawn_blocking(move || work(&folder));
        let stopped = |_| LayerError::Transient("the runtime is stopping".into());
        task.await.map_err(stopped)?
    }

    fn write(&self, first: Height, bytes: &[u8]) -> Result<PathBuf, LayerError> {
        let path = self.path(first);
        let shard = self.shard(first.get() / SHARD_BLOCKS);
        if !shard.is_dir() {
            fs::create_dir_all(&shard).map_err(|error| failed(&shard, &error))?;
            sync_folder(&self.root)?;
        }
        let aside = written_aside(&shard, bytes).map_err(|error| failed(&shard, &error))?;
        match aside.persist_noclobber(&path) {
            Ok(_) => {}
            Err(refused) if refused.error.kind() == ErrorKind::AlreadyExists => {
                if self.read(first)?.as_deref() != Some(bytes) {
                    return Err(LayerError::Conflict(first));
                }
            }
            Err(refused) => return Err(failed(&path, &refused.error)),
        }
        sync_folder(&shard)?;
        Ok(path)
    }

    fn read(&self, first: Height) -> Result<Option<Bytes>, LayerError> {
        let path = self.path(first);
        let length = match fs::metadata(&path) {
            Ok(found) => found.len(),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(&path, &error)),
        };
        if length > BATCH_BYTES_MAX as u64 {
            let what = format!("{} has {length} bytes; no batch has", path.display());
            return Err(LayerError::Corrupt(what));
        }
        let bytes = fs::read(&path).map_err(|error| failed(&path, &error))?;
        Ok(Some(bytes.into()))
    }

    /// The numbers of the shards that exist, ascending.
    fn shards(&self) -> Result<Vec<u64>, LayerError> {
        numbers(&self.root, "")
    }

    /// First heights of the batches in a shard, ascending.
    fn firsts(&self, shard: u64) -> Result<Vec<u64>, LayerError> {
        numbers(&self.shard(shard), SUFFIX)
    }

    fn list_from(&self, from: Height, limit: usize) -> Result<Vec<Height>, LayerError> {
        let from = from.get();
        let shards = self.shards()?;
        let mut found = Vec::new();
        // The batch that holds `from` begins in its shard or in the nearest one before.
        let after = shards.partition_point(|shard| *shard <= from / SHARD_BLOCKS);
        for shard in shards[..after].iter().rev() {
            let firsts = self.firsts(*shard)?;
            let behind = firsts.partition_point(|first| *first <= from);
            if behind > 0 {
                found.splice(..0, firsts[behind - 1..].iter().copied());
                break;
            }
            found.splice(..0, firsts);
        }
        for shard in &shards[after..] {
            if found.len() >= limit {
                break;
            }
            found.extend(self.firsts(*shard)?);
        }
        found.truncate(limit);
        Ok(found.into_iter().map(Height::new).collect())
    }

    fn newest_first(&self) -> Result<Option<Height>, LayerError> {
        for shard in self.shards()?.iter().rev() {
            if let Some(first) = self.firsts(*shard)?.last() {
                return Ok(Some(Height::new(*first)));
            }
        }
        Ok(None)
    }
}

#[async_trait]
impl Layer for Folder {
    fn name(&self) -> String {
        format!("folder {}", self.root.display())
    }

    async fn publish(&self, batch: &Batch) -> Result<Receipt, LayerError> {
        let (first, bytes) = (batch.header().first, batch.encoded().clone());
        let path = self.run(move |folder| folder.write(first, &bytes)).await?;
        Ok(Receipt {
            published: batch.header().last,
            digest: batch.digest(),
            location: path.display().to_string(),
        })
    }

    async fn list(&self, from: Height, limit: usize) -> Result<Vec<Height>, LayerError> {
        self.run(move |folder| folder.list_from(from, limit)).await
    }

    async fn fetch(&self, first: Height) -> Result<Option<Bytes>, LayerError> {
        self.run(move |folder| folder.read(first)).await
    }

    async fn newest(&self) -> Result<Option<Height>, LayerError> {
        self.run(Self::newest_first).await
    }
}

/// The numbers that file names in `folder` begin with and `suffix` ends, ascending.
fn numbers(folder: &Path, suffix: &str) -> Result<Vec<u64>, LayerError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(folder, &error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let name = entry.map_err(|error| failed(folder, &error))?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(suffix));
        found.extend(number.and_then(|number| number.parse::<u64>().ok()));
    }
    found.sort_unstable();
    Ok(found)
}

/// A synced file beside its place, removed again unless it is put there.
fn written_aside(folder: &Path, bytes: &[u8]) -> std::io::Result<tempfile::NamedTempFile> {
    let mut file = tempfile::Builder::new()
        .prefix(".writing-")
        // An auditor with another user id reads it too, where the folder lets it.
        .permissions(fs::Permissions::from_mode(0o644))
        .tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    Ok(file)
}

fn sync_folder(folder: &Path) -> Result<(), LayerError> {
    let sync = || File::open(folder)?.sync_all();
    sync().map_err(|error| failed(folder, &error))
}

/// A full disk or a lost mount may come back; a refusal does not by itself.
fn failed(path: &Path, error: &std::io::Error) -> LayerError {
    let what = format!("{}: {error}", path.display());
    match error.kind() {
        ErrorKind::PermissionDenied
        | ErrorKind::ReadOnlyFilesystem
        | ErrorKind::NotADirectory
        | ErrorKind::Unsupported => LayerError::Permanent(what),
        _ => LayerError::Transient(what),
    }
}

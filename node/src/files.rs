//! The files a node keeps beside consensus's own storage: snapshots, block log, markers.
//!
//! **Owns** one flat folder with atomic replacement and synced appends. A trait because it is a true
//! edge: a disk in production, memory that forgets what was not synced in simulations. **Never**
//! interprets contents.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::sabotage::{self, Mutant};

/// A flat folder of named files.
pub trait Files: std::fmt::Debug + Send + Sync + 'static {
    /// The names of all files.
    ///
    /// # Errors
    /// When the folder cannot be read.
    fn list(&self) -> io::Result<Vec<String>>;

    /// A file's length; `None` if there is none.
    ///
    /// # Errors
    /// When the file cannot be read.
    fn len(&self, name: &str) -> io::Result<Option<u64>>;

    /// At most `len` bytes from `offset`; fewer at the file's end.
    ///
    /// # Errors
    /// When the file cannot be read.
    fn read_at(&self, name: &str, offset: u64, len: usize) -> io::Result<Vec<u8>>;

    /// Replaces a file so that after a crash it has either its old contents or these. Durable on
    /// return.
    ///
    /// # Errors
    /// When the file cannot be written; the old one is kept.
    fn replace(&self, name: &str, contents: &[u8]) -> io::Result<()>;

    /// Appends; durable only after [`Files::sync`].
    ///
    /// # Errors
    /// When the file cannot be written; a part may have been.
    fn append(&self, name: &str, bytes: &[u8]) -> io::Result<()>;

    /// Makes a file's contents durable.
    ///
    /// # Errors
    /// When the disk refuses.
    fn sync(&self, name: &str) -> io::Result<()>;

    /// Makes durable what was appended so far, of a file that grows. That the file is there is durable only
    /// after [`Files::sync`], or after another file of the folder was replaced.
    ///
    /// # Errors
    /// When the disk refuses.
    fn sync_contents(&self, name: &str) -> io::Result<()> {
        self.sync(name)
    }

    /// Cuts a file to `len` bytes. Durable on return.
    ///
    /// # Errors
    /// When the file cannot be written.
    fn truncate(&self, name: &str, len: u64) -> io::Result<()>;

    /// Gives a file another name, replacing what had it. Durable on return.
    ///
    /// # Errors
    /// When the file does not exist or the folder cannot be written.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file; no error if there is none. Durable on return.
    ///
    /// # Errors
    /// When the folder cannot be written.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// A whole file; `None` if there is none.
    ///
    /// # Errors
    /// When the file cannot be read.
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        match self.len(name)? {
            Some(len) => self.read_at(name, 0, len as usize).map(Some),
            None => Ok(None),
        }
    }
}

/// A folder on disk.
#[derive(Clone, Debug)]
pub struct Disk {
    root: PathBuf,
}

impl Disk {
    /// Opens a folder, making it if need be.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn open(root: impl Into<PathBuf>) -> io::Result<Self> {
        let root = root.into();
        fs::create_dir_all(&root)?;
        Ok(Self { root })
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn sync_folder(&self) -> io::Result<()> {
        fs::File::open(&self.root)?.sync_all()
    }
}

fn missing_is_none<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

impl Files for Disk {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.root)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                names.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    fn len(&self, name: &str) -> io::Result<Option<u64>> {
        Ok(missing_is_none(fs::metadata(self.root.join(name)))?.map(|meta| meta.len()))
    }

    fn read_at(&self, name: &str, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let mut file = fs::File::open(self.root.join(name))?;
        file.seek(SeekFrom::Start(offset))?;
        let mut out = Vec::new();
        file.take(len as u64).read_to_end(&mut out)?;
        Ok(out)
    }

    fn replace(&self, name: &str, contents: &[u8]) -> io::Result<()> {
        let temporary = self.root.join(format!("{name}.tmp"));
        let mut file = fs::File::create(&temporary)?;
        file.write_all(contents)?;
        file.sync_all()?;
        fs::rename(&temporary, self.root.join(name))?;
        self.sync_folder()
    }

    fn append(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.root.join(name);
        let mut file = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)?;
        file.write_all(bytes)
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        fs::File::open(self.root.join(name))?.sync_all()?;
        self.sync_folder()
    }

    fn sync_contents(&self, name: &str) -> io::Result<()> {
        fs::File::open(self.root.join(name))?.sync_data()
    }

    fn truncate(&self, name: &str, len: u64) -> io::Result<()> {
        let path = self.root.join(name);
        let file = fs::OpenOptions::new().write(true).open(path)?;
        file.set_len(len)?;
        file.sync_all()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.root.join(from), self.root.join(to))?;
        self.sync_folder()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        if missing_is_none(fs::remove_file(self.root.join(name)))?.is_some() {
            self.sync_folder()?;
        }
        Ok(())
    }
}

/// One file in memory: contents and how much of it is durable.
#[derive(Clone, Debug, Default)]
struct Held {
    bytes: Vec<u8>,
    durable: usize,
    /// What a power cut brings back: the file before it was replaced without a sync.
    loose: Option<Option<Vec<u8>>>,
}

/// A folder in memory, for simulations. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    files: Arc<Mutex<BTreeMap<String, Held>>>,
}

impl Memory {
    fn with<R>(&self, f: impl FnOnce(&mut BTreeMap<String, Held>) -> R) -> R {
        f(&mut self.files.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What a power cut leaves: of the bytes that were not synced, only the first `kept_ppm`
    /// millionths of each file.
    pub fn crash(&self, kept_ppm: u32) {
        self.with(|files| {
            files.retain(|_, held| match held.loose.take() {
                None => true,
                Some(None) => false,
                Some(Some(before)) => {
                    held.durable = before.len();
                    held.bytes = before;
                    true
                }
            });
            for held in files.values_mut() {
                let loose = held.bytes.len() - held.durable;
                let kept = (loose as u64 * u64::from(kept_ppm.min(1_000_000)) / 1_000_000) as usize;
                held.bytes.truncate(held.durable + kept);
                held.durable = held.bytes.len();
            }
        });
    }

    /// Changes a file behind everybody's back, as a failing disk does.
    pub fn damage(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        self.with(|files| {
            if let Some(held) = files.get_mut(name) {
                change(&mut held.bytes);
                held.durable = held.durable.min(held.bytes.len());
            }
        });
    }

    /// Forgets everything.
    pub fn wipe(&self) {
        self.with(BTreeMap::clear);
    }
}

impl Files for Memory {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.with(|files| files.keys().cloned().collect()))
    }

    fn len(&self, name: &str) -> io::Result<Option<u64>> {
        Ok(self.with(|files| files.get(name).map(|held| held.bytes.len() as u64)))
    }

    fn read_at(&self, name: &str, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        self.with(|files| {
            let held = files.get(name).ok_or(io::ErrorKind::NotFound)?;
            let start = (offset as usize).min(held.bytes.len());
            let end = start.saturating_add(len).min(held.bytes.len());
            Ok(held.bytes[start..end].to_vec())
        })
    }

    fn replace(&self, name: &str, contents: &[u8]) -> io::Result<()> {
        self.with(|files| {
            let before = files.remove(name).map(|held| held.bytes);
            let held = Held {
                bytes: contents.to_vec(),
                durable: contents.len(),
                loose: sabotage::is(Mutant::SkippedSync).then_some(before),
            };
            files.insert(name.to_owned(), held);
        });
        Ok(())
    }

    fn append(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.with(|files| {
            let held = files.entry(name.to_owned()).or_default();
            held.bytes.extend_from_slice(bytes);
        });
        Ok(())
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        self.with(|files| {
            let held = files.get_mut(name).ok_or(io::ErrorKind::NotFound)?;
            held.durable = held.bytes.len();
            Ok(())
        })
    }

    fn truncate(&self, name: &str, len: u64) -> io::Result<()> {
        self.with(|files| {
            let held = files.get_mut(name).ok_or(io::ErrorKind::NotFound)?;
            held.bytes.truncate(len as usize);
            held.durable = held.bytes.len();
            Ok(())
        })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.with(|files| {
            let held = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
            files.insert(to.to_owned(), held);
            Ok(())
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.with(|files| files.remove(name));
        Ok(())
    }
}

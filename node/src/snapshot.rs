//! Snapshots of the state, so that a restart replays little and a new node fetches little.
//!
//! **Owns** the files of a snapshot: `snapshot-<height>.state`, the state as the engine writes it, and
//! `snapshot-<height>.manifest`, which names its chunks by digest and the finalized header that its
//! root was certified in. The manifest comes last, so a crash leaves the snapshots before. **Never**
//! hands out a byte of a chunk before the chunk's digest holds, and never misreads another version:
//! one that does not verify is reported and skipped.

use std::io::{self, Read, Write};

use borsh::{BorshDeserialize, BorshSerialize};
use commonware_cryptography::{Blake3, Hasher as _};
use lifeboat_engine::types::{ChainId, Digest, Height, Mode, TimeMs};

use crate::block::keccak256;
use crate::files::Files;
use crate::shared::Frontier;

/// Bytes of a chunk; the last one may be shorter.
pub const CHUNK_BYTES: usize = 1 << 20;
/// Chunks of a snapshot at most: 64 GiB of state.
const CHUNKS_MAX: usize = 1 << 16;
const MAGIC: [u8; 8] = *b"LBSNAP\0\x02";
const KEPT: usize = 2;
const MANIFEST: &str = "manifest";
const STATE: &str = "state";

/// A finalized block's header that states the snapshot's root, and the block's certificate.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Certified {
    /// The header, encoded.
    pub header: Vec<u8>,
    /// The certificate, encoded.
    pub certificate: Vec<u8>,
}

/// What a snapshot is and what its chunks must be.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Manifest {
    magic: [u8; 8],
    chain: ChainId,
    height: Height,
    time: TimeMs,
    digest: Digest,
    root: Digest,
    mode: Mode,
    /// Roots of the heights before it.
    pub roots: Vec<(Height, Digest)>,
    /// Bytes of the state.
    pub state_len: u64,
    /// BLAKE3 of each chunk of [`CHUNK_BYTES`].
    pub chunks: Vec<Digest>,
    /// Who says that this is the root; `None` while nobody does yet.
    pub certified: Option<Certified>,
}

impl Manifest {
    /// The block after which it was taken.
    pub fn frontier(&self) -> Frontier {
        Frontier {
            height: self.height,
            time: self.time,
            digest: self.digest,
            root: self.root,
            mode: self.mode,
        }
    }

    /// Reads a manifest of this venue.
    ///
    /// # Errors
    /// What is wrong with it, for a person.
    pub fn parse(chain: ChainId, bytes: &[u8]) -> Result<Self, &'static str> {
        let body = bytes.len().checked_sub(32).ok_or("it is cut short")?;
        let (body, check) = bytes.split_at(body);
        if body.len() < MAGIC.len() || body[..6] != MAGIC[..6] {
            return Err("it is not a snapshot's manifest");
        }
        if body[..MAGIC.len()] != MAGIC {
            return Err("another version wrote it; this one takes its own snapshot anew");
        }
        if keccak256(&[body]).0 != check {
            return Err("its manifest is damaged");
        }
        let manifest: Self = borsh::from_slice(body).map_err(|_| "its manifest does not decode")?;
        if manifest.chain != chain {
            return Err("it belongs to another venue");
        }
        let chunks = manifest.state_len.div_ceil(CHUNK_BYTES as u64);
        if manifest.chunks.len() as u64 != chunks || manifest.chunks.len() > CHUNKS_MAX {
            return Err("its chunks do not make up its state");
        }
        Ok(manifest)
    }

    fn encode(&self) -> io::Result<Vec<u8>> {
        let mut bytes = borsh::to_vec(self)?;
        let check = keccak256(&[&bytes]);
        bytes.extend_from_slice(&check.0);
        Ok(bytes)
    }
}

fn name(height: u64, kind: &str) -> String {
    format!("snapshot-{height:020}.{kind}")
}

fn chunk_digest(bytes: &[u8]) -> Digest {
    Digest(Blake3::hash(&[bytes]).0)
}

fn heights(files: &dyn Files, kind: &str) -> io::Result<Vec<u64>> {
    let mut heights: Vec<u64> = files
        .list()?
        .iter()
        .filter_map(|name| {
            let name = name.strip_prefix("snapshot-")?.strip_suffix(kind)?;
            name.strip_suffix('.')?.parse().ok()
        })
        .collect();
    heights.sort_unstable();
    Ok(heights)
}

/// Writes the state of one snapshot, chunk by chunk.
pub struct Writer<'a> {
    files: &'a dyn Files,
    height: Height,
    chunk: Vec<u8>,
    chunks: Vec<Digest>,
    state_len: u64,
}

impl<'a> Writer<'a> {
    /// Begins a snapshot; what an earlier attempt at this height left is removed.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn begin(files: &'a dyn Files, height: Height) -> io::Result<Self> {
        files.remove(&name(height.get(), MANIFEST))?;
        files.remove(&name(height.get(), STATE))?;
        Ok(Self {
            files,
            height,
            chunk: Vec::with_capacity(CHUNK_BYTES),
            chunks: Vec::new(),
            state_len: 0,
        })
    }

    fn put_chunk(&mut self) -> io::Result<()> {
        if !self.chunk.is_empty() {
            self.chunks.push(chunk_digest(&self.chunk));
            self.state_len += self.chunk.len() as u64;
            self.files
                .append(&name(self.height.get(), STATE), &self.chunk)?;
            self.chunk.clear();
        }
        Ok(())
    }

    /// Ends the snapshot: makes it durable, then known, and removes all but the newest few.
    ///
    /// # Errors
    /// When the disk fails; earlier snapshots are kept.
    pub fn finish(
        mut self,
        chain: ChainId,
        frontier: Frontier,
        roots: Vec<(Height, Digest)>,
        certified: Option<Certified>,
    ) -> io::Result<Manifest> {
        self.put_chunk()?;
        let height = self.height.get();
        if self.state_len > 0 {
            self.files.sync(&name(height, STATE))?;
        }
        let manifest = Manifest {
            magic: MAGIC,
            chain,
            height: frontier.height,
            time: frontier.time,
            digest: frontier.digest,
            root: frontier.root,
            mode: frontier.mode,
            roots,
            state_len: self.state_len,
            chunks: self.chunks,
            certified,
        };
        self.files
            .replace(&name(height, MANIFEST), &manifest.encode()?)?;
        retain_newest(self.files)?;
        Ok(manifest)
    }
}

impl Write for Writer<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = CHUNK_BYTES - self.chunk.len();
        let taken = bytes.len().min(room);
        self.chunk.extend_from_slice(&bytes[..taken]);
        if self.chunk.len() == CHUNK_BYTES {
            self.put_chunk()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn retain_newest(files: &dyn Files) -> io::Result<()> {
    let known = heights(files, MANIFEST)?;
    let oldest = known
        .len()
        .checked_sub(KEPT)
        .map_or(0, |place| known[place]);
    for height in &known {
        if *height < oldest {
            files.remove(&name(*height, MANIFEST))?;
        }
    }
    // States without a manifest are what a crash left.
    for height in heights(files, STATE)? {
        if height < oldest {
            files.remove(&name(height, STATE))?;
        }
    }
    Ok(())
}

/// Reads a snapshot's state; each chunk is checked before any of it is handed out.
pub struct StateReader<'a> {
    files: &'a dyn Files,
    manifest: &'a Manifest,
    next: usize,
    chunk: Vec<u8>,
    taken: usize,
}

impl<'a> StateReader<'a> {
    /// A reader from the state's beginning.
    pub fn new(files: &'a dyn Files, manifest: &'a Manifest) -> Self {
        Self {
            files,
            manifest,
            next: 0,
            chunk: Vec::new(),
            taken: 0,
        }
    }

    fn fetch(&mut self) -> io::Result<()> {
        let Some(digest) = self.manifest.chunks.get(self.next) else {
            return Ok(());
        };
        let offset = self.next as u64 * CHUNK_BYTES as u64;
        let len = (self.manifest.state_len - offset).min(CHUNK_BYTES as u64);
        let state = name(self.manifest.height.get(), STATE);
        let chunk = self.files.read_at(&state, offset, len as usize)?;
        if chunk.len() as u64 != len || chunk_digest(&chunk) != *digest {
            let what = format!("chunk {} of its state is damaged", self.next);
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        (self.chunk, self.taken) = (chunk, 0);
        self.next += 1;
        Ok(())
    }
}

impl Read for StateReader<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.taken == self.chunk.len() {
            self.chunk.clear();
            self.taken = 0;
            self.fetch()?;
        }
        let rest = &self.chunk[self.taken..];
        let count = rest.len().min(out.len());
        out[..count].copy_from_slice(&rest[..count]);
        self.taken += count;
        Ok(count)
    }
}

/// Tries snapshots from the newest at or below `height_max` down until `accept` takes one.
///
/// # Errors
/// When the folder cannot be read.
pub fn load<M>(
    files: &dyn Files,
    chain: ChainId,
    height_max: u64,
    mut accept: impl FnMut(&Manifest, &mut dyn Read) -> Result<M, String>,
) -> io::Result<Option<(Manifest, M)>> {
    let known = heights(files, MANIFEST)?;
    for height in known.into_iter().rev().filter(|at| *at <= height_max) {
        let file = name(height, MANIFEST);
        let bytes = files.read(&file)?.unwrap_or_default();
        let loaded = Manifest::parse(chain, &bytes).map_err(str::to_owned);
        let loaded = loaded.and_then(|manifest| {
            let mut state = StateReader::new(files, &manifest);
            let machine = accept(&manifest, &mut state)?;
            Ok((manifest, machine))
        });
        match loaded {
            Ok(found) => return Ok(Some(found)),
            Err(why) => tracing::warn!(file, why, "skipped a snapshot"),
        }
    }
    Ok(None)
}

/// Sets aside the snapshots from `height` on: the state they hold is not what was agreed. Returns
/// the newest height that is still trusted.
///
/// # Errors
/// When the folder cannot be written.
pub fn distrust(files: &dyn Files, height: Height) -> io::Result<Height> {
    let (kept, bad): (Vec<u64>, Vec<u64>) = heights(files, MANIFEST)?
        .into_iter()
        .partition(|taken| *taken < height.get());
    for taken in bad {
        for kind in [MANIFEST, STATE] {
            let file = name(taken, kind);
            if files.len(&file)?.is_some() {
                files.rename(&file, &format!("{file}.diverged"))?;
            }
        }
    }
    Ok(Height::new(kept.last().copied().unwrap_or(0)))
}

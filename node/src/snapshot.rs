//! Snapshots of the state, so that a restart replays little and a new node fetches little.
//!
//! **Owns** the files of a snapshot: `snapshot-<height>.state`, the state as the engine writes it, and
//! `snapshot-<height>.manifest`, which names its chunks by digest and the finalized header that its
//! root was certified in. The manifest comes last, so a crash leaves the snapshots before. **Never**
//! hands out a byte of a chunk before the chunk's digest holds, and never misreads another version:
//! one that does not verify is reported and skipped.

use std::io::{self, Read, Write};

use borsh::{BorshDeserialize, BorshSerialize};
use bytes::Bytes;
use commonware_codec::DecodeExt as _;
use commonware_cryptography::{Blake3, Hasher as _};
use commonware_parallel::Sequential;
use lifeboat_engine::types::{ChainId, Digest, Height, Mode, TimeMs};
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use crate::block::{Header, keccak256};
use crate::consensus::{Certificate, Scheme, header_certificate};
use crate::files::Files;
use crate::machine::{Blueprint, Machine};
use crate::shared::Frontier;

/// Bytes of a chunk; the last one may be shorter.
pub const CHUNK_BYTES: usize = 1 << 20;
/// Chunks of a snapshot at most: 64 GiB of state.
const CHUNKS_MAX: usize = 1 << 16;
const MAGIC: [u8; 8] = *b"LBSNAP\0\x03";
const KEPT: usize = 2;
const MANIFEST: &str = "manifest";
const STATE: &str = "state";
const ARRIVING: &str = "arriving";
/// Names the snapshot behind which consensus's store of blocks begins: it was fetched from peers, or
/// the store was lost.
const BASE: &str = "snapshot-base";
/// Headers in a snapshot's chain at most.
pub const HEADERS_MAX: usize = 64;
/// Bytes of a manifest at most: its chunks' digests, recent roots, headers and certificates.
pub const MANIFEST_BYTES_MAX: usize = 32 * CHUNKS_MAX + (128 << 10);

/// Why a snapshot's root is the validators' word: a chain of headers from the snapshot's block to one
/// with a certificate. One of them states the root, and the certificate covers them all.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Certified {
    /// The headers after the snapshot's block, encoded, each the parent of the next.
    pub headers: Vec<Vec<u8>>,
    /// The last header's certificate, encoded.
    pub certificate: Vec<u8>,
    /// The certificate of the newest block at or below the snapshot's that has one of its own: where
    /// a node that begins with this snapshot starts to fetch blocks. Empty if there was none.
    pub floor: Vec<u8>,
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
        if bytes.len() > MANIFEST_BYTES_MAX {
            return Err("it is over its bound");
        }
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

    /// Whether two manifests are of the same bytes.
    pub fn same_state(&self, other: &Self) -> bool {
        self.height == other.height && self.root == other.root && self.chunks == other.chunks
    }

    /// Whether the validators stand behind `height`, `digest` and `root`: the headers follow the
    /// snapshot's block without a gap, one states the root after it, and the last one's certificate
    /// verifies under `scheme`.
    pub fn is_certified(&self, scheme: &Scheme) -> bool {
        let Some(certified) = &self.certified else {
            return false;
        };
        let mut last = (self.height, self.digest);
        let mut stated = false;
        let mut header = None;
        for encoded in certified.headers.iter().take(HEADERS_MAX) {
            let Some(next) = Header::decode_all(encoded) else {
                return false;
            };
            let follows =
                next.chain == self.chain && next.height == last.0.next() && next.parent == last.1;
            if !follows {
                return false;
            }
            stated |= next.executed == self.height && next.state_root == self.root;
            last = (next.height, next.digest());
            header = Some(next);
        }
        header.is_some_and(|header| {
            let certificate = Bytes::copy_from_slice(&certified.certificate);
            stated && header_certificate(&header, certificate, scheme).is_some()
        })
    }

    /// The certificate at which a node that begins with this snapshot starts to fetch blocks.
    pub fn floor(&self, scheme: &Scheme) -> Option<Certificate> {
        let encoded = Bytes::copy_from_slice(&self.certified.as_ref()?.floor);
        let floor = Certificate::decode(encoded).ok()?;
        let mut rng = StdRng::from_seed(self.digest.0);
        floor.verify(&mut rng, scheme, &Sequential).then_some(floor)
    }

    /// Whether `bytes` are the state's chunk `index`.
    pub fn is_chunk(&self, index: usize, bytes: &[u8]) -> bool {
        let offset = index as u64 * CHUNK_BYTES as u64;
        let len = self
            .state_len
            .saturating_sub(offset)
            .min(CHUNK_BYTES as u64);
        bytes.len() as u64 == len
            && self
                .chunks
                .get(index)
                .is_some_and(|digest| chunk_digest(bytes) == *digest)
    }

    /// The same without what only its author's word stands behind: the roots before it.
    pub fn without_claims(mut self) -> Self {
        self.roots = vec![(self.height, self.root)];
        self
    }

    /// Its encoding, with a checksum at the end.
    ///
    /// # Errors
    /// None that is expected: it is written into memory.
    pub fn encode(&self) -> io::Result<Vec<u8>> {
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

    /// Each chunk is made durable by itself: were the whole state left to one sync at the end, the block
    /// log's own would wait behind it on most file systems, and everybody's answers with it.
    fn put_chunk(&mut self) -> io::Result<()> {
        if !self.chunk.is_empty() {
            self.chunks.push(chunk_digest(&self.chunk));
            self.state_len += self.chunk.len() as u64;
            let state = name(self.height.get(), STATE);
            self.files.append(&state, &self.chunk)?;
            self.files.sync_contents(&state)?;
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
    let base = base(files)?;
    let is_old = |height: u64| height < oldest && Some(height) != base;
    for height in &known {
        if is_old(*height) {
            files.remove(&name(*height, MANIFEST))?;
        }
    }
    // States without a manifest are what a crash left.
    for height in heights(files, STATE)? {
        if is_old(height) {
            files.remove(&name(height, STATE))?;
        }
    }
    Ok(())
}

/// Reads a snapshot's state; each chunk is checked before any of it is handed out.
pub struct StateReader<'a> {
    files: &'a dyn Files,
    manifest: &'a Manifest,
    file: String,
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
            file: name(manifest.height.get(), STATE),
            next: 0,
            chunk: Vec::new(),
            taken: 0,
        }
    }

    fn fetch(&mut self) -> io::Result<()> {
        if self.next == self.manifest.chunks.len() {
            return Ok(());
        }
        let offset = self.next as u64 * CHUNK_BYTES as u64;
        let chunk = self.files.read_at(&self.file, offset, CHUNK_BYTES)?;
        if !self.manifest.is_chunk(self.next, &chunk) {
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

/// The state that `state` holds, if it is the one that `manifest` is of.
///
/// # Errors
/// What is wrong with it, for a person.
pub fn accept(
    blueprint: &dyn Blueprint,
    manifest: &Manifest,
    state: &mut dyn Read,
) -> Result<Box<dyn Machine>, String> {
    let machine = blueprint
        .restore(state)
        .map_err(|error| error.to_string())?;
    if machine.state_root() != manifest.root {
        return Err("its state does not have the root it claims".to_owned());
    }
    if machine.position() != (manifest.height, manifest.time, manifest.mode) {
        return Err("its state is of another height, time or mode than it claims".to_owned());
    }
    Ok(machine)
}

/// The manifest of the newest snapshot that carries the validators' word; its state is not looked at.
///
/// # Errors
/// When the folder cannot be read.
pub fn newest_certified(files: &dyn Files, chain: ChainId) -> io::Result<Option<Manifest>> {
    for height in heights(files, MANIFEST)?.into_iter().rev() {
        let bytes = files.read(&name(height, MANIFEST))?.unwrap_or_default();
        let manifest = Manifest::parse(chain, &bytes).ok();
        if let Some(manifest) = manifest.filter(|manifest| manifest.certified.is_some()) {
            return Ok(Some(manifest));
        }
    }
    Ok(None)
}

/// A chunk of a snapshot's state as it lies on disk; empty past the end.
///
/// # Errors
/// When there is no such snapshot.
pub fn chunk(files: &dyn Files, height: u64, index: u32) -> io::Result<Vec<u8>> {
    read_chunk(files, &name(height, STATE), index)
}

/// The snapshot behind which consensus's store of blocks begins, if that is not genesis.
///
/// # Errors
/// When the folder cannot be read.
pub fn base(files: &dyn Files) -> io::Result<Option<u64>> {
    let bytes = files.read(BASE)?;
    Ok(bytes.and_then(|bytes| Some(u64::from_le_bytes(bytes.try_into().ok()?))))
}

/// Makes the snapshot at `height` the one that blocks are fetched from on.
///
/// # Errors
/// When the folder cannot be written.
pub fn begin_at(files: &dyn Files, height: Height) -> io::Result<()> {
    files.replace(BASE, &height.get().to_le_bytes())
}

/// The manifest of the snapshot at `height`, if it is whole.
///
/// # Errors
/// When the folder cannot be read.
pub fn manifest_at(files: &dyn Files, chain: ChainId, height: u64) -> io::Result<Option<Manifest>> {
    let bytes = files.read(&name(height, MANIFEST))?;
    Ok(bytes.and_then(|bytes| Manifest::parse(chain, &bytes).ok()))
}

/// A snapshot that arrives chunk by chunk. It becomes known only when all of it is here, durable and
/// accepted; an interrupted one goes on where it stopped.
pub struct Arrival<'a> {
    files: &'a dyn Files,
    manifest: &'a Manifest,
    file: String,
    chunks: u32,
}

impl<'a> Arrival<'a> {
    /// Begins, or goes on with what an earlier attempt left of the same state.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn resume(files: &'a dyn Files, manifest: &'a Manifest) -> io::Result<Self> {
        let height = manifest.height.get();
        for other in heights(files, ARRIVING)? {
            if other != height {
                files.remove(&name(other, ARRIVING))?;
            }
        }
        let file = name(height, ARRIVING);
        let mut chunks = 0;
        if let Some(len) = files.len(&file)? {
            while manifest.is_chunk(chunks as usize, &read_chunk(files, &file, chunks)?) {
                chunks += 1;
            }
            let whole = (u64::from(chunks) * CHUNK_BYTES as u64).min(manifest.state_len);
            if len > whole {
                files.truncate(&file, whole)?;
            }
        }
        Ok(Self {
            files,
            manifest,
            file,
            chunks,
        })
    }

    /// Chunks that are here.
    pub fn chunks(&self) -> u32 {
        self.chunks
    }

    /// Adds the next chunk, which was checked.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn append(&mut self, chunk: &[u8]) -> io::Result<()> {
        self.files.append(&self.file, chunk)?;
        self.chunks += 1;
        Ok(())
    }

    /// Ends: when `accept` takes the state it becomes a snapshot of this node, and blocks are fetched
    /// from there on; else it is removed and the inner error says why.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn finish<M>(
        self,
        accept: impl FnOnce(&mut dyn Read) -> Result<M, String>,
    ) -> io::Result<Result<(), String>> {
        let (files, height) = (self.files, self.manifest.height.get());
        files.sync(&self.file)?;
        let accepted = {
            let mut state = StateReader {
                file: self.file.clone(),
                ..StateReader::new(files, self.manifest)
            };
            accept(&mut state).map(drop)
        };
        if accepted.is_err() {
            files.remove(&self.file)?;
            return Ok(accepted);
        }
        files.rename(&self.file, &name(height, STATE))?;
        begin_at(files, self.manifest.height)?;
        files.replace(&name(height, MANIFEST), &self.manifest.encode()?)?;
        Ok(Ok(()))
    }
}

fn read_chunk(files: &dyn Files, file: &str, index: u32) -> io::Result<Vec<u8>> {
    files.read_at(file, u64::from(index) * CHUNK_BYTES as u64, CHUNK_BYTES)
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

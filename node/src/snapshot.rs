//! Snapshots of the state, so that a restart replays little.
//!
//! **Owns** the files `snapshot-<height>.bin` and their check before use. Written into a new file
//! and renamed, so a crash leaves the old ones. One that does not verify is reported and skipped.

use std::io;

use borsh::{BorshDeserialize, BorshSerialize};
use lifeboat_engine::types::{ChainId, Digest, Height, Mode, TimeMs};

use crate::block::keccak256;
use crate::files::Files;
use crate::shared::Frontier;

const MAGIC: [u8; 8] = *b"LBSNAP\0\x01";
const KEPT: usize = 2;

/// What precedes the state in the file.
#[derive(Clone, Debug, BorshSerialize, BorshDeserialize)]
struct SnapshotHeader {
    magic: [u8; 8],
    chain: ChainId,
    height: Height,
    time: TimeMs,
    digest: Digest,
    root: Digest,
    mode: Mode,
    roots: Vec<(Height, Digest)>,
    state_len: u64,
    state_keccak: Digest,
}

/// A snapshot that verified.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The block after which it was taken.
    pub frontier: Frontier,
    /// Roots of the heights before it.
    pub roots: Vec<(Height, Digest)>,
    /// The state.
    pub state: Vec<u8>,
}

fn name(height: u64) -> String {
    format!("snapshot-{height:020}.bin")
}

fn heights(files: &dyn Files) -> io::Result<Vec<u64>> {
    let mut heights: Vec<u64> = files
        .list()?
        .iter()
        .filter_map(|name| {
            name.strip_prefix("snapshot-")?
                .strip_suffix(".bin")?
                .parse()
                .ok()
        })
        .collect();
    heights.sort_unstable();
    Ok(heights)
}

/// Writes a snapshot and removes all but the newest few.
///
/// # Errors
/// When the disk fails; earlier snapshots are kept.
pub fn save(files: &dyn Files, chain: ChainId, snapshot: &Snapshot) -> io::Result<()> {
    let Frontier {
        height,
        time,
        digest,
        root,
        mode,
    } = snapshot.frontier;
    let header = SnapshotHeader {
        magic: MAGIC,
        chain,
        height,
        time,
        digest,
        root,
        mode,
        roots: snapshot.roots.clone(),
        state_len: snapshot.state.len() as u64,
        state_keccak: keccak256(&[&snapshot.state]),
    };
    let mut bytes = borsh::to_vec(&header)?;
    let check = keccak256(&[&bytes]);
    bytes.extend_from_slice(&check.0);
    bytes.extend_from_slice(&snapshot.state);
    files.replace(&name(height.get()), &bytes)?;
    let all = heights(files)?;
    for old in &all[..all.len().saturating_sub(KEPT)] {
        files.remove(&name(*old))?;
    }
    Ok(())
}

fn parse(chain: ChainId, bytes: &[u8]) -> Result<Snapshot, &'static str> {
    let mut rest = bytes;
    let header =
        SnapshotHeader::deserialize(&mut rest).map_err(|_| "its header does not decode")?;
    let head_len = bytes.len() - rest.len();
    let (check, state) = rest.split_at_checked(32).ok_or("it is cut short")?;
    if keccak256(&[&bytes[..head_len]]).0 != check || header.magic != MAGIC {
        return Err("its header is damaged");
    }
    if header.chain != chain {
        return Err("it belongs to another venue");
    }
    if header.state_len != state.len() as u64 || header.state_keccak != keccak256(&[state]) {
        return Err("its state is damaged");
    }
    Ok(Snapshot {
        frontier: Frontier {
            height: header.height,
            time: header.time,
            digest: header.digest,
            root: header.root,
            mode: header.mode,
        },
        roots: header.roots,
        state: state.to_vec(),
    })
}

/// Tries snapshots from the newest at or below `height_max` down until `accept` takes one.
///
/// # Errors
/// When the folder cannot be read.
pub fn load<M>(
    files: &dyn Files,
    chain: ChainId,
    height_max: u64,
    mut accept: impl FnMut(&Snapshot) -> Result<M, String>,
) -> io::Result<Option<(Snapshot, M)>> {
    for height in heights(files)?
        .into_iter()
        .rev()
        .filter(|h| *h <= height_max)
    {
        let bytes = files.read(&name(height))?.unwrap_or_default();
        let loaded = parse(chain, &bytes)
            .map_err(str::to_owned)
            .and_then(|snapshot| accept(&snapshot).map(|machine| (snapshot, machine)));
        match loaded {
            Ok(found) => return Ok(Some(found)),
            Err(why) => tracing::warn!(file = name(height), why, "skipped a snapshot"),
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
    let (kept, bad): (Vec<u64>, Vec<u64>) = heights(files)?
        .into_iter()
        .partition(|taken| *taken < height.get());
    for taken in bad {
        files.rename(&name(taken), &format!("{}.diverged", name(taken)))?;
    }
    Ok(Height::new(kept.last().copied().unwrap_or(0)))
}

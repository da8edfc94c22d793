//! A checkpoint's files: `exits-<height>.leaves`, everything that anybody's proof is made of, and
//! `exits-<height>.header`, the first certified header that carries its root.

use std::io;

use borsh::{BorshDeserialize, BorshSerialize};
use lifeboat_engine::types::{Digest, Height};
use lifeboat_proof::exit::{
    ExitCheckpoint, ExitSummary, ExitTree, LEAVES_PER_CHUNK, LeafHasher, leaf_in_chunk,
};

use crate::files::Files;

const MAGIC: [u8; 8] = *b"LBEXIT\0\x01";
/// Checkpoints whose files are kept.
const KEPT: usize = 8;
const LEAVES: &str = "leaves";
const HEADER: &str = "header";
const BUILDING: &str = "exits.building";
/// Bytes that are written between two syncs, about.
const PIECE_BYTES: usize = 1 << 20;
/// Bytes of a head at most: summaries and a length for each thousand accounts.
const HEAD_BYTES_MAX: usize = 16 << 20;

/// What stands before the leaves.
#[derive(Debug, BorshSerialize, BorshDeserialize)]
struct Head {
    height: Height,
    root: Digest,
    summaries: Vec<Vec<u8>>,
    chunks: Vec<u32>,
}

fn name(height: Height, kind: &str) -> String {
    format!("exits-{:020}.{kind}", height.get())
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a checkpoint's file is damaged")
}

/// The heights of the checkpoints on disk, ascending.
///
/// # Errors
/// When the disk fails.
pub fn heights(files: &dyn Files) -> io::Result<Vec<Height>> {
    let height = |name: &String| {
        let name = name.strip_prefix("exits-")?.strip_suffix(LEAVES)?;
        name.strip_suffix('.')?.parse().ok().map(Height::new)
    };
    let mut heights: Vec<Height> = files.list()?.iter().filter_map(height).collect();
    heights.sort_unstable();
    Ok(heights)
}

/// The checkpoints on disk up to a height, and their roots. What does not read is left out.
///
/// # Errors
/// When the disk fails.
pub fn kept(files: &dyn Files, until: Height) -> io::Result<Vec<(Height, Digest)>> {
    let heights = heights(files)?.into_iter().filter(|at| *at <= until);
    let heads = heights.filter_map(|at| read_head(files, at).ok().flatten());
    Ok(heads.map(|(head, _)| (head.height, head.root)).collect())
}

/// Keeps a checkpoint, and the last few before it.
///
/// # Errors
/// When the disk fails.
pub fn save(files: &dyn Files, checkpoint: &ExitCheckpoint) -> io::Result<()> {
    let head = Head {
        height: checkpoint.height,
        root: checkpoint.root(),
        summaries: checkpoint
            .summaries
            .iter()
            .map(ExitSummary::encode)
            .collect(),
        chunks: checkpoint
            .leaves
            .iter()
            .map(|chunk| chunk.len() as u32)
            .collect(),
    };
    let head = borsh::to_vec(&head)?;
    files.remove(BUILDING)?;
    files.append(
        BUILDING,
        &[&MAGIC[..], &(head.len() as u32).to_be_bytes(), &head].concat(),
    )?;
    // In pieces that are made durable one by one, as a snapshot's are, so that the block log's own sync
    // never waits behind all of it.
    let mut unsynced = head.len();
    for chunk in &checkpoint.leaves {
        files.append(BUILDING, chunk)?;
        unsynced += chunk.len();
        if unsynced >= PIECE_BYTES {
            files.sync_contents(BUILDING)?;
            unsynced = 0;
        }
    }
    files.sync(BUILDING)?;
    files.rename(BUILDING, &name(checkpoint.height, LEAVES))?;
    let old = heights(files)?;
    for height in old.iter().rev().skip(KEPT) {
        files.remove(&name(*height, LEAVES))?;
        files.remove(&name(*height, HEADER))?;
    }
    Ok(())
}

/// The head, and where the leaves begin.
fn read_head(files: &dyn Files, height: Height) -> io::Result<Option<(Head, u64)>> {
    let name = name(height, LEAVES);
    if files.len(&name)?.is_none() {
        return Ok(None);
    }
    let start = files.read_at(&name, 0, MAGIC.len() + 4)?;
    let (magic, length) = start.split_at_checked(MAGIC.len()).ok_or_else(damaged)?;
    let length = length.try_into().map_err(|_| damaged())?;
    let length = u32::from_be_bytes(length) as usize;
    if magic != MAGIC || length > HEAD_BYTES_MAX {
        return Err(damaged());
    }
    let head = files.read_at(&name, start.len() as u64, length)?;
    let head: Head = borsh::from_slice(&head)?;
    if head.height != height {
        return Err(damaged());
    }
    Ok(Some((head, (start.len() + length) as u64)))
}

/// Reads a checkpoint, hashes all of its leaves again and compares the root.
///
/// # Errors
/// When the disk fails or the file is damaged.
pub fn load(files: &dyn Files, height: Height) -> io::Result<Option<ExitCheckpoint>> {
    let Some((head, mut offset)) = read_head(files, height)? else {
        return Ok(None);
    };
    let mut tree = ExitTree::default();
    let mut leaves = Vec::with_capacity(head.chunks.len());
    for (place, length) in (0u32..).zip(&head.chunks) {
        let chunk = files.read_at(&name(height, LEAVES), offset, *length as usize)?;
        offset += u64::from(*length);
        let digests = hash_chunk(&chunk)?;
        tree.set_digests(place * LEAVES_PER_CHUNK, &digests);
        leaves.push(chunk.into_boxed_slice());
    }
    let summaries = head
        .summaries
        .iter()
        .map(|bytes| ExitSummary::decode(bytes));
    let summaries: Vec<_> = summaries.collect::<Result<_, _>>().map_err(|_| damaged())?;
    let accounts = summaries.first().map(|summary| summary.accounts_root);
    let checkpoint = ExitCheckpoint {
        height,
        summaries,
        leaves,
        tree: {
            let found = tree.root();
            if accounts != Some(found) {
                return Err(damaged());
            }
            tree
        },
    };
    let whole = checkpoint.root() == head.root;
    whole.then_some(Some(checkpoint)).ok_or_else(damaged)
}

fn hash_chunk(chunk: &[u8]) -> io::Result<Vec<Digest>> {
    let mut leaves = Vec::new();
    let mut rest = chunk;
    while !rest.is_empty() {
        let leaf = leaf_in_chunk(rest, 0).ok_or_else(damaged)?;
        leaves.push(leaf);
        rest = &rest[leaf.len()..];
    }
    let mut digests = Vec::with_capacity(leaves.len());
    LeafHasher::default().hash(
        leaves.len() as u32,
        |place, out| out.extend_from_slice(leaves[place as usize]),
        &mut digests,
    );
    Ok(digests)
}

/// Keeps the header that carries a checkpoint's root and the certificate of its block; the first one
/// stays.
///
/// # Errors
/// When the disk fails.
pub fn note_certified(
    files: &dyn Files,
    height: Height,
    header: &[u8],
    certificate: &[u8],
) -> io::Result<()> {
    let name = name(height, HEADER);
    if files.len(&name)?.is_some() {
        return Ok(());
    }
    let both = (header.to_vec(), certificate.to_vec());
    files.replace(&name, &borsh::to_vec(&both)?)
}

/// That header and certificate, if one came yet.
///
/// # Errors
/// When the disk fails or the file is damaged.
pub fn certified(files: &dyn Files, height: Height) -> io::Result<Option<(Vec<u8>, Vec<u8>)>> {
    let bytes = files.read(&name(height, HEADER))?;
    bytes.map(|bytes| borsh::from_slice(&bytes)).transpose()
}

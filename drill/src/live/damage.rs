//! Damage to a stopped validator's files.
//!
//! **Owns** where the node keeps what. **Never** touches a folder whose process runs; the caller sees
//! to that.

use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use crate::plan::{Harm, Store};

/// A torn write lacks so many bytes.
const TORN_BYTES: u64 = 7;
/// Files start with a header, which is not what a store repairs.
const HEAD_BYTES: u64 = 64;

/// Damages one file of a validator's data folder. Returns it.
///
/// # Errors
/// When there is nothing to damage, or the disk fails.
pub fn damage(data: &Path, store: Store, how: Harm) -> io::Result<PathBuf> {
    let file = newest(data, store)?;
    let len = fs::metadata(&file)?.len();
    let mut open = OpenOptions::new().read(true).write(true).open(&file)?;
    match how {
        Harm::TornTail => open.set_len(len.saturating_sub(TORN_BYTES))?,
        Harm::FlippedBit => {
            let at = len.saturating_sub(HEAD_BYTES) / 2 + HEAD_BYTES.min(len / 2);
            let mut byte = [0];
            open.seek(SeekFrom::Start(at))?;
            open.read_exact(&mut byte)?;
            open.seek(SeekFrom::Start(at))?;
            open.write_all(&[byte[0] ^ 1])?;
        }
    }
    open.sync_all()?;
    Ok(file)
}

/// The last file of a store that holds more than a header.
fn newest(data: &Path, store: Store) -> io::Result<PathBuf> {
    let (folder, prefix, suffix) = match store {
        Store::Votes => ("consensus/votes", "", ""),
        Store::Blocks => ("consensus/blocks-value", "", ""),
        Store::Certificates => ("consensus/finalizations-value", "", ""),
        Store::Log => ("state", "blocks-", ".log"),
        Store::Snapshot => ("state", "snapshot-", ".state"),
    };
    let folder = data.join(folder);
    let mut found = Vec::new();
    for entry in fs::read_dir(&folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let fits = name.starts_with(prefix) && name.ends_with(suffix);
        if fits && entry.metadata()?.len() > 2 * HEAD_BYTES {
            found.push(entry.path());
        }
    }
    found.sort();
    found.pop().ok_or_else(|| {
        let what = format!(
            "{} holds nothing of {} to damage",
            folder.display(),
            store.name()
        );
        io::Error::new(io::ErrorKind::NotFound, what)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_is_torn_and_one_bit_is_flipped() -> io::Result<()> {
        let data = tempfile::tempdir()?;
        let state = data.path().join("state");
        fs::create_dir_all(&state)?;
        let whole = vec![0u8; 1_000];
        for name in ["blocks-1.log", "blocks-2.log", "snapshot-5.manifest"] {
            fs::write(state.join(name), &whole)?;
        }
        let torn = damage(data.path(), Store::Log, Harm::TornTail)?;
        assert_eq!(torn, state.join("blocks-2.log"));
        assert_eq!(fs::read(&torn)?.len() as u64, 1_000 - TORN_BYTES);
        fs::write(&torn, &whole)?;
        damage(data.path(), Store::Log, Harm::FlippedBit)?;
        let bits: u32 = fs::read(&torn)?.iter().map(|byte| byte.count_ones()).sum();
        assert_eq!(bits, 1);
        assert!(damage(data.path(), Store::Snapshot, Harm::TornTail).is_err());
        assert!(damage(data.path(), Store::Votes, Harm::TornTail).is_err());
        Ok(())
    }
}

//! Consensus epochs: runs of consensus that cannot hear each other's votes.
//!
//! **Owns** the list of epochs and which heights belong to which. Epoch 0 begins at genesis. Another
//! one begins only when a venue is rebuilt after more than f validators lost what they had voted for
//! (`recover`): its validators vote anew from the last recovered block on, and no vote of an earlier
//! epoch counts in it, so nobody can vote twice. **Never** decides that an epoch begins: the operator
//! of every validator does, by `lifeboat recover --new-epoch`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use commonware_consensus::types::{Epoch, EpochInfo, Epocher, Height as BlockHeight};
use lifeboat_engine::types::{Digest, Height};
use serde::{Deserialize, Serialize};

use crate::keys::{from_hex, to_hex};

/// The file beside `node.toml`.
pub const FILE: &str = "epochs.toml";

/// The last height of the running epoch: one below the largest number, so that an epoch's length is a
/// number, too.
const LAST_HEIGHT: u64 = u64::MAX - 1;

const HEAD: &str =
    "# Written by `lifeboat recover`. Every validator of the venue needs the same list.\n";

/// Where an epoch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// The last block of the epoch before.
    pub height: Height,
    /// Its digest.
    pub digest: Digest,
}

/// The epochs after the first, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Epochs {
    anchors: Arc<[Anchor]>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EpochsFile {
    #[serde(default)]
    epoch: Vec<EpochEntry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EpochEntry {
    /// Height of the last block of the epoch before.
    after: u64,
    /// That block's digest, in hex.
    digest: String,
}

/// Why a list of epochs cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum EpochsError {
    /// The file cannot be read or written.
    #[error("{path}: {error}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The file does not parse.
    #[error("{path}: {what}")]
    Parse {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
}

impl Epochs {
    /// The number of the running epoch.
    pub fn current(&self) -> u64 {
        self.anchors.len() as u64
    }

    /// Where the running epoch begins; `None` for genesis.
    pub fn anchor(&self) -> Option<Anchor> {
        self.anchors.last().copied()
    }

    /// These and one more that begins at `anchor`; `None` if it does not come after the last.
    pub fn then(&self, anchor: Anchor) -> Option<Self> {
        let last = self.anchor().map_or(0, |last| last.height.get());
        (anchor.height.get() > last).then(|| Self {
            anchors: self.anchors.iter().copied().chain([anchor]).collect(),
        })
    }

    /// Reads the list beside a node's configuration; none if there is no file.
    ///
    /// # Errors
    /// When there is one that cannot be read.
    pub fn load(folder: &Path) -> Result<Self, EpochsError> {
        let path = folder.join(FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(EpochsError::Io { path, error }),
        };
        let wrong = |what: String| EpochsError::Parse {
            path: path.clone(),
            what,
        };
        let file: EpochsFile = toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        let mut epochs = Self::default();
        for entry in file.epoch {
            let bytes = from_hex(&entry.digest).and_then(|bytes| bytes.try_into().ok());
            let digest = bytes.ok_or_else(|| wrong("a digest is not 32 bytes in hex".into()))?;
            let anchor = Anchor {
                height: Height::new(entry.after),
                digest: Digest(digest),
            };
            let next = epochs.then(anchor);
            epochs = next.ok_or_else(|| wrong("epochs are not in order of height".into()))?;
        }
        Ok(epochs)
    }

    /// Writes the list.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, folder: &Path) -> Result<(), EpochsError> {
        let path = folder.join(FILE);
        let entry = |anchor: &Anchor| EpochEntry {
            after: anchor.height.get(),
            digest: to_hex(&anchor.digest.0),
        };
        let file = EpochsFile {
            epoch: self.anchors.iter().map(entry).collect(),
        };
        let failed = |error| EpochsError::Io {
            path: path.clone(),
            error,
        };
        let text = toml::to_string(&file).map_err(|error| failed(io::Error::other(error)))?;
        let temporary = folder.join(format!("{FILE}.tmp"));
        fs::write(&temporary, format!("{HEAD}{text}")).map_err(failed)?;
        fs::rename(&temporary, &path).map_err(failed)
    }

    fn first_of(&self, epoch: usize) -> Option<BlockHeight> {
        match epoch.checked_sub(1) {
            None => Some(BlockHeight::new(0)),
            Some(index) => {
                let anchor = self.anchors.get(index)?;
                Some(BlockHeight::new(anchor.height.get() + 1))
            }
        }
    }

    fn last_of(&self, epoch: usize) -> Option<BlockHeight> {
        self.first_of(epoch)?;
        let next = self.anchors.get(epoch);
        Some(BlockHeight::new(
            next.map_or(LAST_HEIGHT, |next| next.height.get()),
        ))
    }
}

impl Epocher for Epochs {
    fn containing(&self, height: BlockHeight) -> Option<EpochInfo> {
        let epoch = self
            .anchors
            .partition_point(|anchor| anchor.height.get() < height.get());
        let (first, last) = (self.first_of(epoch)?, self.last_of(epoch)?);
        Some(EpochInfo::new(
            Epoch::new(epoch as u64),
            height,
            first,
            last,
        ))
    }

    fn first(&self, epoch: Epoch) -> Option<BlockHeight> {
        self.first_of(usize::try_from(epoch.get()).ok()?)
    }

    fn last(&self, epoch: Epoch) -> Option<BlockHeight> {
        self.last_of(usize::try_from(epoch.get()).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn anchor(height: u64) -> Anchor {
        Anchor {
            height: Height::new(height),
            digest: Digest([height as u8; 32]),
        }
    }

    #[test]
    fn heights_belong_to_the_epoch_that_follows_their_anchor() {
        let epochs = Epochs::default()
            .then(anchor(10))
            .and_then(|e| e.then(anchor(25)));
        let epochs = epochs.expect("they ascend");
        let epoch_of = |height| {
            epochs
                .containing(BlockHeight::new(height))
                .map(|info| info.epoch().get())
        };
        let found = [0, 10, 11, 25, 26, LAST_HEIGHT].map(epoch_of);
        assert_eq!(found, [0, 0, 1, 1, 2, 2].map(Some));
        assert_eq!(epochs.last(Epoch::new(1)), Some(BlockHeight::new(25)));
        assert_eq!(epochs.first(Epoch::new(2)), Some(BlockHeight::new(26)));
        assert_eq!(epochs.first(Epoch::new(3)), None);
        assert!(
            epochs.then(anchor(25)).is_none(),
            "an epoch begins after the one before it"
        );
    }

    #[test]
    fn the_list_survives_its_file_and_a_damaged_one_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(
            Epochs::load(folder.path()).expect("no file"),
            Epochs::default()
        );
        let epochs = Epochs::default().then(anchor(7)).expect("it ascends");
        epochs.save(folder.path()).expect("it can be written");
        assert_eq!(Epochs::load(folder.path()).expect("its own file"), epochs);
        fs::write(
            folder.path().join(FILE),
            "[[epoch]]\nafter = 7\ndigest = \"07\"\n",
        )
        .expect("written");
        assert!(Epochs::load(folder.path()).is_err());
    }
}

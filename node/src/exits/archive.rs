//! Proofs on request, from the files.

use std::io;
use std::sync::{Arc, Mutex};

use lifeboat_engine::types::{AccountId, Height};
use lifeboat_engine::vault::Withdrawal;
use lifeboat_proof::exit::{ExitCheckpoint, ExitSummary, SavedProof, Subject, prove_withdrawal};

use super::file::{certified, heights, load};
use crate::block::Header;
use crate::files::Files;
use crate::shared::lock;

/// Makes saved proofs from the checkpoints that a node keeps. Holds the last ones it was asked for.
#[derive(Debug)]
pub struct ExitArchive {
    files: Arc<dyn Files>,
    /// The newest, for proofs.
    held: Mutex<Option<Arc<Held>>>,
    /// The newest up to some height, for a vault.
    posted: Mutex<Option<Arc<Held>>>,
}

/// A checkpoint as a vault takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Newest {
    /// The height that the summaries are of.
    pub height: Height,
    /// The first certified header that carries their exit root.
    pub header: Vec<u8>,
    /// Its certificate, as the validators keep it.
    pub certificate: Vec<u8>,
    /// One for each vault.
    pub summaries: Vec<ExitSummary>,
}

/// A checkpoint and the certified header that carries it.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) checkpoint: ExitCheckpoint,
    pub(super) header: Vec<u8>,
    pub(super) certificate: Vec<u8>,
}

impl ExitArchive {
    /// Over a node's files.
    pub fn new(files: Arc<dyn Files>) -> Self {
        Self {
            files,
            held: Mutex::default(),
            posted: Mutex::default(),
        }
    }

    /// The newest checkpoint whose root a certified header carries.
    ///
    /// # Errors
    /// When the disk fails or a file is damaged.
    pub fn newest(&self) -> io::Result<Option<Newest>> {
        self.newest_until(Height::new(u64::MAX))
    }

    /// The newest whose certified header is at most this high.
    ///
    /// # Errors
    /// When the disk fails or a file is damaged.
    pub fn newest_until(&self, height: Height) -> io::Result<Option<Newest>> {
        let held = self.hold(&self.posted, height)?;
        Ok(held.map(|held| Newest {
            height: held.checkpoint.height,
            header: held.header.clone(),
            certificate: held.certificate.clone(),
            summaries: held.checkpoint.summaries.clone(),
        }))
    }

    /// An account's saved proof under the newest checkpoint; `None` when there is none or no such
    /// account.
    ///
    /// # Errors
    /// When the disk fails or a file is damaged.
    pub fn account(&self, account: AccountId) -> io::Result<Option<SavedProof>> {
        let Some(held) = self.hold(&self.held, Height::new(u64::MAX))? else {
            return Ok(None);
        };
        let found = held.checkpoint.prove_account(account);
        Ok(found.map(|(leaf, path)| held.saved(Subject::Account, &leaf, &path)))
    }

    /// A withdrawal's saved proof under the newest checkpoint, from all withdrawals of the vault;
    /// `None` when it is not under one yet.
    ///
    /// # Errors
    /// When the disk fails or a file is damaged.
    pub fn withdrawal(
        &self,
        withdrawals: &[Withdrawal],
        number: u32,
    ) -> io::Result<Option<SavedProof>> {
        let Some(held) = self.hold(&self.held, Height::new(u64::MAX))? else {
            return Ok(None);
        };
        let summary = held.checkpoint.summaries.first();
        let found = summary.and_then(|summary| prove_withdrawal(summary, withdrawals, number));
        Ok(found.map(|(leaf, path)| held.saved(Subject::Withdrawal, &leaf, &path)))
    }

    /// The newest checkpoint whose certified header is at most `until` high.
    fn hold(
        &self,
        held: &Mutex<Option<Arc<Held>>>,
        until: Height,
    ) -> io::Result<Option<Arc<Held>>> {
        let mut held = lock(held);
        for height in heights(&*self.files)?.into_iter().rev() {
            if let Some(held) = held.as_ref().filter(|h| h.checkpoint.height == height) {
                return Ok(Some(held.clone()));
            }
            let Some((header, certificate)) = certified(&*self.files, height)? else {
                continue;
            };
            let carried = Header::decode_all(&header).map(|header| header.height);
            if carried.is_none_or(|carried| carried > until) {
                continue;
            }
            let Some(checkpoint) = load(&*self.files, height)? else {
                continue;
            };
            let found = Arc::new(Held {
                checkpoint,
                header,
                certificate,
            });
            *held = Some(found.clone());
            return Ok(Some(found));
        }
        Ok(None)
    }
}

impl Held {
    pub(super) fn saved(
        &self,
        kind: Subject,
        leaf: &[u8],
        path: &lifeboat_engine::commitment::MerkleProof,
    ) -> SavedProof {
        let mut summaries = self.checkpoint.summaries.iter();
        let summary = summaries.next().map(ExitSummary::encode);
        SavedProof {
            kind,
            height: self.checkpoint.height.get(),
            header: self.header.clone(),
            certificate: self.certificate.clone(),
            before: Vec::new(),
            summary: summary.unwrap_or_default(),
            after: summaries.map(ExitSummary::digest).collect(),
            leaf: leaf.to_vec(),
            count: path.count,
            siblings: SavedProof::siblings_of(path),
        }
    }
}

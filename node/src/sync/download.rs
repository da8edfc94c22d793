//! Which chunks of one snapshot are asked of whom, and what arrived.
//!
//! **Owns** the order, the window and the blame. Touches neither network nor clock, so every case of
//! it can be played through.

use std::collections::{BTreeMap, BTreeSet};

use commonware_cryptography::ed25519::PublicKey as PeerKey;
use lifeboat_engine::types::TimeMs;

use crate::snapshot::Manifest;

/// Chunks asked of one peer at a time.
const ASKED_OF_ONE: usize = 4;
/// Chunks past the last one written that may wait in memory.
const AHEAD_MAX: u32 = 32;
/// Questions in a row that a peer may leave open.
const SILENCES_MAX: u32 = 3;

#[derive(Debug, Default)]
struct Source {
    asked: usize,
    silences: u32,
    served: u64,
}

/// Why a peer is asked for nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blame {
    /// It sent a chunk that is not the manifest's.
    Damaged,
    /// It does not hold the snapshot any more.
    Gone,
    /// It does not answer.
    Silent,
}

/// One snapshot on its way here.
#[derive(Debug)]
pub(super) struct Download<'a> {
    manifest: &'a Manifest,
    sources: BTreeMap<PeerKey, Source>,
    asked: BTreeMap<u32, (PeerKey, TimeMs)>,
    arrived: BTreeMap<u32, Vec<u8>>,
    written: u32,
    blamed: BTreeMap<PeerKey, Blame>,
}

impl<'a> Download<'a> {
    /// A snapshot of which `written` chunks are here, and the peers that hold it.
    pub(super) fn new(
        manifest: &'a Manifest,
        written: u32,
        sources: impl IntoIterator<Item = PeerKey>,
    ) -> Self {
        let sources = sources.into_iter();
        Self {
            manifest,
            sources: sources.map(|peer| (peer, Source::default())).collect(),
            asked: BTreeMap::new(),
            arrived: BTreeMap::new(),
            written,
            blamed: BTreeMap::new(),
        }
    }

    /// Chunks written and chunks in all.
    pub(super) fn progress(&self) -> (u32, u32) {
        (self.written, self.manifest.chunks.len() as u32)
    }

    /// Whether all chunks are written.
    pub(super) fn is_whole(&self) -> bool {
        self.written as usize == self.manifest.chunks.len()
    }

    /// Whether nobody is left to ask.
    pub(super) fn is_stranded(&self) -> bool {
        self.sources.is_empty()
    }

    /// Who sent something wrong or went away.
    pub(super) fn blamed(&self) -> &BTreeMap<PeerKey, Blame> {
        &self.blamed
    }

    /// Chunks that each peer served.
    pub(super) fn served(&self) -> impl Iterator<Item = (&PeerKey, u64)> {
        self.sources
            .iter()
            .map(|(peer, source)| (peer, source.served))
    }

    /// The next questions: whom, and for which chunk.
    pub(super) fn ask(&mut self, now: TimeMs) -> Vec<(PeerKey, u32)> {
        let end = (self.manifest.chunks.len() as u32).min(self.written.saturating_add(AHEAD_MAX));
        let open: BTreeSet<u32> = (self.written..end)
            .filter(|index| !self.asked.contains_key(index) && !self.arrived.contains_key(index))
            .collect();
        let mut questions = Vec::new();
        for index in open {
            let free = self
                .sources
                .iter_mut()
                .min_by_key(|(_, source)| source.asked);
            let Some((peer, source)) = free.filter(|(_, source)| source.asked < ASKED_OF_ONE)
            else {
                break;
            };
            source.asked += 1;
            self.asked.insert(index, (peer.clone(), now));
            questions.push((peer.clone(), index));
        }
        questions
    }

    /// Takes a chunk in.
    pub(super) fn take(&mut self, peer: &PeerKey, index: u32, bytes: Vec<u8>) {
        let expected = self
            .asked
            .get(&index)
            .is_some_and(|(asked, _)| asked == peer);
        if !expected {
            return;
        }
        self.asked.remove(&index);
        let Some(source) = self.sources.get_mut(peer) else {
            return;
        };
        source.asked -= 1;
        source.silences = 0;
        if bytes.is_empty() {
            self.drop_source(peer, Blame::Gone);
        } else if self.manifest.is_chunk(index as usize, &bytes) {
            source.served += 1;
            self.arrived.insert(index, bytes);
        } else {
            self.drop_source(peer, Blame::Damaged);
        }
    }

    /// The next chunk in order, if it arrived. It counts as written.
    pub(super) fn write_next(&mut self) -> Option<Vec<u8>> {
        let bytes = self.arrived.remove(&self.written)?;
        self.written += 1;
        Some(bytes)
    }

    /// Gives up questions that are older than `since`.
    pub(super) fn give_up(&mut self, since: TimeMs) {
        let late = self.asked.iter().filter(|(_, (_, asked))| *asked <= since);
        let late: Vec<(u32, PeerKey)> = late.map(|(at, (peer, _))| (*at, peer.clone())).collect();
        for (index, peer) in late {
            self.asked.remove(&index);
            let Some(source) = self.sources.get_mut(&peer) else {
                continue;
            };
            source.asked -= 1;
            source.silences += 1;
            if source.silences >= SILENCES_MAX {
                self.drop_source(&peer, Blame::Silent);
            }
        }
    }

    fn drop_source(&mut self, peer: &PeerKey, blame: Blame) {
        self.sources.remove(peer);
        self.asked.retain(|_, (asked, _)| asked != peer);
        self.blamed.insert(peer.clone(), blame);
    }
}

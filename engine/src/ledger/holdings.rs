//! What one account holds: stakes by instrument, found in one look, hashed in small pieces.
//!
//! **Layout.** Stakes lie dense and unsorted in the order in which they came; one that goes leaves
//! its place to the last. So a stake comes or goes without moving the others, and eight neighbours
//! are a *chunk*, which is hashed alone: an order in one instrument re-hashes one chunk and the
//! account's short leaf, however many instruments the account is in. Beside them a small
//! open-addressing table leads from an instrument to its place; a table entry holds both numbers,
//! so that a search ends in one cache line and only what was found is read.
//!
//! The order of places follows from history, is part of the state and is kept by snapshots. The
//! table is derived. Nothing walks it.

use alloc::vec::Vec;
use borsh::{BorshDeserialize, BorshSerialize};

use super::Holding;
use crate::book::prefetch::fetch;
use crate::limits::{HOLDINGS_PER_ACCOUNT_MAX, INSTRUMENTS_MAX};
use crate::types::{Digest, InstrumentId};

/// Stakes that are hashed together.
pub const HOLDINGS_PER_CHUNK: usize = 8;
const CHUNK_BITS: u32 = HOLDINGS_PER_CHUNK.trailing_zeros();

/// Low bits of a table entry: the place. The rest is the instrument.
const PLACE_BITS: u32 = 12;
const PLACE_MASK: u32 = (1 << PLACE_BITS) - 1;
/// A table entry that is none.
const EMPTY: u32 = u32::MAX;
// Every instrument and place fit, and no entry of theirs is `EMPTY`.
const _: () = assert!(
    HOLDINGS_PER_ACCOUNT_MAX <= 1 << PLACE_BITS && INSTRUMENTS_MAX < 1 << (32 - PLACE_BITS)
);
/// Least entries of a table that has any.
const ENTRIES_MIN: usize = 8;

/// An account's stakes.
#[derive(Clone, Debug, Default)]
#[repr(C)]
pub struct Holdings {
    all: Vec<Holding>,
    /// Instrument and place, at most half full; a power of two long, or empty.
    table: Vec<u32>,
    /// Bit `i`: one of the chunks whose number ends in `i` (six bits) changed since the last root.
    changed: u64,
    /// Digests of the chunks, as of the last root.
    digests: Vec<Digest>,
}

impl Holdings {
    /// None.
    pub const fn new() -> Self {
        Self {
            all: Vec::new(),
            table: Vec::new(),
            changed: 0,
            digests: Vec::new(),
        }
    }

    /// All stakes, in no order that means anything, but the same on every replica.
    pub fn iter(&self) -> core::slice::Iter<'_, Holding> {
        self.all.iter()
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The stake in an instrument.
    #[inline]
    pub fn get(&self, instrument: InstrumentId) -> Option<&Holding> {
        self.all.get(self.place(instrument)?)
    }

    /// The stake in an instrument, for changing.
    #[inline]
    pub fn get_mut(&mut self, instrument: InstrumentId) -> Option<&mut Holding> {
        let place = self.place(instrument)?;
        self.mark(place);
        self.all.get_mut(place)
    }

    /// The stake in an instrument, made if there is none. `None` at `HOLDINGS_PER_ACCOUNT_MAX`.
    #[inline]
    pub fn get_or_new(&mut self, instrument: InstrumentId) -> Option<&mut Holding> {
        let place = match self.place(instrument) {
            Some(place) => place,
            None => self.add(Holding::new(instrument))?,
        };
        self.mark(place);
        self.all.get_mut(place)
    }

    /// Drops the stake in an instrument. The last one takes its place.
    pub fn remove(&mut self, instrument: InstrumentId) {
        let Some(cell) = self.cell(instrument) else {
            return;
        };
        let Some(place) = self.table.get(cell).map(|entry| place_of(*entry)) else {
            return;
        };
        self.empty_cell(cell);
        self.mark(place);
        self.mark(self.all.len().wrapping_sub(1));
        self.all.swap_remove(place);
        if let Some(moved) = self.all.get(place).map(|holding| holding.instrument)
            && let Some(cell) = self.cell(moved)
            && let Some(entry) = self.table.get_mut(cell)
        {
            *entry = entry_of(moved, place);
        }
    }

    /// Asks the processor to fetch where the search for an instrument begins.
    #[inline]
    pub(crate) fn prefetch_search(&self, instrument: InstrumentId) {
        fetch(self.table.get(self.home(instrument)));
    }

    /// With that fetched: the stake itself.
    #[inline]
    pub(crate) fn prefetch(&self, instrument: InstrumentId) {
        fetch(self.get(instrument));
    }

    /// Where the stake in an instrument lies.
    #[inline]
    fn place(&self, instrument: InstrumentId) -> Option<usize> {
        let entry = self.table.get(self.cell(instrument)?)?;
        Some(place_of(*entry))
    }

    /// The table's cell of an instrument.
    #[inline]
    fn cell(&self, instrument: InstrumentId) -> Option<usize> {
        let mut cell = self.home(instrument);
        // At most half of the cells are full, so that the walk meets an empty one.
        loop {
            let entry = *self.table.get(cell)?;
            if entry == EMPTY {
                return None;
            }
            if entry >> PLACE_BITS == instrument.get() {
                return Some(cell);
            }
            cell = self.after(cell);
        }
    }

    /// Where the walk for an instrument begins: the high bits of a product with 2³² ÷ φ.
    #[inline]
    const fn home(&self, instrument: InstrumentId) -> usize {
        let hash = instrument.get().wrapping_mul(0x9E37_79B9) as u64;
        (hash.wrapping_mul(self.table.len() as u64) >> 32) as usize
    }

    #[inline]
    const fn after(&self, cell: usize) -> usize {
        cell.wrapping_add(1) & self.table.len().wrapping_sub(1)
    }

    /// Appends a stake that is not there yet.
    fn add(&mut self, holding: Holding) -> Option<usize> {
        let place = self.all.len();
        if place >= HOLDINGS_PER_ACCOUNT_MAX {
            return None;
        }
        self.all.push(holding);
        if self.all.len().saturating_mul(2) > self.table.len() {
            self.rebuild();
        } else {
            self.enter(holding.instrument, place);
        }
        Some(place)
    }

    /// Writes an instrument that is not in the table into it.
    fn enter(&mut self, instrument: InstrumentId, place: usize) {
        let mut cell = self.home(instrument);
        while self.table.get(cell).is_some_and(|entry| *entry != EMPTY) {
            cell = self.after(cell);
        }
        if let Some(entry) = self.table.get_mut(cell) {
            *entry = entry_of(instrument, place);
        }
    }

    /// Makes the table anew, with room to grow.
    fn rebuild(&mut self) {
        let entries = self.all.len().saturating_mul(2).next_power_of_two();
        self.table.clear();
        self.table.resize(entries.max(ENTRIES_MIN), EMPTY);
        for place in 0..self.all.len() {
            if let Some(instrument) = self.all.get(place).map(|holding| holding.instrument) {
                self.enter(instrument, place);
            }
        }
    }

    /// Empties a cell and moves up those behind it that would not be found any more.
    fn empty_cell(&mut self, cell: usize) {
        let mask = self.table.len().wrapping_sub(1);
        let (mut hole, mut cell) = (cell, cell);
        loop {
            cell = self.after(cell);
            let entry = self.table.get(cell).copied().unwrap_or(EMPTY);
            if entry == EMPTY {
                break;
            }
            let home = self.home(InstrumentId::new(entry >> PLACE_BITS));
            let steps = |from: usize| cell.wrapping_sub(from) & mask;
            if steps(home) >= steps(hole) {
                if let Some(to) = self.table.get_mut(hole) {
                    *to = entry;
                }
                hole = cell;
            }
        }
        if let Some(entry) = self.table.get_mut(hole) {
            *entry = EMPTY;
        }
    }

    #[inline]
    const fn mark(&mut self, place: usize) {
        self.changed |= 1_u64.wrapping_shl((place >> CHUNK_BITS) as u32);
    }

    /// Bytes of memory held.
    pub fn memory_bytes(&self) -> usize {
        let all = self.all.capacity().saturating_mul(size_of::<Holding>());
        let table = self.table.capacity().saturating_mul(size_of::<u32>());
        let digests = self.digests.capacity().saturating_mul(size_of::<Digest>());
        all.saturating_add(table).saturating_add(digests)
    }

    /// The chunks in order, as the account's leaf commits to them.
    pub fn chunks(&self) -> impl Iterator<Item = &[Holding]> {
        self.all.chunks(HOLDINGS_PER_CHUNK)
    }

    /// The chunks' digests, current after a root.
    pub(crate) fn digests(&self) -> &[Digest] {
        &self.digests
    }

    /// Numbers of the chunks that have to be hashed, which count as hashed from now on.
    pub(crate) fn take_changed(&mut self) -> impl Iterator<Item = usize> + use<> {
        let chunks = self.all.len().div_ceil(HOLDINGS_PER_CHUNK);
        let changed = core::mem::take(&mut self.changed);
        self.digests.resize(chunks, Digest::default());
        let (mut base, mut left) = (0_usize, changed);
        core::iter::from_fn(move || {
            while base < chunks {
                if left == 0 {
                    (base, left) = (base.wrapping_add(u64::BITS as usize), changed);
                    continue;
                }
                let chunk = base.wrapping_add(left.trailing_zeros() as usize);
                left &= left.wrapping_sub(1);
                if chunk < chunks {
                    return Some(chunk);
                }
            }
            None
        })
    }

    /// Appends a chunk's bytes.
    pub(crate) fn write_chunk(&self, chunk: usize, out: &mut Vec<u8>) {
        for holding in self.chunks().nth(chunk).unwrap_or_default() {
            let _ = holding.serialize(out);
        }
    }

    /// Keeps a chunk's digest.
    pub(crate) fn set_digest(&mut self, chunk: usize, digest: Digest) {
        if let Some(entry) = self.digests.get_mut(chunk) {
            *entry = digest;
        }
    }
}

const fn entry_of(instrument: InstrumentId, place: usize) -> u32 {
    (instrument.get() << PLACE_BITS) | place as u32
}

const fn place_of(entry: u32) -> usize {
    (entry & PLACE_MASK) as usize
}

impl<'a> IntoIterator for &'a Holdings {
    type Item = &'a Holding;
    type IntoIter = core::slice::Iter<'a, Holding>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Place by place, so that a restored account keeps them.
impl BorshSerialize for Holdings {
    fn serialize<W: borsh::io::Write>(&self, writer: &mut W) -> borsh::io::Result<()> {
        self.all.serialize(writer)
    }
}

/// Refuses more than an account may hold, instruments that cannot be, and one that comes twice.
impl BorshDeserialize for Holdings {
    fn deserialize_reader<R: borsh::io::Read>(reader: &mut R) -> borsh::io::Result<Self> {
        let unsound = || {
            let kind = borsh::io::ErrorKind::InvalidData;
            borsh::io::Error::new(kind, "unsound holdings")
        };
        let mut holdings = Self::new();
        for _ in 0..u32::deserialize_reader(reader)? {
            let holding = Holding::deserialize_reader(reader)?;
            let known = holdings.get(holding.instrument).is_some();
            if known || holding.instrument.get() >= INSTRUMENTS_MAX {
                return Err(unsound());
            }
            let place = holdings.add(holding).ok_or_else(unsound)?;
            holdings.mark(place);
        }
        Ok(holdings)
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )]
    use super::*;
    use alloc::collections::{BTreeMap, BTreeSet};
    use proptest::prelude::*;

    proptest! {
        /// Whatever comes and goes, every stake is found, and chunks that are not named did not
        /// change.
        #[test]
        fn stakes_are_found_and_changes_are_named(
            // Few enough that tables get crowded; far apart enough that homes collide.
            steps in prop::collection::vec((0_u32..120, 0_u8..8), 1..400),
            stride in prop_oneof![Just(1_u32), Just(13), Just(4_096), Just(8_191)],
        ) {
            let mut model = BTreeMap::new();
            let mut holdings = Holdings::new();
            let mut seen: Vec<Vec<u8>> = Vec::new();
            for (count, (id, what)) in steps.into_iter().enumerate() {
                let id = InstrumentId::new(id * stride);
                match what {
                    0..3 => {
                        holdings.get_or_new(id).unwrap().position = count as i64;
                        model.insert(id, count as i64);
                    }
                    3..6 => {
                        holdings.remove(id);
                        model.remove(&id);
                    }
                    6 => {
                        let found = holdings.get_mut(id).map(|holding| {
                            holding.position = -1;
                        });
                        prop_assert_eq!(found.is_some(), model.contains_key(&id));
                        model.entry(id).and_modify(|position| *position = -1);
                    }
                    _ => {
                        let changed: BTreeSet<usize> = holdings.take_changed().collect();
                        let now: Vec<Vec<u8>> = (0..holdings.len().div_ceil(HOLDINGS_PER_CHUNK))
                            .map(|chunk| {
                                let mut bytes = Vec::new();
                                holdings.write_chunk(chunk, &mut bytes);
                                bytes
                            })
                            .collect();
                        for (chunk, bytes) in now.iter().enumerate() {
                            prop_assert!(changed.contains(&chunk) || seen.get(chunk) == Some(bytes));
                        }
                        seen = now;
                    }
                }
                prop_assert_eq!(holdings.len(), model.len());
                for (id, position) in &model {
                    prop_assert_eq!(holdings.get(*id).unwrap().position, *position);
                }
                prop_assert!(holdings.get(id).is_some() == model.contains_key(&id));
            }
            let bytes = borsh::to_vec(&holdings).unwrap();
            let restored: Holdings = borsh::from_slice(&bytes).unwrap();
            prop_assert!(restored.iter().eq(holdings.iter()));
            for (id, position) in &model {
                prop_assert_eq!(restored.get(*id).unwrap().position, *position);
            }
        }
    }

    #[test]
    fn an_account_has_only_so_many() {
        let mut holdings = Holdings::new();
        for id in 0..HOLDINGS_PER_ACCOUNT_MAX as u32 {
            assert!(holdings.get_or_new(InstrumentId::new(id)).is_some());
        }
        let one_more = InstrumentId::new(HOLDINGS_PER_ACCOUNT_MAX as u32);
        assert!(holdings.get_or_new(one_more).is_none());
        holdings.remove(InstrumentId::new(5));
        assert!(holdings.get_or_new(one_more).is_some());
    }

    #[test]
    fn an_instrument_that_comes_twice_is_refused() {
        let twice = [Holding::new(InstrumentId::new(1)); 2];
        let bytes = borsh::to_vec(&twice.to_vec()).unwrap();
        assert!(borsh::from_slice::<Holdings>(&bytes).is_err());
    }
}

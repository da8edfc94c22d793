//! The whole state as bytes, and back.
//!
//! The image is exact: the restored engine has the same root, the same order ids, the same queues
//! and the same free slots. Margin caches, account lists and trees are rebuilt, not stored.

use alloc::vec::Vec;
use borsh::io::{Error, ErrorKind, Read, Result as IoResult, Write};
use borsh::{BorshDeserialize, BorshSerialize};

use super::Engine;
use super::fills::Scratch;
use super::margin::MarginEngine;
use super::roots::Roots;
use crate::book::Books;
use crate::instrument::{Instrument, Instruments};
use crate::ledger::{Account, Ledger};
use crate::limits::{ACCOUNTS_MAX, INSTRUMENTS_MAX, LABEL_BYTES_MAX};
use crate::orders::{DETAIL_BYTES, OrderDetail, OrderTable};
use crate::types::{Cash, Digest};
use crate::vault::VaultState;

/// Version of the image. A reader refuses every other.
pub const SNAPSHOT_VERSION: u32 = 5;

/// An image that cannot be restored.
#[derive(Debug)]
pub enum SnapshotError {
    /// The reader failed, or the bytes are not an image.
    Read(Error),
    /// An image of another version.
    Version(u32),
    /// The restored state does not have the root that the image names.
    Root {
        /// What the image says.
        stated: Digest,
        /// What its state has.
        found: Digest,
    },
}

impl core::fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Read(error) => write!(f, "the snapshot cannot be read: {error}"),
            Self::Version(version) => {
                write!(
                    f,
                    "the snapshot has version {version}, this engine reads {SNAPSHOT_VERSION}"
                )
            }
            Self::Root { stated, found } => {
                write!(
                    f,
                    "the snapshot states root {stated} but restores to {found}"
                )
            }
        }
    }
}

impl core::error::Error for SnapshotError {}

impl From<Error> for SnapshotError {
    fn from(error: Error) -> Self {
        Self::Read(error)
    }
}

impl Engine {
    /// Writes the state.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write_snapshot<W: Write>(&self, writer: &mut W) -> IoResult<()> {
        SNAPSHOT_VERSION.serialize(writer)?;
        self.state_root().serialize(writer)?;
        self.write_head(writer)?;
        self.attestations.serialize(writer)?;
        self.vaults
            .iter()
            .try_for_each(|vault| vault.write(writer))?;
        self.auctions.serialize(writer)?;
        self.ledger.len().serialize(writer)?;
        for (_, account) in self.ledger.iter() {
            account.serialize(writer)?;
        }
        self.instruments.len().serialize(writer)?;
        for instrument in self.instruments.iter() {
            instrument.serialize(writer)?;
        }
        self.books.write(writer)?;
        for slot in 0..self.books.slots() {
            if self.books.in_slot(slot).is_some() {
                self.orders
                    .get(slot)
                    .copied()
                    .unwrap_or_default()
                    .serialize(writer)?;
                self.orders.label(slot).serialize(writer)?;
            }
        }
        Ok(())
    }

    /// Reads a state, rebuilds everything derived from it and compares its root.
    ///
    /// # Errors
    /// [`SnapshotError`]; nothing is half restored.
    pub fn read_snapshot<R: Read>(reader: &mut R) -> Result<Self, SnapshotError> {
        let version = u32::deserialize_reader(reader)?;
        if version != SNAPSHOT_VERSION {
            return Err(SnapshotError::Version(version));
        }
        let stated = Digest::deserialize_reader(reader)?;
        let mut engine = Self::read_state(reader)?;
        let found = engine.commit_all();
        if found != stated {
            return Err(SnapshotError::Root { stated, found });
        }
        engine.rebuild_margin();
        Ok(engine)
    }

    /// The part of the state that is neither account, instrument nor order.
    fn write_head<W: Write>(&self, writer: &mut W) -> IoResult<()> {
        self.chain.serialize(writer)?;
        self.validators.serialize(writer)?;
        self.parameters.serialize(writer)?;
        self.height.serialize(writer)?;
        self.time.serialize(writer)?;
        self.events_emitted.serialize(writer)?;
        self.trades.serialize(writer)?;
        self.mode.serialize(writer)?;
        self.ledger.fees.serialize(writer)?;
        self.ledger.collateral.serialize(writer)?;
        self.ledger.day().serialize(writer)?;
        self.feeds.serialize(writer)?;
        self.stable.serialize(writer)?;
        self.gates.serialize(writer)?;
        self.samples.serialize(writer)?;
        self.surfaces.serialize(writer)?;
        self.validator_nonces.serialize(writer)?;
        self.quarantined.serialize(writer)?;
        self.circuits.serialize(writer)?;
        self.venue_watch.serialize(writer)
    }

    /// What the state root's meta section hashes: the head, counters of the books, attestations and
    /// vaults.
    pub(super) fn meta_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(4_096);
        let _ = self.write_head(&mut bytes);
        bytes.extend_from_slice(&self.books.books_leaf());
        self.attestations.write_commitment(&mut bytes);
        let vaults = self.vaults.iter();
        vaults.for_each(|vault| vault.write_commitment(&mut bytes));
        self.auctions.write_commitment(&mut bytes);
        bytes
    }

    fn read_state<R: Read>(reader: &mut R) -> IoResult<Self> {
        let chain = BorshDeserialize::deserialize_reader(reader)?;
        let validators = BorshDeserialize::deserialize_reader(reader)?;
        let parameters = crate::params::Parameters::deserialize_reader(reader)?;
        let margin = MarginEngine::new(&parameters)
            .map_err(|_| Error::new(ErrorKind::InvalidData, "unsound margin parameters"))?;
        let roots = Roots::new(&parameters);
        let height = BorshDeserialize::deserialize_reader(reader)?;
        let time = BorshDeserialize::deserialize_reader(reader)?;
        let events_emitted = BorshDeserialize::deserialize_reader(reader)?;
        let trades = BorshDeserialize::deserialize_reader(reader)?;
        let mode = BorshDeserialize::deserialize_reader(reader)?;
        let fees = Cash::deserialize_reader(reader)?;
        let collateral = Cash::deserialize_reader(reader)?;
        let day = u32::deserialize_reader(reader)?;
        let feeds = BorshDeserialize::deserialize_reader(reader)?;
        let stable = BorshDeserialize::deserialize_reader(reader)?;
        let gates = BorshDeserialize::deserialize_reader(reader)?;
        let samples = BorshDeserialize::deserialize_reader(reader)?;
        let surfaces = BorshDeserialize::deserialize_reader(reader)?;
        let validator_nonces = BorshDeserialize::deserialize_reader(reader)?;
        let quarantined = BorshDeserialize::deserialize_reader(reader)?;
        let circuits = BorshDeserialize::deserialize_reader(reader)?;
        let venue_watch = BorshDeserialize::deserialize_reader(reader)?;
        let attestations = BorshDeserialize::deserialize_reader(reader)?;
        let vaults = parameters.vaults.iter();
        let vaults = vaults
            .map(|vault| VaultState::read(*vault, reader))
            .collect::<IoResult<_>>()?;
        let auctions = BorshDeserialize::deserialize_reader(reader)?;
        let accounts = read_many::<Account, R>(reader, ACCOUNTS_MAX)?;
        let instruments = read_many::<Instrument, R>(reader, INSTRUMENTS_MAX)?;
        let books = Books::read(reader)?;
        // Which books are open is no part of the root: it follows from the instruments, which are.
        let listed = instruments.iter().filter(|i| i.is_listed()).map(|i| i.id);
        if !books.open_books().eq(listed) {
            let what = "the open books are not those of the listed instruments";
            return Err(Error::new(ErrorKind::InvalidData, what));
        }
        let mut ledger = Ledger::restore(accounts, day, fees, collateral);
        let orders = read_orders(reader, &books, &mut ledger)?;
        let stake = parameters.waterfall.stake;
        Ok(Self {
            stake: stake.and_then(|stake| ledger.by_owner(&stake.owner)),
            chain,
            validators,
            parameters,
            height,
            time,
            events_emitted,
            trades,
            mode,
            ledger,
            instruments: Instruments::restore(instruments),
            books,
            orders,
            feeds,
            stable,
            gates,
            samples,
            surfaces,
            validator_nonces,
            attestations,
            vaults,
            auctions,
            quarantined,
            circuits,
            venue_watch,
            margin,
            roots,
            scratch: Scratch::default(),
        })
    }
}

fn read_many<T: BorshDeserialize, R: Read>(reader: &mut R, max: u32) -> IoResult<Vec<T>> {
    let count = u32::deserialize_reader(reader)?;
    if count > max {
        return Err(Error::new(
            ErrorKind::InvalidData,
            "a table is longer than its bound",
        ));
    }
    // Grown as bytes arrive: a length alone allocates nothing.
    let mut all = Vec::new();
    for _ in 0..count {
        all.push(T::deserialize_reader(reader)?);
    }
    Ok(all)
}

fn read_orders<R: Read>(
    reader: &mut R,
    books: &Books,
    ledger: &mut Ledger,
) -> IoResult<OrderTable> {
    let mut orders = OrderTable::with_slots(books.slots());
    let mut fixed = [0; DETAIL_BYTES + size_of::<u32>()];
    for (order, owner) in (0..books.slots()).filter_map(|slot| books.holder_in(slot)) {
        reader.read_exact(&mut fixed)?;
        let (detail, length) = fixed.split_first_chunk().unwrap_or((&[0; _], &[]));
        let detail = OrderDetail::decode(detail);
        let length = length.first_chunk().map_or(0, |l| u32::from_le_bytes(*l));
        let label = read_label(reader, length)?;
        let account = ledger.account_unmarked(owner);
        let account = account
            .ok_or_else(|| Error::new(ErrorKind::InvalidData, "an order without an account"))?;
        if detail.client_id.get() != 0 {
            let ids = account.client_ids.get_or_insert_default();
            ids.insert(detail.client_id, order);
        }
        orders.link(order, detail, &label, account);
    }
    Ok(orders)
}

/// A label of so many bytes. Grown as bytes arrive.
fn read_label<R: Read>(reader: &mut R, length: u32) -> IoResult<Vec<u8>> {
    let mut label = Vec::new();
    let mut left = length as usize;
    while left > 0 {
        let mut some = [0; LABEL_BYTES_MAX];
        let some = some
            .get_mut(..left.min(LABEL_BYTES_MAX))
            .unwrap_or_default();
        reader.read_exact(some)?;
        label.extend_from_slice(some);
        left = left.saturating_sub(some.len());
    }
    Ok(label)
}

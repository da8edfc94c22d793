//! What an auction remembers from its beginning to the block in which it clears.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use borsh::io::{Read, Result as IoResult, Write};
use borsh::{BorshDeserialize, BorshSerialize};

use super::seal::{CIPHERTEXT_BYTES, SealSignature};
use crate::commitment::keccak256;
use crate::types::{
    AccountId, Cash, Digest, InstrumentId, Nonce, OrderId, TimeMs, UnderlyingId, ValidatorId,
};

/// Where an auction stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Phase {
    /// Sealed orders come and go.
    Collecting,
    /// Nothing comes or goes any more; the seals wait for the validators' signature.
    Closed {
        /// Block time of the closing block.
        at: TimeMs,
    },
    /// The signature is here; seals are opened in their order, some in each block.
    Opening {
        /// It, verified.
        signature: SealSignature,
    },
}

/// A sealed order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seal {
    /// Whose.
    pub account: AccountId,
    /// The nonce of the command that carried it.
    pub nonce: Nonce,
    /// Initial margin held for it.
    pub bond: Cash,
    /// What it says, to nobody yet.
    pub ciphertext: [u8; CIPHERTEXT_BYTES],
    /// Of all of the above; derived.
    digest: Digest,
}

impl Seal {
    /// A sealed order.
    pub fn new(
        account: AccountId,
        nonce: Nonce,
        bond: Cash,
        ciphertext: [u8; CIPHERTEXT_BYTES],
    ) -> Self {
        let mut bytes = Vec::with_capacity(CIPHERTEXT_BYTES.saturating_add(20));
        let _ = (account, nonce, bond).serialize(&mut bytes);
        bytes.extend_from_slice(&ciphertext);
        Self {
            account,
            nonce,
            bond,
            ciphertext,
            digest: keccak256(&bytes),
        }
    }
}

impl BorshSerialize for Seal {
    fn serialize<W: Write>(&self, writer: &mut W) -> IoResult<()> {
        (self.account, self.nonce, self.bond, self.ciphertext).serialize(writer)
    }
}

impl BorshDeserialize for Seal {
    fn deserialize_reader<R: Read>(reader: &mut R) -> IoResult<Self> {
        let (account, nonce, bond, ciphertext) = BorshDeserialize::deserialize_reader(reader)?;
        Ok(Self::new(account, nonce, bond, ciphertext))
    }
}

/// The auction of one underlying.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Auction {
    /// Its number, never used again; an extension has one of its own.
    pub number: u64,
    /// When it began: block time, bound into what seals are encrypted to.
    pub began_at: TimeMs,
    /// The first block at or after this time closes it, if there is an index to clear by.
    pub closes_at: TimeMs,
    /// Where it stands.
    pub phase: Phase,
    /// The instruments that an extension is for; `None` is all of the underlying's.
    pub extended: Option<BTreeSet<InstrumentId>>,
    /// Sealed orders that are neither opened nor withdrawn, by the number each was answered with.
    pub seals: BTreeMap<u32, Seal>,
    /// The number of the next sealed order.
    pub next_seal: u32,
    /// What validators sent as their shares of the signature, and each one's place in the group's
    /// polynomial. Unjudged: whoever makes the signature of them checks them.
    pub shares: BTreeMap<ValidatorId, (u32, SealSignature)>,
    /// Orders out of opened seals that have not been through a clearing yet, and whether each may rest
    /// after it.
    pub opened: BTreeMap<OrderId, bool>,
    /// When the last indicative prices were published.
    pub indicated_at: TimeMs,
}

impl Auction {
    /// An auction that begins.
    pub const fn new(number: u64, began_at: TimeMs, closes_at: TimeMs) -> Self {
        Self {
            number,
            began_at,
            closes_at,
            phase: Phase::Collecting,
            extended: None,
            seals: BTreeMap::new(),
            next_seal: 0,
            shares: BTreeMap::new(),
            opened: BTreeMap::new(),
            indicated_at: TimeMs::new(0),
        }
    }

    /// Whether an instrument of the underlying is still to be cleared.
    pub fn clears(&self, instrument: InstrumentId) -> bool {
        let only = self.extended.as_ref();
        only.is_none_or(|only| only.contains(&instrument))
    }

    /// Whether an instrument's public orders stay as they are until it clears: from the closing block on,
    /// and throughout an extension, where opened orders are on show.
    pub fn locks(&self, instrument: InstrumentId) -> bool {
        let bound = self.extended.is_some() || self.phase != Phase::Collecting;
        bound && self.clears(instrument)
    }
}

/// All auctions that run, at most one of an underlying.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auctions {
    next: u64,
    running: BTreeMap<UnderlyingId, Auction>,
    /// Bonds held, by account; derived.
    bonds: BTreeMap<AccountId, i64>,
}

impl Default for Auctions {
    fn default() -> Self {
        Self {
            next: 1,
            running: BTreeMap::new(),
            bonds: BTreeMap::new(),
        }
    }
}

impl Auctions {
    /// Whether no auction runs.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// The auction of an underlying, if one runs.
    pub fn get(&self, underlying: UnderlyingId) -> Option<&Auction> {
        self.running.get(&underlying)
    }

    /// The same for changing all but its seals.
    pub fn get_mut(&mut self, underlying: UnderlyingId) -> Option<&mut Auction> {
        self.running.get_mut(&underlying)
    }

    /// Those that run, by underlying.
    pub fn iter(&self) -> impl Iterator<Item = (UnderlyingId, &Auction)> {
        self.running.iter().map(|(id, auction)| (*id, auction))
    }

    /// The underlying whose auction has this number.
    pub fn numbered(&self, number: u64) -> Option<(UnderlyingId, &Auction)> {
        self.iter().find(|(_, auction)| auction.number == number)
    }

    /// Gives out the next number.
    pub fn next_number(&mut self) -> u64 {
        let number = self.next;
        self.next = number.saturating_add(1);
        number
    }

    /// Puts an auction in place of the underlying's last.
    pub fn put(&mut self, underlying: UnderlyingId, auction: Auction) {
        self.running.insert(underlying, auction);
    }

    /// Takes an auction away, and with it the bonds of the seals that are left.
    pub fn take(&mut self, underlying: UnderlyingId) -> Option<Auction> {
        let auction = self.running.remove(&underlying)?;
        for seal in auction.seals.values() {
            self.release(seal);
        }
        Some(auction)
    }

    /// Initial margin held for an account's sealed orders.
    #[inline]
    pub fn bond_of(&self, account: AccountId) -> Cash {
        if self.bonds.is_empty() {
            return Cash::ZERO;
        }
        Cash::new(self.bonds.get(&account).copied().unwrap_or(0))
    }

    /// Notes a sealed order and gives it its number.
    pub fn seal(&mut self, underlying: UnderlyingId, seal: Seal) -> Option<u32> {
        let auction = self.running.get_mut(&underlying)?;
        let number = auction.next_seal;
        auction.next_seal = number.checked_add(1)?;
        let held = self.bonds.entry(seal.account).or_default();
        *held = held.saturating_add(seal.bond.get());
        auction.seals.insert(number, seal);
        Some(number)
    }

    /// Takes a sealed order away and releases its bond.
    pub fn unseal(&mut self, underlying: UnderlyingId, number: u32) -> Option<Seal> {
        let seal = self.running.get_mut(&underlying)?.seals.remove(&number)?;
        self.release(&seal);
        Some(seal)
    }

    fn release(&mut self, seal: &Seal) {
        let Some(held) = self.bonds.get_mut(&seal.account) else {
            return;
        };
        *held = held.saturating_sub(seal.bond.get());
        if *held == 0 {
            self.bonds.remove(&seal.account);
        }
    }

    /// Appends what the state root commits to: all of it, sealed orders by digest.
    pub fn write_commitment(&self, out: &mut Vec<u8>) {
        let _ = (self.next, self.running.len() as u64).serialize(out);
        for (underlying, auction) in &self.running {
            let numbers = (underlying, auction.number, auction.next_seal);
            let times = (auction.began_at, auction.closes_at, auction.indicated_at);
            let _ = (numbers, times, &auction.phase, &auction.extended).serialize(out);
            let sealed = auction.seals.len() as u64;
            let _ = (&auction.shares, &auction.opened, sealed).serialize(out);
            for (number, seal) in &auction.seals {
                let _ = (number, seal.digest).serialize(out);
            }
        }
    }
}

impl BorshSerialize for Auctions {
    fn serialize<W: Write>(&self, writer: &mut W) -> IoResult<()> {
        (self.next, &self.running).serialize(writer)
    }
}

impl BorshDeserialize for Auctions {
    fn deserialize_reader<R: Read>(reader: &mut R) -> IoResult<Self> {
        let next = u64::deserialize_reader(reader)?;
        let running: BTreeMap<UnderlyingId, Auction> =
            BorshDeserialize::deserialize_reader(reader)?;
        let mut bonds: BTreeMap<AccountId, i64> = BTreeMap::new();
        for seal in running.values().flat_map(|auction| auction.seals.values()) {
            let held = bonds.entry(seal.account).or_default();
            *held = held.saturating_add(seal.bond.get());
        }
        Ok(Self {
            next,
            running,
            bonds,
        })
    }
}

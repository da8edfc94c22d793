//! Fixed-width big-endian fields, the order in which every format of this module is written.

use alloc::vec::Vec;
use lifeboat_engine::commitment::keccak256;
use lifeboat_engine::types::{Address, Digest};

use crate::ProofError;

/// First byte of an exit leaf.
pub(super) const EXIT_LEAF_KIND: u8 = 0x21;
/// First byte of an exit summary; it is also the format's version.
pub(super) const SUMMARY_KIND: u8 = 0x23;
/// Last byte of what is hashed for a summary's digest.
pub(super) const SUMMARY_TAG: u8 = 0x23;
/// Last byte of what is hashed for an exit root.
pub(super) const EXIT_ROOT_TAG: u8 = 0x24;
/// Last byte of what is hashed for what a vault keeps of a checkpoint.
pub(super) const COMMITMENT_TAG: u8 = 0x26;

/// keccak256 of `bytes ‖ tag`.
pub(super) fn tagged(mut bytes: Vec<u8>, tag: u8) -> Digest {
    bytes.push(tag);
    keccak256(&bytes)
}

/// Reads fields off the front of some bytes.
pub(super) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The next `N` bytes.
    pub(super) fn take<const N: usize>(&mut self) -> Result<[u8; N], ProofError> {
        let (field, rest) = self
            .0
            .split_first_chunk::<N>()
            .ok_or(ProofError::Malformed)?;
        self.0 = rest;
        Ok(*field)
    }

    pub(super) fn u8(&mut self) -> Result<u8, ProofError> {
        self.take().map(u8::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, ProofError> {
        self.take().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, ProofError> {
        self.take().map(u64::from_be_bytes)
    }

    pub(super) fn i64(&mut self) -> Result<i64, ProofError> {
        self.take().map(i64::from_be_bytes)
    }

    pub(super) fn address(&mut self) -> Result<Address, ProofError> {
        self.take().map(Address)
    }

    pub(super) fn digest(&mut self) -> Result<Digest, ProofError> {
        self.take().map(Digest)
    }

    /// That the next byte is `kind`.
    pub(super) fn expect(&mut self, kind: u8) -> Result<(), ProofError> {
        match self.u8()? == kind {
            true => Ok(()),
            false => Err(ProofError::Malformed),
        }
    }

    /// That nothing is left.
    pub(super) const fn end(self) -> Result<(), ProofError> {
        match self.0.is_empty() {
            true => Ok(()),
            false => Err(ProofError::Malformed),
        }
    }
}

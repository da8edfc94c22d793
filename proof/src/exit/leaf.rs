//! An account's leaf in the exit tree: who, what cash, and its ladders.

use alloc::vec::Vec;
use lifeboat_engine::limits::UNDERLYINGS_MAX;
use lifeboat_engine::types::{AccountId, Address, Cash, UnderlyingId};

use super::SettlementChain;
use super::ladder::{EXIT_LEVELS, ExitValue, Ladder, PricePoint, UnderlyingLadder};
use super::wire::{EXIT_LEAF_KIND, Fields};
use crate::ProofError;

/// Ladders in one leaf.
pub const UNDERLYINGS_PER_LEAF_MAX: usize = UNDERLYINGS_MAX;
const FIXED_BYTES: usize = 1 + 8 + 4 + 20 + 8 + 8 + 1;
const LADDER_BYTES: usize = 1 + EXIT_LEVELS * 8;
/// Bytes of the longest leaf.
pub const EXIT_LEAF_BYTES_MAX: usize = FIXED_BYTES + UNDERLYINGS_PER_LEAF_MAX * LADDER_BYTES;

/// A leaf whose ladders are somebody else's: what a builder of a million leaves works with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeafView<'a> {
    /// The chain whose vault pays it.
    pub settlement: SettlementChain,
    /// The account, and the leaf's index in the tree.
    pub account: AccountId,
    /// Who owns it.
    pub owner: Address,
    /// The account's cash allotted to this chain. May be negative.
    pub cash: Cash,
    /// Value under which the account may be crystallised during an outage.
    pub critical: Cash,
    /// One ladder for each underlying in which the account's value depends on the price, ascending.
    pub ladders: &'a [UnderlyingLadder],
}

impl LeafView<'_> {
    /// Appends the canonical bytes: `21 ‖ chain 8 ‖ index 4 ‖ owner 20 ‖ cash 8 ‖ critical 8 ‖ n 1`,
    /// then n times `underlying 1 ‖ 17 levels of 8`, all big-endian.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        out.push(EXIT_LEAF_KIND);
        out.extend_from_slice(&self.settlement.get().to_be_bytes());
        out.extend_from_slice(&self.account.get().to_be_bytes());
        out.extend_from_slice(&self.owner.0);
        out.extend_from_slice(&self.cash.get().to_be_bytes());
        out.extend_from_slice(&self.critical.get().to_be_bytes());
        out.push(u8::try_from(self.ladders.len()).unwrap_or(u8::MAX));
        for entry in self.ladders {
            let mut bytes = [0_u8; LADDER_BYTES];
            if let Some((first, levels)) = bytes.split_first_mut() {
                *first = entry.underlying.get();
                for (to, level) in levels
                    .as_chunks_mut::<8>()
                    .0
                    .iter_mut()
                    .zip(&entry.ladder.0)
                {
                    *to = level.to_be_bytes();
                }
            }
            out.extend_from_slice(&bytes);
        }
    }

    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(EXIT_LEAF_BYTES_MAX);
        self.encode_into(&mut out);
        out
    }

    /// The same with memory of its own.
    pub fn to_owned(&self) -> ExitLeaf {
        ExitLeaf {
            settlement: self.settlement,
            account: self.account,
            owner: self.owner,
            cash: self.cash,
            critical: self.critical,
            ladders: self.ladders.to_vec(),
        }
    }

    /// What the account is worth; `points` by underlying id.
    ///
    /// # Errors
    /// [`ProofError::UnknownUnderlying`].
    pub fn value(&self, points: &[PricePoint]) -> Result<ExitValue, ProofError> {
        ExitValue::of(self.cash, self.ladders, points)
    }
}

/// How long the leaf is that these bytes begin with; `None` when they end before that says itself.
pub(super) fn leaf_bytes(bytes: &[u8]) -> Option<usize> {
    let count = bytes.get(FIXED_BYTES.checked_sub(1)?)?;
    usize::from(*count)
        .checked_mul(LADDER_BYTES)?
        .checked_add(FIXED_BYTES)
}

/// A leaf that owns its ladders: what a reader gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExitLeaf {
    /// See [`LeafView`].
    pub settlement: SettlementChain,
    /// See [`LeafView`].
    pub account: AccountId,
    /// See [`LeafView`].
    pub owner: Address,
    /// See [`LeafView`].
    pub cash: Cash,
    /// See [`LeafView`].
    pub critical: Cash,
    /// See [`LeafView`].
    pub ladders: Vec<UnderlyingLadder>,
}

impl ExitLeaf {
    /// The leaf without its own memory.
    pub fn view(&self) -> LeafView<'_> {
        LeafView {
            settlement: self.settlement,
            account: self.account,
            owner: self.owner,
            cash: self.cash,
            critical: self.critical,
            ladders: &self.ladders,
        }
    }

    /// Reads a leaf; nothing may follow it, and its ladders must ascend.
    ///
    /// # Errors
    /// [`ProofError::Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, ProofError> {
        let mut fields = Fields::new(bytes);
        fields.expect(EXIT_LEAF_KIND)?;
        let settlement = SettlementChain::new(fields.u64()?);
        let account = AccountId::new(fields.u32()?);
        let owner = fields.address()?;
        let cash = Cash::new(fields.i64()?);
        let critical = Cash::new(fields.i64()?);
        let count = usize::from(fields.u8()?);
        if count > UNDERLYINGS_PER_LEAF_MAX {
            return Err(ProofError::Malformed);
        }
        let mut ladders: Vec<UnderlyingLadder> = Vec::with_capacity(count);
        for _ in 0..count {
            let entry = read_ladder(&mut fields)?;
            if ladders
                .last()
                .is_some_and(|last| last.underlying >= entry.underlying)
            {
                return Err(ProofError::Malformed);
            }
            ladders.push(entry);
        }
        fields.end()?;
        Ok(Self {
            settlement,
            account,
            owner,
            cash,
            critical,
            ladders,
        })
    }
}

fn read_ladder(fields: &mut Fields<'_>) -> Result<UnderlyingLadder, ProofError> {
    let underlying = UnderlyingId::new(fields.u8()?);
    let mut ladder = Ladder::ZERO;
    for level in &mut ladder.0 {
        *level = fields.i64()?;
    }
    Ok(UnderlyingLadder { underlying, ladder })
}

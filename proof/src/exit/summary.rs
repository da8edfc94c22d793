//! What a block's exit root commits to, one summary for each settlement chain.

use alloc::vec::Vec;
use lifeboat_engine::limits::UNDERLYINGS_MAX;
use lifeboat_engine::types::{Address, Cash, Digest, Price};

use super::SettlementChain;
use super::ladder::{Grid, PricePoint};
use super::wire::{COMMITMENT_TAG, EXIT_ROOT_TAG, Fields, SUMMARY_KIND, SUMMARY_TAG, tagged};
use crate::ProofError;

const FIXED_BYTES: usize = 1 + 8 + 20 + 32 + 8 + 32 + 4 + 8 + 8 + 32 + 8 + 8 + 8 + 8 + 32 + 1;
const UNDERLYING_BYTES: usize = 3 * 8;
/// Bytes of the longest summary.
pub const EXIT_SUMMARY_BYTES_MAX: usize = FIXED_BYTES + UNDERLYINGS_MAX * UNDERLYING_BYTES;

/// What a vault keeps of an accepted summary in one word: keccak256 of its withdrawals root, its digest
/// and the tag `26`.
pub fn commitment(withdrawals_root: &Digest, summary: &Digest) -> Digest {
    tagged([withdrawals_root.0, summary.0].concat(), COMMITMENT_TAG)
}

/// What is certified about one underlying.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CertifiedUnderlying {
    /// Its levels; the mark is level 8.
    pub grid: Grid,
    /// Lowest price of the safe range.
    pub safe_low: Price,
    /// Highest price of the safe range. Under `safe_low` there is none.
    pub safe_high: Price,
}

/// Everything that a vault needs to know of the venue's state, and nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExitSummary {
    /// The chain.
    pub settlement: SettlementChain,
    /// The vault on it.
    pub vault: Address,
    /// Root of the tree of exit leaves.
    pub accounts_root: Digest,
    /// Sum of the leaves' cash: what the venue owes its accounts on this chain.
    pub accounts_cash: Cash,
    /// Root of the tree of all withdrawals ever certified for this chain.
    pub withdrawals_root: Digest,
    /// How many there are.
    pub withdrawals_count: u32,
    /// Sum of their amounts.
    pub withdrawals_total: Cash,
    /// How many of the vault's deposits were credited.
    pub deposit_cursor: u64,
    /// The hash over them; see [`super::DepositChain`].
    pub deposits_hash: Digest,
    /// Sum of their amounts. `accounts_cash + withdrawals_total` is equal to it (invariant I1).
    pub deposits_total: Cash,
    /// How many of the vault's requests for forced withdrawal were answered.
    pub forced_cursor: u64,
    /// How many of the vault's crystallisations were taken in.
    pub crystallised_cursor: u64,
    /// Part of the insurance fund's leaf that pays for accounts under zero inside the safe range.
    pub fund_reserve: Cash,
    /// What the data-availability layer was given up to here.
    pub da_commitment: Digest,
    /// By underlying id.
    pub underlyings: Vec<CertifiedUnderlying>,
}

impl ExitSummary {
    /// The canonical bytes, big-endian, in the order of the fields; underlyings as a count of one byte
    /// and `step 8 ‖ low 8 ‖ high 8` each. The first byte is `23`.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(EXIT_SUMMARY_BYTES_MAX);
        out.push(SUMMARY_KIND);
        out.extend_from_slice(&self.settlement.get().to_be_bytes());
        out.extend_from_slice(&self.vault.0);
        out.extend_from_slice(&self.accounts_root.0);
        out.extend_from_slice(&self.accounts_cash.get().to_be_bytes());
        out.extend_from_slice(&self.withdrawals_root.0);
        out.extend_from_slice(&self.withdrawals_count.to_be_bytes());
        out.extend_from_slice(&self.withdrawals_total.get().to_be_bytes());
        out.extend_from_slice(&self.deposit_cursor.to_be_bytes());
        out.extend_from_slice(&self.deposits_hash.0);
        out.extend_from_slice(&self.deposits_total.get().to_be_bytes());
        out.extend_from_slice(&self.forced_cursor.to_be_bytes());
        out.extend_from_slice(&self.crystallised_cursor.to_be_bytes());
        out.extend_from_slice(&self.fund_reserve.get().to_be_bytes());
        out.extend_from_slice(&self.da_commitment.0);
        out.push(u8::try_from(self.underlyings.len()).unwrap_or(u8::MAX));
        for underlying in &self.underlyings {
            out.extend_from_slice(&underlying.grid.step().to_be_bytes());
            out.extend_from_slice(&underlying.safe_low.get().to_be_bytes());
            out.extend_from_slice(&underlying.safe_high.get().to_be_bytes());
        }
        out
    }

    /// Reads a summary; nothing may follow it.
    ///
    /// # Errors
    /// [`ProofError::Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, ProofError> {
        let mut fields = Fields::new(bytes);
        fields.expect(SUMMARY_KIND)?;
        let mut summary = Self {
            settlement: SettlementChain::new(fields.u64()?),
            vault: fields.address()?,
            accounts_root: fields.digest()?,
            accounts_cash: Cash::new(fields.i64()?),
            withdrawals_root: fields.digest()?,
            withdrawals_count: fields.u32()?,
            withdrawals_total: Cash::new(fields.i64()?),
            deposit_cursor: fields.u64()?,
            deposits_hash: fields.digest()?,
            deposits_total: Cash::new(fields.i64()?),
            forced_cursor: fields.u64()?,
            crystallised_cursor: fields.u64()?,
            fund_reserve: Cash::new(fields.i64()?),
            da_commitment: fields.digest()?,
            underlyings: Vec::new(),
        };
        let count = usize::from(fields.u8()?);
        if count > UNDERLYINGS_MAX {
            return Err(ProofError::Malformed);
        }
        for _ in 0..count {
            summary.underlyings.push(CertifiedUnderlying {
                grid: Grid::from_step(fields.u64()?).ok_or(ProofError::Malformed)?,
                safe_low: Price::new(fields.i64()?),
                safe_high: Price::new(fields.i64()?),
            });
        }
        fields.end()?;
        Ok(summary)
    }

    /// keccak256 of the bytes and the tag `23`.
    pub fn digest(&self) -> Digest {
        tagged(self.encode(), SUMMARY_TAG)
    }

    /// What the vault keeps of this summary: see [`commitment`].
    pub fn commitment(&self) -> Digest {
        commitment(&self.withdrawals_root, &self.digest())
    }

    /// Whether what is owed to accounts and what was withdrawn add up to what was deposited (I1).
    pub fn balances(&self) -> bool {
        self.accounts_cash.checked_add(self.withdrawals_total) == Some(self.deposits_total)
    }

    /// Where these prices, by underlying id, lie on the grids.
    ///
    /// # Errors
    /// [`ProofError::UnknownUnderlying`] when there are not as many prices as underlyings.
    pub fn points(&self, prices: &[Price]) -> Result<Vec<PricePoint>, ProofError> {
        if prices.len() != self.underlyings.len() {
            return Err(ProofError::UnknownUnderlying);
        }
        let pairs = self.underlyings.iter().zip(prices);
        Ok(pairs
            .map(|(underlying, price)| underlying.grid.point(*price))
            .collect())
    }

    /// Whether every price is inside its safe range. With as many prices as underlyings only.
    pub fn is_safe(&self, prices: &[Price]) -> bool {
        prices.len() == self.underlyings.len()
            && self
                .underlyings
                .iter()
                .zip(prices)
                .all(|(underlying, price)| {
                    underlying.safe_low <= *price && *price <= underlying.safe_high
                })
    }
}

/// What a header carries: `keccak256(digest₀ ‖ … ‖ digestₙ₋₁ ‖ 24)` over the summaries' digests, one
/// for each settlement chain in the order of the venue's configuration.
pub fn exit_root(summaries: &[Digest]) -> Digest {
    let bytes = summaries.iter().flat_map(|digest| digest.0).collect();
    tagged(bytes, EXIT_ROOT_TAG)
}

/// That a summary is under an exit root, at `position` among the chains' digests.
///
/// # Errors
/// [`ProofError::OtherSummary`].
pub fn verify_summary(
    root: &Digest,
    digests: &[Digest],
    position: usize,
    summary: &ExitSummary,
) -> Result<(), ProofError> {
    let placed = digests.get(position) == Some(&summary.digest());
    if placed && exit_root(digests) == *root {
        Ok(())
    } else {
        Err(ProofError::OtherSummary)
    }
}

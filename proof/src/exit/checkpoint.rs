//! A venue's exits at one height, worked out from its state.
//!
//! Everything is worked out anew: every tick of a mark moves every ladder, so there is nothing to keep
//! from the last time. An [`ExitBuilder`] only reads the engine, and parts of the accounts can be worked
//! out on several cores.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::mem::take;
use core::ops::Range;

use lifeboat_engine::commitment::MerkleProof;
use lifeboat_engine::ledger::Account;
use lifeboat_engine::types::{AccountId, Cash, Digest, Height, InstrumentId, Price, UnderlyingId};
use lifeboat_engine::vault::{VaultState, Withdrawal};
use lifeboat_engine::{Engine, INSURANCE_FUND};

use super::ladder::{EXIT_LEVELS, Grid, Ladder, UnderlyingLadder};
use super::leaf::{ExitLeaf, LeafView, leaf_bytes};
use super::safe_range::{SafeBox, SafeRange};
use super::summary::{CertifiedUnderlying, ExitSummary, exit_root};
use super::tree::{ExitTree, LeafHasher};

/// Accounts whose leaves lie together.
pub const LEAVES_PER_CHUNK: u32 = 1_024;
/// An instrument nobody can hold.
const NO_LADDER: u32 = u32::MAX;

/// The exits of a venue at one height.
#[derive(Clone, Debug)]
pub struct ExitCheckpoint {
    /// After which block.
    pub height: Height,
    /// One for each vault, in the order of the venue's parameters.
    pub summaries: Vec<ExitSummary>,
    /// The tree over all leaves.
    pub tree: ExitTree,
    /// The leaves' bytes one after another, [`LEAVES_PER_CHUNK`] in each but the last.
    pub leaves: Vec<Box<[u8]>>,
}

impl ExitCheckpoint {
    /// The exits of the state as it is; `None` for a venue without a vault.
    pub fn of(engine: &Engine) -> Option<Self> {
        let builder = ExitBuilder::new(engine)?;
        let parts = builder.ranges(1).into_iter().map(|ids| builder.part(ids));
        let parts = parts.collect();
        Some(builder.finish(parts))
    }

    /// What a header carries.
    pub fn root(&self) -> Digest {
        let digests: Vec<Digest> = self.summaries.iter().map(ExitSummary::digest).collect();
        exit_root(&digests)
    }

    /// An account's leaf, encoded, and its path to the accounts root of the first vault's summary.
    pub fn prove_account(&self, account: AccountId) -> Option<(Vec<u8>, MerkleProof)> {
        let id = account.get();
        let chunk = usize::try_from(id / LEAVES_PER_CHUNK).ok()?;
        let leaf = leaf_in_chunk(self.leaves.get(chunk)?, id % LEAVES_PER_CHUNK)?;
        Some((leaf.to_vec(), self.tree.prove(id)?))
    }
}

/// A withdrawal's leaf, encoded, and its path to a summary's withdrawals root, from the withdrawals of
/// the summary's chain in order; there may be more of them by now. `None` when the summary does not
/// cover it, or the withdrawals are others.
pub fn prove_withdrawal(
    summary: &ExitSummary,
    withdrawals: &[Withdrawal],
    number: u32,
) -> Option<(Vec<u8>, MerkleProof)> {
    let count = usize::try_from(summary.withdrawals_count).ok()?;
    let covered = withdrawals.get(..count)?;
    let leaf = |number: u32| {
        let withdrawal = covered.get(usize::try_from(number).ok()?)?;
        Some(withdrawal.leaf(summary.settlement, number))
    };
    let mut digests = Vec::with_capacity(count);
    LeafHasher::default().hash(
        summary.withdrawals_count,
        |number, out| out.extend(leaf(number).into_iter().flatten()),
        &mut digests,
    );
    let mut tree = ExitTree::default();
    tree.set_digests(0, &digests);
    let same = tree.root() == summary.withdrawals_root;
    let found = leaf(number).filter(|_| same)?;
    Some((found.to_vec(), tree.prove(number)?))
}

/// The `place`-th leaf of a chunk.
pub fn leaf_in_chunk(chunk: &[u8], place: u32) -> Option<&[u8]> {
    let mut rest = chunk;
    for _ in 0..place {
        rest = rest.get(leaf_bytes(rest)?..)?;
    }
    rest.get(..leaf_bytes(rest)?)
}

/// What a range of accounts came to.
#[derive(Debug, Default)]
pub struct ExitPart {
    first: u32,
    leaves: Vec<Box<[u8]>>,
    digests: Vec<Digest>,
    safe: SafeRange,
    cash: i128,
    /// By underlying id: whether anybody's value depends on its price.
    exposed: Vec<bool>,
    fund: Option<ExitLeaf>,
}

/// Works out a venue's exits.
pub struct ExitBuilder<'a> {
    engine: &'a Engine,
    vault: &'a VaultState,
    /// By underlying id; `None` where there is no index.
    grids: Vec<Option<Grid>>,
    /// By instrument id.
    places: Vec<u32>,
    /// One lot of each instrument that somebody may hold.
    ladders: Vec<(usize, Ladder)>,
}

impl<'a> ExitBuilder<'a> {
    /// Values one lot of every instrument; `None` for a venue without a vault.
    pub fn new(engine: &'a Engine) -> Option<Self> {
        let vault = engine.vaults().first()?;
        let ids = (0..engine.parameters().underlyings.len()).filter_map(|at| u8::try_from(at).ok());
        let mark = |id| engine.index_price(UnderlyingId::new(id));
        let mut builder = Self {
            engine,
            vault,
            grids: ids.map(|id| mark(id).and_then(Grid::from_mark)).collect(),
            places: Vec::new(),
            ladders: Vec::new(),
        };
        builder.value_instruments();
        Some(builder)
    }

    fn value_instruments(&mut self) {
        let levels: Vec<Option<[Price; EXIT_LEVELS]>> = self
            .grids
            .iter()
            .map(|grid| {
                grid.map(|grid| core::array::from_fn(|at| grid.level(at).unwrap_or_default()))
            })
            .collect();
        for instrument in self.engine.instruments().iter() {
            let underlying = usize::from(instrument.terms.underlying.get());
            let levels = levels.get(underlying).and_then(Option::as_ref);
            let values = levels.and_then(|levels| self.engine.lot_values(instrument.id, levels));
            let place = values.map_or(NO_LADDER, |values| {
                let place = self.ladders.len();
                self.ladders
                    .push((underlying, Ladder(values.map(Cash::get))));
                u32::try_from(place).unwrap_or(NO_LADDER)
            });
            self.places.push(place);
        }
    }

    /// The accounts in at most `parts` ranges, each for one core.
    pub fn ranges(&self, parts: u32) -> Vec<Range<u32>> {
        let accounts = self.engine.ledger().len();
        let chunks = accounts.div_ceil(LEAVES_PER_CHUNK).div_ceil(parts.max(1));
        let share = chunks.max(1).saturating_mul(LEAVES_PER_CHUNK);
        let starts = (0..accounts).step_by(usize::try_from(share).unwrap_or(usize::MAX));
        starts
            .map(|start| start..start.saturating_add(share).min(accounts))
            .collect()
    }

    /// Works out one of those ranges.
    pub fn part(&self, ids: Range<u32>) -> ExitPart {
        let mut part = ExitPart {
            first: ids.start,
            exposed: vec![false; self.grids.len()],
            ..ExitPart::default()
        };
        let mut reader = self.engine.exit_reader();
        let mut hasher = LeafHasher::default();
        let mut digests = Vec::with_capacity(ids.len());
        let mut sums = vec![Ladder::ZERO; self.grids.len()];
        let mut entries = Vec::with_capacity(self.grids.len());
        let mut chunk = Vec::new();
        let last = ids.end.saturating_sub(1);
        let encode = |slot: u32, out: &mut Vec<u8>| {
            let id = AccountId::new(ids.start.saturating_add(slot));
            if let Some((account, critical)) = reader.account(id) {
                self.sum_ladders(account, &mut sums, &mut entries);
                let leaf = self.leaf(id, account, critical, &entries);
                let from = out.len();
                leaf.encode_into(out);
                chunk.extend_from_slice(out.get(from..).unwrap_or_default());
                part.count(&leaf);
            }
            if id.get() == last || slot % LEAVES_PER_CHUNK == LEAVES_PER_CHUNK - 1 {
                part.leaves.push(take(&mut chunk).into_boxed_slice());
            }
        };
        let count = u32::try_from(ids.len()).unwrap_or(u32::MAX);
        hasher.hash(count, encode, &mut digests);
        part.digests = digests;
        part
    }

    /// An account's ladders, one for each underlying in which they do not cancel out. A level that left
    /// its range, which no margined account comes near, would be left out of both sides.
    fn sum_ladders(
        &self,
        account: &Account,
        sums: &mut [Ladder],
        entries: &mut Vec<UnderlyingLadder>,
    ) {
        sums.fill(Ladder::ZERO);
        for holding in account.holdings.iter().filter(|h| h.position != 0) {
            if let Some((underlying, one_lot)) = self.ladder_of(holding.instrument)
                && let Some(sum) = sums.get_mut(*underlying)
            {
                let _ = sum.add_lots(one_lot, holding.position);
            }
        }
        entries.clear();
        let named = (0..).map(UnderlyingId::new).zip(sums.iter());
        entries.extend(named.filter(|(_, ladder)| !ladder.is_zero()).map(
            |(underlying, ladder)| UnderlyingLadder {
                underlying,
                ladder: *ladder,
            },
        ));
    }

    fn ladder_of(&self, instrument: InstrumentId) -> Option<&(usize, Ladder)> {
        let place = self.places.get(usize::try_from(instrument.get()).ok()?)?;
        self.ladders.get(usize::try_from(*place).ok()?)
    }

    /// The fund's leaf also holds the fees that the venue has not taken out.
    fn leaf<'b>(
        &self,
        id: AccountId,
        account: &Account,
        critical: Cash,
        ladders: &'b [UnderlyingLadder],
    ) -> LeafView<'b> {
        let fees = self.engine.ledger().fees.get();
        let more = if id == INSURANCE_FUND { fees } else { 0 };
        LeafView {
            settlement: self.vault.chain(),
            account: id,
            owner: account.owner,
            cash: Cash::new(account.cash.get().saturating_add(more)),
            critical,
            ladders,
        }
    }

    /// Puts the parts of all ranges together.
    pub fn finish(&self, parts: Vec<ExitPart>) -> ExitCheckpoint {
        let mut tree = ExitTree::default();
        let mut leaves = Vec::new();
        let mut safe = SafeRange::default();
        let mut cash = 0_i128;
        let mut exposed = vec![false; self.grids.len()];
        let mut fund = None;
        for part in parts {
            tree.set_digests(part.first, &part.digests);
            leaves.extend(part.leaves);
            safe.merge(&part.safe);
            cash = cash.saturating_add(part.cash);
            for (all, here) in exposed.iter_mut().zip(part.exposed) {
                *all |= here;
            }
            fund = fund.or(part.fund);
        }
        let safe = fund
            .as_ref()
            .map_or_else(SafeBox::none, |fund| safe.largest(&fund.view()));
        let summary = ExitSummary {
            settlement: self.vault.chain(),
            vault: self.vault.parameters.vault,
            accounts_root: tree.root(),
            accounts_cash: Cash::new(i64::try_from(cash).unwrap_or(i64::MAX)),
            withdrawals_root: self.vault.withdrawals_root(),
            withdrawals_count: u32::try_from(self.vault.withdrawals().len()).unwrap_or(u32::MAX),
            withdrawals_total: self.vault.withdrawn(),
            deposit_cursor: self.vault.deposits.cursor,
            deposits_hash: self.vault.deposits.hash,
            deposits_total: Cash::new(i64::try_from(self.vault.deposits.total).unwrap_or(i64::MAX)),
            forced_cursor: self.vault.forced,
            crystallised_cursor: self.vault.crystallised,
            fund_reserve: safe.fund_reserve,
            da_commitment: Digest::default(),
            underlyings: self.underlyings(&safe, &exposed),
        };
        ExitCheckpoint {
            height: self.engine.height(),
            summaries: vec![summary],
            tree,
            leaves,
        }
    }

    /// Where nobody's value depends on a price, every price is safe.
    fn underlyings(&self, safe: &SafeBox, exposed: &[bool]) -> Vec<CertifiedUnderlying> {
        let each = self.grids.iter().zip(exposed).map(|(grid, exposed)| {
            let grid = grid.unwrap_or(Grid::SMALLEST);
            let (safe_low, safe_high) = match safe.radius.is_some() && !exposed {
                true => (Price::ZERO, Price::MAX),
                false => safe.range(grid),
            };
            CertifiedUnderlying {
                grid,
                safe_low,
                safe_high,
            }
        });
        each.collect()
    }
}

impl ExitPart {
    fn count(&mut self, leaf: &LeafView<'_>) {
        self.cash = self.cash.saturating_add(i128::from(leaf.cash.get()));
        for entry in leaf.ladders {
            let at = usize::from(entry.underlying.get());
            if let Some(exposed) = self.exposed.get_mut(at) {
                *exposed = true;
            }
        }
        if leaf.account == INSURANCE_FUND {
            self.fund = Some(leaf.to_owned());
        } else {
            self.safe.add(leaf);
        }
    }
}

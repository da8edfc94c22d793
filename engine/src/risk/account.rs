//! Sums of the accounts that trade, remembered between orders.
//!
//! What is remembered is a function of the account's holdings and of the instruments' values, kept
//! up to date exactly. Which accounts are remembered is a matter of speed only: one that is not is
//! summed anew.

use alloc::vec::Vec;

use super::book::RiskBook;
use super::evaluate::{GROSS_MAX, Part, PositionLeg, Tables, add_held, leg_key, sum_expiry};
use super::lanes::{LANES, Pair, Sums, Width};
use super::market::Holding;
use super::row::{InstrumentRow, NO_STRIKE};
use crate::book::prefetch::fetch;
use crate::types::{AccountId, InstrumentId, Side};

/// One underlying's sums: positions and, on top, the worst of the open orders.
#[derive(Clone, Copy, Debug)]
pub(super) struct CachedPart {
    pub underlying: u8,
    /// Lanes and contingencies of positions and open orders; `naked` of positions alone.
    pub sums: Part<i64>,
    /// Naked shorts if every open sell filled, in 1e-8 coin, on top.
    pub open_naked: i64,
    /// Lots of perpetuals, positions and open orders.
    pub perp_lots: u64,
    /// Its contribution to initial margin, where it has been worked out.
    pub im: Option<i128>,
}

/// One account's sums. Orders read the first two cache lines, trades all three.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub(super) struct AccountSums {
    account: Option<AccountId>,
    /// When they were exact, and the drift then.
    epoch: u64,
    drift: u64,
    /// All lots that went into or out of the sums since they began.
    weight: u64,
    pub parts: Vec<CachedPart>,
    /// When the parts' contributions were exact.
    contributions_epoch: u64,
    /// Σ lots · the instrument's largest value, open orders included.
    pub gross: u128,
    /// What open orders lose by their prices, in cash units; at most zero.
    pub drag: i128,
    groups: Vec<Sums<i64>>,
    /// Which expiries those are of, apart: they are searched, and sums are many cache lines long.
    group_ids: Vec<u16>,
    /// Net amount by expiry and strike, in 1e-8 coin, ascending.
    strikes: Vec<(u64, i64)>,
}

const _: () = assert!(
    size_of::<AccountSums>() == 192
        && core::mem::offset_of!(AccountSums, contributions_epoch) < 64
        && core::mem::offset_of!(AccountSums, drag) < 128
);

/// A direct-mapped table of accounts' sums.
#[derive(Debug, Default)]
pub(super) struct AccountCache {
    entries: Vec<AccountSums>,
}

impl AccountCache {
    pub fn new(accounts: usize) -> Self {
        let mut entries = Vec::new();
        entries.resize_with(accounts.max(1).next_power_of_two(), AccountSums::default);
        Self { entries }
    }

    #[inline(always)]
    fn slot(&self, account: AccountId) -> usize {
        account.get() as usize & self.entries.len().wrapping_sub(1)
    }

    /// The account's sums where they were exact at `valid_from` or later.
    #[inline(always)]
    pub fn usable(&mut self, account: AccountId, valid_from: u64) -> Option<&mut AccountSums> {
        let slot = self.slot(account);
        let sums = self.entries.get_mut(slot)?;
        (sums.account == Some(account) && sums.epoch >= valid_from).then_some(sums)
    }

    /// The account's sums where they are exact.
    #[inline(always)]
    pub fn current(&mut self, account: AccountId, epoch: u64) -> Option<&mut AccountSums> {
        let slot = self.slot(account);
        let sums = self.entries.get_mut(slot)?;
        (sums.account == Some(account) && sums.epoch == epoch).then_some(sums)
    }

    /// Bytes that the table takes, heap included.
    pub fn bytes(&self) -> usize {
        let heap = |sums: &AccountSums| {
            let parts = sums
                .parts
                .capacity()
                .saturating_mul(size_of::<CachedPart>());
            let groups = sums
                .groups
                .capacity()
                .saturating_mul(size_of::<Sums<i64>>());
            let ids = sums.group_ids.capacity().saturating_mul(size_of::<u16>());
            let strikes = sums
                .strikes
                .capacity()
                .saturating_mul(size_of::<(u64, i64)>());
            [groups, ids, strikes]
                .into_iter()
                .fold(parts, usize::saturating_add)
        };
        let table = self
            .entries
            .capacity()
            .saturating_mul(size_of::<AccountSums>());
        self.entries
            .iter()
            .map(heap)
            .fold(table, usize::saturating_add)
    }
}

impl CachedPart {
    const fn new(underlying: u8) -> Self {
        Self {
            underlying,
            sums: Part::ZERO,
            open_naked: 0,
            perp_lots: 0,
            im: None,
        }
    }

    /// Adds `lots` (negative to take away) to what counts per lot held either way.
    #[inline(always)]
    pub fn add_abs(&mut self, row: &InstrumentRow, lots: i64) {
        if !row.has_contingencies {
            return;
        }
        let sums = &mut self.sums.held;
        sums.im_abs = sums.im_abs.wrapping_add(row.im_abs.wrapping_mul(lots));
        sums.im_abs_perp = sums
            .im_abs_perp
            .wrapping_add(row.im_abs_perp.wrapping_mul(lots));
        sums.mm_abs = sums.mm_abs.wrapping_add(row.mm_abs.wrapping_mul(lots));
        if row.is_perp {
            self.perp_lots = self.perp_lots.wrapping_add_signed(lots);
            self.sums.held.has_perp = self.perp_lots > 0;
        }
    }
}

impl AccountSums {
    /// Forgets everything, keeping the memory.
    fn clear(&mut self) {
        (self.account, self.gross, self.drag, self.weight) = (None, 0, 0, 0);
        self.parts.clear();
        self.groups.clear();
        self.group_ids.clear();
        self.strikes.clear();
    }

    /// The underlying's part, made where there is none.
    #[inline(always)]
    pub fn part(&mut self, underlying: u8) -> &mut CachedPart {
        let found = self
            .parts
            .iter()
            .position(|part| part.underlying == underlying);
        let at = found.unwrap_or_else(|| {
            self.parts.push(CachedPart::new(underlying));
            self.parts.len().saturating_sub(1)
        });
        #[allow(clippy::indexing_slicing, reason = "found or just pushed")]
        &mut self.parts[at]
    }

    /// The group's sums, zero where there are none.
    pub fn group(&self, group: u16) -> Sums<i64> {
        let found = self.group_ids.iter().position(|at| *at == group);
        let sums = found.and_then(|at| self.groups.get(at));
        sums.copied().unwrap_or(Sums::ZERO)
    }

    fn group_mut(&mut self, group: u16) -> &mut Sums<i64> {
        let found = self.group_ids.iter().position(|at| *at == group);
        let at = found.unwrap_or_else(|| {
            self.push_group(group, Sums::ZERO);
            self.groups.len().saturating_sub(1)
        });
        #[allow(clippy::indexing_slicing, reason = "found or just pushed")]
        &mut self.groups[at]
    }

    fn push_group(&mut self, group: u16, sums: Sums<i64>) {
        self.group_ids.push(group);
        self.groups.push(sums);
    }

    /// The strike's net amount, in 1e-8 coin.
    pub fn net(&self, key: u64) -> i64 {
        let found = self.strikes.binary_search_by_key(&key, |(at, _)| *at);
        found
            .ok()
            .and_then(|at| self.strikes.get(at))
            .map_or(0, |(_, net)| *net)
    }

    /// Adds a strike that is not below the last.
    fn push_net(&mut self, key: u64, amount: i64) {
        match self.strikes.last_mut() {
            Some((last, net)) if *last == key => *net = net.wrapping_add(amount),
            _ => self.strikes.push((key, amount)),
        }
    }

    /// Adds to a strike's net amount and returns how much more is naked.
    fn add_net(&mut self, key: u64, amount: i64) -> i64 {
        let found = self.strikes.binary_search_by_key(&key, |(at, _)| *at);
        let at = found.unwrap_or_else(|at| {
            self.strikes.insert(at, (key, 0));
            at
        });
        let Some((_, net)) = self.strikes.get_mut(at) else {
            return 0;
        };
        let before = naked(*net);
        *net = net.wrapping_add(amount);
        naked(*net).wrapping_sub(before)
    }

    /// Adds lots (negative to take away) to the gross.
    #[inline(always)]
    fn add_gross(&mut self, row: &InstrumentRow, lots: i64) {
        let gross = i128::from(row.bound).wrapping_mul(i128::from(lots));
        self.gross = self.gross.wrapping_add_signed(gross);
    }

    /// Counts lots that went into or out of the sums.
    #[inline(always)]
    const fn add_weight(&mut self, lots: i64) {
        self.weight = self.weight.saturating_add(lots.unsigned_abs());
    }

    /// How far any of the sums may be from the truth; see [`super::drift`].
    #[inline(always)]
    pub fn error(&self, drift: u64) -> u128 {
        u128::from(self.weight).saturating_mul(drift.saturating_sub(self.drift).into())
    }

    /// Forgets contributions that were worked out with the factors of another epoch.
    #[inline(always)]
    pub fn expect_contributions(&mut self, epoch: u64) {
        if self.contributions_epoch != epoch {
            self.contributions_epoch = epoch;
            self.parts.iter_mut().for_each(|part| part.im = None);
        }
    }

    /// Whether the sums may have left their range.
    #[inline(always)]
    pub const fn is_too_large(&self) -> bool {
        self.gross > GROSS_MAX as u128
    }
}

/// What of a strike's net amount is naked.
pub(super) fn naked(net: i64) -> i64 {
    net.wrapping_neg().max(0)
}

/// Sums an account's positions, sorted by expiry and strike.
#[inline(always)]
fn sum_account(tables: &Tables<'_>, legs: &[PositionLeg], sums: &mut AccountSums) {
    for expiry in legs.chunk_by(|a, b| a.group() == b.group()) {
        let at = expiry.first().map_or(u16::MAX, |leg| leg.group());
        let Some(group) = tables.groups.get(usize::from(at)) else {
            continue;
        };
        let expiry_sums = sum_expiry(tables.pairs, expiry);
        let part = sums.part(group.underlying.get());
        part.sums.lanes.add(&expiry_sums.result(group.concave));
        add_held(tables.rows, expiry, &mut part.sums.held);
        part.im = None;
        sums.push_group(at, expiry_sums);
        for leg in expiry {
            let Some(row) = tables.rows.get(leg.row as usize) else {
                continue;
            };
            let part = sums.part(row.underlying);
            if row.is_perp {
                part.perp_lots = part.perp_lots.saturating_add(leg.lots.unsigned_abs());
            }
            if row.strike != NO_STRIKE {
                sums.push_net(leg.key, leg.lots.wrapping_mul(row.lot));
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512dq")]
fn sum_account_avx512(tables: &Tables<'_>, legs: &[PositionLeg], sums: &mut AccountSums) {
    sum_account(tables, legs, sums);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn sum_account_avx2(tables: &Tables<'_>, legs: &[PositionLeg], sums: &mut AccountSums) {
    sum_account(tables, legs, sums);
}

/// Lots that move in an expiry.
struct Moved<'a> {
    pair: &'a Pair,
    lots: i64,
    concave: bool,
}

/// Moves an expiry's sums; its results before and after.
#[inline(always)]
fn move_position(sums: &mut Sums<i64>, moved: &Moved<'_>) -> ([i64; LANES], [i64; LANES]) {
    let old = sums.result(moved.concave);
    sums.add(moved.pair, moved.lots);
    (old, sums.result(moved.concave))
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512dq")]
fn move_position_avx512(sums: &mut Sums<i64>, moved: &Moved<'_>) -> ([i64; LANES], [i64; LANES]) {
    move_position(sums, moved)
}

impl RiskBook {
    /// Memory of the account cache in bytes.
    pub fn cache_bytes(&self) -> usize {
        self.cache.bytes()
    }

    /// Makes sure the account's sums are remembered; `holdings` is read only where they are not.
    pub fn remember(&mut self, account: AccountId, holdings: impl Iterator<Item = Holding>) {
        self.ensure(account, holdings);
    }

    /// Asks the processor to fetch what is remembered of an account.
    #[inline]
    pub fn prefetch(&self, account: AccountId) {
        if let Some(sums) = self.cache.entries.get(self.cache.slot(account)) {
            fetch(Some(&sums.account));
            fetch(Some(&sums.gross));
            fetch(Some(&sums.groups));
        }
    }

    /// Asks the processor to fetch what an order in an instrument counts.
    #[inline]
    pub fn prefetch_row(&self, instrument: InstrumentId, side: Side) {
        let Some(at) = self.row_index(instrument) else {
            return;
        };
        fetch(self.rows.get(at));
        if let Some(open) = self.open.get(at) {
            let lanes = &open.side(side).0;
            lanes.chunks(8).for_each(|line| fetch(line.first()));
        }
    }

    /// With that fetched: the sums themselves.
    #[inline]
    pub fn prefetch_sums(&self, account: AccountId) {
        let Some(sums) = self.cache.entries.get(self.cache.slot(account)) else {
            return;
        };
        if let Some(part) = sums.parts.first() {
            let lanes = &part.sums.lanes.0;
            lanes.chunks(8).for_each(|line| fetch(line.first()));
            fetch(Some(&part.sums.held.naked));
            fetch(Some(&part.im));
        }
    }

    /// With that fetched: what a trade in an instrument changes of them.
    #[inline]
    pub fn prefetch_trade(&self, account: AccountId, instrument: InstrumentId) {
        let row = self.row_index(instrument).and_then(|at| self.rows.get(at));
        let sums = self.cache.entries.get(self.cache.slot(account));
        let (Some(row), Some(sums)) = (row, sums) else {
            return;
        };
        fetch(sums.strikes.get(sums.strikes.len() / 2));
        let found = sums.group_ids.iter().position(|at| *at == row.group);
        if let Some(group) = found.and_then(|at| sums.groups.get(at)) {
            let lines = group.a.chunks(8).chain(group.b.chunks(8));
            lines.for_each(|line| fetch(line.first()));
        }
    }

    /// Forgets an account's sums: its holdings changed in a way that was not reported.
    pub fn forget(&mut self, account: AccountId) {
        if let Some(sums) = self.cache.usable(account, self.valid_from) {
            sums.clear();
        }
    }

    /// The account's sums are current when this returns; `holdings` is read only where they were not.
    #[inline(always)]
    pub(super) fn ensure(&mut self, account: AccountId, holdings: impl Iterator<Item = Holding>) {
        if self.cache.current(account, self.epoch).is_none() {
            self.refresh(account, holdings);
        }
    }

    #[inline(never)]
    fn refresh(&mut self, account: AccountId, holdings: impl Iterator<Item = Holding>) {
        let slot = self.cache.slot(account);
        // Taken out while it is filled: the rows are read meanwhile.
        let Some(entry) = self.cache.entries.get_mut(slot) else {
            return;
        };
        let mut sums = core::mem::take(entry);
        let mut legs = core::mem::take(&mut self.work.positions);
        self.sum_up(&mut sums, &mut legs, holdings);
        self.work.positions = legs;
        (sums.account, sums.epoch) = (Some(account), self.epoch);
        (sums.drift, sums.contributions_epoch) = (self.drift, self.epoch);
        if let Some(entry) = self.cache.entries.get_mut(slot) {
            *entry = sums;
        }
    }

    /// Sums an account's positions and open orders.
    pub(super) fn sum_up(
        &self,
        sums: &mut AccountSums,
        legs: &mut Vec<PositionLeg>,
        holdings: impl Iterator<Item = Holding>,
    ) {
        sums.clear();
        legs.clear();
        for holding in holdings {
            let Some(at) = self.row_index(holding.instrument) else {
                continue;
            };
            self.apply_open(sums, at, Side::Buy, holding.open_buy as i64);
            self.apply_open(sums, at, Side::Sell, holding.open_sell as i64);
            let drag = i128::from(holding.open_drag.get());
            sums.drag = sums.drag.saturating_add(drag);
            let Some(row) = self.rows.get(at).filter(|_| holding.position != 0) else {
                continue;
            };
            let lots = u128::from(holding.position.unsigned_abs());
            let gross = u128::from(row.bound).wrapping_mul(lots);
            sums.gross = sums.gross.saturating_add(gross);
            sums.add_weight(holding.position);
            legs.push(PositionLeg {
                key: leg_key(row),
                lots: holding.position,
                row: at as u32,
            });
        }
        if !legs.is_sorted_by_key(|leg| leg.key) {
            legs.sort_unstable_by_key(|leg| leg.key);
        }
        match self.width {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a risk book only takes a width that the machine was found to have.
            Width::Avx512 => unsafe { sum_account_avx512(&self.tables(), legs, sums) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Width::Avx2 => unsafe { sum_account_avx2(&self.tables(), legs, sums) },
            _ => sum_account(&self.tables(), legs, sums),
        }
    }

    /// A position changed. Lane sums may wrap once the gross is too large; they are exact again when
    /// it no longer is.
    pub(super) fn apply_position(
        &self,
        sums: &mut AccountSums,
        at: usize,
        before: i64,
        after: i64,
    ) {
        let change = after.wrapping_sub(before);
        let (Some(row), Some(pair)) = (self.rows.get(at), self.pairs.get(at)) else {
            return;
        };
        let Some(group) = self.groups.get(usize::from(row.group)) else {
            return;
        };
        if change == 0 {
            return;
        }
        let lots = (after.unsigned_abs() as i64).wrapping_sub(before.unsigned_abs() as i64);
        sums.add_gross(row, lots);
        sums.add_weight(change);
        let moved = Moved {
            pair,
            lots: change,
            concave: group.concave,
        };
        let (old, new) = match self.width {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Width::Avx512 => unsafe { move_position_avx512(sums.group_mut(row.group), &moved) },
            _ => move_position(sums.group_mut(row.group), &moved),
        };
        let amount = change.wrapping_mul(row.lot);
        let more_naked = if row.strike == NO_STRIKE {
            0
        } else {
            sums.add_net(leg_key(row), amount)
        };
        let part = sums.part(row.underlying);
        part.sums.lanes.replace(&old, &new);
        part.add_abs(row, lots);
        part.sums.held.naked = part.sums.held.naked.wrapping_add(more_naked);
        part.im = None;
    }

    /// Open lots came (or, negative, went).
    pub(super) fn apply_open(&self, sums: &mut AccountSums, at: usize, side: Side, lots: i64) {
        let (Some(row), Some(open)) = (self.rows.get(at), self.open.get(at)) else {
            return;
        };
        if lots == 0 {
            return;
        }
        sums.add_gross(row, lots);
        sums.add_weight(lots);
        let part = sums.part(row.underlying);
        super::lanes::add_scaled(self.width, &mut part.sums.lanes, open.side(side), lots);
        part.add_abs(row, lots);
        part.open_naked = part.open_naked.wrapping_add(open_naked(row, side, lots));
        part.im = None;
    }
}

/// What open lots can add to naked shorts, in 1e-8 coin.
#[inline(always)]
pub(super) fn open_naked(row: &InstrumentRow, side: Side, lots: i64) -> i64 {
    match side {
        Side::Sell if row.strike != NO_STRIKE => lots.wrapping_mul(row.lot),
        _ => 0,
    }
}

//! Exact margin of positions: sums over expiries, their results, the worst scenario.

use alloc::vec::Vec;

use super::book::{Factors, Group, RiskBook};
use super::lanes::{Number, Pair, Sums, Total, Width};
use super::market::Holding;
use super::row::{InstrumentRow, NO_STRIKE};
use super::{LANES_SCENARIO, ROW_MAX, SUBUNIT_BITS};
use crate::limits::{HOLDINGS_PER_ACCOUNT_MAX, POSITION_LOTS_MAX, UNDERLYINGS_MAX};
use crate::types::{Cash, MarginModel};

/// An account's margin. Negative `im` or `mm` means under margin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Margin {
    /// Excess over initial margin.
    pub im: Cash,
    /// Excess over maintenance margin.
    pub mm: Cash,
    /// Cash and positions at the mark.
    pub equity: Cash,
    /// The worst loss over all scenarios, summed over underlyings; at most zero. Portfolio margin
    /// only.
    pub worst: Cash,
    /// The lane of the worst scenario of the underlying that loses most. Portfolio margin only.
    pub scenario: u8,
}

/// Above this sum of |lots| times the largest value, sums are taken in 128 bits.
pub(super) const GROSS_MAX: u64 = 1 << 62;
// The wide sums fit: a row's values times the most lots in the most instruments.
const _: () = assert!(
    ROW_MAX as i128 * POSITION_LOTS_MAX as i128 * 2 < i128::MAX / HOLDINGS_PER_ACCOUNT_MAX as i128
);

/// Sums of one underlying.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part<T> {
    pub lanes: Total<T>,
    pub held: Contingencies<T>,
}

/// What counts beside scenarios, summed over one underlying.
#[derive(Clone, Copy, Debug)]
pub(super) struct Contingencies<T> {
    pub im_abs: T,
    pub im_abs_perp: T,
    pub mm_abs: T,
    /// Naked shorts in 1e-8 coin.
    pub naked: i64,
    pub has_perp: bool,
}

/// An underlying's contribution to margin, in sub-units.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Contribution {
    pub im: i128,
    pub mm: i128,
    pub mark: i128,
    pub worst: i128,
}

impl<T: Number> Part<T> {
    pub const ZERO: Self = Self {
        lanes: Total::ZERO,
        held: Contingencies::ZERO,
    };

    /// This underlying's part of margin.
    #[inline(always)]
    pub fn contribution(&self, factors: &Factors) -> Contribution {
        self.held
            .contribution(factors, self.lanes.worst(), self.lanes.mark())
    }
}

impl<T: Number> Contingencies<T> {
    pub const ZERO: Self = Self {
        im_abs: T::ZERO,
        im_abs_perp: T::ZERO,
        mm_abs: T::ZERO,
        naked: 0,
        has_perp: false,
    };

    /// Adds what counts per lot held either way.
    #[inline(always)]
    pub fn add(&mut self, row: &InstrumentRow, lots: u64) {
        if !row.has_contingencies {
            return;
        }
        let lots = lots as i64;
        self.im_abs = self.im_abs.plus(T::product(row.im_abs, lots));
        self.im_abs_perp = self.im_abs_perp.plus(T::product(row.im_abs_perp, lots));
        self.mm_abs = self.mm_abs.plus(T::product(row.mm_abs, lots));
        self.has_perp |= row.is_perp;
    }

    /// IM = worst·loss factor − contingencies + mark; MM likewise. Losses round up. Sums beyond 64
    /// bits are cut to them.
    #[inline(always)]
    #[allow(
        clippy::arithmetic_side_effects,
        reason = "each product of two i64 is under 2^126, their sums under 2^127"
    )]
    pub fn contribution(&self, factors: &Factors, worst: T, mark: T) -> Contribution {
        let (worst, mark) = (worst.narrow(), mark.narrow());
        let im_abs = if self.has_perp {
            self.im_abs_perp
        } else {
            self.im_abs
        };
        let im_abs = i128::from(im_abs.narrow());
        let mm_abs = i128::from(self.mm_abs.narrow());
        let product = |a: i64, b: i64| i128::from(a) * i128::from(b);
        let loss = |factor: i64, naked_rate: i64| {
            (product(worst, factor) - product(self.naked, naked_rate)) >> 32
        };
        let im = loss(factors.im_loss, factors.im_naked);
        let mm = loss(factors.mm_loss, factors.mm_naked);
        let mark = i128::from(mark);
        Contribution {
            im: im - im_abs - mm_abs + mark,
            mm: mm - mm_abs + mark,
            mark,
            worst: worst.into(),
        }
    }
}

/// One position, found and keyed by expiry and strike.
#[derive(Clone, Copy, Debug)]
pub(super) struct PositionLeg {
    /// Group, then strike.
    pub key: u64,
    pub lots: i64,
    pub row: u32,
}

/// Buffers, reused from account to account.
#[derive(Debug, Default)]
pub(crate) struct Workspace {
    pub(super) positions: Vec<PositionLeg>,
    pub(super) parts: Parts<i64>,
    /// Standard margin's.
    pub(super) legs: Vec<super::standard::Leg>,
}

/// The values of all instruments, as the kernels read them.
#[derive(Clone, Copy)]
pub(super) struct Tables<'a> {
    pub index: &'a [u32],
    pub rows: &'a [InstrumentRow],
    pub pairs: &'a [Pair],
    pub groups: &'a [Group],
    pub factors: &'a [Factors],
}

/// One part for each underlying, of which only those in the set are in use.
#[derive(Debug)]
pub(super) struct Parts<T> {
    pub present: u32,
    parts: Vec<Part<T>>,
}
const _: () = assert!(UNDERLYINGS_MAX <= 32);

impl PositionLeg {
    /// The expiry's group.
    #[inline(always)]
    pub const fn group(self) -> u16 {
        (self.key >> 32) as u16
    }

    /// The key's strike, or [`NO_STRIKE`].
    #[inline(always)]
    pub const fn strike(self) -> u32 {
        self.key as u32
    }
}

/// An instrument's group and strike in one number.
#[inline(always)]
pub(super) const fn leg_key(row: &InstrumentRow) -> u64 {
    (row.group as u64) << 32 | row.strike as u64
}

impl Tables<'_> {
    /// Brings an instrument's values near before they are summed.
    #[inline(always)]
    fn prefetch(&self, at: usize) {
        #[cfg(target_arch = "x86_64")]
        if let Some(pair) = self.pairs.get(at) {
            use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            let lines: *const i8 = core::ptr::from_ref(pair).cast();
            for line in 0..size_of::<Pair>() / 64 {
                // SAFETY: all lines are in the pair; a prefetch reads nothing anyway.
                unsafe { _mm_prefetch::<_MM_HINT_T0>(lines.add(line.wrapping_mul(64))) };
            }
        }
    }

    /// The positions among `holdings`, sorted by expiry and strike, and their gross: Σ |lots| times
    /// the instrument's largest value, saturating.
    #[inline(always)]
    pub fn collect(
        &self,
        positions: &mut Vec<PositionLeg>,
        holdings: impl Iterator<Item = Holding>,
    ) -> u64 {
        positions.clear();
        let (mut gross, mut sorted, mut last) = (0_u64, true, 0);
        for holding in holdings {
            let lots = holding.position;
            let at = self.index.get(holding.instrument.get() as usize);
            let at = at.copied().unwrap_or(u32::MAX);
            let Some(row) = self.rows.get(at as usize) else {
                continue;
            };
            if lots == 0 {
                continue;
            }
            gross = gross.saturating_add(lots.unsigned_abs().saturating_mul(row.bound));
            self.prefetch(at as usize);
            let key = leg_key(row);
            sorted &= last <= key;
            last = key;
            positions.push(PositionLeg { key, lots, row: at });
        }
        if !sorted {
            positions.sort_unstable_by_key(|leg| leg.key);
        }
        gross
    }
}

impl<T> Default for Parts<T> {
    fn default() -> Self {
        Self {
            present: 0,
            parts: Vec::new(),
        }
    }
}

impl<T: Number> Parts<T> {
    /// Empties it, and makes room at its first use.
    #[inline(always)]
    fn clear(&mut self) {
        self.present = 0;
        if self.parts.is_empty() {
            self.parts.resize(UNDERLYINGS_MAX, Part::ZERO);
        }
    }

    /// The underlying's part, zeroed at its first use.
    #[inline(always)]
    pub fn part(&mut self, underlying: u8) -> Option<&mut Part<T>> {
        let part = self.parts.get_mut(usize::from(underlying))?;
        let bit = 1 << (underlying & 31);
        if self.present & bit == 0 {
            self.present |= bit;
            *part = Part::ZERO;
        }
        Some(part)
    }
}

/// What is naked in one expiry's legs, in 1e-8 coin, and their contingencies.
#[inline(always)]
pub(super) fn add_held<T: Number>(
    rows: &[InstrumentRow],
    expiry: &[PositionLeg],
    held: &mut Contingencies<T>,
) {
    let (mut strike, mut net) = (NO_STRIKE, 0_i64);
    for leg in expiry {
        let Some(row) = rows.get(leg.row as usize) else {
            continue;
        };
        held.add(row, leg.lots.unsigned_abs());
        if leg.strike() != strike {
            held.naked = held.naked.saturating_add(net.saturating_neg().max(0));
            (strike, net) = (leg.strike(), 0);
        }
        if strike != NO_STRIKE {
            net = net.saturating_add(leg.lots.saturating_mul(row.lot));
        }
    }
    held.naked = held.naked.saturating_add(net.saturating_neg().max(0));
}

/// Sums of one expiry's legs.
#[inline(always)]
pub(super) fn sum_expiry<T: Number>(pairs: &[Pair], expiry: &[PositionLeg]) -> Sums<T> {
    let mut sums = Sums::ZERO;
    for leg in expiry {
        if let Some(pair) = pairs.get(leg.row as usize) {
            sums.add(pair, leg.lots);
        }
    }
    sums
}

/// Sums sorted legs into parts; the widths differ in how `add_result` sums one expiry.
#[inline(always)]
fn sum_legs<T: Number>(
    tables: &Tables<'_>,
    legs: &[PositionLeg],
    parts: &mut Parts<T>,
    add_result: impl Fn(&[Pair], &[PositionLeg], bool, &mut Total<T>),
) {
    for expiry in legs.chunk_by(|a, b| a.group() == b.group()) {
        let group = expiry.first().map_or(u16::MAX, |leg| leg.group());
        let Some(group) = tables.groups.get(usize::from(group)) else {
            continue;
        };
        let Some(part) = parts.part(group.underlying.get()) else {
            continue;
        };
        add_held(tables.rows, expiry, &mut part.held);
        add_result(tables.pairs, expiry, group.concave, &mut part.lanes);
    }
}

#[inline(always)]
fn add_portable<T: Number>(
    pairs: &[Pair],
    expiry: &[PositionLeg],
    concave: bool,
    total: &mut Total<T>,
) {
    total.add(&sum_expiry(pairs, expiry).result(concave));
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512dq")]
fn evaluate_avx512(
    tables: &Tables<'_>,
    legs: &[PositionLeg],
    parts: &mut Parts<i64>,
    cash: Cash,
) -> Margin {
    sum_legs(tables, legs, parts, |pairs, expiry, concave, total| {
        if concave {
            super::avx512::add_expiry(pairs, expiry, total);
        } else {
            add_portable(pairs, expiry, false, total);
        }
    });
    settle(tables, parts, cash)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn evaluate_avx2(
    tables: &Tables<'_>,
    legs: &[PositionLeg],
    parts: &mut Parts<i64>,
    cash: Cash,
) -> Margin {
    sum_legs(tables, legs, parts, add_portable);
    settle(tables, parts, cash)
}

impl RiskBook {
    /// The exact margin of these positions and this cash. Open orders do not count; an instrument
    /// without a value counts nothing. Amounts beyond `Cash` are cut to its range.
    pub fn margin<I>(&mut self, holdings: I, cash: Cash, model: MarginModel) -> Margin
    where
        I: Iterator<Item = Holding>,
    {
        let mut work = core::mem::take(&mut self.work);
        let margin = self.margin_in(&mut work, holdings, cash, model);
        self.work = work;
        margin
    }

    /// [`margin`](Self::margin) for readers, with buffers of their own.
    pub(crate) fn margin_in(
        &self,
        work: &mut Workspace,
        holdings: impl Iterator<Item = Holding>,
        cash: Cash,
        model: MarginModel,
    ) -> Margin {
        match model {
            MarginModel::Portfolio => self.portfolio_margin(work, holdings, cash),
            MarginModel::Standard => self.standard_margin(&mut work.legs, holdings, cash),
        }
    }

    /// What the kernels read.
    #[inline(always)]
    pub(super) fn tables(&self) -> Tables<'_> {
        Tables {
            index: &self.index,
            rows: &self.rows,
            pairs: &self.pairs,
            groups: &self.groups,
            factors: &self.factors,
        }
    }

    #[inline(always)]
    fn portfolio_margin(
        &self,
        work: &mut Workspace,
        holdings: impl Iterator<Item = Holding>,
        cash: Cash,
    ) -> Margin {
        let tables = self.tables();
        if tables.collect(&mut work.positions, holdings) > GROSS_MAX {
            return self.wide_margin(&work.positions, cash);
        }
        let (legs, parts) = (&work.positions, &mut work.parts);
        parts.clear();
        match self.width {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `set_width` and `new` only take a width that the machine was found to have.
            Width::Avx512 => unsafe { evaluate_avx512(&tables, legs, parts, cash) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Width::Avx2 => unsafe { evaluate_avx2(&tables, legs, parts, cash) },
            _ => {
                sum_legs(&tables, legs, parts, add_portable);
                settle(&tables, parts, cash)
            }
        }
    }

    #[cold]
    fn wide_margin(&self, legs: &[PositionLeg], cash: Cash) -> Margin {
        let mut parts: Parts<i128> = Parts::default();
        parts.clear();
        sum_legs(&self.tables(), legs, &mut parts, add_portable);
        settle(&self.tables(), &parts, cash)
    }
}

/// From parts to margin.
#[inline(always)]
fn settle<T: Number>(tables: &Tables<'_>, parts: &Parts<T>, cash: Cash) -> Margin {
    let mut total = Contribution::default();
    let mut deepest: Option<(T, &Part<T>)> = None;
    let mut left = parts.present;
    while left != 0 {
        let at = left.trailing_zeros() as usize;
        left &= left.wrapping_sub(1);
        let (Some(part), Some(factors)) = (parts.parts.get(at), tables.factors.get(at)) else {
            continue;
        };
        let worst = part.lanes.worst();
        let one = part.held.contribution(factors, worst, part.lanes.mark());
        total.im = total.im.saturating_add(one.im);
        total.mm = total.mm.saturating_add(one.mm);
        total.mark = total.mark.saturating_add(one.mark);
        total.worst = total.worst.saturating_add(one.worst);
        if deepest.is_none_or(|(least, _)| worst < least) {
            deepest = Some((worst, part));
        }
    }
    Margin {
        im: in_cash(total.im, cash),
        mm: in_cash(total.mm, cash),
        equity: in_cash(total.mark, cash),
        worst: in_cash(total.worst, Cash::ZERO),
        scenario: deepest.map_or(0, |(worst, part)| lane_of(&part.lanes, worst)),
    }
}

/// The first lane with this amount.
#[inline(always)]
fn lane_of<T: Number>(lanes: &Total<T>, worst: T) -> u8 {
    let lanes = lanes.0.iter().take(LANES_SCENARIO).zip(0_u8..);
    let matching = lanes.map(|(value, lane)| if *value == worst { lane } else { u8::MAX });
    matching.fold(u8::MAX, u8::min)
}

/// Sub-units and cash in cash units, rounded down.
#[inline(always)]
pub(super) fn in_cash(subunits: i128, cash: Cash) -> Cash {
    let sum = (subunits >> SUBUNIT_BITS).saturating_add(i128::from(cash.get()));
    Cash::new(sum.clamp(i64::MIN.into(), i64::MAX.into()) as i64)
}

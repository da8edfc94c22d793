//! Exact margin of positions: sums over expiries, their results, the worst scenario.

use alloc::vec::Vec;

use super::book::{Factors, Group, RiskBook};
use super::lanes::{LANE_MARK, LANES, Number, Pair, Sums, Total, Width};
use super::market::{Holding, InstrumentKind};
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
/// What an underlying's amount is cut to before factors (of at most 2⁶³) are applied.
const AMOUNT_MAX: i128 = 1 << 62;

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
        let lots = i64::try_from(lots).unwrap_or(i64::MAX);
        self.im_abs = self.im_abs.plus(T::product(row.im_abs, lots));
        self.im_abs_perp = self.im_abs_perp.plus(T::product(row.im_abs_perp, lots));
        self.mm_abs = self.mm_abs.plus(T::product(row.mm_abs, lots));
        self.has_perp |= matches!(row.terms.kind, InstrumentKind::Perp);
    }

    /// IM = worst·loss factor − contingencies + mark; MM likewise. Losses round up.
    #[inline(always)]
    pub fn contribution(&self, factors: &Factors, worst: T, mark: T) -> Contribution {
        let worst = worst.wide().max(AMOUNT_MAX.saturating_neg());
        let mark = mark.wide().clamp(AMOUNT_MAX.saturating_neg(), AMOUNT_MAX);
        let im_abs = if self.has_perp {
            self.im_abs_perp
        } else {
            self.im_abs
        };
        let (im_abs, mm_abs) = (
            im_abs.wide().min(AMOUNT_MAX),
            self.mm_abs.wide().min(AMOUNT_MAX),
        );
        let naked = i128::from(self.naked);
        let loss = |factor: i64, naked_rate: i64| {
            let loss = worst.saturating_mul(i128::from(factor));
            let naked = naked.saturating_mul(i128::from(naked_rate));
            loss.saturating_sub(naked) >> 32
        };
        let im = loss(factors.im_loss, factors.im_naked);
        let mm = loss(factors.mm_loss, factors.mm_naked);
        Contribution {
            im: im
                .saturating_sub(im_abs)
                .saturating_sub(mm_abs)
                .saturating_add(mark),
            mm: mm.saturating_sub(mm_abs).saturating_add(mark),
            mark,
            worst,
        }
    }
}

/// Accumulators, reused from account to account.
#[derive(Debug, Default)]
pub(super) struct Workspace {
    narrow: Arena<i64>,
    wide: Arena<i128>,
    /// Naked amounts by strike, all zero between evaluations.
    nets: Vec<i64>,
    /// Strikes touched, with their underlyings.
    strikes: Vec<(u32, u8)>,
    /// Standard margin's.
    pub legs: Vec<super::standard::Leg>,
}

#[derive(Debug, Default)]
struct Arena<T> {
    sums: Vec<Sums<T>>,
    /// Whether a group's sums are in use, by group.
    used: Vec<bool>,
    touched: Vec<u16>,
    parts: Vec<Part<T>>,
}

impl Workspace {
    /// Makes room for so many groups and strikes.
    pub fn fit(&mut self, groups: usize, strikes: usize) {
        self.narrow.fit(groups);
        self.wide.fit(groups);
        if self.nets.len() < strikes {
            self.nets.resize(strikes, 0);
        }
        let spare = HOLDINGS_PER_ACCOUNT_MAX.saturating_sub(self.strikes.len());
        self.strikes.reserve(spare);
    }
}

impl<T: Number> Arena<T> {
    fn fit(&mut self, groups: usize) {
        if self.sums.len() < groups {
            self.sums.resize(groups, Sums::ZERO);
            self.used.resize(groups, false);
            self.touched.reserve(groups);
        }
        if self.parts.is_empty() {
            self.parts.resize(UNDERLYINGS_MAX, Part::ZERO);
        }
    }
}

/// What the kernel reads.
#[derive(Clone, Copy)]
struct Tables<'a> {
    index: &'a [u32],
    rows: &'a [InstrumentRow],
    pairs: &'a [Pair],
    groups: &'a [Group],
}

/// Which underlyings have parts, as bits.
type UnderlyingSet = u32;
const _: () = assert!(UNDERLYINGS_MAX <= 32);

/// Sums `holdings` into the arena's parts and says which underlyings they are on.
#[inline(always)]
fn sum_positions<T: Number>(
    tables: Tables<'_>,
    arena: &mut Arena<T>,
    nets: &mut [i64],
    strikes: &mut Vec<(u32, u8)>,
    holdings: impl Iterator<Item = Holding>,
) -> UnderlyingSet {
    let mut present: UnderlyingSet = 0;
    arena.touched.clear();
    strikes.clear();
    for holding in holdings {
        let lots = holding.position;
        let Some(row_at) = tables.index.get(holding.instrument.get() as usize) else {
            continue;
        };
        let row_at = *row_at as usize;
        let (Some(row), Some(pair)) = (tables.rows.get(row_at), tables.pairs.get(row_at)) else {
            continue;
        };
        if lots == 0 {
            continue;
        }
        let group = usize::from(row.group);
        let (Some(used), Some(sums)) = (arena.used.get_mut(group), arena.sums.get_mut(group))
        else {
            continue;
        };
        if *used {
            sums.add(pair, lots);
        } else {
            *used = true;
            sums.start(pair, lots);
            arena.touched.push(row.group);
        }
        let underlying = row.terms.underlying.get();
        let Some(part) = arena.parts.get_mut(usize::from(underlying)) else {
            continue;
        };
        let bit = 1 << (underlying & 31);
        if present & bit == 0 {
            present |= bit;
            *part = Part::ZERO;
        }
        part.held.add(row, lots.unsigned_abs());
        if let Some(net) = nets.get_mut(row.strike as usize) {
            *net = net.saturating_add(lots.saturating_mul(row.terms.lot.get()));
            strikes.push((row.strike, underlying));
        }
    }
    for at in &arena.touched {
        let at = usize::from(*at);
        let (Some(used), Some(sums), Some(group)) = (
            arena.used.get_mut(at),
            arena.sums.get(at),
            tables.groups.get(at),
        ) else {
            continue;
        };
        *used = false;
        let Some(part) = arena.parts.get_mut(usize::from(group.underlying.get())) else {
            continue;
        };
        part.lanes.add(&sums.result(group.concave));
    }
    for (strike, underlying) in strikes.iter() {
        let (Some(net), Some(part)) = (
            nets.get_mut(*strike as usize),
            arena.parts.get_mut(usize::from(*underlying)),
        ) else {
            continue;
        };
        // A strike seen twice counts once: its net is taken out the first time.
        part.held.naked = part.held.naked.saturating_add(net.saturating_neg().max(0));
        *net = 0;
    }
    present
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512dq")]
fn sum_positions_avx512(
    tables: Tables<'_>,
    arena: &mut Arena<i64>,
    nets: &mut [i64],
    strikes: &mut Vec<(u32, u8)>,
    holdings: impl Iterator<Item = Holding>,
) -> UnderlyingSet {
    sum_positions(tables, arena, nets, strikes, holdings)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn sum_positions_avx2(
    tables: Tables<'_>,
    arena: &mut Arena<i64>,
    nets: &mut [i64],
    strikes: &mut Vec<(u32, u8)>,
    holdings: impl Iterator<Item = Holding>,
) -> UnderlyingSet {
    sum_positions(tables, arena, nets, strikes, holdings)
}

impl RiskBook {
    /// The exact margin of these positions and this cash. Open orders do not count; an instrument
    /// without a value counts nothing. Amounts beyond `Cash` are cut to its range.
    pub fn margin<I>(&mut self, holdings: I, cash: Cash, model: MarginModel) -> Margin
    where
        I: Iterator<Item = Holding> + Clone,
    {
        match model {
            MarginModel::Portfolio => self.portfolio_margin(holdings, cash),
            MarginModel::Standard => self.standard_margin(holdings, cash),
        }
    }

    fn portfolio_margin<I>(&mut self, holdings: I, cash: Cash) -> Margin
    where
        I: Iterator<Item = Holding> + Clone,
    {
        if self.gross(holdings.clone()) > GROSS_MAX {
            return self.wide_margin(holdings, cash);
        }
        let present = self.sum_narrow(holdings);
        self.settle(present, cash, |book| &book.work.narrow)
    }

    /// Σ |lots| times the largest value of each instrument; saturates.
    #[inline(always)]
    pub(super) fn gross(&self, holdings: impl Iterator<Item = Holding>) -> u64 {
        holdings.fold(0_u64, |sum, holding| {
            let row = self
                .row_index(holding.instrument)
                .and_then(|at| self.rows.get(at));
            let bound = row.map_or(0, |row| row.bound);
            sum.saturating_add(holding.position.unsigned_abs().saturating_mul(bound))
        })
    }

    #[inline(always)]
    fn sum_narrow(&mut self, holdings: impl Iterator<Item = Holding>) -> UnderlyingSet {
        let tables = Tables {
            index: &self.index,
            rows: &self.rows,
            pairs: &self.pairs,
            groups: &self.groups,
        };
        let Workspace {
            narrow,
            nets,
            strikes,
            ..
        } = &mut self.work;
        match self.width {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `set_width` and `new` only take a width that the machine was found to have.
            Width::Avx512 => unsafe {
                sum_positions_avx512(tables, narrow, nets, strikes, holdings)
            },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Width::Avx2 => unsafe { sum_positions_avx2(tables, narrow, nets, strikes, holdings) },
            _ => sum_positions(tables, narrow, nets, strikes, holdings),
        }
    }

    #[cold]
    fn wide_margin(&mut self, holdings: impl Iterator<Item = Holding>, cash: Cash) -> Margin {
        let tables = Tables {
            index: &self.index,
            rows: &self.rows,
            pairs: &self.pairs,
            groups: &self.groups,
        };
        let Workspace {
            wide,
            nets,
            strikes,
            ..
        } = &mut self.work;
        let present = sum_positions(tables, wide, nets, strikes, holdings);
        self.settle(present, cash, |book| &book.work.wide)
    }

    /// From parts to margin.
    #[inline(always)]
    fn settle<T: Number>(
        &self,
        present: UnderlyingSet,
        cash: Cash,
        arena: impl Fn(&Self) -> &Arena<T>,
    ) -> Margin {
        let mut total = Contribution::default();
        let (mut deepest, mut scenario) = (0, 0);
        let parts = arena(self).parts.iter().zip(&self.factors).enumerate();
        for (_, (part, factors)) in parts.filter(|(at, _)| present & (1 << (at & 31)) != 0) {
            let one = part.contribution(factors);
            total.im = total.im.saturating_add(one.im);
            total.mm = total.mm.saturating_add(one.mm);
            total.mark = total.mark.saturating_add(one.mark);
            total.worst = total.worst.saturating_add(one.worst);
            if one.worst < deepest {
                (deepest, scenario) = (one.worst, lane_of(&part.lanes));
            }
        }
        Margin {
            im: in_cash(total.im, cash),
            mm: in_cash(total.mm, cash),
            equity: in_cash(total.mark, cash),
            worst: in_cash(total.worst, Cash::ZERO),
            scenario,
        }
    }
}

/// The first lane that is worst.
fn lane_of<T: Number>(lanes: &Total<T>) -> u8 {
    let worst = lanes.worst();
    let lane = lanes
        .0
        .iter()
        .take(LANES_SCENARIO)
        .position(|value| *value == worst);
    lane.and_then(|lane| u8::try_from(lane).ok()).unwrap_or(0)
}

/// Sub-units and cash in cash units, rounded down.
#[inline(always)]
pub(super) fn in_cash(subunits: i128, cash: Cash) -> Cash {
    let sum = (subunits >> SUBUNIT_BITS).saturating_add(i128::from(cash.get()));
    Cash::new(sum.clamp(i64::MIN.into(), i64::MAX.into()) as i64)
}

const _: () = assert!(LANE_MARK < LANES && NO_STRIKE == u32::MAX);

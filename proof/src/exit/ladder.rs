//! The value of a portfolio as a function of one underlying's price: seventeen integers and straight
//! lines between them.
//!
//! **Owns** the grid of levels, the place of a price on it, and interpolation. Everything is linear in
//! the ladder for a given [`PricePoint`], so ladders that sum to zero at every level are worth zero in
//! sum at every price (invariant I9), before rounding.

use lifeboat_engine::types::{Cash, Price, UnderlyingId};

use crate::ProofError;

/// Levels of a ladder: 0 to twice the mark in eighths of the mark.
pub const EXIT_LEVELS: usize = 17;
/// The level at the mark.
pub const MARK_LEVEL: usize = 8;
/// The last level from which a line starts; prices beyond the last level lie on its line.
const LAST_CELL: usize = EXIT_LEVELS - 2;
/// Fractional bits of a price's place between two levels.
pub const WEIGHT_BITS: u32 = 32;
/// The weight of a whole step.
pub const WEIGHT_ONE: u64 = 1 << WEIGHT_BITS;
/// Steps at which the price axis ends: a higher price is taken as this one. It keeps every product
/// within 128 bits and is 131 072 times the mark.
pub const STEPS_MAX: u64 = 1 << 20;

// The largest scaled value: 16 ladders, a difference of two i64, a weight of STEPS_MAX steps.
const _: () = assert!(4 + 64 + 20 + WEIGHT_BITS < 127);

/// One underlying's levels: level `k` is at the price `k · step`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    step: u64,
}

impl Grid {
    /// The grid of an underlying that has no price: no ladder refers to it.
    pub const SMALLEST: Self = Self { step: 1 };

    /// The grid around a mark: its step is an eighth of it, rounded down.
    ///
    /// `None` when the mark is under eight units of price.
    pub fn from_mark(mark: Price) -> Option<Self> {
        Self::from_step(
            u64::try_from(mark.get())
                .ok()?
                .checked_div(MARK_LEVEL as u64)?,
        )
    }

    /// The grid with this distance between levels, in units of [`Price`]. `None` for zero, and for a
    /// step whose last level is no price.
    pub fn from_step(step: u64) -> Option<Self> {
        let last = step.checked_mul(EXIT_LEVELS as u64)?;
        (step > 0 && i64::try_from(last).is_ok()).then_some(Self { step })
    }

    /// Distance between levels, in units of [`Price`].
    pub const fn step(self) -> u64 {
        self.step
    }

    /// The price of a level; `None` past the last one.
    pub fn level(self, level: usize) -> Option<Price> {
        let steps = u64::try_from(level).ok().filter(|_| level < EXIT_LEVELS)?;
        let raw = self.step.checked_mul(steps)?;
        i64::try_from(raw).ok().map(Price::new)
    }

    /// Where a price lies. Its place between two levels is cut to 2⁻³² of a step; a price under zero
    /// is zero, one beyond [`STEPS_MAX`] steps is there.
    pub fn point(self, price: Price) -> PricePoint {
        let raw = u64::try_from(price.get()).unwrap_or(0);
        let end = self.step.saturating_mul(STEPS_MAX);
        let raw = raw.min(end);
        let cell = raw
            .checked_div(self.step)
            .map_or(LAST_CELL, |steps| {
                usize::try_from(steps).unwrap_or(LAST_CELL)
            })
            .min(LAST_CELL);
        let past = raw.saturating_sub(self.step.saturating_mul(cell as u64));
        let scaled = (u128::from(past) << WEIGHT_BITS)
            .checked_div(u128::from(self.step))
            .unwrap_or(0);
        PricePoint {
            cell,
            // At most STEPS_MAX steps of 32 fractional bits: 52 bits.
            weight: u64::try_from(scaled).unwrap_or(u64::MAX),
        }
    }
}

/// A price's place on a grid: the level below it and how far past that, in 2⁻³² of a step. Beyond the
/// last level the weight goes past [`WEIGHT_ONE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PricePoint {
    cell: usize,
    weight: u64,
}

impl PricePoint {
    /// The level below, at most 15.
    pub const fn cell(self) -> usize {
        self.cell
    }

    /// How far past that level, in 2⁻³² of a step.
    pub const fn weight(self) -> u64 {
        self.weight
    }

    /// The point a number of quarter steps from zero, on the grid itself.
    pub(super) const fn at_quarter(quarter: usize) -> Self {
        let cell = quarter / 4;
        let cell = if cell > LAST_CELL { LAST_CELL } else { cell };
        let past = quarter.saturating_sub(cell.saturating_mul(4)) as u64;
        Self {
            cell,
            weight: past.saturating_mul(WEIGHT_ONE / 4),
        }
    }
}

/// The value of positions in one underlying at its seventeen levels, in units of [`Cash`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ladder(pub [i64; EXIT_LEVELS]);

impl Default for Ladder {
    fn default() -> Self {
        Self::ZERO
    }
}

impl Ladder {
    /// Worth nothing at any price.
    pub const ZERO: Self = Self([0; EXIT_LEVELS]);

    /// Adds `lots` times the ladder of one lot; `None` when a level leaves the range, in which case
    /// this ladder is left as it was.
    #[must_use = "an overflow means that the leaf cannot be made"]
    pub fn add_lots(&mut self, one_lot: &Self, lots: i64) -> Option<()> {
        let mut sums = self.0;
        for (sum, value) in sums.iter_mut().zip(&one_lot.0) {
            *sum = value.checked_mul(lots)?.checked_add(*sum)?;
        }
        self.0 = sums;
        Some(())
    }

    /// Whether it is zero at every level, in which case a leaf leaves it out.
    pub fn is_zero(&self) -> bool {
        self.0 == Self::ZERO.0
    }

    /// The value at a point, in 2⁻³² of a unit: exact.
    pub fn value_scaled(&self, point: PricePoint) -> i128 {
        let mut pair = self.0.iter().skip(point.cell).copied().map(i128::from);
        let (low, high) = (pair.next().unwrap_or(0), pair.next().unwrap_or(0));
        let rise = high.saturating_sub(low);
        // See the assertion above STEPS_MAX: nothing here leaves 128 bits.
        (low << WEIGHT_BITS).saturating_add(rise.saturating_mul(i128::from(point.weight)))
    }
}

/// A ladder and whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnderlyingLadder {
    /// The underlying.
    pub underlying: UnderlyingId,
    /// Its levels.
    pub ladder: Ladder,
}

/// What an account is worth at a price, in units of [`Cash`], rounded down. Wider than `Cash`: lines
/// beyond the last level go anywhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ExitValue(i128);

impl ExitValue {
    /// The value of cash and ladders, each ladder with its own point; rounded down once, at the end.
    ///
    /// # Errors
    /// [`ProofError::UnknownUnderlying`] when a ladder's underlying has no point.
    pub fn of(
        cash: Cash,
        ladders: &[UnderlyingLadder],
        points: &[PricePoint],
    ) -> Result<Self, ProofError> {
        let mut scaled = i128::from(cash.get()) << WEIGHT_BITS;
        for entry in ladders {
            let point = points
                .get(usize::from(entry.underlying.get()))
                .ok_or(ProofError::UnknownUnderlying)?;
            scaled = scaled.saturating_add(entry.ladder.value_scaled(*point));
        }
        Ok(Self::from_scaled(scaled))
    }

    /// Rounds a value in 2⁻³² of a unit down.
    pub const fn from_scaled(scaled: i128) -> Self {
        Self(scaled >> WEIGHT_BITS)
    }

    /// The raw number of units.
    pub const fn get(self) -> i128 {
        self.0
    }

    /// What may be claimed: nothing under zero.
    pub const fn claim(self) -> u128 {
        if self.0 > 0 { self.0.unsigned_abs() } else { 0 }
    }
}

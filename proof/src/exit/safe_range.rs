//! Prices at which everybody can be paid in full at once.
//!
//! Around the marks lie nested boxes: radius `k` is `k` quarter steps each way, for every underlying at
//! once, up to the whole ladder. An account's worst value in a box is its cash and, for every
//! underlying, the ladder's lowest value there: a ladder is straight between levels, so the lowest
//! value is at a level or at an end. What accounts may be under zero is summed for each radius; the
//! safe range is the largest box in which the insurance fund's own leaf pays for that sum.
//!
//! One account that is under zero by a unit therefore does not take the fast exit from everybody.

use alloc::vec::Vec;
use lifeboat_engine::types::{Cash, Price};

use super::ladder::{ExitValue, Grid, Ladder, MARK_LEVEL, PricePoint, WEIGHT_BITS};
use super::leaf::LeafView;

/// Boxes: radius 0 to 32 quarter steps.
pub const RADII: usize = 4 * MARK_LEVEL + 1;
const MARK_QUARTER: usize = 4 * MARK_LEVEL;

/// Deficits by radius, summed over accounts. Sums of parts of the accounts can be merged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SafeRange {
    /// Units of cash, as positive numbers.
    deficits: [u128; RADII],
}

impl Default for SafeRange {
    fn default() -> Self {
        Self {
            deficits: [0; RADII],
        }
    }
}

/// The largest safe box.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SafeBox {
    /// In quarter steps; `None` when even the marks are not safe.
    pub radius: Option<usize>,
    /// What the fund's leaf must keep for accounts under zero.
    pub fund_reserve: Cash,
}

impl SafeRange {
    /// Counts one account; not the fund.
    pub fn add(&mut self, leaf: &LeafView<'_>) {
        if never_negative(leaf) {
            return;
        }
        let worst = worst_values(leaf);
        for (sum, value) in self.deficits.iter_mut().zip(worst) {
            *sum = sum.saturating_add(value.min(0).unsigned_abs());
        }
    }

    /// Adds what another part of the accounts came to.
    pub fn merge(&mut self, other: &Self) {
        for (sum, part) in self.deficits.iter_mut().zip(&other.deficits) {
            *sum = sum.saturating_add(*part);
        }
    }

    /// The largest box that the fund's leaf covers.
    pub fn largest(&self, fund: &LeafView<'_>) -> SafeBox {
        let covered = self.deficits.iter().zip(worst_values(fund));
        let reach = covered
            .enumerate()
            .take_while(|(_, (deficit, fund))| i128::try_from(**deficit).is_ok_and(|d| d <= *fund))
            .last();
        match reach {
            Some((radius, (deficit, _))) => SafeBox {
                radius: Some(radius),
                // No more than the fund, whose value here is at most its cash or level: an i64.
                fund_reserve: Cash::new(i64::try_from(*deficit).unwrap_or(i64::MAX)),
            },
            None => SafeBox::none(),
        }
    }
}

impl SafeBox {
    /// No price is safe.
    pub const fn none() -> Self {
        Self {
            radius: None,
            fund_reserve: Cash::ZERO,
        }
    }

    /// The safe range of an underlying with this grid: lowest and highest price, rounded inwards.
    /// Without a box the lowest is over the highest.
    pub fn range(&self, grid: Grid) -> (Price, Price) {
        let Some(radius) = self.radius else {
            return (Price::new(1), Price::ZERO);
        };
        let quarter = |quarters: usize| u128::from(grid.step()).saturating_mul(quarters as u128);
        let low = quarter(MARK_QUARTER.saturating_sub(radius)).div_ceil(4);
        let high = quarter(MARK_QUARTER.saturating_add(radius)) / 4;
        let price = |raw: u128| Price::new(i64::try_from(raw).unwrap_or(i64::MAX));
        (price(low), price(high))
    }
}

/// A cheap reason to skip most accounts: not under zero even if every ladder were at its lowest level.
fn never_negative(leaf: &LeafView<'_>) -> bool {
    let lowest = leaf.ladders.iter().map(|entry| {
        let least = entry.ladder.0.iter().copied().min();
        i128::from(least.unwrap_or(0))
    });
    lowest.fold(i128::from(leaf.cash.get()), i128::saturating_add) >= 0
}

/// The worst value in each box, in units, rounded down.
fn worst_values(leaf: &LeafView<'_>) -> [i128; RADII] {
    let mut scaled = [i128::from(leaf.cash.get()) << WEIGHT_BITS; RADII];
    for entry in leaf.ladders {
        let mut lowest = i128::MAX;
        for (radius, sum) in scaled.iter_mut().enumerate() {
            lowest = lowest.min(ends(&entry.ladder, radius));
            *sum = sum.saturating_add(lowest);
        }
    }
    scaled.map(|value| ExitValue::from_scaled(value).get())
}

/// The lower of a ladder's values at the two ends of a box. Boxes grow by a quarter step, so every
/// level is an end of one of them.
fn ends(ladder: &Ladder, radius: usize) -> i128 {
    let low = PricePoint::at_quarter(MARK_QUARTER.saturating_sub(radius));
    let high = PricePoint::at_quarter(MARK_QUARTER.saturating_add(radius));
    ladder.value_scaled(low).min(ladder.value_scaled(high))
}

/// Joins the sums of several parts.
impl FromIterator<SafeRange> for SafeRange {
    fn from_iter<I: IntoIterator<Item = SafeRange>>(parts: I) -> Self {
        let parts: Vec<SafeRange> = parts.into_iter().collect();
        let mut sum = Self::default();
        parts.iter().for_each(|part| sum.merge(part));
        sum
    }
}

//! One instrument's integers: everything that margin needs of it, per lot.

use super::lanes::{LANE_SKEW, LANES, Lanes, Pair};
use super::market::InstrumentTerms;
use super::{ROW_MAX, SUBUNIT_BITS};
use crate::types::{Cash, Side};

/// No strike: not an option.
pub(super) const NO_STRIKE: u32 = u32::MAX;

/// The small part of an instrument's row; its lanes are kept apart. What evaluation reads comes
/// first and fills one cache line.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct InstrumentRow {
    /// Initial margin's extra contingency per lot held either way, in sub-units.
    pub(super) im_abs: i64,
    /// The same for an account that holds perpetuals of the underlying too, whose confidence then
    /// counts as well.
    pub(super) im_abs_perp: i64,
    /// Contingency of both margins per lot held either way.
    pub(super) mm_abs: i64,
    /// Largest magnitude of any of its values per lot.
    pub(super) bound: u64,
    /// One lot in 1e-8 coin.
    pub(super) lot: i64,
    /// Value at the mark per lot, in sub-units.
    pub(super) mark: i64,
    /// The strike that calls and puts share, or [`NO_STRIKE`].
    pub(super) strike: u32,
    /// Its expiry's group.
    pub(super) group: u16,
    pub(super) underlying: u8,
    pub(super) is_perp: bool,
    /// Whether any of the first three is not zero.
    pub(super) has_contingencies: bool,
    /// Whether it has been valued.
    pub(super) priced: bool,
    /// Its terms.
    pub terms: InstrumentTerms,
    /// Standard margin, per lot.
    pub(super) standard: super::standard::StandardRow,
}

/// What an open order of one lot can at worst add, per side.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(super) struct OpenRow {
    pub buy: Lanes,
    pub sell: Lanes,
}

impl InstrumentRow {
    /// Whether the instrument has been valued since it was set.
    pub const fn is_priced(&self) -> bool {
        self.priced
    }

    /// Value of one lot at the mark, to the nearest cash unit below.
    pub const fn mark_per_lot(&self) -> Cash {
        Cash::new(self.mark >> SUBUNIT_BITS)
    }
}

impl OpenRow {
    pub const ZERO: Self = Self {
        buy: Lanes::ZERO,
        sell: Lanes::ZERO,
    };

    /// From an instrument's values.
    pub fn new(row: &Pair) -> Self {
        let mut open = Self::ZERO;
        let forms = row.a.0.iter().zip(&row.b.0);
        let sides = open.buy.0.iter_mut().zip(open.sell.0.iter_mut());
        for (lane, ((a, b), (buy, sell))) in forms.zip(sides).enumerate() {
            let (low, high) = ((*a).min(*b), (*a).max(*b));
            if lane < LANE_SKEW {
                (*buy, *sell) = (low.min(0), high.saturating_neg().min(0));
            } else if lane < super::lanes::LANES_SCENARIO {
                let loss = low.saturating_abs().max(high.saturating_abs());
                (*buy, *sell) = (loss.saturating_neg(), loss.saturating_neg());
            }
        }
        open
    }

    pub const fn side(&self, side: Side) -> &Lanes {
        match side {
            Side::Buy => &self.buy,
            Side::Sell => &self.sell,
        }
    }
}

/// The largest magnitude in a row.
pub(super) fn bound(row: &Pair) -> u64 {
    let magnitudes = |lanes: &[i64; LANES]| {
        lanes
            .iter()
            .fold(0, |max: u64, value| max.max(value.unsigned_abs()))
    };
    magnitudes(&row.a.0).max(magnitudes(&row.b.0))
}

/// `value` of one coin on this lot, in sub-units, rounded up, at most [`ROW_MAX`].
pub(super) fn per_lot(price: crate::types::Price, lot: crate::types::Qty) -> i64 {
    let product = i128::from(price.get().max(0)).saturating_mul(i128::from(lot.get().max(0)));
    let subunits = product.saturating_mul(i128::from(super::SUBUNITS));
    let per_lot = subunits
        .saturating_add(COIN - 1)
        .checked_div(COIN)
        .unwrap_or(0);
    i64::try_from(per_lot).unwrap_or(ROW_MAX).min(ROW_MAX)
}

/// Steps of `Qty` in a coin.
const COIN: i128 = 100_000_000;

/// `value · ratio`, rounded up, within ±[`ROW_MAX`].
pub(super) fn share(value: i64, ratio: super::Ratio) -> i64 {
    let one = i128::from(super::Ratio::ONE.get());
    let product = i128::from(value).saturating_mul(i128::from(ratio.get()));
    let up = product
        .saturating_add(one.saturating_sub(1))
        .div_euclid(one);
    i64::try_from(up)
        .unwrap_or(ROW_MAX)
        .clamp(-ROW_MAX, ROW_MAX)
}

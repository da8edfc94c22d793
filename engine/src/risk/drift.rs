//! Sums that a tick has left behind, and what they still prove.
//!
//! Every tick changes every instrument's values a little, so that no account's remembered sums are
//! exact any more. Summing all of them anew would cost far more than the orders between two ticks.
//! But the change is known: no value per lot of any instrument has moved by more than the *drift*,
//! the sum over ticks of the largest move. Sums and results are made of values times lots by
//! additions, minima and absolute amounts, none of which widens a difference, so that remembered
//! sums are off by at most the drift since they were exact times the *weight*, all lots that went
//! into or out of them. An order that fits with that much to spare fits; any other is judged on
//! exact sums. The verdicts are those of exact sums, always.
//!
//! **Never** bridges what is no drift: an instrument that comes or goes, an expiry that changes
//! form. Those invalidate all remembered sums (`RiskBook::valid_from`).

use super::account::{AccountSums, open_naked};
use super::book::RiskBook;
use super::evaluate::GROSS_MAX;
use super::lanes::{self, Pair, Width};
use super::orders::{AccountCheck, OrderCheck, order_drag};
use super::row::InstrumentRow;
use crate::types::{Cash, MarginModel};

/// The largest error with which a verdict is tried; beyond, products could leave their range.
const ERROR_MAX: u128 = 1 << 60;

impl RiskBook {
    /// Whether remembered sums prove that the order fits: if so, [`check_order`](Self::check_order)
    /// would say the same. `replaced` lots of the order's own instrument and side go as it comes;
    /// `drag` is the account's [`open_drag`](super::Holding::open_drag) at the current marks without
    /// them. False says nothing.
    #[inline(always)]
    pub fn surely_fits(
        &mut self,
        account: AccountCheck,
        drag: Cash,
        order: OrderCheck,
        replaced: u32,
    ) -> bool {
        let Some(at) = self.row_index(order.instrument) else {
            return false;
        };
        if account.model != MarginModel::Portfolio {
            return false;
        }
        let mut cache = core::mem::take(&mut self.cache);
        let own = i128::from(account.cash.get()).saturating_add(drag.get().into());
        let sums = cache.usable(account.account, self.valid_from);
        let fits = sums.is_some_and(|sums| self.proves(sums, own, &order, (at, replaced)));
        self.cache = cache;
        fits
    }

    #[inline(always)]
    #[allow(
        clippy::arithmetic_side_effects,
        reason = "the error is under 2^60, a factor under 2^63, cash and drag under 2^65"
    )]
    fn proves(
        &self,
        sums: &mut AccountSums,
        own: i128,
        order: &OrderCheck,
        (at, replaced): (usize, u32),
    ) -> bool {
        let (Some(row), Some(open)) = (self.rows.get(at), self.open.get(at)) else {
            return false;
        };
        let error = sums.error(self.drift);
        let lots = i64::from(order.lots) - i64::from(replaced);
        let added = i128::from(row.bound).wrapping_mul(lots.into());
        let gross = sums.gross.saturating_add_signed(added);
        // Gross drifts like everything else.
        if !row.is_priced()
            || error > ERROR_MAX
            || gross.saturating_add(error) > u128::from(GROSS_MAX)
        {
            return false;
        }
        sums.expect_contributions(self.epoch);
        let others = self.others_initial(sums, row.underlying);
        let spare = self.spare(sums, error);
        let part = sums.part(row.underlying);
        let worst = lanes::worst_with(self.width, &part.sums.lanes, open.side(order.side), lots);
        let mut after = part.sums.held;
        after.add(row, lots as u64);
        after.naked = after
            .naked
            .saturating_add(part.open_naked)
            .saturating_add(open_naked(row, order.side, lots));
        let mark = part.sums.lanes.mark();
        let own_part = after.contribution(self.factors_of(row.underlying), worst, mark);
        let free = (own << super::SUBUNIT_BITS).saturating_add(others);
        own_part.im + order_drag(row, order) + free >= spare
    }

    /// How far initial margin may be from the truth when sums are off by `error` in all: the worst
    /// loss times its factor, two contingencies and the mark, and a unit of rounding on each side.
    #[inline(always)]
    #[allow(
        clippy::arithmetic_side_effects,
        reason = "the error is under 2^60 and a factor under 2^63"
    )]
    fn spare(&self, sums: &AccountSums, error: u128) -> i128 {
        let error = error as i128;
        if error == 0 {
            return 0;
        }
        let (mut factor, mut rounding) = (0, 2);
        for part in &sums.parts {
            factor = self
                .factors_of(part.underlying)
                .im_loss
                .saturating_abs()
                .max(factor);
            rounding += 2;
        }
        ((error * i128::from(factor)) >> 32) + 3 * error + rounding
    }
}

/// The largest change of any value from one row to the next.
#[inline(always)]
fn largest_move_in(old: &Pair, new: &Pair) -> u64 {
    let lanes = |old: &[i64], new: &[i64]| {
        let moves = old
            .iter()
            .zip(new)
            .map(|(old, new)| old.wrapping_sub(*new).saturating_abs());
        moves.fold(0_i64, i64::max)
    };
    lanes(&old.a.0, &new.a.0).max(lanes(&old.b.0, &new.b.0)) as u64
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512dq")]
fn largest_move_avx512(old: &Pair, new: &Pair) -> u64 {
    largest_move_in(old, new)
}

/// The largest change of any value per lot between two rows of one instrument. Rows are within
/// `ROW_MAX`, so that differences fit.
pub(super) fn largest_move(
    width: Width,
    (old_row, old): (&InstrumentRow, &Pair),
    (new_row, new): (&InstrumentRow, &Pair),
) -> u64 {
    let scalar = |old: i64, new: i64| old.abs_diff(new);
    let held = scalar(old_row.im_abs, new_row.im_abs)
        .max(scalar(old_row.im_abs_perp, new_row.im_abs_perp))
        .max(scalar(old_row.mm_abs, new_row.mm_abs));
    let lanes = match width {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a risk book only takes a width that the machine was found to have.
        Width::Avx512 => unsafe { largest_move_avx512(old, new) },
        _ => largest_move_in(old, new),
    };
    lanes.max(held)
}

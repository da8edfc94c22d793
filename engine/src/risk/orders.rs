//! Checks of new orders: a bound over a few dozen lanes, and where that fails the exact margin of the
//! position with the order.

use super::SUBUNIT_BITS;
use super::account::{AccountSums, CachedPart, naked, open_naked};
use super::book::{Factors, RiskBook, RiskError};
use super::evaluate::{Margin, Workspace, in_cash, leg_key};
use super::lanes::{self, LANE_SKEW, LANES_SCENARIO, Sums};
use super::market::Holding;
use super::row::{InstrumentRow, NO_STRIKE};
use crate::types::{AccountId, Cash, InstrumentId, MarginModel, Side};

/// An order to be checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderCheck {
    /// Where.
    pub instrument: InstrumentId,
    /// Which side.
    pub side: Side,
    /// How many lots.
    pub lots: u32,
    /// Its price for one lot: the worst it may trade at.
    pub price_per_lot: Cash,
    /// The most that fees can take.
    pub fee_max: Cash,
}

/// Lots that came to an account's open orders or, negative, left them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenChange {
    /// Where.
    pub instrument: InstrumentId,
    /// Which side.
    pub side: Side,
    /// How many.
    pub lots: i64,
    /// How much [`Holding::open_drag`] changed.
    pub drag: Cash,
}

/// A position that changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PositionChange {
    /// Where.
    pub instrument: InstrumentId,
    /// Lots before.
    pub before: i64,
    /// Lots after.
    pub after: i64,
}

/// An account to be checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountCheck {
    /// Which account.
    pub account: AccountId,
    /// Its cash.
    pub cash: Cash,
    /// Its margin model.
    pub model: MarginModel,
}

impl RiskBook {
    /// Whether a new order fits the account's initial margin, whatever part of it and of the
    /// account's open orders fills. An order that leaves the account no worse fits even under margin.
    /// `holdings` (without the order) is read only when the account's sums are not remembered.
    ///
    /// # Errors
    /// [`RiskError::Unknown`], [`RiskError::NotPriced`], [`RiskError::TooLarge`] or
    /// [`RiskError::BelowInitial`].
    pub fn check_order<I>(
        &mut self,
        account: &AccountCheck,
        holdings: I,
        order: &OrderCheck,
    ) -> Result<(), RiskError>
    where
        I: Iterator<Item = Holding> + Clone,
    {
        let at = self.row_index(order.instrument).ok_or(RiskError::Unknown)?;
        if !self.rows.get(at).is_some_and(InstrumentRow::is_priced) {
            return Err(RiskError::NotPriced);
        }
        if account.model == MarginModel::Standard {
            let mut legs = core::mem::take(&mut self.work.legs);
            let verdict = self.check_standard_order(&mut legs, account, holdings, order, at);
            self.work.legs = legs;
            return verdict;
        }
        self.ensure(account.account, holdings);
        // Taken apart so that the sums can be changed while the rows are read.
        let mut cache = core::mem::take(&mut self.cache);
        let verdict = match cache.current(account.account, self.epoch) {
            Some(sums) => self.judge(sums, account.cash, order, at),
            None => Err(RiskError::Unknown),
        };
        self.cache = cache;
        verdict
    }

    #[inline(always)]
    fn judge(
        &self,
        sums: &mut AccountSums,
        cash: Cash,
        order: &OrderCheck,
        at: usize,
    ) -> Result<(), RiskError> {
        let (Some(row), Some(open)) = (self.rows.get(at), self.open.get(at)) else {
            return Err(RiskError::Unknown);
        };
        let lots = i64::from(order.lots);
        let added = u128::from(row.bound).saturating_mul(u128::from(order.lots));
        let gross = sums.gross.saturating_add(added);
        if gross > u128::from(super::evaluate::GROSS_MAX) {
            return Err(RiskError::TooLarge);
        }
        let underlying = row.underlying;
        let free = self.free(sums, cash, underlying);
        let part = sums.part(underlying);
        let mut after = part.sums.held;
        let worst = lanes::worst_with(self.width, &part.sums.lanes, open.side(order.side), lots);
        after.add(row, u64::from(order.lots));
        after.naked = after
            .naked
            .saturating_add(part.open_naked)
            .saturating_add(open_naked(row, order.side, lots));
        let mark = part.sums.lanes.mark();
        let im = after
            .contribution(self.factors_of(underlying), worst, mark)
            .im;
        let im = im.saturating_add(order_drag(row, order));
        if im.saturating_add(free) >= 0 {
            return Ok(());
        }
        self.judge_exactly(sums, free, order, at)
    }

    /// Everything but the order's underlying, in sub-units: other underlyings, cash, drag.
    #[inline(always)]
    fn free(&self, sums: &mut AccountSums, cash: Cash, but: u8) -> i128 {
        let own = i128::from(cash.get()).saturating_add(sums.drag);
        (own << SUBUNIT_BITS).saturating_add(self.others_initial(sums, but))
    }

    /// Contributions of all underlyings but one.
    #[inline(always)]
    pub(super) fn others_initial(&self, sums: &mut AccountSums, but: u8) -> i128 {
        let others = sums.parts.iter_mut().filter(|part| part.underlying != but);
        others.fold(0_i128, |sum, part| {
            sum.saturating_add(self.part_initial(part))
        })
    }

    /// A part's contribution to initial margin with its open orders.
    #[inline(always)]
    fn part_initial(&self, part: &mut CachedPart) -> i128 {
        if let Some(im) = part.im {
            return im;
        }
        let mut sums = part.sums;
        sums.held.naked = sums.held.naked.saturating_add(part.open_naked);
        let im = sums.contribution(self.factors_of(part.underlying)).im;
        part.im = Some(im);
        im
    }

    /// The order's own expiry exactly, everything else as bounded. Between no fill and a whole fill
    /// initial margin is concave but for the skew scenarios, whose least value in between is bounded
    /// by [`skew_floor`]; so both ends decide.
    #[cold]
    fn judge_exactly(
        &self,
        sums: &mut AccountSums,
        free: i128,
        order: &OrderCheck,
        at: usize,
    ) -> Result<(), RiskError> {
        let (Some(row), Some(pair)) = (self.rows.get(at), self.pairs.get(at)) else {
            return Err(RiskError::Unknown);
        };
        let Some(group) = self.groups.get(usize::from(row.group)) else {
            return Err(RiskError::Unknown);
        };
        let change = i64::from(order.lots).saturating_mul(order.side.sign());
        let old = sums.group(row.group);
        let mut new = old;
        new.add(pair, change);
        let net = sums.net(leg_key(row));
        let amount = change.saturating_mul(row.lot);
        let more_naked = if row.strike == NO_STRIKE {
            0
        } else {
            naked(net.saturating_add(amount)).saturating_sub(naked(net))
        };
        let part = sums.part(row.underlying);
        let before = self.part_initial(part).saturating_add(free);
        let mut after = part.sums;
        let mut result = new.result(group.concave);
        floor_skews(&mut result, &old, &new);
        after.lanes.replace(&old.result(group.concave), &result);
        // The price is paid for what the fill is worth at the mark; a better price counts nothing.
        after.lanes.keep_mark(&part.sums.lanes);
        after.held.add(row, u64::from(order.lots));
        let naked = after.held.naked.saturating_add(part.open_naked);
        after.held.naked = naked.saturating_add(more_naked);
        let im = after
            .contribution(self.factors_of(part.underlying))
            .im
            .saturating_add(free)
            .saturating_add(order_drag(row, order));
        if im >= before.min(0) {
            Ok(())
        } else {
            Err(RiskError::BelowInitial)
        }
    }

    /// Initial margin with every open order at its worst: what [`check_order`](Self::check_order)
    /// starts from. Equal to [`margin`](Self::margin)'s `im` where there are no open orders.
    ///
    /// # Errors
    /// [`RiskError::TooLarge`].
    pub fn initial_with_orders<I>(
        &mut self,
        account: &AccountCheck,
        holdings: I,
    ) -> Result<Cash, RiskError>
    where
        I: Iterator<Item = Holding> + Clone,
    {
        if account.model == MarginModel::Standard {
            let mut legs = core::mem::take(&mut self.work.legs);
            let initial = self.standard_with_orders(&mut legs, account, holdings);
            self.work.legs = legs;
            return Ok(initial);
        }
        self.ensure(account.account, holdings);
        let mut cache = core::mem::take(&mut self.cache);
        let result = match cache.current(account.account, self.epoch) {
            Some(sums) if sums.is_too_large() => Err(RiskError::TooLarge),
            // No underlying has this index: all parts count.
            Some(sums) => Ok(in_cash(self.free(sums, account.cash, u8::MAX), Cash::ZERO)),
            None => Err(RiskError::Unknown),
        };
        self.cache = cache;
        result
    }

    /// Exact margin, and initial margin with every open order at its worst, for readers: nothing is
    /// remembered.
    ///
    /// # Errors
    /// [`RiskError::TooLarge`].
    pub fn margin_with_orders<I>(
        &self,
        account: &AccountCheck,
        holdings: I,
    ) -> Result<(Margin, Cash), RiskError>
    where
        I: Iterator<Item = Holding> + Clone,
    {
        let mut work = Workspace::default();
        let (cash, model) = (account.cash, account.model);
        let margin = self.margin_in(&mut work, holdings.clone(), cash, model);
        if model == MarginModel::Standard {
            let initial = self.standard_with_orders(&mut work.legs, account, holdings);
            return Ok((margin, initial));
        }
        let mut sums = AccountSums::default();
        self.sum_up(&mut sums, &mut work.positions, holdings);
        if sums.is_too_large() {
            return Err(RiskError::TooLarge);
        }
        let initial = in_cash(self.free(&mut sums, cash, u8::MAX), Cash::ZERO);
        Ok((margin, initial))
    }

    /// What an open order loses by its price against the mark, fees left out; at most zero.
    pub fn drag(&self, order: &OrderCheck) -> Cash {
        let row = self
            .row_index(order.instrument)
            .and_then(|at| self.rows.get(at));
        let drag = row.map_or(0, |row| {
            order_drag(
                row,
                &OrderCheck {
                    fee_max: Cash::ZERO,
                    ..*order
                },
            )
        });
        in_cash(drag, Cash::ZERO)
    }

    /// Open orders changed, after the fact.
    #[inline]
    pub fn on_open_change(&mut self, account: AccountId, change: &OpenChange) {
        let Some(at) = self.row_index(change.instrument) else {
            return;
        };
        let mut cache = core::mem::take(&mut self.cache);
        if let Some(sums) = cache.usable(account, self.valid_from) {
            self.apply_open(sums, at, change.side, change.lots);
            sums.drag = sums.drag.saturating_add(i128::from(change.drag.get()));
        }
        self.cache = cache;
    }

    /// A position changed, after the fact. The open lots that filled are a change of their own.
    #[inline]
    pub fn on_position_change(&mut self, account: AccountId, change: &PositionChange) {
        let Some(at) = self.row_index(change.instrument) else {
            return;
        };
        let mut cache = core::mem::take(&mut self.cache);
        if let Some(sums) = cache.usable(account, self.valid_from) {
            self.apply_position(sums, at, change.before, change.after);
        }
        self.cache = cache;
    }

    #[inline(always)]
    pub(super) fn factors_of(&self, underlying: u8) -> &Factors {
        self.factors
            .get(usize::from(underlying))
            .unwrap_or(&Factors::NONE)
    }
}

/// min(0, ±(mark − price)) · lots − fees, in sub-units.
#[inline(always)]
pub(super) fn order_drag(row: &InstrumentRow, order: &OrderCheck) -> i128 {
    let price = i128::from(order.price_per_lot.get()) << SUBUNIT_BITS;
    let gain = i128::from(row.mark).saturating_sub(price);
    let per_lot = match order.side {
        Side::Buy => gain.min(0),
        Side::Sell => gain.max(0).saturating_neg(),
    };
    let fee = i128::from(order.fee_max.get()) << SUBUNIT_BITS;
    // A mark and a price of 64 bits and a few, times lots of 32, are far from 128.
    per_lot
        .wrapping_mul(i128::from(order.lots))
        .wrapping_sub(fee)
}

/// Lowers an expiry's skew results to what they can be at any point between `old` and `new`.
///
/// A skew scenario counts −|h|, h = min(a, b), with a and b linear in between. Where h is negative
/// −|h| is concave and an end is least. Its largest positive value is at most the lower of a's and
/// b's largest, which are at the ends.
fn floor_skews(result: &mut [i64; lanes::LANES], old: &Sums<i64>, new: &Sums<i64>) {
    let sums = old.a.iter().zip(&new.a).zip(old.b.iter().zip(&new.b));
    let lanes = result
        .iter_mut()
        .zip(sums)
        .take(LANES_SCENARIO)
        .skip(LANE_SKEW);
    for (result, ((a0, a1), (b0, b1))) in lanes {
        let top = (*a0).max(*a1).min((*b0).max(*b1)).max(0);
        let ends = (*a0).min(*b0).min((*a1).min(*b1)).min(0);
        *result = (*result).min(ends).min(top.saturating_neg());
    }
}

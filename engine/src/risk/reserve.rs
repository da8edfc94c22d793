//! How far prices may move before an account's maintenance margin has to be computed again.
//!
//! Most accounts are far above it, and a tick moves prices little. Maintenance margin is made of
//! values times lots by additions, minima and absolute amounts, as in [`super::drift`], so that it
//! changes by at most the account's lots times how far any value per lot *moved*, times a factor. An
//! account whose margin is more than that apart from zero needs no look. The verdicts are those of
//! exact margins, always.
//!
//! Beside values per lot, maintenance margin depends on the rate that naked shorts are charged:
//! [`RiskBook::moved`] counts both. Its loss factor follows from parameters alone.
//!
//! **Never** bridges what is no drift, nor a change of the account itself: who remembers a reserve
//! forgets it then, and all of them when [`RiskBook::valid_from`] changes.

use super::SUBUNIT_BITS;
use super::book::{Factors, RiskBook};
use super::evaluate::Margin;
use super::market::Holding;
use crate::limits::UNDERLYINGS_MAX;
use crate::types::{Cash, MarginModel};

/// One in the steps of a factor.
const FACTOR_ONE: u64 = 1 << 32;
/// Sub-units that rounding can take: one for each underlying, and one cash unit.
const ROUNDING: u64 = UNDERLYINGS_MAX as u64 + (1 << SUBUNIT_BITS);

impl RiskBook {
    /// How far any value per lot, and the charge for a naked lot, may have moved since the beginning.
    pub(crate) const fn moved(&self) -> u64 {
        self.moved
    }

    /// Changes whenever something changed that [`moved`](Self::moved) does not count.
    pub(crate) const fn valid_from(&self) -> u64 {
        self.valid_from
    }

    /// [`margin`](Self::margin), and up to which [`moved`](Self::moved) maintenance margin surely
    /// stays met if nothing else changes; 0 where that cannot be said.
    pub(crate) fn margin_and_reserve<I>(
        &mut self,
        holdings: I,
        cash: Cash,
        model: MarginModel,
    ) -> (Margin, u64)
    where
        I: Iterator<Item = Holding>,
    {
        let margin = self.margin(holdings, cash, model);
        let reserve = match model {
            MarginModel::Portfolio => self.reserve(margin.mm),
            MarginModel::Standard => 0,
        };
        (margin, reserve)
    }

    /// For the positions that were summed last.
    fn reserve(&self, maintenance: Cash) -> u64 {
        let Ok(excess) = u64::try_from(maintenance.get()) else {
            return 0;
        };
        let legs = self.work.positions.iter();
        let lots = legs.fold(0_u64, |sum, leg| {
            sum.saturating_add(leg.lots.unsigned_abs())
        });
        // A move counts in the worst loss times its factor, in contingencies, in the mark and in
        // what naked shorts are charged.
        let factor = self.maintenance_factor().unsigned_abs();
        let widest = factor.div_ceil(FACTOR_ONE).saturating_add(3);
        let excess = excess.min(u64::MAX >> SUBUNIT_BITS) << SUBUNIT_BITS;
        let spare = excess.saturating_sub(ROUNDING);
        // Without a position nothing moves.
        let reach = spare.checked_div(lots.saturating_mul(widest));
        self.moved.saturating_add(reach.unwrap_or(u64::MAX))
    }

    /// Counts a tick of an underlying: the largest move of a value, and what a naked lot is charged
    /// more or less than before.
    pub(super) fn count_moves(&mut self, underlying: u8, before: &Factors, largest_move: u64) {
        let rate = self.factors_of(underlying).mm_naked;
        let change = u128::from(rate.abs_diff(before.mm_naked));
        let rows = self.rows.iter().filter(|row| row.underlying == underlying);
        let largest_lot = rows.map(|row| row.lot.unsigned_abs()).fold(0, u64::max);
        let charge = change
            .saturating_mul(largest_lot.into())
            .div_ceil(FACTOR_ONE.into());
        let charge = u64::try_from(charge).unwrap_or(u64::MAX);
        match self.moved.checked_add(largest_move.max(charge)) {
            Some(moved) => self.moved = moved,
            None => {
                self.moved = 0;
                self.invalidate();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )]
    use super::*;
    use crate::risk::{
        ExpiryState, InstrumentKind, InstrumentTerms, Pm2Parameters, Ratio, StandardParameters,
        UnderlyingState, VolMark,
    };
    use crate::types::{InstrumentId, OptionKind, Price, Qty, TimeMs, UnderlyingId};
    use alloc::vec::Vec;
    use proptest::prelude::*;

    const NOW: TimeMs = TimeMs::new(1_790_000_000_000);
    const INSTRUMENTS: u32 = 24;
    const SPOTS: [i64; 2] = [90_000_000_000, 3_000_000_000];

    fn expiry(at: u32) -> TimeMs {
        NOW.plus_ms(u64::from(at + 1) * 9 * 86_400_000)
    }

    /// Two underlyings of two expiries, three strikes, calls and puts.
    fn terms(id: u32) -> InstrumentTerms {
        let (underlying, expiry_at, strike) = (id % 2, id / 2 % 2, id / 4 % 3);
        InstrumentTerms {
            underlying: UnderlyingId::new(underlying as u8),
            lot: Qty::new([1_000_000, 10_000_000][underlying as usize]),
            kind: InstrumentKind::Option {
                expiry: expiry(expiry_at),
                strike: Price::new(SPOTS[underlying as usize] * (9 + i64::from(strike)) / 10),
                kind: OptionKind::ALL[(id / 12) as usize],
            },
        }
    }

    fn book() -> RiskBook {
        let (pm2, standard) = (Pm2Parameters::default(), StandardParameters::default());
        let mut book = RiskBook::new(pm2, standard, 4).unwrap();
        for id in 0..INSTRUMENTS {
            let set = book.set_instrument(InstrumentId::new(id), terms(id));
            set.unwrap();
        }
        book
    }

    fn tick(book: &mut RiskBook, underlying: usize, spot: i64, vol: i64) {
        let spot = Price::new(spot);
        let state = |at| ExpiryState {
            expiry: expiry(at),
            forward: spot,
            settled: None,
            rate: Ratio::new(40_000_000),
            confidence: Ratio::ONE,
        };
        let market = UnderlyingState {
            underlying: UnderlyingId::new(underlying as u8),
            now: NOW,
            spot,
            spot_confidence: Ratio::ONE,
            perp: Price::ZERO,
            perp_confidence: Ratio::ONE,
            stable: Ratio::ONE,
            expiries: [0, 1].map(state).into(),
        };
        let marks = (0..INSTRUMENTS).filter(|id| *id as usize % 2 == underlying);
        let marks = marks.map(|id| VolMark {
            instrument: InstrumentId::new(id),
            vol: Ratio::new(vol),
            confidence: Ratio::ONE,
        });
        let marks: Vec<_> = marks.collect();
        book.tick(&market, &marks).unwrap();
    }

    proptest! {
        /// As long as prices moved less than its reserve says, an account's maintenance margin is
        /// met; and reserves do outlast ticks.
        #[test]
        fn a_reserve_is_never_too_large(
            lots in prop::collection::vec(-300_i64..300, INSTRUMENTS as usize),
            held in 1_usize..INSTRUMENTS as usize,
            excess in prop_oneof![0_i64..50_000_000, 0_i64..2_000_000_000, 0_i64..200_000_000_000],
            ticks in prop::collection::vec((0_usize..2, -900_i64..900, -40_i64..40), 1..30),
            trend in -400_i64..400,
        ) {
            let mut book = book();
            let (mut spots, mut vols) = (SPOTS, [500_000_000; 2]);
            (0..2).for_each(|at| tick(&mut book, at, spots[at], vols[at]));
            let positions = (0..).zip(lots).take(held);
            let positions = positions.map(|(id, lots)| Holding::position(InstrumentId::new(id), lots));
            let positions: Vec<Holding> = positions.collect();
            let margin = |book: &mut RiskBook, cash| {
                book.margin_and_reserve(positions.iter().copied(), Cash::new(cash), MarginModel::Portfolio)
            };
            let cash = excess - margin(&mut book, 0).0.mm.get();
            let (start, reserve) = margin(&mut book, cash);
            prop_assert_eq!(start.mm.get(), excess);
            let from = book.valid_from();
            for (at, spot, vol) in ticks {
                spots[at] += SPOTS[at] / 1_000_000 * (spot + trend);
                vols[at] += vol * 100_000;
                tick(&mut book, at, spots[at], vols[at]);
                if book.valid_from() == from && book.moved() < reserve {
                    prop_assert!(margin(&mut book, cash).0.mm.get() >= 0);
                }
            }
        }
    }

    #[test]
    fn an_account_far_above_its_margin_outlasts_many_ticks() {
        let mut book = book();
        (0..2).for_each(|at| tick(&mut book, at, SPOTS[at], 500_000_000));
        let position = [Holding::position(InstrumentId::new(0), -10)];
        let cash = Cash::new(100_000_000_000);
        let (margin, reserve) =
            book.margin_and_reserve(position.into_iter(), cash, MarginModel::Portfolio);
        assert!(margin.mm.get() > 0);
        for step in 1..100 {
            tick(
                &mut book,
                0,
                SPOTS[0] + SPOTS[0] / 10_000 * step,
                500_000_000,
            );
        }
        assert!(book.moved() > 0 && book.moved() < reserve);
        let standard = book.margin_and_reserve(position.into_iter(), cash, MarginModel::Standard);
        assert_eq!(standard.1, 0);
    }

    #[test]
    fn a_larger_charge_for_naked_shorts_counts_as_a_move() {
        let mut book = book();
        (0..2).for_each(|at| tick(&mut book, at, SPOTS[at], 500_000_000));
        let before = book.factors;
        let moved = book.moved();
        book.factors[0].mm_naked += 1 << 32;
        book.count_moves(0, &before[0], 3);
        // A lot is 1 000 000 of what the rate is for.
        assert_eq!(book.moved() - moved, 1_000_000);
        let moved = book.moved();
        book.count_moves(0, &book.factors[0].clone(), 3);
        assert_eq!(book.moved() - moved, 3);
    }
}

//! Standard margin: short options pay by formula, bounded by their expiry's largest loss.
//!
//! Per expiry two requirements stand beside each other, isolated (a sum over shorts) and bounded (the
//! largest loss at any of the strikes held, and a share of the forward beyond the highest for calls
//! that nothing pairs); the kinder one counts. Over a fixed set of strikes each is concave and
//! positively homogeneous in the positions, so each is bounded for open orders by adding what single
//! orders require over those strikes; and since the larger of two lower bounds is a lower bound of
//! the larger, the kinder of the two sums still is one. A set with more strikes only ever asks for
//! more, so the strikes of positions and open orders together bound what any fills leave.

use alloc::vec::Vec;

use super::SUBUNIT_BITS;
use super::book::{Group, RiskBook, RiskError, in_stable};
use super::evaluate::{Margin, in_cash};
use super::market::{Holding, InstrumentKind, InstrumentTerms, UnderlyingState};
use super::orders::{AccountCheck, OrderCheck, order_drag};
use super::parameters::{Ratio, StandardParameters};
use super::row::{InstrumentRow, per_lot, share};
use crate::types::{Cash, OptionKind, Price, Side};

/// What standard margin needs of an instrument, per lot, in sub-units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct StandardRow {
    /// What a short option must hold, its mark included: initial and maintenance.
    short: Both<i64>,
    /// Initial margin's surcharge on a short option: stablecoin and feed confidence.
    short_surcharge: i64,
    /// What a perpetual requires either way, surcharges included in the initial one.
    perp: Both<i64>,
    /// What collateral counts for; may be negative in initial margin by surcharges.
    base: Both<i64>,
}

/// An amount for each of the two margins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Both<T> {
    im: T,
    mm: T,
}

impl StandardRow {
    /// Short call: IM max(a − OTM/S, b)·S + mark, MM c·S + mark. Short put: MM max(c·S, c·mark) +
    /// mark, IM the same as a call's and at least a multiple of MM.
    pub fn option(
        parameters: &StandardParameters,
        market: &UnderlyingState,
        terms: &InstrumentTerms,
        (mark, confidence): (i64, Ratio),
    ) -> Self {
        let InstrumentKind::Option { strike, kind, .. } = terms.kind else {
            return Self::default();
        };
        let spot = per_lot(market.spot, terms.lot);
        let otm = match kind {
            OptionKind::Call => strike.get().saturating_sub(market.spot.get()),
            OptionKind::Put => market.spot.get().saturating_sub(strike.get()),
        };
        let otm = per_lot(Price::new(otm.max(0)), terms.lot);
        let at_least = share(spot, parameters.im_spot_min);
        let im = share(spot, parameters.im_spot)
            .saturating_sub(otm)
            .max(at_least);
        let im = im.saturating_add(mark);
        let plain = share(spot, parameters.mm_spot);
        let short = match kind {
            OptionKind::Call => Both {
                im,
                mm: plain.saturating_add(mark),
            },
            OptionKind::Put => {
                let mm = plain
                    .max(share(mark, parameters.mm_spot))
                    .saturating_add(mark);
                Both {
                    im: im.max(share(mm, parameters.put_im_over_mm)),
                    mm,
                }
            }
        };
        let depeg = share(spot, depeg(parameters, market.stable));
        let missing = share(spot, missing(parameters, confidence));
        Self {
            short,
            short_surcharge: depeg.saturating_add(missing),
            ..Self::default()
        }
    }

    /// A perpetual or collateral.
    pub fn linear(
        parameters: &StandardParameters,
        market: &UnderlyingState,
        terms: &InstrumentTerms,
    ) -> Self {
        let spot = per_lot(market.spot, terms.lot);
        match terms.kind {
            InstrumentKind::Option { .. } => Self::default(),
            InstrumentKind::Perp => {
                let notional = per_lot(market.perp, terms.lot);
                let confidence = market.spot_confidence.min(market.perp_confidence);
                let surcharge = share(spot, missing(parameters, confidence))
                    .saturating_add(share(spot, depeg(parameters, market.stable)));
                let im = share(notional, parameters.perp_im).saturating_add(surcharge);
                let mm = share(notional, parameters.perp_mm);
                Self {
                    perp: Both { im, mm },
                    ..Self::default()
                }
            }
            InstrumentKind::Collateral(asset) => {
                let worth = per_lot(in_stable(asset.price, market.stable), terms.lot);
                let counted = share(worth, parameters.base_share);
                let confidence = market.spot_confidence.min(asset.confidence);
                let surcharge = share(worth, missing(parameters, confidence));
                let im = share(counted, parameters.base_im_share).saturating_sub(surcharge);
                Self {
                    base: Both { im, mm: counted },
                    ..Self::default()
                }
            }
        }
    }
}

/// Surcharge on notional for a stablecoin under its threshold.
fn depeg(parameters: &StandardParameters, stable: Ratio) -> Ratio {
    let under = parameters
        .depeg_threshold
        .get()
        .saturating_sub(stable.get())
        .max(0);
    Ratio::new(share(under, parameters.depeg_factor))
}

/// Surcharge on notional for a feed under its confidence threshold.
fn missing(parameters: &StandardParameters, confidence: Ratio) -> Ratio {
    if confidence >= parameters.confidence_threshold {
        return Ratio::ZERO;
    }
    let missing = Ratio::ONE.get().saturating_sub(confidence.get());
    Ratio::new(share(missing, parameters.confidence_margin))
}

/// One instrument in one account, sorted by expiry and strike.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leg {
    group: u16,
    strike: i64,
    row: u32,
    position: i64,
    open_buy: u64,
    open_sell: u64,
}

/// One expiry's two requirements (as amounts that are at most zero when they bind), in sub-units.
#[derive(Clone, Copy, Debug, Default)]
struct Requirement {
    isolated: i128,
    bounded: i128,
    /// What open buys pay. It stands outside: an option held never counts as a credit, however
    /// much it is worth.
    premium: i128,
}

/// Everything of one margin in sub-units, cash left out.
#[derive(Clone, Copy, Debug, Default)]
struct StandardSums {
    margin: Both<i128>,
    mark: i128,
}

impl Requirement {
    /// The kinder of both, never a credit.
    fn counted(self) -> i128 {
        let required = self.isolated.max(self.bounded).min(0);
        required.saturating_sub(self.premium)
    }

    /// Each requirement without credit, and `paid` on top. Both are concave in the positions still.
    fn paying(self, paid: i128) -> Self {
        Self {
            isolated: self.isolated.min(0).saturating_sub(paid),
            bounded: self.bounded.min(0).saturating_sub(paid),
            premium: self.premium,
        }
    }

    fn lower(self, other: Self) -> Self {
        Self {
            isolated: self.isolated.min(other.isolated),
            bounded: self.bounded.min(other.bounded),
            premium: self.premium,
        }
    }
}

/// `lots · value`, wide.
fn times(value: i64, lots: u64) -> i128 {
    i128::from(value).saturating_mul(i128::from(lots))
}

/// A change for the worse times a factor; one for the better as it is.
fn worsened(change: i128, scale: Ratio) -> i128 {
    if change >= 0 || scale == Ratio::ONE {
        return change;
    }
    let scaled = change.saturating_mul(i128::from(scale.get()));
    scaled.div_euclid(i128::from(Ratio::ONE.get()))
}

fn short_lots(position: i64) -> u64 {
    position.min(0).unsigned_abs()
}

impl RiskBook {
    /// Legs of the account's options, sorted, one per instrument; the rest is summed at once.
    fn legs(&self, legs: &mut Vec<Leg>, holdings: impl Iterator<Item = Holding>) -> StandardSums {
        legs.clear();
        let mut sums = StandardSums::default();
        for holding in holdings {
            let Some(at) = self.row_index(holding.instrument) else {
                continue;
            };
            let Some(row) = self.rows.get(at) else {
                continue;
            };
            let mark = i128::from(row.mark).saturating_mul(i128::from(holding.position));
            sums.mark = sums.mark.saturating_add(mark);
            let InstrumentKind::Option { strike, .. } = row.terms.kind else {
                sums.add_linear(row, &holding);
                continue;
            };
            legs.push(Leg {
                group: row.group,
                strike: strike.get(),
                row: at as u32,
                position: holding.position,
                open_buy: holding.open_buy,
                open_sell: holding.open_sell,
            });
        }
        legs.sort_unstable_by_key(|leg| (leg.group, leg.strike, leg.row));
        legs.dedup_by(|next, kept| {
            let same = next.row == kept.row;
            if same {
                kept.position = kept.position.saturating_add(next.position);
                kept.open_buy = kept.open_buy.saturating_add(next.open_buy);
                kept.open_sell = kept.open_sell.saturating_add(next.open_sell);
            }
            same
        });
        sums
    }

    /// One expiry's requirements in one of the margins.
    fn requirement(&self, legs: &[Leg], margin: impl Fn(Both<i64>) -> i64) -> Requirement {
        let unpaired = Both {
            im: self.standard.unpaired_im.get(),
            mm: self.standard.unpaired_mm.get(),
        };
        let group = legs
            .first()
            .and_then(|leg| self.groups.get(usize::from(leg.group)));
        let forward = group.map_or(0, |group: &Group| group.forward.get());
        let forward = share(forward, Ratio::new(margin(unpaired)));
        let highest = legs.last().map_or(0, |leg| leg.strike);
        let mut sweep = Sweep::default();
        let mut total = Requirement::default();
        let rows = legs
            .iter()
            .filter_map(|leg| Some((leg, self.rows.get(leg.row as usize)?)));
        for (leg, row) in rows.clone() {
            let InstrumentKind::Option { kind, .. } = row.terms.kind else {
                continue;
            };
            let required = margin(row.standard.short);
            total.isolated = total
                .isolated
                .saturating_sub(times(required, short_lots(leg.position)));
            sweep.start(leg, row, kind);
            // An order pays or takes its price, which is the mark but for its drag.
            let largest_loss = match kind {
                OptionKind::Call => highest.saturating_sub(leg.strike).saturating_add(forward),
                OptionKind::Put => leg.strike,
            };
            let alone = per_lot(Price::new(largest_loss), row.terms.lot);
            total.premium = total.premium.saturating_add(times(row.mark, leg.open_buy));
            let over = |required: i64| {
                let beyond = required.saturating_sub(row.mark).max(0);
                times(beyond, leg.open_sell)
            };
            total.isolated = total.isolated.saturating_sub(over(required));
            total.bounded = total.bounded.saturating_sub(over(alone));
        }
        for (leg, row) in rows {
            sweep.advance(leg, row);
        }
        total.bounded = total.bounded.saturating_add(sweep.bounded(forward));
        total
    }

    fn sum_standard<I>(&self, legs: &mut Vec<Leg>, holdings: I) -> StandardSums
    where
        I: Iterator<Item = Holding>,
    {
        let mut sums = self.legs(legs, holdings);
        for expiry in legs.chunk_by(|a, b| a.group == b.group) {
            let im = self.requirement(expiry, |both| both.im).counted();
            let mm = self.requirement(expiry, |both| both.mm).counted();
            let im = im.saturating_sub(self.surcharge(expiry));
            let im = self.scaled_loss(expiry, im);
            sums.margin.im = sums.margin.im.saturating_add(im);
            sums.margin.mm = sums.margin.mm.saturating_add(mm);
        }
        sums
    }

    /// What an expiry takes off initial margin, times the factor on its underlying's losses.
    fn scaled_loss(&self, legs: &[Leg], change: i128) -> i128 {
        let row = legs.first().and_then(|leg| self.rows.get(leg.row as usize));
        let scale = row.and_then(|row| self.loss_scale.get(usize::from(row.underlying)));
        worsened(change, scale.map_or(Ratio::ONE, |scale| *scale))
    }

    /// Initial margin's surcharges on an expiry's shorts, open sells included.
    fn surcharge(&self, legs: &[Leg]) -> i128 {
        legs.iter().fold(0, |sum: i128, leg| {
            let row = self.rows.get(leg.row as usize);
            let per_lot = row.map_or(0, |row| row.standard.short_surcharge);
            let lots = short_lots(leg.position).saturating_add(leg.open_sell);
            sum.saturating_add(times(per_lot, lots))
        })
    }

    pub(super) fn standard_margin(
        &self,
        legs: &mut Vec<Leg>,
        holdings: impl Iterator<Item = Holding>,
        cash: Cash,
    ) -> Margin {
        // An open order's strike is none that is held.
        let held = holdings.filter(|holding| holding.position != 0);
        let positions = held.map(|holding| Holding::position(holding.instrument, holding.position));
        let sums = self.sum_standard(legs, positions);
        Margin {
            im: in_cash(sums.margin.im, cash),
            mm: in_cash(sums.margin.mm, cash),
            equity: in_cash(sums.mark, cash),
            ..Margin::default()
        }
    }

    /// Initial margin with every open order at its worst.
    pub(super) fn standard_with_orders<I>(
        &self,
        legs: &mut Vec<Leg>,
        account: &AccountCheck,
        holdings: I,
    ) -> Cash
    where
        I: Iterator<Item = Holding> + Clone,
    {
        let drag = holdings.clone().fold(0_i128, |sum, holding| {
            sum.saturating_add(i128::from(holding.open_drag.get()) << SUBUNIT_BITS)
        });
        let sums = self.sum_standard(legs, holdings);
        in_cash(sums.margin.im.saturating_add(drag), account.cash)
    }

    /// See [`RiskBook::check_order`].
    pub(super) fn check_standard_order<I>(
        &self,
        legs: &mut Vec<Leg>,
        account: &AccountCheck,
        holdings: I,
        order: &OrderCheck,
        at: usize,
    ) -> Result<(), RiskError>
    where
        I: Iterator<Item = Holding> + Clone,
    {
        let Some(row) = self.rows.get(at).copied() else {
            return Err(RiskError::Unknown);
        };
        let drag = order_drag(&row, order);
        let lots = u64::from(order.lots);
        let mut as_open = Holding::position(order.instrument, 0);
        match order.side {
            Side::Buy => as_open.open_buy = lots,
            Side::Sell => as_open.open_sell = lots,
        }
        let with_order = holdings.clone().chain(core::iter::once(as_open));
        let bound = self.standard_with_orders(legs, account, with_order);
        let drag_cash = i128::from(in_cash(drag, Cash::ZERO).get());
        if i128::from(bound.get()).saturating_add(drag_cash) >= 0 {
            return Ok(());
        }
        let before = i128::from(
            self.standard_with_orders(legs, account, holdings.clone())
                .get(),
        );
        let change = self.standard_change(legs, holdings, (order, &row));
        let change = i128::from(in_cash(change.saturating_add(drag), Cash::ZERO).get());
        let after = before.saturating_add(change);
        if after >= before.min(0) {
            Ok(())
        } else {
            Err(RiskError::BelowInitial)
        }
    }

    /// How initial margin changes at worst, in sub-units, when any part of the order fills at the
    /// mark. Each requirement over the strikes held then, without credit and with what was paid, is
    /// concave between next to no fill and a whole one, so it is least at an end.
    fn standard_change<I>(
        &self,
        legs: &mut Vec<Leg>,
        holdings: I,
        (order, row): (&OrderCheck, &InstrumentRow),
    ) -> i128
    where
        I: Iterator<Item = Holding> + Clone,
    {
        let signed = i64::from(order.lots).saturating_mul(order.side.sign());
        let filled = Holding::position(order.instrument, signed);
        let paid = i128::from(row.mark).saturating_mul(i128::from(signed));
        let mut group = |holdings: &mut dyn Iterator<Item = Holding>| {
            let linear = self.legs(legs, holdings).margin.im;
            legs.retain(|leg| leg.group == row.group);
            let requirement = self.requirement(legs, |both| both.im);
            (requirement, linear.saturating_sub(self.surcharge(legs)))
        };
        let (none, apart_before) = group(&mut holdings.clone());
        let untouched = Holding::position(order.instrument, 0);
        let (hardly, _) = group(&mut holdings.clone().chain(core::iter::once(untouched)));
        let (whole, apart_after) = group(&mut holdings.chain(core::iter::once(filled)));
        let is_option = matches!(row.terms.kind, InstrumentKind::Option { .. });
        let paid = if is_option { paid } else { 0 };
        let ends = hardly.paying(0).lower(whole.paying(paid));
        let lowest = ends.isolated.max(ends.bounded);
        let apart = apart_after.saturating_sub(apart_before);
        let change = lowest
            .saturating_sub(none.isolated.max(none.bounded).min(0))
            .saturating_add(apart);
        let scale = self.loss_scale.get(usize::from(row.underlying));
        worsened(change, scale.map_or(Ratio::ONE, |scale| *scale))
    }
}

impl StandardSums {
    fn add_linear(&mut self, row: &InstrumentRow, holding: &Holding) {
        let StandardRow { perp, base, .. } = row.standard;
        let open = holding.open_buy.saturating_add(holding.open_sell);
        let either_way = holding.position.unsigned_abs().saturating_add(open);
        let held = i128::from(holding.position);
        let one = |perp: i64, base: i64| {
            i128::from(base)
                .saturating_mul(held)
                .saturating_sub(times(perp, either_way))
        };
        self.margin.im = self.margin.im.saturating_add(one(perp.im, base.im));
        self.margin.mm = self.margin.mm.saturating_add(one(perp.mm, base.mm));
    }
}

/// Walks settlement prices upwards over the strikes of one expiry. Values are in 1e-14 USDC (1e-8
/// coin times 1e-6 USDC).
#[derive(Clone, Copy, Debug, Default)]
struct Sweep {
    price: i64,
    value: i128,
    slope: i128,
    least: i128,
    calls: i128,
}

/// 1e-14 USDC in a sub-unit, as a multiplier and divisor.
const SWEEP_DIVISOR: i128 = 100_000_000;

impl Sweep {
    /// Takes a leg in at a price of zero.
    fn start(&mut self, leg: &Leg, row: &InstrumentRow, kind: OptionKind) {
        let amount = amount(leg, row);
        match kind {
            OptionKind::Call => self.calls = self.calls.saturating_add(amount),
            OptionKind::Put => {
                let at_zero = amount.saturating_mul(i128::from(leg.strike));
                self.value = self.value.saturating_add(at_zero);
                self.slope = self.slope.saturating_sub(amount);
            }
        }
        self.least = self.value;
    }

    /// Moves up to the leg's strike, where a put ends and a call begins.
    fn advance(&mut self, leg: &Leg, row: &InstrumentRow) {
        let step = i128::from(leg.strike.saturating_sub(self.price));
        self.value = self.value.saturating_add(self.slope.saturating_mul(step));
        self.slope = self.slope.saturating_add(amount(leg, row));
        self.price = leg.strike;
        self.least = self.least.min(self.value);
    }

    /// The least value and what net short calls can lose beyond, in sub-units.
    fn bounded(self, forward: i64) -> i128 {
        let beyond = self.calls.min(0).saturating_mul(i128::from(forward));
        let cash = self.least.saturating_add(beyond);
        cash.saturating_mul(i128::from(super::SUBUNITS))
            .div_euclid(SWEEP_DIVISOR)
    }
}

/// A leg's position in 1e-8 coin.
fn amount(leg: &Leg, row: &InstrumentRow) -> i128 {
    i128::from(leg.position).saturating_mul(i128::from(row.terms.lot.get()))
}

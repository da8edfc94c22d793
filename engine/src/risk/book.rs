//! The instruments' values, and the caches of the accounts that trade.

use alloc::vec::Vec;

use super::account::AccountCache;
use super::drift::largest_move;
use super::evaluate::Workspace;
use super::lanes::{Pair, Width};
use super::market::{
    CollateralTerms, ExpiryState, InstrumentKind, InstrumentTerms, UnderlyingState, VolMark,
};
use super::parameters::{Pm2Parameters, Ratio, StandardParameters};
use super::row::{InstrumentRow, NO_STRIKE, OpenRow, bound, per_lot, share};
use super::standard::StandardRow;
use crate::limits::{INSTRUMENTS_MAX, UNDERLYINGS_MAX};
use crate::pricing::scenario::{ExpiryGrid, linear_row};
use crate::types::{InstrumentId, Price, TimeMs, UnderlyingId};

/// Why the risk book refuses something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RiskError {
    /// No such instrument or underlying.
    Unknown,
    /// The instrument has no value yet.
    NotPriced,
    /// A table is full.
    Full,
    /// Initial margin would not be met.
    BelowInitial,
    /// The exposure is beyond what one account may have.
    TooLarge,
}

/// No row.
const NO_ROW: u32 = u32::MAX;

/// What is summed apart before the static discounts: an expiry, or what has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Group {
    pub underlying: UnderlyingId,
    /// `None` for perpetuals and collateral.
    pub expiry: Option<TimeMs>,
    /// Instruments in it; 0 marks a free slot.
    pub members: u32,
    /// Whether the lower form of its sums counts.
    pub concave: bool,
    /// Expected settlement price, for standard margin.
    pub forward: Price,
}

/// One strike of one expiry, which its call and put share.
#[derive(Clone, Copy, Debug)]
pub(super) struct Strike {
    group: u16,
    strike: Price,
    members: u32,
}

/// Factors that turn an underlying's sums into margin, in 2⁻³² steps.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Factors {
    /// On the worst loss, initial and maintenance.
    pub im_loss: i64,
    pub mm_loss: i64,
    /// Sub-units for 1e-8 coin of naked shorts: initial margin's (both parts) and maintenance's.
    pub im_naked: i64,
    pub mm_naked: i64,
}

/// All that margin is computed from, and its caches. See the module's head.
#[derive(Debug)]
pub struct RiskBook {
    pub(super) parameters: Pm2Parameters,
    pub(super) standard: StandardParameters,
    pub(super) width: Width,
    /// Goes up whenever a value changes; caches of an earlier epoch are stale.
    pub(super) epoch: u64,
    /// Sums that were exact earlier than this epoch say nothing any more.
    pub(super) valid_from: u64,
    /// How far any value may have moved since the beginning, tick by tick; see [`super::drift`].
    pub(super) drift: u64,
    /// The same with the charge for naked shorts; see [`super::reserve`].
    pub(super) moved: u64,
    /// Instrument id to row.
    pub(super) index: Vec<u32>,
    pub(super) rows: Vec<InstrumentRow>,
    pub(super) pairs: Vec<Pair>,
    pub(super) open: Vec<OpenRow>,
    /// Marked volatilities and their confidence, by row.
    pub(super) vols: Vec<Option<(Ratio, Ratio)>>,
    pub(super) free_rows: Vec<u32>,
    pub(super) groups: Vec<Group>,
    pub(super) strikes: Vec<Strike>,
    pub(super) factors: [Factors; UNDERLYINGS_MAX],
    pub(super) stable: [Ratio; UNDERLYINGS_MAX],
    spot: [Price; UNDERLYINGS_MAX],
    /// Factor on losses in initial margin.
    pub(super) loss_scale: [Ratio; UNDERLYINGS_MAX],
    pub(super) work: Workspace,
    pub(super) cache: AccountCache,
}

impl Factors {
    /// Of an underlying that does not exist.
    pub const NONE: Self = Self {
        im_loss: 0,
        mm_loss: 0,
        im_naked: 0,
        mm_naked: 0,
    };

    /// With losses in initial margin times a factor.
    fn scaled(self, scale: Ratio) -> Self {
        let times = |steps: i64| {
            let product = i128::from(steps).saturating_mul(i128::from(scale.get()));
            let one = i128::from(Ratio::ONE.get());
            let raised = product
                .saturating_add(one.saturating_sub(1))
                .div_euclid(one);
            i64::try_from(raised).unwrap_or(i64::MAX)
        };
        Self {
            im_loss: times(self.im_loss),
            im_naked: times(self.im_naked),
            ..self
        }
    }
}

impl RiskBook {
    /// An empty book. `cached_accounts` (rounded up to a power of two) bounds the accounts whose sums
    /// are remembered between orders; it changes speed and memory, never a result.
    ///
    /// # Errors
    /// [`RiskError::Full`] when the scenarios do not fit the lanes.
    pub fn new(
        parameters: Pm2Parameters,
        standard: StandardParameters,
        cached_accounts: usize,
    ) -> Result<Self, RiskError> {
        parameters.validate_lanes().map_err(|_| RiskError::Full)?;
        Ok(Self {
            parameters,
            standard,
            width: Width::detect(),
            epoch: 1,
            valid_from: 1,
            drift: 0,
            moved: 0,
            index: Vec::new(),
            rows: Vec::new(),
            pairs: Vec::new(),
            open: Vec::new(),
            vols: Vec::new(),
            free_rows: Vec::new(),
            groups: Vec::new(),
            strikes: Vec::new(),
            factors: [Factors::default(); UNDERLYINGS_MAX],
            stable: [Ratio::ONE; UNDERLYINGS_MAX],
            spot: [Price::ZERO; UNDERLYINGS_MAX],
            loss_scale: [Ratio::ONE; UNDERLYINGS_MAX],
            work: Workspace::default(),
            cache: AccountCache::new(cached_accounts),
        })
    }

    /// Runs the kernels at `width`, which must be one of [`Width::available`]; a wider one is
    /// ignored. For tests and measurements.
    pub fn set_width(&mut self, width: Width) {
        if Width::available().any(|available| available == width) {
            self.width = width;
        }
    }

    /// Goes up with every change of a value.
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The portfolio-margin parameters.
    pub const fn parameters(&self) -> &Pm2Parameters {
        &self.parameters
    }

    /// The row of a live instrument.
    pub fn row(&self, instrument: InstrumentId) -> Option<&InstrumentRow> {
        self.rows.get(self.row_index(instrument)?)
    }

    /// A live instrument's values per lot, in sub-units.
    pub fn values(&self, instrument: InstrumentId) -> Option<&Pair> {
        self.pairs.get(self.row_index(instrument)?)
    }

    /// Where a live instrument's row is.
    #[inline(always)]
    pub(super) fn row_index(&self, instrument: InstrumentId) -> Option<usize> {
        let row = *self.index.get(instrument.get() as usize)?;
        (row != NO_ROW).then_some(row as usize)
    }

    /// Lists an instrument, or replaces its terms. It has no value until the next tick.
    ///
    /// # Errors
    /// [`RiskError::Full`] when its id or its underlying's is out of bounds.
    pub fn set_instrument(
        &mut self,
        instrument: InstrumentId,
        terms: InstrumentTerms,
    ) -> Result<(), RiskError> {
        let id = instrument.get() as usize;
        let underlying = usize::from(terms.underlying.get());
        if instrument.get() >= INSTRUMENTS_MAX || underlying >= UNDERLYINGS_MAX {
            return Err(RiskError::Full);
        }
        self.remove_instrument(instrument);
        let group = self.join_group(&terms)?;
        let strike = self.join_strike(group, &terms);
        let row = InstrumentRow {
            im_abs: 0,
            im_abs_perp: 0,
            mm_abs: 0,
            bound: 0,
            lot: terms.lot.get(),
            mark: 0,
            strike,
            group,
            underlying: terms.underlying.get(),
            is_perp: matches!(terms.kind, InstrumentKind::Perp),
            has_contingencies: false,
            priced: false,
            terms,
            standard: StandardRow::default(),
        };
        if self.index.len() <= id {
            self.index.resize(id.saturating_add(1), NO_ROW);
        }
        let slot = self.store(row);
        if let Some(entry) = self.index.get_mut(id) {
            *entry = slot;
        }
        self.invalidate();
        Ok(())
    }

    /// Delists an instrument. Nobody may hold it any more; what somebody still holds counts nothing.
    pub fn remove_instrument(&mut self, instrument: InstrumentId) {
        let Some(row) = self.row_index(instrument) else {
            return;
        };
        let Some(removed) = self.rows.get(row).copied() else {
            return;
        };
        if let Some(entry) = self.index.get_mut(instrument.get() as usize) {
            *entry = NO_ROW;
        }
        if let Some(group) = self.groups.get_mut(usize::from(removed.group)) {
            group.members = group.members.saturating_sub(1);
        }
        if let Some(strike) = self.strikes.get_mut(removed.strike as usize) {
            strike.members = strike.members.saturating_sub(1);
        }
        if let Some(row) = self.rows.get_mut(row) {
            row.group = u16::MAX;
            row.priced = false;
        }
        if let Some(vol) = self.vols.get_mut(row) {
            *vol = None;
        }
        self.free_rows.push(row as u32);
        self.invalidate();
    }

    fn store(&mut self, row: InstrumentRow) -> u32 {
        if let Some(slot) = self.free_rows.pop() {
            let at = slot as usize;
            if let (Some(stored), Some(pair), Some(open)) = (
                self.rows.get_mut(at),
                self.pairs.get_mut(at),
                self.open.get_mut(at),
            ) {
                (*stored, *pair, *open) = (row, Pair::ZERO, OpenRow::ZERO);
            }
            return slot;
        }
        self.rows.push(row);
        self.pairs.push(Pair::ZERO);
        self.open.push(OpenRow::ZERO);
        self.vols.push(None);
        self.rows.len().saturating_sub(1) as u32
    }

    fn join_group(&mut self, terms: &InstrumentTerms) -> Result<u16, RiskError> {
        let expiry = match terms.kind {
            InstrumentKind::Option { expiry, .. } => Some(expiry),
            InstrumentKind::Perp | InstrumentKind::Collateral(_) => None,
        };
        let same = |group: &Group| {
            group.members > 0 && group.underlying == terms.underlying && group.expiry == expiry
        };
        let found = self.groups.iter().position(same);
        let at = found.or_else(|| self.groups.iter().position(|group| group.members == 0));
        let at = at.unwrap_or(self.groups.len());
        let index = u16::try_from(at).ok().filter(|index| *index < u16::MAX);
        let index = index.ok_or(RiskError::Full)?;
        let fresh = Group {
            underlying: terms.underlying,
            expiry,
            members: 0,
            concave: true,
            forward: Price::ZERO,
        };
        if at == self.groups.len() {
            self.groups.push(fresh);
        }
        if let Some(group) = self.groups.get_mut(at) {
            if found.is_none() {
                *group = fresh;
            }
            group.members = group.members.saturating_add(1);
        }
        Ok(index)
    }

    fn join_strike(&mut self, group: u16, terms: &InstrumentTerms) -> u32 {
        let InstrumentKind::Option { strike, .. } = terms.kind else {
            return NO_STRIKE;
        };
        let same = |s: &Strike| s.members > 0 && s.group == group && s.strike == strike;
        let found = self.strikes.iter().position(same);
        let at = found.or_else(|| self.strikes.iter().position(|strike| strike.members == 0));
        let at = at.unwrap_or(self.strikes.len());
        let members = found
            .and_then(|at| self.strikes.get(at))
            .map_or(0, |strike| strike.members)
            .saturating_add(1);
        let joined = Strike {
            group,
            strike,
            members,
        };
        match self.strikes.get_mut(at) {
            Some(slot) => *slot = joined,
            None => self.strikes.push(joined),
        }
        at as u32
    }

    /// Something changed that is no drift.
    pub(super) fn invalidate(&mut self) {
        self.bump();
        self.valid_from = self.epoch;
    }

    fn bump(&mut self) {
        self.epoch = self.epoch.saturating_add(1);
    }

    /// No value moved by more than this in the tick that was taken in.
    fn drift_by(&mut self, largest_move: u64) {
        match self.drift.checked_add(largest_move) {
            Some(drift) => self.drift = drift,
            None => {
                self.drift = 0;
                self.valid_from = self.epoch;
            }
        }
    }

    /// Takes in an underlying's prices and marked volatilities and values its instruments anew.
    /// Options without a volatility, or whose expiry is not among the prices, keep what they had.
    ///
    /// # Errors
    /// [`RiskError::Unknown`] when the underlying is out of bounds.
    pub fn tick(&mut self, market: &UnderlyingState, marks: &[VolMark]) -> Result<(), RiskError> {
        let underlying = usize::from(market.underlying.get());
        let before = *self.factors.get(underlying).ok_or(RiskError::Unknown)?;
        *self.stable.get_mut(underlying).ok_or(RiskError::Unknown)? = market.stable;
        *self.spot.get_mut(underlying).ok_or(RiskError::Unknown)? = market.spot;
        self.renew_factors(underlying);
        for mark in marks {
            let Some(row) = self.row_index(mark.instrument) else {
                continue;
            };
            if let Some(vol) = self.vols.get_mut(row) {
                *vol = Some((mark.vol, mark.confidence));
            }
        }
        let (mut largest_move, mut same_forms) = (0, true);
        for at in 0..self.groups.len() {
            let Some(group) = self.groups.get(at).copied() else {
                continue;
            };
            if group.members == 0 || group.underlying != market.underlying {
                continue;
            }
            let prices = group.expiry.map(|expiry| {
                market
                    .expiries
                    .iter()
                    .find(|prices| prices.expiry == expiry)
            });
            let moved = match prices {
                None => self.value_linear(at, market),
                Some(Some(prices)) => self.value_expiry(at, market, prices),
                Some(None) => 0,
            };
            largest_move = moved.max(largest_move);
            let concave = self.groups.get(at).map(|group| group.concave);
            same_forms &= concave == Some(group.concave);
        }
        if same_forms {
            self.bump();
        } else {
            self.invalidate();
        }
        self.drift_by(largest_move);
        self.count_moves(market.underlying.get(), &before, largest_move);
        Ok(())
    }

    /// The settlement stablecoin's price, and a factor on an underlying's losses in initial margin (what
    /// naked shorts are charged included), from now on. Maintenance margin depends on neither.
    pub fn set_conditions(&mut self, underlying: UnderlyingId, stable: Ratio, loss_scale: Ratio) {
        let at = usize::from(underlying.get());
        let (Some(old_stable), Some(old_scale)) =
            (self.stable.get_mut(at), self.loss_scale.get_mut(at))
        else {
            return;
        };
        if (*old_stable, *old_scale) == (stable, loss_scale) {
            return;
        }
        (*old_stable, *old_scale) = (stable, loss_scale);
        self.renew_factors(at);
        self.bump();
    }

    fn renew_factors(&mut self, at: usize) {
        let (Some(spot), Some(stable), Some(scale)) = (
            self.spot.get(at).copied(),
            self.stable.get(at).copied(),
            self.loss_scale.get(at).copied(),
        ) else {
            return;
        };
        let factors = factors(&self.parameters, spot, stable).scaled(scale);
        if let Some(entry) = self.factors.get_mut(at) {
            *entry = factors;
        }
    }

    /// Returns the largest move of a value.
    fn value_expiry(&mut self, at: usize, market: &UnderlyingState, prices: &ExpiryState) -> u64 {
        let mut largest = 0;
        let grid = ExpiryGrid::new(&self.parameters, market, prices);
        if let Some(group) = self.groups.get_mut(at) {
            group.concave = grid.is_concave();
            group.forward = grid.settlement_forward();
        }
        let vols = self.rows.iter().zip(&self.vols);
        let confidence = vols
            .filter(|(row, _)| usize::from(row.group) == at)
            .filter_map(|(_, vol)| vol.map(|(_, confidence)| confidence))
            .fold(prices.confidence.min(market.spot_confidence), Ord::min);
        let alone = confidence_share(&self.parameters, confidence);
        let with_perp = confidence.min(market.perp_confidence);
        let with_perp = confidence_share(&self.parameters, with_perp);
        for index in 0..self.rows.len() {
            let (Some(row), Some(pair), Some(open), Some(vol)) = (
                self.rows.get_mut(index),
                self.pairs.get_mut(index),
                self.open.get_mut(index),
                self.vols.get(index).copied().flatten(),
            ) else {
                continue;
            };
            let InstrumentKind::Option { strike, kind, .. } = row.terms.kind else {
                continue;
            };
            if usize::from(row.group) != at {
                continue;
            }
            let old = (*row, *pair);
            *pair = grid.option_row(strike, kind, vol.0, row.terms.lot);
            *open = OpenRow::new(pair);
            let notional = per_lot(market.spot, row.terms.lot);
            row.set_values(
                pair,
                (share(notional, alone), share(notional, with_perp)),
                0,
            );
            let moved = largest_move(self.width, (&old.0, &old.1), (row, pair));
            largest = moved.max(largest);
            let trusted = prices.confidence.min(market.spot_confidence).min(vol.1);
            row.standard =
                StandardRow::option(&self.standard, market, &row.terms, (row.mark, trusted));
        }
        largest
    }

    /// Returns the largest move of a value.
    fn value_linear(&mut self, at: usize, market: &UnderlyingState) -> u64 {
        let mut largest = 0;
        let parameters = &self.parameters;
        let rows = self
            .rows
            .iter_mut()
            .zip(&mut self.pairs)
            .zip(&mut self.open);
        for ((row, pair), open) in rows.filter(|((row, _), _)| usize::from(row.group) == at) {
            let lot = row.terms.lot;
            let old = (*row, *pair);
            let (on_top, both) = match row.terms.kind {
                InstrumentKind::Option { .. } => continue,
                InstrumentKind::Perp => {
                    *pair = linear_row(parameters, market.perp, Price::ZERO, lot);
                    perp_contingencies(parameters, market, per_lot(market.spot, lot))
                }
                InstrumentKind::Collateral(terms) => {
                    let worth = in_stable(terms.price, market.stable);
                    let moving = if terms.risk_cancelling {
                        worth
                    } else {
                        Price::ZERO
                    };
                    *pair = linear_row(parameters, moving, worth, lot);
                    collateral_contingencies(parameters, market, &terms, per_lot(worth, lot))
                }
            };
            *open = OpenRow::new(pair);
            row.set_values(pair, (on_top, on_top), both);
            let moved = largest_move(self.width, (&old.0, &old.1), (row, pair));
            largest = moved.max(largest);
            row.standard = StandardRow::linear(&self.standard, market, &row.terms);
        }
        largest
    }
}

impl InstrumentRow {
    fn set_values(&mut self, pair: &Pair, (im_abs, im_abs_perp): (i64, i64), mm_abs: i64) {
        (self.im_abs, self.im_abs_perp, self.mm_abs) = (im_abs, im_abs_perp, mm_abs);
        let scalars = [im_abs, im_abs_perp, mm_abs].map(i64::unsigned_abs);
        self.bound = scalars.into_iter().fold(bound(pair), u64::max);
        self.mark = pair.a.0.get(super::LANE_MARK).copied().unwrap_or(0);
        // A perpetual counts as held even where it costs nothing.
        self.has_contingencies = self.is_perp || scalars != [0; 3];
        self.priced = true;
    }
}

/// (1 − confidence) · margin where the confidence is under its threshold.
fn confidence_share(parameters: &Pm2Parameters, confidence: Ratio) -> Ratio {
    let contingency = &parameters.contingency;
    if confidence >= contingency.confidence_threshold {
        return Ratio::ZERO;
    }
    let missing = Ratio::ONE.get().saturating_sub(confidence.get());
    Ratio::new(share(missing, contingency.confidence_margin))
}

/// What a perpetual of this notional adds per lot: initial margin's own part, and both margins'.
fn perp_contingencies(
    parameters: &Pm2Parameters,
    market: &UnderlyingState,
    notional: i64,
) -> (i64, i64) {
    let confidence = market.spot_confidence.min(market.perp_confidence);
    let surcharge = share(notional, confidence_share(parameters, confidence));
    let contingency = &parameters.contingency;
    let on_top = share(notional, contingency.im_perp).saturating_add(surcharge);
    (on_top, share(notional, contingency.mm_perp))
}

/// The same for collateral of this worth.
fn collateral_contingencies(
    parameters: &Pm2Parameters,
    market: &UnderlyingState,
    terms: &CollateralTerms,
    worth: i64,
) -> (i64, i64) {
    let confidence = market.spot_confidence.min(terms.confidence);
    let surcharge = share(worth, confidence_share(parameters, confidence));
    let on_top = share(worth, terms.im_haircut).saturating_add(surcharge);
    (on_top, share(worth, terms.mm_haircut))
}

/// A dollar price in stablecoins; a worthless stablecoin counts as a billionth.
pub(super) fn in_stable(price: Price, stable: Ratio) -> Price {
    let dollars = i128::from(price.get()).saturating_mul(i128::from(Ratio::ONE.get()));
    let price = dollars
        .checked_div(i128::from(stable.get().max(1)))
        .unwrap_or(0);
    Price::new(i64::try_from(price).unwrap_or(i64::MAX))
}

impl RiskBook {
    /// The factor on the worst loss in maintenance margin: one for all underlyings.
    pub(super) fn maintenance_factor(&self) -> i64 {
        in_steps(self.parameters.loss.mm_loss_factor.get().into())
    }
}

fn factors(parameters: &Pm2Parameters, spot: Price, stable: Ratio) -> Factors {
    let (loss, contingency) = (&parameters.loss, &parameters.contingency);
    let peg = contingency
        .peg_loss_threshold
        .get()
        .saturating_sub(stable.get())
        .max(0);
    let peg = share(peg, contingency.peg_loss_factor);
    let im_loss = Ratio::new(loss.im_loss_factor.get().saturating_add(peg));
    let both = contingency
        .im_option
        .get()
        .saturating_add(contingency.mm_option.get());
    Factors {
        im_loss: in_steps(im_loss.get().into()),
        mm_loss: in_steps(loss.mm_loss_factor.get().into()),
        im_naked: naked_rate(spot, both),
        mm_naked: naked_rate(spot, contingency.mm_option.get()),
    }
}

/// Sub-units for 1e-8 coin at this price and share, in 2⁻³² steps.
fn naked_rate(spot: Price, ratio: i64) -> i64 {
    let product = i128::from(spot.get().max(0)).saturating_mul(i128::from(ratio));
    let per_coin = product.saturating_mul(i128::from(super::SUBUNITS));
    in_steps(per_coin.checked_div(100_000_000).unwrap_or(0))
}

/// An amount in 1e-9 steps, in 2⁻³² steps, rounded up.
fn in_steps(raw: i128) -> i64 {
    let one = i128::from(Ratio::ONE.get());
    let scaled = raw
        .saturating_mul(1 << 32)
        .saturating_add(one.saturating_sub(1));
    i64::try_from(scaled.div_euclid(one)).unwrap_or(i64::MAX)
}

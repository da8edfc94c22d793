//! Values of one instrument in every scenario of portfolio margin, rounded to integers per lot.
//!
//! This is the float part of margin: everything after it is integer. Formulas: Derive's PM2 as
//! published. A value per lot is in [`SUBUNITS`] of a cash unit, to the nearest, within
//! [`ROW_MAX`].

use alloc::vec::Vec;

use super::batch::{Black76Columns, GreekColumns};
use super::float::{abs, at_least, at_most, clamp, exp, ln, sqrt};
use super::width::Width;
use crate::risk::{
    BasisParameters, ExpiryState, LANE_FORWARD, LANE_MARK, LANE_SKEW, Lanes, LossParameters, Pair,
    Pm2Parameters, ROW_MAX, Ratio, SKEW_SCENARIOS_MAX, SPOT_SCENARIOS_MAX, SUBUNITS, Scenario,
    SkewParameters, UnderlyingState, VolShock, VolShockParameters,
};
use crate::types::{OptionKind, Price, Qty};

/// Evaluations of one option: the mark, the forward up and down, every scenario.
const EVALUATIONS: usize = 3 + SPOT_SCENARIOS_MAX + SKEW_SCENARIOS_MAX;
const DAYS_PER_YEAR: f64 = 365.0;
const MS_PER_DAY: f64 = 86_400_000.0;
/// Length of the window over which the settlement price is averaged.
const SETTLEMENT_WINDOW_MS: f64 = 1_800_000.0;
/// Terms up to this many days use the short power of the volatility shock, and it is the term at
/// which the shock is quoted.
const VOL_SHOCK_DAYS: f64 = 30.0;

/// A price in dollars.
fn dollars(price: Price) -> f64 {
    price.get() as f64 * 1e-6
}

/// A ratio as a float.
fn float(ratio: Ratio) -> f64 {
    ratio.get() as f64 * 1e-9
}

/// Sub-units for one dollar's worth per coin, on a lot of this size.
fn per_lot(lot: Qty) -> f64 {
    lot.get() as f64 * 1e-8 * (1_000_000 * SUBUNITS) as f64
}

/// The nearest integer, within ±[`ROW_MAX`].
fn rounded(value: f64) -> i64 {
    let bound = ROW_MAX as f64;
    let half = if value < 0.0 { -0.5 } else { 0.5 };
    clamp(value + half, -bound, bound) as i64
}

/// How a scenario changes volatility at one expiry.
#[derive(Clone, Copy, Debug)]
enum Shift {
    /// `max(floor, v · factor)`.
    Scale { factor: f64, floor: f64 },
    /// `v · max(0, 1 + clamp(k·slope, ±cap))`, by +cap where k ≥ 0 and −cap below.
    Tilt {
        slope: f64,
        cap: f64,
        absolute: bool,
    },
}

impl Shift {
    fn apply(self, vol: f64, log_strike: f64) -> f64 {
        match self {
            Self::Scale { factor, floor } => at_least(vol * factor, floor),
            Self::Tilt {
                slope,
                cap,
                absolute,
            } => {
                let k = if absolute {
                    abs(log_strike)
                } else {
                    log_strike
                };
                let tilt = k * slope;
                let bounded = if k >= 0.0 {
                    at_most(tilt, cap)
                } else {
                    at_least(tilt, -cap)
                };
                vol * at_least(1.0 + bounded, 0.0)
            }
        }
    }
}

/// One scenario at one expiry.
#[derive(Clone, Copy, Debug)]
struct Point {
    lane: usize,
    forward: f64,
    shift: Shift,
    damping: f64,
}

/// All scenarios at one expiry, ready to value its options.
#[derive(Clone, Debug)]
pub struct ExpiryGrid {
    points: Vec<Point>,
    years: f64,
    discount: f64,
    /// Mean settlement price expected at the mark, as the option sees it.
    forward: f64,
    /// The feed's forward, against which skew is measured.
    feed_forward: f64,
    forward_up: f64,
    forward_down: f64,
    /// Factors on positive and negative shocked values.
    positive: f64,
    negative: f64,
    /// Share of the forward move's loss that counts.
    basis: f64,
}

/// The expected settlement price under a spot factor, part of it being fixed already.
#[derive(Clone, Copy)]
struct Blend {
    variable: f64,
    fixed: f64,
}

impl Blend {
    fn new(expiry: &ExpiryState, ms_left: f64) -> Self {
        let (known, open) = match expiry.settled {
            Some(settled) => (settled.mean, 1.0 - clamp(float(settled.share), 0.0, 1.0)),
            None => (expiry.forward, at_most(ms_left / SETTLEMENT_WINDOW_MS, 1.0)),
        };
        Self {
            variable: dollars(expiry.forward) * open,
            fixed: dollars(known) * (1.0 - open),
        }
    }

    fn at(self, factor: f64) -> f64 {
        self.variable * factor + self.fixed
    }
}

impl ExpiryGrid {
    /// Prepares the scenarios of `parameters` for one expiry. Scenarios beyond the lanes are left
    /// out; parameters that pass validation have none.
    pub fn new(parameters: &Pm2Parameters, market: &UnderlyingState, expiry: &ExpiryState) -> Self {
        let ms_left = expiry.expiry.since(market.now) as f64;
        let days = ms_left / MS_PER_DAY;
        let years = days / DAYS_PER_YEAR;
        let rate = at_least(float(expiry.rate), 0.0);
        let discount = exp(-rate * years);
        let blend = Blend::new(expiry, ms_left);
        let (positive, negative) = static_discounts(&parameters.loss, rate, years, discount);
        let BasisParameters {
            spot_up,
            spot_down,
            add_factor,
            mult_factor,
        } = &parameters.basis;
        Self {
            points: points(parameters, blend, days, years),
            years,
            discount,
            forward: blend.at(1.0),
            feed_forward: dollars(expiry.forward),
            forward_up: blend.at(float(*spot_up)),
            forward_down: blend.at(float(*spot_down)),
            positive,
            negative,
            basis: float(*add_factor) + years * float(*mult_factor),
        }
    }

    /// Whether profit or loss is the lower of a row's two forms (else the higher).
    pub fn is_concave(&self) -> bool {
        self.negative >= self.positive
    }

    /// The settlement price expected at the mark, for one coin.
    pub fn settlement_forward(&self) -> Price {
        Price::new(rounded(self.forward * 1e6))
    }

    /// The row of an option with this marked volatility, per lot.
    pub fn option_row(&self, strike: Price, kind: OptionKind, vol: Ratio, lot: Qty) -> Pair {
        let (strike, vol, scale) = (dollars(strike), float(vol), per_lot(lot));
        let [mark, up, down, shocked @ ..] = self.values(strike, kind, vol);
        let mut row = Pair::ZERO;
        for (point, value) in self.points.iter().zip(shocked) {
            let pnl = |factor: f64| rounded((value * factor - mark) * point.damping * scale);
            row.set(point.lane, pnl(self.positive), pnl(self.negative));
        }
        let moved = |value: f64| rounded((value - mark) * self.basis * scale);
        row.set(LANE_FORWARD, moved(up), moved(down));
        let mark = rounded(mark * scale);
        row.set(LANE_MARK, mark, mark);
        row
    }

    /// Values of one coin's option: at the mark, with the forward up and down, at each point.
    fn values(&self, strike: f64, kind: OptionKind, vol: f64) -> [f64; EVALUATIONS] {
        let log_strike = ln(strike / self.feed_forward);
        let at_mark = [self.forward, self.forward_up, self.forward_down];
        let at_mark = at_mark.into_iter().map(|forward| (forward, vol));
        let shocked = self.points.iter();
        let shocked = shocked.map(|point| (point.forward, point.shift.apply(vol, log_strike)));
        let (mut forwards, mut vols) = ([self.forward; EVALUATIONS], [vol; EVALUATIONS]);
        let slots = forwards.iter_mut().zip(vols.iter_mut());
        for (slot, (forward, vol)) in slots.zip(at_mark.chain(shocked)) {
            (*slot.0, *slot.1) = (forward, vol);
        }
        let columns = Black76Columns {
            forward: &forwards,
            strike: &[strike; EVALUATIONS],
            years: &[self.years; EVALUATIONS],
            volatility: &vols,
            discount: &[self.discount; EVALUATIONS],
        };
        let mut price = [0.0; EVALUATIONS];
        let [mut delta, mut gamma, mut vega] = [[0.0; EVALUATIONS]; 3];
        let mut out = GreekColumns {
            price: &mut price,
            delta: &mut delta,
            gamma: &mut gamma,
            vega: &mut vega,
        };
        columns.evaluate(Width::detect(), kind, &mut out);
        price
    }
}

fn points(parameters: &Pm2Parameters, blend: Blend, days: f64, years: f64) -> Vec<Point> {
    let term = term_factor(&parameters.vol, days);
    let point = |lane, scenario: &Scenario| {
        // A skew scenario leaves spot where it is.
        let factor = if scenario.vol.is_skew() {
            1.0
        } else {
            float(scenario.spot)
        };
        Point {
            lane,
            forward: blend.at(factor),
            shift: shift(parameters, scenario.vol, term, years),
            damping: float(scenario.damping),
        }
    };
    lanes_of(parameters)
        .map(|(lane, scenario)| point(lane, scenario))
        .collect()
}

/// The scenarios with the lanes they have: skews from [`LANE_SKEW`], the others from 0.
fn lanes_of(parameters: &Pm2Parameters) -> impl Iterator<Item = (usize, &Scenario)> {
    let all = || parameters.scenarios.iter();
    let spots = all().filter(|s| !s.vol.is_skew());
    let skews = all().filter(|s| s.vol.is_skew());
    (0..LANE_FORWARD)
        .zip(spots)
        .chain((LANE_SKEW..LANE_MARK).zip(skews))
}

/// m = (30 days / term)^power.
fn term_factor(vol: &VolShockParameters, days: f64) -> f64 {
    let days = at_least(days, at_least(float(vol.dte_floor_days), 1e-6));
    let power = if days <= VOL_SHOCK_DAYS {
        vol.short_term_power
    } else {
        vol.long_term_power
    };
    exp(float(power) * ln(VOL_SHOCK_DAYS / days))
}

fn shift(parameters: &Pm2Parameters, shock: VolShock, term: f64, years: f64) -> Shift {
    let vol = &parameters.vol;
    let scale = |factor, floor| Shift::Scale { factor, floor };
    match shock {
        VolShock::Up => scale(1.0 + float(vol.range_up) * term, float(vol.min_shocked)),
        VolShock::None => scale(1.0, 0.0),
        VolShock::Down => scale(at_least(1.0 - float(vol.range_down) * term, 0.0), 0.0),
        VolShock::SkewLinear => tilt(&parameters.skew, years, false),
        VolShock::SkewAbsolute => tilt(&parameters.skew, years, true),
    }
}

fn tilt(skew: &SkewParameters, years: f64, absolute: bool) -> Shift {
    let (base, scale_cap) = if absolute {
        (skew.abs_base, skew.abs_scale_cap)
    } else {
        (skew.linear_base, skew.linear_scale_cap)
    };
    let root = sqrt(years);
    let cap = float(base) * root + float(scale_cap);
    let width = float(skew.vol_static) + root * float(skew.vol_scale);
    let k_star = at_least(
        root * float(skew.min_width_scale) * width,
        float(skew.min_k_star),
    );
    // Without a width there is no tilt.
    let slope = if k_star > 0.0 { cap / k_star } else { 0.0 };
    Shift::Tilt {
        slope,
        cap,
        absolute,
    }
}

/// Factors on positive and on negative shocked values.
fn static_discounts(loss: &LossParameters, rate: f64, years: f64, discount: f64) -> (f64, f64) {
    let long = rate * float(loss.long_rate_mult) + float(loss.long_rate_add);
    let short = rate * float(loss.short_rate_mult) + float(loss.short_rate_add);
    let positive = float(loss.static_discount_pos) * exp(-years * long);
    let negative = float(loss.static_discount_neg) * exp(years * short);
    (positive, at_most(negative, 1.0 / discount))
}

/// The row of something whose value moves with spot and has no volatility: a perpetual or
/// collateral. `moving` is the price that spot factors apply to and `marked` the price it counts at,
/// both for one coin.
pub fn linear_row(parameters: &Pm2Parameters, moving: Price, marked: Price, lot: Qty) -> Pair {
    let (scale, moving, marked) = (per_lot(lot), dollars(moving), dollars(marked));
    let mut row = Pair::ZERO;
    for (lane, scenario) in lanes_of(parameters).filter(|(_, s)| !s.vol.is_skew()) {
        let pnl = moving * (float(scenario.spot) - 1.0) * float(scenario.damping);
        let pnl = rounded(pnl * scale);
        row.set(lane, pnl, pnl);
    }
    let mark = rounded(marked * scale);
    row.set(LANE_MARK, mark, mark);
    row
}

impl Pair {
    fn set(&mut self, lane: usize, a: i64, b: i64) {
        set(&mut self.a, lane, a);
        set(&mut self.b, lane, b);
    }
}

fn set(lanes: &mut Lanes, lane: usize, value: i64) {
    if let Some(slot) = lanes.0.get_mut(lane) {
        *slot = value;
    }
}

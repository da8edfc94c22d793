//! Many Black-76 evaluations at once, over columns (structure of arrays).
//!
//! The loops below are the scalar kernel in fixed-size lanes; the compiler turns them into vector
//! code once for each [`Width`]. There is one source for all widths and no fused multiply-add, so
//! every width gives the bits of the scalar call.

use super::black76::{Black76, Moments, Tails, Terms, greeks};
use super::float::{clamp, ln, sqrt};
use super::normal::{INV_ROOT_TWO_PI, bell, distance};
use super::width::Width;
use crate::types::OptionKind;
use alloc::vec::Vec;

/// Evaluations of one call of a vector function.
const LANES: usize = 32;

type Lane = [f64; LANES];

/// Spot factors leave this range nowhere in the margin model (−100 % to +500 %).
const FACTOR_MIN: f64 = 1e-6;
const FACTOR_MAX: f64 = 1e6;

/// Where a batch writes. Evaluations beyond the shortest column are not done.
#[derive(Debug)]
pub struct GreekColumns<'a> {
    /// Discounted values.
    pub price: &'a mut [f64],
    /// ∂value/∂forward.
    pub delta: &'a mut [f64],
    /// ∂²value/∂forward².
    pub gamma: &'a mut [f64],
    /// ∂value/∂volatility.
    pub vega: &'a mut [f64],
}

/// The spot moves that a set of scenarios applies to every option of one expiry.
#[derive(Clone, Debug, Default)]
pub struct ScenarioGrid {
    factors: Vec<f64>,
    log_factors: Vec<f64>,
}

/// What one option contributes to all its scenarios.
#[derive(Clone, Copy, Debug)]
pub struct ScenarioOption {
    kind: OptionKind,
    forward: f64,
    strike: f64,
    log_moneyness: f64,
    signed_discount: f64,
    density_scale: f64,
    root_years: f64,
}

/// Columns of inputs for evaluations that share nothing. See [`Black76`] for units and ranges;
/// values outside them count as the nearest bound.
#[derive(Clone, Copy, Debug)]
pub struct Black76Columns<'a> {
    /// Forward prices.
    pub forward: &'a [f64],
    /// Strikes.
    pub strike: &'a [f64],
    /// Years to expiry.
    pub years: &'a [f64],
    /// Annual volatilities.
    pub volatility: &'a [f64],
    /// Discount factors.
    pub discount: &'a [f64],
}

/// Defines `$dispatch`, which runs `$body` compiled for a [`Width`]. Each version is a function of
/// its own, because only the references of a function's arguments are known not to overlap.
macro_rules! for_each_width {
    ($body:ident, $dispatch:ident ( $($name:ident : $type:ty),+ )) => {
        #[inline(always)]
        #[allow(clippy::too_many_arguments, reason = "one column each; see the macro")]
        fn $dispatch<const IS_CALL: bool>(width: Width, $($name: $type),+) {
            #[inline(never)]
            fn baseline<const IS_CALL: bool>($($name: $type),+) {
                $body::<IS_CALL>($($name),+);
            }
            #[cfg(target_arch = "x86_64")]
            #[inline(never)]
            #[target_feature(enable = "avx2")]
            fn avx2<const IS_CALL: bool>($($name: $type),+) {
                $body::<IS_CALL>($($name),+);
            }
            #[cfg(target_arch = "x86_64")]
            #[inline(never)]
            #[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512bw")]
            fn avx512<const IS_CALL: bool>($($name: $type),+) {
                $body::<IS_CALL>($($name),+);
            }
            match width {
                Width::Baseline => baseline::<IS_CALL>($($name),+),
                #[cfg(target_arch = "x86_64")]
                // SAFETY: callers pass a width no wider than `Width::detect` found.
                Width::Avx2 => unsafe { avx2::<IS_CALL>($($name),+) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: as above.
                Width::Avx512 => unsafe { avx512::<IS_CALL>($($name),+) },
                #[cfg(not(target_arch = "x86_64"))]
                Width::Avx2 | Width::Avx512 => baseline::<IS_CALL>($($name),+),
            }
        }
    };
}

for_each_width!(scenario_lanes, run_scenarios(
    option: &ScenarioOption, factor: &Lane, log_factor: &Lane, volatility: &Lane,
    price: &mut Lane, delta: &mut Lane, gamma: &mut Lane, vega: &mut Lane
));
for_each_width!(row_lanes, run_rows(
    forward: &Lane, strike: &Lane, years: &Lane, volatility: &Lane, discount: &Lane,
    price: &mut Lane, delta: &mut Lane, gamma: &mut Lane, vega: &mut Lane
));

#[inline(always)]
#[allow(clippy::indexing_slicing, reason = "run_steps passes i < LANES")]
#[allow(
    clippy::too_many_arguments,
    reason = "one column each; see for_each_width"
)]
fn scenario_lanes<const IS_CALL: bool>(
    option: &ScenarioOption,
    factor: &Lane,
    log_factor: &Lane,
    volatility: &Lane,
    price: &mut Lane,
    delta: &mut Lane,
    gamma: &mut Lane,
    vega: &mut Lane,
) {
    let option = *option;
    let terms = |i: usize| option.terms(factor[i], log_factor[i], volatility[i]);
    run_steps::<IS_CALL>(terms, price, delta, gamma, vega);
}

#[inline(always)]
#[allow(
    clippy::indexing_slicing,
    reason = "i < LANES, the length of every array here"
)]
#[allow(
    clippy::too_many_arguments,
    reason = "one column each; see for_each_width"
)]
fn row_lanes<const IS_CALL: bool>(
    forward: &Lane,
    strike: &Lane,
    years: &Lane,
    volatility: &Lane,
    discount: &Lane,
    price: &mut Lane,
    delta: &mut Lane,
    gamma: &mut Lane,
    vega: &mut Lane,
) {
    let [mut log_moneyness, mut root_years] = [Aligned(ZERO), Aligned(ZERO)];
    let row = |i: usize| {
        Black76 {
            forward: forward[i],
            strike: strike[i],
            years: years[i],
            volatility: volatility[i],
            discount: discount[i],
        }
        .clamped()
    };
    for i in 0..LANES {
        let row = row(i);
        log_moneyness.0[i] = ln(row.forward / row.strike);
        root_years.0[i] = sqrt(row.years);
    }
    let terms = |i: usize| row(i).terms_from::<IS_CALL>(log_moneyness.0[i], root_years.0[i]);
    run_steps::<IS_CALL>(terms, price, delta, gamma, vega);
}

const ZERO: Lane = [0.0; LANES];

/// A lane on cache-line borders, so that no vector of it straddles two lines.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Aligned(Lane);

/// The kernel's steps, each over all lanes before the next: a step's chain of dependent operations
/// is short, so that the processor works on several vectors of it at once.
#[inline(always)]
#[allow(
    clippy::indexing_slicing,
    reason = "i < LANES, the length of every array here"
)]
fn run_steps<const IS_CALL: bool>(
    terms: impl Fn(usize) -> Terms,
    price: &mut Lane,
    delta: &mut Lane,
    gamma: &mut Lane,
    vega: &mut Lane,
) {
    let [mut total, mut inverse, mut d1, mut d2, mut bells] = [Aligned(ZERO); 5];
    let [mut numerator1, mut numerator2, mut denominator] = [Aligned(ZERO); 3];
    for i in 0..LANES {
        let moments = Moments::new(&terms(i));
        (total.0[i], inverse.0[i]) = (moments.total, moments.inverse);
        (d1.0[i], d2.0[i]) = (moments.d1, moments.d2);
    }
    for i in 0..LANES {
        bells.0[i] = bell(distance(d1.0[i]));
    }
    for i in 0..LANES {
        let tails = Tails::new(d1.0[i], d2.0[i]);
        (numerator1.0[i], numerator2.0[i]) = (tails.numerator1, tails.numerator2);
        denominator.0[i] = tails.denominator;
    }
    for i in 0..LANES {
        let moments = Moments {
            total: total.0[i],
            inverse: inverse.0[i],
            d1: d1.0[i],
            d2: d2.0[i],
        };
        let tails = Tails {
            numerator1: numerator1.0[i],
            numerator2: numerator2.0[i],
            denominator: denominator.0[i],
        };
        let greeks = greeks::<IS_CALL>(&terms(i), &moments, bells.0[i], &tails);
        (price[i], delta[i]) = (greeks.price, greeks.delta);
        (gamma[i], vega[i]) = (greeks.gamma, greeks.vega);
    }
}

impl ScenarioGrid {
    /// A grid of spot factors: 1.18 multiplies the forward by 1.18. Factors are moved into
    /// 1e-6..=1e6.
    pub fn new(factors: &[f64]) -> Self {
        let factors: Vec<f64> = factors
            .iter()
            .map(|factor| clamp(*factor, FACTOR_MIN, FACTOR_MAX))
            .collect();
        let log_factors = factors.iter().map(|factor| ln(*factor)).collect();
        Self {
            factors,
            log_factors,
        }
    }

    /// How many scenarios it has.
    pub fn len(&self) -> usize {
        self.factors.len()
    }

    /// Whether it has no scenario.
    pub fn is_empty(&self) -> bool {
        self.factors.is_empty()
    }

    /// Values `option` in every scenario: its forward times the scenario's factor, at that
    /// scenario's volatility from `volatilities`. Stops at the shortest column.
    pub fn evaluate(
        &self,
        width: Width,
        option: &ScenarioOption,
        volatilities: &[f64],
        out: &mut GreekColumns<'_>,
    ) {
        let width = width.min(Width::detect());
        let count = out.len().min(volatilities.len()).min(self.factors.len());
        let inputs = (
            chunks(&self.factors),
            chunks(&self.log_factors),
            chunks(volatilities),
        );
        let lanes = inputs.0.iter().zip(inputs.1).zip(inputs.2);
        for (((factor, log_factor), volatility), lane) in lanes.zip(out.lanes()) {
            run_option(width, option, [factor, log_factor, volatility], lane);
        }
        let start = count.wrapping_sub(count % LANES);
        if start < count {
            let inputs = [&self.factors, &self.log_factors, volatilities];
            let inputs = inputs.map(|column| padded(column, start));
            out.fill_tail(start, count, |lane| {
                run_option(width, option, inputs.each_ref(), lane);
            });
        }
    }
}

/// One lane of scenarios of `option`.
#[inline(always)]
fn run_option(width: Width, option: &ScenarioOption, inputs: [&Lane; 3], out: OutLane<'_>) {
    let [factor, log, vol] = inputs;
    let (price, delta, gamma, vega) = out;
    match option.kind {
        OptionKind::Call => {
            run_scenarios::<true>(width, option, factor, log, vol, price, delta, gamma, vega);
        }
        OptionKind::Put => {
            run_scenarios::<false>(width, option, factor, log, vol, price, delta, gamma, vega);
        }
    }
}

impl ScenarioOption {
    /// The option and its state before any scenario; inputs are moved into their ranges.
    pub fn new(kind: OptionKind, base: &Black76) -> Self {
        let base = base.clamped();
        Self {
            kind,
            forward: base.forward,
            strike: base.strike,
            log_moneyness: ln(base.forward / base.strike),
            signed_discount: match kind {
                OptionKind::Call => base.discount,
                OptionKind::Put => -base.discount,
            },
            density_scale: base.discount * INV_ROOT_TWO_PI,
            root_years: sqrt(base.years),
        }
    }

    #[inline(always)]
    fn terms(&self, factor: f64, log_factor: f64, volatility: f64) -> Terms {
        Terms {
            forward: self.forward * factor,
            strike: self.strike,
            log_moneyness: self.log_moneyness + log_factor,
            signed_discount: self.signed_discount,
            density_scale: self.density_scale,
            root_years: self.root_years,
            volatility,
        }
    }
}

/// Price, delta, gamma and vega of one lane.
type OutLane<'a> = (&'a mut Lane, &'a mut Lane, &'a mut Lane, &'a mut Lane);

impl GreekColumns<'_> {
    /// Evaluations that fit.
    fn len(&self) -> usize {
        let first = self.price.len().min(self.delta.len());
        first.min(self.gamma.len()).min(self.vega.len())
    }

    /// The whole lanes, in place.
    #[inline(always)]
    fn lanes(&mut self) -> impl Iterator<Item = OutLane<'_>> {
        let first = chunks_mut(self.price)
            .iter_mut()
            .zip(chunks_mut(self.delta));
        let second = chunks_mut(self.gamma).iter_mut().zip(chunks_mut(self.vega));
        first
            .zip(second)
            .map(|((price, delta), (gamma, vega))| (price, delta, gamma, vega))
    }

    /// Writes rows `start..count`, fewer than a lane, by way of spare lanes.
    #[inline(never)]
    fn fill_tail(&mut self, start: usize, count: usize, run: impl Fn(OutLane<'_>)) {
        let [mut price, mut delta, mut gamma, mut vega] = [ZERO; 4];
        run((&mut price, &mut delta, &mut gamma, &mut vega));
        let columns = [
            &mut self.price,
            &mut self.delta,
            &mut self.gamma,
            &mut self.vega,
        ];
        for (column, lane) in columns.into_iter().zip([price, delta, gamma, vega]) {
            let rows = column.get_mut(start..count).unwrap_or(&mut []);
            rows.iter_mut().zip(lane).for_each(|(to, from)| *to = from);
        }
    }
}

#[inline(always)]
fn chunks(column: &[f64]) -> &[Lane] {
    column.as_chunks().0
}

#[inline(always)]
fn chunks_mut(column: &mut [f64]) -> &mut [Lane] {
    column.as_chunks_mut().0
}

/// The rows from `start` on, fewer than a lane, filled up with ones, which every formula bears.
fn padded(column: &[f64], start: usize) -> Lane {
    let mut lane = [1.0; LANES];
    let rows = column.get(start..).unwrap_or(&[]);
    lane.iter_mut().zip(rows).for_each(|(to, from)| *to = *from);
    lane
}

impl Black76Columns<'_> {
    /// Values of the `kind` of option in every row. Stops at the shortest column.
    pub fn evaluate(&self, width: Width, kind: OptionKind, out: &mut GreekColumns<'_>) {
        let width = width.min(Width::detect());
        let inputs = [
            self.forward,
            self.strike,
            self.years,
            self.volatility,
            self.discount,
        ];
        let shortest = inputs.iter().map(|column| column.len()).min().unwrap_or(0);
        let count = shortest.min(out.len());
        let [forward, strike, years, volatility, discount] = inputs.map(chunks);
        let rows = forward
            .iter()
            .zip(strike)
            .zip(years)
            .zip(volatility)
            .zip(discount);
        for (((((f, k), t), v), d), lane) in rows.zip(out.lanes()) {
            run_rows_of(width, kind, [f, k, t, v, d], lane);
        }
        let start = count.wrapping_sub(count % LANES);
        if start < count {
            let inputs = inputs.map(|column| padded(column, start));
            out.fill_tail(start, count, |lane| {
                run_rows_of(width, kind, inputs.each_ref(), lane);
            });
        }
    }
}

/// One lane of unrelated rows.
#[inline(always)]
fn run_rows_of(width: Width, kind: OptionKind, inputs: [&Lane; 5], out: OutLane<'_>) {
    let [f, k, t, v, d] = inputs;
    let (price, delta, gamma, vega) = out;
    match kind {
        OptionKind::Call => run_rows::<true>(width, f, k, t, v, d, price, delta, gamma, vega),
        OptionKind::Put => run_rows::<false>(width, f, k, t, v, d, price, delta, gamma, vega),
    }
}

//! From quotes to points of a smile: which quotes are believed, and how much.

use super::SurfaceParameters;
use super::smile::{VOLATILITY_PPM_MAX, VOLATILITY_PPM_MIN};
use crate::pricing::float::{abs, at_least, ln};
use crate::pricing::implied::implied_volatility;
use crate::pricing::mark::ExpiryView;
use crate::pricing::rounding::from_price;
use crate::types::{OptionKind, Price};
use alloc::vec::Vec;

const PPM: f64 = 1e6;
/// Neighbours, the quote itself included, whose median decides whether it is an outlier.
const NEIGHBOURS: usize = 5;

/// The best bid and ask of one option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quote {
    /// The option's strike.
    pub strike: Price,
    /// Call or put.
    pub kind: OptionKind,
    /// Best bid, if there is one.
    pub bid: Option<Price>,
    /// Best ask, if there is one.
    pub ask: Option<Price>,
}

/// One believed observation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Point {
    /// ln(strike / forward).
    pub k: f64,
    /// Annual variance.
    pub variance: f64,
    /// 1 / (standard error of `variance`)².
    pub weight: f64,
}

/// The believable quotes by strike: two-sided, not crossed, out of the money or at it, with a spread
/// that says something about volatility, and in line with their neighbours.
pub(super) fn points(
    quotes: &[Quote],
    view: &ExpiryView,
    parameters: &SurfaceParameters,
) -> Vec<Point> {
    let mut points: Vec<Point> = quotes
        .iter()
        .filter_map(|quote| point(quote, view, parameters))
        .collect();
    points.sort_by(|a, b| a.k.total_cmp(&b.k).then(a.variance.total_cmp(&b.variance)));
    without_outliers(&points, f64::from(parameters.outlier_ppm) / PPM)
}

fn point(quote: &Quote, view: &ExpiryView, parameters: &SurfaceParameters) -> Option<Point> {
    let out_of_the_money = match quote.kind {
        OptionKind::Call => quote.strike >= view.forward,
        OptionKind::Put => quote.strike <= view.forward,
    };
    let (bid, ask) = (from_price(quote.bid?), from_price(quote.ask?));
    if !out_of_the_money || bid <= 0.0 || ask < bid {
        return None;
    }
    let mut option = view.option(quote.strike, 0);
    option.volatility = implied_volatility(quote.kind, 0.5 * (bid + ask), &option)?;
    let volatility = option.volatility;
    let bounds = f64::from(VOLATILITY_PPM_MIN) / PPM..f64::from(VOLATILITY_PPM_MAX) / PPM;
    let half_spread = 0.5 * (ask - bid) / at_least(option.greeks(quote.kind).vega, 1e-9);
    let too_wide = half_spread * PPM > f64::from(parameters.half_spread_ppm_max);
    if !bounds.contains(&volatility) || too_wide {
        return None;
    }
    let error = half_spread + at_least(f64::from(parameters.noise_ppm), 1.0) / PPM;
    // The variance's error is 2σ times the volatility's.
    let error = 2.0 * volatility * error;
    Some(Point {
        k: ln(option.strike / option.forward),
        variance: volatility * volatility,
        weight: 1.0 / (error * error),
    })
}

/// The points whose volatility is within `tolerance` of the median of the nearest five.
fn without_outliers(points: &[Point], tolerance: f64) -> Vec<Point> {
    if points.len() < NEIGHBOURS {
        return points.to_vec();
    }
    let last_start = points.len().saturating_sub(NEIGHBOURS);
    let believed = |(i, point): (usize, &Point)| {
        let start = i.saturating_sub(NEIGHBOURS / 2).min(last_start);
        let mut near: Vec<f64> = points
            .iter()
            .skip(start)
            .take(NEIGHBOURS)
            .map(|near| near.variance)
            .collect();
        near.sort_by(f64::total_cmp);
        let median = near.get(NEIGHBOURS / 2).copied().unwrap_or(point.variance);
        // (1 + t)² ≈ 1 + 2t: the tolerance is on volatility, the median of variances.
        let off = abs(point.variance - median);
        (off <= 2.0 * tolerance * median).then_some(*point)
    };
    points.iter().enumerate().filter_map(believed).collect()
}

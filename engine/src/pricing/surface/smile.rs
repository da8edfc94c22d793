//! The smile: variance as a function of log-moneyness, in five parameters.

use crate::pricing::float::{abs, at_least, at_most, clamp, ln, sqrt};
use crate::pricing::rounding::{from_price, to_nearest_i64};
use crate::types::{Price, Rounding};
use borsh::{BorshDeserialize, BorshSerialize};

/// Volatilities are held in 1 %..=500 %.
pub const VOLATILITY_PPM_MIN: u32 = 10_000;
/// See [`VOLATILITY_PPM_MIN`].
pub const VOLATILITY_PPM_MAX: u32 = 5_000_000;

const E9: f64 = 1e9;
const VARIANCE_MIN: f64 = 1e-4;
/// |ρ| at most; at 1 a wing would be flat and the smile not convex after rounding.
pub(super) const SKEW_MAX: f64 = 0.995;
/// Lee: total variance grows at most twice as fast as |k|.
const WING_SLOPE_MAX: f64 = 2.0;
/// Nodes at which a smile's conditions are checked.
const NODES: i32 = 24;
/// What rounding may cost the butterfly condition.
const BUTTERFLY_TOLERANCE: f64 = 1e-6;

/// One expiry's volatility surface as replicated state: Gatheral's SVI, in annual variance,
/// σ²(k) = level + slope·(skew·(k − centre) + √((k − centre)² + width²)), k = ln(strike/forward).
/// Each parameter is in 1e-9. It is kept by moneyness, so it moves with the forward.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Surface {
    level_e9: i64,
    slope_e9: i64,
    skew_e9: i64,
    centre_e9: i64,
    width_e9: i64,
}

/// A surface's parameters as floats.
#[derive(Clone, Copy, Debug)]
pub(super) struct Smile {
    pub level: f64,
    pub slope: f64,
    pub skew: f64,
    pub centre: f64,
    pub width: f64,
}

/// Points from −`reach` to `reach`.
pub(super) fn nodes(reach: f64) -> impl Iterator<Item = f64> {
    (-NODES..=NODES).map(move |i| reach * (f64::from(i) / f64::from(NODES)))
}

impl From<&Surface> for Smile {
    fn from(surface: &Surface) -> Self {
        Self {
            level: surface.level_e9 as f64 / E9,
            slope: surface.slope_e9 as f64 / E9,
            skew: surface.skew_e9 as f64 / E9,
            centre: surface.centre_e9 as f64 / E9,
            width: surface.width_e9 as f64 / E9,
        }
    }
}

impl Surface {
    /// A surface with one volatility (1e-6, moved into its range) for all strikes.
    pub fn flat(volatility_ppm: u32) -> Self {
        let ppm = u64::from(volatility_ppm.clamp(VOLATILITY_PPM_MIN, VOLATILITY_PPM_MAX));
        // ppm² is in 1e-12 and at most 2.5e13.
        let level_e9 = (ppm.saturating_mul(ppm) / 1_000) as i64;
        Self {
            level_e9,
            slope_e9: 0,
            skew_e9: 0,
            centre_e9: 0,
            width_e9: 100_000_000,
        }
    }

    /// The volatility, in 1e-6, of the option with this strike at this forward.
    pub fn volatility_ppm(&self, strike: Price, forward: Price) -> u32 {
        let (strike, forward) = (from_price(strike), from_price(forward));
        self.volatility_at(ln(at_least(strike, 1e-6) / at_least(forward, 1e-6)))
    }

    /// The volatility, in 1e-6, at a log-moneyness.
    pub(super) fn volatility_at(&self, k: f64) -> u32 {
        let ppm = to_nearest_i64(sqrt(Smile::from(self).variance(k)) * 1e6);
        let ppm = ppm
            .and_then(|ppm| u32::try_from(ppm).ok())
            .unwrap_or(VOLATILITY_PPM_MAX);
        ppm.clamp(VOLATILITY_PPM_MIN, VOLATILITY_PPM_MAX)
    }

    /// Whether no butterfly of options of this expiry, `years` away, has a negative value within ±4
    /// standard deviations.
    pub fn is_butterfly_free(&self, years: f64) -> bool {
        Smile::from(self).is_butterfly_free(years)
    }

    /// Total variance to an expiry `years` away at a log-moneyness.
    pub fn total_variance(&self, k: f64, years: f64) -> f64 {
        Smile::from(self).variance(k) * clamp(years, 0.0, 100.0)
    }
}

impl Smile {
    pub fn flat(variance: f64) -> Self {
        Self {
            level: variance,
            slope: 0.0,
            skew: 0.0,
            centre: 0.0,
            width: 0.1,
        }
    }

    /// Annual variance at a log-moneyness.
    pub fn variance(&self, k: f64) -> f64 {
        let x = k - self.centre;
        let root = sqrt(x * x + self.width * self.width);
        at_least(
            self.level + self.slope * (self.skew * x + root),
            VARIANCE_MIN,
        )
    }

    /// σ√T at the money.
    pub fn deviation(&self, years: f64) -> f64 {
        sqrt(self.variance(0.0) * at_least(years, 0.0))
    }

    /// Gatheral's condition g(k) ≥ 0 for a non-negative density, at nodes within ±4 deviations:
    /// g = (1 − k·w′/2w)² − w′²/4·(1/w + ¼) + w″/2, w the total variance.
    pub fn is_butterfly_free(&self, years: f64) -> bool {
        if years <= 0.0 {
            return true;
        }
        nodes(4.0 * self.deviation(years)).all(|k| {
            let x = k - self.centre;
            let root = at_least(sqrt(x * x + self.width * self.width), 1e-9);
            let w = self.variance(k) * years;
            let first = years * self.slope * (self.skew + x / root);
            let second = years * self.slope * self.width * self.width / (root * root * root);
            let drift = 1.0 - 0.5 * k * first / w;
            let g = drift * drift - 0.25 * first * first * (1.0 / w + 0.25) + 0.5 * second;
            g >= -BUTTERFLY_TOLERANCE
        })
    }

    /// The smile with its parameters moved into their ranges: Lee's bound on the wings, a variance
    /// that is positive everywhere.
    fn bounded(&self, years: f64) -> Self {
        let skew = clamp(self.skew, -SKEW_MAX, SKEW_MAX);
        let width = clamp(self.width, 1e-4, 10.0);
        let steepest = WING_SLOPE_MAX / (at_least(years, 1e-6) * (1.0 + abs(skew)));
        let slope = clamp(self.slope, 0.0, at_most(steepest, 1e3));
        let lowest = slope * width * sqrt(1.0 - skew * skew);
        let level = clamp(self.level, VARIANCE_MIN - lowest, 25.0);
        Self {
            level,
            slope,
            skew,
            centre: clamp(self.centre, -3.0, 3.0),
            width,
        }
    }

    /// The nearest surface in integers; `None` if a parameter does not fit.
    pub fn rounded(&self, years: f64) -> Option<Surface> {
        let smile = self.bounded(years);
        Some(Surface {
            level_e9: to_nearest_i64(smile.level * E9)?,
            slope_e9: to_nearest_i64(smile.slope * E9)?,
            skew_e9: to_nearest_i64(smile.skew * E9)?,
            centre_e9: to_nearest_i64(smile.centre * E9)?,
            width_e9: to_nearest_i64(smile.width * E9)?,
        })
    }

    /// [`rounded`](Self::rounded) with the level up, so that a bound from under holds.
    pub fn rounded_up(&self, years: f64) -> Option<Surface> {
        let level = self.bounded(years).level * E9;
        let level_e9 = crate::pricing::rounding::to_i64(level, Rounding::Up)?;
        Some(Surface {
            level_e9,
            ..self.rounded(years)?
        })
    }

    /// The smile with its variance raised everywhere.
    pub fn raised(&self, variance: f64) -> Self {
        Self {
            level: self.level + variance,
            ..*self
        }
    }

    /// Parameters a `share` of the way to `other`'s.
    pub fn blended(&self, other: &Self, share: f64) -> Self {
        let mix = |from: f64, to: f64| from + share * (to - from);
        Self {
            level: mix(self.level, other.level),
            slope: mix(self.slope, other.slope),
            skew: mix(self.skew, other.skew),
            centre: mix(self.centre, other.centre),
            width: mix(self.width, other.width),
        }
    }
}

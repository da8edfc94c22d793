//! The volatility surface of one expiry, smoothed from its books, from which marks come.
//!
//! **Owns** the smile's shape (Gatheral's SVI, five integers), how it is fitted to quotes, and the
//! bounds on it: no butterfly or calendar arbitrage within ±4 and ±3 standard deviations, wings no
//! steeper than Lee's bound, and a bounded move an update.
//!
//! **Never** extrapolates in time: without usable quotes the last surface stands as it was, its
//! volatilities unchanged at each moneyness, and one quote off by any amount is left out.
//!
//! The same integers and quotes give the same surface on every machine (I2): the search has a fixed
//! number of steps and the result is rounded before it is bounded and used.

mod fit;
mod quotes;
mod smile;
#[cfg(test)]
mod tests;

pub use quotes::Quote;
pub use smile::{Surface, VOLATILITY_PPM_MAX, VOLATILITY_PPM_MIN};

use super::mark::ExpiryView;
use alloc::vec::Vec;
use smile::Smile;

/// Quotes needed for a whole smile; with fewer, the last one is only moved up or down.
pub const SMILE_QUOTES_MIN: usize = 5;

/// How quotes are read and how far a surface may move. Volatilities are in 1e-6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SurfaceParameters {
    /// The largest change of any strike's volatility in one update.
    pub move_ppm_max: u32,
    /// Quotes whose spread is wider than twice this, in volatility, say nothing.
    pub half_spread_ppm_max: u32,
    /// How exact a quote with no spread would be.
    pub noise_ppm: u32,
    /// A quote whose volatility is off the median of its neighbours by more than this part of it
    /// (1e-6) is left out.
    pub outlier_ppm: u32,
}

impl SurfaceParameters {
    /// Five points an update, spreads of at most twenty points, noise of 0.3 points, outliers at
    /// 30 % from their neighbours.
    pub const DEFAULT: Self = Self {
        move_ppm_max: 50_000,
        half_spread_ppm_max: 100_000,
        noise_ppm: 3_000,
        outlier_ppm: 300_000,
    };
}

/// An expiry's surface and when it ends: what a later expiry must not undercut.
#[derive(Clone, Copy, Debug)]
pub struct EarlierExpiry<'a> {
    /// The earlier expiry's surface.
    pub surface: &'a Surface,
    /// Milliseconds until that expiry.
    pub time_left_ms: u64,
}

impl Surface {
    /// The surface after these quotes.
    ///
    /// `last` is the surface so far; `earlier` the next earlier expiry's, whose total variance this
    /// one will not undercut. Without a usable quote the answer is `last`; `None` only if there was
    /// none. The calendar bound comes last and may move a surface farther than `move_ppm_max`.
    pub fn updated(
        quotes: &[Quote],
        view: &ExpiryView,
        last: Option<&Self>,
        earlier: Option<EarlierExpiry<'_>>,
        parameters: &SurfaceParameters,
    ) -> Option<Self> {
        let points = quotes::points(quotes, view, parameters);
        let years = view.years();
        let floor = earlier.map_or_else(Floor::default, |earlier| Floor::new(&earlier, years));
        let fitted = if points.len() >= SMILE_QUOTES_MIN {
            Some(fit::smile(&points, years, &floor))
        } else {
            fit::level(&points, last)
        };
        let Some(target) = fitted.and_then(|smile| smile.rounded(years)) else {
            return last.cloned();
        };
        let bounded = match last {
            Some(last) => moved(last, &target, years, parameters),
            None => target,
        };
        let gap = floor.gap(&Smile::from(&bounded));
        if gap <= 0.0 {
            return Some(bounded);
        }
        Smile::from(&bounded).raised(gap).rounded_up(years)
    }
}

/// The annual variances that an earlier expiry allows, at nodes within ±3 of its standard deviations.
#[derive(Default)]
struct Floor {
    nodes: Vec<(f64, f64)>,
}

impl Floor {
    fn new(earlier: &EarlierExpiry<'_>, years: f64) -> Self {
        let earlier_years = super::mark::years_of(earlier.time_left_ms);
        if years <= 0.0 || earlier_years >= years {
            return Self::default();
        }
        let smile = Smile::from(earlier.surface);
        let share = earlier_years / years;
        let nodes = smile::nodes(3.0 * smile.deviation(earlier_years))
            .map(|k| (k, smile.variance(k) * share))
            .collect();
        Self { nodes }
    }

    /// By how much a smile must be raised evenly to be nowhere under the floor. An even rise keeps it
    /// free of butterfly arbitrage.
    fn gap(&self, smile: &Smile) -> f64 {
        let gaps = self
            .nodes
            .iter()
            .map(|(k, variance)| variance - smile.variance(*k));
        gaps.fold(0.0, |worst, gap| if gap > worst { gap } else { worst })
    }
}

/// Halvings of the step from the last surface to the target.
const MOVE_STEPS: u32 = 12;

/// The farthest surface on the way from `last` to `target` that moves no volatility within ±4
/// standard deviations by more than allowed and has no butterfly arbitrage; `last` if there is none.
fn moved(last: &Surface, target: &Surface, years: f64, parameters: &SurfaceParameters) -> Surface {
    let from = Smile::from(last);
    let allowed = |surface: &Surface| {
        let spread = from
            .deviation(years)
            .max(Smile::from(surface).deviation(years));
        let within = smile::nodes(4.0 * spread).all(|k| {
            let change = last.volatility_at(k).abs_diff(surface.volatility_at(k));
            change <= parameters.move_ppm_max
        });
        within && Smile::from(surface).is_butterfly_free(years)
    };
    if allowed(target) {
        return target.clone();
    }
    let (mut best, mut low, mut high) = (last.clone(), 0.0, 1.0);
    for _ in 0..MOVE_STEPS {
        let middle = 0.5 * (low + high);
        match from.blended(&Smile::from(target), middle).rounded(years) {
            Some(surface) if allowed(&surface) => {
                best = surface;
                low = middle;
            }
            _ => high = middle,
        }
    }
    best
}

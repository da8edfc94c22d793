//! Fitting a smile to points: for a given centre and width, SVI is linear in its other three
//! parameters, so a small search over two dimensions with least squares inside finds all five.

use super::quotes::Point;
use super::smile::{SKEW_MAX, Smile};
use super::{Floor, Surface};
use crate::pricing::float::{abs, at_least, sqrt};
use alloc::vec::Vec;

/// Centres tried first, in standard deviations; widths, in the same.
const CENTRES: [f64; 5] = [-1.4, -0.7, 0.0, 0.7, 1.4];
const WIDTHS: [f64; 5] = [0.12, 0.3, 0.75, 1.8, 4.0];
/// Rounds of search around the best so far, each with half the step: before points are reweighted,
/// and at last.
const REFINEMENTS_FIRST: u32 = 3;
const REFINEMENTS_LAST: u32 = 6;
const STEP: f64 = 0.25;
const RATIO: f64 = 1.5;
/// How often residuals reweight the points.
const REWEIGHTINGS: u32 = 2;
/// A residual of this many standard errors halves a point's weight.
const RESIDUAL_SCALE: f64 = 3.0;

/// A smile with its cost.
#[derive(Clone, Copy)]
struct Candidate {
    smile: Smile,
    centre: f64,
    width: f64,
    cost: f64,
}

/// The smile that fits the points best among those without butterfly arbitrage, each raised over the
/// floor; a flat one at least.
pub(super) fn smile(points: &[Point], years: f64, floor: &Floor) -> Smile {
    let weights: Vec<f64> = points.iter().map(|point| point.weight).collect();
    let deviation = at_least(sqrt(mean_variance(points) * years), 1e-4);
    let mut search = Search {
        points: points.to_vec(),
        deviation,
        years,
        floor,
        best: Candidate::flat(points),
    };
    for _ in 0..REWEIGHTINGS {
        search.scan();
        search.refine(REFINEMENTS_FIRST);
        search.reweight(&weights);
    }
    search.scan();
    search.refine(REFINEMENTS_LAST);
    search.best.smile
}

/// With few points: the last smile raised or lowered by their median miss, so that one bad point of
/// three is outvoted; or, without a last one, a flat smile.
pub(super) fn level(points: &[Point], last: Option<&Surface>) -> Option<Smile> {
    if points.is_empty() {
        return None;
    }
    let Some(last) = last.map(Smile::from) else {
        return Some(Smile::flat(mean_variance(points)));
    };
    let mut misses: Vec<f64> = points
        .iter()
        .map(|point| point.variance - last.variance(point.k))
        .collect();
    misses.sort_by(f64::total_cmp);
    let middle = misses.get(misses.len() / 2)?;
    Some(last.raised(*middle))
}

fn mean_variance(points: &[Point]) -> f64 {
    let sums = points
        .iter()
        .map(|point| (point.variance * point.weight, point.weight));
    let (sum, weight) = sums.fold((0.0, 0.0), |sum, next| (sum.0 + next.0, sum.1 + next.1));
    sum / at_least(weight, 1e-300)
}

impl Candidate {
    fn flat(points: &[Point]) -> Self {
        let smile = Smile::flat(mean_variance(points));
        Self {
            smile,
            centre: 0.0,
            width: 1.0,
            cost: cost(points, &smile),
        }
    }
}

/// The search for centre and width, both in standard deviations.
struct Search<'a> {
    points: Vec<Point>,
    deviation: f64,
    years: f64,
    floor: &'a Floor,
    best: Candidate,
}

impl Search<'_> {
    /// Keeps the smile with this centre and width if it is better.
    fn consider(&mut self, centre: f64, width: f64) {
        let (points, years) = (self.points.as_slice(), self.years);
        let fitted = fitted(points, centre * self.deviation, width * self.deviation);
        let allowed =
            fitted.and_then(|smile| allowed(points, smile, years, self.floor, self.best.cost));
        if let Some((smile, cost)) = allowed {
            self.best = Candidate {
                smile,
                centre,
                width,
                cost,
            };
        }
    }

    /// Tries the whole grid.
    fn scan(&mut self) {
        for centre in CENTRES {
            for width in WIDTHS {
                self.consider(centre, width);
            }
        }
    }

    /// Looks around the best, nearer each round.
    fn refine(&mut self, rounds: u32) {
        let (mut step, mut ratio) = (STEP, RATIO);
        for _ in 0..rounds {
            let Candidate { centre, width, .. } = self.best;
            for shift in [-step, 0.0, step] {
                for factor in [1.0 / ratio, 1.0, ratio] {
                    self.consider(centre + shift, width * factor);
                }
            }
            step *= 0.5;
            ratio = sqrt(ratio);
        }
    }

    /// Weighs points less the farther they are from the best smile, and costs that one anew.
    fn reweight(&mut self, weights: &[f64]) {
        for (point, weight) in self.points.iter_mut().zip(weights) {
            let miss = point.variance - self.best.smile.variance(point.k);
            let square = miss * miss * weight / (RESIDUAL_SCALE * RESIDUAL_SCALE);
            point.weight = weight / (1.0 + square);
        }
        let Candidate { centre, width, .. } = self.best;
        let flat = Candidate::flat(&self.points);
        let cost = cost(&self.points, &self.best.smile);
        if flat.cost < cost {
            self.best = flat;
        } else {
            self.best.cost = cost;
        }
        self.consider(centre, width);
    }
}

fn cost(points: &[Point], smile: &Smile) -> f64 {
    let squares = points.iter().map(|point| {
        let miss = point.variance - smile.variance(point.k);
        miss * miss * point.weight
    });
    squares.sum()
}

/// The smile raised over the floor, with its cost, if that is under `cost_max` and it is free of
/// butterfly arbitrage as rounded. The dearest check comes last.
fn allowed(
    points: &[Point],
    smile: Smile,
    years: f64,
    floor: &Floor,
    cost_max: f64,
) -> Option<(Smile, f64)> {
    // Raising a least-squares fit only makes it fit worse.
    if cost(points, &smile) >= cost_max {
        return None;
    }
    let smile = Smile::from(&smile.raised(floor.gap(&smile)).rounded(years)?);
    let cost = cost(points, &smile);
    (cost < cost_max && smile.is_butterfly_free(years)).then_some((smile, cost))
}

/// The best smile with this centre and width; `None` if it would not be convex.
fn fitted(points: &[Point], centre: f64, width: f64) -> Option<Smile> {
    let free = least_squares(points, centre, width, None)?;
    if free.slope < 0.0 {
        return None;
    }
    if abs(free.skew) <= SKEW_MAX {
        return Some(free);
    }
    let skew = if free.skew > 0.0 { SKEW_MAX } else { -SKEW_MAX };
    least_squares(points, centre, width, Some(skew)).filter(|smile| smile.slope >= 0.0)
}

/// Weighted least squares for level, slope·skew and slope, or, with the skew given, level and slope.
fn least_squares(points: &[Point], centre: f64, width: f64, skew: Option<f64>) -> Option<Smile> {
    let mut normal = Normal::default();
    for point in points {
        let x = point.k - centre;
        let root = sqrt(x * x + width * width);
        match skew {
            None => normal.add([1.0, x, root], point),
            Some(skew) => normal.add([1.0, 0.0, skew * x + root], point),
        }
    }
    let [level, tilt, slope] = normal.solve(skew.is_none())?;
    let skew = match skew {
        Some(skew) => skew,
        None if abs(slope) > 1e-12 => tilt / slope,
        None => return None,
    };
    Some(Smile {
        level,
        slope,
        skew,
        centre,
        width,
    })
}

/// The normal equations of a fit in three unknowns, symmetric.
#[derive(Default)]
struct Normal {
    aa: f64,
    ab: f64,
    ac: f64,
    bb: f64,
    bc: f64,
    cc: f64,
    right: [f64; 3],
}

impl Normal {
    fn add(&mut self, [a, b, c]: [f64; 3], point: &Point) {
        let w = point.weight;
        self.aa += w * a * a;
        self.ab += w * a * b;
        self.ac += w * a * c;
        self.bb += w * b * b;
        self.bc += w * b * c;
        self.cc += w * c * c;
        let [ra, rb, rc] = &mut self.right;
        *ra += w * a * point.variance;
        *rb += w * b * point.variance;
        *rc += w * c * point.variance;
    }

    /// Elimination of a, then b (if it is used), then c; `None` when the points do not tell them
    /// apart.
    fn solve(&self, with_b: bool) -> Option<[f64; 3]> {
        let [ra, rb, rc] = self.right;
        let tiny = 1e-12;
        if self.aa <= 0.0 {
            return None;
        }
        let (fb, fc) = (self.ab / self.aa, self.ac / self.aa);
        let (bb, bc) = (self.bb - fb * self.ab, self.bc - fb * self.ac);
        let (cc, rb, rc) = (self.cc - fc * self.ac, rb - fb * ra, rc - fc * ra);
        if with_b && bb <= tiny * self.bb {
            return None;
        }
        let f = if with_b { bc / bb } else { 0.0 };
        let pivot = cc - f * bc;
        if pivot <= tiny * self.cc {
            return None;
        }
        let c = (rc - f * rb) / pivot;
        let b = if with_b { (rb - bc * c) / bb } else { 0.0 };
        Some([(ra - self.ab * b - self.ac * c) / self.aa, b, c])
    }
}

//! Whether a figure is owed to having been chosen on the days it is measured on.
//!
//! The bound at which a session's range stops trading is one number. For each quarter it is chosen anew on all other
//! quarters, by the rule it was chosen by: the best protection at no more than half of the false halts of
//! price-only breakers. What these bounds do, each in the quarter that had no part in it, is cross-validated.

use std::collections::BTreeSet;
use std::thread;

use lifeboat_engine::breakers::{BreakerParameters, Rule};
use lifeboat_engine::types::DAY_MS;

use super::data::{HOUR_MS, civil, day_of};
use super::score::scored_on;
use super::{Halt, Score, Underlying, replay};

/// Bounds to choose from, in thousandths of the usual range.
const BOUNDS: core::ops::RangeInclusive<i64> = 1_900..=2_800;
const BOUND_STEP: usize = 100;
/// Months of a quarter.
const QUARTER_MONTHS: i64 = 3;

/// What came of bounds that were chosen on other days.
#[derive(Clone, Debug, PartialEq)]
pub struct Validated {
    /// Of all quarters together.
    pub score: Score,
    /// The bound of each, in thousandths of the usual range.
    pub chosen: Vec<i64>,
}

/// Parameters that differ in one thing, with what came of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Neighbour {
    /// In what.
    pub what: String,
    /// On all days.
    pub score: Score,
}

impl Validated {
    /// Chooses a bound for each quarter on the others.
    pub fn new(underlyings: &[Underlying], price: &[Halt], parameters: &BreakerParameters) -> Self {
        let quarters = quarters(underlyings);
        let by_quarter = |halts: &[Halt]| -> Vec<Score> {
            let score =
                |quarter: &i64| scored_on(underlyings, halts, |day| quarter_of(day) == *quarter);
            quarters.iter().map(score).collect()
        };
        let price = by_quarter(price);
        let bounds: Vec<i64> = BOUNDS.step_by(BOUND_STEP).collect();
        let with: Vec<_> = bounds
            .iter()
            .map(|bound| with_bound(parameters, *bound))
            .collect();
        let scores = all_halts(underlyings, &with);
        let scores = scores.iter().map(|halts| by_quarter(halts));
        let tried: Vec<(i64, Vec<Score>)> = bounds.into_iter().zip(scores).collect();
        let mut validated = Self {
            score: Score::default(),
            chosen: Vec::new(),
        };
        for quarter in 0..quarters.len() {
            let allowed = without(&price, quarter).wrong();
            let fits = tried.iter().filter_map(|(bound, scores)| {
                let others = without(scores, quarter);
                (2 * others.wrong() <= allowed).then_some((
                    *bound,
                    others.protection(),
                    scores[quarter],
                ))
            });
            if let Some((bound, _, score)) = fits.max_by(|a, b| a.1.total_cmp(&b.1)) {
                validated.score.add(&score);
                validated.chosen.push(bound);
            }
        }
        validated
    }
}

/// What came of neighbours of the parameters of a session's range.
pub fn neighbours(underlyings: &[Underlying], parameters: &BreakerParameters) -> Vec<Neighbour> {
    let mut what = Vec::new();
    let mut all = Vec::new();
    let mut add = |text: String, parameters: BreakerParameters| {
        what.push(text);
        all.push(parameters);
    };
    for bound in [2_200, 2_400] {
        let text = format!("stops at {:.1} times the usual range", bound as f64 / 1e3);
        add(text, with_bound(parameters, bound));
    }
    for percent in [1, 3] {
        let mut other = parameters.clone();
        other.range_confirms_ppm = percent * 10_000;
        add(
            format!("once the volatility index is {percent} % up"),
            other,
        );
    }
    for days in [90, 365] {
        let mut other = parameters.clone();
        other.range_memory_ms = days * DAY_MS;
        add(format!("the usual is remembered for {days} days"), other);
    }
    for hour in [0, 8, 20, 22] {
        let mut other = parameters.clone();
        other.session_begins_ms = hour * HOUR_MS;
        add(format!("sessions begin at {hour:02}:00 UTC"), other);
    }
    let scores = all_halts(underlyings, &all);
    let scores = scores
        .iter()
        .map(|halts| scored_on(underlyings, halts, |_| true));
    let neighbours = what.into_iter().zip(scores);
    neighbours
        .map(|(what, score)| Neighbour { what, score })
        .collect()
}

/// The same with another bound of level 2; level 3 is at twice of it.
fn with_bound(parameters: &BreakerParameters, bound: i64) -> BreakerParameters {
    let [bands, ..] = parameters.range.bounds;
    BreakerParameters {
        range: Rule {
            bounds: [bands.min(bound), bound, 2 * bound],
            ..parameters.range
        },
        ..parameters.clone()
    }
}

/// The halts of each of these parameters.
fn all_halts(underlyings: &[Underlying], parameters: &[BreakerParameters]) -> Vec<Vec<Halt>> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let share = parameters.len().div_ceil(cores).max(1);
    let of_share = |share: &[BreakerParameters]| -> Vec<Vec<Halt>> {
        share.iter().map(|one| halts(underlyings, one)).collect()
    };
    thread::scope(|scope| {
        let shares = parameters.chunks(share);
        let threads: Vec<_> = shares
            .map(|share| scope.spawn(move || of_share(share)))
            .collect();
        let joined = threads.into_iter().map(|thread| thread.join());
        joined
            .flat_map(|halts| halts.expect("a replay does not panic"))
            .collect()
    })
}

fn halts(underlyings: &[Underlying], parameters: &BreakerParameters) -> Vec<Halt> {
    let halts = |underlying| replay::halts(underlying, parameters);
    underlyings.iter().flat_map(halts).collect()
}

fn without(scores: &[Score], quarter: usize) -> Score {
    let mut sum = Score::default();
    for (_, score) in scores.iter().enumerate().filter(|(at, _)| *at != quarter) {
        sum.add(score);
    }
    sum
}

/// The quarter of a day, counted in quarters.
const fn quarter_of(day: i64) -> i64 {
    let (year, month, _) = civil(day);
    (year * 12 + month - 1).div_euclid(QUARTER_MONTHS)
}

/// Every quarter of which something is recorded.
fn quarters(underlyings: &[Underlying]) -> BTreeSet<i64> {
    let points = underlyings.iter().flat_map(|underlying| &underlying.points);
    points
        .map(|point| quarter_of(day_of(point.at_ms)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::quarter_of;

    #[test]
    fn a_quarter_has_three_months() {
        // 31 December 2024, 1 January 2025, 31 March, 1 April.
        let days = [20_088, 20_089, 20_178, 20_179];
        let first = quarter_of(20_088);
        assert_eq!(days.map(|day| quarter_of(day) - first), [0, 1, 1, 2]);
    }
}

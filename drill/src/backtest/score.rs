//! The yardsticks, the same for every breaker.

use std::collections::BTreeMap;

use lifeboat_engine::types::DAY_MS;

use super::book::Short;
use super::data::day_of;
use super::{Halt, Point, SPLIT_DAY, Underlying};

/// How long an adverse move goes on after a halt at most, for what the halt gave time for.
const AFTERMATH_MS: u64 = DAY_MS;

/// How breakers did over some days.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Score {
    /// Underlyings' days.
    pub days: usize,
    /// Those that were disorderly.
    pub disorderly: usize,
    /// Halts.
    pub halts: usize,
    /// Halts in disorderly days.
    pub right: usize,
    /// Disorderly days in which trading was stopped.
    pub caught: usize,
    /// The short straddle's worst losses of disorderly days, summed, in parts of the coin's price.
    pub at_stake: f64,
    /// The part of them that came after the first halt.
    pub avoidable: f64,
    /// What the straddle lost at worst while trading was stopped, over all halts.
    pub in_halts: f64,
}

impl Score {
    /// Halts in days that were not disorderly.
    pub const fn wrong(&self) -> usize {
        self.halts - self.right
    }

    /// A year and underlying.
    pub fn per_year(&self, count: usize) -> f64 {
        count as f64 * 365.0 / self.days.max(1) as f64
    }

    /// Share of halts that were right.
    pub fn precision(&self) -> f64 {
        self.right as f64 / self.halts.max(1) as f64
    }

    /// Share of the losses of disorderly days that came after the first halt.
    pub fn protection(&self) -> f64 {
        self.avoidable / self.at_stake.max(f64::MIN_POSITIVE)
    }

    /// Takes another one's days in.
    pub fn add(&mut self, other: &Self) {
        self.days += other.days;
        self.disorderly += other.disorderly;
        self.halts += other.halts;
        self.right += other.right;
        self.caught += other.caught;
        self.at_stake += other.at_stake;
        self.avoidable += other.avoidable;
        self.in_halts += other.in_halts;
    }
}

/// A kind of breaker with how it did.
#[derive(Clone, Debug, PartialEq)]
pub struct Scored {
    /// Which.
    pub name: String,
    /// On the days before [`SPLIT_DAY`].
    pub before: Score,
    /// On the days from it on.
    pub after: Score,
    /// On all of them, by underlying.
    pub by_underlying: Vec<(&'static str, Score)>,
}

impl Scored {
    /// Scores these halts.
    pub fn new(name: &str, underlyings: &[Underlying], halts: &[Halt]) -> Self {
        let mut scored = Self {
            name: name.into(),
            before: Score::default(),
            after: Score::default(),
            by_underlying: Vec::new(),
        };
        for underlying in underlyings {
            let own: Vec<&Halt> = halts
                .iter()
                .filter(|halt| halt.symbol == underlying.symbol)
                .collect();
            let mut all = Score::default();
            for (score, early) in [(&mut scored.before, true), (&mut scored.after, false)] {
                let part = part(underlying, &own, |day| (day < SPLIT_DAY) == early);
                score.add(&part);
                all.add(&part);
            }
            scored.by_underlying.push((underlying.symbol, all));
        }
        scored
    }

    /// On all days.
    pub fn all(&self) -> Score {
        let mut all = self.before;
        all.add(&self.after);
        all
    }
}

/// Scores halts on some days of all underlyings.
pub fn scored_on(
    underlyings: &[Underlying],
    halts: &[Halt],
    meant: impl Fn(i64) -> bool + Copy,
) -> Score {
    let mut sum = Score::default();
    for underlying in underlyings {
        let own = halts.iter().filter(|halt| halt.symbol == underlying.symbol);
        sum.add(&part(underlying, &own.collect::<Vec<_>>(), meant));
    }
    sum
}

fn part(underlying: &Underlying, halts: &[&Halt], meant: impl Fn(i64) -> bool) -> Score {
    let Some(first) = underlying.points.first().map(|point| day_of(point.at_ms)) else {
        return Score::default();
    };
    let labels = &underlying.labels;
    let covered = |day: &i64| meant(*day) && *day > first;
    let days = labels.days().filter(covered).count();
    let halts: Vec<&&Halt> = halts
        .iter()
        .filter(|halt| covered(&day_of(halt.at_ms)))
        .collect();
    let right = halts.iter().filter(|halt| labels.is_disorderly(halt.at_ms));
    let mut first_halts: BTreeMap<i64, u64> = BTreeMap::new();
    for halt in &halts {
        first_halts.entry(day_of(halt.at_ms)).or_insert(halt.at_ms);
    }
    let mut score = Score {
        days,
        halts: halts.len(),
        right: right.count(),
        ..Score::default()
    };
    for day in labels.disorderly().filter(covered) {
        let from = underlying.points.partition_point(|p| day_of(p.at_ms) < day);
        let to = underlying
            .points
            .partition_point(|p| day_of(p.at_ms) <= day);
        let points = &underlying.points[from..to];
        score.disorderly += 1;
        let stopped = first_halts.get(&day).copied();
        score.caught += usize::from(stopped.is_some());
        let (at_stake, avoidable) = losses(points, stopped);
        score.at_stake += at_stake;
        score.avoidable += avoidable;
    }
    score.in_halts = halts.iter().map(|halt| lost_within(underlying, halt)).sum();
    score
}

/// The worst loss of a straddle sold with the day's first point, and how much of it came after a moment.
fn losses(points: &[Point], stopped: Option<u64>) -> (f64, f64) {
    let Some(short) = points.first().map(Short::at) else {
        return (0.0, 0.0);
    };
    let loss = |point: &Point| short.loss(point);
    let worst = points.iter().map(loss).fold(0.0, f64::max);
    let Some(stopped) = stopped else {
        return (worst, 0.0);
    };
    let after = points.iter().filter(|point| point.at_ms > stopped);
    let after = after.map(loss).fold(f64::MIN, f64::max);
    let at = points.iter().rev().find(|point| point.at_ms <= stopped);
    let before = at.map_or(0.0, |point| loss(point).max(0.0));
    (worst, (after - before).clamp(0.0, worst))
}

/// What a straddle sold as trading stops has lost at worst by the first point after it goes on.
fn lost_within(underlying: &Underlying, halt: &Halt) -> f64 {
    let from = underlying.points.partition_point(|p| p.at_ms < halt.at_ms);
    let Some(first) = underlying.points.get(from) else {
        return 0.0;
    };
    let short = Short::at(first);
    let until = halt.until_ms.min(halt.at_ms + AFTERMATH_MS);
    let mut worst = 0.0f64;
    for point in &underlying.points[from..] {
        worst = worst.max(short.loss(point));
        if point.at_ms > until {
            break;
        }
    }
    worst
}

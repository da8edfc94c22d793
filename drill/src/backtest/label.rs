//! Which days were disorderly, said without any breaker.
//!
//! A day is disorderly when a risk officer would have called it so the morning after: its prices ranged,
//! high over low, or its hours moved, as on the worst one in forty days of that underlying's history, or
//! it is one of the days known for forced liquidations and broken venues. The first rule looks at the
//! whole of the history, also at what came later, as no breaker can.

use std::collections::BTreeSet;

use lifeboat_engine::types::DAY_MS;

use super::data::{Bar, day_of};

/// The worst one in so many days.
pub const ONE_IN_DAYS: usize = 40;

/// Days known for disorder, with what happened.
pub const KNOWN: [(i64, &str); 14] = [
    (19_426, "a stablecoin loses its peg"),
    (19_427, "a stablecoin loses its peg"),
    (19_586, "longs liquidated within minutes"),
    (19_725, "a report on listed funds"),
    (19_787, "a record high, then 14 % down"),
    (19_826, "war overnight"),
    (19_827, "war overnight"),
    (19_940, "carry trades unwound"),
    (20_062, "100 000, then a flash crash"),
    (20_122, "tariffs, the first time"),
    (20_185, "tariffs, the second time"),
    (20_371, "the largest liquidation so far"),
    (20_413, "a month-long slide ends"),
    (20_484, "a weekend cascade"),
];

/// Which days of an underlying were disorderly.
pub struct Labels {
    disorderly: BTreeSet<i64>,
    days: BTreeSet<i64>,
    /// From which range on a day is disorderly by itself.
    pub range: f64,
    /// From which realised volatility of a day, a year, on.
    pub realised: f64,
}

impl Labels {
    /// Labels the days that the bars cover whole.
    pub fn new(bars: &[Bar]) -> Self {
        let per_day = (DAY_MS / super::data::HOUR_MS) as usize;
        let whole = bars.chunk_by(|a, b| day_of(a.at_ms) == day_of(b.at_ms));
        let figures: Vec<(i64, f64, f64)> = whole
            .filter(|day| day.len() == per_day)
            .map(|day| (day_of(day[0].at_ms), range(day), realised(day)))
            .collect();
        let (range, realised) = (
            one_in(figures.iter().map(|figure| figure.1)),
            one_in(figures.iter().map(|figure| figure.2)),
        );
        let days: BTreeSet<i64> = figures.iter().map(|figure| figure.0).collect();
        let by_figure = figures
            .iter()
            .filter(|figure| figure.1 >= range || figure.2 >= realised)
            .map(|figure| figure.0);
        let known = KNOWN.iter().map(|(day, _)| *day);
        Self {
            disorderly: by_figure
                .chain(known)
                .filter(|day| days.contains(day))
                .collect(),
            days,
            range,
            realised,
        }
    }

    /// Whether a moment lies in a disorderly day, or in the six hours before one.
    pub fn is_disorderly(&self, at_ms: u64) -> bool {
        let soon = at_ms + DAY_MS / 4;
        self.disorderly.contains(&day_of(at_ms)) || self.disorderly.contains(&day_of(soon))
    }

    /// The disorderly days.
    pub fn disorderly(&self) -> impl Iterator<Item = i64> + '_ {
        self.disorderly.iter().copied()
    }

    /// All days.
    pub fn days(&self) -> impl Iterator<Item = i64> + '_ {
        self.days.iter().copied()
    }
}

/// ln(highest / lowest).
fn range(day: &[Bar]) -> f64 {
    let high = day.iter().map(|bar| bar.high).fold(f64::MIN, f64::max);
    let low = day.iter().map(|bar| bar.low).fold(f64::MAX, f64::min);
    (high / low).ln()
}

/// Volatility a year of the hours' closes.
fn realised(day: &[Bar]) -> f64 {
    let sum: f64 = day
        .iter()
        .map(|bar| (bar.close / bar.open).ln().powi(2))
        .sum();
    (sum * 365.0).sqrt()
}

/// The value that one in [`ONE_IN_DAYS`] reaches.
fn one_in(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let place = values.len() - (values.len() / ONE_IN_DAYS).clamp(1, values.len());
    values[place]
}

#[cfg(test)]
impl Labels {
    /// No days at all.
    pub const fn none() -> Self {
        Self {
            disorderly: BTreeSet::new(),
            days: BTreeSet::new(),
            range: 0.0,
            realised: 0.0,
        }
    }
}

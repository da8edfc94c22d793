//! A volatility index for the hours and the underlyings for which none was recorded.
//!
//! The recording is one figure a day, for BTC. Two regressions by least squares, calibrated on the recorded
//! days before the out-of-sample ones, say what lies between two of them, after the last, and for ETH:
//!
//! * The level that prices alone imply (Corsi's heterogeneous autoregression): the logarithm of the index
//!   is linear in those of the realised volatilities of a day, a week and a month.
//! * The change within a day: linear in how far the index was from that level, in the day's realised move
//!   beside the one implied when it began, and in its loss beside the same.
//!
//! Each day begins at the recorded index where there is one, which is known once its day is over, else at
//! what the second regression made of the day before.

use std::path::Path;

use lifeboat_engine::breakers::BreakerParameters;
use lifeboat_engine::pricing::ExpiryView;
use lifeboat_engine::pricing::variance::{BidAsk, HORIZON_MS};
use lifeboat_engine::pricing::volatility::{STRIKES_MIN, StrikeView, TermView, index_volatility};
use lifeboat_engine::types::{DAY_MS, OptionKind, Price, UnderlyingId};

use super::data::{Bar, Daily, DataError, HOUR_MS, day_of};
use super::{Point, Underlying};
use crate::market::{RecordedOption, Recording};

/// Constant, day, week, month; and constant, distance, realised, loss.
const TERMS: usize = 4;
const DAY_HOURS: usize = 24;
const WEEK_HOURS: usize = 168;
const MONTH_HOURS: usize = 720;
const HOURS_A_YEAR: f64 = 8_760.0;
const DAYS_A_YEAR: f64 = 365.0;
/// A day's realised move counts as at most so many implied ones: one observation decides no slope.
const RATIO_MAX: f64 = 6.0;

/// A regression and how well it fits.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Regression {
    /// One a term.
    pub coefficients: [f64; TERMS],
    /// Share of the variance that it explains on the days it was calibrated on.
    pub r2: f64,
    /// Standard deviation of what it misses there, in the logarithm of the index.
    pub error: f64,
    /// The same on the recorded days after.
    pub error_after: f64,
    /// Days it was calibrated on, and recorded days after.
    pub days: (usize, usize),
}

/// Terms and what they explain, by day.
type Row = (i64, [f64; TERMS], f64);

impl Regression {
    fn of(rows: &[Row], until_day: i64) -> Self {
        let (before, after): (Vec<&Row>, Vec<&Row>) =
            rows.iter().partition(|(day, ..)| *day < until_day);
        let coefficients = least_squares(&before);
        let error = |rows: &[&Row]| {
            let missed = rows.iter().map(|(_, x, y)| y - dot(&coefficients, x));
            (missed.map(|miss| miss * miss).sum::<f64>() / rows.len().max(1) as f64).sqrt()
        };
        let mean = before.iter().map(|row| row.2).sum::<f64>() / before.len().max(1) as f64;
        let spread: f64 = before.iter().map(|row| (row.2 - mean).powi(2)).sum();
        let missed = error(&before).powi(2) * before.len() as f64;
        Self {
            coefficients,
            r2: 1.0 - missed / spread.max(f64::MIN_POSITIVE),
            error: error(&before),
            error_after: error(&after),
            days: (before.len(), after.len()),
        }
    }
}

/// How the index was had.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Fit {
    /// The level: constant, and logarithms of the realised volatility of a day, a week and a month.
    pub level: Regression,
    /// A day's change: constant, distance from the level, realised over implied, loss over implied.
    pub change: Regression,
}

impl Fit {
    /// Calibrates on the recorded days before `until_day`.
    pub fn calibrated(bars: &[Bar], recorded: &[Daily], until_day: i64) -> Self {
        let past = Past::new(bars);
        let at_end = |day: i64| past.hours_before((day + 1) as u64 * DAY_MS);
        let levels: Vec<Row> = recorded
            .iter()
            .filter_map(|daily| {
                let terms = past.terms(at_end(daily.day)?)?;
                Some((daily.day, terms, daily.volatility.ln()))
            })
            .collect();
        let level = Regression::of(&levels, until_day);
        let changes: Vec<Row> = recorded
            .windows(2)
            .filter(|pair| pair[1].day == pair[0].day + 1)
            .filter_map(|pair| {
                let (from, to) = (at_end(pair[0].day)?, at_end(pair[1].day)?);
                let begin = Begin::new(&past, from, pair[0].volatility, &level)?;
                let terms = begin.terms(&past, to, 0.0, 1.0);
                let change = (pair[1].volatility / pair[0].volatility).ln();
                Some((pair[1].day, terms, change))
            })
            .collect();
        Self {
            level,
            change: Regression::of(&changes, until_day),
        }
    }
}

/// A day's begin: what the index was, and how far from its level.
#[derive(Clone, Copy)]
struct Begin {
    hours: usize,
    volatility: f64,
    distance: f64,
}

impl Begin {
    fn new(past: &Past<'_>, hours: usize, volatility: f64, level: &Regression) -> Option<Self> {
        let implied = dot(&level.coefficients, &past.terms(hours)?);
        Some(Self {
            hours,
            volatility,
            distance: implied - volatility.ln(),
        })
    }

    /// The terms of the change, `hours` into the past and a move `since` later, after this part of a day.
    fn terms(&self, past: &Past<'_>, hours: usize, since: f64, part: f64) -> [f64; TERMS] {
        let implied = self.volatility / DAYS_A_YEAR.sqrt();
        let squares = past.squares[hours] - past.squares[self.hours] + since * since;
        let from = past.bars[self.hours - 1].close.ln();
        let moved = past.bars[hours - 1].close.ln() + since - from;
        let realised = (squares.sqrt() / implied).min(RATIO_MAX);
        let loss = (moved.min(0.0) / implied).max(-RATIO_MAX);
        [part, part * self.distance, realised, loss]
    }
}

/// Realised volatility of the past, by sums of squares.
struct Past<'a> {
    bars: &'a [Bar],
    /// Sum of squared hourly moves before each bar.
    squares: Vec<f64>,
}

impl<'a> Past<'a> {
    fn new(bars: &'a [Bar]) -> Self {
        let mut squares = vec![0.0; bars.len() + 1];
        for (at, bar) in bars.iter().enumerate() {
            let from = if at == 0 {
                bar.open
            } else {
                bars[at - 1].close
            };
            squares[at + 1] = squares[at] + (bar.close / from).ln().powi(2);
        }
        Self { bars, squares }
    }

    /// How many bars had ended by a moment.
    fn hours_before(&self, at_ms: u64) -> Option<usize> {
        let hours = at_ms.checked_sub(self.bars[0].at_ms)? / HOUR_MS;
        let hours = usize::try_from(hours).ok()?;
        (hours <= self.bars.len()).then_some(hours)
    }

    /// The level's terms after so many hours; `None` in the first month.
    fn terms(&self, hours: usize) -> Option<[f64; TERMS]> {
        let month = hours.checked_sub(MONTH_HOURS)?;
        let realised = |length: usize, from: usize| {
            let squares = self.squares[hours] - self.squares[from];
            0.5 * (squares * HOURS_A_YEAR / length as f64).max(1e-6).ln()
        };
        Some([
            1.0,
            realised(DAY_HOURS, hours - DAY_HOURS),
            realised(WEEK_HOURS, hours - WEEK_HOURS),
            realised(MONTH_HOURS, month),
        ])
    }
}

/// An underlying's volatility index, hour by hour.
pub struct Volatility<'a> {
    past: Past<'a>,
    recorded: &'a [Daily],
    fit: &'a Fit,
}

impl<'a> Volatility<'a> {
    /// From bars, what was recorded of the index, and the regression.
    pub fn new(bars: &'a [Bar], recorded: &'a [Daily], fit: &'a Fit) -> Self {
        Self {
            past: Past::new(bars),
            recorded,
            fit,
        }
    }

    /// Price and index along the bars' paths, from the first day after a month on.
    pub fn points(&self) -> Vec<Point> {
        let bars = self.past.bars;
        let mut points = Vec::with_capacity(3 * bars.len());
        let mut begin: Option<Begin> = None;
        for (at, bar) in bars.iter().enumerate() {
            if bar.at_ms % DAY_MS == 0 {
                let carried = points.last().map(|point: &Point| point.volatility);
                begin = self.begin(at, bar.at_ms, carried);
            }
            let Some(begin) = begin else { continue };
            let before = bars[at - 1].close;
            for (at_ms, price) in bar.path() {
                let part = (at_ms - (bars[begin.hours].at_ms)) as f64 / DAY_MS as f64;
                let terms = begin.terms(&self.past, at, (price / before).ln(), part);
                let change = dot(&self.fit.change.coefficients, &terms);
                points.push(Point {
                    at_ms,
                    price,
                    volatility: begin.volatility * change.exp(),
                });
            }
        }
        points
    }

    /// The index that a day begins with: yesterday's recorded one, else the one carried over, else the
    /// level.
    fn begin(&self, hours: usize, at_ms: u64, carried: Option<f64>) -> Option<Begin> {
        let level = &self.fit.level;
        let implied = dot(&level.coefficients, &self.past.terms(hours)?).exp();
        let yesterday = day_of(at_ms) - 1;
        let recorded = self.recorded.binary_search_by_key(&yesterday, |d| d.day);
        let recorded = recorded.ok().map(|at| self.recorded[at].volatility);
        let volatility = recorded.or(carried).unwrap_or(implied);
        Begin::new(&self.past, hours, volatility, level)
    }
}

fn dot(a: &[f64; TERMS], b: &[f64; TERMS]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Ordinary least squares by the normal equations.
fn least_squares(rows: &[&Row]) -> [f64; TERMS] {
    let mut system = [[0.0; TERMS + 1]; TERMS];
    for (_, x, y) in rows {
        for (i, equation) in system.iter_mut().enumerate() {
            for j in 0..TERMS {
                equation[j] += x[i] * x[j];
            }
            equation[TERMS] += x[i] * y;
        }
    }
    solved(system)
}

/// Gauss's elimination with the largest pivot.
fn solved(mut system: [[f64; TERMS + 1]; TERMS]) -> [f64; TERMS] {
    for at in 0..TERMS {
        let pivot = (at..TERMS)
            .max_by(|a, b| system[*a][at].abs().total_cmp(&system[*b][at].abs()))
            .unwrap_or(at);
        system.swap(at, pivot);
        if system[at][at] == 0.0 {
            continue;
        }
        let pivot = system[at];
        for row in (0..TERMS).filter(|row| *row != at) {
            let share = system[row][at] / pivot[at];
            for (value, of_pivot) in system[row].iter_mut().zip(pivot).skip(at) {
                *value -= share * of_pivot;
            }
        }
    }
    let mut solution = [0.0; TERMS];
    for (at, equation) in system.iter().enumerate() {
        if equation[at] != 0.0 {
            solution[at] = equation[TERMS] / equation[at];
        }
    }
    solution
}

/// The engine's own index of the recorded chains beside the regression's: symbol, moment, both.
pub fn of_chains(
    market: &Path,
    underlyings: &[Underlying],
) -> Result<Vec<(String, u64, f64, f64)>, DataError> {
    let path = market.join("deribit_chains_20260128_20260201.csv.gz");
    if !path.exists() {
        return Ok(Vec::new());
    }
    let symbols: Vec<&str> = underlyings.iter().map(|u| u.symbol).collect();
    let recording = Recording::open(&path, &symbols).map_err(|error| DataError::Format {
        path,
        what: error.to_string(),
    })?;
    let mut found = Vec::new();
    for chain in &recording.chains {
        for (id, underlying) in underlyings.iter().enumerate() {
            let id = UnderlyingId::new(id as u8);
            let options = chain.options.iter().filter(|o| o.terms.underlying == id);
            let index = chain_index(chain.at.get(), options);
            let after = underlying
                .points
                .partition_point(|p| p.at_ms <= chain.at.get());
            let point = after.checked_sub(1).map(|at| underlying.points[at]);
            if let (Some(index), Some(point)) = (index, point) {
                let symbol = underlying.symbol.to_owned();
                found.push((symbol, chain.at.get(), index, point.volatility));
            }
        }
    }
    Ok(found)
}

fn chain_index<'a>(now_ms: u64, options: impl Iterator<Item = &'a RecordedOption>) -> Option<f64> {
    let mut terms: Vec<TermView> = Vec::new();
    let mut expiry = 0;
    let mut of_expiry: Vec<&RecordedOption> = options.collect();
    of_expiry.sort_by_key(|option| (option.terms.expiry, option.terms.strike));
    for option in of_expiry {
        let strike = option.terms.strike.get() as f64 / 1e6;
        let out_of_the_money =
            (option.terms.kind == OptionKind::Call) == (strike >= option.forward);
        let left = option.terms.expiry.get().saturating_sub(now_ms);
        if !out_of_the_money || left < DAY_MS {
            continue;
        }
        if option.terms.expiry.get() != expiry {
            expiry = option.terms.expiry.get();
            terms.push(TermView {
                view: ExpiryView {
                    forward: usdc(option.forward),
                    time_left_ms: left,
                    discount_ppb: 1_000_000_000,
                },
                strikes: Vec::new(),
            });
        }
        if let Some(term) = terms.last_mut() {
            term.strikes.push(strike_view(option));
        }
    }
    terms.retain(|term| term.strikes.len() >= STRIKES_MIN);
    let next = terms.partition_point(|term| term.view.time_left_ms <= HORIZON_MS);
    let near = next.checked_sub(1).and_then(|near| terms.get(near));
    let band = BreakerParameters::default().strike_band();
    let index = index_volatility(near, terms.get(next), &band)?;
    Some(f64::from(index.ppm) / 1e6)
}

fn strike_view(option: &RecordedOption) -> StrikeView {
    let quote = option.bid.zip(option.ask).map(|(bid, ask)| BidAsk {
        bid: usdc(bid * option.forward),
        ask: usdc(ask * option.forward),
    });
    StrikeView {
        strike: option.terms.strike,
        kind: option.terms.kind,
        quote,
        mark_ppm: (option.volatility * 1e6) as u32,
        tick: Price::new(100_000),
    }
}

fn usdc(price: f64) -> Price {
    Price::new((price * 1e6).round() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn least_squares_find_what_was_put_in() {
        let wanted = [0.3, -1.0, 2.0, 0.5];
        let rows: Vec<Row> = (0..40)
            .map(|i| {
                let i = f64::from(i);
                let x = [1.0, i.sin(), (i * 1.7).cos(), (i * 0.3).sin()];
                (0, x, dot(&wanted, &x))
            })
            .collect();
        let found = least_squares(&rows.iter().collect::<Vec<_>>());
        for (found, wanted) in found.iter().zip(wanted) {
            assert!((found - wanted).abs() < 1e-9, "{found} {wanted}");
        }
    }
}

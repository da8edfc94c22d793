//! The recorded files: hourly bars and a daily volatility index.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use lifeboat_engine::types::DAY_MS;
use thiserror::Error;

use crate::market::parse_utc;

/// Milliseconds of an hour.
pub const HOUR_MS: u64 = 3_600_000;

/// A recording that cannot be used.
#[derive(Debug, Error)]
pub enum DataError {
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// What is in it makes no sense.
    #[error("{}: {what}", path.display())]
    Format {
        /// Which file.
        path: PathBuf,
        /// What.
        what: String,
    },
}

/// An hour of prices in USDC.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bar {
    /// When the hour began.
    pub at_ms: u64,
    /// First price.
    pub open: f64,
    /// Highest price.
    pub high: f64,
    /// Lowest price.
    pub low: f64,
    /// Last price.
    pub close: f64,
}

impl Bar {
    /// The hour's path as far as a bar knows it, at its quarters: the extreme that a bar of this direction
    /// visits first, the other one, and the close.
    pub fn path(&self) -> [(u64, f64); 3] {
        let (first, second) = if self.close >= self.open {
            (self.low, self.high)
        } else {
            (self.high, self.low)
        };
        let quarter = HOUR_MS / 4;
        [
            (self.at_ms + quarter, first),
            (self.at_ms + 2 * quarter, second),
            (self.at_ms + HOUR_MS, self.close),
        ]
    }
}

/// A day's last volatility index.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Daily {
    /// The day, since 1970.
    pub day: i64,
    /// 0.5 for an index of 50.
    pub volatility: f64,
}

/// Reads hourly bars: a gzipped CSV with time, open, high, low and close.
pub fn bars(path: &Path) -> Result<Vec<Bar>, DataError> {
    let file = File::open(path).map_err(|source| io(path, source))?;
    let mut bars = Vec::new();
    for (at, line) in BufReader::new(GzDecoder::new(file)).lines().enumerate() {
        let line = line.map_err(|source| io(path, source))?;
        if at > 0 {
            let bar = bar(&line).ok_or_else(|| DataError::Format {
                path: path.to_owned(),
                what: format!("line {} is no bar", at + 1),
            })?;
            bars.push(bar);
        }
    }
    let hourly = bars
        .windows(2)
        .all(|pair| pair[1].at_ms == pair[0].at_ms + HOUR_MS);
    if bars.is_empty() || !hourly {
        return Err(DataError::Format {
            path: path.to_owned(),
            what: "the bars are not one an hour".into(),
        });
    }
    Ok(bars)
}

fn bar(line: &str) -> Option<Bar> {
    let mut cells = line.split(',');
    let at_ms = parse_utc(&cells.next()?.replacen(' ', "T", 1))?.get();
    let mut price = || {
        cells
            .next()?
            .parse::<f64>()
            .ok()
            .filter(|price| *price > 0.0)
    };
    Some(Bar {
        at_ms,
        open: price()?,
        high: price()?,
        low: price()?,
        close: price()?,
    })
}

/// Reads a daily index: a JSON list of milliseconds and value.
pub fn daily(path: &Path) -> Result<Vec<Daily>, DataError> {
    let bytes = std::fs::read(path).map_err(|source| io(path, source))?;
    let rows: Vec<(u64, f64)> =
        serde_json::from_slice(&bytes).map_err(|error| DataError::Format {
            path: path.to_owned(),
            what: error.to_string(),
        })?;
    let daily = rows.into_iter().map(|(at_ms, points)| Daily {
        day: day_of(at_ms),
        volatility: points / 100.0,
    });
    Ok(daily.collect())
}

fn io(path: &Path, source: std::io::Error) -> DataError {
    DataError::Io {
        path: path.to_owned(),
        source,
    }
}

/// The day of a moment.
pub const fn day_of(at_ms: u64) -> i64 {
    (at_ms / DAY_MS) as i64
}

/// Year, month and day of the month.
pub const fn civil(day: i64) -> (i64, i64, i64) {
    // Counted from 1 March of year 0, so that the leap day comes last.
    let days = day + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let january_on = if month <= 2 { 1 } else { 0 };
    let of_month = of_year - (153 * shifted + 2) / 5 + 1;
    (year + era * 400 + january_on, month, of_month)
}

/// A day as `2025-10-10`.
pub fn date(day: i64) -> String {
    let (year, month, of_month) = civil(day);
    format!("{year:04}-{month:02}-{of_month:02}")
}

/// A moment as `2025-10-10 21:15`.
pub fn moment(at_ms: u64) -> String {
    let minutes = at_ms / 60_000 % 1_440;
    format!(
        "{} {:02}:{:02}",
        date(day_of(at_ms)),
        minutes / 60,
        minutes % 60
    )
}

#[cfg(test)]
mod tests {
    use super::{Bar, date, day_of, moment};

    #[test]
    fn days_have_dates() {
        for (at_ms, text) in [
            (0, "1970-01-01"),
            (1_709_164_800_000, "2024-02-29"),
            (1_735_689_600_000, "2025-01-01"),
            (1_760_054_400_000, "2025-10-10"),
        ] {
            assert_eq!(date(day_of(at_ms)), text);
        }
        assert_eq!(day_of(1_735_689_600_000), super::super::SPLIT_DAY);
        assert_eq!(moment(1_760_054_400_000 + 76_500_000), "2025-10-10 21:15");
    }

    #[test]
    fn a_bars_path_visits_its_extremes() {
        let bar = Bar {
            at_ms: 0,
            open: 10.0,
            high: 12.0,
            low: 9.0,
            close: 9.5,
        };
        assert_eq!(bar.path().map(|(_, price)| price), [12.0, 9.0, 9.5]);
    }
}

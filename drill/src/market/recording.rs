//! Recorded option chains: a gzipped CSV with one row per option and snapshot, prices in coin.
//!
//! The columns are found by the names in the first line; the ones used are in [`COLUMNS`].

use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use flate2::read::GzDecoder;
use lifeboat_engine::command::OptionTerms;
use lifeboat_engine::types::{OptionKind, Price, TimeMs, UnderlyingId};
use thiserror::Error;

use super::calendar::parse_utc;

const COLUMNS: [&str; 13] = [
    "timestamp",
    "currency",
    "option_type",
    "strike",
    "expiry_datetime",
    "bid_price",
    "ask_price",
    "mark_price",
    "futures_price",
    "implied_volatility",
    "delta",
    "vega",
    "index_price",
];

/// Why a recording cannot be used.
#[derive(Debug, Error)]
pub enum RecordingError {
    /// The file cannot be read or is not gzip.
    #[error("the recording cannot be read: {0}")]
    Io(#[from] std::io::Error),
    /// A column is missing.
    #[error("the recording has no column `{0}`")]
    NoColumn(&'static str),
    /// A row does not make sense.
    #[error("line {line} of the recording has no usable `{column}`")]
    BadRow {
        /// Counted from 1.
        line: usize,
        /// Which value.
        column: &'static str,
    },
    /// There is nothing in it.
    #[error("the recording has no rows for these underlyings")]
    Empty,
}

/// One option as it stood in a snapshot.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RecordedOption {
    /// What it is.
    pub terms: OptionTerms,
    /// Best bid in coin, if there was one.
    pub bid: Option<f64>,
    /// Best ask in coin, if there was one.
    pub ask: Option<f64>,
    /// Mark in coin.
    pub mark: f64,
    /// The forward of its expiry in USDC.
    pub forward: f64,
    /// Mark volatility a year, 0.5 for 50 %.
    pub volatility: f64,
    /// Delta as published.
    pub delta: f64,
    /// Vega as published, USDC for one volatility point.
    pub vega: f64,
}

/// One snapshot.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordedChain {
    /// When.
    pub at: TimeMs,
    /// Spot price by underlying.
    pub index: Vec<(UnderlyingId, f64)>,
    /// Every option, in terms' order.
    pub options: Vec<RecordedOption>,
}

/// A recording, snapshots in order of time.
#[derive(Clone, Debug, PartialEq)]
pub struct Recording {
    /// Never empty.
    pub chains: Vec<RecordedChain>,
}

impl Recording {
    /// Reads a file. `symbols` are the underlyings in the order of their ids; rows of others are
    /// passed over.
    ///
    /// # Errors
    /// [`RecordingError`], with the line where the file stops making sense.
    pub fn open(path: &Path, symbols: &[&str]) -> Result<Self, RecordingError> {
        Self::read(GzDecoder::new(std::fs::File::open(path)?), symbols)
    }

    /// Reads plain CSV.
    ///
    /// # Errors
    /// As [`Recording::open`].
    pub fn read(csv: impl Read, symbols: &[&str]) -> Result<Self, RecordingError> {
        let mut lines = BufReader::new(csv).lines();
        let header = lines.next().ok_or(RecordingError::Empty)??;
        let columns = Columns::find(&header)?;
        let mut chains: Vec<RecordedChain> = Vec::new();
        for (at, line) in lines.enumerate() {
            let line = line?;
            let row = Row {
                fields: line.split(',').collect(),
                columns: &columns,
                line: at + 2,
            };
            let Some(underlying) = row.underlying(symbols)? else {
                continue;
            };
            row.add_to(&mut chains, underlying)?;
        }
        for chain in &mut chains {
            chain.options.sort_by_key(|option| option.terms);
        }
        chains.sort_by_key(|chain| chain.at);
        if chains.is_empty() {
            Err(RecordingError::Empty)
        } else {
            Ok(Self { chains })
        }
    }

    /// When it begins.
    pub fn start(&self) -> TimeMs {
        self.chains
            .first()
            .map(|chain| chain.at)
            .unwrap_or_default()
    }

    /// When it ends.
    pub fn end(&self) -> TimeMs {
        self.chains.last().map(|chain| chain.at).unwrap_or_default()
    }
}

struct Columns([usize; COLUMNS.len()]);

impl Columns {
    fn find(header: &str) -> Result<Self, RecordingError> {
        let names: Vec<&str> = header.trim_end().split(',').collect();
        let mut places = [0; COLUMNS.len()];
        for (place, column) in places.iter_mut().zip(COLUMNS) {
            let found = names.iter().position(|name| *name == column);
            *place = found.ok_or(RecordingError::NoColumn(column))?;
        }
        Ok(Self(places))
    }
}

struct Row<'a> {
    fields: Vec<&'a str>,
    columns: &'a Columns,
    line: usize,
}

impl<'a> Row<'a> {
    fn bad(&self, column: &'static str) -> RecordingError {
        RecordingError::BadRow {
            line: self.line,
            column,
        }
    }

    fn text(&self, column: &'static str) -> Result<&'a str, RecordingError> {
        let at = COLUMNS.iter().position(|name| *name == column);
        let place = at.and_then(|at| self.columns.0.get(at));
        let text = place.and_then(|place| self.fields.get(*place));
        text.copied().ok_or_else(|| self.bad(column))
    }

    fn number(&self, column: &'static str) -> Result<f64, RecordingError> {
        let number = self.text(column)?.parse::<f64>().ok();
        number
            .filter(|number| number.is_finite())
            .ok_or_else(|| self.bad(column))
    }

    fn positive(&self, column: &'static str) -> Result<f64, RecordingError> {
        Some(self.number(column)?)
            .filter(|number| *number > 0.0)
            .ok_or_else(|| self.bad(column))
    }

    /// A quote's price; an empty field or 0 is no quote.
    fn quote(&self, column: &'static str) -> Result<Option<f64>, RecordingError> {
        if self.text(column)?.is_empty() {
            return Ok(None);
        }
        Ok(Some(self.number(column)?).filter(|price| *price > 0.0))
    }

    fn time(&self, column: &'static str) -> Result<TimeMs, RecordingError> {
        parse_utc(self.text(column)?).ok_or_else(|| self.bad(column))
    }

    fn underlying(&self, symbols: &[&str]) -> Result<Option<UnderlyingId>, RecordingError> {
        let currency = self.text("currency")?;
        let at = symbols.iter().position(|symbol| *symbol == currency);
        Ok(at
            .and_then(|at| u8::try_from(at).ok())
            .map(UnderlyingId::new))
    }

    fn terms(&self, underlying: UnderlyingId) -> Result<OptionTerms, RecordingError> {
        let kind = match self.text("option_type")? {
            "call" => OptionKind::Call,
            "put" => OptionKind::Put,
            _ => return Err(self.bad("option_type")),
        };
        let strike = Price::new((self.positive("strike")? * 1e6).round() as i64);
        Ok(OptionTerms {
            underlying,
            expiry: self.time("expiry_datetime")?,
            strike,
            kind,
        })
    }

    fn option(&self, underlying: UnderlyingId) -> Result<RecordedOption, RecordingError> {
        Ok(RecordedOption {
            terms: self.terms(underlying)?,
            bid: self.quote("bid_price")?,
            ask: self.quote("ask_price")?,
            mark: self.number("mark_price")?,
            forward: self.positive("futures_price")?,
            volatility: self.positive("implied_volatility")?,
            delta: self.number("delta")?,
            vega: self.number("vega")?,
        })
    }

    fn add_to(
        &self,
        chains: &mut Vec<RecordedChain>,
        underlying: UnderlyingId,
    ) -> Result<(), RecordingError> {
        let at = self.time("timestamp")?;
        let (option, index) = (self.option(underlying)?, self.positive("index_price")?);
        // Snapshots are contiguous, so the last chain is nearly always the one.
        let chain = match chains.iter().rposition(|chain| chain.at == at) {
            Some(place) => &mut chains[place],
            None => {
                chains.push(RecordedChain {
                    at,
                    index: Vec::new(),
                    options: Vec::new(),
                });
                let last = chains.len() - 1;
                &mut chains[last]
            }
        };
        match chain.index.iter_mut().find(|(of, _)| *of == underlying) {
            Some(entry) => entry.1 = index,
            None => chain.index.push((underlying, index)),
        }
        chain.options.push(option);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "timestamp,instrument_name,option_type,strike,expiry_datetime,bid_price,\
        ask_price,mark_price,futures_price,implied_volatility,delta,vega,currency,index_price";
    const ROW: &str = "2026-01-28T04:00:47.979950+00:00,X,put,88000.0,2026-01-30T08:00:00+00:00,\
        0.0,0.0075,0.00727822,89085.44,0.4073,-0.34232,25.21002,BTC,89008.92";

    fn read(text: &str) -> Result<Recording, RecordingError> {
        Recording::read(text.as_bytes(), &["BTC", "ETH"])
    }

    #[test]
    fn a_row_becomes_an_option() -> Result<(), RecordingError> {
        let recording = read(&format!("{HEADER}\n{ROW}\n"))?;
        let chain = &recording.chains[0];
        assert_eq!(chain.at, TimeMs::new(1_769_572_847_979));
        assert_eq!(chain.index, [(UnderlyingId::new(0), 89_008.92)]);
        let option = chain.options[0];
        assert_eq!(option.terms.strike, Price::new(88_000_000_000));
        assert_eq!(option.terms.kind, OptionKind::Put);
        assert_eq!((option.bid, option.ask), (None, Some(0.0075)));
        let empty = read(&format!("{HEADER}\n{}\n", ROW.replace("0.0075,", ",")))?;
        assert_eq!(empty.chains[0].options[0].ask, None);
        Ok(())
    }

    #[test]
    fn what_is_wrong_is_named() {
        let no_column = read(&HEADER.replace("strike", "stroke"));
        assert!(
            matches!(no_column, Err(RecordingError::NoColumn("strike"))),
            "{no_column:?}"
        );
        let nan = read(&format!("{HEADER}\n{}\n", ROW.replace("0.4073", "NaN")));
        let expected = RecordingError::BadRow {
            line: 2,
            column: "implied_volatility",
        };
        assert_eq!(nan.map_err(|e| e.to_string()), Err(expected.to_string()));
        let short = read(&format!("{HEADER}\n2026-01-28T04:00:47Z,X\n"));
        assert!(
            matches!(short, Err(RecordingError::BadRow { .. })),
            "{short:?}"
        );
        let other = read(&format!("{HEADER}\n{}\n", ROW.replace("BTC", "SOL")));
        assert!(matches!(other, Err(RecordingError::Empty)), "{other:?}");
        assert!(matches!(read(""), Err(RecordingError::Empty)));
    }
}

//! Breakers on recorded history: how often they would have stopped trading, on which days, and what that
//! would have spared, beside breakers on price alone.
//!
//! **Owns** the recorded prices and volatility as the breakers see them, the label of a disorderly day,
//! the price-only breakers, the yardsticks and the page that shows all of it. The breakers are the
//! engine's own. **Never** tunes anything: parameters are the defaults that a venue begins with, beside what comes
//! of the bound that the other quarters would have chosen, and of neighbouring parameters.

mod book;
mod data;
mod label;
mod page;
mod picture;
mod price_only;
mod proxy;
mod replay;
mod score;
mod validate;

use std::path::Path;

use lifeboat_engine::breakers::BreakerParameters;

pub use data::{Bar, DataError};
pub use label::Labels;
pub use page::write;
pub use proxy::{Fit, Regression};
pub use score::{Score, Scored};
pub use validate::{Neighbour, Validated};

use data::{bars, daily};
use proxy::Volatility;

/// Where the recorded years are split: 1 January 2025. The regressions for the volatility index are calibrated
/// before it.
pub const SPLIT_DAY: i64 = 20_089;

/// The venue's own breakers.
const OWN: &str = "Lifeboat";
/// The price-only breakers, taken together.
const PRICE_ONLY: &str = "LULD and CME";

/// One underlying's history.
pub struct Underlying {
    /// `BTC`.
    pub symbol: &'static str,
    /// Hourly bars.
    pub bars: Vec<Bar>,
    /// Price and volatility as breakers see them, in order of time.
    pub points: Vec<Point>,
    /// Which days were disorderly.
    pub labels: Labels,
}

/// A moment of a history.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Milliseconds since 1970.
    pub at_ms: u64,
    /// USDC for one coin.
    pub price: f64,
    /// Volatility index, 0.5 for 50 %.
    pub volatility: f64,
}

/// Everything that the back-test found.
pub struct Backtest {
    /// By underlying.
    pub underlyings: Vec<Underlying>,
    /// How the volatility index was had.
    pub fit: Fit,
    /// The breakers beside each other.
    pub scored: Vec<Scored>,
    /// What came of bounds that were chosen on other days.
    pub validated: Validated,
    /// What came of neighbouring parameters.
    pub neighbours: Vec<Neighbour>,
    /// Every halt of the venue's own breakers.
    pub halts: Vec<Halt>,
    /// Every halt of the price-only breakers, taken together.
    pub price_halts: Vec<Halt>,
    /// The volatility index of the recorded chains, where there are any: symbol, moment, index, proxy.
    pub chains: Vec<(String, u64, f64, f64)>,
}

/// Trading in an underlying was stopped.
#[derive(Clone, Debug, PartialEq)]
pub struct Halt {
    /// Which breakers: `lifeboat`, `LULD`, `CME`.
    pub by: &'static str,
    /// Which underlying.
    pub symbol: &'static str,
    /// When.
    pub at_ms: u64,
    /// When trading went on.
    pub until_ms: u64,
    /// 2 for an auction or a pause, 3 for a halt.
    pub level: u8,
    /// What tripped, for a person.
    pub why: String,
}

/// Runs the back-test on a folder with `market/` in it.
///
/// # Errors
/// [`DataError`] names the file that is missing or makes no sense.
pub fn run(folder: &Path) -> Result<Backtest, DataError> {
    let market = folder.join("market");
    let recorded = daily(&market.join("dvol_btc_daily.json"))?;
    let btc = bars(&market.join("btcusdt_1h_2020_2024.csv.gz"))?;
    let eth = bars(&market.join("ethusdt_1h_2020_2024.csv.gz"))?;
    let fit = Fit::calibrated(&btc, &recorded, SPLIT_DAY);
    let mut underlyings = Vec::new();
    for (symbol, bars, recorded) in [("BTC", btc, recorded), ("ETH", eth, Vec::new())] {
        let points = Volatility::new(&bars, &recorded, &fit).points();
        let labels = Labels::new(&bars);
        underlyings.push(Underlying {
            symbol,
            bars,
            points,
            labels,
        });
    }
    let parameters = BreakerParameters::default();
    let mut scored = Vec::new();
    let (mut halts, mut price_halts) = (Vec::new(), Vec::new());
    type Breakers<'a> = Box<dyn Fn(&Underlying) -> Vec<Halt> + 'a>;
    let all: [(&str, Breakers<'_>); 4] = [
        (OWN, Box::new(|u| replay::halts(u, &parameters))),
        (PRICE_ONLY, Box::new(price_only::both)),
        ("LULD", Box::new(price_only::luld)),
        ("CME", Box::new(price_only::cme)),
    ];
    for (name, breakers) in &all {
        let found: Vec<Halt> = underlyings.iter().flat_map(breakers).collect();
        scored.push(Scored::new(name, &underlyings, &found));
        match *name {
            OWN => halts = found,
            PRICE_ONLY => price_halts = found,
            _ => {}
        }
    }
    let chains = proxy::of_chains(&market, &underlyings)?;
    let validated = Validated::new(&underlyings, &price_halts, &parameters);
    let neighbours = validate::neighbours(&underlyings, &parameters);
    Ok(Backtest {
        underlyings,
        fit,
        scored,
        validated,
        neighbours,
        halts,
        price_halts,
        chains,
    })
}

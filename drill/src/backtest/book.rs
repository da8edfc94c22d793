//! What an adverse move costs whoever is short options on margin.
//!
//! The yardstick is one straddle of 30 days, sold at the money when a day begins. Its loss is in parts of
//! the coin's price at that moment. Slow losses are covered by adding collateral or buying back; what came
//! after trading was first stopped is what stopping gave time for.

use lifeboat_engine::pricing::{Black76, black76};

use super::Point;

const YEAR_MS: f64 = 31_536_000_000.0;
const MONTH_YEARS: f64 = 30.0 / 365.0;

/// A straddle sold at a point.
pub struct Short {
    strike: f64,
    sold_ms: u64,
    premium: f64,
}

impl Short {
    /// Sold at the money.
    pub fn at(point: &Point) -> Self {
        Self {
            strike: point.price,
            sold_ms: point.at_ms,
            premium: straddle(point, point.price, 0.0),
        }
    }

    /// What it has lost by a point, in parts of the price it was sold at; a gain is negative.
    pub fn loss(&self, point: &Point) -> f64 {
        let years = (point.at_ms - self.sold_ms) as f64 / YEAR_MS;
        (straddle(point, self.strike, years) - self.premium) / self.strike
    }
}

fn straddle(point: &Point, strike: f64, years: f64) -> f64 {
    let values = black76(&Black76 {
        forward: point.price,
        strike,
        years: (MONTH_YEARS - years).max(0.0),
        volatility: point.volatility,
        discount: 1.0,
    });
    values.call + values.put
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_straddle_loses_both_ways_and_by_volatility() {
        let at = |price: f64, volatility: f64| Point {
            at_ms: 0,
            price,
            volatility,
        };
        let short = Short::at(&at(100.0, 0.5));
        assert!(short.loss(&at(100.0, 0.5)).abs() < 1e-12);
        for worse in [at(90.0, 0.5), at(110.0, 0.5), at(100.0, 0.7)] {
            assert!(short.loss(&worse) > 0.01);
        }
        let later = Point {
            at_ms: 86_400_000,
            ..at(100.0, 0.5)
        };
        assert!(short.loss(&later) < 0.0, "time is on its side");
    }
}

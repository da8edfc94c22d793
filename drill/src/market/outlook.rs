//! What the market believes at an instant: the ground truth that validators observe with noise and
//! that makers quote around.

use lifeboat_engine::command::OptionTerms;
use lifeboat_engine::types::{OptionKind, TimeMs, UnderlyingId};

use super::black76::{Valuation, value};

/// Milliseconds in a year of 365 days, as option clocks count.
pub const YEAR_MS: f64 = 365.0 * 24.0 * 3_600.0 * 1_000.0;

/// A path of prices and volatilities, a function of time. Prices are in USDC for one coin.
pub trait Outlook: Send {
    /// The underlyings' spot price; `None` where the path has none.
    fn index(&mut self, underlying: UnderlyingId, now: TimeMs) -> Option<f64>;

    /// The forward for `expiry`.
    fn forward(&mut self, underlying: UnderlyingId, expiry: TimeMs, now: TimeMs) -> Option<f64>;

    /// The settlement stablecoin in dollars; `None` where nobody observes it.
    fn stable(&mut self, _now: TimeMs) -> Option<f64> {
        None
    }

    /// The volatility a year that an option is worth, 0.5 for 50 %.
    fn volatility(&mut self, terms: &OptionTerms, now: TimeMs) -> Option<f64>;

    /// How far below and above its value a maker bids and asks, in USDC; `None` for a side that
    /// nobody quotes.
    fn half_spreads(
        &mut self,
        terms: &OptionTerms,
        value: &Valuation,
        now: TimeMs,
    ) -> [Option<f64>; 2];

    /// Options that somebody has to list by proposal by `now`; each is named once.
    fn listings_due(&mut self, now: TimeMs) -> Vec<OptionTerms>;

    /// Black-76 by this outlook; `None` at and after expiry.
    fn value(&mut self, terms: &OptionTerms, now: TimeMs) -> Option<Valuation> {
        let left_ms = terms.expiry.since(now);
        if left_ms == 0 {
            return None;
        }
        let forward = self.forward(terms.underlying, terms.expiry, now)?;
        let volatility = self.volatility(terms, now)?;
        let strike = terms.strike.get() as f64 / 1e6;
        let call = matches!(terms.kind, OptionKind::Call);
        Some(value(
            call,
            forward,
            strike,
            volatility,
            left_ms as f64 / YEAR_MS,
        ))
    }
}

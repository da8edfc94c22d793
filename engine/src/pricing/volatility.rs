//! The venue's volatility index: Cboe's sum over the venue's own quotes and marks, made so that one bad
//! strike cannot move it.
//!
//! Each strike is read as one implied volatility: its quote's where it has one that says anything, but
//! within a narrow band around its mark's; else its mark's. The mark is not the strike's own word: it
//! comes from the surface of the whole expiry, which leaves out a quote off its neighbours and moves by
//! steps. So a strike is believed about itself only as far as its expiry bears it out.

use alloc::vec::Vec;

use super::float::{at_least, clamp};
use super::implied::implied_volatility;
use super::mark::ExpiryView;
use super::rounding::{from_price, to_price};
use super::variance::{
    BidAsk, HORIZON_MS, StrikeQuotes, Strip, TermVariance, interpolated, volatility_ppm,
};
use crate::types::{OptionKind, Price, Rounding};

/// Fewest strikes of an expiry that say something about its variance: with fewer, one of them is most of
/// it.
pub const STRIKES_MIN: usize = 7;
const PPM: f64 = 1e6;
/// Volatilities are read within 1 % and 1 000 %.
const VOLATILITY_MIN: f64 = 0.01;
const VOLATILITY_MAX: f64 = 10.0;

/// How the index reads strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StrikeBand {
    /// How far a quote's volatility may be off its mark's, in millionths of the mark's; what is farther
    /// off counts as being there.
    pub reach_ppm: u32,
    /// A quote whose spread is wider than twice this, in volatility (1e-6), says nothing.
    pub half_spread_ppm_max: u32,
}

/// One strike as its books and its mark show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StrikeView {
    /// The strike; positive.
    pub strike: Price,
    /// Which option is quoted: the one out of the money where it is listed.
    pub kind: OptionKind,
    /// Its best bid and ask, if there are both.
    pub quote: Option<BidAsk>,
    /// Its mark's volatility in 1e-6.
    pub mark_ppm: u32,
    /// The smallest step of its price: what is worth less has no bid.
    pub tick: Price,
}

/// One expiry as the index reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TermView {
    /// Where the expiry stands.
    pub view: ExpiryView,
    /// Its strikes, ascending.
    pub strikes: Vec<StrikeView>,
}

/// The index and what it was made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexVolatility {
    /// In 1e-6: 550 000 is an index of 55.
    pub ppm: u32,
    /// Strikes of the nearer term, and of the one beyond the horizon (0 when there is only one).
    pub strikes: (u16, u16),
}

/// The index of the next 30 days. `near` expires within them and `next` after; with one of them alone
/// its own volatility is the index, not extrapolated. `None` when neither has a variance.
pub fn index_volatility(
    near: Option<&TermView>,
    next: Option<&TermView>,
    band: &StrikeBand,
) -> Option<IndexVolatility> {
    let near = near.and_then(|term| term.variance(band));
    let next = next.and_then(|term| term.variance(band));
    let (variance_e12, strikes) = match (near, next) {
        (Some((near, some)), Some((next, more))) => {
            (interpolated(near, next, HORIZON_MS)?, (some, more))
        }
        (Some((only, some)), None) | (None, Some((only, some))) => (only.variance_e12, (some, 0)),
        (None, None) => return None,
    };
    Some(IndexVolatility {
        ppm: volatility_ppm(variance_e12),
        strikes,
    })
}

impl TermView {
    /// The term's variance and how many strikes it was summed over.
    fn variance(&self, band: &StrikeBand) -> Option<(TermVariance, u16)> {
        if self.strikes.len() < STRIKES_MIN {
            return None;
        }
        let chain: Vec<StrikeQuotes> = self
            .strikes
            .iter()
            .filter_map(|strike| self.priced(strike, self.read(strike, band)))
            .collect();
        let strip = Strip::of_chain(&chain, self.view.discount_ppb)?;
        let term = TermVariance {
            variance_e12: strip.variance_e12(&self.view)?,
            time_left_ms: self.view.time_left_ms,
        };
        Some((term, u16::try_from(strip.strikes()).unwrap_or(u16::MAX)))
    }

    /// A strike's volatility: of its quote's middle if the quote says something, no farther from its
    /// mark's than the band; else its mark's.
    fn read(&self, strike: &StrikeView, band: &StrikeBand) -> f64 {
        let quoted = strike.quote.and_then(|quote| {
            let mut option = self.view.option(strike.strike, 0);
            let (bid, ask) = (from_price(quote.bid), from_price(quote.ask));
            let volatility = implied_volatility(strike.kind, 0.5 * (bid + ask), &option)?;
            option.volatility = volatility;
            let half_spread = 0.5 * (ask - bid) / at_least(option.greeks(strike.kind).vega, 1e-9);
            let says_something =
                bid > 0.0 && ask >= bid && half_spread * PPM <= f64::from(band.half_spread_ppm_max);
            says_something.then_some(volatility)
        });
        let mark = clamp(
            f64::from(strike.mark_ppm) / PPM,
            VOLATILITY_MIN,
            VOLATILITY_MAX,
        );
        let reach = mark * f64::from(band.reach_ppm) / PPM;
        quoted.map_or(mark, |own| clamp(own, mark - reach, mark + reach))
    }

    /// Both options of a strike at a volatility; what is worth less than a tick has no bid.
    fn priced(&self, strike: &StrikeView, volatility: f64) -> Option<StrikeQuotes> {
        let mut option = self.view.option(strike.strike, 0);
        option.volatility = volatility;
        let quote = |kind| {
            let price = to_price(option.greeks(kind).price, Rounding::Down)?;
            let bid = if price < strike.tick {
                Price::ZERO
            } else {
                price
            };
            Some(BidAsk { bid, ask: price })
        };
        Some(StrikeQuotes {
            strike: strike.strike,
            call: quote(OptionKind::Call)?,
            put: quote(OptionKind::Put)?,
        })
    }
}

//! The venue's volatility index: Cboe's sum over the venue's own quotes and marks, made so that one bad
//! strike cannot move it.
//!
//! Each strike is read as one implied volatility: its quote's, or its mark's where it has no quote that
//! says anything. A volatility that is off the line through its neighbours is moved to the edge of a
//! narrow band around that line, and the options are priced from these volatilities. So a strike is
//! believed about itself only as far as six others bear it out, whether it is its quote that is wrong
//! or its mark.

use alloc::vec::Vec;

use super::float::{at_least, clamp, ln};
use super::implied::implied_volatility;
use super::mark::ExpiryView;
use super::rounding::{from_price, to_price};
use super::variance::{
    BidAsk, HORIZON_MS, StrikeQuotes, Strip, TermVariance, interpolated, volatility_ppm,
};
use crate::types::{OptionKind, Price, Rounding};

/// Fewest strikes of an expiry that say something about its variance: one and its neighbours.
pub const STRIKES_MIN: usize = NEIGHBOURS + 1;
/// Strikes whose line a strike is held to.
const NEIGHBOURS: usize = 6;
const PPM: f64 = 1e6;
/// Volatilities are read within 1 % and 1 000 %.
const VOLATILITY_MIN: f64 = 0.01;
const VOLATILITY_MAX: f64 = 10.0;

/// How the index reads strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StrikeBand {
    /// How far a strike's volatility may be off its neighbours' line, in millionths of the line.
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
        let chain = self.chain(band);
        let strip = Strip::of_chain(&chain, self.view.discount_ppb)?;
        let term = TermVariance {
            variance_e12: strip.variance_e12(&self.view)?,
            time_left_ms: self.view.time_left_ms,
        };
        Some((term, u16::try_from(strip.strikes()).unwrap_or(u16::MAX)))
    }

    /// Both options of every strike at the strike's volatility as its neighbours bear it out.
    fn chain(&self, band: &StrikeBand) -> Vec<StrikeQuotes> {
        let forward = at_least(from_price(self.view.forward), 1e-6);
        let points: Vec<(f64, f64)> = self
            .strikes
            .iter()
            .map(|strike| {
                let k = ln(at_least(from_price(strike.strike), 1e-6) / forward);
                (k, self.read(strike, band))
            })
            .collect();
        let reach = f64::from(band.reach_ppm) / PPM;
        let rows = self.strikes.iter().enumerate();
        rows.filter_map(|(at, strike)| {
            let line = line_at(&points, at)?;
            let (_, own) = points.get(at)?;
            let believed = clamp(*own, line * (1.0 - reach), line * (1.0 + reach));
            self.priced(strike, believed)
        })
        .collect()
    }

    /// A strike's own volatility: of its quote's middle if the quote says something, else of its mark.
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
        let own = quoted.unwrap_or(f64::from(strike.mark_ppm) / PPM);
        clamp(own, VOLATILITY_MIN, VOLATILITY_MAX)
    }

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

/// Where the line through the strike's neighbours passes it: the median of their slopes (Theil and Sen's
/// line), then the median of what each neighbour says at the strike. One wrong neighbour of six is a
/// minority of both.
fn line_at(points: &[(f64, f64)], at: usize) -> Option<f64> {
    let (k, _) = *points.get(at)?;
    let first = at
        .saturating_sub(NEIGHBOURS / 2)
        .min(points.len().saturating_sub(NEIGHBOURS.saturating_add(1)));
    let near: Vec<(f64, f64)> = points
        .iter()
        .enumerate()
        .skip(first)
        .take(NEIGHBOURS.saturating_add(1))
        .filter(|(i, _)| *i != at)
        .map(|(_, point)| *point)
        .collect();
    let mut slopes = Vec::with_capacity(NEIGHBOURS * NEIGHBOURS / 2);
    for (i, (from, low)) in near.iter().enumerate() {
        for (to, high) in near.iter().skip(i.saturating_add(1)) {
            if to > from {
                slopes.push((high - low) / (to - from));
            }
        }
    }
    let slope = median(&mut slopes)?;
    let mut said: Vec<f64> = near.iter().map(|(x, y)| y + slope * (k - x)).collect();
    Some(clamp(median(&mut said)?, VOLATILITY_MIN, VOLATILITY_MAX))
}

/// The middle value; the mean of the two middle ones of an even count.
fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    let upper = *values.get(half)?;
    if values.len() % 2 == 1 {
        return Some(upper);
    }
    Some(0.5 * (upper + values.get(half.checked_sub(1)?)?))
}

//! A model-free variance index by Cboe's method: the variance that a strip of options out of the
//! money is worth, interpolated to 30 days.
//!
//! Source: Cboe Volatility Index Mathematics Methodology. For one expiry
//! σ² = (2/T)·Σ ΔK/K²·e^{RT}·Q(K) − (1/T)·(F/K₀ − 1)².
//!
//! **Never** guesses: a chain without a strike at or under its forward, or with fewer than two
//! prices, has no variance.

use alloc::vec::Vec;

use super::float::{abs, sqrt};
use super::mark::{ExpiryView, YEAR_MS};
use super::rounding::{from_price, to_nearest_i64, to_nearest_price};
use crate::types::Price;

/// What the index looks ahead: 30 days.
pub const HORIZON_MS: u64 = 2_592_000_000;
/// So many bids of zero one after another end a strip.
const ZERO_BIDS: u32 = 2;
const E12: f64 = 1e12;
const PPM: f64 = 1e6;
/// Half of 1e-9: a discount factor of 0 is no market.
const DISCOUNT_MIN: f64 = 5e-10;

/// Best bid and ask of one option; a bid of 0 is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BidAsk {
    /// Best bid.
    pub bid: Price,
    /// Best ask.
    pub ask: Price,
}

impl BidAsk {
    fn mid(&self) -> f64 {
        0.5 * (from_price(self.bid) + from_price(self.ask))
    }

    fn has_bid(&self) -> bool {
        self.bid.get() > 0
    }
}

/// Both options of one strike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StrikeQuotes {
    /// The strike; positive.
    pub strike: Price,
    /// The call.
    pub call: BidAsk,
    /// The put.
    pub put: BidAsk,
}

/// The prices that an expiry's variance is worked out from.
#[derive(Clone, Debug, PartialEq)]
pub struct Strip {
    forward: f64,
    k0: f64,
    /// Strike and price, ascending by strike.
    prices: Vec<(f64, f64)>,
}

impl Strip {
    /// A strip of given prices (strike, price), ascending by strike, around a given forward. `k0` is
    /// the first strike at or under the forward; its price is that of both its options, averaged.
    pub fn new(prices: &[(Price, Price)], forward: Price, k0: Price) -> Self {
        let of = |(strike, price): &(Price, Price)| (from_price(*strike), from_price(*price));
        Self {
            forward: from_price(forward),
            k0: from_price(k0),
            prices: prices.iter().map(of).collect(),
        }
    }

    /// Cboe's choice from a chain that ascends by strike: the forward by put-call parity at the strike
    /// where call and put differ least, then puts under and calls over the first strike at or under
    /// it, those without a bid left out, each side ended by two strikes without a bid. `None` when no
    /// strike has both bids or none lies at or under the forward.
    pub fn of_chain(chain: &[StrikeQuotes], discount_ppb: u32) -> Option<Self> {
        let discount = f64::from(discount_ppb) / 1e9;
        let difference = |q: &&StrikeQuotes| abs(q.call.mid() - q.put.mid());
        let at_the_money = chain
            .iter()
            .filter(|q| q.call.has_bid() && q.put.has_bid())
            .min_by(|a, b| difference(a).total_cmp(&difference(b)))
            .filter(|_| discount > DISCOUNT_MIN)?;
        let parity = (at_the_money.call.mid() - at_the_money.put.mid()) / discount;
        let forward = from_price(at_the_money.strike) + parity;
        let at = chain
            .iter()
            .rposition(|q| from_price(q.strike) <= forward)?;
        let middle = chain.get(at)?;
        let mut prices: Vec<(f64, f64)> =
            wing(chain.iter().take(at).rev(), |quotes| quotes.put).collect();
        prices.reverse();
        let average = 0.5 * (middle.call.mid() + middle.put.mid());
        prices.push((from_price(middle.strike), average));
        prices.extend(wing(chain.iter().skip(at.saturating_add(1)), |q| q.call));
        Some(Self {
            forward,
            k0: from_price(middle.strike),
            prices,
        })
    }

    /// How many strikes it has.
    pub fn strikes(&self) -> usize {
        self.prices.len()
    }

    /// The forward it stands around.
    pub fn forward(&self) -> Option<Price> {
        to_nearest_price(self.forward)
    }

    /// Its lowest and highest strike.
    pub fn ends(&self) -> Option<(Price, Price)> {
        let price = |at: Option<&(f64, f64)>| to_nearest_price(at?.0);
        Some((price(self.prices.first())?, price(self.prices.last())?))
    }

    /// Annual variance in 1e-12; `None` without time, with fewer than two strikes, or when it is not
    /// positive.
    pub fn variance_e12(&self, view: &ExpiryView) -> Option<u64> {
        let (years, discount) = (view.years(), f64::from(view.discount_ppb) / 1e9);
        if !(years > 0.0 && discount > DISCOUNT_MIN && self.k0 > 0.0) {
            return None;
        }
        let sum = self.contributions()? / discount;
        let off = self.forward / self.k0 - 1.0;
        let variance = (2.0 * sum - off * off) / years;
        let rounded = to_nearest_i64(variance * E12)?;
        u64::try_from(rounded).ok().filter(|variance| *variance > 0)
    }

    /// Σ ΔK/K²·Q(K), ΔK half the distance between the neighbours, at the ends the whole to the only
    /// one.
    fn contributions(&self) -> Option<f64> {
        if self.prices.len() < 2 {
            return None;
        }
        let mut sum = 0.0;
        for (at, (strike, price)) in self.prices.iter().enumerate() {
            let before = at.checked_sub(1).and_then(|at| self.prices.get(at));
            let after = self.prices.get(at.saturating_add(1));
            let width = match (before, after) {
                (Some(before), Some(after)) => 0.5 * (after.0 - before.0),
                (None, Some(after)) => after.0 - strike,
                (Some(before), None) => strike - before.0,
                (None, None) => return None,
            };
            if !(*strike > 0.0 && width > 0.0) {
                return None;
            }
            sum += width / (strike * strike) * price;
        }
        Some(sum)
    }
}

/// One side of a strip, outwards from the middle.
fn wing<'a>(
    outwards: impl Iterator<Item = &'a StrikeQuotes>,
    option: impl Fn(&StrikeQuotes) -> BidAsk,
) -> impl Iterator<Item = (f64, f64)> {
    let mut zeros = 0u32;
    outwards
        .map(move |quotes| (from_price(quotes.strike), option(quotes)))
        .take_while(move |(_, quote)| {
            zeros = if quote.has_bid() {
                0
            } else {
                zeros.saturating_add(1)
            };
            zeros < ZERO_BIDS
        })
        .filter(|(_, quote)| quote.has_bid())
        .map(|(strike, quote)| (strike, quote.mid()))
}

/// One expiry's part in the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TermVariance {
    /// Annual variance in 1e-12.
    pub variance_e12: u64,
    /// Milliseconds until expiry.
    pub time_left_ms: u64,
}

/// The variance of the next `horizon_ms`, a year, in 1e-12: total variance interpolated linearly in time
/// between the two terms. Both on one side of the horizon are extrapolated, as Cboe did in its first
/// method; `None` when they expire at once or nothing positive comes out.
pub fn interpolated(near: TermVariance, next: TermVariance, horizon_ms: u64) -> Option<u64> {
    let (t1, t2) = (near.time_left_ms as f64, next.time_left_ms as f64);
    let horizon = horizon_ms as f64;
    if !(t2 > t1 && horizon > 0.0) {
        return None;
    }
    let share = (t2 - horizon) / (t2 - t1);
    let total =
        t1 * near.variance_e12 as f64 * share + t2 * next.variance_e12 as f64 * (1.0 - share);
    let rounded = to_nearest_i64(total / horizon)?;
    u64::try_from(rounded).ok().filter(|variance| *variance > 0)
}

/// The volatility of an annual variance in 1e-12, in 1e-6 (137 000 is an index of 13.7).
pub fn volatility_ppm(variance_e12: u64) -> u32 {
    let ppm = to_nearest_i64(sqrt(variance_e12 as f64 / E12) * PPM);
    ppm.and_then(|ppm| u32::try_from(ppm).ok())
        .unwrap_or(u32::MAX)
}

// Interpolation is in milliseconds; Cboe's minutes and years of 365 days are whole numbers of them.
const _: () = assert!(YEAR_MS == 525_600 * 60_000 && HORIZON_MS == 43_200 * 60_000);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]
    use super::*;

    fn quote(bid: i64, ask: i64) -> BidAsk {
        BidAsk {
            bid: Price::new(bid),
            ask: Price::new(ask),
        }
    }

    /// Strikes 80 to 120 by 5 around a forward of about 100, prices in 1e-6.
    fn chain() -> Vec<StrikeQuotes> {
        let row = |strike: i64, call: (i64, i64), put: (i64, i64)| StrikeQuotes {
            strike: Price::new(strike * 1_000_000),
            call: quote(call.0, call.1),
            put: quote(put.0, put.1),
        };
        vec![
            row(75, (24_000_000, 26_000_000), (200_000, 300_000)),
            row(80, (19_800_000, 20_600_000), (0, 100_000)),
            row(85, (15_100_000, 15_500_000), (0, 200_000)),
            row(90, (10_500_000, 10_900_000), (600_000, 800_000)),
            row(95, (6_300_000, 6_700_000), (1_400_000, 1_600_000)),
            row(100, (3_100_000, 3_300_000), (3_000_000, 3_200_000)),
            row(105, (1_300_000, 1_500_000), (6_200_000, 6_400_000)),
            row(110, (0, 500_000), (10_300_000, 10_500_000)),
            row(115, (100_000, 300_000), (15_000_000, 15_400_000)),
        ]
    }

    #[test]
    fn two_missing_bids_end_a_side_and_one_does_not() {
        let strip = Strip::of_chain(&chain(), 1_000_000_000).unwrap();
        assert_eq!(strip.forward(), Some(Price::new(100_100_000)));
        let strikes: Vec<f64> = strip.prices.iter().map(|(strike, _)| *strike).collect();
        // The put at 75 has a bid but lies behind two that have none.
        assert_eq!(strikes, [90.0, 95.0, 100.0, 105.0, 115.0]);
        let average = (3.2 + 3.1) / 2.0;
        let middle = strip.prices.get(2).map_or(0.0, |(_, price)| *price);
        assert!((middle - average).abs() < 1e-12);
    }

    #[test]
    fn the_sum_by_hand() {
        let strip = Strip::of_chain(&chain(), 1_000_000_000).unwrap();
        let view = ExpiryView {
            forward: Price::new(100_000_000),
            time_left_ms: HORIZON_MS,
            discount_ppb: 1_000_000_000,
        };
        let parts = [
            (90.0, 5.0, 0.7),
            (95.0, 5.0, 1.5),
            (100.0, 5.0, 3.15),
            (105.0, 7.5, 1.4),
            (115.0, 10.0, 0.2),
        ];
        let sum: f64 = parts.iter().map(|(k, dk, q)| dk / (k * k) * q).sum();
        let years = 30.0 / 365.0;
        let by_hand = (2.0 * sum - 0.001_f64.powi(2)) / years;
        let found = strip.variance_e12(&view).unwrap() as f64 / 1e12;
        assert!((found - by_hand).abs() < 1e-9, "{found} {by_hand}");
    }

    #[test]
    fn a_chain_without_a_market_has_no_variance() {
        assert_eq!(Strip::of_chain(&[], 1_000_000_000), None);
        let mut dead = chain();
        for row in &mut dead {
            row.put.bid = Price::ZERO;
        }
        assert_eq!(Strip::of_chain(&dead, 1_000_000_000), None);
        assert_eq!(Strip::of_chain(&chain(), 0), None);
        let strip = Strip::of_chain(&chain(), 1_000_000_000).unwrap();
        let view = ExpiryView {
            forward: Price::new(1),
            time_left_ms: 0,
            discount_ppb: 1_000_000_000,
        };
        assert_eq!(strip.variance_e12(&view), None);
    }

    #[test]
    fn interpolation_is_linear_in_total_variance() {
        let term = |variance_e12, days: u64| TermVariance {
            variance_e12,
            time_left_ms: days * 86_400_000,
        };
        let near = term(250_000_000_000, 20);
        let next = term(360_000_000_000, 40);
        // (20·0.25 + 40·0.36) / 2 / 30
        let half = interpolated(near, next, HORIZON_MS).unwrap();
        assert_eq!(half, 323_333_333_333);
        assert_eq!(
            interpolated(term(9, 30), next, HORIZON_MS),
            Some(9),
            "at the horizon only the near term counts"
        );
        assert_eq!(interpolated(next, next, HORIZON_MS), None);
        assert_eq!(volatility_ppm(250_000_000_000), 500_000);
    }
}

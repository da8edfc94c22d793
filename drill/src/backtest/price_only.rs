//! Breakers on price alone, as exchanges have them, on the same points of the same history.
//!
//! LULD-like: a price farther than 5 % from the mean of the last hour's points pauses trading for five
//! minutes. (The rule's own reference is the mean of five minutes, for which bars of an hour are too
//! coarse; the hour's mean is what they have.) CME-like: the first time a day that the price is 7, 13 or
//! 20 % from the last settlement (21:00 UTC), trading pauses for two minutes, at 20 % until the next
//! settlement.

use std::collections::VecDeque;

use lifeboat_engine::types::DAY_MS;

use super::data::HOUR_MS;
use super::{Halt, Point, Underlying};

const LULD_BAND: f64 = 0.05;
const LULD_PAUSE_MS: u64 = 300_000;
const CME_LIMITS: [f64; 3] = [0.07, 0.13, 0.20];
const CME_PAUSE_MS: u64 = 120_000;
/// Settlement at 21:00 UTC.
const CME_SETTLEMENT_MS: u64 = 21 * HOUR_MS;

/// Both, each for itself.
pub fn both(underlying: &Underlying) -> Vec<Halt> {
    let mut halts = luld(underlying);
    halts.extend(cme(underlying));
    halts.sort_by_key(|halt| halt.at_ms);
    // What stops at once stops once.
    halts.dedup_by_key(|halt| halt.at_ms);
    halts
}

/// Bands around the recent mean.
pub fn luld(underlying: &Underlying) -> Vec<Halt> {
    let mut recent: VecDeque<&Point> = VecDeque::new();
    let mut halts: Vec<Halt> = Vec::new();
    for point in &underlying.points {
        while recent
            .front()
            .is_some_and(|first| point.at_ms - first.at_ms > HOUR_MS)
        {
            recent.pop_front();
        }
        let sum: f64 = recent.iter().map(|point| point.price).sum();
        let mean = sum / recent.len() as f64;
        let off = (point.price / mean - 1.0).abs();
        if !recent.is_empty() && off >= LULD_BAND {
            halts.push(Halt {
                by: "LULD",
                symbol: underlying.symbol,
                at_ms: point.at_ms,
                until_ms: point.at_ms + LULD_PAUSE_MS,
                level: 2,
                why: format!("{:.1} % from the hour's mean", off * 100.0),
            });
            // The reference begins anew with the price that trading reopens at.
            recent.clear();
        }
        recent.push_back(point);
    }
    halts
}

/// Daily limits.
pub fn cme(underlying: &Underlying) -> Vec<Halt> {
    let mut halts: Vec<Halt> = Vec::new();
    let session = |at_ms: u64| (at_ms + DAY_MS - CME_SETTLEMENT_MS) / DAY_MS;
    let (mut day, mut reference, mut reached) = (0, None::<f64>, 0);
    let mut last = 0.0;
    for point in &underlying.points {
        if session(point.at_ms) != day {
            (day, reached) = (session(point.at_ms), 0);
            reference = (last > 0.0).then_some(last);
        }
        last = point.price;
        let Some(reference) = reference else { continue };
        let off = (point.price / reference - 1.0).abs();
        let limit = CME_LIMITS.iter().filter(|limit| off >= **limit).count();
        if limit > reached {
            reached = limit;
            let settlement = (day * DAY_MS + CME_SETTLEMENT_MS).max(point.at_ms);
            halts.push(Halt {
                by: "CME",
                symbol: underlying.symbol,
                at_ms: point.at_ms,
                until_ms: if limit == CME_LIMITS.len() {
                    settlement
                } else {
                    point.at_ms + CME_PAUSE_MS
                },
                level: if limit == CME_LIMITS.len() { 3 } else { 2 },
                why: format!("{:.1} % from the settlement", off * 100.0),
            });
        }
    }
    halts
}

#[cfg(test)]
mod tests {
    use super::super::label::Labels;
    use super::*;

    fn history(prices: &[f64]) -> Underlying {
        let points = prices.iter().enumerate().map(|(at, price)| Point {
            at_ms: 1_735_689_600_000 + at as u64 * HOUR_MS / 4,
            price: *price,
            volatility: 0.5,
        });
        Underlying {
            symbol: "BTC",
            bars: Vec::new(),
            points: points.collect(),
            labels: Labels::none(),
        }
    }

    #[test]
    fn a_band_around_the_mean_trips_at_five_percent() {
        assert!(luld(&history(&[100.0, 101.0, 104.0, 100.0])).is_empty());
        let halts = luld(&history(&[100.0, 100.0, 94.0, 93.0]));
        assert_eq!(halts.len(), 1, "the reference begins anew: {halts:?}");
    }

    #[test]
    fn each_daily_limit_stops_once() {
        let mut prices = vec![100.0; 4 * 22];
        prices.extend([92.0, 91.0, 99.0, 86.0, 79.0, 78.0]);
        let levels: Vec<u8> = cme(&history(&prices))
            .iter()
            .map(|halt| halt.level)
            .collect();
        assert_eq!(levels, [2, 2, 3]);
    }
}

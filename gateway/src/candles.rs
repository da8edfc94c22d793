//! One-minute candles of an instrument, and coarser ones made from them.
//!
//! Only minutes with trades are kept; a minute without them is filled with the last close on
//! reading, as Deribit does.

use std::collections::VecDeque;

use lifeboat_engine::types::{Price, Qty, TimeMs};

/// Minutes with trades that are kept.
const MINUTES_MAX: usize = 5_000;
/// Candles in one answer.
pub const ANSWER_MAX: usize = 5_000;
const MINUTE_MS: u64 = 60_000;

/// One candle.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candle {
    /// When it starts.
    pub start: TimeMs,
    /// First price.
    pub open: Price,
    /// Highest price.
    pub high: Price,
    /// Lowest price.
    pub low: Price,
    /// Last price.
    pub close: Price,
    /// Coin traded.
    pub volume: Qty,
    /// USDC traded.
    pub cost: f64,
}

impl Candle {
    fn flat(start: u64, price: Price) -> Self {
        Self {
            start: TimeMs::new(start),
            open: price,
            high: price,
            low: price,
            close: price,
            volume: Qty::ZERO,
            cost: 0.0,
        }
    }

    fn absorb(&mut self, other: &Self) {
        self.high = self.high.max(other.high);
        self.low = self.low.min(other.low);
        self.close = other.close;
        let volume = self.volume.get().saturating_add(other.volume.get());
        self.volume = Qty::new(volume);
        self.cost += other.cost;
    }
}

/// Minutes in a candle of a resolution (`1`, `60`, `1D`).
pub fn resolution_minutes(resolution: &str) -> Option<u64> {
    match resolution {
        "1D" => Some(1_440),
        "1" | "3" | "5" | "10" | "15" | "30" | "60" | "120" | "180" | "360" | "720" => {
            resolution.parse().ok()
        }
        _ => None,
    }
}

/// The candles of one instrument.
#[derive(Clone, Debug, Default)]
pub struct Candles(VecDeque<Candle>);

impl Candles {
    /// Takes in a trade. Time never runs backwards.
    pub fn trade(&mut self, time: TimeMs, price: Price, qty: Qty) {
        let start = time.get() - time.get() % MINUTE_MS;
        let mut fresh = Candle::flat(start, price);
        fresh.volume = qty;
        fresh.cost = price.get() as f64 * 1e-6 * (qty.get() as f64 * 1e-8);
        match self.0.back_mut() {
            Some(last) if last.start.get() >= start => last.absorb(&fresh),
            _ => self.0.push_back(fresh),
        }
        if self.0.len() > MINUTES_MAX {
            self.0.pop_front();
        }
    }

    /// The minutes with trades from `from` on.
    pub fn since(&self, from: TimeMs) -> impl Iterator<Item = &Candle> {
        let first = self.0.partition_point(|candle| candle.start < from);
        self.0.range(first..)
    }

    /// The candle of `minutes` that holds the last trade.
    pub fn last(&self, minutes: u64) -> Option<Candle> {
        let span = minutes * MINUTE_MS;
        let last = self.0.back()?.start.get();
        let start = last - last % span;
        self.range(start, last, minutes).pop()
    }

    /// Candles of `minutes` that start within `from..=to`, gaps filled with the last close. Starts
    /// with the first trade known before the end of the range.
    pub fn range(&self, from: u64, to: u64, minutes: u64) -> Vec<Candle> {
        let span = minutes.max(1) * MINUTE_MS;
        let (first, last) = (from.next_multiple_of(span), to - to % span);
        let mut out: Vec<Candle> = Vec::new();
        let mut close = None;
        for minute in &self.0 {
            let start = minute.start.get() - minute.start.get() % span;
            if start > last {
                break;
            }
            if start >= first {
                fill(&mut out, close, first, start, span);
                match out.last_mut() {
                    Some(candle) if candle.start.get() == start => candle.absorb(minute),
                    _ => out.push(Candle {
                        start: TimeMs::new(start),
                        ..*minute
                    }),
                }
            }
            close = Some(minute.close);
        }
        fill(&mut out, close, first, last.saturating_add(span), span);
        out.drain(..out.len().saturating_sub(ANSWER_MAX));
        out
    }
}

/// Appends flat candles up to, not including, `until`.
fn fill(out: &mut Vec<Candle>, close: Option<Price>, first: u64, until: u64, span: u64) {
    let Some(close) = close else { return };
    let mut next = out
        .last()
        .map_or(first, |candle| candle.start.get().saturating_add(span));
    let bound = until.saturating_sub(span.saturating_mul(ANSWER_MAX as u64));
    next = next.max(bound);
    while next < until {
        out.push(Candle::flat(next, close));
        next = next.saturating_add(span);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: u64) -> TimeMs {
        TimeMs::new(minute * MINUTE_MS + 5)
    }

    fn candles() -> Candles {
        let mut candles = Candles::default();
        for (minute, price) in [(10, 5), (10, 9), (10, 3), (10, 4), (13, 7)] {
            candles.trade(
                at(minute),
                Price::new(price * 1_000_000),
                Qty::new(100_000_000),
            );
        }
        candles
    }

    fn shape(candles: &[Candle]) -> Vec<(u64, i64, i64, i64, i64, i64)> {
        candles
            .iter()
            .map(|c| {
                let of = |price: Price| price.get() / 1_000_000;
                let start = c.start.get() / MINUTE_MS;
                (
                    start,
                    of(c.open),
                    of(c.high),
                    of(c.low),
                    of(c.close),
                    c.volume.get() / 100_000_000,
                )
            })
            .collect()
    }

    #[test]
    fn gaps_are_filled_with_the_last_close() {
        let out = candles().range(9 * MINUTE_MS, 14 * MINUTE_MS, 1);
        let expected = [
            (10, 5, 9, 3, 4, 4),
            (11, 4, 4, 4, 4, 0),
            (12, 4, 4, 4, 4, 0),
            (13, 7, 7, 7, 7, 1),
            (14, 7, 7, 7, 7, 0),
        ];
        assert_eq!(shape(&out), expected);
    }

    #[test]
    fn coarser_candles_are_made_of_minutes() {
        let out = candles().range(0, 14 * MINUTE_MS, 5);
        assert_eq!(shape(&out), [(10, 5, 9, 3, 7, 5)]);
        assert_eq!(
            shape(&[candles().last(15).expect("a candle")]),
            [(0, 5, 9, 3, 7, 5)]
        );
    }

    #[test]
    fn a_range_after_the_last_trade_is_flat_and_bounded() {
        let out = candles().range(20 * MINUTE_MS, 22 * MINUTE_MS, 1);
        assert_eq!(shape(&out).len(), 3);
        let huge = candles().range(0, u64::MAX / 2, 1);
        assert_eq!(huge.len(), ANSWER_MAX);
        assert!(Candles::default().range(0, 10 * MINUTE_MS, 1).is_empty());
    }
}

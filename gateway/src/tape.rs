//! What was traded in an instrument: the last trades, candles and 24-hour figures.

use std::collections::VecDeque;

use lifeboat_engine::types::{DAY_MS, InstrumentId, Price, Qty, Side, TimeMs};

use crate::candles::Candles;

/// Trades kept for each instrument.
const TRADES_MAX: usize = 1_000;

/// One trade as the public sees it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PublicTrade {
    /// Venue-wide number.
    pub trade: u64,
    /// Number within the instrument, gap-free while this gateway runs.
    pub seq: u64,
    /// When.
    pub time: TimeMs,
    /// Where.
    pub instrument: InstrumentId,
    /// At which price.
    pub price: Price,
    /// How much.
    pub qty: Qty,
    /// The aggressor's side.
    pub side: Side,
    /// 0 plus, 1 zero-plus, 2 minus, 3 zero-minus.
    pub tick_direction: u8,
    /// The mark then, when there was one.
    pub mark: Option<Price>,
    /// Its implied volatility, 0.55 for 55 %.
    pub iv: Option<f64>,
    /// The index then.
    pub index: Option<Price>,
}

/// Figures of the last 24 hours.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stats {
    /// Coin traded.
    pub volume: Qty,
    /// USDC traded.
    pub cost: f64,
    /// Highest price.
    pub high: Option<Price>,
    /// Lowest price.
    pub low: Option<Price>,
    /// Change from the first to the last price, in percent.
    pub change_percent: Option<f64>,
}

/// An instrument's tape.
#[derive(Clone, Debug, Default)]
pub struct Tape {
    trades: VecDeque<PublicTrade>,
    candles: Candles,
    seq: u64,
}

impl Tape {
    /// Takes in a trade; numbers it and gives its tick direction.
    pub fn push(&mut self, mut trade: PublicTrade) -> PublicTrade {
        self.seq += 1;
        trade.seq = self.seq;
        trade.tick_direction = self.trades.back().map_or(0, |last| {
            let rising = last.tick_direction < 2;
            match trade.price.cmp(&last.price) {
                std::cmp::Ordering::Greater => 0,
                std::cmp::Ordering::Less => 2,
                std::cmp::Ordering::Equal if rising => 1,
                std::cmp::Ordering::Equal => 3,
            }
        });
        self.candles.trade(trade.time, trade.price, trade.qty);
        self.trades.push_back(trade);
        if self.trades.len() > TRADES_MAX {
            self.trades.pop_front();
        }
        trade
    }

    /// The trades kept, oldest first.
    pub const fn trades(&self) -> &VecDeque<PublicTrade> {
        &self.trades
    }

    /// The last price.
    pub fn last_price(&self) -> Option<Price> {
        self.trades.back().map(|trade| trade.price)
    }

    /// The candles.
    pub const fn candles(&self) -> &Candles {
        &self.candles
    }

    /// Figures of the 24 hours before `now`.
    pub fn stats(&self, now: TimeMs) -> Stats {
        let from = TimeMs::new(now.get().saturating_sub(DAY_MS));
        let mut stats = Stats::default();
        let (mut open, mut close) = (None, None);
        for candle in self.candles.since(from) {
            stats.volume = Qty::new(stats.volume.get().saturating_add(candle.volume.get()));
            stats.cost += candle.cost;
            stats.high = stats.high.max(Some(candle.high));
            stats.low = Some(stats.low.map_or(candle.low, |low| low.min(candle.low)));
            open = open.or(Some(candle.open));
            close = Some(candle.close);
        }
        stats.change_percent = open.zip(close).map(|(open, close)| {
            100.0 * (close.get() - open.get()) as f64 / open.get().max(1) as f64
        });
        stats
    }
}

/// Hourly closes of an index, for realised volatility.
#[derive(Clone, Debug, Default)]
pub struct IndexHistory {
    hours: VecDeque<(u64, Price)>,
}

impl IndexHistory {
    const HOUR_MS: u64 = 3_600_000;
    /// Fifteen days, as Deribit answers.
    const HOURS_MAX: usize = 15 * 24 + 24;

    /// Takes in an index price.
    pub fn push(&mut self, time: TimeMs, price: Price) {
        let hour = time.get() - time.get() % Self::HOUR_MS;
        match self.hours.back_mut() {
            Some(last) if last.0 >= hour => last.1 = price,
            _ => self.hours.push_back((hour, price)),
        }
        if self.hours.len() > Self::HOURS_MAX {
            self.hours.pop_front();
        }
    }

    /// The last price.
    pub fn last(&self) -> Option<Price> {
        self.hours.back().map(|hour| hour.1)
    }

    /// Hour and annualised volatility, in percent, of hourly returns over the day before it.
    pub fn realised(&self) -> Vec<(u64, f64)> {
        let returns: Vec<(u64, f64)> = self
            .hours
            .iter()
            .zip(self.hours.iter().skip(1))
            .map(|(a, b)| (b.0, (b.1.get() as f64 / a.1.get().max(1) as f64).ln()))
            .collect();
        (2..=returns.len())
            .filter_map(|end| {
                let window = returns.get(end.saturating_sub(24)..end)?;
                let mean = window.iter().map(|r| r.1).sum::<f64>() / window.len() as f64;
                let squares = window.iter().map(|r| (r.1 - mean).powi(2)).sum::<f64>();
                let variance = squares / (window.len() - 1) as f64;
                Some((window.last()?.0, 100.0 * (variance * 24.0 * 365.0).sqrt()))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trade(time: u64, price: i64) -> PublicTrade {
        PublicTrade {
            trade: 1,
            seq: 0,
            time: TimeMs::new(time),
            instrument: InstrumentId::new(0),
            price: Price::new(price * 1_000_000),
            qty: Qty::new(50_000_000),
            side: Side::Buy,
            tick_direction: 0,
            mark: None,
            iv: None,
            index: None,
        }
    }

    #[test]
    fn ticks_and_numbers_follow_the_tape() {
        let mut tape = Tape::default();
        let ticks: Vec<(u64, u8)> = [5, 6, 6, 4, 4, 7]
            .iter()
            .map(|&price| tape.push(trade(0, price)))
            .map(|trade| (trade.seq, trade.tick_direction))
            .collect();
        assert_eq!(ticks, [(1, 0), (2, 0), (3, 1), (4, 2), (5, 3), (6, 0)]);
    }

    #[test]
    fn stats_forget_what_is_older_than_a_day() {
        let mut tape = Tape::default();
        tape.push(trade(0, 100));
        tape.push(trade(DAY_MS, 50));
        tape.push(trade(DAY_MS + 60_000, 75));
        let stats = tape.stats(TimeMs::new(DAY_MS + 120_000));
        assert_eq!(stats.volume, Qty::new(100_000_000));
        assert_eq!(stats.high, Some(Price::new(75_000_000)));
        assert_eq!(stats.low, Some(Price::new(50_000_000)));
        assert_eq!(stats.change_percent, Some(50.0));
        assert!((stats.cost - 62.5).abs() < 1e-9);
    }

    #[test]
    fn the_tape_is_bounded() {
        let mut tape = Tape::default();
        for n in 0..3_000 {
            tape.push(trade(n * 60_000, 5));
        }
        assert_eq!(tape.trades().len(), TRADES_MAX);
        assert_eq!(tape.trades().back().map(|t| t.seq), Some(3_000));
    }

    #[test]
    fn realised_volatility_of_a_known_path() {
        let mut history = IndexHistory::default();
        for hour in 0..30u64 {
            let price = if hour % 2 == 0 {
                100_000_000
            } else {
                101_000_000
            };
            history.push(TimeMs::new(hour * 3_600_000 + 1), Price::new(price));
        }
        let (time, vol) = *history.realised().last().expect("a value");
        assert_eq!(time, 29 * 3_600_000);
        // Returns alternate between ±ln 1.01; their sample deviation over 24 is ln 1.01·√(24/23).
        let expected = 100.0 * 1.01f64.ln() * (24.0 / 23.0 * 24.0 * 365.0f64).sqrt();
        assert!((vol - expected).abs() < 1e-6, "{vol} {expected}");
    }
}

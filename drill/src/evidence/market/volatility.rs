//! Volatility indices over a run, before and after the script's first move, and how far quotes moved.

use std::collections::BTreeMap;

use lifeboat_engine::Event;
use lifeboat_engine::types::{AccountId, InstrumentId, Side, TimeMs, UnderlyingId};

use super::Named;

/// Low and high, in points.
#[derive(Clone, Copy, Debug)]
struct Range {
    low: f64,
    high: f64,
}

impl Range {
    const NONE: Self = Self {
        low: f64::MAX,
        high: 0.0,
    };

    const fn take(&mut self, points: f64) {
        self.low = self.low.min(points);
        self.high = self.high.max(points);
    }
}

/// Whose quote of which side of what.
type Place = (AccountId, InstrumentId, bool);

/// The indices' ranges. See the module's head.
#[derive(Clone, Debug, Default)]
pub struct Volatility {
    began: TimeMs,
    moved: TimeMs,
    /// By underlying: from the plan's beginning to the first move, and from that on.
    ranges: BTreeMap<UnderlyingId, [Option<Range>; 2]>,
    quotes: BTreeMap<Place, i64>,
    quote_times: f64,
}

impl Volatility {
    /// Of a plan that began at `began` and whose script moves something at `moved` for the first time.
    pub fn new(began: TimeMs, moved: TimeMs) -> Self {
        Self {
            began,
            moved,
            ..Self::default()
        }
    }

    /// Takes an event of a block at `now` in.
    pub fn see(&mut self, event: &Event, now: TimeMs) {
        if now < self.began {
            return;
        }
        match event {
            Event::VolatilityIndexUpdated {
                underlying, ppm, ..
            } => {
                let ranges = self.ranges.entry(*underlying).or_default();
                let range = &mut ranges[usize::from(now >= self.moved)];
                let range = range.get_or_insert(Range::NONE);
                range.take(f64::from(*ppm) / 1e4);
            }
            Event::QuotePlaced {
                account,
                instrument,
                side,
                price,
                ..
            } => {
                let place = (*account, *instrument, *side == Side::Buy);
                let last = self.quotes.insert(place, price.get());
                // Under a hundred ticks a step is a large part of a price.
                let last = last.filter(|last| *last >= 100_000_000 && now >= self.moved);
                if let Some(last) = last {
                    let times = price.get() as f64 / last as f64;
                    self.quote_times = self.quote_times.max(times);
                }
            }
            _ => {}
        }
    }

    /// The figures, by the number of the underlying.
    pub fn named(&self) -> Named {
        let mut named: Named = Vec::new();
        for (underlying, [before, after]) in &self.ranges {
            let both = before.iter().chain(after);
            let (low, high) = both.fold((f64::MAX, 0.0), |(low, high): (f64, f64), one| {
                (low.min(one.low), high.max(one.high))
            });
            let of = underlying.get();
            named.push((format!("volatility_index_{of}_low"), low));
            named.push((format!("volatility_index_{of}_high"), high));
            if let (Some(before), Some(after)) = (before, after) {
                let moved = (after.high - before.high).max(before.low - after.low);
                named.push((format!("volatility_index_{of}_moved"), moved.max(0.0)));
            }
        }
        named.push(("quote_times_most".to_owned(), self.quote_times));
        named
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_moved_by_what_it_left_its_range_of_before() {
        let mut figures = Volatility::new(TimeMs::new(100), TimeMs::new(200));
        for (at, ppm) in [
            (50, 900_000),
            (100, 450_000),
            (150, 452_000),
            (210, 440_000),
        ] {
            let event = Event::VolatilityIndexUpdated {
                underlying: UnderlyingId::new(0),
                ppm,
                strikes_near: 9,
                strikes_next: 9,
            };
            figures.see(&event, TimeMs::new(at));
        }
        let named: BTreeMap<String, f64> = figures.named().into_iter().collect();
        assert_eq!(named["volatility_index_0_low"], 44.0);
        assert_eq!(named["volatility_index_0_high"], 45.2);
        assert_eq!(named["volatility_index_0_moved"], 1.0);
    }
}

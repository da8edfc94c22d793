//! Volatility indices over a run, before and after the script's first move, and how far quotes moved that
//! they are made of.

use std::collections::{BTreeMap, BTreeSet};

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

/// What a volatility index looks ahead: it is made of the last expiry within it and the first beyond.
const AHEAD_MS: u64 = 30 * 86_400_000;

/// Whose quote of which side of what.
type Place = (AccountId, InstrumentId, bool);

/// The indices' ranges. See the module's head.
#[derive(Clone, Debug, Default)]
pub struct Volatility {
    began: TimeMs,
    moved: TimeMs,
    /// By underlying: from the plan's beginning to the first move, and from that on.
    ranges: BTreeMap<UnderlyingId, [Option<Range>; 2]>,
    expiries: BTreeMap<InstrumentId, (UnderlyingId, TimeMs)>,
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
        if let Event::InstrumentListed { instrument, terms } = event {
            let place = (terms.underlying, terms.expiry);
            self.expiries.insert(*instrument, place);
        }
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
                let times = last.map_or(0.0, |last| price.get() as f64 / last as f64);
                if times > self.quote_times && self.counts(*instrument, now) {
                    self.quote_times = times;
                }
            }
            _ => {}
        }
    }

    /// Whether an option is of an expiry that its volatility index is made of now.
    fn counts(&self, instrument: InstrumentId, now: TimeMs) -> bool {
        let Some((underlying, expiry)) = self.expiries.get(&instrument) else {
            return false;
        };
        let of = self.expiries.values().filter(|(of, _)| of == underlying);
        let all: BTreeSet<TimeMs> = of.map(|(_, expiry)| *expiry).collect();
        let ahead = now.plus_ms(AHEAD_MS);
        let near = all.range(..=ahead).next_back();
        let next = all.range(ahead.plus_ms(1)..).next();
        near.into_iter().chain(next).any(|one| one == expiry)
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
    use lifeboat_engine::command::OptionTerms;
    use lifeboat_engine::types::{OptionKind, OrderId, Price, Qty};

    #[test]
    fn quotes_count_that_the_index_is_made_of() {
        let mut figures = Volatility::new(TimeMs::new(0), TimeMs::new(10));
        let day = 86_400_000;
        for (id, days) in [(1, 3), (2, 29), (3, 31), (4, 60)] {
            let terms = OptionTerms {
                underlying: UnderlyingId::new(0),
                expiry: TimeMs::new(days * day),
                strike: Price::new(1),
                kind: OptionKind::Put,
            };
            let instrument = InstrumentId::new(id);
            figures.see(
                &Event::InstrumentListed { instrument, terms },
                TimeMs::new(0),
            );
        }
        let mut quote = |id: u32, usdc: i64, at: u64| {
            let event = Event::QuotePlaced {
                account: AccountId::new(1),
                order: OrderId::default(),
                instrument: InstrumentId::new(id),
                side: Side::Buy,
                price: Price::new(usdc * 1_000_000),
                qty: Qty::new(1),
            };
            figures.see(&event, TimeMs::new(at));
            figures.quote_times
        };
        for id in 1..=4 {
            quote(id, 200, 5);
        }
        assert_eq!(quote(1, 2_000, 20), 0.0);
        assert_eq!(quote(4, 2_000, 20), 0.0);
        assert_eq!(quote(2, 500, 20), 2.5);
        assert_eq!(quote(3, 800, 20), 4.0);
    }

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

//! Mark ticks: index, settlement samples, surfaces, marks, margin rows.

use alloc::vec::Vec;

use super::Engine;
use crate::event::Event;
use crate::pricing::mark;
use crate::types::{InstrumentId, Price, TimeMs, UnderlyingId};

impl Engine {
    /// Ticks every underlying that has something new, at most once an interval.
    pub(super) fn tick_markets(&mut self, events: &mut Vec<Event>) {
        let interval = self.parameters.index.tick_interval_ms;
        for at in 0..self.parameters.underlyings.len() {
            let underlying = UnderlyingId::new(u8::try_from(at).unwrap_or(u8::MAX));
            let due = self.feed(underlying).is_some_and(|feed| {
                self.time.since(feed.ticked_at) >= interval && feed.has_observations()
            });
            if due {
                self.tick_underlying(underlying, events);
            }
        }
    }

    fn tick_underlying(&mut self, underlying: UnderlyingId, events: &mut Vec<Event>) {
        let at = usize::from(underlying.get());
        let (now, quorum) = (self.time, self.quorum());
        let Some(weights) = self
            .parameters
            .underlyings
            .get(at)
            .map(|u| &u.source_weights)
        else {
            return;
        };
        let Some(feed) = self.feeds.get_mut(at) else {
            return;
        };
        let was_live = feed.live;
        let Some(index) = feed.tick(weights, &self.parameters.index, quorum, now) else {
            if was_live {
                let sources = feed.thinnest(&self.parameters.index, now);
                events.push(Event::IndexLost {
                    underlying,
                    sources,
                });
            }
            return;
        };
        let (price, sources) = (index.price, index.sources);
        events.push(Event::IndexUpdated {
            underlying,
            price,
            sources,
        });
        self.take_samples(underlying, price);
        let instruments = self.update_marks(underlying);
        self.update_margin_rows(underlying);
        events.push(Event::MarksUpdated {
            underlying,
            instruments,
        });
    }

    fn take_samples(&mut self, underlying: UnderlyingId, index: Price) {
        let parameters = self.parameters.settlement;
        let horizon = self.time.plus_ms(parameters.window_ms);
        let expiries: Vec<TimeMs> = self
            .instruments
            .expiries(underlying)
            .map(|(e, _)| e)
            .take_while(|e| *e <= horizon)
            .collect();
        for expiry in expiries {
            let samples = self.samples.entry((underlying, expiry)).or_default();
            samples.sample(index, expiry, self.time, &parameters);
        }
    }

    /// Marks every live option. Returns how many were marked.
    pub(super) fn update_marks(&mut self, underlying: UnderlyingId) -> u32 {
        let live: Vec<(TimeMs, Vec<InstrumentId>)> = self
            .instruments
            .expiries(underlying)
            .filter(|(expiry, _)| *expiry > self.time)
            .map(|(expiry, ids)| (expiry, ids.to_vec()))
            .collect();
        let parameters = self
            .parameters
            .underlyings
            .get(usize::from(underlying.get()));
        let volatility_ppm = parameters.map_or(0, |u| u.initial_volatility_ppm);
        let mut marked = 0u32;
        for (expiry, ids) in live {
            let Some(forward) = self.forward(underlying, expiry) else {
                continue;
            };
            for id in &ids {
                marked =
                    marked.saturating_add(u32::from(self.mark_one(*id, volatility_ppm, forward)));
            }
        }
        marked
    }

    fn mark_one(&mut self, id: InstrumentId, volatility_ppm: u32, forward: Price) -> bool {
        let (now, rate) = (self.time, self.parameters.index.rate_ppb);
        let Some(instrument) = self.instruments.get_mut(id) else {
            return false;
        };
        let terms = instrument.terms;
        instrument.mark = Some(mark(
            forward,
            &terms,
            terms.expiry.since(now),
            volatility_ppm,
            rate,
        ));
        true
    }
}

//! Mark ticks: index, settlement samples, surfaces, marks, margin rows.

use alloc::vec::Vec;

use super::Engine;
use crate::event::Event;
use crate::modes::Activity;
use crate::pricing::discount_ppb;
use crate::pricing::{EarlierExpiry, ExpiryView, Mark, Quote, Surface, SurfaceParameters};
use crate::settlement::STABLE;
use crate::types::{InstrumentId, Price, Side, TimeMs, UnderlyingId};

impl Engine {
    /// Ticks every feed that has something new, at most once an interval.
    pub(super) fn tick_markets(&mut self, events: &mut Vec<Event>) {
        if self.is_due(STABLE) {
            self.tick_stable(events);
        }
        for at in 0..self.parameters.underlyings.len() {
            let underlying = UnderlyingId::new(u8::try_from(at).unwrap_or(u8::MAX));
            if self.is_due(underlying) {
                self.tick_underlying(underlying, events);
                self.watch_underlying(underlying, events);
            }
        }
    }

    fn is_due(&self, feed: UnderlyingId) -> bool {
        let interval = self.parameters.index.tick_interval_ms;
        self.feed(feed).is_some_and(|feed| {
            self.time.since(feed.ticked_at) >= interval && feed.has_observations()
        })
    }

    fn tick_underlying(&mut self, underlying: UnderlyingId, events: &mut Vec<Event>) {
        let Some(index) = self.tick_feed(underlying, events) else {
            return;
        };
        let (price, sources) = (index.price, index.sources);
        events.push(Event::IndexUpdated {
            underlying,
            price,
            sources,
        });
        self.watch_agreement(underlying, events);
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

    /// Moves every surface towards the books' mids, where the books are open, and marks every live
    /// option. Returns how many were marked.
    pub(super) fn update_marks(&mut self, underlying: UnderlyingId) -> u32 {
        let live: Vec<(TimeMs, Vec<InstrumentId>)> = self
            .instruments
            .expiries(underlying)
            .filter(|(expiry, _)| *expiry > self.time)
            .map(|(expiry, ids)| (expiry, ids.to_vec()))
            .collect();
        let mut marked = 0u32;
        let mut earlier: Option<(Surface, u64)> = None;
        for (expiry, ids) in live {
            let Some(forward) = self.forward(underlying, expiry) else {
                continue;
            };
            let view = self.expiry_view(expiry, forward);
            let surface = self.moved_surface(underlying, expiry, &ids, &view, earlier.as_ref());
            for id in &ids {
                marked = marked.saturating_add(u32::from(self.mark_one(*id, &surface, &view)));
            }
            self.surfaces.insert((underlying, expiry), surface.clone());
            earlier = Some((surface, view.time_left_ms));
        }
        marked
    }

    pub(super) fn expiry_view(&self, expiry: TimeMs, forward: Price) -> ExpiryView {
        let time_left_ms = expiry.since(self.time);
        let discount_ppb = discount_ppb(self.parameters.index.rate_ppb, time_left_ms);
        ExpiryView {
            forward,
            time_left_ms,
            discount_ppb,
        }
    }

    fn moved_surface(
        &self,
        underlying: UnderlyingId,
        expiry: TimeMs,
        ids: &[InstrumentId],
        view: &ExpiryView,
        earlier: Option<&(Surface, u64)>,
    ) -> Surface {
        let last = self.surfaces.get(&(underlying, expiry));
        let initial = self
            .parameters
            .underlyings
            .get(usize::from(underlying.get()));
        let flat = || Surface::flat(initial.map_or(500_000, |u| u.initial_volatility_ppm));
        if self.permit_on(underlying, Activity::Take).is_err() {
            return last.cloned().unwrap_or_else(flat);
        }
        let quote = |id: &InstrumentId| {
            let terms = self.instruments.get(*id)?.terms;
            let (bid, ask) = (self.best(*id, Side::Buy), self.best(*id, Side::Sell));
            Some(Quote {
                strike: terms.strike,
                kind: terms.kind,
                bid,
                ask,
            })
        };
        let quotes: Vec<Quote> = ids.iter().filter_map(quote).collect();
        let earlier = earlier.map(|(surface, time_left_ms)| EarlierExpiry {
            surface,
            time_left_ms: *time_left_ms,
        });
        let parameters = SurfaceParameters {
            move_ppm_max: self.parameters.index.volatility_move_ppm_max,
            ..SurfaceParameters::DEFAULT
        };
        Surface::updated(&quotes, view, last, earlier, &parameters).unwrap_or_else(flat)
    }

    fn mark_one(&mut self, id: InstrumentId, surface: &Surface, view: &ExpiryView) -> bool {
        let Some(instrument) = self.instruments.get_mut(id) else {
            return false;
        };
        let terms = instrument.terms;
        let volatility_ppm = surface.volatility_ppm(terms.strike, view.forward);
        if let Some(mark) = Mark::new(terms.kind, terms.strike, view, volatility_ppm) {
            instrument.mark = Some(mark);
        }
        instrument.mark.is_some()
    }
}

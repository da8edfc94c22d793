//! Settlement prices beside the mean that the rule asks for, taken anew from the index as the stream has
//! it.

use std::collections::{BTreeMap, BTreeSet};

use lifeboat_engine::params::SettlementParameters;
use lifeboat_engine::types::{TimeMs, UnderlyingId};
use lifeboat_engine::{Engine, Event};

use super::Named;

/// Samples of one expiry.
#[derive(Clone, Debug, Default)]
struct Window {
    sum: f64,
    count: u64,
    last_at: Option<TimeMs>,
    deferred: bool,
}

/// Settlements. See the module's head.
#[derive(Clone, Debug, Default)]
pub struct Settlements {
    listed: BTreeSet<(UnderlyingId, TimeMs)>,
    windows: BTreeMap<(UnderlyingId, TimeMs), Window>,
    deferred_ms: u64,
    waited_out: u64,
    samples: Option<u32>,
    off_ppm: f64,
}

impl Window {
    /// Whether it takes a sample now: in the window, or after it while the settlement waits; one at a
    /// time.
    fn takes(&self, expiry: TimeMs, now: TimeMs, rules: &SettlementParameters) -> bool {
        let opened = now.plus_ms(rules.window_ms) >= expiry;
        let due = self
            .last_at
            .is_none_or(|last| now.since(last) >= rules.sample_interval_ms);
        let full = rules.window_ms / rules.sample_interval_ms.max(1);
        opened && due && self.count < full && (now < expiry || self.deferred)
    }
}

impl Settlements {
    /// Takes in a block's events: first what its time settles, then the samples of the indices that are
    /// new in it.
    pub fn block(&mut self, events: &[Event], engine: &Engine) {
        let rules = &engine.parameters().settlement;
        for event in events {
            match event {
                Event::InstrumentListed { terms, .. } => {
                    self.listed.insert((terms.underlying, terms.expiry));
                }
                Event::IndexUpdated {
                    underlying, price, ..
                } => self.sample(*underlying, price.get() as f64, engine.time(), rules),
                Event::SettlementDeferred {
                    underlying, expiry, ..
                } => {
                    let place = (*underlying, *expiry);
                    self.windows.entry(place).or_default().deferred = true;
                }
                Event::ExpirySettled {
                    underlying,
                    expiry,
                    price,
                    samples,
                    deferred_ms,
                    waited_out,
                    ..
                } => {
                    let window = self.windows.remove(&(*underlying, *expiry));
                    self.listed.remove(&(*underlying, *expiry));
                    let window = window.unwrap_or_default();
                    let mean = window.sum / (window.count.max(1)) as f64;
                    let off = (price.get() as f64 / mean - 1.0).abs() * 1e6;
                    self.off_ppm = self.off_ppm.max(off);
                    self.deferred_ms = self.deferred_ms.max(*deferred_ms);
                    self.waited_out += u64::from(*waited_out);
                    self.samples = Some(self.samples.unwrap_or(u32::MAX).min(*samples));
                }
                _ => {}
            }
        }
    }

    fn sample(
        &mut self,
        underlying: UnderlyingId,
        price: f64,
        now: TimeMs,
        rules: &SettlementParameters,
    ) {
        let of = self.listed.iter().filter(|(of, _)| *of == underlying);
        for (underlying, expiry) in of {
            let window = self.windows.entry((*underlying, *expiry)).or_default();
            if window.takes(*expiry, now, rules) {
                window.sum += price;
                window.count += 1;
                window.last_at = Some(now);
            }
        }
    }

    /// The figures; those of a settlement only if there was one.
    pub fn named(&self) -> Named {
        let Some(samples) = self.samples else {
            return Vec::new();
        };
        [
            ("settlement_deferred_ms_most", self.deferred_ms as f64),
            ("settlements_waited_out", self.waited_out as f64),
            ("settlement_samples_least", f64::from(samples)),
            ("settlement_off_ppm_most", self.off_ppm),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }
}

//! The live instruments, as a participant learns them from events.

use std::collections::{BTreeMap, BTreeSet};

use lifeboat_engine::Event;
use lifeboat_engine::command::{OptionTerms, OrderPrice, PlaceOrder};
use lifeboat_engine::types::{
    ClientOrderId, InstrumentId, PostOnly, Price, Qty, RecoveryPolicy, SelfTradePrevention, Side,
    TimeInForce, TimeMs, UnderlyingId,
};

/// A live instrument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its id.
    pub id: InstrumentId,
    /// What it is.
    pub terms: OptionTerms,
    /// Its price step.
    pub tick: Price,
    /// Its size step.
    pub lot: Qty,
}

impl Listed {
    /// A price in USDC on the grid of ticks, bids down and asks up; at least one tick, and `None`
    /// for a bid under a tick.
    pub fn on_tick(&self, side: Side, price: f64) -> Option<Price> {
        let ticks = price * 1e6 / self.tick.get() as f64;
        let ticks = match side {
            Side::Buy => (ticks + 1e-9).floor(),
            Side::Sell => (ticks - 1e-9).ceil().max(1.0),
        };
        (1.0..1e9)
            .contains(&ticks)
            .then(|| Price::new(ticks as i64 * self.tick.get()))
    }

    /// A whole number of lots.
    pub const fn lots(&self, lots: u32) -> Qty {
        Qty::new(self.lot.get() * lots as i64)
    }

    /// A plain limit order here that rests until it is cancelled, outages included.
    pub fn order(&self, side: Side, qty: Qty, price: Price) -> PlaceOrder {
        PlaceOrder {
            instrument: self.id,
            side,
            qty,
            price: OrderPrice::Limit(price),
            time_in_force: TimeInForce::GoodTilCancelled,
            post_only: PostOnly::Off,
            reduce_only: false,
            self_trade: SelfTradePrevention::CancelMaker,
            recovery: RecoveryPolicy::Keep,
            protected: false,
            client_id: ClientOrderId::new(0),
            label: Vec::new(),
        }
    }
}

/// All live instruments.
#[derive(Clone, Debug)]
pub struct Instruments {
    steps: Vec<(Price, Qty)>,
    live: BTreeMap<InstrumentId, Listed>,
    /// Listed after the last mark tick of their underlying: orders there would be refused.
    unmarked: BTreeSet<InstrumentId>,
}

impl Instruments {
    /// None yet. `steps` are tick and lot of each underlying, in the order of their ids.
    pub const fn new(steps: Vec<(Price, Qty)>) -> Self {
        Self {
            steps,
            live: BTreeMap::new(),
            unmarked: BTreeSet::new(),
        }
    }

    /// Learns from an event.
    pub fn on_event(&mut self, event: &Event) {
        match event {
            Event::InstrumentListed { instrument, terms } => {
                self.list(*instrument, *terms);
                self.unmarked.insert(*instrument);
            }
            Event::InstrumentSettled { instrument, .. } => {
                self.live.remove(instrument);
                self.unmarked.remove(instrument);
            }
            Event::MarksUpdated { underlying, .. } => self.marked(*underlying),
            _ => {}
        }
    }

    fn marked(&mut self, underlying: UnderlyingId) {
        let of = |id: &InstrumentId| self.live.get(id).map(|listed| listed.terms.underlying);
        self.unmarked.retain(|id| of(id) != Some(underlying));
    }

    /// Those that have a mark and have not expired by `now`, by id.
    pub fn tradable(&self, now: TimeMs) -> impl Iterator<Item = &Listed> {
        let marked = self
            .live
            .values()
            .filter(|listed| !self.unmarked.contains(&listed.id));
        marked.filter(move |listed| listed.terms.expiry > now)
    }

    /// Adds an instrument that is known from elsewhere. One on an unknown underlying is passed over.
    pub fn list(&mut self, id: InstrumentId, terms: OptionTerms) {
        if let Some((tick, lot)) = self.steps.get(usize::from(terms.underlying.get())).copied() {
            self.live.insert(
                id,
                Listed {
                    id,
                    terms,
                    tick,
                    lot,
                },
            );
        }
    }

    /// One instrument.
    pub fn get(&self, id: InstrumentId) -> Option<&Listed> {
        self.live.get(&id)
    }

    /// All of them, by id.
    pub fn iter(&self) -> impl Iterator<Item = &Listed> {
        self.live.values()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.live.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.live.is_empty()
    }

    /// The live expiries of an underlying, ascending.
    pub fn expiries(&self, underlying: UnderlyingId) -> BTreeSet<TimeMs> {
        let of = self
            .iter()
            .filter(|listed| listed.terms.underlying == underlying);
        of.map(|listed| listed.terms.expiry).collect()
    }

    /// The underlyings, by id.
    pub fn underlyings(&self) -> impl Iterator<Item = UnderlyingId> + use<> {
        (0..self.steps.len())
            .filter_map(|id| u8::try_from(id).ok())
            .map(UnderlyingId::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lifeboat_engine::types::OptionKind;

    pub fn listed() -> Listed {
        let terms = OptionTerms {
            underlying: UnderlyingId::new(0),
            expiry: TimeMs::new(1),
            strike: Price::new(1),
            kind: OptionKind::Call,
        };
        let (tick, lot) = (Price::new(100_000), Qty::new(10_000_000));
        Listed {
            id: InstrumentId::new(0),
            terms,
            tick,
            lot,
        }
    }

    #[test]
    fn quotes_never_round_towards_each_other() {
        let on = |side, price| listed().on_tick(side, price).map(Price::get);
        assert_eq!(on(Side::Buy, 12.34), Some(12_300_000));
        assert_eq!(on(Side::Sell, 12.34), Some(12_400_000));
        assert_eq!(on(Side::Buy, 12.3), Some(12_300_000));
        assert_eq!(on(Side::Sell, 12.3), Some(12_300_000));
        assert_eq!(on(Side::Buy, 0.05), None);
        assert_eq!(on(Side::Sell, 0.0), Some(100_000));
        assert_eq!(on(Side::Sell, f64::NAN), Some(100_000));
        assert_eq!(on(Side::Buy, f64::NAN), None);
        assert_eq!(on(Side::Sell, f64::INFINITY), None);
    }
}

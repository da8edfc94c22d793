//! Expiry: instruments stop, wait for their settlement price, and pay.

use alloc::vec::Vec;

use super::Engine;
use crate::event::{CancelReason, Event};
use crate::instrument::{Instrument, InstrumentState};
use crate::ledger::Holdings;
use crate::modes::Activity;
use crate::settlement::{Samples, Settlement};
use crate::types::{AccountId, Cash, InstrumentId, Price, TimeMs, UnderlyingId};

impl Engine {
    pub(super) fn settle_expiries(&mut self, events: &mut Vec<Event>) {
        for at in 0..self.parameters.underlyings.len() {
            let underlying = UnderlyingId::new(u8::try_from(at).unwrap_or(u8::MAX));
            while let Some(expiry) = self.due(underlying) {
                self.stop_expiry(underlying, expiry, events);
                if !self.try_settle(underlying, expiry, events) {
                    break;
                }
            }
        }
    }

    /// The earliest unsettled expiry whose time has come.
    fn due(&self, underlying: UnderlyingId) -> Option<TimeMs> {
        let (expiry, _) = self.instruments.expiries(underlying).next()?;
        (expiry <= self.time).then_some(expiry)
    }

    fn ids(&self, underlying: UnderlyingId, expiry: TimeMs) -> Vec<InstrumentId> {
        let mut all = self.instruments.expiries(underlying);
        all.find(|(at, _)| *at == expiry)
            .map(|(_, ids)| ids.to_vec())
            .unwrap_or_default()
    }

    /// Cancels the orders of instruments that expired and marks them as settling.
    fn stop_expiry(&mut self, underlying: UnderlyingId, expiry: TimeMs, events: &mut Vec<Event>) {
        for id in self.ids(underlying, expiry) {
            let listed = self.instruments.get(id).is_some_and(Instrument::is_listed);
            if !listed {
                continue;
            }
            let mut resting = Vec::new();
            self.books.close(id, &mut |order| resting.push(order));
            for order in &resting {
                self.forget_resting(order, CancelReason::Settlement, events);
            }
            if let Some(instrument) = self.instruments.get_mut(id) {
                instrument.state = InstrumentState::Settling;
            }
        }
    }

    /// True when the expiry settled.
    fn try_settle(
        &mut self,
        underlying: UnderlyingId,
        expiry: TimeMs,
        events: &mut Vec<Event>,
    ) -> bool {
        if self.permit(Activity::Settle).is_err() {
            return false;
        }
        let now = self.time;
        let parameters = self.parameters.settlement;
        let samples = self.samples.entry((underlying, expiry)).or_default();
        match samples.settle(expiry, now, &parameters) {
            Settlement::Deferred { first } => {
                if first {
                    let samples = samples.count();
                    events.push(Event::SettlementDeferred {
                        underlying,
                        expiry,
                        samples,
                    });
                }
                false
            }
            Settlement::At(price) => {
                let (samples, samples_min) = (samples.count(), Samples::least(&parameters));
                events.push(Event::ExpirySettled {
                    underlying,
                    expiry,
                    price,
                    samples,
                    samples_min,
                    deferred_ms: now.since(expiry),
                    waited_out: samples < samples_min,
                });
                self.settle_at(underlying, expiry, price, events);
                true
            }
        }
    }

    fn settle_at(
        &mut self,
        underlying: UnderlyingId,
        expiry: TimeMs,
        price: Price,
        events: &mut Vec<Event>,
    ) {
        let ids = self.ids(underlying, expiry);
        self.pay_positions(&ids, price, events);
        for id in &ids {
            let Some(instrument) = self.instruments.get_mut(*id) else {
                continue;
            };
            instrument.state = InstrumentState::Settled(price);
            instrument.open_interest = 0;
            instrument.mark = None;
            let payoff = instrument.payoff(price);
            self.margin.remove(*id);
            events.push(Event::InstrumentSettled {
                instrument: *id,
                settlement: price,
                payoff,
            });
        }
        self.instruments.retire(underlying, expiry);
        self.samples.remove(&(underlying, expiry));
        self.surfaces.remove(&(underlying, expiry));
        self.update_margin_rows(underlying);
    }

    /// Pays every position of the expiry. Positions sum to zero and both sides use the same payoff
    /// of one lot, so the cash moved sums to zero too (I1, I8).
    fn pay_positions(&mut self, ids: &[InstrumentId], price: Price, events: &mut Vec<Event>) {
        let mut holders = core::mem::take(&mut self.scratch.accounts);
        holders.clear();
        let held = |holdings: &Holdings| ids.iter().any(|id| holdings.get(*id).is_some());
        holders.extend(
            self.ledger
                .iter()
                .filter(|(_, a)| held(&a.holdings))
                .map(|(id, _)| id),
        );
        for account in &holders {
            for id in ids {
                self.pay_position(*account, *id, price, events);
            }
        }
        self.scratch.accounts = holders;
    }

    fn pay_position(
        &mut self,
        account: AccountId,
        id: InstrumentId,
        price: Price,
        events: &mut Vec<Event>,
    ) {
        let Some(instrument) = self.instruments.get(id).copied() else {
            return;
        };
        let payoff = instrument.payoff_per_lot(price).get();
        let Some(entry) = self.ledger.account_mut(account) else {
            return;
        };
        let Some(position) = entry.holding(id).map(|h| h.position) else {
            return;
        };
        entry.holdings.remove(id);
        if position == 0 {
            return;
        }
        let cash = position.saturating_mul(payoff);
        entry.cash = Cash::new(entry.cash.get().saturating_add(cash));
        let qty = position.saturating_mul(instrument.lot.get());
        events.push(Event::PositionSettled {
            account,
            instrument: id,
            position: crate::types::Qty::new(qty),
            cash: Cash::new(cash),
        });
    }
}

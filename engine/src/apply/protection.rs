//! Market-maker protection: what a maker may trade within an interval.

use alloc::vec::Vec;

use super::Engine;
use crate::command::{MarketMakerProtection, QuoteEntry};
use crate::event::{CancelReason, Event};
use crate::instrument::Instrument;
use crate::ledger::ProtectionState;
use crate::modes::Activity;
use crate::orders::flags;
use crate::reject::Reject;
use crate::types::{AccountId, InstrumentId, Lots, Side, UnderlyingId};

impl Engine {
    pub(super) fn set_protection(
        &mut self,
        account: AccountId,
        limits: &MarketMakerProtection,
    ) -> Result<(), Reject> {
        self.permit(Activity::Manage)?;
        if usize::from(limits.underlying.get()) >= self.parameters.underlyings.len() {
            return Err(Reject::UnknownInstrument);
        }
        let now = self.time;
        let entry = self
            .ledger
            .account_mut(account)
            .ok_or(Reject::UnknownAccount)?;
        entry
            .protection
            .retain(|p| p.limits.underlying != limits.underlying);
        if limits.interval_ms != 0 {
            let fresh = ProtectionState {
                limits: *limits,
                interval_start: now,
                ..ProtectionState::default()
            };
            entry.protection.push(fresh);
        }
        Ok(())
    }

    /// Refuses quotes of an underlying whose protection has tripped.
    pub(super) fn check_protection_open(
        &self,
        account: AccountId,
        entries: &[QuoteEntry],
    ) -> Result<(), Reject> {
        let account = self.ledger.account(account).ok_or(Reject::UnknownAccount)?;
        let now = self.time;
        let frozen = |underlying| {
            account
                .protection
                .iter()
                .any(|p| p.limits.underlying == underlying && now < p.frozen_until)
        };
        if account.protection.is_empty() {
            return Ok(());
        }
        let touches = entries
            .iter()
            .filter_map(|e| self.instruments.get(e.instrument))
            .any(|i| frozen(i.terms.underlying));
        if touches {
            Err(Reject::ProtectionFrozen)
        } else {
            Ok(())
        }
    }

    /// Counts a protected fill. What follows from it waits until matching is over.
    pub(super) fn count_protected(
        &mut self,
        maker: AccountId,
        instrument: &Instrument,
        side: Side,
        lots: Lots,
    ) {
        let now = self.time;
        let Some(entry) = self.ledger.account_mut(maker) else {
            return;
        };
        let underlying = instrument.terms.underlying;
        let Some(state) = entry
            .protection
            .iter_mut()
            .find(|p| p.limits.underlying == underlying)
        else {
            return;
        };
        if now.since(state.interval_start) >= u64::from(state.limits.interval_ms) {
            *state = ProtectionState {
                limits: state.limits,
                interval_start: now,
                ..*state
            };
            (state.qty, state.delta, state.vega) = (0, 0, 0);
        }
        let qty = i64::from(lots.get()).saturating_mul(instrument.lot.get());
        let signed = qty.saturating_mul(side.sign());
        let mark = instrument.mark.unwrap_or_default();
        state.qty = state.qty.saturating_add(qty);
        state.delta = state
            .delta
            .saturating_add(scale(signed, mark.delta_ppb, 1_000_000_000));
        state.vega = state
            .vega
            .saturating_add(scale(signed, mark.vega_e6, 100_000_000));
        self.scratch.protected.push(maker);
    }

    /// Pulls the quotes of makers that passed a limit.
    pub(super) fn check_protections(&mut self, book: InstrumentId, events: &mut Vec<Event>) {
        if self.scratch.protected.is_empty() {
            return;
        }
        let Some(underlying) = self.instruments.get(book).map(|i| i.terms.underlying) else {
            return;
        };
        let mut makers = core::mem::take(&mut self.scratch.protected);
        makers.sort_unstable();
        makers.dedup();
        for maker in makers.drain(..) {
            self.trip_if_passed(maker, underlying, events);
        }
        self.scratch.protected = makers;
    }

    fn trip_if_passed(
        &mut self,
        account: AccountId,
        underlying: UnderlyingId,
        events: &mut Vec<Event>,
    ) {
        let now = self.time;
        let Some(entry) = self.ledger.account_mut(account) else {
            return;
        };
        let Some(state) = entry
            .protection
            .iter_mut()
            .find(|p| p.limits.underlying == underlying)
        else {
            return;
        };
        if !passed(state) {
            return;
        }
        state.frozen_until = now.plus_ms(u64::from(state.limits.frozen_ms));
        let frozen_until = state.frozen_until;
        (state.qty, state.delta, state.vega) = (0, 0, 0);
        events.push(Event::ProtectionTripped {
            account,
            underlying,
            frozen_until,
        });
        self.cancel_where(
            account,
            CancelReason::Protection,
            events,
            |engine, order| {
                let same = engine
                    .instruments
                    .get(order.book)
                    .map(|i| i.terms.underlying);
                order.flags & flags::PROTECTED != 0 && same == Some(underlying)
            },
        );
    }
}

fn passed(state: &ProtectionState) -> bool {
    let over = |traded: i64, limit: i64| limit != 0 && traded.saturating_abs() >= limit;
    over(state.qty, state.limits.qty_max.get())
        || over(state.delta, state.limits.delta_max.get())
        || over(state.vega, state.limits.vega_max.get())
}

/// `a · b / scale` towards zero; saturates.
fn scale(a: i64, b: i64, scale: i64) -> i64 {
    let product = i128::from(a).saturating_mul(i128::from(b));
    let scaled = product.checked_div(i128::from(scale)).unwrap_or(0);
    i64::try_from(scaled).unwrap_or(if scaled < 0 { i64::MIN } else { i64::MAX })
}

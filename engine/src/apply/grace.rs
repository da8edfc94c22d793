//! Grace and agreement: what holds a liquidation back beside the age of a price.

use alloc::vec::Vec;

use super::Engine;
use crate::event::{CancelReason, Event, LiquidationBasis};
use crate::modes::Activity;
use crate::orders::flags;
use crate::outage::OutageGate;
use crate::reject::Reject;
use crate::risk::Margin;
use crate::types::{AccountId, Mode, TimeMs, UnderlyingId};

impl Engine {
    /// The mode of an underlying, or of all of them, is now `to`.
    pub(super) fn note_mode(&mut self, of: Option<UnderlyingId>, to: Mode) {
        let (now, grace_ms) = (self.time, self.parameters.liquidation.grace_ms);
        let gates = self.gates.iter_mut().enumerate();
        let of = of.map(|id| usize::from(id.get()));
        for (_, gate) in gates.filter(|(at, _)| of.is_none_or(|of| of == *at)) {
            gate.on_mode(of.is_some(), to, now, grace_ms);
        }
    }

    /// Prices of a gap between blocks are never replayed: what was seen before its end counts nothing,
    /// whenever it arrives.
    pub(super) fn forget_the_gap(&mut self) {
        let now = self.time;
        self.feeds
            .iter_mut()
            .for_each(|feed| feed.forget_before(now));
        self.stable.forget_before(now);
    }

    /// A feed's index was lost: once it is back, its sources have to agree before it liquidates.
    pub(super) fn distrust_lost(&mut self, underlying: UnderlyingId) {
        let live = self.feed(underlying).is_some_and(|feed| feed.live);
        let had = self
            .feed(underlying)
            .is_some_and(|feed| feed.last.is_some());
        if let Some(gate) = self.gates.get_mut(usize::from(underlying.get()))
            && had
            && !live
        {
            gate.distrust();
        }
    }

    /// At a tick: whether the underlying's sources have agreed for long enough to liquidate again.
    pub(super) fn watch_agreement(&mut self, underlying: UnderlyingId, events: &mut Vec<Event>) {
        let at = usize::from(underlying.get());
        if self.gates.get(at).is_none_or(|gate| gate.is_trusted()) {
            return;
        }
        let (agree, now) = (self.sources_agree(underlying), self.time);
        let agreement_ms = self.parameters.modes.agreement_ms;
        let sources = self.feed(underlying).map_or(0, |feed| feed.sources());
        let gate = self.gates.get_mut(at);
        if gate.is_some_and(|gate| gate.look(agree, now, agreement_ms)) {
            events.push(Event::SourcesAgreed {
                underlying,
                sources,
            });
        }
    }

    /// What an account is liquidated by (255 sources where it holds nothing); `None` while an index under what it holds is lost, too old, or
    /// not agreed on since the last outage (I5).
    pub(super) fn liquidation_basis(&self, account: AccountId) -> Option<LiquidationBasis> {
        let age_max = self.parameters.liquidation.index_age_ms_max;
        let mut basis = LiquidationBasis {
            sources: u8::MAX,
            ..LiquidationBasis::default()
        };
        let entry = self.ledger.account(account)?;
        for holding in entry.holdings.iter().filter(|h| h.position != 0) {
            let underlying = self.instruments.get(holding.instrument)?.terms.underlying;
            let feed = self.feed(underlying)?;
            let gate = self.gates.get(usize::from(underlying.get()))?;
            let age_ms = feed.age_ms(self.time);
            if !feed.live || age_ms > age_max || !gate.is_trusted() {
                return None;
            }
            basis.age_ms = basis.age_ms.max(age_ms);
            basis.sources = basis.sources.min(feed.sources());
            basis.grace_until = basis.grace_until.max(gate.grace_until(self.time));
        }
        if basis.sources == u8::MAX {
            // It holds nothing: no price counts, but grace does.
            let ends = self.gates.iter().map(|gate| gate.grace_until(self.time));
            basis.grace_until = ends.max().unwrap_or_default();
        }
        Some(basis)
    }

    /// Whether equity is so far under what maintenance requires that grace does not hold.
    pub(super) fn is_deep(&self, margin: &Margin) -> bool {
        let equity = i128::from(margin.equity.get());
        let required = equity.saturating_sub(i128::from(margin.mm.get()));
        let part = i128::from(self.parameters.liquidation.deep_ppm);
        equity.saturating_mul(1_000_000) < required.saturating_mul(part)
    }

    /// Tells an account once an outage that it has grace, and cancels its orders that could add risk.
    pub(super) fn give_grace(
        &mut self,
        account: AccountId,
        margin: &Margin,
        basis: &LiquidationBasis,
        events: &mut Vec<Event>,
    ) {
        let began = self.outage_of(account);
        let Some(entry) = self.ledger.account(account) else {
            return;
        };
        if entry.grace_of == began {
            return;
        }
        if let Some(entry) = self.ledger.account_mut(account) {
            entry.grace_of = began;
        }
        let forever = basis.grace_until == TimeMs::new(u64::MAX);
        events.push(Event::GraceGiven {
            account,
            maintenance: margin.mm,
            mark_to_market: margin.equity,
            until: (!forever).then_some(basis.grace_until),
        });
        self.cancel_where(account, CancelReason::Liquidation, events, |_, order| {
            order.flags & flags::REDUCE_ONLY == 0
        });
    }

    /// When the last outage of anything that the account holds began; of anything where it holds nothing.
    fn outage_of(&self, account: AccountId) -> TimeMs {
        let began = self.gates_of(account).map(|gate| gate.began_at).max();
        let any = || self.gates.iter().map(|gate| gate.began_at).max();
        began.or_else(any).unwrap_or_default()
    }

    /// Since when the sources of everything that the account holds agree, where they were ever in doubt.
    pub(super) fn agreed_since(&self, account: AccountId) -> TimeMs {
        let since = self.gates_of(account).map(OutageGate::agreed_since);
        since.max().unwrap_or_default()
    }

    /// Whether modes let the account be liquidated: the venue's, and that of every underlying it holds.
    pub(super) fn permit_liquidation(&self, account: AccountId) -> Result<(), Reject> {
        self.permit(Activity::Liquidate)?;
        self.underlyings_of(account)
            .try_for_each(|underlying| self.permit_on(underlying, Activity::Liquidate))
    }

    fn gates_of(&self, account: AccountId) -> impl Iterator<Item = &OutageGate> {
        self.underlyings_of(account)
            .filter_map(|underlying| self.gates.get(usize::from(underlying.get())))
    }

    /// The underlyings of an account's positions, each as often as it has positions on it.
    fn underlyings_of(&self, account: AccountId) -> impl Iterator<Item = UnderlyingId> {
        let held = self.ledger.account(account).into_iter();
        held.flat_map(|entry| entry.holdings.iter().filter(|h| h.position != 0))
            .filter_map(|holding| self.instruments.get(holding.instrument))
            .map(|instrument| instrument.terms.underlying)
    }
}

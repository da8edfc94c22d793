//! The breakers at work: readings in, bands, auctions and halts out, and each underlying's own way back.

use alloc::vec::Vec;

use super::Engine;
use crate::block::AgreedRoot;
use crate::breakers::{Breaker, Circuit, Reading, Trip, Verdict};
use crate::event::{Event, ModeReason};
use crate::modes::{Activity, Trigger, next, permits};
use crate::reject::Reject;
use crate::types::{Mode, TimeMs, UnderlyingId};

impl Engine {
    /// What stands between an underlying and continuous trading.
    pub fn circuit(&self, underlying: UnderlyingId) -> Option<&Circuit> {
        self.circuits.get(usize::from(underlying.get()))
    }

    /// The mode that an underlying is in for whoever trades it: the venue's unless that is OPEN, then its
    /// own.
    #[inline]
    pub fn mode_of(&self, underlying: UnderlyingId) -> Mode {
        match (self.mode.mode, self.circuit(underlying)) {
            (Mode::Open, Some(circuit)) => circuit.mode.mode,
            (venue, _) => venue,
        }
    }

    /// Whether something may be done on an underlying, by [`Engine::mode_of`].
    #[inline]
    pub(super) fn permit_on(
        &self,
        underlying: UnderlyingId,
        activity: Activity,
    ) -> Result<(), Reject> {
        if permits(self.mode_of(underlying), activity) {
            Ok(())
        } else {
            Err(Reject::ModeForbids)
        }
    }

    /// A band of an underlying as it is now: less while its bands are tight.
    #[inline]
    pub(super) fn band_now(&self, underlying: UnderlyingId, ppm: u32) -> u32 {
        let own = self.circuits.get(usize::from(underlying.get()));
        let tight_ppm = self.parameters.breakers.tight_band_ppm;
        own.map_or(ppm, |circuit| circuit.band(ppm, self.time, tight_ppm))
    }

    /// After an underlying's mark tick: publishes its volatility index and asks its breakers.
    pub(super) fn watch_underlying(&mut self, underlying: UnderlyingId, events: &mut Vec<Event>) {
        let at = usize::from(underlying.get());
        let open = self.permit_on(underlying, Activity::Take).is_ok();
        let price = self.feed(underlying).filter(|feed| feed.live);
        let price = price.and_then(|feed| feed.last).map(|index| index.price);
        let book = price
            .filter(|_| open)
            .and_then(|_| self.book_volatility(underlying));
        if let Some(book) = book {
            events.push(Event::VolatilityIndexUpdated {
                underlying,
                ppm: book.index.ppm,
                strikes_near: book.index.strikes.0,
                strikes_next: book.index.strikes.1,
            });
        }
        let reading = Reading {
            at: self.time,
            market: book.map(|book| book.index.ppm).zip(price),
            agreement: self
                .agreement(underlying)
                .filter(|_| self.index_price(underlying).is_some()),
            depth: book.map(|book| book.depth),
        };
        let now = self.time;
        let Some(circuit) = self.circuits.get_mut(at) else {
            return;
        };
        if let Some(book) = book {
            circuit.volatility_ppm = book.index.ppm;
            circuit.volatility_at = now;
        }
        for verdict in circuit.watch.observe(&reading, &self.parameters.breakers) {
            self.take_verdict(Some(underlying), verdict, events);
        }
    }

    /// After mark ticks: the breakers of the whole venue.
    pub(super) fn watch_venue(&mut self, events: &mut Vec<Event>) {
        if !self.margin.ticked() {
            return;
        }
        let imbalance = self.ledger.imbalance();
        let bound = i128::from(i64::MAX);
        let imbalance = i64::try_from(imbalance.clamp(bound.saturating_neg(), bound));
        let (collateral, now) = (self.ledger.collateral, self.time);
        let watch = &mut self.venue_watch;
        let verdicts = [
            watch.judge_conservation(imbalance.unwrap_or(i64::MAX)),
            watch.judge_outflow(collateral, now, &self.parameters.breakers),
        ];
        for verdict in verdicts.into_iter().flatten() {
            self.take_verdict(None, verdict, events);
        }
    }

    fn take_verdict(
        &mut self,
        underlying: Option<UnderlyingId>,
        verdict: Verdict,
        events: &mut Vec<Event>,
    ) {
        match verdict {
            Verdict::Released {
                breaker,
                horizon_ms,
                figure,
            } => events.push(Event::BreakerReleased {
                underlying,
                breaker,
                horizon_ms,
                figure,
            }),
            Verdict::Tripped(trip) => {
                events.push(Event::BreakerTripped { underlying, trip });
                match underlying {
                    Some(underlying) => self.trip(underlying, &trip, events),
                    None => self.trip_venue(&trip, events),
                }
            }
        }
    }

    fn trip(&mut self, underlying: UnderlyingId, trip: &Trip, events: &mut Vec<Event>) {
        self.tighten(underlying, events);
        let reason = reason(trip);
        match trip.level {
            2 => self.shift_underlying(underlying, Trigger::Pause, reason, events),
            3.. => self.shift_underlying(underlying, Trigger::Halt, reason, events),
            _ => {}
        }
    }

    /// A breaker of the venue acts on every underlying; at level 3, and whenever the books do not add
    /// up, the venue itself halts.
    fn trip_venue(&mut self, trip: &Trip, events: &mut Vec<Event>) {
        if trip.level >= 3 || trip.breaker == Breaker::Conservation {
            self.shift(Trigger::Halt, reason(trip), events);
            return;
        }
        for at in 0..self.circuits.len() {
            let underlying = UnderlyingId::new(u8::try_from(at).unwrap_or(u8::MAX));
            self.trip(underlying, trip, events);
        }
    }

    fn tighten(&mut self, underlying: UnderlyingId, events: &mut Vec<Event>) {
        let at = usize::from(underlying.get());
        let parameters = &self.parameters.breakers;
        let until = TimeMs::new(self.time.get().saturating_add(parameters.tight_ms));
        let tight_ppm = parameters.tight_band_ppm;
        let (Some(circuit), Some(bands)) = (
            self.circuits.get_mut(at),
            self.parameters.underlyings.get(at),
        ) else {
            return;
        };
        circuit.tight_until = until;
        events.push(Event::BandsTightened {
            underlying,
            until,
            band_ppm: circuit.band(bands.band_ppm, self.time, tight_ppm),
            market_bound_ppm: circuit.band(bands.market_bound_ppm, self.time, tight_ppm),
        });
    }

    /// Takes each underlying that is not open one step on when its condition holds.
    pub(super) fn climb_underlyings(
        &mut self,
        agreed: Option<&AgreedRoot>,
        events: &mut Vec<Event>,
    ) {
        for at in 0..self.circuits.len() {
            let state = self.circuits.get(at).map(|circuit| circuit.mode);
            if let Some(state) = state.filter(|state| state.mode != Mode::Open) {
                let underlying = UnderlyingId::new(u8::try_from(at).unwrap_or(u8::MAX));
                self.climb_one(underlying, (state.mode, state.since), agreed, events);
            }
        }
    }

    fn climb_one(
        &mut self,
        underlying: UnderlyingId,
        (mode, since): (Mode, TimeMs),
        agreed: Option<&AgreedRoot>,
        events: &mut Vec<Event>,
    ) {
        let (modes, elapsed) = (self.parameters.modes, self.time.since(since));
        let time_ms = match mode {
            Mode::CancelOnly => Some(modes.cancel_only_ms),
            Mode::PostOnly => Some(modes.post_only_ms),
            _ => None,
        };
        let step = match mode {
            Mode::Halted => agreed
                .filter(|root| root.height.get() >= self.halted_at(underlying))
                .map(|root| {
                    let height = root.height;
                    (Trigger::RootAgreed, ModeReason::RootAgreed { height })
                }),
            Mode::Verify => self
                .own_sources_agree(underlying)
                .then_some((Trigger::PricesAgree, ModeReason::PricesAgree)),
            Mode::Auction => self
                .auction_over(underlying)
                .then_some((Trigger::AuctionOver, ModeReason::AuctionOver)),
            _ => time_ms
                .filter(|time_ms| elapsed >= *time_ms)
                .map(|_| (Trigger::TimeElapsed, ModeReason::TimeElapsed)),
        };
        let Some((trigger, reason)) = step else {
            return;
        };
        self.shift_underlying(underlying, trigger, reason, events);
        if mode == Mode::Verify {
            self.apply_recovery_policies(Some(underlying), events);
        }
    }

    fn halted_at(&self, underlying: UnderlyingId) -> u64 {
        self.circuit(underlying)
            .map_or(u64::MAX, |circuit| circuit.mode.fault_height)
    }

    /// Whether the underlying's own sources have agreed for as long as the rule asks.
    fn own_sources_agree(&mut self, underlying: UnderlyingId) -> bool {
        let at = usize::from(underlying.get());
        let without_index = self.index_price(underlying).is_none();
        let (now, agree) = (self.time, without_index || self.sources_agree(underlying));
        let Some(circuit) = self.circuits.get_mut(at) else {
            return false;
        };
        if !agree {
            circuit.mode.agreed_since = TimeMs::new(0);
            return false;
        }
        if circuit.mode.agreed_since.get() == 0 {
            circuit.mode.agreed_since = now;
        }
        now.since(circuit.mode.agreed_since) >= self.parameters.modes.agreement_ms
    }

    /// Moves an underlying along the transition table; does nothing when it has no such row. The one
    /// place where an underlying enters a mode or leaves it, and where its auction begins or is given up.
    pub(super) fn shift_underlying(
        &mut self,
        underlying: UnderlyingId,
        trigger: Trigger,
        reason: ModeReason,
        events: &mut Vec<Event>,
    ) {
        let (now, height) = (self.time, self.height.get());
        let Some(circuit) = self.circuits.get_mut(usize::from(underlying.get())) else {
            return;
        };
        let state = &mut circuit.mode;
        let from = state.mode;
        let Some(to) = next(from, trigger).filter(|to| *to != from) else {
            return;
        };
        if to == Mode::Halted {
            state.fault_height = height;
        }
        state.mode = to;
        state.since = now;
        state.agreed_since = TimeMs::new(0);
        events.push(Event::UnderlyingModeChanged {
            underlying,
            from,
            to,
            reason,
        });
        match (from, to) {
            (_, Mode::Auction) => self.begin_auction(underlying, events),
            (Mode::Auction, Mode::Halted) => self.abort_auction(underlying, events),
            _ => {}
        }
        self.note_mode(Some(underlying), to);
    }
}

const fn reason(trip: &Trip) -> ModeReason {
    ModeReason::Breaker {
        breaker: trip.breaker,
        level: trip.level,
    }
}

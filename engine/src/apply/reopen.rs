//! The mode ladder in motion: gaps, faults, halts and the way back.

use alloc::vec::Vec;

use super::Engine;
use crate::block::AgreedRoot;
use crate::event::{CancelReason, Event, ModeReason};
use crate::modes::{Trigger, next};
use crate::orders::flags;
use crate::types::{Mode, TimeMs, UnderlyingId};

impl Engine {
    pub(super) fn watch_gap(&mut self, gap_ms: u64, events: &mut Vec<Event>) {
        let first = self.height.get() <= 1;
        if !first && gap_ms > self.parameters.modes.block_gap_ms_max {
            self.forget_the_gap();
            self.shift(Trigger::BlockGap, ModeReason::BlockGap { gap_ms }, events);
        }
    }

    /// A command was quarantined.
    pub(super) fn fault(&mut self, index: u32, events: &mut Vec<Event>) {
        let reason = ModeReason::Quarantine {
            height: self.height,
            index,
        };
        self.mode.fault_height = self.height.get();
        self.shift(Trigger::MatchingFault, reason, events);
    }

    pub(super) fn request_halt(&mut self, halted: bool, events: &mut Vec<Event>) {
        self.mode.halt_requested = halted;
        if halted {
            self.shift(Trigger::Halt, ModeReason::Attested, events);
        }
    }

    /// Takes one step up the ladder when its condition holds.
    pub(super) fn climb(&mut self, agreed: Option<&AgreedRoot>, events: &mut Vec<Event>) {
        let elapsed = self.time.since(self.mode.since);
        let modes = self.parameters.modes;
        let mode = self.mode.mode;
        match mode {
            Mode::Halted | Mode::ClearingOnly => {
                let past = agreed.filter(|a| a.height.get() >= self.mode.fault_height);
                let held = self.mode.halt_requested || !self.ledger.is_conserved();
                if let (Some(root), false) = (past, held) {
                    let reason = ModeReason::RootAgreed {
                        height: root.height,
                    };
                    self.shift(Trigger::RootAgreed, reason, events);
                }
            }
            Mode::Verify if self.prices_agree() => {
                self.shift(Trigger::PricesAgree, ModeReason::PricesAgree, events);
                self.apply_recovery_policies(None, events);
            }
            Mode::CancelOnly if elapsed >= modes.cancel_only_ms => {
                self.shift(Trigger::TimeElapsed, ModeReason::TimeElapsed, events);
                self.begin_auctions(events);
            }
            Mode::Auction if self.auctions.is_empty() => {
                self.shift(Trigger::AuctionOver, ModeReason::AuctionOver, events);
            }
            Mode::PostOnly if elapsed >= modes.post_only_ms => {
                self.shift(Trigger::TimeElapsed, ModeReason::TimeElapsed, events);
            }
            _ => {}
        }
    }

    /// Moves along the transition table; does nothing when it has no such row.
    pub(super) fn shift(&mut self, trigger: Trigger, reason: ModeReason, events: &mut Vec<Event>) {
        let from = self.mode.mode;
        let Some(to) = next(from, trigger).filter(|to| *to != from) else {
            return;
        };
        if matches!(to, Mode::Halted | Mode::ClearingOnly) {
            self.mode.fault_height = self.height.get();
        }
        self.mode.mode = to;
        self.mode.since = self.time;
        self.mode.agreed_since = TimeMs::new(0);
        events.push(Event::ModeChanged { from, to, reason });
        if matches!(to, Mode::Halted | Mode::ClearingOnly | Mode::Exit) {
            self.abort_auctions(events);
        }
        self.note_mode(None, to);
    }

    /// Whether enough sources have agreed on every live underlying for as long as the rule asks.
    fn prices_agree(&mut self) -> bool {
        let modes = self.parameters.modes;
        let now = self.time;
        let agree = (0..self.parameters.underlyings.len()).all(|at| {
            let underlying = UnderlyingId::new(u8::try_from(at).unwrap_or(u8::MAX));
            let feed = self.feed(underlying);
            feed.is_none_or(|feed| feed.last.is_none()) || self.sources_agree(underlying)
        });
        if !agree {
            self.mode.agreed_since = TimeMs::new(0);
            return false;
        }
        if self.mode.agreed_since.get() == 0 {
            self.mode.agreed_since = now;
        }
        now.since(self.mode.agreed_since) >= modes.agreement_ms
    }

    /// Cancels what does not want to come back, before anything can trade.
    /// All orders, or those on one underlying.
    pub(super) fn apply_recovery_policies(
        &mut self,
        underlying: Option<UnderlyingId>,
        events: &mut Vec<Event>,
    ) {
        let meant = |book| match underlying {
            None => true,
            Some(underlying) => {
                let option = self.instruments.get(book);
                option.is_some_and(|option| option.terms.underlying == underlying)
            }
        };
        let mut orders = core::mem::take(&mut self.scratch.orders);
        orders.clear();
        for (_, account) in self.ledger.iter() {
            let slots = self.orders.of_account(account);
            let resting = slots.filter_map(|slot| self.books.in_slot(slot));
            orders.extend(
                resting
                    .filter(|o| o.flags & flags::KEEP == 0 && meant(o.book))
                    .map(|o| o.order),
            );
        }
        orders.sort_unstable_by_key(|order| order.slot());
        for order in &orders {
            self.cancel_resting(*order, CancelReason::Recovery, events);
        }
        self.scratch.orders = orders;
    }
}

//! Staged liquidation: cancel the account's orders, auction parts of it, then the fund.
//!
//! No index older than its bound starts or prices a liquidation (I5), and an auction's clock stands still
//! while nobody may bid: it begins anew behind an outage.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::{Engine, INSURANCE_FUND};
use crate::event::{CancelReason, Event, LiquidationBasis};
use crate::ledger::{Account, Holding};
use crate::liquidation::{AuctionTerms, LiquidationState, buffer_margin, terms};
use crate::modes::Activity;
use crate::reject::Reject;
use crate::risk::Margin;
use crate::types::{AccountId, Cash, Rounding, TimeMs, mul_div};

impl Engine {
    /// Starts, advances and ends liquidations after a margin tick.
    pub(super) fn run_liquidations(&mut self, events: &mut Vec<Event>) {
        if !self.margin.take_ticked() || self.permit(Activity::Liquidate).is_err() {
            return;
        }
        let mut accounts = core::mem::take(&mut self.scratch.accounts);
        accounts.clear();
        self.under_maintenance(&mut accounts);
        for account in &accounts {
            if self.permit_liquidation(*account).is_err() {
                continue;
            }
            if let Some(basis) = self.liquidation_basis(*account) {
                self.liquidate(*account, &basis, events);
            }
        }
        self.scratch.accounts = accounts;
        self.watch_fund(events);
    }

    fn liquidate(&mut self, account: AccountId, basis: &LiquidationBasis, events: &mut Vec<Event>) {
        let Some(margin) = self.margin_of(account) else {
            return;
        };
        let held = basis.grace_until.get() > 0 && !self.is_deep(&margin);
        let state = self
            .ledger
            .account(account)
            .and_then(|a| a.liquidation.as_deref().copied());
        match state {
            None if margin.mm.get() >= 0 => {}
            None if held => self.give_grace(account, &margin, basis, events),
            None => self.start_liquidation(account, &margin, basis, events),
            Some(_) if buffer_margin(&margin, &self.parameters.liquidation) >= 0 => {
                self.end_liquidation(account, events);
            }
            // Its auction begins anew when grace is over: nobody bids meanwhile.
            Some(state) if held => self.set_liquidation(
                account,
                LiquidationState {
                    started_at: self.time,
                    ..state
                },
            ),
            Some(state) => self.advance_liquidation(account, state, (&margin, basis), events),
        }
    }

    fn restarted(&self, account: AccountId, state: LiquidationState) -> LiquidationState {
        state.restarted(self.agreed_since(account), self.time)
    }

    fn set_liquidation(&mut self, account: AccountId, state: LiquidationState) {
        if let Some(entry) = self.ledger.account_mut(account) {
            entry.liquidation = Some(Box::new(state));
        }
    }

    fn start_liquidation(
        &mut self,
        account: AccountId,
        margin: &Margin,
        basis: &LiquidationBasis,
        events: &mut Vec<Event>,
    ) {
        self.cancel_where(account, CancelReason::Liquidation, events, |_, _| true);
        self.drop_seals_of(account, events);
        let state = LiquidationState {
            started_at: self.time,
            insolvent_since: TimeMs::new(0),
        };
        self.set_liquidation(account, state);
        events.push(Event::LiquidationStarted {
            account,
            maintenance: margin.mm,
            mark_to_market: margin.equity,
            basis: *basis,
        });
    }

    pub(super) fn end_liquidation(&mut self, account: AccountId, events: &mut Vec<Event>) {
        if let Some(entry) = self.ledger.account_mut(account) {
            entry.liquidation = None;
        }
        events.push(Event::LiquidationEnded { account });
    }

    /// Notes when insolvency began; past the last phase what is left is closed out, but not in grace.
    fn advance_liquidation(
        &mut self,
        account: AccountId,
        state: LiquidationState,
        (margin, basis): (&Margin, &LiquidationBasis),
        events: &mut Vec<Event>,
    ) {
        let parameters = self.parameters.liquidation;
        let now = self.time;
        let insolvent = margin.equity.get() <= 0;
        let mut next = self.restarted(account, state);
        next.insolvent_since = match (insolvent, next.insolvent_since.get()) {
            (false, _) => TimeMs::new(0),
            (true, 0) => now,
            (true, _) => next.insolvent_since,
        };
        // What is written is hashed again: an auction that only goes on is left as it is.
        if next != state {
            self.set_liquidation(account, next);
        }
        let auction_ms = parameters.fast_ms.saturating_add(parameters.slow_ms);
        let ran_out = if insolvent {
            now.since(next.insolvent_since) >= parameters.insolvent_ms
        } else {
            now.since(next.started_at) >= auction_ms
        };
        if ran_out && basis.grace_until.get() == 0 {
            self.close_out(account, (margin, basis), events);
        }
    }

    /// The fund takes every position and all cash, at nothing.
    pub(super) fn hand_to_fund(
        &mut self,
        account: AccountId,
        (margin, basis): (&Margin, &LiquidationBasis),
        events: &mut Vec<Event>,
    ) {
        self.move_to_fund(account);
        let paid = Cash::new(margin.equity.get().min(0).saturating_neg());
        events.push(Event::LiquidationToFund {
            account,
            paid_by_fund: paid,
            basis: *basis,
        });
        self.end_liquidation(account, events);
    }

    pub(super) fn move_to_fund(&mut self, account: AccountId) {
        let Some(entry) = self.ledger.account(account) else {
            return;
        };
        let moved: Vec<Holding> = entry.holdings.iter().copied().collect();
        let cash = entry.cash.get();
        self.move_portfolio(account, INSURANCE_FUND, &moved, cash);
    }

    pub(super) fn bid_liquidation(
        &mut self,
        bidder: AccountId,
        account: AccountId,
        part_ppm: u32,
        price_max: Cash,
        events: &mut Vec<Event>,
    ) -> Result<(), Reject> {
        self.permit_liquidation(account)?;
        let (state, margin, basis) = self.auction_of(account)?;
        let terms = terms(&state, &margin, self.time, &self.parameters.liquidation);
        if part_ppm == 0 || part_ppm > terms.part_ppm_max || bidder == account {
            return Err(Reject::BadPart);
        }
        let price = part_price(&terms, part_ppm)?;
        if price_max < price {
            return Err(Reject::BidBelowAuction);
        }
        let entry = self
            .ledger
            .account(account)
            .ok_or(Reject::NotInLiquidation)?;
        let (slice, cash) = slice_of(entry, part_ppm);
        self.check_slice(bidder, &slice, cash.saturating_sub(price.get()))?;
        self.move_portfolio(account, bidder, &slice, cash);
        let payer = if terms.insolvent {
            INSURANCE_FUND
        } else {
            account
        };
        self.pay(bidder, payer, price);
        events.push(Event::LiquidationSold {
            account,
            buyer: bidder,
            part_ppm,
            price,
            maintenance: margin.mm,
            mark_to_market: margin.equity,
            basis,
        });
        let after = self.margin_of(account);
        if after.is_some_and(|m| buffer_margin(&m, &self.parameters.liquidation) >= 0) {
            self.end_liquidation(account, events);
        }
        Ok(())
    }

    /// An account's auction, if it may be bid in now: its prices stand (I5), and grace does not hold.
    fn auction_of(
        &mut self,
        account: AccountId,
    ) -> Result<(LiquidationState, Margin, LiquidationBasis), Reject> {
        let entry = self.ledger.account(account).ok_or(Reject::UnknownAccount)?;
        let state = entry
            .liquidation
            .as_deref()
            .copied()
            .ok_or(Reject::NotInLiquidation)?;
        let basis = self.liquidation_basis(account).ok_or(Reject::NoMark)?;
        let margin = self.margin_of(account).ok_or(Reject::NoMark)?;
        if basis.grace_until.get() > 0 && !self.is_deep(&margin) {
            return Err(Reject::InGrace);
        }
        Ok((self.restarted(account, state), margin, basis))
    }

    /// The bidder must meet initial margin with the slice and the cash that comes with it.
    fn check_slice(
        &mut self,
        bidder: AccountId,
        slice: &[Holding],
        cash: i64,
    ) -> Result<(), Reject> {
        let entry = self.ledger.account(bidder).ok_or(Reject::UnknownAccount)?;
        if entry.liquidation.is_some() {
            return Err(Reject::AccountInLiquidation);
        }
        let free = cash.saturating_sub(self.auctions.bond_of(bidder).get());
        if self.margin_with_slice(bidder, slice, free)?.im.get() < 0 {
            Err(Reject::MarginBelowInitial)
        } else {
            Ok(())
        }
    }

    /// An account's margin with positions and cash that would come to it.
    pub(super) fn margin_with_slice(
        &mut self,
        account: AccountId,
        slice: &[Holding],
        cash: i64,
    ) -> Result<Margin, Reject> {
        let entry = self.ledger.account(account).ok_or(Reject::UnknownAccount)?;
        let mut after = entry.clone();
        for holding in slice.iter().filter(|h| h.position != 0) {
            let stake = after.holding_or_new(holding.instrument)?;
            stake.position = stake
                .position
                .checked_add(holding.position)
                .filter(|p| p.unsigned_abs() <= crate::limits::POSITION_LOTS_MAX.unsigned_abs())
                .ok_or(Reject::PositionTooLarge)?;
        }
        after.cash = Cash::new(after.cash.get().saturating_add(cash));
        self.margin_of_account(&after).ok_or(Reject::NoMark)
    }

    /// Moves positions and cash from one account to another.
    fn move_portfolio(&mut self, from: AccountId, to: AccountId, slice: &[Holding], cash: i64) {
        for holding in slice.iter().filter(|h| h.position != 0) {
            self.shift_position(from, holding, holding.position.saturating_neg());
            self.shift_position(to, holding, holding.position);
        }
        self.pay(from, to, Cash::new(cash));
        self.margin_forget(from);
        self.margin_forget(to);
    }

    fn shift_position(&mut self, account: AccountId, holding: &Holding, lots: i64) {
        let Some(entry) = self.ledger.account_mut(account) else {
            return;
        };
        let Ok(stake) = entry.holding_or_new(holding.instrument) else {
            return;
        };
        let before = stake.position;
        let value = if lots == holding.position {
            holding.cost
        } else {
            Cash::ZERO
        };
        stake.trade(lots, value);
        let after = stake.position;
        entry.forget_if_empty(holding.instrument);
        self.count_open_interest(holding.instrument, before, after);
    }

    pub(super) fn pay(&mut self, from: AccountId, to: AccountId, amount: Cash) {
        if let Some(payer) = self.ledger.account_mut(from) {
            payer.cash = Cash::new(payer.cash.get().saturating_sub(amount.get()));
        }
        if let Some(payee) = self.ledger.account_mut(to) {
            payee.cash = Cash::new(payee.cash.get().saturating_add(amount.get()));
        }
    }
}

/// What the buyer pays for a part; rounded against the buyer.
fn part_price(terms: &AuctionTerms, part_ppm: u32) -> Result<Cash, Reject> {
    let whole = terms.whole_price.get();
    let price = mul_div(whole, i64::from(part_ppm), 1_000_000, Rounding::Up);
    price.map(Cash::new).map_err(|_| Reject::BadPart)
}

/// The part of every position and of the cash, each rounded down as a signed number: the buyer gets
/// no more of what is worth something and no less of what is owed than the part it pays for, so a
/// small part cannot take cash and leave the risk behind.
fn slice_of(account: &Account, part_ppm: u32) -> (Vec<Holding>, i64) {
    let part = |amount: i64| {
        let whole = i128::from(amount).saturating_mul(i128::from(part_ppm));
        i64::try_from(whole.div_euclid(1_000_000)).unwrap_or(i64::MIN)
    };
    let slice = account.holdings.iter().map(|h| Holding {
        position: part(h.position),
        cost: Cash::new(part(h.cost.get())),
        ..Holding::new(h.instrument)
    });
    (
        slice.filter(|h| h.position != 0).collect(),
        part(account.cash.get()),
    )
}

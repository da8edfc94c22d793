//! Who bears a loss that an account cannot: the fund, the operator's stake, the day's gains, and at
//! last whoever holds the other side.
//!
//! Every step is bounded, takes what it can, says so in an event and passes the rest on. Amounts are
//! whole cash units at the marks' value of one lot, the same for both sides of a position, so that money
//! is conserved to the unit (I1) and positions keep adding up to zero (I8).

use alloc::vec::Vec;

use super::ranking::TearUpRank;
use super::{Engine, INSURANCE_FUND};
use crate::event::{CancelReason, Event, LiquidationBasis, LossStep};
use crate::ledger::Holding;
use crate::limits::HAIRCUT_ACCOUNTS_MAX;
use crate::risk::Margin;
use crate::types::{AccountId, Cash, InstrumentId, Qty, Side};

/// A position that is closed against its other side.
struct Closing {
    instrument: InstrumentId,
    /// The loser's lots.
    lots: i64,
    value_per_lot: i64,
    against: Vec<TearUpRank>,
}

/// What the loser cannot pay, spread over those it has to pay.
struct Shortfall {
    left: i128,
    payable: i128,
}

impl Engine {
    /// The account of the operator's stake.
    pub const fn stake_account(&self) -> Option<AccountId> {
        self.stake
    }

    /// Whether nobody acts for an account: the fund's and the stake's.
    pub(super) fn is_reserved(&self, account: AccountId) -> bool {
        account == INSURANCE_FUND || self.stake_account() == Some(account)
    }

    /// Ends a liquidation that found no buyers: the fund takes the account over if it can pay for it
    /// and carry it, else the waterfall closes it out.
    pub(super) fn close_out(
        &mut self,
        account: AccountId,
        (margin, basis): (&Margin, &LiquidationBasis),
        events: &mut Vec<Event>,
    ) {
        if self.fund_can_take(account) {
            self.hand_to_fund(account, (margin, basis), events);
            return;
        }
        events.push(Event::ClosedOut {
            account,
            maintenance: margin.mm,
            mark_to_market: margin.equity,
            basis: *basis,
        });
        self.allocate(account, events);
        self.end_liquidation(account, events);
    }

    /// The fund holds no more than it can carry: under maintenance it is closed out like anybody, but
    /// has no fund before it.
    pub(super) fn watch_fund(&mut self, events: &mut Vec<Event>) {
        let holds = self.ledger.account(INSURANCE_FUND);
        if holds.is_none_or(|fund| fund.holdings.is_empty()) {
            return;
        }
        let Some(basis) = self.liquidation_basis(INSURANCE_FUND) else {
            return;
        };
        let Some(margin) = self.margin_of(INSURANCE_FUND) else {
            return;
        };
        if margin.mm.get() >= 0 || basis.grace_until.get() > 0 {
            return;
        }
        events.push(Event::ClosedOut {
            account: INSURANCE_FUND,
            maintenance: margin.mm,
            mark_to_market: margin.equity,
            basis,
        });
        self.allocate(INSURANCE_FUND, events);
    }

    /// Whether the fund would meet maintenance margin with the account's positions and cash.
    fn fund_can_take(&mut self, account: AccountId) -> bool {
        let Some(entry) = self.ledger.account(account) else {
            return false;
        };
        let slice: Vec<Holding> = entry.holdings.iter().copied().collect();
        let cash = entry.cash.get();
        let after = self.margin_with_slice(INSURANCE_FUND, &slice, cash);
        after.is_ok_and(|margin| margin.mm.get() >= 0)
    }

    /// The waterfall: fund, stake, the day's gains, tear-up. What nobody can bear is the fund's debt.
    fn allocate(&mut self, account: AccountId, events: &mut Vec<Event>) {
        self.cancel_where(account, CancelReason::Liquidation, events, |_, _| true);
        // Ranks are those that everybody could see before the first step.
        let closings = self.closings(account);
        let mut left = self.missing(account);
        if account != INSURANCE_FUND {
            let free = self.fund_free();
            left = self.draw(
                (account, INSURANCE_FUND),
                LossStep::Fund,
                (left, free),
                events,
            );
        }
        if let Some(stake) = self.stake_account() {
            let held = self
                .ledger
                .account(stake)
                .map_or(0, |stake| stake.cash.get());
            left = self.draw(
                (account, stake),
                LossStep::Stake,
                (left, held.max(0)),
                events,
            );
        }
        left = self.haircut_gains(account, left, events);
        left = self.tear_up(account, &closings, left, events);
        if left > 0 && account != INSURANCE_FUND {
            self.draw(
                (account, INSURANCE_FUND),
                LossStep::Debt,
                (left, left),
                events,
            );
        }
    }

    /// How far an account is worth less than nothing, at the marks' value of one lot.
    fn missing(&self, account: AccountId) -> i64 {
        let Some(entry) = self.ledger.account(account) else {
            return 0;
        };
        let held = entry
            .holdings
            .iter()
            .map(|h| i128::from(h.position).saturating_mul(self.mark_of_lot(h.instrument).into()));
        let worth = held.fold(i128::from(entry.cash.get()), i128::saturating_add);
        i64::try_from(worth.saturating_neg().max(0)).unwrap_or(i64::MAX)
    }

    /// Cash that the fund can give and still meet its own maintenance margin.
    fn fund_free(&mut self) -> i64 {
        let cash = self
            .ledger
            .account(INSURANCE_FUND)
            .map_or(0, |f| f.cash.get());
        let left = self.margin_of(INSURANCE_FUND).map_or(0, |m| m.mm.get());
        cash.min(left).max(0)
    }

    /// One payer gives what is missing, at most its bound. Returns what is left.
    fn draw(
        &mut self,
        (account, payer): (AccountId, AccountId),
        step: LossStep,
        (missing, bound): (i64, i64),
        events: &mut Vec<Event>,
    ) -> i64 {
        if missing <= 0 {
            return missing;
        }
        let paid = missing.min(bound);
        self.pay(payer, account, Cash::new(paid));
        let left = missing.saturating_sub(paid);
        events.push(Event::LossAllocated {
            account,
            step,
            payer: Some(payer),
            paid: Cash::new(paid),
            bound: Cash::new(bound),
            left: Cash::new(left),
        });
        left
    }

    /// Accounts that gained since the day began give in proportion, each at most its share of the gain
    /// and never so much that it falls under maintenance.
    fn haircut_gains(&mut self, loser: AccountId, missing: i64, events: &mut Vec<Event>) -> i64 {
        if missing <= 0 {
            return missing;
        }
        let gainers = self.gainers(loser);
        let total = gainers.iter().fold(0_i128, |sum, gainer| {
            sum.saturating_add(i128::from(gainer.bound))
        });
        let paid = i128::from(missing).min(total);
        let (mut to_take, mut of) = (paid, total);
        for gainer in gainers {
            // Of what is still to be taken the part that this bound is of those still to give: exact at
            // the last, and never above the bound.
            let bound = i128::from(gainer.bound);
            let taken = to_take.saturating_mul(bound).checked_div(of).unwrap_or(0);
            to_take = to_take.saturating_sub(taken);
            of = of.saturating_sub(bound);
            let taken = Cash::new(i64::try_from(taken).unwrap_or(0));
            if taken == Cash::ZERO {
                continue;
            }
            self.pay(gainer.account, loser, taken);
            events.push(Event::GainHaircut {
                account: gainer.account,
                loser,
                gain: Cash::new(gainer.gain),
                bound: Cash::new(gainer.bound),
                paid: taken,
            });
        }
        let paid = i64::try_from(paid).unwrap_or(0);
        let left = missing.saturating_sub(paid);
        events.push(Event::LossAllocated {
            account: loser,
            step: LossStep::Haircut,
            payer: None,
            paid: Cash::new(paid),
            bound: Cash::new(i64::try_from(total).unwrap_or(i64::MAX)),
            left: Cash::new(left),
        });
        left
    }

    /// The accounts with the largest bounds, at most `HAIRCUT_ACCOUNTS_MAX`, largest first.
    fn gainers(&mut self, loser: AccountId) -> Vec<Gainer> {
        let share = i128::from(self.parameters.waterfall.haircut_ppm_max.min(1_000_000));
        let mut gainers = Vec::new();
        for raw in 1..self.ledger.len() {
            let account = AccountId::new(raw);
            if account == loser || self.is_reserved(account) || !self.may_have_gained(account) {
                continue;
            }
            let Some(margin) = self.margin_of(account) else {
                continue;
            };
            let gain = self.gain_of_day(account, margin.equity);
            let part = i128::from(gain)
                .saturating_mul(share)
                .checked_div(1_000_000);
            let part = i64::try_from(part.unwrap_or(0)).unwrap_or(0);
            let bound = part.min(margin.mm.get());
            if bound > 0 {
                gainers.push(Gainer {
                    account,
                    gain,
                    bound,
                });
            }
        }
        gainers.sort_by_key(|gainer| (core::cmp::Reverse(gainer.bound), gainer.account));
        gainers.truncate(HAIRCUT_ACCOUNTS_MAX);
        gainers
    }

    /// The account's positions, by instrument, each with its other side in the order of the ranking.
    fn closings(&self, account: AccountId) -> Vec<Closing> {
        let Some(entry) = self.ledger.account(account) else {
            return Vec::new();
        };
        let mut held: Vec<(InstrumentId, i64)> = entry
            .holdings
            .iter()
            .filter(|h| h.position != 0)
            .map(|h| (h.instrument, h.position))
            .collect();
        held.sort_unstable();
        let other = |lots: i64| if lots > 0 { Side::Sell } else { Side::Buy };
        let wanted: Vec<_> = held.iter().map(|(id, lots)| (*id, other(*lots))).collect();
        let rankings = self.rankings(&wanted);
        let closings = held.into_iter().zip(rankings);
        closings
            .map(|((instrument, lots), against)| Closing {
                instrument,
                lots,
                value_per_lot: self.mark_of_lot(instrument),
                against,
            })
            .collect()
    }

    /// Closes the loser's positions at the mark against the other side, first ranks first. What the
    /// loser still cannot pay is held back from those it owes, in proportion to what it owes them.
    fn tear_up(
        &mut self,
        loser: AccountId,
        closings: &[Closing],
        missing: i64,
        events: &mut Vec<Event>,
    ) -> i64 {
        let payable = closings.iter().fold(0_i128, |sum, closing| {
            let owed = i128::from(closing.lots.min(0).unsigned_abs());
            sum.saturating_add(owed.saturating_mul(closing.value_per_lot.into()))
        });
        let held_back = i128::from(missing).min(payable).max(0);
        let mut shortfall = Shortfall {
            left: held_back,
            payable,
        };
        for closing in closings {
            let mut open = closing.lots;
            for (rank, holder) in (1..).zip(&closing.against) {
                if open == 0 {
                    break;
                }
                let lots = open
                    .signum()
                    .saturating_mul(open.abs().min(holder.lots.abs()));
                open = open.saturating_sub(lots);
                self.tear_up_one(
                    loser,
                    closing,
                    (holder.account, lots, rank),
                    &mut shortfall,
                    events,
                );
            }
        }
        if missing <= 0 {
            return missing;
        }
        let held_back = i64::try_from(held_back).unwrap_or(0);
        let left = missing.saturating_sub(held_back);
        events.push(Event::LossAllocated {
            account: loser,
            step: LossStep::TearUp,
            payer: None,
            paid: Cash::new(held_back),
            bound: Cash::new(i64::try_from(payable).unwrap_or(i64::MAX)),
            left: Cash::new(left),
        });
        left
    }

    fn tear_up_one(
        &mut self,
        loser: AccountId,
        closing: &Closing,
        (holder, lots, rank): (AccountId, i64, u32),
        shortfall: &mut Shortfall,
        events: &mut Vec<Event>,
    ) {
        // What the holder gets for its lots; negative where it buys back what it is short.
        let value = lots.saturating_neg().saturating_mul(closing.value_per_lot);
        let held_back = shortfall.part(value);
        self.close_lots(
            loser,
            closing.instrument,
            lots.saturating_neg(),
            Cash::new(value),
        );
        self.close_lots(
            holder,
            closing.instrument,
            lots,
            Cash::new(value.saturating_neg()),
        );
        let cash = Cash::new(value.saturating_sub(held_back));
        self.pay(loser, holder, cash);
        let lot = self
            .instruments
            .get(closing.instrument)
            .map_or(0, |i| i.lot.get());
        events.push(Event::PositionTornUp {
            account: loser,
            holder,
            instrument: closing.instrument,
            position: Qty::new(lots.saturating_mul(lot)),
            cash,
            held_back: Cash::new(held_back),
            rank,
        });
    }

    /// Moves an account's position by lots at a total premium (positive when paid).
    fn close_lots(&mut self, account: AccountId, id: InstrumentId, lots: i64, premium: Cash) {
        let Some(entry) = self.ledger.account_mut(account) else {
            return;
        };
        let Some(stake) = entry.holding_mut(id) else {
            return;
        };
        let before = stake.position;
        stake.trade(lots, premium);
        let after = stake.position;
        entry.forget_if_empty(id);
        self.count_open_interest(id, before, after);
        self.margin_forget(account);
    }

    /// Cash for one lot at the mark, rounded down; 0 without one.
    pub(super) fn mark_of_lot(&self, id: InstrumentId) -> i64 {
        let instrument = self.instruments.get(id);
        let value =
            instrument.and_then(|i| i.value(i.mark?.price, 1, crate::types::Rounding::Down));
        value.map_or(0, Cash::get)
    }
}

/// An account that gained since the day began.
struct Gainer {
    account: AccountId,
    gain: i64,
    bound: i64,
}

impl Shortfall {
    /// What of a payment is held back: exact over all of them, and never above the payment.
    fn part(&mut self, payment: i64) -> i64 {
        let payment = i128::from(payment.max(0));
        let product = self.left.saturating_mul(payment);
        let part = product.checked_div(self.payable).unwrap_or(0);
        self.left = self.left.saturating_sub(part);
        self.payable = self.payable.saturating_sub(payment);
        i64::try_from(part).unwrap_or(0)
    }
}

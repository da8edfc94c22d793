//! Sealed orders while an auction collects: taken in against a bond, taken back, given up.

use alloc::vec::Vec;

use super::super::{Engine, INSURANCE_FUND};
use crate::auction::{Phase, Seal};
use crate::command::SealOrder;
use crate::event::{CancelReason, Event};
use crate::modes::Activity;
use crate::reject::Reject;
use crate::types::{AccountId, Cash, Nonce, UnderlyingId};

impl Engine {
    /// Refuses in a fixed order: key, auction, mode, form, number, account, margin.
    pub(in super::super) fn seal_order(
        &mut self,
        account: AccountId,
        nonce: Nonce,
        order: &SealOrder,
        events: &mut Vec<Event>,
    ) -> Result<(), Reject> {
        let parameters = self.parameters.auction;
        if parameters.key.is_none() {
            return Err(Reject::SealsOff);
        }
        self.check_collecting(order.underlying, order.auction)?;
        self.permit_on(order.underlying, Activity::AuctionOrder)?;
        if order.bond < parameters.bond_min {
            return Err(Reject::BondTooSmall);
        }
        self.check_seal_room(account, order.underlying)?;
        let entry = self.ledger.account(account).ok_or(Reject::UnknownAccount)?;
        if entry.liquidation.is_some() {
            return Err(Reject::AccountInLiquidation);
        }
        let (_, free) = self.margin_with_orders(account).ok_or(Reject::NoMark)?;
        let held = self.auctions.bond_of(account).get();
        if free.get().saturating_sub(held) < order.bond.get() {
            return Err(Reject::MarginBelowInitial);
        }
        let seal = Seal::new(account, nonce, order.bond, order.ciphertext);
        let number = self.auctions.seal(order.underlying, seal);
        events.push(Event::OrderSealed {
            account,
            underlying: order.underlying,
            auction: order.auction,
            seal: number.ok_or(Reject::TooManySeals)?,
            bond: order.bond,
        });
        Ok(())
    }

    /// Whether the auction of that number takes sealed orders in and gives them back.
    fn check_collecting(&self, underlying: UnderlyingId, auction: u64) -> Result<(), Reject> {
        let running = self.auctions.get(underlying);
        let running = running.filter(|running| running.number == auction);
        match running.ok_or(Reject::NoAuction)?.phase {
            Phase::Collecting => Ok(()),
            Phase::Closed { .. } | Phase::Opening { .. } => Err(Reject::AuctionClosed),
        }
    }

    fn check_seal_room(&self, account: AccountId, underlying: UnderlyingId) -> Result<(), Reject> {
        let parameters = &self.parameters.auction;
        let auction = self.auctions.get(underlying).ok_or(Reject::NoAuction)?;
        let own = auction.seals.values().filter(|s| s.account == account);
        let most = |max: u32| usize::try_from(max).unwrap_or(usize::MAX);
        if auction.seals.len() >= most(parameters.seals_max)
            || own.count() >= most(parameters.seals_per_account_max)
        {
            return Err(Reject::TooManySeals);
        }
        Ok(())
    }

    pub(in super::super) fn withdraw_sealed(
        &mut self,
        account: AccountId,
        (underlying, auction, seal): (UnderlyingId, u64, u32),
        events: &mut Vec<Event>,
    ) -> Result<(), Reject> {
        self.check_collecting(underlying, auction)?;
        let running = self.auctions.get(underlying).ok_or(Reject::NoAuction)?;
        let found = running.seals.get(&seal);
        if found.is_none_or(|found| found.account != account) {
            return Err(Reject::UnknownSeal);
        }
        let found = self.auctions.unseal(underlying, seal);
        events.push(Event::SealWithdrawn {
            account,
            underlying,
            auction,
            seal,
            bond: found.ok_or(Reject::UnknownSeal)?.bond,
        });
        Ok(())
    }

    /// Takes a sealed order out by rule, and what it forfeits to the fund.
    pub(super) fn drop_seal(
        &mut self,
        underlying: UnderlyingId,
        (number, reason): (u32, Reject),
        events: &mut Vec<Event>,
    ) {
        let auction = self.auctions.get(underlying).map_or(0, |a| a.number);
        let Some(seal) = self.auctions.unseal(underlying, number) else {
            return;
        };
        let forfeited = if forfeits(reason) {
            self.parameters.auction.forfeit.min(seal.bond)
        } else {
            Cash::ZERO
        };
        self.pay(seal.account, INSURANCE_FUND, forfeited);
        events.push(Event::SealDropped {
            account: seal.account,
            underlying,
            auction,
            seal: number,
            reason,
            forfeited,
        });
    }

    /// The sealed orders of an account whose liquidation begins go with its other orders.
    pub(in super::super) fn drop_seals_of(&mut self, account: AccountId, events: &mut Vec<Event>) {
        let of_account = self.auctions.iter().flat_map(|(underlying, auction)| {
            let own = auction.seals.iter().filter(|(_, s)| s.account == account);
            own.map(move |(number, _)| (underlying, *number))
        });
        let found: Vec<(UnderlyingId, u32)> = of_account.collect();
        for (underlying, number) in found {
            self.drop_seal(underlying, (number, Reject::AccountInLiquidation), events);
        }
    }

    /// No signature came in time: the seals are out, and what is public clears.
    pub(super) fn drop_unopened(&mut self, underlying: UnderlyingId, events: &mut Vec<Event>) {
        self.drop_all(underlying, Reject::SealUnopened, events);
    }

    fn drop_all(&mut self, underlying: UnderlyingId, reason: Reject, events: &mut Vec<Event>) {
        let auction = self.auctions.get(underlying);
        let numbers: Vec<u32> =
            auction.map_or_else(Vec::new, |a| a.seals.keys().copied().collect());
        for number in numbers {
            self.drop_seal(underlying, (number, reason), events);
        }
    }

    /// The venue stopped: seals stay shut, and orders out of opened ones that were never cleared go, so
    /// that no book stays crossed.
    pub(in super::super) fn abort_auctions(&mut self, events: &mut Vec<Event>) {
        let running: Vec<UnderlyingId> = self.auctions.iter().map(|(id, _)| id).collect();
        for underlying in running {
            self.abort_auction(underlying, events);
        }
    }

    /// The same for an underlying that stopped.
    pub(in super::super) fn abort_auction(
        &mut self,
        underlying: UnderlyingId,
        events: &mut Vec<Event>,
    ) {
        self.drop_all(underlying, Reject::AuctionAborted, events);
        let Some(auction) = self.auctions.take(underlying) else {
            return;
        };
        for order in auction.opened.keys() {
            self.cancel_resting(*order, CancelReason::AuctionAborted, events);
        }
        events.push(Event::AuctionAborted {
            underlying,
            auction: auction.number,
        });
    }
}

/// Whether a seal that is out for this reason costs something: not where the market, the venue or the
/// validators made it so after it was sealed.
const fn forfeits(reason: Reject) -> bool {
    !matches!(
        reason,
        Reject::SealUnopened
            | Reject::AuctionAborted
            | Reject::AccountInLiquidation
            | Reject::MarginBelowInitial
            | Reject::InstrumentClosed
            | Reject::NoMark
            | Reject::VenueFull
    )
}

//! From seals to orders: the validators' signature, then one seal after the other in its order.

use alloc::vec::Vec;

use super::super::Engine;
use super::super::place::Ticket;
use crate::auction::{
    Auction, Phase, Seal, SealSignature, SealedTerms, open, seal_target, verify_opening,
};
use crate::book::Resting;
use crate::event::{CancelReason, Event};
use crate::limits::{PRICE_TICKS_MAX, SEALS_OPENED_PER_BLOCK_MAX};
use crate::orders::flags;
use crate::reject::Reject;
use crate::types::{
    Cash, ClientOrderId, Lots, OrderId, RecoveryPolicy, SelfTradePrevention, Side, TimeMs,
    UnderlyingId, ValidatorId,
};

impl Engine {
    /// Keeps a validator's first share of a signature, for validators to make the signature of. The
    /// engine judges only that.
    pub(in super::super) fn share_opening(
        &mut self,
        validator: ValidatorId,
        number: u64,
        share: (u32, SealSignature),
    ) -> Result<(), Reject> {
        let (underlying, auction) = self.closed(number)?;
        if auction.shares.contains_key(&validator) {
            return Err(Reject::BadOpening);
        }
        let auction = self.auctions.get_mut(underlying).ok_or(Reject::NoAuction)?;
        auction.shares.insert(validator, share);
        Ok(())
    }

    /// Takes the first signature that verifies. Seals are opened from the next block on.
    pub(in super::super) fn open_auction(
        &mut self,
        number: u64,
        signature: SealSignature,
        events: &mut Vec<Event>,
    ) -> Result<(), Reject> {
        let key = self.parameters.auction.key.ok_or(Reject::SealsOff)?;
        let (underlying, auction) = self.closed(number)?;
        let target = seal_target(&self.chain, number, auction.began_at);
        if !verify_opening(&key, &target, &signature) {
            return Err(Reject::BadOpening);
        }
        if let Some(auction) = self.auctions.get_mut(underlying) {
            auction.phase = Phase::Opening { signature };
        }
        events.push(Event::AuctionOpened {
            underlying,
            auction: number,
            signature,
        });
        Ok(())
    }

    /// The auction of that number, if it is closed and not opened.
    fn closed(&self, number: u64) -> Result<(UnderlyingId, &Auction), Reject> {
        let found = self.auctions.numbered(number).ok_or(Reject::NoAuction)?;
        match found.1.phase {
            Phase::Closed { .. } => Ok(found),
            Phase::Collecting | Phase::Opening { .. } => Err(Reject::NoAuction),
        }
    }

    /// Opens as many seals as a block may. True when none is left.
    pub(super) fn open_seals(
        &mut self,
        underlying: UnderlyingId,
        signature: &SealSignature,
        events: &mut Vec<Event>,
    ) -> bool {
        for _ in 0..SEALS_OPENED_PER_BLOCK_MAX {
            let auction = self.auctions.get(underlying);
            let next = auction.and_then(|auction| auction.seals.first_key_value());
            let Some((number, seal)) = next.map(|(number, seal)| (*number, seal.clone())) else {
                return true;
            };
            let admitted = open(signature, &seal.ciphertext)
                .map_err(|_| Reject::SealBroken)
                .and_then(|terms| self.admit(underlying, (number, &seal), &terms, events));
            if let Err(reason) = admitted {
                self.drop_seal(underlying, (number, reason), events);
            }
        }
        self.auctions
            .get(underlying)
            .is_none_or(|auction| auction.seals.is_empty())
    }

    /// Makes an order of what was sealed. Refuses in a fixed order: whose, where, form, room, margin.
    fn admit(
        &mut self,
        underlying: UnderlyingId,
        (number, seal): (u32, &Seal),
        terms: &SealedTerms,
        events: &mut Vec<Event>,
    ) -> Result<(), Reject> {
        let auction = self.auctions.get(underlying).ok_or(Reject::NoAuction)?;
        let auction_number = auction.number;
        if (terms.account, terms.nonce) != (seal.account, seal.nonce) {
            return Err(Reject::SealMisplaced);
        }
        let instrument = self.tradable(terms.instrument)?;
        if instrument.terms.underlying != underlying || !auction.clears(terms.instrument) {
            return Err(Reject::SealMisplaced);
        }
        let ticket = self.sealed_ticket(terms)?;
        self.check_bond(&ticket, seal.bond)?;
        let id = self.books.allocate().ok_or(Reject::VenueFull)?;
        self.auctions.unseal(underlying, number);
        events.push(Event::SealOpened {
            account: seal.account,
            underlying,
            auction: auction_number,
            seal: number,
            order: id,
        });
        self.announce(id, &ticket, &[], events);
        self.enter(underlying, id, (&ticket, terms.rests), events);
        Ok(())
    }

    fn sealed_ticket(&self, terms: &SealedTerms) -> Result<Ticket, Reject> {
        let instrument = self.tradable(terms.instrument)?;
        if terms.price.get() == 0 || terms.price.get() > PRICE_TICKS_MAX {
            return Err(Reject::OffTick);
        }
        if terms.lots.is_zero() {
            return Err(Reject::OffLot);
        }
        let largest = self.underlying(instrument).map_or(0, |u| u.order_lots_max);
        if terms.lots.get() > largest {
            return Err(Reject::OrderTooLarge);
        }
        let price = terms
            .price
            .to_price(instrument.tick)
            .ok_or(Reject::OffTick)?;
        let limit = self.limit_ticks(instrument, terms.side, price)?;
        self.check_room(terms.account, instrument, terms.side, terms.lots)?;
        let bit = |set: bool, flag: u8| if set { flag } else { 0 };
        Ok(Ticket {
            account: terms.account,
            instrument: terms.instrument,
            side: terms.side,
            lots: self.sealed_lots(terms)?,
            filled_before: 0,
            limit,
            rests: true,
            self_trade: terms.self_trade,
            flags: bit(terms.recovery == RecoveryPolicy::Keep, flags::KEEP)
                | bit(terms.reduce_only, flags::REDUCE_ONLY),
            expires_at: TimeMs::new(0),
            client_id: ClientOrderId::new(0),
        })
    }

    /// The order's size; of a reduce-only one what there is to reduce.
    fn sealed_lots(&self, terms: &SealedTerms) -> Result<Lots, Reject> {
        if !terms.reduce_only {
            return Ok(terms.lots);
        }
        let account = self.ledger.account(terms.account);
        let holding = account.and_then(|entry| entry.holding(terms.instrument));
        match holding.map_or(0, |holding| holding.reducible(terms.side)) {
            0 => Err(Reject::WouldNotReduce),
            room => Ok(terms.lots.min(Lots::new(room))),
        }
    }

    /// The order may use its bond and no more, and nothing that stands behind other sealed orders.
    fn check_bond(&mut self, ticket: &Ticket, bond: Cash) -> Result<(), Reject> {
        let (_, free) = self
            .margin_with_orders(ticket.account)
            .ok_or(Reject::NoMark)?;
        let held = self.auctions.bond_of(ticket.account).get();
        let others = held.saturating_sub(bond.get());
        let left = Cash::new(free.get().saturating_sub(others));
        match self.check_margin_within(ticket, bond.min(left)) {
            Err(Reject::MarginBelowInitial) if bond <= left => Err(Reject::BondTooSmall),
            verdict => verdict,
        }
    }

    /// Rests an order out of a seal, after what its account's self-trade rule asks where it meets its own.
    fn enter(
        &mut self,
        underlying: UnderlyingId,
        id: OrderId,
        (ticket, rests): (&Ticket, bool),
        events: &mut Vec<Event>,
    ) {
        if self.meets_itself(ticket, events) {
            self.finish_unrested(id, ticket, ticket.lots, false, events);
            return;
        }
        self.rest(id, ticket, ticket.lots, &[], events);
        if let (Some(auction), true) = (
            self.auctions.get_mut(underlying),
            self.books.get(id).is_some(),
        ) {
            auction.opened.insert(id, rests);
        }
    }

    /// Applies the rule to the account's own orders that this one could trade with, the best first; true
    /// when this one is cancelled.
    fn meets_itself(&mut self, ticket: &Ticket, events: &mut Vec<Event>) -> bool {
        let own = self.own_crossing(ticket);
        let Some(first) = own.first() else {
            return false;
        };
        match ticket.self_trade {
            SelfTradePrevention::CancelTaker => true,
            SelfTradePrevention::CancelMaker => {
                for order in &own {
                    self.cancel_resting(order.order, CancelReason::SelfTrade, events);
                }
                false
            }
            SelfTradePrevention::CancelBoth => {
                self.cancel_resting(first.order, CancelReason::SelfTrade, events);
                true
            }
        }
    }

    /// The account's orders on the other side within the ticket's limit, by price, then time.
    fn own_crossing(&self, ticket: &Ticket) -> Vec<Resting> {
        let crosses = |order: &Resting| match ticket.side {
            Side::Buy => order.price <= ticket.limit,
            Side::Sell => order.price >= ticket.limit,
        };
        let Some(account) = self.ledger.account(ticket.account) else {
            return Vec::new();
        };
        let slots = self.orders.of_account(account);
        let resting = slots.filter_map(|slot| self.books.in_slot(slot));
        let mut own: Vec<Resting> = resting
            .filter(|order| order.book == ticket.instrument && order.side != ticket.side)
            .filter(crosses)
            .collect();
        own.sort_unstable_by_key(|order| {
            let price = i64::from(order.price.get()).saturating_mul(ticket.side.sign());
            (price, order.priority)
        });
        own
    }
}

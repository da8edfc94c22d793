//! Auctions in motion: one of each underlying, from its beginning to the block in which it clears.
//!
//! An auction collects sealed orders beside the public ones until it closes. From the closing block on
//! nothing is placed in it or withdrawn from it; the validators, who see that block final, sign what the
//! seals are encrypted to, the seals are opened in their order, and each instrument clears at one price.
//! Where that price leaves the collar the instrument goes on once, then it clears inside the collar.
//!
//! **Owns** that sequence. The price is `crate::auction`'s; orders out of seals rest in the books like
//! all others, behind those that were there, so that priority, margin, snapshots and roots need nothing
//! of their own. [`Engine::begin_auction`] and [`Engine::auction_over`] are for whoever reopens an
//! underlying by itself.
//!
//! Invariants: I1, I4, I6, I7.

mod opening;
mod sealing;
mod uncross;

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::Engine;
use crate::auction::{Auction, Band, Clearing, Level, Phase, Reference, clear};
use crate::event::{Event, Indication};
use crate::instrument::Instrument;
use crate::limits::PRICE_TICKS_MAX;
use crate::types::{InstrumentId, Price, PriceTicks, Qty, Rounding, Side, UnderlyingId, mul_div};

impl Engine {
    /// Begins an auction of every underlying.
    pub(super) fn begin_auctions(&mut self, events: &mut Vec<Event>) {
        for at in 0..self.parameters.underlyings.len() {
            self.begin_auction(
                UnderlyingId::new(u8::try_from(at).unwrap_or(u8::MAX)),
                events,
            );
        }
    }

    /// Begins an underlying's auction, unless one runs.
    pub(super) fn begin_auction(&mut self, underlying: UnderlyingId, events: &mut Vec<Event>) {
        if self.auctions.get(underlying).is_some() {
            return;
        }
        let (auction, began_at) = (self.auctions.next_number(), self.time);
        let closes_at = began_at.plus_ms(self.parameters.auction.length_ms);
        self.auctions
            .put(underlying, Auction::new(auction, began_at, closes_at));
        events.push(Event::AuctionBegan {
            underlying,
            auction,
            began_at,
            closes_at,
            sealed: self.parameters.auction.key.is_some(),
        });
    }

    /// Whether an underlying has no auction running: none began, or its last one is over.
    pub fn auction_over(&self, underlying: UnderlyingId) -> bool {
        self.auctions.get(underlying).is_none()
    }

    /// Whether an instrument's public orders may not be withdrawn now.
    #[inline]
    pub(super) fn locked(&self, instrument: InstrumentId) -> bool {
        !self.auctions.is_empty() && self.is_locked(instrument)
    }

    #[cold]
    fn is_locked(&self, instrument: InstrumentId) -> bool {
        let entry = self.instruments.get(instrument);
        let auction = entry.and_then(|i| self.auctions.get(i.terms.underlying));
        auction.is_some_and(|auction| auction.locks(instrument))
    }

    /// Moves every auction on by what time alone causes.
    pub(super) fn run_auctions(&mut self, events: &mut Vec<Event>) {
        if self.auctions.is_empty() {
            return;
        }
        let running: Vec<UnderlyingId> = self.auctions.iter().map(|(id, _)| id).collect();
        for underlying in running {
            self.run_auction(underlying, events);
        }
    }

    fn run_auction(&mut self, underlying: UnderlyingId, events: &mut Vec<Event>) {
        let Some(auction) = self.auctions.get(underlying) else {
            return;
        };
        match auction.phase {
            Phase::Collecting if self.time >= auction.closes_at && self.may_close(underlying) => {
                self.close_auction(underlying, events);
            }
            Phase::Collecting => self.indicate(underlying, events),
            Phase::Closed { at } => {
                if self.time.since(at) >= self.parameters.auction.opening_timeout_ms {
                    self.drop_unopened(underlying, events);
                    self.uncross(underlying, events);
                }
            }
            Phase::Opening { signature } => {
                if self.open_seals(underlying, &signature, events) {
                    self.uncross(underlying, events);
                }
            }
        }
    }

    /// Whether there is an index to clear by. An auction whose index is lost goes on collecting: nothing
    /// is invented, and whoever wants out can still get out.
    fn may_close(&self, underlying: UnderlyingId) -> bool {
        let age_max = self.parameters.index.source_age_ms_max;
        self.feed(underlying).is_none_or(|feed| {
            feed.last.is_none() || (feed.live && feed.age_ms(self.time) <= age_max)
        })
    }

    /// Closes an auction; without seals there is nothing to wait for.
    fn close_auction(&mut self, underlying: UnderlyingId, events: &mut Vec<Event>) {
        let at = self.time;
        let Some(auction) = self.auctions.get_mut(underlying) else {
            return;
        };
        auction.phase = Phase::Closed { at };
        let seals = seal_count(auction);
        events.push(Event::AuctionClosed {
            underlying,
            auction: auction.number,
            seals,
        });
        if seals == 0 {
            self.uncross(underlying, events);
        }
    }

    /// In the last phase, now and then: where what is public would clear.
    fn indicate(&mut self, underlying: UnderlyingId, events: &mut Vec<Event>) {
        let (parameters, now) = (self.parameters.auction, self.time);
        let Some(auction) = self.auctions.get(underlying) else {
            return;
        };
        let last_phase = now.plus_ms(parameters.last_phase_ms) >= auction.closes_at;
        if !last_phase || now.since(auction.indicated_at) < parameters.indication_ms {
            return;
        }
        let ids = self.clearing_instruments(underlying, auction);
        let indications = ids.iter().filter_map(|id| self.indication(*id)).collect();
        let (number, seals) = (auction.number, seal_count(auction));
        if let Some(auction) = self.auctions.get_mut(underlying) {
            auction.indicated_at = now;
        }
        events.push(Event::AuctionIndicated {
            underlying,
            auction: number,
            seals,
            indications,
        });
    }

    fn indication(&self, id: InstrumentId) -> Option<Indication> {
        let instrument = self.instruments.get(id)?;
        let collar = self.collar(instrument)?;
        let (bid, ask) = (
            self.books.best(id, Side::Buy),
            self.books.best(id, Side::Sell),
        );
        bid.or(ask)?;
        let clearing = match self.clearing(id, &collar, collar.band) {
            Some(clearing) => clearing,
            None => Clearing {
                price: collar.between(bid, ask),
                lots: 0,
                imbalance: 0,
            },
        };
        Some(Indication {
            instrument: id,
            price: clearing.price.to_price(instrument.tick).unwrap_or_default(),
            qty: coins(instrument, i64::try_from(clearing.lots).unwrap_or(i64::MAX)),
            imbalance: coins(instrument, clearing.imbalance),
        })
    }

    /// The instruments that an auction is still to clear, in the order in which it does.
    fn clearing_instruments(
        &self,
        underlying: UnderlyingId,
        auction: &Auction,
    ) -> Vec<InstrumentId> {
        let all = self.instruments.expiries(underlying);
        let live = all.filter(|(expiry, _)| *expiry > self.time);
        let mut ids: Vec<InstrumentId> = live
            .flat_map(|(_, ids)| ids.iter().copied())
            .filter(|id| auction.clears(*id))
            .collect();
        ids.sort_unstable();
        ids
    }

    /// The uniform price of a book as it is, among the prices of a band.
    fn clearing(&self, id: InstrumentId, collar: &Collar, band: Band) -> Option<Clearing> {
        let (bid, ask) = (
            self.books.best(id, Side::Buy)?,
            self.books.best(id, Side::Sell)?,
        );
        if bid < ask {
            return None;
        }
        let levels = |side, reaches: &dyn Fn(PriceTicks) -> bool| -> Vec<Level> {
            let all = self.books.depth(id, side, usize::MAX);
            let crossing = all.take_while(|level| reaches(level.price));
            crossing
                .map(|level| Level {
                    price: level.price,
                    lots: level.lots,
                })
                .collect()
        };
        let bids = levels(Side::Buy, &|price| price >= ask);
        let asks = levels(Side::Sell, &|price| price <= bid);
        clear(&bids, &asks, &collar.reference, band)
    }

    /// The prices that an instrument may clear at; `None` without a mark or an index.
    fn collar(&self, instrument: &Instrument) -> Option<Collar> {
        let parameters = &self.parameters.auction;
        let mark = instrument.mark?.price;
        let index = self.index_price(instrument.terms.underlying)?;
        let share = |of: Price, ppm: u32| {
            mul_div(of.get(), i64::from(ppm), 1_000_000, Rounding::Down).unwrap_or(i64::MAX)
        };
        let reach =
            share(mark, parameters.collar_mark_ppm).max(share(index, parameters.collar_index_ppm));
        let tick = instrument.tick.get();
        let ticks = |price: i64, rounding| {
            let whole = mul_div(price, 1, tick, rounding).unwrap_or(i64::MAX);
            let whole = whole.clamp(1, i64::from(PRICE_TICKS_MAX));
            PriceTicks::new(u32::try_from(whole).unwrap_or(1))
        };
        let low = ticks(mark.get().saturating_sub(reach), Rounding::Up);
        let high = ticks(mark.get().saturating_add(reach), Rounding::Down);
        Some(Collar {
            reference: Reference {
                mark,
                tick: instrument.tick,
            },
            band: Band {
                low,
                high: high.max(low),
            },
        })
    }

    /// Clears every instrument that is left. Those whose price leaves the collar go on once.
    fn uncross(&mut self, underlying: UnderlyingId, events: &mut Vec<Event>) {
        let Some(auction) = self.auctions.get(underlying) else {
            return;
        };
        let (number, last) = (auction.number, auction.extended.is_some());
        let mut waiting = BTreeSet::new();
        for id in self.clearing_instruments(underlying, auction) {
            if !self.uncross_one(number, id, last, events) {
                waiting.insert(id);
            }
        }
        self.end_immediate(underlying, &waiting, events);
        if waiting.is_empty() {
            self.auctions.take(underlying);
            events.push(Event::AuctionEnded {
                underlying,
                auction: number,
            });
        } else {
            self.extend_auction(underlying, waiting, events);
        }
    }

    /// The instruments that wait go on collecting, under a number to which nobody has signed yet.
    fn extend_auction(
        &mut self,
        underlying: UnderlyingId,
        waiting: BTreeSet<InstrumentId>,
        events: &mut Vec<Event>,
    ) {
        let Some(over) = self.auctions.take(underlying) else {
            return;
        };
        let (next, began_at) = (self.auctions.next_number(), self.time);
        let closes_at = began_at.plus_ms(self.parameters.auction.extension_ms);
        events.push(Event::AuctionExtended {
            underlying,
            auction: over.number,
            next,
            began_at,
            closes_at,
            instruments: waiting.iter().copied().collect(),
        });
        let auction = Auction {
            extended: Some(waiting),
            opened: over.opened,
            ..Auction::new(next, began_at, closes_at)
        };
        self.auctions.put(underlying, auction);
    }
}

/// What an instrument's price is measured by.
struct Collar {
    reference: Reference,
    band: Band,
}

impl Collar {
    /// The price between two best ones that is nearest to the mark, within the collar as far as there is
    /// one.
    fn between(&self, bid: Option<PriceTicks>, ask: Option<PriceTicks>) -> PriceTicks {
        let tick = self.reference.tick.get();
        let mark = self.reference.mark.get().checked_div(tick).unwrap_or(1);
        let mark = PriceTicks::new(u32::try_from(mark.max(1)).unwrap_or(PRICE_TICKS_MAX));
        let inside = mark.clamp(self.band.low, self.band.high);
        let above = bid.map_or(inside, |bid| inside.max(bid));
        ask.map_or(above, |ask| above.min(ask))
    }
}

fn seal_count(auction: &Auction) -> u32 {
    u32::try_from(auction.seals.len()).unwrap_or(u32::MAX)
}

/// So many lots in coin; saturates.
fn coins(instrument: &Instrument, lots: i64) -> Qty {
    Qty::new(lots.saturating_mul(instrument.lot.get()))
}

//! The uniform price: where two sides of a book that cross trade the most.
//!
//! **Owns** the rule that picks the price. It reads two ladders and a mark and returns a price; it
//! knows neither orders nor accounts, and whoever allocates cannot change what it found.
//!
//! The rule, in this order: most volume; then the least imbalance, which is what is left over at that
//! price; then nearest to the mark; then the lower price. Prices with the same volume and imbalance come
//! in runs of neighbouring ticks, so one look at each run decides, however many ticks it has.

use alloc::vec::Vec;
use core::cmp::Reverse;

use crate::types::{Price, PriceTicks};

/// All lots at one price of one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// The limit.
    pub price: PriceTicks,
    /// The lots of all orders at it.
    pub lots: u64,
}

/// The prices that may be picked, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Band {
    /// The lowest.
    pub low: PriceTicks,
    /// The highest; not under the lowest.
    pub high: PriceTicks,
}

impl Band {
    /// Every price.
    pub const ALL: Self = Self {
        low: PriceTicks::new(1),
        high: PriceTicks::new(crate::limits::PRICE_TICKS_MAX),
    };

    /// Whether a price is within it.
    pub fn holds(&self, price: PriceTicks) -> bool {
        self.low <= price && price <= self.high
    }
}

/// Where prices are measured from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The mark.
    pub mark: Price,
    /// The instrument's price step; positive.
    pub tick: Price,
}

impl Reference {
    /// How far a price is from the mark.
    fn distance(&self, price: PriceTicks) -> u64 {
        let price = i64::from(price.get()).saturating_mul(self.tick.get());
        price.abs_diff(self.mark.get())
    }

    /// The price of a run that is nearest to the mark; of two, the lower.
    fn nearest(&self, from: u32, to: u32) -> PriceTicks {
        let below = self.mark.get().checked_div(self.tick.get()).unwrap_or(0);
        let below = u32::try_from(below.max(0)).unwrap_or(u32::MAX);
        let low = PriceTicks::new(below.clamp(from, to));
        let high = PriceTicks::new(below.saturating_add(1).clamp(from, to));
        if self.distance(high) < self.distance(low) {
            high
        } else {
            low
        }
    }
}

/// A price and what trades at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clearing {
    /// The one price of every trade.
    pub price: PriceTicks,
    /// Lots that trade; 0 where the sides do not cross within the band.
    pub lots: u64,
    /// Lots bid for at that price or better less lots offered: what one side lacks.
    pub imbalance: i64,
}

/// Picks the price for two ladders, each best price first, among the prices of `band` that lie between
/// the best bid and the best ask. `None` when they do not cross there.
pub fn clear(
    bids: &[Level],
    asks: &[Level],
    reference: &Reference,
    band: Band,
) -> Option<Clearing> {
    let (bid, ask) = (bids.first()?.price, asks.first()?.price);
    let from = ask.max(band.low).get();
    let to = bid.min(band.high).get();
    if from > to {
        return None;
    }
    let runs = run_starts(bids, asks, from, to);
    let ends = runs.iter().skip(1).map(|start| start.saturating_sub(1));
    let candidates = runs.iter().zip(ends.chain([to]));
    let mut walk = Walk::new(bids, asks);
    let judged = candidates.map(|(start, end)| {
        let (demand, supply) = walk.at(*start);
        Clearing {
            price: reference.nearest(*start, end),
            lots: demand.min(supply),
            imbalance: difference(demand, supply),
        }
    });
    judged.max_by_key(|c| {
        let near = Reverse(reference.distance(c.price));
        (
            c.lots,
            Reverse(c.imbalance.unsigned_abs()),
            near,
            Reverse(c.price),
        )
    })
}

fn difference(demand: u64, supply: u64) -> i64 {
    let wide = i128::from(demand).saturating_sub(i128::from(supply));
    i64::try_from(wide).unwrap_or(if wide < 0 { i64::MIN } else { i64::MAX })
}

/// Where volume or imbalance can change within `from..=to`: at an ask, and just above a bid.
fn run_starts(bids: &[Level], asks: &[Level], from: u32, to: u32) -> Vec<u32> {
    let asked = asks.iter().map(|level| level.price.get());
    let bid = bids.iter().map(|level| level.price.get().saturating_add(1));
    let within = asked
        .take_while(|price| *price <= to)
        .chain(bid.take_while(|price| *price > from))
        .filter(|price| (from..=to).contains(price));
    let mut starts: Vec<u32> = core::iter::once(from).chain(within).collect();
    starts.sort_unstable();
    starts.dedup();
    starts
}

/// Demand and supply at rising prices.
struct Walk<'a> {
    bids: &'a [Level],
    asks: &'a [Level],
    /// Lots of `bids`, all of them at or above the price reached.
    demand: u64,
    supply: u64,
}

impl<'a> Walk<'a> {
    fn new(bids: &'a [Level], asks: &'a [Level]) -> Self {
        let all = bids.iter().fold(0_u64, |sum, l| sum.saturating_add(l.lots));
        Self {
            bids,
            asks,
            demand: all,
            supply: 0,
        }
    }

    /// Lots bid for at `price` or above, and offered at it or below. Prices may only rise.
    fn at(&mut self, price: u32) -> (u64, u64) {
        while let Some((last, rest)) = self.bids.split_last()
            && last.price.get() < price
        {
            self.demand = self.demand.saturating_sub(last.lots);
            self.bids = rest;
        }
        while let Some((first, rest)) = self.asks.split_first()
            && first.price.get() <= price
        {
            self.supply = self.supply.saturating_add(first.lots);
            self.asks = rest;
        }
        (self.demand, self.supply)
    }
}

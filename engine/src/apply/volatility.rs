//! The volatility index from the books and the marks, and how much rests near the mark.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::Engine;
use crate::instrument::Instrument;
use crate::pricing::variance::{BidAsk, HORIZON_MS};
use crate::pricing::volatility::{
    IndexVolatility, STRIKES_MIN, StrikeView, TermView, index_volatility,
};
use crate::types::{InstrumentId, OptionKind, Price, Side, TimeMs, UnderlyingId};

/// An expiry nearer than this says nothing of the next 30 days: its last day is the settlement's.
const TIME_LEFT_MIN_MS: u64 = 86_400_000;
/// Price levels of each side that count as near the mark.
const DEPTH_LEVELS: usize = 3;

/// The two expiries that the index is made of, each with its options.
struct Terms {
    near: Option<(TimeMs, Vec<InstrumentId>)>,
    next: Option<(TimeMs, Vec<InstrumentId>)>,
}

/// What the books say of volatility.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BookVolatility {
    pub index: IndexVolatility,
    /// Lots on the first levels of both sides of the options that the index is made of.
    pub depth: u64,
}

impl Engine {
    /// The volatility index as the books and marks give it now.
    pub(super) fn book_volatility(&self, underlying: UnderlyingId) -> Option<BookVolatility> {
        let terms = self.index_terms(underlying);
        let (mut depth, mut views) = (0u64, [None, None]);
        for (view, term) in views.iter_mut().zip([terms.near, terms.next]) {
            let Some((expiry, ids)) = term else { continue };
            *view = self.term_view(underlying, expiry, &ids);
            let lots = ids.iter().map(|id| self.near_depth(*id));
            depth = depth.saturating_add(lots.fold(0, u64::saturating_add));
        }
        let [near, next] = views;
        let band = self.parameters.breakers.strike_band();
        let index = index_volatility(near.as_ref(), next.as_ref(), &band)?;
        Some(BookVolatility { index, depth })
    }

    /// The last expiry within the index's horizon and the first beyond it that have enough strikes, with
    /// one option of every strike: the one out of the money where it is listed.
    fn index_terms(&self, underlying: UnderlyingId) -> Terms {
        let mut terms = Terms {
            near: None,
            next: None,
        };
        for (expiry, ids) in self.instruments.expiries(underlying) {
            let left = expiry.since(self.time);
            if left < TIME_LEFT_MIN_MS || terms.next.is_some() {
                continue;
            }
            let Some(forward) = self.forward(underlying, expiry) else {
                continue;
            };
            let chosen = self.one_a_strike(ids, forward);
            if chosen.len() < STRIKES_MIN {
                continue;
            }
            if left <= HORIZON_MS {
                terms.near = Some((expiry, chosen));
            } else {
                terms.next = Some((expiry, chosen));
            }
        }
        terms
    }

    /// By ascending strike.
    fn one_a_strike(&self, ids: &[InstrumentId], forward: Price) -> Vec<InstrumentId> {
        let mut chosen: BTreeMap<Price, InstrumentId> = BTreeMap::new();
        let listed = ids.iter().filter_map(|id| self.instruments.get(*id));
        for option in listed.filter(|option| option.is_listed()) {
            let wanted = if option.terms.strike < forward {
                OptionKind::Put
            } else {
                OptionKind::Call
            };
            let entry = chosen.entry(option.terms.strike).or_insert(option.id);
            if option.terms.kind == wanted {
                *entry = option.id;
            }
        }
        chosen.into_values().collect()
    }

    fn term_view(
        &self,
        underlying: UnderlyingId,
        expiry: TimeMs,
        ids: &[InstrumentId],
    ) -> Option<TermView> {
        let forward = self.forward(underlying, expiry)?;
        let options = ids.iter().filter_map(|id| self.instruments.get(*id));
        Some(TermView {
            view: self.expiry_view(expiry, forward),
            strikes: options.filter_map(|o| self.strike_view(o)).collect(),
        })
    }

    fn strike_view(&self, option: &Instrument) -> Option<StrikeView> {
        let (bid, ask) = (
            self.best(option.id, Side::Buy),
            self.best(option.id, Side::Sell),
        );
        Some(StrikeView {
            strike: option.terms.strike,
            kind: option.terms.kind,
            quote: bid.zip(ask).map(|(bid, ask)| BidAsk { bid, ask }),
            mark_ppm: option.mark?.volatility_ppm,
            tick: option.tick,
        })
    }

    fn near_depth(&self, id: InstrumentId) -> u64 {
        let sides = [Side::Buy, Side::Sell].into_iter();
        let levels = sides.flat_map(|side| self.books.depth(id, side, DEPTH_LEVELS));
        levels.fold(0, |sum, level| sum.saturating_add(level.lots))
    }
}

//! What is remembered of one source, as one validator sees it.
//!
//! A feed that broke often goes on to send its last price with a fresh time. That it has a price says
//! nothing then; that it does not move while the others do, does.

use borsh::{BorshDeserialize, BorshSerialize};

use super::index::scaled;
use crate::params::IndexParameters;
use crate::types::{Price, TimeMs};

/// What is to be said of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum SourceDoubt {
    /// It stands still while the others move: it is no price until it changes.
    Frozen,
    /// It has been outside the clamp for long: it still counts, at the clamp.
    Apart,
    /// It moves again, or is back inside the clamp.
    Cleared,
}

/// A source beside the others at one moment. Prices are 0 where there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// What it says.
    pub price: Price,
    /// The median of the other good sources.
    pub others: Price,
    /// The median of all good sources.
    pub median: Price,
    /// When the validator looked.
    pub at: TimeMs,
}

/// What is remembered of a source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(super) struct SourceWatch {
    /// Its last price.
    price: Price,
    /// When it came to that price.
    since: TimeMs,
    /// The median of the others then.
    others: Price,
    /// Whether it stands still while the others moved.
    frozen: bool,
    /// Since when it is outside the clamp; 0 while it is not.
    apart_since: TimeMs,
    /// Whether that was said.
    named: bool,
}

impl SourceWatch {
    pub const fn is_frozen(&self) -> bool {
        self.frozen
    }

    /// Whether a source at this price is the one that stands still.
    pub fn is_frozen_at(&self, price: Price) -> bool {
        self.frozen && self.price == price
    }

    /// Takes in what it says now. No price changes nothing: a source that comes back with the price it
    /// went with has not moved.
    pub fn look(&mut self, seen: &Sighting, parameters: &IndexParameters) -> Option<SourceDoubt> {
        if seen.price.get() <= 0 {
            return None;
        }
        let frozen = self.look_for_motion(seen, parameters);
        frozen.or_else(|| self.look_for_distance(seen, parameters))
    }

    fn look_for_motion(
        &mut self,
        seen: &Sighting,
        parameters: &IndexParameters,
    ) -> Option<SourceDoubt> {
        if seen.price != self.price {
            (self.price, self.since, self.others) = (seen.price, seen.at, seen.others);
            let was = core::mem::replace(&mut self.frozen, false);
            return was.then_some(SourceDoubt::Cleared);
        }
        if self.others.get() <= 0 {
            self.others = seen.others;
        }
        let moved = seen.others.get().abs_diff(self.others.get());
        let still = seen.at.since(self.since) >= parameters.frozen_ms
            && seen.others.get() > 0
            && moved > scaled(self.others, parameters.frozen_ppm);
        let begins = still && !self.frozen;
        self.frozen |= still;
        begins.then_some(SourceDoubt::Frozen)
    }

    fn look_for_distance(
        &mut self,
        seen: &Sighting,
        parameters: &IndexParameters,
    ) -> Option<SourceDoubt> {
        let distance = seen.price.get().abs_diff(seen.median.get());
        let inside = distance <= scaled(seen.median, parameters.clamp_ppm);
        if seen.median.get() <= 0 || self.frozen || inside {
            self.apart_since = TimeMs::new(0);
            let was = core::mem::replace(&mut self.named, false);
            return was.then_some(SourceDoubt::Cleared);
        }
        if self.apart_since.get() == 0 {
            self.apart_since = seen.at;
        }
        let long = seen.at.since(self.apart_since) >= parameters.apart_ms;
        let begins = long && !self.named;
        self.named |= long;
        begins.then_some(SourceDoubt::Apart)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(price: i64, others: i64, at: u64) -> Sighting {
        let price_of = |usd: i64| Price::new(usd.saturating_mul(1_000_000));
        Sighting {
            price: price_of(price),
            others: price_of(others),
            median: price_of(others),
            at: TimeMs::new(at),
        }
    }

    #[test]
    fn a_source_that_stands_still_while_others_move_is_frozen_until_it_changes() {
        let parameters = IndexParameters::default();
        let mut watch = SourceWatch::default();
        let frozen_ms = parameters.frozen_ms;
        assert_eq!(watch.look(&seen(1_000, 1_000, 1), &parameters), None);
        // Not for long enough, then not far enough.
        assert_eq!(watch.look(&seen(1_000, 1_004, 2), &parameters), None);
        let late = frozen_ms.saturating_add(1);
        assert_eq!(watch.look(&seen(1_000, 1_003, late), &parameters), None);
        let doubt = watch.look(&seen(1_000, 1_004, late), &parameters);
        assert_eq!(doubt, Some(SourceDoubt::Frozen));
        assert!(watch.is_frozen_at(seen(1_000, 0, 0).price));
        // It stays so when the others come back, when it is silent, and is said once.
        for other in [1_000, 1_010] {
            assert_eq!(watch.look(&seen(1_000, other, late), &parameters), None);
        }
        assert_eq!(watch.look(&seen(0, 1_010, late), &parameters), None);
        assert!(watch.is_frozen());
        let doubt = watch.look(&seen(1_009, 1_010, late), &parameters);
        assert_eq!(doubt, Some(SourceDoubt::Cleared));
        assert!(!watch.is_frozen());
    }

    #[test]
    fn a_source_far_from_the_others_for_long_is_named_once() {
        let parameters = IndexParameters::default();
        let mut watch = SourceWatch::default();
        let mut said = alloc::vec::Vec::new();
        for at in 1..200_u64 {
            let price = if at < 150 { 1_050 } else { 1_001 };
            let wiggle = i64::try_from(at & 1).unwrap_or(0);
            let at = at.saturating_mul(1_000);
            said.extend(watch.look(&seen(price + wiggle, 1_000, at), &parameters));
        }
        assert_eq!(said, [SourceDoubt::Apart, SourceDoubt::Cleared]);
    }
}

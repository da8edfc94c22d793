//! Observations on their way to an index, and what the loss of one does to margin.
//!
//! One code for every feed, the settlement stablecoin's among them. **Never** invents a price: without
//! enough sources that agree the last index stays and ages, no mark moves by it, and nobody is
//! liquidated by it (I5).

use alloc::vec::Vec;

use super::Engine;
use crate::breakers::Agreement;
use crate::command::Observation;
use crate::event::Event;
use crate::reject::Reject;
use crate::risk::Ratio;
use crate::settlement::{IndexFeed, IndexPrice, STABLE, TickRules};
use crate::types::{UnderlyingId, ValidatorId};

impl Engine {
    /// Takes in what a validator saw.
    ///
    /// # Errors
    /// [`Reject::BadObservation`].
    pub(super) fn observe(
        &mut self,
        validator: ValidatorId,
        observation: &Observation,
        events: &mut Vec<Event>,
    ) -> Result<(), Reject> {
        let underlying = observation.underlying;
        let (feed, rules) = self
            .feed_and_rules(underlying)
            .ok_or(Reject::BadObservation)?;
        let doubts = feed.observe(validator, observation, &rules)?;
        for (source, doubt, seen) in doubts {
            events.push(Event::SourceDoubted {
                underlying,
                validator,
                source,
                doubt,
                price: seen.price,
                median: seen.median,
            });
        }
        Ok(())
    }

    /// A feed with the rules of its tick now.
    pub(super) fn feed_and_rules(
        &mut self,
        id: UnderlyingId,
    ) -> Option<(&mut IndexFeed, TickRules<'_>)> {
        let quorum = self.quorum();
        let at = usize::from(id.get());
        let (feed, weights) = if id == STABLE {
            let stable = self.parameters.stable.as_ref()?;
            (&mut self.stable, &stable.source_weights)
        } else {
            let underlying = self.parameters.underlyings.get(at)?;
            (self.feeds.get_mut(at)?, &underlying.source_weights)
        };
        let rules = TickRules {
            weights,
            parameters: &self.parameters.index,
            quorum,
            now: self.time,
        };
        Some((feed, rules))
    }

    /// Whether as many sources agree on an underlying now as VERIFY asks for.
    pub(super) fn sources_agree(&self, underlying: UnderlyingId) -> bool {
        self.agreement(underlying)
            .is_some_and(|agreement| agreement.agreeing >= agreement.needed)
    }

    /// How many sources agree on an underlying now, at a quorum of validators, and how many VERIFY asks
    /// for.
    pub(super) fn agreement(&self, underlying: UnderlyingId) -> Option<Agreement> {
        let at = usize::from(underlying.get());
        let (feed, of) = (self.feeds.get(at)?, self.parameters.underlyings.get(at)?);
        let modes = self.parameters.modes;
        let two_thirds = of.source_weights.len().saturating_mul(2).div_ceil(3);
        let needed = usize::from(modes.agreement_sources_min);
        let rules = TickRules {
            weights: &of.source_weights,
            parameters: &self.parameters.index,
            quorum: self.quorum(),
            now: self.time,
        };
        let agreeing = feed.agreeing_sources(modes.agreement_ppm, &rules);
        Some(Agreement {
            agreeing: u32::try_from(agreeing).unwrap_or(u32::MAX),
            needed: u32::try_from(needed.min(two_thirds).max(1)).unwrap_or(u32::MAX),
        })
    }

    /// Ticks a feed; says when its index is lost and when it is back.
    pub(super) fn tick_feed(
        &mut self,
        id: UnderlyingId,
        events: &mut Vec<Event>,
    ) -> Option<IndexPrice> {
        let now = self.time;
        let (feed, rules) = self.feed_and_rules(id)?;
        let (was_live, lost_at) = (feed.live, feed.lost_at);
        let result = feed.tick(&rules);
        match result {
            Ok(index) if lost_at.get() > 0 => events.push(Event::IndexRestored {
                underlying: id,
                price: index.price,
                sources: index.sources,
                lost_ms: now.since(lost_at),
            }),
            Err(fault) if was_live => events.push(Event::IndexLost {
                underlying: id,
                sources: feed.thinnest(rules.parameters, now),
                fault,
                frozen: feed.frozen_sources(),
                dispersion_ppm: feed.dispersion_ppm(rules.parameters, now),
            }),
            _ => {}
        }
        if was_live != result.is_ok() {
            self.update_conditions(id);
            self.distrust_lost(id);
        }
        result.ok()
    }

    pub(super) fn tick_stable(&mut self, events: &mut Vec<Event>) {
        let before = self.stable.last.map(|index| index.price);
        let Some(index) = self.tick_feed(STABLE, events) else {
            return;
        };
        if before == Some(index.price) {
            return;
        }
        let (price, sources) = (index.price, index.sources);
        events.push(Event::StableUpdated { price, sources });
        for at in 0..self.parameters.underlyings.len() {
            self.update_conditions(UnderlyingId::new(u8::try_from(at).unwrap_or(u8::MAX)));
        }
    }

    /// The settlement stablecoin in dollars: one until it was observed. While its feed is lost the last
    /// price stays, since nothing better is known.
    pub fn stable_ratio(&self) -> Ratio {
        let price = self.stable.last.map(|index| index.price.get());
        price.map_or(Ratio::ONE, |micros| {
            Ratio::new(micros.saturating_mul(1_000))
        })
    }

    /// Initial margin's factor on losses in an underlying: more while it has lost its index.
    fn loss_scale(&self, underlying: UnderlyingId) -> Ratio {
        let feed = self.feed(underlying);
        let lost = feed.is_some_and(|feed| feed.last.is_some() && !feed.live);
        let ppm = self.parameters.index.lost_margin_ppm;
        match lost {
            true => Ratio::from_ppm(i32::try_from(ppm).unwrap_or(i32::MAX)),
            false => Ratio::ONE,
        }
    }

    /// Hands what weighs on an underlying's initial margin to the margin models.
    pub(super) fn update_conditions(&mut self, underlying: UnderlyingId) {
        let (stable, scale) = (self.stable_ratio(), self.loss_scale(underlying));
        self.set_margin_conditions(underlying, stable, scale);
    }
}

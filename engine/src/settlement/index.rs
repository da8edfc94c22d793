//! The index: capped median over sources, then the median over validators, and when there is none.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use borsh::{BorshDeserialize, BorshSerialize};

use super::sources::{Sighting, SourceDoubt, SourceWatch};
use crate::command::{Observation, SourcePrice};
use crate::params::IndexParameters;
use crate::reject::Reject;
use crate::types::{Price, TimeMs, ValidatorId};

/// An index price, how many sources the thinnest contributing validator had, and its times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct IndexPrice {
    /// USDC for one coin.
    pub price: Price,
    /// Good sources of the validator with the fewest.
    pub sources: u8,
    /// Block time at which it was computed.
    pub at: TimeMs,
    /// A quorum of the contributing validators looked then or later: the price is as old as that, not
    /// as the block that took it in.
    pub seen_at: TimeMs,
}

/// Why there is no new index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum IndexFault {
    /// Too few validators have enough good sources.
    TooFew,
    /// They have them, but these, or the validators, do not agree on a price.
    Dispersed,
}

/// The rules of one tick and what it is for.
#[derive(Clone, Copy, Debug)]
pub struct TickRules<'a> {
    /// Weight of each source.
    pub weights: &'a [u32],
    /// Figures.
    pub parameters: &'a IndexParameters,
    /// Validators whose agreement binds.
    pub quorum: usize,
    /// Block time.
    pub now: TimeMs,
}

/// Everything observed about one underlying.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct IndexFeed {
    /// The last observation of each validator, by validator id.
    observations: Vec<Option<Observation>>,
    /// The last index there was. It stays when sources go, and ages.
    pub last: Option<IndexPrice>,
    /// Whether the last tick found enough good sources.
    pub live: bool,
    /// Forward prices by expiry: the median over validators.
    pub forwards: BTreeMap<TimeMs, Price>,
    /// Block time of the last tick.
    pub ticked_at: TimeMs,
    /// What is remembered of each source, by validator and source.
    watches: Vec<Vec<SourceWatch>>,
    /// What was seen before this counts nothing any more: it is of a gap between blocks.
    not_before: TimeMs,
    /// Block time of the tick that found no index; 0 while there is one.
    pub lost_at: TimeMs,
}

impl IndexFeed {
    /// Takes one validator's observation. Gives what is to be said of its sources.
    ///
    /// # Errors
    /// [`Reject::BadObservation`] when it is from the future, older than the validator's last, from a
    /// gap between blocks, or names other sources than the venue has.
    pub fn observe(
        &mut self,
        validator: ValidatorId,
        observation: &Observation,
        rules: &TickRules<'_>,
    ) -> Result<Vec<(u8, SourceDoubt, Sighting)>, Reject> {
        let slot = usize::from(validator.get());
        let last = self.observations.get(slot).and_then(Option::as_ref);
        let stale = last.is_some_and(|o| o.observed_at > observation.observed_at);
        let ascending = observation
            .forwards
            .is_sorted_by(|a, b| a.expiry < b.expiry);
        let outside =
            observation.observed_at > rules.now || observation.observed_at < self.not_before;
        if outside || stale || !ascending {
            return Err(Reject::BadObservation);
        }
        if observation.sources.len() != rules.weights.len()
            || observation.forwards.len() > crate::limits::FORWARDS_MAX
        {
            return Err(Reject::BadObservation);
        }
        if self.observations.len() <= slot {
            self.observations.resize(slot.saturating_add(1), None);
            self.watches.resize(slot.saturating_add(1), Vec::new());
        }
        let doubts = self.look(slot, observation, rules);
        if let Some(entry) = self.observations.get_mut(slot) {
            *entry = Some(observation.clone());
        }
        Ok(doubts)
    }

    /// Compares every source with the others, as the validator sees them.
    fn look(
        &mut self,
        slot: usize,
        observation: &Observation,
        rules: &TickRules<'_>,
    ) -> Vec<(u8, SourceDoubt, Sighting)> {
        let Some(watches) = self.watches.get_mut(slot) else {
            return Vec::new();
        };
        watches.resize(observation.sources.len(), SourceWatch::default());
        let (parameters, now) = (rules.parameters, rules.now);
        let good: Vec<(usize, Price)> =
            good_sources(observation, watches, parameters, now).collect();
        let middle = median(&mut good.iter().map(|(_, p)| *p).collect::<Vec<_>>());
        let mut doubts = Vec::new();
        for ((at, watch), source) in (0..).zip(watches).zip(&observation.sources) {
            let others = good.iter().filter(|(i, _)| *i != at).map(|(_, p)| *p);
            let sighting = Sighting {
                price: source.map_or(Price::ZERO, |source| source.price),
                others: median(&mut others.collect::<Vec<_>>()).unwrap_or(Price::ZERO),
                median: middle.unwrap_or(Price::ZERO),
                at: observation.observed_at,
            };
            if let Some(doubt) = watch.look(&sighting, parameters) {
                doubts.push((u8::try_from(at).unwrap_or(u8::MAX), doubt, sighting));
            }
        }
        doubts
    }

    /// Recomputes index and forwards.
    ///
    /// # Errors
    /// [`IndexFault`] when fewer than a quorum of validators have an index, or they do not agree:
    /// there is no new one, the last stays and ages.
    pub fn tick(&mut self, rules: &TickRules<'_>) -> Result<IndexPrice, IndexFault> {
        self.ticked_at = rules.now;
        match self.agreed_price(rules) {
            Ok(index) => {
                (self.live, self.last, self.lost_at) = (true, Some(index), TimeMs::new(0));
                self.update_forwards(rules);
                Ok(index)
            }
            Err(fault) => {
                if self.live {
                    self.lost_at = rules.now;
                }
                self.live = false;
                Err(fault)
            }
        }
    }

    fn agreed_price(&self, rules: &TickRules<'_>) -> Result<IndexPrice, IndexFault> {
        let quorum = rules.quorum.max(1);
        let (mut indices, mut dispersed) = (Vec::new(), 0_usize);
        for (observation, watches) in self.counted(rules.parameters, rules.now) {
            match validator_index(observation, watches, rules) {
                Ok((price, sources)) => indices.push((price, sources, observation.observed_at)),
                Err(IndexFault::Dispersed) => dispersed = dispersed.saturating_add(1),
                Err(IndexFault::TooFew) => {}
            }
        }
        if indices.len() < quorum {
            let enough = indices.len().saturating_add(dispersed) >= quorum;
            return Err(if enough {
                IndexFault::Dispersed
            } else {
                IndexFault::TooFew
            });
        }
        let mut prices: Vec<Price> = indices.iter().map(|(price, ..)| *price).collect();
        let price = median(&mut prices).ok_or(IndexFault::TooFew)?;
        let reach = scaled(price, rules.parameters.dispersion_ppm_max);
        let near = prices
            .iter()
            .filter(|p| p.get().abs_diff(price.get()) <= reach);
        if near.count() < quorum {
            return Err(IndexFault::Dispersed);
        }
        let mut seen: Vec<TimeMs> = indices.iter().map(|(_, _, at)| *at).collect();
        seen.sort_unstable_by(|a, b| b.cmp(a));
        Ok(IndexPrice {
            price,
            sources: indices
                .iter()
                .map(|(_, sources, _)| *sources)
                .min()
                .unwrap_or(0),
            at: rules.now,
            seen_at: seen
                .get(quorum.saturating_sub(1))
                .copied()
                .unwrap_or_default(),
        })
    }

    /// What was seen before `at` counts nothing any more, whenever it arrives.
    pub fn forget_before(&mut self, at: TimeMs) {
        self.not_before = self.not_before.max(at);
    }

    /// Observations that are not too old, with what is remembered of their sources.
    fn counted(
        &self,
        parameters: &IndexParameters,
        now: TimeMs,
    ) -> impl Iterator<Item = (&Observation, &[SourceWatch])> {
        let (from, age_max) = (self.not_before, parameters.source_age_ms_max);
        let both = self.observations.iter().zip(&self.watches);
        both.filter_map(|(observation, watches)| Some((observation.as_ref()?, watches.as_slice())))
            .filter(move |(o, _)| o.observed_at >= from && now.since(o.observed_at) <= age_max)
    }

    /// A forward needs a quorum like the index: one validator alone moves none.
    fn update_forwards(&mut self, rules: &TickRules<'_>) {
        let mut seen: BTreeMap<TimeMs, Vec<Price>> = BTreeMap::new();
        for (observation, _) in self.counted(rules.parameters, rules.now) {
            for forward in &observation.forwards {
                if forward.price.get() > 0 && forward.expiry > rules.now {
                    seen.entry(forward.expiry).or_default().push(forward.price);
                }
            }
        }
        for (expiry, mut prices) in seen {
            let enough = prices.len() >= rules.quorum.max(1);
            if let (Some(price), true) = (median(&mut prices), enough) {
                self.forwards.insert(expiry, price);
            }
        }
        self.forwards.retain(|expiry, _| *expiry > rules.now);
    }

    /// How many good sources a quorum of validators each have within `within_ppm` of the last index;
    /// what VERIFY asks for, and what liquidation asks for after an outage.
    pub fn agreeing_sources(&self, within_ppm: u32, rules: &TickRules<'_>) -> usize {
        let Some(index) = self.last.filter(|_| self.live) else {
            return 0;
        };
        let distance = scaled(index.price, within_ppm);
        let near = |price: &Price| price.get().abs_diff(index.price.get()) <= distance;
        let counts = self
            .counted(rules.parameters, rules.now)
            .map(|(o, watches)| {
                good_sources(o, watches, rules.parameters, rules.now)
                    .filter(|(_, price)| near(price))
                    .count()
            });
        of_quorum(counts.collect(), rules.quorum).unwrap_or(0)
    }

    /// How far apart the sources are: for each validator the distance from the median of the nearest
    /// two thirds of its good sources, in millionths, and of those the median over validators, so that
    /// neither one source nor one validator moves it. `None` without an observation that counts.
    pub fn dispersion_ppm(&self, parameters: &IndexParameters, now: TimeMs) -> Option<u32> {
        let spreads = self.counted(parameters, now).filter_map(|(o, watches)| {
            let good = good_sources(o, watches, parameters, now);
            spread_ppm(&mut good.map(|(_, price)| price).collect::<Vec<_>>())
        });
        let mut spreads: Vec<u32> = spreads.collect();
        spreads.sort_unstable();
        spreads.get(spreads.len() >> 1).copied()
    }

    /// Sources that stand still, as some validator sees them; ascending.
    pub fn frozen_sources(&self) -> Vec<u8> {
        let sources = self.watches.iter().map(Vec::len).max().unwrap_or(0);
        let frozen = |at: &usize| {
            let mut seen = self.watches.iter().filter_map(|of| of.get(*at));
            seen.any(SourceWatch::is_frozen)
        };
        let frozen = (0..sources).filter(frozen);
        frozen
            .map(|at| u8::try_from(at).unwrap_or(u8::MAX))
            .collect()
    }

    /// Whether any validator ever observed anything.
    pub fn has_observations(&self) -> bool {
        self.observations.iter().any(Option::is_some)
    }

    /// Good sources of the validator with the fewest.
    pub fn thinnest(&self, parameters: &IndexParameters, now: TimeMs) -> u8 {
        let both = self.observations.iter().flatten().zip(&self.watches);
        let fewest = both
            .map(|(o, watches)| good_sources(o, watches, parameters, now).count())
            .min()
            .unwrap_or(0);
        u8::try_from(fewest).unwrap_or(u8::MAX)
    }

    /// Age of what the last index was made of; the greatest possible age when there never was one.
    pub fn age_ms(&self, now: TimeMs) -> u64 {
        self.last.map_or(u64::MAX, |index| now.since(index.seen_at))
    }

    /// Sources behind the last index; 0 while it is lost.
    pub fn sources(&self) -> u8 {
        self.last
            .filter(|_| self.live)
            .map_or(0, |index| index.sources)
    }
}

/// A validator's sources that have a price: positive, not older than the bound, not standing still
/// while the others move.
fn good_sources<'a>(
    observation: &'a Observation,
    watches: &'a [SourceWatch],
    parameters: &'a IndexParameters,
    now: TimeMs,
) -> impl Iterator<Item = (usize, Price)> + 'a {
    let fresh = move |source: &SourcePrice| {
        source.price.get() > 0
            && source.updated_at <= observation.observed_at
            && now.since(source.updated_at) <= parameters.source_age_ms_max
    };
    let sources = observation.sources.iter().enumerate();
    let moving = move |at: usize, price: Price| {
        let watch = watches.get(at);
        watch.is_none_or(|watch| !watch.is_frozen_at(price))
    };
    sources
        .filter_map(move |(at, source)| Some((at, source.as_ref().filter(|s| fresh(s))?.price)))
        .filter(move |(at, price)| moving(*at, *price))
}

fn validator_index(
    observation: &Observation,
    watches: &[SourceWatch],
    rules: &TickRules<'_>,
) -> Result<(Price, u8), IndexFault> {
    let parameters = rules.parameters;
    let weighted: Vec<(Price, u32)> = good_sources(observation, watches, parameters, rules.now)
        .filter_map(|(at, price)| rules.weights.get(at).map(|weight| (price, *weight)))
        .collect();
    let least = usize::from(parameters.sources_min);
    if weighted.len() < least {
        return Err(IndexFault::TooFew);
    }
    let mut prices: Vec<Price> = weighted.iter().map(|(price, _)| *price).collect();
    let middle = median(&mut prices).ok_or(IndexFault::TooFew)?;
    let reach = scaled(middle, parameters.dispersion_ppm_max);
    let near = prices
        .iter()
        .filter(|p| p.get().abs_diff(middle.get()) <= reach);
    if near.count() < least {
        return Err(IndexFault::Dispersed);
    }
    let sources = u8::try_from(weighted.len()).unwrap_or(u8::MAX);
    let price = capped_median_mean(&weighted, parameters.clamp_ppm);
    price
        .map(|price| (price, sources))
        .ok_or(IndexFault::TooFew)
}

/// The count that at least a quorum reach.
fn of_quorum(mut counts: Vec<usize>, quorum: usize) -> Option<usize> {
    counts.sort_unstable_by(|a, b| b.cmp(a));
    counts.get(quorum.max(1).saturating_sub(1)).copied()
}

/// Within which distance of their median the nearest two thirds of prices are, in millionths of it.
fn spread_ppm(prices: &mut [Price]) -> Option<u32> {
    let middle = median(prices)?.get();
    let mut distances: Vec<u64> = prices.iter().map(|p| p.get().abs_diff(middle)).collect();
    distances.sort_unstable();
    let nearest = distances.len().saturating_mul(2).div_ceil(3);
    let farthest = distances.get(nearest.saturating_sub(1))?;
    let ppm = u128::from(*farthest).saturating_mul(1_000_000);
    let ppm = ppm.checked_div(u128::from(middle.unsigned_abs()))?;
    Some(u32::try_from(ppm).unwrap_or(u32::MAX))
}

/// The weighted mean of prices, each clamped to within `clamp_ppm` of their median; rounded down.
/// Worked: 100 at 25, 101 at 50, 120 at 25 and a clamp of 0.5 % give 101.0.
pub fn capped_median_mean(weighted: &[(Price, u32)], clamp_ppm: u32) -> Option<Price> {
    let mut prices: Vec<Price> = weighted.iter().map(|(price, _)| *price).collect();
    let middle = median(&mut prices)?;
    let reach = i64::try_from(scaled(middle, clamp_ppm)).ok()?;
    let low = middle.get().saturating_sub(reach);
    let high = middle.get().saturating_add(reach);
    let (mut sum, mut weight_sum) = (0i128, 0i128);
    for (price, weight) in weighted {
        let clamped = i128::from(price.get().clamp(low, high));
        sum = sum.checked_add(clamped.checked_mul(i128::from(*weight))?)?;
        weight_sum = weight_sum.checked_add(i128::from(*weight))?;
    }
    let mean = sum.checked_div(weight_sum)?;
    i64::try_from(mean).ok().map(Price::new)
}

/// `price · ppm / 1e6`, rounded down; 0 for prices that are not positive.
pub(super) fn scaled(price: Price, ppm: u32) -> u64 {
    let product = i128::from(price.get().max(0)).saturating_mul(i128::from(ppm));
    u64::try_from(product.checked_div(1_000_000).unwrap_or(0)).unwrap_or(u64::MAX)
}

/// The middle price; the mean of the two middle ones, rounded down, for an even count.
fn median(prices: &mut [Price]) -> Option<Price> {
    prices.sort_unstable();
    let half = prices.len() >> 1;
    let upper = prices.get(half)?;
    if prices.len() & 1 == 1 {
        return Some(*upper);
    }
    let lower = prices.get(half.checked_sub(1)?)?;
    let spread = upper.get().saturating_sub(lower.get());
    Some(Price::new(lower.get().saturating_add(spread >> 1)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]
    use super::*;
    use crate::types::UnderlyingId;

    fn usd(whole: i64) -> Price {
        Price::new(whole * 1_000_000)
    }

    fn observation(at: u64, prices: &[Option<i64>]) -> Observation {
        let source = |p: i64| SourcePrice {
            price: usd(p),
            updated_at: TimeMs::new(at),
        };
        Observation {
            underlying: UnderlyingId::new(0),
            observed_at: TimeMs::new(at),
            sources: prices.iter().map(|p| p.map(source)).collect(),
            forwards: Vec::new(),
        }
    }

    fn rules<'a>(
        weights: &'a [u32],
        parameters: &'a IndexParameters,
        quorum: usize,
        now: u64,
    ) -> TickRules<'a> {
        TickRules {
            weights,
            parameters,
            quorum,
            now: TimeMs::new(now),
        }
    }

    #[test]
    fn the_worked_example_gives_101() {
        let sources = [(usd(100), 25), (usd(101), 50), (usd(120), 25)];
        assert_eq!(capped_median_mean(&sources, 5_000), Some(usd(101)));
    }

    #[test]
    fn zero_negative_stale_and_future_sources_are_no_price() {
        let parameters = IndexParameters::default();
        let rules = rules(&[1; 5], &parameters, 1, 1_000_000);
        let mut feed = IndexFeed::default();
        let mut o = observation(
            1_000_000,
            &[Some(100), Some(100), Some(100), Some(0), Some(-5)],
        );
        feed.observe(ValidatorId::new(0), &o, &rules).unwrap();
        assert_eq!(feed.tick(&rules).unwrap().sources, 3);
        o.sources.get_mut(0).unwrap().as_mut().unwrap().updated_at = TimeMs::new(1);
        feed.observe(ValidatorId::new(0), &o, &rules).unwrap();
        assert_eq!(feed.tick(&rules), Err(IndexFault::TooFew));
        assert!(!feed.live);
        assert_eq!(feed.last.unwrap().price, usd(100));
    }

    #[test]
    fn one_lying_validator_does_not_move_the_index() {
        let parameters = IndexParameters::default();
        let rules = rules(&[1; 5], &parameters, 3, 5_000);
        let mut feed = IndexFeed::default();
        for (validator, price) in [(0, 100), (1, 100), (2, 100), (3, 1_000_000)] {
            let o = observation(5_000, &[Some(price); 5]);
            feed.observe(ValidatorId::new(validator), &o, &rules)
                .unwrap();
        }
        assert_eq!(feed.tick(&rules).unwrap().price, usd(100));
        assert_eq!(feed.dispersion_ppm(&parameters, rules.now), Some(0));
    }

    #[test]
    fn an_observation_from_the_future_the_past_or_a_gap_is_refused() {
        let parameters = IndexParameters::default();
        let rules = rules(&[1; 5], &parameters, 1, 10);
        let mut feed = IndexFeed::default();
        let v = ValidatorId::new(0);
        let mut see = |at, sources: &[Option<i64>]| {
            feed.observe(v, &observation(at, sources), &rules).is_ok()
        };
        assert!(!see(11, &[None; 5]));
        assert!(see(10, &[None; 5]));
        assert!(!see(9, &[None; 5]));
        assert!(!see(10, &[None; 4]));
        let mut feed = IndexFeed::default();
        feed.forget_before(TimeMs::new(8));
        let late = observation(7, &[Some(100); 5]);
        assert!(feed.observe(v, &late, &rules).is_err());
    }

    #[test]
    fn what_was_seen_before_a_gap_makes_no_index_after_it() {
        let parameters = IndexParameters::default();
        let rules = rules(&[1; 5], &parameters, 1, 10_000);
        let mut feed = IndexFeed::default();
        let seen = observation(10_000, &[Some(100); 5]);
        feed.observe(ValidatorId::new(0), &seen, &rules).unwrap();
        assert!(feed.tick(&rules).is_ok());
        feed.forget_before(TimeMs::new(10_001));
        assert_eq!(feed.tick(&rules), Err(IndexFault::TooFew));
    }

    #[test]
    fn sources_that_disagree_make_no_index_and_say_how_far_apart_they_are() {
        let parameters = IndexParameters::default();
        let rules = rules(&[1; 5], &parameters, 3, 5_000);
        let mut feed = IndexFeed::default();
        for validator in 0..4 {
            let prices = [96, 98, 100, 102, 104].map(Some);
            let o = observation(5_000, &prices);
            feed.observe(ValidatorId::new(validator), &o, &rules)
                .unwrap();
        }
        assert_eq!(feed.tick(&rules), Err(IndexFault::Dispersed));
        // Two thirds of five are four; the fourth nearest is 4 % away.
        assert_eq!(feed.dispersion_ppm(&parameters, rules.now), Some(40_000));
    }

    #[test]
    fn validators_that_disagree_make_no_index() {
        let parameters = IndexParameters::default();
        let rules = rules(&[1; 5], &parameters, 3, 5_000);
        let mut feed = IndexFeed::default();
        for (validator, price) in [(0, 100), (1, 100), (2, 105), (3, 105)] {
            let o = observation(5_000, &[Some(price); 5]);
            feed.observe(ValidatorId::new(validator), &o, &rules)
                .unwrap();
        }
        assert_eq!(feed.tick(&rules), Err(IndexFault::Dispersed));
    }

    #[test]
    fn a_frozen_source_is_no_price_until_it_changes() {
        let parameters = IndexParameters::default();
        let mut feed = IndexFeed::default();
        let v = ValidatorId::new(0);
        let mut see = |at: u64, prices: [i64; 5]| {
            let rules = rules(&[1; 5], &parameters, 1, at);
            let doubts = feed.observe(v, &observation(at, &prices.map(Some)), &rules);
            let doubts: Vec<_> = doubts.unwrap().iter().map(|d| (d.0, d.1)).collect();
            (
                doubts,
                feed.tick(&rules).unwrap().sources,
                feed.frozen_sources(),
            )
        };
        assert_eq!(see(1_000, [1_000; 5]), (Vec::new(), 5, Vec::new()));
        let moved = [1_000, 1_004, 1_004, 1_004, 1_004];
        assert_eq!(see(30_000, moved).1, 5);
        let frozen = alloc::vec![(0, SourceDoubt::Frozen)];
        assert_eq!(see(61_000, moved), (frozen, 4, alloc::vec![0]));
        let cleared = alloc::vec![(0, SourceDoubt::Cleared)];
        assert_eq!(see(62_000, [1_004; 5]), (cleared, 5, Vec::new()));
    }
}

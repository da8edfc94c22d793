//! The index: capped median over sources, then the median over validators.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use borsh::{BorshDeserialize, BorshSerialize};

use crate::command::{Observation, SourcePrice};
use crate::params::IndexParameters;
use crate::reject::Reject;
use crate::types::{Price, TimeMs, ValidatorId};

/// An index price, how many sources the thinnest contributing validator had, and its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct IndexPrice {
    /// USDC for one coin.
    pub price: Price,
    /// Good sources of the validator with the fewest.
    pub sources: u8,
    /// Block time at which it was computed.
    pub at: TimeMs,
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
}

impl IndexFeed {
    /// Takes one validator's observation.
    ///
    /// # Errors
    /// [`Reject::BadObservation`] when it is from the future, older than the validator's last, or
    /// names other sources than the venue has.
    pub fn observe(
        &mut self,
        validator: ValidatorId,
        observation: &Observation,
        sources: usize,
        now: TimeMs,
    ) -> Result<(), Reject> {
        let slot = usize::from(validator.get());
        let last = self.observations.get(slot).and_then(Option::as_ref);
        let stale = last.is_some_and(|o| o.observed_at > observation.observed_at);
        let ascending = observation
            .forwards
            .is_sorted_by(|a, b| a.expiry < b.expiry);
        if observation.observed_at > now || stale || !ascending {
            return Err(Reject::BadObservation);
        }
        if observation.sources.len() != sources
            || observation.forwards.len() > crate::limits::FORWARDS_MAX
        {
            return Err(Reject::BadObservation);
        }
        if self.observations.len() <= slot {
            self.observations.resize(slot.saturating_add(1), None);
        }
        if let Some(entry) = self.observations.get_mut(slot) {
            *entry = Some(observation.clone());
        }
        Ok(())
    }

    /// Recomputes index and forwards. With fewer than `quorum` validators that have enough good
    /// sources there is no new index: the last one stays and ages.
    pub fn tick(
        &mut self,
        weights: &[u32],
        parameters: &IndexParameters,
        quorum: usize,
        now: TimeMs,
    ) -> Option<IndexPrice> {
        let mut prices = Vec::with_capacity(self.observations.len());
        for observation in self.observations.iter().flatten() {
            if let Some(price) = validator_index(observation, weights, parameters, now) {
                prices.push(price);
            }
        }
        self.ticked_at = now;
        self.live = prices.len() >= quorum.max(1);
        if !self.live {
            return None;
        }
        let sources = prices.iter().map(|p| p.1).min().unwrap_or(0);
        let price = median(&mut prices.iter().map(|p| p.0).collect::<Vec<_>>())?;
        self.last = Some(IndexPrice {
            price,
            sources,
            at: now,
        });
        self.update_forwards(parameters, now);
        self.last
    }

    fn update_forwards(&mut self, parameters: &IndexParameters, now: TimeMs) {
        let mut seen: BTreeMap<TimeMs, Vec<Price>> = BTreeMap::new();
        for observation in self.observations.iter().flatten() {
            if now.since(observation.observed_at) > parameters.source_age_ms_max {
                continue;
            }
            for forward in &observation.forwards {
                if forward.price.get() > 0 && forward.expiry > now {
                    seen.entry(forward.expiry).or_default().push(forward.price);
                }
            }
        }
        for (expiry, mut prices) in seen {
            if let Some(price) = median(&mut prices) {
                self.forwards.insert(expiry, price);
            }
        }
        self.forwards.retain(|expiry, _| *expiry > now);
    }

    /// Good sources of the thinnest validator that all lie within `within_ppm` of the last index,
    /// over validators with a fresh observation; what VERIFY asks for.
    pub fn agreeing_sources(
        &self,
        parameters: &IndexParameters,
        within_ppm: u32,
        now: TimeMs,
    ) -> usize {
        let Some(index) = self.last.filter(|_| self.live) else {
            return 0;
        };
        let distance = scaled(index.price, within_ppm);
        let fresh = self
            .observations
            .iter()
            .flatten()
            .filter(|o| now.since(o.observed_at) <= parameters.source_age_ms_max);
        fresh
            .map(|o| {
                good_sources(o, parameters, now)
                    .filter(|(_, p)| p.get().abs_diff(index.price.get()) <= distance)
                    .count()
            })
            .min()
            .unwrap_or(0)
    }

    /// Whether any validator ever observed anything.
    pub fn has_observations(&self) -> bool {
        self.observations.iter().any(Option::is_some)
    }

    /// Good sources of the validator with the fewest.
    pub fn thinnest(&self, parameters: &IndexParameters, now: TimeMs) -> u8 {
        let counts = self.observations.iter().flatten();
        let fewest = counts
            .map(|o| good_sources(o, parameters, now).count())
            .min()
            .unwrap_or(0);
        u8::try_from(fewest).unwrap_or(u8::MAX)
    }

    /// Age of the last index; the greatest possible age when there never was one.
    pub fn age_ms(&self, now: TimeMs) -> u64 {
        self.last.map_or(u64::MAX, |index| now.since(index.at))
    }
}

/// A validator's sources that have a price: positive and not older than the bound.
fn good_sources<'a>(
    observation: &'a Observation,
    parameters: &'a IndexParameters,
    now: TimeMs,
) -> impl Iterator<Item = (usize, Price)> + 'a {
    let fresh = move |source: &SourcePrice| {
        source.price.get() > 0
            && source.updated_at <= observation.observed_at
            && now.since(source.updated_at) <= parameters.source_age_ms_max
    };
    let sources = observation.sources.iter().enumerate();
    sources.filter_map(move |(i, s)| s.as_ref().filter(|s| fresh(s)).map(|s| (i, s.price)))
}

fn validator_index(
    observation: &Observation,
    weights: &[u32],
    parameters: &IndexParameters,
    now: TimeMs,
) -> Option<(Price, u8)> {
    let weighted: Vec<(Price, u32)> = good_sources(observation, parameters, now)
        .filter_map(|(i, price)| weights.get(i).map(|w| (price, *w)))
        .collect();
    if weighted.len() < usize::from(parameters.sources_min) {
        return None;
    }
    let sources = u8::try_from(weighted.len()).unwrap_or(u8::MAX);
    capped_median_mean(&weighted, parameters.clamp_ppm).map(|price| (price, sources))
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
fn scaled(price: Price, ppm: u32) -> u64 {
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

    #[test]
    fn the_worked_example_gives_101() {
        let sources = [(usd(100), 25), (usd(101), 50), (usd(120), 25)];
        assert_eq!(capped_median_mean(&sources, 5_000), Some(usd(101)));
    }

    #[test]
    fn zero_negative_stale_and_future_sources_are_no_price() {
        let parameters = IndexParameters::default();
        let mut feed = IndexFeed::default();
        let now = TimeMs::new(1_000_000);
        let mut o = observation(
            1_000_000,
            &[Some(100), Some(100), Some(100), Some(0), Some(-5)],
        );
        feed.observe(ValidatorId::new(0), &o, 5, now).unwrap();
        assert_eq!(feed.tick(&[1; 5], &parameters, 1, now).unwrap().sources, 3);
        o.sources.get_mut(0).unwrap().as_mut().unwrap().updated_at = TimeMs::new(1);
        feed.observe(ValidatorId::new(0), &o, 5, now).unwrap();
        assert_eq!(feed.tick(&[1; 5], &parameters, 1, now), None);
        assert!(!feed.live);
        assert_eq!(feed.last.unwrap().price, usd(100));
    }

    #[test]
    fn one_lying_validator_does_not_move_the_index() {
        let parameters = IndexParameters::default();
        let mut feed = IndexFeed::default();
        let now = TimeMs::new(5_000);
        for (validator, price) in [(0, 100), (1, 100), (2, 100), (3, 1_000_000)] {
            let o = observation(5_000, &[Some(price); 5]);
            feed.observe(ValidatorId::new(validator), &o, 5, now)
                .unwrap();
        }
        assert_eq!(
            feed.tick(&[1; 5], &parameters, 3, now).unwrap().price,
            usd(100)
        );
    }

    #[test]
    fn an_observation_from_the_future_or_the_past_is_refused() {
        let mut feed = IndexFeed::default();
        let v = ValidatorId::new(0);
        let now = TimeMs::new(10);
        assert!(
            feed.observe(v, &observation(11, &[None; 5]), 5, now)
                .is_err()
        );
        assert!(
            feed.observe(v, &observation(10, &[None; 5]), 5, now)
                .is_ok()
        );
        assert!(
            feed.observe(v, &observation(9, &[None; 5]), 5, now)
                .is_err()
        );
        assert!(
            feed.observe(v, &observation(10, &[None; 4]), 5, now)
                .is_err()
        );
    }
}

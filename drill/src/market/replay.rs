//! A recording as a path: values between two snapshots lie on the straight line between them.
//!
//! The replayed venue's clock runs in *recorded* time (its block time starts at the recording's
//! start and runs a configured factor faster than the wall), so recorded expiries settle at their
//! own instants and nothing about an option has to be shifted.

use std::collections::{BTreeMap, BTreeSet};

use lifeboat_engine::command::OptionTerms;
use lifeboat_engine::types::{TimeMs, UnderlyingId};

use super::black76::Valuation;
use super::outlook::Outlook;
use super::recording::{RecordedOption, Recording};

/// Values at instants, ascending; straight lines between, constant outside.
#[derive(Debug)]
struct Series<const N: usize>(Vec<(TimeMs, [f64; N])>);

impl<const N: usize> Default for Series<N> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<const N: usize> Series<N> {
    /// Adds the value at a later instant than all before; a second value at one instant replaces
    /// the first.
    fn push(&mut self, at: TimeMs, value: [f64; N]) {
        match self.0.last_mut() {
            Some(last) if last.0 == at => last.1 = value,
            _ => self.0.push((at, value)),
        }
    }

    fn at(&self, now: TimeMs) -> Option<[f64; N]> {
        let after = self.0.partition_point(|(at, _)| *at <= now);
        let right = self.0.get(after).or(self.0.last())?;
        let left = after
            .checked_sub(1)
            .and_then(|before| self.0.get(before))
            .unwrap_or(right);
        let (passed, span) = (now.since(left.0), right.0.since(left.0));
        if passed == 0 || span == 0 {
            return Some(left.1);
        }
        let share = passed as f64 / span as f64;
        let line = |n: usize| left.1[n] + share * (right.1[n] - left.1[n]);
        Some(core::array::from_fn(line))
    }
}

/// A recorded market as an [`Outlook`].
pub struct ReplayOutlook {
    index: BTreeMap<UnderlyingId, Series<1>>,
    /// Forward divided by index.
    basis: BTreeMap<(UnderlyingId, TimeMs), Series<1>>,
    /// Volatility, and how far bid and ask stood from the mark, in coin. A side that nobody quoted
    /// is infinitely far away.
    options: BTreeMap<OptionTerms, Series<3>>,
    /// When an option is first seen, options not yet named by [`Outlook::listings_due`].
    unlisted: BTreeSet<(TimeMs, OptionTerms)>,
}

impl ReplayOutlook {
    /// Takes a recording in.
    pub fn new(recording: &Recording) -> Self {
        let mut outlook = Self {
            index: BTreeMap::new(),
            basis: BTreeMap::new(),
            options: BTreeMap::new(),
            unlisted: BTreeSet::new(),
        };
        for chain in &recording.chains {
            for (underlying, price) in &chain.index {
                outlook
                    .index
                    .entry(*underlying)
                    .or_default()
                    .push(chain.at, [*price]);
            }
            for option in &chain.options {
                outlook.add(chain.at, option);
            }
        }
        outlook
    }

    fn add(&mut self, at: TimeMs, option: &RecordedOption) {
        let terms = option.terms;
        if let Some([index]) = self
            .index
            .get(&terms.underlying)
            .and_then(|index| index.at(at))
        {
            let basis = self
                .basis
                .entry((terms.underlying, terms.expiry))
                .or_default();
            basis.push(at, [option.forward / index]);
        }
        let below = option
            .bid
            .map_or(f64::INFINITY, |bid| (option.mark - bid).max(0.0));
        let above = option
            .ask
            .map_or(f64::INFINITY, |ask| (ask - option.mark).max(0.0));
        let series = self.options.entry(terms).or_insert_with(|| {
            self.unlisted.insert((at, terms));
            Series::default()
        });
        series.push(at, [option.volatility, below, above]);
    }
}

impl Outlook for ReplayOutlook {
    fn index(&mut self, underlying: UnderlyingId, now: TimeMs) -> Option<f64> {
        self.index.get(&underlying)?.at(now).map(|[price]| price)
    }

    fn forward(&mut self, underlying: UnderlyingId, expiry: TimeMs, now: TimeMs) -> Option<f64> {
        let [basis] = self.basis.get(&(underlying, expiry))?.at(now)?;
        Some(self.index(underlying, now)? * basis)
    }

    fn volatility(&mut self, terms: &OptionTerms, now: TimeMs) -> Option<f64> {
        self.options
            .get(terms)?
            .at(now)
            .map(|[volatility, ..]| volatility)
    }

    fn half_spreads(
        &mut self,
        terms: &OptionTerms,
        _value: &Valuation,
        now: TimeMs,
    ) -> [Option<f64>; 2] {
        let spreads = self.options.get(terms).and_then(|series| series.at(now));
        let forward = self.forward(terms.underlying, terms.expiry, now);
        let (Some([_, below, above]), Some(forward)) = (spreads, forward) else {
            return [None; 2];
        };
        // The line to or from a side nobody quoted is infinite or not a number all along.
        [below, above].map(|coin| coin.is_finite().then_some(coin * forward))
    }

    fn listings_due(&mut self, now: TimeMs) -> Vec<OptionTerms> {
        let mut due = Vec::new();
        while let Some((_, terms)) = self.unlisted.first().filter(|(at, _)| *at <= now).copied() {
            self.unlisted.pop_first();
            if terms.expiry > now {
                due.push(terms);
            }
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::recording::RecordedChain;
    use lifeboat_engine::types::{OptionKind, Price};

    const BTC: UnderlyingId = UnderlyingId::new(0);

    fn option(strike: i64, bid: Option<f64>, forward: f64) -> RecordedOption {
        let expiry = TimeMs::new(10_000);
        let strike = Price::new(strike * 1_000_000);
        let terms = OptionTerms {
            underlying: BTC,
            expiry,
            strike,
            kind: OptionKind::Call,
        };
        RecordedOption {
            terms,
            bid,
            ask: Some(0.03),
            mark: 0.02,
            forward,
            volatility: 0.5,
            delta: 0.5,
            vega: 1.0,
        }
    }

    fn chain(at: u64, index: f64, options: Vec<RecordedOption>) -> RecordedChain {
        RecordedChain {
            at: TimeMs::new(at),
            index: vec![(BTC, index)],
            options,
        }
    }

    fn replay() -> ReplayOutlook {
        ReplayOutlook::new(&Recording {
            chains: vec![
                chain(1_000, 100.0, vec![option(100, Some(0.01), 110.0)]),
                chain(
                    3_000,
                    200.0,
                    vec![option(100, None, 220.0), option(200, None, 220.0)],
                ),
            ],
        })
    }

    #[test]
    fn values_lie_on_straight_lines() {
        let mut replay = replay();
        let near = |value: Option<f64>, expected: f64| {
            assert!(
                (value.unwrap_or(f64::NAN) - expected).abs() < 1e-9,
                "{value:?} {expected}"
            );
        };
        near(replay.index(BTC, TimeMs::new(0)), 100.0);
        near(replay.index(BTC, TimeMs::new(2_000)), 150.0);
        near(replay.index(BTC, TimeMs::new(9_000)), 200.0);
        near(
            replay.forward(BTC, TimeMs::new(10_000), TimeMs::new(2_000)),
            165.0,
        );
        assert_eq!(
            replay.forward(BTC, TimeMs::new(11_000), TimeMs::new(2_000)),
            None
        );
        assert_eq!(replay.index(UnderlyingId::new(1), TimeMs::new(0)), None);
    }

    #[test]
    fn a_side_that_nobody_quoted_is_not_quoted() {
        let mut replay = replay();
        let terms = option(100, None, 0.0).terms;
        let value = Valuation {
            price: 2.0,
            delta: 0.5,
            vega: 1.0,
        };
        let [bid, ask] = replay.half_spreads(&terms, &value, TimeMs::new(1_000));
        assert!((bid.unwrap_or_default() - 1.1).abs() < 1e-9);
        assert!((ask.unwrap_or_default() - 1.1).abs() < 1e-9);
        let [bid, ask] = replay.half_spreads(&terms, &value, TimeMs::new(2_000));
        assert_eq!(bid, None);
        assert!((ask.unwrap_or_default() - 1.65).abs() < 1e-9);
    }

    #[test]
    fn each_option_is_due_once_from_its_first_sight() {
        let mut replay = replay();
        assert_eq!(replay.listings_due(TimeMs::new(999)), []);
        assert_eq!(
            replay.listings_due(TimeMs::new(1_000)),
            [option(100, None, 0.0).terms]
        );
        assert_eq!(
            replay.listings_due(TimeMs::new(5_000)),
            [option(200, None, 0.0).terms]
        );
        assert_eq!(replay.listings_due(TimeMs::new(6_000)), []);
    }
}

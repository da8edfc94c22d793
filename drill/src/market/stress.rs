//! A market and its price sources under stress, written down as data.
//!
//! **Owns** what a script does to a path of prices and volatilities, and to what sources report of it.
//! Times are milliseconds after the script begins.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use lifeboat_engine::command::{Observation, OptionTerms, SourcePrice};
use lifeboat_engine::settlement::STABLE;
use lifeboat_engine::types::{Price, TimeMs, UnderlyingId};
use serde::{Deserialize, Serialize};

use super::black76::Valuation;
use super::outlook::Outlook;

/// What moves, from when and to where.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Move {
    /// When it begins.
    pub at_ms: u64,
    /// How long it takes; 0 is a jump.
    #[serde(default)]
    pub over_ms: u64,
    /// By which underlying's number; 255 is the settlement stablecoin.
    pub underlying: u8,
    /// What moves.
    pub what: Moved,
    /// The multiple that it comes to of what it would have been, in millionths.
    pub to_ppm: u64,
}

/// What moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Moved {
    /// The price.
    Price,
    /// All volatilities.
    Volatility,
    /// The volatility of one strike of every expiry: the one nearest so many millionths of the price.
    Strike {
        /// Where.
        near_ppm: u64,
    },
}

/// What sources report while something is wrong with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wrong {
    /// Zero.
    Zero,
    /// No number at all.
    Nan,
    /// The last price, as if it were new.
    Frozen,
    /// Nothing new: the last price with its own time.
    Silent,
    /// A multiple of the price, in millionths.
    Scaled(u64),
}

/// Sources that report wrongly for a time, at every validator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceFault {
    /// From when.
    pub at_ms: u64,
    /// Until when.
    pub until_ms: u64,
    /// Of which underlying.
    pub underlying: u8,
    /// Which sources.
    pub sources: Vec<usize>,
    /// How.
    pub how: Wrong,
}

/// A market under stress.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Stress {
    /// What moves.
    pub moves: Vec<Move>,
    /// What sources make of it.
    pub faults: Vec<SourceFault>,
}

impl Stress {
    /// The product of all moves of this kind by now.
    fn factor(&self, underlying: UnderlyingId, since_ms: u64, test: impl Fn(Moved) -> bool) -> f64 {
        let moves = self.moves.iter().filter(|one| {
            one.underlying == underlying.get() && test(one.what) && since_ms >= one.at_ms
        });
        let factor = |one: &Move| {
            let done = match one.over_ms {
                0 => 1.0,
                over => ((since_ms - one.at_ms) as f64 / over as f64).min(1.0),
            };
            1.0 + (one.to_ppm as f64 / 1e6 - 1.0) * done
        };
        moves.map(factor).product()
    }
}

/// A script and when it begins, as a file in a validator's data folder: a development market reads it as
/// soon as it is there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StressFile {
    /// Block time at which it begins, in milliseconds since the epoch.
    pub began_ms: u64,
    /// The script.
    pub stress: Stress,
}

impl StressFile {
    /// The file's name.
    pub const NAME: &str = "stress.json";

    /// The script in a folder; `None` while there is none that can be read.
    pub fn read(folder: &Path) -> Option<Self> {
        let text = std::fs::read_to_string(folder.join(Self::NAME)).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// Puts the script into a folder, whole or not at all.
    ///
    /// # Errors
    /// When the folder takes no file.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        let text = serde_json::to_string(self).map_err(io::Error::other)?;
        let draft = folder.join("stress.json.new");
        std::fs::write(&draft, text)?;
        std::fs::rename(draft, folder.join(Self::NAME))
    }

    /// The faults of its sources.
    pub fn faults(&self) -> SourceFaults {
        SourceFaults::new(self.stress.faults.clone(), TimeMs::new(self.began_ms))
    }

    /// `inner` under its script.
    pub fn outlook(&self, inner: Box<dyn Outlook>) -> StressedOutlook {
        StressedOutlook::new(inner, self.stress.clone(), TimeMs::new(self.began_ms))
    }
}

/// An outlook with a script on top of it.
pub struct StressedOutlook {
    inner: Box<dyn Outlook>,
    stress: Stress,
    began: TimeMs,
}

impl StressedOutlook {
    /// `inner` under `stress` from `began` on.
    pub fn new(inner: Box<dyn Outlook>, stress: Stress, began: TimeMs) -> Self {
        Self {
            inner,
            stress,
            began,
        }
    }

    fn price_factor(&self, underlying: UnderlyingId, now: TimeMs) -> f64 {
        let since = now.since(self.began);
        self.stress
            .factor(underlying, since, |what| what == Moved::Price)
    }
}

impl Outlook for StressedOutlook {
    fn index(&mut self, underlying: UnderlyingId, now: TimeMs) -> Option<f64> {
        let factor = self.price_factor(underlying, now);
        Some(self.inner.index(underlying, now)? * factor)
    }

    fn forward(&mut self, underlying: UnderlyingId, expiry: TimeMs, now: TimeMs) -> Option<f64> {
        let factor = self.price_factor(underlying, now);
        Some(self.inner.forward(underlying, expiry, now)? * factor)
    }

    fn stable(&mut self, now: TimeMs) -> Option<f64> {
        let factor = self.price_factor(STABLE, now);
        Some(self.inner.stable(now)? * factor)
    }

    /// The smile stays where it was in strikes, so that a fall does not carry an option into its wing.
    fn volatility(&mut self, terms: &OptionTerms, now: TimeMs) -> Option<f64> {
        let (underlying, since) = (terms.underlying, now.since(self.began));
        let all = self
            .stress
            .factor(underlying, since, |what| what == Moved::Volatility);
        let spot = self.inner.index(underlying, now)?;
        let near = |near_ppm: u64| {
            let strike = terms.strike.get() as f64 / 1e6;
            (strike / (spot * near_ppm as f64 / 1e6) - 1.0).abs() < 5e-3
        };
        let one = self.stress.factor(
            underlying,
            since,
            |what| matches!(what, Moved::Strike { near_ppm } if near(near_ppm)),
        );
        Some(self.inner.volatility(terms, now)? * all * one)
    }

    fn half_spreads(
        &mut self,
        terms: &OptionTerms,
        value: &Valuation,
        now: TimeMs,
    ) -> [Option<f64>; 2] {
        self.inner.half_spreads(terms, value, now)
    }

    fn listings_due(&mut self, now: TimeMs) -> Vec<OptionTerms> {
        self.inner.listings_due(now)
    }
}

/// What is wrong with a validator's sources.
#[derive(Clone, Debug)]
pub struct SourceFaults {
    faults: Vec<SourceFault>,
    began: TimeMs,
    /// What each source said last before its fault, by underlying and source.
    last: BTreeMap<(u8, usize), SourcePrice>,
}

impl SourceFaults {
    /// The faults of a script that begins at `began`.
    pub const fn new(faults: Vec<SourceFault>, began: TimeMs) -> Self {
        Self {
            faults,
            began,
            last: BTreeMap::new(),
        }
    }

    /// What the sources report instead.
    pub fn apply(&mut self, observation: &mut Observation) {
        let since = observation.observed_at.since(self.began);
        let underlying = observation.underlying.get();
        for (source, price) in observation.sources.iter_mut().enumerate() {
            let place = (underlying, source);
            let fault = self.faults.iter().find(|one| {
                let now = (one.at_ms..one.until_ms).contains(&since);
                now && one.underlying == underlying && one.sources.contains(&source)
            });
            let Some(fault) = fault else {
                self.last.extend(price.map(|price| (place, price)));
                continue;
            };
            let now = observation.observed_at;
            let last = self.last.get(&place).copied();
            *price = match fault.how {
                Wrong::Nan => None,
                Wrong::Silent => last,
                Wrong::Frozen => last.map(|last| SourcePrice {
                    updated_at: now,
                    ..last
                }),
                Wrong::Zero => price.map(|one| SourcePrice {
                    price: Price::new(0),
                    ..one
                }),
                Wrong::Scaled(ppm) => price.map(|one| {
                    let scaled = i128::from(one.price.get()) * i128::from(ppm) / 1_000_000;
                    SourcePrice {
                        price: Price::new(scaled as i64),
                        ..one
                    }
                }),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::SimulatedOutlook;

    const BTC: UnderlyingId = UnderlyingId::new(0);
    const START: TimeMs = TimeMs::new(1_700_000_000_000);

    #[test]
    fn a_fall_takes_its_time_and_stays() {
        let fall = Move {
            at_ms: 60_000,
            over_ms: 600_000,
            underlying: 0,
            what: Moved::Price,
            to_ppm: 820_000,
        };
        let stress = Stress {
            moves: vec![fall],
            ..Stress::default()
        };
        let plain = || Box::new(SimulatedOutlook::default_pair(1, START));
        let mut stressed = StressedOutlook::new(plain(), stress, START);
        for (at, factor) in [(0, 1.0), (60_000, 1.0), (360_000, 0.91), (900_000, 0.82)] {
            let now = START.plus_ms(at);
            let (told, true_price) = (stressed.index(BTC, now), plain().index(BTC, now));
            let ratio = told.unwrap_or(0.0) / true_price.unwrap_or(1.0);
            assert!((ratio - factor).abs() < 1e-9, "{at}: {ratio}");
        }
    }

    #[test]
    fn the_stablecoin_leaves_its_peg_and_comes_back() {
        let to = |at_ms, to_ppm| Move {
            at_ms,
            over_ms: 0,
            underlying: STABLE.get(),
            what: Moved::Price,
            to_ppm,
        };
        // A factor of its own for the way back: moves multiply.
        let moves = vec![to(60_000, 900_000), to(120_000, 1_111_112)];
        let stress = Stress {
            moves,
            ..Stress::default()
        };
        let plain = Box::new(SimulatedOutlook::default_pair(1, START));
        let mut stressed = StressedOutlook::new(plain, stress, START);
        for (at, dollars) in [(0, 1.0), (60_000, 0.9), (120_000, 1.0)] {
            let told = stressed.stable(START.plus_ms(at)).unwrap_or(0.0);
            assert!((told - dollars).abs() < 1e-5, "{at}: {told}");
        }
    }

    #[test]
    fn sources_report_what_the_script_says_and_are_right_again_after_it() {
        let fault = |sources: Vec<usize>, how| SourceFault {
            at_ms: 1_000,
            until_ms: 3_000,
            underlying: 0,
            sources,
            how,
        };
        let all = vec![
            fault(vec![0], Wrong::Zero),
            fault(vec![1], Wrong::Nan),
            fault(vec![2], Wrong::Scaled(500_000)),
            fault(vec![3], Wrong::Frozen),
            fault(vec![4], Wrong::Silent),
        ];
        let mut faults = SourceFaults::new(all, START);
        let mut told = |at: u64| {
            let now = START.plus_ms(at);
            let source = SourcePrice {
                price: Price::new(1_000_000 + at as i64),
                updated_at: now,
            };
            let mut observation = Observation {
                underlying: BTC,
                observed_at: now,
                sources: vec![Some(source); 5],
                forwards: Vec::new(),
            };
            faults.apply(&mut observation);
            let figure = |one: &Option<SourcePrice>| {
                one.map(|one| (one.price.get(), one.updated_at.since(START)))
            };
            observation.sources.iter().map(figure).collect::<Vec<_>>()
        };
        assert!(told(0).iter().all(|one| *one == Some((1_000_000, 0))));
        assert_eq!(
            told(2_000),
            [
                Some((0, 2_000)),
                None,
                Some((501_000, 2_000)),
                Some((1_000_000, 2_000)),
                Some((1_000_000, 0)),
            ]
        );
        assert!(
            told(3_000)
                .iter()
                .all(|one| *one == Some((1_003_000, 3_000)))
        );
    }
}

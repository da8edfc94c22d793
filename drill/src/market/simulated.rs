//! A seeded market: geometric Brownian motion with jumps, a fixed smile, carry.

use lifeboat_engine::command::OptionTerms;
use lifeboat_engine::types::{TimeMs, UnderlyingId};

use super::black76::Valuation;
use super::dice::Dice;
use super::outlook::{Outlook, YEAR_MS};

/// Time between two steps of the path.
const STEP_MS: u64 = 1_000;

/// One underlying's path.
#[derive(Clone, Copy, Debug)]
pub struct SimulatedUnderlying {
    /// Spot price at the origin, in USDC.
    pub spot: f64,
    /// Volatility a year of the path and of at-the-money options.
    pub volatility: f64,
    /// Jumps a year.
    pub jumps_per_year: f64,
    /// Standard deviation of a jump's logarithm.
    pub jump_size: f64,
    /// Carry a year: forward = spot · exp(carry · years).
    pub carry: f64,
}

impl SimulatedUnderlying {
    /// Bitcoin-like.
    pub const BTC: Self = Self {
        spot: 90_000.0,
        volatility: 0.45,
        jumps_per_year: 1_500.0,
        jump_size: 0.004,
        carry: 0.05,
    };
    /// Ether-like.
    pub const ETH: Self = Self {
        spot: 3_000.0,
        volatility: 0.65,
        jump_size: 0.005,
        ..Self::BTC
    };
}

struct Path {
    of: SimulatedUnderlying,
    step: u64,
    log_price: f64,
}

/// The seeded market. The path is a function of seed and origin alone, so validators in different
/// processes see the same one, and a restarted process finds it again.
pub struct SimulatedOutlook {
    seed: u64,
    origin: TimeMs,
    paths: Vec<Path>,
}

impl SimulatedOutlook {
    /// Paths of `underlyings`, in the order of their ids, from `origin` on.
    pub fn new(seed: u64, origin: TimeMs, underlyings: &[SimulatedUnderlying]) -> Self {
        let start = |of: &SimulatedUnderlying| Path {
            of: *of,
            step: 0,
            log_price: of.spot.ln(),
        };
        Self {
            seed,
            origin,
            paths: underlyings.iter().map(start).collect(),
        }
    }

    /// BTC and ETH.
    pub fn default_pair(seed: u64, origin: TimeMs) -> Self {
        Self::new(
            seed,
            origin,
            &[SimulatedUnderlying::BTC, SimulatedUnderlying::ETH],
        )
    }

    fn path(&mut self, underlying: UnderlyingId) -> Option<&mut Path> {
        self.paths.get_mut(usize::from(underlying.get()))
    }
}

impl Path {
    /// Brings the path to `step`. Increments belong to (seed, underlying, step), so a path that is
    /// asked for an earlier time starts over and meets the same prices.
    fn advance(&mut self, seed: u64, underlying: u64, step: u64) {
        if step < self.step {
            (self.step, self.log_price) = (0, self.of.spot.ln());
        }
        let years = STEP_MS as f64 / YEAR_MS;
        let deviation = self.of.volatility * years.sqrt();
        let drift = -0.5 * self.of.volatility * self.of.volatility * years;
        while self.step < step {
            self.step += 1;
            let mut dice = Dice::at(seed, &[underlying, self.step]);
            self.log_price += drift + deviation * dice.normal();
            if dice.chance(self.of.jumps_per_year * years) {
                self.log_price += self.of.jump_size * dice.normal();
            }
        }
    }
}

impl Outlook for SimulatedOutlook {
    fn index(&mut self, underlying: UnderlyingId, now: TimeMs) -> Option<f64> {
        let (seed, step) = (self.seed, now.since(self.origin) / STEP_MS);
        let path = self.path(underlying)?;
        path.advance(seed, u64::from(underlying.get()), step);
        Some(path.log_price.exp())
    }

    /// It keeps its peg.
    fn stable(&mut self, _now: TimeMs) -> Option<f64> {
        Some(1.0)
    }

    fn forward(&mut self, underlying: UnderlyingId, expiry: TimeMs, now: TimeMs) -> Option<f64> {
        let index = self.index(underlying, now)?;
        let carry = self.path(underlying)?.of.carry;
        Some(index * (carry * expiry.since(now) as f64 / YEAR_MS).exp())
    }

    /// A smile that is steeper for near expiries: at-the-money volatility plus skew and curvature
    /// in standardised log-moneyness, kept within sane bounds.
    fn volatility(&mut self, terms: &OptionTerms, now: TimeMs) -> Option<f64> {
        let forward = self.forward(terms.underlying, terms.expiry, now)?;
        let base = self.path(terms.underlying)?.of.volatility;
        let years = (terms.expiry.since(now) as f64 / YEAR_MS).max(1.0 / 365.0);
        let moneyness = (terms.strike.get() as f64 / 1e6 / forward).ln() / (base * years.sqrt());
        let smile = 1.0 - 0.02 * moneyness + 0.015 * moneyness * moneyness;
        Some((base * smile).clamp(0.5 * base, 2.5 * base))
    }

    fn half_spreads(
        &mut self,
        _terms: &OptionTerms,
        value: &Valuation,
        _now: TimeMs,
    ) -> [Option<f64>; 2] {
        let half = 0.01 * value.price + 0.4 * value.vega;
        [Some(half), Some(half)]
    }

    fn listings_due(&mut self, _now: TimeMs) -> Vec<OptionTerms> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lifeboat_engine::types::DAY_MS;

    const BTC: UnderlyingId = UnderlyingId::new(0);

    #[test]
    fn the_path_is_a_function_of_seed_and_time() {
        let origin = TimeMs::new(1_700_000_000_000);
        let mut whole = SimulatedOutlook::default_pair(3, origin);
        let mut jumpy = SimulatedOutlook::default_pair(3, origin);
        let late = jumpy.index(BTC, origin.plus_ms(DAY_MS / 4));
        let steps = (0..=DAY_MS / 4).step_by(60_000);
        let walked = steps
            .map(|ms| whole.index(BTC, origin.plus_ms(ms)))
            .last()
            .flatten();
        assert_eq!(late, walked);
        let early = jumpy.index(BTC, origin.plus_ms(5_000));
        let fresh = SimulatedOutlook::default_pair(3, origin).index(BTC, origin.plus_ms(5_000));
        assert_eq!(early, fresh, "going back meets the same prices");
        let other = SimulatedOutlook::default_pair(4, origin).index(BTC, origin.plus_ms(5_000));
        assert_ne!(early, other);
    }

    #[test]
    fn realised_volatility_is_what_was_asked() {
        let origin = TimeMs::new(0);
        let calm = SimulatedUnderlying {
            jumps_per_year: 0.0,
            ..SimulatedUnderlying::BTC
        };
        let mut outlook = SimulatedOutlook::new(11, origin, &[calm]);
        let minutes = 20_000u64;
        let mut last = outlook.index(BTC, origin).unwrap_or_default();
        let mut squares = 0.0;
        for minute in 1..=minutes {
            let next = outlook
                .index(BTC, origin.plus_ms(minute * 60_000))
                .unwrap_or_default();
            squares += (next / last).ln().powi(2);
            last = next;
        }
        let realised = (squares / minutes as f64 * YEAR_MS / 60_000.0).sqrt();
        assert!(
            (realised / calm.volatility - 1.0).abs() < 0.03,
            "{realised}"
        );
    }
}

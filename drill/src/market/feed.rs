//! What one validator sees of the market, signed as its observations.

use std::collections::VecDeque;

use ed25519_zebra::{SigningKey, VerificationKeyBytes};
use lifeboat_engine::Command;
use lifeboat_engine::command::{
    ForwardPrice, Observation, Proposal, Report, SourcePrice, ValidatorCommand, ValidatorPayload,
};
use lifeboat_engine::settlement::STABLE;
use lifeboat_engine::types::{ChainId, Nonce, Price, PublicKey, TimeMs, UnderlyingId, ValidatorId};

use super::dice::Dice;
use super::instruments::Instruments;
use super::outlook::Outlook;
use super::stress::SourceFaults;

/// Proposals of one step: well under the nonce window, so that none grows stale on the way.
const PROPOSALS_PER_STEP: usize = 64;

/// How a validator observes.
#[derive(Clone, Copy, Debug)]
pub struct FeedSettings {
    /// Seed of the noise.
    pub seed: u64,
    /// Which validator.
    pub validator: ValidatorId,
    /// Price sources of each underlying.
    pub sources: usize,
    /// Standard deviation of a source's error, as a share of the price.
    pub noise: f64,
}

/// One validator's view of the outlook.
pub struct Feed {
    settings: FeedSettings,
    key: SigningKey,
    chain: ChainId,
    last_nonce: u64,
    /// Proposals that are due and not made yet.
    due: VecDeque<Proposal>,
    /// What is wrong with its sources.
    faults: Option<SourceFaults>,
    /// Whether it sees forwards.
    forwards: bool,
}

impl Feed {
    /// A feed that signs with the validator's command key.
    pub fn new(settings: FeedSettings, secret: [u8; 32], chain: ChainId) -> Self {
        Self {
            settings,
            key: SigningKey::from(secret),
            chain,
            last_nonce: 0,
            due: VecDeque::new(),
            faults: None,
            forwards: true,
        }
    }

    /// From now on its sources report wrongly, as a script says.
    pub fn suffer(&mut self, faults: SourceFaults) {
        self.faults = Some(faults);
    }

    /// The same feed without forwards: the venue takes the index for them.
    #[must_use]
    pub const fn without_forwards(mut self) -> Self {
        self.forwards = false;
        self
    }

    /// Moves the nonces past everything an earlier process can have used.
    pub fn resume(&mut self, now: TimeMs) {
        self.last_nonce = self.last_nonce.max(now.get().saturating_mul(1_000));
    }

    /// The validator's verification key.
    pub fn public(&self) -> PublicKey {
        PublicKey(VerificationKeyBytes::from(&self.key).into())
    }

    /// Proposals that are due (listings of a replay), then one observation for each underlying.
    pub fn step(
        &mut self,
        outlook: &mut dyn Outlook,
        instruments: &Instruments,
        now: TimeMs,
    ) -> Vec<Command> {
        self.due.extend(
            outlook
                .listings_due(now)
                .into_iter()
                .map(Proposal::ListOption),
        );
        let count = self.due.len().min(PROPOSALS_PER_STEP);
        let mut reports: Vec<Report> = self.due.drain(..count).map(Report::Attest).collect();
        let mut seen: Vec<Observation> = self.observe_stable(outlook, now).into_iter().collect();
        for underlying in instruments.underlyings() {
            seen.extend(self.observe(outlook, instruments, underlying, now));
        }
        if let Some(faults) = &mut self.faults {
            seen.iter_mut().for_each(|one| faults.apply(one));
        }
        reports.extend(seen.into_iter().map(Report::Observe));
        reports
            .into_iter()
            .map(|report| self.sign(report))
            .collect()
    }

    /// What this validator's sources say, each a little off; nothing where the path has no price.
    pub fn observe(
        &self,
        outlook: &mut dyn Outlook,
        instruments: &Instruments,
        underlying: UnderlyingId,
        now: TimeMs,
    ) -> Option<Observation> {
        let index = outlook.index(underlying, now)?;
        let sources = (0..self.settings.sources)
            .map(|source| self.source_price(index, underlying, source, now))
            .collect();
        let forward = |expiry: TimeMs| {
            let price = price(outlook.forward(underlying, expiry, now)?)?;
            Some(ForwardPrice { expiry, price })
        };
        let expiries = instruments.expiries(underlying).into_iter();
        let forwards = expiries
            .filter(|_| self.forwards)
            .filter_map(forward)
            .collect();
        Some(Observation {
            underlying,
            observed_at: now,
            sources,
            forwards,
        })
    }

    /// What this validator's sources say of the settlement stablecoin, in dollars; nothing where the
    /// path has no price of it.
    pub fn observe_stable(&self, outlook: &mut dyn Outlook, now: TimeMs) -> Option<Observation> {
        let dollars = price(outlook.stable(now)?);
        // To the hundredth of a cent, on which all sources agree.
        let source = dollars.map(|price| SourcePrice {
            price: Price::new(price.get() / 100 * 100),
            updated_at: now,
        });
        Some(Observation {
            underlying: STABLE,
            observed_at: now,
            sources: vec![source; self.settings.sources],
            forwards: Vec::new(),
        })
    }

    fn source_price(
        &self,
        index: f64,
        underlying: UnderlyingId,
        source: usize,
        now: TimeMs,
    ) -> Option<SourcePrice> {
        let FeedSettings {
            seed,
            validator,
            noise,
            ..
        } = self.settings;
        let place = [
            u64::from(validator.get()),
            u64::from(underlying.get()),
            source as u64,
            now.get(),
        ];
        let error = noise * Dice::at(seed, &place).normal();
        let price = price(index * (1.0 + error))?;
        Some(SourcePrice {
            price,
            updated_at: now,
        })
    }

    /// Signs a report with the next nonce.
    pub fn sign(&mut self, report: Report) -> Command {
        self.last_nonce += 1;
        let (validator, nonce) = (self.settings.validator, Nonce::new(self.last_nonce));
        let payload = ValidatorPayload {
            validator,
            nonce,
            report,
        };
        let signature = self.key.sign(&payload.message(&self.chain)).to_bytes();
        let key = self.public();
        Command::Validator(ValidatorCommand {
            payload,
            key,
            signature,
        })
    }
}

/// What is not a price (zero, less, infinite, not a number, out of range) is none.
fn price(usdc: f64) -> Option<Price> {
    let units = (usdc * 1e6).round();
    let is_price = units.is_finite() && units > 0.0 && units < i64::MAX as f64;
    is_price.then(|| Price::new(units as i64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::simulated::SimulatedOutlook;
    use lifeboat_engine::types::Qty;

    #[test]
    fn what_is_no_number_is_no_price() {
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300] {
            assert_eq!(price(bad), None, "{bad}");
        }
        assert_eq!(price(1.5), Some(Price::new(1_500_000)));
    }

    #[test]
    fn validators_see_nearly_the_same_and_each_time_again() {
        let now = TimeMs::new(1_700_000_060_000);
        let instruments = Instruments::new(vec![(Price::new(1), Qty::new(1)); 2]);
        let see = |validator: u16| {
            let validator = ValidatorId::new(validator);
            let settings = FeedSettings {
                seed: 5,
                validator,
                sources: 5,
                noise: 2e-4,
            };
            let feed = Feed::new(settings, [1; 32], ChainId::default());
            let origin = TimeMs::new(1_700_000_000_000);
            let mut outlook = SimulatedOutlook::default_pair(5, origin);
            let observation = feed.observe(&mut outlook, &instruments, UnderlyingId::new(0), now);
            observation.map_or(Vec::new(), |o| o.sources)
        };
        let prices = |sources: Vec<Option<SourcePrice>>| -> Vec<f64> {
            sources
                .into_iter()
                .flatten()
                .map(|source| source.price.get() as f64)
                .collect()
        };
        assert_eq!(see(0), see(0));
        let (mine, theirs) = (prices(see(0)), prices(see(1)));
        assert_eq!(mine.len(), 5);
        for (a, b) in mine.iter().zip(&theirs) {
            assert!(a != b && (a / b - 1.0).abs() < 2e-3, "{a} {b}");
        }
    }
}

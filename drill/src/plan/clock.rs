//! The venue's time in a drill that needs another than the wall's.

use lifeboat_engine::types::TimeMs;
use lifeboat_node::shared::VenueClock;
use serde::{Deserialize, Serialize};

use crate::market::parse_utc;

/// The fastest clock: at four seconds of block time a block, minutes still have samples.
const SPEED_MAX: u32 = 120;
/// Local time from genesis to the plan's beginning, at most.
const LEAD_MS_MAX: u64 = 5 * 60 * 1_000;

/// Block time that begins where the plan says and passes faster than the wall's. Faults and load keep to
/// the wall's time, `stress` to block time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MarketClock {
    /// Milliseconds of block time in one of the plan's.
    pub speed: u32,
    /// Block time at the plan's beginning, such as `2026-01-28T07:30:00Z`.
    pub begins: String,
    /// By the wall's time the venue is made so long before: it starts, lists its options, and opens the
    /// plan's positions in it.
    #[serde(default = "twenty_seconds")]
    pub lead_ms: u64,
}

const fn twenty_seconds() -> u64 {
    20_000
}

impl MarketClock {
    /// Block time at the plan's beginning; the epoch if it is no time, which [`Self::nonsense`] finds.
    pub fn begins(&self) -> TimeMs {
        parse_utc(&self.begins).unwrap_or_default()
    }

    /// Block time of height 0.
    pub fn genesis(&self) -> TimeMs {
        let lead_ms = self.lead_ms.saturating_mul(self.speed.into());
        TimeMs::new(self.begins().get().saturating_sub(lead_ms))
    }

    /// Block time for a venue whose local clock is at `local` at its genesis.
    pub fn from(&self, local: TimeMs) -> VenueClock {
        VenueClock {
            local_start_ms: local.get(),
            venue_start_ms: self.genesis().get(),
            speed: self.speed,
        }
    }

    /// What cannot be; `None` if all can.
    pub fn nonsense(&self) -> Option<String> {
        let Self {
            speed,
            begins,
            lead_ms,
        } = self;
        if !(1..=SPEED_MAX).contains(speed) {
            return Some(format!(
                "a clock runs 1 to {SPEED_MAX} times as fast as the wall's, not {speed}"
            ));
        }
        if *lead_ms > LEAD_MS_MAX {
            return Some(format!(
                "a lead of {lead_ms} ms is longer than {LEAD_MS_MAX} ms"
            ));
        }
        parse_utc(begins)
            .is_none()
            .then(|| format!("`{begins}` is no time such as 2026-01-28T07:30:00Z"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plan_begins_where_it_says() {
        let clock = MarketClock {
            speed: 30,
            begins: "2026-01-28T07:30:00Z".to_owned(),
            lead_ms: 20_000,
        };
        assert_eq!(clock.nonsense(), None);
        assert_eq!(clock.begins().since(clock.genesis()), 600_000);
        let venue = clock.from(TimeMs::new(5_000));
        assert_eq!(venue.venue(TimeMs::new(5_000)), clock.genesis());
        assert_eq!(venue.venue(TimeMs::new(25_000)), clock.begins());
        assert_eq!(venue.local(clock.begins()), TimeMs::new(25_000));
    }
}

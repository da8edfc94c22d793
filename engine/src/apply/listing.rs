//! Which expiries and strikes the venue lists by itself.
//!
//! Expiries are at 08:00 UTC: the next days, Fridays, last Fridays of months and last Fridays of
//! quarters. Strikes follow the forward by delta; see `pricing::strikes`.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::Engine;
use crate::command::OptionTerms;
use crate::event::Event;
use crate::modes::Activity;
use crate::params::ListingRules;
use crate::pricing::strikes;
use crate::types::{DAY_MS, OptionKind, TimeMs, UnderlyingId, VENUE_DAY_BEGINS_MS};

impl Engine {
    /// Lists what the rules ask for and is not there. Runs when an underlying's marks were made anew
    /// and the venue is open, so that strikes follow the forward.
    pub(super) fn roll_listings(&mut self, events: &mut Vec<Event>) {
        if !self.margin.ticked() || self.permit(Activity::Take).is_err() {
            return;
        }
        for at in 0..self.parameters.underlyings.len() {
            let underlying = UnderlyingId::new(u8::try_from(at).unwrap_or(u8::MAX));
            let rules = self.parameters.underlyings.get(at).and_then(|u| u.listing);
            let live = self.feed(underlying).is_some_and(|feed| feed.live);
            if let (Some(rules), true) = (rules, live) {
                let before = self.instruments.len();
                self.roll_underlying(underlying, &rules, events);
                if self.instruments.len() != before {
                    self.update_marks(underlying);
                    self.update_margin_rows(underlying);
                }
            }
        }
    }

    fn roll_underlying(
        &mut self,
        underlying: UnderlyingId,
        rules: &ListingRules,
        events: &mut Vec<Event>,
    ) {
        for expiry in expiries(self.time, rules) {
            let Some(forward) = self.forward(underlying, expiry) else {
                continue;
            };
            let years_ms = expiry.since(self.time);
            let volatility = self.listing_volatility(underlying);
            for strike in strikes(forward, years_ms, volatility, rules) {
                for kind in [OptionKind::Call, OptionKind::Put] {
                    let terms = OptionTerms {
                        underlying,
                        expiry,
                        strike,
                        kind,
                    };
                    if self.instruments.by_terms(&terms).is_none() {
                        self.list_option(terms, events);
                    }
                }
            }
        }
    }

    /// Strikes are spaced by the configured volatility, so that listing does not chase the surface.
    fn listing_volatility(&self, underlying: UnderlyingId) -> u32 {
        let parameters = self
            .parameters
            .underlyings
            .get(usize::from(underlying.get()));
        parameters.map_or(0, |u| u.initial_volatility_ppm)
    }
}

/// The expiries that the rules ask for at `now`, ascending.
pub(super) fn expiries(now: TimeMs, rules: &ListingRules) -> Vec<TimeMs> {
    let today = now
        .get()
        .saturating_sub(VENUE_DAY_BEGINS_MS)
        .checked_div(DAY_MS)
        .unwrap_or(0);
    let first = today.saturating_add(1);
    let mut days = BTreeSet::new();
    days.extend((0..u64::from(rules.dailies)).map(|i| first.saturating_add(i)));
    let fridays = (first..).filter(|day| weekday(*day) == FRIDAY);
    days.extend(fridays.clone().take(usize::from(rules.weeklies)));
    let last_fridays = fridays.filter(|day| month(*day) != month(day.saturating_add(7)));
    days.extend(last_fridays.clone().take(usize::from(rules.monthlies)));
    let quarterly = last_fridays.filter(|day| month(*day).checked_rem(3) == Some(0));
    days.extend(quarterly.take(usize::from(rules.quarterlies)));
    let at = |day: u64| {
        TimeMs::new(
            day.saturating_mul(DAY_MS)
                .saturating_add(VENUE_DAY_BEGINS_MS),
        )
    };
    days.into_iter().map(at).collect()
}

/// Monday is 0.
const FRIDAY: u64 = 4;

/// Day of the week of a day since the epoch, which was a Thursday.
fn weekday(day: u64) -> u64 {
    day.saturating_add(3).checked_rem(7).unwrap_or(0)
}

/// Month, 1 to 12, of a day since the epoch. Counts in 400-year eras of years that begin in March.
fn month(day: u64) -> u64 {
    let shifted = day.saturating_add(719_468);
    let day_of_era = shifted.checked_rem(146_097).unwrap_or(0);
    let div = |a: u64, b: u64| a.checked_div(b).unwrap_or(0);
    let leap = div(day_of_era, 1_460)
        .saturating_sub(div(day_of_era, 36_524))
        .saturating_add(div(day_of_era, 146_096));
    let year = div(day_of_era.saturating_sub(leap), 365);
    let before = year
        .saturating_mul(365)
        .saturating_add(div(year, 4))
        .saturating_sub(div(year, 100));
    let day_of_year = day_of_era.saturating_sub(before);
    let from_march = div(day_of_year.saturating_mul(5).saturating_add(2), 153);
    if from_march < 10 {
        from_march.saturating_add(3)
    } else {
        from_march.saturating_sub(9)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects)]
    use super::*;

    /// 2026-11-22 12:00 UTC, a Sunday.
    const NOW: TimeMs = TimeMs::new(1_795_348_800_000);

    fn days(rules: ListingRules) -> Vec<u64> {
        expiries(NOW, &rules)
            .iter()
            .map(|t| (t.get() - VENUE_DAY_BEGINS_MS) / DAY_MS)
            .collect()
    }

    fn rules(dailies: u8, weeklies: u8, monthlies: u8, quarterlies: u8) -> ListingRules {
        ListingRules {
            dailies,
            weeklies,
            monthlies,
            quarterlies,
            ..ListingRules::default()
        }
    }

    #[test]
    fn expiries_follow_the_calendar() {
        let today = NOW.get() / DAY_MS;
        assert_eq!(days(rules(2, 0, 0, 0)), [today + 1, today + 2]);
        // Friday 27 November is the last of its month; 4 December follows.
        assert_eq!(days(rules(0, 2, 0, 0)), [today + 5, today + 12]);
        assert_eq!(days(rules(0, 0, 2, 0)), [today + 5, today + 33]);
        // 25 December 2026 and 26 March 2027.
        assert_eq!(days(rules(0, 0, 0, 2)), [today + 33, today + 124]);
    }

    #[test]
    fn months_are_right_over_leap_years() {
        assert_eq!(month(0), 1);
        assert_eq!(month(59), 3);
        assert_eq!(month(11_016), 2);
        assert_eq!(month(11_017), 3);
        assert_eq!(month(20_424), 12);
    }
}

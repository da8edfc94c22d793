#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]
//! Breakers on made-up histories: what trips, at which level, and above all what does not.

use super::*;
use crate::types::{Cash, Price, TimeMs};

const MINUTE: u64 = 60_000;
const START: u64 = 1_795_348_800_000;

/// A watch fed with one reading a minute.
struct Feed {
    watch: UnderlyingWatch,
    parameters: BreakerParameters,
    at: u64,
    volatility: f64,
    price: f64,
    seed: u64,
}

impl Feed {
    /// Two weeks of a calm market: the index wanders by half a percent a minute at most, the price by
    /// what the index implies.
    fn calm() -> Self {
        let mut feed = Self {
            watch: UnderlyingWatch::default(),
            parameters: BreakerParameters::default(),
            at: START,
            volatility: 0.55,
            price: 90_000.0,
            seed: 7,
        };
        for _ in 0..14 * 24 * 60 {
            let verdicts = feed.wander();
            assert!(highest(&verdicts) <= 1, "{verdicts:?}");
        }
        feed
    }

    /// Between −1 and 1.
    fn dice(&mut self) -> f64 {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        (self.seed >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }

    fn wander(&mut self) -> Vec<Verdict> {
        let (a, b) = (self.dice(), self.dice());
        let pull = (0.55 / self.volatility).ln() * 0.002;
        self.volatility *= (0.003 * a + pull).exp();
        // √3 makes a uniform step's deviation 1.
        let minute = self.volatility / (365.0 * 1440.0_f64).sqrt() * 3.0_f64.sqrt();
        self.price *= (minute * b).exp();
        self.tick()
    }

    fn tick(&mut self) -> Vec<Verdict> {
        self.at += MINUTE;
        let reading = Reading {
            at: TimeMs::new(self.at),
            market: Some((
                (self.volatility * 1e6) as u32,
                Price::new((self.price * 1e6) as i64),
            )),
            agreement: None,
            depth: None,
        };
        self.watch.observe(&reading, &self.parameters)
    }
}

fn trips(verdicts: &[Verdict]) -> Vec<(Breaker, u8)> {
    let trip = |verdict: &Verdict| match verdict {
        Verdict::Tripped(trip) => Some((trip.breaker, trip.level)),
        Verdict::Released { .. } => None,
    };
    verdicts.iter().filter_map(trip).collect()
}

fn highest(verdicts: &[Verdict]) -> u8 {
    trips(verdicts)
        .into_iter()
        .map(|(_, level)| level)
        .max()
        .unwrap_or(0)
}

#[test]
fn a_price_move_that_volatility_takes_calmly_halts_nothing() {
    let mut feed = Feed::calm();
    let mut reached = 0;
    for _ in 0..10 {
        feed.price *= 0.98;
        reached = reached.max(highest(&feed.tick()));
    }
    assert_eq!(reached, 1, "18 % in ten minutes tightens bands and no more");
}

#[test]
fn a_volatility_move_without_a_price_move_halts_nothing() {
    let mut feed = Feed::calm();
    let mut reached = 0;
    for _ in 0..10 {
        feed.volatility *= 1.08;
        reached = reached.max(highest(&feed.tick()));
    }
    assert_eq!(reached, 1);
}

#[test]
fn a_crash_with_volatility_doubling_halts_within_minutes() {
    let mut feed = Feed::calm();
    let (volatility, price) = (feed.volatility, feed.price);
    let mut when = [None; 4];
    for minute in 1..=10 {
        feed.price = price * (1.0 - 0.018 * f64::from(minute));
        feed.volatility = volatility * (1.0 + 0.1 * f64::from(minute));
        let level = highest(&feed.tick());
        for reached in when.iter_mut().take(usize::from(level) + 1) {
            *reached = reached.or(Some(minute));
        }
    }
    assert!(when[2].is_some_and(|minute| minute <= 5), "{when:?}");
    assert!(when[3].is_some_and(|minute| minute <= 8), "{when:?}");
}

#[test]
fn a_trip_says_what_it_saw_and_comes_once() {
    let mut feed = Feed::calm();
    feed.volatility *= 1.5;
    let verdicts = feed.tick();
    let Some(Verdict::Tripped(trip)) = verdicts
        .iter()
        .find(|v| matches!(v, Verdict::Tripped(t) if t.breaker == Breaker::Speed))
    else {
        panic!("{verdicts:?}");
    };
    assert_eq!(trip.level, 1);
    assert_eq!(trip.bound, feed.parameters.speed[0].bounds[0]);
    assert!(trip.figure >= trip.bound);
    assert!(feed.parameters.horizons_ms.contains(&trip.horizon_ms));
    for _ in 0..3 {
        let again = trips(&feed.tick());
        assert!(
            !again.contains(&(Breaker::Speed, 1)),
            "it is tripped already"
        );
    }
    // Back where it was, for longer than the horizon: released, and ready.
    feed.volatility /= 1.5;
    let mut released = false;
    for _ in 0..10 {
        let verdicts = feed.tick();
        let five = feed.parameters.horizons_ms[0];
        released |= verdicts.iter().any(
            |v| matches!(v, Verdict::Released { breaker: Breaker::Speed, horizon_ms, .. } if *horizon_ms == five),
        );
    }
    assert!(released);
    feed.volatility *= 1.5;
    let again = trips(&feed.tick());
    assert!(again.contains(&(Breaker::Speed, 1)), "{again:?}");
}

/// The range breaker's trips while the price falls by 0.05 % a minute, with the volatility index as many parts
/// over where it was; levels with the figures they were reached at.
fn slide(feed: &mut Feed, minutes: u32, volatility: f64) -> Vec<(u8, i64)> {
    let mut seen = Vec::new();
    let implied = feed.volatility;
    for minute in 1..=minutes {
        feed.price *= 0.999_5;
        feed.volatility = implied * (1.0 + volatility * f64::from(minute) / f64::from(minutes));
        seen.extend(feed.tick().iter().filter_map(|verdict| match verdict {
            Verdict::Tripped(trip) if trip.breaker == Breaker::Range => {
                Some((trip.level, trip.figure))
            }
            _ => None,
        }));
    }
    seen
}

#[test]
fn a_session_that_ranges_far_stops_once_when_options_have_noticed() {
    let mut feed = Feed::calm();
    let bounds = feed.parameters.range.bounds;
    // Eight hours at 0.05 % a minute, far more than is usual in a day.
    let seen = slide(&mut feed, 480, 0.2);
    let levels: Vec<u8> = seen.iter().map(|(level, _)| *level).collect();
    assert_eq!(levels, [1, 2, 3]);
    for ((_, figure), bound) in seen.iter().zip(bounds) {
        assert!((bound..bound + 100).contains(figure), "{seen:?}");
    }
}

#[test]
fn a_range_that_options_take_calmly_tightens_bands() {
    let seen = slide(&mut Feed::calm(), 480, 0.01);
    let levels: Vec<u8> = seen.iter().map(|(level, _)| *level).collect();
    assert_eq!(levels, [1]);
}

#[test]
fn a_session_begins_at_its_hour_and_not_with_a_gap() {
    let mut feed = Feed::calm();
    let (day, begins) = (86_400_000, feed.parameters.session_begins_ms);
    slide(&mut feed, 480, 0.2);
    let figure = |feed: &Feed| {
        let now = Sample {
            at: TimeMs::new(feed.at),
            volatility_ppm: (feed.volatility * 1e6) as u32,
            price: Price::new((feed.price * 1e6) as i64),
        };
        let all = feed.watch.figures(&now, &feed.parameters);
        let range = all.iter().find(|(breaker, ..)| *breaker == Breaker::Range);
        range
            .map(|(_, lasted_ms, figure)| (*lasted_ms, figure.unwrap()))
            .unwrap()
    };
    let mut released = Vec::new();
    while released.is_empty() {
        let ranged = figure(&feed).1;
        assert!(ranged > feed.parameters.range.bounds[1]);
        released = feed.tick();
        released.retain(|v| {
            matches!(
                v,
                Verdict::Released {
                    breaker: Breaker::Range,
                    ..
                }
            )
        });
    }
    assert_eq!(
        feed.at % day,
        begins + MINUTE,
        "the first reading after its hour"
    );
    assert_eq!(figure(&feed), (0, 0), "and the price stands still");
    // Over an outage the price is elsewhere: that is no range of the session that begins behind it.
    feed.at += day + day / 8;
    feed.price *= 0.7;
    feed.tick();
    assert_eq!(figure(&feed), (0, 0));
    feed.price *= 0.99;
    feed.tick();
    assert!(figure(&feed).1 > 0);
}

#[test]
fn without_enough_history_nothing_trips() {
    let mut feed = Feed {
        at: START,
        ..Feed::calm()
    };
    feed.watch = UnderlyingWatch::default();
    for _ in 0..12 {
        assert!(feed.wander().is_empty(), "no history at all");
    }
    feed.volatility *= 3.0;
    feed.price *= 0.5;
    assert!(feed.tick().is_empty(), "twelve minutes are no history");
}

#[test]
fn a_gap_in_the_history_is_warmed_up_again() {
    let mut feed = Feed::calm();
    feed.at += 48 * 60 * MINUTE;
    feed.volatility *= 2.0;
    feed.price *= 0.8;
    let verdicts = feed.tick();
    let within: Vec<_> = trips(&verdicts)
        .into_iter()
        .filter(|(breaker, _)| *breaker != Breaker::Level)
        .collect();
    assert!(
        within.is_empty(),
        "moves over a gap are no speed: {within:?}"
    );
}

#[test]
fn a_restart_keeps_the_history() {
    let mut feed = Feed::calm();
    let bytes = borsh::to_vec(&feed.watch).unwrap();
    assert!(bytes.len() < 8_192, "{}", bytes.len());
    feed.watch = borsh::from_slice(&bytes).unwrap();
    feed.volatility *= 1.5;
    assert!(!trips(&feed.tick()).is_empty());
}

#[test]
fn sources_that_disagree_tighten_at_once_and_halt_after_half_a_minute() {
    let (mut watch, parameters) = (UnderlyingWatch::default(), BreakerParameters::default());
    let mut reading = |second: u64, agreeing: u32| {
        let reading = Reading {
            at: TimeMs::new(START + second * 1_000),
            market: None,
            agreement: Some(Agreement {
                agreeing,
                needed: 4,
            }),
            depth: None,
        };
        watch.observe(&reading, &parameters)
    };
    assert!(reading(0, 5).is_empty());
    assert!(reading(1, 3).is_empty(), "one slow moment is none");
    assert!(reading(2, 4).is_empty());
    assert!(reading(3, 3).is_empty());
    assert_eq!(trips(&reading(8, 3)), [(Breaker::Dispersion, 1)]);
    assert!(reading(20, 0).is_empty());
    assert_eq!(trips(&reading(33, 3)), [(Breaker::Dispersion, 3)]);
    let back = reading(40, 4);
    assert!(matches!(
        back[..],
        [Verdict::Released {
            breaker: Breaker::Dispersion,
            figure: 4,
            ..
        }]
    ));
}

#[test]
fn a_book_that_empties_tightens_bands_and_a_mass_quote_does_not() {
    let (mut watch, parameters) = (UnderlyingWatch::default(), BreakerParameters::default());
    let mut reading = |second: u64, lots: u64| {
        let reading = Reading {
            at: TimeMs::new(START + second * 1_000),
            market: None,
            agreement: None,
            depth: Some(lots),
        };
        watch.observe(&reading, &parameters)
    };
    for minute in 0..70 {
        assert!(reading(minute * 60, 10_000).is_empty());
    }
    let quiet = 70 * 60;
    assert!(reading(quiet, 0).is_empty(), "quotes are being replaced");
    assert!(reading(quiet + 1, 9_000).is_empty());
    assert!(reading(quiet + 2, 400).is_empty());
    assert_eq!(trips(&reading(quiet + 33, 100)), [(Breaker::Depth, 1)]);
    assert!(matches!(
        reading(quiet + 40, 9_000)[..],
        [Verdict::Released { .. }]
    ));
}

#[test]
fn what_leaves_within_the_hour_is_added_up() {
    let parameters = BreakerParameters::default();
    let mut watch = VenueWatch::default();
    let mut collateral = 10_000_000_000_000i64;
    let mut levels = Vec::new();
    for minute in 0..50 {
        let amount = 120_000_000_000;
        let now = TimeMs::new(START + minute * MINUTE);
        watch.withdrew(Cash::new(amount), now);
        collateral -= amount;
        if let Some(Verdict::Tripped(trip)) =
            watch.judge_outflow(Cash::new(collateral), now, &parameters)
        {
            levels.push((minute, trip.level, trip.figure >= trip.bound));
        }
    }
    // 1.2 % a minute: a tenth after nine withdrawals, a quarter after 21, half after 42.
    assert_eq!(levels, [(8, 1, true), (20, 2, true), (41, 3, true)]);
    let later = TimeMs::new(START + 200 * MINUTE);
    let back = watch.judge_outflow(Cash::new(collateral), later, &parameters);
    assert!(matches!(back, Some(Verdict::Released { figure: 0, .. })));
}

#[test]
fn books_that_do_not_add_up_halt() {
    let mut watch = VenueWatch::default();
    assert_eq!(watch.judge_conservation(0), None);
    let Some(Verdict::Tripped(trip)) = watch.judge_conservation(-1) else {
        panic!("nothing tripped");
    };
    assert_eq!((trip.breaker, trip.level), (Breaker::Conservation, 3));
    assert_eq!((trip.figure, trip.bound), (-1, 0));
    assert_eq!(watch.judge_conservation(-1), None);
    assert!(watch.judge_conservation(0).is_some());
}

#[test]
fn an_average_forgets_and_begins_as_a_plain_mean() {
    let mut average = super::average::Average::default();
    for sample in [10, 20, 30] {
        average.add(sample, 1, 1_000_000);
    }
    assert_eq!(average.value(), 20);
    for _ in 0..100 {
        average.add(1_000, 100, 1_000);
    }
    assert!((990..=1_000).contains(&average.value()), "{average:?}");
}

//! Surfaces from made-up books.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use super::smile::{Smile, nodes};
use super::{EarlierExpiry, Quote, Surface, SurfaceParameters};
use crate::pricing::mark::ExpiryView;
use crate::pricing::rounding::to_nearest_price;
use crate::pricing::{Mark, black76};
use crate::types::{DAY_MS, OptionKind, Price};

const PARAMETERS: SurfaceParameters = SurfaceParameters::DEFAULT;

fn view(days: u64) -> ExpiryView {
    ExpiryView {
        forward: Price::new(90_000_000_000),
        time_left_ms: days * DAY_MS,
        discount_ppb: 1_000_000_000,
    }
}

fn strikes() -> impl Iterator<Item = Price> {
    (60..=130)
        .step_by(2)
        .map(|thousands| Price::new(thousands * 1_000_000_000))
}

/// A smile with a skew, of the kind that the fit can hit exactly.
fn true_smile() -> Smile {
    Smile {
        level: 0.1,
        slope: 0.4,
        skew: -0.3,
        centre: 0.02,
        width: 0.2,
    }
}

/// Two-sided quotes one vol point wide on both sides of the money, at `smile` times `factor(i)`.
fn quotes(view: &ExpiryView, smile: &Smile, factor: impl Fn(usize) -> f64) -> Vec<Quote> {
    let quote = |(i, strike): (usize, Price)| {
        let k = (strike.get() as f64 / view.forward.get() as f64).ln();
        let volatility = smile.variance(k).sqrt() * factor(i);
        let mut option = view.option(strike, 0);
        let kind = if strike < view.forward {
            OptionKind::Put
        } else {
            OptionKind::Call
        };
        let mut side = |points: f64| {
            option.volatility = volatility + points;
            let values = black76(&option);
            let price = if kind == OptionKind::Put {
                values.put
            } else {
                values.call
            };
            to_nearest_price(price)
        };
        Quote {
            strike,
            kind,
            bid: side(-0.005),
            ask: side(0.005),
        }
    };
    strikes().enumerate().map(quote).collect()
}

fn worst_difference(a: &Surface, b: &Surface, view: &ExpiryView) -> u32 {
    strikes()
        .map(|k| {
            a.volatility_ppm(k, view.forward)
                .abs_diff(b.volatility_ppm(k, view.forward))
        })
        .max()
        .unwrap()
}

#[test]
fn finds_the_smile_that_made_the_quotes() {
    for days in [2, 9, 30, 90, 300] {
        let view = view(days);
        let quotes = quotes(&view, &true_smile(), |_| 1.0);
        let surface = Surface::updated(&quotes, &view, None, None, &PARAMETERS).unwrap();
        let truth = true_smile().rounded(view.years()).unwrap();
        let deviation = true_smile().deviation(view.years());
        for k in nodes(2.0 * deviation) {
            let off = surface.volatility_at(k).abs_diff(truth.volatility_at(k));
            assert!(off < 3_000, "{days} days, k {k}: off by {off} ppm");
        }
        assert!(surface.is_butterfly_free(view.years()), "{days} days");
    }
}

#[test]
fn one_strike_at_three_times_its_volatility_changes_nothing() {
    let view = view(30);
    let clean = Surface::updated(
        &quotes(&view, &true_smile(), |_| 1.0),
        &view,
        None,
        None,
        &PARAMETERS,
    )
    .unwrap();
    for bad in 0..strikes().count() {
        let spoiled = quotes(&view, &true_smile(), |i| if i == bad { 3.0 } else { 1.0 });
        let surface = Surface::updated(&spoiled, &view, None, None, &PARAMETERS).unwrap();
        let off = worst_difference(&surface, &clean, &view);
        assert!(off < 5_000, "strike {bad} moved the surface by {off} ppm");
    }
}

#[test]
fn moves_at_most_five_points_an_update_and_arrives() {
    let view = view(30);
    let calm = quotes(&view, &true_smile(), |_| 1.0);
    let wild = quotes(&view, &true_smile(), |_| 1.6);
    let update = |quotes: &[Quote], last: Option<&Surface>| {
        Surface::updated(quotes, &view, last, None, &PARAMETERS).unwrap()
    };
    let mut surface = update(&calm, None);
    let target = update(&wild, None);
    for _ in 0..30 {
        let next = update(&wild, Some(&surface));
        assert!(worst_difference(&next, &surface, &view) <= PARAMETERS.move_ppm_max);
        assert!(next.is_butterfly_free(view.years()));
        surface = next;
    }
    let off = worst_difference(&surface, &target, &view);
    assert!(off < 2_000, "still {off} ppm away");
}

#[test]
fn stays_as_it_was_without_usable_quotes() {
    let view = view(30);
    let good = quotes(&view, &true_smile(), |_| 1.0);
    let surface = Surface::updated(&good, &view, None, None, &PARAMETERS).unwrap();
    let spoil = |change: fn(&mut Quote)| -> Vec<Quote> {
        let mut quotes = good.clone();
        quotes.iter_mut().for_each(change);
        quotes
    };
    let useless = [
        Vec::new(),
        spoil(|quote| quote.bid = None),
        spoil(|quote| quote.ask = None),
        spoil(|quote| core::mem::swap(&mut quote.bid, &mut quote.ask)),
        spoil(|quote| {
            quote.ask = quote
                .ask
                .map(|ask| Price::new(ask.get() * 3 + 9_000_000_000))
        }),
        spoil(|quote| quote.bid = Some(Price::ZERO)),
    ];
    for quotes in useless {
        let next = Surface::updated(&quotes, &view, Some(&surface), None, &PARAMETERS);
        assert_eq!(next.as_ref(), Some(&surface));
        assert_eq!(
            Surface::updated(&quotes, &view, None, None, &PARAMETERS),
            None
        );
    }
}

#[test]
fn few_quotes_move_the_level_only() {
    let view = view(30);
    let good = quotes(&view, &true_smile(), |_| 1.0);
    let surface = Surface::updated(&good, &view, None, None, &PARAMETERS).unwrap();
    let higher = quotes(&view, &true_smile(), |_| 1.05);
    let few: Vec<Quote> = higher[14..17].to_vec();
    let next = Surface::updated(&few, &view, Some(&surface), None, &PARAMETERS).unwrap();
    for quote in &few {
        let before = surface.volatility_ppm(quote.strike, view.forward);
        let after = next.volatility_ppm(quote.strike, view.forward);
        let expected = f64::from(before) * 1.05;
        assert!(
            (f64::from(after) - expected).abs() < 4_000.0,
            "{before} to {after}"
        );
    }
    let alone = Surface::updated(&few, &view, None, None, &PARAMETERS).unwrap();
    let low = Price::new(60_000_000_000);
    assert_eq!(
        alone.volatility_ppm(low, view.forward),
        alone.volatility_ppm(view.forward, view.forward)
    );
}

#[test]
fn later_expiry_never_has_less_total_variance() {
    let (near, far) = (view(28), view(30));
    let high = quotes(&near, &true_smile(), |_| 1.3);
    let low = quotes(&far, &true_smile(), |_| 1.0);
    let first = Surface::updated(&high, &near, None, None, &PARAMETERS).unwrap();
    let earlier = EarlierExpiry {
        surface: &first,
        time_left_ms: near.time_left_ms,
    };
    let second = Surface::updated(&low, &far, None, Some(earlier), &PARAMETERS).unwrap();
    let reach = 3.0 * Smile::from(&first).deviation(near.years());
    for k in nodes(reach) {
        let (w1, w2) = (
            first.total_variance(k, near.years()),
            second.total_variance(k, far.years()),
        );
        assert!(w2 >= w1 - 1e-9, "k {k}: {w2} under {w1}");
    }
    assert!(second.is_butterfly_free(far.years()));
}

#[test]
fn call_marks_fall_and_are_convex_in_strike() {
    for days in [1, 7, 30, 180] {
        let view = view(days);
        let noisy = quotes(&view, &true_smile(), |i| {
            1.0 + 0.03 * ((i * 7 % 5) as f64 - 2.0)
        });
        let surface = Surface::updated(&noisy, &view, None, None, &PARAMETERS).unwrap();
        let deviation = Smile::from(&surface).deviation(view.years());
        let marks: Vec<i64> = nodes(3.0)
            .map(|d| {
                Price::new((view.forward.get() as f64 * (1.0 + d * deviation).max(0.1)) as i64)
            })
            .map(|k| {
                let volatility = surface.volatility_ppm(k, view.forward);
                Mark::new(OptionKind::Call, k, &view, volatility)
                    .unwrap()
                    .price
                    .get()
            })
            .collect();
        for triple in marks.windows(3).filter(|triple| triple[2] > 1_000) {
            assert!(
                triple[0] >= triple[1],
                "{days} days: calls rise with the strike"
            );
            // 20 000 is 0.02 USDC: what volatilities rounded to 1e-6 may cost.
            assert!(
                triple[0] + triple[2] - 2 * triple[1] >= -20_000,
                "{days} days: {triple:?}"
            );
        }
    }
}

#[test]
fn survives_a_codec_round_trip_and_odd_views() {
    let surface = true_smile().rounded(0.1).unwrap();
    let bytes = borsh::to_vec(&surface).unwrap();
    assert_eq!(borsh::from_slice::<Surface>(&bytes).unwrap(), surface);
    let odd = ExpiryView {
        forward: Price::ZERO,
        time_left_ms: 0,
        discount_ppb: 0,
    };
    let quotes = quotes(&view(30), &true_smile(), |_| 1.0);
    assert_eq!(
        Surface::updated(&quotes, &odd, None, None, &PARAMETERS),
        None
    );
    for price in [Price::ZERO, Price::MAX, Price::new(-5)] {
        let ppm = surface.volatility_ppm(price, odd.forward);
        assert!((super::VOLATILITY_PPM_MIN..=super::VOLATILITY_PPM_MAX).contains(&ppm));
        assert!(Mark::new(OptionKind::Call, price, &odd, ppm).is_some());
    }
}

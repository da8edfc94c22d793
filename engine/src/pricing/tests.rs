//! Determinism and accuracy of the building blocks. Reference digits come from 50-digit arithmetic.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use super::float::{exp, ln, sqrt};
use super::normal::{cdf, pdf};
use super::{Black76, Black76Columns, GreekColumns, ScenarioGrid, ScenarioOption, Width, black76};
use crate::types::OptionKind;

/// FNV-1a over the bit patterns of results.
struct BitDigest(u64);

impl BitDigest {
    fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn add(&mut self, value: f64) {
        for byte in value.to_bits().to_le_bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

fn ulps(a: f64, b: f64) -> u64 {
    a.to_bits().abs_diff(b.to_bits())
}

#[test]
fn exp_and_ln_stay_within_one_ulp_of_the_platform() {
    let (mut worst_exp, mut worst_ln) = (0, 0);
    for i in -70_000..=70_000 {
        let x = f64::from(i) * 0.010_07;
        worst_exp = worst_exp.max(ulps(exp(x), x.exp()));
        let y = (f64::from(i) * 0.01).exp();
        worst_ln = worst_ln.max(ulps(ln(y), y.ln()));
        let near_one = 1.0 + f64::from(i) * 1e-6;
        worst_ln = worst_ln.max(ulps(ln(near_one), near_one.ln()));
    }
    println!("worst error against the platform: exp {worst_exp} ulp, ln {worst_ln} ulp");
    assert!(worst_exp <= 1);
    assert!(worst_ln <= 2);
}

#[test]
fn functions_are_finite_on_every_kind_of_argument() {
    let odd = [
        f64::NAN,
        -f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::MAX,
        f64::MIN,
        f64::MIN_POSITIVE,
        5e-324,
        0.0,
        -0.0,
        1.0,
        -1.0,
    ];
    for x in odd {
        for value in [exp(x), ln(x), cdf(x), pdf(x)] {
            assert!(value.is_finite(), "{x} gave {value}");
        }
        for y in odd {
            for z in odd {
                let input = Black76 {
                    forward: x,
                    strike: y,
                    years: z,
                    volatility: y,
                    discount: x,
                };
                let v = black76(&input);
                let all = [
                    v.call,
                    v.put,
                    v.call_delta,
                    v.put_delta,
                    v.gamma,
                    v.vega,
                    v.call_theta,
                    v.put_theta,
                ];
                assert!(
                    all.iter().all(|value| value.is_finite()),
                    "{input:?} gave {v:?}"
                );
            }
        }
    }
    assert_eq!(sqrt(f64::NAN), 0.0);
    assert_eq!(sqrt(-1.0), 0.0);
}

/// What every target and vector width must give for the grid of [`bits_are_pinned`].
const PINNED_DIGEST: u64 = 0xba85_87fa_b127_d2fc;

#[test]
fn bits_are_pinned() {
    let mut digest = BitDigest::new();
    for i in -2_000_i32..=2_000 {
        let x = f64::from(i) * 0.37;
        for value in [
            exp(x),
            ln(exp(x)),
            sqrt(exp(x)),
            cdf(x * 0.01),
            pdf(x * 0.01),
        ] {
            digest.add(value);
        }
    }
    for i in 0_i32..40 {
        for j in 0_i32..40 {
            let values = black76(&Black76 {
                forward: 20_000.0 + 3_517.0 * f64::from(i),
                strike: 90_000.0,
                years: f64::from(j * j) * 0.002_3,
                volatility: 0.05 + 0.07 * f64::from((i * 7 + j) % 23),
                discount: 1.0 - 0.003 * f64::from(j),
            });
            let all = [
                values.call,
                values.put,
                values.call_delta,
                values.gamma,
                values.vega,
            ];
            all.into_iter().for_each(|value| digest.add(value));
            digest.add(values.put_theta);
        }
    }
    assert_eq!(digest.0, PINNED_DIGEST, "digest is {:#018x}", digest.0);
}

/// x, N(x), n(x) from 40-digit arithmetic.
const NORMAL: &[(f64, f64, f64)] = &[
    (-35.0, 1.1249107064724062e-268, 3.940396277136024e-267),
    (-20.0, 2.7536241186062337e-89, 5.520948362159764e-88),
    (-9.5, 1.0494515075362608e-21, 1.007793539430001e-20),
    (-8.0, 6.220960574271784e-16, 5.052271083536892e-15),
    (-6.0, 9.86587645037698e-10, 6.075882849823285e-09),
    (-5.0, 2.866515718791939e-07, 1.4867195147342977e-06),
    (-4.0, 3.1671241833119924e-05, 0.00013383022576488534),
    (-3.0, 0.0013498980316300946, 0.0044318484119380075),
    (-2.0, 0.02275013194817921, 0.05399096651318805),
    (-1.5, 0.06680720126885807, 0.12951759566589172),
    (-1.0, 0.15865525393145705, 0.24197072451914334),
    (-0.6875, 0.24588385038026145, 0.3149735354265933),
    (-0.5, 0.3085375387259869, 0.35206532676429947),
    (-0.25, 0.4012936743170763, 0.3866681168028492),
    (-0.125, 0.4502617751698871, 0.39583768694474947),
    (0.0, 0.5, 0.3989422804014327),
    (0.125, 0.5497382248301129, 0.39583768694474947),
    (0.5, 0.6914624612740131, 0.35206532676429947),
    (1.0, 0.8413447460685429, 0.24197072451914334),
    (2.0, 0.9772498680518208, 0.05399096651318805),
    (3.0, 0.9986501019683699, 0.0044318484119380075),
    (5.0, 0.9999997133484281, 1.4867195147342977e-06),
    (8.0, 0.9999999999999993, 5.052271083536892e-15),
];

#[test]
fn normal_distribution_matches_forty_digits() {
    let (mut worst_cdf, mut worst_pdf) = (0.0_f64, 0.0_f64);
    for (x, distribution, density) in NORMAL.iter().copied() {
        worst_cdf = worst_cdf.max((cdf(x) - distribution).abs());
        worst_pdf = worst_pdf.max((pdf(x) - density).abs());
        if x > -8.5 {
            assert!(
                (cdf(x) / distribution - 1.0).abs() < 3e-8,
                "relative error at {x}"
            );
        }
    }
    println!("worst absolute error: cdf {worst_cdf:e}, pdf {worst_pdf:e}");
    assert!(worst_cdf < 3e-16);
    assert!(worst_pdf < 2e-16);
    let mut last = 0.0;
    for i in -40_000..=40_000 {
        let x = f64::from(i) * 1e-3;
        assert!(cdf(x) >= last - 3e-16, "not monotone at {x}");
        assert!(
            (cdf(x) + cdf(-x) - 1.0).abs() < 3e-16,
            "not symmetric at {x}"
        );
        last = cdf(x);
    }
}

/// A small deterministic generator: 64-bit xorshift.
struct Sample(u64);

impl Sample {
    /// Uniform in `low..high`.
    fn between(&mut self, low: f64, high: f64) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        low + (high - low) * ((self.0 >> 11) as f64 / (1_u64 << 53) as f64)
    }
}

/// Runs `write` into columns of `rows` rows and returns the bits of each row's four results.
fn collect(rows: usize, write: impl FnOnce(&mut GreekColumns<'_>)) -> Vec<[u64; 4]> {
    let [mut price, mut delta, mut gamma, mut vega] = [0; 4].map(|_| vec![f64::NAN; rows]);
    write(&mut GreekColumns {
        price: &mut price,
        delta: &mut delta,
        gamma: &mut gamma,
        vega: &mut vega,
    });
    (0..rows)
        .map(|i| [price[i], delta[i], gamma[i], vega[i]].map(f64::to_bits))
        .collect()
}

fn random_input(sample: &mut Sample) -> Black76 {
    Black76 {
        forward: sample.between(10.0, 200_000.0),
        strike: sample.between(10.0, 200_000.0),
        years: sample.between(-0.1, 2.0),
        volatility: sample.between(-0.1, 4.0),
        discount: sample.between(0.8, 1.0),
    }
}

#[test]
fn every_width_has_the_bits_of_the_scalar_call() {
    let mut sample = Sample(0x5eed);
    println!(
        "seed 0x5eed, widths {:?}",
        Width::available().collect::<Vec<_>>()
    );
    for rows in [0, 1, 7, 31, 32, 33, 64, 100, 1_000] {
        let inputs: Vec<Black76> = (0..rows).map(|_| random_input(&mut sample)).collect();
        let column = |f: fn(&Black76) -> f64| -> Vec<f64> { inputs.iter().map(f).collect() };
        let (forward, strike) = (column(|b| b.forward), column(|b| b.strike));
        let (years, volatility) = (column(|b| b.years), column(|b| b.volatility));
        let discount = column(|b| b.discount);
        let columns = Black76Columns {
            forward: &forward,
            strike: &strike,
            years: &years,
            volatility: &volatility,
            discount: &discount,
        };
        for kind in [OptionKind::Call, OptionKind::Put] {
            let scalar: Vec<[u64; 4]> = inputs
                .iter()
                .map(|input| input.greeks(kind))
                .map(|g| [g.price, g.delta, g.gamma, g.vega].map(f64::to_bits))
                .collect();
            for width in Width::available() {
                let vector = collect(rows, |out| columns.evaluate(width, kind, out));
                assert_eq!(vector, scalar, "{width:?} {kind:?} {rows} rows");
            }
        }
    }
}

#[test]
fn scenario_grid_agrees_with_direct_valuation_at_every_width() {
    let mut sample = Sample(0xf00d);
    for scenarios in [1, 31, 32, 45] {
        let factors: Vec<f64> = (0..scenarios).map(|_| sample.between(0.05, 6.0)).collect();
        let volatilities: Vec<f64> = (0..scenarios).map(|_| sample.between(0.0, 3.0)).collect();
        let grid = ScenarioGrid::new(&factors);
        let base = random_input(&mut sample);
        for kind in [OptionKind::Call, OptionKind::Put] {
            let option = ScenarioOption::new(kind, &base);
            let run = |width| {
                collect(scenarios, |out| {
                    grid.evaluate(width, &option, &volatilities, out)
                })
            };
            let baseline = run(Width::Baseline);
            for width in Width::available() {
                assert_eq!(run(width), baseline, "{width:?} {kind:?}");
            }
            for (i, row) in baseline.iter().enumerate() {
                let forward = base.forward * factors[i];
                let volatility = volatilities[i];
                let direct = Black76 {
                    forward,
                    volatility,
                    ..base
                }
                .greeks(kind);
                let [price, delta, _, vega] = row.map(f64::from_bits);
                assert!((price - direct.price).abs() < 1e-8 * (1.0 + forward));
                assert!((delta - direct.delta).abs() < 1e-8);
                assert!((vega - direct.vega).abs() < 1e-8 * (1.0 + forward));
            }
        }
    }
}

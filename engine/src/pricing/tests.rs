//! Determinism and accuracy of the building blocks. Reference digits come from 50-digit arithmetic.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use super::float::{exp, ln, sqrt};
use super::normal::{cdf, pdf};
use super::{Black76, black76};

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
const PINNED_DIGEST: u64 = 0x94c0_c321_72b6_b6ec;

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

//! Cost of one Black-76 evaluation (price, delta, gamma and vega) at each vector width, beside the
//! textbook formula on the platform's own exp, ln and erfc.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use core::hint::black_box;
use lifeboat_engine::pricing::{
    Black76, Black76Columns, GreekColumns, ScenarioGrid, ScenarioOption, Width, normal,
};
use lifeboat_engine::types::OptionKind;
use std::time::Instant;

const OPTIONS: usize = 500;
const SCENARIOS: usize = 32;
const ROUNDS: usize = 200;

/// Best of `ROUNDS` runs, in nanoseconds an evaluation.
fn best(evaluations: usize, mut run: impl FnMut()) -> f64 {
    let mut best = f64::MAX;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        run();
        best = best.min(start.elapsed().as_nanos() as f64 / evaluations as f64);
    }
    best
}

struct Workload {
    options: Vec<(OptionKind, Black76)>,
    grid: ScenarioGrid,
    factors: Vec<f64>,
    volatilities: Vec<f64>,
}

fn workload() -> Workload {
    let factors: Vec<f64> = (0..SCENARIOS).map(|s| 0.34 + 0.04 * s as f64).collect();
    let options: Vec<_> = (0..OPTIONS)
        .map(|i| {
            let kind = if i % 2 == 0 {
                OptionKind::Call
            } else {
                OptionKind::Put
            };
            let base = Black76 {
                forward: 89_000.0,
                strike: 40_000.0 + 2_000.0 * ((i / 2) % 50) as f64,
                years: [0.003, 0.02, 0.08, 0.25, 0.66][i / 100],
                volatility: 0.42 + 0.002 * (i % 37) as f64,
                discount: 0.99,
            };
            (kind, base)
        })
        .collect();
    let volatilities = options
        .iter()
        .flat_map(|(_, base)| {
            let base = base.volatility;
            (0..SCENARIOS).map(move |s| base * [1.0, 1.5, 0.7][s % 3])
        })
        .collect();
    Workload {
        options,
        grid: ScenarioGrid::new(&factors),
        factors,
        volatilities,
    }
}

/// Value and greeks as a textbook has them: exp, ln and sqrt from the platform.
fn textbook(kind: OptionKind, b: &Black76) -> [f64; 4] {
    let total = b.volatility * b.years.sqrt();
    let d1 = (b.forward / b.strike).ln() / total + 0.5 * total;
    let d2 = d1 - total;
    let density = (-0.5 * d1 * d1).exp() * normal::INV_ROOT_TWO_PI;
    let (n1, n2) = (textbook_cdf(d1), textbook_cdf(d2));
    let (price, delta) = match kind {
        OptionKind::Call => (b.forward * n1 - b.strike * n2, n1),
        OptionKind::Put => (b.strike * (1.0 - n2) - b.forward * (1.0 - n1), n1 - 1.0),
    };
    let vega = b.discount * b.forward * density * b.years.sqrt();
    let gamma = b.discount * density / (b.forward * total);
    [b.discount * price, b.discount * delta, gamma, vega]
}

unsafe extern "C" {
    /// The platform's mathematical library, as the peer to compare with.
    safe fn erfc(x: f64) -> f64;
}

fn textbook_cdf(x: f64) -> f64 {
    0.5 * erfc(-x * core::f64::consts::FRAC_1_SQRT_2)
}

fn main() {
    let w = workload();
    let evaluations = OPTIONS * SCENARIOS;
    println!(
        "workload: {OPTIONS} options x {SCENARIOS} scenarios, price + delta + gamma + vega, one thread, best of {ROUNDS}"
    );
    let [mut price, mut delta, mut gamma, mut vega] = [0; 4].map(|_| vec![0.0; evaluations]);
    let prepared: Vec<_> = w
        .options
        .iter()
        .map(|(kind, base)| ScenarioOption::new(*kind, base))
        .collect();
    for width in Width::available() {
        let ns = best(evaluations, || {
            for (i, option) in prepared.iter().enumerate() {
                let range = i * SCENARIOS..(i + 1) * SCENARIOS;
                let mut out = GreekColumns {
                    price: &mut price[range.clone()],
                    delta: &mut delta[range.clone()],
                    gamma: &mut gamma[range.clone()],
                    vega: &mut vega[range.clone()],
                };
                w.grid
                    .evaluate(width, black_box(option), &w.volatilities[range], &mut out);
            }
            black_box(&price);
        });
        println!("scenario grid, {width:?}: {ns:.2} ns/evaluation (aim 3.5 at Avx512)");
    }
    let rows: Vec<(OptionKind, Black76)> = (0..evaluations)
        .map(|e| {
            let (kind, base) = w.options[e / SCENARIOS];
            let forward = base.forward * w.factors[e % SCENARIOS];
            (
                kind,
                Black76 {
                    forward,
                    volatility: w.volatilities[e],
                    ..base
                },
            )
        })
        .collect();
    let column = |f: fn(&Black76) -> f64| -> Vec<f64> { rows.iter().map(|(_, b)| f(b)).collect() };
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
    for width in Width::available() {
        let ns = best(evaluations, || {
            let mut out = GreekColumns {
                price: &mut price,
                delta: &mut delta,
                gamma: &mut gamma,
                vega: &mut vega,
            };
            columns.evaluate(width, OptionKind::Call, &mut out);
            black_box(&price);
        });
        println!("nothing shared (ln, sqrt and clamps included), {width:?}: {ns:.2} ns/evaluation");
    }
    let ns = best(evaluations, || {
        for (kind, row) in &rows {
            black_box(row.greeks(*kind));
        }
    });
    println!("scalar call, one at a time: {ns:.2} ns/evaluation");
    let ns = best(evaluations, || {
        for (kind, row) in &rows {
            black_box(textbook(*kind, row));
        }
    });
    println!("textbook formula on the platform's exp, ln and erfc, scalar: {ns:.2} ns/evaluation");
}

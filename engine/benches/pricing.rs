//! Cost of one Black-76 evaluation (price, delta, gamma and vega) at each vector width, beside the
//! textbook formula on the platform's own exp, ln and erfc; of an implied volatility; of a surface.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use core::hint::black_box;
use lifeboat_engine::pricing::{
    Black76, Black76Columns, ExpiryView, GreekColumns, Mark, Quote, ScenarioGrid, ScenarioOption,
    Surface, SurfaceParameters, Width, implied_volatility, normal,
};
use lifeboat_engine::types::{OptionKind, Price};
use std::time::Instant;

const OPTIONS: usize = 500;
const SCENARIOS: usize = 32;
const EVALUATIONS: usize = OPTIONS * SCENARIOS;
const ROUNDS: usize = 200;
const SURFACE_STRIKES: i64 = 40;

/// Best of [`ROUNDS`] runs, in nanoseconds for each of `units`.
fn best(units: usize, mut run: impl FnMut()) -> f64 {
    let mut best = f64::MAX;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        run();
        best = best.min(start.elapsed().as_nanos() as f64 / units as f64);
    }
    best
}

/// 250 calls and 250 puts on 50 strikes and 5 expiries, each in 32 scenarios of forward and
/// volatility.
struct Workload {
    options: Vec<(OptionKind, Black76)>,
    factors: Vec<f64>,
    volatilities: Vec<f64>,
}

impl Workload {
    fn new() -> Self {
        let factors = (0..SCENARIOS).map(|s| 0.34 + 0.04 * s as f64).collect();
        let option = |i: usize| {
            let kind = [OptionKind::Call, OptionKind::Put][i % 2];
            let base = Black76 {
                forward: 89_000.0,
                strike: 40_000.0 + 2_000.0 * ((i / 2) % 50) as f64,
                years: [0.003, 0.02, 0.08, 0.25, 0.66][i / 100],
                volatility: 0.42 + 0.002 * (i % 37) as f64,
                discount: 0.99,
            };
            (kind, base)
        };
        let options: Vec<_> = (0..OPTIONS).map(option).collect();
        let shocks = (0..SCENARIOS).map(|s| [1.0, 1.5, 0.7][s % 3]);
        let volatilities = options
            .iter()
            .flat_map(|(_, base)| shocks.clone().map(|shock| base.volatility * shock))
            .collect();
        Self {
            options,
            factors,
            volatilities,
        }
    }

    /// Every evaluation on its own.
    fn rows(&self) -> Vec<(OptionKind, Black76)> {
        let row = |e: usize| {
            let (kind, base) = self.options[e / SCENARIOS];
            let forward = base.forward * self.factors[e % SCENARIOS];
            (
                kind,
                Black76 {
                    forward,
                    volatility: self.volatilities[e],
                    ..base
                },
            )
        };
        (0..EVALUATIONS).map(row).collect()
    }
}

/// The four result columns of all evaluations.
struct Results([Vec<f64>; 4]);

impl Results {
    fn columns(&mut self, start: usize, count: usize) -> GreekColumns<'_> {
        let [price, delta, gamma, vega] = self
            .0
            .each_mut()
            .map(|column| &mut column[start..start + count]);
        GreekColumns {
            price,
            delta,
            gamma,
            vega,
        }
    }
}

fn bench_scenarios(work: &Workload, results: &mut Results) {
    let grid = ScenarioGrid::new(&work.factors);
    let prepare = |(kind, base): &(OptionKind, Black76)| ScenarioOption::new(*kind, base);
    let options: Vec<_> = work.options.iter().map(prepare).collect();
    for width in Width::available() {
        let ns = best(EVALUATIONS, || {
            for (i, option) in options.iter().enumerate() {
                let start = i * SCENARIOS;
                let volatilities = &work.volatilities[start..start + SCENARIOS];
                let mut out = results.columns(start, SCENARIOS);
                grid.evaluate(width, black_box(option), volatilities, &mut out);
            }
            black_box(&results.0);
        });
        println!("scenario grid, {width:?}: {ns:.2} ns (aim 3.5 at Avx512)");
    }
}

fn bench_rows(rows: &[(OptionKind, Black76)], results: &mut Results) {
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
        let ns = best(EVALUATIONS, || {
            columns.evaluate(
                width,
                OptionKind::Call,
                &mut results.columns(0, EVALUATIONS),
            );
            black_box(&results.0);
        });
        println!("nothing shared (with ln, sqrt and clamps), {width:?}: {ns:.2} ns");
    }
}

fn bench_scalar(rows: &[(OptionKind, Black76)]) {
    let ns = best(EVALUATIONS, || {
        rows.iter()
            .for_each(|(kind, row)| _ = black_box(row.greeks(*kind)));
    });
    println!("one call at a time: {ns:.2} ns");
    let ns = best(EVALUATIONS, || {
        rows.iter()
            .for_each(|(kind, row)| _ = black_box(textbook(*kind, row)));
    });
    println!("peer, textbook formula on the platform's exp, ln and erfc: {ns:.2} ns");
    let priced: Vec<_> = rows
        .iter()
        .map(|(kind, row)| (*kind, row.greeks(*kind).price, row))
        .filter(|(kind, price, row)| implied_volatility(*kind, *price, row).is_some())
        .collect();
    let ns = best(priced.len(), || {
        for (kind, price, row) in &priced {
            black_box(implied_volatility(*kind, *price, row));
        }
    });
    println!("implied volatility, {} of these: {ns:.0} ns", priced.len());
}

unsafe extern "C" {
    /// The platform's mathematical library, as the peer to compare with.
    safe fn erfc(x: f64) -> f64;
}

fn textbook_cdf(x: f64) -> f64 {
    0.5 * erfc(-x * core::f64::consts::FRAC_1_SQRT_2)
}

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

fn bench_surface() {
    let view = ExpiryView {
        forward: Price::new(90_000_000_000),
        time_left_ms: 30 * 86_400_000,
        discount_ppb: 1_000_000_000,
    };
    let quote = |step: i64| {
        let strike = Price::new((90_000 + 1_500 * step) * 1_000_000);
        let kind = if step < 0 {
            OptionKind::Put
        } else {
            OptionKind::Call
        };
        let level = 450_000 + 300 * u32::try_from(step * step).unwrap();
        let side = |ppm: u32| Mark::new(kind, strike, &view, ppm).map(|mark| mark.price);
        Quote {
            strike,
            kind,
            bid: side(level - 5_000),
            ask: side(level + 5_000),
        }
    };
    let quotes: Vec<Quote> = (-SURFACE_STRIKES / 2..SURFACE_STRIKES / 2)
        .map(quote)
        .collect();
    let parameters = SurfaceParameters::DEFAULT;
    let update = |last: Option<&Surface>| {
        Surface::updated(black_box(&quotes), &view, last, None, &parameters).unwrap()
    };
    let surface = update(None);
    let us = best(1, || _ = black_box(update(Some(&surface)))) / 1_000.0;
    println!("surface of {SURFACE_STRIKES} strikes, fitted anew: {us:.0} us");
}

fn main() {
    let work = Workload::new();
    let rows = work.rows();
    let mut results = Results([0; 4].map(|_| vec![0.0; EVALUATIONS]));
    println!("workload: {OPTIONS} options x {SCENARIOS} scenarios; an evaluation is price, delta,");
    println!("gamma and vega; one thread, best of {ROUNDS}");
    bench_scenarios(&work, &mut results);
    bench_rows(&rows, &mut results);
    bench_scalar(&rows);
    bench_surface();
}

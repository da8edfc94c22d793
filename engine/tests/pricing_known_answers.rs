//! Published option values and greeks, reached from Black-76 by way of the forward.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

mod pricing_support;

use lifeboat_engine::pricing::float::exp;
use lifeboat_engine::pricing::{Black76, Values, black76, implied_volatility};
use lifeboat_engine::types::OptionKind;
use serde_json::Value;

fn answers() -> Option<Value> {
    let file = pricing_support::shared("pricing/known_answers.json")?;
    Some(serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap())
}

/// An option on a spot price with a continuous rate and yield.
#[derive(Clone, Copy, Debug)]
struct Spot {
    kind: OptionKind,
    spot: f64,
    strike: f64,
    yield_rate: f64,
    rate: f64,
    years: f64,
    volatility: f64,
}

/// The greeks of an option on spot.
#[derive(Clone, Copy, Debug)]
struct SpotGreeks {
    value: f64,
    delta: f64,
    gamma: f64,
    vega: f64,
    theta: f64,
    rho: f64,
    yield_rho: f64,
}

impl Spot {
    fn new(case: &Value) -> Self {
        let number = |key: &str| case[key].as_f64().unwrap();
        let kind = if case["type"] == "call" {
            OptionKind::Call
        } else {
            OptionKind::Put
        };
        Self {
            kind,
            spot: number("spot"),
            strike: number("strike"),
            yield_rate: number("q"),
            rate: number("r"),
            years: number("t"),
            volatility: number("vol"),
        }
    }

    fn input(&self) -> Black76 {
        Black76 {
            forward: self.spot * exp((self.rate - self.yield_rate) * self.years),
            strike: self.strike,
            years: self.years,
            volatility: self.volatility,
            discount: exp(-self.rate * self.years),
        }
    }

    /// The chain rule through F = S·e^((r−q)T), df = e^(−rT).
    fn greeks(&self) -> SpotGreeks {
        let input = self.input();
        let growth = input.forward / self.spot;
        let v: Values = black76(&input);
        let (value, delta, theta) = match self.kind {
            OptionKind::Call => (v.call, v.call_delta, v.call_theta),
            OptionKind::Put => (v.put, v.put_delta, v.put_theta),
        };
        let exposure = input.forward * delta;
        SpotGreeks {
            value,
            delta: delta * growth,
            gamma: v.gamma * growth * growth,
            vega: v.vega,
            theta: theta - (self.rate - self.yield_rate) * exposure,
            rho: self.years * (exposure - value),
            yield_rho: -self.years * exposure,
        }
    }
}

/// Half a unit of the last digit that the source prints.
fn printed_precision(value: &Value) -> f64 {
    let text = value.to_string();
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let decimals = digits
        .split_once('.')
        .map_or(0, |(_, decimals)| decimals.len());
    0.5 * 10_f64.powi(exponent.parse::<i32>().unwrap() - i32::try_from(decimals).unwrap())
}

#[test]
fn haug_values_and_greeks() {
    let Some(answers) = answers() else { return };
    let values = answers["haug_european_values"].as_array().unwrap();
    for case in values {
        let expected = case["value"].as_f64().unwrap();
        let value = Spot::new(case).greeks().value;
        let tolerance = case["tol"].as_f64().unwrap();
        assert!((value - expected).abs() <= tolerance, "{case}: {value}");
    }
    let greeks = answers["haug_greeks"].as_array().unwrap();
    for case in greeks {
        let (spot, expected) = (Spot::new(case), case["value"].as_f64().unwrap());
        let all = spot.greeks();
        let value = match case["greek"].as_str().unwrap() {
            "delta" => all.delta,
            "elasticity" => all.delta * spot.spot / all.value,
            "gamma" => all.gamma,
            "vega" => all.vega,
            "theta" => all.theta,
            "theta per day" => all.theta / 365.0,
            "rho" => all.rho,
            "dividendRho" => all.yield_rho,
            other => panic!("unknown greek {other}"),
        };
        assert!((value - expected).abs() <= 1e-4, "{case}: {value}");
    }
    assert_eq!((values.len(), greeks.len()), (43, 11));
}

#[test]
fn vollib_rows_to_1e_9_where_the_source_prints_the_digits() {
    let Some(answers) = answers() else { return };
    let table = &answers["vollib_bs_101"];
    let columns: Vec<&str> = table["columns"]
        .as_array()
        .unwrap()
        .iter()
        .map(|name| name.as_str().unwrap())
        .collect();
    let rows = table["data"].as_array().unwrap();
    let mut worst = 0.0_f64;
    for row in rows {
        let cell = |name: &str| &row[columns.iter().position(|column| *column == name).unwrap()];
        let number = |name: &str| cell(name).as_f64().unwrap();
        let greeks = |kind| {
            Spot {
                kind,
                spot: number("S"),
                strike: number("K"),
                yield_rate: 0.0,
                rate: number("R"),
                years: number("t"),
                volatility: number("v"),
            }
            .greeks()
        };
        let (call, put) = (greeks(OptionKind::Call), greeks(OptionKind::Put));
        for (name, value) in [
            ("bs_call", call.value),
            ("call_vals", call.value),
            ("bs_put", put.value),
            ("CD", call.delta),
            ("CG", call.gamma),
            ("CT", call.theta),
            ("CV", call.vega),
            ("CR", call.rho),
            ("PD", put.delta),
            ("PG", put.gamma),
            ("PT", put.theta),
            ("PV", put.vega),
            ("PR", put.rho),
        ] {
            let error = (value - number(name)).abs();
            let beyond_print = error - printed_precision(cell(name));
            worst = worst.max(beyond_print);
            assert!(beyond_print <= 1e-9, "{name} of {row}: {value}");
        }
    }
    println!(
        "{} rows, worst error beyond the printed digits {worst:e}",
        rows.len()
    );
    assert_eq!(rows.len(), 101);
}

#[test]
fn implied_volatility_returns_what_made_the_price() {
    let Some(answers) = answers() else { return };
    for case in answers["haug_european_values"].as_array().unwrap() {
        let spot = Spot::new(case);
        let greeks = spot.greeks();
        let implied = implied_volatility(spot.kind, greeks.value, &spot.input());
        if greeks.vega < 1e-4 {
            continue;
        }
        let error = (implied.unwrap() - spot.volatility).abs();
        assert!(error < 1e-9, "{case}: off by {error:e}");
    }
}

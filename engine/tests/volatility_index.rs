//! The volatility index against Cboe's and Deribit's published cases, and against one bad strike.
#![allow(
    clippy::std_instead_of_alloc,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

mod pricing_support;

use lifeboat_engine::pricing::ExpiryView;
use lifeboat_engine::pricing::variance::{
    BidAsk, HORIZON_MS, StrikeQuotes, Strip, TermVariance, interpolated, volatility_ppm,
};
use lifeboat_engine::types::Price;
use serde_json::Value;

const MINUTE_MS: u64 = 60_000;
const YEAR_MINUTES: f64 = 525_600.0;

fn read(path: &str) -> Option<Value> {
    let file = pricing_support::shared(path)?;
    Some(serde_json::from_reader(std::fs::File::open(file).unwrap()).unwrap())
}

fn price(value: &Value) -> Price {
    Price::new((value.as_f64().unwrap() * 1e6).round() as i64)
}

fn view(minutes: u64, rate: f64) -> ExpiryView {
    let discount = (-rate * minutes as f64 / YEAR_MINUTES).exp();
    ExpiryView {
        forward: Price::new(1),
        time_left_ms: minutes * MINUTE_MS,
        discount_ppb: (discount * 1e9).round() as u32,
    }
}

fn chain(rows: &Value) -> Vec<StrikeQuotes> {
    let quote = |row: &Value, bid: usize| BidAsk {
        bid: price(&row[bid]),
        ask: price(&row[bid + 1]),
    };
    let strike = |row: &Value| StrikeQuotes {
        strike: price(&row[0]),
        call: quote(row, 1),
        put: quote(row, 3),
    };
    rows.as_array().unwrap().iter().map(strike).collect()
}

/// Cboe's two editions of its worked example: the same quotes at two times of day.
#[test]
fn cboes_worked_examples() {
    let Some(case) = read("volindex/cboe_vix_2014_2022_example.json") else {
        return;
    };
    let chains = ["near", "next"].map(|term| chain(&case["quotes"][term]));
    for (edition, published) in [
        ("whitepaper_2014_2019", 13.69),
        ("methodology_2022_plus", 13.93),
    ] {
        let figures = &case["published"][edition];
        let terms: Vec<TermVariance> = (0..2)
            .map(|term| {
                let minutes = figures["minutes"][term].as_u64().unwrap();
                let view = view(minutes, figures["R"][term].as_f64().unwrap());
                let strip = Strip::of_chain(&chains[term], view.discount_ppb).unwrap();
                let forward = strip.forward().unwrap().get() as f64 / 1e6;
                assert!((forward - figures["F"][term].as_f64().unwrap()).abs() < 1e-5);
                let variance_e12 = strip.variance_e12(&view).unwrap();
                let sigma2 = figures["sigma2"][term].as_f64().unwrap();
                assert!((variance_e12 as f64 / 1e12 - sigma2).abs() < 1e-8);
                if let Some(count) = figures["n_strikes"][term].as_u64() {
                    assert_eq!(strip.strikes() as u64, count);
                    let (low, high) = strip.ends().unwrap();
                    assert_eq!(low, price(&figures["put_end"][term]));
                    assert_eq!(high, price(&figures["call_end"][term]));
                }
                TermVariance {
                    variance_e12,
                    time_left_ms: view.time_left_ms,
                }
            })
            .collect();
        let index = volatility_ppm(interpolated(terms[0], terms[1], HORIZON_MS).unwrap());
        let rounded = (f64::from(index) / 100.0).round() / 100.0;
        assert_eq!(rounded, published, "{edition}: {index}");
        println!(
            "{edition}: {:.4}, published {published}",
            f64::from(index) / 1e4
        );
    }
}

/// A real ETH case over 14 days; its book of prices, forwards and the resulting index are given.
#[test]
fn a_recorded_eth_index() {
    let Some(case) = read("volindex/deribit_eth_mfiv_14d.json") else {
        return;
    };
    let given = &case["result"]["intermediates"];
    let rate = case["context"]["risklessRate"].as_f64().unwrap();
    let term = |book: &str, forward: &str, k0: &str, left: &str| {
        let rows = given[book].as_array().unwrap().iter();
        let prices: Vec<(Price, Price)> = rows
            .map(|row| (price(&row[1]["strikePrice"]), price(&row[1]["optionPrice"])))
            .collect();
        let time_left_ms = given[left].as_u64().unwrap();
        let strip = Strip::new(&prices, price(&given[forward]), price(&given[k0]));
        let view = ExpiryView {
            time_left_ms,
            ..view(time_left_ms / MINUTE_MS, rate)
        };
        TermVariance {
            variance_e12: strip.variance_e12(&view).unwrap(),
            time_left_ms,
        }
    };
    let near = term("finalNearBook", "F1", "FS1", "NT1");
    let next = term("finalNextBook", "F2", "FS2", "NT2");
    let variance = interpolated(near, next, given["TP"].as_u64().unwrap()).unwrap();
    let index = 100.0 * (variance as f64 / 1e12).sqrt();
    let published = case["result"]["value"].as_f64().unwrap();
    println!("{index:.9}, published {published:.9}");
    assert!((index - published).abs() < 1e-6, "{index} {published}");
}

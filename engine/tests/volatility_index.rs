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

/// One bad strike, up and down, at every place: of made-up smiles at several levels and of recorded
/// chains. Its bid and ask are at three times or a third of its volatility. What that does to marks is for
/// the engine's own tests.
mod one_bad_strike {
    use super::*;
    use flate2::read::GzDecoder;
    use lifeboat_engine::breakers::BreakerParameters;
    use lifeboat_engine::params::ListingRules;
    use lifeboat_engine::pricing::volatility::{
        STRIKES_MIN, StrikeBand, StrikeView, TermView, index_volatility,
    };
    use lifeboat_engine::pricing::{Black76, strikes};
    use lifeboat_engine::types::OptionKind;
    use std::collections::BTreeMap;
    use std::io::Read;

    const DAY_MS: u64 = 86_400_000;
    /// A point of the index.
    const POINT_PPM: u32 = 10_000;

    fn usd(price: f64) -> Price {
        Price::new((price * 1e6).round() as i64)
    }

    /// The quote of a strike at a volatility, 2 % wide.
    fn quoted(view: &ExpiryView, strike: &StrikeView, volatility: f64) -> Option<BidAsk> {
        let option = Black76 {
            forward: view.forward.get() as f64 / 1e6,
            strike: strike.strike.get() as f64 / 1e6,
            years: view.time_left_ms as f64 / (365.0 * DAY_MS as f64),
            volatility,
            discount: f64::from(view.discount_ppb) / 1e9,
        };
        let value = option.greeks(strike.kind).price;
        (value > 0.0).then(|| BidAsk {
            bid: usd(value * 0.99),
            ask: usd(value * 1.01),
        })
    }

    /// A term of the strikes that the venue would list, with a skewed smile around `level`.
    fn listed(days: u64, level: f64) -> TermView {
        let view = ExpiryView {
            forward: usd(90_000.0),
            time_left_ms: days * DAY_MS,
            discount_ppb: 1_000_000_000,
        };
        let rules = ListingRules::default();
        let all = strikes(
            view.forward,
            view.time_left_ms,
            (level * 1e6) as u32,
            &rules,
        );
        let deviation = level * (days as f64 / 365.0).sqrt();
        let strike = |strike: Price| {
            let k = (strike.get() as f64 / view.forward.get() as f64).ln() / deviation;
            let volatility = level * (1.0 - 0.04 * k + 0.03 * k * k);
            let mut row = StrikeView {
                strike,
                kind: if strike < view.forward {
                    OptionKind::Put
                } else {
                    OptionKind::Call
                },
                quote: None,
                mark_ppm: (volatility * 1e6) as u32,
                tick: usd(1.0),
            };
            row.quote = quoted(&view, &row, volatility);
            row
        };
        TermView {
            strikes: all.into_iter().map(strike).collect(),
            view,
        }
    }

    fn index(terms: &[TermView; 2]) -> u32 {
        let band = BreakerParameters::default().strike_band();
        index_volatility(Some(&terms[0]), Some(&terms[1]), &band)
            .unwrap()
            .ppm
    }

    /// The largest move of the index that one bad strike causes.
    fn worst(terms: &[TermView; 2]) -> u32 {
        let honest = index(terms);
        let mut worst = 0;
        for term in 0..2 {
            for at in 0..terms[term].strikes.len() {
                for factor in [3.0, 1.0 / 3.0] {
                    let mut bent = terms.clone();
                    let view = bent[term].view;
                    let strike = &mut bent[term].strikes[at];
                    let volatility = f64::from(strike.mark_ppm) / 1e6 * factor;
                    strike.quote = quoted(&view, strike, volatility);
                    worst = worst.max(index(&bent).abs_diff(honest));
                }
            }
        }
        worst
    }

    #[test]
    fn of_listed_strikes_moves_the_index_by_less_than_a_point() {
        for level in [0.25, 0.55, 0.9, 1.2] {
            for days in [(9, 37), (16, 65), (29, 31), (2, 90)] {
                let terms = [listed(days.0, level), listed(days.1, level)];
                let moved = worst(&terms);
                println!(
                    "index {:.1}, terms {days:?}: {:.3} points at worst",
                    f64::from(index(&terms)) / 1e4,
                    f64::from(moved) / 1e4
                );
                assert!(moved < POINT_PPM, "{level} {days:?}: {moved}");
            }
        }
    }

    #[test]
    fn the_index_of_a_smile_is_near_its_level() {
        for level in [0.25, 0.55, 0.9] {
            let found = f64::from(index(&[listed(16, level), listed(65, level)])) / 1e6;
            assert!((found / level - 1.0).abs() < 0.04, "{found} for {level}");
        }
    }

    #[test]
    fn with_too_few_strikes_there_is_no_index() {
        let band = BreakerParameters::default().strike_band();
        let mut term = listed(16, 0.55);
        term.strikes.truncate(STRIKES_MIN - 1);
        assert_eq!(index_volatility(Some(&term), None, &band), None);
        assert_eq!(index_volatility(None, None, &band), None);
    }

    /// The recorded chains' terms around 30 days, by currency and moment, with Deribit's mark volatility.
    fn recorded() -> Option<Vec<(String, [TermView; 2])>> {
        let file = pricing_support::shared("market/deribit_chains_20260128_20260201.csv.gz")?;
        let mut text = String::new();
        GzDecoder::new(std::fs::File::open(file).unwrap())
            .read_to_string(&mut text)
            .unwrap();
        let mut lines = text.lines();
        let header: Vec<&str> = lines.next().unwrap().split(',').collect();
        let column = |name: &str| header.iter().position(|c| *c == name).unwrap();
        let [kind, strike, forward, years, bid, ask, vol, currency, at] = [
            "option_type",
            "strike",
            "futures_price",
            "time_to_maturity",
            "bid_price",
            "ask_price",
            "implied_volatility",
            "currency",
            "snapshot",
        ]
        .map(column);
        let mut terms: BTreeMap<(String, u64), BTreeMap<Price, StrikeView>> = BTreeMap::new();
        let mut views = BTreeMap::new();
        for line in lines {
            let cells: Vec<&str> = line.split(',').collect();
            let number = |column: usize| cells[column].parse::<f64>().unwrap_or(0.0);
            let left = (number(years) * 365.25 * DAY_MS as f64) as u64;
            let (k, f) = (number(strike), number(forward));
            let is_call = cells[kind] == "call";
            if is_call != (k >= f) || left < DAY_MS {
                continue;
            }
            // The recorder's times differ by milliseconds within an expiry.
            let key = (
                format!("{} {}", cells[currency], cells[at]),
                left / 3_600_000,
            );
            views.entry(key.clone()).or_insert(ExpiryView {
                forward: usd(f),
                time_left_ms: left,
                discount_ppb: 1_000_000_000,
            });
            let quote = BidAsk {
                bid: usd(number(bid) * f),
                ask: usd(number(ask) * f),
            };
            let quote = (quote.bid.get() > 0 && quote.ask.get() > 0).then_some(quote);
            terms.entry(key).or_default().insert(
                usd(k),
                StrikeView {
                    strike: usd(k),
                    kind: if is_call {
                        OptionKind::Call
                    } else {
                        OptionKind::Put
                    },
                    quote,
                    mark_ppm: (number(vol) * 1e6) as u32,
                    tick: usd(if cells[currency] == "BTC" { 1.0 } else { 0.1 }),
                },
            );
        }
        let mut by_moment: BTreeMap<String, Vec<TermView>> = BTreeMap::new();
        for (key, strikes) in terms {
            if strikes.len() >= STRIKES_MIN {
                by_moment.entry(key.0.clone()).or_default().push(TermView {
                    view: views[&key],
                    strikes: strikes.into_values().collect(),
                });
            }
        }
        let pair = |(moment, terms): (String, Vec<TermView>)| {
            let next = terms
                .iter()
                .position(|t| t.view.time_left_ms > HORIZON_MS)?;
            let near = next.checked_sub(1)?;
            Some((moment, [terms[near].clone(), terms[next].clone()]))
        };
        Some(by_moment.into_iter().filter_map(pair).collect())
    }

    #[test]
    fn of_recorded_chains_moves_the_index_by_less_than_a_point() {
        let Some(chains) = recorded() else { return };
        assert!(chains.len() >= 38, "{}", chains.len());
        let mut worst_of_all = 0;
        for (moment, terms) in chains.iter() {
            let moved = worst(terms);
            println!(
                "{moment}: index {:.2}, {:.3} points at worst, {} and {} strikes",
                f64::from(index(terms)) / 1e4,
                f64::from(moved) / 1e4,
                terms[0].strikes.len(),
                terms[1].strikes.len()
            );
            worst_of_all = worst_of_all.max(moved);
        }
        assert!(worst_of_all < POINT_PPM, "{worst_of_all}");
    }

    /// What robustness costs: the index with and without the band around neighbours.
    #[test]
    fn honest_quotes_are_hardly_touched() {
        let Some(chains) = recorded() else { return };
        let band = BreakerParameters::default().strike_band();
        let open = StrikeBand {
            reach_ppm: 100_000_000,
            ..band
        };
        let mut worst = 0;
        for (_, [near, next]) in &chains {
            let of =
                |band: &StrikeBand| index_volatility(Some(near), Some(next), band).unwrap().ppm;
            worst = worst.max(of(&band).abs_diff(of(&open)));
        }
        println!(
            "the band moves an honest index by at most {:.3} points",
            f64::from(worst) / 1e4
        );
        assert!(worst < POINT_PPM / 2, "{worst}");
    }
}

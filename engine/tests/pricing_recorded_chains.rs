//! Marks, greeks and surfaces against Deribit's own, over its recorded BTC and ETH chains.
#![allow(
    clippy::std_instead_of_alloc,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

mod pricing_support;

use flate2::read::GzDecoder;
use lifeboat_engine::pricing::mark::YEAR_MS;
use lifeboat_engine::pricing::{
    Black76, EarlierExpiry, ExpiryView, Greeks, Quote, Surface, SurfaceParameters, rounding,
};
use lifeboat_engine::types::OptionKind;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;

/// One recorded row. Prices are in coin.
#[derive(Clone, Debug)]
struct Row {
    kind: OptionKind,
    strike: f64,
    forward: f64,
    years: f64,
    bid: Option<f64>,
    ask: Option<f64>,
    mark: f64,
    volatility: f64,
    delta: f64,
    vega: f64,
}

/// Rows by (currency, snapshot) and then by expiry.
type Chains = BTreeMap<(String, String), BTreeMap<String, Vec<Row>>>;

fn chains() -> Option<Chains> {
    let file = pricing_support::shared("market/deribit_chains_20260128_20260201.csv.gz")?;
    let mut text = String::new();
    GzDecoder::new(File::open(file).unwrap())
        .read_to_string(&mut text)
        .unwrap();
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().unwrap().split(',').collect();
    let index = |name: &str| header.iter().position(|column| *column == name).unwrap();
    let at = [
        "option_type",
        "strike",
        "underlying",
        "time_to_maturity",
        "bid_price",
        "ask_price",
        "mark_price",
        "implied_volatility",
        "delta",
        "vega",
        "currency",
        "snapshot",
        "expiry_datetime",
    ]
    .map(index);
    let mut chains = Chains::new();
    for line in lines {
        let cells: Vec<&str> = line.split(',').collect();
        let text = |column: usize| cells[at[column]].to_owned();
        let number = |column: usize| cells[at[column]].parse::<f64>().unwrap();
        let price = |column: usize| {
            cells[at[column]]
                .parse::<f64>()
                .ok()
                .filter(|price| *price > 0.0)
        };
        let row = Row {
            kind: if cells[at[0]] == "call" {
                OptionKind::Call
            } else {
                OptionKind::Put
            },
            strike: number(1),
            forward: number(2),
            // The recorder's year has 365.25 days, the exchange's 365.
            years: number(3) * (365.25 / 365.0),
            bid: price(4),
            ask: price(5),
            mark: number(6),
            volatility: number(7),
            delta: number(8),
            vega: number(9),
        };
        let snapshot = chains.entry((text(10), text(11))).or_default();
        snapshot.entry(text(12)).or_default().push(row);
    }
    Some(chains)
}

/// Middle and largest of some errors.
fn summary(mut errors: Vec<f64>) -> (f64, f64, f64) {
    errors.sort_by(f64::total_cmp);
    let at = |share: f64| errors[((errors.len() - 1) as f64 * share) as usize];
    (at(0.5), at(0.99), at(1.0))
}

/// Value and greeks of a row at its recorded forward and volatility.
fn greeks(row: &Row) -> Greeks {
    let input = Black76 {
        forward: row.forward,
        strike: row.strike,
        years: row.years,
        volatility: row.volatility,
        discount: 1.0,
    };
    input.greeks(row.kind)
}

/// Rows whose recorded marks fit their recorded forward: the call's less the put's is 1 − K/F within
/// 1e-4 coin. In a fast market the recorder caught marks and forward at different moments.
fn consistent(rows: &[Row]) -> Vec<&Row> {
    let other = |row: &&Row| {
        let twin = |twin: &&Row| twin.strike == row.strike && twin.kind != row.kind;
        rows.iter().find(twin).is_some_and(|twin| {
            let sign = if row.kind == OptionKind::Call {
                1.0
            } else {
                -1.0
            };
            let inverse = 0.5 * (1.0 / row.forward + 1.0 / twin.forward);
            let parity = sign * (1.0 - row.strike * inverse);
            let same_forward = (row.forward / twin.forward - 1.0).abs() <= 1e-4;
            same_forward && (row.mark - twin.mark - parity).abs() <= 1e-4
        })
    };
    rows.iter().filter(other).collect()
}

#[test]
fn marks_and_greeks_agree_with_the_exchange() {
    let Some(chains) = chains() else { return };
    let books: Vec<&Vec<Row>> = chains.values().flat_map(BTreeMap::values).collect();
    let all: Vec<&Row> = books.iter().flat_map(|rows| rows.iter()).collect();
    let steady: Vec<&Row> = books.iter().flat_map(|rows| consistent(rows)).collect();
    let errors = |rows: &[&Row], error: fn(&Row, Greeks) -> f64| {
        summary(
            rows.iter()
                .map(|row| error(row, greeks(row)).abs())
                .collect(),
        )
    };
    let mark = |row: &Row, greeks: Greeks| greeks.price / row.forward - row.mark;
    let every = errors(&all, mark);
    let mark = errors(&steady, mark);
    let delta = errors(&steady, |row, greeks| greeks.delta - row.delta);
    let vega = errors(&steady, |row, greeks| {
        (greeks.vega / 100.0 - row.vega) / (1.0 + row.vega)
    });
    println!(
        "median, 99th centile and largest error; mark of all {} rows {every:?} coin",
        all.len()
    );
    println!(
        "{} rows whose marks fit their forward: mark {mark:?} coin",
        steady.len()
    );
    println!("delta {delta:?}; vega, of 1 + vega a vol point, {vega:?}");
    assert!(all.len() > 29_000 && steady.len() > 20_000);
    assert!(every.0 <= 2e-5);
    assert!(mark.0 <= 2e-5 && mark.2 <= 4e-4);
    // Greeks were recorded at yet another moment, which matters most hours before expiry.
    assert!(delta.0 <= 5e-4 && delta.1 <= 1.5e-2);
    assert!(vega.0 <= 2e-3 && vega.1 <= 4e-2);
}

fn quotes(rows: &[Row]) -> Vec<Quote> {
    let price = |coin: f64, forward: f64| rounding::to_nearest_price(coin * forward);
    rows.iter()
        .map(|row| Quote {
            strike: rounding::to_nearest_price(row.strike).unwrap(),
            kind: row.kind,
            bid: row.bid.and_then(|bid| price(bid, row.forward)),
            ask: row.ask.and_then(|ask| price(ask, row.forward)),
        })
        .collect()
}

fn view(rows: &[Row]) -> ExpiryView {
    ExpiryView {
        forward: rounding::to_nearest_price(rows[0].forward).unwrap(),
        time_left_ms: (rows[0].years * YEAR_MS as f64) as u64,
        discount_ppb: 1_000_000_000,
    }
}

/// |surface − exchange| in volatility for the liquid strikes (|delta| 0.1 to 0.9).
fn misses(surface: &Surface, rows: &[Row]) -> Vec<f64> {
    let forward = view(rows).forward;
    rows.iter()
        .filter(|row| (0.1..=0.9).contains(&row.delta.abs()))
        .map(|row| {
            let strike = rounding::to_nearest_price(row.strike).unwrap();
            let volatility = f64::from(surface.volatility_ppm(strike, forward)) / 1e6;
            (volatility - row.volatility).abs()
        })
        .collect()
}

#[test]
fn surfaces_from_the_books_agree_with_the_exchange() {
    let Some(chains) = chains() else { return };
    let (mut fresh, mut short, mut count) = (Vec::new(), Vec::new(), 0);
    for expiries in chains.values() {
        let mut earlier: Option<(Surface, ExpiryView)> = None;
        for rows in expiries.values() {
            let view = view(rows);
            let floor = earlier.as_ref().map(|(surface, view)| EarlierExpiry {
                surface,
                time_left_ms: view.time_left_ms,
            });
            let parameters = SurfaceParameters::DEFAULT;
            let quotes = quotes(rows);
            let Some(surface) = Surface::updated(&quotes, &view, None, floor, &parameters) else {
                continue;
            };
            let years = view.time_left_ms as f64 / YEAR_MS as f64;
            assert!(
                surface.is_butterfly_free(years),
                "{:?} {years}",
                view.forward
            );
            if let Some((before, before_view)) = &earlier {
                let before_years = before_view.time_left_ms as f64 / YEAR_MS as f64;
                let reach = 3.0 * before.total_variance(0.0, before_years).sqrt();
                for node in -20..=20 {
                    let k = reach * f64::from(node) / 20.0;
                    let (low, high) = (
                        before.total_variance(k, before_years),
                        surface.total_variance(k, years),
                    );
                    assert!(high >= low - 1e-6, "calendar at {k}: {high} under {low}");
                }
            }
            let target = if years < 2.0 / 365.0 {
                &mut short
            } else {
                &mut fresh
            };
            target.extend(misses(&surface, rows));
            earlier = Some((surface, view));
            count += 1;
        }
    }
    let (usual, brief) = (summary(fresh), summary(short));
    println!(
        "{count} surfaces; |volatility − exchange's| at |delta| 0.1–0.9, median, 99th, largest:"
    );
    println!("two days and more {usual:?}; under two days {brief:?}");
    assert!(count > 450);
    assert!(usual.0 <= 0.002 && usual.1 <= 0.015 && usual.2 <= 0.03);
    assert!(brief.0 <= 0.01 && brief.2 <= 0.07);
}

/// `rows`' quotes with that of `bad` moved to three times its volatility.
fn spoiled(rows: &[Row], bad: &Row) -> Vec<Quote> {
    let wrong = greeks(&Row {
        volatility: 3.0 * bad.volatility,
        ..bad.clone()
    });
    let mut quotes = quotes(rows);
    let strike = rounding::to_nearest_price(bad.strike).unwrap();
    let is_bad = |quote: &&mut Quote| quote.kind == bad.kind && quote.strike == strike;
    for quote in quotes.iter_mut().filter(is_bad) {
        quote.bid = rounding::to_nearest_price(wrong.price * 0.99);
        quote.ask = rounding::to_nearest_price(wrong.price * 1.01);
    }
    quotes
}

#[test]
fn one_bad_strike_of_a_recorded_book_moves_no_mark() {
    let Some(chains) = chains() else { return };
    let (mut fresh, mut running) = (0.0_f64, 0.0_f64);
    let parameters = SurfaceParameters::DEFAULT;
    for rows in chains.values().step_by(7).flat_map(BTreeMap::values) {
        let view = view(rows);
        let updated =
            |quotes: &[Quote], last| Surface::updated(quotes, &view, last, None, &parameters);
        let Some(clean) = updated(&quotes(rows), None) else {
            continue;
        };
        for bad in rows
            .iter()
            .filter(|row| (0.2..0.5).contains(&row.delta.abs()))
        {
            let quotes = spoiled(rows, bad);
            let moved = |surface: &Surface| {
                let off = rows
                    .iter()
                    .filter(|row| (0.1..0.9).contains(&row.delta.abs()))
                    .map(|row| {
                        let strike = rounding::to_nearest_price(row.strike).unwrap();
                        let volatility =
                            |surface: &Surface| surface.volatility_ppm(strike, view.forward);
                        f64::from(volatility(surface).abs_diff(volatility(&clean))) / 1e6
                    });
                off.fold(0.0, f64::max)
            };
            running = running.max(moved(&updated(&quotes, Some(&clean)).unwrap()));
            // In the last day too few strikes have a volatility to tell which of them is wrong.
            if rows[0].years > 1.0 / 365.0 {
                fresh = fresh.max(moved(&updated(&quotes, None).unwrap()));
            }
        }
    }
    println!("one strike at three times its volatility moves volatilities by at most {fresh}");
    println!("when the surface starts from these quotes, {running} when there was one before");
    assert!(fresh < 0.02 && running <= 0.05);
}

//! The recorded option chains: they are read whole, and Black-76 agrees with the recorded marks.
//!
//! The recording is not part of the repository; `LIFEBOAT_SHARED` or a folder `shared` beside it
//! holds it. Without it the test says so and passes.

use std::path::PathBuf;

use lifeboat_drill::market::{Outlook, RecordedOption, Recording, ReplayOutlook, YEAR_MS, value};
use lifeboat_engine::types::{OptionKind, TimeMs};

fn recording() -> Option<Recording> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared");
    let shared = std::env::var("LIFEBOAT_SHARED").unwrap_or_else(|_| beside.to_owned());
    let path = PathBuf::from(shared).join("data/market/deribit_chains_20260128_20260201.csv.gz");
    if !path.exists() {
        println!("skipped: there is no recording at {}", path.display());
        return None;
    }
    Some(Recording::open(&path, &["BTC", "ETH"]).expect("the recording reads"))
}

#[test]
fn every_row_is_read_and_marks_follow_black_76() {
    let Some(recording) = recording() else { return };
    assert_eq!(recording.chains.len(), 20);
    let rows: usize = recording
        .chains
        .iter()
        .map(|chain| chain.options.len())
        .sum();
    assert_eq!(rows, 29_830);
    let mut all = Vec::with_capacity(rows);
    for chain in &recording.chains {
        all.extend(
            chain
                .options
                .iter()
                .map(|option| error_in_coin(chain.at, option)),
        );
    }
    let first = all.iter().take(recording.chains[0].options.len());
    let first = first.copied().fold(0.0, f64::max);
    all.sort_by(f64::total_cmp);
    let (median, most) = (all[rows / 2], all[rows - 1]);
    let over = all.iter().filter(|error| **error > 4e-4).count();
    println!("mark against Black-76 in coin: median error {median:.1e}, largest {most:.1e}");
    println!("largest in the calm first snapshot {first:.1e}; {over} of {rows} over 4e-4");
    assert!(median <= 2e-5 && first <= 4e-4);
    // In a falling market a row's forward is some seconds older than its mark: deep puts, whose
    // value is the forward's, show it. No formula of the recorded figures can agree there.
    assert!(over * 50 < rows && most < 5e-3);
}

fn error_in_coin(at: TimeMs, option: &RecordedOption) -> f64 {
    let years = option.terms.expiry.since(at) as f64 / YEAR_MS;
    let strike = option.terms.strike.get() as f64 / 1e6;
    let call = option.terms.kind == OptionKind::Call;
    let mine = value(call, option.forward, strike, option.volatility, years);
    (mine.price / option.forward - option.mark).abs()
}

#[test]
fn the_replay_lists_every_option_and_goes_through_the_recorded_prices() {
    let Some(recording) = recording() else { return };
    let mut replay = ReplayOutlook::new(&recording);
    let mut listed = 0;
    for chain in &recording.chains {
        listed += replay.listings_due(chain.at).len();
        for (underlying, price) in &chain.index {
            assert_eq!(replay.index(*underlying, chain.at), Some(*price));
        }
        for option in &chain.options {
            assert_eq!(
                replay.volatility(&option.terms, chain.at),
                Some(option.volatility)
            );
        }
    }
    assert_eq!(listed, 2_118);
}

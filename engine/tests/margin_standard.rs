//! Standard margin against third-party vectors: the integer path to 1e-6.
//!
//! The vectors are not part of the project: without `LIFEBOAT_SHARED` or a `shared` folder beside the
//! repository the test says so and passes. `vectors/margin.json` holds the project's own.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::expect_used
)]

mod margin_support;

use lifeboat_engine::types::MarginModel;
use margin_support::{close, shared_json, standard_case};

#[test]
fn initial_and_maintenance_margin_match_every_case() {
    let Some(cases) = shared_json("margin/standard.json") else {
        return;
    };
    let cases = cases.as_object().unwrap();
    let mut failures = Vec::new();
    for (name, case) in cases {
        let mut built = standard_case(case);
        let holdings = built.holdings.clone();
        let margin = built
            .book
            .margin(holdings.iter().copied(), built.cash, MarginModel::Standard);
        for (what, got, want) in [("IM", margin.im, "realIM"), ("MM", margin.mm, "realMM")] {
            let want = case["Result"][want].as_f64().unwrap() * 1e-18;
            let got = got.get() as f64 * 1e-6;
            if !close(got, want, 1e-6) {
                failures.push(format!("{name}: {what} {got}, not {want}"));
            }
        }
    }
    assert!(
        failures.is_empty(),
        "{} failures\n{}",
        failures.len(),
        failures.join("\n")
    );
    println!("{} cases of standard margin agree to 1e-6", cases.len());
}

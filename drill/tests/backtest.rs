//! The back-test of the breakers on the recorded years: it says what it says, and its page is whole.

use std::path::{Path, PathBuf};

use lifeboat_drill::backtest;

/// The shared recordings, or `None` with a message when there are none.
fn shared() -> Option<PathBuf> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let beside = ["../../shared", "../../../shared"].map(|relative| manifest.join(relative));
    let named = std::env::var_os("LIFEBOAT_SHARED").map(PathBuf::from);
    let folder = named
        .into_iter()
        .chain(beside)
        .map(|folder| folder.join("data"))
        .find(|folder| folder.join("market").exists());
    if folder.is_none() {
        println!("skipped: no recordings; set LIFEBOAT_SHARED to run the back-test");
    }
    folder
}

#[test]
fn half_of_the_false_halts_of_breakers_on_price_alone() {
    let Some(folder) = shared() else { return };
    let found = backtest::run(&folder).expect("recordings that can be read");
    let (own, price) = (&found.scored[0], &found.scored[1]);
    for own in [own.before, own.after] {
        assert!(own.halts > 0 && own.caught > 0, "{own:?}");
    }
    // On all recorded days, and where the bound was chosen on other quarters than it is measured on.
    for own in [own.all(), found.validated.score] {
        assert!(own.wrong() * 2 <= price.all().wrong(), "{own:?} {price:?}");
        assert!(
            own.protection() >= price.all().protection(),
            "{own:?} {price:?}"
        );
    }
    assert_eq!(own.all().days, found.validated.score.days);
    for neighbour in &found.neighbours {
        assert_ne!(
            neighbour.score,
            own.all(),
            "{} makes no difference",
            neighbour.what
        );
    }
    let out = tempfile::tempdir().expect("a folder");
    backtest::write(out.path(), &found).expect("a page");
    let page = std::fs::read_to_string(out.path().join("backtest.md")).expect("the page");
    let picture =
        std::fs::read_to_string(out.path().join("img/backtest.svg")).expect("the picture");
    for text in [page, picture] {
        assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
    }
}

//! Every day by the rules and without the one that it is about.

use lifeboat_drill::days;

#[test]
fn the_rules_lose_less_than_they_may_and_less_than_without() {
    let mut bad = Vec::new();
    for day in days::all() {
        let both = day.compare();
        let both = both.unwrap_or_else(|finding| panic!("{}: {finding}", day.name));
        let without = both.unruled.as_ref().map(|played| played.lost);
        println!(
            "{}: {:.2} {} by the rules, {without:.2?} without",
            day.name, both.ruled.lost, day.unit
        );
        println!("    {:?}\n    {:?}", both.ruled, both.unruled);
        bad.extend(day.findings(&both).into_iter().map(|what| (day.name, what)));
    }
    assert!(bad.is_empty(), "{bad:?}");
}

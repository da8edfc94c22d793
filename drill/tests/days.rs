//! Every day by the rules and without the one that it is about.

use lifeboat_drill::days;

fn play(names: impl Fn(&str) -> bool) {
    let mut bad = Vec::new();
    for day in days::all().filter(|day| names(day.name)) {
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

#[test]
fn on_days_that_happened_the_rules_lose_less_than_they_may_and_less_than_without() {
    play(|name| name != "crash");
}

#[test]
fn breakers_are_worth_something_in_a_crash() {
    play(|name| name == "crash");
}

//! Every day by the rules and without the one that it is about.

use lifeboat_drill::days::DAYS;

#[test]
fn the_rules_lose_less_than_they_may_and_less_than_without() {
    let mut bad = Vec::new();
    for day in DAYS {
        let both = day
            .compare()
            .unwrap_or_else(|finding| panic!("{}: {finding}", day.name));
        let (with, without) = (&both.ruled, &both.unruled);
        println!(
            "{}: lost {:.0} by the rules, {:.0} without; {with:?} {without:?}",
            day.name, with.lost, without.lost
        );
        if with.lost > day.most || without.lost <= with.lost.max(0.0) {
            bad.push(day.name);
        }
    }
    assert!(bad.is_empty(), "{bad:?}");
}

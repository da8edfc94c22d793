//! Drills on real processes that are killed and halted, short: what was acknowledged is in every log
//! once, all logs hold the same blocks and roots, and the venue goes on. Times are printed, and bounded
//! only as far as a loaded machine allows.

mod support;

use std::time::Duration;

use lifeboat_drill::live::{Drill, DrillReport, DrillSettings, run};

/// Liveness, not speed: no recovery takes this long on any machine that builds this.
const RECOVERY_MS_MAX: f64 = 30_000.0;

fn carry_out(drill: Drill, runs: u32) -> DrillReport {
    let _alone = support::alone();
    let evidence = tempfile::tempdir().expect("a temporary folder");
    let settings = DrillSettings {
        binary: support::binary(),
        evidence: evidence.path().to_owned(),
        seed: 1,
        runs,
        rate: 300,
        before: Duration::from_secs(1),
    };
    let report = run(drill, &settings, &mut |text| println!("{text}"));
    let report = report.expect("the drill could be carried out");
    println!("{report}");
    report
}

#[track_caller]
fn check(report: &DrillReport, runs: usize) {
    assert!(report.passed, "{:?}", report.findings);
    assert_eq!(report.rpo_commands, 0);
    let agreed = report.roots.iter().filter(|root| root.validators == 4);
    assert!(agreed.count() == report.roots.len() && !report.roots.is_empty());
    for invariant in ["I1", "I2", "I3", "I8"] {
        assert!(
            report.invariants[invariant] > 0,
            "{invariant} was not checked"
        );
    }
    // A recovery is the next order's acceptance; one that does not come ends the drill in an error.
    assert_eq!(report.rto_ms.runs.len(), runs);
    assert!(report.rto_ms.worst < RECOVERY_MS_MAX, "{:?}", report.rto_ms);
}

#[test]
fn drill_01_a_killed_leader_takes_nothing_acknowledged_with_it() {
    let report = carry_out(Drill::LeaderKilled, 2);
    check(&report, 2);
    assert!(report.figures["commands_acknowledged"] >= 600.0);
}

#[test]
fn all_four_killed_at_once_come_back_with_everything() {
    check(&carry_out(Drill::AllFour, 1), 1);
}

#[test]
fn two_of_four_halted_acknowledge_nothing_and_fork_nothing() {
    let report = carry_out(Drill::TwoOfFour, 1);
    check(&report, 1);
    assert!(report.invariants["quorum"] > 0);
}

#[test]
fn drill_05_four_lost_disks_are_rebuilt_from_what_was_published() {
    let report = carry_out(Drill::EveryDiskLost, 2);
    check(&report, 2);
    assert_eq!(report.invariants["published"], 2);
}

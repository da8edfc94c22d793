//! Drills of the library on real processes that are killed, halted and cut off, short: what was
//! acknowledged is in every log once, all logs hold the same blocks and roots, and the venue goes on.
//! Times are printed, and bounded only as far as a loaded machine allows.

mod support;

use std::path::PathBuf;
use std::process::Command;

use lifeboat_drill::evidence::DrillReport;
use lifeboat_drill::live::{DrillError, DrillSettings, execute};
use lifeboat_drill::plan::{Plan, find};

/// Liveness, not speed: no recovery takes this long on any machine that builds this.
const RECOVERY_MS_MAX: u64 = 30_000;
/// What a machine that builds this at the same time carries easily.
const RATE: u32 = 300;

fn plan(name: &str) -> Plan {
    let mut plan = find(name).expect("a plan").expect("it is in the library");
    plan.workload.rate = RATE;
    plan.bounds.rto_ms = plan.bounds.rto_ms.max(RECOVERY_MS_MAX);
    plan
}

#[track_caller]
fn carry_out(plan: &Plan, runs: u32) -> DrillReport {
    let _alone = support::alone();
    let evidence = tempfile::tempdir().expect("a temporary folder");
    let settings = DrillSettings {
        binary: support::binary(),
        evidence: evidence.path().to_owned(),
        runs,
    };
    let again = format!("lifeboat drill {}", plan.name);
    let report = execute(plan, &settings, again, &mut |text| println!("{text}"));
    let report = report.expect("the drill could be carried out");
    println!("{report}");
    assert!(report.passed, "{:?}", report.findings);
    assert_eq!(report.rpo_commands, 0);
    let agreed = report.roots.iter().filter(|root| root.validators == 4);
    assert!(agreed.count() == report.roots.len() && !report.roots.is_empty());
    let measured = plan.faults.iter().filter(|one| one.measured).count();
    assert_eq!(report.rto_ms.runs.len(), measured * runs as usize);
    for file in ["plan.toml", "report.json", "timeline.jsonl", "report.html"] {
        let path: PathBuf = evidence.path().join(file);
        assert!(
            path.metadata().expect("it was written").len() > 100,
            "{file}"
        );
    }
    report
}

#[test]
fn drill_01_a_killed_leader_takes_nothing_acknowledged_with_it() {
    let report = carry_out(&plan("01"), 2);
    assert!(report.figures["commands_acknowledged"] >= 600.0);
    assert!(
        report
            .timeline
            .moments
            .iter()
            .any(|moment| moment.what == "kill")
    );
}

#[test]
fn drill_02_a_dark_site_of_two_stops_the_venue_and_forks_nothing() {
    let report = carry_out(&plan("02"), 1);
    assert!(report.invariants["quorum"] > 0);
}

#[test]
fn drill_05_four_lost_disks_are_rebuilt_from_what_was_published() {
    let report = carry_out(&plan("05"), 2);
    assert_eq!(report.invariants["published"], 2);
}

#[test]
fn drill_07_a_poisoned_order_is_set_aside_and_the_ladder_leads_back() {
    let plan = plan("07");
    if !lifeboat_engine::POISON {
        let settings = DrillSettings {
            binary: support::binary(),
            evidence: std::env::temp_dir(),
            runs: 1,
        };
        let refused = execute(&plan, &settings, String::new(), &mut |_| {});
        assert!(matches!(
            refused,
            Err(DrillError::Feature {
                feature: "poison",
                ..
            })
        ));
        return;
    }
    let report = carry_out(&plan, 1);
    assert_eq!(report.figures["commands_quarantined"], 1.0);
    assert_eq!(report.timeline.bands.len(), plan.modes.len() + 1);
}

#[test]
fn two_of_four_halted_acknowledge_nothing_and_fork_nothing() {
    let report = carry_out(&plan("two-of-four"), 1);
    assert!(report.invariants["quorum"] > 0);
}

#[test]
fn a_plan_that_is_none_is_refused_with_its_line() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("mine.toml");
    let text = plan("01").to_toml().replace("at_ms", "when_ms");
    std::fs::write(&file, text).expect("a file");
    let output = Command::new(support::binary())
        .arg("drill")
        .arg(&file)
        .output();
    let output = output.expect("the program starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && said.contains("unknown field `when_ms`"),
        "{said}"
    );
    assert!(
        said.contains("mine.toml") && said.contains("line"),
        "{said}"
    );
}

//! Outages of more than one validator, and of a disk.

use std::time::Duration;

use lifeboat_engine::types::Height;
use lifeboat_node::journal::Reader;

use super::fleet::leader_of;
use super::report::{Drill, DrillReport, Figures, millis};
use super::scene::{DrillError, DrillSettings, Scene, Tell};

/// Until everybody is back.
const RETURN: Duration = Duration::from_secs(90);
/// How long the venue stays down, or without a quorum.
const DOWN: Duration = Duration::from_secs(2);
const AFTER: Duration = Duration::from_secs(1);
const RUN_SECONDS: u32 = 30;

/// All four are killed at once and started again.
///
/// # Errors
/// When the venue does not start or does not come back.
pub fn all_four(settings: &DrillSettings, tell: Tell) -> Result<DrillReport, DrillError> {
    let mut scene = Scene::open(Drill::AllFour, settings, tell)?;
    let mut recoveries = Vec::new();
    for run in 1..=settings.runs.max(1) {
        let load = scene.load(RUN_SECONDS);
        scene.run_up();
        for index in 0..scene.fleet.len() {
            scene.fleet.kill(index)?;
        }
        std::thread::sleep(DOWN);
        load.mark_fault();
        scene.fleet.start_all()?;
        let recovery = scene.recovery(&load)?;
        std::thread::sleep(AFTER);
        scene.fleet.wait_ready(RETURN)?;
        tell(&format!(
            "run {run}: all killed; next order accepted {:.0} ms after they were started again",
            millis(recovery)
        ));
        recoveries.push(millis(recovery));
        scene.end(load);
    }
    scene.report.rto_ms = Figures::new(recoveries);
    scene.close()
}

/// A validator loses its data folder. It follows without voting until its peers are past every view
/// that it may have voted in.
///
/// # Errors
/// When the venue does not start or the validator does not come back.
pub fn wiped(settings: &DrillSettings, tell: Tell) -> Result<DrillReport, DrillError> {
    let mut scene = Scene::open(Drill::Wiped, settings, tell)?;
    let mut returns = Vec::new();
    for run in 1..=settings.runs.max(1) {
        let load = scene.load(RUN_SECONDS);
        scene.run_up();
        let victim = scene.fleet.leader();
        load.mark_fault();
        scene.fleet.wipe(victim)?;
        scene.recovery(&load)?;
        let from = latest_view(&mut scene);
        scene.fleet.start(victim)?;
        let mut silent_until = from;
        let took = scene
            .fleet
            .wait_for("the wiped validator to vote", RETURN, |fleet| {
                let status = fleet.status(victim);
                if let Some(status) = status.as_ref().filter(|status| !status.voting) {
                    silent_until = silent_until.max(status.finalized_view);
                }
                Ok(status.is_some_and(|status| status.ready))
            })?;
        let views = silent_until - from;
        let (height, seconds) = (
            scene.fleet.status(0).map(|one| one.height),
            took.as_secs_f64(),
        );
        tell(&format!(
            "run {run}: validator {victim} wiped; silent for {views} views, voting after \
             {seconds:.1} s at block {}",
            height.unwrap_or_default()
        ));
        scene.end(load);
        returns.push(millis(took));
        check_silence(&mut scene, victim, from, silent_until)?;
    }
    let returned = Figures::new(returns);
    let figures = &mut scene.report.figures;
    figures.insert("wiped_to_voting_ms_median".into(), returned.median);
    figures.insert("wiped_to_voting_ms_worst".into(), returned.worst);
    scene.close()
}

fn latest_view(scene: &mut Scene) -> u64 {
    let statuses = scene.fleet.statuses();
    let views = statuses.iter().flatten();
    views.map(|status| status.finalized_view).max().unwrap_or(0)
}

/// No block of the views in which it said that it does not vote is the wiped validator's.
fn check_silence(
    scene: &mut Scene,
    victim: usize,
    from: u64,
    silent_until: u64,
) -> Result<(), DrillError> {
    let witness = usize::from(victim == 0);
    let reader = Reader::open(scene.fleet.files(witness)?, Height::new(0));
    let reader = reader.map_err(|error| scene.fleet.io(witness, error))?;
    let mut checks = 0;
    for record in reader.map_while(Result::ok) {
        let view = record.block.header().view;
        if (from + 1..silent_until).contains(&view) {
            checks += 1;
            if leader_of(view, scene.fleet.len()) == victim {
                let what = format!("the wiped validator led view {view} before it was safe");
                scene.report.finding(what);
            }
        }
    }
    scene.report.checked("silence", checks);
    if silent_until == from {
        let what = "the wiped validator voted at once";
        scene.report.finding(what);
    }
    Ok(())
}

/// Two of four are halted: nothing that is sent then is acknowledged, nothing forks; both go on, and
/// so does the venue.
///
/// # Errors
/// When the venue does not start or does not come back.
pub fn two_of_four(settings: &DrillSettings, tell: Tell) -> Result<DrillReport, DrillError> {
    let mut scene = Scene::open(Drill::TwoOfFour, settings, tell)?;
    let mut recoveries = Vec::new();
    for run in 1..=settings.runs.max(1) {
        let load = scene.load(RUN_SECONDS);
        scene.run_up();
        let first = scene.dice.below(scene.fleet.len());
        let second = (first + 1 + scene.dice.below(scene.fleet.len() - 1)) % scene.fleet.len();
        scene.fleet.stop(first)?;
        scene.fleet.stop(second)?;
        let stopped = load.mark_fault();
        std::thread::sleep(DOWN);
        let resumed = load.now();
        let acknowledged_early = load.recovered().is_some();
        scene.fleet.resume(first)?;
        scene.fleet.resume(second)?;
        let recovery = scene.recovery(&load)?;
        let waited = resumed - stopped;
        let after = recovery.saturating_sub(waited);
        std::thread::sleep(AFTER);
        scene.fleet.wait_ready(RETURN)?;
        tell(&format!(
            "run {run}: validators {first} and {second} halted for {:.1} s; next order accepted \
             {:.0} ms after they went on",
            waited.as_secs_f64(),
            millis(after)
        ));
        let before = scene.records.len();
        scene.end(load);
        let forbidden = scene.records[before..].iter().filter(|record| {
            record.sent > stopped && record.acknowledged() && record.answered < resumed
        });
        let forbidden = forbidden.count();
        scene.report.checked("quorum", 1);
        if forbidden > 0 || acknowledged_early {
            let what = format!("{forbidden} commands were acknowledged without a quorum");
            scene.report.finding(what);
        }
        recoveries.push(millis(after));
    }
    scene.report.rto_ms = Figures::new(recoveries);
    scene.close()
}

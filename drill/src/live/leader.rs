//! Drills 01 and 04: the leader dies at full load; a leader that was away comes back.

use std::time::{Duration, Instant};

use super::report::{Drill, DrillReport, Figures, millis};
use super::scene::{DrillError, DrillSettings, Scene, Tell};

/// Until a validator that was away votes again and is at the tip.
const RETURN: Duration = Duration::from_secs(60);
/// How long a stopped leader stays stopped: longer than every timeout of consensus.
const STOPPED: Duration = Duration::from_secs(4);
/// The load goes on for so long after each recovery.
const AFTER: Duration = Duration::from_secs(1);
/// Commands are signed for so many seconds of each run.
const RUN_SECONDS: u32 = 20;

/// 01: kill −9 of the leader at full load, as often as asked, each time with the validator back
/// before the next.
///
/// # Errors
/// When the venue does not start or does not come back.
pub fn leader_killed(settings: &DrillSettings, tell: Tell) -> Result<DrillReport, DrillError> {
    let mut scene = Scene::open(Drill::LeaderKilled, settings, tell)?;
    let (mut recoveries, mut returns) = (Vec::new(), Vec::new());
    for run in 1..=settings.runs.max(1) {
        let load = scene.load(RUN_SECONDS);
        scene.run_up();
        let victim = scene.fleet.leader();
        load.mark_fault();
        scene.fleet.kill(victim)?;
        let recovery = scene.recovery(&load)?;
        std::thread::sleep(AFTER);
        let began = Instant::now();
        scene.fleet.start(victim)?;
        scene.fleet.wait_ready(RETURN)?;
        tell(&format!(
            "run {run}: validator {victim} killed; next order accepted after {:.0} ms, all four back \
             after {:.1} s",
            millis(recovery),
            began.elapsed().as_secs_f64(),
        ));
        recoveries.push(millis(recovery));
        returns.push(millis(began.elapsed()));
        scene.end(load);
    }
    scene.report.rto_ms = Figures::new(recoveries);
    let returned = Figures::new(returns);
    let figures = &mut scene.report.figures;
    figures.insert("restart_to_ready_ms_median".into(), returned.median);
    figures.insert("restart_to_ready_ms_worst".into(), returned.worst);
    scene.close()
}

/// 04: the leader is halted with everything it knows, the others go on, it goes on with what has
/// become stale; then the leader is killed and comes back from its disk.
///
/// # Errors
/// When the venue does not start or does not come back.
pub fn old_leader_returns(settings: &DrillSettings, tell: Tell) -> Result<DrillReport, DrillError> {
    let mut scene = Scene::open(Drill::OldLeaderReturns, settings, tell)?;
    let mut recoveries = Vec::new();
    for run in 1..=settings.runs.max(1) {
        let load = scene.load(RUN_SECONDS * 2);
        scene.run_up();
        let zombie = scene.fleet.leader();
        load.mark_fault();
        scene.fleet.stop(zombie)?;
        recoveries.push(millis(scene.recovery(&load)?));
        std::thread::sleep(STOPPED);
        scene.fleet.resume(zombie)?;
        let halted = scene.fleet.wait_ready(RETURN)?;
        scene.run_up();
        let victim = scene.fleet.leader();
        load.mark_fault();
        scene.fleet.kill(victim)?;
        recoveries.push(millis(scene.recovery(&load)?));
        scene.fleet.start(victim)?;
        let killed = scene.fleet.wait_ready(RETURN)?;
        tell(&format!(
            "run {run}: validator {zombie} halted for {:.0} s, back after {:.1} s; validator \
             {victim} killed, back after {:.1} s",
            STOPPED.as_secs_f64(),
            halted.as_secs_f64(),
            killed.as_secs_f64(),
        ));
        scene.end(load);
    }
    scene.report.rto_ms = Figures::new(recoveries);
    scene.close()
}

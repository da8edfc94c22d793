//! 05: every disk is lost, and the venue is rebuilt from what was published.

use std::time::{Duration, Instant};

use lifeboat_engine::types::Height;

use super::fleet::FleetError;
use super::load::{Fate, Record};
use super::report::{Drill, DrillReport, Figures, millis};
use super::scene::{DrillError, DrillSettings, Scene, Tell};

/// Until everybody is back.
const RETURN: Duration = Duration::from_secs(90);
const AFTER: Duration = Duration::from_secs(1);
const RUN_SECONDS: u32 = 60;
/// A batch is cut each second. What was acknowledged so long before the loss is published, on any
/// machine that runs a venue at all; how long it really takes is a figure of the report.
const PUBLISHED_WITHIN: Duration = Duration::from_secs(10);

/// What one rebuilding came to.
struct Rebuilt {
    height: Height,
    root: String,
    seconds: f64,
}

/// Under load all four validators are killed and their data folders removed. Each is recovered from
/// the published batches alone; the venue goes on behind the last published block.
///
/// # Errors
/// When the venue does not start, a recovery fails or the venue does not come back.
pub fn every_disk_lost(settings: &DrillSettings, tell: Tell) -> Result<DrillReport, DrillError> {
    let mut scene = Scene::open(Drill::EveryDiskLost, settings, tell)?;
    let (mut recoveries, mut rebuilds) = (Vec::new(), Vec::new());
    for run in 1..=settings.runs.max(1) {
        let load = scene.load(RUN_SECONDS);
        scene.run_up();
        let published = published(&mut scene);
        let lost_at = load.mark_fault();
        for index in 0..scene.fleet.len() {
            scene.fleet.kill(index)?;
        }
        for index in 0..scene.fleet.len() {
            scene.fleet.wipe(index)?;
        }
        tell(&format!(
            "run {run}: four data folders removed; recovering them"
        ));
        let began = Instant::now();
        let rebuilt = rebuild(&mut scene)?;
        scene.fleet.start_all()?;
        let restarted = load.now();
        let recovery = scene.recovery(&load)?;
        std::thread::sleep(AFTER);
        scene.fleet.wait_ready(RETURN)?;
        tell(&format!(
            "run {run}: rebuilt up to block {} in {:.1} s each; next order accepted {:.1} s after the \
             loss, {:.0} ms after the restart",
            rebuilt.height,
            rebuilt.seconds,
            recovery.as_secs_f64(),
            millis((lost_at + recovery).saturating_sub(restarted)),
        ));
        rebuilds.push(began.elapsed().as_secs_f64() * 1e3);
        recoveries.push(millis(recovery));
        if rebuilt.height < published {
            let what = format!(
                "block {published} was said to be published, but only {} was recovered",
                rebuilt.height
            );
            scene.report.finding(what);
        }
        scene.report.checked("published", 1);
        let before = scene.records.len();
        scene.end(load);
        set_lost_aside(&mut scene, before, (lost_at, restarted), &rebuilt);
    }
    scene.report.rto_ms = Figures::new(recoveries);
    scene
        .report
        .figures
        .insert("rebuild_ms_median".into(), Figures::new(rebuilds).median);
    scene.close()
}

/// The height that validators say is published.
fn published(scene: &mut Scene) -> Height {
    let statuses = scene.fleet.statuses();
    let heights = statuses.iter().flatten().map(|status| status.published);
    heights.max().unwrap_or_default()
}

fn rebuild(scene: &mut Scene) -> Result<Rebuilt, FleetError> {
    let mut all = Vec::new();
    for index in 0..scene.fleet.len() {
        let said = scene.fleet.recover(index)?;
        all.push(Rebuilt {
            height: Height::new(said["height"].as_u64().unwrap_or_default()),
            root: said["root"].as_str().unwrap_or_default().to_owned(),
            seconds: said["seconds"].as_f64().unwrap_or_default(),
        });
    }
    let first = all.remove(0);
    let differ = all
        .iter()
        .any(|one| (one.height, &one.root) != (first.height, &first.root));
    scene.report.checked("I2", all.len() as u64 + 1);
    if differ {
        let what = "the validators were not rebuilt to the same block and root";
        scene.report.finding(what);
    }
    Ok(first)
}

/// What was acknowledged behind the last published block is lost by rule, and must be young. Nothing
/// else may be lost: the judge holds every other acknowledgement to account.
fn set_lost_aside(
    scene: &mut Scene,
    from: usize,
    (lost_at, restarted): (Duration, Duration),
    rebuilt: &Rebuilt,
) {
    let behind = |record: &Record| {
        let beyond =
            matches!(record.fate, Fate::Executed { height, .. } if height > rebuilt.height);
        beyond && record.answered <= restarted
    };
    let (lost, kept): (Vec<Record>, Vec<Record>) = scene.records.drain(from..).partition(behind);
    scene.records.extend(kept);
    let oldest = lost
        .iter()
        .map(|record| lost_at.saturating_sub(record.answered));
    let oldest = oldest.max().unwrap_or_default();
    let figures = &mut scene.report.figures;
    let total = figures
        .entry("acknowledged_but_unpublished".into())
        .or_default();
    *total += lost.len() as f64;
    let worst = figures.entry("oldest_unpublished_ms".into()).or_default();
    *worst = worst.max(millis(oldest));
    scene.report.checked("I3 published", lost.len() as u64);
    if oldest > PUBLISHED_WITHIN {
        let what = format!(
            "a command acknowledged {:.0} ms before the loss was not published",
            millis(oldest)
        );
        scene.report.finding(what);
    }
}

//! Does to real processes what a fault says.

use std::io;
use std::time::{Duration, Instant};

use lifeboat_engine::Command;
use lifeboat_engine::command::{Action, PlaceOrder};
use lifeboat_engine::types::{AccountId, ClientOrderId, Height, Side};
use lifeboat_node::block::ENGINE_VERSION;
use lifeboat_node::ingress::{BlockingClient, Reply, Request};
use lifeboat_node::outcome::Verdict;
use lifeboat_node::sabotage::{DRIFT_LABEL, VERSION_VARIABLE};
use lifeboat_node::shared::VenueClock;

use super::damage::damage;
use super::execute::{Rebuilt, Run};
use super::fleet::FleetError;
use super::links::Way;
use super::scene::{DrillError, Scene, load_settings};
use crate::market::Participant;
use crate::plan::Fault;

/// A marked order is executed within this.
const ANSWER: Duration = Duration::from_secs(30);

/// Carries out one fault; `measured` if recovery from it is timed. Returns when it began, on the load's
/// clock.
pub fn strike(
    run: &mut Run<'_, '_>,
    fault: &Fault,
    who: &[usize],
    measured: bool,
) -> Result<Duration, DrillError> {
    // What ends a stretch without a quorum is noted before it does, what begins one after.
    let mends = matches!(
        fault,
        Fault::Start(_) | Fault::Resume(_) | Fault::Heal | Fault::Clock { .. }
    );
    if mends {
        run.quiet.note(fault, who, run.load.now());
    }
    let at = match fault {
        Fault::MakerDrops => drop_maker(run)?,
        _ if measured => run.load.mark_fault(),
        _ => run.load.now(),
    };
    match fault {
        Fault::Partition(_) | Fault::Cut { .. } | Fault::Links { .. } | Fault::Heal => {
            links(run, fault, who);
        }
        Fault::Recover(_) => recover(run, who)?,
        Fault::Wipe(_) => wipe(run, who, at)?,
        Fault::Poison => mark(run, b"poison", None)?,
        Fault::Drift(_) => drift(run, who)?,
        Fault::Storm { rate, .. } => run.begin_storm(*rate),
        Fault::Calm => run.end_storm(),
        Fault::MakerDrops | Fault::PowerCut { .. } => {}
        _ => {
            for index in who {
                process(run, fault, *index)?;
            }
        }
    }
    if !mends {
        run.quiet.note(fault, who, run.load.now());
    }
    Ok(at)
}

/// A fault of one validator's process.
fn process(run: &mut Run<'_, '_>, fault: &Fault, index: usize) -> Result<(), DrillError> {
    let fleet = &mut run.scene.fleet;
    match fault {
        Fault::Kill(_) => fleet.kill(index)?,
        Fault::Stop(_) => fleet.stop(index)?,
        Fault::Resume(_) => fleet.resume(index)?,
        Fault::Start(_) => {
            let wiped = !fleet.data(index).join("state").exists();
            if wiped {
                run.suspect(index, true);
            }
            run.scene.fleet.start(index)?;
        }
        Fault::Damage { store, how, .. } => {
            fleet.kill(index)?;
            let harmed = damage(fleet.data(index), *store, *how);
            harmed.map_err(|error| run.scene.fleet.io(index, error))?;
        }
        Fault::Clock { by_ms, .. } => {
            fleet.kill(index)?;
            fleet.configure(index, |node| node.tuning.pacing.clock = off(*by_ms))?;
            fleet.start(index)?;
        }
        Fault::Outdate(_) => {
            fleet.kill(index)?;
            run.suspect(index, false);
            let other = (ENGINE_VERSION + 1).to_string();
            let environment = [(VERSION_VARIABLE, other.as_str())];
            run.scene.fleet.start_with(index, &environment)?;
        }
        _ => {}
    }
    Ok(())
}

/// A clock that is off by so much.
fn off(by_ms: i64) -> VenueClock {
    VenueClock {
        local_start_ms: by_ms.min(0).unsigned_abs(),
        venue_start_ms: by_ms.max(0).unsigned_abs(),
        ..VenueClock::default()
    }
}

fn links(run: &Run<'_, '_>, fault: &Fault, who: &[usize]) {
    let Some(links) = run.scene.fleet.links() else {
        return;
    };
    match fault {
        Fault::Partition(_) => links.set_all(|from, to| Way {
            cut: who.contains(&from) != who.contains(&to),
            ..links.way(from, to)
        }),
        Fault::Cut { to, .. } => {
            let deaf = to.named(&run.scene.plan.topology);
            links.set_all(|from, to| {
                let cut = who.contains(&from) && (deaf.is_empty() || deaf.contains(&to));
                let way = links.way(from, to);
                Way {
                    cut: way.cut || cut,
                    ..way
                }
            });
        }
        Fault::Links {
            loss_ppm,
            latency_ms,
        } => links.set_all(|_, _| Way {
            cut: false,
            latency_ms: *latency_ms,
            loss_ppm: *loss_ppm,
        }),
        _ => links.set_all(|_, _| Way::default()),
    }
}

fn wipe(run: &mut Run<'_, '_>, who: &[usize], at: Duration) -> Result<(), DrillError> {
    let statuses = run.scene.fleet.statuses();
    let published = statuses
        .iter()
        .flatten()
        .map(|status| status.published)
        .max();
    for index in who {
        run.scene.fleet.kill(*index)?;
    }
    for index in who {
        run.scene.fleet.wipe(*index)?;
    }
    run.rebuilt = (run.scene.plan.workload.publish).then(|| Rebuilt {
        lost_at: at,
        published: published.unwrap_or_default(),
        height: Height::new(u64::MAX),
        at,
    });
    Ok(())
}

/// Rebuilds data folders from what was published; all must come to the same block and root.
fn recover(run: &mut Run<'_, '_>, who: &[usize]) -> Result<(), DrillError> {
    let began = Instant::now();
    let mut reached: Vec<(u64, String)> = Vec::new();
    for index in who {
        let said = run.scene.fleet.recover(*index)?;
        let height = said["height"].as_u64().unwrap_or_default();
        reached.push((height, said["root"].as_str().unwrap_or_default().to_owned()));
    }
    run.worst("rebuild_all_ms", began.elapsed());
    let report = &mut run.scene.report;
    report.checked("I2", reached.len() as u64);
    if reached.iter().any(|one| *one != reached[0]) {
        report.finding(format!(
            "the validators were rebuilt to different states: {reached:?}"
        ));
    }
    if let (Some(rebuilt), Some((height, _))) = (&mut run.rebuilt, reached.first()) {
        rebuilt.height = Height::new(*height);
        rebuilt.at = run.load.now();
    }
    Ok(())
}

fn drift(run: &mut Run<'_, '_>, who: &[usize]) -> Result<(), DrillError> {
    for index in who {
        run.suspect(*index, false);
    }
    mark(run, DRIFT_LABEL, who.first().copied())
}

/// Sends an order with a label, through any validator but `not`, and waits for its end.
fn mark(run: &mut Run<'_, '_>, label: &[u8], not: Option<usize>) -> Result<(), DrillError> {
    let command = marked(run.scene, label);
    let addresses = run.scene.fleet.ingress();
    let mut at = 0;
    run.scene
        .fleet
        .wait_for("the marked order to be executed", ANSWER, |fleet| {
            at = (at + 1) % addresses.len();
            if Some(at) == not || !fleet.is_up(at) {
                return Ok(false);
            }
            let client = BlockingClient::connect(addresses[at], ANSWER);
            let done = client.and_then(|mut client| submit(&mut client, &command));
            Ok(done.unwrap_or(false))
        })?;
    Ok(())
}

fn submit(client: &mut BlockingClient, command: &Command) -> io::Result<bool> {
    let command = command.clone();
    client.queue(&Request::Submit { id: 0, command });
    client.flush()?;
    let Reply::Outcome { outcome, .. } = client.receive()? else {
        return Ok(false);
    };
    Ok(matches!(
        outcome.verdict,
        Verdict::Applied | Verdict::Quarantined
    ))
}

/// A small order of the last quoting account, with a label; it is used for nothing else.
fn marked(scene: &mut Scene, label: &[u8]) -> Command {
    let all = load_settings(&scene.fleet);
    let account = AccountId::new(all.first_account.get() + all.traders + all.quoters - 1);
    let nonce = scene.report.timeline.moments.len() as u64 + 1;
    let mut participant = Participant::development(all.seed, account, all.chain).after(nonce);
    let (listed, _) = scene.targets[0];
    participant.sign(Action::PlaceOrder(PlaceOrder {
        client_id: ClientOrderId::new(nonce),
        label: label.to_vec(),
        ..listed.order(Side::Buy, listed.lots(1), listed.tick)
    }))
}

/// The maker's validator dies as it leads. Returns when.
fn drop_maker(run: &mut Run<'_, '_>) -> Result<Duration, DrillError> {
    let load = run.load;
    let Some(maker) = run.maker.as_deref_mut() else {
        return Ok(load.now());
    };
    let dropped = maker.drop_out(run.scene, load)?;
    run.worst("quotes_cancelled_ms_worst", dropped.cancelled);
    run.worst("quotes_gone_for_certain_ms_worst", dropped.certain);
    Ok(dropped.at)
}

/// An error of a connection, as the fleet's.
pub fn lost(scene: &Scene, error: io::Error) -> FleetError {
    FleetError::Io {
        path: scene.settings.evidence.clone(),
        error,
    }
}

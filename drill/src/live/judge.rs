//! Judges a run by what the validators wrote down, not by what they say.
//!
//! **Owns** the checks that every drill shares: each acknowledged command is in every block log, where
//! the acknowledgement said, and took effect once (I3); the logs hold the same blocks, each in its
//! turn, and the validators the same root after the same block (I2); a replay from genesis by the
//! auditor balances after every block (I1, I8).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lifeboat_engine::types::{Digest, Height};
use lifeboat_engine::{Event, Reject};
use lifeboat_node::journal::{Reader, Record as LogRecord};
use lifeboat_node::outcome::{Verdict, spans};

use super::fleet::{Fleet, FleetError, leader_of};
use super::load::{Fate, Record};
use super::report::{DrillReport, RootAt};
use crate::log_audit::audit_log;

/// How long validators may take to catch up once faults have ended.
const CATCH_UP: Duration = Duration::from_secs(60);

/// What was acknowledged, by command.
type Acknowledged = BTreeMap<Digest, (Height, u32)>;

fn acknowledged(records: &[Record]) -> Acknowledged {
    let place = |record: &Record| match record.fate {
        Fate::Executed { height, index, .. } => Some((record.key, (height, index))),
        _ => None,
    };
    records.iter().filter_map(place).collect()
}

/// What one log says.
#[derive(Default)]
struct Reading {
    last: Height,
    digests: BTreeMap<Height, Digest>,
    found: BTreeSet<Digest>,
    /// Acknowledged commands that stand somewhere else than was said, too.
    elsewhere: BTreeSet<Digest>,
    /// Epoch and view of the last block.
    at: (u64, u64),
    out_of_turn: Vec<String>,
}

impl Reading {
    fn block(&mut self, record: &LogRecord, acknowledged: &Acknowledged, leaders: &[Vec<u8>]) {
        let header = record.block.header();
        let turn = leader_of(header.epoch.wrapping_add(header.view), leaders.len());
        let of_turn = leaders
            .get(turn)
            .is_some_and(|leader| leader.as_slice() == header.leader.as_ref() as &[u8]);
        if !of_turn || (header.epoch, header.view) <= self.at || header.parent_view >= header.view {
            let (height, view) = (header.height, header.view);
            self.out_of_turn
                .push(format!("block {height} of view {view}"));
        }
        self.at = (header.epoch, header.view);
        self.last = header.height;
        self.digests.insert(header.height, header.digest());
        for (index, key) in (0..).zip(record.block.body().keys()) {
            match acknowledged.get(key) {
                Some(place) if *place == (header.height, index) => self.found.insert(*key),
                Some(_) => self.elsewhere.insert(*key),
                None => false,
            };
        }
    }
}

/// Waits until every validator has what was acknowledged, shuts the fleet down cleanly, and checks
/// everything.
///
/// # Errors
/// When validators do not catch up, or a log cannot be opened. What does not hold is a finding of the
/// report.
pub fn judge(
    fleet: &mut Fleet,
    records: &[Record],
    report: &mut DrillReport,
) -> Result<(), FleetError> {
    let acknowledged = acknowledged(records);
    let last = acknowledged.values().map(|(height, _)| *height).max();
    fleet.wait_height(last.unwrap_or_default(), CATCH_UP)?;
    compare_roots(fleet, report)?;
    fleet.shut_down(CATCH_UP)?;
    let readings = read_logs(fleet, &acknowledged, report)?;
    let effects = audit(fleet, &acknowledged, report)?;
    let lost = |key: &&Digest| {
        let everywhere = readings.iter().all(|reading| reading.found.contains(key));
        !everywhere || effects.get(key) != Some(&1)
    };
    let lost: Vec<&Digest> = acknowledged.keys().filter(lost).collect();
    report.rpo_commands += lost.len() as u64;
    report.checked("I3", (acknowledged.len() * readings.len()) as u64);
    if let Some(first) = lost.first() {
        let count = lost.len();
        report.finding(format!(
            "I3: {count} acknowledged commands are not once in every log, such as {first}"
        ));
    }
    Ok(())
}

/// The same root after the same block on all.
pub fn compare_roots(fleet: &mut Fleet, report: &mut DrillReport) -> Result<(), FleetError> {
    let (height, roots) = fleet.roots(CATCH_UP)?;
    let first = roots.first().copied().unwrap_or_default();
    let same = roots.iter().filter(|root| **root == first).count();
    report.checked("I2", roots.len() as u64);
    report.roots.push(RootAt {
        height: height.get(),
        root: first.to_string(),
        validators: same,
    });
    if same != roots.len() {
        report.finding(format!("I2: after block {height} the roots are {roots:?}"));
    }
    Ok(())
}

fn read_logs(
    fleet: &mut Fleet,
    acknowledged: &Acknowledged,
    report: &mut DrillReport,
) -> Result<Vec<Reading>, FleetError> {
    let leaders = fleet.leaders().to_vec();
    let mut readings: Vec<Reading> = Vec::new();
    for index in 0..fleet.len() {
        let mut reading = Reading::default();
        let reader = Reader::open(fleet.files(index)?, Height::new(0));
        let reader = reader.map_err(|error| fleet.io(index, error))?;
        for record in reader {
            match record {
                Ok(record) => reading.block(&record, acknowledged, &leaders),
                Err(error) => report.finding(format!("validator {index}: {error}")),
            }
        }
        if let Some(first) = reading.out_of_turn.first() {
            report.finding(format!("validator {index} accepted {first} out of turn"));
        }
        report.checked("turns", reading.digests.len() as u64);
        if let Some(other) = readings.first() {
            compare_chains(index, &reading, other, report);
        }
        readings.push(reading);
    }
    Ok(readings)
}

fn compare_chains(index: usize, reading: &Reading, other: &Reading, report: &mut DrillReport) {
    let common = reading.last.min(other.last);
    for (height, digest) in reading.digests.range(..=common) {
        report.checked("I2", 1);
        if other.digests.get(height) != Some(digest) {
            report.finding(format!(
                "I2: validators 0 and {index} have different blocks {height}"
            ));
            return;
        }
    }
}

/// Replays the first validator's log. Returns how often each acknowledged command took effect; a
/// repetition that was refused for its nonce is none.
fn audit(
    fleet: &mut Fleet,
    acknowledged: &Acknowledged,
    report: &mut DrillReport,
) -> Result<BTreeMap<Digest, u32>, FleetError> {
    let mut effects = BTreeMap::new();
    let mut each = |record: &LogRecord, events: &[Event]| {
        let keys = record.block.body().keys();
        for (key, span) in keys.iter().zip(spans(events, keys.len())) {
            let repeated = Some(Verdict::Rejected(Reject::StaleNonce));
            if acknowledged.contains_key(key) && span.map(|span| span.verdict) != repeated {
                *effects.entry(*key).or_insert(0) += 1;
            }
        }
    };
    let audited = audit_log(fleet.files(0)?, fleet.genesis(), |record, events, _| {
        each(record, events);
    });
    match audited {
        Ok(log) => {
            for (invariant, count) in log.checks {
                report.checked(invariant, count);
            }
            report
                .figures
                .insert("blocks".into(), log.height.get() as f64);
            report.figures.insert("trades".into(), log.trades as f64);
        }
        Err(finding) => report.finding(finding.to_string()),
    }
    Ok(effects)
}

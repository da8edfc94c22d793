//! Judges a run by what the validators wrote down, not by what they say.
//!
//! **Owns** the checks that every drill shares: each acknowledged command is in every block log, where
//! the acknowledgement said, and took effect once (I3); the logs hold the same blocks, each in its
//! turn, and the validators the same root after the same block (I2); a replay from genesis by the
//! auditor balances after every block (I1, I8).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lifeboat_engine::types::{Digest, Height, Mode, TimeMs};
use lifeboat_engine::{Engine, Event, Reject};
use lifeboat_node::journal::{Reader, Record as LogRecord};
use lifeboat_node::outcome::{Verdict, spans};

use super::execute::{Past, Suspect};
use super::fleet::{Fleet, FleetError, leader_of};
use super::holders::Holders;
use super::load::{Fate, Record};
use super::maker::Maker;
use super::scene::{Scene, load_settings};
use crate::evidence::{Band, DrillReport, MarketFigures, RootAt, mode_name};
use crate::log_audit::audit_log;
use crate::plan::Plan;

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

/// The acknowledged commands that were said to be refused for their nonce. They had no effect, or had it
/// earlier, under an answer that was lost.
fn told_stale(records: &[Record]) -> BTreeSet<Digest> {
    let stale = Verdict::Rejected(Reject::StaleNonce);
    let told = |record: &&Record| matches!(record.fate, Fate::Executed { verdict, .. } if verdict == stale);
    records
        .iter()
        .filter(told)
        .map(|record| record.key)
        .collect()
}

/// What one log says.
#[derive(Default)]
struct Reading {
    /// 1, unless the validator fetched a newer state from its peers.
    first: Height,
    last: Height,
    digests: BTreeMap<Height, Digest>,
    found: BTreeSet<Digest>,
    /// Acknowledged commands that stand somewhere else than was said, too.
    elsewhere: BTreeSet<Digest>,
    /// Epoch and view of the last block.
    at: (u64, u64),
    /// Views of the last epoch that came to a block.
    views: Vec<u64>,
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
        if header.epoch > self.at.0 {
            self.views.clear();
        }
        self.views.push(header.view);
        self.at = (header.epoch, header.view);
        if self.digests.is_empty() {
            self.first = header.height;
        }
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
pub fn judge(scene: &mut Scene, runs: &[Past], maker: Option<&Maker>) -> Result<(), FleetError> {
    let (fleet, report) = (&mut scene.fleet, &mut scene.report);
    let acknowledged = acknowledged(&scene.records);
    let last = acknowledged.values().map(|(height, _)| *height).max();
    fleet.wait_height(last.unwrap_or_default(), CATCH_UP)?;
    compare_roots(fleet, report)?;
    fleet.shut_down(CATCH_UP)?;
    let readings = read_logs(fleet, &acknowledged, report)?;
    let began = began(runs, &scene.plan);
    let market = market_figures(began, fleet, &scene.plan);
    let whole = readings
        .iter()
        .position(|reading| reading.first == Height::new(1));
    let seen = (&acknowledged, market, &scene.plan);
    let audited = audit(fleet, whole.unwrap_or(0), seen, began, report)?;
    let stale = told_stale(&scene.records);
    let lost = |(key, (height, _)): &(&Digest, &(Height, u32))| {
        let holds = |reading: &Reading| *height < reading.first || reading.found.contains(*key);
        let effects = audited.effects.get(*key).copied().unwrap_or(0);
        let kept = effects == 1 || effects == 0 && stale.contains(*key);
        !readings.iter().all(holds) || !kept
    };
    let lost: Vec<&Digest> = acknowledged
        .iter()
        .filter(lost)
        .map(|(key, _)| key)
        .collect();
    report.rpo_commands += lost.len() as u64;
    report.checked("I3", (acknowledged.len() * readings.len()) as u64);
    if let Some(first) = lost.first() {
        let count = lost.len();
        report.finding(format!(
            "I3: {count} acknowledged commands are not once in every log, such as {first}"
        ));
    }
    for run in runs {
        for suspect in &run.suspects {
            check_suspect(suspect, &readings, fleet.len(), &scene.plan, report);
        }
        check_modes(run, &audited.modes, &scene.plan, report);
    }
    match maker {
        Some(maker) => maker.account_for_quotes(fleet, report),
        None => Ok(()),
    }
}

/// Block time at the first run's beginning.
fn began(runs: &[Past], plan: &Plan) -> TimeMs {
    let began = runs.first().map_or(0.0, |run| run.began_ms.round());
    match &plan.topology.clock {
        Some(clock) => clock.begins(),
        None => TimeMs::new(began as u64),
    }
}

fn market_figures(began: TimeMs, fleet: &Fleet, plan: &Plan) -> MarketFigures {
    let holders = Holders::new(plan, load_settings(fleet));
    MarketFigures::new(plan, began, holders.accounts())
}

/// No block of the views in which a validator had no vote is its own.
fn check_suspect(
    suspect: &Suspect,
    readings: &[Reading],
    validators: usize,
    plan: &Plan,
    report: &mut DrillReport,
) {
    let who = suspect.who;
    let silent = suspect.from_view + 1..suspect.until_view;
    let witness = readings.get(usize::from(who == 0));
    let views = witness.map_or(&[][..], |reading| &reading.views);
    let views = views.iter().filter(|view| silent.contains(*view));
    let led = views
        .clone()
        .find(|view| leader_of(**view, validators) == who);
    report.checked("silence", views.count() as u64);
    if suspect.is_wiped {
        if let Some(view) = led {
            report.finding(format!(
                "the wiped validator {who} led view {view} before it was safe"
            ));
        }
        if silent.is_empty() {
            report.finding(format!("the wiped validator {who} voted at once"));
        }
        return;
    }
    report.checked("found", 1);
    let most = plan.bounds.found_ms.unwrap_or_default();
    let Some(found) = suspect.found.map(|found| found.as_secs_f64() * 1e3) else {
        report.finding(format!(
            "validator {who} went on voting as if nothing were wrong"
        ));
        return;
    };
    let worst = report.figures.entry("found_ms_worst".into()).or_default();
    *worst = worst.max(found);
    if found > most as f64 {
        report.finding(format!(
            "validator {who} voted for {found:.0} ms; {most} ms may pass"
        ));
    }
}

/// The modes of a run are those that the plan expects; they become bands of the timeline.
fn check_modes(run: &Past, modes: &[(f64, Mode)], plan: &Plan, report: &mut DrillReport) {
    let length = run.length.as_secs_f64() * 1e3;
    let before = modes
        .iter()
        .take_while(|(at, _)| *at <= run.began_ms)
        .last();
    let mut now = before.map_or(Mode::Open, |(_, mode)| *mode);
    let mut from = 0.0;
    let mut band = |from: f64, to: f64, mode: Mode| {
        report.timeline.bands.push(Band {
            run: run.number,
            from_ms: from,
            to_ms: to,
            mode: mode_name(mode).to_owned(),
        });
    };
    let mut passed = Vec::new();
    for (at, mode) in modes {
        let at = at - run.began_ms;
        if at > 0.0 && at <= length {
            band(from, at, now);
            passed.push(mode_name(*mode).to_owned());
            (from, now) = (at, *mode);
        }
    }
    band(from, length, now);
    report.checked("modes", 1);
    if passed != plan.modes {
        let (passed, expected) = (passed.join(" → "), plan.modes.join(" → "));
        let number = run.number;
        report.finding(format!(
            "run {number} went through [{passed}], not [{expected}]"
        ));
    }
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
    let from = reading.first.max(other.first).min(common);
    for (height, digest) in reading.digests.range(from..=common) {
        report.checked("I2", 1);
        if other.digests.get(height) != Some(digest) {
            report.finding(format!(
                "I2: validators 0 and {index} have different blocks {height}"
            ));
            return;
        }
    }
}

/// What a replay of a log that begins at genesis says.
#[derive(Default)]
struct Audited {
    /// How often each acknowledged command took effect; a repetition that was refused for its nonce is
    /// none.
    effects: BTreeMap<Digest, u32>,
    /// Every change of the mode, by the wall's time in milliseconds since the epoch.
    modes: Vec<(f64, Mode)>,
}

fn audit(
    fleet: &mut Fleet,
    witness: usize,
    (acknowledged, mut market, plan): (&Acknowledged, MarketFigures, &Plan),
    began: TimeMs,
    report: &mut DrillReport,
) -> Result<Audited, FleetError> {
    let mut found = Audited::default();
    let clock = fleet.clock();
    let mut each = |record: &LogRecord, events: &[Event], engine: &Engine| {
        let keys = record.block.body().keys();
        for (key, span) in keys.iter().zip(spans(events, keys.len())) {
            let repeated = Some(Verdict::Rejected(Reject::StaleNonce));
            if acknowledged.contains_key(key) && span.map(|span| span.verdict) != repeated {
                *found.effects.entry(*key).or_insert(0) += 1;
            }
        }
        market.note(events, engine);
        for event in events {
            if let Event::ModeChanged { to, .. } = event {
                let at = clock.local(record.block.header().time);
                found.modes.push((at.get() as f64, *to));
            }
        }
    };
    let audited = audit_log(
        fleet.files(witness)?,
        fleet.genesis(),
        |record, events, engine, _| {
            each(record, events, engine);
        },
    );
    match audited {
        Ok(log) => {
            for (invariant, count) in log.checks {
                report.checked(invariant, count);
            }
            let figures = &mut report.figures;
            figures.insert("blocks".into(), log.height.get() as f64);
            figures.insert("trades".into(), log.trades as f64);
            if log.quarantined > 0 {
                figures.insert("commands_quarantined".into(), log.quarantined as f64);
            }
        }
        Err(finding) => report.finding(finding.to_string()),
    }
    report.figures.extend(market.named(plan));
    let moments = market.moments(began, clock);
    report.timeline.moments.extend(moments);
    Ok(found)
}

//! What must hold.

use std::collections::BTreeMap;
use std::sync::Arc;

use lifeboat_engine::types::{Digest, Height, TimeMs};
use lifeboat_engine::{Event, Genesis};
use lifeboat_node::journal::Reader;
use lifeboat_node::machine::Blueprint;
use lifeboat_node::outcome::{Outcome, Verdict};
use lifeboat_node::shared::VenueClock;
use lifeboat_node::sim::{Cluster, Tally};
use lifeboat_node::verify::verify;

use crate::evidence::{DrillReport, MarketFigures, RootAt};
use crate::log_audit::audit_log;
use crate::plan::Plan;

/// What was seen of a run, and what was wrong with it.
#[derive(Debug, Default)]
pub struct Findings {
    /// Checks and violations.
    pub report: DrillReport,
    roots: BTreeMap<Height, (usize, Digest)>,
    seen: Vec<u64>,
    /// Nodes whose roots are known to be wrong.
    pub drifted: Vec<usize>,
}

/// Violations that are written out; more say no more.
const VIOLATIONS_MAX: usize = 16;

impl Findings {
    /// Checks a rule.
    pub fn check(&mut self, rule: &'static str, holds: bool, violation: impl FnOnce() -> String) {
        self.report.checked(rule, 1);
        if !holds && self.report.findings.len() < VIOLATIONS_MAX {
            self.report.finding(format!("{rule}: {}", violation()));
        }
    }

    /// Compares the roots of heights executed since the last call (I2).
    pub fn compare_roots(&mut self, cluster: &Cluster) {
        self.seen.resize(cluster.len(), 0);
        for index in 0..cluster.len() {
            let height = cluster.height(index);
            if self.drifted.contains(&index) {
                // What it computes is wrong by design, until it has rebuilt itself.
                self.seen[index] = height;
                continue;
            }
            // A node that lost its disk executes old heights again: compare those too.
            let from = self.seen[index].min(height);
            for height in (from + 1..=height).map(Height::new) {
                let Some(root) = cluster.root_at(index, height) else {
                    continue;
                };
                let (first, agreed) = *self.roots.entry(height).or_insert((index, root));
                self.check("I2", root == agreed, || {
                    format!(
                        "after block {height} node {index} has {root}, node {first} has {agreed}"
                    )
                });
            }
            self.seen[index] = height;
        }
    }

    /// The root at the height that all have reached.
    pub fn common_root(&mut self, cluster: &Cluster) {
        let heights = (0..cluster.len()).map(|index| cluster.height(index));
        let Some(height) = heights.min().map(Height::new) else {
            return;
        };
        let roots: Vec<_> = (0..cluster.len())
            .filter_map(|index| cluster.root_at(index, height))
            .collect();
        if let Some(root) = roots.first() {
            self.report.roots.push(RootAt {
                height: height.get(),
                root: root.to_string(),
                validators: roots.iter().filter(|one| *one == root).count(),
            });
        }
    }

    /// Replays every node's block log and looks for every acknowledged command in it (I3).
    pub fn check_logs(
        &mut self,
        cluster: &Cluster,
        blueprint: &dyn Blueprint,
        acknowledged: &BTreeMap<Digest, Arc<Outcome>>,
    ) {
        let mut lost: Vec<Digest> = Vec::new();
        for index in 0..cluster.len() {
            let files = Arc::new(cluster.files(index).clone());
            let verified = verify(files.clone(), blueprint, None, |_, _| {});
            let height = cluster.height(index);
            let whole = matches!(&verified, Ok(found) if found.height.get() == height);
            self.check("log", whole, || {
                format!("node {index} at block {height}: its log replays to {verified:?}")
            });
            let reader = Reader::open(files, Height::new(0)).expect("memory does not fail");
            let mut places: BTreeMap<Digest, Vec<(Height, u32)>> = BTreeMap::new();
            for record in reader.map_while(Result::ok) {
                let height = record.block.header().height;
                for (place, key) in (0u32..).zip(record.block.body().keys()) {
                    places.entry(*key).or_default().push((height, place));
                }
            }
            for (key, outcome) in acknowledged {
                let place = places.get(key).and_then(|places| places.first().copied());
                let found = place == Some((outcome.height, outcome.index));
                if !found {
                    lost.push(*key);
                }
                self.check("I3", found, || {
                    let (height, at) = (outcome.height, outcome.index);
                    format!("command {key} was acknowledged in block {height}/{at}; node {index} has it at {place:?}")
                });
            }
            let tally = cluster
                .last(index)
                .and_then(|node| node.with_machine(Tally::executed));
            if let Some(executed) = tally {
                self.check("I3", executed == places.len(), || {
                    let logged = places.len();
                    format!("node {index} executed {executed} commands, its log has {logged}")
                });
            }
        }
        lost.sort_unstable();
        lost.dedup();
        self.report.rpo_commands += lost.len() as u64;
    }

    /// Replays every node's log as an outsider does: books that balance, roots, liquidations, modes (I1,
    /// I2, I5, I7, I8). Returns the changes of the mode by block time, as the first node's log has them.
    pub fn audit(
        &mut self,
        cluster: &Cluster,
        (genesis, plan): (&Genesis, &Plan),
        mut market: MarketFigures,
        (began, clock): (TimeMs, VenueClock),
    ) -> Vec<(TimeMs, &'static str)> {
        let mut modes = Vec::new();
        for index in 0..cluster.len() {
            let files = Arc::new(cluster.files(index).clone());
            let audited = audit_log(files, genesis, |record, events, engine, _| {
                if index == 0 {
                    market.note(events, engine);
                }
                for event in events {
                    if let (0, Event::ModeChanged { to, .. }) = (index, event) {
                        let at = record.block.header().time;
                        modes.push((at, crate::evidence::mode_name(*to)));
                    }
                }
            });
            match audited {
                Ok(log) => {
                    for (invariant, count) in log.checks {
                        self.report.checked(invariant, count);
                    }
                    if index == 0 {
                        let figures = &mut self.report.figures;
                        figures.insert("trades".into(), log.trades as f64);
                        figures.insert("commands_quarantined".into(), log.quarantined as f64);
                    }
                }
                Err(finding) => self.report.finding(format!("node {index}: {finding}")),
            }
        }
        self.report.figures.extend(market.named(plan));
        let moments = market.moments(began, clock);
        self.report.timeline.moments.extend(moments);
        modes
    }
}

/// Whether a command took effect.
pub fn is_accepted(outcome: &Outcome) -> bool {
    outcome.verdict == Verdict::Applied
}

//! What must hold.

use std::collections::BTreeMap;
use std::sync::Arc;

use lifeboat_engine::types::{Digest, Height};
use lifeboat_node::journal::Reader;
use lifeboat_node::outcome::Outcome;
use lifeboat_node::sim::{Cluster, Tally, TallyBlueprint};
use lifeboat_node::verify::verify;

/// What was seen of a run, and what was wrong with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// How often each rule was checked.
    pub checks: BTreeMap<&'static str, u64>,
    /// What broke.
    pub violations: Vec<String>,
    roots: BTreeMap<Height, (usize, Digest)>,
    seen: Vec<u64>,
}

/// Violations that are written out; more say no more.
const VIOLATIONS_MAX: usize = 16;

impl Findings {
    /// Checks a rule.
    pub fn check(&mut self, rule: &'static str, holds: bool, violation: impl FnOnce() -> String) {
        *self.checks.entry(rule).or_default() += 1;
        if !holds && self.violations.len() < VIOLATIONS_MAX {
            self.violations.push(format!("{rule}: {}", violation()));
        }
    }

    /// Compares the roots of heights executed since the last call (I2).
    pub fn compare_roots(&mut self, cluster: &Cluster) {
        self.seen.resize(cluster.len(), 0);
        for index in 0..cluster.len() {
            let height = cluster.height(index);
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

    /// Replays every node's block log and looks for every acknowledged command in it (I3).
    pub fn check_logs(
        &mut self,
        cluster: &Cluster,
        blueprint: &TallyBlueprint,
        acknowledged: &BTreeMap<Digest, Arc<Outcome>>,
    ) {
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
                self.check("I3", place == Some((outcome.height, outcome.index)), || {
                    let (height, at) = (outcome.height, outcome.index);
                    format!("command {key} was acknowledged in block {height}/{at}; node {index} has it at {place:?}")
                });
            }
            let executed = cluster
                .last(index)
                .and_then(|node| node.with_machine(Tally::executed));
            self.check("I3", executed == Some(places.len()), || {
                format!(
                    "node {index} executed {executed:?} commands, its log has {}",
                    places.len()
                )
            });
        }
    }
}

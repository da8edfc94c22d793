//! Plans by seed, for sweeps.

use std::collections::BTreeMap;

use super::{
    Backing, Bounds, Engine, Executor, Exit, Fault, Harm, Plan, Planned, Store, Topology, Who,
    Workload,
};
use crate::market::{Dice, Stress};

/// Within this everything is settled after the faults, as long as no clock is ahead.
const SETTLED_MS: u64 = 20_000;

/// Nothing goes wrong for two seconds.
pub fn calm() -> Plan {
    Plan {
        name: "calm".to_owned(),
        title: "nothing goes wrong".to_owned(),
        about: String::new(),
        seed: 1,
        executors: vec![Executor::Simulated],
        modes: Vec::new(),
        invariants: vec!["I2".to_owned(), "I3".to_owned()],
        topology: Topology {
            engine: Engine::Tally,
            snapshot_every: Some(7),
            ..Topology::default()
        },
        workload: Workload::default(),
        venue: Backing::default(),
        bounds: Bounds {
            rto_ms: SETTLED_MS,
            ..Bounds::default()
        },
        exit: Exit {
            load_ms: 1_000,
            ready_ms: SETTLED_MS,
        },
        at_most: BTreeMap::new(),
        at_least: BTreeMap::new(),
        stress: Stress::default(),
        faults: vec![Planned::at(2_000, Fault::Heal)],
    }
}

/// The plan of a seed: one to five troubles within three seconds, each with its end. At most one disk is
/// lost, and only while no other has been: the loss of more than f disks is another drill's subject.
/// What damage reaches is what the node repairs by itself.
pub fn random(seed: u64) -> Plan {
    let mut dice = Dice::at(seed, &[1]);
    let mut draft = Draft {
        validators: 4,
        wiped: false,
        faults: vec![Planned::at(3_000, Fault::Heal)],
    };
    let snapshot_every = 3 + dice.below(12) as u64;
    for _ in 0..1 + dice.below(5) {
        let at_ms = 200 + dice.below(2_600) as u64;
        draft.trouble(&mut dice, at_ms);
    }
    draft.faults.sort_by_key(|planned| planned.at_ms);
    let mut plan = calm();
    plan.name = format!("random-{seed}");
    plan.title = format!("faults of seed {seed}");
    plan.seed = seed;
    plan.topology.snapshot_every = Some(snapshot_every);
    plan.faults = draft.faults;
    let patience = SETTLED_MS + 2 * furthest_ahead_ms(&plan);
    plan.bounds.rto_ms = patience;
    plan.exit.ready_ms = patience;
    plan
}

/// How far the furthest clock is ahead. A block of that time may get a quorum's first vote, and the second
/// one of whoever's clock is ahead. Where one more validator is missing at that moment no quorum can
/// give the block up any more, and the venue waits until the others' clocks have reached its time.
fn furthest_ahead_ms(plan: &Plan) -> u64 {
    let ahead = plan.faults.iter().map(|planned| match planned.what {
        Fault::Clock { by_ms, .. } => by_ms.max(0).unsigned_abs(),
        _ => 0,
    });
    ahead.max().unwrap_or(0)
}

struct Draft {
    validators: usize,
    wiped: bool,
    faults: Vec<Planned>,
}

impl Draft {
    fn push(&mut self, at_ms: u64, what: Fault) {
        self.faults.push(Planned::at(at_ms, what));
    }

    fn trouble(&mut self, dice: &mut Dice, at_ms: u64) {
        let node = dice.below(self.validators);
        let who = Who::Nodes(vec![node]);
        let back_ms = at_ms + 100 + dice.below(1_500) as u64;
        let kept_ppm = dice.below(1_000_001) as u32;
        let cut = |who: Who| Fault::PowerCut { who, kept_ppm };
        match dice.below(9) {
            0 | 1 => {
                self.push(at_ms, cut(who.clone()));
                self.push(back_ms, Fault::Start(who));
            }
            2 => {
                self.push(at_ms, cut(Who::All));
                self.push(back_ms, Fault::Start(Who::All));
            }
            3 => {
                let lost = !std::mem::replace(&mut self.wiped, true);
                let fault = if lost {
                    Fault::Wipe(who.clone())
                } else {
                    cut(who.clone())
                };
                self.push(at_ms, fault);
                self.push(back_ms, Fault::Start(who));
            }
            4 => {
                let left = 1 + dice.below((1 << self.validators) - 2);
                let left = (0..self.validators).filter(|place| left >> place & 1 == 1);
                self.push(at_ms, Fault::Partition(Who::Nodes(left.collect())));
                self.push(back_ms, Fault::Heal);
            }
            5 => {
                let to = (node + 1 + dice.below(self.validators - 1)) % self.validators;
                let to = Who::Nodes(vec![to]);
                self.push(at_ms, Fault::Cut { from: who, to });
                self.push(back_ms, Fault::Heal);
            }
            6 => {
                let by_ms = dice.below(180_001) as i64 - 90_000;
                self.push(
                    at_ms,
                    Fault::Clock {
                        who: who.clone(),
                        by_ms,
                    },
                );
                self.push(back_ms, Fault::Clock { who, by_ms: 0 });
            }
            7 => self.damage(dice, at_ms, back_ms, who),
            _ => {
                let (loss_ppm, latency_ms) =
                    (dice.below(400_000) as u32, 1 + dice.below(60) as u64);
                self.push(
                    at_ms,
                    Fault::Links {
                        loss_ppm,
                        latency_ms,
                    },
                );
                self.push(back_ms, Fault::Heal);
            }
        }
    }

    fn damage(&mut self, dice: &mut Dice, at_ms: u64, back_ms: u64, who: Who) {
        let store = [Store::Log, Store::Snapshot][dice.below(2)];
        let how = [Harm::TornTail, Harm::FlippedBit][dice.below(2)];
        self.push(at_ms, Fault::Kill(who.clone()));
        self.push(
            at_ms,
            Fault::Damage {
                who: who.clone(),
                store,
                how,
            },
        );
        self.push(back_ms, Fault::Start(who));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_its_plan_and_every_plan_is_valid() {
        assert_eq!(random(3), random(3));
        for seed in 0..500 {
            let plan = random(seed);
            let read = Plan::parse("random", &plan.to_toml());
            assert_eq!(read.expect("a valid plan"), plan);
        }
    }

    #[test]
    fn every_kind_of_trouble_comes_up() {
        let plans: Vec<Plan> = (0..200).map(random).collect();
        let kinds = [
            "power-cut",
            "wipe",
            "partition",
            "cut",
            "clock",
            "damage",
            "links",
            "start",
            "heal",
        ];
        for kind in kinds {
            assert!(
                plans
                    .iter()
                    .any(|plan| plan.has(|fault| fault.name() == kind)),
                "{kind}"
            );
        }
    }
}

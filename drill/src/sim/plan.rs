//! What goes wrong, and when.

use crate::market::Dice;

/// One thing that goes wrong, or right again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A validator dies; of what it had not synced, this many millionths survive.
    Crash {
        /// Which one.
        node: usize,
        /// How much of each file's loose end survives.
        kept_ppm: u32,
    },
    /// A dead validator's disk is lost.
    Wipe {
        /// Which one.
        node: usize,
    },
    /// A dead validator starts again.
    Start {
        /// Which one.
        node: usize,
    },
    /// The validators in the set (one bit each) and the others no longer hear each other.
    Partition {
        /// The set.
        left: u8,
    },
    /// One direction of one link is cut.
    CutOneWay {
        /// Who is not heard.
        from: usize,
        /// By whom.
        to: usize,
    },
    /// This part of all messages is lost, and the rest takes longer.
    Loss {
        /// Lost, in millionths.
        ppm: u32,
        /// Mean delay.
        latency_ms: u64,
    },
    /// All links are good again.
    Heal,
}

/// A fault and its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlannedFault {
    /// Simulated milliseconds after the start.
    pub at_ms: u64,
    /// What happens.
    pub fault: Fault,
}

/// A whole run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// How many validators.
    pub validators: usize,
    /// What happens, by time.
    pub faults: Vec<PlannedFault>,
    /// When faults end: links heal and dead validators start.
    pub faults_end_ms: u64,
    /// How long everything may take to settle after that.
    pub settle_ms_max: u64,
    /// Mean time between submitted commands while faults last.
    pub submit_every_ms: u64,
    /// Blocks between snapshots.
    pub snapshot_every: u64,
}

impl Plan {
    /// Nothing goes wrong.
    pub const fn calm() -> Self {
        Self {
            validators: 4,
            faults: Vec::new(),
            faults_end_ms: 2_000,
            settle_ms_max: 20_000,
            submit_every_ms: 80,
            snapshot_every: 7,
        }
    }

    /// The plan of a seed: one to five faults within three seconds. At most one disk is lost, and
    /// only while no other has been: the loss of more than f disks is another drill's subject.
    pub fn random(seed: u64) -> Self {
        let mut dice = Dice::at(seed, &[1]);
        let mut plan = Self {
            faults_end_ms: 3_000,
            snapshot_every: 3 + dice.below(12) as u64,
            ..Self::calm()
        };
        let mut wiped = false;
        for _ in 0..1 + dice.below(5) {
            let at_ms = 200 + dice.below(2_600) as u64;
            plan.add(&mut dice, at_ms, &mut wiped);
        }
        plan.faults.sort_by_key(|planned| planned.at_ms);
        plan
    }

    fn push(&mut self, at_ms: u64, fault: Fault) {
        self.faults.push(PlannedFault { at_ms, fault });
    }

    fn add(&mut self, dice: &mut Dice, at_ms: u64, wiped: &mut bool) {
        let node = dice.below(self.validators);
        let back_ms = at_ms + 100 + dice.below(1_500) as u64;
        let kept_ppm = dice.below(1_000_001) as u32;
        match dice.below(7) {
            0 | 1 => {
                self.push(at_ms, Fault::Crash { node, kept_ppm });
                self.push(back_ms, Fault::Start { node });
            }
            2 => {
                for node in 0..self.validators {
                    self.push(at_ms, Fault::Crash { node, kept_ppm });
                    self.push(back_ms, Fault::Start { node });
                }
            }
            3 => {
                self.push(at_ms, Fault::Crash { node, kept_ppm });
                if !std::mem::replace(wiped, true) {
                    self.push(at_ms, Fault::Wipe { node });
                }
                self.push(back_ms, Fault::Start { node });
            }
            4 => {
                let left = 1 + dice.below((1 << self.validators) - 2) as u8;
                self.push(at_ms, Fault::Partition { left });
                self.push(back_ms, Fault::Heal);
            }
            5 => {
                let to = (node + 1 + dice.below(self.validators - 1)) % self.validators;
                self.push(at_ms, Fault::CutOneWay { from: node, to });
                self.push(back_ms, Fault::Heal);
            }
            _ => {
                let (ppm, latency_ms) = (dice.below(400_000) as u32, 1 + dice.below(60) as u64);
                self.push(at_ms, Fault::Loss { ppm, latency_ms });
                self.push(back_ms, Fault::Heal);
            }
        }
    }
}

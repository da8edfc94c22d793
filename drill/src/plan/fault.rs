//! What goes wrong, or right again.

use serde::{Deserialize, Serialize};

use super::{Executor, Who};

/// What of a stopped validator's data is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Store {
    /// What it voted: consensus's journal.
    Votes,
    /// Finalized blocks in consensus's archive.
    Blocks,
    /// Their certificates in consensus's archive.
    Certificates,
    /// The block log of the engine.
    Log,
    /// The newest snapshot.
    Snapshot,
}

impl Store {
    /// As plans write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Votes => "votes",
            Self::Blocks => "blocks",
            Self::Certificates => "certificates",
            Self::Log => "log",
            Self::Snapshot => "snapshot",
        }
    }
}

/// How data is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Harm {
    /// The last bytes are missing: a write that a crash cut short.
    TornTail,
    /// One bit in the middle is another: what a disk does in silence.
    FlippedBit,
}

impl Harm {
    /// As plans write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TornTail => "torn-tail",
            Self::FlippedBit => "flipped-bit",
        }
    }
}

/// One thing that goes wrong, or right again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Fault {
    /// The process dies (SIGKILL). What it wrote, the system still has.
    Kill(Who),
    /// The machine loses power: of what was not synced, this many millionths of each file survive.
    PowerCut {
        /// Whose.
        who: Who,
        /// How much of each file's loose end survives, in millionths.
        kept_ppm: u32,
    },
    /// The process is halted with all it knows (SIGSTOP); in a simulation nobody hears it and it hears
    /// nobody.
    Stop(Who),
    /// A halted process goes on.
    Resume(Who),
    /// A dead validator starts again.
    Start(Who),
    /// A validator is killed, and its data folder is lost.
    Wipe(Who),
    /// Data folders are rebuilt from what was published, in a new consensus epoch.
    Recover(Who),
    /// These validators and the others no longer hear each other.
    Partition(Who),
    /// What one says the other no longer hears.
    Cut {
        /// Who is not heard.
        from: Who,
        /// By whom.
        to: Who,
    },
    /// All links between validators become slow and lossy.
    Links {
        /// Messages lost, in millionths. Over TCP a loss is a wait for the retransmission.
        #[serde(default)]
        loss_ppm: u32,
        /// Mean delay of one message.
        #[serde(default)]
        latency_ms: u64,
    },
    /// All links are good again.
    Heal,
    /// A dead validator's data is damaged.
    Damage {
        /// Whose.
        who: Who,
        /// What of it.
        store: Store,
        /// How.
        how: Harm,
    },
    /// A validator restarts with its clock off by so much; 0 sets it right.
    Clock {
        /// Whose.
        who: Who,
        /// Ahead, or behind if negative.
        by_ms: i64,
    },
    /// An order is sent that panics the engine. Test builds only.
    Poison,
    /// A command is sent on which this validator's engine does something else than the others'. Test
    /// builds only.
    Drift(Who),
    /// A validator restarts as a binary of another engine version. Test builds only.
    Outdate(Who),
    /// The maker's validator is killed as it leads, while the maker's quotes are under way to it.
    MakerDrops,
    /// More orders than the venue can take begin to come, beside the load.
    Storm {
        /// Orders a second on real processes.
        rate: u32,
        /// Orders a second in a simulation.
        simulated_rate: u32,
    },
    /// The storm is over.
    Calm,
}

impl Fault {
    /// As plans write it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Kill(_) => "kill",
            Self::PowerCut { .. } => "power-cut",
            Self::Stop(_) => "stop",
            Self::Resume(_) => "resume",
            Self::Start(_) => "start",
            Self::Wipe(_) => "wipe",
            Self::Recover(_) => "recover",
            Self::Partition(_) => "partition",
            Self::Cut { .. } => "cut",
            Self::Links { .. } => "links",
            Self::Heal => "heal",
            Self::Damage { .. } => "damage",
            Self::Clock { .. } => "clock",
            Self::Poison => "poison",
            Self::Drift(_) => "drift",
            Self::Outdate(_) => "outdate",
            Self::MakerDrops => "maker-drops",
            Self::Storm { .. } => "storm",
            Self::Calm => "calm",
        }
    }

    /// Whom it strikes, first of all.
    pub const fn who(&self) -> Option<&Who> {
        match self {
            Self::Kill(who)
            | Self::PowerCut { who, .. }
            | Self::Stop(who)
            | Self::Resume(who)
            | Self::Start(who)
            | Self::Wipe(who)
            | Self::Recover(who)
            | Self::Partition(who)
            | Self::Cut { from: who, .. }
            | Self::Damage { who, .. }
            | Self::Clock { who, .. }
            | Self::Drift(who)
            | Self::Outdate(who) => Some(who),
            Self::Links { .. }
            | Self::Heal
            | Self::Poison
            | Self::MakerDrops
            | Self::Storm { .. }
            | Self::Calm => None,
        }
    }

    /// Everybody it names.
    pub fn targets(&self) -> Vec<&Who> {
        let second = match self {
            Self::Cut { to, .. } => Some(to),
            _ => None,
        };
        self.who().into_iter().chain(second).collect()
    }

    /// Whether it is about links between validators.
    pub const fn is_of_links(&self) -> bool {
        matches!(
            self,
            Self::Partition(_) | Self::Cut { .. } | Self::Links { .. } | Self::Heal
        )
    }

    /// Whether `executor` can do it.
    pub const fn is_for(&self, executor: Executor) -> bool {
        match executor {
            // A killed process leaves what it wrote to the system: nothing unsynced is lost.
            Executor::Live => !matches!(self, Self::PowerCut { .. }),
            // Programs, published batches and connections of clients are no part of a simulation.
            Executor::Simulated => {
                !matches!(self, Self::Recover(_) | Self::Outdate(_) | Self::MakerDrops)
            }
        }
    }
}

/// A fault and its time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Planned {
    /// Milliseconds after the load began. One that falls due while an earlier one still takes its time
    /// follows at once.
    pub at_ms: u64,
    /// Up to so much later, by the seed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub jitter_ms: u64,
    /// What happens.
    pub what: Fault,
    /// Whether the time to the next accepted order is measured from here.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub measured: bool,
}

const fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Planned {
    /// A fault at a time.
    pub const fn at(at_ms: u64, what: Fault) -> Self {
        Self {
            at_ms,
            jitter_ms: 0,
            what,
            measured: false,
        }
    }
}

//! Ways to break a node on purpose, so that drills and their judges have something to find.
//!
//! **Owns** the feature `sabotage`'s hooks: a validator whose engine drifts, a binary that says that it
//! is of another version, and mutants, which are mistakes a programmer could make. Without the feature
//! every hook is a constant, and the shipped binary refuses to be built with it.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use lifeboat_engine::{Block, Command, command::Action};

use crate::block::ENGINE_VERSION;

/// Whether this build can be broken on purpose.
pub const SABOTAGE: bool = cfg!(feature = "sabotage");
/// Set in a validator's environment, its engine drifts at the first marked command.
pub const DRIFT_VARIABLE: &str = "LIFEBOAT_DRIFT";
/// Set in a validator's environment, it says that its engine has this version.
pub const VERSION_VARIABLE: &str = "LIFEBOAT_ENGINE_VERSION";
/// The label of an order that marks where an engine drifts.
pub const DRIFT_LABEL: &[u8] = b"drift";

/// A mistake that a programmer could make, and that the simulator must find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Mutant {
    /// A file is replaced without a sync: after a power cut the old one is back.
    SkippedSync = 1,
    /// A command is acknowledged when it is proposed, not when its block is final.
    EarlyAcknowledgement,
    /// The last command of a block is executed and its sender never told.
    LostAcknowledgement,
    /// The state depends on the order of a hash map.
    UnorderedMap,
}

impl Mutant {
    /// Every mutant.
    pub const ALL: [Self; 4] = [
        Self::SkippedSync,
        Self::EarlyAcknowledgement,
        Self::LostAcknowledgement,
        Self::UnorderedMap,
    ];
}

static MUTANT: AtomicU8 = AtomicU8::new(0);

/// Chooses the mutant of this process; does nothing without the feature.
pub fn select(mutant: Option<Mutant>) {
    MUTANT.store(mutant.map_or(0, |mutant| mutant as u8), Ordering::SeqCst);
}

/// Whether this process makes that mistake.
pub fn is(mutant: Mutant) -> bool {
    SABOTAGE && MUTANT.load(Ordering::Relaxed) == mutant as u8
}

/// The version of its rules that this process shows and accepts.
pub fn engine_version() -> u32 {
    #[cfg(feature = "sabotage")]
    {
        static VERSION: std::sync::OnceLock<u32> = std::sync::OnceLock::new();
        *VERSION.get_or_init(|| {
            let other = std::env::var(VERSION_VARIABLE).ok();
            other
                .and_then(|text| text.parse().ok())
                .unwrap_or(ENGINE_VERSION)
        })
    }
    #[cfg(not(feature = "sabotage"))]
    ENGINE_VERSION
}

/// Whether this process's environment asks its engine to drift.
pub fn drift_is_asked() -> bool {
    SABOTAGE && std::env::var_os(DRIFT_VARIABLE).is_some()
}

/// A drift that happens once.
#[derive(Debug, Default)]
pub struct Drift {
    armed: AtomicBool,
}

impl Drift {
    /// One that is to happen.
    pub const fn armed() -> Self {
        Self {
            armed: AtomicBool::new(true),
        }
    }

    /// The place of the marked command in a block, if this is where to drift: only the first time.
    pub fn strikes(&self, block: &Block) -> Option<u32> {
        if !SABOTAGE || !self.armed.load(Ordering::Relaxed) {
            return None;
        }
        let marked = |command: &Command| match command {
            Command::User(user) => match &user.payload.action {
                Action::PlaceOrder(order) => order.label == DRIFT_LABEL,
                _ => false,
            },
            Command::Validator(_) => false,
        };
        let place = block
            .commands
            .iter()
            .position(|checked| marked(checked.command()))?;
        let first = self.armed.swap(false, Ordering::SeqCst);
        first.then_some(place as u32)
    }
}

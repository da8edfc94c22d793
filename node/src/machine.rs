//! The border to the replicated state machine.
//!
//! **Owns** the narrow trait the executor drives. The engine implements it; simulations wrap the
//! engine to inject faults (a panic, a bit of nondeterminism) without a second node.

use std::any::Any;
use std::io;

use lifeboat_engine::params::ExitParameters;
use lifeboat_engine::types::{ChainId, Digest, Height, Mode, TimeMs};
use lifeboat_engine::{Advanced, Applied, Block, CheckedCommand, Command, Engine, Event};
use lifeboat_proof::exit::ExitCheckpoint;

use crate::exits;

use crate::sabotage::Drift;

/// A state that blocks are applied to.
pub trait Machine: Any + Send + Sync {
    /// Applies one block without computing its root. May panic on a broken invariant; its state is
    /// then worthless.
    fn advance(&mut self, block: &Block, events: &mut Vec<Event>) -> Advanced;

    /// Computes the state root.
    fn commit(&mut self) -> Digest;

    /// Applies one block. Panics as [`advance`](Self::advance) does.
    fn apply(&mut self, block: &Block, events: &mut Vec<Event>) -> Applied {
        let advanced = self.advance(block, events);
        advanced.with_root(self.commit())
    }

    /// Height and time of the last applied block, and the mode after it.
    fn position(&self) -> (Height, TimeMs, Mode);

    /// The state root at the last commit.
    fn state_root(&self) -> Digest;

    /// Writes the whole state.
    ///
    /// # Errors
    /// Those of `out`.
    fn write_snapshot(&self, out: &mut dyn io::Write) -> io::Result<()>;

    /// From now on the `index`-th command of block `height` is skipped.
    fn quarantine(&mut self, height: Height, index: u32);

    /// The exits of the state at the last commit; `None` where there is no vault.
    fn exits(&self) -> Option<ExitCheckpoint> {
        self.engine().and_then(exits::compute)
    }

    /// The engine inside, if there is one.
    fn engine(&self) -> Option<&Engine> {
        None
    }
}

/// Makes machines of one venue.
pub trait Blueprint: Send + Sync + 'static {
    /// Which venue.
    fn chain(&self) -> ChainId;

    /// Time of height 0.
    fn genesis_time(&self) -> TimeMs;

    /// When exits are worked out; `None` for a venue without a vault.
    fn exits(&self) -> Option<ExitParameters> {
        None
    }

    /// The state at height 0.
    fn genesis(&self) -> Box<dyn Machine>;

    /// The state a snapshot holds.
    ///
    /// # Errors
    /// When the bytes are not a snapshot, or cannot be read.
    fn restore(&self, snapshot: &mut dyn io::Read) -> io::Result<Box<dyn Machine>>;

    /// Where this node is to do something else than the others, for drills; nowhere.
    fn drift(&self) -> Option<&Drift> {
        None
    }

    /// Verifies signatures, many at once.
    fn check(&self, commands: Vec<Command>) -> Vec<CheckedCommand>;
}

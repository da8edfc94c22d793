//! Exits: worked out every so many blocks, carried by headers a while later, kept for those who leave.
//!
//! **Owns** the roots that this node worked out or found on disk, the files of the last checkpoints, and
//! the saved proofs made from them. The second machine (`shadow`) works them out, so that trading never
//! waits; a node without one does it in line. Which height's exits a header carries follows from the
//! height its state root is of. **Never** takes anybody's word for a root: a node that does not know
//! one yet abstains where it is new, and takes the parent block's where it is not.

mod archive;
mod file;
mod proof;
mod replay;

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::thread;

use lifeboat_engine::Engine;
use lifeboat_engine::params::ExitParameters;
use lifeboat_engine::types::{Digest, Height};
use lifeboat_proof::exit::{ExitBuilder, ExitCheckpoint, ExitPart};

use crate::block::Header;
use crate::signal::Signal;

pub use archive::{ExitArchive, Newest};
pub use file::{certified, kept, load, note_certified, save};
pub use proof::{BrokenProof, check};
pub use replay::{ProveError, Wanted, prove};

/// Roots that are remembered.
const ROOTS_KEPT: usize = 8;
/// Threads that work out one checkpoint.
const THREADS: u32 = 2;

/// When exits are due, and the roots this node knows.
#[derive(Debug)]
pub struct ExitBoard {
    rule: OnceLock<ExitParameters>,
    roots: Signal<BTreeMap<Height, Digest>>,
}

impl Default for ExitBoard {
    fn default() -> Self {
        Self {
            rule: OnceLock::new(),
            roots: Signal::new(BTreeMap::new()),
        }
    }
}

impl ExitBoard {
    /// Sets the venue's rule, once; without one nothing is ever due.
    pub fn set_rule(&self, rule: Option<ExitParameters>) {
        if let Some(rule) = rule {
            let _ = self.rule.set(rule);
        }
    }

    /// Whether exits are worked out after this height.
    pub fn is_due(&self, height: Height) -> bool {
        self.rule.get().is_some_and(|rule| rule.is_due(height))
    }

    /// The height whose exits go with the state after `executed`; 0 for none.
    pub fn height_for(&self, executed: Height) -> Height {
        let rule = self.rule.get();
        rule.map_or(Height::new(0), |rule| rule.height_for(executed))
    }

    /// Blocks that a validator has for working exits out; 0 without a rule.
    pub fn lag(&self) -> u64 {
        self.rule.get().map_or(0, |rule| rule.lag)
    }

    /// The last height before the one from which on `executed` carries the exits that it does.
    pub fn before(&self, executed: Height) -> Height {
        let first = self.height_for(executed).get().saturating_add(self.lag());
        Height::new(first.saturating_sub(1))
    }

    /// Notes a root that this node worked out.
    pub fn note(&self, height: Height, root: Digest) {
        self.roots.update(|roots| {
            roots.insert(height, root);
            if roots.len() > ROOTS_KEPT {
                roots.pop_first();
            }
        });
    }

    /// The root of the exits after `height`, if this node knows it; zero at 0.
    pub fn root_at(&self, height: Height) -> Option<Digest> {
        if height.get() == 0 {
            return Some(Digest::default());
        }
        self.roots.get().get(&height).copied()
    }

    /// The newest height whose root this node knows.
    pub fn newest(&self) -> Option<Height> {
        self.roots.get().keys().next_back().copied()
    }

    /// Resolves with the root of the exits after `height` once this node knows it.
    pub async fn known(&self, height: Height) -> Digest {
        if height.get() == 0 {
            return Digest::default();
        }
        let roots = self.roots.wait_for(|roots| roots.contains_key(&height));
        roots.await.get(&height).copied().unwrap_or_default()
    }

    /// The exit root that goes with `executed` in a child of `parent`, as far as it is known: the same
    /// as the parent's where both are of one height.
    pub fn for_child(&self, parent: &Header, executed: Height) -> Option<Digest> {
        let height = self.height_for(executed);
        if height == self.height_for(parent.executed) {
            return Some(parent.exit_root);
        }
        self.root_at(height)
    }
}

/// The exits of an engine's state, on two cores; `None` for a venue without a vault.
pub fn compute(engine: &Engine) -> Option<ExitCheckpoint> {
    let builder = ExitBuilder::new(engine)?;
    let builder = &builder;
    let parts: Vec<ExitPart> = thread::scope(|scope| {
        let each = |ids| scope.spawn(move || builder.part(ids));
        let threads: Vec<_> = builder.ranges(THREADS).into_iter().map(each).collect();
        let joined = threads.into_iter().map(|thread| thread.join());
        joined
            .map(|part| part.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    Some(builder.finish(parts))
}

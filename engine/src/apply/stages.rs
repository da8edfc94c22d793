//! A block's stages one by one, for benchmarks that time them apart. Only with the feature
//! `unchecked`, which a node is never built with.

use alloc::vec::Vec;

use super::Engine;
use crate::block::{Block, CheckedCommand};
use crate::event::Event;
use crate::types::{AccountId, Digest, TimeMs, UnderlyingId};

impl Engine {
    /// The first stage of [`Engine::apply`]: the next height at `time`, and what time alone causes.
    pub fn begin_stage(&mut self, time: TimeMs, events: &mut Vec<Event>) {
        let block = Block {
            height: self.height.next(),
            time,
            agreed: None,
            commands: Vec::new(),
        };
        self.begin_block(&block, events);
    }

    /// The second stage: the commands of the block.
    pub fn commands_stage(&mut self, commands: &[CheckedCommand], events: &mut Vec<Event>) {
        self.run_all(commands, events);
    }

    /// One command of the second stage.
    #[inline(never)]
    pub fn command_stage(&mut self, at: u32, command: &CheckedCommand, events: &mut Vec<Event>) {
        self.run(at, command, events);
    }

    /// The last stage: the state root after the block.
    pub fn root_stage(&mut self) -> Digest {
        self.commit()
    }

    /// Part of a mark tick: surfaces and marks. Returns how many instruments were marked.
    pub fn marks_stage(&mut self, underlying: UnderlyingId) -> u32 {
        self.update_marks(underlying)
    }

    /// Part of a mark tick: every instrument's value in every scenario.
    pub fn margin_rows_stage(&mut self, underlying: UnderlyingId) {
        self.update_margin_rows(underlying);
    }

    /// Part of a mark tick: the maintenance margin of every account, whatever is known of it. Fills
    /// `out` with those below.
    pub fn maintenance_stage(&mut self, out: &mut Vec<AccountId>) {
        out.clear();
        self.forget_all_reserves();
        self.under_maintenance(out);
    }
}

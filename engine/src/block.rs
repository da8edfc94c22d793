//! What consensus hands to the engine, and what the engine hands back.

use alloc::vec::Vec;

use crate::command::Command;
use crate::types::{Digest, Height, Mode, TimeMs};

/// A command whose signature has been looked at. Only `auth` makes one, so the engine never
/// applies a command on anybody's word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedCommand {
    command: Command,
    signature_valid: bool,
}

impl CheckedCommand {
    pub(crate) const fn new(command: Command, signature_valid: bool) -> Self {
        Self {
            command,
            signature_valid,
        }
    }

    /// The command.
    pub const fn command(&self) -> &Command {
        &self.command
    }

    /// Whether its signature verifies. A block may carry one that does not: it is refused with
    /// `BadSignature` on every replica alike.
    pub const fn signature_valid(&self) -> bool {
        self.signature_valid
    }
}

/// A root that a quorum agreed on: the block's own header carries it, so its certificate covers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AgreedRoot {
    /// The height after which the state had this root.
    pub height: Height,
    /// The root.
    pub root: Digest,
}

/// An ordered batch of commands with one agreed time.
#[derive(Clone, Debug)]
pub struct Block {
    /// One more than the last block's.
    pub height: Height,
    /// Agreed time; the engine uses `max(time, last time)`, so time never runs backwards.
    pub time: TimeMs,
    /// What the header says was agreed about an earlier height.
    pub agreed: Option<AgreedRoot>,
    /// The commands in their final order.
    pub commands: Vec<CheckedCommand>,
}

/// The result of applying one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The block's height.
    pub height: Height,
    /// The block's time as the engine took it.
    pub time: TimeMs,
    /// Sequence number of the block's first event; events are numbered from 1 without gaps.
    pub first_event: u64,
    /// The mode after the block.
    pub mode: Mode,
    /// The state root after the block.
    pub state_root: Digest,
}

//! What consensus hands to the engine, and what the engine hands back.

use alloc::vec::Vec;

use crate::command::Command;
use crate::types::{Address, Digest, Height, Mode, PublicKey, TimeMs};

/// Who signed a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signer {
    /// A session key.
    Session(PublicKey),
    /// An owner key, recovered from the signature.
    Owner(Address),
    /// A validator's command key.
    Validator(PublicKey),
}

/// A command whose signature has been looked at. Only `auth` makes one, so the engine never
/// applies a command on anybody's word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedCommand {
    command: Command,
    signer: Option<Signer>,
}

impl CheckedCommand {
    pub(crate) const fn new(command: Command, signer: Option<Signer>) -> Self {
        Self { command, signer }
    }

    /// A command on the caller's word, for benchmarks and simulations that measure or vary
    /// everything but signatures. A node must never be built with the feature `unchecked`.
    #[cfg(feature = "unchecked")]
    pub const fn unchecked(command: Command, signer: Option<Signer>) -> Self {
        Self::new(command, signer)
    }

    /// The command.
    pub const fn command(&self) -> &Command {
        &self.command
    }

    /// The key whose signature verified; `None` if none did. A block may carry such a command: it
    /// is refused with `BadSignature` on every replica alike.
    pub const fn signer(&self) -> Option<Signer> {
        self.signer
    }

    /// The same without a copy, for the hot path.
    pub(crate) const fn signer_ref(&self) -> Option<&Signer> {
        self.signer.as_ref()
    }

    /// The command without its check.
    pub fn into_command(self) -> Command {
        self.command
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

/// The result of advancing by one block, without its root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advanced {
    /// The block's height.
    pub height: Height,
    /// The block's time as the engine took it.
    pub time: TimeMs,
    /// Sequence number of the block's first event; events are numbered from 1 without gaps.
    pub first_event: u64,
    /// The mode after the block.
    pub mode: Mode,
}

impl Advanced {
    /// The same with the state root after the block.
    pub const fn with_root(self, state_root: Digest) -> Applied {
        Applied {
            height: self.height,
            time: self.time,
            first_event: self.first_event,
            mode: self.mode,
            state_root,
        }
    }
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

//! Frames.

use borsh::{BorshDeserialize, BorshSerialize};
use lifeboat_engine::types::{Digest, Height, Mode, TimeMs};
use lifeboat_engine::{Command, Reject};

use crate::handle::Status;
use crate::outcome::{Answer, Outcome};
use crate::shared::AppliedBlock;

/// Bytes of one frame without its length.
pub const FRAME_BYTES_MAX: usize = 1 << 20;
/// Requests of one connection that may be unanswered.
pub const IN_FLIGHT_MAX: usize = 32_768;

/// From a client.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Request {
    /// Submits a command. The client chooses `id`; the answer carries it.
    Submit {
        /// The client's number for this request.
        id: u64,
        /// The command.
        command: Command,
    },
    /// Submits many commands; each has its own answer, with ids counting up from `first_id`.
    SubmitBatch {
        /// The first command's id.
        first_id: u64,
        /// The commands.
        commands: Vec<Command>,
    },
    /// Asks how the node is doing.
    Status,
    /// Asks for a summary of every block from now on.
    Watch,
    /// Asks for the outcome of a command executed lately, by keccak256 of its encoding.
    FetchOutcome {
        /// The client's number for this request.
        id: u64,
        /// The command's key.
        key: Digest,
    },
}

/// To a client.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Reply {
    /// The command was executed.
    Outcome {
        /// The request's id.
        id: u64,
        /// What was done.
        outcome: Outcome,
    },
    /// The command was refused before it was ordered; it will not execute.
    Refused {
        /// The request's id.
        id: u64,
        /// Why.
        reject: Reject,
    },
    /// There was no room; the command will not execute unless sent again.
    Busy {
        /// The request's id.
        id: u64,
    },
    /// Its `valid_until` passed before it was ordered; it will never execute.
    Expired {
        /// The request's id.
        id: u64,
        /// The block whose time passed it.
        height: Height,
    },
    /// Its fate is open; for [`Request::FetchOutcome`]: not executed lately.
    Unknown {
        /// The request's id.
        id: u64,
    },
    /// How the node is doing.
    Status(Status),
    /// A block was applied.
    Block(BlockSummary),
    /// The request could not be read; the connection closes.
    Malformed,
    /// The node serves as many connections as it may; this one closes, and nothing of it was read.
    Full,
}

/// An applied block in short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct BlockSummary {
    /// Its height.
    pub height: Height,
    /// Its agreed time.
    pub time: TimeMs,
    /// The state root after it.
    pub root: Digest,
    /// The mode after it.
    pub mode: Mode,
    /// Its commands.
    pub commands: u32,
    /// Its events.
    pub events: u32,
    /// Blocks that this client missed before it because it read too slowly.
    pub missed: u64,
}

impl BlockSummary {
    /// Sums up a block.
    pub fn new(block: &AppliedBlock, missed: u64) -> Self {
        Self {
            height: block.applied.height,
            time: block.applied.time,
            root: block.applied.state_root,
            mode: block.applied.mode,
            commands: block.body.commands().len() as u32,
            events: block.events.len() as u32,
            missed,
        }
    }
}

impl Reply {
    /// The reply that carries an answer.
    pub fn from_answer(id: u64, answer: Answer) -> Self {
        match answer {
            Answer::Outcome(outcome) => Self::Outcome {
                id,
                outcome: (*outcome).clone(),
            },
            Answer::Refused(reject) => Self::Refused { id, reject },
            Answer::Busy => Self::Busy { id },
            Answer::Expired { height } => Self::Expired { id, height },
            Answer::Unknown => Self::Unknown { id },
        }
    }

    /// The request that it answers.
    pub const fn id(&self) -> Option<u64> {
        match self {
            Self::Outcome { id, .. }
            | Self::Refused { id, .. }
            | Self::Busy { id }
            | Self::Expired { id, .. }
            | Self::Unknown { id } => Some(*id),
            Self::Status(_) | Self::Block(_) | Self::Malformed | Self::Full => None,
        }
    }
}

/// Appends a frame to `out`.
pub fn encode_frame(message: &impl BorshSerialize, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    // Writing into a Vec cannot fail; an impossible error would send a frame that is refused.
    let _ = message.serialize(out);
    let len = (out.len() - start - 4) as u32;
    out[start..start + 4].copy_from_slice(&len.to_le_bytes());
}

//! What a submitter learns about a command.
//!
//! **Owns** the answer types and how an outcome is read from a block's events. An answer is final or
//! says plainly that the fate is open; nothing is ever answered before its block is finalized and
//! executed (I3).

use std::fmt;
use std::sync::Arc;

use borsh::{BorshDeserialize, BorshSerialize};
use lifeboat_engine::types::{Height, TimeMs};
use lifeboat_engine::{Event, Reject};
use tokio::sync::{mpsc, oneshot};

/// Events of one command that an outcome carries; the rest is in the block.
pub const OUTCOME_EVENTS_MAX: usize = 32;

/// What the engine did with a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Verdict {
    /// It was done.
    Applied,
    /// It was refused and left no trace.
    Rejected(Reject),
    /// It broke the engine, was quarantined and left no trace.
    Quarantined,
}

/// The outcome of an executed command.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Outcome {
    /// The block's height.
    pub height: Height,
    /// The block's time.
    pub time: TimeMs,
    /// The command's place in the block.
    pub index: u32,
    /// What was done.
    pub verdict: Verdict,
    /// The sequence number of the command's first event.
    pub first_event: u64,
    /// How many events it caused.
    pub events_total: u32,
    /// The first of them, kept only while somebody waits for the outcome.
    pub events: Vec<Event>,
}

/// The answer to a submission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It was executed.
    Outcome(Arc<Outcome>),
    /// It was refused before it was ordered: malformed or badly signed.
    Refused(Reject),
    /// There is no room; it was not taken and will not execute unless sent again.
    Busy,
    /// Its `valid_until` passed before it was ordered; it will never execute.
    Expired {
        /// The block whose time passed it.
        height: Height,
    },
    /// Its fate is open: the node is stopping. It may still execute.
    Unknown,
}

/// Somebody who waits for an answer.
pub enum Waiter {
    /// One call.
    Once(oneshot::Sender<Answer>),
    /// One of many on a connection, told apart by its number.
    Tagged(u64, mpsc::UnboundedSender<(u64, Answer)>),
}

impl fmt::Debug for Waiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Waiter")
    }
}

impl Waiter {
    /// Hands over the answer; nobody listening any more is no error.
    pub fn answer(self, answer: Answer) {
        match self {
            Self::Once(sender) => drop(sender.send(answer)),
            Self::Tagged(id, sender) => drop(sender.send((id, answer))),
        }
    }
}

/// Where one command's part of a block's events lies.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// What was done.
    pub verdict: Verdict,
    /// Position of its first own event.
    pub start: usize,
    /// Position after its last own event.
    pub end: usize,
}

/// Splits a block's events by command: block-level events come first, then each command's marker
/// and what followed. A command without a marker is `None`.
pub fn spans(events: &[Event], commands: usize) -> Vec<Option<Span>> {
    let mut spans: Vec<Option<Span>> = vec![None; commands];
    let mut open: Option<(usize, Verdict, usize)> = None;
    for (position, event) in events.iter().enumerate() {
        let marker = match event {
            Event::CommandApplied { index } => Some((*index, Verdict::Applied)),
            Event::CommandRejected { index, reject } => Some((*index, Verdict::Rejected(*reject))),
            Event::CommandQuarantined { index } => Some((*index, Verdict::Quarantined)),
            _ => None,
        };
        if let Some((index, verdict)) = marker {
            close(&mut spans, open.take(), position);
            open = Some((index as usize, verdict, position + 1));
        }
    }
    close(&mut spans, open, events.len());
    spans
}

fn close(spans: &mut [Option<Span>], open: Option<(usize, Verdict, usize)>, end: usize) {
    if let Some((index, verdict, start)) = open
        && let Some(slot) = spans.get_mut(index)
    {
        *slot = Some(Span {
            verdict,
            start,
            end,
        });
    }
}

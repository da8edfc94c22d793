//! Commands that broke the engine, by block height and place.
//!
//! **Owns** the list on disk and the search for the guilty command. Every replica finds the same one,
//! because a panic depends on state and block alone.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use lifeboat_engine::Block;
use lifeboat_engine::limits::QUARANTINE_MAX;
use lifeboat_engine::types::Height;

use crate::files::Files;
use crate::machine::Blueprint;

const FILE: &str = "quarantine.bin";

/// The list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quarantine {
    entries: Vec<(Height, u32)>,
}

impl Quarantine {
    /// Reads the list; empty if there is none.
    ///
    /// # Errors
    /// When the file cannot be read or is damaged.
    pub fn load(files: &dyn Files) -> io::Result<Self> {
        let entries = match files.read(FILE)? {
            Some(bytes) => borsh::from_slice(&bytes)?,
            None => Vec::new(),
        };
        Ok(Self { entries })
    }

    /// Adds a command, durably.
    ///
    /// # Errors
    /// When the list is full or the disk fails.
    pub fn add(&mut self, files: &dyn Files, height: Height, index: u32) -> io::Result<()> {
        if self.entries.len() >= QUARANTINE_MAX {
            return Err(io::Error::other("the quarantine list is full"));
        }
        self.entries.push((height, index));
        files.replace(FILE, &borsh::to_vec(&self.entries)?)
    }

    /// The quarantined places of one block.
    pub fn of(&self, height: Height) -> impl Iterator<Item = u32> + '_ {
        let entries = self.entries.iter();
        entries
            .filter(move |(at, _)| *at == height)
            .map(|(_, index)| *index)
    }
}

/// What a panic said.
pub fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".to_owned())
}

/// The first command of `block` without which the commands before it apply cleanly; `None` if the
/// block panics without any command, or does not panic at all.
pub fn find_guilty(
    blueprint: &dyn Blueprint,
    state: &[u8],
    skipped: &[u32],
    block: &Block,
) -> io::Result<Option<u32>> {
    let panics = |commands: usize| -> io::Result<bool> {
        let mut machine = blueprint.restore(&mut &*state)?;
        for index in skipped {
            machine.quarantine(block.height, *index);
        }
        let mut prefix = block.clone();
        prefix.commands.truncate(commands);
        let run = AssertUnwindSafe(|| {
            machine.apply(&prefix, &mut Vec::new());
        });
        Ok(catch_unwind(run).is_err())
    };
    if panics(0)? || !panics(block.commands.len())? {
        return Ok(None);
    }
    let (mut clean, mut broken) = (0, block.commands.len());
    while broken - clean > 1 {
        let middle = clean + (broken - clean) / 2;
        if panics(middle)? {
            broken = middle;
        } else {
            clean = middle;
        }
    }
    Ok(u32::try_from(clean).ok())
}

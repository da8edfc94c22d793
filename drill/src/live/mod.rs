//! Drills and measurements on real processes: validators started from the shipped binary, killed
//! with the operating system's own signals, under load from outside.
//!
//! **Owns** the fleet of processes, the load on it, the links between them, the faults of a plan, and
//! the judgement from what is left on disk: I1, I2, I3 and I8 are checked in every validator's block log after each run. **Never** looks
//! into a running validator other than through its ingress, and never kills what it did not start.

mod background;
mod bench;
mod connection;
mod cpu;
mod damage;
mod execute;
mod fleet;
mod holders;
mod judge;
mod links;
mod load;
mod maker;
mod process;
mod quiet;
mod quotes;
mod scene;
mod storm;
mod strike;
mod survey;

pub use background::{BackgroundReport, BackgroundSettings, Work, background};
pub use bench::{BenchReport, BenchSettings, Throughput, bench};
pub use execute::execute;
pub use fleet::{Fleet, FleetError, FleetSettings, leader_of};
pub use holders::{Holders, QUOTERS as HOLDER_QUOTERS, traded};
pub use links::{Links, Way};
pub use load::{Fate, Load, LoadDriver, Pace, Ready, Record};
pub use process::{Process, ProcessError};
pub use scene::{DrillError, DrillSettings, Tell, open_venue};
pub use storm::placed;
pub use survey::{lasting, targets};

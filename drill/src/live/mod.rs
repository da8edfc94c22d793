//! Drills and measurements on real processes: validators started from the shipped binary, killed
//! with the operating system's own signals, under load from outside.
//!
//! **Owns** the fleet of processes, the load on it, the faults, and the judgement from what is left on
//! disk: I1, I2, I3 and I8 are checked in every validator's block log after each run. **Never** looks
//! into a running validator other than through its ingress, and never kills what it did not start.

mod process;
mod report;

pub use process::{Process, ProcessError};
pub use report::{Drill, DrillReport, Figures, RootAt};

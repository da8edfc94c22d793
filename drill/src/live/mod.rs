//! Drills and measurements on real processes: validators started from the shipped binary, killed
//! with the operating system's own signals, under load from outside.
//!
//! **Owns** the fleet of processes, the load on it, the faults, and the judgement from what is left on
//! disk: I1, I2, I3 and I8 are checked in every validator's block log after each run. **Never** looks
//! into a running validator other than through its ingress, and never kills what it did not start.

mod bench;
mod connection;
mod cpu;
mod fleet;
mod judge;
mod leader;
mod load;
mod maker;
mod outage;
mod process;
mod rebuilt;
mod report;
mod scene;
mod survey;

pub use bench::{BenchReport, BenchSettings, Throughput, bench};
pub use fleet::{Fleet, FleetError, FleetSettings, leader_of};
pub use judge::judge;
pub use load::{Fate, Load, LoadDriver, Pace, Ready, Record};
pub use process::{Process, ProcessError};
pub use report::{Drill, DrillReport, Figures, RootAt};
pub use scene::{DrillError, DrillSettings, Tell, open_venue};

/// Carries out a drill; `tell` hears what is going on.
///
/// # Errors
/// When it could not be carried out. What it found is in the report.
pub fn run(drill: Drill, settings: &DrillSettings, tell: Tell) -> Result<DrillReport, DrillError> {
    match drill {
        Drill::LeaderKilled => leader::leader_killed(settings, tell),
        Drill::OldLeaderReturns => leader::old_leader_returns(settings, tell),
        Drill::MakerDrops => maker::maker_drops(settings, tell),
        Drill::AllFour => outage::all_four(settings, tell),
        Drill::Wiped => outage::wiped(settings, tell),
        Drill::EveryDiskLost => rebuilt::every_disk_lost(settings, tell),
        Drill::TwoOfFour => outage::two_of_four(settings, tell),
    }
}

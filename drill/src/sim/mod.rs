//! Faults by the seed: four validators of the production node under the seeded runtime, with
//! crashes, lost disks, partitions and message loss, and what must hold throughout.
//!
//! **Owns** plans, their execution and the checks: the same root at the same height (I2), no
//! acknowledged command lost and none applied twice (I3), and that everything goes on after the
//! faults end. A seed names its plan and its run; a failing one is reproduced by its number alone.

mod check;
mod plan;
mod simulate;

pub use plan::{Fault, Plan, PlannedFault};
pub use simulate::{Report, reproduce_command, simulate};

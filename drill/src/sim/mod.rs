//! Plans under a seeded runtime: validators of the production node over a simulated network, clock and
//! disk, a thousand runs in minutes.
//!
//! **Owns** the simulated executor of plans and what must hold throughout: the same root at the same
//! height (I2), no acknowledged command lost and none applied twice (I3), books that balance (I1, I8),
//! the modes that the plan expects, and that everything goes on after the faults end. A plan and its
//! seed name a run; the same name gives the same run. **Never** measures processor time: a second here
//! is a simulated second.

mod check;
mod links;
mod simulate;
mod stage;
mod sweep;

pub use simulate::{Simulated, refuses, simulate};
pub use sweep::{Broken, Sweep, sweep};

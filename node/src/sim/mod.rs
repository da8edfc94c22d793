//! A venue's validators in one process under a seeded runtime: the production node over a simulated
//! network, clock and disk. The same seed gives the same run.
//!
//! **Owns** starting, crashing, wiping and cutting off nodes, and [`Tally`], a state machine small
//! enough for thousands of runs. Plans of faults and what must hold live in `drill`.

mod cluster;
mod tally;

pub use cluster::{Cluster, ClusterConfig, LinkQuality, cluster_seal_key, run};
pub use tally::{Tally, TallyBlueprint, user_command};

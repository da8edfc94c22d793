//! Exit leaves, ladders, the safe range and the summary.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::expect_used
)]

#[path = "exit/law.rs"]
mod law;
#[path = "exit/safe_range.rs"]
mod safe_range;
#[path = "exit/trees.rs"]
mod trees;
#[path = "exit/vectors.rs"]
mod vectors;
#[path = "exit/venue.rs"]
mod venue;

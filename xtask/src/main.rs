//! The repository's own checks and tasks.
fn main() {}

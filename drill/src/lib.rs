//! Simulator, fault injection, drills, checkers and slow reference models.

pub mod live;
pub mod log_audit;
pub mod market;
pub mod rehearsal;
pub mod sim;
pub mod twin;

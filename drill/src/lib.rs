//! Simulator, fault injection, drills, checkers and slow reference models.

pub mod market;
pub mod rehearsal;
pub mod twin;

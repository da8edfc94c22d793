//! Simulator, fault injection, drills, checkers and slow reference models.

pub mod market;

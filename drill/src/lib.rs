//! Simulator, fault injection, drills, checkers and slow reference models.

pub mod backtest;
pub mod days;
pub mod evidence;
pub mod live;
pub mod log_audit;
pub mod market;
pub mod plan;
pub mod rehearsal;
pub mod sim;
pub mod twin;

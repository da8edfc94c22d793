//! Breakers: what stops continuous trading, and why.
//!
//! **Owns** the figures (how fast the volatility index moves beside its own history, how far the price
//! went beside what was implied and beside what is usual, whether sources agree, whether the book is there,
//! what leaves, whether the books add up), the bounds they are held to, and the memory that both need. Pure:
//! it is handed readings and answers with verdicts.
//!
//! **Never** acts, and never trips on price alone: a price move that the options market takes calmly is
//! a market that works. Nor does it trip without the history its parameters ask for; the history is part
//! of the state, so a restart keeps it.

mod average;
mod circuit;
mod kind;
mod parameters;
mod series;
mod session;
mod underlying;
mod venue;

#[cfg(test)]
mod tests;

pub use circuit::Circuit;
pub use kind::{Breaker, Trip, Verdict};
pub use parameters::{BreakerParameters, Rule};
pub use series::{Sample, Series};
pub use underlying::{Agreement, Reading, UnderlyingWatch};
pub use venue::VenueWatch;

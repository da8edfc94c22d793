//! The reopening auction: one price for everybody, from orders that nobody could read while they came.
//!
//! **Owns** the rule of the price (`clearing`), what an auction remembers (`state`) and how an order is
//! sealed (`seal`). **Never** touches an account or a book: `apply::auction` does, by what is decided
//! here.
//!
//! Invariants: I4 (kept orders keep their places), I7.

mod clearing;
mod seal;
mod state;

#[cfg(test)]
mod tests;

pub use clearing::{Band, Clearing, Level, Reference, clear};
pub use seal::{
    CIPHERTEXT_BYTES, SEAL_NAMESPACE, SealBroken, SealKey, SealSignature, SealedTerms,
    TARGET_BYTES, open, seal, seal_target, verify_opening,
};
pub use state::{Auction, Auctions, Phase, Seal};

//! Index prices and expiry settlement.
//!
//! **Owns** what validators observed, the index made of it, the forwards, and the samples that a
//! settlement price is the mean of. **Never** invents a price: with too few good sources there is
//! none. Invariant I5.

mod index;
mod samples;

pub use index::{IndexFeed, IndexPrice, capped_median_mean};
pub use samples::{Samples, Settlement};

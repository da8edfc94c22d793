//! Index prices and expiry settlement.
//!
//! **Owns** what validators observed, the index made of it, the forwards, and the samples that a
//! settlement price is the mean of. **Never** invents a price: with too few good sources there is
//! none. Invariant I5.

mod index;
mod samples;
mod sources;

pub use index::{IndexFault, IndexFeed, IndexPrice, TickRules, capped_median_mean};
pub use samples::{Samples, Settlement};
pub use sources::{Sighting, SourceDoubt};

use crate::types::UnderlyingId;

/// What observations of the settlement stablecoin's price in dollars go by. No underlying has this id.
pub const STABLE: UnderlyingId = UnderlyingId::new(u8::MAX);

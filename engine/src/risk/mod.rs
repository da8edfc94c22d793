//! Margin: what an account must hold against what it could lose.
//!
//! **Owns** the two margin models (portfolio margin, PM2, and standard margin), the integer values of
//! every instrument in every scenario, and the caches that make a check of a new order a few dozen
//! integer lanes.
//!
//! **Never** holds state: everything here follows from parameters, prices and the ledger, and is
//! rebuilt from them after a restart. It neither reads the ledger nor moves money; the caller hands
//! in holdings and cash. Floats stay in [`crate::pricing`]; from there on all is integer, so that
//! every vector width gives the same answer.
//!
//! **The bound for open orders.** Let `f(P)` be the profit or loss of positions `P` in one scenario.
//! Sums over an expiry are linear; its result is the lower of two such sums, so `f` is concave and
//! `f(k·P) = k·f(P)` for k ≥ 0, hence `f(P + Q) ≥ f(P) + f(Q)`. An order of n lots of which any
//! part fills adds at least `n·min(0, f(one lot))`; these vectors are summed over an account's open
//! orders. The two skew scenarios count `−|f|` per expiry; from `f(P) + f(Q) ≤ f(P + Q) ≤ f(P) − f(−Q)`
//! follows `|f(P + Q)| ≤ |f(P)| + max(|f(Q)|, |f(−Q)|)`, which is what an order adds there. The bound
//! is never above the truth for any set of fills, and equal to it without open orders.

mod account;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod book;
mod drift;
mod evaluate;
mod lanes;
mod market;
mod orders;
mod parameters;
mod reserve;
mod row;
mod standard;

pub use book::{RiskBook, RiskError};
pub use evaluate::Margin;
pub(crate) use evaluate::Workspace;
pub use lanes::{
    LANE_FORWARD, LANE_MARK, LANE_SKEW, LANES, LANES_SCENARIO, Lanes, Pair, SKEW_SCENARIOS_MAX,
    SPOT_SCENARIOS_MAX, Width,
};
pub use market::{
    CollateralTerms, ExpiryState, Holding, InstrumentKind, InstrumentTerms, Settled,
    UnderlyingState, VolMark,
};
pub use orders::{AccountCheck, OpenChange, OrderCheck, PositionChange};
pub use parameters::{
    BasisParameters, ContingencyParameters, LossParameters, ParameterError, Pm2Parameters, Ratio,
    Scenario, SkewParameters, StandardParameters, VolShock, VolShockParameters,
};
pub use row::InstrumentRow;

/// Steps of values per lot in one cash unit (1e-6 USDC).
pub const SUBUNITS: i64 = 1 << SUBUNIT_BITS;
/// As a shift.
pub(crate) const SUBUNIT_BITS: u32 = 8;
/// Largest value per lot in sub-units, either way: 17.6 M USDC.
pub const ROW_MAX: i64 = 1 << 52;

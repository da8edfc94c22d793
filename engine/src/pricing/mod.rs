//! Option pricing: the only module in which floating point may appear.
//!
//! **Owns** the venue's exp, ln, square root and normal distribution, Black-76 and its greeks, the
//! scenario kernel of portfolio margin, implied volatility, the smoothed volatility surfaces that marks
//! come from, and the volatility index.
//!
//! **Guarantees** the same bits on every target and at every vector width: only IEEE 754 binary64
//! add, subtract, multiply, divide and square root, in a fixed order, with no fused multiply-add and
//! no library function. No input, NaN and infinities included, gives a NaN or an infinity: arguments
//! outside a function's domain are moved to its nearest bound.
//!
//! **Never** lets a float into state: results are rounded to integers at the border (`rounding`),
//! surfaces are kept as integers.
//!
//! Invariants: I2 (the same root everywhere) rests on the digest test of this module.

pub mod batch;
pub mod black76;
pub mod float;
pub mod implied;
pub mod mark;
pub mod moves;
pub mod normal;
pub mod rounding;
pub mod scenario;
mod strikes;
pub mod surface;
#[cfg(test)]
mod tests;
pub mod variance;
pub mod volatility;
pub mod width;

pub use batch::{Black76Columns, GreekColumns, ScenarioGrid, ScenarioOption};
pub use black76::{Black76, Greeks, Values, black76};
pub use implied::implied_volatility;
pub use mark::{ExpiryView, Mark, discount_ppb};
pub use strikes::strikes;
pub use surface::{EarlierExpiry, Quote, Surface, SurfaceParameters};
pub use width::Width;

//! Money, price and size. Fixed point in `i64`, products in `i128`, every operation checked.

use borsh::{BorshDeserialize, BorshSerialize};
use core::fmt;

/// Which way a division goes. What the venue owes rounds [`Down`](Rounding::Down), what it is owed
/// rounds [`Up`](Rounding::Up).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    /// Towards minus infinity.
    Down,
    /// Towards plus infinity.
    Up,
}

/// A value that does not fit its unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnitError {
    /// The result is outside the unit's range.
    Overflow,
    /// The price is not a whole number of ticks, or not positive.
    OffTick,
    /// The size is not a whole number of lots, or not positive.
    OffLot,
}

macro_rules! unit {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash,
            BorshSerialize, BorshDeserialize,
        )]
        #[repr(transparent)]
        pub struct $name($inner);

        impl $name {
            /// Nothing.
            pub const ZERO: Self = Self(0);
            /// The largest value.
            pub const MAX: Self = Self(<$inner>::MAX);

            /// Wraps a raw amount of the unit's smallest step.
            #[inline]
            pub const fn new(raw: $inner) -> Self {
                Self(raw)
            }

            /// The raw amount in the unit's smallest step.
            #[inline]
            pub const fn get(self) -> $inner {
                self.0
            }

            /// Sum, or `None` when it leaves the range.
            #[inline]
            pub const fn checked_add(self, other: Self) -> Option<Self> {
                match self.0.checked_add(other.0) {
                    Some(raw) => Some(Self(raw)),
                    None => None,
                }
            }

            /// Difference, or `None` when it leaves the range.
            #[inline]
            pub const fn checked_sub(self, other: Self) -> Option<Self> {
                match self.0.checked_sub(other.0) {
                    Some(raw) => Some(Self(raw)),
                    None => None,
                }
            }

            /// Whether this is zero.
            #[inline]
            pub const fn is_zero(self) -> bool {
                self.0 == 0
            }
        }
    };
}

unit!(/// An amount of USDC in 1e-6 USDC, the token's own unit. Range ±9.2e12 USDC.
    Cash(i64));
unit!(/// USDC for one coin, in 1e-6 USDC. Range ±9.2e12 USDC.
    Price(i64));
unit!(/// An amount of coin in 1e-8 coin. Range ±9.2e10 coins.
    Qty(i64));
unit!(/// A price as a whole number of its instrument's ticks. `1..=PRICE_TICKS_MAX`.
    PriceTicks(u32));
unit!(/// A size as a whole number of its instrument's lots. `1..=ORDER_LOTS_MAX`.
    Lots(u32));

impl Cash {
    /// `-self`; `None` only for the most negative value.
    #[inline]
    pub const fn checked_neg(self) -> Option<Self> {
        match self.0.checked_neg() {
            Some(raw) => Some(Self(raw)),
            None => None,
        }
    }

    /// `self · numerator / denominator` in `i128`, rounded as asked.
    ///
    /// # Errors
    /// [`UnitError::Overflow`] when the denominator is not positive or the result does not fit.
    #[inline]
    pub fn mul_ratio(
        self,
        numerator: i64,
        denominator: i64,
        rounding: Rounding,
    ) -> Result<Self, UnitError> {
        mul_div(self.0, numerator, denominator, rounding).map(Self)
    }
}

/// `a · b / d` in `i128`, rounded as asked.
///
/// # Errors
/// [`UnitError::Overflow`] when `d <= 0` or the result does not fit in `i64`.
#[inline]
pub fn mul_div(a: i64, b: i64, d: i64, rounding: Rounding) -> Result<i64, UnitError> {
    if d <= 0 {
        return Err(UnitError::Overflow);
    }
    // Most products fit, and a division of 128 bits costs several times one of 64.
    match a.checked_mul(b) {
        Some(product) => divide(product, d, rounding),
        None => mul_div_wide(a, b, d, rounding),
    }
}

/// `product / d` for a positive `d`.
#[inline]
fn divide(product: i64, d: i64, rounding: Rounding) -> Result<i64, UnitError> {
    let floor = product.div_euclid(d);
    let up = matches!(rounding, Rounding::Up) && product.rem_euclid(d) != 0;
    floor.checked_add(i64::from(up)).ok_or(UnitError::Overflow)
}

#[cold]
fn mul_div_wide(a: i64, b: i64, d: i64, rounding: Rounding) -> Result<i64, UnitError> {
    let product = i128::from(a).saturating_mul(i128::from(b));
    let divisor = i128::from(d);
    let floor = product.div_euclid(divisor);
    let up = matches!(rounding, Rounding::Up) && product.rem_euclid(divisor) != 0;
    let rounded = floor
        .checked_add(i128::from(up))
        .ok_or(UnitError::Overflow)?;
    i64::try_from(rounded).map_err(|_| UnitError::Overflow)
}

impl Price {
    /// This price in ticks of `tick`.
    ///
    /// # Errors
    /// [`UnitError::OffTick`] when it is not a positive whole number of ticks or has too many.
    #[inline]
    pub fn to_ticks(self, tick: Self) -> Result<PriceTicks, UnitError> {
        whole_multiple(self.0, tick.0)
            .map(PriceTicks)
            .ok_or(UnitError::OffTick)
    }
}

impl Qty {
    /// This size in lots of `lot`.
    ///
    /// # Errors
    /// [`UnitError::OffLot`] when it is not a positive whole number of lots or has too many.
    #[inline]
    pub fn to_lots(self, lot: Self) -> Result<Lots, UnitError> {
        whole_multiple(self.0, lot.0)
            .map(Lots)
            .ok_or(UnitError::OffLot)
    }
}

fn whole_multiple(value: i64, step: i64) -> Option<u32> {
    let remainder = value.checked_rem(step)?;
    let multiple = u32::try_from(value.checked_div(step)?).ok()?;
    (remainder == 0 && multiple > 0).then_some(multiple)
}

impl PriceTicks {
    /// The price of this many ticks.
    #[inline]
    pub fn to_price(self, tick: Price) -> Option<Price> {
        i64::from(self.0).checked_mul(tick.0).map(Price)
    }
}

impl Lots {
    /// The size of this many lots.
    #[inline]
    pub fn to_qty(self, lot: Qty) -> Option<Qty> {
        i64::from(self.0).checked_mul(lot.0).map(Qty)
    }

    /// The smaller of two sizes.
    #[inline]
    pub const fn min(self, other: Self) -> Self {
        if self.0 < other.0 { self } else { other }
    }
}

impl fmt::Display for Cash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fixed_point(f, self.0, 1_000_000, 6)
    }
}

impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fixed_point(f, self.0, 1_000_000, 6)
    }
}

impl fmt::Display for Qty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fixed_point(f, self.0, 100_000_000, 8)
    }
}

fn fixed_point(f: &mut fmt::Formatter<'_>, raw: i64, scale: u64, digits: usize) -> fmt::Result {
    let magnitude = raw.unsigned_abs();
    let (whole, part) = (magnitude.checked_div(scale), magnitude.checked_rem(scale));
    let sign = if raw < 0 { "-" } else { "" };
    write!(
        f,
        "{sign}{}.{:0digits$}",
        whole.unwrap_or(0),
        part.unwrap_or(0)
    )
}

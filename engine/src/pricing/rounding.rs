//! The border where floats become integers. A value that does not fit is `None`, never a wrapped or
//! saturated number, and NaN is `None`.

use crate::types::{Price, Rounding};

/// Magnitudes from here on do not fit in an `i64`.
const I64_RANGE: f64 = 9.2e18;
const MILLIONTHS: f64 = 1e6;

/// The whole number under (or over) `value`; `None` if it does not fit in an `i64` or is NaN.
pub fn to_i64(value: f64, rounding: Rounding) -> Option<i64> {
    if !(value > -I64_RANGE && value < I64_RANGE) {
        return None;
    }
    let truncated = value as i64;
    let step = match rounding {
        Rounding::Down if (truncated as f64) > value => -1,
        Rounding::Up if (truncated as f64) < value => 1,
        Rounding::Down | Rounding::Up => 0,
    };
    truncated.checked_add(step)
}

/// The nearest whole number, halves up; `None` if it does not fit in an `i64` or is NaN.
pub fn to_nearest_i64(value: f64) -> Option<i64> {
    to_i64(value + 0.5, Rounding::Down)
}

/// An amount of USDC for one coin as a [`Price`] (1e-6 USDC), rounded as asked.
pub fn to_price(usdc: f64, rounding: Rounding) -> Option<Price> {
    to_i64(usdc * MILLIONTHS, rounding).map(Price::new)
}

/// An amount of USDC for one coin as the nearest [`Price`].
pub fn to_nearest_price(usdc: f64) -> Option<Price> {
    to_nearest_i64(usdc * MILLIONTHS).map(Price::new)
}

/// A [`Price`] in USDC. Exact up to 9e9 USDC.
pub fn from_price(price: Price) -> f64 {
    price.get() as f64 / MILLIONTHS
}

#[cfg(test)]
mod tests {
    use super::{Rounding, from_price, to_i64, to_nearest_i64, to_nearest_price, to_price};
    use crate::types::Price;

    #[test]
    fn rounds_as_asked_on_both_sides_of_zero() {
        for (value, down, up, nearest) in [
            (0.0, 0, 0, 0),
            (1.25, 1, 2, 1),
            (-1.25, -2, -1, -1),
            (1.5, 1, 2, 2),
            (-1.5, -2, -1, -1),
            (-3.0, -3, -3, -3),
            (
                1e15 + 0.5,
                1_000_000_000_000_000,
                1_000_000_000_000_001,
                1_000_000_000_000_001,
            ),
        ] {
            assert_eq!(to_i64(value, Rounding::Down), Some(down), "{value}");
            assert_eq!(to_i64(value, Rounding::Up), Some(up), "{value}");
            assert_eq!(to_nearest_i64(value), Some(nearest), "{value}");
        }
    }

    #[test]
    fn refuses_what_does_not_fit() {
        for value in [
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            1e19,
            -1e19,
            f64::MAX,
        ] {
            assert_eq!(to_i64(value, Rounding::Down), None, "{value}");
            assert_eq!(to_i64(value, Rounding::Up), None, "{value}");
            assert_eq!(to_nearest_price(value), None, "{value}");
        }
    }

    #[test]
    fn prices_are_millionths() {
        assert_eq!(
            to_price(2.000_000_4, Rounding::Down),
            Some(Price::new(2_000_000))
        );
        assert_eq!(
            to_price(2.000_000_4, Rounding::Up),
            Some(Price::new(2_000_001))
        );
        assert_eq!(
            to_nearest_price(from_price(Price::new(89_153_150_000))).map(Price::get),
            Some(89_153_150_000)
        );
    }
}

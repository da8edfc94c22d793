//! Fixed-point amounts to and from JSON.
//!
//! Deribit's clients send prices and sizes as JSON numbers or as strings; both are read by their
//! decimal text, so `0.1` is exactly one tenth. Answers carry numbers: the nearest double of an
//! amount of up to 15 digits prints as that amount.

use lifeboat_engine::types::{Cash, Price, Qty};
use serde_json::Value;

/// Steps in one USDC, for prices and cash.
pub const CASH_SCALE: i64 = 1_000_000;
/// Steps in one coin.
pub const QTY_SCALE: i64 = 100_000_000;

/// Reads decimal text (`-12.5`, `1e-3`) as a whole number of `1/scale` steps. `None` when it is not
/// a decimal, has finer digits than the scale, or does not fit.
pub fn parse(text: &str, scale: i64) -> Option<i64> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (negative, digits) = match mantissa.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, mantissa),
    };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && part.is_empty() || whole.len() + part.len() > 30 {
        return None;
    }
    let mut value: i128 = 0;
    for byte in whole.bytes().chain(part.bytes()) {
        value = value * 10 + i128::from(byte.is_ascii_digit().then(|| byte - b'0')?);
    }
    let shift = exponent.checked_sub(i32::try_from(part.len()).ok()?)?;
    let scaled = scale_by_ten(value.checked_mul(i128::from(scale))?, shift)?;
    i64::try_from(if negative { -scaled } else { scaled }).ok()
}

/// `value · 10^shift` when that is a whole number.
fn scale_by_ten(value: i128, shift: i32) -> Option<i128> {
    if value == 0 {
        return Some(0);
    }
    let factor = 10i128.checked_pow(shift.unsigned_abs())?;
    match shift {
        0.. => value.checked_mul(factor),
        _ => (value % factor == 0).then(|| value / factor),
    }
}

/// Reads a JSON number or string as `1/scale` steps.
pub fn from_json(value: &Value, scale: i64) -> Option<i64> {
    match value {
        Value::String(text) => parse(text.trim(), scale),
        Value::Number(number) => parse(&number.to_string(), scale),
        _ => None,
    }
}

/// A raw amount as a JSON number.
pub fn to_json(raw: i64, scale: i64) -> Value {
    float(raw as f64 / scale as f64)
}

/// A double as a JSON number; what is not finite becomes `null`.
pub fn float(value: f64) -> Value {
    serde_json::Number::from_f64(value).map_or(Value::Null, Value::Number)
}

/// A double rounded to `digits` decimals, as a JSON number.
pub fn rounded(value: f64, digits: i32) -> Value {
    let factor = 10f64.powi(digits);
    float((value * factor).round() / factor)
}

/// A price in USDC.
pub fn price(value: Price) -> Value {
    to_json(value.get(), CASH_SCALE)
}

/// An amount in USDC.
pub fn cash(value: Cash) -> Value {
    to_json(value.get(), CASH_SCALE)
}

/// A size in coin.
pub fn qty(value: Qty) -> Value {
    to_json(value.get(), QTY_SCALE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimal_text_is_read_exactly() {
        let cases = [
            ("0.1", QTY_SCALE, Some(10_000_000)),
            ("100", CASH_SCALE, Some(100_000_000)),
            ("-1.5", CASH_SCALE, Some(-1_500_000)),
            ("1e-3", CASH_SCALE, Some(1_000)),
            ("1.25E2", CASH_SCALE, Some(125_000_000)),
            (".5", CASH_SCALE, Some(500_000)),
            ("0.00000001", QTY_SCALE, Some(1)),
            ("0.000000001", QTY_SCALE, None),
            ("0.0000000010", QTY_SCALE, None),
            ("1.100000000000", CASH_SCALE, Some(1_100_000)),
            ("", CASH_SCALE, None),
            (".", CASH_SCALE, None),
            ("1.2.3", CASH_SCALE, None),
            ("ten", CASH_SCALE, None),
            ("1e999", CASH_SCALE, None),
            ("0e999", CASH_SCALE, Some(0)),
            ("99999999999999999999", CASH_SCALE, None),
            ("NaN", CASH_SCALE, None),
            ("-", CASH_SCALE, None),
        ];
        for (text, scale, expected) in cases {
            assert_eq!(parse(text, scale), expected, "{text}");
        }
    }

    #[test]
    fn numbers_keep_their_digits_both_ways() {
        for raw in [0, 1, 123_456, 99_999_999_999_999, -7_500_000] {
            let json = to_json(raw, CASH_SCALE);
            assert_eq!(from_json(&json, CASH_SCALE), Some(raw), "{json}");
        }
        assert_eq!(float(f64::NAN), Value::Null);
    }
}

//! Black's formula of 1976 in plain `f64`, undiscounted. What makers quote by; the engine marks by
//! its own.

use core::f64::consts::{FRAC_1_SQRT_2, PI};

/// An option's value and what it is most sensitive to, for one coin.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Valuation {
    /// USDC.
    pub price: f64,
    /// Coin for one coin of the forward.
    pub delta: f64,
    /// USDC for one volatility point (0.01).
    pub vega: f64,
}

/// Values a European option on a forward. `years` and `volatility` must be positive.
pub fn value(call: bool, forward: f64, strike: f64, volatility: f64, years: f64) -> Valuation {
    let deviation = volatility * years.sqrt();
    let d1 = (forward / strike).ln() / deviation + 0.5 * deviation;
    let sign = if call { 1.0 } else { -1.0 };
    let (n1, n2) = (normal_cdf(sign * d1), normal_cdf(sign * (d1 - deviation)));
    Valuation {
        price: (sign * (forward * n1 - strike * n2)).max(0.0),
        delta: sign * n1,
        vega: forward * (-0.5 * d1 * d1).exp() / (2.0 * PI).sqrt() * years.sqrt() / 100.0,
    }
}

fn normal_cdf(x: f64) -> f64 {
    0.5 * libm::erfc(-x * FRAC_1_SQRT_2)
}

#[cfg(test)]
mod tests {
    use super::value;

    /// Haug, *The Complete Guide to Option Pricing Formulas*, Black-76 example: forward 19, strike
    /// 19, nine months, 28 % volatility, 10 % rate: 1.7011 after discounting.
    #[test]
    fn the_textbook_example() {
        let put = value(false, 19.0, 19.0, 0.28, 0.75);
        assert!(
            (put.price * (-0.1f64 * 0.75).exp() - 1.7011).abs() < 5e-5,
            "{put:?}"
        );
    }

    #[test]
    fn parity_and_slopes() {
        for strike in [50.0, 90.0, 100.0, 130.0, 300.0] {
            let call = value(true, 100.0, strike, 0.6, 0.1);
            let put = value(false, 100.0, strike, 0.6, 0.1);
            assert!((call.price - put.price - (100.0 - strike)).abs() < 1e-9);
            assert!((call.delta - put.delta - 1.0).abs() < 1e-12);
            let up = value(true, 100.01, strike, 0.6, 0.1).price;
            let down = value(true, 99.99, strike, 0.6, 0.1).price;
            assert!(((up - down) / 0.02 - call.delta).abs() < 1e-5);
            let more = value(true, 100.0, strike, 0.605, 0.1).price;
            let less = value(true, 100.0, strike, 0.595, 0.1).price;
            assert!((more - less - call.vega).abs() < 1e-4);
        }
    }
}

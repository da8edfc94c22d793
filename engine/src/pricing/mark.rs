//! What the venue publishes about an instrument: its mark price, volatility and greeks, as integers.

use super::black76::{Black76, black76};
use super::float::{clamp, exp};
use super::rounding::{from_price, to_nearest_i64, to_nearest_price};
use crate::types::{OptionKind, Price};
use borsh::{BorshDeserialize, BorshSerialize};

/// Milliseconds in the 365 days of a year.
pub const YEAR_MS: u64 = 31_536_000_000;
const PPM: f64 = 1e6;
const PPB: f64 = 1e9;
const DAYS_A_YEAR: f64 = 365.0;
/// Rates of discount are at most this a year (1 000 %).
const RATE_MAX: f64 = 10.0;

/// Where an expiry stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpiryView {
    /// Forward price of the underlying at expiry.
    pub forward: Price,
    /// Milliseconds until expiry.
    pub time_left_ms: u64,
    /// Discount factor to expiry in 1e-9 (1 000 000 000 is none).
    pub discount_ppb: u32,
}

/// A mark with its greeks. One vol point is 1 % of annual volatility.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Mark {
    /// Value of one coin of the option, never negative.
    pub price: Price,
    /// Annual volatility in 1e-6 (500 000 is 50 %).
    pub volatility_ppm: u32,
    /// ∂price/∂forward in 1e-9.
    pub delta_ppb: i64,
    /// ∂²price/∂forward² in 1e-12 a USDC.
    pub gamma_e12: i64,
    /// Change of price, in 1e-6 USDC, when volatility rises by one point.
    pub vega_e6: i64,
    /// Change of price, in 1e-6 USDC, when a day passes and the forward stays.
    pub theta_e6: i64,
}

/// Milliseconds as years of 365 days.
pub(super) fn years_of(milliseconds: u64) -> f64 {
    milliseconds as f64 / YEAR_MS as f64
}

/// Discount factor in 1e-9 over `left_ms` at a yearly rate in 1e-9; rates under 0 count as 0.
pub fn discount_ppb(rate_ppb: i64, left_ms: u64) -> u32 {
    let rate = clamp(rate_ppb as f64 / PPB, 0.0, RATE_MAX);
    clamp(exp(-rate * years_of(left_ms)) * PPB + 0.5, 0.0, PPB) as u32
}

impl ExpiryView {
    /// Years until expiry.
    pub(super) fn years(&self) -> f64 {
        years_of(self.time_left_ms)
    }

    /// The option of `strike` at this expiry.
    pub(super) fn option(&self, strike: Price, volatility_ppm: u32) -> Black76 {
        Black76 {
            forward: from_price(self.forward),
            strike: from_price(strike),
            years: self.years(),
            volatility: f64::from(volatility_ppm) / PPM,
            discount: f64::from(self.discount_ppb) / PPB,
        }
    }
}

impl Mark {
    /// The mark of an option at a volatility that was rounded to 1e-6 beforehand, so that whoever
    /// knows the published volatility can work out the same mark. `None` if a figure does not fit.
    pub fn new(kind: OptionKind, strike: Price, view: &ExpiryView, vol_ppm: u32) -> Option<Self> {
        let values = black76(&view.option(strike, vol_ppm));
        let (price, delta, theta) = match kind {
            OptionKind::Call => (values.call, values.call_delta, values.call_theta),
            OptionKind::Put => (values.put, values.put_delta, values.put_theta),
        };
        Some(Self {
            price: to_nearest_price(price)?,
            volatility_ppm: vol_ppm,
            delta_ppb: to_nearest_i64(delta * PPB)?,
            gamma_e12: to_nearest_i64(values.gamma * 1e12)?,
            vega_e6: to_nearest_i64(values.vega * PPM / 100.0)?,
            theta_e6: to_nearest_i64(theta * PPM / DAYS_A_YEAR)?,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]
    use super::{ExpiryView, Mark, YEAR_MS, discount_ppb};
    use crate::types::{OptionKind, Price};

    const STRIKE: Price = Price::new(95_000_000_000);

    fn view(time_left_ms: u64) -> ExpiryView {
        let forward = Price::new(90_000_000_000);
        ExpiryView {
            forward,
            time_left_ms,
            discount_ppb: 1_000_000_000,
        }
    }

    fn marks(view: &ExpiryView) -> (Mark, Mark) {
        let mark = |kind| Mark::new(kind, STRIKE, view, 500_000).unwrap();
        (mark(OptionKind::Call), mark(OptionKind::Put))
    }

    #[test]
    fn call_and_put_differ_by_the_forward() {
        let (call, put) = marks(&view(YEAR_MS / 12));
        let parity = call.price.get() - put.price.get() + 5_000_000_000;
        assert!(parity.abs() <= 1);
        assert!((call.delta_ppb - put.delta_ppb - 1_000_000_000).abs() <= 1);
        assert_eq!((call.gamma_e12, call.vega_e6), (put.gamma_e12, put.vega_e6));
        assert!(call.gamma_e12 > 0 && call.vega_e6 > 0 && call.theta_e6 < 0);
        assert_eq!(call.volatility_ppm, 500_000);
    }

    #[test]
    fn at_expiry_a_mark_is_intrinsic_value() {
        let (call, put) = marks(&view(0));
        assert_eq!((call.price.get(), put.price.get()), (0, 5_000_000_000));
        assert_eq!((call.delta_ppb, put.delta_ppb), (0, -1_000_000_000));
        assert_eq!((put.gamma_e12, put.vega_e6, put.theta_e6), (0, 0, 0));
    }

    #[test]
    fn a_day_of_theta_is_what_a_day_takes() {
        let day = YEAR_MS / 365;
        let (now, _) = marks(&view(60 * day));
        let (later, _) = marks(&view(59 * day));
        let taken = later.price.get() - now.price.get();
        assert!((taken - now.theta_e6).abs() < now.theta_e6.abs() / 50);
    }

    #[test]
    fn discount_falls_with_rate_and_time() {
        assert_eq!(discount_ppb(0, YEAR_MS), 1_000_000_000);
        assert_eq!(discount_ppb(-50_000_000, YEAR_MS), 1_000_000_000);
        assert_eq!(discount_ppb(50_000_000, YEAR_MS), 951_229_425);
        assert_eq!(discount_ppb(i64::MAX, u64::MAX), 0);
    }
}

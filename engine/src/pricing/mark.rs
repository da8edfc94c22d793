//! What the venue publishes about an instrument: its mark price, volatility and greeks, as integers.

use super::black76::{Black76, black76};
use super::rounding::{from_price, to_nearest_i64, to_nearest_price};
use crate::types::{OptionKind, Price};
use borsh::{BorshDeserialize, BorshSerialize};

/// Milliseconds in the 365 days of a year.
pub const YEAR_MS: u64 = 31_536_000_000;
const PPM: f64 = 1e6;
const PPB: f64 = 1e9;
const DAYS_A_YEAR: f64 = 365.0;

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

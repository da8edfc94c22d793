//! How far something moved, and how far it was expected to: logarithmic changes as integers.

use super::float::{ln, sqrt};
use super::mark::years_of;
use super::rounding::to_nearest_i64;

const PPM: f64 = 1e6;

/// ln(to / from) in 1e-6; 0 unless both are positive.
pub fn log_change_ppm(from: i64, to: i64) -> i64 {
    if from <= 0 || to <= 0 {
        return 0;
    }
    to_nearest_i64(ln(to as f64 / from as f64) * PPM).unwrap_or(0)
}

/// One standard deviation of the logarithm of a price over `window_ms` at an annual volatility in 1e-6:
/// σ·√T, in 1e-6.
pub fn implied_move_ppm(volatility_ppm: u32, window_ms: u64) -> i64 {
    to_nearest_i64(f64::from(volatility_ppm) * sqrt(years_of(window_ms))).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{implied_move_ppm, log_change_ppm};

    #[test]
    fn moves_are_symmetric_and_root_of_time() {
        assert_eq!(log_change_ppm(100, 200), 693_147);
        assert_eq!(log_change_ppm(200, 100), -693_147);
        assert_eq!(log_change_ppm(0, 100) + log_change_ppm(100, -1), 0);
        // 80 % a year is 80 / √(365·24) an hour.
        assert_eq!(implied_move_ppm(800_000, 3_600_000), 8_547);
        assert_eq!(implied_move_ppm(800_000, 14_400_000), 17_095);
    }
}

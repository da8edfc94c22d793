//! The normal distribution. One exponential serves density and both tails.

use super::float::{ROUND_MAGIC, abs, at_most};

/// 1/√(2π).
pub const INV_ROOT_TWO_PI: f64 = 0.398_942_280_401_432_7;
/// Arguments farther out than this count as this: the tail there is 1e-268, which no value notices,
/// and products of it stay normal numbers (subnormal ones are slow on many machines).
pub const ARGUMENT_MAX: f64 = 35.0;

/// |x|, at most [`ARGUMENT_MAX`]; NaN counts as that bound.
#[inline(always)]
pub(super) fn distance(x: f64) -> f64 {
    at_most(abs(x), ARGUMENT_MAX)
}

/// ½ · log₂ e, negated: e^(−x²/2) = 2^(this · x²).
const EXPONENT_SCALE: f64 = -0.721_347_520_444_481_7;

/// e^(−x²/2): the density without its constant. `x` must be a [`distance`].
///
/// In base 2, so that the fraction r of the exponent is exact; 2^r by a minimax polynomial of degree
/// 11. The rounding of x² dominates: relative error (1 + x²/2) · 2e-16.
#[inline(always)]
pub(super) fn bell(x: f64) -> f64 {
    let exponent = EXPONENT_SCALE * (x * x);
    let shifted = exponent + ROUND_MAGIC;
    let r = exponent - (shifted - ROUND_MAGIC);
    let r2 = r * r;
    let even = ((4.457_373_150_946_919_5e-10 * r2 + 1.017_804_655_694_803_8e-7) * r2
        + 1.525_273_386_730_934_1e-5)
        * r2
        + 1.333_355_814_637_927_5e-3;
    let even = (even * r2 + 5.550_410_866_482_174e-2) * r2 + core::f64::consts::LN_2;
    let odd = ((7.073_859_958_359_653e-9 * r2 + 1.321_543_481_822_947e-6) * r2
        + 1.540_353_045_807_734_8e-4)
        * r2
        + 9.618_129_107_593_333e-3;
    let odd = odd * r2 + 0.240_226_506_959_101_33;
    let power = 1.0 + r * (even + r * odd);
    f64::from_bits(power.to_bits().wrapping_add(shifted.to_bits() << 52))
}

/// Numerator and denominator of `(1 − N(x)) / e^(−x²/2)` for `x ≥ 0`.
///
/// A minimax rational made for this module, with all coefficients positive, so that Horner's sums
/// cancel nothing. Weighted by the tail: its absolute error stays under 3e-17 before rounding, and
/// the ratio falls as 1/(x√(2π)) to 4e-6 however large `x` is.
#[inline(always)]
pub(super) fn tail_ratio(x: f64) -> (f64, f64) {
    let z = x * x;
    let p_even =
        ((7.988046118344789e-05 * z + 0.014452981884684066) * z + 0.25431573876719366) * z + 0.5;
    let p_odd = (0.0015874347610577873 * z + 0.07692548298959613) * z + 0.5020962967468907;
    let q_even =
        ((0.003979262390948317 * z + 0.19684418232197162) * z + 1.4464810163229138) * z + 1.0;
    let q_odd = ((0.00020022690794751946 * z + 0.03642536385458585) * z + 0.6728987795225541) * z
        + 1.8020771542966538;
    (p_even + x * p_odd, q_even + x * q_odd)
}

/// The standard normal density; relative error under 1e-15 inside ±8, 1e-13 inside ±35.
pub fn pdf(x: f64) -> f64 {
    INV_ROOT_TWO_PI * bell(distance(x))
}

/// The standard normal distribution function. Absolute error under 3e-16; NaN counts as far out on
/// the right.
pub fn cdf(x: f64) -> f64 {
    let distance = distance(x);
    let (p, q) = tail_ratio(distance);
    let tail = bell(distance) * (p / q);
    if x < 0.0 { tail } else { 1.0 - tail }
}

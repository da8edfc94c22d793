//! The normal distribution. One exponential serves density and both tails.

use super::float::{abs, at_most, exp_in_range};

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

/// e^(−x²/2): the density without its constant. `x` must be a [`distance`].
#[inline(always)]
pub(super) fn bell(x: f64) -> f64 {
    exp_in_range(-0.5 * (x * x))
}

/// Numerator and denominator of `(1 − N(x)) / e^(−x²/2)` for `x ≥ 0`.
///
/// A minimax rational made for this module, with all coefficients positive, so that Horner's sums
/// cancel nothing. Weighted by the density: the tail's absolute error stays under 2e-17 before
/// rounding, and the ratio falls as 1/(x√(2π)) to 1e-6 however large `x` is.
#[inline(always)]
pub(super) fn tail_ratio(x: f64) -> (f64, f64) {
    let z = x * x;
    let p_even = ((3.892_934_548_227_292e-4 * z + 2.788_898_341_351_968e-2) * z
        + 0.334_289_803_499_331_8)
        * z
        + 0.5;
    let p_odd = ((1.669_049_210_311_458_3e-5 * z + 4.244_400_516_139_072e-3) * z
        + 0.119_273_574_269_280_02)
        * z
        + 0.577_162_266_136_749_5;
    let q_even = (((4.183_690_413_016_783e-5 * z + 1.068_104_255_587_548_5e-2) * z
        + 0.309_546_782_836_182_53)
        * z
        + 1.726_217_101_823_316_6)
        * z
        + 1.0;
    let q_odd = ((9.758_114_165_560_882e-4 * z + 7.088_184_379_586_471e-2) * z
        + 0.905_726_096_405_757_7)
        * z
        + 1.952_209_093_076_363_1;
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

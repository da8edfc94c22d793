//! exp, ln and square root from IEEE add, subtract, multiply, divide and bit patterns alone.
//!
//! Branch-free, so that a loop over them becomes vector code with the same bits. The polynomials are
//! minimax fits made for this module. Relative errors: exp and ln under 1 ulp (1.2e-16 · 2), square
//! root correctly rounded.

/// 1.5 · 2^52: adding it to a small float leaves the nearest integer in the low mantissa bits.
pub(super) const ROUND_MAGIC: f64 = 6_755_399_441_055_744.0;
/// The bits of 2^52: or-ing an integer under 2^52 into them makes the float 2^52 + integer.
const TWO_52_BITS: u64 = 0x4330_0000_0000_0000;
const TWO_52: f64 = 4_503_599_627_370_496.0;
const LOG2_E: f64 = core::f64::consts::LOG2_E;
/// ln 2 cut to 39 significant bits, so that its product with an exponent is exact.
const LN2_HIGH: f64 = 0.693_147_180_558_298_7;
/// ln 2 − `LN2_HIGH`.
const LN2_LOW: f64 = 1.646_594_958_289_708_2e-12;
/// The bits of √½, where ln's mantissa range starts.
const ROOT_HALF_BITS: u64 = 0x3fe6_a09e_667f_3bcd;
const ONE_BITS: u64 = 0x3ff0_0000_0000_0000;
const EXPONENT_BIAS: f64 = 1023.0;

/// Smallest argument of [`exp`]; anything under it counts as this. exp(−708) ≈ 3.3e-308.
pub const EXP_ARGUMENT_MIN: f64 = -708.0;
/// Largest argument of [`exp`]; anything over it counts as this. exp(709) ≈ 8.2e307.
pub const EXP_ARGUMENT_MAX: f64 = 709.0;

/// The larger of two; `low` if `x` is NaN. Not `f64::max`, whose NaN and zero rules differ by target.
#[inline(always)]
pub fn at_least(x: f64, low: f64) -> f64 {
    if x > low { x } else { low }
}

/// The smaller of two; `high` if `x` is NaN.
#[inline(always)]
pub fn at_most(x: f64, high: f64) -> f64 {
    if x < high { x } else { high }
}

/// `x` moved into `low..=high`; `low` if it is NaN.
#[inline(always)]
pub fn clamp(x: f64, low: f64, high: f64) -> f64 {
    at_most(at_least(x, low), high)
}

/// The magnitude of `x`.
#[inline(always)]
pub fn abs(x: f64) -> f64 {
    f64::from_bits(x.to_bits() & 0x7fff_ffff_ffff_ffff)
}

/// e to the power `x`, the argument clamped to [`EXP_ARGUMENT_MIN`]..=[`EXP_ARGUMENT_MAX`]:
/// x = k·ln 2 + r with |r| ≤ ½ ln 2, e^r by a polynomial of degree 11, 2^k by adding k to the exponent
/// bits.
#[inline(always)]
pub fn exp(x: f64) -> f64 {
    let x = clamp(x, EXP_ARGUMENT_MIN, EXP_ARGUMENT_MAX);
    let shifted = x * LOG2_E + ROUND_MAGIC;
    let k = shifted - ROUND_MAGIC;
    let r = (x - k * LN2_HIGH) - k * LN2_LOW;
    let r2 = r * r;
    let even = ((2.763_130_888_022_959_4e-7 * r2 + 2.480_148_984_919_837_6e-5) * r2
        + 1.388_888_894_712_395e-3)
        * r2
        + 4.166_666_666_651_46e-2;
    let even = even * r2 + 0.500_000_000_000_001_3;
    let odd = ((2.511_635_479_318_149_3e-8 * r2 + 2.755_722_126_836_585_4e-6) * r2
        + 1.984_126_991_151_896_5e-4)
        * r2
        + 8.333_333_333_310_104e-3;
    let odd = odd * r2 + 0.166_666_666_666_666_93;
    let power = 1.0 + (r + r2 * (even + r * odd));
    f64::from_bits(power.to_bits().wrapping_add(shifted.to_bits() << 52))
}

/// The natural logarithm. Arguments that are not positive normal numbers (zero, negative, subnormal,
/// NaN) count as the smallest normal number, infinity as the largest finite one.
#[inline(always)]
pub fn ln(x: f64) -> f64 {
    let bits = clamp(x, f64::MIN_POSITIVE, f64::MAX).to_bits();
    // x = 2^e · m with m in [√½, √2).
    let biased = bits.wrapping_add(ONE_BITS.wrapping_sub(ROOT_HALF_BITS)) >> 52;
    let e = f64::from_bits(TWO_52_BITS | biased) - (TWO_52 + EXPONENT_BIAS);
    let m = f64::from_bits(bits.wrapping_sub(biased << 52).wrapping_add(ONE_BITS));
    // ln(1 + f) = 2 atanh(s) with s = f / (2 + f), written so that the leading term f is exact.
    let f = m - 1.0;
    let s = f / (2.0 + f);
    let z = s * s;
    let series = ((((((0.147_963_797_601_947_94 * z + 0.153_140_082_669_592_6) * z
        + 0.181_835_659_593_309_05)
        * z
        + 0.222_221_985_418_941_6)
        * z
        + 0.285_714_287_426_953_15)
        * z
        + 0.399_999_999_994_132_5)
        * z
        + 0.666_666_666_666_673_5)
        * z;
    e * LN2_HIGH + (f - (s * (f - series) - e * LN2_LOW))
}

/// The correctly rounded square root; 0 for arguments that are not positive.
#[inline(always)]
pub fn sqrt(x: f64) -> f64 {
    hardware_sqrt(at_least(x, 0.0))
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn hardware_sqrt(x: f64) -> f64 {
    use core::arch::x86_64::{_mm_cvtsd_f64, _mm_set1_pd, _mm_sqrt_pd};
    // SSE2 belongs to the x86-64 baseline, and its square root is correctly rounded.
    #[allow(
        unused_unsafe,
        reason = "the intrinsics became safe functions; older ones were not"
    )]
    unsafe {
        _mm_cvtsd_f64(_mm_sqrt_pd(_mm_set1_pd(x)))
    }
}

#[cfg(target_arch = "aarch64")]
#[inline(always)]
fn hardware_sqrt(x: f64) -> f64 {
    use core::arch::aarch64::{vdup_n_f64, vget_lane_f64, vsqrt_f64};
    // NEON belongs to the aarch64 baseline, and its square root is correctly rounded.
    #[allow(
        unused_unsafe,
        reason = "the intrinsics became safe functions; older ones were not"
    )]
    unsafe {
        vget_lane_f64::<0>(vsqrt_f64(vdup_n_f64(x)))
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
#[inline(always)]
fn hardware_sqrt(x: f64) -> f64 {
    sqrt_by_integers(x)
}

/// The correctly rounded square root of a finite `x ≥ 0` by an integer square root: for targets
/// whose square root instruction core does not offer.
#[cfg(any(test, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
fn sqrt_by_integers(x: f64) -> f64 {
    const TWO_54: f64 = 18_014_398_509_481_984.0;
    if x == 0.0 || x > f64::MAX {
        return x;
    }
    // A subnormal is scaled up by 2^54, its root down by 2^27.
    let (normal, scale) = if x < f64::MIN_POSITIVE {
        (x * TWO_54, 27)
    } else {
        (x, 0)
    };
    let bits = normal.to_bits();
    let biased = bits >> 52;
    // normal = mantissa · 2^(biased − 1075); `odd` makes the exponent even.
    let odd = 1 ^ (biased & 1);
    let mantissa = (bits & 0x000f_ffff_ffff_ffff) | 0x0010_0000_0000_0000;
    let radicand = u128::from(mantissa) << 54_u64.wrapping_add(odd);
    // 54 bits, of which the last rounds; a remainder rules ties out.
    let root = radicand.isqrt();
    let inexact = root.wrapping_mul(root) != radicand;
    let (root, last) = ((root >> 1) as u64, root & 1 == 1);
    let up = u64::from(last && (inexact || root & 1 == 1));
    // (biased − 1075 − odd) / 2 − 26 is the root's exponent; kept as a biased one.
    let exponent = (biased.wrapping_add(1023).wrapping_sub(odd) >> 1).wrapping_sub(scale);
    f64::from_bits(
        (exponent.wrapping_sub(1) << 52)
            .wrapping_add(root)
            .wrapping_add(up),
    )
}

#[cfg(test)]
mod tests {
    use super::{sqrt, sqrt_by_integers};

    #[test]
    fn both_square_roots_are_correctly_rounded() {
        let mut bits = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..200_000 {
            bits ^= bits << 13;
            bits ^= bits >> 7;
            bits ^= bits << 17;
            let x = f64::from_bits(bits & 0x7fff_ffff_ffff_ffff);
            if x.is_finite() {
                assert_eq!(sqrt(x).to_bits(), x.sqrt().to_bits(), "{x:e}");
                assert_eq!(sqrt_by_integers(x).to_bits(), x.sqrt().to_bits(), "{x:e}");
            }
        }
        for x in [
            0.0,
            5e-324,
            1e-310,
            f64::MIN_POSITIVE,
            1.0,
            2.0,
            4.0,
            f64::MAX,
        ] {
            assert_eq!(sqrt_by_integers(x).to_bits(), x.sqrt().to_bits(), "{x:e}");
        }
    }
}

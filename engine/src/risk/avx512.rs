//! The kernel over one expiry's positions in 512-bit registers: the same integers as
//! [`Sums`](super::lanes::Sums), which it is tested against.

use core::arch::x86_64::{
    __m512i, _mm512_add_epi64, _mm512_load_si512, _mm512_mask_min_epi64, _mm512_min_epi64,
    _mm512_mullo_epi64, _mm512_set1_epi64, _mm512_setzero_si512, _mm512_store_si512,
    _mm512_sub_epi64,
};

use super::evaluate::PositionLeg;
use super::lanes::{LANE_FORWARD, LANE_SKEW, LANES, Pair, SKEW_SCENARIOS_MAX, Total};

/// Registers of one form.
const VECTORS: usize = LANES / 8;
const FORWARD_VECTOR: usize = LANE_FORWARD / 8;
const FORWARD_MASK: u8 = 1 << (LANE_FORWARD % 8);
const SKEW_VECTOR: usize = LANE_SKEW / 8;
const SKEW_MASK: u8 = ((1 << SKEW_SCENARIOS_MAX) - 1) << (LANE_SKEW % 8);
const _: () = assert!(LANES.is_multiple_of(8) && LANE_SKEW % 8 + SKEW_SCENARIOS_MAX <= 8);

/// Adds the result of one expiry's positions to `total`. Sums wrap.
///
/// # Safety
/// The machine must have AVX-512 F and DQ.
#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
#[allow(
    clippy::indexing_slicing,
    reason = "arrays of VECTORS, indexed below it; each vector is a whole, aligned part of a row"
)]
pub(super) fn add_expiry(pairs: &[Pair], expiry: &[PositionLeg], total: &mut Total<i64>) {
    let zero = _mm512_setzero_si512();
    let (mut a, mut b) = ([zero; VECTORS], [zero; VECTORS]);
    for leg in expiry {
        let Some(pair) = pairs.get(leg.row as usize) else {
            continue;
        };
        let lots = _mm512_set1_epi64(leg.lots);
        let row_a: *const __m512i = pair.a.0.as_ptr().cast();
        let row_b: *const __m512i = pair.b.0.as_ptr().cast();
        for at in 0..VECTORS {
            // SAFETY: a row has VECTORS vectors and is aligned to 64 bytes.
            let (value_a, value_b) = unsafe {
                (
                    _mm512_load_si512(row_a.add(at)),
                    _mm512_load_si512(row_b.add(at)),
                )
            };
            a[at] = _mm512_add_epi64(a[at], _mm512_mullo_epi64(value_a, lots));
            b[at] = _mm512_add_epi64(b[at], _mm512_mullo_epi64(value_b, lots));
        }
    }
    let sums: *mut __m512i = total.0.as_mut_ptr().cast();
    for at in 0..VECTORS {
        let mut result = _mm512_min_epi64(a[at], b[at]);
        if at == FORWARD_VECTOR {
            result = _mm512_mask_min_epi64(result, FORWARD_MASK, result, zero);
        }
        if at == SKEW_VECTOR {
            let negated = _mm512_sub_epi64(zero, result);
            result = _mm512_mask_min_epi64(result, SKEW_MASK, result, negated);
        }
        // SAFETY: as above, for the total.
        unsafe {
            let sum = _mm512_load_si512(sums.add(at));
            _mm512_store_si512(sums.add(at), _mm512_add_epi64(sum, result));
        }
    }
}

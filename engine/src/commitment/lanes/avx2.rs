//! Four messages at once, on nearly every x86-64 machine in use.

use core::arch::x86_64::{
    __m256i, _mm_cvtsi32_si128, _mm256_andnot_si256, _mm256_loadu_si256, _mm256_or_si256,
    _mm256_set1_epi64x, _mm256_setzero_si256, _mm256_sll_epi64, _mm256_srl_epi64,
    _mm256_storeu_si256, _mm256_xor_si256,
};

use super::permutation::sponge;
use crate::commitment::hashing::{ARITY, Group, NODE_TAIL};
use crate::commitment::keccak::{RATE, RATE_WORDS, digest_of_words};
use crate::types::Digest;

const LANES: usize = 4;
type Vector = __m256i;

/// The same word of every lane's message.
#[derive(Clone, Copy)]
#[repr(C, align(32))]
struct Words([u64; LANES]);

#[inline]
#[target_feature(enable = "avx2")]
fn zero() -> Vector {
    _mm256_setzero_si256()
}

#[inline]
#[target_feature(enable = "avx2")]
fn splat(word: u64) -> Vector {
    _mm256_set1_epi64x(word.cast_signed())
}

#[inline]
#[target_feature(enable = "avx2")]
fn load(words: &Words) -> Vector {
    // SAFETY: `words` is 32 readable bytes.
    unsafe { _mm256_loadu_si256(core::ptr::from_ref(words).cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store(vector: Vector) -> Words {
    let mut words = Words([0; LANES]);
    // SAFETY: `words` is 32 writable bytes.
    unsafe { _mm256_storeu_si256(core::ptr::from_mut(&mut words).cast(), vector) }
    words
}

#[inline]
#[target_feature(enable = "avx2")]
fn xor(a: Vector, b: Vector) -> Vector {
    _mm256_xor_si256(a, b)
}

/// `b ⊕ c` first: theta asks for it once a column, and the compiler shares it.
#[inline]
#[target_feature(enable = "avx2")]
fn xor3(a: Vector, b: Vector, c: Vector) -> Vector {
    _mm256_xor_si256(a, _mm256_xor_si256(b, c))
}

#[inline]
#[target_feature(enable = "avx2")]
fn chi(a: Vector, b: Vector, c: Vector) -> Vector {
    _mm256_xor_si256(a, _mm256_andnot_si256(b, c))
}

#[inline]
#[target_feature(enable = "avx2")]
fn rotate<const BITS: i32>(a: Vector) -> Vector {
    let left = _mm256_sll_epi64(a, _mm_cvtsi32_si128(BITS));
    let right = _mm256_srl_epi64(a, _mm_cvtsi32_si128(64_i32.wrapping_sub(BITS)));
    _mm256_or_si256(left, right)
}

sponge!("avx2");

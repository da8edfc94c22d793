//! Eight messages at once: AVX-512F has a 64-bit rotation and a three-input logic instruction.

use core::arch::x86_64::{
    __m512i, _mm512_loadu_si512, _mm512_rol_epi64, _mm512_set1_epi64, _mm512_setzero_si512,
    _mm512_storeu_si512, _mm512_ternarylogic_epi64, _mm512_xor_si512,
};

use super::permutation::sponge;
use crate::commitment::hashing::{ARITY, Group, NODE_TAIL};
use crate::commitment::keccak::{RATE, RATE_WORDS, digest_of_words};
use crate::types::Digest;

const LANES: usize = 8;
type Vector = __m512i;

/// The same word of every lane's message.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Words([u64; LANES]);

#[inline]
#[target_feature(enable = "avx512f")]
fn zero() -> Vector {
    _mm512_setzero_si512()
}

#[inline]
#[target_feature(enable = "avx512f")]
fn splat(word: u64) -> Vector {
    _mm512_set1_epi64(word.cast_signed())
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load(words: &Words) -> Vector {
    // SAFETY: `words` is 64 readable bytes.
    unsafe { _mm512_loadu_si512(core::ptr::from_ref(words).cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store(vector: Vector) -> Words {
    let mut words = Words([0; LANES]);
    // SAFETY: `words` is 64 writable bytes.
    unsafe { _mm512_storeu_si512(core::ptr::from_mut(&mut words).cast(), vector) }
    words
}

#[inline]
#[target_feature(enable = "avx512f")]
fn xor(a: Vector, b: Vector) -> Vector {
    _mm512_xor_si512(a, b)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn xor3(a: Vector, b: Vector, c: Vector) -> Vector {
    _mm512_ternarylogic_epi64::<0b1001_0110>(a, b, c)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn chi(a: Vector, b: Vector, c: Vector) -> Vector {
    _mm512_ternarylogic_epi64::<0b1101_0010>(a, b, c)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn rotate<const BITS: i32>(a: Vector) -> Vector {
    _mm512_rol_epi64::<BITS>(a)
}

sponge!("avx512f");

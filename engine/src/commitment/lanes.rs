//! Keccak256 of several independent messages at once, one in each lane of a vector register.
//!
//! The vector units are chosen at run time; every choice gives the same digests, so a choice is never
//! part of the state.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod permutation;

use super::hashing::{Group, node_digest};
use super::keccak::{RATE, Sponge};
use crate::types::Digest;

/// Messages in one batch.
pub const LANES_MAX: usize = 8;

#[cfg(target_arch = "x86_64")]
cpufeatures::new!(avx2_unit, "avx2");
#[cfg(target_arch = "x86_64")]
cpufeatures::new!(avx512_unit, "avx2", "avx512f");

/// Which vector unit hashes. Only detection makes one, so a kernel that exists can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel(Unit);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Scalar,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Kernel {
    /// One message at a time, on every machine.
    pub const SCALAR: Self = Self(Unit::Scalar);

    /// The widest that this machine has.
    pub fn detect() -> Self {
        Self::available().last().unwrap_or(Self::SCALAR)
    }

    /// Every kernel that this machine can run, narrowest first.
    pub fn available() -> impl DoubleEndedIterator<Item = Self> {
        #[cfg(target_arch = "x86_64")]
        let vector = [
            avx2_unit::get().then_some(Self(Unit::Avx2)),
            avx512_unit::get().then_some(Self(Unit::Avx512)),
        ];
        #[cfg(not(target_arch = "x86_64"))]
        let vector = [None];
        [Some(Self::SCALAR)].into_iter().chain(vector).flatten()
    }

    /// Messages that one permutation works on.
    pub const fn lanes(self) -> usize {
        match self.0 {
            Unit::Scalar => 1,
            #[cfg(target_arch = "x86_64")]
            Unit::Avx2 => 4,
            #[cfg(target_arch = "x86_64")]
            Unit::Avx512 => 8,
        }
    }

    /// Digests of the inner nodes over at most `LANES_MAX` groups; further ones are ignored.
    pub(super) fn nodes(self, groups: &[&Group]) -> [Digest; LANES_MAX] {
        let mut out = [Digest::default(); LANES_MAX];
        let lanes = self.lanes();
        for (out, groups) in out.chunks_mut(lanes).zip(groups.chunks(lanes)) {
            match (self.0, groups) {
                (_, [group]) => fill(out, &[node_digest(group)]),
                (Unit::Scalar, _) => {}
                // SAFETY: a kernel of this unit exists only where detection found the unit.
                #[cfg(target_arch = "x86_64")]
                (Unit::Avx2, _) => fill(out, &unsafe {
                    avx2::nodes(&lanes_of(groups, &Group::VACANT))
                }),
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                (Unit::Avx512, _) => fill(out, &unsafe {
                    avx512::nodes(&lanes_of(groups, &Group::VACANT))
                }),
            }
        }
        out
    }

    /// Digests of at most `LANES_MAX` padded messages (whole blocks); further ones are ignored.
    pub(super) fn messages(self, messages: &[&[[u8; RATE]]]) -> [Digest; LANES_MAX] {
        let mut out = [Digest::default(); LANES_MAX];
        let lanes = self.lanes();
        for (out, messages) in out.chunks_mut(lanes).zip(messages.chunks(lanes)) {
            match (self.0, messages) {
                (_, [message]) => fill(out, &[absorb_all(message)]),
                (Unit::Scalar, _) => {}
                // SAFETY: a kernel of this unit exists only where detection found the unit.
                #[cfg(target_arch = "x86_64")]
                (Unit::Avx2, _) => fill(out, &unsafe { avx2::messages(&lanes_of(messages, &[])) }),
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                (Unit::Avx512, _) => {
                    fill(out, &unsafe { avx512::messages(&lanes_of(messages, &[])) })
                }
            }
        }
        out
    }
}

fn fill(out: &mut [Digest], digests: &[Digest]) {
    for (to, from) in out.iter_mut().zip(digests) {
        *to = *from;
    }
}

fn absorb_all(blocks: &[[u8; RATE]]) -> Digest {
    let mut sponge = Sponge::new();
    blocks.iter().for_each(|block| sponge.absorb(block));
    sponge.digest()
}

/// One item a lane, `idle` in lanes without one.
#[cfg(target_arch = "x86_64")]
fn lanes_of<T: Copy, const LANES: usize>(items: &[T], idle: T) -> [T; LANES] {
    core::array::from_fn(|lane| items.get(lane).copied().unwrap_or(idle))
}

/// Asks for a group's cache lines ahead of their use. A hint: it changes no result.
pub(super) fn prefetch(group: &Group) {
    #[cfg(target_arch = "x86_64")]
    for child in group.0.iter().step_by(2) {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch reads nothing, and every x86-64 machine has it.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(core::ptr::from_ref(child).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = group;
}

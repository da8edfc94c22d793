//! Which vector width the running machine has. The choice changes speed, never bits.

#[cfg(target_arch = "x86_64")]
use core::sync::atomic::{AtomicU8, Ordering};

/// How many floats one instruction handles in the batch kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Width {
    /// Whatever the target's baseline offers (2 floats on x86-64 and aarch64).
    Baseline,
    /// 4 floats (x86-64 with AVX2).
    Avx2,
    /// 8 floats (x86-64 with AVX-512 F, DQ, VL and BW).
    Avx512,
}

impl Width {
    /// The widest one that this machine and its operating system support. Asked once; cached.
    #[cfg(target_arch = "x86_64")]
    pub fn detect() -> Self {
        static CACHED: AtomicU8 = AtomicU8::new(0);
        match CACHED.load(Ordering::Relaxed) {
            1 => return Self::Baseline,
            2 => return Self::Avx2,
            3 => return Self::Avx512,
            _ => {}
        }
        let width = x86::detect();
        let code = match width {
            Self::Baseline => 1,
            Self::Avx2 => 2,
            Self::Avx512 => 3,
        };
        CACHED.store(code, Ordering::Relaxed);
        width
    }

    /// The widest one that this machine supports.
    #[cfg(not(target_arch = "x86_64"))]
    pub fn detect() -> Self {
        Self::Baseline
    }

    /// Every width this machine can run, narrowest first.
    pub fn available() -> impl Iterator<Item = Self> {
        let widest = Self::detect();
        [Self::Baseline, Self::Avx2, Self::Avx512]
            .into_iter()
            .filter(move |width| *width <= widest)
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Width;
    use core::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};

    const OSXSAVE_AND_AVX: u32 = 1 << 27 | 1 << 28;
    const AVX2: u32 = 1 << 5;
    const AVX512_F_DQ_BW_VL: u32 = 1 << 16 | 1 << 17 | 1 << 30 | 1 << 31;
    /// Operating-system support: xmm and ymm; for AVX-512 also opmask and both zmm halves.
    const STATE_AVX: u64 = 0b110;
    const STATE_AVX512: u64 = 0b1110_0110;

    const fn has(word: u32, flags: u32) -> bool {
        word & flags == flags
    }

    #[target_feature(enable = "xsave")]
    fn enabled_state() -> u64 {
        // SAFETY: extended control register 0 exists wherever XSAVE is enabled.
        unsafe { _xgetbv(0) }
    }

    #[allow(unused_unsafe, reason = "cpuid became a safe function")]
    pub(super) fn detect() -> Width {
        // SAFETY: every x86-64 processor has cpuid.
        let (highest, basic) = unsafe { (__cpuid(0).eax, __cpuid(1).ecx) };
        if highest < 7 || !has(basic, OSXSAVE_AND_AVX) {
            return Width::Baseline;
        }
        // SAFETY: leaf 7 exists, and OSXSAVE says that XGETBV may be executed.
        let (extended, state) = unsafe { (__cpuid_count(7, 0).ebx, enabled_state()) };
        if state & STATE_AVX != STATE_AVX || !has(extended, AVX2) {
            return Width::Baseline;
        }
        if state & STATE_AVX512 == STATE_AVX512 && has(extended, AVX512_F_DQ_BW_VL) {
            Width::Avx512
        } else {
            Width::Avx2
        }
    }
}

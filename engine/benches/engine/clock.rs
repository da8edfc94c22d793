//! What is measured: this thread's CPU time, allocations, resident memory.

use rustix::time::{ClockId, clock_gettime};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

/// The system's allocator, counted.
pub struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call is handed to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        unsafe { System.realloc(place, layout, size) }
    }
}

/// Allocations so far, growing ones included.
pub fn allocations() -> u64 {
    ALLOCATIONS.load(Relaxed)
}

/// CPU time of this thread in nanoseconds.
pub fn cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// What `work` gives, and its CPU time in nanoseconds.
pub fn timed<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let start = cpu_ns();
    let result = work();
    (result, cpu_ns() - start)
}

/// Median and least.
pub fn median_and_best(mut figures: Vec<f64>) -> (f64, f64) {
    figures.sort_by(f64::total_cmp);
    (figures[figures.len() / 2], figures[0])
}

/// What reading the wall clock twice costs, in nanoseconds.
pub fn wall_clock_ns() -> u32 {
    let times = (0..10_001).map(|_| Instant::now().elapsed().as_nanos() as u32);
    let mut times: Vec<u32> = times.collect();
    times.sort_unstable();
    times[5_000]
}

/// Resident memory of this process in MiB, 0 where the system does not say.
pub fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kib.unwrap_or(0) / 1_024
}

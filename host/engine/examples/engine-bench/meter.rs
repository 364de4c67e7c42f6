//! What is measured: times, allocations, resident memory.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::fs;
use std::io;

use rustix::thread::{CpuSet, sched_getcpu, sched_setaffinity};

/// Two quantiles of a round, in microseconds.
pub(crate) struct Times {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

impl Times {
    pub(crate) fn of(samples: &mut [f64]) -> Self {
        samples.sort_by(f64::total_cmp);
        Self {
            p50: samples[samples.len() / 2],
            p99: samples[samples.len() * 99 / 100],
        }
    }
}

/// The host's allocator.
#[cfg(target_env = "musl")]
const INNER: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;
#[cfg(not(target_env = "musl"))]
const INNER: std::alloc::System = std::alloc::System;

/// The host's allocator, counting.
pub(crate) struct Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

#[expect(unsafe_code, reason = "the interface of an allocator")]
// SAFETY: all is left to the host's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        unsafe { INNER.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        unsafe { INNER.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        unsafe { INNER.realloc(block, layout, size) }
    }
}

/// How often this thread allocates in one run; reallocations count as well.
pub(crate) fn allocations(run: impl FnOnce()) -> u64 {
    let before = COUNT.with(Cell::get);
    run();
    COUNT.with(Cell::get) - before
}

/// Keeps this thread on the processor that it runs on. Threads started before move freely.
pub(crate) fn pin() -> io::Result<()> {
    let mut processors = CpuSet::new();
    processors.set(sched_getcpu());
    sched_setaffinity(None, &processors)?;
    Ok(())
}

/// Resident memory now. Counted page by page: the kernel's quick figure may be off by more than
/// what is looked for.
pub(crate) fn resident_kib() -> io::Result<i64> {
    field("/proc/self/smaps_rollup", "Rss:")
}

/// The most resident memory up to now.
pub(crate) fn peak_kib() -> io::Result<i64> {
    field("/proc/self/status", "VmHWM:")
}

fn field(path: &str, name: &str) -> io::Result<i64> {
    let text = fs::read_to_string(path)?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.trim().strip_suffix(" kB"));
    number
        .and_then(|number| number.parse().ok())
        .ok_or_else(|| io::Error::other(format!("{path} has no {name}")))
}

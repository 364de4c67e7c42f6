//! What native code depends on. Shared with the build script: what it compiles loads only into an
//! engine with the same settings.

use wasmtime::Config;

/// Address space of a policy's memory. More memory than this is not served from the pool.
pub(crate) const RESERVATION: u64 = 16 << 20;

/// The most that a memory with 32-bit addresses can have.
pub(crate) const MOST: u64 = 4 << 30;

/// Native stack of a policy: of 2 MiB that a thread has.
const STACK: usize = 512 << 10;

/// Settings for a policy with at most this much memory, in bytes.
pub(crate) fn config(memory: u64) -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .max_wasm_stack(STACK)
        // No policy can be asynchronous, and being able to costs each call 15 %.
        .concurrency_support(false)
        // A policy is a pure function: nothing may depend on the processor it runs on.
        .wasm_relaxed_simd(false)
        .cranelift_nan_canonicalization(true)
        // 4 GiB and 32 MiB by default: 64 policies would take 264 GiB of address space.
        .memory_reservation(memory.clamp(RESERVATION, MOST).next_multiple_of(64 << 10))
        .memory_guard_size(64 << 10);
    config
}

//! The allocator of a guest. The host gives each evaluation a fresh memory and drops it after,
//! so that taking the next bytes is all that an allocator needs to do.

use core::alloc::{GlobalAlloc, Layout};
use core::arch::wasm32::{memory_grow, memory_size, unreachable};
use core::cell::Cell;

const PAGE: usize = 64 * 1024;

/// Where the next allocation begins; 0 before the first one. Nothing is ever freed.
struct Arena {
    next: Cell<usize>,
}

#[expect(unsafe_code, reason = "a guest has one thread")]
unsafe impl Sync for Arena {}

#[global_allocator]
static ARENA: Arena = Arena { next: Cell::new(0) };

impl Arena {
    #[expect(unsafe_code, reason = "the linker defines where the heap begins")]
    fn next(&self) -> usize {
        unsafe extern "C" {
            static __heap_base: u8;
        }
        match self.next.get() {
            0 => (&raw const __heap_base) as usize,
            next => next,
        }
    }

    /// Everything below `end` is ours. No memory left: a trap. What Rust would do instead prints,
    /// and printing makes a policy three times as large.
    fn take(&self, end: usize) {
        let have = memory_size::<0>() * PAGE;
        if end > have && memory_grow::<0>((end - have).div_ceil(PAGE)) == usize::MAX {
            unreachable();
        }
        self.next.set(end);
    }
}

#[expect(unsafe_code, reason = "the interface of an allocator")]
unsafe impl GlobalAlloc for Arena {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let start = self.next().next_multiple_of(layout.align());
        let Some(end) = start.checked_add(layout.size()) else {
            unreachable();
        };
        self.take(end);
        start as *mut u8
    }

    /// Not the default, which would write zeros: fresh memory is zero already.
    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the promises of `alloc`.
        unsafe { self.alloc(layout) }
    }

    #[inline]
    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}

    /// The latest allocation grows where it is: a vector that is pushed to is not copied.
    #[inline]
    unsafe fn realloc(&self, old: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let start = old as usize;
        if start + layout.size() == self.next.get() {
            let Some(end) = start.checked_add(size) else {
                unreachable();
            };
            // Never back: bytes above would no longer be zero.
            self.take(end.max(self.next.get()));
            return old;
        }
        if size <= layout.size() {
            return old;
        }
        // SAFETY: the new block has `size` bytes, which is more than the old one.
        unsafe {
            let new = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            core::ptr::copy_nonoverlapping(old, new, layout.size());
            new
        }
    }
}

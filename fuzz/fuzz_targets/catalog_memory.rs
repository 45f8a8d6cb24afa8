#![no_main]

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};

/// Refuses every block after so many.
struct Refusing;

const NO_LIMIT: u32 = u32::MAX;

/// How many blocks are left.
static LEFT: AtomicU32 = AtomicU32::new(NO_LIMIT);

fn is_granted() -> bool {
    let take = |left| (left != NO_LIMIT).then(|| u32::saturating_sub(left, 1));
    LEFT.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).map_or(true, |left| left > 0)
}

#[global_allocator]
static ALLOCATOR: Refusing = Refusing;

// SAFETY: every block is one of the system's allocator, and none at all where it is refused.
unsafe impl GlobalAlloc for Refusing {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: by the caller's contract.
        if is_granted() { unsafe { System.alloc(layout) } } else { ptr::null_mut() }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: by the caller's contract.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if size <= layout.size() || is_granted() {
            // SAFETY: by the caller's contract.
            unsafe { System.realloc(block, layout, size) }
        } else {
            ptr::null_mut()
        }
    }
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    xspace_fuzz::catalog_memory(data, |blocks| {
        LEFT.store(blocks.map_or(NO_LIMIT, u32::from), Ordering::Relaxed);
    });
});

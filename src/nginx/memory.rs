//! Memory of what the module keeps outside nginx's pools: catalogues.
//!
//! A C library keeps freed memory for blocks to come, glibc in heaps that belong to threads, with
//! single blocks of up to 32 MB in them. A catalogue of a million spaces is read in any thread of
//! nginx's pool and freed in any other, and each of their heaps would keep some of it. So large
//! blocks are mapped from the system one by one, and go back there as soon as they are freed.

use core::alloc::{GlobalAlloc, Layout};
use core::ptr;
use std::alloc::System;

#[global_allocator]
static ALLOCATOR: LargeMapped = LargeMapped;

/// From so many bytes on a block is mapped, as in glibc before it has seen larger ones freed.
const LARGE: usize = 128 * 1024;

/// What a mapping's address is a multiple of at least: the smallest page that there is.
const PAGE: usize = 4096;

/// The allocator of the module's Rust code; nginx itself does not use it.
struct LargeMapped;

fn is_large(size: usize, align: usize) -> bool {
    size >= LARGE && align <= PAGE
}

// SAFETY: a layout alone tells where its block comes from, so each goes back there. A mapping is
// as good a block as any: zeroed, aligned to a page, and of its own.
unsafe impl GlobalAlloc for LargeMapped {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if is_large(layout.size(), layout.align()) {
            return map(layout.size());
        }
        // SAFETY: by the caller's contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if is_large(layout.size(), layout.align()) {
            return map(layout.size());
        }
        // SAFETY: by the caller's contract.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: by the caller's contract nobody uses the block any more, which `map` made if it
        // is large. The system rounds the size up to pages here as it did there.
        unsafe {
            if is_large(layout.size(), layout.align()) {
                libc::munmap(block.cast(), layout.size());
            } else {
                System.dealloc(block, layout);
            }
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let (old_size, align) = (layout.size(), layout.align());
        // SAFETY: by the caller's contract; where a block is large tells `is_large`.
        unsafe {
            match (is_large(old_size, align), is_large(new_size, align)) {
                (false, false) => System.realloc(block, layout, new_size),
                (true, true) => remap(block, old_size, new_size),
                _ => {
                    let new = self.alloc(Layout::from_size_align_unchecked(new_size, align));
                    if !new.is_null() {
                        ptr::copy_nonoverlapping(block, new, old_size.min(new_size));
                        self.dealloc(block, layout);
                    }
                    new
                }
            }
        }
    }
}

/// A new mapping, all zero; null if there is none to be had.
fn map(size: usize) -> *mut u8 {
    let access = libc::PROT_READ | libc::PROT_WRITE;
    let kind = libc::MAP_PRIVATE | libc::MAP_ANON;
    // SAFETY: a mapping at an address that the system chooses overlaps no other.
    let block = unsafe { libc::mmap(ptr::null_mut(), size, access, kind, -1, 0) };
    if block == libc::MAP_FAILED { ptr::null_mut() } else { block.cast() }
}

/// Grows or shrinks a mapping: Linux moves its pages without a copy.
///
/// # Safety
///
/// `block` was made here with `old_size`. If the result is not null, it takes its place.
#[cfg(target_os = "linux")]
unsafe fn remap(block: *mut u8, old_size: usize, new_size: usize) -> *mut u8 {
    // SAFETY: by the contract.
    let new = unsafe { libc::mremap(block.cast(), old_size, new_size, libc::MREMAP_MAYMOVE) };
    if new == libc::MAP_FAILED { ptr::null_mut() } else { new.cast() }
}

/// Grows or shrinks a mapping.
///
/// # Safety
///
/// `block` was made here with `old_size`. If the result is not null, it takes its place.
#[cfg(not(target_os = "linux"))]
unsafe fn remap(block: *mut u8, old_size: usize, new_size: usize) -> *mut u8 {
    let new = map(new_size);
    if !new.is_null() {
        // SAFETY: two mappings, each of at least so many bytes; the old one is not used any more.
        unsafe {
            ptr::copy_nonoverlapping(block, new, old_size.min(new_size));
            libc::munmap(block.cast(), old_size);
        }
    }
    new
}

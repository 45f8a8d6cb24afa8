//! Memory of what the module keeps outside nginx's pools: catalogs.
//!
//! A C library keeps freed memory for blocks to come, glibc in heaps that belong to threads, with
//! single blocks of up to 32 MB in them. A catalog of a million spaces is read in any thread of
//! nginx's pool and freed in any other, and each of their heaps would keep some of it. So large
//! blocks are mapped from the system one by one, and go back there as soon as they are freed.
//!
//! Where there is no more memory, nginx fails the request and goes on; Rust's own types end the
//! process. What they need for one request is small, so a reserve serves them when the system does
//! not. A catalog asks before it grows.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ptr;
use core::sync::atomic::{AtomicU64, Ordering};
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
        let block = unsafe { System.alloc(layout) };
        if block.is_null() { RESERVE.take(layout) } else { block }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if is_large(layout.size(), layout.align()) {
            return map(layout.size());
        }
        // SAFETY: by the caller's contract.
        let block = unsafe { System.alloc_zeroed(layout) };
        if !block.is_null() {
            return block;
        }
        let block = RESERVE.take(layout);
        if !block.is_null() {
            // SAFETY: the reserve has given a block of this size.
            unsafe { block.write_bytes(0, layout.size()) };
        }
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: by the caller's contract nobody uses the block any more, which `map` made if it
        // is large. The system rounds the size up to pages here as it did there.
        unsafe {
            if is_large(layout.size(), layout.align()) {
                libc::munmap(block.cast(), layout.size());
            } else if RESERVE.has(block) {
                RESERVE.give_back();
            } else {
                System.dealloc(block, layout);
            }
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let (old_size, align) = (layout.size(), layout.align());
        // SAFETY: by the caller's contract; where a block is large tells `is_large`. A block that
        // could not be moved is as it was.
        unsafe {
            match (is_large(old_size, align), is_large(new_size, align)) {
                (false, false) if !RESERVE.has(block) => {
                    let new = System.realloc(block, layout, new_size);
                    if !new.is_null() {
                        return new;
                    }
                    if new_size <= old_size {
                        // The block will do, and the system does not ask for its size.
                        return block;
                    }
                    let new = RESERVE.take(Layout::from_size_align_unchecked(new_size, align));
                    if !new.is_null() {
                        ptr::copy_nonoverlapping(block, new, old_size);
                        System.dealloc(block, layout);
                    }
                    new
                }
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

/// For when the system has no memory. The pages are not there before they are used.
static RESERVE: Reserve =
    Reserve { memory: UnsafeCell::new([0; RESERVE_LEN]), state: AtomicU64::new(0) };

/// The answer of a lookup is a few kilobytes, and what is made of it not many more.
const RESERVE_LEN: usize = 256 * 1024;

/// Blocks one behind the other. It is empty again when all of them have been given back.
#[repr(C, align(64))]
struct Reserve {
    /// In the first place, so aligned as well as the whole.
    memory: UnsafeCell<[u8; RESERVE_LEN]>,
    /// In the upper half the number of blocks in use, in the lower half where free memory begins.
    state: AtomicU64,
}

// SAFETY: the memory is only handed out, each byte to one block at a time, by the atomic `state`.
unsafe impl Sync for Reserve {}

impl Reserve {
    const ONE_BLOCK: u64 = 1 << 32;

    /// A block; null if the reserve is used up as well.
    fn take(&self, layout: Layout) -> *mut u8 {
        let mut start = 0;
        let taken = self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, |state| {
            let free = state & (Self::ONE_BLOCK - 1);
            start = free.checked_next_multiple_of(layout.align() as u64)?;
            let end = start.checked_add(layout.size() as u64)?;
            let fits = layout.align() <= align_of::<Self>() && end <= RESERVE_LEN as u64;
            fits.then_some((state - free + Self::ONE_BLOCK) | end)
        });
        match taken {
            // SAFETY: all of the block is inside the memory.
            Ok(_) => unsafe { self.memory.get().cast::<u8>().add(start as usize) },
            Err(_) => ptr::null_mut(),
        }
    }

    fn has(&self, block: *mut u8) -> bool {
        let start = self.memory.get().addr();
        (start..start + RESERVE_LEN).contains(&block.addr())
    }

    /// A block is not used any more.
    fn give_back(&self) {
        // Neither closure fails: whoever gives a block back has taken one.
        let _ = self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, |state| {
            let left = state.saturating_sub(Self::ONE_BLOCK);
            Some(if left < Self::ONE_BLOCK { 0 } else { left })
        });
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

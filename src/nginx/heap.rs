//! Values on the heap, which live as long as they are used.

use core::mem::MaybeUninit;
use std::alloc::{Layout, alloc};

use super::Failure;

/// Memory for a value that is made later, when nothing may fail any more.
#[derive(Debug)]
pub(crate) struct Room<T>(Box<MaybeUninit<T>>);

impl<T> Room<T> {
    /// Allocates the memory, as `Box::new_uninit` does it, which ends the process if there is none.
    pub(crate) fn new() -> Result<Self, Failure> {
        const { assert!(size_of::<T>() > 0) };
        // SAFETY: the layout is that of the type and not empty; the pointer is not null, and nobody
        // else has it. A box is freed by the same allocator, and its content needs no value yet.
        unsafe {
            let place = alloc(Layout::new::<T>()).cast::<MaybeUninit<T>>();
            if place.is_null() { Err(Failure::NO_MEMORY) } else { Ok(Self(Box::from_raw(place))) }
        }
    }

    /// Moves the value there.
    pub(crate) fn fill(mut self, value: T) -> Box<T> {
        self.0.write(value);
        // SAFETY: it was written.
        unsafe { self.0.assume_init() }
    }
}

/// Moves a value to the heap.
pub(crate) fn boxed<T>(value: T) -> Result<Box<T>, Failure> {
    Room::new().map(|room| room.fill(value))
}

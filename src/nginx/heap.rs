//! Values on the heap, which live as long as they are used.

use std::alloc::{Layout, alloc};

use super::Failure;

/// Moves a value to the heap, as `Box::new` does it, which ends the process if there is no memory.
pub(crate) fn boxed<T>(value: T) -> Result<Box<T>, Failure> {
    const { assert!(size_of::<T>() > 0) };
    // SAFETY: the layout is that of the type and not empty; the pointer is not null, and nobody else
    // has it. A box is freed by the same allocator.
    unsafe {
        let place = alloc(Layout::new::<T>()).cast::<T>();
        if place.is_null() {
            return Err(Failure::NO_MEMORY);
        }
        place.write(value);
        Ok(Box::from_raw(place))
    }
}

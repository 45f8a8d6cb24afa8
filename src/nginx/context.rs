//! Where nginx keeps what a module remembers of a request.

use core::ffi::c_void;

use super::Failure;
use super::pool::{Pool, Pooled};

/// The module's place in an array `r->ctx`.
#[derive(Clone, Copy)]
pub(super) struct ContextSlot(*mut *mut c_void);

impl ContextSlot {
    /// # Safety
    ///
    /// As long as the value is used, `place` is valid and nobody else writes to it but nginx, which
    /// writes null.
    pub(super) unsafe fn from_raw(place: *mut *mut c_void) -> Self {
        Self(place)
    }

    /// What is at the place.
    ///
    /// # Safety
    ///
    /// What is there was put there by [`keep`](Self::keep) or [`restore`](Self::restore) with a
    /// pool that is valid for `'p`, and as a `T`.
    pub(super) unsafe fn get<'p, T>(self) -> Option<&'p T> {
        // SAFETY: by the contracts. Of a value in a pool only shared references are made.
        unsafe { (*self.0).cast::<T>().as_ref() }
    }

    /// Moves a value to the pool and notes it at the place.
    #[inline(always)]
    pub(super) fn keep<'p, T: Pooled + 'p>(
        self,
        pool: Pool<'p>,
        make: impl FnOnce() -> T,
    ) -> Result<&'p T, Failure> {
        let stored = pool.store_with(make)?;
        // SAFETY: the place is valid; the value is as long as the pool, and only shared references
        // are made of it.
        unsafe {
            *self.0 = stored.as_ptr().cast();
            Ok(stored.as_ref())
        }
    }

    /// Notes at the place the latest of the pool's values that `is_own` picks: nginx empties
    /// `r->ctx` at every internal redirect, and the realip module finds its context so as well.
    pub(super) fn restore<'p, T: Pooled + 'p>(
        self,
        pool: Pool<'p>,
        is_own: impl Fn(&T) -> bool,
    ) -> Option<&'p T> {
        // SAFETY: values in a pool are valid as long as that, and only shared references are made
        // of them. The place is valid.
        unsafe {
            let own = pool.stored::<T>().find(|value| is_own(value.as_ref()))?;
            *self.0 = own.as_ptr().cast();
            Some(own.as_ref())
        }
    }
}

//! The context of the module in a request, `r->ctx[ctx_index]`.

use core::ffi::c_void;

use super::Failure;
use super::pool::{Pool, Pooled};

/// The module's element of `r->ctx`.
#[derive(Clone, Copy)]
pub(super) struct ContextSlot(*mut *mut c_void);

impl ContextSlot {
    /// # Safety
    ///
    /// As long as the value is used, `slot` is valid and only nginx writes to it besides, null.
    pub(super) unsafe fn from_raw(slot: *mut *mut c_void) -> Self {
        Self(slot)
    }

    /// The context, if there is one.
    ///
    /// # Safety
    ///
    /// It was set by [`set`](Self::set) or [`restore`](Self::restore) with a pool that is valid for
    /// `'p`, and as a `T`.
    pub(super) unsafe fn get<'p, T>(self) -> Option<&'p T> {
        // SAFETY: by the contracts. There are only shared references to a value in a pool.
        unsafe { (*self.0).cast::<T>().as_ref() }
    }

    /// Makes the context, in the pool.
    pub(super) fn set<'p, T: Pooled + 'p>(
        self,
        pool: Pool<'p>,
        make: impl FnOnce() -> T,
    ) -> Result<&'p T, Failure> {
        let stored = pool.store_with(make)?;
        // SAFETY: the slot is valid; the value is as long as the pool, and there are only shared
        // references to it.
        unsafe {
            *self.0 = stored.as_ptr().cast();
            Ok(stored.as_ref())
        }
    }

    /// Sets the context to the latest of the pool's values that `is_own` picks: nginx clears `r->ctx`
    /// on every internal redirect. The realip module finds its context in the same way.
    pub(super) fn restore<'p, T: Pooled + 'p>(
        self,
        pool: Pool<'p>,
        is_own: impl Fn(&T) -> bool,
    ) -> Option<&'p T> {
        // SAFETY: values in a pool are valid as long as that, and there are only shared references
        // to them. The slot is valid.
        unsafe {
            let own = pool.stored::<T>().find(|value| is_own(value.as_ref()))?;
            *self.0 = own.as_ptr().cast();
            Some(own.as_ref())
        }
    }
}

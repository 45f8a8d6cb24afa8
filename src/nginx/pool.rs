//! Memory that is freed with a request or with a configuration.

use core::marker::PhantomData;
use core::mem;
use core::ptr::{self, NonNull};
use core::slice;

use nginx_sys::{NGX_ALIGNMENT, ngx_palloc, ngx_pnalloc, ngx_pool_cleanup_t, ngx_pool_t};

use super::Failure;

/// A pool that lives at least as long as `'p`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pool<'p> {
    raw: NonNull<ngx_pool_t>,
    lives: PhantomData<&'p ()>,
}

/// What a pool calls with the address of a value before it goes; the address of the function also
/// tells such a value from others in the pool.
pub(crate) type Cleanup = extern "C" fn(*mut core::ffi::c_void);

/// A value with the pool's note of what to call before it goes.
#[repr(C)]
struct WithCleanup<T> {
    entry: ngx_pool_cleanup_t,
    value: T,
}

impl<'p> Pool<'p> {
    /// # Safety
    ///
    /// `pool` is valid for `'p`.
    pub(crate) unsafe fn from_raw(pool: NonNull<ngx_pool_t>) -> Self {
        Self { raw: pool, lives: PhantomData }
    }

    /// Allocates `len` bytes, all 0.
    pub(crate) fn bytes(self, len: usize) -> Result<&'p mut [u8], Failure> {
        // SAFETY: the pool is valid; the memory is `len` bytes that nothing else points to, and
        // they are initialized before a slice of them exists.
        unsafe {
            let bytes = NonNull::new(ngx_pnalloc(self.raw.as_ptr(), len).cast::<u8>())
                .ok_or(Failure::NO_MEMORY)?
                .as_ptr();
            ptr::write_bytes(bytes, 0, len);
            Ok(slice::from_raw_parts_mut(bytes, len))
        }
    }

    /// Puts parts one after the other.
    ///
    /// Inlined, for then parts whose length is known need no call to be copied.
    #[inline(always)]
    pub(crate) fn concat<const N: usize>(self, parts: [&[u8]; N]) -> Result<&'p mut [u8], Failure> {
        let len = parts.iter().fold(0, |len: usize, part| len.saturating_add(part.len()));
        // SAFETY: the pool is valid; the memory is `len` bytes that nothing else points to, or
        // null, which it also is for a sum that had to be cut. Each of the bytes is written, for
        // the parts are just as long together, before a slice of them exists.
        unsafe {
            let bytes = NonNull::new(ngx_pnalloc(self.raw.as_ptr(), len).cast::<u8>())
                .ok_or(Failure::NO_MEMORY)?
                .as_ptr();
            let mut end = bytes;
            for part in parts {
                ptr::copy_nonoverlapping(part.as_ptr(), end, part.len());
                end = end.add(part.len());
            }
            Ok(slice::from_raw_parts_mut(bytes, len))
        }
    }

    /// Moves a value into the pool. It is never dropped.
    pub(crate) fn store<T: Copy>(self, value: T) -> Result<&'p mut T, Failure> {
        const { assert!(mem::align_of::<T>() <= NGX_ALIGNMENT) };
        // SAFETY: the pool is valid; the memory is large enough and aligned (`ngx_palloc` aligns
        // to NGX_ALIGNMENT), and nothing else points to it.
        unsafe {
            let place =
                NonNull::new(ngx_palloc(self.raw.as_ptr(), mem::size_of::<T>()).cast::<T>())
                    .ok_or(Failure::NO_MEMORY)?
                    .as_ptr();
            place.write(value);
            Ok(&mut *place)
        }
    }

    /// Makes a value in the pool, which calls `cleanup` with its address before it goes.
    #[inline(always)]
    pub(crate) fn store_with<T>(
        self,
        make: impl FnOnce() -> T,
        cleanup: Cleanup,
    ) -> Result<&'p T, Failure> {
        const { assert!(mem::align_of::<WithCleanup<T>>() <= NGX_ALIGNMENT) };
        // SAFETY: as in `store`. The entry is put in front of the pool's list with all of its
        // fields set, as `ngx_pool_cleanup_add` does it with memory apart from that of the value.
        unsafe {
            let pool = self.raw.as_ptr();
            let place = ngx_palloc(pool, mem::size_of::<WithCleanup<T>>()).cast::<WithCleanup<T>>();
            let place = NonNull::new(place).ok_or(Failure::NO_MEMORY)?.as_ptr();
            let stored = &raw mut (*place).value;
            stored.write(make());
            let entry = &raw mut (*place).entry;
            entry.write(ngx_pool_cleanup_t {
                handler: Some(cleanup),
                data: stored.cast(),
                next: (*pool).cleanup,
            });
            (*pool).cleanup = entry;
            Ok(&*stored)
        }
    }

    /// The values that were moved into the pool with this `cleanup`, the latest first.
    ///
    /// # Safety
    ///
    /// Each call of [`store_with`](Self::store_with) with this `cleanup` had a value of type `T`.
    pub(crate) unsafe fn stored<T: 'p>(self, cleanup: Cleanup) -> impl Iterator<Item = &'p T> {
        // SAFETY: the pool is valid, and so is its list of cleanup entries.
        let mut next = unsafe { (*self.raw.as_ptr()).cleanup };
        core::iter::from_fn(move || {
            while !next.is_null() {
                // SAFETY: an entry of the list is valid, and `data` of one with our handler
                // is a `T` by the contract of this function.
                unsafe {
                    let entry = next;
                    next = (*entry).next;
                    let ours = (*entry).handler.is_some_and(|h| ptr::fn_addr_eq(h, cleanup));
                    if ours {
                        return Some(&*(*entry).data.cast::<T>());
                    }
                }
            }
            None
        })
    }
}

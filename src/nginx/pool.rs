//! Memory that is freed with a request or with a configuration.

use core::ffi::c_void;
use core::marker::PhantomData;
use core::mem;
use core::ptr::{self, NonNull};
use core::slice;

use model::text::Pieces;
use nginx_sys::{NGX_ALIGNMENT, ngx_palloc, ngx_pnalloc, ngx_pool_cleanup_t, ngx_pool_t};

use super::Failure;
use super::guard;

/// A pool that lives at least as long as `'p`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pool<'p> {
    raw: NonNull<ngx_pool_t>,
    lives: PhantomData<&'p ()>,
}

/// A type whose values are kept in a pool and dropped with it. Implemented by [`pooled!`].
///
/// # Safety
///
/// `KIND` is a `static` of this type alone, whose `drop` drops a value of this type.
pub(crate) unsafe trait Pooled {
    /// Tells the type's values from all others in a pool.
    const KIND: &'static Kind;
}

/// How values of a type are dropped. Its address identifies the type; the address of the function
/// would not, because the compiler may merge functions with the same code.
pub(crate) struct Kind {
    /// Drops the value at an address.
    pub(crate) drop: unsafe fn(*mut c_void),
}

/// Makes a type one whose values can be kept in a pool.
macro_rules! pooled {
    ($type:ty) => {
        // SAFETY: the static and the function in it are of this type alone.
        unsafe impl $crate::nginx::pool::Pooled for $type {
            const KIND: &'static $crate::nginx::pool::Kind = {
                unsafe fn drop_value(value: *mut core::ffi::c_void) {
                    // SAFETY: `Kind::drop` is called once for each value, with its address.
                    unsafe { core::ptr::drop_in_place(value.cast::<$type>()) }
                }
                static KIND: $crate::nginx::pool::Kind =
                    $crate::nginx::pool::Kind { drop: drop_value };
                &KIND
            };
        }
    };
}
pub(crate) use pooled;

type Cleanup = unsafe extern "C" fn(*mut c_void);

/// The handler of all entries of the module in a pool's list. Always read from here, so that it has
/// one address.
static CLEANUP: Cleanup = clean_up;

/// A value with its entry in the pool's list of cleanup handlers.
#[repr(C)]
struct Stored<T> {
    head: Head,
    value: T,
}

/// What precedes each value, whatever its type.
#[repr(C)]
struct Head {
    entry: ngx_pool_cleanup_t,
    kind: &'static Kind,
}

/// Drops the value after a head.
unsafe extern "C" fn clean_up(head: *mut c_void) {
    // SAFETY: nginx calls the function once for each entry that `store_with` has made, with the data
    // that it has set: the address of a head, followed by a value of the kind.
    guard::catch(None, (), || unsafe {
        let head = head.cast::<Head>();
        ((*head).kind.drop)(head.add(1).cast());
    });
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
        // they are initialized before there is a slice of them.
        unsafe {
            let bytes = NonNull::new(ngx_pnalloc(self.raw.as_ptr(), len).cast::<u8>())
                .ok_or(Failure::NO_MEMORY)?
                .as_ptr();
            ptr::write_bytes(bytes, 0, len);
            Ok(slice::from_raw_parts_mut(bytes, len))
        }
    }

    /// Allocates the concatenation of parts.
    pub(crate) fn concat<const N: usize>(self, parts: [&[u8]; N]) -> Result<&'p mut [u8], Failure> {
        let len = parts.iter().fold(0, |len: usize, part| len.saturating_add(part.len()));
        // SAFETY: the pool is valid; the memory is `len` bytes that nothing else points to, or
        // null, which it also is for a sum that would overflow. The parts have `len` bytes together,
        // so each is written before there is a slice of them.
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

    /// Puts the pieces of a text one after the other.
    pub(crate) fn write(self, text: &impl Pieces) -> Result<&'p [u8], Failure> {
        let mut len = 0;
        text.write(|piece| len += piece.len());
        // SAFETY: the pool is valid; the memory is `len` bytes that nothing else points to, of which
        // no more are written. Those that were written are initialized.
        unsafe {
            let bytes = NonNull::new(ngx_pnalloc(self.raw.as_ptr(), len).cast::<u8>())
                .ok_or(Failure::NO_MEMORY)?
                .as_ptr();
            let mut written = 0;
            text.write(|piece| {
                if piece.len() <= len - written {
                    ptr::copy_nonoverlapping(piece.as_ptr(), bytes.add(written), piece.len());
                    written += piece.len();
                }
            });
            Ok(slice::from_raw_parts(bytes, written))
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

    /// Makes a value in the pool that is dropped before the pool is destroyed.
    ///
    /// The pointer is valid until then, for reading and for writing. The caller is responsible for
    /// the aliasing of references to it: the pool itself uses the value only to drop it.
    pub(crate) fn store_with<T: Pooled + 'p>(
        self,
        make: impl FnOnce() -> T,
    ) -> Result<NonNull<T>, Failure> {
        const {
            assert!(mem::align_of::<Stored<T>>() <= NGX_ALIGNMENT);
            assert!(mem::offset_of!(Stored<T>, value) == mem::size_of::<Head>());
        }
        // SAFETY: as in `store`. The entry is added to the front of the pool's list with all of its
        // fields set, as `ngx_pool_cleanup_add` does with separate memory. All pointers are derived
        // from the one to the allocation, so that using one does not invalidate another.
        unsafe {
            let pool = self.raw.as_ptr();
            let place = ngx_palloc(pool, mem::size_of::<Stored<T>>()).cast::<Stored<T>>();
            let place = NonNull::new(place).ok_or(Failure::NO_MEMORY)?.as_ptr();
            let stored = &raw mut (*place).value;
            stored.write(make());
            let entry = ngx_pool_cleanup_t {
                handler: Some(CLEANUP),
                data: place.cast(),
                next: (*pool).cleanup,
            };
            (&raw mut (*place).head).write(Head { entry, kind: T::KIND });
            (*pool).cleanup = place.cast();
            Ok(NonNull::new_unchecked(stored))
        }
    }

    /// The values of a type in the pool, the latest first. Each is valid as long as the pool.
    pub(crate) fn stored<T: Pooled>(self) -> impl Iterator<Item = NonNull<T>> {
        // SAFETY: the pool is valid, and so is its list of cleanup entries.
        let mut next = unsafe { (*self.raw.as_ptr()).cleanup };
        core::iter::from_fn(move || {
            while !next.is_null() {
                // SAFETY: an entry of the list is valid. The data of one with our handler is the
                // address of a head, because only `store_with` uses that function, and a head of the
                // kind is followed by a `T`, by the contract of `Pooled`.
                unsafe {
                    let entry = next;
                    next = (*entry).next;
                    if (*entry).handler.is_some_and(|handler| ptr::fn_addr_eq(handler, CLEANUP)) {
                        let head = (*entry).data.cast::<Head>();
                        if ptr::eq((*head).kind, T::KIND) {
                            return NonNull::new(head.add(1).cast::<T>());
                        }
                    }
                }
            }
            None
        })
    }
}

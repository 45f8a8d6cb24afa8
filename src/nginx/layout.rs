//! Where nginx's structs have their fields: what NGINX's own compiler says, not bindgen.
//!
//! bindgen places a bit field wrongly where its storage unit is straddled (in `ngx_http_request_t`
//! from NGINX 1.29.3 on), so the module takes no bit field from the bindings: each is a constant
//! here, named as in NGINX, `ngx_http_request_t::internal`. Of other fields that the module uses,
//! offset and size in the bindings are compared with those of NGINX's compiler, and a difference
//! fails the build. `layout.c` lists all of them; the build script reads the answers out of its
//! object. `make lint` refuses what is not listed.

use core::marker::PhantomData;

/// The structs under the names that NGINX has for them.
mod types {
    pub(super) use super::super::job::ThreadTask as ngx_thread_task_t;
    pub(super) use nginx_sys::*;
}

/// A bit field of the struct `S`.
pub(crate) struct BitField<S> {
    /// The unit that has all of the field: its offset and size in bytes.
    offset: usize,
    size: usize,
    /// Where the field is in the unit, read as a number.
    shift: u32,
    /// The field's largest value.
    max: u32,
    of: PhantomData<fn(*const S)>,
}

impl<S> Clone for BitField<S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for BitField<S> {}

impl<S> BitField<S> {
    /// A field of `width` bits, from `shift` on in the unit of `size` bytes at `offset`.
    const fn new(offset: usize, size: usize, shift: u32, width: u32) -> Self {
        assert!(offset + size <= size_of::<S>(), "a bit field behind the end of its struct");
        let field = Self { offset, size, shift, max: u32::MAX >> (32 - width), of: PhantomData };
        // What `get` and `set` do, tried once for each field while the module is compiled.
        assert!(field.value_in(field.unit_with(0, u32::MAX)) == field.max);
        assert!(field.value_in(field.unit_with(u64::MAX, 0)) == 0);
        assert!(field.unit_with(u64::MAX, 0).count_zeros() == width);
        field
    }

    const fn value_in(self, unit: u64) -> u32 {
        (unit >> self.shift) as u32 & self.max
    }

    /// The unit with another value of the field; bits that it has no room for are dropped, as in C.
    const fn unit_with(self, unit: u64, value: u32) -> u64 {
        (unit & !((self.max as u64) << self.shift)) | (((value & self.max) as u64) << self.shift)
    }

    /// # Safety
    ///
    /// `of` is valid for reads.
    #[inline(always)]
    unsafe fn read(self, of: *const S) -> u64 {
        // SAFETY: by the contract; `new` has seen that the unit is in the struct.
        unsafe {
            let unit = of.byte_add(self.offset);
            match self.size {
                1 => unit.cast::<u8>().read().into(),
                2 => unit.cast::<u16>().read_unaligned().into(),
                4 => unit.cast::<u32>().read_unaligned().into(),
                _ => unit.cast::<u64>().read_unaligned(),
            }
        }
    }

    /// # Safety
    ///
    /// `of` is valid for reads of what the field's unit has.
    #[inline(always)]
    pub(crate) unsafe fn get(self, of: *const S) -> u32 {
        // SAFETY: by the contract.
        self.value_in(unsafe { self.read(of) })
    }

    /// Whether the field is not 0.
    ///
    /// # Safety
    ///
    /// As for [`get`](Self::get).
    #[inline(always)]
    pub(crate) unsafe fn is_set(self, of: *const S) -> bool {
        // SAFETY: by the contract.
        unsafe { self.get(of) != 0 }
    }

    /// Sets the field and leaves those beside it as they are.
    ///
    /// # Safety
    ///
    /// `of` is valid for reads and writes, and nobody else uses it meanwhile.
    #[inline(always)]
    pub(crate) unsafe fn set(self, of: *mut S, value: u32) {
        // SAFETY: by the contract; `new` has seen that the unit is in the struct.
        unsafe {
            let new = self.unit_with(self.read(of), value);
            let unit = of.byte_add(self.offset);
            match self.size {
                1 => unit.cast::<u8>().write(new as u8),
                2 => unit.cast::<u16>().write_unaligned(new as u16),
                4 => unit.cast::<u32>().write_unaligned(new as u32),
                _ => unit.cast::<u64>().write_unaligned(new),
            }
        }
    }
}

/// The size of the field that a function points to.
#[allow(dead_code, reason = "Rust 1.85 does not see that constants without a name use it")]
const fn size_of_field<S, F>(_: fn(*const S) -> *const F) -> usize {
    size_of::<F>()
}

/// What the build script has written.
#[cfg_attr(not(feature = "s3"), allow(dead_code, reason = "only `s3` uses all bit fields"))]
#[allow(
    non_upper_case_globals,
    clippy::undocumented_unsafe_blocks,
    reason = "the names are NGINX's, and of its functions only the types are used: none is called"
)]
mod generated {
    use super::{BitField, size_of_field, types};

    include!(concat!(env!("OUT_DIR"), "/layout.rs"));
}

pub(crate) use generated::*;

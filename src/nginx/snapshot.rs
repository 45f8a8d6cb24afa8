//! Undoes what the evaluation of variables changes in a request.

use core::{mem, ptr};

use nginx_sys::{ngx_http_get_indexed_variable, ngx_http_variable_value_t, ngx_palloc};

use super::Failure;
use super::configuration::VariableIndex;
use super::module::core_main_conf;
use super::request::Request;

/// The values of variables that a request has, and the captures of its last regular expression.
///
/// nginx keeps a value that depends on `$uri` (that of a `map`, say), and the captures of a regular
/// expression replace those of the one before. Neither may remain after stat() with a URI other than
/// the request's.
#[derive(Debug)]
pub(crate) struct Snapshot {
    values: *const [ngx_http_variable_value_t],
    #[cfg(ngx_feature = "pcre")]
    captures: Captures,
}

#[cfg(ngx_feature = "pcre")]
#[derive(Debug)]
struct Captures {
    /// A copy in the request's pool of as many offsets as nginx allocates; null if it had none.
    offsets: *const core::ffi::c_int,
    len: usize,
    /// How many of them are set, and the text that they are offsets of.
    count: usize,
    text: *mut u8,
}

impl Snapshot {
    /// Takes one. `random` is evaluated first, so that its value stays the same.
    pub(crate) fn take(
        request: &Request<'_>,
        random: Option<VariableIndex>,
    ) -> Result<Self, Failure> {
        let r = request.as_raw();
        // SAFETY: the request is valid (nginx.rs). An index is that of a variable; `captures` is
        // null or has `ncaptures` elements (only `ngx_http_regex_exec` allocates them; a subrequest
        // that is a clone starts with its parent's).
        unsafe {
            if let Some(VariableIndex(index)) = random {
                // If this fails the value is "not found", as it would be later.
                ngx_http_get_indexed_variable(r, index);
            }
            #[cfg(ngx_feature = "pcre")]
            let cmcf = core_main_conf((*r).main_conf);
            Ok(Self {
                values: copy_values(request)?,
                #[cfg(ngx_feature = "pcre")]
                captures: Captures {
                    offsets: copy(request, (*r).captures, (*cmcf).ncaptures)?,
                    len: (*cmcf).ncaptures,
                    count: (*r).ncaptures,
                    text: (*r).captures_data,
                },
            })
        }
    }

    /// Restores the request that it was taken of. May be called several times.
    pub(crate) fn restore(&self, request: &Request<'_>) {
        let r = request.as_raw();
        // SAFETY: as in `take`; nginx allocates the array of values once. It may have allocated new
        // captures, if a subrequest shares the old ones; those have not changed then, and the new
        // ones get the same content. Copies and originals are different memory.
        unsafe {
            ptr::copy_nonoverlapping(self.values.cast(), (*r).variables, self.values.len());
            #[cfg(ngx_feature = "pcre")]
            {
                let Captures { offsets, len, count, text } = self.captures;
                if !offsets.is_null() {
                    ptr::copy_nonoverlapping(offsets, (*r).captures, len);
                }
                (*r).ncaptures = count;
                (*r).captures_data = text;
            }
        }
    }
}

/// A copy, in the request's pool, of the current values of all indexed variables.
pub(super) fn copy_values(
    request: &Request<'_>,
) -> Result<*mut [ngx_http_variable_value_t], Failure> {
    let r = request.as_raw();
    // SAFETY: the request is valid (nginx.rs). Its array of values has an element for each indexed
    // variable (`ngx_http_alloc_request`).
    unsafe {
        let count = (*core_main_conf((*r).main_conf)).variables.nelts;
        let values = copy(request, (*r).variables, count)?;
        Ok(ptr::slice_from_raw_parts_mut(values, count))
    }
}

/// Copies an array into the request's pool; null stays null.
///
/// # Safety
///
/// `from` is null or has `count` elements.
unsafe fn copy<T: Copy>(
    request: &Request<'_>,
    from: *const T,
    count: usize,
) -> Result<*mut T, Failure> {
    if from.is_null() {
        return Ok(ptr::null_mut());
    }
    // SAFETY: the request is valid and has a pool; the array is there already, so its size fits.
    // `ngx_palloc` aligns for any type.
    unsafe {
        let to = ngx_palloc((*request.as_raw()).pool, count * mem::size_of::<T>()).cast::<T>();
        if to.is_null() {
            return Err(Failure::NO_MEMORY);
        }
        ptr::copy_nonoverlapping(from, to, count);
        Ok(to)
    }
}

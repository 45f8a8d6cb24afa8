//! nginx's compiled scripts: `rewrite`, `set` and `if` in a location, and its `root` or `alias`.
//!
//! A script is an array of codes of different sizes. Each begins with a pointer to a function, and
//! all sizes are multiples of a pointer's (`ngx_http_script_start_code`, and
//! `ngx_http_script_add_copy_code` for text), so the address of its function finds a code.

use core::ffi::c_void;
use core::mem;

use nginx_sys::{
    ngx_array_t, ngx_http_script_copy_var_code, ngx_http_script_return_code,
    ngx_http_script_set_var_code, ngx_http_script_var_code_t,
};
#[cfg(ngx_feature = "pcre")]
use nginx_sys::{
    ngx_http_script_regex_code_t, ngx_http_script_regex_end_code, ngx_http_script_regex_start_code,
    ngx_regex_exec,
};

use super::configuration::{Conf, VariableIndex};
use super::location::Location;
#[cfg(ngx_feature = "pcre")]
use super::request::string;

/// A compiled script, or null.
#[derive(Clone, Copy)]
struct Script(*const ngx_array_t);

impl Script {
    /// The codes with a function.
    fn find(self, function: *const c_void) -> impl Iterator<Item = *const u8> {
        // SAFETY: a script is null or an array of bytes that nginx has filled, aligned as pointers
        // are; it stays as long as the configuration.
        let (start, len) = unsafe {
            self.0.as_ref().map_or((core::ptr::null(), 0), |codes| {
                (codes.elts.cast_const().cast::<u8>(), codes.nelts)
            })
        };
        (0..len / mem::size_of::<usize>()).filter_map(move |word| {
            // SAFETY: as above; the word is within the array.
            unsafe {
                let place = start.cast::<*const c_void>().add(word);
                (place.read() == function).then_some(place.cast())
            }
        })
    }

    /// Whether the first code has a function.
    fn begins_with(self, function: *const c_void) -> bool {
        // SAFETY: as for `find`; a script that is not null has a code.
        unsafe {
            let codes = self.0.as_ref().filter(|codes| codes.nelts >= mem::size_of::<usize>());
            codes.is_some_and(|codes| codes.elts.cast::<*const c_void>().read() == function)
        }
    }

    /// The variables of the codes with a function.
    fn variables(self, function: *const c_void) -> impl Iterator<Item = usize> {
        self.find(function).map(|code| {
            // SAFETY: this is called with two functions, whose codes have this type.
            unsafe { (*code.cast::<ngx_http_script_var_code_t>()).index }
        })
    }
}

// SAFETY of this block's calls: as for the other methods of `Location` and `Conf`.
impl Conf<'_> {
    /// The script of `rewrite`, `set`, `if`, `return` and `break` in a location, or in a server
    /// outside of its locations. In all versions from 1.22 to 1.31 the pointer to it is the first
    /// field of the rewrite module's configuration (`ngx_array_t *codes`).
    fn rewrites(&self, location: Location) -> Script {
        Script(self.first_pointer(c"ngx_http_rewrite_module", location).cast())
    }

    /// Whether `return` answers all requests in a location: it is the first of these directives.
    pub(crate) fn always_returns(&self, location: Location) -> bool {
        self.rewrites(location).begins_with(ngx_http_script_return_code as *const c_void)
    }

    /// The name of a variable in the `root` or `alias` of a location that `set` changes there.
    pub(crate) fn variable_set_in(&self, location: Location) -> Option<&'static [u8]> {
        let set = ngx_http_script_set_var_code as *const c_void;
        let read = ngx_http_script_copy_var_code as *const c_void;
        let rewrites = self.rewrites(location);
        // SAFETY: see above.
        let root = Script(unsafe { (*location.as_raw()).root_values });
        let index = root.variables(read).find(|&index| rewrites.variables(set).any(|i| i == index));
        self.variable_name(VariableIndex(index?))
    }

    /// The names of the variables in the `root` or `alias` of a location.
    pub(crate) fn variables_of_root(
        &self,
        location: Location,
    ) -> impl Iterator<Item = &'static [u8]> {
        // SAFETY: see above.
        let root = Script(unsafe { (*location.as_raw()).root_values });
        root.variables(ngx_http_script_copy_var_code as *const c_void)
            .filter_map(|index| self.variable_name(VariableIndex(index)))
    }

    /// Whether a `rewrite` in a location, or in a server outside of its locations, changes one of
    /// `uris`; any URI if there are none.
    #[cfg(ngx_feature = "pcre")]
    pub(crate) fn has_rewrite(&self, location: Location, uris: &[Vec<u8>]) -> bool {
        let rewrites = self.rewrites(location);
        let ends = || rewrites.find(ngx_http_script_regex_end_code as *const c_void);
        rewrites.find(ngx_http_script_regex_start_code as *const c_void).any(|start| {
            // SAFETY: a code with this function has this type; `next` is the distance in bytes to
            // the next code, and the regular expression is compiled.
            unsafe {
                let code = &*start.cast::<ngx_http_script_regex_code_t>();
                // `if` has such a code too, but without the one that ends a `rewrite`.
                let is_rewrite =
                    ends().any(|end| end > start && end < start.wrapping_add(code.next));
                is_rewrite
                    && (uris.is_empty()
                        || uris.iter().any(|uri| {
                            let mut uri = string(uri);
                            let regex = (*code.regex).regex;
                            ngx_regex_exec(regex, &raw mut uri, core::ptr::null_mut(), 0) >= 0
                        }))
            }
        })
    }

    #[cfg(not(ngx_feature = "pcre"))]
    pub(crate) fn has_rewrite(&self, _: Location, _: &[Vec<u8>]) -> bool {
        // The rewrite module needs regular expressions.
        false
    }
}

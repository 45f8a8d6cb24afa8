//! Values of directives that may hold variables.

use core::mem;
use core::ptr::{self, NonNull};

use nginx_sys::{
    NGX_OK, ngx_http_compile_complex_value, ngx_http_compile_complex_value_t,
    ngx_http_complex_value, ngx_http_complex_value_t, ngx_int_t, ngx_str_t,
};

use super::Failure;
use super::configuration::{Conf, VariableIndex};
use super::request::Request;

/// A compiled value, in the memory of the configuration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ComplexValue(NonNull<Compiled>);

#[derive(Clone, Copy)]
struct Compiled {
    value: ngx_http_complex_value_t,
    /// Whether it is being evaluated: its variables may lead back to it. Evaluating never waits, so
    /// that this can't be for another request.
    is_busy: bool,
    circle: Failure,
}

/// nginx has already written to its log why a value can't be compiled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NotCompiled;

impl ComplexValue {
    /// Compiles the argument of a directive at this place, 0 being the directive's name. `circle` is
    /// what evaluating it fails with where its variables lead back to it.
    pub(crate) fn compile(
        conf: &Conf<'_>,
        argument: usize,
        circle: Failure,
    ) -> Result<Self, NotCompiled> {
        let mut source = conf.raw_argument(argument).ok_or(NotCompiled)?;
        let compiled = conf.pool().store(Compiled {
            value: ngx_http_complex_value_t {
                value: ngx_str_t::empty(),
                flushes: ptr::null_mut(),
                lengths: ptr::null_mut(),
                values: ptr::null_mut(),
                u: nginx_sys::ngx_http_complex_value_t__bindgen_ty_1 { size: 0 },
            },
            is_busy: false,
            circle,
        });
        let compiled = NonNull::from(compiled.map_err(|_| NotCompiled)?);

        // SAFETY: all fields of the C struct are set, the remaining flags to 0, which is their
        // meaning of "no"; the value outlives the configuration's parsing, and `source` is only
        // read during the call.
        let rc = unsafe {
            let mut compile: ngx_http_compile_complex_value_t = mem::zeroed();
            compile.cf = conf.as_raw();
            compile.value = &raw mut source;
            compile.complex_value = &raw mut (*compiled.as_ptr()).value;
            ngx_http_compile_complex_value(&raw mut compile)
        };
        if rc == NGX_OK as ngx_int_t { Ok(Self(compiled)) } else { Err(NotCompiled) }
    }

    /// Whether the value names the variable itself, not by way of another one.
    pub(crate) fn names(self, conf: &Conf<'_>, variable: &str) -> bool {
        let Some(VariableIndex(wanted)) = conf.variable_index(variable.as_bytes()) else {
            return false;
        };
        // SAFETY: `flushes` is null or an array of the indices of all variables in the value, with
        // -1 behind the last one (`ngx_http_script_add_var_code`, `ngx_http_script_init_arrays`).
        unsafe {
            let mut index = (*self.0.as_ptr()).value.flushes;
            while !index.is_null() && *index != usize::MAX {
                if *index == wanted {
                    return true;
                }
                index = index.add(1);
            }
        }
        false
    }

    /// What evaluating the value fails with, if it is being evaluated.
    pub(crate) fn circle(self) -> Option<Failure> {
        // SAFETY: a compiled value is valid as long as the configuration.
        unsafe {
            let Compiled { is_busy, circle, .. } = *self.0.as_ptr();
            is_busy.then_some(circle)
        }
    }

    /// Whether the value holds no variables.
    pub(crate) fn is_constant(self) -> bool {
        // SAFETY: a compiled value is valid as long as the configuration.
        unsafe { (*self.0.as_ptr()).value.lengths.is_null() }
    }

    /// The value for a request.
    pub(crate) fn evaluate<'r>(self, request: &Request<'r>) -> Result<&'r [u8], Failure> {
        let mut value = ngx_str_t::empty();
        let compiled = self.0.as_ptr();
        // SAFETY: request and value are valid; the result points to the request's pool or to the
        // configuration, both of which live as long as the request. No reference to `compiled` is
        // held during the call, which may come back here.
        unsafe {
            if (*compiled).is_busy {
                return Err((*compiled).circle);
            }
            (*compiled).is_busy = true;
            let rc = ngx_http_complex_value(
                request.as_raw(),
                &raw mut (*compiled).value,
                &raw mut value,
            );
            (*compiled).is_busy = false;
            if rc != NGX_OK as ngx_int_t {
                return Err(Failure("ngx_http_complex_value() failed"));
            }
            Ok(super::request::bytes(value))
        }
    }
}

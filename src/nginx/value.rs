//! Values of directives that may have variables.

use core::mem;
use core::ptr::NonNull;

use nginx_sys::{
    NGX_OK, ngx_http_compile_complex_value, ngx_http_compile_complex_value_t,
    ngx_http_complex_value, ngx_http_complex_value_t, ngx_int_t, ngx_str_t,
};

use super::Failure;
use super::configuration::{Conf, VariableIndex};
use super::request::{Request, string};

/// A compiled value, in the configuration's pool.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ComplexValue(NonNull<Compiled>);

#[derive(Clone, Copy)]
struct Compiled {
    value: ngx_http_complex_value_t,
    /// Whether it is being evaluated, for one request: an evaluation never waits. Its variables may
    /// lead back to it.
    is_busy: bool,
    cycle: Failure,
}

impl ComplexValue {
    /// Compiles a text of the configuration. `cycle` is the failure of an evaluation that the
    /// variables lead back to. If it can't be compiled, nginx has logged the reason.
    pub(crate) fn compile(conf: &Conf<'_>, text: &'static [u8], cycle: Failure) -> Option<Self> {
        let mut source = string(text);
        // SAFETY: all fields may be zero, as in nginx's own values.
        let value = unsafe { mem::zeroed() };
        let compiled = conf.pool().store(Compiled { value, is_busy: false, cycle }).ok()?;
        let compiled = NonNull::from(compiled);

        // SAFETY: the fields that are not set are flags, and 0 is "no"; the value lives as long as
        // the configuration, and `source` is only read during the call.
        let rc = unsafe {
            let mut compile: ngx_http_compile_complex_value_t = mem::zeroed();
            compile.cf = conf.as_raw();
            compile.value = &raw mut source;
            compile.complex_value = &raw mut (*compiled.as_ptr()).value;
            ngx_http_compile_complex_value(&raw mut compile)
        };
        (rc == NGX_OK as ngx_int_t).then_some(Self(compiled))
    }

    /// Whether the value contains the variable itself, not through another one.
    pub(crate) fn names(self, conf: &Conf<'_>, variable: &str) -> bool {
        let Some(VariableIndex(wanted)) = conf.variable_index(variable.as_bytes()) else {
            return false;
        };
        // SAFETY: `flushes` is null or an array of the indexes of the variables in the value, ended
        // by -1 (`ngx_http_script_add_var_code`, `ngx_http_script_init_arrays`).
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

    /// The failure of an evaluation now, if the value is being evaluated.
    pub(crate) fn cycle(self) -> Option<Failure> {
        // SAFETY: a compiled value is valid as long as the configuration.
        unsafe {
            let Compiled { is_busy, cycle, .. } = *self.0.as_ptr();
            is_busy.then_some(cycle)
        }
    }

    /// Whether the value has no variables.
    pub(crate) fn is_constant(self) -> bool {
        // SAFETY: a compiled value is valid as long as the configuration.
        unsafe { (*self.0.as_ptr()).value.lengths.is_null() }
    }

    /// The value for a request.
    pub(crate) fn evaluate<'r>(self, request: &Request<'r>) -> Result<&'r [u8], Failure> {
        let mut value = ngx_str_t::empty();
        let compiled = self.0.as_ptr();
        // SAFETY: request and value are valid; the result points to the request's pool or to the
        // configuration, which live as long as the request. The call may come back here, so no
        // reference to `compiled` is held.
        unsafe {
            if (*compiled).is_busy {
                return Err((*compiled).cycle);
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

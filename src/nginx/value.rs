//! Values of directives that may hold variables.

use core::mem;
use core::ptr::NonNull;

use nginx_sys::{
    NGX_OK, ngx_http_compile_complex_value, ngx_http_compile_complex_value_t,
    ngx_http_complex_value, ngx_http_complex_value_t, ngx_int_t, ngx_str_t,
};

use super::Failure;
use super::configuration::Conf;
use super::request::Request;

/// A compiled value, in the memory of the configuration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ComplexValue(NonNull<ngx_http_complex_value_t>);

/// nginx has already written to its log why a value can't be compiled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NotCompiled;

impl ComplexValue {
    /// Compiles the argument of a directive at this place, 0 being the directive's name.
    pub(crate) fn compile(conf: &Conf<'_>, argument: usize) -> Result<Self, NotCompiled> {
        let mut source = conf.raw_argument(argument).ok_or(NotCompiled)?;
        let value = conf.pool().store(ngx_http_complex_value_t {
            value: ngx_str_t::empty(),
            flushes: core::ptr::null_mut(),
            lengths: core::ptr::null_mut(),
            values: core::ptr::null_mut(),
            u: nginx_sys::ngx_http_complex_value_t__bindgen_ty_1 { size: 0 },
        });
        let value = NonNull::from(value.map_err(|_| NotCompiled)?);

        // SAFETY: all fields of the C struct are set, the remaining flags to 0, which is their
        // meaning of "no"; the value outlives the configuration's parsing, and `source` is only
        // read during the call.
        let rc = unsafe {
            let mut compile: ngx_http_compile_complex_value_t = mem::zeroed();
            compile.cf = conf.as_raw();
            compile.value = &raw mut source;
            compile.complex_value = value.as_ptr();
            ngx_http_compile_complex_value(&raw mut compile)
        };
        if rc == NGX_OK as ngx_int_t { Ok(Self(value)) } else { Err(NotCompiled) }
    }

    /// Whether the value holds no variables.
    pub(crate) fn is_constant(self) -> bool {
        // SAFETY: a compiled value is valid as long as the configuration.
        unsafe { (*self.0.as_ptr()).lengths.is_null() }
    }

    /// The value for a request.
    pub(crate) fn evaluate<'r>(self, request: &Request<'r>) -> Result<&'r [u8], Failure> {
        let mut value = ngx_str_t::empty();
        // SAFETY: request and value are valid; the result points to the request's pool or to the
        // configuration, both of which live as long as the request.
        unsafe {
            let rc = ngx_http_complex_value(request.as_raw(), self.0.as_ptr(), &raw mut value);
            if rc != NGX_OK as ngx_int_t {
                return Err(Failure("ngx_http_complex_value() failed"));
            }
            Ok(super::request::bytes(value))
        }
    }
}

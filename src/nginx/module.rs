//! The module's place in nginx's tables.

use core::ffi::c_void;
use core::ptr;

use nginx_sys::{
    ngx_cycle_t, ngx_http_core_main_conf_t, ngx_http_core_module, ngx_http_post_subrequest_pt,
    ngx_module_t,
};

use super::pool::Pooled;

unsafe extern "C" {
    /// Declared as in the header of a C module, so that the edge finds the module's configuration
    /// and context without its handlers. `crate::module` defines it.
    static mut ngx_http_xspace_module: ngx_module_t;
}

/// The module's index in the arrays `main_conf`, `loc_conf` and `r->ctx`.
pub(super) fn ctx_index() -> usize {
    // SAFETY: nginx writes the field in `ngx_http_block`, before it calls a function of the module.
    unsafe { ptr::addr_of!(ngx_http_xspace_module.ctx_index).read() }
}

/// Tells the module's zones of shared memory from those of others.
#[cfg(feature = "plays")]
pub(super) fn tag() -> *mut c_void {
    (&raw mut ngx_http_xspace_module).cast()
}

/// Whether this is the module, as the library that runs has it.
#[cfg(feature = "plays")]
pub(super) fn is_own(module: &ngx_module_t) -> bool {
    ptr::eq(module, &raw const ngx_http_xspace_module)
}

/// The core module's index in the arrays `main_conf`, `srv_conf` and `loc_conf`.
pub(super) fn core_index() -> usize {
    // SAFETY: as in `ctx_index`.
    unsafe { ptr::addr_of!(ngx_http_core_module.ctx_index).read() }
}

/// The core module's configuration for all of `http {}`.
///
/// # Safety
///
/// `main_conf` is the array of the configurations of all HTTP modules for `http {}`, in which the
/// core module always has one.
pub(super) unsafe fn core_main_conf(main_conf: *mut *mut c_void) -> *mut ngx_http_core_main_conf_t {
    // SAFETY: by the contract.
    unsafe { (*main_conf.add(core_index())).cast() }
}

/// The modules of a configuration.
///
/// # Safety
///
/// `cycle` is valid during `'c`.
pub(super) unsafe fn all<'c>(cycle: *mut ngx_cycle_t) -> impl Iterator<Item = &'c ngx_module_t> {
    // SAFETY: by the contract; the array of pointers to modules ends with a null pointer, and
    // modules outlive the cycle.
    unsafe {
        let mut next = (*cycle).modules;
        core::iter::from_fn(move || {
            let module = (*next).as_ref()?;
            next = next.add(1);
            Some(module)
        })
    }
}

/// The type of the module's configuration for all of `http {}`.
///
/// # Safety
///
/// Implemented only by the type that the module's `create_main_conf` makes.
pub(crate) unsafe trait MainData: Pooled + 'static {}

/// The type of the module's configuration in a location.
///
/// # Safety
///
/// Implemented only by the type that the module's `create_loc_conf` makes.
pub(crate) unsafe trait LocationData: Pooled + 'static {}

/// The type of the module's data of a request.
///
/// # Safety
///
/// Implemented by one type only, with any lifetime, and used with the lifetime of the request.
pub(crate) unsafe trait RequestData: Pooled {
    /// Called at the end of a subrequest of a request with such a value.
    const SUBREQUEST_DONE: ngx_http_post_subrequest_pt;
}

//! A request, and the internal redirect.

use core::marker::PhantomData;
use core::ptr::{self, NonNull};
use core::slice;

use nginx_sys::{
    NGX_DONE, ngx_http_finalize_request, ngx_http_internal_redirect, ngx_http_request_t, ngx_int_t,
    ngx_str_t,
};

use super::Failure;
use super::context::ContextSlot;
use super::layout::ngx_http_request_t as flag;
use super::log::{Level, Log};
use super::module::{self, LocationData, MainData, RequestData};
use super::pool::Pool;

/// A request that is valid for `'r`: for one call from nginx into the module, or as long as a record
/// that keeps a subrequest.
#[derive(Debug)]
pub(crate) struct Request<'r> {
    raw: NonNull<ngx_http_request_t>,
    lives: PhantomData<&'r ()>,
}

/// The bytes of a string.
///
/// # Safety
///
/// `data` is valid for `len` bytes that don't change during `'a`, unless `len` is 0.
pub(super) unsafe fn bytes<'a>(string: ngx_str_t) -> &'a [u8] {
    if string.len == 0 {
        return &[];
    }
    // SAFETY: by the contract of this function.
    unsafe { slice::from_raw_parts(string.data, string.len) }
}

/// A string that points to `bytes`. nginx must not write to it.
pub(super) fn string(bytes: &[u8]) -> ngx_str_t {
    ngx_str_t { len: bytes.len(), data: bytes.as_ptr().cast_mut() }
}

// SAFETY of this block's calls: `raw` is a valid request for `'r` by the contract of `from_raw`, and
// nginx has set its pool, connection, main request and configuration arrays before any handler runs.
// Everything of a request happens on the event loop: nginx and other modules change it only within
// calls that are made here, such as the evaluation of a variable, and no reference to the request
// itself is held across these, only pointers, and references to what is in its pool.
impl<'r> Request<'r> {
    /// # Safety
    ///
    /// `r` is null or a request that nginx calls the module for, valid for `'r`.
    pub(crate) unsafe fn from_raw(r: *mut ngx_http_request_t) -> Option<Self> {
        NonNull::new(r).map(|raw| Self { raw, lives: PhantomData })
    }

    pub(crate) fn as_raw(&self) -> *mut ngx_http_request_t {
        self.raw.as_ptr()
    }

    /// The client's request, of which this may be a subrequest.
    pub(crate) fn main(&self) -> Self {
        // SAFETY: `main` is set in `ngx_http_alloc_request` and `ngx_http_subrequest`.
        let main = unsafe { NonNull::new((*self.as_raw()).main) };
        Self { raw: main.unwrap_or(self.raw), lives: PhantomData }
    }

    pub(crate) fn is_main(&self) -> bool {
        // SAFETY: see above.
        unsafe { ptr::eq((*self.as_raw()).main, self.as_raw()) }
    }

    /// Whether the request was redirected inside nginx, or is a subrequest.
    pub(crate) fn is_internal(&self) -> bool {
        // SAFETY: see above.
        unsafe { flag::internal.is_set(self.as_raw()) }
    }

    /// Whether nginx has ended this subrequest.
    pub(crate) fn is_done(&self) -> bool {
        // SAFETY: see above.
        unsafe { flag::done.is_set(self.as_raw()) }
    }

    /// The method's bit: `NGX_HTTP_GET` and so on.
    pub(crate) fn method(&self) -> u32 {
        // SAFETY: see above. The bits of all methods are below 1 << 32.
        unsafe { (*self.as_raw()).method as u32 }
    }

    /// The path of the URI, decoded and normalized.
    pub(crate) fn uri(&self) -> &'r [u8] {
        // SAFETY: see above; the bytes stay while the request lives (nginx.rs).
        unsafe { bytes((*self.as_raw()).uri) }
    }

    /// The query string.
    pub(crate) fn args(&self) -> &'r [u8] {
        // SAFETY: see above; the bytes stay while the request lives (nginx.rs).
        unsafe { bytes((*self.as_raw()).args) }
    }

    /// Replaces the query string. As in a request without one, an empty one has no data: `$args` is
    /// "not found" then.
    pub(crate) fn set_args(&self, args: &'r [u8]) {
        let args = if args.is_empty() { ngx_str_t::empty() } else { string(args) };
        // SAFETY: see above; nginx does not write to the bytes.
        unsafe { (*self.as_raw()).args = args };
    }

    /// Whether path and query string are just these bytes, not copies of them.
    pub(crate) fn has_uri(&self, uri: &[u8], args: &[u8]) -> bool {
        let is = |field: ngx_str_t, bytes: &[u8]| {
            field.len == bytes.len() && (field.len == 0 || ptr::eq(field.data, bytes.as_ptr()))
        };
        // SAFETY: see above.
        unsafe { is((*self.as_raw()).uri, uri) && is((*self.as_raw()).args, args) }
    }

    /// An argument of the query string, not decoded, as `$arg_name` is.
    pub(crate) fn argument(&self, name: &str) -> Option<&'r [u8]> {
        match self.args() {
            [] => None,
            args => model::request::argument(args, name),
        }
    }

    /// The URI as the client has sent it, with its query string.
    #[cfg(feature = "links")]
    pub(crate) fn unparsed_uri(&self) -> &'r [u8] {
        // SAFETY: see above; the bytes stay while the request lives (nginx.rs).
        unsafe { bytes((*self.as_raw()).unparsed_uri) }
    }

    /// The values of the request's fields with this name, in any case.
    #[cfg(feature = "links")]
    pub(crate) fn request_field(
        &self,
        name: &'static str,
    ) -> impl Iterator<Item = &'r [u8]> + use<'r> {
        // SAFETY: see above; the list is valid and complete before any handler runs.
        let all =
            unsafe { super::response::fields(&raw mut (*self.as_raw()).headers_in.headers.part) };
        all.filter(move |field| field.is(name)).map(super::response::Field::value)
    }

    /// Whether the client is connected over TLS, as `$https` tells.
    #[cfg(all(feature = "links", ngx_feature = "ssl"))]
    pub(crate) fn has_tls(&self) -> bool {
        // SAFETY: see above; that of QUIC has the TLS of its connection.
        unsafe { !(*(*self.as_raw()).connection).ssl.is_null() }
    }

    /// In an nginx without TLS it is not.
    #[cfg(all(feature = "links", not(ngx_feature = "ssl")))]
    pub(crate) fn has_tls(&self) -> bool {
        false
    }

    pub(crate) fn pool(&self) -> Pool<'r> {
        // SAFETY: a request has a pool as long as it is valid, and subrequests share it.
        unsafe { Pool::from_raw(NonNull::new_unchecked((*self.as_raw()).pool)) }
    }

    pub(crate) fn log_handle(&self) -> Option<Log> {
        // SAFETY: a request has a connection with a log as long as it is valid.
        unsafe { Log::from_raw((*(*self.as_raw()).connection).log) }
    }

    /// Writes a line to the error log, with the text of `errno` unless that is 0.
    pub(crate) fn log(
        &self,
        level: Level,
        errno: nginx_sys::ngx_err_t,
        message: core::fmt::Arguments<'_>,
    ) {
        if let Some(log) = self.log_handle() {
            log.write(level, errno, message);
        }
    }

    /// Writes a line of the level `error`.
    pub(crate) fn error(&self, message: core::fmt::Arguments<'_>) {
        self.log(Level::Error, 0, message);
    }

    /// Writes a line to the debug log.
    pub(crate) fn debug(&self, message: core::fmt::Arguments<'_>) {
        if let (true, Some(log)) = (ngx::log::DEBUG, self.log_handle()) {
            log.debug(message);
        }
    }

    /// Logs the cause of a 500.
    pub(crate) fn log_failure(&self, cause: Failure) {
        self.error(format_args!("xspace request failed: {cause}"));
    }

    /// The module's configuration for all of `http {}`.
    pub(crate) fn main_conf<T: MainData>(&self) -> Option<&'static T> {
        // SAFETY: see above; as for `location_conf`.
        unsafe { (*(*self.as_raw()).main_conf.add(module::ctx_index())).cast::<T>().as_ref() }
    }

    /// The module's configuration in the location that the request is in now.
    pub(crate) fn location_conf<T: LocationData>(&self) -> Option<&'static T> {
        // SAFETY: see above; nginx has an element for each HTTP module. That the configuration
        // outlives the request, and so is as good as static for what a request keeps, is one of
        // the guarantees of nginx.rs.
        unsafe { (*(*self.as_raw()).loc_conf.add(module::ctx_index())).cast::<T>().as_ref() }
    }

    fn context_slot(&self) -> ContextSlot {
        // SAFETY: see above; `ctx` has an element for each HTTP module, and only this module writes
        // to its own anything but null.
        unsafe { ContextSlot::from_raw((*self.as_raw()).ctx.add(module::ctx_index())) }
    }

    /// The module's context of the request, which is kept in the pool. Subrequests share the pool of
    /// the client's request: `is_own` tells their contexts apart.
    pub(crate) fn context<T: RequestData + 'r>(
        &self,
        is_own: impl Fn(&T) -> bool,
    ) -> Option<&'r T> {
        let slot = self.context_slot();
        // SAFETY: by the contract of `RequestData` there is nothing but a `T`, in the request's pool.
        match unsafe { slot.get::<T>() } {
            None if self.is_internal() => slot.restore(self.pool(), is_own),
            context => context,
        }
    }

    /// All contexts that the module has had for the request, the latest first.
    pub(crate) fn contexts<T: RequestData + 'r>(
        &self,
        is_own: impl Fn(&T) -> bool,
    ) -> impl Iterator<Item = &'r T> {
        // SAFETY: values in the request's pool are valid as long as the request, and there are only
        // shared references to them.
        let contexts = self.pool().stored::<T>().map(|context| unsafe { context.as_ref() });
        contexts.filter(move |context| is_own(context))
    }

    /// Sets the module's context of the request.
    pub(crate) fn set_context<T: RequestData + 'r>(
        &self,
        make: impl FnOnce() -> T,
    ) -> Result<&'r T, Failure> {
        self.context_slot().set(self.pool(), make)
    }

    /// Redirects the request internally, with its query string, and returns what a phase handler
    /// has to return then. `uri` is the decoded path: nginx neither decodes nor splits it.
    pub(crate) fn redirect(self, uri: &'r [u8]) -> ngx_int_t {
        // SAFETY: see above; nginx copies both strings and keeps pointers to their bytes, which
        // live as long as the request. A phase handler decrements the count of `r->main`, which the
        // redirect has incremented, by finalizing with NGX_DONE (as try_files does), and does not
        // use the request afterwards: `self` is moved.
        unsafe {
            let r = self.as_raw();
            let mut uri = string(uri);
            let mut args = (*r).args;
            ngx_http_internal_redirect(r, &raw mut uri, &raw mut args);
            ngx_http_finalize_request(r, NGX_DONE as ngx_int_t);
        }
        NGX_DONE as ngx_int_t
    }
}

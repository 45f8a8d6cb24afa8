//! Upstreams: the request that nginx makes to one, the response that has come, and the directives of
//! `proxy_pass` in a location.

use core::slice;

#[cfg(ngx_feature = "http_cache")]
use nginx_sys::ngx_http_cache_valid_t;
use nginx_sys::{
    ngx_http_post_subrequest_t, ngx_http_upstream_conf_t, ngx_http_upstream_t, ngx_parse_http_time,
};

use super::configuration::Conf;
use super::layout::{
    ngx_event_pipe_t as pipe, ngx_http_request_t as flag, ngx_http_upstream_t as upstream,
};
use super::location::Location;
use super::request::{Request, bytes};

/// A response of an upstream whose header is about to be sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UpstreamResponse<'r> {
    /// The status that the upstream has sent; 0 if it has sent no valid header.
    pub(crate) status: i16,
    /// The beginning of the content, as far as it has come with the header.
    pub(crate) start: &'r [u8],
    /// The time in its field `Date`, in seconds since 1970.
    pub(crate) date: Option<u64>,
}

// SAFETY of this block's calls: as for the other methods of `Request`. The upstream is null or valid as
// long as the request, and so is its configuration.
impl<'r> Request<'r> {
    fn upstream(&self) -> Option<*mut ngx_http_upstream_t> {
        // SAFETY: see above.
        let raw = unsafe { (*self.as_raw()).upstream };
        (!raw.is_null()).then_some(raw)
    }

    /// The method that nginx sends to an upstream, without `proxy_method`: a cache turns HEAD into GET.
    pub(crate) fn upstream_method(&self) -> &'r [u8] {
        // SAFETY: see above; the bytes stay while the request lives (nginx.rs).
        unsafe {
            let own = bytes((*self.as_raw()).method_name);
            match self.upstream() {
                Some(upstream) if (*upstream).method.len > 0 => bytes((*upstream).method),
                _ => own,
            }
        }
    }

    /// Whether nginx sends the request to the upstream over TLS without verifying its certificate.
    #[cfg(ngx_feature = "ssl")]
    pub(crate) fn has_unverified_upstream(&self) -> bool {
        // SAFETY: see above.
        self.upstream().is_some_and(|raw| unsafe {
            upstream::ssl.is_set(raw) && (*raw).conf.as_ref().is_some_and(|it| it.ssl_verify != 1)
        })
    }

    /// In an nginx without TLS it does not.
    #[cfg(not(ngx_feature = "ssl"))]
    pub(crate) fn has_unverified_upstream(&self) -> bool {
        false
    }

    /// Whether the request only updates a cache.
    pub(crate) fn is_background(&self) -> bool {
        // SAFETY: see above.
        unsafe { flag::background.is_set(self.as_raw()) }
    }

    /// The response of an upstream, or of a cache, while a header filter runs for it: not while one runs
    /// for an error page of nginx.
    ///
    /// As long as an upstream is in use it has a clean-up handler, which nginx removes before it answers
    /// otherwise (`ngx_http_upstream_init_request`, `ngx_http_upstream_finalize_request`). A response
    /// from the cache has none.
    pub(crate) fn upstream_response(&self) -> Option<UpstreamResponse<'r>> {
        let upstream = self.upstream()?;
        // SAFETY: see above; the buffer has what has come behind the header, if that is complete. The
        // field `date` is null or in the list of the response's fields.
        unsafe {
            if (*upstream).cleanup.is_null() && !(self.is_cached() && self.error_state().0 == 0) {
                return None;
            }
            let head = &raw const (*upstream).headers_in;
            let (pos, last) = ((*upstream).buffer.pos, (*upstream).buffer.last);
            let start = match last.addr().checked_sub(pos.addr()) {
                Some(len) if !pos.is_null() && !self.is_cached() => slice::from_raw_parts(pos, len),
                _ => &[],
            };
            // An invalid time is -1.
            let date = (*head).date.as_ref().and_then(|field| {
                u64::try_from(ngx_parse_http_time(field.value.data, field.value.len)).ok()
            });
            Some(UpstreamResponse {
                status: i16::try_from((*head).status_n).unwrap_or(0),
                start,
                date,
            })
        }
    }

    #[cfg(ngx_feature = "http_cache")]
    fn is_cached(&self) -> bool {
        // SAFETY: see above.
        unsafe { flag::cached.is_set(self.as_raw()) }
    }

    #[cfg(not(ngx_feature = "http_cache"))]
    fn is_cached(&self) -> bool {
        false
    }

    /// Whether all of the response has come of which nginx has sent the header, when it ends the request
    /// to the upstream (`ngx_http_upstream_process_request`,
    /// `ngx_http_upstream_process_non_buffered_request`).
    pub(crate) fn has_whole_upstream_response(&self) -> bool {
        let Some(upstream) = self.upstream().filter(|_| !self.is_cached()) else { return true };
        // SAFETY: see above; the pipe is null or valid. A length of -1 ends with the connection.
        unsafe {
            if !upstream::buffering.is_set(upstream) {
                return (*upstream).length <= 0;
            }
            let raw = (*upstream).pipe;
            raw.is_null()
                || pipe::upstream_done.is_set(raw)
                || pipe::upstream_eof.is_set(raw) && (*raw).length == -1
        }
    }

    /// Has nginx call a function when it ends the subrequest, unless another one is to be called.
    ///
    /// # Safety
    ///
    /// `handler` is valid as long as the request.
    pub(crate) unsafe fn set_post_subrequest(&self, handler: *mut ngx_http_post_subrequest_t) {
        // SAFETY: see above, and by the contract; nginx only reads it (`ngx_http_finalize_request`).
        unsafe {
            let r = self.as_raw();
            if (*r).post_subrequest.is_null() {
                (*r).post_subrequest = handler;
            }
        }
    }

    /// Drops nginx's pointers to fields that its filters act upon, whatever is in the list of fields.
    pub(crate) fn unlink_upstream_fields(&self) {
        // SAFETY: see above. nginx checks both for null.
        unsafe {
            let out = &raw mut (*self.as_raw()).headers_out;
            (*out).location = core::ptr::null_mut();
            (*out).content_encoding = core::ptr::null_mut();
        }
    }
}

/// The directives of nginx's proxy module in a location.
#[derive(Clone, Debug)]
pub(crate) struct Proxy {
    /// `proxy_pass_request_headers`.
    pub(crate) passes_fields: bool,
    /// `proxy_pass_request_body`.
    pub(crate) passes_content: bool,
    /// `proxy_cache`, if it is on.
    pub(crate) cache: Option<ProxyCache>,
}

/// The directives of its cache.
#[derive(Clone, Debug)]
pub(crate) struct ProxyCache {
    /// `proxy_cache_lock`.
    pub(crate) locks: bool,
    /// `proxy_cache_lock_timeout` and `proxy_cache_lock_age`, in milliseconds.
    pub(crate) lock_timeout: u64,
    pub(crate) lock_age: u64,
    /// The statuses of `proxy_cache_valid`; 0 is `any`.
    pub(crate) valid: Vec<usize>,
}

// SAFETY of this block's calls: as for the other methods of `Conf`.
impl Conf<'_> {
    /// The directives of `proxy_pass`, after the merge; `None` if they can't be known.
    ///
    /// From 1.22 to 1.31 the configuration of the proxy module begins with an
    /// `ngx_http_upstream_conf_t`, in which the module has written its name.
    pub(crate) fn proxy(&self, location: Location) -> Option<Proxy> {
        let module = self.module(c"ngx_http_proxy_module")?;
        let raw: *const ngx_http_upstream_conf_t = location.conf_of(module.ctx_index).cast();
        // SAFETY: see above.
        unsafe {
            if raw.is_null() || bytes((*raw).module) != b"proxy" {
                return None;
            }
            Some(Proxy {
                passes_fields: (*raw).pass_request_headers != 0,
                passes_content: (*raw).pass_request_body != 0,
                cache: cache(raw),
            })
        }
    }

    /// The size of `slice` in a location; 0 if it is off. From 1.22 to 1.31 it is what the slice module's
    /// configuration begins with.
    pub(crate) fn slice_size(&self, location: Location) -> usize {
        self.first_pointer(c"ngx_http_slice_filter_module", location).addr()
    }
}

/// # Safety
///
/// The configuration is valid and merged.
#[cfg(ngx_feature = "http_cache")]
unsafe fn cache(raw: *const ngx_http_upstream_conf_t) -> Option<ProxyCache> {
    // SAFETY: by the contract; `cache_valid` is null or an array of this type.
    unsafe {
        if (*raw).cache_zone.is_null() && (*raw).cache_value.is_null() {
            return None;
        }
        let valid = (*raw).cache_valid.as_ref();
        let valid = valid.map_or(&[][..], |valid| valid.as_slice::<ngx_http_cache_valid_t>());
        Some(ProxyCache {
            locks: (*raw).cache_lock != 0,
            lock_timeout: (*raw).cache_lock_timeout as u64,
            lock_age: (*raw).cache_lock_age as u64,
            valid: valid.iter().map(|valid| valid.status).collect(),
        })
    }
}

#[cfg(not(ngx_feature = "http_cache"))]
unsafe fn cache(_: *const ngx_http_upstream_conf_t) -> Option<ProxyCache> {
    None
}

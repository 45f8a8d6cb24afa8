//! nginx's clock.

/// The time in seconds since 1970, as of the latest iteration of the event loop (`ngx_time`).
pub(crate) fn now() -> u64 {
    u64::try_from(nginx_sys::ngx_time()).unwrap_or(0)
}

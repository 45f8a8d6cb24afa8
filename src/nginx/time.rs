//! The clocks of the event loop: they stand still while it handles an event.

use nginx_sys::ngx_cached_time;
#[cfg(feature = "plays")]
use nginx_sys::ngx_current_msec;

/// The time in seconds since 1970.
pub(crate) fn now() -> u64 {
    // SAFETY: nginx points the variable to the latest of several times, which it does not change.
    let seconds = unsafe { (*(&raw const ngx_cached_time).read_volatile()).sec };
    u64::try_from(seconds).unwrap_or(0)
}

/// Milliseconds since some time. This clock is never set back.
#[cfg(feature = "plays")]
pub(crate) fn milliseconds() -> u64 {
    // SAFETY: nginx writes the variable on the event loop only.
    unsafe { (&raw const ngx_current_msec).read_volatile() as u64 }
}

//! No panic crosses into nginx.
//!
//! A panic that unwinds into C ends the process, and with it every request of the worker. Each
//! function that nginx calls therefore runs inside [`catch`]: a panic becomes the answer that nginx
//! knows for a failure, and a line in the error log says where it happened.

use core::panic::AssertUnwindSafe;
use std::panic;
use std::sync::Mutex;

use super::log::{Level, Log};

/// Where the latest panic happened, for the log line. Not a thread-local: one with a destructor
/// would keep the library loaded when a reload takes the module out of the configuration, and if it
/// is put back later, the C library would go on with that copy, whatever the file is then.
static LATEST: Mutex<String> = Mutex::new(String::new());

/// Notes where a panic happens instead of writing it to standard error, which of a worker may be
/// anything. The hook belongs to the copy of Rust's library in this module and goes with it.
pub(crate) fn install_hook() {
    panic::set_hook(Box::new(|info| {
        if let Ok(mut latest) = LATEST.try_lock() {
            *latest = info.to_string().replace('\n', " ");
        }
    }));
}

/// Returns what `body` returns; if it panics, writes a line to `log` and returns `failed`.
pub(crate) fn catch<R>(log: Option<Log>, failed: R, body: impl FnOnce() -> R) -> R {
    // Nothing that `body` may leave half done is used afterwards: a request that failed is
    // finalized by nginx, a configuration that failed is thrown away.
    panic::catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|payload| {
        // Dropping the payload could panic once more.
        core::mem::forget(payload);
        report(log);
        failed
    })
}

#[cold]
#[inline(never)]
fn report(log: Option<Log>) {
    if let Some(log) = log {
        let message = LATEST.try_lock().map(|mut latest| core::mem::take(&mut *latest));
        let message = message.unwrap_or_default();
        log.write(Level::Alert, 0, format_args!("xspace: {message}"));
    }
}

/// Panics if the test of the guard asks for it at this point.
#[cfg(feature = "fault-injection")]
#[allow(clippy::panic, reason = "the guard is tried with it")]
pub(crate) fn fault_point(name: &str) {
    if std::env::var("XSPACE_FAULT").is_ok_and(|fault| fault == name) {
        panic!("fault injected at {name}");
    }
}

/// Does nothing: faults are for the test of the guard.
#[cfg(not(feature = "fault-injection"))]
#[inline(always)]
pub(crate) fn fault_point(_: &str) {}

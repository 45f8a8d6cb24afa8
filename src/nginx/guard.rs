//! No panic crosses into nginx.
//!
//! A panic that unwinds into C aborts the process, and with it every request of the worker. Each
//! function that nginx calls therefore runs inside [`catch`], which returns nginx's value for a
//! failure in place of the panic and logs where it happened.

use core::panic::AssertUnwindSafe;
use std::panic;
use std::sync::Mutex;

use super::log::{Level, Log};

/// The message of the latest panic, for the log. Not a thread-local variable: one with a destructor
/// would keep the library loaded when a reload removes the module from the configuration, and the C
/// library would use that copy if it is added again, even from another file.
static LATEST: Mutex<String> = Mutex::new(String::new());

/// Keeps the message of a panic instead of writing it to standard error, which a worker may not have.
/// The hook belongs to the copy of Rust's library in this module and is unloaded with it.
pub(crate) fn install_hook() {
    panic::set_hook(Box::new(|info| {
        if let Ok(mut latest) = LATEST.try_lock() {
            *latest = info.to_string().replace('\n', " ");
        }
    }));
}

/// Returns what `body` returns; if it panics, writes a line to `log` and returns `failed`.
pub(crate) fn catch<R>(log: Option<Log>, failed: R, body: impl FnOnce() -> R) -> R {
    // State that `body` leaves inconsistent is not used again: nginx finalizes a request that failed
    // and discards a configuration that failed.
    panic::catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|payload| {
        // Dropping the payload could panic once more.
        core::mem::forget(payload);
        report(log);
        failed
    })
}

fn report(log: Option<Log>) {
    if let Some(log) = log {
        let message = LATEST.try_lock().map(|mut latest| core::mem::take(&mut *latest));
        let message = message.unwrap_or_default();
        log.write(Level::Alert, 0, format_args!("xspace: {message}"));
    }
}

/// Panics if the test of the guard has chosen this point.
#[cfg(feature = "fault-injection")]
#[allow(clippy::panic, reason = "a test of the guard")]
pub(crate) fn fault_point(name: &str) {
    if std::env::var("XSPACE_FAULT").is_ok_and(|fault| fault == name) {
        panic!("fault injected at {name}");
    }
}

/// Does nothing without the feature.
#[cfg(not(feature = "fault-injection"))]
pub(crate) fn fault_point(_: &str) {}

//! The files that are tested, and what they use of the module's others.

#[path = "../../../src/nginx/context.rs"]
pub(crate) mod context;
#[path = "../../../src/nginx/heap.rs"]
pub(crate) mod heap;
#[path = "../../../src/nginx/job.rs"]
pub(crate) mod job;
#[path = "../../../src/nginx/pool.rs"]
pub(crate) mod pool;
#[path = "../../../src/nginx/timer.rs"]
pub(crate) mod timer;

mod contexts;
mod jobs;
mod pools;
mod timers;

/// As in `src/nginx.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failure(pub(crate) &'static str);

impl Failure {
    pub(crate) const NO_MEMORY: Self = Self("no memory");
}

/// `src/nginx/event.rs` with the timers of the crate.
pub(crate) mod event {
    pub(crate) use nginx_sys::{ngx_add_timer as add_timer, ngx_event_t};

    pub(crate) unsafe fn del_timer(event: *mut ngx_event_t) {
        unsafe {
            if (*event).timer_set() != 0 {
                nginx_sys::ngx_del_timer(event);
            }
        }
    }

    pub(crate) unsafe fn set_cancelable(event: *mut ngx_event_t) {
        unsafe { (*event).set_cancelable(1) };
    }
}

pub(crate) mod log {
    /// Writes nothing.
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Log;

    impl Log {
        pub(crate) unsafe fn from_raw(log: *mut nginx_sys::ngx_log_t) -> Option<Self> {
            (!log.is_null()).then_some(Self)
        }
    }
}

pub(crate) mod guard {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::log::Log;

    pub(crate) fn catch<R>(_: Option<Log>, failed: R, body: impl FnOnce() -> R) -> R {
        catch_unwind(AssertUnwindSafe(body)).unwrap_or(failed)
    }
}

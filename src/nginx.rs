//! The edge to nginx: everything that touches nginx's memory.
//!
//! The rest of the module has no `unsafe` code. It works with the types of this file's children,
//! whose methods rely on what nginx guarantees for the time of one call into the module:
//!
//! - the pointers of a request that [`Request`](request::Request) uses are not null where nginx
//!   sets them before the first handler runs (`ngx_http_alloc_request`);
//! - what stands in a request's pool stays until the request is freed, and nginx replaces strings
//!   such as `r->uri` instead of writing into them;
//! - configuration stays as long as a request that began with it (`ngx_clean_old_cycles`), or until
//!   the process ends. A worker that is told to terminate frees it while requests are open, and runs
//!   nothing of them any more (`ngx_worker_process_exit`).

use core::fmt;

pub(crate) mod access_log;
#[cfg(any(feature = "links", feature = "plays"))]
pub(crate) mod client;
pub(crate) mod configuration;
pub(crate) mod content_handler;
mod context;
mod event;
pub(crate) mod file;
pub(crate) mod guard;
pub(crate) mod heap;
mod job;
pub(crate) mod layout;
pub(crate) mod location;
#[cfg(feature = "plays")]
pub(crate) mod lock;
pub(crate) mod log;
pub(crate) mod memory;
pub(crate) mod module;
pub(crate) mod pool;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod script;
pub(crate) mod snapshot;
pub(crate) mod subrequest;
pub(crate) mod threads;
#[cfg(any(feature = "links", feature = "lmdb", feature = "plays", feature = "s3"))]
pub(crate) mod time;
mod timer;
#[cfg(feature = "s3")]
pub(crate) mod upstream;
pub(crate) mod user;
pub(crate) mod value;
#[cfg(feature = "plays")]
pub(crate) mod waiting;
pub(crate) mod worker;
#[cfg(feature = "plays")]
pub(crate) mod zone;

/// Why something can't be done: there is no memory, a function of nginx failed, or something does not
/// hold that nginx or the module itself guarantees. It becomes a line in the error log and a 500.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failure(pub(crate) &'static str);

impl Failure {
    /// A pool of nginx's or the system has no memory. nginx has logged its own failed allocations.
    pub(crate) const NO_MEMORY: Self = Self("no memory");
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

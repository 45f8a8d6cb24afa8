//! Worker processes: whether there are any, whether they have threads, timers, and exiting.

use core::fmt;
use core::ptr;
use core::sync::atomic::Ordering::Relaxed;
use core::sync::atomic::{AtomicI32, AtomicUsize};

use nginx_sys::{
    NGX_EVENT_MODULE, NGX_PROCESS_WORKER, ngx_core_conf_t, ngx_core_module, ngx_cycle_t,
    ngx_event_conf_t, ngx_event_core_module, ngx_event_module_t, ngx_events_module, ngx_exiting,
    ngx_http_conf_ctx_t, ngx_http_module, ngx_module_t, ngx_msec_t, ngx_process, ngx_quit,
    ngx_terminate, ngx_uint_t,
};

#[cfg(any(feature = "lmdb", feature = "plays"))]
use nginx_sys::NGX_PROCESS_SINGLE;
#[cfg(feature = "plays")]
use nginx_sys::ngx_cycle;
#[cfg(feature = "links")]
use nginx_sys::{ngx_hash_find, ngx_hash_key, ngx_http_variable_t, ngx_str_t};

use super::Failure;
use super::log::Log;
use super::module::{self, MainData};
use super::pool::Pool;
#[cfg(feature = "links")]
use super::request::bytes;
use super::threads::ThreadPool;
use super::timer;
pub(crate) use super::timer::TimerHandle;

/// A configuration, in use or just read: `ngx_cycle_t`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cycle(ptr::NonNull<ngx_cycle_t>);

// SAFETY of this block's calls: the cycle is valid by the contract of `from_raw`.
impl Cycle {
    /// # Safety
    ///
    /// nginx passes `cycle` to a module's `init_module`, `init_process`, `exit_process` or `exit_master`, or
    /// to the `init_conf` of a core module.
    pub(crate) unsafe fn from_raw(cycle: *mut ngx_cycle_t) -> Option<Self> {
        ptr::NonNull::new(cycle).map(Self)
    }

    pub(crate) fn log_handle(self) -> Option<Log> {
        // SAFETY: see above.
        unsafe { Log::from_raw((*self.0.as_ptr()).log) }
    }

    /// The module's configuration for all of `http {}`; `None` without such a block.
    pub(crate) fn main_conf<T: MainData>(self) -> Option<&'static T> {
        let context = self.http_context()?;
        // SAFETY: see above; the block has a configuration of each HTTP module.
        unsafe { (*context.main_conf.add(module::ctx_index())).cast::<T>().as_ref() }
    }

    /// Whether a variable `arg_…` that directives use is an argument of the query string, and the
    /// configuration does not set it (`set $arg_x …`). Called when all of the configuration is read.
    #[cfg(feature = "links")]
    pub(crate) fn is_argument_variable(self, name: &[u8]) -> bool {
        // SAFETY: as for `main_conf`; the core module has a configuration with the array of the
        // variables that directives use, and a table of those that are set or built in. To one whose
        // name has the prefix of others nginx gives its own name as data
        // (`ngx_http_variables_init_vars`, 1.22 to 1.31).
        unsafe {
            let Some(context) = self.http_context() else { return false };
            let core = module::core_main_conf(context.main_conf);
            let variables = (*core).variables.as_slice::<ngx_http_variable_t>();
            let is_prefixed =
                |variable: &ngx_http_variable_t| variable.data == (&raw const variable.name).addr();
            let is_set = |variable: &ngx_http_variable_t| {
                let ngx_str_t { data, len } = variable.name;
                let hash = &raw mut (*core).variables_hash;
                !ngx_hash_find(hash, ngx_hash_key(data, len), data, len).is_null()
            };
            let mut named = variables.iter().filter(|it| bytes(it.name).eq_ignore_ascii_case(name));
            named.next().is_some_and(|it| is_prefixed(it) && !is_set(it))
        }
    }

    /// What `http {}` has.
    fn http_context(self) -> Option<&'static ngx_http_conf_ctx_t> {
        // SAFETY: see above; nginx has an element for each module, null for `http` if there is no
        // such block.
        unsafe {
            let index = ptr::addr_of!(ngx_http_module.index).read();
            (*(*self.0.as_ptr()).conf_ctx.add(index)).cast::<ngx_http_conf_ctx_t>().as_ref()
        }
    }

    /// The configuration that was in use before, if it has this module too. Called while it still
    /// exists: in `init_module`.
    #[cfg(feature = "plays")]
    pub(crate) fn previous(self) -> Option<Self> {
        // SAFETY: see above; null, or a cycle. The one that nginx starts with has no modules.
        unsafe {
            let old = ptr::NonNull::new((*self.0.as_ptr()).old_cycle)?;
            if (*old.as_ptr()).modules.is_null() || (*old.as_ptr()).conf_ctx.is_null() {
                return None;
            }
            module::all(old.as_ptr()).any(module::is_own).then_some(Self(old))
        }
    }

    /// The configuration of a module outside of all blocks.
    ///
    /// # Safety
    ///
    /// `module` is one of the cycle's modules, of the type `NGX_CORE_MODULE`, and its configuration
    /// is a `T`. For the modules of blocks it is null where there is no such block.
    pub(super) unsafe fn core_module_conf<T>(self, module: *mut ngx_module_t) -> *mut T {
        // SAFETY: see above, and by the contract; nginx has an element for each module.
        unsafe { (*(*self.0.as_ptr()).conf_ctx.add((*module).index)).cast() }
    }

    /// The core module's configuration.
    pub(super) fn core_conf(self) -> Option<&'static ngx_core_conf_t> {
        // SAFETY: see above; a core module with this type of configuration.
        unsafe { self.core_module_conf::<ngx_core_conf_t>(&raw mut ngx_core_module).as_ref() }
    }

    /// Why workers can't have the threads of a pool; `None` if they can. Called when all of the
    /// configuration is read.
    pub(crate) fn lacks_threads(self, pool: Option<ThreadPool>) -> Option<NoThreads> {
        if self.core_conf().is_some_and(|core| core.master == 0) {
            return Some(NoThreads::NoMaster);
        } else if pool.is_none() {
            return Some(NoThreads::Build);
        }
        // SAFETY: see above; these are the types of the modules' configurations. Null is refused by
        // nginx later, otherwise the block's end has chosen one of the event modules, whose `ctx`
        // has this type.
        unsafe {
            let events: *mut *mut *mut ngx_event_conf_t =
                self.core_module_conf(&raw mut ngx_events_module);
            let index = ptr::addr_of!(ngx_event_core_module.ctx_index).read();
            let chosen = (**events.as_ref()?.add(index)).use_;
            let is_chosen = |module: &&ngx_module_t| {
                module.type_ == NGX_EVENT_MODULE as ngx_uint_t && module.ctx_index == chosen
            };
            let method = module::all(self.0.as_ptr()).find(is_chosen)?.ctx;
            let notify = (*method.cast::<ngx_event_module_t>()).actions.notify;
            notify.is_none().then_some(NoThreads::EventMethod)
        }
    }

    /// Calls `tick` on the event loop after `delay` milliseconds. The timer does not keep a process
    /// from exiting.
    pub(crate) fn start_timer(
        self,
        delay: ngx_msec_t,
        tick: impl Fn(TimerHandle) + 'static,
    ) -> Result<(), Failure> {
        // SAFETY: see above; a cycle has a pool, which its log is in.
        unsafe {
            let cycle = self.0.as_ptr();
            let pool = Pool::from_raw(ptr::NonNull::new_unchecked((*cycle).pool));
            timer::start(pool, (*cycle).log, delay, tick)
        }
    }
}

/// Why worker processes have no threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoThreads {
    /// `master_process off`: after a reload nginx would end threads that it has not started.
    NoMaster,
    /// nginx was built without.
    Build,
    /// The event method has no `notify`, with which threads report to the event loop.
    EventMethod,
}

impl fmt::Display for NoThreads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoMaster => "\"master_process\" is off",
            Self::Build => "nginx was built without threads",
            Self::EventMethod => "the event method does not support threads",
        })
    }
}

impl TimerHandle {
    /// Starts the timer again, unless the process is exiting.
    pub(crate) fn again(self, delay: ngx_msec_t) {
        if !is_ending() {
            // SAFETY: a worker process has one cycle, whose pool it destroys after the event loop
            // (`ngx_worker_process_exit`). Handles are used on the event loop only: by the timer
            // itself and at the end of jobs.
            unsafe { self.start(delay) };
        }
    }
}

/// Whether this is a worker process. The cache manager and loader, which have no thread pools, and a
/// single process are not.
pub(crate) fn is_worker() -> bool {
    // SAFETY: nginx writes the variable before it calls `init_process`.
    unsafe { ptr::addr_of!(ngx_process).read() == NGX_PROCESS_WORKER as usize }
}

/// Whether the process handles requests: a worker or a single process.
#[cfg(any(feature = "lmdb", feature = "plays"))]
pub(crate) fn handles_requests() -> bool {
    // SAFETY: as in `is_worker`.
    is_worker() || unsafe { ptr::addr_of!(ngx_process).read() == NGX_PROCESS_SINGLE as usize }
}

/// How many worker processes there are, in one of them.
#[cfg(feature = "plays")]
pub(crate) fn worker_count() -> usize {
    // SAFETY: nginx sets the variable before it handles a request.
    let cycle = unsafe { Cycle::from_raw(ngx_cycle) };
    let core = cycle.and_then(Cycle::core_conf).filter(|core| core.master != 0);
    core.and_then(|core| usize::try_from(core.worker_processes).ok()).unwrap_or(1)
}

/// Whether the process is exiting. May be called in any thread.
pub(crate) fn is_ending() -> bool {
    // SAFETY: the variables have these types in nginx (`ngx_process_cycle.c`), are aligned and live
    // as long as the process. Rust only reads them, atomically. Strictly there is a race, because
    // nginx writes them without atomics, in its signal handler and on the event loop. They are
    // machine words that nothing else depends on: a thread reads the old value or the new one, and
    // with the old one it stops a little later.
    unsafe {
        AtomicUsize::from_ptr(&raw mut ngx_exiting).load(Relaxed) != 0
            || AtomicI32::from_ptr(&raw mut ngx_quit).load(Relaxed) != 0
            || AtomicI32::from_ptr(&raw mut ngx_terminate).load(Relaxed) != 0
    }
}

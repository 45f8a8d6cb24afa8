//! Worker processes: whether there are any, their timers, and whether one is about to end.

use core::ptr;

use nginx_sys::{
    NGX_PROCESS_WORKER, ngx_add_timer, ngx_core_conf_t, ngx_core_module, ngx_cycle_t,
    ngx_del_timer, ngx_event_t, ngx_exiting, ngx_http_conf_ctx_t, ngx_http_module, ngx_msec_t,
    ngx_process, ngx_quit, ngx_terminate,
};

use super::Failure;
use super::configuration::Conf;
use super::guard;
use super::log::Log;
use super::module::{self, MainData};
use super::pool::Pool;

/// The configuration that a process runs with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cycle(ptr::NonNull<ngx_cycle_t>);

// SAFETY of this block's calls: the cycle is valid by the contract of `from_raw`.
impl Cycle {
    /// # Safety
    ///
    /// `cycle` is what nginx hands to a module's `init_process`.
    pub(crate) unsafe fn from_raw(cycle: *mut ngx_cycle_t) -> Option<Self> {
        ptr::NonNull::new(cycle).map(Self)
    }

    pub(crate) fn log_handle(self) -> Option<Log> {
        // SAFETY: see above.
        unsafe { Log::from_raw((*self.0.as_ptr()).log) }
    }

    /// The module's configuration for all of `http {}`; `None` without such a block.
    pub(crate) fn main_conf<T: MainData>(self) -> Option<&'static T> {
        // SAFETY: see above; nginx has an element for each module, null for `http` if there is no
        // such block.
        unsafe {
            let index = ptr::addr_of!(ngx_http_module.index).read();
            let context = (*(*self.0.as_ptr()).conf_ctx.add(index)).cast::<ngx_http_conf_ctx_t>();
            let main_conf = context.as_ref()?.main_conf;
            (*main_conf.add(module::ctx_index())).cast::<T>().as_ref()
        }
    }

    /// Calls `tick` after so many milliseconds, on the event loop. The timer does not keep a
    /// process from ending.
    pub(crate) fn start_timer(
        self,
        delay: ngx_msec_t,
        tick: impl Fn(TimerHandle) + 'static,
    ) -> Result<(), Failure> {
        // SAFETY: see above; a cycle has a pool.
        let pool: Pool<'static> =
            unsafe { Pool::from_raw(ptr::NonNull::new_unchecked((*self.0.as_ptr()).pool)) };
        // SAFETY: all zero is an event that is in no list.
        let event: ngx_event_t = unsafe { core::mem::zeroed() };
        let timer = pool.store_with(|| Timer { event, tick: Box::new(tick) }, drop_timer)?;
        let timer = ptr::from_ref(timer).cast_mut();
        // SAFETY: the timer stays at its address until `drop_timer`, which takes it out of
        // nginx's tree; nobody holds a reference to it meanwhile.
        unsafe {
            (*timer).event.data = timer.cast();
            (*timer).event.handler = Some(fire);
            (*timer).event.log = (*self.0.as_ptr()).log;
            (*timer).event.set_cancelable(1);
            ngx_add_timer(&raw mut (*timer).event, delay);
        }
        Ok(())
    }
}

struct Timer {
    event: ngx_event_t,
    tick: Box<dyn Fn(TimerHandle)>,
}

/// A timer that has fired and can be started again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TimerHandle(*mut Timer);

impl TimerHandle {
    /// Starts the timer again, unless the process is about to end.
    pub(crate) fn again(self, delay: ngx_msec_t) {
        if is_ending() {
            return;
        }
        // SAFETY: timers live as long as their cycle, and a worker process has one cycle; jobs
        // that hold a handle are not finished after it has gone.
        unsafe { ngx_add_timer(&raw mut (*self.0).event, delay) };
    }
}

unsafe extern "C" fn fire(event: *mut ngx_event_t) {
    // SAFETY: nginx calls the function with the event of a timer.
    let (timer, log) = unsafe { ((*event).data.cast::<Timer>(), Log::from_raw((*event).log)) };
    // SAFETY: as above; `tick` is never changed.
    let tick = unsafe { &(*timer).tick };
    guard::catch(log, (), || tick(TimerHandle(timer)));
}

extern "C" fn drop_timer(timer: *mut core::ffi::c_void) {
    // SAFETY: nginx calls the function once, with the address of the timer, when its pool goes.
    unsafe {
        let timer = timer.cast::<Timer>();
        if (*timer).event.timer_set() != 0 {
            ngx_del_timer(&raw mut (*timer).event);
        }
        guard::catch(None, (), || ptr::drop_in_place(timer));
    }
}

/// What the directives outside of `http {}` say so far.
pub(super) fn core_conf<'c>(conf: &Conf<'c>) -> Option<&'c ngx_core_conf_t> {
    // SAFETY: the configuration is valid, and the core module's exists in each.
    unsafe {
        let cycle = (*conf.as_raw()).cycle;
        let index = ptr::addr_of!(ngx_core_module.index).read();
        (*(*cycle).conf_ctx.add(index)).cast::<ngx_core_conf_t>().as_ref()
    }
}

/// Whether there will be worker processes: not with `master_process off`, if that stands before
/// `http {}`.
pub(crate) fn are_wanted(conf: &Conf<'_>) -> bool {
    core_conf(conf).is_none_or(|core| core.master != 0)
}

/// Whether this is a process that serves requests under a master process. The cache manager and
/// loader are none, and have no thread pools.
pub(crate) fn is_worker() -> bool {
    // SAFETY: nginx writes the variable before it calls `init_process`.
    unsafe { ptr::addr_of!(ngx_process).read() == NGX_PROCESS_WORKER as usize }
}

/// Whether the process is about to end; may be asked in any thread.
pub(crate) fn is_ending() -> bool {
    // SAFETY: the variables are written by the event loop's thread and its signal handlers, and
    // read whole: an old value only means that the answer comes a little later.
    unsafe {
        ptr::addr_of!(ngx_exiting).read_volatile() != 0
            || ptr::addr_of!(ngx_quit).read_volatile() != 0
            || ptr::addr_of!(ngx_terminate).read_volatile() != 0
    }
}

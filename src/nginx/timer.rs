//! Timers that call the module periodically.

use core::mem;

use nginx_sys::{ngx_event_t, ngx_log_t, ngx_msec_t};

use super::Failure;
use super::event::{add_timer, del_timer, set_cancelable};
use super::guard;
use super::log::Log;
use super::pool::{Pool, pooled};

/// A timer in the pool of a cycle. nginx has pointers to the event in its tree, so it does not move,
/// and there are no references to it or to the timer as a whole.
struct Timer {
    event: ngx_event_t,
    tick: Box<dyn Fn(TimerHandle)>,
}

pooled!(Timer);

impl Drop for Timer {
    fn drop(&mut self) {
        // SAFETY: the event was made in `start`. When it is removed from the tree nginx has no pointer
        // to it; an event that has fired is in no other list (`ngx_event_expire_timers`).
        unsafe { del_timer(&raw mut self.event) };
    }
}

/// A timer that has fired and can be started again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TimerHandle(*mut Timer);

impl TimerHandle {
    /// Starts the timer again.
    ///
    /// # Safety
    ///
    /// The timer's pool is not destroyed.
    pub(super) unsafe fn start(self, delay: ngx_msec_t) {
        // SAFETY: by the contract.
        unsafe { add_timer(&raw mut (*self.0).event, delay) };
    }
}

/// Calls `tick` after so many milliseconds, on the event loop. The timer does not keep a process from
/// exiting.
///
/// # Safety
///
/// `log` is null or valid as long as the pool.
pub(super) unsafe fn start(
    pool: Pool<'_>,
    log: *mut ngx_log_t,
    delay: ngx_msec_t,
    tick: impl Fn(TimerHandle) + 'static,
) -> Result<(), Failure> {
    // SAFETY: all zero is an event that is in no list.
    let event: ngx_event_t = unsafe { mem::zeroed() };
    let timer = pool.store_with(|| Timer { event, tick: Box::new(tick) })?.as_ptr();
    // SAFETY: the timer stays at its address until it is dropped, which removes it from nginx's tree.
    unsafe {
        (*timer).event.data = timer.cast();
        (*timer).event.handler = Some(fire);
        (*timer).event.log = log;
        set_cancelable(&raw mut (*timer).event);
        add_timer(&raw mut (*timer).event, delay);
    }
    Ok(())
}

unsafe extern "C" fn fire(event: *mut ngx_event_t) {
    // SAFETY: nginx calls the function with the event of a timer, which it has removed from its tree.
    // `tick` is never changed; it may start the timer again, which writes to the event only.
    unsafe {
        let (timer, log) = ((*event).data.cast::<Timer>(), Log::from_raw((*event).log));
        let tick = &(*timer).tick;
        guard::catch(log, (), || tick(TimerHandle(timer)));
    }
}

//! A job for a thread pool of nginx, with a callback on the event loop.

use core::ffi::c_void;
use core::mem;

use nginx_sys::{ngx_event_t, ngx_log_t, ngx_uint_t};

use super::guard;
use super::heap::boxed;
use super::log::Log;

/// nginx's `ngx_thread_task_t`. Its header is not included in a build without threads, but the struct
/// is the same: a module built without threads uses those of the nginx that loads it.
#[repr(C)]
pub(super) struct ThreadTask {
    pub(super) next: *mut Self,
    pub(super) id: ngx_uint_t,
    pub(super) ctx: *mut c_void,
    pub(super) handler: Option<unsafe extern "C" fn(*mut c_void, *mut ngx_log_t)>,
    pub(super) event: ngx_event_t,
}

/// nginx links the task into its lists, so a job does not move. nginx also uses the task while a
/// thread works and while the event loop posts others, so there are no references to it or to the job
/// as a whole.
struct Job<T, W, D> {
    task: ThreadTask,
    work: Option<W>,
    result: Option<T>,
    done: D,
}

/// Runs `work` in a thread and then `done` on the event loop, with the result, or `None` if `work` has
/// panicked. Returns whether `post` has accepted the task; not if there is no
/// memory for it.
///
/// # Safety
///
/// `log` is null or valid until `done` has been called. If `post` returns true, a thread calls the
/// task's handler once, and then the event loop calls the handler of its event once; each sees what
/// the one before has written. Either may not happen; then the job is not freed. If `post` returns
/// false it keeps no pointer to the task.
pub(super) unsafe fn start<T, W, D>(
    log: *mut ngx_log_t,
    work: W,
    done: D,
    post: impl FnOnce(*mut ThreadTask) -> bool,
) -> bool
where
    T: Send + 'static,
    W: FnOnce() -> T + Send + 'static,
    D: FnOnce(Option<T>) + 'static,
{
    // SAFETY: all zero is a task that is in no list, as `ngx_thread_task_alloc` makes it.
    let task: ThreadTask = unsafe { mem::zeroed() };
    let job = Job { task, work: Some(work), result: None::<T>, done };
    let Ok(job) = boxed(job) else { return false };
    let job = Box::into_raw(job);
    // SAFETY: the job stays at its address until `finish` takes it back, or this function if it is
    // not accepted.
    unsafe {
        (*job).task.ctx = job.cast();
        (*job).task.handler = Some(perform::<T, W, D>);
        (*job).task.event.data = job.cast();
        (*job).task.event.handler = Some(finish::<T, W, D>);
        (*job).task.event.log = log;
        let accepted = post(&raw mut (*job).task);
        if !accepted {
            drop(Box::from_raw(job));
        }
        accepted
    }
}

/// In a thread of the pool.
unsafe extern "C" fn perform<T, W: FnOnce() -> T, D>(job: *mut c_void, log: *mut ngx_log_t) {
    let job = job.cast::<Job<T, W, D>>();
    // SAFETY: nginx calls the function with a job that was posted, and the pool's log. Only this
    // thread uses the two fields until it returns the task, which it does not use.
    unsafe {
        let work = &mut (*job).work;
        if let Some(work) = work.take() {
            let result = guard::catch(Log::from_raw(log), None, || Some(work()));
            (*job).result = result;
        }
    }
}

/// On the event loop, when the job is done.
unsafe extern "C" fn finish<T, W, D: FnOnce(Option<T>)>(event: *mut ngx_event_t) {
    // SAFETY: the event is that of a job whose thread has ended it, and nginx has removed its task
    // from all lists and does not use it after this call (`ngx_thread_pool_handler`).
    let (job, log) = unsafe {
        let log = Log::from_raw((*event).log);
        (Box::from_raw((*event).data.cast::<Job<T, W, D>>()), log)
    };
    let Job { result, done, .. } = *job;
    guard::catch(log, (), || done(result));
}

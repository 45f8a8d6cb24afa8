//! Work that one thread does and another one waits for, in the form of nginx's thread pools.

use core::ffi::c_void;
use core::mem;

use nginx_sys::{ngx_event_t, ngx_log_t, ngx_uint_t};

use super::guard;
use super::log::Log;

/// nginx's `ngx_thread_task_t`: what a header of its own has, which a build without threads does not
/// include. The struct is the same there, so a module that was built without threads uses those of
/// the nginx that loads it.
#[repr(C)]
pub(super) struct ThreadTask {
    pub(super) next: *mut Self,
    pub(super) id: ngx_uint_t,
    pub(super) ctx: *mut c_void,
    pub(super) handler: Option<unsafe extern "C" fn(*mut c_void, *mut ngx_log_t)>,
    pub(super) event: ngx_event_t,
}

/// One piece of work. nginx links the task into its lists, so it stays where it is; and it uses the
/// task while a thread works and while the event loop posts others, so that nobody makes a reference
/// to it or to the whole.
struct Job<T> {
    task: ThreadTask,
    work: Option<Box<dyn FnOnce() -> T + Send>>,
    result: Option<T>,
    done: Option<Box<dyn FnOnce(Option<T>)>>,
}

/// Has `work` done in a thread and then `done` called on the event loop, with the result, or `None`
/// if `work` panicked. Returns whether `post` has taken the task.
///
/// # Safety
///
/// `log` is null or valid until `done` has been called. If `post` returns true it hands the task
/// over to a thread that calls its handler once, and then to the event loop, which calls its event's
/// handler once: each sees what the one before has written. Or it does not go on; then the job is
/// not freed. If it returns false it has no pointer to the task any more.
pub(super) unsafe fn start<T: Send + 'static>(
    log: *mut ngx_log_t,
    work: impl FnOnce() -> T + Send + 'static,
    done: impl FnOnce(Option<T>) + 'static,
    post: impl FnOnce(*mut ThreadTask) -> bool,
) -> bool {
    // SAFETY: all zero is a task that is in no list, as `ngx_thread_task_alloc` makes it.
    let task: ThreadTask = unsafe { mem::zeroed() };
    let job = Box::into_raw(Box::new(Job {
        task,
        work: Some(Box::new(work)),
        result: None,
        done: Some(Box::new(done)),
    }));
    // SAFETY: the job stays at its address until `finish` has it back, or this function if it is
    // not taken.
    unsafe {
        (*job).task.ctx = job.cast();
        (*job).task.handler = Some(perform::<T>);
        (*job).task.event.data = job.cast();
        (*job).task.event.handler = Some(finish::<T>);
        (*job).task.event.log = log;
        let taken = post(&raw mut (*job).task);
        if !taken {
            drop(Box::from_raw(job));
        }
        taken
    }
}

/// In a thread of the pool.
unsafe extern "C" fn perform<T>(job: *mut c_void, log: *mut ngx_log_t) {
    let job = job.cast::<Job<T>>();
    // SAFETY: nginx calls the function with a job that was posted, and the pool's log. Only this
    // thread uses the two fields until it gives the task back; the task is not touched.
    unsafe {
        let work = &mut (*job).work;
        if let Some(work) = work.take() {
            let result = guard::catch(Log::from_raw(log), None, || Some(work()));
            (*job).result = result;
        }
    }
}

/// On the event loop, when the job is done.
unsafe extern "C" fn finish<T>(event: *mut ngx_event_t) {
    // SAFETY: the event is that of a job whose thread has finished with it, and nginx has taken its
    // task out of all lists and does not touch it after this call (`ngx_thread_pool_handler`).
    let (job, log) = unsafe {
        let log = Log::from_raw((*event).log);
        (Box::from_raw((*event).data.cast::<Job<T>>()), log)
    };
    let Job { result, done, .. } = *job;
    if let Some(done) = done {
        guard::catch(log, (), || done(result));
    }
}

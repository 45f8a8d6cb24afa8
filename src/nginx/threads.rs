//! Work beside the event loop, in nginx's own thread pool.

use core::ffi::{c_char, c_void};
use core::mem;
use core::ptr::{self, NonNull};

use nginx_sys::{
    NGX_OK, ngx_conf_t, ngx_cycle, ngx_event_t, ngx_int_t, ngx_log_t, ngx_str_t, ngx_thread_pool_t,
    ngx_thread_task_t,
};

use super::Failure;
use super::configuration::Conf;
use super::guard;
use super::log::Log;

type Add = unsafe extern "C" fn(*mut ngx_conf_t, *mut ngx_str_t) -> *mut ngx_thread_pool_t;
type Post = unsafe extern "C" fn(*mut ngx_thread_pool_t, *mut ngx_thread_task_t) -> ngx_int_t;

/// The pool `default`, as `aio threads` uses it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ThreadPool {
    raw: NonNull<ngx_thread_pool_t>,
    post: Post,
}

/// One piece of work. nginx links the task into its lists, so it stays where it is.
#[repr(C)]
struct Job<T> {
    task: ngx_thread_task_t,
    work: Option<Box<dyn FnOnce() -> T + Send>>,
    result: Option<T>,
    done: Option<Box<dyn FnOnce(Option<T>)>>,
}

impl ThreadPool {
    /// Sees to it that every worker process has the pool. `None` in an nginx without threads:
    /// `--with-compat` hides that from the check of a module's signature, so the functions are
    /// looked up at run time; a module that named them could not be loaded there.
    pub(crate) fn add(conf: &Conf<'_>) -> Result<Option<Self>, Failure> {
        let (Some(add), Some(post)) =
            (symbol(c"ngx_thread_pool_add".as_ptr()), symbol(c"ngx_thread_task_post".as_ptr()))
        else {
            return Ok(None);
        };
        // SAFETY: these are the types of the two functions in all versions from 1.22 to 1.28, and
        // the configuration is valid. A null name means "default".
        unsafe {
            let add: Add = mem::transmute(add);
            let post: Post = mem::transmute(post);
            let raw = NonNull::new(add(conf.as_raw(), ptr::null_mut()))
                .ok_or(Failure("ngx_thread_pool_add() failed"))?;
            Ok(Some(Self { raw, post }))
        }
    }

    /// Runs `work` in a thread and then `done` on the event loop, with the result, or `None` if
    /// `work` panicked. If the worker process ends first, `done` is not called.
    pub(crate) fn run<T: Send + 'static>(
        self,
        work: impl FnOnce() -> T + Send + 'static,
        done: impl FnOnce(Option<T>) + 'static,
    ) -> Result<(), Failure> {
        // SAFETY: all zero is a task that is in no list, as `ngx_thread_task_alloc` makes it.
        let task: ngx_thread_task_t = unsafe { mem::zeroed() };
        let job = Box::into_raw(Box::new(Job {
            task,
            work: Some(Box::new(work)),
            result: None,
            done: Some(Box::new(done)),
        }));
        // SAFETY: the job stays at its address until `finish` has it back. Between posting and
        // `finish` only the thread uses it; nginx passes it on with its own locks.
        unsafe {
            (*job).task.ctx = job.cast();
            (*job).task.handler = Some(perform::<T>);
            (*job).task.event.data = job.cast();
            (*job).task.event.handler = Some(finish::<T>);
            (*job).task.event.log = (*ngx_cycle).log;
            if (self.post)(self.raw.as_ptr(), &raw mut (*job).task) != NGX_OK as ngx_int_t {
                drop(Box::from_raw(job));
                return Err(Failure("ngx_thread_task_post() failed"));
            }
        }
        Ok(())
    }
}

/// The address of a function of nginx, if it has it.
fn symbol(name: *const c_char) -> Option<NonNull<c_void>> {
    // SAFETY: the name is a C string.
    NonNull::new(unsafe { libc::dlsym(libc::RTLD_DEFAULT, name) })
}

/// In a thread of the pool.
unsafe extern "C" fn perform<T>(job: *mut c_void, log: *mut ngx_log_t) {
    // SAFETY: nginx calls the function with the job that was posted, and the pool's log.
    let (Some(job), log) =
        (unsafe { job.cast::<Job<T>>().as_mut() }, unsafe { Log::from_raw(log) })
    else {
        return;
    };
    if let Some(work) = job.work.take() {
        job.result = guard::catch(log, None, || Some(work()));
    }
}

/// On the event loop, when the job is done.
unsafe extern "C" fn finish<T>(event: *mut ngx_event_t) {
    // SAFETY: the event is that of a job, whose thread has finished with it.
    let (job, log) = unsafe {
        let log = Log::from_raw((*event).log);
        (Box::from_raw((*event).data.cast::<Job<T>>()), log)
    };
    let Job { result, done, .. } = *job;
    if let Some(done) = done {
        guard::catch(log, (), || done(result));
    }
}

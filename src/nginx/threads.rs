//! Work beside the event loop, in nginx's own thread pool.

use core::ffi::{c_char, c_void};
use core::mem;
use core::ptr::{self, NonNull};

use nginx_sys::{
    NGX_OK, ngx_conf_t, ngx_cycle, ngx_int_t, ngx_str_t, ngx_thread_pool_t, ngx_thread_task_t,
};

use super::Failure;
use super::configuration::Conf;
use super::job;

type Add = unsafe extern "C" fn(*mut ngx_conf_t, *mut ngx_str_t) -> *mut ngx_thread_pool_t;
type Post = unsafe extern "C" fn(*mut ngx_thread_pool_t, *mut ngx_thread_task_t) -> ngx_int_t;

/// The pool `default`, as `aio threads` uses it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ThreadPool {
    raw: NonNull<ngx_thread_pool_t>,
    post: Post,
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
        // SAFETY: the cycle's log is there as long as the event loop runs, which calls `done`. nginx
        // passes tasks on under locks of its own (`ngx_thread_task_post`, `ngx_thread_pool_cycle`).
        // At the end of a process the pool waits for its threads before the configuration goes
        // (`ngx_thread_pool_exit_worker`); tasks that are done then are left.
        let posted = unsafe {
            job::start((*ngx_cycle).log, work, done, |task| {
                (self.post)(self.raw.as_ptr(), task) == NGX_OK as ngx_int_t
            })
        };
        if posted { Ok(()) } else { Err(Failure("ngx_thread_task_post() failed")) }
    }
}

/// The address of a function of nginx, if it has it.
fn symbol(name: *const c_char) -> Option<NonNull<c_void>> {
    // SAFETY: the name is a C string.
    NonNull::new(unsafe { libc::dlsym(libc::RTLD_DEFAULT, name) })
}

//! Work in nginx's thread pool, outside of the event loop.

use core::ffi::{CStr, c_void};
use core::mem;
use core::ptr::{self, NonNull};

use nginx_sys::{
    NGX_OK, ngx_array_t, ngx_conf_t, ngx_cycle, ngx_cycle_t, ngx_int_t, ngx_module_t, ngx_str_t,
};

use super::Failure;
use super::configuration::Conf;
use super::job::{self, ThreadTask};
use super::request::string;
use super::worker::Cycle;

// A pool is a `ngx_thread_pool_t`, which is private to nginx.
type Get = unsafe extern "C" fn(*mut ngx_cycle_t, *mut ngx_str_t) -> *mut c_void;
type Add = unsafe extern "C" fn(*mut ngx_conf_t, *mut ngx_str_t) -> *mut c_void;
type Post = unsafe extern "C" fn(*mut c_void, *mut ThreadTask) -> ngx_int_t;

/// The pool `default`, as `aio threads` uses it; in the memory of the configuration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ThreadPool(NonNull<State>);

#[derive(Clone, Copy)]
struct State {
    /// Null until the pool is added, and once it is removed.
    pool: *mut c_void,
    /// Whether only the module uses the pool.
    is_own: bool,
    get: Get,
    add: Add,
    post: Post,
    /// nginx's module of thread pools.
    module: *mut ngx_module_t,
}

// SAFETY of this block's calls: the state is valid as long as the configuration. It is used while
// that is read, and later on the event loop only.
impl ThreadPool {
    /// A pool to be added. `None` in an nginx without threads: `--with-compat` hides that from the
    /// check of a module's signature, and a module linked to the functions could not be loaded, so
    /// they are looked up at run time.
    pub(crate) fn find(conf: &Conf<'_>) -> Result<Option<Self>, Failure> {
        let symbols = [
            c"ngx_thread_pool_get",
            c"ngx_thread_pool_add",
            c"ngx_thread_task_post",
            c"ngx_thread_pool_module",
        ];
        let [Some(get), Some(add), Some(post), Some(module)] = symbols.map(symbol) else {
            return Ok(None);
        };
        // SAFETY: these are the types of the functions and of the variable from 1.22 to 1.31.
        let state = unsafe {
            State {
                pool: ptr::null_mut(),
                is_own: false,
                get: mem::transmute::<NonNull<c_void>, Get>(get),
                add: mem::transmute::<NonNull<c_void>, Add>(add),
                post: mem::transmute::<NonNull<c_void>, Post>(post),
                module: module.as_ptr().cast(),
            }
        };
        Ok(Some(Self(NonNull::from(conf.pool().store(state)?))))
    }

    /// Adds the pool, for every worker process. Called when all directives of `http {}` are read:
    /// if no directive there uses the pool, it does not exist by then. (A `thread_pool default`
    /// after `http {}` configures the module's.)
    pub(crate) fn add(self, conf: &Conf<'_>) -> Result<(), Failure> {
        let state = self.0.as_ptr();
        let mut name = string(b"default");
        // SAFETY: see above; the configuration and its cycle are valid. `get` only reads the name. A
        // null name means "default".
        unsafe {
            (*state).is_own = ((*state).get)((*conf.as_raw()).cycle, &raw mut name).is_null();
            (*state).pool = ((*state).add)(conf.as_raw(), ptr::null_mut());
            if (*state).pool.is_null() {
                return Err(Failure("ngx_thread_pool_add() failed"));
            }
        }
        Ok(())
    }

    /// Whether nginx has the pool.
    pub(crate) fn is_there(self) -> bool {
        // SAFETY: see above.
        unsafe { !(*self.0.as_ptr()).pool.is_null() }
    }

    /// Removes the pool again, unless others use it: where there can be no threads, nginx would fail
    /// to start them in a worker, or crash ending them in a process that has not started them.
    pub(crate) fn remove(self, cycle: Cycle) {
        let state = self.0.as_ptr();
        // SAFETY: see above. From 1.22 to 1.31 the configuration of the module of thread pools is an
        // array of pointers to pools (`ngx_thread_pool_conf_t`), which nothing iterates over during
        // the `init_conf` of another module.
        unsafe {
            let pool = mem::replace(&mut (*state).pool, ptr::null_mut());
            if pool.is_null() || !(*state).is_own {
                return;
            }
            let pools: *mut ngx_array_t = cycle.core_module_conf((*state).module);
            let elements = (*pools).elts.cast::<*mut c_void>();
            let count = (*pools).nelts;
            if let Some(at) = (0..count).find(|&at| *elements.add(at) == pool) {
                ptr::copy(elements.add(at + 1), elements.add(at), count - at - 1);
                (*pools).nelts = count - 1;
            }
        }
    }

    /// Runs `work` in a thread and then `done` on the event loop, with the result, or with `None` if
    /// `work` panicked. If the worker process exits first, `done` is not called.
    pub(crate) fn run<T: Send + 'static>(
        self,
        work: impl FnOnce() -> T + Send + 'static,
        done: impl FnOnce(Option<T>) + 'static,
    ) -> Result<(), Failure> {
        // SAFETY: see above; the cycle's log is valid as long as the event loop runs, which calls
        // `done`. nginx passes tasks on under its own locks (`ngx_thread_task_post`,
        // `ngx_thread_pool_cycle`). When a process exits, it waits for the threads before it
        // destroys the configuration (`ngx_thread_pool_exit_worker`); completed tasks are dropped.
        let posted = unsafe {
            let State { pool, post, .. } = *self.0.as_ptr();
            if pool.is_null() {
                return Err(Failure("no thread pool"));
            }
            job::start((*ngx_cycle).log, work, done, |task| post(pool, task) == NGX_OK as ngx_int_t)
        };
        if posted { Ok(()) } else { Err(Failure("ngx_thread_task_post() failed")) }
    }
}

/// The address of a function or a variable of nginx, if it exists.
fn symbol(name: &CStr) -> Option<NonNull<c_void>> {
    // SAFETY: the name is a C string.
    NonNull::new(unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) })
}

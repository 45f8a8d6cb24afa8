//! Work in threads.

use std::cell::Cell;
use std::ptr;
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;

use super::job::{self, ThreadTask};

/// A task on its way from one thread to another.
struct Sent(*mut ThreadTask);

unsafe impl Send for Sent {}

/// A pool of one thread: the thread works off what is posted, and tasks that are done come back.
struct Threads {
    post: Option<mpsc::Sender<Sent>>,
    done: mpsc::Receiver<Sent>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Threads {
    fn new() -> Self {
        let (post, posted) = mpsc::channel::<Sent>();
        let (give_back, done) = mpsc::channel();
        let thread = thread::spawn(move || {
            for Sent(task) in posted {
                unsafe {
                    let handler = (*task).handler.unwrap();
                    handler((*task).ctx, ptr::null_mut());
                    // As ngx_thread_pool_cycle() does it.
                    (*task).next = ptr::null_mut();
                }
                give_back.send(Sent(task)).unwrap();
            }
        });
        Self { post: Some(post), done, thread: Some(thread) }
    }

    fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
        done: impl FnOnce(Option<T>) + 'static,
    ) {
        let post = |task: *mut ThreadTask| {
            unsafe {
                // As ngx_thread_task_post() does it.
                (*task).id = 1;
                (*task).next = ptr::null_mut();
            }
            self.post.as_ref().unwrap().send(Sent(task)).is_ok()
        };
        assert!(unsafe { job::start(ptr::null_mut(), work, done, post) });
    }

    /// As ngx_thread_pool_handler() does it.
    fn finish_one(&self) {
        let Sent(task) = self.done.recv().unwrap();
        unsafe {
            let event = &raw mut (*task).event;
            let handler = (*event).handler.unwrap();
            handler(event);
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.post = None;
        self.thread.take().unwrap().join().unwrap();
    }
}

#[test]
fn what_a_thread_has_made_comes_back() {
    let threads = Threads::new();
    let result = Rc::new(Cell::new(None));
    for word in ["one", "two"] {
        let to = Rc::clone(&result);
        threads.run(move || word.to_owned(), move |made| to.set(made));
        threads.finish_one();
        assert_eq!(result.take().as_deref(), Some(word));
    }
    assert_eq!(Rc::strong_count(&result), 1, "nothing holds on to the result");
}

#[test]
fn a_panic_in_a_thread_is_no_result() {
    let threads = Threads::new();
    let result = Rc::new(Cell::new(Some(1)));
    let to = Rc::clone(&result);
    threads.run(|| -> i32 { panic!("in a thread") }, move |made| to.set(made));
    threads.finish_one();
    assert_eq!(result.get(), None);
}

#[test]
fn a_panic_on_the_event_loop_stays_in_the_module() {
    let threads = Threads::new();
    threads.run(|| (), |_| panic!("on the event loop"));
    threads.finish_one();
    threads.run(|| (), |_| {});
    threads.finish_one();
}

#[test]
fn a_job_that_is_not_taken_is_dropped() {
    let done = Rc::new(Cell::new(false));
    let kept = Rc::clone(&done);
    let taken = unsafe {
        job::start(
            ptr::null_mut(),
            String::new,
            move |_| kept.set(true),
            |task| {
                (*task).id = 1;
                false
            },
        )
    };
    assert!(!taken);
    assert_eq!((done.get(), Rc::strong_count(&done)), (false, 1));
}

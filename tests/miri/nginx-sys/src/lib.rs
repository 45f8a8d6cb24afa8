//! Pools, timers and threads of nginx, as far as the files need them that are tested here. Names,
//! fields and what is done with pointers are nginx's.
//!
//! There is one "nginx" for each thread, so that tests don't see each other's timers.

#![allow(non_camel_case_types, missing_docs, clippy::missing_safety_doc)]

use std::alloc::{Layout, alloc, dealloc};
use std::cell::{Cell, RefCell};
use std::ffi::c_void;
use std::ptr;

pub const NGX_ALIGNMENT: usize = 16;

pub type ngx_msec_t = usize;
pub type ngx_uint_t = usize;

/* ngx_palloc.c */

#[repr(C)]
pub struct ngx_pool_cleanup_t {
    pub handler: Option<unsafe extern "C" fn(data: *mut c_void)>,
    pub data: *mut c_void,
    pub next: *mut ngx_pool_cleanup_t,
}

/// Each allocation is one of its own, as with `NGX_DEBUG_PALLOC`.
#[repr(C)]
pub struct ngx_pool_t {
    pub cleanup: *mut ngx_pool_cleanup_t,
    blocks: Vec<(*mut u8, Layout)>,
    /// How many more allocations succeed.
    pub left: usize,
}

pub fn ngx_create_pool() -> *mut ngx_pool_t {
    Box::into_raw(Box::new(ngx_pool_t {
        cleanup: ptr::null_mut(),
        blocks: Vec::new(),
        left: usize::MAX,
    }))
}

pub unsafe fn ngx_palloc(pool: *mut ngx_pool_t, size: usize) -> *mut c_void {
    unsafe { allocate(pool, size, NGX_ALIGNMENT) }
}

pub unsafe fn ngx_pnalloc(pool: *mut ngx_pool_t, size: usize) -> *mut c_void {
    unsafe { allocate(pool, size, 1) }
}

unsafe fn allocate(pool: *mut ngx_pool_t, size: usize, align: usize) -> *mut c_void {
    let Ok(layout) = Layout::from_size_align(size.max(1), align) else { return ptr::null_mut() };
    unsafe {
        if (*pool).left == 0 {
            return ptr::null_mut();
        }
        (*pool).left -= 1;
        let block = alloc(layout);
        let blocks = &mut (*pool).blocks;
        blocks.push((block, layout));
        block.cast()
    }
}

pub unsafe fn ngx_destroy_pool(pool: *mut ngx_pool_t) {
    unsafe {
        let mut cleanup = (*pool).cleanup;
        while !cleanup.is_null() {
            if let Some(handler) = (*cleanup).handler {
                handler((*cleanup).data);
            }
            cleanup = (*cleanup).next;
        }
        for (block, layout) in Box::from_raw(pool).blocks {
            dealloc(block, layout);
        }
    }
}

/* ngx_log.h */

pub struct ngx_log_t;

/* ngx_event.h, ngx_event_timer.c */

#[repr(C)]
pub struct ngx_event_t {
    pub data: *mut c_void,
    pub handler: Option<unsafe extern "C" fn(event: *mut ngx_event_t)>,
    pub log: *mut ngx_log_t,
    timer_set: u32,
    cancelable: u32,
    key: ngx_msec_t,
}

impl ngx_event_t {
    pub fn timer_set(&self) -> u32 {
        self.timer_set
    }

    pub fn cancelable(&self) -> u32 {
        self.cancelable
    }

    pub fn set_cancelable(&mut self, value: u32) {
        self.cancelable = value;
    }
}

thread_local! {
    static TIMERS: RefCell<Vec<*mut ngx_event_t>> = const { RefCell::new(Vec::new()) };
    static NOW: Cell<ngx_msec_t> = const { Cell::new(0) };
}

pub unsafe fn ngx_add_timer(event: *mut ngx_event_t, timer: ngx_msec_t) {
    unsafe {
        if (*event).timer_set != 0 {
            ngx_del_timer(event);
        }
        (*event).key = NOW.get() + timer;
        (*event).timer_set = 1;
    }
    TIMERS.with_borrow_mut(|timers| timers.push(event));
}

pub unsafe fn ngx_del_timer(event: *mut ngx_event_t) {
    TIMERS.with_borrow_mut(|timers| timers.retain(|other| *other != event));
    unsafe { (*event).timer_set = 0 };
}

/// Lets time pass; returns how many timers have fired.
pub fn ngx_event_expire_timers(milliseconds: ngx_msec_t) -> usize {
    let now = NOW.get() + milliseconds;
    NOW.set(now);
    let mut fired = 0;
    loop {
        let due = TIMERS.with_borrow(|timers| {
            timers.iter().copied().find(|event| unsafe { (**event).key <= now })
        });
        let Some(event) = due else { return fired };
        unsafe {
            ngx_del_timer(event);
            if let Some(handler) = (*event).handler {
                handler(event);
            }
        }
        fired += 1;
    }
}

pub fn timers() -> usize {
    TIMERS.with_borrow(Vec::len)
}

//! Timers of the event loop. They are inline functions in nginx; those of the bindings access bit
//! fields where bindgen places them, which may be wrong.

use core::ptr;

use nginx_sys::{
    ngx_current_msec, ngx_event_t, ngx_event_timer_rbtree, ngx_msec_t, ngx_rbtree_delete,
    ngx_rbtree_insert,
};

use super::layout;

/// Sets a timer that calls the event's handler after so many milliseconds, in place of an earlier one
/// (`ngx_event_add_timer`).
///
/// # Safety
///
/// `event` is valid, on the event loop of a worker process, and stays so until it has fired or
/// [`del_timer`] was called.
pub(super) unsafe fn add_timer(event: *mut ngx_event_t, delay: ngx_msec_t) {
    // SAFETY: by the contract. The tree is there since the event module's init_process, which runs
    // before those of HTTP modules.
    unsafe {
        del_timer(event);
        (*event).timer.key = ptr::addr_of!(ngx_current_msec).read_volatile().wrapping_add(delay);
        ngx_rbtree_insert(&raw mut ngx_event_timer_rbtree, &raw mut (*event).timer);
        layout::ngx_event_t::timer_set.set(event, 1);
    }
}

/// Removes the event's timer if it is set (`ngx_event_del_timer`).
///
/// # Safety
///
/// `event` is valid, on the event loop of its process.
pub(super) unsafe fn del_timer(event: *mut ngx_event_t) {
    // SAFETY: by the contract; a timer that is set is in the tree.
    unsafe {
        if !layout::ngx_event_t::timer_set.is_set(event) {
            return;
        }
        let timer = &raw mut (*event).timer;
        ngx_rbtree_delete(&raw mut ngx_event_timer_rbtree, timer);
        (*timer).left = ptr::null_mut();
        (*timer).right = ptr::null_mut();
        (*timer).parent = ptr::null_mut();
        layout::ngx_event_t::timer_set.set(event, 0);
    }
}

/// Lets a process exit although the event's timer is set (`ngx_event_no_timers_left`).
///
/// # Safety
///
/// `event` is valid, on the event loop of its process.
pub(super) unsafe fn set_cancelable(event: *mut ngx_event_t) {
    // SAFETY: by the contract.
    unsafe { layout::ngx_event_t::cancelable.set(event, 1) };
}

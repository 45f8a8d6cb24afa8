//! Timers.

use std::cell::{Cell, RefCell};
use std::ptr;
use std::rc::Rc;

use nginx_sys::{ngx_event_expire_timers, timers};

use super::pools::Owned;
use super::timer::{self, TimerHandle};

fn start(owned: &Owned, delay: usize, tick: impl Fn(TimerHandle) + 'static) {
    unsafe { timer::start(owned.pool(), ptr::null_mut(), delay, tick) }.unwrap();
}

#[test]
fn a_timer_can_start_itself_again() {
    let ticks = Rc::new(Cell::new(0));
    let owned = Owned::new();
    let seen = Rc::clone(&ticks);
    start(&owned, 10, move |timer| {
        seen.set(seen.get() + 1);
        if seen.get() < 3 {
            unsafe { timer.start(10) };
        }
    });
    assert_eq!(ngx_event_expire_timers(9), 0);
    assert_eq!(ngx_event_expire_timers(1), 1);
    assert_eq!(ngx_event_expire_timers(10), 1);
    assert_eq!(ngx_event_expire_timers(10), 1);
    assert_eq!(ngx_event_expire_timers(10), 0);
    assert_eq!(ticks.get(), 3);
    assert_eq!(timers(), 0);
}

/// As a catalog's timer does it: a job that is done starts it.
#[test]
fn a_timer_can_be_started_later() {
    let kept: Rc<RefCell<Option<TimerHandle>>> = Rc::default();
    let owned = Owned::new();
    let to = Rc::clone(&kept);
    start(&owned, 0, move |timer| *to.borrow_mut() = Some(timer));
    for _ in 0..3 {
        assert_eq!(ngx_event_expire_timers(0), 1);
        let timer = kept.borrow_mut().take().unwrap();
        unsafe { timer.start(0) };
    }
    assert_eq!(timers(), 1);
}

#[test]
fn a_timer_goes_with_its_pool() {
    let held = Rc::new(());
    let owned = Owned::new();
    for delay in 1..4 {
        let held = Rc::clone(&held);
        start(&owned, delay, move |_| drop(Rc::clone(&held)));
    }
    assert_eq!(ngx_event_expire_timers(1), 1);
    assert_eq!((timers(), Rc::strong_count(&held)), (2, 4));
    drop(owned);
    assert_eq!((timers(), Rc::strong_count(&held)), (0, 1));
    assert_eq!(ngx_event_expire_timers(100), 0);
}

#[test]
fn a_panic_of_a_timer_stays_in_the_module() {
    let owned = Owned::new();
    start(&owned, 0, |_| panic!("in a timer"));
    assert_eq!(ngx_event_expire_timers(0), 1);
}

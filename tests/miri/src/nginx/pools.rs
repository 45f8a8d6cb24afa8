//! Values in a pool.

use std::cell::Cell;
use std::ptr::NonNull;
use std::rc::Rc;

use model::text::Pieces;
use nginx_sys::{ngx_create_pool, ngx_destroy_pool, ngx_pool_cleanup_t, ngx_pool_t};

use super::Failure;
use super::pool::{Pool, pooled};

/// A pool that goes with the value, as with a request.
pub(crate) struct Owned(pub(crate) *mut ngx_pool_t);

impl Owned {
    pub(crate) fn new() -> Self {
        Self(ngx_create_pool())
    }

    pub(crate) fn pool(&self) -> Pool<'_> {
        unsafe { Pool::from_raw(NonNull::new(self.0).unwrap()) }
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        unsafe { ngx_destroy_pool(self.0) };
    }
}

/// Counts how often its values are dropped.
pub(crate) struct Counted {
    pub(crate) number: Cell<u32>,
    pub(crate) text: String,
    dropped: Rc<Cell<u32>>,
}

impl Counted {
    pub(crate) fn new(number: u32, dropped: &Rc<Cell<u32>>) -> Self {
        Self { number: Cell::new(number), text: number.to_string(), dropped: Rc::clone(dropped) }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.dropped.set(self.dropped.get() + 1);
    }
}

/// The same code as [`Counted`], byte for byte.
struct Twin(Counted);

struct Panics(Rc<Cell<u32>>);

impl Drop for Panics {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
        panic!("in a clean-up");
    }
}

/// Borrows from the pool that it is in.
struct Borrows<'p>(&'p [u8]);

pooled!(Counted);
pooled!(Twin);
pooled!(Panics);
pooled!(Borrows<'_>);

#[test]
fn each_value_is_dropped_once() {
    let dropped = Rc::new(Cell::new(0));
    let owned = Owned::new();
    for number in 0..3 {
        owned.pool().store_with(|| Counted::new(number, &dropped)).unwrap();
    }
    assert_eq!(dropped.get(), 0);
    drop(owned);
    assert_eq!(dropped.get(), 3);
}

/// As nginx does it with configurations: it keeps the pointer, hands it back to be written to, and
/// later to be read.
#[test]
fn a_value_can_be_written_through_the_pointer() {
    let dropped = Rc::new(Cell::new(0));
    let owned = Owned::new();
    let kept = owned.pool().store_with(|| Counted::new(1, &dropped)).unwrap();
    let kept: *mut std::ffi::c_void = kept.as_ptr().cast();
    for text in ["one", "two"] {
        let value = unsafe { kept.cast::<Counted>().as_mut() }.unwrap();
        value.text = text.to_owned();
        value.number = Cell::new(2);
    }
    let first = unsafe { kept.cast::<Counted>().as_ref() }.unwrap();
    let second = unsafe { kept.cast::<Counted>().as_ref() }.unwrap();
    first.number.set(3);
    assert_eq!((second.number.get(), second.text.as_str()), (3, "two"));
    drop(owned);
    assert_eq!(dropped.get(), 1);
}

#[test]
fn values_are_found_by_their_type() {
    unsafe extern "C" fn nothing(_: *mut std::ffi::c_void) {}

    let dropped = Rc::new(Cell::new(0));
    let owned = Owned::new();
    let raw = owned.0;
    let pool = owned.pool();
    pool.store_with(|| Counted::new(1, &dropped)).unwrap();
    pool.store_with(|| Twin(Counted::new(2, &dropped))).unwrap();
    // An entry of another module's, whose data is nothing of ours.
    let mut number = 0_u32;
    let mut foreign = ngx_pool_cleanup_t {
        handler: Some(nothing),
        data: (&raw mut number).cast(),
        next: unsafe { (*raw).cleanup },
    };
    unsafe { (*raw).cleanup = &raw mut foreign };
    pool.store_with(|| Counted::new(3, &dropped)).unwrap();

    let numbers = |numbers: Vec<NonNull<Counted>>| -> Vec<u32> {
        numbers.into_iter().map(|value| unsafe { value.as_ref() }.number.get()).collect()
    };
    assert_eq!(numbers(pool.stored::<Counted>().collect()), [3, 1], "the latest first");
    let twins: Vec<NonNull<Twin>> = pool.stored().collect();
    assert_eq!(twins.len(), 1);
    assert_eq!(unsafe { twins[0].as_ref() }.0.number.get(), 2);
    assert_eq!(pool.stored::<Panics>().count(), 0);
    drop(owned);
    assert_eq!(dropped.get(), 3);
}

#[test]
fn a_panic_while_dropping_stays_in_the_module() {
    let dropped = Rc::new(Cell::new(0));
    let owned = Owned::new();
    let panics = || Panics(Rc::clone(&dropped));
    owned.pool().store_with(panics).unwrap();
    owned.pool().store_with(panics).unwrap();
    drop(owned);
    assert_eq!(dropped.get(), 2, "the one behind is dropped too");
}

#[test]
fn a_value_may_point_into_its_pool() {
    let owned = Owned::new();
    let bytes = owned.pool().concat([b"of the", b" ", b"pool"]).unwrap();
    let stored = owned.pool().store_with(|| Borrows(bytes)).unwrap();
    assert_eq!(unsafe { stored.as_ref() }.0, b"of the pool");
}

/// Pieces that are more each time they are written, which is against the contract.
struct Growing(Cell<usize>);

impl Pieces for Growing {
    fn write(&self, mut out: impl FnMut(&[u8])) {
        (0..self.0.get()).for_each(|_| out(b"ab"));
        self.0.set(self.0.get() + 1);
    }
}

#[test]
fn bytes_and_copies() {
    let owned = Owned::new();
    let bytes = owned.pool().bytes(5).unwrap();
    bytes[4] = 1;
    assert_eq!(bytes, [0, 0, 0, 0, 1]);
    assert_eq!(owned.pool().bytes(0).unwrap(), []);
    assert_eq!(owned.pool().concat::<0>([]).unwrap(), []);
    assert_eq!(owned.pool().write(&Growing(Cell::new(2))).unwrap(), b"abab");
    let number = owned.pool().store(7_u64).unwrap();
    *number += 1;
    assert_eq!(*number, 8);
    let wide = owned.pool().store(u128::MAX).unwrap();
    assert_eq!(*wide, u128::MAX);
}

#[test]
fn without_memory_nothing_is_kept() {
    let dropped = Rc::new(Cell::new(0));
    let owned = Owned::new();
    unsafe { (*owned.0).left = 0 };
    let pool = owned.pool();
    let stored = pool.store_with(|| Counted::new(1, &dropped)).map(|_| ());
    assert_eq!(stored, Err(Failure::NO_MEMORY));
    assert_eq!(pool.store(1).map(|_| ()), Err(Failure::NO_MEMORY));
    assert_eq!(pool.bytes(1).map(|_| ()), Err(Failure::NO_MEMORY));
    assert_eq!(pool.concat([b"a"]).map(|_| ()), Err(Failure::NO_MEMORY));
    assert_eq!(pool.write(&Growing(Cell::new(1))), Err(Failure::NO_MEMORY));
    assert!(unsafe { (*owned.0).cleanup }.is_null());
    drop(owned);
    assert_eq!(dropped.get(), 0);
}

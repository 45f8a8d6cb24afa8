//! What a module remembers of a request, in `r->ctx` and in the pool.

use std::cell::Cell;
use std::ffi::c_void;
use std::ptr;

use super::context::ContextSlot;
use super::pool::pooled;
use super::pools::Owned;

struct Record<'r> {
    owner: u32,
    text: Cell<&'r [u8]>,
    seen: Cell<u32>,
}

pooled!(Record<'_>);

#[test]
fn a_record_survives_that_nginx_empties_the_place() {
    let owned = Owned::new();
    let pool = owned.pool();
    let mut contexts: [*mut c_void; 2] = [ptr::null_mut(); 2];
    let mut others: [*mut c_void; 2] = [ptr::null_mut(); 2];
    let (raw, raw_other) = (contexts.as_mut_ptr(), others.as_mut_ptr());
    let record = |owner| move || Record { owner, text: Cell::default(), seen: Cell::default() };

    unsafe {
        // A request and its subrequest, which share a pool.
        let place = ContextSlot::from_raw(raw.add(1));
        let other = ContextSlot::from_raw(raw_other.add(1));
        assert!(place.get::<Record<'_>>().is_none());
        assert!(place.restore(pool, |record: &Record<'_>| record.owner == 1).is_none());
        let first = place.set(pool, record(1)).unwrap();
        let second = other.set(pool, record(2)).unwrap();

        let bytes: &[u8] = pool.concat([b"kept"]).unwrap();
        first.text.set(bytes);
        for round in 1..4 {
            // As ngx_http_internal_redirect() does it.
            *raw.add(1) = ptr::null_mut();
            assert!(place.get::<Record<'_>>().is_none());
            let found = place.restore(pool, |record: &Record<'_>| record.owner == 1).unwrap();
            assert!(ptr::eq(found, first));
            found.seen.set(found.seen.get() + 1);
            assert_eq!((first.seen.get(), found.text.get()), (round, bytes));
            let again = place.get::<Record<'_>>().unwrap();
            assert!(ptr::eq(again, first));
            again.seen.set(again.seen.get());
        }
        assert!(ptr::eq(other.get::<Record<'_>>().unwrap(), second));
        assert_eq!(second.seen.get(), 0);

        // A second record of the same request comes before the first one.
        let third = place.set(pool, record(1)).unwrap();
        *raw.add(1) = ptr::null_mut();
        let found = place.restore(pool, |record: &Record<'_>| record.owner == 1).unwrap();
        assert!(ptr::eq(found, third));
        assert_eq!(first.text.get(), b"kept");
    }
}

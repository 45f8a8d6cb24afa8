//! A request that a content handler responds to later, in steps.

use core::mem;

use nginx_sys::{
    NGX_DONE, NGX_HTTP_INTERNAL_SERVER_ERROR, ngx_event_t, ngx_http_finalize_request,
    ngx_http_request_t, ngx_http_run_posted_requests, ngx_int_t,
};

use super::Failure;
use super::event::{add_timer, del_timer};
use super::guard;
use super::heap::boxed;
use super::layout::ngx_http_request_t::count;
use super::log::Log;
use super::pool::pooled;
use super::request::Request;

/// Between two steps the event loop does what else there is to do, in milliseconds.
const PAUSE: usize = 1;

/// Makes a step for a request; at the last one it returns what a content handler has to return.
type Step = Box<dyn FnMut(&Request<'_>) -> Option<ngx_int_t>>;

const INTERNAL_SERVER_ERROR: ngx_int_t = NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t;

/// A request that waits, in its own pool. nginx has pointers to the event in its tree, so it does not
/// move, and there are no references to it or to the value as a whole.
struct Waiting {
    event: ngx_event_t,
    request: *mut ngx_http_request_t,
    step: Step,
}

pooled!(Waiting);

impl Drop for Waiting {
    fn drop(&mut self) {
        // SAFETY: the event was made in `respond_later`. When it is removed from the tree nginx has no
        // pointer to it; an event that has fired is in no other list (`ngx_event_expire_timers`).
        unsafe { del_timer(&raw mut self.event) };
    }
}

// SAFETY of this block's calls: as for the other methods of `Request`.
impl Request<'_> {
    /// Has `step` called on the event loop until it returns something: that of a content handler,
    /// after which the request is finalized. Returns what the content handler has to return now.
    ///
    /// If the request ends before, `step` is dropped.
    pub(crate) fn respond_later(
        &self,
        step: impl FnMut(&Request<'_>) -> Option<ngx_int_t> + 'static,
    ) -> Result<ngx_int_t, Failure> {
        let step: Step = boxed(step)?;
        // SAFETY: all zero is an event that is in no list.
        let event: ngx_event_t = unsafe { mem::zeroed() };
        let request = self.as_raw();
        let waiting = self.pool().store_with(|| Waiting { event, request, step })?.as_ptr();
        // SAFETY: see above. The value stays at its address until it is dropped with the pool, which
        // removes the event from nginx's tree. What is counted is given back when the request is
        // finalized. nginx may free it before, when the connection is terminated: the event is then
        // gone as well.
        unsafe {
            (*waiting).event.data = waiting.cast();
            (*waiting).event.handler = Some(resume);
            (*waiting).event.log = (*(*request).connection).log;
            let main = (*request).main;
            count.set(main, count.get(main) + 1);
            add_timer(&raw mut (*waiting).event, PAUSE);
        }
        Ok(NGX_DONE as ngx_int_t)
    }
}

unsafe extern "C" fn resume(event: *mut ngx_event_t) {
    // SAFETY: nginx calls the function with the event of a request that waits, which it has removed
    // from its tree. The request is valid: with its pool, the event would have been removed. Finalizing
    // may free it with all that is in its pool: nothing of it is used afterwards, but the connection, which is
    // freed later or not at all if others post requests to it, as nginx's own handlers do.
    unsafe {
        let waiting = (*event).data.cast::<Waiting>();
        let request = (*waiting).request;
        let connection = (*request).connection;
        let failed = Some(INTERNAL_SERVER_ERROR);
        let made = guard::catch(Log::from_raw((*connection).log), failed, || {
            Request::from_raw(request).map_or(failed, |request| ((*waiting).step)(&request))
        });
        match made {
            None => add_timer(event, PAUSE),
            Some(rc) => {
                ngx_http_finalize_request(request, rc);
                ngx_http_run_posted_requests(connection);
            }
        }
    }
}

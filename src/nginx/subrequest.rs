//! A subrequest that asks for something the request's answer depends on, and whose response never
//! reaches the client.

use core::mem;
use core::ptr;

use nginx_sys::{
    NGX_ERROR, NGX_HTTP_CLIENT_CLOSED_REQUEST, NGX_HTTP_CLOSE, NGX_HTTP_REQUEST_TIME_OUT,
    NGX_HTTP_SUBREQUEST_WAITED, NGX_HTTP_UPSTREAM_IGN_XA_REDIRECT, NGX_OK, ngx_buf_t, ngx_chain_t,
    ngx_http_core_loc_conf_t, ngx_http_get_indexed_variable, ngx_http_headers_in_t,
    ngx_http_post_subrequest_t, ngx_http_request_body_t, ngx_http_request_t, ngx_http_subrequest,
    ngx_http_upstream_t, ngx_http_variable_t, ngx_http_variable_value_t, ngx_int_t,
    ngx_list_part_t, ngx_list_t, ngx_palloc, ngx_str_t, ngx_table_elt_t,
};

use super::Failure;
use super::configuration::VariableIndex;
use super::layout::{self, ngx_buf_t as flag, ngx_http_request_t as field};
use super::module::{RequestData, core_index, core_main_conf};
use super::request::{Request, bytes, string};
use super::response::fields;
use super::snapshot::copy_values;

/// How the handler of a subrequest came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ending(ngx_int_t);

impl Ending {
    pub(crate) fn new(rc: ngx_int_t) -> Self {
        Self(rc)
    }

    /// Whether nginx gave up: for want of memory, because the client is gone, or over a response
    /// that breaks the rules after its header.
    pub(crate) fn is_error(self) -> bool {
        self.0 == NGX_ERROR as ngx_int_t
    }

    /// The status that the handler ended with instead of a response, if it did.
    pub(crate) fn status(self) -> usize {
        usize::try_from(self.0).unwrap_or(0)
    }

    /// What a post_subrequest handler has to return. With most endings nginx goes on as it would
    /// without it. With some it would end the client's connection, which is not meant here: the
    /// subrequest's answer is judged, and the client gets an answer in any case.
    pub(crate) fn to_raw(self, subrequest: &Request<'_>) -> ngx_int_t {
        const ENDS_CONNECTION: [u32; 3] =
            [NGX_HTTP_CLOSE, NGX_HTTP_REQUEST_TIME_OUT, NGX_HTTP_CLIENT_CLOSED_REQUEST];
        let ends =
            self.is_error() || ENDS_CONNECTION.iter().any(|&status| status as ngx_int_t == self.0);
        if ends && !subrequest.has_lost_client() { NGX_OK as ngx_int_t } else { self.0 }
    }
}

/// nginx lets a request have so many references, and keeps some back (`ngx_http_subrequest`).
const MAX_REFERENCES: u32 = 65535 - 1000;

/// nginx's limits for subrequests: nested too deeply, or too many.
const REFUSED: Failure = Failure("nginx does not allow a subrequest here");

/// Why there is no subrequest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotStarted {
    /// There is no memory, or nginx does not allow one here. The request is as it was.
    Failed(Failure),
    /// nginx has failed half way for want of memory: the request can only be ended.
    HalfStarted,
}

impl From<Failure> for NotStarted {
    fn from(why: Failure) -> Self {
        Self::Failed(why)
    }
}

// SAFETY of this block's calls: as for the other methods of `Request`.
impl<'r> Request<'r> {
    /// The request that this one is a subrequest of.
    pub(crate) fn parent(&self) -> Option<Self> {
        // SAFETY: see above; a subrequest's parent lives as long as the subrequest.
        unsafe { Self::from_raw((*self.as_raw()).parent) }
    }

    /// Whether the client's connection is broken or has timed out. Of an HTTP/3 stream that was
    /// cancelled only the event for writing knows.
    fn has_lost_client(&self) -> bool {
        // SAFETY: see above; a connection that is open has both events.
        unsafe {
            let connection = (*self.as_raw()).connection;
            layout::ngx_connection_t::error.is_set(connection)
                || layout::ngx_connection_t::timedout.is_set(connection)
                || layout::ngx_event_t::error.is_set((*connection).write)
        }
    }

    /// Starts a subrequest: GET, with those of the request's fields that `forwards_field` picks and
    /// without its content. nginx calls `T::SUBREQUEST_DONE` at its end, maybe more than once, and
    /// then the request's phase handler again, which must have answered NGX_AGAIN meanwhile.
    ///
    /// The response goes through the filters with its content in memory; a body filter has to
    /// keep it from the client. Of variables the subrequest has its own values, but for `shared`.
    pub(crate) fn start_subrequest<T: RequestData>(
        &self,
        uri: &'static [u8],
        args: &'r [u8],
        forwards_field: fn(&[u8]) -> bool,
        shared: Option<VariableIndex>,
    ) -> Result<Self, NotStarted> {
        let r = self.as_raw();
        // All that can fail without harm is done before.
        let post = self.pool().store(ngx_http_post_subrequest_t {
            handler: T::SUBREQUEST_DONE,
            data: ptr::null_mut(),
        })?;
        // SAFETY: all zero is a body that has been read and is empty.
        let body = self.pool().store(unsafe { mem::zeroed::<ngx_http_request_body_t>() })?;
        let headers = self.headers_for_subrequest(forwards_field)?;
        let variables = self.variables_for_subrequest(forwards_field, shared)?;

        // SAFETY: see above. nginx copies the strings, whose bytes live as long as the request,
        // and keeps `post`. The subrequest is only noted by the call, it has not begun to run, so
        // it may still be changed.
        unsafe {
            // nginx's own conditions, under which it fails and has changed nothing.
            let refused =
                field::subrequests.get(r) == 0 || field::count.get((*r).main) >= MAX_REFERENCES;
            let mut sr: *mut ngx_http_request_t = ptr::null_mut();
            let (mut uri, mut args) = (string(uri), string(args));
            // nginx allows none inside of a request whose response is kept in memory, as njs sends
            // them: it would keep the inner response as well. Of this one nothing is left to keep.
            let in_memory = field::subrequest_in_memory.get(r);
            field::subrequest_in_memory.set(r, 0);
            let rc = ngx_http_subrequest(
                r,
                &raw mut uri,
                &raw mut args,
                &raw mut sr,
                post,
                NGX_HTTP_SUBREQUEST_WAITED as usize,
            );
            field::subrequest_in_memory.set(r, in_memory);
            if rc != NGX_OK as ngx_int_t {
                return Err(if refused { REFUSED.into() } else { NotStarted::HalfStarted });
            }
            // As auth_request has it: nobody reads the content that the client sends, nor closes
            // the file that it may be in.
            (*sr).request_body = body;
            (*sr).variables = variables;
            // What is in a file the copy filter reads into memory, before the response comes to
            // the module's filter.
            field::filter_need_in_memory.set(sr, 1);
            (*sr).headers_in = headers;
            let list = &raw mut (*sr).headers_in.headers;
            // A list's `last` points into the list itself.
            (*list).last = &raw mut (*list).part;
            Self::from_raw(sr).ok_or(NotStarted::HalfStarted)
        }
    }

    /// Lets go of a subrequest that is done but that nginx keeps behind this request, to end it when
    /// it is the turn of its output.
    ///
    /// Subrequests of one request run at once, and nginx sends their output in order: each but the
    /// first is "inactive", stays in the list `postponed` of its parent when it is done, and the
    /// postpone filter ends it when all before it is sent. That never happens inside of a request
    /// whose output does not come to that filter: lua captures it before, what is kept in memory
    /// (njs) leaves it early, and one in the background (mirror) has no turn. Such a request would
    /// then never end. As nothing of the subrequest's response is sent, it need not wait.
    pub(crate) fn release(&self, subrequest: &Self) {
        if !self.is_kept_from_client() {
            return;
        }
        // SAFETY: see above; the list's elements are valid, and each of those with a request is one
        // reference to the main request, as `ngx_http_finalize_request` has it.
        unsafe {
            let mut link = &raw mut (*self.as_raw()).postponed;
            while let Some(postponed) = (*link).as_ref() {
                if postponed.request == subrequest.as_raw() {
                    *link = postponed.next;
                    let main = (*self.as_raw()).main;
                    field::count.set(main, field::count.get(main) - 1);
                    return;
                }
                link = &raw mut (**link).next;
            }
        }
    }

    /// Whether the request is a subrequest whose response is not sent in its turn.
    fn is_kept_from_client(&self) -> bool {
        let Some(parent) = self.parent() else { return false };
        // SAFETY: see above; the list's elements are valid. Neither lua, which makes its subrequests
        // itself, nor nginx for those in the background puts them in their parent's list.
        unsafe {
            if field::subrequest_in_memory.is_set(self.as_raw()) {
                return true;
            }
            let mut link = (*parent.as_raw()).postponed;
            while let Some(postponed) = link.as_ref() {
                if postponed.request == self.as_raw() {
                    return false;
                }
                link = postponed.next;
            }
        }
        true
    }

    /// A copy of the values of variables that the request has by now. nginx lets subrequests share
    /// the array itself, where a value stays that was made of another header: `$http_range` of a
    /// subrequest without Range would be that of the request from then on. Nor does the copy have
    /// the fields that the subrequest is not to have, where the request has looked at them.
    fn variables_for_subrequest(
        &self,
        forwards_field: fn(&[u8]) -> bool,
        shared: Option<VariableIndex>,
    ) -> Result<*mut ngx_http_variable_value_t, Failure> {
        // SAFETY: see above; an index is that of a variable, and there is a value for each. All zero
        // is a value that is not known yet.
        unsafe {
            let r = self.as_raw();
            if let Some(VariableIndex(index)) = shared {
                if ngx_http_get_indexed_variable(r, index).is_null() {
                    return Err(Failure("ngx_http_get_indexed_variable() failed"));
                }
            }
            let known = (*core_main_conf((*r).main_conf)).variables.elts;
            let known: *mut ngx_http_variable_t = known.cast();
            let values = copy_values(self)?;
            let first: *mut ngx_http_variable_value_t = values.cast();
            for index in 0..values.len() {
                if !is_variable_passed_on(bytes((*known.add(index)).name), forwards_field) {
                    first.add(index).write(mem::zeroed());
                }
            }
            Ok(first)
        }
    }

    /// The request's header without some of its fields. nginx lets subrequests share the list
    /// itself, from which `proxy_pass` sends; this one has a list of its own.
    fn headers_for_subrequest(
        &self,
        forwards_field: fn(&[u8]) -> bool,
    ) -> Result<ngx_http_headers_in_t, Failure> {
        // SAFETY: see above; nginx has filled in the header before the first handler runs. The
        // new list has room for all fields, and its elements are copies of valid ones.
        unsafe {
            let mut headers: ngx_http_headers_in_t = (*self.as_raw()).headers_in;
            let own = &raw mut (*self.as_raw()).headers_in.headers.part;
            let room = fields(own).count().max(1);
            let pool = (*self.as_raw()).pool;
            let copies = ngx_palloc(pool, room * mem::size_of::<ngx_table_elt_t>())
                .cast::<ngx_table_elt_t>();
            if copies.is_null() {
                return Err(Failure::NO_MEMORY);
            }
            let mut count = 0;
            for field in fields(own).filter(|field| forwards_field(bytes((**field).key))) {
                copies.add(count).write(*field);
                count += 1;
            }
            headers.headers = ngx_list_t {
                last: ptr::null_mut(),
                part: ngx_list_part_t { elts: copies.cast(), nelts: count, next: ptr::null_mut() },
                size: mem::size_of::<ngx_table_elt_t>(),
                nalloc: room,
                pool,
            };

            // Whoever looks at these fields must not see them either.
            for known in [
                &raw mut headers.connection,
                &raw mut headers.if_modified_since,
                &raw mut headers.if_unmodified_since,
                &raw mut headers.if_match,
                &raw mut headers.if_none_match,
                &raw mut headers.content_length,
                &raw mut headers.content_range,
                &raw mut headers.range,
                &raw mut headers.if_range,
                &raw mut headers.transfer_encoding,
                &raw mut headers.te,
                &raw mut headers.expect,
                &raw mut headers.upgrade,
                &raw mut headers.keep_alive,
                #[cfg(ngx_feature = "http_gzip")]
                &raw mut headers.accept_encoding,
            ] {
                let Some(field) = (*known).as_ref() else { continue };
                if !forwards_field(bytes(field.key)) {
                    *known = ptr::null_mut();
                }
            }
            headers.content_length_n = -1;
            layout::ngx_http_headers_in_t::chunked.set(&raw mut headers, 0);
            Ok(headers)
        }
    }

    /// Whether an upstream has answered with X-Accel-Redirect, which nginx follows.
    pub(crate) fn was_redirected_by_upstream(&self) -> bool {
        // SAFETY: see above; the upstream is null or valid, and so is its configuration.
        unsafe {
            let Some(upstream) = (*self.as_raw()).upstream.as_ref() else { return false };
            let ignored = upstream.conf.as_ref().is_some_and(|conf| {
                conf.ignore_headers & NGX_HTTP_UPSTREAM_IGN_XA_REDIRECT as usize != 0
            });
            !ignored && !upstream.headers_in.x_accel_redirect.is_null()
        }
    }

    /// Whether it is known before that no content follows: nginx may then not call any body filter
    /// (before 1.23.4 for an empty `return`, or for one from its cache).
    pub(crate) fn has_no_content(&self) -> bool {
        // SAFETY: see above.
        unsafe {
            let r = self.as_raw();
            field::header_only.is_set(r)
                || (*r).headers_out.content_length_n == 0
                || self.is_empty_in_cache()
        }
    }

    /// Whether the response is nginx's own copy of one without content. A copy is only made of a
    /// response that has come to its end.
    fn is_empty_in_cache(&self) -> bool {
        #[cfg(ngx_feature = "http_cache")]
        {
            // SAFETY: see above; the cache's entry is null or lives as long as the request.
            unsafe {
                let r = self.as_raw();
                let entry = (*r).cache.as_ref().filter(|_| field::cached.is_set(r));
                entry.is_some_and(|entry| usize::try_from(entry.length) == Ok(entry.body_start))
            }
        }
        #[cfg(not(ngx_feature = "http_cache"))]
        false
    }

    /// Whether the response's content ends where the upstream closes its connection: one that has
    /// died looks the same.
    pub(crate) fn ends_with_connection(&self) -> bool {
        // SAFETY: see above; the upstream is null or valid.
        unsafe {
            let r = self.as_raw();
            let is_framed = |upstream: &ngx_http_upstream_t| {
                layout::ngx_http_upstream_headers_in_t::chunked
                    .is_set(&raw const upstream.headers_in)
            };
            (*r).headers_out.content_length_n < 0
                && (*r).upstream.as_ref().is_some_and(|upstream| !is_framed(upstream))
        }
    }

    /// Makes nginx forget what the subrequest did last, which its lines in the log would go on to
    /// tell.
    pub(crate) fn clear_log_action(&self) {
        // SAFETY: see above; a connection has a log.
        unsafe { (*(*(*self.as_raw()).connection).log).action = ptr::null_mut() };
    }

    /// `subrequest_output_buffer_size` of the location that the request is in, in bytes.
    pub(crate) fn output_buffer_size(&self) -> usize {
        // SAFETY: see above; the core module has a configuration in every location.
        unsafe {
            let clcf: *mut ngx_http_core_loc_conf_t =
                (*(*self.as_raw()).loc_conf.add(core_index())).cast();
            (*clcf).subrequest_output_buffer_size
        }
    }
}

/// Whether a variable may have the same value in a subrequest: not if it is that of a field which
/// the subrequest does not have.
fn is_variable_passed_on(variable: &[u8], forwards_field: fn(&[u8]) -> bool) -> bool {
    let field = match variable.strip_prefix(b"http_") {
        Some(field) => field,
        None if variable == b"content_length" => variable,
        None => return true,
    };
    // The name of the field; of a longer one its beginning is enough.
    let mut name = [0; 32];
    for (to, from) in name.iter_mut().zip(field) {
        *to = if *from == b'_' { b'-' } else { *from };
    }
    forwards_field(name.get(..field.len()).unwrap_or(&name))
}

/// What a body filter is called with.
pub(crate) struct Content(*mut ngx_chain_t);

/// A piece of a response's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Piece<'c> {
    Bytes(&'c [u8]),
    /// Bytes that are not in memory.
    Unreadable,
    /// The end of the response.
    End,
}

impl Content {
    /// # Safety
    ///
    /// `chain` is null or what nginx calls a body filter with.
    pub(crate) unsafe fn from_raw(chain: *mut ngx_chain_t) -> Self {
        Self(chain)
    }

    /// Hands the content over, piece by piece, and marks it as sent.
    pub(crate) fn consume(self, mut take: impl FnMut(Piece<'_>)) {
        let mut link = self.0;
        // SAFETY: by the contract of `from_raw` each link has a buffer, whose memory or file part
        // is as its fields say.
        unsafe {
            while let Some(current) = link.as_ref() {
                let buffer: &mut ngx_buf_t = &mut *current.buf;
                let in_memory = flag::temporary.is_set(buffer)
                    || flag::memory.is_set(buffer)
                    || flag::mmap.is_set(buffer);
                if in_memory {
                    let len = buffer.last.offset_from(buffer.pos).unsigned_abs();
                    let piece = ngx_str_t { len, data: buffer.pos };
                    take(Piece::Bytes(bytes(piece)));
                    buffer.pos = buffer.last;
                } else if flag::in_file.is_set(buffer) && buffer.file_pos != buffer.file_last {
                    take(Piece::Unreadable);
                }
                if flag::in_file.is_set(buffer) {
                    buffer.file_pos = buffer.file_last;
                }
                // A subrequest's response ends with the latter.
                if flag::last_buf.is_set(buffer) || flag::last_in_chain.is_set(buffer) {
                    take(Piece::End);
                }
                link = current.next;
            }
        }
    }
}

//! A subrequest whose response decides about the request and never reaches the client.

use core::{iter, mem, ptr};

use nginx_sys::{
    NGX_ERROR, NGX_HTTP_CLIENT_CLOSED_REQUEST, NGX_HTTP_CLOSE, NGX_HTTP_REQUEST_TIME_OUT,
    NGX_HTTP_SUBREQUEST_WAITED, NGX_HTTP_UPSTREAM_IGN_XA_REDIRECT, NGX_OK, ngx_buf_t, ngx_chain_t,
    ngx_http_core_loc_conf_t, ngx_http_get_indexed_variable, ngx_http_header_t,
    ngx_http_headers_in, ngx_http_headers_in_t, ngx_http_post_subrequest_t,
    ngx_http_postponed_request_t, ngx_http_request_body_t, ngx_http_request_t, ngx_http_subrequest,
    ngx_http_upstream_t, ngx_http_variable_value_t, ngx_int_t, ngx_list_part_t, ngx_list_t,
    ngx_palloc, ngx_str_t, ngx_table_elt_t,
};

use super::Failure;
use super::configuration::{Conf, VariableIndex};
use super::layout::{self, ngx_buf_t as flag, ngx_http_request_t as field};
use super::module::{RequestData, core_index};
use super::request::{Request, bytes, string};
use super::response::fields;
use super::snapshot::copy_values;

/// The result with which the handler of a subrequest has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ending(ngx_int_t);

impl Ending {
    pub(crate) fn new(rc: ngx_int_t) -> Self {
        Self(rc)
    }

    /// Whether nginx has failed: there is no memory, the client has closed the connection, or the
    /// response is invalid after its header.
    pub(crate) fn is_error(self) -> bool {
        self.0 == NGX_ERROR as ngx_int_t
    }

    /// The status with which the handler has ended instead of sending a response; 0 if there is none.
    pub(crate) fn status(self) -> usize {
        usize::try_from(self.0).unwrap_or(0)
    }

    /// What a post_subrequest handler returns. Most results are passed on. With some nginx would
    /// close the client's connection, although the client is to get a response in any case.
    pub(crate) fn to_raw(self, subrequest: &Request<'_>) -> ngx_int_t {
        const ENDS_CONNECTION: [u32; 3] =
            [NGX_HTTP_CLOSE, NGX_HTTP_REQUEST_TIME_OUT, NGX_HTTP_CLIENT_CLOSED_REQUEST];
        let ends =
            self.is_error() || ENDS_CONNECTION.iter().any(|&status| status as ngx_int_t == self.0);
        if ends && !subrequest.has_lost_client() { NGX_OK as ngx_int_t } else { self.0 }
    }
}

/// nginx creates no subrequest of a request with so many references (`ngx_http_subrequest`).
const MAX_REFERENCES: u32 = 65535 - 1000;

/// Subrequests are nested too deeply, or there are too many.
const LIMIT_REACHED: Failure = Failure("limit of subrequests reached");

/// Which of a request's fields its subrequests have, and what is evaluated for both.
#[derive(Debug)]
pub(crate) struct SubrequestSetting {
    forwards_field: fn(&[u8]) -> bool,
    /// Where in `ngx_http_headers_in_t` nginx has its pointers to the other fields.
    cleared_pointers: Box<[usize]>,
    /// The variables that have values of the other fields.
    cleared_variables: Box<[usize]>,
    /// The same in the request and its subrequests.
    shared_variable: Option<VariableIndex>,
}

impl SubrequestSetting {
    /// Called when all directives that use variables are read.
    pub(crate) fn new(
        conf: &Conf<'_>,
        forwards_field: fn(&[u8]) -> bool,
        shared_variable: Option<VariableIndex>,
    ) -> Self {
        let pointers = known_fields().filter(|(name, _)| !forwards_field(name));
        let variables = conf.variable_names().enumerate();
        let cleared = variables.filter(|(_, name)| !is_variable_passed_on(name, forwards_field));
        Self {
            forwards_field,
            cleared_pointers: pointers.map(|(_, offset)| offset).collect(),
            cleared_variables: cleared.map(|(index, _)| index).collect(),
            shared_variable,
        }
    }
}

/// The fields that nginx has pointers to in `ngx_http_headers_in_t`: names, and offsets there.
fn known_fields() -> impl Iterator<Item = (&'static [u8], usize)> {
    // SAFETY: the table is a constant of nginx; it ends with an element without a name.
    unsafe {
        let mut next = (&raw const ngx_http_headers_in).cast::<ngx_http_header_t>();
        iter::from_fn(move || {
            let known = &*next;
            next = next.add(usize::from(known.name.len != 0));
            (known.name.len != 0).then(|| (bytes(known.name), known.offset))
        })
    }
}

/// Why there is no subrequest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotStarted {
    /// There is no memory, or a limit is reached. The request is as it was.
    Failed(Failure),
    /// nginx has run out of memory half way: the request can only be closed.
    HalfStarted,
}

impl From<Failure> for NotStarted {
    fn from(cause: Failure) -> Self {
        Self::Failed(cause)
    }
}

// SAFETY of this block's calls: as for the other methods of `Request`.
impl<'r> Request<'r> {
    /// The request that this one is a subrequest of.
    pub(crate) fn parent(&self) -> Option<Self> {
        // SAFETY: see above; a subrequest's parent lives as long as the subrequest.
        unsafe { Self::from_raw((*self.as_raw()).parent) }
    }

    /// Whether the client's connection is broken or has timed out. A cancelled HTTP/3 stream is
    /// marked in the write event only.
    fn has_lost_client(&self) -> bool {
        // SAFETY: see above; a connection that is open has both events.
        unsafe {
            let connection = (*self.as_raw()).connection;
            layout::ngx_connection_t::error.is_set(connection)
                || layout::ngx_connection_t::timedout.is_set(connection)
                || layout::ngx_event_t::error.is_set((*connection).write)
        }
    }

    /// Starts a subrequest: GET, with some of the request's fields and without its content. nginx calls `T::SUBREQUEST_DONE` at its end, maybe more than once, and
    /// then the request's phase handler again, which must have returned NGX_AGAIN.
    ///
    /// The response passes the filters with its content in memory; a body filter has to keep it from
    /// the client. The subrequest has its own values of variables, except for the shared one.
    pub(crate) fn start_subrequest<T: RequestData>(
        &self,
        uri: &'static [u8],
        args: &'r [u8],
        setting: &SubrequestSetting,
    ) -> Result<Self, NotStarted> {
        // Whatever can fail without consequences is done first.
        let post = self.pool().store(ngx_http_post_subrequest_t {
            handler: T::SUBREQUEST_DONE,
            data: ptr::null_mut(),
        })?;
        // SAFETY: all zero is a body that has been read and is empty.
        let body = self.pool().store(unsafe { mem::zeroed::<ngx_http_request_body_t>() })?;
        let headers = self.headers_for_subrequest(setting)?;
        let variables = self.variables_for_subrequest(setting)?;
        // SAFETY: the strings live as long as the request, and `post` as long as its pool.
        let subrequest = unsafe { self.create_subrequest(uri, args, post)? };
        let sr = subrequest.as_raw();
        // SAFETY: the subrequest is valid. It does not run before the phase handler has returned, so
        // it can be changed.
        unsafe {
            // As in auth_request: the client's content is neither read nor is its file closed.
            (*sr).request_body = body;
            (*sr).variables = variables;
            // The copy filter reads content of a file into memory, before the module's body filter.
            field::filter_need_in_memory.set(sr, 1);
            (*sr).headers_in = headers;
            let list = &raw mut (*sr).headers_in.headers;
            // A list's `last` points into the list itself.
            (*list).last = &raw mut (*list).part;
        }
        Ok(subrequest)
    }

    /// Has nginx create a subrequest, which shares all of the request's header and variables.
    ///
    /// # Safety
    ///
    /// The bytes of `uri` and `args` and what `post` points to live as long as the request.
    unsafe fn create_subrequest(
        &self,
        uri: &[u8],
        args: &[u8],
        post: *mut ngx_http_post_subrequest_t,
    ) -> Result<Self, NotStarted> {
        let r = self.as_raw();
        let (mut uri, mut args) = (string(uri), string(args));
        let mut sr: *mut ngx_http_request_t = ptr::null_mut();
        // SAFETY: see above; nginx copies the strings and keeps pointers to their bytes.
        unsafe {
            // The conditions under which nginx fails without having changed anything.
            let limit_reached =
                field::subrequests.get(r) == 0 || field::count.get((*r).main) >= MAX_REFERENCES;
            // nginx allows no subrequests of one that is kept in memory, as those of njs are: it
            // would keep the inner response, too. Nothing of this one remains to be kept.
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
            if rc == NGX_OK as ngx_int_t {
                Self::from_raw(sr).ok_or(NotStarted::HalfStarted)
            } else if limit_reached {
                Err(LIMIT_REACHED.into())
            } else {
                Err(NotStarted::HalfStarted)
            }
        }
    }

    /// Removes a subrequest that is done from the request's list `postponed`, if nginx would never
    /// do so.
    ///
    /// Subrequests of one request run at the same time, and nginx sends their output in order: each
    /// but the first is "inactive", stays in the list `postponed` of its parent when it is done, and
    /// the postpone filter ends it when all before it are sent. That never happens in a request
    /// whose output does not reach that filter: lua captures it before, what is kept in memory
    /// (njs) leaves the chain early, and one in the background (mirror) has no turn. Such a request
    /// would never end. Nothing of the subrequest's response is sent, so it need not wait.
    pub(crate) fn release_subrequest(&self, subrequest: &Self) {
        if !self.has_no_output() {
            return;
        }
        if let Some(link) = self.postponed_link(subrequest) {
            // SAFETY: see above; each element with a request is one reference to the main request
            // (`ngx_http_finalize_request`).
            unsafe {
                *link = (**link).next;
                let main = (*self.as_raw()).main;
                field::count.set(main, field::count.get(main) - 1);
            }
        }
    }

    /// Whether the request is a subrequest whose output is never sent in its turn.
    fn has_no_output(&self) -> bool {
        // SAFETY: see above.
        let in_memory = unsafe { field::subrequest_in_memory.is_set(self.as_raw()) };
        // Neither lua, which makes its subrequests itself, nor nginx for those in the background
        // adds them to their parent's list.
        self.parent().is_some_and(|parent| in_memory || parent.postponed_link(self).is_none())
    }

    /// The pointer to the element of a subrequest in the request's list `postponed`.
    fn postponed_link(&self, subrequest: &Self) -> Option<*mut *mut ngx_http_postponed_request_t> {
        // SAFETY: see above; the list's elements are valid.
        unsafe {
            let mut link = &raw mut (*self.as_raw()).postponed;
            while let Some(postponed) = (*link).as_ref() {
                if postponed.request == subrequest.as_raw() {
                    return Some(link);
                }
                link = &raw mut (**link).next;
            }
        }
        None
    }

    /// A copy of the current values of variables, without those of fields that the subrequest does
    /// not have. By default subrequests share the array itself, where values remain: `$http_range`
    /// of a subrequest without Range would from then on be that of the request, too.
    fn variables_for_subrequest(
        &self,
        setting: &SubrequestSetting,
    ) -> Result<*mut ngx_http_variable_value_t, Failure> {
        // SAFETY: see above; an index is that of a variable, and there is a value for each. All zero
        // is a value that is not evaluated yet.
        unsafe {
            if let Some(VariableIndex(index)) = setting.shared_variable {
                if ngx_http_get_indexed_variable(self.as_raw(), index).is_null() {
                    return Err(Failure("ngx_http_get_indexed_variable() failed"));
                }
            }
            let first: *mut ngx_http_variable_value_t = copy_values(self)?.cast();
            for &index in &setting.cleared_variables {
                first.add(index).write(mem::zeroed());
            }
            Ok(first)
        }
    }

    /// The request's header with those fields that subrequests have, in a list of its own:
    /// subrequests share the list, from which `proxy_pass` sends fields.
    fn headers_for_subrequest(
        &self,
        setting: &SubrequestSetting,
    ) -> Result<ngx_http_headers_in_t, Failure> {
        // SAFETY: see above; nginx has read the header before the first handler runs. The new list
        // has room for all fields, and its elements are copies of valid ones.
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
            for field in fields(own).filter(|field| (setting.forwards_field)(field.name())) {
                copies.add(count).write(*field.as_raw());
                count += 1;
            }
            headers.headers = ngx_list_t {
                last: ptr::null_mut(),
                part: ngx_list_part_t { elts: copies.cast(), nelts: count, next: ptr::null_mut() },
                size: mem::size_of::<ngx_table_elt_t>(),
                nalloc: room,
                pool,
            };
            // Offsets of pointers. Those of arrays, before NGINX 1.23, are of fields that may occur
            // several times, which are forwarded.
            for &offset in &setting.cleared_pointers {
                let pointer = (&raw mut headers).byte_add(offset).cast::<*mut ngx_table_elt_t>();
                *pointer = ptr::null_mut();
            }
            headers.content_length_n = -1;
            layout::ngx_http_headers_in_t::chunked.set(&raw mut headers, 0);
            Ok(headers)
        }
    }

    /// Whether an upstream has responded with X-Accel-Redirect, and nginx follows it.
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

    /// Whether the header shows that there is no content: nginx may then call no body filter (before
    /// 1.23.4 for an empty `return` or an empty response from its cache).
    pub(crate) fn has_no_content(&self) -> bool {
        // SAFETY: see above.
        unsafe {
            let r = self.as_raw();
            field::header_only.is_set(r)
                || (*r).headers_out.content_length_n == 0
                || self.is_empty_in_cache()
        }
    }

    /// Whether the response is from nginx's cache and has no content. Only complete responses are
    /// cached.
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

    /// Whether the response's content ends where the upstream closes its connection, as it does when
    /// the upstream fails.
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

    /// Clears the action in log lines (`while reading response header from upstream`), which is that
    /// of the subrequest.
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
    // The name of the field; its beginning suffices for a longer one.
    let mut name = [0; 32];
    for (to, from) in name.iter_mut().zip(field) {
        *to = if *from == b'_' { b'-' } else { *from };
    }
    forwards_field(name.get(..field.len()).unwrap_or(&name))
}

/// The buffers that a body filter is called with.
pub(crate) struct Content(*mut ngx_chain_t);

/// A piece of a response's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Piece<'c> {
    Bytes(&'c [u8]),
    /// Bytes in a file.
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

    /// Passes the content to `take`, piece by piece, and marks it as sent.
    pub(crate) fn consume(self, mut take: impl FnMut(Piece<'_>)) {
        let mut link = self.0;
        // SAFETY: by the contract of `from_raw` each link has a buffer, whose fields describe valid
        // memory or a part of a file.
        unsafe {
            while let Some(current) = link.as_ref() {
                let buffer: &mut ngx_buf_t = &mut *current.buf;
                let in_memory = flag::temporary.is_set(buffer)
                    || flag::memory.is_set(buffer)
                    || flag::mmap.is_set(buffer);
                if in_memory {
                    let len = buffer.last.offset_from(buffer.pos).unsigned_abs();
                    take(Piece::Bytes(bytes(ngx_str_t { len, data: buffer.pos })));
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

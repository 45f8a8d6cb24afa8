//! A response: its status and header.

use core::marker::PhantomData;
use core::ptr::{self, NonNull};

#[cfg(not(ngx_table_elt_next))]
use nginx_sys::{ngx_array_create, ngx_array_push};
use nginx_sys::{ngx_list_part_t, ngx_list_push, ngx_str_t, ngx_table_elt_t};

#[cfg(feature = "plays")]
use nginx_sys::{
    NGX_HTTP_OK, ngx_http_complex_value_t, ngx_http_send_response, ngx_int_t, ngx_uint_t,
};

use super::Failure;
use super::layout::ngx_http_request_t::error_page;
use super::request::{Request, bytes, string};

// Names of fields that the module adds. Statics, because such a field is recognized by the address
// of its name; those of nginx and of other modules are elsewhere.
pub(crate) static CACHE_CONTROL: &str = "Cache-Control";
pub(crate) static CONTENT_DISPOSITION: &str = "Content-Disposition";
pub(crate) static EXPIRES: &str = "Expires";
pub(crate) static SET_COOKIE: &str = "Set-Cookie";
pub(crate) static VARY: &str = "Vary";

/// A header field of a request or a response.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field<'r> {
    raw: NonNull<ngx_table_elt_t>,
    lives: PhantomData<&'r ()>,
}

// SAFETY of this block's calls: by the contract of `fields` the element is valid for `'r`, and no
// reference to it is held.
impl<'r> Field<'r> {
    pub(super) fn as_raw(self) -> *mut ngx_table_elt_t {
        self.raw.as_ptr()
    }

    pub(crate) fn name(self) -> &'r [u8] {
        // SAFETY: see above; nginx does not write to the bytes of a name.
        unsafe { bytes((*self.as_raw()).key) }
    }

    pub(super) fn value(self) -> &'r [u8] {
        // SAFETY: see above; nginx does not write to the bytes of a value.
        unsafe { bytes((*self.as_raw()).value) }
    }

    /// Whether the field has this name, in any case.
    pub(crate) fn is(self, name: &str) -> bool {
        self.name().eq_ignore_ascii_case(name.as_bytes())
    }

    /// Whether the module has added the field with just this string as its name, not a copy of it.
    pub(crate) fn is_own(self, name: &'static str) -> bool {
        ptr::eq(self.name().as_ptr(), name.as_ptr())
    }

    fn is_removed(self) -> bool {
        // SAFETY: see above.
        unsafe { (*self.as_raw()).hash == 0 }
    }

    fn remove(self) {
        // SAFETY: see above; nginx does not send fields with a hash of 0.
        unsafe { (*self.as_raw()).hash = 0 };
    }
}

// SAFETY of this block's calls: as for the other methods of `Request`.
impl<'r> Request<'r> {
    /// The status code of the response; 0 before there is one.
    pub(crate) fn status(&self) -> usize {
        // SAFETY: see above.
        unsafe { (*self.as_raw()).headers_out.status }
    }

    /// The status of the latest error that was responded to (0 if none), and whether nginx has
    /// redirected to a page of `error_page`.
    pub(crate) fn error_state(&self) -> (usize, bool) {
        // SAFETY: see above.
        unsafe {
            let r = self.as_raw();
            ((*r).err_status, error_page.is_set(r))
        }
    }

    /// Whether the response, or an earlier one to the same request, is from an upstream.
    pub(crate) fn has_upstream(&self) -> bool {
        // SAFETY: see above.
        unsafe { !(*self.as_raw()).upstream.is_null() }
    }

    /// The length of the content, if the header tells it.
    #[cfg(feature = "plays")]
    pub(crate) fn content_length(&self) -> Option<u64> {
        // SAFETY: see above.
        u64::try_from(unsafe { (*self.as_raw()).headers_out.content_length_n }).ok()
    }

    /// The media type of the response; empty if there is none.
    pub(crate) fn content_type(&self) -> &'r [u8] {
        // SAFETY: see above; nginx does not write to the bytes.
        unsafe { bytes((*self.as_raw()).headers_out.content_type) }
    }

    /// Sets the media type. Those that the location configures have no effect then.
    pub(crate) fn set_content_type(&self, media_type: &'static str) {
        // SAFETY: see above. These are the fields that the core and upstream modules set.
        unsafe {
            let out = &raw mut (*self.as_raw()).headers_out;
            (*out).content_type = string(media_type.as_bytes());
            (*out).content_type_len = media_type.len();
            (*out).content_type_lowcase = ptr::null_mut();
            (*out).charset = ngx_str_t::empty();
        }
    }

    /// Removes the media type.
    pub(crate) fn clear_content_type(&self) {
        // SAFETY: see above.
        unsafe {
            let out = &raw mut (*self.as_raw()).headers_out;
            (*out).content_type = ngx_str_t::empty();
            (*out).content_type_len = 0;
            (*out).content_type_lowcase = ptr::null_mut();
        }
    }

    /// Sends a response with this content, as a content handler does, and returns what that has to
    /// return. A request for the header alone gets it.
    #[cfg(feature = "plays")]
    pub(crate) fn respond(&self, media_type: &'static str, content: &'r [u8]) -> ngx_int_t {
        let mut media_type = string(media_type.as_bytes());
        // SAFETY: see above; all of it may be zero, as in nginx's own values, and the value has no
        // variables then. The strings are only read, and the content stays as long as the request.
        unsafe {
            let mut value: ngx_http_complex_value_t = core::mem::zeroed();
            value.value = string(content);
            let status = NGX_HTTP_OK as ngx_uint_t;
            ngx_http_send_response(self.as_raw(), status, &raw mut media_type, &raw mut value)
        }
    }

    /// Adds a field to the response.
    pub(crate) fn add_field(&self, name: &'static str, value: &'r [u8]) -> Result<(), Failure> {
        // SAFETY: see above; `ngx_list_push` returns null or memory for one element, of which
        // each field is set at once. nginx has pointers to some fields besides the list.
        unsafe {
            let out = &raw mut (*self.as_raw()).headers_out;
            let element = ngx_list_push(&raw mut (*out).headers).cast::<ngx_table_elt_t>();
            if element.is_null() {
                return Err(Failure::NO_MEMORY);
            }
            element.write(ngx_table_elt_t {
                hash: 1,
                key: string(name.as_bytes()),
                value: string(value),
                // Used for fields of requests only.
                lowcase_key: ptr::null_mut(),
                #[cfg(ngx_table_elt_next)]
                next: ptr::null_mut(),
            });
            if ptr::eq(name, EXPIRES) {
                (*out).expires = element;
            } else if ptr::eq(name, CACHE_CONTROL) {
                self.link_cache_control(element)?;
            }
        }
        Ok(())
    }

    /// Adds a field Cache-Control to those that nginx has pointers to, for
    /// `$sent_http_cache_control` and `gzip_proxied`.
    ///
    /// # Safety
    ///
    /// `field` is in the list of the response's fields.
    unsafe fn link_cache_control(&self, field: *mut ngx_table_elt_t) -> Result<(), Failure> {
        // SAFETY: see above; the fields of this name are a list that ends with null. Before NGINX
        // 1.23 they are in an array, which is all zero at first.
        unsafe {
            let known = &raw mut (*self.as_raw()).headers_out.cache_control;
            #[cfg(ngx_table_elt_next)]
            {
                let mut end = known;
                while let Some(field) = (*end).as_mut() {
                    end = &raw mut field.next;
                }
                end.write(field);
            }
            #[cfg(not(ngx_table_elt_next))]
            {
                if (*known).elts.is_null() {
                    let size = core::mem::size_of::<*mut ngx_table_elt_t>();
                    let array = ngx_array_create((*self.as_raw()).pool, 1, size);
                    known.write(array.as_ref().copied().ok_or(Failure::NO_MEMORY)?);
                }
                let place = ngx_array_push(known).cast::<*mut ngx_table_elt_t>();
                if place.is_null() {
                    return Err(Failure::NO_MEMORY);
                }
                place.write(field);
            }
        }
        Ok(())
    }

    /// The fields of the response, without removed ones.
    pub(crate) fn fields(&self) -> impl Iterator<Item = Field<'r>> + use<'r> {
        // SAFETY: see above; the list is valid, and only grows.
        let all = unsafe { fields(&raw mut (*self.as_raw()).headers_out.headers.part) };
        all.filter(|field| !field.is_removed())
    }

    /// The values of the response's fields with this name, in any case.
    pub(crate) fn response_field(
        &self,
        name: &'static str,
    ) -> impl Iterator<Item = &'r [u8]> + use<'r> {
        self.fields().filter(move |field| field.is(name)).map(Field::value)
    }

    /// Whether the response has a field with this name, in any case. Most responses have one field
    /// only, ETag.
    pub(crate) fn has_field(&self, name: &'static str) -> bool {
        // SAFETY: see above; `last` is the list's last part, the first one is in the list itself.
        let is_short = unsafe {
            let list = &raw const (*self.as_raw()).headers_out.headers;
            ptr::eq((*list).last, &raw const (*list).part) && (*list).part.nelts <= 1
        };
        if is_short {
            self.last_field().is_some_and(|field| !field.is_removed() && field.is(name))
        } else {
            self.response_field(name).next().is_some()
        }
    }

    /// The field that was added last, which may be removed.
    pub(crate) fn last_field(&self) -> Option<Field<'r>> {
        // SAFETY: see above; `last` is the list's last part, with `nelts` elements.
        unsafe {
            let part = (*self.as_raw()).headers_out.headers.last;
            let last = (*part).nelts.checked_sub(1)?;
            let raw = NonNull::new((*part).elts.cast::<ngx_table_elt_t>().add(last))?;
            Some(Field { raw, lives: PhantomData })
        }
    }

    /// Removes the fields that `is_meant` picks.
    pub(crate) fn remove_fields(&self, is_meant: impl Fn(Field<'r>) -> bool) {
        self.fields().filter(|field| is_meant(*field)).for_each(Field::remove);
        self.unlink_removed_fields();
    }

    /// Drops nginx's pointers to fields Cache-Control and Expires that are removed: `expires` would
    /// write into them.
    fn unlink_removed_fields(&self) {
        // SAFETY: see above; the pointers are null or to elements of the list of fields. Before
        // NGINX 1.23 those to Cache-Control are in an array.
        unsafe {
            let out = &raw mut (*self.as_raw()).headers_out;
            if (*out).expires.as_ref().is_some_and(|field| field.hash == 0) {
                (*out).expires = ptr::null_mut();
            }
            #[cfg(ngx_table_elt_next)]
            {
                let mut link = &raw mut (*out).cache_control;
                while let Some(field) = (*link).as_mut() {
                    if field.hash == 0 {
                        link.write(field.next);
                    } else {
                        link = &raw mut field.next;
                    }
                }
            }
            #[cfg(not(ngx_table_elt_next))]
            {
                let array = &raw mut (*out).cache_control;
                let elements = (*array).elts.cast::<*mut ngx_table_elt_t>();
                let mut kept = 0;
                for index in 0..(*array).nelts {
                    let field = elements.add(index).read();
                    if (*field).hash != 0 {
                        elements.add(kept).write(field);
                        kept += 1;
                    }
                }
                (*array).nelts = kept;
                if kept == 0 {
                    // `expires` would take the first element of an existing array.
                    array.write(core::mem::zeroed());
                }
            }
        }
    }
}

/// The fields of a header, with removed ones.
///
/// # Safety
///
/// `part` is null or the first part of a list of fields that is valid for `'r` and only grows.
pub(super) unsafe fn fields<'r>(part: *mut ngx_list_part_t) -> impl Iterator<Item = Field<'r>> {
    // SAFETY: by the contract; each part of a list has `nelts` elements.
    let parts = core::iter::successors(NonNull::new(part), |part| unsafe {
        NonNull::new((*part.as_ptr()).next)
    });
    parts.flat_map(|part| {
        // SAFETY: as above.
        let (elements, count) = unsafe { ((*part.as_ptr()).elts, (*part.as_ptr()).nelts) };
        (0..count).filter_map(move |index| {
            // SAFETY: as above.
            let raw = unsafe { elements.cast::<ngx_table_elt_t>().add(index) };
            NonNull::new(raw).map(|raw| Field { raw, lives: PhantomData })
        })
    })
}

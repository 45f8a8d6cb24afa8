//! A response, as far as the module reads and writes its header.

use core::ptr::{self, NonNull};

#[cfg(not(ngx_table_elt_next))]
use nginx_sys::{ngx_array_create, ngx_array_push};
use nginx_sys::{ngx_list_part_t, ngx_list_push, ngx_str_t, ngx_table_elt_t};

use model::caching::is_targeted;

use super::Failure;
use super::layout::ngx_http_request_t::error_page;
use super::request::{Request, bytes, string};

/// Names of the fields by which caches go. A field of the module's own is known by the address of
/// its name: no other static has it, and NGINX's and other modules' names are elsewhere.
static CACHE_CONTROL: [u8; 13] = *b"Cache-Control";
static EXPIRES: [u8; 7] = *b"Expires";
static VARY: [u8; 4] = *b"Vary";

// SAFETY of this block's calls: as for the other methods of `Request`.
impl<'r> Request<'r> {
    /// The status code that will be sent, or was; 0 before there is one.
    pub(crate) fn status(&self) -> usize {
        // SAFETY: see above.
        unsafe { (*self.as_raw()).headers_out.status }
    }

    /// The status of an error that was answered, and whether a page of `error_page` was taken
    /// for one.
    pub(crate) fn error_state(&self) -> (usize, bool) {
        // SAFETY: see above.
        unsafe {
            let r = self.as_raw();
            ((*r).err_status, error_page.is_set(r))
        }
    }

    /// Whether the response answers an error.
    pub(crate) fn is_error_answer(&self) -> bool {
        self.error_state().0 != 0
    }

    /// Whether the response, or an earlier one to the same request, came through an upstream.
    pub(crate) fn has_upstream(&self) -> bool {
        // SAFETY: see above.
        unsafe { !(*self.as_raw()).upstream.is_null() }
    }

    /// The Content-Range field of the response.
    pub(crate) fn content_range(&self) -> Option<&'r [u8]> {
        // SAFETY: see above; the element is null or in the response's list of fields.
        unsafe {
            let field = (*self.as_raw()).headers_out.content_range;
            field.as_ref().map(|field| bytes(field.value))
        }
    }

    /// Whether the response's media type is just this string, not one of the same text.
    pub(crate) fn has_content_type(&self, media_type: &'static str) -> bool {
        // SAFETY: see above.
        let current = unsafe { (*self.as_raw()).headers_out.content_type };
        current.len == media_type.len() && ptr::eq(current.data, media_type.as_ptr())
    }

    /// Whether the response has a media type.
    pub(crate) fn has_any_content_type(&self) -> bool {
        // SAFETY: see above.
        unsafe { (*self.as_raw()).headers_out.content_type.len != 0 }
    }

    /// Whether the response has several ranges (RFC 9110, section 14.6).
    pub(crate) fn is_multipart(&self) -> bool {
        const MULTIPART: &[u8] = b"multipart/byteranges";
        // SAFETY: see above.
        let current = unsafe { bytes((*self.as_raw()).headers_out.content_type) };
        let start = current.get(..MULTIPART.len());
        self.status() == 206 && start.is_some_and(|start| start.eq_ignore_ascii_case(MULTIPART))
    }

    /// Sets the media type; the field is then the same whatever the location says of types.
    pub(crate) fn set_content_type(&self, media_type: &'static str) {
        // SAFETY: see above. The fields are what the core and upstream modules set.
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

    /// Adds a field to the response.
    pub(crate) fn add_field(&self, name: &'static str, value: &'r [u8]) -> Result<(), Failure> {
        self.push_field(name.as_bytes(), value).map(|_| ())
    }

    fn push_field(
        &self,
        name: &'static [u8],
        value: &'r [u8],
    ) -> Result<*mut ngx_table_elt_t, Failure> {
        // SAFETY: see above; `ngx_list_push` returns null or memory for one element, of which
        // each field is set at once.
        unsafe {
            let list = &raw mut (*self.as_raw()).headers_out.headers;
            let element = ngx_list_push(list).cast::<ngx_table_elt_t>();
            if element.is_null() {
                return Err(Failure::NO_MEMORY);
            }
            element.write(ngx_table_elt_t {
                hash: 1,
                key: string(name),
                value: string(value),
                // Only looked at in request fields.
                lowcase_key: ptr::null_mut(),
                #[cfg(ngx_table_elt_next)]
                next: ptr::null_mut(),
            });
            Ok(element)
        }
    }

    /// Whether the response has a field that says to caches for how long and for whom it may be
    /// kept, be it to some of them only.
    pub(crate) fn has_caching(&self) -> bool {
        // SAFETY: see above; the list is valid, and nobody changes it meanwhile.
        unsafe {
            fields(&raw mut (*self.as_raw()).headers_out.headers.part)
                .any(|field| (*field).hash != 0 && is_caching(&*field))
        }
    }

    /// Leaves out of the response the fields of which [`has_caching`](Self::has_caching) tells.
    pub(crate) fn remove_caching(&self) {
        self.remove_fields(is_caching);
        self.forget_removed_caching();
    }

    /// Makes nginx forget the fields Cache-Control and Expires that are left out. It keeps them
    /// apart as well, and `expires` would write into them.
    fn forget_removed_caching(&self) {
        // SAFETY: see above; what is kept apart are null pointers or elements of the list of
        // fields, before NGINX 1.23 for Cache-Control an array of such.
        unsafe {
            let out = &raw mut (*self.as_raw()).headers_out;
            if (*out).expires.as_ref().is_some_and(|field| field.hash == 0) {
                (*out).expires = ptr::null_mut();
            }
            let known = &raw mut (*out).cache_control;
            #[cfg(ngx_table_elt_next)]
            {
                let mut link = known;
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
                let elements = (*known).elts.cast::<*mut ngx_table_elt_t>();
                let mut kept = 0;
                for index in 0..(*known).nelts {
                    let field = elements.add(index).read();
                    if (*field).hash != 0 {
                        elements.add(kept).write(field);
                        kept += 1;
                    }
                }
                (*known).nelts = kept;
                if kept == 0 {
                    // `expires` would take the first element of an array that is there.
                    known.write(core::mem::zeroed());
                }
            }
        }
    }

    /// Adds a field Cache-Control.
    pub(crate) fn add_cache_control(&self, value: &'r [u8]) -> Result<(), Failure> {
        let field = self.push_field(&CACHE_CONTROL, value)?;
        // SAFETY: see above. `$sent_http_cache_control` and `gzip_proxied` look at the list of the
        // fields of this name, whose end is a null pointer, or, before NGINX 1.23, at an array.
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

    /// Adds a field Expires.
    pub(crate) fn add_expires(&self, value: &'r [u8]) -> Result<(), Failure> {
        let field = self.push_field(&EXPIRES, value)?;
        // SAFETY: see above.
        unsafe { (*self.as_raw()).headers_out.expires = field };
        Ok(())
    }

    /// Adds a field Vary to those that the response has.
    pub(crate) fn add_vary(&self, value: &'r [u8]) -> Result<(), Failure> {
        self.push_field(&VARY, value).map(|_| ())
    }

    /// Takes back what the module itself has added of Cache-Control, Expires and Vary.
    pub(crate) fn remove_own_caching(&self) {
        let own = [CACHE_CONTROL.as_ptr(), EXPIRES.as_ptr(), VARY.as_ptr()];
        self.remove_fields(|field| own.iter().any(|&name| ptr::eq(field.key.data, name)));
        self.forget_removed_caching();
    }

    /// Whether the field that was added last is the one whose value is just these bytes.
    pub(crate) fn is_last_field(&self, value: &'r [u8]) -> bool {
        // SAFETY: see above; `last` is the list's last part, with `nelts` elements.
        unsafe {
            let part = (*self.as_raw()).headers_out.headers.last;
            let elements = (*part).elts.cast::<ngx_table_elt_t>();
            let last = (*part).nelts.checked_sub(1);
            last.is_some_and(|last| ptr::eq((*elements.add(last)).value.data, value.as_ptr()))
        }
    }

    /// Leaves out of the response the fields of this name, in any case.
    pub(crate) fn remove_field(&self, name: &str) {
        self.remove_fields(|field| bytes_of(&field.key).eq_ignore_ascii_case(name.as_bytes()));
    }

    /// Leaves out of the response the fields whose name is just this string, not a copy of it:
    /// those that were added by it. NGINX's and other modules' names are elsewhere.
    pub(crate) fn remove_field_by_name_of(&self, name: &'static str) {
        self.remove_fields(|field| ptr::eq(field.key.data, name.as_ptr()));
    }

    /// Whether the response has a field of this name, in any case, that others have added.
    pub(crate) fn has_field_beside(&self, name: &'static str) -> bool {
        // SAFETY: see above; the list is valid, and nobody changes it meanwhile.
        unsafe {
            fields(&raw mut (*self.as_raw()).headers_out.headers.part).any(|field| {
                let key = bytes_of(&(*field).key);
                (*field).hash != 0
                    && key.eq_ignore_ascii_case(name.as_bytes())
                    && !ptr::eq(key.as_ptr(), name.as_ptr())
            })
        }
    }

    /// Leaves out of the response the field whose value is just these bytes, not a copy of them.
    pub(crate) fn remove_field_of_value(&self, value: &'r [u8]) {
        self.remove_fields(|field| ptr::eq(field.value.data, value.as_ptr()));
    }

    fn remove_fields(&self, is_meant: impl Fn(&ngx_table_elt_t) -> bool) {
        // SAFETY: see above; the list is valid, and nobody else uses it meanwhile.
        unsafe {
            for field in fields(&raw mut (*self.as_raw()).headers_out.headers.part) {
                if (*field).hash != 0 && is_meant(&*field) {
                    // nginx sends no field with a hash of 0.
                    (*field).hash = 0;
                }
            }
        }
    }

    /// The values of the response's fields of this name, in any case.
    pub(crate) fn response_field(
        &self,
        name: &'static str,
    ) -> impl Iterator<Item = &'r [u8]> + use<'r> {
        // SAFETY: see above; the list is valid, and the bytes of a value stay in the pool.
        unsafe {
            fields(&raw mut (*self.as_raw()).headers_out.headers.part)
                .filter(move |&field| {
                    let key = bytes_of(&(*field).key);
                    (*field).hash != 0 && key.eq_ignore_ascii_case(name.as_bytes())
                })
                .map(|field| bytes((*field).value))
        }
    }
}

/// The fields of a header, removed ones too.
///
/// # Safety
///
/// `part` is null or the first part of a list of fields, which does not get shorter while the
/// iterator is used.
pub(super) unsafe fn fields(
    part: *mut ngx_list_part_t,
) -> impl Iterator<Item = *mut ngx_table_elt_t> {
    // SAFETY: by the contract; each part of a list has `nelts` elements.
    let parts = core::iter::successors(NonNull::new(part), |part| unsafe {
        NonNull::new((*part.as_ptr()).next)
    });
    parts.flat_map(|part| {
        // SAFETY: as above.
        let (elements, count) = unsafe { ((*part.as_ptr()).elts, (*part.as_ptr()).nelts) };
        let elements = elements.cast::<ngx_table_elt_t>();
        // SAFETY: as above.
        (0..count).map(move |index| unsafe { elements.add(index) })
    })
}

fn is_caching(field: &ngx_table_elt_t) -> bool {
    let key = bytes_of(&field.key);
    key.eq_ignore_ascii_case(&CACHE_CONTROL)
        || key.eq_ignore_ascii_case(&EXPIRES)
        || is_targeted(key)
}

fn bytes_of(string: &ngx_str_t) -> &[u8] {
    // SAFETY: a field's key is a valid string while the field is borrowed.
    unsafe { bytes(*string) }
}

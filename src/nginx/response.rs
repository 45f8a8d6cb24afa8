//! A response, as far as the module reads and writes its header.

use core::ptr::{self, NonNull};

use nginx_sys::{ngx_list_part_t, ngx_list_push, ngx_str_t, ngx_table_elt_t};

use super::Failure;
use super::request::{Request, bytes, string};

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
            ((*r).err_status, (*r).error_page() != 0)
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

    /// Sets the media type; the field is then the same whatever the location says of types.
    pub(crate) fn set_content_type(&self, media_type: &'static str) {
        // SAFETY: see above. The five fields are what the core and upstream modules set.
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
                key: string(name.as_bytes()),
                value: string(value),
                // Only looked at in request fields.
                lowcase_key: ptr::null_mut(),
                #[cfg(ngx_table_elt_next)]
                next: ptr::null_mut(),
            });
        }
        Ok(())
    }

    /// Leaves out of the response the fields of this name, in any case.
    pub(crate) fn remove_field(&self, name: &str) {
        self.remove_fields(|field| bytes_of(&field.key).eq_ignore_ascii_case(name.as_bytes()));
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
    pub(crate) fn response_field(&self, name: &'static str) -> impl Iterator<Item = &'r [u8]> {
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

fn bytes_of(string: &ngx_str_t) -> &[u8] {
    // SAFETY: a field's key is a valid string while the field is borrowed.
    unsafe { bytes(*string) }
}

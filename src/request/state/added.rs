//! What was added to the response. A response may pass the filters twice, as a 200 and as the error
//! that a filter makes of it: what was added for the first is removed for the second.

#![forbid(unsafe_code)]

use core::cell::Cell;

use crate::nginx::Failure;
use crate::nginx::request::Request;
use crate::nginx::response::{CACHE_CONTROL, CONTENT_DISPOSITION, EXPIRES, SET_COOKIE, VARY};

/// The fields that the module has added to a response.
#[derive(Clone, Debug, Default)]
pub(crate) struct Added {
    /// Whether the response is the recording.
    is_recording: Cell<bool>,
    /// Whether there is any but that of a refusal.
    has_fields: Cell<bool>,
    content_disposition: Cell<bool>,
    /// The field of a refusal, and the refusal's status.
    refusal: Cell<Option<(i16, &'static str)>>,
}

impl Added {
    /// Whether the response is the recording. Another module may have set its Content-Disposition.
    pub(crate) fn is_recording(&self) -> bool {
        self.is_recording.get()
    }

    pub(crate) fn set_recording(&self) {
        self.is_recording.set(true);
    }

    pub(crate) fn has_content_disposition(&self) -> bool {
        self.content_disposition.get()
    }

    pub(crate) fn add_content_disposition<'r>(
        &self,
        request: &Request<'r>,
        value: &'r [u8],
    ) -> Result<(), Failure> {
        self.content_disposition.set(true);
        self.add_field(request, CONTENT_DISPOSITION, value)
    }

    /// Adds a field, whose name is one of those in [`remove_fields`](Self::remove_fields).
    pub(crate) fn add_field<'r>(
        &self,
        request: &Request<'r>,
        name: &'static str,
        value: &'r [u8],
    ) -> Result<(), Failure> {
        self.has_fields.set(true);
        request.add_field(name, value)
    }

    /// Removes all fields but that of a refusal. The response is not known to be the recording then.
    pub(crate) fn remove_fields(&self, request: &Request<'_>) {
        self.is_recording.set(false);
        if self.has_fields.take() {
            self.content_disposition.set(false);
            let names = [CONTENT_DISPOSITION, SET_COOKIE, CACHE_CONTROL, EXPIRES, VARY];
            request.remove_fields(|field| names.iter().any(|name| field.is_own(name)));
        }
    }

    pub(crate) fn remove_cache_fields(&self, request: &Request<'_>) {
        if self.has_fields.get() {
            let names = [CACHE_CONTROL, EXPIRES, VARY];
            request.remove_fields(|field| names.iter().any(|name| field.is_own(name)));
        }
    }

    /// Adds a field for a refusal with this status, and removes that of an earlier refusal whose
    /// error page this is.
    pub(crate) fn add_refusal_field<'r>(
        &self,
        request: &Request<'r>,
        status: i16,
        name: &'static str,
        values: impl IntoIterator<Item = &'r [u8]>,
    ) -> Result<(), Failure> {
        if let Some((_, earlier)) = self.refusal.replace(Some((status, name))) {
            request.remove_fields(|field| field.is_own(earlier));
        }
        values.into_iter().try_for_each(|value| request.add_field(name, value))
    }

    /// Removes the field of a refusal if the response has another status (`error_page 401 =302
    /// /login`, `error_page 503 = @app`), or its own field (`error_page 503 @app`).
    pub(crate) fn remove_stale_refusal_field(&self, request: &Request<'_>) {
        let Some((status, name)) = self.refusal.get() else { return };
        let is_sent = usize::try_from(status) == Ok(request.error_state().0);
        if !is_sent || request.fields().any(|field| field.is(name) && !field.is_own(name)) {
            request.remove_fields(|field| field.is_own(name));
        }
    }
}

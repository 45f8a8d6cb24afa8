//! The way of a request, in order:
//!
//! 1. REWRITE, before the rewrite module: [`arrival::rewrite_handler`] creates the [`state::Record`]
//!    of a request that arrives in a location with `xspace_download`.
//! 2. PREACCESS, before `limit_req`: [`arrival::preaccess_handler`] updates the record, because the
//!    URI is final now.
//! 3. ACCESS: `crate::links` verifies a link, where one is needed (403), before modules such as
//!    `auth_basic` and `auth_request` let the client in or refuse it.
//! 4. PRECONTENT: [`resolve::precontent_handler`] checks the method (405, OPTIONS) and the id (404),
//!    sends a subrequest to the [`lookup`] location (401, 403, 404, 410, 429, 451, 502), reads the
//!    entry in the catalog (403, 404, 410, 451, 500, 503), runs a [`search`] for the file on disk
//!    (403, 404, 500) and redirects internally to the target location.
//! 5. The request passes the phases again in the target location, and nginx opens the file. In
//!    REWRITE and PREACCESS, the handlers of [`arrival`] remove the client's arguments; if the target
//!    responds with an error, `rewrite_handler` detects it in the location of the error page.
//! 6. Header filters, in this order:
//!    - `not_modified` of nginx makes a 304 or 412;
//!    - [`header_filter`] sets Content-Type and Content-Disposition of the recording, but not of a
//!      304 or an error page;
//!    - `headers` of nginx adds the fields of `add_header` and `expires`;
//!    - [`cache_filter`] makes Cache-Control of a response that a lookup has allowed private;
//!    - `range` of nginx makes a 206 or 416. A 416 passes all filters again, and what the module has
//!      added is removed.
//! 7. LOG: `crate::variables` has the values for the access log.

#![forbid(unsafe_code)]

pub(crate) mod arrival;
pub(crate) mod cache_filter;
pub(crate) mod header_filter;
pub(crate) mod lookup;
pub(crate) mod resolve;
pub(crate) mod search;
pub(crate) mod state;

use crate::nginx::Failure;
use crate::nginx::subrequest::NotStarted;

/// What nginx does next, when a phase handler has returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action<'r> {
    /// Runs the next handler.
    Decline,
    /// Lets the client in, as far as the module is concerned: in the access phase.
    #[cfg(feature = "links")]
    Allow,
    /// Sends a response with this status.
    Respond(i16),
    /// Calls the handler again when the subrequest has ended.
    Wait,
    /// Closes the request without a response.
    Abort,
    /// Redirects internally to this path.
    Redirect(&'r [u8]),
    /// Sends a 500, with the cause in the error log.
    Fail(Failure),
}

/// What a phase handler or a step of it has come to. `Err` ends the handler early, with whatever
/// action.
pub(crate) type PhaseResult<'r, T = Action<'r>> = Result<T, Action<'r>>;

impl From<Failure> for Action<'_> {
    fn from(cause: Failure) -> Self {
        Self::Fail(cause)
    }
}

impl From<NotStarted> for Action<'_> {
    fn from(error: NotStarted) -> Self {
        match error {
            NotStarted::Failed(cause) => Self::Fail(cause),
            NotStarted::HalfStarted => Self::Abort,
        }
    }
}

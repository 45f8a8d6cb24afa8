//! Signed links: a client is let in by the token in its URI, or by the cookie of a session that an
//! earlier token has begun.
//!
//! - `directives`: the directives and the file of keys;
//! - `check`: what `nginx -t` checks;
//! - `access`: the decision in the access phase, and what follows from it in the target, in
//!   subrequests and before the file is searched for;
//! - `session`: the cookie of a response.
//!
//! What a token means is in the crate `model`. A server without `xspace_link` has no handler of this
//! module's.

#![forbid(unsafe_code)]

pub(crate) mod access;
pub(crate) mod check;
pub(crate) mod directives;
pub(crate) mod session;

use std::rc::Rc;

use model::links::{Check, Grant, Keys, Status};

use self::directives::{LinkSetting, SessionSetting};

/// The link that a location needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link<'c> {
    pub(crate) setting: &'c Rc<LinkSetting>,
    /// Always there in a location with `xspace_download`: `nginx -t` refuses others.
    pub(crate) keys: Option<&'c Rc<Keys>>,
    pub(crate) session: Option<&'c Rc<SessionSetting>>,
    /// Whether a link without a net is refused.
    pub(crate) needs_net: bool,
}

/// What the access phase has come to in one location.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LinkDecision<'r> {
    Verdict(&'r Verdict<'r>),
    /// OPTIONS: let in without a link, for a response without a recording.
    Preflight,
}

/// What was decided about the link of a request in one location.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Verdict<'r> {
    check: Check<'r>,
    result: Result<Grant<'r>, Status>,
}

impl<'r> Verdict<'r> {
    /// For `$xspace_link_status`.
    pub(crate) fn status(&self) -> Status {
        self.result.map_or_else(|why| why, |grant| grant.status())
    }

    /// Why the link was refused; `None` if it is good.
    #[cfg(feature = "plays")]
    pub(crate) fn refused(&self) -> Option<Status> {
        self.result.err()
    }

    /// Whom the link is for; empty if it does not say or is not good.
    pub(crate) fn subject(&self) -> &'r [u8] {
        self.result.map_or(&[], |grant| grant.fields().subject())
    }
}

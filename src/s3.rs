//! Recordings in an object store with the interface of Amazon S3: the location of the target is a proxy
//! to the store, and the module signs its requests.
//!
//! - `directives`: the directive;
//! - `credentials`: the file of credentials, which is read again when it changes;
//! - `check`: what `nginx -t` checks;
//! - `request`: which requests are sent to the store, and the values of the variables that they are
//!   made of;
//! - `response`: what becomes of the store's responses.
//!
//! What is signed is in the crate `model`. A server without `xspace_s3` has no handler and no filter of
//! this module's.
//!
//! nginx makes the whole request to an upstream in one call (`ngx_http_proxy_create_request`), at whose
//! beginning it drops the values of variables that are not cacheable, and sends the same bytes again to
//! the next server. During a call from nginx neither its clock nor the credentials change: both do so
//! on the event loop only. So all variables of a request to the store have one time and one set of
//! credentials, and each slice has its own.

#![forbid(unsafe_code)]

pub(crate) mod check;
mod credentials;
pub(crate) mod directives;
pub(crate) mod request;
pub(crate) mod response;

use core::cell::{Cell, RefCell};
use std::rc::Rc;

use model::s3::{Bucket, Signer};

use self::credentials::CredentialsFile;
use crate::nginx::configuration::ConfPosition;
use crate::nginx::location::Location;

/// What the directives of all locations have set.
#[derive(Debug, Default)]
pub(crate) struct S3Conf {
    stores: RefCell<Vec<Rc<Store>>>,
    /// The files of credentials that were read.
    files: RefCell<Vec<Rc<CredentialsFile>>>,
}

impl S3Conf {
    /// Whether there is an `xspace_s3`.
    pub(crate) fn is_used(&self) -> bool {
        !self.stores.borrow().is_empty()
    }
}

/// An `xspace_s3`.
#[derive(Debug)]
pub(crate) struct Store {
    bucket: Bucket,
    bucket_name: Box<str>,
    signer: Signer,
    credentials: Rc<CredentialsFile>,
    location: Location,
    position: ConfPosition,
    /// Whether it was logged that its certificate is not verified.
    is_warned: Cell<bool>,
}

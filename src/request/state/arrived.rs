//! What has arrived: a request as it is in the location.

#![forbid(unsafe_code)]

use core::ptr;

use model::request::SpaceRequest;

use crate::config::LocationConf;
use crate::nginx::Failure;
use crate::nginx::request::Request;

/// A request as it has arrived in a location, or as it is there when rewriting has ended. An error
/// page may have another URI.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrived<'r> {
    pub(super) lcf: &'static LocationConf,
    pub(super) uri: &'r [u8],
    pub(super) args: &'r [u8],
    pub(super) space: Space<'r>,
}

/// The space that a request is for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Space<'r> {
    /// Not fixed yet: the variables that it depends on may change.
    Open,
    /// The request has no valid id.
    Invalid,
    Valid(SpaceRequest<'r>),
}

impl Space<'_> {
    pub(super) fn is_fixed(self) -> bool {
        !matches!(self, Self::Open)
    }
}

impl<'r> Arrived<'r> {
    pub(super) fn new(request: &Request<'r>, lcf: &'static LocationConf) -> Result<Self, Failure> {
        let uri = request.uri();
        let space =
            if lcf.asks_by_uri_alone() { evaluate_space(request, lcf, uri)? } else { Space::Open };
        Ok(Self { lcf, uri, args: request.args(), space })
    }

    /// Whether configuration, path and query string are the same. nginx replaces strings and does not
    /// change their bytes.
    pub(super) fn is_same(&self, request: &Request<'r>, lcf: &'static LocationConf) -> bool {
        ptr::eq(self.lcf, lcf) && request.has_uri(self.uri, self.args)
    }

    pub(super) fn space(&self, request: &Request<'r>) -> Result<Space<'r>, Failure> {
        match self.space {
            Space::Open => evaluate_space(request, self.lcf, self.uri),
            space => Ok(space),
        }
    }
}

/// The space that a request with this path is for, in a location.
pub(crate) fn evaluate_space<'r>(
    request: &Request<'r>,
    lcf: &LocationConf,
    uri: &'r [u8],
) -> Result<Space<'r>, Failure> {
    let Some(download) = lcf.download() else { return Ok(Space::Invalid) };
    let resource = lcf.resource(download, request, uri)?;
    let mut failed = None;
    let space = SpaceRequest::parse(resource, lcf.formats(), || {
        lcf.format(request).map_err(|cause| failed = Some(cause)).ok()
    });
    match failed {
        Some(cause) => Err(cause),
        None => Ok(space.map_or(Space::Invalid, Space::Valid)),
    }
}

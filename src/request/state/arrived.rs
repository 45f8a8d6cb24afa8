//! What has arrived: a request as it is in the location.

#![forbid(unsafe_code)]

use core::cell::Cell;
use core::ptr;

use model::request::SpaceRequest;

use crate::config::LocationConf;
use crate::nginx::Failure;
use crate::nginx::request::Request;

/// A request as it has arrived in a location, or as it is there when rewriting has ended. An error
/// page may have another URI.
#[derive(Debug)]
pub(crate) struct Arrived<'r> {
    lcf: Cell<&'static LocationConf>,
    uri: Cell<&'r [u8]>,
    args: Cell<&'r [u8]>,
    space: Cell<Space<'r>>,
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

impl<'r> Arrived<'r> {
    /// The space is to be evaluated then, by [`update`](Self::update).
    pub(super) fn new(request: &Request<'r>, lcf: &'static LocationConf) -> Self {
        Self {
            lcf: Cell::new(lcf),
            uri: Cell::new(request.uri()),
            args: Cell::new(request.args()),
            space: Cell::new(Space::Open),
        }
    }

    pub(super) fn lcf(&self) -> &'static LocationConf {
        self.lcf.get()
    }

    /// Evaluates the space, if it does not depend on anything that may change.
    pub(super) fn evaluate_early(&self, request: &Request<'r>) -> Result<(), Failure> {
        let lcf = self.lcf.get();
        if lcf.asks_by_uri_alone() {
            self.space.set(evaluate_space(request, lcf, self.uri.get())?);
        }
        Ok(())
    }

    /// Takes configuration, path and query string of the request, if they are others. nginx replaces
    /// strings and does not change their bytes.
    pub(super) fn update(
        &self,
        request: &Request<'r>,
        lcf: &'static LocationConf,
    ) -> Result<(), Failure> {
        let has_uri = request.has_uri(self.uri.get(), self.args.get());
        if has_uri && ptr::eq(self.lcf.get(), lcf) {
            return Ok(());
        }
        self.lcf.set(lcf);
        self.uri.set(request.uri());
        self.args.set(request.args());
        self.space.set(Space::Open);
        self.evaluate_early(request)
    }

    /// The space, if it is fixed.
    pub(super) fn fixed_space(&self) -> Option<Space<'r>> {
        Some(self.space.get()).filter(|space| !matches!(space, Space::Open))
    }

    pub(super) fn fix_space(&self, space: Space<'r>) {
        self.space.set(space);
    }

    /// The space; evaluated on each call until it is fixed.
    pub(super) fn space(&self, request: &Request<'r>) -> Result<Space<'r>, Failure> {
        match self.space.get() {
            Space::Open => evaluate_space(request, self.lcf.get(), self.uri.get()),
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

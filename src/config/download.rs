//! An `xspace_download` that is on, and the locations that serve its files.

#![forbid(unsafe_code)]

use core::cell::{OnceCell, RefCell};

use crate::config::LocationConf;
use crate::nginx::Failure;
use crate::nginx::configuration::{ConfPosition, VariableIndex};
use crate::nginx::location::Location;

/// An `xspace_download` that is on.
#[derive(Debug)]
pub(crate) struct Download {
    /// Begins and ends with a slash.
    pub(super) target: &'static [u8],
    /// The location of the directive, and its server.
    pub(super) location: Location,
    pub(super) server: Location,
    pub(super) position: ConfPosition,
    /// Set once all locations are known.
    pub(super) routes: OnceCell<Routes>,
    /// The blocks of `if` and `limit_except` in the location.
    pub(super) blocks: RefCell<Vec<Location>>,
}

/// Which locations serve the files of a target.
#[derive(Debug)]
pub(crate) struct Routes {
    /// The location of the target: its longest prefix.
    pub(crate) target: Location,
    /// Whether a file below the target may be in another location.
    pub(crate) is_divided: bool,
    /// `$request_id`, if a directive uses it. It is random, and has to be the same before and after
    /// the redirect.
    pub(crate) request_id: Option<VariableIndex>,
}

/// The location of a file's URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// One that serves files of the target.
    Inside(Location),
    /// Another one: nothing of it is served.
    Outside(Location),
}

impl Download {
    /// The URI prefix of the files. Begins and ends with a slash.
    pub(crate) fn target(&self) -> &'static [u8] {
        self.target
    }

    /// The server of the location.
    pub(crate) fn server(&self) -> Location {
        self.server
    }

    /// The configuration of the location.
    pub(crate) fn conf(&self) -> Option<&'static LocationConf> {
        self.location.conf()
    }

    /// Whether requests of the location are looked up.
    pub(crate) fn has_lookup(&self) -> bool {
        self.conf().is_some_and(|lcf| lcf.lookup().is_some())
    }

    /// The locations that serve the files.
    pub(crate) fn routes(&self) -> Result<&Routes, Failure> {
        self.routes.get().ok_or(Failure("locations of the target are not known"))
    }

    /// The location of the target.
    pub(crate) fn target_location(&self) -> Option<Location> {
        self.routes.get().map(|routes| routes.target)
    }

    /// Whether a location serves files of the target, and with it those nested in it.
    pub(super) fn is_part(&self, location: Location, target: Location) -> bool {
        location == target || location.has_name_below(self.target)
    }

    /// The location that nginx will find for the URI of a file below the target.
    pub(crate) fn route(&self, routes: &Routes, uri: &[u8]) -> Result<Route, Failure> {
        if !routes.is_divided {
            return Ok(Route::Inside(routes.target));
        }
        let selection = self.server.select(uri, &|l| self.is_part(l, routes.target))?;
        // Outside of all locations nginx uses the server's configuration.
        let location = selection.location.unwrap_or(self.server);
        let serves =
            selection.is_wanted && !selection.is_redirect && !LocationConf::is_on_in(location);
        Ok(if serves { Route::Inside(location) } else { Route::Outside(location) })
    }
}

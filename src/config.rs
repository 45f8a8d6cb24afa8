//! What the directives of a location say, and what a location takes over from those around it.
//!
//! The defaults of all directives are in [`LocationConf`]'s methods.

#![forbid(unsafe_code)]

pub(crate) mod check;
pub(crate) mod directives;

use core::cell::{OnceCell, RefCell};
use std::rc::Rc;

use model::filename::{CleanTitle, FileName};
use model::format::Formats;
use model::request::SpaceId;

use crate::catalog::CatalogFile;
use crate::nginx::Failure;
use crate::nginx::configuration::{ConfPosition, VariableIndex};
use crate::nginx::content_handler::SeekHandlers;
use crate::nginx::location::Location;
use crate::nginx::request::Request;
use crate::nginx::threads::ThreadPool;
use crate::nginx::value::ComplexValue;

/// The module's configuration for all of `http {}`.
#[derive(Debug, Default)]
pub(crate) struct MainConf {
    /// Every `xspace_download` that is on, to be checked when all locations are known.
    pub(crate) downloads: RefCell<Vec<Rc<Download>>>,
    /// Every file that an `xspace_catalog` names.
    pub(crate) catalogs: RefCell<Vec<Rc<CatalogFile>>>,
    /// Every block of an `if` or a `limit_except`.
    pub(crate) blocks: RefCell<Vec<Location>>,
    /// The content handlers that read the query string themselves. Set when all directives are read.
    pub(crate) seek_handlers: OnceCell<SeekHandlers>,
    /// Where catalogs are read again, if one is; inside, `None` in an nginx without threads.
    pub(crate) threads: OnceCell<Option<ThreadPool>>,
}

/// The module's configuration of a location. `None`: not given, so taken over in
/// [`merge`](Self::merge).
#[derive(Debug, Default)]
pub(crate) struct LocationConf {
    pub(crate) download: Option<Switch<Rc<Download>>>,
    pub(crate) id: Option<ComplexValue>,
    pub(crate) format: Option<ComplexValue>,
    pub(crate) attachment: Option<ComplexValue>,
    pub(crate) filename: Option<ComplexValue>,
    pub(crate) formats: Option<Rc<Formats>>,
    pub(crate) min_size: Option<u64>,
    pub(crate) directory: Option<Directory>,
    pub(crate) catalog: Option<Switch<CatalogSetting>>,
    pub(crate) lookup: Option<Switch<Rc<LookupSetting>>>,
    pub(crate) pass_args: Option<bool>,
}

/// A directive that can be `off`.
#[derive(Clone, Debug)]
pub(crate) enum Switch<T> {
    On(T),
    Off,
}

/// An `xspace_catalog` that is on.
#[derive(Clone, Debug)]
pub(crate) struct CatalogSetting {
    pub(crate) source: Rc<CatalogFile>,
    /// Whether an id that is not in the catalog is not found.
    pub(crate) only: bool,
}

/// An `xspace_lookup` that is on.
#[derive(Debug)]
pub(crate) struct LookupSetting {
    /// Begins with a slash.
    pub(crate) uri: &'static [u8],
    pub(crate) place: ConfPosition,
    /// `$request_id`, if a directive names it: the application has to see the same as the log.
    /// Set when all directives are read.
    pub(crate) request_id: OnceCell<Option<VariableIndex>>,
}

/// Where files are looked for.
#[derive(Clone, Debug)]
pub(crate) enum Directory {
    /// The path, with a slash at its end.
    Path(&'static [u8]),
    /// Nowhere.
    Off(ConfPosition),
}

/// An `xspace_download` that is on.
#[derive(Debug)]
pub(crate) struct Download {
    /// Begins and ends with a slash.
    pub(crate) target: Vec<u8>,
    /// The location that the directive stands in, and its server.
    pub(crate) location: Location,
    pub(crate) server: Location,
    pub(crate) place: ConfPosition,
    /// Set when all locations are known.
    pub(crate) routes: OnceCell<Routes>,
    /// The blocks of `if` and `limit_except` in the location.
    pub(crate) blocks: RefCell<Vec<Location>>,
}

/// Which locations serve the files of a target.
#[derive(Debug)]
pub(crate) struct Routes {
    /// The location that the target names: the longest prefix of it.
    pub(crate) target: Location,
    /// Whether a file below the target may be in another location.
    pub(crate) is_divided: bool,
    /// `$request_id`, if a directive names it. It is random, so it has to be the same in a look and
    /// after the redirect.
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

impl Routes {
    /// Whether a location serves files of a target, and with it those nested in it.
    pub(crate) fn is_part(location: Location, target: Location, uri: &[u8]) -> bool {
        location == target || location.has_name_below(uri)
    }
}

impl Download {
    /// The location that the target names.
    pub(crate) fn target_location(&self) -> Option<Location> {
        self.routes.get().map(|routes| routes.target)
    }

    /// The location that nginx will find for the URI of a file below the target.
    #[inline(always)]
    pub(crate) fn route(&self, routes: &Routes, uri: &[u8]) -> Result<Route, Failure> {
        if routes.is_divided {
            self.route_of_divided(routes, uri)
        } else {
            Ok(Route::Inside(routes.target))
        }
    }

    #[inline(never)]
    fn route_of_divided(&self, routes: &Routes, uri: &[u8]) -> Result<Route, Failure> {
        let is_part = |location| Routes::is_part(location, routes.target, &self.target);
        let selection = self.server.select(uri, is_part)?;
        // Outside of all locations nginx takes the server for one.
        let location = selection.location.unwrap_or(self.server);
        let serves =
            selection.counts && !selection.is_redirect && !LocationConf::is_on_in(location);
        Ok(if serves { Route::Inside(location) } else { Route::Outside(location) })
    }
}

impl LocationConf {
    /// Whether the module is on in a location.
    pub(crate) fn is_on_in(location: Location) -> bool {
        location.conf::<Self>().is_some_and(|lcf| lcf.download().is_some())
    }

    /// `xspace_download`; off by default.
    pub(crate) fn download(&self) -> Option<&Download> {
        match &self.download {
            Some(Switch::On(download)) => Some(download),
            Some(Switch::Off) | None => None,
        }
    }

    /// `xspace_id`; by default what follows the location's prefix in the URI.
    pub(crate) fn resource<'r>(
        &self,
        download: &Download,
        request: &Request<'r>,
        uri: &'r [u8],
    ) -> Result<&'r [u8], Failure> {
        match self.id {
            Some(id) => id.evaluate(request),
            None => Ok(uri.strip_prefix(download.location.name()).unwrap_or_default()),
        }
    }

    /// `xspace_format`; by default `$arg_format`.
    pub(crate) fn format<'r>(&self, request: &Request<'r>) -> Result<&'r [u8], Failure> {
        match self.format {
            Some(format) => format.evaluate(request),
            None => Ok(request.argument("format").unwrap_or_default()),
        }
    }

    /// Whether id and format follow from URI and query string alone, so that they can be found out
    /// before access control without evaluating variables of other modules.
    pub(crate) fn asks_by_uri_alone(&self) -> bool {
        let by_uri = |value: Option<ComplexValue>| value.is_none_or(ComplexValue::is_constant);
        by_uri(self.id) && by_uri(self.format)
    }

    /// Why it can't be found out now what is asked for, if that is just being done.
    pub(crate) fn circle(&self) -> Option<Failure> {
        let circle = |value: Option<ComplexValue>| value.and_then(ComplexValue::circle);
        circle(self.id).or_else(|| circle(self.format))
    }

    /// `xspace_attachment`; by default `$arg_attachment`.
    pub(crate) fn attachment<'r>(&self, request: &Request<'r>) -> Result<&'r [u8], Failure> {
        match self.attachment {
            Some(attachment) => attachment.evaluate(request),
            None => Ok(request.argument("attachment").unwrap_or_default()),
        }
    }

    /// `xspace_formats`. Merging has set it in every location.
    pub(crate) fn formats(&self) -> Option<&Formats> {
        self.formats.as_deref()
    }

    /// `xspace_min_size`, in bytes; 0 by default.
    pub(crate) fn min_size(&self) -> u64 {
        self.min_size.unwrap_or(0)
    }

    /// `xspace_catalog`; off by default.
    pub(crate) fn catalog(&self) -> Option<&CatalogSetting> {
        match &self.catalog {
            Some(Switch::On(catalog)) => Some(catalog),
            Some(Switch::Off) | None => None,
        }
    }

    /// `xspace_lookup`; off by default.
    pub(crate) fn lookup(&self) -> Option<&LookupSetting> {
        match &self.lookup {
            Some(Switch::On(lookup)) => Some(lookup),
            Some(Switch::Off) | None => None,
        }
    }

    /// `xspace_pass_args`; off by default.
    pub(crate) fn passes_args(&self) -> bool {
        self.pass_args.unwrap_or(false)
    }

    /// `xspace_filename`; by default made of title, id and extension.
    pub(crate) fn file_name<'a>(
        &self,
        request: &Request<'a>,
        title: Option<CleanTitle<'a>>,
        id: SpaceId<'a>,
        extension: &'a str,
    ) -> Result<FileName<'a>, Failure> {
        Ok(match self.filename {
            Some(name) => FileName::whole(name.evaluate(request)?, title, id, extension),
            None => FileName::with_title(title, id, extension),
        })
    }

    /// Takes over from the level around this one what is not given here.
    ///
    /// `xspace_download` and `xspace_id` belong to their location alone, but the blocks of `if`
    /// and `limit_except` in it are the same location to a user.
    pub(crate) fn merge(&mut self, outer: &Self, location: Option<Location>) {
        if let Some(block) = location.filter(|location| location.is_block()) {
            self.download = outer.download.clone();
            self.id = outer.id;
            if let Some(download) = self.download() {
                download.blocks.borrow_mut().push(block);
            }
        }
        self.format = self.format.or(outer.format);
        self.attachment = self.attachment.or(outer.attachment);
        self.filename = self.filename.or(outer.filename);
        self.min_size = self.min_size.or(outer.min_size);
        self.pass_args = self.pass_args.or(outer.pass_args);
        if self.formats.is_none() {
            let formats = outer.formats.clone();
            self.formats = Some(formats.unwrap_or_else(|| Rc::new(Formats::default())));
        }
        if self.directory.is_none() {
            self.directory = outer.directory.clone();
        }
        if self.catalog.is_none() {
            self.catalog = outer.catalog.clone();
        }
        if self.lookup.is_none() {
            self.lookup = outer.lookup.clone();
        }
    }
}

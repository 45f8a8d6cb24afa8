//! Configuration: the directives as written in a block, and the settings in effect in a location.

#![forbid(unsafe_code)]

pub(crate) mod check;
pub(crate) mod directives;
mod download;

use core::cell::{OnceCell, RefCell};
use std::rc::Rc;

use model::format::Formats;

use self::directives::{Directive, DirectiveError, Settings, Written};
pub(crate) use self::download::{Download, Route, Routes};
use crate::catalog::CatalogFile;
#[cfg(feature = "plays")]
use crate::catalog::Health;
#[cfg(feature = "links")]
use crate::links::{Link, directives::LinksConf};
#[cfg(feature = "lmdb")]
use crate::lmdb::LmdbCatalog;
use crate::nginx::Failure;
use crate::nginx::configuration::{Conf, ConfPosition};
use crate::nginx::content_handler::SeekHandlers;
use crate::nginx::location::Location;
use crate::nginx::request::Request;
use crate::nginx::subrequest::SubrequestSetting;
use crate::nginx::threads::ThreadPool;
use crate::nginx::value::ComplexValue;
#[cfg(feature = "plays")]
use crate::plays::{Counting, StatsZone, StatusSetting};
#[cfg(feature = "s3")]
use crate::s3::{S3Conf, Store};

/// The module's configuration of `http {}`.
#[derive(Debug, Default)]
pub(crate) struct MainConf {
    /// Every `xspace_download` that is on.
    pub(crate) downloads: RefCell<Vec<Rc<Download>>>,
    /// Every file that an `xspace_catalog` names.
    pub(crate) catalogs: RefCell<Vec<Rc<CatalogFile>>>,
    /// Every LMDB environment that an `xspace_catalog` names.
    #[cfg(feature = "lmdb")]
    pub(crate) lmdb_catalogs: RefCell<Vec<Rc<LmdbCatalog>>>,
    /// Every block of an `if` or a `limit_except`.
    pub(crate) blocks: RefCell<Vec<Location>>,
    /// The content handlers that read the query string themselves. Set after the merge.
    pub(crate) seek_handlers: OnceCell<SeekHandlers>,
    /// The directives of links.
    #[cfg(feature = "links")]
    pub(crate) links: LinksConf,
    /// The threads that refresh catalogs, if a directive needs them; `None` in an nginx without.
    pub(crate) threads: OnceCell<Option<ThreadPool>>,
    /// The health of all catalogs, in the order of their first directives.
    #[cfg(feature = "plays")]
    pub(crate) healths: RefCell<Vec<Rc<Health>>>,
    /// Every zone that an `xspace_stats_zone` or `xspace_stats` names.
    #[cfg(feature = "plays")]
    pub(crate) zones: RefCell<Vec<Rc<StatsZone>>>,
    /// Every `xspace_status`.
    #[cfg(feature = "plays")]
    pub(crate) statuses: RefCell<Vec<Rc<StatusSetting>>>,
    /// The directives of object stores.
    #[cfg(feature = "s3")]
    pub(crate) s3: S3Conf,
}

impl MainConf {
    /// The threads that refresh catalogs, if a directive needs them and nginx has threads.
    pub(crate) fn threads(&self) -> Option<ThreadPool> {
        self.threads.get().copied().flatten()
    }
}

/// The module's configuration of a location, or of another block.
///
/// nginx has one for each block, from its first directive on, so both stages are in one value.
/// Blocks are merged from the outside in, which resolves the settings; requests see only these.
/// The one of `http {}` is never merged, and has no requests.
#[derive(Debug)]
pub(crate) struct LocationConf {
    written: Written,
    settings: Settings,
}

impl Default for LocationConf {
    fn default() -> Self {
        let written = Written::default();
        Self { settings: written.resolve(), written }
    }
}

/// A directive that can be `off`.
#[derive(Clone, Debug)]
pub(crate) enum Switch<T> {
    On(T),
    Off,
}

impl<T> Switch<T> {
    fn on(self) -> Option<T> {
        match self {
            Self::On(value) => Some(value),
            Self::Off => None,
        }
    }

    /// The value in effect; off by default.
    fn in_effect(written: Option<Self>) -> Option<T> {
        written.and_then(Self::on)
    }
}

/// An `xspace_catalog` that is on.
#[derive(Clone, Debug)]
pub(crate) struct CatalogSetting {
    pub(crate) source: CatalogSource,
    /// Whether an id that is not in the catalog is not found.
    pub(crate) only: bool,
}

/// Where the entries of a catalog are.
#[derive(Clone, Debug)]
pub(crate) enum CatalogSource {
    /// In a JSON file, of which each worker has a copy.
    File(Rc<CatalogFile>),
    /// In an LMDB environment.
    #[cfg(feature = "lmdb")]
    Lmdb(Rc<LmdbCatalog>),
}

/// An `xspace_lookup` that is on.
#[derive(Debug)]
pub(crate) struct LookupSetting {
    /// Begins with a slash.
    pub(crate) uri: &'static [u8],
    position: ConfPosition,
    /// Set once all directives are read.
    subrequest: OnceCell<SubrequestSetting>,
}

impl LookupSetting {
    /// What the subrequest has of the request.
    pub(crate) fn subrequest(&self) -> Result<&SubrequestSetting, Failure> {
        self.subrequest.get().ok_or(Failure("fields of the lookup are not known"))
    }
}

/// Where files are.
#[derive(Clone, Debug, Default)]
pub(crate) enum Directory {
    /// Where the target's location maps them to.
    #[default]
    OfTarget,
    /// A path, with a slash at its end.
    Path(&'static [u8]),
    /// Unknown: named files are assumed to exist.
    Off(ConfPosition),
}

impl LocationConf {
    /// Reads a directive of the block.
    pub(crate) fn set(
        &mut self,
        directive: &Directive,
        conf: &Conf<'_>,
        main: &MainConf,
    ) -> Result<(), DirectiveError> {
        (directive.set)(&mut self.written, conf, main)
    }

    /// Resolves the settings. `outer` is the block around this one, already merged.
    pub(crate) fn merge(&mut self, outer: &Self, main: &MainConf, location: Option<Location>) {
        // The blocks of `if` and `limit_except` are part of their location.
        let block = location.filter(|location| location.is_block());
        self.written.inherit(&outer.written, block.is_some());
        self.settings = self.written.resolve();
        if let Some(block) = block {
            main.blocks.borrow_mut().push(block);
            if let Some(download) = self.download() {
                download.blocks.borrow_mut().push(block);
            }
        }
    }

    /// Whether the module is on in a location.
    pub(crate) fn is_on_in(location: Location) -> bool {
        location.conf::<Self>().is_some_and(|lcf| lcf.download().is_some())
    }

    /// `xspace_download`, if it is on.
    pub(crate) fn download(&self) -> Option<&Download> {
        self.settings.download.as_deref()
    }

    /// The value of `xspace_id`, or what follows the location's prefix in `uri`.
    pub(crate) fn resource<'r>(
        &self,
        download: &Download,
        request: &Request<'r>,
        uri: &'r [u8],
    ) -> Result<&'r [u8], Failure> {
        match self.settings.id {
            Some(id) => id.evaluate(request),
            None => Ok(uri.strip_prefix(download.location.name()).unwrap_or_default()),
        }
    }

    /// The value of `xspace_format`.
    pub(crate) fn format<'r>(&self, request: &Request<'r>) -> Result<&'r [u8], Failure> {
        value_or_argument(self.settings.format, request, "format")
    }

    /// The value of `xspace_attachment`.
    pub(crate) fn attachment<'r>(&self, request: &Request<'r>) -> Result<&'r [u8], Failure> {
        value_or_argument(self.settings.attachment, request, "attachment")
    }

    /// Whether id and format follow from URI and query string alone: they can be found before
    /// access control then, without evaluating variables of other modules.
    pub(crate) fn asks_by_uri_alone(&self) -> bool {
        let is_constant = |value: Option<ComplexValue>| value.is_none_or(ComplexValue::is_constant);
        is_constant(self.settings.id) && is_constant(self.settings.format)
    }

    /// The failure of evaluating id and format now, if that is under way.
    pub(crate) fn cycle(&self) -> Option<Failure> {
        [self.settings.id, self.settings.format].into_iter().flatten().find_map(ComplexValue::cycle)
    }

    /// `xspace_formats`.
    pub(crate) fn formats(&self) -> &Formats {
        &self.settings.formats
    }

    /// `xspace_min_size`, in bytes.
    pub(crate) fn min_size(&self) -> u64 {
        self.settings.min_size
    }

    /// `xspace_directory`.
    pub(crate) fn directory(&self) -> &Directory {
        &self.settings.directory
    }

    /// `xspace_catalog`, if it is on.
    pub(crate) fn catalog(&self) -> Option<&CatalogSetting> {
        self.settings.catalog.as_ref()
    }

    /// `xspace_lookup`, if it is on.
    pub(crate) fn lookup(&self) -> Option<&LookupSetting> {
        self.settings.lookup.as_deref()
    }

    /// `xspace_pass_args`.
    pub(crate) fn passes_args(&self) -> bool {
        self.settings.pass_args
    }

    /// How requests are counted, if `xspace_stats` is on.
    #[cfg(feature = "plays")]
    pub(crate) fn counting(&self) -> Option<Counting<'_>> {
        let Settings { stats, listener, play, .. } = &self.settings;
        let zone = stats.as_deref()?;
        Some(Counting { zone, listener: *listener, play: *play })
    }

    /// `xspace_status`.
    #[cfg(feature = "plays")]
    pub(crate) fn status(&self) -> Option<&StatusSetting> {
        self.settings.status.as_deref()
    }

    /// Whether a link is needed.
    pub(crate) fn needs_link(&self) -> bool {
        #[cfg(feature = "links")]
        return self.settings.link.is_some();
        #[cfg(not(feature = "links"))]
        false
    }

    /// `xspace_link` with its keys and session, if it is on.
    #[cfg(feature = "links")]
    pub(crate) fn link(&self) -> Option<Link<'_>> {
        Some(Link {
            setting: self.settings.link.as_ref()?,
            keys: self.settings.link_keys.as_ref(),
            session: self.settings.link_session.as_ref(),
            needs_net: self.settings.link_address,
        })
    }

    /// `xspace_s3`.
    #[cfg(feature = "s3")]
    pub(crate) fn store(&self) -> Option<&Store> {
        self.settings.s3.as_deref()
    }

    /// The value of `xspace_filename`, if it is set.
    pub(crate) fn filename(&self) -> Option<ComplexValue> {
        self.settings.filename
    }
}

/// A value if there is one, otherwise an argument of the query string.
fn value_or_argument<'r>(
    value: Option<ComplexValue>,
    request: &Request<'r>,
    name: &str,
) -> Result<&'r [u8], Failure> {
    match value {
        Some(value) => value.evaluate(request),
        None => Ok(request.argument(name).unwrap_or_default()),
    }
}

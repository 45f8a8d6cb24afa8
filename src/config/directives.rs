//! The directives.
//!
//! The row of a directive in the table below has everything about it: name, contexts and number of
//! arguments, the function that reads them, the type as written, the type in effect, and the
//! default. The functions follow in the same order. `module.rs` makes `ngx_command_t` from [`ALL`].

#![forbid(unsafe_code)]

use core::cell::OnceCell;
use core::convert::identity;
use core::ffi::CStr;
use core::time::Duration;
use core::{fmt, mem, str};
use std::rc::Rc;
use std::sync::{Arc, LazyLock};

use model::format::{FormatError, Formats};
#[cfg(feature = "links")]
use model::links::Keys;
#[cfg(feature = "plays")]
use nginx_sys::NGX_CONF_TAKE12;
use nginx_sys::{
    NGX_CONF_1MORE, NGX_CONF_TAKE1, NGX_CONF_TAKE4, NGX_CONF_TAKE123, NGX_HTTP_LOC_CONF,
    NGX_HTTP_MAIN_CONF, NGX_HTTP_SRV_CONF,
};

use crate::catalog::{CatalogFile, DEFAULT_REFRESH};
use crate::config::{
    CatalogSetting, CatalogSource, Directory, Download, LookupSetting, MainConf, Switch,
};
#[cfg(feature = "links")]
use crate::links::directives as links;
#[cfg(feature = "lmdb")]
use crate::lmdb::directive as lmdb;
use crate::nginx::Failure;
use crate::nginx::configuration::{Conf, ConfPosition, PathBase};
use crate::nginx::log::Text;
use crate::nginx::threads::ThreadPool;
use crate::nginx::value::ComplexValue;
#[cfg(feature = "plays")]
use crate::plays::{self, PlaySetting, StatsZone, StatusSetting};
#[cfg(feature = "s3")]
use crate::s3;

const LOCATION: u32 = NGX_HTTP_LOC_CONF;
const ANYWHERE: u32 = NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF;

/// A directive as nginx needs to know it.
pub(crate) struct Directive {
    pub(crate) name: &'static CStr,
    /// Contexts and numbers of arguments, as in `ngx_command_t`.
    pub(crate) kind: u32,
    /// Reads the arguments.
    pub(super) set: fn(&mut Written, &Conf<'_>, &MainConf) -> Result<(), DirectiveError>,
}

/// Why a directive is not accepted.
pub(crate) enum DirectiveError {
    /// The block has it already.
    Duplicate,
    /// A message, to which the position is added.
    Invalid(String),
    /// nginx has logged the reason.
    Logged,
}

/// Makes [`Written`], [`Settings`] and [`ALL`] from rows of the form
/// `field: type as written => type in effect = default, (name, contexts and arguments, reader);`.
///
/// The default is a function from the `Option` of the first type to the second. Directives that are
/// allowed in `http {}` are inherited by servers and locations. Others apply to their location, with
/// the blocks of `if` and `limit_except` in it. Rows of a cargo feature have its `cfg`.
///
/// Rows at the end, `(name, contexts and arguments, reader);`, are of directives that may be repeated:
/// what they read is in [`MainConf`].
macro_rules! directives {
    ($(
        $(#[doc = $doc:literal])*
        $(#[cfg($cfg:meta)])?
        $field:ident: $written:ty => $setting:ty = $resolve:expr,
            ($name:expr, $kind:expr, $read:expr);
    )*
    @repeated $(
        $(#[doc = $repeated_doc:literal])*
        $(#[cfg($repeated_cfg:meta)])?
        ($repeated_name:expr, $repeated_kind:expr, $repeated_read:expr);
    )*) => {
        /// The directives of a block as written; after the merge with those that it inherits.
        #[derive(Debug, Default)]
        pub(super) struct Written {
            $($(#[doc = $doc])* $(#[cfg($cfg)])? pub(super) $field: Option<$written>,)*
        }

        /// The directives in effect in a location.
        #[derive(Debug)]
        pub(super) struct Settings {
            $($(#[doc = $doc])* $(#[cfg($cfg)])? pub(super) $field: $setting,)*
        }

        impl Written {
            /// Inherits from the block around this one. `is_same_location`: this is one of `if`
            /// or `limit_except`.
            pub(super) fn inherit(&mut self, outer: &Self, is_same_location: bool) {
                $($(#[cfg($cfg)])? {
                    let is_inherited = is_same_location || ($kind) & NGX_HTTP_MAIN_CONF != 0;
                    if self.$field.is_none() && is_inherited {
                        self.$field.clone_from(&outer.$field);
                    }
                })*
            }

            /// The settings, with defaults for what is not written anywhere.
            pub(super) fn resolve(&self) -> Settings {
                Settings { $($(#[cfg($cfg)])? $field: $resolve(self.$field.clone()),)* }
            }
        }

        /// All directives.
        pub(crate) const ALL: &[Directive] = &[
            $($(#[cfg($cfg)])? Directive {
                name: $name,
                kind: $kind,
                set: |written, conf, main| {
                    if written.$field.is_some() {
                        return Err(DirectiveError::Duplicate);
                    }
                    written.$field = Some($read(conf, main)?);
                    Ok(())
                },
            },)*
            $($(#[cfg($repeated_cfg)])? Directive {
                name: $repeated_name,
                kind: $repeated_kind,
                set: |_, conf, main| $repeated_read(conf, main),
            },)*
        ];
    };
}

directives! {
    /// `xspace_download uri | off;`
    download: Switch<Rc<Download>> => Option<Rc<Download>> = Switch::in_effect,
        (c"xspace_download", LOCATION | NGX_CONF_TAKE1, download);

    /// `xspace_id value;` By default what follows the location's prefix in the URI.
    id: ComplexValue => Option<ComplexValue> = identity,
        (c"xspace_id", LOCATION | NGX_CONF_TAKE1,
         |conf, _| value(conf, "cycle while evaluating \"xspace_id\""));

    /// `xspace_format value;` By default `$arg_format`.
    format: ComplexValue => Option<ComplexValue> = identity,
        (c"xspace_format", ANYWHERE | NGX_CONF_TAKE1,
         |conf, _| value(conf, "cycle while evaluating \"xspace_format\""));

    /// `xspace_attachment value;` By default `$arg_attachment`.
    attachment: ComplexValue => Option<ComplexValue> = identity,
        (c"xspace_attachment", ANYWHERE | NGX_CONF_TAKE1,
         |conf, _| value_of(
             "xspace_disposition", conf, "cycle while evaluating \"xspace_attachment\""));

    /// `xspace_formats ext[=type] …;` By default those of [`Formats::default`].
    formats: Arc<Formats> => Arc<Formats> = or_default_formats,
        (c"xspace_formats", ANYWHERE | NGX_CONF_1MORE, formats);

    /// `xspace_min_size size;` In bytes, by default 0.
    min_size: u64 => u64 = Option::unwrap_or_default,
        (c"xspace_min_size", ANYWHERE | NGX_CONF_TAKE1, size);

    /// `xspace_directory path | off;` By default that of the target's location.
    directory: Directory => Directory = Option::unwrap_or_default,
        (c"xspace_directory", ANYWHERE | NGX_CONF_TAKE1, directory);

    /// `xspace_filename value;` By default made of title, id and extension.
    filename: ComplexValue => Option<ComplexValue> = identity,
        (c"xspace_filename", ANYWHERE | NGX_CONF_TAKE1,
         |conf, _| value_of(
             "xspace_filename", conf, "cycle while evaluating \"xspace_filename\""));

    /// `xspace_catalog path [refresh=time|off] [only] [optional] | lmdb:path [only] [optional] | off;`
    catalog: Switch<CatalogSetting> => Option<CatalogSetting> = Switch::in_effect,
        (c"xspace_catalog", ANYWHERE | NGX_CONF_TAKE123 | NGX_CONF_TAKE4, catalog);

    /// `xspace_lookup uri | off;`
    lookup: Switch<Rc<LookupSetting>> => Option<Rc<LookupSetting>> = Switch::in_effect,
        (c"xspace_lookup", ANYWHERE | NGX_CONF_TAKE1, lookup);

    /// `xspace_pass_args on | off;` By default off.
    pass_args: bool => bool = Option::unwrap_or_default,
        (c"xspace_pass_args", ANYWHERE | NGX_CONF_TAKE1, flag);

    /// `xspace_link value | off;`
    #[cfg(feature = "links")]
    link: Switch<Rc<links::LinkSetting>> => Option<Rc<links::LinkSetting>> = Switch::in_effect,
        (c"xspace_link", ANYWHERE | NGX_CONF_TAKE1, links::link);

    /// `xspace_link_keys file;`
    #[cfg(feature = "links")]
    link_keys: Rc<Keys> => Option<Rc<Keys>> = identity,
        (c"xspace_link_keys", ANYWHERE | NGX_CONF_TAKE1, links::keys);

    /// `xspace_link_session time [max=time] [samesite=lax|none] [secure=auto|on] [partitioned] | off;`
    #[cfg(feature = "links")]
    link_session: Switch<Rc<links::SessionSetting>> => Option<Rc<links::SessionSetting>>
        = Switch::in_effect,
        (c"xspace_link_session", ANYWHERE | NGX_CONF_1MORE, links::session);

    /// `xspace_link_address on | off;` By default off.
    #[cfg(feature = "links")]
    link_address: bool => bool = Option::unwrap_or_default,
        (c"xspace_link_address", ANYWHERE | NGX_CONF_TAKE1, flag);

    /// `xspace_stats name | off;`
    #[cfg(feature = "plays")]
    stats: Switch<Rc<StatsZone>> => Option<Rc<StatsZone>> = Switch::in_effect,
        (c"xspace_stats", ANYWHERE | NGX_CONF_TAKE1, plays::directives::stats);

    /// `xspace_listener value;` By default address and User-Agent of the client.
    #[cfg(feature = "plays")]
    listener: ComplexValue => Option<ComplexValue> = identity,
        (c"xspace_listener", ANYWHERE | NGX_CONF_TAKE1,
         |conf, _| value(conf, "cycle while evaluating \"xspace_listener\""));

    /// `xspace_play [time=time] [bytes=size] [window=time] [if=value];`
    #[cfg(feature = "plays")]
    play: PlaySetting => PlaySetting = Option::unwrap_or_default,
        (c"xspace_play", ANYWHERE | NGX_CONF_TAKE123 | NGX_CONF_TAKE4, plays::directives::play);

    /// `xspace_status json | prometheus [zone=name];`
    #[cfg(feature = "plays")]
    status: Rc<StatusSetting> => Option<Rc<StatusSetting>> = identity,
        (c"xspace_status", LOCATION | NGX_CONF_TAKE12, plays::directives::status);

    /// `xspace_s3 bucket=name region=name credentials=file [profile=name] [style=path|virtual]
    /// [endpoint-host=name[:port]];`
    #[cfg(feature = "s3")]
    s3: Rc<s3::Store> => Option<Rc<s3::Store>> = identity,
        (c"xspace_s3", LOCATION | NGX_CONF_1MORE, s3::directives::s3);

    @repeated
    /// `xspace_stats_zone name:size [listeners=number] [state=path] [save=time];`
    #[cfg(feature = "plays")]
    (c"xspace_stats_zone", NGX_HTTP_MAIN_CONF | NGX_CONF_TAKE123 | NGX_CONF_TAKE4, plays::directives::zone);
}

/// `invalid <what> "<argument>" in "<directive>"<why>`.
pub(crate) fn invalid(what: &str, conf: &Conf<'_>, why: &str) -> DirectiveError {
    let (directive, argument) = (Text(conf.argument(0)), Text(conf.argument(1)));
    DirectiveError::Invalid(format!("invalid {what} \"{argument}\" in \"{directive}\"{why}"))
}

/// `invalid parameter "<parameter>" in "<directive>"`.
pub(crate) fn invalid_parameter(parameter: &[u8], conf: &Conf<'_>) -> DirectiveError {
    let (directive, parameter) = (Text(conf.argument(0)), Text(parameter));
    DirectiveError::Invalid(format!("invalid parameter \"{parameter}\" in \"{directive}\""))
}

/// A value with variables. `cycle` is the failure of an evaluation that they lead back to.
pub(crate) fn value(conf: &Conf<'_>, cycle: &'static str) -> Result<ComplexValue, DirectiveError> {
    ComplexValue::compile(conf, conf.argument(1), Failure(cycle)).ok_or(DirectiveError::Logged)
}

/// The same for a directive that the variable `$name` is made from.
fn value_of(
    name: &str,
    conf: &Conf<'_>,
    cycle: &'static str,
) -> Result<ComplexValue, DirectiveError> {
    let value = value(conf, cycle)?;
    if value.names(conf, name) {
        return Err(invalid("value", conf, &format!(": it refers to itself through \"${name}\"")));
    }
    Ok(value)
}

fn size(conf: &Conf<'_>, _: &MainConf) -> Result<u64, DirectiveError> {
    Conf::parse_size(conf.argument(1)).ok_or_else(|| invalid("value", conf, ""))
}

fn flag(conf: &Conf<'_>, _: &MainConf) -> Result<bool, DirectiveError> {
    let must = " directive, it must be \"on\" or \"off\"";
    Conf::parse_flag(conf.argument(1)).ok_or_else(|| invalid("value", conf, must))
}

/// A path, without variables.
pub(crate) fn path(conf: &Conf<'_>) -> Result<&'static [u8], DirectiveError> {
    match conf.argument(1) {
        [] => Err(invalid("path", conf, ": it is empty")),
        path if path.contains(&b'$') => Err(invalid("path", conf, NO_VARIABLES)),
        path => Ok(path),
    }
}

const NO_VARIABLES: &str = ": variables are not supported";

fn download(conf: &Conf<'_>, main: &MainConf) -> Result<Switch<Rc<Download>>, DirectiveError> {
    let target = conf.argument(1);
    if target == b"off" {
        return Ok(Switch::Off);
    }
    if !(target.starts_with(b"/") && target.ends_with(b"/")) {
        return Err(invalid("target", conf, ": it must begin and end with \"/\""));
    }
    if target.contains(&b'$') {
        return Err(invalid("target", conf, NO_VARIABLES));
    }
    // Both exist in the directive's context.
    let both = conf.location().zip(conf.server());
    let (location, server) = both.ok_or(Failure("no location or server"))?;
    let position = conf.position();
    let (routes, blocks) = Default::default();
    let download = Rc::new(Download { target, location, server, position, routes, blocks });
    main.downloads.borrow_mut().push(Rc::clone(&download));
    Ok(Switch::On(download))
}

/// One list for all blocks: nginx makes a configuration for each location of a site, and most have
/// nothing to do with the module.
fn or_default_formats(written: Option<Arc<Formats>>) -> Arc<Formats> {
    static DEFAULT: LazyLock<Arc<Formats>> = LazyLock::new(Arc::default);
    written.unwrap_or_else(|| Arc::clone(&DEFAULT))
}

fn formats(conf: &Conf<'_>, _: &MainConf) -> Result<Arc<Formats>, DirectiveError> {
    let words = conf.arguments().map(|word| {
        str::from_utf8(word)
            .map_err(|_| DirectiveError::Invalid(format!("invalid format \"{}\"", Text(word))))
    });
    Ok(Arc::new(Formats::parse(words.collect::<Result<Vec<_>, _>>()?)?))
}

fn directory(conf: &Conf<'_>, _: &MainConf) -> Result<Directory, DirectiveError> {
    if conf.argument(1) == b"off" {
        return Ok(Directory::Off(conf.position()));
    }
    let path = path(conf)?;
    let slash: &[u8] = if path.ends_with(b"/") { b"" } else { b"/" };
    Ok(Directory::Path(conf.full_path(&[path, slash].concat(), PathBase::Prefix)?))
}

fn lookup(conf: &Conf<'_>, _: &MainConf) -> Result<Switch<Rc<LookupSetting>>, DirectiveError> {
    let uri = conf.argument(1);
    let why = if uri == b"off" {
        return Ok(Switch::Off);
    } else if !uri.starts_with(b"/") {
        ": it must begin with \"/\""
    } else if uri.contains(&b'$') {
        NO_VARIABLES
    } else if uri.contains(&b'?') {
        ": arguments are set by the module"
    } else {
        let (position, subrequest) = (conf.position(), OnceCell::new());
        return Ok(Switch::On(Rc::new(LookupSetting { uri, position, subrequest })));
    };
    Err(invalid("URI", conf, why))
}

fn catalog(conf: &Conf<'_>, main: &MainConf) -> Result<Switch<CatalogSetting>, DirectiveError> {
    if conf.argument(1) == b"off" && conf.arguments().count() == 1 {
        return Ok(Switch::Off);
    }
    let path = path(conf)?;
    if path.starts_with(b"lmdb:") {
        #[cfg(feature = "lmdb")]
        return lmdb::catalog(conf, main, path).map(Switch::On);
        #[cfg(not(feature = "lmdb"))]
        return Err(invalid("path", conf, ": the module was built without LMDB"));
    }
    let (mut refresh, mut only, mut optional) = (None, false, false);
    for parameter in conf.arguments().skip(1) {
        let is_valid = match parameter {
            b"only" => !mem::replace(&mut only, true),
            b"optional" => !mem::replace(&mut optional, true),
            b"refresh=off" => refresh.replace(Switch::Off).is_none(),
            _ => interval(parameter)
                .is_some_and(|interval| refresh.replace(Switch::On(interval)).is_none()),
        };
        if !is_valid {
            return Err(invalid_parameter(parameter, conf));
        }
    }
    let refresh = refresh.unwrap_or(Switch::On(DEFAULT_REFRESH)).on();
    let path = conf.full_path(path, PathBase::Configuration)?;
    let file = catalog_file(conf, main, path, refresh, optional)?;
    Ok(Switch::On(CatalogSetting { source: CatalogSource::File(file), only }))
}

/// The time of a parameter `refresh=time`.
fn interval(parameter: &[u8]) -> Option<Duration> {
    let time = parameter.strip_prefix(b"refresh=")?;
    Conf::parse_time(time).filter(|&ms| ms > 0).map(Duration::from_millis)
}

/// The file at `path`: that of an earlier directive, or a new one.
fn catalog_file(
    conf: &Conf<'_>,
    main: &MainConf,
    path: &'static [u8],
    refresh: Option<Duration>,
    optional: bool,
) -> Result<Rc<CatalogFile>, DirectiveError> {
    let shown = Text(path);
    if optional && refresh.is_none() {
        return Err(DirectiveError::Invalid(format!(
            "catalog \"{shown}\" cannot be \"optional\" with \"refresh=off\""
        )));
    }
    let mut files = main.catalogs.borrow_mut();
    if let Some(file) = files.iter().find(|file| file.has_path(path)) {
        let parameter = match (file.refresh == refresh, file.optional == optional) {
            (true, true) => return Ok(Rc::clone(file)),
            (false, _) => "refresh",
            (true, false) => "optional",
        };
        return Err(conflict(parameter, shown, &file.position));
    }
    let threads = match refresh {
        Some(_) => threads(conf, main)?,
        None => None,
    };
    let file = Rc::new(CatalogFile::new(path, refresh, optional, conf.position(), threads));
    #[cfg(feature = "plays")]
    main.healths.borrow_mut().push(Rc::clone(&file.health));
    files.push(Rc::clone(&file));
    Ok(file)
}

/// `conflicting "<parameter>" for catalog "<catalog>", first set in <position>`.
pub(crate) fn conflict(
    parameter: &str,
    catalog: impl fmt::Display,
    position: &ConfPosition,
) -> DirectiveError {
    DirectiveError::Invalid(format!(
        "conflicting \"{parameter}\" for catalog \"{catalog}\", first set in {position}"
    ))
}

/// The threads that read catalogs again.
fn threads(conf: &Conf<'_>, main: &MainConf) -> Result<Option<ThreadPool>, Failure> {
    if let Some(threads) = main.threads.get() {
        return Ok(*threads);
    }
    let threads = ThreadPool::find(conf)?;
    Ok(*main.threads.get_or_init(|| threads))
}

impl From<Failure> for DirectiveError {
    fn from(failure: Failure) -> Self {
        Self::Invalid(failure.to_string())
    }
}

impl From<FormatError> for DirectiveError {
    fn from(error: FormatError) -> Self {
        Self::Invalid(error.to_string())
    }
}

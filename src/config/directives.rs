//! Reads the arguments of the module's directives.
//!
//! Each function sets what one directive says in a location's configuration. The table that names
//! the directives and where they may stand is in `entry.rs`.

#![forbid(unsafe_code)]

use core::cell::{OnceCell, RefCell};
use core::str;
use core::time::Duration;
use std::rc::Rc;

use model::format::{FormatError, Formats};

use crate::catalog::{CatalogFile, DEFAULT_REFRESH};
use crate::config::{
    CatalogSetting, Directory, Download, LocationConf, LookupSetting, MainConf, Switch,
};
use crate::nginx::Failure;
use crate::nginx::configuration::{Conf, PathBase};
use crate::nginx::log::Text;
use crate::nginx::threads::ThreadPool;
use crate::nginx::value::{ComplexValue, NotCompiled};

/// Why a directive is not accepted.
pub(crate) enum DirectiveError {
    /// It stands there for the second time.
    Duplicate,
    /// A message for the user, who is told the place as well.
    Invalid(String),
    /// nginx has already written why.
    Logged,
}

impl From<NotCompiled> for DirectiveError {
    fn from(_: NotCompiled) -> Self {
        Self::Logged
    }
}

impl From<Failure> for DirectiveError {
    fn from(_: Failure) -> Self {
        Self::Logged
    }
}

impl From<FormatError> for DirectiveError {
    fn from(error: FormatError) -> Self {
        Self::Invalid(error.to_string())
    }
}

type DirectiveResult = Result<(), DirectiveError>;

fn set<T>(field: &mut Option<T>, value: T) -> DirectiveResult {
    match field {
        Some(_) => Err(DirectiveError::Duplicate),
        None => {
            *field = Some(value);
            Ok(())
        }
    }
}

/// Sets a value that may hold variables. `circle` is what its evaluation fails with where they lead
/// back to it.
fn set_value(
    field: &mut Option<ComplexValue>,
    conf: &Conf<'_>,
    circle: &'static str,
) -> DirectiveResult {
    match field {
        Some(_) => Err(DirectiveError::Duplicate),
        None => set(field, ComplexValue::compile(conf, 1, Failure(circle))?),
    }
}

/// The same for a directive that this variable is made of.
fn set_value_of(
    variable: &str,
    field: &mut Option<ComplexValue>,
    conf: &Conf<'_>,
    circle: &'static str,
) -> DirectiveResult {
    set_value(field, conf, circle)?;
    if field.is_some_and(|value| value.names(conf, variable)) {
        let (directive, value) = (Text(conf.argument(0)), Text(conf.argument(1)));
        return Err(DirectiveError::Invalid(format!(
            "invalid value \"{value}\" in \"{directive}\": it refers to itself through \"${variable}\""
        )));
    }
    Ok(())
}

/// `xspace_download uri | off;`
pub(crate) fn download(
    lcf: &mut LocationConf,
    main: &MainConf,
    conf: &Conf<'_>,
) -> DirectiveResult {
    if lcf.download.is_some() {
        return Err(DirectiveError::Duplicate);
    }
    let target = conf.argument(1);
    if target == b"off" {
        return set(&mut lcf.download, Switch::Off);
    }

    let well_formed = target.starts_with(b"/") && target.ends_with(b"/");
    if !well_formed || target.contains(&b'$') {
        let why = if well_formed {
            "variables are not supported"
        } else {
            "it must begin and end with \"/\""
        };
        let target = Text(target);
        return Err(DirectiveError::Invalid(format!(
            "invalid target \"{target}\" in \"xspace_download\": {why}"
        )));
    }

    // Both are there in a location, and the directive stands nowhere else.
    let (Some(location), Some(server)) = (conf.location(), conf.server()) else {
        return Err(DirectiveError::Invalid("\"xspace_download\" outside of a location".into()));
    };
    let download = Rc::new(Download {
        target: target.to_vec(),
        location,
        server,
        place: conf.place(),
        routes: OnceCell::new(),
        blocks: RefCell::default(),
    });
    main.downloads.borrow_mut().push(Rc::clone(&download));
    set(&mut lcf.download, Switch::On(download))
}

/// `xspace_id value;`
pub(crate) fn id(lcf: &mut LocationConf, _: &MainConf, conf: &Conf<'_>) -> DirectiveResult {
    set_value(&mut lcf.id, conf, "\"xspace_id\" refers to itself")
}

/// `xspace_format value;`
pub(crate) fn format(lcf: &mut LocationConf, _: &MainConf, conf: &Conf<'_>) -> DirectiveResult {
    set_value(&mut lcf.format, conf, "\"xspace_format\" refers to itself")
}

/// `xspace_attachment value;`
pub(crate) fn attachment(lcf: &mut LocationConf, _: &MainConf, conf: &Conf<'_>) -> DirectiveResult {
    let circle = "\"xspace_attachment\" refers to itself";
    set_value_of("xspace_disposition", &mut lcf.attachment, conf, circle)
}

/// `xspace_filename value;`
pub(crate) fn filename(lcf: &mut LocationConf, _: &MainConf, conf: &Conf<'_>) -> DirectiveResult {
    let circle = "\"xspace_filename\" refers to itself";
    set_value_of("xspace_filename", &mut lcf.filename, conf, circle)
}

/// `xspace_formats ext[=type] …;`
pub(crate) fn formats(lcf: &mut LocationConf, _: &MainConf, conf: &Conf<'_>) -> DirectiveResult {
    if lcf.formats.is_some() {
        return Err(DirectiveError::Duplicate);
    }
    let words: Result<Vec<&str>, DirectiveError> = conf
        .arguments()
        .map(|word| {
            str::from_utf8(word)
                .map_err(|_| DirectiveError::Invalid(format!("invalid format \"{}\"", Text(word))))
        })
        .collect();
    set(&mut lcf.formats, Rc::new(Formats::parse(words?)?))
}

/// `xspace_min_size size;`
pub(crate) fn min_size(lcf: &mut LocationConf, _: &MainConf, conf: &Conf<'_>) -> DirectiveResult {
    let value = conf.argument(1);
    match Conf::parse_size(value) {
        Some(size) => set(&mut lcf.min_size, size),
        None => Err(DirectiveError::Invalid(format!(
            "invalid size \"{}\" in \"xspace_min_size\"",
            Text(value)
        ))),
    }
}

/// `xspace_pass_args on | off;`
pub(crate) fn pass_args(lcf: &mut LocationConf, _: &MainConf, conf: &Conf<'_>) -> DirectiveResult {
    let value = conf.argument(1);
    match Conf::parse_flag(value) {
        Some(flag) => set(&mut lcf.pass_args, flag),
        None => Err(DirectiveError::Invalid(format!(
            "invalid value \"{}\" in \"xspace_pass_args\" directive, it must be \"on\" or \"off\"",
            Text(value)
        ))),
    }
}

/// `xspace_directory path | off;`
pub(crate) fn directory(lcf: &mut LocationConf, _: &MainConf, conf: &Conf<'_>) -> DirectiveResult {
    let path = conf.argument(1);
    if path == b"off" {
        return set(&mut lcf.directory, Directory::Off(conf.place()));
    }
    if path.is_empty() || path.contains(&b'$') {
        let why = if path.is_empty() { "it is empty" } else { "variables are not supported" };
        return Err(DirectiveError::Invalid(format!(
            "invalid path \"{}\" in \"xspace_directory\": {why}",
            Text(path)
        )));
    }
    let mut path = path.to_vec();
    if !path.ends_with(b"/") {
        path.push(b'/');
    }
    set(&mut lcf.directory, Directory::Path(conf.full_path(&path, PathBase::Prefix)?))
}

/// `xspace_catalog path [refresh=time|off] [only] [optional] | off;`
pub(crate) fn catalog(lcf: &mut LocationConf, main: &MainConf, conf: &Conf<'_>) -> DirectiveResult {
    if lcf.catalog.is_some() {
        return Err(DirectiveError::Duplicate);
    }
    let path = conf.argument(1);
    if path == b"off" && conf.arguments().count() == 1 {
        return set(&mut lcf.catalog, Switch::Off);
    }
    if path.is_empty() || path.contains(&b'$') {
        let why = if path.is_empty() { "it is empty" } else { "variables are not supported" };
        return Err(DirectiveError::Invalid(format!(
            "invalid path \"{}\" in \"xspace_catalog\": {why}",
            Text(path)
        )));
    }

    let (mut refresh, mut only, mut optional) = (None, false, false);
    for argument in conf.arguments().skip(1) {
        let invalid = || {
            let argument = Text(argument);
            DirectiveError::Invalid(format!(
                "invalid parameter \"{argument}\" in \"xspace_catalog\""
            ))
        };
        match argument.strip_prefix(b"refresh=") {
            Some(_) if refresh.is_some() => return Err(invalid()),
            Some(b"off") => refresh = Some(None),
            Some(time) => {
                let milliseconds = Conf::parse_time(time).filter(|&ms| ms > 0);
                refresh = Some(Some(Duration::from_millis(milliseconds.ok_or_else(invalid)?)));
            }
            None if argument == b"only" && !only => only = true,
            None if argument == b"optional" && !optional => optional = true,
            None => return Err(invalid()),
        }
    }

    let path = conf.full_path(path, PathBase::Configuration)?;
    let refresh = refresh.unwrap_or(Some(DEFAULT_REFRESH));
    if optional && refresh.is_none() {
        return Err(DirectiveError::Invalid(format!(
            "catalog \"{}\" cannot be \"optional\": with \"refresh=off\" it is not read again",
            Text(path)
        )));
    }
    let source = source(main, conf, path, refresh, optional)?;
    set(&mut lcf.catalog, Switch::On(CatalogSetting { source, only }))
}

/// `xspace_lookup uri | off;`
pub(crate) fn lookup(lcf: &mut LocationConf, _: &MainConf, conf: &Conf<'_>) -> DirectiveResult {
    if lcf.lookup.is_some() {
        return Err(DirectiveError::Duplicate);
    }
    let uri = conf.argument(1);
    if uri == b"off" {
        return set(&mut lcf.lookup, Switch::Off);
    }
    let why = if !uri.starts_with(b"/") {
        "it must begin with \"/\""
    } else if uri.contains(&b'$') {
        "variables are not supported"
    } else if uri.contains(&b'?') {
        "the module makes its arguments"
    } else {
        let lookup = LookupSetting { uri, place: conf.place(), request_id: OnceCell::new() };
        return set(&mut lcf.lookup, Switch::On(Rc::new(lookup)));
    };
    let uri = Text(uri);
    Err(DirectiveError::Invalid(format!("invalid URI \"{uri}\" in \"xspace_lookup\": {why}")))
}

/// The source of a catalog's file: the one that another directive has made, or a new one.
fn source(
    main: &MainConf,
    conf: &Conf<'_>,
    path: &'static [u8],
    refresh: Option<Duration>,
    optional: bool,
) -> Result<Rc<CatalogFile>, DirectiveError> {
    let mut catalogs = main.catalogs.borrow_mut();
    if let Some(source) = catalogs.iter().find(|source| source.has_path(path)) {
        if source.refresh != refresh {
            return Err(DirectiveError::Invalid(format!(
                "another \"refresh\" for catalog \"{}\" than in {}",
                Text(path),
                source.place
            )));
        }
        if source.optional != optional {
            return Err(DirectiveError::Invalid(format!(
                "\"optional\" for catalog \"{}\" in one place only, not as in {}",
                Text(path),
                source.place
            )));
        }
        return Ok(Rc::clone(source));
    }
    let threads = match refresh {
        Some(_) => threads(main, conf)?,
        None => None,
    };
    let source = Rc::new(CatalogFile::new(path, refresh, optional, conf.place(), threads));
    catalogs.push(Rc::clone(&source));
    Ok(source)
}

/// Where catalogs are read again.
fn threads(main: &MainConf, conf: &Conf<'_>) -> Result<Option<ThreadPool>, DirectiveError> {
    if let Some(threads) = main.threads.get() {
        return Ok(*threads);
    }
    let threads = ThreadPool::find(conf)?;
    Ok(*main.threads.get_or_init(|| threads))
}

//! Reads the arguments of the module's directives.
//!
//! Each function sets what one directive says in a location's configuration. The table that names
//! the directives and where they may stand is in `entry.rs`.

#![forbid(unsafe_code)]

use core::cell::OnceCell;
use core::str;
use std::rc::Rc;

use model::format::{FormatError, Formats};

use crate::config::{Directory, Download, LocationConf, MainConf, Switch};
use crate::nginx::Failure;
use crate::nginx::configuration::Conf;
use crate::nginx::log::Text;
use crate::nginx::value::{ComplexValue, NotCompiled};

/// Why a directive is not accepted.
pub(crate) enum Refusal {
    /// It stands there for the second time.
    Duplicate,
    /// A message for the user, who is told the place as well.
    Invalid(String),
    /// nginx has already written why.
    Logged,
}

impl From<NotCompiled> for Refusal {
    fn from(_: NotCompiled) -> Self {
        Self::Logged
    }
}

impl From<Failure> for Refusal {
    fn from(_: Failure) -> Self {
        Self::Logged
    }
}

impl From<FormatError> for Refusal {
    fn from(error: FormatError) -> Self {
        Self::Invalid(error.to_string())
    }
}

type Outcome = Result<(), Refusal>;

fn set<T>(field: &mut Option<T>, value: T) -> Outcome {
    match field {
        Some(_) => Err(Refusal::Duplicate),
        None => {
            *field = Some(value);
            Ok(())
        }
    }
}

fn set_value(field: &mut Option<ComplexValue>, conf: &Conf<'_>) -> Outcome {
    match field {
        Some(_) => Err(Refusal::Duplicate),
        None => set(field, ComplexValue::compile(conf, 1)?),
    }
}

/// `xspace_download uri | off;`
pub(crate) fn download(lcf: &mut LocationConf, main: &MainConf, conf: &Conf<'_>) -> Outcome {
    if lcf.download.is_some() {
        return Err(Refusal::Duplicate);
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
        return Err(Refusal::Invalid(format!(
            "invalid target \"{target}\" in \"xspace_download\": {why}"
        )));
    }

    // Both are there in a location, and the directive stands nowhere else.
    let (Some(location), Some(server)) = (conf.location(), conf.server()) else {
        return Err(Refusal::Invalid("\"xspace_download\" outside of a location".into()));
    };
    let download = Rc::new(Download {
        target: target.to_vec(),
        location,
        server,
        place: conf.place(),
        routes: OnceCell::new(),
    });
    main.downloads.borrow_mut().push(Rc::clone(&download));
    set(&mut lcf.download, Switch::On(download))
}

/// `xspace_id value;`
pub(crate) fn id(lcf: &mut LocationConf, _: &MainConf, conf: &Conf<'_>) -> Outcome {
    set_value(&mut lcf.id, conf)
}

/// `xspace_format value;`
pub(crate) fn format(lcf: &mut LocationConf, _: &MainConf, conf: &Conf<'_>) -> Outcome {
    set_value(&mut lcf.format, conf)
}

/// `xspace_attachment value;`
pub(crate) fn attachment(lcf: &mut LocationConf, _: &MainConf, conf: &Conf<'_>) -> Outcome {
    set_value(&mut lcf.attachment, conf)
}

/// `xspace_filename value;`
pub(crate) fn filename(lcf: &mut LocationConf, _: &MainConf, conf: &Conf<'_>) -> Outcome {
    set_value(&mut lcf.filename, conf)
}

/// `xspace_formats ext[=type] …;`
pub(crate) fn formats(lcf: &mut LocationConf, _: &MainConf, conf: &Conf<'_>) -> Outcome {
    if lcf.formats.is_some() {
        return Err(Refusal::Duplicate);
    }
    let words: Result<Vec<&str>, Refusal> = conf
        .arguments()
        .map(|word| {
            str::from_utf8(word)
                .map_err(|_| Refusal::Invalid(format!("invalid format \"{}\"", Text(word))))
        })
        .collect();
    set(&mut lcf.formats, Rc::new(Formats::parse(words?)?))
}

/// `xspace_min_size size;`
pub(crate) fn min_size(lcf: &mut LocationConf, _: &MainConf, conf: &Conf<'_>) -> Outcome {
    let value = conf.argument(1);
    match Conf::parse_size(value) {
        Some(size) => set(&mut lcf.min_size, size),
        None => Err(Refusal::Invalid(format!(
            "invalid size \"{}\" in \"xspace_min_size\"",
            Text(value)
        ))),
    }
}

/// `xspace_directory path | off;`
pub(crate) fn directory(lcf: &mut LocationConf, _: &MainConf, conf: &Conf<'_>) -> Outcome {
    let path = conf.argument(1);
    if path == b"off" {
        return set(&mut lcf.directory, Directory::Off(conf.place()));
    }
    if path.is_empty() || path.contains(&b'$') {
        let why = if path.is_empty() { "it is empty" } else { "variables are not supported" };
        return Err(Refusal::Invalid(format!(
            "invalid path \"{}\" in \"xspace_directory\": {why}",
            Text(path)
        )));
    }
    let mut path = path.to_vec();
    if !path.ends_with(b"/") {
        path.push(b'/');
    }
    set(&mut lcf.directory, Directory::Path(conf.full_path(&path)?))
}

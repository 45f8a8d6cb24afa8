//! The directives of links, and the file of keys.

#![forbid(unsafe_code)]

use core::cell::{Cell, RefCell};
use core::{mem, str};
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::rc::Rc;

use model::links::{Keys, SameSite, SessionRules};

use crate::config::directives::{DirectiveError, invalid, invalid_parameter, path, value};
use crate::config::{MainConf, Switch};
use crate::nginx::Failure;
use crate::nginx::configuration::{Conf, ConfPosition, PathBase};
use crate::nginx::location::Location;
use crate::nginx::log::{Errno, Level, Text};
use crate::nginx::request::Request;
use crate::nginx::value::ComplexValue;

/// What the directives of all blocks have set.
#[derive(Debug, Default)]
pub(crate) struct LinksConf {
    pub(super) links: RefCell<Vec<Rc<LinkSetting>>>,
    pub(super) sessions: RefCell<Vec<Rc<SessionSetting>>>,
    /// The files of keys that were read, by their path.
    keys: RefCell<Vec<(&'static [u8], Rc<Keys>)>>,
}

impl LinksConf {
    /// Finds the links whose token is an argument, when all of the configuration is read. `is_argument`
    /// tells whether a variable `arg_…` is one.
    pub(crate) fn find_arguments(&self, is_argument: impl Fn(&[u8]) -> bool) {
        for link in self.links.borrow().iter() {
            // What is no name of a variable, such as `$arg_a$arg_b`, is not found among them.
            let text = str::from_utf8(link.text).ok().and_then(|text| text.strip_prefix('$'));
            let name = text.map(|text| {
                text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap_or(text)
            });
            let argument = name.filter(|name| is_argument(name.as_bytes()));
            let argument = argument.and_then(|name| name.strip_prefix("arg_"));
            link.argument.set(argument.filter(|argument| !argument.is_empty()));
        }
    }
}

/// An `xspace_link` that is on.
#[derive(Debug)]
pub(crate) struct LinkSetting {
    token: ComplexValue,
    text: &'static [u8],
    /// The argument that the token is.
    argument: Cell<Option<&'static str>>,
    pub(super) position: ConfPosition,
    /// The location of the directive, if it is in one.
    pub(super) location: Option<Location>,
}

impl LinkSetting {
    /// The token of a request. An argument is read without nginx's variable, which takes some 700
    /// instructions more.
    pub(super) fn token<'r>(&self, request: &Request<'r>) -> Result<&'r [u8], Failure> {
        match self.argument.get() {
            Some(name) => Ok(request.argument(name).unwrap_or_default()),
            None => self.token.evaluate(request),
        }
    }
}

/// An `xspace_link_session` that is on.
#[derive(Debug)]
pub(crate) struct SessionSetting {
    pub(super) rules: SessionRules,
    pub(super) same_site: SameSite,
    /// Whether the cookie is `Secure` without TLS too.
    pub(super) is_secure: bool,
    pub(super) is_partitioned: bool,
    pub(super) position: ConfPosition,
}

/// How long a session lasts in all, unless the directive says it.
const DEFAULT_MAX: u64 = 24 * 60 * 60;

/// The longest file of keys, in bytes.
const MAX_FILE_LEN: usize = 64 * 1024;

/// `xspace_link value | off;`
pub(crate) fn link(
    conf: &Conf<'_>,
    main: &MainConf,
) -> Result<Switch<Rc<LinkSetting>>, DirectiveError> {
    if conf.argument(1) == b"off" {
        return Ok(Switch::Off);
    }
    let token = value(conf, "cycle while evaluating \"xspace_link\"")?;
    let location = conf.location().filter(|_| conf.is_in_location());
    let link = Rc::new(LinkSetting {
        token,
        text: conf.argument(1),
        argument: Cell::default(),
        position: conf.position(),
        location,
    });
    main.links.links.borrow_mut().push(Rc::clone(&link));
    Ok(Switch::On(link))
}

/// `xspace_link_keys file;`
pub(crate) fn keys(conf: &Conf<'_>, main: &MainConf) -> Result<Rc<Keys>, DirectiveError> {
    let path = conf.full_path(path(conf)?, PathBase::Configuration)?;
    let mut known = main.links.keys.borrow_mut();
    if let Some((_, keys)) = known.iter().find(|(known, _)| *known == path) {
        return Ok(Rc::clone(keys));
    }
    let keys = Rc::new(read_keys(conf, path)?);
    known.push((path, Rc::clone(&keys)));
    Ok(keys)
}

fn read_keys(conf: &Conf<'_>, path: &[u8]) -> Result<Keys, DirectiveError> {
    let shown = Text(path);
    let failed = |call: &'static str| {
        move |error: std::io::Error| {
            let error = Errno(&error);
            DirectiveError::Invalid(format!("{call}() \"{}\" failed ({error})", Text(path)))
        }
    };
    let file = File::open(OsStr::from_bytes(path)).map_err(failed("open"))?;
    let mode = file.metadata().map_err(failed("fstat"))?.permissions().mode();
    let mut text = Vec::new();
    let read = file.take(MAX_FILE_LEN as u64 + 1).read_to_end(&mut text);
    read.map_err(failed("read"))?;
    if text.len() > MAX_FILE_LEN {
        return Err(DirectiveError::Invalid(format!(
            "keys file \"{shown}\" is larger than {MAX_FILE_LEN} bytes"
        )));
    }
    let keys = Keys::parse(&text)
        .map_err(|why| DirectiveError::Invalid(format!("invalid keys file \"{shown}\": {why}")))?;
    if mode & 0o004 != 0 {
        conf.position().log(
            conf.log_handle(),
            Level::Warn,
            format_args!("keys file \"{shown}\" can be read by all users"),
        );
    }
    Ok(keys)
}

/// `xspace_link_session time [max=time] [samesite=lax|none] [secure=auto|on] [partitioned] | off;`
pub(crate) fn session(
    conf: &Conf<'_>,
    main: &MainConf,
) -> Result<Switch<Rc<SessionSetting>>, DirectiveError> {
    if conf.argument(1) == b"off" && conf.arguments().count() == 1 {
        return Ok(Switch::Off);
    }
    let positive = |time: &[u8]| Conf::parse_seconds(time).filter(|&time| time > 0);
    let time = positive(conf.argument(1)).ok_or_else(|| invalid("value", conf, ""))?;
    let (mut max, mut same_site, mut secure, mut is_partitioned) = (None, None, None, false);
    for parameter in conf.arguments().skip(1) {
        let is_first = match parameter {
            b"samesite=lax" => same_site.replace(SameSite::Lax).is_none(),
            b"samesite=none" => same_site.replace(SameSite::None).is_none(),
            b"secure=auto" => secure.replace(false).is_none(),
            b"secure=on" => secure.replace(true).is_none(),
            b"partitioned" => !mem::replace(&mut is_partitioned, true),
            _ => parameter
                .strip_prefix(b"max=")
                .and_then(positive)
                .is_some_and(|time| max.replace(time).is_none()),
        };
        if !is_first {
            return Err(invalid_parameter(parameter, conf));
        }
    }
    let max = max.unwrap_or(DEFAULT_MAX);
    if time > max {
        return Err(invalid("value", conf, &format!(": it is longer than \"max\", {max} seconds")));
    }
    let same_site = same_site.unwrap_or(SameSite::Lax);
    let session = Rc::new(SessionSetting {
        rules: SessionRules { time, max },
        same_site,
        // Browsers take such cookies over TLS only.
        is_secure: secure.unwrap_or(false) || same_site == SameSite::None || is_partitioned,
        is_partitioned,
        position: conf.position(),
    });
    main.links.sessions.borrow_mut().push(Rc::clone(&session));
    Ok(Switch::On(session))
}

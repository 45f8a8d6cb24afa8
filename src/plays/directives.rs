//! The directives, and what `nginx -t` checks of them.

#![forbid(unsafe_code)]

use core::cell::OnceCell;
use core::mem;
use core::str;
use std::rc::Rc;

use model::plays::{Layout, MAX_TIME, MAX_WINDOW};

use super::PlaySetting;
use super::state::{MAX_INTERVAL, State};
use super::status::{StatusFormat, StatusSetting};
use super::zone::{Declared, StatsZone};
use crate::config::check::Refused;
use crate::config::directives::{DirectiveError, invalid, invalid_parameter};
use crate::config::{MainConf, Switch};
use crate::module::status_handler;
use crate::nginx::Failure;
use crate::nginx::configuration::{Conf, PathBase};
use crate::nginx::log::{Level, Text};
use crate::nginx::value::ComplexValue;
use crate::nginx::zone::min_size;

/// `xspace_stats_zone name:size [listeners=number] [state=path] [save=time];`
pub(crate) fn zone(conf: &Conf<'_>, main: &MainConf) -> Result<(), DirectiveError> {
    let argument = conf.argument(1);
    let colon = argument.iter().position(|&b| b == b':');
    let (name, size) = match colon.map(|at| argument.split_at(at)) {
        Some((name, [_, size @ ..])) if !name.is_empty() => (name, size),
        _ => return Err(invalid("zone", conf, "")),
    };
    let size = Conf::parse_size(size).and_then(|size| usize::try_from(size).ok());
    let size = size.ok_or_else(|| invalid("zone size", conf, ""))?;
    let (mut listeners, mut state, mut save) = (None, None, None);
    for parameter in conf.arguments().skip(1) {
        let invalid = || invalid_parameter(parameter, conf);
        let at = parameter.iter().position(|&b| b == b'=').ok_or_else(invalid)?;
        let (name, value) = parameter.split_at(at + 1);
        let is_first = match name {
            b"listeners=" => {
                let number = str::from_utf8(value).ok().and_then(|value| value.parse().ok());
                let number: usize = number.filter(|&number| number > 0).ok_or_else(invalid)?;
                listeners.replace(number).is_none()
            }
            b"state=" if !value.is_empty() => {
                state.replace(conf.full_path(value, PathBase::Prefix)?).is_none()
            }
            b"save=" => {
                let time = Conf::parse_time(value).filter(|ms| (1..=MAX_INTERVAL).contains(ms));
                let time = time.and_then(|ms| usize::try_from(ms).ok());
                save.replace(time.ok_or_else(invalid)?).is_none()
            }
            _ => false,
        };
        if !is_first {
            return Err(invalid());
        }
    }
    let state = match (state, save) {
        (None, Some(_)) => return Err(invalid_parameter(b"save=", conf)),
        (path, save) => path.map(|path| State::new(path, save)),
    };
    let layout = match state {
        Some(_) => Layout::with_state,
        None => Layout::new,
    };
    let name_text = Text(name);
    // Some of it is nginx's own: no more than two pages, and what it needs for each page.
    let own = min_size() / 4 + size / 64;
    let words = size.saturating_sub(own) / size_of::<u64>();
    if size < min_size() || layout(words, listeners).is_none() {
        return Err(DirectiveError::Invalid(format!("zone \"{name_text}\" is too small")));
    }
    if let Some(state) = &state {
        let mut others = main.zones.borrow().clone().into_iter();
        if let Some(other) = others.find(|zone| zone.state().is_some_and(|s| s.is_same(state))) {
            return Err(DirectiveError::Invalid(format!(
                "the state file of zone \"{name_text}\" is already used by zone \"{}\"",
                Text(other.name)
            )));
        }
    }
    let zone = named(conf, main, name);
    zone.declared
        .set(Declared { size, listeners, state })
        .map_err(|_| DirectiveError::Invalid(format!("zone \"{name_text}\" is already declared")))
}

/// `xspace_stats name | off;`
pub(crate) fn stats(
    conf: &Conf<'_>,
    main: &MainConf,
) -> Result<Switch<Rc<StatsZone>>, DirectiveError> {
    match conf.argument(1) {
        b"off" => Ok(Switch::Off),
        b"" => Err(invalid("zone", conf, "")),
        name => Ok(Switch::On(named(conf, main, name))),
    }
}

/// The zone of a name, which may be declared later.
fn named(conf: &Conf<'_>, main: &MainConf, name: &'static [u8]) -> Rc<StatsZone> {
    let mut zones = main.zones.borrow_mut();
    if let Some(zone) = zones.iter().find(|zone| zone.name == name) {
        return Rc::clone(zone);
    }
    let zone = Rc::new(StatsZone::new(name, conf.position()));
    zones.push(Rc::clone(&zone));
    zone
}

/// `xspace_play [time=time] [bytes=size] [window=time] [if=value];`
pub(crate) fn play(conf: &Conf<'_>, _: &MainConf) -> Result<PlaySetting, DirectiveError> {
    let mut setting = PlaySetting::default();
    let mut seen = [false; 4];
    for parameter in conf.arguments() {
        let invalid = || invalid_parameter(parameter, conf);
        let at = parameter.iter().position(|&b| b == b'=').ok_or_else(invalid)?;
        let (name, value) = parameter.split_at(at + 1);
        let milliseconds = || Conf::parse_time(value).filter(|&ms| ms > 0);
        let index = match name {
            b"time=" => {
                let time = milliseconds().filter(|&ms| ms <= MAX_TIME.into());
                setting.rule.time = time.ok_or_else(invalid)? as u32;
                0
            }
            b"bytes=" => {
                let size = Conf::parse_size(value).filter(|&size| size > 0);
                setting.rule.minute = size.ok_or_else(invalid)?;
                1
            }
            b"window=" => {
                let seconds = Conf::parse_seconds(value).filter(|&seconds| seconds > 0);
                let seconds = seconds.filter(|&seconds| seconds <= MAX_WINDOW.into());
                setting.rule.window = seconds.ok_or_else(invalid)? as u32;
                2
            }
            b"if=" => {
                let cycle = Failure("cycle while evaluating \"xspace_play\"");
                let compiled = ComplexValue::compile(conf, value, cycle);
                setting.condition = Some(compiled.ok_or(DirectiveError::Logged)?);
                3
            }
            _ => return Err(invalid()),
        };
        if seen.get_mut(index).is_some_and(|seen| mem::replace(seen, true)) {
            return Err(invalid());
        }
    }
    Ok(setting)
}

/// `xspace_status json | prometheus [zone=name];`
pub(crate) fn status(
    conf: &Conf<'_>,
    main: &MainConf,
) -> Result<Rc<StatusSetting>, DirectiveError> {
    let format = match conf.argument(1) {
        b"json" => StatusFormat::Json,
        b"prometheus" => StatusFormat::Prometheus,
        _ => return Err(invalid("format", conf, "")),
    };
    let setting = StatusSetting { format, zone: OnceCell::new(), position: conf.position() };
    for parameter in conf.arguments().skip(1) {
        match parameter.strip_prefix(b"zone=") {
            Some(name) if !name.is_empty() => {
                // There is one parameter at most.
                let _ = setting.zone.set(named(conf, main, name));
            }
            _ => return Err(invalid_parameter(parameter, conf)),
        }
    }
    conf.location().ok_or(Failure("no location"))?.set_content_handler(status_handler);
    let setting = Rc::new(setting);
    main.statuses.borrow_mut().push(Rc::clone(&setting));
    Ok(setting)
}

/// Finds the zones of each `xspace_status`.
fn check_statuses(conf: &Conf<'_>, main: &MainConf) -> Result<(), Refused> {
    let zones = main.zones.borrow();
    for status in main.statuses.borrow().iter() {
        let zone = match (status.zone.get(), zones.as_slice()) {
            (Some(zone), _) => zone,
            (None, [zone]) => status.zone.get_or_init(|| Rc::clone(zone)),
            (None, others) => {
                let message = match others {
                    [] => "\"xspace_status\" requires \"xspace_stats_zone\"",
                    _ => "\"xspace_status\" requires \"zone=\", because there are several zones",
                };
                status.position.log(conf.log_handle(), Level::Emerg, message);
                return Err(Refused);
            }
        };
        zone.set_used();
    }
    Ok(())
}

/// Checks what can be known when all locations are, and notes which zones are used. Returns whether
/// requests are counted.
pub(super) fn check(conf: &Conf<'_>, main: &MainConf) -> Result<bool, Refused> {
    let log = conf.log_handle();
    let zones = main.zones.borrow();
    if let Some(zone) = zones.iter().find(|zone| zone.declared.get().is_none()) {
        let name = Text(zone.name);
        zone.position.log(log, Level::Emerg, format_args!("unknown zone \"{name}\""));
        return Err(Refused);
    }
    check_statuses(conf, main)?;
    let downloads = main.downloads.borrow();
    let mut is_counting = false;
    for download in downloads.iter() {
        let Some(counting) = download.conf().and_then(|lcf| lcf.counting()) else { continue };
        counting.zone.set_used();
        is_counting = true;
        if let Some(target) = download.target_location().filter(|target| !target.has_limit_rate()) {
            download.position().log(
                log,
                Level::Warn,
                format_args!(
                    "target location {target} has no \"limit_rate\": what players fetch in advance \
                     is counted as played"
                ),
            );
        }
    }
    if let (false, Some(download)) = (is_counting, downloads.first()) {
        if conf.variable_index(b"xspace_played").is_some() {
            let message = "\"$xspace_played\" is always empty without \"xspace_stats\"";
            download.position().log(log, Level::Warn, message);
        }
    }
    Ok(is_counting)
}

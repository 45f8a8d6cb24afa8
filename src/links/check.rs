//! What `nginx -t` checks of links.

#![forbid(unsafe_code)]

use core::fmt;
use std::rc::Rc;

use crate::config::check::Refused;
use crate::config::{LocationConf, MainConf};
use crate::nginx::configuration::{Conf, ConfPosition};
use crate::nginx::location::Location;
use crate::nginx::log::Level;

fn refuse(
    conf: &Conf<'_>,
    position: &ConfPosition,
    message: fmt::Arguments<'_>,
) -> Result<(), Refused> {
    position.log(conf.log_handle(), Level::Emerg, message);
    Err(Refused)
}

/// Checks directives that may have no effect.
pub(crate) fn directives(conf: &Conf<'_>, main: &MainConf) -> Result<(), Refused> {
    for link in main.links.links.borrow().iter() {
        if let Some(location) = link.location.filter(|&each| !LocationConf::is_on_in(each)) {
            return refuse(
                conf,
                &link.position,
                format_args!("\"xspace_link\" in location {location} without \"xspace_download\""),
            );
        }
    }
    let downloads = main.downloads.borrow();
    let in_effect: Vec<_> = downloads
        .iter()
        .filter_map(|download| download.conf()?.link()?.session.map(Rc::as_ptr))
        .collect();
    for session in main.links.sessions.borrow().iter() {
        if !in_effect.contains(&Rc::as_ptr(session)) {
            session.position.log(
                conf.log_handle(),
                Level::Warn,
                "\"xspace_link_session\" has no effect without \"xspace_link\"",
            );
        }
    }
    Ok(())
}

/// Checks a location with `xspace_download` at a position, whose files are served by other locations.
pub(crate) fn download(
    conf: &Conf<'_>,
    location: Location,
    position: &ConfPosition,
    mut targets: impl Iterator<Item = Location>,
) -> Result<(), Refused> {
    let Some(lcf) = location.conf::<LocationConf>() else { return Ok(()) };
    let Some(link) = lcf.link() else { return Ok(()) };
    if link.keys.is_none() {
        return refuse(
            conf,
            &link.setting.position,
            format_args!("\"xspace_link\" requires \"xspace_link_keys\" in location {location}"),
        );
    }
    // Anybody could leave out the link.
    if let Some(target) = targets.find(|target| !target.is_internal()) {
        return refuse(
            conf,
            position,
            format_args!(
                "target location {target} of \"xspace_download\" must be \"internal\" because of \
                 \"xspace_link\""
            ),
        );
    }
    if lcf.passes_args() {
        position.log(
            conf.log_handle(),
            Level::Warn,
            format_args!(
                "\"xspace_pass_args\" passes tokens of \"xspace_link\" in location {location} to \
                 the target"
            ),
        );
    }
    Ok(())
}

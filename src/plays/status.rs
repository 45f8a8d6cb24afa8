//! `xspace_status`: shows what was counted.

#![forbid(unsafe_code)]

use core::cell::OnceCell;
use std::rc::Rc;

use model::plays::{CATALOGS, PROMETHEUS_TYPE, Report};
use model::request::SpaceId;
use nginx_sys::{NGX_HTTP_GET, NGX_HTTP_HEAD};

use super::zone::StatsZone;
use crate::config::{LocationConf, MainConf};
use crate::nginx::Failure;
use crate::nginx::configuration::ConfPosition;
use crate::nginx::request::Request;
use crate::nginx::response::CACHE_CONTROL;
use crate::nginx::worker::worker_count;
use crate::request::state::Outcome;

/// An `xspace_status`.
#[derive(Debug)]
pub(crate) struct StatusSetting {
    pub(super) format: StatusFormat,
    /// That of `zone=`, otherwise the only one of the configuration. Set once all are known.
    pub(super) zone: OnceCell<Rc<StatsZone>>,
    pub(super) position: ConfPosition,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StatusFormat {
    Json,
    Prometheus,
}

/// What the content handler responds with.
pub(crate) enum Status<'r> {
    /// A page, with its media type.
    Page(&'static str, &'r [u8]),
    /// Nothing but a status.
    Error(u16),
}

/// CONTENT: what was counted, as a page.
pub(crate) fn content_handler<'r>(
    request: &Request<'r>,
    lcf: &LocationConf,
) -> Result<Status<'r>, Failure> {
    if !matches!(request.method(), NGX_HTTP_GET | NGX_HTTP_HEAD) {
        return Ok(Status::Error(405));
    }
    let setting = lcf.status().ok_or(Failure("no status in this location"))?;
    let zone = setting.zone.get().ok_or(Failure("the zone of the status is not known"))?;
    let tables = zone.tables().ok_or(Failure("the zone has no memory"))?;
    let outcomes: Vec<&str> =
        core::iter::once("none").chain(Outcome::ALL.map(Outcome::as_str)).collect();
    let name = String::from_utf8_lossy(zone.name);
    let main = request.main_conf::<MainConf>().ok_or(Failure("no configuration"))?;
    let catalogs = main.catalogs.borrow();
    let paths: Vec<_> =
        catalogs.iter().take(CATALOGS).map(|file| file.path().to_string_lossy()).collect();
    let paths: Vec<&str> = paths.iter().map(|path| &**path).collect();
    let report = Report {
        name: &name,
        zone: tables,
        outcomes: &outcomes,
        catalogs: &paths,
        processes: worker_count(),
    };
    let (media_type, page) = match setting.format {
        StatusFormat::Prometheus => (PROMETHEUS_TYPE, report.prometheus()),
        StatusFormat::Json => {
            let space = match request.argument("space").map(SpaceId::parse) {
                Some(None) => return Ok(Status::Error(400)),
                Some(Some(id)) => Some(id),
                None => None,
            };
            ("application/json", report.json(space))
        }
    };
    let page = page.map_err(|_| Failure::NO_MEMORY)?;
    request.add_field(CACHE_CONTROL, b"no-store")?;
    Ok(Status::Page(media_type, request.pool().concat([page.as_bytes()])?))
}

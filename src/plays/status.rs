//! `xspace_status`: shows what was counted.

#![forbid(unsafe_code)]

use core::cell::OnceCell;
use std::rc::Rc;

use model::plays::{CATALOGS, MAX_TOP, PROMETHEUS_TYPE, Report, Top};
use model::request::SpaceId;
use nginx_sys::{NGX_HTTP_GET, NGX_HTTP_HEAD};

use super::zone::StatsZone;
use crate::config::{LocationConf, MainConf};
use crate::nginx::Failure;
use crate::nginx::configuration::ConfPosition;
use crate::nginx::guard::fault_point;
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

/// How many slots are looked at in one step: less than a millisecond.
const STEP: usize = 1 << 16;

/// What the content handler responds with.
pub(crate) enum Status<'r> {
    /// A page, with its media type.
    Page(&'static str, &'r [u8]),
    /// Nothing but a status.
    Error(i16),
    /// A page, when a walk through the table of spaces has ended.
    Later(Walk),
}

/// A walk that finds the spaces with the most plays.
pub(crate) struct Walk {
    setting: &'static StatusSetting,
    limit: usize,
    /// `None` once it has ended.
    top: Option<Top>,
}

impl Walk {
    /// Makes a step; returns the page after the last one.
    pub(crate) fn step<'r>(
        &mut self,
        request: &Request<'r>,
    ) -> Result<Option<Status<'r>>, Failure> {
        let zone = self.setting.zone()?;
        let mut top = self.top.take().ok_or(Failure("the walk has ended"))?;
        if !top.step(zone.tables().ok_or(NO_MEMORY_YET)?, STEP) {
            self.top = Some(top);
            return Ok(None);
        }
        zone.keep_top(self.limit, top).map_err(|_| Failure::NO_MEMORY)?;
        let slots = zone.latest_top(self.limit);
        page(request, self.setting, slots.as_deref()).map(Some)
    }
}

const NO_MEMORY_YET: Failure = Failure("the zone has no memory");

impl StatusSetting {
    fn zone(&self) -> Result<&StatsZone, Failure> {
        self.zone.get().map(|zone| &**zone).ok_or(Failure("the zone of the status is not known"))
    }
}

/// CONTENT: what was counted, as a page.
pub(crate) fn content_handler<'r>(
    request: &Request<'r>,
    lcf: &'static LocationConf,
) -> Result<Status<'r>, Failure> {
    fault_point("status");
    if !matches!(request.method(), NGX_HTTP_GET | NGX_HTTP_HEAD) {
        return Ok(Status::Error(405));
    }
    let setting = lcf.status().ok_or(Failure("no status in this location"))?;
    let Some(argument) = request.argument("top").filter(|_| setting.format == StatusFormat::Json)
    else {
        return page(request, setting, None);
    };
    let limit = core::str::from_utf8(argument).ok().and_then(|limit| limit.parse().ok());
    let Some(limit) = limit.filter(|limit| (1..=MAX_TOP).contains(limit)) else {
        return Ok(Status::Error(400));
    };
    if let Some(slots) = setting.zone()?.latest_top(limit) {
        return page(request, setting, Some(&*slots));
    }
    let top = Top::new(limit).map_err(|_| Failure::NO_MEMORY)?;
    let mut walk = Walk { setting, limit, top: Some(top) };
    Ok(walk.step(request)?.unwrap_or(Status::Later(walk)))
}

fn page<'r>(
    request: &Request<'r>,
    setting: &StatusSetting,
    top: Option<&[usize]>,
) -> Result<Status<'r>, Failure> {
    let zone = setting.zone()?;
    let main = request.main_conf::<MainConf>().ok_or(Failure("no configuration"))?;
    let mut outcomes = ["none"; Outcome::ALL.len() + 1];
    for (name, outcome) in outcomes.iter_mut().skip(1).zip(Outcome::ALL) {
        *name = outcome.as_str();
    }
    #[cfg(feature = "links")]
    let reasons = model::links::Status::REFUSED.map(model::links::Status::as_str);
    #[cfg(not(feature = "links"))]
    let reasons = [];
    let catalogs = main.healths.borrow();
    let mut paths = [""; CATALOGS];
    for (path, health) in paths.iter_mut().zip(catalogs.iter()) {
        *path = &health.label;
    }
    let report = Report {
        name: &zone.label,
        zone: zone.tables().ok_or(NO_MEMORY_YET)?,
        outcomes: &outcomes,
        reasons: &reasons,
        catalogs: paths.get(..catalogs.len()).unwrap_or(&paths),
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
            ("application/json", report.json(space, top))
        }
    };
    let page = page.map_err(|_| Failure::NO_MEMORY)?;
    request.add_field(CACHE_CONTROL, b"no-store")?;
    Ok(Status::Page(media_type, request.pool().concat([page.as_bytes()])?))
}

//! Reads the catalogues while nginx reads its configuration: `nginx -t` refuses a bad one.

#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;

use crate::catalog::Source;
use crate::check::Refused;
use crate::nginx::configuration::Conf;
use crate::nginx::log::{Level, Log, Text};
use crate::nginx::user::{Wish, WorkerUser};
use crate::nginx::worker::{self, NoThreads};

/// Reads the catalogues.
pub(crate) fn load(conf: &Conf<'_>, sources: &[Rc<Source>]) -> Result<(), Refused> {
    let user = if sources.is_empty() { None } else { WorkerUser::of(conf) };
    for source in sources {
        let path = Text(source.path().as_os_str().as_bytes());
        let warn = |message: String| conf.log_at(Level::Warn, &source.place, message);
        let refuse = |message: String| {
            conf.log_at(Level::Emerg, &source.place, message);
            Err(Refused)
        };
        let is_read_again = source.has_threads() && worker::are_wanted(conf);
        if source.optional && !is_read_again {
            let why = if source.has_threads() {
                "with \"master_process off\""
            } else {
                "without threads"
            };
            return refuse(format!(
                "catalogue \"{path}\" cannot be \"optional\": {why} it is not read again"
            ));
        }
        match source.load() {
            Ok(report) => {
                report.lines().for_each(|line| warn(format!("catalogue \"{path}\": {line}")));
            }
            Err(why) if source.optional => warn(format!(
                "catalogue \"{path}\" is not there, what needs it is answered with 503 until it can \
                 be read: {why}"
            )),
            Err(why) => return refuse(format!("invalid catalogue \"{path}\": {why}")),
        }
        if source.refresh.is_none() {
            continue;
        } else if !source.has_threads() {
            warn(format!(
                "this nginx has no threads, catalogue \"{path}\" is read at start and reload only"
            ));
        } else if !worker::are_wanted(conf) {
            warn(no_threads(source, NoThreads::NoMaster));
        } else if let Some(user) = user.as_ref().filter(|user| !can_read(user, source.path())) {
            warn(format!(
                "catalogue \"{path}\" cannot be read by the workers' user \"{}\", who will not see \
                 its changes",
                user.name
            ));
        }
    }
    Ok(())
}

/// Warns that catalogs are not read again, where that is known only when the whole configuration is
/// read.
pub(crate) fn warn_of_no_threads(log: Log, sources: &[Rc<Source>], why: NoThreads) {
    for source in sources.iter().filter(|source| source.refresh.is_some()) {
        let message = no_threads(source, why);
        log.write(Level::Warn, 0, format_args!("{message} in {}", source.place));
    }
}

fn no_threads(source: &Source, why: NoThreads) -> String {
    let path = Text(source.path().as_os_str().as_bytes());
    match why {
        NoThreads::NoMaster => {
            format!("with \"master_process off\", catalogue \"{path}\" is read at start only")
        }
        NoThreads::EventMethod => format!(
            "with this event method there are no threads, catalogue \"{path}\" is read at start and \
             reload only"
        ),
    }
}

/// Whether the bits of a file and of all directories that it is in let a user read it. What can't
/// be looked at is not judged.
fn can_read(user: &WorkerUser, path: &Path) -> bool {
    let may =
        |wish, path: &Path| fs::metadata(path).map_or(true, |metadata| user.may(wish, &metadata));
    may(Wish::Read, path) && path.ancestors().skip(1).all(|directory| may(Wish::Search, directory))
}

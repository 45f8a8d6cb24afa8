//! Reads the catalogs while nginx reads its configuration: `nginx -t` refuses a bad one.

#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;

use crate::catalog::CatalogFile;
use crate::config::check::Refused;
use crate::nginx::configuration::Conf;
use crate::nginx::log::{Level, Text};
use crate::nginx::user::{Wish, WorkerUser};
use crate::nginx::worker::{Cycle, NoThreads};

/// Reads the catalogs.
pub(crate) fn load(conf: &Conf<'_>, sources: &[Rc<CatalogFile>]) -> Result<(), Refused> {
    for source in sources {
        let path = Text(source.path().as_os_str().as_bytes());
        let warn = |message: String| conf.log_at(Level::Warn, &source.place, message);
        let refuse = |message: String| {
            conf.log_at(Level::Emerg, &source.place, message);
            Err(Refused)
        };
        match source.load() {
            Ok(report) => {
                report.lines().for_each(|line| warn(format!("catalog \"{path}\": {line}")));
            }
            Err(why) if source.optional => warn(format!(
                "catalog \"{path}\" is not there, what needs it is answered with 503 until it can \
                 be read: {why}"
            )),
            Err(why) => return refuse(format!("invalid catalog \"{path}\": {why}")),
        }
    }
    Ok(())
}

/// Judges whether the workers will read the files again. That takes the whole configuration, also
/// what is behind `http {}`. `lack` says why there are no threads for it.
pub(crate) fn refreshes(
    cycle: Cycle,
    sources: &[Rc<CatalogFile>],
    lack: Option<NoThreads>,
) -> Result<(), Refused> {
    let mut sources = sources.iter().filter(|source| source.refresh.is_some()).peekable();
    let user = sources.peek().and_then(|_| WorkerUser::of(cycle));
    let user = user.as_ref();
    sources.try_for_each(|source| {
        let path = Text(source.path().as_os_str().as_bytes());
        if let Some(lack) = lack.filter(|_| source.optional) {
            let why = not_read_again(lack, "it");
            cycle.log_at(
                Level::Emerg,
                &source.place,
                format_args!("catalog \"{path}\" cannot be \"optional\": {why}"),
            );
            return Err(Refused);
        }
        if let Some(lack) = lack {
            let message = not_read_again(lack, &format!("catalog \"{path}\""));
            cycle.log_at(Level::Warn, &source.place, message);
        } else if let Some(user) = user.filter(|user| !can_read(user, source.path())) {
            cycle.log_at(
                Level::Warn,
                &source.place,
                format_args!(
                    "catalog \"{path}\" cannot be read by the workers' user \"{}\", who will not \
                     see its changes",
                    user.name
                ),
            );
        }
        Ok(())
    })
}

fn not_read_again(lack: NoThreads, what: &str) -> String {
    match lack {
        NoThreads::NoMaster => format!("with \"master_process off\", {what} is read at start only"),
        NoThreads::Build => {
            format!("this nginx has no threads, {what} is read at start and reload only")
        }
        NoThreads::EventMethod => format!(
            "with this event method there are no threads, {what} is read at start and reload only"
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

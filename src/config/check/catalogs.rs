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
use crate::nginx::user::{Permission, WorkerUser};
use crate::nginx::worker::{Cycle, NoThreads};

/// Reads the catalogs.
pub(crate) fn load(conf: &Conf<'_>, files: &[Rc<CatalogFile>]) -> Result<(), Refused> {
    files.iter().try_for_each(|file| {
        let log = |level, message: String| file.position.log(conf.log_handle(), level, message);
        let path = Text(file.path().as_os_str().as_bytes());
        match file.load() {
            Ok(report) => report
                .lines()
                .for_each(|line| log(Level::Warn, format!("catalog \"{path}\": {line}"))),
            Err(why) if file.optional => log(
                Level::Warn,
                format!(
                    "optional catalog \"{path}\" not loaded, requests that need it are answered \
                     with 503: {why}"
                ),
            ),
            Err(why) => {
                log(Level::Emerg, format!("invalid catalog \"{path}\": {why}"));
                return Err(Refused);
            }
        }
        Ok(())
    })
}

/// Checks whether the workers can read the files again. This takes the whole configuration, what
/// follows `http {}` too. `lack` is why there are no threads for it.
pub(crate) fn refresh(
    cycle: Cycle,
    files: &[Rc<CatalogFile>],
    lack: Option<NoThreads>,
) -> Result<(), Refused> {
    let mut files = files.iter().filter(|file| file.refresh.is_some()).peekable();
    let user = files.peek().and_then(|_| WorkerUser::of(cycle));
    files.try_for_each(|file| {
        let log = |level, message: String| file.position.log(cycle.log_handle(), level, message);
        let path = Text(file.path().as_os_str().as_bytes());
        match (lack, &user) {
            (Some(lack), _) if file.optional => {
                log(Level::Emerg, format!("catalog \"{path}\" cannot be \"optional\": {lack}"));
                return Err(Refused);
            }
            (Some(lack), _) => {
                log(Level::Warn, format!("catalog \"{path}\" will not be refreshed: {lack}"));
            }
            (None, Some(user)) if !can_read(user, file.path()) => log(
                Level::Warn,
                format!(
                    "catalog \"{path}\" will not be refreshed: worker user \"{}\" has no \
                     permission to read it",
                    user.name
                ),
            ),
            (None, _) => {}
        }
        Ok(())
    })
}

/// Whether the permission bits of a file and of the directories above it let a user read it. If
/// they can't be read, that is not known: `true`.
pub(crate) fn can_read(user: &WorkerUser, path: &Path) -> bool {
    let has = |permission, path: &Path| {
        fs::metadata(path).map_or(true, |metadata| user.has(permission, &metadata))
    };
    has(Permission::Read, path)
        && path.ancestors().skip(1).all(|directory| has(Permission::Search, directory))
}

//! Reads the catalogues while nginx reads its configuration: `nginx -t` refuses a bad one.

#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;

use crate::catalog::Source;
use crate::check::Refused;
use crate::nginx::configuration::Conf;
use crate::nginx::log::{Level, Text};
use crate::nginx::user::{Wish, WorkerUser};
use crate::nginx::worker;

/// Reads the catalogues.
pub(crate) fn load(conf: &Conf<'_>, sources: &[Rc<Source>]) -> Result<(), Refused> {
    let user = if sources.is_empty() { None } else { WorkerUser::of(conf) };
    for source in sources {
        let path = Text(source.path().as_os_str().as_bytes());
        if let Err(why) = source.load() {
            let message = format!("invalid catalogue \"{path}\": {why}");
            conf.log_at(Level::Emerg, &source.place, message);
            return Err(Refused);
        }
        let warn = |message: String| conf.log_at(Level::Warn, &source.place, message);
        if source.refresh.is_none() {
            continue;
        } else if !source.has_threads() {
            warn(format!(
                "this nginx has no threads, catalogue \"{path}\" is read at start and reload only"
            ));
        } else if !worker::are_wanted(conf) {
            warn(format!(
                "with \"master_process off\", catalogue \"{path}\" is read at start only"
            ));
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

/// Whether the bits of a file and of all directories that it is in let a user read it. What can't
/// be looked at is not judged.
fn can_read(user: &WorkerUser, path: &Path) -> bool {
    let may =
        |wish, path: &Path| fs::metadata(path).map_or(true, |metadata| user.may(wish, &metadata));
    may(Wish::Read, path) && path.ancestors().skip(1).all(|directory| may(Wish::Search, directory))
}

//! Opens the environments while nginx reads its configuration: `nginx -t` refuses one that workers
//! could not open.

#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;

use super::LmdbCatalog;
use super::environment::{self, Files};
use super::error::OpenError;
use super::library::Library;
use crate::config::MainConf;
use crate::config::check::Refused;
use crate::nginx::configuration::Conf;
use crate::nginx::log::{Level, Log, Text};
use crate::nginx::user::{Permission, WorkerUser, has_acl, may_write};
use crate::nginx::worker::Cycle;

/// Opens the environments and closes them again, without locks: `lock.mdb` would be root's otherwise,
/// and what is open would be inherited by workers, which LMDB does not allow.
pub(crate) fn load(conf: &Conf<'_>, main: &MainConf) -> Result<(), Refused> {
    main.lmdb_catalogs.borrow().iter().try_for_each(|catalog| {
        match check(catalog) {
            Ok(entries) => catalog.note(entries),
            Err(why) => catalog.refuse(conf.log_handle(), &why.to_string())?,
        }
        Ok(())
    })
}

fn check(catalog: &LmdbCatalog) -> Result<usize, OpenError<'_>> {
    let library = Library::get()?;
    Files::of(&catalog.paths)?;
    let entries = environment::check(library, &catalog.paths)?;
    // Of this process, which is root or the workers' user. On a read-only file system nobody may.
    may_write(&catalog.paths.lock).map_err(OpenError::system("access", &catalog.paths.lock))?;
    Ok(entries)
}

/// Checks whether the workers' user can open the environments. This takes the whole configuration,
/// what follows `http {}` too.
pub(crate) fn permissions(cycle: Cycle, main: &MainConf) -> Result<(), Refused> {
    let catalogs = main.lmdb_catalogs.borrow();
    let Some(user) = catalogs.first().and_then(|_| WorkerUser::of(cycle)) else { return Ok(()) };
    catalogs.iter().try_for_each(|catalog| match lack(&user, catalog) {
        None => Ok(()),
        Some((what, path)) => {
            let path = Text(path.as_os_str().as_bytes());
            let why =
                format!("worker user \"{}\" has no permission to {what} \"{path}\"", user.name);
            catalog.refuse(cycle.log_handle(), &why)
        }
    })
}

/// The first permission that a user lacks, and for which file.
fn lack<'c>(user: &WorkerUser, catalog: &'c LmdbCatalog) -> Option<(&'static str, &'c Path)> {
    let (data, lock) = (catalog.paths.data.as_path(), catalog.paths.lock.as_path());
    let directories = data.ancestors().skip(1).map(|path| ("search", Permission::Search, path));
    let files = [
        ("read", Permission::Read, data),
        ("read", Permission::Read, lock),
        ("write", Permission::Write, lock),
    ];
    let mut all = directories.chain(files);
    let lacks = |permission, path: &Path| {
        // What can't be found out is no error.
        fs::metadata(path).is_ok_and(|metadata| !user.has(permission, &metadata) && !has_acl(path))
    };
    all.find(|&(_, permission, path)| lacks(permission, path)).map(|(what, _, path)| (what, path))
}

impl LmdbCatalog {
    /// Refuses the configuration, unless it is optional.
    fn refuse(self: &Rc<Self>, log: Option<Log>, why: &str) -> Result<(), Refused> {
        let name = &self.name;
        if self.optional {
            let message = format!(
                "optional catalog \"{name}\" not opened, requests that need it are answered with \
                 503: {why}"
            );
            self.position.log(log, Level::Warn, message);
            return Ok(());
        }
        self.position.log(log, Level::Emerg, format!("invalid catalog \"{name}\": {why}"));
        Err(Refused)
    }
}

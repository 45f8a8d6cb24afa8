//! `xspace_catalog lmdb:…`.

#![forbid(unsafe_code)]

use core::mem;
use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;

use super::LmdbCatalog;
use super::environment::Paths;
use crate::config::directives::{DirectiveError, conflict, invalid, invalid_parameter};
use crate::config::{CatalogSetting, CatalogSource, MainConf};
use crate::nginx::configuration::{Conf, PathBase};
use crate::nginx::log::Text;

/// Reads a catalog whose path begins with `lmdb:`.
pub(crate) fn catalog(
    conf: &Conf<'_>,
    main: &MainConf,
    path: &[u8],
) -> Result<CatalogSetting, DirectiveError> {
    let (mut only, mut optional) = (false, false);
    for parameter in conf.arguments().skip(1) {
        let is_valid = match parameter {
            b"only" => !mem::replace(&mut only, true),
            b"optional" => !mem::replace(&mut optional, true),
            _ => false,
        };
        if !is_valid {
            return Err(invalid_parameter(parameter, conf));
        }
    }
    let path = path.strip_prefix(b"lmdb:").unwrap_or(path);
    if path.is_empty() {
        return Err(invalid("path", conf, ": it is empty"));
    }
    let path = conf.full_path(path, PathBase::Configuration)?;
    // `lmdb:/x/` is `lmdb:/x`.
    let path = match path.iter().rposition(|&b| b != b'/') {
        Some(last) => path.get(..=last).unwrap_or(path),
        None => b"/",
    };
    let catalog = find(conf, main, path, optional)?;
    Ok(CatalogSetting { source: CatalogSource::Lmdb(catalog), only })
}

/// The catalog at `path`: that of an earlier directive, or a new one.
fn find(
    conf: &Conf<'_>,
    main: &MainConf,
    path: &[u8],
    optional: bool,
) -> Result<Rc<LmdbCatalog>, DirectiveError> {
    let mut catalogs = main.lmdb_catalogs.borrow_mut();
    let mut others = catalogs.iter();
    if let Some(catalog) = others.find(|catalog| catalog.paths.directory.as_bytes() == path) {
        if catalog.optional != optional {
            return Err(conflict("optional", &catalog.name, &catalog.position));
        }
        return Ok(Rc::clone(catalog));
    }
    let directory = CString::new(path).map_err(|_| invalid("path", conf, ""))?;
    let file = |name| Path::new(OsStr::from_bytes(path)).join(name);
    let paths = Paths { directory, data: file("data.mdb"), lock: file("lock.mdb") };
    let name = format!("lmdb:{}", Text(path));
    let catalog = Rc::new(LmdbCatalog::new(name, paths, optional, conf.position()));
    #[cfg(feature = "plays")]
    main.healths.borrow_mut().push(Rc::clone(&catalog.health));
    catalogs.push(Rc::clone(&catalog));
    Ok(catalog)
}

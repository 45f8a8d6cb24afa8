//! stat() of a file as the location that will serve it does it, with its mapping and caches.

use core::mem;

use nginx_sys::{
    NGX_EACCES, NGX_ELOOP, NGX_EMLINK, NGX_ENAMETOOLONG, NGX_ENOENT, NGX_ENOTDIR, NGX_OK,
    ngx_err_t, ngx_http_map_uri_to_path, ngx_http_set_disable_symlinks, ngx_int_t,
    ngx_open_cached_file, ngx_open_file_info_t, ngx_str_t,
};

use super::Failure;
use super::configuration::VariableIndex;
use super::layout::ngx_http_request_t::{add_uri_to_alias, valid_location};
use super::layout::ngx_open_file_info_t as info;
use super::location::Location;
use super::request::{Request, string};
use super::snapshot::Snapshot;

/// What is at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stat {
    /// A regular file of so many bytes. Without `open_file_cache` it may still be unreadable.
    File(u64),
    /// Something other than a regular file.
    NotAFile,
    /// Nothing.
    Missing(ngx_err_t),
    /// Something that permissions or `disable_symlinks` forbid to access.
    Denied(ngx_err_t),
    /// stat() has failed for another reason.
    Failed(ngx_err_t),
}

/// A path in the pool of a request, followed by a NUL. nginx may write NULs into it during stat()
/// (disable_symlinks), so it is never shared.
#[derive(Debug)]
pub(crate) struct FilePath<'r>(&'r mut [u8]);

impl FilePath<'_> {
    /// The path without its NUL.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.split_last().map_or(&[], |(_, path)| path)
    }
}

/// Where the request will be after a redirect.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Destination {
    pub(crate) location: Location,
    /// The server, if nginx runs regular expressions to find the location.
    pub(crate) server: Option<Location>,
    /// A variable whose value may not change between stat() and the redirect.
    pub(crate) random: Option<VariableIndex>,
}

/// A request that is in another location until the value is dropped.
pub(crate) struct InLocation<'q, 'r> {
    request: &'q Request<'r>,
    location: Location,
    uri: &'q [u8],
    /// What is restored; `None` if nothing evaluates variables of the request.
    saved: Option<Saved<'q>>,
}

struct Saved<'q> {
    loc_conf: *mut *mut core::ffi::c_void,
    uri: ngx_str_t,
    valid_location: u32,
    add_uri_to_alias: u32,
    snapshot: &'q Snapshot,
}

impl<'q, 'r> InLocation<'q, 'r> {
    /// Puts the request into a location with `uri` as its path. The core then maps and opens what it
    /// will map and open after the redirect.
    ///
    /// `snapshot` keeps the state to restore for the next candidate of the same request: nothing
    /// else happens to the request in between.
    pub(crate) fn enter(
        request: &'q Request<'r>,
        destination: Destination,
        uri: &'q [u8],
        snapshot: &'q mut Option<Snapshot>,
    ) -> Result<Self, Failure> {
        let Destination { location, server, random } = destination;
        if !location.evaluates_to_open() {
            return Ok(Self { request, location, uri, saved: None });
        }
        let snapshot = match snapshot {
            Some(snapshot) => snapshot,
            None => snapshot.insert(Snapshot::take(request, random)?),
        };
        let r = request.as_raw();
        // SAFETY: the request is valid (nginx.rs). Handlers of variables, and code of other modules
        // behind them, see these fields as they will be after the redirect; `drop` restores them
        // before anything else runs, and the values and captures that nginx has kept meanwhile. So
        // nothing points to `uri` any more when it is freed. What a handler has written to the
        // context of its module stays until the redirect, as it does where nginx runs it.
        let in_location = unsafe {
            let saved = Saved {
                loc_conf: (*r).loc_conf,
                uri: (*r).uri,
                valid_location: valid_location.get(r),
                add_uri_to_alias: add_uri_to_alias.get(r),
                snapshot,
            };
            (*r).uri = string(uri);
            // After `rewrite … break` the core refuses to map to an alias
            // (`ngx_http_map_uri_to_path`), and after `try_files` in a regex location it appends the
            // URI to one; after the redirect it does neither.
            valid_location.set(r, 1);
            add_uri_to_alias.set(r, 0);
            Self { request, location, uri, saved: Some(saved) }
        };
        if let Some(server) = server {
            server.capture(request, uri)?;
        }
        // SAFETY: as above.
        unsafe { (*r).loc_conf = location.loc_conf() };
        Ok(in_location)
    }

    /// The path of the request's URI below `alias` or `root`.
    pub(crate) fn map(&self) -> Result<FilePath<'r>, Failure> {
        let root = self.location.root();
        let rest = self.uri.get(root.alias.unwrap_or(0)..);
        if let (Some(rest), false) = (rest, root.has_variables) {
            // All that the core does without variables.
            return self.below(root.path, rest);
        }
        let mut path = ngx_str_t::empty();
        let mut root_length = 0;
        // SAFETY: the request is valid. The core allocates the path and writes a NUL after it;
        // nothing else points to the memory.
        unsafe {
            let r = self.request.as_raw();
            let last = ngx_http_map_uri_to_path(r, &raw mut path, &raw mut root_length, 0);
            if last.is_null() {
                return Err(Failure("ngx_http_map_uri_to_path() failed"));
            }
            let len = last.offset_from(path.data).unsigned_abs() + 1;
            Ok(FilePath(core::slice::from_raw_parts_mut(path.data, len)))
        }
    }

    /// The path below another directory, which ends in a slash.
    pub(crate) fn below(&self, directory: &[u8], rest: &[u8]) -> Result<FilePath<'r>, Failure> {
        self.request.pool().concat([directory, rest, b"\0"]).map(FilePath)
    }

    /// stat() through the location's `open_file_cache`, with its `disable_symlinks`.
    pub(crate) fn stat(&self, path: &mut FilePath<'r>) -> Result<Stat, Failure> {
        let r = self.request.as_raw();
        let clcf = self.location.as_raw();
        let mut name = ngx_str_t { len: path.as_bytes().len(), data: path.0.as_mut_ptr() };
        // SAFETY: request and location are valid; all fields of the C struct are set, the path is
        // writable and ends in a NUL, and is in the pool as long as the cleanup entry that the core
        // makes for an open file.
        unsafe {
            let mut of: ngx_open_file_info_t = mem::zeroed();
            of.read_ahead = (*clcf).read_ahead;
            of.directio = (*clcf).directio;
            of.valid = (*clcf).open_file_cache_valid;
            of.min_uses = (*clcf).open_file_cache_min_uses;
            info::test_only.set(&raw mut of, 1);
            info::errors.set(&raw mut of, (*clcf).open_file_cache_errors as u32);
            info::events.set(&raw mut of, (*clcf).open_file_cache_events as u32);

            if self.location.disables_symlinks() {
                let rc = ngx_http_set_disable_symlinks(r, clcf, &raw mut name, &raw mut of);
                if rc != NGX_OK as ngx_int_t {
                    return Err(Failure("ngx_http_set_disable_symlinks() failed"));
                }
            }

            let cache = (*clcf).open_file_cache;
            if ngx_open_cached_file(cache, &raw mut name, &raw mut of, (*r).pool)
                == NGX_OK as ngx_int_t
            {
                return Ok(match info::is_file.get(&raw const of) {
                    0 => Stat::NotAFile,
                    _ => Stat::File(u64::try_from(of.size).unwrap_or(0)),
                });
            }
            match u32::try_from(of.err).unwrap_or(u32::MAX) {
                0 => Err(Failure("ngx_open_cached_file() failed")),
                NGX_ENOENT | NGX_ENOTDIR | NGX_ENAMETOOLONG => Ok(Stat::Missing(of.err)),
                NGX_EACCES | NGX_ELOOP | NGX_EMLINK => Ok(Stat::Denied(of.err)),
                _ => Ok(Stat::Failed(of.err)),
            }
        }
    }
}

impl Drop for InLocation<'_, '_> {
    fn drop(&mut self) {
        let Some(saved) = &self.saved else { return };
        let r = self.request.as_raw();
        // SAFETY: the request is valid, and the values are its own.
        unsafe {
            (*r).loc_conf = saved.loc_conf;
            (*r).uri = saved.uri;
            valid_location.set(r, saved.valid_location);
            add_uri_to_alias.set(r, saved.add_uri_to_alias);
        }
        saved.snapshot.restore(self.request);
    }
}

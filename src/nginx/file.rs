//! A look at the disk, done by nginx as the location does it that will serve the file.

use core::mem;

use nginx_sys::{
    NGX_EACCES, NGX_ELOOP, NGX_EMLINK, NGX_ENAMETOOLONG, NGX_ENOENT, NGX_ENOTDIR, NGX_OK,
    ngx_err_t, ngx_http_map_uri_to_path, ngx_http_set_disable_symlinks, ngx_int_t,
    ngx_open_cached_file, ngx_open_file_info_t, ngx_str_t,
};

use model::format::MAX_EXTENSION_LEN;

use super::Failure;
use super::configuration::VariableIndex;
use super::layout::ngx_http_request_t::{add_uri_to_alias, valid_location};
use super::layout::ngx_open_file_info_t as info;
use super::location::Location;
use super::request::{Request, string};
use super::snapshot::Snapshot;

/// The end of a path, a NUL, with room for another extension than the path has.
const END: [u8; MAX_EXTENSION_LEN + 1] = [0; MAX_EXTENSION_LEN + 1];

/// What is at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stat {
    /// A regular file of so many bytes. Without `open_file_cache` it may still be unreadable.
    File(u64),
    /// Something else than a regular file.
    NotAFile,
    /// Nothing, with the error that says so.
    Missing(ngx_err_t),
    /// Something that may not be looked at.
    Denied(ngx_err_t),
    /// The look failed.
    Failed(ngx_err_t),
}

/// A path in the memory of a request, with a NUL behind it that does not count.
#[derive(Debug)]
pub(crate) struct FilePath<'r> {
    /// Including the NUL; nginx may write NULs to it while it looks (disable_symlinks), so it is
    /// never shared.
    bytes: &'r mut [u8],
    len: usize,
}

impl<'r> FilePath<'r> {
    /// Puts `tail` in place of the last `old` bytes; `None` if the path has no room for it.
    pub(crate) fn replace_tail(&mut self, old: usize, tail: &str) -> Option<()> {
        let start = self.len.checked_sub(old)?;
        let end = start + tail.len();
        self.bytes.get_mut(start..end)?.copy_from_slice(tail.as_bytes());
        *self.bytes.get_mut(end)? = 0;
        self.len = end;
        Some(())
    }

    /// The path without its NUL.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// Where the request will be after a redirect.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing {
    pub(crate) location: Location,
    /// The server, if nginx runs regular expressions on its way to the location.
    pub(crate) server: Option<Location>,
    /// A variable whose value may not change between a look and the redirect.
    pub(crate) random: Option<VariableIndex>,
}

/// A request while it stands in another location; it is put back when the value goes.
pub(crate) struct InLocation<'q, 'r> {
    request: &'q Request<'r>,
    location: Location,
    uri: &'q [u8],
    /// What has to be put back; nothing where nobody looks at the request.
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
    /// Lets the request stand in a location with `uri` as its path, for looks at the disk. What
    /// the core maps and opens is then what it will map and open after the redirect.
    ///
    /// `snapshot` keeps what has to be put back for the next location of the same request: between
    /// two of them nothing but such looks happens to the request.
    pub(crate) fn enter(
        request: &'q Request<'r>,
        standing: Standing,
        uri: &'q [u8],
        snapshot: &'q mut Option<Snapshot>,
    ) -> Result<Self, Failure> {
        let location = standing.location;
        if !location.evaluates_to_open() {
            return Ok(Self { request, location, uri, saved: None });
        }
        let snapshot = match snapshot {
            Some(snapshot) => snapshot,
            None => snapshot.insert(Snapshot::take(request, standing.random)?),
        };
        let r = request.as_raw();
        // SAFETY: the request is valid (nginx.rs). The handlers of variables, and the code of other
        // modules behind them, see these fields as they will be after the redirect; `drop` puts
        // them back before anything else runs, and with them the values that nginx has kept
        // meanwhile and the captures. So nothing points to `uri` any more when it changes or goes.
        // What a handler has put into its own module's context stays until the redirect or the end
        // of the request, as it does where nginx runs it.
        let in_location = unsafe {
            let saved = Saved {
                loc_conf: (*r).loc_conf,
                uri: (*r).uri,
                valid_location: valid_location.get(r),
                add_uri_to_alias: add_uri_to_alias.get(r),
                snapshot,
            };
            (*r).uri = string(uri);
            // After a `rewrite … break` the core refuses to map to an alias (core module,
            // ngx_http_map_uri_to_path), and after a `try_files` of a regex location it appends
            // the URI to one; after the redirect it does neither.
            valid_location.set(r, 1);
            add_uri_to_alias.set(r, 0);
            Self { request, location, uri, saved: Some(saved) }
        };
        if let Some(server) = standing.server {
            server.capture(request, uri)?;
        }
        // SAFETY: as above.
        unsafe { (*r).loc_conf = location.loc_conf() };
        Ok(in_location)
    }

    /// The path of the request's URI below `alias` or `root`, with room for another extension.
    pub(crate) fn map(&self) -> Result<FilePath<'r>, Failure> {
        let root = self.location.root();
        let rest = self.uri.get(root.alias.unwrap_or(0)..);
        if let (Some(rest), false) = (rest, root.has_variables) {
            // All that the core does where there are no variables.
            return self.below(root.path, rest);
        }
        let mut path = ngx_str_t::empty();
        let mut root_length = 0;
        // SAFETY: the request is valid. The core allocates so many bytes more than it returns and
        // puts a NUL behind the path; nobody else has the memory.
        unsafe {
            let last = ngx_http_map_uri_to_path(
                self.request.as_raw(),
                &raw mut path,
                &raw mut root_length,
                MAX_EXTENSION_LEN,
            );
            if last.is_null() {
                return Err(Failure("ngx_http_map_uri_to_path() failed"));
            }
            let len = last.offset_from(path.data).unsigned_abs();
            last.cast::<[u8; END.len()]>().write(END);
            let bytes = core::slice::from_raw_parts_mut(path.data, len + END.len());
            Ok(FilePath { bytes, len })
        }
    }

    /// The path below another directory, which ends in a slash, with the same room.
    pub(crate) fn below(&self, directory: &[u8], rest: &[u8]) -> Result<FilePath<'r>, Failure> {
        let bytes = self.request.pool().concat([directory, rest, &END])?;
        Ok(FilePath { bytes, len: directory.len() + rest.len() })
    }

    /// Looks at a path through the location's `open_file_cache`, obeying its `disable_symlinks`.
    pub(crate) fn stat(&self, path: &mut FilePath<'r>) -> Result<Stat, Failure> {
        let r = self.request.as_raw();
        let clcf = self.location.as_raw();
        let mut name = ngx_str_t { len: path.len, data: path.bytes.as_mut_ptr() };
        // SAFETY: request and location are valid; all fields of the C struct are set, the path is
        // writable and ends in a NUL, and stays in the pool as long as the cleanup entry that the
        // core makes for an open file.
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

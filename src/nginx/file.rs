//! A look at the disk, done by nginx as the location does it that will serve the file.

use core::mem;

use nginx_sys::{
    NGX_EACCES, NGX_ELOOP, NGX_EMLINK, NGX_ENAMETOOLONG, NGX_ENOENT, NGX_ENOTDIR, NGX_OK,
    ngx_err_t, ngx_http_map_uri_to_path, ngx_http_set_disable_symlinks, ngx_int_t,
    ngx_open_cached_file, ngx_open_file_info_t, ngx_str_t,
};

use super::Failure;
use super::location::Location;
use super::request::{Request, string};

/// What is at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
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

/// A request while it stands in another location; it is put back when the value goes.
pub(crate) struct InLocation<'q, 'r> {
    request: &'q Request<'r>,
    location: Location,
    saved: (*mut *mut core::ffi::c_void, ngx_str_t, u32),
}

impl<'q, 'r> InLocation<'q, 'r> {
    /// Lets the request stand in `location` with `uri` as its path, for looks at the disk. What
    /// the core maps and opens is then what it will map and open after the redirect.
    pub(crate) fn enter(request: &'q Request<'r>, location: Location, uri: &'q [u8]) -> Self {
        let r = request.as_raw();
        // SAFETY: the request is valid (nginx.rs); all three fields are restored in `drop`, before
        // anybody else sees them and before `uri` can go or change.
        unsafe {
            let saved = ((*r).loc_conf, (*r).uri, (*r).valid_location());
            (*r).loc_conf = location.loc_conf();
            (*r).uri = string(uri);
            // After a `rewrite … break` the core refuses to map to an alias (core module,
            // ngx_http_map_uri_to_path); after the redirect it would not.
            (*r).set_valid_location(1);
            Self { request, location, saved }
        }
    }

    /// The path of the request's URI below `alias` or `root`, with room for a tail that is longer
    /// by `room` bytes.
    pub(crate) fn map(&self, room: usize) -> Result<FilePath<'r>, Failure> {
        let mut path = ngx_str_t::empty();
        let mut root_length = 0;
        // SAFETY: the request is valid. The core allocates `room` bytes more than it returns and
        // puts a NUL behind the path; nobody else has the memory.
        unsafe {
            let last = ngx_http_map_uri_to_path(
                self.request.as_raw(),
                &raw mut path,
                &raw mut root_length,
                room,
            );
            if last.is_null() {
                return Err(Failure);
            }
            let len = last.offset_from(path.data).unsigned_abs();
            core::ptr::write_bytes(last, 0, room + 1);
            let bytes = core::slice::from_raw_parts_mut(path.data, len + room + 1);
            Ok(FilePath { bytes, len })
        }
    }

    /// The path below another directory, which ends in a slash, with room for a longer tail.
    pub(crate) fn below(
        &self,
        directory: &[u8],
        rest: &[u8],
        room: usize,
    ) -> Result<FilePath<'r>, Failure> {
        let len = directory.len() + rest.len();
        let bytes = self.request.pool().bytes(len + room + 1)?;
        let (head, tail) = bytes.split_at_mut_checked(directory.len()).ok_or(Failure)?;
        head.copy_from_slice(directory);
        tail.get_mut(..rest.len()).ok_or(Failure)?.copy_from_slice(rest);
        Ok(FilePath { bytes, len })
    }

    /// Looks at a path through the location's `open_file_cache`, obeying its `disable_symlinks`.
    pub(crate) fn look(&self, path: &mut FilePath<'r>) -> Result<Look, Failure> {
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
            of.set_test_only(1);
            of.set_errors((*clcf).open_file_cache_errors as u32);
            of.set_events((*clcf).open_file_cache_events as u32);

            let rc = ngx_http_set_disable_symlinks(r, clcf, &raw mut name, &raw mut of);
            if rc != NGX_OK as ngx_int_t {
                return Err(Failure);
            }

            let cache = (*clcf).open_file_cache;
            if ngx_open_cached_file(cache, &raw mut name, &raw mut of, (*r).pool)
                == NGX_OK as ngx_int_t
            {
                return Ok(match of.is_file() {
                    0 => Look::NotAFile,
                    _ => Look::File(u64::try_from(of.size).unwrap_or(0)),
                });
            }
            match u32::try_from(of.err).unwrap_or(u32::MAX) {
                0 => Err(Failure),
                NGX_ENOENT | NGX_ENOTDIR | NGX_ENAMETOOLONG => Ok(Look::Missing(of.err)),
                NGX_EACCES | NGX_ELOOP | NGX_EMLINK => Ok(Look::Denied(of.err)),
                _ => Ok(Look::Failed(of.err)),
            }
        }
    }
}

impl Drop for InLocation<'_, '_> {
    fn drop(&mut self) {
        let r = self.request.as_raw();
        let (loc_conf, uri, valid_location) = self.saved;
        // SAFETY: the request is valid, and the values are its own.
        unsafe {
            (*r).loc_conf = loc_conf;
            (*r).uri = uri;
            (*r).set_valid_location(valid_location);
        }
    }
}

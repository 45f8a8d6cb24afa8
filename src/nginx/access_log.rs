//! The access logs of a location.
//!
//! The structs are those of `ngx_http_log_module.c`, which are private. They are the same from 1.22 to
//! 1.31, and the size of an element is compared before one is read.

use core::ffi::c_void;

use nginx_sys::{ngx_array_t, ngx_http_complex_value_t, ngx_open_file_t, ngx_uint_t, time_t};

use super::configuration::Conf;
use super::location::Location;
use super::request::bytes;

/// `ngx_http_log_loc_conf_t`.
#[repr(C)]
struct LogConf {
    logs: *const ngx_array_t,
    _open_file_cache: *const c_void,
    _open_file_cache_valid: time_t,
    _open_file_cache_min_uses: ngx_uint_t,
    off: ngx_uint_t,
}

/// `ngx_http_log_t`: an `access_log`.
#[repr(C)]
struct Log {
    file: *const ngx_open_file_t,
    script: *const c_void,
    _disk_full_time: time_t,
    _error_log_time: time_t,
    _syslog_peer: *const c_void,
    _format: *const c_void,
    filter: *const ngx_http_complex_value_t,
}

/// The access logs in effect in a location, or in a server outside of its locations.
#[derive(Clone, Copy)]
pub(crate) struct AccessLogs(&'static [Log]);

impl AccessLogs {
    /// Whether these are the very same, as of a location that inherits them.
    pub(crate) fn are_those(self, other: Self) -> bool {
        core::ptr::eq(self.0, other.0)
    }

    /// Whether there are some, and each has a condition (`if=`).
    pub(crate) fn are_conditional(self) -> bool {
        !self.0.is_empty() && !self.0.iter().any(Log::has_all_requests)
    }

    /// A file with all requests of these that is none of `others`; `None` also if it can't be known.
    pub(crate) fn file_missing_in(self, others: Self) -> Option<&'static [u8]> {
        if others.0.iter().any(|log| !log.script.is_null()) {
            return None;
        }
        self.0
            .iter()
            .filter(|log| log.has_all_requests())
            .filter(|log| !others.0.iter().any(|other| other.file == log.file))
            // SAFETY: null, or valid as long as the configuration.
            .filter_map(|log| unsafe { log.file.as_ref() })
            .map(|file| {
                // SAFETY: as above.
                unsafe { bytes(file.name) }
            })
            .find(|name| *name != b"/dev/null")
    }
}

impl Log {
    /// Whether it has no condition, or one that is always met.
    fn has_all_requests(&self) -> bool {
        // SAFETY: null, or valid as long as the configuration.
        let filter = unsafe { self.filter.as_ref() };
        filter.is_none_or(|filter| {
            // SAFETY: as above; a value without `lengths` has no variables.
            let value = unsafe { bytes(filter.value) };
            filter.lengths.is_null() && !value.is_empty() && value != b"0"
        })
    }
}

impl Conf<'_> {
    /// The access logs of a location, or of a server outside of its locations; none if they are off.
    pub(crate) fn access_logs(&self, location: Location) -> AccessLogs {
        let conf = self.conf_of(c"ngx_http_log_module", location).cast::<LogConf>();
        // SAFETY: the configuration of a module of this name is null or has this type, and lives as
        // long as the whole; so do its logs, an array of this type if the sizes are the same.
        unsafe {
            let logs =
                conf.as_ref().filter(|conf| conf.off == 0).and_then(|conf| conf.logs.as_ref());
            let logs = logs.filter(|logs| logs.size == size_of::<Log>());
            AccessLogs(logs.map_or(&[], |logs| logs.as_slice()))
        }
    }
}

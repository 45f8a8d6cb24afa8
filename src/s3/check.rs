//! What `nginx -t` checks of object stores.

#![forbid(unsafe_code)]

use core::fmt;
use std::os::unix::ffi::OsStrExt;

use super::Store;
use crate::config::MainConf;
use crate::config::check::{Refused, catalogs};
use crate::nginx::configuration::Conf;
use crate::nginx::log::{Level, Text};
use crate::nginx::upstream::{Proxy, ProxyCache};
use crate::nginx::user::WorkerUser;
use crate::nginx::worker::Cycle;

/// The time of a slice at a slow store, in milliseconds. With less than that, clients who wait for a
/// slice begin to fetch it too.
const SLICE_TIME: u64 = 60_000;

/// Checks the locations of stores, when all are known.
pub(crate) fn directives(conf: &Conf<'_>, main: &MainConf) -> Result<(), Refused> {
    main.s3.stores.borrow().iter().try_for_each(|store| {
        let check = Check { conf, store };
        check.location()?;
        check.variables();
        check.proxy();
        Ok(())
    })
}

struct Check<'a> {
    conf: &'a Conf<'a>,
    store: &'a Store,
}

impl Check<'_> {
    fn log(&self, level: Level, message: fmt::Arguments<'_>) {
        self.store.position.log(self.conf.log_handle(), level, message);
    }

    fn warn(&self, message: fmt::Arguments<'_>) {
        self.log(Level::Warn, message);
    }

    /// The name of an object is what follows the location's prefix. Whatever is asked of the location is
    /// signed: it must not be a client who asks.
    fn location(&self) -> Result<(), Refused> {
        let location = self.store.location;
        let is_prefix = !location.is_named() && !location.is_regex() && !location.is_exact();
        if !is_prefix || !location.name().ends_with(b"/") {
            self.log(
                Level::Emerg,
                format_args!(
                    "\"xspace_s3\" requires a prefix location that ends with \"/\", location \
                     {location} is not"
                ),
            );
            return Err(Refused);
        }
        if !location.is_internal() {
            self.log(
                Level::Emerg,
                format_args!("location {location} must be \"internal\" because of \"xspace_s3\""),
            );
            return Err(Refused);
        }
        Ok(())
    }

    /// Directives of nginx have to use the variables. Which location those are in is not known.
    fn variables(&self) {
        for name in ["xspace_s3_uri", "xspace_s3_authorization"] {
            if self.conf.variable_index(name.as_bytes()).is_none() {
                self.warn(format_args!("no directive uses \"${name}\" of \"xspace_s3\""));
            }
        }
    }

    fn proxy(&self) {
        let location = self.store.location;
        if !location.has_content_handler() {
            self.warn(format_args!("location {location} has \"xspace_s3\" and no \"proxy_pass\""));
            return;
        }
        let Some(proxy) = self.conf.proxy(location) else { return };
        let Proxy { passes_fields, passes_content, cache } = proxy;
        let sends = [
            (passes_fields, "proxy_pass_request_headers", "header fields"),
            (passes_content, "proxy_pass_request_body", "content"),
        ];
        for (_, directive, what) in sends.iter().filter(|(is_on, ..)| *is_on) {
            self.warn(format_args!(
                "\"{directive}\" is on in location {location}: the store receives {what} of clients"
            ));
        }
        if let Some(cache) = cache {
            self.cache(&cache);
        }
    }

    fn cache(&self, cache: &ProxyCache) {
        let location = self.store.location;
        let is_sliced = self.conf.slice_size(location) > 0;
        if !is_sliced {
            self.warn(format_args!(
                "\"proxy_cache\" without \"slice\" in location {location}: the first range of an \
                 object fetches all of it"
            ));
        } else if self.conf.variable_index(b"slice_range").is_none() {
            self.warn(format_args!(
                "\"slice\" in location {location}, but \"$slice_range\" is not used: it belongs into \
                 the field \"Range\" and into \"proxy_cache_key\""
            ));
        }
        // Without a status: 200, 301 and 302. 0 is any.
        if is_sliced && !cache.valid.iter().any(|status| matches!(status, 0 | 206)) {
            self.warn(format_args!(
                "no \"proxy_cache_valid\" for 206 in location {location}: slices may not be cached"
            ));
        }
        if !cache.locks {
            self.warn(format_args!(
                "\"proxy_cache_lock\" is off in location {location}: all clients of a new object \
                 fetch it"
            ));
            return;
        }
        let times = [
            (cache.lock_timeout, "proxy_cache_lock_timeout"),
            (cache.lock_age, "proxy_cache_lock_age"),
        ];
        for (_, directive) in times.iter().filter(|(time, _)| *time < SLICE_TIME) {
            self.warn(format_args!(
                "\"{directive}\" is less than 60 seconds in location {location}: clients that wait \
                 longer for a slice fetch it too"
            ));
        }
    }
}

/// Checks whether workers can read the files again. This takes the whole configuration, `user` too.
pub(crate) fn refresh(cycle: Cycle, main: &MainConf) {
    let files = main.s3.files.borrow();
    let Some(user) = files.first().and_then(|_| WorkerUser::of(cycle)) else { return };
    for file in files.iter().filter(|file| !catalogs::can_read(&user, file.path())) {
        file.ignore_changes();
        file.position.log(
            cycle.log_handle(),
            Level::Warn,
            format_args!(
                "credentials \"{}\" will not be read again until a reload: worker user \"{}\" has no \
                 permission to read it",
                Text(file.path().as_os_str().as_bytes()),
                user.name
            ),
        );
    }
}

//! Checks that need to know all locations: `nginx -t` finds what a request would stumble over.

#![forbid(unsafe_code)]

use core::fmt;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;

use model::format::Formats;

use crate::config::{Directory, Download, LocationConf, Routes};
use crate::nginx::configuration::Conf;
use crate::nginx::content_handler::SeekHandlers;
use crate::nginx::location::{Location, Selection};
use crate::nginx::log::{Errno, Level, Text};

/// The checks have written to the log what is wrong.
pub(crate) struct Refused;

/// Directives that act in a later handler of the phase in which the module answers, and the
/// modules that they belong to.
const NEVER_ACT: [(&str, &core::ffi::CStr); 2] =
    [("try_files", c"ngx_http_try_files_module"), ("mirror", c"ngx_http_mirror_module")];

/// Variables of the module that change when a file is found.
const FOUND_LATER: [&[u8]; 7] = [
    b"xspace_format",
    b"xspace_file",
    b"xspace_filename",
    b"xspace_disposition",
    b"xspace_source",
    b"xspace_outcome",
    b"xspace_counted",
];

/// A space id for trying which location a URI selects.
const SAMPLE: &str = "x";

/// Checks an `xspace_download` and finds the locations that will serve its files.
///
/// `lcf` is the configuration of its location, `is_on` tells whether another location has the
/// module on, `blocks` are those of `if` and `limit_except` everywhere.
pub(crate) fn download(
    conf: &Conf<'_>,
    download: &Download,
    lcf: &LocationConf,
    is_on: impl Fn(Location) -> bool,
    seek_handlers: SeekHandlers,
    blocks: &[Location],
) -> Result<(), Refused> {
    let check = Check { conf, download, lcf };
    let Some(formats) = lcf.formats() else {
        return check.fail("\"xspace_formats\" is not merged");
    };
    check.id_is_given()?;
    let target = check.target(&is_on)?;
    let served = check.routes(target, formats, &is_on)?;
    if lcf.id.is_none() {
        check.own_uris(formats, &is_on)?;
    }
    check.directory(target)?;
    check.lookup(&is_on)?;
    check.what_never_acts();

    for location in served {
        check.warn_of_open_target(location);
        check.warn_of_arguments(location, seek_handlers);
    }
    let parts = check.parts(target);
    if lcf.directory.is_none() {
        for &part in parts.iter().filter(|&&part| !is_on(part)) {
            check.what_is_not_foreseen(part, blocks);
        }
        check.rewrite_of_server(formats);
    }
    // Only the first call for a location counts, and there is one.
    let _ = download.routes.set(Routes {
        target,
        is_divided: parts != [target] || check.below_target().meets_regexes,
        request_id: conf.variable_index(b"request_id"),
    });
    Ok(())
}

struct Check<'a> {
    conf: &'a Conf<'a>,
    download: &'a Download,
    lcf: &'a LocationConf,
}

impl Check<'_> {
    fn fail<T>(&self, message: impl fmt::Display) -> Result<T, Refused> {
        self.conf.log_at(Level::Emerg, &self.download.place, message);
        Err(Refused)
    }

    fn warn(&self, message: impl fmt::Display) {
        self.conf.log_at(Level::Warn, &self.download.place, message);
    }

    /// Without `xspace_id` the id is what follows the location's prefix.
    fn id_is_given(&self) -> Result<(), Refused> {
        let location = self.download.location;
        let kind = if location.is_named() {
            "a named location"
        } else if location.is_regex() {
            "a regex location"
        } else if location.is_exact() {
            "an exact location"
        } else if !location.name().ends_with(b"/") {
            "a location whose prefix does not end with \"/\""
        } else {
            return Ok(());
        };
        if self.lcf.id.is_some() {
            return Ok(());
        }
        self.fail(format_args!("\"xspace_id\" is required in {kind}: {}", Shown(location)))
    }

    /// The location that the target names: the longest prefix of it.
    fn target(&self, is_on: impl Fn(Location) -> bool) -> Result<Location, Refused> {
        let target = Text(&self.download.target);
        let Some(named) = self.below_target().location else {
            let selected = self.select(&self.file_uri("mp3"), |_| false);
            return match selected.location {
                Some(location) if location.is_regex() => self.fail(format_args!(
                    "target \"{target}\" of \"xspace_download\" is regex location {}",
                    Shown(location)
                )),
                _ => self.fail(format_args!(
                    "no location matches target \"{target}\" of \"xspace_download\""
                )),
            };
        };
        if is_on(named) {
            return self.fail(format_args!(
                "target \"{target}\" of \"xspace_download\" is location {}, which has \
                 \"xspace_download\" itself",
                Shown(named)
            ));
        }
        Ok(named)
    }

    /// The locations that redirects will end in, by a sample of each format.
    fn routes(
        &self,
        target: Location,
        formats: &Formats,
        is_on: impl Fn(Location) -> bool,
    ) -> Result<Vec<Location>, Refused> {
        formats
            .iter()
            .map(|format| {
                let uri = self.file_uri(format.extension());
                let is_part = |l| Routes::is_part(l, target, &self.download.target);
                let selected = self.select(&uri, is_part);
                match selected.location {
                    Some(location) if is_on(location) => self.fail(format_args!(
                        "\"{}\", a file of target \"{}\", would be handled by location {}, which \
                         has \"xspace_download\" itself",
                        Text(&uri),
                        Text(&self.download.target),
                        Shown(location)
                    )),
                    Some(location) if selected.counts => Ok(location),
                    Some(other) => self.fail(format_args!(
                        "\"{}\", a file of target \"{}\", would be served by location {} instead \
                         of location {}; \"location ^~ …\" keeps regex locations out",
                        Text(&uri),
                        Text(&self.download.target),
                        Shown(other),
                        Shown(target)
                    )),
                    None => self.fail(format_args!(
                        "no location matches \"{}\", a file of target \"{}\"",
                        Text(&uri),
                        Text(&self.download.target)
                    )),
                }
            })
            .collect::<Result<Vec<_>, _>>()
            .map(|mut locations| {
                locations.dedup();
                locations
            })
    }

    /// A request for a space, with and without suffix, has to end in the location.
    fn own_uris(&self, formats: &Formats, is_on: impl Fn(Location) -> bool) -> Result<(), Refused> {
        let own = self.download.location;
        let suffixes = formats.iter().map(|format| format!(".{}", format.extension()));
        for suffix in core::iter::once(String::new()).chain(suffixes) {
            let uri = [own.name(), SAMPLE.as_bytes(), suffix.as_bytes()].concat();
            let selected = self.select(&uri, |location| location == own);
            let Some(location) = selected.location else {
                continue;
            };
            if !selected.counts {
                return self.fail(format_args!(
                    "\"{}\", a URI of location {}, would be handled by location {} instead; \
                     \"location ^~ …\" keeps regex locations out",
                    Text(&uri),
                    Shown(own),
                    Shown(location)
                ));
            }
            if location != own && !is_on(location) {
                self.warn(format_args!(
                    "\"{}\" is handled by nested location {}, which has no \"xspace_download\"",
                    Text(&uri),
                    Shown(location)
                ));
            }
        }
        Ok(())
    }

    /// There has to be a directory to look in.
    fn directory(&self, target: Location) -> Result<(), Refused> {
        match &self.lcf.directory {
            Some(Directory::Off(_))
                if self.lcf.catalog().is_some() || self.lcf.lookup().is_some() =>
            {
                return Ok(());
            }
            Some(Directory::Off(place)) => {
                self.conf.log_at(
                    Level::Emerg,
                    place,
                    format_args!(
                        "\"xspace_directory off\" leaves no way to find a file for location {}",
                        Shown(self.download.location)
                    ),
                );
                return Err(Refused);
            }
            Some(Directory::Path(path)) => {
                self.warn_of_unreadable(path);
                return Ok(());
            }
            None => {}
        }

        let root = target.root();
        if root.has_variables {
            return Ok(());
        }
        let below = self.download.target.get(root.alias.unwrap_or(0)..).unwrap_or_default();
        let path = [root.path, below].concat();
        let inherits_root = root.alias.is_none() && root.path.as_ptr() == self.server_root();
        if target.has_content_handler() && inherits_root {
            // `mp4` is one that does serve from the server's root.
            if fs::read_dir(OsStr::from_bytes(&path)).is_err() {
                self.warn(format_args!(
                    "target location {} has a content handler and no directory of its own, \
                     \"xspace_directory\" is missing",
                    Shown(target)
                ));
            }
            return Ok(());
        }
        self.warn_of_unreadable(&path);
        Ok(())
    }

    /// The lookup has to come to a location that answers it.
    fn lookup(&self, is_on: impl Fn(Location) -> bool) -> Result<(), Refused> {
        let Some(lookup) = self.lcf.lookup() else { return Ok(()) };
        lookup.request_id.get_or_init(|| self.conf.variable_index(b"request_id"));
        let uri = Text(lookup.uri);
        let log = |level, message: fmt::Arguments<'_>| {
            self.conf.log_at(level, &lookup.place, message);
        };
        match self.select(lookup.uri, |_| false).location {
            None => {
                log(
                    Level::Emerg,
                    format_args!("no location matches URI \"{uri}\" of \"xspace_lookup\""),
                );
                Err(Refused)
            }
            Some(location) if is_on(location) => {
                log(
                    Level::Emerg,
                    format_args!(
                        "URI \"{uri}\" of \"xspace_lookup\" is handled by location {}, which has \
                         \"xspace_download\"",
                        Shown(location)
                    ),
                );
                Err(Refused)
            }
            Some(location) => {
                if !location.is_internal() {
                    log(
                        Level::Warn,
                        format_args!(
                            "location {} of \"xspace_lookup\" is not \"internal\"",
                            Shown(location)
                        ),
                    );
                }
                Ok(())
            }
        }
    }

    fn server_root(&self) -> *const u8 {
        self.download.server.root().path.as_ptr()
    }

    fn warn_of_unreadable(&self, path: &[u8]) {
        if let Err(error) = fs::read_dir(OsStr::from_bytes(path)) {
            self.warn(format_args!(
                "directory \"{}\" of target \"{}\" cannot be read ({})",
                Text(path),
                Text(&self.download.target),
                Errno(&error)
            ));
        }
    }

    fn warn_of_open_target(&self, location: Location) {
        if !location.is_internal() {
            self.warn(format_args!(
                "target location {} of \"xspace_download\" is not \"internal\"",
                Shown(location)
            ));
        }
        let root = location.root();
        let Some(alias) = root.alias.filter(|_| !root.has_variables) else { return };
        // The end of what `alias` replaces: the location's own prefix, or that of one around it.
        let replaced = self.download.target.get(..alias).unwrap_or_default();
        if replaced.len() == alias && root.path.ends_with(b"/") != replaced.ends_with(b"/") {
            self.warn(format_args!(
                "\"alias\" of target location {} and the location differ in the trailing slash",
                Shown(location)
            ));
        }
    }

    /// What decides only after the redirect where a file is, so that the module looks elsewhere.
    fn what_is_not_foreseen(&self, part: Location, blocks: &[Location]) {
        let shown = Shown(part);
        let warn = |what: fmt::Arguments<'_>| {
            self.warn(format_args!(
                "target location {shown} has {what}, \"xspace_directory\" is missing"
            ));
        };
        if self.conf.has_directive_of(c"ngx_http_try_files_module", part) {
            warn(format_args!("\"try_files\""));
        }
        if self.conf.has_rewrite(part, &[]) {
            warn(format_args!("\"rewrite\""));
        }
        if blocks.iter().any(|&block| block.is_block_of(part) && block.root() != part.root()) {
            warn(format_args!("another \"root\" in an \"if\""));
        }
        if let Some(variable) = self.conf.variable_set_in(part) {
            let variable = Text(variable);
            warn(format_args!("\"${variable}\" in its \"alias\" or \"root\" and sets it itself"));
        }
        let not_yet_known = |name: &&[u8]| FOUND_LATER.contains(name);
        if let Some(variable) = self.conf.variables_of_root(part).find(not_yet_known) {
            let variable = Text(variable);
            warn(format_args!(
                "\"${variable}\" in its \"alias\" or \"root\", which is not known until the file is found"
            ));
        }
    }

    /// A `rewrite` outside of all locations acts on the redirect too.
    fn rewrite_of_server(&self, formats: &Formats) {
        let uris: Vec<Vec<u8>> =
            formats.iter().map(|format| self.file_uri(format.extension())).collect();
        if self.conf.has_rewrite(self.download.server, &uris) {
            self.warn(format_args!(
                "a \"rewrite\" of the server changes the URI of files of target \"{}\", \
                 \"xspace_directory\" is missing",
                Text(&self.download.target)
            ));
        }
    }

    /// What a URI that is longer than the target selects without regular expressions.
    fn below_target(&self) -> Selection {
        // No location's name has this byte, so it is the longest prefix of the target, and none
        // that is longer.
        self.download.server.select_prefix(&[&self.download.target, &b"\x01"[..]].concat())
    }

    /// The locations that files of the target can be in, without those that regular expressions
    /// further out may select.
    fn parts(&self, target: Location) -> Vec<Location> {
        let uri = &self.download.target;
        let mut parts = Vec::new();
        let mut outer = vec![(self.download.server, false)];
        while let Some((location, is_inside)) = outer.pop() {
            for child in location.children() {
                let is_part =
                    Routes::is_part(child, target, uri) || (is_inside && child.is_regex());
                if is_part {
                    parts.push(child);
                }
                // Files may pass others with a shorter name on the way to these.
                if is_part || child.has_name_along(uri) {
                    outer.push((child, is_inside || is_part));
                }
            }
        }
        parts
    }

    /// What a URI selects in the server; nothing if a regular expression fails.
    fn select(&self, uri: &[u8], counts: impl Fn(Location) -> bool) -> Selection {
        self.download.server.select(uri, counts).unwrap_or_default()
    }

    /// A directive may want of a proxied target what the client asks of the recording.
    fn warn_of_arguments(&self, location: Location, seek_handlers: SeekHandlers) {
        if self.lcf.pass_args.is_some() || !location.has_other_content_handler(seek_handlers) {
            return;
        }
        let Some(variable) = self.conf.variable_of_arguments() else { return };
        self.warn(format_args!(
            "\"${}\" is empty in target location {}: without \"xspace_pass_args on\" its content \
             handler gets no arguments of the client",
            Text(variable),
            Shown(location)
        ));
    }

    fn what_never_acts(&self) {
        let blocks = self.download.blocks.borrow();
        let any = |acts: &dyn Fn(Location) -> bool| {
            acts(self.download.location) || blocks.iter().any(|&block| acts(block))
        };
        let shown = Shown(self.download.location);
        for (directive, module) in NEVER_ACT {
            if any(&|location| self.conf.has_directive_of(module, location)) {
                self.warn(format_args!(
                    "\"{directive}\" never acts in location {shown} beside \"xspace_download\""
                ));
            }
        }
        if any(&Location::has_content_handler) {
            self.warn(format_args!(
                "a content handler never acts in location {shown} beside \"xspace_download\""
            ));
        }
    }

    fn file_uri(&self, extension: &str) -> Vec<u8> {
        [&self.download.target, SAMPLE.as_bytes(), b".", extension.as_bytes()].concat()
    }
}

/// A location in a message, by its name as nginx's own messages have it.
struct Shown(Location);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", Text(self.0.name()))
    }
}

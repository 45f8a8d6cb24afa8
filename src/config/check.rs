//! Checks that need to know all locations: `nginx -t` finds what a request would stumble over.

#![forbid(unsafe_code)]

pub(crate) mod catalogs;

use core::fmt;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::{fs, io};

use model::format::{Formats, has_extension};

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
    check.routes(target, formats, &is_on)?;
    if lcf.id.is_none() {
        check.own_uris(formats, &is_on)?;
    }
    check.directory()?;
    check.lookup(&is_on)?;
    check.what_never_acts();

    let parts = check.parts(target);
    let is_divided = parts.len() > 1 || check.below_target().meets_regexes;
    let serves = |part: &Part| !is_on(part.location) && check.serves(part.location, formats);
    let serving: Vec<Part> = parts.into_iter().filter(serves).collect();
    for part in &serving {
        check.warn_of_open_part(part, &serving);
        check.warn_of_arguments(part.location, seek_handlers);
    }
    if lcf.directory.is_none() {
        check.directories(&serving);
        for part in &serving {
            check.what_is_not_foreseen(part.location, blocks);
        }
        check.rewrite_of_server(formats);
    }
    // Only the first call for a location counts, and there is one.
    let _ = download.routes.set(Routes {
        target,
        is_divided,
        request_id: conf.variable_index(b"request_id"),
    });
    Ok(())
}

/// A location that files of the target can be in.
struct Part {
    location: Location,
    /// The part that it is nested in.
    within: Option<Location>,
}

impl Part {
    /// Whether it has `alias` or `root` from the part that it is nested in.
    fn inherits_root(&self) -> bool {
        self.within.is_some_and(|outer| outer.root() == self.location.root())
    }
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

    /// Redirects have to end in a part of the target, by a sample of each format.
    fn routes(
        &self,
        target: Location,
        formats: &Formats,
        is_on: impl Fn(Location) -> bool,
    ) -> Result<(), Refused> {
        formats.iter().try_for_each(|format| {
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
                Some(_) if selected.counts => Ok(()),
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

    /// Checks `xspace_directory`.
    fn directory(&self) -> Result<(), Refused> {
        match &self.lcf.directory {
            Some(Directory::Off(place))
                if self.lcf.catalog().is_none() && self.lcf.lookup().is_none() =>
            {
                self.conf.log_at(
                    Level::Emerg,
                    place,
                    format_args!(
                        "\"xspace_directory off\" leaves no way to find a file for location {}",
                        Shown(self.download.location)
                    ),
                );
                Err(Refused)
            }
            Some(Directory::Path(path)) => {
                if let Err(error) = fs::read_dir(OsStr::from_bytes(path)) {
                    self.warn_of_unreadable(path, "target", &self.download.target, &error);
                }
                Ok(())
            }
            Some(Directory::Off(_)) | None => Ok(()),
        }
    }

    /// Without `xspace_directory` there has to be a directory to look in for each part of the
    /// target.
    fn directories(&self, parts: &[Part]) {
        let target = &self.download.target;
        let server_root = self.download.server.root().path.as_ptr();
        let mut known = Vec::new();
        for part in parts {
            let Part { location, .. } = *part;
            let root = location.root();
            let inherits_root = part.inherits_root() || root.path.as_ptr() == server_root;
            if root.has_variables || (part.inherits_root() && !location.has_content_handler()) {
                continue;
            }
            let path = self.directory_of(location);
            let read = fs::read_dir(OsStr::from_bytes(&path));
            let Some(error) = read.err().filter(|_| !known.contains(&path)) else { continue };
            if location.has_content_handler() && inherits_root {
                // `mp4` is one that does serve from the server's root.
                self.warn(format_args!(
                    "target location {} has a content handler and no directory of its own, \
                     \"xspace_directory\" is missing",
                    Shown(location)
                ));
            } else if location.is_regex() || self.uri_of(location).len() > target.len() {
                self.warn_of_unreadable(&path, "target location", location.name(), &error);
            } else {
                self.warn_of_unreadable(&path, "target", target, &error);
            }
            known.push(path);
        }
    }

    /// The beginning of the URI of each file in a part of the target.
    fn uri_of(&self, part: Location) -> &[u8] {
        let target = &self.download.target;
        if part.has_name_below(target) { part.name() } else { target }
    }

    /// The directory that files in a part of the target are in.
    fn directory_of(&self, part: Location) -> Vec<u8> {
        let root = part.root();
        let below = self.uri_of(part).get(root.alias.unwrap_or(0)..).unwrap_or_default();
        let mut path = [root.path, below].concat();
        // What follows the last slash is the beginning of a file's name.
        path.truncate(path.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1));
        path
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

    fn warn_of_unreadable(&self, path: &[u8], kind: &str, of: &[u8], error: &io::Error) {
        self.warn(format_args!(
            "directory \"{}\" of {kind} \"{}\" cannot be read ({})",
            Text(path),
            Text(of),
            Errno(error)
        ));
    }

    /// `serving` are all parts that serve files.
    fn warn_of_open_part(&self, part: &Part, serving: &[Part]) {
        let Part { location, within } = *part;
        // Nested locations inherit `internal`.
        let is_told = within.is_some_and(|outer| serving.iter().any(|part| part.location == outer));
        if !location.is_internal() && !is_told {
            self.warn(format_args!(
                "target location {} of \"xspace_download\" is not \"internal\"",
                Shown(location)
            ));
        }
        let root = location.root();
        let Some(alias) = root.alias.filter(|_| !root.has_variables) else { return };
        // The end of what `alias` replaces: the location's own prefix, or that of one around it.
        let replaced = self.uri_of(location).get(..alias).unwrap_or_default();
        if root.path.ends_with(b"/") != replaced.ends_with(b"/") && !part.inherits_root() {
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

    /// The locations that URIs below the target can select, the target's first, without those that
    /// regular expressions further out may select.
    fn parts(&self, target: Location) -> Vec<Part> {
        let uri = &self.download.target;
        let mut parts = Vec::new();
        let mut outer = vec![(self.download.server, None)];
        while let Some((location, within)) = outer.pop() {
            for child in location.children() {
                let is_along = child.has_name_along(uri);
                // In a regex location names may be shorter again.
                let is_inside = within.is_some() && (child.is_regex() || is_along);
                let is_part = is_inside || Routes::is_part(child, target, uri);
                if is_part {
                    parts.push(Part { location: child, within });
                }
                // Files may pass others with a shorter name on the way to these.
                if is_part || is_along {
                    outer.push((child, if is_part { Some(child) } else { within }));
                }
            }
        }
        parts.sort_by_key(|part| part.location != target);
        parts
    }

    /// Whether a part can serve a file: not if `return` answers every request there, nor if it is
    /// an exact location for something else, as for the directory itself.
    fn serves(&self, part: Location, formats: &Formats) -> bool {
        let is_file = || {
            let has = |name| formats.iter().any(|format| has_extension(name, format.extension()));
            core::str::from_utf8(part.name()).is_ok_and(has)
        };
        (!part.is_exact() || is_file()) && !self.conf.always_returns(part)
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

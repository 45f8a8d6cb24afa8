//! Checks of `nginx -t` that need to know all locations.

#![forbid(unsafe_code)]

pub(crate) mod catalogs;

use core::fmt;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::{fs, io};

use model::format::has_extension;
use model::lookup::forwards_field;

use crate::config::{Directory, Download, LocationConf, MainConf, Routes};
use crate::nginx::configuration::{Conf, ConfPosition};
use crate::nginx::content_handler::SeekHandlers;
use crate::nginx::location::{Location, Selection};
use crate::nginx::log::{Errno, Level, Text};
use crate::nginx::subrequest::SubrequestSetting;

/// The configuration is refused, and the reason logged.
pub(crate) struct Refused;

/// Directives that act later in the phase in which the module redirects, and their modules.
const INEFFECTIVE: [(&str, &core::ffi::CStr); 2] =
    [("\"try_files\"", c"ngx_http_try_files_module"), ("\"mirror\"", c"ngx_http_mirror_module")];

/// A space id to make sample URIs with.
const SAMPLE: &str = "x";

/// Checks every `xspace_download` and finds the locations that will serve its files.
///
/// `is_known_late` tells whether a variable has no value before a file is found.
pub(crate) fn downloads(
    conf: &Conf<'_>,
    main: &MainConf,
    is_known_late: fn(&[u8]) -> bool,
) -> Result<(), Refused> {
    let seek_handlers = *main.seek_handlers.get_or_init(|| SeekHandlers::of(conf));
    let blocks = main.blocks.borrow();
    main.downloads.borrow().iter().try_for_each(|each| {
        let lcf = each.location.conf::<LocationConf>().ok_or(Refused)?;
        let check = Check { conf, download: each, lcf, is_known_late };
        check.download(seek_handlers, &blocks)
    })
}

/// A location that may serve files of the target.
struct Part {
    location: Location,
    /// The part that it is nested in.
    outer: Option<Location>,
}

impl Part {
    /// Whether it has `alias` or `root` from the part that it is nested in.
    fn inherits_root(&self) -> bool {
        self.outer.is_some_and(|outer| outer.root() == self.location.root())
    }
}

/// The part that it is nested in, if that serves files too.
fn outer_of<'a>(part: &Part, serving: &'a [Part]) -> Option<&'a Part> {
    serving.iter().find(|outer| Some(outer.location) == part.outer)
}

struct Check<'a> {
    conf: &'a Conf<'a>,
    download: &'a Download,
    /// The configuration of its location.
    lcf: &'a LocationConf,
    is_known_late: fn(&[u8]) -> bool,
}

impl Check<'_> {
    /// `blocks` are those of `if` and `limit_except` in all servers.
    fn download(&self, seek_handlers: SeekHandlers, blocks: &[Location]) -> Result<(), Refused> {
        self.id()?;
        let target = self.target()?;
        self.target_uris(target)?;
        if self.lcf.settings.id.is_none() {
            self.own_uris()?;
        }
        self.directory()?;
        self.lookup()?;
        self.ineffective_directives();

        let parts = self.parts(target);
        let is_divided = parts.len() > 1 || self.longest_prefix().meets_regexes;
        let serving: Vec<Part> =
            parts.into_iter().filter(|part| self.serves(part.location)).collect();
        #[cfg(feature = "links")]
        crate::links::check::download(
            self.conf,
            self.download.location,
            &self.download.position,
            serving.iter().map(|part| part.location),
        )?;
        for part in &serving {
            self.internal(part, &serving);
            self.access_log(part, &serving);
            self.public_directory(part);
            self.trailing_slash(part);
            self.arguments(part.location, seek_handlers);
        }
        if let Directory::OfTarget = self.lcf.directory() {
            self.directories(&serving);
            serving.iter().for_each(|part| self.mapping(part.location, blocks));
            self.rewrite_of_server();
        }
        let request_id = self.conf.variable_index(b"request_id");
        // The check runs once for each directive.
        let _ = self.download.routes.set(Routes { target, is_divided, request_id });
        Ok(())
    }

    fn log(&self, level: Level, position: &ConfPosition, message: impl fmt::Display) {
        position.log(self.conf.log_handle(), level, message);
    }

    fn fail<T>(&self, position: &ConfPosition, message: impl fmt::Display) -> Result<T, Refused> {
        self.log(Level::Emerg, position, message);
        Err(Refused)
    }

    fn refuse<T>(&self, message: impl fmt::Display) -> Result<T, Refused> {
        self.fail(&self.download.position, message)
    }

    fn warn(&self, message: impl fmt::Display) {
        self.log(Level::Warn, &self.download.position, message);
    }

    fn target_text(&self) -> Text<'_> {
        Text(self.download.target)
    }

    /// Without `xspace_id` the id is what follows the location's prefix.
    fn id(&self) -> Result<(), Refused> {
        let location = self.download.location;
        let (kind, why) = if self.lcf.settings.id.is_some() {
            return Ok(());
        } else if location.is_named() {
            ("named ", "")
        } else if location.is_regex() {
            ("regex ", "")
        } else if location.is_exact() {
            ("exact ", "")
        } else if !location.name().ends_with(b"/") {
            ("", ", whose prefix does not end with \"/\"")
        } else {
            return Ok(());
        };
        self.refuse(format_args!("\"xspace_id\" is required in {kind}location {location}{why}"))
    }

    /// The location of the target.
    fn target(&self) -> Result<Location, Refused> {
        let target = self.target_text();
        match self.longest_prefix().location {
            Some(named) if LocationConf::is_on_in(named) => self.refuse(format_args!(
                "target \"{target}\" of \"xspace_download\" is location {named}, which has \
                 \"xspace_download\" itself"
            )),
            Some(named) => Ok(named),
            None => match self.select(&self.file_uri("mp3"), &|_| false).location {
                Some(location) if location.is_regex() => self.refuse(format_args!(
                    "target \"{target}\" of \"xspace_download\" is regex location {location}"
                )),
                _ => self.refuse(format_args!(
                    "no location matches target \"{target}\" of \"xspace_download\""
                )),
            },
        }
    }

    /// Redirects have to end in a part of the target, by a sample of each format.
    fn target_uris(&self, target: Location) -> Result<(), Refused> {
        self.lcf.formats().iter().try_for_each(|format| {
            let uri = self.file_uri(format.extension());
            let selected = self.select(&uri, &|l| self.download.is_part(l, target));
            let (file, of) = (Text(&uri), self.target_text());
            match selected.location {
                Some(location) if LocationConf::is_on_in(location) => self.refuse(format_args!(
                    "\"{file}\", a file of target \"{of}\", would be handled by location \
                     {location}, which has \"xspace_download\" itself"
                )),
                Some(_) if selected.is_wanted => Ok(()),
                Some(other) => self.refuse(format_args!(
                    "\"{file}\", a file of target \"{of}\", would be served by location {other} \
                     instead of location {target}; use \"location ^~\" to skip regex locations"
                )),
                None => self.refuse(format_args!(
                    "no location matches \"{file}\", a file of target \"{of}\""
                )),
            }
        })
    }

    /// Requests for a space, with and without suffix, have to end in the location.
    fn own_uris(&self) -> Result<(), Refused> {
        let own = self.download.location;
        let suffixes = self.lcf.formats().iter().map(|format| format!(".{}", format.extension()));
        for suffix in core::iter::once(String::new()).chain(suffixes) {
            let uri = [own.name(), SAMPLE.as_bytes(), suffix.as_bytes()].concat();
            let selected = self.select(&uri, &|location| location == own);
            let (uri, Some(location)) = (Text(&uri), selected.location) else { continue };
            if !selected.is_wanted {
                return self.refuse(format_args!(
                    "\"{uri}\", a URI of location {own}, would be handled by location {location} \
                     instead; use \"location ^~\" to skip regex locations"
                ));
            }
            if location != own && !LocationConf::is_on_in(location) {
                self.warn(format_args!(
                    "\"{uri}\" is handled by nested location {location}, which has no \
                     \"xspace_download\""
                ));
            }
        }
        Ok(())
    }

    /// Checks `xspace_directory`.
    fn directory(&self) -> Result<(), Refused> {
        match self.lcf.directory() {
            Directory::Off(position) => {
                if self.lcf.catalog().is_none() && self.lcf.lookup().is_none() {
                    return self.fail(
                        position,
                        format_args!(
                            "\"xspace_directory off\" requires \"xspace_catalog\" or \
                             \"xspace_lookup\" in location {}",
                            self.download.location
                        ),
                    );
                }
            }
            Directory::Path(path) => {
                if let Err(error) = fs::read_dir(OsStr::from_bytes(path)) {
                    self.warn_unreadable(path, &error, "target", self.download.target);
                }
            }
            Directory::OfTarget => {}
        }
        Ok(())
    }

    /// Each part of the target needs a directory to find files in, unless `xspace_directory` is one.
    fn directories(&self, parts: &[Part]) {
        let target = self.download.target;
        let server_root = self.download.server.root().path.as_ptr();
        let mut known = Vec::new();
        for part in parts {
            let location = part.location;
            let (root, has_handler) = (location.root(), location.has_content_handler());
            let inherits_root = part.inherits_root() || root.path.as_ptr() == server_root;
            if root.has_variables || (part.inherits_root() && !has_handler) {
                continue;
            }
            let path = self.directory_of(location);
            let read = fs::read_dir(OsStr::from_bytes(&path));
            let Some(error) = read.err().filter(|_| !known.contains(&path)) else { continue };
            if has_handler && inherits_root {
                // `mp4` is one that does serve from the server's root.
                self.warn(format_args!(
                    "target location {location} has a content handler and no directory of its \
                     own, \"xspace_directory\" is missing"
                ));
            } else if location.is_regex() || self.uri_of(location).len() > target.len() {
                self.warn_unreadable(&path, &error, "target location", location.name());
            } else {
                self.warn_unreadable(&path, &error, "target", target);
            }
            known.push(path);
        }
    }

    fn warn_unreadable(&self, path: &[u8], error: &io::Error, kind: &str, name: &[u8]) {
        let (path, error, name) = (Text(path), Errno(error), Text(name));
        self.warn(format_args!("opendir() \"{path}\" failed ({error}) for {kind} \"{name}\""));
    }

    /// The beginning of the URI of each file in a part of the target.
    fn uri_of(&self, part: Location) -> &'static [u8] {
        let target = self.download.target;
        if part.has_name_below(target) { part.name() } else { target }
    }

    /// The directory of files in a part of the target.
    fn directory_of(&self, part: Location) -> Vec<u8> {
        let root = part.root();
        let below = self.uri_of(part).get(root.alias.unwrap_or(0)..).unwrap_or_default();
        let mut path = [root.path, below].concat();
        // What follows the last slash is the beginning of a file's name.
        path.truncate(path.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1));
        path
    }

    /// The lookup has to be answered by a location without the module.
    fn lookup(&self) -> Result<(), Refused> {
        let Some(lookup) = self.lcf.lookup() else { return Ok(()) };
        lookup.subrequest.get_or_init(|| {
            // Random: the application has to see the same one as the log.
            let request_id = self.conf.variable_index(b"request_id");
            SubrequestSetting::new(self.conf, forwards_field, request_id)
        });
        let (uri, position) = (Text(lookup.uri), &lookup.position);
        let Some(location) = self.select(lookup.uri, &|_| false).location else {
            return self.fail(
                position,
                format_args!("no location matches URI \"{uri}\" of \"xspace_lookup\""),
            );
        };
        if LocationConf::is_on_in(location) {
            return self.fail(
                position,
                format_args!(
                    "URI \"{uri}\" of \"xspace_lookup\" is handled by location {location}, which \
                     has \"xspace_download\""
                ),
            );
        }
        if !location.is_internal() {
            let message = format!("location {location} of \"xspace_lookup\" is not \"internal\"");
            self.log(Level::Warn, position, message);
        }
        Ok(())
    }

    /// `serving` are all parts that serve files. Nested locations inherit `internal`.
    fn internal(&self, part: &Part, serving: &[Part]) {
        let is_reported = outer_of(part, serving).is_some();
        if !part.location.is_internal() && !is_reported {
            self.warn(format_args!(
                "target location {} of \"xspace_download\" is not \"internal\"",
                part.location
            ));
        }
    }

    /// An `access_log` here replaces those of the server. If each has a condition and goes elsewhere,
    /// most requests for recordings are in no log.
    fn access_log(&self, part: &Part, serving: &[Part]) {
        let of = |location| self.conf.access_logs(location);
        let (logs, logs_of_server) = (of(part.location), of(self.download.server));
        let is_reported =
            outer_of(part, serving).is_some_and(|outer| logs.are_those(of(outer.location)));
        if is_reported || !logs.are_conditional() {
            return;
        }
        if let Some(file) = logs_of_server.file_missing_in(logs) {
            self.warn(format_args!(
                "target location {} replaces \"access_log\" \"{}\" of the server by others that all \
                 have \"if=\"",
                part.location,
                Text(file)
            ));
        }
    }

    /// A public location like the target's, but for the slash at its end, has lost all of its files
    /// to the target if it is a directory.
    fn public_directory(&self, part: &Part) {
        let Some(name) = part.location.name().strip_suffix(b"/") else { return };
        if part.location.is_exact() || part.location.is_regex() || !part.location.is_internal() {
            return;
        }
        // No name has this byte: the longest prefix is the location that would have these files.
        let server = self.download.server;
        let Some(public) = server.select_prefix(&[name, b"\x01"].concat()).location else { return };
        let root = public.root();
        let is_of_others = public.is_internal()
            || public.name() != name
            || LocationConf::is_on_in(public)
            || public.has_content_handler()
            || root.has_variables
            || root == server.root()
            || self.conf.has_directive_of(c"ngx_http_try_files_module", public)
            || self.conf.has_directive_of(c"ngx_http_rewrite_module", public);
        let rest = name.get(root.alias.unwrap_or(0)..).unwrap_or_default();
        let path = [root.path, rest].concat();
        if !is_of_others && std::path::Path::new(OsStr::from_bytes(&path)).is_dir() {
            self.warn(format_args!(
                "target location {} takes all files of public location {public}",
                part.location
            ));
        }
    }

    fn trailing_slash(&self, part: &Part) {
        let root = part.location.root();
        let Some(alias) = root.alias.filter(|_| !root.has_variables) else { return };
        // The end of what `alias` replaces: the location's own prefix, or that of one around it.
        let replaced = self.uri_of(part.location).get(..alias).unwrap_or_default();
        if root.path.ends_with(b"/") != replaced.ends_with(b"/") && !part.inherits_root() {
            self.warn(format_args!(
                "\"alias\" and target location {} differ in their trailing slash",
                part.location
            ));
        }
    }

    /// Finds what maps a URI to another file after the redirect than the module does before it.
    fn mapping(&self, part: Location, blocks: &[Location]) {
        let warn = |what: fmt::Arguments<'_>| {
            self.warn(format_args!(
                "target location {part} {what}, \"xspace_directory\" is missing"
            ));
        };
        if self.conf.has_directive_of(c"ngx_http_try_files_module", part) {
            warn(format_args!("has \"try_files\""));
        }
        if self.conf.has_rewrite(part, &[]) {
            warn(format_args!("has \"rewrite\""));
        }
        if blocks.iter().any(|&block| block.is_block_of(part) && block.root() != part.root()) {
            warn(format_args!("has a different \"root\" or \"alias\" in an \"if\""));
        }
        if let Some(variable) = self.conf.variable_set_in(part) {
            let variable = Text(variable);
            warn(format_args!("sets \"${variable}\", which its \"root\" or \"alias\" contains"));
        }
        let mut variables = self.conf.variables_of_root(part);
        if let Some(variable) = variables.find(|name| (self.is_known_late)(name)) {
            let variable = Text(variable);
            warn(format_args!(
                "uses \"${variable}\" in \"root\" or \"alias\" before the file is found"
            ));
        }
    }

    /// A `rewrite` of the server acts on the redirect too.
    fn rewrite_of_server(&self) {
        let formats = self.lcf.formats().iter();
        let uris: Vec<_> = formats.map(|format| self.file_uri(format.extension())).collect();
        if self.conf.has_rewrite(self.download.server, &uris) {
            self.warn(format_args!(
                "\"rewrite\" of the server changes URIs of target \"{}\", \"xspace_directory\" is \
                 missing",
                self.target_text()
            ));
        }
    }

    /// What a URI below the target selects by its longest prefix.
    fn longest_prefix(&self) -> Selection {
        // No location's name has this byte: the prefix is one of the target itself.
        self.download.server.select_prefix(&[self.download.target, b"\x01"].concat())
    }

    /// The locations that URIs below the target can select, the target's first, without those that
    /// regular expressions further out may select.
    fn parts(&self, target: Location) -> Vec<Part> {
        let mut parts = Vec::new();
        let mut stack = vec![(self.download.server, None)];
        while let Some((parent, outer)) = stack.pop() {
            for location in parent.children() {
                let is_along = location.has_name_along(self.download.target);
                // In a regex location names may be shorter again.
                let is_inside = outer.is_some() && (location.is_regex() || is_along);
                let is_part = is_inside || self.download.is_part(location, target);
                if is_part {
                    parts.push(Part { location, outer });
                }
                // Parts may be nested in locations with a shorter name.
                if is_part || is_along {
                    stack.push((location, if is_part { Some(location) } else { outer }));
                }
            }
        }
        parts.sort_by_key(|part| part.location != target);
        parts
    }

    /// Whether a part can serve a file: the module is off there, `return` does not answer all
    /// requests, and it is not an exact location of something else, as of the directory itself.
    fn serves(&self, part: Location) -> bool {
        let is_file = || {
            let mut formats = self.lcf.formats().iter();
            formats.any(|format| has_extension(part.name(), format.extension()))
        };
        !LocationConf::is_on_in(part)
            && (!part.is_exact() || is_file())
            && !self.conf.always_returns(part)
    }

    /// What a URI selects in the server; nothing if a regular expression fails.
    fn select(&self, uri: &[u8], wanted: &dyn Fn(Location) -> bool) -> Selection {
        self.download.server.select(uri, wanted).unwrap_or_default()
    }

    /// Directives of a proxied target may expect the client's arguments.
    fn arguments(&self, location: Location, seek_handlers: SeekHandlers) {
        let is_decided = self.lcf.written.pass_args.is_some();
        if is_decided || !location.has_other_content_handler(seek_handlers) {
            return;
        }
        if let Some(variable) = self.conf.variable_of_arguments() {
            self.warn(format_args!(
                "\"${}\" is empty in target location {location} without \"xspace_pass_args on\"",
                Text(variable)
            ));
        }
    }

    fn ineffective_directives(&self) {
        let location = self.download.location;
        let blocks = self.download.blocks.borrow();
        let warn_if = |what: &str, has: &dyn Fn(Location) -> bool| {
            if has(location) || blocks.iter().any(|&block| has(block)) {
                self.warn(format_args!(
                    "{what} has no effect in location {location} because of \"xspace_download\""
                ));
            }
        };
        for (directive, module) in INEFFECTIVE {
            warn_if(directive, &|location| self.conf.has_directive_of(module, location));
        }
        warn_if("a content handler", &Location::has_content_handler);
    }

    fn file_uri(&self, extension: &str) -> Vec<u8> {
        [self.download.target, SAMPLE.as_bytes(), b".", extension.as_bytes()].concat()
    }
}

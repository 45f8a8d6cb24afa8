//! Locations of a server, and which of them a URI selects.

use core::ffi::c_void;
use core::ptr::{self, NonNull};

#[cfg(ngx_feature = "pcre")]
use nginx_sys::{NGX_OK, ngx_int_t, ngx_regex_exec};
use nginx_sys::{
    ngx_filename_cmp, ngx_http_core_loc_conf_t, ngx_http_core_module, ngx_http_location_tree_node_t,
};

use super::content_handler::SeekHandlers;
use super::module::{self, LocationData};
use super::request::bytes;
#[cfg(ngx_feature = "pcre")]
use super::request::string;

/// A location's part of the configuration, or a server's where no location is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Location(NonNull<ngx_http_core_loc_conf_t>);

/// What a location takes the path of a file from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Root {
    /// How much of a URI `alias` replaces, in bytes; `None` for `root`. Locations nested in one with
    /// `alias` replace as much as that. In a regex location it is the whole URI.
    pub(crate) alias: Option<usize>,
    /// The value as nginx made it absolute; without meaning if it has variables.
    pub(crate) path: &'static [u8],
    pub(crate) has_variables: bool,
}

// SAFETY of this block's calls: the pointer is valid by the contract of `from_raw`, and nginx
// changes a location's configuration only while it reads it, not during a call into the module.
impl Location {
    /// # Safety
    ///
    /// `clcf` is null or the core module's configuration of a location that belongs to the
    /// configuration being read or to one in use.
    pub(super) unsafe fn from_raw(clcf: *mut ngx_http_core_loc_conf_t) -> Option<Self> {
        NonNull::new(clcf).map(Self)
    }

    /// # Safety
    ///
    /// `loc_conf` is null or an array of the configurations of all HTTP modules in a location.
    pub(super) unsafe fn from_loc_conf(loc_conf: *mut *mut c_void) -> Option<Self> {
        if loc_conf.is_null() {
            return None;
        }
        // SAFETY: by the contract; the core module has a configuration in every location.
        unsafe { Self::from_raw((*loc_conf.add(core_index())).cast()) }
    }

    pub(super) fn as_raw(self) -> *mut ngx_http_core_loc_conf_t {
        self.0.as_ptr()
    }

    /// The configurations of all HTTP modules in the location.
    pub(super) fn loc_conf(self) -> *mut *mut c_void {
        // SAFETY: see above.
        unsafe { (*self.as_raw()).loc_conf }
    }

    /// A module's configuration in the location.
    pub(super) fn conf_of(self, ctx_index: usize) -> *mut c_void {
        let loc_conf = self.loc_conf();
        if loc_conf.is_null() {
            return ptr::null_mut();
        }
        // SAFETY: see above; the array has an element for each HTTP module.
        unsafe { *loc_conf.add(ctx_index) }
    }

    /// The module's own configuration in the location.
    pub(crate) fn conf<T: LocationData>(self) -> Option<&'static T> {
        // SAFETY: by the contract of `LocationData`; that it is as good as static says nginx.rs.
        unsafe { self.conf_of(module::ctx_index()).cast::<T>().as_ref() }
    }

    /// The name as nginx has it: a prefix, a regular expression, or `@name`.
    pub(crate) fn name(self) -> &'static [u8] {
        // SAFETY: see above.
        unsafe { bytes((*self.as_raw()).name) }
    }

    pub(crate) fn is_exact(self) -> bool {
        // SAFETY: see above.
        unsafe { (*self.as_raw()).exact_match() != 0 }
    }

    pub(crate) fn is_named(self) -> bool {
        // SAFETY: see above.
        unsafe { (*self.as_raw()).named() != 0 }
    }

    pub(crate) fn is_regex(self) -> bool {
        #[cfg(ngx_feature = "pcre")]
        // SAFETY: see above.
        return unsafe { !(*self.as_raw()).regex.is_null() };
        #[cfg(not(ngx_feature = "pcre"))]
        false
    }

    /// Whether this is the block of an `if` or a `limit_except` inside a location.
    pub(crate) fn is_block(self) -> bool {
        // SAFETY: see above.
        unsafe { (*self.as_raw()).noname() != 0 }
    }

    pub(crate) fn is_internal(self) -> bool {
        // SAFETY: see above.
        unsafe { (*self.as_raw()).internal == 1 }
    }

    pub(crate) fn logs_not_found(self) -> bool {
        // SAFETY: see above.
        unsafe { (*self.as_raw()).log_not_found != 0 }
    }

    /// Whether a directive such as `proxy_pass` or `mp4` takes the content phase.
    pub(crate) fn has_content_handler(self) -> bool {
        // SAFETY: see above.
        unsafe { (*self.as_raw()).handler.is_some() }
    }

    /// Whether it is another one than those.
    pub(crate) fn has_other_content_handler(self, known: SeekHandlers) -> bool {
        // SAFETY: see above.
        unsafe { (*self.as_raw()).handler.is_some_and(|handler| !known.has(handler)) }
    }

    pub(crate) fn root(self) -> Root {
        // SAFETY: see above.
        unsafe {
            let clcf = self.as_raw();
            Root {
                alias: Some((*clcf).alias).filter(|&len| len != 0),
                path: bytes((*clcf).root),
                has_variables: !(*clcf).root_lengths.is_null(),
            }
        }
    }

    /// Whether the file's path may not be the same but for the end when the URI is: there are
    /// variables in `root` or `alias`, as there always are in the `alias` of a regex location.
    pub(crate) fn maps_by_variables(self) -> bool {
        // SAFETY: see above.
        unsafe { !(*self.as_raw()).root_lengths.is_null() }
    }

    /// Whether `disable_symlinks` is not off.
    pub(super) fn disables_symlinks(self) -> bool {
        // SAFETY: see above.
        unsafe { (*self.as_raw()).disable_symlinks != 0 }
    }

    /// Whether finding and opening a file evaluates variables: those of `root` and `alias`, and of
    /// the `from=` of `disable_symlinks`.
    pub(super) fn evaluates_to_open(self) -> bool {
        self.maps_by_variables() || self.disables_symlinks()
    }

    /// The location that a URI selects among those in this one, and those around it: what
    /// `ngx_http_core_find_location` does for a request, without rewrites.
    pub(crate) fn select(self, uri: &[u8]) -> Trail {
        let mut trail = Trail::default();
        self.find(uri, true, &mut trail);
        trail
    }

    /// The same with regex locations left out: the longest prefix, or an exact location.
    pub(crate) fn select_prefix(self, uri: &[u8]) -> Trail {
        let mut trail = Trail::default();
        self.find(uri, false, &mut trail);
        trail
    }

    /// Whether URIs that begin with `prefix` may select different locations, nested ones or others
    /// of a longer prefix or a regular expression.
    pub(crate) fn divides(self, prefix: &[u8]) -> bool {
        let trail = self.select_prefix(prefix);
        let around = [Some(self)].into_iter().chain(trail.locations().map(Some)).flatten();
        around.clone().any(|location| location.has_longer_prefixes(prefix))
            || around.zip(trail.locations()).any(|(outer, inner)| {
                // SAFETY: see above.
                outer.has_regexes() && unsafe { (*inner.as_raw()).noregex() == 0 }
            })
            || trail.last().is_none_or(Self::has_regexes)
    }

    fn has_regexes(self) -> bool {
        #[cfg(ngx_feature = "pcre")]
        // SAFETY: see above.
        return unsafe { !(*self.as_raw()).regex_locations.is_null() };
        #[cfg(not(ngx_feature = "pcre"))]
        false
    }

    /// Whether there is a location in this one whose name is longer than `prefix` and begins so.
    fn has_longer_prefixes(self, prefix: &[u8]) -> bool {
        let mut rest = prefix;
        // SAFETY: as in `find_static`.
        unsafe {
            let mut node: *const ngx_http_location_tree_node_t = (*self.as_raw()).static_locations;
            while !node.is_null() {
                let len = usize::from((*node).len);
                let name = (&raw const (*node).name).cast::<u8>();
                let n = rest.len().min(len);
                let order = ngx_filename_cmp(rest.as_ptr().cast_mut(), name.cast_mut(), n);
                node = if order != 0 {
                    if order < 0 { (*node).left } else { (*node).right }
                } else if rest.len() < len {
                    return true;
                } else if rest.len() == len {
                    return !(*node).tree.is_null();
                } else if (*node).inclusive.is_null() {
                    (*node).right
                } else {
                    rest = rest.get(n..).unwrap_or_default();
                    (*node).tree
                };
            }
        }
        false
    }

    /// Returns whether the search has ended with a match that regex locations further out can't
    /// replace.
    fn find(self, uri: &[u8], with_regex: bool, trail: &mut Trail) -> bool {
        let depth = trail.len;
        let mut try_regex = with_regex;

        match self.find_static(uri) {
            Some(Match::Exact(location)) => {
                trail.push(location);
                return true;
            }
            Some(Match::Prefix(location)) => {
                trail.push(location);
                // SAFETY: see above.
                try_regex &= unsafe { (*location.as_raw()).noregex() == 0 };
                if location.find(uri, with_regex, trail) {
                    return true;
                }
            }
            None => {}
        }

        let regex = if try_regex { self.find_regex(uri) } else { None };
        if let Some(location) = regex {
            trail.len = depth;
            trail.push(location);
            location.find(uri, with_regex, trail);
            return true;
        }
        false
    }

    /// The walk of `ngx_http_core_find_static_location`.
    fn find_static(self, uri: &[u8]) -> Option<Match> {
        let mut found = None;
        let mut rest = uri;
        // SAFETY: see above; nginx has built the trees before it calls postconfiguration. A node
        // has one of `exact` and `inclusive` or both, and `len` bytes of a name behind it.
        unsafe {
            let mut node: *const ngx_http_location_tree_node_t = (*self.as_raw()).static_locations;
            while !node.is_null() {
                let len = usize::from((*node).len);
                let name = (&raw const (*node).name).cast::<u8>();
                let n = rest.len().min(len);
                let order = ngx_filename_cmp(rest.as_ptr().cast_mut(), name.cast_mut(), n);
                node = if order != 0 {
                    if order < 0 { (*node).left } else { (*node).right }
                } else if rest.len() > len {
                    match Self::from_raw((*node).inclusive) {
                        Some(location) => {
                            found = Some(Match::Prefix(location));
                            rest = rest.get(n..).unwrap_or_default();
                            (*node).tree
                        }
                        None => (*node).right,
                    }
                } else if rest.len() == len {
                    return match Self::from_raw((*node).exact) {
                        Some(location) => Some(Match::Exact(location)),
                        None => Self::from_raw((*node).inclusive).map(Match::Prefix),
                    };
                } else {
                    (*node).left
                };
            }
        }
        found
    }

    #[cfg(ngx_feature = "pcre")]
    fn find_regex(self, uri: &[u8]) -> Option<Self> {
        // SAFETY: see above; the array ends with a null pointer.
        unsafe {
            let mut next = (*self.as_raw()).regex_locations;
            while !next.is_null() && !(*next).is_null() {
                let location = *next;
                next = next.add(1);
                let regex = (*location).regex;
                if regex.is_null() {
                    continue;
                }
                let mut uri = string(uri);
                let rc = ngx_regex_exec((*regex).regex, &raw mut uri, ptr::null_mut(), 0);
                if rc >= NGX_OK as ngx_int_t {
                    return Self::from_raw(location);
                }
            }
        }
        None
    }

    #[cfg(not(ngx_feature = "pcre"))]
    fn find_regex(self, _: &[u8]) -> Option<Self> {
        None
    }
}

/// Locations nested in each other, the outermost first. Of more than it holds, the last ones take
/// each other's place.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Trail {
    locations: [Option<Location>; 8],
    len: usize,
}

impl Trail {
    fn push(&mut self, location: Location) {
        let place = self.len.min(self.locations.len() - 1);
        if let Some(place) = self.locations.get_mut(place) {
            *place = Some(location);
        }
        self.len = place + 1;
    }

    fn locations(&self) -> impl Iterator<Item = Location> + Clone + use<'_> {
        self.locations.iter().take(self.len).flatten().copied()
    }

    /// The innermost location.
    pub(crate) fn last(&self) -> Option<Location> {
        self.locations().last()
    }

    pub(crate) fn contains(&self, location: Location) -> bool {
        self.locations().any(|l| l == location)
    }
}

enum Match {
    Exact(Location),
    Prefix(Location),
}

fn core_index() -> usize {
    // SAFETY: nginx writes the field before it calls any module.
    unsafe { ptr::addr_of!(ngx_http_core_module.ctx_index).read() }
}

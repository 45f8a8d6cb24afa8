//! Locations of a server, and which of them a URI selects.

use core::ffi::c_void;
use core::fmt;
use core::ptr::{self, NonNull};

#[cfg(ngx_feature = "pcre")]
use nginx_sys::{
    NGX_DECLINED, NGX_REGEX_NO_MATCHED, ngx_http_regex_exec, ngx_int_t, ngx_regex_exec,
};
use nginx_sys::{ngx_filename_cmp, ngx_http_core_loc_conf_t, ngx_http_location_tree_node_t};

use super::Failure;
use super::layout::ngx_http_core_loc_conf_t as flag;
use super::log::Text;
use super::module::{self, LocationData, core_index};
#[cfg(ngx_feature = "pcre")]
use super::request::string;
use super::request::{Request, bytes};

#[cfg(ngx_feature = "pcre")]
const NO_MATCH: ngx_int_t = NGX_REGEX_NO_MATCHED as ngx_int_t;
#[cfg(ngx_feature = "pcre")]
const DECLINED: ngx_int_t = NGX_DECLINED as ngx_int_t;

/// The core module's configuration of a location, or of a server outside of its locations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Location(NonNull<ngx_http_core_loc_conf_t>);

/// In a message: the name in quotes, as in nginx's own.
impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", Text(self.name()))
    }
}

/// What a location maps a URI to a path with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Root {
    /// How many bytes of a URI `alias` replaces; `None` for `root`. Nested locations inherit the
    /// number. In a regex location it is the whole URI.
    pub(crate) alias: Option<usize>,
    /// The absolute value; without meaning if it has variables.
    pub(crate) path: &'static [u8],
    pub(crate) has_variables: bool,
}

// SAFETY of this block's calls: the pointer is valid by the contract of `from_raw`, and nginx does
// not change a location's configuration during a call into the module.
impl Location {
    /// # Safety
    ///
    /// `clcf` is null or the core module's configuration of a location, in a configuration that is
    /// being read or in use.
    pub(super) unsafe fn from_raw(clcf: *mut ngx_http_core_loc_conf_t) -> Option<Self> {
        NonNull::new(clcf).map(Self)
    }

    /// # Safety
    ///
    /// `loc_conf` is null or the array of the configurations of all HTTP modules in a location.
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
        // SAFETY: by the contract of `LocationData`; it lives long enough (nginx.rs).
        unsafe { self.conf_of(module::ctx_index()).cast::<T>().as_ref() }
    }

    /// A prefix, a regular expression, or `@name`.
    pub(crate) fn name(self) -> &'static [u8] {
        // SAFETY: see above.
        unsafe { bytes((*self.as_raw()).name) }
    }

    pub(crate) fn is_exact(self) -> bool {
        // SAFETY: see above.
        unsafe { flag::exact_match.is_set(self.as_raw()) }
    }

    pub(crate) fn is_named(self) -> bool {
        // SAFETY: see above.
        unsafe { flag::named.is_set(self.as_raw()) }
    }

    #[cfg(ngx_feature = "pcre")]
    pub(crate) fn is_regex(self) -> bool {
        // SAFETY: see above.
        unsafe { !(*self.as_raw()).regex.is_null() }
    }

    /// Whether this is the block of an `if` or a `limit_except` inside a location.
    pub(crate) fn is_block(self) -> bool {
        // SAFETY: see above.
        unsafe { flag::noname.is_set(self.as_raw()) }
    }

    /// Whether this is such a block in `location`: its name is the location's, the very same string.
    pub(crate) fn is_block_of(self, location: Self) -> bool {
        self.is_block() && ptr::eq(self.name(), location.name())
    }

    pub(crate) fn is_internal(self) -> bool {
        // SAFETY: see above.
        unsafe { (*self.as_raw()).internal == 1 }
    }

    pub(crate) fn logs_not_found(self) -> bool {
        // SAFETY: see above.
        unsafe { (*self.as_raw()).log_not_found != 0 }
    }

    /// Whether `limit_rate` is set, to whatever value.
    #[cfg(feature = "plays")]
    pub(crate) fn has_limit_rate(self) -> bool {
        // SAFETY: see above.
        unsafe { !(*self.as_raw()).limit_rate.is_null() }
    }

    pub(crate) fn root(self) -> Root {
        // SAFETY: see above.
        let (alias, path) = unsafe { ((*self.as_raw()).alias, bytes((*self.as_raw()).root)) };
        let alias = Some(alias).filter(|&len| len != 0);
        Root { alias, path, has_variables: self.maps_by_variables() }
    }

    /// Whether `root` or `alias` has variables, as the `alias` of a regex location always has: URIs
    /// that differ only at their end may have paths that differ anywhere.
    pub(crate) fn maps_by_variables(self) -> bool {
        // SAFETY: see above.
        unsafe { !(*self.as_raw()).root_lengths.is_null() }
    }

    /// Whether `disable_symlinks` is not off.
    pub(super) fn disables_symlinks(self) -> bool {
        // SAFETY: see above.
        unsafe { (*self.as_raw()).disable_symlinks != 0 }
    }

    /// Whether opening a file evaluates variables: those of `root` or `alias`, or of the `from=` of
    /// `disable_symlinks`.
    pub(super) fn evaluates_to_open(self) -> bool {
        // SAFETY: see above; a compiled value is valid as long as the configuration.
        let from = unsafe { (*self.as_raw()).disable_symlinks_from.as_ref() };
        self.maps_by_variables() || from.is_some_and(|from| !from.lengths.is_null())
    }

    /// What a URI selects among the locations in this one, a server's: what
    /// `ngx_http_core_find_location` finds for a request, without rewrites. Whether a location on
    /// the way is `wanted` is in the result.
    pub(crate) fn select(
        self,
        uri: &[u8],
        wanted: &dyn Fn(Self) -> bool,
    ) -> Result<Selection, Failure> {
        self.search(uri, &|location| location.matches(uri), wanted)
    }

    /// The same without regex locations: the longest prefix, or an exact location.
    pub(crate) fn select_prefix(self, uri: &[u8]) -> Selection {
        // Only regular expressions can fail.
        self.search(uri, &|_| Ok(false), &|_| false).unwrap_or_default()
    }

    /// Sets the captures of regex locations as nginx does when it searches for the location of a
    /// URI. The request must have that URI already.
    pub(super) fn capture(self, request: &Request<'_>, uri: &[u8]) -> Result<(), Failure> {
        self.search(uri, &|location| location.captures(request), &|_| false).map(drop)
    }

    fn search(
        self,
        uri: &[u8],
        matches: &dyn Fn(Self) -> Result<bool, Failure>,
        wanted: &dyn Fn(Self) -> bool,
    ) -> Result<Selection, Failure> {
        let mut search = Search { uri, matches, wanted, selection: Selection::default() };
        search.within(self)?;
        Ok(search.selection)
    }

    /// Whether it is a prefix or an exact location whose name begins with `uri`.
    pub(crate) fn has_name_below(self, uri: &[u8]) -> bool {
        self.name().len() >= uri.len() && self.has_name_along(uri)
    }

    /// Whether it is a prefix or an exact location whose name begins with `uri`, or `uri` with it.
    pub(crate) fn has_name_along(self, uri: &[u8]) -> bool {
        let name = self.name();
        let (one, other) = (name.as_ptr().cast_mut(), uri.as_ptr().cast_mut());
        // SAFETY: the function only reads the bytes, which both strings have.
        let order = unsafe { ngx_filename_cmp(one, other, name.len().min(uri.len())) };
        order == 0 && !self.is_regex()
    }

    /// The locations directly in this one: prefix and exact locations, then regex locations.
    pub(crate) fn children(self) -> Vec<Self> {
        // SAFETY: see above.
        let mut nodes = vec![unsafe { (*self.as_raw()).static_locations }];
        let mut children = Vec::new();
        while let Some(node) = nodes.pop() {
            // SAFETY: see above; the pointers of a node are null or valid.
            if let Some(node) = unsafe { node.as_ref() } {
                nodes.extend([node.left, node.right, node.tree]);
                children.extend([node.exact, node.inclusive].map(|location| {
                    // SAFETY: as above.
                    unsafe { Self::from_raw(location) }
                }));
            }
        }
        children.into_iter().flatten().chain(self.regexes()).collect()
    }

    /// Whether the search continues with the regex locations around the location.
    fn lets_regexes_try(self) -> bool {
        // SAFETY: see above.
        unsafe { !flag::noregex.is_set(self.as_raw()) }
    }

    /// `ngx_http_core_find_static_location`.
    fn find_static(self, uri: &[u8]) -> Option<Match> {
        let mut found = None;
        let mut rest = uri;
        // SAFETY: see above; nginx builds the trees before postconfiguration. A node has `exact`,
        // `inclusive` or both, and a name of `len` bytes after it.
        unsafe {
            let mut node: *const ngx_http_location_tree_node_t = (*self.as_raw()).static_locations;
            while !node.is_null() {
                let len = usize::from((*node).len);
                let name = (&raw const (*node).name).cast::<u8>();
                let n = rest.len().min(len);
                let order = ngx_filename_cmp(rest.as_ptr().cast_mut(), name.cast_mut(), n);
                let exact = || Self::from_raw((*node).exact);
                let inclusive = || Self::from_raw((*node).inclusive);
                node = if order != 0 {
                    if order < 0 { (*node).left } else { (*node).right }
                } else if rest.len() > len {
                    match inclusive() {
                        Some(location) => {
                            found = Some(Match::Prefix(location));
                            rest = rest.get(n..).unwrap_or_default();
                            (*node).tree
                        }
                        None => (*node).right,
                    }
                } else if rest.len() == len {
                    return exact().map(Match::Exact).or_else(|| inclusive().map(Match::Prefix));
                } else {
                    if rest.len() + 1 == len && (*node).auto_redirect != 0 {
                        found = exact().or_else(inclusive).map(Match::SlashMissing);
                    }
                    (*node).left
                };
            }
        }
        found
    }

    /// The regex locations directly in this one, in their order.
    #[cfg(ngx_feature = "pcre")]
    fn regexes(self) -> impl Iterator<Item = Self> {
        // SAFETY: see above.
        let mut next = unsafe { (*self.as_raw()).regex_locations };
        core::iter::from_fn(move || {
            // SAFETY: see above; null, or in an array that ends with a null pointer.
            unsafe {
                let location = Self::from_raw(*next.as_ref()?)?;
                next = next.add(1);
                Some(location)
            }
        })
    }

    /// Whether the regular expression of a regex location matches a URI.
    #[cfg(ngx_feature = "pcre")]
    fn matches(self, uri: &[u8]) -> Result<bool, Failure> {
        let mut uri = string(uri);
        // SAFETY: see above; a regex location has a regular expression.
        unsafe {
            let regex = (*(*self.as_raw()).regex).regex;
            match ngx_regex_exec(regex, &raw mut uri, ptr::null_mut(), 0) {
                NO_MATCH => Ok(false),
                rc if rc < 0 => Err(Failure("ngx_regex_exec() failed")),
                _ => Ok(true),
            }
        }
    }

    /// The same for the URI of a request, which gets the captures.
    #[cfg(ngx_feature = "pcre")]
    fn captures(self, request: &Request<'_>) -> Result<bool, Failure> {
        let r = request.as_raw();
        // SAFETY: as in `matches`; the request is valid, and the captures stay as long as its URI.
        match unsafe { ngx_http_regex_exec(r, (*self.as_raw()).regex, &raw mut (*r).uri) } {
            DECLINED => Ok(false),
            rc if rc < 0 => Err(Failure("ngx_http_regex_exec() failed")),
            _ => Ok(true),
        }
    }
}

/// Without PCRE there are no regex locations.
#[cfg(not(ngx_feature = "pcre"))]
impl Location {
    pub(crate) fn is_regex(self) -> bool {
        false
    }

    fn regexes(self) -> impl Iterator<Item = Self> {
        core::iter::empty()
    }

    fn matches(self, _: &[u8]) -> Result<bool, Failure> {
        Ok(false)
    }

    fn captures(self, _: &Request<'_>) -> Result<bool, Failure> {
        Ok(false)
    }
}

/// What a URI selects.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Selection {
    /// The innermost location.
    pub(crate) location: Option<Location>,
    /// Whether it or a location that it is nested in is wanted.
    pub(crate) is_wanted: bool,
    /// Whether nginx would redirect the client to the location's name, which has a slash more.
    pub(crate) is_redirect: bool,
    /// Whether there was a regular expression to try.
    pub(crate) meets_regexes: bool,
}

/// A search for the location of a URI.
struct Search<'a> {
    uri: &'a [u8],
    /// Whether a regex location matches.
    matches: &'a dyn Fn(Location) -> Result<bool, Failure>,
    wanted: &'a dyn Fn(Location) -> bool,
    selection: Selection,
}

impl Search<'_> {
    /// Searches in a location, as `ngx_http_core_find_location` does. Returns whether regex
    /// locations further out can't replace the match.
    fn within(&mut self, outer: Location) -> Result<bool, Failure> {
        let outside = self.selection;
        let mut try_regexes = true;
        match outer.find_static(self.uri) {
            Some(Match::Exact(location)) => {
                self.pass(location);
                return Ok(true);
            }
            Some(Match::SlashMissing(location)) => {
                self.pass(location);
                self.selection.is_redirect = true;
                return Ok(true);
            }
            Some(Match::Prefix(location)) => {
                self.pass(location);
                try_regexes = location.lets_regexes_try();
                if self.within(location)? {
                    return Ok(true);
                }
            }
            None => {}
        }
        if !try_regexes {
            return Ok(false);
        }
        for location in outer.regexes() {
            self.selection.meets_regexes = true;
            if (self.matches)(location)? {
                self.selection = Selection { meets_regexes: true, ..outside };
                self.pass(location);
                self.within(location)?;
                // As in nginx, which returns NGX_OK in place of NGX_DONE here.
                self.selection.is_redirect = false;
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn pass(&mut self, location: Location) {
        self.selection.location = Some(location);
        self.selection.is_wanted |= (self.wanted)(location);
    }
}

enum Match {
    Exact(Location),
    Prefix(Location),
    /// The URI lacks the slash at the end of the location's name.
    SlashMissing(Location),
}

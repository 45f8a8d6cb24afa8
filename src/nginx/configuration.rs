//! The configuration while nginx reads it.

use core::ffi::{CStr, c_void};
use core::fmt;
use core::marker::PhantomData;
use core::ptr::{self, NonNull};

#[cfg(feature = "plays")]
use nginx_sys::ngx_http_phases_NGX_HTTP_LOG_PHASE as NGX_HTTP_LOG_PHASE;
use nginx_sys::{
    NGX_OK, ngx_array_push, ngx_conf_full_name, ngx_conf_t, ngx_http_conf_ctx_t,
    ngx_http_core_main_conf_t, ngx_http_core_srv_conf_t, ngx_http_handler_pt, ngx_http_phases,
    ngx_http_variable_t, ngx_int_t, ngx_parse_offset, ngx_parse_time, ngx_str_t,
};

use super::Failure;
use super::location::Location;
use super::log::{Level, Log, Text};
use super::module::{self, MainData, core_index};
use super::pool::Pool;
use super::request::{bytes, string};

const OK: ngx_int_t = NGX_OK as ngx_int_t;

/// The configuration during a call from nginx into the module: `ngx_conf_t`.
#[derive(Debug)]
pub(crate) struct Conf<'c> {
    raw: NonNull<ngx_conf_t>,
    lives: PhantomData<&'c ()>,
}

/// The base of a relative path.
#[derive(Clone, Copy, Debug)]
pub(crate) enum PathBase {
    /// nginx's prefix.
    Prefix = 0,
    /// The directory of nginx.conf.
    Configuration = 1,
}

/// The index of a variable among those that directives use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct VariableIndex(pub(super) usize);

/// The file and line of a directive, for messages after its block: nginx's own function would add
/// the end of `http {}` then.
#[derive(Clone, Debug)]
pub(crate) struct ConfPosition {
    file: String,
    line: usize,
}

impl ConfPosition {
    /// Logs a message about the directive, in the form of nginx's own.
    pub(crate) fn log(&self, log: Option<Log>, level: Level, message: impl fmt::Display) {
        if let Some(log) = log {
            log.write(level, 0, format_args!("{message} in {self}"));
        }
    }
}

impl fmt::Display for ConfPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

// SAFETY of this block's calls: nginx passes a valid `ngx_conf_t` to the functions of a module's
// context and commands, with pool, cycle, log and, inside `http {}`, a `ngx_http_conf_ctx_t`.
impl Conf<'_> {
    /// # Safety
    ///
    /// `cf` is null or valid as long as the value, and nginx is reading `http {}`.
    pub(crate) unsafe fn from_raw(cf: *mut ngx_conf_t) -> Option<Self> {
        NonNull::new(cf).map(|raw| Self { raw, lives: PhantomData })
    }

    pub(super) fn as_raw(&self) -> *mut ngx_conf_t {
        self.raw.as_ptr()
    }

    pub(crate) fn pool(&self) -> Pool<'static> {
        // SAFETY: see above. The pool lives as long as the configuration (nginx.rs).
        unsafe { Pool::from_raw(NonNull::new_unchecked((*self.as_raw()).pool)) }
    }

    pub(crate) fn log_handle(&self) -> Option<Log> {
        // SAFETY: see above.
        unsafe { Log::from_raw((*self.as_raw()).log) }
    }

    pub(super) fn raw_argument(&self, index: usize) -> Option<ngx_str_t> {
        // SAFETY: see above; `args` is an array of strings.
        unsafe {
            let args = (*self.as_raw()).args.as_ref()?;
            args.as_slice::<ngx_str_t>().get(index).copied()
        }
    }

    /// An argument of the directive that is being read; 0 is the directive's name.
    pub(crate) fn argument(&self, index: usize) -> &'static [u8] {
        // SAFETY: arguments stay in the configuration's pool.
        self.raw_argument(index).map_or(&[], |argument| unsafe { bytes(argument) })
    }

    /// The arguments after the directive's name.
    pub(crate) fn arguments(&self) -> impl Iterator<Item = &'static [u8]> {
        // SAFETY: see above.
        let count = unsafe { (*self.as_raw()).args.as_ref().map_or(0, |args| args.nelts) };
        (1..count).map(|index| self.argument(index))
    }

    /// The position of the directive that is being read.
    pub(crate) fn position(&self) -> ConfPosition {
        // SAFETY: see above; while a directive of a file is read `conf_file` is set, and is null
        // or without a name for `-g` only.
        match unsafe { (*self.as_raw()).conf_file.as_ref() } {
            Some(file) => {
                // SAFETY: the name of an open file stays while it is read.
                let name = unsafe { bytes(file.file.name) };
                ConfPosition { file: Text(name).to_string(), line: file.line }
            }
            None => ConfPosition { file: "command line".into(), line: 0 },
        }
    }

    /// A size such as `1m`, in bytes.
    pub(crate) fn parse_size(value: &[u8]) -> Option<u64> {
        let mut value = string(value);
        // SAFETY: the function only reads the string.
        u64::try_from(unsafe { ngx_parse_offset(&raw mut value) }).ok()
    }

    /// `on` or `off`, case-insensitive as in nginx's own directives.
    pub(crate) fn parse_flag(value: &[u8]) -> Option<bool> {
        let is = |word: &[u8]| value.eq_ignore_ascii_case(word);
        if is(b"on") { Some(true) } else { is(b"off").then_some(false) }
    }

    /// A time such as `5s`, in milliseconds.
    pub(crate) fn parse_time(value: &[u8]) -> Option<u64> {
        let mut value = string(value);
        // SAFETY: the function only reads the string.
        u64::try_from(unsafe { ngx_parse_time(&raw mut value, 0) }).ok()
    }

    /// A time such as `5m`, in seconds.
    #[cfg(any(feature = "links", feature = "plays"))]
    pub(crate) fn parse_seconds(value: &[u8]) -> Option<u64> {
        let mut value = string(value);
        // SAFETY: the function only reads the string.
        u64::try_from(unsafe { ngx_parse_time(&raw mut value, 1) }).ok()
    }

    /// The absolute path: a relative one is below nginx's prefix, as that of `root`, or below the
    /// directory of the configuration, as that of `include`.
    pub(crate) fn full_path(&self, path: &[u8], base: PathBase) -> Result<&'static [u8], Failure> {
        // The function reads a NUL behind the path.
        let copy = self.pool().concat([path, b"\0"])?;
        let mut name = ngx_str_t { len: path.len(), data: copy.as_mut_ptr() };
        // SAFETY: see above; the result is in the configuration's pool.
        unsafe {
            let cycle = (*self.as_raw()).cycle;
            match ngx_conf_full_name(cycle, &raw mut name, base as nginx_sys::ngx_uint_t) {
                OK => Ok(bytes(name)),
                _ => Err(Failure("ngx_conf_full_name() failed")),
            }
        }
    }

    fn context(&self) -> *mut ngx_http_conf_ctx_t {
        // SAFETY: see above.
        unsafe { (*self.as_raw()).ctx.cast() }
    }

    fn core_main_conf(&self) -> *mut ngx_http_core_main_conf_t {
        // SAFETY: see above.
        unsafe { module::core_main_conf((*self.context()).main_conf) }
    }

    /// The location that is being read or merged, or the server outside of any.
    pub(crate) fn location(&self) -> Option<Location> {
        // SAFETY: see above.
        unsafe { Location::from_loc_conf((*self.context()).loc_conf) }
    }

    /// Whether the directive that is being read is in a location.
    #[cfg(feature = "links")]
    pub(crate) fn is_in_location(&self) -> bool {
        // SAFETY: see above.
        unsafe { (*self.as_raw()).cmd_type & nginx_sys::NGX_HTTP_LOC_CONF as usize != 0 }
    }

    /// The server's own "location", which contains all others.
    pub(crate) fn server(&self) -> Option<Location> {
        // SAFETY: see above; the core module has a configuration of every server, with its context.
        unsafe {
            let cscf: *mut ngx_http_core_srv_conf_t =
                (*(*self.context()).srv_conf.add(core_index())).cast();
            let context = cscf.as_ref()?.ctx.as_ref()?;
            Location::from_loc_conf(context.loc_conf)
        }
    }

    /// The module's configuration for all of `http {}`.
    pub(crate) fn main_conf<T: MainData>(&self) -> Option<&'static T> {
        // SAFETY: see above, and by the contract of `MainData`.
        unsafe { (*(*self.context()).main_conf.add(module::ctx_index())).cast::<T>().as_ref() }
    }

    /// The index of a variable; `None` if no directive so far uses it.
    pub(crate) fn variable_index(&self, name: &[u8]) -> Option<VariableIndex> {
        self.variable_names().position(|used| used == name).map(VariableIndex)
    }

    /// The name of a variable.
    pub(super) fn variable_name(
        &self,
        VariableIndex(index): VariableIndex,
    ) -> Option<&'static [u8]> {
        self.variable_names().nth(index)
    }

    /// A variable of the client's query string that a directive uses, if there is one.
    pub(crate) fn variable_of_arguments(&self) -> Option<&'static [u8]> {
        let whole: [&[u8]; 3] = [b"args", b"is_args", b"query_string"];
        self.variable_names().find(|name| whole.contains(name) || name.starts_with(b"arg_"))
    }

    /// The names of the variables that directives use so far, in the order of their indexes.
    pub(super) fn variable_names(&self) -> impl Iterator<Item = &'static [u8]> {
        // SAFETY: see above; the core module has a main configuration, with an array of the
        // variables that directives use. Their names stay in the configuration's pool.
        unsafe {
            let variables = (*self.core_main_conf()).variables.as_slice::<ngx_http_variable_t>();
            variables.iter().map(|variable| bytes(variable.name))
        }
    }

    /// Whether `try_files` or `mirror` of another module is in effect in a location.
    ///
    /// From 1.22 to 1.31 the configuration of these modules begins with a pointer
    /// (`ngx_http_try_file_t *try_files`, `ngx_array_t *mirror`), null if it is not.
    pub(crate) fn has_directive_of(&self, module_name: &CStr, location: Location) -> bool {
        !self.first_pointer(module_name, location).is_null()
    }

    /// The pointer that a module's configuration of a location, or of a server outside of its
    /// locations, begins with; null if there is no such module.
    pub(super) fn first_pointer(&self, module_name: &CStr, location: Location) -> *mut c_void {
        let conf: *mut *mut c_void = self.conf_of(module_name, location).cast();
        // SAFETY: see above; the configuration of one of this name is null or begins with a pointer.
        unsafe { conf.as_ref().map_or(ptr::null_mut(), |first| *first) }
    }

    /// A module's configuration of a location, or of a server outside of its locations; null if
    /// there is no such module.
    pub(super) fn conf_of(&self, module_name: &CStr, location: Location) -> *mut c_void {
        let Some(module) = self.module(module_name) else { return ptr::null_mut() };
        let loc_conf = Some(location.loc_conf()).filter(|loc_conf| !loc_conf.is_null());
        let Some(loc_conf) = loc_conf.or_else(|| self.loc_conf_of_server(location)) else {
            return ptr::null_mut();
        };
        // SAFETY: see above; the array has an element for each HTTP module.
        unsafe { *loc_conf.add(module.ctx_index) }
    }

    /// The configurations of all HTTP modules in a server outside of its locations. nginx has them
    /// in each location's, but not in the server's own.
    fn loc_conf_of_server(&self, server: Location) -> Option<*mut *mut c_void> {
        // SAFETY: see above; the core module has a main configuration with an array of its
        // configurations of servers, each of which has a context.
        unsafe {
            let servers =
                (*self.core_main_conf()).servers.as_slice::<*mut ngx_http_core_srv_conf_t>();
            servers
                .iter()
                .map(|&cscf| (*(*cscf).ctx).loc_conf)
                .find(|&loc_conf| Location::from_loc_conf(loc_conf) == Some(server))
        }
    }

    /// Adds a handler to a phase.
    pub(crate) fn add_phase_handler(
        &self,
        phase: ngx_http_phases,
        handler: ngx_http_handler_pt,
    ) -> Result<(), Failure> {
        // SAFETY: see above; the core module has a main configuration, with a list of handlers
        // for each phase.
        unsafe {
            let phases = &mut (*self.core_main_conf()).phases;
            let phase = phases.get_mut(phase as usize).ok_or(Failure("unknown phase"))?;
            let element = ngx_array_push(&raw mut phase.handlers).cast::<ngx_http_handler_pt>();
            if element.is_null() {
                return Err(Failure::NO_MEMORY);
            }
            element.write(handler);
        }
        Ok(())
    }

    /// Adds a handler to the log phase, before all others: that of the access log, say.
    #[cfg(feature = "plays")]
    pub(crate) fn add_first_log_handler(
        &self,
        handler: ngx_http_handler_pt,
    ) -> Result<(), Failure> {
        self.add_phase_handler(NGX_HTTP_LOG_PHASE, handler)?;
        // SAFETY: see above; the list has an element at least, and handlers of this phase run in the
        // order of the list (`ngx_http_log_request`).
        unsafe {
            let phases = &(*self.core_main_conf()).phases;
            let phase = phases.get(NGX_HTTP_LOG_PHASE as usize).ok_or(Failure("unknown phase"))?;
            let elements = phase.handlers.elts.cast::<ngx_http_handler_pt>();
            ptr::copy(elements, elements.add(1), phase.handlers.nelts - 1);
            elements.write(handler);
        }
        Ok(())
    }
}

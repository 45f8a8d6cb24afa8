//! The configuration while nginx reads it.

use core::ffi::{CStr, c_void};
use core::fmt;
use core::marker::PhantomData;
use core::ptr::{self, NonNull};

use nginx_sys::{
    NGX_OK, ngx_array_push, ngx_array_t, ngx_conf_full_name, ngx_conf_t, ngx_http_conf_ctx_t,
    ngx_http_core_main_conf_t, ngx_http_core_srv_conf_t, ngx_http_handler_pt, ngx_http_phases,
    ngx_http_variable_t, ngx_int_t, ngx_parse_offset, ngx_parse_time, ngx_str_t,
};

use super::Failure;
use super::location::Location;
use super::log::{Level, Log, Text};
use super::module::{self, MainData, core_index};
use super::pool::Pool;
use super::request::{bytes, string};

/// The configuration for the time of one call from nginx into the module.
#[derive(Debug)]
pub(crate) struct Conf<'c> {
    raw: NonNull<ngx_conf_t>,
    lives: PhantomData<&'c ()>,
}

/// What a relative path is below.
#[derive(Clone, Copy, Debug)]
pub(crate) enum PathBase {
    /// nginx's prefix.
    Prefix = 0,
    /// The directory of nginx.conf.
    Configuration = 1,
}

/// The place of a variable among those whose values nginx keeps for a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct VariableIndex(pub(super) usize);

/// Where a directive stands, for messages that are written after its block has ended: nginx's own
/// function for them would name the end of `http {}` then.
#[derive(Clone, Debug)]
pub(crate) struct ConfPosition {
    file: String,
    line: usize,
}

impl fmt::Display for ConfPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

// SAFETY of this block's calls: nginx hands a valid `ngx_conf_t` to the functions of a module's
// context and commands, with pool, cycle, log and, inside `http {}`, a `ngx_http_conf_ctx_t`.
impl<'c> Conf<'c> {
    /// # Safety
    ///
    /// `cf` is null or valid for `'c`, and nginx is reading `http {}`.
    pub(crate) unsafe fn from_raw(cf: *mut ngx_conf_t) -> Option<Self> {
        NonNull::new(cf).map(|raw| Self { raw, lives: PhantomData })
    }

    pub(super) fn as_raw(&self) -> *mut ngx_conf_t {
        self.raw.as_ptr()
    }

    pub(crate) fn pool(&self) -> Pool<'static> {
        // SAFETY: see above. The pool goes with the configuration (nginx.rs).
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

    /// The arguments behind the directive's name.
    pub(crate) fn arguments(&self) -> impl Iterator<Item = &'static [u8]> {
        // SAFETY: see above.
        let count = unsafe { (*self.as_raw()).args.as_ref().map_or(0, |args| args.nelts) };
        (1..count).map(|index| self.argument(index))
    }

    /// Where the directive stands that is being read.
    pub(crate) fn place(&self) -> ConfPosition {
        // SAFETY: see above; while a directive of a file is read `conf_file` is set, and is null
        // or without a name for `-g` only.
        unsafe {
            match (*self.as_raw()).conf_file.as_ref() {
                Some(file) => {
                    ConfPosition { file: Text(bytes(file.file.name)).to_string(), line: file.line }
                }
                None => ConfPosition { file: "command line".into(), line: 0 },
            }
        }
    }

    /// Writes a message about the directive at `place`, in the form of nginx's own.
    pub(crate) fn log_at(&self, level: Level, place: &ConfPosition, message: impl fmt::Display) {
        if let Some(log) = self.log_handle() {
            log.write(level, 0, format_args!("{message} in {place}"));
        }
    }

    /// A size such as `1m`, in bytes.
    pub(crate) fn parse_size(value: &[u8]) -> Option<u64> {
        let mut value = string(value);
        // SAFETY: the function only reads the string.
        u64::try_from(unsafe { ngx_parse_offset(&raw mut value) }).ok()
    }

    /// `on` or `off`, in any case as nginx's own directives take it.
    pub(crate) fn parse_flag(value: &[u8]) -> Option<bool> {
        [(&b"on"[..], true), (&b"off"[..], false)]
            .into_iter()
            .find_map(|(word, flag)| value.eq_ignore_ascii_case(word).then_some(flag))
    }

    /// A time such as `5s`, in milliseconds.
    pub(crate) fn parse_time(value: &[u8]) -> Option<u64> {
        let mut value = string(value);
        // SAFETY: the function only reads the string.
        u64::try_from(unsafe { ngx_parse_time(&raw mut value, 0) }).ok()
    }

    /// A path; relative ones are below nginx's prefix, as `root` has them, or below the directory
    /// of the configuration, as `include` has them.
    pub(crate) fn full_path(&self, path: &[u8], below: PathBase) -> Result<&'static [u8], Failure> {
        // The function wants a NUL behind the path.
        let copy = self.pool().bytes(path.len() + 1)?;
        copy.iter_mut().zip(path).for_each(|(to, from)| *to = *from);
        let mut name = ngx_str_t { len: path.len(), data: copy.as_mut_ptr() };
        // SAFETY: see above; the result is in the configuration's pool.
        unsafe {
            let rc = ngx_conf_full_name(
                (*self.as_raw()).cycle,
                &raw mut name,
                below as nginx_sys::ngx_uint_t,
            );
            if rc == NGX_OK as ngx_int_t {
                Ok(bytes(name))
            } else {
                Err(Failure("ngx_conf_full_name() failed"))
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

    /// The server's own "location", in which all others are.
    pub(crate) fn server(&self) -> Option<Location> {
        // SAFETY: see above; the core module has a configuration in every server, and that its
        // context.
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

    /// Where a variable stands whose value nginx keeps for a request; `None` if no directive so far
    /// names it.
    pub(crate) fn variable_index(&self, name: &[u8]) -> Option<VariableIndex> {
        self.variables()
            // SAFETY: the name of a variable stays in the configuration's pool.
            .position(|variable| unsafe { bytes(variable.name) } == name)
            .map(VariableIndex)
    }

    /// Whether a directive reads the client's query string: the variable that does, if there is one.
    pub(crate) fn variable_of_arguments(&self) -> Option<&'static [u8]> {
        self.variables().map(|variable| variable.name).find_map(|name| {
            // SAFETY: the name of a variable stays in the configuration's pool.
            let name: &'static [u8] = unsafe { bytes(name) };
            let whole: [&[u8]; 3] = [b"args", b"is_args", b"query_string"];
            (whole.contains(&name) || name.starts_with(b"arg_")).then_some(name)
        })
    }

    /// The variables that directives name so far, in the order of their indexes.
    fn variables(&self) -> impl Iterator<Item = ngx_http_variable_t> {
        // SAFETY: see above; the core module has a main configuration, with an array of the
        // variables that directives name.
        unsafe {
            let variables = &(*self.core_main_conf()).variables;
            variables.as_slice::<ngx_http_variable_t>().iter().copied()
        }
    }

    /// The name of a variable.
    pub(super) fn variable_name(
        &self,
        VariableIndex(index): VariableIndex,
    ) -> Option<&'static [u8]> {
        // SAFETY: the name of a variable stays in the configuration's pool.
        self.variables().nth(index).map(|variable| unsafe { bytes(variable.name) })
    }

    /// Whether a directive of another module whose configuration of a location begins with a
    /// pointer is in effect in `location`.
    ///
    /// The modules meant are try_files (`ngx_http_try_file_t *try_files`) and mirror
    /// (`ngx_array_t *mirror`): in all versions from 1.22 to 1.31 the pointer is the only or the
    /// first field, and null where the directive is not in effect.
    pub(crate) fn has_directive_of(&self, module_name: &CStr, location: Location) -> bool {
        !self.first_pointer(module_name, location).is_null()
    }

    /// The pointer that the configuration of a module in a location, or in a server outside of its
    /// locations, begins with; null if there is no such module. The module is one whose
    /// configuration does.
    pub(super) fn first_pointer(&self, module_name: &CStr, location: Location) -> *mut c_void {
        let Some(module) = self.module(module_name) else { return ptr::null_mut() };
        let loc_conf = Some(location.loc_conf()).filter(|loc_conf| !loc_conf.is_null());
        let Some(loc_conf) = loc_conf.or_else(|| self.loc_conf_of_server(location)) else {
            return ptr::null_mut();
        };
        // SAFETY: see above; the array has an element for each HTTP module, and the module of this
        // name has the configuration described.
        unsafe {
            let conf: *mut *mut c_void = (*loc_conf.add((*module).ctx_index)).cast();
            if conf.is_null() { ptr::null_mut() } else { *conf }
        }
    }

    /// The configurations of all HTTP modules in a server outside of its locations. nginx notes
    /// them in each location, but not in what it has of a server in the place of one.
    fn loc_conf_of_server(&self, server: Location) -> Option<*mut *mut c_void> {
        // SAFETY: see above; the core module has a main configuration with an array of its
        // configurations of servers, each of which has a context.
        unsafe {
            let servers =
                (*self.core_main_conf()).servers.as_slice::<*mut ngx_http_core_srv_conf_t>();
            servers.iter().map(|&cscf| (*(*cscf).ctx).loc_conf).find(|&loc_conf| {
                Location::from_loc_conf(loc_conf).is_some_and(|location| location == server)
            })
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
            let phases = &raw mut (*self.core_main_conf()).phases;
            let handlers: *mut ngx_array_t = &raw mut (*phases)
                .get_mut(phase as usize)
                .ok_or(Failure("no such phase"))?
                .handlers;
            let place = ngx_array_push(handlers).cast::<ngx_http_handler_pt>();
            if place.is_null() {
                return Err(Failure::NO_MEMORY);
            }
            place.write(handler);
        }
        Ok(())
    }
}

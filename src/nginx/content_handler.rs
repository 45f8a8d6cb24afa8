//! The handler that makes a response, where a directive has given a location one.

use core::ffi::{CStr, c_void};
use core::mem;
use core::ptr;

use nginx_sys::{
    ngx_command_t, ngx_conf_t, ngx_http_conf_ctx_t, ngx_http_core_loc_conf_t, ngx_http_handler_pt,
    ngx_http_module_t, ngx_int_t, ngx_module_t,
};

use super::configuration::Conf;
use super::location::Location;
use super::module::core_index;
use super::request::Request;

/// A content handler of nginx's, `clcf->handler`.
type Handler = unsafe extern "C" fn(*mut nginx_sys::ngx_http_request_t) -> ngx_int_t;

/// The handlers that serve a file and seek in it by an argument (`?start=`): those of `mp4` and
/// `flv`. `None`: this nginx does not have it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SeekHandlers([Option<Handler>; 2]);

impl SeekHandlers {
    /// The directives that set them, and their modules.
    const DIRECTIVES: [(&CStr, &CStr); 2] =
        [(c"ngx_http_mp4_module", c"mp4"), (c"ngx_http_flv_module", c"flv")];

    /// Finds them in the nginx that reads the configuration.
    pub(crate) fn of(conf: &Conf<'_>) -> Self {
        Self(Self::DIRECTIVES.map(|(module, directive)| conf.handler_set_by(module, directive)))
    }

    /// Whether there is a handler and it is none of these.
    fn lack(self, handler: ngx_http_handler_pt) -> bool {
        let has = |handler| self.0.into_iter().flatten().any(|own| ptr::fn_addr_eq(own, handler));
        handler.is_some_and(|handler| !has(handler))
    }
}

// SAFETY of this block's calls: as for the other methods of `Conf`.
impl Conf<'_> {
    /// The content handler that a directive without arguments gives to a location.
    ///
    /// The functions are not visible outside of their files, so the directive is carried out, on a
    /// location that is used for nothing else.
    fn handler_set_by(&self, module: &CStr, directive: &CStr) -> Option<Handler> {
        let module = self.module(module)?;
        // SAFETY: see above. An HTTP module has a context and commands, which end with one that
        // has no name; a name ends with a NUL. The setters of the two directives only write to the
        // core module's configuration of the location in the context that they are given, here
        // `clcf`, of which all fields are zero. That and their own configuration are new, and
        // nobody else has them; the latter is in the configuration's pool.
        unsafe {
            let context = (*module).ctx.cast::<ngx_http_module_t>().as_ref()?;
            let mut command: *mut ngx_command_t = (*module).commands;
            while !command.is_null() && (*command).name.len != 0 {
                if CStr::from_ptr((*command).name.data.cast()) == directive {
                    break;
                }
                command = command.add(1);
            }
            let set = command.as_ref()?.set?;
            let raw = self.as_raw();
            let own = context.create_loc_conf.map_or(ptr::null_mut(), |create| create(raw));

            let mut clcf: ngx_http_core_loc_conf_t = mem::zeroed();
            let core = core_index();
            let mut loc_conf: Vec<*mut c_void> = vec![ptr::null_mut(); core + 1];
            *loc_conf.get_mut(core)? = (&raw mut clcf).cast();
            let outer = (*raw).ctx.cast::<ngx_http_conf_ctx_t>();
            let mut inner = ngx_http_conf_ctx_t { loc_conf: loc_conf.as_mut_ptr(), ..*outer };
            let mut scratch: ngx_conf_t = *raw;
            scratch.ctx = (&raw mut inner).cast();
            set(&raw mut scratch, command, own);
            clcf.handler
        }
    }

    /// A module of this nginx, by its name.
    pub(super) fn module(&self, name: &CStr) -> Option<*mut ngx_module_t> {
        // SAFETY: see above; the cycle's array of modules ends with a null pointer, and each module
        // has a name by then.
        unsafe {
            let mut modules: *mut *mut ngx_module_t = (*(*self.as_raw()).cycle).modules;
            while let Some(module) = (*modules).as_ref() {
                if !module.name.is_null() && CStr::from_ptr(module.name) == name {
                    return Some(*modules);
                }
                modules = modules.add(1);
            }
        }
        None
    }
}

// SAFETY of this block's calls: as for the other methods of `Location`.
impl Location {
    fn content_handler(self) -> ngx_http_handler_pt {
        // SAFETY: see above.
        unsafe { (*self.as_raw()).handler }
    }

    /// Whether a directive such as `proxy_pass` or `mp4` takes the content phase.
    pub(crate) fn has_content_handler(self) -> bool {
        self.content_handler().is_some()
    }

    /// Whether a directive does that is none of those.
    pub(crate) fn has_other_content_handler(self, known: SeekHandlers) -> bool {
        known.lack(self.content_handler())
    }
}

// SAFETY of this block's calls: as for the other methods of `Request`.
impl Request<'_> {
    fn content_handler(&self) -> ngx_http_handler_pt {
        // SAFETY: see above.
        unsafe { (*self.as_raw()).content_handler }
    }

    /// Whether a content handler will make the response, as the location stands now.
    pub(crate) fn has_content_handler(&self) -> bool {
        self.content_handler().is_some()
    }

    /// Whether one will that is none of those.
    pub(crate) fn has_other_content_handler(&self, known: SeekHandlers) -> bool {
        known.lack(self.content_handler())
    }
}

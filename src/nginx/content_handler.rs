//! Content handlers: `clcf->handler` and `r->content_handler`.

use core::ffi::{CStr, c_void};
use core::mem;
use core::ptr;

use nginx_sys::{
    ngx_conf_t, ngx_http_conf_ctx_t, ngx_http_core_loc_conf_t, ngx_http_handler_pt,
    ngx_http_module_t, ngx_int_t, ngx_module_t, ngx_str_t,
};

use super::configuration::Conf;
use super::location::Location;
use super::module::{self, core_index};
use super::request::Request;

/// A content handler.
pub(crate) type Handler = unsafe extern "C" fn(*mut nginx_sys::ngx_http_request_t) -> ngx_int_t;

/// The handlers that seek in a file by an argument (`?start=`): those of `mp4` and `flv`. `None` if
/// nginx is built without.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SeekHandlers([Option<Handler>; 2]);

impl SeekHandlers {
    /// Their modules and directives.
    const DIRECTIVES: [(&CStr, &CStr); 2] =
        [(c"ngx_http_mp4_module", c"mp4"), (c"ngx_http_flv_module", c"flv")];

    /// Finds them in the nginx that reads the configuration.
    pub(crate) fn of(conf: &Conf<'_>) -> Self {
        Self(Self::DIRECTIVES.map(|(module, directive)| conf.handler_set_by(module, directive)))
    }

    /// Whether `handler` is another one.
    fn lack(self, handler: ngx_http_handler_pt) -> bool {
        let has = |handler| self.0.into_iter().flatten().any(|own| ptr::fn_addr_eq(own, handler));
        handler.is_some_and(|handler| !has(handler))
    }
}

// SAFETY of this block's calls: as for the other methods of `Conf`.
impl Conf<'_> {
    /// The content handler set by a directive without arguments.
    ///
    /// Handlers are private to their files, so the directive's setter runs on a scratch location.
    fn handler_set_by(&self, module: &CStr, directive: &CStr) -> Option<Handler> {
        let module = self.module(module)?;
        // SAFETY: see above. An HTTP module has a context and commands, which end with one that has
        // neither name nor setter; a name ends with a NUL. The setters of the two directives only
        // write to the core module's configuration of the location, here `clcf`, all zero. That and
        // their own configuration are not used elsewhere; the latter is in the configuration's pool.
        unsafe {
            let context = module.ctx.cast::<ngx_http_module_t>().as_ref()?;
            let mut command = module.commands;
            let is_named = |name: ngx_str_t| CStr::from_ptr(name.data.cast()) == directive;
            while !command.is_null() && (*command).name.len != 0 && !is_named((*command).name) {
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
    pub(super) fn module(&self, name: &CStr) -> Option<&ngx_module_t> {
        // SAFETY: see above; each module has a name by then.
        unsafe {
            module::all((*self.as_raw()).cycle)
                .find(|module| !module.name.is_null() && CStr::from_ptr(module.name) == name)
        }
    }
}

// SAFETY of this block's calls: as for the other methods of `Location`.
impl Location {
    /// Whether a directive such as `proxy_pass` or `mp4` sets a content handler.
    pub(crate) fn has_content_handler(self) -> bool {
        // SAFETY: see above.
        unsafe { (*self.as_raw()).handler.is_some() }
    }

    /// Whether it is none of these.
    pub(crate) fn has_other_content_handler(self, known: SeekHandlers) -> bool {
        // SAFETY: see above.
        known.lack(unsafe { (*self.as_raw()).handler })
    }

    /// Sets a content handler, while the location is read.
    #[cfg(feature = "plays")]
    pub(crate) fn set_content_handler(self, handler: Handler) {
        // SAFETY: see above; nobody has a reference to the configuration.
        unsafe { (*self.as_raw()).handler = Some(handler) };
    }
}

// SAFETY of this block's calls: as for the other methods of `Request`.
impl Request<'_> {
    /// Whether a content handler is set to make the response.
    pub(crate) fn has_content_handler(&self) -> bool {
        // SAFETY: see above.
        unsafe { (*self.as_raw()).content_handler.is_some() }
    }

    /// Whether it is none of these.
    pub(crate) fn has_other_content_handler(&self, known: SeekHandlers) -> bool {
        // SAFETY: see above.
        known.lack(unsafe { (*self.as_raw()).content_handler })
    }
}

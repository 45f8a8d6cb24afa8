//! The tables that nginx reads, and the functions in them.
//!
//! Each function makes safe values of what nginx hands over and calls the code that decides,
//! inside the guard that keeps panics from nginx.

use core::ffi::{c_char, c_void};
use core::ptr;

use nginx_sys::{
    NGX_AGAIN, NGX_CONF_1MORE, NGX_CONF_TAKE1, NGX_CONF_TAKE4, NGX_CONF_TAKE123, NGX_CORE_MODULE,
    NGX_DECLINED, NGX_ERROR, NGX_HTTP_LOC_CONF, NGX_HTTP_LOC_CONF_OFFSET, NGX_HTTP_MAIN_CONF,
    NGX_HTTP_MODULE, NGX_HTTP_SRV_CONF, NGX_HTTP_VAR_NOCACHEABLE, NGX_OK, ngx_chain_t,
    ngx_command_t, ngx_conf_t, ngx_core_module_t, ngx_cycle_t, ngx_http_add_variable,
    ngx_http_handler_pt, ngx_http_module_t, ngx_http_output_body_filter_pt,
    ngx_http_output_header_filter_pt, ngx_http_phases_NGX_HTTP_PREACCESS_PHASE,
    ngx_http_phases_NGX_HTTP_PRECONTENT_PHASE, ngx_http_phases_NGX_HTTP_REWRITE_PHASE,
    ngx_http_post_subrequest_pt, ngx_http_request_t, ngx_http_top_body_filter,
    ngx_http_top_header_filter, ngx_http_variable_value_t, ngx_int_t, ngx_module_t, ngx_str_t,
    ngx_uint_t,
};
use ngx::core::{NGX_CONF_ERROR, NGX_CONF_OK};

use crate::config::check;
use crate::config::check::catalogs;
use crate::config::directives::{self, DirectiveError};
use crate::config::{Download, LocationConf, MainConf};
use crate::nginx::configuration::Conf;
use crate::nginx::content_handler::SeekHandlers;
use crate::nginx::guard::{self, fault_point};
use crate::nginx::layout::ngx_http_variable_value_t as value;
use crate::nginx::log::Level;
use crate::nginx::module::{LocationData, MainData, RequestData};
use crate::nginx::pool::{Pooled, pooled};
use crate::nginx::request::Request;
use crate::nginx::subrequest::{Content, Ending};
use crate::nginx::worker::{self, Cycle};
use crate::request::arrival;
use crate::request::cache_filter;
use crate::request::header_filter;
use crate::request::resolve;
use crate::request::state::Record;
use crate::request::{Action, PhaseResult};
use crate::variables;

const OK: ngx_int_t = NGX_OK as ngx_int_t;
const ERROR: ngx_int_t = NGX_ERROR as ngx_int_t;
const AGAIN: ngx_int_t = NGX_AGAIN as ngx_int_t;
const DECLINED: ngx_int_t = NGX_DECLINED as ngx_int_t;
const INTERNAL_SERVER_ERROR: i16 = 500;

// SAFETY: `create_main_conf` makes this type.
unsafe impl MainData for MainConf {}

// SAFETY: `create_loc_conf` makes this type.
unsafe impl LocationData for LocationConf {}

// SAFETY: there is no other type of request data.
unsafe impl RequestData for Record<'_> {
    const SUBREQUEST_DONE: ngx_http_post_subrequest_pt = Some(subrequest_done);
}

// nginx drops a configuration with its pool: after the last request that began with it has ended,
// or when the process ends, also while requests are open, for which nothing runs any more then. A
// request's pool goes with the request; what its record points to is in that pool, which is still
// whole when the record is dropped, or in the configuration.
pooled!(MainConf);
pooled!(LocationConf);
pooled!(Record<'_>);

/* Tables */

static MODULE_CONTEXT: ngx_http_module_t = ngx_http_module_t {
    preconfiguration: Some(preconfiguration),
    postconfiguration: Some(postconfiguration),
    create_main_conf: Some(create_main_conf),
    init_main_conf: None,
    create_srv_conf: None,
    merge_srv_conf: None,
    create_loc_conf: Some(create_loc_conf),
    merge_loc_conf: Some(merge_loc_conf),
};

/// The module as nginx knows it.
#[used]
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals, unreachable_pub, reason = "nginx knows it by this name")]
pub static mut ngx_http_xspace_module: ngx_module_t = ngx_module_t {
    ctx: (&raw const MODULE_CONTEXT).cast_mut().cast(),
    commands: (&raw mut COMMANDS).cast(),
    type_: NGX_HTTP_MODULE as ngx_uint_t,
    init_process: Some(init_process),
    ..ngx_module_t::default()
};

static FILTER_CONTEXT: ngx_http_module_t = ngx_http_module_t {
    preconfiguration: None,
    postconfiguration: Some(filter_postconfiguration),
    create_main_conf: None,
    init_main_conf: None,
    create_srv_conf: None,
    merge_srv_conf: None,
    create_loc_conf: None,
    merge_loc_conf: None,
};

/// A second module of the same library, for the header filter that has to run behind NGINX's
/// `headers_filter`: a module has one place in the order of filters.
#[used]
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals, unreachable_pub, reason = "nginx knows it by this name")]
pub static mut ngx_http_xspace_cache_filter_module: ngx_module_t = ngx_module_t {
    ctx: (&raw const FILTER_CONTEXT).cast_mut().cast(),
    commands: ptr::null_mut(),
    type_: NGX_HTTP_MODULE as ngx_uint_t,
    ..ngx_module_t::default()
};

static mut CONFIGURATION_CONTEXT: ngx_core_module_t = ngx_core_module_t {
    name: ngx_str_t {
        len: CONFIGURATION_NAME.count_bytes(),
        data: CONFIGURATION_NAME.as_ptr().cast_mut().cast(),
    },
    create_conf: None,
    init_conf: Some(init_conf),
};

const CONFIGURATION_NAME: &core::ffi::CStr = c"http_xspace_configuration";

/// A third module of the same library, for what can be judged only when nginx has read all of its
/// configuration, also what is behind `http {}`. nginx calls `init_conf` of core modules then, while
/// the configuration can still be refused: if `init_module` fails, nginx ends.
#[used]
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals, unreachable_pub)]
pub static mut ngx_http_xspace_configuration_module: ngx_module_t = ngx_module_t {
    ctx: (&raw mut CONFIGURATION_CONTEXT).cast(),
    commands: ptr::null_mut(),
    type_: NGX_CORE_MODULE as ngx_uint_t,
    ..ngx_module_t::default()
};

/// What nginx looks up in a loadable module. `ngx::ngx_modules!` would leave the order empty.
#[cfg(feature = "export-modules")]
#[allow(non_upper_case_globals, unreachable_pub, reason = "nginx knows them by these names")]
mod exports {
    use super::*;

    /// The modules in this library.
    #[unsafe(no_mangle)]
    pub static mut ngx_modules: [*const ngx_module_t; 4] = [
        (&raw const ngx_http_xspace_module).cast(),
        (&raw const ngx_http_xspace_cache_filter_module).cast(),
        (&raw const ngx_http_xspace_configuration_module).cast(),
        ptr::null(),
    ];

    /// Their names.
    #[unsafe(no_mangle)]
    pub static mut ngx_module_names: [*const c_char; 4] = [
        c"ngx_http_xspace_module".as_ptr(),
        CACHE_FILTER.as_ptr(),
        c"ngx_http_xspace_configuration_module".as_ptr(),
        ptr::null(),
    ];

    /// Before which modules they stand: nginx puts each before all that follow it here. Header
    /// filters run from the last module to the first.
    ///
    /// The first one stands where nginx's own build puts modules of the type HTTP_AUX_FILTER.
    /// Without that its filter would run before `not_modified`, and a 304 would carry what it adds.
    /// The filter of the other one runs behind `headers_filter`.
    #[unsafe(no_mangle)]
    pub static mut ngx_module_order: [*const c_char; 5] = [
        CACHE_FILTER.as_ptr(),
        c"ngx_http_headers_filter_module".as_ptr(),
        c"ngx_http_xspace_module".as_ptr(),
        c"ngx_http_copy_filter_module".as_ptr(),
        ptr::null(),
    ];

    const CACHE_FILTER: &core::ffi::CStr = c"ngx_http_xspace_cache_filter_module";
}

const LOCATION: u32 = NGX_HTTP_LOC_CONF;
const ANYWHERE: u32 = NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF;

static mut COMMANDS: [ngx_command_t; 12] = [
    command(c"xspace_download", LOCATION | NGX_CONF_TAKE1, set_download),
    command(c"xspace_id", LOCATION | NGX_CONF_TAKE1, set_id),
    command(c"xspace_format", ANYWHERE | NGX_CONF_TAKE1, set_format),
    command(c"xspace_attachment", ANYWHERE | NGX_CONF_TAKE1, set_attachment),
    command(c"xspace_formats", ANYWHERE | NGX_CONF_1MORE, set_formats),
    command(c"xspace_min_size", ANYWHERE | NGX_CONF_TAKE1, set_min_size),
    command(c"xspace_directory", ANYWHERE | NGX_CONF_TAKE1, set_directory),
    command(c"xspace_filename", ANYWHERE | NGX_CONF_TAKE1, set_filename),
    command(c"xspace_catalog", ANYWHERE | NGX_CONF_TAKE123 | NGX_CONF_TAKE4, set_catalog),
    command(c"xspace_lookup", ANYWHERE | NGX_CONF_TAKE1, set_lookup),
    command(c"xspace_pass_args", ANYWHERE | NGX_CONF_TAKE1, set_pass_args),
    ngx_command_t::empty(),
];

type Setter = unsafe extern "C" fn(*mut ngx_conf_t, *mut ngx_command_t, *mut c_void) -> *mut c_char;

const fn command(name: &'static core::ffi::CStr, kind: u32, set: Setter) -> ngx_command_t {
    ngx_command_t {
        name: ngx_str_t { len: name.count_bytes(), data: name.as_ptr().cast_mut().cast() },
        type_: kind as ngx_uint_t,
        set: Some(set),
        conf: NGX_HTTP_LOC_CONF_OFFSET,
        offset: 0,
        post: ptr::null_mut(),
    }
}

/* Configuration */

/// Runs `body` with the configuration that nginx is reading.
///
/// # Safety
///
/// `cf` is what nginx hands to the functions of a module's context and commands.
unsafe fn with_conf<R: Copy>(
    cf: *mut ngx_conf_t,
    failed: R,
    body: impl FnOnce(&Conf<'_>) -> R,
) -> R {
    // SAFETY: by the contract.
    let Some(conf) = (unsafe { Conf::from_raw(cf) }) else {
        return failed;
    };
    guard::catch(conf.log_handle(), failed, || body(&conf))
}

macro_rules! setter {
    ($name:ident, $set:path) => {
        unsafe extern "C" fn $name(
            cf: *mut ngx_conf_t,
            _: *mut ngx_command_t,
            lcf: *mut c_void,
        ) -> *mut c_char {
            // SAFETY: nginx hands over the location's configuration, which `create_loc_conf` made
            // and which nobody else uses meanwhile.
            unsafe {
                with_conf(cf, NGX_CONF_ERROR, |conf| match lcf.cast::<LocationConf>().as_mut() {
                    Some(lcf) => apply(conf, lcf, $set),
                    None => NGX_CONF_ERROR,
                })
            }
        }
    };
}

setter!(set_download, directives::download);
setter!(set_id, directives::id);
setter!(set_format, directives::format);
setter!(set_attachment, directives::attachment);
setter!(set_formats, directives::formats);
setter!(set_min_size, directives::min_size);
setter!(set_directory, directives::directory);
setter!(set_filename, directives::filename);
setter!(set_catalog, directives::catalog);
setter!(set_lookup, directives::lookup);
setter!(set_pass_args, directives::pass_args);

fn apply(
    conf: &Conf<'_>,
    lcf: &mut LocationConf,
    set: fn(&mut LocationConf, &MainConf, &Conf<'_>) -> Result<(), DirectiveError>,
) -> *mut c_char {
    let Some(main) = conf.main_conf::<MainConf>() else {
        return NGX_CONF_ERROR;
    };
    match set(lcf, main, conf) {
        Ok(()) => NGX_CONF_OK,
        // nginx adds the directive's name and place.
        Err(DirectiveError::Duplicate) => c"is duplicate".as_ptr().cast_mut(),
        Err(DirectiveError::Invalid(message)) => {
            conf.log_at(Level::Emerg, &conf.place(), message);
            NGX_CONF_ERROR
        }
        Err(DirectiveError::Logged) => NGX_CONF_ERROR,
    }
}

unsafe extern "C" fn create_main_conf(cf: *mut ngx_conf_t) -> *mut c_void {
    // SAFETY: nginx calls the function with its configuration.
    unsafe { with_conf(cf, ptr::null_mut(), create::<MainConf>) }
}

unsafe extern "C" fn create_loc_conf(cf: *mut ngx_conf_t) -> *mut c_void {
    // SAFETY: nginx calls the function with its configuration.
    unsafe { with_conf(cf, ptr::null_mut(), create::<LocationConf>) }
}

/// Makes a configuration that goes with its pool; null if there is no memory, as nginx expects.
fn create<T: Pooled + Default + 'static>(conf: &Conf<'_>) -> *mut c_void {
    conf.pool().store_with(T::default).map_or(ptr::null_mut(), |value| value.as_ptr().cast())
}

unsafe extern "C" fn merge_loc_conf(
    cf: *mut ngx_conf_t,
    outer: *mut c_void,
    own: *mut c_void,
) -> *mut c_char {
    // SAFETY: nginx hands over its configuration and two different ones that `create_loc_conf`
    // made.
    unsafe {
        with_conf(cf, NGX_CONF_ERROR, |conf| {
            let outer = outer.cast::<LocationConf>().as_ref();
            let own = own.cast::<LocationConf>().as_mut();
            let (Some(outer), Some(own)) = (outer, own) else {
                return NGX_CONF_ERROR;
            };
            let location = conf.location();
            if let Some(main) = conf.main_conf::<MainConf>() {
                let block = location.filter(|location| location.is_block());
                main.blocks.borrow_mut().extend(block);
            }
            own.merge(outer, location);
            NGX_CONF_OK
        })
    }
}

unsafe extern "C" fn preconfiguration(cf: *mut ngx_conf_t) -> ngx_int_t {
    guard::install_hook();
    // SAFETY: nginx calls the function with its configuration.
    unsafe { with_conf(cf, ERROR, |_| if add_variables(cf) { OK } else { ERROR }) }
}

/// # Safety
///
/// `cf` is what nginx hands to `preconfiguration`.
unsafe fn add_variables(cf: *mut ngx_conf_t) -> bool {
    variables::ALL.iter().all(|(name, variable)| {
        let mut name = ngx_str_t { len: name.len(), data: name.as_ptr().cast_mut() };
        // SAFETY: nginx copies the name in lower case and only reads it here; a variable that it
        // returns is valid.
        unsafe {
            let added =
                ngx_http_add_variable(cf, &raw mut name, NGX_HTTP_VAR_NOCACHEABLE as ngx_uint_t);
            let Some(added) = added.as_mut() else {
                return false;
            };
            added.get_handler = Some(variable_value);
            added.data = *variable as usize;
        }
        true
    })
}

unsafe extern "C" fn postconfiguration(cf: *mut ngx_conf_t) -> ngx_int_t {
    // SAFETY: nginx calls the function with its configuration, after it has merged all of it and
    // built the trees of locations.
    unsafe { with_conf(cf, ERROR, |conf| if set_up(conf) { OK } else { ERROR }) }
}

fn set_up(conf: &Conf<'_>) -> bool {
    fault_point("configuration");
    let Some(main) = conf.main_conf::<MainConf>() else {
        return false;
    };
    if catalogs::load(conf, &main.catalogs.borrow()).is_err() {
        return false;
    }
    if let Some(threads) = main.threads.get().copied().flatten() {
        if let Err(why) = threads.add(conf) {
            if let Some(log) = conf.log_handle() {
                log.write(Level::Emerg, 0, format_args!("{why}"));
            }
            return false;
        }
    }
    let downloads = main.downloads.borrow();
    if downloads.is_empty() {
        // Nothing of the module runs for requests then.
        return true;
    }

    let seek_handlers = *main.seek_handlers.get_or_init(|| SeekHandlers::of(conf));
    let blocks = main.blocks.borrow();
    let valid = downloads.iter().all(|download| {
        download.location.conf::<LocationConf>().is_some_and(|lcf| {
            check::download(conf, download, lcf, LocationConf::is_on_in, seek_handlers, &blocks)
                .is_ok()
        })
    });
    if !valid {
        return false;
    }

    // SAFETY: only the event loop and what reads the configuration use these variables, in one
    // thread, and nginx resets the chain of filters for each configuration that it reads.
    unsafe {
        NEXT_HEADER_FILTER = ngx_http_top_header_filter;
        ngx_http_top_header_filter = Some(header_filter);
        if downloads.iter().any(|download| has_lookup(download)) {
            NEXT_BODY_FILTER = ngx_http_top_body_filter;
            ngx_http_top_body_filter = Some(body_filter);
        }
    }
    let handlers: [(_, ngx_http_handler_pt); 3] = [
        (ngx_http_phases_NGX_HTTP_REWRITE_PHASE, Some(rewrite_handler)),
        (ngx_http_phases_NGX_HTTP_PREACCESS_PHASE, Some(preaccess_handler)),
        (ngx_http_phases_NGX_HTTP_PRECONTENT_PHASE, Some(precontent_handler)),
    ];
    handlers.into_iter().all(|(phase, handler)| conf.add_phase_handler(phase, handler).is_ok())
}

unsafe extern "C" fn filter_postconfiguration(cf: *mut ngx_conf_t) -> ngx_int_t {
    // SAFETY: nginx calls the function with its configuration, after it has merged all of it, and
    // has one thread meanwhile. It resets the chain of filters for each configuration.
    unsafe {
        with_conf(cf, ERROR, |conf| {
            let Some(main) = conf.main_conf::<MainConf>() else { return ERROR };
            if !main.downloads.borrow().is_empty() {
                NEXT_HEADER_FILTER_BEHIND = ngx_http_top_header_filter;
                ngx_http_top_header_filter = Some(cache_filter);
            }
            OK
        })
    }
}

/// Whether the requests of a location are looked up.
fn has_lookup(download: &Download) -> bool {
    download.location.conf::<LocationConf>().is_some_and(|lcf| lcf.lookup().is_some())
}

unsafe extern "C" fn init_conf(cycle: *mut ngx_cycle_t, _: *mut c_void) -> *mut c_char {
    // SAFETY: nginx calls the function with the cycle that it is making.
    let Some(cycle) = (unsafe { Cycle::from_raw(cycle) }) else { return NGX_CONF_ERROR };
    guard::catch(cycle.log_handle(), NGX_CONF_ERROR, || {
        let Some(main) = cycle.main_conf::<MainConf>() else { return NGX_CONF_OK };
        let threads = main.threads.get().copied().flatten();
        let lack = cycle.lacks_threads(threads);
        if let (Some(threads), Some(_)) = (threads, lack) {
            threads.remove(cycle);
        }
        let judged = catalogs::refreshes(cycle, &main.catalogs.borrow(), lack);
        if judged.is_ok() { NGX_CONF_OK } else { NGX_CONF_ERROR }
    })
}

unsafe extern "C" fn init_process(cycle: *mut ngx_cycle_t) -> ngx_int_t {
    // SAFETY: nginx calls the function with the cycle that the process runs with.
    let Some(cycle) = (unsafe { Cycle::from_raw(cycle) }) else { return ERROR };
    let log = cycle.log_handle();
    guard::catch(log, ERROR, || {
        let Some(main) = cycle.main_conf::<MainConf>() else { return OK };
        if !worker::is_worker() {
            return OK;
        }
        match main.catalogs.borrow().iter().try_for_each(|source| source.watch(cycle)) {
            Ok(()) => OK,
            Err(why) => {
                if let Some(log) = log {
                    log.write(Level::Emerg, 0, format_args!("catalogs can't be watched: {why}"));
                }
                ERROR
            }
        }
    })
}

/* Requests */

static mut NEXT_HEADER_FILTER: ngx_http_output_header_filter_pt = None;
static mut NEXT_HEADER_FILTER_BEHIND: ngx_http_output_header_filter_pt = None;
static mut NEXT_BODY_FILTER: ngx_http_output_body_filter_pt = None;

/// Runs a phase handler inside the guard. nginx calls it in every location, and once more after
/// the redirect: `is_idle` tells quickly where there is nothing to do.
///
/// # Safety
///
/// `r` is a request that nginx calls a phase handler for.
#[inline(always)]
unsafe fn phase(
    r: *mut ngx_http_request_t,
    is_idle: impl Fn(&Request<'_>, &LocationConf) -> bool,
    handler: impl for<'r> Fn(&Request<'r>, &'static LocationConf) -> PhaseResult<'r>,
) -> ngx_int_t {
    // SAFETY: by the contract.
    let Some(request) = (unsafe { Request::from_raw(r) }) else {
        return ERROR;
    };
    let Some(lcf) = request.location_conf::<LocationConf>() else {
        return DECLINED;
    };
    if is_idle(&request, lcf) { DECLINED } else { work(request, lcf, handler) }
}

/// The rest of [`phase`], apart from it so that the look before saves no registers for it.
#[inline(never)]
fn work(
    request: Request<'_>,
    lcf: &'static LocationConf,
    handler: impl for<'r> Fn(&Request<'r>, &'static LocationConf) -> PhaseResult<'r>,
) -> ngx_int_t {
    let log = request.log_handle();
    let panicked = Err(Action::Respond(INTERNAL_SERVER_ERROR));
    let (Ok(action) | Err(action)) = guard::catch(log, panicked, || handler(&request, lcf));
    match action {
        Action::Decline => DECLINED,
        Action::Respond(status) => status.into(),
        Action::Wait => AGAIN,
        Action::Abort => ERROR,
        Action::Redirect(uri) => request.redirect(uri),
        Action::Fail(cause) => {
            request.log_failure(cause);
            INTERNAL_SERVER_ERROR.into()
        }
    }
}

unsafe extern "C" fn rewrite_handler(r: *mut ngx_http_request_t) -> ngx_int_t {
    // SAFETY: nginx calls the function as a phase handler.
    unsafe { phase(r, arrival::skips_rewrite, arrival::rewrite_handler) }
}

unsafe extern "C" fn preaccess_handler(r: *mut ngx_http_request_t) -> ngx_int_t {
    // SAFETY: nginx calls the function as a phase handler.
    unsafe { phase(r, arrival::skips_preaccess, arrival::preaccess_handler) }
}

unsafe extern "C" fn precontent_handler(r: *mut ngx_http_request_t) -> ngx_int_t {
    // SAFETY: nginx calls the function as a phase handler.
    unsafe {
        phase(r, resolve::skips_precontent, |request, lcf| {
            fault_point("handler");
            resolve::precontent_handler(request, lcf)
        })
    }
}

unsafe extern "C" fn header_filter(r: *mut ngx_http_request_t) -> ngx_int_t {
    // SAFETY: nginx calls the function for a valid request, and what was the top of the chain
    // before is a filter.
    unsafe {
        if let Some(request) = Request::from_raw(r) {
            let log = request.log_handle();
            let done = guard::catch(log, Err(()), || {
                header_filter::run(&request).map_err(|why| request.log_failure(why))
            });
            // Handlers finalize the request with a status that a header filter returns, as they do
            // with the 416 of the range filter. An error page has to go out without our help.
            if done.is_err() && request.error_state().0 == 0 {
                return INTERNAL_SERVER_ERROR.into();
            }
        }
        match NEXT_HEADER_FILTER {
            Some(next) => next(r),
            None => OK,
        }
    }
}

unsafe extern "C" fn cache_filter(r: *mut ngx_http_request_t) -> ngx_int_t {
    // SAFETY: as in `header_filter`.
    unsafe {
        if let Some(request) = Request::from_raw(r) {
            if !cache_filter::is_idle(&request) && !tell_caches(&request) {
                return INTERNAL_SERVER_ERROR.into();
            }
        }
        match NEXT_HEADER_FILTER_BEHIND {
            Some(next) => next(r),
            None => OK,
        }
    }
}

/// Whether the response can be sent.
#[inline(never)]
fn tell_caches(request: &Request<'_>) -> bool {
    guard::catch(request.log_handle(), Err(()), || {
        cache_filter::run(request).map_err(|why| request.log_failure(why))
    })
    .is_ok()
        // As in `header_filter`.
        || request.error_state().0 != 0
}

unsafe extern "C" fn body_filter(r: *mut ngx_http_request_t, chain: *mut ngx_chain_t) -> ngx_int_t {
    // SAFETY: nginx calls the function for a valid request with a chain of buffers or none, and
    // what was the top of the chain before is a filter.
    unsafe {
        if let Some(request) = Request::from_raw(r) {
            if let Some(lookup) = Record::lookup_of_subrequest(&request) {
                let content = Content::from_raw(chain);
                guard::catch(request.log_handle(), (), || lookup.collect(content));
                return OK;
            }
        }
        match NEXT_BODY_FILTER {
            Some(next) => next(r, chain),
            None => OK,
        }
    }
}

unsafe extern "C" fn subrequest_done(
    r: *mut ngx_http_request_t,
    _: *mut c_void,
    rc: ngx_int_t,
) -> ngx_int_t {
    // SAFETY: nginx calls the function for a valid subrequest.
    let Some(request) = (unsafe { Request::from_raw(r) }) else {
        return rc;
    };
    let ending = Ending::new(rc);
    guard::catch(request.log_handle(), (), || {
        if let Some(lookup) = Record::lookup_of_subrequest(&request) {
            lookup.end(ending);
        }
    });
    ending.to_raw(&request)
}

unsafe extern "C" fn variable_value(
    r: *mut ngx_http_request_t,
    place: *mut ngx_http_variable_value_t,
    data: usize,
) -> ngx_int_t {
    let found = variables::ALL.iter().find(|(_, variable)| *variable as usize == data);
    // SAFETY: nginx calls the function for a valid request.
    let request = unsafe { Request::from_raw(r) };
    let (Some((_, variable)), Some(request)) = (found, request) else {
        return ERROR;
    };
    let run = || {
        fault_point("variable");
        variables::value(*variable, &request).map_err(|why| request.log_failure(why))
    };
    let Ok(value) = guard::catch(request.log_handle(), Err(()), run) else {
        return ERROR;
    };
    // SAFETY: `place` is a value that nginx wants to be filled, not always zeroed; each of its
    // fields is set. The value's bytes are static, in the configuration, in the pool of the client's
    // request, or in what a record in that pool owns: all stay until the pool goes, and with it
    // every value of the request.
    unsafe { fill(&mut *place, value) };
    OK
}

fn fill(place: &mut ngx_http_variable_value_t, value: Option<&[u8]>) {
    // The field has 28 bits; nothing that the module makes is longer.
    let bytes = value.filter(|bytes| bytes.len() < 1 << 28);
    place.data = bytes.map_or(ptr::null_mut(), |bytes| bytes.as_ptr().cast_mut());
    let place = ptr::from_mut(place);
    // SAFETY: the reference is valid, and nobody else has one.
    unsafe {
        value::len.set(place, bytes.map_or(0, |bytes| bytes.len() as u32));
        value::valid.set(place, u32::from(bytes.is_some()));
        value::no_cacheable.set(place, 1);
        value::not_found.set(place, u32::from(bytes.is_none()));
        value::escape.set(place, 0);
    }
}

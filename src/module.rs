//! What nginx reads of the module: `ngx_module_t`, contexts, commands, and the functions in them.
//!
//! The tables come first, then the functions in the order in which nginx calls them. Each wraps the
//! pointers that nginx passes in safe types and calls safe code elsewhere, inside the guard that
//! keeps panics from nginx. `COMMANDS` is made from the table in [`directives`], the variables from
//! the one in [`variables`]: a new directive or variable changes nothing here.

use core::ffi::{CStr, c_char, c_void};
use core::{fmt, ptr};

#[cfg(feature = "links")]
use nginx_sys::ngx_http_phases_NGX_HTTP_ACCESS_PHASE;
#[cfg(feature = "s3")]
use nginx_sys::ngx_http_post_subrequest_t;
use nginx_sys::{
    NGX_AGAIN, NGX_CORE_MODULE, NGX_DECLINED, NGX_ERROR, NGX_HTTP_LOC_CONF_OFFSET, NGX_HTTP_MODULE,
    NGX_HTTP_VAR_NOCACHEABLE, NGX_OK, ngx_chain_t, ngx_command_t, ngx_conf_t, ngx_core_module_t,
    ngx_cycle_t, ngx_http_add_variable, ngx_http_handler_pt, ngx_http_module_t,
    ngx_http_output_body_filter_pt, ngx_http_output_header_filter_pt,
    ngx_http_phases_NGX_HTTP_PREACCESS_PHASE, ngx_http_phases_NGX_HTTP_PRECONTENT_PHASE,
    ngx_http_phases_NGX_HTTP_REWRITE_PHASE, ngx_http_post_subrequest_pt, ngx_http_request_t,
    ngx_http_top_body_filter, ngx_http_top_header_filter, ngx_http_variable_value_t, ngx_int_t,
    ngx_module_t, ngx_str_t, ngx_uint_t,
};
use ngx::core::{NGX_CONF_ERROR, NGX_CONF_OK};

use crate::config::check::{self, Refused, catalogs};
use crate::config::directives::{self, Directive, DirectiveError};
use crate::config::{LocationConf, MainConf};
#[cfg(feature = "links")]
use crate::links::access;
use crate::nginx::Failure;
use crate::nginx::configuration::Conf;
use crate::nginx::guard::{self, fault_point};
use crate::nginx::layout::ngx_http_variable_value_t as value;
use crate::nginx::log::{Level, Log};
use crate::nginx::module::{LocationData, MainData, RequestData};
use crate::nginx::pool::{Pooled, pooled};
use crate::nginx::request::Request;
use crate::nginx::subrequest::{Content, Ending};
use crate::nginx::worker::{self, Cycle};
#[cfg(feature = "plays")]
use crate::plays::status::{self, Status, Walk};
#[cfg(feature = "plays")]
use crate::plays::{self, ZoneOfCycle, counting};
use crate::request::arrival;
use crate::request::cache_filter;
use crate::request::header_filter;
use crate::request::resolve;
use crate::request::state::Record;
use crate::request::{Action, PhaseResult};
#[cfg(feature = "s3")]
use crate::s3::{self, response::Sent};
use crate::variables::{self, Variable};

const OK: ngx_int_t = NGX_OK as ngx_int_t;
const ERROR: ngx_int_t = NGX_ERROR as ngx_int_t;
const AGAIN: ngx_int_t = NGX_AGAIN as ngx_int_t;
const DECLINED: ngx_int_t = NGX_DECLINED as ngx_int_t;
const INTERNAL_SERVER_ERROR: i16 = 500;

// SAFETY: the module's `create_main_conf` makes this type.
unsafe impl MainData for MainConf {}

// SAFETY: the module's `create_loc_conf` makes this type.
unsafe impl LocationData for LocationConf {}

// SAFETY: there is no other type of request data.
unsafe impl RequestData for Record<'_> {
    const SUBREQUEST_DONE: ngx_http_post_subrequest_pt = Some(subrequest_done);
}

// nginx destroys a configuration's pool after the last request that uses it, or when the process
// ends, even with requests open, for which nothing runs any more. A request's pool is destroyed with
// the request; what its record points to is in that pool, still complete when the record is dropped,
// or in the configuration.
pooled!(MainConf);
pooled!(LocationConf);
pooled!(Record<'_>);
#[cfg(feature = "plays")]
pooled!(ZoneOfCycle);

/* Tables */

/// A context without functions.
const EMPTY_CONTEXT: ngx_http_module_t = ngx_http_module_t {
    preconfiguration: None,
    postconfiguration: None,
    create_main_conf: None,
    init_main_conf: None,
    create_srv_conf: None,
    merge_srv_conf: None,
    create_loc_conf: None,
    merge_loc_conf: None,
};

static MODULE_CONTEXT: ngx_http_module_t = ngx_http_module_t {
    preconfiguration: Some(preconfiguration),
    postconfiguration: Some(postconfiguration),
    create_main_conf: Some(create::<MainConf>),
    create_loc_conf: Some(create::<LocationConf>),
    merge_loc_conf: Some(merge_loc_conf),
    ..EMPTY_CONTEXT
};

/// The module: directives, variables, phase handlers and filters.
#[used]
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals, unreachable_pub, reason = "nginx knows it by this name")]
pub static mut ngx_http_xspace_module: ngx_module_t = ngx_module_t {
    ctx: (&raw const MODULE_CONTEXT).cast_mut().cast(),
    commands: (&raw mut COMMANDS).cast(),
    type_: NGX_HTTP_MODULE as ngx_uint_t,
    #[cfg(feature = "plays")]
    init_module: Some(init_module),
    init_process: Some(init_process),
    #[cfg(feature = "plays")]
    exit_process: Some(exit_process),
    #[cfg(feature = "plays")]
    exit_master: Some(exit_master),
    ..ngx_module_t::default()
};

static FILTER_CONTEXT: ngx_http_module_t =
    ngx_http_module_t { postconfiguration: Some(filter_postconfiguration), ..EMPTY_CONTEXT };

/// A second module in the same library, because a module has one place in the order of filters: its
/// header filter runs after nginx's `headers_filter`.
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

const CONFIGURATION_NAME: &CStr = c"http_xspace_configuration";

/// A third module in the same library, for checks that need directives after `http {}`. nginx calls
/// `init_conf` of core modules when it has read the whole configuration and can still reject it: if
/// `init_module` fails, nginx exits.
#[used]
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals, unreachable_pub)]
pub static mut ngx_http_xspace_configuration_module: ngx_module_t = ngx_module_t {
    ctx: (&raw mut CONFIGURATION_CONTEXT).cast(),
    commands: ptr::null_mut(),
    type_: NGX_CORE_MODULE as ngx_uint_t,
    ..ngx_module_t::default()
};

/// The symbols that nginx looks up in a dynamic module. `ngx::ngx_modules!` has no order.
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

    /// Their order: nginx inserts each module before all that follow it here. Header filters run
    /// from the last module to the first.
    ///
    /// The main module is where nginx's build puts modules of the type HTTP_AUX_FILTER. Otherwise
    /// its filter would run before `not_modified`, and a 304 would have its header fields.
    #[unsafe(no_mangle)]
    pub static mut ngx_module_order: [*const c_char; 5] = [
        CACHE_FILTER.as_ptr(),
        c"ngx_http_headers_filter_module".as_ptr(),
        c"ngx_http_xspace_module".as_ptr(),
        c"ngx_http_copy_filter_module".as_ptr(),
        ptr::null(),
    ];

    const CACHE_FILTER: &CStr = c"ngx_http_xspace_cache_filter_module";
}

/// The directives, ended by an empty row.
#[allow(clippy::indexing_slicing, reason = "evaluated at compile time")]
static mut COMMANDS: [ngx_command_t; directives::ALL.len() + 1] = {
    let mut commands = [ngx_command_t::empty(); directives::ALL.len() + 1];
    let mut index = 0;
    while index < directives::ALL.len() {
        commands[index] = command(&directives::ALL[index], index);
        index += 1;
    }
    commands
};

const fn command(directive: &Directive, index: usize) -> ngx_command_t {
    let name = directive.name;
    ngx_command_t {
        name: ngx_str_t { len: name.count_bytes(), data: name.as_ptr().cast_mut().cast() },
        type_: directive.kind as ngx_uint_t,
        set: Some(set_directive),
        conf: NGX_HTTP_LOC_CONF_OFFSET,
        // Of use to `set` alone.
        offset: index,
        post: ptr::null_mut(),
    }
}

/* Configuration */

/// Runs `body` with the configuration that nginx is reading.
///
/// # Safety
///
/// nginx passes `cf` to the function of a module's context or commands that calls this one.
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

/// `set` of all directives.
unsafe extern "C" fn set_directive(
    cf: *mut ngx_conf_t,
    command: *mut ngx_command_t,
    lcf: *mut c_void,
) -> *mut c_char {
    // SAFETY: nginx passes an element of `COMMANDS` and the location's configuration, made by
    // `create_loc_conf` and not used elsewhere during the call.
    unsafe {
        with_conf(cf, NGX_CONF_ERROR, |conf| {
            let directive = command.as_ref().and_then(|row| directives::ALL.get(row.offset));
            match (directive, lcf.cast::<LocationConf>().as_mut(), conf.main_conf::<MainConf>()) {
                (Some(directive), Some(lcf), Some(main)) => {
                    result_of(conf, lcf.set(directive, conf, main))
                }
                _ => NGX_CONF_ERROR,
            }
        })
    }
}

fn result_of(conf: &Conf<'_>, set: Result<(), DirectiveError>) -> *mut c_char {
    match set {
        Ok(()) => NGX_CONF_OK,
        // nginx adds the directive's name and position.
        Err(DirectiveError::Duplicate) => c"is duplicate".as_ptr().cast_mut(),
        Err(DirectiveError::Invalid(message)) => {
            conf.position().log(conf.log_handle(), Level::Emerg, message);
            NGX_CONF_ERROR
        }
        Err(DirectiveError::Logged) => NGX_CONF_ERROR,
    }
}

/// `create_main_conf` and `create_loc_conf`: a value that is dropped with the configuration's pool,
/// or null if there is no memory.
unsafe extern "C" fn create<T: Pooled + Default + 'static>(cf: *mut ngx_conf_t) -> *mut c_void {
    // SAFETY: nginx calls the function with its configuration.
    unsafe {
        with_conf(cf, ptr::null_mut(), |conf| {
            conf.pool().store_with(T::default).map_or(ptr::null_mut(), |conf| conf.as_ptr().cast())
        })
    }
}

unsafe extern "C" fn merge_loc_conf(
    cf: *mut ngx_conf_t,
    outer: *mut c_void,
    own: *mut c_void,
) -> *mut c_char {
    // SAFETY: nginx passes its configuration and two different ones made by `create_loc_conf`.
    unsafe {
        with_conf(cf, NGX_CONF_ERROR, |conf| {
            let outer = outer.cast::<LocationConf>().as_ref();
            let own = own.cast::<LocationConf>().as_mut();
            match (outer, own, conf.main_conf::<MainConf>()) {
                (Some(outer), Some(own), Some(main)) => own.merge(outer, main, conf.location()),
                _ => return NGX_CONF_ERROR,
            }
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
/// nginx passes `cf` to `preconfiguration`.
unsafe fn add_variables(cf: *mut ngx_conf_t) -> bool {
    variables::ALL.iter().enumerate().all(|(index, Variable { name, .. })| {
        let mut name = ngx_str_t { len: name.len(), data: name.as_ptr().cast_mut() };
        // SAFETY: nginx copies the name and returns null or a valid variable.
        unsafe {
            let flags = NGX_HTTP_VAR_NOCACHEABLE as ngx_uint_t;
            let Some(added) = ngx_http_add_variable(cf, &raw mut name, flags).as_mut() else {
                return false;
            };
            added.get_handler = Some(variable_value);
            added.data = index;
        }
        true
    })
}

unsafe extern "C" fn postconfiguration(cf: *mut ngx_conf_t) -> ngx_int_t {
    // SAFETY: nginx calls the function with its configuration, merged, with trees of locations.
    unsafe { with_conf(cf, ERROR, |conf| if set_up(conf).is_ok() { OK } else { ERROR }) }
}

fn set_up(conf: &Conf<'_>) -> Result<(), Refused> {
    fault_point("configuration");
    let main = conf.main_conf::<MainConf>().ok_or(Refused)?;
    catalogs::load(conf, &main.catalogs.borrow())?;
    #[cfg(feature = "lmdb")]
    crate::lmdb::check::load(conf, main)?;
    let failed = |why: Failure| log_emergency(conf.log_handle(), format_args!("{why}"));
    main.threads().map_or(Ok(()), |threads| threads.add(conf)).map_err(failed)?;
    #[cfg(feature = "links")]
    crate::links::check::directives(conf, main)?;
    let downloads = main.downloads.borrow();
    if !downloads.is_empty() {
        check::downloads(conf, main, variables::is_known_after_search)?;
    }
    #[cfg(feature = "plays")]
    if plays::set_up(conf, main)? {
        conf.add_first_log_handler(Some(log_handler)).map_err(failed)?;
    }
    #[cfg(feature = "s3")]
    if main.s3.is_used() {
        s3::check::directives(conf, main)?;
        conf.add_phase_handler(ngx_http_phases_NGX_HTTP_PRECONTENT_PHASE, Some(object_handler))
            .map_err(failed)?;
    }
    if downloads.is_empty() {
        // No other request is affected by the module.
        add_store_filter(main);
        return Ok(());
    }

    // SAFETY: only the event loop and the reading of a configuration use these variables, in one
    // thread, and nginx resets the chain of filters for each configuration.
    unsafe {
        NEXT_HEADER_FILTER = ngx_http_top_header_filter;
        ngx_http_top_header_filter = Some(header_filter);
        if downloads.iter().any(|download| download.has_lookup()) {
            NEXT_BODY_FILTER = ngx_http_top_body_filter;
            ngx_http_top_body_filter = Some(body_filter);
        }
    }
    add_store_filter(main);
    let handlers: [(_, ngx_http_handler_pt); 3] = [
        (ngx_http_phases_NGX_HTTP_REWRITE_PHASE, Some(rewrite_handler)),
        (ngx_http_phases_NGX_HTTP_PREACCESS_PHASE, Some(preaccess_handler)),
        (ngx_http_phases_NGX_HTTP_PRECONTENT_PHASE, Some(precontent_handler)),
    ];
    let mut handlers = handlers.into_iter();
    #[cfg(feature = "links")]
    if downloads.iter().any(|download| download.conf().is_some_and(LocationConf::needs_link)) {
        conf.add_phase_handler(ngx_http_phases_NGX_HTTP_ACCESS_PHASE, Some(access_handler))
            .map_err(failed)?;
    }
    handlers.try_for_each(|(phase, handler)| conf.add_phase_handler(phase, handler)).map_err(failed)
}

/// Adds the filter of responses of object stores. It runs before `header_filter`, which then sees an
/// error in the place of a store's page.
fn add_store_filter(main: &MainConf) {
    #[cfg(feature = "s3")]
    if main.s3.is_used() {
        // SAFETY: as in `set_up`.
        unsafe {
            NEXT_STORE_FILTER = ngx_http_top_header_filter;
            ngx_http_top_header_filter = Some(store_filter);
        }
    }
    #[cfg(not(feature = "s3"))]
    let _ = main;
}

fn log_emergency(log: Option<Log>, message: fmt::Arguments<'_>) -> Refused {
    if let Some(log) = log {
        log.write(Level::Emerg, 0, message);
    }
    Refused
}

unsafe extern "C" fn filter_postconfiguration(cf: *mut ngx_conf_t) -> ngx_int_t {
    // SAFETY: nginx calls the function with its configuration, merged; as in `set_up`.
    unsafe {
        with_conf(cf, ERROR, |conf| {
            let Some(main) = conf.main_conf::<MainConf>() else { return ERROR };
            if !main.downloads.borrow().is_empty() {
                NEXT_CACHE_FILTER = ngx_http_top_header_filter;
                ngx_http_top_header_filter = Some(cache_filter);
            }
            OK
        })
    }
}

unsafe extern "C" fn init_conf(cycle: *mut ngx_cycle_t, _: *mut c_void) -> *mut c_char {
    // SAFETY: nginx calls the function with the cycle that it is making.
    let Some(cycle) = (unsafe { Cycle::from_raw(cycle) }) else { return NGX_CONF_ERROR };
    guard::catch(cycle.log_handle(), NGX_CONF_ERROR, || {
        let Some(main) = cycle.main_conf::<MainConf>() else { return NGX_CONF_OK };
        #[cfg(feature = "links")]
        main.links.find_arguments(|variable| cycle.is_argument_variable(variable));
        let threads = main.threads();
        let lack = cycle.lacks_threads(threads);
        if let (Some(threads), Some(_)) = (threads, lack) {
            threads.remove(cycle);
        }
        let checked = catalogs::refresh(cycle, &main.catalogs.borrow(), lack);
        #[cfg(feature = "lmdb")]
        let checked = checked.and_then(|()| crate::lmdb::check::permissions(cycle, main));
        #[cfg(feature = "plays")]
        let checked = checked.and_then(|()| plays::state::check(cycle, main));
        #[cfg(feature = "s3")]
        s3::check::refresh(cycle, main);
        match checked {
            Ok(()) => NGX_CONF_OK,
            Err(Refused) => NGX_CONF_ERROR,
        }
    })
}

/// Runs `body` with the configuration of a process that begins or ends.
///
/// # Safety
///
/// nginx passes `cycle` to a function of the module that it calls for a process.
#[cfg(feature = "plays")]
unsafe fn with_process(cycle: *mut ngx_cycle_t, body: impl FnOnce(Cycle, &MainConf)) {
    // SAFETY: by the contract.
    let Some(cycle) = (unsafe { Cycle::from_raw(cycle) }) else { return };
    guard::catch(cycle.log_handle(), (), || {
        if let Some(main) = cycle.main_conf::<MainConf>() {
            body(cycle, main);
        }
    });
}

#[cfg(feature = "plays")]
unsafe extern "C" fn init_module(cycle: *mut ngx_cycle_t) -> ngx_int_t {
    // SAFETY: nginx calls the function with the cycle that it has made.
    unsafe { with_process(cycle, plays::state::retire) };
    OK
}

#[cfg(feature = "plays")]
unsafe extern "C" fn exit_process(cycle: *mut ngx_cycle_t) {
    // SAFETY: nginx calls the function with the cycle that the process runs with.
    unsafe { with_process(cycle, plays::state::end_process) };
}

#[cfg(feature = "plays")]
unsafe extern "C" fn exit_master(cycle: *mut ngx_cycle_t) {
    // SAFETY: as in `exit_process`.
    unsafe { with_process(cycle, plays::state::end_master) };
}

unsafe extern "C" fn init_process(cycle: *mut ngx_cycle_t) -> ngx_int_t {
    // SAFETY: nginx calls the function with the cycle that the process runs with.
    let Some(cycle) = (unsafe { Cycle::from_raw(cycle) }) else { return ERROR };
    let log = cycle.log_handle();
    guard::catch(log, ERROR, || {
        #[cfg(feature = "plays")]
        if let Some(main) = cycle.main_conf::<MainConf>().filter(|_| worker::handles_requests()) {
            main.healths.borrow().iter().for_each(|health| health.begin());
            if let Err(why) = plays::state::begin(cycle, main) {
                log_emergency(log, format_args!("could not start a timer for state files: {why}"));
                return ERROR;
            }
        }
        #[cfg(feature = "lmdb")]
        if let Some(main) = cycle.main_conf::<MainConf>().filter(|_| worker::handles_requests()) {
            let catalogs = main.lmdb_catalogs.borrow();
            if let Err(why) = catalogs.iter().try_for_each(|catalog| catalog.begin(cycle)) {
                log_emergency(log, format_args!("could not start a timer for catalogs: {why}"));
                return ERROR;
            }
        }
        let main = cycle.main_conf::<MainConf>().filter(|_| worker::is_worker());
        let Some(main) = main else { return OK };
        match main.catalogs.borrow().iter().try_for_each(|file| file.watch(cycle)) {
            Ok(()) => OK,
            Err(why) => {
                log_emergency(log, format_args!("could not start catalog refresh: {why}"));
                ERROR
            }
        }
    })
}

/* Requests */

static mut NEXT_HEADER_FILTER: ngx_http_output_header_filter_pt = None;
static mut NEXT_CACHE_FILTER: ngx_http_output_header_filter_pt = None;
#[cfg(feature = "s3")]
static mut NEXT_STORE_FILTER: ngx_http_output_header_filter_pt = None;
static mut NEXT_BODY_FILTER: ngx_http_output_body_filter_pt = None;

/// Runs a phase handler inside the guard. nginx calls it for requests of all locations, and again
/// after the redirect: `is_idle` quickly finds those with nothing to do.
///
/// # Safety
///
/// `r` is a request that nginx calls a phase handler for.
unsafe fn phase(
    r: *mut ngx_http_request_t,
    is_idle: impl Fn(&Request<'_>, &LocationConf) -> bool,
    handler: impl for<'r> Fn(&Request<'r>, &'static LocationConf) -> PhaseResult<'r>,
) -> ngx_int_t {
    // SAFETY: by the contract.
    let Some(request) = (unsafe { Request::from_raw(r) }) else {
        return ERROR;
    };
    let lcf = match request.location_conf::<LocationConf>() {
        Some(lcf) if !is_idle(&request, lcf) => lcf,
        _ => return DECLINED,
    };
    let panicked = Err(Action::Respond(INTERNAL_SERVER_ERROR));
    let run = || handler(&request, lcf);
    let (Ok(action) | Err(action)) = guard::catch(request.log_handle(), panicked, run);
    match action {
        Action::Decline => DECLINED,
        #[cfg(feature = "links")]
        Action::Allow => OK,
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

#[cfg(feature = "links")]
unsafe extern "C" fn access_handler(r: *mut ngx_http_request_t) -> ngx_int_t {
    // SAFETY: nginx calls the function as a phase handler.
    unsafe {
        phase(r, access::skips_access, |request, lcf| {
            fault_point("access");
            access::access_handler(request, lcf)
        })
    }
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

#[cfg(feature = "s3")]
unsafe extern "C" fn object_handler(r: *mut ngx_http_request_t) -> ngx_int_t {
    // SAFETY: nginx calls the function as a phase handler.
    unsafe { phase(r, s3::request::skips_precontent, s3::request::precontent_handler) }
}

/// Runs a header filter inside the guard, unless it is idle, then the next one.
///
/// # Safety
///
/// nginx runs the header filters for `r`, and `next` is the one after this.
unsafe fn filter(
    r: *mut ngx_http_request_t,
    next: ngx_http_output_header_filter_pt,
    is_idle: impl Fn(&Request<'_>) -> bool,
    filter: impl Fn(&Request<'_>) -> Result<(), Failure>,
) -> ngx_int_t {
    // SAFETY: by the contract.
    unsafe {
        if let Some(request) = Request::from_raw(r).filter(|request| !is_idle(request)) {
            let done = guard::catch(request.log_handle(), Err(()), || {
                filter(&request).map_err(|why| request.log_failure(why))
            });
            // Handlers finalize the request with a status that a header filter returns, as they do
            // with the 416 of the range filter. An error page is sent without these header fields.
            if done.is_err() && request.error_state().0 == 0 {
                return INTERNAL_SERVER_ERROR.into();
            }
        }
        next.map_or(OK, |next| next(r))
    }
}

unsafe extern "C" fn header_filter(r: *mut ngx_http_request_t) -> ngx_int_t {
    // SAFETY: nginx calls the function as a header filter.
    unsafe { filter(r, NEXT_HEADER_FILTER, |_| false, header_filter::run) }
}

#[cfg(feature = "s3")]
unsafe extern "C" fn store_filter(r: *mut ngx_http_request_t) -> ngx_int_t {
    // SAFETY: nginx calls the function as a header filter.
    unsafe {
        if let Some(request) = Request::from_raw(r) {
            let store = request.location_conf::<LocationConf>().and_then(LocationConf::store);
            if let Some(store) = store {
                let run = || {
                    fault_point("store_filter");
                    Ok(s3::response::header_filter(&request, store))
                };
                match guard::catch(request.log_handle(), Err(()), run) {
                    Ok(Sent::Object) if !request.is_main() => {
                        request.set_post_subrequest(&raw mut SLICE_END);
                    }
                    Ok(Sent::Object | Sent::Other) => {}
                    // nginx answers with this status instead, as with the 416 of the range filter.
                    Ok(Sent::Error(status)) => return status.into(),
                    // As in `filter`. Of the store's header nothing is left.
                    Err(()) if request.error_state().0 == 0 => {
                        request.remove_fields(|_| true);
                        return INTERNAL_SERVER_ERROR.into();
                    }
                    Err(()) => {}
                }
            }
        }
        NEXT_STORE_FILTER.map_or(OK, |next| next(r))
    }
}

/// What nginx calls at the end of a slice. A `static mut`, because it has a pointer; nothing writes to
/// it.
#[cfg(feature = "s3")]
static mut SLICE_END: ngx_http_post_subrequest_t =
    ngx_http_post_subrequest_t { handler: Some(slice_done), data: ptr::null_mut() };

#[cfg(feature = "s3")]
unsafe extern "C" fn slice_done(
    r: *mut ngx_http_request_t,
    _: *mut c_void,
    rc: ngx_int_t,
) -> ngx_int_t {
    // SAFETY: nginx calls the function for a valid subrequest.
    let Some(request) = (unsafe { Request::from_raw(r) }) else { return rc };
    let is_whole =
        guard::catch(request.log_handle(), false, || s3::response::is_whole_slice(&request));
    // This ends the client's request.
    if is_whole { rc } else { ERROR }
}

unsafe extern "C" fn cache_filter(r: *mut ngx_http_request_t) -> ngx_int_t {
    // SAFETY: nginx calls the function as a header filter.
    unsafe { filter(r, NEXT_CACHE_FILTER, cache_filter::is_idle, cache_filter::run) }
}

unsafe extern "C" fn body_filter(r: *mut ngx_http_request_t, chain: *mut ngx_chain_t) -> ngx_int_t {
    // SAFETY: nginx calls the function as a body filter, with a chain of buffers or null.
    unsafe {
        if let Some(request) = Request::from_raw(r) {
            if let Some(lookup) = Record::lookup_of_subrequest(&request) {
                let content = Content::from_raw(chain);
                guard::catch(request.log_handle(), (), || lookup.collect(content));
                return OK;
            }
        }
        NEXT_BODY_FILTER.map_or(OK, |next| next(r, chain))
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

/// The content handler of `xspace_status`.
#[cfg(feature = "plays")]
pub(crate) unsafe extern "C" fn status_handler(r: *mut ngx_http_request_t) -> ngx_int_t {
    // SAFETY: nginx calls the function as a content handler.
    let Some(request) = (unsafe { Request::from_raw(r) }) else { return ERROR };
    let run = || {
        let lcf = request.location_conf::<LocationConf>();
        status::content_handler(&request, lcf.ok_or(Failure("no configuration"))?)
    };
    respond(&request, guard::catch(request.log_handle(), Ok(Status::Error(500)), run))
}

/// Sends a status page, or has nginx send an error. Returns what a content handler has to return.
#[cfg(feature = "plays")]
fn respond<'r>(request: &Request<'r>, status: Result<Status<'r>, Failure>) -> ngx_int_t {
    let later = |mut walk: Walk| {
        request.respond_later(move |request| {
            walk.step(request).transpose().map(|status| respond(request, status))
        })
    };
    let sent = status.and_then(|status| match status {
        Status::Page(media_type, content) => Ok(request.respond(media_type, content)),
        Status::Error(status) => Ok(status.into()),
        Status::Later(walk) => later(walk),
    });
    sent.unwrap_or_else(|why| {
        request.log_failure(why);
        INTERNAL_SERVER_ERROR.into()
    })
}

#[cfg(feature = "plays")]
unsafe extern "C" fn log_handler(r: *mut ngx_http_request_t) -> ngx_int_t {
    // SAFETY: nginx calls the function as a handler of the log phase.
    let Some(request) = (unsafe { Request::from_raw(r) }) else { return OK };
    if let Some((record, counting)) = counting::of(&request) {
        guard::catch(request.log_handle(), (), || {
            if let Err(why) = counting::log_handler(&request, record, counting) {
                request.log_failure(why);
            }
        });
    }
    OK
}

unsafe extern "C" fn variable_value(
    r: *mut ngx_http_request_t,
    result: *mut ngx_http_variable_value_t,
    data: usize,
) -> ngx_int_t {
    // SAFETY: nginx calls the function for a valid request.
    let request = unsafe { Request::from_raw(r) };
    let (Some(variable), Some(request)) = (variables::ALL.get(data), request) else {
        return ERROR;
    };
    let run = || {
        fault_point("variable");
        variable.get(&request).map_err(|why| request.log_failure(why))
    };
    let Ok(value) = guard::catch(request.log_handle(), Err(()), run) else {
        return ERROR;
    };
    // SAFETY: nginx passes a value, not always zeroed, to be filled. The bytes are static, in the
    // configuration, in the pool of the client's request, or owned by a record in that pool: they
    // stay as long as the values of the request.
    unsafe { fill(&mut *result, value) };
    OK
}

/// Sets all fields of a variable's value.
fn fill(result: &mut ngx_http_variable_value_t, value: Option<&[u8]>) {
    // The length has 28 bits; no value of the module is longer.
    let bytes = value.filter(|bytes| bytes.len() < 1 << 28);
    result.data = bytes.map_or(ptr::null_mut(), |bytes| bytes.as_ptr().cast_mut());
    let result = ptr::from_mut(result);
    // SAFETY: the reference is valid and not shared.
    unsafe {
        value::len.set(result, bytes.map_or(0, |bytes| bytes.len() as u32));
        value::valid.set(result, u32::from(bytes.is_some()));
        value::no_cacheable.set(result, 1);
        value::not_found.set(result, u32::from(bytes.is_none()));
        value::escape.set(result, 0);
    }
}

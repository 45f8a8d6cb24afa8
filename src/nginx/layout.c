/*
 * Where NGINX's compiler has put what the module uses of NGINX's structs.
 *
 * The build script compiles this file as NGINX's own build would and reads the object; nothing of it
 * is run or linked. From it come the places of bit fields, which bindgen gets wrong where a storage
 * unit is straddled, and a check of all other fields: layout.rs. Each field is named here once.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
/* Structs of a build with threads and of one without are the same; here the task is always shown. */
#include <ngx_thread_pool.h>

#include "layout.h"


BITS(ngx_buf_t, in_file)
BITS(ngx_buf_t, last_buf)
BITS(ngx_buf_t, last_in_chain)
BITS(ngx_buf_t, memory)
BITS(ngx_buf_t, mmap)
BITS(ngx_buf_t, temporary)

BITS(ngx_connection_t, error)
BITS(ngx_connection_t, timedout)

BITS(ngx_event_t, cancelable)
BITS(ngx_event_t, error)
BITS(ngx_event_t, timer_set)

BITS(ngx_event_pipe_t, upstream_done)
BITS(ngx_event_pipe_t, upstream_eof)

BITS(ngx_http_core_loc_conf_t, exact_match)
BITS(ngx_http_core_loc_conf_t, named)
BITS(ngx_http_core_loc_conf_t, noname)
BITS(ngx_http_core_loc_conf_t, noregex)

BITS(ngx_http_headers_in_t, chunked)

BITS(ngx_http_request_t, add_uri_to_alias)
BITS(ngx_http_request_t, background)
#if (NGX_HTTP_CACHE)
BITS(ngx_http_request_t, cached)
#endif
BITS(ngx_http_request_t, count)
BITS(ngx_http_request_t, done)
BITS(ngx_http_request_t, error_page)
BITS(ngx_http_request_t, filter_need_in_memory)
BITS(ngx_http_request_t, header_only)
BITS(ngx_http_request_t, internal)
BITS(ngx_http_request_t, subrequest_in_memory)
BITS(ngx_http_request_t, subrequests)
BITS(ngx_http_request_t, valid_location)

BITS(ngx_http_upstream_headers_in_t, chunked)

BITS(ngx_http_upstream_t, buffering)
#if (NGX_SSL)
BITS(ngx_http_upstream_t, ssl)
#endif

BITS(ngx_http_variable_value_t, escape)
BITS(ngx_http_variable_value_t, len)
BITS(ngx_http_variable_value_t, no_cacheable)
BITS(ngx_http_variable_value_t, not_found)
BITS(ngx_http_variable_value_t, valid)

BITS(ngx_open_file_info_t, errors)
BITS(ngx_open_file_info_t, events)
BITS(ngx_open_file_info_t, is_file)
BITS(ngx_open_file_info_t, test_only)


const xspace_record_t  xspace_records[] = {
    FIELD(ngx_array_t, elts),
    FIELD(ngx_array_t, nelts),
    FIELD(ngx_array_t, size),

    FIELD(ngx_buf_t, file_last),
    FIELD(ngx_buf_t, file_pos),
    FIELD(ngx_buf_t, last),
    FIELD(ngx_buf_t, pos),

    FIELD(ngx_chain_t, buf),
    FIELD(ngx_chain_t, next),

    SIZE(ngx_command_t),
    FIELD(ngx_command_t, conf),
    FIELD(ngx_command_t, name),
    FIELD(ngx_command_t, offset),
    FIELD(ngx_command_t, post),
    FIELD(ngx_command_t, set),
    FIELD(ngx_command_t, type),

    FIELD(ngx_conf_file_t, file),
    FIELD(ngx_conf_file_t, line),

    FIELD(ngx_conf_t, args),
    FIELD(ngx_conf_t, cmd_type),
    FIELD(ngx_conf_t, conf_file),
    FIELD(ngx_conf_t, ctx),
    FIELD(ngx_conf_t, cycle),
    FIELD(ngx_conf_t, log),
    FIELD(ngx_conf_t, pool),

    FIELD(ngx_connection_t, log),
    FIELD(ngx_connection_t, sent),
    FIELD(ngx_connection_t, sockaddr),
#if (NGX_SSL)
    FIELD(ngx_connection_t, ssl),
#endif
    FIELD(ngx_connection_t, write),

    FIELD(ngx_core_conf_t, group),
    FIELD(ngx_core_conf_t, master),
    FIELD(ngx_core_conf_t, username),
    FIELD(ngx_core_conf_t, worker_processes),

    SIZE(ngx_core_module_t),
    FIELD(ngx_core_module_t, create_conf),
    FIELD(ngx_core_module_t, init_conf),
    FIELD(ngx_core_module_t, name),

    FIELD(ngx_cycle_t, conf_ctx),
    FIELD(ngx_cycle_t, log),
    FIELD(ngx_cycle_t, modules),
    FIELD(ngx_cycle_t, old_cycle),
    FIELD(ngx_cycle_t, pool),

    FIELD(ngx_event_conf_t, use),

    FIELD(ngx_event_module_t, actions),

    FIELD(ngx_event_pipe_t, length),

    SIZE(ngx_event_t),
    FIELD(ngx_event_t, data),
    FIELD(ngx_event_t, handler),
    FIELD(ngx_event_t, log),
    FIELD(ngx_event_t, timer),

    FIELD(ngx_file_t, name),

#if (NGX_HTTP_CACHE)
    FIELD(ngx_http_cache_t, body_start),
    FIELD(ngx_http_cache_t, length),
#endif

#if (NGX_HTTP_CACHE)
    SIZE(ngx_http_cache_valid_t),
    FIELD(ngx_http_cache_valid_t, status),
#endif

    SIZE(ngx_http_compile_complex_value_t),
    FIELD(ngx_http_compile_complex_value_t, cf),
    FIELD(ngx_http_compile_complex_value_t, complex_value),
    FIELD(ngx_http_compile_complex_value_t, value),

    SIZE(ngx_http_complex_value_t),
    FIELD(ngx_http_complex_value_t, flushes),
    FIELD(ngx_http_complex_value_t, lengths),
    FIELD(ngx_http_complex_value_t, u),
    FIELD(ngx_http_complex_value_t, value),
    FIELD(ngx_http_complex_value_t, values),

    FIELD(ngx_http_conf_ctx_t, loc_conf),
    FIELD(ngx_http_conf_ctx_t, main_conf),
    FIELD(ngx_http_conf_ctx_t, srv_conf),

    FIELD(ngx_http_core_loc_conf_t, alias),
    FIELD(ngx_http_core_loc_conf_t, directio),
    FIELD(ngx_http_core_loc_conf_t, disable_symlinks),
    FIELD(ngx_http_core_loc_conf_t, disable_symlinks_from),
    FIELD(ngx_http_core_loc_conf_t, handler),
    FIELD(ngx_http_core_loc_conf_t, internal),
    FIELD(ngx_http_core_loc_conf_t, loc_conf),
    FIELD(ngx_http_core_loc_conf_t, limit_rate),
    FIELD(ngx_http_core_loc_conf_t, log_not_found),
    FIELD(ngx_http_core_loc_conf_t, name),
    FIELD(ngx_http_core_loc_conf_t, open_file_cache),
    FIELD(ngx_http_core_loc_conf_t, open_file_cache_errors),
    FIELD(ngx_http_core_loc_conf_t, open_file_cache_events),
    FIELD(ngx_http_core_loc_conf_t, open_file_cache_min_uses),
    FIELD(ngx_http_core_loc_conf_t, open_file_cache_valid),
    FIELD(ngx_http_core_loc_conf_t, read_ahead),
#if (NGX_PCRE)
    FIELD(ngx_http_core_loc_conf_t, regex),
    FIELD(ngx_http_core_loc_conf_t, regex_locations),
#endif
    FIELD(ngx_http_core_loc_conf_t, root),
    FIELD(ngx_http_core_loc_conf_t, root_lengths),
    FIELD(ngx_http_core_loc_conf_t, root_values),
    FIELD(ngx_http_core_loc_conf_t, static_locations),
    FIELD(ngx_http_core_loc_conf_t, subrequest_output_buffer_size),

#if (NGX_PCRE)
    FIELD(ngx_http_core_main_conf_t, ncaptures),
#endif
    FIELD(ngx_http_core_main_conf_t, phases),
    FIELD(ngx_http_core_main_conf_t, servers),
    FIELD(ngx_http_core_main_conf_t, variables),
    FIELD(ngx_http_core_main_conf_t, variables_hash),

    FIELD(ngx_http_core_srv_conf_t, ctx),

    SIZE(ngx_http_header_t),
    FIELD(ngx_http_header_t, name),
    FIELD(ngx_http_header_t, offset),

    SIZE(ngx_http_headers_in_t),
    FIELD(ngx_http_headers_in_t, content_length_n),
    FIELD(ngx_http_headers_in_t, headers),
    FIELD(ngx_http_headers_in_t, user_agent),

    FIELD(ngx_http_headers_out_t, cache_control),
    FIELD(ngx_http_headers_out_t, charset),
    FIELD(ngx_http_headers_out_t, content_encoding),
    FIELD(ngx_http_headers_out_t, content_length_n),
    FIELD(ngx_http_headers_out_t, content_range),
    FIELD(ngx_http_headers_out_t, content_type),
    FIELD(ngx_http_headers_out_t, content_type_len),
    FIELD(ngx_http_headers_out_t, content_type_lowcase),
    FIELD(ngx_http_headers_out_t, expires),
    FIELD(ngx_http_headers_out_t, headers),
    FIELD(ngx_http_headers_out_t, location),
    FIELD(ngx_http_headers_out_t, status),

    FIELD(ngx_http_location_tree_node_t, auto_redirect),
    FIELD(ngx_http_location_tree_node_t, exact),
    FIELD(ngx_http_location_tree_node_t, inclusive),
    FIELD(ngx_http_location_tree_node_t, left),
    FIELD(ngx_http_location_tree_node_t, len),
    FIELD(ngx_http_location_tree_node_t, name),
    FIELD(ngx_http_location_tree_node_t, right),
    FIELD(ngx_http_location_tree_node_t, tree),

    SIZE(ngx_http_module_t),
    FIELD(ngx_http_module_t, create_loc_conf),
    FIELD(ngx_http_module_t, create_main_conf),
    FIELD(ngx_http_module_t, create_srv_conf),
    FIELD(ngx_http_module_t, init_main_conf),
    FIELD(ngx_http_module_t, merge_loc_conf),
    FIELD(ngx_http_module_t, merge_srv_conf),
    FIELD(ngx_http_module_t, postconfiguration),
    FIELD(ngx_http_module_t, preconfiguration),

    SIZE(ngx_http_phase_t),
    FIELD(ngx_http_phase_t, handlers),

    SIZE(ngx_http_post_subrequest_t),
    FIELD(ngx_http_post_subrequest_t, data),
    FIELD(ngx_http_post_subrequest_t, handler),

    FIELD(ngx_http_postponed_request_t, next),
    FIELD(ngx_http_postponed_request_t, request),

#if (NGX_PCRE)
    FIELD(ngx_http_regex_t, regex),
#endif

    SIZE(ngx_http_request_body_t),

    FIELD(ngx_http_request_t, args),
#if (NGX_HTTP_CACHE)
    FIELD(ngx_http_request_t, cache),
#endif
#if (NGX_PCRE)
    FIELD(ngx_http_request_t, captures),
    FIELD(ngx_http_request_t, captures_data),
#endif
    FIELD(ngx_http_request_t, connection),
    FIELD(ngx_http_request_t, content_handler),
    FIELD(ngx_http_request_t, ctx),
    FIELD(ngx_http_request_t, err_status),
    FIELD(ngx_http_request_t, header_size),
    FIELD(ngx_http_request_t, headers_in),
    FIELD(ngx_http_request_t, headers_out),
    FIELD(ngx_http_request_t, loc_conf),
    FIELD(ngx_http_request_t, main),
    FIELD(ngx_http_request_t, main_conf),
    FIELD(ngx_http_request_t, method),
    FIELD(ngx_http_request_t, method_name),
#if (NGX_PCRE)
    FIELD(ngx_http_request_t, ncaptures),
#endif
    FIELD(ngx_http_request_t, parent),
    FIELD(ngx_http_request_t, pool),
    FIELD(ngx_http_request_t, post_subrequest),
    FIELD(ngx_http_request_t, postponed),
    FIELD(ngx_http_request_t, request_body),
    FIELD(ngx_http_request_t, start_sec),
    FIELD(ngx_http_request_t, unparsed_uri),
    FIELD(ngx_http_request_t, upstream),
    FIELD(ngx_http_request_t, uri),
    FIELD(ngx_http_request_t, variables),

#if (NGX_PCRE)
    FIELD(ngx_http_script_regex_code_t, next),
    FIELD(ngx_http_script_regex_code_t, regex),
#endif

    FIELD(ngx_http_script_var_code_t, index),

#if (NGX_HTTP_CACHE)
    FIELD(ngx_http_upstream_conf_t, cache_lock),
    FIELD(ngx_http_upstream_conf_t, cache_lock_age),
    FIELD(ngx_http_upstream_conf_t, cache_lock_timeout),
    FIELD(ngx_http_upstream_conf_t, cache_valid),
    FIELD(ngx_http_upstream_conf_t, cache_value),
    FIELD(ngx_http_upstream_conf_t, cache_zone),
#endif
    FIELD(ngx_http_upstream_conf_t, ignore_headers),
    FIELD(ngx_http_upstream_conf_t, module),
    FIELD(ngx_http_upstream_conf_t, pass_request_body),
    FIELD(ngx_http_upstream_conf_t, pass_request_headers),
#if (NGX_SSL)
    FIELD(ngx_http_upstream_conf_t, ssl_verify),
#endif

    FIELD(ngx_http_upstream_headers_in_t, date),
    FIELD(ngx_http_upstream_headers_in_t, status_n),
    FIELD(ngx_http_upstream_headers_in_t, x_accel_redirect),

    FIELD(ngx_http_upstream_t, buffer),
    FIELD(ngx_http_upstream_t, cleanup),
    FIELD(ngx_http_upstream_t, conf),
    FIELD(ngx_http_upstream_t, headers_in),
    FIELD(ngx_http_upstream_t, length),
    FIELD(ngx_http_upstream_t, method),
    FIELD(ngx_http_upstream_t, pipe),

    SIZE(ngx_http_variable_t),
    FIELD(ngx_http_variable_t, data),
    FIELD(ngx_http_variable_t, get_handler),
    FIELD(ngx_http_variable_t, name),

    SIZE(ngx_http_variable_value_t),
    FIELD(ngx_http_variable_value_t, data),

    SIZE(ngx_list_part_t),
    FIELD(ngx_list_part_t, elts),
    FIELD(ngx_list_part_t, nelts),
    FIELD(ngx_list_part_t, next),

    SIZE(ngx_list_t),
    FIELD(ngx_list_t, last),
    FIELD(ngx_list_t, nalloc),
    FIELD(ngx_list_t, part),
    FIELD(ngx_list_t, pool),
    FIELD(ngx_list_t, size),

    FIELD(ngx_log_t, action),
    FIELD(ngx_log_t, log_level),

    SIZE(ngx_module_t),
    FIELD(ngx_module_t, commands),
    FIELD(ngx_module_t, ctx),
    FIELD(ngx_module_t, ctx_index),
    FIELD(ngx_module_t, exit_master),
    FIELD(ngx_module_t, exit_process),
    FIELD(ngx_module_t, exit_thread),
    FIELD(ngx_module_t, index),
    FIELD(ngx_module_t, init_master),
    FIELD(ngx_module_t, init_module),
    FIELD(ngx_module_t, init_process),
    FIELD(ngx_module_t, init_thread),
    FIELD(ngx_module_t, name),
    FIELD(ngx_module_t, signature),
    FIELD(ngx_module_t, type),
    FIELD(ngx_module_t, version),

    SIZE(ngx_open_file_info_t),
    FIELD(ngx_open_file_info_t, directio),
    FIELD(ngx_open_file_info_t, err),
    FIELD(ngx_open_file_info_t, min_uses),
    FIELD(ngx_open_file_info_t, read_ahead),
    FIELD(ngx_open_file_info_t, size),
    FIELD(ngx_open_file_info_t, valid),

    FIELD(ngx_open_file_t, name),

    SIZE(ngx_pool_cleanup_t),
    FIELD(ngx_pool_cleanup_t, data),
    FIELD(ngx_pool_cleanup_t, handler),
    FIELD(ngx_pool_cleanup_t, next),

    FIELD(ngx_pool_t, cleanup),

    FIELD(ngx_rbtree_node_t, key),
    FIELD(ngx_rbtree_node_t, left),
    FIELD(ngx_rbtree_node_t, parent),
    FIELD(ngx_rbtree_node_t, right),

    FIELD(ngx_shm_t, addr),
    FIELD(ngx_shm_t, log),

    FIELD(ngx_shm_zone_t, data),
    FIELD(ngx_shm_zone_t, init),
    FIELD(ngx_shm_zone_t, shm),

    FIELD(ngx_slab_pool_t, end),
    FIELD(ngx_slab_pool_t, start),

    SIZE(ngx_str_t),
    FIELD(ngx_str_t, data),
    FIELD(ngx_str_t, len),

    SIZE(ngx_table_elt_t),
    FIELD(ngx_table_elt_t, hash),
    FIELD(ngx_table_elt_t, key),
    FIELD(ngx_table_elt_t, lowcase_key),
#if (nginx_version >= 1023000)
    FIELD(ngx_table_elt_t, next),
#endif
    FIELD(ngx_table_elt_t, value),

    SIZE(ngx_thread_task_t),
    FIELD(ngx_thread_task_t, ctx),
    FIELD(ngx_thread_task_t, event),
    FIELD(ngx_thread_task_t, handler),
    FIELD(ngx_thread_task_t, id),
    FIELD(ngx_thread_task_t, next),

    FIELD(ngx_time_t, sec)
};

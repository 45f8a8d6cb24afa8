//! `ngx_http_xspace_module`: serves recorded spaces from inside NGINX.
//!
//! A request for `/download/<space_id>` is resolved to a file and redirected internally to a
//! location that nginx serves it from, so ranges, conditional requests and protocols are nginx's
//! own. From the outside in:
//!
//! - `entry`: the tables that nginx reads, and the functions in them;
//! - `handler`, `lookup`, `search`, `header_filter`, `cache_filter`, `variables`: what is done for a request;
//! - `directives`, `check`, `catalog_check`: what is done for the configuration;
//! - `config`, `record`: what is known of a location and of a request;
//! - `catalog`, `catalog_file`: what is known of spaces, and the file that it is read from;
//! - `nginx`: the edge, the only place besides `entry` with `unsafe` code;
//! - the crate `model`: what a request means, without nginx.

mod cache_filter;
mod catalog;
mod catalog_check;
mod catalog_file;
mod check;
mod config;
mod directives;
mod entry;
mod handler;
mod header_filter;
mod lookup;
mod nginx;
mod record;
mod search;
mod variables;

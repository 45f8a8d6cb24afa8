//! `ngx_http_xspace_module`: serves recorded spaces from inside NGINX.
//!
//! A request for `/download/<space_id>` is resolved to a file and redirected internally to a
//! location that nginx serves it from, so ranges, conditional requests and protocols are nginx's
//! own. From the outside in:
//!
//! - `module`: what nginx reads, and the functions that it calls;
//! - `config`: the directives, their settings, and the checks of `nginx -t`;
//! - `request`: what happens to a request, in the order of nginx's phases;
//! - `catalog`: the catalogs, and the files that they are read from;
//! - `lmdb`: catalogs in LMDB environments (cargo feature `lmdb`);
//! - `plays`: counts of plays, and the status page (cargo feature `plays`);
//! - `links`: signed links and sessions, with the feature of that name;
//! - `s3`: recordings in an object store, with the feature of that name;
//! - `variables`: the values of the module's variables;
//! - `nginx`: the edge, the only place besides `module` with `unsafe` code;
//! - the crate `model`: what a request means, without nginx.

mod catalog;
mod config;
#[cfg(feature = "links")]
mod links;
#[cfg(feature = "lmdb")]
mod lmdb;
mod module;
mod nginx;
#[cfg(feature = "plays")]
mod plays;
mod request;
#[cfg(feature = "s3")]
mod s3;
mod variables;

//! What a request for a recorded space means, and what the response looks like.
//!
//! This crate does no input or output of its own, knows nothing of NGINX and has no `unsafe`. The
//! module in the root crate collects the facts of a request, lets this crate decide, and carries out
//! the decision.
//!
//! - [`request`]: the space id and the format that a URI requests;
//! - [`mod@format`]: file name extensions, their media types and their order of preference;
//! - [`entry`]: what is known of one space, from a catalog or a lookup;
//! - [`catalog`]: entries by their id, read from a file;
//! - `json`: the syntax check and the cursor with which both are read;
//! - `links` (feature `links`): signed links and sessions;
//! - [`lmdb`]: the head of an LMDB environment;
//! - [`lookup`]: the request to an application, and what its response means;
//! - [`choice`]: which of several files is served, and what a miss means;
//! - [`filename`]: the file name that a user sees;
//! - [`disposition`]: the Content-Disposition header field (RFC 6266, RFC 8187);
//! - [`caching`]: the fields for caches;
//! - [`play`]: which responses count as the start of a play;
//! - [`plays`]: what is counted of plays, in memory that processes share;
//! - `s3` (feature `s3`): requests to an object store, and what becomes of its responses;
//! - [`text`]: hidden characters, messages, and text that is written in pieces.

#![forbid(unsafe_code)]

pub mod caching;
pub mod catalog;
pub mod choice;
pub mod disposition;
pub mod entry;
pub mod filename;
pub mod format;
mod json;
#[cfg(feature = "links")]
pub mod links;
pub mod lmdb;
pub mod lookup;
pub mod play;
pub mod plays;
pub mod request;
#[cfg(feature = "s3")]
pub mod s3;
pub mod text;

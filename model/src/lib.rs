//! What a request for a recorded space means, and what the answer looks like.
//!
//! Everything in this crate is a pure function of its arguments: it does no input or output, knows
//! nothing of NGINX and has no `unsafe`. The module in the root crate collects the facts of a
//! request, asks this crate, and carries out the answer.
//!
//! - [`request`]: the space id and the format that a URI asks for;
//! - [`mod@format`]: file name extensions, their media types and their order of preference;
//! - [`catalog`]: what is known of spaces by their id;
//! - [`choice`]: which of several files is served, and what a miss means;
//! - [`filename`]: the file name that a user is shown;
//! - [`disposition`]: the Content-Disposition header field (RFC 6266, RFC 8187);
//! - [`text`]: what can be seen of text that others have written;
//! - [`lookup`]: what an application is asked about a space, and what its answer means;
//! - [`caching`]: what caches are told of a response;
//! - [`play`]: which responses count as the start of a play.

#![forbid(unsafe_code)]

pub mod caching;
pub mod catalog;
pub mod choice;
pub mod disposition;
pub mod filename;
pub mod format;
pub mod lookup;
pub mod play;
pub mod request;
pub mod text;

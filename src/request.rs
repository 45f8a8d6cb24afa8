//! What happens to a request, in the order of nginx's phases:
//!
//! 1. rewrite and preaccess: [`arrival`] notes that the request is for the module;
//! 2. access: nginx's own and other modules decide whether the client may go on;
//! 3. precontent: [`resolve`] finds the file, with the answer of a [`lookup`] if there is one, by a
//!    [`search`] on the disk, and redirects to it inside nginx;
//! 4. the target location sends the file, and on the way out [`header_filter`] and
//!    [`cache_filter`] change the response's header;
//! 5. log: `crate::variables` has the values for it.
//!
//! [`state`] is what the module remembers of the request meanwhile.

pub(crate) mod arrival;
pub(crate) mod cache_filter;
pub(crate) mod header_filter;
pub(crate) mod lookup;
pub(crate) mod resolve;
pub(crate) mod search;
pub(crate) mod state;

//! The demonstration's page in Debian's Chromium, over HTTP/1.1, HTTP/2 and HTTP/3.
//!
//! A test starts NGINX, then one of the scenarios beside this file (`*.mjs`), which start the
//! browser, do something and fail if it is not as it has to be. What the scenario gives, and the
//! server's access log, is looked at here.

/// Old-style application behind proxy_pass, beside the module.
mod application;
/// The browser's own cache.
mod caches;
/// What is counted for it.
mod clients;
/// The table of clients in the documentation.
#[path = "../counts/clients_table.rs"]
mod clients_table;
/// Links that save a file.
mod downloads;
/// Links that end while a listener pauses.
mod links;
/// A page of the replaced application, before and after.
mod migration;
/// A page of another origin.
mod other_origin;
/// What the page shows, by keyboard, on a phone, in the dark.
mod page;
/// Playing and seeking.
mod seeks;
/// The site, its recordings, and the browser.
mod site;
/// The page of counts.
mod status;

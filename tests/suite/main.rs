//! The suite: each test starts a real NGINX with the module and asks it as clients do.
//!
//! One binary, so that nothing is linked twice; run a part of it by a module's or a test's name.

/// What several themes need.
mod common;
/// A cluster of Garage, an object store.
#[cfg(feature = "s3")]
mod garage;
/// Many clients that seek, for tests that make life hard for nginx meanwhile.
mod seekers;

/// A site with an application of its own, Flask under gunicorn.
mod application;
/// Who gets the query string of the client.
mod arguments;
/// Sites that ask an application about a space.
mod asking;

/// Who may fetch is decided before the module looks at anything.
mod access;
/// A module without its cargo features.
mod bare_module;
/// `if`, `limit_except`, nested, named, exact and regex locations.
mod blocks;
/// What caches are told of a response.
mod caches;
/// Requests for spaces that a catalog knows.
mod catalog;
/// What `nginx -t` says about a catalog.
mod catalog_config;
/// Entries that say that there is nothing to serve, and entries that cannot be used.
mod catalog_entries;
/// Catalogs for which a worker has no memory.
mod catalog_memory;
/// A catalog's file changes while nginx runs.
mod catalog_refresh;
/// Values that refer to themselves through the module's variables.
mod circles;
/// `tools/compare` finds each kind of difference.
mod compare;
/// If-None-Match, If-Modified-Since, If-Range, If-Match.
mod conditional;
/// Every file of nginx-conf/ is accepted by `nginx -t`.
mod conf_files;
/// What `nginx -t` says about a configuration.
mod config;
/// What the debug log tells of a request.
mod debug_log;
/// Files, links, directories and the target's own file directives.
mod disk;
/// Links and examples of the documentation, and whether it agrees with the module.
mod docs;
/// Something goes wrong while 200 clients seek.
mod faults;
/// Which of several files of a space is served.
mod formats;
/// Routes of other frameworks in the documentation, before and after.
mod frameworks;
/// Malformed and hostile requests, made up from a seed.
mod fuzz_server;
/// A panic stays a failed request.
mod guard;
/// What has to fail a test does.
mod harness;
/// Where the module's headers appear, and where they do not.
mod headers;
/// Ids, paths and answers that want out of the directory, into a header or into a log.
mod hostile;
/// Where the structs of C have their fields.
mod layout;
/// Signers of links in the documentation.
#[cfg(feature = "links")]
mod link_signers;
/// What the module is linked with, and how.
mod linking;
/// Signed links and sessions.
#[cfg(feature = "links")]
mod links;
/// Links of another server, key or time, and links beside other modules.
#[cfg(feature = "links")]
mod links_attacks;
/// What `nginx -t` says about links.
#[cfg(feature = "links")]
mod links_config;
/// The key of links is replaced while clients seek.
#[cfg(feature = "links")]
mod links_rotation;
/// Catalogs that are LMDB environments.
#[cfg(feature = "lmdb")]
mod lmdb;
/// What `nginx -t` says about an LMDB environment.
#[cfg(feature = "lmdb")]
mod lmdb_config;
/// LMDB environments that are damaged, replaced, full, or killed with their writers.
#[cfg(feature = "lmdb")]
mod lmdb_faults;
/// Writers of LMDB in Node.js and Go, as docs/catalog.md has them.
#[cfg(feature = "lmdb")]
mod lmdb_writers;
/// Which location a file is served from, by comparison with X-Accel-Redirect to the same URI.
mod locations;
/// What others have written, in the module's lines of the error log.
mod log_lines;
/// What is asked of an application, and what follows from its answer.
mod lookup;
/// What `nginx -t` says about a lookup.
mod lookup_config;
/// Lookups that fail.
mod lookup_failures;
/// Mistakes of the lookup that were mended.
mod lookup_regressions;
/// Who answers a lookup.
mod lookup_servers;
/// Many lookups at once.
mod lookup_streams;
/// What links_config and s3_config need.
#[cfg(any(feature = "links", feature = "s3"))]
mod marked;
/// OPTIONS, HEAD, POST and the rest.
mod methods;
/// Content-Disposition and names with odd characters.
mod names;
/// Subrequests of other modules to locations of the module.
mod neighbours;
/// How players ask, and what ffmpeg decodes.
mod players;
/// What is counted as a play, for whom, and what the status page shows of it.
mod plays;
/// What `nginx -t` says about what is counted.
mod plays_config;
/// The memory of counts, shared by processes that are killed while they count.
mod plays_memory;
/// What is counted over restarts.
mod plays_state;
/// Keepalive, pipelining, many streams, malformed requests.
mod protocols;
/// Byte ranges, against the file.
mod ranges;
/// Fields of the module's own refusals, and who answers in its place.
mod refusals;
/// Reload with requests under way.
mod reload;
/// Recordings in an object store.
#[cfg(feature = "s3")]
mod s3;
/// What `nginx -t` says about an object store.
#[cfg(feature = "s3")]
mod s3_config;
/// Several edges of an object store, one of which is lost.
#[cfg(feature = "s3")]
mod s3_edges;
/// An object store that fails, changes its objects or refuses requests.
#[cfg(feature = "s3")]
mod s3_faults;
/// Recordings in OpenStack Swift.
#[cfg(feature = "s3")]
mod s3_swift;
/// Whole files, HEAD, ids, misses.
mod serving;
/// nginx where the module can have no threads.
mod single;
/// Requests of all kinds for a long time.
mod soak;
/// Locations without the module, byte for byte as in an nginx without it.
mod unchanged;
/// The variables, before the redirect and after, and what is counted as a play.
mod variables;
/// Versions of nginx: those that the build refuses, and those that the documentation names.
mod versions;

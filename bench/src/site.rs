//! Sites of the harness as measurements need them.

use xspace_tests::{Site, is_root};

/// A request that nginx answers with nothing, on every one of these sites.
pub const NOTHING: &[u8] = b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// A site on which a connection may be kept for ever and nothing may go wrong.
pub fn site() -> Site {
    let site = Site::new()
        .refuse_errors()
        .without_user()
        .http("keepalive_requests 1000000000; keepalive_timeout 1h;")
        .server("location = /nothing { return 204; }");
    // Other users may not reach the directory that root builds in.
    if is_root() { site.main("user root root;") } else { site }
}

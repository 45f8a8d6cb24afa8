//! Subrequests of other modules to locations of the module, with a lookup and without.

use std::path::PathBuf;

use xspace_tests::{
    Application, Nginx, Protocol, Reply, Request, Response, Site, build, same_bytes,
};

use crate::common::{FILE, ID, MISSING, SIZE, recording};

/// The locations that are asked: the same space with a lookup and without.
const ASKED: [&str; 2] = ["/download/", "/looked-up/"];

/// A site with both, and an application that knows the spaces of the tests.
fn site(application: &Application) -> Site {
    Site::simple()
        .server(&format!(
            "subrequest_output_buffer_size 1m;
             location ^~ /looked-up/ {{ xspace_download /downloads/; xspace_lookup /_space; }}
             location = /_space {{
                 internal; proxy_pass http://{}; subrequest_output_buffer_size 4k;
             }}",
            application.address()
        ))
        .file(FILE, recording())
        .file("downloads/second.mp3", "the second recording")
}

fn application() -> Application {
    Application::start(|asked| match asked.argument("id") {
        Some("refused") => Reply::status(403),
        Some("broken") => Reply::json("{"),
        Some(id) if id == MISSING => Reply::status(404),
        _ => Reply::json("{}"),
    })
}

#[track_caller]
fn ask(nginx: &Nginx, path: &str, check: impl Fn(&Response)) {
    ask_over(nginx, &nginx.protocols(), path, check);
}

/// Asks again and again on one connection, with something else in between that shows whether the
/// connection is as it was.
#[track_caller]
fn ask_over(nginx: &Nginx, protocols: &[Protocol], path: &str, check: impl Fn(&Response)) {
    for &protocol in protocols {
        let mut connection = nginx.connect(protocol);
        for _ in 0..3 {
            check(&connection.send(&Request::get(path)));
            let between =
                connection.send(&Request::get(&format!("/download/{ID}")).range("bytes=5-9"));
            assert_eq!((between.status, &*between.body), (206, &recording()[5..10]), "{path}");
        }
    }
}

#[track_caller]
fn assert_body(response: &Response, expected: &[u8], what: &str) {
    assert_eq!(response.status, 200, "{what}: {response:?}");
    same_bytes(&response.body, expected, what);
}

/// The recording of [`ID`] and then the second one.
fn both() -> Vec<u8> {
    [recording(), b"the second recording".to_vec()].concat()
}

/// lua captures nothing in a request over HTTP/2 before version 0.10.28.
const LUA: [Protocol; 1] = [Protocol::Http1];

pub fn lua(site: Site) -> Option<Site> {
    let lua = build().require("lua").then(|| build().other_module("ngx_http_lua_module"))??;
    let ndk = build().other_module("ndk_http_module")?;
    Some(site.main(&format!(
        "load_module \"{}\";\nload_module \"{}\";",
        ndk.display(),
        lua.display()
    )))
}

#[test]
fn lua_captures() {
    let application = application();
    let Some(site) = lua(site(&application)) else { return };
    let nginx = site
        .server(
            r#"location /one/ {
                 content_by_lua_block {
                     local r = ngx.location.capture(ngx.var.arg_of)
                     ngx.status = r.status
                     if r.status ~= 200 then return ngx.say("status ", r.status) end
                     ngx.print(r.body)
                 }
             }
             location /in-access/ {
                 access_by_lua_block {
                     local r = ngx.location.capture(ngx.var.arg_of)
                     ngx.status = r.status
                     ngx.print(r.body)
                     return ngx.exit(r.status)
                 }
             }
             location /two/ {
                 content_by_lua_block {
                     local of = ngx.var.arg_of
                     local a, b = ngx.location.capture_multi({ { of }, { ngx.var.arg_and } })
                     ngx.print(a.body, b.body)
                 }
             }
             location /nested/ {
                 content_by_lua_block {
                     ngx.print(ngx.location.capture("/one/", { args = { of = ngx.var.arg_of } }).body)
                 }
             }"#,
        )
        .start();
    for asked in ASKED {
        for place in ["one", "in-access", "nested"] {
            let path = format!("/{place}/?of={asked}{ID}");
            ask_over(&nginx, &LUA, &path, |response| assert_body(response, &recording(), &path));
        }
        let path = format!("/one/?of={asked}{MISSING}");
        ask_over(&nginx, &LUA, &path, |response| {
            assert_eq!(response.status, 404, "{path}: {response:?}")
        });
        for and in ASKED {
            let path = format!("/two/?of={asked}{ID}&and={and}second");
            ask_over(&nginx, &LUA, &path, |response| assert_body(response, &both(), &path));
        }
    }
    for (space, status) in [("refused", 403), ("broken", 502)] {
        let path = format!("/one/?of=/looked-up/{space}");
        ask_over(&nginx, &LUA, &path, |response| {
            assert_eq!(response.status, status, "{path}: {response:?}")
        });
    }
    nginx.wait_error(&["[error]", "lookup \"/_space\" for space \"broken\" failed"]);
}

fn njs(site: Site) -> Option<Site> {
    let module = build().require("njs").then(|| build().other_module("ngx_http_js_module"))??;
    Some(
        site.main(&format!("load_module \"{}\";", module.display()))
            .http("js_path {dir}; js_import neighbours from neighbours.js;")
            .file(
                "neighbours.js",
                "async function one(r) {
                     let reply = await r.subrequest(r.args.of);
                     r.return(reply.status, reply.responseBuffer);
                 }
                 async function two(r) {
                     let replies = await Promise.all([r.args.of, r.args.and].map(of => r.subrequest(of)));
                     r.return(200, Buffer.concat(replies.map(reply => Buffer.from(reply.responseBuffer))));
                 }
                 function detached(r) {
                     r.subrequest(r.args.of, { detached: true });
                     r.return(200, 'not waited for');
                 }
                 export default { one, two, detached };",
            ),
    )
}

#[test]
fn njs_subrequests() {
    let application = application();
    let Some(site) = njs(site(&application)) else { return };
    let nginx = site
        .server(
            "location /one/ { js_content neighbours.one; }
             location /two/ { js_content neighbours.two; }
             location /detached/ { js_content neighbours.detached; }",
        )
        .start();
    for asked in ASKED {
        let path = format!("/one/?of={asked}{ID}");
        ask(&nginx, &path, |response| assert_body(response, &recording(), &path));
        let path = format!("/one/?of={asked}{MISSING}");
        ask(&nginx, &path, |response| assert_eq!(response.status, 404, "{path}: {response:?}"));
        for and in ASKED {
            let path = format!("/two/?of={asked}{ID}&and={and}second");
            ask(&nginx, &path, |response| assert_body(response, &both(), &path));
        }
        let path = format!("/detached/?of={asked}{ID}");
        ask(&nginx, &path, |response| assert_body(response, b"not waited for", &path));
    }
    for (space, status) in [("refused", 403), ("broken", 502)] {
        let path = format!("/one/?of=/looked-up/{space}");
        ask(&nginx, &path, |response| assert_eq!(response.status, status, "{path}: {response:?}"));
    }
    nginx.wait_error(&["[error]", "lookup \"/_space\" for space \"broken\" failed"]);
}

#[test]
fn pages_that_include_recordings() {
    let application = application();
    let include = |of: &str| format!("<!--#include virtual=\"{of}\" -->");
    let mut site = site(&application).server(
        "log_subrequest on;
         location /ssi/ { root {dir}/html; ssi on; ssi_types *; }",
    );
    let mut pages = Vec::new();
    for (first, second) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let name = format!("ssi/{first}{second}.html");
        let page = [
            include(&format!("{}{ID}", ASKED[first])),
            include(&format!("{}second", ASKED[second])),
            "|end".to_owned(),
        ]
        .concat();
        site = site.file(&format!("html/{name}"), page);
        pages.push(name);
    }
    let nginx = site.start();
    let expected = [both(), b"|end".to_vec()].concat();
    for page in pages {
        let path = format!("/{page}");
        ask(&nginx, &path, |response| assert_body(response, &expected, &path));
    }
}

#[test]
fn recordings_before_and_after_a_page() {
    let application = application();
    if !build().require("http_addition_module") {
        return;
    }
    let mut site = site(&application).file("html/page.html", "|");
    for (number, asked) in ASKED.iter().enumerate() {
        site = site.server(&format!(
            "location /page{number}/ {{
                 alias {{dir}}/html/; addition_types *;
                 add_before_body {asked}{ID}; add_after_body {asked}second;
             }}"
        ));
    }
    let nginx = site.start();
    let expected = [recording(), b"|the second recording".to_vec()].concat();
    for number in 0..ASKED.len() {
        let path = format!("/page{number}/page.html");
        ask(&nginx, &path, |response| assert_body(response, &expected, &path));
    }
}

#[test]
fn mirrored_requests() {
    let application = application();
    let mut site = site(&application).file("html/page.html", "the page");
    for (number, asked) in ASKED.iter().enumerate() {
        site = site.server(&format!(
            "location /page{number}/ {{ alias {{dir}}/html/; mirror {asked}{ID}; }}"
        ));
    }
    let nginx = site.start();
    for number in 0..ASKED.len() {
        let path = format!("/page{number}/page.html");
        ask(&nginx, &path, |response| assert_body(response, b"the page", &path));
    }
    assert!(!application.take_asked().is_empty(), "a mirrored request is looked up as others are");
}

#[test]
fn recordings_that_authorize() {
    let application = application();
    let mut site = site(&application).file("html/page.html", "the page");
    for (number, asked) in ASKED.iter().enumerate() {
        site = site.server(&format!(
            "location /page{number}/ {{ alias {{dir}}/html/; auth_request {asked}{ID}; }}
             location /locked{number}/ {{ alias {{dir}}/html/; auth_request {asked}refused; }}"
        ));
    }
    let nginx = site.start();
    for number in 0..ASKED.len() {
        let path = format!("/page{number}/page.html");
        ask(&nginx, &path, |response| assert_body(response, b"the page", &path));
    }
    let path = "/locked1/page.html";
    ask(&nginx, path, |response| assert_eq!(response.status, 403, "{response:?}"));
}

/// The slices of a target are subrequests that begin in its content phase.
#[test]
fn slices_of_a_target() {
    let application = application();
    let nginx = Site::new()
        .http("access_log off; proxy_cache_path {dir}/cache keys_zone=slices:1m;")
        .http("server { listen 127.0.0.1:{other}; root {dir}/downloads; access_log off; }")
        .server(&format!(
            "location ^~ /download/ {{ xspace_download /sliced/; xspace_directory {{dir}}/downloads; }}
             location ^~ /looked-up/ {{
                 xspace_download /sliced/; xspace_directory {{dir}}/downloads; xspace_lookup /_space;
             }}
             location = /_space {{ internal; proxy_pass http://{}; }}
             location ^~ /sliced/ {{
                 internal; slice 64k; proxy_cache slices; proxy_cache_key $uri$slice_range;
                 proxy_set_header Range $slice_range; proxy_http_version 1.1;
                 proxy_cache_valid 200 206 1h; proxy_pass http://127.0.0.1:{{other}}/;
             }}",
            application.address()
        ))
        .file(FILE, recording())
        .start();
    for asked in ASKED {
        let path = format!("{asked}{ID}");
        ask(&nginx, &path, |response| assert_body(response, &recording(), &path));
    }
    assert_eq!(recording().len(), SIZE);
}

#[test]
fn http1_connection_is_kept_after_a_capture_of_a_head_request() {
    let application = application();
    let Some(site) = lua(site(&application)) else { return };
    let nginx = site
        .server(
            r#"location /head/ {
                 content_by_lua_block {
                     local r = ngx.location.capture(ngx.var.arg_of, { method = ngx.HTTP_HEAD })
                     ngx.say(r.status, " ", #r.body)
                 }
             }"#,
        )
        .start();
    let mut connection = nginx.connect(Protocol::Http1);
    for asked in ASKED {
        for _ in 0..2 {
            let response = connection.send(&Request::get(&format!("/head/?of={asked}{ID}")));
            assert_eq!(response.text(), "200 0\n", "{asked}: {response:?}");
        }
    }
}

/// Filters of other modules, loaded before this one and after it.
#[test]
fn filters_of_other_modules_in_both_orders() {
    const MODULES: [&str; 5] = [
        "ndk_http_module",
        "ngx_http_lua_module",
        "ngx_http_js_module",
        "ngx_http_headers_more_filter_module",
        "ngx_http_brotli_filter_module",
    ];
    let mut found = MODULES.iter().filter_map(|name| build().other_module(name)).peekable();
    if !["lua", "njs", "headers_more", "brotli"].iter().all(|name| build().require(name)) {
        return;
    }
    assert!(found.peek().is_some());
    let load = |module: PathBuf| format!("load_module \"{}\";\n", module.display());
    let others = found.map(load).collect::<Vec<_>>().concat();
    let target = |name: &str, directives: &str| {
        format!(
            "location ^~ /{name}/ {{ xspace_download /of-{name}/; }}
             location ^~ /of-{name}/ {{
                 internal; alias {{dir}}/downloads/; {directives}
                 add_header X-Counted $xspace_counted;
             }}"
        )
    };
    let directives = [
        (
            "lua",
            r#"header_filter_by_lua_block {
                   ngx.header["X-Seen"] = ngx.header["Content-Disposition"]
               }"#,
        ),
        ("njs", "js_header_filter neighbours.see;"),
        ("sets", "more_set_headers 'Content-Disposition: inline; filename=own.mp3';"),
        (
            "sets-alone",
            "etag off; more_set_headers 'Content-Disposition: inline; filename=own.mp3';",
        ),
        ("clears", "more_clear_headers Content-Disposition;"),
        ("brotli", "brotli on; brotli_types *; brotli_min_length 20;"),
    ];
    let servers: String =
        directives.iter().map(|(name, directives)| target(name, directives)).collect();
    let disposition = format!("inline; filename=\"{ID}.mp3\"");
    for is_last in [true, false] {
        let site = Site::simple()
            .http("js_path {dir}; js_import neighbours from neighbours.js;")
            .server(&servers)
            .file(
                "neighbours.js",
                "function see(r) { r.headersOut['X-Seen'] = r.headersOut['Content-Disposition']; }
                 export default { see };",
            )
            .file(FILE, recording());
        let nginx = if is_last { site.first(&others) } else { site.main(&others) }.start();
        for protocol in nginx.protocols() {
            for (name, _) in directives {
                let path = format!("/{name}/{ID}");
                let what = format!("{path} {protocol:?}, loaded last: {is_last}");
                let request = Request::get(&path).header("Accept-Encoding", "br");
                let response = nginx.send(protocol, &request.range("bytes=5-9"));
                let all = |name: &str| -> Vec<&str> {
                    let fields =
                        response.headers.iter().filter(|(of, _)| of.eq_ignore_ascii_case(name));
                    fields.map(|(_, value)| &**value).collect()
                };
                // Compressed, it is whole. All others are parts.
                let is_compressed = name == "brotli";
                let (status, length) = if is_compressed { (200, None) } else { (206, Some("5")) };
                assert_eq!(response.status, status, "{what}: {response:?}");
                assert_eq!(response.header("content-length"), length, "{what}");
                assert_eq!(response.header("content-encoding"), is_compressed.then_some("br"));
                if !is_compressed {
                    assert_eq!(response.body, &recording()[5..10], "{what}");
                }
                // What is loaded before sees, and can change, what the module has set.
                let expected: &[&str] = match name {
                    "sets" | "sets-alone" => &["inline; filename=own.mp3"],
                    "clears" if is_last => &[],
                    _ => &[&disposition],
                };
                assert_eq!(all("content-disposition"), expected, "{what}");
                let whole = nginx.send(protocol, &Request::get(&path));
                assert_eq!(whole.header("x-counted"), Some("1"), "{what}");
                let seen = is_last && matches!(name, "lua" | "njs");
                assert_eq!(all("x-seen").contains(&&*disposition), seen, "{what}");
            }
        }
    }
}

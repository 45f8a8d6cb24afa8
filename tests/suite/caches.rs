//! What caches are told of a response: caches in front of NGINX, browsers', and the one that keeps
//! an application's answers.

use xspace_tests::{Application, Asked, Nginx, Protocol, Reply, Request, Response, Site, build};

use crate::asking::{asking, own_errors, rows};
use crate::common::{
    FILE, ID, MISSING, MISSING_PATH, OTHER, PATH, SIZE, ask, assert_no_recording, recording,
};
use crate::conf_files;
use crate::docs::code_blocks;

const ENTRY: &str = r#"{"title": "A talk", "files": ["1lDxLnrWjwkGm.mp3"]}"#;

/// What is said where nobody has said anything.
const DEFAULT: &str = "private, no-cache";

/// A cache in front, as a site may have one: it knows nothing of users. Ranges and HEAD are kept
/// like anything else.
const FRONT: &str = "
    proxy_cache_path {dir}/front keys_zone=front:1m;
    server {
        listen 127.0.0.1:{other};
        location / {
            proxy_pass http://127.0.0.1:{port};
            proxy_cache front;
            proxy_cache_key $request_method$request_uri$http_range;
            proxy_cache_convert_head off;
            proxy_cache_valid 200 206 401 403 404 410 416 502 10m;
            proxy_set_header Range $http_range;
            add_header X-Front $upstream_cache_status always;
        }
    }";

/// The values of all fields of this name.
fn all(response: &Response, name: &str) -> Vec<String> {
    let fields = response.headers.iter().filter(|(field, _)| field == name);
    fields.map(|(_, value)| value.clone()).collect()
}

/// An application that lets Alice have each space but `hers`, and Bob only `hers`; it says of
/// itself what to tell caches.
fn two_users(fields: &'static [(&'static str, &'static str)]) -> Application {
    Application::start(move |asked| {
        let id = asked.argument("id").unwrap_or_default();
        let reply = match (asked.header("cookie"), id) {
            (Some("user=alice"), "gone") => Reply::status(410),
            (Some("user=alice"), "missing") => Reply::status(404),
            (Some("user=alice"), "nofile") => Reply::json(r#"{"files": ["none.mp3"]}"#),
            (Some("user=alice"), "login") => Reply::status(401).header("WWW-Authenticate", "X"),
            (Some("user=alice"), _) => Reply::json(ENTRY),
            (_, ID) => Reply::status(403),
            _ => Reply::json(ENTRY),
        };
        fields.iter().fold(reply, |reply, (name, value)| reply.header(name, value))
    })
}

/// A site whose application is asked, with more directives for `/download/` and for the target.
fn lookup_site(application: &Application, download: &str, target: &str) -> Site {
    Site::with_directives(&format!("xspace_lookup /_space; {download}"), target)
        .server(&lookup_location(application))
        .file(FILE, recording())
}

fn lookup_location(application: &Application) -> String {
    let address = application.address();
    format!("location = /_space {{ internal; proxy_pass http://{address}/lookup; }}")
}

fn behind_front(nginx: &Nginx, request: &Request, user: &str) -> Response {
    let request = request.clone().header("Cookie", &format!("user={user}"));
    ask(Protocol::Http1, nginx.other_address(), &request)
}

#[test]
fn cache_in_front_hands_nobody_the_answer_of_another() {
    let requests = || {
        let get = |id: &str| Request::get(&format!("/download/{id}"));
        [
            (get(ID), 200, 403),
            (Request::head(PATH), 200, 403),
            (get(ID).range("bytes=5-9"), 206, 403),
            (get(ID).range("bytes=999999-"), 416, 403),
            (get("gone"), 410, 200),
            (get("missing"), 404, 200),
            (get("nofile"), 404, 200),
            (get("login"), 401, 200),
        ]
    };
    let mut configurations = vec![
        ("", "", ""),
        ("", "expires 1h;", ""),
        ("", "", "expires 1h;"),
        ("", "add_header Cache-Control 'public, max-age=600';", ""),
        ("", "", "add_header Cache-Control 'public, s-maxage=600' always;"),
        ("expires max;", "expires max; add_header Cache-Control public always;", ""),
        ("", "add_header X-Accel-Expires 600; add_header CDN-Cache-Control max-age=600;", ""),
    ];
    if build().require("add_header_inherit") {
        configurations.push((
            "",
            "add_header Cache-Control max-age=600;",
            "add_header Cache-Control public always; add_header_inherit merge;",
        ));
    }
    for fields in [
        &[][..],
        &[("Cache-Control", "private, no-store")],
        &[("Cache-Control", "private")],
        &[("Cache-Control", "no-cache")],
        &[("Vary", "Cookie")],
        &[("Expires", "Thu, 31 Dec 2099 23:59:59 GMT")],
    ] {
        for &(download, target, server) in &configurations {
            let application = two_users(fields);
            let nginx =
                lookup_site(&application, download, target).http(FRONT).server(server).start();
            for users in [["alice", "bob"], ["bob", "alice"]] {
                for (request, of_alice, of_bob) in requests() {
                    for user in users {
                        let response = behind_front(&nginx, &request, user);
                        let status = if user == "alice" { of_alice } else { of_bob };
                        let what = format!("{fields:?} {download} {target} {server} {user}");
                        assert_eq!(response.status, status, "{what} {request:?}: {response:?}");
                    }
                }
            }
        }
    }
}

/// What makes the test above able to fail: the cache in front does keep what it may.
#[test]
fn cache_in_front_keeps_what_the_application_makes_public() {
    let application = two_users(&[("Cache-Control", "public, max-age=600")]);
    let nginx = asking(&application, "", "").http(FRONT).start();
    for request in [Request::get(PATH), Request::head(PATH), Request::get(PATH).range("bytes=5-9")]
    {
        let first = behind_front(&nginx, &request, "alice");
        assert_eq!(first.header("x-front"), Some("MISS"), "{request:?}: {first:?}");
        let second = behind_front(&nginx, &request, "bob");
        assert_eq!(second.header("x-front"), Some("HIT"), "{request:?}: {second:?}");
        assert_eq!(second.status, first.status, "the application says that anybody may have it");
    }
    // Without a lookup nothing is said: a site of public recordings is kept by a cache as before.
    let nginx = Site::simple().http(FRONT).file(FILE, recording()).start();
    behind_front(&nginx, &Request::get(PATH), "alice");
    let second = behind_front(&nginx, &Request::get(PATH), "bob");
    assert_eq!(second.header("x-front"), Some("HIT"), "{second:?}");
    assert_eq!(second.header("cache-control"), None);
}

/// A row: what the application says, what the target is told to say, what the client gets.
struct Row {
    application: &'static [(&'static str, &'static str)],
    target: &'static str,
    cache_control: &'static [&'static str],
    expires: Option<&'static str>,
}

const PAST: &str = "Thu, 01 Jan 1970 00:00:01 GMT";
const FAR: &str = "Thu, 31 Dec 2037 23:55:55 GMT";
const EARLY: &str = "Mon, 01 Jan 2001 00:00:00 GMT";

#[test]
fn response_has_fields_of_one_author() {
    let rows = [
        Row { application: &[], target: "", cache_control: &[DEFAULT], expires: None },
        Row {
            application: &[("Cache-Control", "private, no-store")],
            target: "",
            cache_control: &["private, no-store"],
            expires: None,
        },
        Row {
            application: &[("Cache-Control", "private"), ("cache-control", "max-age=5")],
            target: "expires max;",
            cache_control: &["private", "max-age=5"],
            expires: None,
        },
        Row {
            application: &[("Cache-Control", "max-age=60")],
            target: "expires max; add_header Cache-Control public;",
            cache_control: &["max-age=60"],
            expires: None,
        },
        Row {
            application: &[("Cache-Control", "private"), ("Expires", EARLY)],
            target: "expires max;",
            cache_control: &["private"],
            expires: Some(EARLY),
        },
        Row {
            application: &[("Expires", EARLY)],
            target: "expires max;",
            cache_control: &["private"],
            expires: Some(EARLY),
        },
        Row {
            application: &[("Cache-Control", "")],
            target: "",
            cache_control: &[DEFAULT],
            expires: None,
        },
        Row {
            application: &[],
            target: "expires max;",
            cache_control: &["private, max-age=315360000"],
            expires: Some(FAR),
        },
        Row {
            application: &[],
            target: "expires epoch;",
            cache_control: &[DEFAULT],
            expires: Some(PAST),
        },
        Row {
            application: &[],
            target: "expires max; add_header Cache-Control 'public, immutable';",
            cache_control: &["private, max-age=315360000, immutable"],
            expires: Some(FAR),
        },
        Row {
            application: &[],
            target: "add_header Cache-Control public; add_header Cache-Control s-maxage=60;",
            cache_control: &[DEFAULT],
            expires: None,
        },
        Row {
            application: &[],
            target: "add_header cache-control 'Private=\"x\", MAX-AGE=60';",
            cache_control: &["private, MAX-AGE=60"],
            expires: None,
        },
        Row {
            application: &[],
            target: "add_header Expires '2037';",
            cache_control: &["private"],
            expires: Some("2037"),
        },
    ];
    for Row { application, target, cache_control, expires } in rows {
        let reply = application
            .iter()
            .fold(Reply::json(ENTRY), |reply, (name, value)| reply.header(name, value));
        let of_application = Application::always(reply);
        let log = "access_log {dir}/said.log said;";
        let nginx = lookup_site(&of_application, "", &format!("{target} {log}"))
            .http("log_format said '$status $sent_http_cache_control';")
            .start();
        let mut count = 0;
        for protocol in nginx.protocols() {
            for (request, status) in [
                (Request::get(PATH), 200),
                (Request::head(PATH), 200),
                (Request::get(PATH).range("bytes=5-9"), 206),
                (Request::get(PATH).range("bytes=5-9,11-12"), 206),
                (Request::get(PATH).header("If-None-Match", "*"), 304),
            ] {
                let response = nginx.send(protocol, &request);
                let what = format!("{application:?} {target} {protocol:?} {request:?}");
                assert_eq!(response.status, status, "{what}");
                assert_eq!(all(&response, "cache-control"), cache_control, "{what}");
                assert_eq!(response.header("expires"), expires, "{what}");
                count += 1;
            }
        }
        // The variable knows what was sent.
        let lines = nginx.log_lines("said.log", count);
        let said = cache_control.join(", ");
        assert!(lines.iter().all(|line| line.ends_with(&said)), "{lines:?}");
    }
}

#[test]
fn range_that_cannot_be_satisfied_and_failed_conditions_are_told_too() {
    for (fields, target, expected) in [
        (&[][..], "", DEFAULT),
        (&[], "expires 1h;", DEFAULT),
        (&[("Cache-Control", "private, no-store")], "expires 1h;", "private, no-store"),
        (&[], "add_header Cache-Control 'public, max-age=9' always;", "private, max-age=9"),
        (
            &[("Cache-Control", "max-age=7")],
            "add_header Cache-Control no-cache always;",
            "max-age=7",
        ),
    ] {
        let application = two_users(fields);
        let nginx = lookup_site(&application, "", target).start();
        for protocol in nginx.protocols() {
            for (request, status) in [
                (Request::get(PATH).range("bytes=999999-"), 416),
                (Request::get(PATH).header("If-Match", "\"x\""), 412),
            ] {
                let request = request.header("Cookie", "user=alice");
                let response = nginx.send(protocol, &request);
                let what = format!("{fields:?} {target} {protocol:?} {request:?}");
                assert_no_recording(&response, status, &what);
                assert_eq!(all(&response, "cache-control"), [expected], "{what}");
                assert_eq!(response.header("expires"), None, "{what}");
            }
        }
    }
}

#[test]
fn refusals_carry_what_the_application_says() {
    let refusal = |status| {
        Reply::status(status)
            .header("Cache-Control", "max-age=5")
            .header("Cache-Control", "must-revalidate")
            .header("Expires", EARLY)
            .header("Vary", "Cookie")
            .header("X-Other", "1")
    };
    let statuses = [401, 403, 404, 410, 429, 451];
    let mut replies: Vec<Reply> = statuses.iter().map(|&status| refusal(status)).collect();
    replies.extend(statuses.iter().map(|&status| Reply::status(status)));
    let said = |text: &str| {
        let reply = Reply::json(text).header("Cache-Control", "max-age=5");
        reply.header("Cache-Control", "must-revalidate").header("Expires", EARLY)
    };
    replies.push(said(r#"{"status": 410}"#).header("Vary", "Cookie"));
    replies.push(said(r#"{"files": ["none.mp3"]}"#).header("Vary", "Cookie"));
    replies.push(Reply::json(r#"{"status": 410}"#));
    replies.push(Reply::json(r#"{"files": ["none.mp3"]}"#));
    let application = rows(replies);
    let nginx = asking(&application, "", "").server("expires 1h;").start();
    for protocol in nginx.protocols() {
        let get = |row: usize| nginx.send(protocol, &Request::get(&format!("/download/row{row}")));
        let check = |row: usize, status: u16, says: bool| {
            let response = get(row);
            let what = format!("{protocol:?} row {row}");
            assert_no_recording(&response, status, &what);
            let cache_control = all(&response, "cache-control");
            if says {
                assert_eq!(cache_control, ["max-age=5", "must-revalidate"], "{what}");
                assert_eq!(response.header("expires"), Some(EARLY), "{what}");
                assert_eq!(response.header("vary"), Some("Cookie"), "{what}");
            } else {
                assert_eq!(cache_control, [DEFAULT], "{what}");
                assert_eq!(response.header("expires"), None, "{what}");
                assert_eq!(response.header("vary"), None, "{what}");
            }
        };
        let count = statuses.len();
        for (row, status) in statuses.into_iter().enumerate() {
            check(row, status, true);
            check(row + count, status, false);
        }
        check(2 * count, 410, true);
        check(2 * count + 1, 404, true);
        check(2 * count + 2, 410, false);
        check(2 * count + 3, 404, false);
    }
}

#[test]
fn undecided_lookup_has_let_the_client_in_all_the_same() {
    for (reply, expected) in [
        (Reply::status(204), DEFAULT),
        (Reply::status(200), DEFAULT),
        (Reply::status(204).header("Cache-Control", "public, max-age=9"), "public, max-age=9"),
    ] {
        let application = Application::always(reply);
        let nginx = asking(&application, "xspace_catalog {dir}/c.json;", "")
            .file("c.json", r#"{"gone": {"status": 410}}"#)
            .start();
        for (path, status) in [(PATH, 200), (MISSING_PATH, 404), ("/download/gone", 410)] {
            let response = nginx.get(path);
            assert_eq!(response.status, status, "{path}");
            assert_eq!(response.header("cache-control"), Some(expected), "{path}");
        }
    }
}

/// `add_header` does nothing in a subrequest; it does in a server that is asked by `proxy_pass`.
#[test]
fn nginx_itself_can_say_that_a_recording_is_public() {
    let says = "add_header Cache-Control 'public, max-age=9'; return 204;";
    for (lookup, expected) in
        [(says, DEFAULT), ("proxy_pass http://127.0.0.1:{other};", "public, max-age=9")]
    {
        let nginx = Site::with_directives("xspace_lookup /_space;", "")
            .server(&format!("location = /_space {{ internal; {lookup} }}"))
            .http(&format!("server {{ listen 127.0.0.1:{{other}}; location / {{ {says} }} }}"))
            .file(FILE, recording())
            .start();
        assert_eq!(nginx.get(PATH).header("cache-control"), Some(expected), "{lookup}");
    }
}

#[test]
fn failures_are_kept_by_nobody() {
    let application = Application::start(|asked| {
        let public = |reply: Reply| reply.header("Cache-Control", "public, max-age=600");
        match asked.argument("id") {
            Some("html") => public(Reply::new(200, "text/html", "<html>")),
            Some("error") => public(Reply::status(500)),
            _ => public(Reply::json(r#"{"files": ["error.mp3"]}"#)),
        }
    });
    let nginx = asking(&application, "xspace_directory off;", "")
        .http(FRONT)
        .server(
            "location ^~ /downloads/error.mp3 { internal; return 503; }
             add_header Cache-Control max-age=60 always;",
        )
        .start();
    for (id, status) in [("html", 502), ("error", 502), (ID, 503)] {
        for protocol in nginx.protocols() {
            let response = nginx.send(protocol, &Request::get(&format!("/download/{id}")));
            assert_no_recording(&response, status, id);
            assert_eq!(all(&response, "cache-control"), ["no-store"], "{id} {protocol:?}");
        }
    }
}

#[test]
fn location_of_an_error_page_speaks_for_itself() {
    let application = two_users(&[
        ("Cache-Control", "private, no-store"),
        ("Expires", EARLY),
        ("Vary", "Cookie"),
    ]);
    // Without "max_ranges 0" the page would be 416 as well.
    let elsewhere = "
        location /pages/ {
            root {dir}/html; types { text/html html; } expires max; max_ranges 0;
        }
        location @plain { root {dir}/html; rewrite ^ /pages/sorry.html break; max_ranges 0; }
        location @app {
            rewrite ^ /says/ break; proxy_pass http://127.0.0.1:{port}; max_ranges 0;
        }
        location /says/ {
            root {dir}/html; rewrite ^ /pages/sorry.html break; max_ranges 0;
            add_header Cache-Control 'public, max-age=8'; add_header Expires 2031;
            add_header Vary Accept;
        }";
    for (page, cache_control, made_private, expires, vary) in [
        (
            "/pages/sorry.html",
            &["max-age=315360000"][..],
            "private, max-age=315360000",
            Some(FAR),
            None,
        ),
        ("@plain", &[], "private, no-cache", None, None),
        ("@app", &["public, max-age=8"], "private, max-age=8", Some("2031"), Some("Accept")),
    ] {
        for overwrite in ["=200", "=206"] {
            for more in ["", "recursive_error_pages on;"] {
                let directives = format!("error_page 403 404 416 {overwrite} {page}; {more}");
                let target = format!("expires 1h; {directives}");
                let nginx = lookup_site(&application, &directives, &target)
                    .server(elsewhere)
                    .file("html/pages/sorry.html", "<p>Sorry</p>")
                    .start();
                for protocol in nginx.protocols() {
                    for (request, cache_control) in [
                        (Request::get(PATH).header("Cookie", "user=bob"), cache_control),
                        (
                            Request::get("/download/missing").header("Cookie", "user=alice"),
                            cache_control,
                        ),
                        (
                            Request::get("/download/nofile").header("Cookie", "user=alice"),
                            cache_control,
                        ),
                        // Alice may have the file that this is instead of.
                        (
                            Request::get(PATH)
                                .header("Cookie", "user=alice")
                                .range("bytes=999999-"),
                            &[made_private],
                        ),
                    ] {
                        let response = nginx.send(protocol, &request);
                        let what = format!("{directives} {protocol:?} {request:?}");
                        assert_eq!(response.text(), "<p>Sorry</p>", "{what}");
                        assert_eq!(all(&response, "cache-control"), cache_control, "{what}");
                        assert_eq!(response.header("expires"), expires, "{what}");
                        assert_eq!(response.header("vary"), vary, "{what}");
                    }
                }
            }
        }
    }
}

/// A copy of the recording on disk, and the origin if there is none: the copy of Alice's recording
/// that comes from there is no more for others than that on disk.
#[test]
fn recording_from_the_fallback_of_the_target_is_private() {
    for said in [&[("Cache-Control", "private, no-store")][..], &[]] {
        let application = two_users(said);
        for fallback in [
            "error_page 404 = @origin; log_not_found off;",
            "try_files $uri @origin;",
            "error_page 404 =200 /origin/1lDxLnrWjwkGm.mp3; log_not_found off;",
        ] {
            let nginx =
                Site::with_download("xspace_lookup /_space; xspace_directory {dir}/downloads;")
                    .server(&format!(
                        "location = /_space {{ internal; proxy_pass http://{}; }}
                 location ^~ /downloads/ {{ internal; root {{dir}}/html; {fallback} }}
                 location @origin {{
                     rewrite ^/downloads(.*) /origin$1 break;
                     proxy_pass http://127.0.0.1:{{port}};
                 }}
                 location /origin/ {{ alias {{dir}}/downloads/; expires 1h; }}",
                        application.address()
                    ))
                    .file(FILE, recording())
                    .start();
            for protocol in nginx.protocols() {
                let request = Request::get(PATH).header("Cookie", "user=alice");
                let response = nginx.send(protocol, &request);
                let what = format!("{said:?} {fallback} {protocol:?}: {response:?}");
                assert_eq!((response.status, response.body.len()), (200, SIZE), "{what}");
                let fields = all(&response, "cache-control");
                assert!(fields.len() == 1 && fields[0].starts_with("private, "), "{what}");
            }
        }
    }
}

#[test]
fn redirect_to_the_login_is_for_one_user() {
    let application = two_users(&[]);
    for (page, location, cache_control) in [
        ("error_page 401 =302 https://login.example/;", "https://login.example/", Some(DEFAULT)),
        // As lookup.conf has it; caches keep no 302 without an age (RFC 9110, section 15.1).
        ("error_page 401 = @login; absolute_redirect off;", "/login", None),
    ] {
        let nginx = asking(&application, page, "")
            .server("location @login { absolute_redirect off; return 302 /login; }")
            .start();
        let request = Request::get("/download/login").header("Cookie", "user=alice");
        let response = nginx.send(Protocol::Http1, &request);
        assert_eq!(response.status, 302, "{page}");
        assert_eq!(response.header("location"), Some(location), "{page}");
        assert_eq!(response.header("cache-control"), cache_control, "{page}");
    }
}

#[test]
fn page_of_an_error_that_is_another_space_has_its_own_lookup() {
    let application = Application::start(|asked| match asked.argument("id") {
        Some(ID) => Reply::json(ENTRY).header("Cache-Control", "max-age=3"),
        _ => Reply::status(404).header("Cache-Control", "max-age=2").header("Vary", "Cookie"),
    });
    let nginx = asking(&application, &format!("error_page 404 =200 {PATH};"), "").start();
    for protocol in nginx.protocols() {
        let response = nginx.send(protocol, &Request::get(MISSING_PATH));
        assert_eq!((response.status, response.body.len()), (200, SIZE), "{protocol:?}");
        assert_eq!(all(&response, "cache-control"), ["max-age=3"], "{protocol:?}");
        assert_eq!(response.header("vary"), None, "{protocol:?}");
    }
}

#[test]
fn field_that_is_hidden_is_not_said() {
    let application = two_users(&[("Cache-Control", "public, max-age=9"), ("Vary", "Cookie")]);
    for (hide, cache_control, vary) in [
        ("", "public, max-age=9", Some("Cookie")),
        ("proxy_ignore_headers Cache-Control Vary;", "public, max-age=9", Some("Cookie")),
        ("proxy_hide_header Cache-Control;", DEFAULT, Some("Cookie")),
        ("proxy_hide_header cache-control; proxy_hide_header Vary;", DEFAULT, None),
    ] {
        let nginx = asking(&application, "", hide).start();
        for (user, status) in [("alice", 200), ("bob", 403)] {
            let response = nginx.get_with(PATH, "Cookie", &format!("user={user}"));
            assert_eq!(response.status, status, "{hide}");
            assert_eq!(response.header("cache-control"), Some(cache_control), "{hide}");
            assert_eq!(response.header("vary"), vary, "{hide}");
        }
    }
}

#[test]
fn vary_is_added_to_what_the_target_says() {
    let application = two_users(&[("Vary", "Cookie"), ("vary", "X-User")]);
    let nginx = asking(&application, "", "")
        .server("add_header Vary Origin; gzip on; gzip_types audio/mpeg; gzip_vary on;")
        .start();
    for (request, status) in
        [(Request::get(PATH), 200), (Request::get(PATH).header("If-None-Match", "*"), 304)]
    {
        let request = request.header("Cookie", "user=alice").header("Accept-Encoding", "gzip");
        let response = nginx.send(Protocol::Http1, &request);
        assert_eq!(response.status, status);
        let mut vary = all(&response, "vary");
        vary.sort();
        let mut expected = vec!["Cookie", "Origin", "X-User"];
        if status == 200 {
            assert_eq!(response.header("content-encoding"), Some("gzip"));
            expected.insert(0, "Accept-Encoding");
        }
        assert_eq!(vary, expected, "{response:?}");
        assert_eq!(response.header("cache-control"), Some(DEFAULT));
    }
}

/// The origin's word on caching is as good as the target's own.
#[test]
fn proxied_target_is_made_private() {
    for (fields, said, expected, expires) in [
        (&[][..], "", DEFAULT, None),
        (&[], "add_header Cache-Control 'public, max-age=60';", "private, max-age=60", None),
        (&[], "expires max;", "private, max-age=315360000", Some(FAR)),
        (&[("Cache-Control", "no-store")], "expires max;", "no-store", None),
        (&[("Cache-Control", "max-age=1")], "add_header Cache-Control public;", "max-age=1", None),
    ] {
        for cache in ["", "proxy_cache target; proxy_cache_valid 200 206 10m;"] {
            let application = two_users(fields);
            let download = "xspace_lookup /_space; xspace_directory {dir}/downloads;";
            let nginx = Site::with_download(download)
                .server(&lookup_location(&application))
                .http("proxy_cache_path {dir}/target keys_zone=target:1m;")
                .server(&format!(
                    "location ^~ /downloads/ {{
                         internal; proxy_pass http://127.0.0.1:{{port}}/store/; {cache}
                     }}
                     location /store/ {{ alias {{dir}}/downloads/; {said} }}"
                ))
                .file(FILE, recording())
                .start();
            for round in 0..2 {
                for (request, status) in [
                    (Request::get(PATH), 200),
                    (Request::get(PATH).range("bytes=1-2"), 206),
                    (Request::head(PATH), 200),
                ] {
                    let request = request.header("Cookie", "user=alice");
                    let response = nginx.send(Protocol::Http1, &request);
                    let what = format!("{fields:?} {said} {cache} {round} {request:?}");
                    assert_eq!(response.status, status, "{what}");
                    assert_eq!(all(&response, "cache-control"), [expected], "{what}");
                    assert_eq!(response.header("expires"), expires, "{what}");
                }
            }
            assert_no_recording(&nginx.get_with(PATH, "Cookie", "user=bob"), 403, "Bob");
        }
    }
}

#[test]
fn requests_that_no_lookup_has_decided_are_left_alone() {
    let application = two_users(&[("Cache-Control", "no-store")]);
    let nginx = asking(&application, "deny 127.0.0.2;", "")
        .server(
            "expires 1h;
             location ^~ /public/ { xspace_download /downloads/; xspace_lookup off; }
             location ^~ /page/ { alias {dir}/downloads/; }",
        )
        .start();
    let hour = Some("max-age=3600");
    for protocol in nginx.protocols() {
        for (request, status, expected) in [
            (Request::get(&format!("/public/{ID}")), 200, hour),
            (Request::get(&format!("/page/{ID}.mp3")), 200, hour),
            (Request::get(&format!("/public/{MISSING}")), 404, None),
            (Request::new("OPTIONS", PATH), 204, hour),
            (Request::new("POST", PATH), 405, None),
            (Request::get("/download/a.b.c"), 404, None),
            (Request::get("/download/a?format=exe"), 404, None),
        ] {
            let response = nginx.send(protocol, &request);
            assert_eq!(response.status, status, "{protocol:?} {request:?}");
            assert_eq!(response.header("cache-control"), expected, "{protocol:?} {request:?}");
        }
    }
    assert_eq!(application.asked().len(), 0);
}

/// An application that reads cookies as its framework does: the last of a name counts, names have
/// their case, `,` is a character like others.
fn session_of(asked: &Asked) -> Option<String> {
    let cookies = asked.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("cookie"));
    let pairs = cookies.flat_map(|(_, value)| value.split(';').map(str::trim));
    pairs.filter_map(|pair| pair.strip_prefix("session=")).next_back().map(str::to_owned)
}

/// A planted cookie makes the browser of Alice, who may listen, keep her permission under a key
/// that somebody else can name.
#[test]
fn planted_cookie_does_not_open_the_cache_of_the_sample() {
    let application = Application::start(|asked| match session_of(asked).as_deref() {
        Some("real") => Reply::json(ENTRY).header("Cache-Control", "private, no-store"),
        _ => Reply::status(403),
    });
    let conf = conf_files::conf_file("lookup-cached.conf")
        .replace("127.0.0.1:8080", &application.address().to_string());
    let nginx = conf_files::site("lookup-cached.conf", &conf).start();
    let get = |fields: &[(&str, &str)]| {
        let request = Request::get(PATH);
        let request =
            fields.iter().fold(request, |request, (name, value)| request.header(name, value));
        nginx.send(Protocol::Http1, &request).status
    };
    for (of_alice, of_mallory) in [
        (
            &[("Cookie", "utm=x,session=planted; session=real")][..],
            &[("Cookie", "session=planted")][..],
        ),
        (&[("Cookie", "SESSION=planted; session=real")], &[("Cookie", "session=planted")]),
        (&[("Cookie", "session=planted; session=real")], &[("Cookie", "session=planted")]),
        (
            &[("Cookie", "session=planted"), ("Cookie", "session=real")],
            &[("Cookie", "session=planted")],
        ),
        (
            &[("Authorization", "a|b"), ("Cookie", "c; session=real")],
            &[("Authorization", "a"), ("Cookie", "b|c; session=none")],
        ),
        (&[("Cookie", "session=real")], &[("Authorization", "session=real")]),
        (&[("Cookie", "session=real")], &[]),
    ] {
        for round in 0..2 {
            assert_eq!(get(of_alice), 200, "{of_alice:?}, round {round}");
            assert_eq!(get(of_mallory), 403, "{of_alice:?} {of_mallory:?}, round {round}");
        }
    }
    // The cache is used all the same, although the application says "no-store" to the listener's.
    let before = application.asked().len();
    for _ in 0..5 {
        let response = nginx.get_with(PATH, "Cookie", "session=real");
        assert_eq!(response.header("cache-control"), Some("private, no-store"));
    }
    assert_eq!(application.asked().len(), before);
}

/// Why the key has all cookies: what docs/lookup.md says of `$cookie_session`.
#[test]
fn cookie_variable_is_not_what_an_application_reads() {
    let nginx = Site::new().server("location = /cookie { return 200 $cookie_session; }").start();
    let comma_separates = build().version() < (1, 29, 6);
    for (cookie, session) in [
        ("session=real", "real"),
        ("SESSION=planted; session=real", "planted"),
        ("session=planted; session=real", "planted"),
        ("utm=x,session=planted; session=real", if comma_separates { "planted" } else { "real" }),
    ] {
        assert_eq!(nginx.get_with("/cookie", "Cookie", cookie).text(), session, "{cookie}");
    }
}

/// As docs/lookup.md has it, for a public site.
#[test]
fn public_site_goes_on_while_its_application_is_down() {
    let gate = xspace_tests::Gate::default();
    let slow = gate.clone();
    let application = Application::start(move |asked| match asked.argument("id") {
        Some(OTHER) => Reply::json(ENTRY).behind(&slow),
        Some("error") => Reply::status(500),
        Some("html") => Reply::new(200, "text/html", "<html>"),
        Some("denied") => Reply::status(403),
        Some("cut") => Reply::json(ENTRY).cut(5).reset(),
        _ => Reply::json(ENTRY).header("Cache-Control", "public, max-age=9"),
    });
    let blocks = code_blocks("docs/lookup.md", "nginx");
    let locations = blocks[2].replace("127.0.0.1:8080", &application.address().to_string());
    assert!(locations.contains("=204 /_unknown;"), "{locations}");
    let nginx = Site::with_directives("xspace_lookup /_space;", "")
        .server("proxy_read_timeout 300ms;")
        .server(&locations)
        .file(FILE, recording())
        .allow("upstream timed out")
        .file(&format!("downloads/{OTHER}.mp3"), "other")
        .start();
    let get = |path: &str| nginx.get(&format!("/download/{path}"));
    assert_eq!(get(ID).header("cache-control"), Some("public, max-age=9"));
    // It does not answer in time.
    assert_eq!(get(OTHER).text(), "other");
    gate.open();
    // What it answers itself is not affected.
    for (id, status) in [("error", 502), ("html", 502), ("denied", 403), ("cut", 502)] {
        assert_no_recording(&get(id), status, id);
    }
    let errors = own_errors(&nginx).len();
    // It is not there.
    drop(application);
    for protocol in nginx.protocols() {
        let response = nginx.send(protocol, &Request::get(PATH));
        assert_eq!((response.status, response.body.len()), (200, SIZE), "{protocol:?}");
        assert_eq!(
            response.header("content-disposition"),
            Some("inline; filename=\"1lDxLnrWjwkGm.mp3\""),
            "the directory's, without a title"
        );
        assert_eq!(response.header("cache-control"), Some(DEFAULT), "{protocol:?}");
        assert_no_recording(&nginx.send(protocol, &Request::get(MISSING_PATH)), 404, "no file");
    }
    assert_eq!(own_errors(&nginx).len(), errors);
}

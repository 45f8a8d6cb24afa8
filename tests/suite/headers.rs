//! Where the module's headers appear, and where they do not.

use xspace_tests::{Application, Protocol, Reply, Request, Response, Site, build};

use crate::common::{
    FILE, ID, MISSING_PATH, OTHER, PATH, SIZE, assert_no_recording, assert_recording,
    one_recording, recording,
};

/// A page of the site, with nothing of a recording's headers.
#[track_caller]
fn assert_page(response: &Response, status: u16, text: &str, what: &str) {
    assert_eq!(response.status, status, "{what}: {response:?}");
    assert_eq!(response.text(), text, "{what}");
    assert_eq!(response.header("content-type"), Some("text/html"), "{what}");
    assert_eq!(response.header("content-disposition"), None, "{what}");
}

/// HTML pages of the site itself.
const PAGES: &str = "location /pages/ { root {dir}/html; types { text/html html; } }";

#[test]
fn errors_carry_none() {
    if !build().require("http_rewrite") {
        return;
    }
    let site = Site::with_directives("", "if ($arg_fail) { return 500; }")
        .file(FILE, recording())
        .file("downloads/locked.mp3", "x");
    site.chmod("downloads/locked.mp3", 0);
    let nginx = site.start();
    for protocol in nginx.protocols() {
        for (request, status) in [
            (Request::get(MISSING_PATH), 404),
            (Request::head(MISSING_PATH), 404),
            (Request::get("/download/a.b.c"), 404),
            (Request::get("/download/locked"), 403),
            (Request::get(&format!("{PATH}?fail=1")), 500),
            (Request::new("POST", PATH), 405),
            (Request::get(PATH).range("bytes=999999-"), 416),
            (Request::get(PATH).header("If-None-Match", "*"), 304),
            (Request::get(PATH).header("If-Match", "\"x\""), 412),
        ] {
            let response = nginx.send(protocol, &request);
            assert_no_recording(&response, status, &format!("{protocol:?} {request:?}"));
        }
    }
}

#[test]
fn no_header_is_doubled() {
    let nginx = Site::with_directives("", "expires 1h; add_header X-Space $xspace_id;")
        .file(FILE, recording())
        .start();
    for protocol in nginx.protocols() {
        for request in [
            Request::get(PATH),
            Request::head(PATH),
            Request::get(&format!("{PATH}?attachment=1")),
            Request::get(PATH).range("bytes=0-1"),
            Request::get(PATH).range("bytes=0-1,5-6"),
            Request::get(PATH).range("bytes=999999-"),
            Request::get(PATH).header("If-None-Match", "*"),
            Request::new("OPTIONS", PATH),
            Request::new("POST", PATH),
        ] {
            let response = nginx.send(protocol, &request);
            for (name, _) in &response.headers {
                assert!(response.header(name).is_some(), "{request:?}: {name}");
            }
        }
        let response = nginx.send(protocol, &Request::get(PATH));
        assert_eq!(response.header("x-space"), Some(ID), "{protocol:?}");
        assert_eq!(response.header("cache-control"), Some("max-age=3600"), "{protocol:?}");
    }
}

#[test]
fn error_pages_of_the_download_location_carry_none() {
    for (directive, status) in [
        ("error_page 404 405 /pages/sorry.html;", 404),
        ("error_page 404 405 =200 /pages/sorry.html;", 200),
        ("error_page 404 405 = /pages/sorry.html;", 200),
        ("error_page 404 405 =206 /pages/sorry.html;", 206),
        ("error_page 404 405 =200 /pages/sorry.html; recursive_error_pages on;", 200),
    ] {
        let nginx = Site::with_directives(directive, "")
            .server(PAGES)
            .file("html/pages/sorry.html", "<p>Sorry</p>")
            .file(FILE, recording())
            .start();
        for protocol in nginx.protocols() {
            let response = nginx.send(protocol, &Request::get(MISSING_PATH));
            assert_page(&response, status, "<p>Sorry</p>", directive);
        }
        assert_recording(&nginx.get(PATH), directive);
    }
}

#[test]
fn error_pages_of_the_target_carry_none() {
    if !build().require("http_rewrite") {
        return;
    }
    for (directive, status) in [
        ("error_page 403 416 /pages/sorry.html;", 403),
        ("error_page 403 416 =200 /pages/sorry.html;", 200),
        ("error_page 403 416 = /pages/sorry.html;", 200),
        ("error_page 403 416 =200 @sorry;", 200),
        ("error_page 403 416 =200 /pages/sorry.html; recursive_error_pages on;", 200),
    ] {
        let site = Site::with_directives("", directive)
            .server(PAGES)
            .server(
                "location @sorry {
                     root {dir}/html/pages; types { text/html html; }
                     rewrite ^ /sorry.html break;
                 }",
            )
            .file("html/pages/sorry.html", "<p>Sorry</p>")
            .file("downloads/locked.mp3", "x")
            .file(FILE, recording());
        site.chmod("downloads/locked.mp3", 0);
        let nginx = site.start();
        for protocol in nginx.protocols() {
            let response = nginx.send(protocol, &Request::get("/download/locked?attachment=1"));
            assert_page(&response, status, "<p>Sorry</p>", directive);
        }
        assert_recording(&nginx.get(PATH), directive);
    }
}

#[test]
fn error_page_after_an_error_page_carries_none() {
    let site =
        Site::with_directives("", "recursive_error_pages on; error_page 403 =200 /first/x.html;")
            .server(PAGES)
            .server(
                "location /first/ {
             root {dir}/html; recursive_error_pages on; error_page 404 =200 /pages/sorry.html;
         }",
            )
            .file("html/pages/sorry.html", "<p>Sorry</p>")
            .file("downloads/locked.mp3", "x");
    site.chmod("downloads/locked.mp3", 0);
    let nginx = site.start();
    assert_page(&nginx.get("/download/locked"), 200, "<p>Sorry</p>", "second page");
}

#[test]
fn error_page_inside_the_target_carries_none() {
    // The page lies where the recordings lie and is served by the target itself.
    let site = Site::with_directives(
        "",
        "error_page 403 =200 /downloads/sorry.html; types { text/html html; }",
    )
    .file("downloads/sorry.html", "<p>Sorry</p>")
    .file("downloads/locked.mp3", "x");
    site.chmod("downloads/locked.mp3", 0);
    let nginx = site.start();
    assert_page(&nginx.get("/download/locked"), 200, "<p>Sorry</p>", "in the target");
}

#[test]
fn error_page_may_be_another_recording() {
    let nginx = Site::with_directives(&format!("error_page 404 =200 /download/{OTHER};"), "")
        .file(&format!("downloads/{OTHER}.m4a"), "other")
        .start();
    let response = nginx.get(MISSING_PATH);
    assert_eq!((response.status, response.text()), (200, "other".to_owned()), "{response:?}");
    assert_eq!(response.header("content-type"), Some("audio/mp4"));
    assert_eq!(
        response.header("content-disposition"),
        Some(format!("inline; filename=\"{OTHER}.m4a\"").as_str())
    );
}

#[test]
fn try_files_in_the_target_keeps_them() {
    if !build().require("http_rewrite") {
        return;
    }
    for target in [
        "root {dir}; try_files /elsewhere$uri $uri =404;",
        "root {dir}; try_files /none /fallback/talk;",
        "root {dir}; try_files /none @fallback;",
    ] {
        let nginx = Site::with_download("")
            .server(&format!("location ^~ /downloads/ {{ internal; {target} }}"))
            .server("location /fallback/ { root {dir}; }")
            .server("location @fallback { root {dir}; rewrite ^ /fallback/talk break; }")
            .file(FILE, recording())
            .file("fallback/talk", recording())
            .start();
        assert_recording(&nginx.get(PATH), target);
    }
}

#[test]
fn page_with_a_subrequest_through_the_module_carries_none() {
    if !build().require("http_ssi") {
        return;
    }
    let nginx = one_recording()
        .server(
            "location = /page.html {
                 root {dir}/html; ssi on; types { text/html html; } add_header X-Page $xspace_id;
             }",
        )
        .file("html/page.html", format!("<p><!--# include virtual=\"{PATH}?attachment=1\" --></p>"))
        .start();
    for protocol in nginx.protocols() {
        let response = nginx.send(protocol, &Request::get("/page.html"));
        let what = format!("{protocol:?}");
        assert_eq!(response.status, 200, "{what}");
        assert_eq!(response.header("content-type"), Some("text/html"), "{what}");
        assert_eq!(response.header("content-disposition"), None, "{what}");
        let mut expected = b"<p>".to_vec();
        expected.extend(recording());
        expected.extend(b"</p>");
        xspace_tests::same_bytes(&response.body, &expected, &what);
    }
}

#[test]
fn page_with_a_subrequest_for_a_missing_space_carries_none() {
    if !build().require("http_ssi") {
        return;
    }
    let nginx = one_recording()
        .server("location = /page.html { root {dir}/html; ssi on; types { text/html html; } }")
        .file("html/page.html", format!("<p><!--# include virtual=\"{MISSING_PATH}\" --></p>"))
        .start();
    let response = nginx.get("/page.html");
    assert_eq!(response.status, 200);
    assert_eq!(response.header("content-type"), Some("text/html"));
    assert_eq!(response.header("content-disposition"), None);
}

#[test]
fn page_authorized_through_the_module_carries_none() {
    if !build().require("http_auth_request") {
        return;
    }
    let nginx = one_recording()
        .server(&format!(
            "location /pages/ {{
                 auth_request {PATH}; root {{dir}}/html; types {{ text/html html; }}
             }}
             location /locked/ {{ auth_request {MISSING_PATH}; root {{dir}}/html; }}"
        ))
        .file("html/pages/page.html", "<p>Page</p>")
        .file("html/locked/page.html", "<p>Page</p>")
        .start();
    for protocol in nginx.protocols() {
        let response = nginx.send(protocol, &Request::get("/pages/page.html"));
        assert_page(&response, 200, "<p>Page</p>", &format!("{protocol:?}"));
    }
    // auth_request takes a 404 for a failure.
    assert_no_recording(&nginx.get("/locked/page.html"), 500, "not authorized");
}

#[test]
fn recording_with_a_subrequest_through_the_module_keeps_its_own() {
    if !build().require("http_auth_request") {
        return;
    }
    // The subrequest finds another recording; the main request's headers stay its own.
    let nginx = Site::with_directives(&format!("auth_request /check/{OTHER};"), "")
        .server("location ^~ /check/ { internal; xspace_download /downloads/; }")
        .file(FILE, recording())
        .file(&format!("downloads/{OTHER}.m4a"), "other")
        .start();
    for protocol in nginx.protocols() {
        let response = nginx.send(protocol, &Request::get(PATH));
        assert_recording(&response, &format!("{protocol:?}"));
    }
}

#[test]
fn headers_of_a_proxied_target_are_replaced_not_doubled() {
    if !build().require("http_proxy") {
        return;
    }
    let nginx = Site::with_download("xspace_directory {dir}/downloads;")
        .server(
            "location ^~ /downloads/ {
                 internal; proxy_pass http://127.0.0.1:{port}/store/;
             }
             location /store/ {
                 alias {dir}/downloads/;
                 default_type text/plain;
                 charset utf-8; charset_types text/plain;
                 add_header Content-Disposition 'attachment; filename=wrong';
             }",
        )
        .file(FILE, recording())
        .start();
    for protocol in nginx.protocols() {
        let what = format!("{protocol:?}");
        assert_recording(&nginx.send(protocol, &Request::get(PATH)), &what);
        let part = nginx.send(protocol, &Request::get(PATH).range("bytes=0-1"));
        assert_eq!((part.status, part.body.len()), (206, 2), "{what}");
        assert_eq!(part.header("content-type"), Some("audio/mpeg"), "{what}");
        let disposition = part.header("content-disposition");
        assert_eq!(disposition, Some("inline; filename=\"1lDxLnrWjwkGm.mp3\""), "{what}");
    }
}

/// A cache would have the field in the place of that of the 200 (RFC 9111, section 3.2).
#[test]
fn a_304_of_a_proxied_target_has_no_disposition() {
    if !build().require("http_proxy") {
        return;
    }
    let origin = Application::always(Reply::raw(
        "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Disposition: attachment\r\n\r\n",
    ));
    let nginx = Site::with_download("xspace_directory {dir}/downloads;")
        .server(&format!(
            "location ^~ /downloads/ {{ internal; proxy_pass http://{}; }}",
            origin.address()
        ))
        .file(FILE, recording())
        .start();
    for protocol in nginx.protocols() {
        let request = Request::get(PATH).header("If-None-Match", "\"x\"");
        let response = nginx.send(protocol, &request);
        assert_no_recording(&response, 304, &format!("{protocol:?}"));
        assert_eq!(response.header("etag"), Some("\"x\""));
    }
}

#[test]
fn several_ranges_of_a_proxied_target_stay_several() {
    if !build().require("http_proxy") {
        return;
    }
    let nginx = Site::with_download("xspace_directory {dir}/downloads;")
        .server(
            "location ^~ /downloads/ { internal; proxy_pass http://127.0.0.1:{port}/store/; }
             location /store/ {
                 alias {dir}/downloads/; default_type text/plain; add_header X-Made-By store;
             }",
        )
        .file(FILE, recording())
        .start();
    for protocol in nginx.protocols() {
        let request = Request::get(PATH).range("bytes=0-1,5-6");
        let response = nginx.send(protocol, &request);
        let what = format!("{protocol:?}: {response:?}");
        assert_eq!(response.status, 206, "{what}");
        assert_eq!(response.header("x-made-by"), Some("store"), "{what}");
        let media_type = response.header("content-type").expect("a type");
        let boundary = media_type.strip_prefix("multipart/byteranges; boundary=").expect(&what);
        assert_eq!(response.text().matches(boundary).count(), 3, "{what}");
        let disposition = response.header("content-disposition");
        assert_eq!(disposition, Some("inline; filename=\"1lDxLnrWjwkGm.mp3\""), "{what}");
        // One range of several that were asked for is the recording's again.
        let response = nginx.send(protocol, &Request::get(PATH).range("bytes=0-1,999999-"));
        assert_eq!(response.header("content-type"), Some("audio/mpeg"), "{response:?}");
    }
}

#[test]
fn recording_as_the_page_of_an_error_keeps_its_type() {
    const SORRY: &[u8] = b"sorry";
    for (target, proxied) in [
        ("alias {dir}/downloads/;", false),
        ("alias {dir}/downloads/; open_file_cache max=10;", false),
        ("proxy_pass http://127.0.0.1:{port}/store/;", true),
    ] {
        if proxied && !build().require("http_proxy") {
            continue;
        }
        for more in ["", "recursive_error_pages on;"] {
            let download = "xspace_directory {dir}/downloads; xspace_min_size 5;";
            let page = "error_page 404 /download/sorry;";
            let nginx = Site::with_download(&format!("{download} {page} {more}"))
                .server(&format!(
                    "location ^~ /downloads/ {{ internal; {target} }}
                     location /store/ {{ alias {{dir}}/downloads/; types {{ audio/mpeg mp3; }} }}"
                ))
                .file("downloads/sorry.mp3", SORRY)
                .start();
            for protocol in nginx.protocols() {
                for (request, body) in [
                    (Request::get(MISSING_PATH), SORRY),
                    (Request::head(MISSING_PATH), b""),
                    (Request::get(&format!("{MISSING_PATH}?attachment=1")), SORRY),
                    (Request::get(MISSING_PATH).range("bytes=1-2"), SORRY),
                    (Request::get(MISSING_PATH).header("If-None-Match", "*"), SORRY),
                ] {
                    let response = nginx.send(protocol, &request);
                    let what = format!("{target} {more} {protocol:?} {request:?}: {response:?}");
                    assert_eq!(response.status, 404, "{what}");
                    assert_eq!(response.header("content-type"), Some("audio/mpeg"), "{what}");
                    // It is not the recording that was asked for.
                    assert_eq!(response.header("content-disposition"), None, "{what}");
                    // The origin is asked for the client's range and condition.
                    assert!(proxied || response.body == body, "{what}");
                }
                // The page itself, asked for as a recording.
                let response = nginx.send(protocol, &Request::get("/download/sorry"));
                assert_eq!(response.status, 200, "{response:?}");
                assert!(response.header("content-disposition").is_some(), "{response:?}");
            }
        }
    }
}

#[test]
fn page_that_is_a_recording_and_fails_is_a_page_of_nginx() {
    let page = "xspace_catalog {dir}/c.json; error_page 403 404 /download/sorry;";
    let site = Site::with_directives(page, "")
        .file("c.json", r#"{"forbidden": {"status": 403}}"#)
        .file("downloads/sorry.mp3", "sorry");
    site.chmod("downloads/sorry.mp3", 0);
    let nginx = site.start();
    for protocol in nginx.protocols() {
        // Of the second one the page would have the status that its failure has.
        for path in [MISSING_PATH, "/download/forbidden"] {
            let response = nginx.send(protocol, &Request::get(path));
            assert_no_recording(&response, 403, "unreadable");
            assert_eq!(response.header("content-type"), Some("text/html"), "{response:?}");
        }
    }
}

/// Who writes the field in the configuration means it.
#[test]
fn content_disposition_of_the_configuration_is_the_only_one() {
    if !build().require("http_map") {
        return;
    }
    let own = "inline; filename=\"1lDxLnrWjwkGm.mp3\"";
    let map = "map $arg_save $save { default ''; 1 'attachment; filename=x'; }";
    for (target, server, query, expected) in [
        ("add_header Content-Disposition attachment;", "", "", "attachment"),
        (
            "add_header X-A 1; add_header content-disposition attachment; expires 1h;",
            "",
            "",
            "attachment",
        ),
        ("add_header Content-Disposition attachment always;", "", "", "attachment"),
        ("", "add_header Content-Disposition attachment;", "", "attachment"),
        ("add_header Content-Disposition $save;", "", "?save=1", "attachment; filename=x"),
        ("add_header Content-Disposition $save;", "", "", own),
        ("add_header X-A 1; expires 1h;", "", "", own),
        (
            "add_header Content-Disposition \"a; x=$xspace_filename\";",
            "",
            "",
            "a; x=1lDxLnrWjwkGm.mp3",
        ),
    ] {
        let nginx = Site::with_directives("", target)
            .http(map)
            .server(server)
            .file(FILE, recording())
            .start();
        for protocol in nginx.protocols() {
            for (request, media_type) in [
                (Request::get(&format!("{PATH}{query}")), "audio/mpeg"),
                (Request::head(&format!("{PATH}{query}")), "audio/mpeg"),
                (Request::get(&format!("{PATH}{query}")).range("bytes=0-1"), "audio/mpeg"),
                (Request::get(&format!("{PATH}{query}")).range("bytes=0-1,4-5"), "multipart/"),
            ] {
                let response = nginx.send(protocol, &request);
                let what = format!("{target} {server} {protocol:?} {request:?}");
                assert_eq!(response.header("content-disposition"), Some(expected), "{what}");
                let found = response.header("content-type").expect("a type");
                assert!(found.starts_with(media_type), "{what}: {found}");
            }
            // NGINX itself sends "always" twice with a 416, the module's is not there.
            let request = Request::get(&format!("{PATH}{query}")).range("bytes=999999-");
            let response = nginx.send(protocol, &request);
            assert_eq!(response.status, 416);
            let own = response.headers.iter().filter(|(_, value)| value == own).count();
            assert_eq!(own, 0, "{response:?}");
        }
    }
}

#[test]
fn errors_of_a_proxied_target_carry_none() {
    if !build().require("http_proxy") {
        return;
    }
    let nginx = Site::with_download("xspace_directory {dir}/downloads; xspace_pass_args on;")
        .server(
            "location ^~ /downloads/ {
                 internal; proxy_pass http://127.0.0.1:{port}/store/$arg_status;
             }
             location /store/404 { return 404; }
             location /store/403 { return 403; }
             location /store/500 { return 500; }
             location /store/302 { return 302 /elsewhere; }",
        )
        .file(FILE, recording())
        .start();
    for status in [404, 403, 500, 302] {
        let response = nginx.get(&format!("{PATH}?status={status}"));
        assert_no_recording(&response, status, "proxied error");
    }
}

#[test]
fn cors_headers_of_the_target_reach_the_client() {
    // With "always" NGINX itself sends it twice with a 416, of any static file.
    let nginx = Site::with_directives("", "add_header Access-Control-Allow-Origin *;")
        .file(FILE, recording())
        .start();
    for request in [
        Request::get(PATH),
        Request::get(PATH).range("bytes=0-1"),
        Request::get(PATH).range("bytes=999999-"),
    ] {
        let response = nginx.send(Protocol::Http1, &request.header("Origin", "https://a.example"));
        assert_eq!(response.header("access-control-allow-origin"), Some("*"));
    }
}

#[test]
fn gzip_on_does_not_touch_recordings() {
    if !build().require("http_gzip") {
        return;
    }
    let nginx = one_recording().http("gzip on; gzip_min_length 1;").start();
    let response = nginx.get_with(PATH, "Accept-Encoding", "gzip");
    assert_recording(&response, "gzip");
    assert_eq!(response.header("content-encoding"), None);
    assert_eq!(response.header("content-length"), Some(SIZE.to_string().as_str()));
}

#[test]
fn error_page_made_by_return_behind_a_proxied_target_carries_none() {
    if !build().require("http_rewrite") {
        return;
    }
    let nginx = Site::with_directives(
        "",
        "proxy_pass http://127.0.0.1:{other}; proxy_intercept_errors on;
         recursive_error_pages on; error_page 404 = /sorry;",
    )
    .http(
        "log_format counted '$xspace_counted'; access_log {dir}/counted.log counted;
         server {
             listen 127.0.0.1:{other};
             location / { return 404 nothing; }
         }",
    )
    .server("location = /sorry { default_type text/html; return 200 sorry; }")
    .file(FILE, recording())
    .start();
    for protocol in nginx.protocols() {
        let response = nginx.send(protocol, &Request::get(PATH));
        assert_page(&response, 200, "sorry", &format!("{protocol:?}"));
    }
    let counted = nginx.log_lines("counted.log", 2);
    assert!(counted.iter().all(|line| line != "1"), "{counted:?}");
}

#[test]
fn target_may_answer_with_x_accel_redirect() {
    if !build().require("http_rewrite") {
        return;
    }
    let nginx = Site::with_directives("", "proxy_pass http://127.0.0.1:{other};")
        .http(
            "server {
                 listen 127.0.0.1:{other};
                 location / {
                     types { }
                     default_type text/html;
                     add_header X-Accel-Redirect /files/1lDxLnrWjwkGm.mp3;
                     return 200 \"\";
                 }
             }",
        )
        .server("location /files/ { internal; alias {dir}/downloads/; }")
        .file(FILE, recording())
        .start();
    for protocol in nginx.protocols() {
        let response = nginx.send(protocol, &Request::get(PATH));
        assert_recording(&response, &format!("{protocol:?}"));
    }
}

#[test]
fn answer_to_416_by_the_module_itself_carries_none() {
    let nginx = Site::with_directives("", "error_page 416 = @again;")
        .server("location @again { xspace_download /downloads/; xspace_id nothere; }")
        .file(FILE, recording())
        .start();
    for protocol in nginx.protocols() {
        let response = nginx.send(protocol, &Request::get(PATH).range("bytes=999999-"));
        assert_no_recording(&response, 404, &format!("{protocol:?}"));
    }
}

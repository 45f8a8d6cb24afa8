//! `if`, `limit_except`, nested, named, exact and regex locations.

use xspace_tests::{Request, Site};

use crate::common::{
    FILE, ID, MISSING, MISSING_PATH, OTHER, PATH, assert_no_recording, assert_recording, recording,
};

/// The target alone, with one recording.
fn target() -> Site {
    Site::new()
        .server("location ^~ /downloads/ { internal; alias {dir}/downloads/; }")
        .file(FILE, recording())
}

#[test]
fn module_is_on_in_an_if_block_of_its_location() {
    for block in [
        "if ($arg_x) { set $y 1; }",
        "if ($arg_x) { add_header X-Y 1; }",
        "if ($arg_x) { limit_rate 10m; } if ($arg_z) { limit_rate 20m; }",
        "if ($request_method = GET) { expires 1h; }",
        "if ($arg_x) { break; }",
    ] {
        let nginx = Site::with_directives(block, "").file(FILE, recording()).start();
        for protocol in nginx.protocols() {
            for query in ["", "?x=1", "?x=1&z=1"] {
                let what = format!("{block} {query} {protocol:?}");
                let path = format!("{PATH}{query}");
                assert_recording(&nginx.send(protocol, &Request::get(&path)), &what);
                let path = format!("{MISSING_PATH}{query}");
                assert_no_recording(&nginx.send(protocol, &Request::get(&path)), 404, &what);
            }
        }
    }
}

#[test]
fn settings_of_an_if_block_count_in_it() {
    let nginx = Site::with_directives("if ($arg_x) { error_page 404 =200 /pages/x; }", "")
        .server("location = /pages/x { return 200 \"page\"; }")
        .file(FILE, recording())
        .start();
    assert_no_recording(&nginx.get(MISSING_PATH), 404, "without");
    assert_eq!(nginx.get(&format!("{MISSING_PATH}?x=1")).text(), "page");
}

#[test]
fn module_is_on_in_a_limit_except_block_of_its_location() {
    // The block is for what is not named: GET is in it here.
    let nginx = Site::with_directives("limit_except PUT { allow all; }", "")
        .file(FILE, recording())
        .start();
    for protocol in nginx.protocols() {
        let what = format!("{protocol:?}");
        assert_recording(&nginx.send(protocol, &Request::get(PATH)), &what);
        let response = nginx.send(protocol, &Request::new("POST", PATH));
        assert_no_recording(&response, 405, &what);
    }
}

#[test]
fn limit_except_refuses_before_the_module() {
    let nginx =
        Site::with_directives("limit_except GET { deny all; }", "").file(FILE, recording()).start();
    assert_recording(&nginx.get(PATH), "GET");
    for method in ["POST", "OPTIONS", "DELETE"] {
        for protocol in nginx.protocols() {
            let response = nginx.send(protocol, &Request::new(method, PATH));
            assert_no_recording(&response, 403, method);
            assert_eq!(response.header("allow"), None, "{method}");
        }
    }
}

#[test]
fn limit_except_with_an_if_inside_the_location() {
    let nginx =
        Site::with_directives("if ($arg_x) { set $y 1; } limit_except PUT { auth_basic off; }", "")
            .file(FILE, recording())
            .start();
    assert_recording(&nginx.get(&format!("{PATH}?x=1")), "both");
}

#[test]
fn nested_location_does_not_inherit() {
    let nginx = Site::with_directives(
        "location ^~ /download/public/ { root {dir}/html; }
         location = /download/about { return 200 \"about\"; }",
        "",
    )
    .file(FILE, recording())
    .file("html/download/public/page.txt", "page")
    .file("downloads/about.mp3", "hidden")
    .start();
    assert_recording(&nginx.get(PATH), "the enclosing one");
    let response = nginx.get("/download/public/page.txt");
    assert_eq!((response.status, response.text()), (200, "page".to_owned()));
    assert_eq!(response.header("content-disposition"), None);
    assert_no_recording(&nginx.get(&format!("/download/public/{ID}")), 404, "no file there");
    assert_eq!(nginx.get("/download/about").text(), "about");
}

#[test]
fn nested_location_may_have_its_own() {
    let nginx = target()
        .server(
            "location ^~ /api/ {
                 return 204;
                 location ^~ /api/download/ { xspace_download /downloads/; }
                 location ~ ^/api/(?<sid>[^/]+)/audio$ {
                     xspace_download /downloads/; xspace_id $sid; xspace_format audio;
                 }
             }",
        )
        .start();
    assert_recording(&nginx.get(&format!("/api/download/{ID}")), "prefix");
    assert_recording(&nginx.get(&format!("/api/{ID}/audio")), "regex");
    assert_recording(&nginx.get(&format!("/api/{ID}/audio?format=mp4")), "its own xspace_format");
    assert_eq!(nginx.get("/api/other").status, 204);
}

#[test]
fn regex_location_with_a_named_capture() {
    let nginx = target()
        .server(
            "location ~ ^/spaces/(?<sid>[^/]+)/download$ {
                 xspace_download /downloads/; xspace_id $sid;
             }",
        )
        .start();
    for protocol in nginx.protocols() {
        let what = format!("{protocol:?}");
        let get = |path: &str| nginx.send(protocol, &Request::get(path));
        assert_recording(&get(&format!("/spaces/{ID}/download")), &what);
        assert_recording(&get(&format!("/spaces/{ID}.mp3/download")), &what);
        assert_no_recording(&get(&format!("/spaces/{MISSING}/download")), 404, &what);
        assert_no_recording(&get("/spaces/a.b.c/download"), 404, &what);
        assert_no_recording(&get(&format!("/spaces/{ID}/download/")), 404, &what);
    }
}

#[test]
fn regex_location_with_a_numbered_capture() {
    let nginx = target()
        .server("location ~ ^/s/(.+)/d$ { xspace_download /downloads/; xspace_id $1; }")
        .start();
    assert_recording(&nginx.get(&format!("/s/{ID}/d")), "numbered");
    assert_no_recording(&nginx.get("/s/../d"), 404, "no id");
    assert_no_recording(&nginx.get("/s/a/b/d"), 404, "two segments");
}

#[test]
fn exact_location() {
    let nginx = target()
        .server(&format!(
            "location = /latest {{ xspace_download /downloads/; xspace_id {ID}; }}
             location = /by-name {{ xspace_download /downloads/; xspace_id {ID}.mp3; }}
             location = /by-argument {{ xspace_download /downloads/; xspace_id $arg_id; }}"
        ))
        .start();
    assert_recording(&nginx.get("/latest"), "fixed id");
    assert_recording(&nginx.get("/by-name?format=wav"), "the suffix counts here too");
    assert_recording(&nginx.get(&format!("/by-argument?id={ID}")), "argument");
    for query in ["", "?id=", "?id=a.b.c", "?id=..%2Fx", "?id=%31lDxLnrWjwkGm"] {
        // Arguments are not unescaped by NGINX: "%31" is no id.
        assert_no_recording(&nginx.get(&format!("/by-argument{query}")), 404, query);
    }
}

#[test]
fn prefix_without_a_slash() {
    let nginx = target()
        .server("location /download { xspace_download /downloads/; xspace_id $arg_id; }")
        .start();
    assert_recording(&nginx.get(&format!("/download?id={ID}")), "argument");
    assert_no_recording(&nginx.get(PATH), 404, "the rest of the path does not count");
}

#[test]
fn xspace_id_outranks_the_path() {
    let nginx = Site::with_directives("xspace_id $arg_id;", "").file(FILE, recording()).start();
    assert_recording(&nginx.get(&format!("{MISSING_PATH}?id={ID}")), "argument");
    assert_no_recording(&nginx.get(PATH), 404, "no argument");
}

#[test]
fn named_location() {
    let nginx = target()
        .server(
            "location ^~ /n/ { root {dir}/html; try_files $uri @download; }
             location ^~ /e/ { root {dir}/html; error_page 404 = @download; log_not_found off; }
             location @download { xspace_download /downloads/; xspace_id $arg_id; }",
        )
        .file("html/n/page.txt", "page")
        .start();
    for protocol in nginx.protocols() {
        let what = format!("{protocol:?}");
        let get = |path: &str| nginx.send(protocol, &Request::get(path));
        assert_eq!(get("/n/page.txt").text(), "page", "{what}");
        assert_recording(&get(&format!("/n/x?id={ID}")), &what);
        assert_recording(&get(&format!("/e/x?id={ID}")), &what);
        assert_no_recording(&get(&format!("/n/x?id={MISSING}")), 404, &what);
        assert_no_recording(&get("/n/x"), 404, &what);
    }
}

#[test]
fn rewritten_addresses() {
    let nginx = Site::simple()
        .server(
            "rewrite ^/old/(.*)$ /download/$1 last;
             location /moved/ { rewrite ^/moved/(.*)$ /download/$1 last; }",
        )
        .file(FILE, recording())
        .start();
    assert_recording(&nginx.get(&format!("/old/{ID}")), "server");
    assert_recording(&nginx.get(&format!("/moved/{ID}")), "location");
    assert_no_recording(&nginx.get("/old/../x"), 404, "neither");
}

#[test]
fn rewrite_with_break_inside_the_location() {
    let nginx = Site::with_directives("rewrite ^/download/v1/(.*)$ /download/$1 break;", "")
        .file(FILE, recording())
        .start();
    assert_recording(&nginx.get(&format!("/download/v1/{ID}")), "rewritten");
    assert_recording(&nginx.get(PATH), "as it is");
    assert_no_recording(&nginx.get(&format!("/download/v1/{MISSING}")), 404, "missing");
}

#[test]
fn module_may_be_off_by_name() {
    let nginx = Site::with_directives(
        "location ^~ /download/off/ { xspace_download off; return 200 \"off\"; }",
        "",
    )
    .file(FILE, recording())
    .start();
    assert_eq!(nginx.get(&format!("/download/off/{ID}")).text(), "off");
    assert_recording(&nginx.get(PATH), "the enclosing one");
}

#[test]
fn settings_are_inherited_and_replaced() {
    let nginx = target()
        .http("xspace_attachment on; xspace_min_size 10;")
        .server("xspace_attachment off;")
        .server(
            "location ^~ /a/ { xspace_download /downloads/; }
             location ^~ /b/ {
                 xspace_download /downloads/; xspace_attachment yes; xspace_min_size 0;
             }",
        )
        .file(&format!("downloads/{OTHER}.mp3"), "short")
        .start();
    assert_recording(&nginx.get(&format!("/a/{ID}")), "the server's");
    assert_no_recording(&nginx.get(&format!("/a/{OTHER}")), 404, "http's smallest size");
    let response = nginx.get(&format!("/b/{OTHER}"));
    assert_eq!(response.text(), "short");
    assert_eq!(
        response.header("content-disposition"),
        Some(format!("attachment; filename=\"{OTHER}.mp3\"").as_str())
    );
}

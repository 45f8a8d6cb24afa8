//! The variables, before the redirect and after, and what is counted as a play.

use xspace_tests::{Nginx, Protocol, Request, Site};

use crate::common::{
    FILE, ID, MISSING, MISSING_PATH, OTHER, PATH, SIZE, assert_no_recording, assert_recording,
    get_http2, recording,
};

/// All of them with the status.
const ALL: &str = "'$xspace_id|$xspace_format|$xspace_file|$xspace_title|$xspace_filename|\
                   $xspace_disposition|$xspace_source|$xspace_outcome|$xspace_counted|$status'";

fn log(format: &str) -> String {
    format!("log_format test {format}; access_log {{dir}}/access.log test;")
}

/// The newest of `count` lines. NGINX writes "-" for a variable that is not there and nothing for
/// an empty one: both are nothing here.
#[track_caller]
fn line(nginx: &Nginx, count: usize) -> String {
    let lines = nginx.log_lines("access.log", count);
    assert_eq!(lines.len(), count, "{lines:?}");
    without_dashes(&lines[count - 1])
}

fn without_dashes(line: &str) -> String {
    let values: Vec<&str> = line.split('|').map(|v| if v == "-" { "" } else { v }).collect();
    values.join("|")
}

#[test]
fn all_of_them_in_the_access_log() {
    let site = Site::with_directives("", "")
        .http(&log(ALL))
        .file(FILE, recording())
        .file(&format!("downloads/{OTHER}.mp4"), "video")
        .file("downloads/locked.mp3", "x");
    let nginx = site.start();
    let mut count = 0;
    for protocol in nginx.protocols() {
        for (request, expected) in [
            (
                Request::get(PATH),
                format!("{ID}|mp3|{ID}.mp3||{ID}.mp3|inline|directory|found|1|200"),
            ),
            (
                Request::get(&format!("{PATH}.MP3?attachment=1")),
                format!("{ID}|mp3|{ID}.mp3||{ID}.mp3|attachment|directory|found|1|200"),
            ),
            (
                Request::get(&format!("/download/{OTHER}?format=video")).range("bytes=1-2"),
                format!("{OTHER}|mp4|{OTHER}.mp4||{OTHER}.mp4|inline|directory|found||206"),
            ),
            (
                Request::get(PATH).header("If-None-Match", "*"),
                format!("{ID}|mp3|{ID}.mp3||{ID}.mp3|inline|directory|found||304"),
            ),
        ] {
            nginx.send(protocol, &request);
            count += 1;
            assert_eq!(line(&nginx, count), expected, "{protocol:?} {request:?}");
        }
    }
}

#[test]
fn outcome_of_a_request_without_a_file() {
    let site = Site::simple()
        .http(&log(
            "'$xspace_id|$xspace_format|$xspace_file|$xspace_source|$xspace_outcome|$status'",
        ))
        .file("downloads/locked.mp3", "x")
        .file("locked/x", "x")
        .server(
            "location ^~ /locked/ { xspace_download /closed/; }
             location ^~ /closed/ { internal; alias {dir}/locked/; }
             location /plain/ { return 204; }",
        );
    site.chmod("downloads/locked.mp3", 0);
    site.chmod("locked", 0);
    let nginx = site.start();
    let mut count = 0;
    for protocol in nginx.protocols() {
        for (request, expected) in [
            (Request::get(MISSING_PATH), format!("{MISSING}||||not_found|404")),
            (
                Request::get(&format!("{MISSING_PATH}?format=WAV")),
                format!("{MISSING}|wav|||not_found|404"),
            ),
            (Request::get("/download/a.b.c"), "||||bad_id|404".to_owned()),
            (Request::get("/download/"), "||||bad_id|404".to_owned()),
            (Request::new("POST", MISSING_PATH), format!("{MISSING}||||bad_method|405")),
            (Request::get(&format!("/locked/{ID}")), format!("{ID}||||forbidden|403")),
            (Request::get("/plain/x"), "|||||204".to_owned()),
        ] {
            nginx.send(protocol, &request);
            count += 1;
            assert_eq!(line(&nginx, count), expected, "{protocol:?} {request:?}");
        }
    }
    nginx.site().chmod("locked", 0o755);
}

#[test]
fn id_and_format_before_the_handler() {
    let nginx =
        Site::with_directives("return 200 \"$xspace_id|$xspace_format|$xspace_outcome\";", "")
            .file(FILE, recording())
            .start();
    for protocol in nginx.protocols() {
        for (suffix, expected) in [
            (ID, format!("{ID}||")),
            (MISSING, format!("{MISSING}||")),
            ("1lDxLnrWjwkGm.mp3", format!("{ID}|mp3|")),
            ("1lDxLnrWjwkGm.WAV?format=mp3", format!("{ID}|wav|")),
            ("1lDxLnrWjwkGm?format=mp4", format!("{ID}|mp4|")),
            ("1lDxLnrWjwkGm?format=MP4", format!("{ID}|mp4|")),
            ("1lDxLnrWjwkGm?format=Audio", format!("{ID}|audio|")),
            ("1lDxLnrWjwkGm?format=video", format!("{ID}|video|")),
            ("1lDxLnrWjwkGm?format=exe", format!("{ID}||")),
            ("1lDxLnrWjwkGm?format=%22%3E", format!("{ID}||")),
            ("a%20b", "||".to_owned()),
            ("..%2fx", "||".to_owned()),
            ("", "||".to_owned()),
        ] {
            let response = nginx.send(protocol, &Request::get(&format!("/download/{suffix}")));
            let expected_status = if suffix == "..%2fx" { 404 } else { 200 };
            if expected_status == 200 {
                assert_eq!(response.text(), expected, "{protocol:?} {suffix:?}");
            } else {
                // The path leads out of the location.
                assert_eq!(response.status, expected_status, "{protocol:?} {suffix:?}");
            }
        }
    }
}

#[test]
fn bad_ids_and_formats_are_never_values() {
    let nginx = Site::with_directives("return 200 \"[$xspace_id|$xspace_format]\";", "").start();
    for suffix in
        ["a.b.c?format=mp3", "a%0d%0ab", "%C3%A4", "~", "a/b", "%24uri", "a..mp3", "a.b.mp3"]
    {
        let text = nginx.get(&format!("/download/{suffix}")).text();
        assert!(text.starts_with("[|"), "{suffix}: {text}");
    }
}

#[test]
fn all_are_empty_where_the_module_is_off() {
    let all = ALL.replace("|$status", "").replace('\'', "\"");
    let nginx = Site::simple().server(&format!("location /plain/ {{ return 200 {all}; }}")).start();
    for protocol in nginx.protocols() {
        let response = nginx.send(protocol, &Request::get(&format!("/plain/{ID}?format=mp3")));
        assert_eq!((response.status, response.text()), (200, "||||||||".to_owned()));
    }
}

#[test]
fn authorization_service_gets_id_and_format() {
    let nginx = Site::with_directives("auth_request /auth;", "")
        .http(
            "log_format service '$http_x_space|$http_x_format|$http_range';
             access_log {dir}/main.log;",
        )
        .server(
            "location = /auth {
                 internal;
                 proxy_pass http://127.0.0.1:{port}/service;
                 proxy_set_header X-Space $xspace_id;
                 proxy_set_header X-Format $xspace_format;
                 proxy_set_header Range '';
             }
             location = /service { access_log {dir}/access.log service; return 204; }",
        )
        .file(FILE, recording())
        .start();
    let mut count = 0;
    for protocol in nginx.protocols() {
        for (request, expected) in [
            (Request::get(PATH), format!("{ID}||")),
            (Request::get(PATH).range("bytes=999999-"), format!("{ID}||")),
            (Request::get(&format!("{PATH}.mp3")), format!("{ID}|mp3|")),
            (Request::get(&format!("{PATH}?format=Audio")), format!("{ID}|audio|")),
            (Request::get(MISSING_PATH), format!("{MISSING}||")),
            (Request::get("/download/a.b.c"), "||".to_owned()),
        ] {
            nginx.send(protocol, &request);
            count += 1;
            assert_eq!(line(&nginx, count), expected, "{protocol:?} {request:?}");
        }
    }
}

#[test]
fn if_and_map_see_the_id() {
    let nginx = Site::with_directives(
        "if ($blocked) { return 451; } if ($xspace_format = mp4) { return 402; }",
        "",
    )
    .http(&format!("map $xspace_id $blocked {{ default ''; {OTHER} 1; }}"))
    .file(FILE, recording())
    .file(&format!("downloads/{OTHER}.mp3"), "blocked")
    .start();
    for protocol in nginx.protocols() {
        let what = format!("{protocol:?}");
        let get = |path: &str| nginx.send(protocol, &Request::get(path));
        assert_recording(&get(PATH), &what);
        assert_no_recording(&get(&format!("/download/{OTHER}")), 451, &what);
        assert_no_recording(&get(&format!("/download/{OTHER}.mp3")), 451, &what);
        assert_no_recording(&get(&format!("{PATH}?format=mp4")), 402, &what);
    }
}

#[test]
fn early_use_does_not_freeze_them() {
    // A variable read before the choice is cached unless it says otherwise.
    let nginx = Site::with_directives(
        "set $early \"$xspace_format$xspace_file$xspace_outcome$xspace_counted$xspace_source\";",
        "",
    )
    .http(&log(
        "'$early|$xspace_format|$xspace_file|$xspace_source|$xspace_outcome|$xspace_counted'",
    ))
    .file(FILE, recording())
    .start();
    assert_recording(&nginx.get(PATH), "read early");
    assert_eq!(line(&nginx, 1), format!("|mp3|{ID}.mp3|directory|found|1"));
}

#[test]
fn headers_of_the_target_may_use_them() {
    let nginx = Site::with_directives(
        "",
        "add_header X-Space \"$xspace_id $xspace_format $xspace_file $xspace_filename \
         $xspace_disposition $xspace_source $xspace_outcome\";",
    )
    .file(FILE, recording())
    .start();
    for protocol in nginx.protocols() {
        let response = nginx.send(protocol, &Request::get(PATH));
        let expected = format!("{ID} mp3 {ID}.mp3 {ID}.mp3 inline directory found");
        assert_eq!(response.header("x-space"), Some(expected.as_str()), "{protocol:?}");
    }
}

#[test]
fn they_last_through_error_pages() {
    let site = Site::with_directives("error_page 404 /pages/sorry;", "error_page 403 @locked;")
        .http(&log(
            "'$xspace_id|$xspace_format|$xspace_file|$xspace_outcome|$xspace_counted|$status'",
        ))
        .server(
            "location = /pages/sorry { return 200 \"$xspace_id $xspace_outcome\"; }
             location @locked { return 200 \"$xspace_id $xspace_file\"; }",
        )
        .file("downloads/locked.mp3", "x");
    site.chmod("downloads/locked.mp3", 0);
    let nginx = site.start();
    let mut count = 0;
    for protocol in nginx.protocols() {
        for (path, page, expected) in [
            (MISSING_PATH, format!("{MISSING} not_found"), format!("{MISSING}|||not_found||404")),
            (
                "/download/locked",
                "locked locked.mp3".to_owned(),
                "locked|mp3|locked.mp3|found||403".to_owned(),
            ),
        ] {
            let response = nginx.send(protocol, &Request::get(path));
            assert_eq!(response.text(), page, "{protocol:?} {path}");
            count += 1;
            assert_eq!(line(&nginx, count), expected, "{protocol:?} {path}");
        }
    }
}

#[test]
fn subrequest_of_another_page_leaves_nothing_behind() {
    let nginx = Site::simple()
        .http(&log(ALL))
        .server("location = /page.html { root {dir}/html; ssi on; types { text/html html; } }")
        .server(&format!("location = /guarded {{ auth_request {PATH}; return 204; }}"))
        .file("html/page.html", format!("<!--# include virtual=\"{PATH}\" -->"))
        .file("html/guarded", "x")
        .file(FILE, recording())
        .start();
    let mut count = 0;
    for protocol in nginx.protocols() {
        let response = nginx.send(protocol, &Request::get("/page.html"));
        assert_eq!(response.body.len(), SIZE, "{protocol:?}");
        count += 1;
        assert_eq!(line(&nginx, count), "|||||||||200", "{protocol:?}");
    }
}

#[test]
fn subrequest_does_not_change_those_of_a_recording() {
    let nginx = Site::with_directives(&format!("auth_request /check/{OTHER};"), "")
        .http(&log(ALL))
        .server("location ^~ /check/ { internal; xspace_download /downloads/; }")
        .file(FILE, recording())
        .file(&format!("downloads/{OTHER}.m4a"), "other")
        .start();
    let mut count = 0;
    for protocol in nginx.protocols() {
        assert_recording(&nginx.send(protocol, &Request::get(PATH)), &format!("{protocol:?}"));
        count += 1;
        let expected = format!("{ID}|mp3|{ID}.mp3||{ID}.mp3|inline|directory|found|1|200");
        assert_eq!(line(&nginx, count), expected, "{protocol:?}");
    }
}

#[test]
fn filename_is_that_of_xspace_filename() {
    let nginx = Site::with_directives("xspace_filename \"talk $xspace_id.$xspace_format\";", "")
        .http(&log("'$xspace_filename'"))
        .file(FILE, recording())
        .start();
    let response = nginx.get(PATH);
    let expected = format!("inline; filename=\"talk {ID}.mp3\"");
    assert_eq!(response.header("content-disposition"), Some(expected.as_str()));
    assert_eq!(line(&nginx, 1), format!("talk {ID}.mp3"));
}

/// Requests and whether each is a play.
fn plays(id: &str, size: usize) -> Vec<(Request, bool)> {
    let get = || Request::get(&format!("/download/{id}"));
    let last = size - 1;
    vec![
        (get(), true),
        (get().range("bytes=0-"), true),
        (get().range("bytes=0-2"), true),
        (get().range("bytes=0-99999"), true),
        (get().range(&format!("bytes=0-{last}")), true),
        (get().range(&format!("bytes=-{size}")), true),
        (get().range("items=0-1"), true),
        (get().range("bytes=0-0"), false),
        (get().range("bytes=0-1"), false),
        (get().range("bytes=1-"), false),
        (get().range("bytes=100-99999"), false),
        (get().range("bytes=-1000"), false),
        (get().range(&format!("bytes={last}-")), false),
        (get().range("bytes=0-9,20-29"), false),
        (get().range("bytes=999999999-"), false),
        (get().header("If-None-Match", "*"), false),
        (get().header("If-Match", "\"x\""), false),
        (Request::head(&format!("/download/{id}")), false),
        (Request::head(&format!("/download/{id}")).range("bytes=0-99"), false),
        (Request::new("OPTIONS", &format!("/download/{id}")), false),
        (Request::new("POST", &format!("/download/{id}")), false),
        (Request::get(MISSING_PATH), false),
        (Request::get("/download/a.b.c"), false),
    ]
}

#[test]
fn plays_are_counted_and_seeks_are_not() {
    let nginx = Site::simple()
        .http(&log("'$xspace_counted|$request_method|$status|$http_range'"))
        .file(FILE, recording())
        .start();
    let mut count = 0;
    for protocol in nginx.protocols() {
        for (request, counted) in plays(ID, SIZE) {
            nginx.send(protocol, &request);
            count += 1;
            let line = line(&nginx, count);
            let expected = if counted { "1|" } else { "|" };
            assert!(line.starts_with(expected), "{protocol:?} {request:?}: {line}");
        }
    }
}

#[test]
fn conditional_access_log_has_the_plays_only() {
    let nginx = Site::with_directives("", "access_log {dir}/plays.log test if=$xspace_counted;")
        .http(&log("'$xspace_id'"))
        .file(FILE, recording())
        .start();
    let mut expected = 0;
    for (request, counted) in plays(ID, SIZE) {
        nginx.send(Protocol::Http1, &request);
        expected += usize::from(counted);
    }
    assert_eq!(nginx.log_lines("plays.log", expected), vec![ID; expected]);
}

#[test]
fn whole_of_a_tiny_file_is_a_play() {
    let nginx = Site::simple()
        .http(&log("'$xspace_counted|$status'"))
        .file("downloads/two.mp3", "xy")
        .file("downloads/one.mp3", "x")
        .start();
    for (count, (request, expected)) in [
        (Request::get("/download/two"), "1|200"),
        (Request::get("/download/two").range("bytes=0-1"), "1|206"),
        (Request::get("/download/two").range("bytes=0-0"), "|206"),
        (Request::get("/download/one").range("bytes=0-1"), "1|206"),
        (Request::get("/download/one").range("bytes=0-0"), "1|206"),
    ]
    .into_iter()
    .enumerate()
    {
        nginx.send(Protocol::Http1, &request);
        assert_eq!(line(&nginx, count + 1), expected, "{request:?}");
    }
}

#[test]
fn error_page_with_status_200_is_no_play() {
    let site = Site::with_directives("error_page 404 =200 /sorry;", "error_page 403 =200 /sorry;")
        .http(&log("'$xspace_counted|$status'"))
        .server("location = /sorry { return 200 sorry; }")
        .file("downloads/locked.mp3", "x");
    site.chmod("downloads/locked.mp3", 0);
    let nginx = site.start();
    assert_eq!(nginx.get(MISSING_PATH).text(), "sorry");
    assert_eq!(line(&nginx, 1), "|200");
    assert_eq!(nginx.get("/download/locked").text(), "sorry");
    assert_eq!(line(&nginx, 2), "|200");
}

#[test]
fn plays_of_a_proxied_target_are_counted() {
    let nginx = Site::with_download("xspace_directory {dir}/downloads;")
        .http("log_format test '$xspace_counted|$status';")
        .http("access_log {dir}/main.log;")
        .server(
            "location ^~ /downloads/ {
                 internal;
                 access_log {dir}/access.log test;
                 proxy_pass http://127.0.0.1:{port}/store/;
             }
             location /store/ { alias {dir}/downloads/; }",
        )
        .file(FILE, recording())
        .start();
    for (count, (request, expected)) in [
        (Request::get(PATH), "1|200"),
        (Request::get(PATH).range("bytes=0-"), "1|206"),
        (Request::get(PATH).range("bytes=0-99"), "1|206"),
        (Request::get(PATH).range("bytes=0-1"), "|206"),
        (Request::get(PATH).range("bytes=5-"), "|206"),
        (Request::get(PATH).range("bytes=0-9,20-29"), "|206"),
        (Request::head(PATH), "|200"),
    ]
    .into_iter()
    .enumerate()
    {
        nginx.send(Protocol::Http1, &request);
        assert_eq!(line(&nginx, count + 1), expected, "{request:?}");
    }
}

#[test]
fn values_do_not_leak_from_one_request_of_a_connection_to_the_next() {
    let nginx = Site::simple()
        .http(&log("'$xspace_id|$xspace_file|$xspace_outcome|$status'"))
        .server("location /plain { return 204; }")
        .file(FILE, recording())
        .start();
    let mut count = 0;
    for protocol in nginx.protocols() {
        let mut connection = nginx.connect(protocol);
        for (path, expected) in [
            (PATH, format!("{ID}|{ID}.mp3|found|200")),
            ("/plain", "|||204".to_owned()),
            (MISSING_PATH, format!("{MISSING}||not_found|404")),
            ("/download/a.b.c", "||bad_id|404".to_owned()),
        ] {
            connection.send(&Request::get(path));
            count += 1;
            assert_eq!(line(&nginx, count), expected, "{protocol:?} {path}");
        }
    }
    assert_recording(&get_http2(&nginx, PATH), "after all");
}

#[test]
fn id_from_an_authorization_service_is_evaluated_after_it() {
    // A map keeps its value for a request: asked too early it would be that of nobody.
    let nginx = Site::new()
        .http(
            "map $role $space { default none; listener 1lDxLnrWjwkGm; }
             map $role $wanted { default exe; listener mp3; }
             server {
                 listen 127.0.0.1:{other};
                 location / { add_header X-Role listener; return 204; }
             }",
        )
        .server(
            "location ^~ /download/ {
                 auth_request /auth;
                 auth_request_set $role $upstream_http_x_role;
                 xspace_download /downloads/;
                 xspace_id $space;
                 xspace_format $wanted;
             }
             location = /auth { internal; proxy_pass http://127.0.0.1:{other}; }
             location ^~ /downloads/ { internal; alias {dir}/downloads/; }",
        )
        .file(FILE, recording())
        .start();
    for protocol in nginx.protocols() {
        let response = nginx.send(protocol, &Request::get("/download/any"));
        assert_recording(&response, &format!("{protocol:?}"));
    }
}

#[test]
fn other_modules_variables_are_not_evaluated_before_the_client_is_known() {
    let nginx = Site::with_directives(
        "set_real_ip_from 127.0.0.1; xspace_format $by_address;
         add_header X-Address $remote_addr always;",
        "add_header X-Address $remote_addr;",
    )
    .http("map $remote_addr $by_address { default mp4; 192.0.2.7 mp3; }")
    .file(FILE, recording())
    .start();
    let response = nginx.get_with(PATH, "X-Real-IP", "192.0.2.7");
    assert_eq!(response.header("x-address"), Some("192.0.2.7"));
    assert_recording(&response, "the format of the client's own address");
}

#[test]
fn id_of_a_request_refused_by_if_is_logged() {
    let nginx = Site::with_directives(
        "if ($arg_key = \"\") { return 403; } error_page 403 /pages/sorry;",
        "",
    )
    .http(&log("'$xspace_id|$xspace_format|$xspace_outcome|$status'"))
    .server(
        "location = /pages/sorry { return 200 sorry; }
         location ^~ /moved/ { rewrite ^/moved/(.*)$ /elsewhere/$1 last; xspace_download /downloads/; }
         location ^~ /elsewhere/ { return 200 elsewhere; }",
    )
    .start();
    for (count, (path, text, expected)) in [
        (format!("{PATH}.mp3"), "sorry", format!("{ID}|mp3||403")),
        // A rewrite that leaves the location leaves the module.
        (format!("/moved/{ID}"), "elsewhere", "|||200".to_owned()),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(nginx.get(&path).text(), text, "{path}");
        assert_eq!(line(&nginx, count + 1), expected, "{path}");
    }
}

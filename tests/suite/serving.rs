//! Whole files, HEAD, ids, misses.

use xspace_tests::{Protocol, Request, Site, build, bytes, real_recording, same_bytes};

use crate::common::{
    FILE, ID, MISSING, MISSING_PATH, OTHER, PATH, SIZE, assert_no_recording, assert_recording,
    one_recording, recording,
};

#[test]
fn whole_file_over_every_protocol() {
    let nginx = one_recording().start();
    for protocol in nginx.protocols() {
        let response = nginx.send(protocol, &Request::get(PATH));
        assert_recording(&response, &format!("{protocol:?}"));
        assert_eq!(response.header("content-length"), Some("300007"), "{protocol:?}");
        assert_eq!(response.header("accept-ranges"), Some("bytes"), "{protocol:?}");
    }
}

#[test]
fn head_has_the_headers_of_get_and_no_body() {
    let nginx = one_recording().start();
    for protocol in nginx.protocols() {
        let get = nginx.send(protocol, &Request::get(PATH));
        let head = nginx.send(protocol, &Request::head(PATH));
        assert_eq!(head.status, 200, "{protocol:?}");
        assert_eq!(head.lasting_headers(), get.lasting_headers(), "{protocol:?}");
        assert!(head.body.is_empty(), "{protocol:?}");
    }
}

#[test]
fn curl_downloads_and_resumes() {
    if !build().require("http_ssl") {
        return;
    }
    let nginx = one_recording().start();
    same_bytes(&nginx.curl(&[&nginx.url(PATH)]), &recording(), "plain");

    let port = nginx.address(Protocol::Http2).port();
    let url = format!("https://localhost:{port}{PATH}");
    let resolve = format!("localhost:{port}:127.0.0.1");
    let body = nginx.curl(&["--http2", "--resolve", &resolve, &url]);
    same_bytes(&body, &recording(), "HTTP/2");

    let half = nginx.site().write("half", &recording()[..123_456]);
    let half = half.to_str().expect("a UTF-8 path");
    nginx.curl(&["--continue-at", "-", "--output", half, &nginx.url(PATH)]);
    same_bytes(&std::fs::read(half).expect("the resumed file"), &recording(), "resumed");

    let named = nginx.curl(&[
        "--remote-name",
        "--remote-header-name",
        "--output-dir",
        nginx.dir().to_str().expect("a UTF-8 path"),
        "--write-out",
        "%{filename_effective}",
        &nginx.url(&format!("{PATH}?attachment=1")),
    ]);
    let named = String::from_utf8(named).expect("a path");
    assert!(named.ends_with("1lDxLnrWjwkGm.mp3"), "{named}");
    let named = nginx.dir().join("1lDxLnrWjwkGm.mp3");
    same_bytes(&std::fs::read(named).expect("the named file"), &recording(), "named");
}

#[test]
fn real_recordings_come_byte_for_byte() {
    let names = [
        ("talk.mp3", "1Mp3", "audio/mpeg"),
        ("talk.wav", "1Wav", "audio/wav"),
        ("talk.m4a", "1M4a", "audio/mp4"),
        ("talk.mp4", "1Mp4", "video/mp4"),
    ];
    let mut site = Site::simple();
    for (name, id, _) in names {
        let (_, extension) = name.split_once('.').expect("an extension");
        site = site.file(&format!("downloads/{id}.{extension}"), real_recording(name));
    }
    let nginx = site.start();
    for (name, id, media_type) in names {
        let response = nginx.get(&format!("/download/{id}"));
        assert_eq!(response.status, 200, "{name}");
        assert_eq!(response.header("content-type"), Some(media_type), "{name}");
        same_bytes(&response.body, &real_recording(name), name);
    }
}

#[test]
fn files_of_any_size_are_served() {
    let sizes = [0, 1, 2, 4095, 4096, 65_535, 65_536, 65_537, 5_000_000];
    let mut site = Site::simple();
    for size in sizes {
        site = site.file(&format!("downloads/size-{size}.mp3"), bytes(size as u64, size));
    }
    let nginx = site.start();
    for protocol in nginx.protocols() {
        let mut connection = nginx.connect(protocol);
        for size in sizes {
            let response = connection.send(&Request::get(&format!("/download/size-{size}")));
            assert_eq!(response.status, 200, "{protocol:?}, {size}");
            same_bytes(
                &response.body,
                &bytes(size as u64, size),
                &format!("{protocol:?}, {size} bytes"),
            );
        }
    }
}

#[test]
fn headers_of_the_file_are_those_of_a_static_location() {
    let nginx = one_recording().server("location /static/ { alias {dir}/downloads/; }").start();
    let response = nginx.get(PATH);
    let plain = nginx.get("/static/1lDxLnrWjwkGm.mp3");
    for name in ["etag", "last-modified", "content-length", "accept-ranges", "server"] {
        assert_eq!(response.header(name), plain.header(name), "{name}");
        assert!(response.header(name).is_some(), "{name}");
    }
    let mut names: Vec<&str> = response.headers.iter().map(|(name, _)| name.as_str()).collect();
    names.retain(|name| *name != "content-disposition");
    let mut plain_names: Vec<&str> = plain.headers.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    plain_names.sort_unstable();
    assert_eq!(names, plain_names, "nothing else is added");
}

#[test]
fn id_may_have_a_format_behind_it() {
    let nginx = one_recording().file("downloads/1lDxLnrWjwkGm.wav", bytes(2, 999)).start();
    for (suffix, media_type, len) in
        [("mp3", "audio/mpeg", SIZE), ("MP3", "audio/mpeg", SIZE), ("Wav", "audio/wav", 999)]
    {
        let response = nginx.get(&format!("{PATH}.{suffix}"));
        assert_eq!(response.status, 200, "{suffix}");
        assert_eq!(response.header("content-type"), Some(media_type), "{suffix}");
        assert_eq!(response.body.len(), len, "{suffix}");
    }
    for suffix in ["m4a", "mp4"] {
        let response = nginx.get(&format!("{PATH}.{suffix}"));
        assert_no_recording(&response, 404, suffix);
    }
}

#[test]
fn everything_but_an_id_is_404() {
    let long = "a".repeat(129);
    let nginx = one_recording()
        .file("downloads/.mp3", "no id")
        .file("downloads/a b.mp3", "space")
        .file("downloads/a.b.mp3", "point")
        .file("downloads/ä.mp3", "letter")
        .file("downloads/sub/a.mp3", "directory")
        .file("downloads/a%41.mp3", "percent")
        .file(&format!("downloads/{long}.mp3"), "long")
        .file("secret.mp3", "outside")
        .start();
    for id in [
        "",
        ".mp3",
        ".",
        "..",
        "%2e%2e",
        "../secret",
        "..%2fsecret",
        "%2e%2e%2fsecret",
        "..%5csecret",
        "sub/a",
        "sub%2fa",
        "a%20b",
        "a.b",
        "a.b.mp3",
        "a%2541",
        "%C3%A4",
        "a%00",
        "1lDxLnrWjwkGm%00.mp3",
        "1lDxLnrWjwkGm.mp3.mp3",
        "1lDxLnrWjwkGm.",
        "1lDxLnrWjwkGm.exe",
        "1lDxLnrWjwkGm.flac",
        "1lDxLnrWjwkGm/",
        "1lDxLnrWjwkGm%0a",
        "1lDxLnrWjwkGm%3Fx",
        "1lDxLnrWjwkGm~",
        "*",
        "$request_uri",
        &long,
        &format!("{long}.mp3"),
    ] {
        // A client library would tidy some of these up.
        let mut connection = nginx.raw();
        connection.write(format!(
            "GET /download/{id} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        ));
        let answer = String::from_utf8_lossy(&connection.read_to_end()).into_owned();
        let expected = match id {
            // NGINX refuses the address itself.
            _ if id.contains("%00") => "HTTP/1.1 400",
            // The address is "/", of which the test's site has no index.
            ".." | "%2e%2e" => "HTTP/1.1 403",
            _ => "HTTP/1.1 404",
        };
        assert!(answer.starts_with(expected), "{id:?}: {answer}");
        assert!(!answer.contains("Content-Disposition"), "{id:?}: {answer}");
    }
}

#[test]
fn longest_and_oddest_ids_are_served() {
    let long = "Z".repeat(128);
    for id in [long.as_str(), "a", "0", "-", "_", "--x--", "__proto__", "MP3", "mp3"] {
        let nginx = Site::simple().file(&format!("downloads/{id}.mp3"), id).start();
        for path in [format!("/download/{id}"), format!("/download/{id}.mp3")] {
            let response = nginx.get(&path);
            assert_eq!((response.status, response.text()), (200, id.to_owned()), "{path}");
        }
    }
}

#[test]
fn escaped_id_is_the_same_id() {
    let nginx = one_recording().start();
    assert_recording(&nginx.get("/download/%31lDxLnrWjwkGm"), "first character escaped");
    assert_recording(&nginx.get("/x/../download/1lDxLnrWjwkGm"), "dot segments");
    assert_recording(&nginx.get("//download//1lDxLnrWjwkGm"), "merged slashes");
}

#[test]
fn ids_differ_in_case() {
    let nginx = one_recording().start();
    assert_no_recording(&nginx.get("/download/1LDXLNRWJWKGM"), 404, "other case");
}

#[test]
fn other_arguments_do_not_matter() {
    let nginx = one_recording().start();
    for query in ["?", "?x=1", "?format=", "?attachment=", "?t=1&x=%2F..%2F", "?start=10"] {
        assert_recording(&nginx.get(&format!("{PATH}{query}")), query);
    }
}

#[test]
fn missing_file_is_404_with_a_line_in_the_log() {
    let nginx = one_recording().start();
    for protocol in nginx.protocols() {
        let response = nginx.send(protocol, &Request::get(MISSING_PATH));
        assert_no_recording(&response, 404, &format!("{protocol:?}"));
    }
    // mp4 is the last in the order of formats.
    let path = format!("\"{}/downloads/{MISSING}.mp4\"", nginx.dir().display());
    nginx.wait_error(&["[error]", &format!("no file for space \"{MISSING}\""), &path]);
}

#[test]
fn log_not_found_off_in_the_target_keeps_the_log_quiet() {
    let nginx = Site::with_directives("", "log_not_found off;").file(FILE, recording()).start();
    assert_no_recording(&nginx.get(MISSING_PATH), 404, "missing");
    // Found afterwards: what the first request had to say is in the log by now.
    assert_recording(&nginx.get(PATH), "found");
    assert!(!nginx.error_log().contains("no file for space"), "{}", nginx.error_log());
}

#[test]
fn bad_id_is_noted_at_level_info_only() {
    let nginx = one_recording().start();
    assert_no_recording(&nginx.get("/download/a.b.c"), 404, "bad id");
    nginx.wait_error(&["[info]", "invalid space id"]);
    assert!(!nginx.error_log().contains("[error]"), "{}", nginx.error_log());
}

#[test]
fn direct_requests_to_the_target_are_404() {
    let nginx = one_recording().start();
    for protocol in nginx.protocols() {
        for path in ["/downloads/1lDxLnrWjwkGm.mp3", "/downloads/", "/downloads/x"] {
            let response = nginx.send(protocol, &Request::get(path));
            assert_no_recording(&response, 404, &format!("{protocol:?} {path}"));
        }
    }
}

#[test]
fn miss_can_be_handed_to_an_application() {
    if !build().require("http_rewrite") {
        return;
    }
    let nginx = Site::with_directives("error_page 404 = @app;", "")
        .server("location @app { return 200 \"app: $request_uri $xspace_id $xspace_outcome\"; }")
        .file(FILE, recording())
        .start();
    assert_recording(&nginx.get(PATH), "found");
    let response = nginx.get(&format!("{MISSING_PATH}?x=1"));
    assert_eq!(response.status, 200, "{response:?}");
    assert_eq!(response.text(), format!("app: {MISSING_PATH}?x=1 {MISSING} not_found"));
    assert_eq!(response.header("content-disposition"), None);
    let response = nginx.get("/download/no.id.mp3");
    assert_eq!(response.text(), "app: /download/no.id.mp3  bad_id");
}

#[test]
fn other_locations_are_left_alone() {
    if !build().require("http_rewrite") {
        return;
    }
    let nginx = one_recording()
        .server("location /plain/ { alias {dir}/downloads/; }")
        .server("location /off/ { xspace_download off; return 200 \"off\"; }")
        .start();
    let response = nginx.get(&format!("/plain/{ID}.mp3"));
    assert_eq!(response.header("content-type"), Some("application/octet-stream"));
    assert_eq!(response.header("content-disposition"), None);
    let response = nginx.get(&format!("/plain/{OTHER}"));
    assert_eq!(response.status, 404);
    assert_eq!(nginx.get(&format!("/off/{ID}")).text(), "off");
}

#[test]
fn two_servers_have_spaces_of_their_own() {
    let nginx = one_recording()
        .server(
            "}
             server {
                 listen 127.0.0.1:{port};
                 server_name other.example;
                 location ^~ /download/ { xspace_download /files/; }
                 location ^~ /files/ { internal; alias {dir}/other/; }",
        )
        .file(&format!("other/{OTHER}.m4a"), bytes(7, 700))
        .start();
    assert_recording(&nginx.get(PATH), "first server");
    assert_no_recording(&nginx.get(&format!("/download/{OTHER}")), 404, "first server");
    let curl = |path: &str| {
        nginx.curl(&["--header", "Host: other.example", "--include", &nginx.url(path)])
    };
    let answer = curl(&format!("/download/{OTHER}"));
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    assert!(answer.ends_with(&bytes(7, 700)));
    assert!(curl(PATH).starts_with(b"HTTP/1.1 404"));
}

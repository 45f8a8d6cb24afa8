//! Files, links, directories and the target's own file directives.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use xspace_tests::{Request, Site, build, bytes, real_recording, same_bytes};

use crate::common::{
    FILE, ID, MISSING_PATH, PATH, SIZE, assert_no_recording, assert_recording, one_recording,
    recording,
};

const M4A: &str = "downloads/1lDxLnrWjwkGm.m4a";

#[test]
fn symbolic_links_are_followed() {
    let site = Site::simple().file("elsewhere/x", recording());
    site.symlink("../elsewhere/x", FILE);
    let nginx = site.start();
    assert_recording(&nginx.get(PATH), "link to a file");
}

#[test]
fn dangling_link_is_passed_over() {
    let site = Site::simple().file(M4A, "m4a");
    site.symlink("nowhere", FILE);
    let nginx = site.start();
    assert_eq!(nginx.get(PATH).text(), "m4a");
    assert_no_recording(&nginx.get(&format!("{PATH}.mp3")), 404, "by name");
}

#[test]
fn disable_symlinks_of_the_target_is_obeyed() {
    let site = Site::with_directives("", "disable_symlinks on from={dir}/downloads;")
        .file("elsewhere/x", recording())
        .file("downloads/real.mp3", "real")
        .file("downloads/both.wav", "wav");
    site.symlink("../elsewhere/x", FILE);
    site.symlink("../elsewhere/x", "downloads/both.mp3");
    site.make_dir("elsewhere/dir");
    let nginx = site.start();
    assert_eq!(nginx.get("/download/real").text(), "real");
    assert_no_recording(&nginx.get(MISSING_PATH), 404, "missing");
    // mp3 is a link, the others are missing: not every look was refused.
    let both = nginx.get("/download/both");
    assert_eq!((both.status, both.text()), (200, "wav".to_owned()));
    assert_no_recording(&nginx.get("/download/both.mp3"), 403, "the only look is refused");
    let status = nginx.get(PATH).status;
    assert!(status == 404 || status == 403, "{status}");
}

#[test]
fn linked_directory_is_refused_by_disable_symlinks() {
    let site = Site::with_download("")
        .server(
            "location ^~ /downloads/ {
                 internal; alias {dir}/link/; disable_symlinks on from={dir};
             }
             location /static/ { alias {dir}/link/; disable_symlinks on from={dir}; }",
        )
        .file(FILE, recording());
    site.symlink("downloads", "link");
    let nginx = site.start();
    // Linux says ENOTDIR of a link that must not be followed to a directory: a static file is
    // then 404, not 403.
    let status = nginx.get("/static/1lDxLnrWjwkGm.mp3").status;
    assert_ne!(status, 200);
    assert_no_recording(&nginx.get(PATH), status, "a recording");
    assert_no_recording(&nginx.get(MISSING_PATH), status, "none");
}

#[test]
fn directory_named_like_a_file_is_passed_over() {
    let site = Site::simple().file(M4A, "m4a");
    site.make_dir(FILE);
    site.make_dir("downloads/only.mp3");
    let nginx = site.start();
    assert_eq!(nginx.get(PATH).text(), "m4a");
    assert_no_recording(&nginx.get("/download/only"), 404, "only a directory");
    assert_no_recording(&nginx.get("/download/only.mp3"), 404, "by name");
}

#[test]
fn fifo_named_like_a_file_is_passed_over() {
    let site = Site::simple().file(M4A, "m4a");
    let status = Command::new("mkfifo").arg(site.dir().join(FILE)).status().expect("mkfifo");
    assert!(status.success());
    let nginx = site.start();
    assert_eq!(nginx.get(PATH).text(), "m4a");
    assert_no_recording(&nginx.get(&format!("{PATH}.mp3")), 404, "by name");
}

#[test]
fn unreadable_file_is_403_and_nothing_else_is_served() {
    let site = Site::simple().file(FILE, recording()).file(M4A, "m4a");
    site.chmod(FILE, 0);
    let nginx = site.start();
    for protocol in nginx.protocols() {
        let response = nginx.send(protocol, &Request::get(PATH));
        assert_no_recording(&response, 403, &format!("{protocol:?}"));
    }
    assert_eq!(nginx.get(&format!("{PATH}.m4a")).text(), "m4a");
}

#[test]
fn unreadable_file_is_passed_over_with_open_file_cache() {
    let site = Site::with_directives("", "open_file_cache max=100;")
        .file(FILE, recording())
        .file(M4A, "m4a")
        .file("downloads/only.mp3", "only");
    site.chmod(FILE, 0);
    site.chmod("downloads/only.mp3", 0);
    let nginx = site.start();
    assert_eq!(nginx.get(PATH).text(), "m4a");
    assert_no_recording(&nginx.get("/download/only.mp3"), 403, "the only look is refused");
}

#[test]
fn unreadable_directory_is_403() {
    let site = one_recording();
    site.chmod("downloads", 0);
    let nginx = site.start();
    assert_no_recording(&nginx.get(PATH), 403, "a recording");
    assert_no_recording(&nginx.get(MISSING_PATH), 403, "none");
    nginx.site().chmod("downloads", 0o755);
    assert_recording(&nginx.get(PATH), "readable again");
}

#[test]
fn missing_directory_is_404_until_it_is_there() {
    let nginx = Site::simple().start();
    fs::remove_dir(nginx.dir().join("downloads")).expect("an empty directory");
    assert_no_recording(&nginx.get(PATH), 404, "no directory");
    nginx.site().write(FILE, recording());
    assert_recording(&nginx.get(PATH), "made afterwards");
}

#[test]
fn file_deleted_while_it_is_sent_arrives_whole() {
    let big = bytes(4, 30_000_000);
    let nginx = Site::simple().file(FILE, &big).start();
    let mut connection = nginx.raw();
    connection
        .write(format!("GET {PATH} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"));
    let mut answer = connection.read_exactly(10_000);
    fs::remove_file(nginx.dir().join(FILE)).expect("the file");
    assert_no_recording(&nginx.get(PATH), 404, "deleted");
    answer.extend(connection.read_to_end());
    let start = answer.windows(4).position(|w| w == b"\r\n\r\n").expect("headers") + 4;
    same_bytes(&answer[start..], &big, "deleted");
}

#[test]
fn file_replaced_while_it_is_sent_arrives_whole() {
    let big = bytes(4, 30_000_000);
    let nginx = Site::simple().file(FILE, &big).start();
    let mut connection = nginx.raw();
    connection
        .write(format!("GET {PATH} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"));
    let mut answer = connection.read_exactly(10_000);
    let new = nginx.site().write("downloads/new", recording());
    fs::rename(new, nginx.dir().join(FILE)).expect("rename");
    assert_recording(&nginx.get(PATH), "the new one");
    answer.extend(connection.read_to_end());
    let start = answer.windows(4).position(|w| w == b"\r\n\r\n").expect("headers") + 4;
    same_bytes(&answer[start..], &big, "the old one");
}

#[test]
fn open_file_cache_of_the_target_serves_the_same() {
    let nginx = Site::with_directives(
        "",
        "open_file_cache max=100; open_file_cache_errors on; open_file_cache_min_uses 1;",
    )
    .file(FILE, recording())
    .start();
    for protocol in nginx.protocols() {
        let mut connection = nginx.connect(protocol);
        for round in 0..5 {
            let what = format!("{protocol:?}, round {round}");
            assert_recording(&connection.send(&Request::get(PATH)), &what);
            assert_no_recording(&connection.send(&Request::get(MISSING_PATH)), 404, &what);
            let part = connection.send(&Request::get(PATH).range("bytes=-9"));
            same_bytes(&part.body, &recording()[SIZE - 9..], &what);
        }
    }
}

#[test]
fn aio_and_directio_of_the_target_serve_the_same() {
    let mut rows = vec!["directio 512;", "directio 512; output_buffers 2 64k;", "sendfile on;"];
    if build().require("threads") {
        rows.extend([
            "aio threads;",
            "aio threads; sendfile on;",
            "aio threads; directio 4k;",
            "aio threads; open_file_cache max=10;",
        ]);
    }
    for target in rows {
        let nginx = Site::with_directives("", target).file(FILE, recording()).start();
        for protocol in nginx.protocols() {
            let what = format!("{target} {protocol:?}");
            let mut connection = nginx.connect(protocol);
            assert_recording(&connection.send(&Request::get(PATH)), &what);
            let part = connection.send(&Request::get(PATH).range("bytes=513-200000"));
            assert_eq!(part.status, 206, "{what}");
            same_bytes(&part.body, &recording()[513..200_001], &what);
        }
    }
}

#[test]
fn mp4_seeks_by_start() {
    if !build().require("http_mp4") {
        return;
    }
    let mut rows = vec!["mp4;", "mp4; open_file_cache max=10;"];
    if build().has("threads") {
        rows.push("mp4; aio threads;");
    }
    for target in rows {
        let nginx = Site::with_directives("", target)
            .server("location /static/ { alias {dir}/downloads/; mp4; }")
            .file("downloads/talk.mp4", real_recording("talk.mp4"))
            .start();
        for query in ["", "?start=0", "?start=5.5", "?start=12&end=15"] {
            let plain = nginx.get(&format!("/static/talk.mp4{query}"));
            assert_eq!(plain.status, 200, "{target} {query}");
            for path in ["/download/talk", "/download/talk.mp4"] {
                let ours = nginx.get(&format!("{path}{query}"));
                let what = format!("{target} {path}{query}");
                assert_eq!(ours.status, 200, "{what}");
                assert_eq!(ours.header("content-type"), Some("video/mp4"), "{what}");
                assert!(ours.header("content-disposition").is_some(), "{what}");
                same_bytes(&ours.body, &plain.body, &what);
            }
        }
        let whole = nginx.get("/download/talk").body.len();
        let cut = nginx.get("/download/talk?start=12").body.len();
        assert!(cut < whole / 2 + whole / 8, "{target}: {cut} of {whole} bytes");
    }
}

#[test]
fn mp4_in_a_location_nested_in_the_target() {
    if !build().require("http_mp4") {
        return;
    }
    let nginx = Site::with_directives("", "location ~ \\.mp4$ { mp4; }")
        .server("location /static/ { alias {dir}/downloads/; mp4; }")
        .file("downloads/talk.mp4", real_recording("talk.mp4"))
        .file(FILE, recording())
        .start();
    let plain = nginx.get("/static/talk.mp4?start=12");
    let ours = nginx.get("/download/talk?start=12");
    assert_eq!(ours.header("content-type"), Some("video/mp4"));
    same_bytes(&ours.body, &plain.body, "nested");
    assert_recording(&nginx.get(PATH), "another format of the same target");
}

#[test]
fn file_is_looked_for_where_the_nested_location_has_it() {
    let nginx = Site::with_directives("", "location ~ \\.mp4$ { root {dir}/videos; }")
        .file(&format!("videos/downloads/{ID}.mp4"), "video")
        .file("downloads/wrong.mp4", "wrong place")
        .start();
    let response = nginx.get(PATH);
    assert_eq!((response.status, response.text()), (200, "video".to_owned()));
    assert_no_recording(&nginx.get("/download/wrong"), 404, "not in the nested location's root");
}

#[test]
fn limit_rate_of_the_target_slows_down() {
    let nginx = Site::with_directives("", "limit_rate 200k; limit_rate_after 10k;")
        .file(FILE, recording())
        .start();
    let start = Instant::now();
    assert_recording(&nginx.get(PATH), "slow");
    // 300,007 bytes at 204,800 a second; nginx may be a second ahead.
    assert!(start.elapsed() > Duration::from_millis(300), "{:?}", start.elapsed());
}

#[test]
fn limit_rate_may_depend_on_the_modules_variables() {
    let nginx = Site::with_directives("", "limit_rate $rate;")
        .http("map $xspace_format $rate { default 0; mp3 200k; }")
        .file(FILE, recording())
        .file("downloads/1lDxLnrWjwkGm.wav", recording())
        .start();
    let start = Instant::now();
    assert_recording(&nginx.get(PATH), "slow");
    let slow = start.elapsed();
    assert!(slow > Duration::from_millis(300), "{slow:?}");
    let start = Instant::now();
    same_bytes(&nginx.get(&format!("{PATH}.wav")).body, &recording(), "fast");
    assert!(start.elapsed() < slow, "{:?}", start.elapsed());
}

#[test]
fn root_instead_of_alias() {
    let nginx = Site::with_download("")
        .server("location ^~ /downloads/ { internal; root {dir}; }")
        .file(FILE, recording())
        .start();
    assert_recording(&nginx.get(PATH), "root");
    assert_no_recording(&nginx.get(MISSING_PATH), 404, "missing");
}

#[test]
fn root_of_the_server() {
    let nginx = Site::with_download("")
        .server("location ^~ /downloads/ { internal; }")
        .file(&format!("html/{FILE}"), recording())
        .start();
    assert_recording(&nginx.get(PATH), "inherited root");
}

#[test]
fn target_may_be_longer_than_its_location() {
    for target in [
        "location ^~ /files/ { internal; alias {dir}/store/; }",
        "location ^~ /files/ { internal; root {dir}/root; }",
        "location ^~ /files { internal; alias {dir}/store; }",
        "location ^~ / { internal; root {dir}/root; }",
    ] {
        let nginx = Site::new()
            .server("location ^~ /download/ { xspace_download /files/2025/06/; }")
            .server(target)
            .file(&format!("store/2025/06/{ID}.mp3"), recording())
            .file(&format!("root/files/2025/06/{ID}.mp3"), recording())
            .start();
        assert_recording(&nginx.get(PATH), target);
        assert_no_recording(&nginx.get(MISSING_PATH), 404, target);
    }
}

#[test]
fn variables_known_before_the_redirect_may_stand_in_the_alias() {
    for target in ["alias {dir}/by-$arg_lang/downloads/;", "root {dir}/by-$arg_lang;"] {
        let nginx = Site::with_download("")
            .server(&format!("location ^~ /downloads/ {{ internal; {target} }}"))
            .file("by-en/downloads/talk.mp3", "English")
            .file("by-de/downloads/talk.mp3", "Deutsch")
            .start();
        assert_eq!(nginx.get("/download/talk?lang=en").text(), "English", "{target}");
        assert_eq!(nginx.get("/download/talk?lang=de").text(), "Deutsch", "{target}");
        assert_no_recording(&nginx.get("/download/talk?lang=fr"), 404, target);
        assert_no_recording(&nginx.get("/download/talk"), 404, target);
    }
}

#[test]
fn alias_with_the_modules_own_variable() {
    let nginx = Site::with_download("")
        .server("location ^~ /downloads/ { internal; alias {dir}/spaces/$xspace_id/; }")
        .file(&format!("spaces/{ID}/{ID}.mp3"), recording())
        .start();
    assert_recording(&nginx.get(PATH), "a directory for each space");
}

#[test]
fn xspace_directory_is_where_files_are_looked_for() {
    for directory in ["{dir}/mirror", "{dir}/mirror/"] {
        let nginx = Site::with_directives(&format!("xspace_directory {directory};"), "")
            .file(FILE, recording())
            .file(&format!("mirror/{ID}.mp3"), "only its presence matters")
            .file("downloads/unlisted.mp3", "not in the mirror")
            .start();
        assert_recording(&nginx.get(PATH), directory);
        assert_no_recording(&nginx.get("/download/unlisted"), 404, directory);
    }
}

#[test]
fn proxied_target_with_xspace_directory() {
    let nginx = Site::with_download("xspace_directory {dir}/downloads;")
        .server("location ^~ /downloads/ { internal; proxy_pass http://127.0.0.1:{port}/store/; }")
        .server("location /store/ { alias {dir}/downloads/; }")
        .file(FILE, recording())
        .start();
    for protocol in nginx.protocols() {
        let what = format!("{protocol:?}");
        assert_recording(&nginx.send(protocol, &Request::get(PATH)), &what);
        let part = nginx.send(protocol, &Request::get(PATH).range("bytes=100-199"));
        assert_eq!(part.status, 206, "{what}");
        same_bytes(&part.body, &recording()[100..200], &what);
        assert!(part.header("content-disposition").is_some(), "{what}");
        assert_no_recording(&nginx.send(protocol, &Request::get(MISSING_PATH)), 404, &what);
    }
}

#[test]
fn sliced_and_cached_target() {
    if !build().require("http_slice") {
        return;
    }
    let nginx = Site::with_download("xspace_directory {dir}/downloads;")
        .http("proxy_cache_path {dir}/cache keys_zone=slices:1m;")
        .server(
            "location ^~ /downloads/ {
                 internal;
                 slice 64k;
                 proxy_cache slices;
                 proxy_cache_key $uri$slice_range;
                 proxy_cache_valid 200 206 1h;
                 proxy_set_header Range $slice_range;
                 proxy_http_version 1.1;
                 proxy_pass http://127.0.0.1:{port}/store/;
             }
             location /store/ { alias {dir}/downloads/; }",
        )
        .file(FILE, recording())
        .start();
    for round in ["filling the cache", "from the cache"] {
        let response = nginx.get(PATH);
        assert_recording(&response, round);
        for (value, range) in [("bytes=0-1", 0..2), ("bytes=65000-140000", 65_000..140_001)] {
            let part = nginx.get_with(PATH, "Range", value);
            assert_eq!(part.status, 206, "{round} {value}");
            same_bytes(&part.body, &recording()[range], round);
            assert_eq!(part.header("content-type"), Some("audio/mpeg"), "{round}");
            assert!(part.header("content-disposition").is_some(), "{round}");
        }
    }
}

#[test]
fn log_of_a_miss_names_the_file_that_is_there() {
    let site = Site::with_directives("xspace_min_size 10;", "disable_symlinks on;")
        .file("downloads/tiny.mp3", "x")
        .file("elsewhere.mp3", recording());
    site.symlink("../elsewhere.mp3", "downloads/linked.mp3");
    site.make_dir("downloads/folder.mp3");
    let nginx = site.start();
    for (id, parts) in [
        ("linked", ["/linked.mp3\"", "Too many levels of symbolic links"]),
        ("tiny", ["/tiny.mp3\"", "is not a regular file of at least 10 bytes"]),
        ("folder", ["/folder.mp3\"", "is not a regular file"]),
        ("none", ["/none.mp4\"", "No such file or directory"]),
    ] {
        assert_eq!(nginx.get(&format!("/download/{id}")).status, 404, "{id}");
        nginx.wait_error(&[&format!("no file for space \"{id}\""), parts[0], parts[1]]);
    }
}

//! Which of several files of a space is served.

use xspace_tests::{Site, build};

use crate::common::{ID, PATH, assert_no_recording};

/// A space whose files say what they are.
fn site(download: &str, extensions: &[&str]) -> Site {
    let site = Site::with_directives(download, "");
    for extension in extensions {
        site.write(&format!("downloads/{ID}.{extension}"), extension);
    }
    site
}

/// What a request with this behind the id gets: the file's extension, or none for a 404.
type Row<'a> = (&'a str, Option<&'a str>);

#[track_caller]
fn check(what: &str, site: Site, rows: &[Row]) {
    let nginx = site.start();
    for (suffix, expected) in rows {
        let what = format!("{what}, {suffix:?}");
        let response = nginx.get(&format!("{PATH}{suffix}"));
        match expected {
            Some(extension) => {
                assert_eq!(response.status, 200, "{what}: {response:?}");
                assert_eq!(response.text(), *extension, "{what}");
                let disposition = format!("inline; filename=\"{ID}.{extension}\"");
                assert_eq!(
                    response.header("content-disposition"),
                    Some(disposition.as_str()),
                    "{what}"
                );
            }
            None => assert_no_recording(&response, 404, &what),
        }
    }
}

#[test]
fn default_order_is_mp3_m4a_wav_mp4() {
    check("all", site("", &["mp4", "wav", "m4a", "mp3"]), &[("", Some("mp3"))]);
    check("no mp3", site("", &["mp4", "wav", "m4a"]), &[("", Some("m4a"))]);
    check("no m4a", site("", &["mp4", "wav"]), &[("", Some("wav"))]);
    check("only mp4", site("", &["mp4"]), &[("", Some("mp4"))]);
    check("none of them", site("", &["ogg", "txt", "mp3x", "xmp3"]), &[("", None)]);
}

#[test]
fn format_asked_for_narrows_the_choice() {
    check(
        "all",
        site("", &["mp3", "m4a", "wav", "mp4", "ogg"]),
        &[
            ("?format=mp3", Some("mp3")),
            ("?format=m4a", Some("m4a")),
            ("?format=wav", Some("wav")),
            ("?format=mp4", Some("mp4")),
            ("?format=audio", Some("mp3")),
            ("?format=video", Some("mp4")),
            ("?format=", Some("mp3")),
            ("?format", Some("mp3")),
            ("?FORMAT=mp4", Some("mp4")),
            ("?x=1&format=wav&y=2", Some("wav")),
        ],
    );
    check(
        "some",
        site("", &["wav", "mp4"]),
        &[
            ("?format=audio", Some("wav")),
            ("?format=video", Some("mp4")),
            ("?format=mp3", None),
            ("?format=m4a", None),
        ],
    );
    check(
        "no video",
        site("", &["wav"]),
        &[("?format=video", None), ("?format=audio", Some("wav"))],
    );
}

#[test]
fn format_is_compared_in_any_case() {
    check(
        "all",
        site("", &["mp3", "m4a", "wav", "mp4"]),
        &[
            ("?format=MP4", Some("mp4")),
            ("?format=Wav", Some("wav")),
            ("?format=AUDIO", Some("mp3")),
            ("?format=vIdEo", Some("mp4")),
            (".M4A", Some("m4a")),
        ],
    );
}

#[test]
fn unknown_formats_are_404() {
    check(
        "all",
        site("", &["mp3", "m4a", "wav", "mp4", "ogg"]),
        &[
            ("?format=ogg", None),
            ("?format=exe", None),
            ("?format=mp", None),
            ("?format=mp33", None),
            ("?format=.mp3", None),
            ("?format=*", None),
            ("?format=mp3,wav", None),
            ("?format=audio/mpeg", None),
            ("?format=..%2F", None),
            ("?format=%00", None),
        ],
    );
}

#[test]
fn suffix_outranks_the_format_asked_for() {
    check(
        "both",
        site("", &["mp3", "wav"]),
        &[
            (".wav", Some("wav")),
            (".wav?format=mp3", Some("wav")),
            (".mp3?format=wav", Some("mp3")),
            (".wav?format=exe", Some("wav")),
            (".mp4?format=mp3", None),
            (".exe?format=mp3", None),
        ],
    );
}

#[test]
fn xspace_format_may_come_from_anywhere() {
    check(
        "another argument",
        site("xspace_format $arg_f;", &["mp3", "wav"]),
        &[("?f=wav", Some("wav")), ("?format=wav", Some("mp3")), ("?f=exe", None)],
    );
    check(
        "fixed",
        site("xspace_format video;", &["mp3", "mp4"]),
        &[("", Some("mp4")), ("?format=mp3", Some("mp4")), (".mp3", Some("mp3"))],
    );
    check("a header", site("xspace_format $http_x_format;", &["mp3", "wav"]), &[("", Some("mp3"))]);
    let nginx = site("xspace_format $http_x_format;", &["mp3", "wav"]).start();
    assert_eq!(nginx.get_with(PATH, "X-Format", "WAV").text(), "wav");
    check(
        "inherited",
        Site::simple()
            .http("xspace_format wav;")
            .file("downloads/1lDxLnrWjwkGm.mp3", "mp3")
            .file("downloads/1lDxLnrWjwkGm.wav", "wav"),
        &[("", Some("wav"))],
    );
}

#[test]
fn xspace_formats_sets_the_order_and_the_choice() {
    check(
        "wav before mp3",
        site("xspace_formats wav mp3;", &["mp3", "m4a", "wav", "mp4"]),
        &[
            ("", Some("wav")),
            ("?format=mp3", Some("mp3")),
            ("?format=m4a", None),
            (".mp4", None),
            ("?format=video", None),
        ],
    );
    check(
        "video first",
        site("xspace_formats mp4 mp3;", &["mp3", "mp4"]),
        &[("", Some("mp4")), ("?format=audio", Some("mp3"))],
    );
}

#[test]
fn xspace_formats_is_inherited_and_replaced() {
    let base = || {
        Site::new()
            .http("xspace_formats wav;")
            .server("location ^~ /downloads/ { internal; alias {dir}/downloads/; }")
            .file(&format!("downloads/{ID}.mp3"), "mp3")
            .file(&format!("downloads/{ID}.wav"), "wav")
    };
    let nginx = base()
        .server("location ^~ /download/ { xspace_download /downloads/; }")
        .server("location ^~ /own/ { xspace_download /downloads/; xspace_formats mp3; }")
        .start();
    assert_eq!(nginx.get(PATH).text(), "wav");
    assert_eq!(nginx.get(&format!("/own/{ID}")).text(), "mp3");
}

#[test]
fn every_built_in_format_has_its_media_type() {
    let types = [
        ("mp3", "audio/mpeg"),
        ("m4a", "audio/mp4"),
        ("m4b", "audio/mp4"),
        ("aac", "audio/aac"),
        ("wav", "audio/wav"),
        ("ogg", "audio/ogg"),
        ("oga", "audio/ogg"),
        ("opus", "audio/ogg"),
        ("flac", "audio/flac"),
        ("weba", "audio/webm"),
        ("mp4", "video/mp4"),
        ("m4v", "video/mp4"),
        ("webm", "video/webm"),
        ("mkv", "video/x-matroska"),
        ("mov", "video/quicktime"),
    ];
    let names: Vec<&str> = types.iter().map(|(extension, _)| *extension).collect();
    let nginx = site(&format!("xspace_formats {};", names.join(" ")), &names).start();
    for (extension, media_type) in types {
        let response = nginx.get(&format!("{PATH}.{extension}"));
        assert_eq!(response.status, 200, "{extension}");
        // RFC 7845 also has audio/opus for the RTP payload: a player of files wants Ogg.
        if extension == "opus" {
            let got = response.header("content-type");
            assert!(matches!(got, Some("audio/ogg" | "audio/opus" | "audio/ogg; codecs=opus")));
        } else {
            assert_eq!(response.header("content-type"), Some(media_type), "{extension}");
        }
        assert_eq!(response.text(), extension);
    }
}

#[test]
fn own_media_types_are_sent() {
    let nginx = site(
        "xspace_formats mp3=audio/x-mine ts=video/mp2t json=application/json;",
        &["mp3", "ts", "json"],
    )
    .start();
    for (suffix, media_type) in [
        ("", "audio/x-mine"),
        (".ts", "video/mp2t"),
        ("?format=video", "video/mp2t"),
        (".json", "application/json"),
    ] {
        let response = nginx.get(&format!("{PATH}{suffix}"));
        assert_eq!(response.status, 200, "{suffix}");
        assert_eq!(response.header("content-type"), Some(media_type), "{suffix}");
    }
}

#[test]
fn types_and_default_type_of_the_target_do_not_matter() {
    let nginx = Site::with_directives("", "types { text/plain mp3; } default_type text/html;")
        .file(&format!("downloads/{ID}.mp3"), "mp3")
        .file(&format!("downloads/{ID}.wav"), "wav")
        .start();
    assert_eq!(nginx.get(PATH).header("content-type"), Some("audio/mpeg"));
    assert_eq!(nginx.get(&format!("{PATH}.wav")).header("content-type"), Some("audio/wav"));
}

#[test]
fn charset_is_not_added_to_a_recording() {
    if !build().require("http_charset") {
        return;
    }
    let nginx = Site::with_directives("", "charset utf-8;")
        .http("charset utf-8;")
        .file(&format!("downloads/{ID}.mp3"), "mp3")
        .start();
    assert_eq!(nginx.get(PATH).header("content-type"), Some("audio/mpeg"));
}

#[test]
fn smaller_files_than_xspace_min_size_are_passed_over() {
    let base = |min: &str| {
        Site::with_directives(&format!("xspace_min_size {min};"), "")
            .file(&format!("downloads/{ID}.mp3"), vec![b'3'; 1023])
            .file(&format!("downloads/{ID}.m4a"), vec![b'a'; 1024])
            .file(&format!("downloads/{ID}.wav"), vec![b'w'; 1025])
    };
    for (min, expected) in [
        ("0", Some((1023, b'3'))),
        ("1023", Some((1023, b'3'))),
        ("1024", Some((1024, b'a'))),
        ("1k", Some((1024, b'a'))),
        ("1025", Some((1025, b'w'))),
        ("1026", None),
        ("1m", None),
    ] {
        let nginx = base(min).start();
        let response = nginx.get(PATH);
        match expected {
            Some((len, byte)) => {
                assert_eq!((response.status, response.body.len()), (200, len), "{min}");
                assert_eq!(response.body[0], byte, "{min}");
            }
            None => assert_no_recording(&response, 404, min),
        }
    }
    let nginx = base("1024").start();
    assert_no_recording(&nginx.get(&format!("{PATH}.mp3")), 404, "too small, asked for by name");
    let nginx = base("1024").server("").start();
    assert_eq!(nginx.get(&format!("{PATH}?format=wav")).body.len(), 1025);
}

#[test]
fn extension_on_disk_is_looked_for_as_configured() {
    // The directory is not listed: a file ID.MP3 is found only if the format is written so.
    check("capitals on disk", site("", &["MP3"]), &[("", None), (".mp3", None)]);
}

//! Values that refer to themselves through the module's variables.

use xspace_tests::{Nginx, Protocol, Request, Site};

use crate::common::{FILE, ID, MISSING_PATH, PATH, SIZE, assert_no_recording, recording};
use crate::config::{TARGET, error, expect_site, fine};

fn download(directives: &str) -> String {
    format!("location ^~ /download/ {{ xspace_download /downloads/;\n{directives}\n}}\n{TARGET}")
}

#[test]
fn value_that_names_its_own_variable_is_refused() {
    for (directive, value, variable) in [
        ("xspace_filename", "Radio-$xspace_filename", "xspace_filename"),
        ("xspace_filename", "${xspace_filename}", "xspace_filename"),
        ("xspace_filename", "$arg_name${XSPACE_filename}.mp3", "xspace_filename"),
        ("xspace_attachment", "$xspace_disposition", "xspace_disposition"),
    ] {
        let message = format!(
            "invalid value \"{value}\" in \"{directive}\": it refers to itself through \"${variable}\""
        );
        let line = format!("{directive} \"{value}\"; #!");
        error(value, &download(&line), &message);
        let site = Site::new().server(&download("")).http(&line);
        expect_site("emerg", &format!("{value} in http"), site, &message);
    }
}

#[test]
fn values_that_name_other_variables_are_accepted() {
    for directives in [
        "xspace_filename $xspace_id.$xspace_format;",
        "xspace_filename $xspace_disposition-$xspace_title;",
        "xspace_filename $arg_xspace_filename;",
        "xspace_attachment $xspace_id;",
        "xspace_id $xspace_id; xspace_format $xspace_format;",
    ] {
        fine(directives, &download(directives));
    }
}

/// `/download/` finds nothing, and the named location takes the same space from another directory.
fn fallback(download: &str, old: &str) -> Site {
    Site::new()
        .http(
            "log_format id '$xspace_id|$xspace_format|$xspace_file|$status';
             access_log {dir}/access.log id;",
        )
        .server(&format!(
            "location ^~ /download/ {{ xspace_download /downloads/; {download} }}
             location @old {{ xspace_download /old/; {old} }}
             location ^~ /old/ {{ internal; alias {{dir}}/old/; }}
             {TARGET}"
        ))
        .file(&format!("old/{ID}.mp3"), recording())
        .file(&format!("old/{ID}.wav"), "RIFF of the old directory")
}

#[track_caller]
fn assert_old(nginx: &Nginx, protocol: Protocol, path: &str, extension: &str) {
    let response = nginx.send(protocol, &Request::get(path));
    assert_eq!(response.status, 200, "{path}: {response:?}");
    let name = format!("inline; filename=\"{ID}.{extension}\"");
    assert_eq!(response.header("content-disposition"), Some(name.as_str()), "{path}");
    let size = if extension == "mp3" { SIZE } else { 25 };
    assert_eq!(response.body.len(), size, "{path}");
}

#[test]
fn fallback_takes_the_id_that_the_request_had() {
    let nginx = fallback("error_page 404 = @old;", "xspace_id $xspace_id;").start();
    let mut count = 0;
    for protocol in nginx.protocols() {
        for path in [PATH.to_owned(), format!("{PATH}.mp3")] {
            assert_old(&nginx, protocol, &path, "mp3");
            count += 1;
            let lines = nginx.log_lines("access.log", count);
            assert_eq!(lines[count - 1], format!("{ID}|mp3|{ID}.mp3|200"));
        }
        let missing = nginx.send(protocol, &Request::get(MISSING_PATH));
        assert_no_recording(&missing, 404, "neither here nor there");
        count += 1;
    }
}

#[test]
fn fallback_takes_the_format_that_the_request_had() {
    let old = "xspace_id $xspace_id; xspace_format $xspace_format;";
    let nginx = fallback("error_page 404 = @old;", old).start();
    for (query, extension) in
        [("", "mp3"), (".wav", "wav"), ("?format=wav", "wav"), (".audio", "mp3")]
    {
        assert_old(&nginx, Protocol::Http1, &format!("{PATH}{query}"), extension);
    }
}

#[test]
fn fallback_knows_the_id_of_a_request_that_was_refused() {
    // Of the first location nobody has asked for the id by then.
    let nginx = fallback(
        "xspace_id $arg_space; deny all; error_page 403 = @old;",
        "xspace_id $xspace_id; allow all;",
    )
    .start();
    assert_old(&nginx, Protocol::Http1, &format!("/download/?space={ID}"), "mp3");
    assert_no_recording(&nginx.get("/download/?space=../x"), 404, "no id");
}

#[test]
fn fallback_of_a_fallback() {
    let nginx = fallback(
        "error_page 404 = /second/;",
        "xspace_id $xspace_id$arg_nothing; xspace_format $xspace_format;",
    )
    .server(
        "location = /second/ {
             xspace_download /downloads/; xspace_id $xspace_id; xspace_format $xspace_format;
             error_page 404 = @old; recursive_error_pages on;
         }",
    )
    .server("recursive_error_pages on;")
    .start();
    assert_old(&nginx, Protocol::Http1, &format!("{PATH}.wav"), "wav");
    assert_old(&nginx, Protocol::Http1, PATH, "mp3");
}

#[test]
fn id_of_a_request_that_had_none_is_invalid() {
    for value in ["$xspace_id", "$xspace_id$xspace_format", "$other"] {
        let nginx = Site::with_directives(
            &format!("xspace_id {value}; xspace_format $xspace_format$xspace_id;"),
            "",
        )
        .http("map $xspace_id $other { default $xspace_id; '' $xspace_format; }")
        .file(FILE, recording())
        .start();
        let mut connection = nginx.connect(Protocol::Http1);
        for round in 1..4 {
            let response = connection.send(&Request::get(PATH));
            assert_no_recording(&response, 404, value);
            let count = nginx.count_errors(&["[error]", "cycle while evaluating \"xspace_id\""]);
            // One for each place where it is needed and there is none.
            assert!((round..=round * 8).contains(&count), "{value}: {}", nginx.error_log());
        }
        assert_eq!(
            nginx.count_errors(&["cycle while evaluating variable"]),
            0,
            "{value}: {}",
            nginx.error_log()
        );
    }
}

/// The format decides only which of a space's files it is.
#[test]
fn format_that_refers_to_itself_is_none() {
    let nginx = Site::with_directives("xspace_format $word;", "")
        .http("map $xspace_format$xspace_format $word { default ''; wav wav; }")
        .file(FILE, recording())
        .start();
    assert_eq!(nginx.get(PATH).status, 200);
    nginx.wait_error(&["[error]", "cycle while evaluating \"xspace_format\""]);
    assert_eq!(
        nginx.count_errors(&["cycle while evaluating variable"]),
        0,
        "{}",
        nginx.error_log()
    );
}

#[test]
fn circles_by_way_of_other_variables_end() {
    let maps = "map $xspace_filename $once { default $xspace_filename; }
                map $once $twice { default $once$xspace_filename; }
                map $xspace_filename$xspace_filename $both { default x$xspace_filename; }
                map $here $there { default t$here; }
                map $there $here { default h$there; }";
    for (value, name, line) in [
        ("Radio-$once", "Radio.mp3", "cycle while evaluating \"xspace_filename\""),
        ("Radio-$twice", "Radio.mp3", "cycle while evaluating \"xspace_filename\""),
        ("Radio-$both$once$twice", "Radio-x.mp3", "cycle while evaluating \"xspace_filename\""),
        // No circle: it is set when the file was found, and there was none before.
        ("Radio-$set", "Radio-Radio.mp3", "using uninitialized \"set\" variable"),
        // nginx's own: nothing of the module takes part.
        ("Radio-$here", "", "cycle while evaluating variable"),
    ] {
        let nginx = Site::with_directives(
            &format!("xspace_filename {value};"),
            "set $set $xspace_filename;",
        )
        .http(maps)
        .file(FILE, recording())
        .start();
        let mut connection = nginx.connect(Protocol::Http1);
        for _ in 0..2 {
            let response = connection.send(&Request::get(PATH));
            assert_eq!(response.status, 200, "{value}: {response:?}");
            let field = response.header("content-disposition").unwrap_or_default();
            if !name.is_empty() {
                assert_eq!(field, format!("inline; filename=\"{name}\""), "{value}");
            }
        }
        nginx.wait_error(&[line]);
    }
}

//! What `nginx -t` says about a catalog.

use std::process::Command;

use xspace_tests::{Site, build, is_root};

use crate::common::ID;
use crate::config::{TARGET, error, expect_site, fine, fine_site};

/// A site with this directive in `/download/`, on a line of its own.
fn with_directive(directive: &str) -> Site {
    Site::new().server(&format!(
        "location ^~ /download/ {{\n xspace_download /downloads/;\n {directive} #!\n}}\n{TARGET}"
    ))
}

/// A site that names `{dir}/catalog.json`, to be made by the test.
fn with_catalog() -> Site {
    with_directive("xspace_catalog {dir}/catalog.json;")
}

/// `nginx -t` refuses the text, with this message behind the file's name.
#[track_caller]
fn refused(json: impl AsRef<[u8]>, message: &str) {
    let what = String::from_utf8_lossy(json.as_ref()).into_owned();
    let message = format!("catalog \"{{dir}}/catalog.json\": {message}");
    expect_site("emerg", &what, with_catalog().file("catalog.json", json), &message);
}

/// `nginx -t` accepts the text and warns of an entry, with this message behind the file's name.
#[track_caller]
fn warned(json: impl AsRef<[u8]>, message: &str) {
    let what = String::from_utf8_lossy(json.as_ref()).into_owned();
    let message = format!("catalog \"{{dir}}/catalog.json\": {message}");
    expect_site("warn", &what, with_catalog().file("catalog.json", json), &message);
}

#[track_caller]
fn accepted(json: impl AsRef<[u8]>) {
    let what = String::from_utf8_lossy(json.as_ref()).into_owned();
    fine_site(&what, with_catalog().file("catalog.json", json));
}

#[test]
fn missing_file_is_refused() {
    expect_site(
        "emerg",
        "missing",
        with_catalog(),
        "catalog \"{dir}/catalog.json\": …2: No such file or directory",
    );
    let site = with_catalog();
    site.symlink("nowhere.json", "catalog.json");
    expect_site(
        "emerg",
        "a dangling link",
        site,
        "catalog \"{dir}/catalog.json\": …2: No such file or directory",
    );
    let site = with_catalog();
    site.symlink("catalog.json", "catalog.json");
    expect_site("emerg", "a link to itself", site, "catalog \"{dir}/catalog.json\": …40: ");
    expect_site(
        "emerg",
        "below a file",
        with_directive("xspace_catalog {dir}/file/catalog.json;").file("file", ""),
        "catalog \"{dir}/file/catalog.json\": …20: Not a directory",
    );
}

#[test]
fn unreadable_file_is_refused() {
    // /proc/self/mem can be opened and not read, by root as well.
    expect_site(
        "emerg",
        "cannot be read",
        with_directive("xspace_catalog /proc/self/mem;"),
        "catalog \"/proc/self/mem\": ",
    );
    if is_root() {
        // Root may open every file.
        return;
    }
    let site = with_catalog().file("catalog.json", "{}");
    site.chmod("catalog.json", 0);
    expect_site("emerg", "cannot be opened", site, "catalog \"{dir}/catalog.json\": …13: ");
}

#[test]
fn file_that_workers_may_not_read_is_warned_of() {
    if !is_root() {
        // Master and workers are the same user then, and the file is refused.
        return;
    }
    let message = "catalog \"{dir}/secret/catalog.json\" will not be refreshed: worker user \"nobody\" has no";
    for (file, directory) in
        [(0o600, 0o755), (0o640, 0o755), (0o700, 0o755), (0, 0o755), (0o644, 0o700)]
    {
        let what = format!("file {file:o} in directory {directory:o}");
        let site = with_directive("xspace_catalog {dir}/secret/catalog.json;")
            .file("secret/catalog.json", "{}");
        site.chmod("secret/catalog.json", file);
        site.chmod("secret", directory);
        expect_site("warn", &what, site, message);
    }
    for (file, directory) in [(0o644, 0o755), (0o604, 0o755), (0o444, 0o711)] {
        let what = format!("file {file:o} in directory {directory:o}");
        let site = with_directive("xspace_catalog {dir}/secret/catalog.json;")
            .file("secret/catalog.json", "{}");
        site.chmod("secret/catalog.json", file);
        site.chmod("secret", directory);
        fine_site(&what, site);
    }
}

/// The directive `user` may stand behind `http {}`.
#[test]
fn workers_user_is_known_wherever_it_is_set() {
    if !is_root() {
        return;
    }
    for (before, after, is_warned) in [
        ("user root;", "", false),
        ("", "user root;", false),
        ("{user}", "", true),
        ("", "{user}", true),
    ] {
        let mut site = with_directive("xspace_catalog {dir}/catalog.json;")
            .without_user()
            .main(before)
            .after_http(after)
            .file("catalog.json", "{}");
        site.chmod("catalog.json", 0o600);
        let checked = site.check();
        assert!(checked.ok, "{}", checked.output);
        let message = "will not be refreshed: worker user \"nobody\" has no permission to read it";
        assert_eq!(
            checked.output.contains(message),
            is_warned,
            "{before:?} {after:?}: {}",
            checked.output
        );
    }
}

#[test]
fn file_in_the_workers_own_hands_is_not_warned_of() {
    if !is_root() {
        return;
    }
    for (owner, mode) in [("nobody", "600"), ("root:nogroup", "640")] {
        let site = with_catalog().file("catalog.json", "{}");
        let path = site.dir().join("catalog.json");
        let owned = Command::new("chown").arg(owner).arg(&path).status().expect("chown");
        // The group has another name on other systems.
        if !owned.success() {
            continue;
        }
        assert!(Command::new("chmod").arg(mode).arg(&path).status().expect("chmod").success());
        fine_site(&format!("{owner} {mode}"), site);
    }
}

#[test]
fn directory_is_refused() {
    let site = with_catalog();
    site.make_dir("catalog.json");
    expect_site(
        "emerg",
        "a directory",
        site,
        "catalog \"{dir}/catalog.json\": …not a regular file",
    );
}

#[test]
fn fifo_is_refused_without_waiting_for_it() {
    let site = with_catalog();
    let path = site.dir().join("catalog.json");
    assert!(Command::new("mkfifo").arg(path).status().expect("mkfifo").success());
    expect_site("emerg", "a FIFO", site, "catalog \"{dir}/catalog.json\": …not a regular file");
}

#[test]
fn device_is_refused() {
    for path in ["/dev/zero", "/dev/null"] {
        expect_site(
            "emerg",
            path,
            with_directive(&format!("xspace_catalog {path};")),
            "not a regular file",
        );
    }
}

#[test]
fn text_that_is_no_json_object_is_refused() {
    for (json, message) in [
        ("", "…at line 1 column 0"),
        (" \n\n", "…at line 3 column 0"),
        ("[]", "…an object of space ids and entries at line 1 column "),
        ("\"x\"", "…an object of space ids and entries at line 1 column "),
        ("null", "…an object of space ids and entries at line 1 column "),
        ("7", "…an object of space ids and entries at line 1 column "),
        ("{", "…at line 1 column 1"),
        ("{}{}", "…at line 1 column 3"),
        ("{}\n x", "…at line 2 column 2"),
        ("{\n \"a\": \"a.mp3\",\n}", "…at line 3 column 1"),
        ("{\n \"a\": \"a.mp3\"\n \"b\": \"b.mp3\"}", "…at line 3 column 2"),
        ("{'a': 'b'}", "…at line 1 column 2"),
        ("{a: \"b\"}", "…at line 1 column 2"),
        ("{\n // comment\n}", "…at line 2 column 2"),
        ("\u{feff}[]", "…an object of space ids and entries at line 1 column 1"),
        ("{\"a\": \"a.mp3", "…at line 1 column 12"),
        ("{\"a\": {\"title\": \"x\"", "…at line 1 column 19"),
        ("{\"a\": {\"title\": \"\\x\"}}", "…at line 1 column "),
        ("{\"a\": {\n\"titel\": \"\n\"}}", "…at line 2 column "),
        ("{\"/\": {\"title\": nul}}", "…at line 1 column "),
    ] {
        refused(json, message);
    }
    accepted("\u{feff}{\"a\": \"a.mp3\"}");
}

#[test]
fn other_encodings_are_named() {
    refused(b"\x1f\x8b\x08\x00\x00\x00\x00\x00", "it is compressed with gzip");
    for bytes in [&b"\xff\xfe{\0}\0"[..], b"\xfe\xff\0{\0}", b"{\0}\0", b"\0{\0}"] {
        refused(bytes, "it is UTF-16, UTF-8 is expected");
    }
}

#[test]
fn entries_that_are_not_unicode_are_warned_of() {
    for bytes in [
        &b"{\"a\": {\"title\": \"\xff\"}}"[..],
        b"{\"a\": \"caf\xe9.mp3\"}",
        // An encoded surrogate, and an overlong "/".
        b"{\"a\": {\"title\": \"\xed\xa0\x80\"}}",
        b"{\"a\": \"a\xc0\xafb.mp3\"}",
        b"{\"a\": \"\\ud800.mp3\"}",
    ] {
        warned(bytes, "unusable \"a\": …at line 1 column ");
    }
    warned(b"{\"a\xff\": \"a.mp3\"}", "skipped \"a…\": not a space id at line 1 column ");
    accepted("{\"a\": {\"title\": \"\\ud800\"}}");
}

#[test]
fn mistake_is_named_with_id_line_and_column() {
    // Line 4 is `  "b": { "title": "B", "colour": 1 }`: column 31 is the end of the key.
    let json = "{\n  \"a\": \"a.mp3\",\n\n  \"b\": { \"title\": \"B\", \"colour\": 1 },\n  \"c\": \"c.mp3\"\n}";
    warned(json, "2 usable entries, 1 unusable, 0 skipped");
    warned(json, "unusable \"b\": unknown key \"colour\" at line 4 column 24");
    warned("{\n  \"a\": \"a.mp3\",\n  \"b\": true\n}", "unusable \"b\": …at line 3 column ");
    let many: Vec<String> = (0..5000).map(|n| format!("\"s{n}\": \"{n}.mp3\"")).collect();
    let many = format!("{{{}}}", many.join(",\n")).replace("4321.mp3", "../4321.mp3");
    warned(many, "unusable \"s4321\": …\"../4321.mp3\"…at line 4322 column ");
}

#[test]
fn first_ten_of_each_kind_are_named() {
    let entries: Vec<String> =
        (0..30).map(|n| format!("\"s{n}\": {n},\n\"/{n}\": \"x.mp3\"")).collect();
    let mut site = with_catalog().file("catalog.json", format!("{{{}}}", entries.join(",\n")));
    let checked = site.check();
    assert!(checked.ok, "{}", checked.output);
    let count = |what| checked.output.matches(what).count();
    assert_eq!(count("catalog.json\": 0 usable entries, 30 unusable, 30 skipped in "), 1);
    assert_eq!(count("catalog.json\": unusable \"s"), 10, "{}", checked.output);
    assert_eq!(count("catalog.json\": skipped \"/"), 10, "{}", checked.output);
    assert_eq!(count("[warn]"), 21, "{}", checked.output);
}

#[test]
fn unknown_keys_are_warned_of() {
    for key in ["name", "Title", "title ", "", "file", "path", "titles", "\\u0000", "tit\\nle"] {
        warned(
            format!("{{\"a\": {{\"{key}\": \"x\"}}}}"),
            "unusable \"a\": unknown key \"…\"…at line 1 column ",
        );
    }
    // An escaped key is the same key.
    accepted("{\"a\": {\"t\\u0069tle\": \"x\"}}");
}

#[test]
fn same_key_twice_is_warned_of() {
    for entry in [
        "\"title\": \"a\", \"title\": \"a\"",
        "\"files\": [], \"files\": []",
        "\"status\": 404, \"title\": \"a\", \"status\": 404",
        "\"title\": \"a\", \"t\\u0069tle\": \"b\"",
    ] {
        warned(
            format!("{{\"a\": {{{entry}}}}}"),
            "unusable \"a\": duplicate key…at line 1 column ",
        );
    }
}

#[test]
fn same_id_twice_is_warned_of() {
    warned(
        "{\"a\": \"a.mp3\",\n\"a\": \"a.mp3\"}",
        "unusable \"a\": duplicate id at line 2 column ",
    );
    warned(
        "{\"ab\": \"a.mp3\",\n\"b\": {},\n\"a\\u0062\": {\"status\": 404}}",
        "unusable \"a\\u0062\": duplicate id at line 3 column ",
    );
    accepted("{\"ab\": \"x.mp3\", \"AB\": \"x.mp3\", \"aB\": \"x.mp3\"}");
}

#[test]
fn ids_outside_the_grammar_are_warned_of() {
    let long = "x".repeat(129);
    for id in ["", " ", "a b", "a/b", "../a", "a%20", "ä", "a\\nb", "\\u0000", "a\\\"b", &long] {
        warned(
            format!("{{\n\"{id}\": \"x.mp3\"}}"),
            "skipped \"…\": not a space id at line 2 column ",
        );
    }
    for id in [" a", "a\\n", "a.mp3"] {
        warned(
            format!("{{\n\"{id}\": \"x.mp3\"}}"),
            "unusable \"…\": white space or a format in the id at line 2 column ",
        );
    }
    let longest = "x".repeat(128);
    accepted(format!("{{\"{longest}\": \"x.mp3\", \"-\": \"x.mp3\", \"_\": \"x.mp3\"}}"));
}

#[test]
fn paths_that_leave_the_target_or_are_odd_are_warned_of() {
    let long = "x/".repeat(3000);
    for path in [
        "",
        "/",
        "/etc/passwd",
        "//x.mp3",
        "/x.mp3",
        ".",
        "..",
        "../x.mp3",
        "a/../x.mp3",
        "a/..",
        "a/.",
        "./x.mp3",
        "a/./x.mp3",
        "a//x.mp3",
        "a/",
        "x.mp3/",
        "a\\u002f..\\u002fx.mp3",
        "a\\u0000.mp3",
        "\\u0000",
        "a\\nb.mp3",
        "a\\tb.mp3",
        "a\\u001f.mp3",
        "a\\u007f.mp3",
        "a\\u0085.mp3",
        "a\\u009f.mp3",
        &long,
    ] {
        warned(
            format!("{{\n\"a\": \"{path}\"}}"),
            "unusable \"a\": …path…: \"…\"…at line 2 column ",
        );
        warned(
            format!("{{\"a\": {{\n\"files\": [\"good.mp3\",\n\"{path}\"]}}}}"),
            "unusable \"a\": …path…: \"…\"…at line 3 column ",
        );
    }
}

#[test]
fn odd_paths_within_the_target_are_accepted() {
    for path in [
        "...",
        "..a/x.mp3",
        "a../x.mp3",
        ".hidden/x.mp3",
        "..x.mp3",
        " ",
        "a b/ c.mp3",
        "100%.mp3",
        "%2e%2e/x.mp3",
        "a?b.mp3",
        "a#b.mp3",
        "a;b.mp3",
        "a'b.mp3",
        "a\\\"b.mp3",
        "a\\\\b.mp3",
        "a:b.mp3",
        "http:x.mp3",
        "Gespräch.mp3",
        "録音.mp3",
        "\\ud83c\\udf99.mp3",
        "no-extension",
        "x.txt",
    ] {
        accepted(format!("{{\"a\": \"{path}\", \"b\": {{\"files\": [\"{path}\"]}}}}"));
    }
}

#[test]
fn wrong_types_are_warned_of() {
    for entry in ["null", "true", "1", "1.5", "[]", "[\"x.mp3\"]"] {
        warned(format!("{{\"a\":\n{entry}}}"), "unusable \"a\": …at line 2 column ");
    }
    for (key, values) in [
        ("title", &["true", "7", "[]", "{}", "[\"x\"]"][..]),
        ("files", &["\"x.mp3\"", "1", "{}", "[1]", "[null]", "[[\"x.mp3\"]]", "[{}]"]),
        ("status", &["\"404\"", "true", "[404]", "404.0", "4e2", "-404", "{}"]),
        ("duration", &["0", "-1", "0.0", "-0.5", "1e300", "1e999", "\"60\"", "true", "[]"]),
    ] {
        for value in values {
            warned(
                format!("{{\"a\": {{\"{key}\":\n{value}}}}}"),
                "unusable \"a\": …at line 2 column ",
            );
        }
    }
}

#[test]
fn statuses_other_than_the_four_are_warned_of() {
    for status in ["0", "200", "206", "301", "302", "304", "400", "401", "405", "416", "429"] {
        warned(
            format!("{{\"a\": {{\"status\":\n{status}}}}}"),
            "unusable \"a\": …at line 2 column ",
        );
    }
    for status in ["500", "502", "4040", "65940", "18446744073709551615", "184467440737095516150"] {
        warned(
            format!("{{\"a\": {{\"status\":\n{status}}}}}"),
            "unusable \"a\": …at line 2 column ",
        );
    }
    accepted("{\"a\": {\"status\": 403}, \"b\": {\"status\": 404}}");
    accepted("{\"a\": {\"status\": 410}, \"b\": {\"status\": 451}}");
}

#[test]
fn valid_catalogs_are_accepted() {
    let space = format!(
        "{{
  \"{ID}\": {{ \"title\": \"Rust in production\",
               \"files\": [\"2025/06/{ID}.mp3\", \"2025/06/{ID}.mp4\"] }},
  \"1YqKDqWqdPLGV\": \"legacy/talk.m4a\",
  \"1OwxWYzDXjWGQ\": {{ \"title\": \"Only a title: the files are looked for in the directory\" }},
  \"1ZkKzXbYyLmGv\": {{ \"status\": 410 }}
}}
"
    );
    for json in [
        space.as_str(),
        "{}",
        " \r\n\t{ } \n",
        "{\"a\": {}}",
        "{\"a\": {\"title\": \"\"}}",
        "{\"a\": {\"files\": []}}",
        "{\"a\": {\"title\": null, \"files\": null, \"status\": null, \"duration\": null}}",
        "{\"a\": {\"duration\": 3599.25}, \"b\": {\"duration\": 60}}",
        "{\"a\": {\"status\": 404, \"title\": \"gone\", \"files\": [\"x.mp3\"]}}",
        "{\"a\": {\"title\": \"\\u0000\\n\\r\\t\\u007f\\u0085\"}}",
    ] {
        accepted(json);
    }
}

#[test]
fn titles_are_never_fatal() {
    let long = "ä".repeat(100_000);
    let escaped = "\\n".repeat(100_000);
    for title in
        ["\\u0000", "\\r\\nX-Evil: 1", "\\u202e", "\\\"\\\\/", "\\ud83c\\udf99", &long, &escaped]
    {
        accepted(format!("{{\"a\": {{\"title\": \"{title}\", \"files\": [\"x.mp3\"]}}}}"));
    }
}

#[test]
fn deep_nesting_is_refused_and_does_no_harm() {
    for open in ["[", "{\"a\":", "{\"files\":["] {
        refused(format!("{{\"a\":\n{}", open.repeat(200_000)), "…at line 2 column ");
    }
}

#[test]
fn bad_parameters_are_refused() {
    for parameter in [
        "refresh=x",
        "refresh=",
        "refresh=0",
        "refresh=0s",
        "refresh=-1",
        "refresh=1.5",
        "refresh=1x",
        "refresh=99999999999999999999",
        "refresh=OFF",
        "refresh",
        "Refresh=1s",
        "refresh=1s refresh=1s",
        "refresh=1s refresh=off",
        "only only",
        "only=on",
        "Only",
        "optional optional",
        "optional=on",
        "Optional",
        "off",
        "x",
        "\"\"",
    ] {
        let site = with_directive(&format!("xspace_catalog {{dir}}/catalog.json {parameter};"))
            .file("catalog.json", "{}");
        expect_site("emerg", parameter, site, "invalid parameter \"…\" in \"xspace_catalog\"");
    }
    for path in ["\"\"", "$arg_x", "{dir}/$host.json"] {
        error(
            path,
            &format!("location ^~ /download/ {{\n xspace_catalog {path}; #!\n}}"),
            "invalid path \"…\" in \"xspace_catalog\"",
        );
    }
    error("off with a parameter", "location ^~ /download/ {\n xspace_catalog off only; #!\n}", "");
}

#[test]
fn good_parameters_are_accepted() {
    for parameters in [
        "",
        "refresh=5s",
        "refresh=100ms",
        "refresh=1m",
        "refresh=30d",
        "refresh=1h30m",
        "refresh=2",
        "refresh=off",
        "only",
        "only refresh=1s",
        "refresh=1s only",
        "refresh=off only",
        "optional",
        "only optional refresh=1s",
    ] {
        let site = with_directive(&format!("xspace_catalog {{dir}}/catalog.json {parameters};"))
            .file("catalog.json", "{}");
        fine_site(parameters, site);
    }
    fine("off", "xspace_catalog off;");
}

#[test]
fn two_refresh_values_for_one_file_are_refused() {
    for (first, second) in [
        ("refresh=1s", "refresh=2s"),
        ("refresh=1s", "refresh=off"),
        ("refresh=off", "refresh=1s"),
        ("", "refresh=1s"),
        ("refresh=1s", ""),
        ("", "refresh=off"),
    ] {
        let what = format!("{first:?}, {second:?}");
        let mut site = Site::new()
            .server(&format!(
                "location ^~ /a/ {{
                     xspace_catalog {{dir}}/catalog.json {first}; # first
                 }}
                 location ^~ /b/ {{
                     xspace_catalog {{dir}}/catalog.json {second}; #!
                 }}"
            ))
            .file("catalog.json", "{}");
        site.check();
        let conf = site.write_conf();
        let first_line = conf.lines().position(|line| line.contains("# first")).expect("a line");
        let message = format!(
            "conflicting \"refresh\" for catalog \"{{dir}}/catalog.json\", first set in {{dir}}/nginx.conf:{}",
            first_line + 1
        );
        expect_site("emerg", &what, site, &message);
    }
    for (first, second) in [
        ("refresh=1s", "refresh=1000ms"),
        ("", "refresh=5s"),
        ("", ""),
        ("refresh=off", "refresh=off only"),
        ("only", ""),
    ] {
        let site = Site::new()
            .server(&format!(
                "location ^~ /a/ {{ xspace_catalog {{dir}}/catalog.json {first}; }}
                 location ^~ /b/ {{ xspace_catalog {{dir}}/catalog.json {second}; }}"
            ))
            .file("catalog.json", "{}");
        fine_site(&format!("{first:?}, {second:?}"), site);
    }
}

#[test]
fn path_is_relative_to_the_configuration() {
    let site =
        with_directive("xspace_catalog lists/catalog.json;").file("lists/catalog.json", "{}");
    fine_site("found", site);
    let site =
        with_directive("xspace_catalog lists/catalog.json;").file("html/lists/catalog.json", "{}");
    expect_site("emerg", "missing", site, "catalog \"{dir}/lists/catalog.json\": …2: ");
}

#[test]
fn path_is_relative_to_the_main_configuration_in_an_included_file_too() {
    let site = Site::new()
        .server(&format!("include conf.d/*.conf;\n{TARGET}"))
        .file(
            "conf.d/download.conf",
            "location ^~ /download/ { xspace_download /downloads/; xspace_catalog c.json; }",
        )
        .file("c.json", "{}");
    fine_site("beside the main configuration", site);
    let mut site = Site::new()
        .server(&format!("include conf.d/*.conf;\n{TARGET}"))
        .file(
            "conf.d/download.conf",
            "location ^~ /download/ {\n xspace_download /downloads/;\n xspace_catalog c.json;\n}",
        )
        .file("c.json", "{]");
    let checked = site.check();
    let place = format!(" in {}/conf.d/download.conf:3", site.dir().display());
    assert!(!checked.ok);
    checked.expect_line("emerg", "catalog", &[place], "an included file");
}

#[test]
fn directive_may_stand_at_every_level() {
    for (http, server, location) in [
        ("xspace_catalog {dir}/bad.json; #!", "", ""),
        ("", "xspace_catalog {dir}/bad.json; #!", ""),
        ("", "", "xspace_catalog {dir}/bad.json; #!"),
        // Named, if not used: a mistake in it would show up at the worst time.
        ("xspace_catalog {dir}/bad.json; #!", "xspace_catalog off;", ""),
        ("xspace_catalog {dir}/good.json;", "xspace_catalog {dir}/bad.json; #!", ""),
        ("xspace_catalog {dir}/good.json;", "", "xspace_catalog {dir}/bad.json; #!"),
    ] {
        let site = Site::new()
            .http(&format!("\n{http}\n"))
            .server(&format!(
                "\n{server}\nlocation ^~ /download/ {{ xspace_download /downloads/;\n{location}\n}}
                 {TARGET}"
            ))
            .file("good.json", "{}")
            .file("bad.json", "{\"a\": x}");
        expect_site(
            "emerg",
            &format!("{http} {server} {location}"),
            site,
            "catalog \"{dir}/bad.json\": expected value at line 1 column ",
        );
    }
    let message = "\"xspace_catalog\" directive is not allowed here";
    let site = Site::new().main("\nxspace_catalog {dir}/catalog.json; #!");
    expect_site("emerg", "main", site, message);
    error(
        "if",
        "location /a/ {\n if ($arg_x) {\n xspace_catalog {dir}/catalog.json; #!\n } }",
        message,
    );
}

#[test]
fn directory_off_is_allowed_with_a_catalog() {
    for (http, location) in [
        ("", "xspace_directory off; xspace_catalog {dir}/catalog.json;"),
        ("xspace_catalog {dir}/catalog.json;", "xspace_directory off;"),
        ("xspace_directory off;", "xspace_catalog {dir}/catalog.json only;"),
    ] {
        let site = Site::new()
            .http(http)
            .server(&format!(
                "location ^~ /download/ {{ xspace_download /downloads/; {location} }}\n{TARGET}"
            ))
            .file("catalog.json", "{}");
        fine_site(&format!("{http} {location}"), site);
    }
    let site = Site::new()
        .http("xspace_catalog {dir}/catalog.json;")
        .server(&format!(
            "location ^~ /download/ {{\n xspace_download /downloads/; #!
                 xspace_catalog off;\n xspace_directory off; #!\n}}\n{TARGET}"
        ))
        .file("catalog.json", "{}");
    expect_site(
        "emerg",
        "catalog off",
        site,
        "\"xspace_directory off\" requires \"xspace_catalog\" or",
    );
}

#[test]
fn refresh_that_cannot_be_is_warned_of() {
    let site = || with_catalog().file("catalog.json", "{}");
    let never = || {
        with_directive("xspace_catalog {dir}/catalog.json refresh=off;").file("catalog.json", "{}")
    };
    fine_site("can be", site());

    let message = "catalog \"{dir}/catalog.json\" will not be refreshed: \"master_process\" is off";
    expect_site("warn", "no worker processes", site().single(), message);
    fine_site("no worker processes, nothing to refresh", never().single());

    let Some(plain) = site().plain() else { return };
    let message =
        "catalog \"{dir}/catalog.json\" will not be refreshed: nginx was built without threads";
    expect_site("warn", "no threads", plain, message);
    if let Some(plain) = never().plain() {
        fine_site("no threads, nothing to refresh", plain);
    }
}

#[test]
fn failed_check_of_a_running_nginx_leaves_it_alone() {
    let nginx = with_catalog()
        .file("catalog.json", format!("{{\"{ID}\": \"a.mp3\"}}"))
        .file("downloads/a.mp3", "a")
        .allow("invalid catalog")
        .start();
    nginx.site().replace("catalog.json", "{");
    let checked = nginx.check();
    assert!(!checked.ok, "{}", checked.output);
    assert_eq!(nginx.get(&format!("/download/{ID}")).text(), "a");
}

#[test]
fn optional_file_that_is_not_there_is_warned_of() {
    if !build().require("threads") {
        return;
    }
    let site = || with_directive("xspace_catalog {dir}/catalog.json optional;");
    let message = "optional catalog \"{dir}/catalog.json\" not loaded, requests that need it are answered with 503: ";
    expect_site("warn", "missing", site(), &format!("{message}…2: No such file or directory"));
    for (json, why) in [
        ("{", "…unexpected end of file"),
        ("[]", "…not an object"),
        ("{\"a\": nul}", "…line 1 column "),
    ] {
        let site = site().file("catalog.json", json);
        expect_site("warn", json, site, &format!("{message}{why}"));
    }
    let directory = site();
    directory.make_dir("catalog.json");
    expect_site("warn", "a directory", directory, &format!("{message}…not a regular file"));
    fine_site("there", site().file("catalog.json", "{}"));
}

#[test]
fn optional_where_the_file_is_never_read_again_is_refused() {
    let message = "catalog \"{dir}/catalog.json\" cannot be \"optional\": ";
    for parameters in ["optional refresh=off", "refresh=off only optional"] {
        let site = with_directive(&format!("xspace_catalog {{dir}}/catalog.json {parameters};"))
            .file("catalog.json", "{}");
        let message = "catalog \"{dir}/catalog.json\" cannot be \"optional\" with \"refresh=off\"";
        expect_site("emerg", parameters, site, message);
    }
    let site = with_directive("xspace_catalog {dir}/catalog.json optional;")
        .main("master_process off;")
        .file("catalog.json", "{}");
    expect_site("emerg", "master_process off", site, message);
    let site = with_directive("xspace_catalog {dir}/catalog.json optional;").plain();
    let Some(site) = site.map(|site| site.file("catalog.json", "{}")) else { return };
    let message = format!("{message}nginx was built without threads");
    expect_site("emerg", "no threads", site, &message);
}

#[test]
fn optional_in_one_place_only_is_refused() {
    for (first, second) in [("", "optional"), ("optional", ""), ("only", "only optional")] {
        let site = with_directive(&format!("xspace_catalog {{dir}}/catalog.json {second};"))
            .http(&format!("xspace_catalog {{dir}}/catalog.json {first};"))
            .file("catalog.json", "{}");
        expect_site(
            "emerg",
            &format!("{first:?} and {second:?}"),
            site,
            "conflicting \"optional\" for catalog \"{dir}/catalog.json\", first set in {dir}/nginx.conf:",
        );
    }
}

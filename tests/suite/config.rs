//! What `nginx -t` says about a configuration.

use xspace_tests::{Site, build, lines_marked};

/// The target of most rows.
pub const TARGET: &str = "location ^~ /downloads/ { internal; alias {dir}/downloads/; }\n";

/// `nginx -t` with this in the server; the message's `…` stands for any text. The line with
/// `#!` is the one that has to be named.
#[track_caller]
fn expect(level: &str, what: &str, server: &str, message: &str) {
    expect_site(level, what, Site::new().server(server), message);
}

#[track_caller]
pub fn expect_site(level: &str, what: &str, mut site: Site, message: &str) {
    let checked = site.check();
    let places = lines_marked(&site.conf_path(), &site.write_conf());
    let message = message.replace("{dir}", site.dir().to_str().expect("a UTF-8 path"));
    let line = checked
        .output
        .lines()
        .find(|line| line.contains(&format!("[{level}]")) && has_parts(line, &message));
    let Some(line) = line else {
        panic!("{what}: no [{level}] line {message:?} in\n{}", checked.output);
    };
    assert!(
        places.is_empty() || places.iter().any(|place| line.ends_with(place.as_str())),
        "{what}: {line:?} does not end with one of {places:?}"
    );
    assert_eq!(checked.ok, level == "warn", "{what}: exit status of nginx -t");
}

#[track_caller]
pub fn error(what: &str, server: &str, message: &str) {
    expect("emerg", what, server, message);
}

#[track_caller]
pub fn warning(what: &str, server: &str, message: &str) {
    expect("warn", what, server, message);
}

/// Accepted without a warning.
#[track_caller]
pub fn fine(what: &str, server: &str) {
    fine_site(what, Site::new().server(server));
}

#[track_caller]
pub fn fine_site(what: &str, mut site: Site) {
    let checked = site.check();
    assert!(checked.ok, "{what}: {}", checked.output);
    assert!(!checked.output.contains("[warn]"), "{what}: {}", checked.output);
}

fn has_parts(mut line: &str, message: &str) -> bool {
    for part in message.split('…') {
        match line.find(part) {
            Some(at) => line = &line[at + part.len()..],
            None => return false,
        }
    }
    true
}

#[test]
fn target_must_begin_and_end_with_a_slash() {
    for target in ["downloads/", "/downloads", "downloads", "\"\"", "https://localhost/"] {
        error(
            target,
            &format!("location ^~ /download/ {{\nxspace_download {target}; #!\n}}\n{TARGET}"),
            &format!(
                "invalid target \"{}\" in \"xspace_download\": it must begin and end with \"/\"",
                target.trim_matches('"')
            ),
        );
    }
}

#[test]
fn target_must_match_a_location() {
    let message = "no location matches target \"/nowhere/\" of \"xspace_download\"";
    error(
        "no such prefix",
        &format!("location ^~ /download/ {{\n xspace_download /nowhere/; #!\n}}\n{TARGET}"),
        message,
    );
    error(
        "an exact location is no prefix",
        "location ^~ /download/ {\n xspace_download /nowhere/; #!\n}
         location = /nowhere/x.mp3 { internal; root {dir}; }",
        message,
    );
    error(
        "a named location is none",
        "location ^~ /download/ {\n xspace_download /nowhere/; #!\n}
         location @nowhere { root {dir}; }",
        message,
    );
    error(
        "one of another server",
        "location ^~ /download/ {\n xspace_download /nowhere/; #!\n}
         }
         server {
             listen 127.0.0.1:{other};
             location ^~ /nowhere/ { internal; alias {dir}/downloads/; }",
        message,
    );
}

#[test]
fn target_must_not_have_xspace_download_itself() {
    error(
        "itself",
        "location ^~ /download/ {\n xspace_download /download/; #!\n}",
        "target \"/download/\" of \"xspace_download\" is location \"/download/\", which has \
         \"xspace_download\" itself",
    );
    error(
        "a chain",
        &format!(
            "location ^~ /a/ {{\n xspace_download /b/; #!\n}}
             location ^~ /b/ {{ xspace_download /downloads/; }}\n{TARGET}"
        ),
        "target \"/b/\" of \"xspace_download\" is location \"/b/\", which has \
         \"xspace_download\" itself",
    );
    error(
        "a longer prefix within itself",
        "location ^~ /download/ {\n xspace_download /download/files/; #!\n}",
        "target \"/download/files/\" of \"xspace_download\" is location \"/download/\", which has \
         \"xspace_download\" itself",
    );
}

#[test]
fn target_must_not_be_a_regex_location() {
    error(
        "regex",
        "location ^~ /download/ {\n xspace_download /downloads/; #!\n}
         location ~ ^/downloads/(.*)$ { internal; alias {dir}/downloads/$1; }",
        "target \"/downloads/\" of \"xspace_download\" is regex location \"…^/downloads/(.*)$\"",
    );
}

#[test]
fn regex_location_must_not_take_the_targets_files() {
    let target = "location /downloads/ { internal; alias {dir}/downloads/; }\n";
    for (what, regex, file) in [
        ("any case", r"~* \.(mp3|css)$", "/downloads/x.mp3"),
        ("a later format", r"~ \.mp4$", "/downloads/x.mp4"),
        ("the directory", r"~ ^/downloads/.*\.wav", "/downloads/x.wav"),
    ] {
        error(
            what,
            &format!(
                "location ^~ /download/ {{\n xspace_download /downloads/; #!\n}}
                 {target} location {regex} {{ expires 30d; }}"
            ),
            &format!(
                "\"{file}\", a file of target \"/downloads/\", would be served by location \"…\" \
                 instead of location \"/downloads/\""
            ),
        );
    }
    error(
        "only a format of the location's own list",
        &format!(
            "location ^~ /download/ {{\n xspace_download /downloads/; #!
                 xspace_formats mp3 flac;\n}}
             {target} location ~ \\.flac$ {{ expires 30d; }}"
        ),
        "\"/downloads/x.flac\", a file of target \"/downloads/\", would be served by location \
         \"…\\.flac$\" instead of location \"/downloads/\"",
    );
}

#[test]
fn other_location_must_not_take_the_own_addresses() {
    for (what, location, uri) in [
        ("by extension", r"~* \.(mp3|css)$", "/download/x.mp3"),
        ("by a later format", r"~ \.mp4$", "/download/x.mp4"),
        ("by directory", r"~ ^/download/", "/download/x"),
    ] {
        error(
            what,
            &format!(
                "location /download/ {{\n xspace_download /downloads/; #!\n}}
                 {TARGET} location {location} {{ expires 30d; }}"
            ),
            &format!(
                "\"{uri}\", a URI of location \"/download/\", would be handled by location \
                 \"…\" instead"
            ),
        );
    }
}

#[test]
fn nested_location_that_takes_the_own_addresses_is_warned_of() {
    warning(
        "regex",
        &format!(
            "location ^~ /download/ {{\n xspace_download /downloads/; #!
                 location ~ \\.m4a$ {{ expires 30d; }}\n}}\n{TARGET}"
        ),
        "\"/download/x.m4a\" is handled by nested location \"…\\.m4a$\", which has no \
         \"xspace_download\"",
    );
    fine(
        "with its own",
        &format!(
            "location ^~ /download/ {{ xspace_download /downloads/;
                 location ~ ^/download/(?<sid>[^/]+)\\.m4a$ {{
                     xspace_download /downloads/; xspace_id $sid; xspace_format m4a;
                 }}
             }}\n{TARGET}"
        ),
    );
}

#[test]
fn line_breaks_in_a_media_type_are_refused() {
    let mut site = Site::new().server(&format!(
        "location ^~ /download/ {{ xspace_download /downloads/;
             xspace_formats \"xyz=audio/x\\r\\nX-Evil: 1\";\n}}\n{TARGET}"
    ));
    let checked = site.check();
    assert!(!checked.ok, "{}", checked.output);
    assert!(checked.output.contains("invalid format \"xyz=audio/x"), "{}", checked.output);
}

#[test]
fn xspace_id_is_required_where_the_uri_has_no_id() {
    for location in [
        "~ ^/spaces/([^/]+)/download$",
        "~* ^/talk/",
        "= /latest",
        "@named",
        "/download",
        "^~ /download",
    ] {
        error(
            location,
            &format!("location {location} {{\n xspace_download /downloads/; #!\n}}\n{TARGET}"),
            "\"xspace_id\" is required in ",
        );
        fine(
            location,
            &format!(
                "location {location} {{ xspace_download /downloads/; xspace_id $arg_id; }}
                 {TARGET}"
            ),
        );
    }
    error(
        "exact, though it ends with a slash",
        &format!("location = /download/ {{\n xspace_download /downloads/; #!\n}}\n{TARGET}"),
        "\"xspace_id\" is required in ",
    );
    error(
        "not inherited from the enclosing location",
        &format!(
            "location ^~ /a/ {{ xspace_id $arg_id;
                 location = /a/b {{\n xspace_download /downloads/; #!\n}} }}\n{TARGET}"
        ),
        "\"xspace_id\" is required in ",
    );
}

#[test]
fn formats_are_checked() {
    for (formats, message) in [
        ("xyz", r#"format "xyz" has no known media type, write "xyz=type/subtype""#),
        ("mp3 txt", r#"format "txt" has no known media type, write "txt=type/subtype""#),
        ("mp3 mp3", r#"duplicate format "mp3""#),
        ("mp3 wav mp3=audio/mpeg", r#"duplicate format "mp3"#),
        ("mp3 MP3", r#"duplicate format "…""#),
        ("mp3/x", r#"invalid format "mp3/x"#),
        (".mp3", r#"invalid format ".mp3"#),
        ("../mp3", r#"invalid format "../mp3"#),
        ("tar.gz", r#"invalid format "tar.gz"#),
        ("=audio/x", r#"invalid format "=audio/x"#),
        ("xyz=", r#"invalid format "xyz="#),
        ("xyz=audio", r#"invalid format "xyz=audio"#),
        ("xyz=/x", r#"invalid format "xyz=/x"#),
        ("xyz=audio/", r#"invalid format "xyz=audio/"#),
        (r#""""#, r#"invalid format """#),
    ] {
        error(
            formats,
            &format!(
                "location ^~ /download/ {{ xspace_download /downloads/;\n
                 xspace_formats {formats}; #!\n}}\n{TARGET}"
            ),
            message,
        );
    }
}

#[test]
fn every_named_media_type_is_built_in() {
    fine(
        "built in",
        &format!(
            "xspace_formats mp3 m4a m4b aac wav ogg oga opus flac weba mp4 m4v webm mkv mov;
             location ^~ /download/ {{ xspace_download /downloads/; }}\n{TARGET}"
        ),
    );
    fine(
        "given",
        &format!(
            "xspace_formats xyz=audio/x-y mp3=audio/x-mp3 ts=video/mp2t;
             location ^~ /download/ {{ xspace_download /downloads/; }}\n{TARGET}"
        ),
    );
}

#[test]
fn directory_off_leaves_no_way_to_find_a_file() {
    let message = r#""xspace_directory off" requires "xspace_catalog" or "xspace_lookup" in location "/download/""#;
    error(
        "in the location",
        &format!(
            "location ^~ /download/ {{\n xspace_download /downloads/; #!
             xspace_directory off; #!\n}}\n{TARGET}"
        ),
        message,
    );
    error(
        "inherited",
        &format!(
            "\nxspace_directory off; #!
             location ^~ /download/ {{\n xspace_download /downloads/; #!\n}}\n{TARGET}"
        ),
        message,
    );
    fine("where the module is off", "xspace_directory off; location ^~ /download/ { return 204; }");
}

#[test]
fn duplicate_directives_are_refused() {
    for (first, second) in [
        ("xspace_download /downloads/", "xspace_download /downloads/"),
        ("xspace_download off", "xspace_download /downloads/"),
        ("xspace_id $arg_id", "xspace_id $arg_id"),
        ("xspace_format $arg_f", "xspace_format mp3"),
        ("xspace_attachment 1", "xspace_attachment 1"),
        ("xspace_formats mp3", "xspace_formats wav"),
        ("xspace_min_size 1", "xspace_min_size 2"),
        ("xspace_directory {dir}", "xspace_directory off"),
        ("xspace_filename a", "xspace_filename b"),
        ("xspace_catalog off", "xspace_catalog {dir}/catalog.json"),
        ("xspace_catalog {dir}/a.json", "xspace_catalog {dir}/a.json"),
        ("xspace_catalog {dir}/a.json", "xspace_catalog off"),
    ] {
        let name = first.split(' ').next().expect("a name");
        error(
            name,
            &format!("location ^~ /download/ {{\n {first};\n {second}; #!\n}}\n{TARGET}"),
            &format!("\"{name}\" directive is duplicate"),
        );
    }
}

#[test]
fn bad_sizes_are_refused() {
    for size in ["banana", "-1", "1x", "\"\"", "99999999999999999999"] {
        error(
            size,
            &format!(
                "location ^~ /download/ {{ xspace_download /downloads/;\n
                 xspace_min_size {size}; #!\n}}\n{TARGET}"
            ),
            "\"xspace_min_size\"",
        );
    }
    for size in ["0", "1", "64k", "1m", "1M"] {
        fine(
            size,
            &format!(
                "location ^~ /download/ {{ xspace_download /downloads/; xspace_min_size {size}; }}
                 {TARGET}"
            ),
        );
    }
}

#[test]
fn wrong_numbers_of_arguments_are_refused() {
    for directive in [
        "xspace_download",
        "xspace_download /a/ /b/",
        "xspace_id",
        "xspace_id a b",
        "xspace_format",
        "xspace_attachment a b",
        "xspace_formats",
        "xspace_min_size",
        "xspace_directory",
        "xspace_filename a b",
        "xspace_catalog",
        "xspace_catalog a only refresh=1s optional b",
    ] {
        let name = directive.split(' ').next().expect("a name");
        error(
            directive,
            &format!("location ^~ /download/ {{\n {directive}; #!\n}}\n{TARGET}"),
            &format!("invalid number of arguments in \"{name}\" directive"),
        );
    }
}

#[test]
fn directives_are_refused_outside_their_contexts() {
    for directive in ["xspace_download /downloads/", "xspace_id $arg_id"] {
        let message =
            format!("\"{}\" directive is not allowed here", directive.split(' ').next().unwrap());
        error("server", &format!("\n{directive}; #!\n{TARGET}"), &message);
        let site = Site::new().http(&format!("\n{directive}; #!")).server(TARGET);
        expect_site("emerg", "http", site, &message);
    }
    for directive in ["xspace_format a", "xspace_formats mp3", "xspace_min_size 1"] {
        let message =
            format!("\"{}\" directive is not allowed here", directive.split(' ').next().unwrap());
        let site = Site::new().main(&format!("\n{directive}; #!"));
        expect_site("emerg", "main", site, &message);
    }
}

#[test]
fn unknown_variables_are_refused() {
    for directive in ["xspace_id", "xspace_format", "xspace_attachment", "xspace_filename"] {
        error(
            directive,
            &format!(
                "location ^~ /download/ {{ xspace_download /downloads/;
                 {directive} $no_such_variable;\n}}\n{TARGET}"
            ),
            "unknown \"no_such_variable\" variable",
        );
    }
}

#[test]
fn errors_name_the_line_of_an_included_file() {
    let mut site =
        Site::new().server("include {dir}/download.conf;\nlocation / { }\n").server(TARGET).file(
            "download.conf",
            "# a comment\nlocation ^~ /download/ {\n    xspace_download /downloads/;\n    \
             xspace_formats mp3 xyz;\n}\n",
        );
    let checked = site.check();
    let place = format!(" in {}/download.conf:4", site.dir().display());
    assert!(!checked.ok);
    checked.expect_line("emerg", "format \"xyz\" has no known media type", &[place], "setter");

    let mut site = Site::new().server("include {dir}/download.conf;\nlocation / { }\n").file(
        "download.conf",
        "# a comment\nlocation ^~ /download/ {\n    xspace_download /download/;\n}\n",
    );
    let checked = site.check();
    let place = format!(" in {}/download.conf:3", site.dir().display());
    assert!(!checked.ok);
    checked.expect_line("emerg", "has \"xspace_download\" itself", &[place], "after the block");
}

#[test]
fn warning_names_the_line_of_an_included_file() {
    let mut site = Site::new()
        .server("include {dir}/download.conf;\nlocation ^~ /downloads/ { root {dir}; }\n")
        .file("download.conf", "\n\nlocation ^~ /download/ { xspace_download /downloads/; }\n");
    let checked = site.check();
    let place = format!(" in {}/download.conf:3", site.dir().display());
    assert!(checked.ok, "{}", checked.output);
    checked.expect_line("warn", "is not \"internal\"", &[place], "warning");
}

#[test]
fn every_server_is_checked() {
    error(
        "second server",
        &format!(
            "location ^~ /download/ {{ xspace_download /downloads/; }}\n{TARGET}
             }}
             server {{
                 listen 127.0.0.1:{{other}};
                 location ^~ /download/ {{\n xspace_download /nowhere/; #!\n}}"
        ),
        "no location matches target \"/nowhere/\"",
    );
}

#[test]
fn target_that_is_not_internal_is_warned_of() {
    warning(
        "public",
        "location ^~ /download/ {\n xspace_download /downloads/; #!\n}
         location ^~ /downloads/ { alias {dir}/downloads/; }",
        "target location \"/downloads/\" of \"xspace_download\" is not \"internal\"",
    );
}

#[test]
fn directory_that_cannot_be_read_is_warned_of() {
    warning(
        "alias",
        "location ^~ /download/ {\n xspace_download /downloads/; #!\n}
         location ^~ /downloads/ { internal; alias {dir}/nowhere/; }",
        "opendir() \"{dir}/nowhere…\" failed (2: No such file or directory) for target \"/downloads/\"",
    );
    warning(
        "root",
        "location ^~ /download/ {\n xspace_download /downloads/; #!\n}
         location ^~ /downloads/ { internal; root {dir}/nowhere; }",
        "opendir() \"{dir}/nowhere/downloads…\" failed (2: …) for target \"/downloads/\"",
    );
    warning(
        "longer target",
        "location ^~ /download/ {\n xspace_download /downloads/2025/; #!\n}
         location ^~ /downloads/ { internal; alias {dir}/downloads/; }",
        "opendir() \"{dir}/downloads/2025…\" failed (2: …) for target \"/downloads/2025/\"",
    );
    warning(
        "xspace_directory",
        &format!(
            "location ^~ /download/ {{\n xspace_download /downloads/; #!
             xspace_directory {{dir}}/nowhere; #!\n}}\n{TARGET}"
        ),
        "opendir() \"{dir}/nowhere…\" failed (2: …) for target \"/downloads/\"",
    );
    expect_site(
        "warn",
        "a file",
        Site::new()
            .server(
                "location ^~ /download/ {\n xspace_download /downloads/; #!\n}
                 location ^~ /downloads/ { internal; alias {dir}/a-file/; }",
            )
            .file("a-file", "no directory"),
        "opendir() \"{dir}/a-file…\" failed (20: Not a directory) for target \"/downloads/\"",
    );
}

#[test]
fn alias_with_another_trailing_slash_than_its_location_is_warned_of() {
    warning(
        "only the alias",
        "location ^~ /download/ {\n xspace_download /downloads/; #!\n}
         location ^~ /downloads { internal; alias {dir}/downloads/; }",
        "\"alias\" and target location \"/downloads\" differ in their trailing slash",
    );
    warning(
        "only the location",
        "location ^~ /download/ {\n xspace_download /downloads/; #!\n}
         location ^~ /downloads/ { internal; alias {dir}/downloads; }",
        "\"alias\" and target location \"/downloads/\" differ in their trailing slash",
    );
    fine(
        "neither",
        "location ^~ /download/ { xspace_download /downloads/; }
         location ^~ /downloads { internal; alias {dir}/downloads; }",
    );
}

#[test]
fn content_handler_without_a_directory_is_warned_of() {
    let target = "location ^~ /downloads/ { internal; proxy_pass http://127.0.0.1:9; }";
    warning(
        "proxied",
        &format!("location ^~ /download/ {{\n xspace_download /downloads/; #!\n}}\n{target}"),
        "target location \"/downloads/\" has a content handler and no directory of its own, \
         \"xspace_directory\" is missing",
    );
    fine(
        "proxied, with a directory",
        &format!(
            "location ^~ /download/ {{
                 xspace_download /downloads/; xspace_directory {{dir}}/downloads;
             }}
             {target}"
        ),
    );
}

#[test]
fn what_decides_only_after_the_redirect_where_a_file_is_is_warned_of() {
    for (location, target, what) in [
        ("/downloads/", "root {dir}; try_files $uri =404;", "has \"try_files\""),
        (
            "/downloads/",
            "root {dir}; rewrite ^/downloads/(.)(.*)$ /shards/$1/$1$2 last;",
            "has \"rewrite\"",
        ),
        ("/downloads/", "root {dir}; if ($arg_x) { rewrite ^ /x break; }", "has \"rewrite\""),
        (
            "/downloads/",
            "root {dir}; if ($arg_x) { root {dir}/x; }",
            "has a different \"root\" or \"alias\" in an \"if\"",
        ),
        (
            "/downloads/",
            "set $place x; alias {dir}/$place/;",
            "sets \"$place\", which its \"root\" or \"alias\" contains",
        ),
        (
            "/downloads/",
            "if ($arg_x) { set $place x; } root {dir}/$host/$place;",
            "sets \"$place\", which its \"root\" or \"alias\" contains",
        ),
        (
            "/downloads/",
            "alias {dir}/$xspace_format/;",
            "uses \"$xspace_format\" in \"root\" or \"alias\" before the file is found",
        ),
        (
            "/downloads/2025/",
            "root {dir}; location /downloads/2025/ { try_files $uri =404; }",
            "has \"try_files\"",
        ),
        (
            "\\.mp4$",
            "root {dir}; location ~ \\.mp4$ { rewrite ^ /elsewhere last; }",
            "has \"rewrite\"",
        ),
    ] {
        let target = format!("location ^~ /downloads/ {{ internal; {target} }}");
        warning(
            what,
            &format!("location ^~ /download/ {{\n xspace_download /downloads/; #!\n}}\n{target}"),
            &format!("target location \"{location}\" {what}, \"xspace_directory\" is missing"),
        );
        fine(
            what,
            &format!(
                "location ^~ /download/ {{
                     xspace_download /downloads/; xspace_directory {{dir}}/downloads;
                 }}
                 {target}"
            ),
        );
    }
    warning(
        "beside the target",
        &format!(
            "location ^~ /download/ {{\n xspace_download /downloads/; #!\n}}
             {TARGET} location ^~ /downloads/p- {{ internal; root {{dir}}; try_files $uri =404; }}"
        ),
        "target location \"/downloads/p-\" has \"try_files\"",
    );
    for rewrite in [
        "rewrite ^/downloads/(.)(.*)$ /shards/$1/$1$2;",
        "rewrite \\.mp4$ /video;",
        "if ($arg_x) { set $y 1; rewrite ^/downloads/ /x last; }",
    ] {
        let server = format!(
            "{rewrite} location ^~ /download/ {{\n xspace_download /downloads/; #!\n}}\n{TARGET}"
        );
        warning(
            rewrite,
            &server,
            "\"rewrite\" of the server changes URIs of target \"/downloads/\", \"xspace_directory\" is \
             missing",
        );
    }
}

#[test]
fn what_is_known_before_the_redirect_is_not_warned_of() {
    for (what, server) in [
        ("a host", "location ^~ /downloads/ { internal; alias {dir}/$host/; }"),
        (
            "a capture of the server's name",
            "server_name ~^(?<sub>[a-z]+)\\.x$;
             location ^~ /downloads/ { internal; alias {dir}/$sub/; }",
        ),
        (
            "a numbered one",
            "server_name ~^([a-z]+)\\.x$; location ^~ /downloads/ { internal; root {dir}/$1; }",
        ),
        (
            "captures of a nested regex location",
            "location ^~ /downloads/ {
                 internal; alias {dir}/downloads/;
                 location ~ ^/downloads/(?<shard>.)(.*)$ { alias {dir}/$shard/$shard$2; }
             }",
        ),
        (
            "set elsewhere",
            "set $place downloads;
             location ^~ /downloads/ { internal; alias {dir}/$place/; set $other $place; }",
        ),
        ("the module's id", "location ^~ /downloads/ { internal; alias {dir}/$xspace_id/; }"),
        (
            "rewrites of other URIs",
            "rewrite ^/old/(.*)$ /download/$1 last; if ($http_user_agent ~ downloads) { set $x 1; }
             location ^~ /downloads/ { internal; alias {dir}/downloads/; }",
        ),
        (
            "if without another root",
            "location ^~ /downloads/ {
                 internal; alias {dir}/downloads/;
                 if ($arg_x) { set $rate 1; } if ($uri ~ x) { expires 1h; }
             }
             location ^~ /others/ { if ($arg_x) { root {dir}; } }",
        ),
        (
            "return",
            "location ^~ /downloads/ {
                 internal; alias {dir}/downloads/; if ($arg_x ~ ^(y)) { return 403; }
             }",
        ),
    ] {
        let site = Site::new()
            .server(&format!("location ^~ /download/ {{ xspace_download /downloads/; }} {server}"));
        fine_site(what, site);
    }
}

#[test]
fn directives_that_never_act_beside_it_are_warned_of() {
    for (directive, message) in [
        (
            "try_files $uri =404",
            "\"try_files\" has no effect in location \"/download/\" because of",
        ),
        ("mirror /mirror", "\"mirror\" has no effect in location \"/download/\" because of"),
        (
            "proxy_pass http://127.0.0.1:9",
            "a content handler has no effect in location \"/download/\" because of",
        ),
        (
            "fastcgi_pass 127.0.0.1:9",
            "a content handler has no effect in location \"/download/\" because of",
        ),
        ("stub_status", "a content handler has no effect in location \"/download/\" because of"),
    ] {
        // The line may be that of either directive.
        warning(
            directive,
            &format!(
                "location ^~ /download/ {{\n xspace_download /downloads/; #!\n {directive}; #!\n}}
                 {TARGET}"
            ),
            &format!("{message} \"xspace_download\""),
        );
    }
    if build().require("http_mp4") {
        warning(
            "mp4",
            &format!(
                "location ^~ /download/ {{\n xspace_download /downloads/; #!\n mp4; #!\n}}
                 {TARGET}"
            ),
            "a content handler has no effect in location \"/download/\" because of \"xspace_download\"",
        );
    }
}

#[test]
fn usual_configurations_are_accepted_without_a_warning() {
    let download = "location ^~ /download/ { xspace_download /downloads/; }\n";
    for (what, server) in [
        ("smallest", format!("{download}{TARGET}")),
        ("root", format!("{download} location ^~ /downloads/ {{ internal; root {{dir}}; }}")),
        (
            "the server's root",
            format!("root {{dir}}; {download} location ^~ /downloads/ {{ internal; }}")
                .replace("root {dir};", ""),
        ),
        (
            "a shorter target location",
            "location ^~ /download/ { xspace_download /files/downloads/; }
             location ^~ /files/ { internal; alias {dir}/; }"
                .to_owned(),
        ),
        (
            "a nested target location",
            "location ^~ /download/ { xspace_download /files/downloads/; }
             location ^~ /files/ {
                 internal;
                 location ^~ /files/downloads/ { internal; alias {dir}/downloads/; }
             }"
            .to_owned(),
        ),
        (
            "a regex nested in the target",
            format!(
                "{download} location ^~ /downloads/ {{
                     internal; alias {{dir}}/downloads/;
                     location ~ \\.mp4$ {{ limit_rate 1m; }}
                 }}"
            ),
        ),
        (
            "a regex that ^~ keeps away",
            format!("{download}{TARGET} location ~* \\.(mp3|css)$ {{ expires 30d; }}"),
        ),
        (
            "a regex that takes nothing of ours",
            "location /download/ { xspace_download /downloads/; }
             location /downloads/ { internal; alias {dir}/downloads/; }
             location ~ \\.(css|flac)$ { expires 30d; }"
                .to_owned(),
        ),
        (
            "regex location",
            format!(
                "location ~ ^/spaces/(?<sid>[^/]+)/download$ {{
                     xspace_download /downloads/; xspace_id $sid;
                 }}\n{TARGET}"
            ),
        ),
        (
            "two locations, one target",
            format!(
                "{download} location ^~ /audio/ {{
                     xspace_download /downloads/; xspace_formats mp3 m4a;
                 }}\n{TARGET}"
            ),
        ),
        (
            "blocks in the location",
            format!(
                "location ^~ /download/ {{
                     xspace_download /downloads/;
                     if ($arg_attachment) {{ set $x 1; }}
                     limit_except GET {{ deny all; }}
                 }}\n{TARGET}"
            ),
        ),
        ("off", "location ^~ /download/ { xspace_download off; }".to_owned()),
        (
            "all directives in the server",
            format!(
                "xspace_format $arg_f; xspace_attachment $arg_dl; xspace_formats mp3 wav;
                 xspace_min_size 1m; xspace_directory {{dir}}/downloads;
                 xspace_filename $arg_name;\n{download}{TARGET}"
            ),
        ),
        ("try_files of the server", format!("try_files $uri =404;\n{download}{TARGET}")),
    ] {
        if what == "the server's root" {
            // {dir}/html/downloads has to exist.
            let site = Site::new().server(&server);
            site.make_dir("html/downloads");
            fine_site(what, site);
        } else {
            fine(what, &server);
        }
    }
}

#[test]
fn directives_are_accepted_in_http() {
    let site = Site::simple().http(
        "xspace_format $arg_f; xspace_attachment $arg_dl; xspace_formats mp3 wav;
         xspace_min_size 1m; xspace_directory {dir}/downloads; xspace_filename $arg_name;",
    );
    fine_site("http", site);
}

#[test]
fn location_inside_the_target_must_not_lead_back() {
    error(
        "a nested location with the module on",
        "location ^~ /download/ {\n xspace_download /downloads/; #!\n}
         location ^~ /downloads/ {
             internal;
             alias {dir}/downloads/;
             location ~ ^/downloads/(?<sid>[^/]+)\\.mp3$ {\n xspace_download /downloads/; #!
                 xspace_id $sid;
             }
         }",
        "\"/downloads/x.mp3\", a file of target \"/downloads/\", would be handled by location \"…\", \
         which has \"xspace_download\" itself",
    );
}

#[test]
fn longer_sibling_of_the_target_belongs_to_it() {
    for sibling in ["^~ /d/x", "/d/x.", "= /d/x.wav"] {
        let site = Site::new().server(&format!(
            "location ^~ /download/ {{ xspace_download /d/; xspace_formats wav; }}
             location ^~ /d/ {{ internal; alias {{dir}}/downloads/; }}
             location {sibling} {{ internal; root {{dir}}; }}"
        ));
        site.make_dir("d");
        fine_site(sibling, site);
    }
    warning(
        "open",
        "location ^~ /download/ {\n xspace_download /d/; xspace_formats wav; #!\n}
         location ^~ /d/ { internal; alias {dir}/downloads/; }
         location ^~ /d/x { root {dir}; }",
        "target location \"/d/x\" of \"xspace_download\" is not \"internal\"",
    );
}

#[test]
fn alias_inherited_by_a_nested_target_is_looked_at_as_nginx_does() {
    let nested = |name: &str| {
        format!(
            "location ^~ /download/ {{\n xspace_download /downloads/{name}/; #!\n}}
             location /downloads/ {{
                 internal;
                 alias {{dir}}/;
                 location ^~ /downloads/down {{ }}
                 location ^~ /downloads/miss {{ }}
             }}"
        )
    };
    fine("a directory that is there", &nested("downloads"));
    warning(
        "one that is not",
        &nested("missing"),
        "opendir() \"{dir}/missing/\" failed (2: …) for target \"/downloads/missing/\"",
    );
}

#[test]
fn root_of_the_server_will_do_for_mp4() {
    if build().require("http_mp4") {
        let site = Site::new().server(
            "location ^~ /download/ { xspace_download /downloads/; }
             location ^~ /downloads/ { internal; mp4; }",
        );
        site.make_dir("html/downloads");
        fine_site("mp4 serves from the server's root", site);
    }
}

#[test]
fn content_handler_in_a_block_is_warned_of() {
    for block in ["if ($arg_x) {", "limit_except GET {"] {
        warning(
            block,
            &format!(
                "location ^~ /download/ {{\n xspace_download /downloads/; #!
                     {block} proxy_pass http://127.0.0.1:9; }}
                 }}
                 {TARGET}"
            ),
            "a content handler has no effect in location \"/download/\" because of \"xspace_download\"",
        );
    }
}

/// Locations that belong to the target, beside [`TARGET`] or in it, with what is in them.
fn parts(more: &str) -> [(&'static str, String); 5] {
    let beside = |location: &str| format!("{TARGET} location {location} {{ {more} }}");
    let within = |location: &str| {
        format!(
            "location ^~ /downloads/ {{
                 internal; alias {{dir}}/downloads/; location {location} {{ {more} }}
             }}"
        )
    };
    [
        ("/downloads/p-", beside("^~ /downloads/p-")),
        ("/downloads/vip/", beside("/downloads/vip/")),
        ("/downloads/vip/a.MP3", beside("= /downloads/vip/a.MP3")),
        ("/downloads/2025/", within("/downloads/2025/")),
        ("^/downloads/video/", within("~ ^/downloads/video/")),
    ]
}

/// The target's locations beside a location with the module on, and with these directives there.
fn with_parts(download: &str, parts: &str) -> String {
    format!("location ^~ /download/ {{\n xspace_download /downloads/; #!\n {download} }}\n{parts}")
}

/// How many warnings `nginx -t` gives.
fn warnings(server: &str) -> usize {
    Site::new().server(server).check().output.matches("[warn]").count()
}

#[test]
fn each_part_of_the_target_has_to_be_internal() {
    for (name, server) in parts("alias {dir}/downloads/$uri;").into_iter().take(3) {
        let server = with_parts("", &server);
        warning(
            name,
            &server,
            &format!("target location \"{name}\" of \"xspace_download\" is not \"internal\""),
        );
        assert_eq!(warnings(&server), 1, "{name}");
        fine(name, &server.replace("alias {dir}/downloads/$uri", "internal; alias {dir}/x/$uri"));
    }
    // One `internal` is enough for what is nested.
    for (name, server) in parts("limit_rate 1m;").into_iter().skip(3) {
        fine(name, &with_parts("", &server));
        let open = with_parts("", &server.replace("internal;", ""));
        warning(name, &open, "target location \"/downloads/\" of \"xspace_download\" is not");
        assert_eq!(warnings(&open), 1, "{name}");
    }
    // What is open although the location around it answers nobody.
    let server = "location ^~ /downloads/ {
                      return 404;
                      location ^~ /downloads/a/ { alias {dir}/downloads/; }
                  }";
    warning("nested", &with_parts("", server), "target location \"/downloads/a/\" of");
    assert_eq!(warnings(&with_parts("", server)), 1);
}

#[test]
fn open_location_that_serves_no_file_of_the_target_is_not_warned_of() {
    for open in [
        "location / { root {dir}; }",
        "location ^~ /down { root {dir}; }",
        "location = /downloads { return 404; }",
        "location = /downloads/ { root {dir}; autoindex on; }",
        "location = /downloads/about.html { root {dir}; }",
        "location ~ ^/downloads/.*\\.html$ { root {dir}; }",
        "location /downloads/tmp/ { return 404; }",
        "location /downloads/more/ { xspace_download /more/; }
         location /more/ { internal; alias {dir}/downloads/; }",
    ] {
        let server = with_parts("", &format!("{TARGET}{open}"));
        assert_eq!(warnings(&server), 0, "{open}");
        fine(open, &server);
    }
    // A location around that of the target.
    fine(
        "around",
        &with_parts(
            "",
            "location / {
                 root {dir};
                 location ^~ /downloads/ { internal; location ~ \\.mp4$ { limit_rate 1m; } }
                 location ~ \\.html$ { expires 1h; }
             }",
        ),
    );
}

/// The server's log, and what is in the target.
fn logged(server: &str, target: &str) -> Site {
    Site::new().http("access_log {dir}/http.log;").server(&format!(
        "{server}
         location ^~ /download/ {{\nxspace_download /downloads/; #!\n}}
         location ^~ /downloads/ {{ internal; alias {{dir}}/downloads/; {target} }}"
    ))
}

#[test]
fn log_of_the_target_has_all_requests_or_that_of_the_server_has() {
    const PLAYS: &str = "access_log {dir}/plays.log combined if=$xspace_counted;";
    for (server, target, file) in [
        ("", PLAYS, "http.log"),
        ("access_log {dir}/server.log;", PLAYS, "server.log"),
        (
            "access_log {dir}/some.log combined if=$arg_a; access_log {dir}/all.log;",
            PLAYS,
            "all.log",
        ),
        ("access_log {dir}/always.log combined if=1;", PLAYS, "always.log"),
        (
            "",
            "access_log {dir}/a.log combined if=$arg_a; access_log {dir}/b.log combined if=0;",
            "http.log",
        ),
        ("", "access_log syslog:server=127.0.0.1 combined if=$xspace_counted;", "http.log"),
        ("", &format!("limit_rate 1m; {PLAYS} location ~ mp4 {{ expires 1h; }}"), "http.log"),
    ] {
        let message = format!(
            "target location \"/downloads/\" replaces \"access_log\" \"{{dir}}/{file}\" of the server \
             by others that all have \"if=\""
        );
        expect_site("warn", target, logged(server, target), &message);
        let output = logged(server, target).check().output;
        assert_eq!(output.matches("[warn]").count(), 1, "{output}");
    }
    for (server, target) in [
        ("", ""),
        ("", "access_log off;"),
        ("", "access_log {dir}/recordings.log;"),
        ("", &format!("access_log {{dir}}/http.log; {PLAYS}")),
        ("", "access_log {dir}/http.log combined if=$xspace_counted;"),
        ("", &format!("access_log {{dir}}/http.log combined if=0; {PLAYS}")),
        ("", &format!("access_log {{dir}}/all.log combined if=1; {PLAYS}")),
        ("access_log off;", PLAYS),
        ("access_log {dir}/x.log; access_log off;", PLAYS),
        ("access_log /dev/null;", PLAYS),
        ("access_log {dir}/some.log combined if=$arg_a;", PLAYS),
        // The names are not known yet.
        ("access_log {dir}/$host.log;", PLAYS),
        ("", "access_log {dir}/$host.log combined if=$xspace_counted;"),
    ] {
        let mut site = logged(server, target);
        let checked = site.check();
        assert!(checked.ok && !checked.output.contains("[warn]"), "{target}: {}", checked.output);
    }
}

#[test]
fn target_does_not_take_the_files_of_a_public_location() {
    const DOWNLOAD: &str = "location ^~ /download/ {\nxspace_download /downloads/; #!\n}
                            location ^~ /downloads/ { internal; alias {dir}/html/; }";
    const MESSAGE: &str =
        "target location \"/downloads/\" takes all files of public location \"/downloads\"";
    for public in [
        "location /downloads { alias {dir}/downloads; }",
        "location ^~ /downloads { root {dir}; autoindex on; }",
        "location /downloads { alias {dir}/downloads; location ~ mp4 { expires 1h; } }",
    ] {
        warning(public, &format!("{DOWNLOAD}\n{public}"), MESSAGE);
        assert_eq!(warnings(&format!("{DOWNLOAD}\n{public}").replace("#!", "")), 1, "{public}");
    }
    for public in [
        "location / { root {dir}; }",
        // A page with this address.
        "location = /downloads { alias {dir}/downloads; }",
        "location /downloads { proxy_pass http://127.0.0.1:{other}; }",
        "location /downloads { return 301 /page; }",
        "location /downloads { alias {dir}/downloads; if ($arg_a) { return 403; } }",
        "location /downloads { alias {dir}/downloads; try_files $uri /page; }",
        "location /downloads { alias {dir}/html/page.html; }",
        "location /downloads { add_header X-Own yes; }",
        "location /downloads { internal; alias {dir}/downloads; }",
        "location /download { alias {dir}/downloads; }",
        "location /downloads-of-others { alias {dir}/downloads; }",
    ] {
        fine(public, &format!("{DOWNLOAD}\n{public}").replace("#!", ""));
    }
}

#[test]
fn alias_of_each_part_is_compared_with_its_own_location() {
    for (name, more) in [
        ("/downloads/p-", "internal; alias {dir}/downloads/;"),
        ("/downloads/vip/", "internal; alias {dir}/downloads;"),
        ("/downloads/2025/", "internal; alias {dir}/downloads;"),
    ] {
        let part = parts(more).into_iter().find(|part| part.0 == name).expect("a part");
        let server = with_parts("", &part.1);
        warning(
            name,
            &server,
            &format!("\"alias\" and target location \"{name}\" differ in their trailing slash"),
        );
        assert_eq!(warnings(&server), 1, "{name}");
    }
    // What is nested has the same `alias`, and is not named once more.
    let server = "location ^~ /downloads/ {
                      internal; alias {dir}/downloads; location /downloads/2025/ { expires 1h; }
                  }";
    assert_eq!(warnings(&with_parts("", server)), 1);
}

#[test]
fn directory_of_each_part_has_to_be_readable() {
    for (index, alias, directory) in [
        (0, "alias {dir}/none/p-", "{dir}/none/"),
        (0, "root {dir}/none", "{dir}/none/downloads/"),
        (1, "alias {dir}/none/", "{dir}/none/"),
        (2, "alias {dir}/none/a.MP3", "{dir}/none/"),
        (3, "alias {dir}/none/", "{dir}/none/"),
        (4, "root {dir}/none", "{dir}/none/downloads/"),
    ] {
        let (name, server) = &parts(&format!("internal; {alias};"))[index];
        let server_text = with_parts("", server);
        warning(
            name,
            &server_text,
            &format!("opendir() \"{directory}\" failed (2: …) for target location \"{name}\""),
        );
        assert_eq!(warnings(&server_text), 1, "{name}");
        fine(name, &with_parts("xspace_directory {dir}/downloads;", server));
    }
    for (name, server) in parts("internal; proxy_pass http://127.0.0.1:9;") {
        // The regex location inherits a directory that is there.
        if name == "^/downloads/video/" {
            fine(name, &with_parts("", &server));
            continue;
        }
        warning(
            name,
            &with_parts("", &server),
            &format!(
                "target location \"{name}\" has a content handler and no directory of its own, \
                 \"xspace_directory\" is missing"
            ),
        );
        assert_eq!(warnings(&with_parts("", &server)), 1, "{name}");
        fine(name, &with_parts("xspace_directory {dir}/downloads;", &server));
    }
}

#[test]
fn directory_of_a_part_that_will_do_is_not_warned_of() {
    for (name, server) in parts("internal; alias {dir}/downloads/$uri;") {
        fine(name, &with_parts("", &server));
    }
    for (what, server) in [
        (
            "the beginning of files' names",
            "location ^~ /downloads/p- { internal; alias {dir}/downloads/p-; }",
        ),
        (
            "the same directory once more",
            "location /downloads/vip/ { internal; alias {dir}/downloads/; }",
        ),
        ("answers nobody", "location /downloads/tmp/ { internal; return 404; }"),
        ("has the module on", "location ^~ /downloads/x/ { xspace_download /downloads/; }"),
    ] {
        fine(what, &with_parts("", &format!("{TARGET}{server}")));
    }
    // No file is in the directory yet that the nested location's files would be in.
    let nested = "location ^~ /downloads/ {
                      internal; alias {dir}/downloads/; location /downloads/2025/ { expires 1h; }
                  }";
    fine("inherits", &with_parts("", nested));
    // One directory that is missing is one warning.
    for nested in ["~ \\.mp4$ { expires 1h; }", "~ \\.mp4$ { proxy_pass http://127.0.0.1:9; }"] {
        let server = format!(
            "location ^~ /downloads/ {{ internal; alias {{dir}}/none/; location {nested} }}"
        );
        assert_eq!(warnings(&with_parts("", &server)), 1, "{nested}");
    }
}

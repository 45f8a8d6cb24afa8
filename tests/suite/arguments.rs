//! Who gets the query string of the client after the redirect.

use xspace_tests::{Request, Site, build};

use crate::common::{FILE, PATH, recording};
use crate::config::{error, fine_site, warning};

/// What a client could ask an object store with.
const QUERY: &str = "acl&versionId=3&token=SECRET";

/// The origin: it says in a field which URI it was asked for.
const ORIGIN: &str = "server {
    listen 127.0.0.1:{other};
    location / {
        alias {dir}/downloads/;
        add_header X-Asked $request_uri always;
    }
}";

/// A site whose target and what belongs to it are given.
fn site(download: &str, target: &str) -> Site {
    Site::with_download(download).server(target).http(ORIGIN).file(FILE, recording())
}

/// The URI that the origin was asked for.
fn asked(site: Site, query: &str) -> String {
    let nginx = site.start();
    let mut seen = Vec::new();
    for protocol in nginx.protocols() {
        for method in ["GET", "HEAD"] {
            let path = if query.is_empty() { PATH.to_owned() } else { format!("{PATH}?{query}") };
            let response = nginx.send(protocol, &Request::new(method, &path));
            seen.push(response.header("x-asked").unwrap_or("not asked").to_owned());
        }
    }
    seen.dedup();
    assert_eq!(seen.len(), 1, "{seen:?}");
    seen.remove(0)
}

/// Rows of what differs, the directives in `/download/` and the locations that follow.
fn origins() -> Vec<(&'static str, &'static str, String)> {
    let proxied = |more: &str| format!("location ^~ /downloads/ {{ internal; {more} }}");
    let elsewhere = "xspace_directory {dir}/downloads;";
    vec![
        ("proxied target", elsewhere, proxied("proxy_pass http://127.0.0.1:{other}/;")),
        (
            "nobody looks at the disk",
            "xspace_catalog {dir}/catalog.json; xspace_directory off;",
            proxied("proxy_pass http://127.0.0.1:{other}/;"),
        ),
        (
            "no URI in proxy_pass",
            elsewhere,
            proxied("rewrite ^/downloads(.*) $1 break; proxy_pass http://127.0.0.1:{other};"),
        ),
        (
            "variables in proxy_pass",
            elsewhere,
            proxied("proxy_pass http://127.0.0.1:{other}/$xspace_file$is_args$args;"),
        ),
        (
            "an if in the target",
            elsewhere,
            proxied(
                "alias {dir}/downloads/;
                 if ($request_method) {
                     rewrite ^/downloads(.*) $1 break; proxy_pass http://127.0.0.1:{other};
                 }",
            ),
        ),
        (
            "the target's error_page",
            elsewhere,
            proxied("alias {dir}/html/; error_page 404 = @origin; log_not_found off;")
                + "location @origin {
                       rewrite ^/downloads(.*) $1 break; proxy_pass http://127.0.0.1:{other};
                   }",
        ),
        (
            "the target's try_files",
            elsewhere,
            proxied("root {dir}/html; try_files $uri @origin;")
                + "location @origin {
                       rewrite ^/downloads(.*) $1 break; proxy_pass http://127.0.0.1:{other};
                   }",
        ),
    ]
}

#[test]
fn origin_does_not_get_them() {
    for (what, download, locations) in origins() {
        let site = site(download, &locations)
            .file("catalog.json", r#"{"1lDxLnrWjwkGm": "1lDxLnrWjwkGm.mp3"}"#);
        assert_eq!(asked(site, QUERY), "/1lDxLnrWjwkGm.mp3", "{what}");
    }
}

#[test]
fn origin_gets_them_with_xspace_pass_args() {
    for (what, download, locations) in origins() {
        let download = format!("{download} xspace_pass_args on;");
        let site = site(&download, &locations)
            .file("catalog.json", r#"{"1lDxLnrWjwkGm": "1lDxLnrWjwkGm.mp3"}"#);
        assert_eq!(asked(site, QUERY), format!("/1lDxLnrWjwkGm.mp3?{QUERY}"), "{what}");
    }
    // From further out, and taken back.
    let proxied = "location ^~ /downloads/ { internal; proxy_pass http://127.0.0.1:{other}/; }";
    for (outer, own, expected) in [
        ("xspace_pass_args ON;", "", "/1lDxLnrWjwkGm.mp3?x=1"),
        ("xspace_pass_args on;", "xspace_pass_args off;", "/1lDxLnrWjwkGm.mp3"),
        ("xspace_pass_args on;", "if ($arg_x) { limit_rate 10m; }", "/1lDxLnrWjwkGm.mp3?x=1"),
    ] {
        let site = site(&format!("xspace_directory {{dir}}/downloads; {own}"), proxied).http(outer);
        assert_eq!(asked(site, "x=1"), expected, "{outer} {own}");
    }
}

#[test]
fn x_accel_redirect_does_not_pass_them_either() {
    let site = Site::new()
        .server(
            "location /download/ { proxy_pass http://127.0.0.1:{other}/accel/; }
             location ^~ /downloads/ { internal; proxy_pass http://127.0.0.1:{other}/; }",
        )
        .http(&ORIGIN.replace(
            "location / {",
            "location /accel/ { add_header X-Accel-Redirect /downloads/1lDxLnrWjwkGm.mp3; return 200; }
             location / {",
        ))
        .file(FILE, recording());
    assert_eq!(asked(site, QUERY), "/1lDxLnrWjwkGm.mp3");
}

#[test]
fn arguments_of_the_configuration_stay() {
    let client = "versionId=7&acl";
    let rows = [
        (
            "rewrite in the target",
            "rewrite ^/downloads(.*) $1?versionId=7 break; proxy_pass http://127.0.0.1:{other};",
            "/1lDxLnrWjwkGm.mp3?versionId=7",
        ),
        (
            "set in the target",
            "set $args sig=$xspace_id&versionId=7; rewrite ^/downloads(.*) $1 break;
             proxy_pass http://127.0.0.1:{other};",
            "/1lDxLnrWjwkGm.mp3?sig=1lDxLnrWjwkGm&versionId=7",
        ),
        (
            "another location by rewrite",
            "rewrite ^/downloads(.*) /store$1?versionId=7 last; proxy_pass http://127.0.0.1:1;",
            "/1lDxLnrWjwkGm.mp3?versionId=7",
        ),
        (
            "an error page",
            "alias {dir}/html/; error_page 404 /store/error?code=404; log_not_found off;",
            "/error?code=404",
        ),
        (
            "an if with a rewrite, behind which nginx puts the client's",
            "alias {dir}/downloads/;
             if ($request_method) {
                 rewrite ^/downloads(.*) $1?own=1 break; proxy_pass http://127.0.0.1:{other};
             }",
            "/1lDxLnrWjwkGm.mp3?own=1",
        ),
    ];
    for (what, target, expected) in rows {
        for query in [client, "", "versionId=7", "own=1"] {
            let site = site(
                "xspace_directory {dir}/downloads;",
                &format!(
                    "location ^~ /downloads/ {{ internal; {target} }}
                     location ^~ /store/ {{ internal; proxy_pass http://127.0.0.1:{{other}}/; }}"
                ),
            );
            assert_eq!(asked(site, query), expected, "{what} {query}");
        }
    }
}

#[test]
fn subrequests_do_not_pass_them_either() {
    for handler in ["", "xspace_pass_args on;"] {
        let nginx = Site::with_download(&format!("xspace_directory {{dir}}/downloads; {handler}"))
            .server(
                "location ^~ /downloads/ { internal; proxy_pass http://127.0.0.1:{other}/; }
             location /mirrored/ { mirror /download/1lDxLnrWjwkGm; root {dir}/html; }",
            )
            .file(FILE, recording())
            .http("log_format asked '$request_uri';")
            .http("access_log {dir}/access.log;")
            .http(&ORIGIN.replace("alias", "access_log {dir}/asked.log asked; alias"))
            .file("html/mirrored/page.txt", "page")
            .start();
        assert_eq!(nginx.get(&format!("/mirrored/page.txt?{QUERY}")).text(), "page");
        let asked = nginx.log_lines("asked.log", 1);
        let args = if handler.is_empty() { String::new() } else { format!("?{QUERY}") };
        assert_eq!(asked, [format!("/1lDxLnrWjwkGm.mp3{args}")], "{handler}");
    }
}

#[test]
fn files_of_the_target_keep_them() {
    let log = "log_format args '$xspace_disposition $args $arg_x';";
    let access_log = "access_log {dir}/args.log args;";
    let handlers = [("http_mp4", "mp4;"), ("http_flv", "flv;")];
    let built_in = handlers.iter().filter(|(feature, _)| build().has(feature)).map(|row| row.1);
    for target in ["", "if ($arg_x) { limit_rate 10m; }"].into_iter().chain(built_in) {
        let nginx = Site::with_directives("", &format!("{access_log} {target}"))
            .http(log)
            .file(FILE, recording())
            .start();
        assert_eq!(nginx.get(&format!("{PATH}?attachment=1&x=2")).status, 200);
        assert_eq!(nginx.log_lines("args.log", 1), ["attachment attachment=1&x=2 2"], "{target}");
    }
}

#[test]
fn module_reads_them_before_they_are_gone() {
    let nginx = site(
        "xspace_directory {dir}/downloads;",
        "location ^~ /downloads/ {
             internal; proxy_pass http://127.0.0.1:{other}/;
             access_log {dir}/args.log args;
         }",
    )
    .http("log_format args '$xspace_disposition $xspace_format [$args] $request_uri';")
    .start();
    let path = format!("{PATH}?attachment=1&format=audio");
    let response = nginx.get(&path);
    let disposition = response.header("content-disposition").unwrap_or_default();
    assert!(disposition.starts_with("attachment;"), "{response:?}");
    assert_eq!(nginx.log_lines("args.log", 1), [format!("attachment mp3 [-] {path}")]);
}

#[test]
fn application_that_a_miss_is_left_to_gets_them() {
    let nginx = Site::with_directives("error_page 404 = @app;", "log_not_found off;")
        .server("location @app { proxy_pass http://127.0.0.1:{other}; }")
        .http(ORIGIN)
        .start();
    let path = "/download/1ZkKzXbYyLmGv?attachment=1";
    assert_eq!(nginx.get(path).header("x-asked"), Some(path));
}

#[test]
fn directive() {
    let with = |directive: &str| {
        format!(
            "location ^~ /download/ {{ xspace_download /downloads/; {directive} }}
             location ^~ /downloads/ {{ internal; alias {{dir}}/downloads/; }}"
        )
    };
    error(
        "neither",
        &with("xspace_pass_args yes; #!"),
        "invalid value \"yes\" in \"xspace_pass_args\" directive, it must be \"on\" or \"off\" in",
    );
    error("twice", &with("xspace_pass_args on; xspace_pass_args on; #!"), "is duplicate");
}

#[test]
fn nginx_t_warns_where_they_are_wanted() {
    let proxied = |download: &str, more: &str| {
        format!(
            "location ^~ /download/ {{ xspace_download /downloads/; #!
                 xspace_directory {{dir}}/downloads; {download} }}
             location ^~ /downloads/ {{ internal; proxy_pass http://127.0.0.1:{{port}}/; {more} }}"
        )
    };
    for (variable, more) in
        [("args", "add_header X-A $args;"), ("arg_start", "limit_rate $arg_start;")]
    {
        warning(
            more,
            &proxied("", more),
            &format!(
                "\"${variable}\" is empty in target location \"/downloads/\" without \
                 \"xspace_pass_args on\" in"
            ),
        );
        for said in ["on", "off"] {
            let site = Site::new().server(&proxied(&format!("xspace_pass_args {said};"), more));
            fine_site(said, site);
        }
    }
    fine_site("not wanted", Site::new().server(&proxied("", "")));
    let open = "location ^~ /download/ { xspace_download /downloads/; }
                location ^~ /downloads/ { internal; alias {dir}/downloads/; add_header X-A $args; }";
    fine_site("nginx serves the file", Site::new().server(open));
}

#[test]
fn nginx_t_warns_of_each_part_of_the_target() {
    let target = "internal; alias {dir}/downloads/;";
    let proxied = "internal; proxy_pass http://127.0.0.1:{port}; limit_rate $arg_r;";
    let beside = |location: &str| {
        format!("location ^~ /downloads/ {{ {target} }} location {location} {{ {proxied} }}")
    };
    let within = |location: &str| {
        format!("location ^~ /downloads/ {{ {target} location {location} {{ {proxied} }} }}")
    };
    for (name, parts) in [
        ("/downloads/s3/", beside("/downloads/s3/")),
        ("/downloads/s3-", beside("^~ /downloads/s3-")),
        ("/downloads/s3/a.mp3", beside("= /downloads/s3/a.mp3")),
        ("/downloads/s3/", within("/downloads/s3/")),
        ("^/downloads/s3/", within("~ ^/downloads/s3/")),
    ] {
        let with = |download: &str| {
            format!(
                "location ^~ /download/ {{ xspace_download /downloads/; #!
                     xspace_directory {{dir}}/downloads; {download} }}
                 {parts}"
            )
        };
        let message = format!("\"$arg_r\" is empty in target location \"{name}\" without");
        warning(&parts, &with(""), &message);
        for said in ["on", "off"] {
            fine_site(&parts, Site::new().server(&with(&format!("xspace_pass_args {said};"))));
        }
    }
    // These serve no file of the target.
    for location in ["= /downloads/s3/list.html", "/down"] {
        let server = format!(
            "location ^~ /download/ {{ xspace_download /downloads/; }} {}",
            beside(location)
        );
        fine_site(location, Site::new().server(&server));
    }
}

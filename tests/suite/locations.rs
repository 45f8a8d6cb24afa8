//! Which location a file is served from, by comparison with X-Accel-Redirect to the same URI.

use std::collections::HashMap;
use std::fmt::Write as _;

use xspace_tests::{Preload, Protocol, Random, Request, Response, Site, build};

/// The directories that locations take files from.
const DIRECTORIES: [&str; 5] = ["d0", "d1", "d2", "d3", "d4"];

/// Files below the target that are asked for. Those without a slash have an id besides.
const FILES: [&str; 12] = [
    "a.mp3",
    "a.mp4",
    "b.mp3",
    "p-1.mp3",
    "p-1.mp4",
    "p-b.mp4",
    "vip/a.mp3",
    "vip/p-1.mp4",
    "vip/in/a.mp3",
    "vip/in/b.mp4",
    "other/a.mp3",
    "other/vip/b.mp3",
];

const IDS: [&str; 5] = ["a", "b", "p-1", "p-b", "none"];

/// The formats of the sites, the preferred one first.
const FORMATS: [&str; 2] = ["mp3", "mp4"];

/// A server with a tree of locations.
struct Tree {
    text: String,
    /// For each location whether it serves files of the target.
    is_part: Vec<bool>,
}

/// What a location is selected by.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Prefix,
    Exact,
    Regex,
}

/// What `$xspace_outcome` was, after the redirect or without one.
const LOG: &str = "log_format outcome '$status $xspace_outcome';
                   access_log {dir}/access.log outcome;";

/// A site whose files below `private/` are in another location than those of the target, with a
/// secret there.
fn with_secret(download: &str, locations: &str) -> Site {
    Site::new()
        .http(LOG)
        .server(&format!(
            "location ^~ /download/ {{ xspace_download /downloads/; {download} }}
             {locations}
             location = /catalog-of-lookup {{
                 internal; return 200 '{{\"files\":[\"private/x.mp3\"]}}';
             }}"
        ))
        .file(
            "catalog.json",
            r#"{"x": "private/x.mp3", "y": {"files": ["ok.mp3", "private/x.mp3"]}, "ok": "ok.mp3"}"#,
        )
        .file("downloads/ok.mp3", "fine")
        .file("downloads/private/x.mp3", "never asked for")
        .file("secret/downloads/private/x.mp3", "SECRET")
}

#[test]
fn named_file_is_never_served_from_outside_of_the_target() {
    let target = "location /downloads/ { internal; alias {dir}/downloads/; }";
    let all = [
        ("any directory", format!("{target} location ~ /private/ {{ root {{dir}}/secret; }}")),
        ("one", format!("{target} location ~ ^/downloads/pri {{ root {{dir}}/secret; }}")),
        (
            "nested in a location around the target",
            format!("location / {{ {target} location ~ /private/ {{ root {{dir}}/secret; }} }}"),
        ),
        (
            "another location with the module",
            format!(
                "{target} location ~ /private/(?<id>.*)\\.mp3 {{
                     xspace_download /secret/; xspace_id $id; xspace_catalog off;
                     xspace_lookup off; xspace_directory {{dir}}/secret/downloads/private;
                 }}
                 location ^~ /secret/ {{ internal; alias {{dir}}/secret/downloads/private/; }}"
            ),
        ),
    ];
    let catalog = "xspace_catalog {dir}/catalog.json;";
    let lookup = "xspace_lookup /catalog-of-lookup;";
    for (what, locations) in &all {
        for directory in ["", "xspace_directory off;", "xspace_directory {dir}/secret/downloads;"] {
            for (source, status) in [(catalog, 500), (lookup, 502)] {
                let what = format!("{what}, {source} {directory}");
                let nginx = with_secret(&format!("{source} {directory}"), locations).start();
                let response = nginx.get("/download/x");
                assert_eq!(response.status, status, "{what}");
                assert!(!response.text().contains("SECRET"), "{what}");
                nginx.wait_error(&[
                    "[error]",
                    "file \"private/x.mp3\" of space \"x\" is in location \"",
                    "which is not part of target \"/downloads/\"",
                ]);
                let outcome = format!("{status} error");
                assert_eq!(nginx.log_lines("access.log", 1), [outcome], "{what}");
            }
        }
        let nginx = with_secret(catalog, locations).start();
        assert_eq!(nginx.get("/download/ok").text(), "fine", "{what}");
        // The first one is there, so the second one is not asked for.
        assert_eq!(nginx.get("/download/y").text(), "fine", "{what}");
    }
}

#[test]
fn search_by_id_passes_over_what_is_outside_of_the_target() {
    let nginx = Site::new()
        .server(
            "location ^~ /download/ { xspace_download /downloads/; }
             location /downloads/ { internal; alias {dir}/downloads/; }
             location ~ /p-.*\\.mp3$ { root {dir}/secret; }",
        )
        .file("secret/downloads/p-1.mp3", "SECRET")
        .file("secret/downloads/p-2.mp3", "SECRET")
        .file("downloads/p-1.mp3", "never asked for")
        .file("downloads/p-2.wav", "a wav")
        .start();
    assert_eq!(nginx.get("/download/p-1").status, 404);
    nginx.wait_error(&[
        "no file for space \"p-1\": \"/downloads/p-1.mp3\" is in location \"/p-",
        "which is not part of target \"/downloads/\"",
    ]);
    assert_eq!(nginx.get("/download/p-2").text(), "a wav");
}

#[test]
fn location_with_the_module_is_not_part_of_a_target() {
    let nginx = Site::with_download("xspace_catalog {dir}/catalog.json;")
        .server(
            "location ^~ /downloads/ {
                 internal; alias {dir}/downloads/;
                 location ^~ /downloads/again/ { xspace_download /others/; }
             }
             location ^~ /others/ { internal; alias {dir}/others/; }",
        )
        .file("catalog.json", r#"{"a": "again/a.mp3"}"#)
        .file("others/a.mp3", "not this way")
        .start();
    assert_eq!(nginx.get("/download/a").status, 500);
    nginx.wait_error(&["is in location \"/downloads/again/\", which is not part of target"]);
}

#[test]
fn locations_that_belong_to_the_target() {
    for (what, locations) in [
        ("a longer name", "location ^~ /downloads/p- { internal; alias {dir}/premium/p-; }"),
        (
            "a longer name that regular expressions can't replace",
            "location = /downloads/p-1.mp3 { internal; alias {dir}/premium/p-1.mp3; }
             location ~ \\.ogg$ { root {dir}; }",
        ),
        (
            "an exact location beside the target",
            "location = /downloads/ { internal; }
             location ^~ /downloads/p- { internal; alias {dir}/premium/p-; }",
        ),
    ] {
        let nginx = Site::with_directives("", "").server(locations);
        let nginx = nginx.file("premium/p-1.mp3", "premium").start();
        assert_eq!(nginx.get("/download/p-1").text(), "premium", "{what}");
    }
    for (what, nested) in [
        ("nested", "location /downloads/p { alias {dir}/premium/p; }"),
        ("a regex", "location ~ /(p-1.*)$ { alias {dir}/premium/$1; }"),
        ("a name", "location ~ /(?<name>p-[0-9]*)\\. { alias {dir}/premium/$name.mp3; }"),
        (
            "in each other",
            "location ~ /(p)- { location ~ -(1)\\.(.*)$ { alias {dir}/premium/p-$1.$2; } }",
        ),
    ] {
        let nginx = Site::with_directives("", nested);
        let nginx = nginx.file("premium/p-1.mp3", "premium").start();
        assert_eq!(nginx.get("/download/p-1").text(), "premium", "{what}");
    }
}

#[test]
fn captures_and_values_are_as_before_after_a_miss() {
    // The look runs regular expressions and evaluates variables that the error page names. A
    // subrequest shares the captures with its parent.
    for lookup in ["", "xspace_lookup /nothing;"] {
        let nginx = Site::new()
            .http(
                "map $uri $kind { ~^/page/ page; default other; }
                 log_format kind $kind; access_log {dir}/access.log kind;",
            )
            .server(&format!(
                "location ~ ^/get/(?<part>[^/]+)/(?<space>[^/]+)$ {{
                     xspace_download /downloads/; xspace_id $space; {lookup}
                     error_page 404 /page/$1/$2/$part;
                 }}
                 location ^~ /page/ {{ return 200 $uri; }}
                 location = /nothing {{ internal; return 204; }}
                 location ^~ /downloads/ {{
                     internal; root {{dir}};
                     location ~ /(?<part>[a-z])[^/]*\\. {{ alias {{dir}}/$kind/$1/$part.mp3; }}
                 }}"
            ))
            .start();
        let page = nginx.get("/get/one/two");
        assert_eq!(page.text(), "/page/one/two/one", "{lookup}");
        assert_eq!(nginx.log_lines("access.log", 1), ["page"], "{lookup}");
    }
}

#[test]
fn traces_of_try_files_do_not_change_where_a_file_is_looked_for() {
    // A file that try_files has found in a regex location with an alias leaves a mark in the
    // request, which stays when the file can't be opened and a named location is next.
    let site = Site::new()
        .server(
            "location ~ ^/music/(.*)$ {
                 alias {dir}/music/; try_files $1 =404; error_page 403 = @download;
             }
             location @download { xspace_id a; xspace_download /downloads/; }
             location ^~ /downloads/ {
                 internal; root {dir};
                 location ~ /downloads/(.*)$ { alias {dir}/store/$1; }
             }",
        )
        .file("music/x", "not to be read")
        .file("store/a.mp3", "a recording");
    site.chmod("music/x", 0);
    let nginx = site.start();
    assert_eq!(nginx.get("/music/x").text(), "a recording");
}

#[test]
fn values_of_one_candidate_are_not_those_of_the_next() {
    // NGINX keeps the value of a map for the request unless it is volatile.
    for parameter in ["", "volatile; "] {
        let nginx = Site::new()
            .http(&format!("map $uri $kind {{ {parameter}~\\.mp4$ video; default audio; }}"))
            .server(
                "location ^~ /download/ { xspace_download /downloads/; }
                 location ^~ /downloads/ { internal; alias {dir}/$kind/; }",
            )
            .file("video/film.mp4", "a film")
            .file("audio/talk.mp3", "a talk")
            .start();
        assert_eq!(nginx.get("/download/film").text(), "a film", "{parameter}");
        assert_eq!(nginx.get("/download/talk").text(), "a talk", "{parameter}");
    }
}

#[test]
fn random_value_is_the_same_before_and_after_the_redirect() {
    let nginx = Site::new()
        .http("split_clients $request_id $disk { 50% one; * two; }")
        .server(
            "location ^~ /download/ { xspace_download /downloads/; }
             location ^~ /downloads/ { internal; alias {dir}/$disk/; }",
        )
        .file("one/a.mp3", "a")
        .file("two/b.mp3", "b")
        .start();
    let statuses: Vec<u16> = (0..64).map(|_| nginx.get("/download/a").status).collect();
    assert!(statuses.contains(&200) && statuses.contains(&404), "{statuses:?}");
    // Nothing was found on one disk and then asked for on the other.
    assert_eq!(nginx.count_errors(&["open() \""]), 0, "{}", nginx.error_log());
}

#[test]
fn no_more_than_sixteen_files_of_an_entry_are_looked_for() {
    if !build().require("preload") {
        return;
    }
    let entry = |found: usize| {
        let files: Vec<String> = (0..64)
            .map(|n| if n == found { "\"here.mp3\"".into() } else { format!("\"{n}.mp3\"") })
            .collect();
        format!("{{\"files\": [{}]}}", files.join(","))
    };
    let catalog =
        format!(r#"{{"last": {}, "late": {}, "none": {}}}"#, entry(15), entry(16), entry(64));
    let site = Site::with_download("xspace_catalog {dir}/catalog.json;")
        .server("location ^~ /downloads/ { internal; alias {dir}/downloads/; }")
        .file("catalog.json", catalog)
        .file("downloads/here.mp3", "here");
    let (preload, site) = Preload::new(site);
    let nginx = site.start();
    assert_eq!(nginx.get("/download/last").text(), "here");
    for id in ["late", "none"] {
        let before = preload.looks();
        assert_eq!(nginx.get(&format!("/download/{id}")).status, 404, "{id}");
        assert_eq!(preload.looks() - before, 16, "{id}");
        nginx.wait_error(&[
            &format!("no file for space \"{id}\" among the first 16 that are listed: stat() \""),
            "/15.mp3\" failed (2: ",
        ]);
    }
}

#[test]
fn nothing_named_and_no_directory_is_logged() {
    let nginx = Site::with_download("xspace_catalog {dir}/catalog.json; xspace_directory off;")
        .server("location ^~ /downloads/ { internal; alias {dir}/downloads/; }")
        .file("catalog.json", r#"{"a": {"title": "T"}}"#)
        .start();
    assert_eq!(nginx.get("/download/a").status, 404);
    nginx.wait_error(&["no file is listed for space \"a\", and \"xspace_directory\" is off"]);
}

impl Tree {
    fn new(random: &mut Random, catalog: &str) -> Self {
        let mut tree = Self { text: String::new(), is_part: Vec::new() };
        let download = "xspace_download /t/; xspace_formats mp3 mp4;";
        write!(
            tree.text,
            "location ^~ /by-id/ {{ {download} }}
             location ^~ /named/ {{ {download} xspace_catalog {catalog} refresh=off only; }}
             location ^~ /off/ {{
                 {download} xspace_catalog {catalog} refresh=off only; xspace_directory off;
             }}
             location ^~ /plain/ {{ proxy_pass http://127.0.0.1:{{other}}/; }}\n"
        )
        .expect("a string");

        // The target's location may be shorter than the target, and nested itself.
        match random.below(6) {
            0 => tree.location(random, Kind::Prefix, "/t", true, 0),
            1 => {
                let around = tree.begin(random, "/", false);
                tree.location(random, Kind::Prefix, "/t/", true, 0);
                tree.siblings(random, "/t/", true, 1);
                tree.end(around);
            }
            _ => tree.location(random, Kind::Prefix, "/t/", true, 0),
        }
        tree.siblings(random, "/t/", true, 1);
        for regex in ["~ /vip/", "~ /t/p-.\\.mp4$", "~* ^/T/(?<first>.)(.*)\\.MP3/?$", "~ ^/t/(b)"]
        {
            if random.one_in(5) && !matches_a_sample(regex) {
                tree.location(random, Kind::Regex, regex, false, 1);
            }
        }
        tree
    }

    fn begin(&mut self, random: &mut Random, name: &str, is_part: bool) -> usize {
        let number = self.is_part.len();
        self.is_part.push(is_part);
        writeln!(self.text, "location {name} {{ internal; add_header X-Number {number} always;")
            .expect("a string");
        let is_regex = name.starts_with('~');
        let directory = random.pick(&DIRECTORIES);
        let slash = if name.ends_with('/') { "/" } else { "" };
        let path = match random.below(if is_regex { 8 } else { 11 }) {
            0 => format!("root {{dir}}/{directory};"),
            1 => format!("root {{dir}}/{directory}/t;"),
            2 => "root {dir}/$zone;".to_owned(),
            3 => "root {dir}/$kind;".to_owned(),
            4 if is_regex => format!("alias {{dir}}/{directory}/t/$1$2.mp3;"),
            5 if is_regex => format!("alias {{dir}}/{directory}/$first$2.mp3;"),
            6 if is_regex => format!("alias {{dir}}/{directory}$uri;"),
            4 | 5 if !name.starts_with('=') => format!("alias {{dir}}/{directory}{slash};"),
            6 if !name.starts_with('=') => format!("alias {{dir}}/$kind{slash};"),
            8 if !name.starts_with('=') => format!("alias {{dir}}/$zone{slash};"),
            // Of the last regular expression: the server's name, if none was run since.
            9 if !name.starts_with('=') => format!("alias {{dir}}/$1{slash};"),
            _ => String::new(),
        };
        writeln!(self.text, "{path}").expect("a string");
        number
    }

    fn end(&mut self, _: usize) {
        self.text.push_str("}\n");
    }

    /// A location and, maybe, others in it.
    fn location(
        &mut self,
        random: &mut Random,
        kind: Kind,
        name: &str,
        is_part: bool,
        depth: usize,
    ) {
        let modifier = match kind {
            Kind::Prefix if random.one_in(3) => "^~ ",
            Kind::Exact => "= ",
            Kind::Prefix | Kind::Regex => "",
        };
        let number = self.begin(random, &format!("{modifier}{name}"), is_part);
        if depth < 3 && kind != Kind::Exact {
            if kind == Kind::Prefix {
                self.siblings(random, name, is_part, depth + 1);
            }
            for regex in
                ["~ in/(.)", "~ \\.mp4$", "~ ^/t/(?<first>[^/]*)(-?.*)\\.", "~ /(?<zone>d1|vip)/"]
            {
                if random.one_in(6) {
                    self.location(random, Kind::Regex, regex, is_part, depth + 1);
                }
            }
        }
        self.end(number);
    }

    /// Locations whose names begin with one, some of which may be locations of the target.
    fn siblings(&mut self, random: &mut Random, name: &str, _: bool, depth: usize) {
        for rest in ["a", "p-", "p-1.mp", "vip/", "vip/in", "vip/in/", "other/", "p"] {
            let longer = format!("{}/{rest}", name.trim_end_matches('/'));
            if random.one_in(8) {
                self.location(random, Kind::Prefix, &longer, longer.starts_with("/t/"), depth);
            }
        }
        for rest in ["a.mp3", "p-1.mp4", "vip/a.mp3"] {
            let longer = format!("{}/{rest}", name.trim_end_matches('/'));
            if random.one_in(10) {
                self.location(random, Kind::Exact, &longer, longer.starts_with("/t/"), depth);
            }
            if random.one_in(16) {
                // A file's URI lacks the slash: nginx redirects the client.
                let number = self.is_part.len();
                self.is_part.push(false);
                write!(
                    self.text,
                    "location {longer}/ {{
                         internal; add_header X-Number {number} always;
                         proxy_pass http://127.0.0.1:{{other}};
                     }}\n"
                )
                .expect("a string");
            }
        }
    }
}

/// Whether `nginx -t` refuses a regex location beside the target.
fn matches_a_sample(regex: &str) -> bool {
    regex.contains("(?<first>")
}

fn host(tree: usize, zone: &str) -> String {
    format!("t{tree}.{zone}.test")
}

/// What X-Accel-Redirect to a file's URI gives, and whether that is part of the target.
struct Plain {
    response: Response,
    is_part: bool,
}

#[test]
fn answers_are_those_of_x_accel_redirect_to_the_same_uri() {
    let mut random = Random::new(17);
    let entries: Vec<String> =
        FILES.iter().enumerate().map(|(n, file)| format!("\"n{n}\":\"{file}\"")).collect();
    let mut site = Site::new().file("catalog.json", format!("{{{}}}", entries.join(","))).http(
        "map $uri $kind { ~/vip/ d1; ~p-.\\.mp4$ d2; ~*\\.(MP)4$ d3; default d0; }
         server_names_hash_max_size 4096;
         server { listen 127.0.0.1:{other}; location / { add_header X-Accel-Redirect /t$uri; return 200; } }",
    );
    for directory in DIRECTORIES {
        for below in ["", "t/", "vip/", "t/t/"] {
            for file in FILES {
                if !random.one_in(3) {
                    let path = format!("{directory}/{below}{file}");
                    site = site.file(&path, &path);
                }
            }
        }
    }
    let trees: Vec<Tree> = (0..200).map(|_| Tree::new(&mut random, "{dir}/catalog.json")).collect();
    for (number, tree) in trees.iter().enumerate() {
        site = site.http(&format!(
            "server {{
                 listen 127.0.0.1:{{port}};
                 server_name ~^t{number}\\.(?<zone>[^.]*)\\.test$;
                 {}
             }}",
            tree.text
        ));
    }
    let nginx = site.start();

    let (mut served, mut outside, mut missed) = (0, 0, 0);
    for (number, tree) in trees.iter().enumerate() {
        let host = host(number, random.pick(&DIRECTORIES));
        let mut connection = nginx.connect(Protocol::Http1);
        let mut get = |path: &str| {
            let response = connection.send(&Request::get(path).header("Host", &host));
            if response.status == 500 {
                // nginx closes the connection then.
                connection = nginx.connect(Protocol::Http1);
            }
            response
        };
        let mut plain = HashMap::new();
        let by_id = IDS.iter().flat_map(|id| FORMATS.map(|format| format!("{id}.{format}")));
        for file in FILES.map(str::to_owned).into_iter().chain(by_id) {
            let response = get(&format!("/plain/{file}"));
            let number = response.header("x-number").map(|n| n.parse::<usize>().expect("a number"));
            let is_part = response.status != 301 && number.is_some_and(|n| tree.is_part[n]);
            plain.insert(file, Plain { response, is_part });
        }
        for (index, file) in FILES.into_iter().enumerate() {
            let Plain { response: expected, is_part } = &plain[file];
            let what = format!("tree {number}, {host}, {file}, {expected:?} of\n{}", tree.text);
            let named = get(&format!("/named/n{index}"));
            let off = get(&format!("/off/n{index}"));
            for (answer, how) in [(&named, "named"), (&off, "not looked for")] {
                if *is_part {
                    assert_eq!(answer.status, expected.status, "{how}: {answer:?} {what}");
                } else {
                    assert_eq!(answer.status, 500, "{how}: {answer:?} {what}");
                }
                if answer.status == 200 {
                    assert_eq!(answer.body, expected.body, "{how}: {what}");
                }
            }
            match (is_part, expected.status) {
                (false, _) => outside += 1,
                (true, 200) => served += 1,
                _ => missed += 1,
            }
        }
        for id in IDS {
            let of = |format: &str| {
                let plain = &plain[&format!("{id}.{format}")];
                (plain.is_part && plain.response.status == 200).then_some(plain)
            };
            let whole = FORMATS.into_iter().find_map(of);
            for (path, expected) in [
                (format!("/by-id/{id}"), whole),
                (format!("/by-id/{id}.mp3"), of("mp3")),
                (format!("/by-id/{id}.mp4"), of("mp4")),
            ] {
                let answer = get(&path);
                let what = format!("tree {number}, {host}, {path}, {answer:?} of\n{}", tree.text);
                match expected {
                    Some(plain) => {
                        assert_eq!(answer.status, 200, "{what}");
                        assert_eq!(answer.body, plain.response.body, "{what}");
                    }
                    None => assert_eq!(answer.status, 404, "{what}"),
                }
            }
        }
    }
    println!("{served} served, {outside} outside, {missed} missed");
    assert!(served > 500 && outside > 100 && missed > 300, "{served} {outside} {missed}");
}

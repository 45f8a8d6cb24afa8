//! `tools/compare` finds each kind of difference, and nothing where there is none. What it finds in a
//! migration is in `make suite-counts`.

use std::process::Command;

use xspace_tests::{Nginx, Site, bytes, project_dir};

use crate::common::{FILE, ID};

/// Runs it: its exit status, the kinds that it prints, and all that it prints.
fn compare(old: &str, new: &str, more: &[&str]) -> (i32, Vec<String>, String) {
    let output = Command::new("python3")
        .arg(project_dir().join("tools/compare"))
        .args([old, new, ID])
        .args(more)
        .output()
        .expect("python3 can be run");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let kinds = text.lines().filter(|line| !line.starts_with([' ', '/', 'h']));
    let kinds = kinds.filter_map(|line| Some(line.split_once(": ")?.0.to_owned())).collect();
    let text = format!("{text}{}", String::from_utf8_lossy(&output.stderr));
    (output.status.code().expect("a status"), kinds, text)
}

/// A site with these directives in `/download/` and in the target. Its recording is that of `from`.
fn site(download: &str, target: &str, from: Option<&Nginx>) -> Nginx {
    let site = Site::with_directives(download, target).http1_only();
    match from {
        Some(nginx) => site.share(&nginx.dir().join(FILE), FILE),
        None => drop(site.write(FILE, bytes(1, 300_000))),
    }
    site.start()
}

#[test]
fn same_sites_do_not_differ() {
    let old = site("", "", None);
    let new = site("", "", Some(&old));
    let (status, kinds, text) = compare(&old.url(""), &new.url(""), &[]);
    assert_eq!((status, kinds), (0, vec![]), "{text}");
    let (count, _) = text.split_once(" requests").expect("their number");
    let count = count.rsplit(' ').next().expect("it").parse::<usize>().expect("a number");
    assert!((100..=120).contains(&count), "{text}");
}

/// Directives in `/download/` and in the target of the old site and of the new one, and what is found.
const KINDS: [(&str, [&str; 2], [&str; 2]); 19] = [
    ("no response", ["if ($request_method = POST) { return 444; }", ""], ["", ""]),
    ("rate limit", ["if ($request_method = POST) { return 429; }", ""], ["", ""]),
    ("access", ["if ($arg_format = mp3) { return 403; }", ""], ["", ""]),
    ("access", ["if ($arg_utm_source) { return 302 /login; }", ""], ["", ""]),
    ("gateway", ["", ""], ["if ($arg_utm_source) { return 502; }", ""]),
    ("found", ["if ($arg_utm_source) { return 404; }", ""], ["", ""]),
    (
        "every origin",
        ["", "add_header Access-Control-Allow-Origin https://a.example;"],
        ["", "add_header Access-Control-Allow-Origin *;"],
    ),
    ("file not readable", ["", ""], ["if ($arg_utm_source) { return 403; }", ""]),
    ("formats", ["xspace_format '';", ""], ["xspace_format $arg_format;", ""]),
    (
        "missing recording",
        ["xspace_format ''; error_page 404 =410 /;", ""],
        ["xspace_format '';", ""],
    ),
    ("CORS", ["", "add_header Access-Control-Allow-Origin *;"], ["", ""]),
    ("Cache-Control", ["", "add_header Cache-Control max-age=9;"], ["", ""]),
    ("media type", ["xspace_formats mp3=audio/x mp4;", ""], ["xspace_formats mp3 mp4;", ""]),
    ("lost field", ["", "add_header X-Own yes;"], ["", ""]),
    ("added field", ["", ""], ["", "add_header X-Own yes;"]),
    ("not explained", ["", ""], ["if ($arg_utm_source) { return 500; }", ""]),
    // Nothing of this is right.
    ("not explained", ["", ""], ["if ($http_if_range) { return 500; }", ""]),
    ("not explained", ["", ""], ["if ($http_range ~ ,) { return 500; }", ""]),
    ("access", ["if ($http_if_range) { return 401; }", ""], ["", ""]),
];

#[test]
fn each_kind_is_found() {
    for (kind, [old_download, old_target], [new_download, new_target]) in KINDS {
        let old = site(old_download, old_target, None);
        let new = site(new_download, new_target, Some(&old));
        let (status, mut kinds, text) = compare(&old.url(""), &new.url(""), &[]);
        // A format that only one of the two knows can be encoded, a field be on a 416, and a media
        // type be in each part of several ranges.
        const ALSO: [&str; 3] = ["encoded argument", "fields of a 412 or 416", "several ranges"];
        kinds.retain(|found| !ALSO.contains(&&**found));
        assert_eq!(kinds, [kind], "{text}");
        let is_right = ["added field", "every origin", "found"].contains(&kind);
        assert_eq!(status, i32::from(!is_right), "{kind}: {text}");
    }
}

#[test]
fn another_file_is_found() {
    let old = site("", "", None);
    let new = Site::simple().http1_only().file(FILE, bytes(2, 300_000)).start();
    let (status, kinds, text) = compare(&old.url(""), &new.url(""), &[]);
    assert!(kinds.contains(&"recording".to_owned()) && status == 1, "{text}");
}

#[test]
fn fields_and_routes_are_those_of_the_arguments() {
    let session = "if ($cookie_session != good) { return 401; }";
    let old = site(session, "", None);
    let new = site("", "", Some(&old));
    let [old, new] = [old.url(""), new.url("")];
    let (status, kinds, text) = compare(&old, &new, &["--header", "Cookie: session=good"]);
    assert_eq!((status, kinds), (0, vec![]), "{text}");
    let (status, kinds, text) = compare(&old, &new, &[]);
    assert!(kinds.contains(&"access".to_owned()) && status == 1, "{text}");
    // There is nothing on either side.
    let (status, kinds, text) = compare(&old, &new, &["--route", "/nothing/{}/here"]);
    assert_eq!((status, kinds), (0, vec![]), "{text}");
    assert_eq!(text.matches("is it a recording?").count(), 2, "{text}");
}

#[test]
fn site_that_cannot_be_asked_is_an_error() {
    let new = site("", "", None);
    let application = site("", "add_header X-Accel-Redirect /protected/x.mp3;", None);
    let file = Site::new()
        .http1_only()
        .server("location /download/ { default_type audio/mpeg; try_files /downloads/x.mp3 =404; }")
        .file("html/downloads/x.mp3", bytes(1, 300_000))
        .start();
    let (status, _, text) = compare(&new.url(""), &file.url(""), &[]);
    assert!(status == 2 && text.contains("does not come from xspace_download"), "{text}");
    for (old, said) in [
        ("http://127.0.0.1:1", "refused"),
        (&*application.url(""), "is the application"),
        ("127.0.0.1:8080", "not the address of a site"),
        ("http://127.0.0.1/download", "not the address of a site"),
    ] {
        let (status, kinds, text) = compare(old, &new.url(""), &[]);
        assert_eq!((status, kinds), (2, vec![]), "{text}");
        assert!(text.contains(said), "{text}");
    }
}

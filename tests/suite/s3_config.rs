//! What `nginx -t` says about an object store.

use std::os::unix::fs::chown;

use xspace_tests::{Application, Reply, Site, is_root};

use crate::common::only_for_workers;
use crate::marked::{self, accepted, check, refused};
use crate::s3::{CACHED, CATALOG, DIRECT, S3, key, site};

fn configured(s3: &str, target: &str) -> Site {
    // Nothing is sent to it.
    let app = Application::always(Reply::status(500));
    let site = site(&app, s3, CATALOG, target);
    only_for_workers(&site, "credentials");
    site
}

/// The only warning.
#[track_caller]
fn warned(site: Site, message: &str) {
    let checked = marked::warned(site, message);
    assert_eq!(checked.output.matches("[warn]").count(), 1, "{}", checked.output);
}

/// The directive, on a line that messages name.
fn marked(s3: &str) -> String {
    // The site ends the last directive.
    format!("\n{s3}; #!\nlimit_rate 0")
}

#[test]
fn stores_that_are_accepted() {
    for s3 in [
        S3,
        "xspace_s3 bucket=b region=auto credentials={dir}/credentials",
        "xspace_s3 region=r credentials=credentials style=virtual bucket=b-c \
         endpoint-host=store.example profile=default",
        "xspace_s3 bucket=a.b_C region=r credentials=credentials style=path \
         endpoint-host=[::1]:9000",
    ] {
        accepted(configured(s3, CACHED));
        accepted(configured(s3, DIRECT));
    }
}

#[test]
fn parameters() {
    let rows = [
        ("xspace_s3 bucket=b region=r", "no \"credentials\" in \"xspace_s3\""),
        ("xspace_s3 bucket=b credentials=credentials", "no \"region\" in \"xspace_s3\""),
        ("xspace_s3 region=r credentials=credentials", "no \"bucket\" in \"xspace_s3\""),
        ("xspace_s3 bucket= region=r", "invalid parameter \"bucket=\" in \"xspace_s3\""),
        ("xspace_s3 bucket=b bucket=c", "invalid parameter \"bucket=c\" in \"xspace_s3\""),
        ("xspace_s3 bucket", "invalid parameter \"bucket\" in \"xspace_s3\""),
        ("xspace_s3 buckets=b", "invalid parameter \"buckets=b\" in \"xspace_s3\""),
        (
            "xspace_s3 bucket=$host region=r credentials=credentials",
            "invalid parameter \"bucket=$host\" in \"xspace_s3\": variables are not supported",
        ),
        (
            "xspace_s3 bucket=b/c region=r credentials=credentials",
            "invalid parameter \"bucket=b/c\" in \"xspace_s3\": a bucket name has letters, \
             digits, \"-\", \".\" and \"_\"",
        ),
        (
            "xspace_s3 bucket=b.c region=r credentials=credentials style=virtual",
            "invalid parameter \"bucket=b.c\" in \"xspace_s3\": a bucket name with a dot requires \
             \"style=path\", because wildcard certificates do not match such host names",
        ),
        (
            "xspace_s3 bucket=b region=r/s credentials=credentials",
            "invalid parameter \"region=r/s\" in \"xspace_s3\"",
        ),
        (
            "xspace_s3 bucket=b region=r credentials=credentials style=host",
            "invalid parameter \"style=host\" in \"xspace_s3\"",
        ),
        (
            "xspace_s3 bucket=b region=r credentials=credentials endpoint-host=https://h",
            "invalid parameter \"endpoint-host=https://h\" in \"xspace_s3\": it must be a host \
             name or an address, with or without a port",
        ),
        (
            "xspace_s3 bucket=b region=r credentials=credentials profile=edge",
            "/credentials\": no profile \"edge\"",
        ),
        (
            "xspace_s3 bucket=b region=r credentials=none",
            "/none\" failed (2: No such file or directory)",
        ),
    ];
    for (s3, message) in rows {
        refused(configured(&marked(s3), CACHED), message);
    }
    refused(
        configured(&format!("{S3}; {}", marked(S3)), CACHED),
        "\"xspace_s3\" directive is duplicate",
    );
}

#[test]
fn files_of_credentials() {
    let rows = [
        ("[default]\naws_access_key_id = A\n", "line 1: profile without \"aws_secret_access_key\""),
        ("[default]\nsecret/+\n", "line 2: \"=\" is missing"),
        ("", "no profile \"default\""),
    ];
    for (file, message) in rows {
        let site = configured(&marked(S3), CACHED).file("credentials", file);
        let (checked, places) = check(site);
        assert!(!checked.ok, "{}", checked.output);
        checked.expect_line("emerg", message, &places, message);
        checked.expect_line("emerg", "invalid credentials file \"", &places, message);
        assert!(!checked.output.contains("secret/+"), "{}", checked.output);
    }
    let large = [key().file(), "#".repeat(65_536)].concat();
    refused(
        configured(&marked(S3), CACHED).file("credentials", large),
        "it is larger than 65536 bytes",
    );
}

#[test]
fn locations() {
    let in_location = |location: &str| {
        Site::simple()
            .server(&format!(
                "location {location} {{ {}; proxy_pass http://127.0.0.1:1$xspace_s3_uri;
                 proxy_set_header Authorization $xspace_s3_authorization; }}",
                marked(S3)
            ))
            .file("credentials", key().file())
    };
    refused(in_location("/s3/"), "location \"/s3/\" must be \"internal\" because of \"xspace_s3\"");
    for (location, name) in
        [("= /s3/", "/s3/"), ("/s3", "/s3"), ("@s3", "@s3"), ("~ ^/s3/", "^/s3/")]
    {
        let site = in_location(location);
        let message = format!(
            "\"xspace_s3\" requires a prefix location that ends with \"/\", location \"{name}\" is not"
        );
        refused(site, &message);
    }
    let site = Site::simple().server(&format!("{};", marked(S3))).file("credentials", key().file());
    let (checked, _) = check(site);
    assert!(!checked.ok && checked.output.contains("\"xspace_s3\" directive is not allowed here"));
}

/// What can be known of directives of other modules.
#[test]
fn directives_of_the_proxy() {
    let with = |target: &str| configured(&marked(S3), target);
    let cached = |from: &str, to: &str| {
        assert!(CACHED.contains(from));
        with(&CACHED.replace(from, to))
    };
    let rows = [
        (
            cached("proxy_cache_lock on;", ""),
            "\"proxy_cache_lock\" is off in location \"/recordings/\": all clients of a new object \
             fetch it",
        ),
        (
            cached("proxy_cache_lock_timeout 60s;", ""),
            "\"proxy_cache_lock_timeout\" is less than 60 seconds in location \"/recordings/\": \
             clients that wait longer for a slice fetch it too",
        ),
        (
            cached("proxy_cache_lock_age 60s;", "proxy_cache_lock_age 59s;"),
            "\"proxy_cache_lock_age\" is less than 60 seconds in location \"/recordings/\": clients \
             that wait longer for a slice fetch it too",
        ),
        (
            cached("proxy_cache_valid 200 206 1h;", "proxy_cache_valid 1h;"),
            "no \"proxy_cache_valid\" for 206 in location \"/recordings/\": slices may not be cached",
        ),
        (
            cached("proxy_cache_valid 200 206 1h;", ""),
            "no \"proxy_cache_valid\" for 206 in location \"/recordings/\": slices may not be cached",
        ),
        (
            cached("slice 64k;", ""),
            "\"proxy_cache\" without \"slice\" in location \"/recordings/\": the first range of an \
             object fetches all of it",
        ),
        (
            with(&CACHED.replace("$uri$slice_range", "$uri").replace("$slice_range", "bytes=0-")),
            "\"slice\" in location \"/recordings/\", but \"$slice_range\" is not used: it belongs into \
             the field \"Range\" and into \"proxy_cache_key\"",
        ),
    ];
    for (site, message) in rows {
        warned(site, message);
    }
    accepted(cached("proxy_cache_valid 200 206 1h;", "proxy_cache_valid any 1h;"));

    let bare = |directives: &str| {
        let site = Site::simple()
            .server(&format!("location /s3/ {{ internal; {}; {directives} }}", marked(S3)))
            .file("credentials", key().file());
        only_for_workers(&site, "credentials");
        site
    };
    let (checked, places) = check(bare("proxy_pass http://127.0.0.1:1;"));
    assert!(checked.ok, "{}", checked.output);
    for message in [
        "no directive uses \"$xspace_s3_uri\" of \"xspace_s3\"",
        "no directive uses \"$xspace_s3_authorization\" of \"xspace_s3\"",
        "\"proxy_pass_request_headers\" is on in location \"/s3/\": the store receives header fields \
         of clients",
        "\"proxy_pass_request_body\" is on in location \"/s3/\": the store receives content of clients",
    ] {
        checked.expect_line("warn", message, &places, message);
    }
    warned(
        bare("add_header a $xspace_s3_uri$xspace_s3_authorization;"),
        "location \"/s3/\" has \"xspace_s3\" and no \"proxy_pass\"",
    );
}

/// Whether workers can read the file again.
#[test]
fn permissions() {
    let site = configured(&marked(S3), CACHED);
    site.chmod("credentials", 0o604);
    warned(site, "/credentials\" can be read by all users");
    if !is_root() {
        println!("passed over: permissions needs root");
        return;
    }
    let site = configured(&marked(S3), CACHED);
    chown(site.dir().join("credentials"), Some(0), None).expect("root may do that");
    let message = "/credentials\" will not be read again until a reload: worker user \"nobody\" has no \
                   permission to read it";
    warned(site, message);
}

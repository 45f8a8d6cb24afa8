//! What `nginx -t` says about links.

use xspace_tests::{LinkKey, Site, is_root};

use crate::common::{FILE, recording};
use crate::marked::{accepted, check, refused, warned};

const KEYS: &str = "xspace_link_keys {dir}/keys;";

fn with_keys(site: Site) -> Site {
    let site = site.file("keys", LinkKey::new("k1").line()).file(FILE, recording());
    site.chmod("keys", 0o600);
    site
}

#[test]
fn links_that_are_accepted() {
    for directives in [
        "xspace_link $arg_token; xspace_link_keys {dir}/keys;",
        "xspace_link $arg_token; xspace_link_keys keys;",
        "xspace_link off;",
        "xspace_link_address on;",
        "xspace_link $arg_token; xspace_link_keys keys; xspace_link_address on;
         xspace_link_session 10m;",
        "xspace_link $arg_token; xspace_link_keys keys; xspace_link_session off;",
        "xspace_link $cookie_a$http_x_token; xspace_link_keys keys;
         xspace_link_session 10m max=12h samesite=none secure=auto partitioned;",
        "xspace_link $arg_token; xspace_link_keys keys;
         xspace_link_session 24h max=24h samesite=lax secure=on;",
    ] {
        accepted(with_keys(Site::with_directives(directives, "")));
    }
    // In all contexts, and off again for the target and elsewhere.
    let directives = "xspace_link $arg_token; xspace_link_keys keys; xspace_link_session 10m;
                      xspace_link_address on;";
    accepted(with_keys(Site::simple().http(directives)));
    accepted(with_keys(Site::simple().server(directives)));
    accepted(with_keys(
        Site::with_directives("", "xspace_link off;")
            .http(directives)
            .server("location /x/ { xspace_link off; }"),
    ));
    // Keys without a link are read, and no more.
    accepted(with_keys(Site::simple().http(KEYS)));
}

#[test]
fn a_link_needs_keys() {
    let site = Site::with_directives("\nxspace_link $arg_token; #!\n", "");
    refused(site, "\"xspace_link\" requires \"xspace_link_keys\" in location \"/download/\"");
    let site = Site::simple().http("xspace_link $arg_token; #!");
    refused(site, "\"xspace_link\" requires \"xspace_link_keys\" in location \"/download/\"");
}

#[test]
fn a_link_protects_a_download() {
    for location in ["/x/", "/download/x/", "/downloads/x/"] {
        let server = format!("location {location} {{\nxspace_link $arg_token; #!\n}}");
        let site = with_keys(Site::simple().http(KEYS).server(&server));
        let message =
            format!("\"xspace_link\" in location \"{location}\" without \"xspace_download\"");
        refused(site, &message);
    }
    let site = Site::with_directives("", "\nxspace_link $arg_token; #!\n").http(KEYS);
    let message = "\"xspace_link\" in location \"/downloads/\" without \"xspace_download\"";
    refused(with_keys(site), message);
    // Without any download too.
    let site = Site::new().http(KEYS).server("location / {\nxspace_link $arg_token; #!\n}");
    refused(with_keys(site), "\"xspace_link\" in location \"/\" without \"xspace_download\"");
}

#[test]
fn the_target_is_internal() {
    let download = "location ^~ /download/ {
                        xspace_link $arg_token; xspace_link_keys keys;
                        xspace_download /downloads/; #!
                    }";
    let message = "target location \"/downloads/\" of \"xspace_download\" must be \"internal\" \
                   because of \"xspace_link\"";
    let site =
        Site::new().server(download).server("location ^~ /downloads/ { alias {dir}/downloads/; }");
    refused(with_keys(site), message);
    let site = Site::new().server(download).server(
        "location ^~ /downloads/ { internal; alias {dir}/downloads/; }
         location /downloads/open/ { alias {dir}/downloads/; }",
    );
    refused(with_keys(site), "target location \"/downloads/open/\" of");
    let site = Site::new()
        .server(download)
        .server("location ^~ /downloads/ { internal; alias {dir}/downloads/; }");
    accepted(with_keys(site));
}

#[test]
fn what_has_no_effect_or_leaks() {
    for site in [
        Site::with_directives("\nxspace_link_session 10m; #!\n", ""),
        Site::simple().http("xspace_link_session 10m; #!"),
        Site::new().http("xspace_link_session 10m; #!"),
        Site::with_directives(
            "xspace_link $arg_token; xspace_link_keys keys; xspace_link_session off;",
            "",
        )
        .server("\nxspace_link_session 10m; #!\n"),
    ] {
        warned(with_keys(site), "\"xspace_link_session\" has no effect without \"xspace_link\"");
    }
    let site = Site::new().server(
        "location ^~ /downloads/ { internal; alias {dir}/downloads/; }
         location ^~ /download/ {
             xspace_link $arg_token; xspace_link_keys keys; xspace_pass_args on;
             xspace_download /downloads/; #!
         }",
    );
    let message = "\"xspace_pass_args\" passes tokens of \"xspace_link\" in location \
                   \"/download/\" to the target";
    warned(with_keys(site), message);
    let site = with_keys(Site::simple().http(&format!("{KEYS} #!")));
    site.chmod("keys", 0o644);
    warned(site, "keys file");
    let site = with_keys(Site::simple().http(&format!("{KEYS} #!")));
    site.chmod("keys", 0o640);
    accepted(site);
}

#[test]
fn values_that_are_refused() {
    for (directive, message) in [
        ("xspace_link_session 0;", "invalid value \"0\" in \"xspace_link_session\""),
        ("xspace_link_session x;", "invalid value \"x\" in \"xspace_link_session\""),
        (
            "xspace_link_session 25h;",
            "invalid value \"25h\" in \"xspace_link_session\": it is longer than \"max\", 86400 \
             seconds",
        ),
        (
            "xspace_link_session 2m max=60;",
            "invalid value \"2m\" in \"xspace_link_session\": it is longer than \"max\", 60 seconds",
        ),
        ("xspace_link_session 1m off;", "invalid parameter \"off\" in \"xspace_link_session\""),
        ("xspace_link_session 1m max=0;", "invalid parameter \"max=0\" in \"xspace_link_session\""),
        ("xspace_link_session 1m max=;", "invalid parameter \"max=\" in \"xspace_link_session\""),
        (
            "xspace_link_session 1m max=1h max=1h;",
            "invalid parameter \"max=1h\" in \"xspace_link_session\"",
        ),
        (
            "xspace_link_session 1m samesite=strict;",
            "invalid parameter \"samesite=strict\" in \"xspace_link_session\"",
        ),
        (
            "xspace_link_session 1m samesite=lax samesite=none;",
            "invalid parameter \"samesite=none\" in \"xspace_link_session\"",
        ),
        (
            "xspace_link_session 1m secure=off;",
            "invalid parameter \"secure=off\" in \"xspace_link_session\"",
        ),
        (
            "xspace_link_session 1m secure=on secure=on;",
            "invalid parameter \"secure=on\" in \"xspace_link_session\"",
        ),
        (
            "xspace_link_session 1m partitioned partitioned;",
            "invalid parameter \"partitioned\" in \"xspace_link_session\"",
        ),
        (
            "xspace_link_address 1;",
            "invalid value \"1\" in \"xspace_link_address\" directive, it must be \"on\" or \"off\"",
        ),
        ("xspace_link_keys '';", "invalid path \"\" in \"xspace_link_keys\": it is empty"),
        (
            "xspace_link_keys keys$arg_a;",
            "invalid path \"keys$arg_a\" in \"xspace_link_keys\": variables are not supported",
        ),
        ("xspace_link a; xspace_link b;", "\"xspace_link\" directive is duplicate"),
        (
            "xspace_link_keys keys; xspace_link_keys keys;",
            "\"xspace_link_keys\" directive is duplicate",
        ),
        ("xspace_link ${x;", "the closing bracket in \"x\" variable is missing"),
        ("xspace_link_keys keys; xspace_link $no_such;", "unknown \"no_such\" variable"),
    ] {
        let site = Site::with_directives(&format!("\n{directive} #!\n"), "");
        let (checked, places) = check(with_keys(site));
        assert!(!checked.ok, "{directive}: {}", checked.output);
        // nginx itself finds unknown variables at the end of everything.
        let places = if message.starts_with("unknown") { Vec::new() } else { places };
        checked.expect_line("emerg", message, &places, directive);
    }
}

#[test]
fn files_of_keys_that_are_refused() {
    let hex = "a1".repeat(32);
    for (text, message) in [
        ("", "it has no key"),
        ("# none\n", "it has no key"),
        (hex.as_str(), "line 1 is not \"id hex:...\" or \"id base64:...\""),
        (
            &format!("{hex} hex:{hex}"),
            "invalid key id on line 1, it must be 1 to 32 letters, digits, \"_\" and \"-\"",
        ),
        (&format!("k1 {hex}"), "key \"k1\" on line 1 begins neither with \"hex:\" nor \"base64:\""),
        (&format!("\n#\nk1 hex:{hex}0"), "key \"k1\" on line 3 is not valid hexadecimal"),
        (&format!("k1 base64:{hex}.{hex}"), "key \"k1\" on line 1 is not valid base64"),
        ("k1 hex:a1a1", "key \"k1\" on line 1 has 2 bytes, it must have 32 to 128"),
        (&format!("k1 hex:{hex}\nk1 hex:{hex}"), "duplicate key \"k1\" on line 2, first on line 1"),
    ] {
        let site = Site::simple().http(&format!("{KEYS} #!"));
        let site = site.file("keys", text);
        site.chmod("keys", 0o600);
        let path = site.dir().join("keys").display().to_string();
        let (checked, places) = check(site);
        assert!(!checked.ok, "{text:?}: {}", checked.output);
        let line = format!("invalid keys file \"{path}\": {message}");
        checked.expect_line("emerg", &line, &places, text);
        // Nothing of a key is shown, not even where it stands in the place of something else.
        assert!(!checked.output.contains("a1a1"), "{}", checked.output);
    }
    let missing = Site::simple().http("xspace_link_keys none; #!");
    let path = missing.dir().join("none").display().to_string();
    refused(missing, &format!("open() \"{path}\" failed (2: No such file or directory)"));
    let directory = Site::simple().http("xspace_link_keys html; #!");
    let path = directory.dir().join("html").display().to_string();
    refused(directory, &format!("read() \"{path}\" failed (21: Is a directory)"));
    let large = Site::simple().http(&format!("{KEYS} #!")).file("keys", "#".repeat(65_537));
    let path = large.dir().join("keys").display().to_string();
    refused(large, &format!("keys file \"{path}\" is larger than 65536 bytes"));
    if !is_root() {
        let site = with_keys(Site::simple().http(&format!("{KEYS} #!")));
        site.chmod("keys", 0);
        let path = site.dir().join("keys").display().to_string();
        refused(site, &format!("open() \"{path}\" failed (13: Permission denied)"));
    }
}

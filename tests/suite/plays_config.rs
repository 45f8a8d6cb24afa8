//! What `nginx -t` says about what is counted.

use xspace_tests::Site;

use crate::config::{expect_site, fine_site};

const TARGET: &str = "location ^~ /downloads/ { internal; limit_rate 1m; alias {dir}/downloads/; }";

/// A site with this in `http {}` and this in `/download/`.
fn site(http: &str, download: &str) -> Site {
    Site::new().http(http).server(&format!(
        "location ^~ /download/ {{\nxspace_download /downloads/;\n{download}\n}}\n{TARGET}"
    ))
}

#[test]
fn accepted() {
    for (http, download) in [
        ("xspace_stats_zone a:1m;", ""),
        ("xspace_stats_zone a:1m;", "xspace_stats a;"),
        ("xspace_stats a; xspace_stats_zone a:1m;", ""),
        ("xspace_stats_zone a:1m listeners=100; xspace_stats_zone b:32k;", "xspace_stats b;"),
        ("xspace_stats_zone a:1m; xspace_stats a;", "xspace_stats off;"),
        ("xspace_play time=1ms;", "xspace_play time=4h;"),
        ("xspace_play bytes=1;", "xspace_play window=1s;"),
        ("xspace_play window=24h;", "xspace_play if=$arg_x time=30s bytes=1m window=1d;"),
        ("xspace_stats_zone a:1m state=/tmp/x save=500ms listeners=9;", "xspace_stats a;"),
        ("xspace_play window=3600;", ""),
        ("xspace_listener $remote_addr;", "xspace_listener \"\";"),
        ("log_format x $xspace_played; xspace_stats_zone a:1m;", "xspace_stats a;"),
    ] {
        fine_site(download, site(http, download));
    }
}

#[test]
fn mistakes() {
    let zone = "xspace_stats_zone a:1m;";
    for (http, message) in [
        ("xspace_stats_zone a; #!", "invalid zone \"a\" in \"xspace_stats_zone\""),
        ("xspace_stats_zone :1m; #!", "invalid zone \":1m\" in \"xspace_stats_zone\""),
        ("xspace_stats_zone a:x; #!", "invalid zone size \"a:x\" in \"xspace_stats_zone\""),
        ("xspace_stats_zone a:; #!", "invalid zone size \"a:\" in \"xspace_stats_zone\""),
        ("xspace_stats_zone a:31k; #!", "zone \"a\" is too small"),
        ("xspace_stats_zone a:1m listeners=1000000; #!", "zone \"a\" is too small"),
        ("xspace_stats_zone a:1m listeners=0; #!", "invalid parameter \"listeners=0\""),
        ("xspace_stats_zone a:1m listeners=x; #!", "invalid parameter \"listeners=x\""),
        ("xspace_stats_zone a:1m state=; #!", "invalid parameter \"state=\""),
        ("xspace_stats_zone a:1m save=1s; #!", "invalid parameter \"save=\""),
        ("xspace_stats_zone a:1m state=x save=0; #!", "invalid parameter \"save=0\""),
        ("xspace_stats_zone a:1m state=x save=25h; #!", "invalid parameter \"save=25h\""),
        ("xspace_stats_zone a:1m state=x state=y; #!", "invalid parameter \"state=y\""),
        ("xspace_stats_zone a:1m listeners=9 listeners=9; #!", "invalid parameter \"listeners=9\""),
        (
            "xspace_stats_zone b:1m state=x;\nxspace_stats_zone a:1m state=x; #!",
            "the state file of zone \"a\" is already used by zone \"b\"",
        ),
        ("xspace_stats_zone a:1m; xspace_stats_zone a:1m; #!", "zone \"a\" is already declared"),
        ("xspace_stats a; #!", "unknown zone \"a\""),
        ("xspace_stats \"\"; #!", "invalid zone \"\" in \"xspace_stats\""),
        ("xspace_play time=0; #!", "invalid parameter \"time=0\" in \"xspace_play\""),
        ("xspace_play time=4h1s; #!", "invalid parameter \"time=4h1s\" in \"xspace_play\""),
        ("xspace_play bytes=0; #!", "invalid parameter \"bytes=0\" in \"xspace_play\""),
        ("xspace_play bytes=x; #!", "invalid parameter \"bytes=x\" in \"xspace_play\""),
        ("xspace_play window=0; #!", "invalid parameter \"window=0\" in \"xspace_play\""),
        ("xspace_play window=25h; #!", "invalid parameter \"window=25h\" in \"xspace_play\""),
        ("xspace_play window=1500ms; #!", "invalid parameter \"window=1500ms\" in \"xspace_play\""),
        ("xspace_play window=10ms; #!", "invalid parameter \"window=10ms\" in \"xspace_play\""),
        ("xspace_play x; #!", "invalid parameter \"x\" in \"xspace_play\""),
        ("xspace_play if=1 if=1; #!", "invalid parameter \"if=1\" in \"xspace_play\""),
        ("xspace_play time=1s time=2s; #!", "invalid parameter \"time=2s\" in \"xspace_play\""),
        ("xspace_play if=$no_such;", "unknown \"no_such\" variable"),
        ("xspace_listener $no_such;", "unknown \"no_such\" variable"),
        ("xspace_stats a; xspace_stats a; #!", "\"xspace_stats\" directive is duplicate"),
    ] {
        expect_site("emerg", http, site(http, ""), message);
    }
    for (http, status, message) in [
        (zone, "xspace_status xml; #!", "invalid format \"xml\" in \"xspace_status\""),
        (zone, "xspace_status json zone; #!", "invalid parameter \"zone\" in \"xspace_status\""),
        (zone, "xspace_status json zone=; #!", "invalid parameter \"zone=\" in \"xspace_status\""),
        (zone, "xspace_status json zone=b; #!", "unknown zone \"b\""),
        ("", "xspace_status json; #!", "\"xspace_status\" requires \"xspace_stats_zone\""),
        (
            "xspace_stats_zone a:1m; xspace_stats_zone b:1m;",
            "xspace_status json; #!",
            "\"xspace_status\" requires \"zone=\", because there are several zones",
        ),
    ] {
        let site = site(http, "").server(&format!("location /status {{ {status}\n}}"));
        expect_site("emerg", status, site, message);
    }
    // Another module's zone.
    let http = "limit_req_zone $uri zone=a:1m rate=1r/s; xspace_stats_zone a:1m;";
    let mut other = site(http, "xspace_stats a;");
    let checked = other.check();
    let message = "the shared memory zone \"a\" is already declared for a different use";
    assert!(!checked.ok && checked.output.contains(message), "{}", checked.output);
}

#[test]
fn warnings() {
    let pace = "target location \"/downloads/\" has no \"limit_rate\": what players fetch in advance is \
                counted as played";
    let unpaced = "location ^~ /download/ {\nxspace_download /downloads/; #!\nxspace_stats a;\n}
                   location ^~ /downloads/ { internal; alias {dir}/downloads/; }";
    let counted = Site::new().http("xspace_stats_zone a:1m;").server(unpaced);
    expect_site("warn", "no limit_rate", counted, pace);
    let not_counted = unpaced.replace("xspace_stats a;", "").replace(" #!", "");
    let not_counted = Site::new().http("xspace_stats_zone a:1m;").server(&not_counted);
    fine_site("nothing is counted", not_counted);

    let http = "log_format x $xspace_played;";
    let without = Site::new().http(http).server(&format!(
        "location ^~ /download/ {{\nxspace_download /downloads/; #!\n}}\n{TARGET}"
    ));
    let message = "\"$xspace_played\" is always empty without \"xspace_stats\"";
    expect_site("warn", "no stats", without, message);
}

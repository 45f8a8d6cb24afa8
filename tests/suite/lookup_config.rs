//! What `nginx -t` says about `xspace_lookup`.

use xspace_tests::Site;

use crate::config::{TARGET, error, expect_site, fine, warning};

/// `/download/` with this directive on a line of its own, and a location that answers.
fn with_directive(directive: &str) -> String {
    format!(
        "location ^~ /download/ {{\nxspace_download /downloads/;\n{directive} #!\n}}
         location = /_space {{ internal; return 204; }}\n{TARGET}"
    )
}

#[test]
fn accepted() {
    for directive in [
        "xspace_lookup /_space;",
        "xspace_lookup off;",
        "xspace_lookup \"/_space\";",
        "xspace_lookup /_space; xspace_directory off;",
        "xspace_lookup /_space; if ($arg_x) { set $x 1; }",
    ] {
        fine(directive, &with_directive(directive));
    }
    let locations = [
        "location /_space { internal; return 204; }",
        "location ^~ /_s { internal; return 204; }",
        "location ~ ^/_spac { internal; return 204; }",
        "location / { internal; location = /_space { internal; return 204; } }",
    ];
    for location in locations {
        fine(
            location,
            &format!(
                "location ^~ /download/ {{ xspace_download /downloads/; xspace_lookup /_space; }}
                 {location} {TARGET}"
            ),
        );
    }
    // Where nobody asks, nobody has to answer.
    fine("inherited, but the module is off", "xspace_lookup /nowhere;");
    fine(
        "inherited, and switched off",
        &format!(
            "xspace_lookup /nowhere;
             location ^~ /download/ {{ xspace_download /downloads/; xspace_lookup off; }} {TARGET}"
        ),
    );
}

#[test]
fn uri_must_be_one() {
    for (uri, why) in [
        ("_space", "it must begin with \"/\""),
        ("\"\"", "it must begin with \"/\""),
        ("@space", "it must begin with \"/\""),
        ("http://127.0.0.1/lookup", "it must begin with \"/\""),
        ("ON", "it must begin with \"/\""),
        ("/_space/$xspace_id", "variables are not supported"),
        ("/_space?key=1", "arguments are set by the module"),
    ] {
        error(
            uri,
            &with_directive(&format!("xspace_lookup {uri};")),
            &format!("invalid URI \"{}\" in \"xspace_lookup\": {why}", uri.trim_matches('"')),
        );
    }
}

#[test]
fn is_given_once_with_one_argument() {
    for directive in ["xspace_lookup;", "xspace_lookup /_space /_space;"] {
        error(
            directive,
            &with_directive(directive),
            "invalid number of arguments in \"xspace_lookup\"",
        );
    }
    for twice in ["/_space", "off"] {
        error(
            "twice",
            &format!(
                "location ^~ /download/ {{\nxspace_download /downloads/;\nxspace_lookup /_space;\n
                 xspace_lookup {twice}; #!\n}} location = /_space {{ internal; }} {TARGET}"
            ),
            "\"xspace_lookup\" directive is duplicate",
        );
    }
}

#[test]
fn is_refused_in_blocks() {
    for block in ["if ($arg_x)", "limit_except GET"] {
        error(
            block,
            &with_directive(&format!("{block} {{ xspace_lookup /_space; }}")),
            "\"xspace_lookup\" directive is not allowed here",
        );
    }
    expect_site(
        "emerg",
        "main",
        Site::new().main("xspace_lookup /_space; #!"),
        "\"xspace_lookup\" directive is not allowed here",
    );
}

#[test]
fn uri_must_have_a_location() {
    error(
        "no location",
        &with_directive("xspace_lookup /_nowhere;"),
        "no location matches URI \"/_nowhere\" of \"xspace_lookup\"",
    );
    // The place of the directive, also if it is inherited.
    error(
        "inherited from the server",
        &format!(
            "xspace_lookup /_nowhere; #!
             location ^~ /download/ {{ xspace_download /downloads/; }}\n{TARGET}"
        ),
        "no location matches URI \"/_nowhere\" of \"xspace_lookup\"",
    );
    expect_site(
        "emerg",
        "inherited from http, and another server has no such location",
        Site::new()
            .http(
                "xspace_lookup /_space; #!
                 server {
                     listen 127.0.0.1:{other};
                     location ^~ /download/ { xspace_download /downloads/; }
                     location ^~ /downloads/ { internal; alias {dir}/downloads/; }
                 }",
            )
            .server(&with_directive("").replace("#!", "")),
        "no location matches URI \"/_space\" of \"xspace_lookup\"",
    );
}

#[test]
fn location_must_not_ask_itself() {
    error(
        "the same location",
        &with_directive("xspace_lookup /download/lookup;"),
        "URI \"/download/lookup\" of \"xspace_lookup\" is handled by location \"/download/\", which \
         has \"xspace_download\"",
    );
    error(
        "another one",
        &format!(
            "{}location ^~ /other/ {{ xspace_download /downloads/; }}",
            with_directive("xspace_lookup /other/x;")
        ),
        "URI \"/other/x\" of \"xspace_lookup\" is handled by location \"/other/\", which has \
         \"xspace_download\"",
    );
    error(
        "a regex location that comes first",
        &format!(
            "location ^~ /download/ {{\nxspace_download /downloads/;\nxspace_lookup /s/_space; #!\n}}
             location /s/ {{ internal; return 204; }}
             location ~ ^/s/(.*) {{ xspace_id $1; xspace_download /downloads/; xspace_lookup off; }}
             {TARGET}"
        ),
        "URI \"/s/_space\" of \"xspace_lookup\" is handled by location \"^/s/(.*)\", which has \
         \"xspace_download\"",
    );
}

#[test]
fn location_should_be_internal() {
    for location in ["location = /open { return 204; }", "location / { return 204; }"] {
        warning(
            location,
            &format!("{}{location}", with_directive("xspace_lookup /open;")),
            "location \"…\" of \"xspace_lookup\" is not \"internal\"",
        );
    }
}

#[test]
fn nothing_else_finds_a_file() {
    error(
        "no directory, and the lookup is off",
        &format!(
            "xspace_lookup /_space;
             location = /_space {{ internal; return 204; }}
             location ^~ /download/ {{
                 xspace_download /downloads/; xspace_lookup off;\nxspace_directory off; #!\n
             }} {TARGET}"
        ),
        "\"xspace_directory off\" requires \"xspace_catalog\" or \"xspace_lookup\"",
    );
}

//! A module without its cargo features. `make suite-poorest` builds one.

use xspace_tests::{Site, build};

use crate::config::{TARGET, expect_site, fine_site};

/// A site with directives in `/download/`, on a line of their own.
fn with(directives: &str) -> Site {
    Site::new().server(&format!(
        "location ^~ /download/ {{\n xspace_download /downloads/;\n {directives} #!\n}}\n{TARGET}"
    ))
}

#[test]
fn directives_of_what_was_left_out_are_refused() {
    if !build().require("bare_module") {
        return;
    }
    fine_site("what is always there", with("xspace_formats mp3 wav;"));
    expect_site(
        "emerg",
        "LMDB",
        with("xspace_catalog lmdb:/srv/xspace/catalog;"),
        "invalid path \"lmdb:/srv/xspace/catalog\" in \"xspace_catalog\": the module was built \
         without LMDB",
    );
    for directive in ["xspace_link", "xspace_s3", "xspace_stats", "xspace_play"] {
        let site = with(&format!("{directive} x;"));
        expect_site("emerg", directive, site, &format!("unknown directive \"{directive}\""));
    }
}

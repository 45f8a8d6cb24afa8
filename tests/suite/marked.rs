//! What `nginx -t` says about the line of a site that is marked with the comment `#!`.

use xspace_tests::{Checked, Site, lines_marked};

/// Checks a site whose line with the comment `#!` the message has to name.
#[track_caller]
pub fn check(mut site: Site) -> (Checked, Vec<String>) {
    let checked = site.check();
    let conf = site.write_conf();
    let places = lines_marked(&site.conf_path(), &conf);
    (checked, places)
}

/// Checks that `nginx -t` refuses a site and names its line with `#!`.
#[track_caller]
pub fn refused(site: Site, message: &str) {
    let (checked, places) = check(site);
    assert!(!checked.ok, "{message}: {}", checked.output);
    assert_eq!(places.len(), 1, "{message}");
    checked.expect_line("emerg", message, &places, message);
}

/// Checks that `nginx -t` warns of a site and names its line with `#!`.
#[track_caller]
pub fn warned(site: Site, message: &str) -> Checked {
    let (checked, places) = check(site);
    assert!(checked.ok, "{message}: {}", checked.output);
    assert_eq!(places.len(), 1, "{message}");
    checked.expect_line("warn", message, &places, message);
    checked
}

/// Checks that `nginx -t` accepts a site without a warning.
#[track_caller]
pub fn accepted(site: Site) {
    let (checked, _) = check(site);
    assert!(checked.ok && !checked.output.contains("[warn]"), "{}", checked.output);
}

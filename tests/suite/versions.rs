//! Versions of NGINX: which the build refuses, and which the documentation names as tested.

use std::fs;

use xspace_tests::{build, project_dir};

use crate::docs;

#[path = "../../build_version.rs"]
mod build_version;

use build_version::{AFTER_NEWEST, ALLOW, OLDEST, check};

#[test]
fn versions_that_are_not_known_are_refused() {
    for version in [OLDEST, 1_028_003, AFTER_NEWEST - 1] {
        assert_eq!(check(version, None), Ok(()), "{version}");
    }
    let refused = [
        (
            1_020_002,
            "NGINX 1.20.2 is not supported: the module is tested with 1.22 to 1.31; set XSPACE_ALLOW_UNTESTED_NGINX=1 to build anyway",
        ),
        (OLDEST - 1, "NGINX 1.21.999 is not supported"),
        (AFTER_NEWEST, "NGINX 1.32.0 is not supported"),
        (2_000_000, "NGINX 2.0.0 is not supported"),
    ];
    for (version, why) in refused {
        for allow in [None, Some(""), Some("0")] {
            let said = check(version, allow).expect_err("a refusal");
            assert!(said.starts_with(why) && !said.contains('\n'), "{version}: {said}");
        }
        assert_eq!(check(version, Some("1")), Ok(()), "{version}");
    }
}

#[test]
fn refusal_is_documented() {
    let text = fs::read_to_string(project_dir().join("docs/install.md")).expect("the page");
    assert!(text.contains(&format!("`{ALLOW}=1`")), "docs/install.md does not name {ALLOW}");
}

/// The branches in the table of tested versions, 1.22.1 as (1, 22).
fn tested() -> Vec<(u32, u32)> {
    let versions = docs::column("docs/install.md", "nginx version");
    let branch = |version: &String| {
        let mut numbers = version.split('.').map(|number| number.parse().expect("a number"));
        (numbers.next().expect("a version"), numbers.next().expect("a version with a dot"))
    };
    versions.iter().map(branch).collect()
}

#[test]
fn table_of_tested_versions_has_this_nginx() {
    let (major, minor, _) = build().version();
    assert!(
        tested().contains(&(major, minor)),
        "the table in docs/install.md has no nginx {major}.{minor}, which the suite runs on"
    );
}

#[test]
fn range_of_versions_is_that_of_the_table() {
    let tested = tested();
    let branch = |version: u32| (version / 1_000_000, version / 1000 % 1000);
    assert_eq!(tested.iter().min(), Some(&branch(OLDEST)));
    assert_eq!(tested.iter().max(), Some(&branch(AFTER_NEWEST - 1)));
}

/// The version that `make build` takes without `NGINX_SOURCE`.
fn bundled() -> String {
    let lock = project_dir().join("tools/bundled-nginx/Cargo.lock");
    let lock = fs::read_to_string(lock).expect("the lock file");
    let package = lock.split("name = \"nginx-src\"\nversion = \"").nth(1).expect("nginx-src");
    let version = package.split('"').next().and_then(|version| version.split_once('+'));
    version.expect("a version of crate and NGINX").1.to_owned()
}

#[test]
fn pages_name_the_bundled_version() {
    let version = bundled();
    for page in ["README.md", "SECURITY.md", "docs/install.md", "tools/bundled-nginx/Cargo.toml"] {
        let text = fs::read_to_string(project_dir().join(page)).expect("a page");
        assert!(text.contains(&version), "{page} does not name {version}");
    }
    assert!(docs::column("docs/install.md", "nginx version").contains(&version));
}

#[test]
fn spec_has_the_bundled_version_in_one_place() {
    let spec = project_dir().join("packaging/rpm/nginx-module-xspace.spec");
    let spec = fs::read_to_string(spec).expect("the spec");
    let version = bundled();
    let (branch, _) = version.rsplit_once('.').expect("a version of three numbers");
    let lines: Vec<_> = spec.lines().filter(|line| line.contains(branch)).collect();
    assert_eq!(lines, [format!("%{{!?nginx_version: %global nginx_version {version}}}")]);
}

//! The versions of NGINX that the module is known to be right for.

/// The oldest, as in `nginx_version`: 1022000 is 1.22.0.
pub(crate) const OLDEST: u32 = 1_022_000;

/// The first of those after the newest branch that the source was compared with.
pub(crate) const AFTER_NEWEST: u32 = 1_032_000;

/// Set to 1 in the environment, it allows any version.
pub(crate) const ALLOW: &str = "XSPACE_ALLOW_UNTESTED_NGINX";

/// Checks the version of NGINX that the module is built for.
///
/// # Errors
///
/// A line that names the version, and how to build for it all the same.
pub(crate) fn check(version: u32, allow: Option<&str>) -> Result<(), String> {
    if (OLDEST..AFTER_NEWEST).contains(&version) || allow == Some("1") {
        return Ok(());
    }
    Err(format!(
        "NGINX {} is not supported: the module is tested with {} to {}; set {ALLOW}=1 to build anyway",
        dotted(version),
        branch(OLDEST),
        branch(AFTER_NEWEST - 1)
    ))
}

/// 1028003 is 1.28.3.
fn dotted(version: u32) -> String {
    format!("{}.{}", branch(version), version % 1000)
}

/// 1028003 belongs to 1.28.
fn branch(version: u32) -> String {
    format!("{}.{}", version / 1_000_000, version / 1000 % 1000)
}

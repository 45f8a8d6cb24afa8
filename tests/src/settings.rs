//! What the environment says about how a run of the suite is to be done.

use std::env;
use std::str::FromStr;
use std::sync::OnceLock;
use std::time::Duration;

/// A deadline of so many seconds: long enough for a machine under load, and so many times longer
/// as `XSPACE_TEST_SLOWNESS` says, for an nginx that runs under valgrind or the like. Nothing waits
/// as long when all is well.
pub fn deadline(seconds: u64) -> Duration {
    Duration::from_secs(seconds * u64::from(slowness()))
}

/// How many times slower than usual the nginx under test is.
pub fn slowness() -> u32 {
    *SLOWNESS.get_or_init(|| setting("XSPACE_TEST_SLOWNESS", 1).max(1))
}

/// Sets [`slowness`] in place of the environment. Has no effect once a deadline has been computed.
pub fn set_slowness(times: u32) {
    // An earlier value stays.
    let _ = SLOWNESS.set(times.max(1));
}

static SLOWNESS: OnceLock<u32> = OnceLock::new();

/// A number from the environment.
///
/// # Panics
///
/// If the variable is there and not such a number.
pub fn setting<T: FromStr>(name: &str, default: T) -> T {
    match env::var(name) {
        Ok(text) if !text.is_empty() => {
            text.parse().unwrap_or_else(|_| panic!("{name}={text} is no such number"))
        }
        _ => default,
    }
}

//! The site whose plays are counted.

use std::fs;

use xspace_tests::{Connection, Request, Site, project_dir};

/// Spaces; two differ only in case.
pub const SPACES: [&str; 4] = ["1lDxLnrWjwkGm", "1LDxLnrWjwkGm", "under_score-", "0"];

/// Length of each recording. All of it is a play.
const SIZE: usize = 1000;

/// The log format of nginx-conf/counting.conf.
pub fn log_format() -> String {
    let conf = project_dir().join("nginx-conf/counting.conf");
    let conf = fs::read_to_string(conf).expect("counting.conf");
    let (_, format) = conf.split_once("    log_format plays ").expect("its log format");
    let (format, _) = format.split_once(';').expect("its end");
    format!("log_format plays {format};")
}

/// Each request with another `?who=` is a play, with `&attachment=1` a download. `log` is where the
/// log of plays goes, or `off`.
pub fn counting(log: &str) -> Site {
    let log = if log == "off" { log.to_owned() } else { format!("{log} plays if=$xspace_played") };
    let target = format!("limit_rate 0; access_log {log};");
    let site = Site::with_directives("xspace_listener $arg_who;", &target)
        .http(&log_format())
        .http("xspace_stats_zone plays:4m; xspace_stats plays; keepalive_requests 1000000;")
        .server("location = /status { access_log off; xspace_status json; }")
        .server("location = /metrics { access_log off; xspace_status prometheus; }");
    site.make_dir("log");
    for space in SPACES {
        site.write(&format!("downloads/{space}.mp3"), [7; SIZE]);
    }
    site
}

/// Plays a recording to its end, as a listener of its own.
pub fn play(connection: &mut Connection, space: &str, who: &str, is_download: bool) {
    let attachment = if is_download { "&attachment=1" } else { "" };
    let path = format!("/download/{space}?who={who}{attachment}");
    let response = connection.send(&Request::get(&path));
    assert_eq!((response.status, response.body.len()), (200, SIZE), "{path}: {response:?}");
}

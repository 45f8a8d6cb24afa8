//! nginx where the module can have no threads: one process without a master, an event method that
//! does not know threads.

use std::fs;

use xspace_tests::{Nginx, Site, build, lines_marked, poll};

use crate::common::{FILE, ID, PATH, recording};

/// A catalog with more in front of `http {}`, in `events {}`, behind the file, and below `http {}`.
fn site(before: &str, events: &str, parameters: &str, after: &str) -> Site {
    Site::with_download(&format!("\nxspace_catalog {{dir}}/catalog.json {parameters}; #!\n"))
        .server("location ^~ /downloads/ { internal; alias {dir}/downloads/; }")
        .main(before)
        .events(events)
        .after_http(after)
        .file("catalog.json", format!("{{\"{ID}\": {{\"title\": \"One\"}}}}"))
        .file(FILE, recording())
}

#[track_caller]
fn assert_served(nginx: &Nginx, what: &str) {
    let response = nginx.get(PATH);
    assert_eq!(response.status, 200, "{what}: {response:?}");
    let name = format!("inline; filename=\"One_{ID}.mp3\"");
    assert_eq!(response.header("content-disposition"), Some(name.as_str()), "{what}");
}

/// Whether a process waits for something to happen.
pub fn waits(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("nginx runs");
    stat.rsplit(") ").next().is_some_and(|fields| fields.starts_with('S'))
}

#[test]
fn one_process_survives_a_reload_and_stops() {
    const OFF: &str = "master_process off;";
    for (what, before, after) in [("before http", OFF, ""), ("after http", "", OFF)] {
        for refresh in ["", "refresh=100ms", "refresh=off"] {
            for (is_quick, reloads) in [(false, 0), (true, 0), (false, 1), (true, 1), (false, 2)] {
                let what = format!("{what} {refresh}, quick: {is_quick}, {reloads} reloads");
                let nginx = site(before, "", refresh, after).workers(0).start();
                assert_served(&nginx, &what);
                for count in 1..=reloads {
                    // nginx takes no connections then, with the module and without it, because it
                    // prepares its event loop once only; and of a signal that comes before it waits
                    // for events again it takes no notice.
                    nginx.hang_up();
                    nginx.wait_errors(&["using the \"epoll\" event method"], count + 1);
                    assert!(poll(|| waits(nginx.pid())), "{what}: {}", nginx.error_log());
                }
                if is_quick {
                    nginx.terminate();
                } else {
                    nginx.finish();
                }
            }
        }
    }
}

/// What takes threads from the workers, in front of `http {}`, in `events {}` and behind `http {}`,
/// and what is said of it.
fn without_threads() -> Vec<([&'static str; 3], &'static str)> {
    const NO_MASTER: &str = "\"master_process\" is off";
    const NO_NOTIFY: &str = "the event method does not support threads";
    let mut rows = vec![
        (["master_process off;", "", ""], NO_MASTER),
        (["", "", "master_process off;"], NO_MASTER),
    ];
    if build().require("poll_module") {
        rows.push((["", "use poll;", ""], NO_NOTIFY));
        rows.push((["master_process off;", "use poll;", ""], NO_MASTER));
    }
    rows
}

/// Whatever the level of the error log, which an administrator need not have set.
#[test]
fn catalog_that_is_not_read_again_is_warned_of() {
    for ([before, events, after], why) in without_threads() {
        for level in ["", "error", "emerg", "info"] {
            let what = format!("{before:?} {events:?} {after:?}, level {level:?}");
            let mut site = site(before, events, "", after).log_level(level);
            let places = lines_marked(&site.conf_path(), &site.write_conf());
            let checked = site.check();
            assert!(checked.ok, "{what}: {}", checked.output);
            let message = format!(
                "catalog \"{}/catalog.json\" will not be refreshed: {why}",
                site.dir().display()
            );
            checked.expect_line("warn", &message, &places, &what);
            assert_eq!(checked.output.matches(&message).count(), 1, "{what}: {}", checked.output);

            let mut site = self::site(before, events, "refresh=off", after).log_level(level);
            let checked = site.check();
            assert!(checked.ok, "{what}: {}", checked.output);
            assert!(!checked.output.contains("[warn]"), "{what}: {}", checked.output);
        }
    }
}

#[test]
fn optional_is_refused_where_the_file_is_not_read_again() {
    for ([before, events, after], why) in without_threads() {
        for parameters in ["optional", "only refresh=100ms optional"] {
            for level in ["", "info"] {
                let what = format!("{before:?} {events:?} {after:?} {parameters}, level {level:?}");
                let mut site = site(before, events, parameters, after).log_level(level);
                let places = lines_marked(&site.conf_path(), &site.write_conf());
                let checked = site.check();
                assert!(!checked.ok, "{what}: {}", checked.output);
                let message = format!("catalog.json\" cannot be \"optional\": {why}");
                checked.expect_line("emerg", &message, &places, &what);
            }
        }
    }
}

/// nginx ends if a module fails when its old configuration is already gone: this must come earlier.
#[test]
fn reload_that_would_never_read_an_optional_catalog_again_is_refused() {
    if !build().require("threads") {
        return;
    }
    for ([before, events, after], why) in without_threads() {
        let nginx =
            site("", "", "optional refresh=50ms", "").allow("cannot be \"optional\"").start();
        let workers = nginx.workers();
        let good = fs::read_to_string(nginx.site().conf_path()).expect("nginx.conf");
        let bad = format!(
            "{before}{}\n{after}",
            good.replace("events {", &format!("events {{ {events}"))
        );
        assert_eq!(good.matches("events {").count(), 1, "{good}");
        nginx.site().write("nginx.conf", bad);
        nginx.hang_up();
        nginx.wait_error(&["[emerg]", "cannot be \"optional\": ", why]);
        assert_served(&nginx, "with the old configuration");
        assert!(nginx.has_still(&workers), "{before:?} {events:?} {after:?}");
        // It is still looked at.
        nginx.site().replace("catalog.json", format!("{{\"{ID}\": {{\"title\": \"Two\"}}}}"));
        nginx.wait_error(&["reloaded: "]);
        nginx.site().write("nginx.conf", good);
        nginx.reload();
        assert_eq!(nginx.get(PATH).status, 200);
        nginx.finish();
    }
}

/// Threads tell the event loop that they are done by a way that not all event methods have: a pool
/// would keep the workers from starting.
#[test]
fn workers_start_with_an_event_method_without_threads() {
    if !build().require("poll_module") {
        return;
    }
    for workers in [1, 2] {
        let nginx = site("", "use poll;", "refresh=50ms", "").workers(workers).start();
        assert_served(&nginx, "poll");
        nginx.reload();
        assert_served(&nginx, "poll after a reload");
    }
}

/// A pool that others use stays.
#[test]
fn pool_of_aio_stays_with_workers() {
    let nginx = site("thread_pool default threads=2;", "", "refresh=50ms", "").start();
    assert_served(&nginx, "thread_pool default");
    nginx.site().replace("catalog.json", format!("{{\"{ID}\": {{\"title\": \"Two\"}}}}"));
    nginx.wait_error(&["reloaded: "]);
    nginx.reload();
    nginx.finish();
    let nginx = site("", "", "refresh=50ms", "thread_pool default threads=2;").start();
    assert_served(&nginx, "thread_pool default after http");
    nginx.site().replace("catalog.json", format!("{{\"{ID}\": {{\"title\": \"Two\"}}}}"));
    nginx.wait_error(&["reloaded: "]);
}

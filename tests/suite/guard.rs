//! A panic stays a failed request. The module is one with faults compiled in.

use xspace_tests::{Nginx, Request, Site, build};

use crate::common::{FILE, ID, PATH, assert_no_recording, recording};
#[cfg(feature = "s3")]
use crate::s3;

/// A site with the faulty module, none if there is no such module.
fn site() -> Option<Site> {
    if !build().require("fault_module") {
        return None;
    }
    let module = build().fault_module.as_deref().expect("just asked for");
    Some(
        Site::simple()
            .module(module)
            .allow("panicked")
            .server("location = /plain { return 200 plain; }")
            .server("location = /variable { return 200 \"[$xspace_id]\"; }")
            .file(FILE, recording()),
    )
}

fn panics(nginx: &Nginx) -> usize {
    nginx.error_log().matches("panicked").count()
}

/// The worker is still the same and answers.
#[track_caller]
fn assert_alive(nginx: &Nginx, workers: &[u32]) {
    assert_eq!(nginx.get("/plain").text(), "plain");
    assert!(nginx.has_still(workers));
}

#[test]
fn panic_in_the_handler_is_500() {
    let Some(site) = site() else { return };
    let nginx = site.main("env XSPACE_FAULT=handler;").start();
    let workers = nginx.workers();
    let mut count = 0;
    for protocol in nginx.protocols() {
        for _ in 0..2 {
            let response = nginx.send(protocol, &Request::get(PATH));
            assert_no_recording(&response, 500, &format!("{protocol:?}"));
            count += 1;
            nginx.wait_error(&["[alert]", "panicked at"]);
            assert_eq!(panics(&nginx), count, "one line each: {}", nginx.error_log());
        }
    }
    assert_alive(&nginx, &workers);
}

#[test]
fn panic_in_the_header_filter_is_500() {
    let Some(site) = site() else { return };
    let nginx = site.main("env XSPACE_FAULT=header_filter;").start();
    let workers = nginx.workers();
    let mut count = 0;
    for protocol in nginx.protocols() {
        let response = nginx.send(protocol, &Request::get(PATH));
        assert_no_recording(&response, 500, &format!("{protocol:?}"));
        count += 1;
        nginx.wait_error(&["[alert]", "panicked at"]);
        assert_eq!(panics(&nginx), count, "one line each: {}", nginx.error_log());
    }
    assert_alive(&nginx, &workers);
}

#[test]
fn panic_in_the_filter_for_caches_is_500() {
    let Some(site) = site() else { return };
    let nginx = site
        .server(
            "location ^~ /asked/ { xspace_download /downloads/; xspace_lookup /_space; }
             location = /_space { internal; return 204; }",
        )
        .main("env XSPACE_FAULT=cache_filter;")
        .start();
    let workers = nginx.workers();
    for protocol in nginx.protocols() {
        let response = nginx.send(protocol, &Request::get(&format!("/asked/{ID}")));
        assert_no_recording(&response, 500, &format!("{protocol:?}"));
        nginx.wait_error(&["[alert]", "panicked at"]);
        // Without a lookup nothing is said to caches.
        crate::common::assert_recording(&nginx.get(PATH), "no lookup");
    }
    assert_alive(&nginx, &workers);
}

#[cfg(feature = "links")]
#[test]
fn panic_in_the_access_handler_lets_nobody_in() {
    let Some(site) = site() else { return };
    let nginx = site
        .file("keys", xspace_tests::LinkKey::new("k1").line())
        .server(
            "location ^~ /linked/ {
                 xspace_download /downloads/; xspace_link $arg_token; xspace_link_keys keys;
                 satisfy any; deny all;
             }",
        )
        .main("env XSPACE_FAULT=access;")
        .start();
    let workers = nginx.workers();
    let token = xspace_tests::LinkKey::new("k1").token(ID, 999_999_999_999, ["-", "-", "-"]);
    for protocol in nginx.protocols() {
        for path in [format!("/linked/{ID}"), format!("/linked/{ID}?token={token}")] {
            let response = nginx.send(protocol, &Request::get(&path));
            assert_no_recording(&response, 500, &format!("{protocol:?} {path}"));
        }
        nginx.wait_error(&["[alert]", "panicked at"]);
        // Elsewhere the handler has nothing to do.
        crate::common::assert_recording(&nginx.get(PATH), "no link");
    }
    assert_alive(&nginx, &workers);
}

#[test]
fn panic_in_a_variable_leaves_it_empty_or_fails_the_request() {
    let Some(site) = site() else { return };
    let nginx = site.main("env XSPACE_FAULT=variable;").start();
    let workers = nginx.workers();
    for protocol in nginx.protocols() {
        let response = nginx.send(protocol, &Request::get("/variable"));
        assert!(
            response.status == 500 || (response.status == 200 && response.text() == "[]"),
            "{protocol:?}: {response:?}"
        );
    }
    nginx.wait_error(&["[alert]", "panicked at"]);
    assert_alive(&nginx, &workers);
}

/// The recording is sent by then.
#[test]
fn panic_while_a_request_is_counted_does_no_harm() {
    let Some(site) = site() else { return };
    let nginx = site
        .http("xspace_stats_zone plays:1m; xspace_stats plays;")
        .http("log_format path $uri; access_log {dir}/access.log path;")
        .main("env XSPACE_FAULT=log;")
        .start();
    let workers = nginx.workers();
    for (count, protocol) in (1..).zip(nginx.protocols()) {
        let response = nginx.send(protocol, &Request::get(PATH));
        crate::common::assert_recording(&response, &format!("{protocol:?}"));
        nginx.wait_errors(&["[alert]", "panicked at"], count);
        // The other handlers of the phase run all the same.
        assert_eq!(nginx.log_lines("access.log", count).len(), count);
    }
    assert_alive(&nginx, &workers);
}

#[test]
fn panic_in_the_status_page_is_500() {
    let Some(site) = site() else { return };
    let nginx = site
        .http("xspace_stats_zone plays:1m; xspace_stats plays;")
        .server("location = /status { xspace_status json; }")
        .main("env XSPACE_FAULT=status;")
        .start();
    let workers = nginx.workers();
    for protocol in nginx.protocols() {
        for path in ["/status", "/status?top=9"] {
            assert_eq!(nginx.send(protocol, &Request::get(path)).status, 500, "{protocol:?}");
        }
    }
    nginx.wait_error(&["[alert]", "panicked at"]);
    assert_alive(&nginx, &workers);
}

#[test]
fn panic_while_a_zone_is_made_fails_the_check() {
    let Some(site) = site() else { return };
    let site = site.http("xspace_stats_zone plays:1m; xspace_stats plays;");
    let mut site = site.environment("XSPACE_FAULT", "zone").main("env XSPACE_FAULT;");
    let checked = site.check();
    assert!(!checked.ok, "{}", checked.output);
    assert!(checked.output.contains("test failed"), "{}", checked.output);
}

#[test]
fn panic_while_reading_the_configuration_fails_the_check() {
    let Some(site) = site() else { return };
    let mut site = site.environment("XSPACE_FAULT", "configuration").main("env XSPACE_FAULT;");
    let checked = site.check();
    assert!(!checked.ok, "{}", checked.output);
    assert_eq!(checked.output.matches("panicked at").count(), 1, "{}", checked.output);
    assert!(checked.output.contains("test failed"), "{}", checked.output);
}

#[test]
fn without_a_fault_the_same_module_serves() {
    let Some(site) = site() else { return };
    let nginx = site.start();
    crate::common::assert_recording(&nginx.get(PATH), "no fault");
    assert_eq!(panics(&nginx), 0);
}

#[cfg(feature = "s3")]
#[test]
fn panic_in_the_filter_of_stores_is_500() {
    if !build().require("fault_module") {
        return;
    }
    let module = build().fault_module.as_deref().expect("just asked for");
    let app = s3::serve(&s3::store());
    let nginx = s3::site(&app, s3::S3, s3::CATALOG, s3::CACHED)
        .module(module)
        .allow("panicked")
        .server("location = /plain { return 200 plain; }")
        .main("env XSPACE_FAULT=store_filter;")
        .start();
    let workers = nginx.workers();
    for protocol in nginx.protocols() {
        let response = nginx.send(protocol, &Request::get(PATH));
        assert_no_recording(&response, 500, &format!("{protocol:?}"));
    }
    nginx.wait_error(&["[alert]", "panicked at"]);
    assert_eq!(nginx.get("/plain").text(), "plain");
    // The processes of the cache come later.
    let alive = nginx.workers();
    assert!(workers.iter().all(|pid| alive.contains(pid)), "{workers:?} {alive:?}");
}

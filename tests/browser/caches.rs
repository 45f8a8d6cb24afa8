//! The browser's own cache: what is no longer to be heard, or has been replaced, is not replayed.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;
use xspace_tests::{Application, Reply, project_dir};

use crate::site::{alone, can_run, log_of, name_in_log, number, scenario, site, text};

#[test]
fn recordings_that_are_refused_or_replaced_are_not_replayed() {
    if !can_run() {
        return;
    }
    let _alone = alone();
    let refused = Arc::new(AtomicBool::new(false));
    let is_refused = Arc::clone(&refused);
    let application = Application::start(move |asked| match asked.path() {
        "/refuse" => {
            is_refused.store(true, Ordering::SeqCst);
            Reply::status(200)
        }
        _ if asked.argument("id") == Some("refused") && is_refused.load(Ordering::SeqCst) => {
            Reply::status(403)
        }
        _ => Reply::json(r#"{"title": "A talk"}"#),
    });
    // Of the sample for a directory alone, what its target says to caches is under test.
    let conf = fs::read_to_string(project_dir().join("nginx-conf/minimal.conf")).expect("text");
    let start = conf.find("location ^~ /downloads/").expect("the target");
    let target = conf[start..].split('}').next().expect("its end");
    let target = target.replace("/srv/xspace/", "{dir}/");
    let address = application.address();
    let nginx = site(
        &[],
        &format!(
            "{target} }}
             location ^~ /directory/ {{ xspace_download /downloads/; }}
             location ^~ /download/ {{ xspace_download /plain/; xspace_lookup /_space; }}
             location ^~ /plain/ {{ internal; alias {{dir}}/downloads/; }}
             location = /_space {{ internal; proxy_pass http://{address}/lookup; }}
             location = /refuse {{ proxy_pass http://{address}; }}"
        ),
    )
    .file("html/blank.html", "<!doctype html><link rel=\"icon\" href=\"data:,\">")
    .start();
    for protocol in nginx.protocols() {
        refused.store(false, Ordering::SeqCst);
        let recordings: Vec<_> = [
            ("/download/refused", "refused"),
            ("/download/replaced", "replaced"),
            ("/directory/open", "open"),
            ("/static/control.mp3", "control"),
        ]
        .iter()
        .map(|(path, id)| json!({ "path": path, "file": format!("downloads/{id}.mp3") }))
        .collect();
        let seen = scenario(
            &nginx,
            protocol,
            "caches",
            json!({ "recordings": recordings, "refused": "/download/refused" }),
        );
        let what = format!("{protocol:?}: {seen}");
        assert_eq!(seen["/download/refused"], json!(["200 old", "200 old", "403"]), "{what}");
        for path in ["/download/replaced", "/directory/open"] {
            assert_eq!(seen[path], json!(["200 old", "200 old", "200 new"]), "{what}");
            // It is not sent a second time as long as it is the same.
            let lines = log_of(&nginx, path);
            let statuses: Vec<f64> = lines
                .iter()
                .filter(|line| text(line, "protocol") == name_in_log(protocol))
                .map(|line| number(line, "status"))
                .collect();
            assert_eq!(statuses, [200.0, 304.0, 200.0], "{path} {what}");
        }
        // So would it be if nothing were said: this browser keeps what it may.
        let control = &seen["/static/control.mp3"];
        assert_eq!(*control, json!(["200 old", "200 old", "200 old"]), "{what}");
    }
}

//! Sites that ask an application about a space.

use std::fs;

use xspace_tests::{Application, Asked, Nginx, Protocol, Reply, Request, Response, Site};

use crate::common::{FILE, assert_no_recording, recording};

/// What the module says that it did.
pub const LOG: &str =
    "log_format lookup escape=none '$status|$xspace_outcome|$xspace_source|$xspace_id|'
                                         '$xspace_format|$xspace_file|$xspace_title';
                       access_log {dir}/access.log lookup;";

/// `/download/` with these directives asks the application; `lookup` is more for the location
/// that does it.
pub fn asking(application: &Application, download: &str, lookup: &str) -> Site {
    let address = application.address();
    site(download, &format!("internal; proxy_pass http://{address}/lookup; {lookup}"))
}

/// `/download/` with these directives asks the location `/_space`, of which this is all. There is
/// one recording, [`FILE`].
pub fn site(download: &str, lookup: &str) -> Site {
    Site::with_directives(&format!("xspace_lookup /_space; {download}"), "")
        .http(LOG)
        .server(&format!("location = /_space {{ {lookup} }}"))
        .file(FILE, recording())
}

/// An application that knows of the spaces `row0`, `row1`, … what the rows say.
pub fn rows(replies: Vec<Reply>) -> Application {
    Application::start(move |asked| {
        row(asked).and_then(|row| replies.get(row)).cloned().unwrap_or_else(|| Reply::status(404))
    })
}

/// The row that is asked for.
fn row(asked: &Asked) -> Option<usize> {
    asked.argument("id")?.strip_prefix("row")?.parse().ok()
}

/// A recording for each of the first rows, so that one could be served.
#[must_use]
pub fn with_files(site: Site, rows: usize) -> Site {
    for row in 0..rows {
        fs::hard_link(site.dir().join(FILE), site.dir().join(format!("downloads/row{row}.mp3")))
            .expect("a second name for the recording");
    }
    site
}

/// The module's own lines at level error that speak of the lookup. NGINX's lines name it only in
/// what follows ", client:".
pub fn own_errors(nginx: &Nginx) -> Vec<String> {
    let log = nginx.error_log();
    log.lines().filter(|line| is_own_error(line)).map(str::to_owned).collect()
}

fn is_own_error(line: &str) -> bool {
    let message = line.split(", client:").next().unwrap_or_default();
    line.contains("[error]") && message.contains("lookup") && message.contains("\"/_space\"")
}

/// Fails unless the space is answered with 502 and the log says why in exactly one line of the
/// module's own, with `reason` in it.
#[track_caller]
pub fn assert_bad_answer(nginx: &Nginx, path: &str, reason: &str, what: &str) {
    let before = own_errors(nginx).len();
    let response = nginx.get(path);
    assert_no_recording(&response, 502, what);
    assert_plain_page(&response, what);
    let lines = own_errors(nginx);
    assert_eq!(lines.len() - before, 1, "{what}: {:#?}", &lines[before..]);
    let line = &lines[before];
    let message = line.split(", client:").next().unwrap_or_default();
    assert!(message.contains(reason), "{what}: {reason:?} is not in {line}");
    // NGINX would add what it was about in the subrequest.
    for end in [" to client", " upstream"] {
        assert!(!message.ends_with(end), "{what}: {line}");
    }
}

/// Fails unless the page is NGINX's own, without anything that the application said.
#[track_caller]
pub fn assert_plain_page(response: &Response, what: &str) {
    // NGINX has no page for 451.
    if response.status == 451 {
        assert_eq!(response.text(), "", "{what}: {response:?}");
    } else {
        assert_eq!(response.header("content-type"), Some("text/html"), "{what}: {response:?}");
        assert!(response.text().contains("<center>nginx"), "{what}: {response:?}");
    }
    for (name, value) in &response.headers {
        assert!(
            !name.starts_with("x-") && name != "set-cookie",
            "{what}: {name}: {value} is the application's"
        );
    }
}

/// A GET of the space over a protocol.
pub fn get(nginx: &Nginx, protocol: Protocol, path: &str) -> Response {
    nginx.send(protocol, &Request::get(path))
}

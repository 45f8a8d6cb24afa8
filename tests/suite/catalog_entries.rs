//! Entries that say that there is nothing to serve, and entries that can't be used.

use std::fs;

use xspace_tests::{Application, Nginx, Protocol, Reply, Request, Response, Site, build};

use crate::asking::{asking, rows};
use crate::common::{FILE, ID, PATH, assert_no_recording, assert_recording, recording};

const SAYS: &str = "add_header X-Says '$xspace_outcome|$xspace_source|$xspace_title' always;";

/// A site with a recording of [`ID`] in its directory, whose catalog says this of it.
fn site(entries: &str) -> Site {
    Site::with_directives("xspace_catalog {dir}/catalog.json refresh=50ms;", "")
        .server(SAYS)
        .file(FILE, recording())
        .file("catalog.json", format!("{{{entries}}}"))
}

fn says(response: &Response) -> &str {
    response.header("x-says").unwrap_or_default()
}

/// Fails unless the space is answered with 500, and a line in the log says of which entry that is.
#[track_caller]
fn assert_unusable(nginx: &Nginx, cause: &str, what: &str) {
    let line = format!("entry of space \"{ID}\" in catalog \"");
    for protocol in nginx.protocols() {
        for request in
            [Request::get(PATH), Request::head(PATH), Request::get(&format!("{PATH}.mp3"))]
        {
            let before = nginx.count_errors(&["[error]", &line]);
            let response = nginx.send(protocol, &request);
            assert_no_recording(&response, 500, what);
            assert_eq!(says(&response), "error||", "{what}");
            nginx.wait_errors(
                &["[error]", &line, "catalog.json\" is unusable: ", cause],
                before + 1,
            );
        }
    }
}

#[test]
fn null_is_no_key() {
    for entry in [
        "{\"title\": null}",
        "{\"title\": null, \"files\": null, \"status\": null, \"duration\": null}",
        "{\"duration\": 3599.25}",
    ] {
        let nginx = site(&format!("\"{ID}\": {entry}")).start();
        assert_recording(&nginx.get(PATH), entry);
    }
}

#[test]
fn empty_list_of_files_is_404() {
    for (entry, title) in [
        ("{\"files\": []}", ""),
        ("{\"files\": [], \"title\": \"A title\", \"duration\": 60}", "A title"),
    ] {
        let nginx = site(&format!("\"{ID}\": {entry}")).start();
        for path in [PATH, &format!("{PATH}.mp3"), &format!("{PATH}?format=audio")] {
            for protocol in nginx.protocols() {
                let response = nginx.send(protocol, &Request::get(path));
                assert_no_recording(&response, 404, entry);
                assert_eq!(says(&response), format!("not_found||{title}"), "{entry}");
            }
        }
        nginx.wait_error(&["[error]", &format!("catalog entry of space \"{ID}\" has no files")]);
    }
    // As a missing file is logged.
    let quiet = Site::with_directives("xspace_catalog {dir}/catalog.json;", "log_not_found off;")
        .file("catalog.json", format!("{{\"{ID}\": {{\"files\": []}}}}"))
        .start();
    assert_eq!(quiet.get(PATH).status, 404);
    assert_eq!(quiet.count_errors(&["[error]"]), 0, "{}", quiet.error_log());
}

#[test]
fn unusable_entry_is_500_and_never_the_directory() {
    for (entry, cause) in [
        ("{\"titel\": \"T\"}", "unknown key"),
        ("{\"status\": 410, \"reason\": \"by order\"}", "unknown key"),
        ("{\"status\": 418}", "status is not 403, 404, 410 or 451"),
        ("{\"status\": \"410\"}", "status is not 403, 404, 410 or 451"),
        ("null", "entry is neither a path nor an object"),
        ("{\"files\": [\"../x.mp3\"]}", "dot segment in path"),
        ("\"/etc/passwd\"", "absolute path"),
        ("\"\\ud83c.mp3\"", "invalid Unicode"),
        ("{\"duration\": 0}", "duration is not a number"),
        ("{\"title\": \"a\", \"title\": \"b\"}", "duplicate key"),
    ] {
        let nginx = site(&format!("\"{ID}\": {entry}, \"other\": {{\"title\": \"T\"}}")).start();
        assert_unusable(&nginx, cause, entry);
        assert_eq!(nginx.get("/download/other").status, 404, "{entry}");
    }
    for (entries, cause) in [
        (format!("\"{ID}\": {{}}, \"{ID}\": {{}}"), "duplicate id"),
        (format!("\"{ID}.mp3\": {{\"status\": 410}}"), "white space or a format in the id"),
        (format!("\"{ID}\": {{}}, \"{ID}\\n\": {{\"status\": 410}}"), "white space or a format"),
        (format!("\" {ID}\": {{\"status\": 410}}, \"{ID}\": {{}}"), ""),
        (format!("\"{ID}\": {{\"x\": {}{}}}", "[".repeat(40_000), "]".repeat(40_000)), "too deep"),
        (format!("\"{ID}\": \"{}\"", "x".repeat(5_000_000)), "entry longer than 4 MiB"),
    ] {
        let nginx = site(&entries).start();
        assert_unusable(&nginx, cause, &entries[..entries.len().min(100)]);
    }
}

#[test]
fn half_a_surrogate_pair_in_a_title_is_replaced() {
    if !build().require("http_proxy") {
        return;
    }
    let application =
        rows(vec![Reply::json("{\"title\": \"a \\udf99 b\", \"files\": [\"f.mp3\"]}")]);
    let nginx = asking(&application, "", "").server(SAYS).file("downloads/f.mp3", "f").start();
    let response = nginx.get("/download/row0");
    assert_eq!((response.status, says(&response)), (200, "found|lookup|a \u{fffd} b"));
    let nginx = site(&format!("\"{ID}\": {{\"title\": \"a \\ud83c b\"}}")).start();
    let response = nginx.get(PATH);
    assert_eq!((response.status, says(&response)), (200, "found|directory|a \u{fffd} b"));
}

#[test]
fn lookup_goes_before_an_unusable_entry() {
    if !build().require("http_proxy") {
        return;
    }
    let application = Application::start(|asked| match asked.argument("id") {
        Some("entry") => Reply::json("{\"files\": [\"f.mp3\"]}"),
        Some("refused") => Reply::status(403),
        Some("none") => Reply::json("{\"title\": \"T\", \"files\": []}"),
        Some("null") => Reply::json("{\"title\": null, \"files\": null}"),
        Some("bad") => Reply::json("{\"titel\": \"T\"}"),
        _ => Reply::status(204),
    });
    let ids = ["entry", "refused", "none", "null", "bad", "undecided"];
    let entries: Vec<String> = ids.iter().map(|id| format!("\"{id}\": {{\"titel\": 1}}")).collect();
    let mut site = asking(&application, "xspace_catalog {dir}/catalog.json;", "")
        .server(SAYS)
        .file("catalog.json", format!("{{{}}}", entries.join(",")))
        .file("downloads/f.mp3", "f");
    for id in ids {
        site = site.file(&format!("downloads/{id}.mp3"), id);
    }
    let nginx = site.start();
    for (id, status, says_) in [
        ("entry", 200, "found|lookup|"),
        ("refused", 403, "denied||"),
        ("none", 404, "not_found||T"),
        ("null", 200, "found|directory|"),
        ("bad", 502, "error||"),
        ("undecided", 500, "error||"),
    ] {
        let response = nginx.get(&format!("/download/{id}"));
        assert_eq!((response.status, says(&response)), (status, says_), "{id}");
    }
    nginx.wait_error(&["[error]", "lookup entry of space \"none\" has no files"]);
    nginx.wait_error(&["[error]", "space \"bad\"", "unknown key \"titel\""]);
    nginx.wait_error(&["[error]", "entry of space \"undecided\" in catalog \"", "is unusable"]);
}

/// What is withheld by mistake in a wrong way is told as an error by the workers.
#[test]
fn workers_tell_how_bad_it_is() {
    if !build().require("threads") {
        return;
    }
    let nginx = site("").start();
    for (entries, level, what) in [
        ("\"a\": {\"titel\": 1}, \"b\": {}", "[warn]", "1 usable entries, 1 unusable, 0 skipped"),
        ("\"a b\": {}", "[warn]", "0 usable entries, 0 unusable, 1 skipped"),
        ("\"a\": {\"status\": 4}", "[error]", "0 usable entries, 1 unusable, 0 skipped"),
        (
            "\"a b\": {\"files\": []}, \"c\": {}",
            "[error]",
            "1 usable entries, 0 unusable, 1 skipped",
        ),
    ] {
        nginx.site().replace("catalog.json", format!("{{{entries}}}"));
        nginx.wait_error(&[level, "catalog.json\": ", what]);
    }
    nginx.wait_error(&[
        "[warn]",
        "catalog.json\": unusable \"a\": unknown key \"titel\" at line 1 column 8",
    ]);
    nginx.wait_error(&[
        "[warn]",
        "catalog.json\": skipped \"a b\": not a space id at line 1 column 2",
    ]);
}

/// The catalog of a site, `optional` and not there.
fn optional(refresh: &str) -> Site {
    Site::with_directives(
        &format!("xspace_catalog {{dir}}/catalog.json optional refresh={refresh};"),
        "",
    )
    .server(SAYS)
    .server("location ^~ /plain/ { xspace_catalog off; xspace_download /downloads/; }")
    .file(FILE, recording())
}

#[track_caller]
fn assert_503(nginx: &Nginx, retry_after: &str, what: &str) {
    for protocol in nginx.protocols() {
        let before = nginx.count_errors(&["[error]", "is not loaded yet"]);
        let response = nginx.send(protocol, &Request::get(PATH));
        assert_no_recording(&response, 503, what);
        assert_eq!(response.header("retry-after"), Some(retry_after), "{what}");
        assert_eq!(says(&response), "error||", "{what}");
        nginx.wait_errors(
            &["[error]", &format!("could not serve space \"{ID}\": catalog \"")],
            before + 1,
        );
    }
}

#[test]
fn optional_catalog_that_is_not_there_is_503_until_it_is() {
    if !build().require("threads") {
        return;
    }
    for (refresh, retry_after) in [("50ms", "1"), ("1s", "1"), ("1500ms", "2"), ("90s", "90")] {
        let nginx = optional(refresh).start();
        assert_503(&nginx, retry_after, refresh);
        let plain = nginx.get(&format!("/plain/{ID}"));
        assert_recording(&plain, "a location without a catalog");
    }
    let nginx = optional("50ms").start();
    assert_503(&nginx, "1", "missing");
    for bad in ["{", "[]"] {
        nginx.site().replace("catalog.json", bad);
        nginx.wait_error(&["[error]", "catalog.json\" not loaded: "]);
        assert_503(&nginx, "1", bad);
    }
    nginx.site().replace("catalog.json", "{}");
    nginx.wait_error(&["[notice]", "catalog.json\" reloaded: 0 entries"]);
    assert_recording(&nginx.get(PATH), "read");
    // From now on it stays.
    nginx.site().replace("catalog.json", "{");
    nginx.wait_error(&["[error]", "catalog.json\" not reloaded, keeping the previous version: "]);
    assert_recording(&nginx.get(PATH), "the last good one");

    // A new configuration does not have what the old one has read.
    nginx.reload();
    nginx.wait_error(&["[warn]", "not loaded, requests that need it are answered with 503: "]);
    assert_503(&nginx, "1", "after a reload");
    nginx.site().replace("catalog.json", format!("{{\"{ID}\": {{\"status\": 410}}}}"));
    nginx.wait_errors(&["[notice]", "catalog.json\" reloaded: 1 entries"], 1);
    assert_eq!(nginx.get(PATH).status, 410);
}

#[test]
fn optional_catalog_that_is_deleted_stays() {
    if !build().require("threads") {
        return;
    }
    let nginx = optional("50ms").file("catalog.json", "{}").start();
    assert_recording(&nginx.get(PATH), "there");
    fs::remove_file(nginx.dir().join("catalog.json")).expect("deleted");
    nginx.wait_error(&["[error]", "catalog.json\" not reloaded, keeping the previous version: "]);
    assert_recording(&nginx.get(PATH), "deleted");
    assert_eq!(nginx.send(Protocol::Http1, &Request::head(PATH)).status, 200);
}

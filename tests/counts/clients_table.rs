//! The table of clients in docs/counting.md, and the site that it is about. The browser test has it,
//! too.

use std::collections::BTreeMap;
use std::fs;
use std::thread;

use serde_json::Value;
use xspace_tests::{Nginx, Site, open_files, poll, project_dir};

/// The address of the recording.
pub const PATH: &str = "/download/1lDxLnrWjwkGm";

/// Its file.
pub const FILE: &str = "downloads/1lDxLnrWjwkGm.mp3";

/// Half a minute at once, then twice the bit rate.
const LIMIT: &str = "limit_rate_after 256k; limit_rate 16k;";

/// Without a limit, and with it, at the same time.
pub fn in_both<T: Send>(run: impl Fn(&str) -> T + Sync) -> [T; 2] {
    thread::scope(|scope| {
        ["limit_rate 0;", LIMIT]
            .map(|limit| scope.spawn(|| run(limit)))
            .map(|run| run.join().expect("a client"))
    })
}

/// The site with a limit, or without.
pub fn site(limit: &str) -> Site {
    Site::with_directives(
        "xspace_listener $arg_who; xspace_catalog {dir}/spaces.json;",
        &format!("{limit} add_header Cache-Control no-cache;"),
    )
    .http("xspace_stats_zone plays:1m; xspace_stats plays;")
    .server("location = /status { access_log off; xspace_status json; }")
    .file("spaces.json", r#"{"1lDxLnrWjwkGm": {"duration": 3600}}"#)
}

/// Plays and downloads, when no request is open.
pub fn counts(nginx: &Nginx) -> (u64, u64) {
    // A request counts when nginx has noticed that the client is gone.
    let worker = nginx.wait_worker();
    let is_open = || open_files(worker).iter().any(|path| path.ends_with("1lDxLnrWjwkGm.mp3"));
    assert!(poll(|| !is_open()), "the recording is still open");
    let status: Value = serde_json::from_str(&nginx.get("/status").text()).expect("JSON");
    let count = |name: &str| status[name].as_u64().expect("a count");
    (count("plays"), count("downloads"))
}

/// As in the table.
pub fn in_words(counts: (u64, u64)) -> String {
    match counts {
        (0, 0) => "–".to_owned(),
        (plays, 0) => format!("{plays} play"),
        (0, downloads) => format!("{downloads} download"),
        (plays, downloads) => format!("{plays} play, {downloads} download"),
    }
}

/// Each client of the table in docs/counting.md: without a limit, with a limit.
pub fn table() -> BTreeMap<String, [String; 2]> {
    let page = fs::read_to_string(project_dir().join("docs/counting.md")).expect("the page");
    let (_, table) = page.split_once("\n## Clients\n").expect("its heading");
    let rows = table.lines().skip_while(|line| !line.starts_with("|---")).skip(1);
    let rows = rows.take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        let cells: Vec<String> = row.trim_matches('|').split('|').map(plain).collect();
        let [client, without, with] = &cells[..] else { panic!("{row}") };
        (client.clone(), [without.clone(), with.clone()])
    })
    .collect()
}

fn plain(cell: &str) -> String {
    cell.replace('`', "").trim().to_owned()
}

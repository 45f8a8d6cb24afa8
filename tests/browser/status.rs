//! The page of counts, status.html.

use serde_json::json;
use xspace_tests::Protocol;

use crate::site::{MODULE, MP3, MP4, alone, array, can_run, scenario, site, text};

#[test]
fn the_counts_are_live_on_a_phone_and_in_the_dark() {
    if !can_run() {
        return;
    }
    let _alone = alone();
    let nginx = site(&[&MP3, &MP4], &MODULE.replace("internal;", "internal; limit_rate 0;"))
        .http("xspace_stats_zone plays:1m; xspace_stats plays;")
        .server("location = /status { access_log off; xspace_status json; }")
        .start();
    let requests = json!([
        [MP3.path(), "bytes=0-999999"],
        [format!("{}?attachment=1", MP4.path()), "bytes=1000000-2999999"],
        ["/download/none", ""],
    ]);
    let result = scenario(&nginx, Protocol::Http2, "status", json!({ "requests": requests }));
    assert_eq!(result["statuses"], json!([206, 206, 404]));
    let (before, after) = (&result["before"], &result["after"]);
    let sums = json!(["Plays\n0", "Downloads\n0", "Sent\n0 B", "Spaces\n0"]);
    assert_eq!(before["sums"], sums);
    assert_eq!(before["spaces"], json!([["Nothing was played yet."]]));
    assert_eq!(before["outcomes"], json!([["There was no request yet."]]));
    let sums = json!(["Plays\n1", "Downloads\n1", "Sent\n3.0 MB", "Spaces\n2"]);
    assert_eq!(after["sums"], sums);
    let name = |title: &str, id: &str| format!("{title} {id}");
    assert_eq!(
        after["spaces"],
        json!([
            [name(MP3.title, MP3.id), "1", "0", "1.0 MB"],
            [name(MP4.title, MP4.id), "0", "1", "2.0 MB"],
        ])
    );
    assert_eq!(after["outcomes"], json!([["found", "2"], ["not_found", "1"]]));
    let path = nginx.dir().join("catalog.json");
    let [catalog] = array(&after["catalogs"]) else { panic!("{after}") };
    assert_eq!(catalog[0], path.display().to_string());
    assert_eq!((&catalog[1], &catalog[2]), (&json!("2"), &json!("0")));
    assert!(catalog[3].as_str().is_some_and(|age| age.ends_with(" s ago")), "{catalog}");
    // What WCAG 2 wants of text (AA).
    for scheme in ["light", "dark"] {
        let ratio = result["contrasts"][scheme].as_f64().unwrap_or_default();
        assert!(ratio >= 4.5, "{scheme}: {ratio}");
    }
    assert_ne!(result["contrasts"]["light"], result["contrasts"]["dark"]);
    assert_eq!(text(&result, "failure"), "The counts could not be loaded (status 503).");
}

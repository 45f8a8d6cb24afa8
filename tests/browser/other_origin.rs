//! A page of another origin.

use std::fs;

use serde_json::json;
use xspace_tests::project_dir;

use crate::site::{
    MP3, SLOW, alone, array, can_run, check_log, number, places, scenario, site, text,
};

const SEEKS: usize = 10;

const PAGE: &str = r#"<!doctype html>
<html lang="en">
<title>Another site</title>
<link rel="icon" href="data:,">
<audio crossorigin controls></audio>
<script>
  const audio = document.querySelector("audio");
  audio.src = new URLSearchParams(location.search).get("src");
  // The test seeks through Plyr on the other page.
  audio.plyr = audio;
</script>
"#;

/// The headers are those of nginx-conf/cors.conf.
#[test]
fn a_page_of_another_origin_plays_seeks_and_reads_content_range() {
    if !can_run() {
        return;
    }
    let _alone = alone();
    let conf = fs::read_to_string(project_dir().join("nginx-conf/cors.conf")).expect("UTF-8 text");
    let nginx = site(&[&MP3], &format!("{SLOW} {}", locations_of(&conf)))
        .http("server { listen 127.0.0.1:{other}; root {dir}/other; }")
        .file("other/index.html", PAGE)
        .start();
    let page = nginx.other_url("");
    let port = page.rsplit(':').next().expect("a port");
    for protocol in nginx.protocols() {
        let result = scenario(
            &nginx,
            protocol,
            "other-origin",
            json!({
                "pageOrigin": format!("http://localhost:{port}"),
                "otherOrigins": [format!("http://localhost:{port}")],
                "recordings": [{
                    "id": MP3.id,
                    "code": MP3.code(),
                    "places": places(SEEKS),
                }],
            }),
        );
        assert_eq!(array(&result["seeks"]).len(), SEEKS, "{protocol:?}");
        let answer = &result["answer"];
        assert_eq!(number(answer, "status"), 206.0, "{protocol:?}: {answer}");
        assert_eq!(number(answer, "length"), 1000.0, "{protocol:?}: {answer}");
        assert_eq!(text(answer, "contentLength"), "1000", "{protocol:?}: {answer}");
        assert_eq!(
            text(answer, "contentRange"),
            format!("bytes 1000-1999/{}", MP3.size()),
            "{protocol:?}"
        );
        assert!(check_log(&nginx, protocol, &MP3.path(), MP3.size()) > SEEKS / 2, "{protocol:?}");
    }
}

/// The locations of a configuration with one server, for this test's site, which has a log and a
/// rate of its own.
fn locations_of(conf: &str) -> String {
    let start = conf.find("location ^~").expect("a location");
    let without = |text: &str| text.trim_end().strip_suffix('}').expect("a brace").to_owned();
    let is_of_the_site = |line: &&str| {
        let line = line.trim_start();
        line.starts_with("access_log ") || line.starts_with("limit_rate")
    };
    let text = without(&without(&conf[start..])).replace("/srv/xspace/", "{dir}/");
    text.lines().filter(|line| !is_of_the_site(line)).collect::<Vec<_>>().join("\n")
}

//! A real Prometheus that scrapes nginx, and the queries of docs/grafana-dashboard.json.

use std::fs;
use std::process::{Command, Stdio};

use serde_json::Value;
use xspace_tests::{Address, LinkKey, Program, Protocol, poll, project_dir, wait_for};

use crate::site::{SPACES, counting, play};

/// The format is what Prometheus expects, by its own tool.
#[test]
fn promtool_accepts_the_metrics() {
    let nginx = counting("off")
        .server(
            "location ^~ /asked/ { xspace_download /downloads/; xspace_catalog {dir}/spaces.json; }",
        )
        .file("spaces.json", "{}")
        .start();
    play(&mut nginx.connect(Protocol::Http1), SPACES[0], "one", false);
    let file = nginx.site().write("metrics", nginx.get("/metrics").text());
    let output = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(fs::File::open(file).expect("the metrics"))
        .output()
        .expect("promtool can be run");
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
}

/// The answer to a query: the value of each series, with its labels.
fn query(prometheus: &Address, text: &str) -> Vec<(Value, f64)> {
    let output = Command::new("curl")
        .args(["-sS", "-G", "--data-urlencode", &format!("query={text}")])
        .arg(format!("http://{prometheus}/api/v1/query"))
        .stdin(Stdio::null())
        .output()
        .expect("curl can be run");
    // While it starts, it is not JSON.
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    assert_ne!(answer["status"], "error", "{text}: {answer}");
    let series = answer["data"]["result"].as_array().into_iter().flatten();
    let value = |series: &Value| series["value"][1].as_str().and_then(|text| text.parse().ok());
    series.map(|series| (series["metric"].clone(), value(series).expect("a number"))).collect()
}

/// All queries of the dashboard.
fn queries() -> Vec<String> {
    let path = project_dir().join("docs/grafana-dashboard.json");
    let text = fs::read_to_string(path).expect("the dashboard");
    let dashboard: Value = serde_json::from_str(&text).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels").iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().expect("targets"));
    targets.map(|target| target["expr"].as_str().expect("a query").to_owned()).collect()
}

/// Each query of the dashboard gives what was counted, and each metric is in one of them.
#[test]
fn the_dashboard_shows_what_prometheus_has_scraped() {
    let site = counting("off")
        .server(
            "location ^~ /asked/ {
                 xspace_download /downloads/; xspace_lookup /_space;
                 xspace_catalog {dir}/spaces.json;
             }
             location = /_space { internal; return 204; }
             location ^~ /linked/ {
                 xspace_download /downloads/; xspace_link $arg_token; xspace_link_keys {dir}/links.keys;
             }",
        )
        .file("links.keys", LinkKey::new("k1").line())
        .file("spaces.json", r#"{"a": {"title": "one"}, "b": {"title": 7}}"#);
    site.chmod("links.keys", 0o600);
    let nginx = site.start();
    let address = Address::free();
    let dir = nginx.site().make_dir("prometheus");
    let config = format!(
        "global: {{scrape_interval: 1s}}\n\
         scrape_configs: [{{job_name: nginx, static_configs: [{{targets: [\"{}\"]}}]}}]\n",
        nginx.address(Protocol::Http1)
    );
    let config = nginx.site().write("prometheus.yml", config);
    let mut command = Command::new("/usr/bin/prometheus");
    command
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", dir.display()))
        .arg(format!("--web.listen-address={address}"));
    let prometheus = Program::start(command, address);
    let ask = |text: &str| query(prometheus.address(), text);
    assert!(poll(|| !ask("xspace_plays_total").is_empty()), "{}", prometheus.log());

    let mut connection = nginx.connect(Protocol::Http1);
    for number in 0..5 {
        play(&mut connection, SPACES[1], &number.to_string(), number > 2);
        assert_eq!(nginx.get(&format!("/asked/{}", SPACES[0])).status, 200);
        assert_eq!(nginx.get("/download/none").status, 404);
        assert_eq!(nginx.get(&format!("/linked/{}", SPACES[0])).status, 403);
    }
    // The play of one listener in /asked/ is the fourth.
    let one =
        |value: f64| wait_for(|| ask("xspace_plays_total").pop().filter(|one| one.1 == value));
    assert!(one(4.0).is_some(), "{:?}", ask("xspace_plays_total"));

    let metrics = nginx.get("/metrics").text();
    let mut queries = queries();
    // A module that was built without links does not count them.
    queries.retain(|text| !text.contains("_link_") || metrics.contains("_link_"));
    assert!(queries.len() >= 12, "{queries:?}");
    for text in &queries {
        let text = text.replace("$__rate_interval", "1m").replace("$__range", "1h");
        assert!(!text.contains('$'), "{text}");
        // A rate needs two values.
        let found = wait_for(|| {
            let series = ask(&text);
            let is_number = series.iter().all(|(_, value)| value.is_finite());
            let is_zero = series.iter().all(|&(_, value)| value == 0.0);
            let may_be_zero = text.contains("discarded");
            (!series.is_empty() && is_number && (!is_zero || may_be_zero)).then_some(series)
        });
        let found = found.unwrap_or_else(|| panic!("{text}: {:?}", ask(&text)));
        println!("{text}: {found:?}");
    }
    for name in metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, _) = name.split_once(' ').expect("a type");
        let is_shown = queries.iter().any(|text| text.contains(name));
        let is_other = ["xspace_listeners_limit", "xspace_created_timestamp_seconds"];
        assert!(is_shown || is_other.contains(&name), "{name} is in no panel");
    }
}

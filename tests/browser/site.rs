//! The site, its recordings, and the browser.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use xspace_tests::{
    Nginx, PICTURE_COLUMNS, PICTURE_RATE, Protocol, Site, TONE_BASE, TONE_SLOPE, build,
    end_with_this_process, hour, median, project_dir,
};

/// An hour of a recording.
pub struct Recording {
    /// The space.
    pub id: &'static str,
    /// Its title.
    pub title: &'static str,
    /// Format of the file.
    pub format: &'static str,
    /// Media type of the file.
    pub media_type: &'static str,
}

pub const MP3: Recording = Recording {
    id: "1lDxLnrWjwkGm",
    title: "An hour of sound",
    format: "mp3",
    media_type: "audio/mpeg",
};
pub const MP4: Recording = Recording {
    id: "1PlJQpLBvMdxE",
    title: "An hour of video",
    format: "mp4",
    media_type: "video/mp4",
};
pub const WAV: Recording = Recording {
    id: "1OwxWYzDXjWGQ",
    title: "Μία ώρα: Über die Töne, 一時間",
    format: "wav",
    media_type: "audio/wav",
};

impl Recording {
    /// Where the page gets it from.
    pub fn path(&self) -> String {
        format!("/download/{}", self.id)
    }

    /// That, and the other locations that have the file.
    fn paths(&self) -> [String; 11] {
        let Self { id, format, .. } = self;
        [
            self.path(),
            format!("/with-session/{id}"),
            format!("/without-session/{id}"),
            format!("/static/{id}.{format}"),
            format!("/broken/{id}"),
            format!("/x-accel/{id}"),
            format!("/send-file/{id}"),
            format!("/ranges/{id}"),
            format!("/ranges-in-memory/{id}"),
            format!("/unbuffered/send-file/{id}"),
            format!("/unbuffered/ranges/{id}"),
        ]
    }

    /// Its file.
    pub fn file(&self) -> String {
        format!("{}.{}", self.id, self.format)
    }

    /// Length of the file.
    pub fn size(&self) -> u64 {
        fs::metadata(hour(&format!("hour.{}", self.format))).expect("the recording is there").len()
    }

    /// How it tells its time.
    pub fn code(&self) -> Value {
        match self.format {
            "mp4" => json!({ "columns": PICTURE_COLUMNS, "rate": PICTURE_RATE }),
            _ => json!({ "base": TONE_BASE, "slope": TONE_SLOPE }),
        }
    }
}

/// So many places all over the hour, forwards and backwards in turns and each time at another
/// distance; the first ones are near the start and the end.
pub fn places(count: usize) -> Vec<f64> {
    let spread = |i: usize| (i as f64 * 0.618_033_988_749_895).fract();
    let others = (1..).map(|i| (spread(i) * 3_580_000.0).round() / 1000.0 + 2.0);
    [3590.0, 0.5].into_iter().chain(others).take(count).collect()
}

/// One browser at a time: there are two processors, and times are compared.
pub fn alone() -> MutexGuard<'static, ()> {
    static BROWSER: Mutex<()> = Mutex::new(());
    BROWSER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The module and its target.
pub const MODULE: &str = "
    location ^~ /download/ {
        xspace_download /downloads/;
        xspace_catalog  {dir}/catalog.json only;
    }
    location ^~ /downloads/ { internal; alias {dir}/downloads/; }";

/// A listener's line is slower than the loopback interface, on which the browser would have all of
/// a recording after a few seeks: so each seek ends an answer that is still being sent, and most
/// need another one.
pub const SLOW: &str = "limit_rate 500k;";

/// How requests are logged, for [`log_of`].
pub const LOG: &str = "
    log_format json escape=json '{\"method\":\"$request_method\",\"asked\":\"$request_uri\",'
        '\"protocol\":\"$server_protocol\",\"status\":$status,\"bytes\":$bytes_sent,'
        '\"range\":\"$http_range\",\"content_range\":\"$sent_http_content_range\",'
        '\"upstream_bytes\":\"$upstream_bytes_received\",\"link\":\"$xspace_link_status\"}';
    access_log {dir}/access.log json;";

/// The demonstration's page with these recordings, and a plain location `/static/` with the files.
/// `server` goes into the server.
pub fn site(recordings: &[&Recording], server: &str) -> Site {
    let site = Site::new()
        .http(
            "types {
                text/html html; text/css css; text/javascript js; image/svg+xml svg;
                application/json json; audio/mpeg mp3; audio/wav wav; video/mp4 mp4;
            }",
        )
        .http(LOG)
        .server("location ^~ /static/ { alias {dir}/downloads/; }")
        .server(server);

    copy_all(&project_dir().join("demo/www"), &site, "html");
    let plyr = project_dir().join("build/npm/demo/node_modules/plyr/dist");
    assert!(plyr.is_dir(), "make suite-browser installs Plyr to {}", plyr.display());
    for name in ["plyr.css", "plyr.min.js", "plyr.svg"] {
        site.write(&format!("html/plyr/{name}"), fs::read(plyr.join(name)).expect(name));
    }

    let mut catalog = serde_json::Map::new();
    let mut list = Vec::new();
    for recording in recordings {
        let Recording { id, title, format, media_type } = recording;
        let file = recording.file();
        site.share(&hour(&format!("hour.{format}")), &format!("downloads/{file}"));
        catalog.insert(id.to_string(), json!({ "title": title, "files": [file] }));
        list.push(json!({
            "id": id,
            "title": title,
            "seconds": 3600,
            "files": [{ "format": format, "type": media_type, "bytes": recording.size() }],
        }));
    }
    site.write("html/recordings.json", Value::from(list).to_string());
    site.write("catalog.json", Value::from(catalog).to_string());
    site
}

/// What the browser calls a protocol.
pub fn name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Http1 => "http/1.1",
        Protocol::Http2 => "h2",
        Protocol::Http3 => "h3",
    }
}

/// What NGINX calls it.
pub fn name_in_log(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Http1 => "HTTP/1.1",
        Protocol::Http2 => "HTTP/2.0",
        Protocol::Http3 => "HTTP/3.0",
    }
}

/// Runs a scenario; gives its result, or what it complains about.
pub fn try_scenario(
    nginx: &Nginx,
    protocol: Protocol,
    scenario: &str,
    more: Value,
) -> Result<Value, String> {
    let modules = project_dir().join("build/npm/tests/browser");
    let port = nginx.address(protocol).port();
    let scheme = if protocol == Protocol::Http1 { "http" } else { "https" };
    let mut settings = json!({
        "protocol": name(protocol),
        "origin": format!("{scheme}://localhost:{port}"),
        "tlsPort": nginx.address(Protocol::Http2).port(),
        "certificate": nginx.dir().join("cert.pem"),
        "directory": nginx.dir(),
        "modules": modules,
    });
    // Of every path that a scenario can ask a range of.
    settings["sizes"] = [MP3, MP4, WAV]
        .iter()
        .flat_map(|recording| {
            let size = Value::from(recording.size());
            recording.paths().map(|path| (path, size.clone()))
        })
        .collect::<serde_json::Map<_, _>>()
        .into();
    for (key, value) in more.as_object().expect("an object") {
        settings[key] = value.clone();
    }
    // All waiting in a scenario has a deadline of its own, this is for the browser itself. Node.js
    // ends the browser when it is told to end.
    let mut command = Command::new("timeout");
    command
        .args(["--foreground", "--kill-after=30", "1200", "node"])
        .arg(project_dir().join(format!("tests/browser/{scenario}.mjs")))
        .arg(settings.to_string())
        .stdin(Stdio::null());
    end_with_this_process(&mut command);
    let output = command.output().unwrap_or_else(|e| panic!("cannot run {scenario}: {e}"));
    let stdout = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{scenario} over {protocol:?}: {}\n{stderr}{stdout}", output.status));
    }
    let last = stdout.lines().last().unwrap_or_default();
    serde_json::from_str(last).map_err(|e| format!("{scenario} gave {stdout:?}: {e}"))
}

/// Runs a scenario that has to succeed.
#[track_caller]
pub fn scenario(nginx: &Nginx, protocol: Protocol, scenario: &str, more: Value) -> Value {
    try_scenario(nginx, protocol, scenario, more).unwrap_or_else(|message| panic!("{message}"))
}

/// The lines of the access log so far that are of a GET of this path.
pub fn log_of(nginx: &Nginx, path: &str) -> Vec<Value> {
    let log = fs::read_to_string(nginx.dir().join("access.log")).expect("access.log");
    log.lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap_or_else(|e| panic!("{line:?}: {e}")))
        .filter(|line| text(line, "method") == "GET")
        .filter(|line| text(line, "asked").split('?').next() == Some(path))
        .collect()
}

/// A string of an object.
#[track_caller]
pub fn text<'a>(object: &'a Value, key: &str) -> &'a str {
    object[key].as_str().unwrap_or_else(|| panic!("no text {key} in {object}"))
}

/// A number of an object.
#[track_caller]
pub fn number(object: &Value, key: &str) -> f64 {
    object[key].as_f64().unwrap_or_else(|| panic!("no number {key} in {object}"))
}

/// The elements of an array.
#[track_caller]
pub fn array(value: &Value) -> &[Value] {
    value.as_array().unwrap_or_else(|| panic!("no array: {value}"))
}

/// The server's side of it: each of the requests for the recording came by the protocol that is
/// tested and was answered with the range it asked for, or with 304.
#[track_caller]
pub fn check_log(nginx: &Nginx, protocol: Protocol, path: &str, size: u64) -> usize {
    let lines = log_of(nginx, path);
    let lines: Vec<&Value> =
        lines.iter().filter(|line| text(line, "protocol") == name_in_log(protocol)).collect();
    for line in &lines {
        let range = text(line, "range");
        let what = format!("{path} over {protocol:?}: {line}");
        // The browser has this range, and asks whether it is still good: "no-cache" of the samples.
        if number(line, "status") == 304.0 {
            continue;
        }
        let (first, last) = range
            .strip_prefix("bytes=")
            .and_then(|range| range.split_once('-'))
            .unwrap_or_else(|| panic!("{what}: a request without a range"));
        let last = match last {
            "" => size - 1,
            last => last.parse::<u64>().expect("a number").min(size - 1),
        };
        assert_eq!(number(line, "status"), 206.0, "{what}");
        assert_eq!(text(line, "content_range"), format!("bytes {first}-{last}/{size}"), "{what}");
    }
    lines.len()
}

/// The value in the middle, and the largest; NaN if there are none.
pub fn median_and_worst(values: &[f64]) -> (f64, f64) {
    let values = values.iter().copied();
    (median(values.clone()), values.fold(f64::NAN, f64::max))
}

/// The times of the seeks of one source, in milliseconds.
pub fn times(source: &Value) -> Vec<f64> {
    array(&source["seeks"]).iter().map(|seek| number(seek, "milliseconds")).collect()
}

/// Tells whether the nginx has what these tests need.
pub fn can_run() -> bool {
    build().require("http_v3")
}

fn copy_all(from: &Path, site: &Site, to: &str) {
    for entry in fs::read_dir(from).unwrap_or_else(|e| panic!("{}: {e}", from.display())) {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy();
        site.write(&format!("{to}/{name}"), fs::read(&path).expect("a file"));
    }
}

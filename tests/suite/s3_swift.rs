//! Recordings in OpenStack Swift, whose interface of Amazon S3 verifies signatures.

use std::fs;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use xspace_tests::{
    Nginx, Protocol, Request, Site, StoreKey, end_with_this_process, free_port, poll, project_dir,
    same_bytes, setting,
};

use crate::common::{PATH, assert_no_recording, assert_recording, recording};
use crate::s3::{CACHED, CATALOG, DIRECT, OBJECT, odd_names_of, site_at};

const REGION: &str = "us-east-1";
const BUCKET: &str = "recordings";

/// Swift in a process of its own, which ends with the test.
struct Swift {
    process: std::process::Child,
    address: SocketAddr,
    /// Of its files.
    site: Site,
}

impl Swift {
    fn start() -> Self {
        let site = Site::new();
        let dir = site.make_dir("swift");
        let port = free_port();
        // Debian's Python, because the packages are Debian's.
        let mut command = Command::new("/usr/bin/python3");
        let log = fs::File::create(dir.join("log")).expect("a log");
        command
            .arg(project_dir().join("tests/store/run-swift"))
            .arg(&dir)
            .arg(port.to_string())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .stdin(Stdio::null());
        end_with_this_process(&mut command);
        let process = command.spawn().expect("/usr/bin/python3 runs");
        let swift = Self { process, address: ([127, 0, 0, 1], port).into(), site };
        let read = || fs::read_to_string(dir.join("log")).unwrap_or_default();
        // Warnings of its libraries come before it.
        let is_ready = || read().lines().any(|line| line == "ready");
        assert!(poll(is_ready), "Swift does not start: {}", read());
        assert_eq!(swift.put("", b""), 200, "a bucket");
        swift
    }

    fn key() -> StoreKey {
        StoreKey { id: "test:tester".into(), secret: "testing".into(), token: None }
    }

    /// Sends a signed request, and returns the status.
    fn put(&self, object: impl AsRef<[u8]>, content: &[u8]) -> u16 {
        let host = self.address.to_string();
        let slash: &[u8] = if object.as_ref().is_empty() { b"" } else { b"/" };
        let path = [b"/", BUCKET.as_bytes(), slash, object.as_ref()].concat();
        let (path, fields) = Self::key().sign(("PUT", &host, REGION), &path, content);
        self.curl(&path, &fields, Some(content))
    }

    /// The status that curl gets.
    fn curl(&self, path: &str, fields: &[(&str, String)], content: Option<&[u8]>) -> u16 {
        let mut command = Command::new("curl");
        command.args([
            "--silent",
            "--path-as-is",
            "--output",
            "/dev/null",
            "--write-out",
            "%{http_code}",
        ]);
        for (name, value) in fields {
            command.arg("--header").arg(format!("{name}: {value}"));
        }
        if let Some(content) = content {
            let file = self.site.write("content", content);
            command.arg("--upload-file").arg(file);
        }
        let output = command.arg(format!("http://{}{path}", self.address)).output();
        let output = output.expect("curl runs");
        String::from_utf8_lossy(&output.stdout).parse().expect("a status")
    }

    fn edge(&self, key: &StoreKey, target: &str) -> Nginx {
        let s3 = format!(
            "xspace_s3 bucket={BUCKET} region={REGION} credentials=credentials endpoint-host={}",
            self.address
        );
        site_at(self.address, &s3, CATALOG, target)
            .server("merge_slashes off; location /raw/ { rewrite (?s)^/raw/(.*)$ /recordings/$1 last; }")
            .file("credentials", key.file())
            .start()
    }
}

impl Drop for Swift {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_real_store() {
    let swift = Swift::start();
    assert_eq!(swift.put(OBJECT, &recording()), 200);

    // It verifies: without a signature, with another secret, with another method.
    let path = format!("/{BUCKET}/{OBJECT}");
    let host = swift.address.to_string();
    let (path, fields) = Swift::key().sign(("GET", &host, REGION), path.as_bytes(), b"");
    assert_eq!(swift.curl(&path, &fields, None), 200);
    // It is not even a request of the interface without these fields.
    assert_eq!(swift.curl(&path, &[], None), 400, "unsigned");
    let wrong = StoreKey { secret: "tested".into(), ..Swift::key() };
    let (_, fields) = wrong.sign(("GET", &host, REGION), path.as_bytes(), b"");
    assert_eq!(swift.curl(&path, &fields, None), 403, "another secret");
    let (_, fields) = Swift::key().sign(("HEAD", &host, REGION), path.as_bytes(), b"");
    assert_eq!(swift.curl(&path, &fields, None), 403, "another method");

    for target in [DIRECT, CACHED] {
        let nginx = swift.edge(&Swift::key(), target);
        for protocol in nginx.protocols() {
            assert_recording(&nginx.send(protocol, &Request::get(PATH)), target);
            let head = nginx.send(protocol, &Request::head(PATH));
            assert_eq!((head.status, head.body.len()), (200, 0), "{head:?}");
            let range = nginx.send(protocol, &Request::get(PATH).range("bytes=65000-140000"));
            assert_eq!(range.status, 206, "{range:?}");
            same_bytes(&range.body, &recording()[65_000..=140_000], target);
            let etag = head.header("etag").expect("an ETag");
            let request = Request::get(PATH).header("If-None-Match", etag);
            assert_eq!(nginx.send(protocol, &request).status, 304);
            let request = Request::get(PATH).header("If-Range", etag).range("bytes=0-9");
            assert_eq!(nginx.send(protocol, &request).status, 206);
        }
        let missing = nginx.get("/raw/none.mp3");
        assert_no_recording(&missing, 404, target);
        assert!(!missing.text().contains("NoSuchKey"), "{missing:?}");
        nginx.finish();
        let nginx = swift.edge(&wrong, target);
        assert_no_recording(&nginx.get(PATH), 403, target);
        nginx.finish();
    }
    // `XSPACE_TEST_S3_NAMES`: ten times as many odd names.
    let nginx = swift.edge(&Swift::key(), DIRECT);
    let count = setting("XSPACE_TEST_S3_NAMES", 1000) / 10;
    let names = odd_names_of(count + 254);
    // What XML has no characters for is for the other store.
    let is_xml =
        |name: &&Vec<u8>| std::str::from_utf8(name).is_ok_and(|n| !n.contains(char::is_control));
    let encoded =
        |name: &[u8]| name.iter().map(|b| format!("%{b:02x}")).collect::<Vec<_>>().concat();
    let mut tried = 0;
    for name in names.iter().skip(254).filter(is_xml) {
        let what = String::from_utf8_lossy(name);
        assert_eq!(swift.put(name, name), 200, "{what}");
        let response =
            nginx.send(Protocol::Http1, &Request::get(&format!("/raw/{}", encoded(name))));
        assert_eq!((response.status, &response.body), (200, name), "{what}: {response:?}");
        tried += 1;
    }
    assert!(tried > count / 8, "{tried} names");
}

//! Ids, suffixes, formats, paths of catalogs and answers of lookups that want out of the
//! directory, into a header or into a log.
//!
//! Beside the directory lies a file that must never be read. Each payload is sent in several
//! encodings and at several places of a request.

use std::fs;

use xspace_tests::{
    Connection, Nginx, Preload, Protocol, Request, Response, Site, block_on, build,
};

use crate::common::{ID, MISSING, assert_no_recording};

/// What is in the files that nobody may get.
const CANARY: &str = "canary-b1946ac92492d2347c6235b4d2611184";

/// What a payload adds where it gets into a header or a log.
const INJECTED: &str = "x-injected";

/// Pieces of a request that are no space id, before they are encoded.
const PAYLOADS: &[&[u8]] = &[
    // Out of the directory. There are secret.mp3 beside it, and secret beside that.
    b"../secret",
    b"../secret.mp3",
    b"..//secret.mp3",
    b".././secret.mp3",
    b"./../secret.mp3",
    b"sub/./../../secret.mp3",
    b"../../secret.mp3",
    b"../downloads-private/secret.mp3",
    b"x/../../secret.mp3",
    b"1lDxLnrWjwkGm/../../secret.mp3",
    b"1lDxLnrWjwkGm.mp3/../../secret.mp3",
    b"../../../../../../../../../../etc/passwd",
    b"/etc/passwd",
    b"//etc/passwd",
    b"/../secret.mp3",
    b"..",
    b".",
    b"...",
    b"....//secret.mp3",
    b"..;/secret.mp3",
    b"..\\secret.mp3",
    b"..\\..\\secret.mp3",
    b"\\..\\secret.mp3",
    b"\\\\host\\share\\secret.mp3",
    b"C:\\secret.mp3",
    b"file:///etc/passwd",
    b"http://127.0.0.1/secret.mp3",
    b"~root/secret",
    b"sub/inner",
    b"sub/inner.mp3",
    b"1lDxLnrWjwkGm/x",
    b"link",
    b"link/secret",
    b"link/secret.mp3",
    // Look-alikes of dots and slashes: fullwidth, one dot leader, two dot leader, division slash,
    // fraction slash, big solidus.
    "．．／secret.mp3".as_bytes(),
    "․․/secret.mp3".as_bytes(),
    "‥/secret.mp3".as_bytes(),
    "..∕secret.mp3".as_bytes(),
    "..⁄secret.mp3".as_bytes(),
    "..⧸secret.mp3".as_bytes(),
    // Overlong UTF-8 of dots and slashes, and bytes that are no UTF-8 at all.
    b"\xc0\xae\xc0\xae\xc0\xafsecret.mp3",
    b"\xe0\x80\xae\xe0\x80\xae\xe0\x80\xafsecret.mp3",
    b"\xf0\x80\x80\xae\xf0\x80\x80\xae\xf0\x80\x80\xafsecret.mp3",
    b"..\xc0\xafsecret.mp3",
    b"..\xc1\x9csecret.mp3",
    b"\xff\xfe",
    b"1lDxLnrWjwkGm\xff",
    b"\xed\xa0\x80\xed\xb0\x80",
    b"\xf8\x88\x80\x80\x80",
    b"\x80",
    // Ids, nearly: letters that look alike, invisible ones, other digits, a byte order mark.
    "1lDxLnrWjwkGｍ".as_bytes(),
    "1lDxLnrWjwkGм".as_bytes(),
    "１lDxLnrWjwkGm".as_bytes(),
    "1lDxLnrWjwkGm\u{200b}".as_bytes(),
    "1lDxLnrWjwkGm\u{202e}".as_bytes(),
    "\u{feff}1lDxLnrWjwkGm".as_bytes(),
    "1lDxLnrWjwkGm\u{0301}".as_bytes(),
    "ſpace".as_bytes(),
    "K1lDx".as_bytes(),
    // NUL, line breaks and other control characters.
    b"1lDxLnrWjwkGm\0",
    b"1lDxLnrWjwkGm\0.mp3",
    b"secret.mp3\0.mp3",
    b"\0",
    b"1lDxLnrWjwkGm\r\nX-Injected: 1",
    b"1lDxLnrWjwkGm\nX-Injected: 1",
    b"1lDxLnrWjwkGm\rX-Injected: 1",
    b"1lDxLnrWjwkGm\r\n\r\nX-Injected: 1",
    b"1lDxLnrWjwkGm.mp3\r\nX-Injected: 1",
    "1lDxLnrWjwkGm\u{85}X-Injected: 1".as_bytes(),
    "1lDxLnrWjwkGm\u{2028}X-Injected: 1".as_bytes(),
    "1lDxLnrWjwkGm\u{560d}\u{560a}X-Injected: 1".as_bytes(),
    b"1lDxLnrWjwkGm\t",
    b"1lDxLnrWjwkGm\x7f",
    b"1lDxLnrWjwkGm\x1b[2J",
    b"1lDxLnrWjwkGm\x08\x08",
    // What means something to a shell, a template, a language, a page.
    b"1lDxLnrWjwkGm ",
    b" 1lDxLnrWjwkGm",
    b"1lDxLnrWjwkGm;ls",
    b"1lDxLnrWjwkGm|cat",
    b"`id`",
    b"$(id)",
    b"${xspace_id}",
    b"$document_root",
    b"%s%s%n",
    b"{{7*7}}",
    b"*",
    b"[a-z]*",
    b"'",
    b"\"",
    b"1lDxLnrWjwkGm\"; X-Injected=\"1",
    b"<script>alert(1)</script>",
    b"1' OR '1'='1",
    b"1lDxLnrWjwkGm,1YqKDqWqdPLGV",
    b"@",
    b":",
    b"=",
    b"+",
    b"!",
    // Suffixes that are none.
    b"1lDxLnrWjwkGm.",
    b"1lDxLnrWjwkGm..",
    b"1lDxLnrWjwkGm..mp3",
    b"1lDxLnrWjwkGm.mp3.",
    b"1lDxLnrWjwkGm.mp3.mp3",
    b"1lDxLnrWjwkGm.mp3/",
    b"1lDxLnrWjwkGm.mp3~",
    b"1lDxLnrWjwkGm.mp3;x",
    b"1lDxLnrWjwkGm.mp3::$DATA",
    b"1lDxLnrWjwkGm.m\xc0\xb03",
    b"1lDxLnrWjwkGm.txt",
    b"1lDxLnrWjwkGm.conf",
    b".mp3",
    b".htpasswd",
    b"..mp3",
    b"/",
    b"//",
    b"1lDxLnrWjwkGm/",
    b"1lDxLnrWjwkGm//",
];

/// A way to write bytes in a request.
type Encode = fn(&[u8]) -> Vec<u8>;

fn escape(bytes: &[u8], stays: impl Fn(u8) -> bool, form: impl Fn(u8) -> String) -> Vec<u8> {
    let mut out = Vec::new();
    for &b in bytes {
        if stays(b) { out.push(b) } else { out.extend_from_slice(form(b).as_bytes()) }
    }
    out
}

/// Cannot stand in a request line.
fn breaks_the_line(b: u8) -> bool {
    b <= b' ' || b == 0x7f
}

const ENCODINGS: [(&str, Encode); 8] = [
    ("as it is", |bytes| escape(bytes, |b| !breaks_the_line(b), |b| format!("%{b:02x}"))),
    ("all escaped", |bytes| escape(bytes, |_| false, |b| format!("%{b:02x}"))),
    ("in capitals", |bytes| escape(bytes, |b| b.is_ascii_alphanumeric(), |b| format!("%{b:02X}"))),
    ("twice", |bytes| escape(bytes, |b| b.is_ascii_alphanumeric(), |b| format!("%25{b:02x}"))),
    ("three times", |bytes| {
        escape(bytes, |b| b.is_ascii_alphanumeric(), |b| format!("%2525{b:02x}"))
    }),
    ("as code units", |bytes| {
        escape(bytes, |b| b.is_ascii_alphanumeric(), |b| format!("%u00{b:02x}"))
    }),
    ("half escaped", |bytes| {
        escape(bytes, |b| b.is_ascii_alphanumeric() || b == b'.', |b| format!("%{b:02x}"))
    }),
    ("cut off", |bytes| {
        let mut out = escape(bytes, |b| !breaks_the_line(b), |b| format!("%{b:02x}"));
        out.extend_from_slice(b"%");
        out
    }),
];

/// The places where a payload can stand: before it, behind it, and whether the request is one for
/// a recording without it.
const PLACES: [(&str, &str); 6] = [
    ("/download/", ""),
    ("/download/1lDxLnrWjwkGm.", ""),
    ("/download/1lDxLnrWjwkGm?format=", ""),
    ("/by-argument?id=", ""),
    ("/spaces/", "~download"),
    ("/lookup/", ""),
];

/// A directory with a recording, a link out of it, and files beside it that nobody may get.
fn site() -> Site {
    let site = Site::new()
        .http(
            "log_format row '$status|$xspace_id|$xspace_format|$xspace_file|$xspace_title|\
             $xspace_filename|$xspace_outcome|$request_uri|end';
             access_log {dir}/access.log row;
             large_client_header_buffers 4 32k;",
        )
        .server(
            "location ^~ /download/ { xspace_download /downloads/; }
             location = /by-argument { xspace_download /downloads/; xspace_id $arg_id; }
             location ~ ^/spaces/(?<sid>.+)~download$ {
                 xspace_download /downloads/;
                 xspace_id $sid;
             }
             location ^~ /lookup/ { xspace_download /downloads/; xspace_lookup /_space; }
             location = /_space { internal; alias {dir}/answers/$arg_id; }
             location ^~ /downloads/ {
                 internal;
                 alias {dir}/tree/downloads/;
                 disable_symlinks on from={dir}/tree/downloads;
             }
             add_header X-Title $xspace_title;
             add_header X-File-Name $xspace_filename;
             log_not_found off;",
        )
        .file("tree/downloads/1lDxLnrWjwkGm.mp3", "a recording")
        .file("tree/downloads/sub/inner.mp3", CANARY)
        .file("tree/secret.mp3", CANARY)
        .file("tree/secret", CANARY)
        .file("tree/downloads-private/secret.mp3", CANARY)
        .file("secret.mp3", CANARY)
        .file("secret", CANARY);
    site.make_dir("answers");
    site.symlink("../secret.mp3", "tree/downloads/link.mp3");
    site.symlink("../downloads-private", "tree/downloads/linked");
    site
}

/// One request on a connection of its own, as it is.
fn ask(nginx: &Nginx, target: &[u8]) -> Vec<u8> {
    let mut connection = nginx.raw();
    let mut request = b"GET ".to_vec();
    request.extend_from_slice(target);
    request.extend_from_slice(b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    connection.write(request);
    connection.read_to_end()
}

/// Splits an answer into status, header lines and body.
fn split(answer: &[u8], what: &str) -> (u16, Vec<String>, Vec<u8>) {
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n");
    let end = end.unwrap_or_else(|| panic!("{what}: {:?}", String::from_utf8_lossy(answer)));
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let mut lines = head.split("\r\n").map(str::to_owned);
    let status = lines.next().unwrap_or_default();
    let code = status.split(' ').nth(1).and_then(|word| word.parse().ok());
    let code = code.unwrap_or_else(|| panic!("{what}: {status}"));
    (code, lines.collect(), answer[end + 4..].to_vec())
}

/// The header fields that such an answer can have.
const FIELDS: [&str; 15] = [
    "accept-ranges",
    "cache-control",
    "connection",
    "content-disposition",
    "content-length",
    "content-type",
    "date",
    "etag",
    "last-modified",
    "location",
    "retry-after",
    "server",
    "www-authenticate",
    "x-file-name",
    "x-title",
];

/// Fails if the answer gives away what it must not, or has a header field that nobody meant.
#[track_caller]
fn assert_harmless(status: u16, fields: &[String], body: &[u8], what: &str) {
    assert!(!contains(body, CANARY) && !contains(body, "root:"), "{what}: the canary");
    assert!((200..500).contains(&status) || status == 502, "{what}: {status}");
    for line in fields {
        let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("{what}: {line:?}"));
        assert!(FIELDS.contains(&&*name.to_ascii_lowercase()), "{what}: {line:?}");
        assert!(!value.contains(|c: char| c.is_control()), "{what}: {line:?}");
        let says = !name.eq_ignore_ascii_case("Cache-Control")
            || ["private, no-cache", "no-store"].contains(&value);
        assert!(says, "{what}: {line:?}");
    }
}

fn contains(bytes: &[u8], part: &str) -> bool {
    bytes.windows(part.len()).any(|window| window == part.as_bytes())
}

/// One line in the access log for each request, each whole, and only whole lines in the error log.
#[track_caller]
fn assert_logs(nginx: &Nginx, requests: usize) {
    let lines = nginx.log_lines("access.log", requests);
    assert_eq!(lines.len(), requests, "lines in the access log");
    for line in &lines {
        let words: Vec<&str> = line.split('|').collect();
        let status = words[0].parse::<u16>();
        assert!(status.is_ok() && line.ends_with("|end"), "{line:?}");
        assert!(!line.contains(|c: char| c.is_ascii_control()), "{line:?}");
        // What the module tells of a request is a valid id and a configured format, or nothing.
        let is_id = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        assert!(words[1].bytes().all(is_id), "{line:?}");
        assert!(
            ["-", "mp3", "m4a", "wav", "mp4", "audio", "video"].contains(&words[2]),
            "{line:?}"
        );
    }
    assert_error_log(nginx);
}

/// Each line of the error log is one that nginx has begun.
#[track_caller]
fn assert_error_log(nginx: &Nginx) {
    for line in nginx.error_log().lines() {
        let begins = line.get(..20).is_some_and(|time| {
            time.bytes().zip(*b"0000/00/00 00:00:00 ").all(|(found, form)| match form {
                b'0' => found.is_ascii_digit(),
                other => found == other,
            })
        });
        assert!(begins, "a line that nginx did not begin: {line:?}");
        assert!(!line.bytes().any(|b| b.is_ascii_control()), "{line:?}");
    }
}

#[test]
fn no_request_reads_or_injects_what_it_must_not() {
    let nginx = site().start();
    let workers = nginx.workers();
    let mut rows = 0;
    let mut long: Vec<Vec<u8>> =
        [129, 1000, 4000, 20_000].into_iter().map(|len| vec![b'a'; len]).collect();
    long.push([&b"../"[..]; 2000].concat());
    long.push([&b"%2e%2e%2f"[..]; 1000].concat());
    let mut requests: Vec<(String, Vec<u8>)> = Vec::new();
    for (before, behind) in PLACES {
        for payload in PAYLOADS {
            for (encoding, encode) in ENCODINGS {
                let what = format!("{before}…{behind} {encoding} {}", payload.escape_ascii());
                requests.push((
                    what,
                    [before.as_bytes(), &encode(payload), behind.as_bytes()].concat(),
                ));
            }
        }
        for payload in &long {
            let what = format!("{before}…{behind}, {} bytes", payload.len());
            requests.push((what, [before.as_bytes(), payload, behind.as_bytes()].concat()));
        }
    }
    for (what, target) in &requests {
        let (status, fields, body) = split(&ask(&nginx, target), what);
        assert_harmless(status, &fields, &body, what);
        assert_ne!(status, 502, "{what}");
        let served = fields.iter().any(|line| line.starts_with("Content-Disposition"));
        assert!(!served, "{what}: {status} {fields:?}");
        rows += 1;
    }
    println!("{rows} hostile requests");
    assert!(rows >= 300);
    assert!(nginx.has_still(&workers));
    assert_logs(&nginx, rows);
}

#[test]
fn no_http2_request_reads_or_injects_what_it_must_not() {
    let nginx = site().start();
    let mut connection = nginx.connect(Protocol::Http2);
    let mut rows = 0;
    for (before, behind) in PLACES {
        for payload in PAYLOADS {
            for (encoding, encode) in ENCODINGS.into_iter().take(4) {
                let target = [before.as_bytes(), &encode(payload), behind.as_bytes()].concat();
                // What is no URI the client itself refuses to send.
                let Ok(target) = String::from_utf8(target) else { continue };
                if target.parse::<http::Uri>().is_err() || target.contains('#') {
                    continue;
                }
                let what = format!("HTTP/2, {encoding}: {target}");
                let response = ask_http2(&nginx, &mut connection, &target);
                let fields: Vec<String> = response
                    .headers
                    .iter()
                    .map(|(name, value)| format!("{name}: {value}"))
                    .collect();
                assert_harmless(response.status, &fields, &response.body, &what);
                assert_eq!(response.header("content-disposition"), None, "{what}");
                rows += 1;
            }
        }
    }
    println!("{rows} hostile requests over HTTP/2");
    assert!(rows >= 300);
    assert_logs(&nginx, rows);
}

/// nginx closes a connection after so many requests; the next goes on another one.
fn ask_http2(nginx: &Nginx, connection: &mut Connection, target: &str) -> Response {
    let request = Request::get(target);
    match block_on(connection.try_send(&request)) {
        Ok(response) => response,
        Err(_) => {
            *connection = nginx.connect(Protocol::Http2);
            connection.send(&request)
        }
    }
}

/// Paths that a catalog or a lookup may name, as they stand in JSON, and whether such a file
/// could exist below the directory.
const PATHS: &[(&str, bool)] = &[
    (r#""""#, false),
    (r#"".""#, false),
    (r#""..""#, false),
    (r#""/""#, false),
    (r#"" ""#, true),
    (r#""../secret.mp3""#, false),
    (r#""../../secret.mp3""#, false),
    (r#""./../secret.mp3""#, false),
    (r#""x/../../secret.mp3""#, false),
    (r#""x/..""#, false),
    (r#""x/.""#, false),
    (r#""./1lDxLnrWjwkGm.mp3""#, false),
    (r#""x/./y.mp3""#, false),
    (r#""x//y.mp3""#, false),
    (r#""x/""#, false),
    (r#""//secret.mp3""#, false),
    (r#""/etc/passwd""#, false),
    (r#""/secret.mp3""#, false),
    (r#""\/etc\/passwd""#, false),
    (r#""..\/secret.mp3""#, false),
    (r#""\u002e\u002e/secret.mp3""#, false),
    (r#""..\u002fsecret.mp3""#, false),
    (r#""\u002fetc\u002fpasswd""#, false),
    (r#""\u002e\u002e\u002fsecret.mp3""#, false),
    (r#""..\\secret.mp3""#, true),
    (r#""..\\..\\secret.mp3""#, true),
    (r#""C:\\secret.mp3""#, true),
    (r#""%2e%2e/secret.mp3""#, true),
    (r#""%2e%2e%2fsecret.mp3""#, true),
    (r#""..%2fsecret.mp3""#, true),
    (r#""%252e%252e/secret.mp3""#, true),
    (r#""..%00/secret.mp3""#, true),
    (r#""．．／secret.mp3""#, true),
    (r#""․․/secret.mp3""#, true),
    (r#""‥/secret.mp3""#, true),
    (r#""\uff0e\uff0e/secret.mp3""#, true),
    (r#"".../secret.mp3""#, true),
    (r#""..../secret.mp3""#, true),
    (r#"".. /secret.mp3""#, true),
    (r#"" ../secret.mp3""#, true),
    (r#""..;/secret.mp3""#, true),
    (r#""a\u0000.mp3""#, false),
    (r#""secret.mp3\u0000.mp3""#, false),
    (r#""a\r\nX-Injected: 1.mp3""#, false),
    (r#""a\nX-Injected: 1.mp3""#, false),
    (r#""a\u000d\u000aX-Injected: 1.mp3""#, false),
    (r#""a\u0085b.mp3""#, false),
    (r#""a\tb.mp3""#, false),
    (r#""a\u007fb.mp3""#, false),
    (r#""a\u001bb.mp3""#, false),
    (r#""a\u2028X-Injected: 1.mp3""#, true),
    (r#""a\u202eb.mp3""#, true),
    (r#""\ud83d.mp3""#, false),
    (r#""a?x=1.mp3""#, true),
    (r#""a#x.mp3""#, true),
    (r#""$document_root/secret.mp3""#, true),
    (r#""~/secret.mp3""#, true),
    (r#""*.mp3""#, true),
    (r#""link.mp3""#, true),
    (r#""linked/secret.mp3""#, true),
    (r#""file:///etc/passwd.mp3""#, false),
    (r#""http://127.0.0.1/secret.mp3""#, false),
    ("null", false),
    ("true", false),
    ("1", false),
    ("[]", false),
    ("{}", false),
    (r#"["../secret.mp3"]"#, false),
];

#[test]
fn no_catalog_reads_what_it_must_not() {
    let mut accepted = Vec::new();
    let mut checked = site().server(
        "location ^~ /named/ { xspace_download /downloads/; xspace_catalog {dir}/catalog.json; }",
    );
    for (path, may_exist) in PATHS {
        checked.write("catalog.json", format!("{{\"{ID}\": {{\"files\": [{path}]}}}}"));
        let said = checked.check();
        assert!(said.ok, "{path}: {}", said.output);
        assert_eq!(
            said.output.lines().filter(|line| line.contains("unusable \"")).count(),
            usize::from(!may_exist),
            "{path}: one line: {}",
            said.output
        );
        accepted.push((path, may_exist));
    }
    let entries: Vec<String> = accepted
        .iter()
        .enumerate()
        .map(|(number, (path, _))| format!("\"s{number}\": {{\"files\": [{path}]}}"))
        .collect();
    checked.write("catalog.json", format!("{{{}}}", entries.join(",")));
    let nginx = checked.start();
    for (number, (path, may_exist)) in accepted.iter().enumerate() {
        let answer = ask(&nginx, format!("/named/s{number}").as_bytes());
        let (status, fields, body) = split(&answer, path);
        // An unusable entry is 500, which is not expected of anything else.
        let harmless = if status == 500 && !**may_exist { 502 } else { status };
        assert_harmless(harmless, &fields, &body, path);
        let expected = if **may_exist { status == 404 || status == 403 } else { status == 500 };
        assert!(expected, "{path}: {status}");
    }
    assert_logs(&nginx, accepted.len());
}

#[test]
fn no_answer_of_a_lookup_reads_or_injects_what_it_must_not() {
    let mut answers: Vec<(String, u16)> = Vec::new();
    for (path, may_exist) in PATHS {
        // A link out of the directory is refused, a file that is not there is missing.
        let missing = if path.contains("link") { 0 } else { 404 };
        let status = if *may_exist { missing } else { 502 };
        answers.push((format!("{{\"files\": [{path}]}}"), status));
        answers.push((format!("{{\"title\": \"x\", \"files\": [\"x.mp3\", {path}]}}"), status));
    }
    let good = "1lDxLnrWjwkGm.mp3";
    for title in [
        r"a\r\nX-Injected: 1",
        r"a\nX-Injected: 1",
        r"a\u000d\u000aX-Injected: 1",
        r"a\u0000b",
        r"a\u0085X-Injected: 1",
        r"a\u2028X-Injected: 1",
        r"a\u007fb\u001b[2J",
        r#"a\"; X-Injected=\"1"#,
        r"a\\",
        r#"\\\""#,
        r"../../secret",
        r"..\/..\/secret.mp3",
        r"C:\\secret",
        r"\u202ecod.exe",
        r"%0d%0aX-Injected: 1",
        r"=?utf-8?q?x?=",
        r"<script>",
        r"",
        r" ",
        r"\ufeff",
        r"é\u0301\u0301\u0301",
    ] {
        answers.push((format!("{{\"title\": \"{title}\", \"files\": [\"{good}\"]}}"), 200));
    }
    answers
        .push((format!("{{\"title\": \"{}\", \"files\": [\"{good}\"]}}", "ä".repeat(1500)), 200));
    for answer in [
        "{",
        "[",
        "\"",
        "{}{}",
        "{},",
        "nul",
        "\u{feff}\u{feff}{}",
        "{'files': []}",
        "{\"files\": [}",
        "{\"files\": \"x.mp3\"}",
        "{\"status\": 200}",
        "{\"status\": 302}",
        "{\"status\": -403}",
        "{\"status\": 403.5}",
        "{\"status\": \"403\"}",
        "{\"status\": 1e3}",
        "{\"title\": 1}",
        "{\"title\": [\"x\"]}",
        "{\"location\": \"/secret\"}",
        "{\"files\": [], \"files\": []}",
        "\"../secret.mp3\"",
        "\"/etc/passwd\"",
        "<html></html>",
        "X-Accel-Redirect: /secret",
        "\0",
        "{\"title\": \"\u{1}\"}",
    ] {
        answers.push((answer.to_owned(), 502));
    }
    answers.push(("[".repeat(4000), 502));
    answers.push(("{\"title\":".repeat(400), 502));
    answers.push((format!("\"{}\"", "a/".repeat(2000)), 502));
    answers.push((" ".repeat(100_000), 502));

    let site = site();
    for (number, (answer, _)) in answers.iter().enumerate() {
        site.write(&format!("answers/s{number}"), answer);
    }
    let nginx = site.start();
    let workers = nginx.workers();
    let mut failed = 0;
    for (number, (answer, expected)) in answers.iter().enumerate() {
        let what = format!("{:?}", answer.chars().take(100).collect::<String>());
        let got = ask(&nginx, format!("/lookup/s{number}").as_bytes());
        let (status, fields, body) = split(&got, &what);
        assert_harmless(status, &fields, &body, &what);
        match expected {
            0 => assert!(status == 403 || status == 404, "{what}: {status}"),
            expected => assert_eq!(status, *expected, "{what}"),
        }
        failed += usize::from(status == 502);
        for line in fields.iter().filter(|line| line.starts_with("Content-Disposition")) {
            let (_, value) = line.split_once(": ").expect("a field");
            let quoted = value.strip_prefix("inline; filename=\"").expect("a quoted name");
            let (name, _) = quoted.split_once('"').expect("the end of the name");
            assert!(!name.contains(['/', '\\', '<']), "{what}: {line}");
            assert!(
                !value.to_ascii_lowercase().contains(&format!("{INJECTED}:")),
                "{what}: {line}"
            );
        }
    }
    println!("{} hostile answers of a lookup", answers.len());
    assert!(nginx.has_still(&workers));
    assert_logs(&nginx, answers.len());
    let lines = nginx.count_errors(&["[error]", "lookup \"/_space\" for space"]);
    assert_eq!(lines, failed, "one line each: {}", nginx.error_log());
}

/// Ways to refuse a client before anything is looked at, and the status.
const REFUSALS: [(&str, &str, u16); 6] = [
    ("deny", "deny all;", 403),
    ("auth_basic", "auth_basic closed; auth_basic_user_file {dir}/htpasswd;", 401),
    ("auth_request", "auth_request /refuse;", 403),
    ("limit_req", "limit_req zone=all;", 429),
    (
        "secure_link",
        "secure_link $arg_md5; secure_link_md5 \"secret $xspace_id\"; \
     if ($secure_link = \"\") { return 403; }",
        403,
    ),
    ("return", "return 403;", 403),
];

#[test]
fn refused_client_learns_nothing() {
    if !build().require("preload") {
        return;
    }
    for (name, directives, status) in REFUSALS {
        let feature = match name {
            "auth_request" | "secure_link" => format!("http_{name}_module"),
            _ => String::new(),
        };
        if !feature.is_empty() && !build().require(&feature) {
            continue;
        }
        let site = Site::with_directives(
            &format!("xspace_catalog {{dir}}/catalog.json; {directives}"),
            "",
        )
        .http("limit_req_zone $server_name zone=all:1m rate=1r/m; limit_req_status 429;")
        .server("location = /refuse { return 403; }")
        .server("location ^~ /open/ { xspace_download /downloads/; }")
        .file("htpasswd", "somebody:{PLAIN}x\n")
        .file(&format!("downloads/{ID}.mp3"), "a recording")
        .file("catalog.json", "{\"named\": \"1lDxLnrWjwkGm.mp3\", \"gone\": {\"status\": 410}}");
        let (preload, site) = Preload::new(site);
        let nginx = site.start();
        if name == "limit_req" {
            // The only request of this minute.
            nginx.get(&format!("/download/{MISSING}"));
        }
        for protocol in nginx.protocols() {
            let mut answers = Vec::new();
            for path in [ID, MISSING, "named", "gone", "1lDxLnrWjwkGm.mp3", "not%20an%20id"] {
                let before = preload.looks();
                let response = nginx.send(protocol, &Request::get(&format!("/download/{path}")));
                let what = format!("{name}, {protocol:?}, {path}");
                assert_no_recording(&response, status, &what);
                assert_eq!(preload.looks(), before, "{what}: the disk was looked at");
                answers.push((path, response.lasting_headers(), response.body));
            }
            for (path, headers, body) in &answers {
                assert_eq!((headers, body), (&answers[0].1, &answers[0].2), "{name}: {path}");
            }
        }
        // What counts the looks does count them.
        let before = preload.looks();
        assert_eq!(nginx.get(&format!("/open/{ID}")).status, 200);
        assert!(preload.looks() > before, "looks are counted");
        let before = preload.looks();
        assert_eq!(nginx.get(&format!("/open/{MISSING}")).status, 404);
        assert!(preload.looks() > before, "looks are counted");
        drop(nginx);
        drop(preload);
    }
}

#[test]
fn canary_can_be_read_where_it_may() {
    // Were it not so, all of the above would say nothing.
    let nginx = site().server("location ^~ /canary/ { alias {dir}/tree/; }").start();
    assert_eq!(nginx.get("/canary/secret.mp3").text(), CANARY);
    assert!(fs::read_to_string(nginx.dir().join("secret")).is_ok_and(|text| text == CANARY));
    assert_eq!(nginx.get(&format!("/download/{ID}")).text(), "a recording");
    nginx.site().write(&format!("answers/{ID}"), "");
    assert_eq!(nginx.get(&format!("/lookup/{ID}")).text(), "a recording");
}

use std::rc::Rc;

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::*;
use crate::filename::tests::written;
use crate::text::Pieces;

/// AWS's test suite of signatures.
const VECTORS: &str = include_str!("../../vectors/sigv4.json");

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or_else(|| panic!("{key} in {value}"))
}

fn encoded(text: &[u8]) -> String {
    let bucket = Bucket::new("b", "h", Style::Virtual).expect("a bucket");
    written(&bucket.path(text)).split_off(1)
}

/// A path that is encoded already.
struct Encoded(String);

impl Pieces for Encoded {
    fn write(&self, mut out: impl FnMut(&[u8])) {
        out(self.0.as_bytes());
    }
}

fn credentials(access_key: &str, secret: &str) -> Rc<Credentials> {
    let file = format!("[default]\naws_access_key_id={access_key}\naws_secret_access_key={secret}");
    Rc::new(Credentials::parse(file.as_bytes(), "default").expect("credentials"))
}

fn hash(content: &str) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(content))
}

/// The path without `.`, `..` and empty segments, as services other than S3 have it.
fn normalized(path: &str) -> String {
    let mut segments = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            _ => segments.push(segment),
        }
    }
    let end = if path.ends_with('/') && !segments.is_empty() { "/" } else { "" };
    format!("/{}{end}", segments.join("/"))
}

/// Fields with their values, which AWS trims and joins.
fn fields_of(head: &str) -> Vec<(String, String)> {
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in head.lines().skip(1) {
        let words =
            |text: &str| text.split(' ').filter(|w| !w.is_empty()).collect::<Vec<_>>().join(" ");
        match line.split_once(':').filter(|_| !line.starts_with(' ')) {
            None => {
                let (_, value) = fields.last_mut().expect("a field");
                *value = format!("{value} {}", words(line));
            }
            Some((name, value)) => {
                let name = name.to_ascii_lowercase();
                match fields.iter_mut().find(|(known, _)| *known == name) {
                    Some((_, values)) => *values = format!("{values},{}", words(value)),
                    None => fields.push((name, words(value))),
                }
            }
        }
    }
    fields
}

/// The query string with its parameters sorted, each byte encoded that has to be.
fn sorted_query(query: &str) -> String {
    let encode = |text: &str| {
        // Some are encoded already.
        let bytes: Vec<u8> = match text.strip_prefix("%E1%88%B4") {
            Some("") => "\u{1234}".into(),
            _ => text.into(),
        };
        encoded(&bytes).replace('/', "%2F")
    };
    let mut parameters: Vec<(String, String)> = query
        .split('&')
        .filter(|parameter| !parameter.is_empty())
        .map(|parameter| parameter.split_once('=').unwrap_or((parameter, "")))
        .map(|(name, value)| (encode(name), encode(value)))
        .collect();
    parameters.sort();
    let parameters: Vec<_> =
        parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
    parameters.join("&")
}

#[test]
fn aws_test_suite() {
    let vectors: Value = serde_json::from_str(VECTORS).expect("the vectors are JSON");
    let credentials =
        credentials(text(&vectors, "access_key_id"), text(&vectors, "secret_access_key"));
    let signer = Signer::new(text(&vectors, "region"), "service");
    let time = Timestamp::new(vectors["time"].as_u64().expect("a time"));
    let cases = vectors["cases"].as_array().expect("a list");
    assert_eq!(cases.len(), 38);
    for case in cases {
        let name = text(case, "name");
        let (head, content) =
            text(case, "request").split_once("\n\n").unwrap_or((text(case, "request"), ""));
        let line = head.lines().next().and_then(|line| line.strip_suffix(" HTTP/1.1"));
        let (method, uri) = line.and_then(|line| line.split_once(' ')).expect("a request line");
        let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
        let path = if case["normalize"] == true { normalized(path) } else { path.into() };
        let is_signed = case["sign_body"] == true;
        let payload_hash = hash(if is_signed { content } else { "" });

        let mut fields = fields_of(head);
        fields.push(("x-amz-date".into(), String::from_utf8_lossy(time.as_bytes()).into()));
        if is_signed {
            fields.push(("x-amz-content-sha256".into(), payload_hash.clone()));
        }
        if case["token"].is_string() && case["omit_session_token"] != true
            || name == "post-sts-header-before"
        {
            fields.push(("x-amz-security-token".into(), text(case, "token").into()));
        }
        fields.sort();
        let fields: Vec<_> =
            fields.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();

        let request = SignedRequest {
            method: method.as_bytes(),
            path: Encoded(encoded(path.as_bytes())),
            query: &sorted_query(query),
            fields: &fields,
            payload_hash: &payload_hash,
        };
        let canonical = String::from_utf8(request.canonical()).expect("UTF-8");
        assert_eq!(canonical, text(case, "canonical"), "{name}");
        assert_eq!(
            hash(&canonical),
            text(case, "string_to_sign").lines().last().expect("a line"),
            "{name}"
        );
        let authorization = written(&signer.sign(&credentials, time, &request));
        let signature = authorization.rsplit_once("Signature=").expect("a signature").1;
        assert_eq!(signature, text(case, "signature"), "{name}");
    }
}

/// The examples in "Signature Calculations for the Authorization Header" of Amazon S3's documentation.
#[test]
fn examples_of_s3() {
    let credentials =
        credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");
    let signer = Signer::new("us-east-1", "s3");
    // May 24, 2013.
    let time = Timestamp::new(1_369_353_600);
    let bucket =
        Bucket::new("examplebucket", "s3.amazonaws.com", Style::Virtual).expect("a bucket");
    let content = hash("Welcome to Amazon S3.");
    let empty = EMPTY_PAYLOAD;
    type Fields<'a> = &'a [(&'a str, &'a str)];
    let rows: [(&str, &str, &str, &str, Fields<'_>, &str); 4] = [
        (
            "GET",
            "test.txt",
            "",
            empty,
            &[("range", "bytes=0-9")],
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
        (
            "PUT",
            "test$file.text",
            "",
            &content,
            &[
                ("date", "Fri, 24 May 2013 00:00:00 GMT"),
                ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
            ],
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        ),
        (
            "GET",
            "",
            "lifecycle=",
            empty,
            &[],
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
        ),
        (
            "GET",
            "",
            "max-keys=2&prefix=J",
            empty,
            &[],
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
    ];
    for (method, object, query, payload_hash, others, signature) in rows {
        let mut fields = vec![
            ("host", bucket.host().as_bytes()),
            ("x-amz-content-sha256", payload_hash.as_bytes()),
            ("x-amz-date", time.as_bytes()),
        ];
        fields.extend(others.iter().map(|(name, value)| (*name, value.as_bytes())));
        fields.sort();
        let request = SignedRequest {
            method: method.as_bytes(),
            path: bucket.path(object.as_bytes()),
            query,
            fields: &fields,
            payload_hash,
        };
        let names: Vec<_> = fields.iter().map(|(name, _)| *name).collect();
        assert_eq!(
            written(&signer.sign(&credentials, time, &request)),
            format!(
                "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, \
                 SignedHeaders={}, Signature={signature}",
                names.join(";")
            ),
            "{method} {object}?{query}"
        );
    }
}

/// A signature with the key that is kept is the one with a new key.
#[test]
fn kept_keys() {
    let [one, other] = [credentials("A", "one"), credentials("A", "other")];
    let midnight = 1_900_022_400;
    let kept = Signer::new("r", "s3");
    let fields = [("host", &b"h"[..])];
    for (credentials, seconds) in [
        (&one, midnight - 2),
        (&one, midnight - 1),
        (&one, midnight),
        (&one, midnight - 1),
        (&other, midnight - 1),
        (&other, midnight),
        (&one, midnight),
    ] {
        let time = Timestamp::new(seconds);
        let request = SignedRequest {
            method: b"GET",
            path: Encoded("/".into()),
            query: "",
            fields: &fields,
            payload_hash: EMPTY_PAYLOAD,
        };
        let fresh = Signer::new("r", "s3");
        let sign = |signer: &Signer| written(&signer.sign(credentials, time, &request));
        assert_eq!(sign(&kept), sign(&fresh), "{seconds}");
        assert_eq!(kept.kept_date(), Some(time.date()), "{seconds}");
    }
}

#[test]
fn times() {
    let rows = [
        (0, "19700101T000000Z"),
        (951_782_399, "20000228T235959Z"),
        (951_782_400, "20000229T000000Z"),
        (951_868_800, "20000301T000000Z"),
        (1_369_353_600, "20130524T000000Z"),
        (1_440_938_160, "20150830T123600Z"),
        (1_767_225_599, "20251231T235959Z"),
        (1_767_225_600, "20260101T000000Z"),
        (4_107_542_400, "21000301T000000Z"),
        (4_107_542_399, "21000228T235959Z"),
        (253_402_300_799, "99991231T235959Z"),
        (u64::MAX, "99991231T235959Z"),
    ];
    for (seconds, expected) in rows {
        assert_eq!(Timestamp::new(seconds).as_bytes(), expected.as_bytes(), "{seconds}");
    }
}

/// Every day of 400 years follows the one before.
#[test]
fn days() {
    let lengths = |year: u64| {
        let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        [31, if is_leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
    };
    let mut day = 0;
    for year in 1970..2370 {
        for (month, length) in lengths(year).into_iter().enumerate() {
            for date in 1..=length {
                let expected = format!("{year}{:02}{date:02}T000000Z", month + 1);
                assert_eq!(Timestamp::new(day * 86_400).as_bytes(), expected.as_bytes());
                day += 1;
            }
        }
    }
}

#[test]
fn paths() {
    let bucket = Bucket::new("my.bucket", "store:9000", Style::Path).expect("a bucket");
    let rows: [(&[u8], &str); 8] = [
        (b"a/1lDxLnrWjwkGm.mp3", "/my.bucket/a/1lDxLnrWjwkGm.mp3"),
        (b"AZaz09-._~", "/my.bucket/AZaz09-._~"),
        (b"a b+c", "/my.bucket/a%20b%2Bc"),
        (b"a%20b?c#d", "/my.bucket/a%2520b%3Fc%23d"),
        ("\u{1f399} ä".as_bytes(), "/my.bucket/%F0%9F%8E%99%20%C3%A4"),
        (b"//a/./b/../c//", "/my.bucket///a/./b/../c//"),
        (b"\x01\x7f\xff", "/my.bucket/%01%7F%FF"),
        (
            b"!*'();:@&=$,[]\"<>\\^`{|}",
            "/my.bucket/%21%2A%27%28%29%3B%3A%40%26%3D%24%2C%5B%5D%22%3C%3E%5C%5E%60%7B%7C%7D",
        ),
    ];
    for (object, path) in rows {
        assert_eq!(written(&bucket.path(object)), path);
    }
    for byte in 0..=u8::MAX {
        let text = encoded(&[byte]);
        let is_plain = byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
        let expected = if is_plain { char::from(byte).to_string() } else { format!("%{byte:02X}") };
        assert_eq!(text, expected, "{byte}");
    }
}

#[test]
fn buckets() {
    let host = |name, host, style| Bucket::new(name, host, style).map(|b| b.host().to_owned());
    let (path, virtual_style) = (Style::Path, Style::Virtual);
    assert_eq!(
        host("b", "s3.eu-west-1.amazonaws.com", path).as_deref(),
        Ok("s3.eu-west-1.amazonaws.com")
    );
    assert_eq!(host("b", "h:443", virtual_style).as_deref(), Ok("b.h:443"));
    assert_eq!(host("a.b", "h", path).as_deref(), Ok("h"));
    assert_eq!(host("a.b", "h", virtual_style), Err(BucketError::Dot));
    for good in ["h", "h:1", "h:65535", "127.0.0.1:9000", "[::1]", "[::1]:9000", "xn--a.example"] {
        assert_eq!(host("b", good, path).as_deref(), Ok(good), "{good}");
    }
    for bad in [
        "", ":80", "h:", "h:0", "h:65536", "h:+1", "h:a", "h/x", "h x", "h\r\n", "::1", "[::1",
        "[]", "[::1]9", "h@x", "ä",
    ] {
        assert_eq!(host("b", bad, path), Err(BucketError::Host), "{bad}");
    }
    for bad in ["", "a/b", "a b", "ä", ".", "..", "a%", &"a".repeat(256)] {
        assert_eq!(host(bad, "h", path), Err(BucketError::Name), "{bad}");
    }
    for (region, expected) in [
        ("us-east-1", true),
        ("auto", true),
        ("garage", true),
        ("", false),
        ("a/b", false),
        ("a b", false),
    ] {
        assert_eq!(is_region(region), expected, "{region}");
    }
}

#[test]
fn good_credentials() {
    let long = "x".repeat(8192);
    let rows: [(&str, &str, Option<&str>); 9] = [
        ("[default]\naws_access_key_id = A\naws_secret_access_key = s/+=\n", "A", None),
        (
            "[default]\r\naws_access_key_id=A\r\naws_secret_access_key=s\r\naws_session_token=t==\r\n",
            "A",
            Some("t=="),
        ),
        (
            "\u{feff}# c\n; c\n\n[ default ] # c\n\tAWS_Access_Key_ID\t=\tA ; c\naws_secret_access_key=s # c",
            "A",
            None,
        ),
        (
            "[other]\naws_access_key_id=B\naws_access_key_id=B\nx=\n[default]\naws_access_key_id=A\naws_secret_access_key=s",
            "A",
            None,
        ),
        (
            "[default]\ns3 =\n  max_concurrent_requests = 20\n  [x\naws_access_key_id=A\naws_secret_access_key=s",
            "A",
            None,
        ),
        ("[default]\n  aws_access_key_id=A\n  aws_secret_access_key=s", "A", None),
        (
            "[default]\naws_access_key_id=test:tester\naws_secret_access_key=s#;=\nregion = eu west\n",
            "test:tester",
            None,
        ),
        (
            "[default]\naws_access_key_id=A\naws_secret_access_key=s\n[other]\naws_session_token=t",
            "A",
            None,
        ),
        (
            &format!(
                "[default]\naws_access_key_id=A\naws_secret_access_key=s\naws_session_token={long}"
            ),
            "A",
            Some(&long),
        ),
    ];
    for (file, access_key, token) in rows {
        let credentials = Credentials::parse(file.as_bytes(), "default").expect(file);
        assert_eq!((credentials.access_key(), credentials.token()), (access_key, token), "{file}");
    }
    let file = b"[a]\naws_access_key_id=A\naws_secret_access_key=s\n[b c]\naws_access_key_id=B\naws_secret_access_key=s";
    assert_eq!(Credentials::parse(file, "b c").expect("a profile").access_key(), "B");
}

#[test]
fn credentials_are_compared() {
    let read = |key: &str, secret: &str, token: &str| {
        let file = format!(
            "[default]\naws_access_key_id={key}\naws_secret_access_key={secret}\naws_session_token={token}"
        );
        Credentials::parse(file.as_bytes(), "default").expect("credentials")
    };
    let one = read("A", "s", "t");
    assert!(one.is_same(&read("A", "s", "t")));
    for other in [read("B", "s", "t"), read("A", "r", "t"), read("A", "s", "u")] {
        assert!(!one.is_same(&other) && !other.is_same(&one));
    }
}

/// Messages name the line, and have nothing of a secret.
#[test]
fn bad_credentials() {
    const KEY: &str = "aws_access_key_id=A\n";
    const SECRET: &str = "aws_secret_access_key=topsecret\n";
    let rows: [(String, &str); 22] = [
        (String::new(), "no profile \"default\""),
        ("[other]\nx=y\n".into(), "no profile \"default\""),
        ("[Default]\n".into(), "no profile \"default\""),
        (format!("{KEY}[default]\n{SECRET}"), "line 1: value before the first profile"),
        (format!("[default]\n{KEY}"), "line 1: profile without \"aws_secret_access_key\""),
        (format!("\n[default]\n{SECRET}"), "line 2: profile without \"aws_access_key_id\""),
        (format!("[default]\n{KEY}topsecret\n"), "line 3: \"=\" is missing"),
        ("[other]\ntopsecret\n".into(), "line 2: \"=\" is missing"),
        (format!("[default\n{KEY}{SECRET}"), "line 1: invalid profile"),
        (format!("[default] topsecret\n{KEY}{SECRET}"), "line 1: invalid profile"),
        (
            format!("[default]\n{KEY}{SECRET}[default]\n"),
            "line 4: duplicate profile, the first is in line 1",
        ),
        (format!("[default]\n{KEY}{KEY}{SECRET}"), "line 3: duplicate \"aws_access_key_id\""),
        (
            format!("[default]\n{KEY}{SECRET}{SECRET}"),
            "line 4: duplicate \"aws_secret_access_key\"",
        ),
        (
            format!("[default]\n{KEY}aws_secret_access_key=\n"),
            "line 3: \"aws_secret_access_key\" is empty",
        ),
        (
            format!("[default]\n{KEY}aws_secret_access_key= # topsecret\n"),
            "line 3: invalid character in \"aws_secret_access_key\"",
        ),
        (
            format!("[default]\n{KEY}aws_secret_access_key=topsecret b\n"),
            "line 3: invalid character in \"aws_secret_access_key\"",
        ),
        (
            format!("[default]\n{KEY}aws_secret_access_key=topsecret\u{e4}\n"),
            "line 3: invalid character in \"aws_secret_access_key\"",
        ),
        (
            format!("[default]\n{KEY}aws_secret_access_key=topsecret\0\n"),
            "line 3: invalid character in \"aws_secret_access_key\"",
        ),
        (
            format!("[default]\naws_access_key_id=A/B\n{SECRET}"),
            "line 2: invalid character in \"aws_access_key_id\"",
        ),
        (
            format!("[default]\n{KEY}{SECRET}  topsecret\n"),
            "line 4: \"aws_secret_access_key\" is continued on this line",
        ),
        (
            format!("[default]\n{KEY}{SECRET}aws_session_token={}\n", "x".repeat(8193)),
            "line 4: \"aws_session_token\" is longer than 8192 bytes",
        ),
        (
            format!("[default]\n{KEY}aws_secret_access_key={}\n", "x".repeat(1025)),
            "line 3: \"aws_secret_access_key\" is longer than 1024 bytes",
        ),
    ];
    for (file, message) in rows {
        let error = Credentials::parse(file.as_bytes(), "default").expect_err(&file);
        assert_eq!(error.to_string(), message, "{file}");
        assert!(!format!("{error} {error:?}").contains("topsecret"), "{file}");
    }
}

/// What is secret is in no message and no debug output.
#[test]
fn secrets_are_not_shown() {
    let file = b"[default]\naws_access_key_id=A\naws_secret_access_key=topsecret\naws_session_token=topsecret";
    let credentials = Rc::new(Credentials::parse(file, "default").expect("credentials"));
    let signer = Signer::new("r", "s3");
    let request = SignedRequest {
        method: b"GET",
        path: Encoded("/".into()),
        query: "",
        fields: &[],
        payload_hash: EMPTY_PAYLOAD,
    };
    signer.sign(&credentials, Timestamp::new(0), &request);
    let shown = format!("{credentials:?} {signer:?}");
    assert_eq!(
        shown,
        "Credentials { access_key: \"A\", .. } Signer { region: \"r\", service: \"s3\", .. }"
    );
}

#[test]
fn responses() {
    for status in [200, 206, 304] {
        assert_eq!(Response::of(status), Response::Pass);
    }
    for status in [403, 404, 412, 416, 500, 502, 503, 504] {
        assert_eq!(Response::of(status), Response::Error(status));
    }
    for status in [0, 100, 201, 204, 301, 302, 307, 308, 400, 401, 405, 409, 429, 501, 507, 599] {
        assert_eq!(Response::of(status), Response::Error(502), "{status}");
    }
}

#[test]
fn error_codes() {
    let rows: [(&[u8], Option<&str>); 8] = [
        (
            b"<?xml version=\"1.0\"?>\n<Error><Code>NoSuchKey</Code><Key>x</Key></Error>",
            Some("NoSuchKey"),
        ),
        (b"1f\r\n<Error><Code>AccessDenied</Code>", Some("AccessDenied")),
        (b"", None),
        (b"<Code>", None),
        (b"<Code>NoSuch", None),
        (b"<Code></Code>", None),
        (b"<Code>a b</Code>", None),
        (b"<Code>\xff</Code>", None),
    ];
    for (page, code) in rows {
        assert_eq!(error_code(page), code, "{page:?}");
    }
    let long = format!("<Code>{}</Code>", "a".repeat(65));
    assert_eq!(error_code(long.as_bytes()), None);
}

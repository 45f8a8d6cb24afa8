//! An object store with the interface of Amazon S3, in memory. It verifies signatures with an
//! implementation of its own, which shares no code with the module.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use data_encoding::HEXLOWER;
use ring::digest::{SHA256, digest};
use ring::hmac::{HMAC_SHA256, Key, sign};

use crate::application::{Asked, Reply};

/// A store with one bucket.
#[derive(Debug)]
pub struct Store {
    bucket: String,
    region: String,
    /// Whether the bucket is a part of the host name.
    is_virtual: bool,
    /// Whether anybody may read the bucket, without a signature.
    is_public: bool,
    /// Access keys with their secrets and tokens.
    keys: Mutex<Vec<StoreKey>>,
    objects: Mutex<HashMap<Vec<u8>, StoreObject>>,
    /// How many seconds the clock is ahead of that of the machine.
    clock: AtomicI64,
}

/// What signs requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreKey {
    /// The access key.
    pub id: String,
    /// The secret access key.
    pub secret: String,
    /// The session token of temporary credentials.
    pub token: Option<String>,
}

impl StoreKey {
    /// A key without a token.
    pub fn new(id: &str) -> Self {
        Self { id: id.into(), secret: format!("secret/+of{id}"), token: None }
    }

    /// Temporary credentials.
    pub fn temporary(id: &str) -> Self {
        Self { token: Some(format!("token/+=of{id}==")), ..Self::new(id) }
    }

    /// The file of credentials, with the key as the profile `default`.
    pub fn file(&self) -> String {
        let Self { id, secret, token } = self;
        let token = token.as_ref().map_or(String::new(), |t| format!("aws_session_token = {t}\n"));
        format!("[default]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n{token}")
    }
}

#[derive(Clone, Debug)]
struct StoreObject {
    content: Arc<[u8]>,
    etag: String,
}

/// When all objects were changed last.
const LAST_MODIFIED: &str = "Sat, 01 Jan 2022 00:00:00 GMT";

impl Store {
    /// An empty store for one key, which has the bucket in the path of URIs.
    pub fn new(bucket: &str, region: &str, key: &StoreKey) -> Self {
        Self {
            bucket: bucket.into(),
            region: region.into(),
            is_virtual: false,
            is_public: false,
            keys: Mutex::new(vec![key.clone()]),
            objects: Mutex::default(),
            clock: AtomicI64::new(0),
        }
    }

    /// The same with the bucket in host names.
    #[must_use]
    pub fn virtual_style(mut self) -> Self {
        self.is_virtual = true;
        self
    }

    /// The same with a bucket that anybody may read: requests need no signature.
    #[must_use]
    pub fn public(mut self) -> Self {
        self.is_public = true;
        self
    }

    /// Puts an object.
    pub fn put(&self, name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) {
        let content: Arc<[u8]> = content.as_ref().into();
        let etag = format!("\"{}\"", &HEXLOWER.encode(digest(&SHA256, &content).as_ref())[..32]);
        lock(&self.objects).insert(name.as_ref().to_vec(), StoreObject { content, etag });
    }

    /// Accepts these keys and no others.
    pub fn set_keys(&self, keys: &[&StoreKey]) {
        *lock(&self.keys) = keys.iter().map(|&key| key.clone()).collect();
    }

    /// Sets the clock so many seconds ahead.
    pub fn set_clock_offset(&self, seconds: i64) {
        self.clock.store(seconds, Ordering::SeqCst);
    }

    fn now(&self) -> i64 {
        seconds_now() + self.clock.load(Ordering::SeqCst)
    }

    /// The response to a request.
    pub fn answer(&self, asked: &Asked) -> Reply {
        let (reply, is_error) = match self.verify(asked).and_then(|()| self.object(asked)) {
            Ok(object) => (object.answer(asked), false),
            Err((status, code)) => {
                let page = error(status, code, asked.path());
                (if asked.method == "HEAD" { page.cut(0) } else { page }, true)
            }
        };
        let reply = reply
            .header("Date", &http_date(self.now()))
            .header("x-amz-request-id", "4442587FB7D0A2F9")
            .header(
                "x-amz-id-2",
                "vlR7PnpV2Ce81l0PRw6jlUpck7Jo5ZsQjryTjKlc5aLWGVHPZLj5NeC6qMa0emYBDXOo6QBU0Wo=",
            );
        if is_error { reply.in_one_piece() } else { reply }
    }

    /// The name of the object in the path.
    fn object(&self, asked: &Asked) -> Result<StoreObject, (u16, &'static str)> {
        let path = decode(asked.path()).ok_or((400, "InvalidURI"))?;
        let prefix = if self.is_virtual { "/".to_owned() } else { format!("/{}/", self.bucket) };
        let name = path.strip_prefix(prefix.as_bytes()).ok_or((404, "NoSuchBucket"))?;
        assert!(!name.is_empty(), "the bucket is listed: {asked:#?}");
        lock(&self.objects).get(name).cloned().ok_or((404, "NoSuchKey"))
    }

    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>
    fn verify(&self, asked: &Asked) -> Result<(), (u16, &'static str)> {
        const MALFORMED: (u16, &str) = (400, "AuthorizationHeaderMalformed");
        let field = |name: &str| asked.header(name).unwrap_or_default();
        let Some(value) = asked.header("authorization") else {
            return if self.is_public { Ok(()) } else { Err((403, "AccessDenied")) };
        };
        let value = value.strip_prefix("AWS4-HMAC-SHA256 ").ok_or(MALFORMED)?;
        let parameter = |name: &str| {
            let parts = value.split(',').filter_map(|part| part.trim().split_once('='));
            parts.filter(|(key, _)| *key == name).map(|(_, value)| value).next().ok_or(MALFORMED)
        };
        let (credential, names) = (parameter("Credential")?, parameter("SignedHeaders")?);
        let scope: Vec<&str> = credential.split('/').collect();
        let [id, date, region, service, terminator] = scope[..] else { return Err(MALFORMED) };
        if region != self.region || service != "s3" || terminator != "aws4_request" {
            return Err(MALFORMED);
        }
        let key = lock(&self.keys).iter().find(|key| key.id == id).cloned();
        let key = key.ok_or((403, "InvalidAccessKeyId"))?;

        let time = field("x-amz-date");
        let seconds = seconds_of(time).ok_or((403, "AccessDenied"))?;
        if !time.starts_with(date) {
            return Err(MALFORMED);
        } else if (seconds - self.now()).abs() > 15 * 60 {
            return Err((403, "RequestTimeTooSkewed"));
        }
        match (&key.token, asked.header("x-amz-security-token")) {
            (None, None) => {}
            (Some(own), Some(token)) if own == token => {}
            (Some(_), None) => return Err((403, "InvalidAccessKeyId")),
            _ => return Err((400, "InvalidToken")),
        }

        let names: Vec<&str> = names.split(';').collect();
        let must = |name: &str| name == "host" || name.starts_with("x-amz-");
        if !names.is_sorted()
            || asked.headers.iter().any(|(name, _)| must(name) && !names.contains(&name.as_str()))
        {
            return Err((403, "AccessDenied"));
        }
        let path = encode(&decode(asked.path()).ok_or((400, "InvalidURI"))?);
        let fields: Vec<String> =
            names.iter().map(|&name| format!("{name}:{}\n", field(name).trim())).collect();
        let fields = fields.concat();
        let payload = field("x-amz-content-sha256");
        let query = asked.query();
        let request =
            format!("{}\n{path}\n{query}\n{fields}\n{}\n{payload}", asked.method, names.join(";"));
        let signature = signature(&key.secret, time, region, &request);
        if parameter("Signature")? != signature {
            return Err((403, "SignatureDoesNotMatch"));
        }
        if payload != HEXLOWER.encode(digest(&SHA256, &asked.body).as_ref()) {
            return Err((400, "XAmzContentSHA256Mismatch"));
        }
        Ok(())
    }
}

/// The signature of a canonical request.
fn signature(secret: &str, time: &str, region: &str, request: &str) -> String {
    let date = &time[..8];
    let hash = HEXLOWER.encode(digest(&SHA256, request.as_bytes()).as_ref());
    let text = format!("AWS4-HMAC-SHA256\n{time}\n{date}/{region}/s3/aws4_request\n{hash}");
    let mut mac = format!("AWS4{secret}").into_bytes();
    for part in [date, region, "s3", "aws4_request", &text] {
        mac = sign(&Key::new(HMAC_SHA256, &mac), part.as_bytes()).as_ref().to_vec();
    }
    HEXLOWER.encode(&mac)
}

impl StoreKey {
    /// The path of the URI of an object, and the fields of a signed request for it.
    pub fn sign(
        &self,
        (method, host, region): (&str, &str, &str),
        path: &[u8],
        content: &[u8],
    ) -> (String, Vec<(&'static str, String)>) {
        let time = amz_time(seconds_now());
        let (date, path) = (&time[..8], encode(path));
        let payload = HEXLOWER.encode(digest(&SHA256, content).as_ref());
        let names = "host;x-amz-content-sha256;x-amz-date";
        let request = format!(
            "{method}\n{path}\n\nhost:{host}\nx-amz-content-sha256:{payload}\nx-amz-date:{time}\n\n\
             {names}\n{payload}"
        );
        let signature = signature(&self.secret, &time, region, &request);
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/{date}/{region}/s3/aws4_request, SignedHeaders={names}, \
             Signature={signature}",
            self.id
        );
        let fields = [
            ("Host", host.to_owned()),
            ("X-Amz-Content-Sha256", payload),
            ("X-Amz-Date", time),
            ("Authorization", authorization),
        ];
        (path, fields.into())
    }
}

/// The seconds since 1970.
pub fn seconds_now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
    i64::try_from(now.as_secs()).expect("the clock is right")
}

/// A time such as `20130524T000000Z`.
fn amz_time(seconds: i64) -> String {
    let (year, month, day, second) = date(seconds);
    let (hour, minute) = (second / 3600, second / 60 % 60);
    format!("{year}{month:02}{day:02}T{hour:02}{minute:02}{:02}Z", second % 60)
}

impl StoreObject {
    fn answer(&self, asked: &Asked) -> Reply {
        let field = |name: &str| asked.header(name);
        let len = self.content.len();
        let with_fields =
            |reply: Reply| reply.header("ETag", &self.etag).header("Last-Modified", LAST_MODIFIED);
        if field("if-match").is_some_and(|etag| etag != self.etag) {
            return error(412, "PreconditionFailed", asked.path());
        }
        if field("if-none-match").is_some_and(|etag| etag == self.etag)
            || field("if-modified-since") == Some(LAST_MODIFIED)
        {
            // From 1.29.7 on nginx would send the next request on this connection.
            let reply = Reply::raw("HTTP/1.1 304 Not Modified\r\nConnection: close\r\n\r\n");
            return with_fields(reply);
        }
        let is_current = field("if-range").is_none_or(|v| v == self.etag || v == LAST_MODIFIED);
        let reply = match field("range").filter(|_| is_current).map(|range| range_of(range, len)) {
            Some(None) => {
                return error(416, "InvalidRange", asked.path())
                    .header("Content-Range", &format!("bytes */{len}"));
            }
            Some(Some((from, to))) => {
                Reply::new(206, "binary/octet-stream", &self.content[from..to])
                    .header("Content-Range", &format!("bytes {from}-{}/{len}", to - 1))
            }
            None => Reply::new(200, "binary/octet-stream", &self.content),
        };
        let reply = with_fields(reply)
            .header("Accept-Ranges", "bytes")
            .header("Content-Disposition", "attachment; filename=\"of-the-store\"")
            .header("x-amz-meta-uploaded-by", "somebody");
        if asked.method == "HEAD" { reply.cut(0) } else { reply }
    }
}

/// An error page, as stores have it.
pub fn error(status: u16, code: &str, resource: &str) -> Reply {
    let page = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>A message\
         </Message><Resource>{resource}</Resource></Error>"
    );
    Reply::new(status, "application/xml", page)
}

/// The bytes of a range: `from` to, but not including, `to`.
fn range_of(range: &str, len: usize) -> Option<(usize, usize)> {
    let (from, to) = range.strip_prefix("bytes=")?.split_once('-')?;
    let (from, to) = match (from.parse().ok(), to.parse::<usize>().ok()) {
        (Some(from), to) => (from, to.map_or(len, |to| (to + 1).min(len))),
        (None, last) => (len.saturating_sub(last?), len),
    };
    (from < to).then_some((from, to))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn decode(path: &str) -> Option<Vec<u8>> {
    let mut bytes = path.bytes();
    let mut decoded = Vec::new();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let digits = [bytes.next()?, bytes.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            byte => byte,
        });
    }
    Some(decoded)
}

/// As AWS says: "URI-encode every byte except the unreserved characters", and `/` in names of objects.
pub(crate) fn encode(bytes: &[u8]) -> String {
    let encode = |&b: &u8| match b {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
            char::from(b).to_string()
        }
        _ => format!("%{b:02X}"),
    };
    bytes.iter().map(encode).collect()
}

/// The seconds since 1970 of a time such as `20130524T000000Z`.
fn seconds_of(time: &str) -> Option<i64> {
    let number = |at: std::ops::Range<usize>| time.get(at)?.parse::<i64>().ok();
    let (year, month, day) = (number(0..4)?, number(4..6)?, number(6..8)?);
    let (hour, minute, second) = (number(9..11)?, number(11..13)?, number(13..15)?);
    if time.len() != 16 || time.get(8..9)? != "T" || !time.ends_with('Z') {
        return None;
    }
    Some(((days(year, month) + day - 1) * 24 + hour) * 3600 + minute * 60 + second)
}

/// The days from 1970 to the first of a month.
fn days(year: i64, month: i64) -> i64 {
    let is_leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let years: i64 = (1970..year).map(|year| if is_leap(year) { 366 } else { 365 }).sum();
    let months = [31, if is_leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    years + months.iter().take(usize::try_from(month - 1).unwrap_or(0)).sum::<i64>()
}

/// A time for the field `Date`. nginx does not look at the day of the week.
fn http_date(seconds: i64) -> String {
    let (year, month, day, second) = date(seconds);
    let at = usize::try_from(month - 1).unwrap_or(0) * 3;
    format!(
        "Thu, {day:02} {} {year} {:02}:{:02}:{:02} GMT",
        &"JanFebMarAprMayJunJulAugSepOctNovDec"[at..at + 3],
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

/// Year, month, day, and the second of the day.
fn date(seconds: i64) -> (i64, i64, i64, i64) {
    let (day, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let year = (1970..).find(|&year| days(year + 1, 1) > day).unwrap_or(1970);
    let month = (1..=12).rev().find(|&month| days(year, month) <= day).unwrap_or(1);
    (year, month, day - days(year, month) + 1, second)
}

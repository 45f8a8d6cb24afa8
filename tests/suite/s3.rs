//! Recordings in an object store.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use xspace_tests::{
    Application, Asked, Nginx, Preload, Protocol, Random, Reply, Request, Site, Store, StoreKey,
    build, bytes, same_bytes, seconds_now, setting,
};

use crate::common::{ID, MISSING_PATH, PATH, assert_no_recording, assert_recording, recording};
use crate::conf_files::{self, conf_file};

pub const BUCKET: &str = "recordings";
pub const REGION: &str = "eu-west-1";

/// The object of [`ID`].
pub const OBJECT: &str = "a/1lDxLnrWjwkGm.mp3";

/// Slices of the cache, in bytes.
pub const SLICE: usize = 64 * 1024;

/// What an edge sends, and nothing of a client's.
const FIELDS: &str = "
    proxy_pass_request_headers off;
    proxy_pass_request_body off;
    proxy_set_header Content-Length \"\";
    proxy_set_header Host $xspace_s3_host;
    proxy_set_header X-Amz-Date $xspace_s3_date;
    proxy_set_header X-Amz-Content-Sha256 $xspace_s3_content_sha256;
    proxy_set_header X-Amz-Security-Token $xspace_s3_token;
    proxy_set_header Authorization $xspace_s3_authorization;
    proxy_next_upstream off;";

/// Sends the client's range and conditions on.
pub const DIRECT: &str = "
    proxy_set_header Range $http_range;
    proxy_set_header If-Range $http_if_range;
    proxy_set_header If-Match $http_if_match;
    proxy_set_header If-None-Match $http_if_none_match;
    proxy_set_header If-Modified-Since $http_if_modified_since;";

/// Keeps slices in a cache.
pub const CACHED: &str = "
    slice 64k;
    proxy_set_header Range $slice_range;
    proxy_cache store;
    proxy_cache_key $uri$slice_range;
    proxy_cache_valid 200 206 1h;
    proxy_cache_lock on;
    proxy_cache_lock_timeout 60s;
    proxy_cache_lock_age 60s;";

/// The key of most tests.
pub fn key() -> StoreKey {
    StoreKey::new("AKIDEXAMPLE")
}

/// A store with the recording of [`ID`].
pub fn store() -> Arc<Store> {
    let store = Store::new(BUCKET, REGION, &key());
    store.put(OBJECT, recording());
    Arc::new(store)
}

/// A server for a store.
pub fn serve(store: &Arc<Store>) -> Application {
    let store = Arc::clone(store);
    Application::start(move |asked| store.answer(asked))
}

/// The directive, but for its end.
pub const S3: &str = "xspace_s3 bucket=recordings region=eu-west-1 credentials=credentials \
                      endpoint-host=store.example:9000";

/// A site whose target is the bucket of a store, with more directives in both locations. The workers
/// can read the file of credentials.
pub fn site(app: &Application, s3: &str, download: &str, target: &str) -> Site {
    site_at(app.address(), s3, download, target)
}

/// The same for the store at an address.
pub fn site_at(address: SocketAddr, s3: &str, download: &str, target: &str) -> Site {
    let catalog = format!("{{\"{ID}\": {{\"title\": \"A talk\", \"files\": [\"{OBJECT}\"]}}}}");
    Site::new()
        .http(&format!(
            "upstream store {{ server {address}; }}
             proxy_cache_path {{dir}}/cache keys_zone=store:1m use_temp_path=off;"
        ))
        .server(&format!(
            "location ^~ /download/ {{
                 xspace_download /recordings/;
                 xspace_directory off;
                 {download}
             }}
             location ^~ /recordings/ {{
                 internal;
                 {s3};
                 proxy_pass http://store$xspace_s3_uri;
                 {FIELDS}
                 {target}
             }}"
        ))
        .file("catalog.json", catalog)
        .file("credentials", key().file())
}

pub const CATALOG: &str = "xspace_catalog catalog.json; xspace_filename $xspace_id.mp3;";

/// An edge in front of a store.
pub fn edge(store: &Arc<Store>, target: &str) -> (Application, Nginx) {
    let app = serve(store);
    let nginx = site(&app, S3, CATALOG, target).start();
    (app, nginx)
}

/// Fails unless a request has what an edge sends and nothing else.
#[track_caller]
pub fn assert_own_request(asked: &Asked) {
    let known = [
        "host",
        "connection",
        "range",
        "if-range",
        "if-match",
        "if-none-match",
        "if-modified-since",
        "x-amz-date",
        "x-amz-content-sha256",
        "x-amz-security-token",
        "authorization",
    ];
    for (name, _) in &asked.headers {
        assert!(known.contains(&name.as_str()), "{name}: {asked:#?}");
    }
    assert_eq!(asked.query(), "", "{asked:#?}");
    assert!(asked.body.is_empty(), "{asked:#?}");
}

/// Fails if a response has a field of the store's.
#[track_caller]
fn assert_no_field_of_store(response: &xspace_tests::Response, what: &str) {
    let fields = &response.lasting_headers();
    assert!(!fields.iter().any(|(name, _)| name.starts_with("x-amz-")), "{what}: {fields:?}");
}

#[test]
fn get_and_head() {
    for target in [DIRECT, CACHED] {
        let store = store();
        let (app, nginx) = edge(&store, target);
        for protocol in nginx.protocols() {
            for _ in 0..2 {
                let what = format!("{protocol:?} {target}");
                let response = nginx.send(protocol, &Request::get(PATH));
                assert_recording(&response, &what);
                assert_no_field_of_store(&response, &what);
                let head = nginx.send(protocol, &Request::head(PATH));
                assert_eq!((head.status, head.body.len()), (200, 0), "{what}: {head:?}");
                for name in ["content-type", "content-disposition", "content-length", "etag"] {
                    assert_eq!(head.header(name), response.header(name), "{what} {name}");
                }
            }
        }
        for asked in app.asked() {
            assert_own_request(&asked);
            assert_eq!(asked.path(), format!("/{BUCKET}/{OBJECT}"));
            assert_eq!(asked.header("host"), Some("store.example:9000"));
            assert_eq!(asked.header("x-amz-security-token"), None);
        }
        let methods: Vec<_> = app.take_asked().into_iter().map(|asked| asked.method).collect();
        if target == CACHED {
            // One for each slice, whatever the client's method.
            assert_eq!(methods, vec!["GET"; recording().len().div_ceil(SLICE)]);
        } else {
            assert!(methods.contains(&"HEAD".into()) && methods.contains(&"GET".into()));
        }
        assert!(!nginx.error_log().contains("object store responded"), "{}", nginx.error_log());
        nginx.finish();
    }
}

/// The first request for an object is HEAD: the cache makes it a GET, and so does the signature.
#[test]
fn head_that_fills_the_cache() {
    let store = store();
    let (app, nginx) = edge(&store, CACHED);
    let head = nginx.send(Protocol::Http1, &Request::head(PATH));
    assert_eq!(head.status, 200, "{head:?}");
    assert_eq!(head.header("content-length"), Some(recording().len().to_string().as_str()));
    assert_eq!(app.take_only().method, "GET");
    let whole = "proxy_cache store; proxy_cache_valid 200 1h; proxy_cache_key $uri;";
    for (convert, method) in [("", "GET"), ("proxy_cache_convert_head off;", "HEAD")] {
        let (app, nginx) = edge(&store, &format!("{whole} {convert}"));
        let head = nginx.send(Protocol::Http1, &Request::head(PATH));
        assert_eq!(head.status, 200, "{head:?}");
        assert_eq!(app.take_only().method, method);
    }
    drop(nginx);
}

#[test]
fn ranges() {
    let store = store();
    for target in [DIRECT, CACHED] {
        let (app, nginx) = edge(&store, target);
        let len = recording().len();
        let mut random = Random::new(19);
        let mut rows: Vec<(usize, usize)> = vec![
            (0, 1),
            (0, SLICE - 1),
            (0, SLICE),
            (SLICE - 1, SLICE),
            (SLICE, 2 * SLICE - 1),
            (len - 1, len - 1),
            (0, len - 1),
        ];
        rows.extend((0..40).map(|_| {
            let from = random.below(len);
            (from, from + random.below(len - from))
        }));
        for (from, to) in rows {
            for protocol in nginx.protocols() {
                let what = format!("{protocol:?} {from}-{to} {target}");
                let request = Request::get(PATH).range(&format!("bytes={from}-{to}"));
                let response = nginx.send(protocol, &request);
                assert_eq!(response.status, 206, "{what}: {response:?}");
                let expected = format!("bytes {from}-{to}/{len}");
                assert_eq!(response.header("content-range"), Some(expected.as_str()), "{what}");
                assert_eq!(response.header("content-type"), Some("audio/mpeg"), "{what}");
                assert!(response.header("content-disposition").is_some(), "{what}");
                same_bytes(&response.body, &recording()[from..=to], &what);
            }
        }
        let suffix = nginx.get_with(PATH, "Range", "bytes=-1000");
        same_bytes(&suffix.body, &recording()[len - 1000..], "a suffix");
        let behind = nginx.get_with(PATH, "Range", &format!("bytes={len}-"));
        assert_no_recording(&behind, 416, target);
        let expected = format!("bytes */{len}");
        assert_eq!(behind.header("content-range"), Some(expected.as_str()), "{behind:?}");
        assert!(!behind.text().contains("InvalidRange"), "{behind:?}");
        app.asked().iter().for_each(|asked| assert_own_request(asked));
        nginx.finish();
    }
}

/// A seek into the middle of a new object fetches the slices that it needs.
#[test]
fn a_seek_fetches_its_slices() {
    let store = Store::new(BUCKET, REGION, &key());
    let long = bytes(7, 40 * SLICE);
    store.put(OBJECT, &long);
    let (app, nginx) = edge(&Arc::new(store), CACHED);
    let (from, to) = (20 * SLICE + 10, 21 * SLICE + 10);
    let response = nginx.get_with(PATH, "Range", &format!("bytes={from}-{to}"));
    same_bytes(&response.body, &long[from..=to], "two slices");
    let ranges: Vec<_> = app
        .take_asked()
        .iter()
        .filter_map(|asked| asked.header("range").map(str::to_owned))
        .collect();
    let slice = |number: usize| format!("bytes={}-{}", number * SLICE, (number + 1) * SLICE - 1);
    assert_eq!(ranges, [slice(20), slice(21)]);
    let again = nginx.get_with(PATH, "Range", &format!("bytes={from}-{to}"));
    same_bytes(&again.body, &long[from..=to], "from the cache");
    assert_eq!(app.asked(), []);
}

#[test]
fn conditions() {
    let store = store();
    for target in [DIRECT, CACHED] {
        let (app, nginx) = edge(&store, target);
        let first = nginx.get(PATH);
        let etag = first.header("etag").expect("an ETag").to_owned();
        let modified = first.header("last-modified").expect("a date").to_owned();
        let send = |name: &str, value: &str, range: Option<&str>| {
            let request = Request::get(PATH).header(name, value);
            let request = range.into_iter().fold(request, |request, range| request.range(range));
            nginx.send(Protocol::Http1, &request)
        };
        for (name, value) in [("If-None-Match", &etag), ("If-Modified-Since", &modified)] {
            let response = send(name, value, None);
            assert_no_recording(&response, 304, name);
            assert!(response.body.is_empty() && response.header("etag").is_some(), "{response:?}");
        }
        assert_recording(&send("If-None-Match", "\"other\"", None), "changed");
        let refused = send("If-Match", "\"other\"", None);
        assert_no_recording(&refused, 412, "If-Match");
        assert!(!refused.text().contains("<Code>"), "{refused:?}");
        assert_recording(&send("If-Match", &etag, None), "If-Match");
        // If-Range over slices.
        let range = "bytes=65000-140000";
        for value in [&etag, &modified] {
            let response = send("If-Range", value, Some(range));
            assert_eq!(response.status, 206, "{response:?}");
            same_bytes(&response.body, &recording()[65_000..=140_000], "If-Range");
        }
        assert_recording(&send("If-Range", "\"other\"", Some(range)), "If-Range of another one");
        app.asked().iter().for_each(|asked| assert_own_request(asked));
        nginx.finish();
    }
}

/// What a client sends does not reach the store.
#[test]
fn nothing_of_a_client_reaches_the_store() {
    let store = store();
    for target in [DIRECT, CACHED] {
        let (app, nginx) = edge(&store, target);
        for protocol in nginx.protocols() {
            let path =
                format!("{PATH}?format=mp3&versionId=x&X-Amz-Algorithm=y&response-content-type=z");
            let mut request = Request::get(&path)
                .header("Authorization", "Bearer of-the-client")
                .header("X-Amz-Security-Token", "of-the-client")
                .header("X-Amz-Date", "20200101T000000Z")
                .header("X-Amz-Meta-A", "of-the-client")
                .header("Cookie", "a=of-the-client")
                .header("Accept-Encoding", "gzip, br")
                .header("User-Agent", "of-the-client");
            if protocol == Protocol::Http1 {
                request = request.body(b"of-the-client");
            }
            assert_recording(&nginx.send(protocol, &request), &format!("{protocol:?}"));
        }
        let asked = app.take_asked();
        assert!(!asked.is_empty());
        for asked in asked {
            assert_own_request(&asked);
            assert!(!format!("{asked:?}").contains("of-the-client"), "{asked:#?}");
        }
        nginx.finish();
    }
}

/// Names with any bytes but NUL, as an application may name them by X-Accel-Redirect.
///
/// `XSPACE_TEST_S3_NAMES`: how many.
#[test]
fn odd_names() {
    let count: usize = setting("XSPACE_TEST_S3_NAMES", 1000);
    let store = Arc::new(Store::new(BUCKET, REGION, &key()));
    let served = serve(&store);
    let encoded =
        |name: &[u8]| name.iter().map(|b| format!("%{b:02x}")).collect::<Vec<_>>().concat();
    let names: Arc<Vec<Vec<u8>>> = Arc::new(odd_names_of(count));
    let for_app = Arc::clone(&names);
    let app = Application::start(move |asked| {
        let number: usize = asked.path()[5..].parse().expect("a number");
        let uri = format!("/recordings/{}", encoded(&for_app[number]));
        Reply::status(200).header("X-Accel-Redirect", &uri)
    });
    let nginx = site(&served, S3, CATALOG, DIRECT)
        .server(&format!(
            "merge_slashes off; keepalive_requests 1000000; location /raw/ {{ proxy_pass http://{}; }}",
            app.address()
        ))
        .start();
    let mut connection = nginx.connect(Protocol::Http1);
    for (number, name) in names.iter().enumerate() {
        let content = format!("object {number}");
        store.put(name, &content);
        let response = connection.send(&Request::get(&format!("/raw/{number}")));
        let what = format!("{:?}", String::from_utf8_lossy(name));
        assert_eq!((response.status, response.text()), (200, content), "{what} {name:?}");
    }
    assert_eq!(served.asked().len(), count);
}

/// Many of them have what is special in URIs, in XML or in signatures.
pub fn odd_names_of(count: usize) -> Vec<Vec<u8>> {
    let pieces: [&[u8]; 24] = [
        b" ",
        b"%",
        b"%2F",
        b"%25",
        b"+",
        b"?",
        b"#",
        b"&",
        b"=",
        b";",
        b"//",
        b"~",
        b"\"",
        b"'",
        b"\r\n",
        b"\t",
        b"\\",
        b"<>",
        "ä".as_bytes(),
        "\u{1f399}".as_bytes(),
        b"\xff\xfe",
        b"...",
        b"$uri",
        b":",
    ];
    let mut random = Random::new(4);
    let mut names: Vec<Vec<u8>> = (1..=255).filter(|&b| b != b'/').map(|b| vec![b'a', b]).collect();
    while names.len() < count {
        let number = names.len();
        let mut name = format!("{number}-").into_bytes();
        for _ in 0..random.below(12) {
            match random.below(3) {
                0 => name.extend_from_slice(random.pick(&pieces)),
                1 => name.push(u8::try_from(1 + random.below(255)).expect("a byte")),
                _ => name.push(b'a' + u8::try_from(random.below(26)).expect("a letter")),
            }
        }
        name.push(b'z');
        // NGINX refuses these in X-Accel-Redirect.
        let is_up = |window: &[u8]| window == b"/../";
        if !name.windows(4).any(is_up) {
            names.push(name);
        }
    }
    names.truncate(count);
    names
}

/// Catalogs and lookups name an object; counts, links and names are as with files.
#[test]
fn catalog_lookup_and_title() {
    let store = store();
    let app = serve(&store);
    let odd = "b c/ä%2F+?#.mp3";
    store.put(odd, recording());
    let entry = format!("{{\"title\": \"A talk\", \"files\": [\"{odd}\"]}}");
    let lookup = Application::always(Reply::json(&entry));
    let logs = "access_log {dir}/log.txt counted;";
    for (download, source) in [
        ("xspace_catalog odd.json;".to_owned(), "catalog"),
        ("xspace_lookup /lookup;".to_owned(), "lookup"),
    ] {
        let nginx = site(&app, S3, &download, &format!("{CACHED} {logs}"))
            .http("log_format counted '$xspace_source $xspace_counted $status $xspace_file';")
            .server(&format!(
                "location = /lookup {{ internal; proxy_pass http://{}; }}",
                lookup.address()
            ))
            .file("odd.json", format!("{{\"{ID}\": {entry}}}"))
            .start();
        let response = nginx.get(PATH);
        assert_eq!(response.status, 200, "{response:?}");
        same_bytes(&response.body, &recording(), source);
        let expected = format!("inline; filename=\"A-talk_{ID}.mp3\"");
        assert_eq!(response.header("content-disposition"), Some(expected.as_str()));
        assert_eq!(response.header("content-type"), Some("audio/mpeg"));
        let saved = nginx.get(&format!("{PATH}?attachment=1"));
        let expected = format!("attachment; filename=\"A-talk_{ID}.mp3\"");
        assert_eq!(saved.header("content-disposition"), Some(expected.as_str()));
        nginx.get_with(PATH, "Range", "bytes=0-99");
        nginx.get_with(PATH, "Range", "bytes=100000-200000");
        nginx.send(Protocol::Http1, &Request::head(PATH));
        let lines = nginx.log_lines("log.txt", 5);
        let counted: Vec<_> = lines.iter().map(|line| line.as_str()).collect();
        let line = |counted: &str, status: u16| format!("{source} {counted} {status} {odd}");
        let expected =
            [line("1", 200), line("1", 200), line("1", 206), line("-", 206), line("-", 200)];
        for (line, expected) in counted.iter().zip(&expected) {
            // The access log escapes bytes.
            assert!(
                line.starts_with(expected.split(" b c").next().expect("a beginning")),
                "{counted:?}"
            );
        }
        nginx.finish();
    }
}

#[cfg(feature = "links")]
#[test]
fn links_protect_objects() {
    let store = store();
    let app = serve(&store);
    let signer = xspace_tests::LinkKey::new("k1");
    let download = format!(
        "{CATALOG} xspace_link $arg_token; xspace_link_keys keys; xspace_link_session 10m;"
    );
    let nginx = site(&app, S3, &download, CACHED).file("keys", signer.line()).start();
    assert_no_recording(&nginx.get(PATH), 403, "no link");
    assert_eq!(app.asked(), []);
    let token = signer.token(ID, crate::links::now() + 60, ["-"; 3]);
    let response = nginx.get(&format!("{PATH}?token={token}"));
    assert_recording(&response, "a link");
    let cache = response.header("cache-control").expect("it is private");
    assert!(cache.contains("private"), "{cache}");
    app.asked().iter().for_each(|asked| assert_own_request(asked));
}

#[test]
fn missing_objects() {
    let store = store();
    let app = serve(&store);
    for target in [DIRECT, CACHED] {
        let catalog = r#"{"1ZkKzXbYyLmGv": {"files": ["no.mp3"]}}"#;
        let nginx = site(&app, S3, CATALOG, target).file("catalog.json", catalog).start();
        for protocol in nginx.protocols() {
            for request in [
                Request::get(MISSING_PATH),
                Request::head(MISSING_PATH),
                Request::get(MISSING_PATH).range("bytes=0-1"),
            ] {
                let response = nginx.send(protocol, &request);
                assert_no_recording(&response, 404, target);
                assert!(!response.text().contains("NoSuchKey"), "{response:?}");
                assert_no_field_of_store(&response, target);
            }
        }
        let line = "object store responded with 404 (NoSuchKey) for object \"no.mp3\" of bucket \
                    \"recordings\" in region \"eu-west-1\"";
        nginx.wait_error(&[line]);
        nginx.finish();
    }
}

/// All variables of one request have one time, and signatures of the next day are good at midnight.
#[test]
fn the_clock_passes_midnight() {
    if !build().require("preload") {
        return;
    }
    let store = store();
    let app = serve(&store);
    let (preload, site) = Preload::new(site(&app, S3, CATALOG, DIRECT));
    let nginx = site.start();
    for day in 0..2 {
        // Three seconds before midnight.
        let offset = 86_400 - seconds_now().rem_euclid(86_400) - 3 + day * 86_400;
        preload.set_clock_offset(offset);
        store.set_clock_offset(offset);
        let mut dates = std::collections::BTreeSet::new();
        let passed = xspace_tests::poll(|| {
            for protocol in nginx.protocols() {
                assert_recording(&nginx.send(protocol, &Request::get(PATH)), "at midnight");
            }
            for asked in app.take_asked() {
                let date = asked.header("x-amz-date").expect("a date").to_owned();
                let scope = format!("/{}/{REGION}/s3/", &date[..8]);
                assert!(asked.header("authorization").expect("it is signed").contains(&scope));
                dates.insert(date[..8].to_owned());
            }
            dates.len() == 2
        });
        assert!(passed, "the day did not change: {dates:?}");
    }
}

/// A request of twenty minutes over slices: each is signed when it is fetched.
#[test]
fn slices_are_signed_when_they_are_fetched() {
    if !build().require("preload") {
        return;
    }
    let store = Store::new(BUCKET, REGION, &key());
    let long = bytes(7, 12 * SLICE);
    store.put(OBJECT, &long);
    let store = Arc::new(store);
    let fetched = Arc::new(AtomicUsize::new(0));
    // Each slice takes two minutes: the clocks are moved in between, of the machine and of the store.
    let (for_app, counted) = (Arc::clone(&store), Arc::clone(&fetched));
    let clock: Arc<std::sync::OnceLock<Preload>> = Arc::default();
    let for_clock = Arc::clone(&clock);
    let app = Application::start(move |asked| {
        let reply = for_app.answer(asked);
        let offset =
            120 * (1 + i64::try_from(counted.fetch_add(1, Ordering::SeqCst)).expect("few"));
        for_app.set_clock_offset(offset);
        for_clock.get().expect("it is set").set_clock_offset(offset);
        reply
    });
    let (preload, site) = Preload::new(site(&app, S3, CATALOG, CACHED));
    clock.set(preload).expect("it is set once");
    let nginx = site.start();
    let response = nginx.get(PATH);
    same_bytes(&response.body, &long, "twelve slices");
    let dates: std::collections::BTreeSet<_> = app
        .take_asked()
        .iter()
        .map(|asked| asked.header("x-amz-date").expect("a date").to_owned())
        .collect();
    assert_eq!(dates.len(), 12, "{dates:?}");
}

#[test]
fn bucket_in_the_host_name() {
    let store = Store::new(BUCKET, "us-east-1", &key()).virtual_style();
    store.put(OBJECT, recording());
    let app = serve(&Arc::new(store));
    let s3 = "xspace_s3 bucket=recordings region=us-east-1 credentials=credentials style=virtual";
    let nginx = site(&app, s3, CATALOG, CACHED).start();
    assert_recording(&nginx.get(PATH), "virtual style");
    let asked = app.asked();
    assert_eq!(asked[0].header("host"), Some("recordings.s3.us-east-1.amazonaws.com"));
    assert_eq!(asked[0].path(), format!("/{OBJECT}"));
}

#[test]
fn temporary_credentials_and_profiles() {
    let key = StoreKey::temporary("ASIAEXAMPLE");
    let store = Store::new(BUCKET, REGION, &key);
    store.put(OBJECT, recording());
    let app = serve(&Arc::new(store));
    let file =
        format!("{}\n{}", StoreKey::new("other").file(), key.file().replace("default", "edge"));
    let nginx = site(&app, &format!("{S3} profile=edge"), CATALOG, CACHED)
        .file("credentials", file)
        .start();
    assert_recording(&nginx.get(PATH), "a token");
    assert!(
        app.asked()
            .iter()
            .all(|asked| asked.header("x-amz-security-token") == key.token.as_deref())
    );
}

/// Requests that must not reach a store, from inside of NGINX too.
#[test]
fn what_is_not_sent() {
    let store = store();
    let app = serve(&store);
    let redirects = Application::start(|asked| {
        Reply::status(200).header("X-Accel-Redirect", &asked.path().replace("/raw", "/recordings"))
    });
    let nginx = site(&app, S3, CATALOG, DIRECT)
        .server(&format!("location /raw/ {{ proxy_pass http://{}; }}", redirects.address()))
        .server("location /rewritten/ { rewrite ^/rewritten/(.*)$ /recordings/$1 last; }")
        .start();
    // Clients don't get in themselves.
    assert_no_recording(&nginx.get(&format!("/recordings/{OBJECT}")), 404, "internal");
    // The bucket would be listed.
    for path in ["/raw/", "/rewritten/"] {
        assert_no_recording(&nginx.get(path), 404, path);
    }
    nginx.wait_errors(&["without the name of an object refused"], 2);
    for method in ["PUT", "DELETE", "POST", "PATCH"] {
        let request = Request::new(method, &format!("/rewritten/{OBJECT}"));
        let response = nginx.send(Protocol::Http1, &request);
        assert_no_recording(&response, 405, method);
    }
    assert_eq!(app.asked(), []);
    assert_eq!(nginx.get(&format!("/rewritten/{OBJECT}")).status, 200);
    app.take_only();
}

/// A rewrite inside of the location leads out of it: nothing of the client's URI is sent in its place.
#[test]
fn a_uri_outside_of_the_location() {
    let store = store();
    let app = serve(&store);
    let nginx = site(&app, S3, CATALOG, &format!("{DIRECT} rewrite ^ /elsewhere break;")).start();
    let response = nginx.get(&format!("{PATH}?a=of-the-client"));
    assert_no_recording(&response, 500, "outside");
    nginx.wait_error(&["URI is not below the location of \"xspace_s3\""]);
    assert_eq!(app.asked(), []);
}

/// A location without the directive, in which nginx would send the client's URI with an empty variable.
#[test]
fn a_location_without_the_directive() {
    let store = store();
    let app = serve(&store);
    let nested = "location /recordings/a/ { proxy_pass http://store$xspace_s3_uri; }";
    let nginx = site(&app, S3, CATALOG, &format!("{DIRECT} {nested}")).start();
    let response = nginx.get(&format!("{PATH}?a=of-the-client"));
    assert_no_recording(&response, 500, "a nested location");
    nginx.wait_error(&["invalid port in upstream \"store:0/\""]);
    assert_eq!(app.asked(), []);
}

/// `object-store.conf`, with a store behind TLS whose certificate is verified.
#[test]
fn the_example() {
    if !["http_ssl", "http_slice"].iter().all(|feature| build().require(feature)) {
        return;
    }
    let store = Store::new("example-recordings", REGION, &key());
    store.put("2025/06/talk.mp3", recording());
    let app = serve(&Arc::new(store));
    let catalog = format!("{{\"{ID}\": {{\"files\": [\"2025/06/talk.mp3\"]}}}}");
    let site = |host: &str, verify: &str| {
        let front = format!(
            "\nhttp {{ server {{ listen 127.0.0.1:{{tls}} ssl; ssl_certificate {{dir}}/cert.pem;
                 ssl_certificate_key {{dir}}/key.pem;
                 location / {{ proxy_pass http://{}; proxy_set_header Host $http_host; }} }}",
            app.address()
        );
        let text = conf_file("object-store.conf")
            .replace("s3.credentials;", &format!("s3.credentials endpoint-host={host};"))
            .replace("proxy_ssl_verify on;", verify)
            .replacen("\nhttp {", &front, 1);
        conf_files::site("object-store.conf", &text).file("srv/catalog.json", &catalog)
    };
    // The name of the certificate, which has no port.
    let nginx = site("localhost:{tls}", "proxy_ssl_verify on;").start();
    for _ in 0..2 {
        let response = nginx.get(PATH);
        assert_recording(&response, "the example");
        assert_eq!(response.header("cache-control"), Some("no-cache"));
        let range = nginx.get_with(PATH, "Range", "bytes=1000-1999");
        same_bytes(&range.body, &recording()[1000..2000], "a range");
    }
    let asked = app.take_only();
    assert_eq!(asked.header("range"), Some("bytes=0-1048575"));
    assert_eq!(asked.path(), "/example-recordings/2025/06/talk.mp3");
    assert!(!nginx.error_log().contains("is not verified"), "{}", nginx.error_log());
    nginx.finish();
    // Another name.
    let nginx = site("store.example", "proxy_ssl_verify on;").start();
    assert_no_recording(&nginx.get(PATH), 502, "another certificate");
    assert_eq!(app.asked(), []);
    nginx.finish();
    // Without verification there is a warning, once.
    let nginx = site("localhost", "").start();
    assert_recording(&nginx.get(PATH), "not verified");
    assert_recording(&nginx.get(PATH), "not verified");
    nginx.wait_errors(
        &[
            "[warn]",
            "certificate of the object store is not verified: \"proxy_ssl_verify\" is off in \
                     location \"/recordings/\"",
        ],
        1,
    );
}

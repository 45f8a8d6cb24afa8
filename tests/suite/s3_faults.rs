//! An object store that fails, changes its objects or refuses requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use xspace_tests::{
    Application, Connection, Gate, Nginx, Preload, Protocol, Reply, Request, Site, Store, StoreKey,
    block_on, build, bytes, is_root, poll, same_bytes, seconds_now, store_error,
};

use crate::common::{
    PATH, ask_once, assert_no_recording, assert_recording, each_allocation, recording,
};
use crate::s3::{
    BUCKET, CACHED, CATALOG, DIRECT, OBJECT, REGION, S3, SLICE, assert_own_request, key, serve,
    site, store,
};

/// Fails if something of the store's page or header is in a response.
#[track_caller]
fn assert_own_page(response: &xspace_tests::Response, status: u16, what: &str) {
    assert_no_recording(response, status, what);
    assert_ne!(response.header("content-type"), Some("application/xml"), "{what}: {response:?}");
    for text in ["<Code>", "<Error>", "recordings", "of-the-store"] {
        assert!(!response.text().contains(text), "{what}: {response:?}");
    }
    for (name, value) in response.lasting_headers() {
        let is_of_store = name.starts_with("x-amz-") || value.contains("of-the-store");
        assert!(!is_of_store && name != "location", "{what}: {name}: {value}");
    }
}

/// Each status of a store, with a page in XML.
#[test]
fn statuses() {
    let rows: [(u16, &str, u16); 16] = [
        (301, "PermanentRedirect", 502),
        (302, "Found", 502),
        (307, "TemporaryRedirect", 502),
        (400, "AuthorizationHeaderMalformed", 502),
        (401, "Unauthorized", 502),
        (403, "AccessDenied", 403),
        (404, "NoSuchKey", 404),
        (405, "MethodNotAllowed", 502),
        (409, "Conflict", 502),
        (412, "PreconditionFailed", 412),
        (416, "InvalidRange", 416),
        (429, "TooManyRequests", 502),
        (500, "InternalError", 500),
        (503, "SlowDown", 503),
        (201, "Created", 502),
        (507, "Full", 502),
    ];
    for target in [DIRECT, CACHED] {
        let status = Arc::new(AtomicUsize::new(0));
        let for_app = Arc::clone(&status);
        let app = Application::start(move |asked| {
            let (status, code, _) = rows[for_app.load(Ordering::SeqCst)];
            let reply = store_error(status, code, asked.path())
                .header("Location", "https://recordings.s3.us-west-2.amazonaws.com/of-the-store")
                .header("x-amz-bucket-region", "us-west-2")
                .header("x-amz-request-id", "of-the-store")
                .header("Cache-Control", "public, max-age=86400")
                .header("Content-Disposition", "attachment; filename=\"of-the-store\"")
                .header("Set-Cookie", "a=of-the-store")
                .header("Retry-After", "7");
            let reply = if asked.method == "HEAD" { reply.cut(0) } else { reply };
            reply.in_one_piece()
        });
        let nginx = site(&app, S3, CATALOG, &format!("{target} proxy_cache_valid any 1m;"))
            .server("error_page 404 /missing.html; location = /missing.html { return 404 gone; }")
            .start();
        for (number, (of_store, code, expected)) in rows.into_iter().enumerate() {
            status.store(number, Ordering::SeqCst);
            for protocol in nginx.protocols() {
                for request in
                    [Request::get(PATH), Request::head(PATH), Request::get(PATH).range("bytes=5-9")]
                {
                    let what = format!("{of_store} {protocol:?} {request:?} {target}");
                    let response = nginx.send(protocol, &request);
                    assert_own_page(&response, expected, &what);
                    assert_eq!(response.header("retry-after"), Some("7"), "{what}");
                    assert_eq!(response.header("cache-control"), None, "{what}");
                }
            }
            let line = format!(
                "object store responded with {of_store} ({code}) for object \"{OBJECT}\" of bucket \
                 \"{BUCKET}\" in region \"{REGION}\", the bucket is in region \"us-west-2\""
            );
            nginx.wait_error(&[&line]);
        }
        nginx.finish();
    }
}

/// An error of the store under a status of NGINX: the recording is the page of an error itself.
#[test]
fn a_recording_that_is_an_error_page() {
    for status in [403, 404, 500] {
        let app = Application::start(move |asked| store_error(status, "Code", asked.path()));
        let nginx = site(&app, S3, CATALOG, DIRECT)
            .server(&format!("location /denied {{ error_page 403 {PATH}; return 403; }}"))
            .start();
        let response = nginx.get("/denied");
        assert!([403, 404, 500].contains(&response.status), "{response:?}");
        assert_own_page(&response, response.status, "an error page");
        nginx.finish();
    }
}

/// An error that is in the cache is no recording either.
#[test]
fn errors_in_the_cache() {
    let app = Application::start(|asked| store_error(404, "NoSuchKey", asked.path()));
    let cached = "proxy_cache store; proxy_cache_key $uri; proxy_cache_valid any 1h;
                  proxy_intercept_errors on; error_page 404 @gone;";
    let nginx =
        site(&app, S3, CATALOG, cached).server("location @gone { return 404 'gone'; }").start();
    for _ in 0..3 {
        let response = nginx.get(PATH);
        assert_own_page(&response, 404, "a miss in the cache");
        assert_eq!(response.text(), "gone");
    }
    assert_eq!(app.asked().len(), 1, "the store is asked once");
}

/// What answers is no HTTP server.
#[test]
fn no_http() {
    for target in [DIRECT, CACHED] {
        let app =
            Application::always(Reply::raw("<Error><Code>of-the-store</Code></Error>\r\n\r\n"));
        let nginx = site(&app, S3, CATALOG, target).start();
        let text = ask_once(&nginx, &format!("GET {PATH} HTTP/1.1\r\nHost: h"));
        assert!(!text.contains("of-the-store") && !text.contains("audio/"), "{text}");
        nginx.finish();
    }
}

/// Never another byte than the object's, whatever the store sends.
#[test]
fn wrong_ranges() {
    let store = store();
    for wrong in [
        "bytes 1-65536/300007",
        "bytes 0-65534/300007",
        "bytes 0-65535/*",
        "bytes 65536-131071/300007",
        "nonsense",
    ] {
        let for_app = Arc::clone(&store);
        let app = Application::start(move |asked| {
            let reply = for_app.answer(asked);
            if asked.header("range") == Some("bytes=0-65535") {
                Reply::new(206, "binary/octet-stream", &recording()[..SLICE])
                    .header("Content-Range", wrong)
            } else {
                reply
            }
        });
        let nginx = site(&app, S3, CATALOG, CACHED).start();
        let text = ask_once(&nginx, &format!("GET {PATH} HTTP/1.1\r\nHost: h"));
        assert!(!text.starts_with("HTTP/1.1 2"), "{wrong}: {}", text.get(..200).unwrap_or(&text));
        // Slices that are right are served.
        let response = nginx.get_with(PATH, "Range", "bytes=65536-65600");
        same_bytes(&response.body, &recording()[65_536..=65_600], wrong);
        nginx.finish();
    }
}

/// The content of a response that may be cut off, in HTTP/1.1.
fn content(nginx: &Nginx) -> (String, Vec<u8>) {
    let mut connection = nginx.raw();
    connection.write(format!("GET {PATH} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"));
    let response = connection.read_whatever_comes();
    let end = response.windows(4).position(|window| window == b"\r\n\r\n").expect("a header");
    (String::from_utf8_lossy(&response[..end]).into_owned(), response[end + 4..].to_vec())
}

/// The listener gets the beginning of the recording and no byte that is not its own.
#[track_caller]
fn assert_beginning(nginx: &Nginx, expected: &[u8], at_least: usize, what: &str) {
    let (head, got) = content(nginx);
    assert!(head.starts_with("HTTP/1.1 200"), "{what}: {head}");
    assert!(head.contains("Content-Length: 300007"), "{what}: {head}");
    assert!(got.len() >= at_least && got.len() < expected.len(), "{what}: {} bytes", got.len());
    same_bytes(&got, &expected[..got.len()], what);
}

#[test]
fn an_object_that_changes_between_slices() {
    let store = store();
    let old = recording();
    let new = bytes(99, old.len());
    let (for_app, changed) = (Arc::clone(&store), new.clone());
    let app = Application::start(move |asked| {
        if asked.header("range") == Some("bytes=131072-196607") {
            for_app.put(OBJECT, &changed);
        }
        for_app.answer(asked)
    });
    let nginx = site(&app, S3, CATALOG, CACHED).start();
    assert_beginning(&nginx, &old, 2 * SLICE, "the object has changed");
    nginx.wait_error(&["etag mismatch in slice response"]);
    // Slices of both are in the cache now: nobody gets the recording before they expire or are removed.
    assert_beginning(&nginx, &old, 2 * SLICE, "from the cache");
    // Another name has no such past; nor has another key of the cache.
    std::fs::remove_dir_all(nginx.dir().join("cache")).expect("the cache can be removed");
    nginx.reload();
    let served = poll(|| content(&nginx).1 == new);
    assert!(served, "the new object is served after the cache was emptied");
}

/// The store closes its connection in the middle of a slice, or stops: each slice, the first one and the
/// last one too.
#[test]
fn a_store_that_ends_in_the_middle() {
    let store = store();
    let slices = recording().len().div_ceil(SLICE);
    for (buffering, name) in
        [("on", "closed"), ("off", "closed"), ("on", "reset"), ("on", "stalled")]
    {
        // Each request waits for a second where it stops.
        let all = [2, 0, slices - 1];
        for &broken in if name == "stalled" { &all[..1] } else { &all[..] } {
            let what = format!("{name} in slice {broken}, buffering {buffering}");
            let is_broken = Arc::new(AtomicBool::new(true));
            let (for_app, flag) = (Arc::clone(&store), Arc::clone(&is_broken));
            let gate = Gate::default();
            let for_reply = gate.clone();
            let app = Application::start(move |asked| {
                let reply = for_app.answer(asked);
                let range = asked.header("range").unwrap_or_default();
                if !range.starts_with(&format!("bytes={}-", broken * SLICE))
                    || !flag.load(Ordering::SeqCst)
                {
                    return reply;
                }
                match name {
                    "closed" => reply.cut(1000).close(),
                    "reset" => reply.cut(1000).reset(),
                    _ => reply.pause_before_body(&for_reply),
                }
            });
            let target = format!("{CACHED} proxy_buffering {buffering}; proxy_read_timeout 1s;");
            let nginx = site(&app, S3, CATALOG, &target).start();
            let (head, got) = content(&nginx);
            let expected = recording();
            if broken > 0 {
                assert!(head.starts_with("HTTP/1.1 200"), "{what}: {head}");
                assert!(head.contains("Content-Length: 300007"), "{what}: {head}");
            }
            assert!(got.len() <= broken * SLICE + 1000, "{what}: {} bytes", got.len());
            same_bytes(&got, &expected[..got.len()], &what);

            // On a connection that would be kept, and in other protocols.
            let mut kept = nginx.raw();
            kept.write(format!("GET {PATH} HTTP/1.1\r\nHost: h\r\n\r\n"));
            let all = kept.read_whatever_comes();
            assert!(all.len() < expected.len(), "{what}: the connection is closed");
            for protocol in nginx.protocols() {
                let request = Request::get(PATH);
                let response = block_on(async {
                    Connection::open(protocol, nginx.address(protocol))
                        .await
                        .try_send(&request)
                        .await
                });
                if let Ok(response) = response {
                    assert_no_recording(&response, response.status, &what);
                    assert_eq!(broken, 0, "{what} {protocol:?}: {response:?}");
                }
            }
            // The slice is not kept.
            is_broken.store(false, Ordering::SeqCst);
            gate.open();
            assert_recording(&nginx.get(PATH), &what);
            nginx.finish();
        }
    }
}

/// A cache that is updated in the background: a client who gets the earlier slices meanwhile does not notice
/// that the store breaks off, or refuses.
#[test]
fn an_update_of_the_cache_that_fails() {
    let store = store();
    let fault = Arc::new(AtomicUsize::new(0));
    let (for_app, number) = (Arc::clone(&store), Arc::clone(&fault));
    let app = Application::start(move |asked| {
        let reply = for_app.answer(asked);
        match number.load(Ordering::SeqCst) {
            0 => reply,
            1 => reply.cut(1000).close(),
            2 => reply.cut(1000).reset(),
            _ => store_error(403, "AccessDenied", asked.path()),
        }
    });
    let target = CACHED.replace("200 206 1h", "200 206 1s")
        + "proxy_cache_use_stale updating; proxy_cache_background_update on;";
    let nginx = site(&app, S3, CATALOG, &target).start();
    assert_recording(&nginx.get(PATH), "new");
    for number in 1..4 {
        fault.store(number, Ordering::SeqCst);
        app.take_asked();
        // Until slices have expired, and their update has failed.
        assert!(poll(|| {
            assert_recording(&nginx.get(PATH), "while it is updated");
            app.asked().len() > 5
        }));
    }
    fault.store(0, Ordering::SeqCst);
    assert_recording(&nginx.get(PATH), "the store is well again");
}

/// Clients who ask for a new object at once share its slices.
#[test]
fn a_herd() {
    let store = store();
    let for_app = Arc::clone(&store);
    let app = Application::start(move |asked| {
        for_app.answer(asked).delay(std::time::Duration::from_millis(300))
    });
    let nginx = site(&app, S3, CATALOG, CACHED).workers(2).start();
    thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| assert_recording(&nginx.get(PATH), "in a herd"));
        }
    });
    assert_eq!(app.asked().len(), recording().len().div_ceil(SLICE));
}

#[test]
fn wrong_credentials() {
    let store = store();
    let app = serve(&store);
    let mut wrong = key();
    wrong.secret.push('x');
    let rows = [
        (StoreKey::new("unknown"), "403 (InvalidAccessKeyId)", 403),
        (wrong, "403 (SignatureDoesNotMatch)", 403),
        (StoreKey { token: Some("t".into()), ..key() }, "400 (InvalidToken)", 502),
    ];
    for (key, line, status) in rows {
        let nginx = site(&app, S3, CATALOG, CACHED).file("credentials", key.file()).start();
        assert_own_page(&nginx.get(PATH), status, line);
        nginx.wait_error(&["object store responded with ", line]);
        assert!(!nginx.error_log().contains("differs"), "the clock is right");
        assert!(!nginx.error_log().contains("secret/"), "no secret in the log");
        nginx.finish();
    }
    let s3 = S3.replace("eu-west-1", "us-west-2");
    let nginx = site(&app, &s3, CATALOG, CACHED).start();
    assert_own_page(&nginx.get(PATH), 502, "another region");
    nginx.wait_error(&["400 (AuthorizationHeaderMalformed)", "in region \"us-west-2\""]);
}

#[test]
fn a_clock_that_is_wrong() {
    if !build().require("preload") {
        return;
    }
    let store = store();
    let app = serve(&store);
    let (preload, site) = Preload::new(site(&app, S3, CATALOG, DIRECT));
    let nginx = site.start();
    for offset in [3600, -3600] {
        preload.set_clock_offset(offset);
        assert!(poll(|| nginx.get(PATH).status == 403), "the store refuses");
        let line = nginx.wait_error(&[
            "object store responded with 403 (RequestTimeTooSkewed) for object",
            ", its clock differs from that of this machine by 3",
        ]);
        let number = line.split("machine by ").nth(1).and_then(|rest| rest.split(' ').next());
        let seconds: i64 = number.and_then(|text| text.parse().ok()).expect("a number");
        assert!((3590..=3610).contains(&seconds), "{line}");
    }
    preload.set_clock_offset(0);
    assert!(poll(|| nginx.get(PATH).status == 200), "the clock is right again");
}

/// New credentials while clients seek; a bad file meanwhile.
#[test]
fn credentials_that_are_replaced_under_load() {
    let keys: Vec<StoreKey> = (0..4)
        .map(|n| {
            if n % 2 == 0 {
                StoreKey::new(&format!("k{n}"))
            } else {
                StoreKey::temporary(&format!("k{n}"))
            }
        })
        .collect();
    let store = Arc::new(Store::new(BUCKET, REGION, &keys[0]));
    store.put(OBJECT, recording());
    let app = serve(&store);
    let nginx =
        site(&app, S3, CATALOG, DIRECT).file("credentials", keys[0].file()).workers(2).start();
    let stop = AtomicBool::new(false);
    let served = AtomicUsize::new(0);
    thread::scope(|scope| {
        for number in 0..4 {
            let (nginx, stop, served) = (&nginx, &stop, &served);
            scope.spawn(move || {
                let _stop = StopAtPanic(stop);
                let protocol = [Protocol::Http1, Protocol::Http2][number % 2];
                while !stop.load(Ordering::SeqCst) {
                    let response =
                        nginx.send(protocol, &Request::get(PATH).range("bytes=1000-1999"));
                    assert_eq!(response.status, 206, "{response:?}\n{}", nginx.error_log());
                    same_bytes(&response.body, &recording()[1000..2000], "under load");
                    served.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        let _stop = StopAtPanic(&stop);
        for pair in keys.windows(2) {
            let [old, new] = pair else { unreachable!() };
            // The store knows both until the edge has the new one.
            store.set_keys(&[old, new]);
            nginx.site().replace("credentials", "[default]\nsecret/+\n");
            nginx.site().replace("credentials", new.file());
            app.take_asked();
            let is_new = |asked: &xspace_tests::Asked| {
                asked
                    .header("authorization")
                    .is_some_and(|value| value.contains(&format!("={}/", new.id)))
            };
            let all_new = || app.asked().len() > 40 && app.take_asked().iter().all(is_new);
            assert!(poll(all_new), "{} is used", new.id);
            store.set_keys(&[new]);
            let before = served.load(Ordering::SeqCst);
            assert!(poll(|| served.load(Ordering::SeqCst) > before + 20));
        }
        stop.store(true, Ordering::SeqCst);
    });
    // By each worker that had a request to sign.
    let count = nginx.count_errors(&["[notice]", "credentials \"", "\" reloaded"]);
    assert!((3..=8).contains(&count), "{count}");
    nginx.finish();
}

/// Lets a client that panics end the test at once.
struct StopAtPanic<'s>(&'s AtomicBool);

impl Drop for StopAtPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.store(true, Ordering::SeqCst);
        }
    }
}

/// A bad file is reported once, and the last good one stays.
#[test]
fn a_bad_file_of_credentials() {
    let store = store();
    let app = serve(&store);
    let nginx = site(&app, S3, CATALOG, DIRECT).start();
    assert_recording(&nginx.get(PATH), "good");
    let kept = "credentials not reloaded, keeping the previous version: ";
    type Change = fn(&Site);
    let rows: [(&str, Change); 5] = [
        ("line 2: \"=\" is missing", |site| site.replace("credentials", "[default]\nsecret/+\n")),
        ("it is larger than 65536 bytes", |site| {
            site.replace("credentials", [key().file(), "#".repeat(65_536)].concat());
        }),
        ("no profile \"default\"", |site| site.replace("credentials", "")),
        ("not a regular file", |site| {
            std::fs::remove_file(site.dir().join("credentials")).expect("it is there");
            site.make_dir("credentials");
        }),
        ("failed (2: No such file or directory)", |site| {
            std::fs::remove_dir(site.dir().join("credentials")).expect("it is there");
        }),
    ];
    for (message, change) in rows {
        change(nginx.site());
        let reported = poll(|| {
            assert_recording(&nginx.get(PATH), message);
            nginx.count_errors(&["[error]", kept, message]) > 0
        });
        assert!(reported, "{message}: {}", nginx.error_log());
        // Once: further seconds pass with requests.
        let start = seconds_now();
        assert!(poll(|| {
            assert_recording(&nginx.get(PATH), message);
            seconds_now() > start + 1
        }));
        assert_eq!(nginx.count_errors(&[kept, message]), 1, "{}", nginx.error_log());
    }
    assert!(!nginx.error_log().contains("secret/"), "no secret in the log");
    let new = StoreKey::new("new");
    store.set_keys(&[&new]);
    nginx.site().replace("credentials", new.file());
    assert!(poll(|| nginx.get(PATH).status == 200), "the new file is read");
}

/// A file that only the master process can read: it takes a reload.
#[test]
fn credentials_of_root() {
    if !is_root() {
        println!("passed over: credentials_of_root needs root");
        return;
    }
    let store = store();
    let app = serve(&store);
    let site = site(&app, S3, CATALOG, DIRECT);
    site.chmod("credentials", 0o600);
    let nginx = site.allow("invalid credentials file").start();
    assert_recording(&nginx.get(PATH), "read by the master process");
    let new = StoreKey::new("new");
    store.set_keys(&[&key(), &new]);
    nginx.site().replace("credentials", new.file());
    nginx.site().chmod("credentials", 0o600);
    app.take_asked();
    let start = seconds_now();
    assert!(poll(|| {
        assert_recording(&nginx.get(PATH), "the old ones");
        seconds_now() > start + 1
    }));
    let uses = |key: &str| {
        let asked = app.take_asked();
        asked.iter().all(|asked| {
            asked.header("authorization").is_some_and(|v| v.contains(&format!("={key}/")))
        })
    };
    assert!(uses("AKIDEXAMPLE"), "workers can't read the file");
    assert!(!nginx.error_log().contains("credentials not reloaded"), "{}", nginx.error_log());
    nginx.reload();
    assert_recording(&nginx.get(PATH), "the new ones");
    assert!(uses("new"), "read by the master process");
    // A bad file refuses the reload, and the old configuration goes on.
    nginx.site().replace("credentials", "[default]\n");
    nginx.hang_up();
    nginx.wait_error(&["[emerg]", "invalid credentials file", "line 1: profile without"]);
    assert_recording(&nginx.get(PATH), "the old configuration");
    nginx.site().replace("credentials", new.file());
}

/// Each allocation of a request fails once: the store gets a request as it should be, or one without a
/// field, which it refuses, or none; nothing of the client's, and nobody gets another byte.
#[test]
fn allocations_that_fail() {
    if !build().require("preload") {
        return;
    }
    let key = StoreKey::temporary("ASIAEXAMPLE");
    let store = Store::new(BUCKET, REGION, &key);
    store.put(OBJECT, &recording()[..SLICE + 1000]);
    let app = serve(&Arc::new(store));
    for target in [DIRECT, CACHED] {
        let cached = format!("{target} proxy_cache_bypass 1;");
        let target = if target == CACHED { &cached } else { target };
        let site = site(&app, S3, CATALOG, target)
            .http("request_pool_size 128;")
            .file("credentials", key.file())
            .allow("(12: Cannot allocate memory)");
        let (preload, site) = Preload::new(site);
        let nginx = site.start();
        let request = format!("GET {PATH}?a=of-the-client HTTP/1.1\r\nHost: h");
        assert!(ask_once(&nginx, &request).starts_with("HTTP/1.1 200"));
        let failed = each_allocation(&nginx, &preload, &request, |answer, log, what| {
            let status = answer.get(9..12).unwrap_or_default();
            assert!(["", "200", "400", "403", "500", "502"].contains(&status), "{what}");
            if !status.is_empty() && status != "200" {
                assert!(
                    log.contains("[error]") || log.contains("[crit]") || log.contains("[emerg]"),
                    "{what}"
                );
            }
            assert!(!answer.contains("<Code>") && !answer.contains("x-amz-"), "{what}");
        });
        println!("{failed} allocations have failed");
        assert!(failed > 50, "{failed}");
        for asked in app.take_asked() {
            assert_own_request(&asked);
            assert_eq!(asked.path(), format!("/{BUCKET}/{OBJECT}"));
        }
        assert_eq!(nginx.get(PATH).status, 200);
        nginx.finish();
    }
}

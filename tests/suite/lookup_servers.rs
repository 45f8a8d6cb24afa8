//! Who answers a lookup: applications behind FastCGI, uwsgi and upstream blocks, memcached, files,
//! and a cache in front.

use std::thread;

use xspace_tests::{
    Application, Asked, Gate, Memcached, Nginx, Program, Protocol, Reply, Request, Site, Wire,
};

use crate::asking::{LOG, asking, assert_bad_answer, get, own_errors, rows, site, with_files};
use crate::common::{FILE, ID, MISSING, MISSING_PATH, OTHER, PATH, assert_no_recording, recording};

const ENTRY: &str = r#"{"title": "A talk", "files": ["1lDxLnrWjwkGm.mp3"]}"#;

/// What the FastCGI and uwsgi examples pass; `GET` because NGINX's variable speaks of the client.
const PARAMETERS: [(&str, &str); 6] = [
    ("QUERY_STRING", "$query_string"),
    ("REQUEST_METHOD", "GET"),
    ("CONTENT_TYPE", "$content_type"),
    ("CONTENT_LENGTH", "$content_length"),
    ("SCRIPT_NAME", "/lookup"),
    ("REMOTE_ADDR", "$remote_addr"),
];

#[test]
fn fastcgi_and_uwsgi() {
    for (wire, name) in [(Wire::FastCgi, "fastcgi"), (Wire::Uwsgi, "uwsgi")] {
        let large = " ".repeat(3000);
        let application = Application::speaking(wire, move |asked| match asked.argument("id") {
            Some(ID) => Reply::json(&format!("{ENTRY}{large}")),
            Some(OTHER) => Reply::status(204),
            Some("denied") => Reply::status(401).header("WWW-Authenticate", "Basic"),
            Some("broken") => Reply::json(ENTRY).cut(5).reset(),
            Some("html") => Reply::new(200, "text/html", "<html>"),
            Some("large") => Reply::json(&format!("{ENTRY}{}", " ".repeat(100_000))),
            _ => Reply::status(404),
        });
        let parameters: Vec<_> =
            PARAMETERS.iter().map(|(key, value)| format!("{name}_param {key} {value}; ")).collect();
        let parameters = parameters.concat();
        let address = application.address();
        let nginx = site(
            "",
            &format!("internal; {parameters} {name}_pass {address}; {name}_next_upstream off;"),
        )
        .file(&format!("downloads/{OTHER}.mp3"), "other")
        .start();
        for protocol in nginx.protocols() {
            let what = format!("{name} {protocol:?}");
            let request = Request::get(PATH)
                .header("Cookie", "user=alice")
                .header("Authorization", "Bearer x")
                .header("If-None-Match", "\"x\"")
                .header("Accept-Encoding", "gzip")
                .range("bytes=3-6")
                .body(b"a body");
            let response = nginx.send(protocol, &request);
            assert_eq!(response.status, 206, "{what}: {response:?}");
            assert_eq!(response.body, &recording()[3..7], "{what}");
            let asked = application.take_only();
            assert_eq!(asked.target, format!("/lookup?id={ID}&format="), "{what}");
            assert_eq!(asked.header("cookie"), Some("user=alice"), "{what}");
            assert_eq!(asked.header("authorization"), Some("Bearer x"), "{what}");
            for name in ["range", "if-none-match", "accept-encoding", "content-length"] {
                assert_eq!(asked.header(name), None, "{what} {name}");
            }
            assert_eq!(asked.parameters.get("CONTENT_LENGTH").map(String::as_str), Some(""));
            assert_eq!(asked.body, b"", "{what}");

            let head = nginx.send(protocol, &Request::head(PATH));
            let disposition = head.header("content-disposition");
            assert_eq!(disposition, Some("inline; filename=\"A-talk_1lDxLnrWjwkGm.mp3\""));
            assert_eq!(application.take_only().method, "GET", "{what}");

            let get = |id: &str| get(&nginx, protocol, &format!("/download/{id}"));
            assert_eq!(get(OTHER).text(), "other", "{what}");
            let denied = get("denied");
            assert_no_recording(&denied, 401, &what);
            assert_eq!(denied.header("www-authenticate"), Some("Basic"));
            assert_no_recording(&get(MISSING), 404, &what);
            for id in ["broken", "html", "large"] {
                assert_no_recording(&get(id), 502, &format!("{what} {id}"));
            }
            application.take_asked();
        }
        for (id, reason) in [
            ("html", "invalid response: "),
            ("large", "\"subrequest_output_buffer_size\""),
            ("broken", ""),
        ] {
            assert_bad_answer(&nginx, &format!("/download/{id}"), reason, id);
        }
    }
}

/// What the documentation warns of: NGINX's variable speaks of the client's request.
#[test]
fn request_method_of_the_parameters_is_the_clients() {
    let application = Application::speaking(Wire::FastCgi, |_| Reply::json(ENTRY));
    let parameters = "fastcgi_param QUERY_STRING $query_string;
                      fastcgi_param REQUEST_METHOD $request_method;";
    for (more, method) in [("", "HEAD"), ("fastcgi_param REQUEST_METHOD GET;", "GET")] {
        let address = application.address();
        let nginx =
            site("", &format!("internal; {parameters} {more} fastcgi_pass {address};")).start();
        assert_eq!(nginx.send(Protocol::Http1, &Request::head(PATH)).status, 200, "{more}");
        assert_eq!(application.take_only().method, method, "{more}");
    }
}

#[test]
fn upstream_with_keepalive_uses_its_connection_again() {
    let application = rows(vec![
        Reply::json(ENTRY),
        Reply::json(ENTRY).chunked(7),
        Reply::status(204),
        Reply::status(200),
        Reply::new(403, "text/html", "<p>no"),
    ]);
    let nginx = with_files(
        site(
            "",
            "internal; proxy_pass http://app/lookup;
             proxy_http_version 1.1; proxy_set_header Connection '';",
        )
        .http(&format!("upstream app {{ server {}; keepalive 4; }}", application.address())),
        5,
    )
    .start();
    for round in 0..4 {
        for protocol in nginx.protocols() {
            for (row, status) in [200, 200, 200, 200, 403].into_iter().enumerate() {
                let response = get(&nginx, protocol, &format!("/download/row{row}"));
                assert_eq!(response.status, status, "{protocol:?}, row {row}, round {round}");
            }
        }
    }
    let asked = application.asked();
    let connections: Vec<usize> = asked.iter().map(|asked| asked.connection).collect();
    assert!(connections.iter().all(|&connection| connection == 0), "{connections:?}");
}

#[test]
fn too_large_answers_and_errors_do_not_spoil_a_kept_connection() {
    let large = format!("{ENTRY}{}", " ".repeat(50_000));
    let application = Application::start(move |asked| match asked.argument("id") {
        Some(ID) => Reply::json(ENTRY),
        Some(OTHER) => Reply::json(&large),
        _ => Reply::new(500, "text/html", "<p>".repeat(10_000)),
    });
    for buffering in ["on", "off"] {
        let nginx = site(
            "",
            &format!(
                "internal; proxy_pass http://app/lookup; proxy_buffering {buffering};
                 proxy_http_version 1.1; proxy_set_header Connection '';"
            ),
        )
        .http(&format!("upstream app {{ server {}; keepalive 1; }}", application.address()))
        .start();
        for _ in 0..5 {
            for protocol in nginx.protocols() {
                assert_no_recording(&get(&nginx, protocol, MISSING_PATH), 502, "500");
                let large = get(&nginx, protocol, "/download/1YqKDqWqdPLGV");
                assert_no_recording(&large, 502, "too large");
                assert_eq!(get(&nginx, protocol, PATH).status, 200, "{protocol:?}");
            }
        }
    }
}

#[test]
fn one_of_several_servers_is_down() {
    let application = Application::always(Reply::json(ENTRY));
    let nginx = site("", "internal; proxy_pass http://app/lookup;")
        .http(&format!(
            "upstream app {{ server 127.0.0.1:{{other}} max_fails=0; server {} max_fails=0; }}",
            application.address()
        ))
        .start();
    for round in 0..4 {
        for protocol in nginx.protocols() {
            let response = get(&nginx, protocol, PATH);
            assert_eq!(response.status, 200, "{protocol:?}, round {round}: {response:?}");
        }
    }
    assert_eq!(application.asked().len(), 4 * nginx.protocols().len());
    assert_eq!(own_errors(&nginx), Vec::<String>::new(), "NGINX has tried another server");
    assert!(nginx.error_log().contains("connect() failed"), "{}", nginx.error_log());
}

#[test]
fn all_servers_are_down() {
    let nginx = site("", "internal; proxy_pass http://app/lookup;")
        .http("upstream app { server 127.0.0.1:{other}; server localhost:{other}; }")
        .start();
    for round in 0..3 {
        assert_bad_answer(&nginx, PATH, "status 502", &format!("round {round}"));
    }
}

#[test]
fn next_server_is_asked_after_an_error() {
    let bad = Application::start(|asked| match asked.argument("id") {
        Some(ID) => Reply::status(503),
        Some(OTHER) => Reply::raw("").reset(),
        _ => Reply::status(404),
    });
    let good = Application::always(Reply::json(ENTRY));
    let nginx = site(
        "",
        "internal; proxy_pass http://app/lookup; proxy_next_upstream error http_503 http_404;",
    )
    .http(&format!(
        "upstream app {{ server {} max_fails=0; server {} backup; }}",
        bad.address(),
        good.address()
    ))
    .start();
    for protocol in nginx.protocols() {
        for path in [PATH, "/download/1YqKDqWqdPLGV", MISSING_PATH] {
            let response = get(&nginx, protocol, path);
            assert_eq!(response.status, 200, "{protocol:?} {path}: {response:?}");
            let (bad, good) = (bad.take_only(), good.take_only());
            assert_eq!((bad.target, bad.headers), (good.target, good.headers), "{path}");
        }
    }
    assert_eq!(own_errors(&nginx), Vec::<String>::new());
}

#[test]
fn files_are_entries() {
    let nginx = site("", "internal; alias {dir}/entries/$arg_id.json;")
        .file(&format!("entries/{ID}.json"), ENTRY)
        .file(&format!("entries/{OTHER}.json"), "")
        .file("entries/large.json", format!("{ENTRY}{}", " ".repeat(100_000)))
        .file(&format!("downloads/{OTHER}.mp3"), "other")
        .start();
    for file_directives in [
        "",
        "sendfile on;",
        "directio 1;",
        "open_file_cache max=10;",
        "aio threads;",
        "output_buffers 1 64;",
    ] {
        if file_directives.starts_with("aio") && !xspace_tests::build().require("threads") {
            continue;
        }
        let conf = nginx.site().write_conf();
        let with = format!("location = /_space {{ {file_directives}");
        let conf = conf.replacen("location = /_space {", &with, 1);
        assert!(conf.contains(&with), "{conf}");
        std::fs::write(nginx.site().conf_path(), conf).expect("nginx.conf");
        nginx.reload();
        for protocol in nginx.protocols() {
            let what = format!("{protocol:?} {file_directives}");
            let get = |id: &str| get(&nginx, protocol, &format!("/download/{id}"));
            let response = get(ID);
            assert_eq!(response.body, recording(), "{what}: {response:?}");
            let disposition = response.header("content-disposition");
            assert_eq!(disposition, Some("inline; filename=\"A-talk_1lDxLnrWjwkGm.mp3\""));
            assert_eq!(get(OTHER).text(), "other", "{what}");
            assert_no_recording(&get(MISSING), 404, &what);
            assert_no_recording(&get("large"), 502, &what);
        }
    }
}

/// A site that asks memcached, which has these values.
fn memcached(directives: &str, download: &str, values: &[(&str, &str)]) -> (Program, Site) {
    let site = site(
        download,
        &format!(
            "internal; set $memcached_key space:$arg_id; {directives}
             memcached_pass unix:{{dir}}/memcached.sock;"
        ),
    );
    let socket = site.dir().join("memcached.sock");
    let program = Program::memcached(&socket, 16);
    let mut client = Memcached::connect(&socket);
    for (key, value) in values {
        client.set(key, value);
    }
    (program, site)
}

#[test]
fn memcached_has_entries() {
    let large = format!("{ENTRY}{}", " ".repeat(100_000));
    let values = [
        ("space:1lDxLnrWjwkGm", ENTRY),
        ("space:empty", ""),
        ("space:gone", r#"{"status": 410}"#),
        ("space:html", "<html>"),
        ("space:large", &large),
    ];
    let (_memcached, site) = memcached("", "", &values);
    let nginx = site.file("downloads/empty.mp3", "empty").file("downloads/html.mp3", "x").start();
    for protocol in nginx.protocols() {
        let get = |id: &str| get(&nginx, protocol, &format!("/download/{id}"));
        let response = get(ID);
        assert_eq!(response.body, recording(), "{protocol:?}: {response:?}");
        let disposition = response.header("content-disposition");
        assert_eq!(disposition, Some("inline; filename=\"A-talk_1lDxLnrWjwkGm.mp3\""));
        assert_eq!(get("empty").text(), "empty", "{protocol:?}");
        assert_no_recording(&get("gone"), 410, "an entry's status");
        // A key that is not there is memcached's 404.
        assert_no_recording(&get(MISSING), 404, "no key");
        assert_no_recording(&get("html"), 502, "invalid response: ");
        assert_no_recording(&get("large"), 502, "too large");
        let head = nginx.send(protocol, &Request::head(PATH));
        assert_eq!(head.header("content-length"), response.header("content-length"));
        let part = nginx.send(protocol, &Request::get(PATH).range("bytes=-5"));
        assert_eq!((part.status, part.body.len()), (206, 5), "{protocol:?}");
    }
}

#[test]
fn what_memcached_does_not_know_can_be_left_to_the_directory() {
    let values = [("space:1lDxLnrWjwkGm", ENTRY)];
    let (_memcached, site) = memcached("error_page 404 =204 /_unknown;", "", &values);
    let nginx = site
        .server("location = /_unknown { internal; return 204; }")
        .file(&format!("downloads/{OTHER}.mp3"), "other")
        .start();
    for protocol in nginx.protocols() {
        let get = |id: &str| get(&nginx, protocol, &format!("/download/{id}"));
        assert_eq!(get(ID).body, recording(), "{protocol:?}");
        assert_eq!(get(OTHER).text(), "other", "{protocol:?}");
        assert_no_recording(&get(MISSING), 404, "neither here nor there");
    }
    assert_eq!(own_errors(&nginx), Vec::<String>::new());
}

#[test]
fn memcached_that_is_down_serves_nothing() {
    let (memcached, site) = memcached("", "", &[("space:1lDxLnrWjwkGm", ENTRY)]);
    let nginx = site.allow("connect() to unix:").start();
    assert_eq!(nginx.get(PATH).status, 200);
    drop(memcached);
    assert_bad_answer(&nginx, PATH, "status 502", "memcached is down");
}

/// Two users: each may hear what belongs to them, and there is a space for both with two titles.
fn two_users() -> Application {
    Application::start(|asked| {
        let user = match (asked.header("cookie"), asked.header("authorization")) {
            (Some("session=alice"), _) | (_, Some("Bearer alice")) => "alice",
            (Some("session=bob"), _) | (_, Some("Bearer bob")) => "bob",
            _ => return Reply::status(401),
        };
        match asked.argument("id") {
            Some(ID) => {
                Reply::json(&format!(r#"{{"title": "For {user}", "files": ["{ID}.mp3"]}}"#))
            }
            Some(id) if id == user => Reply::json(&format!(r#"{{"files": ["{ID}.mp3"]}}"#)),
            _ => Reply::status(403),
        }
    })
}

fn cached(application: &Application, key: &str) -> Site {
    asking(
        application,
        "",
        &format!(
            "proxy_cache lookup; {key} proxy_cache_valid 200 204 403 10m;
             proxy_cache_methods GET;"
        ),
    )
    .http("proxy_cache_path {dir}/cache keys_zone=lookup:1m;")
}

/// The key that names id, format and every credential.
const RIGHT_KEY: &str =
    r#"proxy_cache_key "$xspace_id\n$xspace_format\n$http_authorization\n$http_cookie";"#;

/// What a user gets: the title in the file name, or a status.
fn heard(nginx: &Nginx, protocol: Protocol, id: &str, user: (&str, &str)) -> String {
    let request =
        Request::get(&format!("/download/{id}")).header(user.0, user.1).range("bytes=0-9");
    let response = nginx.send(protocol, &request);
    match response.status {
        206 => {
            assert_eq!(response.body, &recording()[..10]);
            response.header("content-disposition").expect("a name").to_owned()
        }
        status => status.to_string(),
    }
}

const ALICE: (&str, &str) = ("Cookie", "session=alice");
const BOB: (&str, &str) = ("Cookie", "session=bob");

#[test]
fn two_users_never_get_each_others_answers_from_the_cache() {
    let application = two_users();
    let nginx = cached(&application, RIGHT_KEY).start();
    let users = [
        (ALICE, "alice"),
        (BOB, "bob"),
        (("Authorization", "Bearer alice"), "alice"),
        (("Authorization", "Bearer bob"), "bob"),
    ];
    for round in 0..3 {
        for protocol in nginx.protocols() {
            for (user, name) in users {
                let what = format!("{protocol:?} {user:?}, round {round}");
                let title = format!("inline; filename=\"For-{name}_{ID}.mp3\"");
                assert_eq!(heard(&nginx, protocol, ID, user), title, "{what}");
                for own in ["alice", "bob"] {
                    let expected = match own == name {
                        true => format!("inline; filename=\"{own}.mp3\""),
                        false => "403".to_owned(),
                    };
                    assert_eq!(heard(&nginx, protocol, own, user), expected, "{what} {own}");
                }
            }
            assert_eq!(heard(&nginx, protocol, ID, ("Cookie", "session=eve")), "401");
            assert_eq!(heard(&nginx, protocol, ID, ("X-No", "credentials")), "401");
        }
    }
    // Each question of each user was asked once; 401 is not kept.
    let asked = application.take_asked();
    let kept = asked.iter().filter(|asked| is_user(asked)).count();
    assert_eq!(kept, users.len() * 3, "{asked:#?}");
}

fn is_user(asked: &Asked) -> bool {
    asked.headers.iter().any(|(_, value)| value.contains("alice") || value.contains("bob"))
}

/// Not what anybody wants: what the documentation warns of.
#[test]
fn default_key_hands_one_users_answer_to_another() {
    let application = two_users();
    let nginx = cached(&application, "").start();
    let of_alice = format!("inline; filename=\"For-alice_{ID}.mp3\"");
    assert_eq!(heard(&nginx, Protocol::Http1, ID, ALICE), of_alice);
    assert_eq!(heard(&nginx, Protocol::Http1, ID, BOB), of_alice, "Alice's answer");
    assert_eq!(heard(&nginx, Protocol::Http1, "alice", ALICE), "inline; filename=\"alice.mp3\"");
    assert_eq!(
        heard(&nginx, Protocol::Http1, "alice", BOB),
        "inline; filename=\"alice.mp3\"",
        "Bob gets what is Alice's alone"
    );
    assert_eq!(application.asked().len(), 2);
}

#[test]
fn formats_have_answers_of_their_own_in_the_cache() {
    let application = Application::start(|asked| {
        let format = asked.argument("format").unwrap_or_default().to_owned();
        Reply::json(&format!(r#"{{"title": "As {format}", "files": ["{ID}.mp3", "{ID}.mp4"]}}"#))
    });
    let nginx =
        cached(&application, RIGHT_KEY).file(&format!("downloads/{ID}.mp4"), "video").start();
    for _ in 0..2 {
        for protocol in nginx.protocols() {
            for (suffix, name) in [
                ("", format!("As_{ID}.mp3")),
                (".mp4", format!("As-mp4_{ID}.mp4")),
                ("?format=VIDEO", format!("As-video_{ID}.mp4")),
                ("?format=audio", format!("As-audio_{ID}.mp3")),
            ] {
                let response = get(&nginx, protocol, &format!("{PATH}{suffix}"));
                let disposition = format!("inline; filename=\"{name}\"");
                assert_eq!(response.header("content-disposition"), Some(disposition.as_str()));
            }
        }
    }
    assert_eq!(application.asked().len(), 4, "once each");
}

#[test]
fn cache_answers_while_the_application_is_down() {
    let application = Application::always(Reply::json(ENTRY).header("X-Accel-Expires", "1"));
    let nginx = cached(
        &application,
        &format!("{RIGHT_KEY} proxy_cache_use_stale error timeout http_502; aio off; sendfile on;"),
    )
    .start();
    assert_eq!(nginx.get(PATH).status, 200);
    drop(application);
    for protocol in nginx.protocols() {
        for _ in 0..3 {
            assert_eq!(get(&nginx, protocol, PATH).status, 200, "{protocol:?}");
        }
        assert_no_recording(&get(&nginx, protocol, MISSING_PATH), 502, "never asked before");
    }
}

#[test]
fn cached_answers_are_read_from_files_in_every_way() {
    for directives in ["sendfile on;", "aio threads;", "directio 1;", "output_buffers 1 64;"] {
        if directives.starts_with("aio") && !xspace_tests::build().require("threads") {
            continue;
        }
        let application = Application::always(Reply::json(&format!("{ENTRY}{}", " ".repeat(3000))));
        let nginx = cached(&application, &format!("{RIGHT_KEY} {directives}")).start();
        for protocol in nginx.protocols() {
            for request in
                [Request::get(PATH), Request::head(PATH), Request::get(PATH).range("bytes=0-9")]
            {
                let response = nginx.send(protocol, &request);
                assert!([200, 206].contains(&response.status), "{directives} {response:?}");
                assert_eq!(
                    response.header("content-disposition"),
                    Some("inline; filename=\"A-talk_1lDxLnrWjwkGm.mp3\""),
                    "{directives} {protocol:?}"
                );
            }
        }
        assert_eq!(application.asked().len(), 1, "{directives}");
    }
}

#[test]
fn cache_lock_lets_one_of_many_ask() {
    let gate = Gate::default();
    let application = Application::always(Reply::json(ENTRY).behind(&gate));
    let nginx = cached(
        &application,
        &format!("{RIGHT_KEY} proxy_cache_lock on; proxy_cache_lock_timeout 60s;"),
    )
    .start();
    let mut protocols = nginx.protocols();
    protocols.retain(|&protocol| protocol != Protocol::Http1);
    let clients: Vec<_> = protocols
        .iter()
        .map(|&protocol| {
            let mut connection = nginx.connect(protocol);
            thread::spawn(move || connection.send_all(&vec![Request::get(PATH); 20]))
        })
        .collect();
    application.wait_asked(1);
    gate.open();
    for client in clients {
        for response in client.join().expect("answers") {
            assert_eq!(response.status, 200, "{response:?}");
            assert_eq!(response.body, recording());
        }
    }
    assert_eq!(application.asked().len(), 1);
}

#[test]
fn format_of_the_log_may_be_written_by_the_lookup_too() {
    let application = Application::always(Reply::json(ENTRY));
    let nginx = Site::with_directives("xspace_lookup /_space;", "")
        .http(LOG)
        .http("log_subrequest on;")
        .server(&format!(
            "location = /_space {{
                 internal; access_log {{dir}}/lookups.log lookup;
                 proxy_pass http://{};
             }}",
            application.address()
        ))
        .file(FILE, recording())
        .start();
    assert_eq!(nginx.get(PATH).status, 200);
    nginx.log_lines("access.log", 1);
    let lines = nginx.log_lines("lookups.log", 1);
    assert!(lines[0].starts_with("200|"), "{lines:?}");
    assert!(lines[0].contains(ID), "{lines:?}");
}

//! Lookups that fail: nothing is served, nothing hangs, nothing is left behind, and the client's
//! connection goes on.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::thread;
use std::time::Duration;

use xspace_tests::{
    Application, Gate, Nginx, Pending, Protocol, Reply, Request, Site, build, open_files, poll,
    read_responses,
};

use crate::asking::{asking, assert_bad_answer, get, own_errors, rows, site, with_files};
use crate::common::{ID, OTHER, PATH, SIZE, assert_no_recording, assert_recording};

/// The entry of the one recording.
const ENTRY: &str = r#"{"files": ["1lDxLnrWjwkGm.mp3"]}"#;

/// An entry of so many bytes.
fn entry_of(len: usize) -> String {
    format!("{ENTRY}{}", " ".repeat(len - ENTRY.len()))
}

/// How many files and sockets a worker has open that has answered over each protocol.
fn open_at_rest(nginx: &Nginx) -> usize {
    for protocol in nginx.protocols() {
        get(nginx, protocol, "/");
    }
    count_open(nginx)
}

fn count_open(nginx: &Nginx) -> usize {
    let [worker] = nginx.workers()[..] else { panic!("one worker: {:?}", nginx.workers()) };
    open_files(worker).len()
}

/// Waits until the worker has no more open than before.
#[track_caller]
fn wait_closed(nginx: &Nginx, before: usize) {
    let open = || count_open(nginx);
    assert!(poll(|| open() <= before), "{} files are open where {before} were", open());
}

/// Fails unless each row is answered with 502 and one line with the reason, over each protocol and
/// by GET and HEAD, on a connection that goes on.
#[track_caller]
fn assert_all_fail(rows_of: Vec<(&str, Reply, &str)>, directives: &str) {
    let application = rows(rows_of.iter().map(|(_, reply, _)| reply.clone()).collect());
    let nginx = with_files(asking(&application, "", directives), rows_of.len()).start();
    let before = open_at_rest(&nginx);
    for (row, (what, _, reason)) in rows_of.iter().enumerate() {
        let path = format!("/download/row{row}");
        let what = format!("{what} ({directives})");
        assert_bad_answer(&nginx, &path, reason, &what);
        for protocol in nginx.protocols() {
            let mut connection = nginx.connect(protocol);
            for request in [
                Request::get(&path),
                Request::head(&path),
                Request::get(&path).range("bytes=0-9"),
                Request::get("/download/none"),
            ] {
                let response = connection.send(&request);
                let status = if request_is_for(&request, &path) { 502 } else { 404 };
                assert_no_recording(&response, status, &format!("{what} {protocol:?}"));
            }
        }
    }
    let expected = rows_of.len() * (1 + 3 * nginx.protocols().len());
    assert_eq!(own_errors(&nginx).len(), expected, "one line each ({directives})");
    wait_closed(&nginx, before);
}

fn request_is_for(request: &Request, path: &str) -> bool {
    format!("{request:?}").contains(&format!("{path:?}"))
}

const NO_RETRY: &str = "proxy_next_upstream off;";

#[test]
fn broken_answers() {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
    let rows_of = || {
        vec![
            ("closed at once", Reply::raw(""), "status 502"),
            ("reset at once", Reply::raw("").reset(), "status 502"),
            ("half a status line", Reply::raw("HTTP/1.1 20"), "status 502"),
            ("half a head", Reply::raw(head), "status 502"),
            ("reset in the head", Reply::raw(head).reset(), "status 502"),
            ("closed before the body", Reply::json(ENTRY).cut(0).close(), "incomplete response"),
            ("closed in the body", Reply::json(ENTRY).cut(9).close(), "incomplete response"),
            (
                "closed before the last byte",
                Reply::json(&entry_of(500)).cut(499).close(),
                "incomplete response",
            ),
            ("reset in the body", Reply::json(ENTRY).cut(9).reset(), "incomplete response"),
            (
                "closed in a chunk",
                Reply::json(ENTRY).chunked(9).cut(20).close(),
                "incomplete response",
            ),
            (
                "closed before the last chunk",
                Reply::raw(format!(
                    "{head}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{ENTRY}\r\n",
                    ENTRY.len()
                )),
                "incomplete response",
            ),
            (
                "closed before the first chunk",
                Reply::raw(format!("{head}Transfer-Encoding: chunked\r\n\r\n")),
                "incomplete response",
            ),
            (
                "no chunk",
                Reply::raw(format!(
                    "{head}Transfer-Encoding: chunked\r\n\r\nxyz\r\n{ENTRY}\r\n0\r\n\r\n"
                )),
                "incomplete response",
            ),
            (
                "ends with the connection, too early",
                Reply::json(ENTRY).without_length().cut(9),
                "invalid response: ",
            ),
            (
                "reset in a body without length",
                Reply::json(ENTRY).without_length().cut(9).reset(),
                "",
            ),
            // An application that has died looks the same.
            (
                "empty, and ends with the connection",
                Reply::status(200).without_length(),
                "empty response",
            ),
            ("no HTTP at all", Reply::raw("SSH-2.0-OpenSSH_9.2\r\n"), ""),
            (
                "a header without end",
                Reply::raw(format!("{head}X-Long: {}\r\n\r\n", "x".repeat(70_000))),
                "status 502",
            ),
            ("a NUL in the header", Reply::raw(format!("{head}X-Nul: a\0b\r\n\r\n{ENTRY}")), ""),
            (
                "a status out of range",
                Reply::raw(format!("HTTP/1.1 099 X\r\nContent-Length: 33\r\n\r\n{ENTRY}")),
                "",
            ),
            (
                "no status",
                Reply::raw(format!("HTTP/1.1 OK\r\nContent-Length: 33\r\n\r\n{ENTRY}")),
                "",
            ),
        ]
    };
    for buffering in ["", "proxy_buffering off;", "proxy_http_version 1.1;"] {
        assert_all_fail(rows_of(), &format!("{NO_RETRY} {buffering}"));
    }
}

#[test]
fn answers_in_utf_16() {
    let words = |mark: &'static str| [mark, ENTRY].concat().encode_utf16().collect::<Vec<_>>();
    let big = |mark| words(mark).into_iter().flat_map(u16::to_be_bytes).collect::<Vec<_>>();
    let little = |mark| words(mark).into_iter().flat_map(u16::to_le_bytes).collect::<Vec<_>>();
    let row = |what, content: &[u8]| {
        let reply = Reply::new(200, "application/json; charset=utf-16", content);
        (what, reply, "invalid response: it is UTF-16")
    };
    let rows_of = vec![
        row("big endian", &big("")),
        row("big endian, with a byte order mark", &big("\u{feff}")),
        row("little endian", &little("")),
        row("little endian, with a byte order mark", &little("\u{feff}")),
    ];
    assert_all_fail(rows_of, "");
}

#[test]
fn compressed_answers() {
    // The entry, compressed by gzip -n.
    let compressed = compress(ENTRY);
    let encoded = |encoding: &str| {
        Reply::new(200, "application/json", &compressed).header("Content-Encoding", encoding)
    };
    for gunzip in ["", "gunzip on;"] {
        if !gunzip.is_empty() && !build().require("http_gunzip") {
            continue;
        }
        let mut rows_of = vec![
            ("br", encoded("br"), "Content-Encoding"),
            ("deflate", encoded("deflate"), "Content-Encoding"),
            ("unknown", encoded("x-unknown"), "Content-Encoding"),
            ("two", encoded("identity, br"), "Content-Encoding"),
            (
                "plain, and said to be compressed",
                Reply::json(ENTRY).header("Content-Encoding", "br"),
                "Content-Encoding",
            ),
        ];
        if gunzip.is_empty() {
            rows_of.push(("gzip", encoded("gzip"), "Content-Encoding"));
            rows_of.push(("gzip in chunks", encoded("gzip").chunked(10), "Content-Encoding"));
            rows_of.push((
                "compressed without saying so",
                Reply::new(200, "application/json", &compressed),
                "invalid response: it is compressed with gzip",
            ));
        }
        assert_all_fail(rows_of, gunzip);
    }
    let application =
        Application::always(Reply::json(ENTRY).header("Content-Encoding", "identity"));
    assert_recording(&asking(&application, "", "").start().get(PATH), "identity is no encoding");
}

fn compress(text: &str) -> Vec<u8> {
    let mut gzip = std::process::Command::new("gzip")
        .args(["-n", "-c"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("gzip can be run");
    gzip.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("gzip reads");
    gzip.wait_with_output().expect("gzip ends").stdout
}

#[test]
fn informational_answers() {
    let final_answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{ENTRY}", ENTRY.len());
    let replies = vec![
        Reply::raw(format!("HTTP/1.1 100 Continue\r\n\r\n{final_answer}")),
        Reply::raw(format!("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n{final_answer}")),
        Reply::raw("HTTP/1.1 100 Continue\r\n\r\n"),
        Reply::raw(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
        ),
    ];
    let application = rows(replies);
    let nginx = with_files(asking(&application, "", "proxy_http_version 1.1;"), 4).start();
    for protocol in nginx.protocols() {
        for row in 0..4 {
            // What NGINX makes of 100 and 103 before an answer differs from version to version: it
            // takes the answer behind it, or there is none. The module never takes half of one.
            let response = get(&nginx, protocol, &format!("/download/row{row}"));
            match (row, response.status) {
                (0 | 1, 200) => assert_eq!(response.body.len(), SIZE),
                _ => assert_no_recording(&response, 502, &format!("{protocol:?} row {row}")),
            }
        }
    }
}

#[test]
fn refused_connections() {
    for target in ["http://127.0.0.1:{other}", "http://unix:{dir}/none.sock:", "http://unix:{dir}:"]
    {
        let nginx = site("", &format!("internal; proxy_pass {target};"))
            // A socket that is not there is critical to NGINX.
            .allow("connect() to unix:")
            .start();
        for protocol in nginx.protocols() {
            assert_no_recording(&get(&nginx, protocol, PATH), 502, target);
        }
        assert_bad_answer(&nginx, PATH, "status 502", target);
        for line in nginx.log_lines("access.log", nginx.protocols().len() + 1) {
            assert_eq!(line, format!("502|error||{ID}|||"));
        }
    }
}

/// A server that accepts nothing: its queue is full.
struct Full {
    _listener: TcpListener,
    _queued: Vec<TcpStream>,
    address: SocketAddr,
}

impl Full {
    fn new() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        // SAFETY: a plain system call on an open descriptor; it makes the queue shorter.
        assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 0) }, 0);
        let address = listener.local_addr().expect("it is bound");
        let mut queued = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
            queued.push(stream);
            assert!(queued.len() < 100, "the queue has no end");
        }
        Self { _listener: listener, _queued: queued, address }
    }
}

#[test]
fn timeouts() {
    let full = Full::new();
    let never = Gate::default();
    let silent = Application::always(Reply::json(ENTRY).behind(&never));
    let stalled = Application::always(Reply::json(ENTRY).pause_before_body(&never));
    let stalled_in_body = Application::always(
        Reply::raw(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{{\"files\"",
            ENTRY.len()
        ))
        .pause_before_body(&never),
    );
    let rows_of = [
        ("no connection", full.address, "status 504"),
        ("no answer", silent.address(), "status 504"),
        // On a busy machine even the head may come too late.
        ("no body", stalled.address(), "failed"),
        ("half a body", stalled_in_body.address(), "failed"),
    ];
    // All at once: each waits for a second, which is long enough for what does come.
    let name = thread::current().name().unwrap_or_default().to_owned();
    thread::scope(|scope| {
        for (what, address, reason) in rows_of {
            for buffering in ["on", "off"] {
                let site = site(
                    "",
                    &format!(
                        "internal; proxy_pass http://{address}; proxy_buffering {buffering};
                         proxy_connect_timeout 1s; proxy_read_timeout 1s;"
                    ),
                );
                let times_out = move || assert_times_out(site, reason, what);
                let thread = thread::Builder::new().name(name.clone());
                thread.spawn_scoped(scope, times_out).expect("a thread");
            }
        }
    });
}

fn assert_times_out(site: Site, reason: &str, what: &str) {
    let nginx = site.start();
    let before = open_at_rest(&nginx);
    assert_bad_answer(&nginx, PATH, reason, what);
    for protocol in nginx.protocols() {
        let mut connection = nginx.connect(protocol);
        for request in [Request::get(PATH), Request::head(PATH)] {
            let response = connection.send(&request);
            assert_no_recording(&response, 502, &format!("{what} {protocol:?}"));
        }
    }
    wait_closed(&nginx, before);
}

#[test]
fn a_slow_answer_is_waited_for() {
    let application = Application::always(Reply::json(ENTRY).delay(Duration::from_secs(1)));
    let nginx = asking(&application, "", "").start();
    for protocol in nginx.protocols() {
        assert_recording(&get(&nginx, protocol, PATH), &format!("{protocol:?}"));
    }
}

#[test]
fn too_large_answers_name_the_directive() {
    const LIMIT: &str = "\"subrequest_output_buffer_size\"";
    for (size, limit) in [("", 0), ("2k", 2048), ("64k", 65_536)] {
        let directive = match size {
            "" => String::new(),
            size => format!("subrequest_output_buffer_size {size};"),
        };
        // By default it is a page of memory.
        // SAFETY: sysconf() has no preconditions.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        let limit = if limit == 0 { usize::try_from(page).expect("a size") } else { limit };
        for more in ["", "proxy_buffering off;", "proxy_http_version 1.1;", "proxy_buffers 4 4k;"] {
            let answers = |len: usize| {
                let text = entry_of(len);
                [
                    Reply::json(&text),
                    Reply::json(&text).chunked(1000),
                    Reply::json(&text).without_length(),
                ]
            };
            let fitting = [limit, limit - 1, ENTRY.len()].into_iter().flat_map(answers);
            let too_large = [limit + 1, limit * 2, 3_000_000].into_iter().flat_map(answers);
            let replies: Vec<Reply> = fitting.chain(too_large).collect();
            let count = replies.len();
            let application = rows(replies);
            let nginx = asking(&application, "", &format!("{directive} {more}")).start();
            let before = open_at_rest(&nginx);
            let mut connections: Vec<_> =
                nginx.protocols().into_iter().map(|protocol| nginx.connect(protocol)).collect();
            for row in 0..count {
                let path = format!("/download/row{row}");
                let what = format!("limit {limit}, {more}, row {row}");
                for connection in &mut connections {
                    let response = connection.send(&Request::get(&path));
                    if row < count / 2 {
                        assert_eq!((response.status, response.body.len()), (200, SIZE), "{what}");
                    } else {
                        assert_no_recording(&response, 502, &what);
                    }
                }
                if row >= count / 2 {
                    assert_bad_answer(&nginx, &path, LIMIT, &what);
                }
            }
            let line = nginx.wait_error(&[LIMIT, "/_space"]);
            assert!(line.contains(&limit.to_string()), "{line}");
            drop(connections);
            wait_closed(&nginx, before);
        }
    }
}

#[test]
fn large_pages_of_refusals_and_errors_do_no_harm() {
    let page = "<p>no</p>".repeat(100_000);
    let large = |status| Reply::new(status, "text/html", &page);
    let application = rows(vec![
        large(403),
        large(404).chunked(1000),
        large(500),
        large(401).without_length(),
        large(403).cut(1000).reset(),
    ]);
    for buffering in ["on", "off"] {
        let nginx =
            with_files(asking(&application, "", &format!("proxy_buffering {buffering};")), 5)
                .start();
        let before = open_at_rest(&nginx);
        for protocol in nginx.protocols() {
            let mut connection = nginx.connect(protocol);
            for (row, status) in [403, 404, 502, 401, 403].into_iter().enumerate() {
                let response = connection.send(&Request::get(&format!("/download/row{row}")));
                assert_no_recording(&response, status, &format!("{protocol:?} row {row}"));
            }
        }
        wait_closed(&nginx, before);
    }
}

#[test]
fn each_protocol_goes_on_after_failures_between_successes() {
    let application = Application::start(|asked| match asked.argument("id") {
        Some(ID) => Reply::json(ENTRY),
        Some(OTHER) => Reply::raw(""),
        _ => Reply::json(&entry_of(10_000)),
    });
    let nginx = asking(&application, "", "").start();
    for protocol in nginx.protocols() {
        let mut connection = nginx.connect(protocol);
        for round in 0..10 {
            let what = format!("{protocol:?}, round {round}");
            assert_recording(&connection.send(&Request::get(PATH)), &what);
            for path in ["/download/1YqKDqWqdPLGV", "/download/large"] {
                assert_no_recording(&connection.send(&Request::get(path)), 502, &what);
            }
        }
    }
}

#[test]
fn pipelined_requests_survive_failures() {
    let application = rows(vec![
        Reply::raw("").reset(),
        Reply::json(&entry_of(9000)),
        Reply::json(ENTRY).cut(3).reset(),
    ]);
    let nginx = asking(&application, "", "").start();
    let mut connection = nginx.raw();
    let mut text = String::new();
    for row in [0, 1, 2, 0, 1, 2] {
        text.push_str(&format!("GET /download/row{row} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    }
    text.push_str("GET /download/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    connection.write(text);
    let responses = read_responses(&connection.read_to_end(), &[true; 7]);
    let statuses: Vec<u16> = responses.iter().map(|response| response.status).collect();
    assert_eq!(statuses, [502, 502, 502, 502, 502, 502, 404]);
}

#[test]
fn client_that_leaves_ends_the_lookup() {
    for what in ["before the head", "before the body"] {
        let gate = Gate::default();
        let held = gate.clone();
        let application = Application::start(move |asked| {
            let reply = Reply::json(ENTRY);
            match (asked.argument("id"), what) {
                (Some(OTHER), "before the head") => reply.behind(&held),
                (Some(OTHER), _) => reply.pause_before_body(&held),
                _ => reply,
            }
        });
        let nginx = asking(&application, "", "").start();
        let path = format!("/download/{OTHER}");
        let before = open_at_rest(&nginx);
        let protocols = nginx.protocols();
        for (number, &protocol) in protocols.iter().enumerate() {
            application.take_asked();
            let pending = nginx.connect(protocol).start(Request::get(&path));
            application.wait_asked(1);
            pending.leave();
            application.wait_left(number + 1);
        }
        let lines = nginx.log_lines("access.log", protocols.len() * 2);
        for line in &lines[protocols.len()..] {
            // NGINX has no status for it once the application has sent a header.
            assert!(line.starts_with("499|||") || line.starts_with("000|||"), "{what}: {line}");
        }
        wait_closed(&nginx, before);
        assert_eq!(own_errors(&nginx), Vec::<String>::new(), "{what}: nobody is to blame");
        for protocol in protocols {
            assert_recording(&get(&nginx, protocol, PATH), "afterwards");
        }
        gate.open();
    }
}

#[test]
fn stream_that_is_cancelled_ends_its_lookup_alone() {
    let gate = Gate::default();
    let held = gate.clone();
    let application = Application::start(move |asked| match asked.argument("id") {
        Some(OTHER) => Reply::json(ENTRY).behind(&held),
        _ => Reply::json(ENTRY),
    });
    let nginx = asking(&application, "", "").start();
    let protocols = nginx.protocols().into_iter().filter(|&p| p != Protocol::Http1);
    for (number, protocol) in protocols.enumerate() {
        let mut connection = nginx.connect(protocol);
        application.take_asked();
        let pending = connection.share().start(Request::get(&format!("/download/{OTHER}")));
        application.wait_asked(1);
        pending.leave();
        application.wait_left(number + 1);
        for round in 0..3 {
            let response = connection.send(&Request::get(PATH));
            assert_recording(&response, &format!("{protocol:?}, round {round}"));
        }
    }
    gate.open();
}

#[test]
fn client_that_leaves_may_be_ignored() {
    let gate = Gate::default();
    let application = Application::always(Reply::json(ENTRY).behind(&gate));
    let nginx = asking(&application, "", "proxy_ignore_client_abort on;").start();
    let before = open_at_rest(&nginx);
    let protocols = nginx.protocols();
    for &protocol in &protocols {
        application.take_asked();
        let pending = nginx.connect(protocol).start(Request::get(PATH));
        application.wait_asked(1);
        pending.leave();
    }
    gate.open();
    // Each ends, whether NGINX has noticed that the client is gone or not.
    nginx.log_lines("access.log", protocols.len());
    wait_closed(&nginx, before);
}

#[test]
fn reload_waits_for_lookups() {
    for protocol in Site::simple().start().protocols() {
        let gate = Gate::default();
        let application = Application::always(Reply::json(ENTRY).behind(&gate));
        let nginx = asking(&application, "", "").start();
        let mut connection = nginx.connect(protocol);
        let client = thread::spawn(move || connection.send(&Request::get(PATH)));
        application.wait_asked(1);
        let old = nginx.start_reload();
        let workers = nginx.workers();
        assert!(workers.iter().any(|pid| old.contains(pid)), "the old worker waits");
        assert!(!client.is_finished(), "{protocol:?}: there is no answer yet");
        gate.open();
        assert_recording(&client.join().expect("an answer"), &format!("{protocol:?}"));
        for pid in old {
            nginx.wait_gone(pid);
        }
    }
}

#[test]
fn fast_shutdown_does_not_wait() {
    let gate = Gate::default();
    let application = Application::always(Reply::json(ENTRY).behind(&gate));
    let nginx = asking(&application, "", "").start();
    let clients: Vec<Pending> = nginx
        .protocols()
        .into_iter()
        .map(|protocol| nginx.connect(protocol).start(Request::get(PATH)))
        .collect();
    application.wait_asked(clients.len());
    nginx.terminate();
    application.wait_left(clients.len());
    for client in clients {
        client.leave();
    }
    gate.open();
}

#[test]
fn client_may_send_slowly_or_stop_sending() {
    let gate = Gate::default();
    let held = gate.clone();
    let application = Application::start(move |_| Reply::json(ENTRY).behind(&held));
    let nginx = asking(&application, "", "").start();
    let mut connection = nginx.raw();
    connection.write(format!("GET {PATH} HTTP/1.1\r\nHost: local"));
    assert_eq!(application.asked(), [], "the request is not complete");
    // A body of which only a part comes while the lookup is under way.
    connection.write("host\r\nConnection: close\r\nContent-Length: 10\r\n\r\n01234");
    application.wait_asked(1);
    connection.write("56789");
    gate.open();
    let stream = connection.read_to_end();
    assert!(stream.starts_with(b"HTTP/1.1 200 OK\r\n"));
    assert!(stream.len() > SIZE);
    assert_eq!(application.take_only().body, b"");
}

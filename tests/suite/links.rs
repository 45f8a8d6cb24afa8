//! Signed links and sessions.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;
use xspace_tests::{
    Application, LinkKey, Nginx, Preload, Protocol, Reply, Request, Response, Site, build,
    project_dir,
};

use crate::common::{
    FILE, ID, MISSING, MISSING_PATH, OTHER, PATH, SIZE, assert_no_recording, assert_recording,
    recording,
};
use crate::neighbours::lua;

const LOG: &str = "log_format link '$status|$xspace_link_status|$xspace_link_subject';
                   access_log {dir}/access.log link;";

/// What a link with no restriction has.
pub const ANY: [&str; 3] = ["-", "-", "-"];

/// The net of 127.0.0.1.
const LOOPBACK: &str = "7f0000";

/// The time in seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

/// A key that the sites here have.
fn key() -> LinkKey {
    LinkKey::new("k1")
}

/// A good token for a space.
fn token(space: &str) -> String {
    key().token(space, now() + 3600, ANY)
}

pub fn with_token(path: &str, token: &str) -> String {
    format!("{path}?token={token}")
}

fn with_keys(site: Site, keys: &str) -> Site {
    let site = site
        .http(LOG)
        .file("keys", keys)
        .file(FILE, recording())
        .file(&format!("downloads/{OTHER}.m4a"), "other");
    // Only the master process reads it.
    site.chmod("keys", 0o600);
    site
}

/// The recording of [`ID`] and one of [`OTHER`], behind links.
pub fn site(download: &str, target: &str) -> Site {
    let link = "xspace_link $arg_token; xspace_link_keys keys;";
    with_keys(Site::with_directives(&format!("{link} {download}"), target), &key().line())
}

/// The same with the link in the server, and so in the target.
fn site_with_link_in_server(server: &str) -> Site {
    let link = "xspace_link $arg_token; xspace_link_keys keys;";
    with_keys(Site::simple().server(&format!("{link} {server}")), &key().line())
}

/// The pair that a browser sends back, and the attributes.
#[track_caller]
pub fn cookie(response: &Response) -> (String, String) {
    let field = response.header("set-cookie").unwrap_or_else(|| panic!("no cookie: {response:?}"));
    let (pair, attributes) = field.split_once("; ").expect("attributes");
    (pair.to_owned(), attributes.to_owned())
}

fn get(path: &str, cookie: &str) -> Request {
    Request::get(path).header("Cookie", cookie)
}

#[track_caller]
fn assert_log(nginx: &Nginx, expected: &[&str]) {
    assert_eq!(nginx.log_lines("access.log", expected.len()), expected);
}

#[test]
fn each_status() {
    let (k, soon) = (key(), now() + 3600);
    let cases = [
        ("ok", token(ID), "-"),
        ("ok", k.token(ID, soon, ["mp3", "user_7", LOOPBACK]), "user_7"),
        ("missing", String::new(), "-"),
        ("bad", "x".into(), "-"),
        ("bad", token(OTHER), "-"),
        ("bad", k.token(ID, soon, ["mp3", "user_7", LOOPBACK]).replace("user_7", "user_8"), "-"),
        ("key", LinkKey::new("k2").token(ID, soon, ANY), "-"),
        ("bad", LinkKey::new("k2").with_id("k1").token(ID, soon, ANY), "-"),
        ("expired", k.token(ID, now() - 1, ["mp3", "user_7", "-"]), "-"),
        ("address", k.token(ID, soon, ["-", "user_7", "c00002"]), "-"),
        ("format", k.token(ID, soon, ["m4a", "user_7", "-"]), "-"),
    ];
    let nginx = site("", "").start();
    let mut expected = Vec::new();
    for protocol in nginx.protocols() {
        let mut refused: Option<Response> = None;
        for (status, token, subject) in &cases {
            let what = format!("{protocol:?} {status} {token}");
            let path = with_token(&format!("{PATH}.mp3"), token);
            let response = nginx.send(protocol, &Request::get(&path));
            let code = if *status == "ok" { 200 } else { 403 };
            expected.push(format!("{code}|{status}|{subject}"));
            if *status == "ok" {
                assert_recording(&response, &what);
                assert_eq!(response.header("set-cookie"), None, "{what}");
                continue;
            }
            assert_no_recording(&response, 403, &what);
            // The reason can't be told from the response.
            let first = refused.get_or_insert_with(|| response.clone());
            assert_eq!(response.lasting_headers(), first.lasting_headers(), "{what}");
            assert_eq!(response.body, first.body, "{what}");
        }
        // Nor can whether there is such a space, or whether the id is one.
        for path in [MISSING_PATH, "/download/a.b.c", "/download/"] {
            let response = nginx.send(protocol, &Request::get(&with_token(path, "x")));
            let first = refused.as_ref().expect("a refusal");
            assert_eq!(response.lasting_headers(), first.lasting_headers(), "{path}");
            assert_eq!(response.body, first.body, "{path}");
            expected.push("403|bad|-".into());
        }
        let missing =
            nginx.send(protocol, &Request::get(&with_token(MISSING_PATH, &token(MISSING))));
        assert_no_recording(&missing, 404, "a good link to no space");
        expected.push("404|ok|-".into());
    }
    let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
    assert_log(&nginx, &expected);
    nginx.wait_error(&["[info]", "link to space \"1lDxLnrWjwkGm\" refused: expired"]);
    nginx.wait_error(&["[info]", "link refused: bad, invalid space id"]);
    assert!(!nginx.error_log().contains("user_8\""));
}

/// The vectors that the model and the signers of the documentation are tested with.
#[test]
fn vectors() {
    if !build().require("http_realip") {
        return;
    }
    let text = fs::read_to_string(project_dir().join("model/vectors/links.json"));
    let vectors: Value = serde_json::from_str(&text.expect("the vectors")).expect("JSON");
    let list = |value: &Value, key: &str| value[key].as_array().expect("a list").clone();
    let text = |value: &Value, key: &str| value[key].as_str().expect("text").to_owned();
    let keys: Vec<String> =
        list(&vectors, "keys").iter().map(|key| key.as_str().expect("a key").to_owned()).collect();
    let link = "xspace_link $arg_token; xspace_link_keys keys; xspace_link_session 10m;
                xspace_formats mp3 m4a ffffffffffffffff=audio/x-f;";
    let site = Site::with_directives(link, "").server(&format!(
        "set_real_ip_from 127.0.0.0/8; real_ip_header X-Client;
         location ^~ /bound/ {{ xspace_download /downloads/; {link} xspace_link_address on; }}"
    ));
    let (preload, site) = Preload::new(with_keys(site, &keys.join("\n")));
    let nginx = site.start();
    let mut count = 0;
    for request in list(&vectors, "requests") {
        let (name, token) = (text(&request, "name"), text(&request, "token"));
        // What can't be in a URI, and clients that can't be here.
        // nginx writes no access log in the first second of 1970.
        if token.contains(['\n', ' ']) || request["client"].is_null() || request["now"] == 0 {
            continue;
        }
        let prefix = if request["needs_net"] == true { "/bound/" } else { "/download/" };
        let id = request["space"].as_str().unwrap_or("a.b.c");
        let format = request["format"].as_str().unwrap_or("no_such");
        let path = format!("{prefix}{id}?format={format}&token={token}");
        let mut sent = Request::get(&path).header("X-Client", &text(&request, "client"));
        for cookie in list(&request, "cookies") {
            sent = sent.header("Cookie", cookie.as_str().expect("text"));
        }
        let offset =
            request["now"].as_i64().expect("a time") - i64::try_from(now()).expect("a time");
        preload.set_clock_offset(offset);
        let response = nginx.send(Protocol::Http1, &sent);
        count += 1;
        let line = nginx.log_lines("access.log", count).pop().expect("a line");
        let (status, rest) = line.split_once('|').expect("fields");
        let expected = text(&request, "status");
        assert_eq!(
            rest.replace('-', ""),
            format!("{expected}|{}", text(&request, "subject")).replace('-', ""),
            "{name}"
        );
        let is_good = expected == "ok" || expected == "session";
        assert_eq!(status == "403", !is_good, "{name}: {line}");
        assert_eq!(response.status == 403, !is_good, "{name}: {response:?}");
    }
    assert!(count >= 70, "only {count}");
}

#[test]
fn requests_that_are_let_in() {
    let nginx = site("xspace_link_session 10m;", "").start();
    let path = with_token(PATH, &token(ID));
    for protocol in nginx.protocols() {
        let what = format!("{protocol:?}");
        let ask = |request: &Request| nginx.send(protocol, request);
        assert_recording(&ask(&Request::get(&path)), &what);
        let head = ask(&Request::head(&path));
        assert_eq!((head.status, head.body.len()), (200, 0), "{what}");
        assert_eq!(head.header("content-length"), Some(SIZE.to_string().as_str()), "{what}");
        let part = ask(&Request::get(&path).range("bytes=9-18"));
        assert_eq!((part.status, &part.body[..]), (206, &recording()[9..19]), "{what}");
        let several = ask(&Request::get(&path).range("bytes=0-1,5-6"));
        assert_eq!(several.status, 206, "{what}");
        for response in [&head, &part, &several] {
            cookie(response);
            assert!(response.header("cache-control").expect("private").contains("private"));
        }
        let outside = ask(&Request::get(&path).range("bytes=400000-"));
        assert_no_recording(&outside, 416, &what);
        let date = part.header("last-modified").expect("a date");
        let unchanged = ask(&Request::get(&path).header("If-Modified-Since", date));
        assert_eq!(unchanged.status, 304, "{what}");
        let missing = ask(&Request::get(&with_token(MISSING_PATH, &token(MISSING))));
        assert_no_recording(&missing, 404, &what);
        let post = ask(&Request::new("POST", &path));
        assert_no_recording(&post, 405, &what);
        for response in [&outside, &unchanged, &missing, &post] {
            assert_eq!(response.header("set-cookie"), None, "{what} {response:?}");
        }
        assert_no_recording(&ask(&Request::new("POST", PATH)), 403, &what);
    }
}

#[test]
fn options_needs_no_link() {
    let nginx = site("satisfy any; deny all;", "").start();
    for protocol in nginx.protocols() {
        for path in [PATH, MISSING_PATH, "/download/a.b.c"] {
            let response = nginx.send(protocol, &Request::new("OPTIONS", path));
            assert_no_recording(&response, 204, path);
            assert_eq!(response.header("allow"), Some("GET, HEAD, OPTIONS"), "{path}");
        }
        assert_no_recording(&nginx.send(protocol, &Request::get(PATH)), 403, "no link");
    }
}

#[test]
fn satisfy_any_saves_the_request_for_authorization() {
    let application = Application::start(|asked| {
        Reply::status(if asked.header("x-user") == Some("alice") { 204 } else { 401 })
    });
    let nginx = site("satisfy any; auth_request /auth;", "")
        .server(&format!(
            "location = /auth {{
                 internal; proxy_pass http://{}; proxy_pass_request_body off;
                 proxy_set_header Content-Length ''; proxy_set_header Range '';
                 proxy_set_header X-User $http_x_user;
             }}",
            application.address()
        ))
        .start();
    let path = with_token(PATH, &token(ID));
    for protocol in nginx.protocols() {
        let what = format!("{protocol:?}");
        assert_recording(&nginx.send(protocol, &Request::get(&path)), &what);
        assert!(application.take_asked().is_empty(), "{what}");
        // The 401 of the other module outranks the 403 of the link.
        assert_no_recording(&nginx.send(protocol, &Request::get(PATH)), 401, &what);
        let alice = Request::get(PATH).header("X-User", "alice");
        let response = nginx.send(protocol, &alice);
        assert_recording(&response, &what);
        // Not the link's doing, but the response is one user's.
        assert!(response.header("cache-control").expect("private").contains("private"));
        assert_eq!(application.take_asked().len(), 2, "{what}");
    }
}

#[test]
fn satisfy_all_asks_both() {
    let nginx = site("deny all;", "").start();
    assert_no_recording(&nginx.get(&with_token(PATH, &token(ID))), 403, "denied");
    let nginx = site("allow 127.0.0.0/8; deny all;", "").start();
    assert_recording(&nginx.get(&with_token(PATH, &token(ID))), "allowed");
    assert_no_recording(&nginx.get(PATH), 403, "no link");
}

#[test]
fn the_target_has_the_same_decision() {
    let nginx = site_with_link_in_server("satisfy any; deny all; xspace_link_session 10m;").start();
    for protocol in nginx.protocols() {
        let path = with_token(PATH, &token(ID));
        let response = nginx.send(protocol, &Request::get(&path));
        assert_recording(&response, &format!("{protocol:?}"));
        let session = get(PATH, &cookie(&response).0);
        assert_recording(&nginx.send(protocol, &session), &format!("{protocol:?}, session"));
        assert_no_recording(&nginx.send(protocol, &Request::get(PATH)), 403, "no link");
        // A target without a link of its own refuses as before.
        for path in ["/downloads/1lDxLnrWjwkGm.mp3", "/"] {
            let response = nginx.send(protocol, &Request::get(&with_token(path, &token(ID))));
            assert!([403, 404].contains(&response.status), "{path}: {response:?}");
        }
    }
    // With the link in the location alone, the target is asked without one.
    let nginx = site("satisfy any; deny all;", "deny all;").start();
    assert_no_recording(&nginx.get(&with_token(PATH, &token(ID))), 403, "target");
}

/// The decision does not open other locations that the request is led to.
#[test]
fn another_location_is_not_let_in() {
    let nginx = site_with_link_in_server(
        "satisfy any; deny all;
         location = /secret { return 200 secret; }
         location = /private.txt { alias {dir}/html/private.txt; }
         error_page 416 /private.txt;
         error_page 404 /private.txt;",
    )
    .file("html/private.txt", "secret")
    .start();
    let path = with_token(PATH, &token(ID));
    assert_recording(&nginx.get(&path), "let in");
    let response = nginx.get_with(&path, "Range", "bytes=400000-");
    assert_ne!(response.text(), "secret", "{response:?}");
    let response = nginx.get(&with_token(MISSING_PATH, &token(MISSING)));
    assert_ne!(response.text(), "secret", "{response:?}");
    let response = nginx.get(&with_token("/private.txt", &token(ID)));
    assert_eq!(response.status, 403);
}

#[test]
fn another_space_is_decided_anew() {
    let nginx = site(&format!("error_page 404 /download/{OTHER}; recursive_error_pages on;"), "")
        .server(&format!(
            "location = /moved {{ return 404; error_page 404 {PATH}?token=$arg_token; }}
             location = /named {{ return 404; error_page 404 = @space; }}
             location @space {{
                 xspace_download /downloads/; xspace_id $arg_id;
                 xspace_link $arg_token; xspace_link_keys keys;
             }}
             rewrite ^/rewritten$ {PATH} last;"
        ))
        .start();
    // The token is for the space that is missing, and the page of the error is another space's.
    let response = nginx.get(&with_token(MISSING_PATH, &token(MISSING)));
    assert_ne!(response.body, b"other", "{response:?}");
    assert!([403, 404].contains(&response.status), "{response:?}");
    for path in ["/moved", "/rewritten"] {
        let response = nginx.get(&with_token(path, &token(ID)));
        assert_eq!(response.body.len(), SIZE, "{path}: {}", response.status);
        for token in [&token(OTHER), ""] {
            let response = nginx.get(&with_token(path, token));
            assert!(response.body.len() < SIZE, "{path} {token}: {response:?}");
        }
    }
    let named = |token: &str| nginx.get(&format!("/named?id={ID}&token={token}"));
    assert_recording(&named(&token(ID)), "named");
    assert_no_recording(&named(&token(OTHER)), 403, "named");
}

#[test]
fn an_error_page_gives_a_new_link() {
    let nginx = site("error_page 403 = @renew;", "")
        .server("location @renew { return 302 /login?space=$xspace_id&why=$xspace_link_status; }")
        .start();
    for (token, why) in [(String::new(), "missing"), (key().token(ID, 1, ANY), "expired")] {
        let response = nginx.get(&with_token(PATH, &token));
        assert_no_recording(&response, 302, why);
        let location = response.header("location").expect("a place");
        assert!(location.ends_with(&format!("/login?space={ID}&why={why}")), "{location}");
    }
    assert_recording(&nginx.get(&with_token(PATH, &token(ID))), "good");
}

/// nginx skips the access phase for subrequests.
#[test]
fn subrequests_are_refused() {
    if !build().require("http_ssi") {
        return;
    }
    let nginx = site("", "").server("location /page/ { ssi on; alias {dir}/html/; }").start();
    let good = with_token(PATH, &token(ID));
    for (name, path) in [("good", good.as_str()), ("none", PATH)] {
        let page = format!("<<!--# include virtual=\"{path}\" -->>");
        nginx.site().write(&format!("html/{name}.html"), page);
        for protocol in nginx.protocols() {
            // A token for the page itself does not help either.
            for query in ["", "?token=x"] {
                let path = format!("/page/{name}.html{query}");
                let response = nginx.send(protocol, &Request::get(&path));
                assert_eq!(response.status, 200, "{name}");
                assert!(response.body.len() < 1000, "{protocol:?} {name}: {}", response.body.len());
                assert!(response.text().contains("403 Forbidden"), "{}", response.text());
            }
        }
    }
    nginx.wait_error(&["[error]", "subrequest to a location with \"xspace_link\" refused"]);
    // In a location without a link the recording is included: it is the link that refuses.
    let nginx = Site::simple()
        .file(FILE, recording())
        .server("location /page/ { ssi on; alias {dir}/html/; }")
        .file("html/open.html", format!("<<!--# include virtual=\"{PATH}\" -->>"))
        .start();
    assert_eq!(nginx.get("/page/open.html").body.len(), SIZE + 2);
}

/// What was verified is what is served.
#[test]
fn a_uri_that_lua_changes_is_refused() {
    let change = "access_by_lua_block {
        if ngx.var.arg_to then ngx.req.set_uri(ngx.var.arg_to) end
        if ngx.req.get_method() == 'OPTIONS' then ngx.req.set_method(ngx.HTTP_GET) end
    }";
    let Some(site) = lua(site(change, "")) else { return };
    let nginx = site
        .server(&format!(
            "location /capture {{
                 content_by_lua_block {{
                     local r = ngx.location.capture('{PATH}?token=' .. ngx.var.arg_token)
                     ngx.say(r.status, ' ', #r.body)
                 }}
             }}"
        ))
        .start();
    let path = with_token(PATH, &token(ID));
    assert_recording(&nginx.get(&path), "unchanged");
    let response = nginx.get(&format!("{path}&to=/download/{OTHER}"));
    assert_no_recording(&response, 403, "changed");
    nginx.wait_error(&[
        "[error]",
        &format!("request for space \"{OTHER}\" refused: its URI was changed after its link was"),
    ]);
    // Another format of the same space.
    let path = with_token(&format!("{PATH}.mp3"), &key().token(ID, now() + 60, ["mp3", "-", "-"]));
    assert_recording(&nginx.get(&path), "unchanged");
    let response = nginx.get(&format!("{path}&to={PATH}.m4a"));
    assert_no_recording(&response, 403, "changed");
    // OPTIONS needs no link.
    let response = nginx.send(Protocol::Http1, &Request::new("OPTIONS", PATH));
    assert_no_recording(&response, 403, "another method");
    nginx.wait_error(&["[error]", "refused: its method was changed after its link was verified"]);
    let captured = nginx.get(&with_token("/capture", &token(ID)));
    assert!(captured.text().starts_with("403 "), "{captured:?}");
}

#[test]
fn blocks_and_other_kinds_of_locations() {
    let link = "xspace_link $arg_token; xspace_link_keys keys;";
    let nginx = with_keys(
        Site::new().server(&format!(
            "location ^~ /downloads/ {{ internal; alias {{dir}}/downloads/; }}
             location ^~ /if/ {{ {link} xspace_download /downloads/; if ($arg_x) {{ set $y 1; }} }}
             location ^~ /limit/ {{
                 {link} xspace_download /downloads/; limit_except HEAD {{ allow all; }}
             }}
             location ~ ^/regex/(?<id>[^/]+)$ {{ {link} xspace_download /downloads/; xspace_id $id; }}
             location = /exact {{ {link} xspace_download /downloads/; xspace_id $arg_id; }}
             location /outer/ {{
                 xspace_link_keys keys;
                 location ^~ /outer/inner/ {{ xspace_link $http_x_token; xspace_download /downloads/; }}
             }}
             location ^~ /open/ {{ xspace_download /downloads/; }}"
        )),
        &key().line(),
    )
    .start();
    for path in ["/if/ID?x=1&", "/if/ID?", "/limit/ID?", "/regex/ID?", "/exact?id=ID&"] {
        let path = path.replace("ID", ID);
        assert_recording(&nginx.get(&format!("{path}token={}", token(ID))), &path);
        assert_no_recording(&nginx.get(&format!("{path}token={}", token(OTHER))), 403, &path);
        assert_no_recording(&nginx.get(&path), 403, &path);
    }
    let path = format!("/outer/inner/{ID}");
    assert_recording(&nginx.get_with(&path, "X-Token", &token(ID)), &path);
    assert_no_recording(&nginx.get(&with_token(&path, &token(ID))), 403, &path);
    assert_recording(&nginx.get(&format!("/open/{ID}")), "no link");
}

/* Sessions */

#[test]
fn a_pause_longer_than_the_link() {
    let (preload, site) = Preload::new(site("xspace_link_session 10m max=2h;", ""));
    let nginx = site.start();
    for protocol in nginx.protocols() {
        preload.set_clock_offset(0);
        let path = with_token(PATH, &key().token(ID, now() + 60, ["-", "user_7", "-"]));
        let first = nginx.send(protocol, &Request::get(&path).range("bytes=0-99"));
        assert_eq!(first.status, 206, "{protocol:?}");
        let (mut pair, attributes) = cookie(&first);
        let secure = if protocol == Protocol::Http1 { "" } else { " Secure;" };
        let expected = format!("Path={PATH}; Max-Age=600; HttpOnly;{secure} SameSite=Lax");
        assert_eq!(attributes, expected, "{protocol:?}");
        // Seeks every four minutes, as long as the session can be prolonged.
        for minute in (4..=116).step_by(4) {
            preload.set_clock_offset(minute * 60);
            let seek = get(&path, &pair).range("bytes=1000-1009");
            let response = nginx.send(protocol, &seek);
            assert_eq!(response.status, 206, "{protocol:?} minute {minute}: {response:?}");
            assert_eq!(response.body, &recording()[1000..1010]);
            if response.header("set-cookie").is_some() {
                pair = cookie(&response).0;
            }
            let alone = nginx.send(protocol, &Request::get(&path).range("bytes=0-9"));
            assert_eq!(alone.status, 403, "{protocol:?} minute {minute}, without a cookie");
        }
        // Not beyond its end.
        preload.set_clock_offset(2 * 3600 + 5);
        assert_no_recording(&nginx.send(protocol, &get(&path, &pair)), 403, "after its end");
        // After ten minutes without a request the session is over.
        preload.set_clock_offset(0);
        let path = with_token(PATH, &key().token(ID, now() + 60, ANY));
        let (pair, _) = cookie(&nginx.send(protocol, &Request::get(&path)));
        preload.set_clock_offset(603);
        assert_no_recording(&nginx.send(protocol, &get(&path, &pair)), 403, "too late");
    }
    let lines = nginx.log_lines("access.log", 10);
    assert!(lines.iter().any(|line| line == "206|session|user_7"), "{lines:?}");
}

#[test]
fn a_cookie_is_set_when_it_is_needed() {
    let (preload, site) = Preload::new(site("xspace_link_session 10m;", ""));
    let nginx = site.start();
    let path = with_token(PATH, &token(ID));
    let (pair, _) = cookie(&nginx.get(&path));
    let is_set =
        |request: &Request| nginx.send(Protocol::Http1, request).header("set-cookie").is_some();
    assert!(!is_set(&get(&path, &pair)), "it has one");
    assert!(!is_set(&get(PATH, &pair)), "it has one, and no token");
    assert!(is_set(&get(&path, "a=b")), "it has none");
    assert!(is_set(&get(&path, &format!("{pair}x"))), "it has a bad one");
    let other = with_token(PATH, &key().token(ID, now() + 3600, ["-", "alice", "-"]));
    assert!(is_set(&get(&other, &pair)), "another subject");
    let mp3 = with_token(&format!("{PATH}.mp3"), &key().token(ID, now() + 3600, ["mp3", "-", "-"]));
    assert!(is_set(&get(&mp3, &pair)), "another format");
    let response = nginx.get(&mp3);
    let (named, attributes) = cookie(&response);
    assert!(named.starts_with(&format!("xspace.{ID}.mp3=")), "{named}");
    assert!(attributes.starts_with(&format!("Path={PATH}.mp3; ")), "{attributes}");
    preload.set_clock_offset(240);
    assert!(!is_set(&get(&path, &pair)), "before its half");
    preload.set_clock_offset(305);
    assert!(is_set(&get(&path, &pair)), "past its half");
    assert!(is_set(&get(PATH, &pair)), "past its half, without a token");
}

#[test]
fn attributes_of_the_cookie() {
    for (parameters, expected) in [
        ("", "HttpOnly; SameSite=Lax"),
        ("samesite=lax secure=auto", "HttpOnly; SameSite=Lax"),
        ("secure=on", "HttpOnly; Secure; SameSite=Lax"),
        ("samesite=none", "HttpOnly; Secure; SameSite=None"),
        ("samesite=none partitioned", "HttpOnly; Secure; SameSite=None; Partitioned"),
        ("partitioned", "HttpOnly; Secure; SameSite=Lax; Partitioned"),
    ] {
        let nginx = site(&format!("xspace_link_session 90s max=2m {parameters};"), "").start();
        let (_, attributes) = cookie(&nginx.get(&with_token(PATH, &token(ID))));
        assert_eq!(attributes, format!("Path={PATH}; Max-Age=90; {expected}"), "{parameters}");
    }
}

/// The path is the client's, and nothing of it gets out of the attribute.
#[test]
fn paths_of_the_cookie() {
    let nginx = site("xspace_link_session 10m;", "")
        .server(&format!("location /alias/ {{ rewrite ^ {PATH} last; }}"))
        .start();
    let raw = |path: &str| {
        let query = format!("?token={}", token(ID));
        nginx.raw().ask(format!("GET {path}{query} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
    };
    for path in [PATH, "/alias/x", "/download/%31lDxLnrWjwkGm", "/alias/%C3%BC~_.-"] {
        let response = raw(path);
        assert_eq!(response.body.len(), SIZE, "{path}: {}", response.status);
        let (_, attributes) = cookie(&response);
        assert!(attributes.starts_with(&format!("Path={path}; ")), "{path}: {attributes}");
    }
    for path in [
        "/x;Domain=example.com;/..%2fdownload/1lDxLnrWjwkGm",
        "/alias/;Domain=example.com",
        "/alias/a,b",
        "/alias//x",
        "/alias/",
        "/x/../download/1lDxLnrWjwkGm",
        "/x/%2e%2E/download/1lDxLnrWjwkGm",
        "/download%2f1lDxLnrWjwkGm",
        "/alias/%0d%0aSet-Cookie:x",
        "http://localhost/./alias/x",
        &format!("/alias/{}", "a".repeat(510)),
    ] {
        let response = raw(path);
        assert_eq!(response.body.len(), SIZE, "{path}: {}", response.status);
        assert_eq!(response.header("set-cookie"), None, "{path}");
    }
}

/* Attacks */

/// Sends requests over one connection; each has to be refused.
#[track_caller]
fn refused_each(nginx: &Nginx, requests: impl IntoIterator<Item = Request>) {
    let mut connection = nginx.connect(Protocol::Http1);
    for request in requests {
        let response = connection.send(&request);
        assert_eq!(response.status, 403, "{request:?}: {response:?}");
    }
}

/// Every text with one character replaced by one with another lowest bit, and by one of another kind.
fn changes(text: &str) -> Vec<String> {
    let change = |at: usize, byte: u8| {
        let mut changed = text.as_bytes().to_vec();
        changed[at] = byte;
        String::from_utf8(changed).ok()
    };
    let bytes = text.as_bytes().iter().enumerate();
    let all = bytes.flat_map(|(at, &byte)| {
        [byte ^ 1, byte ^ 0x20, if byte == b'A' { b'B' } else { b'A' }].map(|new| (at, new))
    });
    let is_sendable = |byte: u8| byte.is_ascii_alphanumeric() || b"-._/".contains(&byte);
    all.filter(|&(_, byte)| is_sendable(byte)).filter_map(|(at, byte)| change(at, byte)).collect()
}

#[test]
fn every_character_counts() {
    let nginx = site("xspace_link_session 10m;", "").start();
    let (token, soon) = (key().token(ID, now() + 3600, ["-", "user_7", LOOPBACK]), now() + 600);
    assert_recording(&nginx.get(&with_token(PATH, &token)), "unchanged");
    let changed = changes(&token);
    assert!(changed.len() > 150, "{}", changed.len());
    refused_each(&nginx, changed.iter().map(|token| Request::get(&with_token(PATH, token))));
    let pair = key().session(ID, soon, soon, ["-", "user_7", LOOPBACK]);
    assert_recording(&nginx.send(Protocol::Http1, &get(PATH, &pair)), "unchanged");
    let changed = changes(&pair);
    assert!(changed.len() > 200, "{}", changed.len());
    refused_each(&nginx, changed.iter().map(|pair| get(PATH, pair)));
}

#[test]
fn a_token_is_no_cookie_and_a_cookie_no_token() {
    let nginx = site("xspace_link_session 10m;", "").start();
    let soon = now() + 600;
    let (token, pair) = (token(ID), key().session(ID, soon, soon, ANY));
    let (name, value) = pair.split_once('=').expect("a value");
    refused_each(
        &nginx,
        [
            get(PATH, &format!("{name}={token}")),
            Request::get(&with_token(PATH, value)),
            // With the fields of the one and the MAC of the other.
            get(PATH, &format!("{name}={}", with_mac_of(value, &token))),
            Request::get(&with_token(PATH, &with_mac_of(&token, value))),
            // Of another space, under the name of this one.
            get(PATH, &key().session(OTHER, soon, soon, ANY).replace(OTHER, ID)),
            get(PATH, &pair.replace("xspace.", "XSPACE.")),
        ],
    );
    // Without sessions no cookie counts.
    let nginx = site("", "").start();
    assert_no_recording(&nginx.send(Protocol::Http1, &get(PATH, &pair)), 403, "no sessions");
}

/// The fields of one with the MAC of another.
fn with_mac_of(fields: &str, mac: &str) -> String {
    let (fields, _) = fields.rsplit_once('.').expect("fields");
    format!("{fields}.{}", mac.rsplit('.').next().expect("a MAC"))
}

#[test]
fn arguments_that_deceive() {
    let nginx = site("", "").main("").http("large_client_header_buffers 4 2m;").start();
    let good = token(ID);
    // The first of several counts.
    assert_recording(&nginx.get(&format!("{PATH}?token={good}&token=x")), "first");
    assert_recording(&nginx.get(&format!("{PATH}?TOKEN={good}")), "nginx ignores case");
    let encoded = good.bytes().map(|byte| format!("%{byte:02X}")).collect::<Vec<_>>().concat();
    let mut requests = vec![
        format!("{PATH}?token=x&token={good}"),
        format!("{PATH}?token=&token={good}"),
        format!("{PATH}?token={encoded}"),
        format!("{PATH}?token={}", good.replace('.', "%2E")),
        format!("{PATH}?token={}", good.replacen('1', "%31", 1)),
        format!("{PATH}?token={good}%00"),
        format!("{PATH}?token={good}%20"),
        format!("{PATH}?token=+{good}"),
        format!("{PATH}?token={good}."),
        format!("{PATH}?token={good}="),
        format!("{PATH}?token=%22{good}%22"),
        format!("{PATH}?token[]={good}"),
        format!("{PATH}?xtoken={good}"),
        format!("{PATH}?{good}"),
    ];
    // The space is another one.
    requests.push(with_token(&format!("/download/{OTHER}"), &good));
    requests.push(with_token(&format!("/download/{}", ID.to_lowercase()), &good));
    refused_each(&nginx, requests.iter().map(|path| Request::get(path)));
    // A megabyte.
    for token in
        ["1.".repeat(500_000), "a".repeat(1_000_000), format!("{good}{}", "a".repeat(1_000_000))]
    {
        let path = with_token(PATH, &token);
        let response = nginx.raw().ask(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        assert_eq!(response.status, 403, "{}", &path[..100]);
    }
    let nginx =
        site("xspace_link_session 1m;", "").http("large_client_header_buffers 4 2m;").start();
    let soon = now() + 60;
    let pair = key().session(ID, soon, soon, ANY);
    let name = pair.split('=').next().expect("a name");
    let many = format!("{name}=x; ").repeat(20_000);
    refused_each(&nginx, [get(PATH, &format!("{many}{pair}")), get(PATH, &many)]);
    assert_recording(
        &nginx.send(Protocol::Http1, &get(PATH, &format!("{}; {pair}", "a=b; ".repeat(50_000)))),
        "found",
    );
}

/// Each allocation of a request fails once: nobody is let in, and nothing is served without a cause.
#[test]
fn without_memory_nobody_is_let_in() {
    if !build().require("preload") {
        return;
    }
    // With a pool as small as this nearly everything is an allocation of its own.
    let site = site("xspace_link_session 10m;", "").server("request_pool_size 128;");
    let (preload, site) = Preload::new(site);
    let nginx = site.allow("(12: Cannot allocate memory)").start();
    let workers = nginx.workers();
    let soon = now() + 600;
    let pair = key().session(ID, soon, soon, ANY);
    let wrong = key().session(OTHER, soon, soon, ANY).replace(OTHER, ID);
    let cases = [
        (200, with_token(PATH, &token(ID)), "a=b"),
        (200, PATH.to_owned(), pair.as_str()),
        (403, with_token(PATH, &token(OTHER)), wrong.as_str()),
        (403, with_token(PATH, &key().token(ID, 1, ANY)), "a=b"),
        (403, PATH.to_owned(), ""),
        (403, with_token("/download/a.b.c", "x"), ""),
    ];
    for (expected, path, cookie) in cases {
        let text = format!(
            "HEAD {path} HTTP/1.1\r\nHost: localhost\r\nCookie: {cookie}\r\n\
             Connection: close\r\n\r\n"
        );
        let ask = || {
            let mut connection = nginx.raw();
            connection.write(&text);
            String::from_utf8_lossy(&connection.read_whatever_comes()).into_owned()
        };
        let is = |answer: &str, status: u16| answer.starts_with(&format!("HTTP/1.1 {status} "));
        assert!(is(&ask(), expected), "{path}");
        let (mut failed, mut answered) = (0, 0);
        for number in 1.. {
            let (logged, before) = (nginx.error_log().len(), preload.failures());
            preload.fail_allocation(number);
            let answer = ask();
            if preload.failures() == before {
                preload.fail_allocation(0);
                break;
            }
            failed += 1;
            let what = format!("{path} {cookie}, allocation {number}: {answer}");
            assert!(answer.is_empty() || is(&answer, expected) || is(&answer, 500), "{what}");
            if is(&answer, 500) {
                answered += 1;
                let log = nginx.error_log();
                let log = log.get(logged..).unwrap_or_default();
                assert!(log.contains("(12: Cannot allocate memory)"), "{what} {log}");
            }
            assert_eq!(nginx.workers(), workers, "{what}");
        }
        assert!(is(&ask(), expected), "{path}, afterwards");
        assert!(failed > 3 && answered > 0, "{path}: {failed} failed, {answered} answered");
    }
}

/* Keys */

#[test]
fn rotation_of_keys() {
    let (old, new) = (LinkKey::new("old"), LinkKey::new("new"));
    let lines = [old.line(), new.line()];
    let site = site("xspace_link_session 10m;", "").file("keys", &lines[0]);
    let nginx = site.start();
    let soon = now() + 3600;
    let by = |key: &LinkKey| with_token(PATH, &key.token(ID, soon, ANY));
    let signer = |nginx: &Nginx, path: &str| {
        let (pair, _) = cookie(&nginx.get(path));
        pair.split('.').nth(3).expect("a key").to_owned()
    };
    let (by_old, _) = cookie(&nginx.get(&by(&old)));
    assert_no_recording(&nginx.get(&by(&new)), 403, "not known yet");
    // The new key is known first, then it signs, then the old one is removed.
    nginx.site().write("keys", format!("{}{}", lines[0], lines[1]));
    nginx.reload();
    assert_eq!(signer(&nginx, &by(&old)), "old");
    assert_eq!(signer(&nginx, &by(&new)), "old");
    nginx.site().write("keys", format!("{}{}", lines[1], lines[0]));
    nginx.reload();
    assert_eq!(signer(&nginx, &by(&old)), "new");
    assert_eq!(signer(&nginx, &by(&new)), "new");
    assert_recording(&nginx.send(Protocol::Http1, &get(PATH, &by_old)), "a session of the old key");
    nginx.site().write("keys", &lines[1]);
    nginx.reload();
    assert_recording(&nginx.get(&by(&new)), "the new key");
    assert_no_recording(&nginx.get(&by(&old)), 403, "removed");
    assert_no_recording(&nginx.send(Protocol::Http1, &get(PATH, &by_old)), 403, "removed");
}

#[test]
fn a_bad_file_of_keys_changes_nothing() {
    let nginx = site("", "").allow("invalid keys file").start();
    let path = with_token(PATH, &token(ID));
    nginx.site().write("keys", "k1 hex:00\n");
    nginx.hang_up();
    nginx.wait_error(&["[emerg]", "invalid keys file", "has 1 bytes, it must have 32 to 128"]);
    assert_recording(&nginx.get(&path), "the last good one");
    assert_no_recording(&nginx.get(PATH), 403, "no token");
}

/* Others */

#[test]
fn a_lookup_is_told_of_the_link() {
    let application = Application::start(|_| Reply::status(204));
    let nginx = site("xspace_lookup /lookup; xspace_link_session 10m;", "")
        .server(&format!(
            "location = /lookup {{
                 internal; proxy_pass http://{}; proxy_set_header X-Subject $xspace_link_subject;
                 proxy_set_header X-Link $xspace_link_status;
             }}",
            application.address()
        ))
        .start();
    let path = with_token(PATH, &key().token(ID, now() + 3600, ["-", "user_7", "-"]));
    for protocol in nginx.protocols() {
        let response = nginx.send(protocol, &Request::get(&path));
        assert_recording(&response, "let in");
        let asked = application.take_only();
        assert_eq!(asked.header("x-subject"), Some("user_7"));
        assert_eq!(asked.header("x-link"), Some("ok"));
        let pair = cookie(&response).0;
        assert_recording(&nginx.send(protocol, &get(PATH, &pair)), "session");
        let asked = application.take_only();
        assert_eq!(asked.header("x-subject"), Some("user_7"));
        assert_eq!(asked.header("x-link"), Some("session"));
        assert_no_recording(&nginx.send(protocol, &Request::get(PATH)), 403, "not asked");
        assert!(application.take_asked().is_empty());
    }
}

#[test]
fn responses_are_private() {
    let expires = "expires 1h; add_header Cache-Control public;";
    let nginx = site("", expires).start();
    let path = with_token(PATH, &token(ID));
    for protocol in nginx.protocols() {
        let response = nginx.send(protocol, &Request::get(&path));
        assert_recording(&response, "let in");
        assert_eq!(response.header("cache-control"), Some("private, max-age=3600"));
    }
    let nginx = site("", "").start();
    let response = nginx.get(&path);
    assert_eq!(response.header("cache-control"), Some("private, no-cache"));
    // An application can't make it public.
    let application = Application::start(|_| {
        Reply::status(204).header("Cache-Control", "public, s-maxage=60, max-age=30")
    });
    let nginx = site("xspace_lookup /lookup;", expires)
        .server(&format!(
            "location = /lookup {{ internal; proxy_pass http://{}; }}",
            application.address()
        ))
        .start();
    let response = nginx.get(&path);
    assert_recording(&response, "let in");
    assert_eq!(response.header("cache-control"), Some("private, max-age=30"));
}

#[test]
fn an_origin_does_not_make_it_public() {
    let origin = Application::start(|_| {
        Reply::new(200, "audio/mpeg", recording())
            .header("Cache-Control", "public, max-age=60, s-maxage=600")
            .header("CDN-Cache-Control", "max-age=600")
    });
    let site = Site::new().server(&format!(
        "location ^~ /downloads/ {{ internal; proxy_pass http://{}; }}
         location ^~ /download/ {{
             xspace_download /downloads/; xspace_directory off; xspace_catalog catalog.json;
             xspace_link $arg_token; xspace_link_keys keys;
         }}",
        origin.address()
    ));
    let catalog = format!("{{\"{ID}\": {{\"files\": [\"{ID}.mp3\"]}}}}");
    let nginx = with_keys(site, &key().line()).file("catalog.json", catalog).start();
    let response = nginx.get(&with_token(PATH, &token(ID)));
    assert_recording(&response, "let in");
    assert_eq!(response.header("cache-control"), Some("private, max-age=60"));
    assert_eq!(response.header("cdn-cache-control"), None);
    // The token is not sent on.
    assert_eq!(origin.take_only().query(), "");
}

#[test]
fn a_cache_in_front_keeps_nothing() {
    let nginx = site("xspace_link_session 10m;", "expires 1h;")
        .http(
            "proxy_cache_path {dir}/cache keys_zone=front:1m;
             server {
                 listen 127.0.0.1:{other};
                 location / {
                     proxy_pass http://127.0.0.1:{port}; proxy_cache front;
                     proxy_cache_key $uri; proxy_cache_valid any 1h;
                 }
             }",
        )
        .server("location ^~ /open/ { xspace_download /downloads/; }")
        .start();
    let status = |path: &str, cookie: &str| {
        let url = nginx.other_url(path);
        let arguments = ["-s", "-o", "/dev/null", "-w", "%{http_code}", "-b", cookie, &url];
        String::from_utf8(nginx.curl(&arguments)).expect("a status")
    };
    let soon = now() + 600;
    // A refusal must not reach a listener who has a session.
    assert_eq!(status(PATH, "a=b"), "403");
    assert_eq!(status(&with_token(PATH, &token(ID)), "a=b"), "200");
    assert_eq!(status(PATH, &key().session(ID, soon, soon, ANY)), "200");
    // Somebody else, for whom the key of the cache is the same.
    assert_eq!(status(PATH, "a=b"), "403");
    // The cache does keep what is not private.
    let open = format!("/open/{ID}");
    assert_eq!(status(&open, "a=b"), "200");
    fs::remove_file(nginx.dir().join(FILE)).expect("the recording");
    assert_eq!(status(&open, "a=b"), "200");
}

#[test]
fn limits_by_subject_in_the_target() {
    let nginx = site("", "limit_req zone=subjects;")
        .http(
            "limit_req_zone $xspace_link_subject zone=subjects:1m rate=1r/m; limit_req_status 429;",
        )
        .start();
    let by = |subject| with_token(PATH, &key().token(ID, now() + 3600, ["-", subject, "-"]));
    assert_recording(&nginx.get(&by("alice")), "the first");
    assert_no_recording(&nginx.get(&by("alice")), 429, "the second");
    assert_recording(&nginx.get(&by("bob")), "somebody else");
}

#[test]
fn a_site_with_cors_and_credentials() {
    let cors = "add_header Access-Control-Allow-Origin https://player.example always;
                add_header Access-Control-Allow-Credentials true always;";
    let nginx = site(&format!("xspace_link_session 10m samesite=none; {cors}"), cors).start();
    let response =
        nginx.get_with(&with_token(PATH, &token(ID)), "Origin", "https://player.example");
    assert_recording(&response, "let in");
    assert_eq!(response.header("access-control-allow-credentials"), Some("true"));
    assert!(cookie(&response).1.ends_with("SameSite=None"));
    let refused = nginx.get_with(PATH, "Origin", "https://player.example");
    assert_no_recording(&refused, 403, "no link");
    assert_eq!(refused.header("access-control-allow-credentials"), Some("true"));
}

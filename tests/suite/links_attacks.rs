//! Links of another server, key or time, and links beside other modules.

use xspace_tests::{Application, LinkKey, Preload, Protocol, Reply, Request, Site};

use crate::common::{ID, OTHER, PATH, assert_no_recording, assert_recording};
use crate::links::{ANY, cookie, get, key, now, refused_each, site, token, with_keys, with_token};

const HOUR: i64 = 3600;

/// The same key id is another key in another server: what was verified in one of them is not known in
/// the other.
#[test]
fn a_link_of_another_server() {
    let link = "xspace_link $arg_token; xspace_link_session 10m;";
    let server = |prefix: &str, keys: &str| {
        format!(
            "location ^~ {prefix} {{ xspace_download /downloads/; {link} xspace_link_keys {keys}; }}"
        )
    };
    let (one, two) = (key(), LinkKey::new("other").with_id("k1"));
    let site = Site::simple().server(&server("/one/", "keys")).server(&server("/two/", "other"));
    let nginx = with_keys(site, &one.line()).file("other", two.line()).start();
    let soon = now() + 600;
    // Each twice: verified, and verified before.
    for _ in 0..2 {
        for (good, bad, key) in [("/one/", "/two/", &one), ("/two/", "/one/", &two)] {
            let token = key.token(ID, soon, ANY);
            let pair = key.session(ID, soon, soon, ANY);
            let (good, bad) = (format!("{good}{ID}"), format!("{bad}{ID}"));
            assert_recording(&nginx.get(&with_token(&good, &token)), &good);
            assert_recording(&nginx.send(Protocol::Http1, &get(&good, &pair)), &good);
            refused_each(&nginx, [Request::get(&with_token(&bad, &token)), get(&bad, &pair)]);
        }
    }
}

/// What was verified with a key is forgotten with it, even if another has its id.
#[test]
fn another_key_under_the_same_id() {
    let nginx = site("xspace_link_session 10m;", "").start();
    let path = with_token(PATH, &token(ID));
    let response = nginx.get(&path);
    assert_recording(&response, "signed with the first key");
    let (pair, _) = cookie(&response);
    assert_recording(&nginx.send(Protocol::Http1, &get(PATH, &pair)), "session");
    let other = LinkKey::new("other").with_id("k1");
    nginx.site().replace("keys", other.line());
    nginx.reload();
    refused_each(&nginx, [Request::get(&path), get(PATH, &pair)]);
    assert_recording(&nginx.get(&with_token(PATH, &other.token(ID, now() + 60, ANY))), "the other");
}

/// What was verified for one use is no proof for another.
#[test]
fn verified_before_for_something_else() {
    let nginx = site("xspace_link_session 10m;", "").start();
    let soon = now() + 600;
    let mp3 = key().token(ID, soon, ["mp3", "-", "-"]);
    let (any, pair) = (token(ID), key().session(ID, soon, soon, ANY));
    let (name, value) = pair.split_once('=').expect("a value");
    let path = |format: &str, token: &str| with_token(&format!("{PATH}{format}"), token);
    for _ in 0..2 {
        assert_recording(&nginx.get(&path(".mp3", &mp3)), "mp3");
        assert_recording(&nginx.get(&path("", &any)), "any");
        assert_recording(&nginx.send(Protocol::Http1, &get(PATH, &pair)), "session");
        refused_each(
            &nginx,
            [
                Request::get(&path(".m4a", &mp3)),
                Request::get(&path("", &mp3)),
                Request::get(&with_token(&format!("/download/{OTHER}"), &any)),
                get(PATH, &format!("{name}={any}")),
                Request::get(&with_token(PATH, value)),
                get(&format!("/download/{OTHER}"), &pair.replace(ID, OTHER)),
            ],
        );
    }
}

#[test]
fn steps_of_the_clock() {
    let (preload, site) = Preload::new(site("xspace_link_session 10m max=30m;", ""));
    let nginx = site.start();
    let path = with_token(PATH, &key().token(ID, now() + 60, ANY));
    let (pair, _) = cookie(&nginx.get(&path));
    // Seconds from now, and whether the link and the session are good then. A second or two pass.
    for (offset, link, session) in [
        (0, true, true),
        (30, true, true),
        (63, false, true),
        (603, false, false),
        (0, true, true),
        (10 * 365 * 24 * HOUR, false, false),
        (-HOUR, true, true),
        (-20 * 365 * 24 * HOUR, true, true),
        (66, false, true),
        (0, true, true),
    ] {
        preload.set_clock_offset(offset);
        for protocol in nginx.protocols() {
            let status = |request: &Request| nginx.send(protocol, request).status;
            let statuses = (status(&Request::get(&path)), status(&get(PATH, &pair)));
            let expected = |is_good| if is_good { 200 } else { 403 };
            assert_eq!(statuses, (expected(link), expected(session)), "{protocol:?} {offset}");
        }
    }
}

#[test]
fn cookies_of_a_megabyte() {
    let nginx = site("xspace_link_session 10m;", "")
        .main("")
        .http("large_client_header_buffers 4 2m;")
        .start();
    let soon = now() + 600;
    let pair = key().session(ID, soon, soon, ANY);
    let name = pair.split('=').next().expect("a name");
    let long = "a".repeat(1_000_000);
    for cookie in [
        format!("{pair}{long}"),
        format!("{name}={long}"),
        format!("{name}={}", "1.".repeat(500_000)),
    ] {
        let request = format!("GET {PATH} HTTP/1.1\r\nHost: localhost\r\nCookie: {cookie}\r\n\r\n");
        let response = nginx.raw().ask(request);
        assert_eq!(response.status, 403, "{}", &cookie[..100]);
    }
}

/// The link is checked first: an application is not asked about a bad one.
#[test]
fn all_have_to_agree() {
    let application = Application::start(|asked| {
        Reply::status(if asked.header("x-user") == Some("alice") { 204 } else { 401 })
    });
    let nginx = site("auth_request /auth;", "")
        .server(&format!(
            "location = /auth {{
                 internal; proxy_pass http://{}; proxy_set_header Range '';
                 proxy_set_header X-User $http_x_user; proxy_set_header X-Link $xspace_link_status;
                 proxy_set_header X-Subject $xspace_link_subject;
             }}",
            application.address()
        ))
        .start();
    let path = with_token(PATH, &key().token(ID, now() + 60, ["-", "user_7", "-"]));
    for protocol in nginx.protocols() {
        let alice = |path: &str| Request::get(path).header("X-User", "alice");
        assert_no_recording(&nginx.send(protocol, &alice(PATH)), 403, "no link");
        assert!(application.take_asked().is_empty());
        assert_recording(&nginx.send(protocol, &alice(&path)), "both");
        let asked = application.take_only();
        assert_eq!(asked.header("x-link"), Some("ok"));
        assert_eq!(asked.header("x-subject"), Some("user_7"));
        assert_no_recording(&nginx.send(protocol, &Request::get(&path)), 401, "a link only");
        application.take_only();
    }
}

/// A refused request is no play; a listener is the subject, however often the link is used.
#[test]
fn counts_of_plays() {
    let nginx =
        site("xspace_link_session 10m; xspace_listener $xspace_link_subject;", "limit_rate 0;")
            .http("xspace_stats_zone plays:1m; xspace_stats plays; xspace_play bytes=100000;")
            .server("location = /status { access_log off; xspace_status json; }")
            .start();
    let by = |subject: &str| with_token(PATH, &key().token(ID, now() + 600, ["-", subject, "-"]));
    refused_each(&nginx, (0..3).map(|_| Request::get(PATH)));
    let first = nginx.get(&by("alice"));
    let (pair, _) = cookie(&first);
    for request in [Request::get(&by("alice")), get(PATH, &pair), Request::get(&by("bob"))] {
        assert_recording(&nginx.send(Protocol::Http1, &request), "let in");
    }
    let stats = crate::plays::stats(&nginx, 7);
    assert_eq!(stats["plays"], 2, "{stats}");
    assert_eq!(stats["requests"]["found"], 4, "{stats}");
    assert_eq!(stats["requests"]["bad_link"], 3, "{stats}");
}

/// The token is the value of the directive, whatever it is made of.
#[test]
fn values_with_a_token() {
    let request = |query: &str, field: &str| {
        Request::get(&format!("{PATH}?{query}")).header("X-Token", field)
    };
    let good = token(ID);
    let (arguments, field) = (format!("a=b&token={good}&c=d"), "x");
    let (head, tail) = good.split_at(9);
    for (value, before, query, header) in [
        ("$arg_token", "", arguments.as_str(), field),
        ("$arg_Token", "", arguments.as_str(), field),
        ("${arg_token}", "", arguments.as_str(), field),
        ("$arg_a$arg_b", "", &format!("a={head}&b={tail}"), field),
        ("$http_x_token", "", "token=x", good.as_str()),
        // A variable of the configuration has the name of an argument.
        ("$arg_token", "set $arg_token $http_x_token;", "token=x", good.as_str()),
        ("$arg_", "set $arg_ $http_x_token;", "token=x&=x", good.as_str()),
    ] {
        let link = format!("{before} xspace_link {value}; xspace_link_keys keys;");
        let nginx = with_keys(Site::with_directives(&link, ""), &key().line()).start();
        for protocol in nginx.protocols() {
            let ask = |query: &str, header: &str| nginx.send(protocol, &request(query, header));
            assert_recording(&ask(query, header), &link);
            // Without what the value is made of.
            let without = if header == field { ask("a=b&c=d", header) } else { ask(query, field) };
            assert_no_recording(&without, 403, &link);
            let other = good.replace("1.k1", "1.k2");
            let wrong = ask(
                &query.replace(&*good, &other).replace(head, "1.k2"),
                &header.replace(&*good, &other),
            );
            assert_no_recording(&wrong, 403, &link);
        }
    }
}

/// Limits of the location count before a link is verified; it is verified all the same.
#[test]
fn limits_in_the_location() {
    let nginx = site("limit_req zone=clients burst=1 nodelay;", "")
        .http("limit_req_zone $binary_remote_addr zone=clients:1m rate=1r/m; limit_req_status 429;")
        .start();
    assert_no_recording(&nginx.get(PATH), 403, "no link");
    assert_recording(&nginx.get(&with_token(PATH, &token(ID))), "let in");
    for path in [PATH, &with_token(PATH, &token(ID))] {
        assert_no_recording(&nginx.get(path), 429, path);
    }
}

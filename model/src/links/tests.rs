use core::net::IpAddr;

use serde_json::Value;

use super::cookie::{SameSite, SetCookie};
use super::*;
use crate::filename::tests::written;

/// Links and requests with their results, computed by another implementation.
const VECTORS: &str = include_str!("../../vectors/links.json");

fn vectors() -> Value {
    serde_json::from_str(VECTORS).expect("the vectors are JSON")
}

fn list<'v>(value: &'v Value, key: &str) -> &'v [Value] {
    value[key].as_array().expect("a list")
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or_else(|| panic!("{key} in {value}"))
}

fn keys() -> Keys {
    let vectors = vectors();
    let lines: Vec<_> = list(&vectors, "keys").iter().map(|line| line.as_str().unwrap()).collect();
    Keys::parse(lines.join("\n").as_bytes()).expect("the keys are valid")
}

/// The key with an id as the first one.
fn keys_with_first(id: &str) -> Keys {
    let vectors = vectors();
    let mut lines = list(&vectors, "keys").iter().map(|line| line.as_str().unwrap());
    let line = lines.find(|line| line.split(' ').next() == Some(id)).expect("a key");
    Keys::parse(line.as_bytes()).expect("the key is valid")
}

const SPACE: &str = "1lDxLnrWjwkGm";
const NOW: u64 = 1_900_000_000;

fn space(id: &str) -> SpaceId<'_> {
    SpaceId::from_text(id).expect("an id")
}

fn check(keys: &Keys) -> Check<'_> {
    Check {
        keys,
        now: NOW,
        space: Some(space(SPACE)),
        format: Some(""),
        client: Some(Net::of([192, 0, 2, 7].into())),
        needs_net: false,
    }
}

const ANY: Fields<'static> = Fields { format: b"-", subject: b"-", net: b"-" };

#[test]
fn links_of_the_vectors() {
    let vectors = vectors();
    let all = list(&vectors, "links");
    assert!(all.len() >= 10, "{}", all.len());
    for link in all {
        let name = text(link, "name");
        let keys = keys_with_first(text(link, "key"));
        let field = |key| text(link, key).as_bytes();
        let fields =
            Fields { format: field("format"), subject: field("subject"), net: field("net") };
        let expiry = link["expiry"].as_u64().expect("a time");
        let id = space(text(link, "space"));
        let token = keys.token(id, expiry, fields);
        assert_eq!(String::from_utf8_lossy(&token), text(link, "token"), "{name}");
        let parsed = Credential::parse(Kind::Token, &token).unwrap_or_else(|| panic!("{name}"));
        let claims = Claims { expiry, end: expiry, fields };
        assert_eq!(parsed.claims, claims, "{name}");
        let signed = parsed.text(id).expect("a text");
        assert_eq!(String::from_utf8_lossy(signed.as_bytes()), text(link, "text"), "{name}");
    }
}

/// The status and the subject of a request of the vectors.
fn judged(keys: &Keys, request: &Value) -> (Status, String) {
    let client = request["client"].as_str().map(|address| address.parse::<IpAddr>().unwrap());
    let check = Check {
        keys,
        now: request["now"].as_u64().expect("a time"),
        space: request["space"].as_str().map(space),
        format: request["format"].as_str(),
        client: client.map(Net::of),
        needs_net: request["needs_net"].as_bool().expect("a flag"),
    };
    let cookies: Vec<&str> =
        list(request, "cookies").iter().map(|cookie| cookie.as_str().unwrap()).collect();
    let subject = |grant: Grant<'_>| String::from_utf8_lossy(grant.fields().subject()).into_owned();
    match check.decide(text(request, "token").as_bytes(), true, || {
        cookies.iter().map(|field| field.as_bytes())
    }) {
        Ok(grant) => (grant.status(), subject(grant)),
        Err(status) => (status, String::new()),
    }
}

#[test]
fn requests_of_the_vectors() {
    let vectors = vectors();
    let keys = keys();
    let all = list(&vectors, "requests");
    assert!(all.len() >= 60, "{}", all.len());
    for request in all {
        let (status, subject) = judged(&keys, request);
        let name = text(request, "name");
        assert_eq!(status.as_str(), text(request, "status"), "{name}");
        assert_eq!(subject, text(request, "subject"), "{name}");
    }
    let statuses = [
        Status::Ok,
        Status::Session,
        Status::Missing,
        Status::Bad,
        Status::Key,
        Status::Expired,
        Status::Address,
        Status::Format,
    ];
    for status in statuses {
        let is = |request: &Value| text(request, "status") == status.as_str();
        assert!(all.iter().any(is), "no request for {status:?}");
    }
}

#[test]
fn without_sessions_cookies_do_not_count() {
    let keys = keys();
    let cookie = cookie_of(&keys, NOW + 60, NOW + 60, ANY);
    let fields = || [cookie.as_bytes()].into_iter();
    let check = check(&keys);
    assert_eq!(check.decide(b"", true, fields).map(|grant| grant.status()), Ok(Status::Session));
    assert_eq!(check.decide(b"", false, fields), Err(Status::Missing));
}

#[test]
fn every_change_of_a_token_is_refused() {
    let keys = keys();
    let check = check(&keys);
    let fields = Fields { format: b"-", subject: b"user_7", net: b"c00002" };
    let token = keys.token(space(SPACE), NOW, fields);
    assert_eq!(check.token(&token), Ok(fields));
    for at in 0..token.len() {
        for bit in 0..8 {
            let mut changed = token.clone();
            changed[at] ^= 1 << bit;
            let refused = check.token(&changed).expect_err("a changed token");
            assert!(matches!(refused, Status::Bad | Status::Key), "{at} {bit} {refused:?}");
        }
        for byte in (0..=255).filter(|&byte| byte != token[at]) {
            let mut changed = token.clone();
            changed[at] = byte;
            assert!(check.token(&changed).is_err(), "{at} {byte}");
        }
        let mut shorter = token.clone();
        shorter.remove(at);
        assert!(check.token(&shorter).is_err(), "{at} removed");
        let mut longer = token.clone();
        longer.insert(at, token[at]);
        assert!(check.token(&longer).is_err(), "{at} doubled");
    }
}

#[test]
fn times_of_any_length() {
    let keys = keys();
    let check = check(&keys);
    for digits in 1..400 {
        for digit in ["1", "9", "0"] {
            let expiry = digit.repeat(digits);
            let token = format!("1.k1.{expiry}.-.-.-.{}", "A".repeat(43));
            let is_time = digits <= 12 && digit != "0";
            assert_eq!(
                Credential::parse(Kind::Token, token.as_bytes()).is_some(),
                is_time,
                "{token}"
            );
            assert_eq!(check.token(token.as_bytes()), Err(Status::Bad), "{token}");
            let session = format!("1.k1.9.{expiry}.-.-.-.{}", "A".repeat(43));
            assert_eq!(check.session(session.as_bytes()), Err(Status::Bad), "{session}");
        }
    }
}

/// A cookie with a name.
fn cookie_of(keys: &Keys, expiry: u64, end: u64, fields: Fields<'_>) -> String {
    let session = keys.session(space(SPACE), NOW, expiry, end, fields).expect("a session");
    let mut text = Vec::new();
    session.write_name(|piece| text.extend_from_slice(piece));
    text.push(b'=');
    session.write_value(|piece| text.extend_from_slice(piece));
    String::from_utf8(text).expect("ASCII")
}

#[test]
fn every_change_of_a_cookie_is_refused() {
    let keys = keys();
    let check = check(&keys);
    let fields = Fields { format: b"-", subject: b"user_7", net: b"-" };
    let cookie = cookie_of(&keys, NOW, NOW + 9, fields);
    let cookie = cookie.split_once('=').unwrap().1.as_bytes();
    assert_eq!(check.session(cookie).map(|session| session.fields), Ok(fields));
    assert_eq!(check.token(cookie), Err(Status::Bad));
    for at in 0..cookie.len() {
        for byte in (0..=255).filter(|&byte| byte != cookie[at]) {
            let mut changed = cookie.to_vec();
            changed[at] = byte;
            assert!(check.session(&changed).is_err(), "{at} {byte}");
        }
    }
}

#[test]
fn sessions_begin_and_are_prolonged() {
    let keys = keys();
    let check = check(&keys);
    let rules = SessionRules { time: 100, max: 1000 };
    let subject = Fields { subject: b"user_7", ..ANY };
    let mp3 = Fields { format: b"mp3", ..ANY };
    let link = Grant::Link(ANY);
    // What let the client in; expiry, end and fields of the cookie it has; expiry and end of the new.
    type Times = Option<(u64, u64)>;
    type Case<'c> = (&'c str, Grant<'c>, Option<(u64, u64, Fields<'c>)>, Times);
    let cases: [Case<'_>; 11] = [
        ("no cookie", link, None, Some((100, 1000))),
        ("a fresh one", link, Some((100, 900, ANY)), None),
        ("at its half", link, Some((50, 900, ANY)), None),
        ("past its half", link, Some((49, 900, ANY)), Some((100, 1000))),
        ("its last second", link, Some((0, 900, ANY)), Some((100, 1000))),
        ("past its end", link, Some((100, 0, ANY)), Some((100, 1000))),
        ("of another subject", link, Some((100, 900, subject)), Some((100, 1000))),
        ("of the subject", Grant::Link(subject), Some((100, 900, subject)), None),
        ("of another format", link, Some((100, 900, mp3)), Some((100, 1000))),
        (
            "of another net",
            link,
            Some((100, 900, Fields { net: b"c00002", ..ANY })),
            Some((100, 1000)),
        ),
        ("of the format", Grant::Link(mp3), Some((100, 900, mp3)), None),
    ];
    for (what, grant, cookie, expected) in cases {
        let check = Check { format: Some("mp3"), ..check };
        let cookie = cookie.map(|(expiry, end, of)| {
            // It is not used after its end, even if it has not expired.
            cookie_of(&keys, NOW + expiry, (NOW + end).max(1), of)
        });
        let cookie = match what {
            "past its end" => cookie.map(|_| cookie_of(&keys, NOW + 100, NOW - 1, ANY)),
            _ => cookie,
        };
        let new = check.new_session(rules, &grant, || cookie.iter().map(|c| c.as_bytes()));
        let times = new.map(|new| (new.expiry - NOW, new.end - NOW));
        assert_eq!(times, expected, "{what}");
        assert!(new.is_none_or(|new| new.fields == grant.fields()), "{what}");
    }
    for (expiry, end, expected) in [
        (100, 900, None),
        (50, 900, None),
        (49, 900, Some((100, 900))),
        (0, 900, Some((100, 900))),
        // Not beyond its end.
        (10, 60, Some((60, 60))),
        (10, 11, Some((11, 11))),
        (10, 10, None),
    ] {
        let cookie = cookie_of(&keys, NOW + expiry, NOW + end, subject);
        let session = check.session(cookie.split_once('=').unwrap().1.as_bytes()).unwrap();
        let grant = Grant::Session(session);
        let new = check.new_session(rules, &grant, || [cookie.as_bytes()].into_iter());
        let times = new.map(|new| (new.expiry - NOW, new.end - NOW));
        assert_eq!(times, expected, "{expiry} {end}");
        assert!(new.is_none_or(|new| new.fields == subject && new.max_age() > 0));
    }
    // A session is as long as a year or a second.
    for time in [1, 366 * 86_400] {
        let rules = SessionRules { time, max: time };
        let new = check.new_session(rules, &link, core::iter::empty).unwrap();
        assert_eq!((new.max_age(), new.end), (time, NOW + time));
    }
    // The first key signs.
    let new = check.new_session(rules, &link, core::iter::empty).unwrap();
    let mut value = Vec::new();
    new.write_value(|piece| value.extend_from_slice(piece));
    assert!(value.starts_with(b"1.k1.1900000100.1900001000.-.-.-."), "{value:?}");
}

/// All checks are made of a token that was verified before, too.
#[test]
fn tokens_that_were_verified_before() {
    let keys = keys();
    let first = check(&keys);
    let of = |number: usize| {
        let subject = format!("s{number}");
        keys.token(space(SPACE), NOW, Fields { subject: subject.as_bytes(), ..ANY })
    };
    // More than are kept, so that some share a place.
    let tokens: Vec<_> = (0..3000).map(of).collect();
    for round in 0..2 {
        for (number, token) in tokens.iter().enumerate() {
            let mut changed = token.clone();
            *changed.last_mut().unwrap() ^= 1;
            assert_eq!(first.token(&changed), Err(Status::Bad), "{number} {round}");
            assert!(first.token(token).is_ok(), "{number} {round}");
            assert_eq!(first.token(&changed), Err(Status::Bad), "{number} {round}");
        }
    }
    let is_kept = |token: &[u8]| keys.verified.find(Kind::Token, token, space(SPACE)).is_some();
    let kept = tokens.iter().filter(|token| is_kept(token)).count();
    assert!((500..=1024).contains(&kept), "{kept}");
    let token = tokens.last().unwrap();
    assert!(is_kept(token));
    let later = Check { now: NOW + 1, ..first };
    assert_eq!(later.token(token), Err(Status::Expired));
    let bound = Check { needs_net: true, ..first };
    assert_eq!(bound.token(token), Err(Status::Address));
    let other = Check { space: Some(space("other")), ..first };
    assert_eq!(other.token(token), Err(Status::Bad));
    // A key of the same id elsewhere.
    let others = Keys::parse(format!("k1 hex:{}", "77".repeat(32)).as_bytes()).unwrap();
    assert_eq!(Check { keys: &others, ..first }.token(token), Err(Status::Bad));
}

/// What was verified is found for itself alone, with all that it says.
#[test]
fn what_is_kept() {
    let keys = keys();
    let check = check(&keys);
    let claims = Claims { expiry: NOW, end: NOW, fields: ANY };
    let token = keys.token(space(SPACE), NOW, ANY);
    let cookie = cookie_of(&keys, NOW, NOW + 9, ANY);
    let session = cookie.split_once('=').unwrap().1.as_bytes();
    assert_eq!(check.token(&token), Ok(ANY));
    assert_eq!(check.session(session), Ok(Claims { end: NOW + 9, ..claims }));
    let find = |kind, text, id| keys.verified.find(kind, text, space(id));
    assert_eq!(find(Kind::Token, &token, SPACE), Some(claims));
    assert_eq!(find(Kind::Session, session, SPACE), Some(Claims { end: NOW + 9, ..claims }));
    // As the other kind, with a byte moved to the id, and for another space.
    assert_eq!(find(Kind::Session, &token, SPACE), None);
    assert_eq!(find(Kind::Token, session, SPACE), None);
    let id = format!("{}{SPACE}", char::from(*token.last().unwrap()));
    assert_eq!(find(Kind::Token, &token[..token.len() - 1], &id), None);
    assert_eq!(find(Kind::Token, &token, "1lDxLnrWjwkGn"), None);
    assert_eq!(check.session(&token), Err(Status::Bad));
    assert_eq!(check.token(session), Err(Status::Bad));
    // All lengths of the fields, and of the last word.
    for (number, format) in ["-", "m", "mp3", "ffffffffffffffff"].into_iter().enumerate() {
        for subject in (1..=64).map(|len| "s".repeat(len)) {
            for net in ["-", "c00002"] {
                let (format, subject, net) =
                    (format.as_bytes(), subject.as_bytes(), net.as_bytes());
                let fields = Fields { format, subject, net };
                let id = &"1lDxLnrWjwkGm"[number..];
                let token = keys.token(space(id), NOW, fields);
                let check = Check { space: Some(space(id)), ..check };
                let first = check.token(&token);
                let found = keys.verified.find(Kind::Token, &token, space(id));
                assert_eq!(found, Some(Claims { fields, ..claims }));
                assert_eq!(check.token(&token), first);
            }
        }
    }
}

/// Even where the hash is that of another, all bytes are compared.
#[test]
fn every_byte_is_compared() {
    let keys = keys();
    let id = "1lDxLnrWjwkGm";
    let token = keys.token(space(id), NOW, ANY);
    assert_eq!(check(&keys).token(&token), Ok(ANY));
    for at in 0..token.len() {
        let mut changed = token.clone();
        changed[at] ^= 1;
        keys.verified.collide((&token, space(id)), (&changed, space(id)));
        assert_eq!(keys.verified.find(Kind::Token, &changed, space(id)), None, "{at}");
    }
    for at in 0..id.len() {
        let mut other = id.as_bytes().to_vec();
        other[at] ^= 1;
        let other = String::from_utf8(other).unwrap();
        let Some(other) = SpaceId::from_text(&other) else { continue };
        keys.verified.collide((&token, space(id)), (&token, other));
        assert_eq!(keys.verified.find(Kind::Token, &token, other), None, "{at}");
    }
}

#[test]
fn the_longest_texts() {
    let keys = keys_with_first("old_Key-2024");
    let long = Keys::parse(format!("{} hex:{}", "k".repeat(32), "00".repeat(32)).as_bytes());
    let (id, subject) = ("A".repeat(128), "s".repeat(64));
    let fields = Fields {
        format: b"ffffffffffffffff",
        subject: subject.as_bytes(),
        net: b"ffffffffffffffff",
    };
    for keys in [&keys, &long.unwrap()] {
        let session = keys.session(space(&id), NOW, LATEST, LATEST, fields).expect("it fits");
        let mut value = Vec::new();
        session.write_value(|piece| value.extend_from_slice(piece));
        let client = Some(Net::of([0xffff; 8].into()));
        let format = Some("ffffffffffffffff");
        let check = Check { space: Some(space(&id)), format, client, ..check(keys) };
        assert_eq!(check.session(&value).map(|session| session.fields), Ok(fields));
        assert_eq!(check.token(&keys.token(space(&id), LATEST, fields)), Ok(fields));
    }
}

#[test]
fn set_cookie() {
    let keys = keys();
    let new = check(&keys)
        .new_session(SessionRules { time: 60, max: 120 }, &Grant::Link(ANY), core::iter::empty)
        .unwrap();
    let plain = SetCookie {
        session: new,
        path: b"/download/1lDxLnrWjwkGm",
        same_site: SameSite::Lax,
        secure: false,
        partitioned: false,
    };
    let shown = |cookie: SetCookie<'_>| written(&cookie);
    let plain_text = shown(plain);
    let (value, attributes) = plain_text.split_once("; ").unwrap();
    let value = value.strip_prefix("xspace.1lDxLnrWjwkGm.-=").unwrap();
    assert!(check(&keys).session(value.as_bytes()).is_ok());
    assert_eq!(attributes, "Path=/download/1lDxLnrWjwkGm; Max-Age=60; HttpOnly; SameSite=Lax");
    let full = SetCookie { same_site: SameSite::None, secure: true, partitioned: true, ..plain };
    assert!(shown(full).ends_with("; Max-Age=60; HttpOnly; Secure; SameSite=None; Partitioned"));
}

#[test]
fn paths() {
    for path in [
        "/download/1lDxLnrWjwkGm",
        "/a",
        "/a.b/~c_d-e/...",
        "/%41%c3%bc/x",
        "/%25/x",
        "/.%41",
        &format!("/{}", "a".repeat(511)),
    ] {
        assert_eq!(client_path(path.as_bytes()), Some(path.as_bytes()), "{path}");
        let uri = format!("{path}?token=1.k1/../;");
        assert_eq!(client_path(uri.as_bytes()), Some(path.as_bytes()), "{path}");
    }
    for path in [
        "",
        "?/a",
        "a/b",
        "*",
        "http://localhost/a",
        "/",
        "//",
        "/a/",
        "/a//b",
        "//a",
        "/./a",
        "/a/.",
        "/a/../b",
        "/..",
        "/%2e/a",
        "/a/%2E%2e/b",
        "/.%2e/b",
        "/a%2fb",
        "/a%2Fb",
        "/..%2f",
        "/a%",
        "/a%4",
        "/a%4g",
        "/a%g4",
        "/x;Domain=example.com;/a",
        "/a;",
        "/a b",
        "/a,b",
        "/a\r\nb",
        "/a\0",
        "/a\"b",
        "/a#b",
        "/a+b",
        "/a=b",
        "/\u{fc}",
        &format!("/{}", "a".repeat(512)),
    ] {
        assert_eq!(client_path(path.as_bytes()), None, "{path}");
    }
}

#[test]
fn cookies_of_a_header() {
    let id = space(SPACE);
    let values = |fields: &[&str]| {
        let fields = fields.iter().map(|field| field.as_bytes());
        cookies(fields, id, b"mp3")
            .map(|v| String::from_utf8_lossy(v).into_owned())
            .collect::<Vec<_>>()
    };
    let name = "xspace.1lDxLnrWjwkGm.mp3";
    assert_eq!(values(&[&format!("{name}=a")]), ["a"]);
    assert_eq!(values(&[&format!("b=c;{name}=a=b; \t{name}=d ;{name}=")]), ["a=b", "d", ""]);
    assert_eq!(values(&["x=y", &format!("{name}=a"), &format!("{name}=b")]), ["a", "b"]);
    for other in [
        "",
        ";",
        "xspace.1lDxLnrWjwkGm.mp3",
        "xspace.1lDxLnrWjwkGm.mp3 =a",
        "xspace.1lDxLnrWjwkGm.mp4=a",
        "xspace.1lDxLnrWjwkGm.mp33=a",
        "xspace.1lDxLnrWjwkGm.-=a",
        "xspace.1lDxLnrWjwkGm=a",
        "xspace.1lDxLnrWjwkG.mp3=a",
        "xspace.1ldxlnrwjwkgm.mp3=a",
        "Xspace.1lDxLnrWjwkGm.mp3=a",
        "a=b, xspace.1lDxLnrWjwkGm.mp3=a",
        "a=xspace.1lDxLnrWjwkGm.mp3=a",
    ] {
        assert!(values(&[other]).is_empty(), "{other}");
    }
}

#[test]
fn files_of_keys() {
    let hex = "00".repeat(32);
    let long = "ab".repeat(128);
    for (text, ids) in [
        (format!("k1 hex:{hex}"), &["k1"][..]),
        (
            format!("# keys\n\n  k1\thex:{hex} # comment\r\nk-2_ base64:{}\n", "A".repeat(43)),
            &["k1", "k-2_"],
        ),
        (format!("k base64:{}=", "A".repeat(43)), &["k"]),
        (format!("k base64:{}", "-_".repeat(32)), &["k"]),
        (format!("k base64:{}", "+/".repeat(32)), &["k"]),
        (
            format!("k hex:{}\n{} hex:{long}", long.to_uppercase(), "a".repeat(32)),
            &["k", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"],
        ),
    ] {
        let keys = Keys::parse(text.as_bytes()).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(format!("{keys:?}"), format!("{ids:?}"));
        assert_eq!(keys.first().0, ids[0].as_bytes());
        assert!(ids.iter().all(|id| keys.find(id.as_bytes()).is_some()));
    }
    let secret = "SECRET".repeat(9);
    for (text, message) in [
        ("".into(), "it has no key".to_owned()),
        ("\n# k hex:00\n".into(), "it has no key".into()),
        (secret.clone(), "line 1 is not \"id hex:...\" or \"id base64:...\"".into()),
        (format!("k1 hex:{hex} x"), "line 1 is not \"id hex:...\" or \"id base64:...\"".into()),
        (format!("\nk1 hex: {hex}"), "line 2 is not \"id hex:...\" or \"id base64:...\"".into()),
        (
            format!("{secret} hex:{hex}"),
            "invalid key id on line 1, it must be 1 to 32 letters, digits, \"_\" and \"-\"".into(),
        ),
        (
            format!("k.1 hex:{hex}"),
            "invalid key id on line 1, it must be 1 to 32 letters, digits, \"_\" and \"-\"".into(),
        ),
        (
            format!("k1 {secret}"),
            "key \"k1\" on line 1 begins neither with \"hex:\" nor \"base64:\"".into(),
        ),
        (
            format!("k1 HEX:{hex}"),
            "key \"k1\" on line 1 begins neither with \"hex:\" nor \"base64:\"".into(),
        ),
        (format!("k1 hex:{secret}"), "key \"k1\" on line 1 is not valid hexadecimal".into()),
        (format!("k1 hex:{hex}0"), "key \"k1\" on line 1 is not valid hexadecimal".into()),
        (format!("k1 base64:{secret}.{secret}"), "key \"k1\" on line 1 is not valid base64".into()),
        (
            format!("k1 base64:{}", "+_".repeat(32)),
            "key \"k1\" on line 1 is not valid base64".into(),
        ),
        (
            format!("k1 hex:{}", "00".repeat(31)),
            "key \"k1\" on line 1 has 31 bytes, it must have 32 to 128".into(),
        ),
        (
            format!("k1 hex:{}", "00".repeat(129)),
            "key \"k1\" on line 1 has 129 bytes, it must have 32 to 128".into(),
        ),
        ("k1 hex:".into(), "key \"k1\" on line 1 has 0 bytes, it must have 32 to 128".into()),
        (
            format!("k1 hex:{hex}\n\nk2 hex:{hex}\nk1 hex:{long}"),
            "duplicate key \"k1\" on line 4, first on line 1".into(),
        ),
    ] {
        let error = Keys::parse(text.as_bytes()).expect_err(&text).to_string();
        assert_eq!(error, message, "{text}");
        assert!(!error.contains("SECRET"), "{error}");
    }
}

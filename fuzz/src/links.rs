//! Signed links: three lines with a token, a field `Cookie` and a URI.

use std::str;

use model::links::{
    Check, Credential, Fields, Grant, Keys, Kind, Net, SameSite, SessionRules, SetCookie, Status,
    client_path, cookies,
};
use model::request::SpaceId;
use model::text::Pieces;

thread_local! {
    static KEYS: Keys = {
        let text = format!("k1 hex:{}\nk2 hex:{}\n", "07".repeat(32), "70".repeat(64));
        Keys::parse(text.as_bytes()).expect("valid keys")
    };
}

const NOW: u64 = 1_900_000_000;

/// Judges a token, a cookie and a path, and signs the token again.
pub fn links(data: &[u8]) {
    KEYS.with(|keys| judge(keys, data));
}

fn judge(keys: &Keys, data: &[u8]) {
    let mut lines = data.splitn(3, |&b| b == b'\n');
    let mut line = || lines.next().unwrap_or_default();
    let (token, cookie, uri) = (line(), line(), line());
    let space = SpaceId::parse(b"1lDxLnrWjwkGm").expect("an id");
    let check = Check {
        keys,
        now: NOW,
        space: Some(space),
        format: Some("mp3"),
        client: Some(Net::of([192, 0, 2, 7].into())),
        needs_net: false,
    };

    assert_eq!(Credential::parse(Kind::Token, token).is_some(), is_token(token));
    match check.token(token) {
        Err(Status::Missing) => assert!(token.is_empty()),
        Err(Status::Bad | Status::Key | Status::Expired | Status::Address | Status::Format) => {}
        Err(status) => panic!("{status:?} is no refusal"),
        Ok(fields) => assert!(token.starts_with(b"1.k") && fields.subject().len() <= 64),
    }
    if let Some(parsed) = Credential::parse(Kind::Token, token) {
        signed(&check, space, parsed.claims.fields);
    }

    let own = cookies([cookie].into_iter(), space, b"mp3").count();
    let split = cookie.split(|&b| b == b';').map(<[u8]>::trim_ascii);
    assert_eq!(own, split.filter(|c| c.starts_with(b"xspace.1lDxLnrWjwkGm.mp3=")).count());
    for session in check.sessions(|| [cookie].into_iter()) {
        let format = session.fields.format;
        assert!(format == b"mp3" || format == b"-");
    }

    assert_eq!(client_path(uri), path(uri));
}

/// The grammar of a token in other words.
fn is_token(token: &[u8]) -> bool {
    let Ok(token) = str::from_utf8(token) else { return false };
    let fields: Vec<&str> = token.split('.').collect();
    let [version, key, expiry, format, subject, net, mac] = fields[..] else { return false };
    let is_of = |text: &str, min: usize, max: usize, others: &str| {
        (min..=max).contains(&text.len())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || others.contains(c))
    };
    let is_lower = |text: &str| !text.contains(|c: char| c.is_ascii_uppercase());
    token.len() <= 512
        && version == "1"
        && is_of(key, 1, 32, "-_")
        && expiry
            .parse::<u64>()
            .is_ok_and(|time| (1..1_000_000_000_000).contains(&time) && time.to_string() == expiry)
        && (format == "-" || is_of(format, 1, 16, "") && is_lower(format))
        && is_of(subject, 1, 64, "-_")
        && (net == "-"
            || [6, 16].contains(&net.len())
                && is_lower(net)
                && net.chars().all(|c| c.is_ascii_hexdigit()))
        && is_of(mac, 43, 43, "-_")
}

/// What is signed is good, and begins a session that is good.
fn signed(check: &Check<'_>, space: SpaceId<'_>, fields: Fields<'_>) {
    let token = check.keys.token(space, NOW, fields);
    let grant = match check.token(&token) {
        Ok(granted) => Grant::Link(granted),
        Err(Status::Address | Status::Format) => return,
        Err(status) => panic!("{status:?}"),
    };
    assert_eq!(grant.fields(), fields);
    for at in [0, token.len() / 2, token.len() - 1] {
        let mut changed = token.clone();
        changed[at] ^= 1;
        assert!(check.token(&changed).is_err());
    }
    let rules = SessionRules { time: 60, max: 3600 };
    let session = check.new_session(rules, &grant, || [&b""[..]].into_iter());
    let cookie = SetCookie {
        session: session.expect("a session"),
        path: b"/",
        same_site: SameSite::Lax,
        secure: false,
        partitioned: false,
    };
    let mut written = Vec::new();
    cookie.write(|piece| written.extend_from_slice(piece));
    let found = check.decide(b"", true, || [&written[..]].into_iter());
    let found = found.expect("the cookie is good");
    assert_eq!((found.status(), found.fields()), (Status::Session, fields));
}

/// The path of a URI that a cookie can have, in other words.
fn path(uri: &[u8]) -> Option<&[u8]> {
    let end = uri.iter().position(|&b| b == b'?').unwrap_or(uri.len());
    let path = &uri[..end];
    let text = str::from_utf8(path).ok()?;
    let is_path = |c: char| c.is_ascii_alphanumeric() || "/_.~%-".contains(c);
    if !text.starts_with('/') || !text.chars().all(is_path) || text.len() > 512 {
        return None;
    }
    // Every percent sign has two digits behind it.
    let is_encoded = |rest: &str| rest.chars().take(2).filter(char::is_ascii_hexdigit).count() == 2;
    if !text.split('%').skip(1).all(is_encoded) {
        return None;
    }
    let text = text.to_ascii_lowercase().replace("%2e", ".");
    let is_bad = |segment: &str| ["", ".", ".."].contains(&segment);
    (!text.contains("%2f") && !text[1..].split('/').any(is_bad)).then_some(path)
}

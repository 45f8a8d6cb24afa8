//! Signed links: which token or session cookie lets a client have a recording, and until when.
//!
//! A token is `1.<key id>.<expiry>.<format>.<subject>.<net>.<mac>`, a session cookie
//! `1.<key id>.<expiry>.<end>.<format>.<subject>.<net>.<mac>`. In both, `-` stands for any format, no
//! subject and any net. The last field is HMAC-SHA256 (RFC 2104) over the other fields and the id of
//! the space, in base64url without padding (RFC 4648, section 5).

mod cookie;
mod credential;
mod keys;
mod memory;
mod net;
#[cfg(test)]
mod tests;

pub use self::cookie::{SameSite, SetCookie, client_path, cookies};
pub use self::credential::{Claims, Credential, Fields, Kind, MAX_LEN};
pub use self::keys::{Keys, KeysError};
pub use self::net::Net;

use self::credential::{MacText, SESSION, TOKEN, Text, digits};
use crate::request::SpaceId;

/// How many cookies of a name are tried.
pub const MAX_COOKIES: usize = 8;

/// The latest time that has as many digits as an expiry may have.
const LATEST: u64 = 999_999_999_999;

/// What the decision about a link has come to, for `$xspace_link_status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The token is good.
    Ok,
    /// The token is not, but a session cookie is.
    Session,
    /// There is no token.
    Missing,
    /// The token is malformed, or its MAC is another one.
    Bad,
    /// The key is unknown.
    Key,
    /// The token has expired.
    Expired,
    /// The token is for clients in another network, or for any client where that is not accepted.
    Address,
    /// The token is for another format.
    Format,
}

impl Status {
    /// Those with which a request is refused.
    pub const REFUSED: [Self; 6] =
        [Self::Missing, Self::Bad, Self::Key, Self::Expired, Self::Address, Self::Format];

    /// The word for the variable.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Session => "session",
            Self::Missing => "missing",
            Self::Bad => "bad",
            Self::Key => "key",
            Self::Expired => "expired",
            Self::Address => "address",
            Self::Format => "format",
        }
    }
}

/// What a credential has let a client in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant<'a> {
    /// A token.
    Link(Fields<'a>),
    /// A session cookie.
    Session(Claims<'a>),
}

impl<'a> Grant<'a> {
    /// What is granted.
    pub fn fields(&self) -> Fields<'a> {
        match self {
            Self::Link(fields) => *fields,
            Self::Session(session) => session.fields,
        }
    }

    /// The status for the variable.
    pub fn status(&self) -> Status {
        match self {
            Self::Link(_) => Status::Ok,
            Self::Session(_) => Status::Session,
        }
    }
}

/// A request that needs a link.
#[derive(Clone, Copy, Debug)]
pub struct Check<'a> {
    /// The keys that are accepted.
    pub keys: &'a Keys,
    /// The time, in seconds since 1970.
    pub now: u64,
    /// The requested space; `None` if the request has no valid id. No link is good then.
    pub space: Option<SpaceId<'a>>,
    /// The requested format as a word in lower case, empty for any; `None` if it is unknown.
    pub format: Option<&'a str>,
    /// The network of the client; `None` if it has no address.
    pub client: Option<Net>,
    /// Whether a link without a net is refused.
    pub needs_net: bool,
}

impl<'a> Check<'a> {
    /// Decides whether a request is let in: by a good token, or by a good session cookie if there are
    /// sessions. `cookies` gives the values of the request's fields `Cookie`.
    ///
    /// # Errors
    ///
    /// Why the token is not good.
    pub fn decide<'t, F, I>(
        &self,
        token: &'t [u8],
        has_sessions: bool,
        cookies: F,
    ) -> Result<Grant<'t>, Status>
    where
        F: Fn() -> I,
        I: Iterator<Item = &'t [u8]>,
    {
        self.token(token).map(Grant::Link).or_else(|why| {
            let session = has_sessions.then(|| self.sessions(cookies).next()).flatten();
            session.map(Grant::Session).ok_or(why)
        })
    }

    /// Decides about a token.
    ///
    /// # Errors
    ///
    /// The first reason in the order of [`Status`] why the token is not good.
    pub fn token<'t>(&self, text: &'t [u8]) -> Result<Fields<'t>, Status> {
        if text.is_empty() {
            return Err(Status::Missing);
        }
        self.check(Kind::Token, text).map(|claims| claims.fields)
    }

    /// Decides about a session cookie.
    ///
    /// # Errors
    ///
    /// As for a token.
    pub fn session<'t>(&self, text: &'t [u8]) -> Result<Claims<'t>, Status> {
        self.check(Kind::Session, text)
    }

    /// The good ones among the session cookies for the space, in all fields `Cookie` of the request:
    /// those for the requested format, then those for any.
    pub fn sessions<'t, F, I>(&self, fields: F) -> impl Iterator<Item = Claims<'t>>
    where
        F: Fn() -> I,
        I: Iterator<Item = &'t [u8]>,
    {
        let all = |format: Option<&'a str>| {
            let named = self.space.zip(format).map(|(space, format)| {
                cookies(fields(), space, format.as_bytes()).take(MAX_COOKIES)
            });
            named.into_iter().flatten()
        };
        let own = self.format.filter(|word| !word.is_empty());
        all(own).chain(all(Some("-"))).filter_map(|text| self.session(text).ok())
    }

    /// The session to give a client that was let in; `None` if it has one that will do.
    ///
    /// A good link begins a session, unless the client has one for the same subject and format that is
    /// not past its half. A session that is past its half is prolonged, but not beyond its end.
    pub fn new_session<'t, F, I>(
        &self,
        rules: SessionRules,
        grant: &Grant<'t>,
        fields: F,
    ) -> Option<NewSession<'t>>
    where
        'a: 't,
        F: Fn() -> I,
        I: Iterator<Item = &'t [u8]>,
    {
        let latest = self.now.saturating_add(rules.time).min(LATEST);
        let is_fresh = |session: &Claims<'_>| {
            session.expiry.saturating_sub(self.now) >= rules.time.div_ceil(2)
        };
        let (expiry, end) = match grant {
            Grant::Link(granted) => {
                let is_same = |session: &Claims<'_>| {
                    session.fields.subject == granted.subject
                        && session.fields.format == granted.format
                        && session.fields.net == granted.net
                };
                if self.sessions(fields).any(|session| is_same(&session) && is_fresh(&session)) {
                    return None;
                }
                let end = self.now.saturating_add(rules.max).min(LATEST);
                (latest.min(end), end)
            }
            Grant::Session(session) if is_fresh(session) => return None,
            Grant::Session(session) => (latest.min(session.end), session.end),
        };
        let is_later = match grant {
            Grant::Link(_) => true,
            Grant::Session(session) => expiry > session.expiry,
        };
        let space = self.space.filter(|_| is_later)?;
        self.keys.session(space, self.now, expiry, end, grant.fields())
    }

    /// Checks key and MAC, unless that was done before, then all else.
    fn check<'t>(&self, kind: Kind, text: &'t [u8]) -> Result<Claims<'t>, Status> {
        let known = self.space.and_then(|space| self.keys.verified.find(kind, text, space));
        let claims = known.map_or_else(|| self.verify(kind, text), Ok)?;
        if self.now > claims.expiry.min(claims.end) {
            return Err(Status::Expired);
        }
        self.fields(claims.fields)?;
        Ok(claims)
    }

    /// Checks key and MAC.
    fn verify<'t>(&self, kind: Kind, text: &'t [u8]) -> Result<Claims<'t>, Status> {
        let credential = Credential::parse(kind, text).ok_or(Status::Bad)?;
        let key = self.keys.find(credential.key).ok_or(Status::Key)?;
        let space = self.space.ok_or(Status::Bad)?;
        let signed = credential.text(space).ok_or(Status::Bad)?;
        if !key.verifies(&signed, credential.mac) {
            return Err(Status::Bad);
        }
        self.keys.verified.keep(kind, text, space, &credential.claims);
        Ok(credential.claims)
    }

    /// Checks what is granted against what is requested.
    fn fields(&self, fields: Fields<'_>) -> Result<(), Status> {
        let is_there = match fields.parsed_net() {
            None => !self.needs_net,
            net => net == self.client,
        };
        if !is_there {
            return Err(Status::Address);
        }
        let is_asked = fields.format == b"-"
            || self.format.is_some_and(|word| fields.format == word.as_bytes());
        if is_asked { Ok(()) } else { Err(Status::Format) }
    }
}

/// How long sessions are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionRules {
    /// How long a session lasts after it was begun or prolonged, in seconds; at least 1.
    pub time: u64,
    /// How long it lasts in all, in seconds.
    pub max: u64,
}

/// A session that is begun or prolonged, signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewSession<'a> {
    space: SpaceId<'a>,
    now: u64,
    key: &'a [u8],
    expiry: u64,
    end: u64,
    fields: Fields<'a>,
    mac: MacText,
}

impl NewSession<'_> {
    /// For how many seconds the client has to keep the cookie; at least 1.
    pub fn max_age(&self) -> u64 {
        self.expiry.saturating_sub(self.now)
    }

    /// The name of the cookie in pieces.
    fn write_name(&self, mut out: impl FnMut(&[u8])) {
        [cookie::PREFIX, self.space.as_bytes(), b".", self.fields.format]
            .into_iter()
            .for_each(&mut out);
    }

    /// The value of the cookie in pieces.
    fn write_value(&self, mut out: impl FnMut(&[u8])) {
        let (expiry, end) = (digits(self.expiry), digits(self.end));
        let Fields { format, subject, net } = self.fields;
        out(b"1");
        for field in [self.key, expiry.as_bytes(), end.as_bytes(), format, subject, net, &self.mac]
        {
            out(b".");
            out(field);
        }
    }
}

impl Keys {
    /// Signs a session with the first key.
    fn session<'a>(
        &'a self,
        space: SpaceId<'a>,
        now: u64,
        expiry: u64,
        end: u64,
        fields: Fields<'a>,
    ) -> Option<NewSession<'a>> {
        let (key, signer) = self.first();
        let Fields { format, subject, net } = fields;
        let (until, last) = (digits(expiry), digits(end));
        let (until, last, id) = (until.as_bytes(), last.as_bytes(), space.as_bytes());
        let text = Text::of(&[SESSION, key, until, last, format, subject, net, id])?;
        Some(NewSession { space, now, key, expiry, end, fields, mac: signer.sign(&text) })
    }

    /// Signs a token with the first key, as an application does; for tests and tools.
    ///
    /// The result is empty if a field is longer than it may be.
    pub fn token(&self, space: SpaceId<'_>, expiry: u64, fields: Fields<'_>) -> Vec<u8> {
        let (key, signer) = self.first();
        let expiry = digits(expiry);
        let expiry = expiry.as_bytes();
        let Fields { format, subject, net } = fields;
        let lines = [TOKEN, key, expiry, space.as_bytes(), format, subject, net];
        let Some(text) = Text::of(&lines) else { return Vec::new() };
        let mac = signer.sign(&text);
        [&b"1"[..], key, expiry, format, subject, net, &mac].join(&b'.')
    }
}

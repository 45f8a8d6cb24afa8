//! Caching of a response: whose fields apply, and how those of a location that knows nothing of users
//! are restricted to one user (RFC 9111, section 5.2).

use crate::text::Pieces;

/// Whose fields `Cache-Control` and `Expires` of a response are. There is one author only: of two, a
/// cache would follow the more permissive one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Author {
    /// Nobody's: the response is a failure, which no cache may store.
    NoStore,
    /// The application's, as they are.
    Application,
    /// `Expires` is the application's, without a `Cache-Control`: `private` is added.
    ApplicationExpires,
    /// The target's, for one user alone: [`Private`].
    Target,
}

/// `Cache-Control` of [`Author::NoStore`].
pub const NO_STORE: &[u8] = b"no-store";

/// `Cache-Control` of [`Author::ApplicationExpires`].
pub const PRIVATE: &[u8] = b"private";

/// The value of [`Private`] without any field.
pub const PRIVATE_NO_CACHE: &[u8] = b"private, no-cache";

impl Author {
    /// The author for a response with this status, when an application has decided who may have
    /// it and has sent, or not, these two fields.
    pub fn of(status: usize, cache_control: bool, expires: bool) -> Self {
        match (status, cache_control, expires) {
            (500.., _, _) => Self::NoStore,
            (_, true, _) => Self::Application,
            (_, false, true) => Self::ApplicationExpires,
            (_, false, false) => Self::Target,
        }
    }
}

/// Whether a field is for some caches only, which then ignore `Cache-Control`:
/// targeted fields (RFC 9213), and what stands for them in CDNs and in NGINX.
pub fn is_targeted(name: &[u8]) -> bool {
    const SUFFIX: &[u8] = b"-Cache-Control";
    let end = name.len().checked_sub(SUFFIX.len()).and_then(|start| name.get(start..));
    end.is_some_and(|end| end.eq_ignore_ascii_case(SUFFIX))
        || [&b"Surrogate-Control"[..], b"X-Accel-Expires"]
            .iter()
            .any(|known| name.eq_ignore_ascii_case(known))
}

/// The value of `Cache-Control` that lets only the user's own cache store a response, no longer than
/// its fields allow.
///
/// `private` comes first, and what would let a shared cache store the response is left out. If
/// neither the fields nor `Expires` limit its age, `no-cache` prevents heuristic freshness (RFC 9111,
/// section 4.2.2).
#[derive(Clone, Copy, Debug)]
pub struct Private<F> {
    /// Returns the values of the response's `Cache-Control` fields.
    pub fields: F,
    /// Whether the response has `Expires`.
    pub has_expires: bool,
}

impl<'a, F, I> Pieces for Private<F>
where
    F: Fn() -> I,
    I: Iterator<Item = &'a [u8]>,
{
    fn write(&self, mut out: impl FnMut(&[u8])) {
        let all = || (self.fields)().flat_map(Directives);
        let directives = || all().filter(|directive| !directive.is_left_out());
        out(PRIVATE);
        if !self.has_expires && !directives().any(|directive| directive.limits_age()) {
            out(b", no-cache");
        }
        for directive in directives() {
            out(b", ");
            out(directive.0);
        }
    }
}

/// A directive of `Cache-Control`, with its argument.
#[derive(Clone, Copy, Debug)]
struct Directive<'a>(&'a [u8]);

impl<'a> Directive<'a> {
    fn parts(self) -> (&'a [u8], Option<&'a [u8]>) {
        let mut parts = self.0.splitn(2, |&byte| byte == b'=');
        let name = parts.next().unwrap_or_default().trim_ascii();
        (name, parts.next().map(<[u8]>::trim_ascii))
    }

    fn is(self, known: &str) -> bool {
        self.parts().0.eq_ignore_ascii_case(known.as_bytes())
    }

    /// Whether it lets a shared cache store the response, or is `private` itself, which may be
    /// limited to some fields; or its quotes don't match, so that it could swallow what follows.
    fn is_left_out(self) -> bool {
        let is_broken = self.0.iter().filter(|&&byte| byte == b'"').count() % 2 != 0;
        is_broken || ["public", "s-maxage", "private"].iter().any(|known| self.is(known))
    }

    /// Whether it rules out heuristic freshness.
    fn limits_age(self) -> bool {
        let (_, argument) = self.parts();
        match argument {
            None => self.is("no-cache") || self.is("no-store"),
            Some(argument) => {
                let digits = argument.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
                let digits = digits.unwrap_or(argument);
                self.is("max-age") && !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
            }
        }
    }
}

/// The directives of a field's value: parts between commas that are not in a quoted string.
struct Directives<'a>(&'a [u8]);

impl<'a> Iterator for Directives<'a> {
    type Item = Directive<'a>;

    fn next(&mut self) -> Option<Directive<'a>> {
        while !self.0.is_empty() {
            let (mut quoted, mut escaped) = (false, false);
            let end = self.0.iter().position(|&byte| {
                let ends = byte == b',' && !quoted;
                quoted ^= byte == b'"' && !escaped;
                escaped = quoted && byte == b'\\' && !escaped;
                ends
            });
            let (directive, rest) = self.0.split_at(end.unwrap_or(self.0.len()));
            self.0 = rest.get(1..).unwrap_or_default();
            if !directive.trim_ascii().is_empty() {
                return Some(Directive(directive.trim_ascii()));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filename::tests::written;

    fn private(fields: &[&str], has_expires: bool) -> String {
        let fields = || fields.iter().map(|field| field.as_bytes());
        written(&Private { fields, has_expires })
    }

    #[test]
    fn authors() {
        for (status, cache_control, expires, author) in [
            (200, true, false, Author::Application),
            (206, true, true, Author::Application),
            (304, false, true, Author::ApplicationExpires),
            (416, false, false, Author::Target),
            (403, true, false, Author::Application),
            (404, false, false, Author::Target),
            (451, false, true, Author::ApplicationExpires),
            (500, true, true, Author::NoStore),
            (502, false, false, Author::NoStore),
            (503, false, true, Author::NoStore),
        ] {
            let found = Author::of(status, cache_control, expires);
            assert_eq!(found, author, "{status} {cache_control} {expires}");
        }
    }

    #[test]
    fn fields_made_private() {
        for (fields, has_expires, expected) in [
            // Nothing was said of an age.
            (&[][..], false, "private, no-cache"),
            (&[""], false, "private, no-cache"),
            (&[" , ,"], false, "private, no-cache"),
            (&["public"], false, "private, no-cache"),
            (&["private"], false, "private, no-cache"),
            (&["no-transform"], false, "private, no-cache, no-transform"),
            (&["must-revalidate"], false, "private, no-cache, must-revalidate"),
            (&["max-age"], false, "private, no-cache, max-age"),
            (&["max-age=x"], false, "private, no-cache, max-age=x"),
            (&["max-age="], false, "private, no-cache, max-age="),
            (&["x-max-age=60"], false, "private, no-cache, x-max-age=60"),
            (&["s-maxage=60"], false, "private, no-cache"),
            (&["public, s-maxage=60"], false, "private, no-cache"),
            (&["no-cache=\"set-cookie\""], false, "private, no-cache, no-cache=\"set-cookie\""),
            (&["no-store=1"], false, "private, no-cache, no-store=1"),
            // The age stands.
            (&["max-age=3600"], false, "private, max-age=3600"),
            (&["max-age=3600"], true, "private, max-age=3600"),
            (&["MAX-AGE=\"60\""], false, "private, MAX-AGE=\"60\""),
            (&["Public, Max-Age=60"], false, "private, Max-Age=60"),
            (&["max-age=60,S-MAXAGE=90,immutable"], false, "private, max-age=60, immutable"),
            (&["public , max-age = 60"], false, "private, max-age = 60"),
            (&["public", "max-age=60"], false, "private, max-age=60"),
            (&["max-age=60", "public"], false, "private, max-age=60"),
            (&["private, max-age=60"], false, "private, max-age=60"),
            (&["PRIVATE=\"x-a, public\", max-age=60"], false, "private, max-age=60"),
            (&["no-cache"], true, "private, no-cache"),
            (&["No-Store"], false, "private, No-Store"),
            (&[], true, "private"),
            (&["public"], true, "private"),
            // Commas and quotes inside of quoted strings.
            (&["x=\"a, public\", max-age=1"], false, "private, x=\"a, public\", max-age=1"),
            (&["x=\"a\\\", b\", public"], true, "private"),
            (&["x=\"a, max-age=60"], false, "private, no-cache"),
            (&["x=\"a", "max-age=60"], false, "private, max-age=60"),
        ] {
            assert_eq!(private(fields, has_expires), expected, "{fields:?} {has_expires}");
            assert_eq!(private(&[expected], has_expires), expected, "once more");
        }
    }

    #[test]
    fn nothing_made_private() {
        assert_eq!(private(&[], false).as_bytes(), PRIVATE_NO_CACHE);
    }

    #[test]
    fn targeted_fields() {
        for name in [
            "CDN-Cache-Control",
            "Cloudflare-CDN-cache-control",
            "surrogate-control",
            "X-Accel-Expires",
        ] {
            assert!(is_targeted(name.as_bytes()), "{name}");
        }
        for name in ["Cache-Control", "-Cache-Contro", "Expires", "X-Cache", ""] {
            assert!(!is_targeted(name.as_bytes()), "{name}");
        }
    }
}

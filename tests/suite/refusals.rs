//! Fields of the module's own refusals: they go with the refusal's status, whoever writes the page.

use xspace_tests::{Application, Reply, Request, Response, Site, build};

use crate::asking::site;
use crate::common::PATH;

/// A refusal: the request, the status, and the field that the module adds to it.
struct Refusal {
    method: &'static str,
    status: u16,
    name: &'static str,
    values: &'static [&'static str],
}

/// What the module refuses by itself.
const METHOD: Refusal =
    Refusal { method: "POST", status: 405, name: "Allow", values: &["GET, HEAD, OPTIONS"] };
const NOT_READ: Refusal =
    Refusal { method: "GET", status: 503, name: "Retry-After", values: &["60"] };

/// What a lookup refuses.
const CHALLENGE: Refusal = Refusal {
    method: "GET",
    status: 401,
    name: "WWW-Authenticate",
    values: &["Bearer realm=\"spaces\"", "Basic realm=\"spaces, all\""],
};
const TOO_MANY: Refusal =
    Refusal { method: "GET", status: 429, name: "Retry-After", values: &["120"] };

/// What the application that answers in the module's place says in a field of this name.
const OTHER: &str = "another one";

/// `error_page` of the refusal's status, the status that the client gets, and who says the field.
fn pages(status: u16) -> Vec<(String, u16, Author)> {
    let page = |rest: &str| format!("error_page {status} {rest};");
    vec![
        (String::new(), status, Author::Module),
        (page("/pages/sorry.html"), status, Author::Module),
        (page("=200 /pages/sorry.html"), 200, Author::Nobody),
        (page("=302 /pages/sorry.html"), 302, Author::Nobody),
        (page("= /pages/sorry.html"), 200, Author::Nobody),
        (page("/pages/missing.html"), 404, Author::Nobody),
        (page("https://login.example/"), 302, Author::Nobody),
        (page("=307 https://login.example/"), 307, Author::Nobody),
        (page("= @fine"), 200, Author::Application),
        // The status is the same, the answer is not.
        (page("= @same"), status, Author::Application),
        (page("@same"), status, Author::Application),
        (page("@fine"), status, Author::Application),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Author {
    Module,
    Application,
    Nobody,
}

fn values<'a>(response: &'a Response, name: &str) -> Vec<&'a str> {
    let of_name = response.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
    of_name.map(|(_, value)| value.as_str()).collect()
}

/// Refuses lookups with the refusal, and answers in the place of the module.
fn application(refusal: &Refusal) -> Application {
    let Refusal { status, name, values, .. } = *refusal;
    Application::start(move |asked| match asked.header("x-page") {
        None => values.iter().fold(Reply::status(status), |reply, value| reply.header(name, value)),
        Some("same") => Reply::status(status).header(name, OTHER),
        Some(_) => Reply::new(200, "text/plain", "fine").header(name, OTHER),
    })
}

#[track_caller]
fn check(refusal: &Refusal, site: impl Fn(&Application, &str) -> Site) {
    let Refusal { method, status, name, values: own } = *refusal;
    for (error_page, expected, author) in pages(status) {
        let application = application(refusal);
        let address = application.address();
        let nginx = site(&application, &error_page)
            .server(&format!(
                "location /pages/ {{ root {{dir}}; log_not_found off; }}
                 location @fine {{ proxy_set_header X-Page fine; proxy_pass http://{address}; }}
                 location @same {{ proxy_set_header X-Page same; proxy_pass http://{address}; }}"
            ))
            .file("pages/sorry.html", "sorry")
            .start();
        for protocol in nginx.protocols() {
            let what = format!("{protocol:?} {status} {error_page:?}");
            let response = nginx.send(protocol, &Request::new(method, PATH));
            assert_eq!(response.status, expected, "{what}: {response:?}");
            let expected: Vec<&str> = match author {
                Author::Module => own.to_vec(),
                Author::Application => vec![OTHER],
                Author::Nobody => vec![],
            };
            assert_eq!(values(&response, name), expected, "{what}: {response:?}");
        }
    }
}

#[test]
fn allow_goes_with_405() {
    check(&METHOD, |_, error_page| Site::with_directives(error_page, ""));
}

#[test]
fn retry_after_of_an_unread_catalog_goes_with_503() {
    if !build().require("threads") {
        return;
    }
    check(&NOT_READ, |_, error_page| {
        Site::with_directives(
            &format!("xspace_catalog {{dir}}/none.json optional refresh=60s; {error_page}"),
            "",
        )
        .allow("is not loaded yet")
    });
}

#[test]
fn fields_of_a_lookups_refusal_go_with_its_status() {
    for refusal in [CHALLENGE, TOO_MANY] {
        check(&refusal, |application, error_page| {
            let address = application.address();
            site(error_page, &format!("internal; proxy_pass http://{address}/lookup;"))
        });
    }
}

/// The page of a refusal is a request for another space, which is refused as well or is not.
#[test]
fn second_refusal_has_its_own_field_alone() {
    let application = Application::start(|asked| match asked.argument("id") {
        Some("challenge") => Reply::status(401).header("WWW-Authenticate", "Basic"),
        Some("busy") => Reply::status(429).header("Retry-After", "7"),
        _ => Reply::status(204),
    });
    let address = application.address();
    let nginx = site(
        "error_page 401 /download/busy; error_page 429 =200 /download/1lDxLnrWjwkGm;
         recursive_error_pages on;",
        &format!("internal; proxy_pass http://{address}/lookup;"),
    )
    .server(
        "location ^~ /once/ {
             xspace_download /downloads/; xspace_lookup /_space; error_page 401 /download/busy;
         }",
    )
    .start();
    for protocol in nginx.protocols() {
        let ask = |path: &str| nginx.send(protocol, &Request::get(path));
        let fields = |response: &Response| {
            (
                values(response, "www-authenticate").len(),
                values(response, "retry-after").into_iter().map(str::to_owned).collect::<Vec<_>>(),
            )
        };
        let response = ask("/once/challenge");
        assert_eq!(
            (response.status, fields(&response)),
            (429, (0, vec!["7".into()])),
            "{response:?}"
        );
        for path in ["/download/challenge", "/download/busy"] {
            let response = ask(path);
            assert_eq!(response.status, 200, "{path}: {response:?}");
            assert_eq!(fields(&response), (0, vec![]), "{protocol:?} {path}: {response:?}");
        }
    }
}

#[test]
fn answer_to_options_keeps_allow() {
    let nginx = Site::with_directives("error_page 405 =200 /pages/sorry.html;", "").start();
    for protocol in nginx.protocols() {
        let response = nginx.send(protocol, &Request::new("OPTIONS", PATH));
        assert_eq!((response.status, values(&response, "allow")), (204, METHOD.values.to_vec()));
    }
}

//! Routes of other frameworks in the documentation: the application behind nginx alone, and as a
//! lookup behind the module.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use xspace_tests::{
    Address, Nginx, Program, Protocol, Request, Response, Site, bytes, gunicorn, is_root,
    project_dir, same_bytes,
};

use crate::asking::own_errors;
use crate::common::{ID, MISSING, assert_no_recording};
use crate::docs::code_blocks;

const PAGE: &str = "docs/coming-from-others.md";

/// A space that everybody may listen to.
const OPEN: &str = "1OwxWYzDXjWGQ";

/// Another one, with a title in Japanese.
const NAMED: &str = "1PlJQpLBvMdxE";

const UNKNOWN: &str = "nobody-knows-it";

const SIZE: usize = 1_200_000;

/// A route of the page, and what the page says of it.
struct Route {
    /// Its name in the table of the page.
    name: &'static str,
    /// Who answers a range request.
    ranges: &'static str,
    /// Cache-Control before, in one version or another, and after; empty if there is none.
    caching: (&'static [&'static str], &'static str),
    /// What it answers to someone who has not logged in.
    unauthorized: u16,
    /// In nginx, before: what passes requests to the application at `{app}`.
    pass: &'static str,
}

/// The part of the page in a language, the route before or after.
fn snippet(language: &str, number: usize) -> String {
    let snippets = code_blocks(PAGE, language);
    assert!(snippets.iter().all(|text| text.lines().count() <= 13), "{snippets:#?}");
    snippets.into_iter().nth(number).expect("a snippet")
}

/// What all applications know, and `{DOWNLOADS}`.
fn fill_in(text: &str, downloads: &Path) -> String {
    text.replace("{DOWNLOADS}", downloads.to_str().expect("UTF-8"))
        .replace("{ID}", ID)
        .replace("{OPEN}", OPEN)
        .replace("{NAMED}", NAMED)
        .replace("{MISSING}", MISSING)
}

/// The configurations of the page: for a public site, with a lookup, and the lookups of PHP and
/// Laravel.
fn block(number: usize) -> String {
    let blocks = code_blocks(PAGE, "nginx");
    assert_eq!(blocks.len(), 4);
    blocks[number]
        .replace("/srv/xspace/", "{dir}/")
        .replace("/srv/site/", "{dir}/app/")
        .replace("http://127.0.0.1:8080/", "http://unix:{dir}/app.sock:/")
        .replace("unix:/run/php/php-fpm.sock", "unix:{dir}/app.sock")
        // Applications start slowly on a busy machine.
        .replace("timeout 2s;", "timeout 60s;")
        .replace("timeout 5s;", "timeout 60s;")
}

fn site() -> Site {
    let site = Site::new()
        .http("log_format lookups '$uri $upstream_status $upstream_bytes_received';")
        .http("access_log {dir}/access.log lookups; log_subrequest on;")
        .file(&format!("downloads/{ID}.mp3"), bytes(1, SIZE))
        .file(&format!("downloads/{OPEN}.mp3"), bytes(2, SIZE))
        .file(&format!("downloads/{NAMED}.mp3"), bytes(3, SIZE));
    site.make_dir("app");
    site.make_dir("none");
    site
}

/// nginx by the documentation, and an application that is started without recordings. `lookup` is
/// the number of the block with its location of the lookup.
fn after(lookup: Option<usize>, start: impl Fn(&Site, &Path) -> Program) -> (Nginx, Program) {
    let mut configuration = block(1);
    if let Some(number) = lookup {
        let (download, rest) = configuration.split_once("location = ").expect("the lookup");
        let (_, target) = rest.split_once("\n}\n").expect("its end");
        configuration = format!("{download}{}{target}", block(number));
    }
    let mut site = site().server(&configuration);
    site.write("fastcgi_params", FASTCGI_PARAMS);
    let checked = site.check();
    assert!(checked.ok && !checked.output.contains("[warn]"), "{}", checked.output);
    let application = start(&site, &site.dir().join("none"));
    (site.start(), application)
}

/// A request by a user.
fn get(nginx: &Nginx, path: &str, user: &str, range: Option<&str>) -> Response {
    let mut request = Request::get(&format!("/download/{path}"));
    if !user.is_empty() {
        request = request.header("Cookie", &format!("user={user}"));
    }
    if let Some(range) = range {
        request = request.range(range);
    }
    nginx.send(Protocol::Http1, &request)
}

impl Route {
    /// Starts the application before the change, and that after it, which has no recordings; then
    /// compares. `start` gets 0 or 1, the number of the route.
    fn migrate(&self, start: impl Fn(&Site, usize, &Path) -> Program) {
        self.is_on_the_page();
        let before = site()
            .server(&format!("location / {{ {} }}", self.pass))
            .server("location ^~ /downloads/ { internal; alias {dir}/downloads/; }");
        let _before = start(&before, 0, &before.dir().join("downloads"));
        let before = before.start();
        let lookup = match self.name.split(',').next() {
            Some("PHP") => Some(2),
            Some("Laravel") => Some(3),
            _ => None,
        };
        let (after, _after) = after(lookup, |site, downloads| start(site, 1, downloads));

        for user in ["alice", "bob", ""] {
            for (id, seed) in [(ID, 1), (OPEN, 2), (MISSING, 0), (UNKNOWN, 0)] {
                for suffix in ["", "?attachment=1"] {
                    self.compare(&before, &after, &format!("{id}{suffix}"), user, seed);
                }
            }
        }
        self.names(&before, &after);
        self.formats(&after);
        assert_eq!(own_errors(&after), Vec::<String>::new());
        assert_few_bytes(&after);
        self.public();
    }

    /// The page has a row of its table for this route.
    #[track_caller]
    fn is_on_the_page(&self) {
        let page = fs::read_to_string(project_dir().join(PAGE)).expect("the page");
        let cell = |value: &str| match value {
            "" => "none".to_owned(),
            value => format!("`{value}`"),
        };
        let (before, after) = self.caching;
        let before: Vec<String> = before.iter().map(|value| cell(value)).collect();
        let before = before.join(" or ");
        let row = format!("| {} | {} | {before} | {} |\n", self.name, self.ranges, cell(after));
        assert!(page.contains(&row), "{row}");
    }

    fn compare(&self, before: &Nginx, after: &Nginx, path: &str, user: &str, seed: u64) {
        let id = path.split('?').next().expect("an id");
        let status = match (id, user) {
            (OPEN, _) => 200,
            (UNKNOWN, _) => 404,
            (_, "") => self.unauthorized,
            (_, "bob") => 403,
            (MISSING, _) => 404,
            _ => 200,
        };
        let sides = [before, after];
        let [old, new] = sides.map(|nginx| get(nginx, path, user, None));
        let what = format!("{}, {path}, {user:?}: {old:?} {new:?}", self.name);
        assert_eq!((old.status, new.status), (status, status), "{what}");
        if status != 200 {
            assert_no_recording(&new, status, &what);
            return;
        }
        let recording = bytes(seed, SIZE);
        same_bytes(&old.body, &recording, &what);
        same_bytes(&new.body, &recording, &what);
        assert_eq!(new.header("content-type"), Some("audio/mpeg"), "{what}");
        assert_eq!(old.header("content-type"), Some("audio/mpeg"), "{what}");
        // Rails sends every name in both forms.
        let [old_name, new_name] = [&old, &new].map(|answer| {
            let name = answer.header("content-disposition").expect("a name");
            name.split("; filename*=").next()
        });
        assert_eq!(new_name, old_name, "{what}");
        let caching = [&old, &new].map(|answer| answer.header("cache-control").unwrap_or_default());
        assert!(self.caching.0.contains(&caching[0]), "{what}");
        assert_eq!(caching[1], self.caching.1, "{what}");
        // With X-Accel-Redirect, nginx has left them out before.
        let has_own = ["Django, `FileResponse`", "Rails, `send_file`"].contains(&self.name);
        let own = [&old, &new].map(|answer| answer.header("x-content-type-options").is_some());
        assert_eq!(own, [has_own, false], "{what}");

        // A seek.
        let [old, new] = sides.map(|nginx| get(nginx, path, user, Some("bytes=700000-700999")));
        let what = format!("{}, {path}, {user:?}: {old:?} {new:?}", self.name);
        let part = &recording[700_000..701_000];
        assert_eq!((new.status, &new.body[..]), (206, part), "{what}");
        if self.ranges.starts_with("206") {
            assert_eq!((old.status, &old.body[..]), (206, part), "{what}");
            // The ETag of nginx is made of time and size in hexadecimal digits.
            let is_by_nginx = old.header("etag").is_some_and(|etag| !etag.starts_with("W/"));
            assert_eq!(is_by_nginx, self.ranges.ends_with("nginx"), "{what}");
            if let Some(etag) = old.header("etag").filter(|_| !is_by_nginx) {
                // A download goes on with what it knows.
                let request = Request::get(&format!("/download/{OPEN}")).range("bytes=5-9");
                let request = request.header("If-Range", etag);
                assert_eq!(after.send(Protocol::Http1, &request).status, 200, "{what}");
            }
        } else {
            assert_eq!((old.status, old.body.len()), (200, SIZE), "{what}");
        }
    }

    /// A title that is not ASCII.
    fn names(&self, before: &Nginx, after: &Nginx) {
        let [old, new] = [before, after].map(|nginx| get(nginx, NAMED, "", None));
        let what = format!("{}: {old:?} {new:?}", self.name);
        let is_express = self.name.starts_with("Express");
        assert_eq!(old.status, if is_express { 500 } else { 200 }, "{what}");
        assert_eq!(new.status, 200, "{what}");
        let encoded = format!("filename*=UTF-8''%E6%9D%B1%E4%BA%AC_{NAMED}.mp3");
        let name = new.header("content-disposition").unwrap_or_default();
        assert!(name.ends_with(&encoded), "{what}");
    }

    /// A format that is requested, which the lookup has as an argument.
    fn formats(&self, after: &Nginx) {
        for path in [format!("{ID}.mp3"), format!("{ID}?format=mp3"), format!("{ID}?format=audio")]
        {
            let response = get(after, &path, "alice", Some("bytes=0-9"));
            assert_eq!(response.status, 206, "{}, {path}: {response:?}", self.name);
        }
    }

    /// Without an application.
    fn public(&self) {
        let mut site = site().server(&block(0));
        let checked = site.check();
        assert!(checked.ok && !checked.output.contains("[warn]"), "{}", checked.output);
        let nginx = site.start();
        let response = get(&nginx, ID, "", None);
        assert_eq!(response.header("cache-control"), Some("no-cache"));
        same_bytes(&response.body, &bytes(1, SIZE), self.name);
        assert_eq!(get(&nginx, ID, "", Some("bytes=5-9")).status, 206);
    }
}

/// No byte of a recording came from the application.
#[track_caller]
fn assert_few_bytes(nginx: &Nginx) {
    let log = nginx.log_lines("access.log", 1).join("\n");
    let mut lookups = 0;
    for line in log.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let [uri, _, received] = fields[..] else { panic!("{line}") };
        if uri == "/_space" {
            lookups += 1;
            let received: u32 = received.parse().unwrap_or_else(|_| panic!("{line}"));
            // Laravel has pages for errors.
            assert!(received < 10_000, "{line}");
        } else {
            assert_eq!(received, "-", "{line}");
        }
    }
    assert!(lookups >= 24, "{log}");
}

/// A program with the application's socket.
fn start(mut command: Command, site: &Site) -> Program {
    command.current_dir(site.dir().join("app"));
    Program::start(command, Address::from(&*site.dir().join("app.sock")))
}

const HTTP: &str = "proxy_pass http://unix:{dir}/app.sock:; proxy_set_header Host $host;";

/* Django */

const DJANGO: &str = r#"
import re
from pathlib import Path

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.core.wsgi import get_wsgi_application
from django.http import FileResponse, Http404, JsonResponse
from django.urls import path

settings.configure(
    ALLOWED_HOSTS=["localhost", "127.0.0.1"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="of the test",
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
    ],
)
application = get_wsgi_application()
DOWNLOADS = Path("{DOWNLOADS}")
SPACES = {"{ID}": {"title": "Rust: in production", "owner": "alice"},
          "{OPEN}": {"title": "For everybody", "owner": None},
          "{NAMED}": {"title": "東京", "owner": None},
          "{MISSING}": {"title": "No file", "owner": "alice"}}


def authorized(request, space_id):
    if space_id not in SPACES:
        raise Http404
    space = SPACES[space_id]
    if space["owner"] not in (None, request.COOKIES.get("user")):
        raise PermissionDenied
    return space


"#;

fn django(site: &Site, code: &str, downloads: &Path) -> Program {
    site.write("app/views.py", format!("{}{code}", fill_in(DJANGO, downloads)));
    let address = Address::from(&*site.dir().join("app.sock"));
    // gunicorn listens before its workers have imported the application, unless that is preloaded.
    let options = ["--workers", "2", "--preload"];
    start(gunicorn(&options, &site.dir().join("app"), "views:application", &address, &[]), site)
}

#[test]
#[ignore = "needs Django: make suite-frameworks"]
fn django_file_response() {
    let route = Route {
        name: "Django, `FileResponse`",
        ranges: "200, all of the recording",
        caching: (&[""], "private, no-cache"),
        unauthorized: 403,
        pass: HTTP,
    };
    route.migrate(|site, number, downloads| django(site, &snippet("python", number), downloads));
}

/// HTTPS is asked for, which nginx alone speaks.
#[track_caller]
fn assert_https_only(nginx: &Nginx) {
    let request = Request::get(&format!("/download/{OPEN}")).range("bytes=0-9");
    for (protocol, status) in [(Protocol::Http1, 502), (Protocol::Http2, 206)] {
        let response = nginx.send(protocol, &request);
        assert_eq!(response.status, status, "{protocol:?}: {response:?}");
    }
}

#[test]
#[ignore = "needs Django: make suite-frameworks"]
fn django_redirects_to_https() {
    let (nginx, _django) = after(None, |site, downloads| {
        let settings = "
settings.SECURE_SSL_REDIRECT = True
settings.SECURE_PROXY_SSL_HEADER = (\"HTTP_X_FORWARDED_PROTO\", \"https\")
application = get_wsgi_application()
";
        django(site, &format!("{}{settings}", snippet("python", 1)), downloads)
    });
    assert_https_only(&nginx);
}

/// Django REST framework looks for a renderer for `format`.
#[test]
#[ignore = "needs Django: make suite-frameworks"]
fn django_rest_framework_without_format() {
    let view = snippet("python", 1)
        .replace("def lookup", "@rest_framework.decorators.api_view()\ndef lookup")
        .replace("return JsonResponse(", "return rest_framework.response.Response(");
    for (override_, status) in [("\"format\"", 404), ("None", 206)] {
        let settings = format!(
            "settings.REST_FRAMEWORK = {{\"URL_FORMAT_OVERRIDE\": {override_},
    \"DEFAULT_AUTHENTICATION_CLASSES\": [], \"UNAUTHENTICATED_USER\": None}}
import rest_framework.decorators
import rest_framework.response

"
        );
        let (nginx, _django) =
            after(None, |site, downloads| django(site, &format!("{settings}{view}"), downloads));
        let response = get(&nginx, &format!("{OPEN}?format=mp3"), "", Some("bytes=0-9"));
        assert_eq!(response.status, status, "{override_}: {response:?}");
        let response = get(&nginx, OPEN, "", Some("bytes=0-9"));
        assert_eq!(response.status, 206, "{override_}: {response:?}");
    }
}

/* Rails */

const RAILS: &str = r#"
require "action_controller/railtie"

class Site < Rails::Application
  config.eager_load = false
  config.secret_key_base = "of the test"
  config.logger = Logger.new($stderr)
  config.consider_all_requests_local = false
  # config.action_dispatch.x_sendfile_header = "X-Accel-Redirect"
  routes.append do
    get "download/:id", to: "recordings#download"
    get "lookup", to: "recordings#lookup"
  end
end

DOWNLOADS = Pathname("{DOWNLOADS}")
Space = Struct.new(:id, :title, :owner)
SPACES = [Space.new("{ID}", "Rust: in production", "alice"),
          Space.new("{OPEN}", "For everybody", nil),
          Space.new("{NAMED}", "東京", nil),
          Space.new("{MISSING}", "No file", "alice")]

class Refused < StandardError
  attr_reader :status

  def initialize(status)
    @status = status
  end
end

class RecordingsController < ActionController::Base
  rescue_from(Refused) { |refused| head refused.status }

  private def authorized(id)
    space = SPACES.find { |space| space.id == id } or raise Refused, 404
    return space if space.owner.nil?

    user = cookies[:user] or raise Refused, 401
    user == space.owner ? space : raise(Refused, 403)
  end

"#;

fn rails(site: &Site, code: &str, downloads: &Path, has_accel: bool) -> Program {
    let mut prelude = fill_in(RAILS, downloads);
    if has_accel {
        prelude = prelude.replace("# config.action_dispatch", "config.action_dispatch");
    }
    site.write("app/config.ru", format!("{prelude}{code}end\n\nSite.initialize!\nrun Site\n"));
    let mut command = Command::new("/usr/bin/puma");
    command
        .args(["--environment", "production", "--threads", "2:4", "--bind"])
        .arg(format!("unix://{}?umask=0000", site.dir().join("app.sock").display()));
    start(command, site)
}

#[test]
#[ignore = "needs Rails: make suite-frameworks"]
fn rails_send_file() {
    for has_accel in [false, true] {
        let route = Route {
            name: if has_accel {
                "Rails, `send_file` with `x_sendfile_header`"
            } else {
                "Rails, `send_file`"
            },
            ranges: if has_accel { "206, by nginx" } else { "200, all of the recording" },
            caching: (&["private", "no-cache"], "max-age=0, private, must-revalidate"),
            unauthorized: 401,
            pass: "proxy_pass http://unix:{dir}/app.sock:; proxy_set_header Host $host;
                   proxy_set_header X-Accel-Mapping {dir}/downloads/=/downloads/;",
        };
        route.migrate(|site, number, downloads| {
            rails(site, &snippet("ruby", number), downloads, has_accel)
        });
    }
}

#[test]
#[ignore = "needs Rails: make suite-frameworks"]
fn rails_redirects_to_https() {
    let (nginx, _rails) = after(None, |site, downloads| {
        let code = snippet("ruby", 1) + "  Site.config.force_ssl = true\n";
        rails(site, &code, downloads, false)
    });
    assert_https_only(&nginx);
}

/// `respond_to` looks at `format`, unless the route says what it is.
#[test]
#[ignore = "needs Rails: make suite-frameworks"]
fn rails_responds_to_json() {
    let code = snippet("ruby", 1).replace("render json: { title: space.title }", RESPOND_TO);
    assert!(code.contains(RESPOND_TO));
    for (defaults, status) in [("", 502), (", defaults: { format: :json }", 206)] {
        let (nginx, _rails) = after(None, |site, downloads| {
            let route = "to: \"recordings#lookup\"";
            let code =
                format!("{code}\n  Site.routes.prepend {{ get \"lookup\", {route}{defaults} }}\n");
            rails(site, &code, downloads, false)
        });
        let response = get(&nginx, &format!("{OPEN}?format=mp3"), "", Some("bytes=0-9"));
        assert_eq!(response.status, status, "{defaults}: {response:?}");
    }
}

const RESPOND_TO: &str =
    "respond_to { |format| format.json { render json: { title: space.title } } }";

/* PHP */

const PHP: &str = r#"<?php
const DOWNLOADS = '{DOWNLOADS}';
const SPACES = ['{ID}' => ['title' => 'Rust: in production', 'owner' => 'alice'],
                '{OPEN}' => ['title' => 'For everybody', 'owner' => null],
                '{NAMED}' => ['title' => '東京', 'owner' => null],
                '{MISSING}' => ['title' => 'No file', 'owner' => 'alice']];

function refuse(int $status): never
{
    http_response_code($status);
    exit;
}

function authorized(string $id): array
{
    $space = SPACES[$id] ?? refuse(404);
    if ($space['owner'] !== null) {
        $user = $_COOKIE['user'] ?? refuse(401);
        $user === $space['owner'] || refuse(403);
    }
    return ['id' => $id] + $space;
}

"#;

/// As nginx has it, as far as it matters here.
pub const FASTCGI_PARAMS: &str = "
fastcgi_param QUERY_STRING $query_string;
fastcgi_param REQUEST_METHOD $request_method;
fastcgi_param CONTENT_TYPE $content_type;
fastcgi_param CONTENT_LENGTH $content_length;
fastcgi_param SCRIPT_NAME $fastcgi_script_name;
fastcgi_param REQUEST_URI $request_uri;
fastcgi_param SERVER_PROTOCOL $server_protocol;
";

fn php(site: &Site, code: &str, downloads: &Path) -> Program {
    let code = format!("{}{code}", fill_in(PHP, downloads));
    for name in ["download", "lookup"] {
        site.write(&format!("app/{name}.php"), &code);
    }
    start_fpm(site)
}

/// PHP-FPM, as another user than root.
fn start_fpm(site: &Site) -> Program {
    site.write("fastcgi_params", FASTCGI_PARAMS);
    let user = if is_root() { "user = nobody\ngroup = nogroup\n" } else { "" };
    let pool = format!(
        "[global]\ndaemonize = no\nerror_log = /proc/self/fd/2\n[site]\n{user}listen = {}\n\
         listen.mode = 0666\npm = static\npm.max_children = 2\n",
        site.dir().join("app.sock").display()
    );
    let pool = site.write("php-fpm.conf", pool);
    let programs = fs::read_dir("/usr/sbin").expect("a directory").flatten();
    let is_fpm = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("php-fpm"))
    };
    let newest = programs.map(|entry| entry.path()).filter(is_fpm).max();
    let mut command = Command::new(newest.expect("PHP-FPM is installed"));
    command.arg("--fpm-config").arg(pool);
    start(command, site)
}

#[test]
#[ignore = "needs PHP-FPM: make suite-frameworks"]
fn php_readfile_and_x_accel_redirect() {
    for has_accel in [false, true] {
        let route = Route {
            name: if has_accel { "PHP, `X-Accel-Redirect`" } else { "PHP, `readfile`" },
            ranges: if has_accel { "206, by nginx" } else { "200, all of the recording" },
            caching: (&[""], "private, no-cache"),
            unauthorized: 401,
            pass: "rewrite ^/download/(.*)$ /download.php?id=$1;
                   include fastcgi_params;
                   fastcgi_pass unix:{dir}/app.sock;
                   fastcgi_param SCRIPT_FILENAME {dir}/app/download.php;",
        };
        route.migrate(|site, number, downloads| {
            let mut code = snippet("php", number);
            if number == 0 && has_accel {
                code = with_accel(&code);
            }
            php(site, &code, downloads)
        });
    }
}

/// What a session sends for caches.
#[test]
#[ignore = "needs PHP-FPM: make suite-frameworks"]
fn php_session() {
    let page = fs::read_to_string(project_dir().join(PAGE)).expect("the page");
    let (_, call) = page.split_once("`session_start([").expect("the call");
    let (call, _) = call.split_once('`').expect("its end");
    for (call, expected) in [
        ("session_start()", "no-store, no-cache, must-revalidate"),
        (&format!("session_start([{call}"), "private, no-cache"),
    ] {
        let (nginx, _php) = after(Some(2), |site, downloads| {
            let sessions = format!("ini_set('session.save_path', '{}');", downloads.display());
            site.chmod("none", 0o777);
            php(site, &format!("{sessions}\n{call};\n{}", snippet("php", 1)), downloads)
        });
        let response = get(&nginx, OPEN, "", Some("bytes=0-9"));
        assert_eq!(response.status, 206, "{call}: {response:?}");
        assert_eq!(response.header("cache-control"), Some(expected), "{call}");
    }
}

/// The route with the line of the page in place of two others.
fn with_accel(code: &str) -> String {
    let page = fs::read_to_string(project_dir().join(PAGE)).expect("the page");
    let (_, line) = page.split_once("- With `header(\"X-Accel").expect("the line");
    let (line, _) = line.split_once('`').expect("its end");
    let is_kept = |line: &&str| !line.contains("Content-Length") && !line.contains("readfile");
    let kept: Vec<&str> = code.lines().filter(is_kept).collect();
    format!("{}\nheader(\"X-Accel{line};\n", kept.join("\n"))
}

const LARAVEL: &str = r#"<?php
require '/usr/share/php/Illuminate/autoload.php';

use Illuminate\Contracts\Debug\ExceptionHandler;
use Illuminate\Contracts\Http\Kernel;
use Illuminate\Http\Request;
use Illuminate\Support\Facades\Route;

const DOWNLOADS = '{DOWNLOADS}';
const SPACES = ['{ID}' => ['title' => 'Rust: in production', 'owner' => 'alice'],
                '{OPEN}' => ['title' => 'For everybody', 'owner' => null],
                '{NAMED}' => ['title' => '東京', 'owner' => null],
                '{MISSING}' => ['title' => 'No file', 'owner' => 'alice']];

function authorized(Request $request, string $id): array
{
    $space = SPACES[$id] ?? abort(404);
    $user = $request->cookie('user');
    abort_if($space['owner'] !== null && $user === null, 401);
    abort_if($space['owner'] !== null && $user !== $space['owner'], 403);
    return $space;
}

$app = new Illuminate\Foundation\Application(dirname(__DIR__));
$app->singleton(Kernel::class, Illuminate\Foundation\Http\Kernel::class);
$app->singleton(ExceptionHandler::class, Illuminate\Foundation\Exceptions\Handler::class);
$kernel = $app->make(Kernel::class);
$kernel->bootstrap();

"#;

const LARAVEL_END: &str = "
$kernel->handle(Request::capture())->send();
";

const LARAVEL_CONFIG: &str = r"<?php
return [
    'env' => 'production',
    'url' => 'http://localhost',
    'timezone' => 'UTC',
    'locale' => 'en',
    'fallback_locale' => 'en',
    'aliases' => [],
    'providers' => [
        Illuminate\Filesystem\FilesystemServiceProvider::class,
        Illuminate\Foundation\Providers\FoundationServiceProvider::class,
        Illuminate\Translation\TranslationServiceProvider::class,
        Illuminate\View\ViewServiceProvider::class,
    ],
];
";

fn laravel(site: &Site, number: usize, downloads: &Path) -> Program {
    let code = format!("{}{}{LARAVEL_END}", fill_in(LARAVEL, downloads), snippet("php", number));
    site.write("app/public/index.php", code);
    site.write("app/config/app.php", LARAVEL_CONFIG);
    let views = site.make_dir("app/views");
    let view = format!("<?php return ['paths' => [], 'compiled' => '{}'];", views.display());
    site.write("app/config/view.php", view);
    for dir in ["app/views", "app/bootstrap/cache"] {
        site.make_dir(dir);
        site.chmod(dir, 0o777);
    }
    start_fpm(site)
}

#[test]
#[ignore = "needs Laravel: make suite-frameworks"]
fn laravel_file() {
    let route = Route {
        name: "Laravel, `response()->file()`",
        ranges: "206, by PHP",
        caching: (&["public"], "no-cache, private"),
        unauthorized: 401,
        pass: "include fastcgi_params;
               fastcgi_pass unix:{dir}/app.sock;
               fastcgi_param SCRIPT_NAME /index.php;
               fastcgi_param SCRIPT_FILENAME {dir}/app/public/index.php;",
    };
    route.migrate(|site, number, downloads| laravel(site, number + 2, downloads));
}

/* Express */

const EXPRESS: &str = r#"
const express = require('express')
const DOWNLOADS = '{DOWNLOADS}'
const SPACES = [{ id: '{ID}', title: 'Rust: in production', owner: 'alice' },
                { id: '{OPEN}', title: 'For everybody', owner: null },
                { id: '{NAMED}', title: '東京', owner: null },
                { id: '{MISSING}', title: 'No file', owner: 'alice' }]
const refusal = (status) => Object.assign(new Error(), { status })

function authorized(req, id) {
  const space = SPACES.find((space) => space.id === id)
  if (!space) throw refusal(404)
  const cookie = req.headers.cookie || ''
  if (space.owner && !cookie) throw refusal(401)
  if (space.owner && cookie !== `user=${space.owner}`) throw refusal(403)
  return space
}

const app = express()
"#;

fn express(site: &Site, number: usize, downloads: &Path) -> Program {
    let code = snippet("js", number);
    let end = "process.umask(0)\napp.listen('../app.sock')\n";
    site.write("app/app.js", format!("{}{code}{end}", fill_in(EXPRESS, downloads)));
    let mut command = Command::new("node");
    command
        .arg("app.js")
        .env("NODE_ENV", "production")
        .env("NODE_PATH", project_dir().join("build/npm/tests/frameworks/node_modules"));
    start(command, site)
}

#[test]
#[ignore = "needs Express: make suite-frameworks"]
fn express_send_file() {
    let route = Route {
        name: "Express, `sendFile`",
        ranges: "206, by Node.js",
        caching: (&["public, max-age=0"], "private, no-cache"),
        unauthorized: 401,
        pass: HTTP,
    };
    route.migrate(express);
}

//! Locations that have nothing to do with the module answer as if it were not there: byte for byte
//! what an nginx says that has not loaded it.

use xspace_tests::{Nginx, Protocol, Request, Site, build, bytes};

/// What both have. `{files}` is the directory of the files that they share.
const LOCATIONS: &str = r#"
    location / { root {files}/html; }
    server_name_in_redirect on;
    port_in_redirect off;
    error_page 404 /missing.html;
    error_page 500 502 503 504 /broken.html;
    location = /missing.html { internal; root {files}/html; }
    location = /broken.html { internal; root {files}/html; }
    location /static/ { alias {files}/static/; autoindex on; expires max; }
    location /plain/ { alias {files}/static/; add_header X-A a always; default_type text/x-odd; }
    location /gz/ { alias {files}/static/; gzip on; gzip_min_length 10; gzip_types *; }
    location /slow/ { alias {files}/static/; limit_rate 200k; max_ranges 1; }
    location /denied/ { deny all; }
    location /locked/ { auth_basic closed; auth_basic_user_file {files}/htpasswd; }
    location /moved { return 301 /static/page.html; }
    location /elsewhere { return 302 http://example.org/x?y=$arg_y; }
    location /text { return 200 "text $uri $args\n"; }
    location /gone { return 410; }
    location /teapot { return 418 "short and stout"; }
    location /closed { return 444; }
    location /old/ { rewrite ^/old/(.*)$ /static/$1 last; }
    location /older/ { rewrite ^/older/(.*)$ /static/$1 permanent; }
    location /try/ { try_files $uri /static/page.html; }
    location /try-not/ { try_files $uri =404; }
    location /try-named/ { try_files $uri @named; }
    location @named { return 200 "named $uri\n"; }
    location /proxied/ { proxy_pass http://127.0.0.1:{other}/; }
    location /kept/ { proxy_pass http://127.0.0.1:{other}/; proxy_intercept_errors on; }
    location /nobody/ { proxy_pass http://127.0.0.1:1/; }
    location /accel/ { proxy_pass http://127.0.0.1:{other}/accel/; }
    location /internal/ { internal; alias {files}/static/; }
    location /asked/ { auth_request /may; alias {files}/static/; }
    location /refused/ { auth_request /may-not; alias {files}/static/; }
    location = /may { return 204; }
    location = /may-not { return 403; }
    location /handed/ { error_page 404 = @named; alias {files}/static/; }
    location /loop/ { rewrite ^ /loop/x last; }
    location ~ \.odd$ { return 200 "odd\n"; }
    location /if/ { if ($arg_x) { return 402; } alias {files}/static/; }
    location /put/ { limit_except GET { deny all; } alias {files}/static/; }
"#;

const APPLICATION: &str = r#"
    server {
        listen 127.0.0.1:{other};
        root {files}/static;
        location /cookie { add_header Set-Cookie "a=b"; return 200 "cookie\n"; }
        location /status/404 { return 404 "no such thing\n"; }
        location /status/500 { return 500 "trouble\n"; }
        location /accel/ {
            add_header X-Accel-Redirect /internal/talk.mp3;
            add_header Content-Disposition "attachment; filename=theirs.mp3";
            default_type audio/x-theirs;
            return 200 "";
        }
        location /redirect { return 302 /static/; }
    }
"#;

/// What the module has to do elsewhere in the same server.
const MODULE: &str = "
    xspace_formats mp3 mp4;
    xspace_min_size 1;
    location ^~ /download/ { xspace_download /downloads/; }
    location ^~ /downloads/ { internal; alias {files}/static/; }
";

const PATHS: [&str; 50] = [
    "/",
    "/index.html",
    "/nothing",
    "/static",
    "/static/",
    "/static/page.html",
    "/static/talk.mp3",
    "/static/empty",
    "/static/nothing",
    "/static/page.html/",
    "/static/%70age.html",
    "/static/../index.html",
    "/static//page.html",
    "/static/page.html?x=1",
    "/plain/page.html",
    "/plain/talk.mp3",
    "/plain/nothing",
    "/gz/page.html",
    "/slow/talk.mp3",
    "/denied/x",
    "/locked/x",
    "/moved",
    "/elsewhere?y=1",
    "/text?a=b",
    "/gone",
    "/teapot",
    "/old/talk.mp3",
    "/old/nothing",
    "/older/talk.mp3",
    "/try/nothing",
    "/try-not/nothing",
    "/try-named/nothing",
    "/proxied/page.html",
    "/proxied/talk.mp3",
    "/proxied/nothing",
    "/proxied/cookie",
    "/proxied/status/500",
    "/proxied/redirect",
    "/kept/status/404",
    "/nobody/x",
    "/accel/x",
    "/internal/talk.mp3",
    "/asked/talk.mp3",
    "/refused/talk.mp3",
    "/handed/nothing",
    "/loop/x",
    "/x.odd",
    "/if/page.html?x=1",
    "/if/page.html",
    "/put/page.html",
];

/// Methods and fields that go with each path.
const WAYS: [(&str, &str, &str); 16] = [
    ("GET", "", ""),
    ("HEAD", "", ""),
    ("OPTIONS", "", ""),
    ("POST", "", ""),
    ("DELETE", "", ""),
    ("GET", "Range", "bytes=0-9"),
    ("GET", "Range", "bytes=-5"),
    ("GET", "Range", "bytes=0-0,2-3"),
    ("GET", "Range", "bytes=99999999-"),
    ("GET", "Range", "nonsense"),
    ("GET", "If-None-Match", "*"),
    ("GET", "If-Modified-Since", "Fri, 01 Jan 2100 00:00:00 GMT"),
    ("GET", "If-Match", "\"nothing\""),
    ("GET", "Accept-Encoding", "gzip"),
    ("GET", "Authorization", "Basic eDp4"),
    ("HEAD", "Range", "bytes=0-9"),
];

/// Requests that no client library would send.
const ODD: [&str; 12] = [
    "GET / HTTP/1.0\r\n\r\n",
    "GET /static/page.html HTTP/1.0\r\n\r\n",
    "GET /static/page.html\r\n",
    "GET / HTTP/1.1\r\n\r\n",
    "GET / HTTP/3.0\r\nHost: x\r\n\r\n",
    "GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n",
    "GET /../ HTTP/1.1\r\nHost: x\r\n\r\n",
    "NONSENSE\r\n\r\n",
    "GET /text HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n",
    "GET /text HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: odd\r\n\r\n",
    "GET /closed HTTP/1.1\r\nHost: x\r\n\r\n",
    "POST /static/page.html HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc",
];

fn site(files: &str, more: &str) -> Site {
    let with = |text: &str| text.replace("{files}", files);
    Site::new()
        .http(&with(APPLICATION))
        .http("log_format same '$status $body_bytes_sent $request $sent_http_content_type';")
        .http("access_log {dir}/access.log same;")
        .server(&with(LOCATIONS))
        .server(&with(more))
}

/// The bytes of an answer but for the date.
fn raw(nginx: &Nginx, request: &str) -> String {
    let mut connection = nginx.raw();
    connection.write(request);
    if !request.contains("close") {
        connection.end_writing();
    }
    let answer = connection.read_whatever_comes();
    let text: String = answer.iter().map(|&b| char::from(b)).collect();
    text.split_inclusive("\r\n").filter(|line| !line.starts_with("Date: ")).collect()
}

#[test]
fn other_locations_answer_as_without_the_module() {
    if build().module.is_none() {
        // There is no such nginx without it.
        return;
    }
    let files = Site::new()
        .file("html/index.html", "<h1>index</h1>")
        .file("html/missing.html", "<h1>missing</h1>")
        .file("html/broken.html", "<h1>broken</h1>")
        .file("static/page.html", "a page\n".repeat(200))
        .file("static/talk.mp3", bytes(1, 30_000))
        .file("static/empty", "")
        .file("htpasswd", "x:{PLAIN}x\n");
    let shared = files.dir().to_str().expect("UTF-8").to_owned();
    let plain = site(&shared, "").without_module().start();
    let loaded = site(&shared, MODULE).start();
    let (plain_dir, loaded_dir) = (plain.dir().to_owned(), loaded.dir().to_owned());

    let mut compared = 0;
    for path in PATHS {
        for (method, name, value) in WAYS {
            let field =
                if name.is_empty() { String::new() } else { format!("{name}: {value}\r\n") };
            let request = format!(
                "{method} {path} HTTP/1.1\r\nHost: localhost\r\n{field}Connection: close\r\n\r\n"
            );
            assert_eq!(raw(&loaded, &request), raw(&plain, &request), "{request}");
            compared += 1;
        }
    }
    for request in ODD {
        assert_eq!(raw(&loaded, request), raw(&plain, request), "{request}");
        compared += 1;
    }
    for protocol in plain.protocols().into_iter().filter(|&p| p != Protocol::Http1) {
        for path in PATHS {
            let mut request = Request::get(path);
            if compared % 2 == 0 {
                request = request.range("bytes=1-20");
            }
            let [with, without] = [&loaded, &plain].map(|nginx| nginx.send(protocol, &request));
            assert_eq!(with.status, without.status, "{protocol:?} {path}");
            assert_eq!(with.lasting_headers(), without.lasting_headers(), "{protocol:?} {path}");
            assert_eq!(with.body, without.body, "{protocol:?} {path}");
            compared += 1;
        }
    }
    println!("{compared} answers compared");

    // What they say of it in their logs is the same as well.
    let logs = [&plain_dir, &loaded_dir].map(|dir| dir.join("access.log"));
    let [one, two] = logs.map(|log| std::fs::read_to_string(log).expect("an access log"));
    assert_eq!(one.lines().count(), two.lines().count());
    for (without, with) in one.lines().zip(two.lines()) {
        assert_eq!(with, without);
    }
}

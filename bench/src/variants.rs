//! The ways to serve a recording that are compared: each set up as its own users would do it, on
//! the same nginx and the same files.
//!
//! To compare one more, add it here and to the table at the start of a part.

use std::fs::{self, Permissions, hard_link};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use xspace_tests::{Address, LinkKey, RawConnection, Site, StoreKey, bytes, lmdb_load};

use crate::catalog::data;
use crate::site::site;
use crate::workbench::{Result, Workbench};

/// The space that is asked for.
pub const ID: &str = "1lDxLnrWjwkGm";

/// The length of a recording, in bytes.
pub const RECORDING_LEN: usize = 4 * 1024 * 1024;

/// Where the ranges begin that are asked for.
pub const RANGE_START: usize = 64 * 1024;

/// Which nginx a variant runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// The one of this project.
    Bundled,
    /// Debian's, for which there are packages with lua and njs.
    Debian,
}

/// The modules that a variant loads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Modules {
    None,
    Ours,
    Lua,
    Njs,
}

/// A way to serve a recording.
#[derive(Clone, Copy, Debug)]
pub struct Variant {
    /// What tables call it.
    pub name: &'static str,
    pub on: On,
    pub modules: Modules,
    /// Inside `server {}`: `{dir}` is the directory of the recordings, `{fourth}` one with
    /// recordings in the last format, `{catalog}` the catalog, `{keys}` the keys of links,
    /// `{credentials}` those of an object store, `{app}` where the application is,
    /// `{padding}` the field of padding where a location has an `add_header` of its own and so
    /// inherits none.
    pub locations: &'static str,
    /// What is asked for.
    pub uri: &'static str,
    /// The value of `Cookie`; empty: none.
    pub cookie: &'static str,
    /// Whether nginx has an `open_file_cache`.
    pub cached: bool,
}

impl Variant {
    /// Whether an application is asked.
    pub fn has_application(&self) -> bool {
        self.locations.contains("{app}")
    }
}

/// The limit: nginx's static module, which is told the file's name.
pub const STATIC: &str = "location ^~ /static/ { alias {dir}/; }";

/// The field that the module sets for a space with a title, as nginx's own directive has it.
const NAMED: &str = r#"
location ^~ /static/ {
    alias {dir}/;
    add_header Content-Disposition "inline; filename=\"Rust-in-production_1lDxLnrWjwkGm.mp3\"";
    {padding}
}"#;

/// The same behind nginx's own redirect.
const REWRITTEN: &str = r#"
location ^~ /download/ { rewrite ^/download/(.*)$ /downloads/$1.mp3 last; }
location ^~ /downloads/ {
    internal;
    alias {dir}/;
    add_header Content-Disposition "inline; filename=\"Rust-in-production_1lDxLnrWjwkGm.mp3\"";
    {padding}
}"#;

/// No module at all. The file name is right for the first format only.
const TRY_FILES: &str = r#"
location ~ "^/download/(?<space>[A-Za-z0-9_-]{1,128})$" {
    root {dir};
    try_files /$space.mp3 /$space.m4a /$space.wav /$space.mp4 =404;
    add_header Content-Disposition "inline; filename=\"$space.mp3\"";
    {padding}
}"#;

/// Authorization by a subrequest that nginx itself answers, so it is nginx's part alone.
const AUTH_REQUEST: &str = "
location ^~ /static/ { auth_request /authorized; alias {dir}/; }
location = /authorized { internal; return 204; }";

const LUA: &str = r#"
location ^~ /downloads/ { internal; alias {dir}/; }
location ^~ /download/ {
    content_by_lua_block {
        local id = string.match(ngx.var.uri, "^/download/([%w_-]+)$")
        if not id then return ngx.exit(404) end
        for _, extension in ipairs({ "mp3", "m4a", "wav", "mp4" }) do
            local name = id .. "." .. extension
            local file = io.open("{dir}/" .. name)
            if file then
                file:close()
                ngx.header["Content-Disposition"] = "inline; filename=\"" .. name .. "\""
                return ngx.exec("/downloads/" .. name)
            end
        end
        return ngx.exit(404)
    }
}"#;

/// With `download.js`, see [`NJS_SCRIPT`].
const NJS: &str = "
location ^~ /downloads/ { internal; alias {dir}/; }
location ^~ /download/ { js_content download.serve; }";

const NJS_SCRIPT: &str = r#"
import fs from 'fs';

function serve(r) {
    const match = r.uri.match(/^\/download\/([\w-]+)$/);
    if (!match) {
        return r.return(404);
    }
    const extensions = ['mp3', 'm4a', 'wav', 'mp4'];
    for (let i = 0; i < extensions.length; i++) {
        const name = match[1] + '.' + extensions[i];
        try {
            fs.accessSync('{dir}/' + name);
        } catch (e) {
            continue;
        }
        r.headersOut['Content-Disposition'] = 'inline; filename="' + name + '"';
        return r.internalRedirect('/downloads/' + name);
    }
    r.return(404);
}

export default { serve };
"#;

const X_ACCEL: &str = "
location ^~ /downloads/ { internal; alias {dir}/; }
location ^~ /x-accel/ { proxy_pass http://{app}; }";

const SEND_FILE: &str = "location ^~ /send-file/ { proxy_pass http://{app}; }";

const DIRECTORY: &str = "
location ^~ /downloads/ { internal; alias {dir}/; }
location ^~ /download/ { xspace_download /downloads/; }";

/// What is sent never makes a play, so that each request is judged to its end.
const COUNTED: &str = "
location ^~ /downloads/ { internal; alias {dir}/; limit_rate 1000m; limit_rate_after 1000m; }
location ^~ /download/ {
    xspace_download /downloads/; xspace_stats plays; xspace_play time=4h bytes=1000g;
}";

/// The same without counting.
const NOT_COUNTED: &str = "
location ^~ /downloads/ { internal; alias {dir}/; limit_rate 1000m; limit_rate_after 1000m; }
location ^~ /download/ { xspace_download /downloads/; }";

const FOURTH: &str = "
location ^~ /downloads/ { internal; alias {fourth}/; }
location ^~ /download/ { xspace_download /downloads/; }";

const OF_CATALOG: &str = "
location ^~ /downloads/ { internal; alias {dir}/; }
location ^~ /download/ { xspace_download /downloads/; xspace_catalog {catalog}; }
location ^~ /static/ { alias {dir}/; }";

const OF_CATALOG_OFF: &str = "
location ^~ /downloads/ { internal; alias {dir}/; }
location ^~ /download/ { xspace_download /downloads/; xspace_catalog {catalog} refresh=off; }
location ^~ /static/ { alias {dir}/; }";

const OF_LMDB: &str = "
location ^~ /downloads/ { internal; alias {dir}/; }
location ^~ /download/ { xspace_download /downloads/; xspace_catalog lmdb:{lmdb}; }
location ^~ /static/ { alias {dir}/; }";

/// The same without a catalog.
const OF_NO_CATALOG: &str = "
location ^~ /downloads/ { internal; alias {dir}/; }
location ^~ /download/ { xspace_download /downloads/; }
location ^~ /static/ { alias {dir}/; }";

/// The lookup's own part: nginx answers itself.
const LOOKUP_OF_NGINX: &str = r#"
location ^~ /downloads/ { internal; alias {dir}/; }
location ^~ /download/ { xspace_download /downloads/; xspace_lookup /_space; }
location = /_space {
    internal;
    default_type application/json;
    return 200 '{"title": "Rust in production"}';
}"#;

/// As `nginx-conf/lookup.conf` has it.
const LOOKUP_OF_FLASK: &str = "
location ^~ /downloads/ { internal; alias {dir}/; }
location ^~ /download/ { xspace_download /downloads/; xspace_lookup /_space; }
location = /_space { internal; proxy_pass http://{app}/lookup; }";

/// As `nginx-conf/lookup-cached.conf` has it, but for a second only.
const CACHED_LOOKUP_OF_FLASK: &str = r#"
location ^~ /downloads/ { internal; alias {dir}/; }
location ^~ /download/ { xspace_download /downloads/; xspace_lookup /_space; }
location = /_space {
    internal;
    proxy_pass http://{app}/lookup;
    proxy_cache lookup;
    proxy_cache_key "$xspace_id\n$xspace_format\n$http_authorization\n$http_cookie";
    proxy_cache_valid 200 204 403 1s;
    proxy_ignore_headers Cache-Control Expires Vary;
    proxy_cache_lock on;
}"#;

/// As `nginx-conf/auth-request.conf` has it: the application authorizes, the directory resolves.
const AUTHORIZED_DIRECTORY: &str = "
location ^~ /downloads/ { internal; alias {dir}/; }
location ^~ /download/ { auth_request /_auth; xspace_download /downloads/; }
location = /_auth {
    internal;
    proxy_pass http://{app}/auth;
    proxy_pass_request_body off;
    proxy_set_header Content-Length \"\";
    proxy_set_header X-Space $xspace_id;
}";

/// The file of keys has [`link_key`].
const LINKED: &str = "
location ^~ /downloads/ { internal; alias {dir}/; }
location ^~ /download/ {
    xspace_download /downloads/; xspace_link $arg_token; xspace_link_keys {keys};
}";

const LINKED_WITH_SESSION: &str = "
location ^~ /downloads/ { internal; alias {dir}/; }
location ^~ /download/ {
    xspace_download /downloads/; xspace_link $arg_token; xspace_link_keys {keys};
    xspace_link_session 10m;
}";

/// As the documentation of nginx has it.
const SECURE_LINK: &str = r#"
location ^~ /downloads/ { internal; alias {dir}/; }
location ^~ /download/ {
    secure_link $arg_md5,$arg_expires;
    secure_link_md5 "$secure_link_expires$xspace_id secret";
    if ($secure_link = "") { return 403; }
    if ($secure_link = "0") { return 410; }
    xspace_download /downloads/;
}"#;

/// Authorization by a subrequest that nginx itself answers, for the directory.
const AUTH_REQUEST_DIRECTORY: &str = "
location ^~ /downloads/ { internal; alias {dir}/; }
location ^~ /download/ { auth_request /authorized; xspace_download /downloads/; }
location = /authorized { internal; return 204; }";

/// The lookup's response is in the cache of nginx; whose it is makes no difference then.
const KEPT_LOOKUP: &str = r#"
location ^~ /downloads/ { internal; alias {dir}/; }
location ^~ /download/ { xspace_download /downloads/; xspace_lookup /_space; }
location = /answer { default_type application/json; return 200 '{"title": "Rust in production"}'; }
location = /_space {
    internal;
    proxy_pass http://127.0.0.1:{port}/answer;
    proxy_cache lookup;
    proxy_cache_key "$xspace_id\n$xspace_format\n$http_authorization\n$http_cookie";
    proxy_cache_valid 200 204 403 1h;
}"#;

const STATIC_URI: &str = "/static/1lDxLnrWjwkGm.mp3";
const URI: &str = "/download/1lDxLnrWjwkGm";

const fn bundled(
    name: &'static str,
    modules: Modules,
    locations: &'static str,
    uri: &'static str,
) -> Variant {
    Variant { name, on: On::Bundled, modules, locations, uri, cookie: "", cached: false }
}

const fn ours(name: &'static str, locations: &'static str, uri: &'static str) -> Variant {
    bundled(name, Modules::Ours, locations, uri)
}

const fn cached(name: &'static str, variant: Variant) -> Variant {
    Variant { name, cached: true, ..variant }
}

const fn debian(name: &'static str, variant: Variant) -> Variant {
    Variant { name, on: On::Debian, ..variant }
}

pub const STATIC_FILES: Variant = bundled("static", Modules::None, STATIC, STATIC_URI);
pub const STATIC_NAMED: Variant =
    bundled("static, Content-Disposition", Modules::None, NAMED, STATIC_URI);
pub const REWRITTEN_NAMED: Variant =
    bundled("rewrite, Content-Disposition", Modules::None, REWRITTEN, URI);
pub const TRIED: Variant = bundled("try_files, regex location", Modules::None, TRY_FILES, URI);
pub const AUTHORIZED: Variant =
    bundled("auth_request, static", Modules::None, AUTH_REQUEST, STATIC_URI);
pub const FLASK_X_ACCEL: Variant =
    bundled("Flask, X-Accel-Redirect", Modules::None, X_ACCEL, "/x-accel/1lDxLnrWjwkGm");
pub const FLASK_SEND_FILE: Variant =
    bundled("Flask, send_file", Modules::None, SEND_FILE, "/send-file/1lDxLnrWjwkGm");
pub const DIRECTORY_FIRST: Variant = ours("directory", DIRECTORY, URI);
pub const PACED: Variant = ours("directory, limit_rate", NOT_COUNTED, URI);
pub const PLAYS_COUNTED: Variant = ours("the same, plays counted", COUNTED, URI);
pub const DIRECTORY_ATTACHMENT: Variant =
    ours("directory, ?attachment=1", DIRECTORY, "/download/1lDxLnrWjwkGm?attachment=1");
pub const DIRECTORY_FOURTH: Variant = ours("directory, fourth format", FOURTH, URI);
pub const CATALOG: Variant = ours("catalog", OF_CATALOG, URI);
pub const CATALOG_OFF: Variant = ours("catalog, refresh=off", OF_CATALOG_OFF, URI);
pub const CATALOG_BEYOND_ASCII: Variant =
    ours("catalog, title beyond ASCII", OF_CATALOG, "/download/1YqKDqWqdPLGV");
/// With threads, some of the C library's functions take more instructions, whoever calls them.
pub const STATIC_BESIDE_CATALOG: Variant = ours("static, beside a catalog", OF_CATALOG, STATIC_URI);
pub const STATIC_BESIDE_CATALOG_OFF: Variant =
    ours("static, beside a catalog, refresh=off", OF_CATALOG_OFF, STATIC_URI);
pub const LMDB: Variant = ours("catalog in LMDB", OF_LMDB, URI);
pub const STATIC_BESIDE_DIRECTORY: Variant =
    ours("static, beside a directory", OF_NO_CATALOG, STATIC_URI);
pub const STATIC_BESIDE_LMDB: Variant =
    ours("static, beside a catalog in LMDB", OF_LMDB, STATIC_URI);
pub const LOOKUP_BY_NGINX: Variant = ours("lookup, answered by nginx", LOOKUP_OF_NGINX, URI);
pub const LOOKUP: Variant = ours("lookup, answered by Flask", LOOKUP_OF_FLASK, URI);
pub const LOOKUP_CACHED: Variant = ours("the same, kept for a second", CACHED_LOOKUP_OF_FLASK, URI);
pub const AUTHORIZED_BY_FLASK: Variant =
    ours("auth_request to Flask, directory", AUTHORIZED_DIRECTORY, URI);
/// Good until the year 2100, as the others here.
pub const LINK: Variant = ours(
    "link, verified before",
    LINKED,
    "/download/1lDxLnrWjwkGm?token=1.bench.4102444800.-.user_7.-.\
     HtBTVdoOfxe7bxXqeKyLHv7aprU7D7xF-t_26_Ljpuo",
);
pub const SESSION: Variant = Variant {
    cookie: "xspace.1lDxLnrWjwkGm.-=1.bench.4102444800.4102444800.-.user_7.-.\
             kYP6m65fV4gFcVrShJk9iNRquD-nSs5vPChYZ2_N5_w",
    ..ours("session, verified before", LINKED_WITH_SESSION, URI)
};
pub const BY_SECURE_LINK: Variant = ours(
    "secure_link",
    SECURE_LINK,
    "/download/1lDxLnrWjwkGm?md5=K6yH2wJgDCEvDScNNXql4g&expires=4102444800",
);
pub const AUTHORIZED_BY_NGINX: Variant =
    ours("auth_request, answered by nginx", AUTH_REQUEST_DIRECTORY, URI);
pub const LOOKUP_KEPT: Variant = ours("lookup, from proxy_cache", KEPT_LOOKUP, URI);
pub const STATIC_CACHED: Variant = cached("static, open_file_cache", STATIC_FILES);
pub const TRIED_CACHED: Variant = cached("try_files, open_file_cache", TRIED);
pub const DIRECTORY_CACHED: Variant = cached("directory, open_file_cache", DIRECTORY_FIRST);
pub const FOURTH_CACHED: Variant = cached("fourth format, open_file_cache", DIRECTORY_FOURTH);
pub const CATALOG_CACHED: Variant = cached("catalog, open_file_cache", CATALOG);
pub const LOOKUP_BY_NGINX_CACHED: Variant = cached("lookup, open_file_cache", LOOKUP_BY_NGINX);

pub const DEBIAN_STATIC: Variant = debian("static", STATIC_FILES);
pub const DEBIAN_TRIED: Variant = debian("try_files, regex location", TRIED);
pub const DEBIAN_LUA: Variant =
    debian("lua", Variant { modules: Modules::Lua, locations: LUA, ..TRIED });
pub const DEBIAN_NJS: Variant =
    debian("njs", Variant { modules: Modules::Njs, locations: NJS, ..TRIED });
pub const DEBIAN_DIRECTORY: Variant = debian("directory", DIRECTORY_FIRST);
pub const DEBIAN_CATALOG: Variant = debian("catalog", CATALOG);

/// The files that all variants serve, and what else they need.
#[derive(Debug)]
pub struct Files {
    /// The directory of everything, with a path as long as in the README's examples and without
    /// symbolic links: nginx hashes paths, and the kernel walks along them.
    dir: TempDir,
    recording: Vec<u8>,
}

/// The field that makes responses longer.
const PADDING: &str = "Padding";

/// How many spaces the catalog has.
const ENTRIES: u32 = 1000;

impl Files {
    /// Makes them; they go with the value. A run that is interrupted leaves `/tmp/xs????` behind.
    pub fn make() -> Result<Self> {
        // "/tmp/xsAbCd" is as long as "/srv/xspace".
        let dir = tempfile::Builder::new().prefix("xs").rand_bytes(4).tempdir_in("/tmp")?;
        let recording = bytes(1, RECORDING_LEN);
        for folder in ["downloads", "fourth"] {
            fs::create_dir(dir.path().join(folder))?;
        }
        let original = dir.path().join(format!("downloads/{ID}.mp3"));
        fs::write(&original, &recording)?;
        for copy in [format!("downloads/{BEYOND_ASCII}.mp3"), format!("fourth/{ID}.mp4")] {
            hard_link(&original, dir.path().join(copy))?;
        }
        let entries = entries();
        fs::write(dir.path().join("catalog.json"), catalog(&entries))?;
        let pairs = entries.iter().map(|(id, entry)| (id.as_str(), entry.as_str()));
        lmdb_load(&dir.path().join("lmdb"), 1 << 24, pairs);
        fs::write(dir.path().join("keys"), link_key().line())?;
        fs::set_permissions(dir.path().join("keys"), Permissions::from_mode(0o600))?;
        fs::write(dir.path().join("credentials"), store_key().file())?;
        Ok(Self { dir, recording })
    }

    /// The content of the recording that all serve.
    pub fn recording(&self) -> &[u8] {
        &self.recording
    }

    /// The directory of the recordings.
    pub fn downloads(&self) -> PathBuf {
        self.dir.path().join("downloads")
    }

    /// A site that runs a variant, with responses made longer by so many bytes, if a field can be
    /// as short as that. On Debian's nginx it speaks HTTP/1.1 only.
    pub fn site(
        &self,
        bench: &Workbench,
        variant: &Variant,
        application: Option<&Address>,
        padding: usize,
    ) -> Result<Site> {
        const DEBIANS: &str = "load_module /usr/lib/nginx/modules";
        let site = site().connections(1024).http(&http(bench));
        let (site, ours) = match variant.on {
            On::Bundled => (site, None),
            On::Debian => {
                let module = format!("load_module {};", bench.debian_module().display());
                (site.nginx(Path::new("/usr/sbin/nginx")).http1_only(), Some(module))
            }
        };
        let mut site = match variant.modules {
            Modules::None => site.without_module(),
            Modules::Ours => site.main(&ours.unwrap_or_default()),
            Modules::Lua => site
                .main(&format!("{DEBIANS}/ndk_http_module.so; {DEBIANS}/ngx_http_lua_module.so;")),
            Modules::Njs => site.main(&format!("{DEBIANS}/ngx_http_js_module.so;")),
        };
        if variant.cached {
            site = site.http("open_file_cache max=10000 inactive=1h; open_file_cache_valid 1h;");
        }
        if variant.locations.contains("xspace_stats ") {
            site = site.http("xspace_stats_zone plays:10m;");
        }
        if variant.locations.contains("proxy_cache ") {
            site = site.http("proxy_cache_path {dir}/cache keys_zone=lookup:10m;");
        }
        if variant.modules == Modules::Njs {
            site.write("download.js", self.fill(NJS_SCRIPT, None));
            site = site.http("js_import download from {dir}/download.js;");
        }
        let padding = match padding.saturating_sub(format!("{PADDING}: \r\n").len()) {
            0 => String::new(),
            len => format!("add_header {PADDING} {};", "x".repeat(len)),
        };
        let locations = self.fill(variant.locations, application).replace("{padding}", &padding);
        Ok(site.http(&padding).server(&locations))
    }

    fn fill(&self, template: &str, application: Option<&Address>) -> String {
        let path = |name: &str| self.dir.path().join(name).display().to_string();
        template
            .replace("{dir}", &path("downloads"))
            .replace("{fourth}", &path("fourth"))
            .replace("{catalog}", &path("catalog.json"))
            .replace("{lmdb}", &path("lmdb"))
            .replace("{keys}", &path("keys"))
            .replace("{credentials}", &path("credentials"))
            .replace("{app}", &application.map_or(String::new(), Address::to_string))
    }

    /// Asks for a range and compares the answer with the recording.
    pub fn ask(&self, connection: &mut RawConnection, request: &[u8], len: usize) -> Result<()> {
        let response = connection.ask(request);
        if response.status != 206 {
            return Err(format!("status {}", response.status).into());
        }
        if response.body != self.recording[RANGE_START..RANGE_START + len] {
            return Err("the answer is not what was asked for".into());
        }
        Ok(())
    }
}

/// The key of links.
pub fn link_key() -> LinkKey {
    LinkKey::new("bench")
}

/// The key of an object store.
pub fn store_key() -> StoreKey {
    StoreKey::new("BENCH")
}

/// What stands in the nginx.conf of distributions.
pub fn http(bench: &Workbench) -> String {
    format!(
        "sendfile on;
        tcp_nopush on;
        types_hash_max_size 2048;
        include {};",
        bench.mime_types().display()
    )
}

/// Which client's request is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agent {
    /// As curl asks: what hardly any client sends less than.
    Curl,
    /// As Chromium asks for the source of an `<audio>`.
    Browser,
}

/// A request for a range. `cookie` may be empty.
pub fn request(uri: &str, cookie: &str, len: usize, agent: Agent) -> Vec<u8> {
    let fields = match agent {
        Agent::Curl => "User-Agent: curl/7.88.1\r\nAccept: */*\r\n",
        Agent::Browser => {
            "Connection: keep-alive\r\n\
             User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
             Chrome/126.0.0.0 Safari/537.36\r\n\
             Accept-Encoding: identity;q=1, *;q=0\r\n\
             Accept: */*\r\n\
             Sec-Fetch-Site: same-origin\r\n\
             Sec-Fetch-Mode: no-cors\r\n\
             Sec-Fetch-Dest: audio\r\n\
             Referer: http://localhost/spaces/1lDxLnrWjwkGm\r\n\
             Accept-Language: en-US,en;q=0.9\r\n"
        }
    };
    let cookie = match cookie {
        "" => String::new(),
        cookie => format!("Cookie: {cookie}\r\n"),
    };
    let range = range(len);
    format!("GET {uri} HTTP/1.1\r\nHost: localhost\r\n{fields}Range: {range}\r\n{cookie}\r\n")
        .into()
}

/// The value of `Range` for a length.
pub fn range(len: usize) -> String {
    format!("bytes={RANGE_START}-{}", RANGE_START + len - 1)
}

/// A space whose title is not all ASCII.
const BEYOND_ASCII: &str = "1YqKDqWqdPLGV";

/// Ids and entries. The files that are asked for stand in no folders of their own, for a longer way to
/// them costs static files as much.
fn entries() -> Vec<(String, String)> {
    let mut entries = vec![
        (
            ID.to_owned(),
            format!(r#"{{"title": "Rust in production", "files": ["{ID}.mp3", "{ID}.mp4"]}}"#),
        ),
        (
            BEYOND_ASCII.to_owned(),
            format!(r#"{{"title": "Größe zählt: ein Gespräch", "files": ["{BEYOND_ASCII}.mp3"]}}"#),
        ),
    ];
    for number in 0..ENTRIES {
        let id = data::id(number);
        let entry = format!(r#""2024/{id}.mp3""#);
        entries.push((id, entry));
    }
    entries
}

/// The catalog as JSON.
fn catalog(entries: &[(String, String)]) -> String {
    let members: Vec<_> = entries.iter().map(|(id, entry)| format!("\"{id}\": {entry}")).collect();
    format!("{{\n{}\n}}\n", members.join(",\n"))
}

//! The documentation: its links, its examples, and whether it agrees with the module.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

use proc_macro2::{Delimiter, Literal, TokenStream, TokenTree};
use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Options, Parser, Tag, TagEnd};
use xspace_tests::{
    LinkKey, Nginx, Request, Response, Site, StoreKey, build, lmdb_load, project_dir, wait_for,
};

use crate::common::{FILE, ID, MISSING, OTHER, only_for_workers};
use crate::frameworks::FASTCGI_PARAMS;
use crate::plays;

const REFERENCE: &str = "docs/reference.md";

/* Pages */

/// The text of a page, by its path in the project.
fn page(name: &str) -> String {
    let path = project_dir().join(name);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn events(text: &str) -> Parser<'_> {
    Parser::new_ext(text, Options::ENABLE_TABLES)
}

/// The code blocks of a page in a language.
pub fn code_blocks(name: &str, language: &str) -> Vec<String> {
    let text = page(name);
    let mut blocks = Vec::new();
    let mut block = None;
    for event in events(&text) {
        match event {
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(info))) if &*info == language => {
                block = Some(String::new());
            }
            Event::Text(text) => {
                if let Some(block) = &mut block {
                    block.push_str(&text);
                }
            }
            Event::End(TagEnd::CodeBlock) => blocks.extend(block.take()),
            _ => {}
        }
    }
    blocks
}

/// Files of the project whose names end like this, without what is built or fetched.
fn files(endings: &[&str]) -> Vec<PathBuf> {
    const NOT_OURS: [&str; 5] = ["build", "target", "vendor", "node_modules", ".git"];
    let mut found = Vec::new();
    let mut folders = vec![project_dir().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a directory").flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let kind = entry.file_type().expect("a type");
            if kind.is_dir() && !NOT_OURS.contains(&&*name) {
                folders.push(entry.path());
            } else if kind.is_file() && endings.iter().any(|ending| name.ends_with(ending)) {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    found
}

/// A page's links to files and anchors, and its own anchors.
#[derive(Default)]
struct Links {
    to: Vec<String>,
    anchors: HashSet<String>,
}

impl Links {
    fn of(text: &str) -> Self {
        let mut links = Self::default();
        let mut times = BTreeMap::<String, usize>::new();
        let mut heading = None;
        for event in events(text) {
            match event {
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => {
                    let anchor = anchor(&heading.take().unwrap_or_default());
                    let count = times.entry(anchor.clone()).or_default();
                    links.anchors.insert(match *count {
                        0 => anchor,
                        count => format!("{anchor}-{count}"),
                    });
                    *count += 1;
                }
                Event::Text(text) | Event::Code(text) => {
                    if let Some(heading) = &mut heading {
                        heading.push_str(&text);
                    }
                }
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    links.to.push(dest_url.into_string());
                }
                Event::Html(html) | Event::InlineHtml(html) => {
                    for attribute in [" href=\"", " src=\"", " srcset=\""] {
                        let values = html.split(attribute).skip(1);
                        links.to.extend(
                            values.filter_map(|rest| rest.split('"').next()).map(str::to_owned),
                        );
                    }
                }
                _ => {}
            }
        }
        links
    }
}

/// GitHub's anchor of a heading.
fn anchor(heading: &str) -> String {
    heading
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric() || "-_ ".contains(*c))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

/// A path without `.` and `..`; `None` if it leads out of the project.
fn normalized(path: &Path) -> Option<PathBuf> {
    let mut normal = PathBuf::new();
    for component in path.strip_prefix(project_dir()).ok()?.components() {
        match component {
            Component::Normal(name) => normal.push(name),
            Component::ParentDir if normal.pop() => {}
            Component::CurDir => {}
            _ => return None,
        }
    }
    Some(normal)
}

/// What is wrong with a link of a page.
fn fault(page: &Path, link: &str, own: &Links) -> Option<&'static str> {
    if ["https://", "http://", "mailto:"].iter().any(|scheme| link.starts_with(scheme)) {
        return None;
    }
    let (file, fragment) = match link.split_once('#') {
        Some((file, fragment)) => (file, Some(fragment)),
        None => (link, None),
    };
    if file.is_empty() {
        let is_there = own.anchors.contains(fragment.unwrap_or_default());
        return (!is_there).then_some("the page has no such heading");
    }
    let Some(path) = normalized(&page.parent().expect("a folder").join(file)) else {
        return Some("it leads out of the project");
    };
    if path.starts_with("build") {
        return Some("it leads to what is built");
    }
    let path = project_dir().join(path);
    if !path.exists() {
        return Some("there is no such file");
    }
    let fragment = fragment?;
    let text = fs::read_to_string(&path).unwrap_or_default();
    let is_there = Links::of(&text).anchors.contains(fragment);
    (!is_there).then_some("the other page has no such heading")
}

#[test]
fn links_lead_somewhere() {
    let pages = files(&[".md"]);
    let mut count = 0;
    let mut faults = Vec::new();
    for page in &pages {
        let text = fs::read_to_string(page).expect("UTF-8 text");
        let links = Links::of(&text);
        count += links.to.len();
        for link in &links.to {
            if let Some(fault) = fault(page, link, &links) {
                faults.push(format!("{}: {link}: {fault}", page.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
    assert!(pages.len() >= 15 && count >= 100, "{} pages, {count} links", pages.len());
}

#[test]
fn anchors_are_those_of_github() {
    for (heading, expected) in [
        ("xspace_download", "xspace_download"),
        ("Messages of nginx -t", "messages-of-nginx--t"),
        ("404 for /downloads/x.mp3", "404-for-downloadsxmp3"),
        ("What `a.b` costs, Größe", "what-ab-costs-größe"),
    ] {
        let links = Links::of(&format!("# {heading}\n\n# {heading}\n"));
        for anchor in [expected.to_owned(), format!("{expected}-1")] {
            assert!(links.anchors.contains(&anchor), "{heading}: {:?}", links.anchors);
        }
    }
    let page = project_dir().join("README.md");
    let own = Links::of("# There");
    for (link, is_fine) in [
        ("#there", true),
        ("#elsewhere", false),
        ("docs/reference.md#xspace_id", true),
        ("docs/reference.md#xspace_ids", false),
        ("docs/../LICENSE", true),
        ("docs/none.md", false),
        ("../LICENSE", false),
        ("https://nginx.org/", true),
    ] {
        assert_eq!(fault(&page, link, &own).is_none(), is_fine, "{link}");
    }
}

/// Comments, scripts and packages name pages without a link.
#[test]
fn pages_named_in_other_files_exist() {
    let mut count = 0;
    for path in files(&[""]) {
        let Ok(text) = fs::read_to_string(&path) else { continue };
        for (at, _) in text.match_indices("docs/") {
            let name = &text[at..];
            let is_name = |c: char| c.is_ascii_alphanumeric() || "-_/.".contains(c);
            let name = name.split(|c| !is_name(c)).next().unwrap_or_default();
            // A sentence may end behind it.
            let name = name.trim_end_matches('.');
            if !name.ends_with(".md") || path.ends_with("tests/suite/docs.rs") {
                continue;
            }
            count += 1;
            assert!(project_dir().join(name).is_file(), "{}: {name}", path.display());
        }
    }
    assert!(count >= 15, "only {count} pages are named");
}

#[test]
fn readme_fits_two_screens() {
    let lines = page("README.md").lines().count();
    assert!(lines <= 150, "README.md has {lines} lines");
}

#[test]
fn each_page_is_listed_in_the_readme() {
    let listed = Links::of(&page("README.md")).to;
    for path in fs::read_dir(project_dir().join("docs")).expect("docs").flatten() {
        let name = format!("docs/{}", path.file_name().to_string_lossy());
        assert!(listed.contains(&name), "{name}");
    }
}

/* Directives and variables */

/// A section of the reference.
#[derive(Debug)]
struct Directive {
    name: String,
    /// As it is written in a configuration; `None` if there is no such value.
    default: Option<String>,
    contexts: BTreeSet<String>,
}

fn directives() -> Vec<Directive> {
    let text = page(REFERENCE);
    let mut directives = Vec::new();
    let mut heading = None;
    let mut chapter = String::new();
    let mut name = String::new();
    let mut in_code = false;
    for event in events(&text) {
        match event {
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::End(TagEnd::Heading(level)) => {
                let text = heading.take().unwrap_or_default();
                match level {
                    HeadingLevel::H2 => chapter = text,
                    HeadingLevel::H3 => name = text,
                    _ => {}
                }
            }
            Event::Start(Tag::CodeBlock(_)) => in_code = true,
            Event::End(TagEnd::CodeBlock) => in_code = false,
            Event::Text(text) => {
                if let Some(heading) = &mut heading {
                    heading.push_str(&text);
                } else if in_code && chapter == "Directives" && text.starts_with("Syntax:") {
                    directives.push(directive(&name, &text));
                }
            }
            _ => {}
        }
    }
    directives
}

/// Reads the block at the start of a section.
fn directive(name: &str, block: &str) -> Directive {
    let mut keys: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in block.lines() {
        match line.split_once(':') {
            Some((key, value)) if !line.starts_with(' ') => keys.push((key, vec![value.trim()])),
            _ => keys.last_mut().expect("a key first").1.push(line.trim()),
        }
    }
    let [("Syntax", syntax), ("Default", default), ("Context", contexts), ("Since", since)] =
        &keys[..]
    else {
        panic!("{name}: {keys:?}");
    };
    for form in syntax {
        assert!(form.starts_with(&format!("{name} ")) && form.ends_with(';'), "{name}: {form}");
    }
    let is_version = |since: &str| since.split('.').all(|part| part.parse::<u32>().is_ok());
    assert!(since.len() == 1 && is_version(since[0]), "{name}: {since:?}");
    let default = match default[..] {
        ["—"] => None,
        [value] => {
            assert!(value.starts_with(&format!("{name} ")) && value.ends_with(';'), "{value}");
            Some(value.to_owned())
        }
        _ => panic!("{name}: {default:?}"),
    };
    let contexts = contexts.iter().flat_map(|line| line.split(", ")).map(str::to_owned).collect();
    Directive { name: name.to_owned(), default, contexts }
}

/// Every string of the module's source, and the file that it is in. Comments, attributes and unit
/// tests, in a `mod tests` or a file `tests.rs`, do not count.
fn literals(folders: &[&str]) -> Vec<(PathBuf, String)> {
    let folders: Vec<PathBuf> = folders.iter().map(|name| project_dir().join(name)).collect();
    let mut found = Vec::new();
    for path in files(&[".rs"]) {
        let is_source = folders.iter().any(|folder| path.starts_with(folder));
        if !is_source || path.ends_with("tests.rs") {
            continue;
        }
        let text = fs::read_to_string(&path).expect("UTF-8 text");
        let tokens: TokenStream =
            text.parse().unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let mut strings = Vec::new();
        collect(tokens, &mut strings);
        found.extend(strings.into_iter().map(|string| (path.clone(), string)));
    }
    found
}

fn collect(tokens: TokenStream, found: &mut Vec<String>) {
    // The last two tokens.
    let mut before = [String::new(), String::new()];
    for token in tokens {
        match &token {
            TokenTree::Literal(literal) => found.extend(string(literal)),
            TokenTree::Group(group) => {
                let is_attribute = group.delimiter() == Delimiter::Bracket && before[1] == "#";
                let is_inner_attribute = before == ["#", "!"];
                let is_tests = before == ["mod", "tests"];
                if !is_attribute && !is_inner_attribute && !is_tests {
                    collect(group.stream(), found);
                }
            }
            TokenTree::Ident(_) | TokenTree::Punct(_) => {}
        }
        let text = match &token {
            TokenTree::Group(_) => String::new(),
            other => other.to_string(),
        };
        before = [std::mem::take(&mut before[1]), text];
    }
}

/// The text of a literal that is a string of any kind.
fn string(literal: &Literal) -> Option<String> {
    match syn::Lit::new(literal.clone()) {
        syn::Lit::Str(text) => Some(text.value()),
        syn::Lit::CStr(text) => text.value().into_string().ok(),
        syn::Lit::ByteStr(text) => String::from_utf8(text.value()).ok(),
        _ => None,
    }
}

/// Names of the module in the source, those of variables or those of directives.
fn names_in_source(of_variables: bool) -> BTreeSet<String> {
    let is_name = |text: &str| {
        text.starts_with("xspace_")
            && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    let is_in = |path: &Path| path.ends_with("src/variables.rs");
    if of_variables {
        let all = literals(&["src"]).into_iter();
        return all
            .filter(|(path, text)| is_in(path) && is_name(text))
            .map(|(_, text)| text)
            .collect();
    }
    // nginx takes the names of directives as C strings.
    let mut names = BTreeSet::new();
    for path in files(&[".rs"]) {
        let text = fs::read_to_string(&path).expect("UTF-8 text");
        if path.starts_with(project_dir().join("src")) && !is_in(&path) {
            let found = text.split("c\"").skip(1).filter_map(|rest| rest.split('"').next());
            names.extend(found.filter(|name| is_name(name)).map(str::to_owned));
        }
    }
    names
}

#[test]
fn reference_has_each_directive() {
    let described: Vec<String> = directives().into_iter().map(|d| d.name).collect();
    let sorted: BTreeSet<String> = described.iter().cloned().collect();
    assert_eq!(described, sorted.iter().cloned().collect::<Vec<_>>(), "in order, once each");
    assert_eq!(sorted, names_in_source(false));
    assert!(sorted.len() >= 11, "{sorted:?}");
}

#[test]
fn reference_has_each_variable() {
    let described: BTreeSet<String> = first_column("variable")
        .into_iter()
        .map(|name| name.strip_prefix('$').expect("a variable").to_owned())
        .collect();
    assert_eq!(described, names_in_source(true));
    assert!(described.len() >= 9, "{described:?}");
    // And nginx knows them: it refuses others.
    for name in &described {
        let with =
            |name: &str| Site::simple().http(&format!("log_format names \"${name}\";")).check().ok;
        assert!(with(name), "{name}");
        assert!(!with(&format!("{name}_not")), "{name}");
    }
}

/// A configuration with a directive in a context.
fn in_context(context: &str, directive: &str) -> Option<Site> {
    let site = Site::new();
    Some(match context {
        "main" => site.main(directive),
        "http" => site.http(directive),
        "server" => site.server(directive),
        "location" => site.server(&format!("location /x/ {{ {directive} }}")),
        "upstream" => {
            site.http(&format!("upstream u {{ server 127.0.0.1:{{other}}; {directive} }}"))
        }
        "if in server" => site.server(&format!("if ($uri) {{ {directive} }}")),
        "if in location" => site.server(&format!("location /x/ {{ if ($uri) {{ {directive} }} }}")),
        "limit_except" => {
            site.server(&format!("location /x/ {{ limit_except GET {{ {directive} }} }}"))
        }
        _ => return None,
    })
}

const CONTEXTS: [&str; 8] = [
    "main",
    "http",
    "upstream",
    "server",
    "if in server",
    "location",
    "if in location",
    "limit_except",
];

#[test]
fn directives_are_allowed_where_the_reference_says() {
    for Directive { name, contexts, .. } in directives() {
        let unknown = contexts.iter().find(|context| !CONTEXTS.contains(&context.as_str()));
        assert_eq!(unknown, None, "{name}");
        assert!(!contexts.is_empty(), "{name}");
        for context in CONTEXTS {
            // nginx looks at the place of a directive before its arguments.
            let mut site = in_context(context, &format!("{name};")).expect("a context");
            let checked = site.check();
            let refused = format!("\"{name}\" directive is not allowed here");
            let accepted = format!("invalid number of arguments in \"{name}\" directive");
            let (expected, other) = match contexts.contains(context) {
                true => (accepted, refused),
                false => (refused, accepted),
            };
            let said = checked.output;
            assert!(said.contains(&expected), "{name} in {context}: {said}");
            assert!(!said.contains(&other), "{name} in {context}: {said}");
        }
    }
}

/// A value of each directive that changes what is answered.
const CHANGES: [(&str, &str); 13] = [
    ("xspace_attachment", "xspace_attachment 1;"),
    ("xspace_catalog", "xspace_catalog {dir}/catalog.json;"),
    ("xspace_download", "xspace_download /downloads/;"),
    ("xspace_format", "xspace_format mp4;"),
    ("xspace_formats", "xspace_formats wav mp3;"),
    ("xspace_link", "xspace_link $arg_other; xspace_link_keys keys;"),
    ("xspace_link_address", "xspace_link_address on;"),
    ("xspace_link_session", "xspace_link_session 1m;"),
    ("xspace_lookup", "xspace_lookup /_refuse;"),
    ("xspace_min_size", "xspace_min_size 10;"),
    ("xspace_pass_args", "xspace_pass_args on;"),
    ("xspace_play", "xspace_play if=0;"),
    ("xspace_stats", "xspace_stats plays;"),
];

/// What other directives of links need.
const LINK: &str = "xspace_link $arg_token; xspace_link_keys keys;";

/// The answers of a site in which a directive is written.
fn answers(name: &str, directive: &str) -> Vec<(u16, String, String, Vec<u8>)> {
    let (http, location) = match name {
        // The only ones with a default that stand in a location alone.
        "xspace_download" => (String::new(), directive),
        // They change nothing without a link.
        _ if name.starts_with("xspace_link_") => (format!("{LINK} {directive}"), ""),
        _ => (directive.to_owned(), ""),
    };
    let nginx: Nginx = Site::simple()
        .http(&http)
        .http("server { listen 127.0.0.1:{other}; location / { return 200 \"args: $args\"; } }")
        .server(&format!(
            "location ^~ /off/ {{ {location} }}
             location ^~ /proxied/ {{ xspace_download /store/; xspace_directory {{dir}}/downloads; }}
             location ^~ /store/ {{ internal; proxy_pass http://127.0.0.1:{{other}}; }}
             location = /_refuse {{ internal; return 403; }}
             location ^~ /counted/ {{
                 xspace_download /downloads/; xspace_stats plays;
                 xspace_catalog off; xspace_lookup off;
             }}
             location = /status {{ xspace_status json; }}"
        ))
        .file("keys", LinkKey::new("k1").line())
        .http("xspace_stats_zone plays:1m;")
        .file("catalog.json", format!(r#"{{"{ID}": {{"status": 410}}}}"#))
        .file(FILE, "recording")
        .file(&format!("downloads/{ID}.wav"), "as wav")
        .file(&format!("downloads/{ID}.mp4"), "as mp4")
        .file(&format!("downloads/{OTHER}.m4a"), "")
        .file(&format!("downloads/{OTHER}.mp4"), "video")
        .file(&format!("html/off/{ID}"), "not served by the module")
        .file("downloads/first.mp3", "mp3")
        .file("downloads/first.m4a", "m4a")
        .file("downloads/second.m4a", "m4a")
        .file("downloads/second.wav", "wav")
        .file("downloads/third.wav", "wav")
        .file("downloads/third.mp4", "mp4")
        .file("downloads/fourth.flac", "flac")
        .start();
    let mut answers = Vec::new();
    for path in ["/download/", "/proxied/", "/off/"] {
        for id in [ID, OTHER, MISSING, "first", "second", "third", "fourth"] {
            let token = LinkKey::new("k1").token(id, 999_999_999_999, ["-", "-", "-"]);
            let token = format!("?token={token}");
            let suffixes = ["", ".wav", "?format=audio", "?format=mp4", "?attachment=1", "?x=1"];
            for suffix in suffixes.into_iter().chain([token.as_str()]) {
                let response: Response = nginx.send(
                    xspace_tests::Protocol::Http1,
                    &Request::get(&format!("{path}{id}{suffix}")),
                );
                let header = |name| response.header(name).unwrap_or_default().to_owned();
                let kind = match response.header("set-cookie") {
                    Some(_) => "with a cookie".to_owned(),
                    None => header("content-type"),
                };
                let name = header("content-disposition");
                answers.push((response.status, kind, name, response.body));
            }
        }
    }
    let ids = [ID, OTHER, "first", "second"];
    ids.iter().for_each(|id| drop(nginx.get(&format!("/counted/{id}"))));
    let counted = wait_for(|| {
        let stats = serde_json::from_str(&nginx.get("/status").text()).expect("JSON");
        (plays::requests(&stats) >= ids.len() as u64).then_some(stats)
    });
    let counted = counted.expect("requests are counted");
    answers.push((0, counted["requests"].to_string(), counted["plays"].to_string(), Vec::new()));
    answers
}

#[test]
fn defaults_are_those_of_the_reference() {
    if !build().require("http_proxy") {
        return;
    }
    let (bare, linked) = (answers("", ""), answers("", LINK));
    let found = bare.iter().filter(|answer| answer.0 == 200).count();
    assert!(found > 10, "{bare:?}");
    for Directive { name, default, .. } in directives() {
        let Some(default) = default else { continue };
        let bare = if name.starts_with("xspace_link_") { &linked } else { &bare };
        assert_eq!(answers(&name, &default), *bare, "{default}");
        // The answers would tell.
        let change = CHANGES.iter().find(|(directive, _)| *directive == name);
        let (_, change) = change.unwrap_or_else(|| panic!("{name} has no row in CHANGES"));
        assert_ne!(answers(&name, change), *bare, "{change}");
    }
}

/* Messages */

/// The code spans in one column of every table of a page that has it.
pub fn column(name: &str, title: &str) -> Vec<String> {
    let text = page(name);
    let mut spans = Vec::new();
    let (mut wanted, mut index, mut in_head) = (None, 0, false);
    for event in events(&text) {
        match event {
            Event::Start(Tag::Table(_)) => wanted = None,
            Event::Start(Tag::TableHead) => (in_head, index) = (true, 0),
            Event::End(TagEnd::TableHead) => in_head = false,
            Event::Start(Tag::TableRow) => index = 0,
            Event::End(TagEnd::TableCell) => index += 1,
            Event::Text(text) if in_head && &*text == title => wanted = Some(index),
            Event::Code(code) if !in_head && wanted == Some(index) => {
                spans.push(code.into_string())
            }
            _ => {}
        }
    }
    spans
}

fn first_column(title: &str) -> Vec<String> {
    column(REFERENCE, title)
}

fn trimmed(part: &str) -> &str {
    part.trim_matches(|c: char| c.is_whitespace() || "\":,;()=$".contains(c))
}

/// The fixed parts of a message, between what stands for anything.
fn fixed_parts(message: &str) -> impl Iterator<Item = &str> {
    message.split('…').map(trimmed).filter(|part| !part.is_empty())
}

/// A string of the source with one character in the place of each argument.
fn without_arguments(format: &str) -> String {
    let mut text = String::new();
    let mut chars = format.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '{' if chars.peek() == Some(&'{') => text.extend(chars.next()),
            '}' if chars.peek() == Some(&'}') => text.extend(chars.next()),
            '{' => {
                let _ = chars.by_ref().find(|&c| c == '}');
                text.push('…');
            }
            c => text.push(c),
        }
    }
    text
}

/// Each message that a page quotes is one of the module's.
#[test]
fn messages_are_those_of_the_source() {
    let strings: Vec<String> = literals(&["src", "model/src"])
        .into_iter()
        .map(|(_, string)| without_arguments(&string))
        .collect();
    let mut count = 0;
    let mut unknown = Vec::new();
    for name in [REFERENCE, "docs/troubleshooting.md"] {
        for message in column(name, "message") {
            count += 1;
            for part in fixed_parts(&message) {
                // Some are put together from several strings, at a comma.
                let is_known = |part: &str| strings.iter().any(|string| string.contains(part));
                if !is_known(part) && !part.split(", ").map(trimmed).all(is_known) {
                    unknown.push(format!("{name}: `{message}`: no {part:?} in the source"));
                }
            }
        }
    }
    assert!(unknown.is_empty(), "{unknown:#?}");
    assert!(count >= 70, "only {count} messages");
}

/// The other way round: each message of the source is on one of the pages. A message is a string with
/// arguments and some words of its own; those of the debug log and of the test of faults are left out.
#[test]
fn messages_of_the_source_are_in_the_reference() {
    let mut quoted = column(REFERENCE, "message");
    quoted.extend(column("docs/troubleshooting.md", "message"));
    let mut unknown = BTreeSet::new();
    let mut count = 0;
    for (path, string) in literals(&["src", "model/src"]) {
        let text = without_arguments(&string);
        if text == string || ["xspace ", "fault "].iter().any(|start| text.starts_with(start)) {
            continue;
        }
        let mut parts: Vec<&str> = fixed_parts(&text).collect();
        parts.retain(|part| part.contains(' '));
        if !parts.iter().any(|part| part.split(' ').count() >= 3) {
            continue;
        }
        count += 1;
        if !quoted.iter().any(|message| parts.iter().all(|part| message.contains(part))) {
            unknown.insert(format!("{}: {string:?}", path.display()));
        }
    }
    assert!(unknown.is_empty(), "{unknown:#?}");
    assert!(count >= 40, "only {count} messages");
}

#[test]
fn parts_of_messages_are_compared() {
    let parts: Vec<_> = fixed_parts("opendir() \"…\" failed (…) for … \"…\"").collect();
    assert_eq!(parts, ["opendir", "failed", "for"]);
    assert_eq!(without_arguments("a {{}} {x} \"{}\" {y:?}."), "a {} … \"…\" ….");
    let mut found = Vec::new();
    let source = "//! \"a\"
        #[doc = \"b\"] const A: &[u8] = b\"c\";
        fn f() { g!(\"d {}\\\n   e\", '\"', r#\"f\"#); }
        #[cfg(test)] mod tests { const B: &str = \"g\"; }";
    collect(source.parse().expect("Rust"), &mut found);
    assert_eq!(found, ["c", "d {}e", "f"]);
}

/* Examples */

/// A site around a piece of configuration: what it needs but does not have is added.
fn around(block: &str) -> Site {
    let text =
        block.replace("/srv/xspace/", "{dir}/srv/").replace("127.0.0.1:8080", "127.0.0.1:{other}");
    let first = text.split_whitespace().next().unwrap_or_default();
    let is_in_location = first.starts_with("xspace_");
    let is_in_lookup = first.starts_with("proxy_cache");
    let mut site = match first {
        "load_module" => {
            let text =
                text.replace("load_module modules/ngx_http_xspace_module.so;", "{load_module}");
            Site::new().whole(&format!("{text} {{user}} pid {{dir}}/nginx.pid; events {{}} http {{ {{temp_paths}} access_log off; server {{ }} }}"))
        }
        "limit_req_zone" | "log_format" | "map" | "upstream" | "server" | "xspace_stats_zone" => {
            Site::simple().http(&text)
        }
        _ if is_in_location => Site::with_directives(&text, ""),
        _ if is_in_lookup => Site::with_directives("xspace_lookup /_space;", "")
            .http("proxy_cache_path {dir}/cache keys_zone=lookup:1m;")
            .server(&format!(
                "location = /_space {{ internal; proxy_pass http://127.0.0.1:{{other}}; {text} }}"
            )),
        _ => Site::new().server(&text),
    };
    let needs =
        |words: &str, has: &str| first == "location" && text.contains(words) && !text.contains(has);
    if needs("xspace_download /downloads/", "location ^~ /downloads/") {
        site = site.server("location ^~ /downloads/ { internal; alias {dir}/srv/downloads/; }");
    }
    if text.contains("/_xspace_downloads/") && !text.contains("location ^~ /_xspace_downloads/") {
        site = site.server(
            "location ^~ /_xspace_downloads/ {
                internal; alias {dir}/srv/downloads/; limit_rate 32k;
            }",
        );
    }
    if text.contains("xspace_stats ") && first == "location" {
        site = site.http("xspace_stats_zone plays:1m;");
    }
    if text.contains("xspace_status ") && !text.contains("xspace_stats_zone ") {
        site = site.http("xspace_stats_zone plays:1m;");
    }
    site.write("fastcgi_params", FASTCGI_PARAMS);
    if text.contains(" lmdb:") {
        lmdb_load(&site.dir().join("srv/catalog"), 1 << 20, [("", ""); 0]);
    }
    site.make_dir("srv/downloads");
    site.make_dir("srv/old-downloads");
    site.make_dir("srv/log");
    site.write("srv/links.keys", LinkKey::new("k1").line());
    site.chmod("srv/links.keys", 0o600);
    site.write("srv/s3.credentials", StoreKey::new("AKIDEXAMPLE").file());
    only_for_workers(&site, "srv/s3.credentials");
    site.file("srv/catalog.json", "{}")
}

#[test]
fn examples_are_accepted() {
    if ["http_proxy", "http_auth_request"].iter().any(|feature| !build().require(feature)) {
        return;
    }
    let mut count = 0;
    for path in files(&[".md"]) {
        let name = path.strip_prefix(project_dir()).expect("in the project");
        let name = name.to_str().expect("UTF-8");
        for block in code_blocks(name, "nginx") {
            let checked = around(&block).check();
            assert!(checked.ok, "{name}: {block}\n{}", checked.output);
            assert!(!checked.output.contains("[warn]"), "{name}: {block}\n{}", checked.output);
            count += 1;
        }
    }
    assert!(count >= 15, "only {count} blocks");
}

#[test]
fn catalog_of_the_page_is_valid() {
    let blocks = code_blocks("docs/catalog.md", "json");
    assert_eq!(blocks.len(), 1, "{blocks:?}");
    let checked = around("xspace_catalog /srv/xspace/catalog.json;")
        .file("srv/catalog.json", &blocks[0])
        .check();
    assert!(checked.ok && !checked.output.contains("[warn]"), "{}", checked.output);
}

/// What pages have in common is tested once, so it has to be the same.
#[test]
fn pages_show_the_same_route_and_configuration() {
    let routes = ["README.md", "docs/coming-from-flask.md"].map(|name| code_blocks(name, "python"));
    assert_eq!(routes[0][0], routes[1][0]);
    let lookups = ["docs/lookup.md", "docs/coming-from-flask.md"];
    let [lookup, from_flask] = lookups.map(|name| code_blocks(name, "nginx"));
    assert!(from_flask.contains(&lookup[0]), "{lookup:?}");
}

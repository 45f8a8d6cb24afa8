//! Signers of links in the documentation, with the model's vectors.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use xspace_tests::{LinkKey, Nginx, project_dir};

use crate::common::{ID, PATH, assert_no_recording, assert_recording};
use crate::docs::code_blocks;
use crate::links;

const PAGE: &str = "docs/links.md";

/// Debian's, for which Debian's Flask is.
const PYTHON: &str = "/usr/bin/python3";

/// The part of the page in a language that has a text.
fn block(language: &str, part: &str) -> String {
    let mut blocks = code_blocks(PAGE, language).into_iter();
    blocks
        .find(|text| text.contains(part))
        .unwrap_or_else(|| panic!("nothing with {part:?} in {language}"))
}

/// The signer of the page in a language.
fn signer(language: &str) -> String {
    block(language, "xspace-link")
}

/// What a program writes.
#[track_caller]
fn run(dir: &Path, program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(dir)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap_or_else(|e| panic!("cannot run {program}: {e}"));
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// The input of a signer for the links of the vectors, and what it has to write: a line for each of
/// them. The fields are key id, key in hexadecimal, space, expiry, format, subject, net.
fn vectors() -> (String, String) {
    let text = fs::read_to_string(project_dir().join("model/vectors/links.json"));
    let vectors: Value = serde_json::from_str(&text.expect("the vectors")).expect("JSON");
    let links = vectors["links"].as_array().expect("links");
    let keys = vectors["keys"].as_array().expect("keys");
    let key = |id: &str| {
        let mut lines = keys.iter().map(|line| line.as_str().expect("a key"));
        let of_id = lines.find_map(|line| line.strip_prefix(id)?.strip_prefix(' '));
        let spelled = of_id.expect("the key of a link");
        match spelled.strip_prefix("base64:") {
            Some(text) => data_encoding::HEXLOWER
                .encode(&data_encoding::BASE64.decode(text.as_bytes()).expect("base64")),
            None => spelled.strip_prefix("hex:").expect("hex").to_lowercase(),
        }
    };
    let mut input = String::new();
    let mut expected = String::new();
    for link in links {
        let field = |name: &str| link[name].as_str().expect("text").to_owned();
        let id = field("key");
        let fields = [
            key(&id),
            field("space"),
            link["expiry"].to_string(),
            field("format"),
            field("subject"),
            field("net"),
        ];
        input.push_str(&format!("{id} {}\n", fields.join(" ")));
        expected.push_str(&format!("{}\n", field("token")));
    }
    (input, expected)
}

/// nginx with the key `k1`, for which [`signs`] has a link signed.
fn start() -> Nginx {
    links::site("", "").start()
}

/// Runs a signer in the site's directory. Its tokens have to be those of the vectors, and nginx has
/// to accept the one for a recording that it has.
#[track_caller]
fn signs(nginx: &Nginx, program: &str, arguments: &[&str]) {
    let (mut input, expected) = vectors();
    let line = LinkKey::new("k1").line().replacen("hex:", "", 1);
    let expiry = links::now() + 3600;
    input.push_str(&format!("{} {ID} {expiry} mp3 user_7 7f0000\n", line.trim()));
    nginx.site().write("input", input);
    let output = run(nginx.dir(), program, &[arguments, &["input"]].concat());
    let live = output.strip_prefix(&expected).unwrap_or_else(|| {
        panic!("{program}: other tokens than those of the vectors: {output}, not {expected}")
    });
    is_accepted(nginx, &format!("{PATH}.mp3?token={}", live.trim_end()), "user_7");
}

/// A request with a link is served, and one with another subject or another MAC is not.
#[track_caller]
fn is_accepted(nginx: &Nginx, path: &str, subject: &str) {
    assert_recording(&nginx.get(path), path);
    let (fields, mac) = path.rsplit_once('.').expect("a MAC");
    let other = if mac.starts_with('A') { 'B' } else { 'A' };
    for changed in [path.replacen(subject, "user_8", 1), format!("{fields}.{other}{}", &mac[1..])] {
        assert_ne!(changed, path);
        assert_no_recording(&nginx.get(&changed), 403, &changed);
    }
}

#[test]
fn python() {
    let nginx = start();
    let main = "
import sys
for line in open(sys.argv[1]):
    key_id, key, *fields = line.split()
    print(xspace_token(key_id, bytes.fromhex(key), *fields))
";
    nginx.site().write("sign.py", format!("{}{main}", signer("python")));
    signs(&nginx, PYTHON, &["sign.py"]);
}

/// The page of an application with Flask. What a login brings is made up.
#[test]
fn flask() {
    let nginx = start();
    let (start, main) = (
        "
import sys, time, types
from flask import Flask
app = Flask(__name__)
KEY = bytes.fromhex(sys.argv[1])
login_required = lambda function: function
current_user = types.SimpleNamespace(id=7)
render_template = lambda template, src: src
",
        "
print(app.test_client().get('/listen/' + sys.argv[2]).text)
",
    );
    let page = block("python", "render_template");
    nginx.site().write("app.py", format!("{}{start}{page}{main}", signer("python")));
    let line = LinkKey::new("k1").line();
    let (_, key) = line.trim().split_once("hex:").expect("a key");
    let src = run(nginx.dir(), PYTHON, &["app.py", key, ID]);
    is_accepted(&nginx, src.trim(), ".7.");
}

/// The application of the demonstration has the function of the page.
#[test]
fn demonstration() {
    let application = fs::read_to_string(project_dir().join("demo/application/links.py"));
    let signer = signer("python");
    let (_, function) = signer.split_once("\n\n").expect("imports first");
    assert!(application.expect("the application").contains(function), "{function}");
}

#[test]
fn shell() {
    let nginx = start();
    let main = "while read -r fields; do xspace_token $fields; done < \"$1\"\n";
    nginx.site().write("sign.sh", format!("{}{main}", signer("sh")));
    signs(&nginx, "sh", &["sign.sh"]);

    // The link to try.
    let commands = block("sh", "curl")
        .replace("/srv/xspace/links.keys", "keys")
        .replace("http://localhost/", &nginx.url("/"));
    nginx.site().write("try.sh", format!("{}{commands}", signer("sh")));
    assert_eq!(run(nginx.dir(), "sh", &["try.sh"]), "200\n");
}

#[test]
#[ignore = "needs PHP: make suite-signers"]
fn php() {
    let nginx = start();
    let main = "
foreach (file($argv[1], FILE_IGNORE_NEW_LINES) as $line) {
    $fields = explode(' ', $line);
    $fields[1] = hex2bin($fields[1]);
    echo xspace_token(...$fields), \"\\n\";
}
";
    nginx.site().write("sign.php", format!("<?php\n{}{main}", signer("php")));
    signs(&nginx, "php", &["sign.php"]);
}

#[test]
#[ignore = "needs Node.js: make suite-signers"]
fn javascript() {
    let nginx = start();
    let main = "
for (const line of require('node:fs').readFileSync(process.argv[2], 'utf8').trim().split('\\n')) {
  const [keyId, key, ...fields] = line.split(' ');
  console.log(xspaceToken(keyId, Buffer.from(key, 'hex'), ...fields));
}
";
    nginx.site().write("sign.js", format!("{}{main}", signer("js")));
    signs(&nginx, "node", &["sign.js"]);
}

/// By GCC's compiler, which takes half the room of Go's.
#[test]
#[ignore = "needs gccgo: make suite-signers"]
fn go() {
    let nginx = start();
    let main = "package main

import (
	\"encoding/hex\"
	\"fmt\"
	\"os\"
	\"strconv\"
	\"strings\"
)

func main() {
	input, _ := os.ReadFile(os.Args[1])
	for _, line := range strings.Split(strings.TrimSpace(string(input)), \"\\n\") {
		f := strings.Fields(line)
		key, _ := hex.DecodeString(f[1])
		expiry, _ := strconv.ParseInt(f[3], 10, 64)
		fmt.Println(XspaceToken(f[0], key, f[2], expiry, f[4], f[5], f[6]))
	}
}
";
    nginx.site().write("main.go", main);
    nginx.site().write("sign.go", format!("package main\n\n{}", signer("go")));
    run(nginx.dir(), "gccgo", &["-o", "sign", "main.go", "sign.go"]);
    signs(&nginx, "./sign", &[]);
}

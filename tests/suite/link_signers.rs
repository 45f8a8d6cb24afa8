//! Signers of links in the documentation, with the model's vectors.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use xspace_tests::{Site, project_dir};

use crate::docs::code_blocks;

const PAGE: &str = "docs/links.md";

/// The signer of the page in a language.
fn block(language: &str) -> String {
    let mut blocks = code_blocks(PAGE, language).into_iter();
    blocks
        .find(|text| text.contains("xspace-link"))
        .unwrap_or_else(|| panic!("no signer in {language}"))
}

/// Whether there is such a program; says so if not.
fn has(program: &str) -> bool {
    let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).output();
    let is_there = found.is_ok_and(|output| output.status.success());
    if !is_there {
        println!("skipped: there is no {program}");
    }
    is_there
}

/// Runs a command whose output is a token for each link of the vectors. It gets a file of lines with
/// the fields: key id, key in hexadecimal, space, expiry, format, subject, net.
#[track_caller]
fn check(dir: &Path, program: &str, arguments: &[&str]) {
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
    fs::write(dir.join("input"), input).expect("the input");
    let output = Command::new(program)
        .args(arguments.iter().map(OsStr::new))
        .arg("input")
        .current_dir(dir)
        .env("GOCACHE", dir.join("go-cache"))
        .env("GOFLAGS", "-mod=mod")
        .env("GO111MODULE", "off")
        .output()
        .unwrap_or_else(|e| panic!("{program}: {e}"));
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{program}");
}

#[test]
fn python() {
    if !has("python3") {
        return;
    }
    let site = Site::new();
    let main = "
import sys
for line in open(sys.argv[1]):
    key_id, key, *fields = line.split()
    print(xspace_token(key_id, bytes.fromhex(key), *fields))
";
    site.write("sign.py", format!("{}{main}", block("python")));
    check(site.dir(), "python3", &["sign.py"]);
}

#[test]
fn php() {
    if !has("php") {
        return;
    }
    let site = Site::new();
    let main = "
foreach (file($argv[1], FILE_IGNORE_NEW_LINES) as $line) {
    $fields = explode(' ', $line);
    $fields[1] = hex2bin($fields[1]);
    echo xspace_token(...$fields), \"\\n\";
}
";
    site.write("sign.php", format!("<?php\n{}{main}", block("php")));
    check(site.dir(), "php", &["sign.php"]);
}

#[test]
fn javascript() {
    if !has("node") {
        return;
    }
    let site = Site::new();
    let main = "
for (const line of require('node:fs').readFileSync(process.argv[2], 'utf8').trim().split('\\n')) {
  const [keyId, key, ...fields] = line.split(' ');
  console.log(xspaceToken(keyId, Buffer.from(key, 'hex'), ...fields));
}
";
    site.write("sign.js", format!("{}{main}", block("js")));
    check(site.dir(), "node", &["sign.js"]);
}

#[test]
fn go() {
    if !has("go") {
        return;
    }
    let site = Site::new();
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
    site.write("main.go", main);
    site.write("sign.go", format!("package main\n\n{}", block("go")));
    check(site.dir(), "sh", &["-c", "go build -o sign main.go sign.go && ./sign \"$0\""]);
}

#[test]
fn shell() {
    if !has("openssl") {
        return;
    }
    let site = Site::new();
    let main = "while read -r fields; do xspace_token $fields; done < \"$1\"\n";
    site.write("sign.sh", format!("{}{main}", block("sh")));
    check(site.dir(), "sh", &["sign.sh"]);
}

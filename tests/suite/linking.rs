//! What the module is linked with, and how: read from the file that is tested.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use xspace_tests::build;

/// Libraries that the module may need: the C library with its parts, and the compiler's own, which
/// unwinds the stack when a panic is caught. Nothing that nginx would not have.
const LIBRARIES: [&str; 6] =
    ["libc.so.", "libgcc_s.so.", "libm.so.", "libdl.so.", "libpthread.so.", "ld-linux"];

fn run(program: &str, arguments: &[&str], file: &Path) -> String {
    let output = Command::new(program)
        .args(arguments)
        .arg(file)
        .env("LC_ALL", "C")
        .output()
        .unwrap_or_else(|e| panic!("cannot run {program}: {e}"));
    assert!(output.status.success(), "{program} {arguments:?} {}", file.display());
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn module_needs_nothing_but_libc_and_nginx() {
    let Some(module) = &build().module else { return };
    let dynamic = run("readelf", &["--dynamic", "--wide"], module);
    let needed: Vec<&str> = dynamic
        .lines()
        .filter(|line| line.contains("(NEEDED)"))
        .filter_map(|line| line.split_once('[')?.1.strip_suffix(']'))
        .collect();
    assert!(!needed.is_empty(), "{dynamic}");
    for library in needed {
        assert!(LIBRARIES.iter().any(|known| library.starts_with(known)), "{library}");
    }
    for path in ["(RPATH)", "(RUNPATH)"] {
        assert!(!dynamic.contains(path), "{dynamic}");
    }
    let loaded = run("ldd", &[], module);
    assert!(!loaded.contains("not found"), "{loaded}");

    let exported = run("nm", &["--dynamic", "--defined-only", "--portability"], &build().nginx);
    let exported: BTreeSet<&str> =
        exported.lines().filter_map(|line| line.split_whitespace().next()).collect();
    let undefined = run("nm", &["--dynamic", "--undefined-only", "--portability"], module);
    let mut from_nginx = 0;
    for line in undefined.lines() {
        let mut words = line.split_whitespace();
        let (Some(name), Some(kind)) = (words.next(), words.next()) else { panic!("{line:?}") };
        // What may be missing, and what has the version of a library.
        let is_library = name.contains("@GLIBC_") || name.contains("@GCC_");
        if kind == "w" || is_library {
            continue;
        }
        assert!(exported.contains(name), "{name} is neither nginx's nor libc's");
        assert!(name.starts_with("ngx_"), "{name}");
        from_nginx += 1;
    }
    assert!(from_nginx > 20, "{undefined}");
}

#[test]
fn module_exports_nothing_but_its_tables() {
    let Some(module) = &build().module else { return };
    let exported = run("nm", &["--dynamic", "--defined-only", "--portability"], module);
    for line in exported.lines() {
        let name = line.split_whitespace().next().unwrap_or_default();
        let name = name.split('@').next().unwrap_or_default();
        let known = ["ngx_modules", "ngx_module_names", "ngx_module_order"];
        assert!(known.contains(&name) || name.starts_with("ngx_http_xspace"), "{name}");
    }
}

#[test]
fn module_is_hardened() {
    let Some(module) = &build().module else { return };
    let segments = run("readelf", &["--program-headers", "--wide"], module);
    assert!(segments.contains("GNU_RELRO"), "{segments}");
    let stack = segments.lines().find(|line| line.contains("GNU_STACK")).expect("a stack segment");
    assert!(stack.contains(" RW ") && !stack.contains("RWE"), "{stack}");
    for line in segments.lines().filter(|line| line.trim_start().starts_with("LOAD")) {
        assert!(!line.contains("RWE"), "writable and executable: {line}");
    }
    let dynamic = run("readelf", &["--dynamic", "--wide"], module);
    assert!(dynamic.contains("BIND_NOW") || dynamic.contains("Flags: NOW"), "{dynamic}");
    assert!(!dynamic.contains("TEXTREL"), "{dynamic}");
}
